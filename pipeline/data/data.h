/* data.h - PRISM in, corpus out: reader, splits, pairs, conversation trees, the corpus file,
 * synthetic PRISM. Knows tokens and people, no tensors. */
#ifndef PX_DATA_H
#define PX_DATA_H

#include "config.h"
#include "dist.h"
#include "text.h"

/* --- trees: the trie of a conversation's encoded pairs --- */
/* Nodes depth first; node 0 is the root; parent[i] < i, parent[0] = -1. A node's depth is its
 * position in each sequence through it. */
typedef struct {
    int32_t n;
    const int32_t *token, *parent; /* [n] */
} px_tree;
/* Trie of seqs[i][0..lens[i]), lens[i] >= 1, all with the same first token; children in order of
 * first use. leaf[i]: node of the sequence's last token. Lives in `arena`. PX_BAD_INPUT: first
 * tokens differ. */
PX_CHECKED px_err *px_tree_build(px_arena *arena, const int32_t *const *seqs, const int32_t *lens,
                                 int n_seqs, px_tree *out, int32_t *leaf);
/* The part of tree on the paths to leaves[n], renumbered in the same order; new_leaves[n]. */
PX_CHECKED px_err *px_tree_subset(px_arena *arena, const px_tree *tree, const int32_t *leaves,
                                  int n, px_tree *out, int32_t *new_leaves);
/* [tree->n] depth from 0. */
PX_CHECKED px_err *px_tree_depths(px_arena *arena, const px_tree *tree, int32_t **out);

/* --- corpus.h5 --- */
typedef enum { PX_SPLIT_TRAIN, PX_SPLIT_SEEN, PX_SPLIT_UNSEEN } px_split;
typedef enum { PX_CONV_UNGUIDED, PX_CONV_VALUES, PX_CONV_CONTROVERSY, PX_CONV_OTHER } px_conv_type;

typedef struct {
    const char *id;
    int32_t user; /* index into users */
    px_conv_type type;
    px_split split;
    int32_t first_pair, n_pairs;
    int64_t first_node;
    int32_t n_nodes;
} px_conv;

/* Nodes are of the conversation's tree. The response's tokens are the last *_tokens nodes on the
 * path from the root to *_leaf (end-of-turn token included); prompt_tokens + *_tokens = depth of
 * the leaf + 1. */
typedef struct {
    int32_t conv, turn, chosen_id, rejected_id;
    int32_t chosen_leaf, rejected_leaf;
    int32_t prompt_tokens, chosen_tokens, rejected_tokens;
    int32_t chosen_score, rejected_score; /* 1–100, -1: not given */
    int32_t pairs_of_turn;
} px_pair;

typedef struct px_corpus px_corpus;
struct px_corpus {
    int32_t n_users, n_convs, n_pairs;
    const char *const
        *user_ids; /* [n_users], of people with at least one pair, in the survey's order */
    const uint8_t *user_unseen; /* [n_users] */
    const px_conv *convs;
    const px_pair *pairs; /* by conversation, then turn, then file order */
    int32_t
        soft_after; /* tokens before the soft tokens: 1 where sequences start with BOS, else 0 */
    const char *tokenizer_sha256, *template_name, *template_sha256, *config_json;
    const char *sha256; /* of all that training sees: users, splits, pairs, trees, soft_after */
    const char *path;
    px_h5 *h5;
    px_arena *arena;
};
/* Everything but the nodes is read; each index is checked against its table. PX_BAD_INPUT: not a
 * corpus, another format version, damaged (sha256 of the content is attached and compared). */
PX_CHECKED px_err *px_corpus_open(const char *path, px_corpus **out);
void px_corpus_close(px_corpus *corpus);
/* PX_BAD_INPUT: the corpus was made for another tokenizer than the model's. */
PX_CHECKED px_err *px_corpus_check_model(const px_corpus *corpus, const char *model_path);
/* The conversation's tree, read from the file into the arena, checked. */
PX_CHECKED px_err *px_corpus_tree(px_corpus *corpus, int32_t conv, px_arena *arena, px_tree *out);

/* --- prepare --- */
/* Collective. Reads the PRISM folder, encodes with the model's tokenizer and template, splits,
 * writes out_path and its report (same name, .report.json in place of .h5). Ranks share the
 * conversations; the file does not depend on their number. */
typedef struct {
    const char *data_dir, *model_path, *out_path;
    bool cross_check; /* compare with utterances.jsonl */
} px_prepare;
PX_CHECKED px_err *px_prepare_all(const px_ranks *ranks, const px_config *config,
                                  const px_prepare *job);

/* --- synthetic PRISM --- */
typedef struct {
    const char *out_dir;
    int64_t n_users;
    uint64_t seed;
    double taste; /* size of the per-person tastes in points of score; 0: none */
} px_synth;
/* survey, conversations, utterances, metadata .jsonl and truth.json. */
PX_CHECKED px_err *px_synth_write(const px_synth *job);
/* Two answers to one subject that differ in one thing alone: with[…] is warm, or agrees, or is
 * `without` and a neutral answer behind it. Everything else is drawn from (seed, index). */
typedef enum { PX_SYNTH_WARM, PX_SYNTH_AGREE, PX_SYNTH_PADDED } px_synth_trait;
PX_CHECKED px_err *px_synth_pair(uint64_t seed, uint64_t index, px_synth_trait trait,
                                 px_str *without, px_str *with);

#endif
