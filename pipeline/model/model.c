/* model.c - see model.h: reads a source's weights and packs them for the kernels. q, k and v are
 * one matrix, gate and up another: fewer and larger products. Each tensor's pages in the file are
 * let go of once it is packed, so that the file is never resident as a whole. */
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

/* Linear layers first … last, one below the other, packed as one weight. */
typedef struct {
    px_model *model;
    px_source *source;
    char *buffer; /* room for the largest such matrix */
} packer;

/* Weights that are quantised come as f32: then a file's own blocks are found again. */
static px_type source_type(const px_model *model) {
    return model->panels == PX_PACK_PANELS ? model->type : PX_F32;
}

static px_err *pack_one(packer *p, int64_t layer, int first, int last, px_weight **out) {
    const px_model *model = p->model;
    const px_shape *shape = &model->shape;
    const int64_t in = px_linear_in(shape, first);
    const px_type type = source_type(model);
    int64_t rows = 0;
    for (int i = first; i <= last; i++) {
        const px_base_tensor t = px_base_at(shape, px_base_linear(layer, i));
        PX_PASS(px_source_rows(p->source, t.name, 0, t.dims[0], type,
                               p->buffer + (size_t)(rows * in) * px_type_size(type)));
        px_source_forget(p->source, t.name);
        rows += t.dims[0];
    }
    const int pack = model->generate ? model->panels
                                     : PX_PACK_FORWARD | (model->train ? PX_PACK_BACKWARD : 0) |
                                           (model->panels & ~PX_PACK_PANELS);
    return px_weight_new(model->s, px_mat_of(p->buffer, type, rows, in), model->type, pack, out);
}

/* `rows` rows of d values of a tensor as `type` where the backend computes. */
static px_err *rows_read(packer *p, const char *name, int64_t rows, int64_t d, px_type type,
                         void **out) {
    px_model *model = p->model;
    const size_t bytes = (size_t)(rows * d) * px_type_size(type);
    PX_PASS(px_model_memory(model, bytes, out));
    if (!px_memory_is_apart(model->s)) return px_source_rows(p->source, name, 0, rows, type, *out);
    void *host = malloc(bytes + 1);
    if (!host) PX_NO_MEMORY();
    px_err *err = px_source_rows(p->source, name, 0, rows, type, host);
    if (!err) px_memory_copy(model->s, *out, host, bytes);
    free(host);
    return err ? err : px_stream_ok(model->s);
}

static px_err *norm_read(packer *p, const char *name, float **out) {
    void *at = NULL;
    PX_PASS(rows_read(p, name, p->model->shape.d, 1, PX_F32, &at));
    *out = at;
    return NULL;
}

static px_err *layer_read(packer *p, int64_t layer) {
    px_layer *l = &p->model->layers[layer];
    const px_shape *shape = &p->model->shape;
    PX_PASS(pack_one(p, layer, PX_Q, PX_V, &l->qkv));
    PX_PASS(pack_one(p, layer, PX_O, PX_O, &l->o));
    PX_PASS(pack_one(p, layer, PX_GATE, PX_UP, &l->gate_up));
    PX_PASS(pack_one(p, layer, PX_DOWN, PX_DOWN, &l->down));
    const px_base_tensor first = px_base_at(shape, px_base_norm(layer, 0));
    const px_base_tensor second = px_base_at(shape, px_base_norm(layer, 1));
    PX_PASS(norm_read(p, first.name, &l->norm1));
    return norm_read(p, second.name, &l->norm2);
}

/* Of a frozen table a slot wants some thousand rows: a GPU reads them where the host has it. */
bool px_table_is_here(bool full_finetune) { return !full_finetune; }

static px_err *table_read(packer *p) {
    px_model *model = p->model;
    const int64_t vocab = model->shape.vocab, d = model->shape.d;
    const char *name = "model.embed_tokens.weight";
    const size_t bytes = (size_t)(vocab * d) * px_type_size(model->type);
    void *table = NULL;
    if (px_memory_is_apart(model->s) && px_table_is_here(model->full)) {
        PX_PASS(px_memory_shared_new(model->s, bytes, &model->table_here));
        table = model->table_here;
        PX_PASS(px_source_rows(p->source, name, 0, vocab, model->type, table));
    } else {
        PX_PASS(rows_read(p, name, vocab, d, model->type, &table));
    }
    model->table = px_mat_of(table, model->type, vocab, d);
    px_source_forget(p->source, name);
    return NULL;
}

/* The token table keeps its plain rows; a head of its own goes through a buffer. */
static px_err *ends_read(packer *p) {
    px_model *model = p->model;
    const px_shape *shape = &model->shape;
    px_err *err = NULL;
    char *rows = NULL;
    PX_PASS(table_read(p));
    PX_PASS(norm_read(p, "model.norm.weight", &model->norm));
    px_mat head = model->table;
    const px_type type = source_type(model);
    if (!shape->tied || type != model->type) {
        rows = malloc((size_t)(shape->vocab * shape->d) * px_type_size(type));
        if (!rows) PX_NO_MEMORY();
        head = px_mat_of(rows, type, shape->vocab, shape->d);
        PX_PASS_TO(done, px_source_rows(p->source, "lm_head.weight", 0, shape->vocab, type, rows));
        if (!shape->tied) px_source_forget(p->source, "lm_head.weight");
    }
    err = px_weight_new(model->s, head, model->type, model->generate ? model->panels : PX_PACK_ROWS,
                        &model->head);
done:
    free(rows);
    return err;
}

static px_err *weights_read(px_model *model, px_source *source) {
    const px_shape *shape = &model->shape;
    const int64_t qkv = model->width_qkv * shape->d, o = model->width_q * shape->d;
    const int64_t room = PX_MAX(PX_MAX(qkv, o), 2 * shape->ffn * shape->d);
    packer p = {model, source, malloc((size_t)room * px_type_size(source_type(model)))};
    px_err *err = NULL;
    if (!p.buffer) PX_NO_MEMORY();
    for (int64_t layer = 0; layer < shape->n_layers; layer++)
        PX_PASS_TO(done, layer_read(&p, layer));
    err = ends_read(&p);
done:
    free(p.buffer);
    return err;
}

px_err *px_model_positions(px_model *model, int64_t n) {
    const int64_t half = model->shape.head_dim / 2;
    if (n <= model->n_positions) return NULL;
    n = PX_MAX(n, 2 * model->n_positions);
    const size_t bytes = (size_t)(2 * n * half) * sizeof(float);
    float *grown = realloc(model->rope_table, bytes);
    if (!grown) PX_NO_MEMORY();
    model->rope_table = grown;
    px_rope_table(model->freq, half, model->n_positions, n - model->n_positions, grown);
    model->n_positions = n;
    if (px_memory_is_apart(model->s)) {
        void *apart = NULL;
        px_memory_free(model->s, model->rope);
        model->rope = NULL;
        PX_PASS(px_memory_new(model->s, bytes, &apart));
        px_memory_copy(model->s, apart, grown, bytes);
        grown = apart;
    }
    model->rope = grown;
    return NULL;
}

static px_err *precision_take(px_model *model, int precision) {
    model->type = precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16;
    model->panels = PX_PACK_PANELS;
    if (precision == PX_PRECISION_Q8_0) model->panels |= PX_PACK_Q8;
    if (precision == PX_PRECISION_Q4_1) model->panels |= PX_PACK_Q4;
    if (model->panels != PX_PACK_PANELS && model->full)
        PX_FAIL(PX_BAD_INPUT, "precision q8_0 and q4_1 are for frozen weights, and not for fully "
                              "fine-tuned runs; bf16 or f32 is accepted here");
    return NULL;
}

static px_err *model_fill(px_model *model, px_source *source, const px_config *config) {
    const px_shape *shape = &model->shape;
    model->width_q = shape->n_heads * shape->head_dim;
    model->width_kv = shape->n_kv_heads * shape->head_dim;
    model->width_qkv = model->width_q + 2 * model->width_kv;
    model->full = config->full_finetune;
    PX_PASS(precision_take(model, config->precision));
    model->dropout = config->lora_dropout;
    model->n_again = px_layers_again(config, &model->shape);
    model->base = px_base_layout_of(shape);
    model->lora = px_lora_layout_of(config, shape, model->full ? model->base.n : 0);
    model->layers = px_take(model->arena, px_layer, shape->n_layers);
    model->freq = px_take(model->arena, float, shape->head_dim / 2);
    PX_PASS(px_arena_ok(model->arena));
    px_rope_frequencies(shape, source->rope_factors, model->freq);
    PX_PASS(px_model_positions(model, PX_MIN(shape->max_positions, ROPE_POSITIONS)));
    return weights_read(model, source);
}

px_err *px_model_new(px_stream *s, px_source *source, const px_config *config, int use,
                     px_model **out) {
    px_model *model = calloc(1, sizeof *model);
    if (!model) PX_NO_MEMORY();
    model->s = s;
    model->shape = source->shape;
    model->train = (use & PX_MODEL_TRAIN) != 0;
    model->generate = (use & PX_MODEL_GENERATE) != 0;
    px_err *err = px_arena_new(1 << 16, &model->arena);
    if (!err) err = model_fill(model, source, config);
    if (err) {
        px_model_free(model);
        return px_err_add(err, __FILE__, __LINE__, "model %s", source->path);
    }
    *out = model;
    return NULL;
}

void px_model_free(px_model *model) {
    if (!model) return;
    for (int64_t i = 0; model->layers && i < model->shape.n_layers; i++) {
        px_layer *l = &model->layers[i];
        px_weight_free(l->qkv);
        px_weight_free(l->o);
        px_weight_free(l->gate_up);
        px_weight_free(l->down);
    }
    px_weight_free(model->head);
    px_model_memory_free(model);
    px_arena_free(model->arena);
    free(model);
}

const px_shape *px_model_shape(const px_model *model) { return &model->shape; }

/* --- full fine-tuning --- */

static px_err *repack(px_model *model, px_weight *w, const float *values, int64_t rows,
                      int64_t cols) {
    float *source = (float *)(uintptr_t)values; /* px_mat has no const; it is read only */
    return px_weight_update(model->s, w, px_mat_of(source, PX_F32, rows, cols));
}

/* Every row, rounded on the card; some at a time, as the host's values go through scratch. */
static px_err *table_there(px_model *model, const float *values) {
    const int64_t vocab = model->shape.vocab, d = model->shape.d;
    const int64_t most = PX_MIN(PX_MAX(PX_CARD_STAGED / d, 1), vocab);
    float *source = (float *)(uintptr_t)values; /* px_mat has no const; it is read only */
    int32_t *rows = malloc((size_t)most * sizeof *rows);
    if (!rows) PX_NO_MEMORY();
    for (int64_t i = 0; i < most; i++) rows[i] = (int32_t)i;
    for (int64_t i = 0; i < vocab; i += most) {
        const int64_t n = PX_MIN(most, vocab - i);
        px_mat to = model->table;
        to.data = (char *)to.data + (size_t)(i * d) * px_type_size(to.type);
        to.rows = n;
        px_op_gather(model->s, to, px_mat_of(source + i * d, PX_F32, n, d), rows);
    }
    free(rows);
    return NULL;
}

static px_err *table_update(px_model *model, const float *values) {
    const int64_t n = model->shape.vocab * model->shape.d;
    if (model->type == PX_F32) {
        px_memory_copy(model->s, model->table.data, values, (size_t)n * sizeof *values);
        return NULL;
    }
    if (px_memory_is_apart(model->s)) return table_there(model, values);
    uint16_t *table = model->table.data;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) table[i] = px_bf16_from(values[i]);
    return NULL;
}

px_err *px_model_update(px_model *model, const px_params *params) {
    const px_shape *shape = &model->shape;
    const float *v = params->there ? params->there : params->values;
    const size_t norm_bytes = (size_t)shape->d * sizeof *v;
    if (!model->full) return NULL;
    if (params->n < model->base.n)
        PX_FAIL(PX_RUN_FAILED, "%zu parameters; the base model has %zu", params->n, model->base.n);
    for (int64_t i = 0; i < shape->n_layers; i++) {
        px_layer *l = &model->layers[i];
        const px_base_layer at = model->base.layer;
        const float *w = v + (size_t)i * model->base.layer_floats;
        px_memory_copy(model->s, l->norm1, w + at.norm1, norm_bytes);
        px_memory_copy(model->s, l->norm2, w + at.norm2, norm_bytes);
        PX_PASS(repack(model, l->qkv, w + at.q, model->width_qkv, shape->d));
        PX_PASS(repack(model, l->o, w + at.o, shape->d, model->width_q));
        PX_PASS(repack(model, l->gate_up, w + at.gate, 2 * shape->ffn, shape->d));
        PX_PASS(repack(model, l->down, w + at.down, shape->d, shape->ffn));
    }
    px_memory_copy(model->s, model->norm, v + model->base.norm, norm_bytes);
    PX_PASS(table_update(model, v + model->base.table));
    return repack(model, model->head, v + (shape->tied ? model->base.table : model->base.head),
                  shape->vocab, shape->d);
}
