/* arms.c - arms.json: who answers. {"arms": [{"name", "model", "run", "step", "user", "context",
 * "endpoint", "slot"}], "summary": {"cache", "model" | "endpoint"}}. */
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

static const char *const arm_keys[] = {"name", "model",   "run",      "step",
                                       "user", "context", "endpoint", "slot"};
static const char *const summary_keys[] = {"cache", "model", "endpoint"};
static const char *const top_keys[] = {"arms", "summary"};
static const char *const user_names[] = {"own", "generic", "none"};
static const char *const context_names[] = {"none", "demographics", "summary"};

static px_err *keys_check(const cJSON *object, const char *const *keys, int n, const char *where) {
    const cJSON *item = NULL;
    if (!cJSON_IsObject(object))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", where, px_json_type(object));
    cJSON_ArrayForEach(item, object) {
        bool known = false;
        for (int i = 0; i < n; i++) known = known || !strcmp(item->string, keys[i]);
        if (known) continue;
        const int near = px_nearest(item->string, keys, n);
        PX_FAIL(PX_BAD_INPUT, "%s: no key \"%.60s\"%s%s%s", where, item->string,
                near >= 0 ? "; did you mean \"" : "", near >= 0 ? keys[near] : "",
                near >= 0 ? "\"?" : "");
    }
    return NULL;
}

static px_err *word(const cJSON *object, const char *key, const char *const *names, int n,
                    const char *where, int missing, int *out) {
    const char *text = NULL;
    *out = missing;
    if (!cJSON_HasObjectItem(object, key)) return NULL;
    PX_PASS(px_json_text(object, key, where, &text));
    for (int i = 0; i < n; i++)
        if (!strcmp(text, names[i])) {
            *out = i;
            return NULL;
        }
    PX_FAIL(PX_BAD_INPUT, "%s: %s is \"%.60s\"; %s, %s or %s is accepted", where, key, text,
            names[0], names[1], names[2]);
}

static px_err *optional_text(const cJSON *object, const char *key, const char *where,
                             const char **out) {
    *out = NULL;
    return cJSON_HasObjectItem(object, key) ? px_json_text(object, key, where, out) : NULL;
}

static px_err *take_arm(const cJSON *json, const char *where, const px_answer_job *job,
                        answer_arm *out) {
    int user = 0, context = 0;
    *out = (answer_arm){.step = -1};
    PX_PASS(keys_check(json, arm_keys, PX_COUNT(arm_keys), where));
    PX_PASS(px_json_text(json, "name", where, &out->name));
    if (!*out->name) PX_FAIL(PX_BAD_INPUT, "%s: its name is empty", where);
    PX_PASS(optional_text(json, "model", where, &out->model_path));
    PX_PASS(optional_text(json, "run", where, &out->run_dir));
    PX_PASS(optional_text(json, "slot", where, &out->slot));
    if (out->slot && !*out->slot) PX_FAIL(PX_BAD_INPUT, "%s: slot is empty", where);
    if (cJSON_HasObjectItem(json, "step"))
        PX_PASS(px_json_i64(json, "step", where, 0, INT64_MAX, &out->step));
    PX_PASS(word(json, "user", user_names, 3, where, PX_ARM_OWN, &user));
    PX_PASS(word(json, "context", context_names, 3, where, CONTEXT_NONE, &context));
    out->user = (px_arm_user)user;
    out->context = (context_kind)context;
    out->endpoint = cJSON_GetObjectItemCaseSensitive(json, "endpoint");
    if (out->endpoint && (out->run_dir || out->model_path))
        PX_FAIL(PX_BAD_INPUT, "%s: an endpoint answers by itself; no run or model beside it",
                where);
    if (!out->endpoint && !out->run_dir && !out->model_path) out->model_path = job->model_path;
    if (!out->endpoint && !out->run_dir && !out->model_path)
        PX_FAIL(PX_BAD_INPUT, "%s: names no run, model or endpoint, and --model is missing", where);
    return NULL;
}

static px_err *take_summary(const cJSON *json, const char *path, const px_answer_job *job,
                            arm_file *out) {
    char where[4300];
    const char *model = NULL, *url = NULL;
    snprintf(where, sizeof where, "%s, summary", path);
    PX_PASS(keys_check(json, summary_keys, PX_COUNT(summary_keys), where));
    PX_PASS(optional_text(json, "model", where, &model));
    PX_PASS(optional_text(json, "cache", where, &out->writer.cache_dir));
    out->summary_arm = (answer_arm){.name = "summary", .model_path = model, .step = -1};
    out->summary_arm.user = PX_ARM_NONE;
    out->summary_arm.endpoint = cJSON_GetObjectItemCaseSensitive(json, "endpoint");
    if (model && out->summary_arm.endpoint)
        PX_FAIL(PX_BAD_INPUT, "%s: model or endpoint, not both", where);
    if (!model && !out->summary_arm.endpoint) {
        if (!job->model_path)
            PX_FAIL(PX_BAD_INPUT, "%s: names no model or endpoint, and --model is missing", where);
        out->summary_arm.model_path = model = job->model_path;
    }
    if (!out->writer.cache_dir) out->writer.cache_dir = "summaries";
    url = px_json_find_text(out->summary_arm.endpoint, "model");
    out->writer.identity = model ? model : url ? url : "";
    out->writer.arm = &out->summary_arm;
    out->has_writer = true;
    return NULL;
}

static px_err *take_file(const char *path, const px_answer_job *job, arm_file *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(out->json, "arms"), *item = NULL;
    const cJSON *summary = cJSON_GetObjectItemCaseSensitive(out->json, "summary");
    PX_PASS(keys_check(out->json, top_keys, PX_COUNT(top_keys), path));
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n < 1)
        PX_FAIL(PX_BAD_INPUT, "%s: \"arms\" is %s; a list of arms is wanted", path,
                cJSON_IsArray(list) ? "empty" : px_json_type(list));
    out->arms = calloc((size_t)n, sizeof *out->arms);
    if (!out->arms) PX_NO_MEMORY();
    cJSON_ArrayForEach(item, list) {
        char where[4300];
        answer_arm *arm = &out->arms[out->n];
        snprintf(where, sizeof where, "%s, arms[%d]", path, (int)out->n);
        PX_PASS(take_arm(item, where, job, arm));
        for (int32_t k = 0; k < out->n; k++)
            if (!strcmp(out->arms[k].name, arm->name))
                PX_FAIL(PX_BAD_INPUT, "%s: the name \"%.60s\" is taken", where, arm->name);
        out->needs_people = out->needs_people || arm->context != CONTEXT_NONE;
        out->needs_summaries = out->needs_summaries || arm->context == CONTEXT_SUMMARY;
        out->n++;
    }
    return summary ? take_summary(summary, path, job, out) : NULL;
}

px_err *arms_read(const char *path, const px_answer_job *job, arm_file *out) {
    *out = (arm_file){0};
    PX_PASS(px_json_read(path, true, &out->json));
    PX_PASS(take_file(path, job, out));
    if (out->needs_people && !job->data_dir)
        PX_FAIL(PX_BAD_INPUT,
                "%s: an arm's context tells of people; --data names the folder with survey.jsonl",
                path);
    return NULL;
}

void arms_free(arm_file *file) {
    free(file->arms);
    cJSON_Delete(file->json);
    *file = (arm_file){0};
}
