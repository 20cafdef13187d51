/* panel.c - linear layers over panels: 64 outputs' weights side by side, in the order in which the
 * inner product kernel reads them, so that a product of one row runs at the speed of memory and one
 * of many rows at the kernel's. Every output is one chain of additions along the inputs: its bits
 * depend on its row and W alone, whatever the number of rows, pieces or threads. */
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cpu.h"
#include "tile.h"

/* Rows of the kernel; rows whose sums stand in the nearest cache; up to this many rows W is read
 * once and threads share out columns, beyond it they share out panels and blocks of rows. */
enum { KERNEL_ROWS = 6, CHUNK_ROWS = 24, FEW_ROWS = 6 };
/* Bytes of W asked for ahead of a product of few rows: beyond a page, where the processor's own
 * reading ahead ends. */
enum { AHEAD_BYTES = 8192 };

/* Panel p, step k, column n: panels[p · 64 · steps + k · 64 + n]. */
static int64_t panel_units(const cpu_weight *w) {
    return tile_steps(w->base.type, w->base.in) * TILE_PANEL;
}
static int64_t panel_count(const cpu_weight *w) {
    return (w->base.out + TILE_PANEL - 1) / TILE_PANEL;
}

px_err *cpu_panels_new(cpu_weight *w) {
    const size_t big = (size_t)2 << 20; /* a large page: fewer misses of the address cache */
    const size_t bytes = (size_t)(panel_count(w) * panel_units(w)) * sizeof *w->panels;
    const size_t align = bytes >= big ? big : 64;
    w->panels = aligned_alloc(align, (bytes + align) / align * align);
    if (!w->panels) PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes of packed weights", bytes);
    if (align == big) (void)madvise(w->panels, bytes, MADV_HUGEPAGE);
    w->base.bytes += (int64_t)bytes;
    return NULL;
}

void cpu_panels_fill(px_stream *s, cpu_weight *w, px_mat source) {
    const int64_t out = w->base.out, in = w->base.in, n = panel_count(w);
    const size_t row_bytes = (size_t)in * px_type_size(w->base.type);
    char *rounded = NULL;
    if (source.type != w->base.type)
        rounded = px_scratch(s, row_bytes * TILE_PANEL * (size_t)s->threads);
    if (source.type != w->base.type && !rounded) return;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t p = 0; p < n; p++) {
        uint32_t *panel = w->panels + p * panel_units(w);
        const int64_t first = p * TILE_PANEL, rows = PX_MIN(TILE_PANEL, out - first);
        px_mat part = {px_mat_row(source, first), source.type, rows, in, source.stride};
        if (rounded) {
            const px_mat own =
                px_mat_of(rounded + (size_t)omp_get_thread_num() * row_bytes * TILE_PANEL,
                          w->base.type, rows, in);
            for (int64_t i = 0; i < rows; i++)
                v16_convert(px_mat_row(own, i), own.type, px_mat_row(part, i), part.type, in);
            part = own;
        }
        if (rows < TILE_PANEL) memset(panel, 0, (size_t)panel_units(w) * sizeof *panel);
        cpu_tile_pack_columns(panel, 0, cpu_tile_rows_of(part, 0, 0, in), rows);
    }
}

typedef struct {
    px_mat y;
    const cpu_weight *w;
    const uint32_t *x; /* rows of `row` units */
    int64_t row, steps;
    bool add;
} panel_call;

static void write_rows(const panel_call *c, const float *sums, int64_t row, int64_t rows,
                       int64_t column, int64_t cols) {
    const px_type type = c->y.type;
    for (int64_t i = 0; i < rows; i++) {
        char *to = (char *)px_mat_row(c->y, row + i) + (size_t)column * px_type_size(type);
        for (int64_t j = 0; j < cols; j += 16) {
            v16 value = v16_load(sums + i * TILE_PANEL + j);
            if (c->add) value = v16_add(v16_part(to, type, j, cols), value);
            v16_put_part(to, type, j, cols, value);
        }
    }
}

/* Rows [row, end) of columns [column, column + cols) of one panel. */
static void panel_piece(const panel_call *c, int64_t column, int64_t cols, int64_t row, int64_t end,
                        cpu_tile_ahead ahead) {
    float sums[CHUNK_ROWS * TILE_PANEL];
    const uint32_t *panel = c->w->panels + column / TILE_PANEL * panel_units(c->w);
    const int64_t inside = column % TILE_PANEL, wide = tile_up(cols, 16);
    const char *panel_end = ahead.data + panel_units(c->w) * (int64_t)sizeof *panel;
    for (int64_t first = row; first < end; first += KERNEL_ROWS) {
        const int64_t rows = PX_MIN(KERNEL_ROWS, end - first);
        cpu_tile_mul_ahead((cpu_tile_out){sums, TILE_PANEL},
                           (cpu_tile_left){c->x + first * c->row, c->row, 1},
                           (cpu_tile_right){panel + inside, TILE_PANEL},
                           (cpu_tile_shape){c->w->base.type, rows, wide, c->steps, false}, ahead);
        write_rows(c, sums, first, rows, column, PX_MIN(cols, c->w->base.out - column));
        ahead.data += c->steps * 64 * ahead.lines; /* the next block asks for the next part */
        if (ahead.data >= panel_end) ahead.lines = 0;
    }
}

/* Few rows: each thread takes a stretch of columns, by vectors. */
static void few_rows(const panel_call *c, int thread, int threads) {
    const int64_t n = (c->w->base.out + 15) / 16;
    int64_t column = n * thread / threads * 16;
    const int64_t end = n * (thread + 1) / threads * 16;
    while (column < end) {
        const int64_t cols = PX_MIN(TILE_PANEL - column % TILE_PANEL, end - column);
        const uint32_t *panel = c->w->panels + column / TILE_PANEL * panel_units(c->w);
        const cpu_tile_ahead ahead = {(const char *)panel + AHEAD_BYTES, 4};
        panel_piece(c, column, cols, 0, c->y.rows, ahead);
        column += cols;
    }
}

/* Many rows: each thread takes a stretch of (panel, block of rows), panel by panel. While it
 * computes one panel's blocks it asks for the next panel. */
static void many_rows(const panel_call *c, int thread, int threads) {
    const int64_t blocks = (c->y.rows + KERNEL_ROWS - 1) / KERNEL_ROWS;
    const int64_t n = blocks * panel_count(c->w);
    int64_t at = n * thread / threads;
    const int64_t end = n * (thread + 1) / threads;
    while (at < end) {
        const int64_t panel = at / blocks, first = at % blocks;
        const int64_t here = PX_MIN(blocks - first, end - at);
        const cpu_tile_ahead ahead = {
            (const char *)(c->w->panels + (panel + 1) * panel_units(c->w)), (3 + here) / here};
        panel_piece(c, panel * TILE_PANEL, TILE_PANEL, first * KERNEL_ROWS,
                    PX_MIN((first + here) * KERNEL_ROWS, c->y.rows), ahead);
        at += here;
    }
}

/* x's rows as units where they lie, if they can be read so, else copied. */
static const uint32_t *rows_as_units(px_stream *s, px_mat x, int64_t steps, int64_t *row) {
    const bool plain = x.type == PX_F32 || (x.cols % 2 == 0 && x.stride % 2 == 0);
    *row = x.type == PX_F32 ? x.stride : x.stride / 2;
    if (plain && (uintptr_t)x.data % sizeof(uint32_t) == 0) return x.data;
    uint32_t *copy = px_scratch(s, (size_t)(x.rows * steps) * sizeof *copy);
    if (copy) cpu_tile_pack_rows(copy, steps, cpu_tile_rows_of(x, 0, 0, x.cols), x.rows);
    *row = steps;
    return copy;
}

void cpu_panels_linear(px_stream *s, px_mat y, px_mat x, const cpu_weight *w, bool add) {
    panel_call c = {.y = y, .w = w, .steps = tile_steps(w->base.type, w->base.in), .add = add};
    if (y.rows == 0 || y.cols == 0) return;
    c.x = rows_as_units(s, x, c.steps, &c.row);
    if (!c.x) return;
#pragma omp parallel num_threads(s->threads)
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        if (y.rows <= FEW_ROWS)
            few_rows(&c, thread, threads);
        else
            many_rows(&c, thread, threads);
    }
}
