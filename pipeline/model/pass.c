/* pass.c - see model.h: the memory of a forward and backward pass. With `backward` each layer keeps
 * what its backward needs: the residual stream before attention and before the MLP, q k v after
 * rope, the attention's output and log-sums, gate and up. Norms and silu(gate)·up are computed
 * again: 2 reads instead of (d + ffn) kept. Without `backward` all layers share one set; with
 * train.recompute the lower layers share one of all but the stream before attention, from which the
 * backward computes a layer's set again. */
#include <stdlib.h>

#include "model_internal.h"

/* Which set of its own a layer has. */
static size_t set_of(const px_pass *pass, int64_t layer) {
    if (!pass->backward) return 0;
    if (pass->n_again == 0) return (size_t)layer;
    return layer < pass->n_again ? 0 : (size_t)(layer - pass->n_again + 1);
}

px_mat px_pass_mat(const px_model *model, const px_pass *pass, char *base, int64_t layer,
                   int64_t rows, int64_t cols) {
    const size_t one = (size_t)(pass->n_max * cols) * px_type_size(model->type);
    const size_t set = pass->backward && base == pass->x ? (size_t)layer : set_of(pass, layer);
    return px_mat_of(base + set * one, model->type, rows, cols);
}

float *px_pass_floats(const px_pass *pass, float *base, int64_t layer, int64_t cols) {
    return base + set_of(pass, layer) * (size_t)(pass->n_max * cols);
}

px_mat px_mat_cols(px_mat m, int64_t first, int64_t cols) {
    m.data = (char *)m.data + (size_t)first * px_type_size(m.type);
    m.cols = cols;
    return m;
}

/* Memory of a pass: the arena's, or the next piece of what the GPU gave, which is only counted
 * while `apart` is NULL. */
static void *take(px_pass *pass, size_t n, size_t size) {
    if (!pass->is_apart) return px_arena_take_raw(pass->arena, n, size);
    const size_t at = pass->apart_bytes;
    pass->apart_bytes += (n * size + 255) / 256 * 256;
    return pass->apart ? pass->apart + at : NULL;
}

/* Buffers that a layer has for itself. */
static void take_layers(px_pass *pass, const px_model *model) {
    const px_shape *shape = &model->shape;
    const size_t size = px_type_size(model->type);
    const int64_t n = pass->n_max, layers = pass->backward ? shape->n_layers : 1;
    const size_t rows = (set_of(pass, layers - 1) + 1) * (size_t)n;
    pass->x = take(pass, (size_t)(layers * n * shape->d), size);
    pass->mid = take(pass, rows * (size_t)shape->d, size);
    pass->qkv = take(pass, rows * (size_t)model->width_qkv, size);
    pass->att = take(pass, rows * (size_t)model->width_q, size);
    pass->gate_up = take(pass, rows * (size_t)(2 * shape->ffn), size);
    pass->lse = take(pass, rows * (size_t)shape->n_heads, sizeof(float));
    pass->rms1 = take(pass, rows, sizeof(float));
    pass->rms2 = take(pass, rows, sizeof(float));
    for (int i = 0; i < PX_N_GROUPS; i++)
        pass->u[i] = take(pass, rows * (size_t)model->lora.groups[i].R, sizeof(float));
}

static void take_working(px_pass *pass, const px_model *model) {
    const px_shape *shape = &model->shape;
    const size_t size = px_type_size(model->type), n = (size_t)pass->n_max, d = (size_t)shape->d;
    const size_t rows = (size_t)pass->rows_max;
    int64_t R = 0;
    for (int i = 0; i < PX_N_GROUPS; i++) R = PX_MAX(R, model->lora.groups[i].R);
    pass->h = take(pass, n * d, size);
    pass->delta = take(pass, n * d, size);
    pass->s = take(pass, n * (size_t)shape->ffn, size);
    pass->mid_rows = take(pass, rows * d, size);
    pass->delta_rows = take(pass, rows * d, size);
    pass->h_rows = take(pass, rows * d, size);
    pass->rms_rows = take(pass, rows, sizeof(float));
    pass->lse_rows = take(pass, rows, sizeof(float));
    if (!model->generate && pass->is_apart) {
        pass->positions_there = take(pass, n, sizeof *pass->positions_there);
        pass->keys_there = take(pass, n, sizeof *pass->keys_there);
    }
    if (model->generate && pass->is_apart) {
        pass->logits = take(pass, rows * (size_t)shape->vocab, sizeof(float));
        pass->picked =
            take(pass, px_picked_bytes(pass->rows_max, pass->rows_max, PX_PICK_LISTED), 1);
    }
    if (!pass->backward) return;
    pass->dx = take(pass, n * d, size);
    pass->ds = take(pass, n * (size_t)PX_MAX(shape->ffn, model->width_q), size);
    pass->dqkv = take(pass, n * (size_t)model->width_qkv, size);
    pass->du = take(pass, n * (size_t)R, sizeof(float));
    pass->ew = take(pass, rows * d, sizeof(float));
}

/* On a GPU: how much it takes, then one piece for all. */
static px_err *take_all(px_pass *pass, const px_model *model) {
    void *apart = NULL;
    pass->ids = px_take_raw(pass->arena, int32_t, pass->n_max);
    pass->positions = px_take_raw(pass->arena, int32_t, pass->n_max);
    pass->rows = px_take_raw(pass->arena, int32_t, pass->rows_max);
    take_layers(pass, model);
    take_working(pass, model);
    PX_PASS(px_arena_ok(pass->arena));
    if (!pass->is_apart) return NULL;
    PX_PASS(px_memory_new(pass->stream, pass->apart_bytes, &apart));
    /* Rows that are nobody's are computed with: let them be numbers. */
    if (model->generate) px_memory_zero(pass->stream, apart, pass->apart_bytes);
    pass->apart = apart;
    pass->apart_bytes = 0;
    take_layers(pass, model);
    take_working(pass, model);
    return NULL;
}

px_err *px_pass_new(const px_model *model, int32_t n, int32_t n_rows, int32_t n_targets,
                    bool backward, px_pass **out) {
    px_arena *arena = NULL;
    px_err *err = NULL;
    if (backward && !model->train)
        PX_FAIL(PX_RUN_FAILED, "a backward pass needs a model packed for training");
    PX_PASS(px_arena_new(1 << 16, &arena));
    px_pass *pass = px_take(arena, px_pass, 1);
    if (pass) {
        *pass = (px_pass){.n_max = n,
                          .rows_max = n_rows,
                          .targets_max = n_targets,
                          .backward = backward,
                          .n_again = backward ? model->n_again : 0,
                          .arena = arena,
                          .stream = model->s,
                          .is_apart = px_memory_is_apart(model->s)};
        err = take_all(pass, model);
    } else {
        err = px_arena_ok(arena);
    }
    if (err) {
        px_arena_free(arena);
        return px_err_add(err, __FILE__, __LINE__, "activations of %d tokens%s", (int)n,
                          backward ? "; a smaller batch.slot_tokens needs less" : "");
    }
    *out = pass;
    return NULL;
}

void px_pass_free(px_pass *pass) {
    if (!pass) return;
    if (pass->apart) px_memory_free(pass->stream, pass->apart);
    px_arena_free(pass->arena);
}

int64_t px_pass_bytes(const px_pass *pass) {
    return (int64_t)(px_arena_peak(pass->arena) + pass->apart_bytes);
}

int64_t px_layers_again(const px_config *config, const px_shape *shape) {
    const int64_t some = config->train_recompute_layers;
    if (!config->train_recompute) return 0;
    return some > 0 ? PX_MIN(some, shape->n_layers) : shape->n_layers;
}

/* A model without weights: all that a pass needs to know of one. */
static px_model shape_alone(const px_config *config, const px_shape *shape) {
    px_model model = {.shape = *shape, .train = true, .n_again = px_layers_again(config, shape)};
    model.type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16;
    model.width_q = shape->n_heads * shape->head_dim;
    model.width_kv = shape->n_kv_heads * shape->head_dim;
    model.width_qkv = model.width_q + 2 * model.width_kv;
    model.lora = px_lora_layout_of(config, shape, 0);
    return model;
}

int64_t px_pass_card(const px_config *config, const px_shape *shape, int64_t n, int64_t n_rows,
                     int use) {
    px_model model = shape_alone(config, shape);
    model.generate = (use & PX_MODEL_GENERATE) != 0;
    const bool backward = (use & PX_MODEL_TRAIN) != 0;
    px_pass pass = {.n_max = (int32_t)n,
                    .rows_max = (int32_t)n_rows,
                    .backward = backward,
                    .n_again = backward ? model.n_again : 0,
                    .is_apart = true};
    take_layers(&pass, &model);
    take_working(&pass, &model);
    return px_card_piece((int64_t)pass.apart_bytes);
}

px_err *px_pass_estimate(const px_config *config, const px_shape *shape, int64_t n, bool backward,
                         int64_t *bytes) {
    enum { FEW = 64, MORE = 128 };
    px_pass *pass = NULL;
    int64_t few = 0;
    const px_model model = shape_alone(config, shape);
    for (int32_t rows = FEW; rows <= MORE; rows += FEW) {
        PX_PASS(px_pass_new(&model, rows, rows, rows, backward, &pass)); /* no page is touched */
        if (rows == FEW) few = px_pass_bytes(pass);
        if (rows == MORE) *bytes = few + (px_pass_bytes(pass) - few) * (n - FEW) / FEW;
        px_pass_free(pass);
    }
    return NULL;
}
