/* test_traits_effects.c - means, intervals and effects of arms against numbers of another program
 * (tests/golden/traits.py) and on panels that lack something. */
#include "px_test.h"
#include "traits_internal.h"

enum { UNITS = 6, EACH = 5, ROWS = UNITS * EACH };

/* The same formulas as the script's; arm 0 is the reference. */
static void panel_rows(px_row *rows) {
    static const double arm_effect[] = {0, 0.5, -0.3};
    for (int u = 0; u < UNITS; u++)
        for (int i = 0; i < EACH; i++) {
            int arm = (u + i) % 3, words = 20 + 7 * ((3 * u + 5 * i) % 11);
            double noise = ((u * 7 + i * 5 + arm * 3) % 9 - 4) * 0.05;
            px_row *row = &rows[i * UNITS + u]; /* units lie apart in the file */
            *row = (px_row){.user = (uint64_t)u + 100, .words = (uint32_t)words};
            row->arm = (int16_t)arm;
            row->domain = (uint64_t)(u * i % 2) + 1;
            row->prompt = (uint64_t)(i * UNITS + u) + 1;
            for (int t = 0; t < PX_TRAITS; t++)
                row->score[t] =
                    0.25 * u + arm_effect[arm] + 0.4 * log(words) + 0.2 * (u * i % 2) + noise;
        }
}

static void effects_match_golden(void **state) {
    (void)state;
    static const double want[2][2][2] = {
        {{0.681930711895318, 0.0919728740367309}, {-0.0243921304657407, 0.107523219228191}},
        {{0.501215302478357, 0.0701999748123108}, {-0.345779281755941, 0.0343097498065025}}};
    px_row rows[ROWS];
    px_panel panel;
    panel_rows(rows);
    px_assert_ok(px_panel_new(rows, ROWS, 3, 0, &panel));
    assert_int_equal(panel.n_units, UNITS);
    assert_true(panel.people);
    for (int adjusted = 0; adjusted < 2; adjusted++) {
        px_effect effects[3];
        px_assert_ok(px_panel_effects(&panel, PX_RELATIONSHIP, adjusted, effects));
        assert_true(isnan(effects[0].value));
        for (int a = 0; a < 2; a++) {
            px_assert_near(effects[a + 1].value, want[adjusted][a][0], 1e-12);
            px_assert_near(effects[a + 1].se, want[adjusted][a][1], 1e-12);
            px_assert_near(effects[a + 1].low, want[adjusted][a][0] - 1.96 * want[adjusted][a][1],
                           1e-12);
        }
    }
    px_panel_free(&panel);
}

static void what_cannot_be_told_is_nan(void **state) {
    (void)state;
    px_row rows[ROWS];
    px_panel panel;
    px_effect effects[3];
    panel_rows(rows);
    for (int i = 0; i < ROWS; i++) /* everybody has one arm alone */
        rows[i].arm = (int16_t)(rows[i].user % 3);
    px_assert_ok(px_panel_new(rows, ROWS, 3, 0, &panel));
    px_assert_ok(px_panel_effects(&panel, PX_SYCOPHANCY, true, effects));
    for (int a = 0; a < 3; a++) assert_true(isnan(effects[a].value));
    px_panel_free(&panel);
    px_assert_ok(px_panel_new(rows, ROWS, 3, -1, &panel)); /* no reference */
    px_assert_ok(px_panel_effects(&panel, PX_SYCOPHANCY, false, effects));
    assert_true(isnan(effects[1].value));
    px_panel_free(&panel);
    px_mean means[3 * PX_TRAITS];
    int64_t samples = 50;
    px_assert_ok(px_panel_new(rows, 0, 3, 0, &panel)); /* no rows */
    px_assert_ok(px_panel_means(&panel, 1, &samples, means));
    px_assert_ok(px_panel_effects(&panel, PX_SYCOPHANCY, true, effects));
    assert_true(isnan(means[0].mean) && isnan(effects[1].value));
    px_panel_free(&panel);
}

static void means_and_intervals(void **state) {
    (void)state;
    enum { PEOPLE = 400 };
    px_row *rows = calloc(2 * PEOPLE, sizeof *rows);
    px_panel panel;
    px_mean means[2 * PX_TRAITS];
    int64_t samples = 1000;
    px_rng rng = {5, PX_RNG_TEST};
    assert_non_null(rows);
    for (int i = 0; i < 2 * PEOPLE; i++) {
        rows[i].user = (uint64_t)(i / 2) + 1;
        rows[i].arm = (int16_t)(i % 2);
        rows[i].score[0] = px_rng_normal(rng, 0, (uint64_t)i) + (i % 2);
        rows[i].score[1] = i % 7 ? 1 : NAN; /* left out of the mean */
        rows[i].score[2] = 3;
    }
    px_assert_ok(px_panel_new(rows, 2 * PEOPLE, 2, 0, &panel));
    px_assert_ok(px_panel_means(&panel, 1, &samples, means));
    assert_int_equal(samples, 1000);
    for (int a = 0; a < 2; a++) {
        const px_mean *m = &means[a * PX_TRAITS];
        /* SE 1/20: the interval is some 0.196 wide */
        assert_true(fabs(m[0].mean - a) < 0.2);
        assert_true(m[0].low < m[0].mean && m[0].mean < m[0].high);
        assert_true(m[0].high - m[0].low > 0.15 && m[0].high - m[0].low < 0.25);
        px_assert_near(m[1].mean, 1, 0);
        px_assert_near(m[2].low, 3, 1e-12);
    }
    px_panel_free(&panel);
    for (int i = 0; i < 2 * PEOPLE; i++) { /* nobody is named: prompts are the units */
        rows[i].user = 0;
        rows[i].prompt = (uint64_t)i;
    }
    px_assert_ok(px_panel_new(rows, 2 * PEOPLE, 2, 0, &panel));
    assert_false(panel.people);
    assert_int_equal(panel.n_units, 2 * PEOPLE - 1); /* hashes 0 and 1 are one */
    px_panel_free(&panel);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effects_match_golden),
        cmocka_unit_test(what_cannot_be_told_is_nan),
        cmocka_unit_test(means_and_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
