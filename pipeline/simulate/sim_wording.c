/* sim_wording.c - the words that participants are told, from data files: see configs/simulate. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simulate_internal.h"

const char *const call_names[CALLS] = {"open", "choose", "next", "assess"};
static const char *const file_names[2] = {"prompts.json", "domains.json"};

/* The folder asked for, else the installed one, else that of the source tree; heap. */
static px_err *folder_find(const char *asked, char **out) {
    static const char *const places[] = {"../configs/simulate", "../share/prismx/configs/simulate"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    if (asked && *asked) {
        if (!px_path_is_dir(asked))
            PX_FAIL(PX_BAD_INPUT, "sim.prompts %s: no such folder; it holds %s and %s", asked,
                    file_names[0], file_names[1]);
        if (!(*out = strdup(asked))) PX_NO_MEMORY();
        return NULL;
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[n] = 0;
    const char *folder = dirname(program);
    for (int up = 0; up < 3; up++) /* a test stands deeper in the tree than the program */
        for (size_t i = 0; i < PX_COUNT(places); i++) {
            snprintf(path, sizeof path, "%s/%s%s", folder,
                     up == 2   ? "../../"
                     : up == 1 ? "../"
                               : "",
                     places[i]);
            if (!px_path_is_dir(path)) continue;
            if (!(*out = strdup(path))) PX_NO_MEMORY();
            return NULL;
        }
    PX_FAIL(PX_BAD_INPUT, "configs/simulate is not beside the program: sim.prompts names it");
}

static px_err *facts_take(const cJSON *json, const char *path, wording *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "facts"), *item = NULL;
    if (!cJSON_IsArray(list))
        PX_FAIL(PX_BAD_INPUT, "%s: facts is %s; a list is wanted", path, px_json_type(list));
    out->facts = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *out->facts);
    if (!out->facts) PX_NO_MEMORY();
    cJSON_ArrayForEach(item, list) {
        profile_fact *fact = &out->facts[out->n_facts];
        char where[PATH_MAX + 32];
        snprintf(where, sizeof where, "%s, facts[%d]", path, out->n_facts++);
        PX_PASS(px_json_text(item, "key", where, &fact->key));
        PX_PASS(px_json_text(item, "text", where, &fact->text));
        fact->inner = px_json_find_text(item, "inner");
    }
    return NULL;
}

static px_err *prompts_take(const cJSON *json, const char *path, wording *out) {
    PX_PASS(px_json_text(json, "role", path, &out->role));
    PX_PASS(px_json_text(json, "profile", path, &out->profile));
    PX_PASS(px_json_text(json, "domain", path, &out->domain));
    PX_PASS(px_json_text(json, "repair", path, &out->repair));
    for (int i = 0; i < CALLS; i++)
        PX_PASS(px_json_text(json, call_names[i], path, &out->calls[i]));
    return facts_take(json, path, out);
}

static px_err *domains_take(const cJSON *json, const char *path, wording *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "domains"), *item = NULL;
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n < 1)
        PX_FAIL(PX_BAD_INPUT, "%s: domains is %s; a list is wanted", path,
                cJSON_IsArray(list) ? "empty" : px_json_type(list));
    out->domains = calloc((size_t)n, sizeof *out->domains);
    out->tasks = calloc((size_t)n, sizeof *out->tasks);
    if (!out->domains || !out->tasks) PX_NO_MEMORY();
    cJSON_ArrayForEach(item, list) {
        char where[PATH_MAX + 32];
        snprintf(where, sizeof where, "%s, domains[%d]", path, out->n_domains);
        PX_PASS(px_json_text(item, "name", where, &out->domains[out->n_domains]));
        PX_PASS(px_json_text(item, "task", where, &out->tasks[out->n_domains++]));
    }
    return NULL;
}

static px_err *files_read(const char *dir, wording *out) {
    px_sha *sha = NULL;
    px_digest parts[2];
    for (int i = 0; i < 2; i++) {
        char *path = px_path_join(dir, file_names[i]);
        if (!path) PX_NO_MEMORY();
        px_err *err = px_json_read(path, true, &out->json[i]);
        if (!err) err = (i ? domains_take : prompts_take)(out->json[i], path, out);
        if (!err) err = px_sha_file(path, &parts[i]);
        free(path);
        if (err) return err;
    }
    PX_PASS(px_sha_new(&sha));
    for (int i = 0; i < 2; i++) px_sha_text(sha, parts[i].hex);
    return px_sha_end(sha, &out->sha256);
}

px_err *wording_read(const char *dir, wording *out) {
    char *folder = NULL;
    *out = (wording){0};
    PX_PASS(folder_find(dir, &folder));
    px_err *err = files_read(folder, out);
    free(folder);
    return err;
}

void wording_free(wording *w) {
    free(w->facts);
    free(w->domains);
    free(w->tasks);
    for (int i = 0; i < 2; i++) cJSON_Delete(w->json[i]);
    *w = (wording){0};
}

void wording_fill(const char *text, const char *const *names, const char *const *values, int n,
                  px_str *out) {
    for (const char *at = text; *at;) {
        int found = -1;
        size_t size = 0;
        for (int i = 0; *at == '{' && i < n && found < 0; i++) {
            size = strlen(names[i]);
            if (!strncmp(at + 1, names[i], size) && at[size + 1] == '}') found = i;
        }
        if (found >= 0)
            px_str_text(out, values[found]);
        else
            px_str_char(out, *at);
        at += found >= 0 ? size + 2 : 1;
    }
}
