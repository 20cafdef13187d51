/* trials_costs.c - what answers cost, from the file beside trials: see trials.h. */
#include <math.h>
#include <string.h>

#include "trials_internal.h"

px_err *px_trials_cost_path(const char *trials, px_str *out) {
    static const char ending[] = ".jsonl";
    const size_t n = strlen(trials), m = sizeof ending - 1;
    px_str_add(out, trials, n > m && !strcmp(trials + n - m, ending) ? n - m : n);
    px_str_text(out, ".cost.jsonl");
    return px_str_ok(out);
}

static int32_t number_of(const px_names *names, const char *text) {
    return px_map_find(&names->numbers, text, strlen(text), -1);
}

/* The trial that a line is about, or NULL. */
static px_trial *trial_of(px_trials *trials, const char *id, const char *person,
                          const char *source) {
    const int32_t i = number_of(&trials->ids, id), p = number_of(&trials->persons, person);
    for (int s = 0; s < PX_SOURCES && i >= 0 && p >= 0; s++) {
        char key[64];
        if (strcmp(px_source_names[s], source) != 0) continue;
        const int n = px_trial_key(key, (px_trial_source)s, p, i);
        const int32_t at = px_map_find(&trials->seen, key, (size_t)n, -1);
        return at < 0 ? NULL : &trials->at[at];
    }
    return NULL;
}

/* NaN where it is not there or below 0. */
static double amount_of(const cJSON *json, const char *key) {
    const double value = px_json_find_f64(json, key, NAN);
    return value >= 0 ? value : NAN;
}

static void slot_take(const px_trials *trials, const px_trial *trial, const cJSON *json) {
    static const char *const keys[PX_PROFILES] = {"prompt_tokens", "new_tokens", "seconds", "usd"};
    const char *pos = px_json_find_text(json, "pos"), *arm = px_json_find_text(json, "arm");
    for (int i = 0; pos && arm && i < trial->n_slots; i++) {
        px_trial_slot *slot = &trial->slots[i];
        if (slot->pos != px_trial_pos(pos) || strcmp(trials->arms.at[slot->arm], arm) != 0)
            continue;
        const double timed = amount_of(json, "timed");
        slot->seconds = timed > 0 ? amount_of(json, "seconds") / timed : NAN;
        slot->usd = amount_of(json, "usd");
        const cJSON *profile = cJSON_GetObjectItemCaseSensitive(json, "profile");
        for (int k = 0; k < PX_PROFILES; k++) slot->profile[k] = amount_of(profile, keys[k]);
    }
}

static px_err *line_take(px_trials *trials, const cJSON *json, const char *where) {
    const char *id = NULL, *person = NULL, *source = NULL;
    const cJSON *slots = cJSON_GetObjectItemCaseSensitive(json, "slots"), *slot = NULL;
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: found %s, wanted an object", where, px_json_type(json));
    PX_PASS(px_json_text(json, "trial", where, &id));
    PX_PASS(px_json_text(json, "person", where, &person));
    PX_PASS(px_json_text(json, "source", where, &source));
    if (!cJSON_IsArray(slots))
        PX_FAIL(PX_BAD_INPUT, "%s: slots: found %s, wanted a list", where, px_json_type(slots));
    const px_trial *trial = trial_of(trials, id, person, source);
    if (!trial) return NULL;
    cJSON_ArrayForEach(slot, slots) slot_take(trials, trial, slot);
    return NULL;
}

static px_err *lines_take(px_trials *trials, const char *path) {
    px_lines *lines = NULL;
    px_err *err = px_lines_open(path, &lines);
    while (!err) {
        const char *text = NULL;
        size_t size = 0;
        int64_t line = 0;
        char where[4200];
        cJSON *json = NULL;
        err = px_lines_next(lines, &text, &size, &line);
        if (err || !text) break;
        snprintf(where, sizeof where, "%s line %lld", path, (long long)line);
        err = px_json_parse_said(text, size, &json, NULL);
        err =
            err ? px_err_add(err, __FILE__, __LINE__, "%s", where) : line_take(trials, json, where);
        cJSON_Delete(json);
    }
    px_lines_close(lines);
    return err;
}

px_err *px_trials_costs(px_trials *trials, const char *path, bool *found) {
    px_str beside = {0};
    *found = false;
    px_err *err = px_trials_cost_path(path, &beside);
    if (!err) *found = px_path_exists(beside.data);
    if (!err && *found) err = lines_take(trials, beside.data);
    px_str_free(&beside);
    return err;
}
