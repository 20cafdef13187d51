/* checkpoint.c - the whole state of a run in one HDF5 file, so that a run stopped at any step and
 * resumed gives the bits of one never stopped. Invariants:
 * 1. A file of the final name is whole: it is written under a temporary name, flushed, renamed.
 * 2. Older files go only after the newer one has its final name.
 * 3. Every rank writes a share of the rows of every tensor; the content does not depend on the
 * number of ranks.
 * 4. `sha256` is that of the trainables: a damaged file is recognised when read. */
#include "guard.h"
#include "run.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECKPOINT_FORMAT 1

char *px_checkpoint_path(const char *dir, int64_t step) {
    char *path = NULL;
    return asprintf(&path, "%s/checkpoints/step-%06lld.h5", dir, (long long)step) < 0 ? NULL : path;
}

int64_t px_checkpoint_bytes(const px_params *params) {
    return (int64_t)params->n * 12 + (int64_t)params->n_params * 3 * 2048 + 65536;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The step of "step-000012.h5", or -1. */
static int64_t step_of_name(const char *name) {
    size_t n = strlen(name);
    char digits[24];
    int64_t step = -1;
    if (n < 14 || n > 27 || strncmp(name, "step-", 5) != 0 || strcmp(name + n - 3, ".h5") != 0)
        return -1;
    snprintf(digits, sizeof digits, "%.*s", (int)(n - 8), name + 5);
    if (strspn(digits, "0123456789") != n - 8 || !px_parse_i64(digits, &step)) return -1;
    return step;
}

px_err *px_checkpoint_list(const char *dir, px_arena *arena, int64_t **steps, int *n) {
    *n = 0;
    *steps = NULL;
    char *folder = px_path_join(dir, "checkpoints");
    if (!folder) PX_NO_MEMORY();
    DIR *open = opendir(folder);
    free(folder);
    if (!open) return NULL;
    int room = 0;
    int64_t *found = NULL;
    px_err *err = NULL;
    for (struct dirent *entry; (entry = readdir(open));) {
        int64_t step = step_of_name(entry->d_name);
        if (step < 0) continue;
        if (*n == room) {
            room = room ? 2 * room : 16;
            int64_t *wider = realloc(found, (size_t)room * sizeof *wider);
            if (!wider) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
            found = wider;
        }
        found[(*n)++] = step;
    }
    *steps = px_take(arena, int64_t, *n);
    PX_PASS_TO(done, px_arena_ok(arena));
    if (*n) {
        qsort(found, (size_t)*n, sizeof *found, newest_first);
        memcpy(*steps, found, (size_t)*n * sizeof *found);
    }
done:
    closedir(open);
    free(found);
    return err;
}

/* Collective: one tensor under /group/name. */
static px_err *write_tensor_all(px_h5 *h5, const px_ranks *ranks, const char *group,
                                const px_param *p, const float *values) {
    char name[256];
    snprintf(name, sizeof name, "/%s/%s", group, p->name);
    int64_t first = p->dims[0] * ranks->rank / ranks->size;
    int64_t end = p->dims[0] * (ranks->rank + 1) / ranks->size;
    int64_t row = p->dims[0] ? (int64_t)p->n / p->dims[0] : 0;
    return px_h5_write_rows_all(h5, name, PX_H5_F32, p->rank, p->dims, first, end - first,
                                values + p->offset + first * row);
}

static px_err *write_state(px_h5 *h5, const px_checkpoint *ckpt, const px_state *state,
                           const px_digest *sha256) {
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"format", CHECKPOINT_FORMAT}, {"step", state->step},
                   {"epoch", state->epoch},       {"position", state->batch},
                   {"n_tokens", state->n_tokens}, {"total", state->total}};
    const struct {
        const char *name, *value;
    } texts[] = {{"sha256", sha256->hex},
                 {"config", ckpt->config_json},
                 {"corpus_sha256", ckpt->corpus_sha256},
                 {"weights_sha256", ckpt->weights_sha256},
                 {"version", PX_VERSION}};
    for (size_t i = 0; i < PX_COUNT(numbers); i++)
        PX_PASS(px_h5_write_attr_i64(h5, "/", numbers[i].name, numbers[i].value));
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        PX_PASS(px_h5_write_attr_text(h5, "/", texts[i].name, texts[i].value));
    return NULL;
}

/* step, epoch, position and seed as small datasets too, for people who look with h5dump. */
static px_err *write_numbers_all(px_h5 *h5, const px_ranks *ranks, const px_state *state,
                                 int64_t seed) {
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"/state/step", state->step},
                   {"/state/epoch", state->epoch},
                   {"/state/position", state->batch},
                   {"/state/seed", seed}};
    int64_t one = 1;
    for (size_t i = 0; i < PX_COUNT(numbers); i++)
        PX_PASS(px_h5_write_rows_all(h5, numbers[i].name, PX_H5_I64, 1, &one, 0, ranks->rank == 0,
                                     &numbers[i].value));
    return NULL;
}

static px_err *write_file_all(const px_ranks *ranks, const char *path, const px_checkpoint *ckpt,
                              const px_state *state, const px_digest *sha256) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    const px_params *params = ckpt->params;
    int64_t seed = 0;
    cJSON *config = NULL;
    PX_PASS_TO(done, px_h5_create_all(path, ranks, &h5));
    for (int i = 0; i < params->n_params; i++) {
        const px_param *p = &params->params[i];
        PX_PASS_TO(done, write_tensor_all(h5, ranks, "trainable", p, params->values));
        PX_PASS_TO(done, write_tensor_all(h5, ranks, "optim/m", p, ckpt->m));
        PX_PASS_TO(done, write_tensor_all(h5, ranks, "optim/v", p, ckpt->v));
    }
    PX_PASS_TO(done, px_h5_write_texts(h5, "/ids", ckpt->ids, params->n_users));
    PX_PASS_TO(done, write_state(h5, ckpt, state, sha256));
    PX_PASS_TO(done, px_json_parse(ckpt->config_json, strlen(ckpt->config_json), &config));
    seed = (int64_t)px_json_find_f64(config, "seed", 0);
    PX_PASS_TO(done, write_numbers_all(h5, ranks, state, seed));
    err = px_h5_publish(h5);
    h5 = NULL;
done:
    cJSON_Delete(config);
    px_h5_close(h5);
    return err;
}

static px_err *drop_old(const char *dir, int64_t keep) {
    px_arena *arena = NULL;
    px_err *err = NULL;
    int64_t *steps = NULL;
    int n = 0;
    PX_PASS_TO(done, px_arena_new(4096, &arena));
    PX_PASS_TO(done, px_checkpoint_list(dir, arena, &steps, &n));
    for (int i = 0; i < n; i++) {
        if (i < keep) continue;
        char *path = px_checkpoint_path(dir, steps[i]);
        if (path) err = px_guard_pass(path);
        if (path && !err) unlink(path); /* one too many is no harm */
        free(path);
        PX_PASS_TO(done, err);
    }
done:
    px_arena_free(arena);
    return err;
}

px_err *px_checkpoint_write_all(const px_ranks *ranks, const px_checkpoint *ckpt,
                                const px_state *state, int64_t keep, px_digest *sha256) {
    char *folder = px_path_join(ckpt->dir, "checkpoints"),
         *path = px_checkpoint_path(ckpt->dir, state->step);
    px_err *err =
        folder && path ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_fault(ranks, "checkpoint");
    if (!err && ranks->rank == 0) err = px_dir_make(folder);
    if (!err) err = px_params_sha256(ckpt->params, sha256);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    px_watch(ranks, "checkpoint", state->step);
    err = write_file_all(ranks, path, ckpt, state, sha256);
    PX_TRY_TO(done, px_agree_all(ranks, err), "checkpoint of step %lld", (long long)state->step);
    err = ranks->rank == 0 ? drop_old(ckpt->dir, keep) : NULL;
    err = px_agree_all(ranks, err);
done:
    free(folder);
    free(path);
    return err;
}
