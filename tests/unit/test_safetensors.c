/* test_safetensors.c - reads weights.safetensors (tests/golden/weights.py), folders and shards;
 * writes and reads back; refuses headers built to be wrong, cut files, flipped bytes. */
#include "files.h"

#include "files_internal.h"

static void use_all(const px_safetensors *file) {
    for (int t = 0; t < px_safetensors_count(file); t++) {
        const px_tensor *tensor = px_safetensors_at(file, t);
        assert_ptr_equal(px_safetensors_find(file, tensor->name), tensor);
        int64_t n = px_tensor_count(tensor);
        if (tensor->type == PX_T_OTHER || n > 1 << 16) continue;
        float *out = calloc((size_t)n + 1, sizeof *out);
        px_assert_ok(px_tensor_f32(tensor, 0, n, out));
        free(out);
        px_safetensors_forget(file, tensor);
    }
    assert_null(px_safetensors_at(file, px_safetensors_count(file)));
    assert_null(px_safetensors_at(file, -1));
}

static void golden_is_read(void **state) {
    (void)state;
    static const struct {
        const char *name;
        px_tensor_type type;
        const char *type_name;
        int rank;
        int64_t dims[4];
        size_t bytes;
    } want[] = {
        {"f32", PX_T_F32, "F32", 2, {3, 5}, 60},    {"f16", PX_T_F16, "F16", 2, {3, 5}, 30},
        {"bf16", PX_T_BF16, "BF16", 2, {3, 5}, 30}, {"scalar", PX_T_F32, "F32", 0, {0}, 4},
        {"empty", PX_T_F32, "F32", 2, {0, 7}, 0},   {"i64", PX_T_OTHER, "I64", 1, {3}, 24},
        {"bool", PX_T_OTHER, "BOOL", 1, {2}, 2},    {"rank4", PX_T_F32, "F32", 4, {1, 2, 3, 4}, 96},
    };
    px_safetensors *file = NULL;
    px_assert_ok(px_safetensors_open(GOLDEN("weights.safetensors"), &file));
    assert_int_equal(px_safetensors_count(file), PX_COUNT(want));
    for (size_t i = 0; i < PX_COUNT(want); i++) {
        const px_tensor *t = px_safetensors_find(file, want[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, want[i].type);
        assert_string_equal(t->type_name, want[i].type_name);
        assert_int_equal(t->rank, want[i].rank);
        assert_int_equal(t->bytes, want[i].bytes);
        assert_int_equal(t->file, 0);
        for (int d = 0; d < t->rank; d++) assert_int_equal(t->dims[d], want[i].dims[d]);
    }
    float out[24];
    for (int i = 0; i < 3; i++) {
        px_assert_ok(px_tensor_f32(px_safetensors_find(file, want[i].name), 0, 15, out));
        for (int j = 0; j < 15; j++) assert_true(out[j] == (float)j / 4 - 1);
    }
    px_assert_ok(px_tensor_f32(px_safetensors_find(file, "rank4"), 0, 24, out));
    for (int j = 0; j < 24; j++) assert_true(out[j] == (float)j);
    px_assert_ok(px_tensor_f32(px_safetensors_find(file, "scalar"), 0, 1, out));
    assert_true(out[0] == 2.5f);
    assert_null(px_safetensors_find(file, "f3"));
    assert_null(px_safetensors_find(file, "__metadata__"));
    int n = 0;
    const char *const *files = px_safetensors_files(file, &n);
    assert_int_equal(n, 1);
    assert_string_equal(files[0], GOLDEN("weights.safetensors"));
    use_all(file);
    px_safetensors_close(file);
    px_safetensors_close(NULL);
}

/* --- writing --- */

static void written_is_read_back(void **state) {
    (void)state;
    char *folder = temp_folder(), *path = px_path_join(folder, "out.safetensors");
    static const uint16_t narrow[3] = {0x3f80, 0xc000, 0x0001};
    static const float wide[6] = {1, -2, 3.5f, 0, 1e-40f, -1e30f}, one = 7;
    const px_safetensors_item items[] = {
        {"narrow", PX_T_BF16, 1, {3}, narrow},
        {"wide \"q\" \xc3\xbc", PX_T_F32, 3, {1, 2, 3}, wide},
        {"scalar", PX_T_F32, 0, {0}, &one},
        {"empty", PX_T_BF16, 2, {4, 0}, NULL},
    };
    const char *const metadata[] = {"format", "pt", "a\"b", "line\nline", NULL};
    px_assert_ok(px_safetensors_write(path, items, PX_COUNT(items), metadata));
    px_safetensors *file = NULL;
    px_assert_ok(px_safetensors_open(path, &file));
    assert_int_equal(px_safetensors_count(file), PX_COUNT(items));
    for (size_t i = 0; i < PX_COUNT(items); i++) {
        const px_tensor *t = px_safetensors_find(file, items[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, items[i].type);
        assert_int_equal(t->rank, items[i].rank);
        for (int d = 0; d < t->rank; d++) assert_int_equal(t->dims[d], items[i].dims[d]);
        if (t->bytes) assert_memory_equal(t->data, items[i].data, t->bytes);
        if (t->bytes) assert_int_equal((uintptr_t)t->data % (t->type == PX_T_F32 ? 4 : 2), 0);
    }
    px_safetensors_close(file);
    size_t size = 0;
    unsigned char *bytes = file_bytes(path, &size);
    assert_int_equal(bytes[0] % 8, 0);
    assert_non_null(strstr((char *)bytes + 8, "{\"__metadata__\":{\"format\":\"pt\",\"a\\\"b\":"));
    free(bytes);

    px_assert_ok(px_safetensors_write(path, NULL, 0, NULL));
    px_assert_ok(px_safetensors_open(path, &file));
    assert_int_equal(px_safetensors_count(file), 0);
    px_safetensors_close(file);
    free(path);
    temp_folder_end(folder);
}

static void bad_items_write_nothing(void **state) {
    (void)state;
    char *folder = temp_folder(), *path = px_path_join(folder, "out.safetensors");
    static const float x[2] = {1, 2};
    const struct {
        px_safetensors_item items[2];
        const char *text;
    } cases[] = {
        {{{"a", PX_T_F32, 1, {1}, x}, {"a", PX_T_F32, 1, {1}, x}}, "a is given twice"},
        {{{"a", PX_T_F32, 1, {1}, x}, {"a", PX_T_BF16, 1, {1}, x}}, "a is given twice"},
        {{{"a", PX_T_F32, 1, {1}, x}, {"b", PX_T_F16, 1, {1}, x}}, "tensor b: F32 and BF16"},
        {{{"a", PX_T_F32, 1, {-1}, x}, {"b", PX_T_F32, 1, {1}, x}}, "a: impossible"},
        {{{"a", PX_T_F32, 5, {1}, x}, {"b", PX_T_F32, 1, {1}, x}}, "a: impossible"},
        {{{"a", PX_T_F32, 1, {1ll << 61}, x}, {"b", PX_T_F32, 1, {1}, x}}, "a: impossible"},
        {{{"__metadata__", PX_T_F32, 1, {1}, x}, {"b", PX_T_F32, 1, {1}, x}}, "cannot be named"},
        {{{"\xff", PX_T_F32, 1, {1}, x}, {"b", PX_T_F32, 1, {1}, x}}, "not UTF-8"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_assert_error(px_safetensors_write(path, cases[i].items, 2, NULL), PX_RUN_FAILED,
                        cases[i].text);
        assert_false(px_path_exists(path));
    }
    px_assert_error(px_safetensors_write("/nowhere/x.safetensors", NULL, 0, NULL), PX_BAD_INPUT,
                    "/nowhere/x.safetensors");
    free(path);
    temp_folder_end(folder);
}

/* --- folders and shards --- */

static void put_file(const char *folder, const char *name, const char *text) {
    char *path = px_path_join(folder, name);
    px_assert_ok(px_file_write(path, text, strlen(text)));
    free(path);
}

static void put_shard(const char *folder, const char *name, const char *a, const char *b) {
    static const float x[2] = {1, 2};
    const px_safetensors_item items[] = {{a, PX_T_F32, 1, {2}, x}, {b, PX_T_F32, 2, {1, 1}, x + 1}};
    char *path = px_path_join(folder, name);
    px_assert_ok(px_safetensors_write(path, items, b ? 2 : 1, NULL));
    free(path);
}

static void shards_are_followed(void **state) {
    (void)state;
    char *folder = temp_folder();
    put_shard(folder, "s1.safetensors", "a", "b");
    put_shard(folder, "s2.safetensors", "c", NULL);
    put_file(
        folder, "model.safetensors.index.json",
        "{\"metadata\":{\"total_size\":20},\"weight_map\":{\"c\":\"s2.safetensors\",\"a\":\"s1."
        "safetensors\",\"b\":\"s1.safetensors\"}}");
    px_safetensors *file = NULL;
    px_assert_ok(px_safetensors_open(folder, &file));
    assert_int_equal(px_safetensors_count(file), 3);
    assert_int_equal(px_safetensors_find(file, "c")->file, 0);
    assert_int_equal(px_safetensors_find(file, "b")->file, 1);
    float got = 0;
    px_assert_ok(px_tensor_f32(px_safetensors_find(file, "b"), 0, 1, &got));
    assert_true(got == 2);
    int n = 0;
    const char *const *files = px_safetensors_files(file, &n);
    static const char *const names[] = {"s2.safetensors", "s1.safetensors",
                                        "model.safetensors.index.json"};
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) {
        char *path = px_path_join(folder, names[i]);
        assert_string_equal(files[i], path);
        free(path);
    }
    use_all(file);
    px_safetensors_close(file);

    put_shard(folder, "model.safetensors", "only", NULL); /* goes before the index */
    px_assert_ok(px_safetensors_open(folder, &file));
    assert_int_equal(px_safetensors_count(file), 1);
    px_safetensors_close(file);
    temp_folder_end(folder);
}

static void bad_indexes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *index, *text;
    } cases[] = {
        {"", "model.safetensors.index.json"},
        {"[]", "weight_map is nothing"},
        {"{\"weight_map\":[]}", "weight_map is"},
        {"{\"weight_map\":{\"a\":3}}", "weight_map.a is"},
        {"{\"weight_map\":{\"a\":\"\"}}", "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", "not the name of a file"},
        {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", "gone.safetensors"},
        {"{\"weight_map\":{\"z\":\"s1.safetensors\"}}", "tensor z is not in s1.safetensors"},
        {"{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s1.safetensors\",\"x\":\"s2."
         "safetensors\"}}",
         "tensor c is not in s1.safetensors"},
        {"{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s3.safetensors\"}}",
         "a: the name is doubled"},
        {"{\"weight_map\":{\"a\":\"junk\"}}", "junk: offset 0"},
        {"{\"weight_map\":{\"a\":\".\"}}", "not a regular file"},
    };
    char *folder = temp_folder();
    px_safetensors *file = NULL;
    px_assert_error(px_safetensors_open(folder, &file), PX_BAD_INPUT,
                    "neither model.safetensors nor");
    put_shard(folder, "s1.safetensors", "a", "b");
    put_shard(folder, "s2.safetensors", "c", "x");
    put_shard(folder, "s3.safetensors", "a", "c");
    put_file(folder, "junk", "junkjunkjunkjunkjunk");
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        put_file(folder, "model.safetensors.index.json", cases[i].index);
        px_assert_error(px_safetensors_open(folder, &file), PX_BAD_INPUT, cases[i].text);
        assert_null(file);
    }
    px_assert_error(px_safetensors_open("/nowhere", &file), PX_BAD_INPUT, "/nowhere");
    temp_folder_end(folder);
}

/* --- damage --- */

static px_err *open_copy(const void *data, size_t size, px_safetensors **file,
                         unsigned char **copy) {
    *copy = bytes_copy(data, size);
    return px_safetensors_open_bytes("bad.safetensors", *copy, size, file);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    size_t size = 0;
    unsigned char *whole = file_bytes(GOLDEN("weights.safetensors"), &size), *copy = NULL;
    for (size_t cut = 0; cut < size; cut++) {
        px_safetensors *file = NULL;
        px_assert_error(open_copy(whole, cut, &file, &copy), PX_BAD_INPUT, "bad.safetensors: ");
        assert_null(file);
        free(copy);
    }
    free(whole);
}

static void every_flip_is_survived(void **state) {
    (void)state;
    static const unsigned char flips[] = {0x01, 0x02, 0x10, 0x80, 0xff};
    size_t size = 0;
    unsigned char *whole = file_bytes(GOLDEN("weights.safetensors"), &size), *copy = NULL;
    for (size_t at = 0; at < size; at++)
        for (size_t f = 0; f < PX_COUNT(flips); f++) {
            px_safetensors *file = NULL;
            whole[at] ^= flips[f];
            px_err *err = open_copy(whole, size, &file, &copy);
            if (err) {
                assert_int_equal(px_err_kind(err), PX_BAD_INPUT);
                assert_non_null(strstr(px_err_text(err), "bad.safetensors: "));
                px_err_free(err);
            } else {
                use_all(file);
            }
            px_safetensors_close(file);
            free(copy);
            whole[at] ^= flips[f];
        }
    free(whole);
}

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A T("a", "F32", "[2]", "[0,8]")

/* Headers before 16 bytes of data, and what the error must say; NULL: it opens. */
static const struct {
    const char *header, *text;
} headers[] = {
    {"{" A "," T("b", "F32", "[2]", "[8,16]") "}  ", NULL},
    {"{" T("b", "F32", "[2]", "[8,16]") "," A "}", NULL}, /* any order */
    {"{" A "," T("b", "F32", "[2,0]", "[8,8]") "," T("c", "U64", "[]", "[8,16]") "}", NULL},
    {"{" T("a", "F9", "[7]", "[0,16]") "}", NULL}, /* a type of the future */
    {"{\"__metadata__\":{\"k\":\"v\"}," T("a", "F32", "[4]", "[0,16]") "}", NULL},
    {"{" A "}", "data at 8: 8 bytes belong to no tensor"},
    {"{}", "data at 0: 16 bytes"},
    {"{" A "," A "," T("b", "F32", "[2]", "[8,16]") "}", "tensor a: the name is doubled"},
    {"{" A "," T("b", "F32", "[3]", "[4,16]") "}", "overlap"},
    {"{" T("a", "F32", "[4]", "[0,16]") "," T("b", "F32", "[2]", "[4,12]") "}", "overlap"},
    {"{" A "," T("b", "F32", "[1]", "[12,16]") "}", "a hole behind a"},
    {"{" T("a", "F32", "[3]", "[4,16]") "}", "a hole behind the header"},
    {"{" A "," T("b", "F32", "[3]", "[8,16]") "}", "span 8 bytes"},
    {"{" A "," T("b", "F32", "[2]", "[8,17]") "}", "[8, 17)"},
    {"{" A "," T("b", "F32", "[2]", "[16,8]") "}", "[16, 8)"},
    {"{" A "," T("b", "F32", "[2]", "[8,9223372036854775808]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "[-8,16]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "[8.5,16]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "[8,1e400]") "}", "bad.safetensors"},
    {"{" A "," T("b", "F32", "[2]", "[8]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "[8,16,24]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "{\"x\":8,\"y\":16}") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "[2]", "[8,\"16\"]") "}", "two whole numbers"},
    {"{" A "," T("b", "F32", "2", "[8,16]") "}", "shape is"},
    {"{" A "," T("b", "F32", "[1,1,1,1,2]", "[8,16]") "}", "over 4 dimensions"},
    {"{" A "," T("b", "F32", "[-2]", "[8,16]") "}", "dimension 0 is not"},
    {"{" A "," T("b", "F32", "[4294967296,4294967296,4294967296]", "[8,16]") "}", "overflows"},
    {"{" A "," T("b", "F32", "[2305843009213693952,2]", "[8,16]") "}", "dimension 0 is not"},
    {"{" A "," T("b", "F32", "[4503599627370496,1024]", "[8,16]") "}", "span 8 bytes"},
    {"{" A ",\"b\":{\"shape\":[2],\"data_offsets\":[8,16]}}", "dtype is nothing"},
    {"{" A ",\"b\":{\"dtype\":\"F32\",\"data_offsets\":[8,16]}}", "shape is nothing"},
    {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2]}}", "data_offsets"},
    {"{" A ",\"b\":3}", "tensor b: is"},
    {"{" A ",\"__metadata__\":3}", "__metadata__ is"},
    {"{" A ",\"__metadata__\":{\"k\":3}}", "__metadata__.k is"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__ is doubled"},
    {"[" A "]", "must be a JSON object"},
    {" {" A "}", "must be a JSON object"},
    {"{" A, "line 1, column"},
    {"{" A "} x", "line 1, column"},
    {"{\"a\\u0000b\":{}}", "NUL"},
    {"{\"\xff\":{}}", "line 1, column"},
    {"", "must be a JSON object"},
};

static void wrong_headers_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(headers); i++) {
        px_str out = {0};
        put_text(&out, headers[i].header);
        px_str_add(&out, "0123456789abcdef", 16);
        px_safetensors *file = NULL;
        unsigned char *copy = NULL;
        if (headers[i].text) {
            px_assert_error(open_copy(out.data, out.size, &file, &copy), PX_BAD_INPUT,
                            headers[i].text);
            assert_null(file);
        } else {
            px_assert_ok(open_copy(out.data, out.size, &file, &copy));
            use_all(file);
            px_safetensors_close(file);
        }
        free(copy);
        px_str_free(&out);
    }
}

static void hostile_lengths_and_depth_are_errors(void **state) {
    (void)state;
    static const uint64_t lengths[] = {1ull << 63, UINT64_MAX, UINT64_MAX - 7, 1ull << 32, 41, 0};
    for (size_t i = 0; i < PX_COUNT(lengths); i++) {
        px_str out = {0};
        put_u64(&out, lengths[i]);
        px_str_text(&out, "{}                                      ");
        px_safetensors *file = NULL;
        unsigned char *copy = NULL;
        px_assert_error(open_copy(out.data, out.size, &file, &copy), PX_BAD_INPUT, "offset ");
        free(copy);
        px_str_free(&out);
    }
    enum { DEEP = 1000000 };
    px_str out = {0};
    put_u64(&out, DEEP);
    px_str_text(&out, "{\"a\":");
    while (out.size < 8 + DEEP) px_str_char(&out, '[');
    px_safetensors *file = NULL;
    unsigned char *copy = NULL;
    px_assert_error(open_copy(out.data, out.size, &file, &copy), PX_BAD_INPUT, "200");
    free(copy);
    px_str_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_is_read),
        cmocka_unit_test(written_is_read_back),
        cmocka_unit_test(bad_items_write_nothing),
        cmocka_unit_test(shards_are_followed),
        cmocka_unit_test(bad_indexes_are_named),
        cmocka_unit_test(every_cut_is_an_error),
        cmocka_unit_test(every_flip_is_survived),
        cmocka_unit_test(wrong_headers_are_named),
        cmocka_unit_test(hostile_lengths_and_depth_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
