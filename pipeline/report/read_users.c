/* read_users.c - users.h5 -> a map of the people's embeddings. Their ids are not read. Row 0 is the
 * generic user, who takes no part in the map's directions and is drawn into it. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

/* Past this many numbers a map would take more memory than a report should. */
enum { MOST_NUMBERS = 1 << 28 };

static px_err *dims_of(px_h5 *h5, const char *name, int wanted, int64_t dims[8]) {
    int rank = 0;
    PX_PASS(px_h5_dims(h5, name, &rank, dims));
    if (rank != wanted)
        PX_FAIL(PX_BAD_INPUT, "%s: %s has %d dimensions, wanted %d", px_h5_path(h5), name, rank,
                wanted);
    int64_t left = MOST_NUMBERS;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1) PX_FAIL(PX_BAD_INPUT, "%s: %s is empty", px_h5_path(h5), name);
        left /= dims[i];
    }
    if (left < 1) PX_FAIL(PX_BAD_INPUT, "%s: %s is too large to draw", px_h5_path(h5), name);
    return NULL;
}

static px_err *read_finite(px_h5 *h5, const char *name, int64_t n, double *out) {
    PX_PASS(px_h5_read(h5, name, PX_H5_F64, n, out));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            PX_FAIL(PX_BAD_INPUT, "%s: %s holds a value that is no number, at %lld", px_h5_path(h5),
                    name, (long long)i);
    return NULL;
}

/* w -> a = softmax(w), row by row. */
static void softmax_rows(double *rows, int64_t n, int64_t m) {
    for (int64_t i = 0; i < n; i++) {
        double *row = rows + i * m, top = row[0], sum = 0;
        for (int64_t k = 1; k < m; k++) top = fmax(top, row[k]);
        for (int64_t k = 0; k < m; k++) sum += row[k] = exp(row[k] - top);
        for (int64_t k = 0; k < m; k++) row[k] /= sum;
    }
}

static px_err *map_rows(run_view *run, const double *rows, int64_t n, int64_t m,
                        const double *gram) {
    px_points points = {.rows = rows + m, .gram = gram, .n = n - 1, .m = m};
    run->at = px_take(run->arena, double, n, 2);
    PX_PASS(px_arena_ok(run->arena));
    PX_PASS(px_pca(&points, run->at, rows, run->generic_at, &run->spread));
    run->n_people = n - 1;
    run->has_users = true;
    return NULL;
}

/* e_u = sum_k a_uk V_k: people differ in a_u alone, and (a - b)ᵀ V Vᵀ (a - b) is the squared
 * distance of two of them. */
static px_err *map_bank(run_view *run, px_h5 *h5, px_arena *arena) {
    int64_t bank[8], weights[8];
    PX_PASS(dims_of(h5, "/bank", 3, bank));
    PX_PASS(dims_of(h5, "/weights", 2, weights));
    const int64_t K = bank[0], size = bank[1] * bank[2], n = weights[0];
    if (weights[1] != K)
        PX_FAIL(PX_BAD_INPUT, "%s: /weights has %lld columns for a bank of %lld", px_h5_path(h5),
                (long long)weights[1], (long long)K);
    double *v = px_take_raw(arena, double, K, size), *a = px_take_raw(arena, double, n, K);
    double *gram = px_take(arena, double, K, K);
    PX_PASS(px_arena_ok(arena));
    PX_PASS(read_finite(h5, "/bank", K * size, v));
    PX_PASS(read_finite(h5, "/weights", n * K, a));
    for (int64_t j = 0; j < K; j++)
        for (int64_t k = 0; k <= j; k++) {
            double dot = 0;
            for (int64_t i = 0; i < size; i++) dot += v[j * size + i] * v[k * size + i];
            gram[j * K + k] = gram[k * K + j] = dot;
        }
    const cJSON *mixing = px_view_at(run->config, "user.mixing");
    if (!cJSON_IsString(mixing) || strcmp(mixing->valuestring, "linear") != 0)
        softmax_rows(a, n, K);
    run->person_bytes = (double)K * sizeof(float);
    run->shared_bytes = (double)K * (double)size * sizeof(float);
    run->n_tokens = bank[1];
    run->width = bank[2];
    return map_rows(run, a, n, K, gram);
}

static px_err *map_individual(run_view *run, px_h5 *h5, px_arena *arena) {
    int64_t dims[8];
    PX_PASS(dims_of(h5, "/embeddings", 3, dims));
    const int64_t m = dims[1] * dims[2];
    double *e = px_take_raw(arena, double, dims[0], m);
    PX_PASS(px_arena_ok(arena));
    PX_PASS(read_finite(h5, "/embeddings", dims[0] * m, e));
    run->person_bytes = (double)m * sizeof(float);
    run->n_tokens = dims[1];
    run->width = dims[2];
    return map_rows(run, e, dims[0], m, NULL);
}

static px_err *map_file(run_view *run, const char *path) {
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    px_err *err = NULL;
    PX_PASS_TO(done, px_h5_open(path, &h5));
    PX_PASS_TO(done, px_arena_new(65536, &arena));
    if (px_h5_has(h5, "/embeddings"))
        err = map_individual(run, h5, arena);
    else if (px_h5_has(h5, "/weights") && px_h5_has(h5, "/bank"))
        err = map_bank(run, h5, arena);
    else
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s: neither /embeddings nor /weights and /bank", path);
done:
    px_h5_close(h5);
    px_arena_free(arena);
    return err;
}

px_err *px_run_view_users(run_view *run) {
    char *path = px_path_join(run->path, "users.h5");
    if (!path) PX_NO_MEMORY();
    const cJSON *model = px_view_at(run->config, "user.model");
    bool wanted = cJSON_IsString(model) && strcmp(model->valuestring, "none") != 0;
    px_err *err = NULL;
    if (px_path_exists(path))
        err = px_run_view_forgive(run, map_file(run, path));
    else if (wanted)
        err = px_run_view_note(run, "users.h5 is missing: it is written when training completes");
    free(path);
    return err;
}
