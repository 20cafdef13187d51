/* paths.c - what paths in a job file mean. Outputs lie in the job folder; an input is another
 * step's output, or is looked for from the current folder, from the job file's and its parent, and
 * where the program was installed. */
#include "job_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

px_err *job_path_clean(px_arena *arena, const char *base, const char *path, const char **out) {
    char *text = job_text(arena, "%s/%s", *path == '/' ? "" : base, path);
    PX_PASS(px_arena_ok(arena));
    size_t n = 0;
    for (const char *at = text; *at;) {
        at += strspn(at, "/");
        size_t size = strcspn(at, "/");
        if (size == 2 && !strncmp(at, "..", 2)) {
            while (n > 0 && text[--n] != '/') continue;
        } else if (size > 0 && !(size == 1 && *at == '.')) {
            text[n++] = '/';
            memmove(text + n, at, size); /* never ahead of at */
            n += size;
        }
        at += size;
    }
    if (n == 0) text[n++] = '/';
    text[n] = 0;
    *out = text;
    return NULL;
}

/* "a" is "a" itself or lies below it. */
static bool lies_in(const char *path, const char *folder) {
    size_t n = strlen(folder);
    return !strncmp(path, folder, n) && (path[n] == 0 || path[n] == '/');
}

/* --- outputs --- */

static px_err *output_add(const px_job *job, px_job_step *step, const char *name, const char *path,
                          const char *given) {
    if (step->n_outputs >= 8)
        PX_FAIL(PX_BAD_INPUT, "%s: step %s: more than 8 outputs", job->path, step->name);
    step->outputs[step->n_outputs++] =
        (px_job_path){.name = name, .path = path, .given = given, .made_by = -1};
    return NULL;
}

/* What a command writes beside its output: "a.h5" → "a.json", or several. */
static px_err *beside_add(const px_job *job, px_job_step *step, const px_job_option *o) {
    const job_command *command = job_command_find(step->command);
    const char *ending = strchr(command->beside, ':');
    size_t n = ending ? (size_t)(ending - command->beside) : 0;
    if (!ending || strlen(o->name) != n || strncmp(o->name, command->beside, n) != 0) return NULL;
    const char *texts[2] = {o->value, o->given}, *made[2];
    while (*ending) {
        const int length = (int)strcspn(++ending, ",");
        for (int i = 0; i < 2; i++) {
            const char *slash = strrchr(texts[i], '/'),
                       *dot = strrchr(slash ? slash : texts[i], '.');
            size_t stem = dot ? (size_t)(dot - texts[i]) : strlen(texts[i]);
            made[i] = job_text(job->arena, "%.*s%.*s", (int)stem, texts[i], length, ending);
        }
        PX_PASS(px_arena_ok(job->arena));
        PX_PASS(output_add(job, step, o->name, made[0], made[1]));
        ending += length;
    }
    return NULL;
}

static px_err *outputs_resolve(px_job *job, px_job_step *step) {
    for (int i = 0; i < step->n_options; i++) {
        px_job_option *o = &step->options[i];
        if (o->kind != PX_JOB_OUT_FILE && o->kind != PX_JOB_OUT_DIR) continue;
        if (!*o->given)
            PX_FAIL(PX_BAD_INPUT, "%s: step %s: \"%s\" is empty", job->path, step->name, o->name);
        PX_PASS(job_path_clean(job->arena, job->dir, o->given, &o->value));
        if (!strcmp(o->value, job->dir) || lies_in(job->dir, o->value))
            PX_FAIL(PX_BAD_INPUT, "%s: step %s: \"%s\" may not be the job folder or lie above it",
                    job->path, step->name, o->name);
        PX_PASS(output_add(job, step, o->name, o->value, o->given));
        PX_PASS(beside_add(job, step, o));
    }
    return NULL;
}

/* Two steps that write one place would undo one another. */
static px_err *outputs_check(const px_job *job) {
    for (int a = 0; a < job->n_steps; a++)
        for (int b = 0; b < a; b++)
            for (int i = 0; i < job->steps[a].n_outputs; i++)
                for (int k = 0; k < job->steps[b].n_outputs; k++) {
                    const char *x = job->steps[a].outputs[i].path,
                               *y = job->steps[b].outputs[k].path;
                    if (!strcmp(x, y))
                        PX_FAIL(PX_BAD_INPUT, "%s: steps %s and %s both write %s", job->path,
                                job->steps[b].name, job->steps[a].name, x);
                }
    return NULL;
}

/* --- inputs --- */

/* The step whose output `path` is or lies in; -1: none. */
static int maker_of(const px_job *job, const char *path) {
    int best = -1;
    size_t longest = 0;
    for (int i = 0; i < job->n_steps; i++)
        for (int k = 0; k < job->steps[i].n_outputs; k++) {
            const char *out = job->steps[i].outputs[k].path;
            if (lies_in(path, out) && strlen(out) > longest) {
                best = i;
                longest = strlen(out);
            }
        }
    return best;
}

static px_err *here(char out[4096]) {
    if (!getcwd(out, 4096)) PX_FAIL(PX_RUN_FAILED, "getcwd: %s", strerror(errno));
    return NULL;
}

/* PREFIX/share/prismx of PREFIX/bin/prismx; "" where that is not known. */
static const char *share_folder(px_arena *arena) {
    char self[4096];
    const char *out = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 32);
    if (n <= 0) return "";
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (!slash) return "";
    memcpy(slash, "/../share/prismx", sizeof "/../share/prismx");
    px_err *err = job_path_clean(arena, "/", self, &out);
    px_err_free(err);
    return err ? "" : out;
}

px_err *job_file_find(px_arena *arena, const char *dir_of_file, const char *given, bool *found,
                      const char **path, px_str *looked) {
    char current[4096];
    const char *from[4] = {current, dir_of_file, NULL, share_folder(arena)};
    PX_PASS(here(current));
    PX_PASS(job_path_clean(arena, dir_of_file, "..", &from[2]));
    *found = true;
    for (int i = 0; i < 4; i++) {
        if (!*from[i] || (i > 0 && *given == '/')) continue;
        PX_PASS(job_path_clean(arena, from[i], given, path));
        if (px_path_exists(*path)) return NULL;
        if (looked) px_str_format(looked, "%s%s", looked->size ? ", " : "", *path);
    }
    *found = false;
    return NULL;
}

/* An input's place, and who makes it. */
static px_err *input_find(const job_reader *r, const px_job_step *step, const char *name,
                          const char *given, const char **path, int *made_by) {
    px_job *job = r->job;
    px_str looked = {0};
    bool found = false;
    if (!*given) PX_FAIL(PX_BAD_INPUT, "%s: step %s: \"%s\" is empty", job->path, step->name, name);
    PX_PASS(job_path_clean(job->arena, job->dir, given, path));
    *made_by = maker_of(job, *path);
    if (*made_by >= 0) return NULL;
    px_err *err = job_file_find(job->arena, r->dir_of_file, given, &found, path, &looked);
    if (!err && !found)
        err =
            px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                       "%s: step %s: \"%s\": no step makes %s, and it is not there: looked for %s",
                       job->path, step->name, name, given, looked.data ? looked.data : "");
    px_str_free(&looked);
    return err;
}

static px_err *input_add(const job_reader *r, px_job_step *step, const char *name, cJSON *json,
                         const char *given, const char **value) {
    px_job_path *input = &step->inputs[step->n_inputs];
    *input = (px_job_path){.name = name, .given = given};
    PX_PASS(input_find(r, step, name, given, &input->path, &input->made_by));
    step->n_inputs++;
    if (value) *value = input->path;
    if (input->made_by < 0 && !cJSON_SetValuestring(json, input->path)) PX_NO_MEMORY();
    return NULL;
}

/* Runs and models that an inline file names: {"arms": [{"run": …, "model": …}], "summary":
 * {"model"}}. `made` is the file as it will be written, with absolute paths. */
static px_err *made_inputs(const job_reader *r, px_job_step *step, const px_job_option *o,
                           cJSON *item, cJSON *made, const char *where) {
    static const char *const keys[] = {"run", "model"};
    for (size_t k = 0; k < PX_COUNT(keys); k++) {
        cJSON *path = cJSON_GetObjectItemCaseSensitive(item, keys[k]);
        const char *found = NULL;
        if (!cJSON_IsString(path)) continue;
        const char *given = job_text(r->job->arena, "%s", path->valuestring);
        const char *name = job_text(r->job->arena, "%s %s %s", o->name, where, keys[k]);
        PX_PASS(px_arena_ok(r->job->arena));
        PX_PASS(input_add(r, step, name, path, given, &found));
        if (!cJSON_SetValuestring(cJSON_GetObjectItemCaseSensitive(made, keys[k]), found))
            PX_NO_MEMORY();
    }
    return NULL;
}

/* A list of arms alone stands for {"arms": list}. */
static px_err *made_resolve(const job_reader *r, px_job_step *step, px_job_option *o) {
    px_str text = {0};
    px_err *err = NULL;
    cJSON *made = cJSON_Duplicate(o->json, true);
    px_json_print(o->json, &text);
    o->given = job_text(r->job->arena, "%s", text.data ? text.data : "");
    px_str_clear(&text);
    bool bare = cJSON_IsArray(o->json);
    cJSON *from = bare ? o->json : cJSON_GetObjectItemCaseSensitive(o->json, "arms"), *item = NULL;
    cJSON *to = bare ? made : cJSON_GetObjectItemCaseSensitive(made, "arms");
    cJSON *copy = to ? to->child : NULL;
    cJSON_ArrayForEach(item, from) {
        const char *name = px_json_find_text(item, "name");
        PX_PASS_TO(done, made_inputs(r, step, o, item, copy, name ? name : ""));
        copy = copy->next;
    }
    PX_PASS_TO(done, made_inputs(r, step, o, cJSON_GetObjectItemCaseSensitive(o->json, "summary"),
                                 cJSON_GetObjectItemCaseSensitive(made, "summary"), "summary"));
    if (bare) px_str_text(&text, "{\"arms\": ");
    px_json_print_pretty(made, &text);
    px_str_text(&text, bare ? "}\n" : "\n");
    PX_PASS_TO(done, px_str_ok(&text));
    o->content = job_text(r->job->arena, "%s", text.data);
    err = px_arena_ok(r->job->arena);
done:
    cJSON_Delete(made);
    px_str_free(&text);
    return err;
}

static px_err *step_resolve(const job_reader *r, px_job_step *step) {
    for (int i = 0; i < step->n_options; i++) {
        px_job_option *o = &step->options[i];
        if (o->kind == PX_JOB_MADE) PX_PASS(made_resolve(r, step, o));
        if (o->kind == PX_JOB_INPUT) {
            const char *name = *o->name ? o->name : "args";
            PX_PASS(input_add(r, step, name, o->json, o->given, &o->value));
        }
        if (o->kind != PX_JOB_CONFIG) continue;
        int made_by = -1;
        PX_PASS(input_find(r, step, o->name, o->given, &o->value, &made_by));
        if (made_by >= 0)
            PX_FAIL(PX_BAD_INPUT, "%s: step %s: a configuration cannot be another step's output",
                    r->job->path, step->name);
        if (!cJSON_SetValuestring(o->json, o->value)) PX_NO_MEMORY();
    }
    return NULL;
}

px_err *job_paths_resolve(const job_reader *r) {
    px_job *job = r->job;
    for (int i = 0; i < job->n_steps; i++) PX_PASS(outputs_resolve(job, &job->steps[i]));
    PX_PASS(outputs_check(job));
    for (int i = 0; i < job->n_steps; i++) PX_PASS(step_resolve(r, &job->steps[i]));
    return NULL;
}

px_err *px_job_words(const px_job_step *step, const char *again, px_arena *arena,
                     const char *const **out) {
    const char **words = px_take(arena, const char *, step->n_options + 3);
    int n = 0;
    PX_PASS(px_arena_ok(arena));
    words[n++] = step->command;
    for (int i = 0; i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        if (!*o->name) continue;
        words[n++] = o->value ? job_text(arena, "--%s=%s", o->name, o->value)
                              : job_text(arena, "--%s", o->name);
    }
    if (again) words[n++] = again;
    for (int i = 0; i < step->n_options; i++)
        if (!*step->options[i].name) words[n++] = step->options[i].value;
    *out = words;
    return px_arena_ok(arena);
}
