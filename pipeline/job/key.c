/* key.c - all that a step's result hangs on: the program's result version, command, options,
 * configuration, the content of inputs. Ranks, threads, paths and logging are not among it. A step
 * whose key is the one that it was done with need not run. */
#include "job_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- configuration --- */

/* The configuration of a step over the defaults; *given: what the file holds and the assignments.
 */
static px_err *config_load(const px_job_step *step, px_config *config) {
    PX_PASS(px_config_init(config));
    px_err *err = NULL;
    for (int i = 0; !err && i < step->n_options; i++)
        if (step->options[i].kind == PX_JOB_CONFIG)
            err = px_config_read(config, step->options[i].value);
    for (int i = 0; !err && i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        if (o->kind != PX_JOB_SET) continue;
        err = px_config_set(config, o->value);
        if (err) err = px_err_add(err, __FILE__, __LINE__, "set %s", o->value);
    }
    if (err) px_config_fini(config);
    return err;
}

px_err *job_config_check(const px_job_step *step) {
    px_config config;
    PX_PASS(config_load(step, &config));
    px_config_fini(&config);
    return NULL;
}

/* Every key of a configuration that can change results → its text. */
static px_err *config_flat(const px_config *config, cJSON *out) {
    px_str text = {0};
    cJSON *json = NULL;
    px_config_print(config, &text);
    px_err *err = px_str_ok(&text);
    if (!err) err = px_json_parse(text.data, text.size, &json);
    if (!err) err = job_config_flat(json, "", false, out);
    cJSON_Delete(json);
    px_str_free(&text);
    return err;
}

/* What is given, as it stands: for commands that work over a run's own configuration. */
static px_err *config_given(const px_job_step *step, cJSON *out) {
    for (int i = 0; i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        cJSON *json = NULL;
        if (o->kind != PX_JOB_CONFIG) continue;
        PX_PASS(px_json_read(o->value, true, &json));
        px_err *err = job_config_flat(json, "", false, out);
        cJSON_Delete(json);
        PX_PASS(err);
    }
    for (int i = 0; i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        if (o->kind != PX_JOB_SET) continue;
        const char *is = strchr(o->value, '=');
        cJSON *one = cJSON_CreateObject(), *value = NULL;
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(is ? is - o->value : 0), o->value);
        const char *text = is ? is + 1 : "";
        px_err *err = px_json_parse(text, strlen(text), &value);
        px_err_free(err); /* a bare word */
        cJSON_AddItemToObject(one, name, value ? value : cJSON_CreateString(text));
        err = job_config_flat(one, "", false, out);
        cJSON_Delete(one);
        PX_PASS(err);
    }
    return NULL;
}

static bool has_prefix(const char *key, const char *prefixes) {
    if (!*prefixes) return true;
    for (const char *at = prefixes; *at;) {
        size_t n = strcspn(at, " ");
        if (!strncmp(key, at, n)) return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

static bool has_option(const px_job_step *step, const char *name) {
    for (int i = 0; i < step->n_options; i++)
        if (!strcmp(step->options[i].name, name)) return true;
    return false;
}

static px_err *part_add(cJSON *parts, const char *name, const char *value) {
    if (!cJSON_AddStringToObject(parts, name, value)) PX_NO_MEMORY();
    return NULL;
}

/* Only what is not the default: a key that a later program adds changes no step. */
static px_err *config_parts(const px_job_step *step, const job_command *command, cJSON *parts) {
    px_config config, defaults;
    cJSON *now = cJSON_CreateObject(), *usual = cJSON_CreateObject();
    const cJSON *item = NULL;
    char name[300];
    px_err *err = NULL;
    if (command->resolves) {
        PX_PASS_TO(done, config_load(step, &config));
        err = config_flat(&config, now);
        px_config_fini(&config);
        if (!err) err = px_config_init(&defaults);
        PX_PASS_TO(done, err);
        err = config_flat(&defaults, usual);
        px_config_fini(&defaults);
    } else {
        err = config_given(step, now);
    }
    cJSON_ArrayForEach(item, now) {
        const char *before = px_json_find_text(usual, item->string);
        bool shadowed = !strcmp(item->string, "model.path") && has_option(step, "model");
        if (err || shadowed || !has_prefix(item->string, command->keys)) continue;
        if (before && !strcmp(before, item->valuestring)) continue;
        snprintf(name, sizeof name, "set %s", item->string);
        err = part_add(parts, name, item->valuestring);
    }
done:
    cJSON_Delete(now);
    cJSON_Delete(usual);
    return err;
}

/* --- options and inputs --- */

static px_err *option_parts(const px_job_step *step, cJSON *parts) {
    for (int i = 0; i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        char name[300];
        int nth = 1;
        if (o->kind == PX_JOB_INPUT || o->kind == PX_JOB_CONFIG || o->kind == PX_JOB_SET) continue;
        for (int k = 0; k < i; k++) nth += !strcmp(step->options[k].name, o->name);
        snprintf(name, sizeof name, "option %s%s", *o->name ? "--" : "argument", o->name);
        if (nth > 1) snprintf(name + strlen(name), sizeof name - strlen(name), " (%d)", nth);
        PX_PASS(part_add(parts, name, o->given ? o->given : "true"));
    }
    return NULL;
}

static void input_name(const px_job_step *step, int i, char out[300]) {
    int nth = 1;
    for (int k = 0; k < i; k++) nth += !strcmp(step->inputs[k].name, step->inputs[i].name);
    snprintf(out, 300, "input %s", step->inputs[i].name);
    if (nth > 1) snprintf(out + strlen(out), 300 - strlen(out), " (%d)", nth);
}

static px_err *input_parts(px_job *job, const px_job_step *step, cJSON *parts) {
    for (int i = 0; i < step->n_inputs; i++) {
        px_digest digest;
        const char *stamp = NULL;
        char name[300];
        input_name(step, i, name);
        PX_TRY(job_digest(job, step->inputs[i].path, &digest, &stamp), "%s", step->inputs[i].path);
        PX_PASS(part_add(parts, name, digest.hex));
    }
    return NULL;
}

/* Steps that are needed but whose outputs are not named as inputs (evaluations that a report finds
 * in the run folder): what they left counts too. */
static px_err *need_parts(px_job *job, const px_job_step *step, cJSON *parts) {
    for (int k = 0; k < step->n_needs; k++) {
        const px_job_step *need = &job->steps[step->needs[k]];
        px_str all = {0};
        bool named = false;
        char name[300];
        for (int i = 0; i < step->n_inputs; i++)
            named = named || step->inputs[i].made_by == step->needs[k];
        for (int i = 0; !named && i < need->n_outputs; i++) {
            px_digest digest;
            const char *stamp = NULL;
            PX_PASS(job_digest(job, need->outputs[i].path, &digest, &stamp));
            px_str_text(&all, digest.hex);
        }
        snprintf(name, sizeof name, "step %s", need->name);
        px_err *err = named || !all.size ? NULL : part_add(parts, name, all.data);
        px_str_free(&all);
        PX_PASS(err);
    }
    return NULL;
}

static int by_name(const void *a, const void *b) {
    const cJSON *x = *(cJSON *const *)a, *y = *(cJSON *const *)b;
    return strcmp(x->string, y->string);
}

/* The order of options in the file means nothing. */
static px_err *parts_sort(cJSON *parts) {
    int n = cJSON_GetArraySize(parts), k = 0;
    cJSON **list = malloc(sizeof *list * (size_t)(n + 1));
    if (!list) PX_NO_MEMORY();
    while (parts->child) list[k++] = cJSON_DetachItemViaPointer(parts, parts->child);
    qsort(list, (size_t)k, sizeof *list, by_name);
    for (int i = 0; i < k; i++) cJSON_AddItemToArray(parts, list[i]);
    free(list);
    return NULL;
}

px_err *job_key_parts(px_job *job, int i, cJSON **out) {
    const px_job_step *step = &job->steps[i];
    const job_command *command = job_command_find(step->command);
    char version[16];
    cJSON *parts = cJSON_CreateObject();
    if (!parts) PX_NO_MEMORY();
    snprintf(version, sizeof version, "%d", PX_RESULT_VERSION);
    px_err *err = part_add(parts, "result version", version);
    if (!err) err = part_add(parts, "command", step->command);
    if (!err) err = option_parts(step, parts);
    if (!err) err = config_parts(step, command, parts);
    if (!err) err = input_parts(job, step, parts);
    if (!err) err = need_parts(job, step, parts);
    if (!err) err = parts_sort(parts);
    if (err) cJSON_Delete(parts);
    *out = err ? NULL : parts;
    return err;
}

px_err *job_key_hash(const cJSON *parts, px_digest *out) {
    px_sha *sha = NULL;
    const cJSON *item = NULL;
    PX_PASS(px_sha_new(&sha));
    cJSON_ArrayForEach(item, parts) {
        px_sha_text(sha, item->string);
        px_sha_text(sha, item->valuestring);
    }
    return px_sha_end(sha, out);
}

/* --- reasons --- */

void job_why_add(px_str *why, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    px_str_format(why, "%s%s", why->size ? ", " : "", text);
}

/* The path as the job file has it. */
static const char *input_given(const px_job_step *step, const char *part) {
    char name[300];
    for (int i = 0; i < step->n_inputs; i++) {
        input_name(step, i, name);
        if (!strcmp(name, part)) return step->inputs[i].given;
    }
    return part + strlen("input ");
}

static void compare_one(const px_job_step *step, const char *name, const char *before,
                        const char *now, px_str *why) {
    if (!strcmp(name, "result version"))
        job_why_add(why, "the program's result version is %s, it was %s", now ? now : "none",
                    before ? before : "none");
    else if (!strcmp(name, "command"))
        job_why_add(why, "it was another command (%s)", before ? before : "none");
    else if (!strncmp(name, "input ", 6) && now && !*now)
        job_why_add(why, "%s is not there", input_given(step, name));
    else if (!strncmp(name, "input ", 6))
        job_why_add(why, "%s has changed", input_given(step, name));
    else if (!strncmp(name, "step ", 5))
        job_why_add(why, "%s has other results", name);
    else if (!strncmp(name, "set ", 4) && before && now)
        job_why_add(why, "%s has changed (%.40s to %.40s)", name + 4, before, now);
    else if (!strncmp(name, "set ", 4))
        job_why_add(why, "%s has changed (%.40s)", name + 4, now ? now : "to its default");
    else
        job_why_add(why, "%s has %s", name,
                    !before ? "been added"
                    : !now  ? "been taken out"
                            : "changed");
}

void job_key_compare(const px_job_step *step, const cJSON *before, const cJSON *now, px_str *why) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, now) {
        const char *old = px_json_find_text(before, item->string);
        if (!old || strcmp(old, item->valuestring) != 0)
            compare_one(step, item->string, old, item->valuestring, why);
    }
    cJSON_ArrayForEach(item,
                       before) if (!px_json_find_text(now, item->string) && cJSON_IsString(item))
        compare_one(step, item->string, item->valuestring, NULL, why);
}
