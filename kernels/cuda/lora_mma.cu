/* lora_mma.cu - an adapter's products over long rows on tensor cores: drop(x) by A, and dy by B in
 * the backward; bf16 by f32. A value of A is the sum of three in bf16, to its last bit, so the
 * product is as exact as one in f32; dropout leaves x or 0, its scale is the sum's.
 *
 * A block has 16 rows and up to 32 ranks. A warp sums a stretch of the inputs, and stretches are
 * added in their order, whatever the number of warps: as many as there are stretches, so that a few
 * rows are not left to a few warps. */
#include "lora_mma.cuh"

enum {
    ROWS = 16,
    RANKS = 8,
    TILES = 4,
    PARTS = 3,
    STEPS = LORA_PIECE / 16,
    STRETCH = 2 * LORA_PIECE, /* inputs */
    WARPS_MOST = 16,
    SUMS = TILES * ROWS * RANKS
};

/* Inputs 16 · s + 4 · (lane % 4) … + 3 of a row's piece, 0 where they are dropped or behind its
 * end. */
__device__ static inline void piece_of(uint32_t to[STEPS][2], const cu_mat &x, int64_t row,
                                       int piece, bool is, const cu_drop &drop) {
    const int first = piece * LORA_PIECE + (int)threadIdx.x % 4 * 4;
    const uint16_t *at = (const uint16_t *)x.data + row * x.stride + first;
    const bool wide = is && ((uintptr_t)at & 7) == 0 && (piece + 1) * LORA_PIECE <= x.cols;
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) {
        const uint64_t four = wide ? *(const long_word *)(at + 16 * s) : 0;
        to[s][0] = (uint32_t)four;
        to[s][1] = (uint32_t)(four >> 32);
    }
    for (int s = 0; s < STEPS && is && !wide; s++)
        for (int i = 0; i < 4 && first + 16 * s + i < x.cols; i++)
            to[s][i / 2] |= (uint32_t)at[16 * s + i] << 16 * (i % 2);
    if (drop.least == 0 || !is) return;
    const uint32_t kept = kept_of(drop, row, piece);
    CU_UNROLL
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < 2; i++)
            to[s][i] &= (kept >> (16 * i + s) & 1 ? 0xFFFFu : 0) |
                        (kept >> (16 * i + 8 + s) & 1 ? 0xFFFF0000u : 0);
}

/* c += 16 rows' piece by the ranks of `tiles` tiles. */
__device__ static inline void add_piece(float c[TILES][4], const cu_mat &x, const lora_weight &w,
                                        const cu_drop &drop, int64_t row, int piece, int64_t rank,
                                        int64_t r, int tiles) {
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t one[STEPS][2], two[STEPS][2];
    piece_of(one, x, row + g, piece, row + g < x.rows, drop);
    piece_of(two, x, row + g + 8, piece, row + g + 8 < x.rows, drop);
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) {
        const int first = piece * LORA_PIECE + 16 * s + 4 * t;
        const uint32_t left[4] = {one[s][0], two[s][0], one[s][1], two[s][1]};
        if (first - 4 * t >= x.cols) break;
        CU_UNROLL
        for (int i = 0; i < TILES; i++) {
            const int64_t k = rank + i * RANKS + g;
            uint32_t right[PARTS][2];
            float v[4];
            if (i >= tiles) continue;
            floats_of(v, w.data + k * w.rank_step + first * w.step, w.step,
                      k < r ? x.cols - first : 0);
            split_of<PARTS>(right, v);
            CU_UNROLL
            for (int part = 0; part < PARTS; part++) mma(c[i], left, right[part]);
        }
    }
}

__global__ static void __launch_bounds__(32 * WARPS_MOST)
    down_mma(lora_ranks u, cu_mat x, lora_weight w, cu_drop drop) {
    CU_SHARED(float, memory); /* sums of each warp's stretch, then of all stretches so far */
    const int warps = (int)blockDim.x / 32, warp = (int)threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t row = (int64_t)blockIdx.x * ROWS, rank = (int64_t)blockIdx.y * TILES * RANKS;
    const int tiles = (int)cu_least((u.r - rank + RANKS - 1) / RANKS, TILES);
    const int stretches = (int)((x.cols + STRETCH - 1) / STRETCH);
    float *mine = memory + warp * SUMS, *all = memory + warps * SUMS;
    for (int first = 0; first == 0 || first < stretches; first += warps) {
        const int n = stretches - first < warps ? stretches - first : warps;
        float c[TILES][4] = {};
        for (int half = 0; half < 2 && warp < n; half++) {
            const int piece = 2 * (first + warp) + half;
            if ((int64_t)piece * LORA_PIECE < x.cols)
                add_piece(c, x, w, drop, row, piece, rank, u.r, tiles);
        }
        __syncthreads();
        CU_UNROLL
        for (int i = 0; i < TILES; i++)
            for (int k = 0; k < 4 && i < tiles && warp < n; k++)
                mine[(i * ROWS + g + 8 * (k / 2)) * RANKS + 2 * t + k % 2] = c[i][k];
        __syncthreads();
        for (int i = (int)threadIdx.x; i < tiles * ROWS * RANKS; i += (int)blockDim.x) {
            float sum = first ? all[i] : 0;
            for (int part = 0; part < n; part++) sum += memory[part * SUMS + i];
            all[i] = sum;
        }
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < tiles * ROWS * RANKS; i += (int)blockDim.x) {
        const int k = i / RANKS % tiles * RANKS + i % RANKS, at = i / RANKS / tiles;
        if (row + at >= x.rows || rank + k >= u.r) continue;
        u.data[(row + at) * u.R + u.first + rank + k] =
            drop.scale * all[(k / RANKS * ROWS + at) * RANKS + k % RANKS];
    }
}
int cu_lora_down_mma(cu_queue *q, lora_ranks u, cu_mat x, lora_weight w, cu_drop drop) {
    if (!x.bf16) return 0;
    const dim3 grid(cu_blocks(x.rows, ROWS), cu_blocks(u.r, TILES * RANKS));
    const unsigned stretches = cu_blocks(x.cols > 0 ? x.cols : 1, STRETCH);
    const unsigned warps = stretches < (unsigned)WARPS_MOST ? stretches : (unsigned)WARPS_MOST;
    const size_t bytes = (warps + 1) * (size_t)SUMS * sizeof(float);
    CU_LAUNCH(down_mma, grid, 32 * warps, bytes, q, u, x, w, drop);
    return 1;
}
