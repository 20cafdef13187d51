/* lora_mma_back.cu - an adapter's products over rows on tensor cores, which are its gradients: dyᵀ
 * · u for B, duᵀ · drop(x) for A; bf16 by f32 in three parts, as exact as f32.
 *
 * A block has 128 columns of x and a stretch of SPLIT rows, which its warps share out by 16: their
 * sums are added in their order, and those of the stretches by a second kernel, in theirs. The
 * order is fixed by the number of rows alone. A lane reads two neighbouring columns of each 16, of
 * four rows, and turns them in registers; all eight draws of a counter are its own. */
#include "lora_mma.cuh"

enum { SPLIT = 512, RANKS = 8, PARTS = 3, TILES_MOST = 3, STEPS = LORA_PIECE / 16 };

/* Kept ones of columns 2g and 2g + 1 of each 16, rows first … first + 3: bit 8 · i + s. */
__device__ static inline void kept_pairs(uint32_t kept[2], const cu_drop &drop, int64_t first,
                                         int64_t rows, int64_t piece) {
    kept[0] = kept[1] = 0xFFFFFFFFu;
    if (drop.least == 0) return;
    kept[0] = kept[1] = 0;
    for (int i = 0; i < 4 && first + i < rows; i++)
        for (int e = 0; e < 2; e++) {
            const draws d =
                draws_of(drop, first + i, piece * 16 + (int)threadIdx.x % 32 / 4 * 2 + e);
            CU_UNROLL
            for (int s = 0; s < 8; s++) {
                const uint32_t draw = s / 4 ? d.v[s % 4] >> 16 : d.v[s % 4] & 0xFFFF;
                if (draw >= drop.least) kept[e] |= 1u << (8 * i + s);
            }
        }
}

/* Columns `column` and the next of a row of x, 0 where they are dropped or there are none. */
__device__ static inline uint32_t two_of(const cu_mat &x, int64_t row, int64_t end, int64_t column,
                                         uint32_t first, uint32_t second) {
    if (row >= end || column >= x.cols) return 0;
    const int64_t at = row * x.stride + column;
    const uint32_t both =
        column + 1 < x.cols ? pair_at(x.data, at) : ((const uint16_t *)x.data)[at];
    return both & ((first & 1 ? 0xFFFFu : 0) | (second & 1 ? 0xFFFF0000u : 0));
}

/* parts [stretch, rank, column]. */
template <int TILES>
__global__ static void weight_mma(float *parts, lora_ranks u, cu_mat x, cu_drop drop) {
    __shared__ float sums[CU_WARPS][RANKS][LORA_PIECE];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int64_t column = (int64_t)blockIdx.x * LORA_PIECE, begin = (int64_t)blockIdx.y * SPLIT;
    const int64_t rank = (int64_t)blockIdx.z * TILES * RANKS;
    const int64_t end = cu_least(begin + SPLIT, x.rows);
    float c[TILES][STEPS][4] = {};
    for (int64_t rows = begin + 16 * warp; rows < end; rows += 16 * CU_WARPS) {
        const int64_t row = rows + 4 * t;
        uint32_t right[TILES][PARTS][2], kept[2];
        CU_UNROLL
        for (int tile = 0; tile < TILES; tile++) {
            const int64_t k = rank + tile * RANKS + g;
            float v[4];
            CU_UNROLL
            for (int i = 0; i < 4; i++)
                v[i] = k < u.r && row + i < end ? u.data[(row + i) * u.R + u.first + k] : 0;
            split_of<PARTS>(right[tile], v);
        }
        kept_pairs(kept, drop, row, end, blockIdx.x);
        CU_UNROLL
        for (int s = 0; s < STEPS; s++) {
            uint32_t two[4];
            if (column + 16 * s >= x.cols) continue;
            CU_UNROLL
            for (int i = 0; i < 4; i++)
                two[i] = two_of(x, row + i, end, column + 16 * s + 2 * g, kept[0] >> (8 * i + s),
                                kept[1] >> (8 * i + s));
            const uint32_t left[4] = {
                (two[0] & 0xFFFFu) | two[1] << 16, two[0] >> 16 | (two[1] & 0xFFFF0000u),
                (two[2] & 0xFFFFu) | two[3] << 16, two[2] >> 16 | (two[3] & 0xFFFF0000u)};
            CU_UNROLL
            for (int tile = 0; tile < TILES; tile++)
                for (int part = 0; part < PARTS; part++) mma(c[tile][s], left, right[tile][part]);
        }
    }
    CU_UNROLL
    for (int tile = 0; tile < TILES; tile++) {
        __syncthreads();
        CU_UNROLL
        for (int s = 0; s < STEPS; s++)
            for (int k = 0; k < 4; k++)
                sums[warp][2 * t + k % 2][16 * s + 2 * g + k / 2] = c[tile][s][k];
        __syncthreads();
        const int64_t at = column + threadIdx.x;
        for (int k = 0; k < RANKS && at < x.cols; k++) {
            const int64_t to = rank + tile * RANKS + k;
            float sum = 0;
            for (int i = 0; i < CU_WARPS; i++) sum += sums[i][k][threadIdx.x];
            if (to < u.r) parts[((int64_t)blockIdx.y * u.r + to) * x.cols + at] = sum;
        }
    }
}
static_assert((int)CU_THREADS == (int)LORA_PIECE, "a thread adds up a column");

__global__ static void add_parts(lora_weight w, const float *parts, int64_t n_parts, int64_t r,
                                 int64_t cols, float scale) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= r * cols) return;
    float sum = 0, *to = w.data + n / cols * w.rank_step + n % cols * w.step;
    for (int64_t i = 0; i < n_parts; i++) sum += parts[i * r * cols + n];
    *to = fmaf(scale, sum, *to);
}

int64_t cu_lora_room(int64_t rows, int64_t cols, int64_t ranks) {
    return (rows + SPLIT - 1) / SPLIT * ranks * cols;
}
int cu_lora_weight_mma(cu_queue *q, lora_weight w, lora_ranks u, cu_mat x, cu_drop drop,
                       float *room) {
    if (!x.bf16) return 0;
    const unsigned stretches = cu_blocks(x.rows, SPLIT);
    const int tiles = u.r <= RANKS ? 1 : u.r <= 2 * RANKS ? 2 : TILES_MOST;
    const dim3 grid(cu_blocks(x.cols, LORA_PIECE), stretches, cu_blocks(u.r, tiles * RANKS));
    if (tiles == 1)
        CU_LAUNCH(weight_mma<1>, grid, CU_THREADS, 0, q, room, u, x, drop);
    else if (tiles == 2)
        CU_LAUNCH(weight_mma<2>, grid, CU_THREADS, 0, q, room, u, x, drop);
    else
        CU_LAUNCH(weight_mma<3>, grid, CU_THREADS, 0, q, room, u, x, drop);
    CU_LAUNCH(add_parts, cu_blocks(u.r * x.cols, CU_THREADS), CU_THREADS, 0, q, w, room,
              (int64_t)stretches, u.r, x.cols, drop.scale);
    return 1;
}
