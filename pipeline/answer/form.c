/* form.c - a task's form in its line: [{"key", "kind", "least", "most", "texts": […]}], as the
 * engine's px_form has it. */
#include <string.h>

#include "answer_internal.h"

static const char *const kinds[] = {
    [PX_VALUE_STRING] = "string",   [PX_VALUE_CHOICE] = "choice",
    [PX_VALUE_INTEGER] = "integer", [PX_VALUE_BOOLEAN] = "boolean",
    [PX_VALUE_RANKING] = "ranking", [PX_VALUE_INTEGERS] = "integers"};

void px_answer_form_write(const px_form *form, px_str *out) {
    px_str_text(out, "\"form\":[");
    for (int i = 0; i < form->n; i++) {
        const px_field *f = &form->fields[i];
        px_str_text(out, i ? ",{\"key\":" : "{\"key\":");
        px_str_json(out, f->key, strlen(f->key));
        px_str_format(out, ",\"kind\":\"%s\",\"least\":%lld,\"most\":%lld,\"texts\":[",
                      kinds[f->kind], (long long)f->least, (long long)f->most);
        for (int k = 0; k < f->n_texts; k++) {
            if (k) px_str_char(out, ',');
            px_str_json(out, f->texts[k], strlen(f->texts[k]));
        }
        px_str_text(out, "]}");
    }
    px_str_char(out, ']');
}

static px_err *texts_read(const cJSON *list, const char *where, px_arena *arena, px_field *out) {
    const cJSON *item = NULL;
    if (!cJSON_IsArray(list))
        PX_FAIL(PX_BAD_INPUT, "%s: texts is %s; a list is wanted", where, px_json_type(list));
    const char **texts = px_take(arena, const char *, PX_MAX(cJSON_GetArraySize(list), 1));
    PX_PASS(px_arena_ok(arena));
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            PX_FAIL(PX_BAD_INPUT, "%s: texts holds %s; a string is wanted", where,
                    px_json_type(item));
        texts[out->n_texts++] = px_arena_text(arena, item->valuestring, strlen(item->valuestring));
    }
    out->texts = texts;
    return px_arena_ok(arena);
}

static px_err *field_read(const cJSON *json, const char *where, px_arena *arena, px_field *out) {
    const char *key = NULL, *kind = NULL;
    size_t k = 0;
    PX_PASS(px_json_text(json, "key", where, &key));
    PX_PASS(px_json_text(json, "kind", where, &kind));
    while (k < PX_COUNT(kinds) && strcmp(kind, kinds[k]) != 0) k++;
    if (k == PX_COUNT(kinds)) PX_FAIL(PX_BAD_INPUT, "%s: no kind \"%.40s\"", where, kind);
    out->kind = (px_value_kind)k;
    out->key = px_arena_text(arena, key, strlen(key));
    PX_PASS(px_json_i64(json, "least", where, INT64_MIN / 2048, INT64_MAX / 2048, &out->least));
    PX_PASS(px_json_i64(json, "most", where, INT64_MIN / 2048, INT64_MAX / 2048, &out->most));
    return texts_read(cJSON_GetObjectItemCaseSensitive(json, "texts"), where, arena, out);
}

px_err *form_read(const cJSON *json, const char *where, px_arena *arena, const px_form **out) {
    const cJSON *item = NULL;
    char place[4400];
    if (!cJSON_IsArray(json) || cJSON_GetArraySize(json) < 1)
        PX_FAIL(PX_BAD_INPUT, "%s: form is %s; a list of keys is wanted", where,
                cJSON_IsArray(json) ? "empty" : px_json_type(json));
    px_field *fields = px_take(arena, px_field, cJSON_GetArraySize(json));
    px_form *form = px_take(arena, px_form, 1);
    PX_PASS(px_arena_ok(arena));
    *form = (px_form){.fields = fields};
    cJSON_ArrayForEach(item, json) {
        snprintf(place, sizeof place, "%s, form[%d]", where, form->n);
        fields[form->n] = (px_field){0};
        PX_PASS(field_read(item, place, arena, &fields[form->n++]));
    }
    *out = form;
    return NULL;
}
