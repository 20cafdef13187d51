/* eval_internal.h - shared inside eval. */
#ifndef PX_EVAL_INTERNAL_H
#define PX_EVAL_INTERNAL_H

#include "eval.h"

typedef struct {
    const px_corpus *corpus;
    const px_run *run; /* NULL: the base model */
    const px_eval *job;
    const px_config *config;
    const px_eval_result *result;
    double truth_correlation; /* NaN: not asked for */
} px_eval_output;
/* Rank 0 alone: out_path, its .json, the run's evals/, the TSV. */
PX_CHECKED px_err *px_eval_write(const px_eval_output *out);
/* The summary as a table on stdout. */
void px_eval_print(const px_eval_output *out);
/* Spearman correlation, over pairs of people, of the likeness (cosine) of their embeddings (as
 * differences from the mean) with that of their planted tastes in truth.json. NaN: fewer than 3
 * people in both. */
PX_CHECKED px_err *px_eval_truth(const char *path, const px_run *run, double *out);

#endif
