/* attention.c - attention over trees, forward: each part's path is packed once, and its rows go
 * through attend.c. A row's bits depend on its path alone: not on the other rows, the part, or the
 * threads. */
#include <omp.h>

#include "attend.h"
#include "attention_plan.h"
#include "cpu.h"

typedef struct {
    const cpu_plan *plan;
    px_mat k, v;
    cpu_attend attend;
} forward_call;

/* One thread's memory. */
typedef struct {
    int32_t *rows;                         /* [path] */
    uint32_t *k, *v;                       /* the path: panels of columns; terms */
    const uint32_t **k_panels, **v_panels; /* their panels */
    cpu_attend_memory attend;
} forward_memory;

static forward_memory memory_of(const forward_call *c, cpu_taker *take) {
    const cpu_attend *a = &c->attend;
    const int64_t path = tile_up(c->plan->path_max, TILE_PANEL), panels = path / TILE_PANEL;
    forward_memory m = {
        .rows = cpu_taker_next(take, path * 4),
        .k = cpu_taker_next(take, path * a->steps * 4),
        .v = cpu_taker_next(take, tile_steps(a->type, path) * a->wide * 4),
        .k_panels = cpu_taker_next(take, panels * (int64_t)sizeof *m.k_panels),
        .v_panels = cpu_taker_next(take, panels * (int64_t)sizeof *m.v_panels),
    };
    m.attend = cpu_attend_take(a, take);
    for (int64_t i = 0; take->data && i < panels; i++) {
        m.k_panels[i] = m.k + i * TILE_PANEL * a->steps;
        m.v_panels[i] = m.v + i * tile_steps(a->type, TILE_PANEL) * a->wide;
    }
    return m;
}

static void pack_path(const forward_call *c, const forward_memory *m, int64_t kv, int64_t first,
                      int64_t end) {
    const int64_t hd = c->attend.hd;
    for (int64_t p = first; p < end;) {
        const int64_t stop = cpu_run_end(m->rows, p, end);
        const cpu_tile_rows k = cpu_tile_rows_of(c->k, m->rows[p], kv * hd, hd);
        const cpu_tile_rows v = cpu_tile_rows_of(c->v, m->rows[p], kv * hd, hd);
        cpu_tile_pack_columns(m->k, p, k, stop - p);
        cpu_tile_pack_terms(m->v, c->attend.wide, p, v, stop - p);
        p = stop;
    }
}

static void part_run(const forward_call *c, const forward_memory *m, const cpu_part *part,
                     int64_t kv) {
    const int32_t per_chunk = (int32_t)c->attend.tokens;
    const cpu_keys keys = {m->k_panels, m->v_panels};
    cpu_prefix_rows(c->plan, part, m->rows);
    pack_path(c, m, kv, 0, part->prefix);
    int32_t begin, end;
    for (int32_t n = part->segment; cpu_part_rows(c->plan, part, n, &begin, &end); n++) {
        const int32_t depth = c->plan->depth[n] + begin - c->plan->attn->segments[n].begin;
        for (int32_t row = begin; row < end; row++) m->rows[depth + row - begin] = row;
        pack_path(c, m, kv, depth, depth + end - begin);
        for (int32_t row = begin; row < end; row += per_chunk)
            cpu_attend_rows(&c->attend, &m->attend, keys, kv, row, PX_MIN(per_chunk, end - row),
                            depth + row - begin);
    }
}

void cpu_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                   const px_attn *attn) {
    cpu_plan plan;
    if (!cpu_plan_init(&plan, s, attn)) return;
    const forward_call call = {
        .plan = &plan, .k = k, .v = v, .attend = cpu_attend_of(out, lse, q, attn)};
    cpu_taker take = {0};
    memory_of(&call, &take);
    const int64_t each = take.used, n_tasks = plan.n_parts * attn->n_kv_heads;
    char *memory = px_scratch(s, (size_t)(each * s->threads));
    if (memory) {
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
        for (int64_t task = 0; task < n_tasks; task++) {
            cpu_taker mine = {memory + each * omp_get_thread_num(), 0};
            const forward_memory m = memory_of(&call, &mine);
            part_run(&call, &m, &plan.parts[task / attn->n_kv_heads], task % attn->n_kv_heads);
        }
    }
    cpu_plan_fini(&plan);
}
