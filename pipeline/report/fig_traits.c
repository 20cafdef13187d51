/* fig_traits.c - the figure of traits: counted from phrase lists and as a judge scores them. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

enum { COLOURS = 8, TRAITS = 3 };

static const struct {
    const char *key, *outcome, *title;
} traits[TRAITS] = {{"sycophancy", "trait:sycophancy", "sycophancy"},
                    {"relationship", "trait:relationship", "relationship seeking"},
                    {"verbosity", "trait:verbosity", "verbosity"}};

/* A mean of the summary that traits wrote, as a row: of its lists, or of its judge. */
static const stat_row *summary_row(const exp_view *exp, const cJSON *arm, int trait, bool judge) {
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(arm, traits[trait].key);
    const char *name = px_json_find_text(arm, "arm");
    const double mean = px_json_find_f64(of, "mean", NAN);
    if (!name || !isfinite(mean)) return NULL;
    const char *kept = px_arena_text(exp->study->arena, name, strlen(name));
    if (!kept) return NULL;
    return px_stat_own(exp->study, &(stat_row){.family = "traits",
                                               .outcome = traits[trait].outcome,
                                               .model = judge ? "judge_mean" : "lexical_mean",
                                               .term = kept,
                                               .contrast = "",
                                               .note = "",
                                               .source = -1,
                                               .estimate = mean,
                                               .se = NAN,
                                               .low = px_json_find_f64(of, "low", NAN),
                                               .high = px_json_find_f64(of, "high", NAN),
                                               .p = NAN,
                                               .p_adjusted = NAN,
                                               .n_trials = px_json_find_f64(
                                                   judge ? of : arm, judge ? "n" : "scored", NAN),
                                               .n_people = NAN});
}

static void summary_data(const exp_view *exp, const cJSON *arms, bool judge, data_list *data) {
    const cJSON *arm = NULL;
    for (int t = 0; t < TRAITS; t++)
        cJSON_ArrayForEach(arm, arms) px_data_add(data, summary_row(exp, arm, t, judge), NAN);
}

/* The judge's scores in the same model. */
static void judge_data(const exp_view *exp, const char *trait, const char *model, data_list *data) {
    char outcome[64];
    snprintf(outcome, sizeof outcome, "judge:%s", trait);
    for (int a = 0; a < exp->study->n_arms; a++)
        px_data_add(data,
                    px_stat_find(exp->study, outcome, model, -1, exp->study->arms[a], NULL, NULL),
                    NAN);
}

void px_fig_traits_data(const exp_view *exp, data_list *data) {
    const cJSON *summary = exp->study->traits;
    const cJSON *judge = cJSON_GetObjectItemCaseSensitive(summary, "judge");
    summary_data(exp, cJSON_GetObjectItemCaseSensitive(summary, "arms"), false, data);
    summary_data(exp, cJSON_GetObjectItemCaseSensitive(judge, "arms"), true, data);
    for (int m = 0; m < 2; m++)
        for (int t = 0; t < TRAITS; t++) {
            const char *model = m ? "lmm_length" : "lmm";
            for (int a = 0; a < exp->study->n_arms; a++)
                px_data_add(data,
                            px_stat_find(exp->study, traits[t].outcome, model, -1,
                                         exp->study->arms[a], NULL, NULL),
                            NAN);
            if (strcmp(traits[t].key, "verbosity") != 0)
                judge_data(exp, traits[t].key, model, data);
        }
}

static void trait_panel(const exp_view *exp, const data_list *data, int trait, const char *model,
                        const char *of, const char *x_label, double reference) {
    row_list *list = calloc(1, sizeof *list);
    char title[96];
    if (!list) {
        exp->page->out->failed = true;
        return;
    }
    *list = (row_list){.scale = 1, .decimals = 2, .dots = true};
    for (int64_t i = 0; i < data->n; i++) {
        const stat_row *row = data->at[i].row;
        const int arm = px_stat_arm(exp->study, row->term);
        if (strcmp(row->model, model) != 0 || strcmp(row->outcome, traits[trait].outcome) != 0)
            continue;
        px_rows_add(list, (row_line){.label = row->term,
                                     .e = px_row_interval(row),
                                     .colour = (arm < 0 ? exp->study->n_arms : arm) % COLOURS});
    }
    snprintf(title, sizeof title, "%s: %s", traits[trait].title, of);
    px_list_panel(exp, title, x_label, list, reference);
    free(list);
}

void px_fig_traits(const exp_view *exp, const data_list *data) {
    bool lexical = false;
    for (int64_t i = 0; i < data->n; i++)
        lexical |= !strcmp(data->at[i].row->model, "lexical_mean");
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    for (int t = 0; t < TRAITS && lexical; t++)
        trait_panel(exp, data, t, "lexical_mean", "lexical", "score", 0);
    for (int t = 0; t < TRAITS && !lexical; t++)
        trait_panel(exp, data, t, "lmm", "raw contrast", "score over the reference", 0);
    for (int t = 0; t < TRAITS && !lexical; t++)
        trait_panel(exp, data, t, "lmm_length", "length held", "score over the reference", 0);
    for (int t = 0; t < TRAITS; t++)
        trait_panel(exp, data, t, "judge_mean", "judge", "mean score, 1 to 10", NAN);
    px_str_text(exp->page->out, "</div>\n");
    if (lexical) px_page_trait_tables(exp->page, exp->study->traits);
}
