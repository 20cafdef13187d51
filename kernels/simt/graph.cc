/* graph.cc - stand-ins for CUDA graphs, and launches. What a stream that is captured is asked for is
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

namespace {

cudaError_t late; /* of a launch, until cudaGetLastError */

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
int launch_held(void *it) {
    launch_kept(it);
    return 0;
}

/* A call of run for a stream that holds back what it is asked for. */
struct call {
    void (*run)(void *);
    alignas(16) char argument[];
};
int call_held(void *it) {
    call *c = (call *)it;
    c->run(c->argument);
    return 0;
}

int graph_held(void *it) {
    simt_graph *g = *(simt_graph **)it;
    for (size_t i = 0; i < g->n; i++) g->nodes[i].run(g->nodes[i].argument);
    simt_let_go(g);
    return 0;
}

} // namespace

void simt_let_go(simt_graph *g) {
    if (!g || --g->users > 0) return;
    for (size_t i = 0; i < g->n; i++) free(g->nodes[i].argument);
    free(g->nodes);
    free(g);
}

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
    for (simt_stream *it = simt_streams(); it; it = it->next)
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
    const bool is_captured = simt_is_captured(s);
    if (!simt_is_launchable(name, kernel, grid, block, shared)) return;
    if (!is_captured && simt_runs_now(s)) {
        simt_run(name, grid, block, shared, run, argument);
        return;
    }
    launch l = {name, grid, block, shared, run, bytes, {}};
    cudaError_t code = cudaErrorInvalidValue;
    if (bytes <= sizeof l.arguments) {
        const size_t whole = offsetof(launch, arguments) + bytes;
        memcpy(l.arguments, argument, bytes);
        code = is_captured ? simt_keep(s, launch_kept, &l, whole)
                           : simt_ask(s, launch_held, &l, whole, nullptr, 0);
    }
    if (code != cudaSuccess) late = code;
}

int simt_later(void *stream, void (*run)(void *), const void *argument, size_t bytes) {
    simt_stream *s = (simt_stream *)stream;
    const call c = {run};
    cudaError_t code = cudaSuccess;
    if (simt_is_captured(s))
        code = simt_keep(s, run, argument, bytes);
    else if (simt_runs_now(s))
        return 0;
    else
        code = simt_ask(s, call_held, &c, sizeof c, argument, bytes);
    if (code != cudaSuccess) late = code;
    return 1;
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
        simt_let_go(g);
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
    simt_let_go(g);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) {
    simt_let_go(g);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s) {
    if (simt_is_captured(s)) return simt_forbidden(s);
    g->users++;
    if (!simt_runs_now(s)) return simt_ask(s, graph_held, &g, sizeof g, nullptr, 0);
    graph_held(&g);
    return cudaSuccess;
}
