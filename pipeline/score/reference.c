/* reference.c - the frozen base's log-probabilities, computed once per (weights, corpus, precision)
 * and kept in a file that every run of a sweep shares. The key is a hash of contents, never of
 * names or dates. */
#include "score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Raised when the same weights and corpus would give other numbers than before. */
#define REFERENCE_VERSION "1"

static px_err *reference_key(const px_scorer *base, const px_reference *io, px_digest *key) {
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    px_sha_text(sha, "prismx reference " REFERENCE_VERSION);
    px_sha_text(sha, io->weights_sha256);
    px_sha_text(sha, base->corpus->sha256);
    static const char *const precisions[] = {"bf16", "f32", "q8_0", "q4_1"};
    px_sha_text(sha, precisions[base->config->precision]);
    if (base->config->device == PX_DEVICE_CUDA) px_sha_text(sha, "cuda");
    if (base->config->device == PX_DEVICE_SIMT) px_sha_text(sha, "simt");
    return px_sha_end(sha, key);
}

static void reference_path(const px_scorer *base, const char *dir, const px_digest *key, char *out,
                           size_t size) {
    const char *slash = strrchr(base->corpus->path, '/');
    const char *name = slash ? slash + 1 : base->corpus->path;
    int stem = (int)strlen(name);
    if (stem > 3 && !strcmp(name + stem - 3, ".h5")) stem -= 3;
    if (dir[0])
        snprintf(out, size, "%s/%.*s.ref-%.16s.h5", dir, stem, name, key->hex);
    else
        snprintf(out, size, "%.*s%.*s.ref-%.16s.h5",
                 (int)(slash ? slash + 1 - base->corpus->path : 0), base->corpus->path, stem, name,
                 key->hex);
}

static px_err *cache_read(const char *path, const px_digest *key, int32_t n_pairs, double *logps) {
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    px_err *err = NULL;
    const char *stored = NULL;
    PX_PASS_TO(done, px_arena_new(4096, &arena));
    PX_PASS_TO(done, px_h5_open(path, &h5));
    PX_PASS_TO(done, px_h5_read_attr_text(h5, "/", "key", arena, &stored));
    if (strcmp(stored, key->hex) != 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: made for another model or corpus", path);
    PX_PASS_TO(done, px_h5_read(h5, "/logps", PX_H5_F64, 2 * (int64_t)n_pairs, logps));
    const char *wanted = NULL;
    px_digest content;
    PX_PASS_TO(done, px_h5_read_attr_text(h5, "/", "sha256", arena, &wanted));
    PX_PASS_TO(done, px_sha_bytes(logps, 2 * sizeof *logps * (size_t)n_pairs, &content));
    if (strcmp(wanted, content.hex) != 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: content does not fit its checksum", path);
done:
    px_h5_close(h5);
    px_arena_free(arena);
    return err;
}

static px_err *cache_write(const char *path, const px_digest *key, int32_t n_pairs,
                           const double *logps) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    px_digest content;
    int64_t dims[2] = {n_pairs, 2};
    PX_PASS_TO(done, px_sha_bytes(logps, 2 * sizeof *logps * (size_t)n_pairs, &content));
    PX_PASS_TO(done, px_h5_create(path, &h5));
    PX_PASS_TO(done, px_h5_write(h5, "/logps", PX_H5_F64, 2, dims, logps));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "key", key->hex));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "sha256", content.hex));
    err = px_h5_publish(h5);
    h5 = NULL;
done:
    px_h5_close(h5);
    return err;
}

/* Rank 0 alone: beside the corpus, else in the fallback folder; where neither can be written, a
 * warning. */
static void cache_keep(const px_scorer *base, px_reference *io, const px_digest *key,
                       const double *logps) {
    const char *places[2] = {io->dir, io->fallback_dir};
    for (int i = 0; i < 2; i++) {
        if (!places[i]) continue;
        reference_path(base, places[i], key, io->path, sizeof io->path);
        px_err *err = cache_write(io->path, key, base->corpus->n_pairs, logps);
        if (!err) return;
        px_warn("reference log-probabilities not kept: %s", px_err_text(err));
        px_err_free(err);
    }
}

static bool cache_find(const px_scorer *base, px_reference *io, const px_digest *key,
                       double *logps) {
    const char *places[2] = {io->dir, io->fallback_dir};
    for (int i = 0; i < 2; i++) {
        if (!places[i]) continue;
        reference_path(base, places[i], key, io->path, sizeof io->path);
        if (!px_path_exists(io->path)) continue;
        px_err *err = cache_read(io->path, key, base->corpus->n_pairs, logps);
        if (!err) return true;
        px_warn("reference cache is not used: %s", px_err_text(err));
        px_err_free(err);
    }
    return false;
}

px_err *px_reference_all(const px_scorer *base, px_reference *io, double *logps) {
    px_digest key;
    int32_t n = base->corpus->n_pairs;
    PX_PASS(px_agree_all(base->ranks, reference_key(base, io, &key)));
    int found = base->ranks->rank == 0 ? cache_find(base, io, &key, logps) : 0;
    px_bcast_all(base->ranks, &found, sizeof found, 0);
    io->from_cache = found;
    if (found) {
        px_bcast_all(base->ranks, logps, 2 * sizeof *logps * (size_t)n, 0);
        px_info("reference: log-probabilities of %d pairs from %s", n, io->path);
        return NULL;
    }
    int32_t *pairs = malloc(2 * sizeof *pairs * (size_t)(n + 1)), *users = pairs + n;
    px_err *err = pairs ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(base->ranks, err));
    for (int32_t i = 0; i < n; i++) {
        pairs[i] = i;
        users[i] = -1;
    }
    px_scorer scorer = *base;
    scorer.stoppable = true; /* nothing is lost but the time: there is no state yet */
    PX_PASS_TO(done, px_score_all(&scorer, pairs, users, n, "reference", logps));
    if (base->ranks->rank == 0) cache_keep(base, io, &key, logps);
done:
    free(pairs);
    return err;
}
