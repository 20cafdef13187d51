/* test_json.c - JSON and JSON lines: what is read, what is refused and where, what is written. */
#include "px_test.h"

#include <float.h>

#include "json.h"

static px_err *parse(const char *text) {
    cJSON *json = NULL;
    px_err *err = px_json_parse(text, strlen(text), &json);
    cJSON_Delete(json);
    return err;
}

static void good_texts_are_read(void **state) {
    (void)state;
    static const char *const good[] = {
        "null",
        " true ",
        "-0",
        "0.5e-3",
        "1E+2",
        "\"\"",
        "[]",
        "{}",
        "[1,[2,[3]]]",
        "{\"\":{}}",
        "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
        "\xEF\xBB\xBF[1]",
        "{\"a\" : [ true , null ] }\r\n",
        "123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < PX_COUNT(good); i++) px_assert_ok(parse(good[i]));
}

static void bad_texts_are_refused_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "line 1, column 1: found the end of the text, wanted a value"},
        {"{\"a\": 1,\n  b: 2}", "line 2, column 3: found 'b', wanted a key in quotes"},
        {"[1,]", "line 1, column 4: found ']', wanted a value"},
        {"{\"a\":1,}", "column 8: found '}', wanted a key"},
        {"[1 2]", "column 4: found '2', wanted ',' or ']'"},
        {"{\"a\" 1}", "column 6: found '1', wanted ':'"},
        {"\"abc", "column 1: this string has no end"},
        {"\"a\\", "unknown escape"},
        {"\"a\\u12", "four hexadecimal digits"},
        {"\"\xC3\xA9\xC3\xA9\nx\"", "line 1, column 4: control character 0x0a"},
        {"\"\\x\"", "column 2: unknown escape"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\\u0000\"", "NUL"},
        {"\"\\ud800\"", "surrogate"},
        {"\"\\ud800\\u0041\"", "surrogate"},
        {"\"\\udc00\"", "surrogate"},
        {"01", "may not start with 0"},
        {"1.", "found the end of the text, wanted a digit"},
        {"-", "wanted a digit"},
        {"1e", "wanted a digit"},
        {"+1", "found '+', wanted a value"},
        {"1e999", "out of range"},
        {"nul", "found 'n', wanted a value"},
        {"NaN", "found 'N', wanted a value"},
        {"{} {}", "column 4: found '{', wanted nothing behind the value"},
        {"[1] // x", "found '/', wanted nothing behind"},
        {"\"a\xFF\"", "column 3: invalid UTF-8 at byte 2"},
        {"\"\xED\xA0\x80\"", "invalid UTF-8 at byte 1"},
        {"1234567890123456789012345678901234567890123456789012345678901234", "64 characters"},
        {"\x01", "byte 0x01"}};
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        px_assert_error(parse(bad[i].text), PX_BAD_INPUT, bad[i].says);
    cJSON *json = NULL;
    px_assert_error(px_json_parse("[\0]", 3, &json), PX_BAD_INPUT, "column 2: a NUL byte");
    px_assert_error(px_json_parse("{}\0", 3, &json), PX_BAD_INPUT, "column 3: a NUL byte");
    px_assert_error(px_json_parse(NULL, 0, &json), PX_BAD_INPUT, "wanted a value");
    assert_null(json);
}

static void depth_is_bounded(void **state) {
    (void)state;
    static char text[200001];
    memset(text, '[', 200);
    memset(text + 200, ']', 200);
    px_assert_ok(parse(text));
    memset(text, '[', 201);
    memset(text + 201, ']', 201);
    px_assert_error(parse(text), PX_BAD_INPUT, "column 201: nested deeper than 200");
    memset(text, '[', 200000);
    px_assert_error(parse(text), PX_BAD_INPUT, "nested deeper than 200");
}

/* A text is cut at every byte and read from a block of exactly its size. */
static void cut_texts_end_in_an_error(void **state) {
    (void)state;
    static const char whole[] = "{\"k\\u00e9\":[1.5e-3,true,null,\"\\ud83d\\ude00\",{\"a\":[]}]}";
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        char *part = malloc(n + 1);
        memcpy(part, whole, n);
        cJSON *json = NULL;
        px_assert_error(px_json_parse(part, n, &json), PX_BAD_INPUT, "line 1, column");
        free(part);
    }
    px_assert_ok(parse(whole));
}

static void comments_are_for_files_that_may_hold_them(void **state) {
    (void)state;
    static const char path[] = "test_json.tmp.json";
    static const char text[] = "// head\n{\"a\": \"//no\\\"//\", // yes\n \"b\": 1 } // \"tail";
    px_assert_ok(px_file_write(path, text, sizeof text - 1));
    cJSON *json = NULL;
    px_assert_ok(px_json_read(path, true, &json));
    assert_string_equal(px_json_find_text(json, "a"), "//no\"//");
    assert_true(px_json_find_f64(json, "b", 0) == 1);
    cJSON_Delete(json);
    px_assert_error(px_json_read(path, false, &json), PX_BAD_INPUT,
                    "test_json.tmp.json: line 1, column 1: found '/'");
    px_assert_ok(px_file_write(path, "{ // a\n  // b\n ?}", 17));
    px_assert_error(px_json_read(path, true, &json), PX_BAD_INPUT, "line 3, column 2: found '?'");
    px_assert_ok(px_file_write(path, "", 0));
    px_assert_error(px_json_read(path, true, &json), PX_BAD_INPUT, "the end of the text");
    remove(path);
    px_assert_error(px_json_read(path, true, &json), PX_BAD_INPUT, "No such file");
}

static void fields_are_checked(void **state) {
    (void)state;
    static const char text[] =
        "{\"t\":\"x\",\"i\":7,\"f\":1.5,\"b\":true,\"n\":null,\"big\":1e17,\"l\":[]}";
    cJSON *json = NULL;
    px_assert_ok(px_json_parse(text, sizeof text - 1, &json));
    const char *t = NULL;
    int64_t i = 0;
    double f = 0;
    bool b = false;
    px_assert_ok(px_json_text(json, "t", "f line 7", &t));
    px_assert_ok(px_json_i64(json, "i", "f line 7", 7, 7, &i));
    px_assert_ok(px_json_f64(json, "f", "f line 7", &f));
    px_assert_ok(px_json_bool(json, "b", "f line 7", &b));
    assert_string_equal(t, "x");
    assert_true(i == 7 && f == 1.5 && b);
    px_assert_error(px_json_text(json, "i", "f line 7", &t), PX_BAD_INPUT,
                    "f line 7: \"i\" is 7, wanted a string");
    px_assert_error(px_json_text(json, "T", "f", &t), PX_BAD_INPUT, "\"T\" is missing");
    px_assert_error(px_json_i64(json, "i", "f", 8, 9, &i), PX_BAD_INPUT,
                    "\"i\" is 7, wanted a whole number from 8 to 9");
    px_assert_error(px_json_i64(json, "f", "f", 0, 9, &i), PX_BAD_INPUT, "is 1.5, wanted a whole");
    px_assert_error(px_json_i64(json, "big", "f", 0, INT64_MAX, &i), PX_BAD_INPUT, "is 1e+17");
    px_assert_error(px_json_f64(json, "t", "f", &f), PX_BAD_INPUT, "is a string, wanted a number");
    px_assert_error(px_json_bool(json, "n", "f", &b), PX_BAD_INPUT, "is null, wanted true or");
    px_assert_error(px_json_bool(json, "l", "f", &b), PX_BAD_INPUT, "is a list");
    assert_true(i == 7 && f == 1.5 && b);
    assert_null(px_json_find_text(json, "i"));
    assert_null(px_json_find_text(json, "none"));
    assert_true(px_json_find_f64(json, "t", -1) == -1);
    cJSON_Delete(json);
}

static void printed_numbers_read_back_the_same(void **state) {
    (void)state;
    static const double values[] = {0,      -0.0,  1,       -1,    150,     0.1,
                                    1e-8,   5e-5,  1.0 / 3, 1e300, 5e-324,  123456789012.0,
                                    0x1p53, -1e15, 1e22,    2.5,   DBL_MAX, -0x1.fffffffffffffp-5};
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < PX_COUNT(values); i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(values[i]));
    px_str out = {0};
    px_json_print(list, &out);
    px_assert_ok(px_str_ok(&out));
    assert_non_null(strstr(out.data, "[0,-0,1,-1,150,0.1,1e-08,"));
    cJSON *again = NULL;
    px_assert_ok(px_json_parse(out.data, out.size, &again));
    assert_int_equal(cJSON_GetArraySize(again), (int)PX_COUNT(values));
    const cJSON *item = again->child;
    for (size_t i = 0; i < PX_COUNT(values); i++, item = item->next)
        assert_memory_equal(&item->valuedouble, &values[i], sizeof values[i]);
    cJSON_Delete(list);
    cJSON_Delete(again);
    px_str_free(&out);
}

static void texts_are_printed_compact_or_indented(void **state) {
    (void)state;
    static const char text[] = "{\"a\":[1,2],\"b\":{},\"c\":[],\"d\":[{\"e\":\"\\u00e9\\n\\\"\"}],"
                               "\"f\":true,\"g\":null}";
    cJSON *json = NULL;
    px_str out = {0};
    px_assert_ok(px_json_parse(text, sizeof text - 1, &json));
    px_json_print(json, &out);
    assert_string_equal(out.data,
                        "{\"a\":[1,2],\"b\":{},\"c\":[],\"d\":[{\"e\":\"\xC3\xA9\\n\\\"\"}],"
                        "\"f\":true,\"g\":null}");
    px_str_clear(&out);
    px_json_print_pretty(json, &out);
    assert_string_equal(out.data, "{\n  \"a\": [1, 2],\n  \"b\": {},\n  \"c\": [],\n  \"d\": [\n"
                                  "    {\n      \"e\": \"\xC3\xA9\\n\\\"\"\n    }\n  ],\n"
                                  "  \"f\": true,\n  \"g\": null\n}");
    cJSON_Delete(json);
    px_str_free(&out);
}

static void lines_are_counted_and_blank_ones_skipped(void **state) {
    (void)state;
    static const char path[] = "test_json.tmp.jsonl";
    static const char text[] = "{\"a\":1}\n\n \t\r\n[2]\r\n3\n\nx\0y\nlast";
    px_assert_ok(px_file_write(path, text, sizeof text - 1));
    static const struct {
        const char *text;
        size_t size;
        int64_t line;
    } want[] = {{"{\"a\":1}", 7, 1}, {"[2]", 3, 4}, {"3", 1, 5}, {"x\0y", 3, 7}, {"last", 4, 8}};
    px_lines *lines = NULL;
    px_assert_ok(px_lines_open(path, &lines));
    const char *line = NULL;
    size_t size = 0;
    int64_t n = 0;
    for (size_t i = 0; i < PX_COUNT(want); i++) {
        px_assert_ok(px_lines_next(lines, &line, &size, &n));
        assert_int_equal(size, want[i].size);
        assert_memory_equal(line, want[i].text, size + 1);
        assert_int_equal(n, want[i].line);
    }
    for (int i = 0; i < 2; i++) {
        px_assert_ok(px_lines_next(lines, &line, &size, &n));
        assert_null(line);
    }
    px_lines_close(lines);
    px_assert_ok(px_file_write(path, "", 0));
    px_assert_ok(px_lines_open(path, &lines));
    px_assert_ok(px_lines_next(lines, &line, &size, &n));
    assert_null(line);
    px_lines_close(lines);
    px_lines_close(NULL);
    remove(path);
    px_assert_error(px_lines_open(path, &lines), PX_BAD_INPUT, "No such file");
    px_assert_error(px_lines_open(".", &lines), PX_BAD_INPUT, "folder");
}

/* Lines around the size of the read chunk, and one over the limit. */
static void long_lines_are_whole(void **state) {
    (void)state;
    static const char path[] = "test_json.tmp.long";
    static const size_t sizes[] = {65535, 65536, 65537, 1, 131072, 400001};
    px_file_out file = {0};
    px_assert_ok(px_file_out_open(path, &file));
    for (size_t i = 0; i < PX_COUNT(sizes); i++) {
        for (size_t j = 0; j < sizes[i]; j++) fputc('a' + (int)((i + j) % 26), file.stream);
        fputc('\n', file.stream);
    }
    for (int i = 0; i < (64 << 20) + 70000; i++) putc('x', file.stream);
    px_assert_ok(px_file_out_commit(&file));
    px_lines *lines = NULL;
    px_assert_ok(px_lines_open(path, &lines));
    const char *line = NULL;
    size_t size = 0;
    int64_t n = 0;
    for (size_t i = 0; i < PX_COUNT(sizes); i++) {
        px_assert_ok(px_lines_next(lines, &line, &size, &n));
        assert_int_equal(size, sizes[i]);
        for (size_t j = 0; j < size; j++) assert_int_equal(line[j], 'a' + (int)((i + j) % 26));
    }
    px_assert_error(px_lines_next(lines, &line, &size, &n), PX_BAD_INPUT, "line 7: over 64 MiB");
    px_lines_close(lines);
    remove(path);
}

/* What a model wrote may hold a NUL; a backslash before "u0000" may itself be escaped. */
static void a_said_nul_is_replaced(void **state) {
    (void)state;
    static const char text[] = "[\"a\\u0000b\\u0000\",\"\\\\u0000\",\"\\\\\\u0000\"]";
    cJSON *json = NULL;
    px_assert_ok(px_json_parse_said(text, sizeof text - 1, &json, NULL));
    assert_string_equal(cJSON_GetArrayItem(json, 0)->valuestring, "a\xEF\xBF\xBD"
                                                                  "b\xEF\xBF\xBD");
    assert_string_equal(cJSON_GetArrayItem(json, 1)->valuestring, "\\u0000");
    assert_string_equal(cJSON_GetArrayItem(json, 2)->valuestring, "\\\xEF\xBF\xBD");
    cJSON_Delete(json);
    json = NULL;
    px_assert_error(px_json_parse_said("\"\\u0000", 7, &json, NULL), PX_BAD_INPUT, "string");
    assert_null(json);
    px_assert_error(px_json_parse_said("", 0, &json, NULL), PX_BAD_INPUT, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_said_nul_is_replaced),
        cmocka_unit_test(good_texts_are_read),
        cmocka_unit_test(bad_texts_are_refused_with_their_place),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(cut_texts_end_in_an_error),
        cmocka_unit_test(comments_are_for_files_that_may_hold_them),
        cmocka_unit_test(fields_are_checked),
        cmocka_unit_test(printed_numbers_read_back_the_same),
        cmocka_unit_test(texts_are_printed_compact_or_indented),
        cmocka_unit_test(lines_are_counted_and_blank_ones_skipped),
        cmocka_unit_test(long_lines_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
