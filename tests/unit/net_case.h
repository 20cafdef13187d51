/* net_case.h - for the tests of the endpoint client: opening one on a testd, asking, and keeping
 * what came. */
#ifndef PX_NET_CASE_H
#define PX_NET_CASE_H

#include <dirent.h>

#include "files.h"
#include "net.h"
#include "testd.h"

enum { KEPT = 512 };

typedef struct {
    int n, answered, failed, cached;
    char *text[KEPT], *finish[KEPT], *error[KEPT]; /* by tag */
    int tries[KEPT];
    double usd[KEPT];
    bool seen[KEPT];
} kept;

static inline px_err *keep(void *ctx, const px_reply *reply) {
    kept *k = ctx;
    size_t at = (size_t)(uintptr_t)reply->tag;
    assert_true(at < KEPT && !k->seen[at]);
    k->seen[at] = true;
    k->n++;
    k->tries[at] = reply->tries;
    k->usd[at] = reply->usd;
    if (reply->err) {
        k->failed++;
        k->error[at] = strdup(px_err_text(reply->err));
        assert_null(reply->choices);
        return NULL;
    }
    k->answered++;
    k->cached += reply->cached;
    k->text[at] = strdup(reply->choices[0].text);
    k->finish[at] = strdup(reply->choices[0].finish);
    return NULL;
}
static inline void kept_free(kept *k) {
    for (int i = 0; i < KEPT; i++) {
        free(k->text[i]);
        free(k->finish[i]);
        free(k->error[i]);
    }
    *k = (kept){0};
}

/* `more`: further keys, each with a comma before it. */
static inline px_err *open_at(const char *url, const char *more, px_endpoint **out) {
    px_str text = {0};
    cJSON *json = NULL;
    px_str_format(&text, "{\"url\":\"%s\",\"model\":\"m\"%s%s}", url, more,
                  strstr(more, "backoff_s") ? "" : ",\"backoff_s\":0.02");
    px_assert_ok(px_json_parse(text.data, text.size, &json));
    px_err *err = px_endpoint_open(json, "arm x", out);
    cJSON_Delete(json);
    px_str_free(&text);
    return err;
}
static inline px_endpoint *open_on(const testd *s, const char *more) {
    char url[64];
    px_endpoint *endpoint = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", testd_port(s));
    px_assert_ok(open_at(url, more, &endpoint));
    return endpoint;
}
/* Appends the path of every file below dir, a line each; their number. */
static inline int folder_files(const char *dir, px_str *out) {
    int n = 0;
    DIR *open = opendir(dir);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char *path = px_path_join(dir, entry->d_name);
        assert_non_null(path);
        if (px_path_is_dir(path)) {
            n += folder_files(path, out);
        } else {
            px_str_format(out, "%s\n", path);
            n++;
        }
        free(path);
    }
    closedir(open);
    return n;
}
/* Appends the content of every file below dir; their number. */
static inline int folder_text(const char *dir, px_str *out) {
    px_str paths = {0};
    int n = folder_files(dir, &paths);
    for (char *at = paths.data, *end; at && (end = strchr(at, '\n')); at = end + 1) {
        px_bytes text = {0};
        *end = 0;
        px_assert_ok(px_file_read(at, &text));
        px_str_add(out, text.data, text.size);
        px_bytes_free(&text);
    }
    px_str_free(&paths);
    return n;
}
/* Asks "<word> <tag>". */
static inline void ask_as(px_endpoint *endpoint, const char *word, int tag, int64_t sample) {
    char text[256];
    snprintf(text, sizeof text, "%s %d", word, tag);
    px_chat_message m = {"user", text, strlen(text)};
    px_chat chat = {.messages = &m, .n_messages = 1, PX_CHAT_DEFAULTS};
    chat.max_tokens = 8;
    chat.sample = sample;
    chat.tag = (void *)(uintptr_t)tag;
    px_assert_ok(px_endpoint_add(endpoint, &chat));
}
static inline void ask(px_endpoint *endpoint, int tag) { ask_as(endpoint, "question", tag, 0); }

#endif
