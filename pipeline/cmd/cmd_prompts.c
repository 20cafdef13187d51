/* cmd_prompts.c - prismx prompts: how people opened the conversations of a split, as prompts. */
#include "answer.h"
#include "cmd.h"

enum { KEY_DATA = 1, KEY_CORPUS, KEY_SPLIT, KEY_LIMIT, KEY_OUT };

typedef struct {
    px_heldout job;
    const char *split;
} prompts_options;

static error_t parse_prompts(int key, char *arg, struct argp_state *state) {
    prompts_options *o = state->input;
    switch (key) {
    case KEY_DATA:
        o->job.data_dir = arg;
        break;
    case KEY_CORPUS:
        o->job.corpus_path = arg;
        break;
    case KEY_SPLIT:
        o->split = arg;
        break;
    case KEY_LIMIT:
        return px_cli_number(state, "limit", arg, &o->job.limit);
    case KEY_OUT:
        o->job.out_path = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"data", KEY_DATA, "DIR", 0, "PRISM folder", 0},
    {"corpus", KEY_CORPUS, "FILE", 0, "corpus.h5 made from it, which knows the splits", 0},
    {"split", KEY_SPLIT, "NAME", 0, "train, seen (default), unseen or all", 0},
    {"limit", KEY_LIMIT, "N", 0, "At most so many, of as many people as there are (0: all)", 0},
    {"out", KEY_OUT, "FILE", 0, "p.jsonl to write, for generate", 0},
    {0}};
static const struct argp argp = {options,
                                 parse_prompts,
                                 NULL,
                                 "Opening prompts of a split's conversations, with their person, "
                                 "for generate.\v"
                                 "Example:\n  prismx prompts --data prism --corpus corpus.h5 "
                                 "--split unseen --limit 40 --out p.jsonl",
                                 NULL,
                                 NULL,
                                 NULL};

px_err *cmd_prompts(px_ranks *ranks, int argc, char **argv) {
    prompts_options o = {.split = "seen"};
    int64_t n = 0;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_need("data", o.job.data_dir));
    PX_PASS(px_cli_need("corpus", o.job.corpus_path));
    PX_PASS(px_cli_need("out", o.job.out_path));
    PX_PASS(px_cli_splits(o.split, &o.job.splits));
    PX_PASS(px_heldout_write(&o.job, &n));
    printf("%lld prompts\n", (long long)n);
    return NULL;
}
