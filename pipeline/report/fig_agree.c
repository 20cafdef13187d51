/* fig_agree.c - figures of the judges themselves: agreement with the person, pull of the position.
 */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const char rank[] = "rank:preference";
enum { COLOURS = 8 };

/* People are held against themselves, simulations against the person. */
static const stat_row *agreement_of(const exp_view *exp, int source, const char *term) {
    return px_stat_find(exp->study, rank, source == HUMAN ? "self_consistency" : "agreement",
                        source, term, NULL, NULL);
}

void px_fig_agree_data(const exp_view *exp, data_list *data) {
    static const char *const terms[] = {"tau", "top1", "kappa", "tau_ratio"};
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (size_t k = 0; k < PX_COUNT(terms); k++) {
            const double published = k == 0   ? px_published(exp, PUBLISHED_TAU, s)
                                     : k == 1 ? px_published(exp, PUBLISHED_TOP1, s)
                                              : NAN;
            px_data_add(data, agreement_of(exp, s, terms[k]), published);
        }
    for (int s = JUDGE; s < N_STUDY_SOURCES; s++)
        for (size_t k = 0; k < 3; k++)
            px_data_add(data,
                        px_stat_find(exp->study, rank, "self_consistency", s, terms[k], NULL, NULL),
                        NAN);
}

static void agree_panel(const exp_view *exp, const char *term, const char *title,
                        const char *x_label, published_value what, double scale, double chance) {
    row_list *list = calloc(1, sizeof *list);
    if (!list) {
        exp->page->out->failed = true;
        return;
    }
    *list = (row_list){.scale = scale, .decimals = scale > 1 ? 1 : 2, .dots = true};
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *row = agreement_of(exp, s, term);
        const double published = px_published(exp, what, s);
        if (row)
            px_rows_add(list, (row_line){.label = s == HUMAN ? "own sliders" : px_stat_sources[s],
                                         .e = px_row_interval(row),
                                         .colour = s,
                                         .shape = s == HUMAN ? 0 : s + 1,
                                         .has_published = isfinite(published),
                                         .published = published});
    }
    px_list_panel(exp, title, x_label, list, chance);
    free(list);
}

void px_fig_agree(const exp_view *exp, const data_list *data) {
    const double arms = exp->study->positions > 1 ? exp->study->positions : 4;
    (void)data;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    agree_panel(exp, "tau", "agreement of whole rankings", "Kendall’s τ, chance 0", PUBLISHED_TAU,
                1, 0);
    agree_panel(exp, "top1", "agreement of the first choice", "same first choice, %",
                PUBLISHED_TOP1, 100, 100 / arms);
    px_str_text(exp->page->out, "</div>\n");
}

/* --- 8: positions --- */

static double published_at(const exp_view *exp, int source, int position) {
    return position == 0   ? px_published(exp, PUBLISHED_AT_A, source)
           : position == 3 ? px_published(exp, PUBLISHED_AT_D, source)
                           : NAN;
}

static const stat_row *best_at(const exp_view *exp, int source, int position) {
    const char term[2] = {(char)('A' + position), 0};
    return px_stat_find(exp->study, rank, "position", source, term, NULL, NULL);
}

void px_fig_position_data(const exp_view *exp, data_list *data) {
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        for (int p = 0; p < exp->study->positions; p++)
            px_data_add(data, best_at(exp, s, p), published_at(exp, s, p));
        px_data_add(data, px_stat_find(exp->study, rank, "position", s, "chi2", NULL, NULL), NAN);
        px_data_add(data, px_stat_find(exp->study, rank, "orders", s, "flip", NULL, NULL), NAN);
        px_data_add(data, px_stat_find(exp->study, rank, "orders", s, "flip_top", NULL, NULL), NAN);
    }
}

void px_fig_position(const exp_view *exp, const data_list *data) {
    static const char *const names[] = {"A", "B", "C", "D", "E", "F", "G", "H"};
    const double even = 100.0 / PX_MAX(exp->study->positions, 1);
    row_list *lists = calloc(N_STUDY_SOURCES, sizeof *lists);
    px_axis axis;
    (void)data;
    if (!lists) {
        exp->page->out->failed = true;
        return;
    }
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        lists[s] = (row_list){.scale = 100, .decimals = 1, .dots = true};
        for (int p = 0; p < exp->study->positions; p++) {
            const stat_row *row = best_at(exp, s, p);
            const double published = published_at(exp, s, p);
            if (row)
                px_rows_add(&lists[s], (row_line){.label = names[p],
                                                  .e = px_row_interval(row),
                                                  .colour = s,
                                                  .shape = s == HUMAN ? 0 : s + 1,
                                                  .has_published = isfinite(published),
                                                  .published = published});
        }
    }
    px_lists_axis(lists, N_STUDY_SOURCES, even, &axis);
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        char title[96];
        snprintf(title, sizeof title, "ranked best at: %s", px_source_titles[s]);
        if (lists[s].n) px_rows_panel(exp->page, title, "% of trials", &lists[s], &axis, even);
    }
    px_str_text(exp->page->out, "</div>\n");
    free(lists);
}
