/* cmd_generate.c - prismx generate: run or base model, prompts -> answers. */
#include "answer.h"
#include "cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_RUN = 1,
    KEY_MODEL,
    KEY_STEP,
    KEY_PROMPTS,
    KEY_OUT,
    KEY_USER,
    KEY_STOP,
    KEY_ARMS,
    KEY_DATA,
    KEY_CORPUS,
    KEY_RESUME,
    KEY_OVERWRITE,
    KEY_PROFILE,
    KEY_FIRST_SHORT /* short forms of configuration keys, in the order of `shorts` */
};

enum { STOPS_MOST = 16 };

/* --max-new-tokens 48 is --set generate.max_new_tokens=48. */
static const px_cli_short shorts[] = {
    {"max-new-tokens", "generate.max_new_tokens"},
    {"min-new-tokens", "generate.min_new_tokens"},
    {"temperature", "generate.temperature"},
    {"top-k", "generate.top_k"},
    {"top-p", "generate.top_p"},
    {"min-p", "generate.min_p"},
    {"repetition-penalty", "generate.repetition_penalty"},
    {"no-repeat-ngram", "generate.no_repeat_ngram"},
    {"ignore-eos", "generate.ignore_eos"},
    {"n", "generate.n"},
    {"logprobs", "generate.logprobs"},
    {"batch", "generate.batch"},
    {"seed", "seed"},
};

typedef struct {
    px_cli_config config;
    px_answer_job job;
    const char *stops[STOPS_MOST];
    char sets[PX_COUNT(shorts)][128];
    bool profile;
} generate_options;

static error_t take_user(const struct argp_state *state, const char *arg, px_arm_user *out) {
    static const char *const names[] = {"own", "generic", "none"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(arg, names[i])) {
            *out = (px_arm_user)i;
            return 0;
        }
    argp_error(state, "--user %s: own, generic or none is wanted", arg);
    return EINVAL;
}

static error_t parse_generate(int key, char *arg, struct argp_state *state) {
    generate_options *o = state->input;
    const int at = key - KEY_FIRST_SHORT;
    if (at >= 0 && at < (int)PX_COUNT(shorts))
        return px_cli_take_short(state, &shorts[at], arg, o->sets[at], sizeof o->sets[at],
                                 &o->config);
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
    case KEY_PROMPTS:
        o->job.prompts_path = arg;
        break;
    case KEY_OUT:
        o->job.out_path = arg;
        break;
    case KEY_USER:
        return take_user(state, arg, &o->job.user);
    case KEY_STOP:
        if (o->job.n_stops >= STOPS_MOST || !*arg) {
            argp_error(state, "--stop: at most %d texts, none empty", STOPS_MOST);
            return EINVAL;
        }
        o->stops[o->job.n_stops++] = arg;
        break;
    case KEY_ARMS:
        o->job.arms_path = arg;
        break;
    case KEY_DATA:
        o->job.data_dir = arg;
        break;
    case KEY_CORPUS:
        o->job.corpus_path = arg;
        break;
    case KEY_RESUME:
        o->job.resume = true;
        break;
    case KEY_PROFILE:
        o->profile = true;
        break;
    case KEY_OVERWRITE:
        o->job.overwrite = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

#define SHORT(i, argument, help)                                                                   \
    { NULL, KEY_FIRST_SHORT + (i), argument, 0, help, 1 }
static struct argp_option options[] = {
    {"run", KEY_RUN, "DIR", 0, "Run folder whose model answers", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "In place of --run: the base model answers; with --run: where its base lies now", 0},
    {"step", KEY_STEP, "N", 0, "Checkpoint of that step (default: the newest)", 0},
    {"prompts", KEY_PROMPTS, "FILE", 0, "One {\"id\", \"messages\", \"user_id\"?} a line", 0},
    {"out", KEY_OUT, "FILE", 0, "Answers: the prompts' lines with text and tokens added", 0},
    {"user", KEY_USER, "WHO", 0,
     "Whose soft tokens stand before a prompt: own (default; by user_id, the generic user's where "
     "the "
     "run knows no such person), generic or none",
     0},
    {"stop", KEY_STOP, "TEXT", 0, "Ends an answer before this text; may be given again", 0},
    {"arms", KEY_ARMS, "FILE", 0,
     "Every prompt by every arm of this file (configs/arms.json); --model: of arms that name none",
     0},
    {"data", KEY_DATA, "DIR", 0, "PRISM folder, for arms that tell a model about people", 0},
    {"corpus", KEY_CORPUS, "FILE", 0,
     "corpus.h5, whose training conversations summaries of people may draw on", 0},
    {"resume", KEY_RESUME, NULL, 0, "Goes on with an interrupted run; begins where there is none",
     0},
    {"overwrite", KEY_OVERWRITE, NULL, 0, "Answers anew what is there already", 0},
    {"profile", KEY_PROFILE, NULL, 0,
     "Prints where the time of rank 0 went, by operation; slower where a GPU computes", 0},
    SHORT(0, "N", "An answer ends here at the latest (512)"),
    SHORT(1, "N", "No answer ends before (0)"),
    SHORT(2, "T", "0 is greedy (0.6)"),
    SHORT(3, "K", "Only the K likeliest tokens (0: off)"),
    SHORT(4, "P", "Only the likeliest tokens that together reach P (0.9)"),
    SHORT(5, "P", "Only tokens at least P times as likely as the likeliest (0: off)"),
    SHORT(6, "X", "Of ids that stand in prompt or answer (1: off)"),
    SHORT(7, "N", "No n-gram of this length twice (0: off)"),
    SHORT(8, NULL, "Goes on behind the end of a turn"),
    SHORT(9, "N", "Answers a prompt (1)"),
    SHORT(10, "K", "K best alternatives with each token (0)"),
    SHORT(11, "N", "Answers under way at once, per rank (32)"),
    SHORT(12, "S", "Of everything drawn (123)"),
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 2}, {0}};
static const struct argp argp = {
    options,
    parse_generate,
    NULL,
    "Answers prompts, spread over MPI ranks: the same text on any number "
    "of them and in any batch.\v"
    "Example:\n  prismx generate --run runs/ppft --prompts p.jsonl "
    "--out a.jsonl --temperature 0 --max-new-tokens 200",
    children,
    NULL,
    NULL};

px_err *cmd_generate(px_ranks *ranks, int argc, char **argv) {
    generate_options o = {.job = {.step = -1}};
    px_config config;
    for (size_t i = 0, k = 0; i < PX_COUNT(options) && k < PX_COUNT(shorts); i++)
        if (options[i].key >= KEY_FIRST_SHORT) options[i].name = shorts[k++].option;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (o.job.arms_path && o.job.run_dir)
        PX_FAIL(PX_BAD_INPUT, "--arms and --run: the file names the runs");
    if (!o.job.arms_path && !o.job.run_dir && !o.job.model_path)
        PX_FAIL(PX_BAD_INPUT, "--run or --model is missing");
    PX_PASS(px_cli_need("prompts", o.job.prompts_path));
    PX_PASS(px_cli_need("out", o.job.out_path));
    if (o.job.resume && o.job.overwrite)
        PX_FAIL(PX_BAD_INPUT, "--resume and --overwrite: one of them");
    PX_PASS(px_cli_run_config(&o.config, o.job.run_dir, &config));
    ranks->timeout_s = config.comm_timeout_s;
    o.job.stops = o.stops;
    o.job.threads = px_cli_threads(ranks, &config);
    px_profile_want(o.profile);
    px_err *err = px_answer_all(ranks, &config, &o.job);
    if (o.profile) err = px_cli_profile(ranks, err);
    px_config_fini(&config);
    return err;
}
