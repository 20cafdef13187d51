/* admit.c - which request starts next, and what of it the cache holds already. A request is given
 * every page that it can need before it starts, so nothing under way is ever thrown out. Full pages
 * of a common beginning are shared; of the page where two part, the second gets a copy. */
#include <stdlib.h>

#include "engine_internal.h"

/* A common beginning of fewer rows is computed again rather than waited for; kept beginnings hold
 * at most one page in so many. */
enum { WORTH_WAITING = 16, KEPT_SHARE = 8 };

px_err *list_add(sequence_list *list, sequence *s) {
    if (list->n == list->room) {
        const int32_t room = list->room ? 2 * list->room : 64;
        sequence **grown = realloc(list->items, (size_t)room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        list->items = grown;
        list->room = room;
    }
    list->items[list->n++] = s;
    return NULL;
}

void list_remove(sequence_list *list, int32_t i) {
    for (; i + 1 < list->n; i++) list->items[i] = list->items[i + 1];
    list->n--;
}

static void release_pages(px_engine *e, sequence *s) {
    for (int32_t i = 0; i < s->n_pages; i++) pool_release(&e->pool, s->pages[i]);
    s->n_pages = 0;
}

/* Lets go of the kept beginning that was not used for longest: the pages it held, 0 where there is
 * none. */
static int32_t forget_one(px_engine *e, const sequence *but) {
    int32_t oldest = -1;
    for (int32_t i = 0; i < e->kept.n; i++)
        if (e->kept.items[i] != but &&
            (oldest < 0 || e->kept.items[i]->used < e->kept.items[oldest]->used))
            oldest = i;
    if (oldest < 0) return 0;
    sequence *s = e->kept.items[oldest];
    const int32_t held = s->n_pages;
    list_remove(&e->kept, oldest);
    release_pages(e, s);
    sequence_free(s);
    return held;
}

void engine_retire(px_engine *e, sequence *s) {
    const int32_t held = (s->n_done + PX_PAGE - 1) / PX_PAGE;
    while (s->n_pages > held) pool_release(&e->pool, s->pages[--s->n_pages]);
    s->state = SEQ_KEPT;
    s->used = e->counts.steps;
    int32_t kept = s->n_pages;
    for (int32_t i = 0; i < e->kept.n; i++) kept += e->kept.items[i]->n_pages;
    while (kept > e->pool.n / KEPT_SHARE && e->kept.n > 0) kept -= forget_one(e, NULL);
    px_err *err = s->n_done > 0 ? list_add(&e->kept, s) : NULL;
    if (s->n_done > 0 && !err) return;
    px_err_free(err); /* nothing is lost but a beginning */
    release_pages(e, s);
    sequence_free(s);
}

typedef struct {
    sequence *from; /* NULL: nothing is shared */
    int32_t rows;
} beginning;

static void look(beginning *best, sequence *other, int32_t other_rows, const sequence *s) {
    /* The last row of a prompt is always computed: its logits are wanted. */
    const int32_t n = sequence_common(other, other_rows, s, s->n_prompt - 1);
    if (n > best->rows) *best = (beginning){other, n};
}

static beginning find_beginning(const px_engine *e, const sequence *s) {
    beginning best = {0};
    for (int32_t i = 0; i < e->running.n; i++)
        look(&best, e->running.items[i], e->running.items[i]->n_done, s);
    for (int32_t i = 0; i < e->kept.n; i++)
        look(&best, e->kept.items[i], e->kept.items[i]->n_done, s);
    return best;
}

/* Is a running request about to compute a beginning that s could share? */
static bool should_wait(const px_engine *e, const sequence *s, int32_t found) {
    for (int32_t i = 0; i < e->running.n; i++) {
        const sequence *r = e->running.items[i];
        if (r->n_done >= r->n_prompt) continue;
        if (sequence_common(r, r->n_prompt, s, s->n_prompt - 1) >= found + WORTH_WAITING)
            return true;
    }
    return false;
}

/* Free pages, after forgetting beginnings where that helps; `keep` stays. */
static bool make_room(px_engine *e, int32_t pages, const sequence *keep) {
    while (e->pool.n_free < pages)
        if (forget_one(e, keep) == 0) return false;
    return true;
}

/* Gives s its pages; *started false: there is no room yet. */
static px_err *start(px_engine *e, sequence *s, beginning from, bool *started) {
    const int32_t total = (s->most_rows + PX_PAGE - 1) / PX_PAGE;
    const int32_t whole = from.rows / PX_PAGE, rest = from.rows % PX_PAGE;
    *started = make_room(e, total - whole, from.from);
    if (!*started && e->running.n == 0 && from.from) {
        from = (beginning){0}; /* alone, it must start: without what it could have shared */
        return start(e, s, from, started);
    }
    if (!*started) return NULL;
    for (int32_t i = 0; i < total; i++) {
        if (i < whole) {
            s->pages[i] = from.from->pages[i];
            pool_hold(&e->pool, s->pages[i]);
        } else {
            s->pages[i] = pool_take(&e->pool);
        }
    }
    s->n_pages = total;
    if (rest > 0) px_op_cache_copy(e->stream, e->cache, s->pages[whole], from.from->pages[whole]);
    s->n_done = from.rows;
    if (from.from) from.from->used = e->counts.steps;
    e->counts.shared_rows += from.rows;
    s->state = SEQ_RUNNING;
    return px_stream_ok(e->stream);
}

px_err *engine_admit(px_engine *e) {
    for (int32_t i = 0; i < e->waiting.n && e->running.n < e->batch;) {
        sequence *s = e->waiting.items[i];
        const beginning from = find_beginning(e, s);
        bool started = false;
        if (should_wait(e, s, from.rows)) {
            i++;
            continue;
        }
        PX_PASS(start(e, s, from, &started));
        if (!started) return NULL; /* nobody overtakes: a long request would starve */
        PX_PASS(list_add(&e->running, s));
        list_remove(&e->waiting, i);
    }
    return NULL;
}
