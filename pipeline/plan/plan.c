/* plan.c - the prediction of a whole run: batches on ranks, their costs, memory, disk, and what to
 * change where it does not fit. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>

/* Batches looked at one by one; of longer runs these stand for the rest. */
enum { BATCHES_MOST = 4000 };

/* Speed of `cores` busy cores over that of one. */
static double speed_up(const px_rates *rates, double cores) {
    const double all = PX_MAX(rates->cores, 1), busy = PX_MIN(cores, all);
    if (all <= 1 || busy <= 1) return PX_MIN(busy, all);
    const double loss = (1 - rates->efficiency) * (busy - 1) / (all - 1);
    return busy * PX_MAX(1 - loss, 0.1);
}

/* Wall seconds of a rank's work of core_s, beside the machine's other ranks. */
static double wall_s(const px_rates *rates, const px_plan_place *place, double core_s) {
    const double here = ceil((double)place->ranks / place->machines);
    const double each = speed_up(rates, here * place->threads) / here;
    return core_s / PX_MAX(each, 1e-9);
}

typedef struct {
    const px_config *config;
    const px_shape *shape;
    const px_plan_corpus *corpus;
    const px_rates *rates;
    const px_plan_place *place;
    px_config once; /* without train.recompute: what FLOPs are of use */
    px_plan_step worst;
    double params;
} planning;

static double pack_rate(const planning *p) {
    const bool f32 = p->config->precision == PX_PRECISION_F32;
    return px_rate_at(p->rates, p->shape->d, f32).pack;
}

/* Core seconds that come with every slot, and with every step on each rank, whatever is in them. */
static double slot_core_s(const planning *p) { return p->params / p->rates->exact; }
static double step_core_s(const planning *p) {
    double s = p->params / p->rates->adamw + p->params / p->rates->optimizer_rest;
    if (p->config->full_finetune) s += p->params / pack_rate(p);
    return s;
}

double px_plan_value_bytes(const px_config *config) {
    static const double bytes[] = {16, 4, 2};
    return bytes[config->comm_reduce];
}

static double reduce_bytes(const planning *p) { return p->params * px_plan_value_bytes(p->config); }

/* Adds a step's wall seconds, and core seconds of all ranks; with a GPU its operations' part of the
 * mean step. */
static void compute_s(const planning *p, const px_plan_step *step, double share, px_plan *out) {
    if (p->place->has_card) {
        if (!px_card_known(&p->place->card)) return;
        px_card_step one;
        px_card_train(&p->place->card, p->config, p->shape, step, true, p->params, &one);
        px_card_step_add(&out->card_step, &one, share);
        out->step_s += one.s;
        return;
    }
    const double mine = px_plan_core_s(p->rates, p->config, p->shape, &step->fullest, true) +
                        step->fullest_slots * slot_core_s(p) + step_core_s(p);
    out->step_s += wall_s(p->rates, p->place, mine);
    out->core_s += px_plan_core_s(p->rates, p->config, p->shape, &step->all, true) +
                   step->n_slots * slot_core_s(p) + p->place->ranks * step_core_s(p);
}

/* The sum over ranks: between cards of one machine, or, with several, over their network. */
static double reduce_s(const planning *p) {
    const px_plan_place *place = p->place;
    if (!place->has_card) return px_plan_reduce_s(p->rates, place->ranks, reduce_bytes(p));
    if (!px_card_known(&place->card)) return 0;
    double link = place->card.link;
    if (place->machines > 1 && place->network > 0) link = PX_MIN(link, place->network);
    return px_card_reduce_s(link, place->ranks, reduce_bytes(p));
}

static px_err *plan_steps(planning *p, px_arena *arena, px_plan *out) {
    const int32_t n = p->corpus->n_batches, looked = PX_MIN(n, BATCHES_MOST);
    const int64_t of_run = out->steps;
    double fullest = 0, slots = 0, share = 0, useful = 0;
    int64_t pairs = 0, rows = 0;
    const int64_t counted = PX_MIN(of_run, looked);
    for (int32_t b = 0; b < counted; b++) {
        px_plan_step step;
        PX_PASS(px_plan_batch(p->corpus, p->config, b, p->place->ranks, arena, &step));
        const px_flops flops = px_plan_flops(p->config, p->shape, &step.all);
        const px_flops once = px_plan_flops(&p->once, p->shape, &step.all);
        compute_s(p, &step, 1.0 / (double)counted, out);
        out->step_flops += flops.forward + flops.backward;
        useful += once.forward + once.backward;
        for (int32_t u = p->corpus->batch_first[b]; u < p->corpus->batch_first[b + 1]; u++)
            pairs += p->corpus->units[u].pairs;
        rows += step.all.rows;
        out->tokens += step.all.rows;
        out->soft_tokens += step.all.soft;
        slots += step.n_slots;
        fullest += step.fullest_slots;
        if (step.largest >= p->worst.largest) p->worst = step;
    }
    share = (double)of_run / (double)counted;
    out->step_s /= (double)counted;
    out->step_flops /= (double)counted;
    out->core_s *= share;
    out->tokens = (int64_t)((double)out->tokens * share);
    out->soft_tokens = (int64_t)((double)out->soft_tokens * share);
    out->slots_per_step = slots / (double)counted;
    out->slots_fullest = fullest / (double)counted;
    out->reduce_s = reduce_s(p);
    out->step_s += out->reduce_s;
    if (!(out->step_s > 0)) return NULL;
    out->pairs_s = (double)pairs / (double)counted / out->step_s;
    out->tokens_s = (double)rows / (double)counted / out->step_s;
    if (p->place->has_card)
        out->peak_share =
            useful / (double)counted / out->step_s / p->place->ranks / p->place->card.bf16_peak;
    return NULL;
}

static px_err *plan_reference(planning *p, px_arena *arena, px_plan *out, int64_t *rows) {
    px_plan_step step;
    PX_PASS(px_plan_reference(p->corpus, p->config, p->place->ranks, arena, &step));
    out->reference_tokens = step.all.rows;
    *rows = step.largest;
    if (p->place->has_card) {
        px_card_step pass = {0};
        if (px_card_known(&p->place->card))
            px_card_train(&p->place->card, p->config, p->shape, &step, false, 0, &pass);
        out->reference_s = pass.s;
        return NULL;
    }
    out->reference_s = wall_s(p->rates, p->place,
                              px_plan_core_s(p->rates, p->config, p->shape, &step.fullest, false));
    out->core_s += px_plan_core_s(p->rates, p->config, p->shape, &step.all, false);
    return NULL;
}

static void plan_disk_and_start(const planning *p, px_plan *out) {
    const px_config *c = p->config;
    const double base = out->parameters, ranks = p->place->ranks;
    out->checkpoint_bytes = 12 * p->params + 3 * 2048.0 * 14 * (double)p->shape->n_layers + 65536;
    out->disk_bytes = out->checkpoint_bytes * (double)(c->checkpoint_keep + 1) + 8 * p->params +
                      16.0 * p->corpus->all_pairs + 1048576 + 600.0 * (double)out->steps;
    const double source = p->place->source_bytes > 0 ? p->place->source_bytes : 2 * base;
    /* Each rank hashes and packs its own copy, and touches its own memory for the first time. */
    const px_plan_memory *m = &out->memory;
    const double touched = m->trainables + m->activations + m->scratch;
    const double first = PX_MIN(touched, PX_TOUCH_FIRST);
    const bool timed = px_card_known(&p->place->card);
    const double over = timed ? 2 * base / p->place->card.host : 0; /* weights go to the card */
    const double packed = p->place->has_card ? 0 : base / pack_rate(p);
    const double start = p->rates->start_s + source / p->rates->hash + packed + over +
                         first / p->rates->touch + (touched - first) / p->rates->touch_more;
    out->start_s = wall_s(p->rates, p->place, start) + px_plan_launch_s(p->rates, p->place->ranks);
    out->core_s += ranks * start;
    const double written = c->checkpoint_every > 0
                               ? floor((double)(out->steps - 1) / (double)c->checkpoint_every) + 1
                               : 1;
    out->checkpoints_s =
        written * (out->checkpoint_bytes / p->rates->disk + 4 * p->params / p->rates->hash);
}

px_err *px_plan_make(const px_config *config, const px_shape *shape, const px_plan_corpus *corpus,
                     const px_rates *rates, const px_plan_place *place, px_plan *out) {
    px_arena *arena = NULL;
    px_err *err = NULL;
    int64_t reference_rows = 0;
    planning p = {
        .config = config, .shape = shape, .corpus = corpus, .rates = rates, .place = place};
    *out = (px_plan){.pairs_epoch = corpus->n_pairs,
                     .users = corpus->n_users - 1,
                     .estimated = corpus->estimated,
                     .measured = rates->measured};
    p.params = out->trainables = (double)px_params_count(config, shape, corpus->n_users);
    p.once = *config;
    p.once.train_recompute = false;
    px_config base = *config;
    base.full_finetune = true;
    base.lora_r = 0;
    base.user_model = PX_USER_NONE;
    out->parameters = (double)px_params_count(&base, shape, 1);
    out->steps = corpus->n_batches * config->train_epochs;
    if (config->train_steps > 0) out->steps = PX_MIN(out->steps, config->train_steps);
    PX_PASS(px_arena_new((size_t)1 << 20, &arena));
    PX_PASS_TO(done, plan_steps(&p, arena, out));
    PX_PASS_TO(done, plan_reference(&p, arena, out, &reference_rows));
    PX_PASS_TO(done, px_plan_memory_of(config, shape, corpus, rates, place, &p.worst,
                                       reference_rows, &out->memory));
    plan_disk_and_start(&p, out);
    out->flops = out->step_flops * (double)out->steps;
    out->total_s =
        out->start_s + out->reference_s + out->step_s * (double)out->steps + out->checkpoints_s;
    out->core_hours = out->total_s * place->ranks * place->threads / 3600;
    out->card_hours = place->has_card ? out->total_s * place->ranks / 3600 : 0;
done:
    px_arena_free(arena);
    return err;
}

/* --- what would fit --- */

/* The largest halving of batch.slot_tokens under which a machine's ranks fit; 0: none. */
static px_err *slot_tokens_that_fit(const px_config *config, const px_shape *shape,
                                    const px_plan_corpus *corpus, const px_rates *rates,
                                    const px_plan_place *place, int64_t *out) {
    px_config less = *config;
    px_plan plan;
    const double here = ceil((double)place->ranks / place->machines);
    *out = 0;
    for (less.batch_slot_tokens /= 2; less.batch_slot_tokens >= 64; less.batch_slot_tokens /= 2) {
        PX_PASS(px_plan_make(&less, shape, corpus, rates, place, &plan));
        if (plan.memory.peak * here > place->memory_bytes) continue;
        *out = less.batch_slot_tokens;
        return NULL;
    }
    return NULL;
}

static px_err *refuse_memory(const px_config *config, const px_shape *shape,
                             const px_plan_corpus *corpus, const px_rates *rates,
                             const px_plan_place *place, const px_plan *plan) {
    const double here = ceil((double)place->ranks / place->machines);
    const int fit = (int)(place->memory_bytes / plan->memory.peak);
    int64_t slot_tokens = 0;
    px_str more = {0};
    PX_PASS(slot_tokens_that_fit(config, shape, corpus, rates, place, &slot_tokens));
    if (slot_tokens)
        px_str_format(&more, "; batch.slot_tokens=%lld would fit", (long long)slot_tokens);
    else if (config->batch_unit == PX_UNIT_CONVERSATION)
        px_str_text(&more, "; batch.unit=turn or a smaller data.max_tokens makes smaller slots");
    if (fit >= 1)
        px_str_format(&more, "; --ranks %d with --threads %d would fit", fit * place->machines,
                      (int)PX_MAX(place->threads * here / fit, 1));
    if (config->full_finetune && !fit)
        px_str_text(&more, "; full_finetune=false with lora.r=8 needs far less");
    else if (config->precision == PX_PRECISION_F32)
        px_str_text(&more, "; precision=bf16 needs less");
    if (more.size == 0) px_str_text(&more, "; a machine with more memory, or a smaller model");
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "does not fit: a rank needs %.2f GB, %.0f of them on a machine %.2f "
                             "GB, and it has %.2f GB%s",
                             plan->memory.peak / 1e9, here, here * plan->memory.peak / 1e9,
                             place->memory_bytes / 1e9, more.data ? more.data : "");
    px_str_free(&more);
    return err;
}

static px_err *refuse_card(const px_config *config, const px_shape *shape,
                           const px_plan_corpus *corpus, const px_plan_place *place,
                           const px_plan *plan) {
    const px_train_sizes sizes = px_plan_sizes(config, corpus);
    px_str more = {0};
    px_train_card_advice(config, shape, &sizes, place->ranks, place->card_bytes, &more);
    px_err *err = px_err_new(
        PX_BAD_INPUT, __FILE__, __LINE__,
        "does not fit: a rank needs %.2f GB of its GPU's memory, and there are "
        "%.2f GB%s",
        (double)plan->memory.card.peak / 1e9, place->card_bytes / 1e9, more.data ? more.data : "");
    px_str_free(&more);
    return err;
}

px_err *px_plan_fits(const px_config *config, const px_shape *shape, const px_plan_corpus *corpus,
                     const px_rates *rates, const px_plan_place *place, const px_plan *plan) {
    const double here = ceil((double)place->ranks / place->machines);
    if (place->memory_bytes > 0 && plan->memory.peak * here > place->memory_bytes)
        return refuse_memory(config, shape, corpus, rates, place, plan);
    if (place->card_bytes > 0 && (double)plan->memory.card.peak > place->card_bytes)
        return refuse_card(config, shape, corpus, place, plan);
    if (place->disk_bytes > 0 && plan->disk_bytes > place->disk_bytes)
        PX_FAIL(PX_BAD_INPUT,
                "does not fit: the run folder needs %.3f GB and %.3f GB are free: free space, or "
                "lower checkpoint.keep (%lld checkpoints of %.3f GB)",
                plan->disk_bytes / 1e9, place->disk_bytes / 1e9,
                (long long)config->checkpoint_keep + 1, plan->checkpoint_bytes / 1e9);
    return NULL;
}
