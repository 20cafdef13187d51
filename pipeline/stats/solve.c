/* solve.c - small dense symmetric problems, in a fixed order of sums. */
#include <gsl/gsl_cdf.h>
#include <string.h>

#include "stats_internal.h"

bool px_cholesky(double *a, int n, int ld) {
    for (int j = 0; j < n; j++) {
        double *row = a + (size_t)j * (size_t)ld;
        for (int i = 0; i < j; i++) {
            const double *other = a + (size_t)i * (size_t)ld;
            double sum = row[i];
            for (int k = 0; k < i; k++) sum -= row[k] * other[k];
            row[i] = sum / other[i];
        }
        double d = row[j];
        for (int k = 0; k < j; k++) d -= row[k] * row[k];
        if (!(d > 0) || !isfinite(d)) return false;
        row[j] = sqrt(d);
    }
    return true;
}

void px_cholesky_solve(const double *l, int n, int ld, double *x) {
    for (int i = 0; i < n; i++) {
        const double *row = l + (size_t)i * (size_t)ld;
        for (int k = 0; k < i; k++) x[i] -= row[k] * x[k];
        x[i] /= row[i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) x[i] -= l[(size_t)k * (size_t)ld + (size_t)i] * x[k];
        x[i] /= l[(size_t)i * (size_t)ld + (size_t)i];
    }
}

bool px_invert(double *a, int n, double *work) {
    const size_t size = (size_t)n;
    memcpy(work, a, size * size * sizeof *a);
    if (!px_cholesky(work, n, n)) return false;
    for (size_t j = 0; j < size; j++) {
        double *column = a + j * size; /* symmetric: a row is a column */
        memset(column, 0, size * sizeof *column);
        column[j] = 1;
        px_cholesky_solve(work, n, n, column);
    }
    return true;
}

/* A Cholesky decomposition that passes over columns whose rest is rounding: the Gram matrix
 * squares conditions, so 1e-10 of a column's square is 1e-5 of its length. */
int px_independent(const double *gram, int n, bool *keep) {
    double l[PX_COLUMNS_MAX][PX_COLUMNS_MAX];
    int kept[PX_COLUMNS_MAX], m = 0;
    for (int j = 0; j < n; j++) {
        double d = gram[(size_t)j * (size_t)n + (size_t)j];
        const double whole = d;
        for (int i = 0; i < m; i++) {
            double sum = gram[(size_t)j * (size_t)n + (size_t)kept[i]];
            for (int k = 0; k < i; k++) sum -= l[m][k] * l[i][k];
            l[m][i] = sum / l[i][i];
            d -= l[m][i] * l[m][i];
        }
        keep[j] = d > 1e-10 * whole && d > 0;
        if (!keep[j]) continue;
        l[m][m] = sqrt(d);
        kept[m++] = j;
    }
    return m;
}

double px_normal_p(double z) { return fmin(1, 2 * gsl_cdf_ugaussian_Q(fabs(z))); }

double px_contrast_se(const double *cov, int n, const double *c) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (c[i] != 0 && c[j] != 0) sum += c[i] * c[j] * cov[(size_t)i * (size_t)n + (size_t)j];
    return sqrt(sum);
}
