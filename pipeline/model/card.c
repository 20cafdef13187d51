/* card.c - see model.h: what model.c takes of a card for a model's shape. */
#include "model_internal.h"

typedef struct {
    px_model_card *out;
    px_type type;
    int pack;
    int64_t *largest; /* values of the largest weight */
} counting;

static void add_weight(const counting *c, int64_t out, int64_t in) {
    c->out->weights += px_card_weight(out, in, c->type, c->pack);
    *c->largest = PX_MAX(*c->largest, out * in);
}

/* px_model_positions: twice as many whenever there are too few; the old ones leave a hole. */
static int64_t positions(const px_shape *shape, int64_t depth) {
    const int64_t one = shape->head_dim * (int64_t)sizeof(float);
    int64_t n = PX_MIN(shape->max_positions, ROPE_POSITIONS), bytes = px_card_piece(n * one);
    while (n < depth) {
        n *= 2;
        bytes += px_card_piece(n * one);
    }
    return bytes;
}

static int64_t largest_adapter(const px_config *config, const px_shape *shape) {
    const px_lora_layout lora = px_lora_layout_of(config, shape, 0);
    int64_t most = 0;
    for (int i = 0; i < PX_N_GROUPS; i++) {
        const px_lora_group *g = &lora.groups[i];
        most = PX_MAX(most, g->R * g->in);
        for (int k = 0; k < g->n; k++)
            most = PX_MAX(most, lora.r * px_linear_out(shape, g->linear[k]));
    }
    return most;
}

px_model_card px_model_card_of(const px_config *config, const px_shape *shape, int use,
                               int64_t depth) {
    const bool generate = use & PX_MODEL_GENERATE;
    const bool f32 = config->precision == PX_PRECISION_F32;
    const int64_t q = shape->n_heads * shape->head_dim, kv = shape->n_kv_heads * shape->head_dim;
    const int coded = config->precision == PX_PRECISION_Q8_0   ? PX_PACK_Q8
                      : config->precision == PX_PRECISION_Q4_1 ? PX_PACK_Q4
                                                               : 0;
    px_model_card out = {0};
    int64_t largest = 0;
    const counting c = {&out, f32 ? PX_F32 : PX_BF16,
                        coded | (generate ? PX_PACK_PANELS : PX_PACK_FORWARD), &largest};
    const counting head = {&out, c.type, generate ? c.pack : PX_PACK_ROWS, &largest};
    const int64_t norm = px_card_piece(shape->d * (int64_t)sizeof(float));
    add_weight(&c, q + 2 * kv, shape->d);
    add_weight(&c, shape->d, q);
    add_weight(&c, 2 * shape->ffn, shape->d);
    add_weight(&c, shape->d, shape->ffn);
    out.widened = coded && !generate ? largest : 0;
    out.weights = (out.weights + 2 * norm) * shape->n_layers + norm;
    add_weight(&head, shape->vocab, shape->d);
    if (!px_table_is_here(config->full_finetune))
        out.weights += px_card_piece(shape->vocab * shape->d * (int64_t)px_type_size(c.type));
    out.adapters = largest_adapter(config, shape);
    out.positions = positions(shape, depth);
    /* Where weights are coded, the head of a training comes as f32 and is rounded; so are all that
     * a fully fine-tuned run brings along. */
    if (coded && !generate) out.staged = PX_MIN(shape->vocab * shape->d, (int64_t)PX_CARD_STAGED);
    if (!(use & PX_MODEL_TRAIN) && config->full_finetune && !f32)
        out.staged = PX_MIN(largest, (int64_t)PX_CARD_STAGED);
    return out;
}

size_t px_model_trained(const px_config *config, const px_shape *shape) {
    const size_t base = config->full_finetune ? px_base_layout_of(shape).n : 0;
    return base + px_lora_layout_of(config, shape, base).n;
}
