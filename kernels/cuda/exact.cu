/* exact.cu - exact sums: a value is a whole number of 2^-72 in two limbs. A thread has a value, and
 * integers add up the same in any order. */
#include "kernel.cuh"

__global__ static void exact_add(int64_t *high, int64_t *low, const float *g, int64_t n,
                                 unsigned long long *bad) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (i >= n) return;
    const double scaled = (double)g[i] * 16777216.0; /* 2^24 */
    if (!(fabs(scaled) < 1125899906842624.0)) {      /* 2^50; NaN too */
        atomicMin(bad, (unsigned long long)i);
        return;
    }
    const double whole = floor(scaled);
    high[i] += (int64_t)whole;
    low[i] += (int64_t)rint((scaled - whole) * 281474976710656.0); /* 2^48 */
}
void cu_exact_add(cu_queue *q, int64_t *high, int64_t *low, const float *g, int64_t n,
                  unsigned long long *bad) {
    if (n == 0) return;
    CU_LAUNCH(exact_add, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, high, low, g, n, bad);
}

__global__ static void exact_carry(int64_t *high, int64_t *low, int64_t n) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (i >= n) return;
    const int64_t up = low[i] >> 48;
    high[i] += up;
    low[i] -= up * ((int64_t)1 << 48);
}
void cu_exact_carry(cu_queue *q, int64_t *high, int64_t *low, int64_t n) {
    if (n == 0) return;
    CU_LAUNCH(exact_carry, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, high, low, n);
}

/* The leading 64 bits of a whole number of 2^-72 hold more than f32's 24 and, with a bit that says
 * whether anything is below them, round as the whole would. */
__device__ static inline float exact_value(int64_t high, int64_t low) {
    const int64_t up = low >> 48;
    high += up;
    uint64_t below = (uint64_t)(low - up * ((int64_t)1 << 48)); /* [0, 2^48) */
    const bool negative = high < 0;
    uint64_t above = (uint64_t)high;
    if (negative) { /* of both limbs together */
        above = below ? ~above : 0 - above;
        below = below ? ((uint64_t)1 << 48) - below : 0;
    }
    int shift = 0; /* value = (above · 2^48 + below) · 2^-72 */
    uint64_t lead = below;
    if (above >> 16) {
        while (above >> (16 + shift)) shift++;
        lead = above << (48 - shift) | below >> shift;
        if (below & (((uint64_t)1 << shift) - 1)) lead |= 1;
    } else {
        lead |= above << 48;
    }
    const float size = ldexpf((float)lead, shift - 72);
    return negative ? -size : size;
}
__global__ static void exact_get(float *g, const int64_t *high, const int64_t *low, int64_t n) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (i < n) g[i] = exact_value(high[i], low[i]);
}
void cu_exact_get(cu_queue *q, float *g, const int64_t *high, const int64_t *low, int64_t n) {
    if (n == 0) return;
    CU_LAUNCH(exact_get, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, g, high, low, n);
}
