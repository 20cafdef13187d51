/* lmm.c - linear mixed models by restricted maximum likelihood, profiled as in Bates, Maechler,
 * Bolker & Walker 2015 (J. Stat. Softw. 67(1), section 3.4). With W = [X y], one or two factors of
 * relative standard deviations t, T their diagonal and M = I + T Z'Z T,
 *   W'V^-1 W = W'W - (T Z'W)' M^-1 (T Z'W),
 *   deviance = log|M| + log|X'V^-1 X| + (n - p)(1 + log(2 pi r^2 / (n - p))),
 * r^2 the last pivot of W'V^-1 W. The levels of the larger factor are eliminated first: their
 * block of M is diagonal. What is left for the smaller factor is diagonal too where the larger is
 * nested in it, else dense. So crossed and nested designs need not be told apart by the caller. */
#include <gsl/gsl_multimin.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { DENSE_MAX = 2000 };

typedef struct {
    int32_t big, small; /* levels of the two factors */
    int64_t count;      /* rows that have both */
} cell;

typedef struct {
    int64_t n;
    int p, w; /* columns of X, of W */
    int n_factors;
    int32_t q[2];    /* levels: 0 the larger factor, 1 the smaller */
    double *n_of[2]; /* rows of a level */
    double *s[2];    /* Z'W [q, w] */
    double *gram;    /* W'W [w, w] */
    cell *cells;     /* by big level */
    int64_t n_cells;
    bool nested;
    double *a, *b; /* rest for the small factor: [q1] or [q1, q1]; [q1, w] */
    double *quad;  /* W'V^-1 W, then its Cholesky factor [w, w] */
} lmm_room;

static void room_free(lmm_room *r) {
    for (int f = 0; f < 2; f++) {
        free(r->n_of[f]);
        free(r->s[f]);
    }
    free(r->gram);
    free(r->cells);
    free(r->a);
    free(r->b);
    free(r->quad);
}

static int by_cell(const void *x, const void *y) {
    const cell *a = x, *b = y;
    if (a->big != b->big) return a->big < b->big ? -1 : 1;
    return (a->small > b->small) - (a->small < b->small);
}

/* Rows that share both levels, once each. */
static px_err *cells_make(lmm_room *r, const int32_t *big, const int32_t *small) {
    r->cells = calloc((size_t)r->n + 1, sizeof *r->cells);
    if (!r->cells) PX_NO_MEMORY();
    for (int64_t i = 0; i < r->n; i++) r->cells[i] = (cell){big[i], small[i], 1};
    qsort(r->cells, (size_t)r->n, sizeof *r->cells, by_cell);
    int64_t m = 0;
    for (int64_t i = 0; i < r->n; i++) {
        if (m > 0 && !by_cell(&r->cells[m - 1], &r->cells[i]))
            r->cells[m - 1].count++;
        else
            r->cells[m++] = r->cells[i];
    }
    r->n_cells = m;
    r->nested = true;
    for (int64_t i = 1; i < m; i++) r->nested &= r->cells[i].big != r->cells[i - 1].big;
    return NULL;
}

static px_err *room_make(const px_lmm *model, double mean, lmm_room *r) {
    const int w = model->p + 1;
    r->n = model->n;
    r->p = model->p;
    r->w = w;
    r->n_factors = model->n_factors;
    bool swapped = model->n_factors == 2 && model->n_levels[1] > model->n_levels[0];
    const int32_t *level[2] = {model->level[swapped], model->level[!swapped]};
    r->gram = calloc((size_t)w * (size_t)w, sizeof *r->gram);
    r->quad = calloc((size_t)w * (size_t)w, sizeof *r->quad);
    double *row = calloc((size_t)w, sizeof *row);
    for (int f = 0; f < r->n_factors; f++) {
        r->q[f] = model->n_levels[swapped ? !f : f];
        r->n_of[f] = calloc((size_t)r->q[f] + 1, sizeof *r->n_of[f]);
        r->s[f] = calloc((size_t)r->q[f] * (size_t)w + 1, sizeof *r->s[f]);
        if (!r->n_of[f] || !r->s[f]) goto no_memory;
    }
    if (!r->gram || !r->quad || !row) goto no_memory;
    for (int64_t i = 0; i < r->n; i++) {
        memcpy(row, model->x + i * model->p, (size_t)model->p * sizeof *row);
        row[w - 1] = model->y[i] - mean;
        for (int j = 0; j < w; j++)
            for (int k = 0; row[j] != 0 && k <= j; k++) r->gram[j * w + k] += row[j] * row[k];
        for (int f = 0; f < r->n_factors; f++) {
            double *s = r->s[f] + (int64_t)level[f][i] * w;
            r->n_of[f][level[f][i]] += 1;
            for (int j = 0; j < w; j++) s[j] += row[j];
        }
    }
    free(row);
    if (r->n_factors < 2) return NULL;
    PX_PASS(cells_make(r, level[0], level[1]));
    size_t q1 = (size_t)r->q[1];
    r->b = calloc(q1 * (size_t)w + 1, sizeof *r->b);
    if (r->nested || r->q[1] <= DENSE_MAX)
        r->a = calloc((r->nested ? q1 : q1 * q1) + 1, sizeof *r->a);
    if (!r->b || (!r->a && (r->nested || r->q[1] <= DENSE_MAX))) PX_NO_MEMORY();
    return NULL;
no_memory:
    free(row);
    PX_NO_MEMORY();
}

/* quad -= b b' / d for a row b of W's columns. */
static void quad_less(lmm_room *r, const double *b, double d) {
    for (int j = 0; j < r->w; j++)
        for (int k = 0; b[j] != 0 && k <= j; k++) r->quad[j * r->w + k] -= b[j] * b[k] / d;
}

/* What the small factor is left with when the big one is gone: a, b. */
static void eliminate(lmm_room *r, double t0, double t1) {
    const int w = r->w;
    const size_t q1 = (size_t)r->q[1];
    memset(r->a, 0, (r->nested ? q1 : q1 * q1) * sizeof *r->a);
    for (size_t i = 0; i < q1; i++) {
        r->a[r->nested ? i : i * q1 + i] = 1 + t1 * t1 * r->n_of[1][i];
        for (int j = 0; j < w; j++)
            r->b[i * (size_t)w + (size_t)j] = t1 * r->s[1][i * (size_t)w + (size_t)j];
    }
    for (int64_t c = 0; c < r->n_cells; c++) {
        const cell *x = &r->cells[c];
        double d = 1 + t0 * t0 * r->n_of[0][x->big], share = t0 * t1 * (double)x->count / d;
        const double *s = r->s[0] + (int64_t)x->big * w;
        double *b = r->b + (int64_t)x->small * w;
        for (int j = 0; j < w; j++) b[j] -= share * t0 * s[j];
        if (r->nested) {
            r->a[x->small] -= share * t0 * t1 * (double)x->count;
            continue;
        }
        int64_t first = c;
        while (first > 0 && r->cells[first - 1].big == x->big) first--;
        for (int64_t e = first; e <= c; e++) /* cells of a level ascend: the lower triangle */
            r->a[(size_t)x->small * q1 + (size_t)r->cells[e].small] -=
                share * t0 * t1 * (double)r->cells[e].count;
    }
}

/* Forward substitution of b by the dense factor, W's columns at once. */
static void dense_forward(lmm_room *r) {
    const size_t q1 = (size_t)r->q[1], w = (size_t)r->w;
    for (size_t i = 0; i < q1; i++) {
        double *b = r->b + i * w;
        for (size_t k = 0; k < i; k++) {
            double l = r->a[i * q1 + k];
            for (size_t j = 0; l != 0 && j < w; j++) b[j] -= l * r->b[k * w + j];
        }
        for (size_t j = 0; j < w; j++) b[j] /= r->a[i * q1 + i];
    }
}

/* The deviance; quad is then the Cholesky factor of W'V^-1 W. NaN: not positive definite. */
static double deviance(lmm_room *r, const double t[2]) {
    const int w = r->w;
    double log_m = 0;
    double room[PX_COLUMNS_MAX];
    memcpy(r->quad, r->gram, (size_t)w * (size_t)w * sizeof *r->quad);
    for (int32_t i = 0; r->n_factors > 0 && i < r->q[0]; i++) {
        double d = 1 + t[0] * t[0] * r->n_of[0][i];
        for (int j = 0; j < w; j++) room[j] = t[0] * r->s[0][(int64_t)i * w + j];
        log_m += log(d);
        quad_less(r, room, d);
    }
    if (r->n_factors == 2) {
        const size_t q1 = (size_t)r->q[1];
        eliminate(r, t[0], t[1]);
        if (!r->nested && !px_cholesky(r->a, r->q[1], r->q[1])) return NAN;
        if (!r->nested) dense_forward(r);
        for (size_t i = 0; i < q1; i++) {
            double d = r->nested ? r->a[i] : 1;
            log_m += r->nested ? log(d) : 2 * log(r->a[i * q1 + i]);
            quad_less(r, r->b + i * (size_t)w, d);
        }
    }
    if (!px_cholesky(r->quad, w, w)) return NAN;
    double log_x = 0, r2 = r->quad[w * w - 1] * r->quad[w * w - 1];
    for (int j = 0; j < w - 1; j++) log_x += 2 * log(r->quad[j * w + j]);
    const double free_rows = (double)(r->n - r->p);
    return log_m + log_x + free_rows * (1 + log(6.283185307179586 * r2 / free_rows));
}

/* --- the minimum over t --- */

static double at_point(const gsl_vector *x, void *context) {
    lmm_room *r = context;
    double t[2] = {0, 0};
    for (size_t i = 0; i < x->size; i++) t[i] = fabs(gsl_vector_get(x, i)); /* even in t */
    double d = deviance(r, t);
    return isfinite(d) ? d : 1e300;
}

static px_err *simplex(lmm_room *r, double t[2]) {
    const size_t n = (size_t)r->n_factors;
    gsl_vector *x = gsl_vector_alloc(n), *step = gsl_vector_alloc(n);
    gsl_multimin_fminimizer *s =
        gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, n);
    px_err *err = NULL;
    if (!x || !step || !s) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    gsl_multimin_function f = {at_point, n, r};
    for (size_t i = 0; i < n; i++) gsl_vector_set(x, i, t[i]);
    gsl_vector_set_all(step, 0.3);
    gsl_multimin_fminimizer_set(s, &f, x, step);
    for (int it = 0; it < 400; it++)
        if (gsl_multimin_fminimizer_iterate(s) || gsl_multimin_fminimizer_size(s) < 1e-6) break;
    for (size_t i = 0; i < n; i++) t[i] = fabs(gsl_vector_get(s->x, i));
done:
    if (s) gsl_multimin_fminimizer_free(s);
    gsl_vector_free(step);
    gsl_vector_free(x);
    return err;
}

/* One Newton step by central differences over the t that are not 0; false: no better. */
static bool polish(lmm_room *r, double t[2], double *best) {
    const double h = 3e-4;
    double g[2] = {0}, hess[2][2] = {{0}}, next[2] = {t[0], t[1]};
    int on[2], m = 0;
    for (int i = 0; i < PX_MIN(r->n_factors, 2); i++)
        if (t[i] > 2e-3) on[m++] = i;
    for (int a = 0; a < m; a++)
        for (int b = 0; b <= a; b++) {
            double f[4];
            for (int k = 0; k < 4; k++) {
                double x[2] = {t[0], t[1]};
                double up = k & 1 ? h : -h, right = k & 2 ? h : -h;
                x[on[a]] += up;
                if (b != a) x[on[b]] += right;
                f[k] = deviance(r, x);
            }
            if (a == b) {
                g[a] = (f[1] - f[0]) / (2 * h);
                hess[a][a] = (f[1] - 2 * *best + f[0]) / (h * h);
            } else {
                hess[a][b] = hess[b][a] = (f[3] - f[2] - f[1] + f[0]) / (4 * h * h);
            }
        }
    double det = m == 2 ? hess[0][0] * hess[1][1] - hess[0][1] * hess[1][0] : hess[0][0];
    if (m == 0 || !(det > 0) || !(hess[0][0] > 0)) return false;
    double step[2] = {g[0] / hess[0][0], 0};
    if (m == 2) {
        step[0] = (hess[1][1] * g[0] - hess[0][1] * g[1]) / det;
        step[1] = (hess[0][0] * g[1] - hess[1][0] * g[0]) / det;
    }
    for (int a = 0; a < m; a++) next[on[a]] = t[on[a]] - step[a];
    if (!(next[0] >= 0) || !(next[1] >= 0)) return false;
    double d = deviance(r, next);
    if (!(d <= *best + 1e-9 * fabs(*best))) return false;
    memcpy(t, next, sizeof next);
    *best = d;
    return true;
}

static px_err *minimise(lmm_room *r, double t[2], double *best) {
    if (r->n_factors > 0) {
        t[0] = t[1] = 0.5;
        PX_PASS(simplex(r, t));
    }
    *best = deviance(r, t);
    for (int i = 0; i < PX_MIN(r->n_factors, 2); i++) { /* on the boundary? */
        double zero[2] = {i == 0 ? 0 : t[0], i == 1 ? 0 : t[1]};
        double d = t[i] < 0.05 ? deviance(r, zero) : INFINITY;
        if (!(d <= *best + 1e-7)) continue;
        t[i] = 0;
        *best = d;
    }
    for (int it = 0; it < 4; it++)
        if (!polish(r, t, best)) break;
    *best = deviance(r, t); /* quad is that of t now */
    return NULL;
}

/* From the factor of W'V^-1 W: [L 0; l r] -> beta = L^-T l, cov = s^2 (L L')^-1. */
static px_err *solve(const lmm_room *r, double mean, px_lmm_fit *out) {
    const int p = r->p, w = r->w;
    const double last = r->quad[w * w - 1], s2 = last * last / (double)(r->n - p);
    double *inverse = calloc((size_t)p * (size_t)p + 1, sizeof *inverse);
    if (!inverse) PX_NO_MEMORY();
    for (int i = 0; i < p; i++) out->beta[i] = r->quad[(w - 1) * w + i];
    for (int i = p - 1; i >= 0; i--) {
        for (int k = i + 1; k < p; k++) out->beta[i] -= r->quad[k * w + i] * out->beta[k];
        out->beta[i] /= r->quad[i * w + i];
    }
    for (int j = 0; j < p; j++) {
        double *column = inverse + (size_t)j * (size_t)p;
        column[j] = 1;
        px_cholesky_solve(r->quad, p, w, column);
    }
    for (int i = 0; i < p * p; i++) out->cov[i] = s2 * inverse[i];
    free(inverse);
    out->beta[0] += mean;
    out->sd_residual = sqrt(s2);
    return NULL;
}

px_err *px_lmm_reml(const px_lmm *model, px_lmm_fit *out) {
    lmm_room r = {0};
    double t[2] = {0, 0}, mean = 0;
    out->ok = out->singular = false;
    out->why = "fewer rows than terms";
    if (model->n <= model->p) return NULL;
    if (model->p > PX_COLUMNS_MAX - 1) {
        out->why = "too many terms";
        return NULL;
    }
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < model->n; i++) {
        mean += model->y[i] / (double)model->n;
        low = fmin(low, model->y[i]);
        high = fmax(high, model->y[i]);
    }
    out->why = "the outcome does not vary";
    if (!(high - low > 1e-12 * fmax(fabs(high), fabs(low))))
        return NULL; /* rounding is no spread */
    px_err *err = room_make(model, mean, &r);
    if (!err && r.n_factors == 2 && !r.a) {
        out->why = "crossed factors with too many levels each";
        goto done;
    }
    if (!err) err = minimise(&r, t, &out->deviance);
    if (err) goto done;
    out->why = "the outcome does not vary";
    if (!isfinite(out->deviance) || !(r.quad[r.w * r.w - 1] > 1e-12 * sqrt(r.gram[r.w * r.w - 1])))
        goto done;
    err = solve(&r, mean, out);
    bool swapped = model->n_factors == 2 && model->n_levels[1] > model->n_levels[0];
    for (int f = 0; f < PX_MIN(model->n_factors, 2); f++) {
        out->sd[f] = t[swapped ? !f : f] * out->sd_residual;
        out->singular |= out->sd[f] == 0;
    }
    out->ok = !err;
done:
    room_free(&r);
    return err;
}
