/* simt_internal.h - what the files of simt share. */
#ifndef PX_SIMT_INTERNAL_H
#define PX_SIMT_INTERNAL_H

#include "simt.h"

enum { SIMT_THREADS_MOST = 1024, SIMT_WARPS_MOST = SIMT_THREADS_MOST / 32 };
enum : size_t { SIMT_STACK = 64 << 10, SIMT_SHARED_MOST = 227 << 10, SIMT_SHARED_FREE = 48 << 10 };

/* The launch that runs, for the checks. */
struct simt_now {
    const char *kernel;
    bool running, checking;
    dim3 grid, block_dim, block;
    uint32_t launch, block_number; /* counted from 1 and 0 */
    int thread, n_threads;
    uint32_t epoch, warp_epoch[SIMT_WARPS_MOST]; /* barriers passed: of the block, of each warp */
    char *stacks;                                /* [threads, SIMT_STACK] */
    char *shared;
    const char *host_stack; /* the launching function's frame */
};
extern simt_now simt;

/* Keeps the first text. */
void simt_breach(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether a card would launch this; else a breach. */
bool simt_is_launchable(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared);
/* Runs a kernel, now. */
void simt_run(const char *name, dim3 grid, dim3 block, size_t shared, void (*run)(void *),
              void *argument);
/* graph.cc. Whether the stream is captured; keeps run, with a copy of these bytes, for its graph;
 * what may not be asked for while it (NULL: any stream) is captured breaks the capture, an error;
 * and the error of a launch that could not return it. */
bool simt_is_captured(cudaStream_t s);
cudaError_t simt_keep(cudaStream_t s, void (*run)(void *), const void *argument, size_t bytes);
cudaError_t simt_forbidden(cudaStream_t s);
cudaError_t simt_late_error();
/* memory.cc: whether [at, at + bytes) lies in device memory. */
bool simt_is_device(const void *at, size_t bytes);
/* … in host memory that kernels may read. */
bool simt_is_mapped(const void *at, size_t bytes);
/* Something that others were asked to do on the stream (nccl/nccl.cc), or NULL: not 0 while it is
 * under way. Whatever comes after it on the stream waits. */
extern int (*simt_pending)();
static inline void simt_settle() {
    while (simt_pending && simt_pending()) continue;
}

#endif
