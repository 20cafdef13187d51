/* test_stats_models.c - single estimators: published mixed models, and what a file of trials cannot
 * bring about. */
#include "files.h"
#include "px_test.h"
#include "stats_internal.h"

/* --- linear mixed models: the data sets of Bates, Maechler, Bolker & Walker 2015 and lme4 --- */

typedef struct {
    int n;
    double y[160], x[160];
    int32_t a[160], b[160];
    char name[32];
    double want[6]; /* intercept, its error, sd a, sd b, sd residual, REML criterion */
} mixed;

static bool mixed_next(FILE *file, mixed *m) {
    static const char end[] = "\t\n";
    char line[256];
    if (!fgets(line, sizeof line, file)) return false;
    char *state = NULL;
    assert_string_equal(strtok_r(line, end, &state), "#");
    snprintf(m->name, sizeof m->name, "%s", strtok_r(NULL, end, &state));
    m->n = (int)strtol(strtok_r(NULL, end, &state), NULL, 10);
    assert_in_range(m->n, 1, 160);
    for (int i = 0; i < 6; i++) m->want[i] = strtod(strtok_r(NULL, end, &state), NULL);
    for (int i = 0; i < m->n; i++) {
        assert_non_null(fgets(line, sizeof line, file));
        m->y[i] = strtod(strtok_r(line, end, &state), NULL);
        m->a[i] = (int32_t)strtol(strtok_r(NULL, end, &state), NULL, 10);
        m->b[i] = (int32_t)strtol(strtok_r(NULL, end, &state), NULL, 10);
        m->x[i] = 1;
    }
    return true;
}

static int32_t levels(const int32_t *level, int n) {
    int32_t most = 0;
    for (int i = 0; i < n; i++) most = PX_MAX(most, level[i] + 1);
    return most;
}

static px_lmm model_of(const mixed *m, bool swapped) {
    px_lmm model = {.n = m->n, .p = 1, .x = m->x, .y = m->y, .n_factors = m->b[0] < 0 ? 1 : 2};
    const int32_t *first = swapped ? m->b : m->a, *second = swapped ? m->a : m->b;
    model.level[0] = first;
    model.n_levels[0] = levels(first, m->n);
    if (model.n_factors < 2) return model;
    model.level[1] = second;
    model.n_levels[1] = levels(second, m->n);
    return model;
}

static void mixed_models_match_published(void **state) {
    (void)state;
    FILE *file = fopen(GOLDEN("mixed.tsv"), "r");
    px_lmm_fit *fit = calloc(1, sizeof *fit);
    mixed *m = calloc(1, sizeof *m);
    int n = 0;
    assert_non_null(file);
    for (; mixed_next(file, m); n++)
        for (int swapped = 0; swapped < (m->b[0] < 0 ? 1 : 2); swapped++) {
            px_lmm model = model_of(m, swapped);
            px_assert_ok(px_lmm_reml(&model, fit));
            assert_true(fit->ok);
            px_assert_near(fit->beta[0], m->want[0], 1e-9);
            px_assert_near(sqrt(fit->cov[0]), m->want[1], 1e-5);
            px_assert_near(fit->sd[swapped], m->want[2], 2e-5);
            if (model.n_factors == 2) px_assert_near(fit->sd[!swapped], m->want[3], 2e-5);
            px_assert_near(fit->sd_residual, m->want[4], 1e-5);
            px_assert_near(fit->deviance, m->want[5], 1e-8);
            assert_int_equal(fit->singular, !strcmp(m->name, "Dyestuff2"));
        }
    assert_int_equal(n, 4);
    free(m);
    free(fit);
    fclose(file);
}

static void mixed_models_that_cannot_be(void **state) {
    (void)state;
    px_lmm_fit *fit = calloc(1, sizeof *fit);
    const double x[4] = {1, 1, 1, 1}, flat[4] = {.1, .1, .1, .1};
    const int32_t who[4] = {0, 0, 1, 1};
    px_lmm model = {
        .n = 4, .p = 1, .x = x, .y = flat, .n_factors = 1, .level = {who}, .n_levels = {2}};
    px_assert_ok(px_lmm_reml(&model, fit));
    assert_false(fit->ok);
    assert_string_equal(fit->why, "the outcome does not vary");
    model.n = 1;
    px_assert_ok(px_lmm_reml(&model, fit));
    assert_false(fit->ok);
    free(fit);
}

/* --- formulas --- */

static void tau_and_kappa_by_hand(void **state) {
    (void)state;
    const double x[4] = {1, 2, 3, 4}, y[4] = {1, 3, 2, 4}, tied[4] = {1, 1, 2, 3},
                 flat[4] = {5, 5, 5, 5};
    px_assert_near(px_kendall_tau(x, y, 4), 4.0 / 6, 1e-15);
    px_assert_near(px_kendall_tau(x, tied, 4), 5 / sqrt(30), 1e-15); /* scipy: 0.912870929175277 */
    assert_true(isnan(px_kendall_tau(x, flat, 4)));
    assert_true(isnan(px_kendall_tau(x, y, 1)));
    /* cohen_kappa_score([0,0,1,1,2,2], [0,1,1,2,2,0], weights="quadratic") */
    const double table[9] = {1, 1, 0, 0, 1, 1, 1, 0, 1};
    px_assert_near(px_kappa_quadratic(table, 3), 0.25, 1e-12);
    assert_true(isnan(px_kappa_quadratic((double[]){4, 0, 0, 0}, 2)));
}

static void js_divergence_by_hand(void **state) {
    (void)state;
    const double p[3] = {.5, .5, 0}, q[3] = {0, .5, .5}, counts[3] = {10, 10, 0};
    px_assert_near(px_js_divergence(p, q, 3), 0.5, 1e-15);
    px_assert_near(px_js_divergence(counts, q, 3), 0.5, 1e-15);
    px_assert_near(px_js_divergence(p, p, 3), 0, 1e-15);
    px_assert_near(px_js_divergence((double[]){1, 0}, (double[]){0, 1}, 2), 1, 1e-15);
    /* scipy.spatial.distance.jensenshannon([.2,.3,.5], [.4,.4,.2], base=2) ** 2 */
    px_assert_near(px_js_divergence((double[]){.2, .3, .5}, (double[]){.4, .4, .2}, 3),
                   0.07758920317334433, 1e-12);
}

static void benjamini_hochberg_by_hand(void **state) {
    (void)state;
    /* statsmodels multipletests([.01,.04,.03,.005,.5], method="fdr_bh") */
    const double p[6] = {.01, .04, NAN, .03, .005, .5}, want[6] = {.025, .05, NAN, .05, .025, .5};
    double got[6];
    px_benjamini_hochberg(p, 6, got);
    for (int i = 0; i < 6; i++)
        if (isnan(want[i]))
            assert_true(isnan(got[i]));
        else
            px_assert_near(got[i], want[i], 1e-15);
    px_benjamini_hochberg(p, 0, got);
}

static void dependent_columns_are_found(void **state) {
    (void)state;
    /* x2 = x0 + x1 */
    const double x[4][3] = {{1, 0, 1}, {0, 1, 1}, {1, 1, 2}, {2, 0, 2}};
    double gram[9] = {0};
    bool keep[3];
    for (int i = 0; i < 4; i++)
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++) gram[a * 3 + b] += x[i][a] * x[i][b];
    assert_int_equal(px_independent(gram, 3, keep), 2);
    assert_true(keep[0] && keep[1] && !keep[2]);
}

/* Where nothing is cut off, Tobit is least squares; its plain errors too. */
static void tobit_without_limits_is_least_squares(void **state) {
    (void)state;
    enum { N = 40 };
    double x[N * 2], y[N], sxx = 0, sxy = 0, my = 0, mx = 0, rss = 0;
    int32_t who[N];
    const px_rng rng = {5, PX_RNG_TEST};
    for (int i = 0; i < N; i++) {
        x[2 * i] = 1;
        x[2 * i + 1] = px_rng_normal(rng, 1, (uint64_t)i);
        y[i] = 5 + 0.3 * x[2 * i + 1] + 0.5 * px_rng_normal(rng, 2, (uint64_t)i);
        who[i] = i / 4;
        mx += x[2 * i + 1] / N;
        my += y[i] / N;
    }
    for (int i = 0; i < N; i++) {
        sxx += (x[2 * i + 1] - mx) * (x[2 * i + 1] - mx);
        sxy += (x[2 * i + 1] - mx) * (y[i] - my);
    }
    for (int i = 0; i < N; i++) {
        double off = y[i] - my - sxy / sxx * (x[2 * i + 1] - mx);
        rss += off * off;
    }
    px_tobit_fit *fit = calloc(1, sizeof *fit);
    const px_tobit model = {N, 2, x, y, 0, 10, who, N / 4};
    px_assert_ok(px_tobit_fit_ml(&model, fit));
    assert_true(fit->ok);
    px_assert_near(fit->beta[1], sxy / sxx, 1e-8);
    px_assert_near(fit->sigma, sqrt(rss / N), 1e-8);
    px_assert_near(sqrt(fit->cov_plain[1 * 3 + 1]), sqrt(rss / N / sxx), 1e-8);
    free(fit);
}

/* Without an effect of people, and two categories, the cumulative logit is the logit. */
static void ordinal_of_two_is_logit(void **state) {
    (void)state;
    const double x[8] = {0, 0, 0, 0, 1, 1, 1, 1};
    const int32_t y[8] = {0, 0, 0, 1, 0, 1, 1, 1}, who[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    px_ordinal_fit fit;
    const px_ordinal model = {8, 1, 2, x, y, who, 8, 15};
    px_assert_ok(px_ordinal_ml(&model, &fit));
    assert_true(fit.ok);
    assert_true(fit.singular); /* one row a person: nothing is left for the effect */
    px_assert_near(fit.theta[0], log(3), 1e-6);
    px_assert_near(fit.theta[1], 2 * log(3), 1e-6);
    px_assert_near(sqrt(fit.cov[1 * 3 + 1]), sqrt(2 / 0.75), 1e-5);
    px_ordinal_fit_free(&fit);
}

/* A column that says it all has no finite slope: not fitted, or next to nothing known of it. */
static void ordinal_separated_is_not_fitted(void **state) {
    (void)state;
    const double x[8] = {0, 0, 0, 0, 1, 1, 1, 1};
    const int32_t y[8] = {0, 0, 0, 0, 1, 1, 1, 1}, who[8] = {0, 0, 1, 1, 2, 2, 3, 3};
    px_ordinal_fit fit;
    const px_ordinal model = {8, 1, 2, x, y, who, 4, 15};
    px_assert_ok(px_ordinal_ml(&model, &fit));
    assert_true(!fit.ok || fit.cov[(size_t)fit.n + 1] > 1e6);
    px_ordinal_fit_free(&fit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_models_match_published),
        cmocka_unit_test(mixed_models_that_cannot_be),
        cmocka_unit_test(tau_and_kappa_by_hand),
        cmocka_unit_test(js_divergence_by_hand),
        cmocka_unit_test(benjamini_hochberg_by_hand),
        cmocka_unit_test(dependent_columns_are_found),
        cmocka_unit_test(tobit_without_limits_is_least_squares),
        cmocka_unit_test(ordinal_of_two_is_logit),
        cmocka_unit_test(ordinal_separated_is_not_fitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
