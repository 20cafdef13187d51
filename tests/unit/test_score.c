/* test_score.c - slots and scoring on a tiny random model and an invented corpus: a pair's
 * log-probabilities are the same in the conversation's tree, alone, in any slot and under any
 * number of threads; the reference cache. */
#include "px_test.h"
#include "run.h"
#include "score.h"

static struct {
    char dir[64], corpus_path[128], model_path[128];
    px_config config;
    px_corpus *corpus;
    px_ranks ranks;
} f = {.ranks = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL}};

static int make_folder(void **state) {
    (void)state;
    char data[128];
    snprintf(f.dir, sizeof f.dir, "/tmp/px_score_XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(data, sizeof data, "%s/data", f.dir);
    snprintf(f.model_path, sizeof f.model_path, "%s/tiny", f.dir);
    snprintf(f.corpus_path, sizeof f.corpus_path, "%s/c.h5", f.dir);
    px_assert_ok(px_config_init(&f.config));
    f.config.precision = PX_PRECISION_F32;
    f.config.user_model = PX_USER_BANK;
    f.config.data_max_prompt_tokens = 2000;
    f.config.data_max_tokens = 3000;
    px_synth synth = {.out_dir = data, .n_users = 3, .seed = 5, .taste = 10};
    px_prepare job = {.data_dir = data, .model_path = f.model_path, .out_path = f.corpus_path};
    px_assert_ok(px_model_init_random(f.model_path, "tiny", 1, 0));
    px_assert_ok(px_synth_write(&synth));
    px_assert_ok(px_prepare_all(&f.ranks, &f.config, &job));
    px_assert_ok(px_corpus_open(f.corpus_path, &f.corpus));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    px_corpus_close(f.corpus);
    px_config_fini(&f.config);
    px_assert_ok(px_dir_remove(f.dir));
    return 0;
}

static void slots_hold_every_unit_once(void **state) {
    (void)state;
    static const int64_t sizes[] = {700, 3000, 1, 1300, 1348, 2048, 48, 0};
    int slot_of[8], n = 0;
    px_assert_ok(px_slots_cut(sizes, 8, 2048, slot_of, &n));
    int64_t room[8] = {0}, units[8] = {0};
    for (int i = 0; i < 8; i++) {
        assert_in_range(slot_of[i], 0, n - 1);
        room[slot_of[i]] += sizes[i];
        units[slot_of[i]]++;
    }
    for (int s = 0; s < n; s++) assert_true(units[s] > 0 && (room[s] <= 2048 || units[s] <= 2));
    assert_int_equal(slot_of[0], slot_of[4]); /* 1348 + 700 = 2048: full to the brim */
    assert_int_equal(n, 4);
    px_assert_ok(px_slots_cut(sizes, 0, 2048, slot_of, &n));
    assert_int_equal(n, 0);
}

typedef struct {
    px_stream *stream;
    px_model *model;
    px_params *params;
} loaded;

static void load(loaded *out, int threads) {
    px_source *source = NULL;
    px_assert_ok(px_source_open(f.model_path, &source));
    px_assert_ok(px_stream_open("cpu", threads, &out->stream));
    px_assert_ok(px_model_new(out->stream, source, &f.config, PX_MODEL_LORA, &out->model));
    px_assert_ok(px_params_new(&f.config, px_source_shape(source), 4, &out->params));
    px_assert_ok(px_params_init(out->params, &f.config, source));
    px_rng rng = {9, PX_RNG_TEST}; /* adapters that do something, people who differ */
    for (size_t i = 0; i < out->params->n; i++)
        out->params->values[i] += (float)(0.05 * px_rng_normal(rng, 0, i));
    px_source_close(source);
}

static void unload(loaded *l) {
    px_params_free(l->params);
    px_model_free(l->model);
    px_stream_close(l->stream);
}

/* Scores pairs in the given order. */
static void score(const loaded *l, bool base, const int32_t *pairs, const int32_t *users,
                  double *logps) {
    px_scorer scorer = {.ranks = &f.ranks,
                        .config = &f.config,
                        .corpus = f.corpus,
                        .model = l->model,
                        .params = base ? NULL : l->params};
    px_assert_ok(px_score_all(&scorer, pairs, users, f.corpus->n_pairs, "test", logps));
}

static void a_tree_scores_as_its_pairs_alone(void **state) {
    (void)state;
    int32_t n = f.corpus->n_pairs, *in_order = malloc((size_t)n * 4),
            *users = malloc((size_t)n * 4), *alone = malloc((size_t)n * 4),
            *users_alone = malloc((size_t)n * 4);
    double *trees = malloc((size_t)n * 16), *single = malloc((size_t)n * 16),
           *two = malloc((size_t)n * 16);
    loaded l, l2;
    load(&l, 1);
    load(&l2, 2);
    assert_true(n > 20);
    for (int32_t i = 0; i < n; i++) in_order[i] = i, users[i] = 1 + f.corpus->pairs[i].conv % 3;
    /* First and last pair in turn: no two neighbours of one conversation, so every unit has one
     * pair. */
    for (int32_t i = 0; i < n; i++) {
        alone[i] = i % 2 ? n - 1 - i / 2 : i / 2;
        users_alone[i] = users[alone[i]];
    }
    for (int base = 0; base < 2; base++) {
        if (base)
            for (int32_t i = 0; i < n; i++) users[i] = users_alone[i] = -1;
        f.config.batch_slot_tokens = 2048;
        score(&l, base, in_order, users, trees);
        score(&l2, base, in_order, users, two);
        assert_memory_equal(trees, two, (size_t)n * 16); /* threads */
        f.config.batch_slot_tokens = 1;                  /* every unit in a slot of its own */
        score(&l, base, in_order, users, two);
        assert_memory_equal(trees, two, (size_t)n * 16);
        f.config.batch_slot_tokens = 2048;
        score(&l, base, alone, users_alone, single);
        for (int32_t i = 0; i < n; i++)
            for (int side = 0; side < 2; side++)
                px_assert_near(single[2 * i + side], trees[2 * alone[i] + side], 1e-5);
    }
    unload(&l);
    unload(&l2);
    free(in_order), free(users), free(alone), free(users_alone), free(trees), free(single),
        free(two);
}

static void people_change_what_is_scored(void **state) {
    (void)state;
    int32_t n = f.corpus->n_pairs, *pairs = malloc((size_t)n * 4), *users = malloc((size_t)n * 4);
    double *a = malloc((size_t)n * 16), *b = malloc((size_t)n * 16);
    loaded l;
    load(&l, 1);
    for (int32_t i = 0; i < n; i++) pairs[i] = i, users[i] = 1;
    score(&l, false, pairs, users, a);
    for (int32_t i = 0; i < n; i++) users[i] = 2;
    score(&l, false, pairs, users, b);
    for (int32_t i = 0; i < 2 * n; i++) assert_true(isfinite(a[i]) && a[i] < 0 && a[i] != b[i]);
    unload(&l);
    free(pairs), free(users), free(a), free(b);
}

/* Every token's, whatever the order of the pairs and the slots: they add up to the sums, to the
 * bit, and are where token_first says. */
static void tokens_add_up_to_their_sums(void **state) {
    (void)state;
    int32_t n = 12, *pairs = malloc((size_t)n * 4), *users = malloc((size_t)n * 4);
    assert_true(f.corpus->n_pairs >= n);
    int64_t *first = malloc((2 * (size_t)n + 1) * sizeof *first);
    double *sums = malloc((size_t)n * 16), *plain = malloc((size_t)n * 16);
    loaded l;
    load(&l, 1);
    first[0] = 0;
    for (int32_t i = 0; i < n; i++) {
        pairs[i] = i % 3 ? i : n - 1 - i; /* some twice, some never, conversations torn apart */
        users[i] = i % 4;
        first[2 * i + 1] = first[2 * i] + f.corpus->pairs[pairs[i]].chosen_tokens;
        first[2 * i + 2] = first[2 * i + 1] + f.corpus->pairs[pairs[i]].rejected_tokens;
    }
    double *tokens = malloc((size_t)first[2 * n] * sizeof *tokens);
    px_scorer scorer = {.ranks = &f.ranks,
                        .config = &f.config,
                        .corpus = f.corpus,
                        .model = l.model,
                        .params = l.params,
                        .token_first = first,
                        .token_logps = tokens};
    f.config.batch_slot_tokens = 700;
    px_assert_ok(px_score_all(&scorer, pairs, users, n, "test", sums));
    scorer.token_logps = NULL;
    px_assert_ok(px_score_all(&scorer, pairs, users, n, "test", plain));
    f.config.batch_slot_tokens = 2048;
    assert_memory_equal(sums, plain, (size_t)n * 16);
    for (int32_t i = 0; i < 2 * n; i++) {
        double sum = 0;
        for (int64_t k = first[i]; k < first[i + 1]; k++) {
            assert_true(isfinite(tokens[k]) && tokens[k] < 0);
            sum += tokens[k];
        }
        assert_true(sum == sums[i]);
    }
    unload(&l);
    free(pairs), free(users), free(first), free(sums), free(plain), free(tokens);
}

static void the_reference_is_kept_and_checked(void **state) {
    (void)state;
    size_t bytes = (size_t)f.corpus->n_pairs * 16;
    double *first = malloc(bytes), *again = malloc(bytes);
    loaded l;
    load(&l, 1);
    px_scorer base = {.ranks = &f.ranks, .config = &f.config, .corpus = f.corpus, .model = l.model};
    px_reference io = {.weights_sha256 = "w1", .dir = ""},
                 other = {.weights_sha256 = "w2", .dir = ""};
    px_assert_ok(px_reference_all(&base, &io, first));
    assert_false(io.from_cache);
    px_assert_ok(px_reference_all(&base, &io, again));
    assert_true(io.from_cache);
    assert_memory_equal(first, again, bytes);
    px_assert_ok(px_reference_all(&base, &other, again)); /* other weights: another key */
    assert_false(other.from_cache);
    px_bytes file = {0};
    px_assert_ok(px_file_read(io.path, &file));
    file.data[file.size / 2] ^= 0x10; /* damaged: noticed, computed again */
    file.data[file.size - 40] ^= 0x10;
    px_assert_ok(px_file_write(io.path, file.data, file.size - 200));
    px_bytes_free(&file);
    px_assert_ok(px_reference_all(&base, &io, again));
    assert_false(io.from_cache);
    assert_memory_equal(first, again, bytes);
    unload(&l);
    free(first), free(again);
}

static void rewards_are_by_length_where_asked(void **state) {
    (void)state;
    px_config config = {.loss_beta = 0.5};
    const px_pair pair = {.chosen_tokens = 4, .rejected_tokens = 10};
    const double logp[2] = {-8, -30}, reference[2] = {-10, -25};
    double reward[2];
    px_assert_near(px_pair_margin(&config, &pair, logp, reference, reward), 3.5, 1e-15);
    px_assert_near(reward[0], 1, 1e-15);
    px_assert_near(reward[1], -2.5, 1e-15);
    config.train_length_normalised = true;
    px_assert_near(px_pair_margin(&config, &pair, logp, reference, reward), 0.5, 1e-15);
    px_assert_near(reward[0], 0.25, 1e-15);
    px_assert_near(reward[1], -0.25, 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_hold_every_unit_once),
        cmocka_unit_test(a_tree_scores_as_its_pairs_alone),
        cmocka_unit_test(people_change_what_is_scored),
        cmocka_unit_test(tokens_add_up_to_their_sums),
        cmocka_unit_test(the_reference_is_kept_and_checked),
        cmocka_unit_test(rewards_are_by_length_where_asked),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
