/* mma.cuh - the tensor cores' product, its fragments out of shared memory, copies there, and values
 * two by two as it takes them. Fragments of m16n8k16: lane = 4 · g + t; a and c hold rows g and g +
 * 8, c columns 2t and 2t + 1 (of 8), a those and 8 more; b holds column g, rows 2t, 2t + 1, 8 more.
 */
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
/* Four matrices of 8 by 8 values from shared memory: lane 8 · i + r says where row r of matrix i
 * begins (16 bytes, aligned), and gets of each matrix row lane / 4, columns 2 · (lane % 4) and the
 * next; turned: column lane / 4, rows 2 · (lane % 4) and the next. */
__device__ static inline void matrices(uint32_t to[4], const uint16_t *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
}
__device__ static inline void matrices_turned(uint32_t to[4], const uint16_t *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
}
/* 16 or 4 bytes from device to shared memory, zeros where `is` is false (from is not read then, but
 * must be an address all the same): there for this thread after copies_done, for others behind a
 * barrier after it. */
__device__ static inline void copy_16(void *to, const void *from, bool is) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(is ? 16 : 0)
                 : "memory");
}
__device__ static inline void copy_4(void *to, const void *from, bool is) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(is ? 4 : 0)
                 : "memory");
}
__device__ static inline void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#else
static inline void mma(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    simt_mma_bf16(c, a, b);
}
static inline void matrices(uint32_t to[4], const uint16_t *row) { simt_matrices(to, row, 0); }
static inline void matrices_turned(uint32_t to[4], const uint16_t *row) {
    simt_matrices(to, row, 1);
}
static inline void copy_16(void *to, const void *from, bool is) { simt_copy(to, from, 4, is); }
static inline void copy_4(void *to, const void *from, bool is) { simt_copy(to, from, 1, is); }
static inline void copies_done() { simt_copies_done(); }
#endif

typedef uint32_t __attribute__((may_alias)) word;
typedef uint64_t __attribute__((may_alias)) long_word;
/* Two neighbouring values: in one word where it may be read so. */
__device__ static inline uint32_t pair_at(const void *data, int64_t i) {
    const uint16_t *p = (const uint16_t *)data + i;
    if (((uintptr_t)p & 3) == 0) return *(const word *)p;
    return p[0] | (uint32_t)p[1] << 16;
}
__device__ static inline uint32_t pair_of(float low, float high) {
    return cu_narrow_two(low, high);
}

#endif
