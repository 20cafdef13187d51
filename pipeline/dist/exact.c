/* exact.c - sums of f32 values that do not depend on order. Invariants:
 * 1. value = high · 2^-24 + low · 2^-72, both limbs int64, low of one addend in [0, 2^48].
 * 2. |g| < 2^26, so |high| of one addend < 2^50: 2^12 addends before a limb could overflow 2^62;
 * the low limb's carries are moved up every 2^12 additions, and once more before ranks are summed.
 * 3. An addend is rounded to the 2^-72 grid by itself, before it meets any other: what it adds is a
 * function of its value alone. */
#include "dist_internal.h"

#include <math.h>
#include <string.h>

#define MOST_ADDED 4096
#define LOW_BITS 48
#define NARROW ((int64_t)1 << 53) /* below it a double holds every integer */

px_err *px_exact_new(size_t n, px_exact *out) {
    *out = (px_exact){.n = n};
    out->high = px_large_new(n, sizeof *out->high);
    out->low = px_large_new(n, sizeof *out->low);
    if (out->high && out->low) return NULL;
    px_exact_free(out);
    PX_FAIL(PX_RUN_FAILED, "out of memory: %zu exact sums of 16 bytes", n);
}

void px_exact_free(px_exact *exact) {
    px_large_free(exact->high);
    px_large_free(exact->low);
    *exact = (px_exact){0};
}

void px_exact_clear(px_exact *exact) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < exact->n; i++) exact->high[i] = exact->low[i] = 0;
    exact->n_added = 0;
}

static void carry(px_exact *exact) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < exact->n; i++) {
        int64_t up = exact->low[i] >> LOW_BITS; /* floor: low may be any sign in principle */
        exact->high[i] += up;
        exact->low[i] -= up * ((int64_t)1 << LOW_BITS);
    }
    exact->n_added = 1;
}

bool px_exact_add(px_exact *exact, const float *g, size_t *where) {
    if (exact->n_added >= MOST_ADDED) carry(exact);
    exact->n_added++;
    size_t bad = SIZE_MAX;
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < (exact->n + 1023) / 1024; block++) {
        size_t end = PX_MIN((block + 1) * 1024, exact->n);
        int ok = 1;
        for (size_t i = block * 1024; i < end; i++) {
            double scaled = (double)g[i] * 0x1p24;
            int fine = fabs(scaled) < 0x1p50; /* false for NaN */
            ok &= fine;
            scaled = fine ? scaled : 0;
            double whole = floor(scaled);
            exact->high[i] += (int64_t)whole;
            exact->low[i] += (int64_t)rint((scaled - whole) * 0x1p48);
        }
        if (!ok)
            for (size_t i = block * 1024; i < end; i++)
                if (!(fabs((double)g[i]) < 0x1p26)) {
#pragma omp critical(px_exact_bad)
                    bad = PX_MIN(bad, i);
                    break;
                }
    }
    *where = bad;
    return bad == SIZE_MAX;
}

void px_exact_sum_all(const px_ranks *ranks, px_exact *exact) {
    carry(exact);
    px_sum_i64_all(ranks, exact->high, exact->n);
    px_sum_i64_all(ranks, exact->low, exact->n);
}

/* high · 2^48 + low, rounded once to f32. Where both limbs are integers of a double: the sum in
 * double with its error (Knuth's TwoSum), rounded to odd instead of to even, so that the second
 * rounding, to f32, sees on which side of a half the sum lies (Boldo and Melquiond, "Emulation of
 * FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008). */
static float round_narrow(int64_t high, int64_t low) {
    const double a = (double)high * 0x1p48, b = (double)low;
    const double sum = a + b, was_b = sum - a, error = (a - (sum - was_b)) + (b - was_b);
    int64_t bits = 0;
    memcpy(&bits, &sum, sizeof bits);
    const bool outward = (error > 0) == (sum > 0);
    bits += error != 0 && !(bits & 1) ? (outward ? 1 : -1) : 0;
    double odd = 0;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}

static int is_narrow(int64_t x) { return x > -NARROW && x < NARROW; }

void px_exact_get(const px_exact *exact, float *g) {
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < (exact->n + 1023) / 1024; block++) {
        const size_t end = PX_MIN((block + 1) * 1024, exact->n);
        const int64_t *high = exact->high, *low = exact->low;
        int narrow = 1; /* no branch: the loop is made of vectors */
        for (size_t i = block * 1024; i < end; i++)
            narrow &= is_narrow(high[i]) & is_narrow(low[i]);
        /* The scale is a power of two. A sum below f32's normal range would be rounded once more;
         * 2^-72 is far above it. */
        for (size_t i = block * 1024; narrow && i < end; i++)
            g[i] = round_narrow(high[i], low[i]) * 0x1p-72f;
        for (size_t i = block * 1024; !narrow && i < end; i++)
            g[i] = (float)((__int128)high[i] * ((__int128)1 << LOW_BITS) + low[i]) * 0x1p-72f;
    }
}
