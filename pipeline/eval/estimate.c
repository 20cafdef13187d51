/* estimate.c - accuracies with intervals. People, not pairs, are resampled: a person's pairs are
 * not independent. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>

px_err *px_other_rows(uint64_t seed, int32_t n_rows, int32_t *other) {
    int32_t n = n_rows - 1;
    int32_t *order = malloc(((size_t)PX_MAX(n, 0) + 1) * sizeof *order);
    if (!order) PX_NO_MEMORY();
    other[0] = 0;
    if (n > 0) px_rng_permutation((px_rng){seed, PX_RNG_DERANGE}, 0, n, order);
    for (int32_t i = 0; i < n; i++) other[order[i] + 1] = order[(i + 1) % n] + 1;
    free(order);
    return NULL;
}

enum { N_STATS = 4 * PX_N_WHO + 4 };

static void statistics(const px_person_sums *s, double out[N_STATS]) {
    for (int w = 0; w < PX_N_WHO; w++) {
        *out++ = s->right[w] / s->n;
        *out++ = s->margin[w] / s->n;
        *out++ = s->right_per_token[w] / s->n;
        *out++ = s->margin_per_token[w] / s->n;
    }
    *out++ = (s->right[PX_OWN] - s->right[PX_GENERIC]) / s->n;
    *out++ = (s->right[PX_OWN] - s->right[PX_OTHER]) / s->n;
    *out++ = s->won / s->n;
    *out++ = (s->right[PX_OWN] - s->right_against) / s->n;
}

/* Where statistics' numbers go, in its order. */
static void targets_of(px_eval_row *row, px_estimate *out[N_STATS]) {
    for (int w = 0; w < PX_N_WHO; w++) {
        *out++ = &row->accuracy[w];
        *out++ = &row->margin[w];
        *out++ = &row->accuracy_per_token[w];
        *out++ = &row->margin_per_token[w];
    }
    *out++ = &row->delta_own;
    *out++ = &row->delta_swap;
    *out++ = &row->win_rate;
    *out++ = &row->delta_against;
}

static void add(px_person_sums *to, const px_person_sums *person) {
    to->n += person->n;
    for (int w = 0; w < PX_N_WHO; w++) {
        to->right[w] += person->right[w];
        to->margin[w] += person->margin[w];
        to->right_per_token[w] += person->right_per_token[w];
        to->margin_per_token[w] += person->margin_per_token[w];
    }
    to->won += person->won;
    to->right_against += person->right_against;
}

px_err *px_eval_estimate(const px_person_sums *people, int32_t n_people, int64_t samples,
                         uint64_t seed, px_eval_row *row) {
    px_estimate *targets[N_STATS];
    px_person_sums all = {0};
    double stats[N_STATS];
    targets_of(row, targets);
    for (int32_t i = 0; i < n_people; i++) add(&all, &people[i]);
    statistics(&all, stats); /* NaN without people: 0 / 0 */
    for (int k = 0; k < N_STATS; k++) *targets[k] = (px_estimate){stats[k], NAN, NAN};
    if (n_people == 0 || samples == 0) return NULL;
    double *drawn = malloc((size_t)samples * N_STATS * sizeof *drawn);
    if (!drawn) PX_NO_MEMORY();
    px_rng rng = {seed, PX_RNG_BOOTSTRAP};
    for (int64_t b = 0; b < samples; b++) {
        px_person_sums sum = {0};
        for (int32_t i = 0; i < n_people; i++)
            add(&sum, &people[px_rng_below(rng, (uint64_t)b, (uint64_t)i, (uint32_t)n_people)]);
        statistics(&sum, stats);
        for (int k = 0; k < N_STATS; k++) drawn[k * samples + b] = stats[k];
    }
    for (int k = 0; k < N_STATS; k++) {
        px_f64_sort(drawn + k * samples, samples);
        targets[k]->low = px_quantile(drawn + k * samples, samples, 0.025);
        targets[k]->high = px_quantile(drawn + k * samples, samples, 0.975);
    }
    free(drawn);
    return NULL;
}

typedef struct {
    double value;
    int64_t at;
} ranked;

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static void ranks_of(const double *x, int64_t n, ranked *room, double *out) {
    for (int64_t i = 0; i < n; i++) room[i] = (ranked){x[i], i};
    qsort(room, (size_t)n, sizeof *room, by_value);
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && room[j].value == room[i].value;) j++;
        for (int64_t k = i; k < j; k++) out[room[k].at] = 0.5 * (double)(i + j - 1);
    }
}

px_err *px_spearman(const double *x, const double *y, int64_t n, double *out) {
    *out = NAN;
    if (n < 2) return NULL;
    ranked *room = malloc((size_t)n * sizeof *room);
    double *rx = malloc((size_t)n * sizeof *rx), *ry = malloc((size_t)n * sizeof *ry);
    px_err *err = NULL;
    if (!room || !rx || !ry) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    ranks_of(x, n, room, rx);
    ranks_of(y, n, room, ry);
    double middle = 0.5 * (double)(n - 1), sxy = 0, sxx = 0, syy = 0;
    for (int64_t i = 0; i < n; i++) {
        sxy += (rx[i] - middle) * (ry[i] - middle);
        sxx += (rx[i] - middle) * (rx[i] - middle);
        syy += (ry[i] - middle) * (ry[i] - middle);
    }
    if (sxx > 0 && syy > 0) *out = sxy / sqrt(sxx * syy);
done:
    free(room);
    free(rx);
    free(ry);
    return err;
}
