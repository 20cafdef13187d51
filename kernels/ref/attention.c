/* attention.c - reference attention over trees and loss head. */
#include <math.h>

#include "ref.h"

/* Marks the rows that `row` of segment `segment` sees: its chain up to itself, its ancestors in
 * full. */
static void mark_visible(const px_attn *attn, int32_t segment, int64_t row, double *seen,
                         int64_t n_rows) {
    for (int64_t t = 0; t < n_rows; t++) seen[t] = 0;
    for (int64_t t = attn->segments[segment].begin; t <= row; t++) seen[t] = 1;
    for (int32_t a = attn->segments[segment].parent; a >= 0; a = attn->segments[a].parent)
        for (int64_t t = attn->segments[a].begin; t < attn->segments[a].end; t++) seen[t] = 1;
}

static double head_dot(px_mat a, int64_t i, int64_t a_first, px_mat b, int64_t j, int64_t b_first,
                       int64_t n) {
    double sum = 0;
    for (int64_t c = 0; c < n; c++) sum += ref_at(a, i, a_first + c) * ref_at(b, j, b_first + c);
    return sum;
}

void px_ref_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                      const px_attn *attn) {
    const int64_t T = q.rows, hd = attn->head_dim, H = attn->n_heads, group = H / attn->n_kv_heads;
    double *seen = px_scratch(s, (size_t)(2 * T) * sizeof *seen), *score = seen + T;
    if (!seen) return;
    for (int32_t n = 0; n < attn->n_segments; n++)
        for (int64_t t = attn->segments[n].begin; t < attn->segments[n].end; t++) {
            mark_visible(attn, n, t, seen, T);
            for (int64_t h = 0; h < H; h++) {
                double most = -INFINITY, total = 0;
                for (int64_t j = 0; j < T; j++) {
                    if (seen[j] == 0) continue;
                    score[j] = attn->scale * head_dot(q, t, h * hd, k, j, h / group * hd, hd);
                    most = fmax(most, score[j]);
                }
                for (int64_t j = 0; j < T; j++)
                    if (seen[j] != 0) total += exp(score[j] - most);
                const double log_sum = most + log(total);
                lse[t * H + h] = (float)log_sum;
                for (int64_t c = 0; c < hd; c++) {
                    double sum = 0;
                    for (int64_t j = 0; j < T; j++)
                        if (seen[j] != 0)
                            sum += exp(score[j] - log_sum) * ref_at(v, j, h / group * hd + c);
                    ref_put(out, t, h * hd + c, sum);
                }
            }
        }
}

typedef struct {
    double *dq, *dk, *dv; /* [T, H·hd], [T, Hkv·hd] each: sums before rounding */
} ref_sums;

/* With P = softmax(S): dv_j += P_j dout, dS_j = P_j (dout · v_j - dout · out), dq += scale dS_j
 * k_j, … */
static void backward_row(const px_attn_back *io, const px_attn *attn, const double *seen, int64_t t,
                         int64_t h, ref_sums sums) {
    const int64_t hd = attn->head_dim, H = attn->n_heads, Hkv = attn->n_kv_heads;
    const int64_t first = h * hd, kv = h / (H / Hkv) * hd;
    const double mean = head_dot(io->dout, t, first, io->out, t, first, hd);
    for (int64_t j = 0; j < io->q.rows; j++) {
        if (seen[j] == 0) continue;
        const double score = attn->scale * head_dot(io->q, t, first, io->k, j, kv, hd);
        const double p = exp(score - io->lse[t * H + h]);
        const double ds = attn->scale * p * (head_dot(io->dout, t, first, io->v, j, kv, hd) - mean);
        for (int64_t c = 0; c < hd; c++) {
            sums.dv[j * Hkv * hd + kv + c] += p * ref_at(io->dout, t, first + c);
            sums.dk[j * Hkv * hd + kv + c] += ds * ref_at(io->q, t, first + c);
            sums.dq[t * H * hd + first + c] += ds * ref_at(io->k, j, kv + c);
        }
    }
}

static void put_all(px_mat m, const double *values) {
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) ref_put(m, i, j, values[i * m.cols + j]);
}

void px_ref_attention_backward(px_stream *s, const px_attn_back *io, const px_attn *attn) {
    const int64_t T = io->q.rows, wide = io->q.cols, narrow = io->k.cols;
    const int64_t total = T * (1 + wide + 2 * narrow);
    double *seen = px_scratch(s, (size_t)total * sizeof *seen);
    if (!seen) return;
    for (int64_t n = 0; n < total; n++) seen[n] = 0;
    ref_sums sums = {.dq = seen + T, .dk = seen + T + T * wide};
    sums.dv = sums.dk + T * narrow;
    for (int32_t n = 0; n < attn->n_segments; n++)
        for (int64_t t = attn->segments[n].begin; t < attn->segments[n].end; t++) {
            mark_visible(attn, n, t, seen, T);
            for (int64_t h = 0; h < attn->n_heads; h++) backward_row(io, attn, seen, t, h, sums);
        }
    put_all(io->dq, sums.dq);
    put_all(io->dk, sums.dk);
    put_all(io->dv, sums.dv);
}

/* --- head --- */

static const double *values_of(const px_weight *w) { return ((const px_ref_weight *)w)->values; }

/* Logits of row n; their log-sum-exp. */
static double logits_of(double *logits, px_mat h, int64_t n, const px_weight *w) {
    const double *values = values_of(w);
    double most = -INFINITY, total = 0;
    for (int64_t id = 0; id < w->out; id++) {
        logits[id] = 0;
        for (int64_t i = 0; i < w->in; i++) logits[id] += ref_at(h, n, i) * values[id * w->in + i];
        most = fmax(most, logits[id]);
    }
    for (int64_t id = 0; id < w->out; id++) total += exp(logits[id] - most);
    return most + log(total);
}

void px_ref_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
                 px_targets targets) {
    const double *values = values_of(w);
    double *logits = px_scratch(s, (size_t)w->out * sizeof *logits);
    if (!logits) return;
    int64_t m = 0;
    for (int64_t n = 0; n < h.rows; n++) {
        const double log_sum = logits_of(logits, h, n, w);
        lse[n] = (float)log_sum;
        for (; m < targets.n && targets.row[m] == n; m++) logp[m] = logits[targets.id[m]] - log_sum;
        for (int64_t i = 0; ew.data && i < w->in; i++) {
            double sum = 0;
            for (int64_t id = 0; id < w->out; id++)
                sum += exp(logits[id] - log_sum) * values[id * w->in + i];
            ref_put(ew, n, i, sum);
        }
    }
}

void px_ref_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                          px_targets targets) {
    (void)s;
    const double *values = values_of(w);
    int64_t first = 0;
    for (int64_t n = 0; n < dh.rows; n++) {
        int64_t end = first;
        while (end < targets.n && targets.row[end] == n) end++;
        for (int64_t i = 0; i < dh.cols; i++) {
            double sum = 0;
            for (int64_t m = first; m < end; m++)
                sum += g[m] * (values[targets.id[m] * w->in + i] - ref_at(ew, n, i));
            ref_put(dh, n, i, sum);
        }
        first = end;
    }
}

/* dlogits[n] = Σ_{m: row = n} g[m] (onehot(id[m]) - softmax). */
void px_ref_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse,
                                 px_mat h, const px_weight *w, px_targets targets) {
    double *logits = px_scratch(s, (size_t)w->out * sizeof *logits);
    if (!logits) return;
    int64_t m = 0;
    for (int64_t n = 0; n < h.rows; n++) {
        double total = 0;
        const int64_t first = m;
        for (; m < targets.n && targets.row[m] == n; m++) total += g[m];
        if (m == first) continue;
        logits_of(logits, h, n, w);
        for (int64_t id = 0; id < w->out; id++) logits[id] = -total * exp(logits[id] - lse[n]);
        for (int64_t k = first; k < m; k++) logits[targets.id[k]] += g[k];
        for (int64_t id = 0; id < w->out; id++)
            for (int64_t i = 0; i < w->in; i++)
                dw[id * w->in + i] += (float)(logits[id] * ref_at(h, n, i));
    }
}
