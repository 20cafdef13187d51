/* fig_worth.c - figures of rankings: worths, who wins against whom, worths with length held. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const char rank[] = "rank:preference";
enum { COLOURS = 8, CELLS_MOST = 12 };

/* --- 1: worths --- */

void px_fig_worth_data(const exp_view *exp, data_list *data) {
    px_data_arms(exp, data, rank, "plackett_luce", "worth:");
}

void px_fig_worth(const exp_view *exp, const data_list *data) {
    (void)data;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    px_arms_panels(exp, &(arms_panels){.outcome = rank,
                                       .model = "plackett_luce",
                                       .prefix = "worth:",
                                       .title = "worth",
                                       .x_label = "share of worth",
                                       .scale = 1,
                                       .decimals = 2,
                                       .reference = 1.0 / PX_MAX(exp->study->n_arms, 1)});
    px_str_text(exp->page->out, "</div>\n");
}

/* --- 2: win rates --- */

static const stat_row *win_of(const exp_view *exp, int source, int a, int b) {
    return px_stat_find(exp->study, rank, "win_rate", source, exp->study->arms[a], ">",
                        exp->study->arms[b]);
}

void px_fig_wins_data(const exp_view *exp, data_list *data) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int a = 0; a < exp->study->n_arms; a++)
            for (int b = 0; b < exp->study->n_arms; b++)
                if (a != b) px_data_add(data, win_of(exp, s, a, b), NAN);
}

/* A cell is tinted by how far it lies from a half. */
static void win_cell(px_str *out, double x, double y, double w, double h, const stat_row *row) {
    if (!row) return;
    const double off = row->estimate - 0.5;
    px_str_format(out,
                  "<rect class=\"s%d cell\" fill-opacity=\"%.2f\" x=\"%.1f\" y=\"%.1f\" "
                  "width=\"%.1f\" height=\"%.1f\"/>",
                  off >= 0 ? 0 : 1, fmin(fabs(off), 0.5), x, y, w - 2, h - 2);
    const bool small = w > 60 && isfinite(row->low) && isfinite(row->high);
    px_str_format(out, "<text class=\"value\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">",
                  x + w / 2 - 1, y + h / 2 + (small ? -1 : 3));
    px_html_fixed(out, 100 * row->estimate, w > 40 ? 1 : 0);
    px_str_text(out, "</text>");
    if (small) {
        px_str_format(out, "<text class=\"tiny\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">",
                      x + w / 2 - 1, y + h / 2 + 11);
        px_html_fixed(out, 100 * row->low, 0);
        px_str_text(out, "–");
        px_html_fixed(out, 100 * row->high, 0);
        px_str_text(out, "</text>");
    }
    px_str_char(out, '\n');
}

static void axis_label(px_str *out, const char *anchor, double x, double y, int number,
                       const char *text, int most) {
    px_str_format(out, "<text class=\"label\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", anchor, x,
                  y);
    if (number) px_str_format(out, "%d", number);
    if (number && most > 0) px_str_char(out, ' ');
    if (most > 0) px_html_short(out, text, most);
    px_str_text(out, "</text>");
}

static void tell_wins(const exp_view *exp, int source, int n, px_str *text) {
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++) {
            const stat_row *row = win_of(exp, source, a, b);
            if (row)
                px_str_format(text, "%s above %s: %.1f percent. ", exp->study->arms[a],
                              exp->study->arms[b], 100 * row->estimate);
        }
}

/* With many arms the columns carry the numbers that the rows' names begin with. */
static void win_matrix(const exp_view *exp, int source) {
    px_str *out = exp->page->out, text = {0};
    const int n = PX_MIN(exp->study->n_arms, CELLS_MOST);
    const bool numbered = n > 5;
    const double h = 30;
    char title[96];
    snprintf(title, sizeof title, "%% ranked above: %s", px_source_titles[source]);
    px_plot p = {.out = out,
                 .id = ++exp->page->n_ids,
                 .width = 348,
                 .left = 84,
                 .right = 4,
                 .top = 46,
                 .bottom = 26,
                 .no_y = true,
                 .no_x = true,
                 .title = title,
                 .x_label = "this arm, below the arm of the row"};
    p.height = p.top + p.bottom + (int)(n * h);
    tell_wins(exp, source, n, &text);
    p.text = text.data ? text.data : "";
    px_plot_begin(&p);
    const double w = (p.width - p.left - p.right) / (double)PX_MAX(n, 1);
    for (int b = 0; b < n; b++)
        axis_label(out, "middle", p.left + (b + 0.5) * w - 1, p.top - 7, numbered ? b + 1 : 0,
                   exp->study->arms[b], numbered ? 0 : (int)(w / 6.2));
    for (int a = 0; a < n; a++) {
        const double y = p.top + a * h;
        axis_label(out, "end", p.left - 6, y + h / 2 + 3, numbered ? a + 1 : 0, exp->study->arms[a],
                   numbered ? 10 : 13);
        for (int b = 0; b < n; b++)
            if (a != b) win_cell(out, p.left + b * w, y, w, h, win_of(exp, source, a, b));
    }
    px_plot_end(&p);
    px_str_free(&text);
}

void px_fig_wins(const exp_view *exp, const data_list *data) {
    bool there[N_STUDY_SOURCES] = {0};
    for (int64_t i = 0; i < data->n; i++)
        if (data->at[i].row->source >= 0) there[data->at[i].row->source] = true;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        if (there[s]) win_matrix(exp, s);
    px_str_text(exp->page->out, "</div>\n");
    if (exp->study->n_arms > CELLS_MOST)
        px_str_format(exp->page->out,
                      "<p class=\"small\">The first %d of %d arms; the table has all.</p>\n",
                      CELLS_MOST, exp->study->n_arms);
}

/* --- 5: length held --- */

void px_fig_length_data(const exp_view *exp, data_list *data) {
    const study_view *study = exp->study;
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *odds =
            px_stat_find(study, rank, "rank_logit_length", s, "odds:length/100", NULL, NULL);
        bool held = false;
        for (int a = 0; a < study->n_arms; a++) {
            const char *arm = study->arms[a];
            const stat_row *row =
                px_stat_find(study, rank, "rank_logit_length", s, arm, NULL, NULL);
            if (!row) continue;
            held = true;
            px_data_add(data, px_stat_find(study, rank, "plackett_luce", s, arm, NULL, NULL), NAN);
            px_data_add(data, row, NAN);
        }
        if (!held) continue;
        px_data_add(data, odds, px_published(exp, PUBLISHED_LENGTH, s));
    }
}

static void length_list(const exp_view *exp, int source, row_list *list) {
    *list = (row_list){.scale = 1, .decimals = 2, .dots = true};
    for (int a = 0; a < exp->study->n_arms && list->n + 3 <= ROW_LINES_MAX; a++) {
        const char *arm = exp->study->arms[a];
        const stat_row *raw =
            px_stat_find(exp->study, rank, "plackett_luce", source, arm, NULL, NULL);
        const stat_row *held =
            px_stat_find(exp->study, rank, "rank_logit_length", source, arm, NULL, NULL);
        if (!held) continue;
        px_rows_add(list, (row_line){.label = arm, .colour = a % COLOURS, .header = true});
        px_rows_add(list,
                    (row_line){.label = "raw", .e = px_row_interval(raw), .colour = a % COLOURS});
        px_rows_add(list, (row_line){.label = "held",
                                     .e = px_row_interval(held),
                                     .colour = a % COLOURS,
                                     .shape = 2});
    }
}

static void odds_list(const exp_view *exp, row_list *list) {
    *list = (row_list){.scale = 1, .decimals = 2, .dots = true};
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *row =
            px_stat_find(exp->study, rank, "rank_logit_length", s, "odds:length/100", NULL, NULL);
        const double published = px_published(exp, PUBLISHED_LENGTH, s);
        if (row)
            px_rows_add(list, (row_line){.label = px_stat_sources[s],
                                         .e = px_row_interval(row),
                                         .colour = COLOURS,
                                         .has_published = isfinite(published),
                                         .published = published});
    }
}

void px_fig_length(const exp_view *exp, const data_list *data) {
    row_list *lists = calloc(N_STUDY_SOURCES + 1, sizeof *lists);
    px_axis axis;
    (void)data;
    if (!lists) {
        exp->page->out->failed = true;
        return;
    }
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    for (int s = 0; s < N_STUDY_SOURCES; s++) length_list(exp, s, &lists[s]);
    px_lists_axis(lists, N_STUDY_SOURCES, 0, &axis);
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        char title[96];
        snprintf(title, sizeof title, "log-worth: %s", px_source_titles[s]);
        if (lists[s].n)
            px_rows_panel(exp->page, title, "log-worth over the reference", &lists[s], &axis, 0);
    }
    odds_list(exp, &lists[N_STUDY_SOURCES]);
    px_list_panel(exp, "odds of being chosen for 100 characters", "odds ratio",
                  &lists[N_STUDY_SOURCES], 1);
    px_str_text(exp->page->out, "</div>\n");
    free(lists);
}
