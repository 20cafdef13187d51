/* model_case.h - the golden cases of tests/golden/model.py: tensors of a file as floats, sequences
 * as a slot, either one after the other or as a tree with common beginnings merged. */
#ifndef PX_MODEL_CASE_H
#define PX_MODEL_CASE_H

#include "model.h"
#include "px_test.h"

enum { CASE_SEQS = 12, CASE_ROWS = 512, CASE_USERS = 3 };

typedef struct {
    px_safetensors *file;
    px_arena *arena;
} px_case;

static inline px_case px_case_open(const char *name) {
    px_case c = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/model_%s.case.safetensors", PX_SOURCE_DIR, name);
    px_assert_ok(px_safetensors_open(path, &c.file));
    px_assert_ok(px_arena_new(1 << 20, &c.arena));
    return c;
}
static inline void px_case_close(px_case *c) {
    px_safetensors_close(c->file);
    px_arena_free(c->arena);
}
/* All elements of a tensor; fails the test when there is none of that name. */
static inline const float *px_case_floats(px_case *c, const char *name, size_t *n) {
    const px_tensor *t = px_safetensors_find(c->file, name);
    if (!t) fail_msg("golden tensor %s is missing", name);
    *n = (size_t)px_tensor_count(t);
    float *out = px_take(c->arena, float, *n);
    px_assert_ok(px_tensor_f32(t, 0, (int64_t)*n, out));
    return out;
}

/* A slot under construction with everything it points to. */
typedef struct {
    px_slot slot;
    int32_t ids[CASE_ROWS], positions[CASE_ROWS], parents[CASE_ROWS], rows[CASE_ROWS];
    int32_t target_row[CASE_ROWS], target_id[CASE_ROWS], target_of[CASE_ROWS];
    int32_t children[CASE_ROWS], segment_of[CASE_ROWS];
    uint64_t keys[CASE_ROWS];
    px_segment segments[CASE_ROWS];
    float soft[CASE_USERS * 64 * 16];
    int n_targets;
} px_built;

static inline int32_t built_child(px_built *b, int32_t parent, int32_t id, int32_t first,
                                  bool merge) {
    for (int32_t i = first; merge && i < b->slot.n; i++)
        if (b->parents[i] == parent && b->ids[i] == id) return i;
    const int32_t row = b->slot.n++;
    b->ids[row] = id;
    b->parents[row] = parent;
    b->positions[row] = parent < 0 ? 0 : b->positions[parent] + 1;
    b->keys[row] = 1000 + (uint64_t)row;
    if (parent >= 0) b->children[parent]++;
    return row;
}

/* Adds a sequence whose tokens from n_prompt on are targets, the first of which is number
 * first_target. Merged rows begin at row `first`. */
static inline void built_add(px_built *b, const float *tokens, int n, int n_prompt, int user,
                             int n_soft, int first_target, int32_t first, bool merge) {
    int32_t row = -1;
    for (int t = 0; t < n; t++) {
        if (t >= n_prompt) {
            b->target_row[b->n_targets] = row;
            b->target_id[b->n_targets] = (int32_t)tokens[t];
            b->target_of[b->n_targets++] = first_target + t - n_prompt;
        }
        row = built_child(b, row, (int32_t)tokens[t], first, merge);
        for (int k = 0; t == 0 && user >= 0 && k < n_soft; k++)
            row = built_child(b, row, -1 - (user * n_soft + k), first, merge);
    }
}

/* Sorts the targets by row, lists the wanted rows, cuts segments. */
static inline void built_finish(px_built *b) {
    for (int i = 1; i < b->n_targets; i++)
        for (int j = i; j > 0 && b->target_row[j] < b->target_row[j - 1]; j--)
            for (int k = 0; k < 3; k++) {
                int32_t *list = k == 0 ? b->target_row : k == 1 ? b->target_id : b->target_of;
                const int32_t swap = list[j];
                list[j] = list[j - 1];
                list[j - 1] = swap;
            }
    px_slot *s = &b->slot;
    for (int i = 0; i < b->n_targets; i++) {
        if (i == 0 || b->target_row[i] != s->rows[s->n_rows - 1]) {
            b->rows[s->n_rows++] = b->target_row[i];
            s->rows = b->rows;
        }
    }
    for (int i = 0, r = 0; i < b->n_targets; i++) {
        while (b->rows[r] != b->target_row[i]) r++;
        b->target_row[i] = r;
    }
    for (int32_t i = 0; i < s->n; i++) {
        const int32_t parent = b->parents[i];
        if (parent < 0 || parent != i - 1 || b->children[parent] > 1)
            b->segments[s->n_segments++] =
                (px_segment){i, i, parent < 0 ? -1 : b->segment_of[parent]};
        b->segment_of[i] = s->n_segments - 1;
        b->segments[s->n_segments - 1].end = i + 1;
    }
    s->ids = b->ids;
    s->positions = b->positions;
    s->keys = b->keys;
    s->segments = b->segments;
    s->rows = b->rows;
    s->targets = (px_targets){b->target_row, b->target_id, b->n_targets};
}

/* The case's sequences; params NULL: without soft tokens. `tree`: those of a user share their
 * beginnings (added 0 2 3 1 of each four, so that rows are depth first). */
static inline px_built *built_new(px_case *c, const px_params *params, bool tree) {
    static const int depth_first[4] = {0, 2, 3, 1};
    px_built *b = px_take(c->arena, px_built, 1);
    size_t n = 0, n_seqs = 0;
    const float *tokens = px_case_floats(c, "tokens", &n),
                *lengths = px_case_floats(c, "lengths", &n_seqs);
    const float *prompts = px_case_floats(c, "prompts", &n),
                *users = px_case_floats(c, "users", &n);
    int at[CASE_SEQS + 1] = {0}, target_at[CASE_SEQS + 1] = {0};
    assert_int_equal(n_seqs, CASE_SEQS);
    for (int i = 0; i < CASE_SEQS; i++) {
        at[i + 1] = at[i] + (int)lengths[i];
        target_at[i + 1] = target_at[i] + (int)(lengths[i] - prompts[i]);
    }
    const int T = params ? (int)params->n_tokens : 0;
    for (int i = 0; i < CASE_SEQS; i++) {
        const int k = tree ? i / 4 * 4 + depth_first[i % 4] : i;
        static int32_t first;
        if (i % 4 == 0) first = b->slot.n;
        built_add(b, tokens + at[k], (int)lengths[k], (int)prompts[k], params ? (int)users[k] : -1,
                  T, target_at[k], first, tree);
    }
    if (params) {
        b->slot.n_soft = CASE_USERS * T;
        for (int u = 0; u < CASE_USERS; u++) px_user_embed(params, u, b->soft + u * T * params->d);
        b->slot.soft = b->soft;
    }
    built_finish(b);
    return b;
}

#endif
