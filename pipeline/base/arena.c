/* arena.c - see arena.h. Blocks form a stack; `used` counts bytes over all blocks, padding
 * included, so that a mark is one number. */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64u

typedef struct block {
    struct block *before;
    unsigned char *data;
    size_t size, used, base; /* base: arena bytes in use below this block */
} block;

struct px_arena {
    block *top;
    size_t block_bytes, peak, refused;
    bool fixed;
};

size_t px_product3(size_t a, size_t b, size_t c) {
    size_t ab = 0, abc = 0;
    if (__builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc)) return SIZE_MAX;
    return abc;
}

static block *block_new(size_t size, block *before) {
    block *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        free(b);
        return NULL;
    }
    b->data = data;
    b->size = size;
    b->before = before;
    b->base = before ? before->base + before->used : 0;
    return b;
}

static px_err *arena_open(size_t bytes, bool fixed, px_arena **out) {
    px_arena *arena = calloc(1, sizeof *arena);
    if (!arena) PX_NO_MEMORY();
    arena->block_bytes = bytes < 4096 ? 4096 : bytes;
    arena->fixed = fixed;
    arena->top = block_new(arena->block_bytes, NULL);
    if (!arena->top) {
        free(arena);
        PX_FAIL(PX_RUN_FAILED, "out of memory: an arena of %zu bytes", bytes);
    }
    *out = arena;
    return NULL;
}

px_err *px_arena_new(size_t block_bytes, px_arena **out) {
    return arena_open(block_bytes, false, out);
}

px_err *px_arena_new_fixed(size_t bytes, px_arena **out) { return arena_open(bytes, true, out); }

void px_arena_free(px_arena *arena) {
    if (!arena) return;
    while (arena->top) {
        block *b = arena->top;
        arena->top = b->before;
        munmap(b->data, b->size);
        free(b);
    }
    free(arena);
}

static bool arena_grow(px_arena *arena, size_t bytes) {
    size_t size = bytes > arena->block_bytes ? bytes : arena->block_bytes;
    block *b = block_new(size, arena->top);
    if (b) arena->top = b;
    return b != NULL;
}

void *px_arena_take_raw(px_arena *arena, size_t count, size_t size) {
    size_t bytes = 0;
    if (arena->refused) return NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        arena->refused = SIZE_MAX;
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes == 0) bytes = ALIGN;
    if (bytes > arena->top->size - arena->top->used &&
        (arena->fixed || !arena_grow(arena, bytes))) {
        arena->refused = bytes;
        return NULL;
    }
    block *b = arena->top;
    void *data = b->data + b->used;
    b->used += bytes;
    if (b->base + b->used > arena->peak) arena->peak = b->base + b->used;
    return data;
}

void *px_arena_take(px_arena *arena, size_t count, size_t size) {
    void *data = px_arena_take_raw(arena, count, size);
    if (data) memset(data, 0, count * size);
    return data;
}

char *px_arena_text(px_arena *arena, const char *text, size_t length) {
    char *copy = px_arena_take_raw(arena, length + 1, 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

px_err *px_arena_ok(const px_arena *arena) {
    if (!arena->refused) return NULL;
    PX_FAIL(PX_RUN_FAILED, "out of memory: %zu bytes wanted, %zu in use%s", arena->refused,
            arena->top->base + arena->top->used, arena->fixed ? " of a fixed arena" : "");
}

size_t px_arena_mark(const px_arena *arena) { return arena->top->base + arena->top->used; }

void px_arena_reset(px_arena *arena, size_t mark) {
    while (arena->top->before && arena->top->base >= mark) {
        block *b = arena->top;
        arena->top = b->before;
        munmap(b->data, b->size);
        free(b);
    }
    arena->top->used = mark - arena->top->base;
    arena->refused = 0;
}

size_t px_arena_peak(const px_arena *arena) { return arena->peak; }
