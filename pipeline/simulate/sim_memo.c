/* sim_memo.c - OUT.parts: job.json, and for each rank a file of replies by the hash of what was
 * asked. A line goes out as soon as its reply is there; one that was cut by a crash has no newline
 * and is no reply. All ranks know all replies: after each round each reads what the others wrote.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

enum { MOST_RANKS = 10000 };

struct px_sim_memo {
    const px_ranks *ranks;
    char *dir;
    FILE *mine;
    memo_reply *replies;
    int32_t n, room;
    px_map by_key;
    int64_t *read; /* [n_files] bytes of each rank's file */
    int n_files;
    double usd;
    px_arena *arena;
};

const char *memo_dir(const sim_memo *memo) { return memo->dir; }
double memo_usd(const sim_memo *memo) { return memo->usd; }

static char *file_of(const sim_memo *memo, int rank) {
    char name[32];
    snprintf(name, sizeof name, "rank-%04d.jsonl", rank);
    return px_path_join(memo->dir, name);
}

const memo_reply *memo_find(const sim_memo *memo, const char *key) {
    const int32_t at = px_map_find(&memo->by_key, key, strlen(key), -1);
    return at < 0 ? NULL : &memo->replies[at];
}

/* --- reading --- */

static const char *kept(sim_memo *memo, const cJSON *json, const char *key) {
    const char *text = px_json_find_text(json, key);
    return text ? px_arena_text(memo->arena, text, strlen(text)) : NULL;
}

static int64_t count_of(const cJSON *json, const char *key) {
    const double value = px_json_find_f64(json, key, -1);
    return value >= 0 && value < 1e15 ? (int64_t)value : -1;
}

static px_err *reply_take(sim_memo *memo, const cJSON *json) {
    const char *key = px_json_find_text(json, "key");
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(json, "reply");
    const double end = px_json_find_f64(json, "end", -1);
    if (!key || !cJSON_IsObject(line) || end < 0 || end > PX_ASK_FAILED || memo_find(memo, key))
        return NULL;
    if (memo->n == memo->room) {
        memo->room = memo->room ? 2 * memo->room : 1024;
        memo_reply *grown = realloc(memo->replies, (size_t)memo->room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        memo->replies = grown;
    }
    const char *user = px_json_find_text(line, "user");
    const char *text = kept(memo, line, "text");
    memo_reply *reply = &memo->replies[memo->n];
    *reply = (memo_reply){.end = (px_ask_end)end,
                          .text = text ? text : "",
                          .finish = kept(memo, line, "finish"),
                          .error = kept(memo, line, "error"),
                          .user = !user                      ? -1
                                  : !strcmp(user, "own")     ? 1
                                  : !strcmp(user, "generic") ? 0
                                                             : -1,
                          .cached = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "cached")),
                          .context_tokens = count_of(line, "context_tokens"),
                          .prompt_tokens = count_of(line, "prompt_tokens"),
                          .new_tokens = count_of(line, "new_tokens"),
                          .usd = px_json_find_f64(line, "usd", NAN),
                          .seconds = px_json_find_f64(line, "seconds", NAN)};
    if (isfinite(reply->usd) && !reply->cached) memo->usd += reply->usd;
    const char *own = px_arena_text(memo->arena, key, strlen(key));
    PX_PASS(px_arena_ok(memo->arena));
    return px_map_set(&memo->by_key, own, strlen(own), memo->n++);
}

/* Whole lines of a rank's file from where it was read before. */
static px_err *file_read(sim_memo *memo, int rank) {
    char *path = file_of(memo, rank);
    px_map_file map = {0};
    px_err *err = NULL;
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path)) {
        free(path);
        return NULL;
    }
    PX_PASS_TO(done, px_map_open(path, &map));
    const char *at = (const char *)map.data + memo->read[rank];
    const char *end = (const char *)map.data + map.size;
    while (at < end && !err) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        cJSON *json = NULL;
        if (!stop) break;
        px_err *broken = px_json_parse_said(at, (size_t)(stop - at), &json, NULL);
        px_err_free(broken); /* cut by a crash, and ended by whoever went on */
        if (json) err = reply_take(memo, json);
        cJSON_Delete(json);
        at = stop + 1;
    }
    memo->read[rank] = at - (const char *)map.data;
done:
    px_map_close(&map);
    free(path);
    return err;
}

static px_err *files_read(sim_memo *memo) {
    for (int rank = 0; rank < memo->n_files; rank++) PX_PASS(file_read(memo, rank));
    return NULL;
}

/* --- opening --- */

static px_err *same_text(const char *path, const char *job, bool *same) {
    px_bytes text = {0};
    *same = false;
    if (!px_path_exists(path)) return NULL;
    px_err *err = px_file_read(path, &text);
    *same = !err && memmem(text.data, text.size, job, strlen(job)) != NULL;
    px_bytes_free(&text);
    return err;
}

/* Rank 0: is there something already, and what becomes of it. */
static px_err *prepare(const sim_memo *memo, const memo_setup *how, bool *finished) {
    const bool there = px_path_is_dir(memo->dir), go_on = how->resume && !how->overwrite;
    const bool out = px_path_exists(how->out);
    bool same = false;
    if (px_path_is_dir(how->out)) PX_FAIL(PX_BAD_INPUT, "%s: is a folder", how->out);
    if (go_on && !there && out) {
        PX_PASS(same_text(how->summary, how->job, finished));
        if (*finished) return NULL;
        PX_FAIL(PX_BAD_INPUT,
                "%s holds trials of other settings, models or people; --overwrite begins anew",
                how->out);
    }
    if (!how->overwrite && !how->resume && out)
        PX_FAIL(PX_BAD_INPUT, "%s is there already; --overwrite begins anew", how->out);
    if (there && !how->overwrite && !how->resume)
        PX_FAIL(PX_BAD_INPUT,
                "%s holds an interrupted job; --resume goes on, --overwrite begins anew",
                memo->dir);
    char *path = px_path_join(memo->dir, "job.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = NULL;
    if (there && go_on) PX_PASS_TO(done, same_text(path, how->job, &same));
    if (same) goto done;
    if (there && go_on)
        PX_FAIL_TO(done, PX_BAD_INPUT,
                   "%s: what is there is of other settings, models or people; --overwrite begins "
                   "anew",
                   path);
    PX_PASS_TO(done, px_dir_remove(memo->dir));
    PX_PASS_TO(done, px_dir_make(memo->dir));
    err = px_file_write(path, how->job, strlen(how->job));
done:
    free(path);
    return err;
}

static px_err *mine_open(sim_memo *memo) {
    char *path = file_of(memo, memo->ranks->rank);
    if (!path) PX_NO_MEMORY();
    memo->mine = fopen(path, "ab");
    const int why = errno;
    px_err *err =
        memo->mine ? NULL
                   : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s: %s", path, strerror(why));
    free(path);
    if (!err && ftell(memo->mine) > 0) fputc('\n', memo->mine); /* ends a line that was cut */
    return err;
}

static px_err *mine_close(sim_memo *memo) {
    FILE *file = memo->mine;
    memo->mine = NULL;
    if (file && fclose(file)) PX_FAIL(PX_RUN_FAILED, "%s: %s", memo->dir, strerror(errno));
    return NULL;
}

/* How many files earlier runs left, of however many ranks. */
static px_err *files_count(sim_memo *memo) {
    int n = memo->ranks->size;
    for (int rank = n; rank < MOST_RANKS; rank++) {
        char *path = file_of(memo, rank);
        if (!path) PX_NO_MEMORY();
        if (px_path_exists(path)) n = rank + 1;
        free(path);
    }
    memo->n_files = n;
    memo->read = calloc((size_t)n, sizeof *memo->read);
    if (!memo->read) PX_NO_MEMORY();
    return NULL;
}

px_err *memo_open_all(const px_ranks *ranks, const memo_setup *setup, bool *finished,
                      sim_memo **out) {
    sim_memo *memo = calloc(1, sizeof *memo);
    px_err *err = NULL;
    *finished = false;
    if (!memo) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_arena_new((size_t)1 << 20, &memo->arena);
    if (!err && asprintf(&memo->dir, "%s.parts", setup->out) < 0)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(failed, px_agree_all(ranks, err));
    memo->ranks = ranks;
    if (ranks->rank == 0) err = prepare(memo, setup, finished);
    PX_PASS_TO(failed, px_agree_all(ranks, err));
    *finished = px_any_all(ranks, *finished);
    *out = memo;
    if (*finished) return NULL;
    err = files_count(memo);
    if (!err) err = files_read(memo);
    err = px_agree_all(ranks, err); /* nobody writes before all have read */
    return err ? err : px_agree_all(ranks, mine_open(memo));
failed:
    memo_close(memo);
    return err;
}

void memo_close(sim_memo *memo) {
    if (!memo) return;
    if (memo->mine) fclose(memo->mine);
    free(memo->dir);
    free(memo->replies);
    free(memo->read);
    px_map_free(&memo->by_key);
    px_arena_free(memo->arena);
    free(memo);
}

px_err *memo_add(sim_memo *memo, const char *key, px_ask_end end, const px_str *line) {
    PX_PASS(px_str_ok(line));
    fprintf(memo->mine, "{\"key\":\"%s\",\"end\":%d,\"reply\":", key, (int)end);
    fwrite(line->data, 1, line->size, memo->mine);
    fputs("}\n", memo->mine);
    if (fflush(memo->mine)) PX_FAIL(PX_RUN_FAILED, "%s: %s", memo->dir, strerror(errno));
    return NULL;
}

px_err *memo_share_all(sim_memo *memo) {
    PX_PASS(px_agree_all(memo->ranks, mine_close(memo))); /* a shared file system shows it then */
    PX_PASS(px_agree_all(memo->ranks, files_read(memo)));
    return px_agree_all(memo->ranks, mine_open(memo));
}

px_err *memo_remove(sim_memo *memo) {
    PX_PASS(mine_close(memo));
    return px_dir_remove(memo->dir);
}
