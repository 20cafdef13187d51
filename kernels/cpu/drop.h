/* drop.h - the dropout bits of a row (backend.h says which draw is whose), 128 columns at a time.
 */
#ifndef PX_CPU_DROP_H
#define PX_CPU_DROP_H

#include "vec.h"

/* Words of 16 bits for a row of n columns: whole groups of 128. */
static inline int64_t drop_words(int64_t n) { return (n + 127) / 128 * 8; }

#ifdef __AVX512F__

/* Philox 4x32 of 8 counters: the low halves of 64-bit lanes; what is above them never matters. */
typedef struct {
    __m512i v[4];
} philox8;

/* Both halves of 16 counters side by side: two chains hide the multiplier's latency. */
static inline void philox8_rounds(philox8 *a, philox8 *b, const uint64_t keys[20]) {
    const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
    for (int round = 0; round < 10; round++) {
        const __m512i k0 = _mm512_set1_epi64((int64_t)keys[2 * round]);
        const __m512i k1 = _mm512_set1_epi64((int64_t)keys[2 * round + 1]);
        for (int half = 0; half < 2; half++) {
            philox8 *c = half ? b : a;
            const __m512i p0 = _mm512_mul_epu32(c->v[0], m0), p1 = _mm512_mul_epu32(c->v[2], m1);
            /* 0x96: a ^ b ^ c */
            c->v[0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c->v[1], k0, 0x96);
            c->v[1] = p1;
            c->v[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c->v[3], k1, 0x96);
            c->v[3] = p0;
        }
    }
}

static inline void drop_masks(px_dropout drop, int64_t row, int64_t n, uint16_t *masks) {
    const uint64_t item = drop.keys[row];
    uint64_t keys[20];
    uint32_t k0 = (uint32_t)drop.seed, k1 = (uint32_t)(drop.seed >> 32);
    for (int round = 0; round < 10; round++) {
        keys[2 * round] = k0;
        keys[2 * round + 1] = k1;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const __m512i site = _mm512_set1_epi64((uint32_t)PX_RNG_DROPOUT << 16 ^ drop.site);
    const __m512i low = _mm512_set1_epi64((uint32_t)item);
    const __m512i high = _mm512_set1_epi64((uint32_t)(item >> 32));
    const __m512i least = _mm512_set1_epi32((int)px_drop_threshold(drop));
    const __m512i least_high = _mm512_slli_epi32(least, 16);
    const bool none = px_drop_threshold(drop) > 0xFFFF;
    __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    for (int64_t group = 0; group * 128 < n; group++) {
        philox8 a = {{site, low, high, even}};
        philox8 b = {{site, low, high, _mm512_add_epi64(even, _mm512_set1_epi64(1))}};
        philox8_rounds(&a, &b, keys);
        for (int word = 0; word < 4; word++) {
            const __m512i draws =
                _mm512_mask_blend_epi32(0xAAAA, a.v[word], _mm512_slli_epi64(b.v[word], 32));
            masks[group * 8 + word] =
                _mm512_cmpge_epu32_mask(_mm512_and_si512(draws, _mm512_set1_epi32(0xFFFF)), least);
            /* high half >= least, as a word >= least · 2^16 */
            masks[group * 8 + 4 + word] = none ? 0 : _mm512_cmpge_epu32_mask(draws, least_high);
        }
        even = _mm512_add_epi64(even, _mm512_set1_epi64(16));
    }
}

#else

static inline void drop_masks(px_dropout drop, int64_t row, int64_t n, uint16_t *masks) {
    const uint64_t item = drop.keys[row];
    const uint32_t key[2] = {(uint32_t)drop.seed, (uint32_t)(drop.seed >> 32)};
    const uint32_t least = px_drop_threshold(drop);
    memset(masks, 0, (size_t)drop_words(n) * sizeof *masks);
    for (int64_t counter = 0; counter * 8 < drop_words(n) * 16; counter++) {
        const uint32_t at[4] = {(uint32_t)PX_RNG_DROPOUT << 16 ^ drop.site, (uint32_t)item,
                                (uint32_t)(item >> 32), (uint32_t)counter};
        const px_u32x4 draws = px_philox(at, key);
        uint16_t *group = masks + counter / 16 * 8;
        for (int word = 0; word < 4; word++) {
            const int bit = (int)(counter % 16);
            group[word] |= (uint16_t)(((draws.v[word] & 0xFFFF) >= least) << bit);
            group[4 + word] |= (uint16_t)((draws.v[word] >> 16 >= least) << bit);
        }
    }
}

#endif
#endif
