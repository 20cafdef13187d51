/* forget.c - takes a person's parameters out of every file of a run. Each file is replaced
 * atomically; a run in which some files are done and some are not is finished by asking again. See
 * run.h. */
#include "owner.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Everything one checkpoint holds, with its moments. */
typedef struct {
    px_run run;
    float *m, *v;
} whole;

static void whole_close(whole *w) {
    free(w->m);
    free(w->v);
    if (w->run.arena) px_run_close(&w->run);
}

static px_err *whole_open(const char *dir, int64_t step, const char *model_path, whole *out) {
    *out = (whole){0};
    PX_PASS(px_run_open(dir, step, model_path, &out->run));
    px_params *params = out->run.params;
    out->m = malloc(params->n * sizeof *out->m + 1);
    out->v = malloc(params->n * sizeof *out->v + 1);
    px_err *err =
        out->m && out->v ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    px_checkpoint ckpt = {
        .dir = dir, .params = params, .m = out->m, .v = out->v, .ids = out->run.ids};
    if (!err) err = px_checkpoint_read(&ckpt, step, &out->run.state);
    if (err) whole_close(out);
    return err;
}

/* Copies every tensor but row `row` of those with a row a person. */
static void copy_without(const px_params *from, const float *values, const px_params *to,
                         float *out, int32_t row) {
    for (int i = 0; i < from->n_params; i++) {
        const px_param *a = &from->params[i], *b = &to->params[i];
        const float *src = values + a->offset;
        float *dst = out + b->offset;
        if (a->n == b->n) {
            memcpy(dst, src, a->n * sizeof *dst);
            continue;
        }
        size_t width = a->n / (size_t)a->dims[0], before = (size_t)row * width;
        memcpy(dst, src, before * sizeof *dst);
        memcpy(dst + before, src + before + width, (b->n - before) * sizeof *dst);
    }
}

static px_err *write_without(const whole *w, int32_t row, px_digest *sha256, bool newest) {
    const px_run *run = &w->run;
    px_params *less = NULL;
    px_err *err = NULL;
    float *m = NULL, *v = NULL;
    px_str config = {0};
    int32_t n = run->params->n_users - 1;
    const char **ids = malloc((size_t)(n + 1) * sizeof *ids);
    px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
    PX_PASS_TO(done, px_params_new(&run->config, &run->shape, n, &less));
    m = malloc(less->n * sizeof *m + 1);
    v = malloc(less->n * sizeof *v + 1);
    if (!ids || !m || !v) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int32_t i = 0; i < n; i++) ids[i] = run->ids[i < row ? i : i + 1];
    copy_without(run->params, run->params->values, less, less->values, row);
    copy_without(run->params, w->m, less, m, row);
    copy_without(run->params, w->v, less, v, row);
    px_config_print(&run->config, &config);
    PX_PASS_TO(done, px_str_ok(&config));
    px_checkpoint ckpt = {.dir = run->dir,
                          .params = less,
                          .m = m,
                          .v = v,
                          .ids = ids,
                          .config_json = config.data,
                          .corpus_sha256 = run->corpus_sha256,
                          .weights_sha256 = run->weights_sha256};
    PX_PASS_TO(done, px_checkpoint_write_all(&alone, &ckpt, &run->state, INT64_MAX, sha256));
    if (newest && less->n_tokens > 0) err = px_users_write(run->dir, less, ids);
done:
    px_params_free(less);
    px_str_free(&config);
    free(ids);
    free(m);
    free(v);
    return err;
}

static px_err *note_in_manifest(const char *dir, const char *params_sha256) {
    cJSON *manifest = NULL;
    px_err *err = NULL;
    char when[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    char *users = px_path_join(dir, "users.h5");
    if (!users) PX_NO_MEMORY();
    PX_PASS_TO(done, px_manifest_read(dir, &manifest));
    cJSON *list = cJSON_GetObjectItemCaseSensitive(manifest, "forgotten");
    if (!cJSON_IsArray(list)) list = cJSON_AddArrayToObject(manifest, "forgotten");
    cJSON *entry = cJSON_CreateObject();
    if (!list || !entry || !cJSON_AddItemToArray(list, entry) ||
        !cJSON_AddStringToObject(entry, "at", when) ||
        !cJSON_AddStringToObject(entry, "params_sha256", params_sha256))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_manifest_text(manifest, "params_sha256", params_sha256));
    if (cJSON_GetObjectItemCaseSensitive(manifest, "outputs") && px_path_exists(users))
        PX_PASS_TO(done, px_manifest_file(manifest, "outputs", "users.h5", users, NULL));
    err = px_manifest_write(manifest, dir);
done:
    cJSON_Delete(manifest);
    free(users);
    return err;
}

px_err *px_run_forget(const char *dir, const char *id, const char *model_path, int *n_files) {
    px_arena *arena = NULL;
    int64_t *steps = NULL;
    int n = 0;
    px_err *err = NULL;
    px_digest sha256, newest = {{0}};
    px_owner *owner = NULL;
    px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
    *n_files = 0;
    PX_PASS(px_arena_new(4096, &arena));
    PX_PASS_TO(done, px_checkpoint_list(dir, arena, &steps, &n));
    if (n == 0) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: has no checkpoint", dir);
    PX_PASS_TO(done, px_owner_take_all(&alone, dir, &owner));
    px_heartbeat_start(owner, 0);
    /* Oldest first: while the newest still has the person, asking again finds what is left to do.
     */
    for (int i = n - 1; i >= 0; i--) {
        whole w;
        PX_PASS_TO(done, whole_open(dir, steps[i], model_path, &w));
        int32_t row = px_run_row(&w.run, id);
        if (row > 0) {
            err = write_without(&w, row, &sha256, i == 0);
            *n_files += 1;
            if (i == 0) newest = sha256;
        }
        whole_close(&w);
        PX_PASS_TO(done, err);
    }
    if (newest.hex[0]) err = note_in_manifest(dir, newest.hex);
done:
    px_owner_drop(owner);
    px_arena_free(arena);
    return err;
}
