/* prism.c - one line of conversations.jsonl: its history sorted by turn, broken parts left out and
 * counted, nothing believed. See prism.h. */
#include "prism.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A history item that can be used. */
typedef struct {
    int64_t turn;
    int32_t at; /* place in the file */
    bool is_user;
    const char *text;
    px_prism_answer answer;
} item;

/* What the functions of one line share. */
typedef struct {
    int64_t line;
    px_arena *arena;
    px_harms *harms;
} reader;

px_err *px_prism_line(const char *text, size_t size, int64_t line, px_harms *harms, px_harm utf8,
                      px_harm broken, cJSON **json) {
    *json = NULL;
    if (px_utf8_check(text, size) >= 0) return px_harm_add(harms, utf8, line, -1);
    px_err *err = px_json_parse(text, size, json);
    if (err && px_err_kind(err) != PX_BAD_INPUT) return err;
    if (!err && cJSON_IsObject(*json)) return NULL;
    px_err_free(err);
    cJSON_Delete(*json);
    *json = NULL;
    return px_harm_add(harms, broken, line, -1);
}

int64_t px_prism_int(const cJSON *object, const char *key, int64_t least, int64_t most,
                     int64_t missing) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(value)) return missing;
    double v = value->valuedouble;
    if (!(v >= (double)least && v <= (double)most) || v != floor(v)) return missing;
    return (int64_t)v;
}

static const char *text_of(const cJSON *object, const char *key) {
    const char *text = px_json_find_text(object, key);
    return text && *text ? text : NULL;
}

static bool is_blank(const char *text) {
    for (; *text; text++)
        if (!strchr(" \t\r\n", *text)) return false;
    return true;
}

/* An answer's own fields; *ok is false where it cannot be used. */
static px_err *answer_read(const reader *r, const cJSON *json, item *out, bool *ok) {
    const cJSON *mark = cJSON_GetObjectItemCaseSensitive(json, "if_chosen");
    *ok = cJSON_IsBool(mark);
    if (!*ok) return px_harm_add(r->harms, PX_HARM_NO_MARK, r->line, out->turn);
    out->answer.text = out->text;
    out->answer.chosen = cJSON_IsTrue(mark);
    out->answer.id = (int32_t)px_prism_int(json, "within_turn_id", 0, INT32_MAX, -1);
    out->answer.score = (int32_t)px_prism_int(json, "score", 1, 100, -1);
    if (out->answer.id < 0) PX_PASS(px_harm_add(r->harms, PX_HARM_NO_WITHIN, r->line, out->turn));
    if (out->answer.score < 0) PX_PASS(px_harm_add(r->harms, PX_HARM_NO_SCORE, r->line, out->turn));
    if (!*out->text || strcmp(out->text, "EMPTY STRING") == 0)
        PX_PASS(px_harm_add(r->harms, PX_HARM_EMPTY, r->line, out->turn));
    return NULL;
}

static px_err *item_read(const reader *r, const cJSON *json, item *out, bool *ok) {
    *ok = false;
    out->turn = cJSON_IsObject(json) ? px_prism_int(json, "turn", 0, INT32_MAX, -1) : -1;
    if (out->turn < 0) return px_harm_add(r->harms, PX_HARM_ITEM, r->line, -1);
    const char *role = px_json_find_text(json, "role");
    out->is_user = role && strcmp(role, "user") == 0;
    if (!out->is_user && !(role && strcmp(role, "model") == 0))
        return px_harm_add(r->harms, PX_HARM_ROLE, r->line, out->turn);
    out->text = px_json_find_text(json, "content");
    if (!out->text) return px_harm_add(r->harms, PX_HARM_NO_CONTENT, r->line, out->turn);
    if (!out->is_user) return answer_read(r, json, out, ok);
    *ok = true;
    if (is_blank(out->text)) return px_harm_add(r->harms, PX_HARM_BLANK, r->line, out->turn);
    return NULL;
}

static int item_order(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->turn != y->turn) return x->turn < y->turn ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The usable items sorted by turn, file order within. */
static px_err *items_read(const reader *r, const cJSON *history, item **out, int32_t *n) {
    item *items = px_take(r->arena, item, cJSON_GetArraySize(history));
    PX_TRY(px_arena_ok(r->arena), "conversations.jsonl line %lld", (long long)r->line);
    int32_t kept = 0;
    bool ordered = true;
    const cJSON *json;
    cJSON_ArrayForEach(json, history) {
        bool ok;
        items[kept].at = kept;
        PX_PASS(item_read(r, json, &items[kept], &ok));
        if (!ok) continue;
        if (kept > 0 && (items[kept].turn < items[kept - 1].turn ||
                         (items[kept].turn == items[kept - 1].turn && items[kept].is_user &&
                          !items[kept - 1].is_user)))
            ordered = false;
        kept++;
    }
    if (!ordered) {
        PX_PASS(px_harm_add(r->harms, PX_HARM_ORDER, r->line, -1));
        qsort(items, (size_t)kept, sizeof *items, item_order);
    }
    *out = items;
    *n = kept;
    return NULL;
}

static int id_order(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static px_err *check_ids(const reader *r, const px_prism_turn *turn, int64_t t) {
    size_t mark = px_arena_mark(r->arena);
    int32_t *ids = px_take_raw(r->arena, int32_t, turn->n_answers + 1);
    PX_TRY(px_arena_ok(r->arena), "conversations.jsonl line %lld", (long long)r->line);
    for (int32_t i = 0; i < turn->n_answers; i++) ids[i] = turn->answers[i].id;
    qsort(ids, (size_t)turn->n_answers, sizeof *ids, id_order);
    bool twice = false;
    for (int32_t i = 1; i < turn->n_answers; i++) twice |= ids[i] >= 0 && ids[i] == ids[i - 1];
    px_arena_reset(r->arena, mark);
    return twice ? px_harm_add(r->harms, PX_HARM_WITHIN_TWICE, r->line, t) : NULL;
}

/* Counts what is odd about a turn's marks and scores; picks its chosen answer. */
static px_err *turn_judge(const reader *r, px_prism_turn *turn, int64_t t) {
    int32_t n_chosen = 0, best = -1;
    turn->chosen = -1;
    for (int32_t i = 0; i < turn->n_answers; i++) {
        const px_prism_answer *a = &turn->answers[i];
        best = PX_MAX(best, a->score);
        if (a->chosen && n_chosen++ == 0) turn->chosen = i;
    }
    if (turn->n_answers == 0) return px_harm_add(r->harms, PX_HARM_NO_RESPONSE, r->line, t);
    if (n_chosen == 0) PX_PASS(px_harm_add(r->harms, PX_HARM_NO_CHOSEN, r->line, t));
    if (n_chosen > 1) PX_PASS(px_harm_add(r->harms, PX_HARM_MANY_CHOSEN, r->line, t));
    if (n_chosen == turn->n_answers)
        PX_PASS(px_harm_add(r->harms, PX_HARM_NO_REJECTED, r->line, t));
    if (n_chosen > 0 && turn->answers[turn->chosen].score > 0 &&
        turn->answers[turn->chosen].score < best)
        PX_PASS(px_harm_add(r->harms, PX_HARM_LOW_CHOSEN, r->line, t));
    if (t == 0 ? turn->n_answers > 4 : turn->n_answers != 2)
        PX_PASS(px_harm_add(r->harms, PX_HARM_COUNTS, r->line, t));
    return check_ids(r, turn, t);
}

/* One turn from its items; *has_prompt is false where the user message is missing. */
static px_err *turn_read(const reader *r, const item *items, int32_t n, px_prism_turn *turn,
                         bool *has_prompt) {
    px_prism_answer *answers = px_take(r->arena, px_prism_answer, n);
    PX_TRY(px_arena_ok(r->arena), "conversations.jsonl line %lld", (long long)r->line);
    *turn = (px_prism_turn){.answers = answers};
    for (int32_t i = 0; i < n; i++) {
        if (!items[i].is_user)
            answers[turn->n_answers++] = items[i].answer;
        else if (!turn->prompt)
            turn->prompt = items[i].text;
        else
            PX_PASS(px_harm_add(r->harms, PX_HARM_PROMPTS, r->line, items[i].turn));
    }
    *has_prompt = turn->prompt != NULL;
    if (!*has_prompt) return px_harm_add(r->harms, PX_HARM_NO_PROMPT, r->line, items[0].turn);
    return turn_judge(r, turn, items[0].turn);
}

/* Cuts the items into turns, up to the first gap or missing user message. */
static px_err *turns_read(const reader *r, const cJSON *history, px_prism_conv *out) {
    item *items;
    int32_t n, first = 0;
    PX_PASS(items_read(r, history, &items, &n));
    out->turns = px_take(r->arena, px_prism_turn, n + 1);
    PX_TRY(px_arena_ok(r->arena), "conversations.jsonl line %lld", (long long)r->line);
    bool open = true;
    while (first < n) {
        if (items[first].turn != out->n_turns)
            return px_harm_add(r->harms, PX_HARM_GAP, r->line, items[first].turn);
        int32_t end = first;
        while (end < n && items[end].turn == items[first].turn) end++;
        bool has_prompt;
        px_prism_turn *turn = &out->turns[out->n_turns];
        PX_PASS(turn_read(r, items + first, end - first, turn, &has_prompt));
        if (!has_prompt) return NULL;
        out->n_turns++;
        open = open && turn->chosen >= 0;
        if (open) out->n_usable = out->n_turns;
        first = end;
    }
    return NULL;
}

static px_err *type_read(const reader *r, const cJSON *json, px_prism_conv *out) {
    static const char *const types[] = {"unguided", "values guided", "controversy guided"};
    const char *type = px_json_find_text(json, "conversation_type");
    for (int i = 0; type && i < 3; i++) {
        if (strcmp(type, types[i]) != 0) continue;
        out->type = (px_conv_type)i;
        return NULL;
    }
    out->type = PX_CONV_OTHER;
    return px_harm_add(r->harms, PX_HARM_TYPE, r->line, -1);
}

static px_err *conv_fill(const reader *r, const cJSON *json, px_prism_conv *out, bool *ok) {
    *ok = false;
    *out = (px_prism_conv){.line = r->line};
    out->id = text_of(json, "conversation_id");
    if (!out->id) return px_harm_add(r->harms, PX_HARM_NO_ID, r->line, -1);
    out->user_id = text_of(json, "user_id");
    if (!out->user_id) return px_harm_add(r->harms, PX_HARM_NO_USER, r->line, -1);
    const cJSON *history = cJSON_GetObjectItemCaseSensitive(json, "conversation_history");
    if (!cJSON_IsArray(history) || !history->child)
        return px_harm_add(r->harms, PX_HARM_NO_HISTORY, r->line, -1);
    PX_PASS(type_read(r, json, out));
    out->balanced =
        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "included_in_balanced_subset"));
    PX_PASS(turns_read(r, history, out));
    *ok = true;
    int64_t stated = px_prism_int(json, "conversation_turns", 0, INT32_MAX, -1);
    if (stated != out->n_turns) PX_PASS(px_harm_add(r->harms, PX_HARM_TURNS, r->line, -1));
    const char *opening = px_json_find_text(json, "opening_prompt");
    if (out->n_turns > 0 && (!opening || strcmp(opening, out->turns[0].prompt) != 0))
        PX_PASS(px_harm_add(r->harms, PX_HARM_OPENING, r->line, -1));
    return NULL;
}

px_err *px_prism_conv_parse(const char *text, size_t size, int64_t line, px_arena *arena,
                            px_harms *harms, cJSON **json, px_prism_conv *out, bool *ok) {
    *ok = false;
    reader r = {line, arena, harms};
    PX_PASS(px_prism_line(text, size, line, harms, PX_HARM_UTF8, PX_HARM_JSON, json));
    if (!*json) return NULL;
    px_err *err = conv_fill(&r, *json, out, ok);
    if (!err && *ok) return NULL;
    cJSON_Delete(*json);
    *json = NULL;
    *ok = false;
    return err;
}

/* Characters, as PRISM counts lengths, not bytes. */
static int64_t chars_of(const char *text) {
    int64_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void facts_opening(px_prism_facts *facts, const px_prism_turn *turn) {
    int32_t best = -1, second = -1;
    int64_t longest = -1, chosen = -1;
    for (int32_t i = 0; i < turn->n_answers; i++) {
        int32_t score = turn->answers[i].score;
        second = score > best ? best : PX_MAX(second, score);
        best = PX_MAX(best, score);
        int64_t chars = chars_of(turn->answers[i].text);
        longest = PX_MAX(longest, chars);
        if (i == turn->chosen) chosen = chars;
    }
    if (turn->chosen < 0 || turn->n_answers < 2) return;
    facts->n_openings++;
    facts->n_longest_chosen += chosen == longest;
    if (second < 0) return;
    facts->n_openings_scored++;
    facts->n_near_ties += best - second <= 5;
}

void px_prism_facts_add(px_prism_facts *facts, const px_prism_conv *conv) {
    facts->n_convs++;
    facts->n_types[conv->type]++;
    facts->n_balanced += conv->balanced;
    facts->n_turns += conv->n_turns;
    if (conv->n_turns > 0) {
        facts_opening(facts, &conv->turns[0]);
        facts->opening_chars += (double)chars_of(conv->turns[0].prompt);
    }
    for (int32_t t = 0; t < conv->n_turns; t++) {
        const px_prism_turn *turn = &conv->turns[t];
        facts->n_answers += turn->n_answers;
        facts->prompt_chars += (double)chars_of(turn->prompt);
        for (int32_t i = 0; i < turn->n_answers; i++) {
            const px_prism_answer *a = &turn->answers[i];
            facts->n_chosen += a->chosen;
            facts->answer_chars += (double)chars_of(a->text);
            if (a->score < 0) continue;
            facts->n_scores++;
            facts->score_sum += a->score;
            facts->score_squares += (double)a->score * a->score;
        }
    }
}
