/* pick.c - what choosing a token needs of logits, plainly; the "cpu" backend's too: who computes
 * on the host has the logits there. */
#include <math.h>
#include <stdlib.h>

#include "ref.h"

static void change(float *logits, const px_pick *row, const int32_t *ids) {
    for (int32_t i = 0; i < row->n_penalised; i++) {
        float *at = &logits[ids[i]];
        *at = *at < 0 ? *at * row->penalty : *at / row->penalty;
    }
    for (int32_t i = 0; i < row->n_banned; i++) logits[ids[row->n_penalised + i]] = -INFINITY;
}

static int descending(const void *a, const void *b) {
    const px_listed *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Whole ties only: what is left out lies below all that is listed. */
static void fill_list(px_picked *out, px_listed *list, int32_t places, px_listed *all, int64_t n) {
    qsort(all, (size_t)n, sizeof *all, descending);
    int64_t kept = PX_MIN(n, (int64_t)places);
    while (kept > 0 && kept < n && all[kept - 1].logit == all[kept].logit) kept--;
    for (int64_t i = 0; i < kept; i++) list[i] = all[i];
    out->n = (int32_t)kept;
    out->least = kept < n ? all[kept].logit : -INFINITY;
}

void px_ref_pick(px_stream *s, px_mat logits, const px_picking *how, px_picked *out,
                 px_listed *lists) {
    px_listed *all = px_scratch(s, ((size_t)logits.cols + 1) * sizeof *all);
    for (int64_t i = 0; i < logits.rows && all; i++) {
        const px_pick *row = &how->rows[i];
        float *x = px_mat_row(logits, i);
        int64_t n = 0;
        change(x, row, how->changes + row->at);
        out[i] = (px_picked){.most = -INFINITY, .least = INFINITY};
        for (int64_t v = 0; v < logits.cols; v++)
            if (x[v] > -INFINITY) all[n++] = (px_listed){(int32_t)v, x[v]};
        for (int64_t k = 0; k < n; k++)
            if (all[k].logit > out[i].most) out[i].most = all[k].logit, out[i].best = all[k].id;
        for (int64_t v = 0; v < logits.cols && n == 0; v++)
            if (x[v] == -INFINITY) out[i].best = (int32_t)v, n = -1; /* the first of them */
        n = PX_MAX(n, (int64_t)0);
        for (int64_t k = 0; k < n && row->sum; k++) {
            const float by = (all[k].logit - out[i].most) / row->temperature;
            if (by >= PX_PICK_NEGLIGIBLE) out[i].sum += exp((double)by);
        }
        if (row->list >= 0)
            fill_list(&out[i], lists + (int64_t)row->list * how->listed, how->listed, all, n);
    }
}
