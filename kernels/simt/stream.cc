/* stream.cc - stand-ins for streams and events. On a card streams run beside one another: nothing
 * but an event, or the host that waits, orders one's work after another's. Here one of two kinds
 * holds back what it is asked for until something waits for it, so that a wait that is missing
 * gives other bits, each time:
 *   side  (default) streams with a priority (cudaStreamCreateWithPriority), NCCL's: what uses
 *         their results too early has the old ones.
 *   main  the others (cudaStreamCreate), when PX_SIMT_HOLD is "main": what a side stream does too
 *         early, at once, sees memory before the main stream's work. Copies from memory that may be
 *         paged out keep the bytes that they found; from pinned memory they read them late.
 * The other kind does its work at once. Without a stream (NULL) work is done at once, too. */
#include "simt_internal.h"

#include <stdlib.h>
#include <string.h>

struct simt_work {
    int (*run)(void *); /* 0: done; else it is under way, and is asked again */
    simt_work *next;
    alignas(16) char argument[]; /* a copy */
};
struct simt_event {
    simt_stream *stream; /* NULL: nothing to wait for */
    uint64_t at;         /* done when the stream has done so much */
};

static simt_stream *streams;
simt_stream *simt_streams() { return streams; }

static int main_holds = -1; /* not known yet */
void simt_hold_main(int on) { main_holds = on != 0; }

bool simt_main_holds() {
    if (main_holds < 0) {
        const char *wish = getenv("PX_SIMT_HOLD");
        main_holds = wish && strcmp(wish, "main") == 0;
    }
    return main_holds != 0;
}
static bool holds_back(const simt_stream *s) { return s->is_side != simt_main_holds(); }

/* The first piece of work, or a part of it. */
static bool step(simt_stream *s) {
    simt_work *w = s->first;
    if (w->run(w->argument)) return false;
    s->first = w->next;
    if (!s->first) s->last = nullptr;
    s->done++;
    free(w);
    return true;
}
static bool advance(simt_stream *s) {
    while (s->first)
        if (!step(s)) return false;
    return true;
}
static void finish(simt_stream *s) {
    while (!advance(s)) continue;
}

bool simt_runs_now(cudaStream_t s) { return !s || (!s->first && !holds_back(s)); }

cudaError_t simt_ask(cudaStream_t s, int (*run)(void *), const void *argument, size_t bytes,
                     const void *more, size_t more_bytes) {
    simt_work *w = (simt_work *)malloc(sizeof *w + bytes + more_bytes + 1);
    if (!w) return cudaErrorMemoryAllocation;
    w->run = run;
    w->next = nullptr;
    memcpy(w->argument, argument, bytes);
    if (more_bytes) memcpy(w->argument + bytes, more, more_bytes);
    *(s->last ? &s->last->next : &s->first) = w;
    s->last = w;
    s->asked++;
    if (!holds_back(s)) advance(s);
    return cudaSuccess;
}

void simt_finish(cudaStream_t s) {
    if (s) return finish(s);
    for (simt_stream *it = streams; it; it = it->next) finish(it);
}
void simt_finish_main() {
    for (simt_stream *it = streams; it; it = it->next)
        if (!it->is_side) finish(it);
}

static cudaError_t create(cudaStream_t *out, bool is_side) {
    simt_stream *s = (simt_stream *)calloc(1, sizeof *s);
    if (!s) return cudaErrorMemoryAllocation;
    s->is_side = is_side;
    s->next = streams;
    streams = s;
    *out = s;
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *out) { return create(out, false); }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority) {
    if (flags != cudaStreamNonBlocking || priority > 0 || priority < -5)
        return cudaErrorInvalidValue;
    return create(out, true);
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    for (simt_stream **at = &streams; *at; at = &(*at)->next)
        if (*at == s) {
            finish(s);
            *at = s->next;
            simt_let_go(s->captured);
            free(s);
            return cudaSuccess;
        }
    return cudaErrorInvalidValue;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (const cudaError_t code = s ? simt_forbidden(s) : cudaSuccess) return code;
    simt_finish(s);
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
    if (const cudaError_t code = s ? simt_forbidden(s) : cudaSuccess) return code;
    return !s || advance(s) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    if (flags != cudaEventDisableTiming) return cudaErrorInvalidValue;
    *out = (cudaEvent_t)calloc(1, sizeof **out);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    free(e);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    if (const cudaError_t code = s ? simt_forbidden(s) : cudaSuccess) return code;
    e->stream = s;
    e->at = s ? s->asked : 0;
    return cudaSuccess;
}
/* What was recorded then; the event may be recorded anew, or its stream be gone. */
static int wait_for(void *argument) {
    const simt_event *e = (const simt_event *)argument;
    for (simt_stream *s = streams; s; s = s->next) {
        if (s != e->stream) continue;
        while (s->done < e->at)
            if (!step(s)) return 1;
    }
    return 0;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    if (const cudaError_t code = s ? simt_forbidden(s) : cudaSuccess) return code;
    if (!simt_runs_now(s)) return simt_ask(s, wait_for, e, sizeof *e, nullptr, 0);
    while (wait_for(e)) continue;
    return cudaSuccess;
}

/* --- memory that is somebody else's for a while --- */

namespace {
struct range {
    const char *at;
    size_t bytes;
    simt_use use;
};
enum { RANGES_MOST = 65536 };
range ranges[RANGES_MOST];
int n_ranges;
} // namespace

bool simt_lend(const void *at, size_t bytes, simt_use use) {
    if (n_ranges == RANGES_MOST) return false;
    ranges[n_ranges++] = range{(const char *)at, bytes, use};
    return true;
}
bool simt_lent_back(const void *at, size_t bytes, simt_use use) {
    for (int i = 0; i < n_ranges; i++)
        if (ranges[i].at == at && ranges[i].bytes == bytes && ranges[i].use == use) {
            ranges[i] = ranges[--n_ranges];
            return true;
        }
    return false;
}
bool simt_is_lent(const void *at, size_t bytes, simt_use use) {
    for (int i = 0; i < n_ranges; i++)
        if (ranges[i].use == use && (const char *)at + bytes > ranges[i].at &&
            (const char *)at < ranges[i].at + ranges[i].bytes)
            return true;
    return false;
}
bool simt_is_registered(const void *at, size_t bytes) {
    for (int i = 0; i < n_ranges; i++)
        if (ranges[i].use == SIMT_REGISTERED && (const char *)at >= ranges[i].at &&
            (const char *)at + bytes <= ranges[i].at + ranges[i].bytes)
            return true;
    return false;
}
