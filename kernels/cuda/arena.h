/* arena.h - one region of the card's memory, and the pieces that are given out of it: first fit
 * from the front, so that what comes and goes (a reference's activations) leaves its place to what
 * follows. Knows addresses and reads nothing behind them. */
#ifndef PX_CUDA_ARENA_H
#define PX_CUDA_ARENA_H

#include <stddef.h>

typedef struct {
    size_t at, bytes; /* from the region's begin; with what keeps the next one apart */
} cu_piece;
typedef struct {
    char *begin; /* NULL: no region */
    size_t bytes;
    cu_piece *pieces; /* [n] by place */
    int n, room;
    size_t used, reach; /* bytes of all pieces now; the furthest end that one has had */
} cu_arena;

/* What a piece of `bytes` takes of a region (px_card_piece). NULL: no room, or no memory for the
 * list. */
void *cu_arena_take(cu_arena *arena, size_t bytes);
/* False: `at` is none of its pieces. */
int cu_arena_give(cu_arena *arena, const void *at);
/* Of the list alone; the region is the caller's. */
void cu_arena_fini(cu_arena *arena);

#endif
