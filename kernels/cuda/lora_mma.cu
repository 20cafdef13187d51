/* lora_mma.cu - an adapter's first product on tensor cores: drop(x) in bf16 by A in f32. A value of
 * A is the sum of three in bf16, to its last bit, so the product is as exact as one in f32; dropout
 * leaves x or 0, its scale is the sum's. */
#include "lora.cuh"
#include "mma.cuh"

/* A block has 16 rows and up to 32 ranks; its warps share out pieces of 128 inputs, and their sums
 * are added in their order. */
enum { ROWS = 16, RANKS = 8, TILES = 4, PIECE = 128, PARTS = 3 };

/* Which of the inputs that a lane has of a row in a piece are kept: bit 8 · i + s is input 16 · s +
 * 4 · (lane % 4) + i. */
__device__ static inline uint32_t kept_of(const cu_drop &drop, int64_t row, int64_t piece) {
    uint32_t kept = 0;
    if (drop.least == 0) return 0xFFFFFFFFu;
    CU_UNROLL
    for (int i = 0; i < 4; i++) {
        const draws d = draws_of(drop, row, piece * 16 + (int)threadIdx.x % 4 * 4 + i);
        CU_UNROLL
        for (int s = 0; s < 8; s++) {
            const uint32_t draw = s / 4 ? d.v[s % 4] >> 16 : d.v[s % 4] & 0xFFFF;
            if (draw >= drop.least) kept |= 1u << (8 * i + s);
        }
    }
    return kept;
}

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

/* Four values of A in three parts: a part has what the ones before it leave. */
__device__ static inline void parts_of(uint32_t to[PARTS][2], const float *a, int64_t n) {
    float left[4];
    CU_UNROLL
    for (int i = 0; i < 4; i++) left[i] = i < n ? a[i] : 0;
    CU_UNROLL
    for (int part = 0; part < PARTS; part++) {
        to[part][0] = pair_of(left[0], left[1]);
        to[part][1] = pair_of(left[2], left[3]);
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            left[i] -= cu_widen((uint16_t)(to[part][i / 2] >> 16 * (i % 2)));
    }
}

__global__ static void down_mma(float *u, cu_mat x, const float *a, int64_t R, cu_drop drop) {
    __shared__ float sums[CU_WARPS][TILES][ROWS][RANKS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int64_t row = (int64_t)blockIdx.x * ROWS, rank = (int64_t)blockIdx.y * TILES * RANKS;
    const int tiles = (int)cu_least((R - rank + RANKS - 1) / RANKS, TILES);
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
                parts_of(right, a + k * x.cols + first, k < R ? x.cols - first : 0);
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
        if (row + at >= x.rows || rank + tile * RANKS + k >= R) continue;
        float sum = 0;
        for (int w = 0; w < CU_WARPS; w++) sum += sums[w][tile][at][k];
        u[(row + at) * R + rank + tile * RANKS + k] = drop.scale * sum;
    }
}
int cu_lora_down_mma(cu_queue *q, float *u, cu_mat x, const float *a, int64_t R, cu_drop drop) {
    if (!x.bf16) return 0;
    const dim3 grid(cu_blocks(x.rows, ROWS), cu_blocks(R, TILES * RANKS));
    CU_LAUNCH(down_mma, grid, CU_THREADS, 0, q, u, x, a, R, drop);
    return 1;
}
