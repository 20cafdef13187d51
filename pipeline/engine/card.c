/* card.c - see engine.h: what an engine holds of a card, before it is opened and when it reserves
 * it. */
#include "engine_internal.h"

enum { DEFAULT_REQUEST = 2048 };

int64_t px_engine_pages(const px_shape *shape, int64_t batch, int64_t cache_tokens) {
    const int64_t positions = PX_MIN(shape->max_positions, MOST_POSITIONS);
    if (cache_tokens == 0) cache_tokens = batch * PX_MIN(positions, DEFAULT_REQUEST);
    return PX_MIN(cache_tokens / PX_PAGE + batch + 1, INT32_MAX / PX_PAGE);
}

px_engine_card px_engine_card_of(const px_config *config, const px_shape *shape, int64_t batch,
                                 int64_t cache_tokens, int64_t soft) {
    const int64_t pages = px_engine_pages(shape, batch, cache_tokens);
    const int64_t rows = PX_MAX(ENGINE_ROWS, batch), d = shape->d;
    const px_type type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16;
    const px_model_card model = px_model_card_of(config, shape, PX_MODEL_GENERATE,
                                                 PX_MIN(shape->max_positions, pages * PX_PAGE));
    const int64_t trained = (int64_t)px_model_trained(config, shape);
    const px_card_slot work = {.type = type,
                               .rows = rows,
                               .wanted = batch,
                               .soft = batch * soft,
                               .d = d,
                               .n_heads = shape->n_heads,
                               .vocab = shape->vocab,
                               .staged = model.staged,
                               .steps = true};
    px_engine_card out = {.pages = pages, .weights = model.weights + model.positions};
    out.cache = px_card_cache(
        (px_cache_shape){type, shape->n_layers, shape->n_kv_heads, shape->head_dim, pages});
    if (!config->full_finetune && trained > 0) out.adapters = px_card_piece(4 * trained);
    out.activations = px_pass_card(config, shape, rows, batch, PX_MODEL_GENERATE) +
                      px_card_round(rows, work.soft * d, pages);
    out.scratch = px_card_scratch(&work);
    out.region =
        out.weights + out.adapters + out.cache + out.activations + px_card_piece(out.scratch);
    out.besides = config->device == PX_DEVICE_CUDA ? px_card_besides(false) : 0;
    out.peak = out.region + out.besides;
    return out;
}
