/* attend.h - the inner part of attention, shared by trees (attention.c) and cached sequences
 * (cached.c): some queries against the keys [0, n) of one path. */
#ifndef PX_CPU_ATTEND_H
#define PX_CPU_ATTEND_H

#include "tile.h"

typedef struct {
    px_mat out, q;
    float *lse; /* NULL: not wanted */
    px_type type;
    int64_t hd, H, group; /* query heads of a kv head */
    int64_t steps, wide;  /* units of a head's row; its columns, rounded up to vectors */
    int64_t tokens;       /* of a chunk, at most */
    float factor;         /* scores to exponents of 2 */
} cpu_attend;
cpu_attend cpu_attend_of(px_mat out, float *lse, px_mat q, const px_attn *attn);

/* One thread's memory for a chunk. */
typedef struct {
    uint32_t *q;       /* [chunk, steps] */
    float *score;      /* [chunk, BLOCK] */
    uint32_t *weight;  /* [chunk, BLOCK] in units: f32 in place of the scores */
    float *out;        /* [chunk, wide] */
    float *most, *sum; /* [chunk] */
} cpu_attend_memory;
cpu_attend_memory cpu_attend_take(const cpu_attend *c, cpu_taker *take);

/* Panel i holds the keys of positions [64 i, 64 i + 64) as columns [steps, 64], and their values as
 * terms [tile_steps(64), wide]. What stands behind the last position is a number, whichever. */
typedef struct {
    const uint32_t *const *k, *const *v;
} cpu_keys;
/* Rows [row, row + n_tokens) of q at positions from depth on, all heads of kv head kv; n_tokens <=
 * c->tokens. */
void cpu_attend_rows(const cpu_attend *c, const cpu_attend_memory *m, cpu_keys keys, int64_t kv,
                     int64_t row, int64_t n_tokens, int64_t depth);

#endif
