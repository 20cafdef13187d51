/* vec.h - 16 floats at a time: AVX-512 or AVX2 where the processor has it, plain loops otherwise.
 * The order of a sum is part of an operation's meaning here:
 * v16_sum adds halves, so a row's bits never depend on threads or on other rows. */
#ifndef PX_CPU_VEC_H
#define PX_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "backend.h"

#ifdef __AVX512F__
#include <immintrin.h>

typedef __m512 v16;

static inline v16 v16_set(float x) { return _mm512_set1_ps(x); }
static inline v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v16_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
/* Loads into a register for several uses: gcc would fold the load into each of them. */
static inline v16 v16_load_once(const float *p) {
    v16 a = _mm512_loadu_ps(p);
    __asm__("" : "+v"(a));
    return a;
}
/* The first n of 16; the rest is 0 / untouched. */
static inline __mmask16 v16_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
static inline v16 v16_load_n(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(v16_first(n), p);
}
static inline void v16_store_n(float *p, v16 a, int64_t n) {
    _mm512_mask_storeu_ps(p, v16_first(n), a);
}
static inline v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
static inline v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
static inline v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
static inline v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
/* 1 / a to 1 ulp or so, for a from 1 to 2^126: two products instead of a division. */
static inline v16 v16_inverse(v16 a) {
    const __m512 guess = _mm512_rcp14_ps(a);
    return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(a, guess, _mm512_set1_ps(1)), guess);
}
static inline v16 v16_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
static inline v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
static inline v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
static inline v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
static inline v16 v16_round(v16 a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a · 2^n, n whole. */
static inline v16 v16_scale2(v16 a, v16 n) { return _mm512_scalef_ps(a, n); }
static inline v16 v16_wide(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
static inline __m256i v16_narrow(v16 a) {
#ifdef __AVX512BF16__
    return (__m256i)_mm512_cvtneps_pbh(a);
#else
    __m512i bits = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    up = _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), bits,
                              _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
#endif
}
static inline v16 v16_load_bf16(const uint16_t *p) {
    return v16_wide(_mm256_loadu_si256((const __m256i *)p));
}
static inline v16 v16_load_bf16_n(const uint16_t *p, int64_t n) {
    uint16_t part[16] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return v16_load_bf16(part);
}
static inline void v16_store_bf16(uint16_t *p, v16 a) {
    _mm256_storeu_si256((__m256i *)p, v16_narrow(a));
}
/* a where the bit is set, else 0. */
static inline v16 v16_masked(v16 a, uint16_t bits) { return _mm512_maskz_mov_ps(bits, a); }
/* r[i] = sum of a[i], by halving all at once. */
static inline v16 v16_sum16(const v16 a[16]) {
    __m512 quads[4];
    for (int i = 0; i < 4; i++) {
        const v16 *b = a + 4 * i;
        const __m512d low = _mm512_castps_pd(
            _mm512_add_ps(_mm512_unpacklo_ps(b[0], b[1]), _mm512_unpackhi_ps(b[0], b[1])));
        const __m512d high = _mm512_castps_pd(
            _mm512_add_ps(_mm512_unpacklo_ps(b[2], b[3]), _mm512_unpackhi_ps(b[2], b[3])));
        quads[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                                 _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
    }
    for (int i = 0; i < 4; i += 2)
        quads[i / 2] = _mm512_add_ps(_mm512_shuffle_f32x4(quads[i], quads[i + 1], 0x88),
                                     _mm512_shuffle_f32x4(quads[i], quads[i + 1], 0xDD));
    return _mm512_add_ps(_mm512_shuffle_f32x4(quads[0], quads[1], 0x88),
                         _mm512_shuffle_f32x4(quads[0], quads[1], 0xDD));
}
static inline float v16_sum(v16 a) {
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a),
                             _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1)));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

#elif defined(__AVX2__) && defined(__FMA__)
#include "vec_avx2.h"
#else

typedef struct {
    float v[16];
} v16;

#define V16_EACH(expression)                                                                       \
    v16 r_;                                                                                        \
    for (int i = 0; i < 16; i++) r_.v[i] = (expression);                                           \
    return r_

static inline v16 v16_set(float x) { V16_EACH(x); }
static inline v16 v16_load(const float *p) { V16_EACH(p[i]); }
static inline v16 v16_load_once(const float *p) { return v16_load(p); }
static inline void v16_store(float *p, v16 a) { memcpy(p, a.v, sizeof a.v); }
static inline v16 v16_load_n(const float *p, int64_t n) { V16_EACH(i < n ? p[i] : 0); }
static inline void v16_store_n(float *p, v16 a, int64_t n) {
    memcpy(p, a.v, (size_t)n * sizeof *p);
}
static inline v16 v16_add(v16 a, v16 b) { V16_EACH(a.v[i] + b.v[i]); }
static inline v16 v16_sub(v16 a, v16 b) { V16_EACH(a.v[i] - b.v[i]); }
static inline v16 v16_mul(v16 a, v16 b) { V16_EACH(a.v[i] * b.v[i]); }
static inline v16 v16_div(v16 a, v16 b) { V16_EACH(a.v[i] / b.v[i]); }
static inline v16 v16_inverse(v16 a) { V16_EACH(1 / a.v[i]); }
static inline v16 v16_sqrt(v16 a) { V16_EACH(sqrtf(a.v[i])); }
static inline v16 v16_max(v16 a, v16 b) { V16_EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
static inline v16 v16_min(v16 a, v16 b) { V16_EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]); }
static inline v16 v16_fma(v16 a, v16 b, v16 c) { V16_EACH(fmaf(a.v[i], b.v[i], c.v[i])); }
static inline v16 v16_round(v16 a) { V16_EACH(rintf(a.v[i])); }
static inline v16 v16_scale2(v16 a, v16 n) { V16_EACH(ldexpf(a.v[i], (int)n.v[i])); }
static inline v16 v16_load_bf16(const uint16_t *p) { V16_EACH(px_f32_of(p[i])); }
static inline v16 v16_load_bf16_n(const uint16_t *p, int64_t n) {
    V16_EACH(i < n ? px_f32_of(p[i]) : 0);
}
static inline void v16_store_bf16(uint16_t *p, v16 a) {
    for (int i = 0; i < 16; i++) p[i] = px_bf16_of(a.v[i]);
}
static inline v16 v16_masked(v16 a, uint16_t bits) { V16_EACH(bits >> i & 1 ? a.v[i] : 0); }
static inline float v16_sum(v16 a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
    return a.v[0];
}
static inline v16 v16_sum16(const v16 a[16]) { V16_EACH(v16_sum(a[i])); }

#endif

static inline void v16_store_bf16_n(uint16_t *p, v16 a, int64_t n) {
    uint16_t part[16];
    v16_store_bf16(part, a);
    memcpy(p, part, (size_t)n * sizeof *p);
}

/* e^x, relative error under 2^-22.5 (2 ulp) for x >= -87.3; smaller x give 0 or a number
 * below 1.2e-38, x > 88.7 gives inf. x = n ln 2 + r, |r| <= ln 2 / 2, and e^r by Taylor's
 * polynomial of degree 7, whose remainder is below 5e-9 there; ln 2 is split in two so that n ln 2
 * is exact. */
static inline v16 v16_exp(v16 x) {
    x = v16_max(v16_set(-200.0f), v16_min(v16_set(128.0f), x)); /* in this order NaN stays NaN */
    const v16 n = v16_round(v16_mul(x, v16_set(1.44269504f)));
    v16 r = v16_fma(n, v16_set(-0.693359375f), x);
    r = v16_fma(n, v16_set(2.12194440e-4f), r);
    v16 p = v16_set(1.0f / 5040);
    p = v16_fma(p, r, v16_set(1.0f / 720));
    p = v16_fma(p, r, v16_set(1.0f / 120));
    p = v16_fma(p, r, v16_set(1.0f / 24));
    p = v16_fma(p, r, v16_set(1.0f / 6));
    p = v16_fma(p, r, v16_set(0.5f));
    p = v16_fma(p, r, v16_set(1.0f));
    p = v16_fma(p, r, v16_set(1.0f));
    return v16_scale2(p, n);
}

/* 16 elements from column j of a row, or the first n of them: any type. */
static inline v16 v16_get(const void *row, px_type type, int64_t j) {
    return type == PX_F32 ? v16_load((const float *)row + j)
                          : v16_load_bf16((const uint16_t *)row + j);
}
static inline v16 v16_get_n(const void *row, px_type type, int64_t j, int64_t n) {
    return type == PX_F32 ? v16_load_n((const float *)row + j, n)
                          : v16_load_bf16_n((const uint16_t *)row + j, n);
}
static inline void v16_put(void *row, px_type type, int64_t j, v16 a) {
    if (type == PX_F32)
        v16_store((float *)row + j, a);
    else
        v16_store_bf16((uint16_t *)row + j, a);
}
static inline void v16_put_n(void *row, px_type type, int64_t j, v16 a, int64_t n) {
    if (type == PX_F32)
        v16_store_n((float *)row + j, a, n);
    else
        v16_store_bf16_n((uint16_t *)row + j, a, n);
}

/* Columns j … j + 15 of a row of n, as many as there are; the rest is 0 / not written. */
static inline v16 v16_part(const void *row, px_type type, int64_t j, int64_t n) {
    return n - j >= 16 ? v16_get(row, type, j) : v16_get_n(row, type, j, n - j);
}
static inline void v16_put_part(void *row, px_type type, int64_t j, int64_t n, v16 a) {
    if (n - j >= 16)
        v16_put(row, type, j, a);
    else
        v16_put_n(row, type, j, a, n - j);
}
/* n elements from one type to another. */
static inline void v16_convert(void *to, px_type to_type, const void *from, px_type from_type,
                               int64_t n) {
    int64_t j = 0;
    for (; j + 16 <= n; j += 16) v16_put(to, to_type, j, v16_get(from, from_type, j));
    if (j < n) v16_put_n(to, to_type, j, v16_get_n(from, from_type, j, n - j), n - j);
}

#endif
