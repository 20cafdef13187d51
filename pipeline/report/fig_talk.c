/* fig_talk.c - figures of what people write: topics of openings, and their texts turn by turn. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

enum { COLOURS = 8, TOPICS_MOST = 20, TURNS_MOST = 64, WIDTH = 348, HEIGHT = 220 };

/* --- 10: topics --- */

static const stat_row *share_of(const exp_view *exp, int source, int topic) {
    char term[32];
    snprintf(term, sizeof term, "topic:%d", topic + 1);
    return px_stat_find(exp->study, "opening", "topic_share", source, term, NULL, NULL);
}

void px_fig_topics_data(const exp_view *exp, data_list *data) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int k = 0; k < TOPICS_MOST; k++) px_data_add(data, share_of(exp, s, k), NAN);
    if (data->n == 0) return;
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        px_data_add(data,
                    px_stat_find(exp->study, "opening", "js_divergence", s, "topics", NULL, NULL),
                    NAN);
}

typedef struct {
    char label[64];
    double share[N_STUDY_SOURCES];
} topic_line;

static int by_share(const void *a, const void *b) {
    const topic_line *x = a, *y = b;
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const double p = isfinite(x->share[s]) ? x->share[s] : -1;
        const double q = isfinite(y->share[s]) ? y->share[s] : -1;
        if (p != q) return (p < q) - (p > q);
    }
    return strcmp(x->label, y->label);
}

static int topics_find(const exp_view *exp, topic_line *lines) {
    int n = 0;
    for (int k = 0; k < TOPICS_MOST; k++) {
        topic_line *line = &lines[n];
        bool any = false;
        for (int s = 0; s < N_STUDY_SOURCES; s++) {
            const stat_row *row = share_of(exp, s, k);
            line->share[s] = row ? row->estimate : NAN;
            if (row && !any)
                snprintf(line->label, sizeof line->label, "%s", *row->note ? row->note : row->term);
            any |= row != NULL;
        }
        n += any;
    }
    qsort(lines, (size_t)n, sizeof *lines, by_share);
    return n;
}

static void tell_topics(const topic_line *lines, int n, px_str *text) {
    px_str_text(text, "Share of openings by topic. ");
    for (int k = 0; k < n; k++) {
        px_str_format(text, "%s:", lines[k].label);
        for (int s = 0; s < N_STUDY_SOURCES; s++)
            if (isfinite(lines[k].share[s]))
                px_str_format(text, " %s %.1f percent", px_stat_sources[s],
                              100 * lines[k].share[s]);
        px_str_text(text, ". ");
    }
}

/* A topic a row, a mark a source: disc, square, diamond. */
static void topics_draw(const exp_view *exp, const topic_line *lines, int n) {
    px_str *out = exp->page->out, text = {0};
    const int row = 18;
    double high = 0;
    for (int k = 0; k < n; k++)
        for (int s = 0; s < N_STUDY_SOURCES; s++)
            if (isfinite(lines[k].share[s])) high = fmax(high, 100 * lines[k].share[s]);
    tell_topics(lines, n, &text);
    px_plot p = {.out = out,
                 .id = ++exp->page->n_ids,
                 .width = WIDTH,
                 .height = 28 + 40 + n * row,
                 .left = 152,
                 .right = 16,
                 .top = 28,
                 .bottom = 40,
                 .no_y = true,
                 .title = "topics of openings",
                 .x_label = "% of openings",
                 .text = text.data ? text.data : ""};
    px_axis_fit(0, high, 4, &p.x);
    px_plot_begin(&p);
    px_plot at = p;
    at.y = (px_axis){.low = 0, .high = n};
    for (int k = 0; k < n; k++) {
        const double y = p.top + (k + 0.5) * row;
        px_str_format(out, "<text class=\"label\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">",
                      p.left - 9, y + 4);
        px_html_short(out, lines[k].label, 23);
        px_str_text(out, "</text>");
        for (int s = 0; s < N_STUDY_SOURCES; s++) {
            char classes[8];
            snprintf(classes, sizeof classes, "s%d", s);
            px_plot_mark(&at, 100 * lines[k].share[s], n - k - 0.5, s == HUMAN ? 0 : s + 1, classes,
                         px_stat_sources[s]);
        }
    }
    px_plot_end(&p);
    px_str_free(&text);
}

/* Legend of the sources' marks, where more than one is there. */
static void source_legend(const exp_view *exp, const bool there[N_STUDY_SOURCES]) {
    static const char *const marks[] = {"●", "■", "◆"};
    px_str *out = exp->page->out;
    px_str_text(out, "<ul class=\"legend\" aria-label=\"Sources\">");
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        if (there[s])
            px_str_format(out, "<li><span class=\"sign s%d\" aria-hidden=\"true\">%s</span>%s</li>",
                          s, marks[s], px_source_titles[s]);
    px_str_text(out, "</ul>\n");
}

/* What both figures begin with: the sources that are there, and the panels' place. NULL: out of
 * memory, which the page then says. */
static void *figure_begin(const exp_view *exp, const data_list *data, size_t n, size_t size,
                          const char *classes) {
    bool there[N_STUDY_SOURCES] = {0};
    void *lines = calloc(n, size);
    if (!lines) {
        exp->page->out->failed = true;
        return NULL;
    }
    for (int64_t i = 0; i < data->n; i++)
        if (data->at[i].row->source >= 0) there[data->at[i].row->source] = true;
    source_legend(exp, there);
    px_str_format(exp->page->out, "<div class=\"%s\">\n", classes);
    return lines;
}

void px_fig_topics(const exp_view *exp, const data_list *data) {
    topic_line *lines = figure_begin(exp, data, TOPICS_MOST + 1, sizeof *lines, "panels one");
    if (!lines) return;
    topics_draw(exp, lines, topics_find(exp, lines));
    px_str_text(exp->page->out, "</div>\n");
    free(lines);
}

/* --- 11: turns --- */

static const struct {
    const char *outcome, *title, *y;
    double scale;
} features[] = {{"feedback:words", "words a message", "words", 1},
                {"feedback:question", "messages that ask, %", "%", 100},
                {"feedback:praise", "messages that praise, %", "%", 100},
                {"feedback:complaint", "messages that complain, %", "%", 100},
                {"feedback:correction", "messages that correct, %", "%", 100}};

static const stat_row *turn_of(const exp_view *exp, size_t feature, int source, int turn) {
    char term[32];
    snprintf(term, sizeof term, "turn:%d", turn);
    return px_stat_find(exp->study, features[feature].outcome, "mean", source, term, NULL, NULL);
}

void px_fig_turns_data(const exp_view *exp, data_list *data) {
    for (size_t f = 0; f < PX_COUNT(features); f++)
        for (int s = 0; s < N_STUDY_SOURCES; s++)
            for (int t = 0; t < TURNS_MOST; t++) px_data_add(data, turn_of(exp, f, s, t), NAN);
}

typedef struct {
    double x[TURNS_MOST], y[TURNS_MOST], low[TURNS_MOST], high[TURNS_MOST];
    int n;
} turn_line;

static void turns_take(const exp_view *exp, size_t feature, int source, turn_line *line) {
    line->n = 0;
    for (int t = 0; t < TURNS_MOST; t++) {
        const stat_row *row = turn_of(exp, feature, source, t);
        const interval e = px_row_interval(row);
        if (!row) continue;
        line->x[line->n] = t;
        line->y[line->n] = features[feature].scale * e.value;
        line->low[line->n] = features[feature].scale * e.low;
        line->high[line->n++] = features[feature].scale * e.high;
    }
}

static void turns_draw(const px_plot *p, const turn_line *line, int source) {
    char classes[24];
    /* sources stand a little aside of one another, that whiskers do not cover one another */
    double aside[TURNS_MOST];
    for (int i = 0; i < line->n; i++)
        aside[i] = line->x[i] + 0.06 * (source - 1) * fmax(1, p->x.high - p->x.low) / 4;
    snprintf(classes, sizeof classes, "line s%d", source);
    px_plot_line(p, aside, line->y, line->n, classes);
    for (int i = 0; i < line->n; i++) {
        snprintf(classes, sizeof classes, "line thin s%d", source);
        if (isfinite(line->low[i]) && isfinite(line->high[i]))
            px_plot_line(p, (const double[]){aside[i], aside[i]},
                         (const double[]){line->low[i], line->high[i]}, 2, classes);
        snprintf(classes, sizeof classes, "s%d", source);
        px_plot_mark(p, aside[i], line->y[i], source == HUMAN ? 0 : source + 1, classes, NULL);
    }
}

static void tell_turns(const turn_line *line, int source, px_str *text) {
    if (line->n == 0) return;
    px_str_format(text, "%s:", px_stat_sources[source]);
    for (int i = 0; i < line->n; i++)
        px_str_format(text, " turn %.0f %.1f", line->x[i], line->y[i]);
    px_str_text(text, ". ");
}

static void turns_panel(const exp_view *exp, size_t feature, turn_line *lines) {
    double low = 0, high = 0, last = 1;
    px_str text = {0};
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        turns_take(exp, feature, s, &lines[s]);
        tell_turns(&lines[s], s, &text);
        for (int i = 0; i < lines[s].n; i++) {
            high = fmax(high, fmax(lines[s].y[i],
                                   isfinite(lines[s].high[i]) ? lines[s].high[i] : lines[s].y[i]));
            last = fmax(last, lines[s].x[i]);
        }
    }
    px_plot p = {.out = exp->page->out,
                 .id = exp->page->n_ids + 1,
                 .width = WIDTH,
                 .height = HEIGHT,
                 .left = 40,
                 .right = 16,
                 .top = 28,
                 .bottom = 40,
                 .title = features[feature].title,
                 .x_label = "turn",
                 .text = text.data ? text.data : ""};
    if (text.size) {
        exp->page->n_ids++;
        p.x = (px_axis){.low = -0.3, .high = last + 0.3, .step = fmax(1, ceil(last / 8))};
        for (; p.x.n * p.x.step <= last && p.x.n < PX_TICKS_MAX; p.x.n++)
            p.x.ticks[p.x.n] = p.x.n * p.x.step;
        px_axis_fit(low, high, 4, &p.y);
        px_plot_begin(&p);
        for (int s = 0; s < N_STUDY_SOURCES; s++) turns_draw(&p, &lines[s], s);
        px_plot_end(&p);
    }
    px_str_free(&text);
}

void px_fig_turns(const exp_view *exp, const data_list *data) {
    turn_line *lines = figure_begin(exp, data, N_STUDY_SOURCES, sizeof *lines, "panels");
    if (!lines) return;
    for (size_t f = 0; f < PX_COUNT(features); f++) turns_panel(exp, f, lines);
    px_str_text(exp->page->out, "</div>\n");
    free(lines);
}
