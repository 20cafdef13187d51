/* tile.h - small matrix products out of packed blocks that stay in the processor's nearest memory:
 * what attention and the loss head are made of.
 *
 * Operands come in 32-bit units along the summed dimension: one f32, or two neighbouring bf16
 * values (low half first). An odd end is padded with 0. A product of n terms has `steps` units.
 * Every element of a product is one chain of additions in the order of the steps, so its bits do
 * not depend on what else is in the call. */
#ifndef PX_CPU_TILE_H
#define PX_CPU_TILE_H

#include "vec.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#define TILE_AVX512 1
#else
#define TILE_AVX512 0
#endif
#if !defined(__AVX512F__) && defined(__AVX2__) && defined(__FMA__)
#define TILE_AVX2 1
#else
#define TILE_AVX2 0
#endif
#define TILE_PANEL 64 /* columns of a panel: what cpu_tile_mul takes at a time */

static inline int64_t tile_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}
static inline int64_t tile_steps(px_type type, int64_t n) {
    return type == PX_BF16 ? (n + 1) / 2 : n;
}

/* Left operand: unit of row m, step k at data[m * row + k * step]. */
typedef struct {
    const uint32_t *data;
    int64_t row, step;
} cpu_tile_left;
/* Right operand: unit of step k, column n at data[k * step + n]. */
typedef struct {
    const uint32_t *data;
    int64_t step;
} cpu_tile_right;
typedef struct {
    float *data;
    int64_t row;
} cpu_tile_out;
typedef struct {
    px_type type;
    int64_t rows, cols, steps; /* cols a multiple of 16 */
    bool add;
} cpu_tile_shape;

/* c [rows, cols] = or += a [rows, steps] · b [steps, cols]. */
void cpu_tile_mul(cpu_tile_out c, cpu_tile_left a, cpu_tile_right b, cpu_tile_shape shape);
/* What to ask memory for meanwhile: so many cache lines a step, one after the other from data. Only
 * a hint, any address may stand there. */
typedef struct {
    const char *data;
    int64_t lines;
} cpu_tile_ahead;
void cpu_tile_mul_ahead(cpu_tile_out c, cpu_tile_left a, cpu_tile_right b, cpu_tile_shape shape,
                        cpu_tile_ahead ahead);

/* Where to find rows of a matrix: n values of `type` from `data`, row i at i * stride values. */
typedef struct {
    const void *data;
    px_type type;
    int64_t stride, n;
} cpu_tile_rows;
static inline cpu_tile_rows cpu_tile_rows_of(px_mat m, int64_t first_row, int64_t first_col,
                                             int64_t n) {
    const char *data =
        (const char *)px_mat_row(m, first_row) + (size_t)first_col * px_type_size(m.type);
    return (cpu_tile_rows){data, m.type, m.stride, n};
}

/* Summed dimension along the row. Rows become the columns [first, first + count)
 * of panels of TILE_PANEL columns: unit j of row p at dst[p / 64 * 64 * steps + j * 64 + p % 64].
 */
void cpu_tile_pack_columns(uint32_t *dst, int64_t first, cpu_tile_rows rows, int64_t count);
/* Summed dimension across the rows: rows become the terms [first, first + count) of steps of `step`
 * units; value c of row p in dst[p / 2 * step + c], half p % 2 (bf16), or dst[p * step + c] (f32).
 * An odd end's other half becomes 0. Columns beyond n are left alone. */
void cpu_tile_pack_terms(uint32_t *dst, int64_t step, int64_t first, cpu_tile_rows rows,
                         int64_t count);
/* Rows as they are, `step` units each, zeros up to there. */
void cpu_tile_pack_rows(uint32_t *dst, int64_t step, cpu_tile_rows rows, int64_t count);

/* --- softmax --- */

/* Stands for minus infinity in exponents: 2^TILE_LOWEST is 0, and differences stay numbers. */
#define TILE_LOWEST (-1e30f)

/* 2^x for x <= 128: 2^r on [-1/2, 1/2] by the minimax polynomial of degree 6 (2e-9 before its
 * coefficients are rounded); relative error 1.5e-7. NaN gives NaN. */
static inline v16 v16_exp2(v16 x) {
#ifndef __AVX512F__
    x = v16_max(v16_set(-200.0f), x); /* ldexp takes an int */
#endif
    const v16 whole = v16_round(x), r = v16_sub(x, whole);
    v16 y = v16_set(1.534581182e-04f);
    y = v16_fma(y, r, v16_set(1.339993122e-03f));
    y = v16_fma(y, r, v16_set(9.618488958e-03f));
    y = v16_fma(y, r, v16_set(5.550328777e-02f));
    y = v16_fma(y, r, v16_set(2.402264689e-01f));
    y = v16_fma(y, r, v16_set(6.931472057e-01f));
    y = v16_fma(y, r, v16_set(1.000000001e+00f));
    return v16_scale2(y, whole);
}

#if TILE_AVX512
/* The first n lanes of a (n may be under 0 or over 16), `other` in the rest. */
static inline v16 v16_keep(v16 a, int64_t n, float other) {
    const uint32_t bits = n >= 16 ? 0xFFFFu : n <= 0 ? 0 : (1u << n) - 1;
    return _mm512_mask_blend_ps(_cvtu32_mask16(bits), _mm512_set1_ps(other), a);
}
static inline float v16_most(v16 a) { return _mm512_reduce_max_ps(a); }
/* p[j] = bf16 pair (a[j] low, b[j] high). */
static inline void v16_store_pairs(uint32_t *p, v16 a, v16 b) {
    const __m512i low = _mm512_cvtepu16_epi32(v16_narrow(a));
    const __m512i high = _mm512_cvtepu16_epi32(v16_narrow(b));
    _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#elif TILE_AVX2
static inline v16 v16_keep(v16 x, int64_t n, float other) {
    const __m256 rest = _mm256_set1_ps(other);
    return V16_BOTH(_mm256_blendv_ps(rest, x.a, _mm256_castsi256_ps(v8_below(n, 0))),
                    _mm256_blendv_ps(rest, x.b, _mm256_castsi256_ps(v8_below(n, 8))));
}
static inline float v16_most(v16 x) {
    const __m256 b = _mm256_max_ps(x.a, x.b);
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
static inline void v16_store_pairs(uint32_t *p, v16 x, v16 y) {
    const __m256i upper = _mm256_set1_epi32((int)0xFFFF0000u);
    const __m256i low = _mm256_srli_epi32(v8_rounded(x.a), 16);
    const __m256i low_b = _mm256_srli_epi32(v8_rounded(x.b), 16);
    _mm256_storeu_si256((__m256i *)p,
                        _mm256_or_si256(low, _mm256_and_si256(v8_rounded(y.a), upper)));
    _mm256_storeu_si256((__m256i *)(p + 8),
                        _mm256_or_si256(low_b, _mm256_and_si256(v8_rounded(y.b), upper)));
}
#else
static inline v16 v16_keep(v16 a, int64_t n, float other) {
    float lanes[16];
    v16_store(lanes, a);
    for (int i = 0; i < 16; i++) lanes[i] = i < n ? lanes[i] : other;
    return v16_load(lanes);
}
static inline float v16_most(v16 a) {
    float lanes[16];
    v16_store(lanes, a);
    for (int i = 1; i < 16; i++) lanes[0] = lanes[0] > lanes[i] ? lanes[0] : lanes[i];
    return lanes[0];
}
static inline void v16_store_pairs(uint32_t *p, v16 a, v16 b) {
    uint16_t low[16], high[16];
    v16_store_bf16(low, a);
    v16_store_bf16(high, b);
    for (int i = 0; i < 16; i++) p[i] = (uint32_t)low[i] | (uint32_t)high[i] << 16;
}
#endif

/* m[row, col : col + n] = factor · values; values readable up to a multiple of 16. */
static inline void tile_put_row(px_mat m, int64_t row, int64_t col, const float *values, int64_t n,
                                float factor) {
    char *to = (char *)px_mat_row(m, row) + (size_t)col * px_type_size(m.type);
    for (int64_t j = 0; j < n; j += 16) {
        const v16 a = v16_mul(v16_load(values + j), v16_set(factor));
        if (n - j >= 16)
            v16_put(to, m.type, j, a);
        else
            v16_put_n(to, m.type, j, a, n - j);
    }
}

/* --- memory --- */

/* Cuts one block into aligned pieces. Without data it only counts. */
typedef struct {
    char *data;
    int64_t used;
} cpu_taker;
static inline void *cpu_taker_next(cpu_taker *take, int64_t bytes) {
    void *piece = take->data ? take->data + take->used : NULL;
    take->used += tile_up(bytes, 64);
    return piece;
}

#endif
