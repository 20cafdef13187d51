/* allowed.c - which tokens may follow in a state: all tokens in sorted order are walked through the
 * automaton, those that begin alike once. Lists are kept; a string of any length has one, whose
 * tokens say how much of the string's room they take. See grammar_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "grammar_internal.h"

struct grammar_cache {
    px_arena *arena; /* keys of needs */
    px_map needs, lists;
    allowed_list **items;
    int32_t n, room;
    /* a walk: states [longest + 1] behind each byte; need, used [vocab] */
    grammar_state *states;
    uint16_t *need, *used;
    px_str text; /* of a completion */
    int32_t *cost;
    size_t cost_room;
};

px_err *grammar_cache_new(px_grammar *g) {
    grammar_cache *c = calloc(1, sizeof *c);
    if (!c) PX_NO_MEMORY();
    g->cache = c;
    const size_t vocab = (size_t)g->spell->vocab;
    c->states = malloc(((size_t)g->spell->longest + 1) * sizeof *c->states);
    c->need = malloc((vocab + 1) * sizeof *c->need);
    c->used = malloc((vocab + 1) * sizeof *c->used);
    if (!c->states || !c->need || !c->used) PX_NO_MEMORY();
    return px_arena_new(1 << 16, &c->arena);
}

void grammar_cache_free(grammar_cache *c) {
    if (!c) return;
    for (int32_t i = 0; i < c->n; i++) {
        free(c->items[i]->tokens);
        free(c->items[i]);
    }
    free(c->items);
    px_map_free(&c->needs);
    px_map_free(&c->lists);
    px_arena_free(c->arena);
    free(c->states);
    free(c->need);
    free(c->used);
    px_str_free(&c->text);
    free(c->cost);
    free(c);
}

/* --- tokens that are needed to the end --- */

/* The completion's own tokens: of the state's part, and on into what follows. */
static px_err *need_compute(const px_grammar *g, const grammar_state *state, int32_t *need) {
    grammar_cache *c = g->cache;
    const int32_t next = state->part + 1;
    const int32_t tail = next < g->n_parts ? g->parts[next].tail : g->n_tail;
    px_str_clear(&c->text);
    part_complete(&g->parts[state->part], state, &c->text);
    const int32_t own = (int32_t)c->text.size;
    const int32_t more = PX_MIN(g->n_tail - tail, g->spell->longest);
    px_str_add(&c->text, g->tail + tail, (size_t)more);
    PX_PASS(px_str_ok(&c->text));
    const size_t n = c->text.size + 1;
    if (n > c->cost_room) {
        int32_t *grown = realloc(c->cost, n * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        c->cost = grown;
        c->cost_room = n;
    }
    memcpy(c->cost + own, g->cost + tail, ((size_t)more + 1) * sizeof *c->cost);
    spelling_cost(g->spell, c->text.data, (int32_t)c->text.size, own, c->cost);
    *need = c->cost[0];
    return NULL;
}

px_err *grammar_need(const px_grammar *g, const grammar_state *state, int32_t *need) {
    grammar_cache *c = g->cache;
    if (state->part == g->n_parts) {
        *need = 1;
        return NULL;
    }
    const grammar_state key = grammar_class(g, state);
    *need = px_map_find(&c->needs, (const char *)&key, sizeof key, -1);
    if (*need >= 0) return NULL;
    grammar_state *kept = px_take(c->arena, grammar_state, 1);
    PX_PASS(px_arena_ok(c->arena));
    *kept = key;
    PX_PASS(need_compute(g, &key, need));
    return px_map_set(&c->needs, (const char *)kept, sizeof *kept, *need);
}

/* --- a state's tokens --- */

/* What token i of the order needs behind it and uses; *dead: the byte at which it is refused. */
static px_err *walk_one(const px_grammar *g, int32_t i, int32_t endless, int32_t *valid,
                        int32_t *dead) {
    grammar_cache *c = g->cache;
    const spelling *s = g->spell;
    const int32_t id = s->order[i], size = spelling_size(s, id);
    const unsigned char *text = (const unsigned char *)spelling_text(s, id);
    *valid = PX_MIN(*valid, (int32_t)s->common[i]);
    *dead = INT32_MAX;
    for (; *valid < size; ++*valid) {
        c->states[*valid + 1] = c->states[*valid];
        if (!grammar_step(g, &c->states[*valid + 1], text[*valid], endless)) {
            *dead = *valid;
            return NULL;
        }
    }
    int32_t need = 0, at = size;
    PX_PASS(grammar_need(g, &c->states[size], &need));
    if (need >= SPELL_NEVER) return NULL;
    while (endless >= 0 && c->states[at].part != endless) at--;
    c->need[id] = (uint16_t)need;
    c->used[id] = (uint16_t)(endless >= 0 ? c->states[at].value : 0);
    return NULL;
}

static px_err *walk(const px_grammar *g, const grammar_state *from, int32_t *n) {
    grammar_cache *c = g->cache;
    const bool string = from->part < g->n_parts && g->parts[from->part].kind == PART_STRING;
    int32_t valid = 0, dead = INT32_MAX;
    memset(c->need, 0, (size_t)g->spell->vocab * sizeof *c->need);
    c->states[0] = *from;
    *n = 0;
    for (int32_t i = 0; i < g->spell->n; i++) {
        if (i > 0 && g->spell->common[i] > dead) continue; /* refused as the one before */
        PX_PASS(walk_one(g, i, string ? from->part : -1, &valid, &dead));
        *n += c->need[g->spell->order[i]] > 0;
    }
    return NULL;
}

static px_err *list_new(const px_grammar *g, const grammar_state *key, allowed_list **out) {
    grammar_cache *c = g->cache;
    int32_t n = 0, at = 0;
    PX_PASS(walk(g, key, &n));
    if (c->n == c->room) {
        const int32_t room = c->room ? 2 * c->room : 64;
        allowed_list **grown = realloc(c->items, (size_t)room * sizeof(allowed_list *));
        if (!grown) PX_NO_MEMORY();
        c->items = grown;
        c->room = room;
    }
    allowed_list *list = calloc(1, sizeof *list);
    if (!list) PX_NO_MEMORY();
    list->state = *key;
    list->n = n;
    list->tokens = malloc(((size_t)n + 1) * sizeof *list->tokens);
    c->items[c->n++] = list;
    if (!list->tokens) PX_NO_MEMORY();
    for (int32_t id = 0; id < g->spell->vocab; id++)
        if (c->need[id] > 0) list->tokens[at++] = (px_allowed){id, c->need[id], c->used[id]};
    *out = list;
    return px_map_set(&c->lists, (const char *)&list->state, sizeof list->state, c->n - 1);
}

px_err *grammar_mask(const px_grammar *g, const grammar_state *state, int64_t left, px_mask *mask) {
    *mask = (px_mask){.need_most = left - 1, .used_most = grammar_room(g, state)};
    if (state->part == g->n_parts) {
        mask->complete = true;
        return NULL;
    }
    const grammar_state key = grammar_class(g, state);
    allowed_list *list = NULL;
    const int32_t at = px_map_find(&g->cache->lists, (const char *)&key, sizeof key, -1);
    if (at >= 0)
        list = g->cache->items[at];
    else
        PX_PASS(list_new(g, &key, &list));
    mask->tokens = list->tokens;
    mask->n = list->n;
    return NULL;
}
