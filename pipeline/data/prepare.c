/* prepare.c - the PRISM folder to corpus.h5. Every rank reads every line, which is cheap, and so
 * knows all the facts without asking; conversation i is encoded by rank i mod ranks, which is what
 * takes the time. Rank 0 gathers the encoded conversations, sorts them by i, draws the splits and
 * writes: so the file does not depend on the number of ranks. Texts live for one line only. */
#include "prepare.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *id; /* in the run's arena */
    int32_t user;   /* index into the survey */
    px_conv_type type;
    int64_t line;
} listed;

typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_prepare *job;
    px_arena *arena, *scratch; /* of the run; of one line */
    px_harms harms;
    px_survey survey;
    px_english english;
    px_prism_facts facts;
    px_cross *cross; /* rank 0 with cross_check, else NULL */
    px_encoder encoder;
    px_map seen; /* conversation ids */
    listed *convs;
    int32_t n_convs, room_convs;
    int64_t n_filtered_balanced, n_filtered_english;
    px_str made; /* this rank's encoded conversations */
} preparer;

static px_err *preparer_open(preparer *p) {
    p->harms.strict = p->config->data_strict;
    PX_PASS(px_arena_new(1 << 20, &p->arena));
    PX_PASS(px_arena_new(1 << 20, &p->scratch));
    if (!px_path_is_dir(p->job->data_dir))
        PX_FAIL(PX_BAD_INPUT,
                "--data %s: not a folder; wanted: one with survey.jsonl and conversations.jsonl",
                p->job->data_dir);
    PX_PASS(px_survey_read(p->job->data_dir, p->arena, &p->harms, &p->survey));
    if (p->survey.n == 0)
        PX_FAIL(PX_BAD_INPUT, "%s/survey.jsonl: no line of it is a person with a user_id",
                p->job->data_dir);
    if (p->config->data_english_only)
        PX_PASS(px_english_read(p->job->data_dir, p->arena, &p->harms, &p->english));
    if (p->job->cross_check && p->ranks->rank == 0) PX_PASS(px_cross_new(&p->cross));
    static const char *const templates[] = {"auto",   "chatml", "llama2",
                                            "llama3", "zephyr", "mistral"};
    px_encoder *e = &p->encoder;
    e->config = p->config;
    e->arena = p->scratch;
    PX_TRY(px_tokenizer_open(p->job->model_path, &e->tok), "--model %s", p->job->model_path);
    PX_TRY(px_template_open(e->tok, templates[p->config->model_template], &e->tmpl), "--model %s",
           p->job->model_path);
    return NULL;
}

static void preparer_fini(preparer *p) {
    px_template_close(p->encoder.tmpl);
    px_tokenizer_close(p->encoder.tok);
    px_cross_free(p->cross);
    px_survey_fini(&p->survey);
    px_english_fini(&p->english);
    px_map_free(&p->seen);
    free(p->convs);
    px_str_free(&p->made);
    px_arena_free(p->scratch);
    px_arena_free(p->arena);
}

static px_err *list_add(preparer *p, const px_prism_conv *conv, int32_t user) {
    if (p->n_convs == p->room_convs) {
        int32_t room = p->room_convs ? 2 * p->room_convs : 1024;
        listed *grown = realloc(p->convs, (size_t)room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        p->convs = grown;
        p->room_convs = room;
    }
    const char *id = px_arena_text(p->arena, conv->id, strlen(conv->id));
    PX_PASS(px_arena_ok(p->arena));
    PX_PASS(px_map_set(&p->seen, id, strlen(id), p->n_convs));
    p->convs[p->n_convs++] = (listed){id, user, conv->type, conv->line};
    return NULL;
}

/* A readable conversation: listed for the splits, and encoded where it is this rank's and wanted.
 */
static px_err *conv_take(preparer *p, const px_prism_conv *conv) {
    if (px_map_find(&p->seen, conv->id, strlen(conv->id), -1) >= 0)
        return px_harm_add(&p->harms, PX_HARM_TWICE, conv->line, -1);
    int32_t user = px_map_find(&p->survey.by_id, conv->user_id, strlen(conv->user_id), -1);
    if (user < 0) return px_harm_add(&p->harms, PX_HARM_STRANGER, conv->line, -1);
    int32_t index = p->n_convs;
    PX_PASS(list_add(p, conv, user));
    px_prism_facts_add(&p->facts, conv);
    if (p->cross) PX_PASS(px_cross_add(p->cross, conv));
    if (p->config->data_balanced_only && !conv->balanced) {
        p->n_filtered_balanced++;
        return NULL;
    }
    if (p->config->data_english_only &&
        px_map_find(&p->english.by_id, conv->id, strlen(conv->id), 0) != 1) {
        p->n_filtered_english++;
        return NULL;
    }
    if (index % p->ranks->size != p->ranks->rank) return NULL;
    return px_pairs_make(&p->encoder, conv, index, &p->made);
}

static px_err *line_take(preparer *p, const char *text, size_t size, int64_t line) {
    cJSON *json = NULL;
    px_prism_conv conv;
    bool ok;
    px_arena_reset(p->scratch, 0);
    px_err *err = px_prism_conv_parse(text, size, line, p->scratch, &p->harms, &json, &conv, &ok);
    if (!err && ok) err = conv_take(p, &conv);
    cJSON_Delete(json);
    return err;
}

/* The whole of conversations.jsonl. Not collective. */
static px_err *read_conversations(preparer *p) {
    px_err *err = NULL;
    px_lines *lines = NULL;
    px_progress progress;
    char *path = px_path_join(p->job->data_dir, "conversations.jsonl");
    if (!path) PX_NO_MEMORY();
    int64_t n_lines = 0;
    px_progress_begin(&progress, "prepare", 0, 0);
    PX_PASS_TO(done, px_lines_open(path, &lines));
    for (;;) {
        const char *text;
        size_t size;
        int64_t line;
        PX_PASS_TO(done, px_lines_next(lines, &text, &size, &line));
        if (!text) break;
        px_watch(p->ranks, "prepare", line);
        PX_TRY_TO(done, line_take(p, text, size, line), "%s", p->job->data_dir);
        n_lines++;
        px_progress_at(&progress, n_lines, "lines");
    }
    px_progress_end(&progress, n_lines, "lines read");
done:
    px_lines_close(lines);
    free(path);
    return err;
}

/* --- rank 0: the tables --- */

/* What every rank's bytes hold, one conversation after another. */
typedef struct {
    px_made made;
    const px_pair *pairs;
    const int32_t *token, *parent;
} record;

/* Reads the record at *at and steps behind it. */
static record record_read(const char **at) {
    record r;
    memcpy(&r.made, *at, sizeof r.made);
    const char *next = *at + sizeof r.made;
    r.pairs = (const px_pair *)(const void *)next; /* all parts are multiples of 4 bytes */
    next += (size_t)r.made.n_pairs * sizeof *r.pairs;
    r.token = (const int32_t *)(const void *)next;
    next += (size_t)r.made.n_nodes * sizeof *r.token;
    r.parent = (const int32_t *)(const void *)next;
    *at = next + (size_t)r.made.n_nodes * sizeof *r.parent;
    return r;
}

/* Everything that rank 0 builds; heap in fixed places, freed by tables_fini. */
typedef struct {
    record *records; /* [n_convs]; made.index -1 where there is none */
    uint8_t *unseen, *split;
    int32_t *user_new; /* survey index → corpus index, -1: no pair */
    const char **user_ids;
    uint8_t *user_unseen;
    px_conv *convs;
    px_pair *pairs;
    int32_t *token, *parent;
    px_split_conv *split_convs;
    px_corpus_draft draft;
} tables;

static void tables_fini(tables *t) {
    free(t->records);
    free(t->unseen);
    free(t->split);
    free(t->user_new);
    free(t->user_ids);
    free(t->user_unseen);
    free(t->convs);
    free(t->pairs);
    free(t->token);
    free(t->parent);
    free(t->split_convs);
}

/* Sorts the ranks' bytes by conversation. */
static px_err *records_read(const preparer *p, const px_bytes *all, const int64_t *sizes,
                            tables *t) {
    t->records = calloc((size_t)p->n_convs + 1, sizeof *t->records);
    if (!t->records) PX_NO_MEMORY();
    for (int32_t c = 0; c < p->n_convs; c++) t->records[c].made.index = -1;
    const char *at = all->data;
    int64_t bytes = 0;
    for (int r = 0; r < p->ranks->size; r++) bytes += sizes[r];
    while (bytes > 0 && at < all->data + bytes) {
        record r = record_read(&at);
        t->records[r.made.index] = r;
    }
    return NULL;
}

static px_err *draw_splits(const preparer *p, tables *t) {
    t->unseen = calloc((size_t)p->survey.n + 1, 1);
    t->split = calloc((size_t)p->n_convs + 1, 1);
    t->split_convs = calloc((size_t)p->n_convs + 1, sizeof *t->split_convs);
    if (!t->unseen || !t->split || !t->split_convs) PX_NO_MEMORY();
    for (int32_t c = 0; c < p->n_convs; c++)
        t->split_convs[c] = (px_split_conv){p->convs[c].id, p->convs[c].user};
    return px_split_make(p->config, p->survey.ids, p->survey.n, t->split_convs, p->n_convs,
                         t->unseen, t->split);
}

/* People with a pair, in the survey's order. */
static px_err *list_users(const preparer *p, tables *t) {
    size_t n = (size_t)p->survey.n + 1;
    t->user_new = malloc(n * sizeof *t->user_new);
    t->user_ids = calloc(n, sizeof *t->user_ids);
    t->user_unseen = calloc(n, 1);
    if (!t->user_new || !t->user_ids || !t->user_unseen) PX_NO_MEMORY();
    for (int32_t u = 0; u < p->survey.n; u++) t->user_new[u] = -1;
    for (int32_t c = 0; c < p->n_convs; c++)
        if (t->records[c].made.n_pairs > 0) t->user_new[p->convs[c].user] = 0;
    px_corpus *corpus = &t->draft.tables;
    for (int32_t u = 0; u < p->survey.n; u++) {
        if (t->user_new[u] < 0) continue;
        t->user_ids[corpus->n_users] = p->survey.ids[u];
        t->user_unseen[corpus->n_users] = t->unseen[u];
        t->user_new[u] = corpus->n_users++;
    }
    corpus->user_ids = t->user_ids;
    corpus->user_unseen = t->user_unseen;
    return NULL;
}

static px_err *count_records(const preparer *p, tables *t) {
    px_corpus *corpus = &t->draft.tables;
    int64_t n_pairs = 0;
    corpus->soft_after = -1;
    for (int32_t c = 0; c < p->n_convs; c++) {
        const px_made *made = &t->records[c].made;
        if (made->n_pairs == 0) continue;
        if (corpus->soft_after >= 0 && made->soft_after != corpus->soft_after)
            PX_FAIL(PX_BAD_INPUT,
                    "the template begins some conversations with the tokenizer's BOS and some not");
        corpus->soft_after = made->soft_after;
        corpus->n_convs++;
        n_pairs += made->n_pairs;
        t->draft.n_nodes += made->n_nodes;
    }
    if (n_pairs > INT32_MAX)
        PX_FAIL(PX_BAD_INPUT, "%lld pairs, at most %d are possible", (long long)n_pairs, INT32_MAX);
    corpus->n_pairs = (int32_t)n_pairs;
    return NULL;
}

static px_err *fill_tables(const preparer *p, tables *t) {
    px_corpus *corpus = &t->draft.tables;
    PX_PASS(count_records(p, t));
    PX_PASS(list_users(p, t));
    t->convs = calloc((size_t)corpus->n_convs + 1, sizeof *t->convs);
    t->pairs = calloc((size_t)corpus->n_pairs + 1, sizeof *t->pairs);
    t->token = malloc(((size_t)t->draft.n_nodes + 1) * sizeof *t->token);
    t->parent = malloc(((size_t)t->draft.n_nodes + 1) * sizeof *t->parent);
    if (!t->convs || !t->pairs || !t->token || !t->parent) PX_NO_MEMORY();
    int32_t n = 0, pair = 0;
    int64_t node = 0;
    for (int32_t c = 0; c < p->n_convs; c++) {
        const record *r = &t->records[c];
        if (r->made.n_pairs == 0) continue;
        t->convs[n] = (px_conv){p->convs[c].id,
                                t->user_new[p->convs[c].user],
                                p->convs[c].type,
                                (px_split)t->split[c],
                                pair,
                                r->made.n_pairs,
                                node,
                                r->made.n_nodes};
        memcpy(t->pairs + pair, r->pairs, (size_t)r->made.n_pairs * sizeof *r->pairs);
        for (int32_t i = 0; i < r->made.n_pairs; i++) t->pairs[pair + i].conv = n;
        size_t bytes = (size_t)r->made.n_nodes * sizeof *r->token;
        memcpy(t->token + node, r->token, bytes);
        memcpy(t->parent + node, r->parent, bytes);
        pair += r->made.n_pairs;
        node += r->made.n_nodes;
        n++;
    }
    corpus->convs = t->convs;
    corpus->pairs = t->pairs;
    t->draft.token = t->token;
    t->draft.parent = t->parent;
    return NULL;
}

static px_err *report_fill(preparer *p, const tables *t, px_report *report) {
    for (int32_t c = 0; c < p->n_convs; c++) {
        const px_made *made = &t->records[c].made;
        report->n_split_convs[t->split[c]]++;
        if (made->index < 0) continue;
        report->n_ties += made->n_ties;
        report->pair_tokens += made->pair_tokens;
        report->tree_tokens += made->n_nodes;
        for (int s = 0; s < PX_SKIP_COUNT; s++) {
            report->skipped[s] += made->skipped[s];
            if (made->skipped[s] > 0 && report->n_skip_lines[s] < PX_HARM_LINES)
                report->skip_lines[s][report->n_skip_lines[s]++] = p->convs[c].line;
        }
        for (int64_t i = 0; i < made->skipped[PX_SKIP_MERGED]; i++)
            PX_PASS(px_harm_add(&p->harms, PX_HARM_MERGED, p->convs[c].line, -1));
    }
    uint8_t *has_conv = calloc((size_t)p->survey.n + 1, 1);
    if (!has_conv) PX_NO_MEMORY();
    for (int32_t c = 0; c < p->n_convs; c++) has_conv[p->convs[c].user] = 1;
    for (int32_t u = 0; u < p->survey.n; u++) {
        report->n_with_convs += has_conv[u];
        if (has_conv[u]) report->n_split_users[t->unseen[u]]++;
    }
    free(has_conv);
    report->n_flat = report->n_flat_same = -1;
    if (!p->cross) return NULL;
    return px_cross_compare(p->cross, p->job->data_dir, &p->harms, &report->n_flat,
                            &report->n_flat_same);
}

/* "corpus.h5" → "corpus.report.json"; heap. */
static char *report_path(const char *out_path) {
    size_t n = strlen(out_path);
    if (n > 3 && strcmp(out_path + n - 3, ".h5") == 0) n -= 3;
    char *path = NULL;
    return asprintf(&path, "%.*s.report.json", (int)n, out_path) < 0 ? NULL : path;
}

static px_err *write_corpus(const preparer *p, tables *t, px_digest *sha) {
    px_str config = {0};
    px_corpus *corpus = &t->draft.tables;
    px_config_print(p->config, &config);
    px_err *err = px_str_ok(&config);
    if (!err) {
        corpus->tokenizer_sha256 = px_tokenizer_sha256(p->encoder.tok);
        corpus->template_name = px_template_name(p->encoder.tmpl);
        corpus->template_sha256 = px_template_sha256(p->encoder.tmpl);
        corpus->config_json = config.data ? config.data : "";
        err = px_corpus_write(p->job->out_path, &t->draft, sha);
        corpus->sha256 = sha->hex;
        corpus->config_json = NULL;
    }
    px_str_free(&config);
    return err;
}

/* Rank 0, with every rank's bytes. */
static px_err *finish(preparer *p, const px_bytes *all, const int64_t *sizes) {
    px_err *err = NULL;
    tables t = {0};
    px_digest sha = {{0}};
    px_report report = {.config = p->config,
                        .job = p->job,
                        .harms = &p->harms,
                        .facts = &p->facts,
                        .survey = &p->survey,
                        .n_readable = p->n_convs,
                        .n_filtered_balanced = p->n_filtered_balanced,
                        .n_filtered_english = p->n_filtered_english};
    char *path = report_path(p->job->out_path);
    if (!path) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, records_read(p, all, sizes, &t));
    PX_PASS_TO(done, draw_splits(p, &t));
    PX_PASS_TO(done, report_fill(p, &t, &report));
    PX_PASS_TO(done, fill_tables(p, &t));
    if (t.draft.tables.n_pairs > 0) {
        PX_PASS_TO(done, write_corpus(p, &t, &sha));
        report.corpus = &t.draft.tables;
    }
    PX_PASS_TO(done, px_report_write(&report, path));
    px_report_log(&report, path);
    if (!report.corpus)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no pair is left of %lld conversations, see %s",
                   p->job->data_dir, (long long)p->n_convs, path);
done:
    free(path);
    tables_fini(&t);
    return err;
}

/* The folder of out_path, so that a missing one is not found out at the end. */
static px_err *make_out_dir(const px_prepare *job) {
    const char *slash = strrchr(job->out_path, '/');
    if (!slash || slash == job->out_path) return NULL;
    char *dir = strndup(job->out_path, (size_t)(slash - job->out_path));
    if (!dir) PX_NO_MEMORY();
    px_err *err = px_dir_make(dir);
    free(dir);
    return err;
}

px_err *px_prepare_all(const px_ranks *ranks, const px_config *config, const px_prepare *job) {
    preparer p = {.ranks = ranks, .config = config, .job = job};
    px_bytes all = {0};
    px_err *err = ranks->rank == 0 ? make_out_dir(job) : NULL;
    int64_t *sizes = calloc((size_t)ranks->size, sizeof *sizes);
    if (!err && !sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = preparer_open(&p);
    if (!err) err = read_conversations(&p);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    PX_PASS_TO(done, px_gather_bytes_all(ranks, p.made.data, p.made.size, &all, sizes));
    px_str_free(&p.made);
    err = ranks->rank == 0 ? finish(&p, &all, sizes) : NULL;
    err = px_agree_all(ranks, err);
done:
    free(sizes);
    px_bytes_free(&all);
    preparer_fini(&p);
    return err;
}
