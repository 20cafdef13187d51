/* scorer.c - what one answer shows: phrases, longest first and no word counted twice within a
 * trait, and the features that are no phrases. */
#include "traits_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t at;
    uint8_t n, list;
    int16_t feature;
} match;

struct px_scorer {
    const px_lists *lists;
    px_str form, asked, kept, scratch;
    px_words words;
    px_layout layout;
    match *matches;
    uint32_t n_matches, room_matches;
    uint8_t *used; /* [room_used] a bit a list */
    uint32_t room_used;
    uint64_t *seen; /* [room_seen] a set of hashes */
    uint32_t room_seen;
};

px_err *px_scorer_new(const px_lists *lists, px_scorer **out) {
    px_scorer *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    s->lists = lists;
    *out = s;
    return NULL;
}

void px_scorer_free(px_scorer *s) {
    if (!s) return;
    px_str_free(&s->form);
    px_str_free(&s->asked);
    px_str_free(&s->kept);
    px_str_free(&s->scratch);
    free(s->words.at);
    free(s->matches);
    free(s->used);
    free(s->seen);
    free(s);
}

/* --- phrases --- */

static px_err *match_add(px_scorer *s, match m) {
    if (s->n_matches == s->room_matches) {
        uint32_t room = s->room_matches ? s->room_matches * 2 : 512;
        match *at = realloc(s->matches, room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        s->matches = at;
        s->room_matches = room;
    }
    s->matches[s->n_matches++] = m;
    return NULL;
}

static bool is_placed(const px_feature *feature, const px_words *words, uint32_t at, uint32_t end) {
    if (feature->sentence_start && !words->at[at].breaks) return false;
    return !feature->first_words || end <= feature->first_words;
}

/* Every phrase of every list, wherever it stands. */
static px_err *matches_find(px_scorer *s) {
    const px_words *words = &s->words;
    const px_trie *trie = &s->lists->trie;
    s->n_matches = 0;
    for (uint32_t i = 0; i < words->n; i++) {
        uint32_t node = 0;
        for (uint32_t j = i; j < words->n && words->at[j].id; j++) {
            if (j > i && words->at[j].breaks) break;
            node =
                j == i ? trie->roots[words->at[j].id] : px_trie_child(trie, node, words->at[j].id);
            if (!node) break;
            for (int list = 0; list < PX_PHRASE_LISTS; list++) {
                int k = trie->labels[node][list];
                if (k < 0 || !is_placed(&s->lists->features[list][k], words, i, j + 1)) continue;
                PX_PASS(match_add(s, (match){i, (uint8_t)(j + 1 - i), (uint8_t)list, (int16_t)k}));
            }
        }
    }
    return NULL;
}

static bool is_free(const px_scorer *s, const match *m) {
    for (uint32_t i = m->at; i < m->at + m->n; i++)
        if (s->used[i] >> m->list & 1) return false;
    return true;
}

static void count(const px_scorer *s, px_reading *out, int list, int k, uint32_t n,
                  uint32_t n_first) {
    out->hits[s->lists->at[list] + k] += n;
    if (list >= PX_TRAITS) return;
    out->net[list] += s->lists->features[list][k].sign * (int32_t)n;
    out->net_first[list] += s->lists->features[list][k].sign * (int32_t)n_first;
}

/* Longest first, then in the text's order; matches lie in the order of their places. */
static px_err *matches_count(px_scorer *s, px_reading *out) {
    if (s->words.n > s->room_used) {
        uint8_t *used = realloc(s->used, s->words.n * 2);
        if (!used) PX_NO_MEMORY();
        s->used = used;
        s->room_used = s->words.n * 2;
    }
    if (s->words.n) memset(s->used, 0, s->words.n);
    uint32_t lengths = 0;
    for (uint32_t i = 0; i < s->n_matches; i++) lengths |= 1u << s->matches[i].n;
    for (int n = PX_PHRASE_WORDS_MAX; n > 0; n--) {
        if (!(lengths >> n & 1)) continue;
        for (uint32_t i = 0; i < s->n_matches; i++) {
            const match *m = &s->matches[i];
            if (m->n != n || !is_free(s, m)) continue;
            for (uint32_t j = m->at; j < m->at + m->n; j++)
                s->used[j] = (uint8_t)(s->used[j] | 1u << m->list);
            bool first = m->at + m->n <= PX_FIRST_WORDS;
            count(s, out, m->list, m->feature, 1, first);
        }
    }
    return NULL;
}

/* --- the rest --- */

/* True the first time a hash comes. */
static bool seen_add(px_scorer *s, uint64_t hash) {
    uint32_t at = (uint32_t)hash & (s->room_seen - 1);
    while (s->seen[at] && s->seen[at] != hash) at = (at + 1) & (s->room_seen - 1);
    bool is_new = !s->seen[at];
    s->seen[at] = hash;
    return is_new;
}

static px_err *seen_clear(px_scorer *s, uint32_t n) {
    uint32_t room = 256;
    while (room < 2 * n) room *= 2;
    if (room > s->room_seen) {
        uint64_t *seen = realloc(s->seen, room * sizeof *seen);
        if (!seen) PX_NO_MEMORY();
        s->seen = seen;
    }
    s->room_seen = PX_MAX(s->room_seen, room);
    memset(s->seen, 0, s->room_seen * sizeof *s->seen);
    return NULL;
}

static px_err *repeats_count(px_scorer *s, uint32_t by[PX_BYS]) {
    const px_word *w = s->words.at;
    PX_PASS(seen_clear(s, s->words.n));
    for (uint32_t i = 0; i < s->words.n; i++)
        if (seen_add(s, w[i].hash)) by[PX_BY_TYPES]++;
    PX_PASS(seen_clear(s, s->words.n));
    for (uint32_t i = 0; i + 4 <= s->words.n; i++) {
        uint64_t h = w[i].hash;
        for (uint32_t j = 1; j < 4; j++) h = (h ^ (h >> 31)) * 0x9e3779b97f4a7c15u + w[i + j].hash;
        h ^= h >> 32;
        if (!seen_add(s, h ? h : 1)) by[PX_BY_REPEATS]++;
    }
    return NULL;
}

/* English: words that every English text has are there, those of its neighbours are fewer, and
 * letters of other scripts and accents are few. */
static bool is_english(const px_words *words, uint32_t english, uint32_t other) {
    if (words->letters_far * 5 > words->letters) return false;
    if (words->accented * 16 > words->letters) return false;
    if (other > english) return false;
    return words->n < 20 || english * 40 >= words->n;
}

static px_err *by_count(px_scorer *s, int64_t n_tokens, uint32_t by[PX_BYS], bool *english) {
    const px_words *words = &s->words;
    const uint8_t *classes = s->lists->trie.classes;
    uint32_t n_english = 0, n_other = 0;
    bool asks_you = false;
    for (uint32_t i = 0; i < words->n; i++) {
        uint8_t class = classes[words->at[i].id];
        if (class & PX_CLASS_I) by[PX_BY_I]++;
        if (class & PX_CLASS_YOU) by[PX_BY_YOU]++;
        if (class & PX_CLASS_YOU && i >= words->last_start) asks_you = true;
        n_english += (class & PX_CLASS_ENGLISH) != 0;
        n_other += (class & PX_CLASS_OTHER) != 0;
    }
    *english = is_english(words, n_english, n_other);
    by[PX_BY_EMOJI] = words->emoji;
    by[PX_BY_EXCLAMATION] = words->exclamations;
    by[PX_BY_CLOSING_QUESTION] = words->question && asks_you;
    by[PX_BY_NO_PERSON] = !by[PX_BY_I] && !by[PX_BY_YOU];
    by[PX_BY_CHARACTERS] = s->layout.characters;
    by[PX_BY_WORDS] = words->n + s->layout.words_out;
    by[PX_BY_TOKENS] = n_tokens < 0 ? 0 : (uint32_t)PX_MIN(n_tokens, UINT32_MAX);
    by[PX_BY_SENTENCES] = words->sentences;
    by[PX_BY_ITEMS] = s->layout.items;
    by[PX_BY_HEADINGS] = s->layout.headings;
    by[PX_BY_BOLD] = s->layout.bold;
    return repeats_count(s, by);
}

px_err *px_scorer_read(px_scorer *s, const char *text, size_t size, const char *asked,
                       size_t asked_size, int64_t n_tokens, px_reading *out) {
    uint32_t by[PX_BYS] = {0};
    bool english = true;
    *out = (px_reading){0};
    PX_PASS(px_normal_form(text, size, &s->form, &s->scratch));
    bool quotes = asked && memchr(s->form.data, '"', s->form.size);
    PX_PASS(px_normal_form(quotes ? asked : "", quotes ? asked_size : 0, &s->asked, &s->scratch));
    px_normal_strip(&s->form, &s->asked, &s->kept, &s->layout);
    PX_PASS(px_str_ok(&s->kept));
    PX_PASS(px_words_find(&s->lists->trie, s->kept.data, s->kept.size, &s->words));
    out->words = s->words.n;
    out->words_first = PX_MIN(s->words.n, (uint32_t)PX_FIRST_WORDS);
    PX_PASS(matches_find(s));
    PX_PASS(matches_count(s, out));
    PX_PASS(by_count(s, n_tokens, by, &english));
    for (int list = 0; list < PX_LISTS; list++)
        for (int k = 0; k < s->lists->n[list]; k++) {
            px_by how = s->lists->features[list][k].by;
            bool flag = how == PX_BY_CLOSING_QUESTION || how == PX_BY_NO_PERSON;
            if (how == PX_BY_PHRASES) continue;
            if (flag || list >= PX_VERBOSITY)
                out->hits[s->lists->at[list] + k] = by[how];
            else
                count(s, out, list, k, by[how],
                      how == PX_BY_EMOJI ? s->words.emoji_first : s->words.exclamations_first);
        }
    if (s->words.n < PX_WORDS_LEAST)
        out->left_out = PX_SHORT;
    else if (!english)
        out->left_out = PX_FOREIGN;
    return NULL;
}

/* --- from counts to scores --- */

double px_reading_value(const px_lists *lists, const px_reading *reading, px_list_id list, int k) {
    double hits = (double)reading->hits[lists->at[list] + k];
    px_by how = lists->features[list][k].by;
    bool plain = how == PX_BY_CLOSING_QUESTION || how == PX_BY_NO_PERSON || list == PX_VERBOSITY;
    return plain ? hits : 100.0 * hits / (double)PX_MAX(reading->words, 20u);
}

double px_reading_rate(const px_reading *reading, px_list_id trait, bool first) {
    int32_t net = first ? reading->net_first[trait] : reading->net[trait];
    uint32_t words = first ? reading->words_first : reading->words;
    return 100.0 * (double)net / (double)PX_MAX(words, 20u);
}

void px_lists_norms(const px_lists *lists, px_norms *out) {
    *out = (px_norms){0};
    for (int t = 0; t < PX_TRAITS; t++)
        for (int k = 0; k < lists->n[t]; k++) {
            out->mean[t][k] = lists->features[t][k].mean;
            out->sd[t][k] = lists->features[t][k].sd;
        }
}

void px_norms_complete(const px_lists *lists, px_norms *norms) {
    for (int t = 0; t < PX_TRAITS; t++)
        for (int k = 0; k < lists->n[t]; k++) {
            if (norms->sd[t][k] >= PX_SPREAD_LEAST) continue;
            norms->sd[t][k] = lists->features[t][k].sd;
            norms->borrowed[t][k] = true;
        }
}

double px_reading_score(const px_lists *lists, const px_norms *norms, const px_reading *reading,
                        px_list_id trait) {
    double sum = 0;
    int n = 0;
    if (reading->left_out != PX_SCORED) return NAN;
    for (int k = 0; k < lists->n[trait]; k++) {
        if (norms->sd[trait][k] < PX_SPREAD_LEAST) continue;
        double f = px_reading_value(lists, reading, trait, k);
        sum += lists->features[trait][k].sign * (f - norms->mean[trait][k]) / norms->sd[trait][k];
        n++;
    }
    return n ? sum / n : NAN;
}
