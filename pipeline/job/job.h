/* job.h - whole jobs: a file of named steps, each a command of this program with its inputs and
 * outputs; what of it is done already and what has to run and why; a lock that names its holder;
 * and the one way to start a step as a process of its own. Knows nothing of what a step computes: a
 * step's command is a row of a table (commands.c), its result is files. Not collective: a job is
 * driven by one process, the ranks are its children's. docs/jobs.md describes the format. */
#ifndef PX_JOB_H
#define PX_JOB_H

#include "config.h"

/* Raised when the program's results change for the same inputs and configuration (CHANGELOG.md,
 * "Changes results"): every step then runs again. */
#define PX_RESULT_VERSION 1

/* --- a job read from its file --- */

/* What an option of a step's command names. */
typedef enum {
    PX_JOB_VALUE,  /* a number or word */
    PX_JOB_FLAG,   /* stands alone */
    PX_JOB_INPUT,  /* file or folder that is read: part of the key by its content */
    PX_JOB_CONFIG, /* configuration file: part of the key by what it sets */
    PX_JOB_SET,    /* KEY=VALUE of the configuration */
    PX_JOB_OUT_FILE,
    PX_JOB_OUT_DIR,
    PX_JOB_ACTION, /* arguments: the first is a word, the others are read */
    PX_JOB_MADE /* a small JSON file that stands in the job file itself (arms); `value` names it */
} px_job_kind;

typedef struct {
    const char *name;  /* without dashes; "" is an argument without a name */
    const char *value; /* as the command gets it: paths absolute; NULL for a flag */
    const char *given; /* as the job file has it, ${…} replaced; NULL for a flag */
    px_job_kind kind;
    const char *content; /* of a MADE file; else NULL */
    cJSON *json;         /* where it stands in the job's json */
} px_job_option;

typedef struct {
    const char *name; /* of the option that names it */
    const char *path; /* absolute */
    const char *given;
    int made_by; /* index of the step that makes it, -1: there from the start */
} px_job_path;

typedef struct {
    const char *name, *command;
    const char *about;      /* for people; NULL: nothing said */
    px_job_option *options; /* in the order in which the command gets them */
    px_job_path *inputs, *outputs;
    int *needs; /* steps that come before, by index, ascending */
    int n_options, n_inputs, n_outputs, n_needs;
    bool mpi;                  /* the command shares its work among ranks */
    bool resumes;              /* takes --resume and --overwrite, stops with a checkpoint at USR1 */
    int ranks;                 /* 1 where the command takes no ranks */
    int threads;               /* per rank; 0: the cores shared out */
    int gpus;                  /* 0: none asked for; for Slurm */
    const char *time, *memory; /* as Slurm takes them ("2:00:00", "8G"); NULL: not given */
    const char *const *env;    /* "NAME=VALUE", NULL at the end */
    const char *log_path;      /* DIR/logs/STEP.log */
} px_job_step;

typedef struct {
    const char *name;
    const char *path;   /* of the job file, absolute */
    const char *dir;    /* the job folder, absolute; need not be there yet */
    px_job_step *steps; /* in an order in which they can run; the file's where that is one */
    int n_steps;
    cJSON *json;     /* resolved: itself a job file, with absolute input paths and every need */
    px_arena *arena; /* holds all of it */
    struct job_hashes *hashes; /* of files, as the states know them; read when first asked */
} px_job;

typedef struct {
    const char *dir;         /* --job-dir; NULL: runs/NAME from here */
    int ranks, threads;      /* 0: as the file says, there 1 and 0 */
    const char *const *vars; /* "NAME=VALUE" over the file's vars */
    int n_vars;
} px_job_given;

/* Reads a job file, or the job.json of a job folder where `path` is one. Everything that can be
 * known before a step runs is checked: keys, commands, options, needs, cycles, configurations, and
 * that inputs which no step makes are there. PX_BAD_INPUT names step and key and the nearest name.
 * given NULL: nothing. Free with px_job_free. */
PX_CHECKED px_err *px_job_read(const char *path, const px_job_given *given, px_job *out);
/* The job as it was last run, by its job file or its folder: vars have the values they had. A job
 * that never ran is read from its file. */
PX_CHECKED px_err *px_job_open(const char *path, const px_job_given *given, px_job *out);
/* The same from parsed JSON (a sweep's points); `path` names the file that it came from; json is
 * copied. */
PX_CHECKED px_err *px_job_take(const cJSON *json, const char *path, const px_job_given *given,
                               px_job *out);
void px_job_free(px_job *job);
/* PX_BAD_INPUT: no such step, with the nearest name. */
PX_CHECKED px_err *px_job_find(const px_job *job, const char *name, int *step);
/* The command line behind the program's name: "train", "--config", … NULL-terminated, in `arena`.
 * `again` is "--resume", "--overwrite" or NULL. */
PX_CHECKED px_err *px_job_words(const px_job_step *step, const char *again, px_arena *arena,
                                const char *const **out);

/* --- the lock: one process works in a job folder, or on a step --- */
typedef struct {
    int fd; /* -1: not held. A child that inherits it keeps the lock until it ends too. */
    const char *path;
} px_job_lock;
#define PX_JOB_UNLOCKED ((px_job_lock){.fd = -1})
/* Makes the file at `path` this process's; `what` is what is locked ("the job folder runs/demo").
 * PX_BAD_INPUT: another process works there, named by host, pid, Slurm job and restart count. One
 * that is dead (its process gone, its Slurm job ended or started again) is passed over. wait_s: a
 * holder that is about to end is waited for so long. `path` is borrowed. */
PX_CHECKED px_err *px_job_lock_take(const char *path, const char *what, bool inherit, double wait_s,
                                    px_job_lock *out);
void px_job_lock_drop(px_job_lock *lock);

/* --- starting a step --- */
typedef struct {
    const char *const *words; /* behind the program: "train", "--config", …, NULL at the end */
    const char *const *env;   /* "NAME=VALUE", NULL at the end; NULL: none */
    const char *log_path;     /* both streams are appended, behind a line with time and command;
                                 NULL: they go where this process's go */
    int ranks, threads;       /* threads 0: the cores shared out among the ranks */
    bool show;                /* what it writes goes to this process's stderr as well */
} px_launch_job;
typedef struct {
    int code;     /* 0 to 255; 128 + the signal where one ended it */
    bool stopped; /* this process was told to stop, and told the child */
} px_launch_end;
/* The words that start n ranks of this program: none for one; else mpirun, or srun --mpi=pmix in an
 * allocation of several nodes; PRISMX_LAUNCHER="mpirun …" or "srun …" says it in full but for the
 * number. PRISMX_CONTAINER ("apptainer exec x.sif") stands behind, for one rank too. In `arena`,
 * NULL at the end. */
PX_CHECKED px_err *px_launch_words(int ranks, px_arena *arena, const char *const **out);
/* Runs this program as a child and waits for it. SIGTERM, SIGUSR1 and SIGINT to this process are
 * passed on as SIGUSR1 (px_signals_catch must be on), and so is this process's end, so that no step
 * outlives its job. An error: it could not be started. Needs a process without threads. */
PX_CHECKED px_err *px_launch(const px_launch_job *job, px_launch_end *end);

/* Runs a program found on PATH (squeue) and takes what it writes to stdout and stderr, at most 1
 * MiB; *code as px_launch_end's, 127 where there is none. */
PX_CHECKED px_err *px_launch_capture(const char *const *argv, px_str *out, int *code);

/* --- states: DIR/.steps/STEP.json --- */
typedef enum {
    PX_STEP_NEVER,
    PX_STEP_RUNNING, /* or killed: the step's lock tells */
    PX_STEP_DONE,
    PX_STEP_FAILED,
    PX_STEP_STOPPED /* by a signal; goes on where the command can */
} px_step_status;

typedef struct {
    px_step_status status;
    bool alive; /* RUNNING, and its process is there */
    int code;   /* of the last start */
    int ranks, threads, starts;
    int64_t started_s, ended_s; /* since 1970; 0: not yet */
    double took_s;              /* the last start, or so far */
    const char *host;           /* in the arena; NULL: not known */
} px_step_state;
/* "done", "failed", … */
const char *px_step_status_name(px_step_status status);
/* Where a step stands by its file; no file is PX_STEP_NEVER. */
PX_CHECKED px_err *px_job_state(const px_job *job, int step, px_arena *arena, px_step_state *out);
/* How far a training is, by its run folder; step -1: nothing yet, or no training. */
typedef struct {
    int64_t step, total;
    double loss, accuracy; /* NaN: not there */
} px_step_progress;
PX_CHECKED px_err *px_job_progress(const px_job *job, int step, px_step_progress *out);
/* What `prismx status` prints: a line a step, or JSON. Appends to out. */
PX_CHECKED px_err *px_job_table(const px_job *job, bool json, px_str *out);
/* Appends to `why` the reasons for which the step has to run ("corpus.h5 has changed"); none: it is
 * done and unchanged. Hashes inputs that are not known by size and time. */
PX_CHECKED px_err *px_job_why(px_job *job, int step, px_str *why);

/* --- running --- */
typedef struct {
    const char *from, *only; /* names of steps; NULL: all that has to */
    /* Each [n_steps] or NULL. wanted: these alone, and what they need besides has to be done; as
     * with `only`, locks of steps are taken and not the folder's. may_fail: a failure of these ends
     * only what hangs on them, and is noted in failed. */
    const bool *wanted, *may_fail;
    bool *failed;
    px_err *(*begun)(
        const void *context); /* called once the folder is locked and made; NULL: not */
    const void *context;
    bool leave_failed; /* a step of may_fail that failed with the same key is not tried again */
    bool dry_run;      /* says what would run and why */
    bool show;         /* steps' output on stderr as well */
} px_job_run_options;
/* Runs what has to run, in order. The error of a step that failed has its exit code as kind
 * (PX_STOPPED: stopped by a signal; run again goes on). */
PX_CHECKED px_err *px_job_run(px_job *job, const px_job_run_options *options);
/* The job folder with what `run` puts there before the first step: job.json, logs/, .steps/. */
PX_CHECKED px_err *px_job_folder_make(const px_job *job);

#endif
