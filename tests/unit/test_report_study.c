/* test_report_study.c - the page of an experiment: every figure with its table, what is left out
 * where there is nothing, what hostile names do, the tables for programs and papers.
 * PX_REPORT_KEEP=DIR leaves the good and the hostile page there. */
#include "files.h"
#include "report.h"
#include "report_page.h"
#include "report_runs.h"
#include "report_study.h"

static const char *const four[] = {"base", "dpft", "ppft", "prompt"};
static const char *const domains[] = {"controversy", "unguided", "values", "wellbeing"};
static const made_study good = {four, domains, 4, 4, 4, 7, NULL, NULL};

typedef struct {
    const char *dir, *stats[2], *traits, *runs[2];
    int n_stats, n_runs;
    px_report_sweep sweep;
    px_report_prices prices;
} page_job;

static char *make_page(const page_job *j, px_report_format format) {
    const char *stats[2], *runs[2];
    px_bytes bytes = {0};
    char *out = px_path_join(j->dir, "page"), *traits = NULL;
    for (int i = 0; i < j->n_stats; i++) stats[i] = px_path_join(j->dir, j->stats[i]);
    for (int i = 0; i < j->n_runs; i++) runs[i] = px_path_join(j->dir, j->runs[i]);
    if (j->traits) traits = px_path_join(j->dir, j->traits);
    px_report_job job = {.runs = runs,
                         .n_runs = j->n_runs,
                         .stats = stats,
                         .n_stats = j->n_stats,
                         .prices = j->prices,
                         .sweeps = &j->sweep,
                         .n_sweeps = j->sweep.tsv != NULL,
                         .out_path = out,
                         .traits_path = traits,
                         .format = format};
    px_assert_ok(px_report_make(&job));
    px_assert_ok(px_file_read(out, &bytes));
    assert_int_equal(strlen(bytes.data), bytes.size);
    assert_int_equal(px_utf8_check(bytes.data, bytes.size), -1);
    for (int i = 0; i < j->n_stats; i++) free((char *)stats[i]);
    for (int i = 0; i < j->n_runs; i++) free((char *)runs[i]);
    free(out);
    free(traits);
    if (format == PX_REPORT_HTML) {
        assert_balanced(bytes.data);
        assert_ids(bytes.data);
        assert_harmless(bytes.data);
    }
    return bytes.data;
}

static const char *const figures[] = {
    "fig-worth",  "fig-wins",      "fig-sliders",  "fig-bids",      "fig-length",
    "fig-traits", "fig-agreement", "fig-position", "fig-simulated", "fig-topics",
    "fig-turns",  "fig-tokens",    "fig-offline"};

/* Section i of the page, to its end; NULL: it is not there. */
static char *section_of(const char *page, const char *id) {
    char begin[64];
    snprintf(begin, sizeof begin, "<section id=\"%s\">", id);
    const char *at = strstr(page, begin);
    return at ? strndup(at, (size_t)(strstr(at, "</section>") - at)) : NULL;
}

static void assert_figure(const char *page, int i) {
    char *section = section_of(page, figures[i]), words[64];
    if (!section) fail_msg("no figure %d", i + 1);
    assert_in_range(count(section, "<svg "), 1, 100);
    assert_int_equal(count(section, "<svg "), count(section, "role=\"img\""));
    assert_int_equal(count(section, "<svg "), count(section, "<desc id="));
    snprintf(words, sizeof words, "Data of figure %d</summary>", i + 1);
    assert_int_equal(count(section, words), 1);
    assert_in_range(count(section, "<tr><th scope=\"row\">"), 1, 10000);
    assert_has(section, "class=\"paper\"");
    free(section);
}

static void keep(const char *name, const char *page) {
    if (getenv("PX_REPORT_KEEP")) make_file(getenv("PX_REPORT_KEEP"), name, page);
}

static void every_figure_with_its_table(void **state) {
    (void)state;
    static const made_run runs[] = {{"dpft", 100, 0, false, false, false, true, true, 0.11},
                                    {"ppft", 100, 124, true, false, false, true, true, 0.16}};
    char *dir = temp_folder();
    for (int i = 0; i < 2; i++) make_run(dir, &runs[i]);
    make_study(dir, "stats.tsv", &good);
    make_traits(dir, "traits.summary.json", &good);
    const page_job job = {.dir = dir,
                          .stats = {"stats.tsv"},
                          .n_stats = 1,
                          .traits = "traits.summary.json",
                          .runs = {"dpft", "ppft"},
                          .n_runs = 2,
                          .prices = {0.5, 1.5, 2}};
    char *page = make_page(&job, PX_REPORT_HTML), *again = make_page(&job, PX_REPORT_HTML);
    assert_string_equal(page, again);
    for (int i = 0; i < (int)PX_COUNT(figures); i++) assert_figure(page, i);
    assert_has(page, "Personalisation experiment: <bdi>base</bdi>");
    assert_has(page, "href=\"#main\">Skip");
    assert_has(page, "<h3>Figures that are missing</h3>\n<p>None.</p>");
    assert_true(strstr(page, "id=\"story\"") < strstr(page, "id=\"findings\""));
    assert_has(page, "150 people ranked 4 arms in 600 trials");
    assert_has(page, " +$0.");
    assert_has(page, " −$0.");
    assert_null(strstr(page, "$−"));
    assert_has(page,
               "details::details-content{content-visibility:visible"); /* tables are printed */
    assert_has(page, " points of accuracy, so it carries its person.</li>");
    assert_has(page, "rankings with ties");
    assert_has(page, "&lt;b&gt;t.jsonl");
    /* the paper's: hollow marks at agreement, positions, odds, tokens, r; nowhere else */
    char *section = section_of(page, "fig-agreement");
    assert_int_equal(count(section, "class=\"s8 hollow\""), 6);
    free(section);
    section = section_of(page, "fig-position");
    assert_int_equal(count(section, "class=\"s8 hollow\""), 6);
    free(section);
    static const char *const ours[] = {"fig-worth",  "fig-wins",   "fig-sliders", "fig-bids",
                                       "fig-traits", "fig-topics", "fig-turns",   "fig-offline"};
    for (size_t i = 0; i < PX_COUNT(ours); i++) {
        section = section_of(page, ours[i]);
        assert_int_equal(count(section, "hollow"), 0);
        free(section);
    }
    section = section_of(page, "fig-traits");
    assert_has(section, "Intervals of means: 95");
    assert_has(section, "<td class=\"n\">4.10 [");
    free(section);
    section = section_of(page, "price");
    assert_int_equal(count(section, "no price was given"), 0);
    assert_has(section, "Energy: of the processors");
    assert_has(section, "<td class=\"n\">10</td>"); /* Wh */
    assert_has(section, "<th scope=\"row\"><bdi>ppft</bdi></th>");
    free(section);
    keep("study.html", page);
    free(page);
    free(again);
    temp_folder_end(dir);
}

static void what_is_not_there_is_named(void **state) {
    (void)state;
    static const char *const none[] = {"x"};
    static const made_study empty = {none, none, 0, 0, 1, 0, NULL, NULL};
    char *dir = temp_folder();
    make_study(dir, "stats.tsv", &empty);
    const page_job job = {.dir = dir, .stats = {"stats.tsv"}, .n_stats = 1};
    char *page = make_page(&job, PX_REPORT_HTML);
    for (size_t i = 0; i < PX_COUNT(figures); i++) {
        char id[64];
        snprintf(id, sizeof id, "id=\"%s\"", figures[i]);
        assert_int_equal(count(page, id), 0);
    }
    assert_int_equal(count(page, "<li>Figure "), 13);
    assert_has(page, "nothing can be said of which arm");
    free(page);
    static const made_study judge = {four, domains, 4, 4, 4, 2, NULL, NULL};
    make_study(dir, "stats.tsv", &judge);
    page = make_page(&job, PX_REPORT_HTML);
    assert_has(page, "150 people played by a model that read transcripts ranked 4 arms");
    assert_int_equal(count(page, "id=\"fig-simulated\""), 0);
    assert_int_equal(count(page, "id=\"fig-worth\""), 1);
    free(page);
    temp_folder_end(dir);
}

/* Intervals that hold no difference are not sold as one. */
static void open_is_said_to_be_open(void **state) {
    (void)state;
    static const char head[] = "family\toutcome\tmodel\tterm\tcontrast\testimate\tstd_error\tci_low"
                               "\tci_high\tp\tp_adjusted\tn_trials\tn_people\tsource\tnote\n";
    static const char *const wins[][2] = {{"0.4", "0.6"}, {"0.51", "0.6"}, {"0.4", "0.49"}};
    static const char *const words[] = {"does not tell them apart", "<strong>more than half",
                                        "<strong>less than half"};
    static const char *const against[] = {"not more than half: <bdi>b</bdi> (open)",
                                          "in 55.0&nbsp;% [51.0, 60.0]. ",
                                          "not more than half: <bdi>b</bdi> (less than half)"};
    for (size_t i = 0; i < PX_COUNT(wins); i++) {
        char *dir = temp_folder();
        px_str text = {0};
        px_str_text(&text, head);
        px_str_text(&text, "preference\trank:preference\tplackett_luce\tworth:base\tNA\t0.4\t0.1\t"
                           "0.3\t0.5\tNA\tNA\t10\t5\thuman\tNA\n"
                           "preference\trank:preference\tplackett_luce\tworth:b\tNA\t0.6\t0.1\t0.5"
                           "\t0.7\tNA\tNA\t10\t5\thuman\tNA\n");
        px_str_format(&text,
                      "preference\trank:preference\twin_rate\tb>base\tNA\t0.55\t0.1\t%s\t%s\t0.5\t"
                      "0.5\t10\t5\thuman\tNA\n",
                      wins[i][0], wins[i][1]);
        make_file(dir, "s.tsv", text.data);
        const page_job job = {.dir = dir, .stats = {"s.tsv"}, .n_stats = 1};
        char *page = make_page(&job, PX_REPORT_HTML);
        assert_has(page, words[i]);
        assert_has(page, against[i]);
        assert_has(page, "stats.json does not stand beside");
        free(page);
        px_str_free(&text);
        temp_folder_end(dir);
    }
}

static char long_name[101];
static const char *const hostile[8] = {
    "base",
    "<script>alert(1)</script>",
    "\"'><svg onload=x>",
    "\xE2\x80\xAEgnp.exe",
    "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D \xD7\xA2\xD7\x95\xD7\x9C\xD7\x9D",
    long_name,
    "</title></style></table>",
    "&amp;\\input{x}%$#_^~"};

static void hostile_names_stay_text(void **state) {
    (void)state;
    static const char *const names[] = {"<b>d</b>", "--><!--", "d:domain:e", "\xFF\xFE"};
    memset(long_name, 'W', 100);
    const made_study study = {hostile, names, 8, 100, 4, 7, "one\ttwo\n\x01\t\t\n", NULL};
    char *dir = temp_folder();
    make_study(dir, "stats.tsv", &study);
    make_traits(dir, "traits.json", &study);
    page_job job = {.dir = dir, .stats = {"stats.tsv"}, .n_stats = 1, .traits = "traits.json"};
    job.sweep = (px_report_sweep){"<i>sweep",
                                  "loss.alpha\tuser.tokens\tparams_sha256\tacc_seen_own\tstate\n"
                                  "<b>0\t1\tab\t0.6\tdone\n0.5\t1\tab\t0.7\tdone\n1\t5\tcd\t0.65\t"
                                  "done\nx\t\t\n",
                                  2};
    char *page = make_page(&job, PX_REPORT_HTML);
    for (int i = 0; i < (int)PX_COUNT(figures); i++) assert_figure(page, i);
    assert_int_equal(count(page, "\xE2\x80\xAE"), 0);
    assert_has(page, "0 rows that an earlier file had given, 2 lines that were no rows");
    assert_has(page, "more domains stand in the table");
    keep("hostile.html", page);
    free(page);
    char *tsv = make_page(&job, PX_REPORT_TSV);
    for (const char *at = tsv; *at; at = strchr(at, '\n') + 1) {
        int tabs = 0;
        for (const char *c = at; *c != '\n'; c++) tabs += *c == '\t';
        assert_int_equal(tabs, 17);
    }
    free(tsv);
    char *tex = make_page(&job, PX_REPORT_TEX);
    assert_int_equal(count(tex, "\\input"), 0);
    assert_has(tex, "\\&amp;\\textbackslash{}input\\{x\\}\\%\\$\\#\\_\\textasciicircum{}");
    assert_int_equal(count(tex, "\\begin{longtable}"), count(tex, "\\end{longtable}"));
    free(tex);
    temp_folder_end(dir);
}

/* The run whose parameters answered is an arm's, whatever it is called. */
static void runs_are_found_by_hash(void **state) {
    (void)state;
    static const made_run other = {"other name", 50, 7, true, false, false, true, false, 0.1};
    made_study study = good;
    char *dir = temp_folder();
    make_run(dir, &other);
    study.runs = "[{\"arm\":\"base\",\"sha256\":\"ff\"},"
                 "{\"arm\":\"ppft\",\"sha256\":\"0123456789abcdef\"}]";
    make_study(dir, "stats.tsv", &study);
    make_study(dir, "plain.tsv", &good);
    page_job job = {
        .dir = dir, .stats = {"stats.tsv"}, .n_stats = 1, .runs = {"other name"}, .n_runs = 1};
    char *page = make_page(&job, PX_REPORT_HTML), *section = section_of(page, "price");
    assert_has(section, "What training cost: the run whose parameters answered");
    const char *table = strstr(section, "What training cost");
    assert_int_equal(count(table, "<th scope=\"row\">"), 1);
    assert_has(table, "<th scope=\"row\"><bdi>ppft</bdi></th>");
    assert_has(section, "<th scope=\"col\">seconds of an answer</th>");
    assert_has(section, "<td class=\"n\">1.25</td>");
    assert_has(section, "Seconds of an answer: what it took of its engine");
    assert_has(section,
               "<bdi>prompt</bdi></em> had a profile of each person written, once: 312 prompt "
               "tokens and 81 new ones");
    free(section);
    free(page);
    job.stats[0] = "plain.tsv";
    page = make_page(&job, PX_REPORT_HTML);
    section = section_of(page, "price");
    assert_has(section, "no run folder has the parameters that answered");
    assert_has(section, "Seconds of an answer: no file of costs stood beside the trials");
    assert_int_equal(count(section, "had a profile"), 0);
    free(section);
    free(page);
    temp_folder_end(dir);
}

/* Every character that means something to TeX, at the beginning of a name and within it. */
static void names_are_no_tex(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"\\", "\\textbackslash{}"},
                                           {"{", "\\{"},
                                           {"}", "\\}"},
                                           {"$", "\\$"},
                                           {"&", "\\&"},
                                           {"#", "\\#"},
                                           {"^", "\\textasciicircum{}"},
                                           {"_", "\\_"},
                                           {"~", "\\textasciitilde{}"},
                                           {"%", "\\%"},
                                           {"<", "\\textless{}"},
                                           {">", "\\textgreater{}"},
                                           {"|", "\\textbar{}"}};
    static char names[PX_COUNT(cases) + 2][16];
    const char *arms[PX_COUNT(names)];
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        snprintf(names[i], sizeof names[i], "%sa%sb", cases[i][0], cases[i][0]);
    snprintf(names[PX_COUNT(cases)], sizeof names[0], "[1em]c");
    snprintf(names[PX_COUNT(cases) + 1], sizeof names[0], "*d");
    for (size_t i = 0; i < PX_COUNT(names); i++) arms[i] = names[i];
    const made_study study = {arms, good.domains, (int)PX_COUNT(names), 1, good.n_names, 1,
                              NULL, NULL};
    char *dir = temp_folder();
    make_study(dir, "stats.tsv", &study);
    const page_job job = {.dir = dir, .stats = {"stats.tsv"}, .n_stats = 1};
    char *tex = make_page(&job, PX_REPORT_TEX);
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        char want[80], raw[32];
        snprintf(want, sizeof want, "\nworth:%sa%sb & ", cases[i][1], cases[i][1]);
        assert_has(tex, want);
        snprintf(want, sizeof want, "\n%sa%sb & ", cases[i][1], cases[i][1]);
        assert_has(tex, want);
        snprintf(raw, sizeof raw, "\n%sa%sb", cases[i][0], cases[i][0]);
        assert_int_equal(count(tex, raw), 0);
    }
    assert_has(tex, "\n{}[1em]c & ");
    assert_has(tex, "\n{}*d & ");
    assert_int_equal(count(tex, "\n[") + count(tex, "\n*"), 0);
    free(tex);
    temp_folder_end(dir);
}

static void tables_hold_the_figures(void **state) {
    (void)state;
    char *dir = temp_folder();
    make_study(dir, "a.tsv", &good);
    make_study(dir, "b.tsv", &good);
    const page_job one = {.dir = dir, .stats = {"a.tsv"}, .n_stats = 1};
    const page_job two = {.dir = dir, .stats = {"a.tsv", "b.tsv"}, .n_stats = 2};
    char *tsv = make_page(&one, PX_REPORT_TSV), *same = make_page(&two, PX_REPORT_TSV);
    assert_string_equal(tsv, same); /* what is there twice counts once */
    assert_has(tsv, "7\tAgreement with the person’s own ranking\tsimulator\trank:preference\t"
                    "agreement\ttau\tNA\tjudge\t0.2\t");
    assert_has(tsv, "\t0.22\tNA\n");
    char *page = make_page(&two, PX_REPORT_HTML);
    assert_has(page, " rows that an earlier file had given");
    char *tex = make_page(&one, PX_REPORT_TEX);
    assert_int_equal(count(tex, "\\begin{longtable}"), 11);
    assert_has(tex, "worth:ppft & human & rank:preference & plackett\\_luce & $0.300$ & {\\small "
                    "[$0.280$, $0.320$]}");
    free(tsv);
    free(same);
    free(page);
    free(tex);
    temp_folder_end(dir);
}

/* Evaluations that stats read stand for runs that are not given: one point a training. */
static void accuracies_from_statistics(void **state) {
    (void)state;
    const made_study study = {
        four,
        domains,
        4,
        4,
        4,
        1,
        "offline\tseen\taccuracy\town\tNA\t0.6\tNA\t0.5\t0.7\tNA\tNA\t90\t9\tNA\ta.h5, "
        "user.model=bank loss.alpha=0.5 loss.beta=0.1 user.tokens=10\n"
        "offline\tseen\taccuracy\tgeneric\tNA\t0.55\tNA\t0.5\t0.7\tNA\tNA\t90\t9\tNA\ta.h5, "
        "user.model=bank loss.alpha=0.5 loss.beta=0.1 user.tokens=10\n"
        "offline\tunseen\taccuracy\tgeneric\tNA\t0.54\tNA\t0.5\t0.7\tNA\tNA\t80\t8\tNA\tb.h5, "
        "user.model=bank loss.alpha=0.5 loss.beta=0.1 user.tokens=10\n"
        "offline\tseen\taccuracy\town\tNA\t0.65\tNA\t0.5\t0.7\tNA\tNA\t90\t9\tNA\tc.h5, "
        "user.model=bank loss.alpha=1 loss.beta=0.1 user.tokens=10\n"
        "offline\tseen:values\taccuracy\town\tNA\t0.1\tNA\t0.5\t0.7\tNA\tNA\t90\t9\tNA\tc.h5, "
        "user.model=bank loss.alpha=1 loss.beta=0.1 user.tokens=10\n"
        "offline\tseen\taccuracy\town\tNA\t0.5\tNA\t0.5\t0.7\tNA\tNA\t90\t9\tNA\td.h5, the base "
        "model\n",
        NULL};
    char *dir = temp_folder();
    make_study(dir, "s.tsv", &study);
    const page_job job = {.dir = dir, .stats = {"s.tsv"}, .n_stats = 1};
    char *page = make_page(&job, PX_REPORT_HTML), *section = section_of(page, "fig-offline");
    assert_non_null(section);
    assert_int_equal(count(section, "<tr><th scope=\"row\">"), 5);
    assert_has(section, "by α, weight of the user term");
    assert_int_equal(count(section, "by β</title>"), 0); /* one value alone */
    assert_has(section, "own at 0.5: 60.0 percent. own at 1: 65.0 percent.");
    assert_int_equal(count(page, "an earlier file had given"), 0);
    free(section);
    free(page);
    temp_folder_end(dir);
}

static void other_files_are_refused(void **state) {
    (void)state;
    char *dir = temp_folder();
    make_file(dir, "x.tsv", "a\tb\n1\t2\n");
    make_file(dir, "empty.tsv", "");
    static const char *const names[] = {"x.tsv", "empty.tsv", "none.tsv"};
    static const char *const why[] = {"line 1: not the columns of stats.tsv",
                                      "line 1: not the columns of stats.tsv", "none.tsv"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        char *path = px_path_join(dir, names[i]), *out = px_path_join(dir, "x.html");
        const char *stats[] = {path};
        const px_report_job job = {.stats = stats, .n_stats = 1, .out_path = out};
        px_assert_error(px_report_make(&job), PX_BAD_INPUT, why[i]);
        assert_false(px_path_exists(out));
        free(path);
        free(out);
    }
    temp_folder_end(dir);
}

/* A byte changed or the end cut off: still a page, or an error, never a crash. */
static void damaged_statistics(void **state) {
    (void)state;
    px_rng rng = {.seed = 4, .purpose = PX_RNG_TEST};
    char *dir = temp_folder(), *path = px_path_join(dir, "stats.tsv");
    char *out = px_path_join(dir, "x.html");
    px_bytes bytes = {0};
    make_study(dir, "stats.tsv", &good);
    px_assert_ok(px_file_read(path, &bytes));
    for (uint64_t i = 0; i < 40; i++) {
        const char *stats[] = {path};
        const px_report_job job = {.stats = stats, .n_stats = 1, .out_path = out};
        uint32_t at = px_rng_below(rng, i, 0, (uint32_t)bytes.size);
        char before = bytes.data[at];
        bytes.data[at] = (char)px_rng_below(rng, i, 1, 256);
        px_assert_ok(px_file_write(path, bytes.data, i % 2 ? at : bytes.size));
        px_err *err = px_report_make(&job);
        if (err) assert_int_equal(px_err_kind(err), PX_BAD_INPUT);
        px_err_free(err);
        bytes.data[at] = before;
    }
    px_bytes_free(&bytes);
    free(path);
    free(out);
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_figure_with_its_table), cmocka_unit_test(what_is_not_there_is_named),
        cmocka_unit_test(open_is_said_to_be_open),     cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(runs_are_found_by_hash),      cmocka_unit_test(names_are_no_tex),
        cmocka_unit_test(tables_hold_the_figures),     cmocka_unit_test(accuracies_from_statistics),
        cmocka_unit_test(other_files_are_refused),     cmocka_unit_test(damaged_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
