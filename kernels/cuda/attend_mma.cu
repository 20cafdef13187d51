/* attend_mma.cu - attention of bf16 values on tensor cores: attend.cu's forward, where heads have
 * 16, 32, 64, 80, 96 or 128 values. Type and head size alone decide who computes, so a row's bits
 * still depend on its path alone; each element of a product depends on its own row and column.
 *
 * A warp has 16 queries of a head of the tile's kv head, whose scores with 32 keys and whose sums
 * stay in registers, in the fragments of m16n8k16; the next 32 keys and values come into shared
 * memory meanwhile. The weights are rounded to bf16 for the product with the values, their sum is
 * not. */
#include "attend_mma.cuh"

#define LOWEST (-3.0e38f)

__device__ static inline float quad_sum(float value) {
    value += __shfl_xor_sync(CU_ALL, value, 1);
    return value + __shfl_xor_sync(CU_ALL, value, 2);
}
__device__ static inline float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(CU_ALL, value, 1));
    return fmaxf(value, __shfl_xor_sync(CU_ALL, value, 2));
}

/* Scores of row g + 8 · half become weights relative to the running maximum. */
template <int N>
__device__ static inline void weigh(float score[4][4], float out[N][4], int half, float *most,
                                    float *sum, int seen, float factor) {
    const int first = (int)threadIdx.x % 4 * 2;
    float top = LOWEST, total = 0;
    CU_UNROLL
    for (int j = 0; j < 4; j++)
        for (int e = 0; e < 2; e++)
            if (8 * j + first + e < seen) top = fmaxf(top, score[j][2 * half + e] * factor);
    const float before = *most, now = fmaxf(before, quad_max(top));
    CU_UNROLL
    for (int j = 0; j < 4; j++)
        for (int e = 0; e < 2; e++) {
            float *x = &score[j][2 * half + e];
            *x = 8 * j + first + e < seen ? exp2f(fmaf(*x, factor, -now)) : 0;
            total += *x;
        }
    const float shrink = exp2f(before - now);
    *sum = *sum * shrink + quad_sum(total);
    *most = now;
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        out[i][2 * half] *= shrink;
        out[i][2 * half + 1] *= shrink;
    }
}

template <int STEPS> __global__ static void __launch_bounds__(CU_THREADS, 3) forward(cu_attend a) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS, PITCH = HD + 8;
    CU_SHARED(uint16_t, memory); /* twice: CU_KEYS keys, CU_KEYS values */
    const cu_tile tile = a.tiles[blockIdx.x];
    const attend_unit u = unit_of(a, tile);
    const int lane = (int)threadIdx.x % 32, g = lane / 4;
    uint32_t q[STEPS][4];
    float out[PARTS][4] = {{0}}, most[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) left_of_head(q[s], a.q, u.row, u.n, u.h * HD + 16 * s);
    const int n_keys = tile.position + tile.n;
    come_keys<HD>(memory, a, tile.keys, 0, n_keys, u.kv);
    for (int first = 0; first < n_keys; first += CU_KEYS) {
        const uint16_t *k = keys_at<HD>(memory, a, tile.keys, first, n_keys, u.kv);
        const uint16_t *v = k + CU_KEYS * PITCH;
        float score[4][4] = {{0}};
        uint32_t b[4], p[4];
        if (u.n <= 0 || first >= u.position + u.n) continue;
        CU_UNROLL
        for (int s = 0; s < STEPS; s++)
            for (int j = 0; j < 4; j += 2) {
                right_rows(b, k, PITCH, 8 * j, 16 * s);
                mma(score[j], q[s], b);
                mma(score[j + 1], q[s], b + 2);
            }
        CU_UNROLL
        for (int half = 0; half < 2; half++) {
            const int row = g + 8 * half;
            const int seen = row < u.n ? u.position + row + 1 - first : 0;
            weigh<PARTS>(score, out, half, &most[half], &sum[half], seen, a.factor);
        }
        CU_UNROLL
        for (int s = 0; s < 2; s++) {
            left_of(p, score[2 * s], score[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i += 2) {
                right_columns(b, v, PITCH, 8 * i, 16 * s);
                mma(out[i], p, b);
                mma(out[i + 1], p, b + 2);
            }
        }
    }
    const float by[2] = {1 / sum[0], 1 / sum[1]};
    put_head<HD>(a.out, u.row, u.n, u.h * HD, out, by);
    CU_UNROLL
    for (int half = 0; half < 2; half++)
        if (a.lse && lane % 4 == 0 && g + 8 * half < u.n)
            a.lse[(u.row + g + 8 * half) * a.H + u.h] =
                (float)(((double)most[half] + log2((double)sum[half])) * 0.69314718055994530942);
}

template <int STEPS> static void launch(cu_queue *q, const cu_attend &args) {
    const size_t bytes = 4 * CU_KEYS * (16 * STEPS + 8) * sizeof(uint16_t);
    CU_LAUNCH(forward<STEPS>, units_grid(&args), CU_THREADS, bytes, q, args);
}

int cu_attention_on_mma(int bf16, int64_t hd) {
    return bf16 && (hd == 16 || hd == 32 || hd == 64 || hd == 80 || hd == 96 || hd == 128);
}
int cu_attention_rows(int64_t H, int64_t Hkv) {
    return (int)(CU_WARPS / heads_of((int)(H / Hkv)) * CU_TILE);
}
void cu_attention_mma(cu_queue *q, const cu_attend *a) {
    cu_attend args = *a;
    args.wide = lies_wide(a->keys.k) && lies_wide(a->keys.v);
    CU_BY_HEAD_SIZE(a->hd, launch, q, args)
}
