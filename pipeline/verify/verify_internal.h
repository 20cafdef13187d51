/* verify_internal.h - shared inside verify. */
#ifndef PX_VERIFY_INTERNAL_H
#define PX_VERIFY_INTERNAL_H

#include "verify.h"

/* Text of a value for one side of a difference, in the arena; "nothing" for NULL. Shortened. */
const char *verify_value(px_arena *arena, const cJSON *item);

/* Everything about the run that is verified. */
typedef struct {
    const px_verify *job;
    px_str *said;
    px_arena *arena;
    px_diffs found; /* before, then after the rerun */
    cJSON *manifest, *config_file;
    const cJSON *config;        /* the manifest's */
    const char *corpus, *model; /* paths that are there now */
    int64_t *steps;             /* checkpoints, newest first */
    int n_checkpoints;
    int64_t last, total;          /* of metrics.jsonl; of the manifest */
    int64_t first_step, end_step; /* compared: first_step … end_step */
    bool *damaged;                /* [n_checkpoints] does not fit its own hash */
    bool whole;                   /* the rerun reaches the end of a finished run */
    char *temp;                   /* folder of the rerun */
    cJSON *manifest_now;
} verifying;
void verify_say(verifying *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- checks.c: what can be told without computing --- */
PX_CHECKED px_err *verify_configs(verifying *v);
/* PX_BAD_INPUT names the file. */
PX_CHECKED px_err *verify_inputs(verifying *v);
PX_CHECKED px_err *verify_checkpoints(verifying *v);
PX_CHECKED px_err *verify_outputs(verifying *v);

/* --- rerun.c --- */
/* The rerun in v->temp/run. PX_STOPPED: by a signal. */
PX_CHECKED px_err *verify_rerun(verifying *v);
/* v->temp/run/NAME, heap. */
char *verify_rerun_path(const verifying *v, const char *name);

/* --- reason.c --- */
/* The likely reasons, most likely first, as lines of v->said. */
PX_CHECKED px_err *verify_reasons(verifying *v);

#endif
