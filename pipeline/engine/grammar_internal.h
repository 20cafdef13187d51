/* grammar_internal.h - a form as an automaton over bytes, and what it allows of a vocabulary.
 *
 * A form is a row of parts (fixed text, a string, ...), each with its own small states; nothing is
 * built beforehand, a state is a few numbers and a step takes one byte.
 *
 * From each state there is one completion: the bytes that end the object from there, such that the
 * completion behind its own first byte is the rest of it. `need` is the least number of tokens that
 * spell it, and one for the token that ends the turn. So the first of those tokens always leads to
 * a state that needs one less: with need <= tokens left at the beginning, and tokens chosen only
 * where need <= tokens left behind them, the object is always finished in time. */
#ifndef PX_GRAMMAR_INTERNAL_H
#define PX_GRAMMAR_INTERNAL_H

#include "engine.h"

/* --- spell.c --- */
/* Longer tokens are never used: whitespace of indented code. */
enum { SPELL_LONGEST = 512, SPELL_NEVER = 60000 };
typedef struct {
    char *bytes;
    uint32_t *start;  /* [vocab + 1] of each id's bytes */
    int32_t *order;   /* [n] ids that have bytes, sorted by them, then by id */
    uint16_t *common; /* [n] bytes in common with the one before */
    int32_t n, vocab, longest;
} spelling;
/* Tokens that end a turn are left out. */
PX_CHECKED px_err *spelling_new(const px_tokenizer *tok, int64_t vocab, const int32_t *ends,
                                int n_ends, spelling **out);
void spelling_free(spelling *s);
static inline const char *spelling_text(const spelling *s, int32_t id) {
    return s->bytes + s->start[id];
}
static inline int32_t spelling_size(const spelling *s, int32_t id) {
    return (int32_t)(s->start[id + 1] - s->start[id]);
}
/* cost[i] = the least number of tokens of text[i .. n) plus what stands in cost[n]; cost [n + 1] is
 * given from `from` on and computed before. SPELL_NEVER: cannot be spelt. */
void spelling_cost(const spelling *s, const char *text, int32_t n, int32_t from, int32_t *cost);

/* --- grammar.c --- */
typedef enum { PART_TEXT, PART_STRING, PART_CHOICE, PART_INTEGER, PART_RANKING } part_kind;
#define OPTIONAL_BLANK '\x01'
typedef struct {
    part_kind kind;
    char *texts[64]; /* CHOICE, RANKING: JSON; TEXT: the first, OPTIONAL_BLANK for " " or "" */
    int32_t sizes[64];
    int n_texts;
    int64_t least, most;
    int32_t tail; /* where it begins in the object's completion */
} grammar_part;
/* No padding: a key of maps. */
typedef struct {
    int32_t part; /* n_parts: complete */
    int32_t at;   /* TEXT, CHOICE: offset; STRING: within what; INTEGER, RANKING: see grammar.c */
    int64_t value;
    uint32_t used; /* RANKING: texts that stand already */
    uint32_t zero;
} grammar_state;
typedef struct {
    grammar_state state; /* of a string without its length */
    px_allowed *tokens;
    int32_t n;
} allowed_list;
typedef struct grammar_cache grammar_cache;
struct px_grammar {
    px_arena *arena;
    const spelling *spell; /* the engine's */
    grammar_part *parts;
    int32_t n_parts;
    char *tail; /* [n_tail] the object's completion from its beginning */
    int32_t n_tail, *cost;
    grammar_cache *cache; /* filled as states are met: the engine's thread alone */
};
grammar_state grammar_start(const px_grammar *g);
/* Takes one byte; false: not allowed, and *state is then worthless. The string of part `endless` is
 * not bounded; -1: all are. */
bool grammar_step(const px_grammar *g, grammar_state *state, unsigned char byte, int32_t endless);
/* Bytes that the open string may still get. */
int64_t grammar_room(const px_grammar *g, const grammar_state *state);
/* A string's state stands for all its lengths. */
grammar_state grammar_class(const px_grammar *g, const grammar_state *state);
/* Appends the completion of the state's own part. */
void part_complete(const grammar_part *p, const grammar_state *state, px_str *out);

/* --- string.c: within a JSON string, `at` says where --- */
enum { STRING_TEXT, STRING_OPEN }; /* OPEN: at its beginning, where it may not be empty */
typedef enum { STRING_NO, STRING_ON, STRING_CLOSED } string_step;
/* *value: bytes so far, those that a character or escape has begun and still needs among them. */
string_step string_take(int32_t *at, int64_t *value, int64_t most, unsigned char byte);
void string_complete(int32_t at, px_str *out);

/* --- allowed.c --- */
PX_CHECKED px_err *grammar_cache_new(px_grammar *g);
void grammar_cache_free(grammar_cache *cache);
/* Tokens behind which the object can be complete, that which ends the turn included. */
PX_CHECKED px_err *grammar_need(const px_grammar *g, const grammar_state *state, int32_t *need);
/* What may follow with `left` tokens left. mask->tokens is the grammar's. */
PX_CHECKED px_err *grammar_mask(const px_grammar *g, const grammar_state *state, int64_t left,
                                px_mask *mask);

#endif
