/* cmd_status.c - prismx status: where each step of a job stands. */
#include "cmd.h"
#include "slurm.h"

enum { KEY_DIR = 1, KEY_JSON };

typedef struct {
    const char *path;
    px_job_given given;
    bool json;
} status_options;

static error_t parse_status(int key, char *arg, struct argp_state *state) {
    status_options *o = state->input;
    switch (key) {
    case KEY_DIR:
        o->given.dir = arg;
        break;
    case KEY_JSON:
        o->json = true;
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
    {"job-dir", KEY_DIR, "DIR", 0, "Job folder of a job file (default: runs/NAME from here)", 0},
    {"json", KEY_JSON, NULL, 0, "JSON in place of the table", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_status,
    "JOB.json\nJOBDIR",
    "Where each step of a job stands: never run, running, done, failed, stopped or interrupted, "
    "how "
    "long it took, and of a training how far it is; and what Slurm says of those submitted.\v"
    "Example:\n  prismx status runs/demo\n  prismx status jobs/demo.json --json",
    NULL,
    NULL,
    NULL};

/* Into the object that `text` holds. */
static px_err *add_slurm(const px_job *job, px_str *text) {
    cJSON *root = NULL;
    PX_PASS(px_json_parse(text->data, text->size, &root));
    px_str_clear(text);
    px_err *err = px_slurm_table(job->dir, root, text);
    px_json_print_pretty(root, text);
    px_str_char(text, '\n');
    if (!err) err = px_str_ok(text);
    cJSON_Delete(root);
    return err;
}

px_err *cmd_status(px_ranks *ranks, int argc, char **argv) {
    status_options o = {0};
    px_job job;
    px_str text = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.path) PX_FAIL(PX_BAD_INPUT, "no job: give a job file or a job folder");
    PX_PASS(px_job_open(o.path, &o.given, &job));
    px_err *err = px_job_table(&job, o.json, &text);
    if (!err) err = o.json ? add_slurm(&job, &text) : px_slurm_table(job.dir, NULL, &text);
    if (!err) fwrite(text.data, 1, text.size, stdout);
    px_str_free(&text);
    px_job_free(&job);
    return err;
}
