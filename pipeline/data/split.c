/* split.c - who and which conversations are held out: see px_split_make in prepare.h. */
#include "prepare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *id;
    int32_t index;
} named;

static int named_order(const void *a, const void *b) {
    return strcmp(((const named *)a)->id, ((const named *)b)->id);
}

/* Marks the first round(share · n) of the permuted, sorted items with `value`. */
static px_err *draw(named *items, int32_t n, px_rng rng, uint64_t which, double share,
                    uint8_t value, uint8_t *marks) {
    int32_t *order = malloc(((size_t)n + 1) * sizeof *order);
    if (!order) PX_NO_MEMORY();
    qsort(items, (size_t)n, sizeof *items, named_order);
    px_rng_permutation(rng, which, n, order);
    int32_t n_drawn = (int32_t)floor(share * n + 0.5);
    for (int32_t i = 0; i < n_drawn && i < n; i++) marks[items[order[i]].index] = value;
    free(order);
    return NULL;
}

px_err *px_split_make(const px_config *config, const char *const *user_ids, int32_t n_users,
                      const px_split_conv *convs, int32_t n_convs, uint8_t *unseen,
                      uint8_t *split) {
    px_err *err = NULL;
    px_rng rng = {(uint64_t)config->data_split_seed, PX_RNG_SPLIT};
    memset(unseen, 0, (size_t)n_users);
    uint8_t *has_conv = calloc((size_t)n_users + 1, 1);
    named *items = malloc(((size_t)PX_MAX(n_users, n_convs) + 1) * sizeof *items);
    if (!has_conv || !items) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int32_t c = 0; c < n_convs; c++) has_conv[convs[c].user] = 1;
    int32_t n = 0;
    for (int32_t u = 0; u < n_users; u++)
        if (has_conv[u]) items[n++] = (named){user_ids[u], u};
    PX_PASS_TO(done, draw(items, n, rng, 0, config->data_split_unseen_users, 1, unseen));
    n = 0;
    for (int32_t c = 0; c < n_convs; c++) {
        split[c] = unseen[convs[c].user] ? PX_SPLIT_UNSEEN : PX_SPLIT_TRAIN;
        if (!unseen[convs[c].user]) items[n++] = (named){convs[c].id, c};
    }
    PX_PASS_TO(done, draw(items, n, rng, 1, config->data_split_seen_test, PX_SPLIT_SEEN, split));
done:
    free(items);
    free(has_conv);
    return err;
}
