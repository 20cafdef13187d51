/* cmd_traits.c - prismx traits: answers -> scores of behaviour, a table per arm. */
#include "cmd.h"
#include "data.h"
#include "judge.h"
#include "traits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_ANSWERS = 1,
    KEY_TRIALS,
    KEY_OUT,
    KEY_REFERENCE,
    KEY_LISTS,
    KEY_BOOTSTRAP,
    KEY_SEED,
    KEY_VALIDATE,
    KEY_PAIRS,
    KEY_JUDGE
};

typedef struct {
    px_traits_job job;
    px_validate_job check;
    px_cli_config config;
    const char *lists;
    bool validate;
    int64_t seed;
} traits_options;

static error_t parse_traits(int key, char *arg, struct argp_state *state) {
    traits_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_ANSWERS:
        o->job.answers = arg;
        break;
    case KEY_TRIALS:
        o->job.trials = arg;
        break;
    case KEY_OUT:
        o->job.out = arg;
        break;
    case KEY_REFERENCE:
        o->job.reference = arg;
        o->job.reference_asked = true;
        break;
    case KEY_LISTS:
        o->lists = arg;
        break;
    case KEY_BOOTSTRAP:
        return px_cli_number(state, "bootstrap", arg, &o->job.bootstrap);
    case KEY_SEED:
        return px_cli_number(state, "seed", arg, &o->seed);
    case KEY_VALIDATE:
        o->validate = true;
        break;
    case KEY_PAIRS:
        return px_cli_number(state, "pairs", arg, &o->check.n_pairs);
    case KEY_JUDGE:
        o->check.judge = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"answers", KEY_ANSWERS, "FILE", 0, "Answers of prismx generate: id, arm, user_id, text", 0},
    {"trials", KEY_TRIALS, "FILE", 0,
     "Trials in place of answers: every slot's answer of every turn", 0},
    {"out", KEY_OUT, "FILE", 0,
     "traits.jsonl to write, a line an answer; traits.summary.json goes beside it", 0},
    {"reference", KEY_REFERENCE, "ARM", 0,
     "Arm whose answers give mean and spread of every feature, and against which effects are "
     "(base; none: the constants of the lists)",
     0},
    {"lists", KEY_LISTS, "DIR", 0, "Folder of the phrase lists (configs/traits)", 0},
    {"bootstrap", KEY_BOOTSTRAP, "N", 0, "Samples for the intervals (2000; 0: none)", 0},
    {"seed", KEY_SEED, "N", 0, "Seed of the bootstrap and of the planted pairs (123)", 0},
    {"validate", KEY_VALIDATE, NULL, 0,
     "Tries the scorer on planted pairs and neutral padding and, with --answers and --judge, "
     "against a judge",
     0},
    {"pairs", KEY_PAIRS, "N", 0, "Planted pairs of a trait (500)", 0},
    {"judge", KEY_JUDGE, "FILE", 0,
     "A model or endpoint that scores the same answers too (docs/traits.md, \"A judge\"); "
     "with --validate: what a judge said, lines of id, arm, sycophancy, relationship (numbers)",
     0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 2}, {0}};
static const struct argp argp = {
    options,
    parse_traits,
    NULL,
    "Scores how answers behave: sycophancy, relationship seeking, verbosity, by fixed phrase "
    "lists. "
    "Prints mean and interval of every arm, and its effect against the reference, raw and at the "
    "same length.\v"
    "Examples:\n"
    "  mpirun -n 2 prismx traits --answers answers.jsonl --out traits.jsonl\n"
    "  prismx traits --answers answers.jsonl --out traits.jsonl --judge judge.json\n"
    "  prismx traits --validate\n"
    "  prismx traits --validate --answers answers.jsonl --judge judge.jsonl",
    children,
    NULL,
    NULL};

/* Pairs of invented answers; padding is asked for under verbosity's name. */
static px_err *pair_write(void *context, px_list_id trait, uint64_t index, px_str *without,
                          px_str *with) {
    const traits_options *o = context;
    static const px_synth_trait planted[] = {PX_SYNTH_AGREE, PX_SYNTH_WARM, PX_SYNTH_PADDED};
    return px_synth_pair((uint64_t)o->seed, index, planted[trait], without, with);
}

static px_err *usage_check(const traits_options *o) {
    if (o->job.answers && o->job.trials)
        PX_FAIL(PX_BAD_INPUT, "--answers and --trials: one of them is wanted");
    if (o->validate) {
        if (o->job.trials) PX_FAIL(PX_BAD_INPUT, "--validate takes --answers, not --trials");
        if (!o->job.answers != !o->check.judge)
            PX_FAIL(PX_BAD_INPUT, "--validate takes both --answers and --judge, or neither");
        return NULL;
    }
    if (!o->job.answers && !o->job.trials)
        PX_FAIL(PX_BAD_INPUT, "--answers is missing (or --trials)");
    return px_cli_need("out", o->job.out);
}

/* traits.jsonl -> traits.judge.jsonl; heap. */
static char *judge_path(const char *out) {
    static const char ending[] = ".jsonl";
    const size_t n = strlen(out), m = sizeof ending - 1;
    const bool ends = n > m && !strcmp(out + n - m, ending);
    px_str path = {0};
    px_str_add(&path, out, ends ? n - m : n);
    px_str_text(&path, ".judge.jsonl");
    return path.data;
}

/* Collective. The judge first, as its scores go into the lines of the scorer. */
static px_err *judge_and_score_all(px_ranks *ranks, traits_options *o, const px_lists *lists) {
    px_config config;
    px_str table = {0}, summary = {0};
    char *path = judge_path(o->job.out);
    if (!path) PX_NO_MEMORY();
    px_err *err = px_cli_config_load(&o->config, &config);
    if (err) goto done;
    ranks->timeout_s = config.comm_timeout_s;
    const char *answers = o->job.trials ? o->job.trials : o->job.answers;
    const px_judge_job judge = {.answers = answers,
                                .trials = o->job.trials != NULL,
                                .setup = o->check.judge,
                                .out = path,
                                .reference = o->job.reference,
                                .bootstrap = o->job.bootstrap,
                                .seed = o->job.seed,
                                .threads = px_cli_threads(ranks, &config)};
    px_signals_catch(); /* paid replies are worth a tidy end */
    err = px_judge_all(ranks, &config, &judge, &table, &summary);
    o->job.judge = path;
    o->job.judge_summary = summary.data;
    if (!err) err = px_traits_all(ranks, lists, &o->job, stdout);
    if (!err && ranks->rank == 0) {
        fputs(table.data ? table.data : "", stdout);
        err = px_traits_agreement(lists, answers, o->job.trials != NULL, path, stdout);
    }
    if (!err || ranks->size > 1) err = px_agree_all(ranks, err);
    px_config_fini(&config);
done:
    px_str_free(&table);
    px_str_free(&summary);
    free(path);
    return err;
}

px_err *cmd_traits(px_ranks *ranks, int argc, char **argv) {
    traits_options o = {.job = {.reference = "base", .bootstrap = 2000},
                        .check = {.n_pairs = 500, .pairs = pair_write},
                        .seed = 123};
    px_lists *lists = NULL;
    char *dir = NULL;
    px_err *err = NULL;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(usage_check(&o));
    o.job.seed = (uint64_t)o.seed;
    PX_PASS_TO(done, px_lists_find(o.lists, &dir));
    PX_PASS_TO(done, px_lists_read(dir, &lists));
    if (!o.validate && o.check.judge) {
        err = judge_and_score_all(ranks, &o, lists);
    } else if (!o.validate) {
        PX_PASS_TO(done, px_traits_all(ranks, lists, &o.job, stdout));
    } else if (ranks->rank == 0) {
        o.check.context = &o;
        o.check.answers = o.job.answers;
        err = px_traits_validate(lists, &o.check, stdout);
    }
done:
    px_lists_free(lists);
    free(dir);
    return err;
}
