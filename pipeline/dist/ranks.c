/* ranks.c - start and end of MPI, and the plain collectives. See dist.h. */
#include "dist_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Was this process started by something that starts ranks? Then its environment says so. Alone, MPI
 * would only cost: Open MPI starts a daemon for every such process. */
static bool was_launched(void) {
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_UNIVERSE_SIZE",
                                        "PMIX_RANK",
                                        "PMIX_NAMESPACE",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "PMI_FD",
                                        "MPI_LOCALNRANKS",
                                        "SLURM_STEP_ID",
                                        "SLURM_STEPID",
                                        "FLUX_TASK_RANK"};
    for (size_t i = 0; i < PX_COUNT(signs); i++)
        if (getenv(signs[i])) return true;
    return false;
}

px_err *px_ranks_open_all(bool mpi, int *argc, char ***argv, px_ranks *out) {
    *out = (px_ranks){.size = 1, .node_size = 1, .n_nodes = 1, .control = MPI_COMM_NULL};
    if (!mpi || !was_launched()) return NULL;
    int level = 0;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
        PX_FAIL(PX_RUN_FAILED, "MPI_Init_thread failed");
    out->mpi = true;
    /* A communicator of our own, so that a library's messages cannot meet ours. */
    MPI_Comm_dup(MPI_COMM_WORLD, &out->control);
    MPI_Comm_rank(out->control, &out->rank);
    MPI_Comm_size(out->control, &out->size);
    MPI_Comm node;
    MPI_Comm_split_type(out->control, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &out->node_rank);
    MPI_Comm_size(node, &out->node_size);
    MPI_Comm_free(&node);
    int first = out->node_rank == 0;
    MPI_Allreduce(&first, &out->n_nodes, 1, MPI_INT, MPI_SUM, out->control);
    return NULL;
}

void px_ranks_close_all(px_ranks *ranks) {
    px_watch_stop();
    if (!ranks->mpi) return;
    MPI_Comm_free(&ranks->control);
    MPI_Finalize();
    ranks->mpi = false;
}

void px_mpi_about(char built[64], char runs[256]) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "unknown";
    int length = 0;
#ifdef OMPI_MAJOR_VERSION
    snprintf(built, 64, "Open MPI %d.%d.%d", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION,
             OMPI_RELEASE_VERSION);
#else
    snprintf(built, 64, "an MPI %d.%d library", MPI_VERSION, MPI_SUBVERSION);
#endif
    MPI_Get_library_version(text, &length);
    text[strcspn(text, "\n,")] = 0; /* "Open MPI v4.1.4, package: …" */
    snprintf(runs, 256, "%.255s", text);
}

/* MPI_Abort may wait for daemons that cannot be reached any more. */
static void *end_anyway(void *unused) {
    (void)unused;
    sleep(3);
    _exit(PX_RUN_FAILED);
}

void px_abort_all(const px_ranks *ranks, const char *phase) {
    char line[2048], host[64] = "";
    gethostname(host, sizeof host - 1);
    int n = snprintf(line, sizeof line, "error: rank %d on %s: %s: ending all ranks\n", ranks->rank,
                     host, phase);
    ssize_t written = write(STDERR_FILENO, line, PX_MIN((size_t)n, sizeof line - 1));
    (void)written;
    pthread_t thread;
    if (ranks->mpi && pthread_create(&thread, NULL, end_anyway, NULL) == 0) pthread_detach(thread);
    if (ranks->mpi) MPI_Abort(MPI_COMM_WORLD, PX_RUN_FAILED);
    _exit(PX_RUN_FAILED);
}

#define REDUCE(ranks, values, n, type, op)                                                         \
    do {                                                                                           \
        if ((ranks)->size == 1) return;                                                            \
        for (size_t at_ = 0; at_ < (n); at_ += PX_MPI_CHUNK)                                       \
            MPI_Allreduce(MPI_IN_PLACE, (values) + at_, (int)PX_MIN((n)-at_, PX_MPI_CHUNK), type,  \
                          op, (ranks)->control);                                                   \
    } while (0)

void px_sum_i64_all(const px_ranks *ranks, int64_t *values, size_t n) {
    REDUCE(ranks, values, n, MPI_INT64_T, MPI_SUM);
}

void px_max_f64_all(const px_ranks *ranks, double *values, size_t n) {
    REDUCE(ranks, values, n, MPI_DOUBLE, MPI_MAX);
}

void px_sum_f32_all(const px_ranks *ranks, float *values, size_t n) {
    REDUCE(ranks, values, n, MPI_FLOAT, MPI_SUM);
}

void px_spread_f64_all(const px_ranks *ranks, double *values, size_t n) {
    /* x + 0 = x for every x but -0, which becomes +0 on any number of ranks; made so on one as
     * well. */
    for (size_t i = 0; i < n; i++) values[i] += 0.0;
    REDUCE(ranks, values, n, MPI_DOUBLE, MPI_SUM);
}

bool px_any_all(const px_ranks *ranks, bool mine) {
    int any = mine;
    if (ranks->size > 1) MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, ranks->control);
    return any != 0;
}

void px_barrier_all(const px_ranks *ranks) {
    if (ranks->size > 1) MPI_Barrier(ranks->control);
}

void px_bcast_all(const px_ranks *ranks, void *data, size_t size, int root) {
    if (ranks->size == 1) return;
    for (size_t at = 0; at < size; at += PX_MPI_CHUNK)
        MPI_Bcast((char *)data + at, (int)PX_MIN(size - at, PX_MPI_CHUNK), MPI_BYTE, root,
                  ranks->control);
}

px_err *px_gather_bytes_all(const px_ranks *ranks, const void *mine, size_t size, px_bytes *all,
                            int64_t *sizes) {
    int64_t n = (int64_t)size;
    px_err *err = NULL;
    *all = (px_bytes){0};
    if (ranks->size > 1)
        MPI_Gather(&n, 1, MPI_INT64_T, sizes, 1, MPI_INT64_T, 0, ranks->control);
    else
        sizes[0] = n;
    if (ranks->rank == 0) {
        size_t total = 0;
        for (int r = 0; r < ranks->size; r++) total += (size_t)sizes[r];
        all->data = malloc(total + 1);
        all->size = total;
        if (!all->data)
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory: %zu bytes", total);
        else
            all->data[total] = 0;
    }
    PX_PASS(px_agree_all(ranks, err));
    if (ranks->rank == 0 && size) memcpy(all->data, mine, size);
    size_t at = size;
    for (int r = 1; r < ranks->size;
         r++) { /* one rank after another: results can exceed int counts */
        size_t rest = ranks->rank == 0 ? (size_t)sizes[r] : size;
        for (size_t done = 0; (ranks->rank == 0 || ranks->rank == r) && done < rest;) {
            int part = (int)PX_MIN(rest - done, PX_MPI_CHUNK);
            if (ranks->rank == 0)
                MPI_Recv(all->data + at + done, part, MPI_BYTE, r, 0, ranks->control,
                         MPI_STATUS_IGNORE);
            else
                MPI_Send((const char *)mine + done, part, MPI_BYTE, 0, 0, ranks->control);
            done += (size_t)part;
        }
        at += rest;
    }
    return NULL;
}
