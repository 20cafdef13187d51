/* test_text_hostile.c - damaged and hostile vocabularies and chat templates: each is refused with
 * the file and the key, none crashes or hangs. */
#include "px_test.h"

#include <unistd.h>

#include "text.h"

#define VOCAB "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define TOKEN "\"added_tokens\":[{\"id\":3,\"content\":\"<|im_end|>\",\"special\":true}]"
#define LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"

/* A folder of its own for each test; the files in it are written by put. */
static char folder[64];
static int folder_make(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/px_text_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}
static int folder_remove(void **state) {
    (void)state;
    px_err *err = px_dir_remove(folder);
    px_err_free(err);
    return err ? -1 : 0;
}

static void put(const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    px_assert_ok(px_file_write(path, text, strlen(text)));
}

/* What stands in the file, and a part of what is said of it. */
static const struct {
    const char *json, *part;
} broken[] = {
    {"", "tokenizer.json"},
    {"{", "tokenizer.json"},
    {"[]", "object is wanted"},
    {"{}", "model"},
    {"{\"model\":[]}", "model"},
    {"{\"model\":{}}", "model.vocab"},
    {"{\"model\":{\"vocab\":{}}}", "model.vocab is empty"},
    {"{\"model\":{\"vocab\":[\"a\"],\"merges\":[]}}", "model.vocab"},
    {"{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges"},
    {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "model.vocab[\"a\"]"},
    {"{\"model\":{\"vocab\":{\"a\":0.5},\"merges\":[]}}", "model.vocab[\"a\"]"},
    {"{\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", "string"},
    {"{\"model\":{\"vocab\":{\"a\":1e300},\"merges\":[]}}", "model.vocab[\"a\"]"},
    {"{\"model\":{\"vocab\":{\"a\":2000000000},\"merges\":[]}}", "2000000000"},
    {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "id 0 twice"},
    {"{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", "twice"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":{}}}", "model.merges"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[7]}}", "model.merges[0]"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "model.merges[0]"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a \"]}}", "model.merges[0]"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "model.merges[0]"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a x\"]}}", "\"x\" is no piece"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "make no piece"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model.type is \"Unigram\""},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", "model.unk_token"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "model.dropout"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
     "model.end_of_word_suffix"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":1}}", "byte_fallback"},
    {"{" VOCAB ",\"added_tokens\":{}}", "added_tokens"},
    {"{" VOCAB ",\"added_tokens\":[{}]}", "id"},
    {"{" VOCAB ",\"added_tokens\":[{\"id\":3}]}", "content"},
    {"{" VOCAB ",\"added_tokens\":[{\"id\":0,\"content\":\"x\"}]}", "model.vocab says otherwise"},
    {"{" VOCAB ",\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]}", "model.vocab says otherwise"},
    {"{" VOCAB ",\"added_tokens\":[{\"id\":1e9,\"content\":\"x\"}]}", "1000000000"},
    {"{" VOCAB ",\"normalizer\":{}}", "normalizer"},
    {"{" VOCAB ",\"normalizer\":{\"type\":\"Precompiled\"}}", "Precompiled"},
    {"{" VOCAB ",\"normalizer\":{\"type\":\"Sequence\"}}", "normalizer.normalizers"},
    {"{" VOCAB ",\"normalizer\":{\"type\":\"Replace\"}}", "normalizer.pattern"},
    {"{" VOCAB ",\"pre_tokenizer\":7}", "pre_tokenizer"},
    {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", "UnicodeScripts"},
    {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"x\"}}",
     "prepend_scheme"},
    {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
     "\"behavior\":\"Isolated\"}}",
     "pattern \"(\": offset"},
    {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},"
     "\"behavior\":\"Eaten\"}}",
     "behavior is \"Eaten\""},
    {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
     "{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}}",
     "behind ByteLevel"},
};

static void broken_vocabularies_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(broken); i++) {
        px_tokenizer *tok = NULL;
        put("tokenizer.json", broken[i].json);
        px_err *err = px_tokenizer_open(folder, &tok);
        if (!err) fail_msg("case %zu was read: %s", i, broken[i].json);
        if (px_err_kind(err) != PX_BAD_INPUT || !strstr(px_err_text(err), broken[i].part) ||
            !strstr(px_err_text(err), folder))
            fail_msg("case %zu: %s\nwanted: %s", i, px_err_text(err), broken[i].part);
        px_err_free(err);
        assert_null(tok);
    }
}

static void missing_files_are_named(void **state) {
    (void)state;
    px_tokenizer *tok = NULL;
    px_assert_error(px_tokenizer_open(folder, &tok), PX_BAD_INPUT, "no tokenizer.json");
    px_assert_error(px_tokenizer_open("/nowhere/model", &tok), PX_BAD_INPUT, "/nowhere/model");
    put("vocab.gguf", "GGUF");
    char path[128];
    (void)snprintf(path, sizeof path, "%s/vocab.gguf", folder);
    px_assert_error(px_tokenizer_open(path, &tok), PX_BAD_INPUT, "vocab.gguf");
    put("tokenizer.json", "{" VOCAB "," LEVEL "}");
    put("tokenizer_config.json", "[1]");
    px_assert_error(px_tokenizer_open(folder, &tok), PX_BAD_INPUT, "tokenizer_config.json");
}

static void deep_sequences_are_refused(void **state) {
    (void)state;
    px_tokenizer *tok = NULL;
    px_str json = {0};
    px_str_text(&json, "{" VOCAB ",\"normalizer\":");
    for (int i = 0; i < 40; i++) px_str_text(&json, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 40; i++) px_str_text(&json, "]}");
    px_str_text(&json, "}");
    put("tokenizer.json", json.data);
    px_assert_error(px_tokenizer_open(folder, &tok), PX_BAD_INPUT, "nested deeper than 8");
    px_str_free(&json);
}

/* Exponential backtracking ends at the limit of steps. */
static void pathological_patterns_end(void **state) {
    (void)state;
    static const char *const patterns[] = {"(a+)+c", "(a|aa)+c", "(?:a*)*c"};
    char text[65];
    memset(text, 'a', 64);
    text[64] = 'b';
    for (size_t i = 0; i < PX_COUNT(patterns); i++) {
        px_tokenizer *tok = NULL;
        px_ids ids = {0};
        px_str json = {0};
        px_str_format(&json,
                      "{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                      "\"%s\"},\"behavior\":\"Isolated\"}}",
                      patterns[i]);
        put("tokenizer.json", json.data);
        px_assert_ok(px_tokenizer_open(folder, &tok));
        px_err *err = px_encode(tok, text, sizeof text, false, &ids);
        /* PCRE2 sees that no c stands there, or runs into the limit: both end. */
        if (err) assert_non_null(strstr(px_err_text(err), "limit"));
        px_err_free(err);
        ids.n = 0;
        text[64] = 'c';
        text[10] = 'x';
        err = px_encode(tok, text, sizeof text - 1, false, &ids);
        px_err_free(err);
        text[64] = 'b';
        text[10] = 'a';
        px_ids_free(&ids);
        px_str_free(&json);
        px_tokenizer_close(tok);
    }
}

static void ids_outside_are_refused(void **state) {
    (void)state;
    static const int32_t ids[] = {-1, 5, INT32_MAX, 3};
    px_tokenizer *tok = NULL;
    px_str text = {0};
    put("tokenizer.json", "{" VOCAB ",\"added_tokens\":[{\"id\":4,\"content\":\"x\"}]}");
    px_assert_ok(px_tokenizer_open(folder, &tok));
    assert_int_equal(px_tokenizer_size(tok), 5);
    assert_int_equal(px_tokenizer_bos(tok), -1);
    for (int i = 0; i < 3; i++)
        px_assert_error(px_decode(tok, &ids[i], 1, true, &text), PX_BAD_INPUT, "outside");
    px_assert_error(px_decode(tok, &ids[3], 1, true, &text), PX_BAD_INPUT, "no token"); /* a hole */
    px_assert_error(px_token_text(tok, 5, &text), PX_BAD_INPUT, "outside");
    assert_false(px_token_is_special(tok, 4) || px_token_is_special(tok, -1));
    px_str_free(&text);
    px_tokenizer_close(tok);
}

static void broken_templates_are_named(void **state) {
    (void)state;
    static const struct {
        const char *source, *part;
        bool opens; /* refused only when it runs */
    } cases[] = {
        {"Hello {{ messages }}", "none of the known kinds: chatml", false},
        {"<|im_start|><|im_end|>{{", "a tag without end", false},
        {"<|im_start|><|im_end|>{% if x %}", "elif is missing", false},
        {"<|im_start|><|im_end|>\n{% include 'x' %}", "line 2: \"include\"", false},
        {"<|im_start|><|im_end|>{{ 'x }}", "string without end", false},
        {"<|im_start|><|im_end|>{{ 1 + }}", "a value is wanted", false},
        {"<|im_start|><|im_end|>{# x", "a comment without end", false},
        {"<|im_start|><|im_end|>{% break %}", "a loop around it", false},
        {"<|im_start|><|im_end|>\n\n{{ x.y }}", "line 3: \"x\" is undefined", true},
        {"<|im_start|><|im_end|>{{ 'a' | wobble }}", "filter wobble", true},
        {"<|im_start|><|im_end|>{{ 'a' + 1 }}", "a text + a number", true},
        {"<|im_start|><|im_end|>{{ 1 // 0 }}", "division by 0", true},
        {"<|im_start|><|im_end|>{{ raise_exception('not so') }}", "not so", true},
        {"<|im_start|><|im_end|>{{ strftime_now('%d') }}", "today's date", true},
        {"<|im_start|><|im_end|>{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deep", true},
        {"<|im_start|><|im_end|>{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}"
         "{% endfor %}",
         "too long", true},
    };
    put("tokenizer.json", "{" VOCAB "," LEVEL "," TOKEN "}");
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_tokenizer *tok = NULL;
        px_template *tmpl = NULL;
        px_ids ids = {0};
        px_message user = {"user", "a", 1};
        put("chat_template.jinja", cases[i].source);
        px_assert_ok(px_tokenizer_open(folder, &tok));
        px_err *err = px_template_open(tok, "auto", &tmpl);
        if (!err && cases[i].opens) err = px_template_encode(tmpl, tok, &user, 1, true, &ids);
        if (!err) fail_msg("case %zu was taken: %s", i, cases[i].source);
        if (px_err_kind(err) != PX_BAD_INPUT || !strstr(px_err_text(err), cases[i].part))
            fail_msg("case %zu: %s\nwanted: %s", i, px_err_text(err), cases[i].part);
        px_err_free(err);
        px_ids_free(&ids);
        px_template_close(tmpl);
        px_tokenizer_close(tok);
    }
}

/* A family whose end-of-turn token the vocabulary lacks would give answers without end. */
static void families_need_their_end_token(void **state) {
    (void)state;
    px_tokenizer *tok = NULL;
    px_template *tmpl = NULL;
    put("tokenizer.json", "{" VOCAB "," LEVEL "}");
    px_assert_ok(px_tokenizer_open(folder, &tok));
    px_assert_error(px_template_open(tok, "chatml", &tmpl), PX_BAD_INPUT, "<|im_end|>");
    px_assert_error(px_template_open(tok, "zephyr", &tmpl), PX_BAD_INPUT, "no EOS token");
    px_tokenizer_close(tok);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(broken_vocabularies_are_named), IN_FOLDER(missing_files_are_named),
        IN_FOLDER(deep_sequences_are_refused),    IN_FOLDER(pathological_patterns_end),
        IN_FOLDER(ids_outside_are_refused),       IN_FOLDER(broken_templates_are_named),
        IN_FOLDER(families_need_their_end_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
