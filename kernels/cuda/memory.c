/* memory.c - the card's memory that lasts longer than an operation: out of one region, where it was
 * reserved, so that a run that has begun asks the card for nothing more; else, as in tests of
 * operations, each piece is one of CUDA's own. */
#include <stdlib.h>

#include "cuda.h"

static void note_peaks(cuda_state *c) {
    const int64_t beside = (int64_t)c->beside_bytes + cu_gemms_bytes();
    px_memory_facts *f = &c->facts;
    f->held = PX_MAX(f->held, (int64_t)c->arena.bytes + beside);
    f->used = PX_MAX(f->used, (int64_t)c->arena.used + beside);
}

/* A piece of CUDA's own. */
static void *take_beside(cuda_state *c, size_t bytes) {
    if (c->n_beside == c->beside_room) {
        const int wider = c->beside_room ? 2 * c->beside_room : 64;
        cuda_beside *more = realloc(c->beside, (size_t)wider * sizeof *more);
        if (!more) return NULL;
        c->beside = more;
        c->beside_room = wider;
    }
    void *at = cu_new(bytes);
    if (!at) return NULL;
    c->beside[c->n_beside++] = (cuda_beside){at, bytes};
    c->beside_bytes += bytes;
    c->facts.n_taken++;
    if (c->arena.begin) px_debug("GPU memory: no room in the region for %zu bytes", bytes);
    return at;
}

void *cuda_take(px_stream *s, size_t bytes) {
    cuda_state *c = s->state;
    void *at = cu_arena_take(&c->arena, bytes);
    if (at)
        cu_piece_begin(at, bytes);
    else
        at = take_beside(c, bytes);
    if (at) note_peaks(c);
    return at;
}

void cuda_give(px_stream *s, void *at) {
    cuda_state *c = s->state;
    if (!at) return;
    c->n_given++;
    if (cu_arena_give(&c->arena, at)) {
        cu_piece_end(at);
        return;
    }
    for (int i = c->n_beside - 1; i >= 0; i--) {
        if (c->beside[i].at != at) continue;
        c->beside_bytes -= c->beside[i].bytes;
        c->beside[i] = c->beside[--c->n_beside];
        break;
    }
    cu_free(at);
}

static px_err *too_little(const cuda_state *c, size_t bytes) {
    cu_card card;
    const char *failed = cu_about(c->card, &card);
    if (failed) PX_FAIL(PX_RUN_FAILED, "GPU %d: %s", c->card, failed);
    const double wanted = (double)bytes / 1e9;
    if ((int64_t)bytes > card.bytes)
        PX_FAIL(PX_BAD_INPUT, "%.3f GB of GPU %d's memory are wanted, and it has %.3f GB (%s)",
                wanted, c->card, (double)card.bytes / 1e9, card.name);
    PX_FAIL(PX_RUN_FAILED,
            "%.3f GB of GPU %d's memory are wanted, and of its %.3f GB %.3f are free (%s)", wanted,
            c->card, (double)card.bytes / 1e9, (double)card.free_bytes / 1e9, card.name);
}

px_err *cuda_reserve(px_stream *s, size_t bytes, size_t scratch) {
    cuda_state *c = s->state;
    if (c->arena.begin) PX_FAIL(PX_RUN_FAILED, "the GPU's memory is reserved already");
    cuda_give(s, c->room);
    c->room = NULL;
    c->room_bytes = 0;
    c->arena.begin = cu_new(bytes);
    if (!c->arena.begin) return too_little(c, bytes);
    c->arena.bytes = bytes;
    c->facts.n_taken++;
    cu_region(c->arena.begin);
    px_debug("GPU memory: a region of %zu bytes", bytes);
    c->room = cuda_take(s, scratch);
    c->room_bytes = c->room ? scratch : 0;
    return NULL;
}

void cuda_facts(const px_stream *s, px_memory_facts *out) {
    const cuda_state *c = s->state;
    cu_card card;
    *out = c->facts;
    out->reserved = (int64_t)c->arena.bytes;
    out->reach = (int64_t)c->arena.reach;
    out->scratch = (int64_t)c->used_most;
    out->used -= px_card_piece((int64_t)c->room_bytes) - out->scratch; /* what it was good for */
    if (cu_about(c->card, &card)) return;
    out->card = card.bytes;
    out->card_used = card.bytes - card.free_bytes;
}

void cuda_elsewhere(px_stream *s, int64_t bytes) {
    cuda_state *c = s->state;
    c->beside_bytes += (size_t)bytes;
    if (bytes > 0) c->facts.n_taken++;
    note_peaks(c);
}

void *cuda_memory_new(px_stream *s, size_t bytes) { return cuda_take(s, bytes); }
void cuda_memory_free(px_stream *s, void *at) {
    cu_wait(cuda_queue(s));
    cuda_give(s, at);
}
void cuda_memory_copy(px_stream *s, void *to, const void *from, size_t bytes) {
    const int to_device = cu_is_device(to), from_device = cu_is_device(from);
    cu_queue *q = cuda_queue(s);
    cu_copy(q, to, from, bytes,
            to_device && from_device ? CU_INSIDE
            : to_device              ? CU_TO_DEVICE
                                     : CU_TO_HOST);
    if (!to_device) cu_wait(q);
    cuda_note(s, cu_error(q));
}
void cuda_memory_zero(px_stream *s, void *at, size_t bytes) {
    cu_zero(cuda_queue(s), at, bytes);
    cuda_note(s, cu_error(cuda_queue(s)));
}
