/* trials_fields.c - slots of a trial and what is said of them by position. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trials_internal.h"

int px_trial_pos(const char *text) {
    bool one = text[0] >= 'A' && text[0] < 'A' + PX_SLOTS_MAX && !text[1];
    return one ? text[0] - 'A' : -1;
}

static px_err *count_of(px_trial_line *l, const cJSON *slot, const char *path, const char *key,
                        double *out) {
    const cJSON *item = NULL;
    PX_PASS(px_trial_item(l, slot, path, key, cJSON_Number, &item));
    *out = item ? item->valuedouble : NAN;
    return NULL;
}

static px_err *name_of(px_trial_line *l, const cJSON *slot, const char *path, const char *key,
                       px_names *names, bool needed, int32_t *out) {
    const cJSON *item = NULL;
    char place[64];
    snprintf(place, sizeof place, "%s.%s", path, key);
    *out = -1;
    int64_t errors = l->trials->errors;
    PX_PASS(px_trial_item(l, slot, path, key, cJSON_String, &item));
    if (errors != l->trials->errors) return NULL;
    if (!item || !*item->valuestring)
        return needed ? px_trial_error(l, place, "is missing, wanted a string") : NULL;
    if (strlen(item->valuestring) > PX_NAME_MAX)
        return px_trial_error(l, place, "a name of over %d bytes", PX_NAME_MAX);
    if (names->n >= PX_TRIAL_ARMS &&
        px_map_find(&names->numbers, item->valuestring, strlen(item->valuestring), -1) < 0)
        return px_trial_error(l, place, "more than %d names", PX_TRIAL_ARMS);
    return px_name_number(l->trials, names, item->valuestring, out);
}

static px_err *slot_read(px_trial_line *l, const cJSON *item, int index, px_trial_slot *slot) {
    static const char *const keys[] = {"pos",       "arm",   "variant",        "user",
                                       "run_sha",   "error", "context_tokens", "prompt_tokens",
                                       "new_tokens"};
    char path[32];
    const cJSON *field = NULL;
    snprintf(path, sizeof path, "slots[%d]", index);
    *slot = (px_trial_slot){.pos = -1,
                            .arm = -1,
                            .variant = -1,
                            .user = -1,
                            .run = -1,
                            .length = NAN,
                            .seconds = NAN,
                            .profile = {NAN, NAN, NAN, NAN},
                            .usd = NAN,
                            .wtp = NAN};
    for (int s = 0; s < PX_SLIDERS; s++) slot->vas[s] = NAN;
    if (!cJSON_IsObject(item))
        return px_trial_error(l, path, "found %s, wanted an object", px_json_type(item));
    PX_PASS(px_trial_known(l, item, path, keys, (int)PX_COUNT(keys)));
    PX_PASS(name_of(l, item, path, "arm", &l->trials->arms, true, &slot->arm));
    PX_PASS(name_of(l, item, path, "variant", &l->trials->variants, false, &slot->variant));
    PX_PASS(px_trial_item(l, item, path, "error", cJSON_String, &field));
    slot->error = field != NULL;
    PX_PASS(px_trial_item(l, item, path, "run_sha", cJSON_String, &field));
    if (field && strlen(field->valuestring) <= PX_NAME_MAX && l->trials->runs.n < PX_TRIAL_ARMS)
        PX_PASS(px_name_number(l->trials, &l->trials->runs, field->valuestring, &slot->run));
    PX_PASS(px_trial_item(l, item, path, "user", cJSON_String, &field));
    if (field && !strcmp(field->valuestring, "own")) slot->user = 1;
    if (field && !strcmp(field->valuestring, "generic")) slot->user = 0;
    if (field && slot->user < 0)
        PX_PASS(px_trial_error(l, path, "user: found \"%.40s\", wanted own or generic",
                               field->valuestring));
    PX_PASS(count_of(l, item, path, "context_tokens", &slot->context_tokens));
    PX_PASS(count_of(l, item, path, "prompt_tokens", &slot->prompt_tokens));
    PX_PASS(count_of(l, item, path, "new_tokens", &slot->new_tokens));
    PX_PASS(px_trial_item(l, item, path, "pos", cJSON_String, &field));
    slot->pos = field ? px_trial_pos(field->valuestring) : -1;
    if (slot->pos >= 0 || l->bad) return NULL;
    return px_trial_error(l, path, "pos: found %s%.20s%s, wanted A to H", field ? "\"" : "",
                          field ? field->valuestring : "nothing", field ? "\"" : "");
}

static int by_pos(const void *a, const void *b) {
    return ((const px_trial_slot *)a)->pos - ((const px_trial_slot *)b)->pos;
}

px_err *px_trial_slots(px_trial_line *l, const cJSON *json, px_trial *trial) {
    const cJSON *list = NULL, *item = NULL;
    int64_t errors = l->trials->errors;
    PX_PASS(px_trial_item(l, json, "", "slots", cJSON_Array, &list));
    if (errors != l->trials->errors) return NULL;
    if (!list) return px_trial_error(l, "slots", "is missing, wanted a list");
    int n = cJSON_GetArraySize(list), index = 0;
    if (n < 2 || n > PX_SLOTS_MAX)
        return px_trial_error(l, "slots", "found %d, wanted 2 to %d", n, PX_SLOTS_MAX);
    trial->slots = px_take(l->trials->arena, px_trial_slot, n);
    PX_PASS(px_arena_ok(l->trials->arena));
    for (int p = 0; p < PX_SLOTS_MAX; p++) l->slot_of[p] = -1;
    cJSON_ArrayForEach(item, list) {
        px_trial_slot *slot = &trial->slots[index];
        PX_PASS(slot_read(l, item, index, slot));
        if (slot->pos >= 0 && l->slot_of[slot->pos] >= 0) {
            char key[32];
            snprintf(key, sizeof key, "slots[%d].pos", index);
            PX_PASS(px_trial_error(l, key, "%c stands there twice", 'A' + slot->pos));
        }
        if (slot->pos >= 0) l->slot_of[slot->pos] = index;
        index++;
    }
    if (l->bad) return NULL;
    qsort(trial->slots, (size_t)n, sizeof *trial->slots, by_pos);
    for (int i = 0; i < n; i++) l->slot_of[trial->slots[i].pos] = i;
    trial->n_slots = n;
    return NULL;
}

/* --- judgements --- */

static int slot_at(const px_trial_line *l, const char *pos) {
    int p = px_trial_pos(pos);
    return p < 0 ? -1 : l->slot_of[p];
}

/* A ranking, best first, complete and without ties: ranks [n_slots], *good; anything else is
 * counted and left out. */
static px_err *ranks_of(px_trial_line *l, const cJSON *list, const char *key, const px_trial *trial,
                        int32_t *ranks, bool *good) {
    const cJSON *item = NULL;
    int place = 0;
    *good = false;
    memset(ranks, 0, (size_t)trial->n_slots * sizeof *ranks);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            return px_trial_error(l, key, "found %s, wanted positions", px_json_type(item));
        int slot = slot_at(l, item->valuestring);
        if (slot < 0)
            return px_trial_odd(l, PX_ODD_RANK, key, "invalid: no slot stands at \"%.10s\"",
                                item->valuestring);
        if (ranks[slot])
            return px_trial_odd(l, PX_ODD_RANK, key, "invalid: \"%.10s\" stands there twice",
                                item->valuestring);
        ranks[slot] = ++place;
    }
    *good = place == trial->n_slots;
    if (*good) return NULL;
    return px_trial_odd(l, PX_ODD_RANK, key, "invalid: %d of %d positions", place, trial->n_slots);
}

static px_err *rank_read(px_trial_line *l, const cJSON *list, px_question q, px_trial *trial) {
    const char *key = q == PX_PREFERENCE ? "rank.preference" : "rank.provenance";
    int32_t ranks[PX_SLOTS_MAX] = {0};
    bool good = false;
    PX_PASS(ranks_of(l, list, key, trial, ranks, &good));
    for (int i = 0; good && i < trial->n_slots; i++) trial->slots[i].rank[q] = ranks[i];
    return NULL;
}

/* Preference asked for in several orders of the slots: what of further ones differs from the first.
 */
static px_err *orders_read(px_trial_line *l, const cJSON *json, px_trial *trial) {
    const cJSON *sim = NULL, *list = NULL, *item = NULL;
    int32_t first[PX_SLOTS_MAX] = {0}, other[PX_SLOTS_MAX] = {0};
    bool begun = false, good = false;
    PX_PASS(px_trial_item(l, json, "", "sim", cJSON_Object, &sim));
    if (sim) PX_PASS(px_trial_item(l, sim, "sim", "orders", cJSON_Array, &list));
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsNull(item)) continue; /* asked, and no valid reply */
        if (!cJSON_IsArray(item))
            return px_trial_error(l, "sim.orders", "found %s, wanted lists of positions",
                                  px_json_type(item));
        PX_PASS(ranks_of(l, item, "sim.orders", trial, begun ? other : first, &good));
        if (!good) continue;
        trial->n_orders++;
        for (int i = 0; begun && i < trial->n_slots; i++) {
            trial->top_flips += first[i] == 1 && other[i] != 1;
            for (int k = 0; k < i; k++) {
                trial->order_pairs++;
                trial->order_flips += (first[i] < first[k]) != (other[i] < other[k]);
            }
        }
        begun = true;
    }
    return NULL;
}

typedef struct {
    const char *key;
    double most;
    size_t offset; /* of the double in px_trial_slot */
} value_kind;

static px_err *values_read(px_trial_line *l, const cJSON *object, const value_kind *kind,
                           px_trial *trial) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object) {
        char key[96];
        snprintf(key, sizeof key, "%s.%.20s", kind->key, item->string);
        if (cJSON_IsNull(item)) continue;
        if (!cJSON_IsNumber(item)) {
            PX_PASS(px_trial_error(l, key, "found %s, wanted a number", px_json_type(item)));
            continue;
        }
        int slot = slot_at(l, item->string);
        char text[32];
        if (slot < 0) {
            PX_PASS(px_trial_odd(l, PX_ODD_VALUE, key, "invalid: no slot stands there"));
        } else if (!(item->valuedouble >= 0 && item->valuedouble <= kind->most)) {
            PX_PASS(px_trial_odd(l, PX_ODD_VALUE, key, "invalid: %s is outside 0 to %g",
                                 px_double_text(item->valuedouble, text), kind->most));
        } else {
            memcpy((char *)&trial->slots[slot] + kind->offset, &item->valuedouble, sizeof(double));
        }
    }
    return NULL;
}

static px_err *choice_read(px_trial_line *l, const cJSON *opening, px_question q, px_trial *trial) {
    static const char *const keys[PX_QUESTIONS] = {"best", "provenance"};
    const cJSON *item = NULL;
    trial->opening[q] = -1;
    if (!opening) return NULL;
    PX_PASS(px_trial_item(l, opening, "opening", keys[q], cJSON_String, &item));
    if (!item) return NULL;
    trial->opening[q] = slot_at(l, item->valuestring);
    if (trial->opening[q] >= 0) return NULL;
    return px_trial_odd(l, PX_ODD_ANSWER, q ? "opening.provenance" : "opening.best",
                        "invalid: no slot stands at \"%.10s\"", item->valuestring);
}

px_err *px_trial_judgements(px_trial_line *l, const cJSON *json, px_trial *trial) {
    static const char *const opening_keys[] = {"best", "provenance"};
    static const value_kind sliders[PX_SLIDERS] = {
        {"vas.preference", 100, offsetof(px_trial_slot, vas)},
        {"vas.engaging", 100, offsetof(px_trial_slot, vas) + sizeof(double)},
        {"vas.provenance", 100, offsetof(px_trial_slot, vas) + 2 * sizeof(double)}};
    static const value_kind bid = {"wtp", 10, offsetof(px_trial_slot, wtp)};
    const cJSON *opening = NULL, *rank = NULL, *vas = NULL, *wtp = NULL, *item = NULL;
    PX_PASS(px_trial_item(l, json, "", "opening", cJSON_Object, &opening));
    PX_PASS(px_trial_item(l, json, "", "rank", cJSON_Object, &rank));
    PX_PASS(px_trial_item(l, json, "", "vas", cJSON_Object, &vas));
    PX_PASS(px_trial_item(l, json, "", "wtp", cJSON_Object, &wtp));
    if (opening) PX_PASS(px_trial_known(l, opening, "opening", opening_keys, 2));
    if (rank) PX_PASS(px_trial_known(l, rank, "rank", px_question_names, PX_QUESTIONS));
    if (vas) PX_PASS(px_trial_known(l, vas, "vas", px_slider_names, PX_SLIDERS));
    for (int q = 0; q < PX_QUESTIONS; q++) {
        PX_PASS(choice_read(l, opening, (px_question)q, trial));
        if (!rank) continue;
        PX_PASS(px_trial_item(l, rank, "rank", px_question_names[q], cJSON_Array, &item));
        if (item) PX_PASS(rank_read(l, item, (px_question)q, trial));
    }
    for (int s = 0; vas && s < PX_SLIDERS; s++) {
        PX_PASS(px_trial_item(l, vas, "vas", px_slider_names[s], cJSON_Object, &item));
        if (item) PX_PASS(values_read(l, item, &sliders[s], trial));
    }
    PX_PASS(orders_read(l, json, trial));
    return wtp ? values_read(l, wtp, &bid, trial) : NULL;
}

/* --- turns --- */

static int64_t characters(const char *text) {
    int64_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

typedef struct {
    double sum[PX_SLOTS_MAX];
    int64_t n[PX_SLOTS_MAX];
} answer_lengths;

static px_err *turn_read(px_trial_line *l, const cJSON *json, int index, px_turn *turn,
                         answer_lengths *lengths) {
    static const char *const keys[] = {"n", "to", "user", "answers"};
    const cJSON *item = NULL, *answers = NULL;
    char path[32];
    snprintf(path, sizeof path, "turns[%d]", index);
    if (!cJSON_IsObject(json))
        return px_trial_error(l, path, "found %s, wanted an object", px_json_type(json));
    PX_PASS(px_trial_known(l, json, path, keys, (int)PX_COUNT(keys)));
    PX_PASS(px_trial_item(l, json, path, "n", cJSON_Number, &item));
    turn->n = item && item->valuedouble >= 0 && item->valuedouble < 1e6 ? (int32_t)item->valuedouble
                                                                        : index;
    PX_PASS(px_trial_item(l, json, path, "to", cJSON_String, &item));
    for (const char *p = item ? item->valuestring : ""; *p; p++) {
        int slot = slot_at(l, (char[2]){*p, 0});
        if (slot >= 0)
            turn->to |= 1u << slot;
        else
            PX_PASS(px_trial_odd(l, PX_ODD_ANSWER, path, "to: nobody stands at %.1s", p));
    }
    PX_PASS(px_trial_item(l, json, path, "user", cJSON_String, &item));
    turn->size = item ? strlen(item->valuestring) : 0;
    turn->user = px_arena_text(l->trials->arena, item ? item->valuestring : "", turn->size);
    PX_PASS(px_arena_ok(l->trials->arena));
    PX_PASS(px_trial_item(l, json, path, "answers", cJSON_Object, &answers));
    cJSON_ArrayForEach(item, answers) {
        int slot = slot_at(l, item->string);
        char key[64];
        snprintf(key, sizeof key, "%s.answers.%.10s", path, item->string);
        if (cJSON_IsNull(item)) continue;
        if (!cJSON_IsString(item)) {
            PX_PASS(px_trial_error(l, key, "found %s, wanted a string", px_json_type(item)));
        } else if (slot < 0) {
            PX_PASS(px_trial_odd(l, PX_ODD_ANSWER, key, "nobody stands there"));
        } else {
            lengths->sum[slot] += (double)characters(item->valuestring);
            lengths->n[slot]++;
        }
    }
    return NULL;
}

px_err *px_trial_turns(px_trial_line *l, const cJSON *json, px_trial *trial) {
    const cJSON *list = NULL, *item = NULL;
    answer_lengths lengths = {0};
    PX_PASS(px_trial_item(l, json, "", "turns", cJSON_Array, &list));
    int n = cJSON_GetArraySize(list), index = 0;
    if (!list || n == 0) return NULL;
    trial->turns = px_take(l->trials->arena, px_turn, n);
    PX_PASS(px_arena_ok(l->trials->arena));
    cJSON_ArrayForEach(item, list) {
        PX_PASS(turn_read(l, item, index, &trial->turns[index], &lengths));
        index++;
    }
    trial->n_turns = n;
    for (int i = 0; i < trial->n_slots; i++)
        if (lengths.n[i]) trial->slots[i].length = lengths.sum[i] / (double)lengths.n[i];
    return NULL;
}
