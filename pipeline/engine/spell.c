/* spell.c - a vocabulary as byte strings in sorted order, and what a text costs in tokens at least.
 * See grammar_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "grammar_internal.h"

static px_err *bytes_fill(spelling *s, const px_tokenizer *tok, const int32_t *ends, int n_ends) {
    px_str bytes = {0};
    px_err *err = NULL;
    px_str_add(&bytes, "", 0);
    for (int32_t id = 0; id < s->vocab; id++) {
        const size_t start = bytes.size;
        bool ends_turn = false;
        for (int i = 0; i < n_ends; i++) ends_turn = ends_turn || ends[i] == id;
        s->start[id] = (uint32_t)start;
        if (!ends_turn) PX_PASS_TO(done, px_token_bytes(tok, id, &bytes));
        if (bytes.size > INT32_MAX / 2)
            PX_FAIL_TO(done, PX_BAD_INPUT, "the vocabulary's texts hold over %d bytes",
                       INT32_MAX / 2);
        const int32_t n = (int32_t)(bytes.size - start);
        if (n > 0 && n <= SPELL_LONGEST) s->order[s->n++] = id;
        if (n <= SPELL_LONGEST) s->longest = PX_MAX(s->longest, n);
    }
    s->start[s->vocab] = (uint32_t)bytes.size;
    s->bytes = bytes.data;
    return NULL;
done:
    px_str_free(&bytes);
    return err;
}

static int by_bytes(const void *a, const void *b, void *context) {
    const spelling *s = context;
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    const int32_t n = spelling_size(s, x), m = spelling_size(s, y);
    const int order = memcmp(spelling_text(s, x), spelling_text(s, y), (size_t)PX_MIN(n, m));
    if (order != 0) return order;
    return n != m ? (n > m) - (n < m) : (x > y) - (x < y);
}

px_err *spelling_new(const px_tokenizer *tok, int64_t vocab, const int32_t *ends, int n_ends,
                     spelling **out) {
    spelling *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->vocab = (int32_t)vocab;
    s->start = malloc(((size_t)vocab + 1) * sizeof *s->start);
    s->order = malloc(((size_t)vocab + 1) * sizeof *s->order);
    s->common = calloc((size_t)vocab + 1, sizeof *s->common);
    px_err *err = NULL;
    if (!s->start || !s->order || !s->common) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(failed, bytes_fill(s, tok, ends, n_ends));
    qsort_r(s->order, (size_t)s->n, sizeof *s->order, by_bytes, s);
    for (int32_t i = 1; i < s->n; i++) {
        const int32_t a = s->order[i - 1], b = s->order[i];
        const int32_t most = PX_MIN(spelling_size(s, a), spelling_size(s, b));
        int32_t k = 0;
        while (k < most && spelling_text(s, a)[k] == spelling_text(s, b)[k]) k++;
        s->common[i] = (uint16_t)k;
    }
    *out = s;
    return NULL;
failed:
    spelling_free(s);
    return err;
}

void spelling_free(spelling *s) {
    if (!s) return;
    free(s->bytes);
    free(s->start);
    free(s->order);
    free(s->common);
    free(s);
}

/* The first in [low, high) whose byte at `depth` is not below `byte`; all have so many bytes. */
static int32_t first_from(const spelling *s, int32_t low, int32_t high, int32_t depth, int byte) {
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if ((unsigned char)spelling_text(s, s->order[middle])[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void spelling_cost(const spelling *s, const char *text, int32_t n, int32_t from, int32_t *cost) {
    for (int32_t i = from - 1; i >= 0; i--) {
        int32_t low = 0, high = s->n, best = SPELL_NEVER;
        for (int32_t depth = 0; i + depth < n; depth++) {
            const int byte = (unsigned char)text[i + depth];
            while (low < high && spelling_size(s, s->order[low]) <= depth) low++;
            low = first_from(s, low, high, depth, byte);
            high = first_from(s, low, high, depth, byte + 1);
            if (low >= high) break;
            if (spelling_size(s, s->order[low]) == depth + 1)
                best = PX_MIN(best, cost[i + depth + 1]);
        }
        cost[i] = best >= SPELL_NEVER - 1 ? SPELL_NEVER : best + 1;
    }
}
