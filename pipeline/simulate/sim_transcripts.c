/* sim_transcripts.c - trials that are to be judged, with their texts. The whole file is checked by
 * px_trials_read first, so what is read here is known to be good. */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "simulate_internal.h"

typedef struct {
    const char *path;
    px_trials *names;
    sim_trials *out;
    int32_t room;
} reader;

static const char *kept(const reader *r, const cJSON *item) {
    const char *text = cJSON_IsString(item) ? item->valuestring : NULL;
    return text ? px_arena_text(r->out->arena, text, strlen(text)) : NULL;
}

static px_err *kept_json(const reader *r, const cJSON *item, const char **out) {
    px_str text = {0};
    px_json_print(item, &text);
    px_err *err = px_str_ok(&text);
    if (!err) *out = px_arena_text(r->out->arena, text.data, text.size);
    px_str_free(&text);
    return err ? err : px_arena_ok(r->out->arena);
}

static int by_pos(const void *a, const void *b) {
    return ((const sim_slot *)a)->pos - ((const sim_slot *)b)->pos;
}

static px_err *slots_take(const reader *r, const cJSON *json, sim_trial *trial) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "slots")) {
        sim_slot *slot = &trial->slots[trial->n_slots++];
        *slot = (sim_slot){.arm = -1, .user = -1, .pos = px_json_find_text(item, "pos")[0]};
        PX_PASS(kept_json(r, item, &slot->json));
    }
    qsort(trial->slots, (size_t)trial->n_slots, sizeof *trial->slots, by_pos);
    return NULL;
}

static px_err *turns_take(const reader *r, const cJSON *json, sim_trial *trial) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "turns"), *item = NULL;
    trial->turns = px_take(r->out->arena, sim_turn, cJSON_GetArraySize(list) + 1);
    PX_PASS(px_arena_ok(r->out->arena));
    cJSON_ArrayForEach(item, list) {
        sim_turn *turn = &trial->turns[trial->n_turns++];
        const cJSON *answers = cJSON_GetObjectItemCaseSensitive(item, "answers");
        turn->user = kept(r, cJSON_GetObjectItemCaseSensitive(item, "user"));
        if (!turn->user) turn->user = "";
        for (int s = 0; s < trial->n_slots; s++) {
            const char pos[2] = {trial->slots[s].pos, 0};
            turn->answers[s] = kept(r, cJSON_GetObjectItemCaseSensitive(answers, pos));
        }
    }
    if (!list || cJSON_IsNull(list)) trial->turns_json = "[]";
    return trial->turns_json ? NULL : kept_json(r, list, &trial->turns_json);
}

/* "domain": …, "split": … as they stood. */
static px_err *head_take(const reader *r, const cJSON *json, sim_trial *trial) {
    static const char *const keys[] = {"domain", "split"};
    px_str text = {0};
    for (int i = 0; i < 2; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, keys[i]);
        px_str_format(&text, ",\"%s\":", keys[i]);
        if (item)
            px_json_print(item, &text);
        else
            px_str_text(&text, "null");
    }
    px_err *err = px_str_ok(&text);
    if (!err) trial->head = px_arena_text(r->out->arena, text.data, text.size);
    px_str_free(&text);
    return err;
}

static px_err *line_take(void *context, const cJSON *json) {
    reader *r = context;
    sim_trials *out = r->out;
    if (out->n == r->room) {
        r->room = r->room ? 2 * r->room : 256;
        sim_trial *grown = realloc(out->items, (size_t)r->room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        out->items = grown;
    }
    sim_trial *trial = &out->items[out->n++];
    *trial = (sim_trial){.domain_at = -1, .opening = {-1, -1}};
    trial->id = kept(r, cJSON_GetObjectItemCaseSensitive(json, "trial"));
    trial->person_id = kept(r, cJSON_GetObjectItemCaseSensitive(json, "person"));
    trial->domain = kept(r, cJSON_GetObjectItemCaseSensitive(json, "domain"));
    PX_PASS(slots_take(r, json, trial));
    PX_PASS(turns_take(r, json, trial));
    PX_PASS(head_take(r, json, trial));
    return px_arena_ok(out->arena);
}

/* A judge gives one judgement of a trial, whoever else judged it. */
static px_err *once_each(const char *path, const px_trials *names) {
    px_map seen = {0};
    px_err *err = NULL;
    char(*keys)[32] = calloc((size_t)names->n + 1, sizeof *keys);
    if (!keys) PX_NO_MEMORY();
    for (int64_t i = 0; i < names->n && !err; i++) {
        const px_trial *t = &names->at[i];
        const int n = snprintf(keys[i], sizeof *keys, "%d %d", t->person, t->id);
        if (px_map_find(&seen, keys[i], (size_t)n, -1) >= 0)
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "%s line %lld: the trial stands there from another source too; give "
                             "the transcripts of one source",
                             path, (long long)t->line);
        else
            err = px_map_set(&seen, keys[i], (size_t)n, 1);
    }
    px_map_free(&seen);
    free(keys);
    return err;
}

px_err *transcripts_read(const char *path, px_trials *names, sim_trials *out) {
    reader r = {.path = path, .names = names, .out = out};
    *out = (sim_trials){0};
    PX_PASS(px_arena_new((size_t)1 << 20, &out->arena));
    PX_PASS(px_trials_read(names, path, NULL, NULL));
    if (names->n == 0) PX_FAIL(PX_BAD_INPUT, "%s: holds no trial", path);
    PX_PASS(once_each(path, names));
    PX_PASS(px_json_lines(path, false, line_take, &r));
    return px_sha_file(path, &out->sha256);
}

void sim_trials_free(sim_trials *trials) {
    free(trials->items);
    px_arena_free(trials->arena);
    *trials = (sim_trials){0};
}
