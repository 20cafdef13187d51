/* test_ops_exact.c - exact sums where a backend computes: the limbs and the rounded value of
 * pipeline/dist/exact.c, for every kind of value; what cannot be added is found. */
#include "dist.h"
#include "ops.h"
#include "px_test.h"

enum { N = 3001, ADDITIONS = 7 };

static float value_of(int addition, int i) {
    static const float odd[] = {0,        -0.0f,      0x1p-72f,       -0x1p-72f,       0x1.8p-73f,
                                0x1p-74f, -0x1p-100f, 0x1.fffffep25f, -0x1.fffffep25f, 1,
                                -1,       0x1p-24f,   -0x1p-25f,      0x1.000002p-48f, 3e-45f};
    if (i < (int)PX_COUNT(odd)) return addition % 2 ? -odd[i] : odd[i];
    const px_rng rng = {5, PX_RNG_TEST};
    const double z = px_rng_normal(rng, (uint64_t)addition, (uint64_t)i);
    return (float)ldexp(z, (int)px_rng_below(rng, (uint64_t)addition, (uint64_t)i, 96) - 75);
}

static void limbs_and_values_are_those_of_dist(void **state) {
    (void)state;
    static float g[N], got[N], want[N];
    static int64_t high[N], low[N];
    px_exact exact = {0};
    px_stream *s = NULL;
    size_t where = 0;
    uint64_t bad = PX_EXACT_FINE;
    const px_ranks alone = {.size = 1};
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    px_assert_ok(px_exact_new(N, &exact));
    for (int a = 0; a < ADDITIONS; a++) {
        for (int i = 0; i < N; i++) g[i] = value_of(a, i);
        assert_true(px_exact_add(&exact, g, &where));
        px_op_exact_add(s, high, low, g, N, &bad);
        assert_true(bad == PX_EXACT_FINE);
        px_exact_get(&exact, want);
        px_op_exact_get(s, got, high, low, N); /* before anything is carried */
        for (int i = 0; i < N; i++)
            if (got[i] != want[i] || signbit(got[i]) != signbit(want[i]))
                fail_msg("%d: %a, not %a", i, got[i], want[i]);
    }
    px_exact_sum_all(&alone, &exact); /* carries */
    px_op_exact_carry(s, high, low, N);
    assert_memory_equal(high, exact.high, sizeof high);
    assert_memory_equal(low, exact.low, sizeof low);
    px_assert_ok(px_stream_ok(s));
    px_exact_free(&exact);
    px_stream_close(s);
}

/* Halves are rounded to even, whatever stands far below them. */
static void totals_are_rounded_once(void **state) {
    (void)state;
    static const struct {
        int64_t high, low;
        float want;
    } cases[] = {
        {0, 0, 0},
        {1 << 24, 0, 1},
        {-(1 << 24), 0, -1},
        {((int64_t)1 << 40) + (1 << 16), 0, 0x1p16f}, /* a half: to even */
        {((int64_t)1 << 40) + (1 << 16), 1, 0x1.000002p16f},
        {((int64_t)1 << 40) + 3 * (1 << 16), 0, 0x1.000004p16f},
        {-((int64_t)1 << 40) - (1 << 16), 0, -0x1p16f},
        {-((int64_t)1 << 40) - (1 << 16), -1, -0x1.000002p16f},
        {-1, ((int64_t)1 << 48) - 1, -0x1p-72f},
        {0, 3, 0x1.8p-71f},
        {INT64_MAX, 0, 0x1p39f},
        {INT64_MIN + 1, 0, -0x1p39f},
    };
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        float got = NAN;
        px_op_exact_get(s, &got, &cases[i].high, &cases[i].low, 1);
        if (got != cases[i].want) fail_msg("case %zu: %a, not %a", i, got, cases[i].want);
    }
    px_stream_close(s);
}

static void what_cannot_be_added_is_found(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p26f, -0x1p27f};
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 2, &s));
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        float g[700] = {0};
        int64_t high[700] = {0}, low[700] = {0};
        g[699] = g[300 + i] = bad[i];
        g[1] = 1;
        uint64_t found = PX_EXACT_FINE;
        px_op_exact_add(s, high, low, g, 300, &found);
        px_op_exact_add(s, high, low, g, 0, &found);
        assert_true(found == PX_EXACT_FINE);
        px_op_exact_add(s, high, low, g, 700, &found);
        assert_int_equal(found, 300 + i);
        assert_int_equal(high[1], 1 << 25);
        assert_int_equal(high[699], 0);
        px_op_exact_add(s, high, low, g + 300, 400, &found); /* less: an index of this addition */
        assert_int_equal(found, i);
        px_op_exact_add(s, high, low, g, 700, &found);
        assert_int_equal(found, i);
    }
    px_assert_ok(px_stream_ok(s));
    px_stream_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limbs_and_values_are_those_of_dist),
        cmocka_unit_test(totals_are_rounded_once),
        cmocka_unit_test(what_cannot_be_added_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
