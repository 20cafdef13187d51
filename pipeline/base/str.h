/* str.h - growing byte strings, number texts, nearest words. */
#ifndef PX_STR_H
#define PX_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Bytes on the heap with a NUL behind them that is not counted. {0} is empty and may be freed. */
typedef struct {
    char *data;
    size_t size;
} px_bytes;
void px_bytes_free(px_bytes *bytes);

/* A growing string. {0} is empty. A failed append sticks; px_str_ok says so once. */
typedef struct {
    char *data; /* NUL-terminated once anything was added */
    size_t size, room;
    bool failed;
} px_str;
void px_str_add(px_str *str, const char *data, size_t size);
void px_str_text(px_str *str, const char *text);
void px_str_char(px_str *str, char c);
void px_str_format(px_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void px_str_json(px_str *str, const char *text, size_t size);
/* The shortest decimal that reads back as the same double; null for NaN and infinities. */
void px_str_double(px_str *str, double value);
PX_CHECKED px_err *px_str_ok(const px_str *str);
void px_str_clear(px_str *str);
void px_str_free(px_str *str);

/* Shortest text that reads back as `value` (whole numbers below 10^15 in plain digits); out has
 * room for 32 bytes. Returns out. */
const char *px_double_text(double value, char out[32]);
/* Whole-string number; false when anything else stands there or it is out of range. */
bool px_parse_i64(const char *text, int64_t *out);
bool px_parse_f64(const char *text, double *out);
/* Index of the nearest of n words by edit distance, or -1 when none is near. */
int px_nearest(const char *word, const char *const *words, int n);
/* Code point at s (at most n bytes); its length in *length; -1 for invalid UTF-8, with *length 1.
 */
int32_t px_utf8_get(const char *s, size_t n, int *length);
/* Writes 1 to 4 bytes and returns their number. */
int px_utf8_put(int32_t code_point, char out[4]);
/* Offset of the first invalid byte, or -1. */
int64_t px_utf8_check(const char *s, size_t n);

#endif
