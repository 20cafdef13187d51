/* attention.c - attention over trees, forward: softmax with a running maximum over blocks of keys
 * (Milakov & Gimelshein 2018; Dao et al. 2022), queries of the heads that share a kv head stacked.
 * Scores, sums and the output are f32; in bf16 the weights are rounded before they meet the values.
 * A row's bits depend on its path alone: not on the other rows, the part, or the threads. */
#include <omp.h>

#include "attention_plan.h"
#include "cpu.h"

/* Stacked query rows of a chunk, and keys of a block: scores and weights of a chunk stay in the
 * first-level cache. */
enum { CHUNK_ROWS = 24, BLOCK = 256 };

typedef struct {
    const cpu_plan *plan;
    px_mat out, q, k, v;
    float *lse;
    px_type type;
    int64_t hd, H, group; /* query heads of a kv head */
    int64_t steps, wide;  /* units of a head's row; its columns, rounded up to vectors */
    int64_t chunk_max;    /* stacked rows */
    float factor;         /* scores to exponents of 2 */
} forward_call;

/* One thread's memory. */
typedef struct {
    int32_t *rows;     /* [path] */
    uint32_t *k, *v;   /* the path: panels of columns; terms */
    uint32_t *q;       /* [chunk, steps] */
    float *score;      /* [chunk, BLOCK] */
    uint32_t *weight;  /* [chunk, BLOCK] in units: f32 in place of the scores */
    float *out;        /* [chunk, wide] */
    float *most, *sum; /* [chunk] */
} forward_memory;

static forward_memory memory_of(const forward_call *c, cpu_taker *take) {
    const int64_t path = tile_up(c->plan->path_max, TILE_PANEL), chunk = c->chunk_max;
    forward_memory m = {
        .rows = cpu_taker_next(take, path * 4),
        .k = cpu_taker_next(take, path * c->steps * 4),
        .v = cpu_taker_next(take, tile_steps(c->type, path) * c->wide * 4),
        .q = cpu_taker_next(take, chunk * c->steps * 4),
        .score = cpu_taker_next(take, chunk * BLOCK * 4),
    };
    m.weight = (uint32_t *)m.score;
    if (c->type == PX_BF16) m.weight = cpu_taker_next(take, chunk * BLOCK * 2);
    m.out = cpu_taker_next(take, chunk * c->wide * 4);
    m.most = cpu_taker_next(take, chunk * 4);
    m.sum = cpu_taker_next(take, chunk * 4);
    return m;
}

static void pack_path(const forward_call *c, const forward_memory *m, int64_t kv, int64_t first,
                      int64_t end) {
    for (int64_t p = first; p < end;) {
        const int64_t stop = cpu_run_end(m->rows, p, end);
        const cpu_tile_rows k = cpu_tile_rows_of(c->k, m->rows[p], kv * c->hd, c->hd);
        const cpu_tile_rows v = cpu_tile_rows_of(c->v, m->rows[p], kv * c->hd, c->hd);
        cpu_tile_pack_columns(m->k, p, k, stop - p);
        cpu_tile_pack_terms(m->v, c->wide, p, v, stop - p);
        p = stop;
    }
}

/* Scores of one row in one block become weights relative to the running maximum. n: keys of the
 * block that the row sees, padded: columns to fill. */
static void weigh(const forward_call *c, const forward_memory *m, int64_t r, int64_t n,
                  int64_t padded, bool first) {
    float *score = m->score + r * BLOCK;
    const v16 factor = v16_set(c->factor);
    v16 top = v16_set(TILE_LOWEST), sum = v16_set(0);
    for (int64_t j = 0; j < n; j += 16)
        top = v16_max(top, v16_keep(v16_mul(v16_load(score + j), factor), n - j, TILE_LOWEST));
    const float before = m->most[r], most = PX_MAX(before, v16_most(top));
    const v16 minus = v16_set(-most);
    uint16_t *pairs = (uint16_t *)m->weight + r * BLOCK;
    for (int64_t j = 0; j < padded; j += 16) {
        v16 p = v16_set(0);
        if (j < n) p = v16_keep(v16_exp2(v16_fma(v16_load(score + j), factor, minus)), n - j, 0);
        sum = v16_add(sum, p);
        if (c->type == PX_BF16)
            v16_store_bf16(pairs + j, p);
        else
            v16_store(score + j, p);
    }
    m->most[r] = most;
    if (first || most == before) {
        m->sum[r] = (first ? 0 : m->sum[r]) + v16_sum(sum);
        return;
    }
    float shrink[16];
    const v16 by = v16_exp2(v16_set(before - most));
    v16_store(shrink, by);
    m->sum[r] = m->sum[r] * shrink[0] + v16_sum(sum);
    float *out = m->out + r * c->wide;
    for (int64_t j = 0; j < c->wide; j += 16) v16_store(out + j, v16_mul(v16_load(out + j), by));
}

static void finish(const forward_call *c, const forward_memory *m, int64_t row, int64_t n_tokens,
                   int64_t kv) {
    for (int64_t r = 0; r < n_tokens * c->group; r++) {
        const int64_t t = row + r / c->group, h = kv * c->group + r % c->group;
        const double lse = ((double)m->most[r] + log2((double)m->sum[r])) * M_LN2;
        c->lse[t * c->H + h] = (float)lse;
        tile_put_row(c->out, t, h * c->hd, m->out + r * c->wide, c->hd, 1 / m->sum[r]);
    }
}

/* Rows [row, row + n_tokens) at positions from depth on, all heads of kv head kv. */
static void chunk(const forward_call *c, const forward_memory *m, int64_t kv, int64_t row,
                  int64_t n_tokens, int64_t depth) {
    const int64_t rows = n_tokens * c->group, keys = depth + n_tokens;
    for (int64_t r = 0; r < rows; r++) m->most[r] = TILE_LOWEST;
    for (int64_t t = 0; t < n_tokens; t++) {
        cpu_tile_rows q = cpu_tile_rows_of(c->q, row + t, kv * c->group * c->hd, c->hd);
        q.stride = c->hd;
        cpu_tile_pack_rows(m->q + t * c->group * c->steps, c->steps, q, c->group);
    }
    for (int64_t k0 = 0; k0 < keys; k0 += BLOCK) {
        const int64_t n_keys = PX_MIN(BLOCK, keys - k0), padded = tile_up(n_keys, 16);
        for (int64_t p = 0; p < padded; p += TILE_PANEL)
            cpu_tile_mul(
                (cpu_tile_out){m->score + p, BLOCK}, (cpu_tile_left){m->q, c->steps, 1},
                (cpu_tile_right){m->k + (k0 + p) * c->steps, TILE_PANEL},
                (cpu_tile_shape){c->type, rows, PX_MIN(TILE_PANEL, padded - p), c->steps, false});
        for (int64_t r = 0; r < rows; r++) {
            const int64_t seen = depth + r / c->group + 1 - k0;
            weigh(c, m, r, PX_MAX(0, PX_MIN(n_keys, seen)), padded, k0 == 0);
        }
        const int64_t weight_row = c->type == PX_BF16 ? BLOCK / 2 : BLOCK;
        cpu_tile_mul((cpu_tile_out){m->out, c->wide}, (cpu_tile_left){m->weight, weight_row, 1},
                     (cpu_tile_right){m->v + tile_steps(c->type, k0) * c->wide, c->wide},
                     (cpu_tile_shape){c->type, rows, c->wide, tile_steps(c->type, n_keys), k0 > 0});
    }
    finish(c, m, row, n_tokens, kv);
}

static void part_run(const forward_call *c, const forward_memory *m, const cpu_part *part,
                     int64_t kv) {
    const int32_t per_chunk = (int32_t)(c->chunk_max / c->group);
    cpu_prefix_rows(c->plan, part, m->rows);
    pack_path(c, m, kv, 0, part->prefix);
    int32_t begin, end;
    for (int32_t n = part->segment; cpu_part_rows(c->plan, part, n, &begin, &end); n++) {
        const int32_t depth = c->plan->depth[n] + begin - c->plan->attn->segments[n].begin;
        for (int32_t row = begin; row < end; row++) m->rows[depth + row - begin] = row;
        pack_path(c, m, kv, depth, depth + end - begin);
        for (int32_t row = begin; row < end; row += per_chunk)
            chunk(c, m, kv, row, PX_MIN(per_chunk, end - row), depth + row - begin);
    }
}

void cpu_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                   const px_attn *attn) {
    cpu_plan plan;
    if (!cpu_plan_init(&plan, s, attn)) return;
    const int64_t group = attn->n_heads / attn->n_kv_heads, hd = attn->head_dim;
    const forward_call call = {.plan = &plan,
                               .out = out,
                               .q = q,
                               .k = k,
                               .v = v,
                               .lse = lse,
                               .type = q.type,
                               .hd = hd,
                               .H = attn->n_heads,
                               .group = group,
                               .steps = tile_steps(q.type, hd),
                               .wide = tile_up(hd, 16),
                               .chunk_max = PX_MAX(1, CHUNK_ROWS / group) * group,
                               .factor = attn->scale * (float)M_LOG2E};
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
