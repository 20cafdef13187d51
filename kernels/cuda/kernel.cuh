/* kernel.cuh - what all kernels share: the language (nvcc's own, or kernels/simt's), values of both
 * types, sums over a warp and a block. */
#ifndef PX_CUDA_KERNEL_CUH
#define PX_CUDA_KERNEL_CUH

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define CU_LAUNCH(kernel, grid, block, shared, queue, ...)                                         \
    kernel<<<grid, block, shared, cu_stream(queue)>>>(__VA_ARGS__)
#define CU_SHARED(type, name)                                                                      \
    extern __shared__ float4 cu_shared_memory[];                                                   \
    type *name = (type *)cu_shared_memory
#define CU_UNROLL _Pragma("unroll")
#else
#include "../simt/simt.h"
#define CU_LAUNCH(kernel, grid, block, shared, queue, ...)                                         \
    simt_launch_of(#kernel, (const void *)(kernel), grid, block, shared, cu_stream(queue),         \
                   [=] { kernel(__VA_ARGS__); })
#define CU_SHARED(type, name) type *name = (type *)simt_shared()
#define CU_UNROLL
#endif

/* Before a launch with more than 48 KB of shared memory. */
#define CU_ROOM(kernel, bytes)                                                                     \
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes))

#include "launch.h"

/* Threads of a block, where a kernel has no reason for another number. */
enum { CU_THREADS = 128, CU_WARPS = CU_THREADS / 32 };
#define CU_ALL 0xFFFFFFFFu

cudaStream_t cu_stream(cu_queue *q);
/* Blocks of `each` pieces of work. */
static inline unsigned cu_blocks(int64_t n, int64_t each) {
    return (unsigned)((n + each - 1) / each);
}

__device__ static inline int64_t cu_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* --- values --- */

__device__ static inline float cu_widen(uint16_t bits) {
    union {
        uint32_t u;
        float f;
    } it;
    it.u = (uint32_t)bits << 16;
    return it.f;
}
/* To nearest, even; NaN stays NaN: as px_bf16_of. */
#ifdef __CUDACC__
__device__ static inline uint16_t cu_narrow(float value) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
/* Two, the first in the lower half. */
__device__ static inline uint32_t cu_narrow_two(float low, float high) {
    uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}
#else
__device__ static inline uint16_t cu_narrow(float value) {
    union {
        float f;
        uint32_t u;
    } it;
    it.f = value;
    if ((it.u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(it.u >> 16 | 0x40u);
    return (uint16_t)((it.u + 0x7FFFu + (it.u >> 16 & 1u)) >> 16);
}
__device__ static inline uint32_t cu_narrow_two(float low, float high) {
    return cu_narrow(low) | (uint32_t)cu_narrow(high) << 16;
}
#endif
__device__ static inline float cu_load(const void *data, int bf16, int64_t i) {
    return bf16 ? cu_widen(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}
__device__ static inline void cu_store(void *data, int bf16, int64_t i, float value) {
    if (bf16)
        ((uint16_t *)data)[i] = cu_narrow(value);
    else
        ((float *)data)[i] = value;
}
__device__ static inline float cu_get(const cu_mat &m, int64_t i, int64_t j) {
    return cu_load(m.data, m.bf16, i * m.stride + j);
}
__device__ static inline void cu_put(const cu_mat &m, int64_t i, int64_t j, float value) {
    cu_store(m.data, m.bf16, i * m.stride + j, value);
}

/* --- sums and maxima in a fixed order --- */

template <typename T> __device__ static inline T cu_warp_sum(T value) {
    for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(CU_ALL, value, bits);
    return value;
}
__device__ static inline float cu_warp_max(float value) {
    for (int bits = 16; bits > 0; bits /= 2)
        value = fmaxf(value, __shfl_xor_sync(CU_ALL, value, bits));
    return value;
}
/* To all threads of a block of CU_THREADS; `room` is CU_WARPS values of shared memory. */
template <typename T> __device__ static inline T cu_block_sum(T value, T *room) {
    value = cu_warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = value;
    __syncthreads();
    T sum = room[0];
    for (int i = 1; i < CU_WARPS; i++) sum += room[i];
    return sum;
}
__device__ static inline float cu_block_max(float value, float *room) {
    value = cu_warp_max(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = value;
    __syncthreads();
    float most = room[0];
    for (int i = 1; i < CU_WARPS; i++) most = fmaxf(most, room[i]);
    return most;
}

#endif
