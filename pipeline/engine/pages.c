/* pages.c - see engine_internal.h. */
#include <stdlib.h>

#include "engine_internal.h"

px_err *pool_init(page_pool *pool, int32_t n) {
    *pool = (page_pool){.n = n, .n_free = n};
    pool->holders = calloc((size_t)n + 1, sizeof *pool->holders);
    pool->free_list = malloc(((size_t)n + 1) * sizeof *pool->free_list);
    if (!pool->holders || !pool->free_list) {
        pool_fini(pool);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i < n; i++) pool->free_list[i] = n - 1 - i;
    return NULL;
}

void pool_fini(page_pool *pool) {
    free(pool->holders);
    free(pool->free_list);
    *pool = (page_pool){0};
}

int32_t pool_take(page_pool *pool) {
    if (pool->n_free == 0) return -1;
    const int32_t page = pool->free_list[--pool->n_free];
    pool->holders[page] = 1;
    return page;
}

void pool_hold(page_pool *pool, int32_t page) { pool->holders[page]++; }

void pool_release(page_pool *pool, int32_t page) {
    if (--pool->holders[page] == 0) pool->free_list[pool->n_free++] = page;
}
