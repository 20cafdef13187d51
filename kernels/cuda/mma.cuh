/* mma.cuh - the tensor cores' product, and values two by two as it takes them. Fragments of
 * m16n8k16: lane = 4 · g + t; a and c hold rows g and g + 8, c columns 2t and 2t + 1 (of 8), a
 * those and 8 more; b holds column g, rows 2t, 2t + 1, 8 more. */
#ifndef PX_CUDA_MMA_CUH
#define PX_CUDA_MMA_CUH

#include "kernel.cuh"

#ifdef __CUDACC__
/* c [16, 8] f32 += a [16, 16] · b [16, 8] bf16. */
__device__ static inline void mma(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
static inline void mma(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    simt_mma_bf16(c, a, b);
}
#endif

typedef uint32_t __attribute__((may_alias)) word;
/* Two neighbouring values: in one word where it may be read so. */
__device__ static inline uint32_t pair_at(const void *data, int64_t i) {
    const uint16_t *p = (const uint16_t *)data + i;
    if (((uintptr_t)p & 3) == 0) return *(const word *)p;
    return p[0] | (uint32_t)p[1] << 16;
}
__device__ static inline uint32_t pair_of(float low, float high) {
    return cu_narrow(low) | (uint32_t)cu_narrow(high) << 16;
}

#endif
