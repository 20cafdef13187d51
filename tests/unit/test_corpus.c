/* test_corpus.c - corpus.h5 written and read again; corpora with wrong content, cut and flipped
 * files. */
#include "prepare.h"
#include "px_test.h"

#include "files.h"

/* Two people, three conversations; trees of 5, 3 and 4 nodes. */
static const char *const user_ids[] = {"ä-one", "two"};
static const uint8_t user_unseen[] = {0, 1};
static const px_conv good_convs[] = {{"c1", 0, PX_CONV_VALUES, PX_SPLIT_TRAIN, 0, 2, 0, 5},
                                     {"c2", 1, PX_CONV_OTHER, PX_SPLIT_UNSEEN, 2, 1, 5, 3},
                                     {"c3", 0, PX_CONV_UNGUIDED, PX_SPLIT_SEEN, 3, 1, 8, 4}};
/* conv turn ids, leaves, prompt chosen rejected tokens, scores, pairs of turn */
static const px_pair good_pairs[] = {{0, 0, 0, 1, 2, 3, 1, 2, 2, 90, 10, 2},
                                     {0, 0, 0, 2, 2, 4, 1, 2, 2, 90, -1, 2},
                                     {1, 3, -1, 0, 1, 2, 1, 1, 1, 50, 50, 1},
                                     {2, 1, 7, 8, 3, 2, 2, 2, 1, -1, -1, 1}};
static const int32_t good_token[] = {9, 4, 5, 6, 7, 9, 1, 2, 9, 3, 8, 0};
static const int32_t good_parent[] = {-1, 0, 1, 1, 1, -1, 0, 0, -1, 0, 1, 2};
enum { CONVS = 3, PAIRS = 4, NODES = 12 };

/* A corpus that a test may spoil before it is written (its hash is then right). */
typedef struct {
    px_conv convs[CONVS];
    px_pair pairs[PAIRS];
    int32_t token[NODES], parent[NODES];
    uint8_t unseen[2];
    px_corpus_draft draft;
} sample;

static void sample_init(sample *s) {
    memcpy(s->convs, good_convs, sizeof good_convs);
    memcpy(s->pairs, good_pairs, sizeof good_pairs);
    memcpy(s->token, good_token, sizeof good_token);
    memcpy(s->parent, good_parent, sizeof good_parent);
    memcpy(s->unseen, user_unseen, sizeof user_unseen);
    s->draft = (px_corpus_draft){.tables = {.n_users = 2,
                                            .n_convs = CONVS,
                                            .n_pairs = PAIRS,
                                            .user_ids = user_ids,
                                            .user_unseen = s->unseen,
                                            .convs = s->convs,
                                            .pairs = s->pairs,
                                            .soft_after = 1,
                                            .tokenizer_sha256 = "t",
                                            .template_name = "chatml",
                                            .template_sha256 = "m",
                                            .config_json = "{}"},
                                 .n_nodes = NODES,
                                 .token = s->token,
                                 .parent = s->parent};
}

static char *dir, *path;

static int setup(void **state) {
    (void)state;
    dir = temp_folder();
    path = px_path_join(dir, "corpus.h5");
    return path ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    free(path);
    temp_folder_end(dir);
    return 0;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    sample s;
    px_digest sha;
    px_corpus *corpus;
    px_arena *arena;
    sample_init(&s);
    px_assert_ok(px_corpus_write(path, &s.draft, &sha));
    px_assert_ok(px_corpus_open(path, &corpus));
    px_assert_ok(px_arena_new(1 << 12, &arena));
    assert_string_equal(corpus->sha256, sha.hex);
    assert_string_equal(corpus->path, path);
    assert_string_equal(corpus->tokenizer_sha256, "t");
    assert_string_equal(corpus->template_name, "chatml");
    assert_string_equal(corpus->template_sha256, "m");
    assert_string_equal(corpus->config_json, "{}");
    assert_int_equal(corpus->soft_after, 1);
    assert_int_equal(corpus->n_users, 2);
    assert_int_equal(corpus->n_convs, CONVS);
    assert_int_equal(corpus->n_pairs, PAIRS);
    assert_memory_equal(corpus->user_unseen, user_unseen, 2);
    assert_memory_equal(corpus->pairs, good_pairs, sizeof good_pairs);
    for (int u = 0; u < 2; u++) assert_string_equal(corpus->user_ids[u], user_ids[u]);
    for (int c = 0; c < CONVS; c++) {
        const px_conv *got = &corpus->convs[c], *want = &good_convs[c];
        assert_string_equal(got->id, want->id);
        px_conv same_id = *got;
        same_id.id = want->id;
        assert_int_equal(same_id.user, want->user);
        assert_int_equal(same_id.type, want->type);
        assert_int_equal(same_id.split, want->split);
        assert_int_equal(same_id.first_pair, want->first_pair);
        assert_int_equal(same_id.n_pairs, want->n_pairs);
        assert_int_equal(same_id.first_node, want->first_node);
        assert_int_equal(same_id.n_nodes, want->n_nodes);
        px_tree tree;
        px_assert_ok(px_corpus_tree(corpus, c, arena, &tree));
        assert_int_equal(tree.n, want->n_nodes);
        size_t bytes = (size_t)tree.n * sizeof(int32_t);
        assert_memory_equal(tree.token, good_token + want->first_node, bytes);
        assert_memory_equal(tree.parent, good_parent + want->first_node, bytes);
    }
    px_arena_free(arena);
    px_corpus_close(corpus);
}

/* A value that is put in a sample's place; the tables or the tree must say so. */
#define SPOIL(field, value)                                                                        \
    { offsetof(sample, field), sizeof(((sample *)0)->field), value }
static const struct {
    size_t offset, size;
    int64_t value;
} spoils[] = {
    SPOIL(convs[1].user, 2), SPOIL(convs[1].user, -1), SPOIL(convs[0].type, 4),
    SPOIL(convs[0].split, 3), SPOIL(convs[1].split, PX_SPLIT_TRAIN), SPOIL(convs[1].first_pair, 1),
    SPOIL(convs[0].n_pairs, 0), SPOIL(convs[2].n_pairs, 2), SPOIL(convs[1].first_node, INT64_MAX),
    SPOIL(convs[2].n_nodes, INT32_MAX), SPOIL(convs[2].n_nodes, -1), SPOIL(pairs[0].conv, 1),
    SPOIL(pairs[0].chosen_leaf, 5), SPOIL(pairs[1].rejected_leaf, -1),
    SPOIL(pairs[1].prompt_tokens, INT32_MAX), SPOIL(pairs[1].prompt_tokens, 0),
    SPOIL(pairs[1].chosen_tokens, INT32_MAX), SPOIL(pairs[1].rejected_tokens, INT32_MIN),
    SPOIL(pairs[1].chosen_score, 101), SPOIL(pairs[1].pairs_of_turn, 0), SPOIL(pairs[1].turn, -1),
    SPOIL(pairs[1].chosen_id, -2), SPOIL(unseen[0], 2), SPOIL(draft.tables.soft_after, 2),
    SPOIL(draft.tables.n_pairs, 3), SPOIL(draft.n_nodes, 11), SPOIL(draft.tables.n_convs, 2),
    /* trees */
    SPOIL(parent[0], 0), SPOIL(parent[2], 2), SPOIL(parent[2], -1), SPOIL(parent[4], 3),
    SPOIL(parent[3], 2), SPOIL(parent[2], INT32_MAX), SPOIL(parent[2], -7), SPOIL(token[1], -1),
    SPOIL(pairs[0].chosen_leaf, 1), SPOIL(pairs[0].chosen_tokens, 1)};

static void wrong_values_are_refused(void **state) {
    (void)state;
    px_arena *arena;
    px_assert_ok(px_arena_new(1 << 12, &arena));
    for (size_t i = 0; i < PX_COUNT(spoils); i++) {
        sample s;
        px_digest sha;
        px_corpus *corpus = NULL;
        px_tree tree;
        sample_init(&s);
        /* Little endian: the low bytes hold the value. */
        memcpy((char *)&s + spoils[i].offset, &spoils[i].value, spoils[i].size);
        px_assert_ok(px_corpus_write(path, &s.draft, &sha));
        px_err *err = px_corpus_open(path, &corpus);
        if (!err) err = px_corpus_tree(corpus, 0, arena, &tree);
        if (!err) fail_msg("case %zu was not noticed", i);
        if (px_err_kind(err) != PX_BAD_INPUT || !strstr(px_err_text(err), path))
            fail_msg("case %zu: %s", i, px_err_text(err));
        px_err_free(err);
        px_corpus_close(corpus);
    }
    px_arena_free(arena);
}

static void write_sample(px_bytes *bytes) {
    sample s;
    px_digest sha;
    sample_init(&s);
    px_assert_ok(px_corpus_write(path, &s.draft, &sha));
    px_assert_ok(px_file_read(path, bytes));
}

/* Opens what stands at path and reads all of it: refused with PX_BAD_INPUT, or sound. True: opened.
 */
static bool open_and_read(void) {
    px_corpus *corpus = NULL;
    px_err *err = px_corpus_open(path, &corpus);
    if (err) {
        if (px_err_kind(err) != PX_BAD_INPUT) fail_msg("%s", px_err_text(err));
        px_err_free(err);
        return false;
    }
    px_arena *arena;
    px_assert_ok(px_arena_new(1 << 12, &arena));
    assert_memory_equal(corpus->pairs, good_pairs, sizeof good_pairs);
    for (int32_t c = 0; c < corpus->n_convs; c++) {
        px_tree tree;
        px_assert_ok(px_corpus_tree(corpus, c, arena, &tree));
    }
    px_arena_free(arena);
    px_corpus_close(corpus);
    return true;
}

static void cut_files_are_refused(void **state) {
    (void)state;
    px_bytes bytes = {0};
    write_sample(&bytes);
    for (size_t n = 0; n < bytes.size; n += n < 64 ? 7 : 331) {
        px_assert_ok(px_file_write(path, bytes.data, n));
        assert_false(open_and_read());
    }
    px_bytes_free(&bytes);
}

/* A flipped bit is refused, or lies where it changes nothing that is read. */
static void flipped_files_do_not_mislead(void **state) {
    (void)state;
    px_bytes bytes = {0};
    write_sample(&bytes);
    int refused = 0;
    for (size_t i = 0; i < bytes.size; i += 1 + i % 23) {
        bytes.data[i] = (char)(bytes.data[i] ^ (1 << (i % 8)));
        px_assert_ok(px_file_write(path, bytes.data, bytes.size));
        refused += !open_and_read();
        bytes.data[i] = (char)(bytes.data[i] ^ (1 << (i % 8)));
    }
    assert_true(refused > 20);
    px_bytes_free(&bytes);
}

static void other_files_are_refused(void **state) {
    (void)state;
    px_corpus *corpus;
    px_assert_error(px_corpus_open("/nowhere/corpus.h5", &corpus), PX_BAD_INPUT, "/nowhere");
    px_assert_error(px_corpus_open(dir, &corpus), PX_BAD_INPUT, dir);
    px_assert_error(px_corpus_open(GOLDEN("h5_others.h5"), &corpus), PX_BAD_INPUT,
                    "not a corpus made by");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_values_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(flipped_files_do_not_mislead, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
