/* report.c - corpus.report.json: what was read, what was left out and why (with example lines),
 * what there is, and the published counts beside it. Numbers only, no text and no id of a
 * participant. */
#include "prepare.h"

#include <math.h>
#include <string.h>

/* Kirk et al. 2024, The PRISM Alignment Dataset, tables of the paper and its data card. */
static const struct {
    const char *name;
    double value;
} published[] = {{"people", 1500},
                 {"people_with_conversations", 1396},
                 {"survey_only", 104},
                 {"conversations", 8011},
                 {"unguided", 3113},
                 {"values_guided", 2460},
                 {"controversy_guided", 2438},
                 {"balanced_subset", 6696},
                 {"interactions", 27172},
                 {"responses", 68371},
                 {"marked_chosen", 27437},
                 {"turns_mean", 3.4},
                 {"opening_prompt_characters_mean", 66},
                 {"prompt_characters_mean", 70},
                 {"response_characters_mean", 565},
                 {"score_mean", 65},
                 {"score_sd", 29},
                 {"opening_near_ties_share", 0.175},
                 {"opening_longest_chosen_share", 0.519}};

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

static void own_counts(const px_report *r, double out[PX_COUNT(published)]) {
    const px_prism_facts *f = r->facts;
    double mean = share(f->score_sum, (double)f->n_scores);
    double variance = share(f->score_squares, (double)f->n_scores) - mean * mean;
    const double own[] = {r->survey->n,
                          (double)r->n_with_convs,
                          (double)r->survey->n_survey_only,
                          (double)f->n_convs,
                          (double)f->n_types[PX_CONV_UNGUIDED],
                          (double)f->n_types[PX_CONV_VALUES],
                          (double)f->n_types[PX_CONV_CONTROVERSY],
                          (double)f->n_balanced,
                          (double)f->n_turns,
                          (double)f->n_answers,
                          (double)f->n_chosen,
                          share((double)f->n_turns, (double)f->n_convs),
                          share(f->opening_chars, (double)f->n_convs),
                          share(f->prompt_chars, (double)f->n_turns),
                          share(f->answer_chars, (double)f->n_answers),
                          mean,
                          sqrt(PX_MAX(variance, 0)),
                          share((double)f->n_near_ties, (double)f->n_openings_scored),
                          share((double)f->n_longest_chosen, (double)f->n_openings)};
    _Static_assert(PX_COUNT(own) == PX_COUNT(published), "one own count a published one");
    memcpy(out, own, sizeof own);
}

static void add_read(cJSON *json, const px_report *r) {
    double own[PX_COUNT(published)];
    own_counts(r, own);
    cJSON *read = cJSON_AddObjectToObject(json, "read");
    for (size_t i = 0; i < PX_COUNT(published); i++) {
        cJSON *row = cJSON_AddObjectToObject(read, published[i].name);
        cJSON_AddNumberToObject(row, "here", own[i]);
        cJSON_AddNumberToObject(row, "published", published[i].value);
    }
}

static void add_lines(cJSON *row, const int64_t *lines, int n) {
    cJSON *list = cJSON_AddArrayToObject(row, "lines");
    for (int i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)lines[i]));
}

/* By file, every kind, also those of which there is none: a reader sees what was looked for. */
static void add_harms(cJSON *json, const px_harms *harms) {
    cJSON *all = cJSON_AddObjectToObject(json, "damage");
    for (int k = 0; k < PX_HARM_COUNT; k++) {
        cJSON *file = cJSON_GetObjectItemCaseSensitive(all, px_harm_file((px_harm)k));
        if (!file) file = cJSON_AddObjectToObject(all, px_harm_file((px_harm)k));
        cJSON *row = cJSON_AddObjectToObject(file, px_harm_name((px_harm)k));
        cJSON_AddNumberToObject(row, "count", (double)harms->n[k]);
        cJSON_AddStringToObject(row, "effect", px_harm_done((px_harm)k));
        cJSON_AddBoolToObject(row, "error_when_strict", px_harm_is_strict((px_harm)k));
        add_lines(row, harms->lines[k], harms->n_lines[k]);
    }
}

static void add_left_out(cJSON *json, const px_report *r) {
    static const char *const names[] = {"prompt_over_max_prompt_tokens", "pair_over_max_tokens",
                                        "margin_under_min_margin", "prompt_is_no_prefix"};
    const double limits[] = {(double)r->config->data_max_prompt_tokens,
                             (double)r->config->data_max_tokens, (double)r->config->data_min_margin,
                             -1};
    cJSON *out = cJSON_AddObjectToObject(json, "left_out");
    cJSON *convs = cJSON_AddObjectToObject(out, "conversations");
    cJSON_AddNumberToObject(convs, "not_in_balanced_subset", (double)r->n_filtered_balanced);
    cJSON_AddNumberToObject(convs, "not_english", (double)r->n_filtered_english);
    cJSON *pairs = cJSON_AddObjectToObject(out, "pairs");
    for (int s = 0; s < PX_SKIP_COUNT; s++) {
        cJSON *row = cJSON_AddObjectToObject(pairs, names[s]);
        cJSON_AddNumberToObject(row, "count", (double)r->skipped[s]);
        if (limits[s] >= 0) cJSON_AddNumberToObject(row, "limit", limits[s]);
        add_lines(row, r->skip_lines[s], r->n_skip_lines[s]);
    }
}

static void add_splits(cJSON *json, const px_report *r) {
    static const char *const names[] = {"train", "seen", "unseen"};
    int64_t convs[3] = {0}, pairs[3] = {0};
    const px_corpus *corpus = r->corpus;
    for (int32_t c = 0; corpus && c < corpus->n_convs; c++) {
        convs[corpus->convs[c].split]++;
        pairs[corpus->convs[c].split] += corpus->convs[c].n_pairs;
    }
    cJSON *splits = cJSON_AddObjectToObject(json, "splits");
    cJSON_AddNumberToObject(splits, "seen_people", (double)r->n_split_users[0]);
    cJSON_AddNumberToObject(splits, "unseen_people", (double)r->n_split_users[1]);
    for (int s = 0; s < 3; s++) {
        cJSON *row = cJSON_AddObjectToObject(splits, names[s]);
        cJSON_AddNumberToObject(row, "conversations_drawn", (double)r->n_split_convs[s]);
        cJSON_AddNumberToObject(row, "conversations", (double)convs[s]);
        cJSON_AddNumberToObject(row, "pairs", (double)pairs[s]);
    }
}

static void add_corpus(cJSON *json, const px_report *r) {
    cJSON *row = cJSON_AddObjectToObject(json, "corpus");
    const px_corpus *c = r->corpus;
    cJSON_AddNumberToObject(row, "people", c ? c->n_users : 0);
    cJSON_AddNumberToObject(row, "conversations", c ? c->n_convs : 0);
    cJSON_AddNumberToObject(row, "pairs", c ? c->n_pairs : 0);
    cJSON_AddNumberToObject(row, "pairs_of_equal_scores", (double)r->n_ties);
    cJSON_AddNumberToObject(row, "tokens_in_pairs", (double)r->pair_tokens);
    cJSON_AddNumberToObject(row, "tokens_in_trees", (double)r->tree_tokens);
    if (!c) return;
    cJSON_AddNumberToObject(row, "tokens_before_soft_tokens", c->soft_after);
    cJSON_AddStringToObject(row, "template", c->template_name);
    cJSON_AddStringToObject(row, "template_sha256", c->template_sha256);
    cJSON_AddStringToObject(row, "tokenizer_sha256", c->tokenizer_sha256);
    cJSON_AddStringToObject(row, "sha256", c->sha256);
}

static px_err *report_print(const px_report *r, px_str *text) {
    cJSON *json = cJSON_CreateObject();
    if (!json) PX_NO_MEMORY();
    add_corpus(json, r);
    add_splits(json, r);
    add_read(json, r);
    add_left_out(json, r);
    add_harms(json, r->harms);
    if (r->n_flat >= 0) {
        cJSON *cross = cJSON_AddObjectToObject(json, "cross_check");
        cJSON_AddNumberToObject(cross, "utterances", (double)r->n_flat);
        cJSON_AddNumberToObject(cross, "same", (double)r->n_flat_same);
    }
    px_json_print_pretty(json, text);
    cJSON_Delete(json);
    px_str_char(text, '\n');
    return px_str_ok(text);
}

px_err *px_report_write(const px_report *report, const char *path) {
    px_str text = {0};
    px_err *err = report_print(report, &text);
    if (!err) err = px_file_write(path, text.data, text.size);
    px_str_free(&text);
    if (err) return px_err_add(err, __FILE__, __LINE__, "report %s", path);
    return NULL;
}

static void log_harms(const px_harms *harms) {
    for (int k = 0; k < PX_HARM_COUNT; k++) {
        if (harms->n[k] == 0) continue;
        px_str lines = {0};
        for (int i = 0; i < harms->n_lines[k]; i++)
            px_str_format(&lines, "%s%lld", i ? ", " : "", (long long)harms->lines[k][i]);
        px_log(px_harm_is_strict((px_harm)k) ? PX_LOG_WARNING : PX_LOG_INFO,
               "%s: %lld × %s (%s), lines %s%s", px_harm_file((px_harm)k), (long long)harms->n[k],
               px_harm_name((px_harm)k), px_harm_done((px_harm)k), lines.data ? lines.data : "",
               harms->n[k] > harms->n_lines[k] ? " …" : "");
        px_str_free(&lines);
    }
}

void px_report_log(const px_report *r, const char *path) {
    double own[PX_COUNT(published)];
    own_counts(r, own);
    log_harms(r->harms);
    /* Only the real set is worth holding against the paper. */
    if (own[0] == published[0].value && own[3] == published[3].value)
        for (size_t i = 0; i < PX_COUNT(published); i++)
            px_info("%s: %.6g here, %.6g published", published[i].name, own[i], published[i].value);
    if (r->skipped[PX_SKIP_PROMPT] + r->skipped[PX_SKIP_TOKENS] + r->skipped[PX_SKIP_MARGIN] > 0)
        px_info("pairs left out: %lld prompts over %lld tokens, %lld over %lld tokens, %lld for "
                "their margin",
                (long long)r->skipped[PX_SKIP_PROMPT], (long long)r->config->data_max_prompt_tokens,
                (long long)r->skipped[PX_SKIP_TOKENS], (long long)r->config->data_max_tokens,
                (long long)r->skipped[PX_SKIP_MARGIN]);
    if (r->n_flat >= 0)
        px_info("cross-check: %lld of %lld utterances are the same", (long long)r->n_flat_same,
                (long long)r->n_flat);
    if (r->corpus)
        px_info(
            "corpus: %d pairs of %d conversations of %d people (%lld equal scores), %lld tokens "
            "in trees for %lld in pairs",
            (int)r->corpus->n_pairs, (int)r->corpus->n_convs, (int)r->corpus->n_users,
            (long long)r->n_ties, (long long)r->tree_tokens, (long long)r->pair_tokens);
    px_info("report: %s", path);
}
