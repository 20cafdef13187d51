/* wide.cuh - rows in pieces of eight values, which are one access of 16 bytes (two in f32) wherever
 * they lie on 16 bytes. Which thread has which values does not depend on that, so no bit does. */
#ifndef PX_CUDA_WIDE_CUH
#define PX_CUDA_WIDE_CUH

#include "kernel.cuh"

__device__ static inline bool lies_on_16(const void *at) { return ((uintptr_t)at & 15) == 0; }

/* Eight values of f32, of which n are there; 0 for the others. */
__device__ static inline void floats_8(float v[8], const float *at, int64_t n) {
    if (n >= 8 && lies_on_16(at)) {
        const float4 low = *(const float4 *)at, high = *(const float4 *)(at + 4);
        v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
        v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 8; i++) v[i] = i < n ? at[i] : 0;
}
__device__ static inline void put_floats_8(float *at, const float v[8], int64_t n) {
    if (n >= 8 && lies_on_16(at)) {
        *(float4 *)at = make_float4(v[0], v[1], v[2], v[3]);
        *(float4 *)(at + 4) = make_float4(v[4], v[5], v[6], v[7]);
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 8; i++)
        if (i < n) at[i] = v[i];
}
/* Columns first … first + 7 of a row, those before `end`. */
__device__ static inline void load_8(float v[8], const cu_mat &m, int64_t row, int64_t first,
                                     int64_t end) {
    if (!m.bf16) {
        floats_8(v, (const float *)m.data + row * m.stride + first, end - first);
        return;
    }
    const uint16_t *at = (const uint16_t *)m.data + row * m.stride + first;
    if (first + 8 <= end && lies_on_16(at)) {
        const uint4 four = *(const uint4 *)at;
        const uint32_t words[4] = {four.x, four.y, four.z, four.w};
        CU_UNROLL
        for (int i = 0; i < 8; i++) v[i] = cu_widen((uint16_t)(words[i / 2] >> 16 * (i % 2)));
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 8; i++) v[i] = first + i < end ? cu_widen(at[i]) : 0;
}
__device__ static inline void store_8(const cu_mat &m, int64_t row, int64_t first, int64_t end,
                                      const float v[8]) {
    if (!m.bf16) {
        put_floats_8((float *)m.data + row * m.stride + first, v, end - first);
        return;
    }
    uint16_t *at = (uint16_t *)m.data + row * m.stride + first;
    if (first + 8 <= end && lies_on_16(at)) {
        *(uint4 *)at = make_uint4(cu_narrow_two(v[0], v[1]), cu_narrow_two(v[2], v[3]),
                                  cu_narrow_two(v[4], v[5]), cu_narrow_two(v[6], v[7]));
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 8; i++)
        if (first + i < end) at[i] = cu_narrow(v[i]);
}

/* Blocks for a thread a piece: rows, and parts of a row of CU_THREADS pieces. */
static inline dim3 pieces_grid(const cu_mat &m) {
    return dim3((unsigned)m.rows, cu_blocks(m.cols, 8 * (int64_t)CU_THREADS));
}
/* The first column of this thread's piece there. */
__device__ static inline int64_t piece_at() {
    return ((int64_t)blockIdx.y * CU_THREADS + threadIdx.x) * 8;
}

#endif
