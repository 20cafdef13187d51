/* stats.h - every estimate of the experiment from trials: see docs/stats.md for the formulas and
 * their sources. Work is shared out over ranks; stats.tsv and stats.json are the same bytes for
 * any number of them. Knows no models and no texts but those of users. */
#ifndef PX_STATS_H
#define PX_STATS_H

#include "dist.h"
#include "trials.h"

enum { PX_STATS_FILES = 64 };

typedef struct {
    const char *trials[PX_STATS_FILES];
    int n_trials;
    const char *evals[PX_STATS_FILES]; /* eval.h5 files, or folders of them (a sweep's) */
    int n_evals;
    const char *traits;    /* traits.jsonl, or NULL */
    const char *reference; /* arm; NULL: base, or the first by name where there is none */
    const char *out;       /* stats.tsv; stats.json beside it */
    bool by_position;      /* also shares ranked best by arm and position */
    int64_t bootstrap;     /* samples of people for intervals of shares; 0: none */
    int64_t plan_people;   /* power with so many people; 0: none */
    uint64_t seed;
} px_stats_job;

/* Collective. PX_BAD_INPUT: a line that is no trial, an arm that is not there, no eval.h5. A model
 * that cannot be fitted is a row of NA with a note, not an error. */
PX_CHECKED px_err *px_stats_all(const px_ranks *ranks, const px_stats_job *job);

/* --- the formulas, for those who test them or need one alone --- */
/* Kendall's tau-b (Kendall 1945); NaN where one side does not vary. n^2. */
double px_kendall_tau(const double *x, const double *y, int n);
/* Cohen's kappa with quadratic weights (Cohen 1968) of an n x n table of counts, row-major; NaN
 * where nothing is to be explained by chance. */
double px_kappa_quadratic(const double *table, int n);
/* Jensen-Shannon divergence, base 2, 0 … 1 (Lin 1991), of two distributions or counts of n. */
double px_js_divergence(const double *p, const double *q, int n);
/* Benjamini & Hochberg 1995: adjusted[i] of p[n]; NaN stays NaN and does not count. */
void px_benjamini_hochberg(const double *p, int n, double *adjusted);

#endif
