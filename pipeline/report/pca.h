/* pca.h - the two directions in which rows differ most. Inside the module. */
#ifndef PX_PCA_H
#define PX_PCA_H

#include "base.h"

/* n rows of m numbers [n, m]; the inner product of two rows is xᵀ G y, G = gram [m, m], symmetric
 * and not negative, or NULL for the identity. */
typedef struct {
    const double *rows, *gram;
    int64_t n, m;
} px_points;

typedef struct {
    double share[2];    /* of the variance, 0 where there is none */
    double variance;    /* mean squared distance from the mean */
    double mean_square; /* squared length of the mean */
} px_spread;

/* Principal coordinates [n, 2] of the rows about their mean, and those of `extra` [m], a row that
 * takes no part, into extra_at [2] (both NULL: none). A direction's sign: its largest coordinate is
 * positive. float64, no random numbers: the same rows give the same bits. */
PX_CHECKED px_err *px_pca(const px_points *points, double *at, const double *extra,
                          double extra_at[2], px_spread *spread);
/* Eigenvalues of the symmetric a [n, n], falling, and their vectors in the columns of v; Jacobi's
 * rotations. a is destroyed. */
void px_eigen(double *a, int n, double *values, double *v);

#endif
