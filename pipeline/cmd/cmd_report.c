/* cmd_report.c - prismx report: run folders -> one page, or a table of their estimates. */
#include "cmd.h"
#include "report.h"
#include "sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEPS_MAX = 16 };
enum {
    KEY_OUT = 1,
    KEY_FORMAT,
    KEY_ANSWERS,
    KEY_TRAITS,
    KEY_TRUTH,
    KEY_STATS,
    KEY_USD_PROMPT,
    KEY_USD_NEW,
    KEY_USD_HOUR,
    RUNS_MAX = 256,
    STATS_MAX = 16
};

typedef struct {
    const char *out, *answers, *traits, *truth;
    px_report_format format;
    const char *runs[RUNS_MAX], *stats[STATS_MAX];
    px_report_prices prices;
    int n_runs, n_sweeps, n_stats;
    px_report_sweep sweeps[SWEEPS_MAX]; /* of those folders that are a sweep's */
    px_sweep open[SWEEPS_MAX];
    px_str tables[SWEEPS_MAX];
} report_options;

static bool format_of(const char *name, px_report_format *out) {
    static const char *const names[] = {"html", "tsv", "tex"};
    for (unsigned i = 0; i < PX_COUNT(names); i++)
        if (!strcmp(name, names[i])) {
            *out = (px_report_format)i;
            return true;
        }
    return false;
}

static error_t take_price(struct argp_state *state, const char *name, const char *arg,
                          double *out) {
    if (px_parse_f64(arg, out) && *out > 0 && *out < 1e9) return 0;
    argp_error(state, "--%s %s: a number of dollars above 0 is wanted", name, arg);
    return EINVAL;
}

static error_t take_stats(struct argp_state *state, report_options *o, const char *path) {
    if (o->n_stats == STATS_MAX) {
        argp_error(state, "more than %d files for --stats", STATS_MAX);
        return EINVAL;
    }
    o->stats[o->n_stats++] = path;
    return 0;
}

static error_t parse_report(int key, char *arg, struct argp_state *state) {
    report_options *o = state->input;
    switch (key) {
    case KEY_OUT:
        o->out = arg;
        break;
    case KEY_FORMAT:
        if (!format_of(arg, &o->format)) {
            argp_error(state, "--format %s: html, tsv or tex is wanted", arg);
            return EINVAL;
        }
        break;
    case KEY_ANSWERS:
        o->answers = arg;
        break;
    case KEY_TRAITS:
        o->traits = arg;
        break;
    case KEY_TRUTH:
        o->truth = arg;
        break;
    case KEY_STATS:
        return take_stats(state, o, arg);
    case KEY_USD_PROMPT:
        return take_price(state, "usd-per-million-prompt", arg, &o->prices.usd_per_million_prompt);
    case KEY_USD_NEW:
        return take_price(state, "usd-per-million-new", arg, &o->prices.usd_per_million_new);
    case KEY_USD_HOUR:
        return take_price(state, "usd-per-hour", arg, &o->prices.usd_per_hour);
    case ARGP_KEY_ARG:
        if (o->n_runs >= RUNS_MAX) {
            argp_error(state, "more than %d runs", RUNS_MAX);
            return EINVAL;
        }
        o->runs[o->n_runs++] = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE", 0, "File to write", 0},
    {"format", KEY_FORMAT, "NAME", 0,
     "html (default): a page with figures; tsv: the figures' estimates, a row each; tex: the "
     "same for a paper (booktabs)",
     0},
    {"stats", KEY_STATS, "FILE", 0,
     "stats.tsv of prismx stats: the experiment's findings and figures come first; may be repeated",
     0},
    {"answers", KEY_ANSWERS, "FILE", 0, "a.jsonl: shows some prompts with every arm's answer", 0},
    {"traits", KEY_TRAITS, "FILE", 0, "traits.summary.json: shows the arms' traits", 0},
    {"truth", KEY_TRUTH, "FILE", 0, "truth.json of synth: what the people of the answers like", 0},
    {"usd-per-million-prompt", KEY_USD_PROMPT, "USD", 0,
     "With --stats: price of a million prompt tokens", 0},
    {"usd-per-million-new", KEY_USD_NEW, "USD", 0, "With --stats: price of a million new tokens",
     0},
    {"usd-per-hour", KEY_USD_HOUR, "USD", 0,
     "With --stats: price of an hour of the machines that trained the runs", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_report,
    "[RUN…]",
    "One page about an experiment and the runs behind it, side by "
    "side: findings, figures, data, facts. Everything is in the one file; what a run lacks is said "
    "in it. No id of a participant is shown.\v"
    "Example:\n  prismx report --out report.html runs/dpft runs/ppft\n"
    "  prismx report --out report.html runs/ppft runs/my-sweep\n"
    "  prismx report --out report.html --stats stats.tsv runs/ppft",
    NULL,
    NULL,
    NULL};

static px_err *take_sweep(report_options *o, const char *dir) {
    int i = o->n_sweeps;
    if (i == SWEEPS_MAX) PX_FAIL(PX_BAD_INPUT, "more than %d sweeps", SWEEPS_MAX);
    PX_PASS(px_sweep_open(dir, NULL, &o->open[i]));
    o->n_sweeps++;
    PX_PASS(px_sweep_table(&o->open[i], &o->tables[i]));
    o->sweeps[i] = (px_report_sweep){
        .name = o->open[i].job.name, .tsv = o->tables[i].data, .n_keys = o->open[i].n_keys};
    return NULL;
}

/* A sweep's folder among the runs is shown as one. */
static px_err *take_sweeps(report_options *o) {
    int n = 0;
    for (int i = 0; i < o->n_runs; i++) {
        if (px_sweep_is(o->runs[i]))
            PX_PASS(take_sweep(o, o->runs[i]));
        else
            o->runs[n++] = o->runs[i];
    }
    o->n_runs = n;
    if (o->n_sweeps && o->format != PX_REPORT_HTML && o->n_stats == 0)
        PX_FAIL(PX_BAD_INPUT, "--format html alone shows a sweep; prismx sweep table prints one");
    return NULL;
}

static px_err *report_run(px_ranks *ranks, int argc, char **argv, report_options *o) {
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, o));
    PX_PASS(px_cli_need("out", o->out));
    if (o->n_runs == 0 && o->n_stats == 0)
        PX_FAIL(PX_BAD_INPUT, "no run: give one or more run folders, or --stats");
    PX_PASS(take_sweeps(o));
    px_report_job job = {.runs = o->runs,
                         .n_runs = o->n_runs,
                         .stats = o->stats,
                         .n_stats = o->n_stats,
                         .prices = o->prices,
                         .sweeps = o->sweeps,
                         .n_sweeps = o->n_sweeps,
                         .out_path = o->out,
                         .format = o->format,
                         .answers_path = o->answers,
                         .traits_path = o->traits,
                         .truth_path = o->truth};
    PX_PASS(px_report_make(&job));
    px_info("%s: %d run%s", o->out, o->n_runs, o->n_runs == 1 ? "" : "s");
    return NULL;
}

px_err *cmd_report(px_ranks *ranks, int argc, char **argv) {
    report_options *o = calloc(1, sizeof *o);
    if (!o) PX_NO_MEMORY();
    px_err *err = report_run(ranks, argc, argv, o);
    for (int i = 0; i < o->n_sweeps; i++) {
        px_sweep_free(&o->open[i]);
        px_str_free(&o->tables[i]);
    }
    free(o);
    return err;
}
