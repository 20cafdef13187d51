/* text_internal.h - the tokenizer's parts, shared inside this module.
 * A text goes: added tokens are cut out (added.c) → the stretches between are normalised
 * (normalize.c) → split into words (split.c) → each word becomes ids (bpe.c). Words and pieces are
 * raw bytes everywhere: the printable stand-ins of byte-level vocabularies are undone once, when
 * the vocabulary is read. */
#ifndef PX_TEXT_INTERNAL_H
#define PX_TEXT_INTERNAL_H

#include "text.h"

/* --- bytes that remember where they come from --- */
/* marks[i] is 0 for a template's own text, else nonzero: a message's text. {0} is empty; a failed
 * append sticks. */
typedef struct {
    char *data;
    unsigned char *marks;
    size_t size, room;
    bool failed;
} px_marked;
/* marks NULL: every byte gets `mark`. */
void px_marked_add(px_marked *out, const char *data, const unsigned char *marks, unsigned char mark,
                   size_t size);
PX_CHECKED px_err *px_marked_ok(const px_marked *marked);
void px_marked_free(px_marked *marked);

/* --- the vocabulary --- */
typedef enum {
    PX_PIECE_NONE = 0, /* a hole in the ids */
    PX_PIECE_NORMAL,
    PX_PIECE_BYTE,    /* <0xNN> of a vocabulary with byte fallback */
    PX_PIECE_SPECIAL, /* control tokens: never made from ordinary text */
    PX_PIECE_ADDED,   /* added, not special: always taken whole */
    PX_PIECE_UNUSED
} px_piece_kind;

typedef struct {
    const char *text; /* bytes that the piece stands for */
    uint32_t size;
    uint8_t kind;
    unsigned char byte; /* PX_PIECE_BYTE */
} px_piece;

typedef struct {
    const char *text;
    uint32_t size;
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} px_added;

/* Added tokens sorted by bytes. */
typedef struct {
    px_added *tokens;
    int32_t n;
    bool first_byte[256];
} px_added_set;

/* A stretch of text: a token, or (id -1) what stands between. */
typedef struct {
    size_t start, size;
    int32_t id;
} px_stretch;
typedef struct {
    px_stretch *at;
    size_t n, room;
} px_stretches;

void px_added_sort(px_added_set *set);
/* Cuts text at the set's tokens. A special token is not taken where any of its bytes is marked
 * (marks NULL: nowhere marked), nor anywhere when !special. *out is overwritten. */
PX_CHECKED px_err *px_added_cut(const px_added_set *set, const char *text,
                                const unsigned char *marks, size_t size, bool special,
                                px_stretches *out);

/* --- normalisation --- */
typedef enum { PX_NORM_PREPEND, PX_NORM_REPLACE, PX_NORM_NFC, PX_NORM_STRIP } px_norm_kind;
typedef struct px_regex px_regex;
typedef struct {
    px_norm_kind kind;
    const char *from, *to; /* replace: literal from, or regex */
    size_t from_size, to_size;
    px_regex *regex;
    bool left, right;
} px_norm;
/* Canonical composition, appended to out. */
PX_CHECKED px_err *px_nfc(const px_marked *in, px_marked *out);
/* in → out (overwritten), one step; `out` keeps the marks of what it came from. */
PX_CHECKED px_err *px_norm_apply(const px_norm *step, const px_marked *in, px_marked *out);

/* --- splitting --- */
typedef enum { PX_SPLIT_REGEX, PX_SPLIT_METASPACE, PX_SPLIT_PREFIX_SPACE } px_split_kind;
typedef enum {
    PX_KEEP_ISOLATED,
    PX_KEEP_REMOVED,
    PX_KEEP_WITH_PREVIOUS,
    PX_KEEP_WITH_NEXT,
    PX_KEEP_CONTIGUOUS
} px_keep;
typedef enum { PX_PREPEND_ALWAYS, PX_PREPEND_FIRST, PX_PREPEND_NEVER } px_prepend;
typedef struct {
    px_split_kind kind;
    px_regex *regex;
    px_keep keep;
    bool invert;
    px_prepend prepend; /* metaspace */
    const char *mark;   /* metaspace: what a space becomes */
    size_t mark_size;
} px_split;

typedef struct {
    size_t start, size;
} px_word;
/* Words in a text that steps may lengthen at its end. */
typedef struct {
    px_str text;
    px_word *words, *spare;
    size_t n, room, spare_room;
} px_words;
/* PX_BAD_INPUT: pattern that PCRE2 refuses, with the place. `literal`: no regex signs. */
PX_CHECKED px_err *px_regex_new(const char *pattern, size_t size, bool literal, px_regex **out);
void px_regex_free(px_regex *regex);
/* The pattern as it was given, for the hash. */
const char *px_regex_text(const px_regex *regex);
/* First match in text from `from`; *found false when there is none. text is valid UTF-8.
 * PX_BAD_INPUT: the pattern needs more steps than allowed. */
PX_CHECKED px_err *px_regex_find(const px_regex *regex, const char *text, size_t size, size_t from,
                                 size_t *start, size_t *end, bool *found);
/* Applies the steps to words; `first`: the text opens the input. */
PX_CHECKED px_err *px_split_apply(const px_split *steps, int n_steps, bool first, px_words *words);
PX_CHECKED px_err *px_words_add(px_words *words, size_t start, size_t size);
void px_words_free(px_words *words);

/* --- byte pair encoding --- */
typedef struct {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank;
    int32_t id; /* -1: empty */
} px_merge;
typedef struct px_bpe_work px_bpe_work;
typedef struct {
    const px_piece *pieces;
    int32_t n_pieces;
    const px_map *by_text; /* pieces that ordinary text can become */
    px_merge *merges;      /* hash table of `merge_room`, or NULL: by scores */
    size_t merge_room;
    int64_t n_merges;
    float *scores;         /* [n_pieces]: merge whatever is a piece, best score first */
    uint32_t longest;      /* bytes of the longest piece */
    int32_t byte_ids[256]; /* byte-level: piece of a byte; else <0xNN>; -1: none */
    int32_t unknown;       /* -1: none, such text is left out */
    bool byte_level, byte_fallback, fuse_unknown, ignore_merges;
    px_bpe_work *work;
} px_bpe;
PX_CHECKED px_err *px_bpe_reserve(px_bpe *bpe, int64_t n_merges);
/* The first rank of a pair stays. */
void px_bpe_add_merge(px_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t id);
PX_CHECKED px_err *px_bpe_ready(px_bpe *bpe);
PX_CHECKED px_err *px_bpe_word(px_bpe *bpe, const char *word, size_t size, px_ids *out);
void px_bpe_free(px_bpe *bpe);

/* --- the whole --- */
enum { PX_STEPS_MOST = 32 };
struct px_tokenizer {
    px_arena *arena; /* pieces and their texts */
    char *path;
    px_piece *pieces;
    int32_t n_pieces;
    px_map by_text, by_added; /* model vocabulary; added tokens by their text */
    px_added_set raw, normalized;
    px_norm norms[PX_STEPS_MOST];
    px_split splits[PX_STEPS_MOST];
    int n_norms, n_splits;
    px_bpe bpe;
    bool llama_class;   /* transformers' LlamaTokenizer: its steps, not the file's */
    bool space_mark;    /* decoding turns U+2581 into a space */
    int strip_left;     /* decoding drops so many spaces at the start */
    bool split_at_mark; /* no piece holds U+2581 behind anything else: words may be cut there */
    int32_t bos, eos;
    const char *bos_text, *eos_text, *unk_text, *pad_text; /* NULL: none */
    char *chat_template;                                   /* NULL: none */
    px_sha *sha; /* while the vocabulary is read: the readers add merges and scores */
    px_digest digest;
    px_stretches stretches, inner;
    px_marked buffer[2];
    px_words words;
};

/* Ids of text whose marked bytes never become special tokens (marks NULL: all may). */
PX_CHECKED px_err *px_encode_marked(px_tokenizer *tok, const char *text, const unsigned char *marks,
                                    size_t size, bool special, px_ids *out);

/* How many bytes of a text an error quotes: at most 60, never half a character. */
int px_clip(const char *text, size_t size);
/* Room for n pieces, all holes. */
PX_CHECKED px_err *px_vocab_reserve(px_tokenizer *tok, int64_t n);
/* Piece `id` < n_pieces; text is copied. In a byte-level vocabulary the stand-ins of a normal piece
 * are undone; a piece that then stands for no bytes can be decoded but never encoded. */
PX_CHECKED px_err *px_vocab_set(px_tokenizer *tok, int32_t id, const char *text, size_t size,
                                px_piece_kind kind);
/* Room for n added tokens. */
PX_CHECKED px_err *px_vocab_reserve_added(px_tokenizer *tok, int64_t n);
/* token->text is copied. */
PX_CHECKED px_err *px_vocab_add(px_tokenizer *tok, const px_added *token);
/* A merge of two pieces, by their texts as they stand in the file. PX_BAD_INPUT: either, or what
 * they make, is no piece. `all`: texts as in the file → ids. */
PX_CHECKED px_err *px_vocab_merge(px_tokenizer *tok, const px_map *all, int64_t rank,
                                  const char *left, size_t left_size, const char *right,
                                  size_t right_size);
/* Turns byte-level stand-ins into bytes, in place; false: a character that stands for no byte. */
bool px_bytes_from_stand_ins(char *text, size_t *size);
/* `<0xNN>` → the byte, or -1. */
int px_byte_of_piece(const char *text, size_t size);
PX_CHECKED px_err *px_vocab_hf(px_tokenizer *tok, const char *folder);
typedef struct cJSON px_json;
/* Normalizer, pre-tokenizer and decoder of a tokenizer.json. */
PX_CHECKED px_err *px_hf_steps(px_tokenizer *tok, const px_json *root);
PX_CHECKED px_err *px_vocab_gguf(px_tokenizer *tok, const char *path);
/* Split steps of a GGUF `tokenizer.ggml.pre` name. PX_BAD_INPUT: not known, with the known ones. */
PX_CHECKED px_err *px_pre_type_set(px_tokenizer *tok, const char *name, size_t size);

#define PX_SPACE_MARK "\xE2\x96\x81" /* U+2581 */
#define PX_GPT2_PATTERN                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

#endif
