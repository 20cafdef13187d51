/* linear.c - weights on the device, linear layers and adapters over them. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "quant.h"

cu_mat cuda_weight_mat(const px_weight *w) {
    return (cu_mat){((const cuda_weight *)w)->rows, w->out, w->in, w->in, w->type == PX_BF16, 0};
}

static cu_coded coded_of(const px_weight *base) {
    const cuda_weight *w = (const cuda_weight *)base;
    return (cu_coded){.codes = w->codes,
                      .scales = w->scales,
                      .blocks = (base->in + QUANT_BLOCK - 1) / QUANT_BLOCK,
                      .bits = px_pack_bits(base->pack)};
}

/* The weight as a matrix for a product: coded ones are widened into scratch. */
static cu_mat product_mat(px_stream *s, const px_weight *base) {
    const cuda_weight *w = (const cuda_weight *)base;
    cu_mat m = cuda_weight_mat(base);
    if (!w->codes) return m;
    m.data = cuda_room(s, (size_t)(base->out * base->in) * sizeof(uint16_t));
    if (m.data) cu_dequantise(cuda_queue(s), m, coded_of(base));
    return m;
}

/* A row's codes and scales, as quant.cu reads them. */
static void code_row(int bits, const float *x, int64_t n, uint8_t *codes, float *scales) {
    for (int64_t first = 0; first < n; first += QUANT_BLOCK) {
        quant_block block = {0};
        quant_any(bits, x + first, (int)PX_MIN((int64_t)QUANT_BLOCK, n - first), &block);
        *scales++ = block.scale;
        if (bits == 4) *scales++ = block.least;
        if (bits == 8) {
            memcpy(codes, block.q, QUANT_BLOCK);
            codes += QUANT_BLOCK;
        } else {
            for (int k = 0; k < QUANT_BLOCK / 2; k++)
                *codes++ = (uint8_t)(block.q[k] | block.q[k + QUANT_BLOCK / 2] << 4);
        }
    }
}

static size_t code_bytes(const px_weight *w) {
    const int64_t blocks = w->out * ((w->in + QUANT_BLOCK - 1) / QUANT_BLOCK);
    return (size_t)(blocks * (px_pack_bits(w->pack) == 8 ? QUANT_BLOCK : QUANT_BLOCK / 2));
}
/* Scales of a row. */
static int64_t row_scales(const px_weight *w) {
    return (w->in + QUANT_BLOCK - 1) / QUANT_BLOCK * (px_pack_bits(w->pack) == 8 ? 1 : 2);
}
static size_t scale_bytes(const px_weight *w) {
    return (size_t)(w->out * row_scales(w)) * sizeof(float);
}

/* Copies between the weight's rows and `m`, of one type, in either direction. */
static void move_rows(px_stream *s, px_mat to, px_mat from, cu_way way) {
    const size_t size = px_type_size(from.type);
    cu_copy_rows(cuda_queue(s),
                 (cu_rows){to.data, from.data, (size_t)to.stride * size, (size_t)from.stride * size,
                           (size_t)from.cols * size, (size_t)from.rows},
                 way);
}

/* On the host, row by row: a source on the device comes over first. Codes go to the device, or what
 * they stand for, rounded to bf16. */
static px_err *quantise(px_stream *s, cuda_weight *w, px_mat source) {
    const int64_t n = w->base.in, n_out = w->base.out;
    const int bits = px_pack_bits(w->base.pack);
    const size_t row_codes = code_bytes(&w->base) / (size_t)(n_out + !n_out);
    const size_t bytes = w->codes ? code_bytes(&w->base) : (size_t)(n_out * n) * sizeof(uint16_t);
    const bool comes = cu_is_device(source.data);
    px_err *err = NULL;
    char *rows = comes ? malloc((size_t)(n_out * n) * px_type_size(source.type) + 1) : NULL;
    char *out = malloc(bytes + 1);
    float *wide = malloc((size_t)(s->threads * n) * sizeof *wide + 1);
    float *scales = malloc(scale_bytes(&w->base) + 1);
    if ((comes && !rows) || !out || !wide || !scales)
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (comes) {
        const px_mat here = px_mat_of(rows, source.type, n_out, n);
        move_rows(s, here, source, CU_TO_HOST);
        cu_wait(cuda_queue(s));
        source = here;
    }
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < n_out; i++) {
        float *row = wide + omp_get_thread_num() * n;
        const void *from = px_mat_row(source, i);
        for (int64_t j = 0; j < n; j++)
            row[j] = source.type == PX_BF16 ? px_f32_of(((const uint16_t *)from)[j])
                                            : ((const float *)from)[j];
        if (w->codes)
            code_row(bits, row, n, (uint8_t *)out + (size_t)i * row_codes,
                     scales + row_scales(&w->base) * i);
        else
            quant_row(bits, row, n, (uint16_t *)(void *)out + i * n);
    }
    cu_copy(cuda_queue(s), w->codes ? (void *)w->codes : w->rows, out, bytes, CU_TO_DEVICE);
    if (w->codes) cu_copy(cuda_queue(s), w->scales, scales, scale_bytes(&w->base), CU_TO_DEVICE);
    cu_wait(cuda_queue(s));
done:
    free(rows), free(out), free(wide), free(scales);
    return err;
}

/* Rounded on the card; what comes from the host goes through scratch, some rows at a time. */
static void convert_rows(px_stream *s, const px_weight *w, px_mat source) {
    const cu_mat to = cuda_weight_mat(w);
    const bool comes = !cu_is_device(source.data);
    const int64_t most = comes ? PX_MAX(PX_CARD_STAGED / PX_MAX(w->in, 1), 1) : w->out;
    for (int64_t i = 0; i < w->out && cuda_ready(s); i += most) {
        const int64_t n = PX_MIN(most, w->out - i);
        px_mat part = source;
        cu_mat at = to;
        part.data = px_mat_row(source, i);
        part.rows = at.rows = n;
        at.data = (char *)to.data + (size_t)(i * to.stride) * px_type_size(w->type);
        const cu_mat from = cuda_mat(s, part, CUDA_IN);
        if (cuda_ready(s)) cu_convert(cuda_queue(s), at, from);
        cuda_done(s);
    }
}

px_err *cuda_weight_update(px_stream *s, px_weight *base, px_mat source) {
    cuda_weight *w = (cuda_weight *)base;
    px_err *err = NULL;
    if (px_pack_bits(base->pack)) {
        err = quantise(s, w, source);
    } else if (source.type == base->type && !cu_is_device(source.data)) {
        /* As they are, without a second copy of the weight on the card. */
        move_rows(s, px_mat_of(w->rows, base->type, base->out, base->in), source, CU_TO_DEVICE);
    } else {
        convert_rows(s, base, source);
    }
    cuda_done(s);
    return err ? err : px_stream_ok(s);
}

px_err *cuda_weight_new(px_stream *s, px_mat source, px_type type, int pack, px_weight **out) {
    cuda_weight *w = calloc(1, sizeof *w);
    if (!w) PX_NO_MEMORY();
    w->base = (px_weight){s->backend, source.rows, source.cols, type, pack, 0};
    w->stream = s;
    const bool coded = px_pack_bits(pack) && !(pack & PX_PACK_ROWS); /* rows are read as such */
    if (coded) {
        w->base.bytes = (int64_t)(code_bytes(&w->base) + scale_bytes(&w->base));
        w->codes = cuda_take(s, code_bytes(&w->base));
        w->scales = cuda_take(s, scale_bytes(&w->base));
    } else {
        w->base.bytes = source.rows * source.cols * (int64_t)px_type_size(type);
        w->rows = cuda_take(s, (size_t)w->base.bytes);
    }
    px_err *err = NULL;
    if (w->rows || (w->codes && w->scales))
        err = cuda_weight_update(s, &w->base, source);
    else
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         CUDA_NAME ": no device memory for a weight of %lld bytes",
                         (long long)w->base.bytes);
    if (err) {
        cuda_weight_free(&w->base);
        return err;
    }
    *out = &w->base;
    return NULL;
}

void cuda_weight_free(px_weight *base) {
    cuda_weight *w = (cuda_weight *)base;
    cuda_give(w->stream, w->rows);
    cuda_give(w->stream, w->codes);
    cuda_give(w->stream, w->scales);
    free(w);
}

static cuda_use use_of(bool add) { return add ? CUDA_BOTH : CUDA_OUT; }

/* Few rows a time, as generation has them: the weight is not widened for them first. */
static void coded_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add) {
    const cu_mat from = cuda_mat(s, x, CUDA_IN), to = cuda_mat(s, y, use_of(add));
    if (cuda_ready(s)) cu_coded_linear(cuda_queue(s), to, from, coded_of(w), add);
    cuda_done(s);
}

void cuda_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add) {
    if (((const cuda_weight *)w)->codes && (w->pack & PX_PACK_PANELS)) {
        coded_linear(s, y, x, w, add);
        return;
    }
    const cu_gemm g = {.a = cuda_mat(s, x, CUDA_IN),
                       .b = product_mat(s, w),
                       .c = cuda_mat(s, y, use_of(add)),
                       .b_turned = 1,
                       .add = add,
                       .few = (w->pack & PX_PACK_PANELS) != 0};
    if (cuda_ready(s)) cuda_gemm(s, g);
    cuda_done(s);
}

void cuda_linear_backward_input(px_stream *s, px_mat dx, px_mat dy, const px_weight *w, bool add) {
    const cu_gemm g = {.a = cuda_mat(s, dy, CUDA_IN),
                       .b = product_mat(s, w),
                       .c = cuda_mat(s, dx, use_of(add)),
                       .add = add};
    if (cuda_ready(s)) cuda_gemm(s, g);
    cuda_done(s);
}

/* m in f32, where it is not. */
static cu_mat as_f32(px_stream *s, cu_mat m) {
    if (!m.bf16) return m;
    cu_mat wide = {NULL, m.rows, m.cols, m.cols, 0, 0};
    wide.data = cuda_room(s, (size_t)(m.rows * m.cols) * sizeof(float));
    if (wide.data) cu_convert(cuda_queue(s), wide, m);
    return wide;
}

void cuda_linear_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x) {
    const px_mat to = px_mat_of(dw, PX_F32, dy.cols, x.cols);
    cu_gemm g = {.a = cuda_mat(s, dy, CUDA_IN),
                 .b = cuda_mat(s, x, CUDA_IN),
                 .c = cuda_mat(s, to, CUDA_BOTH),
                 .a_turned = 1,
                 .add = 1};
    if (g.a.bf16 != g.b.bf16) {
        g.a = as_f32(s, g.a);
        g.b = as_f32(s, g.b);
    }
    if (cuda_ready(s) && x.rows > 0) cuda_gemm(s, g);
    cuda_done(s);
}

/* --- low-rank adapters --- */

static cu_drop drop_of(px_stream *s, px_dropout drop, int64_t rows) {
    const uint32_t least = px_drop_threshold(drop);
    cu_drop out = {.seed_low = (uint32_t)drop.seed,
                   .seed_high = (uint32_t)(drop.seed >> 32),
                   .site = (uint32_t)PX_RNG_DROPOUT << 16 ^ drop.site,
                   .least = least,
                   .scale = (float)(1 / (1 - drop.p))};
    if (least) out.keys = cuda_array(s, drop.keys, (size_t)rows * sizeof *drop.keys, CUDA_IN);
    return out;
}
static float *floats(px_stream *s, const float *p, int64_t n, cuda_use use) {
    return cuda_array(s, p, (size_t)n * sizeof *p, use);
}
static cu_part part_of(px_lora_part part) {
    return (cu_part){part.R, part.first, part.r, part.scale};
}

/* Scratch of the gradient's product over x's rows. */
static float *lora_room(px_stream *s, cu_mat x, int64_t ranks) {
    if (!x.bf16) return NULL;
    return cuda_room(s, (size_t)cu_lora_room(x.rows, x.cols, ranks) * sizeof(float));
}

void cuda_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R, px_dropout drop) {
    float *to = floats(s, u, x.rows * R, CUDA_OUT);
    const cu_mat from = cuda_mat(s, x, CUDA_IN);
    const float *by = floats(s, a, R * x.cols, CUDA_IN);
    const cu_drop d = drop_of(s, drop, x.rows);
    if (cuda_ready(s)) cu_lora_down(cuda_queue(s), to, from, by, R, d);
    cuda_done(s);
}

void cuda_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part) {
    const cu_mat to = cuda_mat(s, y, CUDA_BOTH);
    const float *from = floats(s, u, y.rows * part.R, CUDA_IN);
    const float *by = floats(s, b, y.cols * part.r, CUDA_IN);
    if (cuda_ready(s)) cu_lora_up(cuda_queue(s), to, from, by, part_of(part));
    cuda_done(s);
}

/* du's other columns are not this part's: they stay. */
void cuda_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                           const float *b, px_lora_part part) {
    float *to_u = floats(s, du, dy.rows * part.R, CUDA_BOTH);
    float *to_b = floats(s, db, dy.cols * part.r, CUDA_BOTH);
    const cu_mat from = cuda_mat(s, dy, CUDA_IN);
    const float *with = floats(s, u, dy.rows * part.R, CUDA_IN);
    const float *by = floats(s, b, dy.cols * part.r, CUDA_IN);
    float *room = lora_room(s, from, part.r);
    if (cuda_ready(s))
        cu_lora_up_backward(cuda_queue(s), to_u, to_b, from, with, by, part_of(part), room);
    cuda_done(s);
}

void cuda_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                             const float *a, int64_t R, px_dropout drop) {
    const cu_mat to_x = cuda_mat(s, dx, CUDA_BOTH);
    float *to_a = floats(s, da, R * x.cols, CUDA_BOTH);
    const float *from = floats(s, du, x.rows * R, CUDA_IN);
    const cu_mat with = cuda_mat(s, x, CUDA_IN);
    const float *by = floats(s, a, R * x.cols, CUDA_IN);
    const cu_drop d = drop_of(s, drop, x.rows);
    float *room = lora_room(s, with, R);
    if (cuda_ready(s)) cu_lora_down_backward(cuda_queue(s), to_x, to_a, from, with, by, R, d, room);
    cuda_done(s);
}
