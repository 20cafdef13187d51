/* trials.c - a file's lines into trials: see trials.h. */
#include "trials_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const px_source_names[PX_SOURCES] = {"human", "judge", "converse"};
const char *const px_question_names[PX_QUESTIONS] = {"preference", "provenance"};
const char *const px_slider_names[PX_SLIDERS] = {"preference", "engaging", "provenance"};

px_err *px_trials_new(px_trials *out) {
    *out = (px_trials){0};
    return px_arena_new((size_t)1 << 20, &out->arena);
}

static void names_free(px_names *names) {
    free(names->at);
    px_map_free(&names->numbers);
}

void px_trials_free(px_trials *trials) {
    free(trials->at);
    names_free(&trials->ids);
    names_free(&trials->persons);
    names_free(&trials->domains);
    names_free(&trials->arms);
    names_free(&trials->variants);
    names_free(&trials->runs);
    px_map_free(&trials->seen);
    px_arena_free(trials->arena);
    *trials = (px_trials){0};
}

px_err *px_name_number(px_trials *trials, px_names *names, const char *text, int32_t *out) {
    size_t size = strlen(text);
    *out = px_map_find(&names->numbers, text, size, -1);
    if (*out >= 0) return NULL;
    if (names->n == names->room) {
        int32_t room = names->room ? names->room * 2 : 64;
        const char **at = realloc(names->at, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        names->at = at;
        names->room = room;
    }
    const char *kept = px_arena_text(trials->arena, text, size);
    PX_PASS(px_arena_ok(trials->arena));
    PX_PASS(px_map_set(&names->numbers, kept, size, names->n));
    names->at[names->n] = kept;
    *out = names->n++;
    return NULL;
}

static px_err *tell(px_trial_line *l, const px_trial_problem *problem) {
    if (l->report) return l->report(l->context, problem);
    if (!problem->error) return NULL;
    PX_FAIL(PX_BAD_INPUT, "%s line %lld: %s%s%s", problem->path, (long long)problem->line,
            problem->key, *problem->key ? ": " : "", problem->reason);
}

px_err *px_trial_odd(px_trial_line *l, px_odd odd, const char *key, const char *format, ...) {
    char reason[256];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    l->trials->odd[odd]++;
    return tell(l, &(px_trial_problem){l->path, key, reason, l->line, false, odd});
}

px_err *px_trial_error(px_trial_line *l, const char *key, const char *format, ...) {
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    l->bad = true;
    l->trials->errors++;
    return tell(l, &(px_trial_problem){l->path, key, reason, l->line, true, PX_ODDS});
}

static void key_path(char out[160], const char *path, const char *key) {
    snprintf(out, 160, "%.60s%s%.60s", path, *path ? "." : "", key);
}

px_err *px_trial_item(px_trial_line *l, const cJSON *object, const char *path, const char *key,
                      int types, const cJSON **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    char place[160];
    *out = NULL;
    if (!item || cJSON_IsNull(item)) return NULL;
    if (item->type & types) {
        *out = item;
        return NULL;
    }
    key_path(place, path, key);
    return px_trial_error(l, place, "found %s, wanted %s%s", px_json_type(item),
                          types & cJSON_String   ? "a string"
                          : types & cJSON_Number ? "a number"
                          : types & cJSON_Array  ? "a list"
                                                 : "an object",
                          types & cJSON_NULL ? " or null" : "");
}

px_err *px_trial_known(px_trial_line *l, const cJSON *object, const char *path,
                       const char *const *keys, int n) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object) {
        char place[160];
        bool known = false;
        for (int i = 0; i < n && !known; i++) known = !strcmp(item->string, keys[i]);
        if (known) continue;
        key_path(place, path, item->string);
        int near = px_nearest(item->string, keys, n);
        PX_PASS(px_trial_odd(l, PX_ODD_KEY, place, "unknown key%s%s%s",
                             near >= 0 ? ", did you mean " : "", near >= 0 ? keys[near] : "",
                             near >= 0 ? "?" : ""));
    }
    return NULL;
}

/* Index of the text at key among n words; -1 absent; a word of no list is an error. */
static px_err *word_of(px_trial_line *l, const cJSON *json, const char *key,
                       const char *const *words, int n, int32_t *out) {
    const cJSON *item = NULL;
    *out = -1;
    PX_PASS(px_trial_item(l, json, "", key, cJSON_String, &item));
    if (!item) return NULL;
    for (int i = 0; i < n; i++)
        if (!strcmp(item->valuestring, words[i])) {
            *out = i;
            return NULL;
        }
    return px_trial_error(l, key, "found \"%.40s\", wanted %s%s%s%s%s", item->valuestring, words[0],
                          n > 2 ? ", " : " or ", words[1], n > 2 ? " or " : "",
                          n > 2 ? words[2] : "");
}

static px_err *named(px_trial_line *l, const cJSON *json, const char *key, px_names *names,
                     bool needed, int32_t *out) {
    const cJSON *item = NULL;
    *out = -1;
    bool before = l->bad;
    l->bad = false;
    PX_PASS(px_trial_item(l, json, "", key, cJSON_String, &item));
    bool failed = l->bad;
    l->bad |= before;
    if (failed) return NULL;
    if (!item || !*item->valuestring)
        return needed ? px_trial_error(l, key, "is missing, wanted a string") : NULL;
    if (names == &l->trials->domains && strlen(item->valuestring) > PX_NAME_MAX)
        return px_trial_error(l, key, "a name of over %d bytes", PX_NAME_MAX);
    return px_name_number(l->trials, names, item->valuestring, out);
}

static px_err *number_of(px_trial_line *l, const cJSON *json, const char *path, const char *key,
                         double *out) {
    const cJSON *item = NULL;
    PX_PASS(px_trial_item(l, json, path, key, cJSON_Number, &item));
    *out = item ? item->valuedouble : NAN;
    return NULL;
}

/* What is not kept is still looked at. */
static px_err *rest_check(px_trial_line *l, const cJSON *json, px_trial *trial) {
    static const char *const sim_keys[] = {"model", "prompt_sha"};
    static const char *const bdm_keys[] = {"price"};
    const cJSON *item = NULL;
    double number = 0;
    PX_PASS(number_of(l, json, "", "seed", &number));
    PX_PASS(number_of(l, json, "", "retries", &number));
    PX_PASS(number_of(l, json, "", "usd", &trial->usd));
    PX_PASS(number_of(l, json, "", "ms", &trial->ms));
    PX_PASS(px_trial_item(l, json, "", "sim", cJSON_Object, &item));
    if (item) {
        const cJSON *inner = NULL;
        for (int i = 0; i < 2; i++)
            PX_PASS(px_trial_item(l, item, "sim", sim_keys[i], cJSON_String, &inner));
    }
    PX_PASS(px_trial_item(l, json, "", "bdm", cJSON_Object, &item));
    trial->price = NAN;
    if (!item) return NULL;
    PX_PASS(px_trial_known(l, item, "bdm", bdm_keys, 1));
    return number_of(l, item, "bdm", "price", &trial->price);
}

int px_trial_key(char key[64], px_trial_source source, int32_t person, int32_t id) {
    return snprintf(key, 64, "%d %d %d", (int)source, (int)person, (int)id);
}

/* Once a trial of a person and source. */
static px_err *once(px_trial_line *l, const px_trial *trial) {
    char key[64];
    const int n = px_trial_key(key, trial->source, trial->person, trial->id);
    int32_t before = px_map_find(&l->trials->seen, key, (size_t)n, -1);
    if (before >= 0) {
        const px_trial *first = &l->trials->at[before];
        return px_trial_error(
            l, "trial", "this trial of this person and source stands on line %lld already%s",
            (long long)first->line, first->file == trial->file ? "" : " of an earlier file");
    }
    const char *kept = px_arena_text(l->trials->arena, key, (size_t)n);
    PX_PASS(px_arena_ok(l->trials->arena));
    return px_map_set(&l->trials->seen, kept, (size_t)n, (int32_t)l->trials->n);
}

static px_err *trial_fill(px_trial_line *l, const cJSON *json, px_trial *trial) {
    static const char *const keys[] = {"trial", "person", "source",  "domain",  "split", "seed",
                                       "sim",   "slots",  "turns",   "opening", "rank",  "vas",
                                       "wtp",   "bdm",    "retries", "usd",     "ms"};
    static const char *const splits[] = {"seen", "unseen"};
    int32_t source = 0;
    px_trials *t = l->trials;
    PX_PASS(px_trial_known(l, json, "", keys, (int)PX_COUNT(keys)));
    PX_PASS(named(l, json, "trial", &t->ids, true, &trial->id));
    PX_PASS(named(l, json, "person", &t->persons, true, &trial->person));
    PX_PASS(named(l, json, "domain", &t->domains, false, &trial->domain));
    PX_PASS(word_of(l, json, "source", px_source_names, PX_SOURCES, &source));
    trial->source = source < 0 ? PX_SOURCE_HUMAN : (px_trial_source)source;
    PX_PASS(word_of(l, json, "split", splits, 2, &trial->split));
    PX_PASS(rest_check(l, json, trial));
    PX_PASS(px_trial_slots(l, json, trial));
    if (trial->n_slots) {
        PX_PASS(px_trial_judgements(l, json, trial));
        PX_PASS(px_trial_turns(l, json, trial));
    }
    return l->bad ? NULL : once(l, trial);
}

static px_err *trial_add(px_trials *trials, const px_trial *trial) {
    if (trials->n == trials->room) {
        int64_t room = trials->room ? trials->room * 2 : 256;
        px_trial *at = realloc(trials->at, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        trials->at = at;
        trials->room = room;
    }
    trials->at[trials->n++] = *trial;
    return NULL;
}

static px_err *line_read(px_trial_line *l, const char *text, size_t size) {
    px_trial trial = {.id = -1, .line = l->line, .file = l->trials->n_files};
    cJSON *json = NULL;
    int64_t n_nul = 0;
    px_err *err = px_json_parse_said(text, size, &json, &n_nul);
    if (err && px_err_kind(err) == PX_BAD_INPUT) {
        /* "line 1, column 7: …": the line in the file is known better here */
        const char *what = px_err_text(err), *column = strstr(what, "column ");
        px_err *mine = px_trial_error(l, "", "%s", column ? column : what);
        px_err_free(err);
        return mine;
    }
    if (err) return err;
    if (n_nul > 0) err = px_trial_odd(l, PX_ODD_NUL, "", "a NUL in a text, read as U+FFFD");
    if (!err && !cJSON_IsObject(json))
        err = px_trial_error(l, "", "found %s, wanted an object", px_json_type(json));
    else if (!err)
        err = trial_fill(l, json, &trial);
    cJSON_Delete(json);
    if (err || l->bad) return err;
    return trial_add(l->trials, &trial);
}

px_err *px_trials_read(px_trials *trials, const char *path, px_trial_report *report,
                       void *context) {
    px_trial_line l = {.trials = trials, .path = path, .report = report, .context = context};
    px_lines *lines = NULL;
    px_err *err = px_lines_open(path, &lines);
    while (!err) {
        const char *text = NULL;
        size_t size = 0;
        err = px_lines_next(lines, &text, &size, &l.line);
        if (err || !text) break;
        l.bad = false;
        err = line_read(&l, text, size);
    }
    trials->n_files++;
    px_lines_close(lines);
    return err;
}
