/* report_runs.h - run folders as training and evaluation leave them, made up: for the report's
 * test, and for looking at the page. */
#ifndef PX_REPORT_RUNS_H
#define PX_REPORT_RUNS_H

#include <stdbool.h>

typedef struct {
    const char *name; /* folder below the parent */
    int n_steps, n_people;
    bool personal, individual, dead, complete, evaluated;
    double skill; /* how far accuracy gets above chance */
} made_run;

/* PARENT/NAME with manifest, config, metrics, users.h5, evals/ and, beside it, the corpus's report.
 */
void make_run(const char *parent, const made_run *run);
/* Writes text as PARENT/NAME, folders on the way made. */
void make_file(const char *parent, const char *name, const char *text);

#endif
