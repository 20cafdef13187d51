/* cmd_report.c - prismx report: run folders -> one page, or a table of their estimates. */
#include "cmd.h"
#include "report.h"

#include <errno.h>
#include <string.h>

enum { KEY_OUT = 1, KEY_FORMAT, KEY_ANSWERS, KEY_TRAITS, KEY_TRUTH, RUNS_MAX = 256 };

typedef struct {
    const char *out, *answers, *traits, *truth;
    px_report_format format;
    const char *runs[RUNS_MAX];
    int n_runs;
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
     "html (default): a page with figures; tsv: every estimate, a row a split and type; tex: the "
     "same for a paper (booktabs)",
     0},
    {"answers", KEY_ANSWERS, "FILE", 0, "a.jsonl: shows some prompts with every arm's answer", 0},
    {"traits", KEY_TRAITS, "FILE", 0, "traits.summary.json: shows the arms' traits", 0},
    {"truth", KEY_TRUTH, "FILE", 0, "truth.json of synth: what the people of the answers like", 0},
    {0}};
static const struct argp argp = {options,
                                 parse_report,
                                 "RUN…",
                                 "One page about runs side by side: findings, figures, data, "
                                 "facts. Everything is in the one file; what a run lacks is said "
                                 "in it. No id of a participant is shown.\v"
                                 "Example:\n  prismx report --out report.html runs/dpft runs/ppft",
                                 NULL,
                                 NULL,
                                 NULL};

px_err *cmd_report(px_ranks *ranks, int argc, char **argv) {
    report_options o = {.format = PX_REPORT_HTML};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_need("out", o.out));
    if (o.n_runs == 0) PX_FAIL(PX_BAD_INPUT, "no run: give one or more run folders");
    px_report_job job = {.runs = o.runs,
                         .n_runs = o.n_runs,
                         .out_path = o.out,
                         .format = o.format,
                         .answers_path = o.answers,
                         .traits_path = o.traits,
                         .truth_path = o.truth};
    PX_PASS(px_report_make(&job));
    px_info("%s: %d run%s", o.out, o.n_runs, o.n_runs == 1 ? "" : "s");
    return NULL;
}
