/* tobit.c - y cut off at both ends (Tobin 1958), y* = x beta + sigma e, e normal. Newton in Olsen's
 * parameters delta = beta / sigma, theta = 1 / sigma (Olsen 1978), in which log L is concave:
 *   between the ends   log theta + log phi(theta y - x delta)
 *   at the lower end   log Phi(theta low - x delta)
 *   at the upper end   log Phi(x delta - theta high)
 * Errors clustered as in rank.c, carried over to beta and sigma by the delta method. */
#include <gsl/gsl_sf_erf.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

/* One row: log-likelihood; v [p + 1] direction, first and second derivative along it, and the term
 * of log theta. */
typedef struct {
    double log_l, slope, curve;
    bool inside;
} tobit_row;

static tobit_row row_at(const px_tobit *m, int64_t i, const double *q, double *v) {
    const int p = m->p;
    const double *x = m->x + i * p, y = m->y[i], theta = q[p];
    double xd = 0;
    for (int j = 0; j < p; j++) xd += x[j] * q[j];
    bool low = y <= m->low, high = y >= m->high;
    double sign = high && !low ? 1 : -1, end = low ? m->low : high ? m->high : y;
    for (int j = 0; j < p; j++) v[j] = sign * x[j];
    v[p] = -sign * end;
    double z = sign * (xd - theta * end);
    if (!low && !high)
        return (tobit_row){log(theta) - 0.5 * z * z - 0.9189385332046727, -z, 1, true};
    double hazard = gsl_sf_hazard(-z); /* phi / Phi */
    return (tobit_row){gsl_sf_log_erfc(-z / 1.4142135623730951) - 0.6931471805599453, hazard,
                       hazard * (hazard + z), false};
}

/* log L; g [k] and h [k,k] of -log L's second derivatives, lower triangle, k = p + 1. */
static double objective(const px_tobit *m, const double *q, double *g, double *h, double *v) {
    const int k = m->p + 1;
    double sum = 0;
    memset(g, 0, (size_t)k * sizeof *g);
    memset(h, 0, (size_t)k * (size_t)k * sizeof *h);
    for (int64_t i = 0; i < m->n; i++) {
        tobit_row r = row_at(m, i, q, v);
        sum += r.log_l;
        for (int a = 0; a < k; a++) {
            if (v[a] == 0) continue;
            g[a] += r.slope * v[a];
            for (int b = 0; b <= a; b++) h[a * k + b] += r.curve * v[a] * v[b];
        }
        if (r.inside) {
            g[k - 1] += 1 / q[k - 1];
            h[k * k - 1] += 1 / (q[k - 1] * q[k - 1]);
        }
    }
    return sum;
}

static bool climb(const px_tobit *m, double *q, double *g, double *h, double *l, double *v,
                  double *log_l) {
    const int k = m->p + 1;
    double step[PX_COLUMNS_MAX], next[PX_COLUMNS_MAX];
    *log_l = objective(m, q, g, h, v);
    for (int it = 0; it < 100; it++) {
        double size = 0, scale = 1, value = 0;
        memcpy(l, h, (size_t)k * (size_t)k * sizeof *l);
        memcpy(step, g, (size_t)k * sizeof *step);
        if (!px_cholesky(l, k, k)) return false;
        px_cholesky_solve(l, k, k, step);
        for (int j = 0; j < k; j++) size = fmax(size, fabs(step[j]) / (1 + fabs(q[j])));
        for (int half = 0; half < 50; half++) {
            scale = ldexp(1, -half);
            for (int j = 0; j < k; j++) next[j] = q[j] + scale * step[j];
            if (!(next[k - 1] > 0)) continue;
            value = objective(m, next, g, h, v);
            if (value >= *log_l - 1e-12 * fabs(*log_l)) break;
        }
        if (!isfinite(value)) return false;
        memcpy(q, next, (size_t)k * sizeof *q);
        *log_l = value;
        if (size * scale < 1e-10) return true;
    }
    return false;
}

/* Jacobian [k,k] of (beta, sigma) by (delta, theta). */
static void jacobian(const double *q, int k, double *j) {
    const double theta = q[k - 1];
    memset(j, 0, (size_t)k * (size_t)k * sizeof *j);
    for (int a = 0; a < k - 1; a++) {
        j[a * k + a] = 1 / theta;
        j[a * k + k - 1] = -q[a] / (theta * theta);
    }
    j[k * k - 1] = -1 / (theta * theta);
}

/* out = a m a' for k x k. */
static void sandwich(const double *a, const double *m, int k, double *room, double *out) {
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            room[i * k + j] = 0;
            for (int e = 0; e < k; e++) room[i * k + j] += a[i * k + e] * m[e * k + j];
        }
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            out[i * k + j] = 0;
            for (int e = 0; e < k; e++) out[i * k + j] += room[i * k + e] * a[j * k + e];
        }
}

static px_err *errors(const px_tobit *m, const double *q, double *h, double *room, double *v,
                      px_tobit_fit *out) {
    const int k = m->p + 1;
    const size_t size = (size_t)k * (size_t)k;
    double *scores = calloc((size_t)m->n_clusters * (size_t)k + 1, sizeof *scores);
    double *meat = calloc(3 * size, sizeof *meat);
    if (!scores || !meat) {
        free(scores);
        free(meat);
        PX_NO_MEMORY();
    }
    double *jac = meat + size, *bread = jac + size;
    for (int64_t i = 0; i < m->n; i++) {
        tobit_row r = row_at(m, i, q, v);
        double *s = scores + (size_t)m->cluster[i] * (size_t)k;
        for (int a = 0; a < k; a++) s[a] += r.slope * v[a];
        if (r.inside) s[k - 1] += 1 / q[k - 1];
    }
    for (int32_t c = 0; c < m->n_clusters; c++)
        for (int a = 0; a < k; a++)
            for (int b = 0; b < k; b++)
                meat[a * k + b] += scores[(size_t)c * (size_t)k + (size_t)a] *
                                   scores[(size_t)c * (size_t)k + (size_t)b];
    for (int a = 0; a < k; a++)
        for (int b = 0; b < a; b++) h[b * k + a] = h[a * k + b];
    memcpy(bread, h, size * sizeof *h);
    jacobian(q, k, jac);
    out->ok = px_invert(bread, k, room);
    if (out->ok) {
        double factor = m->n_clusters > 1 ? m->n_clusters / (m->n_clusters - 1.0) : NAN;
        sandwich(jac, bread, k, room, out->cov_plain);
        sandwich(bread, meat, k, room, h);
        sandwich(jac, h, k, room, out->cov);
        for (size_t i = 0; i < size; i++) out->cov[i] *= factor;
    }
    free(scores);
    free(meat);
    return NULL;
}

px_err *px_tobit_fit_ml(const px_tobit *m, px_tobit_fit *out) {
    const int k = m->p + 1;
    double mean = 0, square = 0, q[PX_COLUMNS_MAX] = {0};
    int64_t inside = 0;
    out->ok = false;
    for (int64_t i = 0; i < m->n; i++) {
        mean += m->y[i] / (double)m->n;
        inside += m->y[i] > m->low && m->y[i] < m->high;
    }
    for (int64_t i = 0; i < m->n; i++) square += (m->y[i] - mean) * (m->y[i] - mean) / (double)m->n;
    out->why = inside <= k ? "too few values between the bounds" : "the outcome does not vary";
    if (inside <= k || !(square > 0)) return NULL;
    double *room = calloc(3 * (size_t)k * (size_t)k + 2 * (size_t)k, sizeof *room);
    if (!room) PX_NO_MEMORY();
    double *h = room, *l = h + k * k, *work = l + k * k, *g = work + k * k, *v = g + k;
    q[k - 1] = 1 / sqrt(square);
    q[0] = mean * q[k - 1]; /* the intercept's column */
    out->why = "no finite maximum";
    px_err *err = NULL;
    if (climb(m, q, g, h, l, v, &out->log_likelihood)) {
        err = errors(m, q, h, work, v, out);
        for (int j = 0; j < m->p; j++) out->beta[j] = q[j] / q[k - 1];
        out->sigma = 1 / q[k - 1];
    }
    free(room);
    return err;
}
