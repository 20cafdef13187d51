/* lora.c - low-rank adapters in f32. Three loops do all of it, each with 16 sums in registers:
 *   dots    out[t, k] = Σ_i x[t, i] a[k, i]        4 rows × 4 ranks, over columns;  down, du
 *   spread  y[t, j] += Σ_k u[t, k] a[k, j]         4 rows × 64 columns, over ranks; up, dx
 *   columns g[k, j] += Σ_t u[t, k] x[t, j]         4 ranks × 64 columns, over rows; da, db
 * x is widened (and masked by dropout) into the thread's own memory first. dots and spread share
 * out rows, columns shares out columns and goes through the rows in order, STEP of them to a
 * partial sum. */
#include <omp.h>

#include "cpu.h"
#include "drop.h"
#include "vec.h"

enum { STEP = 64, WIDTH = 64, SPAN = 256 };

static int64_t padded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* Columns [first, first + n) of a row in f32, where masks (of the whole row, or NULL) let them;
 * zeros up to a multiple of 16. first is a multiple of 16. */
static void widen_row(float *to, px_mat x, int64_t row, int64_t first, int64_t n,
                      const uint16_t *masks) {
    const void *from = px_mat_row(x, row);
    const int64_t end = first + n;
    for (int64_t j = first; j < end; j += 16) {
        const v16 a = v16_part(from, x.type, j, end);
        v16_store(to + j - first, masks ? v16_masked(a, masks[j / 16]) : a);
    }
}

/* [R, n] or, if turned, [n, R] as dense rows of n16 floats, n and R padded with zeros. */
static void pad_matrix(float *to, const float *from, int64_t R, int64_t n, bool turned) {
    const int64_t n16 = padded(n, WIDTH);
    memset(to, 0, (size_t)(padded(R, 4) * n16) * sizeof *to);
    for (int64_t k = 0; k < R; k++)
        for (int64_t j = 0; j < n; j++)
            to[k * n16 + j] = turned ? from[j * R + k] : from[k * n + j];
}
static int64_t pad_floats(int64_t R, int64_t n) { return padded(R, 4) * padded(n, WIDTH); }

/* --- dots --- */

typedef struct {
    px_mat x;
    const float *a; /* padded */
    int64_t n_out, out_stride;
    float *out, scale;
    px_dropout drop;
    float *own; /* per thread: 4 rows of x, their masks */
    int64_t own_step;
} dots_job;

static int64_t dots_floats(int64_t n) {
    return 4 * padded(n, WIDTH) + padded(drop_words(n), 32) / 2;
}

static void dots_tile(float out[16], const float *x, const float *a, int64_t step, int64_t n) {
    v16 sums[16];
    for (int i = 0; i < 16; i++) sums[i] = v16_set(0);
    for (int64_t j = 0; j < n; j += 16) {
        const v16 x0 = v16_load(x + j), x1 = v16_load(x + step + j);
        const v16 x2 = v16_load(x + 2 * step + j), x3 = v16_load(x + 3 * step + j);
        for (int k = 0; k < 4; k++) {
            const v16 b = v16_load(a + k * step + j);
            sums[k] = v16_fma(x0, b, sums[k]);
            sums[4 + k] = v16_fma(x1, b, sums[4 + k]);
            sums[8 + k] = v16_fma(x2, b, sums[8 + k]);
            sums[12 + k] = v16_fma(x3, b, sums[12 + k]);
        }
    }
    v16_store(out, v16_sum16(sums));
}

static void dots_rows(const dots_job *job, int64_t t) {
    const int64_t n = job->x.cols, step = padded(n, WIDTH), rows = PX_MIN(4, job->x.rows - t);
    float *x = job->own + job->own_step * omp_get_thread_num(), tile[16];
    uint16_t *masks = (uint16_t *)(x + 4 * step);
    for (int64_t i = 0; i < rows; i++) {
        if (job->drop.p > 0) drop_masks(job->drop, t + i, n, masks);
        widen_row(x + i * step, job->x, t + i, 0, n, job->drop.p > 0 ? masks : NULL);
    }
    for (int64_t i = rows; i < 4; i++) memset(x + i * step, 0, (size_t)step * sizeof *x);
    for (int64_t k = 0; k < job->n_out; k += 4) {
        dots_tile(tile, x, job->a + k * step, step, padded(n, 16));
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = k; j < PX_MIN(k + 4, job->n_out); j++)
                job->out[(t + i) * job->out_stride + j] = job->scale * tile[i * 4 + j - k];
    }
}

static void dots(px_stream *s, const dots_job *job) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < job->x.rows; t += 4) dots_rows(job, t);
}

/* --- spread --- */

typedef struct {
    px_mat y;
    const float *u, *a; /* u [T, R] from the first of r; a [r, n] padded */
    int64_t r, u_stride;
    float scale;
    const uint16_t *masks; /* [T, words], or NULL */
    int64_t words;
} spread_job;

/* rows (1 or 4) × 64 columns from j; n of y's columns exist. */
static inline __attribute__((always_inline)) void spread_tile(const spread_job *job, int64_t t,
                                                              int64_t j, int rows) {
    const int64_t n = job->y.cols, step = padded(n, WIDTH);
    v16 sums[16];
    for (int i = 0; i < 4 * rows; i++) sums[i] = v16_set(0);
    for (int64_t k = 0; k < job->r; k++) {
        const float *a = job->a + k * step + j;
        const v16 a0 = v16_load(a), a1 = v16_load(a + 16);
        const v16 a2 = v16_load(a + 32), a3 = v16_load(a + 48);
        for (int i = 0; i < rows; i++) {
            const v16 u = v16_set(job->u[(t + i) * job->u_stride + k]);
            sums[4 * i] = v16_fma(u, a0, sums[4 * i]);
            sums[4 * i + 1] = v16_fma(u, a1, sums[4 * i + 1]);
            sums[4 * i + 2] = v16_fma(u, a2, sums[4 * i + 2]);
            sums[4 * i + 3] = v16_fma(u, a3, sums[4 * i + 3]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < 4; c++) {
            const int64_t at = j + 16 * c;
            if (at >= n) break;
            v16 sum = sums[4 * i + c];
            if (job->masks) sum = v16_masked(sum, job->masks[(t + i) * job->words + at / 16]);
            void *row = px_mat_row(job->y, t + i);
            v16_put_part(row, job->y.type, at, n,
                         v16_fma(sum, v16_set(job->scale), v16_part(row, job->y.type, at, n)));
        }
}

/* SPAN columns of a stay in the nearest cache while the rows of a block go by. */
static void spread_rows(const spread_job *job, int64_t first, int64_t end) {
    for (int64_t span = 0; span < job->y.cols; span += SPAN) {
        const int64_t stop = PX_MIN(span + SPAN, job->y.cols);
        int64_t t = first;
        for (; t + 4 <= end; t += 4)
            for (int64_t j = span; j < stop; j += WIDTH) spread_tile(job, t, j, 4);
        for (; t < end; t++)
            for (int64_t j = span; j < stop; j += WIDTH) spread_tile(job, t, j, 1);
    }
}

/* --- columns --- */

typedef struct {
    px_mat x;
    const float *u; /* [T, u_stride] from the first of r */
    int64_t r, u_stride;
    float scale;
    const uint16_t *masks;
    int64_t words;
    float *g; /* [r, n] += , or [n, r] if turned */
    bool turned;
    float *own; /* per thread: sums [r4, WIDTH], x [STEP, WIDTH], u [STEP, r4] */
    int64_t own_step;
} columns_job;

static int64_t columns_floats(int64_t r) {
    return padded(r, 4) * WIDTH + STEP * WIDTH + padded(STEP * padded(r, 4), 16);
}

/* sums [4, WIDTH] += Σ u[t, k] x[t]: the rows of one step. */
static void columns_tile(float *sums, const float *x, const float *u, int64_t u_step,
                         int64_t rows) {
    v16 part[16];
    for (int i = 0; i < 16; i++) part[i] = v16_set(0);
    for (int64_t t = 0; t < rows; t++) {
        const float *row = x + t * WIDTH;
        const v16 x0 = v16_load(row), x1 = v16_load(row + 16);
        const v16 x2 = v16_load(row + 32), x3 = v16_load(row + 48);
        for (int k = 0; k < 4; k++) {
            const v16 a = v16_set(u[t * u_step + k]);
            part[4 * k] = v16_fma(a, x0, part[4 * k]);
            part[4 * k + 1] = v16_fma(a, x1, part[4 * k + 1]);
            part[4 * k + 2] = v16_fma(a, x2, part[4 * k + 2]);
            part[4 * k + 3] = v16_fma(a, x3, part[4 * k + 3]);
        }
    }
    for (int i = 0; i < 16; i++)
        v16_store(sums + 16 * i, v16_add(v16_load(sums + 16 * i), part[i]));
}

static void columns_block(const columns_job *job, int64_t first) {
    const int64_t n = PX_MIN(WIDTH, job->x.cols - first), r4 = padded(job->r, 4);
    float *sums = job->own + job->own_step * omp_get_thread_num();
    float *x = sums + r4 * WIDTH, *u = x + STEP * WIDTH;
    memset(sums, 0, (size_t)(r4 * WIDTH) * sizeof *sums);
    memset(x, 0, STEP * WIDTH * sizeof *x);
    memset(u, 0, (size_t)(STEP * r4) * sizeof *u);
    for (int64_t t = 0; t < job->x.rows; t += STEP) {
        const int64_t rows = PX_MIN(STEP, job->x.rows - t);
        for (int64_t i = 0; i < rows; i++) {
            widen_row(x + i * WIDTH, job->x, t + i, first, n,
                      job->masks ? job->masks + (t + i) * job->words : NULL);
            memcpy(u + i * r4, job->u + (t + i) * job->u_stride, (size_t)job->r * sizeof *u);
        }
        for (int64_t k = 0; k < r4; k += 4) columns_tile(sums + k * WIDTH, x, u + k, r4, rows);
    }
    for (int64_t k = 0; k < job->r; k++)
        for (int64_t j = 0; j < n; j++)
            job->g[job->turned ? (first + j) * job->r + k : k * job->x.cols + first + j] +=
                job->scale * sums[k * WIDTH + j];
}

static void columns(px_stream *s, const columns_job *job) {
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (int64_t first = 0; first < job->x.cols; first += WIDTH) columns_block(job, first);
}

/* --- operations --- */

static float drop_scale(px_dropout drop) { return (float)(1 / (1 - drop.p)); }

void cpu_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R, px_dropout drop) {
    dots_job job = {.x = x, .n_out = R, .out_stride = R, .out = u, .drop = drop};
    job.own_step = dots_floats(x.cols);
    float *at =
        px_scratch(s, (size_t)(pad_floats(R, x.cols) + job.own_step * s->threads) * sizeof *at);
    if (!at) return;
    pad_matrix(at, a, R, x.cols, false);
    job.a = at;
    job.own = at + pad_floats(R, x.cols);
    job.scale = drop_scale(drop);
    dots(s, &job);
}

void cpu_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part) {
    float *a = px_scratch(s, (size_t)pad_floats(part.r, y.cols) * sizeof *a);
    if (!a) return;
    pad_matrix(a, b, part.r, y.cols, true);
    const spread_job job = {
        .y = y, .u = u + part.first, .a = a, .r = part.r, .u_stride = part.R, .scale = part.scale};
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < y.rows; t += STEP) spread_rows(&job, t, PX_MIN(t + STEP, y.rows));
}

void cpu_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                          const float *b, px_lora_part part) {
    dots_job down = {.x = dy,
                     .n_out = part.r,
                     .out_stride = part.R,
                     .out = du + part.first,
                     .scale = part.scale};
    columns_job up = {.x = dy,
                      .u = u + part.first,
                      .r = part.r,
                      .u_stride = part.R,
                      .scale = part.scale,
                      .g = db,
                      .turned = true};
    down.own_step = dots_floats(dy.cols);
    up.own_step = columns_floats(part.r);
    const int64_t own = PX_MAX(down.own_step, up.own_step) * s->threads;
    float *at = px_scratch(s, (size_t)(pad_floats(part.r, dy.cols) + own) * sizeof *at);
    if (!at) return;
    pad_matrix(at, b, part.r, dy.cols, true);
    down.a = at;
    down.own = up.own = at + pad_floats(part.r, dy.cols);
    dots(s, &down);
    columns(s, &up);
}

void cpu_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                            const float *a, int64_t R, px_dropout drop) {
    const int64_t T = x.rows, words = drop_words(x.cols);
    const bool drops = drop.p > 0;
    columns_job weights = {.x = x, .u = du, .r = R, .u_stride = R, .words = words, .g = da};
    spread_job inputs = {.y = dx, .u = du, .r = R, .u_stride = R, .words = words};
    weights.own_step = columns_floats(R);
    weights.scale = inputs.scale = drop_scale(drop);
    const int64_t floats = pad_floats(R, x.cols) + weights.own_step * s->threads;
    const size_t mask_bytes = drops ? (size_t)(T * words) * sizeof(uint16_t) : 0;
    float *at = px_scratch(s, (size_t)floats * sizeof *at + mask_bytes);
    if (!at) return;
    uint16_t *masks = drops ? (uint16_t *)(at + floats) : NULL;
    pad_matrix(at, a, R, x.cols, false);
    inputs.a = at;
    weights.own = at + pad_floats(R, x.cols);
    weights.masks = inputs.masks = masks;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < T; t += STEP) {
        const int64_t end = PX_MIN(t + STEP, T);
        for (int64_t i = t; drops && i < end; i++) drop_masks(drop, i, x.cols, masks + i * words);
        if (dx.data) spread_rows(&inputs, t, end);
    }
    columns(s, &weights);
}
