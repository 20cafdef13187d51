/* linear.c - reference linear layers and low-rank adapters. */
#include <stdlib.h>

#include "quant.h"
#include "ref.h"

static const double *values_of(const px_weight *w) { return ((const px_ref_weight *)w)->values; }

/* A row as its blocks stand for it, rounded to bf16. */
static void quantise_row(double *row, int64_t n, int bits) {
    for (int64_t first = 0; first < n; first += QUANT_BLOCK) {
        const int size = (int)PX_MIN(QUANT_BLOCK, n - first);
        float x[QUANT_BLOCK] = {0};
        quant_block block;
        for (int i = 0; i < size; i++) x[i] = (float)row[first + i];
        if (bits == 8)
            quant_8(x, size, &block);
        else
            quant_4(x, size, &block);
        for (int i = 0; i < size; i++)
            row[first + i] = px_f32_of(px_bf16_of(quant_value(bits, &block, i)));
    }
}

px_err *px_ref_weight_update(px_stream *s, px_weight *w, px_mat source) {
    (void)s;
    double *values = ((px_ref_weight *)w)->values;
    const int bits = px_pack_bits(w->pack);
    for (int64_t i = 0; i < w->out; i++) {
        for (int64_t j = 0; j < w->in; j++) {
            double value = ref_at(source, i, j);
            if (w->type == PX_BF16 && bits == 0) value = px_f32_of(px_bf16_of((float)value));
            values[i * w->in + j] = value;
        }
        if (bits) quantise_row(values + i * w->in, w->in, bits);
    }
    return NULL;
}

px_err *px_ref_weight_new(px_stream *s, px_mat source, px_type type, int pack, px_weight **out) {
    px_ref_weight *w = calloc(1, sizeof *w);
    if (!w) PX_NO_MEMORY();
    w->base = (px_weight){s->backend, source.rows, source.cols, type, pack, 0};
    w->base.bytes = source.rows * source.cols * (int64_t)sizeof(double);
    w->values = malloc((size_t)w->base.bytes + 1);
    if (!w->values) {
        free(w);
        PX_NO_MEMORY();
    }
    *out = &w->base;
    return px_ref_weight_update(s, *out, source);
}

void px_ref_weight_free(px_weight *w) {
    free(((px_ref_weight *)w)->values);
    free(w);
}

void px_ref_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add) {
    (void)s;
    const double *values = values_of(w);
    for (int64_t t = 0; t < y.rows; t++)
        for (int64_t o = 0; o < w->out; o++) {
            double sum = add ? ref_at(y, t, o) : 0;
            for (int64_t i = 0; i < w->in; i++) sum += ref_at(x, t, i) * values[o * w->in + i];
            ref_put(y, t, o, sum);
        }
}

void px_ref_linear_backward_input(px_stream *s, px_mat dx, px_mat dy, const px_weight *w,
                                  bool add) {
    (void)s;
    const double *values = values_of(w);
    for (int64_t t = 0; t < dx.rows; t++)
        for (int64_t i = 0; i < w->in; i++) {
            double sum = add ? ref_at(dx, t, i) : 0;
            for (int64_t o = 0; o < w->out; o++) sum += ref_at(dy, t, o) * values[o * w->in + i];
            ref_put(dx, t, i, sum);
        }
}

void px_ref_linear_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x) {
    (void)s;
    for (int64_t o = 0; o < dy.cols; o++)
        for (int64_t i = 0; i < x.cols; i++) {
            double sum = dw[o * x.cols + i];
            for (int64_t t = 0; t < x.rows; t++) sum += ref_at(dy, t, o) * ref_at(x, t, i);
            dw[o * x.cols + i] = (float)sum;
        }
}

/* 0 or 1/(1-p): what dropout multiplies element (row, column) by. */
static double drop_factor(px_dropout drop, int64_t row, int64_t column) {
    if (drop.p == 0) return 1;
    const uint64_t item = drop.keys[row];
    const uint32_t counter[4] = {(uint32_t)PX_RNG_DROPOUT << 16 ^ drop.site, (uint32_t)item,
                                 (uint32_t)(item >> 32),
                                 (uint32_t)(column / 128 * 16 + column % 16)};
    const uint32_t key[2] = {(uint32_t)drop.seed, (uint32_t)(drop.seed >> 32)};
    const uint32_t word = px_philox(counter, key).v[column / 16 % 4];
    const uint32_t draw = column / 64 % 2 ? word >> 16 : word & 0xFFFF;
    return draw >= px_drop_threshold(drop) ? 1 / (1 - drop.p) : 0;
}

void px_ref_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R,
                      px_dropout drop) {
    double *row = px_scratch(s, (size_t)x.cols * sizeof *row);
    if (!row) return;
    for (int64_t t = 0; t < x.rows; t++) {
        for (int64_t i = 0; i < x.cols; i++) row[i] = ref_at(x, t, i) * drop_factor(drop, t, i);
        for (int64_t k = 0; k < R; k++) {
            double sum = 0;
            for (int64_t i = 0; i < x.cols; i++) sum += row[i] * a[k * x.cols + i];
            u[t * R + k] = (float)sum;
        }
    }
}

void px_ref_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part) {
    (void)s;
    for (int64_t t = 0; t < y.rows; t++)
        for (int64_t o = 0; o < y.cols; o++) {
            double sum = 0;
            for (int64_t k = 0; k < part.r; k++)
                sum += (double)u[t * part.R + part.first + k] * b[o * part.r + k];
            ref_add(y, t, o, part.scale * sum);
        }
}

void px_ref_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                             const float *b, px_lora_part part) {
    (void)s;
    for (int64_t t = 0; t < dy.rows; t++)
        for (int64_t k = 0; k < part.r; k++) {
            double sum = 0;
            for (int64_t o = 0; o < dy.cols; o++) sum += ref_at(dy, t, o) * b[o * part.r + k];
            du[t * part.R + part.first + k] = (float)(part.scale * sum);
        }
    for (int64_t o = 0; o < dy.cols; o++)
        for (int64_t k = 0; k < part.r; k++) {
            double sum = 0;
            for (int64_t t = 0; t < dy.rows; t++)
                sum += ref_at(dy, t, o) * u[t * part.R + part.first + k];
            db[o * part.r + k] = (float)(db[o * part.r + k] + part.scale * sum);
        }
}

void px_ref_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                               const float *a, int64_t R, px_dropout drop) {
    double *sums = px_scratch(s, (size_t)(R * x.cols) * sizeof *sums);
    if (!sums) return;
    for (int64_t n = 0; n < R * x.cols; n++) sums[n] = da[n];
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t i = 0; i < x.cols; i++) {
            const double factor = drop_factor(drop, t, i), value = factor * ref_at(x, t, i);
            double sum = 0;
            for (int64_t k = 0; k < R; k++) {
                sums[k * x.cols + i] += du[t * R + k] * value;
                sum += (double)du[t * R + k] * a[k * x.cols + i];
            }
            if (dx.data) ref_add(dx, t, i, factor * sum);
        }
    for (int64_t n = 0; n < R * x.cols; n++) da[n] = (float)sums[n];
}
