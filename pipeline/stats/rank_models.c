/* rank_models.c - rankings and first choices into the models of rank.c, and their rows. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { EXTRA_COLUMNS = 10, ARM_COLUMNS_MAX = PX_COLUMNS_MAX - EXTRA_COLUMNS };

/* What is taken from the trials of a source. */
typedef struct {
    px_trial_source source;
    px_question question;
    bool opening, pairs, covariates;
} choice_ask;

typedef struct {
    px_choices data;
    int arm_columns;
    int n_pos;                    /* columns pos:B … */
    int32_t pos_at[PX_SLOTS_MAX]; /* position -> column, -1 */
    int length_at, error_at;      /* columns, -1 */
    bool *met;                    /* [n_arms] by order: compared with the reference, if by others */
    bool *met_copy;               /* for the bootstrap to keep */
    bool *there;                  /* [n_arms] stands in a ranking */
    bool *above; /* [n_arms, n_arms] where a ridge was needed: above the other, once or by others */
    int64_t n_trials;
    int64_t *trial_of;   /* [n_choices] */
    int64_t n_no_length; /* trials left out */
} choice_set;

static void choice_set_free(choice_set *set) {
    px_choices_free(&set->data);
    free(set->met);
    free(set->met_copy);
    free(set->there);
    free(set->above);
    free(set->trial_of);
    *set = (choice_set){0};
}

/* Slots of a trial, best first; the number, 0: was not asked. For a first choice the rest follows
 * in order of position. */
static int best_first(const px_trial *trial, const choice_ask *ask, int *order) {
    int n = trial->n_slots;
    if (ask->opening) {
        int best = trial->opening[ask->question], at = 0;
        if (best < 0) return 0;
        order[at++] = best;
        for (int i = 0; i < n; i++)
            if (i != best) order[at++] = i;
        return n;
    }
    for (int i = 0; i < n; i++) {
        int rank = trial->slots[i].rank[ask->question];
        if (rank == 0) return 0;
        order[rank - 1] = i;
    }
    return n;
}

static int find_root(int *parent, int a) {
    while (parent[a] != a) a = parent[a] = parent[parent[a]];
    return a;
}

/* Which arms can be told apart from the reference: those of its component. */
static px_err *components(const px_study *study, const choice_ask *ask, choice_set *set) {
    int order[PX_SLOTS_MAX] = {0};
    int *parent = malloc((size_t)PX_MAX(study->n_arms, 1) * sizeof *parent);
    set->met = calloc((size_t)study->n_arms + 1, sizeof *set->met);
    set->there = calloc((size_t)study->n_arms + 1, sizeof *set->there);
    if (!parent || !set->met || !set->there) {
        free(parent);
        PX_NO_MEMORY();
    }
    for (int a = 0; a < study->n_arms; a++) parent[a] = a;
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        if (trial->source != ask->source) continue;
        int n = best_first(trial, ask, order);
        for (int i = 0; i < n; i++) {
            int a = study->arm_order[trial->slots[i].arm];
            int b = study->arm_order[trial->slots[0].arm];
            set->there[a] = true;
            parent[find_root(parent, a)] = find_root(parent, b);
        }
    }
    for (int a = 0; a < study->n_arms; a++)
        set->met[a] = set->there[a] && find_root(parent, a) == find_root(parent, 0);
    free(parent);
    set->met_copy = malloc((size_t)study->n_arms + 1);
    if (!set->met_copy) PX_NO_MEMORY();
    memcpy(set->met_copy, set->met, (size_t)study->n_arms);
    return NULL;
}

/* Who was ever above whom, directly or through others. Two arms that were both above and below each
 * other so have a difference with a finite maximum (Ford 1957). */
static px_err *above_find(const px_study *study, const choice_ask *ask, choice_set *set) {
    const int n = study->n_arms;
    int order[PX_SLOTS_MAX] = {0};
    set->above = calloc((size_t)n * (size_t)n + 1, sizeof *set->above);
    if (!set->above) PX_NO_MEMORY();
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        if (trial->source != ask->source) continue;
        const int m = best_first(trial, ask, order);
        for (int i = 0; i < (ask->opening ? PX_MIN(m, 1) : m); i++)
            for (int k = i + 1; k < m; k++)
                set->above[study->arm_order[trial->slots[order[i]].arm] * n +
                           study->arm_order[trial->slots[order[k]].arm]] = true;
    }
    for (int by = 0; by < n; by++)
        for (int a = 0; a < n; a++)
            for (int b = 0; set->above[a * n + by] && b < n; b++)
                set->above[a * n + b] |= set->above[by * n + b];
    return NULL;
}

/* Where the ridge alone keeps two arms at a distance, their scores vanish and errors with them: an
 * interval says something of the ridge's estimate, a p would be about nothing. */
static void ridge_row(const px_study *study, const choice_set *set, int a, int b, px_row *row) {
    const int n = study->n_arms;
    if (row && set->above && !(set->above[a * n + b] && set->above[b * n + a])) {
        row->p = NAN;
        px_row_note(row, "no finite maximum: no p");
    }
}

/* The covariate columns that vary. */
static void covariates_plan(const px_study *study, const choice_ask *ask, choice_set *set) {
    bool pos[PX_SLOTS_MAX] = {0}, error = false;
    int first = -1, p = set->arm_columns;
    for (int i = 0; i < PX_SLOTS_MAX; i++) set->pos_at[i] = -1;
    set->length_at = set->error_at = -1;
    if (ask->covariates) {
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            if (trial->source != ask->source) continue;
            for (int s = 0; s < trial->n_slots; s++) {
                pos[trial->slots[s].pos] = true;
                error |= trial->slots[s].error;
            }
        }
        set->length_at = p++;
        for (int i = 0; i < PX_SLOTS_MAX; i++) {
            if (!pos[i]) continue;
            if (first < 0)
                first = i;
            else
                set->pos_at[i] = p++;
        }
        if (error) set->error_at = p++;
    }
    set->data.p = p;
}

static void row_fill(const px_study *study, const choice_set *set, const px_trial_slot *slot,
                     double *x) {
    int arm = study->arm_order[slot->arm];
    if (arm > 0) x[arm - 1] = 1;
    if (set->length_at < 0) return;
    x[set->length_at] = slot->length / 100;
    if (set->pos_at[slot->pos] >= 0) x[set->pos_at[slot->pos]] = 1;
    if (set->error_at >= 0 && slot->error) x[set->error_at] = 1;
}

static bool usable(const px_study *study, const choice_ask *ask, choice_set *set,
                   const px_trial *trial) {
    if (!set->met[study->arm_order[trial->slots[0].arm]]) return false;
    for (int s = 0; ask->covariates && s < trial->n_slots; s++)
        if (isnan(trial->slots[s].length)) {
            set->n_no_length++;
            return false;
        }
    return true;
}

/* The choices of one trial: the ranking, or each of its pairs. */
static void choices_add(const px_study *study, const choice_ask *ask, choice_set *set, int64_t t,
                        int32_t cluster) {
    const px_trial *trial = &study->trials->at[t];
    px_choices *d = &set->data;
    int order[PX_SLOTS_MAX] = {0}, n = best_first(trial, ask, order);
    for (int a = 0; a < (ask->pairs ? n : 1); a++)
        for (int b = a + 1; b < (ask->pairs ? n : a + 2); b++) {
            px_choice *c = &d->choices[d->n_choices];
            *c = (px_choice){.first = (int32_t)d->n_rows,
                             .n = ask->pairs ? 2 : n,
                             .cluster = cluster,
                             .weight = 1};
            c->stages = ask->pairs || ask->opening ? 1 : n - 1;
            set->trial_of[d->n_choices++] = t;
            for (int i = 0; i < c->n; i++) {
                int slot = ask->pairs ? order[i ? b : a] : order[i];
                row_fill(study, set, &trial->slots[slot], d->x + d->n_rows++ * d->p);
            }
        }
}

static px_err *choice_set_new(const px_study *study, const choice_ask *ask, choice_set *set) {
    const px_trials *trials = study->trials;
    int64_t n_choices = 0, n_rows = 0;
    *set = (choice_set){.arm_columns = study->n_arms - 1};
    PX_PASS(components(study, ask, set));
    covariates_plan(study, ask, set);
    for (int64_t t = 0; t < trials->n; t++) {
        int n = trials->at[t].n_slots, pairs = n * (n - 1) / 2;
        if (trials->at[t].source != ask->source) continue;
        n_choices += ask->pairs ? pairs : 1;
        n_rows += ask->pairs ? 2 * pairs : n;
    }
    set->data.choices = calloc((size_t)n_choices + 1, sizeof *set->data.choices);
    set->data.x = calloc((size_t)n_rows * (size_t)set->data.p + 1, sizeof *set->data.x);
    set->trial_of = calloc((size_t)n_choices + 1, sizeof *set->trial_of);
    int32_t *cluster = malloc(((size_t)study->n_people + 1) * sizeof *cluster);
    if (!set->data.choices || !set->data.x || !set->trial_of || !cluster) {
        free(cluster);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i < study->n_people; i++) cluster[i] = -1;
    for (int64_t t = 0; t < trials->n; t++) {
        const px_trial *trial = &trials->at[t];
        int order[PX_SLOTS_MAX] = {0};
        if (trial->source != ask->source || !best_first(trial, ask, order)) continue;
        if (!usable(study, ask, set, trial)) continue;
        int32_t *c = &cluster[trial->person];
        if (*c < 0) *c = set->data.n_clusters++;
        choices_add(study, ask, set, t, *c);
        set->n_trials++;
    }
    free(cluster);
    return NULL;
}

/* --- rows --- */

static void contrast_row(const px_study *study, const choice_set *set, const px_choice_fit *fit,
                         const char *const pair[2], const px_about *about, px_table *table) {
    const char *high = pair[0], *low = pair[1];
    int a = px_study_find(study, high), b = px_study_find(study, low);
    double c[PX_COLUMNS_MAX] = {0};
    char term[PX_TERM_MAX];
    if (a <= 0 || b <= 0) return; /* not there, or the reference: the plain rows say it */
    c[a - 1] = 1;
    c[b - 1] = -1;
    snprintf(term, sizeof term, "%s-%s", high, low);
    bool told = fit->ok && fit->keep[a - 1] && fit->keep[b - 1];
    px_row *row =
        px_table_wald(table, about, term, told ? fit->beta[a - 1] - fit->beta[b - 1] : NAN,
                      told ? px_contrast_se(fit->cov, set->data.p, c) : NAN, 0);
    px_row_contrast(row, high, low);
    ridge_row(study, set, a, b, row);
}

static void arm_rows(const px_study *study, const choice_set *set, const px_choice_fit *fit,
                     const px_about *about, px_table *table) {
    static const char *const pairs[2][2] = {{"ppft", "dpft"}, {"ppft", "prompt"}};
    const int p = set->data.p;
    for (int a = 1; a < study->n_arms; a++) {
        if (!set->there[a]) continue;
        bool told = fit->ok && fit->keep[a - 1] && set->met[a];
        px_row *row =
            px_table_wald(table, about, px_study_arm(study, a), told ? fit->beta[a - 1] : NAN,
                          told ? sqrt(fit->cov[(a - 1) * p + a - 1]) : NAN, 0);
        px_row_contrast(row, px_study_arm(study, a), px_study_arm(study, 0));
        if (!set->met[a])
            px_row_note(row, "never met %s, nor through others", px_study_arm(study, 0));
        else
            ridge_row(study, set, a, 0, row);
    }
    for (int i = 0; i < 2; i++) contrast_row(study, set, fit, pairs[i], about, table);
}

static void fit_note(const choice_set *set, const px_choice_fit *fit, char note[PX_TERM_MAX]) {
    note[0] = 0;
    if (!fit->ok)
        snprintf(note, PX_TERM_MAX, "not fitted: %s", fit->why);
    else if (fit->ridge)
        snprintf(note, PX_TERM_MAX, "ridge 1e-3: arms that are always or never above others");
    if (set->data.n_clusters == 1) snprintf(note, PX_TERM_MAX, "one person: no errors");
    if (set->n_no_length) {
        size_t at = strlen(note);
        snprintf(note + at, PX_TERM_MAX - at, "%s%lld trials without answers left out",
                 at ? "; " : "", (long long)set->n_no_length);
    }
}

static const char *outcome_name(const choice_ask *ask) {
    static const char *const names[2][PX_QUESTIONS] = {{"rank:preference", "rank:provenance"},
                                                       {"opening:best", "opening:provenance"}};
    return names[ask->opening][ask->question];
}

static px_about about_of(const choice_ask *ask, const choice_set *set, const char *model,
                         const char *note) {
    return (px_about){.family = ask->question == PX_PREFERENCE ? PX_FAMILY_PREFERENCE
                                                               : PX_FAMILY_PROVENANCE,
                      .outcome = outcome_name(ask),
                      .model = model,
                      .note = note,
                      .source = (int)ask->source,
                      .n_trials = set->n_trials,
                      .n_people = set->data.n_clusters};
}

/* worth_a = e^theta_a / sum over the arms that met the reference; errors by the delta method. */
static void worth_rows(const px_study *study, const choice_set *set, const px_choice_fit *fit,
                       const px_about *about, int stat, px_table *table) {
    const int p = set->data.p;
    double sum = 0, worth[ARM_COLUMNS_MAX + 1], top = 0;
    for (int a = 1; a < study->n_arms; a++)
        if (set->met[a]) top = fmax(top, fit->beta[a - 1]);
    for (int a = 0; a < study->n_arms; a++) {
        worth[a] = set->met[a] ? exp((a ? fit->beta[a - 1] : 0) - top) : 0;
        sum += worth[a];
    }
    for (int a = 0; a < study->n_arms; a++) {
        double c[PX_COLUMNS_MAX] = {0};
        char term[PX_TERM_MAX];
        if (!set->met[a]) continue;
        snprintf(term, sizeof term, "worth:%s", px_study_arm(study, a));
        for (int b = 1; b < study->n_arms; b++)
            c[b - 1] = worth[a] / sum * ((a == b) - worth[b] / sum);
        double se = fit->ok ? px_contrast_se(fit->cov, p, c) : NAN;
        px_row *row = px_table_wald(table, about, term, fit->ok ? worth[a] / sum : NAN, se, 0);
        if (!row) return;
        row->p = NAN; /* a share is not 0 */
        row->boot = stat < 0 ? -1 : stat + a;
    }
}

static int by_pattern(const void *a, const void *b, void *context) {
    const choice_set *set = context;
    const px_choice *x = &set->data.choices[*(const int32_t *)a],
                    *y = &set->data.choices[*(const int32_t *)b];
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    const size_t p = (size_t)set->data.p;
    int diff = memcmp(set->data.x + (size_t)x->first * p, set->data.x + (size_t)y->first * p,
                      (size_t)x->n * p * sizeof(double));
    return diff ? diff : *(const int32_t *)a - *(const int32_t *)b;
}

static bool same_pattern(const choice_set *set, int32_t a, int32_t b) {
    const px_choice *x = &set->data.choices[a], *y = &set->data.choices[b];
    const size_t p = (size_t)set->data.p;
    return x->n == y->n &&
           !memcmp(set->data.x + (size_t)x->first * p, set->data.x + (size_t)y->first * p,
                   (size_t)x->n * p * sizeof(double));
}

/* The rankings by pattern and person, so that a sample costs as many patterns as there are. Takes
 * the set's design. */
static px_err *boot_add(const px_study *study, choice_set *set, const px_choice_fit *fit,
                        px_boot *boot, int *stat) {
    const int64_t n = set->data.n_choices;
    px_boot_rank rank = {.n_arms = study->n_arms};
    px_boot_rank *ranks = realloc(boot->ranks, (size_t)(boot->n_ranks + 1) * sizeof *ranks);
    if (!ranks) PX_NO_MEMORY();
    boot->ranks = ranks;
    int32_t *order = malloc(((size_t)n + 1) * sizeof *order), *of = calloc((size_t)n + 1, 4);
    int64_t *fill = calloc((size_t)boot->n_people + 2, sizeof *fill);
    rank.pattern = malloc(((size_t)n + 1) * sizeof *rank.pattern);
    rank.start = calloc((size_t)boot->n_people + 2, sizeof *rank.start);
    px_err *err = NULL;
    if (!order || !of || !fill || !rank.pattern || !rank.start)
        PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    qsort_r(order, (size_t)n, sizeof *order, by_pattern, set);
    rank.patterns = set->data;
    rank.patterns.choices = calloc((size_t)n + 1, sizeof *rank.patterns.choices);
    if (!rank.patterns.choices) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    rank.patterns.n_choices = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || !same_pattern(set, order[i - 1], order[i]))
            rank.patterns.choices[rank.patterns.n_choices++] = set->data.choices[order[i]];
        of[order[i]] = (int32_t)rank.patterns.n_choices - 1;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t who = boot->person_of[study->trials->at[set->trial_of[i]].person];
        rank.start[who + 1]++;
    }
    for (int32_t i = 0; i < boot->n_people; i++) rank.start[i + 1] += rank.start[i];
    for (int64_t i = 0; i < n; i++) {
        int32_t who = boot->person_of[study->trials->at[set->trial_of[i]].person];
        rank.pattern[rank.start[who] + fill[who]++] = of[i];
    }
    memcpy(rank.beta, fit->beta, sizeof rank.beta);
    memcpy(rank.keep, fit->keep, sizeof rank.keep);
    PX_PASS_TO(failed, px_boot_worths(boot, study->n_arms, &rank.stat));
    *stat = rank.stat;
    rank.met = set->met_copy;
    set->met_copy = NULL;
    boot->ranks[boot->n_ranks++] = rank;
    set->data.x = NULL; /* the patterns' now */
failed:
    free(order);
    free(of);
    free(fill);
    if (err) {
        free(rank.pattern);
        free(rank.start);
        free(rank.patterns.choices);
    }
    return err;
}

static px_err *luce_rows(const px_study *study, const choice_ask *ask, px_boot *boot,
                         px_table *table) {
    choice_set set;
    char note[PX_TERM_MAX];
    int stat = -1;
    px_choice_fit *fit = calloc(1, sizeof *fit);
    if (!fit) PX_NO_MEMORY();
    px_err *err = choice_set_new(study, ask, &set);
    if (!err && set.n_trials) err = px_choice_maximum(&set.data, set.arm_columns, fit);
    if (err || !set.n_trials) goto done;
    if (fit->ok && fit->ridge) PX_PASS_TO(done, above_find(study, ask, &set));
    fit_note(&set, fit, note);
    px_about about = about_of(ask, &set, ask->pairs ? "bradley_terry" : "plackett_luce", note);
    arm_rows(study, &set, fit, &about, table);
    if (ask->pairs) goto done;
    /* where the ridge is needed samples would need it too, and say little */
    if (boot && fit->ok && !fit->ridge) err = boot_add(study, &set, fit, boot, &stat);
    if (!err) worth_rows(study, &set, fit, &about, stat, table);
done:
    choice_set_free(&set);
    free(fit);
    return err;
}

/* Too few arms to compare, or too many for a fit: a row that says so. */
static bool countable(const px_study *study, int source, px_question question, const char *model,
                      px_table *table) {
    const px_about about = {
        .family = question == PX_PREFERENCE ? PX_FAMILY_PREFERENCE : PX_FAMILY_PROVENANCE,
        .outcome = question == PX_PREFERENCE ? "rank:preference" : "rank:provenance",
        .model = model,
        .source = source};
    const bool many = study->n_arms - 1 > ARM_COLUMNS_MAX;
    if (!many && study->n_arms > 1) return true;
    px_row *row = px_table_add(table, &about, "arms");
    if (many)
        px_row_note(row, "not fitted: %d arms, at most %d", study->n_arms, ARM_COLUMNS_MAX + 1);
    else
        px_row_note(row, "not fitted: one arm alone");
    return false;
}

px_err *px_rank_rows(const px_study *study, px_boot *boot, px_table *table) {
    for (int q = 0; q < PX_QUESTIONS; q++) {
        choice_ask ask = {.source = (px_trial_source)boot->source, .question = (px_question)q};
        if (!countable(study, boot->source, ask.question, "plackett_luce", table)) continue;
        PX_PASS(luce_rows(study, &ask, boot, table));
        ask.pairs = true;
        PX_PASS(luce_rows(study, &ask, NULL, table));
        ask.pairs = false;
        ask.opening = true;
        PX_PASS(luce_rows(study, &ask, boot, table));
    }
    return NULL;
}

static void covariate_row(const choice_set *set, const px_choice_fit *fit, int column,
                          const char *term, const px_about *about, px_table *table) {
    const int p = set->data.p;
    if (column < 0) return;
    bool told = fit->ok && fit->keep[column];
    px_row *row = px_table_wald(table, about, term, told ? fit->beta[column] : NAN,
                                told ? sqrt(fit->cov[column * p + column]) : NAN, 0);
    if (fit->ok && !fit->keep[column]) px_row_note(row, "cannot be told from the other terms");
}

px_err *px_rank_length_rows(const px_study *study, px_trial_source source, px_question question,
                            px_table *table) {
    const choice_ask ask = {.source = source, .question = question, .covariates = true};
    choice_set set;
    char note[PX_TERM_MAX], term[16];
    if (study->n_arms - 1 > ARM_COLUMNS_MAX || study->n_arms < 2) return NULL;
    px_choice_fit *fit = calloc(1, sizeof *fit);
    if (!fit) PX_NO_MEMORY();
    px_err *err = choice_set_new(study, &ask, &set);
    if (err || !set.n_trials) goto done;
    err = px_choice_maximum(&set.data, set.arm_columns, fit);
    if (err) goto done;
    if (fit->ok && fit->ridge) PX_PASS_TO(done, above_find(study, &ask, &set));
    fit_note(&set, fit, note);
    px_about about = about_of(&ask, &set, "rank_logit_length", note);
    arm_rows(study, &set, fit, &about, table);
    covariate_row(&set, fit, set.length_at, "length/100", &about, table);
    for (int i = 0; i < PX_SLOTS_MAX; i++) {
        snprintf(term, sizeof term, "pos:%c", 'A' + i);
        covariate_row(&set, fit, set.pos_at[i], term, &about, table);
    }
    covariate_row(&set, fit, set.error_at, "error", &about, table);
    if (fit->ok && fit->keep[set.length_at]) {
        const int at = set.length_at, p = set.data.p;
        double odds = exp(fit->beta[at]), se = sqrt(fit->cov[at * p + at]);
        px_row *row = px_table_wald(table, &about, "odds:length/100", odds, odds * se, 1);
        if (row && isfinite(row->se)) {
            row->low = exp(fit->beta[at] - 1.959963984540054 * se);
            row->high = exp(fit->beta[at] + 1.959963984540054 * se);
            row->p = px_normal_p(fit->beta[at] / se);
        }
    }
done:
    choice_set_free(&set);
    free(fit);
    return err;
}
