/* config_internal.h - the table of keys as data, shared by the files of this module. */
#ifndef PX_CONFIG_INTERNAL_H
#define PX_CONFIG_INTERNAL_H

#include "config.h"

/* 2^53: whole numbers up to here go through JSON unchanged, so no key takes more. */
#define WHOLE_MOST 9007199254740992.0
#define WORDS_MAX 16 /* choices of one key */

typedef enum {
    KEY_i64,
    KEY_f64,
    KEY_bool,
    KEY_text,
    KEY_object,
    KEY_choice,
    KEY_words,
    KEY_f64s
} key_type;

typedef struct {
    const char *path;
    key_type type;
    size_t offset;       /* of the field in px_config */
    double number;       /* default of i64, f64, bool, choice, words */
    const char *text;    /* default of text, object */
    px_f64_list list;    /* default of f64s */
    double least, most;  /* i64, f64; f64s: least of a value, number of values */
    const char *choices; /* choice, words: separated by one space */
    bool affects;
    const char *help;
} config_key;

enum {
#define KEY(path, type, name, ...) KEY_AT_##name,
    PX_KEYS(KEY)
#undef KEY
        N_KEYS
};
extern const config_key config_keys[N_KEYS];

/* The field of config that key number i stands for. */
void *config_field(const px_config *config, int i);
/* Index of a choice's word, or -1. */
int config_word_find(const char *choices, const char *word);
/* The word at index i, cut out into out. */
const char *config_word_at(const char *choices, int i, char out[32]);
int config_word_count(const char *choices);
/* "a whole number from 0 to 1024", for messages and the documentation. */
void config_accepted(const config_key *key, px_str *out);

#endif
