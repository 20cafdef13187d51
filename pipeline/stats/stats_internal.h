/* stats_internal.h - shared inside pipeline/stats. */
#ifndef PX_STATS_INTERNAL_H
#define PX_STATS_INTERNAL_H

#include <math.h>

#include "stats.h"

/* --- rows of stats.tsv --- */
typedef enum {
    PX_FAMILY_PREFERENCE,
    PX_FAMILY_PROVENANCE,
    PX_FAMILY_TRAITS,
    PX_FAMILY_SIMULATOR,
    PX_FAMILY_TOPICS,
    PX_FAMILY_DYNAMICS,
    PX_FAMILY_OFFLINE,
    PX_FAMILIES
} px_family;

enum { PX_TERM_MAX = 256, PX_WORD_MAX = 40 };

/* Plain bytes: rows travel between ranks as they are. NaN: NA. */
typedef struct {
    int32_t family, source; /* source -1: none */
    char outcome[PX_WORD_MAX], model[PX_WORD_MAX], term[PX_TERM_MAX], contrast[PX_TERM_MAX],
        note[PX_TERM_MAX];
    double estimate, se, low, high, p, p_adjusted;
    int64_t n_trials, n_people;
    int32_t boot; /* statistic of the bootstrap that gives low and high, or -1 */
    int32_t pad;
} px_row;

typedef struct {
    px_row *at;
    int64_t n, room;
    bool failed; /* out of memory; sticks */
} px_table;

/* What the rows of one fit have in common. */
typedef struct {
    px_family family;
    const char *outcome, *model, *note;
    int source;
    int64_t n_trials, n_people;
} px_about;

void px_table_free(px_table *table);
/* A row of NAs, to be filled; NULL sticks as failed. */
px_row *px_table_add(px_table *table, const px_about *about, const char *term);
/* Estimate with ±1.96 SE and the two-sided p of estimate - null = 0. */
px_row *px_table_wald(px_table *table, const px_about *about, const char *term, double estimate,
                      double se, double null);
void px_row_note(px_row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));
void px_row_contrast(px_row *row, const char *arm, const char *against);
/* Adjusted p within each family. */
PX_CHECKED px_err *px_table_adjust(px_table *table);
PX_CHECKED px_err *px_table_write(const px_table *table, FILE *out);
void px_row_json(const px_row *row, px_str *out);

/* --- small dense problems; matrices row-major --- */
enum { PX_COLUMNS_MAX = 160 };
/* In place lower Cholesky of a[n,n] (leading dimension ld); false: not positive definite. */
bool px_cholesky(double *a, int n, int ld);
/* Solves with the factor, in place. */
void px_cholesky_solve(const double *l, int n, int ld, double *x);
/* a <- inverse of a, symmetric positive definite; false: it is not. work[n*n]. */
bool px_invert(double *a, int n, double *work);
/* Which columns of a Gram matrix [n,n] depend on those before them: keep[i] false. Returns how many
 * are kept. */
int px_independent(const double *gram, int n, bool *keep);
double px_normal_p(double z); /* two-sided */
/* sqrt(c' V c). */
double px_contrast_se(const double *cov, int n, const double *c);

/* --- what is analysed --- */
typedef struct {
    const px_trials *trials;
    const px_stats_job *job;
    int32_t reference;                          /* arm */
    int32_t n_arms, *arms;                      /* in order: the reference, then by name */
    int32_t *arm_order;                         /* arm -> its place in arms */
    int32_t n_domains, *domains, *domain_order; /* by name */
    int32_t n_people;                           /* in trials.persons */
} px_study;
const char *px_study_arm(const px_study *study, int32_t order);
/* Order of the arm called name, or -1. */
int32_t px_study_find(const px_study *study, const char *name);

/* --- design of slot-level models: y on arms, domain, position, error --- */
typedef enum { PX_Y_VAS, PX_Y_WTP } px_y_kind;
typedef struct {
    int64_t n;               /* rows */
    int p, p_kept;           /* columns; those of x */
    double *x;               /* [n, p_kept] */
    double *y;               /* [n] */
    int32_t *person, *trial; /* [n], dense numbers from 0 */
    int32_t n_persons, n_trials;
    char (*names)[PX_TERM_MAX]; /* [p] */
    int32_t *arm_column;        /* [n_arms] column, -1: reference or not there */
    bool *keep;                 /* [p] false: depends on columns before it */
    bool no_reference; /* no row is of the reference arm: arms have nothing to differ from */
    const char *domain_base;
} px_design;
typedef struct {
    double (*y)(const px_trial_slot *slot, int which);
    int which;
    px_trial_source source;
    bool domains, interactions, variants;
} px_design_ask;
PX_CHECKED px_err *px_design_new(const px_study *study, const px_design_ask *ask, px_design *out);
void px_design_free(px_design *design);
/* Finds the columns that are independent and packs x to them. */
PX_CHECKED px_err *px_design_independent(px_design *design);

/* Estimates of the kept columns spread over all p columns; cov [p,p], NaN rows where not kept. */
typedef struct {
    int p;
    double *beta, *cov;
    bool ok;
    char note[PX_TERM_MAX];
} px_fit;
PX_CHECKED px_err *px_fit_new(int p, px_fit *out);
void px_fit_free(px_fit *fit);
/* From the kept columns; cov has leading dimension ld. */
void px_fit_spread(const px_design *design, const double *beta, const double *cov, int ld,
                   px_fit *fit);
/* Rows of arms, covariates and the contrasts between arms. */
void px_fit_rows(const px_study *study, const px_design *design, const px_fit *fit,
                 const px_about *about, px_table *table);

/* --- linear mixed model --- */
typedef struct {
    int64_t n;
    int p; /* columns of x, independent */
    const double *x, *y;
    int n_factors; /* 0 … 2 */
    const int32_t *level[2];
    int32_t n_levels[2];
} px_lmm;
typedef struct {
    double beta[PX_COLUMNS_MAX], cov[PX_COLUMNS_MAX * PX_COLUMNS_MAX];
    double sd[2], sd_residual, deviance; /* REML criterion */
    bool singular;                       /* a variance is 0 */
    bool ok;
    const char *why; /* where it is not ok */
} px_lmm_fit;
/* By restricted maximum likelihood; crossed or nested factors. */
PX_CHECKED px_err *px_lmm_reml(const px_lmm *model, px_lmm_fit *out);

/* --- choices: Plackett-Luce and what is made of it --- */
typedef struct {
    int32_t first, n; /* alternatives, best first */
    int32_t stages;   /* choices made: n - 1 for a ranking, 1 for a best one */
    int32_t cluster;
    double weight;
} px_choice;
typedef struct {
    int64_t n_choices, n_rows;
    px_choice *choices;
    double *x; /* [n_rows, p] */
    int p;
    int32_t n_clusters;
} px_choices;
typedef struct {
    double beta[PX_COLUMNS_MAX], cov[PX_COLUMNS_MAX * PX_COLUMNS_MAX]; /* clustered */
    double log_likelihood;
    bool ok, ridge;
    bool keep[PX_COLUMNS_MAX];
    const char *why;
} px_choice_fit;
typedef struct {
    const double *penalty; /* [p,p] added to the Hessian as is, or NULL */
    const double *start;   /* [p] or NULL */
    const bool *keep;      /* [p] columns known to be independent, or NULL */
    double tolerance;      /* of a step; 0: as near as doubles go */
    bool errors;
} px_choice_how;
PX_CHECKED px_err *px_choice_newton(const px_choices *data, const px_choice_how *how,
                                    px_choice_fit *out);
/* Tries the maximum; where it is at infinity, again with the ridge of 1e-3. arm_columns: the
 * columns 0 … n_arms - 1 are arms but the reference. */
PX_CHECKED px_err *px_choice_maximum(const px_choices *data, int arm_columns, px_choice_fit *out);
void px_choices_free(px_choices *choices);

/* --- the bootstrap over people --- */
typedef enum { PX_BOOT_RATIO, PX_BOOT_KAPPA, PX_BOOT_WORTH } px_boot_kind;
typedef struct {
    px_boot_kind kind;
    int n;                           /* kappa: categories */
    double *numerator, *denominator; /* [n_people], or [n_people][n * n] and NULL */
} px_boot_stat;
typedef struct {
    int32_t n_people;   /* people of the source, who are drawn */
    int32_t *person_of; /* trials' person -> drawn index or -1 */
    px_boot_stat *stats;
    int n_stats, room;
    struct px_boot_rank *ranks; /* worths by Plackett-Luce */
    int n_ranks;
    int source;
} px_boot;
typedef struct px_boot_rank {
    px_choices patterns; /* weight 1 each */
    int64_t *start;      /* [n_people + 1] into pattern */
    int32_t *pattern;
    double beta[PX_COLUMNS_MAX];
    bool keep[PX_COLUMNS_MAX], *met; /* met [n_arms]: has a worth */
    int stat;                        /* the first of n_arms worths among the statistics */
    int n_arms;
} px_boot_rank;
PX_CHECKED px_err *px_boot_new(const px_study *study, int source, px_boot *out);
void px_boot_free(px_boot *boot);
/* A statistic sum(numerator) / sum(denominator) over people; zeroed arrays [n_people], to fill. */
PX_CHECKED px_err *px_boot_ratio(px_boot *boot, double **numerator, double **denominator,
                                 int *stat);
/* Its row: the ratio, its clustered error by linearisation, and the bootstrap's interval. */
px_row *px_boot_row(const px_boot *boot, int stat, px_about about, const char *term, double null,
                    px_table *table);
/* As many statistics as arms, to be filled by the ranking that is added next; *stat is the first.
 */
PX_CHECKED px_err *px_boot_worths(px_boot *boot, int n_arms, int *stat);
/* Quadratic kappa of the summed tables: n * n columns of `sums` [n_people][n * n], row-major. */
PX_CHECKED px_err *px_boot_kappa(px_boot *boot, double **sums, int n, int *stat);
/* Collective. Percentile intervals into the rows that name a statistic. */
PX_CHECKED px_err *px_boot_run_all(const px_ranks *ranks, const px_stats_job *job, px_boot *boot,
                                   px_table *table);

/* --- analyses: each adds rows; none fails on what cannot be estimated --- */
PX_CHECKED px_err *px_shares_rows(const px_study *study, px_boot *boot, px_table *table);
PX_CHECKED px_err *px_rank_rows(const px_study *study, px_boot *boot, px_table *table);
PX_CHECKED px_err *px_agree_rows(const px_study *study, px_boot *boot, px_table *table);
PX_CHECKED px_err *px_rank_length_rows(const px_study *study, px_trial_source source,
                                       px_question question, px_table *table);
PX_CHECKED px_err *px_pair_length_rows(const px_study *study, px_trial_source source,
                                       px_question question, px_table *table);
PX_CHECKED px_err *px_lmm_rows(const px_study *study, px_trial_source source, int outcome, int form,
                               px_table *table);
PX_CHECKED px_err *px_tobit_rows(const px_study *study, px_trial_source source, px_table *table);
PX_CHECKED px_err *px_ordinal_rows(const px_study *study, px_trial_source source, int outcome,
                                   px_table *table);
PX_CHECKED px_err *px_feedback_rows(const px_study *study, px_table *table);
PX_CHECKED px_err *px_traits_rows(const px_study *study, px_table *table);
enum { PX_FEEDBACKS = 5 };
extern const char *const px_feedback_names[PX_FEEDBACKS]; /* outcomes */
/* One of them of a user's turn; room is scratch. */
double px_feedback_value(int which, const px_turn *turn, px_str *room);
/* Means: part 0 sliders and bids, 1 tokens and time, 2 user turns. */
PX_CHECKED px_err *px_describe_rows(const px_study *study, int source, int part, px_table *table);
/* Collective. Also appends the shares of topics to json. */
PX_CHECKED px_err *px_topics_rows_all(const px_ranks *ranks, const px_study *study, px_table *table,
                                      px_str *json);
/* The evaluations that the job names; {0} is empty. */
typedef struct {
    char **paths;
    int n;
} px_offline_files;
PX_CHECKED px_err *px_offline_find(const px_stats_job *job, px_offline_files *out);
void px_offline_free(px_offline_files *files);
PX_CHECKED px_err *px_offline_rows(const px_offline_files *files, px_table *table);
void px_power_rows(const px_study *study, px_table *table);

/* Tobit: y in [low, high], x [n,p] independent columns, clusters of rows. Formulas in tobit.c. */
typedef struct {
    int64_t n;
    int p;
    const double *x, *y;
    double low, high;
    const int32_t *cluster;
    int32_t n_clusters;
} px_tobit;
typedef struct {
    double beta[PX_COLUMNS_MAX], cov[PX_COLUMNS_MAX * PX_COLUMNS_MAX]; /* clustered; p + 1: sigma */
    double cov_plain[PX_COLUMNS_MAX * PX_COLUMNS_MAX];
    double sigma, log_likelihood;
    bool ok;
    const char *why;
} px_tobit_fit;
PX_CHECKED px_err *px_tobit_fit_ml(const px_tobit *model, px_tobit_fit *out);

/* Cumulative logit with a normal effect of each person. */
typedef struct {
    int64_t n;
    int p, n_categories; /* category[i] in 0 … n_categories - 1, each there at least once */
    const double *x;
    const int32_t *category, *person;
    int32_t n_persons;
    int nodes;
} px_ordinal;
typedef struct {
    double *theta; /* thresholds [n_categories - 1], then beta [p], then log sd; heap */
    double *cov;   /* of these, heap */
    double sd, log_likelihood;
    int n;
    bool ok, singular;
    const char *why;
} px_ordinal_fit;
PX_CHECKED px_err *px_ordinal_ml(const px_ordinal *model, px_ordinal_fit *out);
void px_ordinal_fit_free(px_ordinal_fit *fit);

#endif
