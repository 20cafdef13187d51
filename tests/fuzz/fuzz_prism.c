/* fuzz_prism.c - a line of conversations.jsonl in memory: it is counted as broken, or becomes a
 * conversation whose every part can be used. */
#include "fuzz.h"
#include "prism.h"

#include <string.h>

static size_t use(const px_prism_conv *conv) {
    size_t n = strlen(conv->id) + strlen(conv->user_id);
    PX_FUZZ_HOLDS(conv->n_usable <= conv->n_turns);
    for (int32_t t = 0; t < conv->n_turns; t++) {
        const px_prism_turn *turn = &conv->turns[t];
        n += strlen(turn->prompt);
        PX_FUZZ_HOLDS(turn->chosen >= -1 && turn->chosen < turn->n_answers);
        PX_FUZZ_HOLDS(t >= conv->n_usable || turn->chosen >= 0);
        for (int32_t i = 0; i < turn->n_answers; i++) {
            n += strlen(turn->answers[i].text);
            PX_FUZZ_HOLDS(turn->answers[i].score >= -1 && turn->answers[i].score <= 100);
        }
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    px_arena *arena;
    px_harms harms = {0}, strict = {.strict = true};
    cJSON *json = NULL;
    px_prism_conv conv;
    bool ok = false;
    px_cross *cross = NULL;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_arena_new(1 << 14, &arena)));
    PX_FUZZ_HOLDS(px_fuzz_opened(
        px_prism_conv_parse((const char *)data, size, 1, arena, &harms, &json, &conv, &ok)));
    PX_FUZZ_HOLDS(ok == (json != NULL));
    if (ok) {
        px_prism_facts facts = {0};
        PX_FUZZ_HOLDS(use(&conv) <= size);
        px_prism_facts_add(&facts, &conv);
        PX_FUZZ_HOLDS(px_fuzz_opened(px_cross_new(&cross)));
        PX_FUZZ_HOLDS(px_fuzz_opened(px_cross_add(cross, &conv)));
    }
    px_cross_free(cross);
    cJSON_Delete(json);
    json = NULL;
    px_arena_reset(arena, 0);
    if (px_fuzz_opened(
            px_prism_conv_parse((const char *)data, size, 1, arena, &strict, &json, &conv, &ok)))
        cJSON_Delete(json);
    else
        PX_FUZZ_HOLDS(!json);
    px_arena_free(arena);
    return 0;
}
