/* str.c - see str.h. */
#include "str.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void px_bytes_free(px_bytes *bytes) {
    free(bytes->data);
    *bytes = (px_bytes){0};
}

static bool str_room(px_str *str, size_t more) {
    if (str->failed) return false;
    if (str->room - str->size > more) return true;
    size_t room = str->room ? str->room : 64;
    while (room - str->size <= more) {
        if (room > SIZE_MAX / 2) break;
        room *= 2;
    }
    char *data = room - str->size > more ? realloc(str->data, room) : NULL;
    if (!data) {
        str->failed = true;
        return false;
    }
    str->data = data;
    str->room = room;
    return true;
}

void px_str_add(px_str *str, const char *data, size_t size) {
    if (!str_room(str, size)) return;
    if (size) memcpy(str->data + str->size, data, size);
    str->size += size;
    str->data[str->size] = 0;
}

void px_str_text(px_str *str, const char *text) { px_str_add(str, text, strlen(text)); }

void px_str_char(px_str *str, char c) { px_str_add(str, &c, 1); }

void px_str_format(px_str *str, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        str->failed = true;
    else if (str_room(str, (size_t)n)) {
        vsnprintf(str->data + str->size, (size_t)n + 1, format, again);
        str->size += (size_t)n;
    }
    va_end(again);
}

void px_str_json(px_str *str, const char *text, size_t size) {
    px_str_char(str, '"');
    for (size_t i = 0; i < size;) {
        int length = 0;
        int32_t c = px_utf8_get(text + i, size - i, &length);
        if (c == '"' || c == '\\') {
            px_str_char(str, '\\');
            px_str_char(str, (char)c);
        } else if (c == '\n')
            px_str_text(str, "\\n");
        else if (c == '\t')
            px_str_text(str, "\\t");
        else if (c == '\r')
            px_str_text(str, "\\r");
        else if (c >= 0 && (c < 0x20 || c == 0x7f || c == 0x2028 || c == 0x2029))
            px_str_format(str, "\\u%04x", (unsigned)c);
        else if (c < 0)
            px_str_text(str, "\xEF\xBF\xBD");
        else
            px_str_add(str, text + i, (size_t)length);
        i += (size_t)length;
    }
    px_str_char(str, '"');
}

const char *px_double_text(double value, char out[32]) {
    if (fabs(value) < 1e15 && floor(value) == value) { /* 100, not 1e+02 */
        snprintf(out, 32, "%.0f", value);
        return out;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    return out;
}

void px_str_double(px_str *str, double value) {
    char text[32];
    px_str_text(str, isfinite(value) ? px_double_text(value, text) : "null");
}

px_err *px_str_ok(const px_str *str) {
    if (str->failed) PX_NO_MEMORY();
    return NULL;
}

void px_str_clear(px_str *str) {
    str->size = 0;
    if (str->data) str->data[0] = 0;
}

void px_str_free(px_str *str) {
    free(str->data);
    *str = (px_str){0};
}

bool px_parse_i64(const char *text, int64_t *out) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno) return false;
    *out = value;
    return true;
}

bool px_parse_f64(const char *text, double *out) {
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno == ERANGE || !isfinite(value)) return false;
    *out = value;
    return true;
}

/* Levenshtein distance, words of at most 63 bytes; longer ones count as far. */
static int edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    int row[64];
    if (n > 63 || m > 63) return 64;
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

int px_nearest(const char *word, const char *const *words, int n) {
    int best = -1, least = (int)strlen(word) / 2 + 2;
    for (int i = 0; i < n; i++) {
        int d = edit_distance(word, words[i]);
        if (d < least) {
            least = d;
            best = i;
        }
    }
    return best;
}

int32_t px_utf8_get(const char *s, size_t n, int *length) {
    const unsigned char *p = (const unsigned char *)s;
    *length = 1;
    if (n == 0) return -1;
    if (p[0] < 0x80) return p[0];
    int more = p[0] >= 0xF0 ? 3 : p[0] >= 0xE0 ? 2 : 1;
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (p[0] < 0xC2 || p[0] > 0xF4 || n <= (size_t)more) return -1;
    int32_t c = p[0] & (0x3F >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80) return -1;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return -1;
    *length = more + 1;
    return c;
}

int px_utf8_put(int32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[more] | (c >> (6 * more)));
    for (int i = 1; i <= more; i++) out[i] = (char)(0x80 | ((c >> (6 * (more - i))) & 0x3F));
    return more + 1;
}

int64_t px_utf8_check(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        int length = 0;
        if (px_utf8_get(s + i, n - i, &length) < 0) return (int64_t)i;
        i += (size_t)length;
    }
    return -1;
}
