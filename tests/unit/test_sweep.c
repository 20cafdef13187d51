/* test_sweep.c - sweep files: points in their order, trainings that are the same, what is shared,
 * names that outlive a sweep's growth, refusals; the figures of a table. */
#include "files.h"

#include "report.h"
#include "sweep.h"

static char *folder;
static px_sweep sweep;

static void put(const char *path, const char *text) {
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *at = copy; *at; at++)
        if (*at == '\'') *at = '"';
    px_assert_ok(px_file_write(path, copy, strlen(copy)));
    free(copy);
}

static int fresh(void **state) {
    (void)state;
    folder = temp_folder();
    assert_int_equal(chdir(folder), 0);
    put("corpus.h5", "corpus");
    put("model.gguf", "model");
    put("c.json", "{'user.model': 'bank', 'optim.warmup_steps': 0} // a base");
    px_assert_ok(px_dir_make("data"));
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_sweep_free(&sweep);
    assert_int_equal(chdir("/"), 0);
    temp_folder_end(folder);
    return 0;
}

static px_err *take(const char *text) {
    put("s.json", text);
    px_sweep_free(&sweep);
    return px_sweep_read("s.json", NULL, &sweep);
}

#define BASE "'base': {'config': 'c.json', 'corpus': 'corpus.h5', 'model': 'model.gguf'}"

static const char *training(int point) {
    return sweep.job.steps[sweep.units[sweep.points[point].unit].train].name;
}

static int steps_of(const char *command) {
    int n = 0;
    for (int i = 0; i < sweep.job.n_steps; i++) n += !strcmp(sweep.job.steps[i].command, command);
    return n;
}

static void a_grid_has_every_combination_the_last_key_fastest(void **state) {
    (void)state;
    px_assert_ok(take("{" BASE ", 'grid': {'loss.alpha': [0.25, 0.75], 'user.tokens': [1, 2, 3]}, "
                      "'parallel': 4}"));
    assert_int_equal(sweep.n_points, 6);
    assert_int_equal(sweep.n_keys, 2);
    assert_int_equal(sweep.parallel, 4);
    assert_int_equal(px_sweep_n(&sweep), 6);
    assert_string_equal(sweep.points[1].values[0], "0.25");
    assert_string_equal(sweep.points[1].values[1], "2");
    assert_string_equal(sweep.points[3].values[0], "0.75");
    assert_string_equal(sweep.points[3].values[1], "1");
    assert_int_equal(steps_of("reference"), 1);
    assert_int_equal(steps_of("train"), 6);
    assert_int_equal(steps_of("eval"), 6);
    assert_int_equal(steps_of("prepare"), 0);
}

static void points_show_what_they_do_not_set(void **state) {
    (void)state;
    px_assert_ok(take("{" BASE ", 'points': [{'optim': {'lr': 0.5}}, {'user.tokens': 3}, {}]}"));
    assert_int_equal(sweep.n_keys, 2);
    assert_string_equal(sweep.points[0].values[0], "0.5");
    assert_string_equal(sweep.points[0].values[1], "10");
    assert_string_equal(sweep.points[2].values[0], "5e-05");
    assert_int_equal(sweep.n_units, 3);
}

static void the_same_training_is_done_once(void **state) {
    (void)state;
    /* Soft tokens and alpha mean nothing to a pooled model, threads nothing to anybody. */
    px_assert_ok(take("{" BASE ", 'grid': {'user.model': ['none', 'bank'], 'user.tokens': [1, 2], "
                      "'threads': [1, 2]}}"));
    assert_int_equal(sweep.n_points, 8);
    assert_int_equal(sweep.n_units, 3);
    for (int i = 1; i < 4; i++) assert_string_equal(training(i), training(0));
    assert_string_equal(training(4), training(5));
    assert_string_not_equal(training(4), training(6));
}

static void a_training_keeps_its_name(void **state) {
    (void)state;
    char before[64];
    px_assert_ok(take("{" BASE ", 'grid': {'loss.alpha': [0.25, 0.75]}}"));
    snprintf(before, sizeof before, "%s", training(1));
    px_assert_ok(take("{" BASE ", 'points': [{'loss.beta': 0.1}, {'loss.alpha': 0.75, 'loss.beta': "
                      "0.5}]}")); /* 0.5 is the default */
    assert_string_equal(training(1), before);
    put("c.json", "{'user': {'model': 'bank'}, 'optim': {'warmup_steps': 0}, 'loss.alpha': 0.75}");
    px_assert_ok(take("{" BASE ", 'grid': {'loss.beta': [0.5]}}"));
    assert_string_equal(training(0), before);
}

static void what_hangs_on_a_varied_key_is_made_for_each_way(void **state) {
    (void)state;
    px_assert_ok(take("{" BASE ", 'grid': {'precision': ['f32', 'bf16'], 'seed': [1, 2]}}"));
    assert_int_equal(steps_of("reference"), 2);
    assert_int_equal(steps_of("train"), 4);
    px_assert_ok(
        take("{'base': {'data': 'data', 'model': 'model.gguf', 'config': 'c.json'}, 'grid': "
             "{'data.min_margin': [0, 5], 'seed': [1, 2]}}"));
    assert_int_equal(steps_of("prepare"), 2);
    assert_int_equal(steps_of("reference"), 2);
    px_assert_ok(
        take("{'base': {'data': 'data', 'model': 'model.gguf', 'config': 'c.json'}, 'grid': "
             "{'seed': [1, 2]}}"));
    assert_int_equal(steps_of("prepare"), 1);
}

static void a_base_may_be_a_file(void **state) {
    (void)state;
    px_assert_ok(
        take("{'base': 'c.json', 'corpus': 'corpus.h5', 'model': 'model.gguf', 'ranks': 3, "
             "'grid': {'seed': [1]}}"));
    assert_int_equal(sweep.job.steps[sweep.units[0].train].ranks, 3);
    put("j.json",
        "{'ranks': 2, 'steps': {"
        "'c': {'command': 'prepare', 'data': 'data', 'model': 'model.gguf', 'out': 'c.h5'},"
        "'r': {'command': 'reference', 'corpus': 'c.h5', 'model': 'model.gguf'},"
        "'t': {'command': 'train', 'needs': ['r'], 'config': 'c.json', 'corpus': 'c.h5', "
        "'model': 'model.gguf', 'out': 't', 'set': {'seed': 5}, 'time': '1:00:00'},"
        "'e': {'command': 'eval', 'run': 't', 'corpus': 'c.h5', 'out': 'e.h5'}}}");
    px_assert_ok(take("{'base': 'j.json', 'grid': {'loss.alpha': [0, 1]}}"));
    assert_int_equal(steps_of("prepare"), 1);
    assert_int_equal(steps_of("reference"), 1);
    assert_int_equal(steps_of("train"), 2);
    assert_int_equal(steps_of("eval"), 2);
    const px_job_step *train = &sweep.job.steps[sweep.units[0].train];
    assert_string_equal(train->time, "1:00:00");
    assert_int_equal(train->ranks, 2);
    assert_int_equal(train->n_needs, 2);
}

static void wrong_sweeps_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"[]", "an object is wanted"},
        {"{'gird': {}}", "did you mean \"grid\"?"},
        {"{" BASE "}", "\"grid\" or \"points\" is wanted"},
        {"{" BASE ", 'grid': {}, 'points': []}", "\"grid\" or \"points\" is wanted"},
        {"{" BASE ", 'grid': {}}", "\"grid\" is empty"},
        {"{" BASE ", 'grid': {'seed': 3}}", "grid, seed: is a number"},
        {"{" BASE ", 'points': [3]}", "points holds a number"},
        {"{" BASE ", 'grid': {'loss.alhpa': [1]}}", "did you mean"},
        {"{" BASE ", 'grid': {'loss.alpha': [1, 7]}}", "point 2"},
        {"{" BASE ", 'grid': {'data.max_tokens': [9]}}", "give \"data\" in its place"},
        {"{'base': {'model': 'm', 'corpsu': 'x'}, 'grid': {'seed': [1]}}",
         "did you mean \"corpus\"?"},
        {"{'base': {'model': 'model.gguf'}, 'grid': {'seed': [1]}}", "\"corpus\" is missing"},
        {"{'base': {'corpus': 'corpus.h5'}, 'grid': {'seed': [1]}}", "\"model\" is missing"},
        {"{'base': 'none.json', 'grid': {'seed': [1]}}", "none.json is not there"},
        {"{'name': '..', " BASE ", 'grid': {'seed': [1]}}", "a folder's name"},
        {"{" BASE ", 'parallel': -1, 'grid': {'seed': [1]}}", "parallel"},
        {"{'base': {'corpus': 'none.h5', 'model': 'model.gguf', 'config': 'c.json'}, 'grid': "
         "{'seed': [1]}}",
         "no step makes none.h5"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        px_assert_error(take(cases[i].text), PX_BAD_INPUT, cases[i].part);
    px_assert_error(px_sweep_open("data", NULL, &sweep), PX_BAD_INPUT, "sweep.json is missing");
    assert_false(px_sweep_is("data"));
}

static void a_folder_is_a_sweep_again(void **state) {
    (void)state;
    px_sweep again;
    px_str one = {0}, two = {0};
    px_job_given given = {.ranks = 7};
    px_assert_ok(take("{" BASE ", 'grid': {'user.model': ['none', 'bank'], 'user.tokens': [1, 2]}, "
                      "'parallel': 5}"));
    px_assert_ok(px_sweep_make(&sweep));
    assert_true(px_sweep_is("runs/s"));
    px_assert_ok(px_sweep_read("runs/s", &given, &again));
    assert_int_equal(again.n_points, 4);
    assert_int_equal(px_sweep_n(&again), 3);
    assert_int_equal(again.parallel, 5);
    assert_int_equal(again.job.steps[again.units[0].train].ranks, 7);
    px_assert_ok(px_sweep_table(&sweep, &one));
    px_assert_ok(px_sweep_table(&again, &two));
    assert_string_equal(one.data, two.data);
    px_str_free(&one);
    px_str_free(&two);
    px_sweep_free(&again);
}

static void a_table_of_nothing_is_na(void **state) {
    (void)state;
    px_str text = {0};
    px_assert_ok(take("{" BASE ", 'grid': {'user.model': ['bank', 'none']}}"));
    px_assert_ok(px_sweep_table(&sweep, &text));
    const char *row = strchr(text.data, '\n') + 1;
    assert_true(!strncmp(row, "bank\tNA\tNA\tNA\tNA\t", 17));
    assert_non_null(strstr(row, "\ttrain never\tpoints/"));
    px_str_free(&text);
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static void figures_mark_what_no_other_beats(void **state) {
    (void)state;
    static const char tsv[] =
        "loss.alpha\tuser.tokens\tacc_seen_own\tacc_unseen_generic\tdelta_own\t"
        "delta_swap\tstate\n"
        "0\t1\t0.5\t0.7\t0\t0\tdone\n"
        "0\t<2>\t0.6\t0.6\t0\t0\tdone\n"
        "1\t1\t0.5\t0.5\t0\t0\tdone\n"
        "1\t<2>\tNA\tNA\tNA\tNA\ttrain failed\n";
    px_report_sweep shown = {.name = "a & b", .tsv = tsv, .n_keys = 2};
    px_bytes text = {0};
    px_assert_ok(px_report_sweep_make(&shown, "p.html"));
    px_assert_ok(px_file_read("p.html", &text));
    assert_non_null(strstr(text.data, "a &amp; b"));
    assert_null(strstr(text.data, "<2>"));
    assert_non_null(strstr(text.data, "4 points, 3 of them done"));
    /* Two points are unbeaten: in the trade-off and in each of three heat maps. */
    assert_int_equal(count(text.data, "class=\"s1 dot\""), 2 + 3 * 2);
    assert_int_equal(count(text.data, "<svg"), 4);
    px_bytes_free(&text);
    px_assert_ok(px_report_sweep_make(&shown, "p.svg"));
    px_assert_ok(px_file_read("p.svg", &text));
    assert_int_equal(count(text.data, "<svg"), 5);
    assert_int_equal(count(text.data, "</svg>"), 5);
    px_bytes_free(&text);
    px_assert_error(px_report_sweep_make(&shown, "p.pdf"), PX_BAD_INPUT, ".html or .svg");
    /* Nothing but a head, or less. */
    shown.tsv = "loss.alpha\tuser.tokens\tstate\n";
    px_assert_ok(px_report_sweep_make(&shown, "p.html"));
    shown.tsv = "";
    px_assert_ok(px_report_sweep_make(&shown, "p.svg"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_grid_has_every_combination_the_last_key_fastest, fresh,
                                        gone),
        cmocka_unit_test_setup_teardown(points_show_what_they_do_not_set, fresh, gone),
        cmocka_unit_test_setup_teardown(the_same_training_is_done_once, fresh, gone),
        cmocka_unit_test_setup_teardown(a_training_keeps_its_name, fresh, gone),
        cmocka_unit_test_setup_teardown(what_hangs_on_a_varied_key_is_made_for_each_way, fresh,
                                        gone),
        cmocka_unit_test_setup_teardown(a_base_may_be_a_file, fresh, gone),
        cmocka_unit_test_setup_teardown(wrong_sweeps_are_refused, fresh, gone),
        cmocka_unit_test_setup_teardown(a_folder_is_a_sweep_again, fresh, gone),
        cmocka_unit_test_setup_teardown(a_table_of_nothing_is_na, fresh, gone),
        cmocka_unit_test_setup_teardown(figures_mark_what_no_other_beats, fresh, gone),
    };
    px_log_setup(0, PX_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
