/* model.h - the Llama architecture: weights from files, forward and backward over kernels/ops.h,
 * adapters, the user model, export. Knows tokens, segments and tensors; nothing of pairs, losses or
 * ranks. */
#ifndef PX_MODEL_H
#define PX_MODEL_H

#include "config.h"
#include "io.h"
#include "ops.h"

/* --- shape --- */
typedef struct {
    int64_t vocab, d, n_layers, n_heads, n_kv_heads, head_dim, ffn, max_positions;
    double rms_eps, rope_theta;
    /* Llama-3 scaling of the frequencies where rope_factor > 0 (else plain); `linear` scaling has
     * rope_linear > 0. GGUF files may carry the factors as a tensor (rope_freqs.weight). */
    double rope_factor, rope_low, rope_high, rope_original, rope_linear;
    bool tied; /* the head is the token table */
} px_shape;

/* The seven linear layers of a block, in the order of config's lora.targets. */
typedef enum { PX_Q, PX_K, PX_V, PX_O, PX_GATE, PX_UP, PX_DOWN, PX_N_LINEAR } px_linear;

/* --- weights source: a Hugging Face folder or a GGUF file, under Hugging Face names --- */
typedef struct px_source px_source;
/* PX_BAD_INPUT: another architecture (biases, sliding window in use, experts …), a tensor missing
 * or of a wrong shape, named with what was expected. */
PX_CHECKED px_err *px_source_open(const char *path, px_source **out);
void px_source_close(px_source *source);
const px_shape *px_source_shape(const px_source *source);
const char *px_source_path(const px_source *source);
bool px_source_is_gguf(const px_source *source);
/* Rows [first, first + n) of "model.layers.0.self_attn.q_proj.weight" …, in Hugging Face's row
 * order (GGUF's llama rows of q and k are put back), as `type` into out. lm_head.weight of a tied
 * model is the table. */
PX_CHECKED px_err *px_source_rows(px_source *source, const char *name, int64_t first, int64_t n,
                                  px_type type, void *out);
/* SHA-256 over the weights' files (cached nowhere; ~1.5 GB/s). */
PX_CHECKED px_err *px_source_sha256(px_source *source, px_digest *out);
/* For `prismx model`: number of tensors; the i-th tensor as it lies in the file. */
int px_source_count(const px_source *source);
const px_tensor *px_source_at(const px_source *source, int i);

/* --- trainable parameters: named f32 tensors in one flat vector, in a fixed order --- */
typedef struct {
    const char *name; /* "lora.12.q_proj.A", "user.bank", "user.weights", "user.generic",
                       * "user.offsets", with full fine-tuning also the Hugging Face names */
    int rank;
    int64_t dims[4];
    size_t offset, n; /* in floats */
    bool user;        /* takes optim.user_lr: user.* */
    bool decay;       /* takes weight decay: matrices */
} px_param;
typedef struct {
    px_param *params;
    int n_params;
    size_t n;                  /* floats in all */
    float *values;             /* [n], 64-byte aligned */
    float *there;              /* [n] on a GPU, another's: newer than `values`, which then are
                                * current for user parameters alone; NULL: `values` count */
    int32_t n_users;           /* rows of user tensors; row 0 is the generic user */
    int user_kind, mixing;     /* px_user_kind, px_mixing */
    int64_t n_tokens, bank, d; /* T_u, K, d; T_u = 0 without a user model */
    px_arena *arena;
} px_params;
/* The parameters that config asks for, zero. n_users counts the generic one. */
PX_CHECKED px_err *px_params_new(const px_config *config, const px_shape *shape, int32_t n_users,
                                 px_params **out);
/* Initial values: A by Kaiming uniform as PEFT (bound 1/sqrt(in)), B 0, bank and e_0 from rows of
 * the token table, w and o as user.init says, base weights from source; a function of
 * (config->seed) alone. */
PX_CHECKED px_err *px_params_init(px_params *params, const px_config *config, px_source *source);
/* The same parameters counted, without memory for them: for plans. */
size_t px_params_count(const px_config *config, const px_shape *shape, int64_t n_users);
void px_params_free(px_params *params);
const px_param *px_params_find(const px_params *params, const char *name); /* NULL: none */
/* SHA-256 over names, dims and values (little-endian f32) in order. */
PX_CHECKED px_err *px_params_sha256(const px_params *params, px_digest *out);

/* --- user model --- */
/* e [T_u, d] of user row u (0: generic). */
void px_user_embed(const px_params *params, int32_t u, float *e);
/* Adds dL/d(parameters) to grads [params->n] for dL/de [T_u, d] of user row u. */
void px_user_embed_backward(const px_params *params, int32_t u, const float *de, float *grads);
/* Root mean square distance of the e_u (u > 0) from their mean, over the root mean square norm of
 * that mean; 0 without users. Logged as user/spread: a dead embedding shows as 0. */
double px_user_spread(const px_params *params);

/* --- model --- */
typedef struct px_model px_model;
/* TRAIN packs for backward too; GENERATE for few rows at a time and for logits (px_step). */
typedef enum { PX_MODEL_TRAIN = 1, PX_MODEL_LORA = 2, PX_MODEL_GENERATE = 4 } px_model_use;
/* A stream on the device that config names. PX_BAD_INPUT: not in this build, no GPU. */
PX_CHECKED px_err *px_model_stream(const px_config *config, int threads, px_stream **out);
/* Reads and packs the weights. The source may be closed afterwards. */
PX_CHECKED px_err *px_model_new(px_stream *s, px_source *source, const px_config *config, int use,
                                px_model **out);
void px_model_free(px_model *model);
const px_shape *px_model_shape(const px_model *model);
/* Full fine-tuning: packs params' base weights anew after a step, on a GPU from where they lie. */
PX_CHECKED px_err *px_model_update(px_model *model, const px_params *params);

/* What is computed in one go: rows of one or more trees. All arrays are the caller's. */
typedef struct {
    int32_t n;                  /* rows (tokens, soft tokens included) */
    const int32_t *ids;         /* [n] token, or -1 - j for row j of soft */
    const int32_t *positions;   /* [n] */
    const uint64_t *keys;       /* [n] identity of each row for dropout */
    const px_segment *segments; /* attention structure, see ops.h */
    int32_t n_segments;
    const float *soft; /* [n_soft, d] soft-token embeddings, NULL when n_soft is 0 */
    int32_t n_soft;
    const int32_t *rows; /* [n_rows] rows whose logits are wanted, ascending */
    int32_t n_rows;
    px_targets targets; /* row: index into rows */
} px_slot;

typedef struct px_pass px_pass; /* activations between forward and backward */
/* Memory for slots of at most n rows, n_rows wanted rows, n_targets targets; `backward` keeps
 * activations. */
PX_CHECKED px_err *px_pass_new(const px_model *model, int32_t n, int32_t n_rows, int32_t n_targets,
                               bool backward, px_pass **out);
void px_pass_free(px_pass *pass);
int64_t px_pass_bytes(const px_pass *pass);
/* What px_pass_new would take for slots of n rows of a model that is not there: for plans. */
PX_CHECKED px_err *px_pass_estimate(const px_config *config, const px_shape *shape, int64_t n,
                                    bool backward, int64_t *bytes);

/* With a GPU, whether the token table stays in the host's memory. */
bool px_table_is_here(bool full_finetune);
/* The lowest layers that a backward pass computes again (train.recompute). */
int64_t px_layers_again(const px_config *config, const px_shape *shape);

/* --- what a card has to hold, in bytes of the region of px_memory_reserve; for plans too --- */
/* Of a pass of px_pass_new. use: PX_MODEL_TRAIN with `backward`, PX_MODEL_GENERATE of a model for
 * that, 0 for a forward pass alone. */
int64_t px_pass_card(const px_config *config, const px_shape *shape, int64_t n, int64_t n_rows,
                     int use);
typedef struct {
    int64_t weights;   /* norms and the token table included */
    int64_t positions; /* the rope table, for sequences of up to `depth` tokens */
    int64_t widened;   /* values of the largest weight that is widened for a product; 0: none */
    int64_t adapters;  /* values of the largest weight of adapters, all of an input as one */
    int64_t staged;    /* f32 values that the host has and the card rounds, at a time; 0: none */
} px_model_card;
/* use: px_model_use. */
px_model_card px_model_card_of(const px_config *config, const px_shape *shape, int use,
                               int64_t depth);
/* Trained values that the model computes with: adapters' and, fully fine-tuned, the base's. */
size_t px_model_trained(const px_config *config, const px_shape *shape);

/* params NULL: the frozen base (reference), adapters off. drop_seed: seed of this step's dropout,
 * used only when `train`. */
typedef struct {
    const px_params *params;
    bool train;
    uint64_t drop_seed;
} px_forward;
/* logp [targets.n]. */
PX_CHECKED px_err *px_model_forward(px_model *model, px_pass *pass, const px_slot *slot,
                                    px_forward how, double *logp);
/* g [targets.n] = dL/dlogp; grads [params->n] += ; dsoft [n_soft, d] += (NULL: not wanted). After a
 * forward on the same pass, slot and `how`, the pass made with `backward`. */
PX_CHECKED px_err *px_model_backward(px_model *model, px_pass *pass, const px_slot *slot,
                                     px_forward how, const float *g, float *grads, float *dsoft);

/* On a GPU: gradients of adapters, and of a base that is trained, may stay there. With `stay` each
 * px_model_backward makes them anew from 0 and leaves their part of `grads` alone;
 * px_model_grads_there gives that memory, parameters [0, *n) of the flat vector, until the next
 * one. NULL: on the CPU, none of these, or no backward yet. */
void px_model_grads_stay(px_model *model, bool stay);
/* Who wants to know, during px_model_backward with gradients that stay, how far they are: called
 * where the operations have been asked for that make those of parameters [first, *n), which are
 * then left alone until the next backward. first falls from call to call; without targets nothing
 * is called. call NULL: nobody. */
typedef void px_grads_made_fn(void *context, size_t first);
void px_model_grads_watch(px_model *model, px_grads_made_fn *call, void *context);
const float *px_model_grads_there(const px_model *model, size_t *n);

/* --- step by step: rows of sequences whose earlier positions are in a cache --- */
/* A cache that fits the model, of n_pages pages. */
PX_CHECKED px_err *px_model_cache(px_model *model, int64_t n_pages, px_cache **out);
px_cache_shape px_model_cache_shape(const px_model *model, int64_t n_pages);
typedef struct {
    px_cache *cache;
    const px_stretch *stretches; /* see ops.h: they cover the rows in order */
    int32_t n_stretches;
    int32_t n;          /* rows */
    const int32_t *ids; /* [n] token, or -1 - j for row j of soft */
    const float *soft;  /* [n_soft, d] */
    int32_t n_soft;
    const int32_t *rows; /* [n_rows] rows whose logits are wanted, ascending */
    int32_t n_rows;
    /* With a model on a GPU: what is picked of each row's logits (px_op_pick), into host memory:
     * px_picked [n_rows], then the lists; logits come over of rows that are
     * `whole` alone. NULL: of all. */
    const px_picking *picking;
    const bool *whole; /* [n_rows] */
    void *picked;
} px_step;
/* Bytes of `picked` for n_rows rows, n_lists lists of `listed` places. */
static inline size_t px_picked_bytes(int64_t n_rows, int64_t n_lists, int64_t listed) {
    return (size_t)n_rows * sizeof(px_picked) + (size_t)(n_lists * listed) * sizeof(px_listed);
}
/* logits [n_rows, vocab]; the rows' keys and values are in the cache afterwards. params NULL: the
 * base, adapters off. A row's bits depend on its sequence alone. The model is made with
 * PX_MODEL_GENERATE; pass has room for n rows and n_rows wanted rows. */
PX_CHECKED px_err *px_model_step(px_model *model, px_pass *pass, const px_step *step,
                                 const px_params *params, float *logits);
/* After a step that picked: logits [vocab] of wanted row `row`, as changed by what was asked. */
PX_CHECKED px_err *px_model_logits(px_model *model, const px_pass *pass, int32_t row,
                                   float *logits);

/* --- export --- */
/* PEFT adapter folder: adapter_config.json, adapter_model.safetensors; base named by base_path. */
PX_CHECKED px_err *px_export_peft(const char *dir, const px_params *params, const px_config *config,
                                  const px_shape *shape, const char *base_path);
/* Hugging Face folder with W + (alpha/r) B A in bf16 (f32 with precision f32), config.json,
 * tokenizer files. */
PX_CHECKED px_err *px_export_merged(const char *dir, const px_params *params,
                                    const px_config *config, px_source *source);
/* Random weights of a shape (`like`: tiny, smollm2-135m, llama-3.2-1b, llama-3.1-8b) with `layers`
 * layers (0: as many as it has) as a Hugging Face folder. */
PX_CHECKED px_err *px_model_init_random(const char *dir, const char *like, uint64_t seed,
                                        int64_t layers);
/* The shape of that name. */
PX_CHECKED px_err *px_shape_like(const char *like, px_shape *out);

#endif
