/* cmd_reference.c - prismx reference: the base model's log-probabilities of a corpus, once for all
 * trainings on it. */
#include "cmd.h"
#include "score.h"

enum { KEY_CORPUS = 1, KEY_MODEL };

typedef struct {
    px_cli_config config;
    px_reference_job job;
} reference_options;

static error_t parse_reference(int key, char *arg, struct argp_state *state) {
    reference_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_CORPUS:
        o->job.corpus_path = arg;
        break;
    case KEY_MODEL:
        o->job.model_path = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"corpus", KEY_CORPUS, "FILE", 0, "corpus.h5 that prepare made", 0},
    {"model", KEY_MODEL, "PATH", 0, "Base model: Hugging Face folder or GGUF file", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_reference,
    NULL,
    "Computes the frozen base's log-probabilities of every pair, shared out among MPI ranks, and "
    "keeps them beside the corpus or in the folder of reference.cache: trainings and evaluations "
    "on that corpus, model and precision read them there.\v"
    "Example:\n  mpirun -n 4 prismx reference --config configs/ppft.json --corpus corpus.h5 \\\n"
    "      --model ./SmolLM2-135M-Instruct",
    children,
    NULL,
    NULL};

px_err *cmd_reference(px_ranks *ranks, int argc, char **argv) {
    reference_options o = {0};
    px_config config;
    px_reference io = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_config_load(&o.config, &config));
    px_err *err = NULL;
    if (o.config.print) {
        px_cli_config_show(ranks, &config);
        goto done;
    }
    if (!o.job.model_path && config.model_path[0]) o.job.model_path = config.model_path;
    PX_PASS_TO(done, px_cli_need("corpus", o.job.corpus_path));
    PX_PASS_TO(done, px_cli_need("model", o.job.model_path));
    ranks->timeout_s = config.comm_timeout_s;
    o.job.threads = px_cli_threads(ranks, &config);
    PX_PASS_TO(done, px_reference_make_all(ranks, &config, &o.job, &io));
    if (ranks->rank == 0) printf("%s\n", io.path);
done:
    px_config_fini(&config);
    return err;
}
