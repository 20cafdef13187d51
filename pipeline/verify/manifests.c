/* manifests.c - two configurations, two manifests, two whole runs. See verify.h. */
#include "verify_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    px_diffs *out;
    px_diff_kind kind;
    bool config; /* counts where the key matters to results */
    bool counts;
} walk;

static px_err *walk_values(const walk *w, const char *path, const cJSON *a, const cJSON *b);

/* Members of one object, and those of the other that it lacks. */
static px_err *walk_members(const walk *w, const char *path, const cJSON *a, const cJSON *b) {
    char deeper[256];
    for (int side = 0; side < 2; side++) {
        const cJSON *here = side ? b : a, *there = side ? a : b, *item = NULL;
        cJSON_ArrayForEach(item, here) {
            const cJSON *other = cJSON_GetObjectItemCaseSensitive(there, item->string);
            if (side && other) continue;
            snprintf(deeper, sizeof deeper, "%s%s%s", path, *path ? "." : "", item->string);
            PX_PASS(walk_values(w, deeper, side ? other : item, side ? item : other));
        }
    }
    return NULL;
}

static px_err *walk_values(const walk *w, const char *path, const cJSON *a, const cJSON *b) {
    if (cJSON_IsObject(a) && cJSON_IsObject(b)) return walk_members(w, path, a, b);
    px_str text[2] = {{0}};
    px_err *err = NULL;
    if (a) px_json_print(a, &text[0]);
    if (b) px_json_print(b, &text[1]);
    PX_PASS_TO(done, a ? px_str_ok(&text[0]) : NULL);
    PX_PASS_TO(done, b ? px_str_ok(&text[1]) : NULL);
    if (a && b && !strcmp(text[0].data, text[1].data)) goto done;
    err = px_diffs_add(w->out,
                       (px_diff){.kind = w->kind,
                                 .counts = w->config ? px_config_key_affects(path) : w->counts,
                                 .step = -1,
                                 .name = path,
                                 .a = verify_value(w->out->arena, a),
                                 .b = verify_value(w->out->arena, b)});
done:
    px_str_free(&text[0]);
    px_str_free(&text[1]);
    return err;
}

px_err *px_diff_configs(const cJSON *a, const cJSON *b, px_diffs *out) {
    walk w = {.out = out, .kind = PX_DIFF_CONFIG, .config = true};
    return walk_values(&w, "", a, b);
}

/* "inputs.corpus.sha256" of a manifest. */
static const cJSON *at(const cJSON *object, const char *path) {
    char word[64];
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(word, sizeof word, "%.*s", (int)(dot - path), path);
        object = cJSON_GetObjectItemCaseSensitive(object, word);
    }
    return cJSON_GetObjectItemCaseSensitive(object, path);
}

px_err *px_diff_manifests(const cJSON *a, const cJSON *b, px_diffs *out) {
    static const struct {
        const char *path;
        px_diff_kind kind;
        bool counts;
    } parts[] = {
        {"corpus_sha256", PX_DIFF_INPUT, true},    {"weights_sha256", PX_DIFF_INPUT, true},
        {"tokenizer_sha256", PX_DIFF_INPUT, true}, {"template", PX_DIFF_INPUT, true},
        {"reference_sha256", PX_DIFF_INPUT, true}, {"program", PX_DIFF_PROGRAM, false},
        {"libraries", PX_DIFF_PROGRAM, false},     {"kernels", PX_DIFF_PROGRAM, false},
        {"host.cpu", PX_DIFF_MACHINE, false},      {"host.features", PX_DIFF_MACHINE, false},
        {"hosts", PX_DIFF_MACHINE, false},         {"ranks", PX_DIFF_MACHINE, false},
        {"threads", PX_DIFF_MACHINE, false}};
    for (size_t i = 0; i < PX_COUNT(parts); i++) {
        const cJSON *x = at(a, parts[i].path), *y = at(b, parts[i].path);
        walk w = {.out = out, .kind = parts[i].kind, .counts = parts[i].counts};
        /* Older manifests lack what later ones say: that tells nothing of the run. */
        if (x && y) PX_PASS(walk_values(&w, parts[i].path, x, y));
    }
    return NULL;
}

/* --- two run folders --- */
static px_err *same_params(const cJSON *a, const cJSON *b, px_diffs *out) {
    walk w = {.out = out, .kind = PX_DIFF_FILE, .counts = true};
    const cJSON *x = at(a, "params_sha256"), *y = at(b, "params_sha256");
    if (x || y) PX_PASS(walk_values(&w, "params_sha256", x, y));
    w.counts = false;
    return walk_values(&w, "status", at(a, "status"), at(b, "status"));
}

static px_err *same_files(const char *a, const char *b, px_diffs *out) {
    char *paths[4] = {px_path_join(a, "metrics.jsonl"), px_path_join(b, "metrics.jsonl"),
                      px_path_join(a, "users.h5"), px_path_join(b, "users.h5")};
    px_err *err = NULL;
    int64_t n = 0;
    for (int i = 0; i < 4; i++)
        if (!paths[i]) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_diff_metrics(paths[0], paths[1], 1, INT64_MAX, out, &n));
    if (px_path_exists(paths[2]) && px_path_exists(paths[3])) {
        px_h5_pair pair = {.path_a = paths[2], .path_b = paths[3], .step = -1};
        err = px_diff_files(&pair, out, &n);
    }
done:
    for (int i = 0; i < 4; i++) free(paths[i]);
    return err;
}

/* Checkpoints that both have, oldest first; one that only one kept is mentioned. */
static px_err *same_checkpoints(const char *a, const char *b, px_diffs *out) {
    int64_t *steps[2] = {NULL, NULL}, n_tensors = 0;
    int n[2] = {0, 0};
    PX_PASS(px_checkpoint_list(a, out->arena, &steps[0], &n[0]));
    PX_PASS(px_checkpoint_list(b, out->arena, &steps[1], &n[1]));
    int i = n[0] - 1, j = n[1] - 1;
    while (i >= 0 || j >= 0) {
        int64_t x = i >= 0 ? steps[0][i] : INT64_MAX, y = j >= 0 ? steps[1][j] : INT64_MAX;
        int64_t step = PX_MIN(x, y);
        i -= x == step;
        j -= y == step;
        if (x != y) {
            PX_PASS(px_diffs_add(out, (px_diff){.kind = PX_DIFF_FILE,
                                                .step = step,
                                                .name = "checkpoint",
                                                .a = x == step ? "there" : "none",
                                                .b = y == step ? "there" : "none"}));
            continue;
        }
        char *path_a = px_checkpoint_path(a, step), *path_b = px_checkpoint_path(b, step);
        px_h5_pair pair = {.path_a = path_a, .path_b = path_b, .step = step};
        px_err *err = path_a && path_b
                          ? px_diff_files(&pair, out, &n_tensors)
                          : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
        free(path_a);
        free(path_b);
        PX_PASS(err);
    }
    return NULL;
}

px_err *px_diff_runs(const char *a, const char *b, px_diffs *out) {
    cJSON *x = NULL, *y = NULL;
    px_err *err = NULL;
    const char *dirs[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (!px_path_is_dir(dirs[i]))
            PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no such run folder", dirs[i]);
        PX_PASS_TO(done, px_manifest_read(dirs[i], i ? &y : &x));
    }
    PX_PASS_TO(done, px_diff_configs(at(x, "config"), at(y, "config"), out));
    PX_PASS_TO(done, px_diff_manifests(x, y, out));
    PX_PASS_TO(done, same_params(x, y, out));
    PX_PASS_TO(done, same_files(a, b, out));
    err = same_checkpoints(a, b, out);
done:
    cJSON_Delete(x);
    cJSON_Delete(y);
    return err;
}
