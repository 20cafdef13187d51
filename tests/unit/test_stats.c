/* test_stats.c - the whole of prismx stats on a small file of trials against other programs
 * (tests/golden/stats.py: survival, lme4, ordinal, statsmodels, scipy, scikit-learn), and on files
 * that lack what an analysis needs. */
#include "files.h"
#include "px_test.h"
#include "stats.h"

static const px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};

typedef struct {
    char outcome[64], model[64], term[128], source[16];
    double estimate, se, low, high, p, adjusted;
    char family[32], note[256];
} row;

/* Cells of a line, in place; NA is NaN. */
static int cells_of(char *line, char **cells, int most) {
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line; n < most; at++) {
        cells[n++] = at;
        at = strchr(at, '\t');
        if (!at) break;
        *at = 0;
    }
    return n;
}

static double number(const char *cell) { return strcmp(cell, "NA") ? strtod(cell, NULL) : NAN; }

static row *rows_read(const char *path, int *n) {
    FILE *file = fopen(path, "r");
    char line[4096], *c[16] = {0};
    row *rows = calloc(16384, sizeof *rows);
    assert_non_null(file);
    assert_non_null(rows);
    *n = 0;
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file)) {
        row *r = &rows[(*n)++];
        assert_int_equal(cells_of(line, c, 16), 15);
        snprintf(r->family, sizeof r->family, "%.31s", c[0]);
        snprintf(r->outcome, sizeof r->outcome, "%.63s", c[1]);
        snprintf(r->model, sizeof r->model, "%.63s", c[2]);
        snprintf(r->term, sizeof r->term, "%.127s", c[3]);
        r->estimate = number(c[5]);
        r->se = number(c[6]);
        r->low = number(c[7]);
        r->high = number(c[8]);
        r->p = number(c[9]);
        r->adjusted = number(c[10]);
        snprintf(r->source, sizeof r->source, "%.15s", c[13]);
        snprintf(r->note, sizeof r->note, "%.255s", c[14]);
    }
    fclose(file);
    return rows;
}

static const row *find(const row *rows, int n, const char *outcome, const char *model,
                       const char *term, const char *source) {
    for (int i = 0; i < n; i++)
        if (!strcmp(rows[i].outcome, outcome) && !strcmp(rows[i].model, model) &&
            !strcmp(rows[i].term, term) && !strcmp(rows[i].source, source))
            return &rows[i];
    return NULL;
}

static row *run(const char *trials, px_stats_job job, int *n) {
    char *dir = temp_folder(), *out = px_path_join(dir, "s.tsv");
    job.trials[0] = trials;
    job.n_trials = 1;
    job.out = out;
    px_assert_ok(px_stats_all(&alone, &job));
    row *rows = rows_read(out, n);
    px_assert_ok(px_dir_remove(dir));
    free(out);
    free(dir);
    return rows;
}

static bool noted(const row *r, const char *part) { return r && strstr(r->note, part); }

/* Relative; below 0.01 in hundredths. */
static void close_to(const char *what, const row *have, double got, double want, double tol) {
    double off = fabs(got - want) / fmax(fabs(want), 1e-2);
    if (!(off <= tol))
        fail_msg("%s %s %s %s (%s): got %.10g, want %.10g, off by %.2g", have->source,
                 have->outcome, have->model, have->term, what, got, want, off);
}

static void estimates_match_other_programs(void **state) {
    (void)state;
    int n = 0, m = 0;
    row *rows = run(GOLDEN("stats.jsonl"), (px_stats_job){.bootstrap = 20, .seed = 1}, &n);
    FILE *file = fopen(GOLDEN("stats.tsv"), "r");
    char line[512], *c[8] = {0};
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    for (; fgets(line, sizeof line, file); m++) {
        assert_int_equal(cells_of(line, c, 8), 6);
        const row *have = find(rows, n, c[0], c[1], c[2], c[3]);
        if (!have) fail_msg("no row %s %s %s %s", c[0], c[1], c[2], c[3]);
        close_to("estimate", have, have->estimate, number(c[4]), 1e-4);
        if (!isnan(number(c[5]))) close_to("error", have, have->se, number(c[5]), 1e-3);
    }
    fclose(file);
    assert_true(m > 300);
    free(rows);
}

/* p_adjusted is that of Benjamini and Hochberg over every p of the family. */
static void adjusted_within_families(void **state) {
    (void)state;
    int n = 0;
    row *rows = run(GOLDEN("stats.jsonl"), (px_stats_job){.bootstrap = 0, .seed = 1}, &n);
    for (int i = 0; i < n; i++) {
        double least = 1;
        assert_int_equal(isnan(rows[i].p), isnan(rows[i].adjusted));
        if (isnan(rows[i].p)) continue;
        int all = 0;
        for (int k = 0; k < n; k++)
            all += !strcmp(rows[k].family, rows[i].family) && !isnan(rows[k].p);
        for (int k = 0; k < n; k++) { /* least over q >= p of q m / rank(q) */
            int rank = 0;
            if (strcmp(rows[k].family, rows[i].family) != 0 || !(rows[k].p >= rows[i].p)) continue;
            for (int e = 0; e < n; e++)
                rank += !strcmp(rows[e].family, rows[i].family) && rows[e].p <= rows[k].p;
            least = fmin(least, rows[k].p * all / rank);
        }
        px_assert_near(rows[i].adjusted, least, 1e-12);
    }
    free(rows);
}

/* --- files of one's own --- */

typedef struct {
    px_str text;
    int n;
} trial_text;

/* A trial of two arms; the winner ranked first. */
static void trial_add(trial_text *t, int person, const char *winner, const char *loser) {
    px_str_format(&t->text,
                  "{\"trial\":\"t%d\",\"person\":\"u%d\",\"slots\":[{\"pos\":\"A\",\"arm\":\"%s\"},"
                  "{\"pos\":\"B\",\"arm\":\"%s\"}],\"rank\":{\"preference\":[\"A\",\"B\"]}}\n",
                  t->n, person, winner, loser);
    t->n++;
}

static row *run_text(trial_text *t, int *n) {
    char *dir = temp_folder(), *path = px_path_join(dir, "t.jsonl");
    px_assert_ok(px_file_write(path, t->text.data ? t->text.data : "", t->text.size));
    row *rows = run(path, (px_stats_job){.bootstrap = 50, .seed = 3, .plan_people = 100}, n);
    px_assert_ok(px_dir_remove(dir));
    px_str_free(&t->text);
    free(path);
    free(dir);
    return rows;
}

/* theta = log(3) where base loses 3 to 1; errors by hand: four people, one trial each. */
static void two_arms_by_hand(void **state) {
    (void)state;
    trial_text t = {0};
    int n = 0;
    for (int i = 0; i < 3; i++) trial_add(&t, i, "x", "base");
    trial_add(&t, 3, "base", "x");
    row *rows = run_text(&t, &n);
    const row *r = find(rows, n, "rank:preference", "plackett_luce", "x", "human");
    assert_non_null(r);
    px_assert_near(r->estimate, log(3), 1e-10);
    /* h = 4 * 3/16, scores 1/4 (3 times) and -3/4: meat 3/16 + 9/16, times 4/3 */
    px_assert_near(r->se, sqrt(0.75 * 4 / 3) / 0.75, 1e-10);
    r = find(rows, n, "rank:preference", "win_rate", "x>base", "human");
    assert_non_null(r);
    px_assert_near(r->estimate, 0.75, 1e-15);
    px_assert_near(r->se, sqrt(0.75 * 4 / 3) / 4, 1e-12);
    r = find(rows, n, "rank:preference", "power", "x", "human");
    assert_non_null(r);
    assert_true(r->estimate > 0.9 && r->estimate <= 1);
    free(rows);
}

/* An arm that always wins: the ridge, said, and a finite estimate: the zero of
 * n / (1 + e^theta) - 1e-3 theta (penalty 1e-3 (2 (theta / 2)^2)). */
static void separation_takes_the_ridge(void **state) {
    (void)state;
    trial_text t = {0};
    int n = 0;
    for (int i = 0; i < 6; i++) trial_add(&t, i, "x", "base");
    row *rows = run_text(&t, &n);
    const row *r = find(rows, n, "rank:preference", "plackett_luce", "x", "human");
    assert_non_null(r);
    assert_true(noted(r, "ridge 1e-3"));
    px_assert_near(6 / (1 + exp(r->estimate)), 1e-3 * r->estimate, 1e-6);
    assert_true(isfinite(r->se) && isnan(r->p) && isnan(r->adjusted));
    assert_true(noted(r, "no finite maximum"));
    free(rows);
}

/* A group that always wins: no p across, as before within. */
static void separated_groups_have_no_p(void **state) {
    (void)state;
    trial_text t = {0};
    int n = 0;
    for (int i = 0; i < 12; i++) {
        trial_add(&t, i, i % 3 ? "a" : "base", i % 3 ? "base" : "a");
        trial_add(&t, i, i % 2 ? "ppft" : "dpft", i % 2 ? "dpft" : "ppft");
        trial_add(&t, i, i % 2 ? "ppft" : "dpft", i % 3 ? "a" : "base");
    }
    row *rows = run_text(&t, &n);
    static const char *const models[] = {"plackett_luce", "bradley_terry"};
    static const struct {
        const char *term;
        bool p;
    } of[] = {{"a", true}, {"ppft", false}, {"dpft", false}, {"ppft-dpft", true}};
    for (size_t m = 0; m < PX_COUNT(models); m++)
        for (size_t i = 0; i < PX_COUNT(of); i++) {
            const row *r = find(rows, n, "rank:preference", models[m], of[i].term, "human");
            assert_non_null(r);
            assert_true(isfinite(r->estimate) && noted(r, "ridge 1e-3"));
            assert_int_equal(isfinite(r->p), of[i].p);
        }
    free(rows);
}

/* More arms than a fit has columns for, and one alone: said, and no reading out of bounds. */
static void numbers_of_arms_are_said(void **state) {
    (void)state;
    for (int arms = 1; arms < 200; arms += 159) {
        trial_text t = {0};
        int n = 0;
        for (int i = 0; i < arms; i++) {
            char text[2][16];
            for (int k = 0; k < 2; k++) snprintf(text[k], 16, "m%d", (i + k) % arms);
            px_str_format(&t.text,
                          "{\"trial\":\"t%d\",\"person\":\"u%d\",\"slots\":[{\"pos\":\"A\","
                          "\"arm\":\"%s\"},{\"pos\":\"B\",\"arm\":\"%s\"}],\"rank\":"
                          "{\"preference\":[\"A\",\"B\"]},\"vas\":{\"preference\":{\"A\":%d,"
                          "\"B\":%d}},\"wtp\":{\"A\":%d,\"B\":3}}\n",
                          i, i % 9, text[0], text[1], i % 50, i % 7, i % 10);
        }
        row *rows = run_text(&t, &n);
        const row *r = find(rows, n, "rank:preference", "plackett_luce", "arms", "human");
        assert_non_null(r);
        assert_true(noted(r, arms == 1 ? "one arm alone" : "at most 151"));
        static const char *const models[] = {"lmm", "cumulative_logit"};
        for (size_t m = 0; arms > 1 && m < PX_COUNT(models); m++) {
            r = find(rows, n, "vas:preference", models[m], "m10", "human");
            assert_non_null(r);
            assert_true(isnan(r->estimate) && noted(r, "too many terms"));
        }
        free(rows);
    }
}

/* Sliders that always stand highest for one arm: that arm's slope is at infinity, the others' not.
 */
static void separated_slope_is_na(void **state) {
    (void)state;
    trial_text t = {0};
    int n = 0;
    for (int i = 0; i < 40; i++)
        px_str_format(&t.text,
                      "{\"trial\":\"t%d\",\"person\":\"u%d\",\"slots\":[{\"pos\":\"A\","
                      "\"arm\":\"base\"},{\"pos\":\"B\",\"arm\":\"x\"},{\"pos\":\"C\","
                      "\"arm\":\"y\"}],\"vas\":{\"preference\":{\"A\":%d,\"B\":100,\"C\":%d}},"
                      "\"wtp\":{\"A\":%d,\"B\":%d,\"C\":3}}\n",
                      i, i % 8, i * 7 % 3, i * 5 % 4 > 1 ? 2 : 0, i % 5, i * 3 % 7);
    row *rows = run_text(&t, &n);
    const row *r = find(rows, n, "vas:preference", "cumulative_logit", "x", "human");
    assert_non_null(r);
    assert_true(isnan(r->estimate) && isnan(r->p) && noted(r, "no finite maximum"));
    r = find(rows, n, "vas:preference", "cumulative_logit", "y", "human");
    assert_non_null(r);
    assert_true(fabs(r->estimate) < 5 && r->se < 2);
    r = find(rows, n, "wtp", "cumulative_logit", "x", "human");
    assert_non_null(r);
    assert_true(isfinite(r->estimate) && r->se < 2);
    free(rows);
}

static void arms_that_never_met_are_na(void **state) {
    (void)state;
    trial_text t = {0};
    int n = 0;
    for (int i = 0; i < 8; i++) {
        trial_add(&t, i, i % 3 ? "x" : "base", i % 3 ? "base" : "x");
        trial_add(&t, i, i % 2 ? "far" : "away", i % 2 ? "away" : "far");
    }
    row *rows = run_text(&t, &n);
    const row *r = find(rows, n, "rank:preference", "plackett_luce", "x", "human");
    assert_non_null(r);
    px_assert_near(r->estimate, log(5.0 / 3), 1e-10);
    r = find(rows, n, "rank:preference", "plackett_luce", "far", "human");
    assert_non_null(r);
    assert_true(isnan(r->estimate));
    assert_true(noted(r, "never met base"));
    assert_null(find(rows, n, "rank:preference", "win_rate", "far>base", "human"));
    free(rows);
}

static void little_data_never_crashes(void **state) {
    (void)state;
    static const char *const files[] = {
        "",
        "{\"trial\":\"t\",\"person\":\"u\",\"slots\":[{\"pos\":\"A\",\"arm\":\"a\"},{\"pos\":\"B\","
        "\"arm\":\"b\"}]}\n",
        "{\"trial\":\"t\",\"person\":\"u\",\"slots\":[{\"pos\":\"A\",\"arm\":\"a\"},{\"pos\":\"B\","
        "\"arm\":\"a\"}],"
        "\"rank\":{\"preference\":[\"A\",\"B\"]},\"vas\":{\"preference\":{\"A\":50,\"B\":50}},"
        "\"wtp\":{\"A\":0,\"B\":10}}\n",
        "{\"trial\":\"t\",\"person\":\"u\",\"domain\":\"d\",\"slots\":[{\"pos\":\"A\",\"arm\":"
        "\"base\"},{\"pos\":\"H\",\"arm\":\"b\"}],"
        "\"opening\":{\"best\":\"H\"},\"rank\":{\"preference\":[\"H\",\"A\"]},"
        "\"vas\":{\"preference\":{\"A\":1,\"H\":99},\"engaging\":{\"A\":3}},\"wtp\":{\"A\":1.5},"
        "\"turns\":[{\"user\":\"\",\"answers\":{\"A\":\"\"}},{\"user\":\"why?\",\"to\":\"A\"}]}\n"};
    for (size_t i = 0; i < PX_COUNT(files); i++) {
        trial_text t = {0};
        int n = 0;
        px_str_text(&t.text, files[i]);
        row *rows = run_text(&t, &n);
        for (int k = 0; k < n; k++) assert_true(!(fabs(rows[k].estimate) > 1e308));
        free(rows);
    }
}

static void reference_must_be_there(void **state) {
    (void)state;
    const px_stats_job job = {
        .trials = {GOLDEN("stats.jsonl")}, .n_trials = 1, .out = "never.tsv", .reference = "bas"};
    px_assert_error(px_stats_all(&alone, &job), PX_BAD_INPUT, "there are base, dpft");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_match_other_programs),
        cmocka_unit_test(adjusted_within_families),
        cmocka_unit_test(two_arms_by_hand),
        cmocka_unit_test(separation_takes_the_ridge),
        cmocka_unit_test(separated_groups_have_no_p),
        cmocka_unit_test(numbers_of_arms_are_said),
        cmocka_unit_test(separated_slope_is_na),
        cmocka_unit_test(arms_that_never_met_are_na),
        cmocka_unit_test(little_data_never_crashes),
        cmocka_unit_test(reference_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
