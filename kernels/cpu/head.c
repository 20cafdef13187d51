/* head.c - the loss head: log-probabilities, and the expected row of W under the softmax, without
 * full logits. Rows are cut into blocks; a block goes through the vocabulary once, in chunks whose
 * rows of W are packed on the spot (2 % of the work, and no packed copy of W in memory). Scores and
 * weights of a chunk never leave the second-level cache.
 *
 * A row's bits depend on that row and W alone: chunks stand at fixed places, and every sum runs
 * along the vocabulary. */
#include <omp.h>

#include "cpu.h"
#include "head.h"

/* Vocabulary of a chunk; bytes of a block's rows in the second-level cache. */
enum { CHUNK = 128, BLOCK_BYTES = 480 << 10 };

typedef struct {
    px_mat h, ew;
    px_mat w;
    px_targets targets;
    double *logp;
    float *lse;
    px_type type;
    int64_t d, V, steps, wide, block; /* rows of a block */
} head_call;

typedef struct {
    uint32_t *h;               /* [block, steps] */
    uint32_t *columns, *terms; /* of W's chunk */
    float *score;              /* [block, CHUNK] */
    uint32_t *weight;          /* [block, CHUNK] in units: f32 in place of the scores */
    float *ew;                 /* [block, wide] */
    float *most;               /* [block]: largest logit so far */
    double *sum;               /* [block]: Σ exp(logit - most) */
} head_memory;

static head_memory memory_of(const head_call *c, cpu_taker *take) {
    head_memory m = {
        .h = cpu_taker_next(take, c->block * c->steps * 4),
        .columns = cpu_taker_next(take, CHUNK * c->steps * 4),
        .score = cpu_taker_next(take, c->block * CHUNK * 4),
        .most = cpu_taker_next(take, c->block * 4),
        .sum = cpu_taker_next(take, c->block * 8),
    };
    if (!c->ew.data) return m;
    m.terms = cpu_taker_next(take, tile_steps(c->type, CHUNK) * tile_up(c->wide, TILE_PANEL) * 4);
    m.weight = (uint32_t *)m.score;
    if (c->type == PX_BF16) m.weight = cpu_taker_next(take, c->block * CHUNK * 2);
    m.ew = cpu_taker_next(take, c->block * c->wide * 4);
    return m;
}

/* One row's logits of a chunk: the running maximum and sum, and the weights for ew. */
static void weigh(const head_call *c, const head_memory *m, int64_t r, int64_t n, bool first) {
    float *score = m->score + r * CHUNK;
    v16 top = v16_set(TILE_LOWEST), sum = v16_set(0);
    for (int64_t j = 0; j < n; j += 16)
        top = v16_max(top, v16_keep(v16_load(score + j), n - j, TILE_LOWEST));
    const float before = m->most[r], most = PX_MAX(before, v16_most(top));
    const v16 factor = v16_set((float)M_LOG2E), by = v16_set(most);
    for (int64_t j = 0; j < n; j += 16) {
        const v16 x = v16_mul(v16_sub(v16_load(score + j), by), factor);
        const v16 p = v16_keep(v16_exp2(x), n - j, 0);
        sum = v16_add(sum, p);
        if (!m->ew) continue;
        if (c->type == PX_BF16)
            v16_store_bf16((uint16_t *)m->weight + r * CHUNK + j, p);
        else
            v16_store(score + j, p);
    }
    m->most[r] = most;
    if (first || most == before) {
        m->sum[r] += (double)v16_sum(sum);
        return;
    }
    const double shrink = exp((double)before - (double)most);
    m->sum[r] = m->sum[r] * shrink + (double)v16_sum(sum);
    const v16 less = v16_set((float)shrink);
    for (int64_t j = 0; m->ew && j < c->wide; j += 16) {
        float *at = m->ew + r * c->wide + j;
        v16_store(at, v16_mul(v16_load(at), less));
    }
}

/* Targets [first, end) of the rows from `row` on, whose id is in [v, v + n): their logits. */
static void take_targets(const head_call *c, const head_memory *m, int64_t row, int64_t first,
                         int64_t end, int64_t v, int64_t n) {
    for (int64_t t = first; t < end; t++) {
        const int64_t at = c->targets.id[t] - v;
        if (at >= 0 && at < n)
            c->logp[t] = (double)m->score[(c->targets.row[t] - row) * CHUNK + at];
    }
}

static void chunk(const head_call *c, const head_memory *m, int64_t rows, int64_t v, int64_t n) {
    const int64_t padded = tile_up(n, 16);
    cpu_tile_pack_columns(m->columns, 0, cpu_tile_rows_of(c->w, v, 0, c->d), n);
    for (int64_t j = 0; j < padded; j += TILE_PANEL)
        cpu_tile_mul(
            (cpu_tile_out){m->score + j, CHUNK}, (cpu_tile_left){m->h, c->steps, 1},
            (cpu_tile_right){m->columns + j * c->steps, TILE_PANEL},
            (cpu_tile_shape){c->type, rows, PX_MIN(TILE_PANEL, padded - j), c->steps, false});
}

static void add_expected(const head_call *c, const head_memory *m, int64_t rows, int64_t v,
                         int64_t n) {
    const int64_t row_units = tile_steps(c->type, CHUNK);
    for (int64_t j = 0; j < c->wide; j += TILE_PANEL) {
        uint32_t *panel = m->terms + j * tile_steps(c->type, CHUNK);
        const cpu_tile_rows part = cpu_tile_rows_of(c->w, v, j, PX_MIN(TILE_PANEL, c->d - j));
        cpu_tile_pack_terms(panel, TILE_PANEL, 0, part, n);
        cpu_tile_mul((cpu_tile_out){m->ew + j, c->wide}, (cpu_tile_left){m->weight, row_units, 1},
                     (cpu_tile_right){panel, TILE_PANEL},
                     (cpu_tile_shape){c->type, rows, PX_MIN(TILE_PANEL, c->wide - j),
                                      tile_steps(c->type, n), v > 0});
    }
}

static void block(const head_call *c, const head_memory *m, int64_t row, int64_t rows) {
    const int64_t first = cpu_first_target(c->targets, row);
    const int64_t end = cpu_first_target(c->targets, row + rows);
    cpu_tile_pack_rows(m->h, c->steps, cpu_tile_rows_of(c->h, row, 0, c->d), rows);
    for (int64_t r = 0; r < rows; r++) m->most[r] = TILE_LOWEST, m->sum[r] = 0;
    for (int64_t v = 0; v < c->V; v += CHUNK) {
        const int64_t n = PX_MIN(CHUNK, c->V - v);
        chunk(c, m, rows, v, n);
        take_targets(c, m, row, first, end, v, n);
        for (int64_t r = 0; r < rows; r++) weigh(c, m, r, n, v == 0);
        if (m->ew) add_expected(c, m, rows, v, n);
    }
    for (int64_t r = 0; r < rows; r++) {
        c->lse[row + r] = (float)((double)m->most[r] + log(m->sum[r]));
        if (m->ew)
            tile_put_row(c->ew, row + r, 0, m->ew + r * c->wide, c->d, (float)(1 / m->sum[r]));
    }
    for (int64_t t = first; t < end; t++) {
        const int64_t r = c->targets.row[t] - row;
        c->logp[t] -= (double)m->most[r] + log(m->sum[r]);
    }
}

/* Rows of a block: as many as the cache holds, and blocks that the threads can share evenly. */
static int64_t block_rows(int64_t n_rows, int64_t row_bytes, int threads) {
    const int64_t most = PX_MAX(24, PX_MIN(192, BLOCK_BYTES / row_bytes));
    const int64_t n_blocks = tile_up((n_rows + most - 1) / most, threads);
    return tile_up((n_rows + n_blocks - 1) / n_blocks, 6);
}

void cpu_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
              px_targets targets) {
    if (h.rows == 0) return;
    head_call c = {.h = h,
                   .ew = ew,
                   .w = cpu_head_rows(w),
                   .targets = targets,
                   .logp = logp,
                   .lse = lse,
                   .type = w->type,
                   .d = w->in,
                   .V = w->out,
                   .steps = tile_steps(w->type, w->in),
                   .wide = tile_up(w->in, 16)};
    c.block = block_rows(h.rows, c.steps * 4 + (ew.data ? c.wide * 4 : 0) + CHUNK * 6, s->threads);
    cpu_taker count = {0};
    memory_of(&c, &count);
    char *memory = px_scratch(s, (size_t)(count.used * s->threads));
    if (!memory) return;
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (int64_t row = 0; row < h.rows; row += c.block) {
        cpu_taker mine = {memory + count.used * omp_get_thread_num(), 0};
        const head_memory m = memory_of(&c, &mine);
        block(&c, &m, row, PX_MIN(c.block, h.rows - row));
    }
}

void cpu_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                       px_targets targets) {
    const px_mat rows = cpu_head_rows(w);
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t n = 0; n < dh.rows; n++) {
        const int64_t first = cpu_first_target(targets, n), end = cpu_first_target(targets, n + 1);
        for (int64_t j = 0; j < dh.cols; j += 16) {
            const int64_t lanes = PX_MIN(16, dh.cols - j);
            const float *mean = (const float *)px_mat_row(ew, n) + j;
            v16 sum = v16_set(0);
            for (int64_t t = first; t < end; t++) {
                const char *row = px_mat_row(rows, targets.id[t]);
                row += (size_t)j * px_type_size(rows.type);
                const v16 value = v16_get_n(row, rows.type, 0, lanes);
                const v16 apart = v16_sub(value, v16_load_n(mean, lanes));
                sum = v16_fma(v16_set(g[t]), apart, sum);
            }
            v16_put_n(px_mat_row(dh, n), dh.type, j, sum, lanes);
        }
    }
}
