/* prepare.h - the stages of `prepare`, between the reader (prism.h) and the corpus file: splits,
 * encoded conversations as bytes that travel to rank 0, the tables, the report. Inside the module.
 */
#ifndef PX_PREPARE_H
#define PX_PREPARE_H

#include "data.h"
#include "prism.h"

enum { PX_CORPUS_VERSION = 1 };

/* --- splits --- */
/* One conversation as the splits see it. */
typedef struct {
    const char *id;
    int32_t user; /* index into the survey's people */
} px_split_conv;
/* unseen[u] for every person of user_ids; split[c] for every conversation. People with a
 * conversation, sorted by id, are permuted by (seed, 0): the first round(share · people) are
 * unseen, so are their conversations. The other people's conversations, sorted by id, are permuted
 * by (seed, 1): the first round(share · conversations) are the seen test split. Neither the order
 * in the files, nor filters, nor ranks play a part. */
PX_CHECKED px_err *px_split_make(const px_config *config, const char *const *user_ids,
                                 int32_t n_users, const px_split_conv *convs, int32_t n_convs,
                                 uint8_t *unseen, uint8_t *split);

/* --- pairs of one conversation, encoded --- */
typedef enum {
    PX_SKIP_PROMPT, /* prompt over data.max_prompt_tokens */
    PX_SKIP_TOKENS, /* longer side over data.max_tokens */
    PX_SKIP_MARGIN, /* scores nearer than data.min_margin */
    PX_SKIP_MERGED, /* the prompt's tokens are no prefix */
    PX_SKIP_COUNT
} px_skip;

/* Starts a conversation's bytes; n_pairs px_pair, n_nodes tokens and n_nodes parents follow. */
typedef struct {
    int32_t index; /* of the conversation in the file */
    int32_t n_pairs, n_nodes;
    int32_t soft_after; /* 1: the sequences start with BOS; -1: no pair */
    int64_t skipped[PX_SKIP_COUNT];
    int64_t pair_tokens; /* of both sequences of each pair, prompts included */
    int64_t n_ties;      /* pairs of equal scores */
} px_made;

typedef struct {
    px_tokenizer *tok;
    px_template *tmpl;
    const px_config *config;
    px_arena *arena; /* scratch of one conversation */
} px_encoder;

/* Appends the conversation's bytes to out. */
PX_CHECKED px_err *px_pairs_make(px_encoder *encoder, const px_prism_conv *conv, int32_t index,
                                 px_str *out);

/* --- the corpus in memory, on its way to the file --- */
typedef struct {
    px_corpus tables;
    int64_t n_nodes;
    const int32_t *token, *parent; /* [n_nodes], conversations one after another */
} px_corpus_draft;
/* SHA-256 of what training sees. */
PX_CHECKED px_err *px_corpus_sha_tables(const px_corpus *corpus, px_sha **out);
PX_CHECKED px_err *px_corpus_write(const char *path, const px_corpus_draft *draft, px_digest *sha);

/* --- the report --- */
typedef struct {
    const px_config *config;
    const px_prepare *job;
    const px_harms *harms;
    const px_prism_facts *facts;
    const px_survey *survey;
    const px_corpus *corpus; /* NULL when no pair is left */
    int64_t n_with_convs;    /* people */
    int64_t n_readable, n_filtered_balanced, n_filtered_english;
    int64_t n_split_users[2]; /* seen, unseen */
    int64_t n_split_convs[3]; /* readable ones, before filters and lengths */
    int64_t skipped[PX_SKIP_COUNT], skip_lines[PX_SKIP_COUNT][PX_HARM_LINES];
    int n_skip_lines[PX_SKIP_COUNT];
    int64_t n_ties, pair_tokens, tree_tokens;
    int64_t n_flat, n_flat_same; /* -1: not compared */
} px_report;
PX_CHECKED px_err *px_report_write(const px_report *report, const char *path);
/* A few lines for the log. */
void px_report_log(const px_report *report, const char *path);

#endif
