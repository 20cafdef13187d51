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
    px_estimate accuracy_per_token[PX_N_WHO], margin_per_token[PX_N_WHO];
    px_estimate delta_own, delta_swap; /* accuracy own - generic, own - other */
    /* Against another evaluation, both with their own embedding: share of pairs whose margin is
     * larger here, ties one half; accuracy here - there. */
    px_estimate win_rate, delta_against;
} px_eval_row;

/* Every token of every response, one after another: pair i, side s (0: chosen) has those from
 * first[2 i + s] to before first[2 i + s + 1]. */
typedef struct {
    const int64_t *first;          /* [2 n + 1]; NULL: not wanted */
    const int32_t *ids;            /* rank 0 */
    const double *logps[PX_N_WHO]; /* NULL where not computed */
    const double *reference;
} px_eval_tokens;

/* Another evaluation of the same pairs. */
typedef struct {
    const double *margin; /* [n] of its own embedding; NULL: not asked for */
    double beta;
} px_against;

typedef struct {
    int32_t n;                                /* pairs evaluated */
    const int32_t *pairs;                     /* [n] indices into the corpus */
    bool personal;                            /* a user model: own, generic and other differ */
    const double *logps[PX_N_WHO];            /* [2 n] chosen, rejected; NULL where not computed */
    const double *reference;                  /* [2 n] */
    const double *margin[PX_N_WHO];           /* [n] */
    const double *margin_per_token[PX_N_WHO]; /* [n] each side's difference over its tokens */
    px_eval_tokens tokens;
    px_against against;
    int32_t n_rows;
    const px_eval_row *rows;
    double beta;
    bool length_normalised; /* margin is margin_per_token */
    int64_t step;           /* -1: the base model */
} px_eval_result;

typedef struct {
    const char *corpus_path, *model_path, *run_dir; /* run_dir NULL: the base model at model_path */
    int64_t step;                                   /* -1: newest */
    uint32_t splits;                                /* bits 1 << px_split */
    const char *out_path, *tsv_path;                /* tsv NULL: not wanted */
    const char *truth_path;                         /* synth's truth.json, or NULL */
    const char *against_path;                       /* another eval.h5, or NULL */
    bool token_logps;                               /* also every token's */
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
    double right_per_token[PX_N_WHO], margin_per_token[PX_N_WHO];
    double won, right_against; /* pairs with the larger margin here; right in the other */
} px_person_sums;
/* The row's estimates from people's sums; samples 0: no intervals. Depends on (seed, people's
 * order) alone. */
PX_CHECKED px_err *px_eval_estimate(const px_person_sums *people, int32_t n_people, int64_t samples,
                                    uint64_t seed, px_eval_row *row);
/* Own margins of the evaluation in `path`, which must be of exactly these pairs [n] of this corpus,
 * in this order, and normalised by length or not as these are; in the arena. PX_BAD_INPUT: not so,
 * or not an eval.h5. */
PX_CHECKED px_err *px_against_read(const char *path, const px_corpus *corpus,
                                   const px_eval_result *result, px_arena *arena, px_against *out);
/* Where each response's tokens begin, for result->pairs; and their ids. In the arena. */
PX_CHECKED px_err *px_eval_token_first(const px_corpus *corpus, const px_eval_result *result,
                                       px_arena *arena, const int64_t **first);
PX_CHECKED px_err *px_eval_token_ids(px_corpus *corpus, const px_eval_result *result,
                                     px_arena *arena, const int32_t **ids);
/* Spearman's rank correlation with mean ranks for ties; NaN where either side is constant or n < 2.
 */
PX_CHECKED px_err *px_spearman(const double *x, const double *y, int64_t n, double *out);

#endif
