/* head.cu - the loss head's rows, chunk by chunk of the vocabulary: a running maximum and sum, the
 * expected row rescaled with it, and what the backward needs. Products come from gemm.h. */
#include "kernel.cuh"

#define LOWEST (-3.0e38f)
#define LOG2E 1.4426950408889634f

/* A block takes a row. */
__global__ static void chunk(cu_head h) {
    __shared__ float room[CU_WARPS];
    __shared__ double room_wide[CU_WARPS];
    const int64_t i = blockIdx.x;
    const float *x = h.logits + i * h.n;
    const float before = h.v ? h.most[i] : LOWEST;
    const double sum_before = h.v ? h.sum[i] : 0;
    float top = before;
    for (int64_t j = threadIdx.x; j < h.n; j += CU_THREADS) top = fmaxf(top, x[j]);
    const float now = cu_block_max(top, room);
    double sum = 0;
    for (int64_t j = threadIdx.x; j < h.n; j += CU_THREADS) {
        const float p = exp2f((x[j] - now) * LOG2E);
        sum += (double)p;
        if (h.weights.data) cu_put(h.weights, i, j, p);
    }
    sum = cu_block_sum(sum, room_wide);
    const double shrink = h.v && before != now ? exp((double)before - (double)now) : 1;
    if (threadIdx.x == 0) {
        h.most[i] = now;
        h.sum[i] = sum_before * shrink + sum;
    }
    for (int64_t m = h.first[i] + threadIdx.x; m < h.first[i + 1]; m += CU_THREADS)
        if (h.id[m] >= h.v && h.id[m] < h.v + h.n) h.logp[m] = (double)x[h.id[m] - h.v];
    if (!h.weights.data || h.v == 0 || shrink == 1) return;
    for (int64_t j = threadIdx.x; j < h.d; j += CU_THREADS) h.ew[i * h.d + j] *= (float)shrink;
}
void cu_head_chunk(cu_queue *q, const cu_head *h) {
    const cu_head args = *h;
    if (h->N) CU_LAUNCH(chunk, (unsigned)h->N, CU_THREADS, 0, q, args);
}

__global__ static void finish(cu_head h, cu_mat out) {
    const int64_t i = blockIdx.x;
    const double lse = (double)h.most[i] + log(h.sum[i]);
    if (threadIdx.x == 0) h.lse[i] = (float)lse;
    for (int64_t m = h.first[i] + threadIdx.x; m < h.first[i + 1]; m += CU_THREADS)
        h.logp[m] -= lse;
    if (!out.data) return;
    const float by = (float)(1 / h.sum[i]);
    for (int64_t j = threadIdx.x; j < h.d; j += CU_THREADS)
        cu_put(out, i, j, h.ew[i * h.d + j] * by);
}
void cu_head_finish(cu_queue *q, const cu_head *h, cu_mat out) {
    const cu_head args = *h;
    if (h->N) CU_LAUNCH(finish, (unsigned)h->N, CU_THREADS, 0, q, args, out);
}

/* dh = Σ_m g_m (W[id_m] - ew). */
__global__ static void head_back(cu_mat dh, const float *g, cu_mat ew, cu_mat w,
                                 const int32_t *first, const int32_t *id) {
    const int64_t i = blockIdx.x;
    for (int64_t j = threadIdx.x; j < dh.cols; j += CU_THREADS) {
        const float mean = cu_get(ew, i, j);
        float sum = 0;
        for (int64_t m = first[i]; m < first[i + 1]; m++)
            sum = fmaf(g[m], cu_get(w, id[m], j) - mean, sum);
        cu_put(dh, i, j, sum);
    }
}
void cu_head_backward(cu_queue *q, cu_mat dh, const float *g, cu_mat ew, cu_mat w,
                      const int32_t *first, const int32_t *id) {
    if (dh.rows == 0) return;
    CU_LAUNCH(head_back, (unsigned)dh.rows, CU_THREADS, 0, q, dh, g, ew, w, first, id);
}

/* dlogit_v = Σ_m g_m ([id_m = v] - p_v). */
__global__ static void slopes(cu_head h, const float *g) {
    const int64_t i = blockIdx.x;
    const float lse = h.lse[i] * LOG2E;
    float minus = 0;
    for (int64_t m = h.first[i]; m < h.first[i + 1]; m++) minus -= g[m];
    for (int64_t j = threadIdx.x; j < h.n; j += CU_THREADS) {
        float slope = minus * exp2f(fmaf(h.logits[i * h.n + j], LOG2E, -lse));
        for (int64_t m = h.first[i]; m < h.first[i + 1]; m++)
            if (h.id[m] == h.v + j) slope += g[m];
        cu_put(h.weights, i, j, slope);
    }
}
void cu_head_slopes(cu_queue *q, const cu_head *h, const float *g) {
    const cu_head args = *h;
    if (h->N) CU_LAUNCH(slopes, (unsigned)h->N, CU_THREADS, 0, q, args, g);
}
