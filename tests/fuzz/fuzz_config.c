/* fuzz_config.c - a configuration from JSON (first byte '{') or from options, one a line. What is
 * taken prints to a configuration that does not differ. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fuzz.h"

static bool take_options(px_config *config, const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return false;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    bool any = false;
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        any |= px_fuzz_opened(px_config_set(config, line));
        line = end ? end + 1 : NULL;
    }
    free(text);
    return any;
}

static bool take_json(px_config *config, const uint8_t *data, size_t size) {
    cJSON *json = NULL;
    if (!px_fuzz_opened(px_json_parse((const char *)data, size, &json))) return false;
    bool taken = px_fuzz_opened(px_config_take(config, json, "fuzz.json"));
    cJSON_Delete(json);
    return taken;
}

static void prints_the_same(const px_config *config) {
    px_str first = {0}, second = {0};
    px_config again;
    PX_FUZZ_HOLDS(!px_config_init(&again));
    px_config_print(config, &first);
    PX_FUZZ_HOLDS(!px_str_ok(&first));
    PX_FUZZ_HOLDS(take_json(&again, (const uint8_t *)first.data, first.size));
    PX_FUZZ_HOLDS(!px_config_differs(config, &again));
    px_config_print(&again, &second);
    PX_FUZZ_HOLDS(first.size == second.size && !memcmp(first.data, second.data, first.size));
    px_config_fini(&again);
    px_str_free(&first);
    px_str_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    px_config config;
    px_log_setup(0, PX_LOG_ERROR); /* warnings about keys without effect would flood */
    PX_FUZZ_HOLDS(!px_config_init(&config));
    bool taken =
        size && data[0] == '{' ? take_json(&config, data, size) : take_options(&config, data, size);
    if (taken) {
        prints_the_same(&config);
        px_fuzz_opened(px_config_check(&config));
    }
    px_config_fini(&config);
    return 0;
}
