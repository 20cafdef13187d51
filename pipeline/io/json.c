/* json.c - see json.h. A text is checked against RFC 8259 here first, for exact places and because
 * cJSON is lenient (raw newlines in strings, 01, numbers cut at 63 bytes, \u0000 ending a string);
 * cJSON then builds the tree of a text that is known to be good. */
#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 200
#define NUMBER_MAX 63                /* cJSON copies a number into 64 bytes */
#define WHOLE_MAX 9007199254740992.0 /* 2^53: every whole number up to here is a double */

typedef struct {
    const char *text;
    size_t size, at;
    int depth;
} scan;

__attribute__((format(printf, 3, 4))) static px_err *scan_fail(const scan *s, size_t at,
                                                               const char *format, ...) {
    int64_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < s->size; i++) {
        unsigned char c = (unsigned char)s->text[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xC0) != 0x80) { /* characters, not bytes */
            column++;
        }
    }
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    PX_FAIL(PX_BAD_INPUT, "line %lld, column %lld: %s", (long long)line, (long long)column, what);
}

/* "'x'", "byte 0x07" or "the end" at the scanner, for messages. */
static const char *scan_found(const scan *s, char out[32]) {
    if (s->at >= s->size) return "the end of the text";
    unsigned char c = (unsigned char)s->text[s->at];
    if (c > 0x20 && c < 0x7f)
        snprintf(out, 32, "'%c'", c);
    else
        snprintf(out, 32, "byte 0x%02x", c);
    return out;
}

static px_err *scan_unexpected(const scan *s, const char *wanted) {
    char found[32];
    return scan_fail(s, s->at, "found %s, wanted %s", scan_found(s, found), wanted);
}

static bool scan_is(const scan *s, char c) { return s->at < s->size && s->text[s->at] == c; }

static void scan_space(scan *s) {
    while (scan_is(s, ' ') || scan_is(s, '\n') || scan_is(s, '\r') || scan_is(s, '\t')) s->at++;
}

/* Four hexadecimal digits at `at`, or -1. */
static int32_t hex4(const scan *s, size_t at) {
    int32_t value = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = i < s->size ? s->text[i] : 0;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape at the scanner (on its backslash); moves behind it. */
static px_err *scan_escape(scan *s) {
    char c = s->at + 1 < s->size ? s->text[s->at + 1] : 0;
    if (c && strchr("\"\\/bfnrt", c)) {
        s->at += 2;
        return NULL;
    }
    if (c != 'u') return scan_fail(s, s->at, "unknown escape in a string");
    int32_t first = hex4(s, s->at + 2);
    if (first < 0) return scan_fail(s, s->at, "\\u wants four hexadecimal digits");
    if (first == 0) return scan_fail(s, s->at, "\\u0000: a NUL is not accepted in a string");
    if (first >= 0xDC00 && first <= 0xDFFF)
        return scan_fail(s, s->at, "\\u%04x is half of a surrogate pair", (unsigned)first);
    if (first >= 0xD800 && first <= 0xDBFF) {
        bool pair = s->at + 7 < s->size && s->text[s->at + 6] == '\\' && s->text[s->at + 7] == 'u';
        int32_t second = pair ? hex4(s, s->at + 8) : -1;
        if (second < 0xDC00 || second > 0xDFFF)
            return scan_fail(s, s->at, "\\u%04x is half of a surrogate pair", (unsigned)first);
        s->at += 6;
    }
    s->at += 6;
    return NULL;
}

static px_err *scan_string(scan *s) {
    size_t start = s->at++;
    while (s->at < s->size) {
        unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"') {
            s->at++;
            return NULL;
        }
        if (c < 0x20)
            return scan_fail(s, s->at, "control character 0x%02x in a string, wanted as \\u%04x", c,
                             c);
        if (c == '\\')
            PX_PASS(scan_escape(s));
        else
            s->at++;
    }
    return scan_fail(s, start, "this string has no end");
}

static bool scan_digits(scan *s) {
    size_t start = s->at;
    while (s->at < s->size && s->text[s->at] >= '0' && s->text[s->at] <= '9') s->at++;
    return s->at > start;
}

static px_err *scan_number(scan *s) {
    size_t start = s->at;
    if (scan_is(s, '-')) s->at++;
    bool zero = scan_is(s, '0');
    size_t first = s->at;
    if (!scan_digits(s)) return scan_unexpected(s, "a digit");
    if (zero && s->at > first + 1) return scan_fail(s, first, "a number may not start with 0");
    if (scan_is(s, '.')) {
        s->at++;
        if (!scan_digits(s)) return scan_unexpected(s, "a digit");
    }
    if (scan_is(s, 'e') || scan_is(s, 'E')) {
        s->at++;
        if (scan_is(s, '+') || scan_is(s, '-')) s->at++;
        if (!scan_digits(s)) return scan_unexpected(s, "a digit");
    }
    size_t length = s->at - start;
    char copy[NUMBER_MAX + 1];
    if (length > NUMBER_MAX)
        return scan_fail(s, start, "a number of %zu characters, at most %d are accepted", length,
                         NUMBER_MAX);
    memcpy(copy, s->text + start, length);
    copy[length] = 0;
    if (!isfinite(strtod(copy, NULL)))
        return scan_fail(s, start, "the number %s is out of range", copy);
    return NULL;
}

static px_err *scan_value(scan *s);

static px_err *scan_members(scan *s, char close) {
    if (++s->depth > DEPTH_MAX) return scan_fail(s, s->at, "nested deeper than %d", DEPTH_MAX);
    s->at++;
    scan_space(s);
    bool empty = scan_is(s, close);
    while (!empty) {
        if (close == '}') {
            if (!scan_is(s, '"')) return scan_unexpected(s, "a key in quotes");
            PX_PASS(scan_string(s));
            scan_space(s);
            if (!scan_is(s, ':')) return scan_unexpected(s, "':'");
            s->at++;
            scan_space(s);
        }
        PX_PASS(scan_value(s));
        scan_space(s);
        if (scan_is(s, close)) break;
        if (!scan_is(s, ',')) return scan_unexpected(s, close == '}' ? "',' or '}'" : "',' or ']'");
        s->at++;
        scan_space(s);
    }
    s->at++;
    s->depth--;
    return NULL;
}

/* Recursion is bounded by DEPTH_MAX. */
static px_err *scan_value(scan *s) {
    static const char *const words[] = {"true", "false", "null"};
    if (s->at >= s->size) return scan_unexpected(s, "a value");
    char c = s->text[s->at];
    if (c == '{') return scan_members(s, '}');
    if (c == '[') return scan_members(s, ']');
    if (c == '"') return scan_string(s);
    if (c == '-' || (c >= '0' && c <= '9')) return scan_number(s);
    for (size_t i = 0; i < PX_COUNT(words); i++) {
        size_t n = strlen(words[i]);
        if (s->size - s->at >= n && memcmp(s->text + s->at, words[i], n) == 0) {
            s->at += n;
            return NULL;
        }
    }
    return scan_unexpected(s, "a value");
}

px_err *px_json_parse(const char *text, size_t size, cJSON **out) {
    scan s = {.text = text, .size = size};
    const char *nul = size ? memchr(text, 0, size) : NULL;
    if (nul) return scan_fail(&s, (size_t)(nul - text), "a NUL byte inside JSON");
    int64_t bad = px_utf8_check(text, size);
    if (bad >= 0) return scan_fail(&s, (size_t)bad, "invalid UTF-8 at byte %lld", (long long)bad);
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) s.at = 3; /* byte order mark */
    size_t start = s.at; /* cJSON knows the mark only where at least two bytes follow it */
    scan_space(&s);
    PX_PASS(scan_value(&s));
    scan_space(&s);
    if (s.at < size) return scan_unexpected(&s, "nothing behind the value");
    *out = cJSON_ParseWithLength(text + start, size - start);
    if (!*out) PX_FAIL(PX_RUN_FAILED, "out of memory for %zu bytes of JSON", size);
    return NULL;
}

px_err *px_json_parse_said(const char *text, size_t size, cJSON **out, int64_t *n_nul) {
    int64_t n = 0;
    if (n_nul) *n_nul = 0;
    if (size == 0 || !memmem(text, size, "\\u0000", 6)) return px_json_parse(text, size, out);
    char *copy = malloc(size);
    if (!copy) PX_NO_MEMORY();
    memcpy(copy, text, size);
    for (size_t i = 0; i + 6 <= size; i++) {
        if (copy[i] != '\\') continue;
        if (!memcmp(copy + i, "\\u0000", 6)) {
            memcpy(copy + i, "\\ufffd", 6);
            n++;
        }
        i++; /* what is escaped is no backslash that escapes */
    }
    px_err *err = px_json_parse(copy, size, out);
    if (n_nul) *n_nul = n;
    free(copy);
    return err;
}

/* Blanks // comments outside strings; places stay as they are. */
static void comments_blank(char *text, size_t size) {
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (text[i] == '\n') /* no string goes over a line: the scanner says so */
            quoted = false;
        else if (!quoted && text[i] == '/' && i + 1 < size && text[i + 1] == '/')
            while (i < size && text[i] != '\n') text[i++] = ' ';
    }
}

px_err *px_json_read(const char *path, bool comments, cJSON **out) {
    px_bytes text = {0};
    PX_PASS(px_file_read(path, &text));
    int64_t bad = px_utf8_check(text.data, text.size);
    if (comments && bad < 0) comments_blank(text.data, text.size);
    px_err *err = px_json_parse(text.data, text.size, out);
    px_bytes_free(&text);
    if (err) return px_err_add(err, __FILE__, __LINE__, "%s", path);
    return NULL;
}

/* Behind the brace that closes the object at text, or NULL. */
static const char *object_end(const char *text) {
    int depth = 0;
    bool quoted = false;
    for (; *text; text++) {
        if (quoted) {
            if (*text == '\\' && text[1])
                text++;
            else if (*text == '"')
                quoted = false;
        } else if (*text == '"') {
            quoted = true;
        } else if (*text == '{') {
            depth++;
        } else if (*text == '}' && --depth == 0) {
            return text + 1;
        }
    }
    return NULL;
}

cJSON *px_json_find_object(const char *text) {
    enum { LOOKED_AT = 8192 }; /* from the end: a search over braces takes the square of this */
    const size_t size = strlen(text);
    cJSON *found = NULL;
    if (size > LOOKED_AT) text += size - LOOKED_AT;
    for (const char *at = text; (at = strchr(at, '{'));) {
        const char *end = object_end(at);
        cJSON *json = NULL;
        px_err *err = end ? px_json_parse_said(at, (size_t)(end - at), &json, NULL) : NULL;
        at = json ? end : at + 1;
        px_err_free(err);
        if (!json) continue;
        cJSON_Delete(found);
        found = json;
    }
    return found;
}

const char *px_json_type(const cJSON *item) {
    if (!item) return "nothing";
    switch (item->type & 0xFF) {
    case cJSON_False:
    case cJSON_True:
        return "true or false";
    case cJSON_NULL:
        return "null";
    case cJSON_Number:
        return "a number";
    case cJSON_String:
        return "a string";
    case cJSON_Array:
        return "a list";
    case cJSON_Object:
        return "an object";
    default:
        return "nothing";
    }
}

static px_err *field_fail(const cJSON *item, const char *key, const char *where,
                          const char *wanted) {
    if (cJSON_IsNumber(item)) {
        char text[32];
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %s, wanted %s", where, key,
                px_double_text(item->valuedouble, text), wanted);
    }
    PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %s, wanted %s", where, key,
            item ? px_json_type(item) : "missing", wanted);
}

px_err *px_json_text(const cJSON *object, const char *key, const char *where, const char **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item)) return field_fail(item, key, where, "a string");
    *out = item->valuestring;
    return NULL;
}

px_err *px_json_i64(const cJSON *object, const char *key, const char *where, int64_t least,
                    int64_t most, int64_t *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    bool whole = fabs(value) <= WHOLE_MAX && floor(value) == value;
    if (whole && (int64_t)value >= least && (int64_t)value <= most) {
        *out = (int64_t)value;
        return NULL;
    }
    char wanted[96];
    int64_t low = PX_MAX(least, -(int64_t)WHOLE_MAX), high = PX_MIN(most, (int64_t)WHOLE_MAX);
    snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld", (long long)low,
             (long long)high);
    return field_fail(item, key, where, wanted);
}

px_err *px_json_f64(const cJSON *object, const char *key, const char *where, double *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return field_fail(item, key, where, "a number");
    *out = item->valuedouble;
    return NULL;
}

px_err *px_json_bool(const cJSON *object, const char *key, const char *where, bool *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsBool(item)) return field_fail(item, key, where, "true or false");
    *out = cJSON_IsTrue(item);
    return NULL;
}

const char *px_json_find_text(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

double px_json_find_f64(const cJSON *object, const char *key, double missing) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : missing;
}

static void print_number(double value, px_str *out) {
    if (fabs(value) <= WHOLE_MAX && floor(value) == value && !(value == 0 && signbit(value)))
        px_str_format(out, "%lld", (long long)value);
    else
        px_str_double(out, value);
}

/* indent < 0: compact. Lists of plain values stay on one line. */
static void print_value(const cJSON *item, int indent, px_str *out);

static void print_break(int indent, px_str *out) {
    if (indent >= 0) px_str_format(out, "\n%*s", indent, "");
}

static void print_members(const cJSON *item, int indent, px_str *out) {
    bool object = cJSON_IsObject(item), deep = object;
    for (const cJSON *c = item->child; c; c = c->next)
        deep |= cJSON_IsObject(c) || cJSON_IsArray(c);
    int inner = indent >= 0 && deep ? indent + 2 : -1;
    px_str_char(out, object ? '{' : '[');
    for (const cJSON *c = item->child; c; c = c->next) {
        if (c != item->child) px_str_text(out, indent >= 0 && inner < 0 ? ", " : ",");
        print_break(inner, out);
        if (object) {
            px_str_json(out, c->string, strlen(c->string));
            px_str_text(out, inner >= 0 ? ": " : ":");
        }
        print_value(c, inner, out);
    }
    if (item->child) print_break(inner >= 0 ? indent : -1, out);
    px_str_char(out, object ? '}' : ']');
}

static void print_value(const cJSON *item, int indent, px_str *out) {
    if (cJSON_IsNumber(item))
        print_number(item->valuedouble, out);
    else if (cJSON_IsString(item))
        px_str_json(out, item->valuestring, strlen(item->valuestring));
    else if (cJSON_IsObject(item) || cJSON_IsArray(item))
        print_members(item, indent, out);
    else
        px_str_text(out, cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : "null");
}

void px_json_print(const cJSON *item, px_str *out) { print_value(item, -1, out); }

void px_json_print_pretty(const cJSON *item, px_str *out) { print_value(item, 0, out); }
