/* quant_mma.cu - linear layers over weights in 8 or 4 bits, which are widened in registers: what
 * decoding reads of a weight are its codes. One way for every number of rows, so that a row's bits
 * are its own. */
#include "mma.cuh"

/* A block has twice 16 outputs and up to 64 rows of x, which are read once for both; its warps
 * share out the weight's blocks of 32 inputs, and their sums are added in their order. */
enum { WARPS = 8, OUTS = 16, HALVES = 2, ROWS = 8, TILES = 8 };

/* Inputs first … first + 3 (of a block's 32) as bf16. */
__device__ static inline void four_of(uint32_t to[2], const cu_coded &w, int64_t block, int first) {
    float v[4];
    if (w.bits == 8) {
        const uint32_t codes = *(const word *)(w.codes + block * 32 + first);
        const float scale = w.scales[block];
        CU_UNROLL
        for (int i = 0; i < 4; i++) v[i] = scale * (float)((int)(codes >> 8 * i & 255) - 128);
    } else {
        const uint32_t codes = *(const word *)(w.codes + block * 16 + first % 16);
        const int half = first < 16 ? 0 : 4;
        const float scale = w.scales[2 * block], least = w.scales[2 * block + 1];
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            v[i] = scale * (float)(int)(codes >> (8 * i + half) & 15) + least;
    }
    to[0] = pair_of(v[0], v[1]);
    to[1] = pair_of(v[2], v[3]);
}

/* The same four of a row of x; 0 behind its end. */
__device__ static inline void four_at(uint32_t to[2], const cu_mat &x, int64_t row, int64_t first) {
    const uint16_t *at = (const uint16_t *)x.data + row * x.stride + first;
    uint32_t v[4] = {0, 0, 0, 0};
    if (first + 4 <= x.cols && ((uintptr_t)at & 7) == 0) {
        const uint64_t four = *(const long_word *)at;
        to[0] = (uint32_t)four;
        to[1] = (uint32_t)(four >> 32);
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 4; i++)
        if (first + i < x.cols) v[i] = at[i];
    to[0] = v[0] | v[1] << 16;
    to[1] = v[2] | v[3] << 16;
}

/* Lane 4 · g + t takes inputs 4t … 4t + 3 of each 16 as the fragments' columns 2t, 2t + 1 and 8
 * more: both sides are read four by four. */
__global__ static void coded_linear(cu_mat y, cu_mat x, cu_coded w, int add) {
    __shared__ float sums[WARPS][TILES][ROWS][OUTS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int64_t out = (int64_t)blockIdx.x * HALVES * OUTS;
    const int64_t row = (int64_t)blockIdx.y * TILES * ROWS;
    const int tiles = (int)cu_least((x.rows - row + ROWS - 1) / ROWS, TILES);
    float c[HALVES][TILES][4] = {};
    for (int64_t block = warp; block < w.blocks; block += WARPS) {
        CU_UNROLL
        for (int first = 4 * t; first < 32; first += 16) {
            uint32_t a[HALVES][4];
            CU_UNROLL
            for (int n = 0; n < 2 * HALVES; n++) { /* rows g and g + 8 of each half */
                const int64_t o = out + n * 8 + g;
                uint32_t codes[2] = {0, 0};
                if (o < y.cols) four_of(codes, w, o * w.blocks + block, first);
                a[n / 2][n % 2] = codes[0];
                a[n / 2][2 + n % 2] = codes[1];
            }
            CU_UNROLL
            for (int i = 0; i < TILES; i++) {
                uint32_t b[2] = {0, 0};
                if (i >= tiles) continue;
                if (row + i * ROWS + g < x.rows)
                    four_at(b, x, row + i * ROWS + g, block * 32 + first);
                CU_UNROLL
                for (int half = 0; half < HALVES; half++) mma(c[half][i], a[half], b);
            }
        }
    }
    CU_UNROLL
    for (int half = 0; half < HALVES; half++) {
        __syncthreads();
        CU_UNROLL
        for (int i = 0; i < TILES; i++)
            for (int k = 0; k < 4; k++)
                sums[warp][i][2 * t + k % 2][g + 8 * (k / 2)] = c[half][i][k];
        __syncthreads();
        for (int i = threadIdx.x; i < tiles * ROWS * OUTS; i += 32 * WARPS) {
            const int64_t to_row = row + i / OUTS, to_out = out + half * OUTS + i % OUTS;
            if (to_row >= y.rows || to_out >= y.cols) continue;
            float sum = 0;
            for (int k = 0; k < WARPS; k++)
                sum += sums[k][i / OUTS / ROWS][i / OUTS % ROWS][i % OUTS];
            if (add) sum += cu_get(y, to_row, to_out);
            cu_put(y, to_row, to_out, sum);
        }
    }
}
void cu_coded_linear(cu_queue *q, cu_mat y, cu_mat x, cu_coded w, int add) {
    if (y.rows == 0 || y.cols == 0) return;
    const dim3 grid(cu_blocks(y.cols, HALVES * OUTS), cu_blocks(y.rows, TILES * ROWS));
    CU_LAUNCH(coded_linear, grid, 32 * WARPS, 0, q, y, x, w, add);
}
