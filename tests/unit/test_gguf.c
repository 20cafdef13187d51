/* test_gguf.c - reads weights.gguf (tests/golden/weights.py), then files built to be wrong: cut,
 * flipped, with hostile counts, lengths, dimensions, offsets, types. */
#include "files.h"

#include "files_internal.h"

/* Asks everything that can be asked; what opened must answer without reading outside. */
static void use_all(const px_gguf *file) {
    for (int t = 0; t < px_gguf_count(file); t++) {
        const px_tensor *tensor = px_gguf_at(file, t);
        assert_ptr_equal(px_gguf_find(file, tensor->name), tensor);
        int64_t n = px_tensor_count(tensor);
        if (tensor->type == PX_T_OTHER || n > 1 << 16) continue;
        float *out = calloc((size_t)n + 1, sizeof *out);
        px_assert_ok(px_tensor_f32(tensor, 0, n, out));
        free(out);
        px_gguf_forget(file, tensor);
    }
    assert_null(px_gguf_at(file, px_gguf_count(file)));
    assert_null(px_gguf_at(file, -1));
}

static void text_is(const char *got, size_t size, const char *want, size_t want_size) {
    assert_int_equal(size, want_size);
    assert_memory_equal(got, want, want_size);
}

static void metadata_matches_golden(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int64_t want;
    } whole[] = {
        {"t.uint8", 200},        {"t.int8", -100},         {"t.uint16", 60000},
        {"t.int16", -30000},     {"t.uint32", 4000000000}, {"t.int32", -2000000000},
        {"t.uint64", INT64_MAX}, {"t.int64", INT64_MIN},   {"t.bool", 1},
    };
    px_gguf *file = NULL;
    px_assert_ok(px_gguf_open(GOLDEN("weights.gguf"), &file));
    assert_string_equal(px_gguf_path(file), GOLDEN("weights.gguf"));
    int64_t i64 = 0;
    double f64 = 0;
    const char *text = NULL;
    size_t size = 0;
    for (size_t i = 0; i < PX_COUNT(whole); i++) {
        px_assert_ok(px_gguf_i64(file, whole[i].key, &i64));
        assert_true(i64 == whole[i].want);
        px_assert_error(px_gguf_f64(file, whole[i].key, &f64), PX_BAD_INPUT, whole[i].key);
        px_assert_error(px_gguf_text(file, whole[i].key, &text, &size), PX_BAD_INPUT, "text");
        px_assert_error(px_gguf_array(file, whole[i].key, &i64), PX_BAD_INPUT, "array");
    }
    px_assert_error(px_gguf_i64(file, "t.huge", &i64), PX_BAD_INPUT, "9223372036854775808");
    px_assert_error(px_gguf_i64(file, "t.float32", &i64), PX_BAD_INPUT, "f32");
    px_assert_ok(px_gguf_f64(file, "t.float32", &f64));
    assert_true(f64 == (double)0.1f);
    px_assert_ok(px_gguf_f64(file, "t.float64", &f64));
    assert_true(f64 == 0.1);
    px_assert_ok(px_gguf_text(file, "t.text", &text, &size));
    text_is(text, size, "h\xc3\xa4\xc3\x9f\0lich", 10);
    assert_true(px_gguf_has(file, "general.architecture"));
    assert_false(px_gguf_has(file, "general.architectur"));
    px_assert_error(px_gguf_i64(file, "nothing", &i64), PX_BAD_INPUT,
                    "weights.gguf: metadata nothing");
    px_gguf_close(file);
}

static void arrays_match_golden(void **state) {
    (void)state;
    px_gguf *file = NULL;
    px_assert_ok(px_gguf_open(GOLDEN("weights.gguf"), &file));
    int64_t n = 0, i64 = 0;
    double f64 = 0;
    const char *text = NULL;
    size_t size = 0;
    static const char *const texts[] = {"", "one", "zw\xc3\xb6lf",
                                        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    px_assert_ok(px_gguf_array(file, "a.text", &n));
    assert_int_equal(n, 4);
    for (int64_t i = 0; i < n; i++) {
        px_assert_ok(px_gguf_array_text(file, "a.text", i, &text, &size));
        text_is(text, size, texts[i], strlen(texts[i]));
    }
    static const int64_t ints[] = {3, -4, 5}, bools[] = {1, 0, 1};
    for (int i = 0; i < 3; i++) {
        px_assert_ok(px_gguf_array_i64(file, "a.int32", i, &i64));
        assert_true(i64 == ints[i]);
        px_assert_ok(px_gguf_array_i64(file, "a.bool", i, &i64));
        assert_true(i64 == bools[i]);
    }
    px_assert_ok(px_gguf_array_f64(file, "a.float32", 1, &f64));
    assert_true(f64 == -1.25);
    px_assert_error(px_gguf_array_i64(file, "a.int32", 3, &i64), PX_BAD_INPUT, "3 elements");
    px_assert_error(px_gguf_array_i64(file, "a.int32", -1, &i64), PX_BAD_INPUT, "element -1");
    px_assert_error(px_gguf_array_text(file, "a.int32", 0, &text, &size), PX_BAD_INPUT, "i32");
    px_assert_error(px_gguf_array_f64(file, "a.int32", 0, &f64), PX_BAD_INPUT, "i32");
    px_assert_error(px_gguf_array_i64(file, "a.text", 0, &i64), PX_BAD_INPUT, "text");
    px_assert_error(px_gguf_i64(file, "a.int32", &i64), PX_BAD_INPUT, "array");
    px_gguf_close(file);
}

static void tensors_match_golden(void **state) {
    (void)state;
    static const struct {
        const char *name;
        px_tensor_type type;
        int rank;
        int64_t dims[3];
        size_t bytes;
    } want[] = {
        {"Q8_0", PX_T_Q8_0, 2, {3, 96}, 306},   {"Q4_0", PX_T_Q4_0, 2, {3, 96}, 162},
        {"Q4_1", PX_T_Q4_1, 2, {3, 96}, 180},   {"Q5_0", PX_T_Q5_0, 2, {3, 96}, 198},
        {"Q5_1", PX_T_Q5_1, 2, {3, 96}, 216},   {"Q4_K", PX_T_Q4_K, 2, {3, 512}, 864},
        {"Q5_K", PX_T_Q5_K, 2, {3, 512}, 1056}, {"Q6_K", PX_T_Q6_K, 2, {3, 512}, 1260},
        {"F32", PX_T_F32, 3, {2, 3, 5}, 120},   {"F16", PX_T_F16, 3, {2, 3, 5}, 60},
        {"BF16", PX_T_BF16, 3, {2, 3, 5}, 60},  {"I32", PX_T_OTHER, 1, {4}, 16},
    };
    px_gguf *file = NULL;
    px_assert_ok(px_gguf_open(GOLDEN("weights.gguf"), &file));
    assert_int_equal(px_gguf_count(file), PX_COUNT(want));
    for (size_t i = 0; i < PX_COUNT(want); i++) {
        const px_tensor *t = px_gguf_find(file, want[i].name);
        assert_ptr_equal(t, px_gguf_at(file, (int)i));
        assert_string_equal(t->type_name, want[i].name);
        assert_int_equal(t->type, want[i].type);
        assert_int_equal(t->rank, want[i].rank);
        assert_int_equal(t->bytes, want[i].bytes);
        for (int d = 0; d < t->rank; d++) assert_int_equal(t->dims[d], want[i].dims[d]);
    }
    assert_null(px_gguf_find(file, "F64"));
    use_all(file);
    px_gguf_close(file);
    px_gguf_close(NULL);
}

/* --- damage --- */

static px_err *open_copy(const void *data, size_t size, px_gguf **file, unsigned char **copy) {
    *copy = bytes_copy(data, size);
    return px_gguf_open_bytes("bad.gguf", *copy, size, file);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    size_t size = 0, last = 5808; /* the last tensor ends here, padding follows */
    unsigned char *whole = file_bytes(GOLDEN("weights.gguf"), &size), *copy = NULL;
    for (size_t cut = 0; cut < last; cut += cut < 1184 ? 1 : 61) {
        px_gguf *file = NULL;
        px_assert_error(open_copy(whole, cut, &file, &copy), PX_BAD_INPUT, "bad.gguf: ");
        assert_null(file);
        free(copy);
    }
    px_gguf *file = NULL;
    px_assert_ok(open_copy(whole, last, &file, &copy));
    use_all(file);
    px_gguf_close(file);
    free(copy);
    free(whole);
}

static void every_flip_is_survived(void **state) {
    (void)state;
    static const unsigned char flips[] = {0x01, 0x80, 0xff, 0x04};
    size_t size = 0, headers = 1184;
    unsigned char *whole = file_bytes(GOLDEN("weights.gguf"), &size), *copy = NULL;
    for (size_t at = 0; at < headers; at++)
        for (size_t f = 0; f < PX_COUNT(flips); f++) {
            px_gguf *file = NULL;
            whole[at] ^= flips[f];
            px_err *err = open_copy(whole, size, &file, &copy);
            if (err) {
                assert_int_equal(px_err_kind(err), PX_BAD_INPUT);
                assert_non_null(strstr(px_err_text(err), "bad.gguf: "));
                px_err_free(err);
            } else {
                use_all(file);
            }
            px_gguf_close(file);
            free(copy);
            whole[at] ^= flips[f];
        }
    free(whole);
}

/* A small file in pieces, each of which a case may replace. */
typedef struct {
    uint32_t version;
    uint64_t n_tensors, n_values;
    const char *key;
    uint32_t type, array_type;
    uint64_t n; /* array length or text length */
    const char *value;
    size_t value_size;
    const char *names[2];
    uint32_t rank;
    uint64_t dims[2];
    uint32_t tensor_type;
    uint64_t offsets[2];
    size_t data_size;
} parts;

static const parts good = {
    .version = 3,
    .n_tensors = 2,
    .n_values = 1,
    .key = "k",
    .type = 9,
    .array_type = 5,
    .n = 2,
    .value = "\1\0\0\0\2\0\0\0",
    .value_size = 8,
    .names = {"one", "two"},
    .rank = 2,
    .dims = {4, 2},
    .tensor_type = 0,
    .offsets = {0, 32},
    .data_size = 64,
};

static px_err *open_parts(const parts *p, px_gguf **file, unsigned char **copy) {
    px_str out = {0};
    px_str_text(&out, "GGUF");
    put_u32(&out, p->version);
    put_u64(&out, p->n_tensors);
    put_u64(&out, p->n_values);
    put_text(&out, p->key);
    put_u32(&out, p->type);
    if (p->type == 9) put_u32(&out, p->array_type);
    if (p->type == 9 || p->type == 8) put_u64(&out, p->n);
    px_str_add(&out, p->value, p->value_size);
    for (int i = 0; i < 2; i++) {
        put_text(&out, p->names[i]);
        put_u32(&out, p->rank);
        for (uint32_t d = 0; d < p->rank && d < 8; d++) put_u64(&out, p->dims[d % 2]);
        put_u32(&out, p->tensor_type);
        put_u64(&out, p->offsets[i]);
    }
    while (out.size % 32) px_str_char(&out, 0);
    for (size_t i = 0; i < p->data_size; i++) px_str_char(&out, 0);
    px_assert_ok(px_str_ok(&out));
    px_err *err = open_copy(out.data, out.size, file, copy);
    px_str_free(&out);
    return err;
}

/* A part of `parts` and what to put there; size 0: none. */
typedef struct {
    size_t at, size;
    uintptr_t value;
} change;

#define SET(part, to)                                                                              \
    { offsetof(parts, part), sizeof(good.part), (uintptr_t)(to) }
#define TOP (1ull << 63)

static const unsigned char alignments[3][4] = {{0, 0, 0, 0}, {3, 0, 0, 0}, {0, 0, 0, 0x80}};
#define ALIGNED(i)                                                                                 \
    { SET(key, "general.alignment"), SET(type, 4), SET(value, alignments[i]), SET(value_size, 4) }

static const struct {
    const char *text;
    change changes[4];
} wrongs[] = {
    {"version 1,", {SET(version, 1)}},
    {"version 4,", {SET(version, 4)}},
    {"big-endian", {SET(version, 0x03000000)}},
    {"number of tensors is 9223372036854775808", {SET(n_tensors, TOP)}},
    {"number of metadata is 18446744073709551615", {SET(n_values, UINT64_MAX)}},
    {"value's type is 13", {SET(type, 13)}},
    {"an array of arrays", {SET(array_type, 9)}},
    {"array's type is 4294967295", {SET(array_type, UINT32_MAX)}},
    {"9223372036854775808 elements of i32", {SET(n, TOP)}},
    {"2305843009213693952 elements of text", {SET(array_type, 8), SET(n, TOP / 4)}},
    {"a text of 9223372036854775808", {SET(type, 8), SET(n, TOP)}},
    {"a bool is 7", {SET(type, 7), SET(value, "\7\7\7\7\7\7\7\7")}},
    {"key is not UTF-8", {SET(key, "\xff")}},
    {"name is not UTF-8", {SET(names[0], "a\xc3")}},
    {"tensor one is doubled", {SET(names[1], "one")}},
    {"rank 5", {SET(rank, 5)}},
    {"rank 4294967295", {SET(rank, UINT32_MAX)}},
    {"a dimension of 9223372036854775808", {SET(dims[0], TOP)}},
    {"size overflows", {SET(dims[1], TOP / 2)}},
    {"size overflows", {SET(dims[1], TOP / 8)}},
    {"type 4 is not known", {SET(tensor_type, 4)}},
    {"type 99 is not known", {SET(tensor_type, 99)}},
    {"a row of 4 elements, Q8_0 has blocks of 32", {SET(tensor_type, 8)}},
    {"offset 33 is not a multiple", {SET(offsets[1], 33)}},
    {"at offset 18446744073709551584", {SET(offsets[1], UINT64_MAX - 31)}},
    {"overlap", {SET(offsets[1], 0)}},
    {"at offset 32 of the data", {SET(data_size, 63)}},
    {"general.alignment is 0", ALIGNED(0)},
    {"general.alignment is 3", ALIGNED(1)},
    {"general.alignment is 2147483648", ALIGNED(2)},
    {"general.alignment is text", {SET(key, "general.alignment"), SET(type, 8), SET(n, 8)}},
};

static void wrong_parts_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(wrongs); i++) {
        parts p = good;
        for (size_t c = 0; c < PX_COUNT(wrongs[i].changes); c++) /* little endian: the low bytes */
            memcpy((char *)&p + wrongs[i].changes[c].at, &wrongs[i].changes[c].value,
                   wrongs[i].changes[c].size);
        px_gguf *file = NULL;
        unsigned char *copy = NULL;
        px_assert_error(open_parts(&p, &file, &copy), PX_BAD_INPUT, wrongs[i].text);
        assert_null(file);
        free(copy);
    }
}

static void parts_that_are_fine_open(void **state) {
    (void)state;
    parts cases[] = {good, good, good, good, good};
    cases[1].version = 2;
    cases[2].rank = 0; /* a scalar */
    cases[3].dims[1] = 0;
    cases[3].offsets[1] = 0; /* empty tensors overlap nothing */
    cases[3].data_size = 0;
    cases[4].type = 9;
    cases[4].n = 0; /* an empty array */
    cases[4].value_size = 0;
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_gguf *file = NULL;
        unsigned char *copy = NULL;
        px_assert_ok(open_parts(&cases[i], &file, &copy));
        assert_int_equal(px_gguf_count(file), 2);
        use_all(file);
        int64_t n = -1, element = 0;
        px_assert_ok(px_gguf_array(file, "k", &n));
        assert_true(n == (int64_t)cases[i].n);
        if (!n) px_assert_error(px_gguf_array_i64(file, "k", 0, &element), PX_BAD_INPUT, "0 elem");
        px_gguf_close(file);
        free(copy);
    }
}

static void doubled_keys_are_an_error(void **state) {
    (void)state;
    px_str out = {0};
    px_str_text(&out, "GGUF");
    put_u32(&out, 3);
    put_u64(&out, 0);
    put_u64(&out, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&out, "again");
        put_u32(&out, 0);
        px_str_char(&out, 1);
    }
    px_gguf *file = NULL;
    unsigned char *copy = NULL;
    px_assert_error(open_copy(out.data, out.size, &file, &copy), PX_BAD_INPUT, "again is doubled");
    free(copy);
    px_str_free(&out);
}

static void what_is_no_file_is_an_error(void **state) {
    (void)state;
    px_gguf *file = NULL;
    char *folder = temp_folder(), *path = px_path_join(folder, "empty.gguf");
    px_assert_error(px_gguf_open("/nowhere/x.gguf", &file), PX_BAD_INPUT, "/nowhere/x.gguf");
    px_assert_error(px_gguf_open(folder, &file), PX_BAD_INPUT, folder);
    px_assert_ok(px_file_write(path, "", 0));
    px_assert_error(px_gguf_open(path, &file), PX_BAD_INPUT, "empty.gguf: offset 0");
    px_assert_ok(px_file_write(path, "PK\3\4................................", 36));
    px_assert_error(px_gguf_open(path, &file), PX_BAD_INPUT, "not a GGUF file");
    free(path);
    temp_folder_end(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_matches_golden),     cmocka_unit_test(arrays_match_golden),
        cmocka_unit_test(tensors_match_golden),        cmocka_unit_test(every_cut_is_an_error),
        cmocka_unit_test(every_flip_is_survived),      cmocka_unit_test(wrong_parts_are_named),
        cmocka_unit_test(parts_that_are_fine_open),    cmocka_unit_test(doubled_keys_are_an_error),
        cmocka_unit_test(what_is_no_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
