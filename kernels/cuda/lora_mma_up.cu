/* lora_mma_up.cu - an adapter's products over ranks on tensor cores: u · Bᵀ in the forward, du · A
 * in the backward, added to a matrix in bf16. Both sides are f32: each is split in two of bf16, and
 * of their four products the least is left out, so the sum is exact to some 2^-16 of its terms,
 * while what it is added to is rounded to 2^-9.
 *
 * A warp has 16 rows of a piece of 128 columns, whose sums stay in registers. A lane's columns are
 * 16 · s + 4 · (lane % 4) + 0 … 3: those whose draws come of four counters, and four neighbours. */
#include "lora_mma.cuh"

enum { ROWS = 16, TILES = LORA_PIECE / 8, PARTS = 2 };

/* A row's piece += the sums of its columns that are kept, four neighbours of each 16 a lane: all
 * are read before the first is written. */
__device__ static inline void add_row(const cu_mat &y, int64_t row, int64_t column,
                                      const float c[TILES][4], int half, float scale,
                                      uint32_t kept) {
    uint16_t *at = (uint16_t *)y.data + row * y.stride + column;
    const bool wide = ((uintptr_t)at & 7) == 0;
    uint64_t before[TILES / 2];
    CU_UNROLL
    for (int s = 0; s < TILES / 2; s++)
        before[s] = wide && column + 16 * s + 4 <= y.cols ? *(const long_word *)(at + 16 * s) : 0;
    CU_UNROLL
    for (int s = 0; s < TILES / 2; s++) {
        const float add[4] = {c[2 * s][2 * half], c[2 * s][2 * half + 1], c[2 * s + 1][2 * half],
                              c[2 * s + 1][2 * half + 1]};
        if (wide && column + 16 * s + 4 <= y.cols) {
            float sum[4];
            CU_UNROLL
            for (int i = 0; i < 4; i++) {
                const float old = cu_widen((uint16_t)(before[s] >> 16 * i));
                sum[i] = kept >> (8 * i + s) & 1 ? fmaf(scale, add[i], old) : old;
            }
            *(long_word *)(at + 16 * s) =
                pair_of(sum[0], sum[1]) | (uint64_t)pair_of(sum[2], sum[3]) << 32;
            continue;
        }
        for (int i = 0; i < 4; i++)
            if (column + 16 * s + i < y.cols && (kept >> (8 * i + s) & 1))
                at[16 * s + i] = cu_narrow(fmaf(scale, add[i], cu_widen(at[16 * s + i])));
    }
}

/* u's values of 16 ranks from k on, for rows g and g + 8: lane % 4 has ranks k + 4t … + 3. */
__device__ static inline void left_of(uint32_t left[PARTS][4], const lora_ranks &u, int64_t row,
                                      int64_t rows, int64_t k) {
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const int64_t at = row + 8 * half;
        uint32_t parts[PARTS][2];
        float v[4];
        floats_of(v, u.data + at * u.R + u.first + k, 1, at < rows ? u.r - k : 0);
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
            floats_of(v, w.data + k * w.rank_step + o * w.step, w.rank_step,
                      o < y.cols ? u.r - k : 0);
            split_of<PARTS>(right, v);
            mma(c[tile], left[0], right[1]);
            mma(c[tile], left[1], right[0]);
            mma(c[tile], left[0], right[0]);
        }
    }
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        if (row + 8 * half >= y.rows) continue;
        add_row(y, row + 8 * half, column + 4 * t, c, half, drop.scale,
                kept_of(drop, row + 8 * half, blockIdx.y));
    }
}
int cu_lora_up_mma(cu_queue *q, cu_mat y, lora_ranks u, lora_weight w, cu_drop drop) {
    if (!y.bf16) return 0;
    const dim3 grid(cu_blocks(y.rows, CU_WARPS * ROWS), cu_blocks(y.cols, LORA_PIECE));
    CU_LAUNCH(up_mma, grid, CU_THREADS, 0, q, y, u, w, drop);
    return 1;
}
