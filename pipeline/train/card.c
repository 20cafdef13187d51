/* card.c - see train.h: what a training holds of a card, before it runs and when it reserves it.
 * The order is training's: weights; the reference's activations, which go; trained values, sums, a
 * slot's activations and gradients, which stay to the end; beside them those of an evaluation. */
#include "train_internal.h"

px_err *px_train_sizes_of(px_corpus *corpus, const px_config *config, int64_t least,
                          px_arena *arena, px_train_sizes *out) {
    const int64_t soft = config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
    const size_t mark = px_arena_mark(arena);
    px_epoch epoch;
    px_rows rows;
    *out = (px_train_sizes){.soft = soft};
    PX_PASS(px_rows_of(corpus, arena, &rows));
    out->n_users = rows.n_rows;
    for (int32_t i = 0; i < corpus->n_convs; i++)
        if (corpus->convs[i].n_pairs > 0)
            out->conversation = PX_MAX(out->conversation, (int64_t)corpus->convs[i].n_nodes);
    PX_PASS(px_epoch_plan(corpus, config, 0, arena, &epoch));
    for (int32_t u = 0; u < epoch.n_units; u++) {
        const int32_t *pairs = epoch.pairs + epoch.first[u];
        const size_t before = px_arena_mark(arena);
        px_unit unit;
        /* A unit is no larger than its conversation: most need not be built to know that. */
        const int64_t most = corpus->convs[corpus->pairs[pairs[0]].conv].n_nodes;
        if (most <= PX_MAX(out->unit, least)) continue;
        PX_PASS(
            px_unit_build(corpus, pairs, epoch.first[u + 1] - epoch.first[u], -1, 0, arena, &unit));
        out->unit = PX_MAX(out->unit, (int64_t)unit.n_tokens);
        px_arena_reset(arena, before);
    }
    px_arena_reset(arena, mark);
    return NULL;
}

int64_t px_train_rows(const px_config *config, const px_train_sizes *sizes) {
    return PX_MAX(config->batch_slot_tokens, sizes->unit + sizes->soft);
}

/* Values, two moments; limbs with the batch's gradient; the slot's gradient. */
static int64_t trainables(const px_config *config, const px_shape *shape, int64_t n, int n_ranks) {
    const int64_t there = (int64_t)px_model_trained(config, shape);
    const px_card_sums_size sums = px_card_sums_bytes(config, n, there, n_ranks);
    return 3 * px_card_piece(4 * n) + (n_ranks == 1 ? px_card_piece(sums.sums) : 0) +
           px_card_piece(sums.marks) + (there ? px_card_piece(4 * there) : 0);
}
/* ncclMemAlloc's: whole pages of 2 MiB on a card. */
static int64_t sums_apart(const px_config *config, const px_shape *shape, int64_t n, int n_ranks) {
    const int64_t there = (int64_t)px_model_trained(config, shape), page = 2 << 20;
    const int64_t bytes = px_card_sums_bytes(config, n, there, n_ranks).sums;
    if (n_ranks == 1) return 0;
    return config->device == PX_DEVICE_CUDA ? (bytes + page - 1) / page * page : bytes;
}

px_train_card px_train_card_of(const px_config *config, const px_shape *shape,
                               const px_train_sizes *sizes, int n_ranks) {
    const int64_t rows = px_train_rows(config, sizes), slot = config->batch_slot_tokens;
    const int64_t n = (int64_t)px_params_count(config, shape, sizes->n_users);
    const int64_t others = PX_MAX(slot, sizes->conversation + sizes->soft);
    const int64_t reference = PX_MAX(slot, sizes->conversation);
    const px_model_card model =
        px_model_card_of(config, shape, PX_MODEL_TRAIN, PX_MAX(rows, others));
    const px_card_slot work = {.type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16,
                               .rows = PX_MAX(rows, others),
                               .wanted = PX_MAX(rows, others),
                               .soft = rows,
                               .d = shape->d,
                               .n_heads = shape->n_heads,
                               .vocab = shape->vocab,
                               .widened = model.widened,
                               .adapters = model.adapters,
                               .staged = model.staged,
                               .host_grads = n - (int64_t)px_model_trained(config, shape),
                               .largest = n,
                               .backward = true};
    px_train_card out = {.weights = model.weights + model.positions,
                         .trainables = trainables(config, shape, n, n_ranks),
                         .activations = px_pass_card(config, shape, rows, rows, PX_MODEL_TRAIN),
                         .scratch = px_card_scratch(&work)};
    if (config->eval_every > 0) out.activations += px_pass_card(config, shape, others, others, 0);
    const int64_t before = px_pass_card(config, shape, reference, reference, 0);
    out.region =
        out.weights + px_card_piece(out.scratch) + PX_MAX(before, out.trainables + out.activations);
    out.sums = sums_apart(config, shape, n, n_ranks);
    out.trainables += out.sums;
    out.besides = config->device == PX_DEVICE_CUDA ? px_card_besides(n_ranks > 1) : 0;
    out.peak = out.region + out.sums + out.besides;
    return out;
}

/* --- what would fit --- */

typedef struct {
    const px_shape *shape;
    const px_train_sizes *sizes;
    int n_ranks;
    int64_t bytes;
    px_str *out;
} advising;

static bool fits(const advising *a, const px_config *config) {
    return px_train_card_of(config, a->shape, a->sizes, a->n_ranks).peak <= a->bytes;
}

static bool advise(const advising *a, const px_config *config, const char *keys) {
    if (!fits(a, config)) return false;
    px_str_format(a->out, "; %s would fit", keys);
    return true;
}

/* The fewest layers to compute again. */
static bool advise_layers(const advising *a, px_config again) {
    char keys[96] = "train.recompute=true";
    if (!fits(a, &again)) return false;
    const px_config all = again;
    for (int64_t n = a->shape->n_layers - 1; n > 0; n--) {
        again.train_recompute_layers = n;
        if (!fits(a, &again)) break;
        snprintf(keys, sizeof keys, "train.recompute=true with train.recompute_layers=%lld",
                 (long long)n);
    }
    return advise(a, &all, keys);
}

/* The largest halving of batch.slot_tokens that fits, with what `beside` names. */
static bool advise_slots(const advising *a, px_config less, const char *beside) {
    for (less.batch_slot_tokens /= 2; less.batch_slot_tokens >= 64; less.batch_slot_tokens /= 2) {
        if (!fits(a, &less)) continue;
        px_str_format(a->out, "; %sbatch.slot_tokens=%lld would fit", beside,
                      (long long)less.batch_slot_tokens);
        return true;
    }
    return false;
}

static bool advise_precision(const advising *a, px_config less, const char *beside) {
    static const struct {
        const char *name;
        int precision;
    } smaller[] = {
        {"bf16", PX_PRECISION_BF16}, {"q8_0", PX_PRECISION_Q8_0}, {"q4_1", PX_PRECISION_Q4_1}};
    const int was = less.precision;
    for (size_t i = 0; i < PX_COUNT(smaller); i++) {
        if (smaller[i].precision == was) continue;
        if (was != PX_PRECISION_F32 && smaller[i].precision == PX_PRECISION_BF16) continue;
        if (was == PX_PRECISION_Q4_1) break;
        if (less.full_finetune && smaller[i].precision != PX_PRECISION_BF16) break;
        less.precision = smaller[i].precision;
        if (!fits(a, &less)) continue;
        px_str_format(a->out, "; %sprecision=%s would fit", beside, smaller[i].name);
        return true;
    }
    return false;
}

void px_train_card_advice(const px_config *config, const px_shape *shape,
                          const px_train_sizes *sizes, int n_ranks, double bytes, px_str *out) {
    const advising a = {shape, sizes, n_ranks, (int64_t)bytes, out};
    px_config again = *config, low = *config;
    bool any = false;
    again.train_recompute = true;
    again.train_recompute_layers = 0;
    if (px_layers_again(config, shape) < shape->n_layers) any = advise_layers(&a, again);
    any = advise_slots(&a, *config, "") || any;
    any = advise_precision(&a, *config, "") || any;
    if (config->full_finetune) {
        low.full_finetune = false;
        low.lora_r = 8;
        any = advise(&a, &low, "full_finetune=false with lora.r=8") || any;
    }
    for (low = *config; !any && low.lora_r > 1 && !fits(&a, &low);) low.lora_r /= 2;
    if (!any && low.lora_r < config->lora_r && fits(&a, &low)) {
        px_str_format(out, "; lora.r=%lld would fit", (long long)low.lora_r);
        any = true;
    }
    /* Two or three keys at once. */
    if (!any && px_layers_again(config, shape) < shape->n_layers)
        any = advise_precision(&a, again, "train.recompute=true with ") ||
              advise_slots(&a, again, "train.recompute=true with ");
    again.precision = config->full_finetune ? config->precision : PX_PRECISION_Q4_1;
    if (!any && again.precision != config->precision)
        any = advise_slots(&a, again, "train.recompute=true and precision=q4_1 with ");
    if (!any) px_str_text(out, "; a card with more memory, or a smaller model");
}
