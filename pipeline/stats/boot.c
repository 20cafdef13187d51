/* boot.c - the bootstrap over people (Efron & Tibshirani 1993; percentile intervals): each sample
 * draws as many people as there are, with all that is theirs. What a statistic needs of a person
 * is a few sums, so a sample costs additions; worths are fitted anew, from patterns of rankings.
 * Sample b's people are a function of (seed, b) alone, so it does not matter who computes it. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

px_err *px_boot_new(const px_study *study, int source, px_boot *out) {
    *out = (px_boot){.source = source};
    out->person_of = malloc(((size_t)study->n_people + 1) * sizeof *out->person_of);
    if (!out->person_of) PX_NO_MEMORY();
    for (int32_t i = 0; i < study->n_people; i++) out->person_of[i] = -1;
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        if ((int)trial->source != source) continue;
        int32_t *who = &out->person_of[trial->person];
        if (*who < 0) *who = out->n_people++;
    }
    return NULL;
}

void px_boot_free(px_boot *boot) {
    for (int i = 0; i < boot->n_stats; i++) {
        free(boot->stats[i].numerator);
        free(boot->stats[i].denominator);
    }
    for (int i = 0; i < boot->n_ranks; i++) {
        px_choices_free(&boot->ranks[i].patterns);
        free(boot->ranks[i].start);
        free(boot->ranks[i].pattern);
        free(boot->ranks[i].met);
    }
    free(boot->stats);
    free(boot->ranks);
    free(boot->person_of);
    *boot = (px_boot){0};
}

static px_err *stats_add(px_boot *boot, int n, px_boot_kind kind) {
    if (boot->n_stats + n > boot->room) { /* a pair of arms each: 19,900 of 200 */
        const int room = PX_MAX(2 * boot->room, boot->n_stats + n);
        px_boot_stat *stats = realloc(boot->stats, (size_t)room * sizeof *stats);
        if (!stats) PX_NO_MEMORY();
        boot->stats = stats;
        boot->room = room;
    }
    for (int i = 0; i < n; i++) boot->stats[boot->n_stats++] = (px_boot_stat){.kind = kind};
    return NULL;
}

px_err *px_boot_ratio(px_boot *boot, double **numerator, double **denominator, int *stat) {
    PX_PASS(stats_add(boot, 1, PX_BOOT_RATIO));
    *stat = boot->n_stats - 1;
    px_boot_stat *s = &boot->stats[*stat];
    s->numerator = *numerator = calloc((size_t)boot->n_people + 1, sizeof **numerator);
    s->denominator = *denominator = calloc((size_t)boot->n_people + 1, sizeof **denominator);
    if (!s->numerator || !s->denominator) PX_NO_MEMORY();
    return NULL;
}

px_err *px_boot_worths(px_boot *boot, int n_arms, int *stat) {
    *stat = boot->n_stats;
    return stats_add(boot, n_arms, PX_BOOT_WORTH);
}

px_err *px_boot_kappa(px_boot *boot, double **sums, int n, int *stat) {
    PX_PASS(stats_add(boot, 1, PX_BOOT_KAPPA));
    *stat = boot->n_stats - 1;
    px_boot_stat *s = &boot->stats[*stat];
    s->n = n;
    s->numerator = *sums =
        calloc((size_t)boot->n_people * (size_t)n * (size_t)n + 1, sizeof **sums);
    if (!s->numerator) PX_NO_MEMORY();
    return NULL;
}

px_row *px_boot_row(const px_boot *boot, int stat, px_about about, const char *term, double null,
                    px_table *table) {
    const px_boot_stat *s = &boot->stats[stat];
    double top = 0, bottom = 0, square = 0;
    int64_t people = 0;
    for (int32_t i = 0; i < boot->n_people; i++) {
        top += s->numerator[i];
        bottom += s->denominator[i];
        people += s->denominator[i] > 0;
    }
    const double value = top / bottom, g = (double)people;
    for (int32_t i = 0; i < boot->n_people; i++) {
        double off = s->numerator[i] - value * s->denominator[i];
        square += off * off;
    }
    about.n_people = people;
    double se = people > 1 ? sqrt(square * g / (g - 1)) / bottom : NAN;
    px_row *row = px_table_wald(table, &about, term, bottom > 0 ? value : NAN, se, null);
    if (!row) return NULL;
    row->boot = stat;
    if (isnan(null)) row->p = NAN;
    if (!(bottom > 0)) px_row_note(row, "no value");
    if (people == 1) px_row_note(row, "one person: no errors");
    return row;
}

/* --- samples --- */

static double ratio_of(const px_boot_stat *s, const double *times, int32_t n) {
    double top = 0, bottom = 0;
    for (int32_t i = 0; i < n; i++) {
        top += times[i] * s->numerator[i];
        bottom += times[i] * s->denominator[i];
    }
    return top / bottom;
}

static double kappa_of(const px_boot_stat *s, const double *times, int32_t n) {
    double table[PX_SLOTS_MAX * PX_SLOTS_MAX] = {0};
    for (int32_t i = 0; i < n; i++)
        for (int c = 0; c < s->n * s->n; c++)
            table[c] += times[i] * s->numerator[i * s->n * s->n + c];
    return px_kappa_quadratic(table, s->n);
}

static px_err *worths_of(px_boot_rank *rank, const double *times, int32_t n, px_choice_fit *fit,
                         double *out) {
    for (int64_t c = 0; c < rank->patterns.n_choices; c++) rank->patterns.choices[c].weight = 0;
    for (int32_t i = 0; i < n; i++)
        for (int64_t k = rank->start[i]; k < rank->start[i + 1]; k++)
            rank->patterns.choices[rank->pattern[k]].weight += times[i];
    const px_choice_how how = {.start = rank->beta, .keep = rank->keep, .tolerance = 1e-6};
    PX_PASS(px_choice_newton(&rank->patterns, &how, fit));
    double sum = 0, top = 0;
    for (int a = 1; a < rank->n_arms; a++)
        if (rank->met[a]) top = fmax(top, fit->beta[a - 1]);
    for (int a = 0; a < rank->n_arms; a++) {
        out[a] = rank->met[a] ? exp((a ? fit->beta[a - 1] : 0) - top) : 0;
        sum += out[a];
    }
    for (int a = 0; a < rank->n_arms; a++) out[a] = fit->ok ? out[a] / sum : NAN;
    return NULL;
}

static px_err *sample(const px_boot *boot, const px_stats_job *job, int64_t b, double *times,
                      px_choice_fit *fit, double *out) {
    const px_rng rng = {job->seed, PX_RNG_STATS};
    memset(times, 0, (size_t)boot->n_people * sizeof *times);
    for (int32_t i = 0; i < boot->n_people; i++) {
        uint64_t place = (uint64_t)boot->source << 32 | (uint64_t)i;
        times[px_rng_below(rng, (uint64_t)b, place, (uint32_t)boot->n_people)] += 1;
    }
    for (int s = 0; s < boot->n_stats; s++) {
        if (boot->stats[s].kind == PX_BOOT_RATIO)
            out[s] = ratio_of(&boot->stats[s], times, boot->n_people);
        else if (boot->stats[s].kind == PX_BOOT_KAPPA)
            out[s] = kappa_of(&boot->stats[s], times, boot->n_people);
    }
    for (int r = 0; r < boot->n_ranks; r++)
        PX_PASS(worths_of(&boot->ranks[r], times, boot->n_people, fit, out + boot->ranks[r].stat));
    return NULL;
}

static void interval(px_row *row, const double *values, int n_stats, int64_t n, double *sorted) {
    int64_t m = 0;
    for (int64_t b = 0; b < n; b++)
        if (isfinite(values[b * n_stats + row->boot]))
            sorted[m++] = values[b * n_stats + row->boot];
    row->low = row->high = NAN;
    if (m < n) px_row_note(row, "%lld of %lld samples", (long long)m, (long long)n);
    if (m < 2) return;
    px_f64_sort(sorted, m);
    row->low = px_quantile(sorted, m, 0.025);
    row->high = px_quantile(sorted, m, 0.975);
}

px_err *px_boot_run_all(const px_ranks *ranks, const px_stats_job *job, px_boot *boot,
                        px_table *table) {
    const int64_t n = job->bootstrap;
    px_err *err = NULL;
    if (n < 1 || boot->n_stats == 0 || boot->n_people < 2) return NULL; /* the same on every rank */
    const size_t size = (size_t)n * (size_t)boot->n_stats;
    double *values = calloc(size, sizeof *values), *sorted = calloc((size_t)n, sizeof *sorted);
    double *times = calloc((size_t)boot->n_people, sizeof *times);
    px_choice_fit *fit = calloc(1, sizeof *fit);
    if (!values || !sorted || !times || !fit)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    for (int64_t b = ranks->rank; !err && b < n; b += ranks->size)
        err = sample(boot, job, b, times, fit, values + b * boot->n_stats);
    err = px_agree_all(ranks, err);
    if (!err) {
        px_spread_f64_all(ranks, values, size);
        for (int64_t i = 0; i < table->n; i++)
            if (table->at[i].boot >= 0 && table->at[i].source == boot->source)
                interval(&table->at[i], values, boot->n_stats, n, sorted);
    }
    free(values);
    free(sorted);
    free(times);
    free(fit);
    return err;
}
