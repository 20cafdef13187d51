/* normal.c - a text's normal form (NFC, lower case, straight quotes) and what of it counts: code,
 * addresses, quoted lines and quotations of the question do not. */
#include "traits_internal.h"

#include <string.h>

#include "text.h"

/* Whether NFC might change a text: it holds a code point from U+0300 on outside the ranges of
 * common punctuation, symbols and pictures, which compose with nothing. */
static bool needs_nfc(const char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        unsigned char b = (unsigned char)text[i];
        if (b < 0xCC) {
            i++;
            continue;
        }
        int length;
        int32_t c = px_utf8_get(text + i, size - i, &length);
        bool plain = (c >= 0x2010 && c <= 0x2027) || (c >= 0x2030 && c <= 0x205E) ||
                     (c >= 0x20A0 && c <= 0x20BF) || (c >= 0x2190 && c <= 0x2328) ||
                     (c >= 0x232B && c <= 0x2ADB) || (c >= 0x2B00 && c <= 0x2BFF) ||
                     (c >= 0x1F000 && c <= 0x1FAFF) || c == 0xFE0F || c == 0x200D;
        if (c >= 0 && !plain) return true;
        i += (size_t)length;
    }
    return false;
}

/* Lower case of Latin, Greek and Cyrillic letters that stand in pairs. */
static int32_t lower_of(int32_t c) {
    if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) ||
        (c >= 0x410 && c <= 0x42F))
        return c + 0x20;
    if (c >= 0x400 && c <= 0x40F) return c + 0x50;
    if (c == 0x178) return 0xFF;
    bool even = (c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177) ||
                (c >= 0x460 && c <= 0x481) || (c >= 0x1E00 && c <= 0x1EFF);
    bool odd = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E);
    if ((even && c % 2 == 0) || (odd && c % 2 == 1)) return c + 1;
    return c;
}

static int32_t straight_of(int32_t c) {
    if ((c >= 0x2018 && c <= 0x201B) || c == 0x2032 || c == 0x2BC) return '\'';
    if ((c >= 0x201C && c <= 0x201F) || c == 0x2033 || c == 0xAB || c == 0xBB) return '"';
    return c;
}

px_err *px_normal_form(const char *text, size_t size, px_str *out, px_str *scratch) {
    px_str_clear(out);
    if (needs_nfc(text, size)) {
        px_str_clear(scratch);
        PX_PASS(px_nfc_text(text, size, scratch));
        text = scratch->data;
        size = scratch->size;
    }
    for (size_t i = 0; i < size;) {
        char room[256];
        size_t n = 0; /* plain stretches go in one piece */
        while (n < sizeof room && i < size && (unsigned char)text[i] < 0x80) {
            char c = text[i++];
            room[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c == '\r' ? '\n' : c;
        }
        if (n) px_str_add(out, room, n);
        if (n == sizeof room || i >= size) continue;
        int length;
        int32_t c = px_utf8_get(text + i, size - i, &length);
        i += (size_t)length;
        n = c < 0 ? 0 : (size_t)px_utf8_put(straight_of(lower_of(c)), room);
        px_str_add(out, n ? room : " ", n ? n : 1);
    }
    if (!out->data) px_str_add(out, "", 0);
    return px_str_ok(out);
}

typedef struct {
    const char *text;
    size_t size, at;
    const px_str *asked;
    px_str *out;
    px_layout *layout;
    bool fence;     /* inside ``` */
    bool addresses; /* there is one at all */
} stripper;

/* Takes text[from, to) out. */
static void take_out(stripper *s, size_t from, size_t to) {
    s->layout->words_out += px_words_count(s->text + from, to - from);
    px_str_char(s->out, ' ');
}

static bool starts(const char *text, size_t size, const char *with) {
    size_t n = strlen(with);
    return size >= n && memcmp(text, with, n) == 0;
}

/* Bytes of "- ", "12. ", "• " at the line's beginning, or 0. */
static size_t item_mark(const char *line, size_t size) {
    size_t n = 0;
    if (starts(line, size, "- ") || starts(line, size, "* ") || starts(line, size, "+ ")) return 2;
    if (starts(line, size, "\xE2\x80\xA2")) return 3;
    while (n < size && n < 3 && line[n] >= '0' && line[n] <= '9') n++;
    bool number = n > 0 && n + 1 < size && (line[n] == '.' || line[n] == ')') && line[n + 1] == ' ';
    return number ? n + 2 : 0;
}

static size_t address_size(const char *text, size_t size) {
    if (!starts(text, size, "http://") && !starts(text, size, "https://") &&
        !starts(text, size, "www."))
        return 0;
    size_t n = 0;
    while (n < size && (unsigned char)text[n] > ' ' && !strchr("<>\"", text[n])) n++;
    while (n > 0 && strchr(".,;:!?)'*", text[n - 1])) n--;
    return n;
}

/* A quotation of three words or more that stands in the question: its size with both marks. */
static size_t quotation_size(const stripper *s, const char *text, size_t size) {
    const char *end = size > 2 ? memchr(text + 1, '"', PX_MIN(size - 1, (size_t)2000)) : NULL;
    if (!end || !s->asked->size) return 0;
    size_t n = (size_t)(end - text) - 1;
    while (n > 0 && strchr(".,!?", text[n])) n--; /* the mark inside the quotes is the answer's */
    if (px_words_count(text + 1, n) < 3) return 0;
    return memmem(s->asked->data, s->asked->size, text + 1, n) ? (size_t)(end - text) + 1 : 0;
}

/* What may begin something that is taken out. */
static bool is_mark(const stripper *s, char c) {
    return c == '`' || c == '"' || c == '*' || (s->addresses && (c == 'h' || c == 'w'));
}

/* One line without its newline. */
static void strip_line(stripper *s, size_t from, size_t to) {
    const char *text = s->text;
    for (size_t i = from; i < to;) {
        size_t n = 0;
        if (text[i] == '`') {
            const char *end = memchr(text + i + 1, '`', to - i - 1);
            n = end ? (size_t)(end - text) + 1 - i : 0;
        } else if (text[i] == '"') {
            n = quotation_size(s, text + i, to - i);
        } else if ((text[i] == 'h' || text[i] == 'w') &&
                   (i == from || !px_is_letter(text[i - 1]))) {
            n = address_size(text + i, to - i);
        } else if (text[i] == '*' && i + 1 < to && text[i + 1] == '*') {
            s->layout->bold++;
            i += 2;
            px_str_char(s->out, ' ');
            continue;
        }
        if (n) {
            take_out(s, i, i + n);
            i += n;
            continue;
        }
        size_t next = i + 1;
        while (next < to && !is_mark(s, text[next])) next++;
        px_str_add(s->out, text + i, next - i);
        i = next;
    }
}

void px_normal_strip(const px_str *text, const px_str *asked, px_str *out, px_layout *layout) {
    bool addresses =
        memmem(text->data, text->size, "://", 3) || memmem(text->data, text->size, "www.", 4);
    stripper s = {text->data, text->size, 0, asked, out, layout, false, addresses};
    px_str_clear(out);
    *layout = (px_layout){0};
    for (size_t i = 0; i < text->size; i++)
        if (((unsigned char)text->data[i] & 0xC0) != 0x80) layout->characters++;
    while (s.at < s.size) {
        const char *newline = memchr(s.text + s.at, '\n', s.size - s.at);
        size_t end = newline ? (size_t)(newline - s.text) : s.size, from = s.at;
        s.at = end + 1;
        while (from < end && (s.text[from] == ' ' || s.text[from] == '\t')) from++;
        const char *line = s.text + from;
        size_t n = end - from, mark = 0, level = 0;
        while (level < n && line[level] == '#') level++;
        bool fence = starts(line, n, "```") || starts(line, n, "~~~");
        if (fence || s.fence || starts(line, n, ">")) {
            take_out(&s, from, end);
        } else {
            if (level >= 1 && level <= 6 && level < n && line[level] == ' ') layout->headings++;
            if ((mark = item_mark(line, n))) layout->items++;
            strip_line(&s, from + mark, end);
        }
        /* ```x``` on one line opens nothing */
        if (fence && !(n > 3 && memmem(line + 3, n - 3, line, 3))) s.fence = !s.fence;
        px_str_char(out, '\n');
    }
    layout->bold /= 2;
    if (!out->data) px_str_add(out, "", 0);
}
