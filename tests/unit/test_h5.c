/* test_h5.c - HDF5 by one rank: what is written is read back, what is wrong is refused, and damaged
 * files end in an error or in the right values. */
#include "px_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "h5.h"

static const char path[] = "test_h5.tmp.h5";

static const float f32[6] = {0.1f, -2, 3e30f, 1e-40f, 0, -0.0f};
static const double f64[2] = {0.1, -1e300};
static const int32_t i32[3] = {INT32_MIN, 0, INT32_MAX};
static const int64_t i64[3] = {INT64_MIN, -1, INT64_MAX};
static const uint8_t u8[5] = {0, 1, 127, 128, 255};
static const uint64_t u64[1] = {UINT64_MAX};
static const char *const ids[] = {"", "user1", "\xC3\xA9t\xC3\xA9", "user123"};

static void write_sample(const char *to) {
    px_h5 *h5 = NULL;
    px_assert_ok(px_h5_create(to, &h5));
    px_assert_ok(px_h5_write(h5, "/trainable/a.A", PX_H5_F32, 2, (int64_t[]){3, 2}, f32));
    px_assert_ok(px_h5_write(h5, "/trainable/z", PX_H5_F64, 1, (int64_t[]){2}, f64));
    px_assert_ok(px_h5_write(h5, "/trainable/b", PX_H5_I32, 1, (int64_t[]){3}, i32));
    px_assert_ok(px_h5_write(h5, "/deep/er/i64", PX_H5_I64, 3, (int64_t[]){1, 3, 1}, i64));
    px_assert_ok(px_h5_write(h5, "/u8", PX_H5_U8, 1, (int64_t[]){5}, u8));
    px_assert_ok(px_h5_write(h5, "/scalar", PX_H5_U64, 0, NULL, u64));
    px_assert_ok(px_h5_write(h5, "/none", PX_H5_F32, 2, (int64_t[]){0, 7}, NULL));
    px_assert_ok(px_h5_write_texts(h5, "/ids", ids, PX_COUNT(ids)));
    px_assert_ok(px_h5_write_texts(h5, "/no_ids", NULL, 0));
    px_assert_ok(px_h5_write_attr_text(h5, "/trainable", "sha256", "other"));
    px_assert_ok(px_h5_write_attr_text(h5, "/trainable", "sha256", "abcdef"));
    px_assert_ok(px_h5_write_attr_text(h5, "/", "empty", ""));
    px_assert_ok(px_h5_write_attr_i64(h5, "/u8", "step", INT64_MIN));
    px_assert_ok(px_h5_publish(h5));
}

/* Everything in the sample is right, or an error; `damaged`: wrong raw data pass, as HDF5 keeps no
 * sum of them (the files' owners do). */
#define STEP(call)                                                                                 \
    do {                                                                                           \
        px_err *e_ = (call);                                                                       \
        if (e_ && !damaged) fail_msg("%s", px_err_text(e_));                                       \
        if (e_) {                                                                                  \
            px_err_free(e_);                                                                       \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

static void check_values(px_h5 *h5, px_arena *arena, bool damaged) {
    float a[6];
    double z[2];
    int32_t b[3];
    int64_t wide[3], dims[8], n = 0, step = 0;
    uint8_t bytes[5];
    uint64_t scalar[1];
    int rank = 0, n_names = 0;
    void *data = NULL;
    const char **texts = NULL, **names = NULL, *text = NULL;
    STEP(px_h5_dims(h5, "/trainable/a.A", &rank, dims));
    assert_true(rank == 2 && dims[0] == 3 && dims[1] == 2);
    STEP(px_h5_read(h5, "/trainable/a.A", PX_H5_F32, 6, a));
    STEP(px_h5_read(h5, "/trainable/z", PX_H5_F64, 2, z));
    STEP(px_h5_read(h5, "/trainable/b", PX_H5_I32, 3, b));
    STEP(px_h5_read(h5, "/deep/er/i64", PX_H5_I64, 3, wide));
    STEP(px_h5_read(h5, "/u8", PX_H5_U8, 5, bytes));
    STEP(px_h5_read(h5, "/scalar", PX_H5_U64, 1, scalar));
    STEP(px_h5_read(h5, "/none", PX_H5_F32, 0, NULL));
    STEP(px_h5_read_new(h5, "/trainable/a.A", PX_H5_F32, arena, &data, &n));
    assert_int_equal(n, 6);
    STEP(px_h5_read_texts(h5, "/ids", arena, &texts, &n));
    assert_int_equal(n, PX_COUNT(ids));
    if (!damaged) {
        assert_memory_equal(a, f32, sizeof a);
        assert_memory_equal(data, f32, sizeof a);
        assert_memory_equal(z, f64, sizeof z);
        assert_memory_equal(b, i32, sizeof b);
        assert_memory_equal(wide, i64, sizeof wide);
        assert_memory_equal(bytes, u8, sizeof bytes);
        assert_memory_equal(scalar, u64, sizeof scalar);
        for (size_t i = 0; i < PX_COUNT(ids); i++) assert_string_equal(texts[i], ids[i]);
    }
    STEP(px_h5_read_texts(h5, "/no_ids", arena, &texts, &n));
    assert_int_equal(n, 0);
    STEP(px_h5_list(h5, "/trainable", arena, &names, &n_names));
    assert_int_equal(n_names, 3);
    assert_string_equal(names[0], "a.A");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "z");
    STEP(px_h5_read_attr_text(h5, "/trainable", "sha256", arena, &text));
    assert_string_equal(text, "abcdef");
    STEP(px_h5_read_attr_text(h5, "/", "empty", arena, &text));
    assert_string_equal(text, "");
    STEP(px_h5_read_attr_i64(h5, "/u8", "step", &step));
    assert_true(step == INT64_MIN);
done:
    return;
}

static void check_file(const char *at, bool damaged) {
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    px_assert_ok(px_arena_new(1 << 16, &arena));
    px_err *err = px_h5_open(at, &h5);
    if (err && !damaged) fail_msg("%s", px_err_text(err));
    px_err_free(err);
    if (h5) check_values(h5, arena, damaged);
    px_h5_close(h5);
    px_arena_free(arena);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    write_sample(path);
    check_file(path, false);
    assert_false(px_path_exists(".test_h5.tmp.h5.tmp"));
}

static void the_same_content_is_the_same_file(void **state) {
    (void)state;
    px_digest first, second;
    write_sample(path);
    px_assert_ok(px_sha_file(path, &first));
    sleep(1); /* HDF5 times have a second's resolution */
    write_sample(path);
    px_assert_ok(px_sha_file(path, &second));
    assert_string_equal(first.hex, second.hex);
}

static void rows_and_conversions(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    write_sample(path);
    px_assert_ok(px_h5_open(path, &h5));
    assert_string_equal(px_h5_path(h5), path);
    float row[2];
    double wide[6];
    int32_t narrow[5];
    for (int i = 0; i < 3; i++) {
        px_assert_ok(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F32, i, 1, row));
        assert_memory_equal(row, f32 + (size_t)i * 2, sizeof row);
    }
    px_assert_ok(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F64, 0, 3, wide));
    for (int i = 0; i < 6; i++) assert_true(wide[i] == (double)f32[i]);
    px_assert_ok(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F32, 3, 0, NULL));
    px_assert_ok(px_h5_read(h5, "/u8", PX_H5_I32, 5, narrow));
    for (int i = 0; i < 5; i++) assert_int_equal(narrow[i], u8[i]);
    px_assert_error(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F32, 3, 1, row), PX_BAD_INPUT,
                    "test_h5.tmp.h5: /trainable/a.A: rows 3 + 1 wanted, it has 3");
    px_assert_error(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F32, -1, 1, row), PX_BAD_INPUT,
                    "rows -1");
    px_assert_error(px_h5_read_rows(h5, "/trainable/a.A", PX_H5_F32, 1, INT64_MAX, row),
                    PX_BAD_INPUT, "it has 3");
    px_assert_error(px_h5_read_rows(h5, "/scalar", PX_H5_U64, 0, 1, wide), PX_BAD_INPUT, "rows");
    /* A value that does not fit is not clipped. */
    px_assert_error(px_h5_read(h5, "/deep/er/i64", PX_H5_I32, 3, narrow), PX_BAD_INPUT,
                    "/deep/er/i64: cannot be read");
    px_assert_error(px_h5_read(h5, "/trainable/z", PX_H5_I64, 2, wide), PX_BAD_INPUT,
                    "cannot be read");
    px_assert_error(px_h5_read(h5, "/scalar", PX_H5_I64, 1, wide), PX_BAD_INPUT, "cannot be read");
    px_h5_close(h5);
}

static void wrong_requests_are_refused(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    float some[6];
    const char *text = NULL, **texts = NULL;
    int64_t n = 0;
    int count = 0;
    write_sample(path);
    px_assert_ok(px_arena_new(4096, &arena));
    px_assert_ok(px_h5_open(path, &h5));
    assert_true(px_h5_has(h5, "/trainable/b") && px_h5_has(h5, "/deep/er") && px_h5_has(h5, "/"));
    assert_false(px_h5_has(h5, "/no/such/thing") || px_h5_has(h5, "/u8/x"));
    px_assert_error(px_h5_read(h5, "/no/x", PX_H5_F32, 1, some), PX_BAD_INPUT,
                    "/no/x is not in the file");
    px_assert_error(px_h5_read(h5, "/trainable", PX_H5_F32, 1, some), PX_BAD_INPUT,
                    "not a dataset");
    px_assert_error(px_h5_read(h5, "/trainable/a.A", PX_H5_F32, 5, some), PX_BAD_INPUT,
                    "has 6 elements, wanted 5");
    px_assert_error(px_h5_read(h5, "/ids", PX_H5_F32, 4, some), PX_BAD_INPUT, "holds strings");
    px_assert_error(px_h5_read_texts(h5, "/u8", arena, &texts, &n), PX_BAD_INPUT, "no strings");
    px_assert_error(px_h5_read_attr_text(h5, "/u8", "none", arena, &text), PX_BAD_INPUT,
                    "/u8 has no attribute none");
    px_assert_error(px_h5_read_attr_text(h5, "/u8", "step", arena, &text), PX_BAD_INPUT,
                    "no strings");
    px_assert_error(px_h5_read_attr_i64(h5, "/trainable", "sha256", &n), PX_BAD_INPUT,
                    "not a whole number");
    px_assert_error(px_h5_list(h5, "/u8", arena, &texts, &count), PX_BAD_INPUT, "not a group");
    px_assert_error(px_h5_list(h5, "/no", arena, &texts, &count), PX_BAD_INPUT, "not in the file");
    px_assert_error(px_h5_write(h5, "/w", PX_H5_U8, 0, NULL, u8), PX_RUN_FAILED, "reading only");
    px_h5_close(h5);
    px_arena_free(arena);
}

static void wrong_writes_are_refused(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    px_assert_ok(px_h5_create(path, &h5));
    px_assert_ok(px_h5_write(h5, "/a", PX_H5_U8, 0, NULL, u8));
    px_assert_error(px_h5_write(h5, "/a", PX_H5_U8, 0, NULL, u8), PX_RUN_FAILED, "/a: dataset");
    px_assert_error(px_h5_write(h5, "/a/b", PX_H5_U8, 0, NULL, u8), PX_RUN_FAILED, "/a/b");
    px_assert_error(px_h5_write(h5, "/n", PX_H5_U8, 1, (int64_t[]){-1}, u8), PX_RUN_FAILED,
                    "dimension 0 is -1");
    px_assert_error(px_h5_write(h5, "/n", PX_H5_F64, 2, (int64_t[]){INT64_MAX, INT64_MAX}, f64),
                    PX_RUN_FAILED, "dimension");
    px_assert_error(px_h5_write(h5, "/n", PX_H5_U8, 9, (int64_t[9]){0}, u8), PX_RUN_FAILED,
                    "9 dimensions");
    px_assert_error(px_h5_write_rows_all(h5, "/n", PX_H5_U8, 1, (int64_t[]){5}, 0, 4, u8),
                    PX_RUN_FAILED, "4 rows of 5");
    px_assert_error(px_h5_write_attr_i64(h5, "/none", "x", 1), PX_RUN_FAILED, "/none");
    px_h5_close(h5);
    assert_false(px_path_exists(".test_h5.tmp.h5.tmp"));
    px_assert_error(px_h5_create("/no/such/folder/x.h5", &h5), PX_BAD_INPUT, "No such file");
    px_assert_error(px_h5_create("/", &h5), PX_BAD_INPUT, "folder");
    px_h5_close(NULL);
}

static void files_that_are_none_are_refused(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    px_assert_error(px_h5_open("no.such.h5", &h5), PX_BAD_INPUT, "no.such.h5: No such file");
    px_assert_error(px_h5_open(".", &h5), PX_BAD_INPUT, "not a regular file");
    px_assert_ok(px_file_write(path, "", 0));
    px_assert_error(px_h5_open(path, &h5), PX_BAD_INPUT, "not an HDF5 file");
    px_assert_ok(px_file_write(path, "{\"json\": true}", 14));
    px_assert_error(px_h5_open(path, &h5), PX_BAD_INPUT, "not an HDF5 file");
}

static void a_file_dropped_leaves_the_old_one(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    write_sample(path);
    px_assert_ok(px_h5_create(path, &h5));
    px_assert_ok(px_h5_write(h5, "/u8", PX_H5_U8, 1, (int64_t[]){5}, u8));
    px_h5_close(h5);
    check_file(path, false);
    assert_false(px_path_exists(".test_h5.tmp.h5.tmp"));
}

/* Strings and numbers as h5py writes them: variable-length strings, other widths and byte orders.
 */
static void files_of_others_are_read(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    const char **texts = NULL, *text = NULL;
    int64_t n = 0, value = 0;
    int32_t wide[3];
    double half[2];
    px_assert_ok(px_arena_new(4096, &arena));
    px_assert_ok(px_h5_open(PX_SOURCE_DIR "/tests/golden/h5_others.h5", &h5));
    px_assert_ok(px_h5_read_texts(h5, "/variable", arena, &texts, &n));
    assert_int_equal(n, 3);
    assert_string_equal(texts[0], "one");
    assert_string_equal(texts[1], "");
    assert_string_equal(texts[2], "dr\xC3\xA9i");
    px_assert_ok(px_h5_read_texts(h5, "/fixed", arena, &texts, &n));
    assert_int_equal(n, 2);
    assert_string_equal(texts[0], "ab");
    assert_string_equal(texts[1], "abcd");
    px_assert_ok(px_h5_read(h5, "/i16be", PX_H5_I32, 3, wide));
    assert_true(wide[0] == -1 && wide[1] == 2 && wide[2] == -300);
    px_assert_ok(px_h5_read(h5, "/packed", PX_H5_F64, 2, half));
    assert_true(half[0] == 0.5 && half[1] == -1.5);
    px_assert_ok(px_h5_read_attr_text(h5, "/variable", "note", arena, &text));
    assert_string_equal(text, "a note");
    px_assert_ok(px_h5_read_attr_i64(h5, "/", "count", &value));
    assert_true(value == -7);
    px_assert_error(px_h5_read_attr_i64(h5, "/", "list", &value), PX_BAD_INPUT, "2 values");
    px_assert_error(px_h5_read(h5, "/complex", PX_H5_F64, 1, half), PX_BAD_INPUT, "other things");
    px_assert_error(px_h5_read(h5, "/sparse", PX_H5_F64, 2, half), PX_BAD_INPUT, "1000000000");
    px_assert_error(px_h5_read_texts(h5, "/latin", arena, &texts, &n), PX_BAD_INPUT, "UTF-8");
    px_assert_error(px_h5_read(h5, "/elsewhere", PX_H5_F64, 2, half), PX_BAD_INPUT,
                    "in other files");
    px_h5_close(h5);
    px_arena_free(arena);
}

/* Cuts, single bits and bytes turned over, spread over the file by a fixed rule. */
static void damage_ends_in_an_error_or_the_right_values(void **state) {
    (void)state;
    px_bytes whole = {0};
    write_sample(path);
    px_assert_ok(px_file_read(path, &whole));
    px_rng rng = {7, PX_RNG_TEST};
    for (uint32_t i = 0; i < 900; i++) {
        char *copy = malloc(whole.size);
        memcpy(copy, whole.data, whole.size);
        size_t size = whole.size;
        uint32_t at = px_rng_below(rng, i, 0, (uint32_t)size);
        if (i % 3 == 0)
            size = at;
        else if (i % 3 == 1)
            copy[at] = (char)(copy[at] ^ (1 << (i % 8)));
        else
            copy[at] = (char)px_rng_below(rng, i, 1, 256);
        FILE *file = fopen(path, "wb"); /* without fsync: this is done often */
        assert_non_null(file);
        assert_int_equal(fwrite(copy, 1, size, file), size);
        fclose(file);
        free(copy);
        check_file(path, true);
    }
    px_bytes_free(&whole);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(the_same_content_is_the_same_file),
        cmocka_unit_test(rows_and_conversions),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(wrong_writes_are_refused),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test(a_file_dropped_leaves_the_old_one),
        cmocka_unit_test(files_of_others_are_read),
        cmocka_unit_test(damage_ends_in_an_error_or_the_right_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
