/* http.c - requests and replies: libmicrohttpd's callbacks, all called by its own threads. Nothing
 * here waits: a request that must, is suspended until its job has news. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "serve_internal.h"

#define DRAIN 16 /* times the limit: what is read of a body that is too long, to refuse it */
#define BLOCK (16 << 10) /* bytes that libmicrohttpd asks a stream for at once */

/* One request on a connection. */
typedef struct {
    px_str body;
    size_t seen; /* bytes of the body, kept or not */
    px_job *job; /* held */
} exchange;

/* --- replies --- */
static enum MHD_Result queue_reply(px_server *server, struct MHD_Connection *connection, int status,
                                   struct MHD_Response *response) {
    char seconds[32];
    if (!response) return MHD_NO;
    pthread_mutex_lock(&server->lock);
    const bool stopping = server->stopping;
    const int64_t running = PX_MAX(1, server->n_jobs - server->n_queued);
    const double wait = server->mean_s * (double)(server->n_queued + 1) / (double)running;
    pthread_mutex_unlock(&server->lock);
    if (status == 429 || status == 503) {
        snprintf(seconds, sizeof seconds, "%.0f", ceil(PX_MAX(1, PX_MIN(60, wait))));
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == 405) MHD_add_response_header(response, "Allow", "GET, POST");
    if (stopping) MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

/* Sends text, which it takes over. */
static enum MHD_Result reply_json(px_server *server, struct MHD_Connection *connection, int status,
                                  px_str *text, const char *person) {
    struct MHD_Response *response = NULL;
    if (!text->failed && text->data)
        response = MHD_create_response_from_buffer(text->size, text->data, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        px_str_free(text);
        return MHD_NO;
    }
    *text = (px_str){0};
    MHD_add_response_header(response, "Content-Type", "application/json");
    if (person) MHD_add_response_header(response, "X-Prismx-User", person);
    return queue_reply(server, connection, status, response);
}

static enum MHD_Result reply_error(px_server *server, struct MHD_Connection *connection, int status,
                                   const char *message) {
    px_str text = {0};
    px_reply_error(&text, status, message);
    return reply_json(server, connection, status, &text, NULL);
}

/* --- who may ask --- */
static bool same_secret(const char *a, const char *b) {
    size_t n = strlen(a);
    unsigned char differ = strlen(b) != n;
    for (size_t i = 0; i < n; i++) differ |= (unsigned char)(a[i] ^ b[differ & 1 ? 0 : i]);
    return !differ;
}

/* "localhost:80", "127.0.0.1", "[::1]:80", "http://localhost". */
static bool names_loopback(const char *text) {
    const char *scheme = strstr(text, "://");
    if (scheme) text = scheme + 3;
    size_t n = *text == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":/");
    return (n == 9 && !strncasecmp(text, "localhost", 9)) ||
           (n == 5 && !strncmp(text, "[::1]", 5)) ||
           (n >= 7 && !strncmp(text, "127.", 4) && strspn(text, "0123456789.") >= n);
}

/* A page in a browser on this machine can send requests here: without a key only those are answered
 * that were meant for this server, by no page of another origin. */
static bool from_a_page(const px_server *server, struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    if (server->setup.key || (info && info->client_addr->sa_family == AF_UNIX)) return false;
    return (host && !names_loopback(host)) || (origin && !names_loopback(origin));
}

static bool has_key(const px_server *server, struct MHD_Connection *connection) {
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (!server->setup.key) return true;
    return value && !strncasecmp(value, "Bearer ", 7) && same_secret(value + 7, server->setup.key);
}

/* --- chat --- */
static enum MHD_Result wait_for_news(px_job *job) {
    job->suspended = true;
    MHD_suspend_connection(job->connection);
    return MHD_YES;
}

/* Queues the job, or says with which status it is refused. */
static int job_queue(px_server *server, struct MHD_Connection *connection, px_chat_request *request,
                     exchange *x) {
    int status = 0;
    px_job *job = NULL;
    pthread_mutex_lock(&server->lock);
    if (server->stopping)
        status = 503;
    else if (server->n_queued >= server->setup.queue)
        status = 429;
    else {
        px_err *err = px_job_new(server, request, &job);
        if (err) status = 500;
        px_err_free(err);
    }
    if (job) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        px_job **end = &server->first;
        while (*end) end = &(*end)->next;
        *end = job;
        job->holders = 2;
        server->n_queued++;
        server->n_jobs++;
        job->connection = connection;
        job->fd = info ? info->connect_fd : -1;
        x->job = job;
        wait_for_news(job);
        pthread_cond_signal(&server->news);
    }
    pthread_mutex_unlock(&server->lock);
    return status;
}

static enum MHD_Result chat_begin(px_server *server, struct MHD_Connection *connection,
                                  exchange *x) {
    px_chat_request request;
    int status = 400;
    px_err *err = px_chat_request_parse(x->body.data ? x->body.data : "", x->body.size,
                                        &server->setup.limits, &request);
    px_str_free(&x->body);
    if (!err && request.model && strcmp(request.model, server->setup.model) != 0) {
        status = 404;
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "\"model\": there is no such model here; this server has \"%s\"",
                         server->setup.model);
    }
    if (err) {
        if (px_err_kind(err) != PX_BAD_INPUT) status = 500;
        enum MHD_Result result = reply_error(server, connection, status, px_err_text(err));
        px_err_free(err);
        px_chat_request_free(&request);
        return result;
    }
    if (!request.seeded) {
        uint64_t seed = 0;
        if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)px_now_s();
        request.how.seed = seed >> 11; /* a double holds it: JSON readers keep it */
    }
    status = job_queue(server, connection, &request, x);
    px_chat_request_free(&request);
    if (status == 0) return MHD_YES;
    return reply_error(server, connection, status,
                       status == 503   ? "the server is being stopped"
                       : status == 429 ? "too many requests are waiting; try again later"
                                       : "out of memory");
}

static ssize_t stream_read(void *cls, uint64_t at, char *to, size_t room) {
    px_job *job = cls;
    ssize_t got = 0;
    (void)at;
    pthread_mutex_lock(&job->server->lock);
    size_t n = PX_MIN(job->out.size - job->out_at, room);
    if (job->gone) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (n > 0) {
        memcpy(to, job->out.data + job->out_at, n);
        job->out_at += n;
        got = (ssize_t)n;
        if (job->out_at == job->out.size) {
            px_str_clear(&job->out);
            job->out_at = 0;
        }
    } else if (job->ended) {
        got = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        wait_for_news(job);
    }
    pthread_mutex_unlock(&job->server->lock);
    return got;
}

static void stream_end(void *cls) {
    px_job *job = cls;
    px_server *server = job->server;
    pthread_mutex_lock(&server->lock);
    px_job_release(job);
    pthread_mutex_unlock(&server->lock);
}

/* The job has news: the reply, or the head of a stream. */
static enum MHD_Result chat_go_on(px_server *server, struct MHD_Connection *connection,
                                  exchange *x) {
    static const char *const persons[] = {"none", "generic", "own"};
    px_job *job = x->job;
    enum MHD_Result result = MHD_NO;
    struct MHD_Response *response = NULL;
    px_str text = {0};
    pthread_mutex_lock(&server->lock);
    const int status = job->status;
    const bool stream = status == 200 && job->request.stream, gone = job->gone;
    const char *person = status == 200 ? persons[job->person] : NULL;
    if (!gone && !job->ready) {
        result = wait_for_news(job);
    } else if (!gone && stream) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, stream_read, job,
                                                     stream_end);
        if (response) job->holders++;
    } else if (!gone) {
        text = job->out;
        job->out = (px_str){0};
    }
    pthread_mutex_unlock(&server->lock);
    if (text.data) return reply_json(server, connection, status, &text, person);
    if (!response) return result;
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Prismx-User", person);
    return queue_reply(server, connection, status, response);
}

/* --- routes --- */
static enum MHD_Result reply_health(px_server *server, struct MHD_Connection *connection) {
    px_str text = {0};
    pthread_mutex_lock(&server->lock);
    const bool stopping = server->stopping;
    px_str_format(&text, "{\"status\":\"%s\",\"running\":%lld,\"queued\":%lld}",
                  stopping ? "stopping" : "ok", (long long)(server->n_jobs - server->n_queued),
                  (long long)server->n_queued);
    pthread_mutex_unlock(&server->lock);
    return reply_json(server, connection, stopping ? 503 : 200, &text, NULL);
}

static enum MHD_Result route(px_server *server, struct MHD_Connection *connection, const char *url,
                             const char *method, exchange *x) {
    const bool get = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    const bool chat = !strcmp(url, "/v1/chat/completions");
    const bool models = !strcmp(url, "/v1/models"), health = !strcmp(url, "/health");
    if (from_a_page(server, connection))
        return reply_error(server, connection, 403,
                           "requests from web pages and for other host names are not answered");
    if (!health && !has_key(server, connection))
        return reply_error(server, connection, 401,
                           "the access key is missing or wrong (Authorization: Bearer KEY)");
    if (!chat && !models && !health)
        return reply_error(server, connection, 404,
                           "no such route; there are POST /v1/chat/completions, GET /v1/models, "
                           "GET /health");
    if (chat ? strcmp(method, "POST") != 0 : !get)
        return reply_error(server, connection, 405,
                           chat ? "this route wants POST" : "this route wants GET");
    if (x->seen > (size_t)server->setup.max_body_bytes)
        return reply_error(server, connection, 413, "the request's body is too long");
    if (health) return reply_health(server, connection);
    if (chat) return chat_begin(server, connection, x);
    px_str text = {0};
    px_reply_models(server, &text);
    return reply_json(server, connection, 200, &text, NULL);
}

static void watch_set(px_server *server, struct MHD_Connection *connection, bool answering) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    px_watch *watch = info ? info->socket_context : NULL;
    if (!watch) return;
    pthread_mutex_lock(&server->lock);
    watch->answering = answering;
    watch->since_s = px_now_s();
    pthread_mutex_unlock(&server->lock);
}

/* First call of a request: its head is here. A body far too long is not waited for. */
static enum MHD_Result begin_exchange(px_server *server, struct MHD_Connection *connection,
                                      void **state) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    int64_t bytes = 0;
    *state = calloc(1, sizeof(exchange));
    if (!*state) return MHD_NO;
    if (length && px_parse_i64(length, &bytes) && bytes > DRAIN * server->setup.max_body_bytes)
        return reply_error(server, connection, 413, "the request's body is too long");
    return MHD_YES;
}

enum MHD_Result px_http_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **state) {
    px_server *server = cls;
    exchange *x = *state;
    const size_t most = (size_t)server->setup.max_body_bytes;
    (void)version;
    if (!x) return begin_exchange(server, connection, state);
    if (*upload_size > 0) {
        x->seen += *upload_size;
        if (x->seen > DRAIN * most) return MHD_NO;
        if (x->seen <= most)
            px_str_add(&x->body, upload, *upload_size);
        else
            px_str_free(&x->body);
        *upload_size = 0;
        return x->body.failed ? MHD_NO : MHD_YES;
    }
    if (x->job) return chat_go_on(server, connection, x);
    watch_set(server, connection, true);
    return route(server, connection, url, method, x);
}

void px_http_completed(void *cls, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode why) {
    px_server *server = cls;
    exchange *x = *state;
    (void)why;
    watch_set(server, connection, false);
    if (!x) return;
    pthread_mutex_lock(&server->lock);
    if (x->job) {
        if (!x->job->ended) x->job->gone = true;
        x->job->connection = NULL;
        px_job_release(x->job);
        pthread_cond_signal(&server->news);
    }
    pthread_mutex_unlock(&server->lock);
    px_str_free(&x->body);
    free(x);
    *state = NULL;
}

void px_http_connection(void *cls, struct MHD_Connection *connection, void **state,
                        enum MHD_ConnectionNotificationCode what) {
    px_server *server = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        px_watch *watch = calloc(1, sizeof *watch);
        *state = watch;
        if (!watch) return; /* a connection without time limits but libmicrohttpd's own */
        watch->fd = info ? info->connect_fd : -1;
        watch->since_s = px_now_s();
        pthread_mutex_lock(&server->lock);
        watch->next = server->watches;
        server->watches = watch;
        pthread_mutex_unlock(&server->lock);
        return;
    }
    pthread_mutex_lock(&server->lock);
    for (px_watch **at = &server->watches; *at; at = &(*at)->next)
        if (*at == *state) {
            *at = (*at)->next;
            break;
        }
    pthread_mutex_unlock(&server->lock);
    free(*state);
    *state = NULL;
}
