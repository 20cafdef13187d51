/* simt.cc - blocks, threads, barriers, shuffles: see simt.h. */
#include "simt_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fiber.h"

simt_now simt;

namespace {

enum state : uint8_t { READY, AT_BARRIER, AT_WARP, DONE };
enum exchange : uint8_t { SHUFFLE, VOTE, SYNC, MMA, ROWS, COLUMNS };

/* A lane's part in a coming-together of its warp. */
struct posted {
    uint32_t mask;
    exchange kind;
    int source;
    uint64_t value, result;
    const void *a, *b;
    float *c;
    uint32_t *to;
};
struct warp {
    uint32_t arrived; /* lanes that have posted and wait */
    posted lanes[32];
};
/* Copies to shared memory that a thread has asked for and not waited for. */
enum { COPIES_MOST = 256 };
struct copies {
    int n, next;
    simt_copied all[COPIES_MOST];
};

struct machine {
    fiber host, fibers[SIMT_THREADS_MOST];
    bool started[SIMT_THREADS_MOST];
    state states[SIMT_THREADS_MOST];
    warp warps[SIMT_WARPS_MOST];
    copies copied[SIMT_THREADS_MOST];
    int n_done, n_at_barrier;
    void (*run)(void *);
    void *argument;
};
machine m;
int order_of_all;
char first_breach[512], told_breach[512];
bool is_breached, check_wanted;

[[noreturn]] void thread_main() {
    for (;;) {
        const int t = simt.thread;
        m.run(m.argument);
        if (m.copied[t].n) {
            simt_breach("%s: thread %d of block %u ends with %d copies under way", simt.kernel, t,
                        simt.block_number, m.copied[t].n);
            m.copied[t].n = 0;
        }
        m.states[t] = DONE;
        m.n_done++;
        fiber_change(&m.fibers[t], &m.host);
    }
}

void resume(int t) {
    simt.thread = t;
    if (!m.started[t]) {
        m.started[t] = true;
        fiber_start(&m.fibers[t], simt.stacks + (size_t)t * SIMT_STACK, SIMT_STACK, thread_main);
    }
    fiber_change(&m.host, &m.fibers[t]);
}

void wait_as(state why) {
    const int t = simt.thread;
    m.states[t] = why;
    fiber_change(&m.fibers[t], &m.host);
}

/* Nobody can go on: who waits for what. */
void deadlock() {
    int barrier = -1, lane = -1;
    for (int t = 0; t < simt.n_threads; t++) {
        if (m.states[t] == AT_BARRIER) barrier = t;
        if (m.states[t] == AT_WARP) lane = t;
    }
    if (lane < 0)
        simt_breach("%s: block %u waits for ever", simt.kernel, simt.block_number);
    else if (barrier < 0)
        simt_breach("%s: block %u: thread %d waits at a shuffle or __syncwarp of mask %#x that not "
                    "all of its lanes reach",
                    simt.kernel, simt.block_number, lane, m.warps[lane / 32].lanes[lane % 32].mask);
    else
        simt_breach("%s: block %u: thread %d waits at a barrier and thread %d at a shuffle",
                    simt.kernel, simt.block_number, barrier, lane);
}

void run_block() {
    const int n = simt.n_threads;
    memset(m.states, READY, sizeof m.states);
    memset(m.started, 0, sizeof m.started);
    for (warp &w : m.warps) w.arrived = 0;
    for (int t = 0; t < n; t++) m.copied[t].n = m.copied[t].next = 0;
    m.n_done = m.n_at_barrier = 0;
    while (m.n_done < n) {
        bool any = false;
        for (int i = 0; i < n; i++) {
            const int t = order_of_all == 1 ? n - 1 - i : i;
            if (m.states[t] != READY) continue;
            any = true;
            resume(t);
        }
        if (any) continue;
        if (m.n_at_barrier == 0 || m.n_at_barrier != n - m.n_done) return deadlock();
        for (int t = 0; t < n; t++)
            if (m.states[t] == AT_BARRIER) m.states[t] = READY;
        m.n_at_barrier = 0;
        simt.epoch++;
    }
}

/* Fragments of m16n8k16: lane = 4 · (row of 8) + (pair of columns). */
void multiply(posted *lanes) {
    float a[16][16], b[16][8];
    auto wide = [](uint32_t word, int half) {
        const uint32_t bits = half ? word & 0xFFFF0000u : word << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    };
    for (int l = 0; l < 32; l++)
        for (int half = 0; half < 2; half++) {
            const uint32_t *la = (const uint32_t *)lanes[l].a, *lb = (const uint32_t *)lanes[l].b;
            const int g = l / 4, k = l % 4 * 2 + half;
            for (int r = 0; r < 4; r++) a[g + r % 2 * 8][k + r / 2 * 8] = wide(la[r], half);
            for (int r = 0; r < 2; r++) b[k + r * 8][g] = wide(lb[r], half);
        }
    for (int l = 0; l < 32; l++)
        for (int r = 0; r < 4; r++) {
            const int i = l / 4 + r / 2 * 8, j = l % 4 * 2 + r % 2;
            float sum = lanes[l].c[r];
            for (int k = 0; k < 16; k++) sum = fmaf(a[i][k], b[k][j], sum);
            lanes[l].c[r] = sum;
        }
}

/* Rows of four matrices of 8 by 8 become fragments. */
void deal(posted *lanes, bool turned) {
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            const int g = l / 4, t = l % 4;
            auto word = [&](int row, int k) { return ((const uint32_t *)lanes[8 * i + row].a)[k]; };
            const int half = g % 2 * 16;
            lanes[l].to[i] = turned ? (word(2 * t, g / 2) >> half & 0xFFFFu) |
                                          (word(2 * t + 1, g / 2) >> half) << 16
                                    : word(g, t);
        }
}

/* The last lane of a mask has come: everyone's result. */
void resolve(warp *w, uint32_t mask, exchange kind) {
    uint64_t votes = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1 && w->lanes[l].value) votes |= 1ull << l;
    if (kind == MMA) multiply(w->lanes);
    if (kind == ROWS || kind == COLUMNS) deal(w->lanes, kind == COLUMNS);
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        posted *p = &w->lanes[l];
        if (kind == VOTE) p->result = votes;
        if (kind != SHUFFLE) continue;
        if (!(mask >> p->source & 1))
            simt_breach("%s: block %u: a shuffle of mask %#x asks lane %d outside it", simt.kernel,
                        simt.block_number, mask, p->source);
        p->result = w->lanes[p->source].value;
    }
    w->arrived &= ~mask;
}

uint64_t come_together(posted mine) {
    const int t = simt.thread, lane = t % 32;
    warp *w = &m.warps[t / 32];
    w->lanes[lane] = mine;
    w->arrived |= 1u << lane;
    bool all = (w->arrived & mine.mask) == mine.mask;
    for (int l = 0; all && l < 32; l++)
        if (mine.mask >> l & 1)
            all = w->lanes[l].mask == mine.mask && w->lanes[l].kind == mine.kind;
    if (!all) {
        wait_as(AT_WARP);
    } else {
        resolve(w, mine.mask, mine.kind);
        for (int l = 0; l < 32; l++)
            if (mine.mask >> l & 1) m.states[t / 32 * 32 + l] = READY;
        simt.warp_epoch[t / 32]++;
    }
    return w->lanes[lane].result;
}

uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    return x ^ x >> 16;
}

/* The i-th block to run: a permutation by a multiplier prime to n. */
uint32_t block_at(uint32_t i, uint32_t n) {
    if (order_of_all == 0) return i;
    if (order_of_all == 1) return n - 1 - i;
    uint32_t step = mix((uint32_t)order_of_all) % n | 1, a, b;
    do {
        step += 2;
        for (a = step, b = n; b;) {
            const uint32_t rest = a % b;
            a = b;
            b = rest;
        }
    } while (a != 1);
    return (uint32_t)(((uint64_t)i * step + (uint64_t)order_of_all) % n);
}

/* What kernels were allowed of shared memory. */
struct allowance {
    const void *kernel;
    size_t bytes;
} allowances[128];
int n_allowances;

size_t allowed(const void *kernel) {
    for (int i = 0; i < n_allowances; i++)
        if (allowances[i].kernel == kernel) return allowances[i].bytes;
    return SIMT_SHARED_FREE;
}

bool get_memory() {
    if (simt.stacks) return true;
    void *stacks = mmap(nullptr, SIMT_STACK * SIMT_THREADS_MOST, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    simt.shared = (char *)aligned_alloc(128, (SIMT_SHARED_MOST + 127) / 128 * 128);
    if (stacks == MAP_FAILED || !simt.shared) {
        simt_breach("no memory for stacks");
        return false;
    }
    simt.stacks = (char *)stacks;
    return true;
}

} // namespace

void simt_breach(const char *format, ...) {
    if (is_breached) return;
    va_list args;
    va_start(args, format);
    vsnprintf(first_breach, sizeof first_breach, format, args);
    va_end(args);
    is_breached = true;
}

cudaError_t simt_allow(const void *kernel, int bytes) {
    if (bytes < 0 || (size_t)bytes > SIMT_SHARED_MOST) return cudaErrorInvalidValue;
    int i = 0;
    while (i < n_allowances && allowances[i].kernel != kernel) i++;
    if (i == (int)(sizeof allowances / sizeof *allowances)) return cudaErrorMemoryAllocation;
    if (i == n_allowances) n_allowances++;
    allowances[i] = {kernel, (size_t)bytes > SIMT_SHARED_FREE ? (size_t)bytes : SIMT_SHARED_FREE};
    return cudaSuccess;
}
bool simt_is_launchable(const char *name, const void *kernel, dim3 grid, dim3 block,
                        size_t shared) {
    const unsigned n = block.x * block.y * block.z;
    if (n == 0 || n > SIMT_THREADS_MOST || block.y != 1 || block.z != 1)
        simt_breach("%s: blocks of %u x %u x %u threads", name, block.x, block.y, block.z);
    else if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 ||
             grid.z > 65535)
        simt_breach("%s: a grid of %u x %u x %u blocks", name, grid.x, grid.y, grid.z);
    else if (shared > allowed(kernel))
        simt_breach("%s: %zu bytes of shared memory, and %zu are allowed (cudaFuncSetAttribute)",
                    name, shared, allowed(kernel));
    else
        return true;
    return false;
}

const char *simt_error(void) {
    if (!is_breached) return nullptr;
    memcpy(told_breach, first_breach, sizeof told_breach);
    is_breached = false;
    return told_breach;
}
void simt_check(int on) { check_wanted = on != 0; }
void simt_order(int order) { order_of_all = order; }

void simt_run(const char *name, dim3 grid, dim3 block, size_t shared, void (*run)(void *),
              void *argument) {
    simt.kernel = name;
    if (!get_memory()) return;
    simt.grid = grid;
    simt.block_dim = block;
    simt.n_threads = (int)block.x;
    simt.launch++;
    simt.host_stack = (const char *)__builtin_frame_address(0);
    simt.checking = check_wanted;
    m.run = run;
    m.argument = argument;
    simt.running = true;
    const uint32_t n = grid.x * grid.y * grid.z;
    for (uint32_t i = 0; i < n && !is_breached; i++) {
        const uint32_t at = block_at(i, n);
        simt.block = dim3(at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y);
        simt.block_number = at;
        /* What was not written is no number. */
        if (simt.checking) memset(simt.shared, 0xFF, shared);
        run_block();
        simt.epoch++;
    }
    simt.running = false;
}

void *simt_shared() { return simt.shared; }
unsigned simt_thread_x() { return (unsigned)simt.thread; }
dim3 simt_block() { return simt.block; }
dim3 simt_block_dim() { return simt.block_dim; }
dim3 simt_grid_dim() { return simt.grid; }

void __syncthreads() {
    m.n_at_barrier++;
    wait_as(AT_BARRIER);
}
void __syncwarp(unsigned mask) {
    posted p = {};
    p.mask = mask;
    p.kind = SYNC;
    come_together(p);
}
void __threadfence() {}
uint64_t simt_shuffle(unsigned mask, uint64_t value, int source) {
    posted p = {};
    p.mask = mask;
    p.kind = SHUFFLE;
    p.value = value;
    p.source = source;
    return come_together(p);
}
unsigned __ballot_sync(unsigned mask, int predicate) {
    posted p = {};
    p.mask = mask;
    p.kind = VOTE;
    p.value = predicate != 0;
    return (unsigned)come_together(p);
}
void simt_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    posted p = {};
    p.mask = 0xFFFFFFFFu;
    p.kind = MMA;
    p.a = a;
    p.b = b;
    p.c = c;
    come_together(p);
}
void simt_exchange_matrices(uint32_t to[4], const uint32_t row[4], int turned) {
    posted p = {};
    p.mask = 0xFFFFFFFFu;
    p.kind = turned ? COLUMNS : ROWS;
    p.a = row;
    p.to = to;
    come_together(p);
}
void simt_aligned(const void *at, size_t bytes) {
    if ((uintptr_t)at % bytes == 0) return;
    simt_breach("%s: thread %d of block %u: %p is no multiple of %zu", simt.kernel, simt.thread,
                simt.block_number, at, bytes);
}
void simt_copy_later(simt_copied it) {
    copies *own = &m.copied[simt.thread];
    if (own->n == COPIES_MOST)
        simt_breach("%s: thread %d of block %u waits for none of %d copies", simt.kernel,
                    simt.thread, simt.block_number, COPIES_MOST);
    else
        own->all[own->n++] = it;
}
bool simt_next_copy(simt_copied *it) {
    copies *own = &m.copied[simt.thread];
    if (own->next == own->n) {
        own->next = own->n = 0;
        return false;
    }
    *it = own->all[own->next++];
    return true;
}

template <typename T> static T fetch_add(T *at, T value) {
    const T before = *at;
    *at = before + value;
    return before;
}
int atomicAdd(int *at, int value) { return fetch_add(at, value); }
unsigned atomicAdd(unsigned *at, unsigned value) { return fetch_add(at, value); }
unsigned long long atomicAdd(unsigned long long *at, unsigned long long value) {
    return fetch_add(at, value);
}
unsigned long long atomicMin(unsigned long long *at, unsigned long long value) {
    const unsigned long long before = *at;
    if (value < before) *at = value;
    return before;
}
int atomicMax(int *at, int value) {
    const int before = *at;
    if (value > before) *at = value;
    return before;
}
unsigned atomicMax(unsigned *at, unsigned value) {
    const unsigned before = *at;
    if (value > before) *at = value;
    return before;
}
int atomicCAS(int *at, int compare, int value) {
    const int before = *at;
    if (before == compare) *at = value;
    return before;
}
