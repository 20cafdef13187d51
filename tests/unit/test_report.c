/* test_report.c - the page of a run: escaping, axes, the map's directions, and whole pages of good,
 * unfinished, empty and hostile runs. PX_REPORT_KEEP=DIR leaves the good page there. */
#include "files.h"
#include "html.h"
#include "pca.h"
#include "report.h"
#include "report_page.h"
#include "report_runs.h"
#include "svg.h"

static void escape_takes_nothing_for_markup(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"},
        {"a & \"b\"", "a &amp; &quot;b&quot;"},
        {"\x01\x7f", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"a\nb\tc", "a b c"},
        {"\xE2\x80\xAE"
         "abc",
         "\xEF\xBF\xBD"
         "abc"},
        {"\xC2\x85", "\xEF\xBF\xBD"},
        {"\xFF\xC3", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xD7\xA9\xF0\x9F\x98\x80", "\xD7\xA9\xF0\x9F\x98\x80"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_str out = {0};
        px_html_text(&out, cases[i].in);
        assert_string_equal(out.data ? out.data : "", cases[i].out);
        px_str_free(&out);
    }
    px_str out = {0};
    px_html_short(&out, "abcdef", 4);
    px_html_short(&out, "<<<<", 2);
    px_html_short(&out, "abc", 4);
    assert_string_equal(out.data, "abc…&lt;…abc");
    px_str_free(&out);
}

static void numbers_read_well(void **state) {
    (void)state;
    px_str out = {0};
    px_html_whole(&out, 12345);
    px_html_whole(&out, -1234);
    px_str_char(&out, ' ');
    px_html_fixed(&out, -0.04, 1);
    px_html_fixed(&out, -1.25, 2);
    px_html_whole(&out, NAN);
    px_html_number(&out, INFINITY);
    assert_string_equal(out.data, "12&#8239;345−1234 0.0−1.25––");
    px_str_free(&out);
}

static void ticks_are_round(void **state) {
    (void)state;
    static const struct {
        double low, high, first, last, step;
    } cases[] = {
        {0, 400, 0, 400, 100},     {0.41, 0.79, 0.4, 0.8, 0.1}, {-3, 7, -4, 8, 2},
        {0.5, 0.5, 0.2, 0.8, 0.1}, {0, 0, -1, 1, 0.5},          {1e-9, 9e-9, 0, 1e-8, 2e-9},
        {NAN, 1, 0, 1, 0.2},       {5, 2, 0, 1, 0.2},           {-1e308, 1e308, 0, 1, 0.2}};
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_axis axis;
        px_axis_fit(cases[i].low, cases[i].high, 5, &axis);
        px_assert_near(axis.low, cases[i].first, 1e-9);
        px_assert_near(axis.high, cases[i].last, 1e-9);
        px_assert_near(axis.step, cases[i].step, 1e-9);
        assert_in_range(axis.n, 2, PX_TICKS_MAX);
        for (int k = 0; k < axis.n; k++)
            px_assert_near(axis.ticks[k], axis.low + k * axis.step, 1e-9);
    }
}

static void tick_texts_are_short(void **state) {
    (void)state;
    static const struct {
        double low, high, value;
        const char *text;
    } cases[] = {{0, 1, 0.2, "0.2"},    {-5e-5, 5e-5, -5e-5, "−5e−5"}, {0, 5e-5, 0, "0"},
                 {0, 4e6, 1e6, "1e6"},  {0, 5e12, 2e12, "2e12"},       {0, 50000, 20000, "20k"},
                 {-1, 1, -0.5, "−0.5"}, {0, 400, 100, "100"}};
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_axis axis;
        px_str out = {0};
        px_axis_fit(cases[i].low, cases[i].high, 5, &axis);
        px_axis_text(&axis, cases[i].value, &out);
        assert_string_equal(out.data, cases[i].text);
        px_str_free(&out);
    }
}

static void eigenvalues_of_a_known_matrix(void **state) {
    (void)state;
    double a[9] = {2, 1, 0, 1, 2, 0, 0, 0, 5}, values[3], v[9];
    px_eigen(a, 3, values, v);
    const double want[3] = {5, 3, 1};
    for (int i = 0; i < 3; i++) px_assert_near(values[i], want[i], 1e-14);
    px_assert_near(fabs(v[6]), 1, 1e-14);
    px_assert_near(fabs(v[1]), sqrt(0.5), 1e-14);
}

/* Points on a turned ellipse: the directions, the coordinates and the shares are known. */
static void map_of_a_known_ellipse(void **state) {
    (void)state;
    enum { N = 40, M = 5 };
    double rows[N * M], at[2 * N], extra[M], extra_at[2];
    const double u[M] = {0.6, 0.8, 0, 0, 0}, w[M] = {0, 0, 0, 1, 0};
    px_spread spread;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++) {
            double angle = 2 * 3.14159265358979323846 * i / N;
            rows[i * M + j] = 7 + 3 * cos(angle) * u[j] + sin(angle) * w[j];
        }
    for (int j = 0; j < M; j++) extra[j] = 7 + 2 * u[j] - 5 * w[j];
    px_points points = {.rows = rows, .n = N, .m = M};
    px_assert_ok(px_pca(&points, at, extra, extra_at, &spread));
    px_assert_near(spread.share[0], 0.9, 1e-9);
    px_assert_near(spread.share[1], 0.1, 1e-9);
    px_assert_near(spread.variance, 5, 1e-12);
    px_assert_near(spread.mean_square, 49 * M, 1e-12);
    double side = at[2 * (N / 4) + 1] > 0 ? 1 : -1, front = at[0] > 0 ? 1 : -1;
    for (int i = 0; i < N; i++) {
        double angle = 2 * 3.14159265358979323846 * i / N;
        px_assert_near(at[2 * i], front * 3 * cos(angle), 1e-6);
        px_assert_near(at[2 * i + 1], side * sin(angle), 1e-6);
    }
    px_assert_near(extra_at[0], 2 * front, 1e-6);
    px_assert_near(extra_at[1], -5 * side, 1e-6);
}

/* Rows a with inner product G = V Vᵀ give the map of the rows a V. */
static void map_by_a_gram_matrix(void **state) {
    (void)state;
    enum { N = 11, K = 3, M = 6 };
    double a[N * K], v[K * M], rows[N * M] = {0}, gram[K * K] = {0}, one[2 * N], two[2 * N];
    px_rng rng = {.seed = 3, .purpose = PX_RNG_TEST};
    px_spread s1, s2;
    for (int i = 0; i < N * K; i++) a[i] = px_rng_normal(rng, 1, (uint64_t)i);
    for (int i = 0; i < K * M; i++) v[i] = px_rng_normal(rng, 2, (uint64_t)i);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < M; j++) rows[i * M + j] += a[i * K + k] * v[k * M + j];
    for (int j = 0; j < K; j++)
        for (int k = 0; k < K; k++)
            for (int i = 0; i < M; i++) gram[j * K + k] += v[j * M + i] * v[k * M + i];
    px_points by_rows = {.rows = rows, .n = N, .m = M};
    px_points by_gram = {.rows = a, .gram = gram, .n = N, .m = K};
    px_assert_ok(px_pca(&by_rows, one, NULL, NULL, &s1));
    px_assert_ok(px_pca(&by_gram, two, NULL, NULL, &s2));
    px_assert_near(s1.variance, s2.variance, 1e-12);
    px_assert_near(s1.mean_square, s2.mean_square, 1e-12);
    for (int i = 0; i < 2 * N; i++) px_assert_near(one[i], two[i], 1e-6);
}

static void map_of_few_or_equal_people(void **state) {
    (void)state;
    double rows[] = {1, 2, 3, 1, 2, 3, 1, 2, 3}, at[6], extra_at[2];
    px_spread spread;
    for (int n = 0; n <= 3; n++) {
        px_points points = {.rows = rows, .n = n, .m = 3};
        for (int i = 0; i < 6; i++) at[i] = i < 2 * n ? NAN : 0;
        px_assert_ok(px_pca(&points, at, rows, extra_at, &spread));
        for (int i = 0; i < 6; i++) px_assert_near(at[i], 0, 0);
        px_assert_near(spread.variance, 0, 0);
    }
    rows[0] = 5; /* two people apart by 4 */
    px_points two = {.rows = rows, .n = 2, .m = 3};
    px_assert_ok(px_pca(&two, at, NULL, NULL, &spread));
    px_assert_near(fabs(at[0] - at[2]), 4, 1e-9);
    px_assert_near(at[1], 0, 1e-9);
    px_assert_near(at[3], 0, 1e-9);
    px_assert_near(spread.share[0], 1, 1e-9);
}

/* --- pages --- */
static char *page_of(const char *dir, const char *const *names, int n, px_report_format format) {
    const char *paths[8];
    px_bytes bytes = {0};
    char *out = px_path_join(dir, "report.out");
    for (int i = 0; i < n; i++) paths[i] = px_path_join(dir, names[i]);
    px_report_job job = {.runs = paths, .n_runs = n, .out_path = out, .format = format};
    px_assert_ok(px_report_make(&job));
    px_assert_ok(px_file_read(out, &bytes));
    assert_int_equal(strlen(bytes.data), bytes.size);
    assert_int_equal(px_utf8_check(bytes.data, bytes.size), -1);
    for (int i = 0; i < n; i++) free((char *)paths[i]);
    free(out);
    if (format == PX_REPORT_HTML) assert_balanced(bytes.data);
    return bytes.data;
}

static const char *const sections[] = {"findings", "accuracy", "deltas", "types", "training",
                                       "terms",    "rewards",  "health", "map",   "facts"};

static void assert_sections(const char *page) {
    char part[64];
    for (size_t i = 0; i < PX_COUNT(sections); i++) {
        snprintf(part, sizeof part, "<section id=\"%s\">", sections[i]);
        assert_int_equal(count(page, part), 1);
    }
    assert_has(page, "<html lang=\"en\">");
    assert_has(page, "name=\"viewport\"");
    assert_int_equal(count(page, "<script"), 0);
    assert_int_equal(count(page, "http://"), 0);
    assert_int_equal(count(page, "https://"), 0);
    assert_int_equal(count(page, "nan"), 0);
}

static void page_of_good_runs(void **state) {
    (void)state;
    static const made_run runs[] = {
        {"dpft", 400, 0, false, false, false, true, true, 0.11},
        {"ppft", 400, 124, true, false, false, true, true, 0.16},
        {"ppft-individual", 400, 124, true, true, true, true, true, 0.12}};
    static const char *const names[] = {"dpft", "ppft", "ppft-individual"};
    char *dir = temp_folder();
    for (int i = 0; i < 3; i++) make_run(dir, &runs[i]);
    char *page = page_of(dir, names, 3, PX_REPORT_HTML);
    char *again = page_of(dir, names, 3, PX_REPORT_HTML);
    assert_string_equal(page, again);
    assert_sections(page);
    assert_int_equal(count(page, "class=\"none\""), 0);
    assert_int_equal(count(page, "role=\"img\""), 2 + 2 + 2 + 4 + 3 + 3 + 4 + 2);
    assert_int_equal(count(page, "<details"), 10);
    assert_has(page, "the embedding carries its person");
    assert_has(page, "the embedding carries no person");
    assert_has(page, "the embeddings are dead");
    assert_has(page, "pair_over_max_tokens");
    assert_has(page, "no_chosen");
    assert_has(page, "1.93 GB of memory on the first rank and 18.25 GB of its GPU's");
    assert_int_equal(count(page, "secret-participant"), 0);
    assert_int_equal(count(page, "not_english"), 0); /* nothing of it: not in the list */
    if (getenv("PX_REPORT_KEEP")) make_file(getenv("PX_REPORT_KEEP"), "report.html", page);
    free(page);
    free(again);
    temp_folder_end(dir);
}

static void page_of_unfinished_and_empty_runs(void **state) {
    (void)state;
    static const made_run runs[] = {{"none", 0, 0, true, false, false, false, false, 0.1},
                                    {"one", 1, 1, true, true, false, true, false, 0.1}};
    static const char *const names[] = {"none", "one", "empty"};
    char *dir = temp_folder(), *empty = px_path_join(dir, "empty");
    for (int i = 0; i < 2; i++) make_run(dir, &runs[i]);
    px_assert_ok(px_dir_make(empty));
    char *page = page_of(dir, names, 3, PX_REPORT_HTML);
    assert_sections(page);
    assert_has(page, "manifest.json is missing");
    assert_has(page, "metrics.jsonl is missing");
    assert_has(page, "users.h5 is missing");
    assert_has(page, "has no logged step yet");
    free(page);
    page = page_of(dir, names + 2, 1, PX_REPORT_HTML);
    assert_sections(page);
    assert_int_equal(count(page, "class=\"none\""), 9);
    free(page);
    free(empty);
    temp_folder_end(dir);
}

static void page_of_a_hostile_run(void **state) {
    (void)state;
    static const char *const names[] = {"<b onmouseover=x>\xE2\x80\xAE"};
    char *dir = temp_folder(), *run = px_path_join(dir, names[0]);
    make_file(run, "manifest.json",
              "{\"status\": \"</title><script>alert(1)</script>\", \"steps\": \"many\", \"a.b\": "
              "{\"c\": \"\\u202Eevil\"}, \"\": 1, \"inputs\": {\"corpus\": {\"path\": 7}}, "
              "\"</td>\": [1, {\"x\": null}]}");
    make_file(run, "config.json", "{\"user\": \"\\\"'><svg onload=x>\"}");
    make_file(run, "metrics.jsonl",
              "{\"step\": 1, \"loss\": \"x\"}\nnot json\n{\"step\": null}\n[]\n{\"step\": 2, "
              "\"loss\": 0.5}\n{\"step\": 2, \"loss\": 0.4}\n\n{\"step\": 3, \"los");
    make_file(run, "users.h5", "no HDF5");
    make_file(run, "evals/<i>.json",
              "{\"rows\": [{\"split\": \"<script>\", \"type\": \"all\", \"accuracy_own\": [0.5]}, "
              "{\"split\": \"seen\", \"type\": \"all\", \"accuracy_own\": [0.6, 0.5, 0.7], "
              "\"delta_own\": \"x\", \"delta_swap\": [null, null, null]}, {\"split\": \"seen\", "
              "\"type\": \"</svg><script>\", \"accuracy_own\": [0.6, null, 1e400]}, 7, null]}");
    make_file(run, "evals/cut.json", "{\"rows\": [");
    make_file(run, "evals/list.json", "[]");
    char *page = page_of(dir, names, 1, PX_REPORT_HTML);
    assert_sections(page);
    assert_has(page, "4 broken lines");
    assert_has(page, "1 line left out");
    assert_has(page, "users.h5");
    assert_has(page, "cut.json");
    assert_int_equal(count(page, "onmouseover=x>"), 0);
    assert_int_equal(count(page, "<svg onload"), 0);
    assert_int_equal(count(page, "\xE2\x80\xAE"), 0);
    free(page);
    free(page_of(dir, names, 1, PX_REPORT_TSV));
    free(page_of(dir, names, 1, PX_REPORT_TEX));
    free(run);
    temp_folder_end(dir);
}

/* One file at a time is cut or has a byte changed: still a page, and a whole one. */
static void damaged_files_are_told_of(void **state) {
    (void)state;
    static const made_run good = {"run", 12, 9, true, false, false, true, true, 0.1};
    static const char *const files[] = {"manifest.json", "config.json", "metrics.jsonl",
                                        "evals/eval.json", "users.h5"};
    static const char *const names[] = {"run"};
    px_rng rng = {.seed = 11, .purpose = PX_RNG_TEST};
    char *dir = temp_folder(), *run = px_path_join(dir, "run");
    make_run(dir, &good);
    for (uint64_t i = 0; i < 100; i++) {
        char *path = px_path_join(run, files[i % PX_COUNT(files)]);
        px_bytes bytes = {0};
        px_assert_ok(px_file_read(path, &bytes));
        uint32_t at = px_rng_below(rng, i, 0, (uint32_t)bytes.size);
        char before = bytes.data[at];
        bool cut = i % 2 == 0;
        bytes.data[at] = (char)px_rng_below(rng, i, 1, 256);
        px_assert_ok(px_file_write(path, bytes.data, cut ? at : bytes.size));
        char *page = page_of(dir, names, 1, PX_REPORT_HTML);
        assert_sections(page);
        bytes.data[at] = before;
        px_assert_ok(px_file_write(path, bytes.data, bytes.size));
        free(page);
        px_bytes_free(&bytes);
        free(path);
    }
    free(run);
    temp_folder_end(dir);
}

static void tables_of_estimates(void **state) {
    (void)state;
    static const made_run runs[] = {{"a_b&c", 20, 0, false, false, false, true, true, 0.11},
                                    {"ppft", 20, 9, true, false, false, true, true, 0.16}};
    static const char *const names[] = {"a_b&c", "ppft"};
    char *dir = temp_folder();
    for (int i = 0; i < 2; i++) make_run(dir, &runs[i]);
    char *tsv = page_of(dir, names, 2, PX_REPORT_TSV);
    assert_int_equal(count(tsv, "\n"), 1 + 16);
    assert_int_equal(count(tsv, "\t"), 17 * 30);
    assert_has(tsv, "ppft\teval.json\t20\tseen\tall\t780\t124\t");
    assert_has(tsv, "\tNA\tNA\tNA");
    char *tex = page_of(dir, names, 2, PX_REPORT_TEX);
    assert_has(tex, "a\\_b\\&c & seen & all & 780 & 124");
    assert_has(tex, "\\bottomrule");
    assert_int_equal(count(tex, " \\\\\n"), 1 + 16);
    free(tsv);
    free(tex);
    temp_folder_end(dir);
}

static void no_folder_is_an_error(void **state) {
    (void)state;
    char *dir = temp_folder();
    const char *runs[] = {"/nowhere/run"};
    char *out = px_path_join(dir, "x.html");
    px_report_job job = {.runs = runs, .n_runs = 1, .out_path = out};
    px_assert_error(px_report_make(&job), PX_BAD_INPUT, "/nowhere/run: no such folder");
    assert_false(px_path_exists(out));
    free(out);
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escape_takes_nothing_for_markup),
        cmocka_unit_test(numbers_read_well),
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(tick_texts_are_short),
        cmocka_unit_test(eigenvalues_of_a_known_matrix),
        cmocka_unit_test(map_of_a_known_ellipse),
        cmocka_unit_test(map_by_a_gram_matrix),
        cmocka_unit_test(map_of_few_or_equal_people),
        cmocka_unit_test(page_of_good_runs),
        cmocka_unit_test(page_of_unfinished_and_empty_runs),
        cmocka_unit_test(page_of_a_hostile_run),
        cmocka_unit_test(damaged_files_are_told_of),
        cmocka_unit_test(tables_of_estimates),
        cmocka_unit_test(no_folder_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
