/* jinja_lex.c - a chat template's text as tokens, with Jinja2's rules for white space around tags
 * under trim_blocks and lstrip_blocks. */
#include <stdlib.h>
#include <string.h>

#include "jinja.h"

enum { TOKENS_MOST = 200000 };

typedef struct {
    px_arena *arena;
    const char *s;
    size_t size, at;
    int line;
    jinja_token *tokens;
    size_t n, room;
    bool
        line_starting; /* what came before ended in a newline that was swallowed, or nothing came */
    bool strip_next;   /* the tag before ended in -%}: white space goes */
} lexer;

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static px_err *token_add(lexer *x, jinja_token_kind kind, const char *text, size_t size,
                         int64_t number) {
    if (x->n == x->room) {
        size_t room = x->room ? x->room * 2 : 256;
        if (room > TOKENS_MOST * 2) PX_FAIL(PX_BAD_INPUT, "more than %d tokens", TOKENS_MOST);
        jinja_token *tokens = realloc(x->tokens, room * sizeof *tokens);
        if (!tokens) PX_NO_MEMORY();
        x->tokens = tokens;
        x->room = room;
    }
    x->tokens[x->n++] = (jinja_token){kind, x->line, text, size, number};
    return NULL;
}

static bool at_text(const lexer *x, const char *text) {
    size_t n = strlen(text);
    return x->size - x->at >= n && !memcmp(x->s + x->at, text, n);
}

static void move(lexer *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x->s[x->at + i] == '\n') x->line++;
    x->at += n;
}

/* --- between the tags --- */
static px_err *lex_data(lexer *x) {
    size_t start = x->at, end = x->at;
    while (end < x->size &&
           !(x->s[end] == '{' && end + 1 < x->size &&
             (x->s[end + 1] == '{' || x->s[end + 1] == '%' || x->s[end + 1] == '#')))
        end++;
    size_t stop = end, next = end;
    if (end < x->size) {
        char kind = x->s[end + 1], sign = end + 2 < x->size ? x->s[end + 2] : 0;
        if (sign == '-') {
            while (stop > start && is_space(x->s[stop - 1])) stop--;
        } else if (sign != '+' && kind != '{') {
            size_t from = stop;
            while (from > start && is_space(x->s[from - 1]) && x->s[from - 1] != '\n') from--;
            if (from > start ? x->s[from - 1] == '\n' : x->line_starting) stop = from;
        }
    }
    if (stop > start) PX_PASS(token_add(x, T_DATA, x->s + start, stop - start, 0));
    move(x, next - start);
    return NULL;
}

/* Behind a tag: -%} swallows white space, %} and #} one newline. */
static void after_tag(lexer *x, char sign, bool newline) {
    x->line_starting = false;
    if (sign == '-') {
        size_t n = 0;
        while (x->at + n < x->size && is_space(x->s[x->at + n])) n++;
        if (n) x->line_starting = x->s[x->at + n - 1] == '\n';
        move(x, n);
    } else if (newline && sign != '+' && x->at < x->size && x->s[x->at] == '\n') {
        x->line_starting = true;
        move(x, 1);
    }
}

static px_err *lex_comment(lexer *x) {
    const char *end = memmem(x->s + x->at + 2, x->size - x->at - 2, "#}", 2);
    if (!end) PX_FAIL(PX_BAD_INPUT, "line %d: a comment without end", x->line);
    char sign = end[-1];
    move(x, (size_t)(end - (x->s + x->at)) + 2);
    after_tag(x, sign == '-' || sign == '+' ? sign : 0, true);
    return NULL;
}

/* --- inside the tags --- */
static int hex_value(const char *s, size_t n, size_t digits, uint32_t *out) {
    *out = 0;
    if (n < digits) return 0;
    for (size_t i = 0; i < digits; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return 0;
        *out = *out * 16 + (uint32_t)d;
    }
    return (int)digits;
}

/* One escape behind a backslash at s[0]; returns the bytes read, 0: none that is known. */
static size_t unescape(const char *s, size_t n, char *out, size_t *made) {
    static const char from[] = "ntr\\'\"abfv0", to[] = "\n\t\r\\'\"\a\b\f\v";
    const char *simple = n ? strchr(from, s[0]) : NULL;
    uint32_t c = 0;
    *made = 0;
    if (n == 0) return 0;
    if (s[0] == '\n') return 1;
    if (simple && *simple) {
        out[(*made)++] = to[simple - from];
        return 1;
    }
    size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
    if (!digits || !hex_value(s + 1, n - 1, digits, &c) || c > 0x10FFFF || (c >> 11) == 27)
        return 0;
    *made = (size_t)px_utf8_put((int32_t)c, out);
    return digits + 1;
}

static px_err *lex_string(lexer *x) {
    char quote = x->s[x->at];
    size_t end = x->at + 1, made = 0;
    while (end < x->size && x->s[end] != quote) end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->size) PX_FAIL(PX_BAD_INPUT, "line %d: a string without end", x->line);
    char *text = px_take_raw(x->arena, char, end - x->at + 4);
    PX_PASS(px_arena_ok(x->arena));
    for (size_t i = x->at + 1; i < end;) {
        size_t more = 0, read = 0;
        if (x->s[i] == '\\') read = unescape(x->s + i + 1, end - i - 1, text + made, &more);
        if (read) {
            made += more;
            i += read + 1;
        } else {
            text[made++] = x->s[i++];
        }
    }
    PX_PASS(token_add(x, T_STRING, text, made, 0));
    move(x, end + 1 - x->at);
    return NULL;
}

static bool is_name(char c, bool first) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

static px_err *lex_number(lexer *x) {
    int64_t value = 0;
    size_t n = 0;
    for (; x->at + n < x->size && x->s[x->at + n] >= '0' && x->s[x->at + n] <= '9'; n++) {
        if (value > INT32_MAX) PX_FAIL(PX_BAD_INPUT, "line %d: a number too large", x->line);
        value = value * 10 + (x->s[x->at + n] - '0');
    }
    PX_PASS(token_add(x, T_INT, x->s + x->at, n, value));
    move(x, n);
    return NULL;
}

static px_err *lex_operator(lexer *x) {
    static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"};
    for (size_t i = 0; i < PX_COUNT(two); i++) {
        if (!at_text(x, two[i])) continue;
        PX_PASS(token_add(x, T_OP, two[i], 2, 0));
        move(x, 2);
        return NULL;
    }
    if (!strchr("+-*/%~|.,:()[]{}<>=", x->s[x->at]) || !x->s[x->at])
        PX_FAIL(PX_BAD_INPUT, "line %d: a character that is no part of the language", x->line);
    PX_PASS(token_add(x, T_OP, x->s + x->at, 1, 0));
    move(x, 1);
    return NULL;
}

/* A tag's end, if one is here: %} or }}, with a sign or without. */
static bool tag_ends(lexer *x, const char *end, char *sign, size_t *n) {
    char c = x->s[x->at];
    *sign = 0;
    *n = 2;
    if (at_text(x, end)) return true;
    if ((c != '-' && c != '+') || x->size - x->at < 3 || memcmp(x->s + x->at + 1, end, 2) != 0)
        return false;
    *sign = c;
    *n = 3;
    return true;
}

static px_err *lex_tag(lexer *x) {
    bool block = x->s[x->at + 1] == '%';
    const char *end = block ? "%}" : "}}";
    int braces = 0, begun = x->line;
    PX_PASS(token_add(x, block ? T_BLOCK_BEGIN : T_OUT_BEGIN, NULL, 0, 0));
    move(x, 2);
    if (x->at < x->size && (x->s[x->at] == '-' || x->s[x->at] == '+')) move(x, 1);
    for (;;) {
        char sign = 0;
        size_t n = 0;
        while (x->at < x->size && is_space(x->s[x->at])) move(x, 1);
        if (x->at >= x->size) PX_FAIL(PX_BAD_INPUT, "line %d: a tag without end", begun);
        if (braces == 0 && tag_ends(x, end, &sign, &n)) {
            PX_PASS(token_add(x, block ? T_BLOCK_END : T_OUT_END, NULL, 0, 0));
            move(x, n);
            after_tag(x, sign, block);
            return NULL;
        }
        char c = x->s[x->at];
        if (c == '{' || c == '(' || c == '[') braces++;
        if ((c == '}' || c == ')' || c == ']') && braces > 0) braces--;
        if (c == '"' || c == '\'') {
            PX_PASS(lex_string(x));
        } else if (is_name(c, true)) {
            for (n = 1; x->at + n < x->size && is_name(x->s[x->at + n], false);) n++;
            PX_PASS(token_add(x, T_NAME, x->s + x->at, n, 0));
            move(x, n);
        } else if (c >= '0' && c <= '9') {
            PX_PASS(lex_number(x));
        } else {
            PX_PASS(lex_operator(x));
        }
    }
}

/* Line ends become \n, and one at the very end goes. */
static char *source_copy(px_arena *arena, const char *text, size_t *size) {
    char *s = px_take_raw(arena, char, *size + 1);
    size_t n = 0;
    for (size_t i = 0; s && i < *size; i++) {
        if (text[i] == '\r' && i + 1 < *size && text[i + 1] == '\n') continue;
        s[n++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (n && s[n - 1] == '\n') n--;
    *size = n;
    return s;
}

px_err *px_jinja_lex(px_arena *arena, const char *text, size_t size, const jinja_token **out) {
    px_err *err = NULL;
    lexer x = {.arena = arena, .line = 1, .line_starting = true};
    x.s = source_copy(arena, text, &size);
    x.size = size;
    PX_PASS(px_arena_ok(arena));
    while (x.at < x.size) {
        PX_PASS_TO(done, lex_data(&x));
        if (x.at >= x.size) break;
        if (x.s[x.at + 1] == '#')
            PX_PASS_TO(done, lex_comment(&x));
        else
            PX_PASS_TO(done, lex_tag(&x));
    }
    PX_PASS_TO(done, token_add(&x, T_END, NULL, 0, 0));
    jinja_token *kept = px_take_raw(arena, jinja_token, x.n);
    PX_PASS_TO(done, px_arena_ok(arena));
    memcpy(kept, x.tokens, x.n * sizeof *kept);
    *out = kept;
done:
    free(x.tokens);
    return err;
}
