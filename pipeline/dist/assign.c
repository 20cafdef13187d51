/* assign.c - who computes what: longest first to the least loaded rank (Graham 1969). */
#include "dist_internal.h"

#include <stdlib.h>

typedef struct {
    int64_t cost;
    int item;
} entry;

static int by_cost(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

px_err *px_assign_longest_first(const int64_t *costs, int n, int size, int *owner) {
    entry *entries = calloc((size_t)n + 1, sizeof *entries);
    int64_t *load = calloc((size_t)size, sizeof *load);
    if (!entries || !load) {
        free(entries);
        free(load);
        PX_NO_MEMORY();
    }
    for (int i = 0; i < n; i++) entries[i] = (entry){costs[i], i};
    qsort(entries, (size_t)n, sizeof *entries, by_cost);
    for (int i = 0; i < n; i++) {
        int least = 0;
        for (int r = 1; r < size; r++)
            if (load[r] < load[least]) least = r;
        load[least] += entries[i].cost;
        owner[entries[i].item] = least;
    }
    free(entries);
    free(load);
    return NULL;
}
