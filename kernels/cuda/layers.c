/* layers.c - norm, position, gate, embeddings, rows, optimiser: operands to the device, a kernel.
 */
#include <math.h>

#include "cuda.h"

static float *floats(px_stream *s, const float *p, int64_t n, cuda_use use) {
    return cuda_array(s, p, (size_t)n * sizeof *p, use);
}
static const int32_t *indices(px_stream *s, const int32_t *p, int64_t n) {
    return cuda_array(s, p, (size_t)n * sizeof *p, CUDA_IN);
}

void cuda_rms_norm(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                   const float *w, float eps) {
    cu_norm n = {.y = cuda_mat(s, y, CUDA_OUT),
                 .x = cuda_mat(s, x, CUDA_IN),
                 .rms = floats(s, rms, x.rows, CUDA_OUT),
                 .w = floats(s, w, x.cols, CUDA_IN),
                 .eps = eps};
    if (delta.data) {
        n.delta = cuda_mat(s, delta, CUDA_IN);
        n.sum = cuda_mat(s, sum, CUDA_OUT);
    }
    if (cuda_ready(s)) cu_rms_norm(cuda_queue(s), n);
    cuda_done(s);
}

void cuda_rms_norm_backward(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy, px_mat x,
                            const float *rms, const float *w) {
    const cu_norm_back n = {.dx = cuda_mat(s, dx, CUDA_OUT),
                            .dres = cuda_mat(s, dres, CUDA_IN),
                            .dy = cuda_mat(s, dy, CUDA_IN),
                            .x = cuda_mat(s, x, CUDA_IN),
                            .rms = floats(s, rms, x.rows, CUDA_IN),
                            .w = floats(s, w, x.cols, CUDA_IN),
                            .dw = floats(s, dw, x.cols, CUDA_BOTH)};
    if (cuda_ready(s)) cu_rms_norm_backward(cuda_queue(s), n);
    cuda_done(s);
}

/* The table is as long as the largest position wants. */
void cuda_rope(px_stream *s, px_mat x, const int32_t *positions, const float *table, int64_t hd,
               int direction) {
    int64_t last = -1;
    const bool is_host = !cu_is_device(table);
    for (int64_t i = 0; is_host && i < x.rows; i++) last = PX_MAX(last, (int64_t)positions[i]);
    const cu_mat m = cuda_mat(s, x, CUDA_BOTH);
    const int32_t *at = indices(s, positions, x.rows);
    const float *turns = is_host ? floats(s, table, (last + 1) * hd, CUDA_IN) : table;
    if (cuda_ready(s)) cu_rope(cuda_queue(s), m, at, turns, hd, (float)direction);
    cuda_done(s);
}

void cuda_swiglu(px_stream *s, px_mat y, px_mat gate, px_mat up) {
    const cu_mat g = cuda_mat(s, gate, CUDA_IN), u = cuda_mat(s, up, CUDA_IN);
    const cu_mat to = cuda_mat(s, y, CUDA_OUT);
    if (cuda_ready(s)) cu_swiglu(cuda_queue(s), to, g, u);
    cuda_done(s);
}

void cuda_swiglu_backward(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                          px_mat up) {
    const cu_gate_back b = {.dgate = cuda_mat(s, dgate, CUDA_OUT),
                            .dup = cuda_mat(s, dup, CUDA_OUT),
                            .dy = cuda_mat(s, dy, CUDA_IN),
                            .gate = cuda_mat(s, gate, CUDA_IN),
                            .up = cuda_mat(s, up, CUDA_IN)};
    if (cuda_ready(s)) cu_swiglu_backward(cuda_queue(s), b);
    cuda_done(s);
}

/* --- embeddings and rows. ids and rows are the host's: how far they reach is read here --- */

static int64_t soft_rows(const int32_t *ids, int64_t n) {
    int64_t rows = 0;
    for (int64_t i = 0; i < n; i++) rows = PX_MAX(rows, -(int64_t)ids[i]);
    return rows;
}
static int64_t table_rows(const int32_t *ids, int64_t n) {
    int64_t rows = 0;
    for (int64_t i = 0; i < n; i++) rows = PX_MAX(rows, (int64_t)ids[i] + 1);
    return rows;
}

/* A table in host memory that the card can read stays there. */
void cuda_embed(px_stream *s, px_mat y, const int32_t *ids, px_mat table, const float *soft) {
    const cu_mat to = cuda_mat(s, y, CUDA_OUT);
    const cu_mat from =
        cu_is_host(table.data) ? cuda_mat_as_is(table) : cuda_mat(s, table, CUDA_IN);
    const float *own = floats(s, soft, soft_rows(ids, y.rows) * y.cols, CUDA_IN);
    const int32_t *at = indices(s, ids, y.rows);
    if (cuda_ready(s)) cu_embed(cuda_queue(s), to, at, from, own);
    cuda_done(s);
}

void cuda_embed_backward(px_stream *s, float *dsoft, float *dtable, const int32_t *ids, px_mat dy) {
    const cu_mat from = cuda_mat(s, dy, CUDA_IN);
    float *own = floats(s, dsoft, soft_rows(ids, dy.rows) * dy.cols, CUDA_BOTH);
    float *table = floats(s, dtable, table_rows(ids, dy.rows) * dy.cols, CUDA_BOTH);
    const int32_t *at = indices(s, ids, dy.rows);
    if (cuda_ready(s)) cu_embed_backward(cuda_queue(s), own, table, at, from);
    cuda_done(s);
}

void cuda_gather(px_stream *s, px_mat y, px_mat x, const int32_t *rows) {
    const cu_mat to = cuda_mat(s, y, CUDA_OUT), from = cuda_mat(s, x, CUDA_IN);
    const int32_t *at = indices(s, rows, y.rows);
    if (cuda_ready(s)) cu_gather(cuda_queue(s), to, from, at);
    cuda_done(s);
}

void cuda_scatter(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows) {
    const cu_mat to = cuda_mat(s, dx, CUDA_OUT), from = cuda_mat(s, dy, CUDA_IN);
    const int32_t *at = indices(s, rows, dy.rows);
    if (cuda_ready(s)) cu_scatter(cuda_queue(s), to, from, at);
    cuda_done(s);
}

/* --- optimiser --- */

void cuda_adamw(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
                const px_adamw *adamw) {
    const double step = (double)adamw->step;
    const cu_adamw_rates rates = {.b1 = adamw->beta1,
                                  .b2 = adamw->beta2,
                                  .rate = adamw->lr / (1 - pow(adamw->beta1, step)),
                                  .root = 1 / sqrt(1 - pow(adamw->beta2, step)),
                                  .kept = 1 - adamw->lr * adamw->weight_decay,
                                  .eps = adamw->eps,
                                  .scale = adamw->grad_scale};
    float *values = floats(s, p, n, CUDA_BOTH), *first = floats(s, m, n, CUDA_BOTH);
    float *second = floats(s, v, n, CUDA_BOTH);
    const float *grads = floats(s, g, n, CUDA_IN);
    if (cuda_ready(s)) cu_adamw(cuda_queue(s), values, first, second, grads, n, rates);
    cuda_done(s);
}

double cuda_sum_squares(px_stream *s, const float *g, int64_t n) {
    const int64_t pieces = (n + CU_PIECE - 1) / CU_PIECE;
    double sum = NAN;
    const float *values = floats(s, g, n, CUDA_IN);
    double *sums = cuda_room(s, (size_t)(pieces + 1) * sizeof *sums);
    if (cuda_ready(s)) {
        cu_sum_squares(cuda_queue(s), sums, values, n);
        cu_copy(cuda_queue(s), &sum, sums + pieces, sizeof sum, CU_TO_HOST);
        cu_wait(cuda_queue(s));
    }
    cuda_done(s);
    return sum;
}
