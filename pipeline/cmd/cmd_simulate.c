/* cmd_simulate.c - prismx simulate: people of the survey, played by a model, judge arms. */
#include "cmd.h"
#include "simulate.h"

enum {
    KEY_OUT = 1,
    KEY_TRANSCRIPTS,
    KEY_RESUME,
    KEY_OVERWRITE,
    KEY_FIRST_SHORT /* short forms of configuration keys, in the order of `shorts` */
};

static const px_cli_short shorts[] = {
    {"condition", "sim.condition"}, {"data", "sim.data"},     {"arms", "sim.arms"},
    {"corpus", "sim.corpus"},       {"model", "model.path"},  {"player-model", "sim.model"},
    {"people", "sim.people"},       {"orders", "sim.orders"}, {"seed", "seed"},
};

typedef struct {
    px_cli_config config;
    px_simulate_job job;
    char sets[PX_COUNT(shorts)][4200];
} simulate_options;

static error_t parse_simulate(int key, char *arg, struct argp_state *state) {
    simulate_options *o = state->input;
    const int at = key - KEY_FIRST_SHORT;
    if (at >= 0 && at < (int)PX_COUNT(shorts))
        return px_cli_take_short(state, &shorts[at], arg, o->sets[at], sizeof o->sets[at],
                                 &o->config);
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_OUT:
        o->job.out = arg;
        break;
    case KEY_TRANSCRIPTS:
        o->job.transcripts = arg;
        break;
    case KEY_RESUME:
        o->job.resume = true;
        break;
    case KEY_OVERWRITE:
        o->job.overwrite = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

#define SHORT(i, name, argument, help)                                                             \
    { name, KEY_FIRST_SHORT + (i), argument, 0, help, 1 }
static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE", 0,
     "trials.jsonl to write; trials.summary.json and trials.cost.jsonl go "
     "beside it",
     0},
    {"transcripts", KEY_TRANSCRIPTS, "FILE", 0,
     "Trials to be judged (sim.condition judge): of people, or what converse wrote", 0},
    {"resume", KEY_RESUME, NULL, 0, "Goes on with an interrupted job; begins where there is none",
     0},
    {"overwrite", KEY_OVERWRITE, NULL, 0, "Begins anew over what is there already", 0},
    SHORT(0, "condition", "WHICH", "judge, or converse (default)"),
    SHORT(1, "data", "DIR", "PRISM folder, whose survey.jsonl says who the people are"),
    SHORT(2, "arms", "FILE", "Arms that answer (configs/arms.json)"),
    SHORT(3, "corpus", "FILE", "corpus.h5: who is seen and unseen"),
    SHORT(4, "model", "PATH", "Model of arms that name none, and of a local player"),
    SHORT(5, "player-model", "PATH", "Model of a local player in its place"),
    SHORT(6, "people", "N", "So many people, drawn by the seed (0: all)"),
    SHORT(7, "orders", "N", "Judgements a trial, positions shifted: 1, 2 or 4"),
    SHORT(8, "seed", "S", "Of everything drawn (123)"),
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 2}, {0}};
static const struct argp argp = {
    options,
    parse_simulate,
    NULL,
    "People of the survey, played by a model here or behind an endpoint, talk to blinded arms in "
    "four domains and judge them, or judge given transcripts. The same file on any number of "
    "ranks; what is asked once is never asked again. Settings: sim.*, generate.* of the arms.\v"
    "Examples:\n"
    "  prismx simulate --config configs/simulate.json --data PRISM --arms arms.json "
    "--model MODEL --people 20 --out converse.jsonl\n"
    "  mpirun -n 2 prismx simulate --config configs/simulate.json --condition judge --data PRISM "
    "--model MODEL --transcripts converse.jsonl --out judge.jsonl",
    children,
    NULL,
    NULL};

px_err *cmd_simulate(px_ranks *ranks, int argc, char **argv) {
    simulate_options o = {0};
    px_config config;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_config_load(&o.config, &config));
    px_err *err = NULL;
    if (o.config.print) {
        px_cli_config_show(ranks, &config);
        goto done;
    }
    PX_PASS_TO(done, px_cli_need("out", o.job.out));
    if (o.job.resume && o.job.overwrite)
        PX_FAIL_TO(done, PX_BAD_INPUT, "--resume and --overwrite: one of them");
    ranks->timeout_s = config.comm_timeout_s;
    o.job.threads = px_cli_threads(ranks, &config);
    err = px_simulate_all(ranks, &config, &o.job);
done:
    px_config_fini(&config);
    return err;
}
