/* survey.c - survey.jsonl (who there is) and metadata.jsonl (which conversations are English). */
#include "prism.h"

#include <stdlib.h>
#include <string.h>

/* A function that takes one parsed line of a JSON-lines file. */
typedef px_err *(*line_take)(void *state, const cJSON *json, int64_t line);

/* Runs take over every line of dir/name that parses; the others are counted. */
static px_err *file_each(const char *dir, const char *name, px_harms *harms, px_harm utf8,
                         px_harm broken, line_take take, void *state) {
    px_err *err = NULL;
    px_lines *lines = NULL;
    cJSON *json = NULL;
    char *path = px_path_join(dir, name);
    if (!path) PX_NO_MEMORY();
    PX_PASS_TO(done, px_lines_open(path, &lines));
    for (;;) {
        const char *text;
        size_t size;
        int64_t line;
        PX_PASS_TO(done, px_lines_next(lines, &text, &size, &line));
        if (!text) break;
        PX_PASS_TO(done, px_prism_line(text, size, line, harms, utf8, broken, &json));
        if (json) PX_PASS_TO(done, take(state, json, line));
        cJSON_Delete(json);
        json = NULL;
    }
done:
    cJSON_Delete(json);
    px_lines_close(lines);
    free(path);
    return err;
}

typedef struct {
    px_survey *survey;
    px_arena *arena;
    px_harms *harms;
    size_t room;
    const char **ids; /* heap, until the number is known */
} survey_state;

static px_err *survey_take(void *state, const cJSON *json, int64_t line) {
    survey_state *s = state;
    px_survey *survey = s->survey;
    survey->n_lines++;
    const char *id = px_json_find_text(json, "user_id");
    if (!id || !*id) return px_harm_add(s->harms, PX_HARM_SURVEY_NO_ID, line, -1);
    if (px_map_find(&survey->by_id, id, strlen(id), -1) >= 0)
        return px_harm_add(s->harms, PX_HARM_SURVEY_TWICE, line, -1);
    if ((size_t)survey->n == s->room) {
        size_t room = s->room ? 2 * s->room : 256;
        const char **grown = realloc(s->ids, room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        s->ids = grown;
        s->room = room;
    }
    const char *copy = px_arena_text(s->arena, id, strlen(id));
    PX_PASS(px_arena_ok(s->arena));
    PX_PASS(px_map_set(&survey->by_id, copy, strlen(copy), survey->n));
    s->ids[survey->n++] = copy;
    survey->n_survey_only += cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "survey_only"));
    return NULL;
}

px_err *px_survey_read(const char *dir, px_arena *arena, px_harms *harms, px_survey *out) {
    *out = (px_survey){0};
    survey_state s = {.survey = out, .arena = arena, .harms = harms};
    px_err *err = NULL;
    PX_PASS_TO(done, file_each(dir, "survey.jsonl", harms, PX_HARM_SURVEY_UTF8, PX_HARM_SURVEY_JSON,
                               survey_take, &s));
    out->ids = px_take(arena, const char *, out->n + 1);
    PX_PASS_TO(done, px_arena_ok(arena));
    if (out->n > 0) memcpy(out->ids, s.ids, (size_t)out->n * sizeof *out->ids);
done:
    free(s.ids);
    return err;
}

void px_survey_fini(px_survey *survey) { px_map_free(&survey->by_id); }

typedef struct {
    px_english *english;
    px_arena *arena;
    px_harms *harms;
} english_state;

static px_err *english_take(void *state, const cJSON *json, int64_t line) {
    english_state *s = state;
    s->english->n_lines++;
    const char *column = px_json_find_text(json, "column_id");
    /* The survey's and the feedback's texts are no part of a conversation. */
    if (column && strcmp(column, "user_prompt") != 0 && strcmp(column, "model_response") != 0)
        return NULL;
    const char *id = px_json_find_text(json, "conversation_id");
    const cJSON *flag = cJSON_GetObjectItemCaseSensitive(json, "en_flag");
    if (!column || !id || !*id || !cJSON_IsBool(flag))
        return px_harm_add(s->harms, PX_HARM_META_FIELDS, line, -1);
    int32_t before = px_map_find(&s->english->by_id, id, strlen(id), -1);
    int32_t now = before != 0 && cJSON_IsTrue(flag);
    if (before == now) return NULL;
    const char *copy = px_arena_text(s->arena, id, strlen(id));
    PX_PASS(px_arena_ok(s->arena));
    return px_map_set(&s->english->by_id, copy, strlen(copy), now);
}

px_err *px_english_read(const char *dir, px_arena *arena, px_harms *harms, px_english *out) {
    *out = (px_english){0};
    english_state s = {out, arena, harms};
    PX_TRY(file_each(dir, "metadata.jsonl", harms, PX_HARM_META_LINE, PX_HARM_META_LINE,
                     english_take, &s),
           "data.english_only");
    return NULL;
}

void px_english_fini(px_english *english) { px_map_free(&english->by_id); }
