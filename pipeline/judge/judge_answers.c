/* judge_answers.c - the answers that are judged, of a.jsonl or of trials.jsonl: id, arm, sample,
 * what was asked last, the text. */
#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"
#include "traits.h"

typedef struct {
    judged_list *list;
    px_map arms;
    px_str id;       /* of a trial's turn */
    px_map units[2]; /* prompts, people */
    int32_t n_units[2];
    int32_t *of_prompt; /* [list->room] unit by prompt; judged.unit is by person, -1: not said */
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

static px_err *grow(reader *r) {
    judged_list *list = r->list;
    if (list->n < list->room) return NULL;
    if (list->n >= INT32_MAX / 2) PX_FAIL(PX_BAD_INPUT, "too many answers for a judge");
    const int32_t room = list->room ? list->room * 2 : 256;
    judged *items = realloc(list->items, (size_t)room * sizeof *items);
    if (!items) PX_NO_MEMORY();
    list->items = items;
    int32_t *of_prompt = realloc(r->of_prompt, (size_t)room * sizeof *of_prompt);
    if (!of_prompt) PX_NO_MEMORY();
    r->of_prompt = of_prompt;
    list->room = room;
    return NULL;
}

/* Numbers what answers are drawn by: the person, and the prompt in case one is not said. */
static px_err *units_take(reader *r, const char *prompt, const char *person) {
    const char *texts[2] = {prompt, person};
    int32_t at[2] = {-1, -1};
    for (int k = 0; k < 2; k++) {
        if (!texts[k]) continue;
        const size_t size = strlen(texts[k]);
        at[k] = px_map_find(&r->units[k], texts[k], size, -1);
        if (at[k] >= 0) continue;
        const char *kept = px_arena_text(r->list->arena, texts[k], size);
        PX_PASS(px_arena_ok(r->list->arena));
        at[k] = r->n_units[k]++;
        PX_PASS(px_map_set(&r->units[k], kept, size, at[k]));
    }
    r->of_prompt[r->list->n] = at[0];
    r->list->items[r->list->n].unit = at[1];
    return NULL;
}

static void units_choose(reader *r) {
    judged_list *list = r->list;
    list->people = true;
    for (int32_t i = 0; i < list->n; i++) list->people = list->people && list->items[i].unit >= 0;
    list->n_units = r->n_units[list->people];
    for (int32_t i = 0; i < list->n && !list->people; i++) list->items[i].unit = r->of_prompt[i];
}

static const char *keep(px_arena *arena, const char *text) {
    return px_arena_text(arena, text, strlen(text));
}

/* NULL where there is no answer to judge. */
static const char *keep_said(px_arena *arena, const char *text) {
    return text && text[strspn(text, " \t\r\n")] ? keep(arena, text) : NULL;
}

static px_err *take_answer(reader *r, const cJSON *json, const char *where) {
    judged_list *list = r->list;
    const char *id = NULL, *arm = px_json_find_text(json, "arm");
    const char *text = px_json_find_text(json, "text");
    const char *finish = px_json_find_text(json, "finish");
    const double sample = px_json_find_f64(json, "sample", -1);
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "text");
    PX_PASS(grow(r));
    judged *a = &list->items[list->n];
    *a = (judged){.sample = sample >= 0 && sample < 1e6 ? (int32_t)sample : -1, .against = -1};
    PX_PASS(px_json_text(json, "id", where, &id));
    if (!given || (!text && !cJSON_IsNull(given)))
        PX_FAIL(PX_BAD_INPUT, "%s: text: found %s, wanted a string: is this a file of answers?",
                where, px_json_type(given));
    PX_PASS(arm_number(r, arm ? arm : "", &a->arm));
    if (finish && !strcmp(finish, "error")) text = NULL; /* it could not be answered */
    a->id = keep(list->arena, id);
    a->asked = keep(list->arena, last_user_text(json));
    a->text = keep_said(list->arena, text);
    PX_PASS(units_take(r, id, px_json_find_text(json, "user_id")));
    list->n++;
    return px_arena_ok(list->arena);
}

/* A turn's answers, in the order and under the ids that traits gives them: TRIAL/TURN. */
static px_err *take_turn(reader *r, const cJSON *turn, const cJSON *json, int at,
                         const char *where) {
    judged_list *list = r->list;
    const cJSON *answer = NULL, *slots = cJSON_GetObjectItemCaseSensitive(json, "slots");
    const char *trial = px_json_find_text(json, "trial");
    const double number = px_json_find_f64(turn, "n", at);
    const char *asked = px_json_find_text(turn, "user");
    px_str_clear(&r->id);
    px_str_format(&r->id, "%s/%d", trial, number >= 0 && number < 1e6 ? (int)number : at);
    PX_PASS(px_str_ok(&r->id));
    cJSON_ArrayForEach(answer, cJSON_GetObjectItemCaseSensitive(turn, "answers")) {
        const char *arm = px_trial_arm(slots, answer->string);
        if (!arm)
            PX_FAIL(PX_BAD_INPUT, "%s: turns, %d: an answer at %.8s, where no slot has an arm",
                    where, at, answer->string);
        PX_PASS(grow(r));
        judged *a = &list->items[list->n];
        *a = (judged){.sample = -1, .against = -1};
        PX_PASS(arm_number(r, arm, &a->arm));
        a->id = keep(list->arena, r->id.data);
        a->asked = keep(list->arena, asked ? asked : "");
        a->text = keep_said(list->arena, cJSON_IsString(answer) ? answer->valuestring : NULL);
        PX_PASS(units_take(r, r->id.data, px_json_find_text(json, "person")));
        list->n++;
        PX_PASS(px_arena_ok(list->arena));
    }
    return NULL;
}

static px_err *take_trial(reader *r, const cJSON *json, const char *where) {
    const cJSON *turn = NULL, *slots = cJSON_GetObjectItemCaseSensitive(json, "slots");
    const char *trial = NULL;
    int at = 0;
    PX_PASS(px_json_text(json, "trial", where, &trial));
    if (!cJSON_IsArray(slots))
        PX_FAIL(PX_BAD_INPUT, "%s: slots: found %s, wanted a list", where, px_json_type(slots));
    cJSON_ArrayForEach(turn, cJSON_GetObjectItemCaseSensitive(json, "turns"))
        PX_PASS(take_turn(r, turn, json, at++, where));
    return NULL;
}

static px_err *read_lines(reader *r, const char *path, bool trials) {
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
        PX_TRY_TO(done, px_json_parse_said(text, size, &json, NULL), "%s", where);
        err = (trials ? take_trial : take_answer)(r, json, where);
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

px_err *answers_read(const char *path, bool trials, const char *reference, judged_list *out,
                     int32_t *n_against) {
    reader r = {.list = out};
    px_err *err = NULL;
    *out = (judged_list){0};
    PX_PASS_TO(done, px_arena_new((size_t)1 << 20, &out->arena));
    PX_PASS_TO(done, read_lines(&r, path, trials));
    units_choose(&r);
    err = find_references(&r, reference, n_against);
done:
    for (int k = 0; k < 2; k++) px_map_free(&r.units[k]);
    free(r.of_prompt);
    px_map_free(&r.arms);
    px_str_free(&r.id);
    return err;
}

void answers_free(judged_list *list) {
    free(list->items);
    free(list->arms);
    px_arena_free(list->arena);
    *list = (judged_list){0};
}
