/* order.c - who needs whom, the order in which steps can run, and a step by its name. */
#include "job_internal.h"

#include <string.h>

px_err *px_job_find(const px_job *job, const char *name, int *step) {
    const char *names[1024];
    int n = PX_MIN(job->n_steps, 1024);
    for (*step = 0; *step < job->n_steps; ++*step)
        if (!strcmp(job->steps[*step].name, name)) return NULL;
    for (int i = 0; i < n; i++) names[i] = job->steps[i].name;
    int near = px_nearest(name, names, n);
    PX_FAIL(PX_BAD_INPUT, "%s has no step \"%.60s\"%s%s%s", job->path, name,
            near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "", near >= 0 ? "?" : "");
}

static void need_add(px_job_step *step, int need) {
    int at = 0;
    while (at < step->n_needs && step->needs[at] < need) at++;
    if (at < step->n_needs && step->needs[at] == need) return;
    memmove(step->needs + at + 1, step->needs + at,
            (size_t)(step->n_needs - at) * sizeof *step->needs);
    step->needs[at] = need;
    step->n_needs++;
}

static px_err *needs_of(px_job *job, int i, const cJSON *json) {
    px_job_step *step = &job->steps[i];
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "needs"), *item = NULL;
    step->needs = px_take(job->arena, int, job->n_steps + 1);
    PX_PASS(px_arena_ok(job->arena));
    if (list && !cJSON_IsArray(list))
        PX_FAIL(PX_BAD_INPUT, "%s: step %s: \"needs\" is %s; a list of steps is wanted", job->path,
                step->name, px_json_type(list));
    cJSON_ArrayForEach(item, list) {
        int need = 0;
        if (!cJSON_IsString(item))
            PX_FAIL(PX_BAD_INPUT, "%s: step %s: \"needs\" holds %s; names are wanted", job->path,
                    step->name, px_json_type(item));
        PX_TRY(px_job_find(job, item->valuestring, &need), "step %s, needs", step->name);
        need_add(step, need);
    }
    for (int k = 0; k < step->n_inputs; k++)
        if (step->inputs[k].made_by >= 0) need_add(step, step->inputs[k].made_by);
    return NULL;
}

/* Depth first from `i`; on finding a step that is under way, the way back to it is a cycle. */
static px_err *visit(const px_job *job, int i, char *mark, int *stack, int depth, int *order,
                     int *n) {
    const px_job_step *step = &job->steps[i];
    if (mark[i] == 2) return NULL;
    stack[depth] = i;
    if (mark[i] == 1) {
        px_str way = {0};
        int from = depth - 1;
        while (stack[from] != i) from--;
        for (int k = from; k <= depth; k++)
            px_str_format(&way, "%s%s", k > from ? " needs " : "", job->steps[stack[k]].name);
        px_err *err =
            px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: steps wait for one another: %s",
                       job->path, way.data ? way.data : "");
        px_str_free(&way);
        return err;
    }
    mark[i] = 1;
    for (int k = 0; k < step->n_needs; k++)
        PX_PASS(visit(job, step->needs[k], mark, stack, depth + 1, order, n));
    mark[i] = 2;
    order[(*n)++] = i;
    return NULL;
}

px_err *job_order(px_job *job) {
    const int n = job->n_steps;
    int n_ordered = 0, k = 0;
    int *order = px_take(job->arena, int, n), *place = px_take(job->arena, int, n);
    int *stack = px_take(job->arena, int, n + 2);
    char *mark = px_take(job->arena, char, n);
    px_job_step *sorted = px_take(job->arena, px_job_step, n);
    const cJSON *item = NULL;
    PX_PASS(px_arena_ok(job->arena));
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(job->json, "steps"))
        PX_PASS(needs_of(job, k++, item));
    for (int i = 0; i < n; i++) PX_PASS(visit(job, i, mark, stack, 0, order, &n_ordered));
    for (int i = 0; i < n; i++) place[order[i]] = i;
    for (int i = 0; i < n; i++) {
        px_job_step *step = &sorted[i];
        int n_needs = job->steps[order[i]].n_needs;
        const int *needs = job->steps[order[i]].needs;
        *step = job->steps[order[i]];
        step->n_needs = 0;
        step->needs = px_take(job->arena, int, n + 1);
        PX_PASS(px_arena_ok(job->arena));
        for (int j = 0; j < n_needs; j++) need_add(step, place[needs[j]]);
        for (int j = 0; j < step->n_inputs; j++)
            if (step->inputs[j].made_by >= 0)
                step->inputs[j].made_by = place[step->inputs[j].made_by];
    }
    job->steps = sorted;
    return NULL;
}

px_err *job_json_resolved(px_job *job) {
    cJSON *steps = cJSON_GetObjectItemCaseSensitive(job->json, "steps");
    cJSON_DeleteItemFromObjectCaseSensitive(job->json, "vars");
    if (!cJSON_HasObjectItem(job->json, "name") &&
        !cJSON_AddStringToObject(job->json, "name", job->name))
        PX_NO_MEMORY();
    for (int i = 0; i < job->n_steps; i++) {
        const px_job_step *step = &job->steps[i];
        cJSON *json = cJSON_GetObjectItemCaseSensitive(steps, step->name);
        cJSON *needs = cJSON_CreateArray();
        for (int k = 0; k < step->n_needs; k++)
            cJSON_AddItemToArray(needs, cJSON_CreateString(job->steps[step->needs[k]].name));
        cJSON_DeleteItemFromObjectCaseSensitive(json, "needs");
        if (!cJSON_AddItemToObject(json, "needs", needs)) PX_NO_MEMORY();
    }
    return NULL;
}
