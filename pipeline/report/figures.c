/* figures.c - the figures of training: curves a step, and the map of the people's embeddings. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

enum { COLOURS = 8, WIDTH = 360, HEIGHT = 230, TABLE_ROWS = 40 };

typedef struct {
    const char *title;    /* safe text */
    series whole, broken; /* N_SERIES: none; `broken` is drawn with dashes */
    bool smooth;
} panel_spec;

/* Mean over a window of w finite neighbours' places about each step; shorter at the ends. */
static void smooth(const double *y, int64_t n, int64_t w, double *out) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        int64_t n_finite = 0, half = PX_MIN(w / 2, PX_MIN(i, n - 1 - i));
        for (int64_t j = i - half; j <= i + half; j++) {
            if (!isfinite(y[j])) continue;
            sum += y[j];
            n_finite++;
        }
        out[i] = isfinite(y[i]) && n_finite ? sum / (double)n_finite : NAN;
    }
}

static int64_t window_of(const run_view *run) { return PX_MAX(run->n_steps / 15, 3); }

static void widen(const double *y, int64_t n, double *low, double *high) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        *low = fmin(*low, y[i]);
        *high = fmax(*high, y[i]);
    }
}

static bool fit_panel(const page_view *page, const panel_spec *panel, px_plot *plot) {
    double low = INFINITY, high = -INFINITY, first = INFINITY, last = -INFINITY;
    const series drawn[2] = {panel->whole, panel->broken};
    for (int r = 0; r < page->n_runs; r++)
        for (int k = 0; k < 2; k++) {
            const run_view *run = &page->runs[r];
            if (drawn[k] == N_SERIES || !px_run_view_has(run, drawn[k])) continue;
            widen(run->series[drawn[k]], run->n_steps, &low, &high);
            widen(run->series[S_STEP], run->n_steps, &first, &last);
        }
    if (low > high) return false;
    px_axis_fit(fmin(first, 0), last, 5, &plot->x);
    px_axis_fit(low, high, 5, &plot->y);
    return true;
}

/* A series with a value every so many steps: dots, joined. */
static px_err *draw_sparse(const px_plot *plot, const run_view *run, series s,
                           const char *classes) {
    double *x = malloc((size_t)run->n_steps * 2 * sizeof *x), *y = x + run->n_steps;
    int64_t n = 0;
    if (!x) PX_NO_MEMORY();
    for (int64_t i = 0; i < run->n_steps; i++) {
        if (!isfinite(run->series[s][i])) continue;
        x[n] = run->series[S_STEP][i];
        y[n++] = run->series[s][i];
    }
    px_plot_line(plot, x, y, n, classes);
    for (int64_t i = 0; i < n && n <= 60; i++) px_plot_mark(plot, x[i], y[i], 0, classes, NULL);
    free(x);
    return NULL;
}

static px_err *draw_series(const px_plot *plot, const run_view *run, int colour, series s,
                           bool smoothed, bool dashed) {
    char classes[64];
    if (s == N_SERIES || !px_run_view_has(run, s)) return NULL;
    const double *x = run->series[S_STEP], *y = run->series[s];
    snprintf(classes, sizeof classes, "line%s s%d%s", smoothed ? " raw" : "", colour,
             dashed ? " dash" : "");
    if (s == S_HELD_ACCURACY) return draw_sparse(plot, run, s, classes);
    px_plot_line(plot, x, y, run->n_steps, classes);
    if (!smoothed) return NULL;
    double *mean = malloc((size_t)run->n_steps * sizeof *mean);
    if (!mean) PX_NO_MEMORY();
    smooth(y, run->n_steps, window_of(run), mean);
    snprintf(classes, sizeof classes, "line s%d%s", colour, dashed ? " dash" : "");
    px_plot_line(plot, x, mean, run->n_steps, classes);
    free(mean);
    return NULL;
}

/* What the panel says to those who do not see it: where each run's line begins and ends. */
static void tell_panel(const page_view *page, const panel_spec *panel, int only, px_str *text) {
    px_str_text(text, "Lines over training steps.");
    for (int r = 0; r < page->n_runs; r++) {
        if (only >= 0 && r != only) continue;
        const run_view *run = &page->runs[r];
        const series drawn[2] = {panel->whole, panel->broken};
        for (int k = 0; k < 2; k++) {
            if (drawn[k] == N_SERIES || !px_run_view_has(run, drawn[k])) continue;
            const double *y = run->series[drawn[k]];
            int64_t first = 0;
            while (!isfinite(y[first])) first++;
            px_str_format(text, " %s%s: from %.4g to %.4g.", run->label, k ? " (dashed)" : "",
                          y[first], px_run_view_last(run, drawn[k]));
        }
    }
}

/* One panel, of all runs or of one only (only >= 0, named in the title), on axes that all runs'
 * panels share; nothing at all where there is nothing to draw. */
static px_err *draw_panel(page_view *page, const panel_spec *panel, int only, bool *drawn) {
    px_str text = {0};
    px_err *err = NULL;
    px_plot plot = {.out = page->out,
                    .id = page->n_ids + 1,
                    .width = WIDTH,
                    .height = HEIGHT,
                    .left = 48,
                    .right = 14,
                    .top = 28,
                    .bottom = 38,
                    .title = only < 0 ? panel->title : page->runs[only].label,
                    .x_label = "step"};
    if (!fit_panel(page, panel, &plot)) return NULL;
    if (only >= 0 && !px_run_view_has(&page->runs[only], panel->whole)) return NULL;
    *drawn = true;
    page->n_ids++;
    tell_panel(page, panel, only, &text);
    PX_PASS_TO(done, px_str_ok(&text));
    plot.text = text.data;
    px_plot_begin(&plot);
    for (int r = 0; r < page->n_runs; r++) {
        if (only >= 0 && r != only) continue;
        PX_PASS_TO(done, draw_series(&plot, &page->runs[r], r % COLOURS, panel->whole,
                                     panel->smooth, false));
        PX_PASS_TO(done, draw_series(&plot, &page->runs[r], r % COLOURS, panel->broken,
                                     panel->smooth, true));
    }
    px_plot_end(&plot);
done:
    px_str_free(&text);
    return err;
}

void px_page_legend(page_view *page, const char *full, const char *broken) {
    px_str *out = page->out;
    px_str_text(out, "<ul class=\"legend\">");
    for (int r = 0; r < page->n_runs; r++) {
        px_str_format(out,
                      "<li><svg class=\"key\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path "
                      "class=\"line s%d\" d=\"M1 5L25 5\"/></svg>",
                      r % COLOURS);
        px_html_name(out, page->runs[r].label);
        px_str_text(out, "</li>");
    }
    const char *const names[2] = {full, broken};
    for (int k = 0; k < 2 && full; k++)
        px_str_format(out,
                      "<li><svg class=\"key\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path "
                      "class=\"line ink%s\" d=\"M1 5L25 5\"/></svg>%s</li>",
                      k ? " dash" : "", names[k]);
    px_str_text(out, "</ul>\n");
}

/* --- the table behind the curves --- */
static void table_row(px_str *out, const run_view *run, int64_t i, const series *shown, int n) {
    px_str_text(out, "<tr><th scope=\"row\">");
    px_html_name(out, run->label);
    px_str_text(out, "</th>");
    px_html_cell(out, run->series[S_STEP][i], 0);
    for (int k = 0; k < n; k++) px_html_cell(out, run->series[shown[k]][i], -1);
    px_str_text(out, "</tr>\n");
}

static void steps_table(const page_view *page, const char *caption, const panel_spec *panels,
                        int n_panels) {
    series shown[N_SERIES];
    const char *heads[N_SERIES + 2] = {"run", "step"};
    int n = 0;
    static const char *const names[] = {
#define SERIES(id, key) key,
        PX_SERIES(SERIES)
#undef SERIES
    };
    for (int p = 0; p < n_panels; p++) {
        if (panels[p].whole != N_SERIES) shown[n++] = panels[p].whole;
        if (panels[p].broken != N_SERIES) shown[n++] = panels[p].broken;
    }
    for (int k = 0; k < n; k++) heads[k + 2] = names[shown[k]];
    px_str_text(page->out, "<details><summary>Data</summary>\n");
    px_html_table(page->out, caption, heads, n + 2);
    for (int r = 0; r < page->n_runs; r++) {
        const run_view *run = &page->runs[r];
        int64_t rows = PX_MIN(run->n_steps, TABLE_ROWS), last = -1;
        for (int64_t i = 0; i < rows; i++) {
            int64_t at = rows > 1 ? i * (run->n_steps - 1) / (rows - 1) : 0;
            if (at != last) table_row(page->out, run, at, shown, n);
            last = at;
        }
    }
    px_html_table_end(page->out);
    px_str_format(page->out,
                  "<p class=\"small\">At most %d evenly spaced steps a run; metrics.jsonl has "
                  "every step.</p></details>\n",
                  TABLE_ROWS);
}

typedef struct {
    const char *id, *head, *caption, *nothing; /* safe text */
    const char *full, *broken;                 /* of the legend, or NULL */
    const panel_spec *panels;
    int n_panels;
    bool by_run; /* a panel a run */
} figure;

static px_err *draw_figure(page_view *page, const figure *f) {
    bool drawn = false;
    px_str_format(page->out,
                  "<section id=\"%s\"><h2>%s</h2>\n<figure><figcaption>%s</figcaption>\n", f->id,
                  f->head, f->caption);
    px_page_legend(page, f->full, f->broken);
    px_str_text(page->out, "<div class=\"panels\">\n");
    for (int p = 0; p < f->n_panels; p++)
        for (int r = f->by_run ? 0 : -1; r < (f->by_run ? page->n_runs : 0); r++)
            PX_PASS(draw_panel(page, &f->panels[p], r, &drawn));
    px_str_text(page->out, "</div>\n");
    if (!drawn) px_str_format(page->out, "<p class=\"none\">%s</p>\n", f->nothing);
    px_str_text(page->out, "</figure>\n");
    if (drawn) steps_table(page, f->head, f->panels, f->n_panels);
    px_str_text(page->out, "</section>\n");
    return NULL;
}

px_err *px_page_curves(page_view *page) {
    static const panel_spec training[] = {
        {"Loss", S_LOSS, N_SERIES, true},
        {"Accuracy on the step's own pairs", S_ACCURACY, N_SERIES, true},
        {"Reward margin", S_MARGIN, N_SERIES, true},
        {"Accuracy on held-out pairs while training", S_HELD_ACCURACY, N_SERIES, false}};
    static const panel_spec terms[] = {
        {"Loss", S_LOSS_USER, S_LOSS_GENERIC, true},
        {"Accuracy on the step's own pairs", S_ACCURACY_USER, S_ACCURACY_GENERIC, true},
        {"Reward margin", S_MARGIN_USER, S_MARGIN_GENERIC, true}};
    static const panel_spec rewards[] = {
        {"Implicit reward, chosen and rejected", S_CHOSEN, S_REJECTED, true}};
    static const panel_spec health[] = {
        {"Spread of the people’s embeddings", S_SPREAD, N_SERIES, false},
        {"Gradient norm before clipping", S_GRAD, N_SERIES, true},
        {"Learning rate", S_RATE, N_SERIES, false},
        {"Tokens a second", S_SPEED, N_SERIES, true}};
    static const figure figures[] = {
        {"training", "Loss, accuracy and margin",
         "Thin lines are single steps, thick lines a moving mean over a fifteenth of the run. "
         "Accuracy is the share of pairs whose chosen response has the higher implicit reward; "
         "one half is chance. The margin is the chosen reward less the rejected one.",
         "No step has been logged yet.", NULL, NULL, training, (int)PX_COUNT(training), false},
        {"terms", "User and generic terms",
         "The personalised loss has two terms over the same pairs: one with the person’s own "
         "embedding before the prompt, one with the generic embedding. Where the lines of a run "
         "lie on each other, the model does not use who is asking.",
         "No run trains with embeddings of people, so there is one term only.", "user", "generic",
         terms, (int)PX_COUNT(terms), false},
        {"rewards", "Chosen and rejected rewards",
         "An implicit reward is β times what training has added to a response’s log-probability. "
         "The chosen reward may fall too: the loss asks only for their difference, and probability "
         "often goes to responses that are in neither. As long as the rejected reward falls "
         "faster, the margin grows and the model learns the preference.",
         "No rewards have been logged yet.", "chosen", "rejected", rewards, (int)PX_COUNT(rewards),
         true},
        {"health", "Optimiser, speed and spread",
         "The spread is the root mean square distance of the people’s embeddings from their mean, "
         "over that mean’s length: at 0 everyone has the same embedding.",
         "No step has been logged yet.", NULL, NULL, health, (int)PX_COUNT(health), false}};
    for (size_t i = 0; i < PX_COUNT(figures); i++) PX_PASS(draw_figure(page, &figures[i]));
    return NULL;
}

/* --- the map --- */
static void map_panel(page_view *page, int r, double reach) {
    const run_view *run = &page->runs[r];
    char classes[16];
    px_str text = {0};
    px_plot plot = {.out = page->out,
                    .id = ++page->n_ids,
                    .width = WIDTH,
                    .height = 340,
                    .left = 48,
                    .right = 22,
                    .top = 28,
                    .bottom = 38,
                    .title = run->label,
                    .x_label = "first direction (second: upwards)"};
    px_axis_fit(-reach, reach, 6, &plot.x);
    plot.y = plot.x;
    px_str_format(&text,
                  "Map of %lld people; the first direction has %.0f percent of the variance, the "
                  "second %.0f percent.",
                  (long long)run->n_people, 100 * run->spread.share[0], 100 * run->spread.share[1]);
    plot.text = text.data ? text.data : "";
    px_plot_begin(&plot);
    snprintf(classes, sizeof classes, "faint s%d", r % COLOURS);
    for (int64_t i = 0; i < run->n_people; i++)
        px_plot_mark(&plot, run->at[2 * i], run->at[2 * i + 1], 0, classes, NULL);
    px_plot_mark(&plot, run->generic_at[0], run->generic_at[1], 3, "ink", "generic embedding");
    px_plot_end(&plot);
    px_str_free(&text);
}

static int by_place(const void *a, const void *b) {
    const double *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* In the order of place: not even a row's number leads back to a person. */
static void map_table(page_view *page, const run_view *run, const char *name) {
    static const char *const heads[] = {"run", "first", "second"};
    enum { MOST = 300 };
    double *at = malloc((size_t)run->n_people * 2 * sizeof *at);
    if (!at) {
        page->out->failed = true;
        return;
    }
    memcpy(at, run->at, (size_t)run->n_people * 2 * sizeof *at);
    qsort(at, (size_t)run->n_people, 2 * sizeof *at, by_place);
    px_html_table(page->out, name, heads, 3);
    int64_t n = PX_MIN(run->n_people, MOST);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i * run->n_people / n;
        px_str_text(page->out, "<tr><td>");
        px_html_name(page->out, run->label);
        px_str_text(page->out, "</td>");
        px_html_cell(page->out, at[2 * k], -1);
        px_html_cell(page->out, at[2 * k + 1], -1);
        px_str_text(page->out, "</tr>\n");
    }
    px_html_table_end(page->out);
    if (n < run->n_people)
        px_str_format(page->out, "<p class=\"small\">%lld of %lld people, evenly by place.</p>\n",
                      (long long)n, (long long)run->n_people);
    free(at);
}

static double reach_of(const run_view *run) {
    double reach = fmax(fabs(run->generic_at[0]), fabs(run->generic_at[1]));
    for (int64_t i = 0; i < 2 * run->n_people; i++) reach = fmax(reach, fabs(run->at[i]));
    return reach;
}

/* Under each map: how much of the variance it shows, and whether there is anything to show. */
static void map_words(px_str *out, const run_view *run) {
    double spread = px_run_view_spread(run);
    px_str_text(out, "<li>");
    px_html_name(out, run->label);
    px_str_text(out, ": ");
    px_html_whole(out, (double)run->n_people);
    px_str_format(out,
                  " people, %lld soft tokens of width %lld each; the two directions show "
                  "%.0f&nbsp;%% and %.0f&nbsp;%% of the variance; spread ",
                  (long long)run->n_tokens, (long long)run->width, 100 * run->spread.share[0],
                  100 * run->spread.share[1]);
    px_html_rough(out, spread);
    px_str_text(out, spread < SPREAD_DEAD ? ". <strong>The embeddings are all but the same: what "
                                            "looks like a pattern here is next to nothing.</strong>"
                                          : ".");
    px_str_text(out, "</li>");
}

void px_page_map(page_view *page) {
    int n = 0;
    px_str_text(page->out,
                "<section id=\"map\"><h2>Map of the people’s embeddings</h2>\n<figure><figcaption>"
                "Each dot is a person, placed by the two directions in which the embeddings differ "
                "most (principal components); the diamond is the generic embedding. Who is who is "
                "not shown. Each run has directions and a scale of its own.</figcaption>\n"
                "<div class=\"panels\">\n");
    for (int r = 0; r < page->n_runs; r++) {
        if (!page->runs[r].has_users) continue;
        map_panel(page, r, reach_of(&page->runs[r]));
        n++;
    }
    px_str_text(page->out, "</div>\n");
    if (n == 0)
        px_str_text(page->out, "<p class=\"none\">No run has embeddings of people to show.</p>\n");
    if (n) px_str_text(page->out, "<ul>");
    for (int r = 0; r < page->n_runs; r++)
        if (page->runs[r].has_users) map_words(page->out, &page->runs[r]);
    if (n) px_str_text(page->out, "</ul>");
    px_str_text(page->out, "</figure>\n");
    if (n) px_str_text(page->out, "<details><summary>Data</summary>\n");
    for (int r = 0, k = 0; r < page->n_runs; r++) {
        char name[64];
        if (!page->runs[r].has_users) continue;
        snprintf(name, sizeof name, "Map %d", ++k);
        map_table(page, &page->runs[r], name);
    }
    px_str_text(page->out, n ? "</details></section>\n" : "</section>\n");
}
