/* sweep_internal.h - shared by the files of a sweep. */
#ifndef PX_SWEEP_INTERNAL_H
#define PX_SWEEP_INTERNAL_H

#include "job_internal.h"
#include "sweep.h"

enum { SWEEP_KEYS_MOST = 32 };

/* A sweep while it is read. */
typedef struct {
    px_sweep *sweep;
    const px_job_given *given;
    const char *path, *dir_of_file, *dir; /* dir: the sweep's folder */
    const char *name, *config_path;       /* config_path NULL: the defaults */
    const char *prepare;                  /* the step that makes the corpus; NULL: it is there */
    cJSON *json, *points, *base, *steps;  /* steps: of the job that is made */
    const char **units;                   /* [n_points] names of the trainings so far */
    px_arena *arena;
} sweep_reader;

/* Name and folder. */
px_err *sweep_place(sweep_reader *r);
/* Finds or makes the steps of a point's training: `set` is all that is given over the configuration
 * file, hex the training's name. */
px_err *sweep_unit(sweep_reader *r, px_sweep_point *point, const cJSON *set, const char *title,
                   const char *hex);
/* DIR/sweep.json: keys, points, their trainings. */
px_err *sweep_write(const px_sweep *sweep);
/* The steps become a job. */
px_err *sweep_job(const sweep_reader *r, const px_job_given *given);

#endif
