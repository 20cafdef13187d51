/* ops.c - checks the shapes and hands the call to the stream's backend. */
#include "ops.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"

static const px_backend *const backends[] = {
    &px_backend_cpu,
    &px_backend_ref,
#if defined(PX_HAVE_CUDA) || defined(PX_HAVE_SIMT)
    &px_backend_cuda,
#endif
};
static const px_backend *find_backend(const char *name) {
    for (size_t i = 0; i < PX_COUNT(backends); i++)
        if (strcmp(name, backends[i]->name) == 0) return backends[i];
    return NULL;
}
bool px_backend_exists(const char *name) { return find_backend(name) != NULL; }

static int card_chosen;
void px_device_choose(int card) { card_chosen = card; }
int px_device_chosen(void) { return card_chosen; }

px_err *px_stream_open(const char *name, int threads, px_stream **out) {
    const px_backend *found = find_backend(name);
    if (!found) {
        char known[64] = "";
        for (size_t i = 0; i < PX_COUNT(backends); i++) {
            const size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s\"%s\"", i ? ", " : "",
                     backends[i]->name);
        }
        PX_FAIL(PX_BAD_INPUT, "backend \"%s\" is unknown; this build has %s", name, known);
    }
    if (threads < 1) PX_FAIL(PX_BAD_INPUT, "threads is %d; at least 1 is needed", threads);
    px_stream *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->backend = found;
    s->threads = threads;
    px_err *err = found->open(s);
    if (err) {
        px_stream_close(s);
        return px_err_add(err, __FILE__, __LINE__, "backend \"%s\"", name);
    }
    px_profile_open(s);
    *out = s;
    return NULL;
}

void px_stream_close(px_stream *s) {
    if (!s) return;
    px_profile_close(s);
    if (s->rounds.plain + s->rounds.replayed && s->backend->round_begin)
        px_debug("steps: %lld by %lld CUDA graphs, %lld launched one operation at a time",
                 (long long)s->rounds.replayed, (long long)s->rounds.graphs,
                 (long long)s->rounds.plain);
    s->backend->close(s);
    px_err_free(s->err);
    free(s->scratch);
    free(s);
}

px_err *px_stream_ok(px_stream *s) {
    px_err *err = s->err;
    s->err = NULL;
    return err;
}

void px_stream_fail(px_stream *s, px_err *err) {
    if (s->err)
        px_err_free(err);
    else
        s->err = err;
}

void *px_scratch(px_stream *s, size_t bytes) {
    if (bytes <= s->scratch_bytes && s->scratch) return s->scratch;
    free(s->scratch);
    s->scratch_bytes = (bytes + 4096) / 4096 * 4096;
    s->scratch = aligned_alloc(64, s->scratch_bytes);
    if (s->scratch) return s->scratch;
    s->scratch_bytes = 0;
    px_stream_fail(s, px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                                 "out of memory: %zu bytes of scratch", bytes));
    return NULL;
}

/* Runs an operation, and keeps its time where that is wanted. */
#define RUN(name, flops, bytes, call)                                                              \
    do {                                                                                           \
        const double begun_s_ = px_profile_begin(s, name);                                         \
        call;                                                                                      \
        px_profile_end(s, name, begun_s_, s->profile ? (double)(flops) : 0,                        \
                       s->profile ? (double)(bytes) : 0);                                          \
    } while (0)

/* --- memory --- */

bool px_memory_is_apart(const px_stream *s) { return s && s->backend->memory_new; }

px_err *px_memory_reserve(px_stream *s, size_t bytes, size_t scratch) {
    return s->backend->reserve ? s->backend->reserve(s, bytes, scratch) : NULL;
}
void px_memory_elsewhere(px_stream *s, int64_t bytes) {
    if (s->backend->elsewhere) s->backend->elsewhere(s, bytes);
}
bool px_memory_facts_get(const px_stream *s, px_memory_facts *out) {
    *out = (px_memory_facts){0};
    if (!s || !s->backend->facts) return false;
    s->backend->facts(s, out);
    return true;
}

px_err *px_memory_new(px_stream *s, size_t bytes, void **out) {
    if (px_memory_is_apart(s))
        *out = s->backend->memory_new(s, bytes);
    else
        *out = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!*out)
        PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes for \"%s\"", bytes, s->backend->name);
    return NULL;
}
void px_memory_free(px_stream *s, void *at) {
    if (!at) return;
    if (px_memory_is_apart(s))
        s->backend->memory_free(s, at);
    else
        free(at);
}
px_err *px_memory_host_new(px_stream *s, size_t bytes, void **out) {
    *out = px_memory_is_apart(s) ? s->backend->memory_host_new(s, bytes)
                                 : aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!*out) PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes of the host's", bytes);
    return NULL;
}
px_err *px_memory_shared_new(px_stream *s, size_t bytes, void **out) {
    if (!px_memory_is_apart(s)) return px_memory_host_new(s, bytes, out);
    *out = s->backend->memory_shared_new(s, bytes);
    if (!*out)
        PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes of the host's that a GPU can read", bytes);
    return NULL;
}
void px_memory_host_free(px_stream *s, void *at) {
    if (!at) return;
    if (px_memory_is_apart(s))
        s->backend->memory_host_free(s, at);
    else
        free(at);
}
void px_memory_copy(px_stream *s, void *to, const void *from, size_t bytes) {
    if (bytes == 0) return;
    if (px_memory_is_apart(s))
        RUN("copies", 0, bytes, s->backend->memory_copy(s, to, from, bytes));
    else
        memcpy(to, from, bytes);
}
void px_memory_zero(px_stream *s, void *at, size_t bytes) {
    if (bytes == 0) return;
    if (px_memory_is_apart(s))
        s->backend->memory_zero(s, at, bytes);
    else
        memset(at, 0, bytes);
}
void px_stream_peak(px_stream *s, px_type type, double *flops, double *bytes) {
    *flops = *bytes = 0;
    if (s->backend->peak) s->backend->peak(s, type, flops, bytes);
}
void *px_stream_handle(px_stream *s) { return s->backend->handle ? s->backend->handle(s) : NULL; }

/* --- shapes --- */

/* A wrong shape is our bug: it stops a debug build, and in a release build sticks as an error
 * instead of writing past somebody's memory. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        assert(condition);                                                                         \
        if (!(condition)) {                                                                        \
            px_stream_fail(s, px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,                        \
                                         "%s: wrong shapes: not %s", __func__, #condition));       \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static bool is_mat(px_mat m) {
    return m.rows >= 0 && m.cols >= 0 && (m.stride >= m.cols || m.rows <= 1) &&
           (m.type == PX_F32 || m.type == PX_BF16) && (m.data || m.rows == 0 || m.cols == 0);
}
static bool has_shape(px_mat m, int64_t rows, int64_t cols) {
    return is_mat(m) && m.rows == rows && m.cols == cols;
}
static bool same_shape(px_mat a, px_mat b) { return is_mat(a) && has_shape(b, a.rows, a.cols); }

static double size_of(px_mat m) {
    return m.data ? (double)(m.rows * m.cols) * (double)px_type_size(m.type) : 0;
}
static double size_of_weight(const px_weight *w) {
    return (double)(w->out * w->in) * (double)px_type_size(w->type);
}
static double product(px_stream *s, px_type type, int64_t m, int64_t n, int64_t k) {
    const double flops = 2 * (double)m * (double)n * (double)k;
    px_profile_product(s, type, flops);
    return flops;
}

/* --- linear layers --- */

px_err *px_weight_new(px_stream *s, px_mat source, px_type type, int pack, px_weight **out) {
    assert(is_mat(source) && pack != 0);
    assert(!px_pack_bits(pack) || type == PX_BF16);
    return s->backend->weight_new(s, source, type, pack, out);
}
px_err *px_weight_update(px_stream *s, px_weight *w, px_mat source) {
    assert(has_shape(source, w->out, w->in) && w->backend == s->backend);
    return s->backend->weight_update(s, w, source);
}
void px_weight_free(px_weight *w) {
    if (w) w->backend->weight_free(w);
}
int64_t px_weight_bytes(const px_weight *w) { return w->bytes; }

void px_op_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add) {
    CHECK(has_shape(x, x.rows, w->in) && has_shape(y, x.rows, w->out) && x.type == w->type);
    CHECK((w->pack & (PX_PACK_FORWARD | PX_PACK_PANELS)) && w->backend == s->backend);
    RUN("linear", product(s, w->type, x.rows, w->out, w->in),
        size_of(x) + size_of(y) + size_of_weight(w), s->backend->linear(s, y, x, w, add));
}
void px_op_linear_backward_input(px_stream *s, px_mat dx, px_mat dy, const px_weight *w, bool add) {
    CHECK(has_shape(dy, dy.rows, w->out) && has_shape(dx, dy.rows, w->in) && dy.type == w->type);
    CHECK((w->pack & PX_PACK_BACKWARD) && w->backend == s->backend);
    RUN("linear_backward_input", product(s, w->type, dy.rows, w->in, w->out),
        size_of(dx) + size_of(dy) + size_of_weight(w),
        s->backend->linear_backward_input(s, dx, dy, w, add));
}
void px_op_linear_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x) {
    CHECK(is_mat(dy) && is_mat(x) && dy.rows == x.rows);
    RUN("linear_backward_weight", product(s, x.type, dy.cols, x.cols, x.rows),
        size_of(x) + size_of(dy), s->backend->linear_backward_weight(s, dw, dy, x));
}

/* --- low-rank adapters --- */

void px_op_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R, px_dropout drop) {
    CHECK(is_mat(x) && R >= 1 && drop.p >= 0 && drop.p < 1);
    CHECK(drop.p == 0 || drop.keys || x.rows == 0);
    RUN("lora_down", 2.0 * (double)(x.rows * x.cols * R), size_of(x),
        s->backend->lora_down(s, u, x, a, R, drop));
}
static bool is_part(px_lora_part part) {
    return part.first >= 0 && part.r >= 1 && part.first + part.r <= part.R;
}
void px_op_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part) {
    CHECK(is_mat(y) && is_part(part));
    RUN("lora_up", 2.0 * (double)(y.rows * y.cols * part.r), 2 * size_of(y),
        s->backend->lora_up(s, y, u, b, part));
}
void px_op_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                            const float *b, px_lora_part part) {
    CHECK(is_mat(dy) && is_part(part));
    RUN("lora_up_backward", 4.0 * (double)(dy.rows * dy.cols * part.r), size_of(dy),
        s->backend->lora_up_backward(s, du, db, dy, u, b, part));
}
void px_op_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                              const float *a, int64_t R, px_dropout drop) {
    CHECK(is_mat(x) && (!dx.data || same_shape(dx, x)) && R >= 1 && drop.p >= 0 && drop.p < 1);
    CHECK(drop.p == 0 || drop.keys || x.rows == 0);
    RUN("lora_down_backward", (dx.data ? 4.0 : 2.0) * (double)(x.rows * x.cols * R),
        size_of(x) + 2 * size_of(dx), s->backend->lora_down_backward(s, dx, da, du, x, a, R, drop));
}

/* --- embeddings and rows --- */

void px_op_embed(px_stream *s, px_mat y, const int32_t *ids, px_mat table, const float *soft) {
    CHECK(is_mat(y) && is_mat(table) && y.cols == table.cols);
    RUN("embed", 0, 2 * size_of(y), s->backend->embed(s, y, ids, table, soft));
}
void px_op_embed_backward(px_stream *s, float *dsoft, float *dtable, const int32_t *ids,
                          px_mat dy) {
    CHECK(is_mat(dy));
    RUN("embed_backward", 0, size_of(dy), s->backend->embed_backward(s, dsoft, dtable, ids, dy));
}
void px_op_gather(px_stream *s, px_mat y, px_mat x, const int32_t *rows) {
    CHECK(is_mat(y) && is_mat(x) && y.cols == x.cols);
    RUN("gather", 0, 2 * size_of(y), s->backend->gather(s, y, x, rows));
}
void px_op_scatter(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows) {
    CHECK(is_mat(dx) && is_mat(dy) && dx.cols == dy.cols);
    RUN("scatter", 0, size_of(dx) + size_of(dy), s->backend->scatter(s, dx, dy, rows));
}

/* --- norm, position, gate --- */

void px_op_rms_norm(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                    const float *w, float eps) {
    CHECK(same_shape(x, y) && (!delta.data || (same_shape(x, delta) && same_shape(x, sum))));
    RUN("rms_norm", 0, size_of(y) + size_of(x) + (delta.data ? 2 * size_of(delta) : 0),
        s->backend->rms_norm(s, y, sum, rms, x, delta, w, eps));
}
void px_op_rms_norm_backward(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy, px_mat x,
                             const float *rms, const float *w) {
    CHECK(same_shape(x, dx) && same_shape(x, dy) && (!dres.data || same_shape(x, dres)));
    RUN("rms_norm_backward", 0, size_of(dx) + size_of(dres) + size_of(dy) + size_of(x),
        s->backend->rms_norm_backward(s, dx, dres, dw, dy, x, rms, w));
}
void px_op_rope(px_stream *s, px_mat x, const int32_t *positions, const float *table, int64_t hd,
                int direction) {
    CHECK(is_mat(x) && hd >= 2 && hd % 2 == 0 && x.cols % hd == 0);
    CHECK(direction == 1 || direction == -1);
    RUN("rope", 0, 2 * size_of(x), s->backend->rope(s, x, positions, table, hd, direction));
}
void px_op_swiglu(px_stream *s, px_mat y, px_mat gate, px_mat up) {
    CHECK(same_shape(y, gate) && same_shape(y, up));
    CHECK(y.type == gate.type && y.type == up.type);
    RUN("swiglu", 0, 3 * size_of(y), s->backend->swiglu(s, y, gate, up));
}
void px_op_swiglu_backward(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                           px_mat up) {
    CHECK(same_shape(dy, gate) && same_shape(dy, up) && same_shape(dy, dgate));
    CHECK(same_shape(dy, dup) && dy.type == gate.type && dy.type == up.type);
    CHECK(dy.type == dgate.type && dy.type == dup.type);
    RUN("swiglu_backward", 0, 5 * size_of(dy),
        s->backend->swiglu_backward(s, dgate, dup, dy, gate, up));
}

/* --- attention, head --- */

static bool are_segments(const px_attn *attn, int64_t n_rows) {
    int64_t row = 0;
    for (int32_t i = 0; i < attn->n_segments; i++) {
        px_segment segment = attn->segments[i];
        if (segment.begin != row || segment.end < segment.begin) return false;
        if (segment.parent < -1 || segment.parent >= i) return false;
        /* Depth first: the parent is on the path of the segment before. */
        int32_t on_path = i - 1;
        while (on_path > segment.parent) on_path = attn->segments[on_path].parent;
        if (on_path != segment.parent) return false;
        row = segment.end;
    }
    return row == n_rows;
}
/* Pairs of rows of which the one sees the other. */
static double pairs_seen(const px_attn *attn) {
    double pairs = 0;
    for (int32_t i = 0; i < attn->n_segments; i++) {
        const px_segment *segments = attn->segments;
        const double n = segments[i].end - segments[i].begin;
        pairs += n * (n + 1) / 2;
        for (int32_t up = segments[i].parent; up >= 0; up = segments[up].parent)
            pairs += n * (segments[up].end - segments[up].begin);
    }
    return pairs;
}
static bool are_heads(const px_attn *attn, px_mat q, px_mat k, px_mat v) {
    if (attn->n_kv_heads < 1 || attn->n_heads % attn->n_kv_heads || attn->head_dim < 1)
        return false;
    if (k.type != q.type || v.type != q.type) return false;
    int64_t kv_cols = (int64_t)attn->n_kv_heads * attn->head_dim;
    return has_shape(q, q.rows, (int64_t)attn->n_heads * attn->head_dim) &&
           has_shape(k, q.rows, kv_cols) && has_shape(v, q.rows, kv_cols);
}
void px_op_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                     const px_attn *attn) {
    CHECK(are_heads(attn, q, k, v) && same_shape(q, out) && are_segments(attn, q.rows));
    RUN("attention", 4 * pairs_seen(attn) * (double)q.cols, 2 * size_of(q) + 2 * size_of(k),
        s->backend->attention(s, out, lse, q, k, v, attn));
}
void px_op_attention_backward(px_stream *s, const px_attn_back *io, const px_attn *attn) {
    CHECK(are_heads(attn, io->q, io->k, io->v) && are_heads(attn, io->dq, io->dk, io->dv));
    CHECK(same_shape(io->q, io->out) && same_shape(io->q, io->dout));
    CHECK(io->out.type == io->q.type && io->dout.type == io->q.type);
    CHECK(same_shape(io->q, io->dq) && are_segments(attn, io->q.rows));
    RUN("attention_backward", 10 * pairs_seen(attn) * (double)io->q.cols,
        4 * size_of(io->q) + 4 * size_of(io->k), s->backend->attention_backward(s, io, attn));
}

static bool are_targets(px_targets t, int64_t n_rows, const px_weight *w) {
    for (int64_t m = 0; m < t.n; m++) {
        if (t.row[m] < 0 || t.row[m] >= n_rows || (m > 0 && t.row[m] < t.row[m - 1])) return false;
        if (t.id[m] < 0 || t.id[m] >= w->out) return false;
    }
    return true;
}

/* --- attention over cached sequences --- */

px_err *px_cache_new(px_stream *s, px_cache_shape shape, px_cache **out) {
    assert(shape.n_layers >= 1 && shape.n_kv_heads >= 1 && shape.head_dim >= 1);
    if (shape.n_pages < 1 || shape.n_pages > INT32_MAX)
        PX_FAIL(PX_BAD_INPUT, "a key-value cache of %lld pages", (long long)shape.n_pages);
    return s->backend->cache_new(s, shape, out);
}
void px_cache_free(px_cache *cache) {
    if (cache) cache->backend->cache_free(cache);
}
int64_t px_cache_page_bytes(px_cache_shape shape) {
    return 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim * PX_PAGE *
           (int64_t)px_type_size(shape.type);
}

/* Keys and values that a call reads, each once. */
static double cached_bytes(const px_cached *at) {
    const px_cache_shape *shape = &at->cache->shape;
    double positions = 0;
    for (int32_t i = 0; i < at->n; i++)
        positions += at->stretches[i].position + at->stretches[i].end - at->stretches[i].begin;
    return positions * 2 * (double)(shape->n_kv_heads * shape->head_dim) *
           (double)px_type_size(shape->type);
}

/* Rows without gaps, from the first on, places that the cache has. */
static bool are_stretches(const px_cached *at, int64_t rows) {
    int32_t row = 0;
    if (at->layer < 0 || at->layer >= at->cache->shape.n_layers) return false;
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        if (t->begin != row || t->end < t->begin || t->position < 0) return false;
        const int64_t end = (int64_t)t->position + (t->end - t->begin);
        for (int64_t page = 0; page * PX_PAGE < end; page++)
            if (t->pages[page] < 0 || t->pages[page] >= at->cache->shape.n_pages) return false;
        row = t->end;
    }
    return row <= rows;
}

void px_op_cache_put(px_stream *s, const px_cached *at, px_mat k, px_mat v) {
    const px_cache_shape *shape = &at->cache->shape;
    const int64_t width = shape->n_kv_heads * shape->head_dim;
    CHECK(has_shape(k, k.rows, width) && has_shape(v, k.rows, width));
    CHECK(k.type == shape->type && v.type == shape->type && are_stretches(at, k.rows));
    RUN("cache_put", 0, 4 * size_of(k), s->backend->cache_put(s, at, k, v));
}
void px_op_attention_cached(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                            const px_attn *attn) {
    const px_cache_shape *shape = &at->cache->shape;
    CHECK(attn->n_kv_heads == shape->n_kv_heads && attn->head_dim == shape->head_dim);
    CHECK(attn->n_heads % attn->n_kv_heads == 0 && are_stretches(at, q.rows));
    CHECK(has_shape(q, q.rows, (int64_t)attn->n_heads * attn->head_dim) && same_shape(out, q));
    CHECK(q.type == shape->type && out.type == shape->type);
    RUN("attention_cached", 0, 2 * size_of(q) + cached_bytes(at),
        s->backend->attention_cached(s, out, q, at, attn));
}
void px_op_cache_copy(px_stream *s, px_cache *cache, int32_t to, int32_t from) {
    const int64_t n = cache->shape.n_pages;
    CHECK(to >= 0 && to < n && from >= 0 && from < n);
    RUN("cache_copy", 0, 2 * (double)px_cache_page_bytes(cache->shape),
        s->backend->cache_copy(s, cache, to, from));
}

/* --- rounds --- */

void px_round_begin(px_stream *s, const px_round *round) {
    if (s->backend->round_begin)
        s->backend->round_begin(s, round);
    else
        s->round_runs = true;
}
bool px_round_goes_on(px_stream *s) {
    if (s->backend->round_goes_on) return s->backend->round_goes_on(s);
    const bool runs = s->round_runs;
    s->round_runs = false;
    s->rounds.plain += runs;
    return runs;
}
int64_t px_round_rows(const px_stream *s, int64_t n, int64_t most) {
    const bool graphs = s->backend->round_rows && !s->no_graphs && !s->profile;
    return graphs ? s->backend->round_rows(n, most) : n;
}
void px_round_graphs(px_stream *s, bool wanted) { s->no_graphs = !wanted; }
px_round_counts px_rounds(const px_stream *s) { return s->rounds; }

void px_op_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
                px_targets targets) {
    CHECK(has_shape(h, h.rows, w->in) && h.type == w->type && are_targets(targets, h.rows, w));
    CHECK((w->pack & PX_PACK_ROWS) && w->backend == s->backend);
    CHECK(!ew.data || (same_shape(h, ew) && ew.type == PX_F32));
    RUN("head", (ew.data ? 2 : 1) * product(s, w->type, h.rows, w->out, w->in), size_of_weight(w),
        s->backend->head(s, logp, lse, ew, h, w, targets));
}
void px_op_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                         px_targets targets) {
    CHECK(has_shape(dh, dh.rows, w->in) && same_shape(dh, ew) && ew.type == PX_F32);
    CHECK((w->pack & PX_PACK_ROWS) && are_targets(targets, dh.rows, w));
    RUN("head_backward", 0, size_of(dh) + size_of(ew),
        s->backend->head_backward(s, dh, g, ew, w, targets));
}
void px_op_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse, px_mat h,
                                const px_weight *w, px_targets targets) {
    CHECK(has_shape(h, h.rows, w->in) && h.type == w->type && are_targets(targets, h.rows, w));
    CHECK(w->pack & PX_PACK_ROWS);
    RUN("head_backward_weight", 2 * product(s, w->type, h.rows, w->out, w->in), size_of_weight(w),
        s->backend->head_backward_weight(s, dw, g, lse, h, w, targets));
}

/* --- optimiser --- */

/* --- choosing tokens --- */

static bool is_picking(px_mat logits, const px_picking *how) {
    if (how->n_changes < 0 || how->n_lists < 0 || how->n_lists > logits.rows) return false;
    if (how->n_lists > 0 && (how->listed < 1 || how->listed > PX_PICK_LISTED)) return false;
    for (int64_t i = 0; i < logits.rows; i++) {
        const px_pick *row = &how->rows[i];
        if (row->list >= how->n_lists || row->n_penalised < 0 || row->n_banned < 0) return false;
        if ((row->list >= 0 || row->sum) && !(row->temperature > 0)) return false;
        if (row->at < 0 || row->at + row->n_penalised + row->n_banned > how->n_changes)
            return false;
    }
    return true;
}
void px_op_pick(px_stream *s, px_mat logits, const px_picking *how, px_picked *out,
                px_listed *lists) {
    CHECK(is_mat(logits) && logits.type == PX_F32 && logits.cols <= PX_PICK_VOCAB);
    CHECK(is_picking(logits, how));
    if (logits.rows == 0) return;
    RUN("pick", 0, size_of(logits), s->backend->pick(s, logits, how, out, lists));
}

void px_op_adamw(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
                 const px_adamw *adamw) {
    CHECK(n >= 0 && adamw->step >= 1);
    RUN("adamw", 0, 28.0 * (double)n, s->backend->adamw(s, p, m, v, g, n, adamw));
}
double px_op_sum_squares(px_stream *s, const float *g, int64_t n) {
    assert(n >= 0);
    double sum = 0;
    RUN("sum_squares", 0, 4.0 * (double)n, sum = s->backend->sum_squares(s, g, n));
    return sum;
}

/* --- exact sums --- */

void px_op_exact_add(px_stream *s, int64_t *high, int64_t *low, const float *g, int64_t n,
                     uint64_t *bad) {
    CHECK(n >= 0);
    RUN("exact_add", 0, 36.0 * (double)n, s->backend->exact_add(s, high, low, g, n, bad));
}
void px_op_exact_carry(px_stream *s, int64_t *high, int64_t *low, int64_t n) {
    CHECK(n >= 0);
    RUN("exact_carry", 0, 32.0 * (double)n, s->backend->exact_carry(s, high, low, n));
}
void px_op_exact_get(px_stream *s, float *g, const int64_t *high, const int64_t *low, int64_t n) {
    CHECK(n >= 0);
    RUN("exact_get", 0, 20.0 * (double)n, s->backend->exact_get(s, g, high, low, n));
}
