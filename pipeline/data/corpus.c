/* corpus.c - opens corpus.h5 and believes nothing in it: every index is checked against its table,
 * the content against its SHA-256, a tree's shape when it is read.
 *
 * The nodes are hashed at open, in pieces: 80 MB, PRISM's size, take about 0.1 s, and a corpus that
 * has changed on disk is refused before hours are spent on it. */
#include "corpus_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CONV(field)                                                                                \
    { #field, offsetof(px_conv, field), sizeof(((px_conv *)0)->field) }
#define PAIR(field)                                                                                \
    { #field, offsetof(px_pair, field), sizeof(((px_pair *)0)->field) }

static const px_column conv_columns[] = {CONV(user),       CONV(type),    CONV(split),
                                         CONV(first_pair), CONV(n_pairs), CONV(first_node),
                                         CONV(n_nodes)};
static const px_column pair_columns[] = {
    PAIR(conv),          PAIR(turn),           PAIR(chosen_id),
    PAIR(rejected_id),   PAIR(chosen_leaf),    PAIR(rejected_leaf),
    PAIR(prompt_tokens), PAIR(chosen_tokens),  PAIR(rejected_tokens),
    PAIR(chosen_score),  PAIR(rejected_score), PAIR(pairs_of_turn)};

const px_column *px_corpus_conv_columns(int *n) {
    *n = PX_COUNT(conv_columns);
    return conv_columns;
}

const px_column *px_corpus_pair_columns(int *n) {
    *n = PX_COUNT(pair_columns);
    return pair_columns;
}

static void sha_column(px_sha *sha, const void *rows, size_t row_size, int32_t n,
                       const px_column *column) {
    px_sha_text(sha, column->name);
    for (int32_t i = 0; i < n; i++)
        px_sha_add(sha, (const char *)rows + (size_t)i * row_size + column->offset, column->size);
}

px_err *px_corpus_sha_tables(const px_corpus *corpus, px_sha **out) {
    px_sha *sha;
    PX_PASS(px_sha_new(&sha));
    const int32_t counts[] = {PX_CORPUS_VERSION, corpus->soft_after, corpus->n_users,
                              corpus->n_convs, corpus->n_pairs};
    px_sha_text(sha, PX_CORPUS_FORMAT);
    px_sha_add(sha, counts, sizeof counts);
    for (int32_t u = 0; u < corpus->n_users; u++) px_sha_text(sha, corpus->user_ids[u]);
    px_sha_add(sha, corpus->user_unseen, (size_t)corpus->n_users);
    for (int32_t c = 0; c < corpus->n_convs; c++) px_sha_text(sha, corpus->convs[c].id);
    for (size_t k = 0; k < PX_COUNT(conv_columns); k++)
        sha_column(sha, corpus->convs, sizeof(px_conv), corpus->n_convs, &conv_columns[k]);
    for (size_t k = 0; k < PX_COUNT(pair_columns); k++)
        sha_column(sha, corpus->pairs, sizeof(px_pair), corpus->n_pairs, &pair_columns[k]);
    *out = sha;
    return NULL;
}

/* --- reading the tables --- */

/* Fills one field of n rows from dataset group/column. */
static px_err *read_column(px_corpus *corpus, const char *group, const px_column *column, int32_t n,
                           void *rows, size_t row_size) {
    char name[64];
    snprintf(name, sizeof name, "%s/%s", group, column->name);
    size_t mark = px_arena_mark(corpus->arena);
    char *values = px_arena_take_raw(corpus->arena, (size_t)n + 1, column->size);
    PX_TRY(px_arena_ok(corpus->arena), "%s", name);
    PX_PASS(px_h5_read(corpus->h5, name, column->size == 8 ? PX_H5_I64 : PX_H5_I32, n, values));
    for (int32_t i = 0; i < n; i++)
        memcpy((char *)rows + (size_t)i * row_size + column->offset,
               values + (size_t)i * column->size, column->size);
    px_arena_reset(corpus->arena, mark);
    return NULL;
}

static px_err *read_length(px_corpus *corpus, const char *name, int64_t most, int64_t *n) {
    int rank;
    int64_t dims[8];
    PX_PASS(px_h5_dims(corpus->h5, name, &rank, dims));
    if (rank != 1 || dims[0] < 1 || dims[0] > most)
        PX_FAIL(PX_BAD_INPUT, "%s has rank %d and %lld rows; wanted: rank 1 and 1 to %lld", name,
                rank, (long long)(rank > 0 ? dims[0] : 0), (long long)most);
    *n = dims[0];
    return NULL;
}

static px_err *read_header(px_corpus *corpus) {
    const char *format;
    int64_t version, soft_after;
    px_err *err = px_h5_read_attr_text(corpus->h5, "/", "format", corpus->arena, &format);
    if (err) return px_err_add(err, __FILE__, __LINE__, "not a corpus made by `prismx prepare`");
    if (strcmp(format, PX_CORPUS_FORMAT) != 0)
        PX_FAIL(PX_BAD_INPUT, "not a corpus made by `prismx prepare`: its format is \"%s\"",
                format);
    PX_PASS(px_h5_read_attr_i64(corpus->h5, "/", "version", &version));
    if (version != PX_CORPUS_VERSION)
        PX_FAIL(PX_BAD_INPUT,
                "corpus format version %lld; this program reads version %d, prepare anew",
                (long long)version, PX_CORPUS_VERSION);
    PX_PASS(px_h5_read_attr_i64(corpus->h5, "/", "soft_after", &soft_after));
    if (soft_after != 0 && soft_after != 1)
        PX_FAIL(PX_BAD_INPUT, "soft_after is %lld; wanted: 0 or 1", (long long)soft_after);
    corpus->soft_after = (int32_t)soft_after;
    const struct {
        const char *name, **text;
    } texts[] = {{"tokenizer_sha256", &corpus->tokenizer_sha256},
                 {"template", &corpus->template_name},
                 {"template_sha256", &corpus->template_sha256},
                 {"config", &corpus->config_json},
                 {"sha256", &corpus->sha256}};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        PX_PASS(px_h5_read_attr_text(corpus->h5, "/", texts[i].name, corpus->arena, texts[i].text));
    return NULL;
}

static px_err *read_users(px_corpus *corpus) {
    int64_t n, n_ids;
    const char **ids;
    PX_PASS(read_length(corpus, "/users/unseen", INT32_MAX - 1, &n));
    PX_PASS(px_h5_read_texts(corpus->h5, "/users/ids", corpus->arena, &ids, &n_ids));
    if (n_ids != n)
        PX_FAIL(PX_BAD_INPUT, "/users has %lld ids and %lld rows", (long long)n_ids, (long long)n);
    uint8_t *unseen = px_take_raw(corpus->arena, uint8_t, n);
    PX_PASS(px_arena_ok(corpus->arena));
    PX_PASS(px_h5_read(corpus->h5, "/users/unseen", PX_H5_U8, n, unseen));
    for (int64_t u = 0; u < n; u++)
        if (unseen[u] > 1 || !ids[u][0])
            PX_FAIL(PX_BAD_INPUT, "/users row %lld: an empty id, or unseen neither 0 nor 1",
                    (long long)u);
    corpus->n_users = (int32_t)n;
    corpus->user_ids = ids;
    corpus->user_unseen = unseen;
    return NULL;
}

static px_err *read_convs(px_corpus *corpus) {
    int64_t n, n_ids;
    const char **ids;
    PX_PASS(read_length(corpus, "/convs/user", INT32_MAX - 1, &n));
    PX_PASS(px_h5_read_texts(corpus->h5, "/convs/ids", corpus->arena, &ids, &n_ids));
    if (n_ids != n)
        PX_FAIL(PX_BAD_INPUT, "/convs has %lld ids and %lld rows", (long long)n_ids, (long long)n);
    px_conv *convs = px_take(corpus->arena, px_conv, n);
    PX_PASS(px_arena_ok(corpus->arena));
    for (size_t k = 0; k < PX_COUNT(conv_columns); k++)
        PX_PASS(read_column(corpus, "/convs", &conv_columns[k], (int32_t)n, convs, sizeof *convs));
    for (int64_t c = 0; c < n; c++) convs[c].id = ids[c];
    corpus->convs = convs;
    corpus->n_convs = (int32_t)n;
    return NULL;
}

static px_err *read_pairs(px_corpus *corpus) {
    int64_t n;
    PX_PASS(read_length(corpus, "/pairs/conv", INT32_MAX - 1, &n));
    px_pair *pairs = px_take(corpus->arena, px_pair, n);
    PX_PASS(px_arena_ok(corpus->arena));
    for (size_t k = 0; k < PX_COUNT(pair_columns); k++)
        PX_PASS(read_column(corpus, "/pairs", &pair_columns[k], (int32_t)n, pairs, sizeof *pairs));
    corpus->pairs = pairs;
    corpus->n_pairs = (int32_t)n;
    return NULL;
}

/* --- checking them --- */

static bool pair_is_sound(const px_pair *p, const px_conv *conv, int32_t conv_index) {
    return p->conv == conv_index && p->turn >= 0 && p->chosen_id >= -1 && p->rejected_id >= -1 &&
           p->chosen_leaf >= 0 && p->chosen_leaf < conv->n_nodes && p->rejected_leaf >= 0 &&
           p->rejected_leaf < conv->n_nodes && p->prompt_tokens >= 1 && p->chosen_tokens >= 1 &&
           p->rejected_tokens >= 1 && p->prompt_tokens <= conv->n_nodes - p->chosen_tokens &&
           p->prompt_tokens <= conv->n_nodes - p->rejected_tokens && p->chosen_score >= -1 &&
           p->chosen_score <= 100 && p->rejected_score >= -1 && p->rejected_score <= 100 &&
           p->pairs_of_turn >= 1;
}

static px_err *check_tables(const px_corpus *corpus, int64_t n_nodes) {
    int64_t pair = 0, node = 0;
    for (int32_t c = 0; c < corpus->n_convs; c++) {
        const px_conv *conv = &corpus->convs[c];
        if (conv->user < 0 || conv->user >= corpus->n_users || (int)conv->type < 0 ||
            conv->type > PX_CONV_OTHER || (int)conv->split < 0 || conv->split > PX_SPLIT_UNSEEN ||
            (conv->split == PX_SPLIT_UNSEEN) != (corpus->user_unseen[conv->user] == 1))
            PX_FAIL(PX_BAD_INPUT, "/convs row %d: user, type or split is out of range", (int)c);
        if (conv->first_pair != pair || conv->n_pairs < 1 || conv->first_node != node ||
            conv->n_nodes < 1 || conv->n_pairs > corpus->n_pairs - pair ||
            conv->n_nodes > n_nodes - node)
            PX_FAIL(PX_BAD_INPUT, "/convs row %d: its pairs or nodes do not follow the row before",
                    (int)c);
        for (int32_t i = 0; i < conv->n_pairs; i++)
            if (!pair_is_sound(&corpus->pairs[pair + i], conv, c))
                PX_FAIL(PX_BAD_INPUT, "/pairs row %lld: a value is out of range",
                        (long long)(pair + i));
        pair += conv->n_pairs;
        node += conv->n_nodes;
    }
    if (pair != corpus->n_pairs || node != n_nodes)
        PX_FAIL(PX_BAD_INPUT, "/convs names %lld pairs and %lld nodes, there are %d and %lld",
                (long long)pair, (long long)node, (int)corpus->n_pairs, (long long)n_nodes);
    return NULL;
}

static px_err *sha_nodes(px_corpus *corpus, px_sha *sha, const char *name, int64_t n) {
    enum { PIECE = 1 << 20 };
    size_t mark = px_arena_mark(corpus->arena);
    int32_t *piece = px_take_raw(corpus->arena, int32_t, PX_MIN(n, PIECE));
    PX_PASS(px_arena_ok(corpus->arena));
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t m = PX_MIN(n - first, PIECE);
        PX_PASS(px_h5_read_rows(corpus->h5, name, PX_H5_I32, first, m, piece));
        px_sha_add(sha, piece, (size_t)m * sizeof *piece);
    }
    px_arena_reset(corpus->arena, mark);
    return NULL;
}

static px_err *check_sha(px_corpus *corpus, int64_t n_nodes) {
    px_sha *sha;
    px_digest digest;
    PX_PASS(px_corpus_sha_tables(corpus, &sha));
    px_err *err = sha_nodes(corpus, sha, "/nodes/token", n_nodes);
    if (!err) err = sha_nodes(corpus, sha, "/nodes/parent", n_nodes);
    px_err *ended = px_sha_end(sha, &digest);
    if (err) {
        px_err_free(ended);
        return err;
    }
    PX_PASS(ended);
    if (strcmp(digest.hex, corpus->sha256) != 0)
        PX_FAIL(PX_BAD_INPUT, "damaged: its content has the SHA-256 %s, the file says %.64s",
                digest.hex, corpus->sha256);
    return NULL;
}

static px_err *corpus_fill(px_corpus *corpus) {
    int64_t n_nodes, n_parents;
    PX_PASS(read_header(corpus));
    PX_PASS(read_users(corpus));
    PX_PASS(read_convs(corpus));
    PX_PASS(read_pairs(corpus));
    PX_PASS(read_length(corpus, "/nodes/token", INT64_MAX / 8, &n_nodes));
    PX_PASS(read_length(corpus, "/nodes/parent", INT64_MAX / 8, &n_parents));
    if (n_parents != n_nodes)
        PX_FAIL(PX_BAD_INPUT, "/nodes has %lld tokens and %lld parents", (long long)n_nodes,
                (long long)n_parents);
    PX_PASS(check_tables(corpus, n_nodes));
    return check_sha(corpus, n_nodes);
}

px_err *px_corpus_open(const char *path, px_corpus **out) {
    px_corpus *corpus = calloc(1, sizeof *corpus);
    if (!corpus) PX_NO_MEMORY();
    px_err *err = px_arena_new(1 << 20, &corpus->arena);
    if (!err) {
        corpus->path = px_arena_text(corpus->arena, path, strlen(path));
        err = px_arena_ok(corpus->arena);
    }
    if (!err) err = px_h5_open(path, &corpus->h5);
    if (!err) {
        err = corpus_fill(corpus);
        if (err) err = px_err_add(err, __FILE__, __LINE__, "corpus %s", path);
    }
    if (err) {
        px_corpus_close(corpus);
        return err;
    }
    *out = corpus;
    return NULL;
}

void px_corpus_close(px_corpus *corpus) {
    if (!corpus) return;
    px_h5_close(corpus->h5);
    px_arena_free(corpus->arena);
    free(corpus);
}

/* --- trees --- */

static px_err *check_tree(const px_corpus *corpus, int32_t conv, const px_tree *tree,
                          const int32_t *depth) {
    for (int32_t p = 0; p < corpus->convs[conv].n_pairs; p++) {
        const px_pair *pair = &corpus->pairs[corpus->convs[conv].first_pair + p];
        if (depth[pair->chosen_leaf] + 1 != pair->prompt_tokens + pair->chosen_tokens ||
            depth[pair->rejected_leaf] + 1 != pair->prompt_tokens + pair->rejected_tokens)
            PX_FAIL(PX_BAD_INPUT, "pair %d: its token counts are not its leaves' depths", (int)p);
    }
    for (int32_t i = 0; i < tree->n; i++)
        if (tree->token[i] < 0) PX_FAIL(PX_BAD_INPUT, "node %d: token %d", (int)i, tree->token[i]);
    return NULL;
}

/* Depth first: each parent is the node before, or one of its ancestors. */
static px_err *check_parents(const px_tree *tree) {
    if (tree->parent[0] != -1) PX_FAIL(PX_BAD_INPUT, "node 0: parent %d", (int)tree->parent[0]);
    for (int32_t i = 1; i < tree->n; i++) {
        int32_t at = i - 1;
        while (at >= 0 && at > tree->parent[i]) at = tree->parent[at];
        if (at < 0 || at != tree->parent[i])
            PX_FAIL(PX_BAD_INPUT, "node %d: parent %d breaks the depth-first order", (int)i,
                    (int)tree->parent[i]);
    }
    return NULL;
}

px_err *px_corpus_tree(px_corpus *corpus, int32_t conv, px_arena *arena, px_tree *out) {
    const px_conv *c = &corpus->convs[conv];
    int32_t *token = px_take_raw(arena, int32_t, c->n_nodes);
    int32_t *parent = px_take_raw(arena, int32_t, c->n_nodes), *depth;
    PX_TRY(px_arena_ok(arena), "corpus %s, conversation %d", corpus->path, (int)conv);
    PX_PASS(
        px_h5_read_rows(corpus->h5, "/nodes/token", PX_H5_I32, c->first_node, c->n_nodes, token));
    PX_PASS(
        px_h5_read_rows(corpus->h5, "/nodes/parent", PX_H5_I32, c->first_node, c->n_nodes, parent));
    px_tree tree = {c->n_nodes, token, parent};
    PX_TRY(check_parents(&tree), "corpus %s, conversation %d", corpus->path, (int)conv);
    size_t mark = px_arena_mark(arena);
    PX_PASS(px_tree_depths(arena, &tree, &depth));
    PX_TRY(check_tree(corpus, conv, &tree, depth), "corpus %s, conversation %d", corpus->path,
           (int)conv);
    px_arena_reset(arena, mark);
    *out = tree;
    return NULL;
}

px_err *px_corpus_check_model(const px_corpus *corpus, const char *model_path) {
    px_tokenizer *tok = NULL;
    PX_PASS(px_tokenizer_open(model_path, &tok));
    const bool same = !strcmp(px_tokenizer_sha256(tok), corpus->tokenizer_sha256);
    px_tokenizer_close(tok);
    if (same) return NULL;
    PX_FAIL(PX_BAD_INPUT,
            "%s was made for another tokenizer than that of %s: prepare it with this model",
            corpus->path, model_path);
}
