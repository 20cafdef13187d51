/* backward.c - see model.h. dx carries the gradient of the residual stream down the layers; what is
 * cheap is computed again (norms, silu(gate)·up). gate and up are overwritten by their gradients,
 * so a forward serves one backward. Below the first layer the gradient is wanted only by soft
 * tokens and by full fine-tuning. */
#include "model_internal.h"

typedef struct {
    px_model *model;
    px_pass *pass;
    const px_slot *slot;
    px_forward how;
    float *grads, *dsoft;
} run;

static px_mat mat(const run *r, char *base, int64_t layer, int64_t cols) {
    return px_pass_mat(r->model, r->pass, base, layer, r->slot->n, cols);
}

/* Gradients of a group's A and B from dy, which holds the group's outputs side by side; dx += what
 * comes through the adapters (data NULL: not wanted). */
static void adapters(const run *r, int64_t layer, int group, px_mat dx, px_mat dy, px_mat x) {
    const px_model *model = r->model;
    const px_lora_group *g = px_group_in_use(model, r->how, group);
    if (!g) return;
    const size_t at = (size_t)layer * model->lora.layer_floats;
    const float *values = px_adapter_values(model, r->how.params) + at;
    const float *u = px_pass_floats(r->pass, r->pass->u[group], layer, g->R);
    float *grads = px_trained_grads(model, r->grads) + at;
    for (int i = 0; i < g->n; i++) {
        const px_lora_part part = {g->R, g->first[i], model->lora.r, model->lora.scale};
        const int64_t first = px_group_column(model, g->linear[i]);
        px_mat out = px_mat_cols(dy, first, px_linear_out(&model->shape, g->linear[i]));
        px_op_lora_up_backward(model->s, r->pass->du, grads + g->b[i], out, u, values + g->b[i],
                               part);
    }
    px_op_lora_down_backward(model->s, dx, grads + g->a, r->pass->du, x, values + g->a, g->R,
                             px_drop_of(model, r->slot, r->how, layer, group));
}

/* Where a base tensor's gradient goes, or NULL when the base is frozen. */
static float *base_grad(const run *r, size_t offset, int64_t layer) {
    if (!r->model->full || !r->how.params) return NULL;
    return px_trained_grads(r->model, r->grads) + offset +
           (size_t)layer * r->model->base.layer_floats;
}

static void weight_grad(const run *r, size_t offset, int64_t layer, px_mat dy, px_mat x) {
    float *dw = base_grad(r, offset, layer);
    if (dw) px_op_linear_backward_weight(r->model->s, dw, dy, x);
}

static void mlp_block(const run *r, int64_t layer, px_mat dx) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_layer *l = &model->layers[layer];
    const px_base_layer *at = &model->base.layer;
    const int64_t d = model->shape.d, ffn = model->shape.ffn;
    px_mat mid = mat(r, pass->mid, layer, d), h = mat(r, pass->h, 0, d);
    px_mat gate_up = mat(r, pass->gate_up, layer, 2 * ffn);
    px_mat gate = px_mat_cols(gate_up, 0, ffn), up = px_mat_cols(gate_up, ffn, ffn);
    px_mat s = mat(r, pass->s, 0, ffn), ds = mat(r, pass->ds, 0, ffn);
    px_mat dh = mat(r, pass->delta, 0, d);
    float *rms = px_pass_floats(pass, pass->rms2, layer, 1);
    px_op_swiglu(model->s, s, gate, up);
    px_op_linear_backward_input(model->s, ds, dx, l->down, false);
    weight_grad(r, at->down, layer, dx, s);
    adapters(r, layer, PX_GROUP_DOWN, ds, dx, s);
    px_op_swiglu_backward(model->s, gate, up, ds, gate, up);
    px_op_rms_norm(model->s, h, (px_mat){0}, rms, mid, (px_mat){0}, l->norm2,
                   (float)model->shape.rms_eps);
    px_op_linear_backward_input(model->s, dh, gate_up, l->gate_up, false);
    weight_grad(r, at->gate, layer, gate_up, h);
    adapters(r, layer, PX_GROUP_GATE_UP, dh, gate_up, h);
    px_op_rms_norm_backward(model->s, dx, dx, base_grad(r, at->norm2, layer), dh, mid, rms,
                            l->norm2);
}

/* Gradient of q, k and v before rope, side by side. */
static px_mat attention_grad(const run *r, int64_t layer, px_mat datt) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const int64_t q = model->width_q, kv = model->width_kv;
    px_mat qkv = mat(r, pass->qkv, layer, model->width_qkv);
    px_mat dqkv = mat(r, pass->dqkv, 0, model->width_qkv);
    const px_attn attn = px_attn_of(model, r->slot);
    const px_attn_back io = {.dq = px_mat_cols(dqkv, 0, q),
                             .dk = px_mat_cols(dqkv, q, kv),
                             .dv = px_mat_cols(dqkv, q + kv, kv),
                             .dout = datt,
                             .out = mat(r, pass->att, layer, q),
                             .q = px_mat_cols(qkv, 0, q),
                             .k = px_mat_cols(qkv, q, kv),
                             .v = px_mat_cols(qkv, q + kv, kv),
                             .lse = px_pass_floats(pass, pass->lse, layer, model->shape.n_heads)};
    px_op_attention_backward(model->s, &io, &attn);
    px_op_rope(model->s, px_mat_cols(dqkv, 0, q + kv), r->slot->positions, model->rope,
               model->shape.head_dim, -1);
    return dqkv;
}

static void attention_block(const run *r, int64_t layer, px_mat dx, bool wants_input) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_layer *l = &model->layers[layer];
    const px_base_layer *at = &model->base.layer;
    const int64_t d = model->shape.d;
    px_mat x = mat(r, pass->x, layer, d), h = mat(r, pass->h, 0, d), dh = mat(r, pass->delta, 0, d);
    px_mat att = mat(r, pass->att, layer, model->width_q),
           datt = mat(r, pass->ds, 0, model->width_q);
    float *rms = px_pass_floats(pass, pass->rms1, layer, 1);
    px_op_linear_backward_input(model->s, datt, dx, l->o, false);
    weight_grad(r, at->o, layer, dx, att);
    adapters(r, layer, PX_GROUP_O, datt, dx, att);
    if (!wants_input && !px_group_in_use(model, r->how, PX_GROUP_QKV)) return;
    px_mat dqkv = attention_grad(r, layer, datt);
    px_op_rms_norm(model->s, h, (px_mat){0}, rms, x, (px_mat){0}, l->norm1,
                   (float)model->shape.rms_eps);
    if (wants_input) px_op_linear_backward_input(model->s, dh, dqkv, l->qkv, false);
    weight_grad(r, at->q, layer, dqkv, h);
    adapters(r, layer, PX_GROUP_QKV, wants_input ? dh : (px_mat){0}, dqkv, h);
    if (wants_input)
        px_op_rms_norm_backward(model->s, dx, dx, base_grad(r, at->norm1, layer), dh, x, rms,
                                l->norm1);
}

/* From the targets to the residual stream at the end. */
static void head(const run *r, const float *g, px_mat dx) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_slot *slot = r->slot;
    const int64_t d = model->shape.d, n = slot->n_rows;
    px_mat mid_rows = px_mat_of(pass->mid_rows, model->type, n, d);
    px_mat dh = px_mat_of(pass->delta_rows, model->type, n, d);
    px_mat h_rows = px_mat_of(pass->h_rows, model->type, n, d);
    const size_t head_at = model->shape.tied ? model->base.table : model->base.head;
    float *dw = base_grad(r, head_at, 0);
    px_op_head_backward(model->s, dh, g, px_mat_of(pass->ew, PX_F32, n, d), model->head,
                        slot->targets);
    if (dw)
        px_op_head_backward_weight(model->s, dw, g, pass->lse_rows, h_rows, model->head,
                                   slot->targets);
    /* h_rows has served: the norm's gradient takes its place. */
    px_op_rms_norm_backward(model->s, h_rows, (px_mat){0}, base_grad(r, model->base.norm, 0), dh,
                            mid_rows, pass->rms_rows, model->norm);
    px_op_scatter(model->s, dx, h_rows, slot->rows);
}

/* The gradients of this layer and of those above it are complete; layer n_layers: what follows the
 * layers in the vector. */
static void made(const run *r, int64_t layer) {
    const px_model *model = r->model;
    const px_base_layout *base = &model->base;
    if (!r->how.params) return;
    if (model->full)
        px_trained_grads_made(model, base->layer_first + (size_t)layer * base->layer_floats);
    else
        px_trained_grads_made(model, model->lora.first + (size_t)layer * model->lora.layer_floats);
}

px_err *px_model_backward(px_model *model, px_pass *pass, const px_slot *slot, px_forward how,
                          const float *g, float *grads, float *dsoft) {
    const px_slot there = px_slot_there(pass, slot, false);
    const run r = {model, pass, &there, how, grads, dsoft};
    const px_run_pass again = {model, pass, &there, how, NULL, true};
    if (!pass->backward)
        PX_FAIL(PX_RUN_FAILED, "a backward pass on memory for a forward pass alone");
    if (slot->n == 0 || slot->n_rows == 0 || slot->targets.n == 0) { /* no loss, no gradient */
        px_model_grads_none(model);
        return NULL;
    }
    const bool full = model->full && how.params;
    const bool wants_soft = dsoft && slot->n_soft > 0;
    if (full && slot->n_soft > 0 && !dsoft)
        PX_FAIL(PX_RUN_FAILED, "full fine-tuning with soft tokens needs their gradient");
    PX_PASS(px_adapters_enter(model, how.params, true));
    px_mat dx = mat(&r, pass->dx, 0, model->shape.d);
    head(&r, g, dx);
    made(&r, model->shape.n_layers);
    for (int64_t layer = model->shape.n_layers - 1; layer >= 0; layer--) {
        /* The last one's are still there. */
        if (layer + 1 < pass->n_again) px_layer_again(&again, layer);
        mlp_block(&r, layer, dx);
        attention_block(&r, layer, dx, layer > 0 || full || wants_soft);
        made(&r, layer);
    }
    if (full || wants_soft)
        px_op_embed_backward(model->s, wants_soft ? dsoft : NULL,
                             base_grad(&r, model->base.table, 0), slot->ids, dx);
    if (full) px_trained_grads_made(model, model->base.table);
    px_adapters_leave(model, how.params, grads);
    return px_stream_ok(model->s);
}
