/* config.h - every setting of the program: one table of keys makes the struct's field, the default,
 * the check, `--print-config` and docs/config.md. Also the manifest that says where results came
 * from. */
#ifndef PX_CONFIG_H
#define PX_CONFIG_H

#include "config_keys.h"
#include "io.h"
#include "manifest.h"

#define PX_LIST_MAX 16
/* A list of words from a fixed set, as bits in the order of the choices, or numbers. */
typedef struct {
    int n;
    double v[PX_LIST_MAX];
} px_f64_list;

/* Field types: i64 int64_t · f64 double · bool · text const char* (owned by the config) ·
 * object const char*, compact JSON, "" for {} · choice int (index into the choices) · words
 * uint32_t (bit set over the choices) · f64s px_f64_list. */
typedef struct px_config px_config;
struct px_config {
#define PX_FIELD_i64(name) int64_t name;
#define PX_FIELD_f64(name) double name;
#define PX_FIELD_bool(name) bool name;
#define PX_FIELD_text(name) const char *name;
#define PX_FIELD_object(name) const char *name;
#define PX_FIELD_choice(name) int name;
#define PX_FIELD_words(name) uint32_t name;
#define PX_FIELD_f64s(name) px_f64_list name;
#define KEY(path, type, name, ...) PX_FIELD_##type(name)
    PX_KEYS(KEY)
#undef KEY
    px_arena *arena; /* holds the texts */
    uint8_t *given;  /* one a key, in table order: set by a file or an option, not by default */
};

/* The number of keys, which is also that of `given`. */
int px_config_n_keys(void);

/* The defaults. Free with px_config_fini. */
PX_CHECKED px_err *px_config_init(px_config *config);
void px_config_fini(px_config *config);
/* Sets keys from a JSON file with // comments; nested objects and dotted keys both work, null sets
 * the default. PX_BAD_INPUT: file, key path, what stands there, what is accepted, the nearest known
 * key. */
PX_CHECKED px_err *px_config_read(px_config *config, const char *path);
/* The same from parsed JSON; `where` names the source. */
PX_CHECKED px_err *px_config_take(px_config *config, const cJSON *json, const char *where);
/* "key.path=value"; value is JSON or, for texts and choices, a bare word; lists as [a,b] or a,b. */
PX_CHECKED px_err *px_config_set(px_config *config, const char *assignment);
/* Checks that span keys (nothing to train, targets empty with lora.r > 0, …). What is only unlikely
 * to be meant (a key without effect, warm-up longer than the run) is a warning in the log. */
PX_CHECKED px_err *px_config_check(const px_config *config);
/* Every key, nested, with resolved values, as JSON text. */
void px_config_print(const px_config *config, px_str *out);
/* The first key of table order in which a (an earlier run's) and b differ and that matters to
 * results (not threads, paths, log or checkpoint keys; train.steps may grow), or NULL when none
 * does. Static. */
const char *px_config_differs(const px_config *a, const px_config *b);
/* Whether a key matters to results; a path that is no key does. */
bool px_config_key_affects(const char *path);
/* docs/config.md: the table as Markdown. */
void px_config_document(px_str *out);

#endif
