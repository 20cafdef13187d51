/* cmd_synth.c - prismx synth: invented data in PRISM's format, with planted tastes; with --trials
 * invented trials with planted effects. */
#include "cmd.h"
#include "data.h"
#include "trials.h"

enum { KEY_OUT = 1, KEY_USERS, KEY_SEED, KEY_TASTE, KEY_TRIALS, KEY_PEOPLE };

typedef struct {
    px_synth job;
    const char *users, *seed, *taste, *people;
    bool trials;
} synth_options;

static error_t parse_synth(int key, char *arg, struct argp_state *state) {
    synth_options *o = state->input;
    switch (key) {
    case KEY_OUT:
        o->job.out_dir = arg;
        break;
    case KEY_USERS:
        o->users = arg;
        break;
    case KEY_SEED:
        o->seed = arg;
        break;
    case KEY_TASTE:
        o->taste = arg;
        break;
    case KEY_TRIALS:
        o->trials = true;
        break;
    case KEY_PEOPLE:
        o->people = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"out", KEY_OUT, "DIR", 0, "Folder to write the four PRISM files and truth.json to", 0},
    {"users", KEY_USERS, "N", 0, "People in the survey (default 1500, as PRISM)", 0},
    {"seed", KEY_SEED, "S", 0, "Decides everything (default 1)", 0},
    {"taste", KEY_TASTE, "POINTS", 0,
     "Size of the people's own tastes in points of score, 0 for none (default 16)", 0},
    {"trials", KEY_TRIALS, NULL, 0,
     "Writes trials.jsonl with planted effects in place of PRISM's files; truth.json says which",
     0},
    {"people", KEY_PEOPLE, "N", 0,
     "With --trials: people, with four trials each by themselves and by two simulations (530)", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_synth,
    NULL,
    "Writes invented conversations in PRISM's format. Each person likes and dislikes a few "
    "features of "
    "an answer's style; truth.json says which, so that a training run can be judged.\v"
    "Examples:\n  prismx synth --out ./synthetic --users 60 --seed 1\n"
    "  prismx synth --trials --out ./trials --people 60 --seed 1",
    NULL,
    NULL,
    NULL};

static px_err *numbers_read(synth_options *o) {
    int64_t seed = 1;
    o->job.n_users = 1500;
    o->job.taste = 16;
    if (o->users && !px_parse_i64(o->users, &o->job.n_users))
        PX_FAIL(PX_BAD_INPUT, "--users %s: wanted a whole number, 1 or more", o->users);
    if (o->seed && (!px_parse_i64(o->seed, &seed) || seed < 0))
        PX_FAIL(PX_BAD_INPUT, "--seed %s: wanted a whole number, 0 or more", o->seed);
    if (o->taste && !px_parse_f64(o->taste, &o->job.taste))
        PX_FAIL(PX_BAD_INPUT, "--taste %s: wanted a number from 0 to 100", o->taste);
    o->job.seed = (uint64_t)seed;
    return NULL;
}

px_err *cmd_synth(px_ranks *ranks, int argc, char **argv) {
    synth_options o = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_need("out", o.job.out_dir));
    PX_PASS(numbers_read(&o));
    if (!o.trials && o.people) PX_FAIL(PX_BAD_INPUT, "--people goes with --trials");
    if (o.trials && (o.users || o.taste))
        PX_FAIL(PX_BAD_INPUT, "--users and --taste do not go with --trials (--people)");
    px_synth_trials trials = {.out_dir = o.job.out_dir, .n_people = 530, .seed = o.job.seed};
    if (o.people && !px_parse_i64(o.people, &trials.n_people))
        PX_FAIL(PX_BAD_INPUT, "--people %s: wanted a whole number, 1 or more", o.people);
    if (ranks->rank != 0) return NULL;
    return o.trials ? px_synth_trials_write(&trials) : px_synth_write(&o.job);
}
