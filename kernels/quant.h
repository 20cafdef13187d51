/* quant.h - weights in 8 or 4 bits, as GGUF's Q8_0 and Q4_1 keep them: blocks of 32 inputs of one
 * output, a scale (and a least value) of half precision each. A weight that was dequantised from
 * the same kind of block is quantised to the same numbers again. */
#ifndef PX_QUANT_H
#define PX_QUANT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "backend.h"

enum { QUANT_BLOCK = 32 };

/* x rounded to half precision (11 bits, to even; large ones to infinity), as f32. */
static inline float quant_half(float x) {
    const float a = fabsf(x);
    if (!(a < 65520.0f)) return x * INFINITY;
    int exponent;
    (void)frexpf(a, &exponent);
    const float unit = ldexpf(1, (exponent < -13 ? -13 : exponent) - 11);
    return rintf(x / unit) * unit;
}

typedef struct {
    float scale, least;
    uint8_t q[QUANT_BLOCK]; /* Q8_0: int8 + 128; Q4_1: 0 to 15 */
} quant_block;

static inline void quant_8(const float *x, int n, quant_block *out) {
    float most = 0;
    for (int i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    const float scale = most / 127, inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < n; i++) out->q[i] = (uint8_t)(128 + (int)roundf(x[i] * inverse));
    out->scale = quant_half(scale);
    out->least = -128 * out->scale; /* q stands for scale · q + least */
}

static inline void quant_4(const float *x, int n, quant_block *out) {
    float most = x[0], least = x[0];
    for (int i = 1; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        least = x[i] < least ? x[i] : least;
    }
    const float scale = (most - least) / 15, inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < n; i++) {
        const int q = (int)((x[i] - least) * inverse + 0.5f);
        out->q[i] = (uint8_t)(q > 15 ? 15 : q);
    }
    out->scale = quant_half(scale);
    out->least = quant_half(least);
}

/* What a code stands for. In 8 bits the difference is a small whole number: exact. */
static inline float quant_value(int bits, const quant_block *block, int i) {
    if (bits == 8) return block->scale * (float)((int)block->q[i] - 128);
    return block->scale * (float)block->q[i] + block->least;
}

static inline void quant_any(int bits, const float *x, int n, quant_block *out) {
    if (bits == 8)
        quant_8(x, n, out);
    else
        quant_4(x, n, out);
}
/* A row x [n] as its blocks stand for it, rounded to bf16. */
static inline void quant_row(int bits, const float *x, int64_t n, uint16_t *out) {
    for (int64_t first = 0; first < n; first += QUANT_BLOCK) {
        const int size = (int)PX_MIN((int64_t)QUANT_BLOCK, n - first);
        quant_block block;
        quant_any(bits, x + first, size, &block);
        for (int i = 0; i < size; i++) out[first + i] = px_bf16_of(quant_value(bits, &block, i));
    }
}

#endif
