/* rows.c - embeddings and rows, and the optimiser. */
#include "cpu.h"
#include "vec.h"

enum { COLUMNS = 64 }; /* a thread's piece where the sum runs over rows */

void cpu_embed(px_stream *s, px_mat y, const int32_t *ids, px_mat table, const float *soft) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < y.rows; i++) {
        if (ids[i] >= 0)
            v16_convert(px_mat_row(y, i), y.type, px_mat_row(table, ids[i]), table.type, y.cols);
        else
            v16_convert(px_mat_row(y, i), y.type, soft + (-1 - (int64_t)ids[i]) * y.cols, PX_F32,
                        y.cols);
    }
}

void cpu_embed_backward(px_stream *s, float *dsoft, float *dtable, const int32_t *ids, px_mat dy) {
    const int64_t d = dy.cols;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t first = 0; first < d; first += COLUMNS)
        for (int64_t i = 0; i < dy.rows; i++) {
            float *row = ids[i] < 0 ? dsoft : dtable;
            if (!row) continue;
            row += (ids[i] < 0 ? -1 - (int64_t)ids[i] : ids[i]) * d;
            for (int64_t j = first; j < PX_MIN(first + COLUMNS, d); j += 16)
                v16_put_part(row, PX_F32, j, d,
                             v16_add(v16_part(row, PX_F32, j, d),
                                     v16_part(px_mat_row(dy, i), dy.type, j, d)));
        }
}

static void copy_row(px_mat to, int64_t i, px_mat from, int64_t j) {
    if (to.type == from.type)
        memcpy(px_mat_row(to, i), px_mat_row(from, j), (size_t)to.cols * px_type_size(to.type));
    else
        v16_convert(px_mat_row(to, i), to.type, px_mat_row(from, j), from.type, to.cols);
}

void cpu_gather(px_stream *s, px_mat y, px_mat x, const int32_t *rows) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < y.rows; i++) copy_row(y, i, x, rows[i]);
}

void cpu_scatter(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows) {
#pragma omp parallel num_threads(s->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < dx.rows; i++)
            memset(px_mat_row(dx, i), 0, (size_t)dx.cols * px_type_size(dx.type));
#pragma omp for schedule(static)
        for (int64_t i = 0; i < dy.rows; i++) copy_row(dx, rows[i], dy, i);
    }
}

/* In float64 but for what is stored: the corrections of the first steps lose digits in f32. */
void cpu_adamw(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
               const px_adamw *adamw) {
    const double b1 = adamw->beta1, b2 = adamw->beta2, step = (double)adamw->step;
    const double rate = adamw->lr / (1 - pow(b1, step)), root = 1 / sqrt(1 - pow(b2, step));
    const double kept = 1 - adamw->lr * adamw->weight_decay, eps = adamw->eps;
    const double scale = adamw->grad_scale;
#pragma omp parallel for simd num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const double grad = g[i] * scale;
        const double mean = b1 * m[i] + (1 - b1) * grad;
        const double square = b2 * v[i] + (1 - b2) * grad * grad;
        m[i] = (float)mean;
        v[i] = (float)square;
        p[i] = (float)(p[i] * kept - rate * mean / (sqrt(square) * root + eps));
    }
}

enum { PIECE = 4096, LANES = 16 };

static double piece_squares(const float *g, int64_t n) {
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] += (double)g[i + j] * g[i + j];
    for (; i < n; i++) lanes[i % LANES] += (double)g[i] * g[i];
    for (int j = 0; j < LANES; j++) sum += lanes[j];
    return sum;
}

/* Pieces of a fixed size, added in their order. */
double cpu_sum_squares(px_stream *s, const float *g, int64_t n) {
    const int64_t n_pieces = (n + PIECE - 1) / PIECE;
    double *sums = px_scratch(s, (size_t)n_pieces * sizeof *sums), sum = 0;
    if (!sums) return NAN;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < n_pieces; i++)
        sums[i] = piece_squares(g + i * PIECE, PX_MIN((int64_t)PIECE, n - i * PIECE));
    for (int64_t i = 0; i < n_pieces; i++) sum += sums[i];
    return sum;
}
