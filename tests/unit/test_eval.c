/* test_eval.c - derangement, intervals, rank correlation. Figures by numpy and scipy where said. */
#include "eval.h"
#include "px_test.h"

static void everybody_gets_another_persons_row(void **state) {
    (void)state;
    for (int32_t n = 1; n < 40; n++) {
        int32_t other[40], seen[40] = {0};
        px_assert_ok(px_other_rows(5, n, other));
        assert_int_equal(other[0], 0);
        for (int32_t r = 1; r < n; r++) {
            assert_in_range(other[r], 1, n - 1);
            if (n > 2) assert_int_not_equal(other[r], r);
            seen[other[r]]++;
        }
        for (int32_t r = 1; r < n; r++) assert_int_equal(seen[r], 1);
    }
}

static px_person_sums person(double n, double own, double generic, double other) {
    px_person_sums p = {
        .n = n, .right = {own, generic, other}, .margin = {2 * own, generic, other}};
    return p;
}

static void estimates_pool_pairs_and_resample_people(void **state) {
    (void)state;
    px_person_sums people[50];
    for (int i = 0; i < 50; i++) people[i] = person(10, 7, 5, i % 2 ? 4 : 6);
    px_eval_row row = {0}, again = {0};
    px_assert_ok(px_eval_estimate(people, 50, 500, 1, &row));
    px_assert_near(row.accuracy[PX_OWN].value, 0.7, 1e-12);
    px_assert_near(row.accuracy[PX_OWN].low, 0.7, 1e-12); /* everybody alike: no spread */
    px_assert_near(row.accuracy[PX_OWN].high, 0.7, 1e-12);
    px_assert_near(row.margin[PX_OWN].value, 1.4, 1e-12);
    px_assert_near(row.delta_own.value, 0.2, 1e-12);
    px_assert_near(row.delta_swap.value, 0.2, 1e-12);
    /* Other's accuracy is 0.4 or 0.6 by person: its mean has a standard error of 0.1 / sqrt(50). */
    double half = 1.96 * 0.1 / sqrt(50);
    assert_true(fabs(row.delta_swap.high - 0.2 - half) < 0.35 * half);
    assert_true(fabs(0.2 - row.delta_swap.low - half) < 0.35 * half);
    px_assert_ok(px_eval_estimate(people, 50, 500, 1, &again));
    assert_true(again.delta_swap.low == row.delta_swap.low);
    px_assert_ok(px_eval_estimate(people, 0, 500, 1, &row));
    assert_true(isnan(row.accuracy[0].value) && isnan(row.accuracy[0].low));
}

static void spearman_handles_ties(void **state) {
    (void)state;
    static const double x[] = {1, 2, 2, 4, 5, 6, 7}, y[] = {3, 1, 4, 4, 9, 2, 6};
    double r = 0;
    px_assert_ok(px_spearman(x, y, 7, &r));
    px_assert_near(r, 0.4272727272727273, 1e-12); /* scipy.stats.spearmanr */
    px_assert_ok(px_spearman(x, x, 7, &r));
    px_assert_near(r, 1, 1e-12);
    static const double flat[] = {1, 1, 1};
    px_assert_ok(px_spearman(flat, x, 3, &r));
    assert_true(isnan(r));
    px_assert_ok(px_spearman(x, y, 1, &r));
    assert_true(isnan(r));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_gets_another_persons_row),
        cmocka_unit_test(estimates_pool_pairs_and_resample_people),
        cmocka_unit_test(spearman_handles_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
