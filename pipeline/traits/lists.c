/* lists.c - the phrase lists from their files. A list is {"name", "version", "features": [{"name",
 * "sign", "phrases" or "built_in", "first_words"?, "sentence_start"?, "mean"?, "sd"?}], "words"?}.
 */
#include "traits_internal.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

static const char *const list_names[PX_LISTS] = {"sycophancy", "relationship", "verbosity",
                                                 "controls"};
static const char *const by_names[PX_BYS] = {
    "phrases",         "emoji",      "exclamation", "closing_question",
    "no_person",       "i",          "you",         "types",
    "repeated_4grams", "characters", "words",       "tokens",
    "sentences",       "list_items", "headings",    "bold"};

const char *px_list_name(px_list_id list) { return list_names[list]; }
int px_lists_version(const px_lists *lists, px_list_id list) { return lists->version[list]; }
const char *px_lists_sha256(const px_lists *lists, px_list_id list) {
    return lists->digest[list].hex;
}
int px_lists_n(const px_lists *lists, px_list_id list) { return lists->n[list]; }
int px_lists_at(const px_lists *lists, px_list_id list) { return lists->at[list]; }
const char *px_lists_feature(const px_lists *lists, px_list_id list, int k) {
    return lists->features[list][k].name;
}
int px_lists_sign(const px_lists *lists, px_list_id list, int k) {
    return lists->features[list][k].sign;
}

typedef struct {
    px_lists *lists;
    px_list_id list;
    int feature;
    uint8_t class;
} target;

static px_err *phrase_use(void *context, const char *phrase) {
    target *t = context;
    return px_trie_add(&t->lists->trie, phrase, t->list, t->feature);
}

static px_err *word_use(void *context, const char *word) {
    target *t = context;
    uint32_t id;
    return px_trie_word_add(&t->lists->trie, px_word_hash(word, strlen(word)), t->class, &id);
}

/* Every text of an array, expanded. */
static px_err *phrases_read(const cJSON *array, const char *where, px_phrase_use *use, target *t) {
    const cJSON *item = NULL;
    if (!cJSON_IsArray(array))
        PX_FAIL(PX_BAD_INPUT, "%s: found %s, wanted an array of phrases", where,
                px_json_type(array));
    cJSON_ArrayForEach(item, array) {
        if (!cJSON_IsString(item))
            PX_FAIL(PX_BAD_INPUT, "%s: found %s, wanted a phrase", where, px_json_type(item));
        PX_TRY(px_phrase_expand(item->valuestring, use, t), "%s: \"%s\"", where, item->valuestring);
    }
    return NULL;
}

static px_err *built_in_read(const cJSON *json, const char *where, px_by *out) {
    const char *name = NULL;
    PX_PASS(px_json_text(json, "built_in", where, &name));
    for (int i = 1; i < PX_BYS; i++)
        if (!strcmp(name, by_names[i])) {
            *out = (px_by)i;
            return NULL;
        }
    int near = px_nearest(name, by_names, PX_BYS);
    PX_FAIL(PX_BAD_INPUT, "%s: no built_in %s%s%s%s", where, name,
            near > 0 ? "; did you mean " : "", near > 0 ? by_names[near] : "", near > 0 ? "?" : "");
}

static px_err *feature_read(const cJSON *json, const char *file, target *t) {
    px_feature *f = &t->lists->features[t->list][t->feature];
    const char *name = NULL;
    char where[PATH_MAX + 128];
    int64_t sign = 1, first = 0;
    snprintf(where, sizeof where, "%s, feature %d", file, t->feature + 1);
    PX_PASS(px_json_text(json, "name", where, &name));
    if (!(f->name = strdup(name))) PX_NO_MEMORY();
    snprintf(where, sizeof where, "%s, %s", file, name);
    if (t->list != PX_CONTROLS) PX_PASS(px_json_i64(json, "sign", where, -1, 1, &sign));
    if (sign == 0) PX_FAIL(PX_BAD_INPUT, "%s: sign 0; 1 (up) or -1 (down) is wanted", where);
    f->sign = (int)sign;
    if (cJSON_HasObjectItem(json, "first_words"))
        PX_PASS(px_json_i64(json, "first_words", where, 1, 1000, &first));
    f->first_words = (uint32_t)first;
    if (cJSON_HasObjectItem(json, "sentence_start"))
        PX_PASS(px_json_bool(json, "sentence_start", where, &f->sentence_start));
    if (t->list != PX_CONTROLS) {
        PX_PASS(px_json_f64(json, "mean", where, &f->mean));
        PX_PASS(px_json_f64(json, "sd", where, &f->sd));
        if (!(f->sd >= 0)) PX_FAIL(PX_BAD_INPUT, "%s: sd is below 0", where);
    }
    if (cJSON_HasObjectItem(json, "built_in")) return built_in_read(json, where, &f->by);
    return phrases_read(cJSON_GetObjectItemCaseSensitive(json, "phrases"), where, phrase_use, t);
}

static px_err *words_read(const cJSON *json, const char *file, target *t) {
    static const struct {
        const char *name;
        uint8_t class;
    } classes[] = {{"i", PX_CLASS_I},
                   {"you", PX_CLASS_YOU},
                   {"english", PX_CLASS_ENGLISH},
                   {"other", PX_CLASS_OTHER}};
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(json, "words");
    for (size_t i = 0; i < PX_COUNT(classes); i++) {
        char where[PATH_MAX + 64];
        snprintf(where, sizeof where, "%s, words of class %s", file, classes[i].name);
        t->class = classes[i].class;
        PX_PASS(phrases_read(cJSON_GetObjectItemCaseSensitive(words, classes[i].name), where,
                             word_use, t));
    }
    return NULL;
}

static px_err *list_fill(const cJSON *json, const char *file, target *t) {
    const char *name = NULL;
    int64_t version = 0;
    PX_PASS(px_json_text(json, "name", file, &name));
    if (strcmp(name, list_names[t->list]) != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: the list calls itself %s, wanted %s", file, name,
                list_names[t->list]);
    PX_PASS(px_json_i64(json, "version", file, 1, INT32_MAX, &version));
    t->lists->version[t->list] = (int)version;
    const cJSON *features = cJSON_GetObjectItemCaseSensitive(json, "features"), *item = NULL;
    if (!cJSON_IsArray(features) || cJSON_GetArraySize(features) == 0 ||
        cJSON_GetArraySize(features) > PX_FEATURES_MAX)
        PX_FAIL(PX_BAD_INPUT, "%s: features: wanted an array of 1 to %d", file, PX_FEATURES_MAX);
    for (int l = 0; l < (int)t->list; l++) t->lists->at[t->list] += t->lists->n[l];
    if (t->lists->at[t->list] + cJSON_GetArraySize(features) > PX_HITS_MAX)
        PX_FAIL(PX_BAD_INPUT, "%s: more than %d features in all lists", file, PX_HITS_MAX);
    cJSON_ArrayForEach(item, features) {
        t->feature = t->lists->n[t->list]++;
        PX_PASS(feature_read(item, file, t));
    }
    return t->list == PX_CONTROLS ? words_read(json, file, t) : NULL;
}

static px_err *list_read(const char *dir, px_lists *lists, px_list_id list) {
    char path[PATH_MAX];
    px_bytes text = {0};
    cJSON *json = NULL;
    px_err *err = NULL;
    int n = snprintf(path, sizeof path, "%s/%s.json", dir, list_names[list]);
    if (n < 0 || n >= PATH_MAX) PX_FAIL(PX_BAD_INPUT, "%s: the path is too long", dir);
    PX_PASS_TO(done, px_file_read(path, &text));
    PX_PASS_TO(done, px_sha_bytes(text.data, text.size, &lists->digest[list]));
    PX_TRY_TO(done, px_json_parse(text.data, text.size, &json), "%s", path);
    err = list_fill(json, path, &(target){lists, list, 0, 0});
done:
    cJSON_Delete(json);
    px_bytes_free(&text);
    return err;
}

px_err *px_lists_read(const char *dir, px_lists **out) {
    px_sha *sha = NULL;
    px_lists *lists = calloc(1, sizeof *lists);
    px_err *err = NULL;
    if (!lists) PX_NO_MEMORY();
    for (int list = 0; list < PX_LISTS; list++)
        PX_PASS_TO(done, list_read(dir, lists, (px_list_id)list));
    PX_PASS_TO(done, px_sha_new(&sha));
    for (int list = 0; list < PX_LISTS; list++) px_sha_text(sha, lists->digest[list].hex);
    PX_PASS_TO(done, px_sha_end(sha, &lists->digest[PX_LISTS]));
    *out = lists;
    return NULL;
done:
    px_lists_free(lists);
    return err;
}

void px_lists_free(px_lists *lists) {
    if (!lists) return;
    for (int list = 0; list < PX_LISTS; list++)
        for (int k = 0; k < lists->n[list]; k++) free(lists->features[list][k].name);
    px_trie_free(&lists->trie);
    free(lists);
}

px_err *px_lists_find(const char *asked, char **out) {
    static const char *const places[] = {"../configs/traits", "../share/prismx/configs/traits",
                                         "configs/traits"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    if (asked) {
        if (!px_path_is_dir(asked))
            PX_FAIL(PX_BAD_INPUT, "--lists %s: not a folder; wanted: one with sycophancy.json …",
                    asked);
        if (!(*out = strdup(asked))) PX_NO_MEMORY();
        return NULL;
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[n] = 0;
    const char *folder = dirname(program);
    for (size_t i = 0; i < PX_COUNT(places); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, places[i]);
        if (!px_path_is_dir(path)) continue;
        if (!(*out = strdup(path))) PX_NO_MEMORY();
        return NULL;
    }
    PX_FAIL(PX_BAD_INPUT,
            "the phrase lists are neither in %s/../configs/traits nor in "
            "%s/../share/prismx/configs/traits: name their folder with --lists",
            folder, folder);
}
