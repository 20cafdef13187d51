/* phrases.c - words and phrases by number: one hash table for words, one for the children of a trie
 * whose edges are words. A text is looked up word by word, so its cost does not grow with the
 * number of phrases. */
#include "traits_internal.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, then mixed so that low bits serve as a table's index. */
uint64_t px_word_hash(const char *word, size_t size) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)word[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    return h ? h : 1;
}

static uint64_t mix(uint64_t key) {
    key *= 0x9e3779b97f4a7c15u;
    return key ^ (key >> 32);
}

/* Slot of the key, or the empty slot where it belongs. */
static uint32_t slot_of(const uint64_t *keys, uint32_t room, uint64_t key) {
    uint32_t at = (uint32_t)mix(key) & (room - 1);
    while (keys[at] && keys[at] != key) at = (at + 1) & (room - 1);
    return at;
}

/* Twice the room where the table is half full. */
static px_err *table_grow(uint64_t **keys, uint32_t **values, uint32_t n, uint32_t *room) {
    if (*room && n < *room / 2) return NULL;
    uint32_t wider = *room ? *room * 2 : 1024;
    uint64_t *new_keys = calloc(wider, sizeof *new_keys);
    uint32_t *new_values = calloc(wider, sizeof *new_values);
    if (!new_keys || !new_values) {
        free(new_keys);
        free(new_values);
        PX_NO_MEMORY();
    }
    for (uint32_t i = 0; i < *room; i++) {
        if (!(*keys)[i]) continue;
        uint32_t at = slot_of(new_keys, wider, (*keys)[i]);
        new_keys[at] = (*keys)[i];
        new_values[at] = (*values)[i];
    }
    free(*keys);
    free(*values);
    *keys = new_keys;
    *values = new_values;
    *room = wider;
    return NULL;
}

uint32_t px_trie_word(const px_trie *trie, uint64_t hash) {
    return trie->word_room ? trie->word_ids[slot_of(trie->word_keys, trie->word_room, hash)] : 0;
}

uint32_t px_trie_child(const px_trie *trie, uint32_t node, uint32_t word) {
    if (!trie->child_room) return 0;
    uint64_t key = (uint64_t)node << 32 | word;
    return trie->children[slot_of(trie->child_keys, trie->child_room, key)];
}

px_err *px_trie_word_add(px_trie *trie, uint64_t hash, uint8_t class, uint32_t *id) {
    PX_PASS(table_grow(&trie->word_keys, &trie->word_ids, trie->n_words, &trie->word_room));
    uint32_t at = slot_of(trie->word_keys, trie->word_room, hash);
    if (!trie->word_keys[at]) {
        trie->word_keys[at] = hash;
        trie->word_ids[at] = ++trie->n_words;
    }
    *id = trie->word_ids[at];
    if (*id >= trie->class_room) {
        uint32_t room = PX_MAX(1024u, trie->class_room * 2);
        uint8_t *classes = realloc(trie->classes, room);
        if (classes) trie->classes = classes;
        uint32_t *roots = realloc(trie->roots, room * sizeof *roots);
        if (roots) trie->roots = roots;
        if (!classes || !roots) PX_NO_MEMORY();
        memset(classes + trie->class_room, 0, room - trie->class_room);
        memset(roots + trie->class_room, 0, (room - trie->class_room) * sizeof *roots);
        trie->class_room = room;
    }
    trie->classes[*id] |= class;
    return NULL;
}

static px_err *node_new(px_trie *trie, uint32_t *out) {
    if (trie->n_nodes == trie->node_room) {
        uint32_t room = PX_MAX(1024u, trie->node_room * 2);
        int16_t(*labels)[PX_PHRASE_LISTS] = realloc(trie->labels, room * sizeof *labels);
        if (!labels) PX_NO_MEMORY();
        memset(labels + trie->node_room, -1, (room - trie->node_room) * sizeof *labels);
        trie->labels = labels;
        trie->node_room = room;
    }
    *out = trie->n_nodes++;
    return NULL;
}

static px_err *child_add(px_trie *trie, uint32_t node, uint32_t word, uint32_t *out) {
    PX_PASS(table_grow(&trie->child_keys, &trie->children, trie->n_children, &trie->child_room));
    uint64_t key = (uint64_t)node << 32 | word;
    uint32_t at = slot_of(trie->child_keys, trie->child_room, key);
    if (!trie->child_keys[at]) {
        PX_PASS(node_new(trie, &trie->children[at]));
        trie->child_keys[at] = key;
        trie->n_children++;
    }
    *out = trie->children[at];
    if (node == 0) trie->roots[word] = *out;
    return NULL;
}

px_err *px_trie_add(px_trie *trie, const char *phrase, px_list_id list, int feature) {
    px_words words = {0};
    uint32_t node = 0;
    px_err *err = NULL;
    if (trie->n_nodes == 0) PX_PASS(node_new(trie, &node));
    PX_PASS_TO(done, px_words_find(trie, phrase, strlen(phrase), &words));
    if (words.n == 0 || words.n > PX_PHRASE_WORDS_MAX)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%u words; 1 to %d are accepted", words.n,
                   PX_PHRASE_WORDS_MAX);
    for (uint32_t i = 0; i < words.n; i++) {
        uint32_t id = 0;
        if (i > 0 && words.at[i].breaks)
            PX_FAIL_TO(done, PX_BAD_INPUT, "a sentence ends inside it: it can never be found");
        PX_PASS_TO(done, px_trie_word_add(trie, words.at[i].hash, 0, &id));
        PX_PASS_TO(done, child_add(trie, node, id, &node));
    }
    if (trie->labels[node][list] < 0) trie->labels[node][list] = (int16_t)feature;
done:
    free(words.at);
    return err;
}

void px_trie_free(px_trie *trie) {
    free(trie->word_keys);
    free(trie->word_ids);
    free(trie->classes);
    free(trie->roots);
    free(trie->child_keys);
    free(trie->children);
    free(trie->labels);
    *trie = (px_trie){0};
}
