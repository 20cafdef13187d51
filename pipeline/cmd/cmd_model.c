/* cmd_model.c - prismx model MODEL: what is in a model; prismx model init: random weights of a real
 * shape. */
#include "cmd.h"
#include "engine.h"
#include "model.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LIKE = 1, KEY_SEED, KEY_OUT, KEY_LAYERS, KEY_TENSORS, KEY_PRECISIONS };

typedef struct {
    const char *path, *like, *out;
    int64_t seed, layers;
    bool init, tensors, precisions, has_layers;
} model_options;

static error_t parse_model(int key, char *arg, struct argp_state *state) {
    model_options *o = state->input;
    switch (key) {
    case KEY_LIKE:
        o->like = arg;
        break;
    case KEY_OUT:
        o->out = arg;
        break;
    case KEY_TENSORS:
        o->tensors = true;
        break;
    case KEY_PRECISIONS:
        o->precisions = true;
        break;
    case KEY_LAYERS:
        o->has_layers = true;
        return px_cli_number(state, "layers", arg, &o->layers);
    case KEY_SEED:
        return px_cli_number(state, "seed", arg, &o->seed);
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) return ARGP_ERR_UNKNOWN;
        o->path = arg;
        o->init = !strcmp(arg, "init");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"tensors", KEY_TENSORS, NULL, 0, "Also lists every tensor", 0},
    {"precisions", KEY_PRECISIONS, NULL, 0,
     "Computes a fixed text in f32, bf16, q8_0 and q4_1: what each costs in log-probability", 0},
    {"like", KEY_LIKE, "NAME", 0, "init: tiny, smollm2-135m, llama-3.2-1b or llama-3.1-8b", 0},
    {"seed", KEY_SEED, "S", 0, "init: seed of the weights", 0},
    {"layers", KEY_LAYERS, "N", 0, "init: so many layers, not as many as that model has", 0},
    {"out", KEY_OUT, "DIR", 0, "init: Hugging Face folder to write", 0},
    {0}};
static const struct argp argp = {options,
                                 parse_model,
                                 "MODEL\ninit --like NAME --seed S [--layers N] --out DIR",
                                 "Says what is in a model, or makes one of random weights.\v"
                                 "Example:\n  prismx model ./SmolLM2-135M-Instruct\n"
                                 "  prismx model init --like tiny --seed 1 --out tiny",
                                 NULL,
                                 NULL,
                                 NULL};

static void print_shape(const px_source *source) {
    const px_shape *s = px_source_shape(source);
    int64_t count = 0, bytes = 0;
    for (int i = 0; i < px_source_count(source); i++) {
        count += px_tensor_count(px_source_at(source, i));
        bytes += (int64_t)px_source_at(source, i)->bytes;
    }
    printf("path\t%s\nformat\t%s\nparameters\t%lld\nbytes\t%lld\ntensors\t%d\n",
           px_source_path(source), px_source_is_gguf(source) ? "GGUF" : "safetensors",
           (long long)count, (long long)bytes, px_source_count(source));
    printf("layers\t%lld\nwidth\t%lld\nffn\t%lld\nheads\t%lld\nkv_heads\t%lld\nhead_dim\t%lld\n",
           (long long)s->n_layers, (long long)s->d, (long long)s->ffn, (long long)s->n_heads,
           (long long)s->n_kv_heads, (long long)s->head_dim);
    printf("vocabulary\t%lld\npositions\t%lld\nrope_theta\t%g\nrope_scaling\t%s\nhead\t%s\n",
           (long long)s->vocab, (long long)s->max_positions, s->rope_theta,
           s->rope_factor > 0   ? "llama3"
           : s->rope_linear > 0 ? "linear"
                                : "none",
           s->tied ? "tied" : "separate");
}

static void print_tensors(const px_source *source) {
    for (int i = 0; i < px_source_count(source); i++) {
        const px_tensor *t = px_source_at(source, i);
        printf("tensor\t%s\t%s", t->name, t->type_name);
        for (int k = 0; k < t->rank; k++) printf("%s%lld", k ? "x" : "\t", (long long)t->dims[k]);
        printf("\t%zu\n", t->bytes);
    }
}

static px_err *print_text_side(const char *path) {
    px_tokenizer *tok = NULL;
    px_template *tmpl = NULL;
    px_err *err = px_tokenizer_open(path, &tok);
    if (!err) {
        printf("tokenizer\t%d pieces, %s\n", px_tokenizer_size(tok), px_tokenizer_sha256(tok));
        err = px_template_open(tok, "auto", &tmpl);
    }
    if (!err) printf("template\t%s\n", px_template_name(tmpl));
    px_template_close(tmpl);
    px_tokenizer_close(tok);
    return err;
}

static px_err *print_precisions(const px_ranks *ranks, const char *path) {
    px_precision_loss losses[4];
    const px_config any = {.threads = 0};
    PX_PASS(px_precision_losses(path, px_cli_threads(ranks, &any), losses));
    for (int i = 0; i < 4; i++)
        printf("precision\t%s\t%.5f\t%+.5f\t%.5f\n", losses[i].precision, losses[i].logp,
               losses[i].logp - losses[0].logp, losses[i].apart);
    printf("(means over %d tokens: log-probability, difference from f32, its absolute value)\n",
           (int)losses[0].n_tokens);
    return NULL;
}

static px_err *describe(const model_options *o) {
    px_source *source = NULL;
    px_digest digest;
    px_err *err = NULL;
    PX_PASS(px_source_open(o->path, &source));
    print_shape(source);
    PX_PASS_TO(done, px_source_sha256(source, &digest));
    printf("weights_sha256\t%s\n", digest.hex);
    px_err *text =
        print_text_side(o->path); /* a model without a tokenizer can still be described */
    if (text) printf("tokenizer\t%s\n", px_err_text(text));
    px_err_free(text);
    if (o->tensors) print_tensors(source);
done:
    px_source_close(source);
    return err;
}

px_err *cmd_model(px_ranks *ranks, int argc, char **argv) {
    model_options o = {.seed = 123};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.path) PX_FAIL(PX_BAD_INPUT, "a model's path, or init, is missing");
    if (!o.init) {
        PX_PASS(describe(&o));
        return o.precisions ? print_precisions(ranks, o.path) : NULL;
    }
    PX_PASS(px_cli_need("like", o.like));
    PX_PASS(px_cli_need("out", o.out));
    if (o.has_layers && (o.layers < 1 || o.layers > 10000))
        PX_FAIL(PX_BAD_INPUT, "--layers %lld: a model has 1 to 10000 layers", (long long)o.layers);
    if (px_path_exists(o.out)) PX_FAIL(PX_BAD_INPUT, "%s exists: it is not written over", o.out);
    return px_model_init_random(o.out, o.like, (uint64_t)o.seed, o.layers);
}
