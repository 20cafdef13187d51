/* card.c - see score.h: a GPU's memory of what only scores: weights, adapters, activations of the
 * largest slot without a backward pass. */
#include "score.h"

px_score_card px_score_card_of(const px_config *config, const px_shape *shape, int64_t conversation,
                               bool adapters) {
    const int64_t soft = config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
    const int64_t rows = PX_MAX(config->batch_slot_tokens, conversation + soft);
    const px_model_card model = px_model_card_of(config, shape, 0, rows);
    const px_card_slot work = {.type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16,
                               .rows = rows,
                               .wanted = rows,
                               .soft = rows,
                               .d = shape->d,
                               .n_heads = shape->n_heads,
                               .vocab = shape->vocab,
                               .widened = model.widened,
                               .staged = model.staged};
    px_score_card out = {.weights = model.weights + model.positions,
                         .activations = px_pass_card(config, shape, rows, rows, 0),
                         .scratch = px_card_scratch(&work)};
    if (adapters && !config->full_finetune)
        out.adapters = px_card_piece(4 * (int64_t)px_model_trained(config, shape));
    out.region = out.weights + out.adapters + out.activations + px_card_piece(out.scratch);
    return out;
}

px_err *px_score_reserve(px_stream *s, const px_config *config, const px_shape *shape,
                         const px_corpus *corpus, bool adapters) {
    int64_t conversation = 0;
    if (!px_memory_is_apart(s)) return NULL;
    for (int32_t i = 0; i < corpus->n_convs; i++)
        conversation = PX_MAX(conversation, (int64_t)corpus->convs[i].n_nodes);
    const px_score_card card = px_score_card_of(config, shape, conversation, adapters);
    PX_TRY(px_memory_reserve(s, (size_t)card.region, (size_t)card.scratch),
           "the GPU's memory: weights %.3f GB, activations %.3f, scratch %.3f; a smaller "
           "batch.slot_tokens needs less",
           (double)(card.weights + card.adapters) / 1e9, (double)card.activations / 1e9,
           (double)card.scratch / 1e9);
    return NULL;
}
