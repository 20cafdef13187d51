/* philox.c - see philox.h. */
#include "philox.h"

#include <math.h>

px_u32x4 px_philox(const uint32_t counter[4], const uint32_t key[2]) {
    px_u32x4 c = {{counter[0], counter[1], counter[2], counter[3]}};
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.v[0], p1 = (uint64_t)0xCD9E8D57u * c.v[2];
        c = (px_u32x4){{(uint32_t)(p1 >> 32) ^ c.v[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ c.v[3] ^ k1, (uint32_t)p0}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

px_u32x4 px_rng_at(px_rng rng, uint64_t a, uint64_t b) {
    /* clang-tidy 14 believes that b can be unset here. */
    uint32_t counter[4] = {(uint32_t)rng.purpose << 16 | (uint32_t)(a >> 32 & 0xFFFF), (uint32_t)a,
                           (uint32_t)b, (uint32_t)(b >> 32)}; // NOLINT(clang-analyzer-core.*)
    uint32_t key[2] = {(uint32_t)rng.seed, (uint32_t)(rng.seed >> 32)};
    return px_philox(counter, key);
}

static double unit_from(uint32_t high, uint32_t low) {
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

double px_rng_uniform(px_rng rng, uint64_t a, uint64_t b) {
    px_u32x4 r = px_rng_at(rng, a, b);
    return unit_from(r.v[0], r.v[1]);
}

double px_rng_normal(px_rng rng, uint64_t a, uint64_t b) {
    px_u32x4 r = px_rng_at(rng, a, b);
    double u = 1.0 - unit_from(r.v[0], r.v[1]); /* (0, 1] */
    double angle = 6.283185307179586 * unit_from(r.v[2], r.v[3]);
    return sqrt(-2.0 * log(u)) * cos(angle);
}

uint32_t px_rng_below(px_rng rng, uint64_t a, uint64_t b, uint32_t n) {
    px_u32x4 r = px_rng_at(rng, a, b);
    unsigned __int128 wide = (unsigned __int128)((uint64_t)r.v[0] << 32 | r.v[1]) * n;
    return (uint32_t)(wide >> 64);
}

void px_rng_permutation(px_rng rng, uint64_t a, int32_t n, int32_t *out) {
    for (int32_t i = 0; i < n; i++) out[i] = i;
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = (int32_t)px_rng_below(rng, a, (uint64_t)i, (uint32_t)i + 1);
        int32_t kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}
