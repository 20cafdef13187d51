/* memory.c - the model's memory where its backend computes: the arena's on the CPU, a card's on a
 * GPU. Trained values are the caller's: where they lie on the card already (px_params.there) they
 * are read there; else adapters go over once a pass. The gradients of adapters and, with full
 * fine-tuning, of the base are made on the card. */
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

struct px_apart {
    void *at;
    px_apart *next;
};

px_err *px_model_memory(px_model *model, size_t bytes, void **out) {
    if (!px_memory_is_apart(model->s)) {
        *out = px_arena_take_raw(model->arena, bytes, 1);
        return px_arena_ok(model->arena);
    }
    px_apart *piece = px_take(model->arena, px_apart, 1);
    PX_PASS(px_arena_ok(model->arena));
    PX_PASS(px_memory_new(model->s, bytes, &piece->at));
    piece->next = model->apart;
    model->apart = piece;
    *out = piece->at;
    return NULL;
}

void px_model_memory_free(px_model *model) {
    for (px_apart *p = model->apart; p; p = p->next) px_memory_free(model->s, p->at);
    model->apart = NULL;
    if (px_memory_is_apart(model->s)) px_memory_free(model->s, model->rope);
    if (model->table_here) px_memory_host_free(model->s, model->table_here);
    free(model->rope_table);
    free(model->grads_back);
}

/* Trained values that the model computes with, the first of the flat vector: the base's and the
 * adapters'. */
static size_t trained(const px_model *model) { return model->lora.first + model->lora.n; }

static px_err *values_enter(px_model *model, const px_params *params) {
    const size_t bytes = model->lora.n * sizeof(float);
    void *at = NULL;
    if (params->there || bytes == 0) return NULL;
    if (model->lora.first > 0)
        PX_FAIL(PX_BAD_INPUT, "adapters beside full fine-tuning are for device \"cpu\" alone");
    if (!model->values) PX_PASS(px_model_memory(model, bytes, &at));
    if (at) model->values = at;
    px_memory_copy(model->s, model->values, params->values, bytes);
    return NULL;
}

static px_err *grads_enter(px_model *model) {
    const size_t bytes = trained(model) * sizeof(float);
    void *at = NULL;
    if (bytes == 0) return NULL;
    if (!model->grads) PX_PASS(px_model_memory(model, bytes, &at));
    if (at) model->grads = at;
    if (!model->grads_stay && !model->grads_back) model->grads_back = malloc(bytes);
    if (!model->grads_stay && !model->grads_back) PX_NO_MEMORY();
    px_memory_zero(model->s, model->grads, bytes);
    return NULL;
}

px_err *px_adapters_enter(px_model *model, const px_params *params, bool backward) {
    if (!params || !px_memory_is_apart(model->s)) return NULL;
    PX_PASS(values_enter(model, params));
    model->entered = params;
    return backward ? grads_enter(model) : NULL;
}

void px_adapters_leave(px_model *model, const px_params *params, float *grads) {
    const size_t n = trained(model);
    if (!params || !model->grads || model->grads_stay) return;
    px_memory_copy(model->s, model->grads_back, model->grads, n * sizeof(float));
    for (size_t i = 0; i < n; i++) grads[i] += model->grads_back[i];
}

void px_model_grads_none(px_model *model) {
    if (model->grads) px_memory_zero(model->s, model->grads, trained(model) * sizeof(float));
}

void px_model_grads_watch(px_model *model, px_grads_made_fn *call, void *context) {
    model->grads_made = call;
    model->grads_context = context;
}
void px_trained_grads_made(const px_model *model, size_t first) {
    if (model->grads && model->grads_stay && model->grads_made)
        model->grads_made(model->grads_context, first);
}

void px_model_grads_stay(px_model *model, bool stay) { model->grads_stay = stay; }
const float *px_model_grads_there(const px_model *model, size_t *n) {
    *n = model->grads ? trained(model) : 0;
    return model->grads;
}

const float *px_adapter_values(const px_model *model, const px_params *params) {
    if (params->there) return params->there;
    return model->values ? model->values : params->values;
}
float *px_trained_grads(const px_model *model, float *grads) {
    return model->grads ? model->grads : grads;
}

px_err *px_model_stream(const px_config *config, int threads, px_stream **out) {
    static const char *const names[] = {"cpu", "cuda", "simt"};
    const char *name = names[config->device];
    if (!px_backend_exists(name))
        PX_FAIL(PX_BAD_INPUT,
                "device \"%s\" is not in this build: cmake --preset cuda makes one for GPUs "
                "(docs/cuda.md); \"cpu\" is accepted here",
                name);
    PX_PASS(px_stream_open(name, threads, out));
    px_round_graphs(*out, config->generate_graphs);
    return NULL;
}
