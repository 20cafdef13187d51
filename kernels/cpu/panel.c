/* panel.c - linear layers over panels: 64 outputs' weights side by side, in the order in which the
 * inner product kernel reads them, so that a product of one row runs at the speed of memory and one
 * of many rows at the kernel's. Every output is one chain of additions along the inputs: its bits
 * depend on its row and W alone, whatever the number of rows, pieces or threads. */
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cpu.h"
#include "quant.h"
#include "tile.h"

/* Rows of the kernel; rows whose sums stand in the nearest cache; up to this many rows W is read
 * once and threads share out columns, beyond it they share out panels and blocks of rows. */
enum { KERNEL_ROWS = 6, CHUNK_ROWS = 24, FEW_ROWS = 6 };
/* Bytes of W asked for ahead of a product of few rows: beyond a page, where the processor's own
 * reading ahead ends. */
enum { AHEAD_BYTES = 8192 };

/* Panel p, step k, column n: panels[p · units + k · 64 + n]. A quantised panel is a row of blocks,
 * of 32 inputs each: scales [64] and least values [64] in f32, then for each of 16 steps the codes
 * of the lower inputs [64] and of the upper ones [64], a byte each (8 bits) or the pair in one (4).
 */
static int64_t step_count(const cpu_weight *w) { return tile_steps(w->base.type, w->base.in); }
static int64_t block_units(const cpu_weight *w) {
    const int64_t code_bytes = px_pack_bits(w->base.pack) == 8 ? 2 * TILE_PANEL : TILE_PANEL;
    return 2 * TILE_PANEL + QUANT_BLOCK / 2 * code_bytes / 4;
}
static int64_t panel_units(const cpu_weight *w) {
    if (px_pack_bits(w->base.pack) == 0) return step_count(w) * TILE_PANEL;
    return (w->base.in + QUANT_BLOCK - 1) / QUANT_BLOCK * block_units(w);
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

/* One output's weights, n of them, as column `column` of a quantised panel. */
static void quantise_column(const cpu_weight *w, uint32_t *panel, int64_t column, const float *x) {
    const int bits = px_pack_bits(w->base.pack);
    for (int64_t first = 0; first < w->base.in; first += QUANT_BLOCK) {
        const int n = (int)PX_MIN(QUANT_BLOCK, w->base.in - first);
        uint32_t *at = panel + first / QUANT_BLOCK * block_units(w);
        uint8_t *codes = (uint8_t *)(at + 2 * TILE_PANEL);
        quant_block block = {0};
        if (bits == 8)
            quant_8(x + first, n, &block);
        else
            quant_4(x + first, n, &block);
        memcpy(at + column, &block.scale, sizeof block.scale);
        memcpy(at + TILE_PANEL + column, &block.least, sizeof block.least);
        for (int i = 0; i < n; i += 2) {
            const uint8_t low = block.q[i], high = i + 1 < n ? block.q[i + 1] : 0;
            if (bits == 8) {
                codes[i * TILE_PANEL + column] = low;
                codes[(i + 1) * TILE_PANEL + column] = high;
            } else {
                codes[i / 2 * TILE_PANEL + column] = (uint8_t)(low | high << 4);
            }
        }
    }
}

/* Rows of source as one panel; `work`: a row of floats, or rows of the packed type. */
static void panel_fill(cpu_weight *w, int64_t p, px_mat source, void *work) {
    uint32_t *panel = w->panels + p * panel_units(w);
    const int64_t first = p * TILE_PANEL, rows = PX_MIN(TILE_PANEL, w->base.out - first);
    px_mat part = {px_mat_row(source, first), source.type, rows, w->base.in, source.stride};
    if (px_pack_bits(w->base.pack) || rows < TILE_PANEL)
        memset(panel, 0, (size_t)panel_units(w) * sizeof *panel);
    for (int64_t i = 0; i < rows && px_pack_bits(w->base.pack); i++) {
        v16_convert(work, PX_F32, px_mat_row(part, i), part.type, part.cols);
        quantise_column(w, panel, i, work);
    }
    if (px_pack_bits(w->base.pack)) return;
    if (part.type != w->base.type) {
        const px_mat own = px_mat_of(work, w->base.type, rows, part.cols);
        for (int64_t i = 0; i < rows; i++)
            v16_convert(px_mat_row(own, i), own.type, px_mat_row(part, i), part.type, own.cols);
        part = own;
    }
    cpu_tile_pack_columns(panel, 0, cpu_tile_rows_of(part, 0, 0, part.cols), rows);
}

void cpu_panels_fill(px_stream *s, cpu_weight *w, px_mat source) {
    const size_t each = (size_t)(w->base.in + 16) * sizeof(float) * TILE_PANEL;
    char *work = px_scratch(s, each * (size_t)s->threads);
    if (!work) return;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t p = 0; p < panel_count(w); p++)
        panel_fill(w, p, source, work + (size_t)omp_get_thread_num() * each);
}

/* Codes of one step's 64 lower or upper inputs -> bf16 pairs. */
static void unpack_step(int bits, const float *scale, const float *least, const uint8_t *codes,
                        uint32_t *out) {
    float low[TILE_PANEL], high[TILE_PANEL];
    if (bits == 8) {
        for (int n = 0; n < TILE_PANEL; n++) low[n] = scale[n] * (float)((int)codes[n] - 128);
        for (int n = 0; n < TILE_PANEL; n++)
            high[n] = scale[n] * (float)((int)codes[TILE_PANEL + n] - 128);
    } else {
        for (int n = 0; n < TILE_PANEL; n++) low[n] = scale[n] * (float)(codes[n] & 15) + least[n];
        for (int n = 0; n < TILE_PANEL; n++) high[n] = scale[n] * (float)(codes[n] >> 4) + least[n];
    }
    for (int n = 0; n < TILE_PANEL; n += 16)
        v16_store_pairs(out + n, v16_load(low + n), v16_load(high + n));
}

/* A quantised panel as bf16 units. Behind an odd or cut end stand numbers that meet zeros of x. */
static void unpack_panel(const cpu_weight *w, int64_t p, uint32_t *out) {
    const int bits = px_pack_bits(w->base.pack);
    const int64_t code_bytes = bits == 8 ? 2 * TILE_PANEL : TILE_PANEL;
    const uint32_t *panel = w->panels + p * panel_units(w);
    for (int64_t k = 0; k < step_count(w); k++) {
        const uint32_t *block = panel + k / (QUANT_BLOCK / 2) * block_units(w);
        const float *scale = (const float *)(const void *)block;
        const uint8_t *codes = (const uint8_t *)(block + 2 * TILE_PANEL);
        unpack_step(bits, scale, scale + TILE_PANEL, codes + k % (QUANT_BLOCK / 2) * code_bytes,
                    out + k * TILE_PANEL);
    }
}

typedef struct {
    px_mat y;
    const cpu_weight *w;
    const uint32_t *x; /* rows of `row` units */
    int64_t row, steps;
    uint32_t *unpacked; /* [threads, steps, 64] of a quantised weight */
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

/* The panel that holds a column, as units. */
static const uint32_t *panel_of(const panel_call *c, int64_t column) {
    if (!c->unpacked) return c->w->panels + column / TILE_PANEL * panel_units(c->w);
    uint32_t *mine = c->unpacked + omp_get_thread_num() * c->steps * TILE_PANEL;
    unpack_panel(c->w, column / TILE_PANEL, mine);
    return mine;
}

/* Rows [row, end) of columns [column, column + cols) of one panel. */
static void panel_piece(const panel_call *c, int64_t column, int64_t cols, int64_t row, int64_t end,
                        cpu_tile_ahead ahead) {
    float sums[CHUNK_ROWS * TILE_PANEL];
    const uint32_t *panel = panel_of(c, column);
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
    /* A quantised panel is unpacked as a whole: by one thread. */
    const int64_t unit = c->unpacked ? TILE_PANEL : 16;
    const int64_t n = (c->w->base.out + unit - 1) / unit;
    int64_t column = n * thread / threads * unit;
    const int64_t end = n * (thread + 1) / threads * unit;
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

/* x's rows as units where they lie, if they can be read so; else copied, for which there is room.
 */
static bool readable(px_mat x) {
    const bool plain = x.type == PX_F32 || (x.cols % 2 == 0 && x.stride % 2 == 0);
    return plain && (uintptr_t)x.data % sizeof(uint32_t) == 0;
}

/* Scratch of a call: x copied, then the threads' unpacked panels. */
static bool call_memory(px_stream *s, panel_call *c, px_mat x) {
    const bool direct = readable(x), quantised = px_pack_bits(c->w->base.pack) != 0;
    const int64_t copied = direct ? 0 : tile_up(x.rows * c->steps, 16);
    const int64_t unpacked = quantised ? s->threads * c->steps * TILE_PANEL : 0;
    uint32_t *memory = NULL;
    if (copied + unpacked > 0) {
        memory = px_scratch(s, (size_t)(copied + unpacked) * sizeof *memory);
        if (!memory) return false;
    }
    c->row = direct ? (x.type == PX_F32 ? x.stride : x.stride / 2) : c->steps;
    c->x = direct ? x.data : memory;
    if (!direct) cpu_tile_pack_rows(memory, c->steps, cpu_tile_rows_of(x, 0, 0, x.cols), x.rows);
    if (quantised) c->unpacked = memory + copied;
    return true;
}

void cpu_panels_linear(px_stream *s, px_mat y, px_mat x, const cpu_weight *w, bool add) {
    panel_call c = {.y = y, .w = w, .steps = step_count(w), .add = add};
    if (y.rows == 0 || y.cols == 0 || !call_memory(s, &c, x)) return;
#pragma omp parallel num_threads(s->threads)
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        if (y.rows <= FEW_ROWS)
            few_rows(&c, thread, threads);
        else
            many_rows(&c, thread, threads);
    }
}
