/* exact.c - exact sums on the device. */
#include "cuda.h"

void cuda_exact_add(px_stream *s, int64_t *high, int64_t *low, const float *g, int64_t n,
                    uint64_t *bad) {
    int64_t *up = cuda_array(s, high, (size_t)n * sizeof *up, CUDA_BOTH);
    int64_t *down = cuda_array(s, low, (size_t)n * sizeof *down, CUDA_BOTH);
    const float *values = cuda_array(s, g, (size_t)n * sizeof *values, CUDA_IN);
    void *found = cuda_array(s, bad, sizeof *bad, CUDA_BOTH);
    if (cuda_ready(s)) cu_exact_add(cuda_queue(s), up, down, values, n, found);
    cuda_done(s);
}

void cuda_exact_carry(px_stream *s, int64_t *high, int64_t *low, int64_t n) {
    int64_t *up = cuda_array(s, high, (size_t)n * sizeof *up, CUDA_BOTH);
    int64_t *down = cuda_array(s, low, (size_t)n * sizeof *down, CUDA_BOTH);
    if (cuda_ready(s)) cu_exact_carry(cuda_queue(s), up, down, n);
    cuda_done(s);
}

void cuda_exact_get(px_stream *s, float *g, const int64_t *high, const int64_t *low, int64_t n) {
    const int64_t *up = cuda_array(s, high, (size_t)n * sizeof *up, CUDA_IN);
    const int64_t *down = cuda_array(s, low, (size_t)n * sizeof *down, CUDA_IN);
    float *to = cuda_array(s, g, (size_t)n * sizeof *to, CUDA_OUT);
    if (cuda_ready(s)) cu_exact_get(cuda_queue(s), to, up, down, n);
    cuda_done(s);
}
