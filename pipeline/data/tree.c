/* tree.c - the trie of a conversation's encoded pairs (data.h). Built by insertion into a
 * first-child / next-sibling list, then numbered depth first by walking it. Knows no pairs and no
 * files. */
#include "data.h"

#include <stdlib.h>

/* The trie while it grows; node ids are in order of insertion, 0 is the root. */
typedef struct {
    int32_t n;
    int32_t *token, *parent, *child, *last, *next, *number; /* -1: none */
} growth;

static void growth_free(growth *g) {
    free(g->token);
    free(g->parent);
    free(g->child);
    free(g->last);
    free(g->next);
    free(g->number);
}

static px_err *growth_new(size_t room, growth *g) {
    *g = (growth){0};
    g->token = malloc(room * sizeof(int32_t));
    g->parent = malloc(room * sizeof(int32_t));
    g->child = malloc(room * sizeof(int32_t));
    g->last = malloc(room * sizeof(int32_t));
    g->next = malloc(room * sizeof(int32_t));
    g->number = malloc(room * sizeof(int32_t));
    if (g->token && g->parent && g->child && g->last && g->next && g->number) return NULL;
    growth_free(g);
    *g = (growth){0};
    PX_FAIL(PX_RUN_FAILED, "out of memory for a tree of up to %zu tokens", room);
}

static int32_t growth_add(growth *g, int32_t parent, int32_t token) {
    int32_t id = g->n++;
    g->token[id] = token;
    g->parent[id] = parent;
    g->child[id] = g->last[id] = g->next[id] = -1;
    if (parent < 0) return id;
    if (g->child[parent] < 0)
        g->child[parent] = id;
    else
        g->next[g->last[parent]] = id;
    g->last[parent] = id;
    return id;
}

/* The node that ends the sequence, made as far as it is not there. */
static int32_t growth_insert(growth *g, const int32_t *seq, int32_t len) {
    int32_t at = 0;
    for (int32_t i = 1; i < len; i++) {
        int32_t c = g->child[at];
        while (c >= 0 && g->token[c] != seq[i]) c = g->next[c];
        at = c >= 0 ? c : growth_add(g, at, seq[i]);
    }
    return at;
}

/* Numbers depth first and copies to out; parents come before their children. */
static void growth_number(const growth *g, int32_t *token, int32_t *parent) {
    int32_t n = 0, at = 0;
    while (at >= 0) {
        g->number[at] = n;
        token[n] = g->token[at];
        parent[n] = g->parent[at] < 0 ? -1 : g->number[g->parent[at]];
        n++;
        if (g->child[at] >= 0) {
            at = g->child[at];
            continue;
        }
        while (at >= 0 && g->next[at] < 0) at = g->parent[at];
        if (at >= 0) at = g->next[at];
    }
}

static px_err *check_sequences(const int32_t *const *seqs, const int32_t *lens, int n_seqs,
                               size_t *room) {
    *room = 1;
    if (n_seqs < 1) PX_FAIL(PX_BAD_INPUT, "a tree of no sequence");
    for (int i = 0; i < n_seqs; i++) {
        if (lens[i] < 1) PX_FAIL(PX_BAD_INPUT, "sequence %d of a tree has no token", i);
        if (seqs[i][0] != seqs[0][0])
            PX_FAIL(PX_BAD_INPUT, "sequences of a tree begin with different tokens, %d and %d",
                    (int)seqs[0][0], (int)seqs[i][0]);
        *room += (size_t)lens[i] - 1;
    }
    if (*room > INT32_MAX)
        PX_FAIL(PX_BAD_INPUT, "a tree of up to %zu tokens, at most %d are possible", *room,
                INT32_MAX);
    return NULL;
}

px_err *px_tree_build(px_arena *arena, const int32_t *const *seqs, const int32_t *lens, int n_seqs,
                      px_tree *out, int32_t *leaf) {
    size_t room;
    PX_PASS(check_sequences(seqs, lens, n_seqs, &room));
    growth g;
    PX_PASS(growth_new(room, &g));
    px_err *err = NULL;
    growth_add(&g, -1, seqs[0][0]);
    for (int i = 0; i < n_seqs; i++) leaf[i] = growth_insert(&g, seqs[i], lens[i]);
    int32_t *token = px_take_raw(arena, int32_t, g.n), *parent = px_take_raw(arena, int32_t, g.n);
    PX_TRY_TO(done, px_arena_ok(arena), "tree of %d tokens", g.n);
    growth_number(&g, token, parent);
    for (int i = 0; i < n_seqs; i++) leaf[i] = g.number[leaf[i]];
    *out = (px_tree){g.n, token, parent};
done:
    growth_free(&g);
    return err;
}

px_err *px_tree_subset(px_arena *arena, const px_tree *tree, const int32_t *leaves, int n,
                       px_tree *out, int32_t *new_leaves) {
    if (n < 1) PX_FAIL(PX_BAD_INPUT, "a part of a tree with no leaf");
    int32_t *number = px_take_raw(arena, int32_t, tree->n);
    PX_TRY(px_arena_ok(arena), "part of a tree of %d tokens", tree->n);
    for (int32_t i = 0; i < tree->n; i++) number[i] = -1;
    int32_t kept = 0;
    for (int i = 0; i < n; i++) {
        if (leaves[i] < 0 || leaves[i] >= tree->n)
            PX_FAIL(PX_BAD_INPUT, "leaf %d of a tree of %d tokens", (int)leaves[i], (int)tree->n);
        for (int32_t at = leaves[i]; at >= 0 && number[at] < 0; at = tree->parent[at], kept++)
            number[at] = 0;
    }
    int32_t *token = px_take_raw(arena, int32_t, kept), *parent = px_take_raw(arena, int32_t, kept);
    PX_TRY(px_arena_ok(arena), "part of a tree, %d of %d tokens", kept, tree->n);
    int32_t m = 0;
    for (int32_t i = 0; i < tree->n; i++) {
        if (number[i] < 0) continue;
        number[i] = m;
        token[m] = tree->token[i];
        parent[m++] = tree->parent[i] < 0 ? -1 : number[tree->parent[i]];
    }
    for (int i = 0; i < n; i++) new_leaves[i] = number[leaves[i]];
    *out = (px_tree){kept, token, parent};
    return NULL;
}

px_err *px_tree_depths(px_arena *arena, const px_tree *tree, int32_t **out) {
    int32_t *depth = px_take_raw(arena, int32_t, tree->n);
    PX_TRY(px_arena_ok(arena), "depths of %d tokens", tree->n);
    for (int32_t i = 0; i < tree->n; i++)
        depth[i] = tree->parent[i] < 0 ? 0 : depth[tree->parent[i]] + 1;
    *out = depth;
    return NULL;
}
