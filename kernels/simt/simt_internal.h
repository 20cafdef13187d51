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

/* --- stream.cc --- */
struct simt_graph;
struct simt_work;
struct simt_stream {
    simt_graph *captured; /* NULL: not captured */
    bool broken, is_side;
    uint64_t asked, done;    /* pieces of work so far */
    simt_work *first, *last; /* those between */
    simt_stream *next;
};
simt_stream *simt_streams();
bool simt_main_holds();
/* Whether what the stream is asked for now is to be done at once, by the caller. */
bool simt_runs_now(cudaStream_t s);
/* Else: run is called with a copy of the argument's bytes, and of `more` behind them, in the
 * stream's order, until it returns 0. */
cudaError_t simt_ask(cudaStream_t s, int (*run)(void *), const void *argument, size_t bytes,
                     const void *more, size_t more_bytes);
/* Until the stream (NULL: every one) has done what it was asked for. */
void simt_finish(cudaStream_t s);
void simt_finish_main();
void simt_let_go(simt_graph *g); /* graph.cc */
/* Device memory that a collective works on, until it is waited for, and may not be touched; or that
 * a communicator knows, and may not be given back. */
enum simt_use { SIMT_REDUCED, SIMT_REGISTERED };
bool simt_lend(const void *at, size_t bytes, simt_use use); /* false: too many */
bool simt_lent_back(const void *at, size_t bytes, simt_use use);
bool simt_is_lent(const void *at, size_t bytes, simt_use use); /* a byte of it */
bool simt_is_registered(const void *at, size_t bytes);         /* all of it */

#endif
