/* study.h - stats.tsv as the page sees it: rows found by what they are, the arms, sources and
 * domains that they are about. Inside the module. Knows nothing of trials. */
#ifndef PX_STUDY_H
#define PX_STUDY_H

#include <math.h>

#include "base.h"
#include "json.h"

typedef enum { HUMAN, JUDGE, CONVERSE, N_STUDY_SOURCES } study_source;

/* Texts live in the study's arena; NA is "" or NaN. */
typedef struct {
    const char *family, *outcome, *model, *term, *contrast, *note;
    int source; /* -1: none */
    double estimate, se, low, high, p, p_adjusted, n_trials, n_people;
} stat_row;

enum { STUDY_ARMS = 64, STUDY_DOMAINS = 1024, STUDY_FILES = 16 };

typedef struct {
    px_arena *arena;
    stat_row *rows; /* heap */
    int64_t n, room, n_twice, n_broken;
    px_map index;
    const char *arms[STUDY_ARMS], *domains[STUDY_DOMAINS]; /* the reference arm first */
    int n_arms, n_domains, n_more_arms, n_more_domains;
    int positions; /* that somebody stood at: arms of a trial */
    bool has[N_STUDY_SOURCES];
    cJSON *json[STUDY_FILES]; /* stats.json beside each file, NULL: none */
    int n_files;
    cJSON *traits; /* traits.summary.json, or NULL */
} study_view;

extern const char *const px_stat_sources[N_STUDY_SOURCES];

/* Reads the files, and the .json beside each where there is one. A row that another has already
 * given (the same outcome, model, term and source) and a line with other than 15 cells are left
 * out and counted. PX_BAD_INPUT: a file that is not there or has other columns. */
PX_CHECKED px_err *px_stats_read(const char *const *paths, int n, study_view *out);
void px_stats_free(study_view *study);
/* The row of this outcome, model, source and term (its parts one after another, NULL ends); NULL:
 * none, or it is NA. */
const stat_row *px_stat_find(const study_view *study, const char *outcome, const char *model,
                             int source, const char *a, const char *b, const char *c);
/* A row of the page's own making, for tables; texts must live as long. NULL: out of memory. */
stat_row *px_stat_own(study_view *study, const stat_row *row);
/* The arm's number, or -1. */
int px_stat_arm(const study_view *study, const char *name);

#endif
