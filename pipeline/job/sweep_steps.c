/* sweep_steps.c - the steps of a sweep: what all points share, a training and its evaluation each;
 * and sweep.json, by which the folder is known again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sweep_internal.h"

px_err *sweep_place(sweep_reader *r) {
    const char *slash = strrchr(r->path, '/'), *base = slash ? slash + 1 : r->path;
    char here[4096];
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".json")) n -= 5;
    r->name = px_arena_text(r->arena, base, n);
    if (cJSON_HasObjectItem(r->json, "name"))
        PX_PASS(px_json_text(r->json, "name", r->path, &r->name));
    if (!*r->name || strchr(r->name, '/') || *r->name == '.')
        PX_FAIL(PX_BAD_INPUT, "%s: name \"%.60s\": a folder's name is wanted", r->path, r->name);
    if (!getcwd(here, sizeof here)) PX_FAIL(PX_RUN_FAILED, "getcwd: %s", strerror(errno));
    const char *dir =
        r->given && r->given->dir ? r->given->dir : job_text(r->arena, "runs/%s", r->name);
    PX_PASS(px_arena_ok(r->arena));
    return job_path_clean(r->arena, here, dir, &r->dir);
}

/* --- making steps --- */

static px_err *put_text(cJSON *step, const char *key, const char *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(step, key);
    if (!cJSON_AddStringToObject(step, key, value)) PX_NO_MEMORY();
    return NULL;
}

static px_err *put_copy(cJSON *step, const char *key, const cJSON *value) {
    if (!value) return NULL;
    cJSON_DeleteItemFromObjectCaseSensitive(step, key);
    if (!cJSON_AddItemToObject(step, key, cJSON_Duplicate(value, true))) PX_NO_MEMORY();
    return NULL;
}

static px_err *step_new(const sweep_reader *r, const char *name, const char *command, cJSON **out) {
    *out = cJSON_CreateObject();
    if (!*out || !cJSON_AddItemToObject(r->steps, name, *out)) PX_NO_MEMORY();
    return put_text(*out, "command", command);
}

static px_err *put_base(const sweep_reader *r, cJSON *step, const char *const *keys) {
    for (; *keys; keys++)
        PX_PASS(put_copy(step, *keys, cJSON_GetObjectItemCaseSensitive(r->base, *keys)));
    return NULL;
}

/* Texts of those keys whose names begin so: what a corpus or a reference hangs on. */
static const char *part_of(const sweep_reader *r, const cJSON *set, const char *const *prefixes) {
    const cJSON *item = NULL;
    px_str text = {0};
    px_digest digest = {""};
    cJSON_ArrayForEach(item, set) for (const char *const *p = prefixes; *p; p++) {
        if (strncmp(item->string, *p, strlen(*p)) != 0) continue;
        px_str_format(&text, "%s=", item->string);
        px_json_print(item, &text);
        px_str_char(&text, '\n');
    }
    px_err *err = px_sha_bytes(text.data ? text.data : "", text.size, &digest);
    px_err_free(err);
    px_str_free(&text);
    return job_text(r->arena, "%.8s", digest.hex);
}

static bool varied(const sweep_reader *r, const char *const *prefixes) {
    for (int k = 0; k < r->sweep->n_keys; k++)
        for (const char *const *p = prefixes; *p; p++)
            if (!strncmp(r->sweep->keys[k], *p, strlen(*p))) return true;
    return false;
}

static const char *const corpus_keys[] = {"data.", "model.template", NULL};

/* The corpus of a point: the one that is there or that a step of the base makes, unless what it is
 * made by is varied; then one for each way. */
static px_err *corpus_step(sweep_reader *r, const cJSON *set, const char **corpus,
                           const char **mark) {
    static const char *const keys[] = {"config", "model", "data", "ranks", "threads", NULL};
    const char *given = px_json_find_text(r->base, "corpus");
    bool apart = varied(r, corpus_keys);
    cJSON *step = NULL;
    *mark = apart ? part_of(r, set, corpus_keys) : "";
    if (given && !apart) {
        *corpus = given;
        return NULL;
    }
    if (given && !r->prepare)
        PX_FAIL(
            PX_BAD_INPUT,
            "%s: keys that a corpus hangs on (data.…, model.template) are varied, but the corpus "
            "%s is given: give \"data\" in its place",
            r->path, given);
    const char *name = job_text(r->arena, "corpus%s%s", apart ? "-" : "", *mark);
    *corpus = job_text(r->arena, "%s.h5", name);
    PX_PASS(px_arena_ok(r->arena));
    if (cJSON_HasObjectItem(r->steps, name)) return NULL;
    PX_PASS(step_new(r, name, "prepare", &step));
    if (r->prepare) {
        const cJSON *like = cJSON_GetObjectItemCaseSensitive(r->steps, r->prepare), *item = NULL;
        cJSON_ArrayForEach(item, like) PX_PASS(put_copy(step, item->string, item));
    } else {
        PX_PASS(put_base(r, step, keys));
    }
    PX_PASS(put_copy(step, "set", set));
    return put_text(step, "out", *corpus);
}

/* Beside a corpus in a folder that cannot be written the reference has no place: then it lies in
 * the sweep's. */
static px_err *reference_place(const sweep_reader *r, const char *corpus, cJSON *set) {
    const char *path = NULL;
    bool found = false;
    PX_PASS(job_file_find(r->arena, r->dir_of_file, corpus, &found, &path, NULL));
    char *slash = found ? strrchr(path, '/') : NULL;
    if (!slash) return NULL;
    const char *dir = slash == path ? "/" : px_arena_text(r->arena, path, (size_t)(slash - path));
    if (!dir || access(dir, W_OK) == 0) return NULL;
    return put_text(set, "reference.cache", r->dir);
}

static px_err *reference_step(sweep_reader *r, const cJSON *set, const char *corpus,
                              const char *corpus_mark, const char **name) {
    static const char *const precision[] = {"precision", NULL};
    static const char *const keys[] = {"config", "model", "ranks", "threads", "time",
                                       "memory", "gpus",  "env",   NULL};
    const char *mark = varied(r, precision) ? part_of(r, set, precision) : "";
    cJSON *step = NULL;
    *name = job_text(r->arena, "reference%s%s%s%s", *corpus_mark ? "-" : "", corpus_mark,
                     *mark ? "-" : "", mark);
    PX_PASS(px_arena_ok(r->arena));
    if (cJSON_HasObjectItem(r->steps, *name)) return NULL;
    PX_PASS(step_new(r, *name, "reference", &step));
    PX_PASS(put_base(r, step, keys));
    PX_PASS(put_text(step, "corpus", corpus));
    return put_copy(step, "set", set);
}

static px_err *train_step(const sweep_reader *r, const cJSON *set, const char *title,
                          const char *corpus, const char *reference, const char *hex) {
    static const char *const keys[] = {"config", "model", "ranks", "threads", "time",
                                       "memory", "gpus",  "env",   NULL};
    cJSON *step = NULL, *needs = NULL;
    PX_PASS(step_new(r, job_text(r->arena, "train-%.8s", hex), "train", &step));
    PX_PASS(put_text(step, "about", title));
    needs = cJSON_AddArrayToObject(step, "needs");
    if (!needs || !cJSON_AddItemToArray(needs, cJSON_CreateString(reference))) PX_NO_MEMORY();
    PX_PASS(put_base(r, step, keys));
    PX_PASS(put_text(step, "corpus", corpus));
    PX_PASS(put_copy(step, "set", set));
    return put_text(step, "out", job_text(r->arena, "points/%.8s", hex));
}

static px_err *eval_step(const sweep_reader *r, const cJSON *set, const char *corpus,
                         const char *hex) {
    static const char *const keys[] = {"ranks", "threads", "time", "memory", "gpus", "env", NULL};
    const cJSON *cache = cJSON_GetObjectItemCaseSensitive(set, "reference.cache");
    cJSON *step = NULL;
    PX_PASS(step_new(r, job_text(r->arena, "eval-%.8s", hex), "eval", &step));
    PX_PASS(put_text(step, "run", job_text(r->arena, "points/%.8s", hex)));
    PX_PASS(put_base(r, step, keys));
    PX_PASS(put_text(step, "corpus", corpus));
    PX_PASS(put_text(step, "split", "seen,unseen"));
    if (cache) {
        cJSON *own = cJSON_AddObjectToObject(step, "set");
        if (!own) PX_NO_MEMORY();
        PX_PASS(put_copy(own, "reference.cache", cache));
    }
    return put_text(step, "out", job_text(r->arena, "eval/%.8s.h5", hex));
}

px_err *sweep_unit(sweep_reader *r, px_sweep_point *point, const cJSON *given, const char *title,
                   const char *hex) {
    px_sweep *s = r->sweep;
    const char *corpus = NULL, *mark = NULL, *reference = NULL;
    /* The step's number is not known before the job is made: its place in r->units is. */
    for (int u = 0; u < s->n_units; u++)
        if (!strcmp(r->units[u], hex)) {
            point->unit = u;
            return NULL;
        }
    cJSON *set = cJSON_Duplicate(given, true);
    if (!set) PX_NO_MEMORY();
    px_err *err = corpus_step(r, set, &corpus, &mark);
    if (!err && !cJSON_HasObjectItem(set, "reference.cache")) err = reference_place(r, corpus, set);
    if (!err) err = reference_step(r, set, corpus, mark, &reference);
    if (!err) err = train_step(r, set, title, corpus, reference, hex);
    if (!err) err = eval_step(r, set, corpus, hex);
    cJSON_Delete(set);
    r->units[s->n_units] = job_text(r->arena, "%s", hex);
    point->unit = s->n_units++;
    return err ? err : px_arena_ok(r->arena);
}

/* --- the job --- */

static px_err *find_units(px_sweep *s, const char *const *hexes) {
    for (int u = 0; u < s->n_units; u++) {
        char name[64];
        snprintf(name, sizeof name, "train-%.8s", hexes[u]);
        PX_PASS(px_job_find(&s->job, name, &s->units[u].train));
        snprintf(name, sizeof name, "eval-%.8s", hexes[u]);
        PX_PASS(px_job_find(&s->job, name, &s->units[u].eval));
    }
    return NULL;
}

px_err *sweep_job(const sweep_reader *r, const px_job_given *given) {
    px_sweep *s = r->sweep;
    cJSON *json = cJSON_CreateObject();
    px_job_given without_vars = given ? *given : (px_job_given){0};
    px_err *err = NULL;
    without_vars.n_vars = 0; /* the base's are put in */
    if (!without_vars.dir) without_vars.dir = r->dir;
    if (!json || !cJSON_AddStringToObject(json, "name", r->name) ||
        !cJSON_AddItemToObject(json, "steps", cJSON_Duplicate(r->steps, true)))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_job_take(json, r->path, &without_vars, &s->job));
    err = find_units(s, r->units);
done:
    cJSON_Delete(json);
    return err;
}

/* --- sweep.json --- */

bool px_sweep_is(const char *dir) {
    char *path = px_path_join(dir, "sweep.json");
    bool is = path && px_path_exists(path);
    free(path);
    return is;
}

px_err *sweep_write(const px_sweep *s) {
    px_str text = {0};
    px_str_format(&text, "{\n  \"parallel\": %d,\n  \"keys\": [", s->parallel);
    for (int k = 0; k < s->n_keys; k++) {
        px_str_text(&text, k ? ", " : "");
        px_str_json(&text, s->keys[k], strlen(s->keys[k]));
    }
    px_str_text(&text, "],\n  \"points\": [");
    for (int i = 0; i < s->n_points; i++) {
        const char *train = s->job.steps[s->units[s->points[i].unit].train].name;
        px_str_format(&text, "%s\n    {\"training\": \"%s\", \"values\": [", i ? "," : "",
                      train + strlen("train-"));
        for (int k = 0; k < s->n_keys; k++) {
            px_str_text(&text, k ? ", " : "");
            px_str_json(&text, s->points[i].values[k], strlen(s->points[i].values[k]));
        }
        px_str_text(&text, "]}");
    }
    px_str_text(&text, "\n  ]\n}\n");
    char *path = px_path_join(s->job.dir, "sweep.json");
    px_err *err = px_str_ok(&text);
    if (!err && !path) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = job_file_write(path, text.data, text.size);
    free(path);
    px_str_free(&text);
    return err;
}

static px_err *open_point(px_sweep *s, const cJSON *item, const char *where, const char **hexes) {
    const cJSON *values = cJSON_GetObjectItemCaseSensitive(item, "values");
    px_sweep_point *point = &s->points[s->n_points++];
    const char *hex = NULL;
    PX_PASS(px_json_text(item, "training", where, &hex));
    point->values = px_take(s->arena, const char *, s->n_keys + 1);
    PX_PASS(px_arena_ok(s->arena));
    for (int k = 0; k < s->n_keys; k++) {
        const cJSON *value = cJSON_GetArrayItem(values, k);
        if (!cJSON_IsString(value))
            PX_FAIL(PX_BAD_INPUT, "%s: \"values\" holds %s; texts are wanted", where,
                    px_json_type(value));
        point->values[k] = job_text(s->arena, "%s", value->valuestring);
    }
    for (point->unit = 0; point->unit < s->n_units; point->unit++)
        if (!strcmp(hexes[point->unit], hex)) return NULL;
    hexes[s->n_units++] = job_text(s->arena, "%s", hex);
    return px_arena_ok(s->arena);
}

static px_err *open_fill(px_sweep *s, const cJSON *json, const char *where) {
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(json, "keys"), *item = NULL;
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(json, "points");
    int n = cJSON_GetArraySize(points);
    s->keys = px_take(s->arena, const char *, cJSON_GetArraySize(keys) + 1);
    s->points = px_take(s->arena, px_sweep_point, n);
    s->units = px_take(s->arena, px_sweep_unit, n);
    const char **hexes = px_take(s->arena, const char *, n);
    PX_PASS(px_arena_ok(s->arena));
    s->parallel = (int)px_json_find_f64(json, "parallel", 0);
    cJSON_ArrayForEach(item, keys) if (cJSON_IsString(item)) s->keys[s->n_keys++] =
        job_text(s->arena, "%s", item->valuestring);
    cJSON_ArrayForEach(item, points) PX_PASS(open_point(s, item, where, hexes));
    return find_units(s, hexes);
}

px_err *px_sweep_make(const px_sweep *sweep) {
    PX_PASS(px_job_folder_make(&sweep->job));
    return sweep_write(sweep);
}

px_err *px_sweep_open(const char *dir, const px_job_given *given, px_sweep *out) {
    cJSON *json = NULL;
    px_err *err = NULL;
    char *path = px_path_join(dir, "sweep.json");
    px_job_given resources = {0};
    *out = (px_sweep){0};
    if (given) {
        resources.ranks = given->ranks;
        resources.threads = given->threads;
    }
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no sweep's folder (sweep.json is missing)", dir);
    PX_PASS_TO(done, px_arena_new(65536, &out->arena));
    PX_PASS_TO(done, px_json_read(path, false, &json));
    PX_PASS_TO(done, px_job_read(dir, &resources, &out->job));
    err = open_fill(out, json, path);
done:
    cJSON_Delete(json);
    free(path);
    if (err) px_sweep_free(out);
    return err;
}
