/* sweep.c - the points of a sweep: heat maps over pairs of varied keys, accuracy on known people's
 * new conversations against that on strangers, and which points no other beats in both. Reads the
 * table that `sweep table` prints, and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

enum { KEYS_MOST = 16, VALUES_MOST = 64, PAIRS_MOST = 6, COLUMNS_MOST = 64, PANEL_WIDTH = 360 };

enum { SEEN_OWN, UNSEEN_GENERIC, DELTA_OWN, DELTA_SWAP, N_MEASURES };
static const struct {
    const char *column, *title;
} measures[N_MEASURES] = {
    {"acc_seen_own", "seen, own embedding, %"},
    {"acc_unseen_generic", "unseen, generic embedding, %"},
    {"delta_own", "seen, own − generic, points"},
    {"delta_swap", "seen, own − another’s, points"},
};

typedef struct {
    const char *values[KEYS_MOST], *state;
    double v[N_MEASURES]; /* times 100; NaN: not there */
    bool best;            /* no other point beats it in both accuracies */
} point;

typedef struct {
    const char *name;
    const char *values[VALUES_MOST]; /* in the order of the table */
    int n;
} key;

typedef struct {
    px_arena *arena;
    key keys[KEYS_MOST];
    int n_keys, n_points;
    point *points;
} sweep_view;

/* --- reading --- */

static int split(char *line, const char **cells) {
    int n = 0;
    for (char *rest = line, *cell; n < COLUMNS_MOST && (cell = strsep(&rest, "\t"));)
        cells[n++] = cell;
    return n;
}

static int column_of(const char *const *heads, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(heads[i], name)) return i;
    return -1;
}

static void key_add(key *k, const char *value) {
    for (int i = 0; i < k->n; i++)
        if (!strcmp(k->values[i], value)) return;
    if (k->n < VALUES_MOST) k->values[k->n++] = value;
}

static int value_at(const key *k, const char *value) {
    for (int i = 0; i < k->n; i++)
        if (!strcmp(k->values[i], value)) return i;
    return -1;
}

static void mark_best(sweep_view *s) {
    for (int i = 0; i < s->n_points; i++) {
        const point *p = &s->points[i];
        bool beaten = !isfinite(p->v[SEEN_OWN]) || !isfinite(p->v[UNSEEN_GENERIC]);
        for (int k = 0; k < s->n_points && !beaten; k++) {
            const point *q = &s->points[k];
            beaten =
                q->v[SEEN_OWN] >= p->v[SEEN_OWN] && q->v[UNSEEN_GENERIC] >= p->v[UNSEEN_GENERIC] &&
                (q->v[SEEN_OWN] > p->v[SEEN_OWN] || q->v[UNSEEN_GENERIC] > p->v[UNSEEN_GENERIC]);
        }
        s->points[i].best = !beaten;
    }
}

static px_err *sweep_read(const px_report_sweep *sweep, sweep_view *s) {
    const char *heads[COLUMNS_MOST] = {0}, *cells[COLUMNS_MOST] = {0};
    size_t lines = 0;
    PX_PASS(px_arena_new(65536, &s->arena));
    char *rest = px_arena_text(s->arena, sweep->tsv, strlen(sweep->tsv));
    PX_PASS(px_arena_ok(s->arena));
    for (const char *at = rest; *at; at++) lines += *at == '\n';
    s->points = px_take(s->arena, point, lines + 1);
    PX_PASS(px_arena_ok(s->arena));
    int n_heads = split(strsep(&rest, "\n"), heads);
    s->n_keys = PX_MIN(PX_MIN(sweep->n_keys, n_heads), KEYS_MOST);
    for (int k = 0; k < s->n_keys; k++) s->keys[k].name = heads[k];
    for (char *line; (line = strsep(&rest, "\n"));) {
        point *p = &s->points[s->n_points];
        int n = *line ? split(line, cells) : 0, state = column_of(heads, n_heads, "state");
        if (n < n_heads) continue;
        for (int k = 0; k < s->n_keys; k++) key_add(&s->keys[k], p->values[k] = cells[k]);
        p->state = state >= 0 ? cells[state] : "";
        for (int m = 0; m < N_MEASURES; m++) {
            int at = column_of(heads, n_heads, measures[m].column);
            bool there = at >= 0 && px_parse_f64(cells[at], &p->v[m]);
            p->v[m] = there ? 100 * p->v[m] : NAN;
        }
        s->n_points++;
    }
    mark_best(s);
    return NULL;
}

/* --- heat maps --- */

/* Mean over the points with these values; b < 0: over all of that key. */
static double cell_mean(const sweep_view *s, int a, int ia, int b, int ib, int measure,
                        bool *best) {
    double sum = 0, n = 0;
    *best = false;
    for (int i = 0; i < s->n_points; i++) {
        const point *p = &s->points[i];
        if (value_at(&s->keys[a], p->values[a]) != ia) continue;
        if (b >= 0 && value_at(&s->keys[b], p->values[b]) != ib) continue;
        *best = *best || p->best;
        if (!isfinite(p->v[measure])) continue;
        sum += p->v[measure];
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

static void range_of(const sweep_view *s, int a, int b, int measure, double *low, double *high) {
    bool best = false;
    *low = INFINITY;
    *high = -INFINITY;
    for (int ia = 0; ia < s->keys[a].n; ia++)
        for (int ib = 0; ib < (b < 0 ? 1 : s->keys[b].n); ib++) {
            double v = cell_mean(s, a, ia, b, ib, measure, &best);
            if (!isfinite(v)) continue;
            *low = fmin(*low, v);
            *high = fmax(*high, v);
        }
}

static void heat_cell(px_str *out, double x, double y, double w, double h, double v, double share,
                      bool best) {
    px_str_format(out,
                  "<rect class=\"s0 cell\" fill-opacity=\"%.2f\" x=\"%.1f\" y=\"%.1f\" "
                  "width=\"%.1f\" height=\"%.1f\"/>",
                  isfinite(v) ? 0.08 + 0.52 * share : 0.0, x, y, w - 1, h - 1);
    px_str_format(out, "<text class=\"value\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">",
                  x + w / 2, y + h / 2 + 4);
    px_html_fixed(out, v, 1);
    px_str_text(out, "</text>");
    if (best)
        px_str_format(out, "<path class=\"s1 dot\" d=\"M%.1f %.1fl4 4l-4 4l-4 -4z\"/>", x + w - 7,
                      y + 2);
    px_str_char(out, '\n');
}

static void heat_label(px_str *out, const char *anchor, double x, double y, const char *text,
                       int most) {
    px_str_format(out, "<text class=\"tick\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", anchor, x,
                  y);
    px_html_short(out, text, most);
    px_str_text(out, "</text>");
}

/* Columns: values of key a; rows: of key b. */
static void heat_map(const sweep_view *s, px_str *out, int id, int a, int b, int measure) {
    const key *ka = &s->keys[a], *kb = b >= 0 ? &s->keys[b] : NULL;
    int rows = kb ? kb->n : 1;
    double h = rows > 12 ? 18 : 30, low, high;
    char title[256], text[512];
    snprintf(title, sizeof title, "%s", measures[measure].title);
    snprintf(text, sizeof text,
             "Mean of %s by %.80s%s%.80s; a diamond marks cells with a point that "
             "no other beats on both seen and unseen people.",
             measures[measure].title, ka->name, kb ? " and " : "", kb ? kb->name : "");
    px_plot p = {.out = out,
                 .id = id,
                 .width = PANEL_WIDTH,
                 .left = kb ? 74 : 10,
                 .right = 8,
                 .top = 40,
                 .bottom = 40,
                 .no_y = true,
                 .title = title,
                 .x_label = ka->name,
                 .text = text};
    p.height = p.top + p.bottom + (int)(rows * h);
    px_plot_begin(&p);
    range_of(s, a, b, measure, &low, &high);
    double w = (p.width - p.left - p.right) / (double)PX_MAX(ka->n, 1);
    if (kb) heat_label(out, "start", 4, p.top - 8, kb->name, 40);
    for (int ia = 0; ia < ka->n; ia++)
        heat_label(out, "middle", p.left + (ia + 0.5) * w, p.height - p.bottom + 15, ka->values[ia],
                   10);
    for (int ib = 0; ib < rows; ib++) {
        double y = p.top + ib * h;
        if (kb) heat_label(out, "end", p.left - 6, y + h / 2 + 3.5, kb->values[ib], 10);
        for (int ia = 0; ia < ka->n; ia++) {
            bool best = false;
            double v = cell_mean(s, a, ia, b, ib, measure, &best);
            double share = high > low ? (v - low) / (high - low) : 0.5;
            heat_cell(out, p.left + ia * w, y, w, h, v, share, best);
        }
    }
    px_plot_end(&p);
}

/* --- the two accuracies against one another --- */

static void tip_of(const sweep_view *s, const point *p, px_str *tip) {
    px_str_clear(tip);
    for (int k = 0; k < s->n_keys; k++) {
        px_str_text(tip, k ? ", " : "");
        px_html_text(tip, s->keys[k].name);
        px_str_char(tip, ' ');
        px_html_text(tip, p->values[k]);
    }
}

static void trade_off(const sweep_view *s, px_str *out, int id) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    px_str tip = {0};
    px_plot p = {.out = out,
                 .id = id,
                 .width = PANEL_WIDTH,
                 .height = 260,
                 .left = 48,
                 .right = 14,
                 .top = 28,
                 .bottom = 44,
                 .title = "unseen, generic, % against seen, own, %",
                 .x_label = "seen, own embedding, %",
                 .text = "Each point's accuracy on known people's new conversations and on "
                         "strangers; diamonds: no other point beats it in both."};
    for (int i = 0; i < s->n_points; i++)
        for (int m = 0; m < 2; m++) {
            if (!isfinite(s->points[i].v[m])) continue;
            low[m] = fmin(low[m], s->points[i].v[m]);
            high[m] = fmax(high[m], s->points[i].v[m]);
        }
    px_axis_fit(low[0], high[0], 5, &p.x);
    px_axis_fit(low[1], high[1], 5, &p.y);
    px_plot_begin(&p);
    for (int best = 0; best < 2; best++)
        for (int i = 0; i < s->n_points; i++) {
            const point *at = &s->points[i];
            if (at->best != (best == 1)) continue;
            tip_of(s, at, &tip);
            px_plot_mark(&p, at->v[SEEN_OWN], at->v[UNSEEN_GENERIC], best ? 3 : 0,
                         best ? "s1" : "s0 faint", tip.data);
        }
    px_plot_end(&p);
    px_str_free(&tip);
}

/* --- the whole --- */

static void points_table(const sweep_view *s, px_str *out) {
    const char *heads[KEYS_MOST + N_MEASURES + 2];
    px_str names[KEYS_MOST] = {{0}};
    int n = 0;
    for (int k = 0; k < s->n_keys; k++) {
        px_html_text(&names[k], s->keys[k].name);
        heads[n++] = names[k].data ? names[k].data : "";
    }
    for (int m = 0; m < N_MEASURES; m++) heads[n++] = measures[m].title;
    heads[n++] = "state";
    heads[n++] = "unbeaten";
    px_str_text(out, "<details><summary>Data</summary>\n");
    px_html_table(out, "Points of the sweep", heads, n);
    for (int i = 0; i < s->n_points; i++) {
        const point *p = &s->points[i];
        px_str_text(out, "<tr>");
        for (int k = 0; k < s->n_keys; k++) px_html_cell_text(out, p->values[k]);
        for (int m = 0; m < N_MEASURES; m++) px_html_cell(out, p->v[m], 2);
        px_html_cell_text(out, p->state);
        px_html_cell_text(out, p->best ? "◆" : "");
        px_str_text(out, "</tr>\n");
    }
    px_html_table_end(out);
    px_str_text(out, "</details>\n");
    for (int k = 0; k < s->n_keys; k++) px_str_free(&names[k]);
}

static int n_done(const sweep_view *s) {
    int n = 0;
    for (int i = 0; i < s->n_points; i++) n += !strcmp(s->points[i].state, "done");
    return n;
}

/* Panels: the trade-off, then each pair of keys that take two values or more. */
static int panels(const sweep_view *s, px_str *out, int id) {
    int many[KEYS_MOST], n = 0, n_pairs = 0;
    for (int k = 0; k < s->n_keys; k++)
        if (s->keys[k].n > 1) many[n++] = k;
    trade_off(s, out, id++);
    if (n == 1)
        for (int m = 0; m < N_MEASURES - 1; m++) heat_map(s, out, id++, many[0], -1, m);
    for (int i = 0; i < n; i++)
        for (int k = i + 1; k < n && n_pairs < PAIRS_MOST; k++, n_pairs++)
            for (int m = 0; m < N_MEASURES - 1; m++) heat_map(s, out, id++, many[i], many[k], m);
    return id;
}

px_err *px_page_sweep(px_str *out, const px_report_sweep *sweep, int *id) {
    sweep_view s = {0};
    px_err *err = sweep_read(sweep, &s);
    if (!err) {
        px_str_text(out, "<section id=\"sweep\"><h2>Sweep: ");
        px_html_name(out, sweep->name);
        px_str_format(
            out,
            "</h2>\n<figure><figcaption>%d points, %d of them done. Each cell is the mean "
            "over the keys that it does not show. A diamond (◆) marks points that no "
            "other beats both on known people’s new conversations (own embedding) and on "
            "strangers (generic embedding).</figcaption>\n<div class=\"panels\">\n",
            s.n_points, n_done(&s));
        *id = panels(&s, out, *id);
        px_str_text(out, "</div></figure>\n");
        points_table(&s, out);
        px_str_text(out, "</section>\n");
    }
    px_arena_free(s.arena);
    return err ? err : px_str_ok(out);
}

/* The panels one under another in one figure: nested <svg>, which need a place and a size. */
static px_err *svg_page(const px_report_sweep *sweep, px_str *out) {
    static const char begin[] = "<svg viewBox=\"0 0 ";
    sweep_view s = {0};
    px_str inner = {0}, placed = {0};
    int y = 0, column = 0, tallest = 0;
    px_err *err = sweep_read(sweep, &s);
    if (!err) panels(&s, &inner, 1);
    if (!err) err = px_str_ok(&inner);
    for (const char *at = err ? NULL : inner.data, *next; at; at = next) {
        char *after = NULL;
        const char *end = NULL;
        int width = (int)strtol(at + sizeof begin - 1, &after, 10);
        int height = (int)strtol(after, NULL, 10);
        next = strstr(at + 1, begin);
        end = next ? next : inner.data + inner.size;
        px_str_format(&placed, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" ",
                      column * PANEL_WIDTH, y, width, height);
        px_str_add(&placed, at + 5, (size_t)(end - at - 5));
        tallest = PX_MAX(tallest, height);
        /* the trade-off has a line of its own; then three measures a line */
        column = at == inner.data ? 3 : column + 1;
        if (column < 3 && next) continue;
        y += tallest + 10;
        column = tallest = 0;
    }
    if (!err) {
        px_str_format(out,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\">\n<style>",
                      3 * PANEL_WIDTH, y);
        px_page_style(out);
        px_str_text(out, "</style>\n");
        px_str_add(out, placed.data ? placed.data : "", placed.size);
        px_str_text(out, "</svg>\n");
        err = px_str_ok(out);
    }
    px_str_free(&inner);
    px_str_free(&placed);
    px_arena_free(s.arena);
    return err;
}

px_err *px_report_sweep_make(const px_report_sweep *sweep, const char *path) {
    px_str out = {0};
    size_t n = strlen(path);
    int id = 1;
    px_err *err = NULL;
    bool svg = n > 4 && !strcmp(path + n - 4, ".svg");
    if (!svg && !(n > 5 && !strcmp(path + n - 5, ".html")))
        PX_FAIL(PX_BAD_INPUT, "--out %s: a name that ends in .html or .svg is wanted", path);
    if (svg) {
        err = svg_page(sweep, &out);
    } else {
        px_page_begin(&out, "Sweep");
        px_str_format(&out, "<header><p class=\"sub\">prismx %s</p></header>\n<main>\n",
                      PX_VERSION);
        err = px_page_sweep(&out, sweep, &id);
        px_str_text(&out, "</main>\n</body>\n</html>\n");
    }
    if (!err) err = px_str_ok(&out);
    if (!err) err = px_file_write(path, out.data, out.size);
    px_str_free(&out);
    return err;
}
