/* judge_answers.c - the answers that are judged: id, arm, sample, what was asked last, the text. */
#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"

typedef struct {
    judged_list *list;
    px_map arms;
} reader;

static const char *last_user_text(const cJSON *json) {
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(json, "messages"), *item = NULL;
    const char *last = "";
    cJSON_ArrayForEach(item, messages) {
        const char *role = px_json_find_text(item, "role");
        const char *content = px_json_find_text(item, "content");
        if (role && content && !strcmp(role, "user")) last = content;
    }
    return last;
}

static px_err *arm_number(reader *r, const char *name, int32_t *out) {
    judged_list *list = r->list;
    const size_t size = strlen(name);
    *out = px_map_find(&r->arms, name, size, -1);
    if (*out >= 0) return NULL;
    const char **grown =
        realloc(list->arms, ((size_t)list->n_arms + 1) * sizeof *grown); /* few, so one by one */
    if (!grown) PX_NO_MEMORY();
    list->arms = grown;
    list->arms[list->n_arms] = px_arena_text(list->arena, name, size);
    PX_PASS(px_arena_ok(list->arena));
    *out = list->n_arms++;
    return px_map_set(&r->arms, list->arms[*out], size, *out);
}

static px_err *grow(judged_list *list) {
    if (list->n < list->room) return NULL;
    if (list->n >= INT32_MAX / 2) PX_FAIL(PX_BAD_INPUT, "too many answers for a judge");
    const int32_t room = list->room ? list->room * 2 : 256;
    judged *items = realloc(list->items, (size_t)room * sizeof *items);
    if (!items) PX_NO_MEMORY();
    list->items = items;
    list->room = room;
    return NULL;
}

static const char *keep(px_arena *arena, const char *text) {
    return px_arena_text(arena, text, strlen(text));
}

static px_err *take_answer(reader *r, const cJSON *json, const char *where) {
    judged_list *list = r->list;
    const char *id = NULL, *arm = px_json_find_text(json, "arm");
    const char *text = px_json_find_text(json, "text");
    const char *finish = px_json_find_text(json, "finish");
    const double sample = px_json_find_f64(json, "sample", -1);
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "text");
    PX_PASS(grow(list));
    judged *a = &list->items[list->n];
    *a = (judged){.sample = sample >= 0 && sample < 1e6 ? (int32_t)sample : -1, .against = -1};
    PX_PASS(px_json_text(json, "id", where, &id));
    if (!given || (!text && !cJSON_IsNull(given)))
        PX_FAIL(PX_BAD_INPUT, "%s: text: found %s, wanted a string: is this a file of answers?",
                where, px_json_type(given));
    PX_PASS(arm_number(r, arm ? arm : "", &a->arm));
    if (finish && !strcmp(finish, "error")) text = NULL; /* it could not be answered */
    if (text && !text[strspn(text, " \t\r\n")]) text = NULL;
    a->id = keep(list->arena, id);
    a->asked = keep(list->arena, last_user_text(json));
    a->text = text ? keep(list->arena, text) : NULL;
    list->n++;
    return px_arena_ok(list->arena);
}

static px_err *read_lines(reader *r, const char *path) {
    px_lines *lines = NULL;
    px_err *err = NULL;
    PX_PASS(px_lines_open(path, &lines));
    for (;;) {
        const char *text = NULL;
        size_t size = 0;
        int64_t line = 0;
        cJSON *json = NULL;
        char where[4200];
        PX_PASS_TO(done, px_lines_next(lines, &text, &size, &line));
        if (!text) break;
        snprintf(where, sizeof where, "%s line %lld", path, (long long)line);
        PX_TRY_TO(done, px_json_parse_said(text, size, &json), "%s", where);
        err = take_answer(r, json, where);
        cJSON_Delete(json);
        if (err) goto done;
    }
done:
    px_lines_close(lines);
    return err;
}

/* "sample id": what makes two answers to the same prompt. */
static px_err *prompt_key(px_arena *arena, const judged *a, const char **key, size_t *size) {
    px_str text = {0};
    px_str_format(&text, "%d %s", (int)a->sample, a->id);
    px_err *err = px_str_ok(&text);
    *size = text.size;
    *key = err ? NULL : px_arena_text(arena, text.data, text.size);
    px_str_free(&text);
    return err ? err : px_arena_ok(arena);
}

static px_err *find_references(reader *r, const char *reference, int32_t *n_against) {
    judged_list *list = r->list;
    const int32_t arm = px_map_find(&r->arms, reference, strlen(reference), -1);
    const char *key = NULL;
    size_t size = 0;
    px_map at = {0};
    px_err *err = NULL;
    *n_against = 0;
    for (int32_t i = 0; i < list->n; i++) {
        if (list->items[i].arm != arm) continue;
        PX_PASS_TO(done, prompt_key(list->arena, &list->items[i], &key, &size));
        PX_PASS_TO(done, px_map_set(&at, key, size, i));
    }
    for (int32_t i = 0; i < list->n; i++) {
        if (list->items[i].arm == arm) continue;
        PX_PASS_TO(done, prompt_key(list->arena, &list->items[i], &key, &size));
        list->items[i].against = px_map_find(&at, key, size, -1);
        *n_against += list->items[i].against >= 0;
    }
done:
    px_map_free(&at);
    return err;
}

px_err *answers_read(const char *path, const char *reference, judged_list *out,
                     int32_t *n_against) {
    reader r = {.list = out};
    px_err *err = NULL;
    *out = (judged_list){0};
    PX_PASS_TO(done, px_arena_new((size_t)1 << 20, &out->arena));
    PX_PASS_TO(done, read_lines(&r, path));
    err = find_references(&r, reference, n_against);
done:
    px_map_free(&r.arms);
    return err;
}

void answers_free(judged_list *list) {
    free(list->items);
    free(list->arms);
    px_arena_free(list->arena);
    *list = (judged_list){0};
}
