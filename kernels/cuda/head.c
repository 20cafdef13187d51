/* head.c - the loss head over the device: logits of a chunk of the vocabulary at a time, so that
 * full logits never exist; products by gemm.h, the rest by head.cu. */
#include "cuda.h"

enum { CHUNK = 4096 }; /* 16 KB of logits a row: not yet measured on a card */

/* first [N + 1]: the targets of row i are first[i] … first[i + 1] - 1. */
static const int32_t *first_targets(px_stream *s, px_targets targets, int64_t N) {
    int32_t *first = px_scratch(s, (size_t)(N + 1) * sizeof *first);
    if (!first) return NULL;
    int64_t m = 0;
    for (int64_t i = 0; i <= N; i++) {
        while (m < targets.n && targets.row[m] < i) m++;
        first[i] = (int32_t)m;
    }
    return cuda_upload(s, first, (size_t)(N + 1) * sizeof *first);
}

static cu_mat rows_of(cu_mat w, int64_t first, int64_t n) {
    w.data = (char *)w.data + (size_t)(first * w.stride) * (w.bf16 ? 2 : 4);
    w.rows = n;
    return w;
}

/* What the passes over the vocabulary share. */
static cu_head head_of(px_stream *s, px_mat h, const px_weight *w, px_targets targets,
                       bool weights) {
    const int64_t most = PX_MIN((int64_t)CHUNK, w->out);
    cu_head c = {.N = h.rows,
                 .d = w->in,
                 .logits = cuda_room(s, (size_t)(h.rows * most) * sizeof(float)),
                 .first = first_targets(s, targets, h.rows),
                 .id = cuda_array(s, targets.id, (size_t)targets.n * sizeof *targets.id, CUDA_IN)};
    if (weights)
        c.weights = (cu_mat){cuda_room(s, (size_t)(h.rows * most) * px_type_size(w->type)),
                             h.rows,
                             0,
                             0,
                             w->type == PX_BF16,
                             0};
    return c;
}

/* Logits of [v, v + n). */
static void chunk_logits(px_stream *s, cu_head *c, cu_mat h, const px_weight *w, int64_t v) {
    c->v = v;
    c->n = PX_MIN((int64_t)CHUNK, w->out - v);
    c->weights.cols = c->weights.stride = c->n;
    cuda_gemm(s, (cu_gemm){.a = h,
                           .b = rows_of(cuda_weight_mat(w), v, c->n),
                           .c = {c->logits, c->N, c->n, c->n, 0, 0},
                           .b_turned = 1});
}

void cuda_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
               px_targets targets) {
    const bool wanted = ew.data != NULL;
    const cu_mat from = cuda_mat(s, h, CUDA_IN), out = cuda_mat(s, ew, CUDA_OUT);
    cu_head c = head_of(s, h, w, targets, wanted);
    c.logp = cuda_array(s, logp, (size_t)targets.n * sizeof *logp, CUDA_OUT);
    c.lse = cuda_array(s, lse, (size_t)h.rows * sizeof *lse, CUDA_OUT);
    c.sum = cuda_room(s, (size_t)h.rows * sizeof *c.sum);
    c.most = cuda_room(s, (size_t)h.rows * sizeof *c.most);
    if (wanted) c.ew = cuda_room(s, (size_t)(h.rows * w->in) * sizeof *c.ew);
    for (int64_t v = 0; v < w->out && h.rows > 0 && cuda_ready(s); v += CHUNK) {
        chunk_logits(s, &c, from, w, v);
        cu_head_chunk(cuda_queue(s), &c);
        if (wanted)
            cuda_gemm(s, (cu_gemm){.a = c.weights,
                                   .b = rows_of(cuda_weight_mat(w), v, c.n),
                                   .c = {c.ew, c.N, c.d, c.d, 0, 0},
                                   .add = v > 0});
    }
    if (cuda_ready(s)) cu_head_finish(cuda_queue(s), &c, out);
    cuda_done(s);
}

void cuda_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                        px_targets targets) {
    const cu_mat to = cuda_mat(s, dh, CUDA_OUT), mean = cuda_mat(s, ew, CUDA_IN);
    const float *by = cuda_array(s, g, (size_t)targets.n * sizeof *g, CUDA_IN);
    const int32_t *first = first_targets(s, targets, dh.rows);
    const int32_t *id = cuda_array(s, targets.id, (size_t)targets.n * sizeof *targets.id, CUDA_IN);
    if (cuda_ready(s)) cu_head_backward(cuda_queue(s), to, by, mean, cuda_weight_mat(w), first, id);
    cuda_done(s);
}

void cuda_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse, px_mat h,
                               const px_weight *w, px_targets targets) {
    const cu_mat from = cuda_mat(s, h, CUDA_IN);
    const cu_mat to = cuda_mat(s, px_mat_of(dw, PX_F32, w->out, w->in), CUDA_BOTH);
    const float *by = cuda_array(s, g, (size_t)targets.n * sizeof *g, CUDA_IN);
    cu_head c = head_of(s, h, w, targets, true);
    c.lse = cuda_array(s, lse, (size_t)h.rows * sizeof *lse, CUDA_IN);
    for (int64_t v = 0; v < w->out && h.rows > 0 && cuda_ready(s); v += CHUNK) {
        chunk_logits(s, &c, from, w, v);
        cu_head_slopes(cuda_queue(s), &c, by);
        cuda_gemm(
            s, (cu_gemm){
                   .a = c.weights, .b = from, .c = rows_of(to, v, c.n), .a_turned = 1, .add = 1});
    }
    cuda_done(s);
}
