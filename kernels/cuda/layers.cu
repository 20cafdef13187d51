/* layers.cu - norm, position, gate. A norm's block takes a row, its threads pieces of eight values,
 * which stay in registers between the sum and what is made of it; elsewhere a thread has a piece.
 * Where a sum runs over rows, a thread takes a column and goes through the rows in order. */
#include "wide.cuh"

enum { NORM_WARPS = 8, KEPT = 4, KEPT_BACK = 2 };

/* Threads for a row of d values: by d alone, as the order of sums. */
static unsigned row_threads(int64_t d) {
    const int64_t warps = (d + 8 * 32 - 1) / (8 * 32);
    if (warps > (int64_t)NORM_WARPS) return 32 * (unsigned)NORM_WARPS;
    return warps ? 32 * (unsigned)warps : 32;
}
__device__ static inline float row_sum(float value) {
    __shared__ float room[NORM_WARPS];
    value = cu_warp_sum(value);
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = room[0];
    for (int i = 1; i < (int)blockDim.x / 32; i++) sum += room[i];
    return sum;
}

/* What a row's norm is taken of: x, or its sum with delta as it is stored; and its squares. */
__device__ static inline float norm_piece(float v[8], const cu_norm &n, int64_t t, int64_t first,
                                          float squares) {
    const int64_t d = n.x.cols;
    load_8(v, n.x, t, first, d);
    if (n.delta.data) {
        float more[8];
        load_8(more, n.delta, t, first, d);
        CU_UNROLL
        for (int i = 0; i < 8; i++) {
            v[i] += more[i];
            if (n.sum.bf16) v[i] = cu_widen(cu_narrow(v[i]));
        }
        store_8(n.sum, t, first, d, v);
    }
    CU_UNROLL
    for (int i = 0; i < 8; i++) squares = fmaf(v[i], v[i], squares);
    return squares;
}
__device__ static inline void norm_put(const cu_norm &n, int64_t t, int64_t first, float v[8],
                                       float inverse) {
    float w[8];
    floats_8(w, n.w + first, n.x.cols - first);
    CU_UNROLL
    for (int i = 0; i < 8; i++) v[i] = v[i] * inverse * w[i];
    store_8(n.y, t, first, n.x.cols, v);
}
__global__ static void rms_norm(cu_norm n) {
    const int64_t t = blockIdx.x, d = n.x.cols, step = blockDim.x * 8, mine = threadIdx.x * 8;
    float kept[KEPT][8], v[8], squares = 0;
    CU_UNROLL
    for (int k = 0; k < KEPT; k++)
        if (mine + k * step < d) squares = norm_piece(kept[k], n, t, mine + k * step, squares);
    for (int64_t i = mine + KEPT * step; i < d; i += step)
        squares = norm_piece(v, n, t, i, squares);
    const float rms = sqrtf(row_sum(squares) / (float)d + n.eps), inverse = 1 / rms;
    if (threadIdx.x == 0) n.rms[t] = rms;
    CU_UNROLL
    for (int k = 0; k < KEPT; k++)
        if (mine + k * step < d) norm_put(n, t, mine + k * step, kept[k], inverse);
    for (int64_t i = mine + KEPT * step; i < d; i += step) {
        load_8(v, n.delta.data ? n.sum : n.x, t, i, d);
        norm_put(n, t, i, v, inverse);
    }
}
void cu_rms_norm(cu_queue *q, cu_norm n) {
    if (n.x.rows == 0) return;
    CU_LAUNCH(rms_norm, (unsigned)n.x.rows, row_threads(n.x.cols), 0, q, n);
}

/* y_i = w_i x_i / r: dx_i = w_i dy_i / r - x_i / (d r³) Σ_j w_j dy_j x_j. */
__device__ static inline float back_piece(float slope[8], float x[8], const cu_norm_back &n,
                                          int64_t t, int64_t first, float dot) {
    const int64_t d = n.x.cols;
    float w[8];
    load_8(slope, n.dy, t, first, d);
    load_8(x, n.x, t, first, d);
    floats_8(w, n.w + first, d - first);
    CU_UNROLL
    for (int i = 0; i < 8; i++) {
        slope[i] = w[i] * slope[i];
        dot = fmaf(slope[i], x[i], dot);
    }
    return dot;
}
__device__ static inline void back_put(const cu_norm_back &n, int64_t t, int64_t first,
                                       float slope[8], const float x[8], float r, float along) {
    float res[8] = {0};
    if (n.dres.data) load_8(res, n.dres, t, first, n.x.cols);
    CU_UNROLL
    for (int i = 0; i < 8; i++) slope[i] = fmaf(x[i], along, slope[i] * r) + res[i];
    store_8(n.dx, t, first, n.x.cols, slope);
}
__global__ static void norm_back(cu_norm_back n) {
    const int64_t t = blockIdx.x, d = n.x.cols, step = blockDim.x * 8, mine = threadIdx.x * 8;
    float slopes[KEPT_BACK][8], values[KEPT_BACK][8], slope[8], x[8], dot = 0;
    CU_UNROLL
    for (int k = 0; k < KEPT_BACK; k++)
        if (mine + k * step < d) dot = back_piece(slopes[k], values[k], n, t, mine + k * step, dot);
    for (int64_t i = mine + KEPT_BACK * step; i < d; i += step)
        dot = back_piece(slope, x, n, t, i, dot);
    const float r = 1 / n.rms[t], along = -row_sum(dot) * r * r * r / (float)d;
    CU_UNROLL
    for (int k = 0; k < KEPT_BACK; k++)
        if (mine + k * step < d) back_put(n, t, mine + k * step, slopes[k], values[k], r, along);
    for (int64_t i = mine + KEPT_BACK * step; i < d; i += step) {
        back_piece(slope, x, n, t, i, 0);
        back_put(n, t, i, slope, x, r, along);
    }
}
/* dw_i += Σ_t dy_i x_i / r. */
__global__ static void norm_back_weight(cu_norm_back n) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (i >= n.x.cols) return;
    float sum = 0;
    for (int64_t t = 0; t < n.x.rows; t++)
        sum = fmaf(cu_get(n.dy, t, i) * (1 / n.rms[t]), cu_get(n.x, t, i), sum);
    n.dw[i] += sum;
}
void cu_rms_norm_backward(cu_queue *q, cu_norm_back n) {
    if (n.x.rows == 0 || n.x.cols == 0) return;
    if (n.dw) CU_LAUNCH(norm_back_weight, cu_blocks(n.x.cols, CU_THREADS), CU_THREADS, 0, q, n);
    CU_LAUNCH(norm_back, (unsigned)n.x.rows, row_threads(n.x.cols), 0, q, n);
}

/* A thread turns eight pairs of a head. */
__global__ static void rope(cu_mat x, const int32_t *positions, const float *table, int hd,
                            float direction) {
    const int half = hd / 2, pieces = (half + 7) / 8;
    const int n = (int)(blockIdx.y * CU_THREADS + threadIdx.x), head = n / pieces;
    const int i = n % pieces * 8, many = half - i < 8 ? half - i : 8;
    const int64_t t = blockIdx.x, low = (int64_t)head * hd + i, high = low + half;
    if (low >= x.cols) return;
    const float *turn = table + ((int64_t)positions[t] * half + i) * 2;
    float a[8], b[8], turns[16];
    load_8(a, x, t, low, low + many);
    load_8(b, x, t, high, high + many);
    floats_8(turns, turn, 2 * many);
    floats_8(turns + 8, turn + 8, 2 * many - 8);
    CU_UNROLL
    for (int k = 0; k < 8; k++) {
        const float c = turns[2 * k], s = direction * turns[2 * k + 1], old = a[k];
        a[k] = old * c - b[k] * s;
        b[k] = fmaf(b[k], c, old * s);
    }
    store_8(x, t, low, low + many, a);
    store_8(x, t, high, high + many, b);
}
void cu_rope(cu_queue *q, cu_mat x, const int32_t *positions, const float *table, int64_t hd,
             float direction) {
    const int64_t units = hd > 1 ? x.cols / hd * ((hd / 2 + 7) / 8) : 0;
    const dim3 grid((unsigned)x.rows, cu_blocks(units, CU_THREADS));
    if (x.rows == 0 || units == 0) return;
    CU_LAUNCH(rope, grid, CU_THREADS, 0, q, x, positions, table, (int)hd, direction);
}

/* 1 / (1 + e^-x). e^87 keeps its inverse above zero's neighbourhood. */
__device__ static inline float sigmoid(float x) { return 1 / (1 + expf(fminf(87.0f, -x))); }

__global__ static void swiglu(cu_mat y, cu_mat gate, cu_mat up) {
    const int64_t t = blockIdx.x, first = piece_at();
    float g[8], u[8];
    if (first >= y.cols) return;
    load_8(g, gate, t, first, y.cols);
    load_8(u, up, t, first, y.cols);
    CU_UNROLL
    for (int i = 0; i < 8; i++) g[i] = g[i] * sigmoid(g[i]) * u[i];
    store_8(y, t, first, y.cols, g);
}
void cu_swiglu(cu_queue *q, cu_mat y, cu_mat gate, cu_mat up) {
    if (y.rows == 0 || y.cols == 0) return;
    CU_LAUNCH(swiglu, pieces_grid(y), CU_THREADS, 0, q, y, gate, up);
}

/* silu'(g) = σ (1 + g (1 - σ)). Outputs may lie over the inputs: a thread reads before it writes.
 */
__global__ static void swiglu_back(cu_gate_back b) {
    const int64_t t = blockIdx.x, first = piece_at(), end = b.dy.cols;
    float g[8], u[8], d[8];
    if (first >= end) return;
    load_8(g, b.gate, t, first, end);
    load_8(u, b.up, t, first, end);
    load_8(d, b.dy, t, first, end);
    CU_UNROLL
    for (int i = 0; i < 8; i++) {
        const float sigma = sigmoid(g[i]), slope = sigma * fmaf(g[i], 1 - sigma, 1.0f);
        const float up = u[i];
        u[i] = d[i] * g[i] * sigma;
        g[i] = d[i] * up * slope;
    }
    store_8(b.dgate, t, first, end, g);
    store_8(b.dup, t, first, end, u);
}
void cu_swiglu_backward(cu_queue *q, cu_gate_back b) {
    if (b.dy.rows == 0 || b.dy.cols == 0) return;
    CU_LAUNCH(swiglu_back, pieces_grid(b.dy), CU_THREADS, 0, q, b);
}
