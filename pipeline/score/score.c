/* score.c - log-probabilities of many pairs, shared out among ranks by slots. See score.h. */
#include "score.h"

#include <stdlib.h>

/* A run of pairs of one conversation under one user: a unit that is not built yet. */
typedef struct {
    int32_t first, n; /* in the caller's list */
} stretch;

typedef struct {
    const px_scorer *scorer;
    const int32_t *pairs, *users;
    const stretch *stretches;
    int n_stretches, n_slots;
    int *slot_of, *owner;
    int64_t *sizes, *slot_sizes;
    int64_t largest; /* rows of the largest slot of this rank */
    double *logps;
    px_progress progress;
} scoring;

static int32_t soft_tokens(const px_scorer *scorer) {
    return scorer->params ? (int32_t)scorer->params->n_tokens : 0;
}

static int cut_stretches(const px_scorer *scorer, const int32_t *pairs, const int32_t *users,
                         int32_t n, stretch *out) {
    int count = 0;
    for (int32_t i = 0; i < n; i++) {
        const px_pair *all = scorer->corpus->pairs;
        if (count && users[i] == users[i - 1] && all[pairs[i]].conv == all[pairs[i - 1]].conv)
            out[count - 1].n++;
        else
            out[count++] = (stretch){i, 1};
    }
    return count;
}

static px_err *share_out(scoring *s, px_arena *arena) {
    const px_corpus *corpus = s->scorer->corpus;
    s->slot_of = px_take(arena, int, s->n_stretches);
    s->sizes = px_take(arena, int64_t, s->n_stretches);
    PX_PASS(px_arena_ok(arena));
    for (int i = 0; i < s->n_stretches; i++) {
        int32_t conv = corpus->pairs[s->pairs[s->stretches[i].first]].conv;
        s->sizes[i] = corpus->convs[conv].n_nodes + soft_tokens(s->scorer);
    }
    PX_PASS(px_slots_cut(s->sizes, s->n_stretches, s->scorer->config->batch_slot_tokens, s->slot_of,
                         &s->n_slots));
    s->owner = px_take(arena, int, s->n_slots);
    s->slot_sizes = px_take(arena, int64_t, s->n_slots);
    PX_PASS(px_arena_ok(arena));
    for (int i = 0; i < s->n_stretches; i++) s->slot_sizes[s->slot_of[i]] += s->sizes[i];
    PX_PASS(px_assign_longest_first(s->slot_sizes, s->n_slots, s->scorer->ranks->size, s->owner));
    for (int i = 0; i < s->n_slots; i++)
        if (s->owner[i] == s->scorer->ranks->rank)
            s->largest = PX_MAX(s->largest, s->slot_sizes[i]);
    return NULL;
}

/* Builds and computes one slot; results go to the places of its pairs in the caller's list. */
static px_err *score_slot(scoring *s, int slot, const int *members, int n_members, px_pass *pass,
                          px_arena *arena) {
    const px_scorer *scorer = s->scorer;
    px_unit *units = px_take(arena, px_unit, n_members);
    const px_unit **pointers = px_take(arena, const px_unit *, n_members);
    PX_PASS(px_arena_ok(arena));
    int32_t n_pairs = 0;
    for (int k = 0; k < n_members; k++) {
        const stretch *st = &s->stretches[members[k]];
        PX_PASS(px_unit_build(scorer->corpus, s->pairs + st->first, st->n, s->users[st->first],
                              soft_tokens(scorer), arena, &units[k]));
        pointers[k] = &units[k];
        n_pairs += st->n;
    }
    px_work *work = NULL;
    PX_PASS(px_work_build(scorer->corpus, pointers, n_members, scorer->params, arena, &work));
    const px_slot *rows = px_work_slot(work);
    double *logp = px_take(arena, double, rows->targets.n),
           *sums = px_take(arena, double, 2, n_pairs);
    PX_PASS(px_arena_ok(arena));
    PX_TRY(
        px_model_forward(scorer->model, pass, rows, (px_forward){.params = scorer->params}, logp),
        "slot %d", slot);
    px_work_logps(work, logp, sums);
    for (int k = 0, at = 0; k < n_members; k++) {
        const stretch *st = &s->stretches[members[k]];
        if (scorer->token_logps)
            px_work_token_logps(work, at, 2 * st->n, logp,
                                scorer->token_logps + scorer->token_first[2 * st->first]);
        for (int32_t i = 0; i < 2 * st->n; i++) s->logps[2 * st->first + i] = sums[at++];
    }
    return NULL;
}

static px_err *score_mine(scoring *s, const char *label) {
    px_arena *arena = NULL;
    px_pass *pass = NULL;
    px_err *err = NULL;
    int *members = calloc((size_t)s->n_stretches + 1, sizeof *members);
    if (!members) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_arena_new((size_t)1 << 20, &arena));
    int32_t rows = (int32_t)s->largest;
    if (rows) PX_PASS_TO(done, px_pass_new(s->scorer->model, rows, rows, rows, false, &pass));
    int mine = 0, finished = 0;
    for (int slot = 0; slot < s->n_slots; slot++) mine += s->owner[slot] == s->scorer->ranks->rank;
    px_progress_begin(&s->progress, label, mine, 0);
    for (int slot = 0; slot < s->n_slots; slot++) {
        if (s->owner[slot] != s->scorer->ranks->rank) continue;
        int n = 0;
        for (int i = 0; i < s->n_stretches; i++)
            if (s->slot_of[i] == slot) members[n++] = i;
        size_t mark = px_arena_mark(arena);
        px_watch(s->scorer->ranks, label, slot);
        if (s->scorer->stoppable && px_signal_seen())
            PX_FAIL_TO(done, PX_STOPPED,
                       "by a signal, before the first step: --resume begins anew");
        PX_PASS_TO(done, score_slot(s, slot, members, n, pass, arena));
        px_arena_reset(arena, mark);
        px_progress_at(&s->progress, ++finished, "slots");
    }
done:
    px_pass_free(pass);
    px_arena_free(arena);
    free(members);
    return err;
}

px_err *px_score_all(const px_scorer *scorer, const int32_t *pairs, const int32_t *users,
                     int32_t n_pairs, const char *label, double *logps) {
    px_arena *arena = NULL;
    px_err *err = NULL;
    scoring s = {.scorer = scorer, .pairs = pairs, .users = users, .logps = logps};
    size_t n_tokens = scorer->token_logps ? (size_t)scorer->token_first[2 * n_pairs] : 0;
    for (int32_t i = 0; i < 2 * n_pairs; i++) logps[i] = 0;
    for (size_t i = 0; i < n_tokens; i++) scorer->token_logps[i] = 0;
    PX_PASS_TO(agree, px_arena_new((size_t)1 << 20, &arena));
    stretch *stretches = px_take(arena, stretch, n_pairs);
    PX_PASS_TO(agree, px_arena_ok(arena));
    s.n_stretches = cut_stretches(scorer, pairs, users, n_pairs, stretches);
    s.stretches = stretches;
    PX_PASS_TO(agree, share_out(&s, arena));
    PX_TRY_TO(agree, score_mine(&s, label), "%s", label);
agree:
    px_arena_free(arena);
    PX_PASS(px_agree_all(scorer->ranks, err));
    px_watch(scorer->ranks, label, s.n_slots);
    px_spread_f64_all(scorer->ranks, logps, (size_t)n_pairs * 2);
    if (scorer->token_logps) px_spread_f64_all(scorer->ranks, scorer->token_logps, n_tokens);
    return NULL;
}
