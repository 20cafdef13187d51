/* work.c - what a corpus and a configuration ask to be computed: units counted on their real trees,
 * batches and slots cut by training's own functions (px_epoch_plan, px_slots_cut,
 * px_assign_longest_first). */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

/* --- units --- */

/* Counts the pairs [n] of one conversation. marked [nodes]: scratch. */
static px_err *unit_count(px_corpus *corpus, const int32_t *pairs, int32_t n, px_arena *arena,
                          px_plan_unit *out) {
    px_unit unit;
    int32_t *depth = NULL;
    const size_t mark = px_arena_mark(arena);
    PX_PASS(px_unit_build(corpus, pairs, n, -1, 0, arena, &unit));
    PX_PASS(px_tree_depths(arena, &unit.tree, &depth));
    uint8_t *seen = px_take(arena, uint8_t, unit.tree.n),
            *asked = px_take(arena, uint8_t, unit.tree.n);
    PX_PASS(px_arena_ok(arena));
    *out = (px_plan_unit){.nodes = unit.tree.n, .pairs = n};
    for (int32_t i = 0; i < unit.tree.n; i++) out->visible += depth[i] + 1;
    for (int32_t i = 0; i < 2 * n; i++) {
        const px_pair *pair = &corpus->pairs[pairs[i / 2]];
        int32_t at = i % 2 ? unit.rejected_leaf[i / 2] : unit.chosen_leaf[i / 2];
        const int32_t tokens = i % 2 ? pair->rejected_tokens : pair->chosen_tokens;
        for (int32_t k = 0; k < tokens && !seen[at]; k++) {
            const int32_t parent = unit.tree.parent[at];
            seen[at] = 1;
            out->targets++;
            if (!asked[parent]) out->wanted++;
            asked[parent] = 1;
            at = parent;
        }
    }
    px_arena_reset(arena, mark);
    return NULL;
}

static px_err *read_training(px_corpus *corpus, const px_config *config, px_plan_corpus *out) {
    px_epoch epoch;
    px_arena *work = NULL;
    px_rows rows;
    px_err *err = NULL;
    PX_PASS(px_epoch_plan(corpus, config, 0, out->arena, &epoch));
    PX_PASS(px_rows_of(corpus, out->arena, &rows));
    out->n_users = rows.n_rows;
    out->n_units = epoch.n_units;
    out->n_pairs = epoch.first[epoch.n_units];
    out->n_batches = epoch.n_batches;
    out->batch_first = px_take(out->arena, int32_t, epoch.n_batches + 1);
    out->units = px_take(out->arena, px_plan_unit, epoch.n_units);
    PX_PASS(px_arena_ok(out->arena));
    memcpy(out->batch_first, epoch.batch_first,
           (size_t)(epoch.n_batches + 1) * sizeof *out->batch_first);
    PX_PASS(px_arena_new((size_t)1 << 20, &work));
    for (int32_t u = 0; u < epoch.n_units; u++)
        PX_PASS_TO(done, unit_count(corpus, epoch.pairs + epoch.first[u],
                                    epoch.first[u + 1] - epoch.first[u], work, &out->units[u]));
done:
    px_arena_free(work);
    return err;
}

/* Every conversation with all its pairs: what the reference goes through. */
static px_err *read_all(px_corpus *corpus, px_plan_corpus *out) {
    px_arena *work = NULL;
    px_err *err = NULL;
    out->all = px_take(out->arena, px_plan_unit, corpus->n_convs);
    int32_t *pairs = px_take(out->arena, int32_t, corpus->n_pairs);
    PX_PASS(px_arena_ok(out->arena));
    PX_PASS(px_arena_new((size_t)1 << 20, &work));
    for (int32_t p = 0; p < corpus->n_pairs; p++) pairs[p] = p;
    for (int32_t c = 0; c < corpus->n_convs; c++) {
        const px_conv *conv = &corpus->convs[c];
        if (conv->n_pairs == 0) continue;
        PX_PASS_TO(done, unit_count(corpus, pairs + conv->first_pair, conv->n_pairs, work,
                                    &out->all[out->n_all]));
        out->all[out->n_all++].nodes = conv->n_nodes; /* a slot's size is that of the whole tree */
    }
    out->all_pairs = corpus->n_pairs;
done:
    px_arena_free(work);
    return err;
}

px_err *px_plan_corpus_read(const char *path, const px_config *config, px_plan_corpus *out) {
    px_corpus *corpus = NULL;
    px_err *err = NULL;
    *out = (px_plan_corpus){0};
    PX_PASS_TO(failed, px_arena_new((size_t)1 << 20, &out->arena));
    PX_PASS_TO(failed, px_corpus_open(path, &corpus));
    PX_PASS_TO(failed, read_training(corpus, config, out));
    PX_PASS_TO(failed, read_all(corpus, out));
    if (out->n_batches == 0) PX_FAIL_TO(failed, PX_BAD_INPUT, "%s has no training pairs", path);
    px_corpus_close(corpus);
    return NULL;
failed:
    px_corpus_close(corpus);
    px_plan_corpus_free(out);
    return err;
}

void px_plan_corpus_free(px_plan_corpus *corpus) {
    px_arena_free(corpus->arena);
    *corpus = (px_plan_corpus){0};
}

/* --- slots --- */

static void add_unit(px_work_sum *sum, const px_plan_unit *unit, int64_t soft) {
    sum->rows += unit->nodes + soft;
    sum->soft += soft;
    sum->targets += unit->targets;
    sum->wanted += unit->wanted;
    /* Every row but the few before them sees the soft tokens, which see one another causally. */
    sum->visible += unit->visible + soft * unit->nodes + soft * (soft + 1) / 2;
}

static void add_sum(px_work_sum *sum, const px_work_sum *more) {
    sum->rows += more->rows;
    sum->soft += more->soft;
    sum->targets += more->targets;
    sum->wanted += more->wanted;
    sum->visible += more->visible;
}

/* Copies of units: copies[i] is a unit, with or without soft tokens. */
static px_err *share_out(const px_plan_unit *const *copies, int n, int64_t soft,
                         int64_t slot_tokens, int ranks, px_arena *arena, px_plan_step *out) {
    *out = (px_plan_step){0};
    int64_t *sizes = px_take(arena, int64_t, n);
    int *slot_of = px_take(arena, int, n);
    PX_PASS(px_arena_ok(arena));
    for (int i = 0; i < n; i++) sizes[i] = copies[i]->nodes + soft;
    PX_PASS(px_slots_cut(sizes, n, slot_tokens, slot_of, &out->n_slots));
    int64_t *slot_sizes = px_take(arena, int64_t, out->n_slots);
    px_work_sum *slots = px_take(arena, px_work_sum, out->n_slots);
    px_work_sum *mine = px_take(arena, px_work_sum, ranks);
    int *owner = px_take(arena, int, out->n_slots), *taken = px_take(arena, int, ranks);
    PX_PASS(px_arena_ok(arena));
    for (int i = 0; i < n; i++) {
        slot_sizes[slot_of[i]] += sizes[i];
        add_unit(&slots[slot_of[i]], copies[i], soft);
    }
    PX_PASS(px_assign_longest_first(slot_sizes, out->n_slots, ranks, owner));
    for (int s = 0; s < out->n_slots; s++) {
        add_sum(&mine[owner[s]], &slots[s]);
        add_sum(&out->all, &slots[s]);
        taken[owner[s]]++;
        out->largest = PX_MAX(out->largest, slot_sizes[s]);
    }
    for (int r = 0; r < ranks; r++)
        if (mine[r].rows >= out->fullest.rows) {
            out->fullest = mine[r];
            out->fullest_slots = taken[r];
        }
    return NULL;
}

px_err *px_plan_batch(const px_plan_corpus *corpus, const px_config *config, int32_t batch,
                      int ranks, px_arena *arena, px_plan_step *out) {
    const int32_t first = corpus->batch_first[batch], end = corpus->batch_first[batch + 1];
    const bool user = config->user_model != PX_USER_NONE;
    const int terms = !user ? 1 : (config->loss_alpha > 0) + (config->loss_alpha < 1);
    const size_t mark = px_arena_mark(arena);
    const px_plan_unit **copies = px_take(arena, const px_plan_unit *, terms, end - first);
    PX_PASS(px_arena_ok(arena));
    int n = 0;
    for (int term = 0; term < terms; term++)
        for (int32_t u = first; u < end; u++) copies[n++] = &corpus->units[u];
    PX_PASS(share_out(copies, n, user ? config->user_tokens : 0, config->batch_slot_tokens, ranks,
                      arena, out));
    px_arena_reset(arena, mark);
    return NULL;
}

px_err *px_plan_reference(const px_plan_corpus *corpus, const px_config *config, int ranks,
                          px_arena *arena, px_plan_step *out) {
    const size_t mark = px_arena_mark(arena);
    const px_plan_unit **copies = px_take(arena, const px_plan_unit *, corpus->n_all);
    PX_PASS(px_arena_ok(arena));
    for (int32_t i = 0; i < corpus->n_all; i++) copies[i] = &corpus->all[i];
    PX_PASS(share_out(copies, corpus->n_all, 0, config->batch_slot_tokens, ranks, arena, out));
    px_arena_reset(arena, mark);
    return NULL;
}
