/* attend.c - queries against keys and values that lie in panels: softmax with a running maximum
 * over blocks of keys (Milakov & Gimelshein 2018; Dao et al. 2022), queries of the heads that share
 * a kv head stacked. Scores, sums and the output are f32; in bf16 the weights are rounded before
 * they meet the values. A row's bits depend on its queries and the keys it sees alone. */
#include "attend.h"

/* Stacked query rows of a chunk, and keys of a block: scores and weights of a chunk stay in the
 * first-level cache. */
enum { CHUNK_ROWS = 24, BLOCK = 256 };

cpu_attend cpu_attend_of(px_mat out, float *lse, px_mat q, const px_attn *attn) {
    const int64_t group = attn->n_heads / attn->n_kv_heads, hd = attn->head_dim;
    return (cpu_attend){.out = out,
                        .q = q,
                        .lse = lse,
                        .type = q.type,
                        .hd = hd,
                        .H = attn->n_heads,
                        .group = group,
                        .steps = tile_steps(q.type, hd),
                        .wide = tile_up(hd, 16),
                        .tokens = PX_MAX(1, CHUNK_ROWS / group),
                        .factor = attn->scale * (float)M_LOG2E};
}

cpu_attend_memory cpu_attend_take(const cpu_attend *c, cpu_taker *take) {
    const int64_t chunk = c->tokens * c->group;
    cpu_attend_memory m = {
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

/* Scores of one row in one block become weights relative to the running maximum. n: keys of the
 * block that the row sees, padded: columns to fill. */
static void weigh(const cpu_attend *c, const cpu_attend_memory *m, int64_t r, int64_t n,
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

static void finish(const cpu_attend *c, const cpu_attend_memory *m, int64_t row, int64_t n_tokens,
                   int64_t kv) {
    for (int64_t r = 0; r < n_tokens * c->group; r++) {
        const int64_t t = row + r / c->group, h = kv * c->group + r % c->group;
        const double lse = ((double)m->most[r] + log2((double)m->sum[r])) * M_LN2;
        if (c->lse) c->lse[t * c->H + h] = (float)lse;
        tile_put_row(c->out, t, h * c->hd, m->out + r * c->wide, c->hd, 1 / m->sum[r]);
    }
}

static void scores(const cpu_attend *c, const cpu_attend_memory *m, cpu_keys keys, int64_t rows,
                   int64_t k0, int64_t padded) {
    for (int64_t p = 0; p < padded; p += TILE_PANEL)
        cpu_tile_mul(
            (cpu_tile_out){m->score + p, BLOCK}, (cpu_tile_left){m->q, c->steps, 1},
            (cpu_tile_right){keys.k[(k0 + p) / TILE_PANEL], TILE_PANEL},
            (cpu_tile_shape){c->type, rows, PX_MIN(TILE_PANEL, padded - p), c->steps, false});
}

/* out += weights · values, panel after panel: the same chain of additions as in one product. */
static void values(const cpu_attend *c, const cpu_attend_memory *m, cpu_keys keys, int64_t rows,
                   int64_t k0, int64_t n_keys) {
    const int64_t row = c->type == PX_BF16 ? BLOCK / 2 : BLOCK;
    for (int64_t p = 0; p < n_keys; p += TILE_PANEL) {
        const int64_t n = PX_MIN(TILE_PANEL, n_keys - p);
        cpu_tile_mul((cpu_tile_out){m->out, c->wide},
                     (cpu_tile_left){m->weight + tile_steps(c->type, p), row, 1},
                     (cpu_tile_right){keys.v[(k0 + p) / TILE_PANEL], c->wide},
                     (cpu_tile_shape){c->type, rows, c->wide, tile_steps(c->type, n), k0 + p > 0});
    }
}

void cpu_attend_rows(const cpu_attend *c, const cpu_attend_memory *m, cpu_keys keys, int64_t kv,
                     int64_t row, int64_t n_tokens, int64_t depth) {
    const int64_t rows = n_tokens * c->group, n = depth + n_tokens;
    for (int64_t r = 0; r < rows; r++) m->most[r] = TILE_LOWEST;
    for (int64_t t = 0; t < n_tokens; t++) {
        cpu_tile_rows q = cpu_tile_rows_of(c->q, row + t, kv * c->group * c->hd, c->hd);
        q.stride = c->hd;
        cpu_tile_pack_rows(m->q + t * c->group * c->steps, c->steps, q, c->group);
    }
    for (int64_t k0 = 0; k0 < n; k0 += BLOCK) {
        const int64_t n_keys = PX_MIN(BLOCK, n - k0), padded = tile_up(n_keys, 16);
        scores(c, m, keys, rows, k0, padded);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t seen = depth + r / c->group + 1 - k0;
            weigh(c, m, r, PX_MAX(0, PX_MIN(n_keys, seen)), padded, k0 == 0);
        }
        values(c, m, keys, rows, k0, n_keys);
    }
    finish(c, m, row, n_tokens, kv);
}
