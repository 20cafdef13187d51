/* nfc.c - Unicode's canonical composition (UAX #15, NFC): decompose, order the combining marks,
 * compose. Bytes that are no UTF-8 pass through. */
#include <stdlib.h>
#include <string.h>

#include "nfc_table.h"
#include "text_internal.h"

enum { L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, S_BASE = 0xAC00 };
enum { L_COUNT = 19, V_COUNT = 21, T_COUNT = 28, S_COUNT = L_COUNT * V_COUNT * T_COUNT };

typedef struct {
    int32_t c; /* code point, or -1 - byte */
    uint8_t order, mark;
} letter;
typedef struct {
    letter *at;
    size_t n, room;
} letters;

static const int32_t *decomposition_of(int32_t c) {
    size_t low = 0, high = PX_COUNT(decompositions) / 3;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (decompositions[3 * middle] < c)
            low = middle + 1;
        else
            high = middle;
    }
    const int32_t *row = &decompositions[3 * low];
    return low < PX_COUNT(decompositions) / 3 && row[0] == c ? row : NULL;
}

static uint8_t class_of(int32_t c) {
    size_t low = 0, high = PX_COUNT(classes) / 3;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (classes[3 * middle + 1] < c)
            low = middle + 1;
        else
            high = middle;
    }
    bool in = low < PX_COUNT(classes) / 3 && classes[3 * low] <= c;
    return in ? (uint8_t)classes[3 * low + 2] : 0;
}

/* What a and b compose to, or -1. */
static int32_t composed(int32_t a, int32_t b) {
    if (a >= L_BASE && a < L_BASE + L_COUNT && b >= V_BASE && b < V_BASE + V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a >= S_BASE && a < S_BASE + S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE &&
        b < T_BASE + T_COUNT)
        return a + (b - T_BASE);
    size_t low = 0, high = PX_COUNT(compositions);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const int32_t *row = &decompositions[3 * compositions[middle]];
        if (row[1] < a || (row[1] == a && row[2] < b))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == PX_COUNT(compositions)) return -1;
    const int32_t *row = &decompositions[3 * compositions[low]];
    return row[1] == a && row[2] == b ? row[0] : -1;
}

static px_err *letter_add(letters *out, int32_t c, uint8_t mark) {
    if (out->n == out->room) {
        size_t room = out->room ? out->room * 2 : 256;
        letter *at = realloc(out->at, room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        out->at = at;
        out->room = room;
    }
    out->at[out->n++] = (letter){c, c < 0 ? 0 : class_of(c), mark};
    return NULL;
}

/* Decompositions of decompositions go three deep at most; only the first part has any. */
static px_err *decompose(letters *out, int32_t c, uint8_t mark) {
    int32_t behind[8];
    int n = 0;
    if (c >= S_BASE && c < S_BASE + S_COUNT) {
        int32_t s = c - S_BASE, t = s % T_COUNT;
        PX_PASS(letter_add(out, L_BASE + s / (V_COUNT * T_COUNT), mark));
        PX_PASS(letter_add(out, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT, mark));
        return t ? letter_add(out, T_BASE + t, mark) : NULL;
    }
    const int32_t *row = NULL;
    while (n < 8 && (row = decomposition_of(c))) {
        if (row[2]) behind[n++] = row[2];
        c = row[1];
    }
    PX_PASS(letter_add(out, c, mark));
    while (n > 0) PX_PASS(letter_add(out, behind[--n], mark));
    return NULL;
}

/* Marks in a run of combining ones are ordered by class, equals as they came. */
static int by_order(const void *a, const void *b) {
    const letter *const *x = a, *const *y = b;
    int by = (*x)->order - (*y)->order;
    return by ? by : (*x > *y) - (*x < *y);
}

static px_err *reorder(letters *text) {
    for (size_t i = 0; i < text->n;) {
        size_t end = i, n = 0;
        bool sorted = true;
        while (end < text->n && text->at[end].order) {
            if (end > i && text->at[end - 1].order > text->at[end].order) sorted = false;
            end++;
        }
        n = end - i;
        if (!sorted) {
            const letter **order = malloc(n * sizeof *order);
            letter *copy = malloc(n * sizeof *copy);
            for (size_t k = 0; order && copy && k < n; k++) order[k] = &text->at[i + k];
            if (order && copy) {
                qsort(order, n, sizeof *order, by_order);
                for (size_t k = 0; k < n; k++) copy[k] = *order[k];
                memcpy(&text->at[i], copy, n * sizeof *copy);
            }
            bool failed = !order || !copy;
            free(order);
            free(copy);
            if (failed) PX_NO_MEMORY();
        }
        i = end + 1;
    }
    return NULL;
}

static void compose(letters *text) {
    size_t n = 0, starter = SIZE_MAX;
    int last = -1; /* class of the letter before, -1: the starter itself */
    for (size_t i = 0; i < text->n; i++) {
        letter l = text->at[i];
        int32_t c = starter != SIZE_MAX && last < l.order ? composed(text->at[starter].c, l.c) : -1;
        if (c >= 0) {
            text->at[starter].c = c;
            text->at[starter].mark |= l.mark;
            continue;
        }
        if (l.order == 0) {
            starter = l.c >= 0 ? n : SIZE_MAX;
            last = -1;
        } else {
            last = l.order;
        }
        text->at[n++] = l;
    }
    text->n = n;
}

/* Nothing below U+0300 changes alone, and it takes a mark from there on to change anything. */
static bool is_plain(const char *s, size_t size) {
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)s[i] >= 0xCC) return false;
    return true;
}

/* The letters of `in`, composed. marks NULL: every byte's mark is 0. */
static px_err *letters_of(const char *data, const unsigned char *marks, size_t size, letters *out) {
    for (size_t i = 0; i < size;) {
        int length = 1;
        uint8_t mark = marks ? marks[i] : 0;
        int32_t c = px_utf8_get(data + i, size - i, &length);
        if (c < 0)
            PX_PASS(letter_add(out, -1 - (unsigned char)data[i], mark));
        else
            PX_PASS(decompose(out, c, mark));
        i += (size_t)length;
    }
    PX_PASS(reorder(out));
    compose(out);
    return NULL;
}

static size_t letter_put(letter l, char utf8[4]) {
    utf8[0] = (char)(-1 - l.c);
    return l.c < 0 ? 1 : (size_t)px_utf8_put(l.c, utf8);
}

px_err *px_nfc(const px_marked *in, px_marked *out) {
    px_err *err = NULL;
    letters text = {0};
    char utf8[4];
    if (is_plain(in->data, in->size)) {
        px_marked_add(out, in->data, in->marks, 0, in->size);
        return px_marked_ok(out);
    }
    PX_PASS_TO(done, letters_of(in->data, in->marks, in->size, &text));
    for (size_t i = 0; i < text.n; i++)
        px_marked_add(out, utf8, NULL, text.at[i].mark, letter_put(text.at[i], utf8));
    err = px_marked_ok(out);
done:
    free(text.at);
    return err;
}

px_err *px_nfc_text(const char *text, size_t size, px_str *out) {
    letters composed_text = {0};
    char utf8[4];
    px_err *err = letters_of(text, NULL, size, &composed_text);
    for (size_t i = 0; !err && i < composed_text.n; i++)
        px_str_add(out, utf8, letter_put(composed_text.at[i], utf8));
    if (!err) err = px_str_ok(out);
    free(composed_text.at);
    return err;
}
