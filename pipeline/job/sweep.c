/* sweep.c - a sweep file becomes a job. See sweep.h.
 *
 * A training is named by the SHA-256 of its resolved configuration, so that a sweep that grows
 * keeps what it has, in whatever order its points stand. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "sweep_internal.h"

enum { POINTS_MOST = 10000 };

static const char *const top_keys[] = {"name",  "about", "base",    "grid",   "points", "parallel",
                                       "train", "ranks", "threads", "config", "corpus", "model",
                                       "data",  "set",   "time",    "memory", "gpus",   "env"};
/* What a base may hold, and what the training step then gets from it as it stands. */
static const char *const base_keys[] = {"config", "corpus", "model", "data", "set"};
static const char *const step_keys[] = {"ranks", "threads", "time", "memory", "gpus", "env"};

static bool is_in(const char *word, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(words[i], word)) return true;
    return false;
}

static px_err *check_keys(const cJSON *json, const char *where, const char *const *keys, size_t n) {
    const cJSON *item = NULL;
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", where, px_json_type(json));
    cJSON_ArrayForEach(item, json) {
        if (is_in(item->string, keys, n)) continue;
        int near = px_nearest(item->string, keys, (int)n);
        PX_FAIL(PX_BAD_INPUT, "%s: no key \"%.60s\"%s%s%s", where, item->string,
                near >= 0 ? "; did you mean \"" : "", near >= 0 ? keys[near] : "",
                near >= 0 ? "\"?" : "");
    }
    return NULL;
}

/* --- points --- */

/* {"optim": {"lr": 1}} → "optim.lr"; later ones replace earlier. */
static px_err *flatten(const cJSON *set, const char *prefix, cJSON *out) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, set) {
        char key[256];
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", item->string);
        if (cJSON_IsObject(item)) {
            PX_PASS(flatten(item, key, out));
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(out, key);
        if (!cJSON_AddItemToObject(out, key, cJSON_Duplicate(item, true))) PX_NO_MEMORY();
    }
    return NULL;
}

/* Every combination, the last key fastest. */
static px_err *grid_points(const cJSON *grid, const char *path, cJSON *points) {
    const cJSON *key = NULL;
    int64_t n = 1;
    if (!cJSON_IsObject(grid) || !grid->child)
        PX_FAIL(PX_BAD_INPUT, "%s: \"grid\" is %s; an object of key: list is wanted", path,
                cJSON_IsObject(grid) ? "empty" : px_json_type(grid));
    cJSON_ArrayForEach(key, grid) {
        if (!cJSON_IsArray(key) || !key->child)
            PX_FAIL(PX_BAD_INPUT, "%s: grid, %s: is %s; a list of values is wanted", path,
                    key->string, cJSON_IsArray(key) ? "empty" : px_json_type(key));
        n *= cJSON_GetArraySize(key);
        if (n > POINTS_MOST) PX_FAIL(PX_BAD_INPUT, "%s: more than %d points", path, POINTS_MOST);
    }
    for (int64_t i = 0; i < n; i++) {
        cJSON *point = cJSON_CreateObject();
        int64_t rest = n, at = i;
        if (!point || !cJSON_AddItemToArray(points, point)) PX_NO_MEMORY();
        cJSON_ArrayForEach(key, grid) {
            rest /= cJSON_GetArraySize(key);
            const cJSON *value = cJSON_GetArrayItem(key, (int)(at / rest));
            at %= rest;
            if (!cJSON_AddItemToObject(point, key->string, cJSON_Duplicate(value, true)))
                PX_NO_MEMORY();
        }
    }
    return NULL;
}

static px_err *list_points(const cJSON *list, const char *path, cJSON *points) {
    const cJSON *item = NULL;
    if (!cJSON_IsArray(list) || !list->child)
        PX_FAIL(PX_BAD_INPUT, "%s: \"points\" is %s; a list of objects is wanted", path,
                cJSON_IsArray(list) ? "empty" : px_json_type(list));
    if (cJSON_GetArraySize(list) > POINTS_MOST)
        PX_FAIL(PX_BAD_INPUT, "%s: more than %d points", path, POINTS_MOST);
    cJSON_ArrayForEach(item, list) {
        cJSON *point = cJSON_CreateObject();
        if (!point || !cJSON_AddItemToArray(points, point)) PX_NO_MEMORY();
        if (!cJSON_IsObject(item))
            PX_FAIL(PX_BAD_INPUT, "%s: points holds %s; objects are wanted", path,
                    px_json_type(item));
        PX_PASS(flatten(item, "", point));
    }
    return NULL;
}

static px_err *take_points(sweep_reader *r) {
    const cJSON *grid = cJSON_GetObjectItemCaseSensitive(r->json, "grid"), *point = NULL,
                *item = NULL;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->json, "points");
    px_sweep *s = r->sweep;
    if (!grid == !list) PX_FAIL(PX_BAD_INPUT, "%s: \"grid\" or \"points\" is wanted", r->path);
    PX_PASS(grid ? grid_points(grid, r->path, r->points) : list_points(list, r->path, r->points));
    s->n_points = cJSON_GetArraySize(r->points);
    cJSON_ArrayForEach(point, r->points) cJSON_ArrayForEach(item, point) {
        if (!is_in(item->string, s->keys, (size_t)s->n_keys)) {
            if (s->n_keys == SWEEP_KEYS_MOST)
                PX_FAIL(PX_BAD_INPUT, "%s: more than %d keys are varied", r->path, SWEEP_KEYS_MOST);
            s->keys[s->n_keys++] = job_text(r->arena, "%s", item->string);
        }
    }
    s->points = px_take(r->arena, px_sweep_point, s->n_points);
    s->units = px_take(r->arena, px_sweep_unit, s->n_points);
    r->units = px_take(r->arena, const char *, s->n_points);
    return px_arena_ok(r->arena);
}

/* --- the base --- */

static px_err *base_copy(sweep_reader *r, const cJSON *from, const char *const *keys, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, keys[i]);
        if (!item) continue;
        cJSON_DeleteItemFromObjectCaseSensitive(r->base, keys[i]);
        if (!cJSON_AddItemToObject(r->base, keys[i], cJSON_Duplicate(item, true))) PX_NO_MEMORY();
    }
    return NULL;
}

/* The training of a job file that is to be varied: the one that there is, or "train" names it. */
static px_err *base_train(const sweep_reader *r, const px_job *job, int *out) {
    const char *wish = px_json_find_text(r->json, "train");
    int n = 0;
    if (wish) {
        PX_TRY(px_job_find(job, wish, out), "%s: \"train\"", r->path);
        if (strcmp(job->steps[*out].command, "train") != 0)
            PX_FAIL(PX_BAD_INPUT, "%s: \"train\": step %s is no training", r->path, wish);
        return NULL;
    }
    for (int i = 0; i < job->n_steps; i++)
        if (!strcmp(job->steps[i].command, "train")) {
            *out = i;
            n++;
        }
    if (n == 0) PX_FAIL(PX_BAD_INPUT, "%s: the base %s trains nothing", r->path, job->path);
    if (n > 1)
        PX_FAIL(PX_BAD_INPUT,
                "%s: the base %s has %d trainings: \"train\" names the one to be varied", r->path,
                job->path, n);
    return NULL;
}

static void mark_needs(const px_job *job, int i, bool *marked) {
    for (int k = 0; k < job->steps[i].n_needs; k++) {
        marked[job->steps[i].needs[k]] = true;
        mark_needs(job, job->steps[i].needs[k], marked);
    }
}

/* What the training needs comes along as it is, but for its reference, which is made here. */
static px_err *base_of_job(sweep_reader *r, const char *path) {
    px_job job;
    px_job_given given = r->given ? *r->given : (px_job_given){0};
    int train = 0;
    px_err *err = NULL;
    given.dir = given.dir ? given.dir : r->dir;
    PX_TRY(px_job_read(path, &given, &job), "%s: \"base\"", r->path);
    bool *marked = px_take(r->arena, bool, job.n_steps);
    PX_PASS_TO(done, px_arena_ok(r->arena));
    PX_PASS_TO(done, base_train(r, &job, &train));
    mark_needs(&job, train, marked);
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(job.json, "steps");
    for (int i = 0; i < job.n_steps; i++) {
        const px_job_step *step = &job.steps[i];
        if (!marked[i] || !strcmp(step->command, "reference")) continue;
        cJSON *copy = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(steps, step->name), true);
        if (!copy || !cJSON_AddItemToObject(r->steps, step->name, copy))
            PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
        if (!strcmp(step->command, "prepare")) r->prepare = job_text(r->arena, "%s", step->name);
    }
    const cJSON *json = cJSON_GetObjectItemCaseSensitive(steps, job.steps[train].name);
    PX_PASS_TO(done, base_copy(r, job.json, step_keys, 2));
    PX_PASS_TO(done, base_copy(r, json, base_keys, PX_COUNT(base_keys)));
    err = base_copy(r, json, step_keys, PX_COUNT(step_keys));
done:
    px_job_free(&job);
    return err;
}

static px_err *base_of_file(sweep_reader *r, const char *given) {
    const char *path = NULL;
    bool found = false;
    cJSON *json = NULL;
    px_str looked = {0};
    PX_PASS(job_file_find(r->arena, r->dir_of_file, given, &found, &path, &looked));
    px_err *err = NULL;
    if (!found)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s: \"base\": %s is not there: looked for %s", r->path, given,
                         looked.data ? looked.data : "");
    px_str_free(&looked);
    PX_PASS(err);
    PX_TRY(px_json_read(path, true, &json), "%s: \"base\"", r->path);
    bool is_job = cJSON_HasObjectItem(json, "steps");
    cJSON_Delete(json);
    if (is_job) return base_of_job(r, path);
    if (!cJSON_AddStringToObject(r->base, "config", path)) PX_NO_MEMORY();
    return NULL;
}

static px_err *take_base(sweep_reader *r) {
    const cJSON *base = cJSON_GetObjectItemCaseSensitive(r->json, "base");
    char where[4300];
    snprintf(where, sizeof where, "%s: \"base\"", r->path);
    if (cJSON_IsString(base)) {
        PX_PASS(base_of_file(r, base->valuestring));
    } else if (base) {
        const char *keys[PX_COUNT(base_keys) + PX_COUNT(step_keys)];
        memcpy(keys, base_keys, sizeof base_keys);
        memcpy(keys + PX_COUNT(base_keys), step_keys, sizeof step_keys);
        PX_PASS(check_keys(base, where, keys, PX_COUNT(keys)));
        PX_PASS(base_copy(r, base, keys, PX_COUNT(keys)));
    }
    PX_PASS(base_copy(r, r->json, base_keys, PX_COUNT(base_keys)));
    PX_PASS(base_copy(r, r->json, step_keys, PX_COUNT(step_keys)));
    if (!cJSON_HasObjectItem(r->base, "model"))
        PX_FAIL(PX_BAD_INPUT, "%s: \"model\" is missing: a model's folder or file", where);
    if (!cJSON_HasObjectItem(r->base, "corpus") && !cJSON_HasObjectItem(r->base, "data"))
        PX_FAIL(PX_BAD_INPUT, "%s: \"corpus\" is missing (or \"data\", to prepare one)", where);
    cJSON *flat = cJSON_CreateObject();
    if (!flat) PX_NO_MEMORY();
    px_err *err = flatten(cJSON_GetObjectItemCaseSensitive(r->base, "set"), "", flat);
    cJSON_DeleteItemFromObjectCaseSensitive(r->base, "set");
    if (!cJSON_AddItemToObject(r->base, "set", flat)) PX_NO_MEMORY();
    return err;
}

/* --- a point's configuration --- */

/* Where the file lies is found as a step's would be. */
static px_err *config_path(sweep_reader *r) {
    const char *given = px_json_find_text(r->base, "config"), *path = NULL;
    bool found = false;
    if (!given) return NULL;
    PX_PASS(job_file_find(r->arena, r->dir_of_file, given, &found, &path, NULL));
    if (!found) PX_FAIL(PX_BAD_INPUT, "%s: \"config\": %s is not there", r->path, given);
    r->config_path = path;
    return NULL;
}

/* What a pooled model does not look at is set back, so that points that differ in it are the same.
 */
static px_err *without_unused(px_config *config) {
    static const char *const pooled[] = {"user.tokens", "user.bank",     "user.mixing",
                                         "user.init",   "optim.user_lr", "loss.alpha"};
    static const char *const individual[] = {"user.bank", "user.mixing"};
    const char *const *keys = config->user_model == PX_USER_NONE ? pooled : individual;
    size_t n = config->user_model == PX_USER_NONE         ? PX_COUNT(pooled)
               : config->user_model == PX_USER_INDIVIDUAL ? PX_COUNT(individual)
                                                          : 0;
    for (size_t i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNullToObject(one, keys[i]); /* the default */
        px_err *err = px_config_take(config, one, "sweep");
        cJSON_Delete(one);
        PX_PASS(err);
    }
    return NULL;
}

static px_err *config_json(const px_config *config, bool all, cJSON **out) {
    px_str text = {0};
    cJSON *json = NULL, *flat = cJSON_CreateObject();
    px_config_print(config, &text);
    px_err *err = px_str_ok(&text);
    if (!err) err = px_json_parse(text.data, text.size, &json);
    if (!err) err = job_config_flat(json, "", all, flat);
    cJSON_Delete(json);
    px_str_free(&text);
    *out = flat;
    return err;
}

/* A JSON text without its quotes, where it is one. */
static const char *plain(px_arena *arena, const char *json) {
    size_t n = strlen(json);
    if (n >= 2 && *json == '"') return px_arena_text(arena, json + 1, n - 2);
    return job_text(arena, "%s", json);
}

/* As --set has it: a text may hold a number that ${…} put in. */
static px_err *config_assign(px_config *config, const cJSON *set) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, set) {
        px_str text = {0};
        px_str_format(&text, "%s=", item->string);
        if (cJSON_IsString(item))
            px_str_text(&text, item->valuestring);
        else
            px_json_print(item, &text);
        px_err *err = px_str_ok(&text);
        if (!err) err = px_config_set(config, text.data);
        px_str_free(&text);
        PX_PASS(err);
    }
    return NULL;
}

/* The values of the varied keys, and the name of the training. */
static px_err *point_config(sweep_reader *r, const cJSON *set, px_sweep_point *point,
                            px_digest *digest) {
    px_config config;
    cJSON *all = NULL, *flat = NULL;
    px_str text = {0};
    PX_PASS(px_config_init(&config));
    px_err *err = r->config_path ? px_config_read(&config, r->config_path) : NULL;
    if (!err) err = config_assign(&config, set);
    if (!err) err = px_config_check(&config);
    if (!err) err = config_json(&config, true, &all);
    if (!err) err = without_unused(&config);
    if (!err) err = config_json(&config, false, &flat);
    for (int k = 0; !err && k < r->sweep->n_keys; k++) {
        const char *value = px_json_find_text(all, r->sweep->keys[k]);
        point->values[k] = plain(r->arena, value ? value : "");
    }
    px_json_print(flat, &text);
    if (!err) err = px_str_ok(&text);
    if (!err) err = px_sha_bytes(text.data, text.size, digest);
    cJSON_Delete(all);
    cJSON_Delete(flat);
    px_str_free(&text);
    px_config_fini(&config);
    return err ? err : px_arena_ok(r->arena);
}

static const char *point_title(const sweep_reader *r, const px_sweep_point *point) {
    px_str text = {0};
    for (int k = 0; k < r->sweep->n_keys; k++)
        px_str_format(&text, "%s%s %s", k ? ", " : "", r->sweep->keys[k], point->values[k]);
    const char *title = job_text(r->arena, "%s", text.data ? text.data : "");
    px_str_free(&text);
    return title;
}

static px_err *take_point(sweep_reader *r, int i, const cJSON *given) {
    px_sweep_point *point = &r->sweep->points[i];
    cJSON *set = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(r->base, "set"), true);
    px_digest digest;
    point->values = px_take(r->arena, const char *, r->sweep->n_keys + 1);
    px_err *err = px_arena_ok(r->arena);
    if (!err) err = flatten(given, "", set);
    if (!err) err = point_config(r, set, point, &digest);
    if (err) err = px_err_add(err, __FILE__, __LINE__, "%s: point %d", r->path, i + 1);
    if (!err) err = sweep_unit(r, point, set, point_title(r, point), digest.hex);
    cJSON_Delete(set);
    return err;
}

/* --- the whole --- */

static px_err *take_parallel(sweep_reader *r) {
    int64_t n = 0;
    if (cJSON_HasObjectItem(r->json, "parallel"))
        PX_PASS(px_json_i64(r->json, "parallel", r->path, 0, 100000, &n));
    r->sweep->parallel = (int)n;
    return NULL;
}

static px_err *sweep_fill(sweep_reader *r, const px_job_given *given) {
    const cJSON *point = NULL;
    int i = 0;
    PX_PASS(check_keys(r->json, r->path, top_keys, PX_COUNT(top_keys)));
    PX_PASS(take_parallel(r));
    PX_PASS(take_points(r));
    PX_PASS(take_base(r));
    PX_PASS(config_path(r));
    cJSON_ArrayForEach(point, r->points) PX_PASS(take_point(r, i++, point));
    return sweep_job(r, given);
}

px_err *px_sweep_read(const char *path, const px_job_given *given, px_sweep *out) {
    *out = (px_sweep){0};
    sweep_reader r = {.sweep = out, .path = path, .given = given};
    px_err *err = NULL;
    if (px_path_is_dir(path)) return px_sweep_open(path, given, out);
    PX_PASS(px_arena_new(65536, &r.arena));
    char *copy = job_text(r.arena, "%s", path);
    PX_PASS_TO(done, px_arena_ok(r.arena));
    r.dir_of_file = dirname(copy);
    r.points = cJSON_CreateArray();
    r.steps = cJSON_CreateObject();
    r.base = cJSON_CreateObject();
    out->keys = px_take(r.arena, const char *, SWEEP_KEYS_MOST);
    if (!r.points || !r.steps || !r.base) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_arena_ok(r.arena));
    PX_PASS_TO(done, px_json_read(path, true, &r.json));
    PX_PASS_TO(done, sweep_place(&r));
    err = sweep_fill(&r, given);
done:
    cJSON_Delete(r.json);
    cJSON_Delete(r.points);
    cJSON_Delete(r.steps);
    cJSON_Delete(r.base);
    if (!err) out->arena = r.arena;
    if (err) px_job_free(&out->job);
    if (err) px_arena_free(r.arena);
    return err;
}

void px_sweep_free(px_sweep *sweep) {
    px_job_free(&sweep->job);
    px_arena_free(sweep->arena);
    *sweep = (px_sweep){0};
}

int px_sweep_n(const px_sweep *sweep) { return sweep->n_units; }
