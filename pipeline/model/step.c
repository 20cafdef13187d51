/* step.c - see model.h: some rows of sequences whose earlier positions are in a cache. */
#include <string.h>

#include "model_internal.h"

px_cache_shape px_model_cache_shape(const px_model *model, int64_t n_pages) {
    const px_shape *shape = &model->shape;
    return (px_cache_shape){model->type, shape->n_layers, shape->n_kv_heads, shape->head_dim,
                            n_pages};
}

px_err *px_model_cache(px_model *model, int64_t n_pages, px_cache **out) {
    return px_cache_new(model->s, px_model_cache_shape(model, n_pages), out);
}

static px_err *ids_check(const px_model *model, const px_step *step) {
    for (int32_t i = 0; i < step->n; i++) {
        const int32_t id = step->ids[i];
        if (id >= model->shape.vocab)
            PX_FAIL(PX_BAD_INPUT, "token %d, but the model's vocabulary has %lld", (int)id,
                    (long long)model->shape.vocab);
        if (id < 0 && -1 - (int64_t)id >= step->n_soft)
            PX_FAIL(PX_RUN_FAILED, "row %d asks for soft token %lld of %d", (int)i,
                    -1 - (long long)id, (int)step->n_soft);
    }
    return NULL;
}

static px_err *step_check(px_model *model, const px_pass *pass, const px_step *step,
                          const px_params *params) {
    if (!model->generate) PX_FAIL(PX_RUN_FAILED, "the model is not packed for generation");
    if (step->n > pass->n_max || step->n_rows > pass->rows_max)
        PX_FAIL(PX_RUN_FAILED, "a step of %d rows and %d wanted ones; room is for %d and %d",
                (int)step->n, (int)step->n_rows, (int)pass->n_max, (int)pass->rows_max);
    if (params && params->n < model->lora.first + model->lora.n)
        PX_FAIL(PX_RUN_FAILED, "%zu parameters, but the model's adapters take %zu", params->n,
                model->lora.first + model->lora.n);
    for (int32_t i = 0; i < step->n_rows; i++)
        if (step->rows[i] < (i ? step->rows[i - 1] + 1 : 0) || step->rows[i] >= step->n)
            PX_FAIL(PX_RUN_FAILED, "wanted row %d is %d: not ascending within %d", (int)i,
                    (int)step->rows[i], (int)step->n);
    return ids_check(model, step);
}

/* Positions of all rows, from where their stretches stand; the pass's memory. */
static px_err *positions_fill(px_model *model, px_pass *pass, const px_step *step) {
    int64_t most = 0;
    int32_t row = 0;
    for (int32_t i = 0; i < step->n_stretches; i++) {
        const px_stretch *t = &step->stretches[i];
        if (t->begin != row || t->end < t->begin || t->end > step->n || t->position < 0)
            PX_FAIL(PX_RUN_FAILED, "stretch %d: rows %d to %d from position %d", (int)i,
                    (int)t->begin, (int)t->end, (int)t->position);
        for (; row < t->end; row++) pass->positions[row] = t->position + row - t->begin;
        most = PX_MAX(most, (int64_t)t->position + t->end - t->begin);
    }
    if (row != step->n)
        PX_FAIL(PX_RUN_FAILED, "stretches cover %d of %d rows", (int)row, (int)step->n);
    return px_model_positions(model, most);
}

/* Where each sequence has one row and all are wanted, a few rows that are nobody's may follow, so
 * that few shapes come up: their number with them. */
static int32_t rows_of(const px_model *model, const px_pass *pass, const px_step *step) {
    if (step->n != step->n_stretches || step->n != step->n_rows || step->n_soft > 0) return step->n;
    return (int32_t)px_round_rows(model->s, step->n, PX_MIN(pass->n_max, pass->rows_max));
}

/* The pass's copies of the step's tables. */
static px_slot slot_of(const px_model *model, px_pass *pass, const px_step *step) {
    const int32_t n = rows_of(model, pass, step), more = n - step->n;
    memcpy(pass->ids, step->ids, (size_t)step->n * sizeof *pass->ids);
    if (step->n_rows > 0) memcpy(pass->rows, step->rows, (size_t)step->n_rows * sizeof *pass->rows);
    for (int32_t i = step->n; i < n; i++) {
        pass->ids[i] = pass->positions[i] = 0;
        pass->rows[i] = i;
    }
    return (px_slot){.n = n,
                     .ids = pass->ids,
                     .positions = pass->positions,
                     .soft = step->soft,
                     .n_soft = step->n_soft,
                     .rows = pass->rows,
                     .n_rows = step->n_rows + more};
}

/* From the card what is wanted of the logits there; it is waited for. */
static void bring(px_model *model, const px_pass *pass, const px_step *step, float *logits) {
    const px_picking *how = step->picking;
    const int64_t vocab = model->shape.vocab;
    const size_t row = (size_t)vocab * sizeof *logits;
    px_picked *picked = pass->picked;
    if (!how) {
        px_memory_copy(model->s, logits, pass->logits, (size_t)step->n_rows * row);
        return;
    }
    px_op_pick(model->s, px_mat_of(pass->logits, PX_F32, step->n_rows, vocab), how, picked,
               (px_listed *)(void *)(picked + step->n_rows));
    px_memory_copy(model->s, step->picked, picked,
                   px_picked_bytes(step->n_rows, how->n_lists, how->listed));
    for (int32_t first = 0, end = 0; first < step->n_rows; first = end + 1) {
        end = first;
        while (end < step->n_rows && step->whole[end]) end++;
        px_memory_copy(model->s, logits + first * vocab, pass->logits + first * vocab,
                       (size_t)(end - first) * row);
    }
}

px_err *px_model_logits(px_model *model, const px_pass *pass, int32_t row, float *logits) {
    const int64_t vocab = model->shape.vocab;
    px_memory_copy(model->s, logits, pass->logits + row * vocab, (size_t)vocab * sizeof *logits);
    return px_stream_ok(model->s);
}

px_err *px_model_step(px_model *model, px_pass *pass, const px_step *step, const px_params *params,
                      float *logits) {
    px_cached cached = {step->cache, 0, step->stretches, step->n_stretches};
    PX_PASS(step_check(model, pass, step, params));
    PX_PASS(positions_fill(model, pass, step));
    if (step->n == 0) return NULL;
    if (model->entered != params) PX_PASS(px_adapters_enter(model, params, false));
    const px_slot slot = slot_of(model, pass, step);
    const px_run_pass r = {model, pass, &slot, {.params = params}, &cached, false};
    const int64_t vocab = model->shape.vocab;
    const px_round round = {
        .n = slot.n,
        .n_rows = slot.n_rows,
        .n_soft = slot.n_soft * model->shape.d,
        .ids = slot.ids,
        .positions = slot.positions,
        .rows = slot.rows,
        .soft = slot.soft,
        .cached = &cached,
        .same = {model, pass, params, params ? px_adapter_values(model, params) : NULL}};
    px_mat delta = px_pass_mat(model, pass, pass->delta, 0, slot.n, model->shape.d);
    float *to = pass->logits ? pass->logits : logits;
    px_round_begin(model->s, &round);
    while (px_round_goes_on(model->s)) {
        px_layers_run(&r, delta);
        if (slot.n_rows > 0)
            px_op_linear(model->s, px_mat_of(to, PX_F32, slot.n_rows, vocab),
                         px_last_norm(&r, delta), model->head, false);
    }
    if (pass->logits) bring(model, pass, step, logits);
    return px_stream_ok(model->s);
}
