/* test_tree.c - the trie of a conversation's pairs against brute force. */
#include "data.h"
#include "px_test.h"

static px_arena *arena;

static int setup(void **state) {
    (void)state;
    px_assert_ok(px_arena_new(1 << 16, &arena));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    px_arena_free(arena);
    return 0;
}

/* The sequence that ends at leaf, read back from the tree. */
static int path_of(const px_tree *tree, int32_t leaf, int32_t *out) {
    int n = 0;
    for (int32_t at = leaf; at >= 0; at = tree->parent[at]) out[n++] = tree->token[at];
    for (int i = 0; i < n / 2; i++) {
        int32_t kept = out[i];
        out[i] = out[n - 1 - i];
        out[n - 1 - i] = kept;
    }
    return n;
}

/* Parents first, depth first, no two children of a node with one token. */
static void assert_is_trie(const px_tree *tree) {
    assert_int_equal(tree->parent[0], -1);
    for (int32_t i = 1; i < tree->n; i++) {
        assert_true(tree->parent[i] >= 0 && tree->parent[i] < i);
        int32_t at = i - 1;
        while (at > tree->parent[i]) at = tree->parent[at];
        assert_int_equal(at, tree->parent[i]);
        for (int32_t j = 1; j < i; j++)
            assert_false(tree->parent[j] == tree->parent[i] && tree->token[j] == tree->token[i]);
    }
}

enum { SEQS = 40, LEN = 24 };

/* Number of different prefixes, by comparing all with all. */
static int count_prefixes(int32_t seqs[][LEN], const int32_t *lens, int n) {
    int count = 0;
    for (int i = 0; i < n; i++)
        for (int32_t len = 1; len <= lens[i]; len++) {
            bool is_new = true;
            for (int j = 0; j < i; j++)
                is_new &=
                    lens[j] < len || memcmp(seqs[i], seqs[j], (size_t)len * sizeof(int32_t)) != 0;
            count += is_new;
        }
    return count;
}

static void random_sequences(px_rng rng, uint64_t trial, int n, int32_t seqs[][LEN],
                             const int32_t **list, int32_t *lens) {
    for (int i = 0; i < n; i++) {
        uint64_t at = trial * SEQS + (uint64_t)i;
        lens[i] = 1 + (int32_t)px_rng_below(rng, at, 1000, LEN);
        for (int j = 0; j < LEN; j++)
            seqs[i][j] = j == 0 ? 7 : (int32_t)px_rng_below(rng, at, (uint64_t)j, 3);
        list[i] = seqs[i];
    }
}

static void random_sequences_match_brute_force(void **state) {
    (void)state;
    px_rng rng = {3, PX_RNG_TEST};
    for (uint64_t trial = 0; trial < 60; trial++) {
        int32_t seqs[SEQS][LEN], lens[SEQS], leaf[SEQS], path[LEN];
        const int32_t *list[SEQS];
        int n = 1 + (int)px_rng_below(rng, 99999, trial, SEQS);
        random_sequences(rng, trial, n, seqs, list, lens);
        px_tree tree;
        px_assert_ok(px_tree_build(arena, list, lens, n, &tree, leaf));
        assert_int_equal(tree.n, count_prefixes(seqs, lens, n));
        assert_is_trie(&tree);
        int32_t *depth;
        px_assert_ok(px_tree_depths(arena, &tree, &depth));
        for (int i = 0; i < n; i++) {
            assert_int_equal(path_of(&tree, leaf[i], path), lens[i]);
            assert_memory_equal(path, seqs[i], (size_t)lens[i] * sizeof(int32_t));
            assert_int_equal(depth[leaf[i]], lens[i] - 1);
        }
    }
}

static void subset_is_the_tree_of_its_sequences(void **state) {
    (void)state;
    px_rng rng = {4, PX_RNG_TEST};
    for (uint64_t trial = 0; trial < 40; trial++) {
        int32_t seqs[SEQS][LEN], lens[SEQS], leaf[SEQS], wanted[SEQS], leaves[SEQS], path[LEN];
        const int32_t *list[SEQS];
        random_sequences(rng, trial, SEQS, seqs, list, lens);
        px_tree tree, part;
        px_assert_ok(px_tree_build(arena, list, lens, SEQS, &tree, leaf));
        int n = 1 + (int)px_rng_below(rng, 88888, trial, SEQS);
        for (int i = 0; i < n; i++)
            wanted[i] = leaf[(i * 7 + (int)trial) % SEQS]; /* 7 and 40 share no factor */
        px_assert_ok(px_tree_subset(arena, &tree, wanted, n, &part, leaves));
        assert_is_trie(&part);
        int32_t chosen[SEQS][LEN], chosen_lens[SEQS];
        for (int i = 0; i < n; i++) {
            int from = (i * 7 + (int)trial) % SEQS;
            memcpy(chosen[i], seqs[from], sizeof chosen[i]);
            chosen_lens[i] = lens[from];
            assert_int_equal(path_of(&part, leaves[i], path), lens[from]);
            assert_memory_equal(path, seqs[from], (size_t)lens[from] * sizeof(int32_t));
        }
        assert_int_equal(part.n, count_prefixes(chosen, chosen_lens, n));
    }
}

static void small_cases(void **state) {
    (void)state;
    int32_t a[] = {5}, b[] = {5, 6, 7}, c[] = {5, 6}, d[] = {5, 6, 8}, leaf[4];
    px_tree tree;
    /* One token. */
    px_assert_ok(px_tree_build(arena, (const int32_t *[]){a}, (int32_t[]){1}, 1, &tree, leaf));
    assert_int_equal(tree.n, 1);
    assert_int_equal(tree.token[0], 5);
    assert_int_equal(tree.parent[0], -1);
    assert_int_equal(leaf[0], 0);
    /* The same twice. */
    px_assert_ok(
        px_tree_build(arena, (const int32_t *[]){b, b}, (int32_t[]){3, 3}, 2, &tree, leaf));
    assert_int_equal(tree.n, 3);
    assert_int_equal(leaf[0], leaf[1]);
    /* Each a prefix of another; the fork goes depth first in the order of first use. */
    px_assert_ok(px_tree_build(arena, (const int32_t *[]){d, a, c, b}, (int32_t[]){3, 1, 2, 3}, 4,
                               &tree, leaf));
    assert_int_equal(tree.n, 4);
    int32_t token[] = {5, 6, 8, 7}, parent[] = {-1, 0, 1, 1}, want[] = {2, 0, 1, 3};
    assert_memory_equal(tree.token, token, sizeof token);
    assert_memory_equal(tree.parent, parent, sizeof parent);
    assert_memory_equal(leaf, want, sizeof want);
}

static void wrong_input_is_refused(void **state) {
    (void)state;
    int32_t a[] = {5, 1}, b[] = {6, 1}, leaf[2];
    px_tree tree;
    px_assert_error(
        px_tree_build(arena, (const int32_t *[]){a, b}, (int32_t[]){2, 2}, 2, &tree, leaf),
        PX_BAD_INPUT, "different tokens, 5 and 6");
    px_assert_error(px_tree_build(arena, (const int32_t *[]){a}, (int32_t[]){0}, 1, &tree, leaf),
                    PX_BAD_INPUT, "no token");
    px_assert_error(px_tree_build(arena, NULL, NULL, 0, &tree, leaf), PX_BAD_INPUT, "no sequence");
    px_assert_ok(px_tree_build(arena, (const int32_t *[]){a}, (int32_t[]){2}, 1, &tree, leaf));
    px_assert_error(px_tree_subset(arena, &tree, (int32_t[]){2}, 1, &tree, leaf), PX_BAD_INPUT,
                    "leaf 2");
    px_assert_error(px_tree_subset(arena, &tree, leaf, 0, &tree, leaf), PX_BAD_INPUT, "no leaf");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_sequences_match_brute_force, setup, teardown),
        cmocka_unit_test_setup_teardown(subset_is_the_tree_of_its_sequences, setup, teardown),
        cmocka_unit_test_setup_teardown(small_cases, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_input_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
