/* request.c - the body of POST /v1/chat/completions. What would change an answer and is not known
 * here is refused; what would not is passed over, and the reply names it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

typedef enum { IS_F64, IS_I64, IS_BOOL, IS_OTHER, IS_OFF } field_type;
/* IS_OFF: known, has an effect elsewhere and none here: only its neutral value is accepted. */
typedef struct {
    const char *name;
    field_type type;
    size_t at;
    double least, most;
} field_row;

#define AT(field) offsetof(px_chat_request, field)
#define HUGE_COUNT 1e9
/* clang-format off */
static const field_row rows[] = {
    {"model", IS_OTHER, 0, 0, 0},
    {"messages", IS_OTHER, 0, 0, 0},
    {"user", IS_OTHER, 0, 0, 0},
    {"stop", IS_OTHER, 0, 0, 0},
    {"seed", IS_OTHER, 0, 0, 0},
    {"n", IS_OTHER, 0, 0, 0},
    {"max_tokens", IS_OTHER, 0, 0, 0},
    {"max_completion_tokens", IS_OTHER, 0, 0, 0},
    {"top_logprobs", IS_OTHER, 0, 0, 0},
    {"stream_options", IS_OTHER, 0, 0, 0},
    {"metadata", IS_OTHER, 0, 0, 0},
    {"stream", IS_BOOL, AT(stream), 0, 0},
    {"logprobs", IS_BOOL, AT(logprobs), 0, 0},
    {"ignore_eos", IS_BOOL, AT(how.ignore_eos), 0, 0},
    {"temperature", IS_F64, AT(how.temperature), 0, 100},
    {"top_p", IS_F64, AT(how.top_p), 1e-6, 1},
    {"min_p", IS_F64, AT(how.min_p), 0, 1},
    {"repetition_penalty", IS_F64, AT(how.repetition_penalty), 0.01, 100},
    {"top_k", IS_I64, AT(how.top_k), 0, HUGE_COUNT},
    {"no_repeat_ngram", IS_I64, AT(how.no_repeat_ngram), 0, HUGE_COUNT},
    {"min_tokens", IS_I64, AT(how.min_new_tokens), 0, HUGE_COUNT},
    {"frequency_penalty", IS_OFF, 0, 0, 0},
    {"presence_penalty", IS_OFF, 0, 0, 0},
    {"logit_bias", IS_OFF, 0, 0, 0},
    {"tools", IS_OFF, 0, 0, 0},
    {"functions", IS_OFF, 0, 0, 0},
    {"response_format", IS_OTHER, 0, 0, 0},
};
/* clang-format on */

px_chat_limits px_chat_limits_default(int64_t max_new_tokens) {
    return (px_chat_limits){.how = {.temperature = 1,
                                    .top_p = 1,
                                    .repetition_penalty = 1,
                                    .max_new_tokens = PX_MIN(max_new_tokens, 512)},
                            .max_new_tokens = max_new_tokens,
                            .max_n = 16,
                            .max_messages = 1024};
}

static const cJSON *field_of(const cJSON *json, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNull(item) ? NULL : item; /* null is the same as absent */
}

/* null, false, 0, "", [] and {} change nothing; nor does {"type": "text"}. */
static bool is_neutral(const cJSON *item) {
    const char *type = px_json_find_text(item, "type");
    if (cJSON_IsNumber(item)) return item->valuedouble == 0;
    if (cJSON_IsString(item)) return !*item->valuestring;
    if (type && !strcmp(type, "text")) return true;
    return !item->child && !cJSON_IsTrue(item);
}

static px_err *field_read(const cJSON *item, const field_row *row, px_chat_request *out) {
    void *to = (char *)out + row->at;
    char least[32], most[32];
    switch (row->type) {
    case IS_BOOL:
        if (!cJSON_IsBool(item)) break;
        *(bool *)to = cJSON_IsTrue(item);
        return NULL;
    case IS_F64:
        if (!cJSON_IsNumber(item)) break;
        if (item->valuedouble >= row->least && item->valuedouble <= row->most) {
            *(double *)to = item->valuedouble;
            return NULL;
        }
        PX_FAIL(PX_BAD_INPUT, "\"%s\" is to be from %s to %s", row->name,
                px_double_text(row->least, least), px_double_text(row->most, most));
    case IS_I64:
        if (!cJSON_IsNumber(item)) break;
        if (item->valuedouble >= row->least && item->valuedouble <= row->most &&
            item->valuedouble == floor(item->valuedouble)) {
            *(int64_t *)to = (int64_t)item->valuedouble;
            return NULL;
        }
        PX_FAIL(PX_BAD_INPUT, "\"%s\" is to be a whole number from %s to %s", row->name,
                px_double_text(row->least, least), px_double_text(row->most, most));
    case IS_OFF:
        if (is_neutral(item)) return NULL;
        PX_FAIL(PX_BAD_INPUT, "\"%s\" has no effect here and can only be left out", row->name);
    default:
        return NULL;
    }
    PX_FAIL(PX_BAD_INPUT, "\"%s\" is %s, wanted %s", row->name, px_json_type(item),
            row->type == IS_BOOL ? "true or false" : "a number");
}

static px_err *whole_field(const cJSON *json, const char *name, int64_t least, int64_t most,
                           int64_t *out) {
    const cJSON *item = field_of(json, name);
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!item) return NULL;
    if (value >= (double)least && value <= (double)most && value == floor(value)) {
        *out = (int64_t)value;
        return NULL;
    }
    PX_FAIL(PX_BAD_INPUT, "\"%s\" is to be a whole number from %lld to %lld", name,
            (long long)least, (long long)most);
}

static px_err *text_field(const cJSON *json, const char *name, const char **out) {
    const cJSON *item = field_of(json, name);
    if (item && !cJSON_IsString(item))
        PX_FAIL(PX_BAD_INPUT, "\"%s\" is %s, wanted a string", name, px_json_type(item));
    if (item) *out = item->valuestring;
    return NULL;
}

/* --- messages --- */
/* A content of parts, [{"type": "text", "text": …}], as one text. */
static px_err *parts_join(const cJSON *parts, int at, px_chat_request *out, px_message *message) {
    size_t size = 0;
    const cJSON *part = NULL;
    cJSON_ArrayForEach(part, parts) {
        const char *type = px_json_find_text(part, "type"), *text = px_json_find_text(part, "text");
        if (!type || strcmp(type, "text") != 0 || !text)
            PX_FAIL(PX_BAD_INPUT, "messages[%d]: only parts of \"type\": \"text\" are accepted",
                    at);
        size += strlen(text);
    }
    char *joined = px_take(out->arena, char, size + 1);
    if (!joined) return px_arena_ok(out->arena);
    message->text = joined;
    message->size = size;
    cJSON_ArrayForEach(part, parts) {
        const char *text = px_json_find_text(part, "text");
        const size_t n = strlen(text);
        memcpy(joined, text, n);
        joined += n;
    }
    return NULL;
}

static px_err *message_read(const cJSON *item, int at, px_chat_request *out, px_message *message) {
    static const char *const roles[][2] = {{"system", "system"},
                                           {"developer", "system"},
                                           {"user", "user"},
                                           {"assistant", "assistant"}};
    const char *role = px_json_find_text(item, "role");
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(item, "content");
    for (size_t i = 0; role && i < PX_COUNT(roles); i++)
        if (!strcmp(role, roles[i][0])) message->role = roles[i][1];
    if (!message->role)
        PX_FAIL(PX_BAD_INPUT,
                "messages[%d]: \"role\" is to be system, developer, user or assistant", at);
    if (cJSON_IsArray(content)) return parts_join(content, at, out, message);
    if (!cJSON_IsString(content))
        PX_FAIL(PX_BAD_INPUT, "messages[%d]: \"content\" is %s, wanted a string", at,
                content ? px_json_type(content) : "missing");
    message->text = content->valuestring;
    message->size = strlen(content->valuestring);
    return NULL;
}

static px_err *messages_read(const px_chat_limits *limits, px_chat_request *out) {
    const cJSON *list = field_of(out->json, "messages"), *item = NULL;
    if (!cJSON_IsArray(list) || !list->child)
        PX_FAIL(PX_BAD_INPUT, "\"messages\" is to be a list of at least one message");
    const int n = cJSON_GetArraySize(list);
    if (n > limits->max_messages)
        PX_FAIL(PX_BAD_INPUT, "\"messages\" has %d entries, at most %lld are accepted", n,
                (long long)limits->max_messages);
    out->messages = px_take(out->arena, px_message, n);
    if (!out->messages) return px_arena_ok(out->arena);
    cJSON_ArrayForEach(item, list) {
        PX_PASS(message_read(item, out->n_messages, out, &out->messages[out->n_messages]));
        out->n_messages++;
    }
    return NULL;
}

/* --- the rest --- */
static px_err *stop_read(px_chat_request *out) {
    enum { STOPS = 16, BYTES = 1024 };
    const cJSON *stop = field_of(out->json, "stop"), *item = NULL;
    if (!stop) return NULL;
    const int n = cJSON_IsString(stop) ? 1 : cJSON_GetArraySize(stop);
    if (!cJSON_IsString(stop) && (!cJSON_IsArray(stop) || n > STOPS))
        PX_FAIL(PX_BAD_INPUT, "\"stop\" is to be a string or a list of at most %d", STOPS);
    out->stop = px_take(out->arena, const char *, PX_MAX(n, 1));
    if (!out->stop) return px_arena_ok(out->arena);
    for (item = cJSON_IsString(stop) ? stop : stop->child; out->n_stop < n; item = item->next) {
        if (!cJSON_IsString(item) || !*item->valuestring || strlen(item->valuestring) > BYTES)
            PX_FAIL(PX_BAD_INPUT, "\"stop\": strings of 1 to %d bytes are accepted", BYTES);
        out->stop[out->n_stop++] = item->valuestring;
    }
    return NULL;
}

static px_err *counts_read(const px_chat_limits *limits, px_chat_request *out) {
    int64_t n = 1, seed = -1, top = 0, *limit = &out->how.max_new_tokens;
    PX_PASS(whole_field(out->json, "n", 1, limits->max_n, &n));
    PX_PASS(whole_field(out->json, "max_tokens", 1, limits->max_new_tokens, limit));
    PX_PASS(whole_field(out->json, "max_completion_tokens", 1, limits->max_new_tokens, limit));
    PX_PASS(whole_field(out->json, "seed", -1, (int64_t)1 << 53, &seed));
    PX_PASS(whole_field(out->json, "top_logprobs", 0, PX_TOP_LOGPROBS, &top));
    if (out->how.min_new_tokens > *limit)
        PX_FAIL(PX_BAD_INPUT, "\"min_tokens\" is over the %lld tokens that the answer may have",
                (long long)*limit);
    if (top > 0 && !out->logprobs)
        PX_FAIL(PX_BAD_INPUT, "\"top_logprobs\" wants \"logprobs\": true");
    out->n = (int)n;
    out->top_logprobs = (int)top;
    out->seeded = seed >= 0;
    if (out->seeded) out->how.seed = (uint64_t)seed;
    /* The generator gives a token's own log-probability where it is asked for any. */
    out->how.logprobs = out->logprobs ? PX_MAX(top, 1) : 0;
    return NULL;
}

/* {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}} */
static px_err *format_read(px_chat_request *out) {
    const cJSON *format = field_of(out->json, "response_format");
    const char *type = px_json_find_text(format, "type");
    if (!format || is_neutral(format)) return NULL;
    if (!type || strcmp(type, "json_schema") != 0)
        PX_FAIL(PX_BAD_INPUT, "\"response_format\": \"type\" is to be text or json_schema");
    out->schema = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(format, "json_schema"), "schema");
    if (!cJSON_IsObject(out->schema))
        PX_FAIL(PX_BAD_INPUT, "\"response_format\": \"json_schema\" wants an object \"schema\"");
    return NULL;
}

static px_err *options_read(px_chat_request *out) {
    const cJSON *options = field_of(out->json, "stream_options"),
                *metadata = field_of(out->json, "metadata");
    out->stream_usage = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(options, "include_usage"));
    out->prompt_id = "";
    if (cJSON_IsObject(metadata))
        PX_TRY(text_field(metadata, "id", &out->prompt_id), "\"metadata\"");
    PX_PASS(format_read(out));
    PX_PASS(text_field(out->json, "model", &out->model));
    return text_field(out->json, "user", &out->user);
}

static px_err *fields_read(px_chat_request *out) {
    for (const cJSON *item = out->json->child; item; item = item->next) {
        const field_row *row = NULL;
        for (size_t i = 0; !row && i < PX_COUNT(rows); i++)
            if (!strcmp(rows[i].name, item->string)) row = &rows[i];
        if (row && !cJSON_IsNull(item)) {
            PX_PASS(field_read(item, row, out));
        } else if (!row) {
            if (out->ignored.size) px_str_char(&out->ignored, ',');
            px_str_json(&out->ignored, item->string, strlen(item->string));
        }
    }
    return px_str_ok(&out->ignored);
}

px_err *px_chat_request_parse(const char *body, size_t size, const px_chat_limits *limits,
                              px_chat_request *out) {
    *out = (px_chat_request){.how = limits->how};
    PX_TRY(px_json_parse(body, size, &out->json), "the request's body");
    if (!cJSON_IsObject(out->json))
        PX_FAIL(PX_BAD_INPUT, "the request's body is %s, wanted an object",
                px_json_type(out->json));
    PX_PASS(px_arena_new(4096, &out->arena));
    PX_PASS(fields_read(out));
    PX_PASS(messages_read(limits, out));
    PX_PASS(options_read(out));
    PX_PASS(stop_read(out));
    return counts_read(limits, out);
}

void px_chat_request_free(px_chat_request *request) {
    px_str_free(&request->ignored);
    px_arena_free(request->arena);
    cJSON_Delete(request->json);
    *request = (px_chat_request){0};
}
