/* test_prism.c - lines of the PRISM files, whole and damaged: what is read, what is counted. */
#include "prism.h"
#include "px_test.h"

#include "files.h"

#define USER(t, text) "{\"turn\":" #t ",\"role\":\"user\",\"content\":\"" text "\"}"
#define MODEL(t, text, id, score, chosen)                                                          \
    "{\"turn\":" #t ",\"role\":\"model\",\"content\":\"" text                                      \
    "\",\"model_name\":\"m\",\"model_provider\":\"p\",\"score\":" #score ",\"if_chosen\":" #chosen \
    ",\"within_turn_id\":" #id "}"
#define CONV(turns, history)                                                                       \
    "{\"conversation_id\":\"c1\",\"user_id\":\"u1\",\"conversation_type\":\"unguided\","           \
    "\"opening_prompt\":\"hi\",\"conversation_turns\":" #turns                                     \
    ",\"included_in_balanced_subset\":true,\"conversation_history\":[" history "]}"
#define GOOD USER(0, "hi") "," MODEL(0, "a", 1, 50, false) "," MODEL(0, "b", 0, 70, true)

static void file_write(const char *dir, const char *name, const char *text) {
    char *path = px_path_join(dir, name);
    assert_non_null(path);
    px_assert_ok(px_file_write(path, text, strlen(text)));
    free(path);
}

typedef struct {
    px_arena *arena;
    px_harms harms;
    cJSON *json;
    px_prism_conv conv;
    bool ok;
} reading;

static reading read_line_of(const char *text, size_t size, bool strict, px_err **err) {
    reading r = {.harms = {.strict = strict}};
    px_assert_ok(px_arena_new(1 << 14, &r.arena));
    *err = px_prism_conv_parse(text, size, 12, r.arena, &r.harms, &r.json, &r.conv, &r.ok);
    return r;
}

static reading read_text(const char *text) {
    px_err *err;
    reading r = read_line_of(text, strlen(text), false, &err);
    px_assert_ok(err);
    return r;
}

static void reading_free(reading *r) {
    cJSON_Delete(r->json);
    px_arena_free(r->arena);
}

static void whole_conversation_is_read(void **state) {
    (void)state;
    reading r = read_text(CONV(2, GOOD "," USER(1, "and?") "," MODEL(1, "c", 0, 90, true) "," MODEL(
                                      1, "d", 1, 90, false)));
    assert_true(r.ok);
    for (int k = 0; k < PX_HARM_COUNT; k++) assert_int_equal(r.harms.n[k], 0);
    assert_string_equal(r.conv.id, "c1");
    assert_string_equal(r.conv.user_id, "u1");
    assert_int_equal(r.conv.type, PX_CONV_UNGUIDED);
    assert_true(r.conv.balanced);
    assert_int_equal(r.conv.line, 12);
    assert_int_equal(r.conv.n_turns, 2);
    assert_int_equal(r.conv.n_usable, 2);
    const px_prism_turn *t = r.conv.turns;
    assert_string_equal(t[0].prompt, "hi");
    assert_int_equal(t[0].n_answers, 2);
    assert_int_equal(t[0].chosen, 1);
    assert_string_equal(t[0].answers[0].text, "a");
    assert_int_equal(t[0].answers[0].id, 1);
    assert_int_equal(t[0].answers[0].score, 50);
    assert_string_equal(t[1].prompt, "and?");
    assert_int_equal(t[1].chosen, 0);
    assert_int_equal(t[1].answers[1].score, 90);
    px_prism_facts facts = {0};
    px_prism_facts_add(&facts, &r.conv);
    assert_int_equal(facts.n_answers, 4);
    assert_int_equal(facts.n_turns, 2);
    assert_int_equal(facts.n_near_ties, 0);
    assert_int_equal(facts.n_longest_chosen, 1);
    reading_free(&r);
}

/* A damaged line, the kind that must be counted (once), whether the conversation is kept, and how
 * many turns pairs may come from. */
static const struct {
    px_harm kind;
    bool kept;
    int usable;
    const char *text;
} damages[] = {
    {PX_HARM_JSON, false, 0, "{\"conversation_id\":"},
    {PX_HARM_JSON, false, 0, "[1]"},
    {PX_HARM_JSON, false, 0, "null"},
    {PX_HARM_UTF8, false, 0, "{\"conversation_id\":\"\xff\"}"},
    {PX_HARM_UTF8, false, 0, "{\"conversation_id\":\"\xed\xa0\x80\"}"},
    {PX_HARM_NO_ID, false, 0, "{}"},
    {PX_HARM_NO_ID, false, 0, "{\"conversation_id\":7}"},
    {PX_HARM_NO_ID, false, 0, "{\"conversation_id\":\"\"}"},
    {PX_HARM_NO_USER, false, 0, "{\"conversation_id\":\"c\"}"},
    {PX_HARM_NO_USER, false, 0, "{\"conversation_id\":\"c\",\"user_id\":null}"},
    {PX_HARM_NO_HISTORY, false, 0, CONV(0, "")},
    {PX_HARM_NO_HISTORY, false, 0,
     "{\"conversation_id\":\"c\",\"user_id\":\"u\",\"conversation_history\":{\"a\":1}}"},
    {PX_HARM_TYPE, true, 1,
     "{\"conversation_id\":\"c1\",\"user_id\":\"u1\",\"conversation_type\":\"free\",\"opening_"
     "prompt\":"
     "\"hi\",\"conversation_turns\":1,\"conversation_history\":[" GOOD "]}"},
    {PX_HARM_ITEM, true, 1, CONV(1, GOOD ",17")},
    {PX_HARM_ITEM, true, 1, CONV(1, GOOD ",{\"role\":\"user\",\"content\":\"x\"}")},
    {PX_HARM_ITEM, true, 1, CONV(1, GOOD "," USER(-1, "x"))},
    {PX_HARM_ITEM, true, 1, CONV(1, GOOD "," USER(0.5, "x"))},
    {PX_HARM_ITEM, true, 1, CONV(1, GOOD "," USER(1e300, "x"))},
    {PX_HARM_ROLE, true, 1, CONV(1, GOOD ",{\"turn\":0,\"role\":\"assistant\",\"content\":\"x\"}")},
    {PX_HARM_ROLE, true, 1, CONV(1, GOOD ",{\"turn\":0,\"content\":\"x\"}")},
    {PX_HARM_NO_CONTENT, true, 1, CONV(1, GOOD ",{\"turn\":0,\"role\":\"model\"}")},
    {PX_HARM_NO_CONTENT, true, 1, CONV(1, GOOD ",{\"turn\":0,\"role\":\"model\",\"content\":[]}")},
    {PX_HARM_NO_MARK, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 9, null))},
    {PX_HARM_NO_MARK, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 9, 1))},
    {PX_HARM_NO_PROMPT, true, 1, CONV(1, GOOD "," MODEL(1, "x", 0, 9, true))},
    {PX_HARM_PROMPTS, true, 1,
     CONV(1, USER(0, "hi") "," USER(0, "ho") "," MODEL(0, "a", 1, 50, false) "," MODEL(0, "b", 0,
                                                                                       70, true))},
    {PX_HARM_GAP, true, 1, CONV(1, GOOD "," USER(2, "x"))},
    {PX_HARM_GAP, true, 0, CONV(0, USER(1, "x"))},
    {PX_HARM_NO_RESPONSE, true, 1, CONV(2, GOOD "," USER(1, "x"))},
    {PX_HARM_NO_CHOSEN, true, 1,
     CONV(2, GOOD "," USER(1, "x") "," MODEL(1, "c", 0, 1, false) "," MODEL(1, "d", 1, 2, false))},
    {PX_HARM_EMPTY, true, 1, CONV(1, GOOD "," MODEL(0, "EMPTY STRING", 2, 9, false))},
    {PX_HARM_EMPTY, true, 1, CONV(1, GOOD "," MODEL(0, "", 2, 9, false))},
    {PX_HARM_BLANK, true, 2,
     CONV(2, GOOD
          "," USER(1, " \\n\\t") "," MODEL(1, "c", 0, 9, true) "," MODEL(1, "d", 1, 2, false))},
    {PX_HARM_NO_WITHIN, true, 1, CONV(1, GOOD "," MODEL(0, "x", null, 9, false))},
    {PX_HARM_WITHIN_TWICE, true, 1, CONV(1, GOOD "," MODEL(0, "x", 1, 9, false))},
    {PX_HARM_NO_SCORE, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 0, false))},
    {PX_HARM_NO_SCORE, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 101, false))},
    {PX_HARM_NO_SCORE, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, true, false))},
    {PX_HARM_MANY_CHOSEN, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 70, true))},
    {PX_HARM_LOW_CHOSEN, true, 1, CONV(1, GOOD "," MODEL(0, "x", 2, 71, false))},
    {PX_HARM_ORDER, true, 1,
     CONV(1, MODEL(0, "a", 1, 50, false) "," USER(0, "hi") "," MODEL(0, "b", 0, 70, true))},
    {PX_HARM_TURNS, true, 1, CONV(5, GOOD)},
    {PX_HARM_OPENING, true, 1,
     "{\"conversation_id\":\"c1\",\"user_id\":\"u1\",\"conversation_type\":\"values guided\","
     "\"opening_prompt\":\"hello\",\"conversation_turns\":1,\"conversation_history\":[" GOOD "]}"},
    {PX_HARM_COUNTS, true, 1,
     CONV(1, GOOD "," MODEL(0, "x", 2, 3, false) "," MODEL(0, "y", 3, 3,
                                                           false) "," MODEL(0, "z", 4, 3, false))},
};

static void each_damage_is_counted(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(damages); i++) {
        reading r = read_text(damages[i].text);
        for (int k = 0; k < PX_HARM_COUNT; k++)
            if (r.harms.n[k] != (k == (int)damages[i].kind))
                fail_msg("case %zu: %s counted %lld times", i, px_harm_name((px_harm)k),
                         (long long)r.harms.n[k]);
        assert_int_equal(r.harms.n_lines[damages[i].kind], 1);
        assert_int_equal(r.harms.lines[damages[i].kind][0], 12);
        assert_int_equal(r.ok, damages[i].kept);
        if (r.ok) assert_int_equal(r.conv.n_usable, damages[i].usable);
        if (!r.ok) assert_null(r.json);
        reading_free(&r);
    }
}

static void strict_names_file_and_line(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(damages); i++) {
        px_err *err;
        reading r = read_line_of(damages[i].text, strlen(damages[i].text), true, &err);
        if (px_harm_is_strict(damages[i].kind)) {
            px_assert_error(err, PX_BAD_INPUT, "conversations.jsonl line 12");
            assert_null(r.json);
        } else {
            px_assert_ok(err);
        }
        reading_free(&r);
    }
}

static void no_rejected_is_counted(void **state) {
    (void)state;
    reading r = read_text(
        CONV(1, USER(0, "hi") "," MODEL(0, "b", 0, 70, true) "," MODEL(0, "c", 1, 70, true)));
    assert_int_equal(r.harms.n[PX_HARM_NO_REJECTED], 1);
    assert_int_equal(r.harms.n[PX_HARM_MANY_CHOSEN], 1);
    assert_int_equal(r.conv.n_usable, 1);
    assert_int_equal(r.conv.turns[0].chosen, 0);
    reading_free(&r);
}

static void turns_are_sorted(void **state) {
    (void)state;
    reading r = read_text(CONV(
        2, MODEL(1, "c", 0, 9, true) "," USER(1, "x") "," MODEL(1, "d", 1, 2, false) "," GOOD));
    assert_int_equal(r.harms.n[PX_HARM_ORDER], 1);
    assert_int_equal(r.conv.n_usable, 2);
    assert_string_equal(r.conv.turns[0].prompt, "hi");
    assert_string_equal(r.conv.turns[1].answers[0].text, "c");
    assert_string_equal(r.conv.turns[1].answers[1].text, "d");
    reading_free(&r);
}

/* Every prefix of a good line, and the line with each byte changed: no crash, at most one
 * conversation. */
static void cut_and_flipped_lines_do_not_crash(void **state) {
    (void)state;
    char text[] =
        CONV(2, GOOD "," USER(1, "\\u00e9 \xf0\x9f\x98\x80") "," MODEL(1, "c", 0, 90, true));
    for (size_t n = 0; n < sizeof text - 1; n++) {
        px_err *err;
        reading r = read_line_of(text, n, false, &err);
        px_assert_ok(err);
        assert_false(r.ok);
        reading_free(&r);
    }
    for (size_t i = 0; i < sizeof text - 1; i++)
        for (int bit = 0; bit < 8; bit++) {
            px_err *err;
            text[i] = (char)(text[i] ^ (1 << bit));
            reading r = read_line_of(text, sizeof text - 1, false, &err);
            px_assert_ok(err);
            if (r.ok) {
                px_prism_facts facts = {0};
                px_prism_facts_add(&facts, &r.conv);
            }
            reading_free(&r);
            text[i] = (char)(text[i] ^ (1 << bit));
        }
}

static void survey_is_read(void **state) {
    (void)state;
    char *dir = temp_folder();
    px_arena *arena;
    px_harms harms = {0};
    px_survey survey;
    px_assert_ok(px_arena_new(1 << 14, &arena));
    file_write(
        dir, "survey.jsonl",
        "{\"user_id\":\"b\",\"survey_only\":true}\n{\"user_id\":\"a\"}\n\n{\"user_id\":\"b\"}\n"
        "{\"user_id\":\"\"}\n{\"user_id\":3}\n{\n{\"user_id\":\"\xc0\"}\n{\"user_id\":\"c\"}");
    px_assert_ok(px_survey_read(dir, arena, &harms, &survey));
    assert_int_equal(survey.n, 3);
    assert_string_equal(survey.ids[0], "b");
    assert_string_equal(survey.ids[1], "a");
    assert_string_equal(survey.ids[2], "c");
    assert_int_equal(survey.n_survey_only, 1);
    assert_int_equal(px_map_find(&survey.by_id, "c", 1, -1), 2);
    assert_int_equal(harms.n[PX_HARM_SURVEY_TWICE], 1);
    assert_int_equal(harms.lines[PX_HARM_SURVEY_TWICE][0], 4);
    assert_int_equal(harms.n[PX_HARM_SURVEY_NO_ID], 2);
    assert_int_equal(harms.n[PX_HARM_SURVEY_JSON], 1);
    assert_int_equal(harms.n[PX_HARM_SURVEY_UTF8], 1);
    assert_int_equal(harms.lines[PX_HARM_SURVEY_UTF8][0], 8);
    px_survey_fini(&survey);
    px_arena_free(arena);
    temp_folder_end(dir);
}

static void english_flags_are_read(void **state) {
    (void)state;
    char *dir = temp_folder();
    px_arena *arena;
    px_harms harms = {0};
    px_english english;
    px_assert_ok(px_arena_new(1 << 14, &arena));
    file_write(
        dir, "metadata.jsonl",
        "{\"column_id\":\"user_prompt\",\"conversation_id\":\"a\",\"en_flag\":true}\n"
        "{\"column_id\":\"model_response\",\"conversation_id\":\"a\",\"en_flag\":true}\n"
        "{\"column_id\":\"user_prompt\",\"conversation_id\":\"b\",\"en_flag\":false}\n"
        "{\"column_id\":\"user_prompt\",\"conversation_id\":\"b\",\"en_flag\":true}\n"
        "{\"column_id\":\"open_feedback\",\"conversation_id\":\"a\",\"en_flag\":false}\n"
        "{\"column_id\":\"user_prompt\",\"conversation_id\":\"c\",\"en_flag\":\"yes\"}\nx\n");
    px_assert_ok(px_english_read(dir, arena, &harms, &english));
    assert_int_equal(px_map_find(&english.by_id, "a", 1, -1), 1);
    assert_int_equal(px_map_find(&english.by_id, "b", 1, -1), 0);
    assert_int_equal(px_map_find(&english.by_id, "c", 1, -1), -1);
    assert_int_equal(harms.n[PX_HARM_META_FIELDS], 1);
    assert_int_equal(harms.n[PX_HARM_META_LINE], 1);
    px_english_fini(&english);
    px_arena_free(arena);
    temp_folder_end(dir);
}

#define FLAT(conv, turn, id, text, score, chosen)                                                  \
    "{\"conversation_id\":\"" conv "\",\"user_id\":\"u1\",\"turn\":" #turn                         \
    ",\"within_turn_id\":" #id ",\"user_prompt\":\"hi\",\"model_response\":\"" text                \
    "\",\"score\":" #score ",\"if_chosen\":" #chosen "}\n"

static void utterances_are_compared(void **state) {
    (void)state;
    char *dir = temp_folder();
    px_harms harms = {0};
    px_cross *cross;
    int64_t n_lines, n_same;
    reading r =
        read_text(CONV(1, GOOD "," MODEL(0, "x", 2, 9, false) "," MODEL(0, "y", 3, 8, false)));
    px_assert_ok(px_cross_new(&cross));
    px_assert_ok(px_cross_add(cross, &r.conv));
    file_write(dir, "utterances.jsonl",
               FLAT("c1", 0, 1, "a", 50, false) FLAT("c1", 0, 0, "b", 71, true)
                   FLAT("c1", 0, 1, "a", 50, false) FLAT("c2", 0, 1, "a", 50, false)
                       FLAT("c1", 0, 2, "X", 9, false) "{}\n");
    px_assert_ok(px_cross_compare(cross, dir, &harms, &n_lines, &n_same));
    assert_int_equal(n_lines, 6);
    assert_int_equal(n_same, 1);
    assert_int_equal(harms.n[PX_HARM_FLAT_DIFFERS], 2);
    assert_int_equal(harms.lines[PX_HARM_FLAT_DIFFERS][0], 2);
    assert_int_equal(harms.n[PX_HARM_FLAT_TWICE], 1);
    assert_int_equal(harms.n[PX_HARM_FLAT_ONLY], 1);
    assert_int_equal(harms.n[PX_HARM_FLAT_LINE], 1);
    assert_int_equal(harms.n[PX_HARM_FLAT_MISSING], 1);
    px_cross_free(cross);
    reading_free(&r);
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_conversation_is_read),
        cmocka_unit_test(each_damage_is_counted),
        cmocka_unit_test(strict_names_file_and_line),
        cmocka_unit_test(no_rejected_is_counted),
        cmocka_unit_test(turns_are_sorted),
        cmocka_unit_test(cut_and_flipped_lines_do_not_crash),
        cmocka_unit_test(survey_is_read),
        cmocka_unit_test(english_flags_are_read),
        cmocka_unit_test(utterances_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
