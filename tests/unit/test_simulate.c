/* test_simulate.c - replies, forms, means of orders, profiles, given transcripts, and whole runs
 * against a testd that plays participants and arms: repairs, invalid replies, faults, budgets,
 * going on without asking twice. */
#include "files.h"
#include "sim_testd.h"
#include "simulate_internal.h"

/* --- replies --- */

static void replies_are_checked(void **state) {
    (void)state;
#define VALUES "{\"A\":1,\"B\":2,\"C\":3}"
#define RANKS "\"rank\":{\"preference\":[\"B\",\"A\",\"C\"],\"provenance\":[\"c\",\"B\",\"A\"]}"
#define SLIDERS                                                                                    \
    "\"vas\":{\"preference\":" VALUES ",\"engaging\":" VALUES ",\"provenance\":" VALUES "}"
#define FLAT                                                                                       \
    "{\"rank_preference\":[\"B\",\"A\",\"C\"],\"rank_provenance\":[\"C\",\"B\",\"A\"],"            \
    "\"vas_preference\":" VALUES ",\"vas_engaging\":" VALUES ",\"vas_provenance\":" VALUES         \
    ",\"wtp\":" VALUES "}"
    static const struct {
        call_kind kind;
        const char *reply, *wrong; /* NULL: good */
    } cases[] = {
        {CALL_OPEN, "{\"message\":\" Hello \\u0000there \"}", NULL},
        {CALL_OPEN, "Sure:\n```json\n{\"message\": \"Hello\"}\n```", NULL},
        {CALL_OPEN, "", "no whole JSON"},
        {CALL_OPEN, "{\"message\":\"Hel", "no whole JSON"},
        {CALL_OPEN, "{\"message\":\" \\n\"}", "is empty"},
        {CALL_OPEN, "{\"message\":7}", "no string"},
        {CALL_OPEN, "{\"message\":\"0123456789012345678901234567890123456789\"}", "too long"},
        {CALL_NEXT, "{\"message\":\"Go on\",\"done\":false}", NULL},
        {CALL_NEXT, "{\"message\":\"Go on\"}", NULL},
        {CALL_NEXT, "{\"done\":true}", NULL},
        {CALL_NEXT, "{\"done\":false}", "\"message\" is missing"},
        {CALL_NEXT, "{\"message\":\"x\",\"done\":\"yes\"}", "neither true nor false"},
        {CALL_CHOOSE, "{\"best\":\"A\",\"provenance\":\"c\"}", NULL},
        {CALL_CHOOSE, "{\"best\":\"D\",\"provenance\":\"C\"}", "none of the letters ABC"},
        {CALL_CHOOSE, "{\"best\":\"A\"}", "\"provenance\" is none"},
        {CALL_CHOOSE, "{\"best\":\"AB\",\"provenance\":\"C\"}", "\"best\" is none"},
        {CALL_ASSESS, "{" RANKS "," SLIDERS ",\"wtp\":" VALUES "}", NULL},
        {CALL_ASSESS, FLAT, NULL},
        {CALL_ASSESS, "{" RANKS "," SLIDERS "}", "wtp: no object"},
        {CALL_ASSESS, "{" RANKS "," SLIDERS ",\"wtp\":{\"A\":1,\"B\":2,\"C\":10.5}}", "wtp, C"},
        {CALL_ASSESS, "{" RANKS ",\"wtp\":" VALUES "}", "vas, preference: no object"},
        {CALL_ASSESS, "{\"rank\":[\"A\",\"B\",\"C\"]}", "rank, preference: no list"},
        {CALL_ASSESS, "{\"rank\":{\"preference\":[\"A\",\"B\"]}}", "2 letters of 3"},
        {CALL_ASSESS, "{\"rank\":{\"preference\":[\"A\",\"B\",\"A\"]}}", "A stands there twice"},
        {CALL_ASSESS, "{\"rank\":{\"preference\":[[\"A\"],\"B\",\"C\"]}}", "none of the letters"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        const reply_ask ask = {.kind = cases[i].kind, .labels = "ABC", .message_most = 32};
        char wrong[SIM_WRONG] = "";
        sim_reply out;
        const bool good = reply_read(cases[i].reply, &ask, &out, wrong);
        if (good != !cases[i].wrong) fail_msg("%s: %s", cases[i].reply, wrong);
        if (cases[i].wrong && !strstr(wrong, cases[i].wrong))
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].reply, wrong, cases[i].wrong);
        free(out.message);
    }
    sim_reply out;
    char wrong[SIM_WRONG];
    const reply_ask ask = {.kind = CALL_ASSESS, .labels = "ABC"};
    assert_true(reply_read(FLAT, &ask, &out, wrong));
    const int32_t want[2][3] = {{2, 1, 3}, {3, 2, 1}};
    for (int q = 0; q < 2; q++)
        for (int i = 0; i < 3; i++) assert_int_equal(out.judged.rank[q][i], want[q][i]);
    px_assert_near(out.judged.vas[2][2], 3, 0);
    px_assert_near(out.judged.wtp[1], 2, 0);
}

/* What participants are shown names every key that is wanted of them. */
static void forms_name_the_keys(void **state) {
    (void)state;
    for (int flat = 0; flat < 2; flat++) {
        px_str text = {0};
        form_show(&(reply_ask){.kind = CALL_ASSESS, .labels = "BD"}, flat, &text);
        assert_non_null(strstr(text.data, flat ? "\"rank_preference\": [letters" : "{\"rank\": {"));
        assert_non_null(strstr(text.data, flat ? "\"vas_engaging\": {\"B\": 0 to 100, \"D\""
                                               : "\"engaging\": {\"B\": 0 to 100, \"D\""));
        assert_non_null(strstr(text.data, "\"wtp\": {\"B\": 0 to 10, \"D\": 0 to 10}"));
        px_str_free(&text);
    }
    sim_forms *forms = NULL;
    const px_form *a = NULL, *b = NULL, *c = NULL;
    px_assert_ok(sim_forms_new(&forms));
    const reply_ask one = {.kind = CALL_ASSESS, .labels = "ABCD"};
    const reply_ask other = {.kind = CALL_ASSESS, .labels = "ABCDEFGH"};
    px_assert_ok(sim_form_get(forms, &one, &a));
    px_assert_ok(sim_form_get(forms, &other, &b));
    px_assert_ok(sim_form_get(forms, &one, &c));
    assert_ptr_equal(a, c);
    assert_ptr_not_equal(a, b);
    assert_int_equal(a->n, 6);
    assert_string_equal(a->fields[5].key, "wtp");
    assert_int_equal(a->fields[5].most, 10);
    assert_int_equal(b->fields[0].n_texts, 8);
    assert_string_equal(b->fields[1].key, "rank_provenance");
    sim_forms_free(forms);
}

/* --- orders --- */

static void orders_are_averaged(void **state) {
    (void)state;
    sim_trial trial = {.n_slots = 4};
    const int32_t ranks[3][4] = {{1, 2, 3, 4}, {2, 1, 4, 3}, {4, 1, 3, 2}};
    trial.orders[0].good = trial.orders[1].good = trial.orders[3].good = true; /* not the third */
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 4; i++) {
            sim_judgement *one = &trial.orders[k == 2 ? 3 : k];
            one->rank[0][i] = ranks[k][i];
            one->rank[1][i] = ranks[0][i];
            one->wtp[i] = k + i;
        }
    trial_mean(&trial, 2);
    const int32_t tied[4] = {1, 2, 3, 4}; /* 1.5 1.5 3.5 3.5: by the first order */
    for (int i = 0; i < 4; i++) assert_int_equal(trial.mean.rank[0][i], tied[i]);
    px_assert_near(trial.mean.wtp[2], 2.5, 1e-15);
    trial_mean(&trial, 4);
    const int32_t three[4] = {2, 1, 4, 3}; /* sums 7 4 10 9 */
    for (int i = 0; i < 4; i++) assert_int_equal(trial.mean.rank[0][i], three[i]);
    px_assert_near(trial.mean.wtp[0], 1, 1e-15);
    trial.orders[0].good = trial.orders[1].good = trial.orders[3].good = false;
    trial_mean(&trial, 4);
    assert_false(trial.mean.good);
    /* Each slot is shown at each place once in four orders, at both ends of two. */
    for (int orders = 2; orders <= 4; orders += 2)
        for (int label = 0; label < 4; label++) {
            unsigned seen = 0;
            for (int k = 0; k < orders; k++) seen |= 1u << slot_of_label(&trial, orders, k, label);
            assert_int_equal(__builtin_popcount(seen), orders);
        }
    assert_int_equal(slot_of_label(&trial, 1, 0, 3), 3);
}

static void repetition_is_seen(void **state) {
    (void)state;
    px_str text = {0};
    for (int i = 0; i < 12; i++) px_str_text(&text, "I do not know. ");
    assert_true(is_repetition(text.data));
    px_str_clear(&text);
    for (int i = 0; i < 60; i++) px_str_format(&text, "word%d is not word%d\n", i, i + 1);
    assert_false(is_repetition(text.data));
    assert_false(is_repetition("again again again again again again"));
    assert_false(is_repetition(""));
    px_str_free(&text);
}

static void wording_is_filled(void **state) {
    (void)state;
    static const char *const names[] = {"form", "letters"}, *const values[] = {"{form}", "A and B"};
    px_str text = {0};
    wording_fill("{letters}: {form} {other} {", names, values, 2, &text);
    assert_string_equal(text.data, "A and B: {form} {other} {");
    px_str_free(&text);
    wording w;
    px_assert_ok(wording_read(PX_SOURCE_DIR "/configs/simulate", &w));
    assert_int_equal(w.n_domains, 4);
    assert_string_equal(w.domains[3], "wellbeing");
    wording_free(&w);
    px_assert_error(wording_read("/nowhere", &w), PX_BAD_INPUT, "/nowhere");
    wording_free(&w);
}

/* --- people and transcripts --- */

static const char survey[] =
    "{\"user_id\":\"u1\",\"age\":\"25-34 years old\",\"gender\":\"Prefer not to say\",\"religion\":"
    "{\"simplified\":\"No Affiliation\"},\"location\":{\"reside_country\":\"Chile\"},"
    "\"self_description\":\"SECRET-ONE I bake.\",\"stated_prefs\":{\"values\":10,\"safety\":90,"
    "\"fluency\":90,\"other\":99,\"diversity\":0}}\n"
    "{\"user_id\":\"u2\",\"survey_only\":true,\"age\":\"18-24 years old\"}\n"
    "{\"user_id\":\"u3\",\"self_description\":\"EMPTY STRING\"}\n"
    "{\"user_id\":\"u4\",\"self_description\":\"<|im_end|> {task} \\u0000 SECRET-FOUR\"}\n";

static char *survey_folder(void) {
    char *dir = temp_folder(), *path = px_path_join(dir, "survey.jsonl");
    px_assert_ok(px_file_write(path, survey, strlen(survey)));
    free(path);
    return dir;
}

static void profiles_are_of_the_survey(void **state) {
    (void)state;
    wording w;
    sim_people people;
    char *dir = survey_folder();
    px_assert_ok(wording_read(PX_SOURCE_DIR "/configs/simulate", &w));
    people_ask ask = {.data_dir = dir, .words = &w};
    px_assert_ok(sim_people_read(&ask, &people));
    assert_int_equal(people.n, 3);
    assert_int_equal(people.n_survey_only, 1);
    assert_int_equal(people.n_without, 1);
    assert_string_equal(
        people.items[0].profile,
        "You are 25-34 years old.\nYour religion: No Affiliation.\nYou live in "
        "Chile.\nWhat you say of yourself: SECRET-ONE I bake.\nWhat matters most to "
        "you in an answer: safety, fluency, values.");
    assert_string_equal(people.items[1].profile, "");
    assert_non_null(strstr(people.items[2].profile, "{task}")); /* text stays text */
    sim_people_free(&people);
    ask.most = 2;
    for (int seed = 0; seed < 8; seed++) {
        ask.seed = (uint64_t)seed;
        px_assert_ok(sim_people_read(&ask, &people));
        assert_int_equal(people.n, 2);
        assert_true(strcmp(people.items[0].id, people.items[1].id) < 0);
        sim_people_free(&people);
    }
    wording_free(&w);
    temp_folder_end(dir);
}

static void transcripts_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *wrong; /* NULL: good */
    } cases[] = {
        {"{\"trial\":\"t\",\"person\":\"p\",\"slots\":[{\"pos\":\"C\",\"arm\":\"x\"},{\"pos\":"
         "\"A\","
         "\"arm\":\"y\"}],\"turns\":[{\"user\":\"Hi\\u0000\",\"answers\":{\"A\":\"one\",\"C\":null}"
         "}"
         "]}\n",
         NULL},
        {"", "holds no trial"},
        {"{\n", "line 1"},
        {"{\"trial\":\"t\",\"person\":\"p\",\"slots\":[]}\n", "slots: found 0"},
        {"{\"trial\":\"t\",\"person\":\"p\",\"slots\":[{\"pos\":\"A\",\"arm\":\"x\"},{\"pos\":"
         "\"B\","
         "\"arm\":\"y\"}]}\n{\"trial\":\"t\",\"person\":\"p\",\"source\":\"converse\",\"slots\":[{"
         "\"pos\":\"A\",\"arm\":\"x\"},{\"pos\":\"B\",\"arm\":\"y\"}]}\n",
         "line 2: the trial stands there from another source"},
    };
    char *dir = temp_folder(), *path = px_path_join(dir, "t.jsonl");
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_trials names;
        sim_trials trials;
        px_assert_ok(px_file_write(path, cases[i].text, strlen(cases[i].text)));
        px_assert_ok(px_trials_new(&names));
        px_err *err = transcripts_read(path, &names, &trials);
        if (cases[i].wrong) {
            px_assert_error(err, PX_BAD_INPUT, cases[i].wrong);
        } else {
            px_assert_ok(err);
            assert_int_equal(trials.items[0].n_slots, 2);
            assert_int_equal(trials.items[0].slots[0].pos, 'A');
            assert_string_equal(trials.items[0].turns[0].answers[0], "one");
            assert_null(trials.items[0].turns[0].answers[1]);
            assert_string_equal(trials.items[0].turns[0].user, "Hi\xEF\xBF\xBD");
        }
        sim_trials_free(&trials);
        px_trials_free(&names);
    }
    free(path);
    temp_folder_end(dir);
}

/* --- whole runs --- */

typedef struct {
    char *dir, *out, *summary, *arms;
    testd *s;
    sim_testd_state *seen;
    px_config config;
    px_ranks ranks;
} whole;

static void set(whole *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void set(whole *w, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    assert_true(vasprintf(&text, format, args) > 0);
    va_end(args);
    px_assert_ok(px_config_set(&w->config, text));
    free(text);
}

#define ENDPOINT                                                                                   \
    "{\"url\":\"http://127.0.0.1:%d/v1\",\"model\":\"%s\",\"max_retries\":2,\"backoff_s\":0.02,"   \
    "\"timeout_s\":0.6,\"usd_per_million_prompt\":100000,\"usd_per_million_completion\":0}"

/* A player and two arms behind the testd, which behaves as the models' names say. */
static void whole_begin(whole *w, const char *player, const char *arm) {
    px_str text = {0};
    *w = (whole){.dir = survey_folder(), .ranks = {.size = 1, .node_size = 1}};
    w->seen = calloc(1, sizeof *w->seen);
    assert_non_null(w->seen);
    pthread_mutex_init(&w->seen->lock, NULL);
    w->s = testd_open(sim_testd_reply, w->seen, NULL);
    w->out = px_path_join(w->dir, "t.jsonl");
    w->summary = px_path_join(w->dir, "t.summary.json");
    w->arms = px_path_join(w->dir, "arms.json");
    px_str_format(&text,
                  "{\"arms\":[{\"name\":\"one\",\"endpoint\":" ENDPOINT "},{\"name\":\"two\","
                  "\"endpoint\":" ENDPOINT "},{\"name\":\"three\",\"endpoint\":" ENDPOINT "}]}",
                  testd_port(w->s), "good", testd_port(w->s), arm, testd_port(w->s), "good");
    px_assert_ok(px_file_write(w->arms, text.data, text.size));
    px_str_free(&text);
    px_assert_ok(px_config_init(&w->config));
    set(w, "sim.player=http");
    set(w, "sim.endpoint=" ENDPOINT, testd_port(w->s), player);
    set(w, "sim.data=%s", w->dir);
    set(w, "sim.arms=%s", w->arms);
    set(w, "sim.turns=3");
}

static void whole_end(whole *w) {
    testd_close(w->s);
    temp_folder_end(w->dir);
    free(w->seen);
    free(w->out);
    free(w->summary);
    free(w->arms);
    px_config_fini(&w->config);
}

static px_err *whole_run(whole *w, bool resume) {
    const px_simulate_job job = {.out = w->out, .resume = resume, .threads = 1};
    return px_simulate_all(&w->ranks, &w->config, &job);
}

/* Reads the result; the counts of the checker are all zero. */
static void whole_read(whole *w, px_trials *trials) {
    px_assert_ok(px_trials_new(trials));
    px_assert_ok(px_trials_read(trials, w->out, NULL, NULL));
    for (int i = 0; i < PX_ODDS; i++) assert_int_equal(trials->odd[i], 0);
}

static bool summary_has(const whole *w, const char *part) {
    px_bytes text = {0};
    px_assert_ok(px_file_read(w->summary, &text));
    const bool found = strstr(text.data, part) != NULL;
    if (!found) print_message("%.1200s\n", text.data);
    px_bytes_free(&text);
    return found;
}

static void trials_are_held(void **state) {
    (void)state;
    whole w;
    px_trials trials;
    whole_begin(&w, "good", "good");
    set(&w, "sim.orders=4");
    px_assert_ok(whole_run(&w, false));
    whole_read(&w, &trials);
    assert_int_equal(trials.n, 3 * 4);
    assert_int_equal(trials.persons.n, 3);
    unsigned first = 0;
    for (int64_t i = 0; i < trials.n; i++) {
        const px_trial *t = &trials.at[i];
        assert_int_equal(t->n_slots, 3);
        assert_int_equal(t->source, PX_SOURCE_CONVERSE);
        assert_true(t->n_turns >= 1 && t->n_turns <= 3);
        assert_true(t->price >= 0 && t->price <= 10);
        assert_int_equal(t->opening[0], 0);
        assert_int_equal(t->opening[1], 1);
        assert_true(isfinite(t->usd) && t->usd > 0);
        for (int k = 0; k < 3; k++) {
            assert_in_range(t->slots[k].rank[0], 1, 3);
            assert_true(isfinite(t->slots[k].vas[1]) && isfinite(t->slots[k].wtp));
            assert_false(t->slots[k].error);
        }
        first |= 1u << t->slots[0].arm;
    }
    assert_int_equal(first, 7); /* every arm stands at A somewhere */
    assert_int_equal(testd_requests(w.s), w.seen->answered);
    assert_int_equal(w.seen->doubled, 0);
    assert_true(summary_has(&w, "\"valid_share\": 1"));
    assert_true(summary_has(&w, "\"orders\": 4"));
    /* Once more: nothing to do; anew: from the cache. */
    const int before = testd_requests(w.s);
    px_assert_ok(whole_run(&w, true));
    px_assert_error(whole_run(&w, false), PX_BAD_INPUT, "--overwrite begins anew");
    set(&w, "seed=4");
    px_assert_error(whole_run(&w, true), PX_BAD_INPUT, "other settings");
    assert_int_equal(testd_requests(w.s), before);
    px_trials_free(&trials);
    whole_end(&w);
}

static void bad_replies_are_mended_or_invalid(void **state) {
    (void)state;
    whole w;
    px_trials trials;
    whole_begin(&w, "bad", "good");
    px_assert_ok(whole_run(&w, false));
    whole_read(&w, &trials);
    assert_int_equal(trials.n, 12); /* what is invalid is no trial lost */
    assert_true(summary_has(&w, "\"open\": {\"wanted\": 24, \"repairs\": 12, \"invalid\": "));
    assert_false(summary_has(&w, "\"valid_share\": 1,"));
    assert_true(summary_has(&w, "\"unfinished\": 0"));
    px_trials_free(&trials);
    whole_end(&w);
}

/* A player's endpoint that fails: what could not be asked is asked by the same job later, what was
 * answered is not. */
static void faults_lose_nothing(void **state) {
    (void)state;
    whole w;
    px_trials trials;
    int runs = 0;
    whole_begin(&w, "faulty", "faulty");
    set(&w, "sim.orders=2");
    px_err *err = NULL;
    for (runs = 1; runs < 12 && (err = whole_run(&w, runs > 1)); runs++) {
        assert_int_equal(px_err_kind(err), PX_RUN_FAILED);
        assert_non_null(strstr(px_err_text(err), "--resume asks for the rest"));
        px_err_free(err);
    }
    assert_true(runs > 1 && runs < 12);
    whole_read(&w, &trials);
    assert_int_equal(trials.n, 12);
    assert_int_equal(w.seen->doubled, 0);
    assert_true(testd_requests(w.s) > w.seen->answered);
    assert_true(summary_has(&w, "\"unfinished\": 0"));
    char *parts = NULL;
    assert_true(asprintf(&parts, "%s.parts", w.out) > 0);
    assert_false(px_path_exists(parts));
    free(parts);
    px_trials_free(&trials);
    whole_end(&w);
}

/* A call costs 1 USD, 10 prompt tokens as the testd reports; some 100 to 250 are put by for it. */
static void budgets_stop_and_go_on(void **state) {
    (void)state;
    whole w;
    px_trials trials;
    int runs = 0;
    whole_begin(&w, "good", "good");
    px_err *err = NULL;
    for (runs = 1; runs < 60; runs++) {
        set(&w, "sim.max_usd=%d", 280 + 20 * runs);
        err = whole_run(&w, runs > 1);
        if (!err) break;
        assert_int_equal(px_err_kind(err), PX_STOPPED);
        px_err_free(err);
    }
    assert_true(runs > 1 && runs < 60);
    whole_read(&w, &trials);
    assert_int_equal(trials.n, 12);
    assert_int_equal(w.seen->doubled, 0);
    px_trials_free(&trials);
    whole_end(&w);
}

static void wrong_settings_are_named(void **state) {
    (void)state;
    static const struct {
        const char *set, *part;
    } cases[] = {
        {"sim.condition=judge", "--transcripts names"},
        {"sim.data=", "sim.data is empty"},
        {"sim.data=/nowhere", "/nowhere"},
        {"sim.arms=", "sim.arms is empty"},
        {"sim.arms=/nowhere.json", "/nowhere.json"},
        {"sim.orders=3", "1, 2 or 4"},
        {"sim.domains=", "sim.domains is empty"},
        {"sim.endpoint={}", "sim.endpoint says where"},
        {"sim.endpoint={\"url\":\"http://h/v1\"}", "model"},
        {"sim.prompts=/nowhere", "/nowhere"},
        {"sim.player=local", "sim.model or model.path"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        whole w;
        whole_begin(&w, "good", "good");
        set(&w, "%s", cases[i].set);
        px_assert_error(whole_run(&w, false), PX_BAD_INPUT, cases[i].part);
        assert_false(px_path_exists(w.out));
        assert_int_equal(testd_requests(w.s), 0);
        whole_end(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_checked),
        cmocka_unit_test(forms_name_the_keys),
        cmocka_unit_test(orders_are_averaged),
        cmocka_unit_test(repetition_is_seen),
        cmocka_unit_test(wording_is_filled),
        cmocka_unit_test(profiles_are_of_the_survey),
        cmocka_unit_test(transcripts_are_read),
        cmocka_unit_test(trials_are_held),
        cmocka_unit_test(bad_replies_are_mended_or_invalid),
        cmocka_unit_test(faults_lose_nothing),
        cmocka_unit_test(budgets_stop_and_go_on),
        cmocka_unit_test(wrong_settings_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
