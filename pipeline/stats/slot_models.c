/* slot_models.c - sliders and bids into mixed models, Tobit and cumulative logit, and their rows.
 */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { OUTCOMES = PX_SLIDERS + 1, CATEGORIES_MAX = 128 };

static const char *const outcomes[OUTCOMES] = {"vas:preference", "vas:engaging", "vas:provenance",
                                               "wtp"};

static double outcome_of(const px_trial_slot *slot, int which) {
    return which < PX_SLIDERS ? slot->vas[which] : slot->wtp;
}

static px_about about_of(px_trial_source source, int outcome, const char *model,
                         const px_design *d) {
    return (px_about){.family = outcome == PX_VAS_PROVENANCE ? PX_FAMILY_PROVENANCE
                                                             : PX_FAMILY_PREFERENCE,
                      .outcome = outcomes[outcome],
                      .model = model,
                      .source = (int)source,
                      .n_trials = d->n_trials,
                      .n_people = d->n_persons};
}

static void note_add(char note[PX_TERM_MAX], const char *text) {
    size_t at = strlen(note);
    snprintf(note + at, PX_TERM_MAX - at, "%s%s", at ? "; " : "", text);
}

/* --- mixed models --- */

/* A factor whose every level has one row is the residual; one that splits the rows as another does
 * is that one; one with a single level is the intercept. */
static void factors_choose(const px_design *d, px_lmm *model, int place[2],
                           char note[PX_TERM_MAX]) {
    bool person = d->n_persons > 1 && d->n_persons < d->n;
    bool trial = d->n_trials > 1 && d->n_trials < d->n;
    if (trial && person && d->n_trials == d->n_persons) {
        bool same = true;
        for (int64_t i = 0; i < d->n && same; i++) same = d->person[i] == d->trial[i];
        trial = !same; /* both are numbered in the order of the rows */
    }
    if (!person) note_add(note, d->n_persons > 1 ? "one row a person: no effect" : "one person");
    if (!trial) note_add(note, "no effect of the trial can be told");
    place[0] = place[1] = -1;
    if (person) {
        place[0] = model->n_factors;
        model->level[model->n_factors] = d->person;
        model->n_levels[model->n_factors++] = d->n_persons;
    }
    if (trial) {
        place[1] = model->n_factors;
        model->level[model->n_factors] = d->trial;
        model->n_levels[model->n_factors++] = d->n_trials;
    }
}

static void spread_rows(const px_lmm_fit *fit, const int place[2], const px_about *about,
                        px_table *table) {
    static const char *const names[2] = {"sd:person", "sd:trial"};
    for (int f = 0; f < 2; f++) {
        px_row *row = px_table_add(table, about, names[f]);
        if (row && fit->ok && place[f] >= 0) row->estimate = fit->sd[place[f]];
        if (row && fit->ok && place[f] >= 0 && fit->sd[place[f]] == 0)
            px_row_note(row, "on the boundary");
    }
    px_row *row = px_table_add(table, about, "sd:residual");
    if (row && fit->ok) row->estimate = fit->sd_residual;
}

static int column_named(const px_design *d, const char *name) {
    for (int j = 0; j < d->p; j++)
        if (!strcmp(d->names[j], name)) return j;
    return -1;
}

/* The arm's effect within each domain: its own column and its column with the domain. */
static void domain_rows(const px_study *study, const px_design *d, const px_fit *fit,
                        const px_about *about, px_table *table) {
    char name[PX_TERM_MAX];
    double *c = malloc(((size_t)d->p + 1) * sizeof *c);
    if (!c) {
        table->failed = true;
        return;
    }
    for (int i = 0; i < study->n_arms * study->n_domains; i++) {
        int arm = i / study->n_domains;
        int own = d->arm_column[arm];
        const char *domain = study->trials->domains.at[study->domains[i % study->n_domains]];
        snprintf(name, sizeof name, "%s:domain:%s", px_study_arm(study, arm), domain);
        bool base = d->domain_base && !strcmp(domain, d->domain_base);
        int cross = column_named(d, name);
        if (own < 0 || (cross < 0 && !base)) continue;
        memset(c, 0, (size_t)d->p * sizeof *c);
        c[own] = 1;
        if (cross >= 0) c[cross] = 1;
        double value = fit->beta[own] + (cross >= 0 ? fit->beta[cross] : 0);
        px_row *row = px_table_wald(table, about, name, fit->ok ? value : NAN,
                                    fit->ok ? px_contrast_se(fit->cov, d->p, c) : NAN, 0);
        px_row_contrast(row, px_study_arm(study, arm), px_study_arm(study, 0));
    }
    free(c);
}

static void variant_rows(const px_study *study, const px_design *d, const px_fit *fit,
                         const px_about *about, px_table *table) {
    for (int j = 1; j < d->p; j++) {
        if (!strstr(d->names[j], ":variant:")) continue;
        bool told = fit->ok && d->keep[j];
        px_row *row = px_table_wald(table, about, d->names[j], told ? fit->beta[j] : NAN,
                                    told ? sqrt(fit->cov[j * d->p + j]) : NAN, 0);
        px_row_contrast(row, d->names[j], px_study_arm(study, 0));
    }
}

static bool has_variants(const px_study *study, px_trial_source source) {
    int32_t *seen = malloc(((size_t)study->n_arms + 1) * sizeof *seen);
    bool several = false;
    for (int a = 0; seen && a < study->n_arms; a++) seen[a] = -1;
    for (int64_t t = 0; seen && t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        for (int s = 0; trial->source == source && s < trial->n_slots; s++) {
            int32_t *first = &seen[study->arm_order[trial->slots[s].arm]];
            int32_t variant = trial->slots[s].variant;
            if (*first < 0) *first = variant;
            several |= variant >= 0 && *first != variant;
        }
    }
    free(seen);
    return several;
}

px_err *px_lmm_rows(const px_study *study, px_trial_source source, int outcome, int form,
                    px_table *table) {
    static const char *const models[] = {"lmm", "lmm_domain", "lmm_variant"};
    const px_design_ask ask = {outcome_of, outcome, source, true, form == 1, form == 2};
    px_design d;
    px_fit all = {0};
    char note[PX_TERM_MAX] = "";
    int place[2];
    if ((form == 1 && study->n_domains < 2) || (form == 2 && !has_variants(study, source)))
        return NULL;
    px_lmm_fit *fit = calloc(1, sizeof *fit);
    if (!fit) PX_NO_MEMORY();
    px_err *err = px_design_new(study, &ask, &d);
    if (!err && d.n) err = px_fit_new(d.p, &all);
    if (err || !d.n) goto done;
    px_lmm model = {.n = d.n, .p = d.p_kept, .x = d.x, .y = d.y};
    factors_choose(&d, &model, place, note);
    if (d.p > PX_COLUMNS_MAX - 2)
        fit->why = "too many terms";
    else
        PX_PASS_TO(done, px_lmm_reml(&model, fit));
    if (fit->ok) px_fit_spread(&d, fit->beta, fit->cov, d.p_kept, &all);
    if (!fit->ok) {
        note_add(note, "not fitted: ");
        snprintf(note + strlen(note), PX_TERM_MAX - strlen(note), "%s", fit->why);
    }
    if (fit->singular) note_add(note, "singular: a variance is 0");
    px_about about = about_of(source, outcome, models[form], &d);
    about.note = note;
    if (form == 0) {
        px_fit_rows(study, &d, &all, &about, table);
        spread_rows(fit, place, &about, table);
    } else if (form == 1) {
        domain_rows(study, &d, &all, &about, table);
    } else {
        variant_rows(study, &d, &all, &about, table);
    }
done:
    px_fit_free(&all);
    px_design_free(&d);
    free(fit);
    return err;
}

/* --- Tobit --- */

px_err *px_tobit_rows(const px_study *study, px_trial_source source, px_table *table) {
    const px_design_ask ask = {outcome_of, PX_SLIDERS, source, true, false, false};
    px_design d;
    px_fit all = {0};
    char note[PX_TERM_MAX] = "";
    px_tobit_fit *fit = calloc(1, sizeof *fit);
    if (!fit) PX_NO_MEMORY();
    px_err *err = px_design_new(study, &ask, &d);
    if (!err && d.n) err = px_fit_new(d.p, &all);
    if (err || !d.n) goto done;
    if (d.p > PX_COLUMNS_MAX - 3)
        fit->why = "too many terms";
    else
        PX_PASS_TO(done, px_tobit_fit_ml(&(px_tobit){.n = d.n,
                                                     .p = d.p_kept,
                                                     .x = d.x,
                                                     .y = d.y,
                                                     .low = 0,
                                                     .high = 10,
                                                     .cluster = d.person,
                                                     .n_clusters = d.n_persons},
                                         fit));
    const int ld = d.p_kept + 1;
    if (fit->ok)
        px_fit_spread(&d, fit->beta, fit->cov, ld, &all);
    else
        snprintf(note, sizeof note, "not fitted: %s", fit->why);
    if (d.n_persons == 1) note_add(note, "one person: no errors");
    px_about about = about_of(source, PX_SLIDERS, "tobit", &d);
    about.note = note;
    px_fit_rows(study, &d, &all, &about, table);
    px_row *row = px_table_add(table, &about, "sd:residual");
    if (row && fit->ok) {
        row->estimate = fit->sigma;
        double se = sqrt(fit->cov[(ld - 1) * ld + ld - 1]);
        if (isfinite(se)) row->se = se;
    }
done:
    px_fit_free(&all);
    px_design_free(&d);
    free(fit);
    return err;
}

/* --- cumulative logit --- */

/* Distinct values in order; where there are over CATEGORIES_MAX, whole numbers. Thresholds take the
 * intercept's place. */
static px_err *categories_make(const px_design *d, int32_t *category, int *n_categories,
                               char note[PX_TERM_MAX]) {
    double *values = malloc(((size_t)d->n + 1) * sizeof *values);
    int64_t m = 0;
    if (!values) PX_NO_MEMORY();
    for (int rounded = 0; rounded < 2; rounded++) {
        for (int64_t i = 0; i < d->n; i++) values[i] = rounded ? round(d->y[i]) : d->y[i];
        px_f64_sort(values, d->n);
        m = 0;
        for (int64_t i = 0; i < d->n; i++)
            if (m == 0 || values[i] > values[m - 1]) values[m++] = values[i];
        for (int64_t i = 0; i < d->n; i++) {
            double y = rounded ? round(d->y[i]) : d->y[i];
            int64_t low = 0, high = m - 1;
            while (low < high) {
                int64_t middle = (low + high) / 2;
                if (values[middle] < y)
                    low = middle + 1;
                else
                    high = middle;
            }
            category[i] = (int32_t)low;
        }
        if (rounded) note_add(note, "rounded to whole numbers");
        if (m <= CATEGORIES_MAX) break;
    }
    free(values);
    *n_categories = (int)m;
    return NULL;
}

/* x without the intercept. */
static double *slopes_of(const px_design *d) {
    const int p = d->p_kept; /* 0: too many columns, x is not packed */
    double *x = malloc(((size_t)d->n * (size_t)p + 1) * sizeof *x);
    for (int64_t i = 0; x && p > 0 && i < d->n; i++)
        memcpy(x + i * (p - 1), d->x + i * p + 1, (size_t)(p - 1) * sizeof *x);
    return x;
}

/* A term that always has the highest or the lowest values has its maximum at infinity: Newton stops
 * where rounding leaves no slope, with next to no information. Log odds known no better than to
 * ±1000 are such. */
#define SLOPE_VARIANCE_MAX 1e6

/* The slopes' part of the fit, with a column of nothing for the intercept. */
static px_err *slopes_spread(const px_design *d, const px_ordinal_fit *fit, px_fit *all,
                             bool *all_finite) {
    const int p = d->p_kept, first = fit->n - 1 - (p - 1);
    double *beta = calloc((size_t)p, sizeof *beta),
           *cov = calloc((size_t)p * (size_t)p, sizeof *cov);
    if (!beta || !cov) {
        free(beta);
        free(cov);
        PX_NO_MEMORY();
    }
    for (int i = 1; i < p; i++) {
        const size_t at = (size_t)(first + i - 1);
        const bool finite = fit->cov[at * (size_t)fit->n + at] < SLOPE_VARIANCE_MAX;
        beta[i] = finite ? fit->theta[at] : NAN;
        *all_finite &= finite;
        for (int k = 1; k < p; k++)
            cov[i * p + k] =
                fit->cov[(size_t)(first + i - 1) * (size_t)fit->n + (size_t)(first + k - 1)];
    }
    px_fit_spread(d, beta, cov, p, all);
    free(beta);
    free(cov);
    return NULL;
}

px_err *px_ordinal_rows(const px_study *study, px_trial_source source, int outcome,
                        px_table *table) {
    const px_design_ask ask = {outcome_of, outcome, source, true, false, false};
    px_design d;
    px_fit all = {0};
    px_ordinal_fit fit = {.why = "one value alone"};
    char note[PX_TERM_MAX] = "";
    int32_t *category = NULL;
    double *x = NULL;
    int n_categories = 0;
    px_err *err = px_design_new(study, &ask, &d);
    if (!err && d.n) err = px_fit_new(d.p, &all);
    if (err || !d.n) goto done;
    category = malloc((size_t)d.n * sizeof *category);
    x = slopes_of(&d);
    if (!category || !x) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, categories_make(&d, category, &n_categories, note));
    if (d.p > PX_COLUMNS_MAX - 3)
        fit.why = "too many terms";
    else if (n_categories > 1)
        PX_PASS_TO(done, px_ordinal_ml(&(px_ordinal){.n = d.n,
                                                     .p = d.p_kept - 1,
                                                     .n_categories = n_categories,
                                                     .x = x,
                                                     .category = category,
                                                     .person = d.person,
                                                     .n_persons = d.n_persons,
                                                     .nodes = 15},
                                       &fit));
    bool finite = true;
    if (fit.ok)
        PX_PASS_TO(done, slopes_spread(&d, &fit, &all, &finite));
    else
        snprintf(note, sizeof note, "not fitted: %s", fit.why);
    if (fit.ok && fit.singular) note_add(note, "singular: the person's variance is 0");
    if (!finite) note_add(note, "NA: always the highest or lowest, no finite maximum");
    px_about about = about_of(source, outcome, "cumulative_logit", &d);
    about.note = note;
    px_fit_rows(study, &d, &all, &about, table);
    px_row *row = px_table_add(table, &about, "sd:person");
    if (row && fit.ok) row->estimate = fit.sd;
done:
    px_ordinal_fit_free(&fit);
    free(category);
    free(x);
    px_fit_free(&all);
    px_design_free(&d);
    return err;
}
