/* step.c - one optimiser step. Invariants:
 * 1. The batch is cut into units and slots before ranks are considered; a rank computes whole
 * slots.
 * 2. A slot's gradient is made from zero and added to exact sums, so that the batch's gradient does
 * not depend on who computed which slot in which order (docs/ARCHITECTURE.md, "The same bits").
 * 3. Per-pair results travel to every rank as they are; means are taken on every rank in the order
 * of the batch: a mean is a sum over a count, never a mean of means.
 * 4. A step that fails changes no parameter. */
#include "train_internal.h"

#include <math.h>
#include <stdlib.h>

enum { USER, GENERIC, N_TERMS };

struct px_trainer {
    px_trainer_parts parts;
    px_sums *sums;
    float *grads; /* [params->n]: of one slot; on a GPU of user parameters alone, from: */
    size_t first;
    px_pass *pass;
    int32_t pass_rows;
    px_arena *arena;
};

/* One copy of a unit's pairs under the user or the generic term. */
typedef struct {
    px_unit unit;
    int term;
    int32_t first_pair; /* in the batch */
} copy;

typedef struct {
    int64_t step;
    int32_t n_pairs;
    const int32_t *pairs; /* [n_pairs] of the batch */
    double *weight;       /* [n_pairs], summing to 1 */
    copy *copies;
    int n_copies, n_slots;
    int *slot_of, *owner;
    int64_t n_tokens, largest;
    double *logps; /* [N_TERMS][2 * n_pairs]: chosen, rejected */
} batch_plan;

px_err *px_trainer_new(const px_trainer_parts *parts, px_trainer **out) {
    px_trainer *t = calloc(1, sizeof *t);
    if (!t) PX_NO_MEMORY();
    px_err *err = NULL;
    t->parts = *parts;
    size_t n = parts->params->n;
    t->grads = px_large_new(n, sizeof *t->grads);
    if (!t->grads)
        PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory: gradients of %zu parameters", n);
    PX_PASS_TO(failed, px_sums_new(&t->parts, &t->sums));
    t->first = px_sums_first(t->sums);
    PX_PASS_TO(failed, px_arena_new((size_t)1 << 20, &t->arena));
    *out = t;
    return NULL;
failed:
    px_trainer_free(t);
    return err;
}

void px_trainer_free(px_trainer *t) {
    if (!t) return;
    px_sums_free(t->sums);
    px_pass_free(t->pass);
    px_arena_free(t->arena);
    px_large_free(t->grads);
    free(t);
}

px_err *px_trainer_connect_all(px_trainer *t) { return px_sums_connect_all(t->sums); }

static double term_weight(const px_config *config, int term) {
    if (config->user_model == PX_USER_NONE) return term == GENERIC ? 1 : 0;
    return term == USER ? config->loss_alpha : 1 - config->loss_alpha;
}

static int32_t user_row(const px_trainer *t, int32_t pair, int term) {
    const px_trainer_parts *p = &t->parts;
    if (p->config->user_model == PX_USER_NONE) return -1;
    if (term == GENERIC) return 0;
    return p->row_of_user[p->corpus->convs[p->corpus->pairs[pair].conv].user];
}

static px_err *plan_weights(const px_trainer *t, batch_plan *plan) {
    double total = 0;
    plan->weight = px_take(t->arena, double, plan->n_pairs);
    PX_PASS(px_arena_ok(t->arena));
    for (int32_t i = 0; i < plan->n_pairs; i++) {
        int32_t n = t->parts.corpus->pairs[plan->pairs[i]].pairs_of_turn;
        bool by_turn = t->parts.config->batch_pair_weight == PX_WEIGHT_TURN;
        plan->weight[i] = by_turn ? 1.0 / PX_MAX(n, 1) : 1.0;
        total += plan->weight[i];
    }
    for (int32_t i = 0; i < plan->n_pairs; i++) plan->weight[i] /= total;
    return NULL;
}

static px_err *plan_copies(const px_trainer *t, const px_epoch *epoch, int64_t batch,
                           batch_plan *plan) {
    int32_t first = epoch->batch_first[batch], end = epoch->batch_first[batch + 1];
    plan->copies = px_take(t->arena, copy, N_TERMS, end - first);
    PX_PASS(px_arena_ok(t->arena));
    for (int term = 0; term < N_TERMS; term++) {
        if (term_weight(t->parts.config, term) == 0) continue;
        for (int32_t u = first; u < end; u++) {
            const int32_t *pairs = epoch->pairs + epoch->first[u];
            int32_t n = epoch->first[u + 1] - epoch->first[u], user = user_row(t, pairs[0], term);
            copy *c = &plan->copies[plan->n_copies++];
            c->term = term;
            c->first_pair = (int32_t)(pairs - plan->pairs);
            PX_PASS(px_unit_build(t->parts.corpus, pairs, n, user,
                                  user < 0 ? 0 : (int32_t)t->parts.params->n_tokens, t->arena,
                                  &c->unit));
        }
    }
    return NULL;
}

static px_err *plan_slots(px_trainer *t, batch_plan *plan) {
    int64_t *sizes = px_take(t->arena, int64_t, plan->n_copies);
    int64_t *slot_sizes = px_take(t->arena, int64_t, plan->n_copies);
    plan->slot_of = px_take(t->arena, int, plan->n_copies);
    plan->owner = px_take(t->arena, int, plan->n_copies);
    PX_PASS(px_arena_ok(t->arena));
    for (int i = 0; i < plan->n_copies; i++) {
        sizes[i] = plan->copies[i].unit.n_tokens;
        plan->n_tokens += sizes[i];
    }
    PX_PASS(px_slots_cut(sizes, plan->n_copies, t->parts.config->batch_slot_tokens, plan->slot_of,
                         &plan->n_slots));
    for (int i = 0; i < plan->n_copies; i++) slot_sizes[plan->slot_of[i]] += sizes[i];
    int size = t->parts.ranks->size;
    if (plan->n_slots < size && plan->step == 1)
        px_warn("a batch has %d slots for %d ranks: raise batch.pairs or lower batch.slot_tokens",
                plan->n_slots, size);
    for (int s = 0; s < plan->n_slots; s++) plan->largest = PX_MAX(plan->largest, slot_sizes[s]);
    return px_assign_longest_first(slot_sizes, plan->n_slots, size, plan->owner);
}

static px_err *plan_batch(px_trainer *t, const px_epoch *epoch, int64_t batch, batch_plan *plan) {
    int32_t first = epoch->batch_first[batch], end = epoch->batch_first[batch + 1];
    plan->pairs = epoch->pairs + epoch->first[first];
    plan->n_pairs = epoch->first[end] - epoch->first[first];
    plan->logps = px_take(t->arena, double, N_TERMS, 2, plan->n_pairs);
    PX_PASS(px_arena_ok(t->arena));
    PX_PASS(plan_weights(t, plan));
    PX_PASS(plan_copies(t, epoch, batch, plan));
    PX_PASS(plan_slots(t, plan));
    if (plan->largest <= t->pass_rows) return NULL;
    /* Room for the configured slot at once, so that later batches need no new memory. */
    int32_t rows = (int32_t)PX_MAX(plan->largest, t->parts.config->batch_slot_tokens);
    rows = (int32_t)PX_MAX(rows, t->parts.rows_most);
    px_pass_free(t->pass);
    t->pass = NULL;
    PX_PASS(px_pass_new(t->parts.model, rows, rows, rows, true, &t->pass));
    t->pass_rows = rows;
    return NULL;
}

/* Divisor of a response's summed log-probability. */
static double length_of(const px_config *config, int32_t n_tokens) {
    return config->train_length_normalised ? n_tokens : 1;
}

/* beta · (difference of differences), and the two implicit rewards. */
static double pair_margin(const px_trainer *t, const batch_plan *plan, int term, int32_t i,
                          double reward[2]) {
    const px_pair *pair = &t->parts.corpus->pairs[plan->pairs[i]];
    const double *logp = plan->logps + ((int64_t)term * plan->n_pairs + i) * 2;
    const double *ref = t->parts.reference + 2 * (int64_t)plan->pairs[i];
    return px_pair_margin(t->parts.config, pair, logp, ref, reward);
}

static double pair_loss(const px_trainer *t, double h, double *dh) {
    const px_config *config = t->parts.config;
    return px_loss((px_loss_kind)config->loss_type, h, config->loss_beta,
                   config->loss_label_smoothing, dh);
}

static const char *conv_of(const px_trainer *t, int32_t pair) {
    return t->parts.corpus->convs[t->parts.corpus->pairs[pair].conv].id;
}

/* dL/dlogp of both responses of every pair of a slot's copies. */
static px_err *slot_derivatives(const px_trainer *t, const batch_plan *plan,
                                const copy *const *copies, int n, double *dlogps) {
    const px_config *config = t->parts.config;
    int64_t at = 0;
    for (int k = 0; k < n; k++)
        for (int32_t p = 0; p < copies[k]->unit.n_pairs; p++) {
            int32_t i = copies[k]->first_pair + p;
            const px_pair *pair = &t->parts.corpus->pairs[plan->pairs[i]];
            double reward[2], dh = 0;
            double loss = pair_loss(t, pair_margin(t, plan, copies[k]->term, i, reward), &dh);
            if (!isfinite(loss) || !isfinite(dh))
                PX_FAIL(PX_RUN_FAILED,
                        "step %lld: the loss is not finite in conversation %s, turn %d: lower "
                        "optim.lr or "
                        "loss.beta, or use precision f32; the last checkpoint is good",
                        (long long)plan->step, conv_of(t, plan->pairs[i]), pair->turn);
            double g =
                plan->weight[i] * term_weight(config, copies[k]->term) * dh * config->loss_beta;
            dlogps[at++] = g / length_of(config, pair->chosen_tokens);
            dlogps[at++] = -g / length_of(config, pair->rejected_tokens);
        }
    return NULL;
}

static px_err *add_gradient(px_trainer *t, const batch_plan *plan, const copy *const *copies) {
    px_bad_value bad = {0};
    if (px_sums_add(t->sums, t->grads, &bad)) return px_stream_ok(t->parts.stream);
    const px_params *params = t->parts.params;
    int p = 0;
    while (p + 1 < params->n_params && params->params[p + 1].offset <= bad.index) p++;
    PX_FAIL(
        PX_RUN_FAILED,
        "step %lld: the gradient of %s is not finite (%g) in the slot of conversation %s: lower "
        "optim.lr, or use precision f32; the last checkpoint is good",
        (long long)plan->step, params->params[p].name, (double)bad.value,
        conv_of(t, copies[0]->unit.pairs[0]));
}

static px_err *slot_backward(px_trainer *t, const batch_plan *plan, const copy *const *copies,
                             int n, px_work *work, px_forward how) {
    const px_slot *rows = px_work_slot(work);
    const px_params *params = t->parts.params;
    int32_t n_pairs = 0;
    for (int k = 0; k < n; k++) n_pairs += copies[k]->unit.n_pairs;
    double *dlogps = px_take(t->arena, double, 2, n_pairs);
    float *g = px_take(t->arena, float, rows->targets.n);
    float *dsoft = rows->n_soft ? px_take(t->arena, float, rows->n_soft, params->d) : NULL;
    PX_PASS(px_arena_ok(t->arena));
    PX_PASS(slot_derivatives(t, plan, copies, n, dlogps));
    px_work_gradient(work, dlogps, g);
#pragma omp parallel for schedule(static)
    for (size_t i = t->first; i < params->n; i++) t->grads[i] = 0;
    PX_PASS(px_model_backward(t->parts.model, t->pass, rows, how, g, t->grads, dsoft));
    PX_PASS(px_fault(t->parts.ranks, "slot"));
    if (dsoft) px_work_users_backward(work, params, dsoft, t->grads);
    return add_gradient(t, plan, copies);
}

static px_err *run_slot(px_trainer *t, batch_plan *plan, int slot) {
    const copy **copies = px_take(t->arena, const copy *, plan->n_copies);
    const px_unit **units = px_take(t->arena, const px_unit *, plan->n_copies);
    PX_PASS(px_arena_ok(t->arena));
    int n = 0, n_pairs = 0;
    for (int i = 0; i < plan->n_copies; i++) {
        if (plan->slot_of[i] != slot) continue;
        units[n] = &plan->copies[i].unit;
        copies[n++] = &plan->copies[i];
        n_pairs += plan->copies[i].unit.n_pairs;
    }
    const px_params *users = t->parts.config->user_model == PX_USER_NONE ? NULL : t->parts.params;
    px_work *work = NULL;
    PX_PASS(px_work_build(t->parts.corpus, units, n, users, t->arena, &work));
    const px_slot *rows = px_work_slot(work);
    double *logp = px_take(t->arena, double, rows->targets.n),
           *sums = px_take(t->arena, double, 2, n_pairs);
    PX_PASS(px_arena_ok(t->arena));
    px_forward how = {.params = t->parts.params,
                      .train = true,
                      .drop_seed = (uint64_t)t->parts.config->seed ^ (uint64_t)plan->step << 32};
    PX_PASS(px_model_forward(t->parts.model, t->pass, rows, how, logp));
    px_work_logps(work, logp, sums);
    for (int k = 0, at = 0; k < n; k++)
        for (int32_t i = 0; i < 2 * units[k]->n_pairs; i++)
            plan->logps[((int64_t)copies[k]->term * plan->n_pairs + copies[k]->first_pair) * 2 +
                        i] = sums[at++];
    return slot_backward(t, plan, copies, n, work, how);
}

static px_err *run_mine(px_trainer *t, batch_plan *plan) {
    int last = -1;
    PX_PASS(px_fault(t->parts.ranks, "step"));
    for (int slot = 0; slot < plan->n_slots; slot++)
        if (plan->owner[slot] == t->parts.ranks->rank) last = slot;
    for (int slot = 0; slot < plan->n_slots; slot++) {
        if (plan->owner[slot] != t->parts.ranks->rank) continue;
        size_t mark = px_arena_mark(t->arena);
        px_watch(t->parts.ranks, "slot", plan->step);
        px_sums_slot(t->sums, slot == last);
        PX_PASS(run_slot(t, plan, slot));
        px_arena_reset(t->arena, mark);
    }
    return NULL;
}

static void summarise(const px_trainer *t, const batch_plan *plan, px_step_result *out) {
    for (int term = 0; term < N_TERMS; term++) {
        double weight = term_weight(t->parts.config, term);
        out->has[term] = weight > 0;
        if (weight == 0) continue;
        for (int32_t i = 0; i < plan->n_pairs; i++) {
            const double *logp = plan->logps + ((int64_t)term * plan->n_pairs + i) * 2;
            double reward[2], dh = 0, w = plan->weight[i], n = plan->n_pairs;
            double h = pair_margin(t, plan, term, i, reward);
            out->term_loss[term] += w * pair_loss(t, h, &dh);
            out->chosen[term] += reward[0] / n;
            out->rejected[term] += reward[1] / n;
            out->margin[term] += h / n;
            out->accuracy[term] += (h > 0 ? 1 : h == 0 ? 0.5 : 0) / n;
            out->logp_chosen[term] += logp[0] / n;
            out->logp_rejected[term] += logp[1] / n;
        }
        out->loss += weight * out->term_loss[term];
    }
    out->n_pairs = plan->n_pairs;
    out->n_tokens = plan->n_tokens;
}

px_err *px_trainer_step_all(px_trainer *t, const px_epoch *epoch, int64_t batch, int64_t step,
                            int64_t total, px_step_result *out) {
    double start = px_now_s();
    batch_plan plan = {.step = step};
    *out = (px_step_result){0};
    px_arena_reset(t->arena, 0);
    px_sums_clear(t->sums);
    const float *sums = NULL;
    px_err *err = plan_batch(t, epoch, batch, &plan);
    if (!err) err = run_mine(t, &plan);
    px_watch(t->parts.ranks, "waiting for the other ranks' slots", step);
    px_sums_begin_all(t->sums); /* failed or not: the others' sums want this rank's part */
    err = px_agree_all(t->parts.ranks, err);
    if (err) px_sums_end_all(t->sums);
    PX_TRY(err, "training");
    out->compute_s = px_now_s() - start;
    px_watch(t->parts.ranks, "reduce", step);
    px_spread_f64_all(t->parts.ranks, plan.logps, (size_t)N_TERMS * 2 * (size_t)plan.n_pairs);
    PX_TRY(px_sums_all(t->sums, t->grads, &sums), "step %lld: the ranks' gradients",
           (long long)step);
    out->reduce_s = px_now_s() - start - out->compute_s;
    summarise(t, &plan, out);
    px_optim_step optim = {.config = t->parts.config, .step = step, .total = total};
    px_optimizer_step(t->parts.optimizer, t->parts.stream, t->parts.params, sums, &optim);
    err = px_stream_ok(t->parts.stream);
    if (!err && t->parts.config->full_finetune)
        err = px_model_update(t->parts.model, t->parts.params);
    PX_TRY(px_agree_all(t->parts.ranks, err), "step %lld: the optimiser", (long long)step);
    out->grad_norm = optim.grad_norm;
    out->learning_rate = optim.learning_rate;
    out->spread = px_user_spread(t->parts.params);
    out->time_s = px_now_s() - start;
    return NULL;
}
