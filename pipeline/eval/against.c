/* against.c - another evaluation's own margins, believed only when it is of exactly the same pairs.
 * Names no person and no conversation in what it says. */
#include "eval.h"

#include <math.h>
#include <string.h>

static px_err *check_corpus(px_h5 *h5, const px_corpus *corpus, px_arena *arena) {
    const char *sha256 = NULL;
    PX_TRY(px_h5_read_attr_text(h5, "/", "corpus_sha256", arena, &sha256),
           "not a file that `prismx eval` wrote");
    if (strcmp(sha256, corpus->sha256) != 0)
        PX_FAIL(PX_BAD_INPUT,
                "made on another corpus (SHA-256 %.16s…) than %s (%.16s…): evaluate both on one",
                sha256, corpus->path, corpus->sha256);
    return NULL;
}

static px_err *check_settings(px_h5 *h5, const px_eval_result *result, px_arena *arena,
                              px_against *out) {
    const char *text = NULL;
    cJSON *summary = NULL;
    PX_PASS(px_h5_read_attr_text(h5, "/", "summary", arena, &text));
    PX_TRY(px_json_parse(text, strlen(text), &summary), "its summary");
    out->beta = px_json_find_f64(summary, "beta", NAN);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(summary, "length_normalised");
    bool normalised = cJSON_IsTrue(item);
    cJSON_Delete(summary);
    if (normalised != result->length_normalised)
        PX_FAIL(PX_BAD_INPUT,
                "its margins are %s, these %s: evaluate both with the same "
                "--set train.length_normalised=",
                normalised ? "per token" : "of whole responses",
                normalised ? "of whole responses" : "per token");
    if (out->beta != result->beta)
        px_warn("--against %s: its margins are with loss.beta %g, these with %g; --set loss.beta= "
                "gives another",
                px_h5_path(h5), out->beta, result->beta);
    return NULL;
}

static px_err *check_column(px_h5 *h5, const char *name, const int32_t *wanted, int32_t n,
                            int32_t *room) {
    PX_PASS(px_h5_read(h5, name, PX_H5_I32, n, room));
    for (int32_t i = 0; i < n; i++)
        if (room[i] != wanted[i])
            PX_FAIL(PX_BAD_INPUT, "pair %d of %d is another than here (%s is %d, here %d)", i + 1,
                    n, name, room[i], wanted[i]);
    return NULL;
}

static px_err *check_pairs(px_h5 *h5, const px_corpus *corpus, const px_eval_result *result,
                           px_arena *arena) {
    int32_t n = result->n, *room = px_take(arena, int32_t, n);
    int32_t *columns[3];
    const char **convs = NULL;
    int64_t n_there = 0;
    for (int k = 0; k < 3; k++) columns[k] = px_take(arena, int32_t, n);
    PX_PASS(px_arena_ok(arena));
    PX_PASS(px_h5_read_texts(h5, "/pairs/conversation_id", arena, &convs, &n_there));
    if (n_there != n)
        PX_FAIL(PX_BAD_INPUT, "it has %lld pairs, here are %d: the same --split is wanted",
                (long long)n_there, n);
    for (int32_t i = 0; i < n; i++) {
        const px_pair *pair = &corpus->pairs[result->pairs[i]];
        columns[0][i] = pair->turn;
        columns[1][i] = pair->chosen_id;
        columns[2][i] = pair->rejected_id;
        if (strcmp(convs[i], corpus->convs[pair->conv].id) != 0)
            PX_FAIL(PX_BAD_INPUT, "pair %d of %d is of another conversation than here", i + 1, n);
    }
    PX_PASS(check_column(h5, "/pairs/index", result->pairs, n, room));
    PX_PASS(check_column(h5, "/pairs/turn", columns[0], n, room));
    PX_PASS(check_column(h5, "/pairs/chosen_id", columns[1], n, room));
    return check_column(h5, "/pairs/rejected_id", columns[2], n, room);
}

static px_err *read_all(px_h5 *h5, const px_corpus *corpus, const px_eval_result *result,
                        px_arena *arena, px_against *out) {
    double *margin = px_take(arena, double, result->n);
    PX_PASS(px_arena_ok(arena));
    PX_PASS(check_corpus(h5, corpus, arena));
    PX_PASS(check_pairs(h5, corpus, result, arena));
    PX_PASS(check_settings(h5, result, arena, out));
    PX_PASS(px_h5_read(h5, "/margins/own", PX_H5_F64, result->n, margin));
    for (int32_t i = 0; i < result->n; i++)
        if (!isfinite(margin[i]))
            PX_FAIL(PX_BAD_INPUT, "/margins/own row %d is not a finite number", i);
    out->margin = margin;
    return NULL;
}

px_err *px_against_read(const char *path, const px_corpus *corpus, const px_eval_result *result,
                        px_arena *arena, px_against *out) {
    px_h5 *h5 = NULL;
    *out = (px_against){0};
    px_err *err = px_h5_open(path, &h5);
    if (!err) err = read_all(h5, corpus, result, arena, out);
    px_h5_close(h5);
    return err ? px_err_add(err, __FILE__, __LINE__, "--against %s", path) : NULL;
}
