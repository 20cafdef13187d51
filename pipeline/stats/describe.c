/* describe.c - what was seen, before any model: means of sliders and bids by arm and by arm and
 * domain, what an arm's answers cost in tokens, how people's texts change from turn to turn. Ratios
 * of sums with errors clustered by person, as in boot.c, and Wald intervals; no tests. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

typedef struct {
    int32_t cell, person;
    int64_t order; /* makes the order of the sums the same everywhere */
    double value;
} seen;

typedef struct {
    seen *at;
    int64_t n, room;
    bool failed;
} seen_list;

static void see(seen_list *list, int64_t cell, int32_t person, double value) {
    if (!isfinite(value) || list->failed) return;
    if (list->n == list->room) {
        int64_t room = list->room ? list->room * 2 : 1024;
        seen *at = realloc(list->at, (size_t)room * sizeof *at);
        if (!at) {
            list->failed = true;
            return;
        }
        list->at = at;
        list->room = room;
    }
    list->at[list->n] = (seen){(int32_t)cell, person, list->n, value};
    list->n++;
}

static int by_cell(const void *a, const void *b) {
    const seen *x = a, *y = b;
    if (x->cell != y->cell) return (x->cell > y->cell) - (x->cell < y->cell);
    if (x->person != y->person) return (x->person > y->person) - (x->person < y->person);
    return (x->order > y->order) - (x->order < y->order);
}

/* Mean of one cell's values and its error: sqrt(G/(G-1) sum_g (s_g - m n_g)^2) / n. */
static void cell_row(const seen *at, int64_t n, px_about *about, const char *term,
                     px_table *table) {
    double sum = 0, square = 0, people = 0;
    for (int64_t i = 0; i < n; i++) sum += at[i].value;
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n;) {
        double off = 0;
        int32_t who = at[i].person;
        for (; i < n && at[i].person == who; i++) off += at[i].value - mean;
        square += off * off;
        people += 1;
    }
    about->n_trials = n;
    about->n_people = (int64_t)people;
    double se = people > 1 ? sqrt(square * people / (people - 1)) / (double)n : NAN;
    px_row *row = px_table_wald(table, about, term, mean, se, 0);
    if (row) row->p = NAN; /* that a mean is not 0 is no finding */
}

typedef void cell_name(const px_study *study, int64_t cell, char term[PX_TERM_MAX]);

static px_err *cells_rows(const px_study *study, seen_list *list, px_about about, cell_name *name,
                          px_table *table) {
    char term[PX_TERM_MAX];
    if (list->failed) PX_NO_MEMORY();
    if (list->n) qsort(list->at, (size_t)list->n, sizeof *list->at, by_cell);
    for (int64_t i = 0, k; i < list->n; i = k) {
        for (k = i; k < list->n && list->at[k].cell == list->at[i].cell;) k++;
        name(study, list->at[i].cell, term);
        cell_row(list->at + i, k - i, &about, term, table);
    }
    list->n = 0;
    return NULL;
}

/* --- sliders and bids: cells arm × (all domains, each domain) --- */

static void arm_name(const px_study *study, int64_t cell, char term[PX_TERM_MAX]) {
    const int64_t width = study->n_domains + 1, domain = cell % width - 1;
    const char *arm = px_study_arm(study, (int32_t)(cell / width));
    if (domain < 0)
        snprintf(term, PX_TERM_MAX, "%s", arm);
    else
        snprintf(term, PX_TERM_MAX, "%s:domain:%s", arm,
                 study->trials->domains.at[study->domains[domain]]);
}

static px_err *opinions_rows(const px_study *study, int source, seen_list *list, px_table *table) {
    static const char *const outcomes[] = {"vas:preference", "vas:engaging", "vas:provenance",
                                           "wtp"};
    for (int y = 0; y <= PX_SLIDERS; y++) {
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            for (int s = 0; (int)trial->source == source && s < trial->n_slots; s++) {
                double value = y < PX_SLIDERS ? trial->slots[s].vas[y] : trial->slots[s].wtp;
                int64_t arm = study->arm_order[trial->slots[s].arm] * (study->n_domains + 1LL);
                see(list, arm, trial->person, value);
                if (trial->domain >= 0)
                    see(list, arm + 1 + study->domain_order[trial->domain], trial->person, value);
            }
        }
        const px_about about = {.family = y == PX_VAS_PROVENANCE ? PX_FAMILY_PROVENANCE
                                                                 : PX_FAMILY_PREFERENCE,
                                .outcome = outcomes[y],
                                .model = "mean",
                                .source = source};
        PX_PASS(cells_rows(study, list, about, arm_name, table));
    }
    return NULL;
}

/* --- what an arm's answers cost --- */

enum { CONTEXT, PROMPT, NEW, CHARACTERS, ERRORS, SECONDS, USD, COSTS };

static double cost_of(const px_trial *trial, int s, int cost) {
    switch (cost) {
    case CONTEXT:
        return trial->slots[s].context_tokens;
    case PROMPT:
        return trial->slots[s].prompt_tokens;
    case NEW:
        return trial->slots[s].new_tokens;
    case CHARACTERS:
        return trial->slots[s].length;
    case SECONDS:
        return trial->slots[s].seconds;
    case USD:
        return trial->slots[s].usd;
    default:
        return trial->slots[s].error;
    }
}

static double mean_at(const px_table *table, int64_t from, const char *arm) {
    for (int64_t i = from; arm && i < table->n; i++)
        if (!strcmp(table->at[i].term, arm)) return table->at[i].estimate;
    return NAN;
}

/* How many times the tokens of ppft prompting takes: what the paper puts at about 38. */
static void ratio_row(const px_study *study, px_about about, int64_t from, px_table *table) {
    if (px_study_find(study, "prompt") < 0 || px_study_find(study, "ppft") < 0) return;
    double over = mean_at(table, from, "prompt"), under = mean_at(table, from, "ppft");
    about.model = "ratio";
    px_row *row = px_table_add(table, &about, "prompt/ppft");
    if (row && under > 0) row->estimate = over / under;
    if (row && !(under > 0)) px_row_note(row, "ppft has none: no ratio");
}

static void whole_name(const px_study *study, int64_t cell, char term[PX_TERM_MAX]) {
    (void)study;
    (void)cell;
    snprintf(term, PX_TERM_MAX, "trial");
}

static px_err *costs_rows(const px_study *study, int source, seen_list *list, px_table *table) {
    static const char *const outcomes[COSTS] = {
        "tokens:context", "tokens:prompt",  "tokens:new",      "characters",
        "error",          "seconds:answer", "usd:conversation"};
    px_about about = {.family = PX_FAMILY_PREFERENCE, .model = "mean", .source = source};
    for (int c = 0; c < COSTS; c++) {
        const int64_t from = table->n;
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            for (int s = 0; (int)trial->source == source && s < trial->n_slots; s++)
                see(list, study->arm_order[trial->slots[s].arm] * (study->n_domains + 1LL),
                    trial->person, cost_of(trial, s, c));
        }
        about.outcome = outcomes[c];
        PX_PASS(cells_rows(study, list, about, arm_name, table));
        if (table->n > from && c <= PROMPT) ratio_row(study, about, from, table);
    }
    for (int c = 0; c < 2; c++) {
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            if ((int)trial->source == source)
                see(list, 0, trial->person, c ? trial->ms / 1000 : trial->usd);
        }
        about.outcome = c ? "seconds" : "usd";
        PX_PASS(cells_rows(study, list, about, whole_name, table));
    }
    return NULL;
}

/* What the profiles took that a model wrote of people: each once a person and arm, however many
 * trials they are told in. */
static px_err *profiles_rows(const px_study *study, int source, seen_list *list, px_table *table) {
    static const char *const outcomes[PX_PROFILES] = {"profile:prompt", "profile:new",
                                                      "profile:seconds", "profile:usd"};
    px_about about = {.family = PX_FAMILY_PREFERENCE, .model = "mean", .source = source};
    const size_t n = (size_t)study->n_people * (size_t)study->n_arms;
    bool *met = malloc(n + 1);
    px_err *err = NULL;
    if (!met) PX_NO_MEMORY();
    for (int k = 0; k < PX_PROFILES && !err; k++) {
        memset(met, 0, n);
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            for (int s = 0; (int)trial->source == source && s < trial->n_slots; s++) {
                const px_trial_slot *slot = &trial->slots[s];
                const int64_t arm = study->arm_order[slot->arm];
                bool *once = &met[trial->person * (int64_t)study->n_arms + arm];
                if (*once || !isfinite(slot->profile[k])) continue;
                *once = true;
                see(list, arm * (study->n_domains + 1LL), trial->person, slot->profile[k]);
            }
        }
        about.outcome = outcomes[k];
        err = cells_rows(study, list, about, arm_name, table);
    }
    free(met);
    return err;
}

/* --- people's texts from turn to turn --- */

static void turn_name(const px_study *study, int64_t cell, char term[PX_TERM_MAX]) {
    (void)study;
    snprintf(term, PX_TERM_MAX, "turn:%lld", (long long)cell);
}

static px_err *turns_rows(const px_study *study, int source, seen_list *list, px_table *table) {
    px_str text = {0};
    px_err *err = NULL;
    for (int f = 0; f < PX_FEEDBACKS && !err; f++) {
        for (int64_t t = 0; t < study->trials->n; t++) {
            const px_trial *trial = &study->trials->at[t];
            for (int k = 0; (int)trial->source == source && k < trial->n_turns; k++)
                see(list, trial->turns[k].n, trial->person,
                    px_feedback_value(f, &trial->turns[k], &text));
        }
        const px_about about = {.family = PX_FAMILY_DYNAMICS,
                                .outcome = px_feedback_names[f],
                                .model = "mean",
                                .source = source};
        err = text.failed ? px_str_ok(&text) : cells_rows(study, list, about, turn_name, table);
    }
    px_str_free(&text);
    return err;
}

px_err *px_describe_rows(const px_study *study, int source, int part, px_table *table) {
    seen_list list = {0};
    px_err *err = part == 0   ? opinions_rows(study, source, &list, table)
                  : part == 1 ? costs_rows(study, source, &list, table)
                              : turns_rows(study, source, &list, table);
    if (!err && part == 1) err = profiles_rows(study, source, &list, table);
    free(list.at);
    return err;
}
