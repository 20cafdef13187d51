/* rank.c - choices among alternatives: the exploded (rank-ordered) logit. With arms alone it is
 * Plackett-Luce (Plackett 1975; Luce 1959), with pairs Bradley-Terry (1952), with one stage
 * McFadden's conditional logit (1974); with covariates Beggs, Cardell & Hausman 1981.
 *   log L = sum over choices, stages k of  w (V_k - log sum_{m >= k} e^V_m),  V = x beta.
 * Newton with halved steps: log L is concave. Errors: H^-1 (sum_g s_g s_g') H^-1 G / (G - 1), s_g
 * the score of a person (Huber 1967; Liang & Zeger 1986). Where the maximum lies at infinity (an
 * arm always or never best; Ford 1957) a ridge: log L - 1e-3 sum of squares. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

#define RIDGE 1e-3

void px_choices_free(px_choices *choices) {
    free(choices->choices);
    free(choices->x);
    *choices = (px_choices){0};
}

/* The columns in which the alternatives of a choice are not all 0. */
static int columns_of(const px_choices *d, const px_choice *c, int *columns) {
    const double *x = d->x + (size_t)c->first * (size_t)d->p;
    int n = 0;
    for (int j = 0; j < d->p; j++) {
        bool any = false;
        for (int i = 0; i < c->n; i++) any |= x[i * d->p + j] != 0;
        if (any) columns[n++] = j;
    }
    return n;
}

/* One choice: log-likelihood; adds to gradient [p] and, where given, to the Hessian [p,p] of -log
 * L, lower triangle. */
static double choice_add(const px_choices *d, const px_choice *c, const double *beta, double *g,
                         double *h) {
    const int p = d->p, n = c->n;
    const double *x = d->x + (size_t)c->first * (size_t)p;
    double v[PX_SLOTS_MAX] = {0}, e[PX_SLOTS_MAX] = {0}, log_l = 0, mean[PX_COLUMNS_MAX];
    int columns[PX_COLUMNS_MAX];
    const int m = columns_of(d, c, columns);
    for (int i = 0; i < n; i++) {
        v[i] = 0;
        for (int j = 0; j < m; j++) v[i] += x[i * p + columns[j]] * beta[columns[j]];
    }
    for (int s = 0; s < c->stages; s++) {
        double top = v[s], sum = 0;
        for (int i = s; i < n; i++) top = fmax(top, v[i]);
        for (int i = s; i < n; i++) sum += e[i] = exp(v[i] - top);
        log_l += v[s] - top - log(sum);
        memset(mean, 0, (size_t)m * sizeof *mean);
        for (int i = s; i < n; i++)
            for (int j = 0; j < m; j++) mean[j] += e[i] / sum * x[i * p + columns[j]];
        for (int j = 0; j < m; j++) g[columns[j]] += c->weight * (x[s * p + columns[j]] - mean[j]);
        for (int i = s; h && i < n; i++)
            for (int j = 0; j < m; j++) {
                double a = c->weight * (e[i] / sum) * (x[i * p + columns[j]] - mean[j]);
                double *row = h + columns[j] * p;
                for (int k = 0; k <= j; k++)
                    row[columns[k]] += a * (x[i * p + columns[k]] - mean[k]);
            }
    }
    return c->weight * log_l;
}

/* The objective; g and h are overwritten, h whole. */
static double objective(const px_choices *d, const double *penalty, const double *beta, double *g,
                        double *h) {
    const int p = d->p;
    double sum = 0;
    memset(g, 0, (size_t)p * sizeof *g);
    if (h) memset(h, 0, (size_t)p * (size_t)p * sizeof *h);
    for (int64_t c = 0; c < d->n_choices; c++)
        if (d->choices[c].weight > 0) sum += choice_add(d, &d->choices[c], beta, g, h);
    for (int j = 0; h && j < p; j++)
        for (int k = 0; k < j; k++) h[k * p + j] = h[j * p + k];
    for (int j = 0; penalty && j < p; j++)
        for (int k = 0; k < p; k++) {
            double a = penalty[j * p + k];
            sum -= 0.5 * a * beta[j] * beta[k];
            g[j] -= a * beta[k];
            if (h) h[j * p + k] += a;
        }
    return sum;
}

typedef struct {
    double *g, *h, *l, *step, *trial; /* p, p p, p p, p, p */
    int kept[PX_COLUMNS_MAX], m;
} newton_room;

/* step = H^-1 g over the kept columns, 0 elsewhere. */
static bool newton_step(newton_room *r, int p) {
    const int m = r->m;
    double b[PX_COLUMNS_MAX];
    for (int i = 0; i < m; i++) {
        b[i] = r->g[r->kept[i]];
        for (int k = 0; k < m; k++) r->l[i * m + k] = r->h[r->kept[i] * p + r->kept[k]];
    }
    if (!px_cholesky(r->l, m, m)) return false;
    px_cholesky_solve(r->l, m, m, b);
    memset(r->step, 0, (size_t)p * sizeof *r->step);
    for (int i = 0; i < m; i++) r->step[r->kept[i]] = b[i];
    return true;
}

/* Without separation six to ten steps do; with it every step adds about 1 for ever. */
static bool climb(const px_choices *d, const px_choice_how *how, newton_room *r,
                  px_choice_fit *out) {
    const int p = d->p, most = how->penalty ? 200 : 30;
    const double enough = how->tolerance > 0 ? how->tolerance : 1e-11;
    double value = objective(d, how->penalty, out->beta, r->g, r->h);
    for (int it = 0; it < most; it++) {
        if (!newton_step(r, p)) return false;
        double size = 0, scale = 1, next = 0;
        for (int j = 0; j < p; j++) size = fmax(size, fabs(r->step[j]) / (1 + fabs(out->beta[j])));
        for (int half = 0; half < 40; half++) {
            scale = ldexp(1, -half);
            for (int j = 0; j < p; j++) r->trial[j] = out->beta[j] + scale * r->step[j];
            next = objective(d, how->penalty, r->trial, r->g, r->h);
            if (next >= value - 1e-13 * fabs(value)) break;
        }
        memcpy(out->beta, r->trial, (size_t)p * sizeof *out->beta);
        value = next;
        out->log_likelihood = value;
        if (size * scale < enough) return true;
        if (size < 1e-7 && scale < 1e-3) return true; /* rounding alone is left */
    }
    return false;
}

/* The sandwich; meat's factor G / (G - 1). */
static px_err *errors(const px_choices *d, newton_room *r, const double *beta, const int p,
                      px_choice_fit *out) {
    const size_t size = (size_t)p;
    const int m = r->m;
    double *scores = calloc((size_t)PX_MAX(d->n_clusters, 1) * size, sizeof *scores);
    double *inverse = calloc(size * size * 2, sizeof *inverse), *meat = calloc(size * size, 8);
    int groups = 0;
    px_err *err = NULL;
    for (size_t i = 0; i < size * size; i++) out->cov[i] = NAN;
    if (!scores || !inverse || !meat) {
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
        goto done;
    }
    for (int64_t c = 0; c < d->n_choices; c++)
        choice_add(d, &d->choices[c], beta, scores + (size_t)d->choices[c].cluster * size, NULL);
    for (int32_t g = 0; g < d->n_clusters; g++) {
        const double *s = scores + (size_t)g * size;
        groups++;
        for (int i = 0; i < m; i++)
            for (int k = 0; k < m; k++) meat[i * m + k] += s[r->kept[i]] * s[r->kept[k]];
    }
    for (int i = 0; i < m; i++)
        for (int k = 0; k < m; k++) inverse[i * m + k] = r->h[r->kept[i] * p + r->kept[k]];
    if (groups < 2 || !px_invert(inverse, m, inverse + size * size)) goto done;
    for (int i = 0; i < m; i++)
        for (int k = 0; k < m; k++) {
            double sum = 0;
            for (int a = 0; a < m; a++)
                for (int b = 0; b < m; b++)
                    sum += inverse[i * m + a] * meat[a * m + b] * inverse[b * m + k];
            out->cov[r->kept[i] * p + r->kept[k]] = sum * groups / (groups - 1.0);
        }
done:
    free(scores);
    free(inverse);
    free(meat);
    return err;
}

px_err *px_choice_newton(const px_choices *data, const px_choice_how *how, px_choice_fit *out) {
    const int p = data->p;
    const size_t size = (size_t)p;
    newton_room r = {0};
    px_err *err = NULL;
    double *room = calloc(3 * size + 2 * size * size + 1, sizeof *room);
    if (!room) PX_NO_MEMORY();
    r.g = room;
    r.step = r.g + p;
    r.trial = r.step + p;
    r.h = r.trial + p;
    r.l = r.h + size * size;
    out->ok = false;
    out->why = "no finite maximum";
    memset(out->beta, 0, size * sizeof *out->beta);
    if (how->keep)
        memcpy(out->keep, how->keep, size * sizeof *out->keep);
    else {
        objective(data, NULL, out->beta, r.g, r.h);
        px_independent(r.h, p, out->keep);
    }
    for (int j = 0; j < p; j++)
        if (out->keep[j]) r.kept[r.m++] = j;
    if (how->start) memcpy(out->beta, how->start, size * sizeof *out->beta);
    if (r.m == 0)
        out->why = "nothing to compare";
    else
        out->ok = climb(data, how, &r, out);
    if (out->ok && how->errors) err = errors(data, &r, out->beta, p, out);
    free(room);
    return err;
}

/* choix's penalty: 1e-3 sum theta^2 over all arms, theta free of location, so about their mean;
 * other columns about 0. */
static void ridge_fill(double *penalty, int p, int arm_columns, const bool *keep) {
    int n = 1; /* arms that are there; the reference has no column */
    for (int j = 0; j < arm_columns; j++) n += keep[j];
    for (int j = 0; j < p; j++)
        for (int k = 0; k < p; k++) {
            bool arms = j < arm_columns && k < arm_columns;
            double a = (j == k ? 1.0 : 0.0) - (arms ? 1.0 / n : 0.0);
            penalty[j * p + k] = keep[j] && keep[k] ? 2 * RIDGE * a : 0;
        }
}

px_err *px_choice_maximum(const px_choices *data, int arm_columns, px_choice_fit *out) {
    px_choice_how how = {.errors = true};
    out->ridge = false;
    PX_PASS(px_choice_newton(data, &how, out));
    if (out->ok || !strcmp(out->why, "nothing to compare")) return NULL;
    double *penalty = calloc((size_t)data->p * (size_t)data->p, sizeof *penalty);
    if (!penalty) PX_NO_MEMORY();
    ridge_fill(penalty, data->p, arm_columns, out->keep);
    how.penalty = penalty;
    px_err *err = px_choice_newton(data, &how, out);
    out->ridge = true;
    free(penalty);
    return err;
}
