/* parts.c - see answer_internal.h. A line that was cut by a crash has no newline and is no answer;
 * whoever appends to such a file begins a new line first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

enum { MOST_RANKS = 10000 };

static char *part_path(const char *dir, int rank) {
    char name[32];
    snprintf(name, sizeof name, "rank-%04d.jsonl", rank);
    return px_path_join(dir, name);
}

/* Whole lines of a part: calls take(item, answer, size). */
typedef px_err *part_take(void *state, int64_t item, const char *answer, size_t size);

/* {"item":N,"answer":ANSWER} */
static bool split_line(const char *line, size_t size, int64_t *item, const char **answer,
                       size_t *answer_size) {
    static const char head[] = "{\"item\":", middle[] = ",\"answer\":";
    char number[24] = {0};
    if (size < sizeof head || memcmp(line, head, sizeof head - 1) != 0) return false;
    const char *at = line + sizeof head - 1, *end = memmem(line, size, middle, sizeof middle - 1);
    if (!end || end <= at || (size_t)(end - at) >= sizeof number) return false;
    memcpy(number, at, (size_t)(end - at));
    *answer = end + sizeof middle - 1;
    *answer_size = size - (size_t)(*answer - line) - 1;
    return px_parse_i64(number, item) && line[size - 1] == '}' && line[size - 2] == '}';
}

static px_err *part_each(const char *path, part_take *take, void *state) {
    px_map_file map = {0};
    px_err *err = NULL;
    PX_PASS(px_map_open(path, &map));
    const char *at = (const char *)map.data, *end = at + map.size;
    while (at < end && !err) {
        const char *stop = memchr(at, '\n', (size_t)(end - at)), *answer = NULL;
        int64_t item = 0;
        size_t size = 0;
        if (!stop) break;
        if (split_line(at, (size_t)(stop - at), &item, &answer, &size))
            err = take(state, item, answer, size);
        at = stop + 1;
    }
    px_map_close(&map);
    return err;
}

static px_err *each_part(const char *dir, part_take *take, void *state) {
    for (int rank = 0; rank < MOST_RANKS; rank++) {
        px_err *err = NULL;
        char *path = part_path(dir, rank);
        if (!path) PX_NO_MEMORY();
        if (px_path_exists(path)) err = part_each(path, take, state);
        free(path);
        if (err) return err;
    }
    return NULL;
}

static px_err *mark_done(void *state, int64_t item, const char *answer, size_t size) {
    part_files *parts = state;
    (void)answer, (void)size;
    if (item < 0 || item >= parts->n) return NULL;
    parts->n_done += !parts->done[item];
    parts->done[item] = 1;
    return NULL;
}

/* --- opening --- */

static px_err *job_compare(const part_files *parts, const char *job, bool *same) {
    px_bytes text = {0};
    char *path = px_path_join(parts->dir, "job.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_file_read(path, &text);
    *same = !err && !strcmp(text.data, job);
    px_bytes_free(&text);
    free(path);
    return err;
}

/* OUT is there and its parts are gone: are these the answers that are wanted? */
static px_err *finished_compare(const char *out_path, const char *job, bool *same) {
    px_str path = {0};
    px_bytes text = {0};
    px_str_format(&path, "%s.meta.json", out_path);
    px_err *err = px_str_ok(&path);
    if (!err && px_path_exists(path.data)) {
        err = px_file_read(path.data, &text);
        *same =
            !err && memmem(text.data, text.size, job, strlen(job) - 1); /* but for its newline */
    }
    px_bytes_free(&text);
    px_str_free(&path);
    return err;
}

/* Rank 0: is there something already, and what becomes of it. */
static px_err *prepare(part_files *parts, const px_answer_job *how, const char *job) {
    const bool there = px_path_is_dir(parts->dir), go_on = how->resume && !how->overwrite;
    bool same = false;
    if (px_path_is_dir(how->out_path)) PX_FAIL(PX_BAD_INPUT, "%s: is a folder", how->out_path);
    if (go_on && !there && px_path_exists(how->out_path)) {
        PX_PASS(finished_compare(how->out_path, job, &parts->finished));
        if (parts->finished) return NULL;
        PX_FAIL(PX_BAD_INPUT,
                "%s holds answers of another model, other prompts or other settings; --overwrite "
                "answers anew",
                how->out_path);
    }
    if (!how->overwrite && px_path_exists(how->out_path) && !how->resume)
        PX_FAIL(PX_BAD_INPUT, "%s is there already; --overwrite answers anew", how->out_path);
    if (there && !how->overwrite && !how->resume)
        PX_FAIL(PX_BAD_INPUT,
                "%s holds answers of an interrupted run; --resume goes on, --overwrite begins anew",
                parts->dir);
    if (there && go_on) PX_PASS(job_compare(parts, job, &same));
    if (same) return NULL;
    if (there && go_on && !how->quiet)
        PX_FAIL(PX_BAD_INPUT,
                "%s/job.json: the answers there are of another model, other prompts or other "
                "settings; --overwrite begins anew",
                parts->dir);
    PX_PASS(px_dir_remove(parts->dir));
    PX_PASS(px_dir_make(parts->dir));
    char *path = px_path_join(parts->dir, "job.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_file_write(path, job, strlen(job));
    free(path);
    return err;
}

static px_err *open_mine(part_files *parts, int rank) {
    char *path = part_path(parts->dir, rank);
    if (!path) PX_NO_MEMORY();
    parts->mine = fopen(path, "ab");
    int why = errno;
    if (!parts->mine) {
        px_err *err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s: %s", path, strerror(why));
        free(path);
        return err;
    }
    free(path);
    if (ftell(parts->mine) > 0) fputc('\n', parts->mine); /* ends a line that was cut */
    return NULL;
}

px_err *parts_open_all(const px_ranks *ranks, const px_answer_job *how, const char *job, int64_t n,
                       part_files *out) {
    px_str dir = {0};
    *out = (part_files){.n = n};
    px_str_format(&dir, "%s.parts", how->out_path);
    px_err *err = px_str_ok(&dir);
    out->dir = dir.data;
    out->done = calloc((size_t)n + 1, 1);
    if (!err && !out->done) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS(px_agree_all(ranks, err));
    if (ranks->rank == 0) err = prepare(out, how, job);
    PX_PASS(px_agree_all(ranks, err));
    out->finished = px_any_all(ranks, out->finished);
    if (out->finished) return NULL;
    err = each_part(out->dir, mark_done, out);
    PX_PASS(px_agree_all(ranks, err)); /* nobody writes before all have read */
    return px_agree_all(ranks, open_mine(out, ranks->rank));
}

px_err *parts_add(part_files *parts, int64_t item, const px_str *answer) {
    PX_PASS(px_str_ok(answer));
    fprintf(parts->mine, "{\"item\":%lld,\"answer\":", (long long)item);
    fwrite(answer->data, 1, answer->size, parts->mine);
    fputs("}\n", parts->mine);
    if (fflush(parts->mine)) PX_FAIL(PX_RUN_FAILED, "%s: %s", parts->dir, strerror(errno));
    return NULL;
}

px_err *parts_close(part_files *parts) {
    if (!parts->mine) return NULL;
    const int failed = fclose(parts->mine);
    const int why = errno;
    parts->mine = NULL;
    if (failed) PX_FAIL(PX_RUN_FAILED, "%s: %s", parts->dir, strerror(why));
    return NULL;
}

void parts_free(part_files *parts) {
    if (parts->mine) fclose(parts->mine);
    free(parts->dir);
    free(parts->done);
    *parts = (part_files){0};
}

/* --- the end --- */

typedef struct {
    int64_t n;
    char **answers; /* [n] heap */
} collected;

static px_err *collect(void *state, int64_t item, const char *answer, size_t size) {
    collected *c = state;
    if (item < 0 || item >= c->n || c->answers[item]) return NULL;
    c->answers[item] = strndup(answer, size);
    if (!c->answers[item]) PX_NO_MEMORY();
    return NULL;
}

px_err *parts_merge(const part_files *parts, const char *out_path) {
    collected c = {parts->n, calloc((size_t)parts->n + 1, sizeof *c.answers)};
    px_file_out file = {0};
    px_err *err = NULL;
    if (!c.answers) PX_NO_MEMORY();
    PX_PASS_TO(done, each_part(parts->dir, collect, &c));
    PX_PASS_TO(done, px_file_out_open(out_path, &file));
    for (int64_t i = 0; i < c.n; i++) {
        if (!c.answers[i])
            PX_FAIL_TO(done, PX_RUN_FAILED, "%s: item %lld has no answer", parts->dir,
                       (long long)i);
        fprintf(file.stream, "%s\n", c.answers[i]);
    }
    PX_PASS_TO(done, px_file_out_commit(&file));
    PX_PASS_TO(done, px_dir_remove(parts->dir));
done:
    px_file_out_drop(&file);
    for (int64_t i = 0; i < c.n; i++) free(c.answers[i]);
    free(c.answers);
    return err;
}
