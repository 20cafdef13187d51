/* eval.h - evaluation: implicit rewards of own, generic and another person's embedding on held-out
 * pairs. */
#ifndef PX_EVAL_H
#define PX_EVAL_H

#include "run.h"
#include "score.h"

/* Whose embedding stands before the prompt. Without a user model all are the same and OWN alone is
 * computed. */
typedef enum { PX_OWN, PX_GENERIC, PX_OTHER, PX_N_WHO } px_who;

/* A mean or a difference of means with its 95% interval, percentile bootstrap over people. */
typedef struct {
    double value, low, high; /* NaN where there is nothing */
} px_estimate;

/* One row of the summary: a split, and a conversation type or all. */
typedef struct {
    const char *split, *type; /* "seen", "all" … */
    int32_t n_pairs, n_people;
    px_estimate accuracy[PX_N_WHO], margin[PX_N_WHO];
    px_estimate delta_own, delta_swap; /* accuracy own - generic, own - other */
} px_eval_row;

typedef struct {
    int32_t n;                      /* pairs evaluated */
    const int32_t *pairs;           /* [n] indices into the corpus */
    bool personal;                  /* a user model: own, generic and other differ */
    const double *logps[PX_N_WHO];  /* [2 n] chosen, rejected; NULL where not computed */
    const double *reference;        /* [2 n] */
    const double *margin[PX_N_WHO]; /* [n] */
    int32_t n_rows;
    const px_eval_row *rows;
    double beta;
    int64_t step; /* -1: the base model */
} px_eval_result;

typedef struct {
    const char *corpus_path, *model_path, *run_dir; /* run_dir NULL: the base model at model_path */
    int64_t step;                                   /* -1: newest */
    uint32_t splits;                                /* bits 1 << px_split */
    const char *out_path, *tsv_path;                /* tsv NULL: not wanted */
    const char *truth_path;                         /* synth's truth.json, or NULL */
    int threads;
} px_eval;
/* Collective. Scores, writes out_path (HDF5, atomic), the summary beside it (.json) and in the run
 * folder under evals/, prints the summary on rank 0. `config`: for a run its own with the given
 * keys over it. */
PX_CHECKED px_err *px_eval_all(const px_ranks *ranks, const px_config *config, const px_eval *job);

/* --- parts, tested by themselves --- */
/* other[r] for rows 1 … n_rows - 1: another person's row, nobody's own where there are two or more
 * (a cycle through a Philox permutation); other[0] = 0. */
PX_CHECKED px_err *px_other_rows(uint64_t seed, int32_t n_rows, int32_t *other);
/* Sums of one person. */
typedef struct {
    double n, right[PX_N_WHO], margin[PX_N_WHO];
} px_person_sums;
/* The row's estimates from people's sums; samples 0: no intervals. Depends on (seed, people's
 * order) alone. */
PX_CHECKED px_err *px_eval_estimate(const px_person_sums *people, int32_t n_people, int64_t samples,
                                    uint64_t seed, px_eval_row *row);
/* Spearman's rank correlation with mean ranks for ties; NaN where either side is constant or n < 2.
 */
PX_CHECKED px_err *px_spearman(const double *x, const double *y, int64_t n, double *out);

#endif
