/* cache.c - answers by the hash of their request. Invariants: an entry is a whole file or is not
 * there (it is written under a name of its own and linked into place); the first entry stays, so
 * that all processes give the same answer; failures never come here; nothing in an entry is from
 * the request but its hash. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net_internal.h"

/* DIR/ab/abcd….json; with `make`, its folder is made. */
static px_err *entry_path(const px_call *call, bool make, char **out) {
    char *dir = NULL;
    const char *hex = call->key.hex;
    if (asprintf(&dir, "%s/%.2s", call->endpoint->cache, hex) < 0) PX_NO_MEMORY();
    px_err *err = make ? px_dir_make(dir) : NULL;
    if (!err && asprintf(out, "%s/%s.json", dir, hex) < 0)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    free(dir);
    return err;
}

static px_err *entry_fill(const px_call *call, const cJSON *json, const char *path,
                          px_answer *out) {
    const char *key = NULL, *text = NULL, *finish = NULL;
    PX_PASS(px_json_text(json, "key", path, &key));
    if (strcmp(key, call->key.hex) != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: the entry of another request", path);
    PX_PASS(px_json_i64(json, "prompt_tokens", path, -1, INT64_MAX, &out->prompt_tokens));
    PX_PASS(px_json_i64(json, "new_tokens", path, -1, INT64_MAX, &out->new_tokens));
    out->seconds = px_json_find_f64(json, "seconds", NAN);
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(json, "choices"), *item = NULL;
    if (cJSON_GetArraySize(choices) != call->n)
        PX_FAIL(PX_BAD_INPUT, "%s: %d choices, wanted %d", path, cJSON_GetArraySize(choices),
                call->n);
    out->choices = calloc((size_t)call->n, sizeof *out->choices);
    if (!out->choices) PX_NO_MEMORY();
    cJSON_ArrayForEach(item, choices) {
        px_choice *choice = &out->choices[out->n++];
        PX_PASS(px_json_text(item, "text", path, &text));
        PX_PASS(px_json_text(item, "finish", path, &finish));
        choice->text = strdup(text);
        choice->finish = strdup(finish);
        if (!choice->text || !choice->finish) PX_NO_MEMORY();
    }
    return NULL;
}

static px_err *entry_read(const px_call *call, const char *path, px_answer *out) {
    cJSON *json = NULL;
    px_answer answer = {0};
    PX_PASS(px_json_read(path, false, &json));
    px_err *err = entry_fill(call, json, path, &answer);
    cJSON_Delete(json);
    if (err)
        px_answer_free(&answer);
    else
        *out = answer;
    return err;
}

px_err *px_cache_get(const px_call *call, bool *found, px_answer *out) {
    char *path = NULL;
    *found = false;
    if (!call->endpoint->cache) return NULL;
    PX_PASS(entry_path(call, false, &path));
    if (px_path_exists(path)) {
        px_err *err = entry_read(call, path, out);
        *found = !err;
        if (err) px_warn("cache: %s; the request is made again", px_err_text(err));
        px_err_free(err);
    }
    free(path);
    return NULL;
}

static void entry_print(const px_call *call, const px_answer *answer, px_str *out) {
    px_str_format(out, "{\"key\":\"%s\",\"prompt_tokens\":%lld,\"new_tokens\":%lld,\"seconds\":",
                  call->key.hex, (long long)answer->prompt_tokens, (long long)answer->new_tokens);
    px_str_double(out, answer->seconds);
    px_str_text(out, ",\"choices\":[");
    for (int i = 0; i < answer->n; i++) {
        const px_choice *choice = &answer->choices[i];
        px_str_text(out, i ? ",{\"text\":" : "{\"text\":");
        px_str_json(out, choice->text, strlen(choice->text));
        px_str_text(out, ",\"finish\":");
        px_str_json(out, choice->finish, strlen(choice->finish));
        px_str_char(out, '}');
    }
    px_str_text(out, "]}\n");
}

/* A new file beside path that no other process writes; its name goes to *out. */
static px_err *own_file(const char *path, int *fd, char **out) {
    for (int i = 0; i < 1000; i++) {
        free(*out);
        *out = NULL;
        if (asprintf(out, "%s.%ld.%llx.tmp", path, (long)getpid(),
                     (unsigned long long)(px_now_s() * 1e9)) < 0)
            PX_NO_MEMORY();
        *fd = open(*out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) return NULL;
        if (errno != EEXIST) break;
    }
    PX_FAIL(PX_RUN_FAILED, "%s: cannot be written: %s", *out, strerror(errno));
}

static px_err *write_whole(int fd, const px_str *text, const char *path) {
    for (size_t at = 0; at < text->size;) {
        ssize_t n = write(fd, text->data + at, text->size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) PX_FAIL(PX_RUN_FAILED, "%s: write: %s", path, strerror(errno));
        at += (size_t)n;
    }
    if (fsync(fd)) PX_FAIL(PX_RUN_FAILED, "%s: fsync: %s", path, strerror(errno));
    return NULL;
}

/* The written file under the entry's name, unless a good entry has it already: then that one. A
 * file system without links gets a rename, and the last entry stays. */
static px_err *entry_place(const px_call *call, const char *temp, const char *path,
                           px_answer *answer) {
    px_answer first = {0};
    if (link(temp, path) == 0) return NULL;
    if (errno == EEXIST) {
        px_err *err = entry_read(call, path, &first);
        if (!err) {
            px_answer_free(answer);
            *answer = first;
            return NULL;
        }
        px_err_free(err); /* damaged: px_cache_get has said so */
    }
    if (rename(temp, path)) PX_FAIL(PX_RUN_FAILED, "%s: rename: %s", path, strerror(errno));
    return NULL;
}

px_err *px_cache_put(const px_call *call, px_answer *answer) {
    px_err *err = NULL;
    px_str text = {0};
    char *path = NULL, *temp = NULL;
    int fd = -1;
    if (!call->endpoint->cache) return NULL;
    entry_print(call, answer, &text);
    PX_PASS_TO(done, px_str_ok(&text));
    PX_PASS_TO(done, entry_path(call, true, &path));
    PX_PASS_TO(done, own_file(path, &fd, &temp));
    PX_PASS_TO(done, write_whole(fd, &text, temp));
    PX_PASS_TO(done, entry_place(call, temp, path, answer));
done:
    if (fd >= 0) {
        close(fd);
        unlink(temp);
    }
    free(path);
    free(temp);
    px_str_free(&text);
    return err;
}
