/* expand.c - "(i'm|i am) (so|) glad" stands for four phrases. Brackets may stand in brackets; one
 * alternative may be empty. */
#include "traits_internal.h"

#include <string.h>

enum { PHRASES_MAX = 100000, PATTERN_MAX = 4096 };

typedef struct {
    px_phrase_use *each;
    void *context;
    int n;
} expansion;

/* Words with one space between. */
static px_err *phrase_emit(expansion *e, const char *phrase) {
    char out[PATTERN_MAX];
    size_t n = 0;
    for (const char *c = phrase; *c; c++) {
        if (*c == ' ' && (n == 0 || out[n - 1] == ' ')) continue;
        out[n++] = *c;
    }
    if (n > 0 && out[n - 1] == ' ') n--;
    out[n] = 0;
    if (n == 0) return NULL;
    if (++e->n > PHRASES_MAX) PX_FAIL(PX_BAD_INPUT, "stands for more than %d phrases", PHRASES_MAX);
    return e->each(e->context, out);
}

/* The bracket that closes the one at `open`, or NULL. */
static const char *closing(const char *open) {
    int depth = 0;
    for (const char *c = open; *c; c++) {
        if (*c == '(') depth++;
        if (*c == ')' && --depth == 0) return c;
    }
    return NULL;
}

static px_err *expand(expansion *e, const char *pattern) {
    const char *open = strchr(pattern, '(');
    if (!open) {
        if (strpbrk(pattern, ")|")) PX_FAIL(PX_BAD_INPUT, "a bracket is missing before it closes");
        return phrase_emit(e, pattern);
    }
    const char *close = closing(open);
    if (!close || memchr(pattern, ')', (size_t)(open - pattern)))
        PX_FAIL(PX_BAD_INPUT, "brackets do not match");
    int depth = 0;
    for (const char *from = open + 1, *c = from; c <= close; c++) {
        if (*c == '(') depth++;
        if (*c == ')' && c < close) depth--;
        if (depth > 0 || (*c != '|' && c != close)) continue;
        char next[PATTERN_MAX];
        int n = snprintf(next, sizeof next, "%.*s%.*s%s", (int)(open - pattern), pattern,
                         (int)(c - from), from, close + 1);
        if (n < 0 || n >= PATTERN_MAX) PX_FAIL(PX_BAD_INPUT, "is longer than %d", PATTERN_MAX);
        PX_PASS(expand(e, next));
        from = c + 1;
    }
    return NULL;
}

px_err *px_phrase_expand(const char *pattern, px_phrase_use *each, void *context) {
    expansion e = {each, context, 0};
    if (strlen(pattern) >= PATTERN_MAX) PX_FAIL(PX_BAD_INPUT, "is longer than %d", PATTERN_MAX);
    return expand(&e, pattern);
}
