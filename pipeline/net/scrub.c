/* scrub.c - what an endpoint sends back may repeat the key or a person's words; neither may reach a
 * log or an error's text. */
#include <string.h>

#include "net_internal.h"

#define ECHO_MIN 16 /* bytes in a row that count as a repetition; shorter ones are words */

static void replace(px_str *text, px_str *with) {
    px_str_free(text);
    *text = *with;
}

void px_scrub_key(const px_endpoint *endpoint, px_str *text) {
    const char *key = endpoint->key;
    if (!key || !text->size || !memmem(text->data, text->size, key, strlen(key))) return;
    px_str out = {0};
    const size_t n = strlen(key);
    for (size_t at = 0; at < text->size;) {
        if (text->size - at >= n && !memcmp(text->data + at, key, n)) {
            px_str_text(&out, "[key]");
            at += n;
        } else {
            px_str_char(&out, text->data[at++]);
        }
    }
    replace(text, &out);
}

void px_scrub_echo(const px_call *call, px_str *text) {
    const char *messages = call->body.data + call->messages_at;
    px_str out = {0};
    size_t hidden = 0; /* bytes before this are part of a repetition */
    for (size_t at = 0; at < text->size; at++) {
        if (at + ECHO_MIN <= text->size &&
            memmem(messages, call->messages_size, text->data + at, ECHO_MIN)) {
            if (at >= hidden) px_str_text(&out, "[text]");
            hidden = at + ECHO_MIN;
        }
        if (at >= hidden) px_str_char(&out, text->data[at]);
    }
    replace(text, &out);
}
