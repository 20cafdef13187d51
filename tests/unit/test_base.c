/* test_base.c - the base module: Philox vectors, SHA-256 vectors, arenas, strings, maps, files. */
#include "energy.h"
#include "files.h"
#include "px_test.h"

#include <unistd.h>

/* kat_vectors of the Random123 distribution, philox4x32 10 rounds. */
static void philox_matches_published_vectors(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_u32x4 got = px_philox(cases[i].counter, cases[i].key);
        for (int j = 0; j < 4; j++) assert_int_equal(got.v[j], cases[i].want[j]);
    }
}

static void draws_are_uniform_and_normal(void **state) {
    (void)state;
    px_rng rng = {7, PX_RNG_TEST};
    double sum = 0, sum_normal = 0, squares = 0;
    enum { N = 20000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = px_rng_uniform(rng, 1, i), z = px_rng_normal(rng, 2, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        sum_normal += z;
        squares += z * z;
        assert_true(px_rng_below(rng, 3, i, 7) < 7);
    }
    assert_true(fabs(sum / N - 0.5) < 0.01);
    assert_true(fabs(sum_normal / N) < 0.03);
    assert_true(fabs(squares / N - 1) < 0.04);
    assert_true(px_rng_uniform(rng, 1, 5) == px_rng_uniform(rng, 1, 5));
    assert_true(px_rng_uniform(rng, 1, 5) != px_rng_uniform((px_rng){8, PX_RNG_TEST}, 1, 5));
}

static void permutation_holds_each_once(void **state) {
    (void)state;
    int32_t order[101], seen[101] = {0}, again[101];
    px_rng rng = {1, PX_RNG_TEST};
    px_rng_permutation(rng, 0, 101, order);
    for (int i = 0; i < 101; i++) seen[order[i]]++;
    for (int i = 0; i < 101; i++) assert_int_equal(seen[i], 1);
    px_rng_permutation(rng, 1, 101, again);
    assert_memory_not_equal(order, again, sizeof order);
    px_rng_permutation(rng, 0, 0, order);
}

static void sha256_matches_fips_examples(void **state) {
    (void)state;
    px_digest d;
    px_assert_ok(px_sha_bytes("abc", 3, &d));
    assert_string_equal(d.hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    px_assert_ok(px_sha_bytes("", 0, &d));
    assert_string_equal(d.hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    px_assert_error(px_sha_file("/nowhere/x", &d), PX_BAD_INPUT, "/nowhere/x");
}

static void errors_chain_from_the_outside_in(void **state) {
    (void)state;
    px_err *err = px_err_new(PX_BAD_INPUT, "a.c", 1, "offset %d", 9);
    err = px_err_add(err, "b.c", 2, "file x");
    assert_string_equal(px_err_text(err), "file x: offset 9");
    assert_string_equal(px_err_trace(err), "a.c:1 < b.c:2");
    px_err_wire wire;
    px_err_pack(err, &wire);
    px_err_free(err);
    err = px_err_unpack(&wire, 3);
    assert_string_equal(px_err_text(err), "rank 3: file x: offset 9");
    assert_int_equal(px_err_kind(err), PX_BAD_INPUT);
    px_err_free(err);
}

static void arena_takes_marks_and_refuses(void **state) {
    (void)state;
    px_arena *arena = NULL;
    px_assert_ok(px_arena_new_fixed(4096, &arena));
    float *a = px_take(arena, float, 3, 5);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 15; i++) assert_true(a[i] == 0);
    size_t mark = px_arena_mark(arena);
    assert_null(px_take(arena, double, SIZE_MAX / 2, 16));
    assert_null(px_take(arena, char, 1));
    px_assert_error(px_arena_ok(arena), PX_RUN_FAILED, "out of memory");
    px_arena_reset(arena, mark);
    px_assert_ok(px_arena_ok(arena));
    assert_non_null(px_take(arena, char, 1));
    px_arena_free(arena);
    px_assert_ok(px_arena_new(1000, &arena));
    mark = px_arena_mark(arena);
    for (int i = 0; i < 100; i++) memset(px_take(arena, char, 999), 1, 999);
    px_assert_ok(px_arena_ok(arena));
    px_arena_reset(arena, mark);
    assert_int_equal(px_arena_mark(arena), mark);
    px_arena_free(arena);
}

static void strings_quote_and_print_numbers(void **state) {
    (void)state;
    px_str s = {0};
    px_str_json(&s, "a\"\\\n\x01\xff\xc3\xa9", 8);
    assert_string_equal(s.data, "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xc3\xa9\"");
    px_str_clear(&s);
    px_str_double(&s, 0.1);
    px_str_char(&s, ' ');
    px_str_double(&s, 1e300 * 1e300);
    assert_string_equal(s.data, "0.1 null");
    px_assert_ok(px_str_ok(&s));
    px_str_free(&s);
    double value = 0;
    char text[32];
    static const double hard[] = {1.0 / 3, 5e-324, -1.7976931348623157e308, 0};
    for (size_t i = 0; i < PX_COUNT(hard); i++) {
        value = strtod(px_double_text(hard[i], text), NULL);
        assert_true(value == hard[i]);
    }
    int64_t n = 0;
    assert_true(px_parse_i64("-12", &n) && n == -12);
    assert_false(px_parse_i64("12x", &n) || px_parse_i64("", &n) ||
                 px_parse_i64("99999999999999999999", &n));
    assert_false(px_parse_f64("nan", &value) || px_parse_f64("1e999", &value));
    static const char *const keys[] = {"optim.lr", "lora.r", "seed"};
    assert_int_equal(px_nearest("optim.rl", keys, 3), 0);
    assert_int_equal(px_nearest("zzzzzzzz", keys, 3), -1);
}

static void utf8_is_checked(void **state) {
    (void)state;
    assert_int_equal(px_utf8_check("h\xc3\xa9\xf0\x9f\x98\x80", 7), -1);
    assert_int_equal(px_utf8_check("a\xc0\x80", 3), 1);      /* overlong */
    assert_int_equal(px_utf8_check("\xed\xa0\x80", 3), 0);   /* surrogate */
    assert_int_equal(px_utf8_check("ab\xf0\x9f\x98", 5), 2); /* cut */
    assert_int_equal(px_utf8_check("\xf4\x90\x80\x80", 4), 0);
    char out[4];
    for (int32_t c = 1; c < 0x110000; c += 97) {
        if (c >= 0xD800 && c < 0xE000) continue;
        int length = 0, n = px_utf8_put(c, out);
        assert_int_equal(px_utf8_get(out, (size_t)n, &length), c);
        assert_int_equal(length, n);
    }
}

static void map_finds_what_was_set(void **state) {
    (void)state;
    px_map map = {0};
    static char keys[1000][8];
    assert_int_equal(px_map_find(&map, "x", 1, -7), -7);
    for (int i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        px_assert_ok(px_map_set(&map, keys[i], strlen(keys[i]), i));
    }
    px_assert_ok(px_map_set(&map, "k5", 2, 55));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(px_map_find(&map, keys[i], strlen(keys[i]), -1), i == 5 ? 55 : i);
    assert_int_equal(px_map_find(&map, "k1000", 5, -1), -1);
    px_map_free(&map);
}

static void files_are_whole_or_absent(void **state) {
    (void)state;
    char dir[] = "/tmp/px_base_XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *deep = px_path_join(dir, "a/b"), *path = px_path_join(dir, "a/b/f");
    px_assert_ok(px_dir_make(deep));
    px_assert_ok(px_dir_make(deep));
    px_assert_ok(px_file_write(path, "old", 3));
    px_file_out out = {0};
    px_assert_ok(px_file_out_open(path, &out));
    fputs("half", out.stream);
    px_file_out_drop(&out);
    px_bytes text = {0};
    px_assert_ok(px_file_read(path, &text));
    assert_string_equal(text.data, "old");
    px_bytes_free(&text);
    px_map_file map = {0};
    px_assert_ok(px_map_open(path, &map));
    assert_int_equal(map.size, 3);
    px_map_close(&map);
    px_assert_error(px_map_open(dir, &map), PX_BAD_INPUT, "not a regular file");
    px_assert_error(px_file_read(dir, &text), PX_BAD_INPUT, dir);
    px_assert_error(px_dir_make(path), PX_BAD_INPUT, "cannot be made");
    assert_true(px_disk_free(path) > 0 && px_disk_free("/no/such/place") > 0);
    px_assert_ok(px_dir_remove(dir));
    assert_false(px_path_exists(dir));
    px_assert_ok(px_dir_remove(dir));
    free(deep);
    free(path);
}

static void quantiles_are_between_order_statistics(void **state) {
    (void)state;
    double v[] = {4, 1, 3, 2}, one[] = {7};
    px_f64_sort(v, 4);
    for (int i = 0; i < 4; i++) assert_true(v[i] == i + 1);
    px_assert_near(px_quantile(v, 4, 0), 1, 0); /* numpy.quantile's values */
    px_assert_near(px_quantile(v, 4, 0.25), 1.75, 1e-15);
    px_assert_near(px_quantile(v, 4, 0.9), 3.7, 1e-15);
    px_assert_near(px_quantile(v, 4, 1), 4, 0);
    px_f64_sort(one, 1);
    px_assert_near(px_quantile(one, 1, 0.3), 7, 0);
}

/* A package's counter turns over; parts of it are not counted; a counter that goes away takes the
 * sum with it. */
static void energy_of_made_up_counters(void **state) {
    (void)state;
    char *root = temp_folder();
    px_energy e;
    px_energy_start(root, &e);
    assert_int_equal(e.n, 0);
    px_energy_sample(&e);
    assert_true(isnan(e.joules));
    static const char *const zones[][2] = {{"0", "package-0"}, {"1", "package-1"}, {"2", "psys"}};
    char name[128];
    for (size_t i = 0; i < PX_COUNT(zones); i++) {
        snprintf(name, sizeof name, "sys/class/powercap/intel-rapl:%s", zones[i][0]);
        char *dir = px_path_join(root, name), *file = px_path_join(dir, "name");
        px_assert_ok(px_dir_make(dir));
        px_assert_ok(px_file_write(file, zones[i][1], strlen(zones[i][1])));
        free(file);
        file = px_path_join(dir, "energy_uj");
        px_assert_ok(px_file_write(file, "9000000\n", 8));
        free(file);
        file = px_path_join(dir, "max_energy_range_uj");
        px_assert_ok(px_file_write(file, "10000000\n", 9));
        free(file);
        free(dir);
    }
    px_energy_start(root, &e);
    assert_int_equal(e.n, 2);
    px_energy_sample(&e);
    px_assert_near(e.joules, 0, 0);
    char *first = px_path_join(root, "sys/class/powercap/intel-rapl:0/energy_uj");
    px_assert_ok(px_file_write(first, "9500000\n", 8));
    px_energy_sample(&e);
    px_assert_near(e.joules, 0.5, 1e-12);
    px_assert_ok(px_file_write(first, "250000\n", 7));
    px_energy_sample(&e);
    px_assert_near(e.joules, 1.25, 1e-12);
    assert_int_equal(remove(first), 0);
    px_energy_sample(&e);
    assert_true(isnan(e.joules));
    free(first);
    temp_folder_end(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(energy_of_made_up_counters),
        cmocka_unit_test(quantiles_are_between_order_statistics),
        cmocka_unit_test(philox_matches_published_vectors),
        cmocka_unit_test(draws_are_uniform_and_normal),
        cmocka_unit_test(permutation_holds_each_once),
        cmocka_unit_test(sha256_matches_fips_examples),
        cmocka_unit_test(errors_chain_from_the_outside_in),
        cmocka_unit_test(arena_takes_marks_and_refuses),
        cmocka_unit_test(strings_quote_and_print_numbers),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(map_finds_what_was_set),
        cmocka_unit_test(files_are_whole_or_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
