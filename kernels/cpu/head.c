/* head.c - the loss head, plainly: one row's logits at a time from the weight's rows. */
#include <math.h>

#include "cpu.h"
#include "vec.h"

static px_mat rows_of(const px_weight *w) {
    return px_mat_of(((const cpu_weight *)w)->rows, w->type, w->out, w->in);
}

static float row_dot(const void *a, const void *b, px_type type, int64_t n) {
    v16 sum = v16_set(0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v16_fma(v16_get(a, type, i), v16_get(b, type, i), sum);
    if (i < n) sum = v16_fma(v16_get_n(a, type, i, n - i), v16_get_n(b, type, i, n - i), sum);
    return v16_sum(sum);
}

/* Logits of row n; their log-sum-exp. */
static double logits_of(px_stream *s, float *logits, px_mat h, int64_t n, const px_weight *w) {
    const px_mat rows = rows_of(w);
    double most = -INFINITY, total = 0;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t id = 0; id < w->out; id++)
        logits[id] = row_dot(px_mat_row(h, n), px_mat_row(rows, id), w->type, w->in);
    for (int64_t id = 0; id < w->out; id++) most = fmax(most, logits[id]);
    for (int64_t id = 0; id < w->out; id++) total += exp(logits[id] - most);
    return most + log(total);
}

/* y += a · row. */
static void add_row(float *y, float a, const void *row, px_type type, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        v16_store(y + i, v16_fma(v16_set(a), v16_get(row, type, i), v16_load(y + i)));
    if (i < n)
        v16_store_n(y + i,
                    v16_fma(v16_set(a), v16_get_n(row, type, i, n - i), v16_load_n(y + i, n - i)),
                    n - i);
}

void cpu_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
              px_targets targets) {
    float *logits = px_scratch(s, (size_t)w->out * sizeof *logits);
    if (!logits) return;
    const px_mat rows = rows_of(w);
    int64_t m = 0;
    for (int64_t n = 0; n < h.rows; n++) {
        const double log_sum = logits_of(s, logits, h, n, w);
        lse[n] = (float)log_sum;
        for (; m < targets.n && targets.row[m] == n; m++) logp[m] = logits[targets.id[m]] - log_sum;
        if (!ew.data) continue;
        float *mean = px_mat_row(ew, n);
        memset(mean, 0, (size_t)w->in * sizeof *mean);
        for (int64_t id = 0; id < w->out; id++)
            add_row(mean, (float)exp(logits[id] - log_sum), px_mat_row(rows, id), w->type, w->in);
    }
}

void cpu_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                       px_targets targets) {
    float *sum = px_scratch(s, (size_t)w->in * sizeof *sum);
    if (!sum) return;
    int64_t m = 0;
    for (int64_t n = 0; n < dh.rows; n++) {
        memset(sum, 0, (size_t)w->in * sizeof *sum);
        for (; m < targets.n && targets.row[m] == n; m++) {
            add_row(sum, g[m], px_mat_row(rows_of(w), targets.id[m]), w->type, w->in);
            add_row(sum, -g[m], px_mat_row(ew, n), PX_F32, w->in);
        }
        v16_convert(px_mat_row(dh, n), dh.type, sum, PX_F32, w->in);
    }
}

/* dlogits[n] = Σ_{m: row = n} g[m] (onehot(id[m]) - softmax). */
void cpu_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse, px_mat h,
                              const px_weight *w, px_targets targets) {
    float *logits = px_scratch(s, (size_t)w->out * sizeof *logits);
    if (!logits) return;
    int64_t m = 0;
    for (int64_t n = 0; n < h.rows; n++) {
        double total = 0;
        const int64_t first = m;
        for (; m < targets.n && targets.row[m] == n; m++) total += g[m];
        if (m == first) continue;
        logits_of(s, logits, h, n, w);
        for (int64_t id = 0; id < w->out; id++)
            logits[id] = (float)(-total * exp(logits[id] - lse[n]));
        for (int64_t k = first; k < m; k++) logits[targets.id[k]] += g[k];
#pragma omp parallel for num_threads(s->threads) schedule(static)
        for (int64_t id = 0; id < w->out; id++)
            add_row(dw + id * w->in, logits[id], px_mat_row(h, n), h.type, w->in);
    }
}
