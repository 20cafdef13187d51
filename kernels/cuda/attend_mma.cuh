/* attend_mma.cuh - what attention's kernels on tensor cores share: how keys are found and fragments
 * (mma.cuh) read. */
#ifndef PX_CUDA_ATTEND_MMA_CUH
#define PX_CUDA_ATTEND_MMA_CUH

#include "mma.cuh"

static_assert(CU_TILE == 16 && CU_KEYS == 32, "fragments of 16 rows, two of 16 keys");

__device__ static inline int64_t key_at(const cu_keys &keys, const cu_mat &m, int64_t path,
                                        int64_t p, int64_t kv, int64_t hd) {
    if (keys.page_values == 0) return keys.list[path + p] * m.stride + kv * hd;
    return keys.list[path + p / 64] * keys.page_values + keys.layer + (kv * 64 + p % 64) * hd;
}
/* The two words of b's fragment: rows of `pitch` values, one a column of b. */
__device__ static inline void fragment(uint32_t b[2], const uint16_t *rows, int pitch, int column,
                                       int k) {
    const uint16_t *at = rows + (column + (int)threadIdx.x % 32 / 4) * pitch + k +
                         (int)threadIdx.x % 4 * 2;
    b[0] = *(const word *)at;
    b[1] = *(const word *)(at + 8);
}

/* The product's rows as the left side of the next one: c of 16 columns, rounded to bf16. */
__device__ static inline void left_of(uint32_t a[4], const float low[4], const float high[4]) {
    a[0] = pair_of(low[0], low[1]);
    a[1] = pair_of(low[2], low[3]);
    a[2] = pair_of(high[0], high[1]);
    a[3] = pair_of(high[2], high[3]);
}

#endif
