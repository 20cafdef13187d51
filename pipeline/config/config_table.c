/* config_table.c - the table of keys as data, and what can be said of one key. */
#include "config_internal.h"

#include <stddef.h>
#include <string.h>

#define LIST(...)                                                                                  \
    {                                                                                              \
        (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), { __VA_ARGS__ }                   \
    }
#define DEFAULT_i64(value) .number = (double)(value)
#define DEFAULT_f64(value) .number = (value)
#define DEFAULT_bool(value) .number = (value)
#define DEFAULT_choice(value) .number = (value)
#define DEFAULT_words(value) .number = (value)
#define DEFAULT_text(value) .text = value
#define DEFAULT_object(value) .text = value
#define DEFAULT_f64s(value) .list = LIST value
#define RANGE_i64(low, high) .least = (double)(low), .most = PX_MIN((double)(high), WHOLE_MOST)
#define RANGE_f64(low, high) .least = (low), .most = (high)
#define RANGE_f64s(low, high) .least = (low), .most = (high)
#define RANGE_bool(low, high) .least = 0
#define RANGE_text(low, high) .least = 0
#define RANGE_object(low, high) .least = 0
#define RANGE_choice(low, high) .choices = high
#define RANGE_words(low, high) .choices = high
#define AFFECTS_R true
#define AFFECTS_N false
#define KEY(key, kind, name, value, low, high, results, meaning)                                   \
    {.path = (key),                                                                                \
     .type = KEY_##kind,                                                                           \
     .offset = offsetof(px_config, name),                                                          \
     DEFAULT_##kind(value),                                                                        \
     RANGE_##kind(low, high),                                                                      \
     .affects = AFFECTS_##results,                                                                 \
     .help = (meaning)},

const config_key config_keys[N_KEYS] = {PX_KEYS(KEY)};

int px_config_n_keys(void) { return N_KEYS; }

void *config_field(const px_config *config, int i) {
    return (char *)(uintptr_t)config + config_keys[i].offset;
}

int config_word_find(const char *choices, const char *word) {
    size_t n = strlen(word);
    int i = 0;
    for (const char *at = choices; *at; i++) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, word, n) == 0) return i;
        at += length + (at[length] == ' ');
    }
    return -1;
}

const char *config_word_at(const char *choices, int i, char out[32]) {
    const char *at = choices;
    for (; i > 0; i--) at += strcspn(at, " ") + 1;
    snprintf(out, 32, "%.*s", (int)strcspn(at, " "), at);
    return out;
}

int config_word_count(const char *choices) {
    int n = 1;
    for (const char *at = choices; (at = strchr(at, ' ')); at++) n++;
    return n;
}

static void add_words(const char *choices, px_str *out) {
    char word[32];
    int n = config_word_count(choices);
    for (int i = 0; i < n; i++)
        px_str_format(out, "%s%s", i ? ", " : "", config_word_at(choices, i, word));
}

static void add_range(const config_key *key, px_str *out) {
    if (key->type == KEY_i64 && key->most >= WHOLE_MOST)
        px_str_format(out, " from %lld to 2^53", (long long)key->least);
    else if (key->type == KEY_i64)
        px_str_format(out, " from %lld to %lld", (long long)key->least, (long long)key->most);
    else
        px_str_format(out, " from %g to %g", key->least, key->most);
}

void config_accepted(const config_key *key, px_str *out) {
    switch (key->type) {
    case KEY_i64:
        px_str_text(out, "a whole number");
        add_range(key, out);
        break;
    case KEY_f64:
        px_str_text(out, "a number");
        add_range(key, out);
        break;
    case KEY_bool:
        px_str_text(out, "true or false");
        break;
    case KEY_text:
        px_str_text(out, "a string");
        break;
    case KEY_object:
        px_str_text(out, "an object");
        break;
    case KEY_choice:
        px_str_text(out, "one of ");
        add_words(key->choices, out);
        break;
    case KEY_words:
        px_str_text(out, "a list of some of ");
        add_words(key->choices, out);
        break;
    case KEY_f64s:
        px_str_format(out, "a list of %d numbers, each from %g to below 1", (int)key->most,
                      key->least);
        break;
    }
}
