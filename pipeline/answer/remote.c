/* remote.c - one arm's prompts to a chat-completions endpoint: each rank keeps as many under way as
 * the endpoint's concurrency allows. What fails gets no line; it is asked again by --resume. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

typedef struct {
    const answering *a;
    px_endpoint *endpoint;
    px_counter *counter;
    const int64_t *mine;
    int64_t n_mine, taken, n_open;
    arm_sums *sums;
    px_arena *arena;
    char first_error[512];
    px_progress progress;
} remote_run;

/* The item of a request, as its tag; they stay where they are. */
static px_err *write_answer(remote_run *r, int64_t item, const px_reply *reply) {
    px_str line = {0};
    const px_choice *choice = &reply->choices[0];
    answer_head(r->a, &r->a->items[item], &line);
    px_str_text(&line, ",\"text\":");
    px_str_json(&line, choice->text, strlen(choice->text));
    px_str_text(&line, ",\"tokens\":[],\"context_tokens\":null");
    if (reply->prompt_tokens >= 0)
        px_str_format(&line, ",\"prompt_tokens\":%lld", (long long)reply->prompt_tokens);
    if (reply->new_tokens >= 0)
        px_str_format(&line, ",\"new_tokens\":%lld", (long long)reply->new_tokens);
    px_str_text(&line, ",\"finish\":");
    px_str_json(&line, choice->finish, strlen(choice->finish));
    if (isfinite(reply->usd)) {
        px_str_text(&line, ",\"usd\":");
        px_str_double(&line, reply->usd);
    }
    if (r->a->how && reply->cached) px_str_text(&line, ",\"cached\":true");
    if (r->a->how) answer_seconds(reply->seconds, &line);
    px_str_char(&line, '}');
    px_err *err = answer_add(r->a, item, PX_ASK_ANSWERED, &line);
    px_str_free(&line);
    return err;
}

static px_err *take_reply(void *context, const px_reply *reply) {
    remote_run *r = context;
    const int64_t item = *(const int64_t *)reply->tag;
    r->n_open--;
    if (reply->err || reply->n < 1) {
        const char *why = reply->err ? px_err_text(reply->err) : "a reply without a choice";
        if (r->sums->n_failed++ == 0) snprintf(r->first_error, sizeof r->first_error, "%s", why);
        return r->a->how ? answer_refuse(r->a, item, PX_ASK_FAILED, why) : NULL;
    }
    r->sums->n_answers++;
    r->sums->n_cached += reply->cached;
    r->sums->n_stop += !strcmp(reply->choices[0].finish, "stop");
    r->sums->prompt_tokens += PX_MAX(reply->prompt_tokens, 0);
    r->sums->new_tokens += PX_MAX(reply->new_tokens, 0);
    if (isfinite(reply->usd) && !reply->cached) r->sums->usd += reply->usd;
    return write_answer(r, item, reply);
}

static px_err *ask(remote_run *r, const int64_t *item) {
    const answering *a = r->a;
    const answer_item *it = &a->items[*item];
    const px_config *config = a->config;
    const px_message *messages = NULL;
    const char *context = NULL;
    int n = 0;
    const size_t mark = px_arena_mark(r->arena);
    px_err *err = answer_messages(a, it, r->arena, &messages, &n, &context);
    px_chat_message *chat = err ? NULL : px_take(r->arena, px_chat_message, n);
    if (!err) err = px_arena_ok(r->arena);
    int64_t seed = config->seed + it->sample;
    if (!err && a->how) { /* equal prompts of two people are drawn apart */
        uint64_t key = 0;
        err = px_request_key(a->prompts->items[it->prompt].id, it->sample, &key);
        seed = (int64_t)(key ^ (uint64_t)seed);
    }
    if (!err) {
        for (int i = 0; i < n; i++)
            chat[i] = (px_chat_message){messages[i].role, messages[i].text, messages[i].size};
        const px_chat request = {.messages = chat,
                                 .n_messages = n,
                                 .temperature = config->generate_temperature,
                                 .top_p = config->generate_top_p,
                                 .max_tokens = config->generate_max_new_tokens,
                                 .seed = seed & 0x7FFFFFFF,
                                 .stop = a->job->stops,
                                 .n_stop = a->job->n_stops,
                                 .n = 1,
                                 .sample = it->sample,
                                 .tag = (void *)(uintptr_t)item};
        err = px_endpoint_add(r->endpoint, &request);
        if (a->arms[it->arm].context != CONTEXT_NONE && !context) r->sums->n_untold++;
    }
    if (!err) r->n_open++;
    px_arena_reset(r->arena, mark);
    return err;
}

static px_err *work(remote_run *r, const char *name) {
    enum { AHEAD = 64, WAIT_MS = 500 };
    px_progress_begin(&r->progress, name, r->n_mine, 0);
    while (r->n_open > 0 || r->taken < r->n_mine) {
        while (r->n_open < AHEAD && r->taken < r->n_mine) {
            r->taken = px_counter_take(r->counter, 1);
            if (r->taken >= COUNTER_STOP)
                PX_FAIL(PX_STOPPED, "another rank stopped; what is finished is kept");
            if (r->taken < r->n_mine) PX_PASS(ask(r, &r->mine[r->taken]));
        }
        if (px_signal_seen())
            PX_FAIL(PX_STOPPED, "by a signal; finished answers are kept in %s, %s goes on",
                    answer_kept(r->a), answer_again(r->a));
        px_watch(r->a->ranks, name, r->taken);
        PX_PASS(px_endpoint_step(r->endpoint, WAIT_MS, take_reply, r));
        px_counter_tend(r->counter);
        px_progress_at(&r->progress, PX_MIN(r->taken + 1, r->n_mine) - r->n_open, "%lld failed",
                       (long long)r->sums->n_failed);
    }
    px_progress_end(&r->progress, r->n_mine, "%lld failed", (long long)r->sums->n_failed);
    return NULL;
}

/* What failed is asked again by a later run. Said when all ranks are done: one that ended with it
 * would stop the others. */
static px_err *failures_all(const remote_run *r) {
    int64_t n = r->sums->n_failed;
    px_err *err = NULL;
    px_sum_i64_all(r->a->ranks, &n, 1);
    if (r->sums->n_failed > 0)
        err = px_err_new(
            PX_RUN_FAILED, __FILE__, __LINE__,
            "%lld prompts got no answer, the first: %s. The others are kept, %s asks again",
            (long long)n, r->first_error, answer_again(r->a));
    return px_agree_all(r->a->ranks, err);
}

px_err *arm_remote_all(const answering *a, int32_t arm, const int64_t *mine, int64_t n_mine,
                       arm_sums *sums) {
    remote_run r = {.a = a, .mine = mine, .n_mine = n_mine, .sums = sums};
    const char *name = a->arms[arm].name;
    px_err *err = px_arena_new(1 << 16, &r.arena);
    if (!err) err = px_endpoint_open(a->arms[arm].endpoint, name, &r.endpoint);
    if (!err) px_endpoint_share(r.endpoint, a->ranks->rank, a->ranks->size);
    PX_PASS_TO(done, px_agree_all(a->ranks, err));
    PX_PASS_TO(done, px_counter_open_all(a->ranks, &r.counter));
    err = work(&r, name);
    if (err) px_counter_take(r.counter, COUNTER_STOP);
    sums->n_calls = px_endpoint_sums(r.endpoint).calls;
    err = px_agree_all(a->ranks, err);
    if (!err && !a->how) err = failures_all(&r);
    px_counter_close_all(r.counter);
done:
    px_endpoint_close(r.endpoint);
    px_arena_free(r.arena);
    return err;
}
