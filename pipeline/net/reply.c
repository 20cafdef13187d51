/* reply.c - what an endpoint sent, read strictly: an answer that is not wholly there is an error
 * that says what was expected. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_internal.h"

#define KEY_MIN 8       /* a shorter "key" is a stand-in and would be found in any text */
#define MESSAGE_MAX 300 /* bytes of an endpoint's own words that an error shows */

/* A copy of text without the key. */
static px_err *copy_text(const px_endpoint *endpoint, const char *text, const char **out) {
    px_str copy = {0};
    px_str_text(&copy, text);
    if (endpoint->key && strlen(endpoint->key) >= KEY_MIN) px_scrub_key(endpoint, &copy);
    if (!copy.data) px_str_add(&copy, "", 0);
    px_err *err = px_str_ok(&copy);
    if (err)
        px_str_free(&copy);
    else
        *out = copy.data;
    return err;
}

static px_err *choice_read(const px_call *call, const cJSON *item, int i, bool *withheld,
                           px_choice *out) {
    char where[64];
    const char *text = NULL, *finish = NULL;
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(item, "message");
    snprintf(where, sizeof where, "reply, choices[%d].message", i);
    if (!cJSON_IsObject(message))
        PX_FAIL(PX_RUN_FAILED, "reply: choices[%d].message is %s, wanted an object", i,
                message ? px_json_type(message) : "missing");
    PX_PASS(px_json_text(message, "content", where, &text));
    snprintf(where, sizeof where, "reply, choices[%d]", i);
    PX_PASS(px_json_text(item, "finish_reason", where, &finish));
    if (!*finish)
        PX_FAIL(PX_RUN_FAILED,
                "%s: \"finish_reason\" is empty: is the answer whole, or was it cut?", where);
    if (!strcmp(finish, "content_filter")) {
        *withheld = true;
        PX_FAIL(PX_RUN_FAILED, "the endpoint's content filter withheld the answer");
    }
    PX_PASS(copy_text(call->endpoint, text, &out->text));
    return copy_text(call->endpoint, finish, &out->finish);
}

/* A whole number from 0, or -1. */
static int64_t count_read(const cJSON *usage, const char *key) {
    double value = px_json_find_f64(usage, key, -1);
    return value >= 0 && value < 1e15 && value == floor(value) ? (int64_t)value : -1;
}

/* choices by their own index, where they have one: some endpoints send them as they end. */
static px_err *choices_read(const px_call *call, const cJSON *choices, px_answer *out) {
    int at = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, choices) {
        double index = px_json_find_f64(item, "index", at);
        int i = index >= 0 && index < call->n && index == floor(index) ? (int)index : -1;
        if (i < 0 || out->choices[i].text)
            PX_FAIL(PX_RUN_FAILED, "reply: choices[%d].index is none of 0 to %d, or there twice",
                    at, call->n - 1);
        PX_PASS(choice_read(call, item, at, &out->withheld, &out->choices[i]));
        at++;
    }
    return NULL;
}

static px_err *answer_read(const px_call *call, const cJSON *json, px_answer *out) {
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(json, "choices");
    if (!cJSON_IsArray(choices))
        PX_FAIL(PX_RUN_FAILED,
                "reply: \"choices\" is %s, wanted a list (the answer of /chat/completions)",
                choices ? px_json_type(choices) : "missing");
    int found = cJSON_GetArraySize(choices);
    if (found != call->n)
        PX_FAIL(PX_RUN_FAILED, "reply: \"choices\" has %d entries, wanted %d", found, call->n);
    out->choices = calloc((size_t)call->n, sizeof *out->choices);
    if (!out->choices) PX_NO_MEMORY();
    out->n = call->n;
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(json, "usage");
    out->prompt_tokens = count_read(usage, "prompt_tokens");
    out->new_tokens = count_read(usage, "completion_tokens");
    return choices_read(call, choices, out);
}

px_err *px_answer_parse(const px_call *call, px_answer *out) {
    cJSON *json = NULL;
    px_str says = {0};
    px_answer answer = {0};
    px_err *err = px_json_parse(call->reply.data ? call->reply.data : "", call->reply.size, &json);
    if (err) { /* the parser's text holds a place and no words of the reply */
        err = px_err_add(err, __FILE__, __LINE__,
                         "reply is no JSON, wanted the answer of /chat/completions");
        goto done;
    }
    if (!cJSON_IsObject(json))
        PX_FAIL_TO(done, PX_RUN_FAILED, "reply: %s, wanted an object with \"choices\"",
                   px_json_type(json));
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (error && !cJSON_IsNull(error)) {
        px_error_message(call, &says);
        PX_FAIL_TO(done, PX_RUN_FAILED, "the endpoint reports an error: %s",
                   says.data ? says.data : "(without words)");
    }
    PX_PASS_TO(done, answer_read(call, json, &answer));
    *out = answer;
    answer = (px_answer){0};
done:
    if (err) out->withheld = answer.withheld;
    px_answer_free(&answer);
    px_str_free(&says);
    cJSON_Delete(json);
    return err;
}

void px_answer_free(px_answer *answer) {
    for (int i = 0; i < answer->n; i++) {
        free((char *)(uintptr_t)answer->choices[i].text);
        free((char *)(uintptr_t)answer->choices[i].finish);
    }
    free(answer->choices);
    *answer = (px_answer){0};
}

/* {"error": {"message": …}}, {"error": …}, {"message": …}, {"detail": …}: all are about. */
static const char *message_find(const cJSON *json) {
    static const char *const keys[] = {"message", "detail", "error"};
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *at = cJSON_IsObject(error) ? error : json;
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        if (px_json_find_text(at, keys[i])) return px_json_find_text(at, keys[i]);
    return NULL;
}

void px_error_message(const px_call *call, px_str *out) {
    cJSON *json = NULL;
    px_err *err = px_json_parse(call->reply.data ? call->reply.data : "", call->reply.size, &json);
    const char *message = err ? NULL : message_find(json);
    if (message) px_str_text(out, message);
    px_err_free(err);
    cJSON_Delete(json);
    px_scrub_key(call->endpoint, out);
    px_scrub_echo(call, out);
    px_str shown = {0};
    for (size_t at = 0; at < out->size;) { /* whole characters, no line breaks */
        int length = 1;
        int32_t c = px_utf8_get(out->data + at, out->size - at, &length);
        if (at + (size_t)length > MESSAGE_MAX) {
            px_str_text(&shown, "…");
            break;
        }
        if (c < 0x20 || c == 0x7f)
            px_str_char(&shown, ' ');
        else
            px_str_add(&shown, out->data + at, (size_t)length);
        at += (size_t)length;
    }
    px_str_free(out);
    *out = shown;
}
