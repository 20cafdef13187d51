/* config.c - setting keys from files and options. See config.h. Every way in ends in set_key, the
 * only place that checks a value. */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

typedef struct {
    px_config *config;
    const char *where;
    uint8_t seen[N_KEYS]; /* by this source: twice is an error */
} source;

static void set_default(px_config *config, int i) {
    const config_key *key = &config_keys[i];
    void *field = config_field(config, i);
    switch (key->type) {
    case KEY_i64:
        *(int64_t *)field = (int64_t)key->number;
        break;
    case KEY_f64:
        *(double *)field = key->number;
        break;
    case KEY_bool:
        *(bool *)field = key->number != 0;
        break;
    case KEY_text:
    case KEY_object:
        *(const char **)field = key->text;
        break;
    case KEY_choice:
        *(int *)field = (int)key->number;
        break;
    case KEY_words:
        *(uint32_t *)field = (uint32_t)key->number;
        break;
    case KEY_f64s:
        *(px_f64_list *)field = key->list;
        break;
    }
}

px_err *px_config_init(px_config *config) {
    memset(config, 0, sizeof *config);
    PX_PASS(px_arena_new(4096, &config->arena));
    config->given = px_take(config->arena, uint8_t, N_KEYS);
    px_err *err = px_arena_ok(config->arena);
    if (err) px_config_fini(config);
    for (int i = 0; !err && i < N_KEYS; i++) set_default(config, i);
    return err;
}

void px_config_fini(px_config *config) {
    px_arena_free(config->arena);
    memset(config, 0, sizeof *config);
}

/* What stands there, in at most some 60 bytes. */
static void describe(const cJSON *item, px_str *out) {
    size_t size = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
    if (cJSON_IsString(item) && size <= 60)
        px_str_json(out, item->valuestring, size);
    else if (cJSON_IsNumber(item) || cJSON_IsBool(item))
        px_json_print(item, out);
    else
        px_str_text(out, px_json_type(item));
}

/* `stands`: "is", or "holds" for what is wrong inside a list. */
static px_err *refuse_as(const source *from, const config_key *key, const char *stands,
                         const cJSON *item) {
    px_str found = {0}, wanted = {0};
    describe(item, &found);
    config_accepted(key, &wanted);
    px_err *err = px_str_ok(&found);
    if (!err) err = px_str_ok(&wanted);
    if (!err)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: %s %s %s, wanted %s", from->where,
                         key->path, stands, found.data, wanted.data);
    px_str_free(&found);
    px_str_free(&wanted);
    return err;
}

static px_err *refuse(const source *from, const config_key *key, const cJSON *item) {
    return refuse_as(from, key, "is", item);
}

static px_err *set_words(const source *from, const config_key *key, const cJSON *item,
                         uint32_t *out) {
    uint32_t set = 0;
    if (!cJSON_IsArray(item)) return refuse(from, key, item);
    for (const cJSON *word = item->child; word; word = word->next) {
        int at = cJSON_IsString(word) ? config_word_find(key->choices, word->valuestring) : -1;
        if (at < 0) return refuse_as(from, key, "holds", word);
        set |= (uint32_t)1 << at;
    }
    *out = set;
    return NULL;
}

static px_err *set_numbers(const source *from, const config_key *key, const cJSON *item,
                           px_f64_list *out) {
    px_f64_list list = {0};
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != (int)key->most)
        return refuse(from, key, item);
    for (const cJSON *value = item->child; value; value = value->next) {
        bool good =
            cJSON_IsNumber(value) && value->valuedouble >= key->least && value->valuedouble < 1;
        if (!good) return refuse_as(from, key, "holds", value);
        list.v[list.n++] = value->valuedouble;
    }
    *out = list;
    return NULL;
}

static px_err *set_object(const source *from, const config_key *key, const cJSON *item,
                          const char **out) {
    px_str text = {0};
    if (!cJSON_IsObject(item)) return refuse(from, key, item);
    if (item->child) px_json_print(item, &text); /* an empty one is none */
    px_err *err = px_str_ok(&text);
    if (!err) *out = px_arena_text(from->config->arena, text.data ? text.data : "", text.size);
    if (!err) err = px_arena_ok(from->config->arena);
    px_str_free(&text);
    return err;
}

static px_err *set_key(source *from, int i, const cJSON *item) {
    const config_key *key = &config_keys[i];
    void *field = config_field(from->config, i);
    if (from->seen[i]) PX_FAIL(PX_BAD_INPUT, "%s: %s is given twice", from->where, key->path);
    from->seen[i] = 1;
    from->config->given[i] = !cJSON_IsNull(item);
    if (cJSON_IsNull(item)) {
        set_default(from->config, i);
        return NULL;
    }
    double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    bool in_range = number >= key->least && number <= key->most;
    int word = key->type == KEY_choice && cJSON_IsString(item)
                   ? config_word_find(key->choices, item->valuestring)
                   : -1;
    switch (key->type) {
    case KEY_i64:
        if (!in_range || floor(number) != number) return refuse(from, key, item);
        *(int64_t *)field = (int64_t)number;
        break;
    case KEY_f64:
        if (!in_range) return refuse(from, key, item);
        *(double *)field = number;
        break;
    case KEY_bool:
        if (!cJSON_IsBool(item)) return refuse(from, key, item);
        *(bool *)field = cJSON_IsTrue(item);
        break;
    case KEY_choice:
        if (word < 0) return refuse(from, key, item);
        *(int *)field = word;
        break;
    case KEY_text: {
        if (!cJSON_IsString(item)) return refuse(from, key, item);
        const char *text =
            px_arena_text(from->config->arena, item->valuestring, strlen(item->valuestring));
        if (!text) PX_NO_MEMORY();
        *(const char **)field = text;
        break;
    }
    case KEY_object:
        return set_object(from, key, item, field);
    case KEY_words:
        return set_words(from, key, item, field);
    case KEY_f64s:
        return set_numbers(from, key, item, field);
    }
    return NULL;
}

static int find_key(const char *path) {
    for (int i = 0; i < N_KEYS; i++)
        if (strcmp(config_keys[i].path, path) == 0) return i;
    return -1;
}

/* Whether keys stand under this path. */
static bool is_group(const char *path) {
    size_t n = strlen(path);
    for (int i = 0; i < N_KEYS; i++)
        if (strncmp(config_keys[i].path, path, n) == 0 && config_keys[i].path[n] == '.')
            return true;
    return false;
}

/* The key that was likely meant: the same last word in another place, else the nearest spelling. */
static const char *likely_key(const char *path) {
    const char *paths[N_KEYS];
    const char *dot = strrchr(path, '.');
    const char *last = dot ? dot + 1 : path;
    for (int i = 0; i < N_KEYS; i++) {
        paths[i] = config_keys[i].path;
        const char *key_dot = strrchr(paths[i], '.');
        if (strcmp(key_dot ? key_dot + 1 : paths[i], last) == 0) return paths[i];
    }
    int at = px_nearest(path, paths, N_KEYS);
    return at >= 0 ? paths[at] : NULL;
}

static px_err *unknown_key(const source *from, const char *path) {
    const char *likely = likely_key(path);
    px_str shown = {0};
    px_str_json(&shown, path, PX_MIN(strlen(path), 80));
    px_err *err = px_str_ok(&shown);
    if (!err)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: unknown key %s%s%s%s", from->where,
                         shown.data, likely ? ", did you mean \"" : "", likely ? likely : "",
                         likely ? "\"?" : "; docs/config.md lists them");
    px_str_free(&shown);
    return err;
}

/* Every member of an object; `prefix` is its path, empty at the top. */
static px_err *take_members(source *from, const char *prefix, const cJSON *object) {
    px_err *err = NULL;
    px_str path = {0};
    for (const cJSON *item = object->child; item && !err; item = item->next) {
        px_str_clear(&path);
        px_str_format(&path, "%s%s%s", prefix, *prefix ? "." : "", item->string);
        PX_PASS_TO(done, px_str_ok(&path));
        int i = find_key(path.data);
        if (i >= 0)
            err = set_key(from, i, item);
        else if (!is_group(path.data))
            err = unknown_key(from, path.data);
        else if (cJSON_IsObject(item))
            err = take_members(from, path.data, item);
        else
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "%s: %s is %s, wanted an object with keys such as %s", from->where,
                             path.data, px_json_type(item), likely_key(path.data));
    }
done:
    px_str_free(&path);
    return err;
}

px_err *px_config_take(px_config *config, const cJSON *json, const char *where) {
    source from = {.config = config, .where = where};
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: found %s, wanted an object with keys", where,
                px_json_type(json));
    return take_members(&from, "", json);
}

px_err *px_config_read(px_config *config, const char *path) {
    cJSON *json = NULL;
    PX_PASS(px_json_read(path, true, &json));
    px_err *err = px_config_take(config, json, path);
    cJSON_Delete(json);
    return err;
}

/* "a, b" or "[a, b]" as a list of words, or of numbers where they are some. */
static cJSON *bare_list(const char *text, bool numbers) {
    cJSON *list = cJSON_CreateArray();
    const char *end = text + strlen(text);
    if (*text == '[' && end[-1] == ']') {
        text++;
        end--;
    }
    while (text < end) {
        size_t length = strcspn(text, ",");
        if (text + length > end) length = (size_t)(end - text);
        const char *first = text, *last = text + length;
        while (first < last && *first == ' ') first++;
        while (last > first && last[-1] == ' ') last--;
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)(last - first), first);
        double value = 0;
        bool number = numbers && px_parse_f64(word, &value);
        cJSON_AddItemToArray(list, number ? cJSON_CreateNumber(value) : cJSON_CreateString(word));
        text += length + 1;
    }
    return list;
}

/* The option's value as JSON: what it is by itself, or what the key's type lets a bare word mean.
 */
static px_err *option_value(const char *text, int i, cJSON **out) {
    cJSON *json = NULL;
    px_err *err = px_json_parse(text, strlen(text), &json);
    key_type type = i < 0 ? KEY_i64 : config_keys[i].type;
    bool wordy = type == KEY_text || type == KEY_choice;
    bool list = type == KEY_words || type == KEY_f64s;
    bool fits = !err && (cJSON_IsNull(json) || (!wordy && !list) ||
                         (wordy && cJSON_IsString(json)) || (list && cJSON_IsArray(json)));
    if (!fits) {
        cJSON_Delete(json);
        json = list && *text != '"' ? bare_list(text, type == KEY_f64s) : cJSON_CreateString(text);
        px_err_free(err); /* the key's own message says more */
    }
    if (!json) PX_NO_MEMORY();
    *out = json;
    return NULL;
}

px_err *px_config_set(px_config *config, const char *assignment) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        PX_FAIL(PX_BAD_INPUT, "--set %.80s: wanted key.path=value", assignment);
    px_err *err = NULL;
    cJSON *value = NULL, *object = cJSON_CreateObject();
    char *key = strndup(assignment, (size_t)(equals - assignment));
    if (!key || !object) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, option_value(equals + 1, find_key(key), &value));
    if (!cJSON_AddItemToObject(object, key, value))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    value = NULL;
    err = px_config_take(config, object, "--set");
done:
    free(key);
    cJSON_Delete(value);
    cJSON_Delete(object);
    return err;
}
