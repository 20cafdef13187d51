/* identity.c - which weights an arm answers with, by their content: a path may hold others when an
 * interrupted job goes on. */
#include <string.h>

#include "answer_internal.h"

static px_err *weights_digest(const char *path, px_digest *out) {
    px_source *source = NULL;
    PX_PASS(px_source_open(path, &source));
    px_err *err = px_source_sha256(source, out);
    px_source_close(source);
    return err;
}

static px_err *params_digest(const answer_arm *arm, px_digest *out) {
    px_run run;
    PX_PASS(px_run_open(arm->run_dir, arm->step, arm->model_path, &run));
    px_err *err = px_params_sha256(run.params, out);
    px_run_close(&run);
    return err;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

px_err *arm_identity(const px_ranks *ranks, const answer_arm *arms, int32_t arm, px_str *out) {
    const answer_arm *a = &arms[arm];
    px_digest digest;
    if (ranks->rank != 0 || a->endpoint) return NULL;
    for (int32_t i = 0; i < arm; i++) /* arms that share weights share a reading */
        if (!arms[i].endpoint && arms[i].step == a->step &&
            same_text(arms[i].model_path, a->model_path) && same_text(arms[i].run_dir, a->run_dir))
            return NULL;
    if (a->run_dir)
        PX_PASS(params_digest(a, &digest));
    else
        PX_PASS(weights_digest(a->model_path, &digest));
    px_str_format(out, "\"%s_sha256\": \"%s\", ", a->run_dir ? "params" : "weights", digest.hex);
    return NULL;
}
