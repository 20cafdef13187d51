/* schema.c - response_format's JSON schema as a form that the engine can hold an answer to: the
 * subset that docs/serve.md names. What it does not know is refused, never passed over. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve_engine.h"

enum { STRING_MOST = 100000, KEYS_MOST = 128 };
static const double INTEGER_MOST = 1e15;

/* Only these keys and those that say nothing of an answer. */
static px_err *keys_check(const cJSON *schema, const char *where, const char *known) {
    static const char silent[] = " title description $schema $id $comment examples default ";
    for (const cJSON *item = schema->child; item; item = item->next) {
        char word[64];
        snprintf(word, sizeof word, " %.60s ", item->string);
        if (!strstr(known, word) && !strstr(silent, word))
            PX_FAIL(PX_BAD_INPUT, "%s: the schema's \"%.60s\" is not known here; accepted:%s",
                    where, item->string, known);
    }
    return NULL;
}

static px_err *whole(const cJSON *schema, const char *key, const char *where, double least,
                     double most, int64_t *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(schema, key);
    if (!item) return NULL;
    const double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(value >= least && value <= most && value == floor(value)))
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is to be a whole number from %.0f to %.0f", where, key,
                least, most);
    *out = (int64_t)value;
    return NULL;
}

static px_err *texts_take(const cJSON *list, const char *where, px_arena *arena, px_field *out) {
    const int n = cJSON_GetArraySize(list);
    const char **texts = px_take(arena, const char *, n + 1);
    const cJSON *item = NULL;
    PX_PASS(px_arena_ok(arena));
    if (!cJSON_IsArray(list) || n == 0)
        PX_FAIL(PX_BAD_INPUT, "%s: \"enum\" is to be a list of strings", where);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            PX_FAIL(PX_BAD_INPUT, "%s: \"enum\" is to be a list of strings", where);
        texts[out->n_texts++] = item->valuestring;
    }
    out->texts = texts;
    return NULL;
}

static px_err *string_read(const cJSON *schema, const char *where, px_field *out) {
    out->kind = PX_VALUE_STRING;
    out->most = STRING_MOST;
    PX_PASS(keys_check(schema, where, " type minLength maxLength "));
    PX_PASS(whole(schema, "minLength", where, 0, 1, &out->least));
    return whole(schema, "maxLength", where, (double)PX_MAX(out->least, 0), STRING_MOST,
                 &out->most);
}

static px_err *integer_read(const cJSON *schema, const char *where, px_field *out) {
    out->kind = PX_VALUE_INTEGER;
    out->least = (int64_t)-INTEGER_MOST;
    out->most = (int64_t)INTEGER_MOST;
    PX_PASS(keys_check(schema, where, " type minimum maximum "));
    PX_PASS(whole(schema, "minimum", where, -INTEGER_MOST, INTEGER_MOST, &out->least));
    return whole(schema, "maximum", where, (double)out->least, INTEGER_MOST, &out->most);
}

/* All of some strings, each once. */
static px_err *ranking_read(const cJSON *schema, const char *where, px_arena *arena,
                            px_field *out) {
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    const cJSON *unique = cJSON_GetObjectItemCaseSensitive(schema, "uniqueItems");
    int64_t least = -1, most = -1;
    out->kind = PX_VALUE_RANKING;
    PX_PASS(keys_check(schema, where, " type items uniqueItems minItems maxItems "));
    if (items) PX_PASS(keys_check(items, where, " type enum "));
    PX_PASS(texts_take(cJSON_GetObjectItemCaseSensitive(items, "enum"), where, arena, out));
    PX_PASS(whole(schema, "minItems", where, 0, 1000, &least));
    PX_PASS(whole(schema, "maxItems", where, 0, 1000, &most));
    if (!cJSON_IsTrue(unique) || least != out->n_texts || most != out->n_texts)
        PX_FAIL(PX_BAD_INPUT,
                "%s: an array is to hold each of its \"enum\" once: \"uniqueItems\" true, "
                "\"minItems\" and \"maxItems\" %d",
                where, out->n_texts);
    return NULL;
}

/* An object of integers with one range. */
static px_err *integers_read(const cJSON *schema, const char *where, px_arena *arena,
                             px_field *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "properties"), *item = NULL;
    const char **texts = px_take(arena, const char *, cJSON_GetArraySize(list) + 1);
    px_field one = {0};
    PX_PASS(px_arena_ok(arena));
    PX_PASS(keys_check(schema, where, " type properties required additionalProperties "));
    cJSON_ArrayForEach(item, list) {
        const char *type = px_json_find_text(item, "type");
        if (!type || strcmp(type, "integer") != 0)
            PX_FAIL(PX_BAD_INPUT, "%s.%.60s: an inner object holds integers alone", where,
                    item->string);
        PX_PASS(integer_read(item, where, &one));
        if (out->n_texts > 0 && (one.least != out->least || one.most != out->most))
            PX_FAIL(PX_BAD_INPUT, "%s: an inner object's integers have one range", where);
        out->least = one.least;
        out->most = one.most;
        texts[out->n_texts++] = item->string;
    }
    out->kind = PX_VALUE_INTEGERS;
    out->texts = texts;
    return NULL;
}

static px_err *value_read(const cJSON *schema, const char *where, px_arena *arena, px_field *out) {
    const char *type = px_json_find_text(schema, "type");
    if (cJSON_GetObjectItemCaseSensitive(schema, "enum")) {
        out->kind = PX_VALUE_CHOICE;
        PX_PASS(keys_check(schema, where, " type enum "));
        return texts_take(cJSON_GetObjectItemCaseSensitive(schema, "enum"), where, arena, out);
    }
    if (type && !strcmp(type, "string")) return string_read(schema, where, out);
    if (type && !strcmp(type, "integer")) return integer_read(schema, where, out);
    if (type && !strcmp(type, "array")) return ranking_read(schema, where, arena, out);
    if (type && !strcmp(type, "object")) return integers_read(schema, where, arena, out);
    if (!type || strcmp(type, "boolean") != 0)
        PX_FAIL(PX_BAD_INPUT,
                "%s: \"type\" is to be string, integer, boolean, array or object, or an \"enum\"",
                where);
    out->kind = PX_VALUE_BOOLEAN;
    return keys_check(schema, where, " type ");
}

px_err *px_schema_form(const cJSON *schema, px_arena *arena, px_form *out) {
    const char *type = px_json_find_text(schema, "type");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "properties"), *item = NULL;
    if (!type || strcmp(type, "object") != 0 || !cJSON_IsObject(list) || !list->child)
        PX_FAIL(PX_BAD_INPUT,
                "\"response_format\": the schema is to be of \"type\": \"object\" with "
                "\"properties\"");
    if (cJSON_GetArraySize(list) > KEYS_MOST)
        PX_FAIL(PX_BAD_INPUT, "\"response_format\": over %d properties", KEYS_MOST);
    PX_TRY(keys_check(schema, "the object", " type properties required additionalProperties "),
           "\"response_format\"");
    px_field *fields = px_take(arena, px_field, cJSON_GetArraySize(list));
    PX_PASS(px_arena_ok(arena));
    *out = (px_form){.fields = fields};
    cJSON_ArrayForEach(item, list) {
        char where[80];
        snprintf(where, sizeof where, "%.60s", item->string);
        fields[out->n].key = item->string;
        PX_TRY(value_read(item, where, arena, &fields[out->n++]), "\"response_format\"");
    }
    return NULL;
}
