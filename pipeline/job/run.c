/* run.c - what has to run and why, and running it in order. See job.h.
 *
 *   never --run--> running --0--> done          a step is run again where its key (key.c) is not
 * the |  |                        one it was done with, where an output is missing, |  +--signal-->
 * stopped     or where it did not end well
 *                    +--else--> failed
 * The state is "running", with the key, before the child starts: a step that this process did not
 * live to see the end of is found so, and goes on with --resume where the key is still the same. */
#include "job_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dist.h"

enum { STEP_WAIT_S = 60 }; /* for what a killed job left running, which ends at its next step */

/* --- why --- */

static bool output_there(const px_job_path *output, bool is_run) {
    cJSON *manifest = NULL;
    if (!px_path_exists(output->path)) return false;
    if (!is_run) return true;
    px_err *err = px_manifest_read(output->path, &manifest);
    bool there = !err && px_json_find_text(manifest, "params_sha256");
    px_err_free(err);
    cJSON_Delete(manifest);
    return there;
}

static const cJSON *file_named(const cJSON *state, const char *path) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(state, "files")) {
        const char *name = px_json_find_text(item, "path");
        if (name && !strcmp(name, path)) return item;
    }
    return NULL;
}

/* A run folder's later changes (users forget) are not undone by training again. */
static px_err *why_outputs(px_job *job, const px_job_step *step, const cJSON *state, px_str *why) {
    bool trains = !strcmp(step->command, "train");
    for (int i = 0; i < step->n_outputs; i++) {
        const px_job_path *output = &step->outputs[i];
        px_digest digest;
        const char *stamp = NULL;
        if (!output_there(output, trains)) {
            job_why_add(why, "%s is missing", output->given);
            continue;
        }
        if (trains) continue;
        const char *before = px_json_find_text(file_named(state, output->path), "sha256");
        PX_PASS(job_digest(job, output->path, &digest, &stamp));
        if (before && strcmp(before, digest.hex) != 0)
            job_why_add(why, "%s is not as the step left it", output->given);
    }
    return NULL;
}

static void why_status(const cJSON *state, px_str *why) {
    const char *status = px_json_find_text(state, "status");
    if (!status || !strcmp(status, "done")) return;
    if (!strcmp(status, "running"))
        job_why_add(why, "it was interrupted");
    else if (!strcmp(status, "stopped"))
        job_why_add(why, "it was stopped");
    else
        job_why_add(why, "it failed the last time (exit %d)",
                    (int)px_json_find_f64(state, "code", 1));
}

static px_err *why_from(px_job *job, int i, const cJSON *state, const cJSON *parts, px_str *why) {
    const px_job_step *step = &job->steps[i];
    if (!state) {
        job_why_add(why, "never run");
        return NULL;
    }
    job_key_compare(step, cJSON_GetObjectItemCaseSensitive(state, "parts"), parts, why);
    why_status(state, why);
    return why->size ? NULL : why_outputs(job, step, state, why);
}

px_err *px_job_why(px_job *job, int step, px_str *why) {
    cJSON *parts = NULL, *state = job_state_read(job, step);
    px_err *err = job_key_parts(job, step, &parts);
    if (!err) err = why_from(job, step, state, parts, why);
    if (!err) err = px_str_ok(why);
    cJSON_Delete(parts);
    cJSON_Delete(state);
    return err;
}

/* --- one step --- */

typedef struct {
    px_job *job;
    const px_job_run_options *options;
    bool *runs; /* [n_steps] ran, or would */
} runner;

static px_err *set_number(cJSON *json, const char *name, double value) {
    cJSON_DeleteItemFromObjectCaseSensitive(json, name);
    if (!cJSON_AddNumberToObject(json, name, value)) PX_NO_MEMORY();
    return NULL;
}

static px_err *set_text(cJSON *json, const char *name, const char *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(json, name);
    if (!cJSON_AddStringToObject(json, name, value)) PX_NO_MEMORY();
    return NULL;
}

/* Digests of inputs and outputs, so that nobody reads those files again. */
static px_err *state_files(px_job *job, const px_job_step *step, bool outputs, cJSON *state) {
    cJSON_DeleteItemFromObjectCaseSensitive(state, "files");
    cJSON *list = cJSON_AddArrayToObject(state, "files");
    if (!list) PX_NO_MEMORY();
    for (int i = 0; i < step->n_inputs + (outputs ? step->n_outputs : 0); i++) {
        const px_job_path *file =
            i < step->n_inputs ? &step->inputs[i] : &step->outputs[i - step->n_inputs];
        px_digest digest;
        const char *stamp = NULL;
        PX_PASS(job_digest(job, file->path, &digest, &stamp));
        cJSON *item = cJSON_CreateObject();
        if (!item || !cJSON_AddItemToArray(list, item)) PX_NO_MEMORY();
        PX_PASS(set_text(item, "path", file->path));
        PX_PASS(set_text(item, "stamp", stamp));
        PX_PASS(set_text(item, "sha256", digest.hex));
    }
    return NULL;
}

static px_err *state_begin(px_job *job, int i, const cJSON *before, cJSON *parts, cJSON *state) {
    const px_job_step *step = &job->steps[i];
    px_digest key;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    PX_PASS(job_key_hash(parts, &key));
    const char *key_before = px_json_find_text(before, "key");
    bool same = key_before && !strcmp(key_before, key.hex);
    PX_PASS(set_text(state, "step", step->name));
    PX_PASS(set_text(state, "command", step->command));
    PX_PASS(set_text(state, "status", "running"));
    PX_PASS(set_text(state, "key", key.hex));
    PX_PASS(set_number(state, "starts", same ? px_json_find_f64(before, "starts", 0) + 1 : 1));
    PX_PASS(set_number(state, "started_s", (double)time(NULL)));
    PX_PASS(set_number(state, "ranks", step->ranks));
    PX_PASS(set_number(state, "threads", step->threads));
    PX_PASS(set_text(state, "host", host));
    const char *slurm = getenv("SLURM_JOB_ID");
    if (slurm) PX_PASS(set_text(state, "slurm_job", slurm));
    PX_PASS(set_text(state, "log", step->log_path));
    if (!cJSON_AddItemToObject(state, "parts", cJSON_Duplicate(parts, true))) PX_NO_MEMORY();
    PX_PASS(state_files(job, step, false, state));
    return job_state_write(job, i, state);
}

/* An output, or what its command has kept of it so far beside it. */
static bool is_begun(const char *out) {
    px_str parts = {0};
    px_str_format(&parts, "%s.parts", out);
    const bool begun = px_path_exists(out) || (parts.data && px_path_exists(parts.data));
    px_str_free(&parts);
    return begun;
}

/* What a command that keeps its place is told: --resume only where what is there was begun with the
 * same key and not ended. Something that this job has not made is not overwritten. */
static px_err *how_again(const px_job *job, const px_job_step *step, const cJSON *before,
                         const cJSON *parts, const char **again) {
    px_digest key;
    const char *out = step->n_outputs ? step->outputs[0].path : "";
    *again = NULL;
    if (!step->resumes || !is_begun(out)) return NULL;
    const char *key_before = px_json_find_text(before, "key");
    const char *status = px_json_find_text(before, "status");
    if (!key_before)
        PX_FAIL(
            PX_BAD_INPUT,
            "step %s: %s is there, and this job has no record of having made it: move or remove "
            "it, or give another \"out\" (job folder %s)",
            step->name, out, job->dir);
    PX_PASS(job_key_hash(parts, &key));
    bool same = !strcmp(key_before, key.hex);
    *again = same && status && strcmp(status, "done") != 0 ? "--resume" : "--overwrite";
    return NULL;
}

/* Folders that outputs go into, and the small files that stand in the job file. */
static px_err *step_files(const px_job *job, const px_job_step *step) {
    for (int i = 0; i < step->n_outputs; i++) {
        const char *slash = strrchr(step->outputs[i].path, '/');
        const char *dir = job_text(job->arena, "%.*s", (int)(slash - step->outputs[i].path),
                                   step->outputs[i].path);
        PX_PASS(px_arena_ok(job->arena));
        if (*dir) PX_PASS(px_dir_make(dir));
    }
    for (int i = 0; i < step->n_options; i++) {
        const px_job_option *o = &step->options[i];
        if (o->kind == PX_JOB_MADE)
            PX_PASS(job_file_write(o->value, o->content, strlen(o->content)));
    }
    return NULL;
}

/* The last line of a log that says something, for the error's text; "" where there is none. */
static const char *last_line(const px_job *job, const char *path) {
    char tail[4096];
    FILE *file = fopen(path, "rb");
    if (!file) return "";
    fseek(file, 0, SEEK_END);
    long size = ftell(file), from = PX_MAX(0, size - (long)sizeof tail + 1);
    fseek(file, from, SEEK_SET);
    size_t n = fread(tail, 1, sizeof tail - 1, file);
    fclose(file);
    tail[n] = 0;
    char *best = NULL, *rest = tail, *line;
    while ((line = strsep(&rest, "\n"))) {
        bool told = !strncmp(line, "error: ", 7) || !strncmp(line, "stopped: ", 9);
        if (told) best = line;
    }
    return best ? job_text(job->arena, "%.600s", best) : "";
}

static px_err *step_failed(const px_job *job, const px_job_step *step, const px_launch_end *end) {
    const char *line = last_line(job, step->log_path);
    if (end->stopped || end->code == PX_STOPPED)
        PX_FAIL(PX_STOPPED, "step %s was stopped%s; run again goes on from here (%s)", step->name,
                step->resumes ? ", its checkpoint is written" : "", step->log_path);
    px_kind kind = end->code == PX_BAD_INPUT ? PX_BAD_INPUT : PX_RUN_FAILED;
    PX_FAIL(kind, "step %s failed (exit %d): %s%s%s", step->name, end->code, step->log_path,
            *line ? ": " : "", line);
}

static px_err *state_end(px_job *job, int i, const px_launch_end *end, double took_s,
                         cJSON *state) {
    px_step_status status = end->code == 0                            ? PX_STEP_DONE
                            : end->stopped || end->code == PX_STOPPED ? PX_STEP_STOPPED
                                                                      : PX_STEP_FAILED;
    PX_PASS(set_text(state, "status", px_step_status_name(status)));
    PX_PASS(set_number(state, "code", end->code));
    PX_PASS(set_number(state, "ended_s", (double)time(NULL)));
    PX_PASS(set_number(state, "took_s", took_s));
    if (end->code == 0) PX_PASS(state_files(job, &job->steps[i], true, state));
    return job_state_write(job, i, state);
}

static px_err *outputs_made(const px_job_step *step) {
    for (int i = 0; i < step->n_outputs; i++)
        if (!px_path_exists(step->outputs[i].path))
            PX_FAIL(PX_RUN_FAILED, "step %s ended well, but %s is not there (%s)", step->name,
                    step->outputs[i].path, step->log_path);
    return NULL;
}

static px_err *step_run(runner *r, int i, const cJSON *before, cJSON *parts) {
    px_job *job = r->job;
    const px_job_step *step = &job->steps[i];
    const char *again = NULL, *const *words = NULL;
    cJSON *state = cJSON_CreateObject();
    px_launch_end end;
    px_err *err = state ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, err);
    PX_PASS_TO(done, how_again(job, step, before, parts, &again));
    PX_PASS_TO(done, px_job_words(step, again, job->arena, &words));
    PX_PASS_TO(done, step_files(job, step));
    PX_PASS_TO(done, state_begin(job, i, before, parts, state));
    px_launch_job launch = {.words = words,
                            .env = step->env,
                            .log_path = step->log_path,
                            .ranks = step->ranks,
                            .threads = step->threads,
                            .show = r->options->show};
    double from_s = px_now_s();
    PX_TRY_TO(done, px_launch(&launch, &end), "step %s", step->name);
    double took_s = px_now_s() - from_s;
    if (end.code == 0) PX_PASS_TO(done, outputs_made(step));
    PX_PASS_TO(done, state_end(job, i, &end, took_s, state));
    if (end.code != 0) err = step_failed(job, step, &end);
    if (!err) px_info("  done in %.1f s", took_s);
done:
    cJSON_Delete(state);
    return err;
}

/* --- all steps --- */

static bool after(const px_job *job, int i, int from) {
    if (i == from) return true;
    for (int k = 0; k < job->steps[i].n_needs; k++)
        if (after(job, job->steps[i].needs[k], from)) return true;
    return false;
}

/* In a dry run a step before this one has not made its outputs anew. */
static void why_before(const runner *r, int i, px_str *why) {
    for (int k = 0; r->options->dry_run && !why->size && k < r->job->steps[i].n_needs; k++) {
        int need = r->job->steps[i].needs[k];
        if (r->runs[need]) job_why_add(why, "%s runs before it", r->job->steps[need].name);
    }
}

/* What has to run and why, said. */
static px_err *step_why(const runner *r, int i, int from, const cJSON *before, const cJSON *parts,
                        px_str *why) {
    const px_job_step *step = &r->job->steps[i];
    PX_PASS(why_from(r->job, i, before, parts, why));
    if (from >= 0 && after(r->job, i, from) && !why->size)
        job_why_add(why, i == from ? "asked for" : "%s was asked for", r->options->from);
    why_before(r, i, why);
    PX_PASS(px_str_ok(why));
    r->runs[i] = why->size > 0;
    const char *does = !why->size            ? "unchanged, kept"
                       : r->options->dry_run ? "would run: "
                                             : "runs: ";
    px_info("%s%s%s%s: %s%s", step->name, step->about ? " (" : "", step->about ? step->about : "",
            step->about ? ")" : "", does, why->size ? why->data : "");
    return NULL;
}

/* Failed with this very key, and not to be tried again: its error, from the log. */
static px_err *left_failed(const runner *r, int i, const cJSON *before, const cJSON *parts) {
    const px_job_run_options *o = r->options;
    px_digest key;
    const char *status = px_json_find_text(before, "status");
    const char *key_before = px_json_find_text(before, "key");
    if (!o->leave_failed || !o->may_fail || !o->may_fail[i] || !status || !key_before) return NULL;
    PX_PASS(job_key_hash(parts, &key));
    if (strcmp(status, "failed") != 0 || strcmp(key_before, key.hex) != 0) return NULL;
    px_launch_end end = {.code = (int)px_json_find_f64(before, "code", 1)};
    px_err *err = step_failed(r->job, &r->job->steps[i], &end);
    return px_err_add(err, __FILE__, __LINE__, "left as it is");
}

static px_err *step_do(runner *r, int i, int from) {
    const px_job_step *step = &r->job->steps[i];
    px_job_lock lock = PX_JOB_UNLOCKED;
    cJSON *before = NULL, *parts = NULL;
    px_str why = {0};
    char what[256];
    snprintf(what, sizeof what, "step %s", step->name);
    px_err *err = NULL;
    if (!r->options->dry_run)
        PX_PASS_TO(done, px_job_lock_take(job_step_path(r->job, i, "lock"), what, true, STEP_WAIT_S,
                                          &lock));
    before = job_state_read(r->job, i);
    PX_PASS_TO(done, job_key_parts(r->job, i, &parts));
    PX_PASS_TO(done, left_failed(r, i, before, parts));
    PX_PASS_TO(done, step_why(r, i, from, before, parts, &why));
    if (why.size && !r->options->dry_run) err = step_run(r, i, before, parts);
done:
    px_job_lock_drop(&lock);
    cJSON_Delete(before);
    cJSON_Delete(parts);
    px_str_free(&why);
    return err;
}

/* The job as it was resolved, for `status` and for whoever comes back later. */
px_err *px_job_folder_make(const px_job *job) {
    static const char *const folders[] = {".steps", "logs"};
    px_str text = {0};
    for (size_t i = 0; i < PX_COUNT(folders); i++) {
        char *path = px_path_join(job->dir, folders[i]);
        if (!path) PX_NO_MEMORY();
        px_err *err = px_dir_make(path);
        free(path);
        PX_PASS(err);
    }
    char *path = px_path_join(job->dir, "job.json");
    px_json_print_pretty(job->json, &text);
    px_str_char(&text, '\n');
    px_err *err = px_str_ok(&text);
    if (!err && !path) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    /* Read from there: steps that run at the same time have nothing to say anew. */
    if (!err && strcmp(path, job->path) != 0) err = job_file_write(path, text.data, text.size);
    free(path);
    px_str_free(&text);
    return err;
}

/* What a step needs and is not about to be run by this process has to be done. */
static px_err *needs_done(runner *r, int i) {
    const px_job_step *step = &r->job->steps[i];
    for (int k = 0; k < step->n_needs; k++) {
        const char *need = r->job->steps[step->needs[k]].name;
        px_str why = {0};
        if (r->options->wanted && r->options->wanted[step->needs[k]]) continue;
        PX_TRY(px_job_why(r->job, step->needs[k], &why), "step %s", need);
        px_err *err = NULL;
        if (why.size)
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "step %s needs %s, which has to run before it: %s", step->name, need,
                             why.data);
        px_str_free(&why);
        PX_PASS(err);
    }
    return NULL;
}

static bool need_failed(const runner *r, int i) {
    const px_job_step *step = &r->job->steps[i];
    for (int k = 0; r->options->failed && k < step->n_needs; k++)
        if (r->options->failed[step->needs[k]]) return true;
    return false;
}

/* A failure that ends only what hangs on it. */
static px_err *forgive(const runner *r, int i, px_err *err) {
    const px_job_run_options *o = r->options;
    if (!err || !o->may_fail || !o->may_fail[i] || px_err_kind(err) == PX_STOPPED) return err;
    px_warn("%s", px_err_text(err));
    px_err_free(err);
    o->failed[i] = true;
    return NULL;
}

static px_err *run_steps(runner *r, int from, int only) {
    const bool *wanted = r->options->wanted;
    for (int i = 0; i < r->job->n_steps; i++) {
        if ((only >= 0 && i != only) || (wanted && !wanted[i])) continue;
        if (px_signal_seen())
            PX_FAIL(PX_STOPPED, "stopped before step %s; run again goes on from here",
                    r->job->steps[i].name);
        if (need_failed(r, i)) {
            r->options->failed[i] = true;
            continue;
        }
        if (only >= 0 || wanted) PX_PASS(needs_done(r, i));
        PX_PASS(forgive(r, i, step_do(r, i, from)));
    }
    return NULL;
}

px_err *px_job_run(px_job *job, const px_job_run_options *options) {
    runner r = {.job = job, .options = options};
    px_job_lock lock = PX_JOB_UNLOCKED;
    int from = -1, only = -1;
    r.runs = px_take(job->arena, bool, job->n_steps);
    const char *path = job_text(job->arena, "%s/lock", job->dir);
    const char *what = job_text(job->arena, "the job folder %s", job->dir);
    PX_PASS(px_arena_ok(job->arena));
    if (options->from && options->only) PX_FAIL(PX_BAD_INPUT, "--from and --only: one of them");
    if (options->from) PX_PASS(px_job_find(job, options->from, &from));
    if (options->only) PX_PASS(px_job_find(job, options->only, &only));
    if (!options->dry_run) PX_PASS(px_dir_make(job->dir));
    if (!options->dry_run && only < 0 && !options->wanted)
        PX_PASS(px_job_lock_take(path, what, false, 0, &lock));
    px_err *err = options->dry_run ? NULL : px_job_folder_make(job);
    if (!err && !options->dry_run && options->begun) err = options->begun(options->context);
    if (!err) err = run_steps(&r, from, only);
    px_job_lock_drop(&lock);
    return err;
}
