/* test_dist.c - run with 1, 2 and 3 ranks: agreement, sums, gathering, assignment, exact sums. */
#include "dist.h"
#include "px_test.h"

static px_ranks ranks;

static void the_lowest_failing_rank_speaks_for_all(void **state) {
    (void)state;
    px_assert_ok(px_agree_all(&ranks, NULL));
    px_err *mine = ranks.rank >= ranks.size - 2
                       ? px_err_new(PX_BAD_INPUT, "x.c", 1, "broken %d", ranks.rank)
                       : NULL;
    px_err *err = px_agree_all(&ranks, mine);
    assert_non_null(err);
    assert_int_equal(px_err_kind(err), PX_BAD_INPUT);
    char want[32];
    snprintf(want, sizeof want, "broken %d", PX_MAX(ranks.size - 2, 0));
    assert_non_null(strstr(px_err_text(err), want));
    px_err_free(err);
}

static void collectives_sum_and_spread(void **state) {
    (void)state;
    int64_t i[2] = {ranks.rank, 1};
    px_sum_i64_all(&ranks, i, 2);
    assert_int_equal(i[0], ranks.size * (ranks.size - 1) / 2);
    assert_int_equal(i[1], ranks.size);
    double m = ranks.rank * 1.5;
    px_max_f64_all(&ranks, &m, 1);
    assert_true(m == (ranks.size - 1) * 1.5);
    double spread[3] = {0, 0, ranks.rank == ranks.size - 1 ? 0.1 : 0};
    if (ranks.rank == 0) spread[0] = -1.0 / 3;
    px_spread_f64_all(&ranks, spread, 3);
    assert_true(spread[0] == -1.0 / 3 && spread[1] == 0 && spread[2] == 0.1);
    assert_true(px_any_all(&ranks, ranks.rank == ranks.size - 1));
    assert_false(px_any_all(&ranks, false));
    int word = ranks.rank == 0 ? 77 : 0;
    px_bcast_all(&ranks, &word, sizeof word, 0);
    assert_int_equal(word, 77);
}

static void bytes_gather_in_rank_order(void **state) {
    (void)state;
    char mine[16];
    int n = snprintf(mine, sizeof mine, "%.*s", ranks.rank + 1, "abcdefgh");
    px_bytes all = {0};
    int64_t sizes[8];
    px_assert_ok(px_gather_bytes_all(&ranks, mine, (size_t)n, &all, sizes));
    if (ranks.rank == 0) {
        char want[64] = "";
        size_t at = 0;
        for (int r = 0; r < ranks.size; r++) {
            assert_int_equal(sizes[r], r + 1);
            at += (size_t)snprintf(want + at, sizeof want - at, "%.*s", r + 1, "abcdefgh");
        }
        assert_string_equal(all.data, want);
    } else
        assert_null(all.data);
    px_bytes_free(&all);
}

static void longest_go_first_to_the_least_loaded(void **state) {
    (void)state;
    static const int64_t costs[] = {5, 9, 1, 7, 7};
    int owner[5];
    px_assert_ok(px_assign_longest_first(costs, 5, 2, owner));
    static const int want[] = {0, 0, 0, 1, 1}; /* 9→0 7→1 7→1 5→0 1→0 or 1 */
    for (int i = 0; i < 5; i++) assert_int_equal(owner[i], want[i]);
    px_assert_ok(px_assign_longest_first(costs, 0, 2, owner));
}

enum { N = 5000, SLOTS = 12 };

static float value_of(int slot, int i) {
    px_rng rng = {3, PX_RNG_TEST};
    double z = px_rng_normal(rng, (uint64_t)slot, (uint64_t)i);
    return (float)ldexp(z, (int)px_rng_below(rng, (uint64_t)slot, (uint64_t)i, 60) - 45);
}

/* The sum over slots in any order and on any ranks is the correctly rounded exact sum. */
static void exact_sums_do_not_depend_on_order(void **state) {
    (void)state;
    static float g[N], got[N], again[N];
    px_exact exact = {0};
    px_assert_ok(px_exact_new(N, &exact));
    for (int pass = 0; pass < 2; pass++) {
        size_t where = 0;
        px_exact_clear(&exact);
        for (int k = 0; k < SLOTS; k++) {
            int slot = pass ? SLOTS - 1 - k : k;
            if ((slot * 7 + pass) % ranks.size != ranks.rank) continue;
            for (int i = 0; i < N; i++) g[i] = value_of(slot, i);
            assert_true(px_exact_add(&exact, g, &where));
        }
        px_exact_sum_all(&ranks, &exact);
        px_exact_get(&exact, pass ? again : got);
    }
    assert_memory_equal(got, again, sizeof got);
    for (int i = 0; i < N; i++) {
        long double sum = 0;
        for (int slot = 0; slot < SLOTS; slot++) sum += (long double)value_of(slot, i);
        assert_true(fabsl(sum - (long double)got[i]) <= fabsl(sum) * 0x1p-24L + SLOTS * 0x1p-72L);
    }
    px_exact_free(&exact);
}

static void exact_sums_carry_and_refuse(void **state) {
    (void)state;
    px_exact exact = {0};
    px_assert_ok(px_exact_new(3, &exact));
    size_t where = 0;
    float g[3] = {-1e-9f, 3e7f, 0.1f};
    for (int i = 0; i < 10000; i++) assert_true(px_exact_add(&exact, g, &where));
    px_exact_get(&exact, g);
    px_assert_near(g[0], (double)-1e-9f * 10000, 1e-7);
    px_assert_near(g[1], 3e11, 1e-7);
    px_assert_near(g[2], (double)0.1f * 10000, 1e-7);
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p26f, -0x1p27f};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        float h[3] = {0, bad[i], 1};
        assert_false(px_exact_add(&exact, h, &where));
        assert_int_equal(where, 1);
    }
    px_exact_free(&exact);
}

/* Both ways of rounding, narrow limbs and wide ones, against the compiler's of a 128-bit integer;
 * half of the sums lie at, or one grid unit beside, the middle of two f32. */
static void totals_are_those_of_wide_integers(void **state) {
    (void)state;
    px_exact exact = {0};
    const size_t n = 64 * 1024 + 5;
    const px_rng rng = {5, PX_RNG_TEST};
    float *got = calloc(n, sizeof *got);
    assert_non_null(got);
    px_assert_ok(px_exact_new(n, &exact));
    for (size_t i = 0; i < n; i++) {
        const bool wide = i / 1024 % 4 == 3; /* blocks of 1,024 are rounded alike */
        const int bits = (int)px_rng_below(rng, i, 0, wide ? 110 : 100);
        __int128 sum = 0;
        for (uint64_t k = 0; k < 4; k++) /* 4 × 28 bits */
            sum = sum << 28 | px_rng_below(rng, i, 4 + k, 1u << 28);
        sum >>= 112 - bits;
        if (bits > 25 && i % 2) {
            const int cut = bits - 24;
            sum = (sum >> cut) * ((__int128)1 << cut) + ((__int128)1 << (cut - 1)) +
                  (int)px_rng_below(rng, i, 3, 3) - 1;
        }
        if (i % 3 == 0) sum = -sum;
        exact.high[i] = (int64_t)(sum >> 48);
        exact.low[i] = (int64_t)(sum & (((__int128)1 << 48) - 1));
        if (i % 5 == 0 && exact.high[i] < INT64_MAX) { /* before anything is carried */
            exact.high[i]++;
            exact.low[i] -= (int64_t)1 << 48;
        }
    }
    px_exact_get(&exact, got);
    for (size_t i = 0; i < n; i++) {
        const __int128 sum = ((__int128)exact.high[i] * ((__int128)1 << 48)) + exact.low[i];
        const float want = (float)sum * 0x1p-72f;
        if (got[i] != want) fail_msg("%zu: %a, not %a", i, (double)got[i], (double)want);
    }
    px_exact_free(&exact);
    free(got);
}

int main(int argc, char **argv) {
    px_err *err = px_ranks_open_all(true, &argc, &argv, &ranks);
    if (err) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_failing_rank_speaks_for_all),
        cmocka_unit_test(collectives_sum_and_spread),
        cmocka_unit_test(bytes_gather_in_rank_order),
        cmocka_unit_test(longest_go_first_to_the_least_loaded),
        cmocka_unit_test(exact_sums_do_not_depend_on_order),
        cmocka_unit_test(exact_sums_carry_and_refuse),
        cmocka_unit_test(totals_are_those_of_wide_integers),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    px_ranks_close_all(&ranks);
    return failed;
}
