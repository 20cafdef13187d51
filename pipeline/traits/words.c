/* words.c - words of a text in normal form. A word is a run of letters and digits, apostrophes
 * between them included. A sentence ends at . ! ? before what is no letter, and at a line's end. */
#include "traits_internal.h"

#include <stdlib.h>

static bool in(int32_t c, int32_t low, int32_t high) { return c >= low && c <= high; }

bool px_is_letter(int32_t c) {
    if (c < 0x80) return in(c, 'a', 'z') || in(c, 'A', 'Z') || in(c, '0', '9');
    if (c < 0xC0) return c == 0xAA || c == 0xB5 || c == 0xBA;
    if (c < 0x2000) return c != 0xD7 && c != 0xF7;
    /* punctuation, symbols, arrows, shapes, dingbats; CJK punctuation; private; variants */
    if (in(c, 0x2000, 0x2BFF) || in(c, 0x2E00, 0x2E7F) || in(c, 0x3000, 0x303F)) return false;
    if (in(c, 0xE000, 0xF8FF) || in(c, 0xFE00, 0xFE6F) || in(c, 0xFF00, 0xFF0F)) return false;
    return !in(c, 0xFFF0, 0xFFFF) && !in(c, 0x1F000, 0x1FAFF) && c < 0xE0000;
}

/* Pictures that carry a feeling; check marks, arrows and bullets do not. Skin tones, joiners and
 * the second half of a flag belong to the picture before. */
static bool is_emoji(int32_t c) {
    static const int32_t single[] = {0x2600, 0x2603, 0x2615, 0x2618, 0x2639, 0x263A, 0x2665,
                                     0x2728, 0x2763, 0x2764, 0x2B50, 0x270A, 0x270B, 0x270C,
                                     0x270D, 0x26C4, 0x26A1, 0x2744, 0x2660};
    if (in(c, 0x1F3FB, 0x1F3FF)) return false;
    if (in(c, 0x1F300, 0x1F64F) || in(c, 0x1F680, 0x1F6FF) || in(c, 0x1F900, 0x1FAFF)) return true;
    for (size_t i = 0; i < PX_COUNT(single); i++)
        if (c == single[i]) return true;
    return false;
}

static bool is_plain_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

typedef struct {
    const px_trie *trie; /* NULL: words are only counted */
    px_words *words;
    const char *text;
    size_t size, at;
    bool begins; /* the next word opens a sentence */
    bool joined; /* a joiner stands before */
} finder;

static px_err *word_add(finder *f, size_t start, size_t end) {
    px_words *w = f->words;
    if (w->n == w->room) {
        uint32_t room = w->room ? w->room * 2 : 512;
        px_word *at = realloc(w->at, room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        w->at = at;
        w->room = room;
    }
    if (f->begins) {
        w->last_start = w->n;
        w->sentences++;
        w->question = false;
    }
    uint64_t hash = px_word_hash(f->text + start, end - start);
    w->at[w->n++] = (px_word){hash, px_trie_word(f->trie, hash), f->begins};
    f->begins = false;
    return NULL;
}

/* The code point at `at` and its length; bytes that are no UTF-8 are separators. */
static int32_t letter_at(const finder *f, size_t at, int *length) {
    unsigned char c = (unsigned char)f->text[at];
    *length = 1;
    if (c < 0x80) return c;
    int32_t got = px_utf8_get(f->text + at, f->size - at, length);
    return got < 0 ? ' ' : got;
}

/* From a letter to behind the word; counts letters of other scripts. */
static size_t word_end(const finder *f, size_t at) {
    px_words *w = f->words;
    size_t start = at;
    while (at < f->size && is_plain_letter(f->text[at])) at++; /* nearly always all of it */
    w->letters += (uint32_t)(at - start);
    if (at < f->size && f->text[at] != '\'' && (unsigned char)f->text[at] < 0x80) return at;
    while (at < f->size) {
        int length;
        int32_t c = letter_at(f, at, &length);
        if (c == '\'' && at + 1 < f->size) { /* between letters alone */
            int next_length;
            if (!px_is_letter(letter_at(f, at + 1, &next_length))) break;
            at++;
            continue;
        }
        if (!px_is_letter(c)) break;
        w->letters++;
        if (c >= 0xC0) w->accented++;
        if (c >= 0x250) w->letters_far++;
        at += (size_t)length;
    }
    return at;
}

/* A mark between words. */
static void mark_read(finder *f, int32_t c, int length) {
    px_words *w = f->words;
    bool first = w->n < PX_FIRST_WORDS, joined = f->joined;
    f->joined = c == 0x200D || (joined && c == 0xFE0F);
    size_t next = f->at + (size_t)length;
    if (c == '\n') {
        f->begins = true;
    } else if (c == '.' || c == '!' || c == '?' || c == 0x2026) {
        int next_length;
        bool inside = next < f->size && px_is_letter(letter_at(f, next, &next_length));
        if (c == '!') w->exclamations++;
        if (c == '!' && first) w->exclamations_first++;
        if (c == '?' && !f->begins) w->question = true;
        if (c == '?' && f->begins && w->n > 0) w->question = true; /* "!?" */
        if (!inside) f->begins = true;
    } else if (is_emoji(c) && !joined) {
        w->emoji++;
        if (first) w->emoji_first++;
    }
    f->at = next;
}

px_err *px_words_find(const px_trie *trie, const char *text, size_t size, px_words *words) {
    px_word *at = words->at;
    uint32_t room = words->room;
    *words = (px_words){.at = at, .room = room};
    finder f = {trie, words, text, size, 0, true, false};
    while (f.at < size) {
        int length;
        int32_t c = letter_at(&f, f.at, &length);
        if (!px_is_letter(c)) {
            mark_read(&f, c, length);
            continue;
        }
        size_t end = word_end(&f, f.at);
        PX_PASS(word_add(&f, f.at, end));
        f.at = end;
    }
    return NULL;
}

uint32_t px_words_count(const char *text, size_t size) {
    px_words unused = {0};
    finder f = {NULL, &unused, text, size, 0, false, false};
    uint32_t n = 0;
    for (size_t at = 0; at < size;) {
        int length;
        if (!px_is_letter(letter_at(&f, at, &length))) {
            at += (size_t)length;
            continue;
        }
        at = word_end(&f, at);
        n++;
    }
    return n;
}
