/* sweep.h - one training many times, with some keys of its configuration varied: a job whose steps
 * are made here. Corpus and reference are steps that all points share; points whose training is the
 * same once resolved share one. docs/jobs.md describes the format. */
#ifndef PX_SWEEP_H
#define PX_SWEEP_H

#include "job.h"

typedef struct {
    const char **values; /* [n_keys] resolved, as JSON without a text's quotes */
    int unit;            /* its training */
} px_sweep_point;

/* One training, and its evaluation on the seen and the unseen split. */
typedef struct {
    int train, eval; /* steps of the job */
} px_sweep_unit;

typedef struct {
    px_job job; /* its folder holds sweep.json too */
    const char **keys;
    px_sweep_point *points;
    px_sweep_unit *units;
    int n_keys, n_points, n_units;
    int parallel; /* how many at once in an array; 0: no limit */
    px_arena *arena;
} px_sweep;

/* Reads a sweep file, or opens a sweep's folder; every point's configuration is checked.
 * PX_BAD_INPUT names key and point. */
PX_CHECKED px_err *px_sweep_read(const char *path, const px_job_given *given, px_sweep *out);
/* The sweep of a folder in which one has run, or that px_sweep_make made. given NULL: nothing; its
 * vars and folder are not looked at. */
PX_CHECKED px_err *px_sweep_open(const char *dir, const px_job_given *given, px_sweep *out);
/* The folder with job.json and sweep.json, and nothing run: px_sweep_open then knows it, on
 * whatever machine (`prismx sweep DIR --shared`, then `prismx sweep DIR --point K` for 1 …
 * px_sweep_n, at most `parallel` at once). */
PX_CHECKED px_err *px_sweep_make(const px_sweep *sweep);
/* Does the folder hold one? */
bool px_sweep_is(const char *dir);
void px_sweep_free(px_sweep *sweep);
/* How many trainings there are: points 1 … n of px_sweep_run, the tasks of an array. (Points of the
 * table that share a training are one.) */
int px_sweep_n(const px_sweep *sweep);

typedef struct {
    int point;   /* 1 … px_sweep_n: this training and its evaluation alone, what all share has
                    to be done; 0: everything */
    bool shared; /* only what all points share: corpus and reference */
    bool retry_failed; /* else a point that failed is left and named again */
    bool dry_run, show;
} px_sweep_options;
/* Runs what has to run. A point that fails does not keep others from running; PX_RUN_FAILED at the
 * end names them. PX_STOPPED: run again goes on. */
PX_CHECKED px_err *px_sweep_run(px_sweep *sweep, const px_sweep_options *options);
/* A tab-separated table with a head: the keys, params_sha256, acc_seen_own, acc_seen_generic,
 * acc_unseen_generic, delta_own, delta_swap, each with _low and _high, state, run. NA where there
 * is nothing. Appends to out. */
PX_CHECKED px_err *px_sweep_table(const px_sweep *sweep, px_str *out);

#endif
