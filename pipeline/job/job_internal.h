/* job_internal.h - shared by the files of this module. */
#ifndef PX_JOB_INTERNAL_H
#define PX_JOB_INTERNAL_H

#include "job.h"

/* A command that a step may be. `options`: "name:K" separated by spaces; K is v value, f flag,
 * i input, c configuration file, s assignment, o file written, O folder written. */
typedef struct {
    const char *name;
    bool mpi, resumes;
    /* The configuration as it resolves is part of the key; else (a run's own configuration lies
     * below it) what is given is. */
    bool resolves;
    const char *keys;      /* prefixes of the configuration's keys that matter; "": all */
    const char *options;   /* what may be given */
    const char *beside;    /* "option:ending,ending": further files, "a.h5" → "a" + ending */
    px_job_kind arguments; /* what `args` are: PX_JOB_VALUE, _INPUT or _ACTION */
} job_command;

const job_command *job_command_find(const char *name);
/* PX_BAD_INPUT with the nearest name. */
px_err *job_command_get(const char *name, const char *where, const job_command **out);
/* PX_BAD_INPUT with the nearest name and all that are accepted. */
px_err *job_option_kind(const job_command *command, const char *option, const char *where,
                        px_job_kind *out);

/* A file that the job file names, not made by a step: from the current folder, the job file's, its
 * parent, and where the program was installed. false: nowhere; `looked` (may be NULL) gets the
 * places. */
px_err *job_file_find(px_arena *arena, const char *dir_of_file, const char *given, bool *found,
                      const char **path, px_str *looked);

/* A job while it is read. */
typedef struct {
    px_job *job;
    const px_job_given *given;
    const char *dir_of_file; /* of the job file */
} job_reader;

/* Fills options and outputs of a step from its JSON. */
px_err *job_step_parse(const job_reader *reader, const cJSON *json, px_job_step *step);
/* Fills inputs, made_by, option values; needs every step's outputs. */
px_err *job_paths_resolve(const job_reader *reader);
/* The configuration keys of a step are known and in range. */
px_err *job_config_check(const px_job_step *step);
/* needs as the file has them and as inputs say; sorts the steps. */
px_err *job_order(px_job *job);
/* The resolved job as a job file. */
px_err *job_json_resolved(px_job *job);

/* Is the lock at `path` held by a living process, as far as this one can tell? */
bool job_lock_held(const char *path);

/* --- digests (digest.c) --- */
/* SHA-256 of what stands at `path`, for a key: of a file's bytes; of a folder's files; of a run
 * folder what its results hang on, not times. *stamp (in the job's arena) changes when the content
 * may have. Known pairs of path and stamp are not read again. Nothing there: hex "". */
px_err *job_digest(px_job *job, const char *path, px_digest *out, const char **stamp);
bool job_is_run_folder(const char *path);
void job_hashes_free(struct job_hashes *hashes);
/* "key.path" → text (JSON), of all keys or without those that cannot change results. */
px_err *job_config_flat(const cJSON *config, const char *prefix, bool all, cJSON *out);

/* --- keys (key.c) --- */
/* All that a step's result hangs on, name → text, names sorted; the caller's (cJSON_Delete). An
 * input that is not there has the text "". */
px_err *job_key_parts(px_job *job, int step, cJSON **parts);
px_err *job_key_hash(const cJSON *parts, px_digest *out);
/* What differs, as reasons in words: "corpus.h5 has changed". */
void job_key_compare(const px_job_step *step, const cJSON *before, const cJSON *now, px_str *why);
void job_why_add(px_str *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- states (state.c) --- */
/* The state file's JSON, or NULL where there is none that can be read. */
cJSON *job_state_read(const px_job *job, int step);
px_err *job_state_write(const px_job *job, int step, const cJSON *state);
/* DIR/.steps/STEP.ENDING in the arena. */
const char *job_step_path(const px_job *job, int step, const char *ending);
/* As px_file_write, by a temporary name of this process's own: others may write the same. */
px_err *job_file_write(const char *path, const char *text, size_t size);

/* "a/b" with no ".", ".." or doubled "/" left, absolute (from `base` where it is not). */
px_err *job_path_clean(px_arena *arena, const char *base, const char *path, const char **out);
char *job_text(px_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
