/* call.c - a request as the JSON that is sent, the same bytes for the same request, and the key of
 * the cache. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_internal.h"

#define CACHE_FORMAT "prismx-chat-1"

px_err *px_extra_check(const cJSON *extra, const char *where) {
    static const char *const own[] = {
        "model", "messages",   "temperature",           "top_p",  "n", "seed",
        "stop",  "max_tokens", "max_completion_tokens", "stream",
    };
    if (!extra) return NULL;
    if (!cJSON_IsObject(extra))
        PX_FAIL(PX_BAD_INPUT, "%s: \"extra\" is %s, wanted an object", where, px_json_type(extra));
    for (const cJSON *field = extra->child; field; field = field->next)
        for (size_t i = 0; i < PX_COUNT(own); i++)
            if (!strcmp(field->string, own[i]))
                PX_FAIL(PX_BAD_INPUT, "%s: \"extra\" may not hold \"%s\", which is set elsewhere",
                        where, own[i]);
    return NULL;
}

static void add_number(px_str *out, const char *key, double value) {
    if (isnan(value)) return;
    px_str_format(out, ",\"%s\":", key);
    px_str_double(out, value);
}

static void add_messages(const px_chat *chat, px_call *call) {
    px_str *out = &call->body;
    call->messages_at = out->size;
    for (int i = 0; i < chat->n_messages; i++) {
        const px_chat_message *m = &chat->messages[i];
        px_str_text(out, i ? ",{\"role\":" : "{\"role\":");
        px_str_json(out, m->role, strlen(m->role));
        px_str_text(out, ",\"content\":");
        px_str_json(out, m->text, m->size);
        px_str_char(out, '}');
    }
    call->messages_size = out->size - call->messages_at;
}

/* Fields of extra; those that `over` has as well are left to it. */
static void add_extra(px_str *out, const cJSON *extra, const cJSON *over) {
    for (const cJSON *field = extra ? extra->child : NULL; field; field = field->next) {
        if (over && cJSON_GetObjectItemCaseSensitive(over, field->string)) continue;
        px_str_char(out, ',');
        px_str_json(out, field->string, strlen(field->string));
        px_str_char(out, ':');
        px_json_print(field, out);
    }
}

static void write_body(const px_endpoint *endpoint, const px_chat *chat, px_call *call) {
    px_str *out = &call->body;
    px_str_text(out, "{\"model\":");
    px_str_json(out, endpoint->model, strlen(endpoint->model));
    px_str_text(out, ",\"messages\":[");
    add_messages(chat, call);
    px_str_char(out, ']');
    add_number(out, "temperature", chat->temperature);
    add_number(out, "top_p", chat->top_p);
    if (chat->max_tokens > 0)
        px_str_format(out, ",\"%s\":%lld", endpoint->max_tokens_key, (long long)chat->max_tokens);
    if (chat->seed >= 0) px_str_format(out, ",\"seed\":%lld", (long long)chat->seed);
    if (chat->n > 1) px_str_format(out, ",\"n\":%d", chat->n);
    for (int i = 0; i < chat->n_stop; i++) {
        px_str_text(out, i ? "," : ",\"stop\":[");
        px_str_json(out, chat->stop[i], strlen(chat->stop[i]));
    }
    if (chat->n_stop > 0) px_str_char(out, ']');
    add_extra(out, endpoint->extra, chat->extra);
    add_extra(out, chat->extra, NULL);
    px_str_char(out, '}');
}

static px_err *hash_key(const px_endpoint *endpoint, const px_chat *chat, px_call *call) {
    px_sha *sha = NULL;
    char sample[32];
    PX_PASS(px_sha_new(&sha));
    snprintf(sample, sizeof sample, "%lld", (long long)chat->sample);
    px_sha_text(sha, CACHE_FORMAT);
    px_sha_text(sha, endpoint->url);
    px_sha_text(sha, sample);
    px_sha_text(sha, call->body.data);
    return px_sha_end(sha, &call->key);
}

/* A token is at least a byte of the text, and a template puts a few around each message. Where the
 * answer has no limit, the dearest call so far has to do. */
static double most_usd(const px_endpoint *endpoint, const px_chat *chat, const px_call *call) {
    double prompt = (double)call->messages_size + 16.0 * chat->n_messages;
    double usd = prompt * endpoint->usd_prompt;
    if (chat->max_tokens <= 0) return fmax(usd, endpoint->largest_usd);
    return usd + (double)chat->max_tokens * chat->n * endpoint->usd_completion;
}

px_err *px_call_new(px_endpoint *endpoint, const px_chat *chat, px_call **out) {
    if (chat->n_messages < 1) PX_FAIL(PX_BAD_INPUT, "a request without messages");
    if (chat->n < 1) PX_FAIL(PX_BAD_INPUT, "a request for %d choices, wanted 1 or more", chat->n);
    PX_PASS(px_extra_check(chat->extra, "request"));
    px_call *call = calloc(1, sizeof *call);
    if (!call) PX_NO_MEMORY();
    px_err *err = NULL;
    call->endpoint = endpoint;
    call->tag = chat->tag;
    call->n = chat->n;
    write_body(endpoint, chat, call);
    PX_PASS_TO(fail, px_str_ok(&call->body));
    PX_PASS_TO(fail, hash_key(endpoint, chat, call));
    call->most_usd = most_usd(endpoint, chat, call);
    *out = call;
    return NULL;
fail:
    px_call_free(call);
    return err;
}

void px_call_free(px_call *call) {
    if (!call) return;
    if (call->curl) curl_easy_cleanup(call->curl);
    px_str_free(&call->body);
    px_str_free(&call->reply);
    free(call);
}
