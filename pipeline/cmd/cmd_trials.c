/* cmd_trials.c - prismx trials check|csv FILE: is a file of trials good; a flat table of it. */
#include "cmd.h"
#include "trials.h"

#include <errno.h>
#include <string.h>

enum { KEY_OUT = 1, KEY_ALL };

typedef struct {
    const char *action, *file, *out;
    bool all;
} trials_options;

static error_t parse_trials(int key, char *arg, struct argp_state *state) {
    trials_options *o = state->input;
    switch (key) {
    case KEY_OUT:
        o->out = arg;
        break;
    case KEY_ALL:
        o->all = true;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_error(state, "one FILE is wanted, found %s too", arg);
            return EINVAL;
        }
        *(state->arg_num ? &o->file : &o->action) = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE", 0, "csv: where to (standard output)", 0},
    {"all", KEY_ALL, NULL, 0, "check: every problem, not the first 20 of each kind", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_trials,
    "check|csv FILE",
    "check: reads trials.jsonl and prints every problem with its line, key and reason; exit 2 "
    "where there is an error. csv: a table, one row a slot, without texts.\v"
    "Examples:\n"
    "  prismx trials check trials.jsonl\n"
    "  prismx trials csv trials.jsonl --out trials.csv",
    NULL,
    NULL,
    NULL};

static px_err *csv_write(const trials_options *o) {
    px_trials trials;
    px_file_out file = {0};
    PX_PASS(px_trials_new(&trials));
    px_err *err = px_trials_read(&trials, o->file, NULL, NULL);
    if (!err && o->out) err = px_file_out_open(o->out, &file);
    if (!err) err = px_trials_csv(&trials, o->out ? file.stream : stdout);
    if (!err && o->out) err = px_file_out_commit(&file);
    px_file_out_drop(&file);
    px_trials_free(&trials);
    return err;
}

px_err *cmd_trials(px_ranks *ranks, int argc, char **argv) {
    trials_options o = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    bool check = o.action && !strcmp(o.action, "check"), csv = o.action && !strcmp(o.action, "csv");
    if (!check && !csv)
        PX_FAIL(PX_BAD_INPUT, "check or csv is wanted%s%s", o.action ? ", not " : "",
                o.action ? o.action : "");
    if (!o.file) PX_FAIL(PX_BAD_INPUT, "trials %s: FILE is missing", o.action);
    if (check && o.out) PX_FAIL(PX_BAD_INPUT, "--out goes with csv");
    return check ? px_trials_check(o.file, o.all ? 0 : 20, stdout) : csv_write(&o);
}
