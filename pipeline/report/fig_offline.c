/* fig_offline.c - the figure of held-out accuracy over the settings of runs and sweeps, or of the
 * evaluations that stats read: own,
 * generic and another person's embedding by the weight of the user term, beta and soft tokens. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

enum { KEYS = 3, POINTS_MOST = 512, VALUES_MOST = 24, COLUMNS_MOST = 64, COLOURS = 8 };
enum { WIDTH = 348, HEIGHT = 240 };

static const struct {
    const char *path, *name, *title;
} keys[KEYS] = {{"loss.alpha", "alpha", "by α, weight of the user term"},
                {"loss.beta", "beta", "by β"},
                {"user.tokens", "tokens", "by Tᵤ, soft tokens of a person"}};

/* What is read of a point: seen people's own, generic, another's; strangers' generic. */
enum { SEEN_OWN, SEEN_GENERIC, SEEN_OTHER, UNSEEN_GENERIC, MEASURES };
static const struct {
    const char *outcome, *label;
    int shape;
} measures[MEASURES] = {{"accuracy:seen:own", "own", 0},
                        {"accuracy:seen:generic", "generic", 2},
                        {"accuracy:seen:other", "another’s", 3},
                        {"accuracy:unseen:generic", "unseen people", 1}};

typedef struct {
    const char *label; /* run, or sweep and line */
    double at[KEYS];   /* NaN: not known */
    interval e[MEASURES];
    double n_pairs, n_people;
} offline_point;

typedef struct {
    offline_point at[POINTS_MOST];
    int n, n_more;
} offline_list;

static offline_point *point_new(offline_list *list) {
    if (list->n == POINTS_MOST) {
        list->n_more++;
        return NULL;
    }
    offline_point *p = &list->at[list->n++];
    *p = (offline_point){.label = "", .at = {NAN, NAN, NAN}, .n_pairs = NAN, .n_people = NAN};
    for (int m = 0; m < MEASURES; m++) p->e[m] = (interval){NAN, NAN, NAN};
    return p;
}

static void run_take(const run_view *run, offline_list *list) {
    const eval_row *seen = px_run_view_row(run, "seen", "all");
    const eval_row *unseen = px_run_view_row(run, "unseen", "all");
    const cJSON *model = px_view_at(run->config, "user.model");
    const bool none = cJSON_IsString(model) && !strcmp(model->valuestring, "none");
    if (!seen && !unseen) return;
    offline_point *p = point_new(list);
    if (!p) return;
    p->label = run->label;
    for (int k = 0; k < KEYS; k++) {
        const cJSON *value = px_view_at(run->config, keys[k].path);
        /* a pooled model has neither a user term nor soft tokens */
        if (cJSON_IsNumber(value) && !(none && k != 1)) p->at[k] = value->valuedouble;
    }
    if (seen) {
        p->n_pairs = seen->n_pairs;
        p->n_people = seen->n_people;
        const bool personal = isfinite(seen->accuracy[GENERIC].value);
        if (personal) p->e[SEEN_OWN] = seen->accuracy[OWN];
        p->e[SEEN_GENERIC] = seen->accuracy[personal ? GENERIC : OWN];
        p->e[SEEN_OTHER] = seen->accuracy[OTHER];
    }
    if (unseen)
        p->e[UNSEEN_GENERIC] =
            unseen->accuracy[isfinite(unseen->accuracy[GENERIC].value) ? GENERIC : OWN];
}

/* --- a sweep's table --- */

static double cell_of(const char *const *heads, char *const *cells, int n, const char *name,
                      const char *suffix) {
    char full[64];
    double value = NAN;
    snprintf(full, sizeof full, "%s%s", name, suffix);
    for (int i = 0; i < n; i++)
        if (!strcmp(heads[i], full) && px_parse_f64(cells[i], &value)) return value;
    return NAN;
}

static int cells_split(char *line, char **cells) {
    int n = 0;
    for (char *rest = line, *cell; n < COLUMNS_MOST && (cell = strsep(&rest, "\t"));)
        cells[n++] = cell;
    return n;
}

static void sweep_take(const exp_view *exp, const px_report_sweep *sweep, offline_list *list) {
    static const char *const names[] = {"acc_seen_own", "acc_seen_generic", "",
                                        "acc_unseen_generic"};
    char *heads[COLUMNS_MOST], *cells[COLUMNS_MOST];
    char *rest = px_arena_text(exp->study->arena, sweep->tsv, strlen(sweep->tsv));
    if (!rest) return;
    const int n = cells_split(strsep(&rest, "\n"), heads);
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (!*line || cells_split(line, cells) < n) continue;
        const char *const *h = (const char *const *)heads;
        if (!isfinite(cell_of(h, cells, n, "acc_seen_own", "")) &&
            !isfinite(cell_of(h, cells, n, "acc_unseen_generic", "")))
            continue;
        offline_point *p = point_new(list);
        if (!p) continue;
        p->label = sweep->name;
        for (int k = 0; k < KEYS; k++) p->at[k] = cell_of(h, cells, n, keys[k].path, "");
        for (int m = 0; m < MEASURES; m++)
            if (*names[m])
                p->e[m] = (interval){cell_of(h, cells, n, names[m], ""),
                                     cell_of(h, cells, n, names[m], "_low"),
                                     cell_of(h, cells, n, names[m], "_high")};
        p->e[SEEN_OTHER].value = p->e[SEEN_OWN].value - cell_of(h, cells, n, "delta_swap", "");
    }
}

/* --- rows of stats --eval --- */

/* What stands behind "key=" in a note; NaN: nothing. */
static double noted(const char *note, const char *key) {
    char name[32];
    snprintf(name, sizeof name, " %s=", key);
    const char *at = strstr(note, name);
    return at ? strtod(at + strlen(name), NULL) : NAN;
}

/* The point of these settings that lacks the measure: files of one training are one point. */
static offline_point *point_of(offline_list *list, const char *label, int measure) {
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->at[i].label, label) && !isfinite(list->at[i].e[measure].value))
            return &list->at[i];
    offline_point *p = point_new(list);
    if (p) p->label = label;
    return p;
}

static void stat_take(const stat_row *row, offline_list *list) {
    static const char *const terms[] = {"own", "generic", "other"};
    const bool seen = !strcmp(row->outcome, "seen");
    const char *comma = strchr(row->note, ',');
    const char *label = comma ? comma + 1 + (comma[1] == ' ') : row->note;
    const bool none = strstr(row->note, "user.model=none") != NULL;
    int measure = -1;
    for (int m = SEEN_OWN; m <= SEEN_OTHER && seen; m++)
        if (!strcmp(row->term, terms[m])) measure = m;
    /* where there are no people's embeddings, everybody has the generic one */
    if (seen && measure == SEEN_OWN && (none || !strstr(row->note, "user.model=")))
        measure = SEEN_GENERIC;
    if (!strcmp(row->outcome, "unseen") && strcmp(row->term, "other") != 0 &&
        strncmp(row->term, "delta", 5) != 0)
        measure = UNSEEN_GENERIC;
    if (measure < 0 || !isfinite(row->estimate)) return;
    offline_point *p = point_of(list, label, measure);
    if (!p) return;
    for (int k = 0; k < KEYS; k++)
        if (!(none && k != 1)) p->at[k] = noted(row->note, keys[k].path);
    p->e[measure] = px_row_interval(row);
    if (seen) {
        p->n_pairs = row->n_trials;
        p->n_people = row->n_people;
    }
}

static void stats_take(const exp_view *exp, offline_list *list) {
    for (int64_t i = 0; i < exp->study->n; i++)
        if (!strcmp(exp->study->rows[i].family, "offline")) stat_take(&exp->study->rows[i], list);
}

static offline_list *points_read(const exp_view *exp) {
    offline_list *list = calloc(1, sizeof *list);
    if (!list) {
        exp->page->out->failed = true;
        return NULL;
    }
    for (int r = 0; r < exp->page->n_runs; r++) run_take(&exp->page->runs[r], list);
    for (int i = 0; i < exp->page->job->n_sweeps; i++)
        sweep_take(exp, &exp->page->job->sweeps[i], list);
    if (list->n == 0) stats_take(exp, list); /* else the same evaluations would stand twice */
    return list;
}

static void term_of(const offline_point *p, px_str *out) {
    px_str_text(out, p->label);
    for (int k = 0; k < KEYS; k++) {
        char text[32];
        if (isfinite(p->at[k]))
            px_str_format(out, " %s=%s", keys[k].name, px_double_text(p->at[k], text));
    }
}

void px_fig_offline_data(const exp_view *exp, data_list *data) {
    offline_list *list = points_read(exp);
    px_str term = {0};
    for (int i = 0; list && i < list->n; i++) {
        const offline_point *p = &list->at[i];
        px_str_clear(&term);
        term_of(p, &term);
        const char *kept = px_arena_text(exp->study->arena, term.data ? term.data : "", term.size);
        for (int m = 0; kept && m < MEASURES; m++)
            if (isfinite(p->e[m].value))
                px_data_add(data,
                            px_stat_own(exp->study, &(stat_row){.family = "offline",
                                                                .outcome = measures[m].outcome,
                                                                .model = "accuracy",
                                                                .term = kept,
                                                                .contrast = "",
                                                                .note = "",
                                                                .source = -1,
                                                                .estimate = p->e[m].value,
                                                                .se = NAN,
                                                                .low = p->e[m].low,
                                                                .high = p->e[m].high,
                                                                .p = NAN,
                                                                .p_adjusted = NAN,
                                                                .n_trials = p->n_pairs,
                                                                .n_people = p->n_people}),
                            NAN);
    }
    px_str_free(&term);
    free(list);
}

/* --- drawing --- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int values_of(const offline_list *list, int key, double *out) {
    int n = 0;
    for (int i = 0; i < list->n && n < VALUES_MOST; i++) {
        bool known = !isfinite(list->at[i].at[key]);
        for (int k = 0; k < n; k++) known |= !(fabs(out[k] - list->at[i].at[key]) > 0);
        if (!known) out[n++] = list->at[i].at[key];
    }
    qsort(out, (size_t)n, sizeof *out, by_value);
    return n;
}

/* Mean of a measure over the points of one value; where there is but one, its interval. */
static interval mean_of(const offline_list *list, int key, double value, int measure) {
    interval one = {NAN, NAN, NAN};
    double sum = 0;
    int n = 0;
    for (int i = 0; i < list->n; i++) {
        const offline_point *p = &list->at[i];
        if (!isfinite(p->at[key]) || fabs(p->at[key] - value) > 0 || !isfinite(p->e[measure].value))
            continue;
        one = p->e[measure];
        sum += one.value;
        n++;
    }
    return n > 1 ? (interval){sum / n, NAN, NAN} : one;
}

static void measure_draw(const px_plot *p, const interval *e, int n, int measure) {
    double x[VALUES_MOST], y[VALUES_MOST];
    char classes[32];
    for (int i = 0; i < n; i++) {
        x[i] = i + 0.05 * (measure - 1.5);
        y[i] = 100 * e[i].value;
    }
    snprintf(classes, sizeof classes, "line s%d%s", measure,
             measure == UNSEEN_GENERIC ? " dash" : "");
    px_plot_line(p, x, y, n, classes);
    for (int i = 0; i < n; i++) {
        snprintf(classes, sizeof classes, "line thin s%d", measure);
        if (interval_ends(e[i]))
            px_plot_line(p, (const double[]){x[i], x[i]},
                         (const double[]){100 * e[i].low, 100 * e[i].high}, 2, classes);
        snprintf(classes, sizeof classes, "s%d", measure);
        px_plot_mark(p, x[i], y[i], measures[measure].shape, classes, NULL);
    }
}

static void key_panel(const exp_view *exp, const offline_list *list, int key) {
    px_str *out = exp->page->out, text = {0};
    double values[VALUES_MOST], low = INFINITY, high = -INFINITY;
    interval e[MEASURES][VALUES_MOST];
    const int n = values_of(list, key, values);
    char number[32];
    if (n < 2) return;
    for (int m = 0; m < MEASURES; m++)
        for (int i = 0; i < n; i++) {
            e[m][i] = mean_of(list, key, values[i], m);
            const double of[] = {e[m][i].value, e[m][i].low, e[m][i].high};
            for (int k = 0; k < 3; k++) {
                if (!isfinite(of[k])) continue;
                low = fmin(low, 100 * of[k]);
                high = fmax(high, 100 * of[k]);
            }
            if (isfinite(of[0]))
                px_str_format(&text, "%s at %s: %.1f percent. ", measures[m].label,
                              px_double_text(values[i], number), 100 * of[0]);
        }
    px_plot p = {.out = out,
                 .id = ++exp->page->n_ids,
                 .width = WIDTH,
                 .height = HEIGHT,
                 .left = 40,
                 .right = 12,
                 .top = 28,
                 .bottom = 40,
                 .no_x = true,
                 .x = {.low = -0.4, .high = n - 0.6, .step = 1},
                 .title = keys[key].title,
                 .x_label = keys[key].path,
                 .text = text.data ? text.data : ""};
    px_axis_fit(fmin(low, 50), high, 4, &p.y);
    px_plot_begin(&p);
    for (int i = 0; i < n; i++)
        px_str_format(out,
                      "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%s"
                      "</text>\n",
                      px_plot_x(&p, i), p.height - p.bottom + 15,
                      px_double_text(values[i], number));
    for (int m = 0; m < MEASURES; m++) measure_draw(&p, e[m], n, m);
    px_plot_end(&p);
    px_str_free(&text);
}

/* Where no setting varies: the points one below another. */
static void points_panel(const exp_view *exp, const offline_list *list) {
    row_list *rows = calloc(1, sizeof *rows);
    if (!rows) {
        exp->page->out->failed = true;
        return;
    }
    *rows = (row_list){.scale = 100, .decimals = 1, .dots = true};
    for (int i = 0; i < list->n && rows->n + 5 <= ROW_LINES_MAX; i++) {
        px_rows_add(rows,
                    (row_line){.label = list->at[i].label, .colour = i % COLOURS, .header = true});
        for (int m = 0; m < MEASURES; m++)
            if (isfinite(list->at[i].e[m].value))
                px_rows_add(rows, (row_line){.label = measures[m].label,
                                             .e = list->at[i].e[m],
                                             .colour = i % COLOURS,
                                             .shape = measures[m].shape});
    }
    px_list_panel(exp, "held-out accuracy by run", "accuracy, %; chance 50", rows, 50);
    free(rows);
}

static void legend(px_str *out) {
    static const char *const signs[] = {"●", "○", "■", "◆"};
    px_str_text(out, "<ul class=\"legend\" aria-label=\"Embeddings\">");
    for (int m = 0; m < MEASURES; m++)
        px_str_format(out, "<li><span class=\"sign s%d\" aria-hidden=\"true\">%s</span>%s</li>", m,
                      signs[measures[m].shape], measures[m].label);
    px_str_text(out, "</ul>\n");
}

void px_fig_offline(const exp_view *exp, const data_list *data) {
    offline_list *list = points_read(exp);
    double values[VALUES_MOST];
    bool varied = false;
    (void)data;
    if (!list) return;
    for (int k = 0; k < KEYS; k++) varied |= values_of(list, k, values) > 1;
    if (varied) legend(exp->page->out);
    px_str_text(exp->page->out, "<div class=\"panels\">\n");
    if (varied)
        for (int k = 0; k < KEYS; k++) key_panel(exp, list, k);
    else
        points_panel(exp, list);
    px_str_text(exp->page->out, "</div>\n");
    if (list->n_more)
        px_str_format(exp->page->out, "<p class=\"small\">%d more points are left out.</p>\n",
                      list->n_more);
    free(list);
}
