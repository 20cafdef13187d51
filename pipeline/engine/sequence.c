/* sequence.c - see engine_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

static void note(sequence *s, int32_t id) {
    if (!s->seen) return;
    uint8_t *byte = &s->seen[id / 8];
    const uint8_t bit = (uint8_t)(1u << id % 8);
    if (*byte & bit) return;
    *byte |= bit;
    s->distinct[s->n_distinct++] = id;
}

px_err *sequence_new(const px_request *request, int32_t soft, int32_t soft_at, int32_t most_rows,
                     int64_t vocab, sequence **out) {
    const int32_t n = request->n, n_soft = request->user >= 0 ? soft : 0;
    const size_t room = (size_t)most_rows + 1;
    sequence *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->request = *request;
    s->request.ids = NULL;
    s->most_rows = most_rows;
    if (request->grammar) s->form = grammar_start(request->grammar);
    s->rows = malloc(room * sizeof *s->rows);
    s->plain = malloc(room * sizeof *s->plain);
    s->pages = malloc((room / PX_PAGE + 2) * sizeof *s->pages);
    const bool penalty = request->how.repetition_penalty != 1;
    if (penalty) s->distinct = malloc(room * sizeof *s->distinct);
    if (penalty) s->seen = calloc((size_t)vocab / 8 + 1, 1);
    if (!s->rows || !s->plain || !s->pages || (penalty && (!s->distinct || !s->seen))) {
        sequence_free(s);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i <= n; i++) {
        for (int32_t t = 0; i == soft_at && t < n_soft; t++)
            s->rows[s->n_rows++] = -1 - (request->user * soft + t);
        if (i == n) break;
        s->rows[s->n_rows++] = request->ids[i];
        s->plain[s->n_plain++] = request->ids[i];
        note(s, request->ids[i]);
    }
    s->n_prompt = s->n_rows;
    *out = s;
    return NULL;
}

void sequence_free(sequence *s) {
    if (!s) return;
    free(s->rows);
    free(s->plain);
    free(s->distinct);
    free(s->seen);
    free(s->pages);
    free(s);
}

/* Takes the answer's grammar over a token. */
static px_err *form_add(sequence *s, int32_t id) {
    const px_grammar *g = s->request.grammar;
    if (s->mask.complete) return NULL;
    const char *text = spelling_text(g->spell, id);
    const int32_t n = spelling_size(g->spell, id);
    bool ok = n > 0;
    for (int32_t i = 0; ok && i < n; i++)
        ok = grammar_step(g, &s->form, (unsigned char)text[i], -1);
    if (!ok) PX_FAIL(PX_RUN_FAILED, "the model gives no numbers to choose a token by");
    return NULL;
}

px_err *sequence_add(sequence *s, int32_t id) {
    if (s->request.grammar) PX_PASS(form_add(s, id));
    s->rows[s->n_rows++] = id;
    s->plain[s->n_plain++] = id;
    s->n_new++;
    note(s, id);
    return NULL;
}

int32_t sequence_common(const sequence *a, int32_t a_rows, const sequence *b, int32_t most) {
    const int32_t n = PX_MIN(a_rows, most);
    int32_t i = 0;
    while (i < n && a->rows[i] == b->rows[i]) i++;
    return i;
}
