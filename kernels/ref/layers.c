/* layers.c - reference embeddings, norm, position, gate, optimiser. */
#include <math.h>

#include "ref.h"

void px_ref_embed(px_stream *s, px_mat y, const int32_t *ids, px_mat table, const float *soft) {
    (void)s;
    for (int64_t i = 0; i < y.rows; i++)
        for (int64_t j = 0; j < y.cols; j++)
            ref_put(y, i, j,
                    ids[i] >= 0 ? ref_at(table, ids[i], j) : soft[(-1 - ids[i]) * y.cols + j]);
}

void px_ref_embed_backward(px_stream *s, float *dsoft, float *dtable, const int32_t *ids,
                           px_mat dy) {
    (void)s;
    for (int64_t i = 0; i < dy.rows; i++) {
        float *row = ids[i] < 0 ? dsoft + (-1 - ids[i]) * dy.cols : dtable;
        if (!row) continue;
        if (ids[i] >= 0) row += ids[i] * dy.cols;
        for (int64_t j = 0; j < dy.cols; j++) row[j] += (float)ref_at(dy, i, j);
    }
}

void px_ref_gather(px_stream *s, px_mat y, px_mat x, const int32_t *rows) {
    (void)s;
    for (int64_t i = 0; i < y.rows; i++)
        for (int64_t j = 0; j < y.cols; j++) ref_put(y, i, j, ref_at(x, rows[i], j));
}

void px_ref_scatter(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows) {
    (void)s;
    for (int64_t i = 0; i < dx.rows; i++)
        for (int64_t j = 0; j < dx.cols; j++) ref_put(dx, i, j, 0);
    for (int64_t i = 0; i < dy.rows; i++)
        for (int64_t j = 0; j < dy.cols; j++) ref_put(dx, rows[i], j, ref_at(dy, i, j));
}

void px_ref_rms_norm(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                     const float *w, float eps) {
    (void)s;
    const px_mat from = delta.data ? sum : x;
    for (int64_t t = 0; t < x.rows; t++) {
        double squares = 0;
        for (int64_t i = 0; i < x.cols; i++) {
            if (delta.data) ref_put(sum, t, i, ref_at(x, t, i) + ref_at(delta, t, i));
            squares += ref_at(from, t, i) * ref_at(from, t, i);
        }
        const double root = sqrt(squares / (double)x.cols + eps);
        rms[t] = (float)root;
        for (int64_t i = 0; i < x.cols; i++) ref_put(y, t, i, w[i] * ref_at(from, t, i) / root);
    }
}

/* y_i = w_i x_i / r: dx_i = w_i dy_i / r - x_i / (d r³) Σ_j w_j dy_j x_j; dw_i = Σ_t dy_i x_i / r.
 */
void px_ref_rms_norm_backward(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy, px_mat x,
                              const float *rms, const float *w) {
    double *sums = px_scratch(s, (size_t)x.cols * sizeof *sums);
    if (!sums) return;
    for (int64_t i = 0; dw && i < x.cols; i++) sums[i] = dw[i];
    for (int64_t t = 0; t < x.rows; t++) {
        const double r = rms[t];
        double dot = 0;
        for (int64_t i = 0; i < x.cols; i++) dot += w[i] * ref_at(dy, t, i) * ref_at(x, t, i);
        dot /= (double)x.cols * r * r * r;
        for (int64_t i = 0; i < x.cols; i++) {
            if (dw) sums[i] += ref_at(dy, t, i) * ref_at(x, t, i) / r;
            ref_put(dx, t, i,
                    (dres.data ? ref_at(dres, t, i) : 0) + w[i] * ref_at(dy, t, i) / r -
                        ref_at(x, t, i) * dot);
        }
    }
    for (int64_t i = 0; dw && i < x.cols; i++) dw[i] = (float)sums[i];
}

void px_ref_rope(px_stream *s, px_mat x, const int32_t *positions, const float *table, int64_t hd,
                 int direction) {
    (void)s;
    const int64_t half = hd / 2;
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t j = 0; j < x.cols; j++) {
            const int64_t i = j % hd;
            if (i >= half) continue;
            const float *turn = table + (positions[t] * half + i) * 2;
            const double c = turn[0], d = direction * (double)turn[1];
            const double a = ref_at(x, t, j), b = ref_at(x, t, j + half);
            ref_put(x, t, j, a * c - b * d);
            ref_put(x, t, j + half, b * c + a * d);
        }
}

void px_ref_swiglu(px_stream *s, px_mat y, px_mat gate, px_mat up) {
    (void)s;
    for (int64_t t = 0; t < y.rows; t++)
        for (int64_t i = 0; i < y.cols; i++) {
            const double g = ref_at(gate, t, i);
            ref_put(y, t, i, g / (1 + exp(-g)) * ref_at(up, t, i));
        }
}

void px_ref_swiglu_backward(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                            px_mat up) {
    (void)s;
    for (int64_t t = 0; t < dy.rows; t++)
        for (int64_t i = 0; i < dy.cols; i++) {
            const double g = ref_at(gate, t, i), u = ref_at(up, t, i), d = ref_at(dy, t, i);
            const double sigma = 1 / (1 + exp(-g));
            ref_put(dgate, t, i, d * u * sigma * (1 + g * (1 - sigma)));
            ref_put(dup, t, i, d * g * sigma);
        }
}

void px_ref_adamw(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
                  const px_adamw *adamw) {
    (void)s;
    const double b1 = adamw->beta1, b2 = adamw->beta2, step = (double)adamw->step;
    const double rate = adamw->lr / (1 - pow(b1, step)), root = sqrt(1 - pow(b2, step));
    for (int64_t i = 0; i < n; i++) {
        const double grad = g[i] * adamw->grad_scale;
        const double mean = b1 * m[i] + (1 - b1) * grad;
        const double square = b2 * v[i] + (1 - b2) * grad * grad;
        m[i] = (float)mean;
        v[i] = (float)square;
        p[i] = (float)(p[i] * (1 - adamw->lr * adamw->weight_decay) -
                       rate * mean / (sqrt(square) / root + adamw->eps));
    }
}

double px_ref_sum_squares(px_stream *s, const float *g, int64_t n) {
    (void)s;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)g[i] * g[i];
    return sum;
}
