/* attention_plan.c - cutting trees into parts. */
#include "attention_plan.h"

#include <stdlib.h>

/* Row-key pairs of a part: large enough that packing its prefix again does not matter, small
 * enough that one tree keeps several threads busy. */
enum { PART_PAIRS = 1 << 17, CUT_ROWS = 32 };

/* Counts the parts, and writes them where plan->parts is set. */
static void cut(cpu_plan *plan) {
    const px_attn *attn = plan->attn;
    cpu_part part = {0};
    bool open = false, first = true;
    int64_t pairs = 0;
    plan->n_parts = plan->prefixes = 0;
    for (int32_t n = 0; n < attn->n_segments; n++) {
        const px_segment segment = attn->segments[n];
        first = first || segment.parent < 0;
        for (int32_t row = segment.begin; row < segment.end; row++) {
            const int32_t depth = plan->depth[n] + row - segment.begin;
            if (!open) {
                part = (cpu_part){n, row, row, depth, first, plan->prefixes};
                open = true, first = false, pairs = 0;
            }
            pairs += depth + 1;
            const int32_t done = row + 1 - segment.begin;
            const bool segment_ends = row + 1 == segment.end;
            bool tree_ends = segment_ends;
            for (int32_t next = n + 1; next < attn->n_segments && tree_ends; next++) {
                if (attn->segments[next].parent < 0) break;
                tree_ends = attn->segments[next].begin == attn->segments[next].end;
            }
            const bool full = pairs >= PART_PAIRS && (segment_ends || done % CUT_ROWS == 0);
            if (!full && !tree_ends) continue;
            part.end = row + 1;
            if (plan->parts) plan->parts[plan->n_parts] = part;
            plan->n_parts++;
            plan->prefixes += part.prefix;
            open = false;
        }
    }
}

bool cpu_plan_init(cpu_plan *plan, px_stream *s, const px_attn *attn) {
    *plan = (cpu_plan){.attn = attn};
    plan->depth = calloc((size_t)attn->n_segments + 1, sizeof *plan->depth);
    if (!plan->depth) goto no_memory;
    for (int32_t n = 0; n < attn->n_segments; n++) {
        const px_segment segment = attn->segments[n];
        const int32_t up = segment.parent;
        plan->depth[n] =
            up < 0 ? 0 : plan->depth[up] + attn->segments[up].end - attn->segments[up].begin;
        plan->path_max = PX_MAX(plan->path_max, plan->depth[n] + segment.end - segment.begin);
    }
    cut(plan);
    plan->parts = malloc((size_t)plan->n_parts * sizeof *plan->parts + 1);
    if (!plan->parts) goto no_memory;
    cut(plan);
    return true;
no_memory:
    cpu_plan_fini(plan);
    px_stream_fail(s, px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                                 "out of memory: plan of %d attention segments",
                                 (int)attn->n_segments));
    return false;
}

void cpu_plan_fini(cpu_plan *plan) {
    free(plan->depth);
    free(plan->parts);
    *plan = (cpu_plan){0};
}

void cpu_prefix_rows(const cpu_plan *plan, const cpu_part *part, int32_t *rows) {
    for (int32_t n = part->segment; n >= 0; n = plan->attn->segments[n].parent) {
        const px_segment segment = plan->attn->segments[n];
        const int32_t end = PX_MIN(segment.end, part->begin);
        for (int32_t row = segment.begin; row < end; row++)
            rows[plan->depth[n] + row - segment.begin] = row;
    }
}

bool cpu_part_rows(const cpu_plan *plan, const cpu_part *part, int32_t segment, int32_t *begin,
                   int32_t *end) {
    if (segment >= plan->attn->n_segments) return false;
    *begin = PX_MAX(plan->attn->segments[segment].begin, part->begin);
    *end = PX_MIN(plan->attn->segments[segment].end, part->end);
    return *begin < part->end;
}

int64_t cpu_run_end(const int32_t *rows, int64_t i, int64_t end) {
    int64_t stop = i + 1;
    while (stop < end && rows[stop] == rows[stop - 1] + 1) stop++;
    return stop;
}
