/* round.c - rounds (ops.h): the tables of all of a round's operations go over in one copy, from
 * memory that is not paged out, to places that the round's shape fixes; so its launches can be
 * captured into a graph and replayed while only the tables change.
 *
 * A shape's first round is launched operation by operation: libraries load what they need, scratch
 * grows, algorithms are chosen. Its second is captured, later ones are replayed. A graph holds
 * addresses: whenever device memory was given back since it was captured (n_given), it is captured
 * anew. A shape that cannot be captured stays with single launches; PRISMX_LOG=debug says why. */
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

enum { ARRAYS = 4, SHAPES_MOST = 64, ALIGN = 256 };

/* What a graph was made for. Compared as bytes: zeroed first. */
typedef struct {
    const void *same[4], *cache;
    int64_t n, n_rows;
} shape_key;
typedef struct {
    shape_key key;
    cu_graph *graph; /* NULL: none yet */
    uint64_t frees;  /* n_given when it was made */
    bool refused;
} shape;

typedef enum { OVER, PLAIN, CAPTURE, CAPTURING } phase;
struct cuda_rounds {
    /* Tables, as they lie in both memories: ids, positions, rows, places, tiles, list, soft. */
    char *host, *device;
    size_t bytes;
    /* The round under way. */
    phase phase;
    const px_stretch *stretches; /* NULL: none */
    int64_t n;
    struct {
        const void *host, *device;
        size_t bytes;
    } arrays[ARRAYS];
    int n_arrays;
    cuda_cached cached;
    shape *now; /* NULL: of no graph */
    shape shapes[SHAPES_MOST];
    int n_shapes;
};
typedef struct cuda_rounds rounds;

static rounds *rounds_of(px_stream *s) { return ((cuda_state *)s->state)->rounds; }

const void *cuda_round_array(px_stream *s, const void *host, size_t bytes) {
    const rounds *r = rounds_of(s);
    for (int i = 0; r && i < r->n_arrays; i++)
        if (r->arrays[i].host == host && bytes <= r->arrays[i].bytes) return r->arrays[i].device;
    return NULL;
}

const cuda_cached *cuda_round_cached(px_stream *s, const px_cached *at, int64_t rows) {
    const rounds *r = rounds_of(s);
    return r && r->stretches && r->stretches == at->stretches && r->n == rows ? &r->cached : NULL;
}

bool cuda_round_captures(px_stream *s) {
    const rounds *r = rounds_of(s);
    return r && r->phase == CAPTURING;
}

static void forget_graphs(rounds *r) {
    for (int i = 0; i < r->n_shapes; i++) cu_graph_free(r->shapes[i].graph);
    r->n_shapes = 0;
}

void cuda_rounds_close(px_stream *s) {
    rounds *r = rounds_of(s);
    if (!r) return;
    cu_wait(cuda_queue(s));
    forget_graphs(r);
    cu_host_free(r->host);
    cuda_give(s, r->device);
    free(r);
    ((cuda_state *)s->state)->rounds = NULL;
}

int64_t cuda_round_rows(int64_t n, int64_t most) {
    static const struct {
        int64_t up_to, step;
    } steps[] = {{2, 1}, {4, 2}, {8, 4}, {64, 8}, {256, 16}, {INT64_MAX, 64}};
    int i = 0;
    while (n > steps[i].up_to) i++;
    const int64_t whole = (n + steps[i].step - 1) / steps[i].step * steps[i].step;
    return n >= most ? n : PX_MIN(whole, most);
}

/* --- tables --- */

/* Where each table begins. The list and what is soft, whose lengths no shape fixes, come last. */
typedef struct {
    size_t ids, positions, rows, places, tiles, list, soft, end;
    int64_t n_tiles, n_list;
    bool repeats; /* one row a stretch, nothing soft */
} tables;

static size_t take(size_t *at, int64_t n, size_t size) {
    const size_t begin = *at;
    *at += ((size_t)n * size + ALIGN - 1) / ALIGN * ALIGN;
    return begin;
}

static tables lay_out(const px_round *round) {
    const px_cached *c = round->cached;
    tables t = {0};
    cuda_cached_count(c, &t.n_tiles, &t.n_list);
    t.repeats = round->n_soft == 0 && c->n > 0 && c->stretches[c->n - 1].end == c->n;
    if (t.repeats) t.n_tiles = round->n;
    t.ids = take(&t.end, round->n, sizeof *round->ids);
    t.positions = take(&t.end, round->n, sizeof *round->positions);
    t.rows = take(&t.end, round->n_rows, sizeof *round->rows);
    t.places = take(&t.end, round->n, sizeof(int64_t));
    t.tiles = take(&t.end, t.n_tiles, sizeof(cu_tile));
    t.list = take(&t.end, t.n_list, sizeof(int32_t));
    t.soft = take(&t.end, round->n_soft, sizeof *round->soft);
    return t;
}

/* Room for them in both memories, twice as much as is wanted. */
static bool make_room(px_stream *s, rounds *r, size_t bytes) {
    if (bytes <= r->bytes) return true;
    cu_host_free(r->host);
    cuda_give(s, r->device);
    r->bytes = 0;
    r->host = cu_host_new(2 * bytes);
    r->device = cuda_take(s, 2 * bytes);
    if (r->host && r->device) {
        r->bytes = 2 * bytes;
        return true;
    }
    px_stream_fail(s,
                   px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                              CUDA_NAME ": no memory for %zu bytes of a step's tables", 2 * bytes));
    return false;
}

static void bring(rounds *r, size_t at, const void *from, int64_t n, size_t size) {
    const size_t bytes = (size_t)n * size;
    if (bytes == 0) return;
    memcpy(r->host + at, from, bytes);
    r->arrays[r->n_arrays].host = from;
    r->arrays[r->n_arrays].device = r->device + at;
    r->arrays[r->n_arrays++].bytes = bytes;
}

static void fill(rounds *r, const px_round *round, const tables *t) {
    bring(r, t->ids, round->ids, round->n, sizeof *round->ids);
    bring(r, t->positions, round->positions, round->n, sizeof *round->positions);
    bring(r, t->rows, round->rows, round->n_rows, sizeof *round->rows);
    bring(r, t->soft, round->soft, round->n_soft, sizeof *round->soft);
    memset(r->host + t->tiles, 0, (size_t)t->n_tiles * sizeof(cu_tile));
    cuda_cached_places(round->cached, round->n, (int64_t *)(void *)(r->host + t->places));
    cuda_cached_tiles(round->cached, (cu_tile *)(void *)(r->host + t->tiles),
                      (int32_t *)(void *)(r->host + t->list));
    r->stretches = round->cached->stretches;
    r->n = round->n;
    r->cached = (cuda_cached){.places = (const int64_t *)(void *)(r->device + t->places),
                              .tiles = (const cu_tile *)(void *)(r->device + t->tiles),
                              .list = (const int32_t *)(void *)(r->device + t->list),
                              .n_tiles = t->n_tiles};
}

/* --- graphs --- */

/* The shape of a round that may be replayed; *is_new: it was not seen before. */
static shape *find_shape(rounds *r, const px_round *round, bool *is_new) {
    shape_key key;
    memset(&key, 0, sizeof key);
    memcpy(key.same, round->same, sizeof key.same);
    key.cache = round->cached->cache;
    key.n = round->n;
    key.n_rows = round->n_rows;
    *is_new = false;
    for (int i = 0; i < r->n_shapes; i++)
        if (memcmp(&r->shapes[i].key, &key, sizeof key) == 0) return &r->shapes[i];
    if (r->n_shapes == SHAPES_MOST) forget_graphs(r);
    shape *it = &r->shapes[r->n_shapes++];
    *it = (shape){.key = key};
    *is_new = true;
    return it;
}

static void launch(px_stream *s, rounds *r) {
    cu_graph_launch(cuda_queue(s), r->now->graph);
    s->rounds.replayed++;
    cuda_note(s, cu_error(cuda_queue(s)));
}

static phase begin_shape(px_stream *s, rounds *r, const px_round *round) {
    bool is_new = false;
    shape *it = find_shape(r, round, &is_new);
    if (is_new || it->refused) return PLAIN;
    r->now = it;
    if (it->graph && it->frees == ((const cuda_state *)s->state)->n_given) {
        launch(s, r);
        return OVER;
    }
    cu_graph_free(it->graph);
    it->graph = NULL;
    return CAPTURE;
}

void cuda_round_begin(px_stream *s, const px_round *round) {
    cuda_state *c = s->state;
    if (!c->rounds) c->rounds = calloc(1, sizeof *c->rounds);
    rounds *r = c->rounds;
    if (!r) {
        cuda_note(s, "out of memory");
        return;
    }
    const tables t = lay_out(round);
    r->phase = OVER;
    r->n_arrays = 0;
    r->stretches = NULL;
    r->now = NULL;
    cu_wait(c->queue); /* the last round's tables may still be on their way */
    if (!cuda_ready(s) || !make_room(s, r, t.end)) return;
    fill(r, round, &t);
    cu_copy(c->queue, r->device, r->host, t.end, CU_TO_DEVICE);
    r->phase = PLAIN;
    if (t.repeats && !s->no_graphs && !s->profile) r->phase = begin_shape(s, r, round);
}

/* Whether the graph is there; else the operations' errors, none of which came of work that was
 * done, are forgotten, and they are called again. */
static bool end_capture(px_stream *s, rounds *r) {
    const char *why = "";
    cu_graph *graph = cu_capture_end(cuda_queue(s), &why);
    if (graph && cuda_ready(s)) {
        r->now->graph = graph;
        r->now->frees = ((const cuda_state *)s->state)->n_given;
        s->rounds.graphs++;
        return true;
    }
    px_err *err = px_stream_ok(s);
    px_debug("steps of %lld rows are launched one operation at a time: %s",
             (long long)r->now->key.n, err ? px_err_text(err) : why);
    px_err_free(err);
    cu_graph_free(graph);
    r->now->refused = true;
    s->rounds.refused++;
    return false;
}

bool cuda_round_goes_on(px_stream *s) {
    rounds *r = rounds_of(s);
    if (!r) return false;
    switch (r->phase) {
    case CAPTURE:
        r->phase = cu_capture_begin(cuda_queue(s)) ? PLAIN : CAPTURING;
        if (r->phase == CAPTURING) return true;
        r->now->refused = true;
        s->rounds.refused++;
        px_debug("no CUDA graphs here: %s", cu_error(cuda_queue(s)));
        break;
    case CAPTURING:
        r->phase = end_capture(s, r) ? OVER : PLAIN;
        if (r->phase == OVER) launch(s, r);
        break;
    default:
        break;
    }
    if (r->phase == PLAIN) {
        r->phase = OVER;
        s->rounds.plain++;
        return true;
    }
    r->n_arrays = 0;
    r->stretches = NULL;
    return false;
}
