/* arena.h - memory of one lifetime (run, step, slot), taken front to back and given back at once.
 * A take that does not fit sticks: it returns NULL, and px_arena_ok says so once at the end of a
 * phase. Memory comes zeroed. Takes are aligned to 64 bytes (one cache line, one zmm). */
#ifndef PX_ARENA_H
#define PX_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

typedef struct px_arena px_arena;

/* A growing arena: blocks of at least block_bytes are added as needed; heap. */
PX_CHECKED px_err *px_arena_new(size_t block_bytes, px_arena **out);
/* An arena of exactly `bytes`, mapped at once (pages are touched on use). */
PX_CHECKED px_err *px_arena_new_fixed(size_t bytes, px_arena **out);
void px_arena_free(px_arena *arena);
/* count × size bytes, zeroed, the product checked for overflow; NULL when it does not fit. */
void *px_arena_take(px_arena *arena, size_t count, size_t size);
/* As above without zeroing, for large buffers that are written whole. */
void *px_arena_take_raw(px_arena *arena, size_t count, size_t size);
/* A copy of text of `length` bytes with a NUL behind it. */
char *px_arena_text(px_arena *arena, const char *text, size_t length);
/* PX_RUN_FAILED when a take since the last reset did not fit, with the bytes that were wanted. */
PX_CHECKED px_err *px_arena_ok(const px_arena *arena);
/* Everything taken since `mark` is given back. A mark holds until an earlier one is reset to. */
size_t px_arena_mark(const px_arena *arena);
void px_arena_reset(px_arena *arena, size_t mark);
/* The most bytes ever in use. */
size_t px_arena_peak(const px_arena *arena);

#define px_take(arena, type, ...)                                                                  \
    ((type *)px_arena_take(arena, PX_PRODUCT_(__VA_ARGS__), sizeof(type)))
#define px_take_raw(arena, type, ...)                                                              \
    ((type *)px_arena_take_raw(arena, PX_PRODUCT_(__VA_ARGS__), sizeof(type)))
#define PX_PRODUCT_(...) PX_PRODUCT_N_(__VA_ARGS__, 1, 1, 1)
#define PX_PRODUCT_N_(a, b, c, ...) px_product3((size_t)(a), (size_t)(b), (size_t)(c))
/* a·b·c, or SIZE_MAX on overflow, which no arena can give. */
size_t px_product3(size_t a, size_t b, size_t c);

#endif
