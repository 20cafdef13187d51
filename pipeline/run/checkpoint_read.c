/* checkpoint_read.c - a checkpoint is believed only when every tensor is there, of the shape
 * wanted, finite, and the whole fits its hash. See run.h. */
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static px_err *read_tensor(px_h5 *h5, const char *group, const px_param *p, float *values) {
    char name[256];
    int rank = 0;
    int64_t dims[8];
    snprintf(name, sizeof name, "/%s/%s", group, p->name);
    PX_PASS(px_h5_dims(h5, name, &rank, dims));
    bool fits = rank == p->rank;
    for (int i = 0; fits && i < rank; i++) fits = dims[i] == p->dims[i];
    if (!fits)
        PX_FAIL(PX_BAD_INPUT,
                "%s: %s has another shape than this model, configuration and corpus need",
                px_h5_path(h5), name);
    PX_PASS(px_h5_read(h5, name, PX_H5_F32, (int64_t)p->n, values + p->offset));
    for (size_t i = 0; i < p->n; i++)
        if (!isfinite(values[p->offset + i]))
            PX_FAIL(PX_BAD_INPUT, "%s: %s holds a number that is not finite", px_h5_path(h5), name);
    return NULL;
}

static px_err *same_text(px_h5 *h5, const char *name, const char *wanted, px_arena *arena) {
    const char *stored = NULL;
    PX_PASS(px_h5_read_attr_text(h5, "/", name, arena, &stored));
    if (wanted && strcmp(stored, wanted) != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: %s is %.16s…, this run's is %.16s…: made with other files",
                px_h5_path(h5), name, stored, wanted);
    return NULL;
}

static px_err *same_people(px_h5 *h5, const px_checkpoint *ckpt, px_arena *arena) {
    const char **ids = NULL;
    int64_t n = 0;
    PX_PASS(px_h5_read_texts(h5, "/ids", arena, &ids, &n));
    if (n != ckpt->params->n_users)
        PX_FAIL(PX_BAD_INPUT, "%s: has %lld people, %d are wanted", px_h5_path(h5), (long long)n,
                ckpt->params->n_users);
    for (int64_t i = 0; ckpt->ids && i < n; i++)
        if (strcmp(ids[i], ckpt->ids[i]) != 0)
            PX_FAIL(PX_BAD_INPUT, "%s: row %lld belongs to another person than in this corpus",
                    px_h5_path(h5), (long long)i);
    return NULL;
}

static px_err *read_state(px_h5 *h5, px_state *state) {
    int64_t format = 0;
    PX_PASS(px_h5_read_attr_i64(h5, "/", "format", &format));
    if (format != 1)
        PX_FAIL(PX_BAD_INPUT, "%s: checkpoint format %lld, this program reads 1", px_h5_path(h5),
                (long long)format);
    PX_PASS(px_h5_read_attr_i64(h5, "/", "step", &state->step));
    PX_PASS(px_h5_read_attr_i64(h5, "/", "epoch", &state->epoch));
    PX_PASS(px_h5_read_attr_i64(h5, "/", "position", &state->batch));
    PX_PASS(px_h5_read_attr_i64(h5, "/", "n_tokens", &state->n_tokens));
    PX_PASS(px_h5_read_attr_i64(h5, "/", "total", &state->total));
    if (state->step < 0 || state->epoch < 0 || state->batch < 0 || state->n_tokens < 0)
        PX_FAIL(PX_BAD_INPUT, "%s: a negative step, epoch or position", px_h5_path(h5));
    return NULL;
}

static px_err *read_all(px_h5 *h5, const px_checkpoint *ckpt, px_state *state, px_arena *arena) {
    px_params *params = ckpt->params;
    px_digest digest;
    PX_PASS(read_state(h5, state));
    PX_PASS(same_text(h5, "corpus_sha256", ckpt->corpus_sha256, arena));
    PX_PASS(same_text(h5, "weights_sha256", ckpt->weights_sha256, arena));
    PX_PASS(same_people(h5, ckpt, arena));
    for (int i = 0; i < params->n_params; i++) {
        PX_PASS(read_tensor(h5, "trainable", &params->params[i], params->values));
        if (!ckpt->m) continue;
        PX_PASS(read_tensor(h5, "optim/m", &params->params[i], ckpt->m));
        PX_PASS(read_tensor(h5, "optim/v", &params->params[i], ckpt->v));
    }
    PX_PASS(px_params_sha256(params, &digest));
    const char *stored = NULL;
    PX_PASS(px_h5_read_attr_text(h5, "/", "sha256", arena, &stored));
    if (strcmp(stored, digest.hex) != 0)
        PX_FAIL(PX_BAD_INPUT,
                "%s: content does not fit its checksum: sha256 says %.16s…, the tensors give "
                "%.16s…",
                px_h5_path(h5), stored, digest.hex);
    return NULL;
}

px_err *px_checkpoint_read(const px_checkpoint *ckpt, int64_t step, px_state *state) {
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    px_err *err = NULL;
    char *path = px_checkpoint_path(ckpt->dir, step);
    if (!path) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_arena_new(65536, &arena));
    PX_PASS_TO(done, px_h5_open(path, &h5));
    PX_PASS_TO(done, read_all(h5, ckpt, state, arena));
    if (state->step != step)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: holds step %lld", path, (long long)state->step);
done:
    px_h5_close(h5);
    px_arena_free(arena);
    free(path);
    return err;
}
