/* design.c - rows (one a slot) and columns of the models of sliders and bids:
 *   y ~ 1 + arm + domain + position + error,
 * each factor against its first level: the reference arm, the first domain by name, the first
 * position. And what a fit of it says, in rows. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

/* The columns' numbers while they are given out. */
typedef struct {
    int32_t *arm;    /* [n_arms (+ variants)] or -1 */
    int32_t *domain; /* [n_domains] */
    int32_t pos[PX_SLOTS_MAX];
    int32_t error;
    int32_t *cross; /* [n_arms, n_domains] */
    int n_levels;   /* arms, or arms by variant */
} column_plan;

/* Arm, or arm by variant: variants come behind the arms, in pairs (arm order, variant). */
static int level_of(const px_study *study, const px_design_ask *ask, const px_trial_slot *slot) {
    int arm = study->arm_order[slot->arm];
    if (!ask->variants || arm == 0 || slot->variant < 0) return arm;
    return study->n_arms + arm * study->trials->variants.n + slot->variant;
}

static int n_levels_of(const px_study *study, const px_design_ask *ask) {
    return study->n_arms * (ask->variants ? 1 + study->trials->variants.n : 1);
}

static void level_name(const px_study *study, int level, char out[PX_TERM_MAX]) {
    if (level < study->n_arms) {
        snprintf(out, PX_TERM_MAX, "%s", px_study_arm(study, level));
        return;
    }
    const px_names *variants = &study->trials->variants;
    int arm = (level - study->n_arms) / variants->n,
        variant = (level - study->n_arms) % variants->n;
    snprintf(out, PX_TERM_MAX, "%s:variant:%s", px_study_arm(study, arm), variants->at[variant]);
}

static void plan_free(column_plan *plan) {
    free(plan->arm);
    free(plan->domain);
    free(plan->cross);
}

static bool takes(const px_design_ask *ask, const px_trial *trial, const px_trial_slot *slot) {
    return trial->source == ask->source && isfinite(ask->y(slot, ask->which));
}

/* What occurs in the rows: 1; else 0. */
static void levels_mark(const px_study *study, const px_design_ask *ask, column_plan *plan,
                        px_design *d) {
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        for (int s = 0; s < trial->n_slots; s++) {
            const px_trial_slot *slot = &trial->slots[s];
            if (!takes(ask, trial, slot)) continue;
            int domain = trial->domain < 0 ? -1 : study->domain_order[trial->domain];
            d->n++;
            plan->arm[level_of(study, ask, slot)] = 1;
            if (domain >= 0) plan->domain[domain] = 1;
            if (domain >= 0)
                plan->cross[study->arm_order[slot->arm] * study->n_domains + domain] = 1;
            plan->pos[slot->pos] = 1;
            if (slot->error) plan->error = 1;
        }
    }
}

static int32_t name_add(px_design *d, const char *prefix, const char *name) {
    snprintf(d->names[d->p], PX_TERM_MAX, "%s%s", prefix, name);
    return d->p++;
}

/* Marks become columns; the first level of a factor has none. */
static void columns_give(const px_study *study, const px_design_ask *ask, column_plan *plan,
                         px_design *d) {
    char name[PX_TERM_MAX], pos[2] = "A";
    bool first = true;
    name_add(d, "", "(intercept)");
    d->no_reference = d->n > 0 && !plan->arm[0];
    for (int a = 0; a < plan->n_levels; a++) {
        bool there = plan->arm[a] && a > 0;
        level_name(study, a, name);
        plan->arm[a] = there ? name_add(d, "", name) : -1;
        if (a < study->n_arms) d->arm_column[a] = plan->arm[a];
    }
    for (int i = 0; i < study->n_domains; i++) {
        bool there = plan->domain[i] && ask->domains;
        const char *domain = study->trials->domains.at[study->domains[i]];
        if (there && first) d->domain_base = domain;
        plan->domain[i] = there && !first ? name_add(d, "domain:", domain) : -1;
        first &= !there;
    }
    first = true;
    for (int i = 0; i < PX_SLOTS_MAX; i++) {
        bool there = plan->pos[i] != 0;
        pos[0] = (char)('A' + i);
        plan->pos[i] = there && !first ? name_add(d, "pos:", pos) : -1;
        first &= !there;
    }
    plan->error = plan->error ? name_add(d, "", "error") : -1;
    for (int i = 0; i < study->n_arms * study->n_domains; i++) {
        int arm = i / study->n_domains, domain = i % study->n_domains;
        bool there = ask->interactions && plan->cross[i] && plan->domain[domain] >= 0 &&
                     d->arm_column[arm] >= 0;
        snprintf(name, sizeof name, "%s:domain:%s", px_study_arm(study, arm),
                 study->trials->domains.at[study->domains[domain]]);
        plan->cross[i] = there ? name_add(d, "", name) : -1;
    }
}

static void rows_fill(const px_study *study, const px_design_ask *ask, const column_plan *plan,
                      int32_t *person, px_design *d) {
    int64_t n = 0;
    for (int32_t i = 0; i < study->n_people; i++) person[i] = -1;
    int32_t *trial_number = person + study->n_people;
    for (int32_t i = 0; i < study->trials->ids.n; i++) trial_number[i] = -1;
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        for (int s = 0; s < trial->n_slots; s++) {
            const px_trial_slot *slot = &trial->slots[s];
            if (!takes(ask, trial, slot)) continue;
            double *x = d->x + n * d->p;
            int domain = trial->domain < 0 ? -1 : study->domain_order[trial->domain];
            int arm = plan->arm[level_of(study, ask, slot)];
            x[0] = 1;
            if (arm >= 0) x[arm] = 1;
            if (domain >= 0 && plan->domain[domain] >= 0) x[plan->domain[domain]] = 1;
            if (plan->pos[slot->pos] >= 0) x[plan->pos[slot->pos]] = 1;
            if (slot->error && plan->error >= 0) x[plan->error] = 1;
            int cross = domain < 0
                            ? -1
                            : plan->cross[study->arm_order[slot->arm] * study->n_domains + domain];
            if (cross >= 0) x[cross] = 1;
            if (person[trial->person] < 0) person[trial->person] = d->n_persons++;
            if (trial_number[trial->id] < 0) trial_number[trial->id] = d->n_trials++;
            d->person[n] = person[trial->person];
            d->trial[n] = trial_number[trial->id];
            d->y[n++] = ask->y(slot, ask->which);
        }
    }
}

static px_err *design_fill(const px_study *study, const px_design_ask *ask, column_plan *plan,
                           px_design *d) {
    const size_t arms = (size_t)study->n_arms, cells = arms * (size_t)study->n_domains;
    plan->n_levels = n_levels_of(study, ask);
    plan->arm = calloc((size_t)plan->n_levels + 1, sizeof *plan->arm);
    plan->domain = calloc((size_t)study->n_domains + 1, sizeof *plan->domain);
    plan->cross = calloc(cells + 1, sizeof *plan->cross);
    d->arm_column = malloc((arms + 1) * sizeof *d->arm_column);
    size_t most = (size_t)plan->n_levels + (size_t)study->n_domains + cells + PX_SLOTS_MAX + 2;
    d->names = calloc(most, sizeof *d->names);
    if (!plan->arm || !plan->domain || !plan->cross || !d->arm_column || !d->names) PX_NO_MEMORY();
    levels_mark(study, ask, plan, d);
    columns_give(study, ask, plan, d);
    const size_t n = (size_t)d->n + 1, p = (size_t)d->p;
    d->keep = calloc(p, sizeof *d->keep);
    d->x = calloc(n * p, sizeof *d->x);
    d->y = calloc(n, sizeof *d->y);
    d->person = calloc(n, sizeof *d->person);
    d->trial = calloc(n, sizeof *d->trial);
    size_t numbers = (size_t)study->n_people + (size_t)study->trials->ids.n + 1;
    int32_t *room = malloc(numbers * sizeof *room);
    if (!d->keep || !d->x || !d->y || !d->person || !d->trial || !room) {
        free(room);
        PX_NO_MEMORY();
    }
    rows_fill(study, ask, plan, room, d);
    free(room);
    return NULL;
}

px_err *px_design_new(const px_study *study, const px_design_ask *ask, px_design *out) {
    column_plan plan = {0};
    *out = (px_design){0};
    px_err *err = design_fill(study, ask, &plan, out);
    plan_free(&plan);
    return err ? err : px_design_independent(out);
}

void px_design_free(px_design *d) {
    free(d->x);
    free(d->y);
    free(d->person);
    free(d->trial);
    free(d->names);
    free(d->arm_column);
    free(d->keep);
    *d = (px_design){0};
}

px_err *px_design_independent(px_design *d) {
    const int p = d->p;
    for (int j = 0; j < p; j++) d->keep[j] = true;
    if (p > PX_COLUMNS_MAX - 2) return NULL; /* whoever fits says that these are too many */
    double *gram = calloc((size_t)p * (size_t)p, sizeof *gram);
    if (!gram) PX_NO_MEMORY();
    for (int64_t i = 0; i < d->n; i++) {
        const double *x = d->x + i * p;
        for (int j = 0; j < p; j++)
            for (int k = 0; x[j] != 0 && k <= j; k++) gram[j * p + k] += x[j] * x[k];
    }
    for (int j = 0; j < p; j++)
        for (int k = 0; k < j; k++) gram[k * p + j] = gram[j * p + k];
    d->p_kept = px_independent(gram, p, d->keep);
    free(gram);
    double *to = d->x;
    for (int64_t i = 0; i < d->n; i++)
        for (int j = 0; j < p; j++)
            if (d->keep[j]) *to++ = d->x[i * p + j];
    return NULL;
}

px_err *px_fit_new(int p, px_fit *out) {
    *out = (px_fit){.p = p};
    out->beta = calloc((size_t)p + 1, sizeof *out->beta);
    out->cov = calloc((size_t)p * (size_t)p + 1, sizeof *out->cov);
    if (!out->beta || !out->cov) PX_NO_MEMORY();
    return NULL;
}

void px_fit_free(px_fit *fit) {
    free(fit->beta);
    free(fit->cov);
    *fit = (px_fit){0};
}

void px_fit_spread(const px_design *d, const double *beta, const double *cov, int ld, px_fit *fit) {
    const int p = d->p;
    for (int j = 0, a = 0; j < p; j++) {
        fit->beta[j] = d->keep[j] ? beta[a] : NAN;
        for (int k = 0, b = 0; k < p; k++) {
            fit->cov[j * p + k] = d->keep[j] && d->keep[k] ? cov[a * ld + b] : NAN;
            b += d->keep[k];
        }
        a += d->keep[j];
    }
    fit->ok = true;
}

static void contrast_row(const px_study *study, const px_design *d, const px_fit *fit,
                         const char *high, const char *low, const px_about *about,
                         px_table *table) {
    int a = px_study_find(study, high), b = px_study_find(study, low);
    double *c = calloc((size_t)d->p + 1, sizeof *c);
    char term[PX_TERM_MAX];
    if (!c) {
        table->failed = true;
        return;
    }
    bool there = a > 0 && b > 0 && d->arm_column[a] >= 0 && d->arm_column[b] >= 0;
    if (there) {
        a = d->arm_column[a];
        b = d->arm_column[b];
        c[a] = 1;
        c[b] = -1;
        snprintf(term, sizeof term, "%s-%s", high, low);
        bool told = fit->ok && d->keep[a] && d->keep[b];
        px_row *row = px_table_wald(table, about, term, told ? fit->beta[a] - fit->beta[b] : NAN,
                                    told ? px_contrast_se(fit->cov, d->p, c) : NAN, 0);
        px_row_contrast(row, high, low);
    }
    free(c);
}

void px_fit_rows(const px_study *study, const px_design *d, const px_fit *fit,
                 const px_about *about, px_table *table) {
    for (int j = 1; j < d->p; j++) {
        bool told = fit->ok && d->keep[j], arm = false;
        for (int a = 1; a < study->n_arms; a++) arm |= d->arm_column[a] == j;
        if (arm && d->no_reference) told = false;
        px_row *row = px_table_wald(table, about, d->names[j], told ? fit->beta[j] : NAN,
                                    told ? sqrt(fit->cov[j * d->p + j]) : NAN, 0);
        if (arm) px_row_contrast(row, d->names[j], px_study_arm(study, 0));
        if (!strncmp(d->names[j], "domain:", 7) && d->domain_base)
            px_row_note(row, "against domain %s", d->domain_base);
        if (arm && d->no_reference)
            px_row_note(row, "no row of %s", px_study_arm(study, 0));
        else if (fit->ok && !d->keep[j])
            px_row_note(row, "cannot be told from the other terms");
    }
    contrast_row(study, d, fit, "ppft", "dpft", about, table);
    contrast_row(study, d, fit, "ppft", "prompt", about, table);
}
