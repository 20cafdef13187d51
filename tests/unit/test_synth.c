/* test_synth.c - the invented PRISM: the same bytes for a seed, the published shape, styles that
 * are visible in the text, tastes that the scores follow. */
#include "prism.h"
#include "px_test.h"
#include "synth.h"

#include "files.h"

static const char *const files[] = {"survey.jsonl", "conversations.jsonl", "utterances.jsonl",
                                    "metadata.jsonl", "truth.json"};

static char *write_synth(int64_t n_users, uint64_t seed, double taste) {
    char *dir = temp_folder();
    px_synth job = {dir, n_users, seed, taste};
    px_assert_ok(px_synth_write(&job));
    return dir;
}

static px_digest digest_of(const char *dir, const char *name) {
    px_digest digest;
    char *path = px_path_join(dir, name);
    px_assert_ok(px_sha_file(path, &digest));
    free(path);
    return digest;
}

static void seed_decides_every_byte(void **state) {
    (void)state;
    char *a = write_synth(7, 3, 12), *b = write_synth(7, 3, 12), *c = write_synth(7, 4, 12);
    for (size_t f = 0; f < PX_COUNT(files); f++) {
        px_digest x = digest_of(a, files[f]), y = digest_of(b, files[f]),
                  z = digest_of(c, files[f]);
        assert_string_equal(x.hex, y.hex);
        assert_string_not_equal(x.hex, z.hex);
    }
    temp_folder_end(a);
    temp_folder_end(b);
    temp_folder_end(c);
}

/* Written down once: other machines and later versions must give the same bytes. */
static void bytes_are_the_known_ones(void **state) {
    (void)state;
    static const char *const want[] = {
        "4b3b72848179907039484d0f0134cfcf3ea1c3f373813fdd52bc4988c70d7738",
        "a7629a5359c1e3dffd6784ccf00c0acc5a36e8e6e042da77a8004cae8dd4549f",
        "7b4a68bc7e6a50be571ad502e98fe40fd9f78cc8d59680e43ee7a0d9b8201abc",
        "7aac81652fca60834a8c264f7a5281d1cb9b5a25111146f82befa989b6f9a68b",
        "36282cd93e0a131b8ba342448c6fe57926d8f078e8dcfa4fe3e647f797421dab"};
    char *dir = write_synth(3, 1, 12);
    for (size_t f = 0; f < PX_COUNT(files); f++) {
        px_digest got = digest_of(dir, files[f]);
        assert_string_equal(got.hex, want[f]);
    }
    temp_folder_end(dir);
}

/* Reads what was written by the project's own reader; nothing may be broken. */
typedef struct {
    px_prism_facts facts;
    px_harms harms;
    px_survey survey;
    int64_t n_flat, n_same, turns[12], convs_of[3000];
    double answer_squares;
} measured;

static void measure_line(measured *m, const char *text, size_t size, int64_t line, px_arena *arena,
                         px_cross *cross) {
    cJSON *json;
    px_prism_conv conv;
    bool ok;
    px_arena_reset(arena, 0);
    px_assert_ok(px_prism_conv_parse(text, size, line, arena, &m->harms, &json, &conv, &ok));
    assert_true(ok);
    px_prism_facts_add(&m->facts, &conv);
    px_assert_ok(px_cross_add(cross, &conv));
    int32_t user = px_map_find(&m->survey.by_id, conv.user_id, strlen(conv.user_id), -1);
    assert_true(user >= 0);
    m->convs_of[user]++;
    assert_in_range(conv.n_turns, 2, 10);
    m->turns[conv.n_turns]++;
    for (int32_t t = 0; t < conv.n_turns; t++)
        for (int32_t i = 0; i < conv.turns[t].n_answers; i++) {
            double n = (double)strlen(conv.turns[t].answers[i].text);
            assert_true(n <= 4700);
            m->answer_squares += n * n;
        }
    cJSON_Delete(json);
}

static void measure(const char *dir, px_arena *arena, measured *m) {
    px_lines *lines;
    px_cross *cross;
    px_arena *scratch;
    char *path = px_path_join(dir, "conversations.jsonl");
    *m = (measured){0};
    px_assert_ok(px_survey_read(dir, arena, &m->harms, &m->survey));
    px_assert_ok(px_lines_open(path, &lines));
    px_assert_ok(px_cross_new(&cross));
    px_assert_ok(px_arena_new(1 << 16, &scratch));
    for (;;) {
        const char *text;
        size_t size;
        int64_t line;
        px_assert_ok(px_lines_next(lines, &text, &size, &line));
        if (!text) break;
        measure_line(m, text, size, line, scratch, cross);
    }
    px_assert_ok(px_cross_compare(cross, dir, &m->harms, &m->n_flat, &m->n_same));
    px_cross_free(cross);
    px_lines_close(lines);
    px_arena_free(scratch);
    free(path);
}

static void assert_share(double part, double whole, double want, double tol, const char *what) {
    double got = part / whole;
    if (!(fabs(got - want) <= tol)) fail_msg("%s: %g, want %g ± %g", what, got, want, tol);
}

static void shape_is_the_published_one(void **state) {
    (void)state;
    enum { USERS = 300 };
    char *dir = write_synth(USERS, 11, 0);
    px_arena *arena;
    static measured m;
    px_assert_ok(px_arena_new(1 << 16, &arena));
    measure(dir, arena, &m);
    const px_prism_facts *f = &m.facts;
    int64_t n[8] = {0};
    for (int u = 0; u < USERS; u++) n[m.convs_of[u]]++;
    /* A fifth of 104, 25, 28, 34, 10, 11, 1283, 5. */
    static const int64_t want[] = {21, 5, 5, 7, 2, 2, 257, 1};
    for (int k = 0; k < 8; k++) assert_int_equal(n[k], want[k]);
    assert_int_equal(m.survey.n, USERS);
    assert_int_equal(m.survey.n_survey_only, 21);
    assert_int_equal(m.n_flat, f->n_answers);
    assert_int_equal(m.n_same, f->n_answers);
    double answers = (double)f->n_answers, convs = (double)f->n_convs;
    double mean = f->score_sum / answers, bytes = f->answer_chars / answers;
    assert_share((double)f->n_turns, convs, 3.4, 0.15, "turns");
    assert_share(f->opening_chars, convs, 66, 4, "opening characters");
    assert_share(f->answer_chars, answers, 565, 25, "response characters");
    assert_share(sqrt(m.answer_squares / answers - bytes * bytes), 1, 388, 35, "their sd");
    assert_share(f->score_sum, answers, 65, 3, "score");
    assert_share(sqrt(f->score_squares / answers - mean * mean), 1, 29, 2, "score sd");
    assert_share((double)f->n_near_ties, (double)f->n_openings_scored, 0.175, 0.03, "near ties");
    assert_share((double)f->n_longest_chosen, (double)f->n_openings, 0.52, 0.04, "longest chosen");
    assert_share((double)f->n_types[0], convs, 3113.0 / 8011, 0.04, "unguided");
    assert_share((double)f->n_balanced, convs, 6696.0 / 8011, 0.04, "balanced");
    /* Traps of the real set, and nothing else. */
    for (int k = 0; k < PX_HARM_COUNT; k++)
        if (m.harms.n[k] > 0 && k != PX_HARM_EMPTY && k != PX_HARM_MANY_CHOSEN &&
            k != PX_HARM_NO_CHOSEN && k != PX_HARM_LOW_CHOSEN && k != PX_HARM_NO_REJECTED)
            fail_msg("%s: %lld", px_harm_name((px_harm)k), (long long)m.harms.n[k]);
    assert_true(m.harms.n[PX_HARM_MANY_CHOSEN] > 0);
    px_survey_fini(&m.survey);
    px_arena_free(arena);
    temp_folder_end(dir);
}

static bool holds_any(const char *text, const char *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strstr(text, parts[i])) return true;
    return false;
}

/* Whether the answer looks like level 1 of an axis; for axes that can be told by a few marks. */
static bool looks(const char *text, px_axis axis) {
    static const char *const emoji[] = {"😊", "💛", "🌷", "🤗", "🌞", "💫", "🌟", "🎉"};
    static const char *const examples[] = {"example", "For instance"};
    switch (axis) {
    case PX_AXIS_LIST:
        return strstr(text, "\n- ") != NULL;
    case PX_AXIS_WARM:
        return holds_any(text, emoji, PX_COUNT(emoji));
    case PX_AXIS_QUESTION:
        return strchr(text, '?') != NULL;
    case PX_AXIS_EXAMPLE:
        return holds_any(text, examples, PX_COUNT(examples));
    default:
        fail();
        return false;
    }
}

static void styles_are_visible(void **state) {
    (void)state;
    static const px_axis sure[] = {PX_AXIS_LIST, PX_AXIS_WARM, PX_AXIS_QUESTION, PX_AXIS_EXAMPLE};
    px_str text = {0};
    double length[2] = {0}, n_length[2] = {0};
    int n_contractions = 0, n_formal = 0;
    enum { ANSWERS = 2000 };
    for (uint64_t i = 0; i < ANSWERS; i++) {
        px_draw draw = px_draw_for(5, PX_DRAW_CONV, i);
        int n;
        const px_topic *topics = px_topics((px_topic_kind)(i % 4), &n);
        px_subject subject = {&topics[px_draw_below(&draw, (uint32_t)n)],
                              (int)px_draw_below(&draw, PX_THINGS)};
        uint8_t levels[PX_AXES];
        for (int a = 0; a < PX_AXES; a++) levels[a] = px_draw_chance(&draw, 0.5);
        px_str_clear(&text);
        px_answer_write(&draw, subject, levels, &text);
        px_assert_ok(px_str_ok(&text));
        assert_true(px_utf8_check(text.data, text.size) < 0);
        assert_null(strstr(text.data, "%s"));
        assert_null(strstr(text.data, "  "));
        for (size_t k = 0; k < PX_COUNT(sure); k++)
            if (looks(text.data, sure[k]) != levels[sure[k]])
                fail_msg("%s %d: %s", px_axis_names[sure[k]], levels[sure[k]], text.data);
        length[levels[PX_AXIS_LONG]] += (double)text.size;
        n_length[levels[PX_AXIS_LONG]]++;
        /* Contractions are casual. */
        if (levels[PX_AXIS_FORMAL]) {
            n_formal++;
            n_contractions += strstr(text.data, "n't ") || strstr(text.data, "'s ");
        }
    }
    assert_true(length[1] / n_length[1] > 1.7 * length[0] / n_length[0]);
    assert_int_equal(n_contractions, 0);
    assert_true(n_formal > ANSWERS / 3);
    px_str_free(&text);
}

/* With tastes, the person's own weights say which of two answers wins far more often than chance.
 */
static void scores_follow_tastes(void **state) {
    (void)state;
    int n = 0, right = 0, right_other = 0, n_shared = 0;
    for (uint64_t u = 0; u < 400; u++) {
        px_taste taste = px_taste_draw(9, u), other = px_taste_draw(9, u + 1000);
        n_shared += taste.cluster >= 0;
        px_draw draw = px_draw_for(9, PX_DRAW_CONV, u);
        for (int i = 0; i < 10; i++) {
            uint8_t levels[2][PX_AXES];
            double own = 0, swapped = 0;
            int score[2];
            for (int s = 0; s < 2; s++) {
                for (int a = 0; a < PX_AXES; a++) levels[s][a] = px_draw_chance(&draw, 0.5);
                double noise = px_taste_noise(12) * px_draw_normal(&draw);
                score[s] = px_taste_score(&taste, 12, levels[s], 565, 50 + noise);
                assert_in_range(score[s], 1, 100);
                for (int a = 0; a < PX_AXES; a++) {
                    own += (s ? -1 : 1) * levels[s][a] * taste.weight[a];
                    swapped += (s ? -1 : 1) * levels[s][a] * other.weight[a];
                }
            }
            if (score[0] == score[1] || own == 0 || swapped == 0) continue;
            n++;
            right += (own > 0) == (score[0] > score[1]);
            right_other += (swapped > 0) == (score[0] > score[1]);
        }
    }
    assert_true(n > 1000);
    assert_true(right > n * 8 / 10);
    assert_true(abs(2 * right_other - n) < n / 5);
    assert_in_range(n_shared, 280, 360); /* four in five share a pattern */
}

static void wrong_jobs_are_refused(void **state) {
    (void)state;
    px_synth job = {"/tmp/px-never", 0, 1, 12};
    px_assert_error(px_synth_write(&job), PX_BAD_INPUT, "--users 0");
    job.n_users = 5;
    job.taste = NAN;
    px_assert_error(px_synth_write(&job), PX_BAD_INPUT, "--taste");
    job.taste = -1;
    px_assert_error(px_synth_write(&job), PX_BAD_INPUT, "--taste");
    assert_false(px_path_exists("/tmp/px-never"));
}

int main(void) {
    px_log_setup(0, PX_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_decides_every_byte),    cmocka_unit_test(bytes_are_the_known_ones),
        cmocka_unit_test(shape_is_the_published_one), cmocka_unit_test(styles_are_visible),
        cmocka_unit_test(scores_follow_tastes),       cmocka_unit_test(wrong_jobs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
