/* sums_card.c - the batch's gradient on a GPU, stretch by stretch. Invariants:
 * 1. Parameters are cut into stretches of comm.bucket_mb of limbs, by their number alone: those
 * whose gradients the card makes from the last down, as a backward pass gets to them, then those
 * of users, which the host makes. A stretch's limbs lie together, so that it is one sum of NCCL's.
 * 2. Every rank sums all stretches in this order, once a step: one with a last slot as soon as that
 * slot's gradients are made and added, one without, or one that failed, all that are left, at the
 * end. Nobody waits for a rank's error then: it is agreed on after.
 * 3. Limbs are integers: bits depend neither on the cut nor on when a stretch was summed. */
#include <stdlib.h>

#include "gpus.h"
#include "train_internal.h"

enum { LIMBS = 16, CARRY_AFTER = 4096 }; /* bytes of a value's; additions */

struct px_card_sums {
    const px_ranks *ranks;
    px_stream *stream;
    px_model *model;
    px_gpus *gpus; /* NULL: one rank */
    int reduce;    /* comm.reduce */
    bool overlap;
    size_t n, trained, longest; /* parameters; on the card; of a stretch */
    int n_stretches, n_trained; /* all; those of the card's */
    bool is_lent;               /* what follows is the caller's */
    int64_t *limbs;             /* [2 n]: of a stretch first the high ones, then the low */
    float *there;               /* [n] the result, behind them in the same piece */
    uint64_t *marks;            /* [n_stretches]: px_op_exact_add's; there, and here */
    uint64_t *found;
    int n_added; /* slots since limbs were carried */
    /* Of the present slot: whether it is the last; how many stretches of it were added. Of the
     * step: how many were summed. */
    bool last;
    int n_of_slot, n_summed;
    int64_t n_beside, n_all; /* of all steps: summed beside a slot's backward, and all */
};

typedef struct {
    size_t begin, n;
    int64_t *high, *low;
} stretch;

static int n_of(size_t n, size_t longest) { return (int)((n + longest - 1) / longest); }

static size_t longest_of(const px_config *config, int n_ranks, size_t n) {
    const double wanted = config->comm_bucket_mb * 1e6 / LIMBS;
    return n_ranks == 1 ? PX_MAX(n, 1) : (size_t)PX_MAX(wanted, 1.0);
}

static stretch at(const px_card_sums *s, int i) {
    stretch out = {0};
    if (i < s->n_trained) {
        const size_t end = s->trained - (size_t)i * s->longest;
        out.begin = end > s->longest ? end - s->longest : 0;
        out.n = end - out.begin;
    } else {
        out.begin = s->trained + (size_t)(i - s->n_trained) * s->longest;
        out.n = PX_MIN(s->longest, s->n - out.begin);
    }
    out.high = s->limbs + 2 * out.begin;
    out.low = out.high + out.n;
    return out;
}

px_card_sums_size px_card_sums_bytes(const px_config *config, int64_t n, int64_t trained,
                                     int n_ranks) {
    const size_t longest = longest_of(config, n_ranks, (size_t)n);
    const int stretches = n_of((size_t)trained, longest) + n_of((size_t)(n - trained), longest);
    return (px_card_sums_size){n * (LIMBS + (int64_t)sizeof(float)),
                               stretches * (int64_t)sizeof(uint64_t)};
}

/* They are the last. */
static size_t first_of_users(const px_params *params) {
    for (int i = 0; i < params->n_params; i++)
        if (params->params[i].user) return params->params[i].offset;
    return params->n;
}

/* --- a slot's gradients --- */

static void add(px_card_sums *s, const float *g, int i) {
    const stretch it = at(s, i);
    px_op_exact_add(s->stream, it.high, it.low, g + it.begin, (int64_t)it.n, s->marks + i);
}

static px_mat row_of(void *data, px_type type, const stretch *it) {
    return px_mat_of(data, type, 1, (int64_t)it->n);
}
/* Rounded values, for fast_bf16, lie in limbs that have served. */
static void round_values(px_card_sums *s, const stretch *it, bool back) {
    const int32_t row = 0;
    const px_mat wide = row_of(s->there + it->begin, PX_F32, it);
    const px_mat narrow = row_of(it->high, PX_BF16, it);
    px_op_gather(s->stream, back ? wide : narrow, back ? narrow : wide, &row);
}

/* The next stretch goes to the other ranks. */
static void sum_next_all(px_card_sums *s) {
    const stretch it = at(s, s->n_summed++);
    s->n_all++;
    const int64_t n = (int64_t)it.n;
    px_op_exact_carry(s->stream, it.high, it.low, n);
    if (s->reduce == PX_REDUCE_EXACT) {
        px_gpus_sum_i64_all(s->gpus, it.high, 2 * it.n);
        return;
    }
    px_op_exact_get(s->stream, s->there + it.begin, it.high, it.low, n);
    if (!s->gpus) return;
    if (s->reduce == PX_REDUCE_FAST_BF16) {
        round_values(s, &it, false);
        px_gpus_sum_bf16_all(s->gpus, (uint16_t *)(void *)it.high, it.n);
    } else {
        px_gpus_sum_f32_all(s->gpus, s->there + it.begin, it.n);
    }
}

/* The model's: the gradients of [first, …) are made. */
static void made(void *context, size_t first) {
    px_card_sums *s = context;
    size_t n = 0;
    const float *g = px_model_grads_there(s->model, &n);
    if (!s->last || !g) return;
    while (s->n_of_slot < s->n_trained && at(s, s->n_of_slot).begin >= first) {
        add(s, g, s->n_of_slot++);
        sum_next_all(s);
        s->n_beside++;
    }
}

void px_card_sums_slot(px_card_sums *s, bool last) {
    s->last = last && s->overlap && s->gpus;
    s->n_of_slot = 0;
    if (s->n_added >= CARRY_AFTER) {
        for (int i = 0; i < s->n_stretches; i++) {
            const stretch it = at(s, i);
            px_op_exact_carry(s->stream, it.high, it.low, (int64_t)it.n);
        }
        s->n_added = 1;
    }
    s->n_added++;
}

/* The least value that could not be added, if there is one. */
static bool find_bad(px_card_sums *s, const float *there, const float *grads, px_bad_value *bad) {
    bool any = false;
    px_memory_copy(s->stream, s->found, s->marks, (size_t)s->n_stretches * sizeof *s->found);
    for (int i = 0; i < s->n_stretches; i++) {
        if (s->found[i] == PX_EXACT_FINE) continue;
        const size_t index = at(s, i).begin + (size_t)s->found[i];
        if (!any || index < bad->index) bad->index = index;
        any = true;
    }
    if (any && bad->index < s->trained)
        px_memory_copy(s->stream, &bad->value, there + bad->index, sizeof bad->value);
    else if (any)
        bad->value = grads[bad->index];
    return any;
}

bool px_card_sums_add(px_card_sums *s, const float *grads, px_bad_value *bad) {
    size_t n = 0;
    const float *there = px_model_grads_there(s->model, &n);
    while (s->n_of_slot < s->n_stretches) {
        const int i = s->n_of_slot++;
        const float *g = i < s->n_trained ? there : grads;
        if (g) add(s, g, i); /* none yet: of a slot without targets */
        if (s->last) sum_next_all(s);
    }
    return !find_bad(s, there, grads, bad);
}

/* --- the batch's --- */

void px_card_sums_clear(px_card_sums *s) {
    const size_t n = (size_t)s->n_stretches;
    px_memory_zero(s->stream, s->limbs, s->n * LIMBS);
    for (size_t i = 0; i < n; i++) s->found[i] = PX_EXACT_FINE;
    px_memory_copy(s->stream, s->marks, s->found, n * sizeof *s->found);
    s->n_added = s->n_summed = 0;
    s->last = false;
}

static void sum_rest_all(px_card_sums *s) {
    while (s->n_summed < s->n_stretches) sum_next_all(s);
}

void px_card_sums_begin_all(px_card_sums *s) {
    if (s->overlap && s->gpus) sum_rest_all(s);
}
void px_card_sums_end_all(px_card_sums *s) {
    if (s->n_summed > 0) px_gpus_wait_all(s->gpus);
}

px_err *px_card_sums_all(px_card_sums *s, const float **total) {
    *total = s->there;
    sum_rest_all(s);
    px_gpus_wait_all(s->gpus);
    for (int i = 0; i < s->n_stretches; i++) {
        const stretch it = at(s, i);
        if (s->reduce == PX_REDUCE_EXACT)
            px_op_exact_get(s->stream, s->there + it.begin, it.high, it.low, (int64_t)it.n);
        else if (s->reduce == PX_REDUCE_FAST_BF16 && s->gpus)
            round_values(s, &it, true);
    }
    return px_agree_all(s->ranks, px_stream_ok(s->stream));
}

/* --- memory --- */

px_err *px_card_sums_new(const px_trainer_parts *parts, px_card_sums **out) {
    px_err *err = NULL;
    void *piece = NULL;
    px_card_sums *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->ranks = parts->ranks;
    s->stream = parts->stream;
    s->model = parts->model;
    s->reduce = parts->config->comm_reduce;
    s->overlap = parts->config->comm_overlap;
    s->n = parts->params->n;
    s->trained = first_of_users(parts->params);
    s->longest = longest_of(parts->config, s->ranks->size, s->n);
    s->n_trained = n_of(s->trained, s->longest);
    s->n_stretches = s->n_trained + n_of(s->n - s->trained, s->longest);
    const px_card_sums_size bytes =
        px_card_sums_bytes(parts->config, (int64_t)s->n, (int64_t)s->trained, s->ranks->size);
    s->found = calloc((size_t)s->n_stretches + 1, sizeof *s->found);
    if (!s->found) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    s->is_lent = parts->sums != NULL;
    if (s->is_lent)
        piece = parts->sums;
    else
        PX_PASS_TO(failed, px_memory_new(s->stream, (size_t)bytes.sums, &piece));
    s->limbs = piece;
    s->there = (float *)(void *)(s->limbs + 2 * s->n);
    PX_PASS_TO(failed, px_memory_new(s->stream, (size_t)bytes.marks, &piece));
    s->marks = piece;
    px_model_grads_stay(s->model, true);
    px_model_grads_watch(s->model, made, s);
    *out = s;
    return NULL;
failed:
    px_card_sums_free(s);
    return err;
}

px_err *px_card_sums_connect_all(px_card_sums *s) {
    px_watch(s->ranks, "NCCL starts", 0);
    PX_PASS(px_gpus_open_all(s->ranks, px_stream_handle(s->stream), &s->gpus));
    px_gpus_register_all(s->gpus, s->limbs, s->n * (LIMBS + sizeof *s->there));
    return NULL;
}

void px_card_sums_free(px_card_sums *s) {
    if (!s) return;
    if (s->gpus && s->n_all)
        px_debug("sums between GPUs: %lld of %lld while the last slot computed",
                 (long long)s->n_beside, (long long)s->n_all);
    px_gpus_close(s->gpus);
    px_model_grads_watch(s->model, NULL, NULL);
    if (!s->is_lent) px_memory_free(s->stream, s->limbs);
    px_memory_free(s->stream, s->marks);
    free(s->found);
    free(s);
}

size_t px_card_sums_first(const px_card_sums *s) { return s->trained; }
