/* nccl.cc - NCCL's calls over MPI, in tests (nccl.h). What is asked for is started and left to the
 * stream: it is done when the stream is asked whether it is (simt_pending), as on a card. Calls and
 * their order are checked across ranks: on a card a difference would hang. */
#include "nccl.h"

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../simt_internal.h"

struct ncclComm {
    MPI_Comm ranks;
    MPI_Request request;
    bool running;
    ncclResult_t error;
    int n, rank;
};

namespace {

char last_error[256];
ncclComm *open_comm; /* the one whose work the stream waits for */

ncclResult_t wrong(ncclResult_t code, const char *what) {
    snprintf(last_error, sizeof last_error, "%s", what);
    return code;
}

/* Whether something of NCCL's is still under way on the stream. */
int pending() {
    ncclComm *c = open_comm;
    if (!c || !c->running) return 0;
    int done = 0;
    MPI_Test(&c->request, &done, MPI_STATUS_IGNORE);
    c->running = !done;
    return !done;
}

/* Whether all ranks say the same. */
bool is_agreed(const ncclComm *c, int64_t value) {
    int64_t both[2] = {value, -value};
    MPI_Allreduce(MPI_IN_PLACE, both, 2, MPI_INT64_T, MPI_MAX, c->ranks);
    return both[0] == -both[1];
}

void bf16_sum(void *from, void *to, int *n, MPI_Datatype *) {
    const uint16_t *a = (const uint16_t *)from;
    uint16_t *b = (uint16_t *)to;
    for (int i = 0; i < *n; i++) {
        union {
            uint32_t u;
            float f;
        } x = {(uint32_t)a[i] << 16}, y = {(uint32_t)b[i] << 16};
        y.f += x.f;
        b[i] = (uint16_t)((y.u + 0x7FFFu + (y.u >> 16 & 1u)) >> 16);
    }
}

bool type_of(ncclDataType_t type, MPI_Datatype *mpi, size_t *size) {
    *mpi = type == ncclInt64 ? MPI_INT64_T : type == ncclFloat32 ? MPI_FLOAT : MPI_UINT16_T;
    *size = type == ncclInt64 ? 8 : type == ncclFloat32 ? 4 : 2;
    return type == ncclInt64 || type == ncclFloat32 || type == ncclBfloat16;
}

} // namespace

ncclResult_t ncclGetVersion(int *version) {
    *version = 0;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    for (size_t i = 0; i < sizeof id->internal; i++) id->internal[i] = (char)(37 * i + 11);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
    ncclUniqueId good;
    int size = 0, mine = 0;
    if (config->blocking) return wrong(ncclInvalidUsage, "a communicator that blocks");
    ncclGetUniqueId(&good);
    if (memcmp(&good, &id, sizeof id) != 0) return wrong(ncclInvalidArgument, "not the id");
    if (open_comm) return wrong(ncclInvalidUsage, "two communicators at a time");
    ncclComm *c = (ncclComm *)calloc(1, sizeof *c);
    if (!c) return wrong(ncclSystemError, "out of memory");
    MPI_Comm_dup(MPI_COMM_WORLD, &c->ranks);
    MPI_Comm_size(c->ranks, &size);
    MPI_Comm_rank(c->ranks, &mine);
    if (size != n || mine != rank) {
        MPI_Comm_free(&c->ranks);
        free(c);
        return wrong(ncclInvalidArgument, "another number of ranks, or another rank");
    }
    c->n = n;
    c->rank = rank;
    open_comm = c;
    simt_pending = pending;
    *comm = c;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
    *error = c->error;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    /* MPI cannot give up what is under way: it is left, and whoever aborts ends soon. */
    if (!c->running) MPI_Comm_free(&c->ranks);
    simt_pending = nullptr;
    open_comm = nullptr;
    free(c);
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t c, cudaStream_t s) {
    MPI_Datatype mpi;
    size_t size = 0;
    if (!type_of(type, &mpi, &size) || from != to) return wrong(ncclInvalidArgument, "operands");
    if (!simt_is_device(to, n * size)) return wrong(ncclInvalidArgument, "no device memory");
    if (simt_is_captured(s)) return wrong(ncclInvalidUsage, "no stand-in within a graph");
    if (n > (size_t)1 << 30) return wrong(ncclInvalidArgument, "too much for a stand-in");
    while (pending()) continue;
    if (!is_agreed(c, (int64_t)n * 1024 + type * 16 + op)) {
        c->error = ncclInternalError;
        return wrong(ncclInternalError, "ranks ask for different things");
    }
    MPI_Op how = op == ncclMax ? MPI_MAX : MPI_SUM;
    static MPI_Op of_bf16 = MPI_OP_NULL;
    if (type == ncclBfloat16) {
        if (op == ncclMax) return wrong(ncclInvalidArgument, "a maximum of bf16");
        if (of_bf16 == MPI_OP_NULL) MPI_Op_create(bf16_sum, 1, &of_bf16);
        how = of_bf16;
    }
    MPI_Iallreduce(MPI_IN_PLACE, to, (int)n, mpi, how, c->ranks, &c->request);
    c->running = true;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t code) {
    static const char *const texts[] = {"no error",       "unhandled cuda error", "system error",
                                        "internal error", "invalid argument",     "invalid usage",
                                        "remote error",   "in progress"};
    return (unsigned)code < 8 ? texts[code] : "unknown result code";
}
const char *ncclGetLastError(ncclComm_t) { return last_error; }
