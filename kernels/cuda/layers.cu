/* layers.cu - norm, position, gate. A block takes a row; where a sum runs over rows, a thread takes
 * a column and goes through the rows in order. */
#include "kernel.cuh"

__global__ static void rms_norm(cu_norm n) {
    __shared__ float room[CU_WARPS];
    const int64_t t = blockIdx.x, d = n.x.cols;
    const bool adds = n.delta.data != NULL;
    const cu_mat from = adds ? n.sum : n.x;
    float squares = 0;
    for (int64_t i = threadIdx.x; i < d; i += CU_THREADS) {
        if (adds) cu_put(n.sum, t, i, cu_get(n.x, t, i) + cu_get(n.delta, t, i));
        const float a = cu_get(from, t, i);
        squares = fmaf(a, a, squares);
    }
    squares = cu_block_sum(squares, room);
    const float rms = sqrtf(squares / (float)d + n.eps), inverse = 1 / rms;
    if (threadIdx.x == 0) n.rms[t] = rms;
    for (int64_t i = threadIdx.x; i < d; i += CU_THREADS)
        cu_put(n.y, t, i, cu_get(from, t, i) * inverse * n.w[i]);
}
void cu_rms_norm(cu_queue *q, cu_norm n) {
    if (n.x.rows == 0) return;
    CU_LAUNCH(rms_norm, (unsigned)n.x.rows, CU_THREADS, 0, q, n);
}

/* y_i = w_i x_i / r: dx_i = w_i dy_i / r - x_i / (d r³) Σ_j w_j dy_j x_j. */
__global__ static void norm_back(cu_norm_back n) {
    __shared__ float room[CU_WARPS];
    const int64_t t = blockIdx.x, d = n.x.cols;
    float dot = 0;
    for (int64_t i = threadIdx.x; i < d; i += CU_THREADS)
        dot = fmaf(n.w[i] * cu_get(n.dy, t, i), cu_get(n.x, t, i), dot);
    dot = cu_block_sum(dot, room);
    const float r = 1 / n.rms[t], along = -dot * r * r * r / (float)d;
    for (int64_t i = threadIdx.x; i < d; i += CU_THREADS) {
        float a = n.w[i] * cu_get(n.dy, t, i) * r;
        a = fmaf(cu_get(n.x, t, i), along, a);
        if (n.dres.data) a += cu_get(n.dres, t, i);
        cu_put(n.dx, t, i, a);
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
    CU_LAUNCH(norm_back, (unsigned)n.x.rows, CU_THREADS, 0, q, n);
}

/* A thread turns one pair. */
__global__ static void rope(cu_mat x, const int32_t *positions, const float *table, int64_t hd,
                            float direction) {
    const int64_t half = hd / 2, pairs = x.cols / 2;
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= x.rows * pairs) return;
    const int64_t t = n / pairs, i = n % pairs % half, j = n % pairs / half * hd + i;
    const float *turn = table + (positions[t] * half + i) * 2;
    const float c = turn[0], s = direction * turn[1];
    const float a = cu_get(x, t, j), b = cu_get(x, t, j + half);
    cu_put(x, t, j, a * c - b * s);
    cu_put(x, t, j + half, fmaf(b, c, a * s));
}
void cu_rope(cu_queue *q, cu_mat x, const int32_t *positions, const float *table, int64_t hd,
             float direction) {
    const int64_t n = x.rows * (x.cols / 2);
    if (n == 0) return;
    CU_LAUNCH(rope, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, x, positions, table, hd, direction);
}

/* 1 / (1 + e^-x). e^87 keeps its inverse above zero's neighbourhood. */
__device__ static inline float sigmoid(float x) { return 1 / (1 + expf(fminf(87.0f, -x))); }

__global__ static void swiglu(cu_mat y, cu_mat gate, cu_mat up) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= y.rows * y.cols) return;
    const int64_t t = n / y.cols, i = n % y.cols;
    const float g = cu_get(gate, t, i);
    cu_put(y, t, i, g * sigmoid(g) * cu_get(up, t, i));
}
void cu_swiglu(cu_queue *q, cu_mat y, cu_mat gate, cu_mat up) {
    const int64_t n = y.rows * y.cols;
    if (n == 0) return;
    CU_LAUNCH(swiglu, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, y, gate, up);
}

/* silu'(g) = σ (1 + g (1 - σ)). Outputs may lie over the inputs: a thread reads before it writes.
 */
__global__ static void swiglu_back(cu_gate_back b) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= b.dy.rows * b.dy.cols) return;
    const int64_t t = n / b.dy.cols, i = n % b.dy.cols;
    const float g = cu_get(b.gate, t, i), u = cu_get(b.up, t, i), d = cu_get(b.dy, t, i);
    const float sigma = sigmoid(g), slope = sigma * fmaf(g, 1 - sigma, 1.0f);
    cu_put(b.dgate, t, i, d * u * slope);
    cu_put(b.dup, t, i, d * g * sigma);
}
void cu_swiglu_backward(cu_queue *q, cu_gate_back b) {
    const int64_t n = b.dy.rows * b.dy.cols;
    if (n == 0) return;
    CU_LAUNCH(swiglu_back, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, b);
}
