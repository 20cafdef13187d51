/* methods.c - how the figures were made, what was left out of them, and from which files. */
#include <string.h>

#include "figure.h"

enum { UNFITTED_MOST = 40 };

static void json_counts(px_str *out, const cJSON *json) {
    static const char *const heads[] = {"of", "what", "count"};
    static const struct {
        const char *key, *words;
    } odd[] = {{"unknown_keys", "keys that are not known"},
               {"invalid_rankings", "rankings with ties, gaps or unknown positions: taken as not "
                                    "asked"},
               {"invalid_values", "sliders or bids out of range: taken as not asked"},
               {"nul_in_texts", "NULs in texts, read as U+FFFD"},
               {"answers_of_nobody", "answers or choices at a position where nobody stands"}};
    const cJSON *left = cJSON_GetObjectItemCaseSensitive(json, "left_out");
    const cJSON *trials = cJSON_GetObjectItemCaseSensitive(json, "trials");
    px_html_table(out, "Trials, and what was left out of them", heads, 3);
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        px_str_text(out, "<tr><td>trials</td>");
        px_html_cell_text(out, px_source_titles[s]);
        px_html_cell(out, px_json_find_f64(trials, px_stat_sources[s], NAN), 0);
        px_str_text(out, "</tr>\n");
    }
    px_str_text(out, "<tr><td>trials</td><td>distinct people</td>");
    px_html_cell(out, px_json_find_f64(json, "people", NAN), 0);
    px_str_text(out, "</tr>\n");
    for (size_t i = 0; i < PX_COUNT(odd); i++) {
        px_str_text(out, "<tr><td>left out or mended</td>");
        px_html_cell_text(out, odd[i].words);
        px_html_cell(out, px_json_find_f64(left, odd[i].key, NAN), 0);
        px_str_text(out, "</tr>\n");
    }
    px_html_table_end(out);
}

static void json_inputs(px_str *out, const cJSON *json) {
    static const char *const heads[] = {"input", "file", "sha256"};
    const cJSON *item = NULL, *inputs = cJSON_GetObjectItemCaseSensitive(json, "inputs");
    px_html_table(out, "Files that the statistics were computed from", heads, 3);
    cJSON_ArrayForEach(item, inputs) {
        const char *sha256 = px_json_find_text(item, "sha256");
        const cJSON *first = item->child;
        px_str_text(out, "<tr>");
        px_html_cell_text(out, first && first->string ? first->string : "–");
        px_html_cell_text(out, cJSON_IsString(first) ? first->valuestring : "–");
        px_html_cell_text(out, sha256 ? sha256 : "–");
        px_str_text(out, "</tr>\n");
    }
    px_html_table_end(out);
    px_str_text(out, "<p class=\"small\">Seed ");
    px_html_number(out, px_json_find_f64(json, "seed", NAN));
    px_str_text(out, ", ");
    px_html_whole(out, px_json_find_f64(json, "bootstrap", NAN));
    px_str_text(out, " bootstrap samples of people, and as many permutations.</p>\n");
}

/* Rows without an estimate, and why. */
static void unfitted(const exp_view *exp) {
    static const char *const heads[] = {"outcome", "model", "term", "source", "why"};
    px_str *out = exp->page->out;
    int64_t n = 0;
    for (int64_t i = 0; i < exp->study->n; i++) {
        const stat_row *row = &exp->study->rows[i];
        if (isfinite(row->estimate)) continue;
        if (n == 0) px_html_table(out, "What could not be estimated", heads, (int)PX_COUNT(heads));
        if (n++ >= UNFITTED_MOST) continue;
        px_str_text(out, "<tr>");
        px_html_cell_text(out, row->outcome);
        px_html_cell_text(out, row->model);
        px_html_cell_text(out, row->term);
        px_html_cell_text(out, row->source >= 0 ? px_stat_sources[row->source] : "–");
        px_html_cell_text(out, *row->note ? row->note : "–");
        px_str_text(out, "</tr>\n");
    }
    if (n) px_html_table_end(out);
    if (n > UNFITTED_MOST)
        px_str_format(out, "<p class=\"small\">The first %d of %lld.</p>\n", UNFITTED_MOST,
                      (long long)n);
    if (n == 0) px_str_text(out, "<p>Every estimate could be computed.</p>\n");
}

static void files_odd(const exp_view *exp) {
    px_str *out = exp->page->out;
    const study_view *study = exp->study;
    if (study->n_twice || study->n_broken) {
        px_str_text(out, "<p>Of the files of statistics, left out: ");
        px_html_whole(out, (double)study->n_twice);
        px_str_text(out, " rows that an earlier file had given, ");
        px_html_whole(out, (double)study->n_broken);
        px_str_text(out, " lines that were no rows.</p>\n");
    }
    if (study->n_more_arms || study->n_more_domains)
        px_str_format(out,
                      "<p>More than can be shown: %d further arms, %d further domains; they stand "
                      "in stats.tsv.</p>\n",
                      study->n_more_arms, study->n_more_domains);
}

void px_page_methods(const exp_view *exp) {
    px_str *out = exp->page->out;
    px_str_text(
        out,
        "<section id=\"methods\"><h2>Methods</h2>\n"
        "<p>Worth: Plackett–Luce by maximum likelihood (Luce 1959, Plackett 1975), errors "
        "clustered by person; the worths’ intervals are percentiles of a bootstrap over people, "
        "who are drawn with all their trials. Win rates, first choices, positions and agreement: "
        "ratios of sums over people, the same bootstrap. Length held: an exploded logit with "
        "characters, position and errors (Beggs, Cardell &amp; Hausman 1981). Sliders and bids: "
        "linear mixed models by REML with effects of person and trial; bids also by Tobit, cut "
        "off at 0 and 10. Means by arm and domain are raw, with errors clustered by person. p "
        "adjusted: Benjamini &amp; Hochberg 1995 over every p of the family in its file. What "
        "each row is stands in the documentation of prismx stats.</p>\n"
        "<h3>Published values, and what is ours</h3>\n");
    px_published_words(out);
    px_str_text(out, "<h3>What was left out</h3>\n");
    int n = 0;
    for (int i = 0; i < exp->study->n_files; i++) {
        if (!exp->study->json[i]) continue;
        json_counts(out, exp->study->json[i]);
        json_inputs(out, exp->study->json[i]);
        n++;
    }
    if (n == 0)
        px_str_text(out, "<p>stats.json does not stand beside stats.tsv: what was left out of the "
                         "trials is not known here.</p>\n");
    files_odd(exp);
    px_page_missing(exp);
    px_str_text(out, "<h3>Estimates that are missing</h3>\n");
    unfitted(exp);
    px_str_text(out, "</section>\n");
}
