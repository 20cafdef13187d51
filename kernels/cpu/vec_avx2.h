/* vec_avx2.h - vec.h's 16 floats as two halves of 8, for processors with AVX2 and FMA but no
 * AVX-512. Included by vec.h alone. */
#ifndef PX_CPU_VEC_AVX2_H
#define PX_CPU_VEC_AVX2_H

#include <immintrin.h>

typedef struct {
    __m256 a, b;
} v16;

#define V16_BOTH(first, second) ((v16){(first), (second)})

static inline v16 v16_set(float x) { return V16_BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
static inline v16 v16_load(const float *p) {
    return V16_BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline v16 v16_load_once(const float *p) { return v16_load(p); }
static inline void v16_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
/* Lanes first … first + 7 that are below n, as masks. */
static inline __m256i v8_below(int64_t n, int first) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int64_t bound = n < 0 ? 0 : n > 16 ? 16 : n;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)bound - first), lane);
}
static inline v16 v16_load_n(const float *p, int64_t n) {
    float part[16] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return v16_load(part);
}
static inline void v16_store_n(float *p, v16 x, int64_t n) {
    float part[16];
    v16_store(part, x);
    memcpy(p, part, (size_t)n * sizeof *p);
}
static inline v16 v16_add(v16 x, v16 y) {
    return V16_BOTH(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b));
}
static inline v16 v16_sub(v16 x, v16 y) {
    return V16_BOTH(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b));
}
static inline v16 v16_mul(v16 x, v16 y) {
    return V16_BOTH(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b));
}
static inline v16 v16_div(v16 x, v16 y) {
    return V16_BOTH(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b));
}
static inline v16 v16_inverse(v16 x) { return v16_div(v16_set(1), x); }
static inline v16 v16_sqrt(v16 x) { return V16_BOTH(_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)); }
static inline v16 v16_max(v16 x, v16 y) {
    return V16_BOTH(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b));
}
static inline v16 v16_min(v16 x, v16 y) {
    return V16_BOTH(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b));
}
static inline v16 v16_fma(v16 x, v16 y, v16 z) {
    return V16_BOTH(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
static inline v16 v16_round(v16 x) {
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return V16_BOTH(_mm256_round_ps(x.a, NEAREST), _mm256_round_ps(x.b, NEAREST));
}
/* x · 2^n for whole n, in two steps that are exact unless the result is subnormal; n is held within
 * -252 and 254, where no f32 but 0 and infinity is left. */
static inline __m256 v8_scale2(__m256 x, __m256 n) {
    const __m256 held = _mm256_min_ps(_mm256_max_ps(n, _mm256_set1_ps(-252)), _mm256_set1_ps(254));
    const __m256i whole = _mm256_cvtps_epi32(held), bias = _mm256_set1_epi32(127);
    const __m256i half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
static inline v16 v16_scale2(v16 x, v16 n) {
    return V16_BOTH(v8_scale2(x.a, n.a), v8_scale2(x.b, n.b));
}
static inline __m256 v8_wide(__m128i half) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
/* Rounded to nearest even, in the high halves of 32-bit lanes; NaN stays NaN. */
static inline __m256i v8_rounded(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(up, quiet, nan);
}
static inline v16 v16_load_bf16(const uint16_t *p) {
    return V16_BOTH(v8_wide(_mm_loadu_si128((const __m128i *)p)),
                    v8_wide(_mm_loadu_si128((const __m128i *)(p + 8))));
}
static inline v16 v16_load_bf16_n(const uint16_t *p, int64_t n) {
    uint16_t part[16] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return v16_load_bf16(part);
}
static inline void v16_store_bf16(uint16_t *p, v16 x) {
    const __m256i low = _mm256_srli_epi32(v8_rounded(x.a), 16);
    const __m256i high = _mm256_srli_epi32(v8_rounded(x.b), 16);
    const __m256i both = _mm256_packus_epi32(low, high); /* quarters 0 2 1 3 */
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(both, 0xD8));
}
static inline v16 v16_masked(v16 x, uint16_t bits) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i low = _mm256_and_si256(_mm256_set1_epi32(bits), lane);
    const __m256i high = _mm256_and_si256(_mm256_set1_epi32(bits >> 8), lane);
    return V16_BOTH(_mm256_and_ps(x.a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(low, lane))),
                    _mm256_and_ps(x.b, _mm256_castsi256_ps(_mm256_cmpeq_epi32(high, lane))));
}
/* Halves added until one is left, as everywhere in vec.h. */
static inline float v16_sum(v16 x) {
    const __m256 b = _mm256_add_ps(x.a, x.b);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
static inline v16 v16_sum16(const v16 x[16]) {
    float sums[16];
    for (int i = 0; i < 16; i++) sums[i] = v16_sum(x[i]);
    return v16_load(sums);
}

#endif
