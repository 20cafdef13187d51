/* serve.h - a chat-completions server around a generator of tokens. Two kinds of threads: the one
 * that calls px_server_run runs the generator, and nobody else touches it; libmicrohttpd's read
 * requests, queue them, and write what has come. A slow or vanished client costs the memory of its
 * own answer and no time of others.
 *
 * Texts and people's ids stay between client and generator: nothing of them is logged. */
#ifndef PX_SERVE_H
#define PX_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"
#include "text.h"

enum { PX_TOP_LOGPROBS = 20 }; /* alternatives a token, at most */

/* --- a request, as its JSON says it --- */
typedef struct {
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k, no_repeat_ngram, min_new_tokens, max_new_tokens, logprobs;
    bool ignore_eos;
    uint64_t seed;
} px_sampling;
typedef struct {
    px_message *messages;
    int n_messages;
    const char *model, *user; /* or NULL */
    const char *prompt_id;    /* keys random numbers, as the "id" of a prompt of `generate`; "" */
    px_sampling how;
    bool seeded; /* how.seed is the client's */
    const char **stop;
    int n_stop, n, top_logprobs;
    bool stream, stream_usage, logprobs;
    const cJSON *schema; /* of the answer: an object, not looked into; NULL: any text */
    px_str ignored;      /* names of fields that have no effect, as a JSON list's inside */
    /* what the above borrows from */
    cJSON *json;
    px_arena *arena;
} px_chat_request;
typedef struct {
    px_sampling how; /* what a request gets that does not say */
    int64_t max_new_tokens, max_n, max_messages;
} px_chat_limits;
/* PX_BAD_INPUT: names the field, what stands there and what is accepted. *out is to be freed
 * whatever comes. */
PX_CHECKED px_err *px_chat_request_parse(const char *body, size_t size,
                                         const px_chat_limits *limits, px_chat_request *out);
void px_chat_request_free(px_chat_request *request);

/* --- the generator: what the server needs of an engine --- */
typedef enum { PX_PERSON_NONE, PX_PERSON_GENERIC, PX_PERSON_OWN } px_person;
typedef struct {
    const char *text; /* bytes of the token, maybe part of a character */
    size_t size;
    double logp;
} px_piece_text;
/* A new token of a sample. */
typedef struct {
    void *tag;
    px_piece_text token; /* its own text, special tokens too; for log-probabilities */
    const char *added;   /* what it adds to the answer */
    size_t n_added;
    const px_piece_text *best; /* [n_best] */
    int n_best;
    const char *finish; /* "stop" or "length": the last; else NULL */
} px_piece_event;
/* false ends the sample: it is not heard of again. */
typedef bool px_piece_sink(void *ctx, const px_piece_event *event);
typedef struct {
    void *self;
    /* Begins sample number `sample` of a request. PX_BAD_INPUT: the client's fault (prompt too
     * long); other errors end the server. */
    px_err *(*begin)(void *self, const px_chat_request *request, int sample, void *tag,
                     int32_t *prompt_tokens, px_person *person);
    void (*cancel)(void *self, const void *tag);
    px_err *(*step)(void *self, px_piece_sink *sink, void *ctx);
    bool (*idle)(void *self);
    int32_t (*room)(void *self); /* samples that may begin now */
} px_generator;

/* --- the server --- */
typedef struct {
    const char *host;   /* address to listen on; NULL: no TCP */
    int port;           /* 0: any free one */
    const char *socket; /* path of a UNIX socket, or NULL */
    const char *key;    /* access key; NULL: none is wanted, loopback only */
    const char *model;  /* the name clients see */
    const char *fingerprint;
    px_chat_limits limits;
    int64_t max_body_bytes, max_header_bytes, queue, connections;
    double read_s;    /* for a client to send its request */
    double request_s; /* for an answer */
    double grace_s;   /* for what is under way, once the server is told to stop */
} px_serve_setup;
#define PX_SERVE_DEFAULTS                                                                          \
    .host = "127.0.0.1", .max_body_bytes = 1 << 20, .max_header_bytes = 32 << 10, .queue = 64,     \
    .connections = 256, .read_s = 30, .request_s = 600, .grace_s = 30
/* 1, 1, 0, 1; all else off, 512 new tokens of at most `max`. */
px_chat_limits px_chat_limits_default(int64_t max_new_tokens);

typedef struct px_server px_server;
/* Listens; requests wait until px_server_run. Texts of setup are borrowed until the close.
 * PX_BAD_INPUT: an address that cannot be had, or one that is not loopback without a key. */
PX_CHECKED px_err *px_server_open(const px_serve_setup *setup, const px_generator *generator,
                                  px_server **out);
/* The TCP port, 0 without TCP. */
int px_server_port(const px_server *server);
/* Runs the generator until `stop` says so; then answers what is under way, for grace_s at most, and
 * refuses the rest. An error is the generator's. */
PX_CHECKED px_err *px_server_run(px_server *server, bool (*stop)(void));
void px_server_close(px_server *server);

#endif
