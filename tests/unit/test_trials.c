/* test_trials.c - trials.jsonl read as promised, and refused with line, key and reason. */
#include "files.h"
#include "px_test.h"
#include "trials.h"

static char *path; /* a file of one test */

static void put(const char *text) { px_assert_ok(px_file_write(path, text, strlen(text))); }

static int folder_make(void **state) {
    (void)state;
    char *dir = temp_folder();
    path = px_path_join(dir, "t.jsonl");
    free(dir);
    return path ? 0 : -1;
}

static int folder_remove(void **state) {
    (void)state;
    *strrchr(path, '/') = 0;
    px_err *err = px_dir_remove(path);
    free(path);
    return err != NULL;
}

#define SLOTS                                                                                      \
    "\"slots\":[{\"pos\":\"B\",\"arm\":\"ppft\"},{\"pos\":\"A\",\"arm\":\"base\",\"error\":"       \
    "\"length\"}]"
#define HEAD "{\"trial\":\"t1\",\"person\":\"u1\","

static void whole_trial_is_read(void **state) {
    (void)state;
    px_trials t;
    put(HEAD "\"source\":\"judge\",\"domain\":\"values\",\"split\":\"unseen\",\"seed\":7,"
             "\"sim\":{\"model\":\"m\",\"prompt_sha\":null,\"orders\":[[\"C\",\"A\",\"B\"],null,"
             "[\"A\",\"C\",\"B\"],[\"C\",\"A\"]]},"
             "\"slots\":[{\"pos\":\"C\",\"arm\":\"ppft\",\"variant\":\"8b\",\"user\":\"own\","
             "\"context_tokens\":10},"
             "{\"pos\":\"A\",\"arm\":\"base\",\"error\":\"empty\",\"user\":\"generic\"},{\"pos\":"
             "\"B\",\"arm\":\"x\"}],"
             "\"turns\":[{\"n\":0,\"to\":\"ABC\",\"user\":\"h\\u00e9\",\"answers\":{\"A\":"
             "\"\\u00e9\\u00e9\",\"B\":null,\"C\":\"abcd\"}},"
             "{\"n\":1,\"to\":\"A\",\"user\":\"b\",\"answers\":{\"A\":\"abcdef\"}}],"
             "\"opening\":{\"best\":\"C\",\"provenance\":null},\"rank\":{\"preference\":[\"C\","
             "\"A\",\"B\"],\"provenance\":null},"
             "\"vas\":{\"preference\":{\"A\":0,\"C\":100},\"engaging\":{}},\"wtp\":{\"B\":2.5},"
             "\"bdm\":{\"price\":4.1},"
             "\"retries\":0,\"usd\":null,\"ms\":81}\n");
    px_assert_ok(px_trials_new(&t));
    px_assert_ok(px_trials_read(&t, path, NULL, NULL));
    assert_int_equal(t.n, 1);
    const px_trial *x = &t.at[0];
    assert_int_equal(x->source, PX_SOURCE_JUDGE);
    assert_int_equal(x->split, 1);
    assert_int_equal(x->n_slots, 3);
    assert_int_equal(x->n_orders, 2); /* one without a reply, one that is no ranking */
    assert_int_equal(x->order_pairs, 3);
    assert_int_equal(x->order_flips, 1);
    assert_int_equal(x->top_flips, 1);
    assert_int_equal(t.odd[PX_ODD_RANK], 1);
    assert_string_equal(t.domains.at[x->domain], "values");
    const char *arms[3] = {"base", "x", "ppft"};
    const int ranks[3] = {2, 3, 1};
    const double lengths[3] = {4, NAN, 4}, vas[3] = {0, NAN, 100}, wtp[3] = {NAN, 2.5, NAN};
    for (int i = 0; i < 3; i++) {
        const px_trial_slot *s = &x->slots[i];
        assert_int_equal(s->pos, i);
        assert_string_equal(t.arms.at[s->arm], arms[i]);
        assert_int_equal(s->rank[PX_PREFERENCE], ranks[i]);
        assert_int_equal(s->rank[PX_PROVENANCE], 0);
        assert_int_equal(s->error, i == 0);
        assert_true(isnan(lengths[i]) ? isnan(s->length) : s->length == lengths[i]);
        assert_true(isnan(vas[i]) ? isnan(s->vas[0]) : s->vas[0] == vas[i]);
        assert_true(isnan(wtp[i]) ? isnan(s->wtp) : s->wtp == wtp[i]);
        assert_true(isnan(s->vas[PX_VAS_PROVENANCE]));
    }
    assert_int_equal(x->slots[2].user, 1);
    assert_int_equal(x->slots[0].user, 0);
    assert_true(x->slots[2].context_tokens == 10);
    assert_int_equal(x->opening[0], 2);
    assert_int_equal(x->opening[1], -1);
    assert_int_equal(x->n_turns, 2);
    assert_int_equal(x->turns[0].to, 7);
    assert_int_equal(x->turns[1].to, 1);
    assert_true(x->price == 4.1);
    px_trials_free(&t);
}

/* One line that is wrong behind one that is right: line 2, key and reason. */
static void wrong_lines_are_named(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{", "line 2: column 2: found the end of the text"},
        {"[]", "line 2: found a list, wanted an object"},
        {"{\"person\":\"u\"," SLOTS "}", "line 2: trial: is missing"},
        {"{\"trial\":\"x\"," SLOTS "}", "line 2: person: is missing"},
        {"{\"trial\":7,\"person\":\"u\"," SLOTS "}",
         "line 2: trial: found a number, wanted a string"},
        {"{\"trial\":\"x\",\"person\":\"u\"}", "line 2: slots: is missing"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"slots\":{}}",
         "slots: found an object, wanted a list"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"slots\":[]}", "slots: found 0, wanted 2 to 8"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"slots\":[{\"pos\":\"A\",\"arm\":\"a\"},{\"pos\":"
         "\"A\",\"arm\":\"b\"}]}",
         "slots[1].pos: A stands there twice"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"slots\":[{\"pos\":\"A\"},{\"pos\":\"B\",\"arm\":"
         "\"b\"}]}",
         "slots[0].arm: is missing"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"slots\":[{\"pos\":\"I\",\"arm\":\"a\"},{\"pos\":"
         "\"B\",\"arm\":\"b\"}]}",
         "slots[0]: pos: found \"I\", wanted A to H"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"source\":\"dog\"," SLOTS "}",
         "source: found \"dog\", wanted human, judge or converse"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"split\":\"train\"," SLOTS "}",
         "split: found \"train\", wanted seen or unseen"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"seed\":\"7\"," SLOTS "}",
         "seed: found a string, wanted a number"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"rank\":{\"preference\":\"AB\"}," SLOTS "}",
         "rank.preference: found a string, wanted a list"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"rank\":{\"preference\":[1,2]}," SLOTS "}",
         "rank.preference: found a number, wanted positions"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"vas\":{\"engaging\":{\"A\":\"9\"}}," SLOTS "}",
         "vas.engaging.A: found a string, wanted a number"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"wtp\":[1,2]," SLOTS "}",
         "wtp: found a list, wanted an object"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"turns\":[7]," SLOTS "}",
         "turns[0]: found a number, wanted an object"},
        {"{\"trial\":\"x\",\"person\":\"u\",\"turns\":[{\"answers\":{\"A\":5}}]," SLOTS "}",
         "turns[0].answers.A: found a number, wanted a string"},
        {"{\"trial\":\"t1\",\"person\":\"u1\"," SLOTS "}",
         "this trial of this person and source stands on line 1"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_trials t;
        char text[1024];
        snprintf(text, sizeof text, HEAD SLOTS "}\n%s\n", cases[i].line);
        put(text);
        px_assert_ok(px_trials_new(&t));
        px_assert_error(px_trials_read(&t, path, NULL, NULL), PX_BAD_INPUT, cases[i].message);
        px_trials_free(&t);
    }
}

/* Counted and taken as not asked, never repaired; the trial stays. */
static void odd_values_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *part;
        px_odd odd;
    } cases[] = {
        {"\"rank\":{\"preference\":[\"A\"]}", PX_ODD_RANK},
        {"\"rank\":{\"preference\":[\"A\",\"A\"]}", PX_ODD_RANK},
        {"\"rank\":{\"preference\":[\"A\",\"C\"]}", PX_ODD_RANK},
        {"\"rank\":{\"preference\":[]}", PX_ODD_RANK},
        {"\"vas\":{\"preference\":{\"A\":101}}", PX_ODD_VALUE},
        {"\"vas\":{\"preference\":{\"C\":1}}", PX_ODD_VALUE},
        {"\"wtp\":{\"A\":-0.5}", PX_ODD_VALUE},
        {"\"opening\":{\"best\":\"D\"}", PX_ODD_ANSWER},
        {"\"turns\":[{\"answers\":{\"D\":\"x\"}}]", PX_ODD_ANSWER},
        {"\"turns\":[{\"user\":\"a\\u0000b\"}]", PX_ODD_NUL},
        {"\"turns\":[{\"user\":\"a\\\\u0000b\"}]", PX_ODDS}, /* no NUL: a backslash, u0000 */
        {"\"wpt\":{}", PX_ODD_KEY},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_trials t;
        char text[512];
        snprintf(text, sizeof text, HEAD SLOTS ",%s}\n", cases[i].part);
        put(text);
        px_assert_ok(px_trials_new(&t));
        px_assert_ok(px_trials_read(&t, path, NULL, NULL));
        assert_int_equal(t.n, 1);
        for (int k = 0; k < PX_ODDS; k++) assert_int_equal(t.odd[k], k == (int)cases[i].odd);
        for (int s = 0; s < 2; s++) {
            assert_int_equal(t.at[0].slots[s].rank[0], 0);
            assert_true(isnan(t.at[0].slots[s].vas[0]));
            assert_true(isnan(t.at[0].slots[s].wtp));
        }
        px_trials_free(&t);
    }
}

static void check_names_every_problem(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    put(HEAD SLOTS ",\"trail\":1,\"rank\":{\"preference\":[\"A\"]}}\n"
                   "{\"trial\":\"t2\",\"person\":5," SLOTS ",\"seed\":\"x\"}\n"
                   "nonsense\n" HEAD "\"source\":\"judge\"," SLOTS "}\n");
    FILE *out = open_memstream(&text, &size);
    px_assert_error(px_trials_check(path, 20, out), PX_BAD_INPUT, "3 errors");
    fclose(out);
    assert_non_null(strstr(text, "line 1: warning: trail: unknown key, did you mean trial?"));
    assert_non_null(strstr(text, "line 1: warning: rank.preference: invalid: 1 of 2 positions"));
    assert_non_null(strstr(text, "line 2: error: person: found a number"));
    assert_non_null(strstr(text, "line 2: error: seed: found a string"));
    assert_non_null(strstr(text, "line 3: error: column 1"));
    assert_non_null(strstr(text, "2 trials (1 human, 1 judge, 0 converse)"));
    free(text);
}

static void csv_has_a_row_a_slot(void **state) {
    (void)state;
    px_trials t;
    char *text = NULL;
    size_t size = 0;
    put("{\"trial\":\"a,\\\"b\\\"\",\"person\":\"=1+1\",\"rank\":{\"preference\":[\"B\",\"A\"]},"
        "\"wtp\":{\"A\":0},"
        "\"turns\":[{\"user\":\"secret\",\"answers\":{\"A\":\"private\"}}]," SLOTS "}\n");
    px_assert_ok(px_trials_new(&t));
    px_assert_ok(px_trials_read(&t, path, NULL, NULL));
    FILE *out = open_memstream(&text, &size);
    px_assert_ok(px_trials_csv(&t, out));
    fclose(out);
    assert_non_null(
        strstr(text, "\n\"a,\"\"b\"\"\",\"'=1+1\",human,,,1,A,base,,,1,,,,7,2,,,,,0,,,\n"));
    assert_non_null(strstr(text, ",B,ppft,,,0,,,,,1,,,,,,,,\n"));
    assert_null(strstr(text, "secret"));
    assert_null(strstr(text, "private"));
    free(text);
    px_trials_free(&t);
}

/* Invented trials: the same bytes again, other bytes for another seed, good in the reader's eyes.
 */
static void invented_trials_are_trials(void **state) {
    (void)state;
    char *dir = temp_folder(), *file = px_path_join(dir, "trials.jsonl");
    px_digest digest[3];
    px_trials t;
    for (int i = 0; i < 3; i++) {
        px_assert_ok(px_synth_trials_write(&(px_synth_trials){dir, 5, i < 2 ? 9 : 10}));
        px_assert_ok(px_sha_file(file, &digest[i]));
    }
    assert_string_equal(digest[0].hex, digest[1].hex);
    assert_string_not_equal(digest[0].hex, digest[2].hex);
    px_assert_ok(px_trials_new(&t));
    px_assert_ok(px_trials_read(&t, file, NULL, NULL));
    assert_int_equal(t.n, 5 * 4 * 3);
    assert_int_equal(t.persons.n, 5);
    assert_int_equal(t.arms.n, 4);
    for (int i = 0; i < PX_ODDS; i++) assert_int_equal(t.odd[i], 0);
    for (int64_t i = 0; i < t.n; i++)
        for (int s = 0; s < 4; s++) {
            const px_trial_slot *slot = &t.at[i].slots[s];
            assert_true(slot->length == floor(slot->length) && slot->length >= 20);
            assert_true(slot->rank[0] && slot->rank[1] && slot->vas[0] >= 0 && slot->wtp >= 0);
        }
    px_trials_free(&t);
    px_assert_error(px_synth_trials_write(&(px_synth_trials){dir, 0, 1}), PX_BAD_INPUT,
                    "--people 0");
    px_assert_ok(px_dir_remove(dir));
    free(file);
    free(dir);
}

static void costs_stand_beside(void **state) {
    (void)state;
    static const char *const sources[] = {"human", "converse"};
    px_str text = {0}, cost = {0};
    px_trials t;
    bool found = true;
    for (int s = 0; s < 2; s++)
        px_str_format(&text, HEAD "\"source\":\"%s\"," SLOTS "}\n", sources[s]);
    put(text.data);
    px_assert_ok(px_trials_cost_path(path, &cost));
    assert_non_null(strstr(cost.data, "/t.cost.jsonl"));
    px_assert_ok(px_trials_new(&t));
    px_assert_ok(px_trials_read(&t, path, NULL, NULL));
    px_assert_ok(px_trials_costs(&t, path, &found));
    assert_false(found);
    /* of one source, one slot; another arm at B; a trial that is not there; nothing timed */
    static const char lines[] = HEAD
        "\"source\":\"converse\",\"slots\":[{\"pos\":\"A\",\"arm\":\"base\",\"answers\":4,"
        "\"timed\":3,\"seconds\":1.5,\"usd\":0.25,\"profile\":{\"prompt_tokens\":300,"
        "\"new_tokens\":80,\"seconds\":2.5,\"usd\":null}},{\"pos\":\"B\",\"arm\":\"x\",\"timed\":1,"
        "\"seconds\":9}]}\n" HEAD "\"source\":\"judge\",\"slots\":[]}\n" HEAD
        "\"source\":\"human\",\"slots\":[{\"pos\":\"A\",\"arm\":\"base\",\"timed\":0,"
        "\"seconds\":null,\"usd\":-1}]}\n";
    px_assert_ok(px_file_write(cost.data, lines, strlen(lines)));
    px_assert_ok(px_trials_costs(&t, path, &found));
    assert_true(found);
    px_assert_near(t.at[1].slots[0].seconds, 0.5, 0);
    px_assert_near(t.at[1].slots[0].usd, 0.25, 0);
    static const double profile[PX_PROFILES] = {300, 80, 2.5, NAN};
    for (int k = 0; k < PX_PROFILES; k++) {
        assert_int_equal(isnan(t.at[1].slots[0].profile[k]), isnan(profile[k]));
        if (!isnan(profile[k])) px_assert_near(t.at[1].slots[0].profile[k], profile[k], 0);
        assert_true(isnan(t.at[1].slots[1].profile[k]) && isnan(t.at[0].slots[0].profile[k]));
    }
    assert_true(isnan(t.at[1].slots[1].seconds) && isnan(t.at[1].slots[1].usd));
    assert_true(isnan(t.at[0].slots[0].seconds) && isnan(t.at[0].slots[0].usd));
    static const char *const bad[][2] = {{"7\n", "line 1: found a number"},
                                         {"{\"trial\":\"t1\"}\n", "\"person\" is missing"},
                                         {"{\"trial\"", "line 1"},
                                         {HEAD "\"source\":\"human\"}\n", "slots: found nothing"}};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        px_assert_ok(px_file_write(cost.data, bad[i][0], strlen(bad[i][0])));
        px_assert_error(px_trials_costs(&t, path, &found), PX_BAD_INPUT, bad[i][1]);
    }
    px_trials_free(&t);
    px_str_free(&text);
    px_str_free(&cost);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_trial_is_read, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(wrong_lines_are_named, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(odd_values_are_counted, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(check_names_every_problem, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(costs_stand_beside, folder_make, folder_remove),
        cmocka_unit_test(invented_trials_are_trials),
        cmocka_unit_test_setup_teardown(csv_has_a_row_a_slot, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
