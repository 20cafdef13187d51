/* attention_plan.h - how the trees of an attention call are cut into parts, and the path of a row.
 *
 * Position p of a path is depth p in the tree. Walking segments depth first, the keys a row sees
 * are the positions [0, its depth] of the current path, without gaps, whatever siblings stand
 * between them in the matrix. So a path is packed once and each segment only writes its own
 * positions; block borders depend on depth alone and a row has the same bits in a tree as in its
 * path on its own.
 *
 * A part is a range of rows of one tree, cut by the tree's own structure only: the same parts
 * wherever the tree stands and however many threads there are. */
#ifndef PX_ATTENTION_PLAN_H
#define PX_ATTENTION_PLAN_H

#include "tile.h"

typedef struct {
    int32_t segment;    /* of the first row */
    int32_t begin, end; /* rows */
    int32_t prefix;     /* rows of the path before the first row, outside the part */
    bool first;         /* of its tree */
    int64_t prefixes;   /* prefixes of the parts before it, added */
} cpu_part;

typedef struct {
    const px_attn *attn;
    int32_t *depth; /* [n_segments] of its first row */
    cpu_part *parts;
    int64_t n_parts;
    int64_t path_max; /* rows of the longest path */
    int64_t prefixes; /* of all parts, added */
} cpu_plan;

/* On failure the stream has the error and false comes back. */
bool cpu_plan_init(cpu_plan *plan, px_stream *s, const px_attn *attn);
void cpu_plan_fini(cpu_plan *plan);

/* rows[p] = the row at position p, for the part's prefix. */
void cpu_prefix_rows(const cpu_plan *plan, const cpu_part *part, int32_t *rows);
/* The part's rows in `segment` as [begin, end), possibly none; false when the part ends before. */
bool cpu_part_rows(const cpu_plan *plan, const cpu_part *part, int32_t segment, int32_t *begin,
                   int32_t *end);
/* rows[i], rows[i + 1], … as far as they follow each other below `end`: where that stops. */
int64_t cpu_run_end(const int32_t *rows, int64_t i, int64_t end);

#endif
