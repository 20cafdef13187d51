/* endpoint.c - an endpoint from its JSON: every key checked, the key of the environment read. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_internal.h"

typedef enum { IS_TEXT, IS_I64, IS_F64, IS_BOOL, IS_OTHER } key_type;

/* path of the JSON, type, where it goes, bounds of numbers */
typedef struct {
    const char *key;
    key_type type;
    size_t at;
    double least, most;
} key_row;

#define AT(field) offsetof(px_endpoint, field)
/* clang-format off */
static const key_row rows[] = {
    {"url", IS_TEXT, AT(url), 0, 0},
    {"model", IS_TEXT, AT(model), 0, 0},
    {"key_env", IS_TEXT, AT(key_env), 0, 0},
    {"key_over_http", IS_BOOL, AT(key_over_http), 0, 0},
    {"ca_file", IS_TEXT, AT(ca_file), 0, 0},
    {"socket", IS_TEXT, AT(socket), 0, 0},
    {"concurrency", IS_I64, AT(concurrency), 1, 1024},
    {"timeout_s", IS_F64, AT(timeout_s), 0.01, 86400},
    {"max_retries", IS_I64, AT(max_retries), 0, 100},
    {"backoff_s", IS_F64, AT(backoff_s), 0.001, 3600},
    {"max_reply_bytes", IS_I64, AT(max_reply_bytes), 1, 1 << 30},
    {"max_calls", IS_I64, AT(max_calls), 0, 1e15},
    {"max_usd", IS_F64, AT(max_usd), 0, 1e9},
    {"usd_per_million_prompt", IS_F64, AT(usd_prompt), 0, 1e9},
    {"usd_per_million_completion", IS_F64, AT(usd_completion), 0, 1e9},
    {"cache", IS_TEXT, AT(cache), 0, 0},
    {"max_tokens_key", IS_OTHER, 0, 0, 0},
    {"extra", IS_OTHER, 0, 0, 0},
};
/* clang-format on */

static px_err *unknown_key(const char *key, const char *where) {
    static const char *const secrets[] = {"key", "api_key", "apikey", "token", "authorization"};
    const char *names[PX_COUNT(rows)];
    for (size_t i = 0; i < PX_COUNT(secrets); i++)
        if (!strcasecmp(key, secrets[i]))
            PX_FAIL(PX_BAD_INPUT,
                    "%s: \"%s\": a key does not stand in a file; put it into an environment "
                    "variable and name that in \"key_env\"",
                    where, key);
    for (size_t i = 0; i < PX_COUNT(rows); i++) names[i] = rows[i].key;
    int near = px_nearest(key, names, (int)PX_COUNT(rows));
    PX_FAIL(PX_BAD_INPUT, "%s: no endpoint has a key \"%s\"%s%s%s", where, key,
            near >= 0 ? "; did you mean \"" : "", near >= 0 ? names[near] : "",
            near >= 0 ? "\"?" : "");
}

static px_err *value_read(const cJSON *json, const key_row *row, const char *where,
                          px_endpoint *out) {
    void *to = (char *)out + row->at;
    const char *text = NULL;
    double value = 0;
    switch (row->type) {
    case IS_TEXT:
        PX_PASS(px_json_text(json, row->key, where, &text));
        if (!*text) PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is empty", where, row->key);
        free(*(char **)to);
        *(char **)to = strdup(text);
        if (!*(char **)to) PX_NO_MEMORY();
        return NULL;
    case IS_I64:
        return px_json_i64(json, row->key, where, (int64_t)row->least, (int64_t)row->most, to);
    case IS_F64:
        PX_PASS(px_json_f64(json, row->key, where, &value));
        if (!(value >= row->least && value <= row->most))
            PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %g, wanted %g to %g", where, row->key, value,
                    row->least, row->most);
        *(double *)to = value;
        return NULL;
    case IS_BOOL:
        return px_json_bool(json, row->key, where, to);
    default:
        return NULL;
    }
}

static px_err *others_read(const cJSON *json, const char *where, px_endpoint *out) {
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(json, "extra");
    out->max_tokens_key = "max_tokens";
    if (cJSON_GetObjectItemCaseSensitive(json, "max_tokens_key")) {
        static const char *const names[] = {"max_tokens", "max_completion_tokens"};
        const char *name = NULL;
        PX_PASS(px_json_text(json, "max_tokens_key", where, &name));
        if (strcmp(name, names[0]) != 0 && strcmp(name, names[1]) != 0)
            PX_FAIL(PX_BAD_INPUT, "%s: \"max_tokens_key\" is \"%s\", wanted \"%s\" or \"%s\"",
                    where, name, names[0], names[1]);
        out->max_tokens_key = names[strcmp(name, names[0]) != 0];
    }
    if (!extra) return NULL;
    PX_PASS(px_extra_check(extra, where));
    out->extra = cJSON_Duplicate(extra, 1);
    if (!out->extra) PX_NO_MEMORY();
    return NULL;
}

static bool host_is_loopback(const char *host) {
    return !strcmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
}

/* Scheme, host and nothing secret; *plain: unencrypted to another machine. The text of a refused
 * url is not shown: it may hold a password. */
static px_err *url_check(CURLU *parts, const char *url, const char *where, bool *plain) {
    char *scheme = NULL, *host = NULL, *user = NULL, *query = NULL;
    px_err *err = NULL;
    if (curl_url_set(parts, CURLUPART_URL, url, 0) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        PX_FAIL_TO(done, PX_BAD_INPUT,
                   "%s: \"url\" is no address, wanted such as \"https://host/v1\"", where);
    if (!curl_url_get(parts, CURLUPART_USER, &user, 0))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: \"url\" holds a user name; name a key in \"key_env\"",
                   where);
    if (!curl_url_get(parts, CURLUPART_QUERY, &query, 0) || strchr(url, '#'))
        PX_FAIL_TO(done, PX_BAD_INPUT,
                   "%s: \"url\" holds '?' or '#', wanted such as "
                   "\"https://host/v1\"",
                   where);
    *plain = !strcmp(scheme, "http") && !host_is_loopback(host);
done:
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    return err;
}

/* The address of the one route that is used. */
static px_err *url_complete(px_endpoint *out) {
    static const char route[] = "/chat/completions";
    size_t n = strlen(out->url);
    while (n && out->url[n - 1] == '/') out->url[--n] = 0;
    if (n >= sizeof route && !strcmp(out->url + n - (sizeof route - 1), route)) return NULL;
    char *whole = NULL;
    if (asprintf(&whole, "%s%s", out->url, route) < 0) PX_NO_MEMORY();
    free(out->url);
    out->url = whole;
    return NULL;
}

static px_err *key_read(const char *where, px_endpoint *out) {
    if (!out->key_env) return NULL;
    const char *key = getenv(out->key_env);
    if (!key || !*key)
        PX_FAIL(PX_BAD_INPUT, "%s: the environment variable %s, which is to hold the key, is %s",
                where, out->key_env, key ? "empty" : "not set");
    for (const char *c = key; *c; c++)
        if (*c <= 0x20 || *c >= 0x7f)
            PX_FAIL(PX_BAD_INPUT,
                    "%s: the environment variable %s holds a space, a line break or another "
                    "character that no key has",
                    where, out->key_env);
    out->key = strdup(key);
    if (!out->key) PX_NO_MEMORY();
    return NULL;
}

static px_err *all_read(const cJSON *json, const char *where, px_endpoint *out) {
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: an endpoint is %s, wanted an object", where, px_json_type(json));
    for (const cJSON *field = json->child; field; field = field->next) {
        const key_row *row = NULL;
        for (size_t i = 0; !row && i < PX_COUNT(rows); i++)
            if (!strcmp(rows[i].key, field->string)) row = &rows[i];
        if (!row) return unknown_key(field->string, where);
        if (cJSON_GetObjectItemCaseSensitive(json, field->string) != field)
            PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" stands there twice", where, field->string);
        PX_PASS(value_read(json, row, where, out));
    }
    const char *text = NULL;
    if (!out->url) return px_json_text(json, "url", where, &text);
    if (!out->model) return px_json_text(json, "model", where, &text);
    PX_PASS(others_read(json, where, out));
    if (out->max_usd > 0 && !(cJSON_GetObjectItemCaseSensitive(json, "usd_per_million_prompt") &&
                              cJSON_GetObjectItemCaseSensitive(json, "usd_per_million_completion")))
        PX_FAIL(PX_BAD_INPUT,
                "%s: \"max_usd\" wants the prices, \"usd_per_million_prompt\" and "
                "\"usd_per_million_completion\"",
                where);
    out->usd_prompt /= 1e6;
    out->usd_completion /= 1e6;
    return NULL;
}

static px_err *headers_make(px_endpoint *out) {
    const char *const fixed[] = {"Content-Type: application/json", "Accept: application/json",
                                 "Expect:"};
    px_str line = {0};
    for (size_t i = 0; i <= PX_COUNT(fixed); i++) {
        px_str_clear(&line);
        if (i < PX_COUNT(fixed))
            px_str_text(&line, fixed[i]);
        else if (out->key)
            px_str_format(&line, "Authorization: Bearer %s", out->key);
        else
            continue;
        px_err *err = px_str_ok(&line);
        struct curl_slist *longer = err ? NULL : curl_slist_append(out->headers, line.data);
        if (line.data) explicit_bzero(line.data, line.size);
        if (!longer) {
            px_str_free(&line);
            px_err_free(err);
            PX_NO_MEMORY();
        }
        out->headers = longer;
    }
    px_str_free(&line);
    return NULL;
}

static px_err *hash_endpoint(px_endpoint *out) {
    px_sha *sha = NULL;
    px_str extra = {0};
    if (out->extra) px_json_print(out->extra, &extra);
    px_err *err = px_str_ok(&extra);
    if (!err) err = px_sha_new(&sha);
    if (!err) {
        px_sha_text(sha, out->url);
        px_sha_text(sha, out->model);
        px_sha_text(sha, extra.data ? extra.data : "");
        err = px_sha_end(sha, &out->sha256);
    }
    px_str_free(&extra);
    return err;
}

static px_err *endpoint_fill(const cJSON *json, const char *where, px_endpoint *out) {
    bool plain = false;
    PX_PASS(all_read(json, where, out));
    CURLU *parts = curl_url();
    if (!parts) PX_NO_MEMORY();
    px_err *err = url_check(parts, out->url, where, &plain);
    curl_url_cleanup(parts);
    if (err) return err;
    PX_PASS(url_complete(out));
    PX_PASS(key_read(where, out));
    if (plain && out->key && !out->socket && !out->key_over_http)
        PX_FAIL(PX_BAD_INPUT,
                "%s: the key would go unencrypted over the network to %s; use https, or say "
                "\"key_over_http\": true",
                where, out->url);
    if (out->ca_file && (!px_path_exists(out->ca_file) || px_path_is_dir(out->ca_file)))
        PX_FAIL(PX_BAD_INPUT, "%s: \"ca_file\": %s: no such file", where, out->ca_file);
    if (out->cache) PX_TRY(px_dir_make(out->cache), "%s: \"cache\"", where);
    PX_PASS(headers_make(out));
    PX_PASS(hash_endpoint(out));
    out->multi = curl_multi_init();
    if (!out->multi) PX_NO_MEMORY();
    curl_multi_setopt(out->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)out->concurrency);
    curl_multi_setopt(out->multi, CURLMOPT_MAXCONNECTS, (long)out->concurrency);
    return NULL;
}

px_err *px_endpoint_open(const cJSON *json, const char *where, px_endpoint **out) {
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code) PX_FAIL(PX_RUN_FAILED, "libcurl: %s", curl_easy_strerror(code));
    px_endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint) {
        curl_global_cleanup();
        PX_NO_MEMORY();
    }
    endpoint->concurrency = 8;
    endpoint->timeout_s = 120;
    endpoint->max_retries = 3;
    endpoint->backoff_s = 1;
    endpoint->max_reply_bytes = 4 << 20;
    px_err *err = endpoint_fill(json, where, endpoint);
    if (err)
        px_endpoint_close(endpoint);
    else
        *out = endpoint;
    return err;
}

static void calls_free(px_endpoint *endpoint, px_calls *calls) {
    for (px_call *call = calls->first, *next; call; call = next) {
        next = call->next;
        if (call->curl) curl_multi_remove_handle(endpoint->multi, call->curl);
        px_call_free(call);
    }
}

void px_endpoint_close(px_endpoint *endpoint) {
    if (!endpoint) return;
    calls_free(endpoint, &endpoint->ready);
    calls_free(endpoint, &endpoint->waiting);
    calls_free(endpoint, &endpoint->flying);
    if (endpoint->multi) curl_multi_cleanup(endpoint->multi);
    for (struct curl_slist *h = endpoint->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(endpoint->headers);
    if (endpoint->key) explicit_bzero(endpoint->key, strlen(endpoint->key));
    char *const texts[] = {endpoint->url,     endpoint->model,  endpoint->key,  endpoint->key_env,
                           endpoint->ca_file, endpoint->socket, endpoint->cache};
    for (size_t i = 0; i < PX_COUNT(texts); i++) free(texts[i]);
    cJSON_Delete(endpoint->extra);
    free(endpoint);
    curl_global_cleanup();
}

void px_endpoint_share(px_endpoint *endpoint, int part, int parts) {
    const int64_t calls = endpoint->max_calls;
    if (calls > 0) endpoint->max_calls = calls / parts + (part < calls % parts);
    if (calls > 0 && endpoint->max_calls == 0) endpoint->over = true; /* 0 would be no limit */
    endpoint->max_usd /= parts;
}

const char *px_endpoint_model(const px_endpoint *endpoint) { return endpoint->model; }

const char *px_endpoint_sha256(const px_endpoint *endpoint) { return endpoint->sha256.hex; }

int64_t px_endpoint_left(const px_endpoint *endpoint) {
    return endpoint->ready.n + endpoint->waiting.n + endpoint->flying.n;
}

px_endpoint_totals px_endpoint_sums(const px_endpoint *endpoint) { return endpoint->sums; }
