/* users.c - people and their rows; users.h5. */
#include "run.h"

#include <stdlib.h>

px_err *px_rows_of(const px_corpus *corpus, px_arena *arena, px_rows *out) {
    int32_t *rows = px_take(arena, int32_t, corpus->n_users);
    const char **ids = px_take(arena, const char *, corpus->n_users + 1);
    PX_PASS(px_arena_ok(arena));
    for (int32_t p = 0; p < corpus->n_pairs; p++) {
        const px_conv *conv = &corpus->convs[corpus->pairs[p].conv];
        if (conv->split == PX_SPLIT_TRAIN) rows[conv->user] = 1;
    }
    int32_t n = 1;
    ids[0] = "";
    for (int32_t u = 0; u < corpus->n_users; u++) {
        if (!rows[u]) continue;
        ids[n] = corpus->user_ids[u];
        rows[u] = n++;
    }
    *out = (px_rows){rows, ids, n};
    return NULL;
}

static px_err *write_param(px_h5 *h5, const px_params *params, const char *name, const char *as) {
    const px_param *p = px_params_find(params, name);
    if (!p) return NULL;
    return px_h5_write(h5, as, PX_H5_F32, p->rank, p->dims, params->values + p->offset);
}

/* e_u of rows [first, first + n): [n, T_u, d], or [T_u, d] for one. */
static px_err *write_embeddings(px_h5 *h5, const px_params *params, const char *as, int32_t first,
                                int32_t n) {
    int64_t dims[3] = {n, params->n_tokens, params->d};
    size_t one = (size_t)params->n_tokens * (size_t)params->d;
    float *e = malloc(one * (size_t)n * sizeof *e + 1);
    if (!e) PX_NO_MEMORY();
    for (int32_t u = 0; u < n; u++) px_user_embed(params, first + u, e + (size_t)u * one);
    px_err *err = n == 1 ? px_h5_write(h5, as, PX_H5_F32, 2, dims + 1, e)
                         : px_h5_write(h5, as, PX_H5_F32, 3, dims, e);
    free(e);
    return err;
}

px_err *px_users_write(const char *dir, const px_params *params, const char *const *ids) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    char *path = px_path_join(dir, "users.h5");
    if (!path) PX_NO_MEMORY();
    PX_PASS_TO(done, px_h5_create(path, &h5));
    PX_PASS_TO(done, px_h5_write_texts(h5, "/ids", ids, params->n_users));
    PX_PASS_TO(done, write_param(h5, params, "user.weights", "/weights"));
    PX_PASS_TO(done, write_param(h5, params, "user.bank", "/bank"));
    if (params->n_tokens > 0) PX_PASS_TO(done, write_embeddings(h5, params, "/generic", 0, 1));
    if (params->user_kind == PX_USER_INDIVIDUAL)
        PX_PASS_TO(done, write_embeddings(h5, params, "/embeddings", 0, params->n_users));
    err = px_h5_publish(h5);
    h5 = NULL;
done:
    px_h5_close(h5);
    free(path);
    return err;
}
