/* answer.c - from prompts and arms to a file of answers. See answer.h. */
#include "answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

typedef struct {
    answering a;
    prompt_list prompts;
    int32_t n_arms;
    answer_item *items;
    part_files parts;
    arm_sums *sums; /* [n_arms] */
    px_str job_text;
    double began_s;
} whole;

/* --- what the arms share --- */

const char *answer_kept(const answering *a) { return a->how ? a->how->kept_in : a->parts->dir; }

const char *answer_again(const answering *a) {
    if (a->how) return a->how->go_on;
    return a->job->quiet ? "the same command" : "--resume";
}

px_err *answer_add(const answering *a, int64_t item, px_ask_end end, const px_str *line) {
    if (!a->how) return parts_add(a->parts, item, line);
    PX_PASS(px_str_ok(line));
    return a->how->sink(a->how->context, item, end, line);
}

void answer_head(const answering *a, const answer_item *item, px_str *out) {
    const answer_arm *arm = &a->arms[item->arm];
    px_str_text(out, a->prompts->items[item->prompt].head);
    if (arm->name) {
        px_str_text(out, ",\"arm\":");
        px_str_json(out, arm->name, strlen(arm->name));
    }
    if (a->config->generate_n > 1) px_str_format(out, ",\"sample\":%d", (int)item->sample);
}

void answer_seconds(double seconds, px_str *out) {
    if (isfinite(seconds)) px_str_format(out, ",\"seconds\":%.6g", seconds);
}

px_err *answer_refuse(const answering *a, int64_t item, px_ask_end end, const char *why) {
    px_str line = {0};
    answer_head(a, &a->items[item], &line);
    px_str_text(&line, ",\"text\":\"\",\"tokens\":[],\"context_tokens\":0,\"prompt_tokens\":0,"
                       "\"new_tokens\":0,\"finish\":\"error\",\"error\":");
    px_str_json(&line, why, strlen(why));
    px_str_char(&line, '}');
    px_err *err = answer_add(a, item, end, &line);
    px_str_free(&line);
    return err;
}

px_err *answer_messages(const answering *a, const answer_item *item, px_arena *arena,
                        const px_message **messages, int *n, const char **context) {
    const prompt *p = &a->prompts->items[item->prompt];
    const context_kind kind = a->arms[item->arm].context;
    *messages = p->messages;
    *n = p->n_messages;
    *context = NULL;
    if (kind == CONTEXT_NONE || !a->people) return NULL;
    PX_PASS(context_text(people_find(a->people, p->user_id), kind, arena, context));
    if (!*context) return NULL;
    const bool has_system = !strcmp(p->messages[0].role, "system");
    px_message *all = px_take(arena, px_message, p->n_messages + 1);
    PX_PASS(px_arena_ok(arena));
    all[0] = (px_message){"system", *context, strlen(*context)};
    memcpy(all + 1, p->messages, (size_t)p->n_messages * sizeof *all);
    *messages = all;
    *n = p->n_messages + 1;
    if (!has_system) return NULL;
    px_str both = {0}; /* one system message: what is told, then the prompt's own */
    px_str_format(&both, "%s\n\n%s", *context, p->messages[0].text);
    px_err *err = px_str_ok(&both);
    if (!err) {
        all[1] = (px_message){"system", px_arena_text(arena, both.data, both.size), both.size};
        err = px_arena_ok(arena);
    }
    px_str_free(&both);
    *messages = all + 1;
    *n = p->n_messages;
    return err;
}

/* --- the job --- */

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
    static const char *const precisions[] = {"bf16", "f32", "q8_0", "q4_1"};
    const px_config *config = w->a.config;
    const px_decoding how = px_decoding_of(config);
    px_str *out = &w->job_text;
    px_str_format(out, "{\n  \"prompts_sha256\": \"%s\",\n", w->prompts.sha256.hex);
    if (w->a.people) px_str_format(out, "  \"people_sha256\": \"%s\",\n", w->a.people->sha256.hex);
    px_str_text(out, "  \"arms\": ");
    PX_PASS(arms_describe(w->a.ranks, w->a.arms, w->n_arms, out));
    px_str_text(out, ",\n  \"stop\": [");
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
                  precisions[config->precision], config->model_template);
    return px_str_ok(out);
}

static px_err *open_all(whole *w) {
    const px_answer_job *job = w->a.job;
    px_err *err = prompts_read(job->prompts_path, job->forms, &w->prompts);
    w->a.prompts = &w->prompts;
    w->sums = calloc((size_t)w->n_arms, sizeof *w->sums);
    if (!err && !w->sums) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = list_items(w);
    if (!err) err = describe_job(w);
    PX_PASS(px_agree_all(w->a.ranks, err));
    w->a.parts = &w->parts;
    return parts_open_all(w->a.ranks, job, w->job_text.data, w->a.n_items, &w->parts);
}

static px_err *run_arm_all(whole *w, int32_t arm) {
    int64_t *mine = malloc(((size_t)w->a.n_items + 1) * sizeof *mine), n = 0;
    px_err *err = NULL;
    if (!mine) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    err = px_agree_all(w->a.ranks, err);
    for (int64_t i = 0; !err && i < w->a.n_items; i++)
        if (w->items[i].arm == arm && !w->parts.done[i]) mine[n++] = i;
    if (!err && n > 0)
        err = (w->a.arms[arm].endpoint ? arm_remote_all : arm_local_all)(&w->a, arm, mine, n,
                                                                         &w->sums[arm]);
    free(mine);
    return err;
}

static void sum_over_ranks(whole *w) {
    for (int32_t i = 0; i < w->n_arms; i++) {
        arm_sums *s = &w->sums[i];
        int64_t *all[] = {&s->n_answers,      &s->n_failed,      &s->n_generic,  &s->n_untold,
                          &s->context_tokens, &s->prompt_tokens, &s->new_tokens, &s->shared_tokens,
                          &s->n_stop,         &s->n_cached};
        for (size_t k = 0; k < PX_COUNT(all); k++) px_sum_i64_all(w->a.ranks, all[k], 1);
        px_spread_f64_all(w->a.ranks, &s->usd, 1);
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

/* A mean, or "-" where there is nothing. */
static const char *mean(int64_t sum, int64_t n, char out[32]) {
    if (n == 0) return "-";
    snprintf(out, 32, "%.1f", (double)sum / (double)n);
    return out;
}
static const char *ratio(int64_t sum, int64_t n, int64_t sum_to, int64_t n_to, char out[32]) {
    if (n == 0 || n_to == 0 || sum_to == 0) return "-";
    snprintf(out, 32, "%.2f", (double)sum / (double)n / ((double)sum_to / (double)n_to));
    return out;
}

/* The arm that others are compared with: the first with soft tokens. */
static const arm_sums *soft_arm(const whole *w) {
    for (int32_t i = 0; i < w->n_arms; i++)
        if (w->a.arms[i].run_dir && w->a.arms[i].context == CONTEXT_NONE &&
            w->sums[i].context_tokens > 0)
            return &w->sums[i];
    return NULL;
}

/* Tokens an answer takes: because of the person, before the answer, of the answer; and the first
 * two against those of the soft tokens' arm. */
static void print_table(const whole *w) {
    const arm_sums *to = soft_arm(w), none = {0};
    if (!to) to = &none;
    printf("%-16s %8s %10s %10s %10s %8s %8s\n", "arm", "answers", "context", "prompt", "new", "R1",
           "R2");
    for (int32_t i = 0; i < w->n_arms; i++) {
        const arm_sums *s = &w->sums[i];
        char texts[5][32];
        printf("%-16s %8lld %10s %10s %10s %8s %8s\n", w->a.arms[i].name, (long long)s->n_answers,
               w->a.arms[i].endpoint ? "-" : mean(s->context_tokens, s->n_answers, texts[0]),
               mean(s->prompt_tokens, s->n_answers, texts[1]),
               mean(s->new_tokens, s->n_answers, texts[2]),
               ratio(s->context_tokens, s->n_answers, to->context_tokens, to->n_answers, texts[3]),
               ratio(s->prompt_tokens, s->n_answers, to->prompt_tokens, to->n_answers, texts[4]));
    }
    printf(
        "(tokens, mean of the answers made now: context is what is there because of the person;\n"
        "R1 and R2 are context and prompt against those of the arm with soft tokens)\n");
}

static void print_counts(const whole *w, int32_t i) {
    const arm_sums *s = &w->sums[i];
    const char *name = w->a.arms[i].name ? w->a.arms[i].name : "all";
    if (s->n_generic)
        printf("%s: %lld with the generic user's soft tokens, the run knows no such person\n", name,
               (long long)s->n_generic);
    if (s->n_untold)
        printf("%s: %lld without a context, the survey says nothing of their person\n", name,
               (long long)s->n_untold);
    if (s->n_failed)
        printf("%s: %lld prompts could not be answered: their lines say why\n", name,
               (long long)s->n_failed);
    if (s->n_cached || s->usd > 0)
        printf("%s: %lld answers from the endpoint's cache, $%.4f spent\n", name,
               (long long)s->n_cached, s->usd);
}

static void print_summary(const whole *w) {
    const double took = px_now_s() - w->began_s;
    arm_sums all = {0};
    for (int32_t i = 0; i < w->n_arms; i++) {
        const arm_sums *s = &w->sums[i];
        all.n_answers += s->n_answers, all.new_tokens += s->new_tokens;
        all.prompt_tokens += s->prompt_tokens, all.shared_tokens += s->shared_tokens;
        all.n_stop += s->n_stop;
    }
    printf("%lld answers, %lld new tokens (%.0f a second in all), %lld prompt tokens of which %lld "
           "came "
           "from the cache, %lld ended their turn, %lld were cut at their longest\n",
           (long long)all.n_answers, (long long)all.new_tokens, (double)all.new_tokens / took,
           (long long)all.prompt_tokens, (long long)all.shared_tokens, (long long)all.n_stop,
           (long long)(all.n_answers - all.n_stop));
    for (int32_t i = 0; i < w->n_arms; i++) print_counts(w, i);
    if (w->n_arms > 1) print_table(w);
}

static px_err *finish(whole *w) {
    PX_PASS(write_meta(w));
    PX_PASS(parts_merge(&w->parts, w->a.job->out_path));
    if (!w->a.job->quiet) print_summary(w);
    return NULL;
}

px_err *answer_with_arms_all(const px_ranks *ranks, const px_config *config,
                             const px_answer_job *job, const answer_arm *arms, int32_t n_arms,
                             const person_list *people) {
    whole w = {.a = {.ranks = ranks, .config = config, .job = job, .people = people, .arms = arms},
               .n_arms = n_arms,
               .began_s = px_now_s()};
    px_err *err = NULL;
    PX_PASS_TO(done, open_all(&w));
    if (w.parts.finished) {
        if (ranks->rank == 0 && !job->quiet) printf("%s is finished already\n", job->out_path);
        goto done;
    }
    for (int32_t arm = 0; arm < n_arms; arm++) PX_PASS_TO(done, run_arm_all(&w, arm));
    PX_PASS_TO(done, px_agree_all(ranks, parts_close(&w.parts)));
    sum_over_ranks(&w);
    err = px_agree_all(ranks, ranks->rank == 0 ? finish(&w) : NULL);
done:
    parts_free(&w.parts);
    prompts_free(&w.prompts);
    px_str_free(&w.job_text);
    free(w.items);
    free(w.sums);
    return err;
}

static px_err *with_file_all(const px_ranks *ranks, const px_config *config,
                             const px_answer_job *job) {
    arm_file file = {0};
    person_list people = {0};
    prompt_list prompts = {0};
    px_err *err = NULL;
    PX_PASS_TO(done, px_agree_all(ranks, arms_read(job->arms_path, job, &file)));
    if (file.needs_people) {
        err = prompts_read(job->prompts_path, job->forms, &prompts);
        if (!err)
            err = people_read(job->data_dir, job->corpus_path, &prompts, file.needs_summaries,
                              &people);
        PX_PASS_TO(done, px_agree_all(ranks, err));
        if (file.needs_summaries && file.has_writer)
            PX_PASS_TO(done, summaries_all(ranks, config, &file.writer, job->threads, &people));
    }
    err = answer_with_arms_all(ranks, config, job, file.arms, file.n,
                               file.needs_people ? &people : NULL);
done:
    people_free(&people);
    prompts_free(&prompts);
    arms_free(&file);
    return err;
}

px_err *px_answer_all(const px_ranks *ranks, const px_config *config, const px_answer_job *job) {
    if (job->arms_path) return with_file_all(ranks, config, job);
    const answer_arm only = {.model_path = job->model_path,
                             .run_dir = job->run_dir,
                             .step = job->step,
                             .user = job->user};
    return answer_with_arms_all(ranks, config, job, &only, 1, NULL);
}

px_err *px_answer_tasks_all(const px_ranks *ranks, const px_config *config, const px_answerer *by,
                            const px_answer_tasks *tasks) {
    px_config greedy = *config;
    const answer_arm arm = {.name = by->name,
                            .model_path = by->model_path,
                            .step = -1,
                            .user = PX_ARM_NONE,
                            .endpoint = by->endpoint};
    const px_answer_job job = {.prompts_path = tasks->tasks_path,
                               .out_path = tasks->out_path,
                               .user = PX_ARM_NONE,
                               .resume = true,
                               .threads = tasks->threads,
                               .quiet = true,
                               .forms = true};
    greedy.generate_temperature = 0;
    greedy.generate_max_new_tokens = tasks->tokens_most;
    greedy.generate_min_new_tokens = tasks->tokens_least;
    greedy.generate_n = 1;
    greedy.generate_logprobs = 0;
    return answer_with_arms_all(ranks, &greedy, &job, &arm, 1, NULL);
}
