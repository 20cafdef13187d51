/* forward.c - see model.h. The residual stream is x before attention and mid before the MLP; each
 * block leaves its output in `delta`, and the next norm adds it: one rounding of the sum. */
#include <math.h>

#include "model_internal.h"

/* --- what a slot must fulfil --- */

static px_err *rows_check(const px_model *model, const px_slot *slot, int32_t *position_max) {
    *position_max = 0;
    for (int32_t i = 0; i < slot->n; i++) {
        const int32_t id = slot->ids[i];
        if (id >= model->shape.vocab)
            PX_FAIL(PX_BAD_INPUT,
                    "token %d, but the model's vocabulary has %lld: another model's corpus?",
                    (int)id, (long long)model->shape.vocab);
        if (id < 0 && -1 - (int64_t)id >= slot->n_soft)
            PX_FAIL(PX_RUN_FAILED, "row %d asks for soft token %lld of %d", (int)i,
                    -1 - (long long)id, (int)slot->n_soft);
        if (slot->positions[i] < 0)
            PX_FAIL(PX_RUN_FAILED, "row %d has position %d", (int)i, (int)slot->positions[i]);
        *position_max = PX_MAX(*position_max, slot->positions[i]);
    }
    return NULL;
}

static px_err *targets_check(const px_model *model, const px_slot *slot) {
    const px_targets *t = &slot->targets;
    for (int32_t i = 0; i < slot->n_rows; i++)
        if (slot->rows[i] < (i ? slot->rows[i - 1] + 1 : 0) || slot->rows[i] >= slot->n)
            PX_FAIL(PX_RUN_FAILED, "wanted row %d is %d: not ascending within %d", (int)i,
                    (int)slot->rows[i], (int)slot->n);
    for (int64_t m = 0; m < t->n; m++) {
        if (t->row[m] < (m ? t->row[m - 1] : 0) || t->row[m] >= slot->n_rows)
            PX_FAIL(PX_RUN_FAILED, "target %lld is of row %d: not ascending within %d",
                    (long long)m, (int)t->row[m], (int)slot->n_rows);
        if (t->id[m] < 0 || t->id[m] >= model->shape.vocab)
            PX_FAIL(PX_BAD_INPUT,
                    "token %d, but the model's vocabulary has %lld: another model's corpus?",
                    (int)t->id[m], (long long)model->shape.vocab);
    }
    return NULL;
}

static px_err *segments_check(const px_slot *slot) {
    int32_t at = 0;
    for (int32_t i = 0; i < slot->n_segments; i++) {
        const px_segment *seg = &slot->segments[i];
        if (seg->begin != at || seg->end < at || seg->parent >= i || seg->parent < -1)
            PX_FAIL(PX_RUN_FAILED, "segment %d: rows %d to %d, parent %d", (int)i, (int)seg->begin,
                    (int)seg->end, (int)seg->parent);
        at = seg->end;
    }
    if (at != slot->n)
        PX_FAIL(PX_RUN_FAILED, "segments cover %d of %d rows", (int)at, (int)slot->n);
    return NULL;
}

static px_err *slot_check(px_model *model, const px_pass *pass, const px_slot *slot,
                          px_forward how) {
    int32_t position_max = 0;
    if (slot->n > pass->n_max || slot->n_rows > pass->rows_max ||
        slot->targets.n > pass->targets_max)
        PX_FAIL(PX_RUN_FAILED,
                "a slot of %d tokens, %d rows and %lld targets; room is for %d, %d and %d",
                (int)slot->n, (int)slot->n_rows, (long long)slot->targets.n, (int)pass->n_max,
                (int)pass->rows_max, (int)pass->targets_max);
    if (how.params && how.params->n < model->lora.first + model->lora.n)
        PX_FAIL(PX_RUN_FAILED, "%zu parameters, but the model's adapters take %zu", how.params->n,
                model->lora.first + model->lora.n);
    if (how.params && how.train && model->dropout > 0 && !slot->keys)
        PX_FAIL(PX_RUN_FAILED, "dropout without keys");
    PX_PASS(rows_check(model, slot, &position_max));
    PX_PASS(targets_check(model, slot));
    PX_PASS(segments_check(slot));
    return px_model_positions(model, (int64_t)position_max + 1);
}

/* --- pieces that the backward pass needs too --- */

px_dropout px_drop_of(const px_model *model, const px_slot *slot, px_forward how, int64_t layer,
                      int group) {
    return (px_dropout){.p = how.train ? model->dropout : 0,
                        .seed = how.drop_seed,
                        .site = (uint32_t)(layer * PX_N_GROUPS + group),
                        .keys = slot->keys};
}

const px_lora_group *px_group_in_use(const px_model *model, px_forward how, int group) {
    const px_lora_group *g = &model->lora.groups[group];
    return how.params && g->n > 0 ? g : NULL;
}

int64_t px_group_column(const px_model *model, int linear) {
    switch (linear) {
    case PX_K:
        return model->width_q;
    case PX_V:
        return model->width_q + model->width_kv;
    case PX_UP:
        return model->shape.ffn;
    default:
        return 0;
    }
}

px_attn px_attn_of(const px_model *model, const px_slot *slot) {
    const px_shape *shape = &model->shape;
    return (px_attn){.segments = slot->segments,
                     .n_segments = slot->n_segments,
                     .n_heads = (int32_t)shape->n_heads,
                     .n_kv_heads = (int32_t)shape->n_kv_heads,
                     .head_dim = (int32_t)shape->head_dim,
                     .scale = (float)(1 / sqrt((double)shape->head_dim))};
}

/* --- the pass --- */

/* y += adapters of the group at its input x; y holds the group's outputs side by side. y.data NULL:
 * u alone is wanted. */
static void adapters(const px_run_pass *r, int64_t layer, int group, px_mat y, px_mat x) {
    const px_model *model = r->model;
    const px_lora_group *g = px_group_in_use(model, r->how, group);
    if (!g) return;
    const float *values =
        px_adapter_values(model, r->how.params) + (size_t)layer * model->lora.layer_floats;
    float *u = px_pass_floats(r->pass, r->pass->u[group], layer, g->R);
    px_op_lora_down(model->s, u, x, values + g->a, g->R,
                    px_drop_of(model, r->slot, r->how, layer, group));
    for (int i = 0; i < g->n && y.data; i++) {
        const px_lora_part part = {g->R, g->first[i], model->lora.r, model->lora.scale};
        const int64_t first = px_group_column(model, g->linear[i]);
        px_mat out = px_mat_cols(y, first, px_linear_out(&model->shape, g->linear[i]));
        px_op_lora_up(model->s, out, u, values + g->b[i], part);
    }
}

static void attention_block(const px_run_pass *r, int64_t layer, px_mat x, px_mat delta) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_layer *l = &model->layers[layer];
    const px_shape *shape = &model->shape;
    const int64_t n = r->slot->n, q = model->width_q, kv = model->width_kv;
    const px_attn attn = px_attn_of(model, r->slot);
    px_mat h = px_pass_mat(model, pass, pass->h, 0, n, shape->d);
    px_mat qkv = px_pass_mat(model, pass, pass->qkv, layer, n, model->width_qkv);
    px_mat att = px_pass_mat(model, pass, pass->att, layer, n, q);
    const bool sums = layer > 0 && !r->again; /* x comes to be here */
    px_mat before = sums ? px_pass_mat(model, pass, pass->mid, layer - 1, n, shape->d) : x;
    px_op_rms_norm(model->s, h, x, px_pass_floats(pass, pass->rms1, layer, 1), before,
                   sums ? delta : (px_mat){0}, l->norm1, (float)shape->rms_eps);
    px_op_linear(model->s, qkv, h, l->qkv, false);
    adapters(r, layer, PX_GROUP_QKV, qkv, h);
    px_op_rope(model->s, px_mat_cols(qkv, 0, q + kv), r->slot->positions, model->rope,
               shape->head_dim, 1);
    if (r->cached) {
        r->cached->layer = layer;
        px_op_cache_put(model->s, r->cached, px_mat_cols(qkv, q, kv), px_mat_cols(qkv, q + kv, kv));
        px_op_attention_cached(model->s, att, px_mat_cols(qkv, 0, q), r->cached, &attn);
    } else {
        px_op_attention(model->s, att, px_pass_floats(pass, pass->lse, layer, shape->n_heads),
                        px_mat_cols(qkv, 0, q), px_mat_cols(qkv, q, kv),
                        px_mat_cols(qkv, q + kv, kv), &attn);
    }
    px_op_linear(model->s, delta, att, l->o, false);
    adapters(r, layer, PX_GROUP_O, delta, att);
}

static void mlp_block(const px_run_pass *r, int64_t layer, px_mat x, px_mat delta) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_layer *l = &model->layers[layer];
    const px_shape *shape = &model->shape;
    const int64_t n = r->slot->n, ffn = shape->ffn;
    px_mat h = px_pass_mat(model, pass, pass->h, 0, n, shape->d);
    px_mat mid = px_pass_mat(model, pass, pass->mid, layer, n, shape->d);
    px_mat gate_up = px_pass_mat(model, pass, pass->gate_up, layer, n, 2 * ffn);
    px_mat s = px_pass_mat(model, pass, pass->s, 0, n, ffn);
    px_op_rms_norm(model->s, h, mid, px_pass_floats(pass, pass->rms2, layer, 1), x, delta, l->norm2,
                   (float)shape->rms_eps);
    px_op_linear(model->s, gate_up, h, l->gate_up, false);
    adapters(r, layer, PX_GROUP_GATE_UP, gate_up, h);
    if (r->again && !px_group_in_use(model, r->how, PX_GROUP_DOWN)) return;
    px_op_swiglu(model->s, s, px_mat_cols(gate_up, 0, ffn), px_mat_cols(gate_up, ffn, ffn));
    if (!r->again) px_op_linear(model->s, delta, s, l->down, false);
    adapters(r, layer, PX_GROUP_DOWN, r->again ? (px_mat){0} : delta, s);
}

void px_layer_again(const px_run_pass *r, int64_t layer) {
    const px_model *model = r->model;
    const int64_t n = r->slot->n, d = model->shape.d;
    px_mat x = px_pass_mat(model, r->pass, r->pass->x, layer, n, d);
    px_mat delta = px_pass_mat(model, r->pass, r->pass->delta, 0, n, d);
    attention_block(r, layer, x, delta);
    mlp_block(r, layer, x, delta);
}

px_mat px_last_norm(const px_run_pass *r, px_mat delta) {
    px_model *model = r->model;
    const px_pass *pass = r->pass;
    const px_slot *slot = r->slot;
    const int64_t d = model->shape.d, n = slot->n_rows;
    px_mat mid = px_pass_mat(model, pass, pass->mid, model->shape.n_layers - 1, slot->n, d);
    px_mat mid_rows = px_mat_of(pass->mid_rows, model->type, n, d);
    px_mat delta_rows = px_mat_of(pass->delta_rows, model->type, n, d);
    px_mat h_rows = px_mat_of(pass->h_rows, model->type, n, d);
    px_op_gather(model->s, mid_rows, mid, slot->rows);
    px_op_gather(model->s, delta_rows, delta, slot->rows);
    px_op_rms_norm(model->s, h_rows, mid_rows, pass->rms_rows, mid_rows, delta_rows, model->norm,
                   (float)model->shape.rms_eps);
    return h_rows;
}

void px_layers_run(const px_run_pass *r, px_mat delta) {
    px_model *model = r->model;
    const px_shape *shape = &model->shape;
    for (int64_t layer = 0; layer < shape->n_layers; layer++) {
        px_mat x = px_pass_mat(model, r->pass, r->pass->x, layer, r->slot->n, shape->d);
        if (layer == 0) px_op_embed(model->s, x, r->slot->ids, model->table, r->slot->soft);
        attention_block(r, layer, x, delta);
        mlp_block(r, layer, x, delta);
    }
}

px_slot px_slot_there(px_pass *pass, const px_slot *slot, bool bring) {
    const size_t n = (size_t)slot->n;
    px_slot there = *slot;
    if (!pass->is_apart || n == 0) return there;
    if (bring)
        px_memory_copy(pass->stream, pass->positions_there, slot->positions,
                       n * sizeof *slot->positions);
    there.positions = pass->positions_there;
    if (!slot->keys) return there;
    if (bring) px_memory_copy(pass->stream, pass->keys_there, slot->keys, n * sizeof *slot->keys);
    there.keys = pass->keys_there;
    return there;
}

px_err *px_model_forward(px_model *model, px_pass *pass, const px_slot *slot, px_forward how,
                         double *logp) {
    const int64_t d = model->shape.d;
    PX_PASS(slot_check(model, pass, slot, how));
    if (model->generate) PX_FAIL(PX_RUN_FAILED, "the model is packed for generation");
    if (slot->n == 0) return NULL;
    PX_PASS(px_adapters_enter(model, how.params, false));
    const px_slot there = px_slot_there(pass, slot, true);
    const px_run_pass r = {model, pass, &there, how, NULL, false};
    px_mat delta = px_pass_mat(model, pass, pass->delta, 0, slot->n, d);
    px_layers_run(&r, delta);
    if (slot->n_rows > 0) {
        px_mat ew = px_mat_of(pass->ew, PX_F32, slot->n_rows, d); /* data NULL without backward */
        px_op_head(model->s, logp, pass->lse_rows, pass->ew ? ew : (px_mat){0},
                   px_last_norm(&r, delta), model->head, slot->targets);
    }
    return px_stream_ok(model->s);
}
