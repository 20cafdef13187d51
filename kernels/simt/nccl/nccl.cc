/* nccl.cc - NCCL's calls over MPI, in tests (nccl.h). What is asked for is left to the stream, and
 * done when its turn comes and somebody waits (stream.cc): it reads memory as it starts and writes
 * it at its end. Until then nobody may touch that memory. Calls and their order are checked across
 * ranks: on a card a difference would hang. */
#include "nccl.h"

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../simt_internal.h"

struct ncclComm {
    MPI_Comm ranks;
    ncclResult_t error;
    int n, rank;
    int users; /* whoever opened it, and sums that were asked for */
    bool open;
};

namespace {

char last_error[256];
ncclComm *open_comm;

ncclResult_t wrong(ncclResult_t code, const char *what) {
    snprintf(last_error, sizeof last_error, "%s", what);
    return code;
}

/* MPI cannot give up what is under way: then its communicator is left, and whoever aborts ends
 * soon. */
void let_go(ncclComm *c, bool is_idle) {
    if (is_idle && c->users == 1) MPI_Comm_free(&c->ranks);
    if (--c->users == 0) free(c);
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

MPI_Op op_of(ncclDataType_t type, ncclRedOp_t op) {
    static MPI_Op of_bf16 = MPI_OP_NULL;
    if (type != ncclBfloat16) return op == ncclMax ? MPI_MAX : MPI_SUM;
    if (of_bf16 == MPI_OP_NULL) MPI_Op_create(bf16_sum, 1, &of_bf16);
    return of_bf16;
}

/* A sum that was asked for. `what` is the same on all ranks if its largest value and that of its
 * negative are. */
struct sum {
    ncclComm *comm;
    char *to, *copy; /* copy: as it was at the start, then the sum */
    size_t n, bytes;
    ncclDataType_t type;
    ncclRedOp_t op;
    enum : int { ASKED, COMPARING, SUMMING } at;
    bool is_lent; /* what it works on: others may no longer touch that */
    int64_t what[2];
    MPI_Request request;
};

void start(sum *s) {
    MPI_Datatype mpi;
    size_t size = 0;
    type_of(s->type, &mpi, &size);
    memcpy(s->copy, s->to, s->bytes);
    MPI_Iallreduce(MPI_IN_PLACE, s->copy, (int)s->n, mpi, op_of(s->type, s->op), s->comm->ranks,
                   &s->request);
    s->at = sum::SUMMING;
}

int finish(sum *s, bool is_done, bool is_idle) {
    if (s->is_lent) simt_lent_back(s->to, s->bytes, SIMT_REDUCED);
    if (is_done) memcpy(s->to, s->copy, s->bytes);
    if (is_idle) free(s->copy);
    let_go(s->comm, is_idle);
    return 0;
}

/* simt_ask's. */
int sum_goes_on(void *it) {
    sum *s = (sum *)it;
    int done = 0;
    if (s->at == sum::ASKED) {
        if (!s->comm->open || s->comm->error != ncclSuccess) return finish(s, false, true);
        if (!s->is_lent) s->is_lent = simt_lend(s->to, s->bytes, SIMT_REDUCED);
        MPI_Iallreduce(MPI_IN_PLACE, s->what, 2, MPI_INT64_T, MPI_MAX, s->comm->ranks, &s->request);
        s->at = sum::COMPARING;
    }
    MPI_Test(&s->request, &done, MPI_STATUS_IGNORE);
    if (!done) return s->comm->open ? 1 : finish(s, false, false);
    if (s->at == sum::SUMMING) return finish(s, true, true);
    if (s->what[0] == -s->what[1]) {
        start(s);
        return 1;
    }
    wrong(s->comm->error = ncclInternalError, "ranks ask for different things");
    return finish(s, false, true);
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
    c->users = 1;
    c->open = true;
    open_comm = c;
    *comm = c;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
    *error = c->error;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    c->open = false;
    open_comm = nullptr;
    let_go(c, true);
    return ncclSuccess;
}

ncclResult_t ncclMemAlloc(void **out, size_t bytes) {
    return cudaMalloc(out, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
ncclResult_t ncclMemFree(void *at) {
    return cudaFree(at) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

namespace {
struct registered {
    ncclComm *comm;
    void *at;
    size_t bytes;
};
} // namespace
ncclResult_t ncclCommRegister(ncclComm_t c, void *at, size_t bytes, void **handle) {
    *handle = nullptr;
    if (const char *wish = getenv("PX_SIMT_REGISTER"))
        if (atoi(wish) == c->rank) return wrong(ncclSystemError, "as PX_SIMT_REGISTER wishes");
    if (!simt_is_device(at, bytes)) return wrong(ncclInvalidArgument, "no device memory");
    registered *r = (registered *)malloc(sizeof *r);
    if (!r || !simt_lend(at, bytes, SIMT_REGISTERED)) return wrong(ncclSystemError, "no memory");
    *r = registered{c, at, bytes};
    *handle = r;
    return ncclSuccess;
}
ncclResult_t ncclCommDeregister(ncclComm_t c, void *handle) {
    registered *r = (registered *)handle;
    if (!r || r->comm != c || !simt_lent_back(r->at, r->bytes, SIMT_REGISTERED))
        return wrong(ncclInvalidUsage, "not registered");
    if (simt_is_lent(r->at, r->bytes, SIMT_REDUCED))
        return wrong(ncclInvalidUsage, "a collective works on it");
    free(r);
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t c, cudaStream_t s) {
    MPI_Datatype mpi;
    size_t size = 0;
    if (!type_of(type, &mpi, &size) || from != to) return wrong(ncclInvalidArgument, "operands");
    if (!s) return wrong(ncclInvalidArgument, "no stream");
    if (!simt_is_device(to, n * size)) return wrong(ncclInvalidArgument, "no device memory");
    if (simt_is_captured(s)) return wrong(ncclInvalidUsage, "no stand-in within a graph");
    if (n > (size_t)1 << 30) return wrong(ncclInvalidArgument, "too much for a stand-in");
    if (type == ncclBfloat16 && op == ncclMax)
        return wrong(ncclInvalidArgument, "a maximum of bf16");
    const int64_t what =
        ((int64_t)n * 1024 + type * 16 + op) * 2 + simt_is_registered(to, n * size);
    /* Of a main stream that does its work at once, all that it is asked for from now on comes
     * later; else all that it does when the sum has begun. */
    const bool is_lent = !simt_main_holds() && simt_lend(to, n * size, SIMT_REDUCED);
    sum it = {c, (char *)to, (char *)malloc(n * size + 1), n, n * size, type, op,
              sum::ASKED, is_lent, {what, -what}, MPI_REQUEST_NULL};
    if (!it.copy) return wrong(ncclSystemError, "out of memory");
    c->users++;
    if (simt_ask(s, sum_goes_on, &it, sizeof it, nullptr, 0) != cudaSuccess)
        return wrong(ncclSystemError, "out of memory");
    return ncclInProgress; /* until the communicator is asked */
}

const char *ncclGetErrorString(ncclResult_t code) {
    static const char *const texts[] = {"no error",       "unhandled cuda error", "system error",
                                        "internal error", "invalid argument",     "invalid usage",
                                        "remote error",   "in progress"};
    return (unsigned)code < 8 ? texts[code] : "unknown result code";
}
const char *ncclGetLastError(ncclComm_t) { return last_error; }
