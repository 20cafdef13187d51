/* net.h - a client of the OpenAI chat-completions protocol: many requests at once to one endpoint,
 * with retries, a cache of answers, and budgets. What a request comes to is an answer or an error;
 * an error is never an answer, and never goes into the cache.
 *
 * The key is read from an environment variable and goes into the request's header and nowhere else:
 * whatever an endpoint sends back is searched for it. Certificates are always checked. Redirects
 * are not followed. Nothing here calls MPI: every rank opens an endpoint of its own and the ranks
 * may share the cache. */
#ifndef PX_NET_H
#define PX_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"

typedef struct px_endpoint px_endpoint;

/* An endpoint from a JSON object; `where` opens its errors. Keys, all but the first two optional:
 *   url                          "https://host/v1"; /chat/completions is added
 *   model                        name the endpoint knows the model by
 *   key_env                      environment variable that holds the key; without it none is sent
 *   key_over_http                true: the key may go unencrypted to another machine
 *   ca_file                      PEM file of the authorities to trust, in place of the system's
 *   socket                       UNIX socket to go through, as of `prismx serve --socket`
 *   concurrency (8)              requests under way at once
 *   timeout_s (120)              for one try, connecting included
 *   max_retries (3)              further tries after 429, 5xx, time-out, cut connection
 *   backoff_s (1)                before the first retry; doubles with each
 *   max_reply_bytes (4 MiB)      a longer reply is an error
 *   max_tokens_key               "max_tokens" (default) or "max_completion_tokens"
 *   max_calls (0: no limit)      HTTP requests sent, retries too
 *   max_usd (0: no limit)        wants the two prices
 *   usd_per_million_prompt, usd_per_million_completion
 *   cache                        folder, made if missing; without it nothing is kept
 *   extra                        object of further fields for every request
 * PX_BAD_INPUT: names the key, what stands there, what is accepted. */
PX_CHECKED px_err *px_endpoint_open(const cJSON *json, const char *where, px_endpoint **out);
/* Requests still under way are dropped without a reply. */
void px_endpoint_close(px_endpoint *endpoint);
/* This process's part of the budgets where `parts` processes share the work: max_calls and max_usd
 * are divided (a remainder of calls goes to the first). Call before the first request. */
void px_endpoint_share(px_endpoint *endpoint, int part, int parts);
const char *px_endpoint_model(const px_endpoint *endpoint);
/* Hash of what decides answers: url, model, extra fields. */
const char *px_endpoint_sha256(const px_endpoint *endpoint);

typedef struct {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* UTF-8; what is not becomes U+FFFD */
    size_t size;
} px_chat_message;

typedef struct {
    const px_chat_message *messages;
    int n_messages;
    double temperature, top_p; /* NaN: not sent */
    int64_t max_tokens;        /* 0: not sent */
    int64_t seed;              /* < 0: not sent */
    const char *const *stop;
    int n_stop;
    int n;              /* choices wanted, from 1 */
    int64_t sample;     /* which sample of the same question this is: part of the cache's key */
    const cJSON *extra; /* object of further fields, over the endpoint's own; or NULL */
    void *tag;          /* the caller's */
} px_chat;
#define PX_CHAT_DEFAULTS .temperature = NAN, .top_p = NAN, .seed = -1, .n = 1

/* Queues a request and copies all of it but the tag. PX_BAD_INPUT: no message, or an extra field
 * that has a place of its own. */
PX_CHECKED px_err *px_endpoint_add(px_endpoint *endpoint, const px_chat *chat);

typedef struct {
    const char *text;
    const char *finish; /* as the endpoint calls it: "stop", "length" */
} px_choice;

/* What a request came to; everything is borrowed until the sink returns. */
typedef struct {
    void *tag;
    const px_err *err;        /* NULL: answered. Else no other field below but tries holds. */
    const px_choice *choices; /* [n] */
    int n;
    int64_t prompt_tokens, new_tokens; /* -1: the endpoint does not say */
    double usd;                        /* price of the tokens; NaN: no price or no tokens known.
                                        * A cached answer has cost this once and nothing now. */
    double seconds; /* from the first try to the answer, of a cached one as it was then; NaN: no
                       error had an answer, or an old cache does not say */
    bool cached;
    int tries; /* HTTP requests sent for it */
} px_reply;
/* Called once for each request, in the order of completion; may add requests. An error it returns
 * ends the step and is handed up. */
typedef px_err *px_reply_sink(void *ctx, const px_reply *reply);

/* Gives out what is done and begins what may begin, waiting at most wait_ms for something to
 * happen. Besides the sink's own errors:
 * PX_STOPPED: a budget is used up. All that was under way or in the cache has been given out; the
 *   rest was dropped without a reply, the text says how much.
 * PX_BAD_INPUT, PX_RUN_FAILED: the endpoint is of no use: it refused the key, address or model of
 *   its first calls, has no good certificate, or failed many requests in a row. Also: the cache
 *   cannot be written. */
PX_CHECKED px_err *px_endpoint_step(px_endpoint *endpoint, int wait_ms, px_reply_sink *sink,
                                    void *ctx);
/* Requests added and not yet given out. */
int64_t px_endpoint_left(const px_endpoint *endpoint);
/* Steps until nothing is left. */
PX_CHECKED px_err *px_endpoint_run(px_endpoint *endpoint, px_reply_sink *sink, void *ctx);

typedef struct {
    int64_t answered, cached, failed;  /* requests; cached ones are answered too */
    int64_t calls, retries;            /* HTTP requests sent, and how many of them were retries */
    int64_t prompt_tokens, new_tokens; /* of all answers */
    double usd;                        /* spent now; 0 without prices */
} px_endpoint_totals;
px_endpoint_totals px_endpoint_sums(const px_endpoint *endpoint);

#endif
