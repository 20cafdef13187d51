/* arena.c - see arena.h. A model has some hundred pieces, taken and given back a few times in a
 * run: a list in order is enough. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "ops.h"

static int grow(cu_arena *a) {
    if (a->n < a->room) return 1;
    const int wider = a->room ? 2 * a->room : 64;
    cu_piece *more = realloc(a->pieces, (size_t)wider * sizeof *more);
    if (!more) return 0;
    a->pieces = more;
    a->room = wider;
    return 1;
}

void *cu_arena_take(cu_arena *a, size_t bytes) {
    const size_t whole = (size_t)px_card_piece((int64_t)bytes);
    size_t at = 0;
    int i = 0;
    if (!a->begin || whole < bytes) return NULL;
    while (i < a->n && a->pieces[i].at - at < whole) {
        at = a->pieces[i].at + a->pieces[i].bytes;
        i++;
    }
    if (a->bytes - at < whole || !grow(a)) return NULL;
    memmove(a->pieces + i + 1, a->pieces + i, (size_t)(a->n - i) * sizeof *a->pieces);
    a->pieces[i] = (cu_piece){at, whole};
    a->n++;
    a->used += whole;
    if (at + whole > a->reach) a->reach = at + whole;
    return a->begin + at;
}

int cu_arena_give(cu_arena *a, const void *at) {
    for (int i = 0; i < a->n; i++) {
        if (a->begin + a->pieces[i].at != (const char *)at) continue;
        a->used -= a->pieces[i].bytes;
        memmove(a->pieces + i, a->pieces + i + 1, (size_t)(a->n - i - 1) * sizeof *a->pieces);
        a->n--;
        return 1;
    }
    return 0;
}

void cu_arena_fini(cu_arena *a) {
    free(a->pieces);
    memset(a, 0, sizeof *a);
}
