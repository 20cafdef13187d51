/* pass.c - see model.h: the memory of a forward and backward pass. With `backward` each layer keeps
 * what its backward needs: the residual stream before attention and before the MLP, q k v after
 * rope, the attention's output and log-sums, gate and up. Norms and silu(gate)·up are computed
 * again: 2 reads instead of (d + ffn) kept. Without `backward` all layers share one set. */
#include <stdlib.h>

#include "model_internal.h"

px_mat px_pass_mat(const px_model *model, const px_pass *pass, char *base, int64_t layer,
                   int64_t rows, int64_t cols) {
    const size_t one = (size_t)(pass->n_max * cols) * px_type_size(model->type);
    return px_mat_of(base + (pass->backward ? (size_t)layer * one : 0), model->type, rows, cols);
}

float *px_pass_floats(const px_pass *pass, float *base, int64_t layer, int64_t cols) {
    return base + (pass->backward ? (size_t)layer * (size_t)(pass->n_max * cols) : 0);
}

px_mat px_mat_cols(px_mat m, int64_t first, int64_t cols) {
    m.data = (char *)m.data + (size_t)first * px_type_size(m.type);
    m.cols = cols;
    return m;
}

/* Buffers that a layer has for itself. */
static void take_layers(px_pass *pass, const px_model *model) {
    px_arena *a = pass->arena;
    const px_shape *shape = &model->shape;
    const size_t size = px_type_size(model->type);
    const int64_t n = pass->n_max, layers = pass->backward ? shape->n_layers : 1;
    const size_t rows = (size_t)(layers * n);
    pass->x = px_arena_take_raw(a, rows * (size_t)shape->d, size);
    pass->mid = px_arena_take_raw(a, rows * (size_t)shape->d, size);
    pass->qkv = px_arena_take_raw(a, rows * (size_t)model->width_qkv, size);
    pass->att = px_arena_take_raw(a, rows * (size_t)model->width_q, size);
    pass->gate_up = px_arena_take_raw(a, rows * (size_t)(2 * shape->ffn), size);
    pass->lse = px_take_raw(a, float, rows, shape->n_heads);
    pass->rms1 = px_take_raw(a, float, rows);
    pass->rms2 = px_take_raw(a, float, rows);
    for (int i = 0; i < PX_N_GROUPS; i++)
        pass->u[i] = px_take_raw(a, float, rows, model->lora.groups[i].R);
}

static void take_working(px_pass *pass, const px_model *model) {
    px_arena *a = pass->arena;
    const px_shape *shape = &model->shape;
    const size_t size = px_type_size(model->type), n = (size_t)pass->n_max, d = (size_t)shape->d;
    const size_t rows = (size_t)pass->rows_max;
    int64_t R = 0;
    for (int i = 0; i < PX_N_GROUPS; i++) R = PX_MAX(R, model->lora.groups[i].R);
    pass->h = px_arena_take_raw(a, n * d, size);
    pass->delta = px_arena_take_raw(a, n * d, size);
    pass->s = px_arena_take_raw(a, n * (size_t)shape->ffn, size);
    pass->mid_rows = px_arena_take_raw(a, rows * d, size);
    pass->delta_rows = px_arena_take_raw(a, rows * d, size);
    pass->h_rows = px_arena_take_raw(a, rows * d, size);
    pass->rms_rows = px_take_raw(a, float, rows);
    pass->lse_rows = px_take_raw(a, float, rows);
    pass->positions = px_take_raw(a, int32_t, n);
    if (!pass->backward) return;
    pass->dx = px_arena_take_raw(a, n * d, size);
    pass->ds = px_arena_take_raw(a, n * (size_t)PX_MAX(shape->ffn, model->width_q), size);
    pass->dqkv = px_arena_take_raw(a, n * (size_t)model->width_qkv, size);
    pass->du = px_take_raw(a, float, n, R);
    pass->ew = px_take_raw(a, float, rows, d);
}

px_err *px_pass_new(const px_model *model, int32_t n, int32_t n_rows, int32_t n_targets,
                    bool backward, px_pass **out) {
    px_arena *arena = NULL;
    if (backward && !model->train)
        PX_FAIL(PX_RUN_FAILED, "a backward pass needs a model packed for training");
    PX_PASS(px_arena_new(1 << 16, &arena));
    px_pass *pass = px_take(arena, px_pass, 1);
    if (pass) {
        *pass = (px_pass){.n_max = n,
                          .rows_max = n_rows,
                          .targets_max = n_targets,
                          .backward = backward,
                          .arena = arena};
        take_layers(pass, model);
        take_working(pass, model);
    }
    px_err *err = px_arena_ok(arena);
    if (err) {
        px_arena_free(arena);
        return px_err_add(err, __FILE__, __LINE__, "activations of %d tokens%s", (int)n,
                          backward ? "; a smaller batch.slot_tokens needs less" : "");
    }
    *out = pass;
    return NULL;
}

void px_pass_free(px_pass *pass) {
    if (pass) px_arena_free(pass->arena);
}

int64_t px_pass_bytes(const px_pass *pass) { return (int64_t)px_arena_peak(pass->arena); }

px_err *px_pass_estimate(const px_config *config, const px_shape *shape, int64_t n, bool backward,
                         int64_t *bytes) {
    enum { FEW = 64, MORE = 128 };
    px_pass *pass = NULL;
    int64_t few = 0;
    px_model model = {.shape = *shape, .train = true};
    model.type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16;
    model.width_q = shape->n_heads * shape->head_dim;
    model.width_kv = shape->n_kv_heads * shape->head_dim;
    model.width_qkv = model.width_q + 2 * model.width_kv;
    model.lora = px_lora_layout_of(config, shape, 0);
    for (int32_t rows = FEW; rows <= MORE; rows += FEW) {
        PX_PASS(px_pass_new(&model, rows, rows, rows, backward, &pass)); /* no page is touched */
        if (rows == FEW) few = px_pass_bytes(pass);
        if (rows == MORE) *bytes = few + (px_pass_bytes(pass) - few) * (n - FEW) / FEW;
        px_pass_free(pass);
    }
    return NULL;
}
