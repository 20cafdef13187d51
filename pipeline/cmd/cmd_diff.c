/* cmd_diff.c - prismx diff: what differs between two runs. */
#include "cmd.h"
#include "verify.h"

enum { KEY_JSON = 1 };

typedef struct {
    const char *runs[2];
    bool json;
} diff_options;

static error_t parse_diff(int key, char *arg, struct argp_state *state) {
    diff_options *o = state->input;
    switch (key) {
    case KEY_JSON:
        o->json = true;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) return ARGP_ERR_UNKNOWN;
        o->runs[state->arg_num] = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"json", KEY_JSON, NULL, 0, "A JSON object in place of lines", 0}, {0}};
static const struct argp argp = {
    options,
    parse_diff,
    "RUN RUN",
    "Says what differs between two runs: configuration, inputs, program, machine, the first step "
    "whose metrics differ, tensors of the checkpoints that both have. Exit 0: the results and what "
    "decides them are the same, 1: different, 2: bad input.\v"
    "Example:\n  prismx diff runs/ppft runs/ppft-again",
    NULL,
    NULL,
    NULL};

static const char *const heads[] = {"configuration", "input",  "program", "machine",
                                    "file",          "metric", "tensor"};

static void print_lines(const px_diffs *diffs) {
    px_str text = {0};
    for (int kind = PX_DIFF_CONFIG; kind <= PX_DIFF_TENSOR; kind++)
        for (int i = 0; i < diffs->n; i++) {
            const px_diff *d = &diffs->items[i];
            if ((int)d->kind != kind) continue;
            px_str_clear(&text);
            px_diff_text(d, &text);
            printf("%-13s %s %s\n", heads[kind], d->counts ? "*" : " ", text.data ? text.data : "");
        }
    px_str_free(&text);
    int n = px_diffs_counting(diffs);
    if (n == 0)
        printf("same results%s\n", diffs->n ? "; what differs has no effect on them" : "");
    else
        printf("%d difference%s of results or of what decides them (*)\n", n, n == 1 ? "" : "s");
}

static px_err *print_json(const diff_options *o, const px_diffs *diffs) {
    cJSON *top = cJSON_CreateObject(), *list = NULL;
    px_str text = {0};
    px_err *err = NULL;
    if (!top) PX_NO_MEMORY();
    PX_PASS_TO(done, px_diffs_json(diffs, &list));
    if (!cJSON_AddItemToObject(top, "differences", list))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (!cJSON_AddStringToObject(top, "a", o->runs[0]) ||
        !cJSON_AddStringToObject(top, "b", o->runs[1]) ||
        !cJSON_AddBoolToObject(top, "same", px_diffs_counting(diffs) == 0))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    px_json_print_pretty(top, &text);
    PX_PASS_TO(done, px_str_ok(&text));
    printf("%s\n", text.data);
done:
    cJSON_Delete(top);
    px_str_free(&text);
    return err;
}

px_err *cmd_diff(px_ranks *ranks, int argc, char **argv) {
    diff_options o = {0};
    px_diffs diffs;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.runs[1]) PX_FAIL(PX_BAD_INPUT, "two run folders are wanted");
    PX_PASS(px_diffs_new(&diffs));
    px_err *err = px_diff_runs(o.runs[0], o.runs[1], &diffs);
    if (!err && o.json) err = print_json(&o, &diffs);
    if (!err && !o.json) print_lines(&diffs);
    fflush(stdout);
    const px_diff *first = px_diffs_first(&diffs);
    if (!err && px_diffs_counting(&diffs) > 0) {
        px_str text = {0};
        if (first) px_diff_text(first, &text);
        err =
            px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s and %s differ%s%s", o.runs[0],
                       o.runs[1], first ? ": first in " : "", first && text.data ? text.data : "");
        px_str_free(&text);
    }
    px_diffs_free(&diffs);
    return err;
}
