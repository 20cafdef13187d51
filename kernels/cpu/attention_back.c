/* attention_back.c - attention over trees, backward: the weights are computed again from lse (Dao
 * et al. 2022), block by block; with D = rowsum(dout ∘ out) dv_j = Σ_t P_tj dout_t,  dS_tj = P_tj
 * (dout_t · v_j - D_t),  dq_t = Σ_j dS_tj k_j · scale, dk_j = Σ_t dS_tj q_t · scale.
 *
 * A part sums dk and dv of its path in f32 for itself; sums of rows outside it (its prefix) lie
 * apart and are added afterwards, in the order of the parts. Parts, chunks and blocks follow from
 * the tree's own structure, so neither its place in the call nor the threads change a bit. */
#include <omp.h>

#include "attention_plan.h"
#include "cpu.h"

/* Stacked query rows of a chunk: sums of keys are read and written once a chunk. */
enum { CHUNK_ROWS = 96, BLOCK = TILE_PANEL };

typedef struct {
    const cpu_plan *plan;
    const px_attn_back *io;
    px_type type;
    int64_t hd, H, Hkv, group, steps, wide, chunk_max,
        per_row; /* per_row: dk, dv of all kv heads */
    float factor, scale;
    float *own;    /* [T, Hkv, 2, wide]: dk, dv by the row's own part */
    float *prefix; /* [prefixes, Hkv, 2, wide]: by later parts */
} backward_call;

typedef struct {
    int32_t *rows;                        /* [path] */
    uint32_t *k_columns, *v_columns;      /* panels */
    uint32_t *k_terms;                    /* [path / 2 or path, wide] */
    float *dk, *dv;                       /* [path, wide] */
    uint32_t *q, *dout;                   /* [chunk, steps] */
    uint32_t *q_terms, *dout_terms;       /* [chunk / 2 or chunk, wide] */
    float *weight, *slope;                /* [chunk, BLOCK]: scores, then P; dout · v, then dS */
    uint32_t *weight_terms, *slope_terms; /* the same as bf16 pairs of rows [chunk / 2, BLOCK] */
    uint32_t *slope_rows;                 /* dS as bf16 pairs of columns [chunk, BLOCK / 2] */
    float *dq;                            /* [chunk, wide] */
    float *lse, *mean;                    /* [chunk]: lse in exponents of 2; D */
} backward_memory;

static backward_memory memory_of(const backward_call *c, cpu_taker *take) {
    const int64_t path = tile_up(c->plan->path_max, TILE_PANEL), chunk = tile_up(c->chunk_max, 2);
    const int64_t terms = tile_steps(c->type, chunk) * c->wide * 4;
    backward_memory m = {
        .rows = cpu_taker_next(take, path * 4),
        .k_columns = cpu_taker_next(take, path * c->steps * 4),
        .v_columns = cpu_taker_next(take, path * c->steps * 4),
        .k_terms = cpu_taker_next(take, tile_steps(c->type, path) * c->wide * 4),
        .dk = cpu_taker_next(take, path * c->wide * 4),
        .dv = cpu_taker_next(take, path * c->wide * 4),
        .q = cpu_taker_next(take, chunk * c->steps * 4),
        .dout = cpu_taker_next(take, chunk * c->steps * 4),
        .q_terms = cpu_taker_next(take, terms),
        .dout_terms = cpu_taker_next(take, terms),
        .weight = cpu_taker_next(take, chunk * BLOCK * 4),
        .slope = cpu_taker_next(take, chunk * BLOCK * 4),
        .dq = cpu_taker_next(take, chunk * c->wide * 4),
        .lse = cpu_taker_next(take, chunk * 4),
        .mean = cpu_taker_next(take, chunk * 4),
    };
    m.weight_terms = (uint32_t *)m.weight;
    m.slope_terms = m.slope_rows = (uint32_t *)m.slope;
    if (c->type == PX_BF16) {
        m.weight_terms = cpu_taker_next(take, chunk * BLOCK * 2);
        m.slope_terms = cpu_taker_next(take, chunk * BLOCK * 2);
        m.slope_rows = cpu_taker_next(take, chunk * BLOCK * 2);
    }
    return m;
}

/* Path positions [first, end): keys and values packed, sums of their gradients 0. */
static void push(const backward_call *c, const backward_memory *m, int64_t kv, int64_t first,
                 int64_t end) {
    for (int64_t p = first; p < end;) {
        const int64_t stop = cpu_run_end(m->rows, p, end);
        const cpu_tile_rows k = cpu_tile_rows_of(c->io->k, m->rows[p], kv * c->hd, c->hd);
        const cpu_tile_rows v = cpu_tile_rows_of(c->io->v, m->rows[p], kv * c->hd, c->hd);
        cpu_tile_pack_columns(m->k_columns, p, k, stop - p);
        cpu_tile_pack_columns(m->v_columns, p, v, stop - p);
        cpu_tile_pack_terms(m->k_terms, c->wide, p, k, stop - p);
        p = stop;
    }
    const size_t bytes = (size_t)((end - first) * c->wide) * sizeof *m->dk;
    memset(m->dk + first * c->wide, 0, bytes);
    memset(m->dv + first * c->wide, 0, bytes);
}

/* Positions [first, end) leave the path: their sums are final as far as this part goes. */
static void pop(const backward_call *c, const backward_memory *m, const cpu_part *part, int64_t kv,
                int64_t first, int64_t end) {
    const size_t bytes = (size_t)c->wide * sizeof *m->dk;
    for (int64_t p = first; p < end; p++) {
        float *to = m->rows[p] >= part->begin ? c->own + m->rows[p] * c->per_row
                                              : c->prefix + (part->prefixes + p) * c->per_row;
        to += kv * 2 * c->wide;
        memcpy(to, m->dk + p * c->wide, bytes);
        memcpy(to + c->wide, m->dv + p * c->wide, bytes);
    }
}

static float dot(const void *a, const void *b, px_type type, int64_t n) {
    v16 sum = v16_set(0);
    int64_t j = 0;
    for (; j + 16 <= n; j += 16) sum = v16_fma(v16_get(a, type, j), v16_get(b, type, j), sum);
    if (j < n) {
        const size_t at = (size_t)j * px_type_size(type);
        const v16 last = v16_get_n((const char *)a + at, type, 0, n - j);
        sum = v16_fma(last, v16_get_n((const char *)b + at, type, 0, n - j), sum);
    }
    return v16_sum(sum);
}

/* The chunk's queries and output gradients, in both packings. */
static void load_chunk(const backward_call *c, const backward_memory *m, int64_t kv, int64_t row,
                       int64_t n_tokens) {
    const px_attn_back *io = c->io;
    const size_t head_bytes = (size_t)c->hd * px_type_size(c->type);
    for (int64_t t = 0; t < n_tokens; t++) {
        const int64_t r = t * c->group, first = kv * c->group * c->hd;
        cpu_tile_rows q = cpu_tile_rows_of(io->q, row + t, first, c->hd);
        cpu_tile_rows dout = cpu_tile_rows_of(io->dout, row + t, first, c->hd);
        const cpu_tile_rows out = cpu_tile_rows_of(io->out, row + t, first, c->hd);
        q.stride = dout.stride = c->hd;
        cpu_tile_pack_rows(m->q + r * c->steps, c->steps, q, c->group);
        cpu_tile_pack_rows(m->dout + r * c->steps, c->steps, dout, c->group);
        cpu_tile_pack_terms(m->q_terms, c->wide, r, q, c->group);
        cpu_tile_pack_terms(m->dout_terms, c->wide, r, dout, c->group);
        for (int64_t g = 0; g < c->group; g++) {
            const size_t at = (size_t)g * head_bytes;
            const float lse = io->lse[(row + t) * c->H + kv * c->group + g];
            m->lse[r + g] = (float)((double)lse * M_LOG2E);
            m->mean[r + g] =
                dot((const char *)dout.data + at, (const char *)out.data + at, c->type, c->hd);
        }
    }
}

/* 16 columns of row r from j on: P and dS; the first n are seen. */
static inline void slopes(const backward_call *c, const backward_memory *m, int64_t r, int64_t j,
                          int64_t n, v16 *p, v16 *ds) {
    const v16 score = v16_load(m->weight + r * BLOCK + j), dp = v16_load(m->slope + r * BLOCK + j);
    const v16 x = v16_fma(score, v16_set(c->factor), v16_set(-m->lse[r]));
    *p = v16_keep(v16_exp2(x), n - j, 0);
    const v16 by = v16_mul(*p, v16_set(c->scale));
    *ds = v16_keep(v16_mul(by, v16_sub(dp, v16_set(m->mean[r]))), n - j, 0);
}

/* Scores and dout · v of the block that begins at position k0 become P and dS as operands. */
static void slopes_all(const backward_call *c, const backward_memory *m, int64_t rows,
                       int64_t padded, int64_t seen_first) {
    v16 p[2], ds[2];
    for (int64_t r = 0; r < rows; r += 2) {
        const int64_t n[2] = {seen_first + r / c->group, seen_first + (r + 1) / c->group};
        const int count = r + 1 < rows ? 2 : 1;
        p[1] = ds[1] = v16_set(0);
        for (int64_t j = 0; j < padded; j += 16) {
            for (int i = 0; i < count; i++) slopes(c, m, r + i, j, n[i], &p[i], &ds[i]);
            if (c->type == PX_BF16) {
                v16_store_pairs(m->weight_terms + r / 2 * BLOCK + j, p[0], p[1]);
                v16_store_pairs(m->slope_terms + r / 2 * BLOCK + j, ds[0], ds[1]);
                uint16_t *slope = (uint16_t *)m->slope_rows + r * BLOCK + j;
                v16_store_bf16(slope, ds[0]);
                v16_store_bf16(slope + BLOCK, ds[1]);
                continue;
            }
            for (int i = 0; i < count; i++) {
                v16_store(m->weight + (r + i) * BLOCK + j, p[i]);
                v16_store(m->slope + (r + i) * BLOCK + j, ds[i]);
            }
        }
    }
}

/* One block of n_keys keys from position k0 against the chunk. */
static void block(const backward_call *c, const backward_memory *m, int64_t rows, int64_t k0,
                  int64_t n_keys, int64_t seen_first) {
    const int64_t padded = tile_up(n_keys, 16), row_units = tile_steps(c->type, BLOCK);
    const cpu_tile_shape in = {c->type, rows, padded, c->steps, false};
    cpu_tile_mul((cpu_tile_out){m->weight, BLOCK}, (cpu_tile_left){m->q, c->steps, 1},
                 (cpu_tile_right){m->k_columns + k0 * c->steps, TILE_PANEL}, in);
    cpu_tile_mul((cpu_tile_out){m->slope, BLOCK}, (cpu_tile_left){m->dout, c->steps, 1},
                 (cpu_tile_right){m->v_columns + k0 * c->steps, TILE_PANEL}, in);
    slopes_all(c, m, rows, padded, seen_first);
    const cpu_tile_shape query = {c->type, rows, c->wide, tile_steps(c->type, n_keys), k0 > 0};
    cpu_tile_mul((cpu_tile_out){m->dq, c->wide}, (cpu_tile_left){m->slope_rows, row_units, 1},
                 (cpu_tile_right){m->k_terms + tile_steps(c->type, k0) * c->wide, c->wide}, query);
    const cpu_tile_shape key = {c->type, n_keys, c->wide, tile_steps(c->type, rows), true};
    cpu_tile_mul((cpu_tile_out){m->dk + k0 * c->wide, c->wide},
                 (cpu_tile_left){m->slope_terms, 1, BLOCK}, (cpu_tile_right){m->q_terms, c->wide},
                 key);
    cpu_tile_mul((cpu_tile_out){m->dv + k0 * c->wide, c->wide},
                 (cpu_tile_left){m->weight_terms, 1, BLOCK},
                 (cpu_tile_right){m->dout_terms, c->wide}, key);
}

static void chunk(const backward_call *c, const backward_memory *m, int64_t kv, int64_t row,
                  int64_t n_tokens, int64_t depth) {
    const int64_t rows = n_tokens * c->group, keys = depth + n_tokens;
    load_chunk(c, m, kv, row, n_tokens);
    for (int64_t k0 = 0; k0 < keys; k0 += BLOCK)
        block(c, m, rows, k0, PX_MIN(BLOCK, keys - k0), depth + 1 - k0);
    for (int64_t r = 0; r < rows; r++)
        tile_put_row(c->io->dq, row + r / c->group, (kv * c->group + r % c->group) * c->hd,
                     m->dq + r * c->wide, c->hd, 1);
}

static void part_run(const backward_call *c, const backward_memory *m, const cpu_part *part,
                     int64_t kv) {
    const int32_t per_chunk = (int32_t)(c->chunk_max / c->group);
    cpu_prefix_rows(c->plan, part, m->rows);
    push(c, m, kv, 0, part->prefix);
    int32_t begin, end;
    int64_t top = part->prefix;
    for (int32_t n = part->segment; cpu_part_rows(c->plan, part, n, &begin, &end); n++) {
        if (begin >= end) continue;
        const int64_t depth = c->plan->depth[n] + begin - c->plan->attn->segments[n].begin;
        pop(c, m, part, kv, depth, top);
        for (int32_t row = begin; row < end; row++) m->rows[depth + row - begin] = row;
        top = depth + end - begin;
        push(c, m, kv, depth, top);
        for (int32_t row = begin; row < end; row += per_chunk)
            chunk(c, m, kv, row, PX_MIN(per_chunk, end - row), depth + row - begin);
    }
    pop(c, m, part, kv, 0, top);
}

/* What parts after the first of a tree added to rows outside them, then rounding: the tree whose
 * parts are [from, to), kv head kv. rows: [path]. */
static void tree_finish(const backward_call *c, int64_t from, int64_t to, int64_t kv,
                        int32_t *rows) {
    const cpu_part *parts = c->plan->parts;
    const int64_t at = kv * 2 * c->wide;
    for (int64_t i = from + 1; i < to; i++) {
        cpu_prefix_rows(c->plan, &parts[i], rows);
        for (int64_t p = 0; p < parts[i].prefix; p++) {
            float *sum = c->own + rows[p] * c->per_row + at;
            const float *more = c->prefix + (parts[i].prefixes + p) * c->per_row + at;
            for (int64_t j = 0; j < 2 * c->wide; j += 16)
                v16_store(sum + j, v16_add(v16_load(sum + j), v16_load(more + j)));
        }
    }
    for (int64_t row = parts[from].begin; row < parts[to - 1].end; row++) {
        const float *sum = c->own + row * c->per_row + at;
        tile_put_row(c->io->dk, row, kv * c->hd, sum, c->hd, 1);
        tile_put_row(c->io->dv, row, kv * c->hd, sum + c->wide, c->hd, 1);
    }
}

static void run_all(backward_call *c, char *memory, int64_t each, int threads) {
    const cpu_plan *plan = c->plan;
    const int64_t n_tasks = plan->n_parts * c->Hkv;
#pragma omp parallel num_threads(threads)
    {
        cpu_taker mine = {memory + each * omp_get_thread_num(), 0};
        const backward_memory m = memory_of(c, &mine);
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < n_tasks; task++)
            part_run(c, &m, &plan->parts[task / c->Hkv], task % c->Hkv);
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < n_tasks; task++) {
            const int64_t from = task / c->Hkv;
            int64_t to = from + 1;
            if (!plan->parts[from].first) continue;
            while (to < plan->n_parts && !plan->parts[to].first) to++;
            tree_finish(c, from, to, task % c->Hkv, m.rows);
        }
    }
}

void cpu_attention_backward(px_stream *s, const px_attn_back *io, const px_attn *attn) {
    cpu_plan plan;
    if (!cpu_plan_init(&plan, s, attn)) return;
    const int64_t group = attn->n_heads / attn->n_kv_heads, hd = attn->head_dim;
    backward_call call = {.plan = &plan,
                          .io = io,
                          .type = io->q.type,
                          .hd = hd,
                          .H = attn->n_heads,
                          .Hkv = attn->n_kv_heads,
                          .group = group,
                          .steps = tile_steps(io->q.type, hd),
                          .wide = tile_up(hd, 16),
                          .chunk_max = PX_MAX(1, CHUNK_ROWS / group) * group,
                          .factor = attn->scale * (float)M_LOG2E,
                          .scale = attn->scale};
    call.per_row = call.Hkv * 2 * call.wide;
    cpu_taker shared = {0}, thread = {0};
    memory_of(&call, &thread);
    cpu_taker_next(&shared, io->q.rows * call.per_row * 4);
    cpu_taker_next(&shared, plan.prefixes * call.per_row * 4);
    char *memory = px_scratch(s, (size_t)(shared.used + thread.used * s->threads));
    if (memory) {
        shared = (cpu_taker){memory, 0};
        call.own = cpu_taker_next(&shared, io->q.rows * call.per_row * 4);
        call.prefix = cpu_taker_next(&shared, plan.prefixes * call.per_row * 4);
        run_all(&call, memory + shared.used, thread.used, s->threads);
    }
    cpu_plan_fini(&plan);
}
