/* lora_mma.cu - an adapter's products over long rows on tensor cores: drop(x) by A, and dy by B in
 * the backward; bf16 by f32. A value of A is the sum of three in bf16, to its last bit, so the
 * product is as exact as one in f32; dropout leaves x or 0, its scale is the sum's. */
#include "lora_mma.cuh"

/* A block has 16 rows and up to 32 ranks; its warps share out pieces of 128 inputs, and their sums
 * are added in their order. */
enum { ROWS = 16, RANKS = 8, TILES = 4, PIECE = LORA_PIECE, PARTS = 3 };

/* Inputs first … first + 3 of a row, 0 where they are dropped or behind its end. */
__device__ static inline void four_of(uint32_t to[2], const cu_mat &x, int64_t row, int64_t first,
                                      uint32_t kept) {
    const uint16_t *at = (const uint16_t *)x.data + row * x.stride + first;
    if (first + 4 <= x.cols) {
        to[0] = pair_at(at, 0);
        to[1] = pair_at(at, 2);
    } else {
        to[0] = (first < x.cols ? at[0] : 0) | (uint32_t)(first + 1 < x.cols ? at[1] : 0) << 16;
        to[1] = first + 2 < x.cols ? at[2] : 0;
    }
    to[0] &= (kept & 1 ? 0xFFFFu : 0) | (kept >> 8 & 1 ? 0xFFFF0000u : 0);
    to[1] &= (kept >> 16 & 1 ? 0xFFFFu : 0) | (kept >> 24 & 1 ? 0xFFFF0000u : 0);
}

__global__ static void down_mma(lora_ranks u, cu_mat x, lora_weight w, cu_drop drop) {
    __shared__ float sums[CU_WARPS][TILES][ROWS][RANKS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int64_t row = (int64_t)blockIdx.x * ROWS, rank = (int64_t)blockIdx.y * TILES * RANKS;
    const int tiles = (int)cu_least((u.r - rank + RANKS - 1) / RANKS, TILES);
    const bool has_one = row + g < x.rows, has_two = row + g + 8 < x.rows;
    float c[TILES][4] = {};
    for (int64_t piece = warp; piece * PIECE < x.cols; piece += CU_WARPS) {
        const uint32_t one_kept = has_one ? kept_of(drop, row + g, piece) : 0;
        const uint32_t two_kept = has_two ? kept_of(drop, row + g + 8, piece) : 0;
        for (int s = 0; s < PIECE / 16 && piece * PIECE + 16 * s < x.cols; s++) {
            const int64_t first = piece * PIECE + 16 * s + 4 * t;
            uint32_t one[2] = {0, 0}, two[2] = {0, 0};
            if (has_one) four_of(one, x, row + g, first, one_kept >> s);
            if (has_two) four_of(two, x, row + g + 8, first, two_kept >> s);
            const uint32_t left[4] = {one[0], two[0], one[1], two[1]};
            CU_UNROLL
            for (int i = 0; i < TILES; i++) {
                const int64_t k = rank + i * RANKS + g;
                uint32_t right[PARTS][2];
                if (i >= tiles) continue;
                float v[4];
                CU_UNROLL
                for (int e = 0; e < 4; e++)
                    v[e] = k < u.r && first + e < x.cols
                               ? w.data[k * w.rank_step + (first + e) * w.step]
                               : 0;
                split_of<PARTS>(right, v);
                CU_UNROLL
                for (int part = 0; part < PARTS; part++) mma(c[i], left, right[part]);
            }
        }
    }
    CU_UNROLL
    for (int i = 0; i < TILES; i++)
        for (int k = 0; k < 4; k++) sums[warp][i][g + 8 * (k / 2)][2 * t + k % 2] = c[i][k];
    __syncthreads();
    for (int i = threadIdx.x; i < tiles * ROWS * RANKS; i += CU_THREADS) {
        const int tile = i / RANKS % tiles, at = i / RANKS / tiles, k = i % RANKS;
        if (row + at >= x.rows || rank + tile * RANKS + k >= u.r) continue;
        float sum = 0;
        for (int part = 0; part < CU_WARPS; part++) sum += sums[part][tile][at][k];
        u.data[(row + at) * u.R + u.first + rank + tile * RANKS + k] = drop.scale * sum;
    }
}
int cu_lora_down_mma(cu_queue *q, lora_ranks u, cu_mat x, lora_weight w, cu_drop drop) {
    if (!x.bf16) return 0;
    const dim3 grid(cu_blocks(x.rows, ROWS), cu_blocks(u.r, TILES * RANKS));
    CU_LAUNCH(down_mma, grid, CU_THREADS, 0, q, u, x, w, drop);
    return 1;
}
