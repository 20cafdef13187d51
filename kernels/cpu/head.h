/* head.h - what the two files of the loss head share. */
#ifndef PX_CPU_HEAD_H
#define PX_CPU_HEAD_H

#include "cpu.h"
#include "tile.h"

/* The plain rows of a weight packed with PX_PACK_ROWS. */
static inline px_mat cpu_head_rows(const px_weight *w) {
    return px_mat_of(((const cpu_weight *)w)->rows, w->type, w->out, w->in);
}

/* First target of row `row` or later. */
static inline int64_t cpu_first_target(px_targets targets, int64_t row) {
    int64_t low = 0, high = targets.n;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (targets.row[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#endif
