/* simt.h - runs CUDA kernels on the CPU: the .cu files of kernels/cuda include it (through
 * cuda/kernel.cuh) where nvcc does not compile them, and are then plain C++17.
 *
 * A block's threads are fibers of one thread of the system; they change only at barriers, shuffles
 * and votes, so a kernel's result here says nothing about timing but everything about its
 * arithmetic. Blocks run one after the other, in an order that can be chosen (simt_order): the same
 * bits must come out of each.
 *
 * With checks on (simt_check), code compiled with -fsanitize=thread (its calls are answered here,
 * no sanitizer library is linked) reports every load and store, and these are found and named:
 *   race    two threads use one address, one of them writes, and no barrier stands between; across
 *           blocks: in one launch at all. __syncwarp and shuffles order the threads of a warp.
 *   bounds  an address that is no device memory, no shared memory and not the thread's own.
 *   misaligned  an address that is no multiple of what is read or written there.
 *   lent    memory that a collective (nccl/) works on.
 * Always found: barriers or shuffles that not all of their threads reach, launches that a card
 * refuses; streams that do not wait for one another, by other bits (stream.cc). */
#ifndef PX_SIMT_H
#define PX_SIMT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "simt_facts.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct __attribute__((may_alias, aligned(16))) float4 {
    float x, y, z, w;
};
struct __attribute__((may_alias, aligned(16))) uint4 {
    uint32_t x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    return {x, y, z, w};
}

/* --- where a thread is; constant for its whole life --- */
__attribute__((const)) unsigned simt_thread_x();
__attribute__((const)) dim3 simt_block();
__attribute__((const)) dim3 simt_block_dim();
__attribute__((const)) dim3 simt_grid_dim();
struct simt_index {
    unsigned x;
};
#define threadIdx (simt_index{simt_thread_x()})
#define blockIdx (simt_block())
#define blockDim (simt_block_dim())
#define gridDim (simt_grid_dim())

/* --- barriers, shuffles, votes --- */
void __syncthreads();
void __syncwarp(unsigned mask = 0xFFFFFFFFu);
void __threadfence();
/* What lane `source` brought; all lanes of mask come together. */
uint64_t simt_shuffle(unsigned mask, uint64_t value, int source);
unsigned __ballot_sync(unsigned mask, int predicate);
static inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
static inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }

template <typename T> static inline T simt_shuffle_of(unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    union {
        uint64_t bits;
        T value;
    } box = {0};
    box.value = value;
    box.bits = simt_shuffle(mask, box.bits, source);
    return box.value;
}
static inline int simt_lane() { return (int)(simt_thread_x() % 32); }
template <typename T> static inline T __shfl_sync(unsigned mask, T v, int lane) {
    return simt_shuffle_of(mask, v, lane & 31);
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T v, int bits) {
    return simt_shuffle_of(mask, v, simt_lane() ^ bits);
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T v, int by) {
    return simt_shuffle_of(mask, v, simt_lane() + by > 31 ? simt_lane() : simt_lane() + by);
}
template <typename T> static inline T __shfl_up_sync(unsigned mask, T v, int by) {
    return simt_shuffle_of(mask, v, simt_lane() < by ? simt_lane() : simt_lane() - by);
}

/* Whole numbers only: a float's sum would depend on the order. Outside the race check. */
int atomicAdd(int *at, int value);
unsigned atomicAdd(unsigned *at, unsigned value);
unsigned long long atomicAdd(unsigned long long *at, unsigned long long value);
unsigned long long atomicMin(unsigned long long *at, unsigned long long value);
int atomicMax(int *at, int value);
unsigned atomicMax(unsigned *at, unsigned value);
int atomicCAS(int *at, int compare, int value);

/* One m16n8k16 product of a warp: c [16, 8] f32 += a [16, 16] · b [16, 8] bf16, in the fragments of
 * PTX mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32. Sums run over k in order, in f32. */
void simt_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]);

/* ldmatrix.sync.aligned.m8n8.x4(.trans).shared.b16. */
void simt_exchange_matrices(uint32_t to[4], const uint32_t row[4], int turned);
void simt_aligned(const void *at, size_t bytes);
static inline void simt_matrices(uint32_t to[4], const uint16_t *row, int turned) {
    uint32_t words[4];
    simt_aligned(row, 16);
    for (int i = 0; i < 4; i++) words[i] = row[2 * i] | (uint32_t)row[2 * i + 1] << 16;
    simt_exchange_matrices(to, words, turned);
}
/* cp.async of words of 4 bytes: none of them may be counted on before simt_copies_done, and what
 * was there is gone at once: until then they are all ones, which is no number. */
struct simt_copied {
    uint32_t *to;
    const uint32_t *from; /* NULL: zeros */
    int n_words;
};
void simt_copy_later(simt_copied it);
bool simt_next_copy(simt_copied *it); /* of this thread; false: no more */
static inline void simt_copy(void *to, const void *from, int n_words, bool is) {
    simt_aligned(to, (size_t)n_words * 4);
    simt_aligned(from, (size_t)n_words * 4);
    uint32_t *words = (uint32_t *)to;
    for (int i = 0; i < n_words; i++) words[i] = 0xFFFFFFFFu;
    simt_copy_later({words, is ? (const uint32_t *)from : nullptr, n_words});
}
static inline void simt_copies_done() {
    for (simt_copied it; simt_next_copy(&it);)
        for (int i = 0; i < it.n_words; i++) it.to[i] = it.from ? it.from[i] : 0;
}

/* --- launching --- */
void *simt_shared();
typedef struct simt_stream *cudaStream_t;
/* A captured stream keeps the launch, with a copy of the argument's bytes, for its graph. */
void simt_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared,
                 cudaStream_t stream, void (*run)(void *), void *argument, size_t bytes);
template <typename F>
static inline void simt_launch_of(const char *name, const void *kernel, dim3 grid, dim3 block,
                                  size_t shared, cudaStream_t stream, F body) {
    static_assert(__is_trivially_copyable(F), "kernels' arguments are plain values");
    simt_launch(
        name, kernel, grid, block, shared, stream, [](void *it) { (*static_cast<F *>(it))(); },
        &body, sizeof body);
}

/* --- the host's side of the tests --- */
extern "C" {
/* The first breach since the last call, or NULL; the text stays until the next launch. */
const char *simt_error(void);
/* Checks of this file's head, for code that was compiled for them. */
void simt_check(int on);
/* 0: blocks and threads in order; 1: backwards; n > 1: blocks shuffled by n. */
void simt_order(int order);
/* Which streams hold back what they are asked for (stream.cc): 0: those with a priority; 1: the
 * others. Else PX_SIMT_HOLD says it. Between tests, while no stream has anything to do. */
void simt_hold_main(int on);
/* For stand-ins that compute on the host: 1: the stream, or the graph for which it is captured,
 * will call run with a copy of these bytes; 0: compute now. */
int simt_later(void *stream, void (*run)(void *), const void *argument, size_t bytes);
}
/* What cudaMalloc gave becomes a region: only its pieces may be touched, as long as they last. A
 * piece has 256 bytes of its own behind it. */
void simt_region(void *at);
void simt_piece(void *at, size_t bytes);
void simt_piece_end(void *at);

/* --- stand-ins for the few calls of the CUDA runtime that kernels/cuda makes --- */
typedef int cudaError_t;
enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidPitchValue = 12,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901
};
typedef enum {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
} cudaMemcpyKind;
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice };
typedef struct {
    enum cudaMemoryType type;
} cudaPointerAttributes;
typedef struct {
    char name[256];
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
} cudaDeviceProp;
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *at);
cudaError_t cudaMallocHost(void **out, size_t bytes);
/* Mapped or not at all: kernels may read it. */
enum { cudaHostAllocMapped = 2 };
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *at);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *at);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreate(cudaStream_t *out);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
typedef struct simt_graph *cudaGraph_t;
typedef struct simt_graph *cudaGraphExec_t;
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g);
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s);
cudaError_t cudaGetLastError();
/* More than 48 KB of a launch's shared memory must have been allowed to its kernel. */
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t simt_allow(const void *kernel, int bytes);
template <typename F>
static inline cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute, int value) {
    return simt_allow((const void *)kernel, value);
}
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
typedef struct simt_event *cudaEvent_t;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
extern "C" {
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
const char *cudaGetErrorString(cudaError_t code);
}

#endif
