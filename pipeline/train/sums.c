/* sums.c - the batch's gradient: slots' gradients added up, then over ranks. Invariants:
 * 1. Exact sums are two limbs of integers; host (pipeline/dist/exact.c) and card (px_op_exact_add)
 * make the same ones.
 * 2. On a GPU all is sums_card.c's: the limbs and the result lie on the card, the gradients of
 * adapters and of a base that is trained never leave it, and ranks' limbs are summed between cards
 * by NCCL (pipeline/dist/gpus.c). User parameters' gradients, which the host makes, are added there
 * too. */
#include <math.h>
#include <stdlib.h>

#include "train_internal.h"

struct px_sums {
    const px_ranks *ranks;
    size_t n;
    bool exact_wanted;
    float *total; /* [n], not exact: sums so far */
    px_exact exact;
    px_card_sums *card; /* NULL on the CPU; else all of it */
};

px_err *px_sums_new(const px_trainer_parts *parts, px_sums **out) {
    px_err *err = NULL;
    px_sums *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->ranks = parts->ranks;
    s->n = parts->params->n;
    s->exact_wanted = parts->config->comm_reduce == PX_REDUCE_EXACT;
    const bool apart = px_memory_is_apart(parts->stream), fast = !apart && !s->exact_wanted;
    if (fast) s->total = px_large_new(s->n, sizeof *s->total);
    if (fast && !s->total)
        PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory: sums of %zu parameters", s->n);
    if (apart)
        PX_PASS_TO(failed, px_card_sums_new(parts, &s->card));
    else if (s->exact_wanted)
        PX_PASS_TO(failed, px_exact_new(s->n, &s->exact));
    *out = s;
    return NULL;
failed:
    px_sums_free(s);
    return err;
}

px_err *px_sums_connect_all(px_sums *s) {
    return s->card ? px_card_sums_connect_all(s->card) : NULL;
}

void px_sums_free(px_sums *s) {
    if (!s) return;
    px_card_sums_free(s->card);
    px_exact_free(&s->exact);
    px_large_free(s->total);
    free(s);
}

size_t px_sums_first(const px_sums *s) { return s->card ? px_card_sums_first(s->card) : 0; }

void px_sums_clear(px_sums *s) {
    if (s->card)
        px_card_sums_clear(s->card);
    else if (s->exact_wanted)
        px_exact_clear(&s->exact);
    else
        for (size_t i = 0; i < s->n; i++) s->total[i] = 0;
}

void px_sums_slot(px_sums *s, bool last) {
    if (s->card) px_card_sums_slot(s->card, last);
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
    if (s->card) return px_card_sums_add(s->card, grads, bad);
    const bool fine = s->exact_wanted ? px_exact_add(&s->exact, grads, &bad->index)
                                      : add_fast(s, grads, &bad->index);
    if (!fine) bad->value = grads[bad->index];
    return fine;
}

void px_sums_begin_all(px_sums *s) {
    if (s->card) px_card_sums_begin_all(s->card);
}
void px_sums_end_all(px_sums *s) {
    if (s->card) px_card_sums_end_all(s->card);
}

px_err *px_sums_all(px_sums *s, float *grads, const float **total) {
    if (s->card) return px_card_sums_all(s->card, total);
    *total = s->exact_wanted ? grads : s->total;
    if (s->exact_wanted) {
        px_exact_sum_all(s->ranks, &s->exact);
        px_exact_get(&s->exact, grads);
    } else {
        px_sum_f32_all(s->ranks, s->total, s->n);
    }
    return NULL;
}
