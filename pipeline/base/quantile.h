/* quantile.h - order statistics of doubles. */
#ifndef PX_QUANTILE_H
#define PX_QUANTILE_H

#include <stdint.h>

/* Ascending, in place; no NaN. */
void px_f64_sort(double *values, int64_t n);
/* Quantile q of n sorted values, n >= 1: linear between order statistics (Hyndman & Fan 1996,
 * type 7). */
double px_quantile(const double *sorted, int64_t n, double q);

#endif
