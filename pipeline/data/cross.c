/* cross.c - utterances.jsonl repeats conversations.jsonl flat: are they the same? A hash of each
 * answer with its prompt, score and mark is kept, not the texts. */
#include "prism.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t hash;
    int64_t line;
    bool seen;
} entry;

struct px_cross {
    px_arena *arena;
    px_map by_key; /* "conversation turn within_turn_id" → entry */
    entry *entries;
    int32_t n, room;
};

px_err *px_cross_new(px_cross **out) {
    px_cross *cross = calloc(1, sizeof *cross);
    if (!cross) PX_NO_MEMORY();
    px_err *err = px_arena_new(1 << 20, &cross->arena);
    if (err) {
        free(cross);
        return err;
    }
    *out = cross;
    return NULL;
}

void px_cross_free(px_cross *cross) {
    if (!cross) return;
    px_map_free(&cross->by_key);
    px_arena_free(cross->arena);
    free(cross->entries);
    free(cross);
}

/* FNV-1a, 64 bits: enough to tell a changed text from the same one. */
static uint64_t hash_text(uint64_t h, const char *text) {
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return (h ^ 0xFF) * 0x100000001b3u;
}

typedef struct {
    const char *conv, *user, *prompt;
    int64_t turn;
} place;

static uint64_t hash_answer(const place *p, const px_prism_answer *a) {
    uint64_t h = hash_text(0xcbf29ce484222325u, p->user);
    h = hash_text(h, p->prompt);
    h = hash_text(h, a->text);
    h = (h ^ (uint64_t)(uint32_t)a->score) * 0x100000001b3u;
    return (h ^ a->chosen) * 0x100000001b3u;
}

static void key_of(const place *p, int32_t id, px_str *key) {
    px_str_clear(key);
    px_str_format(key, "%lld %d ", (long long)p->turn, (int)id);
    px_str_text(key, p->conv);
}

static px_err *entry_add(px_cross *cross, const px_str *key, uint64_t hash, int64_t line) {
    PX_PASS(px_str_ok(key));
    if (px_map_find(&cross->by_key, key->data, key->size, -1) >= 0) return NULL;
    if (cross->n == cross->room) {
        int32_t room = cross->room ? 2 * cross->room : 1024;
        entry *grown = realloc(cross->entries, (size_t)room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        cross->entries = grown;
        cross->room = room;
    }
    char *copy = px_arena_text(cross->arena, key->data, key->size);
    PX_PASS(px_arena_ok(cross->arena));
    PX_PASS(px_map_set(&cross->by_key, copy, key->size, cross->n));
    cross->entries[cross->n++] = (entry){hash, line, false};
    return NULL;
}

px_err *px_cross_add(px_cross *cross, const px_prism_conv *conv) {
    px_str key = {0};
    px_err *err = NULL;
    for (int32_t t = 0; t < conv->n_turns; t++) {
        const px_prism_turn *turn = &conv->turns[t];
        place p = {conv->id, conv->user_id, turn->prompt, t};
        for (int32_t i = 0; i < turn->n_answers; i++) {
            key_of(&p, turn->answers[i].id, &key);
            PX_PASS_TO(done,
                       entry_add(cross, &key, hash_answer(&p, &turn->answers[i]), conv->line));
        }
    }
done:
    px_str_free(&key);
    return err;
}

static px_err *line_compare(px_cross *cross, const cJSON *json, int64_t line, px_harms *harms,
                            int64_t *n_same) {
    place p = {px_json_find_text(json, "conversation_id"), px_json_find_text(json, "user_id"),
               px_json_find_text(json, "user_prompt"),
               px_prism_int(json, "turn", 0, INT32_MAX, -1)};
    px_prism_answer a = {.text = px_json_find_text(json, "model_response"),
                         .id = (int32_t)px_prism_int(json, "within_turn_id", 0, INT32_MAX, -1),
                         .score = (int32_t)px_prism_int(json, "score", 1, 100, -1),
                         .chosen =
                             cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "if_chosen"))};
    if (!p.conv || !p.user || !p.prompt || !a.text || p.turn < 0)
        return px_harm_add(harms, PX_HARM_FLAT_LINE, line, -1);
    px_str key = {0};
    key_of(&p, a.id, &key);
    px_err *err = px_str_ok(&key);
    int32_t at = err ? -1 : px_map_find(&cross->by_key, key.data, key.size, -1);
    px_str_free(&key);
    if (err) return err;
    if (at < 0) return px_harm_add(harms, PX_HARM_FLAT_ONLY, line, p.turn);
    entry *e = &cross->entries[at];
    if (e->seen) return px_harm_add(harms, PX_HARM_FLAT_TWICE, line, p.turn);
    e->seen = true;
    if (e->hash != hash_answer(&p, &a))
        return px_harm_add(harms, PX_HARM_FLAT_DIFFERS, line, p.turn);
    (*n_same)++;
    return NULL;
}

px_err *px_cross_compare(px_cross *cross, const char *dir, px_harms *harms, int64_t *n_lines,
                         int64_t *n_same) {
    px_err *err = NULL;
    px_lines *lines = NULL;
    cJSON *json = NULL;
    char *path = px_path_join(dir, "utterances.jsonl");
    if (!path) PX_NO_MEMORY();
    PX_TRY_TO(done, px_lines_open(path, &lines), "--cross-check");
    *n_lines = *n_same = 0;
    for (;;) {
        const char *text;
        size_t size;
        int64_t line;
        PX_PASS_TO(done, px_lines_next(lines, &text, &size, &line));
        if (!text) break;
        ++*n_lines;
        PX_PASS_TO(done, px_prism_line(text, size, line, harms, PX_HARM_FLAT_LINE,
                                       PX_HARM_FLAT_LINE, &json));
        if (json) PX_PASS_TO(done, line_compare(cross, json, line, harms, n_same));
        cJSON_Delete(json);
        json = NULL;
    }
    for (int32_t i = 0; i < cross->n; i++)
        if (!cross->entries[i].seen)
            PX_PASS_TO(done, px_harm_add(harms, PX_HARM_FLAT_MISSING, cross->entries[i].line, -1));
done:
    cJSON_Delete(json);
    px_lines_close(lines);
    free(path);
    return err;
}
