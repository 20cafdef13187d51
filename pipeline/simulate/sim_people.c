/* sim_people.c - the people who are played, from survey.jsonl: a profile in the second person. */
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

typedef struct {
    const people_ask *ask;
    sim_people *people;
    int32_t room;
} reader;

static bool is_said(const char *text) {
    return text && *text && strcmp(text, "Prefer not to say") != 0 &&
           strcmp(text, "EMPTY STRING") != 0;
}

/* The three highest of stated_prefs by value, ties in the survey's order. */
static void preferences_write(const cJSON *json, px_str *out) {
    const cJSON *prefs = cJSON_GetObjectItemCaseSensitive(json, "stated_prefs"), *item = NULL;
    const cJSON *taken[3] = {0};
    for (int n = 0; n < 3; n++) {
        const cJSON *best = NULL;
        cJSON_ArrayForEach(item, prefs) {
            if (!cJSON_IsNumber(item) || item->valuedouble <= 0 || item == taken[0] ||
                item == taken[1] || !strcmp(item->string, "other"))
                continue;
            if (!best || item->valuedouble > best->valuedouble) best = item;
        }
        if (!best) return;
        taken[n] = best;
        px_str_format(out, "%s%s", n ? ", " : "", best->string);
    }
}

static void fact_write(const profile_fact *fact, const cJSON *json, px_str *work, px_str *out) {
    static const char *const names[] = {"value"};
    const cJSON *holder = fact->inner ? cJSON_GetObjectItemCaseSensitive(json, fact->key) : json;
    const char *text = px_json_find_text(holder, fact->inner ? fact->inner : fact->key);
    if (!strcmp(fact->key, "preferences")) {
        px_str_clear(work);
        preferences_write(json, work);
        text = work->size ? work->data : NULL;
    }
    if (!is_said(text)) return;
    if (out->size) px_str_char(out, '\n');
    wording_fill(fact->text, names, &text, 1, out);
}

static px_err *person_add(reader *r, const char *id, const char *profile) {
    sim_people *people = r->people;
    if (people->n == r->room) {
        r->room = r->room ? 2 * r->room : 256;
        sim_person *grown = realloc(people->items, (size_t)r->room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        people->items = grown;
    }
    sim_person *person = &people->items[people->n];
    *person = (sim_person){.id = px_arena_text(people->arena, id, strlen(id)),
                           .profile = px_arena_text(people->arena, profile, strlen(profile)),
                           .split = -1};
    PX_PASS(px_arena_ok(people->arena));
    return px_map_set(&people->by_id, person->id, strlen(person->id), people->n++);
}

static px_err *line_take(void *context, const cJSON *json) {
    reader *r = context;
    const char *id = px_json_find_text(json, "user_id");
    px_str profile = {0}, work = {0};
    if (!id || !*id || px_map_find(&r->people->by_id, id, strlen(id), -1) >= 0) return NULL;
    if (r->ask->wanted) {
        if (px_map_find(&r->ask->wanted->numbers, id, strlen(id), -1) < 0) return NULL;
    } else if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "survey_only"))) {
        r->people->n_survey_only++;
        return NULL;
    }
    for (int i = 0; i < r->ask->words->n_facts; i++)
        fact_write(&r->ask->words->facts[i], json, &work, &profile);
    px_err *err = px_str_ok(&profile);
    if (!err) err = person_add(r, id, profile.data ? profile.data : "");
    px_str_free(&profile);
    px_str_free(&work);
    return err;
}

/* Those that the survey does not know, without a profile. */
static px_err *unknown_add(reader *r) {
    for (int32_t i = 0; r->ask->wanted && i < r->ask->wanted->n; i++) {
        const char *id = r->ask->wanted->at[i];
        if (px_map_find(&r->people->by_id, id, strlen(id), -1) < 0) PX_PASS(person_add(r, id, ""));
    }
    return NULL;
}

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* `most` of them by the seed, in the survey's order. */
static px_err *sample_take(sim_people *people, int64_t most, uint64_t seed) {
    if (most == 0 || most >= people->n) return NULL;
    int32_t *order = calloc((size_t)people->n + 1, sizeof *order);
    if (!order) PX_NO_MEMORY();
    px_rng_permutation((px_rng){seed, PX_RNG_SIMULATE}, 0, people->n, order);
    qsort(order, (size_t)most, sizeof *order, by_number);
    for (int64_t i = 0; i < most; i++) people->items[i] = people->items[order[i]];
    people->n = (int32_t)most;
    free(order);
    px_map_free(&people->by_id);
    for (int32_t i = 0; i < people->n; i++)
        PX_PASS(px_map_set(&people->by_id, people->items[i].id, strlen(people->items[i].id), i));
    return NULL;
}

static px_err *splits_take(const char *path, sim_people *people) {
    px_corpus *corpus = NULL;
    if (!path || !*path) return NULL;
    PX_PASS(px_corpus_open(path, &corpus));
    for (int32_t i = 0; i < corpus->n_users; i++) {
        const char *id = corpus->user_ids[i];
        const int32_t at = px_map_find(&people->by_id, id, strlen(id), -1);
        if (at >= 0) people->items[at].split = corpus->user_unseen[i];
    }
    px_corpus_close(corpus);
    return NULL;
}

static px_err *hash_people(sim_people *people) {
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    for (int32_t i = 0; i < people->n; i++) {
        px_sha_text(sha, people->items[i].id);
        px_sha_text(sha, people->items[i].profile);
        people->n_without += !*people->items[i].profile;
    }
    return px_sha_end(sha, &people->sha256);
}

px_err *sim_people_read(const people_ask *ask, sim_people *out) {
    reader r = {.ask = ask, .people = out};
    *out = (sim_people){0};
    PX_PASS(px_arena_new((size_t)1 << 18, &out->arena));
    char *path = px_path_join(ask->data_dir, "survey.jsonl");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_json_lines(path, false, line_take, &r);
    if (!err) err = unknown_add(&r);
    if (!err && out->n == 0)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: holds nobody with conversations",
                         path);
    free(path);
    PX_PASS(err);
    PX_PASS(sample_take(out, ask->most, ask->seed));
    PX_PASS(splits_take(ask->corpus_path, out));
    return hash_people(out);
}

void sim_people_free(sim_people *people) {
    free(people->items);
    px_map_free(&people->by_id);
    px_arena_free(people->arena);
    *people = (sim_people){0};
}
