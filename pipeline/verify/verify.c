/* verify.c - the order of things: the manifest, what the folder says of itself, the inputs, the
 * rerun, the comparison, the verdict. */
#include "verify_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void verify_say(verifying *v, const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    px_str_text(v->said, text);
    px_str_char(v->said, '\n');
}

static px_err *read_folder(verifying *v) {
    const char *run = v->job->run;
    px_err *err = NULL;
    char *config = px_path_join(run, "config.json"), *metrics = px_path_join(run, "metrics.jsonl");
    if (!config || !metrics) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (!px_path_is_dir(run)) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no such run folder", run);
    PX_PASS_TO(done, px_manifest_read(run, &v->manifest));
    v->config = cJSON_GetObjectItemCaseSensitive(v->manifest, "config");
    if (!cJSON_IsObject(v->config))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s/manifest.json: holds no configuration", run);
    PX_PASS_TO(done, px_json_read(config, false, &v->config_file));
    PX_PASS_TO(done, px_metrics_last_step(metrics, &v->last));
    PX_PASS_TO(done, px_checkpoint_list(run, v->arena, &v->steps, &v->n_checkpoints));
    v->damaged = px_take(v->arena, bool, v->n_checkpoints + 1);
    v->total = (int64_t)px_json_find_f64(v->manifest, "steps", 0);
    err = px_arena_ok(v->arena);
done:
    free(config);
    free(metrics);
    return err;
}

/* Which steps are compared; wrong wishes are refused before anything is computed. */
static px_err *choose_steps(verifying *v) {
    const px_verify *job = v->job;
    const char *status = px_json_find_text(v->manifest, "status");
    bool complete = status && !strcmp(status, "complete");
    bool there = job->from_step == 0;
    for (int i = 0; i < v->n_checkpoints; i++)
        there |= v->steps[i] == job->from_step && !v->damaged[i];
    if (!there)
        PX_FAIL(PX_BAD_INPUT, "--from-step %lld: %s has no such checkpoint, or a damaged one",
                (long long)job->from_step, job->run);
    v->first_step = job->from_step + 1;
    v->end_step = v->last;
    if (v->n_checkpoints > 0) v->end_step = PX_MAX(v->end_step, v->steps[0]);
    if (v->end_step < v->first_step)
        PX_FAIL(PX_BAD_INPUT, "%s: has no step after %lld: nothing to verify", job->run,
                (long long)job->from_step);
    if (job->n_steps > 0) v->end_step = PX_MIN(v->end_step, job->from_step + job->n_steps);
    v->whole = complete && v->end_step == v->total;
    if (!complete)
        verify_say(v, "run: is %s: compared as far as it came", status ? status : "not complete");
    return NULL;
}

/* --- after the rerun --- */

static px_err *compare_metrics(verifying *v) {
    char *a = px_path_join(v->job->run, "metrics.jsonl"),
         *b = verify_rerun_path(v, "metrics.jsonl");
    int64_t n = 0;
    int before = v->found.n;
    px_err *err = a && b ? px_diff_metrics(a, b, v->first_step, v->end_step, &v->found, &n)
                         : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    free(a);
    free(b);
    if (!err && v->found.n == before) verify_say(v, "metrics: %lld steps, the same", (long long)n);
    return err;
}

static px_err *compare_file(verifying *v, const char *path_a, const char *name_b, int64_t step,
                            const char *shown) {
    char *path_b = verify_rerun_path(v, name_b);
    if (!path_b) PX_NO_MEMORY();
    int64_t n = 0;
    int before = v->found.n;
    px_h5_pair pair = {.path_a = path_a,
                       .path_b = path_b,
                       .step = step,
                       .fewer_people = cJSON_HasObjectItem(v->manifest, "forgotten")};
    px_err *err = px_diff_files(&pair, &v->found, &n);
    free(path_b);
    if (!err && v->found.n == before)
        verify_say(v, "%s: %lld tensors, the same", shown, (long long)n);
    return err;
}

static px_err *compare_checkpoints(verifying *v) {
    for (int i = v->n_checkpoints - 1; i >= 0; i--) {
        int64_t step = v->steps[i];
        bool initial = step == 0 && v->first_step == 1;
        if ((step < v->first_step && !initial) || step > v->end_step) continue;
        char name[64], shown[64];
        snprintf(name, sizeof name, "checkpoints/step-%06lld.h5", (long long)step);
        snprintf(shown, sizeof shown, "checkpoint of step %lld", (long long)step);
        char *path = px_checkpoint_path(v->job->run, step);
        if (!path) PX_NO_MEMORY();
        px_err *err = compare_file(v, path, name, step, shown);
        free(path);
        PX_PASS(err);
    }
    return NULL;
}

/* users.h5 and the hash of the end. */
static px_err *compare_end(verifying *v) {
    const char *a = px_json_find_text(v->manifest, "params_sha256"),
               *b = px_json_find_text(v->manifest_now, "params_sha256");
    if (!v->whole) return NULL;
    bool forgot = cJSON_HasObjectItem(v->manifest, "forgotten");
    if (forgot)
        verify_say(v, "people: some were removed (users forget): the others' rows are compared");
    else if (a && b && !strcmp(a, b))
        verify_say(v, "params_sha256: %.16s…, the same", a);
    else
        PX_PASS(px_diffs_add(&v->found, (px_diff){.kind = PX_DIFF_FILE,
                                                  .counts = true,
                                                  .step = v->total,
                                                  .name = "params_sha256",
                                                  .a = a,
                                                  .b = b}));
    char *users = px_path_join(v->job->run, "users.h5");
    if (!users) PX_NO_MEMORY();
    px_err *err = px_path_exists(users) ? compare_file(v, users, "users.h5", -1, "users.h5") : NULL;
    free(users);
    return err;
}

static void say_differences(verifying *v, int from) {
    px_str text = {0};
    int shown = 0;
    for (int i = from; i < v->found.n; i++) {
        if (++shown > 20) continue;
        px_str_clear(&text);
        px_diff_text(&v->found.items[i], &text);
        if (text.data) verify_say(v, "differs (run | rerun): %s", text.data);
    }
    if (shown > 20) verify_say(v, "… and %d more differences", shown - 20);
    px_str_free(&text);
}

static px_err *verdict(verifying *v) {
    const px_diff *first = px_diffs_first(&v->found);
    if (px_diffs_counting(&v->found) == 0) {
        verify_say(v, "same: %s, steps %lld to %lld", v->job->run, (long long)v->first_step,
                   (long long)v->end_step);
        return NULL;
    }
    for (int i = 0; !first && i < v->found.n; i++)
        if (v->found.items[i].counts) first = &v->found.items[i];
    px_str text = {0};
    if (first) px_diff_text(first, &text);
    px_err *err =
        px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s: %s is not what its manifest gives",
                   text.data ? text.data : "", v->job->run);
    px_str_free(&text);
    return err;
}

static px_err *verify_all(verifying *v) {
    PX_PASS(read_folder(v));
    if (v->job->inputs_only) return verify_inputs(v);
    PX_PASS(verify_configs(v));
    if (v->found.n > 0) {
        const px_diff *d = &v->found.items[0];
        PX_FAIL(PX_RUN_FAILED,
                "%s: manifest.json says %s, %s says %s: one was edited after the run; nothing was "
                "computed",
                d->name, d->a, d->step < 0 ? "config.json" : "the checkpoint", d->b);
    }
    PX_PASS(verify_outputs(v));
    PX_PASS(verify_inputs(v));
    PX_PASS(verify_checkpoints(v));
    PX_PASS(choose_steps(v));
    PX_PASS(verify_rerun(v));
    int before = v->found.n;
    PX_PASS(compare_metrics(v));
    PX_PASS(compare_checkpoints(v));
    PX_PASS(compare_end(v));
    say_differences(v, before);
    if (px_diffs_counting(&v->found) > 0) PX_PASS(verify_reasons(v));
    return verdict(v);
}

px_err *px_verify_run(const px_verify *job, px_str *said) {
    verifying v = {.job = job, .said = said};
    px_err *err = px_arena_new(65536, &v.arena);
    if (!err) err = px_diffs_new(&v.found);
    if (!err) err = verify_all(&v);
    if (v.temp && job->keep)
        verify_say(&v, "kept: %s", v.temp);
    else if (v.temp) {
        px_err *left = px_dir_remove(v.temp);
        if (left) px_warn("%s", px_err_text(left));
        px_err_free(left);
    }
    free(v.temp);
    cJSON_Delete(v.manifest);
    cJSON_Delete(v.manifest_now);
    cJSON_Delete(v.config_file);
    px_diffs_free(&v.found);
    px_arena_free(v.arena);
    return err;
}
