/* estimate.c - a corpus that nobody has yet, from PRISM's published numbers (Kirk et al. 2024):
 * 8,011 conversations of 1,396 people, 3.4 turns on average, up to four answers at the first turn
 * and two later, prompts of 70 and answers of 565 characters on average (sd 388), 4.3 characters a
 * token. Every draw is a function of its place. */
#include <math.h>

#include "plan.h"

enum { CONVERSATIONS = 8011, PEOPLE = 1396, TURNS_MOST = 22, FRAME = 6 };
#define CHARS_PER_TOKEN 4.3
#define SEED 20240424

typedef struct {
    const px_config *config;
    px_rng rng;
} drawing;

/* Log-normal of that mean and standard deviation, in tokens. */
static int32_t draw_tokens(const drawing *d, uint64_t a, uint64_t b, double mean, double sd) {
    const double spread2 = log(1 + sd * sd / (mean * mean));
    const double value = exp(log(mean) - spread2 / 2 + sqrt(spread2) * px_rng_normal(d->rng, a, b));
    return (int32_t)PX_MAX(value / CHARS_PER_TOKEN + 0.5, 1.0);
}

/* 2 to 22 turns with mean 3.4: two and a geometric rest. */
static int draw_turns(const drawing *d, uint64_t a) {
    int turns = 2;
    while (turns < TURNS_MOST && px_rng_uniform(d->rng, a, 1000 + (uint64_t)turns) < 1.4 / 2.4)
        turns++;
    return turns;
}

/* One conversation as prepare would cut it: pairs over data.max_* are left out. */
static void draw_unit(const drawing *d, uint64_t a, px_plan_unit *out) {
    const int turns = draw_turns(d, a);
    int64_t depth = 1 + FRAME; /* tokens of the chosen path so far */
    *out = (px_plan_unit){.nodes = (int32_t)depth, .visible = depth * (depth + 1) / 2};
    for (int turn = 0; turn < turns; turn++) {
        const int answers = turn == 0 ? 4 : 2;
        const int64_t before = depth, ask = FRAME + draw_tokens(d, a, 10 * (uint64_t)turn, 70, 90);
        int32_t chosen = 0, kept = 0;
        depth += ask;
        for (int i = 0; i < answers; i++) {
            const int32_t n =
                1 + draw_tokens(d, a, 10 * (uint64_t)turn + 1 + (uint64_t)i, 565, 388);
            if (i == 0) chosen = n;
            const bool fits = depth <= d->config->data_max_prompt_tokens &&
                              depth + PX_MAX(n, chosen) <= d->config->data_max_tokens;
            if (!fits || (i > 0 && kept == 0)) continue;
            kept++;
            out->nodes += n;
            out->targets += n;
            out->wanted += i == 0 ? n : n - 1; /* answers branch at one row */
            out->visible += (int64_t)n * (depth + depth + n + 1) / 2;
        }
        if (kept > 1) {
            out->pairs += kept - 1;
            out->nodes += (int32_t)ask;
            out->visible += ask * (before + before + ask + 1) / 2;
        }
        depth += chosen;
        if (depth > d->config->data_max_prompt_tokens) return;
    }
}

static px_err *cut_batches(const px_config *config, px_plan_corpus *out) {
    out->batch_first = px_take(out->arena, int32_t, out->n_units + 1);
    PX_PASS(px_arena_ok(out->arena));
    for (int32_t u = 0, in_batch = 0; u < out->n_units; u++) {
        if (in_batch == 0) out->batch_first[out->n_batches++] = u;
        in_batch += out->units[u].pairs;
        if (in_batch >= config->batch_pairs) in_batch = 0;
    }
    out->batch_first[out->n_batches] = out->n_units;
    return NULL;
}

px_err *px_plan_corpus_guess(const px_config *config, px_plan_corpus *out) {
    const drawing d = {config, {SEED, PX_RNG_PLAN}};
    px_err *err = NULL;
    *out = (px_plan_corpus){.estimated = true};
    PX_PASS_TO(failed, px_arena_new((size_t)1 << 20, &out->arena));
    out->units = px_take(out->arena, px_plan_unit, CONVERSATIONS);
    out->all = px_take(out->arena, px_plan_unit, CONVERSATIONS);
    PX_PASS_TO(failed, px_arena_ok(out->arena));
    const double unseen = config->data_split_unseen_users, test = config->data_split_seen_test;
    const double share = (1 - unseen) * (1 - test);
    for (int i = 0; i < CONVERSATIONS; i++) {
        px_plan_unit *unit = &out->all[out->n_all];
        draw_unit(&d, (uint64_t)i, unit);
        if (unit->pairs == 0) continue;
        out->n_all++;
        out->all_pairs += unit->pairs;
        if (px_rng_uniform(d.rng, (uint64_t)i, 5000) >= share) continue;
        out->n_pairs += unit->pairs;
        out->units[out->n_units++] = *unit;
    }
    out->n_users = 1 + (int32_t)(PEOPLE * (1 - unseen));
    if (out->n_units == 0)
        PX_FAIL_TO(failed, PX_BAD_INPUT,
                   "no pair of PRISM's size is left: data.max_prompt_tokens, data.max_tokens and "
                   "data.split leave nothing");
    PX_PASS_TO(failed, cut_batches(config, out));
    return NULL;
failed:
    px_plan_corpus_free(out);
    return err;
}
