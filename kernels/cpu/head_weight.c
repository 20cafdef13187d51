/* head_weight.c - the gradient of the head's own matrix, for full fine-tuning:
 *   dW_v += Σ_n dlogit_nv h_n,  dlogit_nv = Σ_{m: row = n} g_m ([id_m = v] - p_nv),
 * chunk by chunk of the vocabulary: each chunk is one thread's, and its sums run over blocks of
 * rows at fixed places. In bf16 dlogit is rounded once, after the difference. */
#include <omp.h>

#include "head.h"

enum { CHUNK = TILE_PANEL, BLOCK = 96 };

typedef struct {
    px_mat h, w;
    px_targets targets;
    const float *g;
    float *dw;
    px_type type;
    int64_t d, V, N, steps, wide;
    uint32_t *h_rows;  /* [N, steps] */
    uint32_t *h_terms; /* panels of 64 columns: [wide / 64][steps of N, 64] */
    float *minus;      /* [N]: -Σ g of the row */
    float *lse;        /* [N], in exponents of 2 */
} weight_call;

typedef struct {
    uint32_t *columns; /* of W's chunk */
    float *score;      /* [BLOCK, CHUNK] */
    uint32_t *slope;   /* pairs of rows [BLOCK / 2, CHUNK], or f32 in place of the scores */
    float *dw;         /* [CHUNK, wide] */
} weight_memory;

static weight_memory memory_of(const weight_call *c, cpu_taker *take) {
    weight_memory m = {
        .columns = cpu_taker_next(take, CHUNK * c->steps * 4),
        .score = cpu_taker_next(take, BLOCK * CHUNK * 4),
        .dw = cpu_taker_next(take, CHUNK * c->wide * 4),
    };
    m.slope = (uint32_t *)m.score;
    if (c->type == PX_BF16) m.slope = cpu_taker_next(take, BLOCK * CHUNK * 2);
    return m;
}

/* Logits of a block become dlogits in place. */
static void slopes(const weight_call *c, const weight_memory *m, int64_t row, int64_t rows,
                   int64_t v, int64_t n) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j += 16) {
            float *score = m->score + r * CHUNK + j;
            const v16 lse = v16_set(-c->lse[row + r]);
            const v16 p = v16_exp2(v16_fma(v16_load(score), v16_set((float)M_LOG2E), lse));
            v16_store(score, v16_mul(p, v16_set(c->minus[row + r])));
        }
    const int64_t end = cpu_first_target(c->targets, row + rows);
    for (int64_t t = cpu_first_target(c->targets, row); t < end; t++) {
        const int64_t at = c->targets.id[t] - v;
        if (at >= 0 && at < n) m->score[(c->targets.row[t] - row) * CHUNK + at] += c->g[t];
    }
    for (int64_t r = 0; r < rows && c->type == PX_BF16; r += 2)
        for (int64_t j = 0; j < n; j += 16) {
            const float *score = m->score + r * CHUNK + j;
            const v16 odd = r + 1 < rows ? v16_load(score + CHUNK) : v16_set(0);
            v16_store_pairs(m->slope + r / 2 * CHUNK + j, v16_load(score), odd);
        }
}

static void block(const weight_call *c, const weight_memory *m, int64_t row, int64_t rows,
                  int64_t v, int64_t n) {
    cpu_tile_mul((cpu_tile_out){m->score, CHUNK},
                 (cpu_tile_left){c->h_rows + row * c->steps, c->steps, 1},
                 (cpu_tile_right){m->columns, CHUNK},
                 (cpu_tile_shape){c->type, rows, tile_up(n, 16), c->steps, false});
    slopes(c, m, row, rows, v, n);
    const int64_t all_steps = tile_steps(c->type, c->N);
    for (int64_t j = 0; j < c->wide; j += TILE_PANEL)
        cpu_tile_mul(
            (cpu_tile_out){m->dw + j, c->wide}, (cpu_tile_left){m->slope, 1, CHUNK},
            (cpu_tile_right){c->h_terms + j * all_steps + tile_steps(c->type, row) * TILE_PANEL,
                             TILE_PANEL},
            (cpu_tile_shape){c->type, n, PX_MIN(TILE_PANEL, c->wide - j), tile_steps(c->type, rows),
                             row > 0});
}

static void chunk(const weight_call *c, const weight_memory *m, int64_t v, int64_t n) {
    cpu_tile_pack_columns(m->columns, 0, cpu_tile_rows_of(c->w, v, 0, c->d), n);
    for (int64_t row = 0; row < c->N; row += BLOCK)
        block(c, m, row, PX_MIN(BLOCK, c->N - row), v, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c->d; j++) c->dw[(v + i) * c->d + j] += m->dw[i * c->wide + j];
}

static void prepare(weight_call *c, const float *lse) {
    for (int64_t n = 0; n < c->N; n++) {
        c->lse[n] = (float)((double)lse[n] * M_LOG2E);
        c->minus[n] = 0;
    }
    for (int64_t t = 0; t < c->targets.n; t++) c->minus[c->targets.row[t]] -= c->g[t];
    cpu_tile_pack_rows(c->h_rows, c->steps, cpu_tile_rows_of(c->h, 0, 0, c->d), c->N);
    for (int64_t j = 0; j < c->d; j += TILE_PANEL)
        cpu_tile_pack_terms(c->h_terms + j * tile_steps(c->type, c->N), TILE_PANEL, 0,
                            cpu_tile_rows_of(c->h, 0, j, PX_MIN(TILE_PANEL, c->d - j)), c->N);
}

/* Shared memory first, then one piece a thread. */
static void share(weight_call *c, cpu_taker *take) {
    c->h_rows = cpu_taker_next(take, c->N * c->steps * 4);
    c->h_terms = cpu_taker_next(take, tile_up(c->wide, TILE_PANEL) * tile_steps(c->type, c->N) * 4);
    c->minus = cpu_taker_next(take, c->N * 4);
    c->lse = cpu_taker_next(take, c->N * 4);
}

void cpu_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse, px_mat h,
                              const px_weight *w, px_targets targets) {
    if (h.rows == 0) return;
    weight_call c = {.h = h,
                     .w = cpu_head_rows(w),
                     .targets = targets,
                     .g = g,
                     .dw = dw,
                     .type = w->type,
                     .d = w->in,
                     .V = w->out,
                     .N = h.rows,
                     .steps = tile_steps(w->type, w->in),
                     .wide = tile_up(w->in, 16)};
    cpu_taker shared = {0}, each = {0};
    share(&c, &shared);
    memory_of(&c, &each);
    char *memory = px_scratch(s, (size_t)(shared.used + each.used * s->threads));
    if (!memory) return;
    shared = (cpu_taker){memory, 0};
    share(&c, &shared);
    prepare(&c, lse);
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 4)
    for (int64_t v = 0; v < c.V; v += CHUNK) {
        cpu_taker mine = {memory + shared.used + each.used * omp_get_thread_num(), 0};
        const weight_memory m = memory_of(&c, &mine);
        chunk(&c, &m, v, PX_MIN(CHUNK, c.V - v));
    }
}
