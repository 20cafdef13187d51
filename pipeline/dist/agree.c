/* agree.c - one rank's failure becomes every rank's, so that no rank waits in a collective for one
 * that has left. */
#include "dist_internal.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

px_err *px_agree_all(const px_ranks *ranks, px_err *mine) {
    if (ranks->size == 1) return mine;
    /* The lowest failing rank, and (negated) the highest that did not: 1 when all failed. */
    int found[2] = {mine ? ranks->rank : INT_MAX, mine ? 1 : -ranks->rank};
    MPI_Allreduce(MPI_IN_PLACE, found, 2, MPI_INT, MPI_MIN, ranks->control);
    int first = found[0];
    if (first == INT_MAX) return NULL;
    px_err_wire wire = {0}; /* fixed size: no length to agree on */
    if (ranks->rank == first && mine) {
        px_err_pack(mine, &wire);
        if (found[1] > 0) wire.joint = 1; /* a wrong option, say: no rank is to blame */
    }
    MPI_Bcast(&wire, sizeof wire, MPI_BYTE, first, ranks->control);
    px_err_free(mine);
    return px_err_unpack(&wire, first);
}

px_err *px_fault(const px_ranks *ranks, const char *phase) {
    const char *wish = getenv("PX_FAULT");
    size_t n = strlen(phase);
    if (!wish || strncmp(wish, phase, n) != 0) return NULL;
    bool hang = strncmp(wish + n, "-hang:", 6) == 0; /* as a machine that is gone */
    if (hang) n += 5;
    if (wish[n] != ':') return NULL;
    int64_t rank = -1;
    if (!px_parse_i64(wish + n + 1, &rank) || rank != ranks->rank) return NULL;
    if (hang) {
        raise(SIGSTOP);
        return NULL;
    }
    PX_FAIL(PX_RUN_FAILED, "%s: failure injected by PX_FAULT", phase);
}
