/* step.c - see model.h: some rows of sequences whose earlier positions are in a cache. */
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

px_err *px_model_step(px_model *model, px_pass *pass, const px_step *step, const px_params *params,
                      float *logits) {
    px_cached cached = {step->cache, 0, step->stretches, step->n_stretches};
    PX_PASS(step_check(model, pass, step, params));
    PX_PASS(positions_fill(model, pass, step));
    if (step->n == 0) return NULL;
    if (model->entered != params) PX_PASS(px_adapters_enter(model, params, false));
    const px_slot slot = {.n = step->n,
                          .ids = step->ids,
                          .positions = pass->positions,
                          .soft = step->soft,
                          .n_soft = step->n_soft,
                          .rows = step->rows,
                          .n_rows = step->n_rows};
    const px_run_pass r = {model, pass, &slot, {.params = params}, &cached, false};
    px_mat delta = px_pass_mat(model, pass, pass->delta, 0, step->n, model->shape.d);
    px_layers_run(&r, delta);
    if (step->n_rows > 0)
        px_op_linear(model->s, px_mat_of(logits, PX_F32, step->n_rows, model->shape.vocab),
                     px_last_norm(&r, delta), model->head, false);
    return px_stream_ok(model->s);
}
