/* head.cu - the loss head's rows, chunk by chunk of the vocabulary: a running maximum and sum, the
 * expected row rescaled with it, and what the backward needs. Products come from gemm.h. */
#include "wide.cuh"

#define LOWEST (-3.0e38f)
#define LOG2E 1.4426950408889634f

/* A block takes a row. */
__global__ static void chunk(cu_head h) {
    __shared__ float room[CU_WARPS];
    __shared__ double room_wide[CU_WARPS];
    const int64_t i = blockIdx.x;
    const float *x = h.logits + i * h.n;
    const int64_t mine = threadIdx.x * 8, step = CU_THREADS * 8;
    float v[8];
    const float before = h.v ? h.most[i] : LOWEST;
    const double sum_before = h.v ? h.sum[i] : 0;
    float top = before;
    for (int64_t j = mine; j < h.n; j += step) {
        floats_8(v, x + j, h.n - j);
        CU_UNROLL
        for (int k = 0; k < 8; k++)
            if (j + k < h.n) top = fmaxf(top, v[k]);
    }
    const float now = cu_block_max(top, room);
    double sum = 0;
    for (int64_t j = mine; j < h.n; j += step) {
        floats_8(v, x + j, h.n - j);
        CU_UNROLL
        for (int k = 0; k < 8; k++) {
            v[k] = j + k < h.n ? exp2f((v[k] - now) * LOG2E) : 0;
            sum += (double)v[k];
        }
        if (h.weights.data) store_8(h.weights, i, j, h.n, v);
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
    for (int64_t j = mine; j < h.d; j += step) {
        float *at = h.ew + i * h.d + j;
        floats_8(v, at, h.d - j);
        CU_UNROLL
        for (int k = 0; k < 8; k++) v[k] *= (float)shrink;
        put_floats_8(at, v, h.d - j);
    }
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
    for (int64_t j = threadIdx.x * 8; j < h.d; j += CU_THREADS * 8) {
        float v[8];
        floats_8(v, h.ew + i * h.d + j, h.d - j);
        CU_UNROLL
        for (int k = 0; k < 8; k++) v[k] *= by;
        store_8(out, i, j, h.d, v);
    }
}
void cu_head_finish(cu_queue *q, const cu_head *h, cu_mat out) {
    const cu_head args = *h;
    if (h->N) CU_LAUNCH(finish, (unsigned)h->N, CU_THREADS, 0, q, args, out);
}

/* dh = Σ_m g_m (W[id_m] - ew). */
__global__ static void head_back(cu_mat dh, const float *g, cu_mat ew, cu_mat w,
                                 const int32_t *first, const int32_t *id) {
    const int64_t i = blockIdx.x;
    for (int64_t j = threadIdx.x * 8; j < dh.cols; j += CU_THREADS * 8) {
        float mean[8], row[8], sum[8] = {0};
        load_8(mean, ew, i, j, dh.cols);
        for (int64_t m = first[i]; m < first[i + 1]; m++) {
            load_8(row, w, id[m], j, dh.cols);
            CU_UNROLL
            for (int k = 0; k < 8; k++) sum[k] = fmaf(g[m], row[k] - mean[k], sum[k]);
        }
        store_8(dh, i, j, dh.cols, sum);
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
    for (int64_t j = threadIdx.x * 8; j < h.n; j += CU_THREADS * 8) {
        float v[8];
        floats_8(v, h.logits + i * h.n + j, h.n - j);
        CU_UNROLL
        for (int k = 0; k < 8; k++) v[k] = minus * exp2f(fmaf(v[k], LOG2E, -lse));
        for (int64_t m = h.first[i]; m < h.first[i + 1]; m++) {
            CU_UNROLL
            for (int k = 0; k < 8; k++)
                if (h.id[m] == h.v + j + k) v[k] += g[m];
        }
        store_8(h.weights, i, j, h.n, v);
    }
}
void cu_head_slopes(cu_queue *q, const cu_head *h, const float *g) {
    const cu_head args = *h;
    if (h->N) CU_LAUNCH(slopes, (unsigned)h->N, CU_THREADS, 0, q, args, g);
}
