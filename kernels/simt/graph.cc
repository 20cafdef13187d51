/* graph.cc - stand-ins for streams and CUDA graphs. What a stream that is captured is asked for is
 * kept with the arguments that it had then, and run so by each launch of the graph: memory that was
 * freed or moved since, or a table that was read too early, shows as it would on a card. What may
 * not be asked for meanwhile is refused, and the capture with it (stricter than a card in relaxed
 * mode: no memory may be had or given back either). */
#include "simt_internal.h"

#include <stdlib.h>
#include <string.h>

struct simt_graph {
    int users; /* the graph's owner, and each of its executable forms */
    struct node {
        void (*run)(void *);
        void *argument;
    } * nodes;
    size_t n, room;
};
struct simt_stream {
    simt_graph *captured; /* NULL: not captured */
    bool broken;
    simt_stream *next;
};

namespace {

simt_stream *streams;
cudaError_t late; /* of a launch, until cudaGetLastError */

void let_go(simt_graph *g) {
    if (!g || --g->users > 0) return;
    for (size_t i = 0; i < g->n; i++) free(g->nodes[i].argument);
    free(g->nodes);
    free(g);
}

struct launch {
    const char *name;
    dim3 grid, block;
    size_t shared;
    void (*run)(void *);
    size_t bytes;
    alignas(16) char arguments[4096]; /* as many as a kernel may have on a card; the last member */
};
/* The arguments go to the stack, where the checks expect them. */
void launch_kept(void *it) {
    const launch *kept = (const launch *)it;
    alignas(16) char arguments[sizeof kept->arguments];
    memcpy(arguments, kept->arguments, kept->bytes);
    simt_run(kept->name, kept->grid, kept->block, kept->shared, kept->run, arguments);
}

} // namespace

bool simt_is_captured(cudaStream_t s) { return s && s->captured; }

cudaError_t simt_keep(cudaStream_t s, void (*run)(void *), const void *argument, size_t bytes) {
    simt_graph *g = s->captured;
    if (s->broken) return cudaErrorStreamCaptureInvalidated;
    if (g->n == g->room) {
        const size_t wider = g->room ? 2 * g->room : 64;
        void *more = realloc(g->nodes, wider * sizeof *g->nodes);
        if (!more) return cudaErrorMemoryAllocation;
        g->nodes = (simt_graph::node *)more;
        g->room = wider;
    }
    void *copy = malloc(bytes + 1);
    if (!copy) return cudaErrorMemoryAllocation;
    memcpy(copy, argument, bytes);
    g->nodes[g->n++] = {run, copy};
    return cudaSuccess;
}

cudaError_t simt_forbidden(cudaStream_t s) {
    bool any = false;
    for (simt_stream *it = streams; it; it = it->next)
        if (it->captured && (!s || it == s)) it->broken = any = true;
    return any ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t simt_late_error() {
    const cudaError_t code = late;
    late = cudaSuccess;
    return code;
}

void simt_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared,
                 cudaStream_t s, void (*run)(void *), void *argument, size_t bytes) {
    if (!simt_is_launchable(name, kernel, grid, block, shared)) return;
    if (!simt_is_captured(s)) {
        simt_run(name, grid, block, shared, run, argument);
        return;
    }
    launch l = {name, grid, block, shared, run, bytes, {}};
    cudaError_t code = cudaErrorInvalidValue;
    if (bytes <= sizeof l.arguments) {
        memcpy(l.arguments, argument, bytes);
        code = simt_keep(s, launch_kept, &l, offsetof(launch, arguments) + bytes);
    }
    if (code != cudaSuccess) late = code;
}

int simt_later(void *stream, void (*run)(void *), const void *argument, size_t bytes) {
    simt_stream *s = (simt_stream *)stream;
    if (!simt_is_captured(s)) return 0;
    const cudaError_t code = simt_keep(s, run, argument, bytes);
    if (code != cudaSuccess) late = code;
    return 1;
}

cudaError_t cudaStreamCreate(cudaStream_t *out) {
    simt_stream *s = (simt_stream *)calloc(1, sizeof *s);
    if (!s) return cudaErrorMemoryAllocation;
    s->next = streams;
    streams = s;
    *out = s;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    for (simt_stream **at = &streams; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            let_go(s->captured);
            free(s);
            return cudaSuccess;
        }
    return cudaErrorInvalidValue;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    if (!s || s->captured) return cudaErrorInvalidValue;
    s->captured = (simt_graph *)calloc(1, sizeof *s->captured);
    if (!s->captured) return cudaErrorMemoryAllocation;
    s->captured->users = 1;
    s->broken = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out) {
    *out = nullptr;
    if (!s || !s->captured) return cudaErrorInvalidValue;
    simt_graph *g = s->captured;
    s->captured = nullptr;
    if (s->broken) {
        let_go(g);
        return cudaErrorStreamCaptureInvalidated;
    }
    *out = g;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long) {
    g->users++;
    *out = g;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    let_go(g);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) {
    let_go(g);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s) {
    if (simt_is_captured(s)) return simt_forbidden(s);
    for (size_t i = 0; i < g->n; i++) g->nodes[i].run(g->nodes[i].argument);
    return cudaSuccess;
}
