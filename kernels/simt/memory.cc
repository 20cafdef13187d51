/* memory.cc - stand-ins for the CUDA runtime: device memory is the host's, but kept apart, so that
 * what a kernel touches and which way a copy goes can be checked. */
#include "simt_internal.h"

#include <stdlib.h>
#include <string.h>

namespace {

enum { GAP = 256 }; /* nobody's bytes after each piece of device memory */

struct piece {
    char *at;
    size_t bytes;
};
piece *pieces; /* by address */
size_t n_pieces, room, last;

/* First piece that begins after `at`. */
size_t after(const char *at) {
    size_t low = 0, high = n_pieces;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (pieces[middle].at <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
bool holds(size_t i, const char *at, size_t bytes) {
    return at >= pieces[i].at && at + bytes <= pieces[i].at + pieces[i].bytes;
}

bool copy_is_sound(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0 || kind == cudaMemcpyDefault) return true;
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (simt_is_device(to, bytes) == to_device && simt_is_device(from, bytes) == from_device)
        return true;
    simt_breach("a copy of %zu bytes from %p to %p goes another way than it says", bytes, from, to);
    return false;
}

} // namespace

int (*simt_pending)();

bool simt_is_device(const void *at, size_t bytes) {
    if (last < n_pieces && holds(last, (const char *)at, bytes)) return true;
    const size_t i = after((const char *)at);
    if (i == 0 || !holds(i - 1, (const char *)at, bytes)) return false;
    last = i - 1;
    return true;
}

cudaError_t cudaGetDeviceCount(int *n) {
    *n = 64; /* as many as there may be ranks of a node in tests */
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device < 64 ? cudaSuccess : 101; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int) {
    memset(out, 0, sizeof *out);
    strcpy(out->name, "none: kernels run on the processor");
    out->totalGlobalMem = (size_t)1 << 34;
    out->major = 8;
    out->multiProcessorCount = 1;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = *total = (size_t)1 << 34;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    if (n_pieces == room) {
        const size_t wider = room ? 2 * room : 64;
        piece *more = (piece *)realloc(pieces, wider * sizeof *more);
        if (!more) return cudaErrorMemoryAllocation;
        pieces = more;
        room = wider;
    }
    const size_t whole = (bytes + GAP + 255) / 256 * 256;
    char *at = whole < bytes ? nullptr : (char *)aligned_alloc(256, whole);
    if (!at) return cudaErrorMemoryAllocation;
    memset(at, 0xFF, whole); /* no numbers */
    const size_t i = after(at);
    memmove(pieces + i + 1, pieces + i, (n_pieces - i) * sizeof *pieces);
    pieces[i] = piece{at, bytes};
    n_pieces++;
    *out = at;
    return cudaSuccess;
}
cudaError_t cudaFree(void *at) {
    if (!at) return cudaSuccess;
    const size_t i = after((const char *)at);
    if (i == 0 || pieces[i - 1].at != at) {
        simt_breach("cudaFree of %p, which is no piece of device memory", at);
        return cudaErrorLaunchFailure;
    }
    const unsigned char *gap = (const unsigned char *)at + pieces[i - 1].bytes;
    for (int k = 0; k < GAP; k++)
        if (gap[k] != 0xFF) simt_breach("%p was written %d bytes past its end", at, k);
    free(at);
    memmove(pieces + i - 1, pieces + i, (n_pieces - i) * sizeof *pieces);
    if (--n_pieces == 0) {
        free(pieces);
        pieces = nullptr;
        room = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *at) {
    out->type = simt_is_device(at, 1) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
    simt_settle();
    if (!copy_is_sound(to, from, bytes, kind)) return cudaErrorLaunchFailure;
    if (bytes) memmove(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t) {
    simt_settle();
    for (size_t i = 0; i < height; i++) {
        char *row_to = (char *)to + i * to_pitch;
        const char *row_from = (const char *)from + i * from_pitch;
        if (!copy_is_sound(row_to, row_from, width, kind)) return cudaErrorLaunchFailure;
        if (width) memmove(row_to, row_from, width);
    }
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t) {
    simt_settle();
    if (bytes && !simt_is_device(at, bytes)) {
        simt_breach("%p is set, which is no device memory of %zu bytes", at, bytes);
        return cudaErrorLaunchFailure;
    }
    if (bytes) memset(at, value, bytes);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *out) {
    *out = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

/* A breach shows as a failed launch would, with its text. */
static char text[512];
cudaError_t cudaGetLastError() {
    const char *breach = simt_error();
    if (!breach) return cudaSuccess;
    strncpy(text, breach, sizeof text - 1);
    return cudaErrorLaunchFailure;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    simt_settle();
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) {
    return simt_pending && simt_pending() ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 0;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 0;
    return cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t code) {
    if (code == cudaErrorMemoryAllocation) return "out of memory";
    return code == cudaErrorLaunchFailure && text[0] ? text : "another error";
}
