/* lora.cu - low-rank adapters and their dropout: in f32 here, in bf16 by lora_mma*.cu. */
#include "lora.cuh"

enum { CHUNK = 1024, RANKS = 8 }; /* columns of a row in shared memory; ranks a thread keeps */

/* 0 or 1/(1-p): what element (t, j) is multiplied by. */
__device__ static inline float factor_of(const cu_drop &drop, int64_t t, int64_t j) {
    if (drop.least == 0) return drop.scale;
    const uint32_t word = draws_of(drop, t, j / 128 * 16 + j % 16).v[j / 16 % 4];
    const uint32_t draw = j / 64 % 2 ? word >> 16 : word & 0xFFFF;
    return draw >= drop.least ? drop.scale : 0;
}

/* drop(x)[t, first …] into `row`; counters are shared out, so that each is drawn once. */
__device__ static void load_dropped(float *row, const cu_mat &x, int64_t t, int64_t first,
                                    int64_t n, const cu_drop &drop) {
    if (drop.least == 0) {
        for (int64_t j = threadIdx.x; j < n; j += CU_THREADS)
            row[j] = cu_get(x, t, first + j) * drop.scale;
        return;
    }
    for (int64_t c = threadIdx.x; c < CHUNK / 8; c += CU_THREADS) {
        const int64_t begin = c / 16 * 128 + c % 16;
        if (begin >= n) continue;
        const draws d = draws_of(drop, t, first / 8 + c);
        for (int k = 0; k < 8; k++) {
            const int64_t j = begin + 16 * (k % 4) + 64 * (k / 4);
            const uint32_t draw = k / 4 ? d.v[k % 4] >> 16 : d.v[k % 4] & 0xFFFF;
            if (j < n) row[j] = draw >= drop.least ? cu_get(x, t, first + j) * drop.scale : 0;
        }
    }
}

/* A block takes a row of x, a warp every fourth rank. */
__global__ static void down(float *u, cu_mat x, const float *a, int64_t R, cu_drop drop) {
    CU_SHARED(float, sums); /* [R] */
    __shared__ float row[CHUNK];
    const int64_t t = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int64_t first = 0; first < x.cols; first += CHUNK) {
        const int64_t n = cu_least(x.cols - first, CHUNK);
        __syncthreads();
        load_dropped(row, x, t, first, n, drop);
        __syncthreads();
        for (int64_t k = warp; k < R; k += CU_WARPS) {
            float sum = 0;
            for (int64_t j = lane; j < n; j += 32)
                sum = fmaf(row[j], a[k * x.cols + first + j], sum);
            sum = cu_warp_sum(sum);
            if (lane == 0) sums[k] = first ? sums[k] + sum : sum;
        }
    }
    __syncthreads();
    for (int64_t k = threadIdx.x; k < R; k += CU_THREADS) u[t * R + k] = sums[k];
}
void cu_lora_down(cu_queue *q, float *u, cu_mat x, const float *a, int64_t R, cu_drop drop) {
    const lora_weight w = {(float *)a, x.cols, 1};
    if (x.rows == 0 || cu_lora_down_mma(q, lora_ranks{u, R, 0, R}, x, w, drop)) return;
    CU_LAUNCH(down, (unsigned)x.rows, CU_THREADS, (size_t)R * sizeof(float), q, u, x, a, R, drop);
}

/* Of B [out, r]; dropout that drops nothing. */
static lora_weight of_outputs(const float *b, cu_part part) {
    return lora_weight{(float *)b, 1, part.r};
}
static lora_ranks ranks_of(const float *u, cu_part part) {
    return lora_ranks{(float *)u, part.R, part.first, part.r};
}
static cu_drop scaled(float scale) { return cu_drop{0, 0, 0, 0, scale, NULL}; }

__global__ static void up(cu_mat y, const float *u, const float *b, cu_part part) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= y.rows * y.cols) return;
    const int64_t t = n / y.cols, o = n % y.cols;
    float sum = 0;
    for (int64_t k = 0; k < part.r; k++)
        sum = fmaf(u[t * part.R + part.first + k], b[o * part.r + k], sum);
    cu_put(y, t, o, fmaf(part.scale, sum, cu_get(y, t, o)));
}
void cu_lora_up(cu_queue *q, cu_mat y, const float *u, const float *b, cu_part part) {
    const int64_t n = y.rows * y.cols;
    if (n == 0) return;
    if (cu_lora_up_mma(q, y, ranks_of(u, part), of_outputs(b, part), scaled(part.scale))) return;
    CU_LAUNCH(up, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, y, u, b, part);
}

/* du[t, part] = scale · dy · B: a warp takes a row. */
__global__ static void up_back(float *du, cu_mat dy, const float *b, cu_part part) {
    const int64_t t = (int64_t)blockIdx.x * CU_WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (t >= dy.rows) return;
    for (int64_t first = 0; first < part.r; first += RANKS) {
        const int n = (int)cu_least(part.r - first, RANKS);
        float sum[RANKS] = {0};
        for (int64_t o = lane; o < dy.cols; o += 32) {
            const float d = cu_get(dy, t, o);
            for (int k = 0; k < n; k++) sum[k] = fmaf(d, b[o * part.r + first + k], sum[k]);
        }
        for (int k = 0; k < n; k++) {
            const float all = cu_warp_sum(sum[k]);
            if (lane == 0) du[t * part.R + part.first + first + k] = part.scale * all;
        }
    }
}
/* db[o, k] += scale · Σ_t dy[t, o] u[t, k]: a thread takes an output. */
__global__ static void up_back_weight(float *db, cu_mat dy, const float *u, cu_part part) {
    const int64_t o = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x, first = blockIdx.y * RANKS;
    if (o >= dy.cols) return;
    const int n = (int)cu_least(part.r - first, RANKS);
    float sum[RANKS] = {0};
    for (int64_t t = 0; t < dy.rows; t++) {
        const float d = cu_get(dy, t, o);
        const float *row = u + t * part.R + part.first + first;
        for (int k = 0; k < n; k++) sum[k] = fmaf(d, row[k], sum[k]);
    }
    for (int k = 0; k < n; k++) {
        float *to = &db[o * part.r + first + k];
        *to = fmaf(part.scale, sum[k], *to);
    }
}
void cu_lora_up_backward(cu_queue *q, float *du, float *db, cu_mat dy, const float *u,
                         const float *b, cu_part part, float *room) {
    if (dy.rows == 0) return;
    const dim3 grid(cu_blocks(dy.cols, CU_THREADS), cu_blocks(part.r, RANKS));
    const cu_drop scale = scaled(part.scale);
    if (cu_lora_down_mma(q, ranks_of(du, part), dy, of_outputs(b, part), scale)) {
        if (dy.cols)
            cu_lora_weight_mma(q, of_outputs(db, part), ranks_of(u, part), dy, scale, room);
        return;
    }
    CU_LAUNCH(up_back, cu_blocks(dy.rows, CU_WARPS), CU_THREADS, 0, q, du, dy, b, part);
    if (dy.cols) CU_LAUNCH(up_back_weight, grid, CU_THREADS, 0, q, db, dy, u, part);
}

/* da[k, i] += Σ_t du[t, k] drop(x)[t, i]: a thread takes a column of x. */
__global__ static void down_back_weight(float *da, const float *du, cu_mat x, int64_t R,
                                        cu_drop drop) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x, first = blockIdx.y * RANKS;
    if (i >= x.cols) return;
    const int n = (int)cu_least(R - first, RANKS);
    float sum[RANKS] = {0};
    for (int64_t t = 0; t < x.rows; t++) {
        const float factor = factor_of(drop, t, i);
        const float value = factor == 0 ? 0 : factor * cu_get(x, t, i);
        for (int k = 0; k < n; k++) sum[k] = fmaf(du[t * R + first + k], value, sum[k]);
    }
    for (int k = 0; k < n; k++) da[(first + k) * x.cols + i] += sum[k];
}
/* dx[t, i] += mask · Σ_k du[t, k] A[k, i]. */
__global__ static void down_back(cu_mat dx, const float *du, const float *a, int64_t R,
                                 cu_drop drop) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= dx.rows * dx.cols) return;
    const int64_t t = n / dx.cols, i = n % dx.cols;
    const float factor = factor_of(drop, t, i);
    float sum = 0;
    for (int64_t k = 0; k < R; k++) sum = fmaf(du[t * R + k], a[k * dx.cols + i], sum);
    cu_put(dx, t, i, fmaf(factor, sum, cu_get(dx, t, i)));
}
void cu_lora_down_backward(cu_queue *q, cu_mat dx, float *da, const float *du, cu_mat x,
                           const float *a, int64_t R, cu_drop drop, float *room) {
    const int64_t n = x.rows * x.cols;
    const lora_weight w = {(float *)a, x.cols, 1}, to = {da, x.cols, 1};
    const lora_ranks u = {(float *)du, R, 0, R};
    if (n == 0) return;
    const dim3 grid(cu_blocks(x.cols, CU_THREADS), cu_blocks(R, RANKS));
    if (!cu_lora_weight_mma(q, to, u, x, drop, room))
        CU_LAUNCH(down_back_weight, grid, CU_THREADS, 0, q, da, du, x, R, drop);
    if (dx.data && !cu_lora_up_mma(q, dx, u, w, drop))
        CU_LAUNCH(down_back, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, dx, du, a, R, drop);
}
