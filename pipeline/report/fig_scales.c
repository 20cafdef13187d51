/* fig_scales.c - figures of sliders and bids: means by arm, by domain, their contrasts. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

enum { COLOURS = 8, SLIDERS = 3, LINES_MOST = 48 };

static const struct {
    const char *outcome, *title;
} sliders[SLIDERS] = {{"vas:preference", "preference"},
                      {"vas:engaging", "engaging"},
                      {"vas:provenance", "provenance"}};

/* Contrasts of a model by source: each arm's, and the two between arms. */
static void contrasts(const exp_view *exp, data_list *data, const char *outcome,
                      const char *model) {
    static const char *const between[] = {"ppft-dpft", "ppft-prompt"};
    px_data_arms(exp, data, outcome, model, "");
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (size_t k = 0; k < PX_COUNT(between); k++)
            px_data_add(data, px_stat_find(exp->study, outcome, model, s, between[k], NULL, NULL),
                        NAN);
}

static void means_by_domain(const exp_view *exp, data_list *data, const char *outcome) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int d = 0; d < exp->study->n_domains; d++)
            for (int a = 0; a < exp->study->n_arms; a++)
                px_data_add(data,
                            px_stat_find(exp->study, outcome, "mean", s, exp->study->arms[a],
                                         ":domain:", exp->study->domains[d]),
                            NAN);
}

void px_fig_sliders_data(const exp_view *exp, data_list *data) {
    for (int k = 0; k < SLIDERS; k++) {
        px_data_arms(exp, data, sliders[k].outcome, "mean", "");
        means_by_domain(exp, data, sliders[k].outcome);
        contrasts(exp, data, sliders[k].outcome, "lmm");
    }
}

/* Domains with their arms, one below another; without domains the arms alone. */
static int slider_list(const exp_view *exp, const char *outcome, int source, row_list *list) {
    const study_view *study = exp->study;
    int left_out = 0;
    *list = (row_list){.scale = 1, .decimals = 1, .dots = true};
    for (int d = 0; d < PX_MAX(study->n_domains, 1); d++) {
        const char *domain = study->n_domains ? study->domains[d] : NULL;
        bool begun = false;
        if (list->n + study->n_arms + 1 > LINES_MOST && d > 0) {
            left_out++;
            continue;
        }
        for (int a = 0; a < study->n_arms; a++) {
            const stat_row *row = px_stat_find(study, outcome, "mean", source, study->arms[a],
                                               domain ? ":domain:" : NULL, domain);
            if (!row) continue;
            if (domain && !begun)
                px_rows_add(list, (row_line){.label = domain, .colour = COLOURS, .header = true});
            begun = true;
            px_rows_add(list, (row_line){.label = study->arms[a],
                                         .e = px_row_interval(row),
                                         .colour = a % COLOURS});
        }
    }
    return left_out;
}

/* The first source with sliders stands open, the others behind a line that opens. */
void px_fig_sliders(const exp_view *exp, const data_list *data) {
    px_str *out = exp->page->out;
    row_list *lists = calloc(SLIDERS, sizeof *lists);
    bool shown = false;
    (void)data;
    if (!lists) {
        out->failed = true;
        return;
    }
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        px_axis axis;
        int n = 0, left_out = 0;
        for (int k = 0; k < SLIDERS; k++) {
            left_out = PX_MAX(left_out, slider_list(exp, sliders[k].outcome, s, &lists[k]));
            n += lists[k].n;
        }
        if (n == 0) continue;
        px_lists_axis(lists, SLIDERS, NAN, &axis);
        if (shown)
            px_str_format(out, "<details><summary>The same for %s</summary>\n",
                          px_source_titles[s]);
        px_str_text(out, "<div class=\"panels\">\n");
        for (int k = 0; k < SLIDERS; k++) {
            char title[96];
            snprintf(title, sizeof title, "%s: %s", sliders[k].title, px_source_titles[s]);
            if (lists[k].n)
                px_rows_panel(exp->page, title, "mean, 0 to 100", &lists[k], &axis, NAN);
        }
        px_str_text(out, "</div>\n");
        if (left_out)
            px_str_format(out, "<p class=\"small\">%d more domains stand in the table.</p>\n",
                          left_out);
        px_str_text(out, shown ? "</details>\n" : "");
        shown = true;
    }
    free(lists);
}

void px_fig_bids_data(const exp_view *exp, data_list *data) {
    px_data_arms(exp, data, "wtp", "mean", "");
    contrasts(exp, data, "wtp", "lmm");
    contrasts(exp, data, "wtp", "tobit");
}

void px_fig_bids(const exp_view *exp, const data_list *data) {
    (void)data;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    px_arms_panels(exp, &(arms_panels){.outcome = "wtp",
                                       .model = "mean",
                                       .prefix = "",
                                       .title = "mean bid",
                                       .x_label = "dollars a week",
                                       .scale = 1,
                                       .decimals = 2,
                                       .reference = NAN});
    px_str_text(exp->page->out, "</div>\n");
}
