/* heldout.c - prompts from the data itself: how people opened the conversations of one split. */
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

/* The conversations of a split, a person after the other, then everybody's second, and so on: few
 * prompts are of many people. */
static px_err *pick(const px_corpus *corpus, const px_heldout *job, px_arena *arena, int32_t *out,
                    int64_t *n) {
    int32_t *taken = px_take(arena, int32_t, corpus->n_users + 1), most = 1;
    int32_t *of_round = px_take(arena, int32_t, corpus->n_convs + 1);
    PX_PASS(px_arena_ok(arena));
    for (int32_t i = 0; i < corpus->n_convs; i++) {
        if (!(job->splits & 1u << corpus->convs[i].split)) continue;
        of_round[i] = ++taken[corpus->convs[i].user];
        most = PX_MAX(most, of_round[i]);
    }
    *n = 0;
    for (int32_t round = 1; round <= most; round++)
        for (int32_t i = 0; i < corpus->n_convs && (job->limit == 0 || *n < job->limit); i++)
            if (of_round[i] == round) out[(*n)++] = i;
    if (*n == 0)
        PX_FAIL(PX_BAD_INPUT, "%s has no conversation in the split that --split names",
                job->corpus_path);
    return NULL;
}

typedef struct {
    const px_map *wanted; /* conversations' ids */
    px_arena *arena;
    const char **openings;
} opening_reader;

static px_err *take_opening(void *context, const cJSON *json) {
    const opening_reader *r = context;
    const char *id = px_json_find_text(json, "conversation_id");
    const char *opening = px_json_find_text(json, "opening_prompt");
    const int32_t at = id ? px_map_find(r->wanted, id, strlen(id), -1) : -1;
    if (at >= 0 && opening && !r->openings[at])
        r->openings[at] = px_arena_text(r->arena, opening, strlen(opening));
    return px_arena_ok(r->arena);
}

/* Broken lines were counted by prepare: none of them is in the corpus. */
static px_err *read_openings(const char *dir, opening_reader *r) {
    char *path = px_path_join(dir, "conversations.jsonl");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_json_lines(path, true, take_opening, r);
    free(path);
    return err;
}

static void put_text(FILE *out, px_str *work, const char *key, const char *text) {
    px_str_clear(work);
    px_str_json(work, text, strlen(text));
    fprintf(out, "\"%s\":%s", key, work->data ? work->data : "\"\"");
}

static px_err *write_prompts(const px_corpus *corpus, const px_heldout *job, const int32_t *convs,
                             int64_t n, const char *const *openings, int64_t *n_written) {
    static const char *const splits[] = {"train", "seen", "unseen"};
    static const char *const domains[] = {"unguided", "values", "controversy", "other"};
    px_file_out file = {0};
    px_str work = {0};
    PX_PASS(px_file_out_open(job->out_path, &file));
    *n_written = 0;
    for (int64_t i = 0; i < n; i++) {
        const px_conv *conv = &corpus->convs[convs[i]];
        if (!openings[i]) continue;
        fputc('{', file.stream);
        put_text(file.stream, &work, "id", conv->id);
        fputs(",\"messages\":[{\"role\":\"user\",", file.stream);
        put_text(file.stream, &work, "content", openings[i]);
        fputs("}],", file.stream);
        put_text(file.stream, &work, "user_id", corpus->user_ids[conv->user]);
        fprintf(file.stream, ",\"split\":\"%s\",\"domain\":\"%s\"}\n", splits[conv->split],
                domains[conv->type]);
        ++*n_written;
    }
    px_err *err = px_str_ok(&work);
    if (!err && *n_written == 0)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s/conversations.jsonl has none of the conversations of %s",
                         job->data_dir, job->corpus_path);
    if (!err) err = px_file_out_commit(&file);
    px_file_out_drop(&file);
    px_str_free(&work);
    return err;
}

px_err *px_heldout_write(const px_heldout *job, int64_t *n_written) {
    px_corpus *corpus = NULL;
    px_arena *arena = NULL;
    px_map wanted = {0};
    px_err *err = NULL;
    int64_t n = 0;
    PX_PASS_TO(done, px_arena_new((size_t)1 << 18, &arena));
    PX_PASS_TO(done, px_corpus_open(job->corpus_path, &corpus));
    int32_t *convs = px_take(arena, int32_t, corpus->n_convs + 1);
    const char **openings = px_take(arena, const char *, corpus->n_convs + 1);
    PX_PASS_TO(done, px_arena_ok(arena));
    PX_PASS_TO(done, pick(corpus, job, arena, convs, &n));
    for (int64_t i = 0; i < n; i++) {
        const char *id = corpus->convs[convs[i]].id;
        PX_PASS_TO(done, px_map_set(&wanted, id, strlen(id), (int32_t)i));
    }
    opening_reader r = {&wanted, arena, openings};
    PX_PASS_TO(done, read_openings(job->data_dir, &r));
    err = write_prompts(corpus, job, convs, n, openings, n_written);
done:
    px_map_free(&wanted);
    px_corpus_close(corpus);
    px_arena_free(arena);
    return err;
}
