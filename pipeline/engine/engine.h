/* engine.h - answers many prompts at once, token by token: continuous batching over a paged cache
 * of keys and values, prompts that begin alike computed once, decoding in Hugging Face's order.
 * Knows tokens and people's rows; nothing of ranks, files of prompts or HTTP.
 *
 * The same text always: a token depends on its request, the weights and the seed alone; not on the
 * requests beside it, on the number of threads, or on what the cache had kept. */
#ifndef PX_ENGINE_H
#define PX_ENGINE_H

#include "run.h"

/* How an answer's tokens are chosen. Order (Hugging Face): repetition penalty, n-gram ban, minimum
 * length, temperature, top-k, top-p, min-p. Soft tokens have no id and take no part. */
typedef struct {
    double temperature;        /* 0: greedy */
    int64_t top_k;             /* 0: off */
    double top_p, min_p;       /* 1 and 0: off */
    double repetition_penalty; /* 1: off */
    int64_t no_repeat_ngram;   /* 0: off */
    int64_t min_new_tokens, max_new_tokens;
    bool ignore_eos;  /* goes on behind tokens that end a turn */
    int64_t logprobs; /* best alternatives reported with each token */
    uint64_t seed;
} px_decoding;
/* Greedy, no limits but 512 new tokens. */
px_decoding px_decoding_default(void);
/* generate.* of the configuration, and its seed. */
px_decoding px_decoding_of(const px_config *config);
/* PX_BAD_INPUT: a value out of range, named. */
PX_CHECKED px_err *px_decoding_check(const px_decoding *how);

/* What an answer must be, byte for byte; NULL in a request: anything. See below. */
typedef struct px_grammar px_grammar;

typedef struct {
    const int32_t *ids; /* [n] the prompt, without soft tokens */
    int32_t n;
    int32_t user; /* row of the run's people whose soft tokens it gets, 0 the generic; -1: none */
    uint64_t key; /* of random numbers: px_request_key */
    px_decoding how;
    const px_grammar *grammar; /* of this engine; borrowed until the request ends */
    void *tag;                 /* the caller's */
} px_request;
/* Of prompt `id` and its sample-th answer, below 2^48. */
PX_CHECKED px_err *px_request_key(const char *id, int64_t sample, uint64_t *out);

typedef enum { PX_FINISH_NONE, PX_FINISH_STOP, PX_FINISH_LENGTH } px_finish;
typedef struct {
    int32_t id;
    double logp; /* of the model at temperature 1, before anything else */
} px_alternative;
/* A new token of a request. logp and best only where how.logprobs > 0. */
typedef struct {
    void *tag;
    int32_t id, index; /* index from 0 */
    px_finish finish;  /* not NONE: the last */
    double logp;
    const px_alternative *best; /* [n_best] descending */
    int32_t n_best;
} px_token;
/* false ends the request (a stop string, a client that went): it is not heard of again. */
typedef bool px_token_sink(void *context, const px_token *token);

typedef struct px_engine px_engine;
typedef struct {
    const char *model_path;  /* with run_dir NULL: where its base lies, or NULL */
    const char *run_dir;     /* NULL: the base model alone */
    int64_t step;            /* of the run; -1: newest */
    const px_config *config; /* for a run its own with the given keys over it */
    int threads;
    int64_t batch;        /* requests under way at once */
    bool hash;            /* wants px_engine_weights_sha256; with a run it is there anyway */
    int64_t cache_tokens; /* positions that the cache holds; 0: what batch requests of 2048 take */
} px_engine_setup;
PX_CHECKED px_err *px_engine_open(const px_engine_setup *setup, px_engine **out);

/* What px_engine_open takes of a card, in bytes; for plans too. */
typedef struct {
    int64_t weights, adapters, cache, activations, scratch;
    int64_t region;  /* what is reserved at once: all of these */
    int64_t besides; /* an allowance for CUDA and its libraries */
    int64_t peak;
    int64_t pages; /* of the cache */
} px_engine_card;
/* batch, cache_tokens as in px_engine_setup; soft: tokens before the prompt of a person. */
px_engine_card px_engine_card_of(const px_config *config, const px_shape *shape, int64_t batch,
                                 int64_t cache_tokens, int64_t soft);
/* Pages of the cache of such an engine. */
int64_t px_engine_pages(const px_shape *shape, int64_t batch, int64_t cache_tokens);

void px_engine_close(px_engine *engine);
/* The run, or NULL for a base model. Borrowed. */
const px_run *px_engine_run(const px_engine *engine);
const char *px_engine_weights_sha256(const px_engine *engine);
const char *px_engine_model_path(const px_engine *engine);
/* Soft tokens before each prompt of a user model. */
int32_t px_engine_soft_tokens(const px_engine *engine);
/* Positions that the model was made for: prompt and answer together. */
int64_t px_engine_positions(const px_engine *engine);
/* The model's own; borrowed. */
px_tokenizer *px_engine_tokenizer(px_engine *engine);
px_template *px_engine_template(px_engine *engine);
/* Appends the text of ids, special tokens left out. A model's vocabulary may be padded beyond its
 * tokenizer's: such ids have none. */
PX_CHECKED px_err *px_engine_decode(const px_engine *engine, const int32_t *ids, int32_t n,
                                    px_str *out);
enum { PX_ENDS_MOST = 8 };
/* Replaces the tokens that end a turn, which are the template's and the tokenizer's at first.
 * Copied. */
PX_CHECKED px_err *px_engine_ends(px_engine *engine, const int32_t *ends, int n);

/* Copies the request. An answer ends at how.max_new_tokens, or where the model's positions or the
 * cache end. PX_BAD_INPUT: an empty prompt, one without room for an answer, or for the shortest
 * answer of its grammar; a wrong setting. */
PX_CHECKED px_err *px_engine_add(px_engine *engine, const px_request *request);
/* Ends a request without a word; an unknown tag is ignored. */
void px_engine_cancel(px_engine *engine, const void *tag);
/* One pass over everything under way; the sink hears of each new token, in the order of the
 * requests. */
PX_CHECKED px_err *px_engine_step(px_engine *engine, px_token_sink *sink, void *context);
bool px_engine_idle(const px_engine *engine);
/* Requests that wait for a place. */
int32_t px_engine_waiting(const px_engine *engine);
/* What has been computed: rows of prompts, rows of prompts found in the cache, new tokens. */
typedef struct {
    int64_t prompt_rows, shared_rows, new_tokens, steps;
    int64_t cache_bytes;
    px_round_counts rounds; /* steps by CUDA graphs, and without */
    /* On a GPU: new tokens by what it picked; by logits that came over with it, or afterwards. */
    int64_t picked, by_logits, by_logits_after;
} px_engine_counts;
px_engine_counts px_engine_count(const px_engine *engine);

/* --- answers of a given form --- */
/* With a grammar an answer is one JSON object of the form and the token that ends the turn, at any
 * temperature and at any limit that leaves room for px_grammar_tokens: strings end early where
 * tokens run out. A token is chosen among those that the form allows next; where n-gram ban
 * or minimum length leave none of them, they do not count. Between values the object has no blanks,
 * or one behind a comma or colon, or one before all of it, as the model likes. */
typedef enum {
    PX_VALUE_STRING,  /* JSON string; least (0 or 1) to most bytes as written between its quotes.
                       * With  least 1 it begins with no blank. No escaped NUL, no surrogates. */
    PX_VALUE_CHOICE,  /* one of texts */
    PX_VALUE_INTEGER, /* least to most, at most 10^15 in size */
    PX_VALUE_BOOLEAN,
    PX_VALUE_RANKING, /* array of all texts in some order; at most 16 */
    PX_VALUE_INTEGERS /* object with texts as keys in this order, each an integer from least to most
                       */
} px_value_kind;
typedef struct {
    const char *key;
    px_value_kind kind;
    int64_t least, most;
    const char *const *texts; /* [n_texts], at most 64, no two alike */
    int n_texts;
} px_field;
typedef struct {
    const px_field *fields; /* [n] in this order, at least one */
    int n;
} px_form;
/* The form's texts are copied. Not thread-safe beside px_engine_step, and after px_engine_ends.
 * PX_BAD_INPUT: a form that cannot be, or that the tokenizer cannot write. */
PX_CHECKED px_err *px_grammar_new(px_engine *engine, const px_form *form, px_grammar **out);
/* After its requests, before its engine. */
void px_grammar_free(px_grammar *grammar);
/* So many tokens are enough for an object of the form and the token that ends the turn. */
int32_t px_grammar_tokens(const px_grammar *grammar);
/* Can text begin an answer? *complete: it is one. */
bool px_grammar_follows(const px_grammar *grammar, const char *text, size_t size, bool *complete);

/* --- what a precision costs --- */
typedef struct {
    const char *precision;
    int32_t n_tokens;
    double logp, apart; /* means: log-probability of the text's tokens; |difference| from f32's */
} px_precision_loss;
/* f32, bf16, q8_0 and q4_1 of a model over one fixed text of some 300 tokens. */
PX_CHECKED px_err *px_precision_losses(const char *model_path, int threads,
                                       px_precision_loss out[4]);

/* --- choosing a token, tested by itself --- */
typedef struct {
    int32_t id;
    uint16_t need; /* tokens that suffice behind it, that which ends the turn included */
    uint16_t used; /* bytes that it puts into the string that is open */
} px_allowed;
/* What a grammar allows next: tokens [n] by id with need and used up to these; where the object is
 * complete, the tokens that end a turn alone. */
typedef struct {
    const px_allowed *tokens;
    int32_t n;
    int64_t need_most, used_most;
    bool complete;
} px_mask;
typedef struct {
    const px_decoding *how;
    const int32_t *ids;      /* [n] prompt and answer so far, without soft tokens */
    int32_t n, n_new;        /* n_new of them are the answer's */
    const int32_t *distinct; /* [n_distinct] each of them once; for the penalty alone */
    int32_t n_distinct;
    const int32_t *ends;
    int n_ends;
    uint64_t key;
    const px_mask *mask; /* NULL: every token is allowed */
} px_choosing;
/* Candidates while a token is chosen; room for twice the vocabulary. */
typedef struct {
    int32_t id;
    float x;
} px_candidate;
/* Changes logits [vocab]. */
int32_t px_choose(float *logits, int64_t vocab, const px_choosing *choice, px_candidate *room);
/* The same where a GPU has the logits (px_op_pick). *out: what it has to pick, `list` 0 where one
 * is wanted, of *listed places; ids to change into changes [room], from 0. False: there are more
 * ids or tokens than it takes, a longer list is needed than it makes, or log-probabilities or a
 * mask want the logits themselves. */
bool px_pick_of(const px_choosing *choice, int64_t vocab, int32_t *changes, int32_t room,
                px_pick *out, int32_t *listed);
/* The token that px_choose chooses. -1: what was picked does not decide it; px_choose_changed then
 * does, by the changed logits. room [PX_PICK_LISTED]. */
int32_t px_choose_picked(const px_picked *picked, const px_listed *list, const px_choosing *choice,
                         px_candidate *room);
int32_t px_choose_changed(const float *logits, int64_t vocab, const px_choosing *choice,
                          px_candidate *room);
/* The n best of logits by log-probability, ties by id, and the logarithm of Σ exp in *lse. */
void px_best(const float *logits, int64_t vocab, px_alternative *best, int32_t n, double *lse);

#endif
