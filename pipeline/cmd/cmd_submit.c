/* cmd_submit.c - prismx submit: the steps of a job file as Slurm jobs. */
#include "cmd.h"
#include "slurm.h"

enum { KEY_CLUSTER = 1, KEY_PRINT };

typedef struct {
    const char *path, *cluster;
    px_cli_job job;
    px_submit_options submit;
} submit_options;

static error_t parse_submit(int key, char *arg, struct argp_state *state) {
    submit_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->job;
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
    {0}};
static const struct argp_child children[] = {{&px_cli_job_argp, 0, "The job:", 0}, {0}};
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
    children,
    NULL,
    NULL};

px_err *cmd_submit(px_ranks *ranks, int argc, char **argv) {
    submit_options o = {0};
    px_cluster cluster;
    px_job job;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.path) PX_FAIL(PX_BAD_INPUT, "no job: give a job file or a job folder");
    PX_PASS(px_cluster_read(o.cluster, &cluster));
    px_err *err = px_job_read(o.path, &o.job.given, &job);
    if (!err) {
        err = px_submit(&job, &cluster, &o.submit);
        px_job_free(&job);
    }
    px_cluster_free(&cluster);
    return err;
}
