/* exchange.c - requests on their way: what begins when, what is tried again, what it costs.
 *
 *   ready --begin--> flying --collect--> given out (answer or error)
 *     |                ^ |
 *     |                | +--retry--> waiting --due--+
 *     |                +----------------------------+
 *     +--cached--> given out          over a budget: ready, waiting --> dropped
 *
 * Of retries: a pause of backoff_s · 2^k, 25% shorter to 25% longer by a random number that the
 * request itself keys, and never shorter than Retry-After says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_internal.h"

#define RETRY_AFTER_MAX_S 300 /* an endpoint that asks for more is taken to refuse */
#define CACHED_A_STEP 256     /* so that a step through a full cache gives its caller a turn */

/* What a try came to. */
typedef struct {
    px_err *err;    /* NULL: answered */
    bool retry;     /* may go better later */
    bool refused;   /* key, address, model or certificate: would be so for any request */
    bool own_fault; /* of the request: says nothing of the endpoint */
    double pause_s; /* Retry-After; 0: none */
} verdict;

static void calls_push(px_calls *calls, px_call *call) {
    call->next = NULL;
    if (calls->last)
        calls->last->next = call;
    else
        calls->first = call;
    calls->last = call;
    calls->n++;
}

static void calls_take(px_calls *calls, px_call *call) {
    px_call *before = NULL;
    for (px_call *c = calls->first; c != call; c = c->next) before = c;
    if (before)
        before->next = call->next;
    else
        calls->first = call->next;
    if (calls->last == call) calls->last = before;
    call->next = NULL;
    calls->n--;
}

px_err *px_endpoint_add(px_endpoint *endpoint, const px_chat *chat) {
    px_call *call = NULL;
    PX_PASS(px_call_new(endpoint, chat, &call));
    calls_push(&endpoint->ready, call);
    return NULL;
}

/* --- giving out --- */
static double answer_usd(const px_endpoint *e, const px_answer *a) {
    if (a->prompt_tokens < 0 || a->new_tokens < 0 || e->usd_prompt + e->usd_completion <= 0)
        return NAN;
    return (double)a->prompt_tokens * e->usd_prompt + (double)a->new_tokens * e->usd_completion;
}

static px_err *give_answer(px_call *call, const px_answer *answer, bool cached, px_reply_sink *sink,
                           void *ctx) {
    px_endpoint_totals *sums = &call->endpoint->sums;
    px_reply reply = {.tag = call->tag,
                      .choices = answer->choices,
                      .n = answer->n,
                      .prompt_tokens = answer->prompt_tokens,
                      .new_tokens = answer->new_tokens,
                      .usd = answer_usd(call->endpoint, answer),
                      .seconds = answer->seconds,
                      .cached = cached,
                      .tries = call->tries};
    sums->answered++;
    sums->cached += cached;
    sums->prompt_tokens += PX_MAX(answer->prompt_tokens, 0);
    sums->new_tokens += PX_MAX(answer->new_tokens, 0);
    return sink(ctx, &reply);
}

static px_err *give_error(px_call *call, const px_err *why, px_reply_sink *sink, void *ctx) {
    px_reply reply = {
        .tag = call->tag, .err = why, .usd = NAN, .seconds = NAN, .tries = call->tries};
    reply.prompt_tokens = reply.new_tokens = -1;
    call->endpoint->sums.failed++;
    return sink(ctx, &reply);
}

/* An answer just bought: into the sums, into the cache, to the caller. Without a count of tokens a
 * budget in money takes the most that it can have cost. */
static px_err *give_bought(px_call *call, px_reply_sink *sink, void *ctx, px_answer *answer) {
    px_endpoint *e = call->endpoint;
    double usd = answer_usd(e, answer);
    if (isnan(usd)) usd = e->max_usd > 0 ? call->most_usd : 0;
    e->sums.usd += usd;
    e->largest_usd = fmax(e->largest_usd, usd);
    e->failed_in_row = 0;
    answer->seconds = px_now_s() - call->began_s;
    px_err *bad_cache = px_cache_put(call, answer);
    px_err *err = give_answer(call, answer, false, sink, ctx);
    if (!bad_cache) return err;
    px_err_free(err);
    return px_err_add(bad_cache, __FILE__, __LINE__, "cache");
}

/* --- beginning --- */
static size_t on_body(char *data, size_t size, size_t n, void *user) {
    px_call *call = user;
    if (call->reply.size + n * size > (size_t)call->endpoint->max_reply_bytes) {
        call->too_long = true;
        return 0;
    }
    px_str_add(&call->reply, data, n * size);
    return call->reply.failed ? 0 : n * size;
}

static px_err *fly(px_call *call) {
    px_endpoint *e = call->endpoint;
    CURL *curl = curl_easy_init();
    if (!curl) PX_NO_MEMORY();
    const long timeout_ms = (long)ceil(e->timeout_s * 1000);
    if (call->tries == 0) call->began_s = px_now_s();
    unsigned bad = 0;
    call->curl_text[0] = 0;
    call->too_long = false;
    px_str_clear(&call->reply);
    bad |= curl_easy_setopt(curl, CURLOPT_URL, e->url);
    bad |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, e->headers);
    bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.size);
    bad |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.data);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    bad |= curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
    bad |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->curl_text);
    bad |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    bad |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, PX_MIN(timeout_ms, 30000L));
    bad |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    bad |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    bad |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "prismx/" PX_VERSION);
    if (e->ca_file) bad |= curl_easy_setopt(curl, CURLOPT_CAINFO, e->ca_file);
    if (e->socket) bad |= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, e->socket);
    if (bad || curl_multi_add_handle(e->multi, curl)) {
        curl_easy_cleanup(curl);
        PX_FAIL(PX_RUN_FAILED, "libcurl does not accept a request's options");
    }
    call->curl = curl;
    e->sums.calls++;
    e->sums.retries += call->tries > 0;
    call->tries++;
    e->reserved_usd += call->most_usd;
    calls_push(&e->flying, call);
    return NULL;
}

static px_err *land(px_call *call) {
    px_endpoint *e = call->endpoint;
    calls_take(&e->flying, call);
    e->reserved_usd = e->flying.n ? e->reserved_usd - call->most_usd : 0;
    if (curl_multi_remove_handle(e->multi, call->curl))
        PX_FAIL(PX_RUN_FAILED, "libcurl lost a request");
    curl_easy_cleanup(call->curl);
    call->curl = NULL;
    return NULL;
}

/* Whether the budgets let a call begin now; sets `over` where they never will. */
static bool affordable(px_endpoint *e, const px_call *call) {
    if (e->over) return false;
    if (e->max_calls > 0 && e->sums.calls >= e->max_calls) e->over = true;
    bool dear = e->max_usd > 0 && e->sums.usd + e->reserved_usd + call->most_usd > e->max_usd;
    /* What flies now may cost less than was put by for it. */
    if (dear && e->flying.n == 0) e->over = true;
    return !dear && !e->over;
}

static void drop(px_endpoint *e, px_calls *calls, px_call *call) {
    calls_take(calls, call);
    px_call_free(call);
    e->dropped++;
}

static px_err *begin_waiting(px_endpoint *e, double now) {
    for (px_call *call = e->waiting.first, *next; call; call = next) {
        next = call->next;
        bool may = affordable(e, call);
        if (e->over) {
            drop(e, &e->waiting, call);
        } else if (may && now >= call->due_s) {
            calls_take(&e->waiting, call);
            px_err *err = fly(call);
            if (!err) continue;
            px_call_free(call);
            return err;
        }
    }
    return NULL;
}

/* A call from the head of `ready`: from the cache, on its way, or dropped. *stay: neither now. */
static px_err *begin_one(px_endpoint *e, px_call *call, px_reply_sink *sink, void *ctx,
                         bool *stay) {
    bool found = false;
    px_answer answer = {0};
    PX_PASS(px_cache_get(call, &found, &answer));
    if (found) {
        calls_take(&e->ready, call);
        px_err *err = give_answer(call, &answer, true, sink, ctx);
        px_answer_free(&answer);
        px_call_free(call);
        return err;
    }
    bool may = affordable(e, call);
    if (e->over) {
        drop(e, &e->ready, call);
        return NULL;
    }
    *stay = !may;
    if (!may) return NULL;
    calls_take(&e->ready, call);
    px_err *err = fly(call);
    if (err) px_call_free(call);
    return err;
}

static px_err *begin_all(px_endpoint *e, px_reply_sink *sink, void *ctx) {
    double now = px_now_s();
    bool stay = now < e->not_before_s && !e->over;
    if (!stay) PX_PASS(begin_waiting(e, now));
    for (int i = 0; i < CACHED_A_STEP && !stay && e->ready.first; i++) {
        /* A request that waits keeps its place: an endpoint that is overrun gets no others. */
        if (e->flying.n + e->waiting.n >= e->concurrency) break;
        PX_PASS(begin_one(e, e->ready.first, sink, ctx, &stay));
    }
    return NULL;
}

/* --- judging --- */
static verdict judge_transport(const px_call *call, CURLcode code) {
    const px_endpoint *e = call->endpoint;
    const char *text = call->curl_text[0] ? call->curl_text : curl_easy_strerror(code);
    verdict v = {0};
    if (call->too_long || code == CURLE_FILESIZE_EXCEEDED) {
        v.err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                           "the reply is longer than %lld bytes (\"max_reply_bytes\")",
                           (long long)e->max_reply_bytes);
        return v;
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        v.retry = true;
        v.err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                           "no whole reply within %g s (\"timeout_s\")", e->timeout_s);
        return v;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        v.retry = true;
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        v.refused = true;
        break;
    default:
        break;
    }
    v.err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s", text);
    return v;
}

static verdict judge_status(const px_call *call, long status) {
    verdict v = {0};
    curl_off_t pause = 0;
    px_str says = {0};
    px_error_message(call, &says);
    v.retry = status == 408 || status == 425 || status == 429 || status >= 500;
    v.refused = status == 401 || status == 403 || status == 404;
    v.own_fault = !v.retry && !v.refused && status >= 400;
    if (v.retry && !curl_easy_getinfo(call->curl, CURLINFO_RETRY_AFTER, &pause))
        v.pause_s = (double)PX_MAX(pause, 0);
    const char *more = status >= 300 && status < 400
                           ? " (redirects are not followed: \"url\" is to be the last address)"
                       : status == 401 && !call->endpoint->key
                           ? " (no key was sent: \"key_env\" names none)"
                           : "";
    v.err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "HTTP %ld%s%s%s", status, more,
                       says.size ? ": " : "", says.size ? says.data : "");
    px_str_free(&says);
    if (v.pause_s > RETRY_AFTER_MAX_S) {
        v.retry = false;
        v.err = px_err_add(v.err, __FILE__, __LINE__, "asks for a pause of %.0f s, over %d s",
                           v.pause_s, RETRY_AFTER_MAX_S);
    }
    return v;
}

static verdict judge(const px_call *call, CURLcode code, px_answer *answer) {
    long status = 0;
    if (code) return judge_transport(call, code);
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) return judge_status(call, status);
    verdict v = {.err = px_answer_parse(call, answer)};
    v.own_fault = answer->withheld;
    return v;
}

static double backoff(const px_call *call, double least_s) {
    char head[17];
    memcpy(head, call->key.hex, 16);
    head[16] = 0;
    px_rng rng = {strtoull(head, NULL, 16), PX_RNG_BACKOFF};
    double pause = ldexp(call->endpoint->backoff_s, PX_MIN(call->tries - 1, 16));
    return fmax(pause * (0.75 + 0.5 * px_rng_uniform(rng, (uint64_t)call->tries, 0)), least_s);
}

/* --- collecting --- */
static void to_waiting(px_call *call, verdict *v) {
    px_endpoint *e = call->endpoint;
    double now = px_now_s();
    if (v->pause_s > 0) e->not_before_s = fmax(e->not_before_s, now + v->pause_s);
    call->due_s = now + backoff(call, v->pause_s);
    px_debug("endpoint: try %d: %s; again in %.1f s", call->tries, px_err_text(v->err),
             call->due_s - now);
    px_err_free(v->err);
    calls_push(&e->waiting, call);
}

/* The endpoint as a whole is of no use; takes the last request's error. */
static px_err *give_up(px_endpoint *e, const verdict *v) {
    const int64_t bought = e->sums.answered - e->sums.cached, row = PX_MAX(16, 2 * e->concurrency);
    if (v->refused && bought == 0)
        PX_FAIL(PX_BAD_INPUT, "%s; nothing was answered before, so no request is made after it",
                px_err_text(v->err));
    if (!v->own_fault && ++e->failed_in_row >= row)
        PX_FAIL(PX_RUN_FAILED, "%lld requests in a row failed, the last: %s; %lld are left",
                (long long)e->failed_in_row, px_err_text(v->err), (long long)px_endpoint_left(e));
    return NULL;
}

static px_err *finish(px_call *call, CURLcode code, px_reply_sink *sink, void *ctx) {
    px_endpoint *e = call->endpoint;
    px_answer answer = {0};
    verdict v = judge(call, code, &answer);
    px_err *err = land(call);
    if (!err && !v.err) {
        err = give_bought(call, sink, ctx, &answer);
    } else if (!err && v.retry && call->tries <= e->max_retries) {
        to_waiting(call, &v);
        return NULL;
    } else if (!err) {
        char tries[32] = "";
        if (call->tries > 1) snprintf(tries, sizeof tries, ", %d tries", call->tries);
        v.err = px_err_add(v.err, __FILE__, __LINE__, "%s%s", e->url, tries);
        err = give_error(call, v.err, sink, ctx);
        if (!err) err = give_up(e, &v);
    }
    px_err_free(v.err);
    px_answer_free(&answer);
    px_call_free(call);
    return err;
}

static px_err *collect(px_endpoint *e, px_reply_sink *sink, void *ctx, bool *any) {
    int running = 0, queued = 0;
    CURLMcode code = curl_multi_perform(e->multi, &running);
    if (code) PX_FAIL(PX_RUN_FAILED, "libcurl: %s", curl_multi_strerror(code));
    for (CURLMsg *m; (m = curl_multi_info_read(e->multi, &queued));) {
        char *call = NULL;
        CURLcode result = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        *any = true;
        PX_PASS(finish((px_call *)(void *)call, result, sink, ctx));
    }
    return NULL;
}

/* Milliseconds until a waiting request or the endpoint's own pause is due. */
static int pause_ms(const px_endpoint *e, int most) {
    double now = px_now_s(), due = INFINITY;
    for (const px_call *call = e->waiting.first; call; call = call->next)
        due = fmin(due, fmax(call->due_s, e->not_before_s));
    if (e->ready.first && now < e->not_before_s) due = fmin(due, e->not_before_s);
    return due - now < most / 1000.0 ? (int)ceil(fmax(due - now, 0) * 1000) : most;
}

static px_err *budget_end(px_endpoint *e) {
    char what[64], usd[32] = "";
    if (e->max_usd > 0 && !(e->max_calls > 0 && e->sums.calls >= e->max_calls))
        snprintf(what, sizeof what, "%g USD (\"max_usd\")", e->max_usd);
    else
        snprintf(what, sizeof what, "%lld calls (\"max_calls\")", (long long)e->max_calls);
    if (e->sums.usd > 0) snprintf(usd, sizeof usd, ", %.4f USD", e->sums.usd);
    PX_FAIL(PX_STOPPED,
            "the budget of %s is used up: %lld requests answered (%lld of them from the cache), "
            "%lld failed, %lld left; %lld calls%s; %s",
            what, (long long)e->sums.answered, (long long)e->sums.cached, (long long)e->sums.failed,
            (long long)e->dropped, (long long)e->sums.calls, usd,
            e->cache ? "the same command goes on from the cache"
                     : "with \"cache\" the same command could go on from here");
}

px_err *px_endpoint_step(px_endpoint *endpoint, int wait_ms, px_reply_sink *sink, void *ctx) {
    bool any = false;
    int64_t before = endpoint->sums.answered;
    PX_PASS(begin_all(endpoint, sink, ctx));
    PX_PASS(collect(endpoint, sink, ctx, &any));
    any |= endpoint->sums.answered > before;
    bool on_the_way = endpoint->flying.n + endpoint->waiting.n > 0;
    if (!any && (on_the_way || (endpoint->ready.n > 0 && !endpoint->over))) {
        CURLMcode code =
            curl_multi_poll(endpoint->multi, NULL, 0, pause_ms(endpoint, wait_ms), NULL);
        if (code) PX_FAIL(PX_RUN_FAILED, "libcurl: %s", curl_multi_strerror(code));
        PX_PASS(collect(endpoint, sink, ctx, &any));
    }
    if (endpoint->over && endpoint->dropped > 0 && px_endpoint_left(endpoint) == 0)
        return budget_end(endpoint);
    return NULL;
}

px_err *px_endpoint_run(px_endpoint *endpoint, px_reply_sink *sink, void *ctx) {
    while (px_endpoint_left(endpoint) > 0) PX_PASS(px_endpoint_step(endpoint, 1000, sink, ctx));
    return NULL;
}
