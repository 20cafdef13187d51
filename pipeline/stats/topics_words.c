/* topics_words.c - what a topic is about: its share of each source's openings, and the words that
 * mark it. A word that fewer than five people used is never printed: it might be somebody's. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "topics_internal.h"

enum { PEOPLE_LEAST = 5, WORDS_TOLD = 3, WORD_LEAST = 3, WORD_MOST = 24 };

typedef struct {
    char text[WORD_MOST + 1];
    int32_t n_people, last_person; /* openings are taken person by person */
    int64_t last_opening;
    double in[PX_TOPICS], all; /* openings that hold it, by topic */
} word;

typedef struct {
    word *at;
    int32_t n, room;
    px_map numbers; /* text -> place; keys are kept in `keys` */
    px_arena *keys;
    double size[PX_TOPICS]; /* openings of each topic */
} word_list;

static px_err *word_of(word_list *list, const char *text, size_t size, int32_t *out) {
    *out = px_map_find(&list->numbers, text, size, -1);
    if (*out >= 0) return NULL;
    if (list->n == list->room) {
        int32_t room = list->room ? list->room * 2 : 1024;
        word *at = realloc(list->at, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        list->at = at;
        list->room = room;
    }
    const char *key = px_arena_text(list->keys, text, size);
    PX_PASS(px_arena_ok(list->keys));
    word *w = &list->at[list->n];
    *w = (word){.last_person = -1, .last_opening = -1};
    memcpy(w->text, text, size);
    *out = list->n++;
    return px_map_set(&list->numbers, key, size, *out);
}

/* Counts the words of opening i once each. */
static px_err *opening_take(word_list *list, const px_opening *o, int64_t i, const px_turn *turn) {
    size_t at = 0, start = 0;
    uint64_t hash = 0;
    list->size[o->topic] += 1;
    while (px_word_next(turn->user, turn->size, &at, &start, &hash)) {
        char text[WORD_MOST];
        int32_t place = 0;
        const size_t size = at - start;
        if (size < WORD_LEAST || size > WORD_MOST) continue;
        for (size_t k = 0; k < size; k++) {
            unsigned char c = (unsigned char)turn->user[start + k];
            text[k] = (char)(c < 0x80 ? tolower(c) : c);
        }
        if (px_utf8_check(text, size) >= 0) continue;
        PX_PASS(word_of(list, text, size, &place));
        word *w = &list->at[place];
        if (w->last_opening == i) continue;
        w->last_opening = i;
        w->in[o->topic] += 1;
        w->all += 1;
        w->n_people += w->last_person != o->person;
        w->last_person = o->person;
    }
    return NULL;
}

/* How far a word marks a topic: its share of the topic's openings less that of all others. */
static double mark_of(const word_list *list, const word *w, int topic, double n) {
    const double inside = list->size[topic], outside = n - inside;
    double there = inside > 0 ? w->in[topic] / inside : 0;
    return there - (outside > 0 ? (w->all - w->in[topic]) / outside : 0);
}

/* The best word that is not told yet: by mark, then by name. */
static const word *best_word(const word_list *list, int topic, double n, const word *const *told,
                             int n_told) {
    const word *best = NULL;
    double most = 0.05; /* a word that is hardly more frequent than elsewhere marks nothing */
    for (int32_t i = 0; i < list->n; i++) {
        const word *w = &list->at[i];
        double mark = w->n_people < PEOPLE_LEAST ? 0 : mark_of(list, w, topic, n);
        bool known = false;
        for (int k = 0; k < n_told; k++) known |= told[k] == w;
        if (known || mark < most) continue;
        if (best && !(mark > most) && strcmp(w->text, best->text) > 0) continue;
        best = w;
        most = mark;
    }
    return best;
}

static void words_note(const word_list *list, int topic, double n, px_row *row) {
    const word *told[WORDS_TOLD];
    char text[PX_TERM_MAX] = "";
    for (int k = 0; k < WORDS_TOLD; k++) {
        if (!(told[k] = best_word(list, topic, n, told, k))) break;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? ", " : "",
                 told[k]->text);
    }
    if (*text) px_row_note(row, "%s", text);
}

static void share_rows(const word_list *list, const px_openings *o, int source, px_table *table) {
    double count[PX_TOPICS] = {0}, n = 0;
    px_about about = {.family = PX_FAMILY_TOPICS,
                      .outcome = "opening",
                      .model = "topic_share",
                      .source = source,
                      .n_people = -1};
    for (int64_t i = 0; i < o->n; i++) {
        if (o->at[i].source != source) continue;
        count[o->at[i].topic] += 1;
        n += 1;
    }
    about.n_trials = (int64_t)n;
    for (int k = 0; n > 0 && k < o->n_topics; k++) {
        char term[32];
        snprintf(term, sizeof term, "topic:%d", k + 1);
        px_row *row = px_table_add(table, &about, term);
        if (row) row->estimate = count[k] / n;
        if (row) words_note(list, k, (double)o->n, row);
    }
}

typedef struct {
    const px_turn *turn;
    int64_t i;
    int32_t person;
} opening_text;

static int by_person(const void *a, const void *b) {
    const opening_text *x = a, *y = b;
    if (x->person != y->person) return (x->person > y->person) - (x->person < y->person);
    return (x->i > y->i) - (x->i < y->i);
}

/* The openings stand in the order of their trials; those without a word have none. */
static px_err *openings_take(const px_study *study, const px_openings *o, word_list *list) {
    opening_text *all = calloc((size_t)o->n + 1, sizeof *all);
    px_err *err = NULL;
    int64_t n = 0;
    if (!all) PX_NO_MEMORY();
    for (int64_t t = 0; t < study->trials->n && n < o->n; t++) {
        const px_turn *turn = px_opening_turn(&study->trials->at[t]);
        size_t at = 0, start = 0;
        uint64_t hash = 0;
        if (!turn || !px_word_next(turn->user, turn->size, &at, &start, &hash)) continue;
        all[n] = (opening_text){turn, n, o->at[n].person};
        n++;
    }
    qsort(all, (size_t)n, sizeof *all, by_person);
    for (int64_t i = 0; i < n && !err; i++)
        err = opening_take(list, &o->at[all[i].i], all[i].i, all[i].turn);
    free(all);
    return err;
}

px_err *px_topic_share_rows(const px_study *study, const px_openings *o, px_table *table) {
    word_list list = {0};
    px_err *err = px_arena_new((size_t)1 << 16, &list.keys);
    if (!err) err = openings_take(study, o, &list);
    for (int s = 0; s < PX_SOURCES && !err; s++) share_rows(&list, o, s, table);
    px_map_free(&list.numbers);
    px_arena_free(list.keys);
    free(list.at);
    return err;
}
