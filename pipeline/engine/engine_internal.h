/* engine_internal.h - what the files of this module share. */
#ifndef PX_ENGINE_INTERNAL_H
#define PX_ENGINE_INTERNAL_H

#include "engine.h"
#include "grammar_internal.h"

/* --- sequence.c: one request under way, or the kept beginning of one that is done --- */
typedef enum { SEQ_WAITING, SEQ_RUNNING, SEQ_KEPT } sequence_state;
typedef struct {
    sequence_state state;
    px_request request; /* ids NULL: they are in `plain` */
    /* rows [n_rows]: the prompt's, soft tokens included, then the answer's. A soft token t of user
     * row u stands there as -1 - (u · T_u + t): equal rows are equal ids. */
    int32_t *rows, n_rows, n_prompt;
    int32_t n_done;                 /* rows whose keys and values are in the cache */
    int32_t *plain, n_plain, n_new; /* ids without soft tokens; n_new of them are the answer's */
    int32_t *distinct, n_distinct;  /* each of plain once */
    uint8_t *seen;                  /* [vocab / 8 + 1] bits: in distinct; NULL: not wanted */
    int32_t most_rows;              /* where the answer ends at the latest */
    grammar_state form;             /* with a grammar: where in it the answer is */
    px_mask mask;                   /* of the next token */
    int32_t *pages, n_pages;
    int32_t n_after; /* new tokens by logits that were asked for afterwards … */
    bool by_logits;  /* … too many: nothing is picked any more */
    int64_t used;    /* the step that used it last */
} sequence;
PX_CHECKED px_err *sequence_new(const px_request *request, int32_t soft, int32_t soft_at,
                                int32_t most_rows, int64_t vocab, sequence **out);
void sequence_free(sequence *s);
/* PX_RUN_FAILED: the token is not what the request's grammar allows, as logits are no numbers. */
PX_CHECKED px_err *sequence_add(sequence *s, int32_t id);
/* Rows that both begin with, of b at most its first `most`. */
int32_t sequence_common(const sequence *a, int32_t a_rows, const sequence *b, int32_t most);

/* --- pages.c: which pages are free, and how many sequences hold each --- */
typedef struct {
    int32_t *holders, *free_list; /* [n] */
    int32_t n, n_free;
} page_pool;
PX_CHECKED px_err *pool_init(page_pool *pool, int32_t n);
void pool_fini(page_pool *pool);
/* A free page with one holder, or -1. */
int32_t pool_take(page_pool *pool);
void pool_hold(page_pool *pool, int32_t page);
void pool_release(page_pool *pool, int32_t page);

/* --- choose.c --- */
/* The next place from `from` on, -1: none, where ids repeat their last no_repeat_ngram - 1: the id
 * behind is banned. */
int64_t choosing_repeats(const px_choosing *c, int64_t from);

/* --- picks.c: with a model on a GPU, what each wanted row of a pass has picked of its logits ---
 */
typedef struct engine_picks engine_picks;
/* *out is to be closed on failure too. */
PX_CHECKED px_err *picks_open(px_stream *stream, int32_t batch, engine_picks **out);
void picks_close(engine_picks *picks); /* NULL: nothing */
/* A pass begins; its wanted rows one by one, choice NULL: its logits are to come over; into its
 * step. */
void picks_begin(engine_picks *picks);
void picks_add(engine_picks *picks, const px_choosing *choice, int64_t vocab);
void picks_ask(const engine_picks *picks, px_step *step);
/* False: the row's logits came over instead; picks NULL: all did. */
bool picks_has(const engine_picks *picks, int32_t row);
/* px_choose_picked. */
int32_t picks_choose(const engine_picks *picks, int32_t row, const px_choosing *choice,
                     px_candidate *room);

/* --- engine.c --- */
enum { ENGINE_ROWS = 256 };        /* rows of a pass, batch at least */
enum { MOST_POSITIONS = 1 << 24 }; /* of a request, whatever the model takes */
typedef struct {
    sequence **items;
    int32_t n, room;
} sequence_list;
struct px_engine {
    px_stream *stream;
    px_model *model;
    px_pass *pass;
    px_cache *cache;
    px_run run; /* arena NULL: none */
    px_digest weights;
    char *model_path;
    px_tokenizer *tok;
    px_template *tmpl;
    int32_t batch, soft, rows_max;
    int64_t vocab, positions;
    int32_t bos, ends[PX_ENDS_MOST];
    int n_ends;
    page_pool pool;
    /* waiting: in the order of arrival; running: in the order of admission; kept: what may begin
     * another request. */
    sequence_list waiting, running, kept;
    /* A pass. */
    int32_t *ids, *wanted, *wanted_of; /* [rows_max]; wanted_of: index in running */
    px_stretch *stretches;             /* [batch] */
    float *soft_rows;                  /* [batch, soft, d] */
    float *logits;                     /* [batch, vocab] */
    engine_picks *picks;               /* NULL: the model is not on a GPU */
    px_candidate *candidates;          /* [threads, 2 vocab] */
    float *raw;                        /* [threads, vocab] */
    int threads;
    spelling *spell; /* of the vocabulary, once a grammar wanted it */
    px_engine_counts counts;
};
/* Makes engine->spell. */
PX_CHECKED px_err *engine_spelling(px_engine *engine);

/* --- admit.c --- */
/* Moves waiting requests to running as far as places and pages allow. */
PX_CHECKED px_err *engine_admit(px_engine *engine);
/* Takes a finished or cancelled sequence off; its rows stay as a kept beginning while pages last.
 */
void engine_retire(px_engine *engine, sequence *s);
PX_CHECKED px_err *list_add(sequence_list *list, sequence *s);
void list_remove(sequence_list *list, int32_t i);

#endif
