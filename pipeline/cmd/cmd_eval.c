/* cmd_eval.c - prismx eval: run or base model, corpus -> eval.h5, summary, pairs.tsv. */
#include "cmd.h"
#include "eval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_RUN = 1,
    KEY_MODEL,
    KEY_STEP,
    KEY_CORPUS,
    KEY_SPLIT,
    KEY_OUT,
    KEY_TSV,
    KEY_TRUTH,
    KEY_AGAINST,
    KEY_TOKEN_LOGPS
};

typedef struct {
    px_cli_config config;
    px_eval job;
    const char *split;
} eval_options;

static error_t parse_eval(int key, char *arg, struct argp_state *state) {
    eval_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_RUN:
        o->job.run_dir = arg;
        break;
    case KEY_MODEL:
        o->job.model_path = arg;
        break;
    case KEY_STEP:
        return px_cli_number(state, "step", arg, &o->job.step);
    case KEY_CORPUS:
        o->job.corpus_path = arg;
        break;
    case KEY_SPLIT:
        o->split = arg;
        break;
    case KEY_OUT:
        o->job.out_path = arg;
        break;
    case KEY_TSV:
        o->job.tsv_path = arg;
        break;
    case KEY_TRUTH:
        o->job.truth_path = arg;
        break;
    case KEY_AGAINST:
        o->job.against_path = arg;
        break;
    case KEY_TOKEN_LOGPS:
        o->job.token_logps = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"run", KEY_RUN, "DIR", 0, "Run folder to evaluate", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "In place of --run: scores the base model; with --run: where its base lies now", 0},
    {"step", KEY_STEP, "N", 0, "Checkpoint of that step (default: the newest)", 0},
    {"corpus", KEY_CORPUS, "FILE", 0, "corpus.h5", 0},
    {"split", KEY_SPLIT, "NAME", 0,
     "train, seen, unseen, several of them with commas, or all (default)", 0},
    {"out", KEY_OUT, "FILE", 0, "eval.h5 to write; its summary stands beside it as .json", 0},
    {"tsv", KEY_TSV, "FILE", 0, "Also a table of every pair", 0},
    {"against", KEY_AGAINST, "FILE", 0,
     "eval.h5 of another run on the same pairs: the win rate over it and the difference in "
     "accuracy",
     0},
    {"token-logps", KEY_TOKEN_LOGPS, NULL, 0,
     "Also every response token's id and log-probability, in eval.h5", 0},
    {"truth", KEY_TRUTH, "FILE", 0,
     "truth.json of synth: how much of the planted tastes was recovered", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {options,
                                 parse_eval,
                                 NULL,
                                 "Implicit rewards of every pair under the person's own, the "
                                 "generic and another person's embedding.\v"
                                 "Example:\n  prismx eval --run runs/ppft --corpus corpus.h5 "
                                 "--split unseen --out eval.h5 --tsv pairs.tsv\n"
                                 "  prismx eval --run runs/ppft --corpus corpus.h5 --split seen "
                                 "--out ppft.h5 --against dpft.h5",
                                 children,
                                 NULL,
                                 NULL};

px_err *cmd_eval(px_ranks *ranks, int argc, char **argv) {
    eval_options o = {.job = {.step = -1}, .split = "all"};
    px_config config;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.job.run_dir && !o.job.model_path) PX_FAIL(PX_BAD_INPUT, "--run or --model is missing");
    PX_PASS(px_cli_need("corpus", o.job.corpus_path));
    PX_PASS(px_cli_need("out", o.job.out_path));
    PX_PASS(px_cli_splits(o.split, &o.job.splits));
    PX_PASS(px_cli_run_config(&o.config, o.job.run_dir, &config));
    ranks->timeout_s = config.comm_timeout_s;
    o.job.threads = px_cli_threads(ranks, &config);
    px_err *err = px_eval_all(ranks, &config, &o.job);
    px_config_fini(&config);
    return err;
}
