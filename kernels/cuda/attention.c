/* attention.c - what attention's kernels are given: tiles of rows, and the list of keys of each
 * path. A segment's path is the beginning of the path of any leaf below it, so only leaves have
 * lists. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

enum { HEAD_DIM_MOST = 256 };

typedef struct {
    cu_tile *tiles;
    int32_t *list;
    int64_t n_tiles, n_list;
} cuda_plan;

static void plan_free(cuda_plan *p) { free(p->tiles), free(p->list); }

static int64_t tiles_of(int64_t rows, int each) { return (rows + each - 1) / each; }

/* Rows [begin, end), `each` at most a tile, whose first stands at `position` of the path that
 * begins at `keys`. */
static void add_tiles(cuda_plan *p, int each, int32_t begin, int32_t end, int32_t position,
                      int64_t keys) {
    for (int32_t row = begin; row < end; row += each)
        p->tiles[p->n_tiles++] = (cu_tile){.row = row,
                                           .n = PX_MIN(each, end - row),
                                           .position = position + (row - begin),
                                           .keys = keys};
}

/* Rows before each segment on its path [n], and where its path's list begins [n]: a leaf's own, and
 * that of the first leaf below for the others. Returns the length of all lists. */
static int64_t paths_of(const px_attn *attn, int32_t *depth, int64_t *keys) {
    const px_segment *all = attn->segments;
    int64_t length = 0;
    for (int32_t i = 0; i < attn->n_segments; i++) {
        const int32_t parent = all[i].parent;
        depth[i] = parent < 0 ? 0 : depth[parent] + all[parent].end - all[parent].begin;
        keys[i] = -1;
    }
    for (int32_t i = attn->n_segments - 1; i >= 0; i--) {
        if (keys[i] < 0) {
            keys[i] = length;
            length += depth[i] + all[i].end - all[i].begin;
        }
        if (all[i].parent >= 0) keys[all[i].parent] = keys[i];
    }
    return length;
}

/* Depth first, a segment with children has the first of them right behind it. */
static void fill_list(const px_attn *attn, const int32_t *depth, const int64_t *keys,
                      int32_t *list) {
    const px_segment *all = attn->segments;
    for (int32_t leaf = 0; leaf < attn->n_segments; leaf++) {
        if (leaf + 1 < attn->n_segments && all[leaf + 1].parent == leaf) continue;
        for (int32_t i = leaf; i >= 0; i = all[i].parent)
            for (int32_t t = all[i].begin; t < all[i].end; t++)
                list[keys[leaf] + depth[i] + t - all[i].begin] = t;
    }
}

/* PX_RUN_FAILED: no memory. */
static px_err *plan_tree(const px_attn *attn, int each, cuda_plan *p) {
    const size_t n = (size_t)attn->n_segments;
    int32_t *depth = calloc(n + 1, sizeof *depth);
    int64_t *keys = calloc(n + 1, sizeof *keys);
    px_err *err = NULL;
    if (!depth || !keys) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    p->n_list = paths_of(attn, depth, keys);
    int64_t n_tiles = 0;
    for (size_t i = 0; i < n; i++)
        n_tiles += tiles_of(attn->segments[i].end - attn->segments[i].begin, each);
    p->list = malloc((size_t)p->n_list * sizeof *p->list + 1);
    p->tiles = malloc((size_t)n_tiles * sizeof *p->tiles + 1);
    if (!p->list || !p->tiles) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    fill_list(attn, depth, keys, p->list);
    for (size_t i = 0; i < n; i++)
        add_tiles(p, each, attn->segments[i].begin, attn->segments[i].end, depth[i], keys[i]);
done:
    free(depth), free(keys);
    return err;
}

/* Tiles of keys; each carries the end of its segment's subtree. */
static px_err *plan_keys(const px_attn *attn, int each, cuda_plan *p) {
    const int32_t n = attn->n_segments;
    int32_t *end = calloc((size_t)n + 1, sizeof *end);
    int64_t n_tiles = 0;
    for (int32_t i = 0; i < n; i++)
        n_tiles += tiles_of(attn->segments[i].end - attn->segments[i].begin, each);
    p->tiles = malloc((size_t)n_tiles * sizeof *p->tiles + 1);
    if (!end || !p->tiles) {
        free(end);
        PX_FAIL(PX_RUN_FAILED, "out of memory");
    }
    for (int32_t i = 0; i < n; i++) end[i] = attn->segments[i].end;
    for (int32_t i = n - 1; i >= 0; i--) {
        const int32_t parent = attn->segments[i].parent;
        if (parent >= 0) end[parent] = PX_MAX(end[parent], end[i]);
    }
    for (int32_t i = 0; i < n; i++)
        add_tiles(p, each, attn->segments[i].begin, attn->segments[i].end, 0, end[i]);
    free(end);
    return NULL;
}

/* Rows of a tile of queries. */
static int query_rows(const px_attn *attn, bool on_mma) {
    return on_mma ? cu_attention_rows(attn->n_heads, attn->n_kv_heads) : CU_TILE;
}

/* What the plan's tables do not decide. */
static cu_attend attend_with(px_stream *s, const px_attn *attn, bool on_mma) {
    if (attn->head_dim > HEAD_DIM_MOST)
        px_stream_fail(s, px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                                     CUDA_NAME ": heads of %d values; at most %d", attn->head_dim,
                                     HEAD_DIM_MOST));
    return (cu_attend){.H = attn->n_heads,
                       .Hkv = attn->n_kv_heads,
                       .hd = attn->head_dim,
                       .on_mma = on_mma,
                       .scale = attn->scale,
                       .factor = attn->scale * (float)M_LOG2E};
}
static cu_attend attend_of(px_stream *s, const px_attn *attn, bool on_mma, const cuda_plan *plan) {
    cu_attend a = attend_with(s, attn, on_mma);
    a.keys.list = cuda_upload(s, plan->list, (size_t)plan->n_list * sizeof *plan->list);
    a.tiles = cuda_upload(s, plan->tiles, (size_t)plan->n_tiles * sizeof *plan->tiles);
    a.n_tiles = plan->n_tiles;
    return a;
}

void cuda_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                    const px_attn *attn) {
    const bool bf16 = q.type == PX_BF16 && k.type == PX_BF16 && v.type == PX_BF16;
    const bool on_mma = cu_attention_on_mma(bf16, attn->head_dim);
    cuda_plan plan = {0};
    px_err *err = plan_tree(attn, query_rows(attn, on_mma), &plan);
    if (err) {
        px_stream_fail(s, err);
    } else {
        cu_attend a = attend_of(s, attn, on_mma, &plan);
        a.out = cuda_mat(s, out, CUDA_OUT);
        a.q = cuda_mat(s, q, CUDA_IN);
        a.keys.k = cuda_mat(s, k, CUDA_IN);
        a.keys.v = cuda_mat(s, v, CUDA_IN);
        a.lse = cuda_array(s, lse, (size_t)(q.rows * attn->n_heads) * sizeof *lse, CUDA_OUT);
        if (cuda_ready(s)) cu_attention(cuda_queue(s), &a);
    }
    cuda_done(s);
    plan_free(&plan);
}

void cuda_attention_backward(px_stream *s, const px_attn_back *io, const px_attn *attn) {
    const bool bf16 = io->q.type == PX_BF16 && io->k.type == PX_BF16 && io->v.type == PX_BF16 &&
                      io->dout.type == PX_BF16;
    const bool on_mma = cu_attention_on_mma(bf16, attn->head_dim);
    cuda_plan plan = {0}, keys = {0};
    px_err *err = plan_tree(attn, query_rows(attn, on_mma), &plan);
    if (!err) err = plan_keys(attn, on_mma ? CU_KEY_ROWS : CU_TILE, &keys);
    if (err) {
        px_stream_fail(s, err);
    } else {
        const size_t heads = (size_t)(io->q.rows * attn->n_heads) * sizeof(float);
        cu_attend_back b = {
            .forward = attend_of(s, attn, on_mma, &plan),
            .dq = cuda_mat(s, io->dq, CUDA_OUT),
            .dk = cuda_mat(s, io->dk, CUDA_OUT),
            .dv = cuda_mat(s, io->dv, CUDA_OUT),
            .dout = cuda_mat(s, io->dout, CUDA_IN),
            .mean = cuda_room(s, heads),
            .key_tiles = cuda_upload(s, keys.tiles, (size_t)keys.n_tiles * sizeof *keys.tiles),
            .n_key_tiles = keys.n_tiles};
        b.forward.out = cuda_mat(s, io->out, CUDA_IN);
        b.forward.q = cuda_mat(s, io->q, CUDA_IN);
        b.forward.keys.k = cuda_mat(s, io->k, CUDA_IN);
        b.forward.keys.v = cuda_mat(s, io->v, CUDA_IN);
        b.forward.lse = cuda_array(s, io->lse, heads, CUDA_IN);
        if (cuda_ready(s)) cu_attention_backward(cuda_queue(s), &b);
    }
    cuda_done(s);
    plan_free(&plan), plan_free(&keys);
}

/* --- cache --- */

typedef struct {
    px_cache base;
    px_stream *stream;
    char *k, *v;   /* device: [page, layer, kv head, PX_PAGE, head_dim] */
    int64_t page;  /* values of a page */
    int64_t layer; /* values of a page's layer */
} cuda_cache;

px_err *cuda_cache_new(px_stream *s, px_cache_shape shape, px_cache **out) {
    cuda_cache *c = calloc(1, sizeof *c);
    if (!c) PX_NO_MEMORY();
    c->base = (px_cache){s->backend, shape};
    c->stream = s;
    c->layer = shape.n_kv_heads * PX_PAGE * shape.head_dim;
    c->page = shape.n_layers * c->layer;
    const size_t bytes = (size_t)(shape.n_pages * c->page) * px_type_size(shape.type);
    c->k = cuda_take(s, bytes);
    c->v = cuda_take(s, bytes);
    if (!c->k || !c->v) {
        cuda_cache_free(&c->base);
        PX_FAIL(PX_RUN_FAILED,
                CUDA_NAME ": no device memory for a key-value cache of 2 x %zu bytes", bytes);
    }
    cu_zero(cuda_queue(s), c->k, bytes);
    cu_zero(cuda_queue(s), c->v, bytes);
    cuda_done(s);
    *out = &c->base;
    return NULL;
}

void cuda_cache_free(px_cache *cache) {
    cuda_cache *c = (cuda_cache *)cache;
    cuda_give(c->stream, c->k);
    cuda_give(c->stream, c->v);
    free(c);
}

static int64_t pages_of(const px_stretch *t) {
    return ((int64_t)t->position + t->end - t->begin + PX_PAGE - 1) / PX_PAGE;
}

void cuda_cached_count(const px_cached *at, int64_t *n_tiles, int64_t *n_list) {
    *n_tiles = *n_list = 0;
    for (int32_t i = 0; i < at->n; i++) {
        *n_tiles += tiles_of(at->stretches[i].end - at->stretches[i].begin, CU_TILE);
        *n_list += pages_of(&at->stretches[i]);
    }
}

void cuda_cached_places(const px_cached *at, int64_t rows, int64_t *places) {
    const cuda_cache *c = (const cuda_cache *)at->cache;
    int64_t row = 0;
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        for (; row < t->end; row++) {
            const int64_t p = t->position + row - t->begin;
            places[row] = t->pages[p / PX_PAGE] * c->page + p % PX_PAGE * c->base.shape.head_dim;
        }
    }
    while (row < rows) places[row++] = -1;
}

/* A stretch's list is its pages. */
void cuda_cached_tiles(const px_cached *at, cu_tile *tiles, int32_t *list) {
    cuda_plan p = {.tiles = tiles, .list = list};
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        const int64_t n = pages_of(t);
        if (n) memcpy(p.list + p.n_list, t->pages, (size_t)n * sizeof *p.list);
        add_tiles(&p, CU_TILE, t->begin, t->end, t->position, p.n_list);
        p.n_list += n;
    }
}

void cuda_cache_put(px_stream *s, const px_cached *at, px_mat k, px_mat v) {
    const cuda_cache *c = (const cuda_cache *)at->cache;
    cu_put_cache to = {.k = c->k,
                       .v = c->v,
                       .layer = at->layer * c->layer,
                       .n_kv_heads = (int32_t)c->base.shape.n_kv_heads,
                       .hd = (int32_t)c->base.shape.head_dim};
    const cuda_cached *tables = cuda_round_cached(s, at, k.rows);
    if (tables) {
        to.places = tables->places;
    } else {
        int64_t *places = px_scratch(s, (size_t)k.rows * sizeof *places + 1);
        if (!places) return;
        cuda_cached_places(at, k.rows, places);
        to.places = cuda_upload(s, places, (size_t)k.rows * sizeof *places);
    }
    const cu_mat from_k = cuda_mat(s, k, CUDA_IN), from_v = cuda_mat(s, v, CUDA_IN);
    if (cuda_ready(s)) cu_cache_put(cuda_queue(s), to, from_k, from_v);
    cuda_done(s);
}

/* PX_RUN_FAILED: no memory. */
static px_err *plan_cached(const px_cached *at, cuda_plan *p) {
    cuda_cached_count(at, &p->n_tiles, &p->n_list);
    p->tiles = malloc((size_t)p->n_tiles * sizeof *p->tiles + 1);
    p->list = malloc((size_t)p->n_list * sizeof *p->list + 1);
    if (!p->tiles || !p->list) PX_FAIL(PX_RUN_FAILED, "out of memory");
    cuda_cached_tiles(at, p->tiles, p->list);
    return NULL;
}

void cuda_attention_cached(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                           const px_attn *attn) {
    const cuda_cache *c = (const cuda_cache *)at->cache;
    const int32_t bf16 = c->base.shape.type == PX_BF16;
    const bool on_mma = cu_attention_on_mma(bf16 && q.type == PX_BF16, attn->head_dim);
    const cuda_cached *tables = cuda_round_cached(s, at, q.rows);
    cuda_plan plan = {0};
    px_err *err = tables ? NULL : plan_cached(at, &plan);
    if (err) {
        px_stream_fail(s, err);
    } else {
        cu_attend a = tables ? attend_with(s, attn, on_mma) : attend_of(s, attn, on_mma, &plan);
        if (tables) {
            a.keys.list = tables->list;
            a.tiles = tables->tiles;
            a.n_tiles = tables->n_tiles;
        }
        a.out = cuda_mat(s, out, CUDA_OUT);
        a.q = cuda_mat(s, q, CUDA_IN);
        a.keys.k = (cu_mat){.data = c->k, .bf16 = bf16};
        a.keys.v = (cu_mat){.data = c->v, .bf16 = bf16};
        a.keys.page_values = c->page;
        a.keys.layer = at->layer * c->layer;
        if (cuda_ready(s)) cu_attention(cuda_queue(s), &a);
    }
    cuda_done(s);
    plan_free(&plan);
}

void cuda_cache_copy(px_stream *s, px_cache *cache, int32_t to, int32_t from) {
    const cuda_cache *c = (const cuda_cache *)cache;
    const size_t page = (size_t)c->page * px_type_size(c->base.shape.type);
    cu_queue *q = cuda_queue(s);
    if (to != from) {
        cu_copy(q, c->k + (size_t)to * page, c->k + (size_t)from * page, page, CU_INSIDE);
        cu_copy(q, c->v + (size_t)to * page, c->v + (size_t)from * page, page, CU_INSIDE);
    }
    cuda_done(s);
}
