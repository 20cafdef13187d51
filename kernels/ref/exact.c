/* exact.c - exact sums as two limbs, plainly; the "cpu" backend's too: a training there takes
 * pipeline/dist/exact.c. */
#include <math.h>

#include "ref.h"

void px_ref_exact_add(px_stream *s, int64_t *high, int64_t *low, const float *g, int64_t n,
                      uint64_t *bad) {
    (void)s;
    for (int64_t i = 0; i < n; i++) {
        const double scaled = (double)g[i] * 0x1p24;
        if (!(fabs(scaled) < 0x1p50)) {
            *bad = PX_MIN(*bad, (uint64_t)i);
            continue;
        }
        const double whole = floor(scaled);
        high[i] += (int64_t)whole;
        low[i] += (int64_t)rint((scaled - whole) * 0x1p48);
    }
}

void px_ref_exact_carry(px_stream *s, int64_t *high, int64_t *low, int64_t n) {
    (void)s;
    for (int64_t i = 0; i < n; i++) {
        const int64_t up = low[i] >> 48;
        high[i] += up;
        low[i] -= up * ((int64_t)1 << 48);
    }
}

void px_ref_exact_get(px_stream *s, float *g, const int64_t *high, const int64_t *low, int64_t n) {
    (void)s;
    for (int64_t i = 0; i < n; i++)
        g[i] = (float)((__int128)high[i] * ((__int128)1 << 48) + low[i]) * 0x1p-72f;
}
