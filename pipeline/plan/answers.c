/* answers.c - what generate, serve and eval hold of a GPU, and how long a token for each answer
 * takes. Memory is what px_engine_open and px_score_reserve take, by their own functions. */
#include <string.h>

#include "plan.h"

enum { BATCH_MOST = 4096, DEFAULT_REQUEST = 2048, CACHE_STEP = 1024 };

static const char *const names[] = {"train", "generate", "serve", "eval"};

static int64_t soft_of(const px_config *config) {
    return config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
}

static px_engine_card memory_of(px_plan_use use, const px_config *config, const px_shape *shape,
                                int64_t conversation) {
    if (use != PX_PLAN_EVAL)
        return px_engine_card_of(config, shape, config->generate_batch,
                                 config->generate_cache_tokens, soft_of(config));
    const px_score_card card = px_score_card_of(config, shape, conversation, true);
    px_engine_card out = {.weights = card.weights,
                          .adapters = card.adapters,
                          .activations = card.activations,
                          .scratch = card.scratch,
                          .region = card.region,
                          .besides = config->device == PX_DEVICE_CUDA ? px_card_besides(false) : 0};
    out.peak = out.region + out.besides;
    return out;
}

typedef struct {
    px_plan_use use;
    const px_shape *shape;
    int64_t conversation;
    double bytes;
} fitting;

static bool fits(const fitting *f, const px_config *config) {
    return (double)memory_of(f->use, config, f->shape, f->conversation).peak <= f->bytes;
}

/* The largest that fits; 0: none. */
static int64_t batch_that_fits(const fitting *f, px_config config) {
    int64_t fit = 0, over = BATCH_MOST + 1;
    while (over - fit > 1) {
        config.generate_batch = (fit + over) / 2;
        if (fits(f, &config))
            fit = config.generate_batch;
        else
            over = config.generate_batch;
    }
    return fit;
}

void px_plan_answers_make(px_plan_use use, const px_config *config, const px_shape *shape,
                          const px_plan_place *place, int64_t positions, int64_t conversation,
                          px_plan_answers *out) {
    const int64_t batch = config->generate_batch;
    *out = (px_plan_answers){.use = use, .batch = batch, .conversation = conversation};
    out->memory = memory_of(use, config, shape, conversation);
    if (use == PX_PLAN_EVAL) return;
    const fitting f = {use, shape, conversation, place->card_bytes};
    if (place->card_bytes > 0) out->batch_most = batch_that_fits(&f, *config);
    out->cache_tokens = out->memory.pages * PX_PAGE;
    out->positions = positions;
    if (positions == 0)
        out->positions = config->generate_cache_tokens > 0
                             ? PX_MAX(config->generate_cache_tokens / batch, 1)
                             : PX_MIN(shape->max_positions, DEFAULT_REQUEST);
    if (!px_card_known(&place->card)) return;
    px_card_decode(&place->card, config, shape, (double)batch, (double)out->positions, &out->step);
    out->step_s = out->step.s;
    out->tokens_s = (double)batch / out->step_s;
}

/* --- what would fit --- */

/* The first smaller precision that fits, with generate.batch or batch.slot_tokens as it is. */
static const char *precision_that_fits(const fitting *f, px_config less) {
    static const struct {
        const char *name;
        int precision;
    } smaller[] = {
        {"bf16", PX_PRECISION_BF16}, {"q8_0", PX_PRECISION_Q8_0}, {"q4_1", PX_PRECISION_Q4_1}};
    static const int sizes[] = {[PX_PRECISION_F32] = 4,
                                [PX_PRECISION_BF16] = 3,
                                [PX_PRECISION_Q8_0] = 2,
                                [PX_PRECISION_Q4_1] = 1};
    const int was = less.precision;
    for (size_t i = 0; i < PX_COUNT(smaller); i++) {
        if (sizes[smaller[i].precision] >= sizes[was]) continue;
        if (less.full_finetune && smaller[i].precision != PX_PRECISION_BF16) break;
        less.precision = smaller[i].precision;
        if (fits(f, &less)) return smaller[i].name;
    }
    return NULL;
}

static bool advise_cache(const fitting *f, px_config less, px_str *out) {
    int64_t tokens = less.generate_cache_tokens;
    if (tokens == 0)
        tokens = less.generate_batch * PX_MIN(f->shape->max_positions, DEFAULT_REQUEST);
    for (tokens = (tokens - 1) / CACHE_STEP * CACHE_STEP; tokens > 0; tokens -= CACHE_STEP) {
        less.generate_cache_tokens = tokens;
        if (!fits(f, &less)) continue;
        px_str_format(out, "; generate.cache_tokens=%lld would fit", (long long)tokens);
        return true;
    }
    return false;
}

static bool advise_slots(const fitting *f, px_config less, px_str *out) {
    for (less.batch_slot_tokens /= 2; less.batch_slot_tokens >= 64; less.batch_slot_tokens /= 2) {
        if (!fits(f, &less)) continue;
        px_str_format(out, "; batch.slot_tokens=%lld would fit", (long long)less.batch_slot_tokens);
        return true;
    }
    return false;
}

static void advise(const fitting *f, const px_config *config, int64_t batch_most, px_str *out) {
    const char *precision = precision_that_fits(f, *config);
    bool any = precision != NULL;
    px_config least = *config;
    if (precision) px_str_format(out, "; precision=%s would fit", precision);
    if (f->use == PX_PLAN_EVAL) {
        any = advise_slots(f, *config, out) || any;
    } else {
        if (batch_most > 0)
            px_str_format(out, "; generate.batch=%lld would fit", (long long)batch_most);
        any = advise_cache(f, *config, out) || batch_most > 0 || any;
    }
    least.precision = PX_PRECISION_Q4_1;
    if (!any && !config->full_finetune && config->precision != PX_PRECISION_Q4_1 &&
        f->use != PX_PLAN_EVAL) {
        const int64_t batch = batch_that_fits(f, least);
        if (batch > 0)
            px_str_format(out, "; precision=q4_1 with generate.batch=%lld would fit",
                          (long long)batch);
        any = batch > 0;
    }
    if (!any) px_str_text(out, "; a card with more memory, or a smaller model");
}

px_err *px_plan_answers_fit(const px_config *config, const px_shape *shape,
                            const px_plan_place *place, const px_plan_answers *plan) {
    const fitting f = {plan->use, shape, plan->conversation, place->card_bytes};
    px_str more = {0};
    if (!(place->card_bytes > 0) || (double)plan->memory.peak <= place->card_bytes) return NULL;
    advise(&f, config, plan->batch_most, &more);
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "does not fit: %s needs %.2f GB of a GPU's memory, and there are "
                             "%.2f GB%s",
                             names[plan->use], (double)plan->memory.peak / 1e9,
                             place->card_bytes / 1e9, more.data ? more.data : "");
    px_str_free(&more);
    return err;
}

/* --- output --- */

void px_plan_answers_print(const px_plan_answers *p, const px_plan_place *place, px_str *out) {
    const px_engine_card *m = &p->memory;
    char source[160];
    px_str_format(out, "for         %s, %s\n", names[p->use], place->model_name);
    if (p->use != PX_PLAN_EVAL)
        px_str_format(out, "answers     %lld at once, a cache of %lld positions\n",
                      (long long)p->batch, (long long)p->cache_tokens);
    px_str_format(out, "GPU memory  %.3f GB a rank at most: weights %.3f, adapters %.3f, ",
                  (double)m->peak / 1e9, (double)m->weights / 1e9, (double)m->adapters / 1e9);
    if (p->use != PX_PLAN_EVAL)
        px_str_format(out, "keys and values %.3f, ", (double)m->cache / 1e9);
    px_str_format(out,
                  "activations %.3f, scratch %.3f, CUDA and its libraries %.3f (an allowance)\n",
                  (double)m->activations / 1e9, (double)m->scratch / 1e9, (double)m->besides / 1e9);
    if (p->use == PX_PLAN_EVAL) return;
    if (place->card_bytes > 0)
        px_str_format(out, "at most     generate.batch %lld in %.2f GB\n", (long long)p->batch_most,
                      place->card_bytes / 1e9);
    px_card_source(&place->card, source);
    if (!px_card_known(&place->card)) {
        px_str_format(out, "time        %s\n", source);
        return;
    }
    px_str_format(out,
                  "time        %.4g ms for a token of each answer, at %lld positions an answer\n"
                  "speed       %.4g new tokens/s\nrates       %s\n",
                  p->step_s * 1e3, (long long)p->positions, p->tokens_s, source);
}

void px_plan_answers_json(const px_plan_answers *p, const px_plan_place *place, bool ops,
                          px_str *out) {
    const px_engine_card *m = &p->memory;
    const bool timed = p->use != PX_PLAN_EVAL && px_card_known(&place->card);
    const struct {
        const char *name;
        double value;
        bool known;
    } numbers[] = {
        {"batch", (double)p->batch, p->use != PX_PLAN_EVAL},
        {"batch_most", (double)p->batch_most, p->use != PX_PLAN_EVAL && place->card_bytes > 0},
        {"cache_tokens", (double)p->cache_tokens, p->use != PX_PLAN_EVAL},
        {"positions", (double)p->positions, p->use != PX_PLAN_EVAL},
        {"device_memory_bytes", (double)m->peak, true},
        {"device_memory_weights", (double)m->weights, true},
        {"device_memory_adapters", (double)m->adapters, true},
        {"device_memory_cache", (double)m->cache, p->use != PX_PLAN_EVAL},
        {"device_memory_activations", (double)m->activations, true},
        {"device_memory_scratch", (double)m->scratch, true},
        {"device_memory_allowance", (double)m->besides, true},
        {"step_s", p->step_s, timed},
        {"tokens_per_s", p->tokens_s, timed}};
    px_str_format(out, "{\"for\": \"%s\", \"model\": ", names[p->use]);
    px_str_json(out, place->model_name, strlen(place->model_name));
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        px_str_format(out, ", \"%s\": ", numbers[i].name);
        if (numbers[i].known)
            px_str_double(out, numbers[i].value);
        else
            px_str_text(out, "null");
    }
    px_card_json(&place->card, timed && ops ? &p->step : NULL, out);
    px_str_text(out, "}\n");
}
