/* attend_mma.cu - attention of bf16 values on tensor cores: attend.cu's forward, where heads have
 * 16, 32, 64 or 128 values. Type and head size alone decide who computes, so a row's bits still
 * depend on its path alone; each element of a product depends on its own row and column.
 *
 * A warp has a head of the tile's kv head: 16 queries, whose scores with 32 keys and whose sums
 * stay in registers, in the fragments of m16n8k16 (attend_mma.cuh). The weights are rounded to bf16
 * for the product with the values, their sum is not. */
#include "attend_mma.cuh"

#define LOWEST (-3.0e38f)
enum { HEADS = CU_WARPS, VALUE_PITCH = CU_KEYS + 8 };

__device__ static inline float quad_sum(float value) {
    value += __shfl_xor_sync(CU_ALL, value, 1);
    return value + __shfl_xor_sync(CU_ALL, value, 2);
}
__device__ static inline float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(CU_ALL, value, 1));
    return fmaxf(value, __shfl_xor_sync(CU_ALL, value, 2));
}

/* 32 keys from `first` on into rows, values into columns; zero from the n-th on. */
template <int HD>
__device__ static void load(uint16_t *k, uint16_t *v, const cu_keys &keys, int64_t path,
                            int64_t first, int64_t n, int64_t kv) {
    for (int j = (int)threadIdx.x / 32; j < CU_KEYS; j += CU_WARPS)
        for (int c = (int)threadIdx.x % 32 * 2; c < HD; c += 64) {
            uint32_t key = 0, value = 0;
            if (j < n) {
                key = pair_at(keys.k.data, key_at(keys, keys.k, path, first + j, kv, HD) + c);
                value = pair_at(keys.v.data, key_at(keys, keys.v, path, first + j, kv, HD) + c);
            }
            *(word *)(k + j * (HD + 8) + c) = key;
            v[c * VALUE_PITCH + j] = (uint16_t)value;
            v[(c + 1) * VALUE_PITCH + j] = (uint16_t)(value >> 16);
        }
}
/* Scores of row g + 8 · half become weights relative to the running maximum. */
template <int N>
__device__ static void weigh(float score[4][4], float out[N][4], int half, float *most, float *sum,
                             int64_t seen, float factor) {
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

template <int STEPS> __global__ static void forward(cu_attend a) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS;
    CU_SHARED(uint16_t, memory);
    const cu_tile tile = a.tiles[blockIdx.x];
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t group = a.H / a.Hkv, parts = (group + HEADS - 1) / HEADS, kv = blockIdx.y / parts;
    const int64_t mine = blockIdx.y % parts * HEADS + threadIdx.x / 32, h = kv * group + mine;
    const bool works = mine < group;
    uint16_t *k = memory, *v = k + CU_KEYS * (HD + 8);
    uint32_t q[STEPS][4];
    float out[PARTS][4] = {{0}}, most[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
    CU_UNROLL
    for (int s = 0; s < STEPS; s++)
        for (int r = 0; r < 4; r++) {
            const int row = g + r % 2 * 8, column = 16 * s + 2 * t + r / 2 * 8;
            q[s][r] = works && row < tile.n
                          ? pair_at(a.q.data, (tile.row + row) * a.q.stride + h * HD + column)
                          : 0;
        }
    const int64_t n_keys = tile.position + tile.n;
    for (int64_t first = 0; first < n_keys; first += CU_KEYS) {
        const int64_t n = cu_least(n_keys - first, CU_KEYS);
        float score[4][4] = {{0}};
        uint32_t b[2];
        __syncthreads();
        load<HD>(k, v, a.keys, tile.keys, first, n, kv);
        __syncthreads();
        if (!works) continue;
        CU_UNROLL
        for (int s = 0; s < STEPS; s++)
            for (int j = 0; j < 4; j++) {
                fragment(b, k, HD + 8, 8 * j, 16 * s);
                mma(score[j], q[s], b);
            }
        CU_UNROLL
        for (int half = 0; half < 2; half++) {
            const int row = g + 8 * half;
            const int64_t seen = row < tile.n ? cu_least(n, tile.position + row + 1 - first) : 0;
            weigh<PARTS>(score, out, half, &most[half], &sum[half], seen, a.factor);
        }
        CU_UNROLL
        for (int s = 0; s < 2; s++) {
            uint32_t p[4];
            left_of(p, score[2 * s], score[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i++) {
                fragment(b, v, VALUE_PITCH, 8 * i, 16 * s);
                mma(out[i], p, b);
            }
        }
    }
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const int row = g + 8 * half;
        if (!works || row >= tile.n) continue;
        const float by = 1 / sum[half];
        for (int i = 0; i < PARTS; i++)
            for (int e = 0; e < 2; e++)
                cu_put(a.out, tile.row + row, h * HD + 8 * i + 2 * t + e,
                       out[i][2 * half + e] * by);
        if (a.lse && t == 0)
            a.lse[(tile.row + row) * a.H + h] =
                (float)(((double)most[half] + log2((double)sum[half])) * 0.69314718055994530942);
    }
}

int cu_attention_mma(cu_queue *q, const cu_attend *a) {
    const int64_t group = a->H / a->Hkv, parts = (group + HEADS - 1) / HEADS;
    const dim3 grid((unsigned)a->n_tiles, (unsigned)(a->Hkv * parts));
    const size_t bytes =
        (size_t)(CU_KEYS * (a->hd + 8) + a->hd * VALUE_PITCH) * sizeof(uint16_t);
    const cu_attend args = *a;
    if (!a->q.bf16 || !a->keys.k.bf16 || !a->keys.v.bf16) return 0;
    switch (a->hd) {
    case 16:
        CU_LAUNCH(forward<1>, grid, CU_THREADS, bytes, q, args);
        return 1;
    case 32:
        CU_LAUNCH(forward<2>, grid, CU_THREADS, bytes, q, args);
        return 1;
    case 64:
        CU_LAUNCH(forward<4>, grid, CU_THREADS, bytes, q, args);
        return 1;
    case 128:
        CU_LAUNCH(forward<8>, grid, CU_THREADS, bytes, q, args);
        return 1;
    default:
        return 0;
    }
}
