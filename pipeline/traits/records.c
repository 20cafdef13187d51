/* records.c - a line of answers or of trials, and a line of traits.jsonl. */
#include "traits_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

enum { ARMS_MAX = 1000 };

px_err *px_reader_new(const px_lists *lists, bool trials, px_reader *out) {
    *out = (px_reader){.lists = lists, .trials = trials};
    PX_PASS(px_arena_new(1 << 20, &out->arena));
    return px_scorer_new(lists, &out->scorer);
}

void px_reader_free(px_reader *reader) {
    px_map_free(&reader->arms.numbers);
    free(reader->arms.names);
    free(reader->arms.first);
    px_scorer_free(reader->scorer);
    px_str_free(&reader->name);
    px_arena_free(reader->arena);
    *reader = (px_reader){0};
}

static px_err *record_add(px_records *records, px_record record) {
    if (records->n == records->room) {
        int64_t room = records->room ? records->room * 2 : 256;
        px_record *at = realloc(records->at, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        records->at = at;
        records->room = room;
    }
    records->at[records->n++] = record;
    return NULL;
}

enum { POOL = 1 << 16 };

/* A copy that lasts as long as the reader; texts lie one behind another, which an arena's takes,
 * aligned as they are, do not. */
static px_err *text_keep(px_reader *reader, const char *text, size_t size, const char **out) {
    if (size >= reader->pool_left) {
        size_t room = PX_MAX(size + 1, (size_t)POOL);
        reader->pool = px_arena_take_raw(reader->arena, room, 1);
        PX_PASS(px_arena_ok(reader->arena));
        reader->pool_left = room;
    }
    memcpy(reader->pool, text, size);
    reader->pool[size] = 0;
    *out = reader->pool;
    reader->pool += size + 1;
    reader->pool_left -= size + 1;
    return NULL;
}

/* The text at key, NULL where there is none or null; borrowed from json. */
static px_err *text_find(const cJSON *json, const char *key, const char **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    *out = NULL;
    if (!item || cJSON_IsNull(item)) return NULL;
    if (!cJSON_IsString(item))
        PX_FAIL(PX_BAD_INPUT, "%s: found %s, wanted a string", key, px_json_type(item));
    *out = item->valuestring;
    return NULL;
}

/* As text_find, but kept. */
static px_err *kept_find(px_reader *reader, const cJSON *json, const char *key, const char **out) {
    PX_PASS(text_find(json, key, out));
    return *out ? text_keep(reader, *out, strlen(*out), out) : NULL;
}

/* The arm's number; an unnamed one has the empty name. */
static px_err *arm_number(px_reader *reader, const char *name, int16_t *out) {
    px_arms *arms = &reader->arms;
    if (!name) name = "";
    size_t size = strlen(name);
    int32_t at = px_map_find(&arms->numbers, name, size, -1);
    if (at < 0) {
        at = arms->n;
        if (arms->n == ARMS_MAX) PX_FAIL(PX_BAD_INPUT, "more than %d arms", ARMS_MAX);
        if (arms->n == arms->room) {
            int room = arms->room ? arms->room * 2 : 16;
            const char **names = realloc(arms->names, (size_t)room * sizeof *names);
            if (names) arms->names = names;
            int64_t *first = realloc(arms->first, (size_t)room * sizeof *first);
            if (first) arms->first = first;
            if (!names || !first) PX_NO_MEMORY();
            arms->room = room;
        }
        PX_PASS(text_keep(reader, name, size, &arms->names[at]));
        arms->first[at] = reader->offset;
        PX_PASS(px_map_set(&arms->numbers, arms->names[at], size, at));
        arms->n++;
    }
    *out = (int16_t)at;
    return NULL;
}

static px_err *score(px_reader *reader, const cJSON *text, const char *asked, int64_t n_tokens,
                     px_reading *out) {
    if (!cJSON_IsString(text)) {
        *out = (px_reading){.left_out = PX_MISSING};
        return NULL;
    }
    return px_scorer_read(reader->scorer, text->valuestring, strlen(text->valuestring), asked,
                          asked ? strlen(asked) : 0, n_tokens, out);
}

/* --- answers --- */

static const char *last_user_text(const cJSON *json) {
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(json, "messages"), *item = NULL;
    const char *last = NULL;
    cJSON_ArrayForEach(item, messages) {
        const char *role = px_json_find_text(item, "role");
        const char *content = px_json_find_text(item, "content");
        if (role && content && !strcmp(role, "user")) last = content;
    }
    return last;
}

static px_err *answer_read(px_reader *reader, const cJSON *json, px_records *out) {
    px_record r = {.turn = -1};
    const char *arm = NULL;
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(json, "text");
    const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(json, "tokens");
    double n_tokens = px_json_find_f64(json, "new_tokens", -1);
    PX_PASS(text_find(json, "id", &r.id));
    if (!r.id) PX_FAIL(PX_BAD_INPUT, "id is missing");
    PX_PASS(text_keep(reader, r.id, strlen(r.id), &r.id));
    PX_PASS(text_find(json, "arm", &arm));
    PX_PASS(arm_number(reader, arm, &r.arm));
    PX_PASS(kept_find(reader, json, "user_id", &r.user));
    PX_PASS(kept_find(reader, json, "domain", &r.domain));
    if (!text || (!cJSON_IsString(text) && !cJSON_IsNull(text)))
        PX_FAIL(PX_BAD_INPUT, "text: found %s, wanted a string: is this a file of answers?",
                px_json_type(text));
    double sample = px_json_find_f64(json, "sample", -1);
    if (sample >= 0 && sample < 1e6) r.turn = (int32_t)sample;
    const char *finish = px_json_find_text(json, "finish");
    if (finish && !strcmp(finish, "error")) text = NULL; /* it could not be answered */
    if (n_tokens < 0 && cJSON_IsArray(tokens)) n_tokens = cJSON_GetArraySize(tokens);
    if (!(n_tokens <= 1e9)) n_tokens = -1;
    PX_PASS(score(reader, text, last_user_text(json), (int64_t)n_tokens, &r.reading));
    return record_add(out, r);
}

/* --- trials --- */

const char *px_trial_arm(const cJSON *slots, const char *pos) {
    const cJSON *slot = NULL;
    cJSON_ArrayForEach(slot, slots) {
        const char *name = px_json_find_text(slot, "pos");
        if (name && !strcmp(name, pos)) return px_json_find_text(slot, "arm");
    }
    return NULL;
}

static px_err *turn_read(px_reader *reader, const cJSON *turn, const cJSON *slots, int at,
                         const px_record *trial, px_records *out) {
    const cJSON *answers = cJSON_GetObjectItemCaseSensitive(turn, "answers"), *answer = NULL;
    double n = px_json_find_f64(turn, "n", at);
    if (!cJSON_IsObject(turn) || (answers && !cJSON_IsObject(answers) && !cJSON_IsNull(answers)))
        PX_FAIL(PX_BAD_INPUT, "turns, %d: wanted an object with answers by position", at);
    cJSON_ArrayForEach(answer, answers) {
        px_record r = *trial;
        const char *arm = px_trial_arm(slots, answer->string);
        r.turn = n >= 0 && n < 1e6 ? (int32_t)n : at;
        if (!arm)
            PX_FAIL(PX_BAD_INPUT, "turns, %d: an answer at %.8s, where no slot has an arm", at,
                    answer->string);
        if (!cJSON_IsString(answer) && !cJSON_IsNull(answer))
            PX_FAIL(PX_BAD_INPUT, "turns, %d: answers: found %s, wanted a string", at,
                    px_json_type(answer));
        px_str_clear(&reader->name);
        px_str_format(&reader->name, "%s/%d", r.trial, r.turn);
        PX_PASS(px_str_ok(&reader->name));
        PX_PASS(text_keep(reader, reader->name.data, reader->name.size, &r.id));
        PX_PASS(text_keep(reader, answer->string, strlen(answer->string), &r.pos));
        PX_PASS(arm_number(reader, arm, &r.arm));
        PX_PASS(score(reader, answer, px_json_find_text(turn, "user"), -1, &r.reading));
        PX_PASS(record_add(out, r));
    }
    return NULL;
}

static px_err *trial_read(px_reader *reader, const cJSON *json, px_records *out) {
    px_record trial = {0};
    const cJSON *slots = cJSON_GetObjectItemCaseSensitive(json, "slots");
    const cJSON *turns = cJSON_GetObjectItemCaseSensitive(json, "turns"), *turn = NULL;
    int at = 0;
    PX_PASS(kept_find(reader, json, "trial", &trial.trial));
    if (!trial.trial) PX_FAIL(PX_BAD_INPUT, "trial is missing");
    PX_PASS(kept_find(reader, json, "person", &trial.user));
    PX_PASS(kept_find(reader, json, "domain", &trial.domain));
    if (!cJSON_IsArray(slots))
        PX_FAIL(PX_BAD_INPUT, "slots: found %s, wanted an array", px_json_type(slots));
    if (turns && !cJSON_IsArray(turns) && !cJSON_IsNull(turns))
        PX_FAIL(PX_BAD_INPUT, "turns: found %s, wanted an array", px_json_type(turns));
    cJSON_ArrayForEach(turn, turns) PX_PASS(turn_read(reader, turn, slots, at++, &trial, out));
    return NULL;
}

px_err *px_record_read(px_reader *reader, const char *line, size_t size, px_records *out) {
    cJSON *json = NULL;
    px_err *err = NULL;
    PX_PASS(px_json_parse_said(line, size, &json, NULL));
    if (!cJSON_IsObject(json))
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "found %s, wanted an object",
                         px_json_type(json));
    else
        err = reader->trials ? trial_read(reader, json, out) : answer_read(reader, json, out);
    cJSON_Delete(json);
    return err;
}

/* --- writing --- */

static void add_text(px_str *out, const char *key, const char *value) {
    px_str_char(out, ',');
    px_str_json(out, key, strlen(key));
    px_str_char(out, ':');
    if (value)
        px_str_json(out, value, strlen(value));
    else
        px_str_text(out, "null");
}

/* Six significant digits: more would be of no use, and the file holds many. */
static void add_number(px_str *out, const char *key, double value) {
    px_str_char(out, ',');
    px_str_json(out, key, strlen(key));
    if (isnan(value))
        px_str_text(out, ":null");
    else
        px_str_format(out, ":%.6g", value + 0.0);
}

static void add_count(px_str *out, uint32_t value) {
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    px_str_add(out, digits + at, sizeof digits - at);
}

static void add_hits(const px_lists *lists, const px_reading *reading, px_list_id list,
                     px_str *out) {
    px_str_text(out, ",\"hits\":{");
    for (int k = 0; k < lists->n[list]; k++) {
        const char *name = lists->features[list][k].name;
        if (k > 0) px_str_char(out, ',');
        px_str_json(out, name, strlen(name));
        px_str_char(out, ':');
        add_count(out, reading->hits[lists->at[list] + k]);
    }
    px_str_char(out, '}');
}

static void add_trait(const px_lists *lists, const px_norms *norms, const px_reading *reading,
                      px_list_id trait, px_str *out) {
    bool none = reading->left_out != PX_SCORED;
    px_str_format(out, ",\"%s\":{\"score\":", px_list_name(trait));
    double value = px_reading_score(lists, norms, reading, trait);
    if (isnan(value))
        px_str_text(out, "null");
    else
        px_str_format(out, "%.6g", value + 0.0);
    add_hits(lists, reading, trait, out);
    if (trait == PX_VERBOSITY) {
        add_number(out, "rate", none ? NAN : (double)reading->words);
    } else {
        add_number(out, "rate", none ? NAN : px_reading_rate(reading, trait, false));
        add_number(out, "rate_first60", none ? NAN : px_reading_rate(reading, trait, true));
    }
    px_str_char(out, '}');
}

void px_record_write(const px_lists *lists, const px_norms *norms, const px_record *record,
                     const char *arm, px_str *out) {
    static const char *const why[] = {NULL, "missing", "short", "not English"};
    const px_reading *reading = &record->reading;
    px_str_text(out, "{\"id\":");
    px_str_json(out, record->id, strlen(record->id));
    add_text(out, "arm", *arm ? arm : NULL);
    add_text(out, "user_id", record->user);
    if (record->domain) add_text(out, "domain", record->domain);
    if (!record->trial && record->turn >= 0) px_str_format(out, ",\"sample\":%d", record->turn);
    if (record->trial) {
        add_text(out, "trial", record->trial);
        px_str_format(out, ",\"turn\":%d", record->turn);
        add_text(out, "pos", record->pos);
    }
    for (int t = 0; t < PX_TRAITS; t++) add_trait(lists, norms, reading, (px_list_id)t, out);
    px_str_format(out, ",\"controls\":{\"words\":%u", reading->words);
    for (int k = 0; k < lists->n[PX_CONTROLS]; k++) {
        const px_feature *f = &lists->features[PX_CONTROLS][k];
        double hits = reading->hits[lists->at[PX_CONTROLS] + k], words = PX_MAX(reading->words, 1u);
        double plain = f->by == PX_BY_TYPES ? hits / words : 0;
        bool types = f->by == PX_BY_TYPES;
        add_number(out, f->name, types ? plain : px_reading_value(lists, reading, PX_CONTROLS, k));
    }
    px_str_char(out, '}');
    if (why[reading->left_out]) add_text(out, "left_out", why[reading->left_out]);
    px_str_format(out, ",\"lists\":\"%.16s\"}\n", lists->digest[PX_LISTS].hex);
}
