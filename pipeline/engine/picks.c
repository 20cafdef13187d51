/* picks.c - see engine_internal.h: with a model on a GPU, what each wanted row has picked of its
 * logits there, so that the logits need not come over. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

/* --- a row's wishes --- */

static int by_id(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}
/* Each once; how many. */
static int32_t once(int32_t *ids, int32_t n) {
    int32_t kept = 0;
    if (n > 1) qsort(ids, (size_t)n, sizeof *ids, by_id);
    for (int32_t i = 0; i < n; i++)
        if (kept == 0 || ids[i] != ids[kept - 1]) ids[kept++] = ids[i];
    return kept;
}

typedef struct {
    int32_t *ids, n, room;
    int64_t vocab;
    bool over;
} id_list;
static void note(id_list *list, int32_t id) {
    if (id < 0 || id >= list->vocab) return;
    if (list->n == list->room)
        list->over = true;
    else
        list->ids[list->n++] = id;
}

/* Those of a list that decide, or somewhat more. */
static int32_t places(const px_decoding *how) {
    const int64_t k = how->top_k;
    return (int32_t)(k > 0 ? PX_MIN(2 * k + 32, PX_PICK_LISTED) : PX_PICK_LISTED);
}

bool px_pick_of(const px_choosing *c, int64_t vocab, int32_t *changes, int32_t room, px_pick *out,
                int32_t *listed) {
    const px_decoding *how = c->how;
    id_list ids = {.ids = changes, .room = room, .vocab = vocab};
    *out = (px_pick){.temperature = (float)how->temperature,
                     .penalty = (float)how->repetition_penalty,
                     .list = -1};
    *listed = 0;
    if (c->mask || how->logprobs > 0 || vocab > PX_PICK_VOCAB) return false;
    if (how->top_k > PX_PICK_LISTED && vocab > PX_PICK_LISTED) return false;
    const bool penalty = how->repetition_penalty != 1;
    for (int32_t i = 0; i < c->n_distinct && penalty && !ids.over; i++) note(&ids, c->distinct[i]);
    out->n_penalised = ids.n;
    for (int64_t i = choosing_repeats(c, 0); i >= 0 && !ids.over; i = choosing_repeats(c, i + 1))
        note(&ids, c->ids[i + how->no_repeat_ngram - 1]);
    for (int i = 0; i < c->n_ends && c->n_new < how->min_new_tokens; i++) note(&ids, c->ends[i]);
    if (ids.over) return false;
    out->n_banned = once(changes + out->n_penalised, ids.n - out->n_penalised);
    if (how->temperature <= 0 || how->top_k == 1) return true;
    if (!((float)how->temperature > 0)) return false;
    out->list = 0;
    out->sum = how->top_k == 0 && (how->top_p < 1 || how->min_p <= 0);
    *listed = places(how);
    return true;
}

/* --- a pass's --- */

/* The host's memory, from which the card takes wishes and to which it gives picks. */
struct engine_picks {
    px_stream *stream;
    px_pick *rows;            /* [batch] */
    int32_t *changes, n_room; /* [n_room] */
    bool *whole;              /* [batch] */
    void *picked;             /* px_picked_bytes */
    px_picking how;
    int32_t n_rows;
};

px_err *picks_open(px_stream *stream, int32_t batch, engine_picks **out) {
    const size_t n = (size_t)batch;
    const size_t bytes = px_picked_bytes(batch, batch, PX_PICK_LISTED);
    engine_picks *p = calloc(1, sizeof *p);
    if (!p) PX_NO_MEMORY();
    *out = p;
    p->stream = stream;
    p->n_room = batch * PX_PICK_CHANGES;
    p->whole = calloc(n, sizeof *p->whole);
    if (!p->whole) PX_NO_MEMORY();
    PX_PASS(px_memory_host_new(stream, n * sizeof *p->rows, (void **)&p->rows));
    PX_PASS(
        px_memory_host_new(stream, (size_t)p->n_room * sizeof *p->changes, (void **)&p->changes));
    return px_memory_host_new(stream, bytes, &p->picked);
}

void picks_close(engine_picks *p) {
    if (!p) return;
    px_memory_host_free(p->stream, p->rows);
    px_memory_host_free(p->stream, p->changes);
    px_memory_host_free(p->stream, p->picked);
    free(p->whole);
    free(p);
}

void picks_begin(engine_picks *p) {
    p->how = (px_picking){.rows = p->rows, .changes = p->changes};
    p->n_rows = 0;
}

void picks_add(engine_picks *p, const px_choosing *choice, int64_t vocab) {
    px_pick *row = &p->rows[p->n_rows];
    const int32_t at = p->how.n_changes;
    int32_t listed = 0;
    const bool is =
        choice && px_pick_of(choice, vocab, p->changes + at, p->n_room - at, row, &listed);
    p->whole[p->n_rows++] = !is;
    if (!is) *row = (px_pick){.list = -1};
    row->at = at;
    p->how.n_changes += row->n_penalised + row->n_banned;
    if (row->list >= 0) row->list = p->how.n_lists++;
    p->how.listed = PX_MAX(p->how.listed, listed);
}

void picks_ask(const engine_picks *p, px_step *step) {
    step->picking = &p->how;
    step->whole = p->whole;
    step->picked = p->picked;
}

bool picks_has(const engine_picks *p, int32_t row) { return p && !p->whole[row]; }

int32_t picks_choose(const engine_picks *p, int32_t row, const px_choosing *choice,
                     px_candidate *room) {
    const px_picked *picked = p->picked;
    const px_listed *lists = (const px_listed *)(const void *)(picked + p->n_rows);
    const int32_t list = p->rows[row].list;
    if (list >= 0) lists += (int64_t)list * p->how.listed;
    return px_choose_picked(&picked[row], lists, choice, room);
}
