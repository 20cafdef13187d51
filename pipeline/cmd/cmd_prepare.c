/* cmd_prepare.c - prismx prepare: a PRISM folder -> corpus.h5 and its report. */
#include "cmd.h"
#include "data.h"

enum { KEY_DATA = 1, KEY_MODEL, KEY_OUT, KEY_CROSS, KEY_STRICT };

typedef struct {
    px_cli_config config;
    px_prepare job;
    bool strict;
} prepare_options;

static error_t parse_prepare(int key, char *arg, struct argp_state *state) {
    prepare_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_DATA:
        o->job.data_dir = arg;
        break;
    case KEY_MODEL:
        o->job.model_path = arg;
        break;
    case KEY_OUT:
        o->job.out_path = arg;
        break;
    case KEY_CROSS:
        o->job.cross_check = true;
        break;
    case KEY_STRICT:
        o->strict = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"data", KEY_DATA, "DIR", 0, "PRISM folder: survey.jsonl and conversations.jsonl", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "Model whose tokenizer and chat template are used: Hugging Face folder or GGUF file", 0},
    {"out", KEY_OUT, "FILE", 0, "corpus.h5 to write; corpus.report.json goes beside it", 0},
    {"cross-check", KEY_CROSS, NULL, 0, "Compares with utterances.jsonl", 0},
    {"strict", KEY_STRICT, NULL, 0, "Damaged data is an error, as with --set data.strict=true", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_prepare,
    NULL,
    "Makes a corpus of preference pairs: encodes PRISM's conversations for a model, splits people "
    "and conversations, and reports what was read and what was left out.\v"
    "Example:\n  mpirun -n 2 prismx prepare --data ./prism --model ./SmolLM2-135M-Instruct \\\n"
    "      --out corpus.h5 --set data.max_tokens=770",
    children,
    NULL,
    NULL};

px_err *cmd_prepare(px_ranks *ranks, int argc, char **argv) {
    prepare_options o = {0};
    px_config config;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_config_load(&o.config, &config));
    px_err *err = NULL;
    if (o.config.print) {
        px_cli_config_show(ranks, &config);
        goto done;
    }
    if (o.strict) config.data_strict = true;
    if (!o.job.model_path && config.model_path[0]) o.job.model_path = config.model_path;
    PX_PASS_TO(done, px_cli_need("data", o.job.data_dir));
    PX_PASS_TO(done, px_cli_need("model", o.job.model_path));
    PX_PASS_TO(done, px_cli_need("out", o.job.out_path));
    ranks->timeout_s = config.comm_timeout_s;
    PX_PASS_TO(done, px_prepare_all(ranks, &config, &o.job));
done:
    px_config_fini(&config);
    return err;
}
