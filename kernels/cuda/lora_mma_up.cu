/* lora_mma_up.cu - an adapter's products over ranks on tensor cores: u · Bᵀ in the forward, du · A
 * in the backward, added to a matrix in bf16. Both sides are f32: each is split in two of bf16, and
 * of their four products the least is left out, so the sum is exact to some 2^-16 of its terms,
 * while what it is added to is rounded to 2^-9.
 *
 * A warp has 16 rows of a piece of 128 columns, whose sums stay in registers. A lane's columns are
 * 16 · s + 4 · (lane % 4) + 0 … 3: those whose draws come of four counters, and four neighbours. */
#include "lora_mma.cuh"

enum { ROWS = 16, TILES = LORA_PIECE / 8, PARTS = 2 };

typedef uint64_t __attribute__((may_alias)) long_word;

/* Four neighbours += those that are kept. */
__device__ static inline void add_four(const cu_mat &y, int64_t row, int64_t column,
                                       const float add[4], float scale, uint32_t kept) {
    uint16_t *at = (uint16_t *)y.data + row * y.stride + column;
    if (column + 4 <= y.cols && ((uintptr_t)at & 7) == 0) {
        const uint64_t before = *(const long_word *)at;
        uint64_t after = 0;
        CU_UNROLL
        for (int i = 0; i < 4; i++) {
            const float old = cu_widen((uint16_t)(before >> 16 * i));
            const float sum = kept >> 8 * i & 1 ? fmaf(scale, add[i], old) : old;
            after |= (uint64_t)cu_narrow(sum) << 16 * i;
        }
        *(long_word *)at = after;
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 4; i++)
        if (column + i < y.cols && (kept >> 8 * i & 1))
            at[i] = cu_narrow(fmaf(scale, add[i], cu_widen(at[i])));
}

/* u's values of 16 ranks from k on, for rows g and g + 8: lane % 4 has ranks k + 4t … + 3. */
__device__ static inline void left_of(uint32_t left[PARTS][4], const lora_ranks &u, int64_t row,
                                      int64_t rows, int64_t k) {
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const int64_t at = row + 8 * half;
        uint32_t parts[PARTS][2];
        float v[4];
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            v[i] = at < rows && k + i < u.r ? u.data[at * u.R + u.first + k + i] : 0;
        split_of<PARTS>(parts, v);
        CU_UNROLL
        for (int part = 0; part < PARTS; part++) {
            left[part][half] = parts[part][0];
            left[part][2 + half] = parts[part][1];
        }
    }
}

__global__ static void __launch_bounds__(CU_THREADS, 3)
    up_mma(cu_mat y, lora_ranks u, lora_weight w, cu_drop drop) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t row = ((int64_t)blockIdx.x * CU_WARPS + threadIdx.x / 32) * ROWS + g;
    const int64_t column = (int64_t)blockIdx.y * LORA_PIECE;
    float c[TILES][4] = {};
    if (row - g >= y.rows) return;
    for (int64_t k = 4 * t; k - 4 * t < u.r; k += 16) {
        uint32_t left[PARTS][4];
        left_of(left, u, row, y.rows, k);
        CU_UNROLL
        for (int tile = 0; tile < TILES; tile++) {
            const int64_t o = column + tile / 2 * 16 + g / 2 * 4 + tile % 2 * 2 + g % 2;
            uint32_t right[PARTS][2];
            float v[4];
            if (column + tile / 2 * 16 >= y.cols) continue;
            CU_UNROLL
            for (int i = 0; i < 4; i++)
                v[i] = o < y.cols && k + i < u.r ? w.data[(k + i) * w.rank_step + o * w.step] : 0;
            split_of<PARTS>(right, v);
            mma(c[tile], left[0], right[1]);
            mma(c[tile], left[1], right[0]);
            mma(c[tile], left[0], right[0]);
        }
    }
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        if (row + 8 * half >= y.rows) continue;
        const uint32_t kept = kept_of(drop, row + 8 * half, blockIdx.y);
        CU_UNROLL
        for (int s = 0; s < TILES / 2; s++) {
            const float add[4] = {c[2 * s][2 * half], c[2 * s][2 * half + 1],
                                  c[2 * s + 1][2 * half], c[2 * s + 1][2 * half + 1]};
            const int64_t first = column + 16 * s + 4 * t;
            if (first < y.cols) add_four(y, row + 8 * half, first, add, drop.scale, kept >> s);
        }
    }
}
int cu_lora_up_mma(cu_queue *q, cu_mat y, lora_ranks u, lora_weight w, cu_drop drop) {
    if (!y.bf16) return 0;
    const dim3 grid(cu_blocks(y.rows, CU_WARPS * ROWS), cu_blocks(y.cols, LORA_PIECE));
    CU_LAUNCH(up_mma, grid, CU_THREADS, 0, q, y, u, w, drop);
    return 1;
}
