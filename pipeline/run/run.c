/* run.c - a run folder read back: its configuration, its people, the parameters of one step. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

static px_err *manifest_texts(px_run *run) {
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(run->manifest, "inputs");
    const cJSON *corpus = cJSON_GetObjectItemCaseSensitive(inputs, "corpus");
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(inputs, "model");
    char where[512];
    snprintf(where, sizeof where, "%s/manifest.json inputs", run->dir);
    PX_PASS(px_json_text(corpus, "path", where, &run->corpus_path));
    if (!run->model_path) PX_PASS(px_json_text(model, "path", where, &run->model_path));
    snprintf(where, sizeof where, "%s/manifest.json", run->dir);
    PX_PASS(px_json_text(run->manifest, "corpus_sha256", where, &run->corpus_sha256));
    return px_json_text(run->manifest, "weights_sha256", where, &run->weights_sha256);
}

static px_err *read_config(px_run *run) {
    char *path = px_path_join(run->dir, "config.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_config_read(&run->config, path);
    free(path);
    return err;
}

static px_err *read_shape(px_run *run) {
    px_source *source = NULL;
    PX_TRY(px_source_open(run->model_path, &source),
           "the base model of %s (--model names another place)", run->dir);
    run->shape = *px_source_shape(source);
    px_source_close(source);
    return NULL;
}

/* How many people a checkpoint holds, and who. */
static px_err *read_people(px_run *run, int64_t step, int32_t *n_users) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    int64_t n = 0;
    char *path = px_checkpoint_path(run->dir, step);
    if (!path) PX_NO_MEMORY();
    PX_PASS_TO(done, px_h5_open(path, &h5));
    PX_PASS_TO(done, px_h5_read_texts(h5, "/ids", run->arena, &run->ids, &n));
    if (n < 1 || n > INT32_MAX) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: /ids is empty", path);
    *n_users = (int32_t)n;
done:
    px_h5_close(h5);
    free(path);
    return err;
}

static px_err *read_step(px_run *run, int64_t step) {
    int32_t n_users = 0;
    PX_PASS(read_people(run, step, &n_users));
    px_params_free(run->params);
    run->params = NULL;
    PX_PASS(px_params_new(&run->config, &run->shape, n_users, &run->params));
    px_checkpoint ckpt = {.dir = run->dir,
                          .params = run->params,
                          .ids = run->ids,
                          .corpus_sha256 = run->corpus_sha256,
                          .weights_sha256 = run->weights_sha256};
    return px_checkpoint_read(&ckpt, step, &run->state);
}

static px_err *read_newest(px_run *run) {
    int64_t *steps = NULL;
    int n = 0;
    PX_PASS(px_checkpoint_list(run->dir, run->arena, &steps, &n));
    for (int i = 0; i < n; i++) {
        px_err *err = read_step(run, steps[i]);
        if (!err || i + 1 == n) return err;
        px_warn("%s; the checkpoint before it is used", px_err_text(err));
        px_err_free(err);
    }
    PX_FAIL(PX_BAD_INPUT, "%s: has no checkpoint", run->dir);
}

px_err *px_run_open(const char *dir, int64_t step, const char *model_path, px_run *out) {
    *out = (px_run){.dir = dir, .model_path = model_path};
    px_err *err = NULL;
    if (!px_path_is_dir(dir)) PX_FAIL(PX_BAD_INPUT, "%s: no such run folder", dir);
    PX_PASS_TO(failed, px_arena_new(65536, &out->arena));
    PX_PASS_TO(failed, px_config_init(&out->config));
    PX_PASS_TO(failed, px_manifest_read(dir, &out->manifest));
    PX_PASS_TO(failed, manifest_texts(out));
    PX_PASS_TO(failed, read_config(out));
    PX_PASS_TO(failed, read_shape(out));
    PX_TRY_TO(failed, step < 0 ? read_newest(out) : read_step(out, step), "run %s", dir);
    return NULL;
failed:
    px_run_close(out);
    return err;
}

void px_run_close(px_run *run) {
    px_params_free(run->params);
    cJSON_Delete(run->manifest);
    if (run->arena) px_config_fini(&run->config);
    px_arena_free(run->arena);
    *run = (px_run){0};
}

int32_t px_run_row(const px_run *run, const char *id) {
    for (int32_t i = 1; i < run->params->n_users; i++)
        if (!strcmp(run->ids[i], id)) return i;
    return 0;
}
