/* answer.c - from prompts and arms to a file of answers. See answer.h. */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

typedef struct {
    answering a;
    prompt_list prompts;
    answer_arm *arms;
    int32_t n_arms;
    answer_item *items;
    part_files parts;
    arm_sums *sums; /* [n_arms] */
    px_str job_text;
    double began_s;
} whole;

static px_err *list_items(whole *w) {
    const int64_t n = w->prompts.n * w->n_arms * w->a.config->generate_n;
    if (n > INT32_MAX) PX_FAIL(PX_BAD_INPUT, "%lld answers; at most 2^31", (long long)n);
    w->items = malloc(((size_t)n + 1) * sizeof *w->items);
    if (!w->items) PX_NO_MEMORY();
    for (int32_t p = 0; p < w->prompts.n; p++)
        for (int32_t arm = 0; arm < w->n_arms; arm++)
            for (int32_t s = 0; s < w->a.config->generate_n; s++)
                w->items[w->a.n_items++] = (answer_item){p, arm, s};
    w->a.items = w->items;
    return NULL;
}

/* What answers depend on; a resumed run must have the same. */
static px_err *describe_job(whole *w) {
    static const char *const users[] = {"own", "generic", "none"};
    const px_config *config = w->a.config;
    const px_decoding how = px_decoding_of(config);
    px_str *out = &w->job_text;
    px_str_format(out, "{\n  \"prompts_sha256\": \"%s\",\n  \"arms\": [", w->prompts.sha256.hex);
    for (int32_t i = 0; i < w->n_arms; i++) {
        const answer_arm *arm = &w->arms[i];
        const char *texts[] = {arm->name, arm->model_path, arm->run_dir};
        static const char *const keys[] = {"name", "model", "run"};
        px_str_text(out, i ? ",\n    {" : "\n    {");
        for (int k = 0; k < 3; k++) {
            if (!texts[k]) continue;
            px_str_format(out, "\"%s\": ", keys[k]);
            px_str_json(out, texts[k], strlen(texts[k]));
            px_str_text(out, ", ");
        }
        px_str_format(out, "\"step\": %lld, \"user\": \"%s\"}", (long long)arm->step,
                      users[arm->user]);
    }
    px_str_text(out, "\n  ],\n  \"stop\": [");
    for (int i = 0; i < w->a.job->n_stops; i++) {
        if (i) px_str_text(out, ", ");
        px_str_json(out, w->a.job->stops[i], strlen(w->a.job->stops[i]));
    }
    px_str_text(out, "],\n  \"decoding\": {\"temperature\": ");
    px_str_double(out, how.temperature);
    px_str_format(out, ", \"top_k\": %lld, \"top_p\": ", (long long)how.top_k);
    px_str_double(out, how.top_p);
    px_str_text(out, ", \"min_p\": ");
    px_str_double(out, how.min_p);
    px_str_text(out, ", \"repetition_penalty\": ");
    px_str_double(out, how.repetition_penalty);
    px_str_format(out,
                  ", \"no_repeat_ngram\": %lld, \"min_new_tokens\": %lld, \"max_new_tokens\": "
                  "%lld, \"ignore_eos\": %s, \"logprobs\": %lld, \"n\": %lld, \"seed\": %llu},\n",
                  (long long)how.no_repeat_ngram, (long long)how.min_new_tokens,
                  (long long)how.max_new_tokens, how.ignore_eos ? "true" : "false",
                  (long long)how.logprobs, (long long)config->generate_n,
                  (unsigned long long)how.seed);
    px_str_format(out, "  \"precision\": \"%s\",\n  \"template\": %d\n}\n",
                  config->precision == PX_PRECISION_F32 ? "f32" : "bf16", config->model_template);
    return px_str_ok(out);
}

static px_err *open_all(whole *w) {
    const px_answer_job *job = w->a.job;
    px_err *err = prompts_read(job->prompts_path, &w->prompts);
    w->a.prompts = &w->prompts;
    if (!err) {
        w->n_arms = 1;
        w->arms = calloc(1, sizeof *w->arms);
        w->sums = calloc(1, sizeof *w->sums);
        if (!w->arms || !w->sums)
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
        else
            w->arms[0] = (answer_arm){NULL, job->model_path, job->run_dir, job->step, job->user};
        w->a.arms = w->arms;
    }
    if (!err) err = list_items(w);
    if (!err) err = describe_job(w);
    PX_PASS(px_agree_all(w->a.ranks, err));
    w->a.parts = &w->parts;
    return parts_open_all(w->a.ranks, job->out_path, w->job_text.data, job->resume, job->overwrite,
                          w->a.n_items, &w->parts);
}

static px_err *run_arm_all(whole *w, int32_t arm) {
    int64_t *mine = malloc(((size_t)w->a.n_items + 1) * sizeof *mine), n = 0;
    px_err *err = NULL;
    if (!mine) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    err = px_agree_all(w->a.ranks, err);
    for (int64_t i = 0; !err && i < w->a.n_items; i++)
        if (w->items[i].arm == arm && !w->parts.done[i]) mine[n++] = i;
    if (!err && n > 0) err = arm_local_all(&w->a, arm, mine, n, &w->sums[arm]);
    free(mine);
    return err;
}

static void sum_over_ranks(whole *w) {
    for (int32_t i = 0; i < w->n_arms; i++) {
        arm_sums *s = &w->sums[i];
        int64_t all[] = {s->n_answers,     s->n_failed,   s->n_generic,     s->context_tokens,
                         s->prompt_tokens, s->new_tokens, s->shared_tokens, s->n_stop};
        px_sum_i64_all(w->a.ranks, all, PX_COUNT(all));
        *s =
            (arm_sums){all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], s->engine_s};
    }
}

static px_err *write_meta(const whole *w) {
    px_str path = {0}, text = {0};
    px_str_format(&path, "%s.meta.json", w->a.job->out_path);
    px_str_text(&text, "{\n\"version\": \"" PX_VERSION "\",\n\"job\": ");
    px_str_add(&text, w->job_text.data, w->job_text.size - 1);
    px_str_text(&text, ",\n\"config\": ");
    px_config_print(w->a.config, &text);
    px_str_text(&text, "\n}\n");
    px_err *err = px_str_ok(&path);
    if (!err) err = px_str_ok(&text);
    if (!err) err = px_file_write(path.data, text.data, text.size);
    px_str_free(&path);
    px_str_free(&text);
    return err;
}

static void print_summary(const whole *w) {
    const double took = px_now_s() - w->began_s;
    for (int32_t i = 0; i < w->n_arms; i++) {
        const arm_sums *s = &w->sums[i];
        printf(
            "%s%lld answers, %lld new tokens (%.0f a second in all), %lld prompt tokens of which "
            "%lld came from the cache, %lld ended their turn, %lld were cut at their longest\n",
            w->arms[i].name ? w->arms[i].name : "", (long long)s->n_answers,
            (long long)s->new_tokens, (double)s->new_tokens / took, (long long)s->prompt_tokens,
            (long long)s->shared_tokens, (long long)s->n_stop,
            (long long)(s->n_answers - s->n_stop));
        if (s->n_generic)
            printf(
                "%lld of them with the generic user's soft tokens: the run knows no such person\n",
                (long long)s->n_generic);
        if (s->n_failed)
            printf("%lld prompts could not be answered: their lines say why\n",
                   (long long)s->n_failed);
    }
}

static px_err *finish(whole *w) {
    PX_PASS(write_meta(w));
    PX_PASS(parts_merge(&w->parts, w->a.job->out_path));
    print_summary(w);
    return NULL;
}

px_err *px_answer_all(const px_ranks *ranks, const px_config *config, const px_answer_job *job) {
    whole w = {.a = {.ranks = ranks, .config = config, .job = job}, .began_s = px_now_s()};
    px_err *err = NULL;
    PX_PASS_TO(done, open_all(&w));
    for (int32_t arm = 0; arm < w.n_arms; arm++) PX_PASS_TO(done, run_arm_all(&w, arm));
    PX_PASS_TO(done, px_agree_all(ranks, parts_close(&w.parts)));
    sum_over_ranks(&w);
    err = px_agree_all(ranks, ranks->rank == 0 ? finish(&w) : NULL);
done:
    parts_free(&w.parts);
    prompts_free(&w.prompts);
    px_str_free(&w.job_text);
    free(w.items);
    free(w.arms);
    free(w.sums);
    return err;
}
