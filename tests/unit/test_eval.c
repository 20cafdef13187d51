/* test_eval.c - derangement, intervals, rank correlation, tokens of responses, another evaluation
 * of the same pairs. Figures by numpy and scipy where said. */
#include "eval.h"
#include "files.h"
#include "px_test.h"

static px_ranks ranks = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};

static void everybody_gets_another_persons_row(void **state) {
    (void)state;
    for (int32_t n = 1; n < 40; n++) {
        int32_t other[40], seen[40] = {0};
        px_assert_ok(px_other_rows(5, n, other));
        assert_int_equal(other[0], 0);
        for (int32_t r = 1; r < n; r++) {
            assert_in_range(other[r], 1, n - 1);
            if (n > 2) assert_int_not_equal(other[r], r);
            seen[other[r]]++;
        }
        for (int32_t r = 1; r < n; r++) assert_int_equal(seen[r], 1);
    }
}

static px_person_sums person(double n, double own, double generic, double other) {
    px_person_sums p = {
        .n = n, .right = {own, generic, other}, .margin = {2 * own, generic, other}};
    return p;
}

static void estimates_pool_pairs_and_resample_people(void **state) {
    (void)state;
    px_person_sums people[50];
    for (int i = 0; i < 50; i++) people[i] = person(10, 7, 5, i % 2 ? 4 : 6);
    px_eval_row row = {0}, again = {0};
    px_assert_ok(px_eval_estimate(people, 50, 500, 1, &row));
    px_assert_near(row.accuracy[PX_OWN].value, 0.7, 1e-12);
    px_assert_near(row.accuracy[PX_OWN].low, 0.7, 1e-12); /* everybody alike: no spread */
    px_assert_near(row.accuracy[PX_OWN].high, 0.7, 1e-12);
    px_assert_near(row.margin[PX_OWN].value, 1.4, 1e-12);
    px_assert_near(row.delta_own.value, 0.2, 1e-12);
    px_assert_near(row.delta_swap.value, 0.2, 1e-12);
    /* Other's accuracy is 0.4 or 0.6 by person: its mean has a standard error of 0.1 / sqrt(50). */
    double half = 1.96 * 0.1 / sqrt(50);
    assert_true(fabs(row.delta_swap.high - 0.2 - half) < 0.35 * half);
    assert_true(fabs(0.2 - row.delta_swap.low - half) < 0.35 * half);
    px_assert_ok(px_eval_estimate(people, 50, 500, 1, &again));
    assert_true(again.delta_swap.low == row.delta_swap.low);
    px_assert_ok(px_eval_estimate(people, 0, 500, 1, &row));
    assert_true(isnan(row.accuracy[0].value) && isnan(row.accuracy[0].low));
}

static void estimates_hold_the_other_reward_and_the_other_run(void **state) {
    (void)state;
    px_person_sums people[2] = {
        {.n = 4, .right = {4, 2, 1}, .won = 2.5, .right_against = 1},
        {.n = 6, .right = {2, 3, 4}, .won = 0.5, .right_against = 3},
    };
    for (int i = 0; i < 2; i++)
        for (int w = 0; w < PX_N_WHO; w++) {
            people[i].right_per_token[w] = i + w;
            people[i].margin_per_token[w] = 10 * i - w;
        }
    px_eval_row row = {0};
    px_assert_ok(px_eval_estimate(people, 2, 200, 3, &row));
    px_assert_near(row.win_rate.value, 0.3, 1e-12);
    px_assert_near(row.win_rate.low, 0.5 / 6, 1e-12); /* the second person twice */
    px_assert_near(row.win_rate.high, 2.5 / 4, 1e-12);
    px_assert_near(row.delta_against.value, 0.2, 1e-12);
    px_assert_near(row.delta_against.low, -1.0 / 6, 1e-12);
    px_assert_near(row.delta_against.high, 0.75, 1e-12);
    for (int w = 0; w < PX_N_WHO; w++) {
        px_assert_near(row.accuracy_per_token[w].value, (1 + 2 * w) / 10.0, 1e-12);
        px_assert_near(row.margin_per_token[w].value, (10 - 2 * w) / 10.0, 1e-12);
        px_assert_near(row.margin_per_token[w].low, -w / 4.0, 1e-12);
        px_assert_near(row.accuracy[w].value, (6 - (w > 0)) / 10.0, 1e-12);
    }
}

/* --- on the golden PRISM folder --- */
typedef struct {
    char *dir, *corpus_path, *other_path;
    px_config config;
    px_corpus *corpus;
    px_arena *arena;
    px_eval_result result;
} fixture;

static fixture fixture_new(void) {
    fixture f = {.dir = temp_folder()};
    f.corpus_path = px_path_join(f.dir, "c.h5");
    f.other_path = px_path_join(f.dir, "other.h5");
    px_prepare job = {GOLDEN("prism"), GOLDEN("prism/model"), f.corpus_path, false};
    px_assert_ok(px_config_init(&f.config));
    f.config.data_max_prompt_tokens = 110;
    f.config.data_max_tokens = 150;
    px_assert_ok(px_prepare_all(&ranks, &f.config, &job));
    px_assert_ok(px_corpus_open(f.corpus_path, &f.corpus));
    px_assert_ok(px_arena_new(65536, &f.arena));
    int32_t n = f.corpus->n_pairs, *pairs = px_take(f.arena, int32_t, n);
    for (int32_t i = 0; i < n; i++) pairs[i] = i;
    f.result = (px_eval_result){.n = n, .pairs = pairs, .beta = 0.5};
    return f;
}

static void fixture_free(fixture *f) {
    px_arena_free(f->arena);
    px_corpus_close(f->corpus);
    px_config_fini(&f->config);
    free(f->corpus_path);
    free(f->other_path);
    temp_folder_end(f->dir);
}

/* The ids behind the prompt's in a cell of pairs.tsv, "0 295 …". */
static void assert_response(char *cell, int64_t prompt, const int32_t *ids, int64_t n) {
    int64_t k = -prompt;
    for (char *id; (id = strsep(&cell, " ")); k++)
        if (k >= 0 && (k >= n || ids[k] != strtol(id, NULL, 10)))
            fail_msg("id %d is not %s", (int)k, id);
    assert_int_equal(k, n);
}

static void tokens_are_the_responses(void **state) {
    (void)state;
    fixture f = fixture_new();
    px_bytes golden = {0};
    const int64_t *first = NULL;
    const int32_t *ids = NULL;
    px_assert_ok(px_eval_token_first(f.corpus, &f.result, f.arena, &first));
    f.result.tokens.first = first;
    px_assert_ok(px_eval_token_ids(f.corpus, &f.result, f.arena, &ids));
    px_assert_ok(px_file_read(GOLDEN("prism/pairs.tsv"), &golden));
    int32_t i = 0;
    for (char *line = golden.data, *end; *line; line = end + 1, i++) {
        char *cells[10], *next = line;
        assert_non_null(end = strchr(line, '\n'));
        *end = 0;
        for (int c = 0; c < 10; c++) cells[c] = strsep(&next, "\t");
        assert_true(i < f.result.n && cells[9]);
        for (int s = 0; s < 2; s++)
            assert_response(cells[8 + s], strtol(cells[7], NULL, 10), ids + first[2 * i + s],
                            first[2 * i + s + 1] - first[2 * i + s]);
    }
    assert_int_equal(i, f.result.n);
    px_bytes_free(&golden);
    fixture_free(&f);
}

/* What another evaluation may have got otherwise. */
typedef struct {
    const char *corpus_sha256, *summary;
    int32_t n, index, turn, chosen_id, rejected_id, conv; /* added to the middle pair's */
    double margin;
} slip_kind;

static void write_other(const fixture *f, const slip_kind *slip) {
    int64_t n = f->result.n + slip->n, middle = n / 2;
    int32_t *columns[4];
    double *margin = px_take(f->arena, double, n);
    const char **convs = px_take(f->arena, const char *, n);
    px_h5 *h5 = NULL;
    static const char *const names[] = {"/pairs/index", "/pairs/turn", "/pairs/chosen_id",
                                        "/pairs/rejected_id"};
    for (int k = 0; k < 4; k++) columns[k] = px_take(f->arena, int32_t, n);
    for (int64_t i = 0; i < n; i++) {
        bool here = i == middle;
        const px_pair *pair = &f->corpus->pairs[i];
        convs[i] = here && slip->conv ? "c-another" : f->corpus->convs[pair->conv].id;
        columns[0][i] = (int32_t)i + (here ? slip->index : 0);
        columns[1][i] = pair->turn + (here ? slip->turn : 0);
        columns[2][i] = pair->chosen_id + (here ? slip->chosen_id : 0);
        columns[3][i] = pair->rejected_id + (here ? slip->rejected_id : 0);
        margin[i] = (double)i / 8 + (here ? slip->margin : 0);
    }
    px_assert_ok(px_h5_create(f->other_path, &h5));
    px_assert_ok(px_h5_write_texts(h5, "/pairs/conversation_id", convs, n));
    for (int k = 0; k < 4; k++)
        px_assert_ok(px_h5_write(h5, names[k], PX_H5_I32, 1, &n, columns[k]));
    px_assert_ok(px_h5_write(h5, "/margins/own", PX_H5_F64, 1, &n, margin));
    px_assert_ok(px_h5_write_attr_text(
        h5, "/", "corpus_sha256", slip->corpus_sha256 ? slip->corpus_sha256 : f->corpus->sha256));
    px_assert_ok(px_h5_write_attr_text(h5, "/", "summary",
                                       slip->summary ? slip->summary : "{\"beta\": 0.25}"));
    px_assert_ok(px_h5_publish(h5));
}

static void another_evaluation_must_be_of_the_same_pairs(void **state) {
    (void)state;
    fixture f = fixture_new();
    px_against got;
    static const struct {
        slip_kind slip;
        const char *message;
    } wrong[] = {
        {{.corpus_sha256 = "0123"}, "another corpus (SHA-256 0123"},
        {{.n = -1}, "the same --split is wanted"},
        {{.index = 1}, "/pairs/index"},
        {{.turn = 1}, "/pairs/turn"},
        {{.chosen_id = 1}, "/pairs/chosen_id"},
        {{.rejected_id = 1}, "/pairs/rejected_id"},
        {{.conv = 1}, "of another conversation"},
        {{.margin = NAN}, "not a finite number"},
        {{.summary = "{\"beta\": 0.5, \"length_normalised\": true}"}, "train.length_normalised"},
        {{.summary = "nothing"}, "its summary"},
    };
    write_other(&f, &(slip_kind){0});
    px_assert_ok(px_against_read(f.other_path, f.corpus, &f.result, f.arena, &got));
    for (int32_t i = 0; i < f.result.n; i++) assert_true(got.margin[i] == i / 8.0);
    assert_true(got.beta == 0.25);
    for (size_t k = 0; k < PX_COUNT(wrong); k++) {
        write_other(&f, &wrong[k].slip);
        px_assert_error(px_against_read(f.other_path, f.corpus, &f.result, f.arena, &got),
                        PX_BAD_INPUT, wrong[k].message);
    }
    px_assert_error(px_against_read(f.corpus_path, f.corpus, &f.result, f.arena, &got),
                    PX_BAD_INPUT, "not a file that `prismx eval` wrote");
    px_assert_error(px_against_read(GOLDEN("prism.py"), f.corpus, &f.result, f.arena, &got),
                    PX_BAD_INPUT, "--against");
    fixture_free(&f);
}

static void spearman_handles_ties(void **state) {
    (void)state;
    static const double x[] = {1, 2, 2, 4, 5, 6, 7}, y[] = {3, 1, 4, 4, 9, 2, 6};
    double r = 0;
    px_assert_ok(px_spearman(x, y, 7, &r));
    px_assert_near(r, 0.4272727272727273, 1e-12); /* scipy.stats.spearmanr */
    px_assert_ok(px_spearman(x, x, 7, &r));
    px_assert_near(r, 1, 1e-12);
    static const double flat[] = {1, 1, 1};
    px_assert_ok(px_spearman(flat, x, 3, &r));
    assert_true(isnan(r));
    px_assert_ok(px_spearman(x, y, 1, &r));
    assert_true(isnan(r));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_gets_another_persons_row),
        cmocka_unit_test(estimates_pool_pairs_and_resample_people),
        cmocka_unit_test(estimates_hold_the_other_reward_and_the_other_run),
        cmocka_unit_test(tokens_are_the_responses),
        cmocka_unit_test(another_evaluation_must_be_of_the_same_pairs),
        cmocka_unit_test(spearman_handles_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
