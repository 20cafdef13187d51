/* test_prepare.c - the golden PRISM folder (golden/prism.py, by transformers) through `prepare`:
 * every pair to the last id; limits, filters, splits, strictness, the report; the same file on any
 * number of ranks. */
#include "prepare.h"
#include "px_test.h"

#include "files.h"

static px_ranks ranks;

typedef struct {
    char *dir, *out;
    px_config config;
    px_prepare job;
} fixture;

/* The golden folder under the limits of prism.py, then the assignments. */
static fixture fixture_new(const char *const *sets) {
    fixture f = {.dir = temp_folder()};
    f.out = px_path_join(f.dir, "corpus.h5");
    assert_non_null(f.out);
    f.job = (px_prepare){GOLDEN("prism"), GOLDEN("prism/model"), f.out, false};
    px_assert_ok(px_config_init(&f.config));
    px_assert_ok(px_config_set(&f.config, "data.max_prompt_tokens=110"));
    px_assert_ok(px_config_set(&f.config, "data.max_tokens=150"));
    for (; sets && *sets; sets++) px_assert_ok(px_config_set(&f.config, *sets));
    return f;
}

static void fixture_free(fixture *f) {
    px_config_fini(&f->config);
    free(f->out);
    temp_folder_end(f->dir);
}

static px_corpus *prepare_and_open(fixture *f) {
    px_corpus *corpus;
    px_assert_ok(px_prepare_all(&ranks, &f->config, &f->job));
    px_assert_ok(px_corpus_open(f->out, &corpus));
    return corpus;
}

static cJSON *report_of(const fixture *f) {
    cJSON *json;
    char *path = px_path_join(f->dir, "corpus.report.json");
    px_assert_ok(px_json_read(path, false, &json));
    free(path);
    return json;
}

/* The number at "a.b c.d", levels divided by '>'. */
static double report_at(const cJSON *json, const char *place) {
    char key[64];
    while (*place) {
        size_t n = strcspn(place, ">");
        assert_true(n < sizeof key);
        memcpy(key, place, n);
        key[n] = 0;
        json = cJSON_GetObjectItemCaseSensitive(json, key);
        if (!json) fail_msg("the report has no %s", key);
        place += n + (place[n] == '>');
    }
    assert_true(cJSON_IsNumber(json));
    return json->valuedouble;
}

/* ids of the path to leaf as "1 2 3" must be `want`. */
static void assert_sequence(const px_tree *tree, int32_t leaf, const char *want) {
    enum { MOST = 512 };
    int32_t ids[MOST], n = 0;
    for (int32_t at = leaf; at >= 0; at = tree->parent[at]) {
        assert_true(n < MOST);
        ids[n++] = tree->token[at];
    }
    px_str text = {0};
    while (n > 0) {
        px_str_format(&text, "%s%d", text.size ? " " : "", (int)ids[n - 1]);
        n--;
    }
    assert_string_equal(text.data, want);
    px_str_free(&text);
}

static int64_t number(const char *text) {
    int64_t value;
    assert_true(px_parse_i64(text, &value));
    return value;
}

static void assert_pair(const px_corpus *corpus, int32_t p, const px_tree *tree, char **want) {
    const px_pair *pair = &corpus->pairs[p];
    const px_conv *conv = &corpus->convs[pair->conv];
    assert_string_equal(conv->id, want[0]);
    assert_string_equal(corpus->user_ids[conv->user], want[1]);
    assert_int_equal(pair->turn, number(want[2]));
    assert_int_equal(pair->chosen_id, number(want[3]));
    assert_int_equal(pair->rejected_id, number(want[4]));
    assert_int_equal(pair->chosen_score, number(want[5]));
    assert_int_equal(pair->rejected_score, number(want[6]));
    assert_int_equal(pair->prompt_tokens, number(want[7]));
    assert_sequence(tree, pair->chosen_leaf, want[8]);
    assert_sequence(tree, pair->rejected_leaf, want[9]);
}

static void golden_pairs_to_the_last_id(void **state) {
    (void)state;
    fixture f = fixture_new(NULL);
    f.job.cross_check = true;
    px_corpus *corpus = prepare_and_open(&f);
    px_arena *arena;
    px_bytes golden = {0};
    px_assert_ok(px_arena_new(1 << 16, &arena));
    px_assert_ok(px_file_read(GOLDEN("prism/pairs.tsv"), &golden));
    int32_t p = 0;
    for (char *line = golden.data; *line; p++) {
        char *cells[10];
        for (int c = 0; c < 10; c++) {
            cells[c] = line;
            line += strcspn(line, "\t\n");
            assert_true(*line == (c == 9 ? '\n' : '\t'));
            *line++ = 0;
        }
        assert_true(p < corpus->n_pairs);
        px_tree tree;
        px_assert_ok(px_corpus_tree(corpus, corpus->pairs[p].conv, arena, &tree));
        assert_pair(corpus, p, &tree, cells);
    }
    assert_int_equal(p, corpus->n_pairs);
    assert_int_equal(corpus->soft_after, 1);
    assert_string_equal(corpus->template_name, "chatml");
    px_bytes_free(&golden);
    px_arena_free(arena);
    px_corpus_close(corpus);
    fixture_free(&f);
}

static void people_and_types_are_kept(void **state) {
    (void)state;
    fixture f = fixture_new(NULL);
    px_corpus *corpus = prepare_and_open(&f);
    /* In the survey's order; user8 has no conversation. */
    assert_int_equal(corpus->n_users, 4);
    static const char *const want[] = {"user2", "user9", "user1", "user4"};
    for (int u = 0; u < 4; u++) assert_string_equal(corpus->user_ids[u], want[u]);
    assert_int_equal(corpus->n_convs, 7);
    assert_int_equal(corpus->convs[1].type, PX_CONV_VALUES);
    assert_int_equal(corpus->convs[2].type, PX_CONV_CONTROVERSY);
    assert_int_equal(corpus->pairs[0].pairs_of_turn, 3);
    assert_int_equal(corpus->pairs[3].pairs_of_turn, 1);
    px_corpus_close(corpus);
    fixture_free(&f);
}

static void report_counts(void **state) {
    (void)state;
    fixture f = fixture_new(NULL);
    f.job.cross_check = true;
    px_corpus *corpus = prepare_and_open(&f);
    cJSON *report = report_of(&f);
    static const struct {
        const char *place;
        double want;
    } rows[] = {{"corpus>people", 4},
                {"corpus>conversations", 7},
                {"corpus>pairs_of_equal_scores", 4},
                {"read>people>here", 5},
                {"read>people_with_conversations>here", 4},
                {"read>survey_only>here", 1},
                {"read>conversations>here", 7},
                {"read>conversations>published", 8011},
                {"read>interactions>here", 16},
                {"read>responses>here", 38},
                {"read>marked_chosen>here", 16},
                {"read>balanced_subset>here", 6},
                {"left_out>pairs>prompt_over_max_prompt_tokens>count", 1},
                {"left_out>pairs>pair_over_max_tokens>count", 1},
                {"damage>conversations.jsonl>no_chosen>count", 1},
                {"damage>conversations.jsonl>several_chosen>count", 1},
                {"damage>conversations.jsonl>empty_response>count", 1},
                {"damage>conversations.jsonl>blank_user_message>count", 1},
                {"damage>conversations.jsonl>no_rejected>count", 1},
                {"damage>conversations.jsonl>broken_json>count", 0},
                {"damage>survey.jsonl>doubled_user_id>count", 0},
                {"cross_check>utterances", 38},
                {"cross_check>same", 38}};
    for (size_t i = 0; i < PX_COUNT(rows); i++)
        if (report_at(report, rows[i].place) != rows[i].want)
            fail_msg("%s is %g, want %g", rows[i].place, report_at(report, rows[i].place),
                     rows[i].want);
    assert_int_equal(report_at(report, "corpus>pairs"), corpus->n_pairs);
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(report, "damage");
    line = cJSON_GetObjectItemCaseSensitive(line, "conversations.jsonl");
    line = cJSON_GetObjectItemCaseSensitive(line, "no_chosen");
    line = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(line, "lines"), 0);
    assert_int_equal(line->valueint, 3);
    /* Neither texts nor people's ids. */
    px_str text = {0};
    px_json_print(report, &text);
    assert_null(strstr(text.data, "user9"));
    assert_null(strstr(text.data, "bread"));
    px_str_free(&text);
    cJSON_Delete(report);
    px_corpus_close(corpus);
    fixture_free(&f);
}

static int32_t pairs_with(const char *set) {
    const char *sets[] = {set, NULL};
    fixture f = fixture_new(sets);
    px_corpus *corpus = prepare_and_open(&f);
    int32_t n = corpus->n_pairs;
    px_corpus_close(corpus);
    fixture_free(&f);
    return n;
}

static void limits_and_filters(void **state) {
    (void)state;
    assert_int_equal(pairs_with("data.max_tokens=100000"), 18);
    assert_int_equal(pairs_with("data.max_tokens=150"), 17);
    /* c10 is not in the balanced subset and not English: 3 pairs. */
    assert_int_equal(pairs_with("data.balanced_only=true"), 14);
    assert_int_equal(pairs_with("data.english_only=true"), 14);
    /* 4 pairs of equal scores; and two with a margin of 1, c3 and c13. */
    assert_int_equal(pairs_with("data.min_margin=1"), 13);
    assert_int_equal(pairs_with("data.min_margin=2"), 11);
}

static void strict_refuses(void **state) {
    (void)state;
    const char *sets[] = {"data.strict=true", NULL};
    fixture f = fixture_new(sets);
    px_assert_error(px_prepare_all(&ranks, &f.config, &f.job), PX_BAD_INPUT,
                    "conversations.jsonl line 3, turn 1: no_chosen");
    assert_false(px_path_exists(f.out));
    fixture_free(&f);
}

static void nothing_left_is_an_error(void **state) {
    (void)state;
    const char *sets[] = {"data.max_tokens=3", NULL};
    fixture f = fixture_new(sets);
    px_assert_error(px_prepare_all(&ranks, &f.config, &f.job), PX_BAD_INPUT,
                    "no pair is left of 7");
    assert_false(px_path_exists(f.out));
    cJSON *report = report_of(&f);
    assert_true(report_at(report, "left_out>pairs>pair_over_max_tokens>count") > 0);
    cJSON_Delete(report);
    f.job.data_dir = "/nowhere/prism";
    px_assert_error(px_prepare_all(&ranks, &f.config, &f.job), PX_BAD_INPUT, "/nowhere/prism");
    f.job.data_dir = f.dir;
    px_assert_error(px_prepare_all(&ranks, &f.config, &f.job), PX_BAD_INPUT, "survey.jsonl");
    fixture_free(&f);
}

/* --- a tokenizer that merges across the seam --- */
static void put_after(px_bytes *text, const char *place, const char *more) {
    px_str out = {0};
    const char *at = strstr(text->data, place);
    assert_non_null(at);
    at += strlen(place);
    px_str_add(&out, text->data, (size_t)(at - text->data));
    px_str_text(&out, more);
    px_str_text(&out, at);
    px_bytes_free(text);
    *text = (px_bytes){out.data, out.size};
}

static void write_text(const char *dir, const char *name, const char *text, size_t size) {
    char *path = px_path_join(dir, name);
    px_assert_ok(px_file_write(path, text, size));
    free(path);
}

/* The golden tokenizer with a token for two line ends, as those of GPT-2, Llama 3 and SmolLM have
 * one: an answer that begins with two merges its first with the generation prompt's own. */
static void write_merging_model(const char *dir) {
    px_bytes text = {0};
    px_assert_ok(px_file_read(GOLDEN("prism/model/tokenizer.json"), &text));
    put_after(&text, "\"vocab\":{", "\"\u010a\u010a\":420,");
    put_after(&text, "\"merges\":[", "[\"\u010a\",\"\u010a\"],");
    write_text(dir, "tokenizer.json", text.data, text.size);
    px_bytes_free(&text);
    px_assert_ok(px_file_read(GOLDEN("prism/model/tokenizer_config.json"), &text));
    write_text(dir, "tokenizer_config.json", text.data, text.size);
    px_bytes_free(&text);
}

/* One person, two conversations of one turn: in the first one of two rejected answers merges, in
 * the second the chosen one, so both of its pairs. */
static void write_merging_data(const char *dir) {
    static const char survey[] = "{\"user_id\": \"u\", \"survey_only\": false}\n";
    static const char *const answers[2][3] = {{"Yes.", "\\n\\nNo.", "\\nWell."},
                                              {"\\n\\nYes.", "No.", "Well."}};
    px_str out = {0};
    for (int c = 0; c < 2; c++) {
        px_str_format(&out,
                      "{\"conversation_id\": \"c%d\", \"user_id\": \"u\", \"conversation_type\": "
                      "\"unguided\", \"conversation_history\": [{\"turn\": 0, \"role\": \"user\", "
                      "\"content\": \"Is it?\"}",
                      c);
        for (int a = 0; a < 3; a++)
            px_str_format(
                &out,
                ", {\"turn\": 0, \"role\": \"model\", \"content\": \"%s\", \"score\": 50, "
                "\"if_chosen\": %s, \"within_turn_id\": %d}",
                answers[c][a], a == 0 ? "true" : "false", a);
        px_str_text(&out, "]}\n");
    }
    write_text(dir, "survey.jsonl", survey, sizeof survey - 1);
    write_text(dir, "conversations.jsonl", out.data, out.size);
    px_str_free(&out);
}

static void merged_pairs_are_left_out_and_counted(void **state) {
    (void)state;
    fixture f = fixture_new(NULL);
    write_merging_model(f.dir);
    write_merging_data(f.dir);
    f.job.data_dir = f.job.model_path = f.dir;
    px_corpus *corpus = prepare_and_open(&f);
    cJSON *report = report_of(&f);
    assert_int_equal(corpus->n_pairs, 1);
    assert_int_equal(corpus->pairs[0].rejected_id, 2);
    assert_int_equal(corpus->pairs[0].pairs_of_turn, 1);
    assert_int_equal(report_at(report, "left_out>pairs>prompt_is_no_prefix>count"), 3);
    assert_int_equal(report_at(report, "damage>conversations.jsonl>prompt_is_no_prefix>count"), 3);
    px_corpus_close(corpus);
    cJSON_Delete(report);
    /* The golden tokenizer has no such token: nothing merges. */
    f.job.model_path = GOLDEN("prism/model");
    corpus = prepare_and_open(&f);
    report = report_of(&f);
    assert_int_equal(corpus->n_pairs, 4);
    assert_int_equal(report_at(report, "left_out>pairs>prompt_is_no_prefix>count"), 0);
    px_corpus_close(corpus);
    cJSON_Delete(report);
    f.job.model_path = f.dir;
    px_assert_ok(px_config_set(&f.config, "data.strict=true"));
    px_assert_error(px_prepare_all(&ranks, &f.config, &f.job), PX_BAD_INPUT, "prompt_is_no_prefix");
    fixture_free(&f);
}

/* --- splits --- */
enum { PEOPLE = 50, TALKS = 200 };
static char person_names[PEOPLE][16], talk_names[TALKS][16];
static const char *people[PEOPLE];
static px_split_conv talks[TALKS];

static void splits_setup(void) {
    for (int u = 0; u < PEOPLE; u++) {
        snprintf(person_names[u], sizeof person_names[u], "user%d", u);
        people[u] = person_names[u];
    }
    for (int c = 0; c < TALKS; c++) {
        snprintf(talk_names[c], sizeof talk_names[c], "c%d", c);
        talks[c] = (px_split_conv){talk_names[c], c % 40}; /* ten people have none */
    }
}

static void splits_have_their_shares(void **state) {
    (void)state;
    splits_setup();
    px_config config;
    uint8_t unseen[PEOPLE], split[TALKS], other[TALKS];
    px_assert_ok(px_config_init(&config));
    px_assert_ok(px_split_make(&config, people, PEOPLE, talks, TALKS, unseen, split));
    int n_unseen = 0, n[3] = {0};
    for (int u = 0; u < PEOPLE; u++) n_unseen += unseen[u];
    for (int u = 40; u < PEOPLE; u++) assert_int_equal(unseen[u], 0);
    for (int c = 0; c < TALKS; c++) {
        n[split[c]]++;
        assert_int_equal(split[c] == PX_SPLIT_UNSEEN, unseen[talks[c].user]);
    }
    assert_int_equal(n_unseen, 4); /* of the 40 with a conversation, five each */
    assert_int_equal(n[PX_SPLIT_UNSEEN], 20);
    assert_int_equal(n[PX_SPLIT_SEEN], 18);
    config.data_split_seed++;
    px_assert_ok(px_split_make(&config, people, PEOPLE, talks, TALKS, unseen, other));
    assert_memory_not_equal(split, other, sizeof split);
    config.data_split_unseen_users = 1;
    px_assert_ok(px_split_make(&config, people, PEOPLE, talks, TALKS, unseen, split));
    for (int c = 0; c < TALKS; c++) assert_int_equal(split[c], PX_SPLIT_UNSEEN);
    config.data_split_unseen_users = 0;
    config.data_split_seen_test = 0;
    px_assert_ok(px_split_make(&config, people, PEOPLE, talks, TALKS, unseen, split));
    for (int c = 0; c < TALKS; c++) assert_int_equal(split[c], PX_SPLIT_TRAIN);
    px_assert_ok(px_split_make(&config, people, 0, talks, 0, unseen, split));
    px_config_fini(&config);
}

/* The files turned round: everybody stays on their side. */
static void splits_do_not_depend_on_file_order(void **state) {
    (void)state;
    splits_setup();
    px_config config;
    uint8_t unseen[PEOPLE], split[TALKS], unseen_back[PEOPLE], split_back[TALKS];
    const char *people_back[PEOPLE];
    px_split_conv talks_back[TALKS];
    px_assert_ok(px_config_init(&config));
    px_assert_ok(px_split_make(&config, people, PEOPLE, talks, TALKS, unseen, split));
    for (int u = 0; u < PEOPLE; u++) people_back[u] = people[PEOPLE - 1 - u];
    for (int c = 0; c < TALKS; c++) {
        talks_back[c] = talks[TALKS - 1 - c];
        talks_back[c].user = PEOPLE - 1 - talks_back[c].user;
    }
    px_assert_ok(
        px_split_make(&config, people_back, PEOPLE, talks_back, TALKS, unseen_back, split_back));
    for (int u = 0; u < PEOPLE; u++) assert_int_equal(unseen_back[u], unseen[PEOPLE - 1 - u]);
    for (int c = 0; c < TALKS; c++) assert_int_equal(split_back[c], split[TALKS - 1 - c]);
    px_config_fini(&config);
}

int main(void) {
    int argc = 0;
    char **argv = NULL;
    px_err *err = px_ranks_open_all(false, &argc, &argv, &ranks);
    if (err) return 1;
    px_log_setup(0, PX_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_pairs_to_the_last_id),
        cmocka_unit_test(people_and_types_are_kept),
        cmocka_unit_test(report_counts),
        cmocka_unit_test(limits_and_filters),
        cmocka_unit_test(strict_refuses),
        cmocka_unit_test(nothing_left_is_an_error),
        cmocka_unit_test(merged_pairs_are_left_out_and_counted),
        cmocka_unit_test(splits_have_their_shares),
        cmocka_unit_test(splits_do_not_depend_on_file_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
