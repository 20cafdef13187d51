/* checks.c - what a run's folder says about itself, before anything is computed: the configuration
 * in three places, checkpoints against their own hashes, outputs and inputs against the manifest's.
 */
#include "verify_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *text_at(const cJSON *object, const char *group, const char *name,
                           const char *key) {
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(object, group);
    return px_json_find_text(cJSON_GetObjectItemCaseSensitive(files, name), key);
}

/* --- configuration --- */

/* train.steps may have grown when the run went on: every start says what it was then. */
static bool grown(const verifying *v, const px_diff *d) {
    const cJSON *starts = cJSON_GetObjectItemCaseSensitive(v->manifest, "starts");
    return !strcmp(d->name, "train.steps") && cJSON_GetArraySize(starts) > 1;
}

/* Differences of a configuration from the manifest's that matter, said as those of `where`. */
static px_err *compare_config(verifying *v, const cJSON *other, const char *where, int64_t step) {
    px_diffs diffs;
    PX_PASS(px_diffs_new(&diffs));
    px_err *err = px_diff_configs(v->config, other, &diffs);
    for (int i = 0; !err && i < diffs.n; i++) {
        px_diff d = diffs.items[i];
        char name[400];
        if (!d.counts || grown(v, &d)) continue;
        snprintf(name, sizeof name, "%s", d.name);
        verify_say(v, "config: %s is %s in manifest.json and %s in %s", name, d.a, d.b, where);
        d.step = step;
        err = px_diffs_add(&v->found, d);
    }
    px_diffs_free(&diffs);
    return err;
}

static px_err *checkpoint_config(verifying *v, int64_t step) {
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    const char *text = NULL;
    cJSON *json = NULL;
    char where[64];
    char *path = px_checkpoint_path(v->job->run, step);
    if (!path) PX_NO_MEMORY();
    px_err *err = px_arena_new(65536, &arena);
    if (!err) err = px_h5_open(path, &h5);
    if (!err) err = px_h5_read_attr_text(h5, "/", "config", arena, &text);
    if (!err) err = px_json_parse(text, strlen(text), &json);
    snprintf(where, sizeof where, "the checkpoint of step %lld", (long long)step);
    if (!err)
        err = compare_config(v, json, where, step);
    else if (px_err_kind(err) == PX_BAD_INPUT) { /* its own check says what is wrong with it */
        px_err_free(err);
        err = NULL;
    }
    cJSON_Delete(json);
    px_h5_close(h5);
    px_arena_free(arena);
    free(path);
    return err;
}

px_err *verify_configs(verifying *v) {
    PX_PASS(compare_config(v, v->config_file, "config.json", -1));
    for (int i = 0; i < v->n_checkpoints; i++) PX_PASS(checkpoint_config(v, v->steps[i]));
    return NULL;
}

/* --- checkpoints --- */

static px_err *stored_sha256(verifying *v, int64_t step, const char **out) {
    px_h5 *h5 = NULL;
    char *path = px_checkpoint_path(v->job->run, step);
    if (!path) PX_NO_MEMORY();
    px_err *err = px_h5_open(path, &h5);
    if (!err) err = px_h5_read_attr_text(h5, "/", "sha256", v->arena, out);
    px_h5_close(h5);
    free(path);
    return err;
}

px_err *verify_checkpoints(verifying *v) {
    const char *wanted = px_json_find_text(v->manifest, "params_sha256"), *stored = NULL;
    int64_t step_now = (int64_t)px_json_find_f64(v->manifest, "step", -1);
    for (int i = 0; i < v->n_checkpoints; i++) {
        px_run run;
        px_err *bad = px_run_open(v->job->run, v->steps[i], v->model, &run);
        if (!bad) px_run_close(&run);
        if (bad && px_err_kind(bad) != PX_BAD_INPUT) return bad;
        v->damaged[i] = bad != NULL;
        px_err *err = NULL;
        if (bad) {
            verify_say(v, "checkpoint: %s", px_err_text(bad));
            err = px_diffs_add(&v->found, (px_diff){.kind = PX_DIFF_FILE,
                                                    .counts = true,
                                                    .step = v->steps[i],
                                                    .name = "checkpoint",
                                                    .a = "damaged, or changed since",
                                                    .b = "what its sha256 says"});
        }
        px_err_free(bad);
        PX_PASS(err);
    }
    if (v->n_checkpoints == 0 || v->steps[0] != step_now || !wanted || v->damaged[0]) return NULL;
    PX_PASS(stored_sha256(v, v->steps[0], &stored));
    if (!strcmp(stored, wanted)) return NULL;
    verify_say(v,
               "params_sha256: manifest.json says %.16s…, the checkpoint of step %lld holds "
               "%.16s…",
               wanted, (long long)v->steps[0], stored);
    return px_diffs_add(&v->found, (px_diff){.kind = PX_DIFF_FILE,
                                             .counts = true,
                                             .step = v->steps[0],
                                             .name = "params_sha256",
                                             .a = wanted,
                                             .b = stored});
}

px_err *verify_outputs(verifying *v) {
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(v->manifest, "outputs"), *file = NULL;
    cJSON_ArrayForEach(file, outputs) {
        const char *wanted = px_json_find_text(file, "sha256");
        int64_t bytes = 0;
        px_digest now;
        char *path = px_path_join(v->job->run, file->string);
        if (!path) PX_NO_MEMORY();
        px_err *missing = px_manifest_digest(path, &bytes, &now);
        free(path);
        if (!missing && wanted && !strcmp(now.hex, wanted)) continue;
        const char *what = missing ? "is not there" : "was changed since the run wrote it";
        px_err_free(missing);
        verify_say(v, "output: %s %s", file->string, what);
        PX_PASS(px_diffs_add(&v->found, (px_diff){.kind = PX_DIFF_FILE,
                                                  .counts = true,
                                                  .step = -1,
                                                  .name = file->string,
                                                  .a = what,
                                                  .b = wanted}));
    }
    return NULL;
}

/* --- inputs --- */

/* The path as the run was given it, or the same seen from a folder that holds the run's: relative
 * paths were given from where train was started. */
static px_err *find_input(const verifying *v, const char *path, const char **out) {
    px_err *err = NULL;
    *out = path;
    if (path[0] == '/' || px_path_exists(path)) return NULL;
    char *dir = realpath(v->job->run, NULL);
    for (char *slash; dir && (slash = strrchr(dir, '/'));) {
        *slash = 0;
        char *candidate = px_path_join(*dir ? dir : "/", path);
        if (!candidate) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
        bool there = px_path_exists(candidate);
        if (there) *out = px_arena_text(v->arena, candidate, strlen(candidate));
        free(candidate);
        if (there) break;
    }
done:
    free(dir);
    return err ? err : px_arena_ok(v->arena);
}

static px_err *changed(const char *what, const char *path, const char *now, const char *wanted) {
    PX_FAIL(PX_BAD_INPUT,
            "%s: the %s is not the one of the run: its SHA-256 is %.16s…, manifest.json says "
            "%.16s…; --%s names another place",
            path, what, now, wanted, what);
}

/* Another file may hold the same corpus: prepare on other ranks lays it out differently. */
static px_err *check_corpus(verifying *v) {
    const char *wanted = text_at(v->manifest, "inputs", "corpus", "sha256");
    const char *content = px_json_find_text(v->manifest, "corpus_sha256");
    int64_t bytes = 0;
    px_digest now;
    px_corpus *corpus = NULL;
    if (!wanted || !content)
        PX_FAIL(PX_BAD_INPUT, "%s/manifest.json: names no corpus", v->job->run);
    PX_TRY(px_manifest_digest(v->corpus, &bytes, &now),
           "the corpus of the run (--corpus names another place)");
    if (!strcmp(now.hex, wanted)) return NULL;
    PX_PASS(px_corpus_open(v->corpus, &corpus));
    bool same = !strcmp(corpus->sha256, content);
    px_corpus_close(corpus);
    if (!same) return changed("corpus", v->corpus, now.hex, wanted);
    verify_say(v, "input: %s is another file with the same content", v->corpus);
    return NULL;
}

static px_err *check_model(verifying *v) {
    const char *wanted = px_json_find_text(v->manifest, "weights_sha256");
    px_source *source = NULL;
    px_digest now;
    if (!wanted) PX_FAIL(PX_BAD_INPUT, "%s/manifest.json: names no model", v->job->run);
    PX_TRY(px_source_open(v->model, &source),
           "the base model of the run (--model names another place)");
    px_err *err = px_source_sha256(source, &now);
    px_source_close(source);
    PX_PASS(err);
    if (strcmp(now.hex, wanted) != 0) return changed("model", v->model, now.hex, wanted);
    return NULL;
}

px_err *verify_inputs(verifying *v) {
    const char *corpus = v->job->corpus, *model = v->job->model;
    if (!corpus) corpus = text_at(v->manifest, "inputs", "corpus", "path");
    if (!model) model = text_at(v->manifest, "inputs", "model", "path");
    if (!corpus || !model)
        PX_FAIL(PX_BAD_INPUT, "%s/manifest.json: names no corpus or no model: not a training's",
                v->job->run);
    PX_PASS(find_input(v, corpus, &v->corpus));
    PX_PASS(find_input(v, model, &v->model));
    px_info("checking inputs: %s, %s", v->corpus, v->model);
    PX_PASS(check_corpus(v));
    PX_PASS(check_model(v));
    verify_say(v, "inputs: %s, %s: the same", v->corpus, v->model);
    return NULL;
}
