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

int32_t arm_first_alike(const answer_arm *arms, int32_t arm) {
    const answer_arm *a = &arms[arm];
    int32_t i = 0;
    while (i < arm && (arms[i].endpoint || arms[i].step != a->step ||
                       !same_text(arms[i].model_path, a->model_path) ||
                       !same_text(arms[i].run_dir, a->run_dir)))
        i++;
    return i;
}

px_err *arm_digest(const answer_arm *arms, int32_t arm, bool *is_new, px_digest *out) {
    const answer_arm *a = &arms[arm];
    *is_new = !a->endpoint && arm_first_alike(arms, arm) == arm; /* one reading of shared weights */
    if (!*is_new) return NULL;
    return a->run_dir ? params_digest(a, out) : weights_digest(a->model_path, out);
}

px_err *arm_identity(const px_ranks *ranks, const answer_arm *arms, int32_t arm, px_str *out) {
    px_digest digest;
    bool is_new = false;
    if (ranks->rank != 0) return NULL;
    PX_PASS(arm_digest(arms, arm, &is_new, &digest));
    if (is_new)
        px_str_format(out, "\"%s_sha256\": \"%s\", ", arms[arm].run_dir ? "params" : "weights",
                      digest.hex);
    return NULL;
}

px_err *arms_describe(const px_ranks *ranks, const answer_arm *arms, int32_t n, px_str *out) {
    static const char *const users[] = {"own", "generic", "none"};
    static const char *const keys[] = {"name", "model", "run"};
    px_str_char(out, '[');
    for (int32_t i = 0; i < n; i++) {
        const answer_arm *arm = &arms[i];
        const char *texts[] = {arm->name, arm->model_path, arm->run_dir};
        px_str_text(out, i ? ",\n    {" : "\n    {");
        for (int k = 0; k < 3; k++) {
            if (!texts[k]) continue;
            px_str_format(out, "\"%s\": ", keys[k]);
            px_str_json(out, texts[k], strlen(texts[k]));
            px_str_text(out, ", ");
        }
        if (arm->endpoint) {
            px_str_text(out, "\"endpoint\": ");
            px_json_print(arm->endpoint, out);
            px_str_text(out, ", ");
        }
        PX_PASS(arm_identity(ranks, arms, i, out));
        px_str_format(out, "\"step\": %lld, \"user\": \"%s\", \"context\": %d}",
                      (long long)arm->step, users[arm->user], (int)arm->context);
    }
    px_str_text(out, "\n  ]");
    return px_str_ok(out);
}
