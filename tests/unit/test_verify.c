/* test_verify.c - what two runs are compared by: files value by value, metrics line by line,
 * configurations key by key. Whole reruns are in tests/system/verify.sh. */
#include "px_test.h"
#include "verify.h"

static px_diffs diffs;
static const char dir[] = "test_verify.tmp";

static int fresh(void **state) {
    (void)state;
    px_assert_ok(px_dir_remove(dir));
    px_assert_ok(px_dir_make(dir));
    px_assert_ok(px_diffs_new(&diffs));
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_diffs_free(&diffs);
    px_assert_ok(px_dir_remove(dir));
    return 0;
}

enum { ROWS = 7, WIDTH = 5 };
static const char *const people[] = {"", "ann", "bob", "cid"};

typedef struct {
    int n_people;
    const char *const *ids;
    float weights[4][2];
    float a[ROWS * WIDTH], m;
    int64_t seed;
} content;

static content plain(void) {
    content c = {.n_people = 4, .ids = people, .m = 0.5f, .seed = 9};
    for (int i = 0; i < ROWS * WIDTH; i++) c.a[i] = (float)i / 3;
    for (int i = 0; i < 8; i++) c.weights[i / 2][i % 2] = (float)i;
    return c;
}

static void write_checkpoint(const char *path, const content *c) {
    px_h5 *h5 = NULL;
    static const char *const states[] = {"/state/step", "/state/epoch", "/state/position"};
    const int64_t dims[2] = {ROWS, WIDTH}, one = 1, people_dims[2] = {c->n_people, 2}, three = 3;
    px_assert_ok(px_h5_create(path, &h5));
    px_assert_ok(px_h5_write(h5, "/trainable/lora.0.q_proj.A", PX_H5_F32, 2, dims, c->a));
    px_assert_ok(px_h5_write(h5, "/trainable/user.weights", PX_H5_F32, 2, people_dims, c->weights));
    px_assert_ok(px_h5_write(h5, "/optim/m/x", PX_H5_F32, 1, &one, &c->m));
    px_assert_ok(px_h5_write(h5, "/optim/v/x", PX_H5_F32, 1, &one, &c->m));
    px_assert_ok(px_h5_write_texts(h5, "/ids", c->ids, c->n_people));
    for (size_t i = 0; i < PX_COUNT(states); i++)
        px_assert_ok(px_h5_write(h5, states[i], PX_H5_I64, 1, &one, &three));
    px_assert_ok(px_h5_write(h5, "/state/seed", PX_H5_I64, 1, &one, &c->seed));
    px_assert_ok(px_h5_publish(h5));
}

static px_h5_pair pair = {"test_verify.tmp/a.h5", "test_verify.tmp/b.h5", 3, false};

static void compare(const content *a, const content *b) {
    int64_t n = 0;
    write_checkpoint(pair.path_a, a);
    write_checkpoint(pair.path_b, b);
    px_assert_ok(px_diff_files(&pair, &diffs, &n));
    assert_int_equal(n, 4);
}

static void the_same_files_have_no_difference(void **state) {
    (void)state;
    content a = plain();
    a.a[3] = NAN;
    compare(&a, &a);
    assert_int_equal(diffs.n, 0);
}

static void one_bit_of_one_value_is_named(void **state) {
    (void)state;
    content a = plain(), b = plain();
    b.a[17] = nextafterf(b.a[17], 100);
    compare(&a, &b);
    assert_int_equal(diffs.n, 1);
    const px_diff *d = px_diffs_first(&diffs);
    assert_ptr_equal(d, &diffs.items[0]);
    assert_int_equal(d->kind, PX_DIFF_TENSOR);
    assert_string_equal(d->name, "lora.0.q_proj.A");
    assert_true(d->step == 3 && d->n_differ == 1 && d->n_values == ROWS * WIDTH);
    assert_true(d->largest == (double)b.a[17] - (double)a.a[17]);
    assert_non_null(strstr(d->a, "value 17,"));
    px_str text = {0};
    px_diff_text(d, &text);
    assert_non_null(
        strstr(text.data, "step 3, lora.0.q_proj.A: 1 of 35 values differ, by at most "));
    px_str_free(&text);
}

static void moments_signs_of_zero_and_seeds_count(void **state) {
    (void)state;
    content a = plain(), b = plain();
    b.a[0] = -0.0f;
    b.m = INFINITY;
    b.seed = 10;
    compare(&a, &b);
    assert_int_equal(diffs.n, 4); /* A, m, v, seed */
    assert_int_equal(px_diffs_counting(&diffs), 4);
    assert_string_equal(diffs.items[1].name, "optim/m/x");
    assert_true(isinf(diffs.items[1].largest));
    assert_string_equal(diffs.items[3].name, "state/seed");
}

/* People who were removed: the others' rows are found by id. */
static void rows_are_matched_by_id(void **state) {
    (void)state;
    static const char *const fewer[] = {"", "bob", "cid"};
    content a = plain(), b = plain();
    a.n_people = 3;
    a.ids = fewer;
    memcpy(a.weights[1], b.weights[2], sizeof a.weights[1]);
    memcpy(a.weights[2], b.weights[3], sizeof a.weights[2]);
    pair.fewer_people = true;
    compare(&a, &b);
    assert_int_equal(diffs.n, 0);
    a.weights[2][1] += 1;
    compare(&a, &b);
    assert_int_equal(diffs.n, 1);
    assert_string_equal(diffs.items[0].name, "user.weights");
    pair.fewer_people = false;
    compare(&b, &b);
    assert_int_equal(diffs.n, 1);
}

static void a_file_that_cannot_be_read_is_a_difference(void **state) {
    (void)state;
    content a = plain();
    int64_t n = 0;
    write_checkpoint(pair.path_a, &a);
    px_assert_ok(px_file_write(pair.path_b, "no HDF5", 7));
    px_assert_ok(px_diff_files(&pair, &diffs, &n));
    assert_true(diffs.n == 1 && diffs.items[0].kind == PX_DIFF_FILE && diffs.items[0].counts);
}

/* --- metrics --- */
static int64_t metrics(const char *a, const char *b, int64_t first, int64_t last) {
    int64_t n = 0;
    px_assert_ok(px_file_write("test_verify.tmp/a.jsonl", a, strlen(a)));
    px_assert_ok(px_file_write("test_verify.tmp/b.jsonl", b, strlen(b)));
    px_assert_ok(px_diff_metrics("test_verify.tmp/a.jsonl", "test_verify.tmp/b.jsonl", first, last,
                                 &diffs, &n));
    return n;
}

static const char good[] = "{\"step\": 1, \"loss\": 0.7, \"step_time_s\": 1}\n"
                           "{\"step\": 2, \"loss\": 0.6, \"step_time_s\": 2}\n";

static void times_and_a_cut_line_do_not_count(void **state) {
    (void)state;
    assert_int_equal(metrics(good,
                             "{\"step\": 1, \"loss\": 0.7, \"step_time_s\": 9, \"eval_loss\": 1}\n"
                             "{\"step\": 2, \"loss\": 0.6}\n{\"step\": 3, \"lo",
                             1, 9),
                     2);
    assert_int_equal(diffs.n, 0);
    int64_t last = 0;
    px_assert_ok(px_metrics_last_step("test_verify.tmp/b.jsonl", &last));
    assert_int_equal(last, 2);
    px_assert_ok(px_metrics_last_step("test_verify.tmp/none.jsonl", &last));
    assert_int_equal(last, 0);
}

static void the_first_step_that_differs_is_named(void **state) {
    (void)state;
    metrics(good, "{\"step\": 1, \"loss\": 0.70000000000000007}\n{\"step\": 2, \"loss\": 0.5}\n", 1,
            9);
    assert_int_equal(diffs.n, 1);
    assert_true(diffs.items[0].step == 1 && !strcmp(diffs.items[0].name, "loss"));
    assert_string_equal(diffs.items[0].a, "0.7");
    assert_string_equal(diffs.items[0].b, "0.7000000000000001");
}

static void only_the_steps_asked_for_are_read(void **state) {
    (void)state;
    static const char other[] = "{\"step\": 1, \"loss\": 9}\n{\"step\": 2, \"loss\": 0.6}\n"
                                "{\"step\": 3, \"loss\": 9}\n";
    assert_int_equal(metrics(good, other, 2, 2), 1);
    assert_int_equal(diffs.n, 0);
    metrics(good, other, 2, 3); /* a line too many */
    assert_int_equal(diffs.n, 1);
    assert_string_equal(diffs.items[0].name, "metrics.jsonl");
    metrics("{\"step\": 1, \"loss\": 1}\n{\"step\": 1, \"loss\": 1}\n",
            "{\"step\": 1, \"loss\": 1}\n", 1, 9);
    assert_int_equal(diffs.n, 2); /* a step twice */
}

/* --- configurations --- */
static void keys_of_results_count_and_others_do_not(void **state) {
    (void)state;
    cJSON *a = cJSON_Parse("{\"seed\": 1, \"threads\": 2, \"optim\": {\"lr\": 0.1}}");
    cJSON *b = cJSON_Parse("{\"seed\": 2, \"threads\": 4, \"optim\": {\"lr\": 0.1, \"eps\": 1}}");
    px_assert_ok(px_diff_configs(a, b, &diffs));
    assert_int_equal(diffs.n, 3);
    assert_int_equal(px_diffs_counting(&diffs), 2);
    assert_string_equal(diffs.items[1].name, "threads");
    assert_string_equal(diffs.items[2].name, "optim.eps");
    assert_string_equal(diffs.items[2].a, "nothing");
    cJSON *json = NULL;
    px_assert_ok(px_diffs_json(&diffs, &json));
    assert_int_equal(cJSON_GetArraySize(json), 3);
    cJSON_Delete(json);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

/* Step, then metric before tensor; users.h5 last. */
static void the_earliest_is_first(void **state) {
    (void)state;
    static const px_diff added[] = {
        {.kind = PX_DIFF_TENSOR, .step = -1, .name = "users.h5 weights", .n_values = 1},
        {.kind = PX_DIFF_TENSOR, .step = 4, .name = "t4", .n_values = 1},
        {.kind = PX_DIFF_TENSOR, .step = 3, .name = "t3", .n_values = 1},
        {.kind = PX_DIFF_METRIC, .step = 3, .name = "loss"},
        {.kind = PX_DIFF_CONFIG, .step = -1, .name = "seed"}};
    static const char *const want[] = {"users.h5 weights", "t4", "t3", "loss", "loss"};
    assert_null(px_diffs_first(&diffs));
    for (size_t i = 0; i < PX_COUNT(added); i++) {
        px_assert_ok(px_diffs_add(&diffs, added[i]));
        assert_string_equal(px_diffs_first(&diffs)->name, want[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_files_have_no_difference, fresh, gone),
        cmocka_unit_test_setup_teardown(one_bit_of_one_value_is_named, fresh, gone),
        cmocka_unit_test_setup_teardown(moments_signs_of_zero_and_seeds_count, fresh, gone),
        cmocka_unit_test_setup_teardown(rows_are_matched_by_id, fresh, gone),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_is_a_difference, fresh, gone),
        cmocka_unit_test_setup_teardown(times_and_a_cut_line_do_not_count, fresh, gone),
        cmocka_unit_test_setup_teardown(the_first_step_that_differs_is_named, fresh, gone),
        cmocka_unit_test_setup_teardown(only_the_steps_asked_for_are_read, fresh, gone),
        cmocka_unit_test_setup_teardown(keys_of_results_count_and_others_do_not, fresh, gone),
        cmocka_unit_test_setup_teardown(the_earliest_is_first, fresh, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
