/* choose.c - from logits to a token, in the order of transformers' logits processors and warpers.
 * Everything here is one thread over one row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

static const float NEGLIGIBLE = PX_PICK_NEGLIGIBLE;

static void penalise(float *logits, int64_t vocab, const px_choosing *c, float penalty) {
    for (int32_t i = 0; i < c->n_distinct; i++) {
        const int32_t id = c->distinct[i];
        if (id >= 0 && id < vocab)
            logits[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
    }
}

/* Leaves what a grammar allows. */
static void keep_allowed(float *logits, int64_t vocab, const px_choosing *c) {
    const px_mask *mask = c->mask;
    float ends[PX_ENDS_MOST];
    int64_t at = 0;
    for (int i = 0; i < c->n_ends; i++)
        ends[i] = c->ends[i] >= 0 && c->ends[i] < vocab ? logits[c->ends[i]] : -INFINITY;
    for (int32_t i = 0; i < mask->n; i++) {
        const px_allowed *t = &mask->tokens[i];
        if (t->need > mask->need_most || t->used > mask->used_most) continue;
        while (at < t->id) logits[at++] = -INFINITY;
        at = (int64_t)t->id + 1;
    }
    while (at < vocab) logits[at++] = -INFINITY;
    for (int i = 0; i < c->n_ends; i++)
        if (c->ends[i] >= 0 && c->ends[i] < vocab)
            logits[c->ends[i]] = mask->complete ? ends[i] : -INFINITY;
}

/* Tokens that are taken out, with their logits, so that they can come back. */
typedef struct {
    float *logits;
    int64_t vocab;
    px_candidate *out; /* [vocab] */
    int64_t n;
} taking_out;
static void take_out(taking_out *t, int32_t id) {
    if (id < 0 || id >= t->vocab || t->logits[id] == -INFINITY) return;
    t->out[t->n++] = (px_candidate){id, t->logits[id]};
    t->logits[id] = -INFINITY;
}

int64_t choosing_repeats(const px_choosing *c, int64_t from) {
    const int64_t n = c->how->no_repeat_ngram;
    if (n == 0 || c->n < n) return -1;
    const int32_t *last = c->ids + c->n - (n - 1);
    for (int64_t i = from; i + n <= c->n; i++)
        if (memcmp(c->ids + i, last, (size_t)(n - 1) * sizeof *last) == 0) return i;
    return -1;
}

/* Bans each token that would repeat an n-gram of the prompt or the answer. */
static void ban_ngrams(taking_out *t, const px_choosing *c) {
    for (int64_t i = choosing_repeats(c, 0); i >= 0; i = choosing_repeats(c, i + 1))
        take_out(t, c->ids[i + c->how->no_repeat_ngram - 1]);
}

/* The first of the largest. */
static int32_t largest(const float *logits, int64_t vocab) {
    enum { LANES = 16 };
    float top[LANES], most = -INFINITY;
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) top[j] = -INFINITY;
    for (; i + LANES <= vocab; i += LANES)
        for (int j = 0; j < LANES; j++) top[j] = logits[i + j] > top[j] ? logits[i + j] : top[j];
    for (int j = 0; j < LANES; j++) most = top[j] > most ? top[j] : most;
    for (; i < vocab; i++) most = logits[i] > most ? logits[i] : most;
    for (i = 0; i < vocab; i++)
        if (logits[i] == most) return (int32_t)i;
    return 0;
}

static int descending(const void *a, const void *b) {
    const px_candidate *x = a, *y = b;
    if (x->x != y->x) return x->x < y->x ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Rises as x falls: of floats not above 0 the bits without the sign do. */
static uint32_t rising_key(float x) {
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFF;
}

/* The order of `descending`, for candidates in the order of their ids; spare [n]. By digits of the
 * key, lowest first: 49152 candidates take 0.6 ms, 9 ms by comparisons. */
static void sort_candidates(px_candidate *c, int64_t n, px_candidate *spare) {
    enum { FEW = 512, BITS = 11, DIGITS = 3, KEYS = 1 << BITS };
    if (n < FEW) {
        qsort(c, (size_t)n, sizeof *c, descending);
        return;
    }
    px_candidate *from = c, *to = spare;
    for (int digit = 0; digit < DIGITS; digit++) {
        int64_t starts[KEYS + 1] = {0};
        for (int64_t i = 0; i < n; i++)
            starts[(rising_key(from[i].x) >> (BITS * digit)) % KEYS + 1]++;
        for (int k = 0; k < KEYS; k++) starts[k + 1] += starts[k];
        for (int64_t i = 0; i < n; i++)
            to[starts[(rising_key(from[i].x) >> (BITS * digit)) % KEYS]++] = from[i];
        px_candidate *other = from;
        from = to;
        to = other;
    }
    memcpy(c, from, (size_t)n * sizeof *c); /* three passes: they lie in spare */
}

/* Candidates with x >= least, sorted; x = (logit - largest) / temperature, which is not above 0.
 * out [2 vocab]. */
static int64_t collect(const float *logits, int64_t vocab, float most, float temperature,
                       float least, px_candidate *out) {
    int64_t n = 0;
    for (int64_t i = 0; i < vocab; i++) {
        const float x = (logits[i] - most) / temperature;
        if (x >= least) out[n++] = (px_candidate){(int32_t)i, x};
    }
    sort_candidates(out, n, out + vocab);
    return n;
}

static double sum_all(const float *logits, int64_t vocab, float most, float temperature) {
    double sum = 0;
    for (int64_t i = 0; i < vocab; i++) {
        const float x = (logits[i] - most) / temperature;
        if (x >= NEGLIGIBLE) sum += (double)expf(x);
    }
    return sum;
}

/* How many of the sorted candidates stay: as few as reach top_p of the sum `all`; -1: they do not
 * reach it. */
static int64_t nucleus(const px_candidate *c, int64_t n, double top_p, double all) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)expf(c[i].x);
        if (sum >= top_p * all) return i + 1;
    }
    return -1;
}

static double sum_first(const px_candidate *c, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)expf(c[i].x);
    return sum;
}

/* The sorted candidates that top-k, top-p and min-p leave, one at least. */
static int64_t shortlist(const float *logits, int64_t vocab, const px_decoding *how, float most,
                         px_candidate *out) {
    static const float NEAR = -12.0f; /* a first look: rarely more than some hundred tokens */
    const float temperature = (float)how->temperature;
    const bool whole = how->top_k == 0 && how->top_p >= 1 && how->min_p <= 0;
    int64_t n = collect(logits, vocab, most, temperature, whole ? NEGLIGIBLE : NEAR, out);
    if (whole) return n;
    if (how->top_k > n || (how->top_k == 0 && how->top_p >= 1))
        n = collect(logits, vocab, most, temperature, NEGLIGIBLE, out);
    double all = 0;
    if (how->top_k > 0) {
        int64_t kept = PX_MIN(n, how->top_k);
        while (kept < n && out[kept].x == out[kept - 1].x) kept++; /* ties of the last stay */
        n = kept;
        all = sum_first(out, n);
    } else if (how->top_p < 1) {
        all = sum_all(logits, vocab, most, temperature);
    }
    if (how->top_p < 1) {
        int64_t kept = nucleus(out, n, how->top_p, all);
        if (kept < 0 && how->top_k == 0) {
            n = collect(logits, vocab, most, temperature, NEGLIGIBLE, out);
            kept = nucleus(out, n, how->top_p, all);
        }
        if (kept > 0) n = kept;
    }
    if (how->min_p > 0) {
        const float least = logf((float)how->min_p); /* p / largest p = e^x */
        while (n > 1 && out[n - 1].x < least) n--;
    }
    return n;
}

static double uniform(const px_choosing *choice) {
    const px_rng rng = {choice->how->seed, PX_RNG_GENERATE};
    return px_rng_uniform(rng, choice->key, (uint64_t)choice->n_new);
}
static int32_t draw(const px_candidate *c, int64_t n, const px_choosing *choice) {
    const double u = uniform(choice), all = sum_first(c, n);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)expf(c[i].x);
        if (u * all < sum) return c[i].id;
    }
    return c[n - 1].id;
}

/* Of the changed logits, of which best is the first of the largest. */
static int32_t choose_from(const float *logits, int64_t vocab, const px_choosing *choice,
                           int32_t best, px_candidate *room) {
    const px_decoding *how = choice->how;
    if (how->temperature <= 0 || how->top_k == 1) return best;
    const int64_t n = shortlist(logits, vocab, how, logits[best], room);
    return n > 0 ? draw(room, n, choice) : best;
}

int32_t px_choose(float *logits, int64_t vocab, const px_choosing *choice, px_candidate *room) {
    const px_decoding *how = choice->how;
    if (how->repetition_penalty != 1)
        penalise(logits, vocab, choice, (float)how->repetition_penalty);
    if (choice->mask) keep_allowed(logits, vocab, choice);
    taking_out taken = {logits, vocab, room, 0};
    ban_ngrams(&taken, choice);
    for (int i = 0; i < choice->n_ends && choice->n_new < how->min_new_tokens; i++)
        take_out(&taken, choice->ends[i]);
    int32_t best = largest(logits, vocab);
    if (choice->mask && logits[best] == -INFINITY) { /* the form comes first */
        for (int64_t i = 0; i < taken.n; i++) logits[taken.out[i].id] = taken.out[i].x;
        best = largest(logits, vocab);
    }
    return choose_from(logits, vocab, choice, best, room);
}

int32_t px_choose_changed(const float *logits, int64_t vocab, const px_choosing *choice,
                          px_candidate *room) {
    return choose_from(logits, vocab, choice, largest(logits, vocab), room);
}

/* --- from what was picked of the logits --- */

/* Candidates picked, in order: all of those that count, or a beginning of them. */
typedef struct {
    px_candidate *c;
    int64_t n;
    bool whole;    /* all */
    float rest;    /* else: the others' x is not above it, and below all that are here */
    double all;    /* Σ e^x of all … */
    double margin; /* … to so much of it */
} picks;
/* expf gives e^x to a unit of its last place, 2^-23; sums in another order differ by less. */
static const double MARGIN = 1.25e-7, MARGIN_ORDER = 1e-12;

static picks picks_of(const px_picked *picked, const px_listed *list, float temperature,
                      px_candidate *room) {
    picks p = {.c = room, .all = picked->sum, .margin = MARGIN};
    p.rest = (picked->least - picked->most) / temperature;
    p.whole = p.rest < NEGLIGIBLE; /* -inf too */
    for (int32_t i = 0; i < picked->n; i++) {
        const float x = (list[i].logit - picked->most) / temperature;
        if (!(x >= NEGLIGIBLE) || (!p.whole && !(x > p.rest))) break;
        int64_t at = p.n++;
        /* Other logits may become the same x: those go by id. */
        for (; at > 0 && room[at - 1].x == x && room[at - 1].id > list[i].id; at--)
            room[at] = room[at - 1];
        room[at] = (px_candidate){list[i].id, x};
    }
    if (p.whole) p.all = sum_first(room, p.n), p.margin = MARGIN_ORDER;
    return p;
}

/* As shortlist: false: it takes candidates that are not here. */
static bool picks_cut(picks *p, const px_decoding *how) {
    if (how->top_k > 0) {
        if (!p->whole && p->n < how->top_k) return false;
        int64_t kept = PX_MIN(p->n, how->top_k);
        while (kept < p->n && p->c[kept].x == p->c[kept - 1].x) kept++;
        p->n = kept;
        p->whole = true;
        p->all = sum_first(p->c, kept);
        p->margin = 0; /* as it is summed there */
    }
    if (how->top_p < 1) {
        const int64_t kept = nucleus(p->c, p->n, how->top_p, p->all * (1 - p->margin));
        if (kept != nucleus(p->c, p->n, how->top_p, p->all * (1 + p->margin))) return false;
        if (kept < 0 && how->top_k == 0) return false;
        if (kept > 0) p->n = kept;
        p->whole = true;
    }
    if (how->min_p > 0) {
        const float least = logf((float)how->min_p);
        p->whole = p->whole || p->rest < least;
        while (p->n > 1 && p->c[p->n - 1].x < least) {
            p->whole = true;
            p->n--;
        }
        return p->whole;
    }
    return true;
}

/* As draw, where the others may have a part in the sum: -1: that decides it. */
static int32_t picks_draw(const picks *p, const px_choosing *choice) {
    const double u = uniform(choice);
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        const double before = sum;
        sum += (double)expf(p->c[i].x);
        if (u * p->all * (1 + p->margin) < sum)
            return u * p->all * (1 - p->margin) >= before ? p->c[i].id : -1;
    }
    return -1;
}

int32_t px_choose_picked(const px_picked *picked, const px_listed *list, const px_choosing *choice,
                         px_candidate *room) {
    const px_decoding *how = choice->how;
    if (how->temperature <= 0 || how->top_k == 1) return picked->best;
    if (!isfinite(picked->most)) return -1;
    picks p = picks_of(picked, list, (float)how->temperature, room);
    if (p.n == 0 || !picks_cut(&p, how)) return -1;
    return p.whole ? draw(p.c, p.n, choice) : picks_draw(&p, choice);
}

void px_best(const float *logits, int64_t vocab, px_alternative *best, int32_t n, double *lse) {
    const float most = logits[largest(logits, vocab)];
    *lse = (double)most + log(sum_all(logits, vocab, most, 1));
    int32_t kept = 0;
    for (int64_t i = 0; i < vocab && n > 0; i++) {
        const double logp = (double)logits[i] - *lse;
        if (kept == n && logp <= best[n - 1].logp) continue;
        int32_t at = kept < n ? kept++ : n - 1;
        for (; at > 0 && best[at - 1].logp < logp; at--) best[at] = best[at - 1];
        best[at] = (px_alternative){(int32_t)i, logp};
    }
}
