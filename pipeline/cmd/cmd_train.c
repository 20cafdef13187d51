/* cmd_train.c - prismx train: corpus and base model -> run folder. */
#include "cmd.h"
#include "train.h"

#include <errno.h>
#include <string.h>

enum {
    KEY_CORPUS = 1,
    KEY_MODEL,
    KEY_OUT,
    KEY_RESUME,
    KEY_OVERWRITE,
    KEY_STOP,
    KEY_AT,
    KEY_PROFILE
};
#define AT_MAX 1024

typedef struct {
    px_cli_config config;
    px_train job;
    int64_t at[AT_MAX];
} train_options;

/* "2,5,9": steps after which a checkpoint is wanted. */
static error_t parse_steps(const struct argp_state *state, const char *arg, train_options *o) {
    char word[24];
    for (const char *p = arg; *p;) {
        size_t n = strcspn(p, ",");
        snprintf(word, sizeof word, "%.*s", (int)PX_MIN(n, sizeof word - 1), p);
        if (o->job.n_checkpoint_at == AT_MAX) {
            argp_error(state, "--checkpoint-at: more than %d steps", AT_MAX);
            return EINVAL;
        }
        error_t bad = px_cli_number(state, "checkpoint-at", word, &o->at[o->job.n_checkpoint_at++]);
        if (bad) return bad;
        p += n + (p[n] == ',');
    }
    o->job.checkpoint_at = o->at;
    return 0;
}

static error_t parse_train(int key, char *arg, struct argp_state *state) {
    train_options *o = state->input;
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
    case KEY_OUT:
        o->job.out_dir = arg;
        break;
    case KEY_RESUME:
        o->job.resume = true;
        break;
    case KEY_STOP:
        return px_cli_number(state, "stop-after", arg, &o->job.stop_after);
    case KEY_AT:
        return parse_steps(state, arg, o);
    case KEY_PROFILE:
        o->job.profile = true;
        break;
    case KEY_OVERWRITE:
        o->job.overwrite = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"corpus", KEY_CORPUS, "FILE", 0, "corpus.h5 that prepare made", 0},
    {"model", KEY_MODEL, "PATH", 0, "Base model: Hugging Face folder or GGUF file", 0},
    {"out", KEY_OUT, "DIR", 0, "Run folder to write", 0},
    {"resume", KEY_RESUME, NULL, 0,
     "Goes on from the newest checkpoint in DIR, or begins where there is none", 0},
    {"overwrite", KEY_OVERWRITE, NULL, 0, "Removes the run that is in DIR first", 0},
    {"stop-after", KEY_STOP, "N", 0,
     "Stops after step N as a signal would: checkpoint, exit 3; --resume goes on", 0},
    {"checkpoint-at", KEY_AT, "N,N…", 0, "Also writes a checkpoint after each of these steps", 0},
    {"profile", KEY_PROFILE, NULL, 0,
     "Prints where the time of rank 0's steps went, by operation; slower where a GPU computes", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_train,
    NULL,
    "Trains adapters and user embeddings on a corpus, data-parallel over MPI ranks.\v"
    "Example:\n  mpirun -n 4 prismx train --config configs/ppft.json --corpus corpus.h5 \\\n"
    "      --model ./SmolLM2-135M-Instruct --out runs/ppft --set optim.user_lr=1e-2",
    children,
    NULL,
    NULL};

px_err *cmd_train(px_ranks *ranks, int argc, char **argv) {
    train_options o = {.job = {.argc = argc, .argv = argv}};
    px_config config;
    px_digest sha256;
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
    PX_PASS_TO(done, px_cli_need("out", o.job.out_dir));
    ranks->timeout_s = config.comm_timeout_s;
    o.job.threads = px_cli_threads(ranks, &config);
    px_profile_want(o.job.profile);
    err = px_train_all(ranks, &config, &o.job, &sha256);
    if (o.job.profile) err = px_cli_profile(ranks, err);
    PX_PASS_TO(done, err);
    if (ranks->rank == 0) printf("params_sha256 %s\n", sha256.hex);
done:
    px_config_fini(&config);
    return err;
}
