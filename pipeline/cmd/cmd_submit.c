/* cmd_submit.c - prismx submit: the steps of a job file as Slurm jobs. */
#include "cmd.h"
#include "slurm.h"

#include <errno.h>

enum { KEY_DIR = 1, KEY_RANKS, KEY_THREADS, KEY_VAR, KEY_CLUSTER, KEY_PRINT, VARS_MAX = 64 };

typedef struct {
    const char *path, *cluster, *vars[VARS_MAX];
    px_job_given given;
    px_submit_options submit;
} submit_options;

static error_t parse_submit(int key, char *arg, struct argp_state *state) {
    submit_options *o = state->input;
    int64_t n = 0;
    error_t bad = 0;
    switch (key) {
    case KEY_DIR:
        o->given.dir = arg;
        break;
    case KEY_RANKS:
        bad = px_cli_number(state, "ranks", arg, &n);
        o->given.ranks = (int)PX_MIN(n, 1000000);
        return bad;
    case KEY_THREADS:
        bad = px_cli_number(state, "threads", arg, &n);
        o->given.threads = (int)PX_MIN(n, 4096);
        return bad;
    case KEY_VAR:
        if (o->given.n_vars >= VARS_MAX) {
            argp_error(state, "more than %d --var options", VARS_MAX);
            return EINVAL;
        }
        o->vars[o->given.n_vars++] = arg;
        break;
    case KEY_CLUSTER:
        o->cluster = arg;
        break;
    case KEY_PRINT:
        o->submit.print = true;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) return ARGP_ERR_UNKNOWN;
        o->path = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"cluster", KEY_CLUSTER, "FILE", 0,
     "What the site wants: partition, account, launcher … (default: configs/clusters/default.json)",
     0},
    {"print", KEY_PRINT, NULL, 0,
     "Shows the batch scripts, asks nothing of Slurm and writes nothing", 0},
    {"job-dir", KEY_DIR, "DIR", 0, "Job folder (default: runs/NAME from here)", 0},
    {"ranks", KEY_RANKS, "N", 0, "Ranks of every step that takes some, over the job file's", 0},
    {"threads", KEY_THREADS, "N", 0, "Threads a rank, over the job file's", 0},
    {"var", KEY_VAR, "NAME=VALUE", 0, "Value of ${NAME} in the job file; may be repeated", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_submit,
    "JOB.json\nJOBDIR",
    "Puts the steps of a job into Slurm, each behind those it needs. Steps that are done and "
    "unchanged, queued or running are left alone, so the same command goes on after a failure. "
    "`status` shows how it stands.\v"
    "Example:\n  prismx submit jobs/demo.json --var model=$PWD/model --cluster site.json --print\n"
    "  prismx submit jobs/demo.json --var model=$PWD/model --cluster site.json\n"
    "  prismx status runs/demo",
    NULL,
    NULL,
    NULL};

px_err *cmd_submit(px_ranks *ranks, int argc, char **argv) {
    submit_options o = {0};
    px_cluster cluster;
    px_job job;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.path) PX_FAIL(PX_BAD_INPUT, "no job: give a job file or a job folder");
    o.given.vars = o.vars;
    PX_PASS(px_cluster_read(o.cluster, &cluster));
    px_err *err = px_job_read(o.path, &o.given, &job);
    if (!err) {
        err = px_submit(&job, &cluster, &o.submit);
        px_job_free(&job);
    }
    px_cluster_free(&cluster);
    return err;
}
