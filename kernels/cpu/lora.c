/* lora.c - low-rank adapters in f32. One pass over blocks of rows does up to three things, each
 * with 16 sums in registers: dots    out[t, k] = Σ_i x[t, i] a[k, i]      4 rows × 4 ranks, over
 * columns;  down, du spread  y[t, j] += Σ_k u[t, k] a[k, j]       4 rows × 64 columns, over ranks;
 * up, dx columns g[k, j] += Σ_t u[t, k] x[t, j]       4 ranks × 64 columns, over rows; da, db x is
 * widened (and masked by dropout) once, CHUNK rows at a time, into the thread's own memory. The
 * sums over rows of a BLOCK go to a place of its own and are added in the order of the blocks, so
 * bits depend on the number of rows alone. */
#include <omp.h>

#include "cpu.h"
#include "drop.h"
#include "vec.h"

enum { CHUNK = 64, BLOCK = 128, WIDTH = 64 };

typedef struct {
    px_mat x; /* [T, n]; data NULL: spread only */
    px_dropout drop;
    const float *a; /* [r4, row_step] padded: for dots and spread */
    float scale;    /* of every output */
    int64_t r, u_stride;
    float *out;     /* dots: [T, u_stride], r of them; or NULL */
    px_mat y;       /* spread: [T, n]; or data NULL */
    const float *u; /* [T, u_stride], r of them */
    float *blocks;  /* columns: [blocks, r4, row_step]; or NULL */
    float *own;     /* per thread: x [CHUNK, row_step], u [CHUNK, r4], masks [CHUNK, words] */
    int64_t own_step, n, T;
} lora_pass;

static int64_t padded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
/* Floats a row of n takes in our own memory: whole tiles, and a cache line more, so that the rows
 * of a tile do not fall on the same few cache sets when n is a multiple of 512. */
static int64_t row_step(int64_t n) { return padded(n, WIDTH) + 16; }
static int64_t pad_floats(int64_t R, int64_t n) { return padded(R, 4) * row_step(n); }
static int64_t own_floats(int64_t r, int64_t n) {
    return CHUNK * (row_step(n) + padded(r, 16) + drop_words(n) / 2);
}

/* [R, n] or, if turned, [n, R] as rows of row_step floats, n and R padded with zeros. */
static void pad_matrix(float *to, const float *from, int64_t R, int64_t n, bool turned) {
    const int64_t step = row_step(n);
    memset(to, 0, (size_t)pad_floats(R, n) * sizeof *to);
    for (int64_t j = 0; turned && j < n; j++)
        for (int64_t k = 0; k < R; k++) to[k * step + j] = from[j * R + k];
    for (int64_t k = 0; !turned && k < R; k++)
        memcpy(to + k * step, from + k * n, (size_t)n * sizeof *to);
}

/* A row in f32, where masks (or NULL) let it; zeros up to n64. */
static void widen_row(float *to, px_mat x, int64_t row, const uint16_t *masks) {
    const void *from = px_mat_row(x, row);
    const int64_t n = x.cols, n64 = padded(n, WIDTH);
    int64_t j = 0;
    for (; j + 16 <= n && masks; j += 16)
        v16_store(to + j, v16_masked(v16_get(from, x.type, j), masks[j / 16]));
    for (; j + 16 <= n; j += 16) v16_store(to + j, v16_get(from, x.type, j));
    if (j < n) {
        const v16 rest = v16_get_n(from, x.type, j, n - j);
        v16_store(to + j, masks ? v16_masked(rest, masks[j / 16]) : rest);
        j += 16;
    }
    for (; j < n64; j += 16) v16_store(to + j, v16_set(0));
}

/* --- dots --- */

static void dots_tile(float out[16], const float *x, const float *a, int64_t step, int64_t n) {
    v16 sums[16];
    for (int i = 0; i < 16; i++) sums[i] = v16_set(0);
    for (int64_t j = 0; j < n; j += 16) {
        const v16 x0 = v16_load_once(x + j), x1 = v16_load_once(x + step + j);
        const v16 x2 = v16_load_once(x + 2 * step + j), x3 = v16_load_once(x + 3 * step + j);
        for (int k = 0; k < 4; k++) {
            const v16 b = v16_load_once(a + k * step + j);
            sums[k] = v16_fma(x0, b, sums[k]);
            sums[4 + k] = v16_fma(x1, b, sums[4 + k]);
            sums[8 + k] = v16_fma(x2, b, sums[8 + k]);
            sums[12 + k] = v16_fma(x3, b, sums[12 + k]);
        }
    }
    v16_store(out, v16_sum16(sums));
}

/* Rows from t, as many as x holds of them; x holds zeros up to a multiple of 4 rows. */
static void dots(const lora_pass *p, const float *x, int64_t t, int64_t rows) {
    const int64_t step = row_step(p->n);
    float tile[16];
    for (int64_t k = 0; k < p->r; k += 4) /* four rows of a stay in the nearest cache */
        for (int64_t i = 0; i < rows; i += 4) {
            dots_tile(tile, x + i * step, p->a + k * step, step, padded(p->n, 16));
            for (int64_t n = i; n < PX_MIN(i + 4, rows); n++)
                for (int64_t j = k; j < PX_MIN(k + 4, p->r); j++)
                    p->out[(t + n) * p->u_stride + j] = p->scale * tile[(n - i) * 4 + j - k];
        }
}

/* --- spread --- */

/* rows (1 or 4) × 64 columns from j; masks: of row t, words apart. Inlined for each type and rows.
 */
static inline __attribute__((always_inline)) void spread_tile(const lora_pass *p, px_type type,
                                                              int64_t t, int64_t j, int rows,
                                                              const uint16_t *masks) {
    const int64_t n = p->n, step = row_step(n), words = drop_words(n);
    v16 sums[16];
    for (int i = 0; i < 4 * rows; i++) sums[i] = v16_set(0);
    for (int64_t k = 0; k < p->r; k++) {
        const float *a = p->a + k * step + j;
        const v16 a0 = v16_load_once(a), a1 = v16_load_once(a + 16);
        const v16 a2 = v16_load_once(a + 32), a3 = v16_load_once(a + 48);
        for (int i = 0; i < rows; i++) {
            const v16 u = v16_set(p->u[(t + i) * p->u_stride + k]);
            sums[4 * i] = v16_fma(u, a0, sums[4 * i]);
            sums[4 * i + 1] = v16_fma(u, a1, sums[4 * i + 1]);
            sums[4 * i + 2] = v16_fma(u, a2, sums[4 * i + 2]);
            sums[4 * i + 3] = v16_fma(u, a3, sums[4 * i + 3]);
        }
    }
    const v16 scale = v16_set(p->scale);
    const bool whole = n - j >= WIDTH;
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        char *row = px_mat_row(p->y, t + i);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            const int64_t at = j + 16 * c;
            v16 sum = sums[4 * i + c];
            if (masks) sum = v16_masked(sum, masks[i * words + at / 16]);
            if (whole)
                v16_put(row, type, at, v16_fma(sum, scale, v16_get(row, type, at)));
            else if (at < n)
                v16_put_part(row, type, at, n, v16_fma(sum, scale, v16_part(row, type, at, n)));
        }
    }
}

static void spread(const lora_pass *p, int64_t t, int64_t rows, const uint16_t *masks) {
    const int64_t words = drop_words(p->n);
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        const uint16_t *of_row = masks ? masks + i * words : NULL;
        if (p->y.type == PX_BF16)
            for (int64_t j = 0; j < p->n; j += WIDTH) spread_tile(p, PX_BF16, t + i, j, 4, of_row);
        else
            for (int64_t j = 0; j < p->n; j += WIDTH) spread_tile(p, PX_F32, t + i, j, 4, of_row);
    }
    for (; i < rows; i++)
        for (int64_t j = 0; j < p->n; j += WIDTH)
            spread_tile(p, p->y.type, t + i, j, 1, masks ? masks + i * words : NULL);
}

/* --- columns --- */

/* sums [4, 64] of row length step += Σ u[t, k] x[t]. */
static void columns_tile(float *sums, const float *x, int64_t step, const float *u, int64_t u_step,
                         int64_t rows) {
    v16 part[16];
    for (int i = 0; i < 16; i++) part[i] = v16_set(0);
    for (int64_t t = 0; t < rows; t++) {
        const float *row = x + t * step;
        const v16 x0 = v16_load_once(row), x1 = v16_load_once(row + 16);
        const v16 x2 = v16_load_once(row + 32), x3 = v16_load_once(row + 48);
        for (int k = 0; k < 4; k++) {
            const v16 a = v16_set(u[t * u_step + k]);
            part[4 * k] = v16_fma(a, x0, part[4 * k]);
            part[4 * k + 1] = v16_fma(a, x1, part[4 * k + 1]);
            part[4 * k + 2] = v16_fma(a, x2, part[4 * k + 2]);
            part[4 * k + 3] = v16_fma(a, x3, part[4 * k + 3]);
        }
    }
    for (int i = 0; i < 16; i++) {
        float *sum = sums + i / 4 * step + i % 4 * 16;
        v16_store(sum, v16_add(v16_load(sum), part[i]));
    }
}

static void columns(const lora_pass *p, const float *x, float *u, int64_t t, int64_t rows) {
    const int64_t step = row_step(p->n), r4 = padded(p->r, 4);
    float *sums = p->blocks + t / BLOCK * r4 * step;
    for (int64_t i = 0; i < rows; i++) {
        memcpy(u + i * r4, p->u + (t + i) * p->u_stride, (size_t)p->r * sizeof *u);
        memset(u + i * r4 + p->r, 0, (size_t)(r4 - p->r) * sizeof *u);
    }
    for (int64_t j = 0; j < p->n; j += WIDTH)
        for (int64_t k = 0; k < r4; k += 4)
            columns_tile(sums + k * step + j, x + j, step, u + k, r4, rows);
}

/* g [r, n] += scale · Σ blocks, or [n, r] if turned. */
static void columns_finish(px_stream *s, const lora_pass *p, float *g, bool turned) {
    const int64_t step = row_step(p->n), size = padded(p->r, 4) * step;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t j = 0; j < p->n; j += 16)
        for (int64_t k = 0; k < p->r; k++) {
            v16 sum = v16_set(0);
            float lanes[16];
            for (int64_t b = 0; b * BLOCK < p->T; b++)
                sum = v16_add(sum, v16_load(p->blocks + b * size + k * step + j));
            v16_store(lanes, v16_mul(sum, v16_set(p->scale)));
            for (int64_t i = j; i < PX_MIN(j + 16, p->n); i++)
                g[turned ? i * p->r + k : k * p->n + i] += lanes[i - j];
        }
}

/* --- the pass --- */

static void pass_chunk(const lora_pass *p, int64_t t, int64_t rows) {
    const int64_t step = row_step(p->n), words = drop_words(p->n);
    float *x = p->own + p->own_step * omp_get_thread_num();
    float *u = x + CHUNK * step;
    uint16_t *masks = p->drop.p > 0 ? (uint16_t *)(u + CHUNK * padded(p->r, 16)) : NULL;
    for (int64_t i = 0; masks && i < rows; i++) drop_masks(p->drop, t + i, p->n, masks + i * words);
    for (int64_t i = 0; p->x.data && i < rows; i++)
        widen_row(x + i * step, p->x, t + i, masks ? masks + i * words : NULL);
    if (p->out) {
        memset(x + rows * step, 0, (size_t)((padded(rows, 4) - rows) * step) * sizeof *x);
        dots(p, x, t, rows);
    }
    if (p->y.data) spread(p, t, rows, masks);
    if (p->blocks) columns(p, x, u, t, rows);
}

static void pass_run(px_stream *s, const lora_pass *p) {
    const int64_t size = padded(p->r, 4) * row_step(p->n);
    const int64_t piece = p->blocks ? BLOCK : CHUNK;
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (int64_t first = 0; first < p->T; first += piece) {
        const int64_t end = PX_MIN(first + piece, p->T);
        if (p->blocks)
            memset(p->blocks + first / BLOCK * size, 0, (size_t)size * sizeof *p->blocks);
        for (int64_t t = first; t < end; t += CHUNK) pass_chunk(p, t, PX_MIN(CHUNK, end - t));
    }
}

/* Scratch for everything the pass needs, and a padded. False: no memory. */
static bool pass_prepare(px_stream *s, lora_pass *p, const float *a, bool turned, bool sums) {
    const int64_t a_floats = pad_floats(p->r, p->n);
    p->own_step = own_floats(p->r, p->n);
    const int64_t own = p->own_step * s->threads;
    const int64_t n_blocks = sums ? (p->T + BLOCK - 1) / BLOCK : 0;
    float *at = px_scratch(s, (size_t)(a_floats * (1 + n_blocks) + own) * sizeof *at);
    if (!at) return false;
    pad_matrix(at, a, p->r, p->n, turned);
    p->a = at;
    p->own = at + a_floats;
    p->blocks = sums ? p->own + own : NULL;
    return true;
}

/* --- operations --- */

static float drop_scale(px_dropout drop) { return (float)(1 / (1 - drop.p)); }

void cpu_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R, px_dropout drop) {
    lora_pass p = {.x = x, .drop = drop, .scale = drop_scale(drop), .r = R, .u_stride = R};
    p.n = x.cols;
    p.T = x.rows;
    p.out = u;
    if (pass_prepare(s, &p, a, false, false)) pass_run(s, &p);
}

void cpu_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part) {
    lora_pass p = {.y = y, .scale = part.scale, .r = part.r, .u_stride = part.R};
    p.n = y.cols;
    p.T = y.rows;
    p.u = u + part.first;
    if (pass_prepare(s, &p, b, true, false)) pass_run(s, &p);
}

void cpu_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                          const float *b, px_lora_part part) {
    lora_pass p = {.x = dy, .scale = part.scale, .r = part.r, .u_stride = part.R};
    p.n = dy.cols;
    p.T = dy.rows;
    p.u = u + part.first;
    p.out = du + part.first;
    if (!pass_prepare(s, &p, b, true, true)) return;
    pass_run(s, &p);
    columns_finish(s, &p, db, true);
}

void cpu_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                            const float *a, int64_t R, px_dropout drop) {
    lora_pass p = {.x = x, .drop = drop, .scale = drop_scale(drop), .r = R, .u_stride = R};
    p.n = x.cols;
    p.T = x.rows;
    p.y = dx;
    p.u = du;
    if (!pass_prepare(s, &p, a, false, true)) return;
    pass_run(s, &p);
    columns_finish(s, &p, da, false);
}
