/* large.h - zeroed arrays of a run's whole lifetime (trained values, moments, sums), in large pages
 * where the system gives them: a page's first touch is a fault, and 5 GB are a million of them in
 * pages of 4 KB. Not for arrays of which only a front part is written: what is touched counts by
 * the large page. */
#ifndef PX_LARGE_H
#define PX_LARGE_H

#include <stddef.h>

/* count × size bytes, zero, aligned to 64; NULL when they cannot be had or the product overflows.
 * For px_large_free. */
void *px_large_new(size_t count, size_t size);
/* NULL is nothing. */
void px_large_free(void *data);

#endif
