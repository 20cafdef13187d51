/* context.c - the system message of a prompted arm, and the profiles that a model writes for it.
 * The wording of the paper's prompts is not known: this one is ours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

enum { SUMMARY_WORDS = 200, SUMMARY_LEAST = 16, SUMMARY_TOKENS = 320 };

static const char opening[] = "You are a helpful assistant in a conversation with one person.\n\n"
                              "About this user:\n";
static const char closing[] =
    "\nUse this only where it is relevant to what they ask. Never recite it, and do not conclude "
    "anything from stereotypes.";
static const char summary_task[] =
    "Below is what a person said about themselves, and answers that they preferred to others. "
    "Write a profile of at most 200 words for an assistant that will talk with them: what they "
    "care "
    "about, and how they like to be answered. Plain sentences in the third person, nothing that is "
    "not borne out below, no name.";

/* Ends a text behind its SUMMARY_WORDS-th word. */
static size_t first_words(const char *text) {
    size_t i = 0;
    for (int words = 0; text[i];) {
        while (text[i] == ' ' || text[i] == '\n' || text[i] == '\t') i++;
        if (words++ == SUMMARY_WORDS) break;
        while (text[i] && text[i] != ' ' && text[i] != '\n' && text[i] != '\t') i++;
    }
    while (i > 0 && (text[i - 1] == ' ' || text[i - 1] == '\n' || text[i - 1] == '\t')) i--;
    return i;
}

static void write_choices(const person *p, px_str *out) {
    for (int i = 0; i < p->n_choices; i++) px_str_format(out, "\n%s", p->choices[i]);
}

/* What a summary is made from. */
static void write_source(const person *p, px_str *out) {
    px_str_text(out, p->words);
    write_choices(p, out);
}

px_err *context_text(const person *p, context_kind kind, px_arena *arena, const char **out) {
    px_str text = {0}, body = {0};
    *out = NULL;
    if (!p || kind == CONTEXT_NONE) return NULL;
    if (kind == CONTEXT_DEMOGRAPHICS && p->demographics)
        px_str_text(&body, p->demographics);
    else if (kind == CONTEXT_SUMMARY && p->summary)
        px_str_text(&body, p->summary);
    else if (kind == CONTEXT_SUMMARY && p->words)
        write_source(p, &body); /* no model wrote one: the template's form of a summary */
    px_err *err = px_str_ok(&body);
    if (!err && body.size > 0) {
        px_str_text(&text, opening);
        px_str_add(&text, body.data,
                   kind == CONTEXT_SUMMARY ? first_words(body.data) : body.size - 1);
        px_str_char(&text, '\n');
        px_str_text(&text, closing);
        err = px_str_ok(&text);
        if (!err) *out = px_arena_text(arena, text.data, text.size);
        if (!err) err = px_arena_ok(arena);
    }
    px_str_free(&text);
    px_str_free(&body);
    return err;
}

/* --- summaries by a model --- */

/* CACHE/KEY.txt, KEY the hash of the writer and of what it reads. */
static px_err *summary_path(const person *p, const summary_writer *writer, char **out,
                            px_digest *key) {
    px_sha *sha = NULL;
    px_str source = {0}, name = {0};
    write_source(p, &source);
    px_err *err = px_str_ok(&source);
    if (!err) err = px_sha_new(&sha);
    if (!err) {
        px_sha_text(sha, summary_task);
        px_sha_text(sha, writer->identity);
        px_sha_text(sha, source.data ? source.data : "");
        err = px_sha_end(sha, key);
    }
    if (!err) px_str_format(&name, "%s/%s.txt", writer->cache_dir, key->hex);
    if (!err) err = px_str_ok(&name);
    *out = name.data;
    px_str_free(&source);
    return err;
}

/* What the profile took to write, from CACHE/KEY.cost.json; an older cache does not say. */
static px_err *cost_read(const summary_writer *writer, const px_digest *key, px_profile_cost *out) {
    char path[4400];
    cJSON *json = NULL;
    snprintf(path, sizeof path, "%s/%s.cost.json", writer->cache_dir, key->hex);
    if (px_path_exists(path)) PX_PASS(px_json_read(path, false, &json));
    *out = (px_profile_cost){.prompt_tokens = px_json_find_f64(json, "prompt_tokens", NAN),
                             .new_tokens = px_json_find_f64(json, "new_tokens", NAN),
                             .seconds = px_json_find_f64(json, "seconds", NAN),
                             .usd = px_json_find_f64(json, "usd", NAN)};
    cJSON_Delete(json);
    return NULL;
}

/* Reads what the cache has; *n_missing of the others. */
static px_err *read_cached(person_list *people, const summary_writer *writer, int32_t *n_missing) {
    *n_missing = 0;
    for (int32_t i = 0; i < people->n; i++) {
        person *p = &people->items[i];
        px_digest key;
        char *path = NULL;
        px_bytes text = {0};
        if (!p->words || p->summary) continue;
        px_err *err = summary_path(p, writer, &path, &key);
        if (!err && px_path_exists(path)) {
            err = px_file_read(path, &text);
            if (!err) p->summary = px_arena_text(people->arena, text.data, text.size);
            if (!err) err = cost_read(writer, &key, &p->cost);
        } else if (!err) {
            ++*n_missing;
        }
        px_bytes_free(&text);
        free(path);
        if (err) return err;
    }
    return px_arena_ok(people->arena);
}

/* One prompt for each person without a summary; its id is the cache's key. */
static px_err *write_tasks(const person_list *people, const summary_writer *writer,
                           const char *path) {
    px_file_out file = {0};
    px_str line = {0}, text = {0};
    px_err *err = NULL;
    PX_PASS(px_file_out_open(path, &file));
    for (int32_t i = 0; i < people->n; i++) {
        const person *p = &people->items[i];
        px_digest key;
        char *unused = NULL;
        if (!p->words || p->summary) continue;
        err = summary_path(p, writer, &unused, &key);
        free(unused);
        if (err) goto done;
        px_str_clear(&text);
        px_str_format(&text, "%s\n\n", summary_task);
        write_source(p, &text);
        px_str_clear(&line);
        px_str_format(&line,
                      "{\"id\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":", key.hex);
        px_str_json(&line, text.data, text.size);
        px_str_text(&line, "}]}\n");
        PX_PASS_TO(done, px_str_ok(&line));
        fwrite(line.data, 1, line.size, file.stream);
    }
    err = px_file_out_commit(&file);
done:
    px_file_out_drop(&file);
    px_str_free(&line);
    px_str_free(&text);
    return err;
}

typedef struct {
    const summary_writer *writer;
    double seconds; /* of one: all that were written share the time evenly */
} keeping;

static void amount_put(px_str *out, const char *key, double value) {
    px_str_format(out, "%s\"%s\":", out->size ? "," : "{", key);
    px_str_double(out, value);
}

static px_err *cost_write(const keeping *k, const char *id, const cJSON *json) {
    static const char *const keys[] = {"prompt_tokens", "new_tokens", "usd"};
    px_str name = {0}, text = {0};
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        amount_put(&text, keys[i], px_json_find_f64(json, keys[i], NAN));
    amount_put(&text, "seconds", k->seconds);
    px_str_text(&text, "}\n");
    px_str_format(&name, "%s/%s.cost.json", k->writer->cache_dir, id);
    px_err *err = px_str_ok(&text);
    if (!err) err = px_str_ok(&name);
    if (!err) err = px_file_write(name.data, text.data, text.size);
    px_str_free(&name);
    px_str_free(&text);
    return err;
}

/* A task's answer into the cache, its cost first. An empty one is no summary and is tried again
 * next time. */
static px_err *keep_answer(void *context, const cJSON *json) {
    const keeping *k = context;
    const summary_writer *writer = k->writer;
    const char *id = px_json_find_text(json, "id"), *answer = px_json_find_text(json, "text");
    const char *why = px_json_find_text(json, "error");
    px_str name = {0};
    if (why) px_warn("a profile was not written: %s", why);
    if (!id || !answer || first_words(answer) == 0) return NULL;
    px_str_format(&name, "%s/%s.txt", writer->cache_dir, id);
    px_err *err = px_str_ok(&name);
    if (!err) err = cost_write(k, id, json);
    if (!err) err = px_file_write(name.data, answer, first_words(answer));
    px_str_free(&name);
    return err;
}

px_err *summaries_all(const px_ranks *ranks, const px_config *config, const summary_writer *writer,
                      int threads, person_list *people) {
    px_str tasks = {0}, answers = {0};
    keeping keeper = {.writer = writer};
    int32_t missing = 0;
    px_err *err = ranks->rank == 0 ? px_dir_make(writer->cache_dir) : NULL;
    PX_PASS(px_agree_all(ranks, err));
    PX_PASS(px_agree_all(ranks, read_cached(people, writer, &missing)));
    if (!px_any_all(ranks, missing > 0)) return NULL;
    px_str_format(&tasks, "%s/tasks.jsonl", writer->cache_dir);
    px_str_format(&answers, "%s/answers.jsonl", writer->cache_dir);
    err = px_str_ok(&tasks);
    if (!err) err = px_str_ok(&answers);
    if (!err && ranks->rank == 0) {
        px_info("%d profiles to be written", (int)missing);
        err = write_tasks(people, writer, tasks.data);
        if (!err && px_path_exists(answers.data)) (void)remove(answers.data);
    }
    err = px_agree_all(ranks, err);
    const px_answerer by = {writer->arm->name, writer->arm->model_path, writer->arm->endpoint};
    const px_answer_tasks ask = {.tasks_path = tasks.data,
                                 .out_path = answers.data,
                                 .tokens_least = SUMMARY_LEAST,
                                 .tokens_most = SUMMARY_TOKENS,
                                 .threads = threads};
    const double began = px_now_s();
    if (!err) err = px_answer_tasks_all(ranks, config, &by, &ask);
    keeper.seconds = (px_now_s() - began) / PX_MAX(missing, 1);
    if (!err)
        err = px_agree_all(ranks, ranks->rank == 0
                                      ? px_json_lines(answers.data, false, keep_answer, &keeper)
                                      : NULL);
    if (!err) err = px_agree_all(ranks, read_cached(people, writer, &missing));
    if (!err && missing > 0 && ranks->rank == 0)
        px_warn("%d profiles are missing: what the people said stands in for them", (int)missing);
    if (!err && ranks->rank == 0) {
        (void)remove(tasks.data);
        (void)remove(answers.data);
        px_str_text(&answers, ".meta.json");
        if (answers.data) (void)remove(answers.data);
    }
    px_str_free(&tasks);
    px_str_free(&answers);
    return err;
}
