/* counter.c - see dist.h: one 64-bit number in a window of rank 0. */
#include <stdlib.h>

#include "dist.h"

struct px_counter {
    const px_ranks *ranks;
    int64_t alone; /* without other ranks */
    MPI_Win window;
    int64_t *value; /* rank 0's is the counter */
};

px_err *px_counter_open_all(const px_ranks *ranks, px_counter **out) {
    px_counter *c = calloc(1, sizeof *c);
    px_err *err = NULL;
    if (!c) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    err = px_agree_all(ranks, err);
    if (err || !c) {
        free(c);
        return err;
    }
    c->ranks = ranks;
    *out = c;
    if (ranks->size == 1) return NULL;
    MPI_Win_allocate(ranks->rank == 0 ? (MPI_Aint)sizeof *c->value : 0, sizeof *c->value,
                     MPI_INFO_NULL, ranks->control, &c->value, &c->window);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, c->window);
    if (ranks->rank == 0) {
        *c->value = 0;
        MPI_Win_sync(c->window);
    }
    MPI_Barrier(ranks->control);
    return NULL;
}

void px_counter_close_all(px_counter *c) {
    if (!c) return;
    if (c->ranks->size > 1) {
        MPI_Win_unlock_all(c->window);
        MPI_Win_free(&c->window);
    }
    free(c);
}

int64_t px_counter_take(px_counter *c, int64_t n) {
    int64_t before = c->alone;
    if (c->ranks->size == 1) {
        c->alone += n;
        return before;
    }
    MPI_Fetch_and_op(&n, &before, MPI_INT64_T, 0, 0, MPI_SUM, c->window);
    MPI_Win_flush(0, c->window);
    return before;
}

void px_counter_tend(px_counter *c) {
    int seen = 0;
    if (c->ranks->size > 1 && c->ranks->rank == 0)
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, c->ranks->control, &seen, MPI_STATUS_IGNORE);
}
