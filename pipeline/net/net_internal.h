/* net_internal.h - shared inside net: the endpoint, one request's life, and its parts.
 *
 * A call is in exactly one place: the queue `ready` (in order), the list `waiting` (for its next
 * try), or `flying` (has an easy handle in the multi handle). Only exchange.c moves it. */
#ifndef PX_NET_INTERNAL_H
#define PX_NET_INTERNAL_H

#include <curl/curl.h>

#include "net.h"

typedef struct px_call px_call;
struct px_call {
    px_call *next;
    px_endpoint *endpoint;
    px_str body;                       /* JSON as sent */
    size_t messages_at, messages_size; /* where the messages stand in it */
    px_digest key;                     /* of the cache */
    void *tag;
    int n;           /* choices wanted */
    double most_usd; /* what it can cost at most, as far as that is known */
    int tries;
    double began_s; /* of the first try */
    double due_s;   /* waiting: when to try again */
    CURL *curl;     /* flying */
    px_str reply;   /* of this try */
    bool too_long;
    char curl_text[CURL_ERROR_SIZE];
};

typedef struct {
    px_call *first, *last;
    int64_t n;
} px_calls;

/* An answer that owns its texts. {0} is empty. */
typedef struct {
    px_choice *choices;
    int n;
    int64_t prompt_tokens, new_tokens;
    double seconds; /* from the first try to the answer; NaN: an old cache does not say */
    bool withheld;  /* beside an error: a content filter took the answer, the endpoint is well */
} px_answer;

struct px_endpoint {
    /* from JSON */
    char *url, *model, *key, *key_env, *ca_file, *socket, *cache;
    const char *max_tokens_key; /* constant */
    bool key_over_http;
    int64_t concurrency, max_retries, max_reply_bytes, max_calls;
    double timeout_s, backoff_s, max_usd, usd_prompt, usd_completion; /* prices for one token */
    cJSON *extra;
    px_digest sha256;
    /* under way */
    CURLM *multi;
    struct curl_slist *headers;
    px_calls ready, waiting, flying;
    double reserved_usd; /* most_usd of the flying */
    double largest_usd;  /* of one call so far */
    double not_before_s; /* Retry-After: nothing begins before this */
    bool over;           /* a budget is used up */
    int64_t dropped;     /* requests that a budget left undone */
    int64_t failed_in_row;
    px_endpoint_totals sums;
};

/* call.c: a request's body and cache key. */
PX_CHECKED px_err *px_call_new(px_endpoint *endpoint, const px_chat *chat, px_call **out);
void px_call_free(px_call *call);
/* PX_BAD_INPUT: not an object, or a field that has a place of its own. */
PX_CHECKED px_err *px_extra_check(const cJSON *extra, const char *where);

/* reply.c: the body of an HTTP 200 as an answer. PX_RUN_FAILED: names what was expected; of *out,
 * only `withheld` is then set. */
PX_CHECKED px_err *px_answer_parse(const px_call *call, px_answer *out);
void px_answer_free(px_answer *answer);
/* What the endpoint says in an error's body, made safe to show; empty when it says nothing. */
void px_error_message(const px_call *call, px_str *out);

/* cache.c: one file an answer, DIR/ab/abcd….json. Safe among processes: an entry appears whole,
 * and the first one stays. */
/* *found false: none, or a damaged one, which the next put replaces. */
PX_CHECKED px_err *px_cache_get(const px_call *call, bool *found, px_answer *out);
/* Stores; where another process was first, *answer becomes that one's. */
PX_CHECKED px_err *px_cache_put(const px_call *call, px_answer *answer);

/* scrub.c */
/* Takes the key out of a text, in place: "[key]". */
void px_scrub_key(const px_endpoint *endpoint, px_str *text);
/* Takes out what repeats the request's messages: "[text]". */
void px_scrub_echo(const px_call *call, px_str *text);

#endif
