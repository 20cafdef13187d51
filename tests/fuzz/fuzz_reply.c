/* fuzz_reply.c - what an endpoint sends back, as an answer and as an error's words. An answer is
 * whole; neither holds the key. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "net_internal.h"

#define KEY "sk-0123456789"

static px_endpoint *endpoint;
static px_call *calls[2]; /* of one choice and of three */

static void open_once(void) {
    static const char text[] =
        "{\"url\":\"http://127.0.0.1/v1\",\"model\":\"m\",\"key_env\":\"K\"}";
    static const char words[] = "some words of a person";
    if (endpoint) return;
    cJSON *json = NULL;
    setenv("K", KEY, 1);
    PX_FUZZ_HOLDS(!px_json_parse(text, sizeof text - 1, &json));
    PX_FUZZ_HOLDS(!px_endpoint_open(json, "fuzz", &endpoint));
    cJSON_Delete(json);
    for (int i = 0; i < 2; i++) {
        px_chat_message m = {"user", words, sizeof words - 1};
        px_chat chat = {.messages = &m, .n_messages = 1, .seed = -1, .n = i ? 3 : 1};
        PX_FUZZ_HOLDS(!px_call_new(endpoint, &chat, &calls[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    open_once();
    for (int i = 0; i < 2; i++) {
        px_call *call = calls[i];
        px_answer answer = {0};
        px_str says = {0};
        px_str_clear(&call->reply);
        px_str_add(&call->reply, (const char *)data, size);
        px_err *err = px_answer_parse(call, &answer);
        PX_FUZZ_HOLDS(!err || (*px_err_text(err) && !strstr(px_err_text(err), KEY)));
        for (int k = 0; !err && k < call->n; k++) {
            PX_FUZZ_HOLDS(answer.choices[k].text && *answer.choices[k].finish);
            PX_FUZZ_HOLDS(!strstr(answer.choices[k].text, KEY));
        }
        px_err_free(err);
        px_answer_free(&answer);
        px_error_message(call, &says);
        PX_FUZZ_HOLDS(says.size < 400 && (!says.size || !strstr(says.data, KEY)));
        px_str_free(&says);
    }
    return 0;
}
