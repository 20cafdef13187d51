/* device.cu - cards, memory, copies, graphs; errors stick to the queue until asked for. */
#include "kernel.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __CUDACC__
#include <nvtx3/nvToolsExt.h>
#endif

struct cu_queue {
    cudaStream_t stream;
    char text[640], told[640];
    bool failed;
    uint64_t copied[3]; /* bytes, by way */
};

cudaStream_t cu_stream(cu_queue *q) { return q->stream; }
void *cu_stream_of(cu_queue *q) { return (void *)q->stream; }

static int note(cu_queue *q, cudaError_t code, const char *what) {
    if (code == cudaSuccess) return 0;
    if (!q->failed) snprintf(q->text, sizeof q->text, "%s: %s", what, cudaGetErrorString(code));
    q->failed = true;
    return 1;
}

int cu_count(const char **text) {
    int n = 0;
    const cudaError_t code = cudaGetDeviceCount(&n);
    *text = code == cudaSuccess ? "" : cudaGetErrorString(code);
    if (code != cudaSuccess) (void)cudaGetLastError();
    return code == cudaSuccess ? n : 0;
}

const char *cu_about(int card, cu_card *out) {
    cudaDeviceProp p;
    size_t free_bytes = 0, bytes = 0;
    cudaError_t code = cudaGetDeviceProperties(&p, card);
    if (code == cudaSuccess) code = cudaSetDevice(card);
    if (code == cudaSuccess) code = cudaMemGetInfo(&free_bytes, &bytes);
    if (code != cudaSuccess) return cudaGetErrorString(code);
    memset(out, 0, sizeof *out);
    memcpy(out->name, p.name, sizeof out->name);
    out->name[sizeof out->name - 1] = 0;
    out->bytes = (int64_t)bytes;
    out->free_bytes = (int64_t)free_bytes;
    out->major = p.major;
    out->minor = p.minor;
    out->processors = p.multiProcessorCount;
    return NULL;
}

#ifdef __CUDACC__
void cu_range(const char *name) {
    if (name)
        nvtxRangePushA(name);
    else
        nvtxRangePop();
}

static double attribute(int card, cudaDeviceAttr what) {
    int value = 0;
    return cudaDeviceGetAttribute(&value, what, card) == cudaSuccess ? value : 0;
}
void cu_peak(int card, int bf16, double *flops, double *bytes) {
    const double major = attribute(card, cudaDevAttrComputeCapabilityMajor);
    const double minor = attribute(card, cudaDevAttrComputeCapabilityMinor);
    /* FLOP a clock and multiprocessor (NVIDIA's whitepapers of A100 and H100). */
    double each = 0;
    if (major == 8 && minor == 0) each = bf16 ? 2048 : 128;
    if (major == 9) each = bf16 ? 4096 : 256;
    /* H100's whitepaper: its tensor cores are rated at 1,830 MHz where the rest is at 1,980 (PCIe:
     * 1,620 and 1,755), which the runtime names. */
    const double rated = major == 9 && bf16 ? 183.0 / 198 : 1;
    const double hertz = attribute(card, cudaDevAttrClockRate) * 1e3 * rated;
    *flops = each * attribute(card, cudaDevAttrMultiProcessorCount) * hertz;
    /* Both edges of the memory's clock. */
    *bytes = attribute(card, cudaDevAttrMemoryClockRate) * 1e3 * 2 *
             attribute(card, cudaDevAttrGlobalMemoryBusWidth) / 8;
}
#else
void cu_range(const char *) {}
void cu_peak(int, int, double *flops, double *bytes) { *flops = *bytes = 0; }
#endif

void cu_versions(int *runtime, int *driver) {
    if (cudaRuntimeGetVersion(runtime) != cudaSuccess) *runtime = 0;
    if (cudaDriverGetVersion(driver) != cudaSuccess) *driver = 0;
    (void)cudaGetLastError();
}

const char *cu_open(int card, int order, cu_queue **out) {
    cu_queue *q = (cu_queue *)calloc(1, sizeof *q);
    if (!q) return "out of memory";
    cudaError_t code = cudaSetDevice(card);
    if (code == cudaSuccess) code = cudaStreamCreate(&q->stream);
    if (code != cudaSuccess) {
        free(q);
        return cudaGetErrorString(code);
    }
#ifndef __CUDACC__
    simt_order(order);
#ifdef __SANITIZE_THREAD__
    simt_check(1);
#endif
#else
    (void)order;
#endif
    *out = q;
    return NULL;
}
void cu_close(cu_queue *q) {
    if (!q) return;
    cudaStreamDestroy(q->stream);
    free(q);
}

void *cu_new(size_t bytes) {
    void *at = NULL;
    if (cudaMalloc(&at, bytes ? bytes : 1) == cudaSuccess) return at;
    (void)cudaGetLastError();
    return NULL;
}
void cu_free(void *at) { cudaFree(at); }

void *cu_host_new(size_t bytes) {
    void *at = NULL;
    if (cudaMallocHost(&at, bytes ? bytes : 1) == cudaSuccess) return at;
    (void)cudaGetLastError();
    return NULL;
}
/* At one address on both sides, as all that cudaHostAlloc gives on 64-bit systems. */
void *cu_shared_new(size_t bytes) {
    void *at = NULL;
    if (cudaHostAlloc(&at, bytes ? bytes : 1, cudaHostAllocMapped) == cudaSuccess) return at;
    (void)cudaGetLastError();
    return NULL;
}
void cu_host_free(void *at) {
    if (at) cudaFreeHost(at);
}
#ifdef __CUDACC__
void cu_region(void *) {}
void cu_piece_begin(void *, size_t) {}
void cu_piece_end(void *) {}
#else
void cu_region(void *at) { simt_region(at); }
void cu_piece_begin(void *at, size_t bytes) { simt_piece(at, bytes); }
void cu_piece_end(void *at) { simt_piece_end(at); }
#endif

static int is_of(const void *at, cudaMemoryType type) {
    cudaPointerAttributes is;
    if (!at || cudaPointerGetAttributes(&is, at) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return is.type == type;
}
int cu_is_device(const void *at) { return is_of(at, cudaMemoryTypeDevice); }
int cu_is_host(const void *at) { return is_of(at, cudaMemoryTypeHost); }

static cudaMemcpyKind kind_of(cu_way way) {
    return way == CU_TO_DEVICE ? cudaMemcpyHostToDevice
           : way == CU_TO_HOST ? cudaMemcpyDeviceToHost
                               : cudaMemcpyDeviceToDevice;
}
int cu_copy(cu_queue *q, void *to, const void *from, size_t bytes, cu_way way) {
    if (bytes == 0) return 0;
    q->copied[way] += bytes;
    return note(q, cudaMemcpyAsync(to, from, bytes, kind_of(way), q->stream), "copy");
}
int cu_copy_rows(cu_queue *q, cu_rows r, cu_way way) {
    if (r.width == 0 || r.height == 0) return 0;
    /* Rows without gaps are one piece, of any length: a pitch ends at 2 GB. */
    if (r.height == 1 || (r.to_pitch == r.width && r.from_pitch == r.width))
        return cu_copy(q, r.to, r.from, r.width * r.height, way);
    q->copied[way] += r.width * r.height;
    return note(q,
                cudaMemcpy2DAsync(r.to, r.to_pitch, r.from, r.from_pitch, r.width, r.height,
                                  kind_of(way), q->stream),
                "copy of rows");
}
void cu_copied(const cu_queue *q, uint64_t *to_device, uint64_t *to_host) {
    *to_device = q->copied[CU_TO_DEVICE];
    *to_host = q->copied[CU_TO_HOST];
}
int cu_zero(cu_queue *q, void *at, size_t bytes) {
    if (bytes == 0) return 0;
    return note(q, cudaMemsetAsync(at, 0, bytes, q->stream), "memset");
}
int cu_wait(cu_queue *q) { return note(q, cudaStreamSynchronize(q->stream), "waiting"); }

const char *cu_error(cu_queue *q) {
    note(q, cudaGetLastError(), "kernel");
    if (!q->failed) return NULL;
    q->failed = false;
    memcpy(q->told, q->text, sizeof q->told);
    return q->told;
}

/* --- graphs --- */

struct cu_graph {
    cudaGraphExec_t it;
};

/* Relaxed: nothing that other threads do, or that a library does for itself, breaks it. */
int cu_capture_begin(cu_queue *q) {
    return note(q, cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeRelaxed),
                "beginning a graph");
}
cu_graph *cu_capture_end(cu_queue *q, const char **why) {
    cudaGraph_t graph = NULL;
    cu_graph *out = (cu_graph *)calloc(1, sizeof *out);
    note(q, cudaGetLastError(), "kernel");
    const cudaError_t end = cudaStreamEndCapture(q->stream, &graph);
    note(q, end, "ending a graph");
    if (!out) note(q, cudaErrorMemoryAllocation, "a graph");
    if (out && !q->failed && end == cudaSuccess)
        note(q, cudaGraphInstantiate(&out->it, graph, 0), "making a graph");
    if (graph) cudaGraphDestroy(graph);
    if (out && !q->failed) return out;
    (void)cudaGetLastError();
    *why = cu_error(q);
    free(out);
    return NULL;
}
int cu_graph_launch(cu_queue *q, cu_graph *g) {
    return note(q, cudaGraphLaunch(g->it, q->stream), "a graph");
}
void cu_graph_free(cu_graph *g) {
    if (!g) return;
    cudaGraphExecDestroy(g->it);
    free(g);
}
