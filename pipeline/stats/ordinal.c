/* ordinal.c - cumulative logit with a normal effect of each person (McCullagh 1980; Tutz &
 * Hennevogl 1996): logit P(y <= c) = tau_c - (x beta + sd u), u normal. Each person's integral by
 * adaptive Gauss-Hermite quadrature about the mode (Liu & Pierce 1994); Newton with the observed
 * information by Louis 1982: E[-d2] - Var[d1] over the posterior at the nodes. With F the logistic
 * function, P = F(a) F(-b) (1 - e^(b - a)),  a = tau_c - eta, b = tau_(c-1) - eta, so that nothing
 * cancels. theta = (tau, beta, log sd). */
#include <gsl/gsl_integration.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

enum { NODES_MAX = 40 };

typedef struct {
    const px_ordinal *m;
    int n;       /* parameters */
    int n_tau;   /* thresholds */
    bool spread; /* log sd is a parameter; else sd is 0 */
    int nodes;
    double node[NODES_MAX], weight[NODES_MAX]; /* log(w) + t^2 + log(sqrt 2) */
    int64_t *start;                            /* [persons + 1] into order */
    int32_t *order;
    double *mode;                      /* [persons] */
    double *eta;                       /* [n] x beta */
    double *exp_tau, *gap_log, *gap_r; /* of categories, see tau_prepare */
    double *score;                     /* [nodes, n] of one person */
    double *g, *h;                     /* [n], [n, n] of -log L, whole */
    double *mean;                      /* [n] */
} ordinal_room;

static void room_free(ordinal_room *r) {
    free(r->start);
    free(r->order);
    free(r->mode);
    free(r->eta);
    free(r->exp_tau);
    free(r->gap_log);
    free(r->gap_r);
    free(r->score);
    free(r->g);
    free(r->h);
    free(r->mean);
}

static px_err *room_make(const px_ordinal *m, ordinal_room *r) {
    const size_t n = (size_t)m->n_categories + (size_t)m->p + 1, rows = (size_t)m->n + 1;
    r->m = m;
    r->n_tau = m->n_categories - 1;
    r->start = calloc((size_t)m->n_persons + 2, sizeof *r->start);
    r->order = calloc(rows, sizeof *r->order);
    r->mode = calloc((size_t)m->n_persons + 1, sizeof *r->mode);
    r->eta = calloc(rows, sizeof *r->eta);
    r->exp_tau = calloc(n, sizeof *r->exp_tau);
    r->gap_log = calloc(n, sizeof *r->gap_log);
    r->gap_r = calloc(n, sizeof *r->gap_r);
    r->score = calloc(n * NODES_MAX, sizeof *r->score);
    r->g = calloc(n, sizeof *r->g);
    r->mean = calloc(n, sizeof *r->mean);
    r->h = calloc(n * n, sizeof *r->h);
    if (!r->start || !r->order || !r->mode || !r->eta || !r->exp_tau || !r->gap_log || !r->gap_r ||
        !r->score || !r->g || !r->h || !r->mean)
        PX_NO_MEMORY();
    for (int64_t i = 0; i < m->n; i++) r->start[m->person[i] + 2]++;
    for (int32_t i = 0; i < m->n_persons; i++) r->start[i + 2] += r->start[i + 1];
    for (int64_t i = 0; i < m->n; i++) r->order[r->start[m->person[i] + 1]++] = (int32_t)i;
    return NULL;
}

static px_err *nodes_make(ordinal_room *r, int nodes) {
    gsl_integration_fixed_workspace *w =
        gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, (size_t)nodes, 0, 1, 0, 0);
    if (!w) PX_NO_MEMORY();
    r->nodes = nodes;
    for (int k = 0; k < nodes; k++) {
        r->node[k] = gsl_integration_fixed_nodes(w)[k];
        r->weight[k] = log(gsl_integration_fixed_weights(w)[k]) + r->node[k] * r->node[k] +
                       0.34657359027997264;
    }
    gsl_integration_fixed_free(w);
    return NULL;
}

/* What depends on thresholds alone. false: they are not in order. */
static bool tau_prepare(ordinal_room *r, const double *theta) {
    for (int c = 0; c < r->n_tau; c++) r->exp_tau[c] = exp(theta[c]);
    for (int c = 1; c < r->n_tau; c++) {
        double gap = theta[c] - theta[c - 1];
        if (!(gap > 0)) return false;
        r->gap_log[c] = log(-expm1(-gap));
        r->gap_r[c] = 1 / expm1(gap);
    }
    for (int64_t i = 0; i < r->m->n; i++) {
        const double *x = r->m->x + i * r->m->p;
        r->eta[i] = 0;
        for (int j = 0; j < r->m->p; j++) r->eta[i] += x[j] * theta[r->n_tau + j];
    }
    return true;
}

/* F(a), F(b) of row i at e^eta. */
static inline void tails(const ordinal_room *r, int c, double e, double *fa, double *fb) {
    *fa = c < r->n_tau ? r->exp_tau[c] / (r->exp_tau[c] + e) : 1;
    *fb = c > 0 ? r->exp_tau[c - 1] / (r->exp_tau[c - 1] + e) : 0;
}

/* The mode of u and the curvature there. */
static double mode_find(ordinal_room *r, int32_t person, double sd) {
    double u = r->mode[person], curve = 1;
    for (int it = 0; it < 50; it++) {
        double slope = -u;
        curve = 1;
        for (int64_t k = r->start[person]; k < r->start[person + 1]; k++) {
            int32_t i = r->order[k];
            double fa, fb;
            tails(r, r->m->category[i], exp(r->eta[i] + sd * u), &fa, &fb);
            slope += sd * (fa + fb - 1);
            curve += sd * sd * (fa * (1 - fa) + fb * (1 - fb));
        }
        double step = slope / curve;
        step = fmax(-2, fmin(2, step));
        u += step;
        if (fabs(step) < 1e-9) break;
    }
    r->mode[person] = u;
    return curve;
}

/* Row i at node u: log P; adds to the node's score. */
static double row_score(const ordinal_room *r, int32_t i, double sd, double u, double *score) {
    const int c = r->m->category[i], p = r->m->p;
    const double *x = r->m->x + (int64_t)i * p;
    double fa, fb, log_p = 0, gap = c > 0 && c < r->n_tau ? r->gap_r[c] : 0;
    tails(r, c, exp(r->eta[i] + sd * u), &fa, &fb);
    if (c < r->n_tau) log_p += log(fa);
    if (c > 0) log_p += log(1 - fb);
    if (c > 0 && c < r->n_tau) log_p += r->gap_log[c];
    const double slope = fa + fb - 1;
    if (c < r->n_tau) score[c] += 1 - fa + gap;
    if (c > 0) score[c - 1] -= fb + gap;
    for (int j = 0; j < p; j++) score[r->n_tau + j] += slope * x[j];
    if (r->spread) score[r->n_tau + p] += slope * sd * u;
    return log_p;
}

/* E over nodes of a row's second derivatives, into h. post [nodes], u [nodes]. */
static void row_curve(ordinal_room *r, int32_t i, double sd, const double *post, const double *u) {
    const int c = r->m->category[i], p = r->m->p, n = r->n, t = r->n_tau;
    const double *x = r->m->x + (int64_t)i * p;
    double a[3] = {0}, b[3] = {0}, slope = 0; /* times 1, sd u, (sd u)^2 */
    for (int k = 0; k < r->nodes; k++) {
        double fa, fb, s = sd * u[k];
        tails(r, c, exp(r->eta[i] + s), &fa, &fb);
        double wa = post[k] * fa * (1 - fa), wb = post[k] * fb * (1 - fb);
        a[0] += wa;
        b[0] += wb;
        a[1] += wa * s;
        b[1] += wb * s;
        a[2] += wa * s * s;
        b[2] += wb * s * s;
        slope += post[k] * (fa + fb - 1) * s;
    }
    double gap = c > 0 && c < t ? r->gap_r[c] * (1 + r->gap_r[c]) : 0;
    double *h = r->h;
    if (c < t) h[c * n + c] += a[0] + gap;
    if (c > 0) h[(c - 1) * n + c - 1] += b[0] + gap;
    if (c > 0 && c < t) h[c * n + c - 1] -= gap;
    for (int j = 0; j < p; j++) {
        double *row = h + (t + j) * n;
        if (x[j] == 0) continue;
        if (c < t) row[c] -= a[0] * x[j];
        if (c > 0) row[c - 1] -= b[0] * x[j];
        for (int k = 0; k <= j; k++) row[t + k] += (a[0] + b[0]) * x[j] * x[k];
    }
    if (!r->spread) return;
    double *row = h + (t + p) * n;
    if (c < t) row[c] -= a[1];
    if (c > 0) row[c - 1] -= b[1];
    for (int j = 0; j < p; j++) row[t + j] += (a[1] + b[1]) * x[j];
    row[t + p] += a[2] + b[2] - slope;
}

/* One person: log of the integral; adds to g and h (lower triangle). */
static double person_add(ordinal_room *r, int32_t person, double sd, bool derivatives) {
    const int n = r->n;
    double u[NODES_MAX] = {0}, post[NODES_MAX] = {0}, top = -INFINITY, sum = 0;
    double curve = r->spread ? mode_find(r, person, sd) : 1;
    memset(r->score, 0, (size_t)n * (size_t)r->nodes * sizeof *r->score);
    for (int k = 0; k < r->nodes; k++) {
        u[k] = r->spread ? r->mode[person] + 1.4142135623730951 * r->node[k] / sqrt(curve) : 0;
        post[k] = r->spread
                      ? r->weight[k] - 0.5 * log(curve) - 0.5 * u[k] * u[k] - 0.9189385332046727
                      : 0;
        for (int64_t i = r->start[person]; i < r->start[person + 1]; i++)
            post[k] += row_score(r, r->order[i], sd, u[k], r->score + k * n);
        top = fmax(top, post[k]);
    }
    for (int k = 0; k < r->nodes; k++) sum += post[k] = exp(post[k] - top);
    if (!derivatives) return top + log(sum);
    memset(r->mean, 0, (size_t)n * sizeof *r->mean);
    for (int k = 0; k < r->nodes; k++) {
        post[k] /= sum;
        for (int j = 0; j < n; j++) r->mean[j] += post[k] * r->score[k * n + j];
    }
    for (int j = 0; j < n; j++) r->g[j] += r->mean[j];
    for (int64_t i = r->start[person]; i < r->start[person + 1]; i++)
        row_curve(r, r->order[i], sd, post, u);
    for (int k = 0; r->spread && k < r->nodes; k++) {
        double *s = r->score + k * n;
        for (int j = 0; j < n; j++) s[j] -= r->mean[j];
        for (int j = 0; j < n; j++) {
            double w = post[k] * s[j];
            for (int e = 0; w != 0 && e <= j; e++) r->h[j * n + e] -= w * s[e];
        }
    }
    return top + log(sum);
}

/* log L, NaN where theta is out of bounds. */
static double objective(ordinal_room *r, const double *theta, bool derivatives) {
    const double sd = r->spread ? exp(theta[r->n - 1]) : 0;
    double sum = 0;
    if (!tau_prepare(r, theta) || !isfinite(sd)) return NAN;
    if (derivatives) {
        memset(r->g, 0, (size_t)r->n * sizeof *r->g);
        memset(r->h, 0, (size_t)r->n * (size_t)r->n * sizeof *r->h);
    }
    for (int32_t i = 0; i < r->m->n_persons; i++) sum += person_add(r, i, sd, derivatives);
    return sum;
}

/* step = h^-1 g, h made positive by more of its diagonal where it must be. */
static bool step_find(const ordinal_room *r, double *l, double *step) {
    const size_t n = (size_t)r->n;
    for (int it = 0; it < 10; it++) {
        const double more = it ? 1e-4 * pow(10, it) : 0;
        memcpy(l, r->h, n * n * sizeof *l);
        for (size_t j = 0; j < n; j++) l[j * n + j] += more * (1e-6 + fabs(l[j * n + j]));
        if (!px_cholesky(l, r->n, r->n)) continue;
        memcpy(step, r->g, n * sizeof *step);
        px_cholesky_solve(l, r->n, r->n, step);
        return true;
    }
    return false;
}

/* room [n n + 2 n]. */
static bool climb(ordinal_room *r, double *theta, double *room, double *log_l) {
    const int n = r->n;
    double *l = room, *step = l + n * n, *next = step + n;
    *log_l = objective(r, theta, true);
    for (int it = 0; it < 60; it++) {
        double size = 0, scale = 1, value = NAN, before = *log_l;
        if (!isfinite(*log_l) || !step_find(r, l, step)) return false;
        for (int j = 0; j < n; j++) size = fmax(size, fabs(step[j]) / (1 + fabs(theta[j])));
        if (size < 1e-8) return true;
        for (int half = 0; half < 40; half++) {
            scale = ldexp(1, -half);
            for (int j = 0; j < n; j++) next[j] = theta[j] + scale * step[j];
            if (r->spread) next[n - 1] = fmin(next[n - 1], theta[n - 1] + 2);
            value = objective(r, next, false);
            if (value >= *log_l - 1e-11 * fabs(*log_l)) break;
        }
        if (!isfinite(value)) return false;
        memcpy(theta, next, (size_t)n * sizeof *theta);
        *log_l = objective(r, theta, true);
        if (r->spread && theta[n - 1] < -6) return true; /* the effect is going to nothing */
        if (size < 1e-6 && scale < 0.1) return true;
        /* steps without gain: a term on its way to infinity, whose variance says so */
        if (size > 0.01 && *log_l - before < 1e-10 * (1 + fabs(before))) return true;
    }
    return false;
}

static void start_at(const px_ordinal *m, double *theta) {
    int64_t below = 0;
    int64_t *count = calloc((size_t)m->n_categories + 1, sizeof *count);
    memset(theta, 0, ((size_t)m->n_categories + (size_t)m->p) * sizeof *theta);
    for (int64_t i = 0; count && i < m->n; i++) count[m->category[i]]++;
    for (int c = 0; count && c < m->n_categories - 1; c++) {
        below += count[c];
        double share = (double)below / (double)m->n;
        theta[c] = log(share / (1 - share));
    }
    theta[m->n_categories - 1 + m->p] = -0.3;
    free(count);
}

void px_ordinal_fit_free(px_ordinal_fit *fit) {
    free(fit->theta);
    free(fit->cov);
    *fit = (px_ordinal_fit){0};
}

px_err *px_ordinal_ml(const px_ordinal *m, px_ordinal_fit *out) {
    const size_t n = (size_t)m->n_categories + (size_t)m->p;
    ordinal_room r = {0};
    *out = (px_ordinal_fit){.why = "no finite maximum"};
    out->theta = calloc(n, sizeof *out->theta);
    out->cov = calloc(n * n, sizeof *out->cov);
    double *room = calloc(n * n + 2 * n, sizeof *room);
    px_err *err = room_make(m, &r);
    if (!err && (!out->theta || !out->cov || !room))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = nodes_make(&r, PX_MIN(m->nodes, (int)NODES_MAX));
    if (err) goto done;
    start_at(m, out->theta);
    r.n = out->n = (int)n;
    r.spread = m->n_persons > 1;
    bool done = r.spread && climb(&r, out->theta, room, &out->log_likelihood);
    if (!r.spread || (done && out->theta[n - 1] < -5)) { /* sd below e^-5: none */
        r.spread = false;
        r.nodes = 1;
        r.n = (int)n - 1;
        done = climb(&r, out->theta, room, &out->log_likelihood);
        out->theta[n - 1] = -INFINITY;
    }
    out->singular = !r.spread;
    out->sd = r.spread ? exp(out->theta[n - 1]) : 0;
    double *inverse = room;
    for (int a = 0; a < r.n; a++)
        for (int b = 0; b <= a; b++) inverse[a * r.n + b] = inverse[b * r.n + a] = r.h[a * r.n + b];
    double *work = calloc(n * n, sizeof *work);
    if (!work) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    out->ok = done && px_invert(inverse, r.n, work);
    free(work);
    for (size_t i = 0; i < n * n; i++) out->cov[i] = NAN;
    for (int a = 0; out->ok && a < r.n; a++)
        for (int b = 0; b < r.n; b++) out->cov[(size_t)a * n + (size_t)b] = inverse[a * r.n + b];
done:
    free(room);
    room_free(&r);
    return err;
}
