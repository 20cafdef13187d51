/* grammar.c - a form becomes parts; states step over bytes; each has its completion. See
 * grammar_internal.h.
 *
 * State.at and value of a part:
 *   TEXT     at: offset
 *   STRING   at: string.c's; value: bytes taken
 *   CHOICE   value: the first text that begins as the bytes so far, at: their number
 *   INTEGER  at: START, MINUS, or digits so far behind none or a minus; value: what they make
 *   RANKING  used: texts that stand; value: as CHOICE among the others with at bytes, or -1 between
 *            texts, at: FIRST_TEXT, BEHIND_TEXT, BEHIND_COMMA */
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

enum { START, MINUS, DIGITS, MINUS_DIGITS };
enum { FIRST_TEXT, BEHIND_TEXT, BEHIND_COMMA };
enum { TEXTS_MOST = 64, RANKED_MOST = 16 };
#define INTEGER_MOST INT64_C(1000000000000000)

static grammar_state part_start(const px_grammar *g, int32_t part) {
    grammar_state s = {.part = part};
    if (part == g->n_parts) return s;
    const grammar_part *p = &g->parts[part];
    if (p->kind == PART_STRING && p->least > 0) s.at = STRING_OPEN;
    if (p->kind == PART_RANKING) s.value = -1;
    return s;
}

grammar_state grammar_start(const px_grammar *g) { return part_start(g, 0); }

grammar_state grammar_class(const px_grammar *g, const grammar_state *state) {
    grammar_state class = *state;
    if (state->part < g->n_parts && g->parts[state->part].kind == PART_STRING) class.value = 0;
    return class;
}

int64_t grammar_room(const px_grammar *g, const grammar_state *state) {
    if (state->part == g->n_parts || g->parts[state->part].kind != PART_STRING) return INT64_MAX;
    return g->parts[state->part].most - state->value;
}

/* --- integers --- */

/* Which magnitudes the sign so far allows. */
static void magnitudes(const grammar_part *p, bool minus, int64_t *low, int64_t *high) {
    *low = minus ? PX_MAX(1, -p->most) : PX_MAX(0, p->least);
    *high = minus ? -p->least : p->most;
}

/* The least number within the bounds that begins with the digits of value, of those with the fewest
 * digits; how many digits are missing, or -1: there is none. */
static int missing_digits(int64_t value, int64_t low, int64_t high, int64_t *number) {
    int64_t a = value, b = value;
    for (int k = 0; a <= high; k++, a *= 10, b = 10 * b + 9) {
        *number = PX_MAX(a, low);
        if (b >= low) return k;
        if (value == 0) break; /* nothing stands behind a first 0 */
    }
    return -1;
}

static bool integer_complete(const grammar_part *p, const grammar_state *s) {
    int64_t low = 0, high = 0;
    magnitudes(p, s->at == MINUS_DIGITS, &low, &high);
    return s->at >= DIGITS && s->value >= low && s->value <= high;
}

/* false: the byte is no digit that can stand here. */
static bool integer_take(const grammar_part *p, grammar_state *s, unsigned char b) {
    int64_t low = 0, high = 0, number = 0;
    if (b == '-' && s->at == START && p->least < 0) {
        s->at = MINUS;
        return true;
    }
    if (b < '0' || b > '9' || (s->at >= DIGITS && s->value == 0)) return false;
    magnitudes(p, s->at == MINUS || s->at == MINUS_DIGITS, &low, &high);
    const int64_t value = 10 * s->value + (b - '0');
    if (missing_digits(value, low, high, &number) < 0) return false;
    s->at = s->at == MINUS || s->at == MINUS_DIGITS ? MINUS_DIGITS : DIGITS;
    s->value = value;
    return true;
}

static void integer_rest(const grammar_part *p, const grammar_state *s, px_str *out) {
    int64_t low = 0, high = 0, number = 0;
    const bool minus = s->at == MINUS || s->at == MINUS_DIGITS || (s->at == START && p->most < 0);
    magnitudes(p, minus, &low, &high);
    if (s->at < DIGITS) {
        px_str_format(out, "%s%lld", minus && s->at == START ? "-" : "", (long long)low);
        return;
    }
    char digits[32];
    const int k = missing_digits(s->value, low, high, &number);
    const int n = snprintf(digits, sizeof digits, "%lld", (long long)number);
    px_str_text(out, digits + n - k);
}

/* --- texts --- */

/* The first text from s->value on, not used, that begins as it up to s->at and goes on with b. */
static bool texts_take(const grammar_part *p, grammar_state *s, unsigned char b) {
    const char *so_far = p->texts[s->value];
    for (int i = (int)s->value; i < p->n_texts; i++) {
        if (s->used >> (i % 32) & 1 && p->kind == PART_RANKING) continue;
        if (p->sizes[i] <= s->at || (unsigned char)p->texts[i][s->at] != b) continue;
        if (memcmp(p->texts[i], so_far, (size_t)s->at) != 0) continue;
        s->value = i;
        s->at++;
        return true;
    }
    return false;
}

static bool ranking_take(const grammar_part *p, grammar_state *s, unsigned char b, bool *over) {
    if (s->value < 0) {
        if (s->at == BEHIND_TEXT || (s->at == BEHIND_COMMA && b == ' ')) {
            const bool on = s->at == BEHIND_COMMA || b == ',';
            s->at = s->at == BEHIND_TEXT ? BEHIND_COMMA : FIRST_TEXT;
            return on;
        }
        s->value = s->at = 0;
    }
    if (!texts_take(p, s, b)) return false;
    if (s->at < p->sizes[s->value]) return true;
    s->used |= 1u << s->value;
    s->value = -1;
    s->at = BEHIND_TEXT;
    *over = s->used == (1u << p->n_texts) - 1;
    return true;
}

static void ranking_rest(const grammar_part *p, const grammar_state *s, px_str *out) {
    uint32_t used = s->used;
    bool comma = s->value < 0 && s->at == BEHIND_TEXT;
    if (s->value >= 0) {
        px_str_text(out, p->texts[s->value] + s->at);
        used |= 1u << s->value;
        comma = true;
    }
    for (int i = 0; i < p->n_texts; i++) {
        if (used >> i & 1) continue;
        if (comma) px_str_char(out, ',');
        px_str_text(out, p->texts[i]);
        comma = true;
    }
}

static void choice_rest(const grammar_part *p, const grammar_state *s, px_str *out) {
    const char *so_far = p->texts[s->value];
    int best = -1;
    for (int i = (int)s->value; i < p->n_texts; i++)
        if (p->sizes[i] > s->at && memcmp(p->texts[i], so_far, (size_t)s->at) == 0 &&
            (best < 0 || p->sizes[i] < p->sizes[best]))
            best = i;
    px_str_text(out, p->texts[best] + s->at);
}

/* --- the whole --- */

void part_complete(const grammar_part *p, const grammar_state *s, px_str *out) {
    switch (p->kind) {
    case PART_TEXT:
        for (const char *c = p->texts[0] + s->at; *c; c++)
            if (*c != OPTIONAL_BLANK) px_str_char(out, *c);
        break;
    case PART_STRING:
        string_complete(s->at, out);
        break;
    case PART_CHOICE:
        choice_rest(p, s, out);
        break;
    case PART_INTEGER:
        integer_rest(p, s, out);
        break;
    case PART_RANKING:
        ranking_rest(p, s, out);
        break;
    }
}

/* Is the byte the next part's, as the state's own part may end before it? */
static bool part_left(const grammar_part *p, const grammar_state *s, unsigned char b) {
    if (p->kind == PART_INTEGER) return (b < '0' || b > '9') && integer_complete(p, s);
    return p->kind == PART_TEXT && s->at + 1 == p->sizes[0] && b != ' ' &&
           p->texts[0][s->at] == OPTIONAL_BLANK;
}

static bool text_take(const grammar_part *p, grammar_state *s, unsigned char b, bool *over) {
    const bool blank = p->texts[0][s->at] == OPTIONAL_BLANK;
    if (blank && b != ' ') s->at++;
    if (!blank || b != ' ')
        if ((unsigned char)p->texts[0][s->at] != b) return false;
    *over = ++s->at == p->sizes[0];
    return true;
}

bool grammar_step(const px_grammar *g, grammar_state *s, unsigned char b, int32_t endless) {
    bool over = false, ok = false;
    if (s->part == g->n_parts) return false;
    while (part_left(&g->parts[s->part], s, b)) *s = part_start(g, s->part + 1);
    const grammar_part *p = &g->parts[s->part];
    switch (p->kind) {
    case PART_STRING: {
        const int64_t most = s->part == endless ? INT64_MAX : p->most;
        const string_step step = string_take(&s->at, &s->value, most, b);
        ok = step != STRING_NO;
        over = step == STRING_CLOSED;
        break;
    }
    case PART_CHOICE:
        ok = texts_take(p, s, b);
        over = ok && s->at == p->sizes[s->value];
        break;
    case PART_RANKING:
        ok = ranking_take(p, s, b, &over);
        break;
    case PART_INTEGER:
        ok = integer_take(p, s, b);
        break;
    case PART_TEXT:
        ok = text_take(p, s, b, &over);
        break;
    }
    if (over) *s = part_start(g, s->part + 1);
    return ok;
}

bool px_grammar_follows(const px_grammar *g, const char *text, size_t size, bool *complete) {
    grammar_state s = grammar_start(g);
    bool ok = true;
    for (size_t i = 0; ok && i < size; i++) ok = grammar_step(g, &s, (unsigned char)text[i], -1);
    *complete = ok && s.part == g->n_parts;
    return ok;
}

/* --- making one --- */

static grammar_part *part_add(px_grammar *g, part_kind kind) {
    grammar_part *p = &g->parts[g->n_parts++];
    p->kind = kind;
    return p;
}

static px_err *text_add(px_grammar *g, grammar_part *p, const px_str *text) {
    PX_PASS(px_str_ok(text));
    p->sizes[p->n_texts] = (int32_t)text->size;
    p->texts[p->n_texts++] = px_arena_text(g->arena, text->data, text->size);
    return px_arena_ok(g->arena);
}

static px_err *json_add(px_grammar *g, grammar_part *p, const char *text) {
    px_str json = {0};
    px_str_json(&json, text, strlen(text));
    px_err *err = text_add(g, p, &json);
    for (int i = 0; !err && i + 1 < p->n_texts; i++)
        if (strcmp(p->texts[i], p->texts[p->n_texts - 1]) == 0)
            err =
                px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "the text %s stands twice", json.data);
    px_str_free(&json);
    return err;
}

static px_err *range_check(const px_field *f) {
    if (f->least < -INTEGER_MOST || f->most > INTEGER_MOST || f->least > f->most)
        PX_FAIL(PX_BAD_INPUT, "integers from %lld to %lld; within +-10^15 is accepted",
                (long long)f->least, (long long)f->most);
    return NULL;
}

static px_err *texts_check(const px_field *f) {
    const int most = f->kind == PX_VALUE_RANKING ? RANKED_MOST : TEXTS_MOST;
    if (f->n_texts < 1 || f->n_texts > most)
        PX_FAIL(PX_BAD_INPUT, "%d texts; 1 to %d are accepted", f->n_texts, most);
    return NULL;
}

/* The fixed text so far becomes a part. */
static px_err *fixed_end(px_grammar *g, px_str *fixed) {
    px_err *err = text_add(g, part_add(g, PART_TEXT), fixed);
    px_str_clear(fixed);
    return err;
}

static void key_text(px_str *fixed, const char *key) {
    px_str_json(fixed, key, strlen(key));
    px_str_char(fixed, ':');
    px_str_char(fixed, OPTIONAL_BLANK);
}

static px_err *integers_add(px_grammar *g, const px_field *f, px_str *fixed) {
    px_str_char(fixed, '{');
    for (int i = 0; i < f->n_texts; i++) {
        if (i) px_str_char(fixed, ','), px_str_char(fixed, OPTIONAL_BLANK);
        key_text(fixed, f->texts[i]);
        PX_PASS(fixed_end(g, fixed));
        grammar_part *p = part_add(g, PART_INTEGER);
        p->least = f->least;
        p->most = f->most;
    }
    px_str_char(fixed, '}');
    return NULL;
}

/* Appends a value's parts; what is fixed behind it begins in `fixed`. */
static px_err *value_add(px_grammar *g, const px_field *f, px_str *fixed) {
    static const char *const opens[] = {[PX_VALUE_STRING] = "\"", [PX_VALUE_RANKING] = "["};
    if (f->kind == PX_VALUE_INTEGER || f->kind == PX_VALUE_INTEGERS) PX_PASS(range_check(f));
    if (f->kind == PX_VALUE_CHOICE || f->kind == PX_VALUE_RANKING || f->kind == PX_VALUE_INTEGERS)
        PX_PASS(texts_check(f));
    if (f->kind == PX_VALUE_INTEGERS) return integers_add(g, f, fixed);
    if (f->kind < PX_COUNT(opens) && opens[f->kind]) px_str_text(fixed, opens[f->kind]);
    PX_PASS(fixed_end(g, fixed));
    const part_kind kind = f->kind == PX_VALUE_STRING    ? PART_STRING
                           : f->kind == PX_VALUE_INTEGER ? PART_INTEGER
                           : f->kind == PX_VALUE_RANKING ? PART_RANKING
                                                         : PART_CHOICE;
    grammar_part *p = part_add(g, kind);
    p->least = f->least;
    p->most = f->most;
    if (f->kind == PX_VALUE_STRING && (f->least < 0 || f->least > 1 || f->most < f->least))
        PX_FAIL(PX_BAD_INPUT, "a string of %lld to %lld bytes; from 0 or 1 is accepted",
                (long long)f->least, (long long)f->most);
    if (f->kind == PX_VALUE_BOOLEAN)
        for (int i = 0; i < 2; i++) {
            px_str word = {0};
            px_str_text(&word, i ? "false" : "true");
            px_err *err = text_add(g, p, &word);
            px_str_free(&word);
            if (err) return err;
        }
    for (int i = 0; i < f->n_texts && kind != PART_STRING && kind != PART_INTEGER &&
                    f->kind != PX_VALUE_BOOLEAN;
         i++)
        PX_PASS(json_add(g, p, f->texts[i]));
    if (kind == PART_RANKING) px_str_char(fixed, ']');
    return NULL;
}

static px_err *parts_fill(px_grammar *g, const px_form *form) {
    px_str fixed = {0};
    px_err *err = NULL;
    px_str_char(&fixed, OPTIONAL_BLANK);
    px_str_char(&fixed, '{');
    for (int i = 0; i < form->n; i++) {
        if (i) px_str_char(&fixed, ','), px_str_char(&fixed, OPTIONAL_BLANK);
        key_text(&fixed, form->fields[i].key);
        PX_TRY_TO(done, value_add(g, &form->fields[i], &fixed), "key \"%s\"", form->fields[i].key);
    }
    px_str_char(&fixed, '}');
    err = fixed_end(g, &fixed);
done:
    px_str_free(&fixed);
    return err;
}

/* The object's completion from its beginning, and what its ends cost. */
static px_err *tail_fill(px_grammar *g) {
    px_str tail = {0};
    for (int32_t i = 0; i < g->n_parts; i++) {
        const grammar_state start = part_start(g, i);
        g->parts[i].tail = (int32_t)tail.size;
        part_complete(&g->parts[i], &start, &tail);
    }
    px_err *err = px_str_ok(&tail);
    g->n_tail = (int32_t)tail.size;
    g->tail = px_arena_text(g->arena, tail.data, tail.size);
    g->cost = px_take(g->arena, int32_t, tail.size + 1);
    px_str_free(&tail);
    if (!err) err = px_arena_ok(g->arena);
    if (err) return err;
    g->cost[g->n_tail] = 1;
    spelling_cost(g->spell, g->tail, g->n_tail, g->n_tail, g->cost);
    if (g->cost[0] >= SPELL_NEVER)
        PX_FAIL(PX_BAD_INPUT, "the model's tokens cannot write %s", g->tail);
    return NULL;
}

px_err *px_grammar_new(px_engine *engine, const px_form *form, px_grammar **out) {
    px_err *err = NULL;
    int64_t most = 2;
    if (form->n < 1) PX_FAIL(PX_BAD_INPUT, "a form without keys");
    for (int i = 0; i < form->n; i++)
        most += 2 + (form->fields[i].kind == PX_VALUE_INTEGERS
                         ? 2 * (int64_t)PX_MAX(form->fields[i].n_texts, 0)
                         : 0);
    PX_PASS(engine_spelling(engine));
    px_grammar *g = calloc(1, sizeof *g);
    if (!g) PX_NO_MEMORY();
    g->spell = engine->spell;
    PX_PASS_TO(failed, px_arena_new(1 << 14, &g->arena));
    g->parts = px_take(g->arena, grammar_part, most);
    PX_PASS_TO(failed, px_arena_ok(g->arena));
    PX_PASS_TO(failed, parts_fill(g, form));
    PX_PASS_TO(failed, tail_fill(g));
    PX_PASS_TO(failed, grammar_cache_new(g));
    *out = g;
    return NULL;
failed:
    px_grammar_free(g);
    return err;
}

void px_grammar_free(px_grammar *g) {
    if (!g) return;
    grammar_cache_free(g->cache);
    px_arena_free(g->arena);
    free(g);
}

int32_t px_grammar_tokens(const px_grammar *g) { return g->cost[0]; }
