/* report_internal.h - what is read of a run, and the parts of the page. */
#ifndef PX_REPORT_INTERNAL_H
#define PX_REPORT_INTERNAL_H

#include <math.h>

#include "html.h"
#include "pca.h"
#include "report.h"
#include "svg.h"

/* The keys of metrics.jsonl that are drawn or told: id, key. The three of a term stand together:
 * whole, user, generic. */
#define PX_SERIES(SERIES)                                                                          \
    SERIES(STEP, "step")                                                                           \
    SERIES(EPOCH, "epoch")                                                                         \
    SERIES(LOSS, "loss")                                                                           \
    SERIES(LOSS_USER, "loss/user")                                                                 \
    SERIES(LOSS_GENERIC, "loss/generic")                                                           \
    SERIES(ACCURACY, "rewards/accuracies")                                                         \
    SERIES(ACCURACY_USER, "rewards/accuracies/user")                                               \
    SERIES(ACCURACY_GENERIC, "rewards/accuracies/generic")                                         \
    SERIES(MARGIN, "rewards/margins")                                                              \
    SERIES(MARGIN_USER, "rewards/margins/user")                                                    \
    SERIES(MARGIN_GENERIC, "rewards/margins/generic")                                              \
    SERIES(CHOSEN, "rewards/chosen")                                                               \
    SERIES(REJECTED, "rewards/rejected")                                                           \
    SERIES(SPREAD, "user/spread")                                                                  \
    SERIES(GRAD, "grad_norm")                                                                      \
    SERIES(RATE, "learning_rate")                                                                  \
    SERIES(TOKENS, "num_tokens")                                                                   \
    SERIES(PAIRS, "pairs")                                                                         \
    SERIES(TIME, "step_time_s")                                                                    \
    SERIES(SPEED, "tokens_per_s")                                                                  \
    SERIES(HELD_LOSS, "eval_loss")                                                                 \
    SERIES(HELD_ACCURACY, "eval_rewards/accuracies")
typedef enum {
#define SERIES(id, key) S_##id,
    PX_SERIES(SERIES)
#undef SERIES
        N_SERIES
} series;

typedef enum { OWN, GENERIC, OTHER, N_WHO } who;
typedef struct {
    double value, low, high; /* NaN where there is nothing */
} interval;

typedef struct {
    const char *file; /* name in evals/ */
    double step, taste, n_pairs;
    const char *corpus_sha256; /* or NULL */
} eval_file;

typedef struct {
    const char *split, *type;
    double n_pairs, n_people;
    interval accuracy[N_WHO], margin[N_WHO], delta_own, delta_swap;
    int file; /* index into the run's files */
} eval_row;

enum { NOTES_MAX = 40, EVALS_MAX = 64, ROWS_MAX = 1024 };

typedef struct {
    const char *path, *label; /* label: the folder's name, longer where two are the same */
    px_arena *arena;
    const char *notes[NOTES_MAX]; /* what was missing or broken, plain text */
    int n_notes;
    cJSON *manifest, *config, *corpus_report; /* NULL: none */
    double *series[N_SERIES];                 /* [n_steps], NaN where a line lacks the key */
    int64_t n_steps, n_broken, n_repeated;
    eval_file files[EVALS_MAX];
    int n_files;
    eval_row *rows;
    int n_rows;
    /* people, without their ids */
    bool has_users; /* users.h5 was read */
    int64_t n_people, n_tokens, width;
    double person_bytes, shared_bytes; /* of users.h5: what one more person adds, and the bank */
    double *at;                        /* [n_people, 2] */
    double generic_at[2];
    px_spread spread; /* of the file: relative_spread() */
} run_view;

typedef struct {
    px_str *out;
    const run_view *runs;
    int n_runs, n_ids;
    const px_report_job *job;
} page_view;

/* --- read.c, read_users.c --- */
/* Reads all there is. PX_BAD_INPUT: path is no folder. */
PX_CHECKED px_err *px_run_view_read(const char *path, run_view *out);
void px_run_view_free(run_view *run);
/* Adds a note, which is also how a file that cannot be used is told of. */
PX_CHECKED px_err *px_run_view_note(run_view *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* NULL for success and for bad input, which becomes a note; another error is passed on. */
PX_CHECKED px_err *px_run_view_forgive(run_view *run, px_err *err);
PX_CHECKED px_err *px_run_view_users(run_view *run);

/* --- what the parts ask of a run --- */
/* The row of the newest step that has this split and type; NULL: none. */
const eval_row *px_run_view_row(const run_view *run, const char *split, const char *type);
/* Distinct splits or types of all runs, known ones first; returns their number, at most most. */
int px_view_splits(const page_view *page, const char **out, int most);
int px_view_types(const page_view *page, const char **out, int most);
/* Last finite value of a series, NaN: none. */
double px_run_view_last(const run_view *run, series s);
double px_run_view_sum(const run_view *run, series s);
bool px_run_view_has(const run_view *run, series s);
/* Root mean square distance of the e_u from their mean over the mean's length: of users.h5, else
 * the last step's user/spread; NaN: none. */
double px_run_view_spread(const run_view *run);
/* Value at a dotted path of an object, or NULL. */
const cJSON *px_view_at(const cJSON *object, const char *path);
static inline bool interval_ends(interval e) { return isfinite(e.low) && isfinite(e.high); }
/* The people's embeddings are the same for all that counts. */
#define SPREAD_DEAD 0.01

/* --- rows.c: a panel of estimates --- */
enum { ROW_LINES_MAX = 64 };
/* A line of a panel: the name of a group (no estimate), or an estimate. */
typedef struct {
    const char *label;
    interval e;
    int colour, shape;
    bool header, has_published;
    double published; /* a value of the paper, a hollow mark in the same row */
} row_line;

typedef struct {
    row_line lines[ROW_LINES_MAX];
    int n;
    double scale; /* of what is printed: 100 for shares */
    int decimals;
    bool dots; /* no bars: the axis need not begin where a bar would */
} row_list;
void px_rows_add(row_list *list, row_line line);
/* The least or greatest of all estimates and ends of intervals, and of `best`, times scale. */
double px_rows_end(const row_list *list, bool high, double best);
/* axis: shared by the panels of a figure; from: where the bars begin, or a line of reference, NaN:
 * none. */
void px_rows_panel(page_view *page, const char *title, const char *x_label, const row_list *list,
                   const px_axis *axis, double from);

/* --- parts of the page --- */
PX_CHECKED px_err *px_page_findings(page_view *page);
PX_CHECKED px_err *px_page_curves(page_view *page);
void px_page_evals(page_view *page);
void px_page_map(page_view *page);
/* answers.c: traits by arm, and answers side by side, where the job names such files; the traits
 * are left to the experiment's figures where there are statistics. */
PX_CHECKED px_err *px_page_answers(page_view *page);
/* Reads the summary that traits wrote. */
PX_CHECKED px_err *px_traits_read(const char *path, cJSON **out);
/* Its means and effects as a table, and what a judge says. */
void px_page_trait_tables(page_view *page, const cJSON *summary);
PX_CHECKED px_err *px_page_facts(page_view *page);
/* sweep.c: a section; *id counts the figures of the page. */
PX_CHECKED px_err *px_page_sweep(px_str *out, const px_report_sweep *sweep, int *id);
/* Up to <body>, with the style; the style alone. */
void px_page_begin(px_str *out, const char *title);
void px_page_style(px_str *out);
/* "64.1 [60.2, 67.9]", times scale. */
void px_html_interval(px_str *out, interval e, double scale, int decimals);
/* Legend of the runs; dashes: 0 none, else the texts of the full and the broken line. */
void px_page_legend(page_view *page, const char *full, const char *broken);

/* --- table.c --- */
void px_table_tsv(const page_view *page);
void px_table_tex(const page_view *page);
/* Text for LaTeX: every mark that means something there is escaped. */
void px_tex_text(px_str *out, const char *text);

#endif
