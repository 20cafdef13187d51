/* tokens.c - which tokens the responses of the evaluated pairs are, and where each begins in a flat
 * list. The log-probabilities are score's. */
#include "eval.h"

px_err *px_eval_token_first(const px_corpus *corpus, const px_eval_result *result, px_arena *arena,
                            const int64_t **first) {
    int64_t *at = px_take(arena, int64_t, 2 * (size_t)result->n + 1);
    PX_PASS(px_arena_ok(arena));
    for (int32_t i = 0; i < result->n; i++) {
        const px_pair *pair = &corpus->pairs[result->pairs[i]];
        at[2 * i + 1] = at[2 * i] + pair->chosen_tokens;
        at[2 * i + 2] = at[2 * i + 1] + pair->rejected_tokens;
    }
    *first = at;
    return NULL;
}

/* The last n tokens on the path to leaf, in the order of the text. */
static void response_ids(const px_tree *tree, int32_t leaf, int32_t n, int32_t *out) {
    for (int32_t k = n - 1, node = leaf; k >= 0; k--, node = tree->parent[node])
        out[k] = tree->token[node];
}

px_err *px_eval_token_ids(px_corpus *corpus, const px_eval_result *result, px_arena *arena,
                          const int32_t **ids) {
    const int64_t *first = result->tokens.first;
    int32_t *out = px_take(arena, int32_t, (size_t)first[2 * (size_t)result->n]);
    PX_PASS(px_arena_ok(arena));
    size_t mark = px_arena_mark(arena);
    int32_t conv = -1;
    px_tree tree = {0};
    for (int32_t i = 0; i < result->n; i++) {
        const px_pair *pair = &corpus->pairs[result->pairs[i]];
        if (pair->conv != conv) { /* a conversation's pairs stand together */
            px_arena_reset(arena, mark);
            PX_PASS(px_corpus_tree(corpus, pair->conv, arena, &tree));
            conv = pair->conv;
        }
        response_ids(&tree, pair->chosen_leaf, pair->chosen_tokens, out + first[2 * i]);
        response_ids(&tree, pair->rejected_leaf, pair->rejected_tokens, out + first[2 * i + 1]);
    }
    px_arena_reset(arena, mark);
    *ids = out;
    return NULL;
}
