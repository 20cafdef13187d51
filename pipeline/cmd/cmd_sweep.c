/* cmd_sweep.c - prismx sweep: a training with some keys varied; sweep table, sweep plot: what came
 * out. */
#include "cmd.h"
#include "report.h"
#include "slurm.h"

#include <string.h>
#include <unistd.h>

enum {
    KEY_DRY = 1,
    KEY_RETRY,
    KEY_POINT,
    KEY_SHARED,
    KEY_OUT,
    KEY_SUBMIT,
    KEY_PRINT,
    KEY_CLUSTER,
};

typedef struct {
    const char *words[2], *out;
    int n_words;
    px_cli_job job;
    px_sweep_options run;
    const char *cluster;
    bool submit, print;
} sweep_options;

static error_t parse_sweep(int key, char *arg, struct argp_state *state) {
    sweep_options *o = state->input;
    int64_t n = 0;
    error_t bad = 0;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->job;
        break;
    case KEY_POINT:
        bad = px_cli_number(state, "point", arg, &n);
        o->run.point = (int)PX_MIN(n, INT32_MAX);
        return bad;
    case KEY_SHARED:
        o->run.shared = true;
        break;
    case KEY_DRY:
        o->run.dry_run = true;
        break;
    case KEY_SUBMIT:
        o->submit = true;
        break;
    case KEY_PRINT:
        o->print = true;
        break;
    case KEY_CLUSTER:
        o->cluster = arg;
        break;
    case KEY_RETRY:
        o->run.retry_failed = true;
        break;
    case KEY_OUT:
        o->out = arg;
        break;
    case ARGP_KEY_ARG:
        if (o->n_words >= 2) return ARGP_ERR_UNKNOWN;
        o->words[o->n_words++] = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"dry-run", KEY_DRY, NULL, 0, "Says what would run and why, and runs nothing", 0},
    {"retry-failed", KEY_RETRY, NULL, 0, "Also points that failed and have not changed since", 0},
    {"shared", KEY_SHARED, NULL, 0, "Only what all points share: corpus and reference", 0},
    {"point", KEY_POINT, "K", 0,
     "Only the training number K (from 1) and its evaluation; what all share has to be done", 0},
    {"submit", KEY_SUBMIT, NULL, 0,
     "Into Slurm: what all points share, one array with a task a training, the table", 0},
    {"print", KEY_PRINT, NULL, 0, "With --submit: only shows the batch scripts", 0},
    {"cluster", KEY_CLUSTER, "FILE", 0, "With --submit: what the site wants", 0},
    {"out", KEY_OUT, "FILE", 0, "plot: .html or .svg to write; table: a file in place of stdout",
     0},
    {0}};
static const struct argp_child children[] = {{&px_cli_job_argp, 0, "The job:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_sweep,
    "SWEEP.json\nDIR\ntable DIR\nplot DIR",
    "Trains and evaluates once for every point of a grid or list of configurations. Corpus and "
    "reference are made once, and so is a training that two points share. A point that fails does "
    "not keep the others from running. Run again, it goes on.\v"
    "Example:\n  prismx sweep jobs/ablation-alpha-beta-tu.json --var model=./Llama-3.1-8B --ranks "
    "4\n"
    "  prismx sweep table runs/ablation-alpha-beta-tu\n"
    "  prismx sweep plot runs/ablation-alpha-beta-tu --out sweep.html",
    children,
    NULL,
    NULL};

static px_err *results(const sweep_options *o, bool plot) {
    px_sweep sweep;
    px_str text = {0};
    PX_PASS(px_sweep_open(o->words[1], NULL, &sweep));
    px_err *err = px_sweep_table(&sweep, &text);
    if (!err && plot) {
        px_report_sweep shown = {.name = sweep.job.name, .tsv = text.data, .n_keys = sweep.n_keys};
        err = px_report_sweep_make(&shown, o->out);
    } else if (!err && o->out) {
        err = px_file_write(o->out, text.data, text.size);
    } else if (!err) {
        fwrite(text.data, 1, text.size, stdout);
    }
    px_str_free(&text);
    px_sweep_free(&sweep);
    return err;
}

static px_err *submit(const sweep_options *o, px_sweep *sweep) {
    px_cluster cluster;
    px_submit_options how = {.print = o->print};
    if (o->run.point || o->run.shared || o->run.dry_run)
        PX_FAIL(PX_BAD_INPUT, "--submit with --point, --shared or --dry-run; --print only shows");
    PX_PASS(px_cluster_read(o->cluster, &cluster));
    px_err *err = px_submit_sweep(sweep, &cluster, &how, o->run.retry_failed);
    px_cluster_free(&cluster);
    return err;
}

px_err *cmd_sweep(px_ranks *ranks, int argc, char **argv) {
    sweep_options o = {0};
    px_sweep sweep;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (o.n_words == 0) PX_FAIL(PX_BAD_INPUT, "no sweep: give a sweep file");
    bool table = !strcmp(o.words[0], "table"), plot = !strcmp(o.words[0], "plot");
    if ((table || plot) && o.n_words < 2)
        PX_FAIL(PX_BAD_INPUT, "sweep %s wants the folder of a sweep", o.words[0]);
    if (plot) PX_PASS(px_cli_need("out", o.out));
    if (table || plot) return results(&o, plot);
    if (!o.submit && (o.print || o.cluster))
        PX_FAIL(PX_BAD_INPUT, "--print and --cluster go with --submit");
    if (o.n_words > 1)
        PX_FAIL(PX_BAD_INPUT, "%s %s: one sweep file is wanted, or table DIR, plot DIR", o.words[0],
                o.words[1]);
    o.run.show = isatty(STDERR_FILENO);
    PX_PASS(px_sweep_read(o.words[0], &o.job.given, &sweep));
    px_err *err = o.submit ? submit(&o, &sweep) : px_sweep_run(&sweep, &o.run);
    if (!err && !o.submit && !o.run.dry_run && !o.run.point && !o.run.shared)
        px_info("%s: done, prismx sweep table %s", sweep.job.name, sweep.job.dir);
    px_sweep_free(&sweep);
    return err;
}
