/* unit.c - one conversation's pairs for one user, as a tree. See score.h. */
#include "score.h"

#include <assert.h>

px_err *px_unit_build(px_corpus *corpus, const int32_t *pairs, int32_t n_pairs, int32_t user,
                      int32_t n_soft, px_arena *arena, px_unit *out) {
    int32_t conv = corpus->pairs[pairs[0]].conv;
    px_tree whole;
    PX_TRY(px_corpus_tree(corpus, conv, arena, &whole), "conversation %s", corpus->convs[conv].id);
    int32_t *leaves = px_take(arena, int32_t, 2, n_pairs);
    int32_t *moved = px_take(arena, int32_t, 2, n_pairs);
    int32_t *kept = px_take(arena, int32_t, n_pairs);
    PX_PASS(px_arena_ok(arena));
    for (int32_t i = 0; i < n_pairs; i++) {
        const px_pair *pair = &corpus->pairs[pairs[i]];
        assert(pair->conv == conv);
        kept[i] = pairs[i];
        leaves[i] = pair->chosen_leaf;
        leaves[n_pairs + i] = pair->rejected_leaf;
    }
    *out = (px_unit){.conv = conv, .pairs = kept, .n_pairs = n_pairs, .user = user};
    PX_PASS(px_tree_subset(arena, &whole, leaves, 2 * n_pairs, &out->tree, moved));
    out->chosen_leaf = moved;
    out->rejected_leaf = moved + n_pairs;
    out->n_tokens = out->tree.n + n_soft;
    return NULL;
}
