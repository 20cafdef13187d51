/* large.c - see large.h. What gives the array back stands in the 64 bytes before it: its mapping
 * and the mapping's size, 0 for an array from the heap. */
#include "large.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEAD 64u
#define LARGE_PAGE ((size_t)2 << 20)

typedef struct {
    void *mapping;
    size_t bytes;
} head;

static void *hold(char *data, head h) {
    memcpy(data, &h, sizeof h);
    return data + HEAD;
}

static void *from_heap(size_t bytes) {
    bytes = (bytes + HEAD - 1) / HEAD * HEAD;
    char *data = aligned_alloc(HEAD, bytes);
    if (!data) return NULL;
    memset(data, 0, bytes);
    return hold(data, (head){data, 0});
}

static void *from_pages(size_t bytes) {
    /* Room to begin at a large page's border; what is never touched takes no memory. */
    const size_t mapped = bytes + LARGE_PAGE;
    char *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return NULL;
    char *data = mapping + (LARGE_PAGE - (uintptr_t)mapping % LARGE_PAGE) % LARGE_PAGE;
    (void)madvise(data, bytes, MADV_HUGEPAGE); /* refused: pages of the usual size */
    return hold(data, (head){mapping, mapped});
}

void *px_large_new(size_t count, size_t size) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
    bytes += HEAD;
    return bytes < LARGE_PAGE ? from_heap(bytes) : from_pages(bytes);
}

void px_large_free(void *data) {
    if (!data) return;
    head h = {0};
    memcpy(&h, (char *)data - HEAD, sizeof h);
    if (h.bytes)
        munmap(h.mapping, h.bytes);
    else
        free(h.mapping);
}
