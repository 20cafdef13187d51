/* pca.c - see pca.h. The Gram matrix of the centred rows, X G Xᵀ [n, n], is never built: a block of
 * vectors is multiplied by it (power iteration), made orthonormal, and the small matrix that it
 * then is on that block is solved by Jacobi's rotations, until its two largest values stand. */
#include "pca.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 8, ROUNDS = 200, SWEEPS = 60 };

static void rotate(double *a, int n, int p, int q, double *v) {
    double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int k = 0; k < n; k++) {
        double x = a[k * n + p], y = a[k * n + q];
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for (int k = 0; k < n; k++) {
        double x = a[p * n + k], y = a[q * n + k];
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
        x = v[k * n + p], y = v[k * n + q];
        v[k * n + p] = c * x - s * y;
        v[k * n + q] = s * x + c * y;
    }
}

static void sort_falling(int n, double *values, double *v) {
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            if (!(values[j] > values[i])) continue;
            double swap = values[i];
            values[i] = values[j];
            values[j] = swap;
            for (int k = 0; k < n; k++) {
                swap = v[k * n + i];
                v[k * n + i] = v[k * n + j];
                v[k * n + j] = swap;
            }
        }
}

void px_eigen(double *a, int n, double *values, double *v) {
    for (int i = 0; i < n * n; i++) v[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0, on = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) *(i == j ? &on : &off) += a[i * n + j] * a[i * n + j];
        if (!(off > 1e-30 * on)) break;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++)
                if (a[p * n + q] != 0) rotate(a, n, p, q, v);
    }
    for (int i = 0; i < n; i++) values[i] = a[i * n + i];
    sort_falling(n, values, v);
}

typedef struct {
    const px_points *p;
    double *mean;       /* [m] */
    double *block, *to; /* [n, BLOCK] */
    double *inner;      /* [m, BLOCK] */
    double *turned;     /* [m, BLOCK], gram times inner */
    int width;
} work;

/* inner = Xᵀ block for the centred rows X. */
static void project(work *w, const double *block) {
    const int b = w->width;
    double sums[BLOCK] = {0};
    memset(w->inner, 0, (size_t)(w->p->m * b) * sizeof *w->inner);
    for (int64_t i = 0; i < w->p->n; i++) {
        const double *x = w->p->rows + i * w->p->m;
        for (int k = 0; k < b; k++) sums[k] += block[i * b + k];
        for (int64_t j = 0; j < w->p->m; j++)
            for (int k = 0; k < b; k++) w->inner[j * b + k] += x[j] * block[i * b + k];
    }
    for (int64_t j = 0; j < w->p->m; j++)
        for (int k = 0; k < b; k++) w->inner[j * b + k] -= w->mean[j] * sums[k];
}

/* turned = G inner. */
static void turn(work *w) {
    const int b = w->width;
    if (!w->p->gram) {
        memcpy(w->turned, w->inner, (size_t)(w->p->m * b) * sizeof *w->inner);
        return;
    }
    memset(w->turned, 0, (size_t)(w->p->m * b) * sizeof *w->turned);
    for (int64_t i = 0; i < w->p->m; i++)
        for (int64_t j = 0; j < w->p->m; j++)
            for (int k = 0; k < b; k++)
                w->turned[i * b + k] += w->p->gram[i * w->p->m + j] * w->inner[j * b + k];
}

/* to[k] = (x - mean) · turned[:, k]. */
static void apply_row(const work *w, const double *x, double *to) {
    for (int k = 0; k < w->width; k++) to[k] = 0;
    for (int64_t j = 0; j < w->p->m; j++)
        for (int k = 0; k < w->width; k++)
            to[k] += (x[j] - w->mean[j]) * w->turned[j * w->width + k];
}

static double norm_of(const double *x, const work *w) {
    double sum = 0;
    for (int64_t i = 0; i < w->p->m; i++) {
        double row = w->p->gram ? 0 : x[i];
        for (int64_t j = 0; w->p->gram && j < w->p->m; j++)
            row += w->p->gram[i * w->p->m + j] * x[j];
        sum += x[i] * row;
    }
    return fmax(sum, 0);
}

/* Gram–Schmidt, twice for accuracy; a column that vanishes becomes 0. */
static void orthonormalise(double *a, int64_t n, int b) {
    for (int k = 0; k < b; k++) {
        double before = 0, after = 0;
        for (int64_t i = 0; i < n; i++) before += a[i * b + k] * a[i * b + k];
        for (int again = 0; again < 2; again++)
            for (int j = 0; j < k; j++) {
                double dot = 0;
                for (int64_t i = 0; i < n; i++) dot += a[i * b + j] * a[i * b + k];
                for (int64_t i = 0; i < n; i++) a[i * b + k] -= dot * a[i * b + j];
            }
        for (int64_t i = 0; i < n; i++) after += a[i * b + k] * a[i * b + k];
        double scale = after > 1e-24 * before ? 1 / sqrt(after) : 0;
        for (int64_t i = 0; i < n; i++) a[i * b + k] *= scale;
    }
}

/* to = block's images under X G Xᵀ; values: the eigenvalues on the block, block turned to match. */
static void round_of(work *w, double *values) {
    const int b = w->width;
    double small[BLOCK * BLOCK], v[BLOCK * BLOCK], row[BLOCK];
    orthonormalise(w->block, w->p->n, b);
    project(w, w->block);
    turn(w);
    for (int64_t i = 0; i < w->p->n; i++) apply_row(w, w->p->rows + i * w->p->m, w->to + i * b);
    for (int j = 0; j < b; j++)
        for (int k = 0; k < b; k++) {
            small[j * b + k] = 0;
            for (int64_t i = 0; i < w->p->n; i++)
                small[j * b + k] += 0.5 * (w->block[i * b + j] * w->to[i * b + k] +
                                           w->block[i * b + k] * w->to[i * b + j]);
        }
    px_eigen(small, b, values, v);
    for (int64_t i = 0; i < w->p->n; i++) {
        for (int k = 0; k < b; k++) {
            row[k] = 0;
            for (int j = 0; j < b; j++) row[k] += w->to[i * b + j] * v[j * b + k];
        }
        memcpy(w->block + i * b, row, (size_t)b * sizeof *row);
    }
}

static px_err *take_work(px_arena *arena, const px_points *p, work *w) {
    *w = (work){.p = p, .width = (int)PX_MIN(p->n, BLOCK)};
    w->mean = px_take(arena, double, p->m);
    w->block = px_take(arena, double, p->n, BLOCK);
    w->to = px_take(arena, double, p->n, BLOCK);
    w->inner = px_take(arena, double, p->m, BLOCK);
    w->turned = px_take(arena, double, p->m, BLOCK);
    PX_PASS(px_arena_ok(arena));
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->m; j++) w->mean[j] += p->rows[i * p->m + j] / (double)p->n;
    /* A start that no data is orthogonal to by its making: hashed numbers of (row, column). */
    static const uint32_t key[2] = {0x706361, 0};
    for (int64_t i = 0; i < p->n; i++)
        for (int k = 0; k < w->width; k++) {
            uint32_t counter[4] = {(uint32_t)i, (uint32_t)k, 0, 0};
            w->block[i * w->width + k] = px_philox(counter, key).v[0] / 4294967296.0 - 0.5;
        }
    return NULL;
}

static double variance_of(const work *w, double *scratch) {
    double sum = 0;
    for (int64_t i = 0; i < w->p->n; i++) {
        for (int64_t j = 0; j < w->p->m; j++) scratch[j] = w->p->rows[i * w->p->m + j] - w->mean[j];
        sum += norm_of(scratch, w);
    }
    return sum / (double)w->p->n;
}

/* Coordinates from the orthonormal block: those of row x are (x - mean)ᵀ G Xᵀ u / sqrt(value). */
static void coordinates(work *w, const double *values, const double *extra, double *at,
                        double *extra_at) {
    const int b = w->width;
    double row[BLOCK], far[2] = {0}, scale[2] = {0};
    orthonormalise(w->block, w->p->n, b);
    project(w, w->block);
    turn(w);
    for (int k = 0; k < 2 && k < b; k++) scale[k] = values[k] > 0 ? 1 / sqrt(values[k]) : 0;
    for (int64_t i = 0; i < w->p->n; i++) {
        apply_row(w, w->p->rows + i * w->p->m, row);
        for (int k = 0; k < 2; k++) {
            at[2 * i + k] = k < b ? row[k] * scale[k] : 0;
            /* "Clearly larger", so that two equal ones do not take turns by their last bits. */
            if (fabs(at[2 * i + k]) > fabs(far[k]) * (1 + 1e-6)) far[k] = at[2 * i + k];
        }
    }
    if (extra) apply_row(w, extra, row);
    for (int k = 0; k < 2; k++) {
        if (extra) extra_at[k] = (k < b ? row[k] * scale[k] : 0) * (far[k] < 0 ? -1 : 1);
        for (int64_t i = 0; far[k] < 0 && i < w->p->n; i++) at[2 * i + k] = -at[2 * i + k];
    }
}

px_err *px_pca(const px_points *points, double *at, const double *extra, double extra_at[2],
               px_spread *spread) {
    work w;
    px_arena *arena = NULL;
    double values[BLOCK] = {0}, last[2] = {-1, -1};
    *spread = (px_spread){0};
    if (points->n == 0) return NULL;
    PX_PASS(px_arena_new(65536, &arena));
    px_err *err = NULL;
    PX_PASS_TO(done, take_work(arena, points, &w));
    spread->variance = variance_of(&w, w.inner);
    spread->mean_square = norm_of(w.mean, &w);
    double total = spread->variance * (double)points->n;
    /* Below this there are only rounding errors to draw. */
    if (!(spread->variance > 1e-20 * spread->mean_square) || !(total > 0)) {
        memset(at, 0, (size_t)points->n * 2 * sizeof *at);
        if (extra) extra_at[0] = extra_at[1] = 0;
        goto done;
    }
    for (int i = 0; i < ROUNDS; i++) {
        round_of(&w, values);
        if (fabs(values[0] - last[0]) + fabs(values[1] - last[1]) < 1e-13 * total) break;
        memcpy(last, values, sizeof last);
    }
    for (int k = 0; k < 2; k++) spread->share[k] = fmax(values[k], 0) / total;
    /* A direction without variance has no coordinates but rounding errors. */
    for (int k = 0; k < 2; k++)
        if (spread->share[k] < 1e-13) values[k] = 0;
    coordinates(&w, values, extra, at, extra_at);
done:
    px_arena_free(arena);
    return err;
}
