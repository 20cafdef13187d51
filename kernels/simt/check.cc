/* check.cc - every load and store of code compiled with -fsanitize=thread comes here: the names are
 * those that the compiler calls, the answers are ours. A table holds, for each two bytes used in
 * the present launch, who last wrote and read them and between which barriers. */
#include "simt_internal.h"

#include <stdio.h>
#include <stdlib.h>

namespace {

enum { GRANULE = 2, NOBODY = -1, SEVERAL = -2 };

struct cell {
    uintptr_t key;
    uint32_t launch, block, epoch;
    uint32_t write_warp_epoch, read_warp_epoch;
    int16_t writer, reader; /* since the last barrier */
    bool was_written;       /* in this launch */
};
cell *cells;
size_t n_cells, n_used;
uint32_t used_launch;

cell *place(cell *table, size_t size, uintptr_t key) {
    size_t at = (size_t)(key * 0x9E3779B97F4A7C15u >> 20) & (size - 1);
    while (table[at].launch == simt.launch && table[at].key != key) at = (at + 1) & (size - 1);
    return &table[at];
}

bool grow() {
    const size_t size = n_cells ? 2 * n_cells : 1 << 16;
    cell *wider = (cell *)calloc(size, sizeof *wider);
    if (!wider) return false;
    for (size_t i = 0; i < n_cells; i++)
        if (cells[i].launch == simt.launch) *place(wider, size, cells[i].key) = cells[i];
    free(cells);
    cells = wider;
    n_cells = size;
    return true;
}

cell *find(uintptr_t key) {
    if (used_launch != simt.launch) {
        used_launch = simt.launch;
        n_used = 0;
    }
    if (2 * n_used >= n_cells && !grow()) return nullptr;
    cell *c = place(cells, n_cells, key);
    if (c->launch != simt.launch) {
        *c = cell{key, simt.launch, simt.block_number, simt.epoch, 0, 0, NOBODY, NOBODY, false};
        n_used++;
    }
    return c;
}

/* Whether a warp's own barrier lies between thread `other`'s use and this thread's. */
bool ordered(int other, uint32_t then) {
    const int t = simt.thread;
    return other == t || (other >= 0 && other / 32 == t / 32 && simt.warp_epoch[t / 32] != then);
}

void tell_race(uintptr_t at, bool write, const char *what, int other) {
    char name[24];
    snprintf(name, sizeof name, other == SEVERAL ? "several threads" : "thread %d", other);
    simt_breach("%s: race at %#lx: thread %d of block %u %s what %s %s without a barrier between",
                simt.kernel, (unsigned long)at, simt.thread, simt.block_number,
                write ? "writes" : "reads", name, what);
}

void use(uintptr_t key, bool write, bool is_shared) {
    cell *c = find(key);
    if (!c) return;
    if (c->block != simt.block_number || c->epoch != simt.epoch) {
        if (c->block != simt.block_number && !is_shared && (write || c->was_written))
            simt_breach("%s: race at %#lx: thread %d of block %u %s what block %u used before",
                        simt.kernel, (unsigned long)(key * GRANULE), simt.thread, simt.block_number,
                        write ? "writes" : "reads", c->block);
        c->block = simt.block_number;
        c->epoch = simt.epoch;
        c->writer = c->reader = NOBODY;
    }
    const uint32_t warp_epoch = simt.warp_epoch[simt.thread / 32];
    if (c->writer != NOBODY && !ordered(c->writer, c->write_warp_epoch))
        tell_race(key * GRANULE, write, "wrote", c->writer);
    if (write && c->reader != NOBODY && !ordered(c->reader, c->read_warp_epoch))
        tell_race(key * GRANULE, write, "read", c->reader);
    if (write) {
        c->writer = (int16_t)simt.thread;
        c->write_warp_epoch = warp_epoch;
        c->reader = NOBODY;
        c->was_written = true;
    } else {
        c->reader = c->reader == NOBODY || ordered(c->reader, c->read_warp_epoch)
                        ? (int16_t)simt.thread
                        : (int16_t)SEVERAL;
        c->read_warp_epoch = warp_epoch;
    }
}

extern "C" char __data_start, _end; /* the linker's: static shared memory lies between */

/* A card reads and writes nothing across its own size. */
void aligned(const void *at, size_t bytes, bool write) {
    if (!simt.running || !simt.checking || (uintptr_t)at % bytes == 0) return;
    simt_breach("%s: misaligned: thread %d of block %u %s %zu bytes at %p", simt.kernel,
                simt.thread, simt.block_number, write ? "writes" : "reads", bytes, at);
}

void access(const void *at, size_t bytes, bool write) {
    if (!simt.running || !simt.checking) return;
    const char *p = (const char *)at;
    const char *mine = simt.stacks + (size_t)simt.thread * SIMT_STACK;
    if (p >= mine && p + bytes <= mine + SIMT_STACK) return;
    const bool is_dynamic = p >= simt.shared && p + bytes <= simt.shared + SIMT_SHARED_MOST;
    const bool is_static = p >= &__data_start && p + bytes <= &_end;
    if (!is_dynamic && !is_static && !simt_is_device(at, bytes)) {
        /* Arguments of the kernel lie in the frames of who launched it; constants are read. */
        const bool is_argument = p >= simt.host_stack && p < simt.host_stack + (1 << 20);
        if (!write && (is_argument || simt_is_mapped(at, bytes))) return;
        simt_breach("%s: thread %d of block %u %s %zu bytes at %p, which is no device memory",
                    simt.kernel, simt.thread, simt.block_number, write ? "writes" : "reads", bytes,
                    at);
        return;
    }
    if (simt_is_lent(at, bytes, SIMT_REDUCED))
        simt_breach("%s: thread %d of block %u %s %p, which a collective works on that was not "
                    "waited for",
                    simt.kernel, simt.thread, simt.block_number, write ? "writes" : "reads", at);
    for (uintptr_t key = (uintptr_t)at / GRANULE; key <= ((uintptr_t)at + bytes - 1) / GRANULE;
         key++)
        use(key, write, is_dynamic || is_static);
}

} // namespace

#define ACCESS(kind, n, write)                                                                     \
    void __tsan_##kind##n(void *at);                                                               \
    void __tsan_##kind##n(void *at) {                                                              \
        aligned(at, n, write);                                                                     \
        access(at, n, write);                                                                      \
    }
/* What the compiler put together itself, of parts that are aligned. */
#define UNALIGNED(kind, n, write)                                                                  \
    void __tsan_unaligned_##kind##n(void *at);                                                     \
    void __tsan_unaligned_##kind##n(void *at) { access(at, n, write); }
extern "C" {
ACCESS(read, 1, false)
ACCESS(read, 2, false)
ACCESS(read, 4, false)
ACCESS(read, 8, false)
ACCESS(read, 16, false)
ACCESS(write, 1, true)
ACCESS(write, 2, true)
ACCESS(write, 4, true)
ACCESS(write, 8, true)
ACCESS(write, 16, true)
UNALIGNED(read, 2, false)
UNALIGNED(read, 4, false)
UNALIGNED(read, 8, false)
UNALIGNED(read, 16, false)
UNALIGNED(write, 2, true)
UNALIGNED(write, 4, true)
UNALIGNED(write, 8, true)
UNALIGNED(write, 16, true)
void __tsan_read_range(void *at, size_t n);
void __tsan_write_range(void *at, size_t n);
void __tsan_init();
void __tsan_func_entry(void *);
void __tsan_func_exit();
void __tsan_read_range(void *at, size_t n) { access(at, n, false); }
void __tsan_write_range(void *at, size_t n) { access(at, n, true); }
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
}
