/* judge_setup.c - JUDGE.json, and whether the judge is one of those it judges. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "judge_internal.h"

enum { TOKENS_MOST = 160 };

const char *const judge_trait_names[JUDGE_TRAITS] = {"sycophancy", "relationship"};

static px_err *keys_check(const cJSON *json, const char *path) {
    static const char *const keys[] = {"endpoint", "model", "traits", "pairwise", "max_tokens"};
    const int n = (int)PX_COUNT(keys);
    const cJSON *item = NULL;
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", path, px_json_type(json));
    cJSON_ArrayForEach(item, json) {
        bool known = false;
        for (int i = 0; i < n; i++) known = known || !strcmp(item->string, keys[i]);
        if (known) continue;
        const int near = px_nearest(item->string, keys, n);
        PX_FAIL(PX_BAD_INPUT, "%s: no key \"%.60s\"%s%s%s", path, item->string,
                near >= 0 ? "; did you mean \"" : "", near >= 0 ? keys[near] : "",
                near >= 0 ? "\"?" : "");
    }
    return NULL;
}

static px_err *take_traits(const cJSON *json, const char *path, judge_setup *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "traits"), *item = NULL;
    out->traits = (1u << JUDGE_TRAITS) - 1;
    if (!list) return NULL;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) < 1)
        PX_FAIL(PX_BAD_INPUT, "%s: traits is %s; a list of sycophancy, relationship is wanted",
                path, cJSON_IsArray(list) ? "empty" : px_json_type(list));
    out->traits = 0;
    cJSON_ArrayForEach(item, list) {
        const char *name = cJSON_IsString(item) ? item->valuestring : px_json_type(item);
        int trait = 0;
        while (trait < JUDGE_TRAITS && strcmp(name, judge_trait_names[trait]) != 0) trait++;
        if (trait == JUDGE_TRAITS)
            PX_FAIL(PX_BAD_INPUT, "%s: traits holds \"%.60s\"; sycophancy, relationship are known",
                    path, name);
        out->traits |= 1u << trait;
    }
    return NULL;
}

static px_err *take_file(const char *path, judge_setup *out) {
    PX_PASS(keys_check(out->json, path));
    out->by.name = "judge";
    out->by.endpoint = cJSON_GetObjectItemCaseSensitive(out->json, "endpoint");
    if (cJSON_HasObjectItem(out->json, "model"))
        PX_PASS(px_json_text(out->json, "model", path, &out->by.model_path));
    if (!out->by.endpoint == !out->by.model_path)
        PX_FAIL(PX_BAD_INPUT, "%s: \"endpoint\" or \"model\" names the judge: one of them", path);
    if (out->by.endpoint) {
        const char *unused = NULL;
        char where[4300];
        snprintf(where, sizeof where, "%s, endpoint", path);
        if (!cJSON_IsObject(out->by.endpoint))
            PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", where,
                    px_json_type(out->by.endpoint));
        PX_PASS(px_json_text(out->by.endpoint, "model", where, &unused));
    }
    PX_PASS(take_traits(out->json, path, out));
    if (cJSON_HasObjectItem(out->json, "pairwise"))
        PX_PASS(px_json_bool(out->json, "pairwise", path, &out->pairwise));
    out->max_tokens = TOKENS_MOST;
    if (cJSON_HasObjectItem(out->json, "max_tokens"))
        PX_PASS(px_json_i64(out->json, "max_tokens", path, 16, 100000, &out->max_tokens));
    return NULL;
}

px_err *setup_read(const char *path, judge_setup *out) {
    *out = (judge_setup){0};
    PX_PASS(px_json_read(path, true, &out->json));
    return take_file(path, out);
}

void setup_free(judge_setup *setup) {
    cJSON_Delete(setup->json);
    *setup = (judge_setup){0};
}

/* --- no model judges itself --- */

/* A name without its folders, ".gguf" and slashes at its end. */
static size_t bare_name(const char *path, const char **out) {
    size_t n = strlen(path), at;
    while (n > 0 && path[n - 1] == '/') n--;
    for (at = n; at > 0 && path[at - 1] != '/';) at--;
    if (n - at > 5 && !strncasecmp(path + n - 5, ".gguf", 5)) n -= 5;
    *out = path + at;
    return n - at;
}

/* An endpoint knows a model by its name alone, so names are compared too; of paths, where they lead
 * decides. */
static bool is_same(const judge_setup *setup, const char *model, bool is_path) {
    const char *mine = setup->by.model_path, *a = NULL, *b = NULL;
    if (!model) return false;
    if (mine && is_path) {
        char *x = realpath(mine, NULL), *y = realpath(model, NULL);
        const bool known = x && y, same = known && !strcmp(x, y);
        free(x);
        free(y);
        if (known) return same;
    }
    if (!mine) mine = px_json_find_text(setup->by.endpoint, "model");
    const size_t n = bare_name(mine, &a), m = bare_name(model, &b);
    return n > 0 && n == m && !strncasecmp(a, b, n);
}

/* The model that a run was trained from, in the manifest; NULL: not known. */
static const char *run_model(const char *run, cJSON **manifest) {
    if (!run) return NULL;
    px_err *err = px_manifest_read(run, manifest);
    if (err) {
        px_err_free(err);
        return NULL;
    }
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(*manifest, "inputs");
    return px_json_find_text(cJSON_GetObjectItemCaseSensitive(inputs, "model"), "path");
}

static px_err *arm_check(const judge_setup *setup, const cJSON *arm, const char *where) {
    const char *name = px_json_find_text(arm, "name");
    const cJSON *endpoint = cJSON_GetObjectItemCaseSensitive(arm, "endpoint");
    cJSON *manifest = NULL;
    const char *run = run_model(px_json_find_text(arm, "run"), &manifest);
    const bool same = is_same(setup, px_json_find_text(arm, "model"), true) ||
                      is_same(setup, run, true) ||
                      is_same(setup, px_json_find_text(endpoint, "model"), false);
    cJSON_Delete(manifest);
    if (!same) return NULL;
    PX_FAIL(PX_BAD_INPUT,
            "the judge is the model of the arm %s (%s): no model judges itself, name another judge",
            name ? name : "without a name", where);
}

px_err *setup_is_no_arm(const judge_setup *setup, const char *answers, bool *known) {
    px_str path = {0};
    cJSON *json = NULL;
    const cJSON *arm = NULL;
    px_str_format(&path, "%s.meta.json", answers);
    px_err *err = px_str_ok(&path);
    *known = !err && px_path_exists(path.data);
    if (*known) err = px_json_read(path.data, false, &json);
    const cJSON *job = cJSON_GetObjectItemCaseSensitive(json, "job");
    cJSON_ArrayForEach(arm, cJSON_GetObjectItemCaseSensitive(job, "arms")) {
        if (!err) err = arm_check(setup, arm, path.data);
    }
    cJSON_Delete(json);
    px_str_free(&path);
    return err;
}
