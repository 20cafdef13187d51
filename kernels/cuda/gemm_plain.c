/* gemm_plain.c - the product as loops, where device memory is the host's: a stand-in for cuBLASLt,
 * sums in float64. */
#include "gemm.h"

#include <stdbool.h>
#include <stdlib.h>

#include "backend.h"

struct cu_gemms {
    void *stream;
};
int simt_later(void *stream, void (*run)(void *), const void *argument, size_t bytes); /* simt.h */

const char *cu_gemms_open(cu_queue *q, cu_gemms **out) {
    *out = calloc(1, sizeof **out);
    if (!*out) return "out of memory";
    (*out)->stream = cu_stream_of(q);
    return NULL;
}
void cu_gemms_close(cu_gemms *g) { free(g); }
int64_t cu_gemms_version(void) { return 0; }
int64_t cu_gemms_bytes(void) { return 0; }

static float get(const cu_mat *m, int64_t i, int64_t j) {
    const int64_t at = i * m->stride + j;
    return m->bf16 ? px_f32_of(((const uint16_t *)m->data)[at]) : ((const float *)m->data)[at];
}
static void put(const cu_mat *m, int64_t i, int64_t j, float value) {
    const int64_t at = i * m->stride + j;
    if (m->bf16)
        ((uint16_t *)m->data)[at] = px_bf16_of(value);
    else
        ((float *)m->data)[at] = value;
}

/* Rows of m widened, turned on the way if wanted. */
static float *widen(const cu_mat *m, int turned) {
    float *out = calloc((size_t)(m->rows * m->cols) + 1, sizeof *out);
    for (int64_t i = 0; out && i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++)
            out[turned ? j * m->rows + i : i * m->cols + j] = get(m, i, j);
    return out;
}

static const char *run(const cu_gemm *p) {
    const int64_t M = p->c.rows, N = p->c.cols, K = p->a_turned ? p->a.rows : p->a.cols;
    float *a = widen(&p->a, p->a_turned), *b = widen(&p->b, p->b_turned);
    double *sum = malloc((size_t)N * sizeof *sum + 1);
    for (int64_t i = 0; a && b && sum && i < M; i++) {
        for (int64_t j = 0; j < N; j++) sum[j] = p->add ? (double)get(&p->c, i, j) : 0;
        for (int64_t k = 0; k < K; k++) {
            const double x = (double)a[i * K + k];
            const float *row = b + k * N;
            for (int64_t j = 0; j < N; j++) sum[j] += x * (double)row[j];
        }
        for (int64_t j = 0; j < N; j++) put(&p->c, i, j, (float)sum[j]);
    }
    const bool done = a && b && sum;
    free(a), free(b), free(sum);
    return done ? NULL : "out of memory";
}

/* Without memory there a graph's product is left undone: it is for tests. */
static void run_later(void *product) { (void)run(product); }

const char *cu_gemm_run(cu_gemms *g, const cu_gemm *p) {
    if (simt_later(g->stream, run_later, p, sizeof *p)) return NULL;
    return run(p);
}
