/* bpe.c - byte pair encoding of one word. The pair to merge is always the best one, the leftmost of
 * equals: by rank where the vocabulary has merges, by score where it has scores (SentencePiece).
 * Short words are merged by looking over all pairs again, long ones with a heap, so that a text
 * without spaces costs n log n. Words already seen come from a cache. */
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

enum {
    SHORT_WORD = 24,       /* symbols; above, the heap is faster */
    CACHE_CELLS = 1 << 15, /* of 24 bytes; emptied when three quarters are taken */
    CACHE_WORD = 64,       /* bytes; longer words seldom come again */
    CACHE_IDS = 16
};
#define NO_KEY UINT64_MAX

/* A symbol: a piece, or (id -1) a text that is none. */
typedef struct {
    int32_t id, before, after; /* before, after: indices, -1 at the ends */
    uint32_t start, size;      /* size 0: merged away */
} symbol;

/* key: rank (or inverted score) << 32 | index of the left symbol. */
typedef struct {
    uint64_t key;
    uint32_t left_size, right_size;
    int32_t id;
} candidate;

typedef struct {
    uint64_t hash;
    uint32_t key, ids;
    uint16_t key_size, n_ids;
} cell;

struct px_bpe_work {
    symbol *symbols;
    size_t n, room;
    candidate *heap;
    size_t n_heap, heap_room;
    cell *cells;
    int32_t n_cells;
    px_str keys;
    px_ids ids;
};

/* --- merges --- */
static uint64_t mix(uint64_t x) {
    x ^= x >> 31;
    x *= 0x9E3779B97F4A7C15u;
    return x ^ (x >> 29);
}

px_err *px_bpe_reserve(px_bpe *bpe, int64_t n_merges) {
    size_t room = 16;
    while (room < (size_t)n_merges * 2) room *= 2;
    bpe->merges = malloc(room * sizeof *bpe->merges);
    if (!bpe->merges) PX_NO_MEMORY();
    for (size_t i = 0; i < room; i++) bpe->merges[i].id = -1;
    bpe->merge_room = room;
    bpe->n_merges = n_merges;
    return NULL;
}

static px_merge *merge_cell(const px_bpe *bpe, uint64_t pair) {
    size_t i = mix(pair) & (bpe->merge_room - 1);
    while (bpe->merges[i].id >= 0 && bpe->merges[i].pair != pair)
        i = (i + 1) & (bpe->merge_room - 1);
    return &bpe->merges[i];
}

void px_bpe_add_merge(px_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    px_merge *m = merge_cell(bpe, pair);
    if (m->id < 0) *m = (px_merge){pair, rank, id};
}

px_err *px_bpe_ready(px_bpe *bpe) {
    bpe->work = calloc(1, sizeof *bpe->work);
    if (!bpe->work) PX_NO_MEMORY();
    bpe->work->cells = calloc(CACHE_CELLS, sizeof(cell));
    if (!bpe->work->cells) PX_NO_MEMORY();
    return NULL;
}

void px_bpe_free(px_bpe *bpe) {
    if (bpe->work) {
        free(bpe->work->symbols);
        free(bpe->work->heap);
        free(bpe->work->cells);
        px_str_free(&bpe->work->keys);
        px_ids_free(&bpe->work->ids);
        free(bpe->work);
    }
    free(bpe->merges);
    free(bpe->scores);
    *bpe = (px_bpe){0};
}

/* Floats as integers of the reverse order: the best score is the least. */
static uint32_t score_rank(float score) {
    uint32_t bits = 0;
    memcpy(&bits, &score, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~bits;
}

/* The rank of merging two neighbours and what they become; false: they do not merge. */
static bool merge_find(const px_bpe *bpe, const char *word, const symbol *a, const symbol *b,
                       uint32_t *rank, int32_t *id) {
    if (bpe->merges) {
        if (a->id < 0 || b->id < 0) return false;
        const px_merge *m = merge_cell(bpe, (uint64_t)(uint32_t)a->id << 32 | (uint32_t)b->id);
        *rank = m->rank;
        *id = m->id;
        return m->id >= 0;
    }
    uint64_t size = (uint64_t)a->size + b->size;
    if (size > bpe->longest) return false;
    *id = px_map_find(bpe->by_text, word + a->start, size, -1);
    if (*id < 0) return false;
    *rank = score_rank(bpe->scores[*id]);
    return true;
}

/* --- symbols --- */
static px_err *symbol_add(px_bpe_work *w, int32_t id, size_t start, size_t size) {
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 256;
        symbol *symbols = realloc(w->symbols, room * sizeof *symbols);
        if (!symbols) PX_NO_MEMORY();
        w->symbols = symbols;
        w->room = room;
    }
    w->symbols[w->n] =
        (symbol){id, (int32_t)w->n - 1, (int32_t)w->n + 1, (uint32_t)start, (uint32_t)size};
    w->n++;
    return NULL;
}

static bool bytes_known(const px_bpe *bpe, const char *s, int n) {
    for (int i = 0; i < n; i++)
        if (bpe->byte_ids[(unsigned char)s[i]] < 0) return false;
    return true;
}

/* One character that is no piece: its bytes, else the unknown token, else nothing. */
static px_err *unknown_add(const px_bpe *bpe, const char *word, size_t at, int size, bool *fuse) {
    px_bpe_work *w = bpe->work;
    bool after_unknown = *fuse;
    *fuse = false;
    if (bpe->byte_fallback && bytes_known(bpe, word + at, size)) {
        for (int i = 0; i < size; i++)
            PX_PASS(symbol_add(w, bpe->byte_ids[(unsigned char)word[at + (size_t)i]],
                               at + (size_t)i, 1));
        return NULL;
    }
    if (bpe->unknown < 0) return NULL;
    *fuse = bpe->fuse_unknown;
    if (after_unknown && bpe->fuse_unknown) {
        w->symbols[w->n - 1].size += (uint32_t)size;
        return NULL;
    }
    return symbol_add(w, bpe->unknown, at, (size_t)size);
}

static px_err *symbols_start(px_bpe *bpe, const char *word, size_t size) {
    px_bpe_work *w = bpe->work;
    bool fuse = false;
    w->n = 0;
    for (size_t i = 0; i < size;) {
        int length = 1;
        int32_t id = -1;
        if (bpe->byte_level) {
            id = bpe->byte_ids[(unsigned char)word[i]];
        } else {
            (void)px_utf8_get(word + i, size - i, &length);
            id = px_map_find(bpe->by_text, word + i, (size_t)length, -1);
        }
        if (id >= 0 || bpe->scores) {
            PX_PASS(symbol_add(w, id, i, (size_t)length));
            fuse = false;
        } else {
            PX_PASS(unknown_add(bpe, word, i, length, &fuse));
        }
        i += (size_t)length;
    }
    if (w->n) w->symbols[w->n - 1].after = -1;
    return NULL;
}

static void symbols_join(px_bpe_work *w, int32_t left, int32_t id) {
    symbol *a = &w->symbols[left], *b = &w->symbols[a->after];
    a->id = id;
    a->size += b->size;
    b->size = 0;
    a->after = b->after;
    if (a->after >= 0) w->symbols[a->after].before = left;
}

/* Each round merges the best pair; the ranks of pairs are kept, two are new each round. */
static void merge_short(px_bpe *bpe, const char *word) {
    px_bpe_work *w = bpe->work;
    uint64_t keys[SHORT_WORD];
    int32_t made[SHORT_WORD];
    uint32_t rank = 0;
    for (size_t i = 0; i < w->n; i++) {
        keys[i] = NO_KEY;
        if (i + 1 < w->n &&
            merge_find(bpe, word, &w->symbols[i], &w->symbols[i + 1], &rank, &made[i]))
            keys[i] = rank;
    }
    for (;;) {
        int32_t best = -1;
        uint64_t best_key = NO_KEY;
        for (int32_t i = 0; i >= 0 && w->n; i = w->symbols[i].after) {
            if (keys[i] < best_key) {
                best_key = keys[i];
                best = i;
            }
        }
        if (best < 0) return;
        symbols_join(w, best, made[best]);
        int32_t again[2] = {w->symbols[best].before, best};
        for (int k = 0; k < 2; k++) {
            int32_t i = again[k];
            if (i < 0) continue;
            int32_t j = w->symbols[i].after;
            keys[i] = NO_KEY;
            if (j >= 0 && merge_find(bpe, word, &w->symbols[i], &w->symbols[j], &rank, &made[i]))
                keys[i] = rank;
        }
    }
}

/* --- the heap --- */
static px_err *heap_push(px_bpe_work *w, candidate c) {
    if (w->n_heap == w->heap_room) {
        size_t room = w->heap_room ? w->heap_room * 2 : 256;
        candidate *heap = realloc(w->heap, room * sizeof *heap);
        if (!heap) PX_NO_MEMORY();
        w->heap = heap;
        w->heap_room = room;
    }
    size_t i = w->n_heap++;
    for (; i > 0 && w->heap[(i - 1) / 2].key > c.key; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
    return NULL;
}

static candidate heap_pop(px_bpe_work *w) {
    candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && w->heap[child + 1].key < w->heap[child].key) child++;
        if (w->heap[child].key >= last.key) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static px_err *candidate_add(px_bpe *bpe, const char *word, int32_t left) {
    px_bpe_work *w = bpe->work;
    int32_t right = left < 0 ? -1 : w->symbols[left].after, id = -1;
    uint32_t rank = 0;
    if (right < 0) return NULL;
    const symbol *a = &w->symbols[left], *b = &w->symbols[right];
    if (!merge_find(bpe, word, a, b, &rank, &id)) return NULL;
    return heap_push(w, (candidate){(uint64_t)rank << 32 | (uint32_t)left, a->size, b->size, id});
}

static px_err *merge_long(px_bpe *bpe, const char *word) {
    px_bpe_work *w = bpe->work;
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n; i++) PX_PASS(candidate_add(bpe, word, (int32_t)i));
    while (w->n_heap) {
        candidate c = heap_pop(w);
        int32_t left = (int32_t)(uint32_t)c.key;
        const symbol *a = &w->symbols[left];
        /* Sizes only grow, so equal sizes mean that neither side has changed since. */
        if (a->size != c.left_size || a->after < 0 || w->symbols[a->after].size != c.right_size)
            continue;
        symbols_join(w, left, c.id);
        PX_PASS(candidate_add(bpe, word, w->symbols[left].before));
        PX_PASS(candidate_add(bpe, word, left));
    }
    return NULL;
}

/* What remains becomes ids; by scores, a text that is no piece becomes bytes only now, because
 * merging may still have made it part of a piece. */
static px_err *symbols_out(px_bpe *bpe, const char *word, px_ids *out) {
    px_bpe_work *w = bpe->work;
    bool after_unknown = false;
    for (int32_t i = w->n ? 0 : -1; i >= 0; i = w->symbols[i].after) {
        const symbol *s = &w->symbols[i];
        bool unknown = false;
        if (s->id >= 0) {
            PX_PASS(px_ids_add(out, s->id));
        } else if (bpe->byte_fallback && bytes_known(bpe, word + s->start, (int)s->size)) {
            for (uint32_t k = 0; k < s->size; k++)
                PX_PASS(px_ids_add(out, bpe->byte_ids[(unsigned char)word[s->start + k]]));
        } else if (bpe->unknown >= 0) {
            unknown = true;
            if (!after_unknown) PX_PASS(px_ids_add(out, bpe->unknown));
        }
        after_unknown = unknown;
    }
    return NULL;
}

static px_err *word_merge(px_bpe *bpe, const char *word, size_t size, px_ids *out) {
    if (size > INT32_MAX / 2) PX_FAIL(PX_BAD_INPUT, "a text of %zu bytes is too long", size);
    if (bpe->ignore_merges) {
        int32_t id = px_map_find(bpe->by_text, word, size, -1);
        if (id >= 0) return px_ids_add(out, id);
    }
    PX_PASS(symbols_start(bpe, word, size));
    if (bpe->work->n <= SHORT_WORD)
        merge_short(bpe, word);
    else
        PX_PASS(merge_long(bpe, word));
    return symbols_out(bpe, word, out);
}

/* --- the cache --- */
static uint64_t word_hash(const char *word, size_t size) {
    uint64_t h = size * 0x9E3779B97F4A7C15u, part = 0;
    for (; size >= 8; word += 8, size -= 8) {
        memcpy(&part, word, 8);
        h = mix(h ^ part) * 0xD6E8FEB86659FD93u;
    }
    part = 0;
    memcpy(&part, word, size);
    return mix(h ^ part) | 1; /* 0: an empty cell */
}

static px_err *ids_append(px_ids *out, const int32_t *ids, int n) {
    for (int i = 0; i < n; i++) PX_PASS(px_ids_add(out, ids[i]));
    return NULL;
}

px_err *px_bpe_word(px_bpe *bpe, const char *word, size_t size, px_ids *out) {
    px_bpe_work *w = bpe->work;
    if (size > CACHE_WORD) return word_merge(bpe, word, size, out);
    if (size == 0) return NULL;
    uint64_t hash = word_hash(word, size);
    size_t i = hash & (CACHE_CELLS - 1);
    for (; w->cells[i].hash; i = (i + 1) & (CACHE_CELLS - 1)) {
        const cell *c = &w->cells[i];
        if (c->hash == hash && c->key_size == size && !memcmp(w->keys.data + c->key, word, size))
            return c->n_ids ? ids_append(out, w->ids.ids + c->ids, c->n_ids) : NULL;
    }
    int32_t n = out->n;
    PX_PASS(word_merge(bpe, word, size, out));
    int32_t made = out->n - n;
    if (made > CACHE_IDS) return NULL;
    if (w->n_cells >= CACHE_CELLS / 4 * 3) {
        memset(w->cells, 0, CACHE_CELLS * sizeof(cell));
        w->n_cells = 0;
        w->ids.n = 0;
        px_str_clear(&w->keys);
        i = hash & (CACHE_CELLS - 1);
    }
    cell c = {hash, (uint32_t)w->keys.size, (uint32_t)w->ids.n, (uint16_t)size, (uint16_t)made};
    px_str_add(&w->keys, word, size);
    PX_PASS(px_str_ok(&w->keys));
    if (made) PX_PASS(ids_append(&w->ids, out->ids + n, made));
    w->cells[i] = c;
    w->n_cells++;
    return NULL;
}
