/* prompts.c - p.jsonl: {"id", "messages": [{"role", "content"}], "user_id"?, …}, one a line. */
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

static px_err *take_messages(const cJSON *json, const char *where, px_arena *arena, prompt *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "messages"), *item = NULL;
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n < 1)
        PX_FAIL(PX_BAD_INPUT, "%s: \"messages\" is %s; a list of {\"role\", \"content\"} is wanted",
                where, cJSON_IsArray(list) ? "empty" : px_json_type(list));
    px_message *messages = px_take(arena, px_message, n);
    PX_PASS(px_arena_ok(arena));
    out->messages = messages;
    cJSON_ArrayForEach(item, list) {
        px_message *m = &messages[out->n_messages];
        const char *role = NULL, *text = NULL;
        char place[4400];
        snprintf(place, sizeof place, "%s, messages[%d]", where, out->n_messages);
        PX_PASS(px_json_text(item, "role", place, &role));
        PX_PASS(px_json_text(item, "content", place, &text));
        m->role = px_arena_text(arena, role, strlen(role));
        m->text = px_arena_text(arena, text, strlen(text));
        m->size = strlen(text);
        out->n_messages++;
    }
    PX_PASS(px_arena_ok(arena));
    if (!strcmp(out->messages[n - 1].role, "assistant"))
        PX_FAIL(PX_BAD_INPUT, "%s: the last message is the assistant's; a user's is wanted", where);
    return NULL;
}

/* The line as it goes into the answer: every key of the prompt. */
static px_err *take_head(const cJSON *json, px_arena *arena, prompt *out) {
    px_str text = {0};
    px_json_print(json, &text);
    px_err *err = px_str_ok(&text);
    if (!err) {
        out->head = px_arena_text(arena, text.data, text.size - 1);
        err = px_arena_ok(arena);
    }
    px_str_free(&text);
    return err;
}

static px_err *take_line(cJSON *json, const char *where, bool forms, px_arena *arena, prompt *out) {
    const char *id = NULL;
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", where, px_json_type(json));
    PX_PASS(px_json_text(json, "id", where, &id));
    out->id = px_arena_text(arena, id, strlen(id));
    const cJSON *user = cJSON_GetObjectItemCaseSensitive(json, "user_id");
    if (user && !cJSON_IsNull(user)) {
        const char *text = NULL;
        PX_PASS(px_json_text(json, "user_id", where, &text));
        out->user_id = px_arena_text(arena, text, strlen(text));
    }
    PX_PASS(take_messages(json, where, arena, out));
    if (forms && cJSON_HasObjectItem(json, "form")) {
        const cJSON *form = cJSON_GetObjectItemCaseSensitive(json, "form");
        PX_PASS(form_read(form, where, arena, &out->form));
        cJSON_DeleteItemFromObjectCaseSensitive(json, "form");
    }
    return take_head(json, arena, out);
}

static px_err *grow(prompt_list *list, int64_t *room) {
    if (list->n < *room) return NULL;
    *room = *room ? 2 * *room : 256;
    prompt *grown = realloc(list->items, (size_t)*room * sizeof *grown);
    if (!grown) PX_NO_MEMORY();
    list->items = grown;
    return NULL;
}

static px_err *read_lines(px_lines *lines, const char *path, bool forms, prompt_list *out,
                          px_map *ids) {
    int64_t room = 0, line = 0;
    const char *text = NULL;
    size_t size = 0;
    for (;;) {
        char where[4200];
        cJSON *json = NULL;
        PX_PASS(px_lines_next(lines, &text, &size, &line));
        if (!text) return NULL;
        snprintf(where, sizeof where, "%s line %lld", path, (long long)line);
        PX_PASS(grow(out, &room));
        prompt *p = &out->items[out->n];
        *p = (prompt){.line = line};
        PX_TRY(px_json_parse(text, size, &json), "%s", where);
        px_err *err = take_line(json, where, forms, out->arena, p);
        cJSON_Delete(json);
        if (err) return err;
        const int32_t before = px_map_find(ids, p->id, strlen(p->id), -1);
        if (before >= 0)
            PX_FAIL(PX_BAD_INPUT, "%s: its id stands in line %lld already", where,
                    (long long)out->items[before].line);
        if (out->n >= INT32_MAX) PX_FAIL(PX_BAD_INPUT, "%s: over 2^31 prompts", path);
        PX_PASS(px_map_set(ids, p->id, strlen(p->id), (int32_t)out->n++));
    }
}

px_err *prompts_read(const char *path, bool forms, prompt_list *out) {
    px_lines *lines = NULL;
    px_map ids = {0};
    px_err *err = NULL;
    *out = (prompt_list){0};
    PX_PASS_TO(done, px_arena_new((size_t)1 << 20, &out->arena));
    PX_PASS_TO(done, px_lines_open(path, &lines));
    PX_PASS_TO(done, read_lines(lines, path, forms, out, &ids));
    if (out->n == 0) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: holds no prompt", path);
    PX_PASS_TO(done, px_sha_file(path, &out->sha256));
done:
    px_map_free(&ids);
    px_lines_close(lines);
    return err;
}

void prompts_free(prompt_list *list) {
    free(list->items);
    px_arena_free(list->arena);
    *list = (prompt_list){0};
}
