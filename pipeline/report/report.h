/* report.h - run folders -> one page, with every figure and table embedded: no script, no network.
 * Reads what training and evaluation left; what is missing is said, not an error. No id of a
 * participant is ever read. */
#ifndef PX_REPORT_H
#define PX_REPORT_H

#include "config.h"

typedef enum { PX_REPORT_HTML, PX_REPORT_TSV, PX_REPORT_TEX } px_report_format;

/* A sweep, as its table: the varied keys' columns first. */
typedef struct {
    const char *name, *tsv;
    int n_keys;
} px_report_sweep;

/* What is paid; 0: not given, and no money is told. */
typedef struct {
    double usd_per_million_prompt, usd_per_million_new, usd_per_hour;
} px_report_prices;

typedef struct {
    const char *const *runs; /* run folders; there may be none where there is a sweep */
    int n_runs;
    const char *const *stats; /* stats.tsv: the experiment's figures, before all else */
    int n_stats;
    px_report_prices prices;
    const px_report_sweep *sweeps; /* shown on the page behind the runs */
    int n_sweeps;
    const char *out_path; /* written atomically */
    /* Of the page alone, each may be NULL: answers of several arms, the summary of their traits,
     * truth.json of synth (what its people like). Prompts and answers are shown, no id. */
    const char *answers_path, *traits_path, *truth_path;
    px_report_format format;
} px_report_job;

/* Not collective: rank 0 alone. The same folders give the same bytes. PX_BAD_INPUT: a run that is
 * no folder. */
PX_CHECKED px_err *px_report_make(const px_report_job *job);
/* A sweep alone, as a page (.html) or a figure (.svg). PX_BAD_INPUT: another ending. */
PX_CHECKED px_err *px_report_sweep_make(const px_report_sweep *sweep, const char *path);

#endif
