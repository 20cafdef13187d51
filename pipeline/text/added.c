/* added.c - finds added tokens in a text: at the leftmost place where any stands, the longest.
 * The order of flags (special, single_word, lstrip, rstrip) is that of Hugging Face tokenizers, so
 * that the same stretches remain. */
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

static int by_bytes(const void *a, const void *b) {
    const px_added *x = a, *y = b;
    int order = memcmp(x->text, y->text, PX_MIN(x->size, y->size));
    if (order) return order;
    return (x->size > y->size) - (x->size < y->size);
}

void px_added_sort(px_added_set *set) {
    if (set->n > 1) qsort(set->tokens, (size_t)set->n, sizeof *set->tokens, by_bytes);
    for (int32_t i = 0; i < set->n; i++)
        set->first_byte[(unsigned char)set->tokens[i].text[0]] = true;
}

/* First index in [low, high) whose byte at `depth` is at least `byte`; all share depth bytes. */
static int32_t lower(const px_added *tokens, int32_t low, int32_t high, uint32_t depth, int byte) {
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const px_added *t = &tokens[middle];
        int at = t->size > depth ? (unsigned char)t->text[depth] : -1;
        if (at < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token at text[0..size), or NULL. */
static const px_added *longest_at(const px_added_set *set, const char *text, size_t size) {
    const px_added *best = NULL;
    int32_t low = 0, high = set->n;
    for (uint32_t depth = 0; depth < size && low < high; depth++) {
        int byte = (unsigned char)text[depth];
        low = lower(set->tokens, low, high, depth, byte);
        high = lower(set->tokens, low, high, depth, byte + 1);
        if (low < high && set->tokens[low].size == depth + 1) best = &set->tokens[low];
    }
    return best;
}

static bool is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static size_t char_before(const char *text, size_t at) {
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
    return start;
}

static size_t spaces_before(const char *text, size_t at) {
    while (at > 0) {
        size_t start = char_before(text, at);
        int length = 0;
        if (!is_space(px_utf8_get(text + start, at - start, &length))) break;
        at = start;
    }
    return at;
}

static size_t spaces_after(const char *text, size_t at, size_t size) {
    while (at < size) {
        int length = 0;
        if (!is_space(px_utf8_get(text + at, size - at, &length))) break;
        at += (size_t)length;
    }
    return at;
}

/* Letters, digits, underscore; everything beyond ASCII that is no space counts as a letter. */
static bool is_word(int32_t c) {
    if (c >= 0x80) return !is_space(c) && !(c >= 0x2010 && c <= 0x2BFF);
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool stands_alone(const char *text, size_t size, size_t start, size_t stop) {
    int length = 0;
    if (start > 0) {
        size_t before = char_before(text, start);
        if (is_word(px_utf8_get(text + before, start - before, &length))) return false;
    }
    return stop == size || !is_word(px_utf8_get(text + stop, size - stop, &length));
}

static px_err *stretch_add(px_stretches *out, size_t start, size_t stop, int32_t id) {
    if (out->n == out->room) {
        size_t room = out->room ? out->room * 2 : 16;
        px_stretch *at = realloc(out->at, room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        out->at = at;
        out->room = room;
    }
    out->at[out->n++] = (px_stretch){start, stop - start, id};
    return NULL;
}

static bool allowed(const px_added *token, const unsigned char *marks, size_t start, bool special) {
    if (!token->special) return true;
    if (!special) return false;
    for (uint32_t i = 0; marks && i < token->size; i++)
        if (marks[start + i]) return false;
    return true;
}

px_err *px_added_cut(const px_added_set *set, const char *text, const unsigned char *marks,
                     size_t size, bool special, px_stretches *out) {
    size_t done = 0, at = 0;
    out->n = 0;
    while (set->n && at < size) {
        const px_added *token =
            set->first_byte[(unsigned char)text[at]] ? longest_at(set, text + at, size - at) : NULL;
        if (!token) {
            at++;
            continue;
        }
        size_t start = at, stop = at + token->size;
        at = stop;
        if (!allowed(token, marks, start, special)) {
            /* A message's end must not swallow a template's token that follows it. */
            while (marks && at > start + 1 && !marks[at - 1]) at--;
            continue;
        }
        if (token->single_word && !stands_alone(text, size, start, stop)) continue;
        if (token->lstrip) start = PX_MAX(spaces_before(text, start), done);
        if (token->rstrip) stop = spaces_after(text, stop, size);
        if (done < start) PX_PASS(stretch_add(out, done, start, -1));
        PX_PASS(stretch_add(out, start, stop, token->id));
        done = stop;
        at = PX_MAX(at, stop);
    }
    if (done < size) PX_PASS(stretch_add(out, done, size, -1));
    return NULL;
}
