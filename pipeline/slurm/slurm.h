/* slurm.h - a job's steps as Slurm jobs: the file that describes a cluster, batch scripts made from
 * a template, sbatch with dependencies, and what Slurm says of them later. Knows nothing of what a
 * step computes: a batch script calls `prismx run DIR --only STEP`, which decides what is done. Not
 * collective. docs/slurm.md has the whole story. */
#ifndef PX_SLURM_H
#define PX_SLURM_H

#include "job.h"
#include "sweep.h"

/* --- the cluster file --- */
typedef struct {
    cJSON *json;      /* holds all texts */
    const char *path; /* of the file, absolute */
    /* Texts are "" where nothing is said. */
    const char *partition, *account, *qos, *constraint, *reservation, *time, *memory;
    const char *launcher, *container, *interface, *scratch, *template;
    const cJSON *sbatch, *modules, *setup, *environment; /* lists of texts; an object of texts */
    int64_t threads, ranks_per_node, gpus_per_node, margin_s, restarts, stalls, comment_s;
} px_cluster;
/* `path` NULL: configs/clusters/default.json beside the program. PX_BAD_INPUT names the key and
 * what is accepted. Free with px_cluster_free. */
PX_CHECKED px_err *px_cluster_read(const char *path, px_cluster *out);
void px_cluster_free(px_cluster *cluster);

/* --- a batch script --- */
typedef struct {
    const char *title; /* of the job: "demo" */
    const char *label; /* of the step: "train"; names the script and its output */
    const char *dir;   /* job folder, absolute */
    const char *words; /* shell words behind the program, ready quoted */
    const char *log;   /* the step's own log; NULL: none */
    const char *state; /* the step's state file; NULL: none */
    const char *out;   /* run folder or file that the step writes; NULL: it keeps no place */
    const char *time, *memory; /* NULL: the cluster's */
    int ranks, threads, gpus;  /* threads 0: the cluster's */
    bool mpi;                  /* false: one process whatever `ranks` says */
    /* NULL, or an array's tasks ("1-18%4") and the file that has for task K, in line K, the step's
     * out, state and log in place of those above, separated by tabs. */
    const char *array, *tasks;
} px_batch;
/* Appends the script. PX_BAD_INPUT: what is wanted does not fit the cluster file. */
PX_CHECKED px_err *px_batch_script(const px_cluster *cluster, const px_batch *batch, px_str *out);
/* Appends a text as one shell word. */
void px_shell_word(px_str *out, const char *text);

/* --- submitting --- */
typedef struct {
    bool print; /* shows the scripts; asks nothing of Slurm and writes nothing */
} px_submit_options;
/* Every step that has to run, as a batch job after those it needs; one that is queued or running is
 * left alone. Ids go to DIR/slurm.json, scripts to DIR/slurm/. Rank 0's stdout gets a line a step.
 */
PX_CHECKED px_err *px_submit(px_job *job, const px_cluster *cluster,
                             const px_submit_options *options);

/* A sweep: what all points share as jobs of their own, then one array with a task a training, at
 * most sweep->parallel at once, then its table and plot, however the points ended. */
PX_CHECKED px_err *px_submit_sweep(px_sweep *sweep, const px_cluster *cluster,
                                   const px_submit_options *options, bool retry_failed);

/* --- ids kept in DIR/slurm.json: label → id --- */
/* *out: a JSON object of the caller's; empty where there is no file. */
PX_CHECKED px_err *px_ledger_read(const char *dir, cJSON **out);
/* The id, or NULL; borrowed. */
const char *px_ledger_find(const cJSON *ledger, const char *label);
PX_CHECKED px_err *px_ledger_add(const char *dir, cJSON *ledger, const char *label, const char *id);

/* --- what Slurm says --- */
typedef struct {
    char state[32]; /* "RUNNING", … as Slurm has it; of an array's tasks the most urgent; "" unknown
                     */
    char reason[64]; /* of waiting; "" */
    char nodes[128];
    char start[24], end[24]; /* local time, "" not yet */
    int64_t took_s;
    int restarts;
    bool active;                               /* waits or runs */
    int n_tasks, n_waiting, n_running, n_done; /* of an array; n_tasks 1 for a plain job */
} px_slurm_state;
/* By scontrol, which forgets jobs after a while, then by sacct, where there is accounting. No such
 * job is no error: state "" then. */
PX_CHECKED px_err *px_slurm_look(const char *id, px_slurm_state *out);
/* The jobs of a job folder: lines appended to out, or a list "slurm" in json where that is given.
 * Nothing where none was submitted; Slurm that does not answer is a warning. */
PX_CHECKED px_err *px_slurm_table(const char *dir, cJSON *json, px_str *out);
/* Reads what `scontrol -o show job` or `sacct -nPX -D -o …` printed; for tests. */
void px_slurm_read_scontrol(const char *text, px_slurm_state *out);
void px_slurm_read_sacct(const char *text, px_slurm_state *out);

#endif
