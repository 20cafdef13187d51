/* fuzz_chat.c - the body of a chat-completions request. What is accepted lies within the limits,
 * and every text of it can be read. */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const px_chat_limits limits = px_chat_limits_default(1000);
    px_chat_request r;
    size_t bytes = 0;
    if (px_fuzz_opened(px_chat_request_parse((const char *)data, size, &limits, &r))) {
        PX_FUZZ_HOLDS(r.n_messages >= 1 && r.n_messages <= limits.max_messages);
        for (int i = 0; i < r.n_messages; i++) {
            PX_FUZZ_HOLDS(strlen(r.messages[i].text) == r.messages[i].size);
            bytes += strlen(r.messages[i].role) + r.messages[i].size;
        }
        PX_FUZZ_HOLDS(r.n >= 1 && r.n <= limits.max_n);
        PX_FUZZ_HOLDS(r.how.max_new_tokens >= 1 && r.how.max_new_tokens <= 1000);
        PX_FUZZ_HOLDS(r.how.min_new_tokens <= r.how.max_new_tokens);
        PX_FUZZ_HOLDS(r.how.temperature >= 0 && r.how.top_p > 0 && r.how.top_p <= 1);
        PX_FUZZ_HOLDS(isfinite(r.how.repetition_penalty) && r.how.repetition_penalty > 0);
        PX_FUZZ_HOLDS((r.how.logprobs > 0) == r.logprobs && r.how.logprobs <= 20);
        for (int i = 0; i < r.n_stop; i++) PX_FUZZ_HOLDS(*r.stop[i]);
        bytes += strlen(r.prompt_id) + (r.user ? strlen(r.user) : 0) + r.ignored.size;
        PX_FUZZ_HOLDS(bytes <= 6 * size + 4096); /* \u00xx is the longest that a byte becomes */
    }
    px_chat_request_free(&r);
    return 0;
}
