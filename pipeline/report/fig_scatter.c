/* fig_scatter.c - one number of each arm against another: worths by people and by simulations,
 * tokens of context against worth. Points carry their arm's name. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const char rank[] = "rank:preference";
enum { COLOURS = 8, WIDTH = 348, HEIGHT = 260, POINTS_MOST = STUDY_ARMS };

typedef struct {
    const char *label;
    interval x, y;
    int colour;
} scatter_point;

typedef struct {
    scatter_point at[POINTS_MOST];
    double name_x[POINTS_MOST], name_y[POINTS_MOST]; /* where the names stand */
    int n;
} scatter;

static void whiskers(const px_plot *p, const scatter_point *point) {
    char classes[32];
    snprintf(classes, sizeof classes, "line thin s%d", point->colour);
    if (interval_ends(point->x))
        px_plot_line(p, (const double[]){point->x.low, point->x.high},
                     (const double[]){point->y.value, point->y.value}, 2, classes);
    if (interval_ends(point->y))
        px_plot_line(p, (const double[]){point->x.value, point->x.value},
                     (const double[]){point->y.low, point->y.high}, 2, classes);
}

/* Columns of letters to units of the panel. */
static double name_width(const char *label) { return 6.6 * (double)PX_MIN(strlen(label), 13); }

static bool clear_of(const px_plot *p, const scatter *s, int n, double x, double y, double width) {
    for (int k = 0; k < n; k++)
        if (x < s->name_x[k] + name_width(s->at[k].label) + 2 && s->name_x[k] < x + width + 2 &&
            fabs(y - s->name_y[k]) < 12)
            return false;
    for (int k = 0; k < s->n; k++) {
        const double px = px_plot_x(p, s->at[k].x.value), py = px_plot_y(p, s->at[k].y.value);
        if (px > x - 4 && px < x + width + 4 && py > y - 12 && py < y + 4) return false;
    }
    return x > p->left - 30 && x + width < p->width && y > p->top + 6;
}

/* A name stands beside its point, above or below, where it lies on no other name and no point. */
static void names_place(const px_plot *p, scatter *s) {
    for (int i = 0; i < s->n; i++) {
        const double x = px_plot_x(p, s->at[i].x.value), y = px_plot_y(p, s->at[i].y.value);
        const double width = name_width(s->at[i].label);
        const double tries[][2] = {
            {x + 7, y - 6},  {x - 7 - width, y - 6},  {x + 7, y + 14}, {x - 7 - width, y + 14},
            {x + 7, y - 20}, {x - 7 - width, y + 27}, {x + 7, y + 27}};
        s->name_x[i] = tries[0][0];
        s->name_y[i] = tries[0][1];
        for (size_t k = 0; k < PX_COUNT(tries); k++) {
            if (!clear_of(p, s, i, tries[k][0], tries[k][1], width)) continue;
            s->name_x[i] = tries[k][0];
            s->name_y[i] = tries[k][1];
            break;
        }
        s->name_x[i] = fmax(2, fmin(s->name_x[i], p->width - width - 2));
    }
}

static void points_draw(const px_plot *p, scatter *s) {
    names_place(p, s);
    for (int i = 0; i < s->n; i++) whiskers(p, &s->at[i]);
    for (int i = 0; i < s->n; i++) {
        const scatter_point *point = &s->at[i];
        char classes[16];
        snprintf(classes, sizeof classes, "s%d", point->colour);
        px_plot_mark(p, point->x.value, point->y.value, 0, classes, NULL);
        px_str_format(p->out, "<text class=\"label group halo s%d\" x=\"%.1f\" y=\"%.1f\">",
                      point->colour, s->name_x[i], s->name_y[i]);
        px_html_short(p->out, point->label, 13);
        px_str_text(p->out, "</text>\n");
    }
}

static void tell_points(const scatter *s, const char *x, const char *y, px_str *text) {
    for (int i = 0; i < s->n; i++)
        px_str_format(text, "%s: %s %.4g, %s %.4g. ", s->at[i].label, x, s->at[i].x.value, y,
                      s->at[i].y.value);
}

static void widen(interval e, double *low, double *high) {
    const double of[] = {e.value, e.low, e.high};
    for (int k = 0; k < 3; k++) {
        if (!isfinite(of[k])) continue;
        *low = fmin(*low, of[k]);
        *high = fmax(*high, of[k]);
    }
}

/* --- 9: people and simulations --- */

static const stat_row *log_worth(const exp_view *exp, int source, const char *arm) {
    return px_stat_find(exp->study, rank, "plackett_luce", source, arm, NULL, NULL);
}

static scatter *simulated_points(const exp_view *exp, int source) {
    scatter *s = calloc(1, sizeof *s);
    for (int a = 0; s && a < exp->study->n_arms; a++) {
        const stat_row *people = log_worth(exp, HUMAN, exp->study->arms[a]);
        const stat_row *simulated = log_worth(exp, source, exp->study->arms[a]);
        if (!people || !simulated) continue;
        s->at[s->n++] = (scatter_point){exp->study->arms[a], px_row_interval(people),
                                        px_row_interval(simulated), a % COLOURS};
    }
    return s;
}

void px_fig_simulated_data(const exp_view *exp, data_list *data) {
    bool any = false;
    for (int s = JUDGE; s < N_STUDY_SOURCES; s++)
        for (int a = 0; a < exp->study->n_arms; a++)
            any |= log_worth(exp, s, exp->study->arms[a]) &&
                   log_worth(exp, HUMAN, exp->study->arms[a]);
    if (!any) return;
    px_data_arms(exp, data, rank, "plackett_luce", "");
    for (int s = JUDGE; s < N_STUDY_SOURCES; s++) {
        px_data_add(data, px_stat_find(exp->study, rank, "agreement", s, "worth_r", NULL, NULL),
                    px_published(exp, PUBLISHED_WORTH_R, s));
        px_data_add(data, px_stat_find(exp->study, rank, "agreement", s, "worth_order", NULL, NULL),
                    NAN);
    }
}

static void simulated_panel(const exp_view *exp, int source, scatter *s) {
    px_str text = {0};
    double low = 0, high = 0;
    char title[96], y_label[96];
    snprintf(title, sizeof title, "log-worth: people (across), %s (up)", px_stat_sources[source]);
    snprintf(y_label, sizeof y_label, "by %s", px_stat_sources[source]);
    for (int i = 0; i < s->n; i++) {
        widen(s->at[i].x, &low, &high);
        widen(s->at[i].y, &low, &high);
    }
    tell_points(s, "people", y_label, &text);
    px_plot p = {.out = exp->page->out,
                 .id = ++exp->page->n_ids,
                 .width = WIDTH,
                 .height = HEIGHT,
                 .left = 40,
                 .right = 14,
                 .top = 28,
                 .bottom = 40,
                 .title = title,
                 .x_label = "log-worth by people",
                 .text = text.data ? text.data : ""};
    px_axis_fit(low, high, 4, &p.x);
    p.y = p.x;
    px_plot_begin(&p);
    px_plot_line(&p, (const double[]){p.x.low, p.x.high}, (const double[]){p.x.low, p.x.high}, 2,
                 "zero");
    px_plot_mark(&p, 0, 0, 0, "s8 faint", "the reference");
    points_draw(&p, s);
    px_plot_end(&p);
    px_str_free(&text);
}

void px_fig_simulated(const exp_view *exp, const data_list *data) {
    row_list list = {.scale = 1, .decimals = 3, .dots = true};
    (void)data;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    for (int source = JUDGE; source < N_STUDY_SOURCES; source++) {
        const stat_row *r =
            px_stat_find(exp->study, rank, "agreement", source, "worth_r", NULL, NULL);
        scatter *s = simulated_points(exp, source);
        if (s && s->n) simulated_panel(exp, source, s);
        if (!s) exp->page->out->failed = true;
        free(s);
        if (r)
            px_rows_add(&list,
                        (row_line){.label = px_stat_sources[source],
                                   .e = px_row_interval(r),
                                   .colour = source,
                                   .shape = source + 1,
                                   .has_published = true,
                                   .published = px_published(exp, PUBLISHED_WORTH_R, source)});
    }
    px_list_panel(exp, "correlation of worths with people’s", "Pearson’s r", &list, 1);
    px_str_text(exp->page->out, "</div>\n");
}

/* --- 12: tokens --- */

/* The first source that has both. */
static int tokens_source(const exp_view *exp) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int a = 0; a < exp->study->n_arms; a++)
            if (px_stat_find(exp->study, rank, "plackett_luce", s, "worth:", exp->study->arms[a],
                             NULL) &&
                px_stat_find(exp->study, "tokens:context", "mean", s, exp->study->arms[a], NULL,
                             NULL))
                return s;
    return -1;
}

void px_fig_tokens_data(const exp_view *exp, data_list *data) {
    static const char *const outcomes[] = {"tokens:context", "tokens:prompt", "tokens:new"};
    if (tokens_source(exp) < 0) return;
    px_data_arms(exp, data, rank, "plackett_luce", "worth:");
    for (size_t k = 0; k < PX_COUNT(outcomes); k++)
        px_data_arms(exp, data, outcomes[k], "mean", "");
    for (size_t k = 0; k < 2; k++)
        for (int s = 0; s < N_STUDY_SOURCES; s++)
            px_data_add(
                data, px_stat_find(exp->study, outcomes[k], "ratio", s, "prompt/ppft", NULL, NULL),
                px_published(exp, PUBLISHED_TOKENS, s));
}

static double token_place(double tokens) { return log10(fmax(tokens, 0) + 1); }

static void token_ticks(const px_plot *p) {
    const int bottom = p->height - p->bottom;
    for (int k = -1; k <= (int)p->x.high; k++) {
        const double tokens = k < 0 ? 0 : pow(10, k), x = px_plot_x(p, token_place(tokens));
        px_str_format(p->out,
                      "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                      "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">",
                      x, p->top, x, bottom, x, bottom + 15);
        px_html_whole(p->out, tokens);
        px_str_text(p->out, "</text>\n");
    }
}

static void tokens_panel(const exp_view *exp, int source) {
    px_str text = {0};
    double low = INFINITY, high = -INFINITY, most = 1;
    char title[96];
    scatter *s = calloc(1, sizeof *s);
    if (!s) {
        exp->page->out->failed = true;
        return;
    }
    px_str_text(&text, "Tokens of context and worth. ");
    for (int a = 0; a < exp->study->n_arms; a++) {
        const char *arm = exp->study->arms[a];
        const stat_row *worth =
            px_stat_find(exp->study, rank, "plackett_luce", source, "worth:", arm, NULL);
        const stat_row *tokens =
            px_stat_find(exp->study, "tokens:context", "mean", source, arm, NULL, NULL);
        if (!worth || !tokens) continue;
        const interval y = px_row_interval(worth);
        px_str_format(&text, "%s: %.4g tokens, worth %.3f. ", arm, tokens->estimate, y.value);
        most = fmax(most, token_place(tokens->estimate));
        widen(y, &low, &high);
        s->at[s->n++] =
            (scatter_point){arm, {token_place(tokens->estimate), NAN, NAN}, y, a % COLOURS};
    }
    snprintf(title, sizeof title, "worth against tokens: %s", px_source_titles[source]);
    px_plot p = {.out = exp->page->out,
                 .id = ++exp->page->n_ids,
                 .width = WIDTH,
                 .height = HEIGHT,
                 .left = 40,
                 .right = 14,
                 .top = 28,
                 .bottom = 40,
                 .no_x = true,
                 .x = {.low = -0.1, .high = ceil(most + 0.1), .step = 1},
                 .title = title,
                 .x_label = "tokens that stem from the user",
                 .text = text.data ? text.data : ""};
    px_axis_fit(low, high, 4, &p.y);
    px_plot_begin(&p);
    token_ticks(&p);
    points_draw(&p, s);
    px_plot_end(&p);
    px_str_free(&text);
    free(s);
}

void px_fig_tokens(const exp_view *exp, const data_list *data) {
    row_list list = {.scale = 1, .decimals = 1, .dots = true};
    (void)data;
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    tokens_panel(exp, tokens_source(exp));
    for (int k = 0; k < 2; k++) {
        static const char *const outcomes[] = {"tokens:context", "tokens:prompt"};
        for (int s = 0; s < N_STUDY_SOURCES; s++) {
            const stat_row *row =
                px_stat_find(exp->study, outcomes[k], "ratio", s, "prompt/ppft", NULL, NULL);
            const double published = px_published(exp, PUBLISHED_TOKENS, s);
            static const char *const labels[2][N_STUDY_SOURCES] = {
                {"context, human", "context, judge", "context, conv."},
                {"prompt, human", "prompt, judge", "prompt, conv."}};
            if (row)
                px_rows_add(&list, (row_line){.label = labels[k][s],
                                              .e = px_row_interval(row),
                                              .colour = COLOURS,
                                              .has_published = isfinite(published),
                                              .published = published});
        }
    }
    px_list_panel(exp, "tokens of prompt over those of ppft", "times", &list, 1);
    px_str_text(exp->page->out, "</div>\n");
}
