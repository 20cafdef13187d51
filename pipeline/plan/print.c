/* print.c - a prediction as lines for people and as JSON. */
#include <string.h>

#include "plan.h"

static const char *duration(double s, char out[48]) {
    if (s < 1)
        snprintf(out, 48, "%.2f s", s);
    else if (s < 120)
        snprintf(out, 48, "%.1f s", s);
    else if (s < 7200)
        snprintf(out, 48, "%.0f min", s / 60);
    else
        snprintf(out, 48, "%.1f h", s / 3600);
    return out;
}

static void print_memory(const px_plan_memory *m, px_str *out) {
    px_str_format(
        out,
        "memory      %.3f GB a rank at most: program %.3f, weights %.3f, trainables %.3f, "
        "activations %.3f, scratch %.3f, corpus %.3f\n",
        m->peak / 1e9, m->program / 1e9, m->weights / 1e9, m->trainables / 1e9,
        m->activations / 1e9, m->scratch / 1e9, m->corpus / 1e9);
}

/* With a GPU: weights pass through the host, and nothing is computed there. */
static void print_host(const px_plan_memory *m, px_str *out) {
    px_str_format(out,
                  "memory      %.3f GB a rank at most: program %.3f, token table %.3f, weights on "
                  "their way to the GPU %.3f, or trainables %.3f; corpus %.3f\n",
                  m->peak / 1e9, m->program / 1e9, m->weights / 1e9, m->loading / 1e9,
                  m->trainables / 1e9, m->corpus / 1e9);
}
static void print_card(const px_train_card *c, px_str *out) {
    px_str_format(out,
                  "GPU memory  %.3f GB a rank at most: weights %.3f, trainables %.3f, "
                  "activations %.3f, scratch %.3f, CUDA and its libraries %.3f (an allowance)\n",
                  (double)c->peak / 1e9, (double)c->weights / 1e9, (double)c->trainables / 1e9,
                  (double)c->activations / 1e9, (double)c->scratch / 1e9, (double)c->besides / 1e9);
}

static void print_card_time(const px_plan *p, const px_plan_place *place, px_str *out) {
    char a[48], b[48], c[48], d[48], e[48], f[48], source[160];
    px_card_source(&place->card, source);
    if (!px_card_known(&place->card)) {
        px_str_format(out, "time        %s\n", source);
        return;
    }
    px_str_format(out,
                  "time        %s: start %s, reference %s, steps %s each (%s of it sums between "
                  "GPUs), checkpoints %s\n",
                  duration(p->total_s, a), duration(p->start_s, b), duration(p->reference_s, c),
                  duration(p->step_s, d), duration(p->reduce_s, e), duration(p->checkpoints_s, f));
    px_str_format(out, "speed       %.4g pairs/s, %.4g tokens/s, %.1f %% of %.4g TFLOP/s in bf16\n",
                  p->pairs_s, p->tokens_s, 100 * p->peak_share, place->card.bf16_peak / 1e12);
    px_str_format(out, "rates       %s%s\n", source,
                  p->measured ? "" : "; the host's are guesses (plan --calibrate)");
    px_str_format(out, "cost        %.3g GPU-hours\n", p->card_hours);
}

void px_plan_print(const px_plan *p, const px_plan_place *place, px_str *out) {
    const px_plan_memory *m = &p->memory;
    char a[48], b[48], c[48], d[48], e[48];
    px_str_format(out, "place       %d ranks of %d threads on %d machine%s, %s\n", place->ranks,
                  place->threads, place->machines, place->machines > 1 ? "s" : "",
                  place->model_name);
    px_str_format(out, "corpus      %lld training pairs of %.0f people%s\n",
                  (long long)p->pairs_epoch, p->users,
                  p->estimated ? ", guessed from PRISM's published numbers" : "");
    px_str_format(out, "tokens      %lld computed, of them %lld soft; reference %lld\n",
                  (long long)p->tokens, (long long)p->soft_tokens, (long long)p->reference_tokens);
    px_str_format(out, "steps       %lld of %.1f slots; the fullest rank computes %.1f\n",
                  (long long)p->steps, p->slots_per_step, p->slots_fullest);
    px_str_format(out, "trainables  %.4g of %.4g parameters\n", p->trainables,
                  p->trainables + p->parameters);
    px_str_format(out, "FLOPs       %.3g a step, %.3g in all\n", p->step_flops, p->flops);
    if (place->has_card) {
        print_host(m, out);
        print_card(&m->card, out);
    } else {
        print_memory(m, out);
    }
    px_str_format(out, "disk        %.3f GB, a checkpoint %.3f GB\n", p->disk_bytes / 1e9,
                  p->checkpoint_bytes / 1e9);
    if (place->has_card) {
        print_card_time(p, place, out);
        return;
    }
    px_str_format(out, "time        %s: start %s, reference %s, steps %s each, checkpoints %s%s\n",
                  duration(p->total_s, a), duration(p->start_s, b), duration(p->reference_s, c),
                  duration(p->step_s, d), duration(p->checkpoints_s, e),
                  p->measured ? "" : " (a guess: nothing was measured here, see plan --calibrate)");
    px_str_format(out, "cost        %.3g core-hours held, %.3g computed\n", p->core_hours,
                  p->core_s / 3600);
}

/* Not known: all times of a GPU without rates, a processor's work beside one with them. */
static bool unknown(const char *name, const px_plan_place *place) {
    const size_t n = strlen(name);
    const bool cores = !strcmp(name, "core_hours") || !strcmp(name, "core_s");
    const bool cards = !strcmp(name, "gpu_hours") || !strcmp(name, "peak_share");
    if (!place->has_card) return cards;
    if (px_card_known(&place->card)) return cores;
    return cores || cards || (n > 2 && !strcmp(name + n - 2, "_s"));
}

void px_plan_json(const px_plan *p, const px_plan_place *place, bool ops, px_str *out) {
    const px_plan_memory *m = &p->memory;
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"ranks", place->ranks},
                   {"threads", place->threads},
                   {"machines", place->machines},
                   {"steps", (double)p->steps},
                   {"pairs", (double)p->pairs_epoch},
                   {"users", p->users},
                   {"tokens", (double)p->tokens},
                   {"soft_tokens", (double)p->soft_tokens},
                   {"reference_tokens", (double)p->reference_tokens},
                   {"slots_per_step", p->slots_per_step},
                   {"slots_fullest_rank", p->slots_fullest},
                   {"trainables", p->trainables},
                   {"parameters", p->parameters},
                   {"step_flops", p->step_flops},
                   {"flops", p->flops},
                   {"memory_bytes", m->peak},
                   {"memory_program", m->program},
                   {"memory_weights", m->weights},
                   {"memory_trainables", m->trainables},
                   {"memory_activations", m->activations},
                   {"memory_scratch", m->scratch},
                   {"memory_corpus", m->corpus},
                   {"memory_loading", m->loading},
                   {"device_memory_bytes", (double)m->card.peak},
                   {"device_memory_weights", (double)m->card.weights},
                   {"device_memory_trainables", (double)m->card.trainables},
                   {"device_memory_activations", (double)m->card.activations},
                   {"device_memory_scratch", (double)m->card.scratch},
                   {"device_memory_allowance", (double)m->card.besides},
                   {"checkpoint_bytes", p->checkpoint_bytes},
                   {"disk_bytes", p->disk_bytes},
                   {"start_s", p->start_s},
                   {"reference_s", p->reference_s},
                   {"step_s", p->step_s},
                   {"reduce_s", p->reduce_s},
                   {"checkpoints_s", p->checkpoints_s},
                   {"time_s", p->total_s},
                   {"core_s", p->core_s},
                   {"core_hours", p->core_hours},
                   {"pairs_per_s", p->pairs_s},
                   {"tokens_per_s", p->tokens_s},
                   {"peak_share", p->peak_share},
                   {"gpu_hours", p->card_hours}};
    px_str_format(out, "{\"estimated\": %s, \"measured\": %s, \"model\": ",
                  p->estimated ? "true" : "false", p->measured ? "true" : "false");
    px_str_json(out, place->model_name, strlen(place->model_name));
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        px_str_format(out, ", \"%s\": ", numbers[i].name);
        if (unknown(numbers[i].name, place))
            px_str_text(out, "null");
        else
            px_str_double(out, numbers[i].value);
    }
    px_card_json(&place->card, ops ? &p->card_step : NULL, out);
    px_str_text(out, "}\n");
}
