/* model_internal.h - what the files of this module share. */
#ifndef PX_MODEL_INTERNAL_H
#define PX_MODEL_INTERNAL_H

#include "model.h"

/* --- base_tensors.c: the tensors of a Llama model, in one fixed order --- */
typedef struct {
    char name[80]; /* Hugging Face's */
    int rank;
    int64_t dims[2]; /* [out, in] of a matrix, [d] of a norm's weight */
    int64_t layer;   /* -1: of the whole model */
    int linear;      /* px_linear, or -1 */
} px_base_tensor;
/* "q_proj" … "down_proj". */
extern const char *const px_linear_names[PX_N_LINEAR];
/* "self_attn" or "mlp": what holds the linear layer. */
const char *px_linear_block(int linear);
/* Order: token table; each layer's input norm, q, k, v, o, second norm, gate, up, down; last norm;
 * head. */
int px_base_count(const px_shape *shape);
px_base_tensor px_base_at(const px_shape *shape, int i);
/* Index of a layer's linear layer, and of its first (0) or second (1) norm. */
int px_base_linear(int64_t layer, int linear);
int px_base_norm(int64_t layer, int which);
/* The same tensor's name in a GGUF file. */
void px_base_gguf_name(const px_base_tensor *tensor, char out[80]);
/* Outputs and inputs of a linear layer. */
int64_t px_linear_out(const px_shape *shape, int linear);
int64_t px_linear_in(const px_shape *shape, int linear);
/* Offsets in floats of the tensors in a flat vector that holds them in this order. */
typedef struct {
    size_t norm1, q, o, norm2, gate, down; /* k and v follow q, up follows gate */
} px_base_layer;
typedef struct {
    size_t table, norm, head, n, layer_first, layer_floats;
    px_base_layer layer; /* of layer 0; later ones are layer_floats further each */
} px_base_layout;
px_base_layout px_base_layout_of(const px_shape *shape);

/* --- source.c --- */
struct px_source {
    char *path;
    px_safetensors *folder; /* one of the two */
    px_gguf *gguf;
    cJSON *config; /* config.json, NULL for a GGUF file */
    px_shape shape;
    float *rope_factors; /* [head_dim / 2] of a GGUF file, or NULL */
    px_base_tensor *base;
    const px_tensor **tensors; /* [n_base] */
    int n_base;
    px_map names; /* Hugging Face name -> index into base */
};
/* Takes ownership of the open file, also on failure. */
PX_CHECKED px_err *px_source_of_gguf(px_gguf *file, px_source **out);
/* Pages of the tensor's file are let go of, so that resident memory does not hold the file. */
void px_source_forget(px_source *source, const char *name);
/* source_config.c: shape from config.json. */
PX_CHECKED px_err *px_config_json_shape(const cJSON *config, const char *where, px_shape *shape);
/* source_gguf.c: shape from metadata and tensors; *factors heap or NULL. */
PX_CHECKED px_err *px_gguf_shape(const px_gguf *file, px_shape *shape, float **factors);
/* What both must fulfil. */
PX_CHECKED px_err *px_shape_check(const px_shape *shape, const char *where);

/* --- rope.c --- */
/* freq [head_dim / 2], in f32 step by step as transformers computes them; factors may be NULL. */
void px_rope_frequencies(const px_shape *shape, const float *factors, float *freq);
/* Rows [first, first + n) of the table of ops.h, (cos, sin). */
void px_rope_table(const float *freq, int64_t half, int64_t first, int64_t n, float *table);

/* --- params.c: where adapters lie in the flat vector --- */
/* Adapters of one layer that share an input: the A's one below the other, R rows in all. */
typedef struct {
    int n, linear[3];
    int64_t R, in, first[3]; /* first row of each in the stack */
    size_t a, b[3];          /* offsets for layer 0 */
} px_lora_group;
enum { PX_GROUP_QKV, PX_GROUP_O, PX_GROUP_GATE_UP, PX_GROUP_DOWN, PX_N_GROUPS };
typedef struct {
    int64_t r;   /* 0: no adapters */
    float scale; /* alpha / r */
    px_lora_group groups[PX_N_GROUPS];
    size_t first, layer_floats, n; /* where they start, floats a layer, floats in all */
} px_lora_layout;
/* The adapters that config asks for, `first` floats into the vector. */
px_lora_layout px_lora_layout_of(const px_config *config, const px_shape *shape, size_t first);
bool px_target_on(const px_config *config, int linear);

/* --- memory.c --- */
typedef struct px_apart px_apart;
/* Lives as long as the model, where its backend computes. */
PX_CHECKED px_err *px_model_memory(px_model *model, size_t bytes, void **out);
void px_model_memory_free(px_model *model);
/* Before a pass, and before its backward: adapters go where the backend computes, gradients begin
 * at 0 there. Nothing on the CPU, or with params NULL. */
PX_CHECKED px_err *px_adapters_enter(px_model *model, const px_params *params, bool backward);
/* After a backward: grads += what came together there. */
void px_adapters_leave(px_model *model, const px_params *params, float *grads);
/* What operations take: there, or the host's. */
const float *px_adapter_values(const px_model *model, const px_params *params);
float *px_trained_grads(const px_model *model, float *grads);
/* Of parameters [first, …) they are complete. */
void px_trained_grads_made(const px_model *model, size_t first);
/* Of a slot without targets: 0 there. */
void px_model_grads_none(px_model *model);

/* --- model.c --- */
enum { ROPE_POSITIONS = 4096 }; /* computed at once; more when a slot asks for them */
typedef struct {
    px_weight *qkv, *o, *gate_up,
        *down;            /* q, k, v (gate, up) are one matrix, one below the other */
    float *norm1, *norm2; /* [d] */
} px_layer;
struct px_model {
    px_stream *s;
    px_shape shape;
    px_type type; /* of weights and activations */
    bool train, generate, full;
    int64_t n_again; /* lowest layers of which passes with `backward` keep x alone */
    int panels;      /* px_pack of a model that generates */
    double dropout;
    int64_t width_q, width_kv, width_qkv; /* columns of q, of k and of v, of all */
    px_layer *layers;
    px_weight *head;
    px_mat table;     /* [vocab, d], as `type` */
    void *table_here; /* it, where a GPU's backend reads it in the host's memory; else NULL */
    float *norm;      /* [d] */
    float *freq;
    /* [n_positions, head_dim / 2, 2]: on the heap, and where the backend computes (the same on the
     * CPU). */
    float *rope_table, *rope;
    int64_t n_positions;
    /* A GPU's backend: its pieces of memory; adapters there [lora.n], the gradients of the base, if
     * it is trained, and of adapters [lora.first + lora.n], the gradients on their way back; whose
     * adapters are there. NULL on the CPU. */
    px_apart *apart;
    float *values, *grads, *grads_back;
    const px_params *entered;
    bool grads_stay;
    px_grads_made_fn *grads_made; /* or NULL */
    void *grads_context;
    px_lora_layout lora;
    px_base_layout base; /* full fine-tuning */
    px_arena *arena;
};

/* The rope table covers positions 0 … n-1 at least. */
PX_CHECKED px_err *px_model_positions(px_model *model, int64_t n);

/* --- pass.c --- */
struct px_pass {
    int32_t n_max, rows_max, targets_max;
    bool backward;
    int64_t n_again; /* lowest layers that share one of all but x */
    /* One a layer with `backward`, else one for all: x,
     * mid [n, d] residual stream before attention and before the MLP; qkv [n, width_qkv] after
     * rope; att [n, width_q]; gate_up [n, 2 ffn]. */
    char *x, *mid, *qkv, *att, *gate_up;
    float *lse, *rms1, *rms2;
    float *u[PX_N_GROUPS]; /* [n, R] */
    /* Working memory. */
    char *h, *delta;      /* [n, d] */
    char *s;              /* [n, ffn] */
    char *dx, *ds, *dqkv; /* backward: [n, d], [n, max(ffn, width_q)], [n, width_qkv] */
    float *du;            /* [n, largest R] */
    char *mid_rows, *delta_rows, *h_rows; /* [n_rows, d]: wanted rows at the end */
    float *rms_rows, *lse_rows, *ew;      /* [n_rows], [n_rows], [n_rows, d] */
    int32_t *ids, *positions, *rows;      /* [n], [n], [n_rows]: of a step's rows; the host's */
    /* A GPU's copies of what each layer of a slot wants: [n]. */
    int32_t *positions_there;
    uint64_t *keys_there;
    float *logits; /* [n_rows, vocab] of a GPU's model that generates */
    void *picked;  /* what is picked of them, on its way to the host: px_picked_bytes */
    px_arena *arena;
    /* A GPU's backend: all of the above but the host's are pieces of this. NULL on the CPU. */
    px_stream *stream;
    bool is_apart;
    char *apart;
    size_t apart_bytes;
};
/* A matrix of `rows` rows and `cols` columns in `base`; layer l where one a layer is kept. */
px_mat px_pass_mat(const px_model *model, const px_pass *pass, char *base, int64_t layer,
                   int64_t rows, int64_t cols);
float *px_pass_floats(const px_pass *pass, float *base, int64_t layer, int64_t cols);
/* Columns [first, first + cols) of m. */
px_mat px_mat_cols(px_mat m, int64_t first, int64_t cols);

/* --- forward.c: shared with the backward pass and with steps --- */
typedef struct {
    px_model *model;
    px_pass *pass;
    const px_slot *slot;
    px_forward how;
    px_cached *cached; /* a step: attention goes over the cache; NULL: over the slot's segments */
    bool again;        /* what a layer's backward needs, from its x */
} px_run_pass;
/* All layers; `delta` [n, d] is the last block's output, not yet added to the stream. */
void px_layers_run(const px_run_pass *r, px_mat delta);
/* The slot with its positions and keys where the backend computes: they go there once a forward
 * (`bring`), and not with every operation of every layer. */
px_slot px_slot_there(px_pass *pass, const px_slot *slot, bool bring);
/* Before a layer's backward on a pass that recomputes: its activations but x, as they were, to the
 * bit. `r->again` is set. */
void px_layer_again(const px_run_pass *r, int64_t layer);
/* The last norm of the slot's wanted rows: what the head takes. */
px_mat px_last_norm(const px_run_pass *r, px_mat delta);
px_dropout px_drop_of(const px_model *model, const px_slot *slot, px_forward how, int64_t layer,
                      int group);
/* The adapters of a layer's group in use, or NULL. */
const px_lora_group *px_group_in_use(const px_model *model, px_forward how, int group);
/* Column where a linear layer's output begins in its group's matrix (q | k | v, gate | up). */
int64_t px_group_column(const px_model *model, int linear);
px_attn px_attn_of(const px_model *model, const px_slot *slot);

/* --- export_shards.c: a Hugging Face folder's config.json and weights, in one file or in shards
 * --- */
#define PX_ONE_FILE_MOST 5000000000
typedef struct px_shards px_shards;
/* The base tensors of `shape` as `type` (F32 or BF16), in one file up to one_file_most bytes
 * (PX_ONE_FILE_MOST), else in shards of at most 2/5 of that where tensors allow. */
PX_CHECKED px_err *px_shards_new(const char *dir, const px_shape *shape, px_type type,
                                 int64_t one_file_most, px_shards **out);
/* The next tensor in the order of px_base_at; takes ownership of heap data, also on failure. */
PX_CHECKED px_err *px_shards_add(px_shards *shards, void *data);
/* Writes what is left, and the index where there are shards. */
PX_CHECKED px_err *px_shards_finish(px_shards *shards);
void px_shards_free(px_shards *shards);
/* config.json of a shape. bos, eos -1: not stated. */
PX_CHECKED px_err *px_config_json_write(const char *dir, const px_shape *shape, px_type type,
                                        int64_t bos, int64_t eos);
/* DIR/name with this text. */
PX_CHECKED px_err *px_text_write(const char *dir, const char *name, const px_str *text);

/* --- export_tokenizer.c --- */
/* tokenizer.json and tokenizer_config.json from a GGUF file's byte-level BPE vocabulary; *done
 * false where its tokenizer is of another kind. */
PX_CHECKED px_err *px_gguf_tokenizer_write(const px_gguf *file, const char *dir, bool *done);
/* Three special tokens of chatml, the 256 bytes and a few English merges, at most `vocab` tokens in
 * all. */
PX_CHECKED px_err *px_byte_tokenizer_write(const char *dir, int64_t vocab);

#endif
