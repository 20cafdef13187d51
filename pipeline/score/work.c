/* work.c - units side by side as the rows of one slot. Invariants:
 * 1. Rows of a unit are contiguous: nodes before the soft tokens, the soft tokens, the other nodes,
 * each in the tree's depth-first order; a row's parent stands before it.
 * 2. A segment is a maximal chain of rows without a branch inside, so that other segments hang on
 * its end only.
 * 3. A target is one response node (shared by all responses through it): its token, predicted by
 * its parent's row.
 * 4. Nothing of a unit depends on the units beside it but its row numbers. */
#include "score.h"

#include <string.h>

typedef struct {
    int32_t n_targets;
    const int32_t *targets; /* indices into targets, in token order */
} response;

struct px_work {
    px_slot slot;
    int n_units, n_soft; /* n_soft: soft tokens a unit */
    const px_unit *const *units;
    response *responses; /* [2 * pairs]: chosen, rejected */
    int32_t n_responses;
};

typedef struct {
    px_work *work;
    px_arena *arena;
    int32_t soft_after;
    int32_t *ids, *positions, *parent_row, *n_children; /* [rows] */
    uint64_t *keys;
    px_segment *segments;
    int32_t *segment_of; /* [rows] */
    int32_t *target_of;  /* [rows] the target that this row's own token is, or -1 */
    int32_t n;
} builder;

const px_slot *px_work_slot(const px_work *work) { return &work->slot; }

/* Row of a node in its unit, soft tokens counted. */
static int32_t row_of(const builder *b, int32_t node) {
    return node < b->soft_after ? node : node + b->work->n_soft;
}

/* Row (in the unit) of the row before a node on its path, or -1 at the root. */
static int32_t parent_row_of(const builder *b, const px_tree *tree, int32_t node) {
    int32_t parent = tree->parent[node];
    if (parent == b->soft_after - 1 && b->work->n_soft > 0)
        return b->soft_after + b->work->n_soft - 1;
    return parent < 0 ? -1 : row_of(b, parent);
}

static void add_row(builder *b, int32_t first, int32_t row, int32_t parent, int32_t id,
                    uint64_t key) {
    int32_t at = first + row;
    b->ids[at] = id;
    b->keys[at] = key + (uint64_t)row;
    b->parent_row[at] = parent < 0 ? -1 : first + parent;
    b->positions[at] = parent < 0 ? 0 : b->positions[first + parent] + 1;
    if (parent >= 0) b->n_children[first + parent]++;
}

static void add_unit_rows(builder *b, int index) {
    const px_unit *unit = b->work->units[index];
    int32_t n_soft = b->work->n_soft, first = b->n;
    /* Identity of a row for dropout: the unit (its first pair names it), which copy, the row. */
    uint64_t key = (uint64_t)(uint32_t)unit->pairs[0] << 33 | (uint64_t)(unit->user > 0) << 32;
    for (int32_t node = 0; node < b->soft_after && node < unit->tree.n; node++)
        add_row(b, first, row_of(b, node), parent_row_of(b, &unit->tree, node),
                unit->tree.token[node], key);
    for (int32_t t = 0; t < n_soft; t++)
        add_row(b, first, b->soft_after + t, b->soft_after + t - 1, -1 - (index * n_soft + t), key);
    for (int32_t node = b->soft_after; node < unit->tree.n; node++)
        add_row(b, first, row_of(b, node), parent_row_of(b, &unit->tree, node),
                unit->tree.token[node], key);
    b->n += unit->tree.n + n_soft;
}

static void cut_segments(builder *b) {
    int32_t n = 0;
    for (int32_t r = 0; r < b->n; r++) {
        int32_t parent = b->parent_row[r];
        bool continues = parent >= 0 && parent == r - 1 && b->n_children[parent] == 1;
        if (!continues) {
            b->segments[n++] =
                (px_segment){.begin = r, .parent = parent < 0 ? -1 : b->segment_of[parent]};
        }
        b->segment_of[r] = n - 1;
        b->segments[n - 1].end = r + 1;
    }
    b->work->slot.n_segments = n;
}

/* Marks (target_of = 0) the rows of the last n_tokens nodes on the path to leaf. */
static void mark_response(builder *b, int32_t leaf_row, int32_t n_tokens) {
    for (int32_t k = 0, r = leaf_row; k < n_tokens; k++, r = b->parent_row[r]) b->target_of[r] = 0;
}

/* Numbers the marked rows' targets by the row that predicts them; fills rows and targets. */
static px_err *number_targets(builder *b) {
    int32_t *first = px_take(b->arena, int32_t, b->n + 1), n_targets = 0, n_rows = 0;
    PX_PASS(px_arena_ok(b->arena));
    for (int32_t r = 0; r < b->n; r++)
        if (b->target_of[r] >= 0) first[b->parent_row[r] + 1]++;
    int32_t *rows = px_take(b->arena, int32_t, b->n), *wanted = px_take(b->arena, int32_t, b->n);
    int32_t *row = px_take(b->arena, int32_t, b->n), *id = px_take(b->arena, int32_t, b->n);
    PX_PASS(px_arena_ok(b->arena));
    for (int32_t r = 0; r < b->n; r++) {
        if (first[r + 1]) {
            wanted[r] = n_rows;
            rows[n_rows++] = r;
        }
        first[r + 1] += first[r];
    }
    for (int32_t r = 0; r < b->n; r++) {
        if (b->target_of[r] < 0) continue;
        int32_t parent = b->parent_row[r], at = first[parent]++;
        b->target_of[r] = at;
        row[at] = wanted[parent];
        id[at] = b->ids[r];
        n_targets++;
    }
    px_slot *slot = &b->work->slot;
    slot->rows = rows;
    slot->n_rows = n_rows;
    slot->targets = (px_targets){row, id, n_targets};
    return NULL;
}

static px_err *collect_response(builder *b, int32_t leaf_row, int32_t n_tokens, response *out) {
    int32_t *targets = px_take(b->arena, int32_t, n_tokens);
    PX_PASS(px_arena_ok(b->arena));
    for (int32_t k = n_tokens - 1, r = leaf_row; k >= 0; k--, r = b->parent_row[r])
        targets[k] = b->target_of[r];
    *out = (response){n_tokens, targets};
    return NULL;
}

/* Calls for every response of the slot, chosen before rejected: marks it, or collects its targets.
 */
static px_err *each_response(builder *b, const px_corpus *corpus, bool collect) {
    int32_t first = 0, at = 0;
    for (int u = 0; u < b->work->n_units; u++) {
        const px_unit *unit = b->work->units[u];
        for (int32_t p = 0; p < unit->n_pairs; p++) {
            const px_pair *pair = &corpus->pairs[unit->pairs[p]];
            int32_t chosen = first + row_of(b, unit->chosen_leaf[p]);
            int32_t rejected = first + row_of(b, unit->rejected_leaf[p]);
            if (collect) {
                response *out = &b->work->responses[at];
                PX_PASS(collect_response(b, chosen, pair->chosen_tokens, out));
                PX_PASS(collect_response(b, rejected, pair->rejected_tokens, out + 1));
            } else {
                mark_response(b, chosen, pair->chosen_tokens);
                mark_response(b, rejected, pair->rejected_tokens);
            }
            at += 2;
        }
        first += unit->tree.n + b->work->n_soft;
    }
    return NULL;
}

static px_err *builder_start(builder *b, px_arena *arena, int32_t rows, int32_t n_responses) {
    b->arena = arena;
    b->ids = px_take(arena, int32_t, rows);
    b->positions = px_take(arena, int32_t, rows);
    b->parent_row = px_take(arena, int32_t, rows);
    b->n_children = px_take(arena, int32_t, rows);
    b->keys = px_take(arena, uint64_t, rows);
    b->segments = px_take(arena, px_segment, rows);
    b->segment_of = px_take(arena, int32_t, rows);
    b->target_of = px_take(arena, int32_t, rows);
    b->work->responses = px_take(arena, response, n_responses);
    b->work->n_responses = n_responses;
    PX_PASS(px_arena_ok(arena));
    memset(b->target_of, 0xFF, (size_t)rows * sizeof *b->target_of); /* -1 */
    return NULL;
}

px_err *px_work_build(const px_corpus *corpus, const px_unit *const *units, int n_units,
                      const px_params *params, px_arena *arena, px_work **out) {
    px_work *work = px_take(arena, px_work, 1);
    PX_PASS(px_arena_ok(arena));
    int32_t n_soft = params ? (int32_t)params->n_tokens : 0, rows = 0, n_responses = 0;
    *work = (px_work){.units = units, .n_units = n_units, .n_soft = n_soft};
    for (int u = 0; u < n_units; u++) {
        rows += units[u]->tree.n + n_soft;
        n_responses += 2 * units[u]->n_pairs;
    }
    builder b = {.work = work, .soft_after = corpus->soft_after};
    PX_PASS(builder_start(&b, arena, rows, n_responses));
    for (int u = 0; u < n_units; u++) add_unit_rows(&b, u);
    cut_segments(&b);
    PX_PASS(each_response(&b, corpus, false));
    PX_PASS(number_targets(&b));
    PX_PASS(each_response(&b, corpus, true));
    float *soft = NULL;
    if (n_soft > 0) {
        soft = px_take(arena, float, n_units, n_soft, params->d);
        PX_PASS(px_arena_ok(arena));
        for (int u = 0; u < n_units; u++)
            px_user_embed(params, units[u]->user, soft + (int64_t)u * n_soft * params->d);
    }
    px_slot *slot = &work->slot;
    slot->n = b.n;
    slot->ids = b.ids;
    slot->positions = b.positions;
    slot->keys = b.keys;
    slot->segments = b.segments;
    slot->soft = soft;
    slot->n_soft = n_units * n_soft;
    *out = work;
    return NULL;
}

void px_work_logps(const px_work *work, const double *logp_target, double *logps) {
    for (int32_t i = 0; i < work->n_responses; i++) {
        const response *r = &work->responses[i];
        double sum = 0;
        for (int32_t k = 0; k < r->n_targets; k++) sum += logp_target[r->targets[k]];
        logps[i] = sum;
    }
}

void px_work_token_logps(const px_work *work, int32_t first, int32_t n, const double *logp_target,
                         double *values) {
    for (int32_t i = first; i < first + n; i++) {
        const response *r = &work->responses[i];
        for (int32_t k = 0; k < r->n_targets; k++) *values++ = logp_target[r->targets[k]];
    }
}

void px_work_gradient(const px_work *work, const double *dlogps, float *g) {
    /* A token that several responses share takes their sum, in the order of the responses. */
    memset(g, 0, (size_t)work->slot.targets.n * sizeof *g);
    for (int32_t i = 0; i < work->n_responses; i++) {
        const response *r = &work->responses[i];
        for (int32_t k = 0; k < r->n_targets; k++) g[r->targets[k]] += (float)dlogps[i];
    }
}

void px_work_users_backward(const px_work *work, const px_params *params, const float *dsoft,
                            float *grads) {
    for (int u = 0; u < work->n_units; u++)
        px_user_embed_backward(params, work->units[u]->user,
                               dsoft + (int64_t)u * work->n_soft * params->d, grads);
}
