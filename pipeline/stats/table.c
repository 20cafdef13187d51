/* table.c - rows of stats.tsv, and the adjustment for many tests. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

void px_table_free(px_table *table) {
    free(table->at);
    *table = (px_table){0};
}

px_row *px_table_add(px_table *table, const px_about *about, const char *term) {
    if (table->n == table->room) {
        int64_t room = table->room ? table->room * 2 : 64;
        px_row *at = realloc(table->at, (size_t)room * sizeof *at);
        if (!at) {
            table->failed = true;
            return NULL;
        }
        table->at = at;
        table->room = room;
    }
    px_row *row = &table->at[table->n++];
    memset(row, 0, sizeof *row);
    row->family = (int32_t)about->family;
    row->source = about->source;
    snprintf(row->outcome, sizeof row->outcome, "%s", about->outcome);
    snprintf(row->model, sizeof row->model, "%s", about->model);
    snprintf(row->term, sizeof row->term, "%s", term);
    if (about->note) snprintf(row->note, sizeof row->note, "%s", about->note);
    row->estimate = row->se = row->low = row->high = row->p = row->p_adjusted = NAN;
    row->n_trials = about->n_trials;
    row->n_people = about->n_people;
    row->boot = -1;
    return row;
}

px_row *px_table_wald(px_table *table, const px_about *about, const char *term, double estimate,
                      double se, double null) {
    px_row *row = px_table_add(table, about, term);
    if (!row) return NULL;
    row->estimate = estimate;
    if (!(se > 0) || !isfinite(se) || !isfinite(estimate)) return row;
    row->se = se;
    row->low = estimate - 1.959963984540054 * se;
    row->high = estimate + 1.959963984540054 * se;
    row->p = px_normal_p((estimate - null) / se);
    return row;
}

void px_row_note(px_row *row, const char *format, ...) {
    if (!row) return;
    size_t at = strlen(row->note);
    if (at > 0 && at + 3 < sizeof row->note) {
        memcpy(row->note + at, "; ", 3);
        at += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(row->note + at, sizeof row->note - at, format, args);
    va_end(args);
}

void px_row_contrast(px_row *row, const char *arm, const char *against) {
    if (row) snprintf(row->contrast, sizeof row->contrast, "%.120s-%.120s", arm, against);
}

typedef struct {
    double p;
    int at;
} ranked_p;

static int by_p(const void *a, const void *b) {
    double x = ((const ranked_p *)a)->p, y = ((const ranked_p *)b)->p;
    return (x > y) - (x < y);
}

void px_benjamini_hochberg(const double *p, int n, double *adjusted) {
    int m = 0;
    ranked_p *list = malloc((size_t)PX_MAX(n, 1) * sizeof *list);
    for (int i = 0; i < n; i++) {
        adjusted[i] = NAN;
        if (list && !isnan(p[i])) list[m++] = (ranked_p){p[i], i};
    }
    if (m) qsort(list, (size_t)m, sizeof *list, by_p);
    double least = 1;
    for (int k = m - 1; k >= 0; k--) {
        least = fmin(least, list[k].p * m / (k + 1));
        adjusted[list[k].at] = least;
    }
    free(list);
}

px_err *px_table_adjust(px_table *table) {
    size_t room = (size_t)PX_MAX(table->n, 1);
    double *p = malloc(room * sizeof *p), *adjusted = malloc(room * sizeof *adjusted);
    if (!p || !adjusted || table->failed) {
        free(p);
        free(adjusted);
        PX_NO_MEMORY();
    }
    for (int f = 0; f < PX_FAMILIES; f++) {
        for (int64_t i = 0; i < table->n; i++)
            p[i] = table->at[i].family == f ? table->at[i].p : NAN;
        px_benjamini_hochberg(p, (int)table->n, adjusted);
        for (int64_t i = 0; i < table->n; i++)
            if (table->at[i].family == f) table->at[i].p_adjusted = adjusted[i];
    }
    free(p);
    free(adjusted);
    return NULL;
}
