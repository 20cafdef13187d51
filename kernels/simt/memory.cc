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
/* Regions, of which only pieces may be touched (simt_region). */
enum { REGIONS_MOST = 64 };
piece regions[REGIONS_MOST];
int n_regions;
simt_memory_facts facts;

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

/* Bytes of a collective that was not waited for. */
bool is_reduced(const void *at, size_t bytes) {
    if (bytes == 0 || !simt_is_lent(at, bytes, SIMT_REDUCED)) return false;
    simt_breach("%zu bytes at %p are touched, which a collective works on that was not waited for",
                bytes, at);
    return true;
}

bool copy_is_sound(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0 || kind == cudaMemcpyDefault) return true;
    if (is_reduced(to, bytes) || is_reduced(from, bytes)) return false;
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if (simt_is_device(to, bytes) == to_device && simt_is_device(from, bytes) == from_device)
        return true;
    simt_breach("a copy of %zu bytes from %p to %p goes another way than it says", bytes, from, to);
    return false;
}

/* A breach shows as a failed launch would, with its text. */
char text[512];
cudaError_t breach_error() {
    const char *breach = simt_error();
    if (!breach) return cudaSuccess;
    strncpy(text, breach, sizeof text - 1);
    return cudaErrorLaunchFailure;
}

struct pinned_piece {
    char *at;
    size_t bytes;
    bool mapped; /* kernels may read it */
};
pinned_piece *pinned;
size_t n_pinned;

const pinned_piece *pinned_at(const void *at, size_t bytes) {
    for (size_t i = 0; i < n_pinned; i++)
        if ((const char *)at >= pinned[i].at &&
            (const char *)at + bytes <= pinned[i].at + pinned[i].bytes)
            return &pinned[i];
    return nullptr;
}
bool is_pinned(const void *at, size_t bytes) { return pinned_at(at, bytes) != nullptr; }

cudaError_t pin(void **out, size_t bytes, bool mapped) {
    if (const cudaError_t code = simt_forbidden(nullptr)) return code;
    pinned_piece *more = (pinned_piece *)realloc(pinned, (n_pinned + 1) * sizeof *more);
    if (!more) return cudaErrorMemoryAllocation;
    pinned = more;
    char *at = (char *)aligned_alloc(256, bytes / 256 * 256 + 256);
    if (!at) return cudaErrorMemoryAllocation;
    pinned[n_pinned++] = pinned_piece{at, bytes, mapped};
    *out = at;
    return cudaSuccess;
}

struct copy {
    void *to;
    size_t to_pitch;
    const void *from;
    size_t from_pitch, width, height;
    cudaMemcpyKind kind;
};
bool rows_copy(const copy &c) {
    for (size_t i = 0; i < c.height; i++) {
        char *to = (char *)c.to + i * c.to_pitch;
        const char *from = (const char *)c.from + i * c.from_pitch;
        if (!copy_is_sound(to, from, c.width, c.kind)) return false;
        if (c.width) memmove(to, from, c.width);
    }
    return true;
}
void kept_copy(void *it) { rows_copy(*(const copy *)it); }
int held_copy(void *it) {
    rows_copy(*(const copy *)it);
    return 0;
}
/* The rows that a copy found lie behind it, one after another. */
int held_rows(void *it) {
    copy c = *(const copy *)it;
    c.from = (const char *)it + sizeof c;
    c.from_pitch = c.width;
    rows_copy(c);
    return 0;
}
cudaError_t hold_rows(cudaStream_t s, const copy &c) {
    const size_t bytes = c.width * c.height;
    char *found = (char *)malloc(bytes + 1);
    if (!found) return cudaErrorMemoryAllocation;
    for (size_t i = 0; i < c.height; i++)
        memcpy(found + i * c.width, (const char *)c.from + i * c.from_pitch, c.width);
    const cudaError_t code = simt_ask(s, held_rows, &c, sizeof c, found, bytes);
    free(found);
    return code;
}
/* Now, or for the stream's graph, which takes no memory that may be paged out, or later. */
cudaError_t copy_on(cudaStream_t s, const copy &c) {
    const size_t to_bytes = c.height ? (c.height - 1) * c.to_pitch + c.width : 0;
    const size_t from_bytes = c.height ? (c.height - 1) * c.from_pitch + c.width : 0;
    const bool to_pages = c.kind == cudaMemcpyDeviceToHost && !is_pinned(c.to, to_bytes);
    const bool from_pages = c.kind == cudaMemcpyHostToDevice && !is_pinned(c.from, from_bytes);
    if (simt_is_captured(s)) {
        if (to_pages || from_pages) return simt_forbidden(s);
        return simt_keep(s, kept_copy, &c, sizeof c);
    }
    if (!to_pages && !simt_runs_now(s))
        return from_pages ? hold_rows(s, c) : simt_ask(s, held_copy, &c, sizeof c, nullptr, 0);
    if (s) simt_finish(s);
    return rows_copy(c) ? cudaSuccess : breach_error();
}

struct setting {
    void *at;
    int value;
    size_t bytes;
};
bool set_bytes(const setting &s) {
    if (is_reduced(s.at, s.bytes)) return false;
    if (s.bytes && !simt_is_device(s.at, s.bytes)) {
        simt_breach("%p is set, which is no device memory of %zu bytes", s.at, s.bytes);
        return false;
    }
    if (s.bytes) memset(s.at, s.value, s.bytes);
    return true;
}
void kept_setting(void *it) { set_bytes(*(const setting *)it); }
int held_setting(void *it) {
    set_bytes(*(const setting *)it);
    return 0;
}
bool add_piece(char *at, size_t bytes) {
    if (n_pieces == room) {
        const size_t wider = room ? 2 * room : 64;
        piece *more = (piece *)realloc(pieces, wider * sizeof *more);
        if (!more) return false;
        pieces = more;
        room = wider;
    }
    const size_t i = after(at);
    memmove(pieces + i + 1, pieces + i, (n_pieces - i) * sizeof *pieces);
    pieces[i] = piece{at, bytes};
    n_pieces++;
    return true;
}
/* Looks whether somebody wrote behind it. 0: there is no such piece. */
bool drop_piece(void *at, const char *what, size_t *bytes) {
    const size_t i = after((const char *)at);
    if (i == 0 || pieces[i - 1].at != at) {
        simt_breach("%s of %p, which is no piece of device memory", what, at);
        return false;
    }
    *bytes = pieces[i - 1].bytes;
    if (simt_is_lent(at, *bytes, SIMT_REDUCED))
        simt_breach("%s of %p, which a collective works on that was not waited for", what, at);
    if (simt_is_lent(at, *bytes, SIMT_REGISTERED))
        simt_breach("%s of %p, which is registered with a communicator", what, at);
    const unsigned char *gap = (const unsigned char *)at + *bytes;
    for (int k = 0; k < GAP; k++)
        if (gap[k] != 0xFF) simt_breach("%p was written %d bytes past its end", at, k);
    memmove(pieces + i - 1, pieces + i, (n_pieces - i) * sizeof *pieces);
    if (--n_pieces == 0) {
        free(pieces);
        pieces = nullptr;
        room = 0;
    }
    return true;
}

/* Of the card that the tests have; PX_SIMT_MEMORY makes it a smaller one. */
size_t card_bytes() {
    const char *wanted = getenv("PX_SIMT_MEMORY");
    const double bytes = wanted ? strtod(wanted, nullptr) : 0;
    return bytes > 0 ? (size_t)bytes : (size_t)1 << 34;
}

} // namespace

void simt_memory(simt_memory_facts *out) { *out = facts; }

void simt_region(void *at) {
    size_t bytes = 0;
    if (n_regions == REGIONS_MOST || !drop_piece(at, "a region", &bytes)) return;
    regions[n_regions++] = piece{(char *)at, bytes};
}
void simt_piece(void *at, size_t bytes) {
    for (int i = 0; i < n_regions; i++) {
        const piece r = regions[i];
        if ((char *)at < r.at || (char *)at + bytes + GAP > r.at + r.bytes) continue;
        memset(at, 0xFF, bytes + GAP);
        if (!add_piece((char *)at, bytes)) simt_breach("no memory for the list of pieces");
        return;
    }
    simt_breach("a piece of %zu bytes at %p, in no region", bytes, at);
}
void simt_piece_end(void *at) {
    size_t bytes = 0;
    simt_finish_main(); /* what is in its queue comes before what will use the memory anew */
    if (drop_piece(at, "the end", &bytes)) memset(at, 0xFF, bytes);
}

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
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int) {
    memset(out, 0, sizeof *out);
    strcpy(out->name, "none: kernels run on the processor");
    out->totalGlobalMem = card_bytes();
    out->major = 8;
    out->multiProcessorCount = 1;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = card_bytes();
    *free_bytes = facts.held < *total ? *total - facts.held : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    if (const cudaError_t code = simt_forbidden(nullptr)) return code;
    const size_t whole = (bytes + GAP + 255) / 256 * 256;
    if (whole < bytes || facts.held + bytes > card_bytes()) return cudaErrorMemoryAllocation;
    char *at = (char *)aligned_alloc(256, whole);
    if (!at) return cudaErrorMemoryAllocation;
    memset(at, 0xFF, whole); /* no numbers */
    if (!add_piece(at, bytes)) {
        free(at);
        return cudaErrorMemoryAllocation;
    }
    facts.held += bytes;
    if (facts.held > facts.most) facts.most = facts.held;
    facts.n_taken++;
    *out = at;
    return cudaSuccess;
}
cudaError_t cudaFree(void *at) {
    size_t bytes = 0;
    if (!at) return cudaSuccess;
    if (const cudaError_t code = simt_forbidden(nullptr)) return code;
    simt_finish_main(); /* a card waits */
    for (int i = 0; i < n_regions; i++)
        if (regions[i].at == at) {
            bytes = regions[i].bytes;
            while (n_pieces && after((char *)at + bytes) > after((char *)at - 1)) {
                size_t lost = 0;
                drop_piece(pieces[after((char *)at - 1)].at, "the end", &lost);
            }
            regions[i] = regions[--n_regions];
            facts.held -= bytes;
            free(at);
            return cudaSuccess;
        }
    if (!drop_piece(at, "cudaFree", &bytes)) return cudaErrorLaunchFailure;
    facts.held -= bytes;
    free(at);
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *at) {
    out->type = simt_is_device(at, 1) ? cudaMemoryTypeDevice
                : is_pinned(at, 1)    ? cudaMemoryTypeHost
                                      : cudaMemoryTypeUnregistered;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) { return pin(out, bytes, false); }
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags) {
    return flags == cudaHostAllocMapped ? pin(out, bytes, true) : cudaErrorInvalidValue;
}
bool simt_is_mapped(const void *at, size_t bytes) {
    const pinned_piece *p = pinned_at(at, bytes);
    return p && p->mapped;
}
cudaError_t cudaFreeHost(void *at) {
    if (const cudaError_t code = simt_forbidden(nullptr)) return code;
    for (size_t i = 0; i < n_pinned; i++) {
        if (pinned[i].at != at) continue;
        free(at);
        pinned[i] = pinned[--n_pinned];
        if (n_pinned == 0) {
            free(pinned);
            pinned = nullptr;
        }
        return cudaSuccess;
    }
    simt_breach("cudaFreeHost of %p, which cudaMallocHost did not give", at);
    return cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s) {
    return copy_on(s, copy{to, bytes, from, bytes, bytes, 1, kind});
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t s) {
    if (width > to_pitch || width > from_pitch || to_pitch > INT32_MAX || from_pitch > INT32_MAX)
        return cudaErrorInvalidPitchValue; /* memPitch of every card so far */
    return copy_on(s, copy{to, to_pitch, from, from_pitch, width, height, kind});
}
cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t s) {
    const setting it = {at, value, bytes};
    if (simt_is_captured(s)) return simt_keep(s, kept_setting, &it, sizeof it);
    if (!simt_runs_now(s)) return simt_ask(s, held_setting, &it, sizeof it, nullptr, 0);
    return set_bytes(it) ? cudaSuccess : breach_error();
}

cudaError_t cudaGetLastError() {
    const cudaError_t code = breach_error();
    return code == cudaSuccess ? simt_late_error() : code;
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
    if (code == cudaErrorInvalidPitchValue) return "invalid pitch";
    if (code == cudaErrorStreamCaptureUnsupported) return "not allowed while a stream is captured";
    if (code == cudaErrorStreamCaptureInvalidated) return "the capture was broken before";
    return code == cudaErrorLaunchFailure && text[0] ? text : "another error";
}
