/* order.c - which pairs make a unit, which units a batch. A pure function of corpus, seed and
 * epoch: a resumed run plans the same and goes on at its place. */
#include "train.h"

static bool starts_unit(const px_corpus *corpus, px_unit_kind kind, int32_t pair, int32_t before) {
    const px_pair *a = &corpus->pairs[pair], *b = &corpus->pairs[before];
    if (a->conv != b->conv || kind == PX_UNIT_PAIR) return true;
    return kind == PX_UNIT_TURN && a->turn != b->turn;
}

/* Units in the corpus's order: first[i] .. first[i + 1] in `pairs`. */
static int32_t list_units(const px_corpus *corpus, px_unit_kind kind, int32_t *pairs,
                          int32_t *first) {
    int32_t n = 0, n_units = 0;
    for (int32_t p = 0; p < corpus->n_pairs; p++) {
        if (corpus->convs[corpus->pairs[p].conv].split != PX_SPLIT_TRAIN) continue;
        if (n == 0 || starts_unit(corpus, kind, p, pairs[n - 1])) first[n_units++] = n;
        pairs[n++] = p;
    }
    first[n_units] = n;
    return n_units;
}

px_err *px_epoch_plan(const px_corpus *corpus, const px_config *config, int64_t epoch,
                      px_arena *arena, px_epoch *out) {
    size_t n = (size_t)corpus->n_pairs + 1;
    int32_t *listed = px_take(arena, int32_t, n), *listed_first = px_take(arena, int32_t, n);
    int32_t *pairs = px_take(arena, int32_t, n), *first = px_take(arena, int32_t, n);
    int32_t *order = px_take(arena, int32_t, n), *batch_first = px_take(arena, int32_t, n);
    PX_PASS(px_arena_ok(arena));
    int32_t n_units = list_units(corpus, (px_unit_kind)config->batch_unit, listed, listed_first);
    px_rng rng = {(uint64_t)config->seed, PX_RNG_ORDER};
    px_rng_permutation(rng, (uint64_t)epoch, n_units, order);
    int32_t at = 0, n_batches = 0, in_batch = 0;
    for (int32_t i = 0; i < n_units; i++) {
        first[i] = at;
        if (in_batch == 0) batch_first[n_batches++] = i;
        for (int32_t k = listed_first[order[i]]; k < listed_first[order[i] + 1]; k++) {
            pairs[at++] = listed[k];
            in_batch++;
        }
        if (in_batch >= config->batch_pairs) in_batch = 0;
    }
    first[n_units] = at;
    batch_first[n_batches] = n_units;
    *out = (px_epoch){n_units, n_batches, pairs, first, batch_first};
    return NULL;
}
