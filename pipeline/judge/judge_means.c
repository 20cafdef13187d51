/* judge_means.c - means of the judge's scores with intervals by a bootstrap over people (over
 * prompts where somebody is not named), as the means of counted traits have them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"
#include "philox.h"
#include "quantile.h"

/* An answer's score in the order of the units. */
typedef struct {
    int32_t unit, arm;
    double score[JUDGE_TRAITS]; /* NaN: none */
} scored;

typedef struct {
    scored *at;
    int32_t *start;  /* [n_units + 1] into at */
    double *sum, *n; /* [columns] of a sample */
    double *drawn;   /* [samples × columns] */
    double *room;    /* [samples] */
    int columns;
} means_work;

static int by_unit(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->unit != y->unit) return x->unit < y->unit ? -1 : 1;
    return (x->arm > y->arm) - (x->arm < y->arm);
}

static px_err *work_make(const judge_result *r, int64_t samples, means_work *w) {
    const judged_list *list = r->answers;
    w->columns = (list->n_arms + 1) * JUDGE_TRAITS;
    w->at = calloc((size_t)list->n + 1, sizeof *w->at);
    w->start = calloc((size_t)list->n_units + 1, sizeof *w->start);
    w->sum = calloc((size_t)w->columns, sizeof *w->sum);
    w->n = calloc((size_t)w->columns, sizeof *w->n);
    w->drawn = malloc(((size_t)samples * (size_t)w->columns + 1) * sizeof *w->drawn);
    w->room = malloc(((size_t)samples + 1) * sizeof *w->room);
    if (!w->at || !w->start || !w->sum || !w->n || !w->drawn || !w->room) PX_NO_MEMORY();
    for (int32_t i = 0; i < list->n; i++) {
        w->at[i] = (scored){.unit = list->items[i].unit, .arm = list->items[i].arm};
        for (int t = 0; t < JUDGE_TRAITS; t++) w->at[i].score[t] = result_score(r, i, t);
        w->start[list->items[i].unit + 1]++;
    }
    for (int32_t u = 0; u < list->n_units; u++) w->start[u + 1] += w->start[u];
    qsort(w->at, (size_t)list->n, sizeof *w->at, by_unit);
    return NULL;
}

static void unit_add(means_work *w, int32_t unit) {
    const int all = w->columns - JUDGE_TRAITS;
    for (int32_t i = w->start[unit]; i < w->start[unit + 1]; i++)
        for (int t = 0; t < JUDGE_TRAITS; t++) {
            const double score = w->at[i].score[t];
            if (isnan(score)) continue;
            w->sum[w->at[i].arm * JUDGE_TRAITS + t] += score;
            w->n[w->at[i].arm * JUDGE_TRAITS + t]++;
            w->sum[all + t] += score;
            w->n[all + t]++;
        }
}

static void sums_clear(means_work *w) {
    for (int c = 0; c < w->columns; c++) w->sum[c] = w->n[c] = 0;
}

/* Samples in which an arm was not drawn are left out of its interval. */
static void interval_take(means_work *w, int64_t samples, int c, judge_mean *out) {
    int64_t n = 0;
    for (int64_t b = 0; b < samples; b++)
        if (!isnan(w->drawn[b * w->columns + c])) w->room[n++] = w->drawn[b * w->columns + c];
    if (n < 20 || isnan(out->mean)) return;
    px_f64_sort(w->room, n);
    out->low = px_quantile(w->room, n, 0.025);
    out->high = px_quantile(w->room, n, 0.975);
}

px_err *result_means(const judge_result *r, uint64_t seed, int64_t *samples, judge_mean *means) {
    enum { DRAWS_MOST = 100000000, SAMPLES_LEAST = 100 };
    const judged_list *list = r->answers;
    const px_rng rng = {seed, PX_RNG_TRAITS};
    const int64_t most = DRAWS_MOST / PX_MAX((int64_t)list->n, 1);
    means_work w = {0};
    *samples = list->n_units > 1 ? PX_MIN(*samples, PX_MAX(most, SAMPLES_LEAST)) : 0;
    px_err *err = work_make(r, *samples, &w);
    if (err) goto done;
    for (int32_t u = 0; u < list->n_units; u++) unit_add(&w, u);
    for (int c = 0; c < w.columns; c++)
        means[c] = (judge_mean){w.n[c] > 0 ? w.sum[c] / w.n[c] : NAN, NAN, NAN};
    for (int64_t b = 0; b < *samples; b++) {
        sums_clear(&w);
        for (int32_t i = 0; i < list->n_units; i++)
            unit_add(&w,
                     (int32_t)px_rng_below(rng, (uint64_t)b, (uint64_t)i, (uint32_t)list->n_units));
        for (int c = 0; c < w.columns; c++)
            w.drawn[b * w.columns + c] = w.n[c] > 0 ? w.sum[c] / w.n[c] : NAN;
    }
    for (int c = 0; c < w.columns; c++) interval_take(&w, *samples, c, &means[c]);
done:
    free(w.at);
    free(w.start);
    free(w.sum);
    free(w.n);
    free(w.drawn);
    free(w.room);
    return err;
}
