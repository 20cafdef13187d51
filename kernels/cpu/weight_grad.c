/* weight_grad.c - dw += dyᵀ · x for full fine-tuning. The result is cut into tiles, each computed
 * by one thread over the rows in order, in steps of STEP rows: the bits depend on the shapes alone.
 */
#include <omp.h>

#include "cpu.h"
#include "vec.h"

enum { STEP = 512, TILE_OUT = 64, TILE_IN = 256, PAD = 32 };

typedef struct {
    float *dw;
    px_mat dy, x;
    px_type type;                       /* of the products */
    const cpu_kernel *kernels[2][2][2]; /* full and last: rows, out, in */
    int64_t rows, n_out, n_in;          /* of a last piece, rows padded with zeros */
    float *own;                         /* per thread: sum, product, dy, x */
} weight_grad;

enum { OWN_SUM = TILE_OUT * TILE_IN, OWN_DY = STEP * TILE_OUT, OWN_X = STEP * TILE_IN };
enum { OWN = 2 * OWN_SUM + OWN_DY + OWN_X };

/* [n_rows, n_cols] of m from (row, col), dense in `type`, rows past the end as zeros. */
static void take_tile(void *to, px_type type, px_mat m, int64_t row, int64_t n_rows, int64_t col,
                      int64_t n_cols) {
    const size_t row_bytes = (size_t)n_cols * px_type_size(type);
    for (int64_t i = 0; i < n_rows; i++) {
        char *target = (char *)to + (size_t)i * row_bytes;
        if (row + i >= m.rows)
            memset(target, 0, row_bytes);
        else
            v16_convert(target, type,
                        (char *)px_mat_row(m, row + i) + (size_t)col * px_type_size(m.type), m.type,
                        n_cols);
    }
}

static void tile_run(px_stream *s, const weight_grad *g, int64_t out, int64_t in) {
    float *sum = g->own + (int64_t)OWN * omp_get_thread_num(), *part = sum + OWN_SUM;
    float *dy = part + OWN_SUM, *x = dy + OWN_DY;
    const bool last_out = out + TILE_OUT > g->dy.cols, last_in = in + TILE_IN > g->x.cols;
    const int64_t n_out = last_out ? g->n_out : TILE_OUT, n_in = last_in ? g->n_in : TILE_IN;
    memset(sum, 0, (size_t)(n_out * n_in) * sizeof *sum);
    for (int64_t t = 0; t < g->x.rows; t += STEP) {
        const bool last = t + STEP > g->x.rows;
        const int64_t rows = last ? g->rows : STEP;
        take_tile(dy, g->type, g->dy, t, rows, out, n_out);
        take_tile(x, g->type, g->x, t, rows, in, n_in);
        cpu_kernel_run(s, g->kernels[last][last_out][last_in], omp_get_thread_num(),
                       (cpu_operands){.x = dy, .plain = x, .y = part});
        for (int64_t i = 0; i < n_out * n_in; i++) sum[i] += part[i];
    }
    for (int64_t i = 0; i < n_out; i++)
        for (int64_t j = 0; j < n_in; j++)
            g->dw[(out + i) * g->x.cols + in + j] += sum[i * n_in + j];
}

static bool grad_prepare(px_stream *s, weight_grad *g) {
    const cpu_state *state = s->state;
    g->type = g->x.type == PX_BF16 && state->has_bf16 ? PX_BF16 : PX_F32;
    g->rows = (g->x.rows % STEP + PAD - 1) / PAD * PAD;
    g->n_out = g->dy.cols % TILE_OUT;
    g->n_in = g->x.cols % TILE_IN;
    for (int i = 0; i < 8; i++) {
        const int64_t rows = i & 4 ? g->rows : STEP, n_out = i & 2 ? g->n_out : TILE_OUT;
        const int64_t n_in = i & 1 ? g->n_in : TILE_IN;
        if (rows == 0 || n_out == 0 || n_in == 0) continue;
        const cpu_shape shape = {n_out, n_in, rows, (int32_t)g->type, 1, 1, 0};
        g->kernels[i >> 2][i >> 1 & 1][i & 1] = cpu_kernel_get(s, shape);
        if (!g->kernels[i >> 2][i >> 1 & 1][i & 1]) return false;
    }
    g->own = px_scratch(s, (size_t)(OWN * s->threads) * sizeof(float));
    return g->own != NULL;
}

void cpu_linear_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x) {
    weight_grad g = {.dw = dw, .dy = dy, .x = x};
    if (x.rows == 0 || x.cols == 0 || dy.cols == 0) return;
    const int64_t n_in = (x.cols + TILE_IN - 1) / TILE_IN;
    const int64_t n_tiles = (dy.cols + TILE_OUT - 1) / TILE_OUT * n_in;
    const int kept = cpu_begin();
    if (grad_prepare(s, &g)) {
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
        for (int64_t i = 0; i < n_tiles; i++)
            tile_run(s, &g, i / n_in * TILE_OUT, i % n_in * TILE_IN);
    }
    cpu_end(kept);
}
