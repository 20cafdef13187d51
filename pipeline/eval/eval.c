/* eval.c - from a run and a corpus to rewards of every pair of the chosen splits. See eval.h. */
#include "eval_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_eval *job;
    px_arena *arena;
    px_corpus *corpus;
    px_run run; /* arena NULL: the base model */
    px_stream *stream;
    px_model *model;
    px_shape shape;
    px_digest weights_sha256;
    double *reference;
    px_eval_result result;
} evaluation;

static const char *const split_names[] = {"train", "seen", "unseen"};
static const char *const type_names[] = {"unguided", "values guided", "controversy guided",
                                         "other"};

static bool has_run(const evaluation *e) { return e->job->run_dir != NULL; }
static const char *model_path(const evaluation *e) {
    return has_run(e) ? e->run.model_path : e->job->model_path;
}

static px_err *open_model(evaluation *e) {
    px_source *source = NULL;
    px_err *err = NULL;
    const char *path = model_path(e);
    PX_PASS_TO(done, px_source_open(path, &source));
    e->shape = *px_source_shape(source);
    PX_PASS_TO(done, px_source_sha256(source, &e->weights_sha256));
    if (has_run(e) && strcmp(e->weights_sha256.hex, e->run.weights_sha256) != 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s holds other weights than the run was trained on", path);
    PX_PASS_TO(done, px_model_stream(e->config, e->job->threads, &e->stream));
    PX_PASS_TO(done, px_score_reserve(e->stream, e->config, &e->shape, e->corpus, has_run(e)));
    PX_PASS_TO(done, px_model_new(e->stream, source, e->config, has_run(e) ? PX_MODEL_LORA : 0,
                                  &e->model));
done:
    px_source_close(source);
    return err;
}

static px_err *open_inputs(evaluation *e) {
    PX_PASS(px_arena_new(65536, &e->arena));
    if (has_run(e))
        PX_PASS(px_run_open(e->job->run_dir, e->job->step, e->job->model_path, &e->run));
    PX_PASS(px_corpus_open(e->job->corpus_path, &e->corpus));
    PX_PASS(px_corpus_check_model(e->corpus, model_path(e)));
    e->reference = px_take(e->arena, double, 2, e->corpus->n_pairs);
    PX_PASS(px_arena_ok(e->arena));
    return open_model(e);
}

static px_err *select_pairs(evaluation *e) {
    int32_t *pairs = px_take(e->arena, int32_t, e->corpus->n_pairs), n = 0;
    PX_PASS(px_arena_ok(e->arena));
    for (int32_t p = 0; p < e->corpus->n_pairs; p++)
        if (e->job->splits & 1u << e->corpus->convs[e->corpus->pairs[p].conv].split) pairs[n++] = p;
    if (n == 0)
        PX_FAIL(PX_BAD_INPUT, "%s has no pairs in the split that --split names",
                e->job->corpus_path);
    e->result.pairs = pairs;
    e->result.n = n;
    if (e->job->token_logps)
        PX_PASS(px_eval_token_first(e->corpus, &e->result, e->arena, &e->result.tokens.first));
    if (!e->job->against_path) return NULL;
    return px_against_read(e->job->against_path, e->corpus, &e->result, e->arena,
                           &e->result.against);
}

/* Row of params for each pair under `who`; -1: no soft tokens. */
static px_err *rows_for(const evaluation *e, px_who who, const int32_t *other, int32_t *rows) {
    int32_t *of_user = px_take(e->arena, int32_t, e->corpus->n_users);
    PX_PASS(px_arena_ok(e->arena));
    for (int32_t u = 0; u < e->corpus->n_users; u++)
        of_user[u] = e->result.personal ? px_run_row(&e->run, e->corpus->user_ids[u]) : -1;
    for (int32_t i = 0; i < e->result.n; i++) {
        int32_t row = of_user[e->corpus->convs[e->corpus->pairs[e->result.pairs[i]].conv].user];
        rows[i] = row <= 0 || who == PX_OWN ? row : who == PX_GENERIC ? 0 : other[row];
    }
    return NULL;
}

/* logps [2 n] -> both margins [n]. */
static void margins_of(const evaluation *e, const double *logps, double *plain, double *per_token) {
    const px_eval_result *r = &e->result;
    for (int32_t i = 0; i < r->n; i++) {
        const px_pair *pair = &e->corpus->pairs[r->pairs[i]];
        double chosen = logps[2 * i] - r->reference[2 * i];
        double rejected = logps[2 * i + 1] - r->reference[2 * i + 1];
        per_token[i] = r->beta * (chosen / pair->chosen_tokens - rejected / pair->rejected_tokens);
        plain[i] = r->length_normalised ? per_token[i] : r->beta * (chosen - rejected);
    }
}

/* Rows NULL: the base model. *tokens: every token's where they are wanted, else as it was. */
static px_err *score_list_all(evaluation *e, const int32_t *rows, const char *label, double *logps,
                              const double **tokens) {
    px_eval_result *r = &e->result;
    const int64_t *first = r->tokens.first;
    int32_t *none = px_take(e->arena, int32_t, r->n);
    double *values = first ? px_take(e->arena, double, (size_t)first[2 * (size_t)r->n]) : NULL;
    PX_PASS(px_agree_all(e->ranks, px_arena_ok(e->arena)));
    for (int32_t i = 0; i < r->n; i++) none[i] = -1;
    px_scorer scorer = {.ranks = e->ranks,
                        .config = e->config,
                        .corpus = e->corpus,
                        .model = e->model,
                        .params = rows ? e->run.params : NULL,
                        .token_first = first,
                        .token_logps = values};
    PX_PASS(px_score_all(&scorer, r->pairs, rows ? rows : none, r->n, label, logps));
    if (values) *tokens = values;
    return NULL;
}

static px_err *score_who_all(evaluation *e, px_who who, const int32_t *other) {
    static const char *const labels[] = {"own", "generic", "other"};
    px_eval_result *r = &e->result;
    int32_t *rows = px_take(e->arena, int32_t, r->n);
    double *logps = px_take(e->arena, double, 2, r->n), *margin = px_take(e->arena, double, r->n);
    double *per_token = px_take(e->arena, double, r->n);
    px_err *err = px_arena_ok(e->arena);
    if (!err) err = rows_for(e, who, other, rows);
    PX_PASS(px_agree_all(e->ranks, err));
    PX_PASS(score_list_all(e, rows, labels[who], logps, &r->tokens.logps[who]));
    margins_of(e, logps, margin, per_token);
    r->logps[who] = logps;
    r->margin[who] = margin;
    r->margin_per_token[who] = per_token;
    return NULL;
}

static px_err *score_reference_all(evaluation *e) {
    px_scorer base = {
        .ranks = e->ranks, .config = e->config, .corpus = e->corpus, .model = e->model};
    px_reference io = {.weights_sha256 = e->weights_sha256.hex,
                       .dir = e->config->reference_cache,
                       .fallback_dir = e->job->run_dir};
    PX_PASS(px_reference_all(&base, &io, e->reference));
    double *mine = px_take(e->arena, double, 2, e->result.n);
    double *room = px_take(e->arena, double, 2, e->result.n);
    PX_PASS(px_agree_all(e->ranks, px_arena_ok(e->arena)));
    for (int32_t i = 0; i < e->result.n; i++)
        for (int side = 0; side < 2; side++)
            mine[2 * i + side] = e->reference[2 * (int64_t)e->result.pairs[i] + side];
    e->result.reference = mine;
    if (!e->result.tokens.first) return NULL;
    /* The cache has sums alone. */
    return score_list_all(e, NULL, "reference's tokens", room, &e->result.tokens.reference);
}

static px_err *score_all(evaluation *e) {
    px_eval_result *r = &e->result;
    PX_PASS(score_reference_all(e));
    if (!has_run(e)) { /* the base model: the reference is the answer, every margin 0 */
        double *margin = px_take(e->arena, double, r->n);
        r->logps[PX_OWN] = r->reference;
        r->margin[PX_OWN] = r->margin_per_token[PX_OWN] = margin;
        r->tokens.logps[PX_OWN] = r->tokens.reference;
        return px_agree_all(e->ranks, px_arena_ok(e->arena));
    }
    int32_t *other = px_take(e->arena, int32_t, e->run.params->n_users);
    px_err *err = px_arena_ok(e->arena);
    /* Only now: the reference needs the base's own weights. */
    if (!err && e->run.config.full_finetune) err = px_model_update(e->model, e->run.params);
    if (!err) err = px_other_rows((uint64_t)e->config->seed, e->run.params->n_users, other);
    PX_PASS(px_agree_all(e->ranks, err));
    for (int who = 0; who < (r->personal ? PX_N_WHO : 1); who++)
        PX_PASS(score_who_all(e, (px_who)who, other));
    return NULL;
}

/* A pair's share of being ranked as the person did. */
static double right(double margin) { return margin > 0 ? 1 : margin == 0 ? 0.5 : 0; }

static void add_pair(const px_eval_result *r, int32_t i, px_person_sums *s) {
    s->n++;
    for (int w = 0; w < PX_N_WHO; w++) {
        int who = r->margin[w] ? w : PX_OWN;
        s->right[w] += right(r->margin[who][i]);
        s->margin[w] += r->margin[who][i];
        s->right_per_token[w] += right(r->margin_per_token[who][i]);
        s->margin_per_token[w] += r->margin_per_token[who][i];
    }
    if (!r->against.margin) return;
    s->won += right(r->margin[PX_OWN][i] - r->against.margin[i]);
    s->right_against += right(r->against.margin[i]);
}

static px_err *one_row(evaluation *e, int split, int type, px_eval_row *row) {
    const px_eval_result *r = &e->result;
    px_person_sums *people = px_take(e->arena, px_person_sums, e->corpus->n_users + 1);
    PX_PASS(px_arena_ok(e->arena));
    int32_t n_people = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const px_conv *conv = &e->corpus->convs[e->corpus->pairs[r->pairs[i]].conv];
        if ((int)conv->split != split || (type >= 0 && (int)conv->type != type)) continue;
        row->n_pairs++;
        add_pair(r, i, &people[conv->user]);
    }
    for (int32_t u = 0; u < e->corpus->n_users; u++)
        if (people[u].n > 0) people[n_people++] = people[u];
    row->n_people = n_people;
    row->split = split_names[split];
    row->type = type < 0 ? "all" : type_names[type];
    return px_eval_estimate(people, n_people, e->config->eval_bootstrap, (uint64_t)e->config->seed,
                            row);
}

static px_err *summarise(evaluation *e) {
    enum { MOST = 3 * 5 };
    px_eval_row *rows = px_take(e->arena, px_eval_row, MOST);
    int32_t n = 0;
    PX_PASS(px_arena_ok(e->arena));
    for (int split = 0; split < 3; split++)
        for (int type = -1; type < 4; type++) {
            px_eval_row row = {0};
            PX_PASS(one_row(e, split, type, &row));
            if (row.n_pairs) rows[n++] = row;
        }
    e->result.rows = rows;
    e->result.n_rows = n;
    return NULL;
}

static px_err *finish(evaluation *e) {
    px_eval_output out = {.corpus = e->corpus,
                          .run = has_run(e) ? &e->run : NULL,
                          .job = e->job,
                          .config = e->config,
                          .result = &e->result,
                          .truth_correlation = NAN};
    PX_PASS(summarise(e));
    if (e->result.tokens.first)
        PX_PASS(px_eval_token_ids(e->corpus, &e->result, e->arena, &e->result.tokens.ids));
    if (e->job->truth_path && e->result.personal)
        PX_PASS(px_eval_truth(e->job->truth_path, &e->run, &out.truth_correlation));
    PX_PASS(px_eval_write(&out));
    px_eval_print(&out);
    return NULL;
}

px_err *px_eval_all(const px_ranks *ranks, const px_config *config, const px_eval *job) {
    evaluation e = {.ranks = ranks, .config = config, .job = job};
    px_err *err = NULL;
    PX_PASS_TO(done, px_agree_all(ranks, open_inputs(&e)));
    e.result.beta = config->loss_beta;
    e.result.length_normalised = config->train_length_normalised;
    e.result.step = has_run(&e) ? e.run.state.step : -1;
    e.result.personal = has_run(&e) && e.run.params->n_tokens > 0;
    PX_PASS_TO(done, px_agree_all(ranks, select_pairs(&e)));
    PX_PASS_TO(done, score_all(&e));
    err = px_agree_all(ranks, ranks->rank == 0 ? finish(&e) : NULL);
done:
    px_model_free(e.model);
    px_stream_close(e.stream);
    px_corpus_close(e.corpus);
    if (e.run.arena) px_run_close(&e.run);
    px_arena_free(e.arena);
    return err;
}
