/* slots.c - what is computed in one go: whole units up to a number of tokens. The cut is made
 * before ranks are considered, so that a slot's gradient is the same whoever computes it. */
#include "score.h"

#include <stdlib.h>

typedef struct {
    int64_t size;
    int unit;
} entry;

static int by_size(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x->unit > y->unit) - (x->unit < y->unit);
}

px_err *px_slots_cut(const int64_t *sizes, int n, int64_t slot_tokens, int *slot_of, int *n_slots) {
    entry *entries = calloc((size_t)n + 1, sizeof *entries);
    int64_t *room = calloc((size_t)n + 1, sizeof *room);
    if (!entries || !room) {
        free(entries);
        free(room);
        PX_NO_MEMORY();
    }
    for (int i = 0; i < n; i++) entries[i] = (entry){sizes[i], i};
    qsort(entries, (size_t)n, sizeof *entries, by_size);
    int used = 0,
        open = 0; /* slots before `open` have less room than any unit still to come needs */
    int64_t smallest = n ? entries[n - 1].size : 0;
    for (int i = 0; i < n; i++) {
        while (open < used && room[open] < smallest) open++;
        int slot = open;
        while (slot < used && room[slot] < entries[i].size) slot++;
        if (slot == used) room[used++] = PX_MAX(slot_tokens, entries[i].size);
        room[slot] -= entries[i].size;
        slot_of[entries[i].unit] = slot;
    }
    *n_slots = used;
    free(entries);
    free(room);
    return NULL;
}
