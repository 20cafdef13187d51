/* test_grammar.c - answers of a given form: from a model of random weights, with tokens of a
 * byte-level vocabulary and of one with byte fallback, every answer is an object of its form at any
 * temperature and any limit that has room for one; the same tokens in any batch; and the free
 * model's own token wherever that obeys the form. */
#include <stdlib.h>

#include "engine.h"
#include "files.h"
#include "json.h"
#include "px_test.h"

enum { N = 6, ROOM = 800, LONGEST = 23 };
static const char *const letters[] = {"A", "B", "C", "D"};
static const char *const moods[] = {"good", "goodish", "bad \"so\"", "\xC3\xA9t\xC3\xA9"};

static const px_field assess_fields[] = {
    {.key = "rank", .kind = PX_VALUE_RANKING, .texts = letters, .n_texts = 4},
    {.key = "vas",
     .kind = PX_VALUE_INTEGERS,
     .least = 0,
     .most = 100,
     .texts = letters,
     .n_texts = 4},
    {.key = "wtp", .kind = PX_VALUE_INTEGER, .least = -3, .most = 12}};
static const px_field talk_fields[] = {
    {.key = "message", .kind = PX_VALUE_STRING, .least = 1, .most = LONGEST},
    {.key = "mood", .kind = PX_VALUE_CHOICE, .texts = moods, .n_texts = 4},
    {.key = "note", .kind = PX_VALUE_STRING, .most = LONGEST},
    {.key = "done", .kind = PX_VALUE_BOOLEAN}};
static const px_form assess = {assess_fields, PX_COUNT(assess_fields)};
static const px_form talk = {talk_fields, PX_COUNT(talk_fields)};

/* --- models --- */

/* Weights of `tiny`, whose 512 tokens are the first of a golden vocabulary. */
typedef struct {
    const char *folder;
    int template; /* of model.template's names */
    char *dir;
} case_model;
static case_model models[] = {{GOLDEN("tokenizer/digits"), 1, NULL},
                              {GOLDEN("tokenizer/llama2"), 2, NULL}};

static void copy(const char *from, const char *to, const char *name) {
    char *source = px_path_join(from, name), *target = px_path_join(to, name);
    px_bytes bytes = {0};
    px_assert_ok(px_file_read(source, &bytes));
    px_assert_ok(px_file_write(target, bytes.data, bytes.size));
    px_bytes_free(&bytes);
    free(source);
    free(target);
}

static int make_models(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(models); i++) {
        models[i].dir = temp_folder();
        px_assert_ok(px_model_init_random(models[i].dir, "tiny", 3, 0));
        copy(models[i].folder, models[i].dir, "tokenizer.json");
        copy(models[i].folder, models[i].dir, "tokenizer_config.json");
    }
    return 0;
}

static int remove_models(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(models); i++) temp_folder_end(models[i].dir);
    return 0;
}

static px_engine *engine_of(const case_model *model, int threads, int64_t batch) {
    px_config config;
    px_engine *engine = NULL;
    px_assert_ok(px_config_init(&config));
    config.model_template = model->template;
    const px_engine_setup setup = {.model_path = model->dir,
                                   .step = -1,
                                   .config = &config,
                                   .threads = threads,
                                   .batch = batch};
    px_assert_ok(px_engine_open(&setup, &engine));
    px_config_fini(&config);
    return engine;
}

/* --- answers --- */

typedef struct {
    int32_t prompt[64], n, ids[ROOM], best[ROOM], n_new;
    px_finish finish;
} answer;

static bool take(void *context, const px_token *token) {
    answer *a = token->tag;
    (void)context;
    assert_true(a->n_new < ROOM);
    a->best[a->n_new] = token->n_best > 0 ? token->best[0].id : -1;
    a->ids[a->n_new++] = token->id;
    a->finish = token->finish;
    return true;
}

static void run(px_engine *engine, const px_grammar *grammar, answer *answers, px_decoding how) {
    for (int i = 0; i < N; i++) {
        answers[i] = (answer){.n = 5 + 9 * i};
        for (int k = 0; k < answers[i].n; k++)
            answers[i].prompt[k] = k < 20 ? 40 + k : 40 + (i * 97 + k * 31) % 400;
        px_request request = {.ids = answers[i].prompt,
                              .n = answers[i].n,
                              .user = -1,
                              .key = (uint64_t)i,
                              .how = how,
                              .grammar = grammar,
                              .tag = &answers[i]};
        px_assert_ok(px_engine_add(engine, &request));
    }
    while (!px_engine_idle(engine)) px_assert_ok(px_engine_step(engine, take, NULL));
}

static cJSON *object_of(const px_engine *engine, const answer *a) {
    px_str text = {0};
    cJSON *json = NULL;
    assert_int_equal(a->finish, PX_FINISH_STOP);
    px_assert_ok(px_engine_decode(engine, a->ids, a->n_new, &text));
    assert_int_equal(px_utf8_check(text.data, text.size), -1);
    px_err *err = px_json_parse(text.data, text.size, &json);
    if (err) fail_msg("%s: %s", px_err_text(err), text.data);
    px_str_free(&text);
    return json;
}

static int64_t integer_of(const cJSON *object, const char *key, int64_t least, int64_t most) {
    int64_t value = 0;
    px_assert_ok(px_json_i64(object, key, "answer", least, most, &value));
    return value;
}

static void check_assess(const px_engine *engine, const answer *a) {
    cJSON *json = object_of(engine, a);
    const cJSON *rank = cJSON_GetObjectItemCaseSensitive(json, "rank"), *item = NULL;
    const cJSON *vas = cJSON_GetObjectItemCaseSensitive(json, "vas");
    int seen = 0;
    assert_int_equal(cJSON_GetArraySize(json), 3);
    assert_int_equal(cJSON_GetArraySize(rank), 4);
    assert_int_equal(cJSON_GetArraySize(vas), 4);
    cJSON_ArrayForEach(item, rank) seen |= 1 << (cJSON_GetStringValue(item)[0] - 'A');
    assert_int_equal(seen, 15);
    for (int i = 0; i < 4; i++) integer_of(vas, letters[i], 0, 100);
    integer_of(json, "wtp", -3, 12);
    cJSON_Delete(json);
}

static void check_talk(const px_engine *engine, const answer *a) {
    cJSON *json = object_of(engine, a);
    const char *message = NULL, *mood = NULL, *note = NULL;
    bool done = false, known = false;
    assert_int_equal(cJSON_GetArraySize(json), 4);
    px_assert_ok(px_json_text(json, "message", "answer", &message));
    px_assert_ok(px_json_text(json, "mood", "answer", &mood));
    px_assert_ok(px_json_text(json, "note", "answer", &note));
    px_assert_ok(px_json_bool(json, "done", "answer", &done));
    for (int i = 0; i < 4; i++) known = known || strcmp(mood, moods[i]) == 0;
    assert_true(known);
    assert_in_range(strlen(message), 1, LONGEST);
    assert_in_range(strlen(note), 0, LONGEST);
    assert_true(message[0] != ' ' && message[0] != '\n');
    cJSON_Delete(json);
}

static void every_answer_has_the_form(void **state) {
    (void)state;
    static const double temperatures[] = {0, 0.7, 1.5, 20};
    static answer answers[N];
    for (size_t m = 0; m < PX_COUNT(models); m++) {
        px_engine *engine = engine_of(&models[m], 1, 4);
        for (int f = 0; f < 2; f++) {
            px_grammar *grammar = NULL;
            px_assert_ok(px_grammar_new(engine, f ? &talk : &assess, &grammar));
            const int32_t least = px_grammar_tokens(grammar);
            const int32_t limits[] = {least, least + 1, least + 2, least + 5, least + 16, 600};
            for (size_t t = 0; t < PX_COUNT(temperatures); t++)
                for (size_t l = 0; l < PX_COUNT(limits); l++)
                    for (int full = 0; full < 2; full++) {
                        px_decoding how = px_decoding_default();
                        how.temperature = temperatures[t];
                        how.max_new_tokens = limits[l];
                        how.seed = 11 * l + t;
                        if (full) {
                            how.repetition_penalty = 1.3;
                            how.no_repeat_ngram = 2;
                            how.min_new_tokens = limits[l];
                            how.top_p = 0.9;
                            how.top_k = 50;
                            how.min_p = 0.001;
                        }
                        run(engine, grammar, answers, how);
                        for (int i = 0; i < N; i++) {
                            assert_in_range(answers[i].n_new, 1, limits[l]);
                            (f ? check_talk : check_assess)(engine, &answers[i]);
                        }
                    }
            px_grammar_free(grammar);
        }
        px_engine_close(engine);
    }
}

static void same_answer_always(void **state) {
    (void)state;
    static const int ways[][2] = {{1, 1}, {2, 3}, {2, 6}};
    for (size_t m = 0; m < PX_COUNT(models); m++) {
        static answer first[N], other[N];
        px_decoding how = px_decoding_default();
        how.temperature = 1.2;
        how.max_new_tokens = 70;
        for (size_t w = 0; w < PX_COUNT(ways); w++) {
            px_engine *engine = engine_of(&models[m], ways[w][0], ways[w][1]);
            px_grammar *grammar = NULL;
            px_assert_ok(px_grammar_new(engine, &talk, &grammar));
            for (int again = 0; again < 2; again++) { /* the second time over lists that are kept */
                answer *answers = w || again ? other : first;
                run(engine, grammar, answers, how);
                for (int i = 0; i < N; i++) {
                    assert_int_equal(first[i].n_new, answers[i].n_new);
                    assert_memory_equal(first[i].ids, answers[i].ids,
                                        (size_t)first[i].n_new * sizeof first[i].ids[0]);
                }
            }
            px_grammar_free(grammar);
            px_engine_close(engine);
        }
    }
}

/* Greedy: where the model's own choice could go on, it stands. */
static void own_choice_stands(void **state) {
    (void)state;
    static answer answers[N];
    int stood = 0, forced = 0;
    for (size_t m = 0; m < PX_COUNT(models); m++) {
        px_engine *engine = engine_of(&models[m], 1, N);
        px_tokenizer *tok = px_engine_tokenizer(engine);
        px_grammar *grammar = NULL;
        px_decoding how = px_decoding_default();
        how.max_new_tokens = 600;
        how.logprobs = 1;
        px_assert_ok(px_grammar_new(engine, &talk, &grammar));
        run(engine, grammar, answers, how);
        for (int i = 0; i < N; i++) {
            px_str text = {0};
            for (int k = 0; k + 1 < answers[i].n_new; k++) {
                bool complete = false;
                const size_t before = text.size;
                px_assert_ok(px_token_bytes(tok, answers[i].best[k], &text));
                const bool obeys = text.size > before &&
                                   px_grammar_follows(grammar, text.data, text.size, &complete);
                if (obeys) assert_int_equal(answers[i].ids[k], answers[i].best[k]);
                if (!obeys) assert_int_not_equal(answers[i].ids[k], answers[i].best[k]);
                stood += obeys;
                forced += !obeys;
                text.size = before;
                px_assert_ok(px_token_bytes(tok, answers[i].ids[k], &text));
                assert_true(px_grammar_follows(grammar, text.data, text.size, &complete));
            }
            px_str_free(&text);
        }
        px_grammar_free(grammar);
        px_engine_close(engine);
    }
    assert_true(stood > 20 && forced > 20);
}

/* --- the automaton alone --- */

static bool complete_of(const px_grammar *grammar, const char *text) {
    bool complete = false;
    return px_grammar_follows(grammar, text, strlen(text), &complete) && complete;
}

static void integers_are_those_of_the_range(void **state) {
    (void)state;
    static const int ranges[][2] = {{0, 0},   {0, 9},      {0, 100}, {1, 10},    {15, 102},
                                    {-7, -3}, {-120, -95}, {-12, 4}, {99, 1001}, {-1, 0}};
    px_engine *engine = engine_of(&models[0], 1, 1);
    for (size_t r = 0; r < PX_COUNT(ranges); r++) {
        const px_field field = {
            .key = "n", .kind = PX_VALUE_INTEGER, .least = ranges[r][0], .most = ranges[r][1]};
        px_grammar *grammar = NULL;
        px_assert_ok(px_grammar_new(engine, &(px_form){&field, 1}, &grammar));
        for (int n = -1300; n <= 1300; n++) {
            char text[64];
            snprintf(text, sizeof text, "{\"n\": %d}", n);
            assert_int_equal(complete_of(grammar, text), n >= field.least && n <= field.most);
        }
        assert_false(complete_of(grammar, "{\"n\":00}"));
        assert_false(complete_of(grammar, "{\"n\":-0}"));
        assert_false(complete_of(grammar, "{\"n\":01}"));
        assert_false(complete_of(grammar, "{\"n\":}"));
        px_grammar_free(grammar);
    }
    px_engine_close(engine);
}

static void strings_are_json(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {{"a", true},
                 {"\xC3\xA9", true},
                 {"a\\u00e9", true},
                 {"a\\\"b\\\\", true},
                 {"\xF0\x9F\x98\x80", true},
                 {"ten bytes!", true},
                 {"eleven bytes", false},
                 {"", false},
                 {" a", false},
                 {"\\na", false},
                 {"a\\n", true},
                 {"a\\u0000", false},
                 {"a\\u0001", true},
                 {"a\\ud83d", false},
                 {"a\\ud7ff", true},
                 {"\xC0\x80", false},
                 {"\xED\xA0\x80", false},
                 {"\xF4\x90\x80\x80", false},
                 {"\xE0\x80\x80", false},
                 {"a\x01", false},
                 {"a\\x", false},
                 {"\xE2\x82", false},
                 {"123456789\xC3\xA9", false},
                 {"123456789\\n", false}};
    const px_field field = {.key = "s", .kind = PX_VALUE_STRING, .least = 1, .most = 10};
    px_engine *engine = engine_of(&models[1], 1, 1);
    px_grammar *grammar = NULL;
    px_assert_ok(px_grammar_new(engine, &(px_form){&field, 1}, &grammar));
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"s\":\"%s\"}", cases[i].text);
        if (complete_of(grammar, text) != cases[i].ok) fail_msg("case %zu: %s", i, text);
    }
    assert_true(complete_of(grammar, " {\"s\": \"a\"}"));
    assert_false(complete_of(grammar, "{\"s\":  \"a\"}"));
    px_grammar_free(grammar);
    px_engine_close(engine);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    static const char *const twice[] = {"A", "B", "A"};
    static const struct {
        px_field field;
        const char *why;
    } cases[] = {
        {{.key = "k", .kind = PX_VALUE_STRING, .least = 2, .most = 9}, "from 0 or 1"},
        {{.key = "k", .kind = PX_VALUE_STRING, .least = 1, .most = 0}, "from 0 or 1"},
        {{.key = "k", .kind = PX_VALUE_INTEGER, .least = 2, .most = 1}, "integers from 2 to 1"},
        {{.key = "k", .kind = PX_VALUE_CHOICE}, "0 texts"},
        {{.key = "k", .kind = PX_VALUE_RANKING, .texts = twice, .n_texts = 3}, "stands twice"}};
    static answer answers[N];
    px_engine *engine = engine_of(&models[0], 1, 1);
    px_grammar *grammar = NULL;
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        px_assert_error(px_grammar_new(engine, &(px_form){&cases[i].field, 1}, &grammar),
                        PX_BAD_INPUT, cases[i].why);
    px_assert_error(px_grammar_new(engine, &(px_form){NULL, 0}, &grammar), PX_BAD_INPUT,
                    "without keys");
    px_assert_ok(px_grammar_new(engine, &assess, &grammar));
    answers[0].prompt[0] = 50;
    px_request request = {.ids = answers[0].prompt,
                          .n = 1,
                          .user = -1,
                          .how = px_decoding_default(),
                          .grammar = grammar,
                          .tag = &answers[0]};
    request.how.max_new_tokens = px_grammar_tokens(grammar) - 1;
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "there is room for");
    request.how = px_decoding_default();
    request.how.ignore_eos = true;
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "ignore_eos");
    px_grammar_free(grammar);
    px_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_has_the_form),
        cmocka_unit_test(same_answer_always),
        cmocka_unit_test(own_choice_stands),
        cmocka_unit_test(integers_are_those_of_the_range),
        cmocka_unit_test(strings_are_json),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
