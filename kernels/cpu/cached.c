/* cached.c - keys and values of sequences under way, and attention over them. A page holds, layer
 * by layer and kv head by kv head, the panel of its keys and that of its values, in the form that
 * attend.c reads: nothing is packed again when a later row attends to them. */
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "attend.h"
#include "cpu.h"

_Static_assert(PX_PAGE == TILE_PANEL, "a page is one panel of keys");

typedef struct {
    px_cache base;
    int64_t steps, wide;      /* as in cpu_attend */
    int64_t k_units, v_units; /* of a head's two panels */
    int64_t page_units;
    uint32_t *pages;
    size_t bytes;
} cpu_cache;

px_err *cpu_cache_new(px_stream *s, px_cache_shape shape, px_cache **out) {
    cpu_cache *c = calloc(1, sizeof *c);
    if (!c) PX_NO_MEMORY();
    c->base = (px_cache){s->backend, shape};
    c->steps = tile_steps(shape.type, shape.head_dim);
    c->wide = tile_up(shape.head_dim, 16);
    c->k_units = c->steps * TILE_PANEL;
    c->v_units = tile_steps(shape.type, TILE_PANEL) * c->wide;
    c->page_units = shape.n_layers * shape.n_kv_heads * (c->k_units + c->v_units);
    c->bytes = (size_t)(shape.n_pages * c->page_units) * sizeof *c->pages;
    /* Zeros that take memory only once they are written. */
    c->pages = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->pages == MAP_FAILED) {
        const size_t bytes = c->bytes;
        free(c);
        PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes of key-value cache", bytes);
    }
    (void)madvise(c->pages, c->bytes, MADV_HUGEPAGE);
    *out = &c->base;
    return NULL;
}

void cpu_cache_free(px_cache *cache) {
    cpu_cache *c = (cpu_cache *)cache;
    munmap(c->pages, c->bytes);
    free(c);
}

/* The keys' panel of a page; the values' stands k_units behind it. */
static uint32_t *panel_of(const cpu_cache *c, int32_t page, int64_t layer, int64_t kv) {
    const int64_t head = layer * c->base.shape.n_kv_heads + kv;
    return c->pages + page * c->page_units + head * (c->k_units + c->v_units);
}

static void put_stretch(const cpu_cache *c, const px_cached *at, const px_stretch *t, int64_t kv,
                        px_mat k, px_mat v) {
    const int64_t hd = c->base.shape.head_dim;
    for (int64_t row = t->begin; row < t->end;) {
        const int64_t position = t->position + row - t->begin, inside = position % PX_PAGE;
        const int64_t n = PX_MIN(PX_PAGE - inside, t->end - row);
        uint32_t *panel = panel_of(c, t->pages[position / PX_PAGE], at->layer, kv);
        cpu_tile_pack_columns(panel, inside, cpu_tile_rows_of(k, row, kv * hd, hd), n);
        cpu_tile_pack_terms(panel + c->k_units, c->wide, inside,
                            cpu_tile_rows_of(v, row, kv * hd, hd), n);
        row += n;
    }
}

void cpu_cache_put(px_stream *s, const px_cached *at, px_mat k, px_mat v) {
    const cpu_cache *c = (const cpu_cache *)at->cache;
    const int64_t heads = c->base.shape.n_kv_heads;
#pragma omp parallel for num_threads(s->threads) schedule(static) if (k.rows > 1)
    for (int64_t i = 0; i < at->n * heads; i++)
        put_stretch(c, at, &at->stretches[i / heads], i % heads, k, v);
}

void cpu_cache_copy(px_stream *s, px_cache *cache, int32_t to, int32_t from) {
    const cpu_cache *c = (const cpu_cache *)cache;
    (void)s;
    memcpy(c->pages + to * c->page_units, c->pages + from * c->page_units,
           (size_t)c->page_units * sizeof *c->pages);
}

/* Some rows of a stretch under one kv head. */
typedef struct {
    const px_stretch *stretch;
    int32_t row, n;
} cached_task;

typedef struct {
    const cpu_cache *cache;
    int64_t layer, pages_max; /* of the longest sequence */
    cpu_attend attend;
} cached_call;
typedef struct {
    const uint32_t **k, **v; /* [pages_max] */
    cpu_attend_memory attend;
} cached_memory;

static cached_memory memory_of(const cached_call *c, cpu_taker *take) {
    cached_memory m = {
        .k = cpu_taker_next(take, c->pages_max * (int64_t)sizeof *m.k),
        .v = cpu_taker_next(take, c->pages_max * (int64_t)sizeof *m.v),
    };
    m.attend = cpu_attend_take(&c->attend, take);
    return m;
}

static void task_run(const cached_call *c, const cached_memory *m, const cached_task *task,
                     int64_t kv) {
    const px_stretch *t = task->stretch;
    const int64_t depth = t->position + task->row - t->begin;
    for (int64_t i = 0; i * PX_PAGE < depth + task->n; i++) {
        m->k[i] = panel_of(c->cache, t->pages[i], c->layer, kv);
        m->v[i] = m->k[i] + c->cache->k_units;
    }
    cpu_attend_rows(&c->attend, &m->attend, (cpu_keys){m->k, m->v}, kv, task->row, task->n, depth);
}

/* Cuts stretches into chunks; tasks NULL: only counts. */
static int64_t cut_tasks(const px_cached *at, int64_t tokens, cached_task *tasks) {
    int64_t n = 0;
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        for (int32_t row = t->begin; row < t->end; row += (int32_t)tokens, n++)
            if (tasks) tasks[n] = (cached_task){t, row, PX_MIN((int32_t)tokens, t->end - row)};
    }
    return n;
}

void cpu_attention_cached(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                          const px_attn *attn) {
    const int64_t heads = attn->n_kv_heads;
    cached_call c = {.cache = (const cpu_cache *)at->cache,
                     .layer = at->layer,
                     .attend = cpu_attend_of(out, NULL, q, attn)};
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        c.pages_max = PX_MAX(c.pages_max, (t->position + t->end - t->begin) / PX_PAGE + 1);
    }
    cpu_taker count = {0};
    memory_of(&c, &count);
    const int64_t n = cut_tasks(at, c.attend.tokens, NULL), each = count.used;
    const int64_t task_bytes = tile_up(n * (int64_t)sizeof(cached_task), 64);
    char *memory = px_scratch(s, (size_t)(task_bytes + each * s->threads));
    if (!memory) return;
    cached_task *tasks = (cached_task *)memory;
    cut_tasks(at, c.attend.tokens, tasks);
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < n * heads; i++) {
        cpu_taker mine = {memory + task_bytes + each * omp_get_thread_num(), 0};
        const cached_memory m = memory_of(&c, &mine);
        task_run(&c, &m, &tasks[i / heads], i % heads);
    }
}
