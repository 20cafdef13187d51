/* card.c - see score.h: a GPU's memory of what only scores: weights, adapters, activations of the
 * largest slot without a backward pass. */
#include "score.h"

px_err *px_score_reserve(px_stream *s, const px_config *config, const px_shape *shape,
                         const px_corpus *corpus, bool adapters) {
    const int64_t soft = config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
    int64_t rows = config->batch_slot_tokens;
    if (!px_memory_is_apart(s)) return NULL;
    for (int32_t i = 0; i < corpus->n_convs; i++)
        rows = PX_MAX(rows, corpus->convs[i].n_nodes + soft);
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
    const int64_t scratch = px_card_scratch(&work),
                  pass = px_pass_card(config, shape, rows, rows, 0);
    int64_t weights = model.weights + model.positions;
    if (adapters && !config->full_finetune)
        weights += px_card_piece(4 * (int64_t)px_model_trained(config, shape));
    PX_TRY(px_memory_reserve(s, (size_t)(weights + pass + px_card_piece(scratch)), (size_t)scratch),
           "the GPU's memory: weights %.3f GB, activations %.3f, scratch %.3f; a smaller "
           "batch.slot_tokens needs less",
           (double)weights / 1e9, (double)pass / 1e9, (double)scratch / 1e9);
    return NULL;
}
