/* cmd_verify.c - prismx verify: is a run what its manifest says? */
#include "cmd.h"
#include "verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_STEPS = 1, KEY_RANKS, KEY_FROM, KEY_INPUTS, KEY_CORPUS, KEY_MODEL, KEY_KEEP, KEY_ANEW };

static error_t parse_verify(int key, char *arg, struct argp_state *state) {
    px_verify *o = state->input;
    int64_t n = 0;
    switch (key) {
    case KEY_STEPS:
        return px_cli_number(state, "steps", arg, &o->n_steps);
    case KEY_RANKS:
        if (!px_parse_i64(arg, &n) || n < 1 || n > 100000) {
            argp_error(state, "--ranks %s: a whole number from 1 is wanted", arg);
            return EINVAL;
        }
        o->ranks = (int)n;
        break;
    case KEY_FROM:
        return px_cli_number(state, "from-step", arg, &o->from_step);
    case KEY_INPUTS:
        o->inputs_only = true;
        break;
    case KEY_CORPUS:
        o->corpus = arg;
        break;
    case KEY_MODEL:
        o->model = arg;
        break;
    case KEY_KEEP:
        o->keep = true;
        break;
    case KEY_ANEW:
        o->recompute = true;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) return ARGP_ERR_UNKNOWN;
        o->run = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"steps", KEY_STEPS, "N", 0, "Only N steps (default: as far as the run came)", 0},
    {"ranks", KEY_RANKS, "M", 0, "Ranks of the rerun; any number gives the same bits", 0},
    {"from-step", KEY_FROM, "K", 0, "Goes on from the run's checkpoint of step K", 0},
    {"inputs", KEY_INPUTS, NULL, 0, "Checks the hashes of corpus and model, computes nothing", 0},
    {"corpus", KEY_CORPUS, "FILE", 0, "Where the corpus lies now", 0},
    {"model", KEY_MODEL, "PATH", 0, "Where the base model lies now", 0},
    {"fresh-reference", KEY_ANEW, NULL, 0,
     "Computes the reference log-probabilities anew, whatever is kept of them", 0},
    {"keep", KEY_KEEP, NULL, 0, "Leaves the folder of the rerun", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_verify,
    "RUN",
    "Computes a run again from its manifest and compares parameters, optimiser moments, "
    "embeddings and metrics bit for bit. Exit 0: the same. 1: different; the first step and "
    "tensor are named, and the likely reason. 2: an input is missing or has changed.\v"
    "Example:\n  prismx verify runs/ppft --steps 20 --ranks 2",
    NULL,
    NULL,
    NULL};

px_err *cmd_verify(px_ranks *ranks, int argc, char **argv) {
    px_verify o = {0};
    px_str said = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.run) PX_FAIL(PX_BAD_INPUT, "a run folder is wanted");
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");
    if (size && strcmp(size, "1") != 0)
        PX_FAIL(PX_BAD_INPUT, "verify starts the ranks itself: --ranks, without mpirun");
    px_err *err = px_verify_run(&o, &said);
    if (said.data) fputs(said.data, stdout);
    fflush(stdout); /* before the verdict on stderr */
    px_str_free(&said);
    return err;
}
