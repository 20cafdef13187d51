/* serve_internal.h - shared inside serve: jobs, and the server that has them.
 *
 * A job is a request on its way. Two hold it: the HTTP side (until the reply is out or the client
 * gone) and the engine's side (until it has ended); the last frees it. Everything in a job and in
 * the server's lists is guarded by server->lock, but for `request`, which nobody changes after the
 * job is queued.
 *
 *   queued --begin--> running --last token, stop string, time--> ended
 *
 * A connection without anything to write is suspended (job->suspended); whoever has news resumes
 * it. Only a suspended connection's descriptor may be looked at: libmicrohttpd closes none. */
#ifndef PX_SERVE_INTERNAL_H
#define PX_SERVE_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>

#include "serve.h"

typedef struct px_job px_job;
typedef struct {
    px_job *job;
    int index;
    px_str text;     /* of the answer so far, stop string and what follows it cut off */
    size_t sent;     /* bytes of it that are written to the client's stream */
    px_str logprobs; /* JSON entries of tokens: all of them, or those not yet streamed */
    int32_t n_tokens;
    bool begun;         /* at the generator */
    const char *finish; /* not NULL: ended */
} px_answer_part;

struct px_job {
    px_job *next; /* in the server's list */
    px_server *server;
    int holders;
    px_chat_request request;
    px_answer_part *parts; /* [request.n] */
    char id[40];
    int64_t created;
    double since_s;
    int32_t prompt_tokens;
    px_person person;
    /* engine -> HTTP */
    bool ready, ended; /* a reply may begin; nothing more will come */
    int status;        /* of the reply; not 200: out is an error's JSON */
    px_str out;        /* what is to be written: the reply, or the stream's next bytes */
    size_t out_at;     /* of it, written */
    /* HTTP -> engine */
    bool gone; /* the client: nobody wants more */
    struct MHD_Connection *connection;
    int fd;
    bool suspended;
};

/* A connection, for its time limits. */
typedef struct px_watch px_watch;
struct px_watch {
    px_watch *next;
    int fd;
    double since_s;
    bool answering; /* the request is in */
};

struct px_server {
    px_serve_setup setup;
    px_generator generator;
    struct MHD_Daemon *daemons[2];
    int n_daemons, port;
    bool loopback;
    pthread_mutex_t lock;
    pthread_cond_t news; /* for the engine's thread */
    px_job *first;       /* in order of arrival: queued and running */
    int64_t n_queued, n_jobs, n_made;
    px_watch *watches;
    bool stopping;
    double mean_s; /* of an answer, lately */
};

/* job.c; all but new with the lock held */
PX_CHECKED px_err *px_job_new(px_server *server, px_chat_request *request, px_job **out);
/* One holder fewer. */
void px_job_release(px_job *job);
/* Takes a token in; false: the sample has ended, or nobody wants it. */
bool px_job_token(px_answer_part *part, const px_piece_event *event);
/* Ends the job with an error of that HTTP status. */
void px_job_fail(px_job *job, int status, const char *message);
/* Lets the HTTP side go on, if it waits. */
void px_job_wake(px_job *job);

/* reply.c: JSON */
void px_reply_error(px_str *out, int status, const char *message);
void px_reply_whole(const px_job *job, px_str *out);
/* A stream's event; role: the first of a part. */
void px_reply_chunk(px_answer_part *part, const char *text, size_t size, bool role);
void px_reply_stream_end(px_job *job);
void px_reply_models(const px_server *server, px_str *out);
/* An entry of a token, with its `top` best alternatives. */
void px_reply_logprob(const px_piece_event *event, int top, px_str *out);

/* http.c: libmicrohttpd's callbacks. */
enum MHD_Result px_http_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **state);
void px_http_completed(void *cls, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode why);
void px_http_connection(void *cls, struct MHD_Connection *connection, void **state,
                        enum MHD_ConnectionNotificationCode what);

/* listen.c */
PX_CHECKED px_err *px_listen_tcp(px_server *server);
PX_CHECKED px_err *px_listen_socket(px_server *server);

#endif
