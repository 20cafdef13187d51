/* cmd_run.c - prismx run: the steps of a job file, here and now. */
#include "cmd.h"
#include "job.h"

#include <unistd.h>

enum { KEY_DRY = 1, KEY_FROM, KEY_ONLY };

typedef struct {
    const char *path;
    px_cli_job job;
    px_job_run_options run;
} run_options;

static error_t parse_run(int key, char *arg, struct argp_state *state) {
    run_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->job;
        break;
    case KEY_DRY:
        o->run.dry_run = true;
        break;
    case KEY_FROM:
        o->run.from = arg;
        break;
    case KEY_ONLY:
        o->run.only = arg;
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
    {"dry-run", KEY_DRY, NULL, 0, "Says what would run and why, and runs nothing", 0},
    {"from", KEY_FROM, "STEP", 0, "Also runs this step and all that hang on it, changed or not", 0},
    {"only", KEY_ONLY, "STEP", 0,
     "This step alone, where it has to run; the steps that it needs have to be done", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_job_argp, 0, "The job:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_run,
    "JOB.json",
    "Runs the steps of a job file in order, each a command of this program. A step whose command, "
    "configuration and inputs are as they were is kept; for each other the reason is said. A step "
    "that fails leaves what is finished; run again goes on there. SIGTERM or SIGUSR1 stops at the "
    "step's next checkpoint (exit 3).\v"
    "Example:\n  prismx run jobs/demo.json --var model=./SmolLM2-135M-Instruct --ranks 2\n"
    "  prismx run jobs/demo.json --var model=./SmolLM2-135M-Instruct --dry-run",
    children,
    NULL,
    NULL};

px_err *cmd_run(px_ranks *ranks, int argc, char **argv) {
    run_options o = {0};
    px_job job;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.path) PX_FAIL(PX_BAD_INPUT, "no job: give a job file or a job folder");
    o.run.show = isatty(STDERR_FILENO);
    PX_PASS(px_job_read(o.path, &o.job.given, &job));
    px_err *err = px_job_run(&job, &o.run);
    if (!err && !o.run.dry_run && !o.run.only) px_info("%s: done, in %s", job.name, job.dir);
    px_job_free(&job);
    return err;
}
