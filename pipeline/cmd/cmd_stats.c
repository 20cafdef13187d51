/* cmd_stats.c - prismx stats: trials -> every estimate, one a row. */
#include "cmd.h"
#include "stats.h"

#include <errno.h>

enum {
    KEY_TRIALS = 1,
    KEY_EVAL,
    KEY_TRAITS,
    KEY_OUT,
    KEY_REFERENCE,
    KEY_BY_POSITION,
    KEY_BOOTSTRAP,
    KEY_PLAN,
    KEY_SEED
};

typedef struct {
    px_stats_job job;
    int64_t seed;
    int last; /* KEY_TRIALS or KEY_EVAL: whose files may follow */
} stats_options;

static error_t file_add(stats_options *o, int key, char *arg, struct argp_state *state) {
    const bool trials = key == KEY_TRIALS;
    int *n = trials ? &o->job.n_trials : &o->job.n_evals;
    if (*n == PX_STATS_FILES) {
        argp_error(state, "more than %d files behind --%s", PX_STATS_FILES,
                   trials ? "trials" : "eval");
        return EINVAL;
    }
    (trials ? o->job.trials : o->job.evals)[(*n)++] = arg;
    o->last = key;
    return 0;
}

static error_t parse_stats(int key, char *arg, struct argp_state *state) {
    stats_options *o = state->input;
    switch (key) {
    case KEY_TRIALS:
    case KEY_EVAL:
        return file_add(o, key, arg, state);
    case ARGP_KEY_ARG: /* --trials a.jsonl b.jsonl */
        if (o->last) return file_add(o, o->last, arg, state);
        argp_error(state, "%s: files stand behind --trials or --eval", arg);
        return EINVAL;
    case KEY_TRAITS:
        o->job.traits = arg;
        break;
    case KEY_OUT:
        o->job.out = arg;
        break;
    case KEY_REFERENCE:
        o->job.reference = arg;
        break;
    case KEY_BY_POSITION:
        o->job.by_position = true;
        break;
    case KEY_BOOTSTRAP:
        return px_cli_number(state, "bootstrap", arg, &o->job.bootstrap);
    case KEY_PLAN:
        return px_cli_number(state, "plan-people", arg, &o->job.plan_people);
    case KEY_SEED:
        return px_cli_number(state, "seed", arg, &o->seed);
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"trials", KEY_TRIALS, "FILE", 0, "Trials; may be repeated, or several files behind it", 0},
    {"eval", KEY_EVAL, "PATH", 0,
     "eval.h5 of prismx eval, or a sweep's folder: accuracies on held-out pairs; as --trials", 0},
    {"traits", KEY_TRAITS, "FILE", 0, "traits.jsonl of prismx traits: effects of arms on traits",
     0},
    {"out", KEY_OUT, "FILE", 0, "stats.tsv to write; the same as JSON goes beside it", 0},
    {"reference", KEY_REFERENCE, "ARM", 0, "Arm that the others are compared with (base)", 0},
    {"by-position", KEY_BY_POSITION, NULL, 0, "Also shares ranked best by arm and position", 0},
    {"bootstrap", KEY_BOOTSTRAP, "N", 0,
     "Samples of people for intervals of shares, and permutations (2000; 0: none)", 0},
    {"plan-people", KEY_PLAN, "N", 0, "Also the power of the comparisons with N people", 0},
    {"seed", KEY_SEED, "N", 0, "Seed of samples, permutations, topics (123)", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_stats,
    "[FILE…]",
    "Reads trials and writes every estimate of docs/stats.md: win rates, worths, length, position, "
    "sliders, bids, consistency, agreement of simulated people, topics, feedback; from "
    "evaluations, accuracies "
    "on held-out pairs. The same bytes on any number of ranks.\v"
    "Examples:\n"
    "  mpirun -n 2 prismx stats --trials human.jsonl --trials converse.jsonl --out stats.tsv\n"
    "  prismx stats --eval ppft/eval.h5 runs/sweep --out offline.tsv\n"
    "  prismx stats --trials t.jsonl --traits traits.jsonl --plan-people 1000 --out stats.tsv",
    NULL,
    NULL,
    NULL};

px_err *cmd_stats(px_ranks *ranks, int argc, char **argv) {
    stats_options o = {.job = {.bootstrap = 2000}, .seed = 123};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (o.job.n_evals == 0) PX_PASS(px_cli_need("trials", o.job.trials[0]));
    PX_PASS(px_cli_need("out", o.job.out));
    if (o.job.bootstrap > 1000000)
        PX_FAIL(PX_BAD_INPUT, "--bootstrap %lld: 0 to 1000000 is wanted",
                (long long)o.job.bootstrap);
    o.job.seed = (uint64_t)o.seed;
    return px_stats_all(ranks, &o.job);
}
