/* gpus.c - see gpus.h. Invariants:
 * 1. The communicator does not block: every call returns at once, and what it started is polled
 * together with NCCL's asynchronous errors, so that a peer's death is seen here and not by a hang.
 * 2. Sums run on the side stream. Each waits, by an event, for what the computing stream was asked
 * for before it. The host waits for the last of them, so what the computing stream is asked for
 * then comes after all. */
#include "gpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dist_internal.h"

#ifndef PX_HAVE_NCCL

bool px_gpus_exist(void) { return false; }
void px_gpus_about(char out[32]) { out[0] = 0; }
px_err *px_gpus_open_all(const px_ranks *ranks, void *stream, px_gpus **out) {
    (void)ranks, (void)stream;
    *out = NULL;
    PX_FAIL(PX_RUN_FAILED, "NCCL is not in this build: cmake --preset cuda");
}
void px_gpus_close(px_gpus *gpus) { (void)gpus; }
void px_gpus_sum_i64_all(px_gpus *gpus, int64_t *values, size_t n) {
    (void)gpus, (void)values, (void)n;
}
void px_gpus_sum_f32_all(px_gpus *gpus, float *values, size_t n) {
    (void)gpus, (void)values, (void)n;
}
void px_gpus_sum_bf16_all(px_gpus *gpus, uint16_t *values, size_t n) {
    (void)gpus, (void)values, (void)n;
}
void px_gpus_max_f32_all(px_gpus *gpus, float *values, size_t n) {
    (void)gpus, (void)values, (void)n;
}
void px_gpus_wait_all(px_gpus *gpus) { (void)gpus; }
void *px_gpus_memory_new(size_t bytes) {
    (void)bytes;
    return NULL;
}
void px_gpus_memory_free(void *at) { (void)at; }
bool px_gpus_register_all(px_gpus *gpus, void *at, size_t bytes) {
    (void)gpus, (void)at, (void)bytes;
    return false;
}

#else

#include <nccl.h>

enum { NON_BLOCKING = 1, NO_TIMES = 2 }; /* cudaStreamNonBlocking, cudaEventDisableTiming */

struct px_gpus {
    const px_ranks *ranks;
    ncclComm_t comm;
    cudaStream_t stream, side;
    cudaEvent_t made; /* on the computing stream: what the next sum takes */
    void *registered; /* NCCL's handle, or NULL */
};

bool px_gpus_exist(void) { return true; }

void px_gpus_about(char out[32]) {
    int v = 0;
    if (ncclGetVersion(&v) != ncclSuccess || v == 0)
        snprintf(out, 32, "stand-in over MPI");
    else
        snprintf(out, 32, "%d.%d.%d", v / 10000, v / 100 % 100, v % 100);
}

static void pause_between_looks(int looks) {
    const struct timespec short_time = {0, 50000};
    if (looks > 1000) nanosleep(&short_time, NULL); /* the first ones cost nothing */
}

/* NCCL's own text, and its code's. */
static void text_of(ncclComm_t comm, ncclResult_t code, char out[512]) {
    const char *more = ncclGetLastError(comm);
    snprintf(out, 512, "NCCL: %s%s%.300s", ncclGetErrorString(code), more && *more ? ": " : "",
             more ? more : "");
}

/* Until what was asked of the communicator has been taken up. */
static ncclResult_t settle(ncclComm_t comm, ncclResult_t code) {
    for (int looks = 0; code == ncclInProgress; looks++) {
        pause_between_looks(looks);
        const ncclResult_t asked = ncclCommGetAsyncError(comm, &code);
        if (asked != ncclSuccess) return asked;
    }
    return code;
}

/* What one rank alone knows of: it says so, with what is known of the others, and ends all. */
static void end_all(px_gpus *gpus, const char *what) {
    char line[1536], others[512];
    const px_standing now = px_watch_standing();
    px_tell_text(others, sizeof others);
    snprintf(line, sizeof line, "%s, step %lld: %s%s", now.phase ? now.phase : "NCCL",
             (long long)now.step, what, others);
    ncclCommAbort(gpus->comm);
    px_abort_all(gpus->ranks, line);
}

static void check_cuda(px_gpus *gpus, cudaError_t code) {
    if ((int)code != 0) end_all(gpus, cudaGetErrorString(code));
}

static void check(px_gpus *gpus, ncclResult_t code) {
    char text[512];
    code = settle(gpus->comm, code);
    if (code == ncclSuccess) return;
    text_of(gpus->comm, code, text);
    end_all(gpus, text);
}

/* Its blocks go before those of kernels that compute: sums are short, and others wait for them. */
static px_err *open_side(px_gpus *gpus) {
    int least = 0, greatest = 0;
    cudaError_t code = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (!code) code = cudaStreamCreateWithPriority(&gpus->side, NON_BLOCKING, greatest);
    if (!code) code = cudaEventCreateWithFlags(&gpus->made, NO_TIMES);
    if (code) PX_FAIL(PX_RUN_FAILED, "a stream for sums: %s", cudaGetErrorString(code));
    return NULL;
}

px_err *px_gpus_open_all(const px_ranks *ranks, void *stream, px_gpus **out) {
    ncclUniqueId id = {{0}};
    char text[512];
    px_err *err = NULL;
    *out = NULL;
    if (ranks->size == 1) return NULL;
    px_gpus *gpus = calloc(1, sizeof *gpus);
    if (!gpus) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = open_side(gpus);
    ncclResult_t code = ranks->rank == 0 ? ncclGetUniqueId(&id) : ncclSuccess;
    if (!err && code != ncclSuccess) {
        text_of(NULL, code, text);
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s", text);
    }
    /* From here on all ranks go to NCCL, or none. */
    err = px_agree_all(ranks, err);
    if (err) {
        px_gpus_close(gpus);
        return err;
    }
    px_bcast_all(ranks, &id, sizeof id, 0);
    gpus->ranks = ranks;
    gpus->stream = (cudaStream_t)stream;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    code = ncclCommInitRankConfig(&gpus->comm, ranks->size, id, ranks->rank, &config);
    code = gpus->comm ? settle(gpus->comm, code) : code;
    if (code != ncclSuccess) {
        text_of(gpus->comm, code, text);
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%s (every rank needs a GPU of its own)", text);
    }
    err = px_agree_all(ranks, err);
    if (err) {
        px_gpus_close(gpus);
        return err;
    }
    *out = gpus;
    return NULL;
}

void px_gpus_close(px_gpus *gpus) {
    if (!gpus) return;
    /* Nothing is under way; a peer that has left already is not waited for. */
    if (gpus->registered) settle(gpus->comm, ncclCommDeregister(gpus->comm, gpus->registered));
    if (gpus->comm) ncclCommAbort(gpus->comm);
    if (gpus->made) cudaEventDestroy(gpus->made);
    if (gpus->side) cudaStreamDestroy(gpus->side);
    free(gpus);
}

void *px_gpus_memory_new(size_t bytes) {
    void *at = NULL;
    return ncclMemAlloc(&at, bytes) == ncclSuccess ? at : NULL;
}
void px_gpus_memory_free(void *at) {
    if (at) ncclMemFree(at);
}

bool px_gpus_register_all(px_gpus *gpus, void *at, size_t bytes) {
    char text[512] = "NCCL takes none";
    if (!gpus) return false;
    ncclResult_t code = ncclCommRegister(gpus->comm, at, bytes, &gpus->registered);
    code = settle(gpus->comm, code);
    if (code != ncclSuccess) {
        text_of(gpus->comm, code, text);
        gpus->registered = NULL;
    }
    if (!gpus->registered) px_debug("sums' memory is not registered: %s", text);
    /* All ranks' memory is registered, or none's. */
    const bool here = gpus->registered != NULL, all = !px_any_all(gpus->ranks, !here);
    if (here && !all) settle(gpus->comm, ncclCommDeregister(gpus->comm, gpus->registered));
    if (!all) gpus->registered = NULL;
    if (all) px_debug("sums' memory is registered: %zu bytes", bytes);
    return all;
}

/* Whether something has failed meanwhile, here or at a peer. */
static void look(px_gpus *gpus) {
    ncclResult_t failed = ncclSuccess;
    check(gpus, ncclCommGetAsyncError(gpus->comm, &failed));
    check(gpus, failed);
}

static void reduce_all(px_gpus *gpus, void *values, size_t n, ncclDataType_t type, ncclRedOp_t op) {
    const size_t size = type == ncclInt64 ? 8 : type == ncclFloat32 ? 4 : 2, most = PX_MPI_CHUNK;
    if (!gpus) return;
    px_err *fault = px_fault(gpus->ranks, "nccl-sum");
    if (fault) end_all(gpus, px_err_text(fault));
    check_cuda(gpus, cudaEventRecord(gpus->made, gpus->stream));
    check_cuda(gpus, cudaStreamWaitEvent(gpus->side, gpus->made, 0));
    for (size_t at = 0; at < n; at += most) {
        char *from = (char *)values + at * size;
        check(gpus,
              ncclAllReduce(from, from, PX_MIN(n - at, most), type, op, gpus->comm, gpus->side));
    }
    look(gpus);
}
void px_gpus_sum_i64_all(px_gpus *gpus, int64_t *values, size_t n) {
    reduce_all(gpus, values, n, ncclInt64, ncclSum);
}
void px_gpus_sum_f32_all(px_gpus *gpus, float *values, size_t n) {
    reduce_all(gpus, values, n, ncclFloat32, ncclSum);
}
void px_gpus_sum_bf16_all(px_gpus *gpus, uint16_t *values, size_t n) {
    reduce_all(gpus, values, n, ncclBfloat16, ncclSum);
}
void px_gpus_max_f32_all(px_gpus *gpus, float *values, size_t n) {
    reduce_all(gpus, values, n, ncclFloat32, ncclMax);
}

void px_gpus_wait_all(px_gpus *gpus) {
    enum { NOT_READY = 600 }; /* cudaErrorNotReady */
    if (!gpus) return;
    px_err *fault = px_fault(gpus->ranks, "nccl");
    if (fault) end_all(gpus, px_err_text(fault));
    for (int looks = 0;; looks++) {
        const cudaError_t state = cudaStreamQuery(gpus->side);
        look(gpus);
        if ((int)state == 0) return;
        if ((int)state != NOT_READY) end_all(gpus, cudaGetErrorString(state));
        pause_between_looks(looks);
    }
}

#endif
