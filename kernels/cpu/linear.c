/* linear.c - packed weights and the linear layers over them. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "quant.h"
#include "vec.h"

/* --- packing --- */

static int64_t blocks_of(int64_t n, int64_t step) { return (n + step - 1) / step; }
static int64_t block_size(int64_t n, int64_t step, int64_t i) { return PX_MIN(step, n - i * step); }

static void pack_free(cpu_pack *pack) {
    for (int64_t i = 0; pack->blocks && i < pack->n_k * pack->n_n; i++)
        if (pack->blocks[i]) dnnl_memory_destroy(pack->blocks[i]);
    free(pack->blocks);
    free(pack->data);
    *pack = (cpu_pack){0};
}

/* Memory for B [K, N] of `type`, not filled. */
static px_err *pack_new(px_stream *s, cpu_pack *pack, px_type type) {
    cpu_state *state = s->state;
    px_err *err = NULL;
    pack->n_k = blocks_of(pack->K, pack->k_step);
    pack->n_n = blocks_of(pack->N, pack->n_step);
    const int64_t n = pack->n_k * pack->n_n;
    dnnl_memory_desc_t *layouts = calloc((size_t)n + 1, sizeof *layouts);
    pack->blocks = calloc((size_t)n + 1, sizeof(dnnl_memory_t));
    if (!layouts || !pack->blocks) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        const int64_t K = block_size(pack->K, pack->k_step, i / pack->n_n);
        const int64_t N = block_size(pack->N, pack->n_step, i % pack->n_n);
        PX_PASS_TO(done, cpu_packed_layout(s, K, N, type, &layouts[i]));
        pack->bytes += (int64_t)((dnnl_memory_desc_get_size(&layouts[i]) + 63) / 64 * 64);
    }
    pack->data = aligned_alloc(64, (size_t)pack->bytes + 64);
    if (!pack->data)
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory: %lld bytes of packed weights",
                   (long long)pack->bytes);
    char *at = pack->data;
    for (int64_t i = 0; i < n; i++) {
        PX_PASS_TO(done,
                   cpu_check(dnnl_memory_create(&pack->blocks[i], &layouts[i], state->engine, at),
                             "packed memory"));
        at += (dnnl_memory_desc_get_size(&layouts[i]) + 63) / 64 * 64;
    }
done:
    free(layouts);
    return err;
}

/* Fills block i of B, whose element (k, n) is source(n, k) if transposed, else source(k, n). */
static dnnl_status_t block_fill(cpu_state *state, int thread, const cpu_pack *pack, int64_t i,
                                px_mat source, bool transposed) {
    const int64_t k = i / pack->n_n * pack->k_step, n = i % pack->n_n * pack->n_step;
    dnnl_dims_t dims = {block_size(pack->K, pack->k_step, i / pack->n_n),
                        block_size(pack->N, pack->n_step, i % pack->n_n)};
    dnnl_dims_t strides = {transposed ? 1 : source.stride, transposed ? source.stride : 1};
    char *data =
        (char *)source.data + (size_t)(k * strides[0] + n * strides[1]) * px_type_size(source.type);
    const dnnl_memory_desc_t *target;
    dnnl_memory_desc_t from;
    dnnl_memory_t memory = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_status_t status = dnnl_memory_get_memory_desc(pack->blocks[i], &target);
    if (!status)
        status = dnnl_memory_desc_init_by_strides(
            &from, 2, dims, source.type == PX_F32 ? dnnl_f32 : dnnl_bf16, strides);
    if (!status) status = dnnl_memory_create(&memory, &from, state->engine, data);
    if (!status)
        status = dnnl_reorder_primitive_desc_create(&desc, &from, state->engine, target,
                                                    state->engine, NULL);
    if (!status) status = dnnl_primitive_create(&reorder, desc);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory}, {DNNL_ARG_TO, pack->blocks[i]}};
    if (!status) status = dnnl_primitive_execute(reorder, state->streams[thread], 2, args);
    if (!status) status = dnnl_stream_wait(state->streams[thread]);
    if (reorder) dnnl_primitive_destroy(reorder);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (memory) dnnl_memory_destroy(memory);
    return status;
}

static px_err *pack_fill(px_stream *s, const cpu_pack *pack, px_mat source, bool transposed) {
    dnnl_status_t status = dnnl_success;
    const int kept = cpu_begin();
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < pack->n_k * pack->n_n; i++) {
        dnnl_status_t mine =
            block_fill(s->state, omp_get_thread_num(), pack, i, source, transposed);
        if (mine) {
#pragma omp atomic write
            status = mine;
        }
    }
    cpu_end(kept);
    return cpu_check(status, "packing a weight");
}

/* --- weights --- */

static void convert_rows(px_stream *s, px_mat to, px_mat from) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < to.rows; i++)
        v16_convert(px_mat_row(to, i), to.type, px_mat_row(from, i), from.type, to.cols);
}

/* *source becomes a copy of itself in `type`, in new memory that stands in *memory. */
static px_err *convert_all(px_stream *s, px_mat *source, px_type type, void **memory) {
    const size_t bytes = (size_t)(source->rows * source->cols) * px_type_size(type);
    void *copy = malloc(bytes + 1);
    if (!copy) PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes of converted weights", bytes);
    const px_mat to = px_mat_of(copy, type, source->rows, source->cols);
    convert_rows(s, to, *source);
    free(*memory);
    *memory = copy;
    *source = to;
    return NULL;
}

/* *source becomes what its blocks of 8 or 4 bits stand for, in bf16. */
static px_err *quantise_all(px_stream *s, px_mat *source, int bits, void **memory) {
    const int64_t n = source->cols;
    if (source->type != PX_F32) PX_PASS(convert_all(s, source, PX_F32, memory));
    uint16_t *codes = malloc((size_t)(source->rows * n) * sizeof *codes + 1);
    if (!codes) PX_FAIL(PX_RUN_FAILED, "out of memory: %lld quantised weights", (long long)n);
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < source->rows; i++)
        quant_row(bits, px_mat_row(*source, i), n, codes + i * n);
    free(*memory);
    *memory = codes;
    *source = px_mat_of(codes, PX_BF16, source->rows, n);
    return NULL;
}

/* What is packed is rounded to the compute type, also where products of it are computed in f32. It
 * is widened before it is packed: oneDNN has no fast way from bf16 rows to f32 blocks. */
px_err *cpu_weight_update(px_stream *s, px_weight *base, px_mat source) {
    cpu_weight *w = (cpu_weight *)base;
    px_err *err = NULL;
    void *memory = NULL;
    if (w->panels) cpu_panels_fill(s, w, source); /* rounds by itself */
    if (w->rows) convert_rows(s, px_mat_of(w->rows, base->type, base->out, base->in), source);
    if (!(base->pack & (PX_PACK_FORWARD | PX_PACK_BACKWARD))) return NULL;
    if (px_pack_bits(base->pack))
        PX_PASS_TO(done, quantise_all(s, &source, px_pack_bits(base->pack), &memory));
    if (w->packed != base->type && source.type != base->type)
        PX_PASS_TO(done, convert_all(s, &source, base->type, &memory));
    if (w->packed == PX_F32 && source.type != PX_F32)
        PX_PASS_TO(done, convert_all(s, &source, PX_F32, &memory));
    if (base->pack & PX_PACK_FORWARD) PX_PASS_TO(done, pack_fill(s, &w->forward, source, true));
    if (base->pack & PX_PACK_BACKWARD) PX_PASS_TO(done, pack_fill(s, &w->backward, source, false));
done:
    free(memory);
    return err;
}

px_err *cpu_weight_new(px_stream *s, px_mat source, px_type type, int pack, px_weight **out) {
    const cpu_state *state = s->state;
    px_err *err = NULL;
    cpu_weight *w = calloc(1, sizeof *w);
    if (!w) PX_NO_MEMORY();
    w->base = (px_weight){s->backend, source.rows, source.cols, type, pack, 0};
    w->packed = type == PX_BF16 && !state->has_bf16 ? PX_F32 : type;
    const int64_t out_n = source.rows, in_n = source.cols;
    if (pack & PX_PACK_FORWARD) {
        w->forward = (cpu_pack){.K = in_n, .N = out_n, .k_step = in_n, .n_step = CPU_PANEL};
        PX_PASS_TO(failed, pack_new(s, &w->forward, w->packed));
    }
    if (pack & PX_PACK_BACKWARD) {
        w->backward = (cpu_pack){.K = out_n, .N = in_n, .k_step = out_n, .n_step = CPU_PANEL};
        if (pack & PX_PACK_ROWS) w->backward.k_step = CPU_CHUNK;
        PX_PASS_TO(failed, pack_new(s, &w->backward, w->packed));
    }
    w->base.bytes = w->forward.bytes + w->backward.bytes;
    if (pack & PX_PACK_PANELS) PX_PASS_TO(failed, cpu_panels_new(w));
    if (pack & PX_PACK_ROWS) {
        const size_t bytes = (size_t)(out_n * in_n) * px_type_size(type);
        w->rows = aligned_alloc(64, bytes / 64 * 64 + 64);
        if (!w->rows) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory: %zu bytes of rows", bytes);
        w->base.bytes += (int64_t)bytes;
    }
    PX_PASS_TO(failed, cpu_weight_update(s, &w->base, source));
    *out = &w->base;
    return NULL;
failed:
    cpu_weight_free(&w->base);
    return px_err_add(err, __FILE__, __LINE__, "weight [%lld, %lld]", (long long)out_n,
                      (long long)in_n);
}

void cpu_weight_free(px_weight *base) {
    cpu_weight *w = (cpu_weight *)base;
    pack_free(&w->forward);
    pack_free(&w->backward);
    free(w->rows);
    free(w->panels);
    free(w);
}

/* --- products --- */

/* y = x · B[k-th chunk, columns of the blocks n_first …] (+ y). Pieces: blocks of rows × packed
 * blocks, a packed block's pieces one after the other so that it stays in the cache. A piece is
 * computed in f32 in the thread's own memory, then added, rounded and written to y. */
typedef struct {
    px_mat y, x;
    const cpu_pack *pack;
    px_type packed;
    int64_t k, n_first, n_blocks;
    bool add, steady;
    const cpu_kernel *kernels[3][2]; /* full rows, rest by 16, rest; full and last width */
    float *own;                      /* per thread: y in f32; x dense in the packed type */
    int64_t own_y, own_step;
} product;

static bool product_prepare(px_stream *s, product *p) {
    const int64_t rest = p->steady ? p->x.rows % CPU_ROWS : 0;
    const int64_t rows[3] = {p->x.rows >= CPU_ROWS || !p->steady ? CPU_ROWS : 0, rest / 16 * 16,
                             rest % 16};
    const int64_t widths[2] = {p->n_blocks > 1 ? p->pack->n_step : 0,
                               p->y.cols - (p->n_blocks - 1) * p->pack->n_step};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) {
            if (rows[i] == 0 || widths[j] == 0) continue;
            const cpu_shape shape = {rows[i], widths[j], p->x.cols, (int32_t)p->packed, 0, 0, 0};
            p->kernels[i][j] = cpu_kernel_get(s, shape);
            if (!p->kernels[i][j]) return false;
        }
    p->own_y = CPU_ROWS * p->pack->n_step;
    p->own_step = p->own_y + (CPU_ROWS * p->x.cols + 15) / 16 * 16;
    p->own = px_scratch(s, (size_t)(p->own_step * s->threads) * sizeof(float));
    return p->own != NULL;
}

static void convert_block(px_mat to, px_mat from) {
    for (int64_t i = 0; i < to.rows; i++)
        v16_convert(px_mat_row(to, i), to.type, px_mat_row(from, i), from.type, to.cols);
}
static void zero_block(px_mat m) {
    memset(m.data, 0, (size_t)(m.rows * m.cols) * px_type_size(m.type));
}
static void add_block(px_mat to, px_mat from) {
    for (int64_t i = 0; i < to.rows; i++)
        for (int64_t j = 0; j < to.cols; j += 16)
            v16_put_part(px_mat_row(to, i), to.type, j, to.cols,
                         v16_add(v16_part(px_mat_row(to, i), to.type, j, to.cols),
                                 v16_part(px_mat_row(from, i), PX_F32, j, to.cols)));
}

/* Rows [first, first + rows) of one packed block by one kernel. */
static void product_run(px_stream *s, const product *p, const cpu_kernel *kernel, int64_t block,
                        int64_t first, int64_t rows) {
    if (rows == 0) return;
    const int thread = omp_get_thread_num();
    const int64_t column = block * p->pack->n_step;
    const px_mat x = {px_mat_row(p->x, first), p->x.type, rows, p->x.cols, p->x.stride};
    const px_mat y = {(char *)px_mat_row(p->y, first) + (size_t)column * px_type_size(p->y.type),
                      p->y.type, rows, PX_MIN(p->pack->n_step, p->y.cols - column), p->y.stride};
    float *own = p->own + p->own_step * thread;
    const px_mat own_y = px_mat_of(own, PX_F32, rows, y.cols);
    px_mat own_x = px_mat_of(own + p->own_y, p->packed, rows, x.cols);
    cpu_operands operands = {.x = x.data, .y = own};
    operands.packed = p->pack->blocks[p->k * p->pack->n_n + p->n_first + block];
    if (x.type != p->packed || x.stride != x.cols || !p->steady) {
        convert_block(own_x, x);
        operands.x = own_x.data;
        own_x.data = px_mat_row(own_x, rows);
        own_x.rows = CPU_ROWS - rows;
        if (!p->steady) zero_block(own_x);
    }
    cpu_kernel_run(s, kernel, thread, operands);
    if (p->add)
        add_block(y, own_y);
    else
        convert_block(y, own_y);
}

static void product_all(px_stream *s, product *p) {
    const int64_t T = p->x.rows, n_rows = blocks_of(T, CPU_ROWS);
    if (T == 0 || p->n_blocks == 0) return;
    const int kept = cpu_begin();
    p->steady =
        ((const cpu_state *)s->state)->steady; /* else rows are computed CPU_ROWS at a time */
    if (product_prepare(s, p)) {
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
        for (int64_t i = 0; i < n_rows * p->n_blocks; i++) {
            const int64_t block = i / n_rows, first = i % n_rows * CPU_ROWS, rest = T - first;
            const int width = block == p->n_blocks - 1;
            if (rest >= CPU_ROWS || !p->steady) {
                product_run(s, p, p->kernels[0][width], block, first, PX_MIN(CPU_ROWS, rest));
            } else {
                product_run(s, p, p->kernels[1][width], block, first, rest / 16 * 16);
                product_run(s, p, p->kernels[2][width], block, first + rest / 16 * 16, rest % 16);
            }
        }
    }
    cpu_end(kept);
}

void cpu_linear_range(px_stream *s, px_mat y, px_mat x, const px_weight *base, int64_t first,
                      int64_t n, bool add) {
    const cpu_weight *w = (const cpu_weight *)base;
    product_all(s, &(product){.y = y,
                              .x = x,
                              .pack = &w->forward,
                              .packed = w->packed,
                              .n_first = first / CPU_PANEL,
                              .n_blocks = blocks_of(n, CPU_PANEL),
                              .add = add});
}

void cpu_linear_backward_range(px_stream *s, px_mat dx, px_mat dy, const px_weight *base,
                               int64_t first, int64_t n, bool add) {
    const cpu_weight *w = (const cpu_weight *)base;
    dy.cols = n;
    product_all(s, &(product){.y = dx,
                              .x = dy,
                              .pack = &w->backward,
                              .packed = w->packed,
                              .k = first / w->backward.k_step,
                              .n_blocks = w->backward.n_n,
                              .add = add});
}

void cpu_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add) {
    if (w->pack & PX_PACK_PANELS)
        cpu_panels_linear(s, y, x, (const cpu_weight *)w, add);
    else
        cpu_linear_range(s, y, x, w, 0, w->out, add);
}

/* A head's weight comes in chunks; the sum over them is then kept in f32. */
void cpu_linear_backward_input(px_stream *s, px_mat dx, px_mat dy, const px_weight *w, bool add) {
    const int64_t step = ((const cpu_weight *)w)->backward.k_step;
    px_mat sum = dx;
    if (w->out > step && dx.type != PX_F32) {
        sum = px_mat_of(NULL, PX_F32, dx.rows, dx.cols);
        sum.data = malloc((size_t)(dx.rows * dx.cols) * sizeof(float) + 1);
        if (!sum.data) {
            px_stream_fail(s, px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory"));
            return;
        }
        if (add) convert_rows(s, sum, dx);
    }
    for (int64_t first = 0; first < w->out; first += step) {
        px_mat part = dy;
        part.data = (char *)dy.data + (size_t)first * px_type_size(dy.type);
        cpu_linear_backward_range(s, sum, part, w, first, PX_MIN(step, w->out - first),
                                  add || first > 0);
    }
    if (sum.data == dx.data) return;
    convert_rows(s, dx, sum);
    free(sum.data);
}
