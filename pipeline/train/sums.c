/* sums.c - the batch's gradient: slots' gradients added up, then over ranks. Invariants:
 * 1. Exact sums are two limbs of integers; host (pipeline/dist/exact.c) and card (px_op_exact_add)
 * make the same ones.
 * 2. On a GPU the limbs and the result lie on the card, the gradients of adapters and of a base
 * that is trained never leave it, and ranks' limbs are summed between cards by NCCL
 * (pipeline/dist/gpus.c). User parameters' gradients, which the host makes, are added there too. */
#include <math.h>
#include <stdlib.h>

#include "gpus.h"
#include "train_internal.h"

struct px_sums {
    const px_ranks *ranks;
    px_stream *stream;
    px_model *model;
    size_t n;
    bool exact_wanted, bf16;
    float *total; /* [n] on the CPU, not exact: sums so far */
    px_exact exact;
    bool apart; /* on the card: */
    int64_t *high, *low;
    float *there; /* the result */
    int n_added;
    px_gpus *gpus;
};

enum { CARRY_AFTER = 4096 };

static px_err *take_there(px_sums *s) {
    void *at = NULL;
    PX_PASS(px_memory_new(s->stream, s->n * sizeof *s->high, &at));
    s->high = at;
    PX_PASS(px_memory_new(s->stream, s->n * sizeof *s->low, &at));
    s->low = at;
    PX_PASS(px_memory_new(s->stream, s->n * sizeof *s->there, &at));
    s->there = at;
    px_model_grads_stay(s->model, true);
    return NULL;
}

px_err *px_sums_new(const px_trainer_parts *parts, px_sums **out) {
    px_err *err = NULL;
    px_sums *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->ranks = parts->ranks;
    s->stream = parts->stream;
    s->model = parts->model;
    s->n = parts->params->n;
    s->exact_wanted = parts->config->comm_reduce == PX_REDUCE_EXACT;
    s->apart = px_memory_is_apart(parts->stream);
    s->bf16 = parts->config->comm_reduce == PX_REDUCE_FAST_BF16;
    const bool fast = !s->apart && !s->exact_wanted;
    if (fast) s->total = px_large_new(s->n, sizeof *s->total);
    if (fast && !s->total)
        PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory: sums of %zu parameters", s->n);
    if (s->apart)
        PX_PASS_TO(failed, take_there(s));
    else if (s->exact_wanted)
        PX_PASS_TO(failed, px_exact_new(s->n, &s->exact));
    *out = s;
    return NULL;
failed:
    px_sums_free(s);
    return err;
}

px_err *px_sums_connect_all(px_sums *s) {
    if (!s->apart) return NULL;
    px_watch(s->ranks, "NCCL starts", 0);
    return px_gpus_open_all(s->ranks, px_stream_handle(s->stream), &s->gpus);
}

void px_sums_free(px_sums *s) {
    if (!s) return;
    px_gpus_close(s->gpus);
    if (s->apart) {
        px_memory_free(s->stream, s->high);
        px_memory_free(s->stream, s->low);
        px_memory_free(s->stream, s->there);
    }
    px_exact_free(&s->exact);
    px_large_free(s->total);
    free(s);
}

void px_sums_clear(px_sums *s) {
    if (s->apart) {
        px_memory_zero(s->stream, s->high, s->n * sizeof *s->high);
        px_memory_zero(s->stream, s->low, s->n * sizeof *s->low);
        s->n_added = 0;
    } else if (s->exact_wanted) {
        px_exact_clear(&s->exact);
    } else {
        for (size_t i = 0; i < s->n; i++) s->total[i] = 0;
    }
}

/* Parameters [at, at + n), whose gradients are g, the card's or the host's. */
static bool add_there(px_sums *s, size_t at, size_t n, const float *g, px_bad_value *bad) {
    if (n == 0) return true;
    const int64_t where = px_op_exact_add(s->stream, s->high + at, s->low + at, g, (int64_t)n);
    if (where < 0) return true;
    bad->index = at + (size_t)where;
    return false;
}

static bool add_fast(px_sums *s, const float *grads, size_t *where) {
    for (size_t i = 0; i < s->n; i++) {
        s->total[i] += grads[i];
        if (!isfinite(grads[i])) {
            *where = i;
            return false;
        }
    }
    return true;
}

bool px_sums_add(px_sums *s, const float *grads, px_bad_value *bad) {
    if (!s->apart) {
        const bool fine = s->exact_wanted ? px_exact_add(&s->exact, grads, &bad->index)
                                          : add_fast(s, grads, &bad->index);
        if (!fine) bad->value = grads[bad->index];
        return fine;
    }
    size_t n = 0;
    const float *there = px_model_grads_there(s->model, &n);
    if (s->n_added >= CARRY_AFTER) {
        px_op_exact_carry(s->stream, s->high, s->low, (int64_t)s->n);
        s->n_added = 1;
    }
    s->n_added++;
    const bool fine = add_there(s, 0, n, there, bad);
    if (!fine)
        px_memory_copy(s->stream, &bad->value, there + bad->index, sizeof bad->value);
    else if (add_there(s, n, s->n - n, grads + n, bad))
        return true;
    else
        bad->value = grads[bad->index];
    return false;
}

/* Rounded, summed, widened; the limbs have served: their memory takes the rounded values. */
static void sum_rounded_all(px_sums *s) {
    const int64_t n = (int64_t)s->n;
    const int32_t row = 0;
    uint16_t *rounded = (uint16_t *)(void *)s->low;
    px_mat wide = px_mat_of(s->there, PX_F32, 1, n), narrow = px_mat_of(rounded, PX_BF16, 1, n);
    if (!s->gpus || n == 0) return;
    px_op_gather(s->stream, narrow, wide, &row);
    px_gpus_sum_bf16_all(s->gpus, rounded, s->n);
    px_gpus_wait_all(s->gpus);
    px_op_gather(s->stream, wide, narrow, &row);
}

static px_err *sum_there_all(px_sums *s) {
    px_op_exact_carry(s->stream, s->high, s->low, (int64_t)s->n);
    if (s->exact_wanted) {
        px_gpus_sum_i64_all(s->gpus, s->high, s->n);
        px_gpus_sum_i64_all(s->gpus, s->low, s->n);
        px_gpus_wait_all(s->gpus);
    }
    px_op_exact_get(s->stream, s->there, s->high, s->low, (int64_t)s->n);
    if (s->bf16) {
        sum_rounded_all(s);
    } else if (!s->exact_wanted) {
        px_gpus_sum_f32_all(s->gpus, s->there, s->n);
        px_gpus_wait_all(s->gpus);
    }
    return px_agree_all(s->ranks, px_stream_ok(s->stream));
}

px_err *px_sums_all(px_sums *s, float *grads, const float **total) {
    *total = s->apart ? s->there : s->exact_wanted ? grads : s->total;
    if (s->apart) return sum_there_all(s);
    if (s->exact_wanted) {
        px_exact_sum_all(s->ranks, &s->exact);
        px_exact_get(&s->exact, grads);
    } else {
        px_sum_f32_all(s->ranks, s->total, s->n);
    }
    return NULL;
}
