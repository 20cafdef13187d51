/* test_tensor.c - number formats: halves and bf16 over all their values, the block formats bit for
 * bit against gguf.quants (tests/golden/weights.py), ranges, types that are not read. */
#include "files.h"

#include "files_internal.h"

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* By the definition: (-1)^s 2^(e-15) (1 + f/1024), subnormal below. */
static double half_by_definition(int half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31) size = fraction ? NAN : INFINITY;
    return half >> 15 ? -size : size;
}

static void every_half_is_exact(void **state) {
    (void)state;
    float *all = calloc(65536, sizeof *all);
    for (int half = 0; half < 65536; half++) {
        double want = half_by_definition(half);
        float got = px_f16_to((uint16_t)half);
        if (isnan(want)) {
            assert_true(isnan(got));
            continue;
        }
        assert_true((double)got == want && !signbit(got) == !signbit(want));
        all[half] = got;
    }
    px_digest digest;
    px_assert_ok(px_sha_bytes(all, 65536 * sizeof *all, &digest));
    assert_string_equal(digest.hex, /* numpy's, printed by weights.py */
                        "faa6d965574036872b0d39a42d1f8bee361d5be92b1e718155a69556a5abacdd");
    free(all);
}

static void every_bf16_goes_round(void **state) {
    (void)state;
    for (uint32_t b = 0; b < 65536; b++) {
        float wide = px_bf16_to((uint16_t)b);
        assert_int_equal(bits_of(wide), b << 16);
        uint16_t back = px_bf16_from(wide);
        if (isnan(wide))
            assert_true(isnan(px_bf16_to(back)) && back >> 15 == b >> 15);
        else
            assert_int_equal(back, b);
    }
}

/* Between each bf16 and the next of the same sign lie 65,536 floats; the nearest wins, at the
 * middle the even one. */
static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    static const uint32_t below[] = {1, 2, 0x100, 0x7ffe, 0x7fff},
                          above[] = {0x8001, 0xc000, 0xffff};
    for (uint32_t b = 0; b < 65536; b++) {
        if ((b & 0x7fff) >= 0x7f80) continue;
        uint16_t next = (uint16_t)(b + 1);
        for (size_t i = 0; i < PX_COUNT(below); i++)
            assert_int_equal(px_bf16_from(float_of(b << 16 | below[i])), b);
        for (size_t i = 0; i < PX_COUNT(above); i++)
            assert_int_equal(px_bf16_from(float_of(b << 16 | above[i])), next);
        assert_int_equal(px_bf16_from(float_of(b << 16 | 0x8000)), b & 1 ? next : b);
    }
    assert_true(
        isnan(px_bf16_to(px_bf16_from(float_of(0x7f800001))))); /* payload in the low half */
    assert_true(isnan(px_bf16_to(px_bf16_from(float_of(0xffffffff)))));
    assert_int_equal(px_bf16_from(INFINITY), 0x7f80);
    assert_int_equal(px_bf16_from(-INFINITY), 0xff80);
    assert_int_equal(px_bf16_from(0x1.fffffep127f), 0x7f80);
}

/* Every tensor of weights.gguf, whole and block by block, guard values behind. */
static void blocks_match_golden(void **state) {
    (void)state;
    px_gguf *file = NULL;
    px_bytes want = {0};
    px_assert_ok(px_gguf_open(GOLDEN("weights.gguf"), &file));
    px_assert_ok(px_file_read(GOLDEN("weights.f32"), &want));
    size_t at = 0;
    for (int t = 0; t < px_gguf_count(file); t++) {
        const px_tensor *tensor = px_gguf_at(file, t);
        if (tensor->type == PX_T_OTHER) continue;
        int64_t n = px_tensor_count(tensor), step = px_block_of(tensor->type).elements;
        float *got = calloc((size_t)n + 1, sizeof *got),
              *part = calloc((size_t)n + 1, sizeof *part);
        uint16_t *narrow = calloc((size_t)n + 1, sizeof *narrow);
        got[n] = 17;
        narrow[n] = 17;
        px_assert_ok(px_tensor_f32(tensor, 0, n, got));
        px_assert_ok(px_tensor_bf16(tensor, 0, n, narrow));
        assert_true(at + (size_t)n * 4 <= want.size);
        for (int64_t i = 0; i < n; i++, at += 4) {
            uint32_t bits;
            memcpy(&bits, want.data + at, 4);
            if (bits_of(got[i]) != bits)
                fail_msg("%s[%d]: got %a, want %a", tensor->name, (int)i, (double)got[i],
                         (double)float_of(bits));
            assert_int_equal(narrow[i], px_bf16_from(float_of(bits)));
        }
        for (int64_t i = 0; i < n; i += step)
            px_assert_ok(px_tensor_f32(tensor, i, step, part + i));
        assert_memory_equal(got, part, (size_t)n * sizeof *got);
        assert_true(got[n] == 17 && narrow[n] == 17);
        free(got);
        free(part);
        free(narrow);
    }
    assert_int_equal(at, want.size);
    px_bytes_free(&want);
    px_gguf_close(file);
}

/* Longer than the chunk between dequantising and rounding, at an odd address. */
static void long_rows_round_as_short_ones(void **state) {
    (void)state;
    enum { N = 5000 };
    unsigned char *data = calloc(N * 4 + 1, 1);
    uint16_t *got = calloc(N, sizeof *got);
    for (int i = 0; i < N; i++) {
        float value = (float)sin(i) * 3;
        memcpy(data + 1 + 4 * i, &value, 4);
    }
    px_tensor tensor = {.name = "x",
                        .type = PX_T_F32,
                        .rank = 1,
                        .dims = {N},
                        .data = data + 1,
                        .bytes = N * 4,
                        .type_name = "F32"};
    px_assert_ok(px_tensor_bf16(&tensor, 1, N - 1, got));
    for (int i = 1; i < N; i++) assert_int_equal(got[i - 1], px_bf16_from((float)sin(i) * 3));
    free(data);
    free(got);
}

static void ranges_and_types_are_checked(void **state) {
    (void)state;
    static unsigned char data[4 * 34];
    float out[128];
    uint16_t narrow[128];
    px_tensor tensor = {.name = "blk",
                        .type = PX_T_Q8_0,
                        .rank = 2,
                        .dims = {2, 64},
                        .data = data,
                        .bytes = sizeof data,
                        .type_name = "Q8_0"};
    px_assert_ok(px_tensor_f32(&tensor, 0, 0, NULL));
    px_assert_ok(px_tensor_bf16(&tensor, 128, 0, NULL));
    px_assert_ok(px_tensor_f32(&tensor, 0, 128, out));
    static const int64_t bad[][2] = {{0, 160},
                                     {-32, 32},
                                     {0, -32},
                                     {160, 0},
                                     {16, 32},
                                     {0, 16},
                                     {32, 128},
                                     {INT64_MAX - 31, 32},
                                     {32, INT64_MAX - 31}};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        px_assert_error(px_tensor_f32(&tensor, bad[i][0], bad[i][1], out), PX_BAD_INPUT, "blk");
        px_assert_error(px_tensor_bf16(&tensor, bad[i][0], bad[i][1], narrow), PX_BAD_INPUT, "blk");
    }
    tensor.type = PX_T_OTHER;
    tensor.type_name = "I32";
    px_assert_error(px_tensor_f32(&tensor, 0, 0, out), PX_BAD_INPUT, "type I32 cannot be read");
    px_assert_error(px_tensor_bf16(&tensor, 0, 0, narrow), PX_BAD_INPUT, "Q6_K");
}

static void counts_do_not_overflow(void **state) {
    (void)state;
    static const struct {
        int rank;
        int64_t dims[4];
        bool fits;
        int64_t count;
    } cases[] = {
        {0, {0}, true, 1},
        {1, {0}, true, 0},
        {2, {3, 5}, true, 15},
        {4, {INT64_MAX, INT64_MAX, INT64_MAX, 0}, true, 0},
        {1, {INT64_MAX}, true, INT64_MAX},
        {2, {INT64_MAX, 2}, false, 0},
        {3, {1 << 21, 1 << 21, 1 << 21}, false, 0},
        {2, {-1, 0}, false, 0},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        int64_t count = -7;
        assert_int_equal(px_dims_count(cases[i].rank, cases[i].dims, &count), cases[i].fits);
        if (cases[i].fits) assert_true(count == cases[i].count);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(every_bf16_goes_round),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(blocks_match_golden),
        cmocka_unit_test(long_rows_round_as_short_ones),
        cmocka_unit_test(ranges_and_types_are_checked),
        cmocka_unit_test(counts_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
