/* people.c - what a prompted arm tells a model about a person: from survey.jsonl, and for summaries
 * from choices that the person made in training conversations. Personal texts: they go into prompts
 * and nowhere else. */
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

/* Fields of the survey that `demographics` names, in this order; a second name is inside the first.
 */
static const struct {
    const char *label, *key, *inner;
} facts[] = {
    {"Age", "age", NULL},
    {"Gender", "gender", NULL},
    {"Education", "education", NULL},
    {"Employment", "employment_status", NULL},
    {"Marital status", "marital_status", NULL},
    {"Religion", "religion", "simplified"},
    {"Ethnicity", "ethnicity", "simplified"},
    {"Country", "location", "reside_country"},
    {"English proficiency", "english_proficiency", NULL},
};

static bool is_said(const char *text) {
    return text && *text && strcmp(text, "Prefer not to say") != 0;
}

static const char *fact_of(const cJSON *json, const char *key, const char *inner) {
    if (!inner) return px_json_find_text(json, key);
    return px_json_find_text(cJSON_GetObjectItemCaseSensitive(json, key), inner);
}

static void write_demographics(const cJSON *json, px_str *out) {
    for (size_t i = 0; i < PX_COUNT(facts); i++) {
        const char *text = fact_of(json, facts[i].key, facts[i].inner);
        if (is_said(text)) px_str_format(out, "- %s: %s\n", facts[i].label, text);
    }
}

/* stated_prefs by value, the three highest; ties in the survey's order. */
static void write_preferences(const cJSON *json, px_str *out) {
    static const char *const names[] = {"values",          "creativity", "fluency",
                                        "factuality",      "diversity",  "safety",
                                        "personalisation", "helpfulness"};
    const cJSON *prefs = cJSON_GetObjectItemCaseSensitive(json, "stated_prefs");
    bool used[PX_COUNT(names)] = {false};
    for (int n = 0; n < 3; n++) {
        int best = -1;
        double most = 0;
        for (int i = 0; i < (int)PX_COUNT(names); i++) {
            const double value = px_json_find_f64(prefs, names[i], 0);
            if (!used[i] && value > most) best = i, most = value;
        }
        if (best < 0) break;
        used[best] = true;
        px_str_format(out, "%s%s", n ? ", " : "- Values most in an answer: ", names[best]);
        if (n == 2) px_str_text(out, "\n");
    }
    if (out->size && out->data[out->size - 1] != '\n') px_str_text(out, "\n");
}

static void write_own_words(const cJSON *json, px_str *out) {
    static const char *const keys[] = {"self_description", "system_string"};
    static const char *const labels[] = {"In their own words", "What they ask of an assistant"};
    for (int i = 0; i < 2; i++) {
        const char *text = px_json_find_text(json, keys[i]);
        if (is_said(text)) px_str_format(out, "- %s: %s\n", labels[i], text);
    }
}

/* --- reading --- */

typedef struct {
    person_list *people;
    const px_corpus *corpus;
    px_map convs; /* training conversations' ids -> 1 */
} reader;

static person *find_person(person_list *list, const char *id) {
    const int32_t at = px_map_find(&list->by_id, id, strlen(id), -1);
    return at < 0 ? NULL : &list->items[at];
}

static px_err *take_survey(void *context, const cJSON *json) {
    const reader *r = context;
    const char *id = px_json_find_text(json, "user_id");
    person *p = id ? find_person(r->people, id) : NULL;
    px_str text = {0};
    if (!p || p->demographics) return NULL;
    write_demographics(json, &text);
    p->demographics = px_arena_text(r->people->arena, text.data ? text.data : "", text.size);
    px_str_clear(&text);
    write_own_words(json, &text);
    write_preferences(json, &text);
    p->words = px_arena_text(r->people->arena, text.data ? text.data : "", text.size);
    px_err *err = px_str_ok(&text);
    px_str_free(&text);
    return err ? err : px_arena_ok(r->people->arena);
}

/* A first part of a text: whole characters. */
static int clip(const char *text, int most) {
    int n = (int)strnlen(text, (size_t)most);
    while (n > 0 && text[n] && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    return n;
}

/* A chosen answer of a training conversation. Held-out ones are never looked at. */
static px_err *take_utterance(void *context, const cJSON *json) {
    const reader *r = context;
    enum { PROMPT_BYTES = 200, ANSWER_BYTES = 300 };
    const char *id = px_json_find_text(json, "user_id");
    const char *conv = px_json_find_text(json, "conversation_id");
    const char *asked = px_json_find_text(json, "user_prompt");
    const char *answer = px_json_find_text(json, "model_response");
    person *p = id ? find_person(r->people, id) : NULL;
    if (!p || !conv || !asked || !answer || p->n_choices >= PERSON_CHOICES) return NULL;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "if_chosen"))) return NULL;
    if (px_map_find(&r->convs, conv, strlen(conv), -1) < 0) return NULL;
    px_str text = {0};
    px_str_format(&text, "Asked: %.*s\nPreferred this answer: %.*s\n", clip(asked, PROMPT_BYTES),
                  asked, clip(answer, ANSWER_BYTES), answer);
    p->choices[p->n_choices++] =
        px_arena_text(r->people->arena, text.data ? text.data : "", text.size);
    px_err *err = px_str_ok(&text);
    px_str_free(&text);
    return err ? err : px_arena_ok(r->people->arena);
}

static px_err *each_line(const char *dir, const char *name, px_json_take *take, reader *r) {
    char *path = px_path_join(dir, name);
    if (!path) PX_NO_MEMORY();
    px_err *err = px_json_lines(path, false, take, r);
    free(path);
    return err;
}

static px_err *list_people(const prompt_list *prompts, person_list *out) {
    out->items = px_take(out->arena, person, prompts->n);
    PX_PASS(px_arena_ok(out->arena));
    for (int64_t i = 0; i < prompts->n; i++) {
        const char *id = prompts->items[i].user_id;
        if (!id || find_person(out, id)) continue;
        out->items[out->n].id = id;
        PX_PASS(px_map_set(&out->by_id, id, strlen(id), out->n++));
    }
    return NULL;
}

static px_err *hash_people(person_list *list) {
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    for (int32_t i = 0; i < list->n; i++) {
        const person *p = &list->items[i];
        px_sha_text(sha, p->id);
        px_sha_text(sha, p->demographics ? p->demographics : "");
        px_sha_text(sha, p->words ? p->words : "");
        for (int k = 0; k < p->n_choices; k++) px_sha_text(sha, p->choices[k]);
    }
    return px_sha_end(sha, &list->sha256);
}

px_err *people_read(const char *data_dir, const char *corpus_path, const prompt_list *prompts,
                    bool choices, person_list *out) {
    px_corpus *corpus = NULL;
    reader r = {.people = out};
    px_err *err = NULL;
    *out = (person_list){0};
    PX_PASS_TO(done, px_arena_new((size_t)1 << 18, &out->arena));
    PX_PASS_TO(done, list_people(prompts, out));
    PX_PASS_TO(done, each_line(data_dir, "survey.jsonl", take_survey, &r));
    if (!choices || !corpus_path) goto hash;
    PX_PASS_TO(done, px_corpus_open(corpus_path, &corpus));
    for (int32_t i = 0; i < corpus->n_convs; i++)
        if (corpus->convs[i].split == PX_SPLIT_TRAIN)
            PX_PASS_TO(done,
                       px_map_set(&r.convs, corpus->convs[i].id, strlen(corpus->convs[i].id), 1));
    PX_PASS_TO(done, each_line(data_dir, "utterances.jsonl", take_utterance, &r));
hash:
    err = hash_people(out);
done:
    px_map_free(&r.convs);
    px_corpus_close(corpus);
    return err;
}

void people_free(person_list *list) {
    px_map_free(&list->by_id);
    px_arena_free(list->arena);
    *list = (person_list){0};
}

const person *people_find(const person_list *list, const char *id) {
    const int32_t at = id ? px_map_find(&list->by_id, id, strlen(id), -1) : -1;
    return at < 0 ? NULL : &list->items[at];
}
