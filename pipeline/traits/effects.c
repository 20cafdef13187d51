/* effects.c - means with intervals and effects against the reference arm.
 *
 * Units are people (or prompts, where nobody is named): one unit's answers are not independent.
 * - Mean: percentile bootstrap over units, as the statistics of rankings do.
 * - Effect: least squares of the trait on arm indicators (adjusted: log words and domain too) with
 *   every unit's own mean taken out of all columns, the within estimator: what (1|person) does,
 *   without its assumption on the units' distribution. Standard errors are clustered by unit
 *   (Liang & Zeger 1986; factor G / (G - 1)). Interval: ±1.96 SE. */
#include "traits_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 96 };

/* --- units --- */

typedef struct {
    uint64_t *keys;
    uint32_t *values, n, room;
} numbering;

static px_err *numbering_new(int64_t n, numbering *out) {
    uint32_t room = 64;
    while (room < 2 * (uint64_t)n) room *= 2;
    *out = (numbering){calloc(room, sizeof *out->keys), calloc(room, sizeof *out->values), 0, room};
    if (!out->keys || !out->values) PX_NO_MEMORY();
    return NULL;
}

static void numbering_free(numbering *numbers) {
    free(numbers->keys);
    free(numbers->values);
}

/* Numbers keys in the order they come. */
static uint32_t number_of(numbering *numbers, uint64_t key) {
    key = key ? key : 1;
    uint32_t at = (uint32_t)(key ^ key >> 32) & (numbers->room - 1);
    while (numbers->keys[at] && numbers->keys[at] != key) at = (at + 1) & (numbers->room - 1);
    if (!numbers->keys[at]) {
        numbers->keys[at] = key;
        numbers->values[at] = numbers->n++;
    }
    return numbers->values[at];
}

static px_err *units_number(px_panel *panel) {
    numbering units = {0}, domains = {0};
    px_err *err = NULL;
    PX_PASS_TO(done, numbering_new(panel->n_rows, &units));
    PX_PASS_TO(done, numbering_new(panel->n_rows, &domains));
    for (int64_t i = 0; i < panel->n_rows; i++)
        if (panel->rows[i].user) panel->people = true;
    for (int64_t i = 0; i < panel->n_rows; i++) {
        const px_row *row = &panel->rows[i];
        panel->unit[i] = number_of(&units, row->user ? row->user : row->prompt);
        panel->domain[i] = number_of(&domains, row->domain);
    }
    panel->n_units = units.n;
    panel->n_domains = domains.n;
done:
    numbering_free(&units);
    numbering_free(&domains);
    return err;
}

/* Rows by unit: a counting sort, which keeps the file's order. */
static px_err *units_sort(px_panel *panel) {
    panel->start = calloc((size_t)panel->n_units + 2, sizeof *panel->start);
    if (!panel->start) PX_NO_MEMORY();
    for (int64_t i = 0; i < panel->n_rows; i++) panel->start[panel->unit[i] + 2]++;
    for (uint32_t u = 0; u < panel->n_units; u++) panel->start[u + 2] += panel->start[u + 1];
    for (int64_t i = 0; i < panel->n_rows; i++)
        panel->order[panel->start[panel->unit[i] + 1]++] = i;
    return NULL;
}

px_err *px_panel_new(const px_row *rows, int64_t n_rows, int n_arms, int reference, px_panel *out) {
    *out = (px_panel){.rows = rows, .n_rows = n_rows, .n_arms = n_arms, .reference = reference};
    out->unit = malloc(((size_t)n_rows + 1) * sizeof *out->unit);
    out->domain = malloc(((size_t)n_rows + 1) * sizeof *out->domain);
    out->order = malloc(((size_t)n_rows + 1) * sizeof *out->order);
    if (!out->unit || !out->domain || !out->order) PX_NO_MEMORY();
    PX_PASS(units_number(out));
    return units_sort(out);
}

void px_panel_free(px_panel *panel) {
    free(panel->unit);
    free(panel->domain);
    free(panel->order);
    free(panel->start);
    *panel = (px_panel){0};
}

static bool is_scored(const px_row *row, px_list_id trait) { return !isnan(row->score[trait]); }

/* --- means --- */

/* What one unit adds to one arm. */
typedef struct {
    double sum[PX_TRAITS];
    int32_t n[PX_TRAITS];
    int32_t arm;
} share;

typedef struct {
    share *at;
    int64_t *start; /* [n_units + 1] */
} shares;

static px_err *shares_make(const px_panel *panel, shares *out) {
    int64_t n = 0;
    share *per_arm = calloc((size_t)panel->n_arms + 1, sizeof *per_arm);
    out->at = calloc((size_t)panel->n_rows + 1, sizeof *out->at);
    out->start = calloc((size_t)panel->n_units + 1, sizeof *out->start);
    if (!per_arm || !out->at || !out->start) {
        free(per_arm);
        PX_NO_MEMORY();
    }
    for (uint32_t u = 0; u < panel->n_units; u++) {
        out->start[u] = n;
        memset(per_arm, 0, (size_t)panel->n_arms * sizeof *per_arm);
        for (int64_t i = panel->start[u]; i < panel->start[u + 1]; i++) {
            const px_row *row = &panel->rows[panel->order[i]];
            for (int t = 0; t < PX_TRAITS; t++) {
                if (!is_scored(row, (px_list_id)t)) continue;
                per_arm[row->arm].sum[t] += row->score[t];
                per_arm[row->arm].n[t]++;
            }
        }
        for (int a = 0; a < panel->n_arms; a++) {
            if (!per_arm[a].n[0] && !per_arm[a].n[1] && !per_arm[a].n[2]) continue;
            out->at[n] = per_arm[a];
            out->at[n++].arm = a;
        }
    }
    out->start[panel->n_units] = n;
    free(per_arm);
    return NULL;
}

static void unit_add(const shares *s, uint32_t unit, double *sums, double *counts) {
    for (int64_t i = s->start[unit]; i < s->start[unit + 1]; i++)
        for (int t = 0; t < PX_TRAITS; t++) {
            sums[s->at[i].arm * PX_TRAITS + t] += s->at[i].sum[t];
            counts[s->at[i].arm * PX_TRAITS + t] += s->at[i].n[t];
        }
}

/* The interval of column c from its samples; those in which the arm was not drawn are left out. */
static void interval_take(const double *drawn, int64_t samples, int columns, int c, double *room,
                          px_mean *out) {
    int64_t n = 0;
    for (int64_t b = 0; b < samples; b++)
        if (!isnan(drawn[b * columns + c])) room[n++] = drawn[b * columns + c];
    if (n < 20) return;
    px_f64_sort(room, n);
    out->low = px_quantile(room, n, 0.025);
    out->high = px_quantile(room, n, 0.975);
}

/* 100 million draws are a few seconds; a million units have no need of many samples. */
static int64_t samples_for(int64_t asked, uint32_t n_units) {
    int64_t most = 100000000 / PX_MAX((int64_t)n_units, 1);
    return PX_MIN(asked, PX_MAX(most, 100));
}

px_err *px_panel_means(const px_panel *panel, uint64_t seed, int64_t *samples, px_mean *means) {
    int columns = panel->n_arms * PX_TRAITS;
    shares s = {0};
    double *room = NULL, *drawn = NULL;
    px_err *err = NULL;
    *samples = samples_for(*samples, panel->n_units);
    PX_PASS_TO(done, shares_make(panel, &s));
    room = malloc((2 * (size_t)columns + (size_t)*samples + 1) * sizeof *room);
    drawn = malloc(((size_t)*samples * (size_t)columns + 1) * sizeof *drawn);
    if (!room || !drawn) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    double *sums = room, *counts = room + columns;
    memset(room, 0, 2 * (size_t)columns * sizeof *room);
    for (uint32_t u = 0; u < panel->n_units; u++) unit_add(&s, u, sums, counts);
    for (int c = 0; c < columns; c++)
        means[c] = (px_mean){counts[c] > 0 ? sums[c] / counts[c] : NAN, NAN, NAN};
    px_rng rng = {seed, PX_RNG_TRAITS};
    for (int64_t b = 0; b < *samples; b++) {
        memset(room, 0, 2 * (size_t)columns * sizeof *room);
        for (uint32_t i = 0; i < panel->n_units; i++)
            unit_add(&s, px_rng_below(rng, (uint64_t)b, i, panel->n_units), sums, counts);
        for (int c = 0; c < columns; c++)
            drawn[b * columns + c] = counts[c] > 0 ? sums[c] / counts[c] : NAN;
    }
    for (int c = 0; c < columns; c++)
        interval_take(drawn, *samples, columns, c, room + 2 * columns, &means[c]);
done:
    free(s.at);
    free(s.start);
    free(room);
    free(drawn);
    return err;
}

/* --- effects --- */

typedef struct {
    const px_panel *panel;
    px_list_id trait;
    bool adjusted;
    int n; /* columns: arms but the reference, then log words, then domains but the first */
    double *xx, *xy; /* [n × n], [n] */
    double *inverse, *meat;
    bool dropped[COLUMNS_MAX];
} fit;

static void columns_fill(const fit *f, int64_t i, double *x) {
    const px_panel *p = f->panel;
    const px_row *row = &p->rows[i];
    int at = p->n_arms - 1;
    memset(x, 0, (size_t)f->n * sizeof *x);
    if (row->arm != p->reference) x[row->arm - (row->arm > p->reference)] = 1;
    if (!f->adjusted) return;
    x[at++] = log((double)PX_MAX(row->words, 1u));
    if (f->n > at && p->domain[i] > 0) x[at + (int)p->domain[i] - 1] = 1;
}

/* Calls for every unit: its scored rows' columns and outcome, their means taken out. */
typedef void unit_use(fit *f, const double *x, const double *y, int64_t n, const double *beta);

static px_err *units_each(fit *f, unit_use *use, const double *beta) {
    const px_panel *p = f->panel;
    double *x = NULL, *y = NULL;
    int64_t room = 0;
    for (uint32_t u = 0; u < p->n_units; u++) {
        int64_t n = 0, most = p->start[u + 1] - p->start[u];
        if (most > room) {
            free(x);
            free(y);
            room = most * 2;
            x = malloc((size_t)room * (size_t)f->n * sizeof *x);
            y = malloc((size_t)room * sizeof *y);
            if (!x || !y) {
                free(x);
                free(y);
                PX_NO_MEMORY();
            }
        }
        for (int64_t i = p->start[u]; i < p->start[u + 1]; i++) {
            const px_row *row = &p->rows[p->order[i]];
            if (!is_scored(row, f->trait)) continue;
            columns_fill(f, p->order[i], x + n * f->n);
            y[n++] = row->score[f->trait];
        }
        if (n < 2) continue;
        for (int c = 0; c <= f->n; c++) { /* the last one is y */
            double *at = c < f->n ? x + c : y, mean = 0;
            int step = c < f->n ? f->n : 1;
            for (int64_t i = 0; i < n; i++) mean += at[i * step];
            mean /= (double)n;
            for (int64_t i = 0; i < n; i++) at[i * step] -= mean;
        }
        use(f, x, y, n, beta);
    }
    free(x);
    free(y);
    return NULL;
}

static void moments_add(fit *f, const double *x, const double *y, int64_t n, const double *beta) {
    (void)beta;
    for (int64_t i = 0; i < n; i++, x += f->n)
        for (int a = 0; a < f->n; a++) {
            if (x[a] == 0) continue;
            for (int b = 0; b < f->n; b++) f->xx[a * f->n + b] += x[a] * x[b];
            f->xy[a] += x[a] * y[i];
        }
}

static void meat_add(fit *f, const double *x, const double *y, int64_t n, const double *beta) {
    double s[COLUMNS_MAX] = {0};
    for (int64_t i = 0; i < n; i++, x += f->n) {
        double e = y[i];
        for (int a = 0; a < f->n; a++) e -= x[a] * beta[a];
        for (int a = 0; a < f->n; a++) s[a] += x[a] * e;
    }
    for (int a = 0; a < f->n; a++)
        for (int b = 0; b < f->n; b++) f->meat[a * f->n + b] += s[a] * s[b];
}

/* Inverse of xx by sweeping its diagonal (Goodnight 1979); a column that the others make up is
 * dropped: its pivot is nothing beside what it was. */
static void invert(fit *f) {
    int n = f->n;
    double *m = f->inverse, first[COLUMNS_MAX];
    memcpy(m, f->xx, (size_t)n * (size_t)n * sizeof *m);
    for (int k = 0; k < n; k++) first[k] = m[k * n + k];
    for (int k = 0; k < n; k++) {
        double pivot = m[k * n + k];
        f->dropped[k] = !(pivot > 1e-9 * first[k]) || !(first[k] > 1e-12);
        if (f->dropped[k]) continue;
        for (int j = 0; j < n; j++) m[k * n + j] /= pivot;
        for (int i = 0; i < n; i++) {
            if (i == k) continue;
            double by = m[i * n + k];
            m[i * n + k] = 0;
            for (int j = 0; j < n; j++) m[i * n + j] -= by * m[k * n + j];
            m[i * n + k] = -by / pivot;
        }
        m[k * n + k] = 1 / pivot;
    }
    for (int k = 0; k < n; k++)
        for (int j = 0; f->dropped[k] && j < n; j++) m[k * n + j] = m[j * n + k] = 0;
}

static double clustered_se(const fit *f, int k) {
    double v = 0;
    for (int a = 0; a < f->n; a++)
        for (int b = 0; b < f->n; b++)
            v += f->inverse[k * f->n + a] * f->meat[a * f->n + b] * f->inverse[k * f->n + b];
    double g = f->panel->n_units;
    return g > 1 ? sqrt(v * g / (g - 1)) : NAN;
}

px_err *px_panel_effects(const px_panel *panel, px_list_id trait, bool adjusted,
                         px_effect *effects) {
    fit f = {.panel = panel, .trait = trait, .adjusted = adjusted};
    double beta[COLUMNS_MAX] = {0}, *room = NULL;
    px_err *err = NULL;
    for (int a = 0; a < panel->n_arms; a++) effects[a] = (px_effect){NAN, NAN, NAN, NAN};
    if (panel->reference < 0 || panel->n_arms < 2) return NULL;
    f.n = panel->n_arms - 1 + (adjusted ? 1 : 0);
    if (f.n > COLUMNS_MAX) return NULL;
    if (adjusted && f.n + (int)panel->n_domains - 1 <= COLUMNS_MAX)
        f.n += (int)panel->n_domains - 1;
    size_t n = (size_t)f.n;
    room = calloc(3 * n * n + n, sizeof *room);
    if (!room) PX_NO_MEMORY();
    f.xx = room;
    f.inverse = room + n * n;
    f.meat = room + 2 * n * n;
    f.xy = room + 3 * n * n;
    PX_PASS_TO(done, units_each(&f, moments_add, NULL));
    invert(&f);
    for (int a = 0; a < f.n; a++)
        for (int b = 0; b < f.n; b++) beta[a] += f.inverse[a * f.n + b] * f.xy[b];
    PX_PASS_TO(done, units_each(&f, meat_add, beta));
    for (int a = 0; a < panel->n_arms; a++) {
        int k = a - (a > panel->reference);
        if (a == panel->reference || f.dropped[k]) continue;
        double se = clustered_se(&f, k);
        effects[a] = (px_effect){beta[k], se, beta[k] - 1.96 * se, beta[k] + 1.96 * se};
    }
done:
    free(room);
    return err;
}
