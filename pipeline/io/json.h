/* json.h - JSON by cJSON with places in errors. Files may hold // comments where said. */
#ifndef PX_JSON_H
#define PX_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base.h"

/* Parses one text. PX_BAD_INPUT with line and column: not JSON, nested deeper than 200, invalid
 * UTF-8, a NUL inside, or something behind the value. *out is the caller's (cJSON_Delete). */
PX_CHECKED px_err *px_json_parse(const char *text, size_t size, cJSON **out);
/* The same of what a model may have written: an escaped NUL is read as U+FFFD; *n_nul, unless NULL,
 * how many. */
PX_CHECKED px_err *px_json_parse_said(const char *text, size_t size, cJSON **out, int64_t *n_nul);
/* The last object in a text that a model wrote: thoughts come before it, fences stand around it.
 * Its last 8192 bytes are looked at. NULL: none. The caller's (cJSON_Delete). */
cJSON *px_json_find_object(const char *text);
/* A whole file; with `comments`, // to the end of a line outside strings is allowed. */
PX_CHECKED px_err *px_json_read(const char *path, bool comments, cJSON **out);

/* Fields of an object; `where` opens the error ("survey.jsonl line 7"). PX_BAD_INPUT names the key,
 * what stands there and what is wanted. Texts are borrowed from the object. */
PX_CHECKED px_err *px_json_text(const cJSON *object, const char *key, const char *where,
                                const char **out);
PX_CHECKED px_err *px_json_i64(const cJSON *object, const char *key, const char *where,
                               int64_t least, int64_t most, int64_t *out);
PX_CHECKED px_err *px_json_f64(const cJSON *object, const char *key, const char *where,
                               double *out);
PX_CHECKED px_err *px_json_bool(const cJSON *object, const char *key, const char *where, bool *out);
/* The text at key, or NULL when it is absent, null or not a string. */
const char *px_json_find_text(const cJSON *object, const char *key);
double px_json_find_f64(const cJSON *object, const char *key, double missing);
/* "string", "number", … of an item, "nothing" for NULL. */
const char *px_json_type(const cJSON *item);
/* Compact text; doubles so that reading them gives the same double. Appends to out. */
void px_json_print(const cJSON *item, px_str *out);
/* Indented, for files that people read. */
void px_json_print_pretty(const cJSON *item, px_str *out);

/* --- JSON lines --- */
typedef struct px_lines px_lines;
/* Reads line by line; a line may be at most 64 MiB. */
PX_CHECKED px_err *px_lines_open(const char *path, px_lines **out);
/* The next line without its newline, borrowed until the next call; *text NULL at the end. Blank
 * lines are skipped. *line counts from 1. */
PX_CHECKED px_err *px_lines_next(px_lines *lines, const char **text, size_t *size, int64_t *line);
void px_lines_close(px_lines *lines);
/* Every line of a file as px_json_parse_said reads it, in order. PX_BAD_INPUT: a line that is none,
 * with its number; with skip_broken it is passed over. The object goes away when take returns. */
typedef px_err *px_json_take(void *context, const cJSON *json);
PX_CHECKED px_err *px_json_lines(const char *path, bool skip_broken, px_json_take *take,
                                 void *context);

#endif
