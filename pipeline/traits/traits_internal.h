/* traits_internal.h - parts of the scorer, shared inside this module.
 * A text goes: normal form (normal.c) → without code, addresses, quotations (normal.c) → words with
 * sentence breaks (words.c) → phrases (phrases.c) → counts (scorer.c). */
#ifndef PX_TRAITS_INTERNAL_H
#define PX_TRAITS_INTERNAL_H

#include <cjson/cJSON.h>

#include "traits.h"

/* --- what a feature counts --- */
typedef enum {
    PX_BY_PHRASES,
    PX_BY_EMOJI,
    PX_BY_EXCLAMATION,
    PX_BY_CLOSING_QUESTION, /* flag: the last sentence asks, and speaks of you */
    PX_BY_NO_PERSON,        /* flag: neither I nor you */
    PX_BY_I,
    PX_BY_YOU,
    PX_BY_TYPES,
    PX_BY_REPEATS, /* 4-grams that stood before */
    PX_BY_CHARACTERS,
    PX_BY_WORDS,
    PX_BY_TOKENS,
    PX_BY_SENTENCES,
    PX_BY_ITEMS,
    PX_BY_HEADINGS,
    PX_BY_BOLD,
    PX_BYS
} px_by;

typedef struct {
    char *name;
    int sign;
    px_by by;
    uint32_t first_words; /* the whole phrase within so many words; 0: anywhere */
    bool sentence_start;  /* the phrase opens a sentence */
    double mean, sd;      /* constants for files without a reference arm */
} px_feature;

/* --- phrases as a trie over words (phrases.c) --- */
enum { PX_PHRASE_LISTS = PX_LISTS, PX_PHRASE_WORDS_MAX = 16 };
enum { PX_CLASS_I = 1, PX_CLASS_YOU = 2, PX_CLASS_ENGLISH = 4, PX_CLASS_OTHER = 8 };

/* Words by 64-bit hash, numbered from 1; children of (node, word) in one table. Node 0 is the root.
 * A phrase's last node holds its feature in each list, -1 for none. */
typedef struct {
    uint64_t *word_keys; /* [word_room], 0: empty */
    uint32_t *word_ids, n_words, word_room;
    uint8_t *classes; /* [class_room] by word */
    uint32_t *roots;  /* [class_room] the root's child by word, 0: none */
    uint32_t class_room;
    uint64_t *child_keys; /* [child_room] node << 32 | word, 0: empty */
    uint32_t *children, n_children, child_room;
    int16_t (*labels)[PX_PHRASE_LISTS]; /* [node_room] */
    uint32_t n_nodes, node_room;
} px_trie;
uint64_t px_word_hash(const char *word, size_t size);                      /* never 0 */
uint32_t px_trie_word(const px_trie *trie, uint64_t hash);                 /* 0: in no phrase */
uint32_t px_trie_child(const px_trie *trie, uint32_t node, uint32_t word); /* 0: none; no root */
PX_CHECKED px_err *px_trie_word_add(px_trie *trie, uint64_t hash, uint8_t class, uint32_t *id);
/* The phrase's words; the feature that was there first keeps it. */
PX_CHECKED px_err *px_trie_add(px_trie *trie, const char *phrase, px_list_id list, int feature);
void px_trie_free(px_trie *trie);

/* Calls `each` with every phrase that "(a|b|) c" stands for. PX_BAD_INPUT: brackets do not match,
 * or more than 100,000 phrases. */
typedef px_err *px_phrase_use(void *context, const char *phrase);
PX_CHECKED px_err *px_phrase_expand(const char *pattern, px_phrase_use *each, void *context);

#define PX_SPREAD_LEAST 1e-9
/* Takes the lists' sd where there is no spread. */
void px_norms_complete(const px_lists *lists, px_norms *norms);

struct px_lists {
    px_feature features[PX_LISTS][PX_FEATURES_MAX];
    int n[PX_LISTS], at[PX_LISTS], version[PX_LISTS];
    px_digest digest[PX_LISTS + 1];
    px_trie trie;
};

/* --- normal form (normal.c) --- */
/* NFC, lower case, straight quotes. */
PX_CHECKED px_err *px_normal_form(const char *text, size_t size, px_str *out, px_str *scratch);
typedef struct {
    uint32_t characters, words_out, items, headings, bold; /* words_out: in what was taken out */
} px_layout;
/* Takes out code, addresses, quoted lines and quotations of `asked` (normal form, may be empty). */
void px_normal_strip(const px_str *text, const px_str *asked, px_str *out, px_layout *layout);

/* --- words (words.c) --- */
typedef struct {
    uint64_t hash;
    uint32_t id; /* in the trie, 0: in no phrase */
    bool breaks; /* a sentence begins here */
} px_word;
typedef struct {
    px_word *at;
    uint32_t n, room;
    uint32_t sentences, emoji, exclamations, emoji_first, exclamations_first;
    uint32_t letters, accented, letters_far; /* far: not of the Latin script */
    bool question;                           /* the last sentence ends with a question mark */
    uint32_t last_start;                     /* first word of the last sentence */
} px_words;
PX_CHECKED px_err *px_words_find(const px_trie *trie, const char *text, size_t size,
                                 px_words *words);
uint32_t px_words_count(const char *text, size_t size);
bool px_is_letter(int32_t c);

/* --- a file's answers (records.c) --- */
/* One answer of the file, read; texts are the reader's. */
typedef struct {
    const char *id, *user, *domain, *trial, *pos; /* NULL: not there; pos only with trial */
    int32_t turn;                                 /* of a trial; else the sample, -1: not there */
    int16_t arm;                                  /* in the reader's names */
    px_reading reading;
} px_record;

typedef struct {
    px_record *at;
    int64_t n, room;
} px_records;

/* Names of arms in the order they come; the empty name stands for none. */
typedef struct {
    px_map numbers;
    const char **names; /* [n] in the arena */
    int64_t *first;     /* [n] offset of the first line that has it */
    int n, room;
} px_arms;

typedef struct {
    const px_lists *lists;
    px_scorer *scorer;
    px_arena *arena;
    bool trials;
    px_arms arms;
    int64_t offset; /* of the line that is read */
    char *pool;     /* room for texts, in the arena */
    size_t pool_left;
    px_str name;
} px_reader;
PX_CHECKED px_err *px_reader_new(const px_lists *lists, bool trials, px_reader *out);
void px_reader_free(px_reader *reader);
/* Adds the line's answers. PX_BAD_INPUT: it is no answer, or no trial. */
PX_CHECKED px_err *px_record_read(px_reader *reader, const char *line, size_t size,
                                  px_records *out);
/* The answer's line of traits.jsonl. */
void px_record_write(const px_lists *lists, const px_norms *norms, const px_record *record,
                     const char *arm, px_str *out);

/* --- blocks of a file (blocks.c) --- */
typedef struct {
    px_map_file map;
    const char *path;
    size_t block;
    int64_t n;
} px_blocks;
PX_CHECKED px_err *px_blocks_open(const char *path, px_blocks *out);
void px_blocks_close(px_blocks *blocks);
/* Calls `each` for every line that begins in block b; blank lines are skipped. */
typedef px_err *px_line_use(void *context, const char *line, size_t size, size_t offset);
PX_CHECKED px_err *px_blocks_lines(const px_blocks *blocks, int64_t b, px_line_use *each,
                                   void *context);
/* Number of the line that begins at offset, from 1. */
int64_t px_blocks_line(const px_blocks *blocks, size_t offset);

/* --- what rank 0 keeps of an answer --- */
typedef struct {
    double score[PX_TRAITS], rate_first[2];
    uint64_t user, prompt, domain; /* hashes, 0: not there */
    uint32_t words;
    int16_t arm;
    int16_t left_out;
} px_row;

/* One unit is a person or, where none is named, a prompt. */
typedef struct {
    const px_row *rows;
    int64_t n_rows;
    uint32_t *unit;   /* [n_rows] */
    uint32_t *domain; /* [n_rows] */
    int64_t *order;   /* [n_rows] rows by unit, in file order within one */
    int64_t *start;   /* [n_units + 1] into order */
    uint32_t n_units, n_domains;
    int n_arms, reference; /* -1: none */
    bool people;           /* units are people */
} px_panel;
PX_CHECKED px_err *px_panel_new(const px_row *rows, int64_t n_rows, int n_arms, int reference,
                                px_panel *out);
void px_panel_free(px_panel *panel);

typedef struct {
    double mean, low, high;
} px_mean;
typedef struct {
    double value, se, low, high; /* NaN: no unit has both arms */
} px_effect;
/* means [n_arms × PX_TRAITS]; *samples comes back lower where there are very many units. */
PX_CHECKED px_err *px_panel_means(const px_panel *panel, uint64_t seed, int64_t *samples,
                                  px_mean *means);
/* Effects of arms on a trait against the reference, within units (their means taken out), errors
 * clustered by unit; adjusted: log words and domain too. effects [n_arms]. */
PX_CHECKED px_err *px_panel_effects(const px_panel *panel, px_list_id trait, bool adjusted,
                                    px_effect *effects);

/* --- the table (summary.c) --- */
typedef struct {
    const px_lists *lists;
    const px_traits_job *job;
    const px_norms *norms;
    const px_panel *panel;
    const char *const *arms;
    bool fixed; /* z by the lists' constants */
    int64_t n_reference;
    int64_t samples;
} px_summary;
PX_CHECKED px_err *px_summary_print(const px_summary *summary, FILE *table);

#endif
