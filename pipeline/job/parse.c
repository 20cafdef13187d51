/* parse.c - a job file becomes steps: vars put in, keys checked, options in the order of the file.
 * What paths mean is paths.c's, who comes first order.c's. */
#include "job_internal.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const top_keys[] = {"name", "about", "vars", "ranks", "threads", "steps"};
static const char *const step_keys[] = {"command", "about", "needs",  "args", "ranks",
                                        "threads", "time",  "memory", "gpus", "env"};

static bool is_one_of(const char *word, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(word, words[i])) return true;
    return false;
}

char *job_text(px_arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = px_take(arena, char, (size_t)PX_MAX(n, 0) + 1);
    if (text && n > 0) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

/* --- ${vars} --- */

static const char *var_value(const job_reader *r, const cJSON *vars, const char *name, size_t size,
                             px_arena *arena) {
    for (int i = 0; r->given && i < r->given->n_vars; i++)
        if (!strncmp(r->given->vars[i], name, size) && r->given->vars[i][size] == '=')
            return r->given->vars[i] + size + 1;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, vars) {
        if (strlen(item->string) != size || strncmp(item->string, name, size) != 0) continue;
        if (cJSON_IsString(item)) return item->valuestring;
        char number[32];
        if (cJSON_IsNumber(item))
            return job_text(arena, "%s", px_double_text(item->valuedouble, number));
    }
    return NULL;
}

static px_err *var_missing(const cJSON *vars, const char *name, size_t size, const char *where) {
    const char *names[64];
    const cJSON *item = NULL;
    char wanted[128];
    int n = 0;
    snprintf(wanted, sizeof wanted, "%.*s", (int)PX_MIN(size, 100), name);
    if (cJSON_HasObjectItem(vars, wanted))
        PX_FAIL(PX_BAD_INPUT, "%s: ${%s} has no value: --var %s=… gives one", where, wanted,
                wanted);
    cJSON_ArrayForEach(item, vars) if (n < 64) names[n++] = item->string;
    int near = px_nearest(wanted, names, n);
    PX_FAIL(PX_BAD_INPUT, "%s: ${%s} is not among \"vars\"%s%s%s", where, wanted,
            near >= 0 ? "; did you mean ${" : "", near >= 0 ? names[near] : "",
            near >= 0 ? "}?" : "");
}

static px_err *substitute(const job_reader *r, const cJSON *vars, cJSON *item, const char *where) {
    px_str text = {0};
    const char *at = item->valuestring;
    if (!strstr(at, "${")) return NULL;
    while (*at) {
        const char *open = strstr(at, "${"), *end = open ? strchr(open, '}') : NULL;
        if (!end) break;
        const char *value = var_value(r, vars, open + 2, (size_t)(end - open - 2), r->job->arena);
        if (!value) {
            px_str_free(&text);
            return var_missing(vars, open + 2, (size_t)(end - open - 2), where);
        }
        px_str_add(&text, at, (size_t)(open - at));
        px_str_text(&text, value);
        at = end + 1;
    }
    px_str_text(&text, at);
    px_err *err = px_str_ok(&text);
    if (!err && !cJSON_SetValuestring(item, text.data))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    px_str_free(&text);
    return err;
}

static px_err *substitute_below(const job_reader *r, const cJSON *vars, cJSON *json,
                                const char *where) {
    cJSON *item = NULL;
    if (cJSON_IsString(json)) return substitute(r, vars, json, where);
    cJSON_ArrayForEach(item, json) PX_PASS(substitute_below(r, vars, item, where));
    return NULL;
}

static px_err *check_given_vars(const job_reader *r, const cJSON *vars) {
    for (int i = 0; r->given && i < r->given->n_vars; i++) {
        const char *var = r->given->vars[i], *is = strchr(var, '=');
        char name[128];
        if (!is) PX_FAIL(PX_BAD_INPUT, "--var %s: NAME=VALUE is wanted", var);
        snprintf(name, sizeof name, "%.*s", (int)PX_MIN(is - var, 100), var);
        if (!cJSON_HasObjectItem(vars, name))
            PX_FAIL(PX_BAD_INPUT, "--var %s: %s has no \"vars\" of that name", name, r->job->path);
    }
    return NULL;
}

/* --- options --- */

static int leaves(const cJSON *json) {
    const cJSON *item = NULL;
    int n = 1;
    cJSON_ArrayForEach(item, json) n += leaves(item);
    return n;
}

static px_job_option *option_add(px_job_step *step, const char *name, px_job_kind kind,
                                 cJSON *json) {
    px_job_option *o = &step->options[step->n_options++];
    *o = (px_job_option){.name = name, .kind = kind, .json = json};
    return o;
}

/* A scalar as the text that a command line has. */
static const char *scalar_text(px_arena *arena, const cJSON *item) {
    char number[32];
    if (cJSON_IsString(item)) return job_text(arena, "%s", item->valuestring);
    if (cJSON_IsNumber(item))
        return job_text(arena, "%s", px_double_text(item->valuedouble, number));
    if (cJSON_IsBool(item)) return cJSON_IsTrue(item) ? "true" : "false";
    return NULL;
}

/* "set": {"optim": {"lr": 1e-3}, "optim.betas": [0.9, 0.99]}: an assignment a leaf. */
static px_err *parse_set(const job_reader *r, cJSON *json, const char *prefix, const char *where,
                         px_job_step *step) {
    px_arena *arena = r->job->arena;
    cJSON *item = NULL;
    cJSON_ArrayForEach(item, json) {
        const char *key = job_text(arena, "%s%s%s", prefix, *prefix ? "." : "", item->string);
        if (cJSON_IsObject(item)) {
            PX_PASS(parse_set(r, item, key, where, step));
            continue;
        }
        const char *text = scalar_text(arena, item);
        if (!text) {
            px_str printed = {0};
            px_json_print(item, &printed);
            text = job_text(arena, "%s", printed.data ? printed.data : "");
            px_str_free(&printed);
        }
        px_job_option *o = option_add(step, "set", PX_JOB_SET, item);
        o->given = o->value = job_text(arena, "%s=%s", key, text);
    }
    return px_arena_ok(arena);
}

static px_err *parse_value(const job_reader *r, cJSON *item, const char *name, px_job_kind kind,
                           const char *where, px_job_step *step) {
    if (kind == PX_JOB_FLAG) {
        if (!cJSON_IsBool(item))
            PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is a flag: true or false is wanted, not %s", where,
                    name, px_json_type(item));
        if (cJSON_IsTrue(item)) option_add(step, name, kind, item);
        return NULL;
    }
    const char *text = scalar_text(r->job->arena, item);
    if (!text || (cJSON_IsBool(item) && kind != PX_JOB_SET))
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %s; a text or a number is wanted", where, name,
                px_json_type(item));
    px_job_option *o = option_add(step, name, kind, item);
    o->given = o->value = text;
    return NULL;
}

static px_err *parse_option(const job_reader *r, cJSON *item, const job_command *command,
                            const char *where, px_job_step *step) {
    px_job_kind kind = PX_JOB_VALUE;
    const char *name = job_text(r->job->arena, "%s", item->string);
    cJSON *each = NULL;
    PX_PASS(job_option_kind(command, item->string, where, &kind));
    if (cJSON_IsNull(item)) return NULL;
    if (kind == PX_JOB_SET && cJSON_IsObject(item)) return parse_set(r, item, "", where, step);
    if (kind == PX_JOB_INPUT && (cJSON_IsObject(item) || cJSON_IsObject(item->child))) {
        px_job_option *o = option_add(step, name, PX_JOB_MADE, item);
        o->value = job_text(r->job->arena, "%s/.steps/%s.%s.json", r->job->dir, step->name, name);
        return NULL;
    }
    if (!cJSON_IsArray(item)) return parse_value(r, item, name, kind, where, step);
    if (kind == PX_JOB_CONFIG || kind == PX_JOB_OUT_FILE || kind == PX_JOB_OUT_DIR)
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is a list; one text is wanted", where, name);
    cJSON_ArrayForEach(each, item) PX_PASS(parse_value(r, each, name, kind, where, step));
    return NULL;
}

static px_err *parse_args(const job_reader *r, cJSON *list, const job_command *command,
                          const char *where, px_job_step *step) {
    cJSON *item = NULL;
    if (!list) return NULL;
    if (!cJSON_IsArray(list))
        PX_FAIL(PX_BAD_INPUT, "%s: \"args\" is %s; a list of texts is wanted", where,
                px_json_type(list));
    cJSON_ArrayForEach(item, list) {
        const char *text = scalar_text(r->job->arena, item);
        if (!text)
            PX_FAIL(PX_BAD_INPUT, "%s: \"args\" holds %s; texts are wanted", where,
                    px_json_type(item));
        px_job_kind kind = command->arguments;
        if (kind == PX_JOB_ACTION) kind = item == list->child ? PX_JOB_VALUE : PX_JOB_INPUT;
        px_job_option *o = option_add(step, "", kind, item);
        o->given = o->value = text;
    }
    return NULL;
}

/* --- a step --- */

static px_err *parse_env(const job_reader *r, const cJSON *env, const char *where,
                         px_job_step *step) {
    const cJSON *item = NULL;
    int n = 0;
    if (env && !cJSON_IsObject(env))
        PX_FAIL(PX_BAD_INPUT, "%s: \"env\" is %s; an object of texts is wanted", where,
                px_json_type(env));
    const char **list = px_take(r->job->arena, const char *, cJSON_GetArraySize(env) + 1);
    PX_PASS(px_arena_ok(r->job->arena));
    cJSON_ArrayForEach(item, env) {
        const char *value = scalar_text(r->job->arena, item);
        if (!value)
            PX_FAIL(PX_BAD_INPUT, "%s: env %s is %s; a text is wanted", where, item->string,
                    px_json_type(item));
        list[n++] = job_text(r->job->arena, "%s=%s", item->string, value);
    }
    step->env = list;
    return px_arena_ok(r->job->arena);
}

static px_err *parse_number(const cJSON *json, const char *key, const char *where, int least,
                            int missing, int *out) {
    int64_t n = missing;
    if (cJSON_HasObjectItem(json, key)) PX_PASS(px_json_i64(json, key, where, least, 1000000, &n));
    *out = (int)n;
    return NULL;
}

static px_err *parse_resources(const job_reader *r, const cJSON *json, const job_command *command,
                               const char *where, px_job_step *step) {
    const px_job_given *given = r->given;
    const char *text = NULL;
    int ranks = 1, threads = 0;
    PX_PASS(parse_number(r->job->json, "ranks", r->job->path, 1, 1, &ranks));
    PX_PASS(parse_number(r->job->json, "threads", r->job->path, 0, 0, &threads));
    PX_PASS(parse_number(json, "ranks", where, 1, ranks, &step->ranks));
    PX_PASS(parse_number(json, "threads", where, 0, threads, &step->threads));
    PX_PASS(parse_number(json, "gpus", where, 0, 0, &step->gpus));
    if (given && given->ranks) step->ranks = given->ranks;
    if (given && given->threads) step->threads = given->threads;
    step->mpi = command->mpi;
    step->resumes = command->resumes;
    if (!step->mpi) step->ranks = 1;
    if (cJSON_HasObjectItem(json, "time")) {
        PX_PASS(px_json_text(json, "time", where, &text));
        step->time = text;
    }
    if (cJSON_HasObjectItem(json, "memory")) {
        PX_PASS(px_json_text(json, "memory", where, &text));
        step->memory = text;
    }
    return parse_env(r, cJSON_GetObjectItemCaseSensitive(json, "env"), where, step);
}

static px_err *step_name_check(const char *name, const char *path) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (i && (c == '-' || c == '_' || c == '.'));
        if (!plain)
            PX_FAIL(PX_BAD_INPUT, "%s: step \"%.60s\": a name has letters, digits, - _ . alone",
                    path, name);
    }
    if (n == 0 || n > 100)
        PX_FAIL(PX_BAD_INPUT, "%s: a step's name has 1 to 100 letters, not %zu", path, n);
    return NULL;
}

px_err *job_step_parse(const job_reader *r, const cJSON *json, px_job_step *step) {
    px_arena *arena = r->job->arena;
    const job_command *command = NULL;
    const char *name = NULL;
    cJSON *item = NULL;
    char where[4300];
    PX_PASS(step_name_check(json->string, r->job->path));
    snprintf(where, sizeof where, "%s: step %s", r->job->path, json->string);
    if (!cJSON_IsObject(json))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object is wanted", where, px_json_type(json));
    PX_PASS(px_json_text(json, "command", where, &name));
    PX_PASS(job_command_get(name, where, &command));
    *step = (px_job_step){.name = job_text(arena, "%s", json->string), .command = command->name};
    if (cJSON_HasObjectItem(json, "about")) {
        PX_PASS(px_json_text(json, "about", where, &name));
        step->about = job_text(arena, "%s", name);
    }
    step->options = px_take(arena, px_job_option, leaves(json));
    step->inputs = px_take(arena, px_job_path, leaves(json));
    step->outputs = px_take(arena, px_job_path, 8);
    step->log_path = job_text(arena, "%s/logs/%s.log", r->job->dir, json->string);
    PX_PASS(px_arena_ok(arena));
    PX_PASS(parse_resources(r, json, command, where, step));
    PX_PASS(parse_args(r, cJSON_GetObjectItemCaseSensitive(json, "args"), command, where, step));
    cJSON_ArrayForEach(item, json) if (!is_one_of(item->string, step_keys, PX_COUNT(step_keys)))
        PX_PASS(parse_option(r, item, command, where, step));
    return px_arena_ok(arena);
}

/* --- the file --- */

static px_err *check_top(const px_job *job) {
    const cJSON *item = NULL;
    if (!cJSON_IsObject(job->json))
        PX_FAIL(PX_BAD_INPUT, "%s: is %s; an object with \"steps\" is wanted", job->path,
                px_json_type(job->json));
    cJSON_ArrayForEach(item, job->json) {
        if (is_one_of(item->string, top_keys, PX_COUNT(top_keys))) continue;
        int near = px_nearest(item->string, top_keys, (int)PX_COUNT(top_keys));
        PX_FAIL(PX_BAD_INPUT, "%s: no key \"%.60s\"%s%s%s", job->path, item->string,
                near >= 0 ? "; did you mean \"" : "", near >= 0 ? top_keys[near] : "",
                near >= 0 ? "\"?" : "");
    }
    return NULL;
}

/* "name", else the file's name without its ending. */
static px_err *take_name(px_job *job) {
    const char *name = NULL, *slash = strrchr(job->path, '/');
    if (cJSON_HasObjectItem(job->json, "name")) {
        PX_PASS(px_json_text(job->json, "name", job->path, &name));
        if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
            PX_FAIL(PX_BAD_INPUT, "%s: name \"%.60s\": a folder's name is wanted", job->path, name);
        job->name = job_text(job->arena, "%s", name);
        return NULL;
    }
    const char *base = slash ? slash + 1 : job->path;
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".json")) n -= 5;
    job->name = px_arena_text(job->arena, base, n);
    return NULL;
}

static px_err *take_places(const job_reader *r) {
    px_job *job = r->job;
    char here[4096];
    if (!getcwd(here, sizeof here)) PX_FAIL(PX_RUN_FAILED, "getcwd: %s", strerror(errno));
    PX_PASS(take_name(job));
    const char *dir =
        r->given && r->given->dir ? r->given->dir : job_text(job->arena, "runs/%s", job->name);
    return job_path_clean(job->arena, here, dir, &job->dir);
}

static px_err *take_steps(const job_reader *r) {
    px_job *job = r->job;
    const cJSON *vars = cJSON_GetObjectItemCaseSensitive(job->json, "vars");
    cJSON *steps = cJSON_GetObjectItemCaseSensitive(job->json, "steps"), *item = NULL;
    if (vars && !cJSON_IsObject(vars))
        PX_FAIL(PX_BAD_INPUT, "%s: \"vars\" is %s; an object is wanted", job->path,
                px_json_type(vars));
    if (!cJSON_IsObject(steps) || !steps->child)
        PX_FAIL(PX_BAD_INPUT, "%s: \"steps\" is %s; an object of named steps is wanted", job->path,
                cJSON_IsObject(steps) ? "empty" : px_json_type(steps));
    PX_PASS(check_given_vars(r, vars));
    job->steps = px_take(job->arena, px_job_step, cJSON_GetArraySize(steps));
    PX_PASS(px_arena_ok(job->arena));
    cJSON_ArrayForEach(item, steps) {
        char where[4300];
        snprintf(where, sizeof where, "%s: step %s", job->path, item->string);
        for (int i = 0; i < job->n_steps; i++)
            if (!strcmp(job->steps[i].name, item->string))
                PX_FAIL(PX_BAD_INPUT, "%s: is there twice", where);
        PX_PASS(substitute_below(r, vars, item, where));
        PX_PASS(job_step_parse(r, item, &job->steps[job->n_steps]));
        job->n_steps++;
    }
    return NULL;
}

static px_err *job_fill(job_reader *r, const char *path) {
    px_job *job = r->job;
    char here[4096];
    if (!getcwd(here, sizeof here)) PX_FAIL(PX_RUN_FAILED, "getcwd: %s", strerror(errno));
    PX_PASS(job_path_clean(job->arena, here, path, &job->path));
    char *copy = job_text(job->arena, "%s", job->path);
    PX_PASS(px_arena_ok(job->arena));
    r->dir_of_file = dirname(copy);
    PX_PASS(check_top(job));
    PX_PASS(take_places(r));
    PX_PASS(take_steps(r));
    PX_PASS(job_paths_resolve(r));
    PX_PASS(job_order(job));
    for (int i = 0; i < job->n_steps; i++) {
        PX_TRY(job_config_check(&job->steps[i]), "%s: step %s", job->path, job->steps[i].name);
    }
    PX_PASS(job_json_resolved(job));
    return px_arena_ok(job->arena);
}

px_err *px_job_take(const cJSON *json, const char *path, const px_job_given *given, px_job *out) {
    *out = (px_job){0};
    job_reader r = {.job = out, .given = given};
    px_err *err = px_arena_new(65536, &out->arena);
    if (!err) out->json = cJSON_Duplicate(json, true);
    if (!err && !out->json) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = job_fill(&r, path);
    if (err) px_job_free(out);
    return err;
}

px_err *px_job_read(const char *path, const px_job_given *given, px_job *out) {
    cJSON *json = NULL;
    px_err *err = NULL;
    char *file = px_path_is_dir(path) ? px_path_join(path, "job.json") : strdup(path);
    px_job_given with_dir = given ? *given : (px_job_given){0};
    *out = (px_job){0};
    if (!file) PX_NO_MEMORY();
    if (px_path_is_dir(path)) {
        if (!px_path_exists(file))
            PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no job folder (job.json is missing)", path);
        if (!with_dir.dir) with_dir.dir = path;
    }
    PX_PASS_TO(done, px_json_read(file, true, &json));
    err = px_job_take(json, file, &with_dir, out);
done:
    cJSON_Delete(json);
    free(file);
    return err;
}

px_err *px_job_open(const char *path, const px_job_given *given, px_job *out) {
    px_job where = {0};
    px_job_given with_dir = given ? *given : (px_job_given){0};
    job_reader r = {.job = &where, .given = &with_dir};
    px_err *err = NULL;
    *out = (px_job){0};
    if (px_path_is_dir(path)) return px_job_read(path, given, out);
    PX_PASS_TO(done, px_arena_new(4096, &where.arena));
    PX_PASS_TO(done, px_json_read(path, true, &where.json));
    where.path = path;
    PX_PASS_TO(done, check_top(&where));
    PX_PASS_TO(done, take_places(&r));
    with_dir.dir = where.dir;
    const char *kept = job_text(where.arena, "%s/job.json", where.dir);
    err = px_job_read(kept && px_path_exists(kept) ? where.dir : path, &with_dir, out);
done:
    px_job_free(&where);
    return err;
}

void px_job_free(px_job *job) {
    cJSON_Delete(job->json);
    job_hashes_free(job->hashes);
    px_arena_free(job->arena);
    *job = (px_job){0};
}
