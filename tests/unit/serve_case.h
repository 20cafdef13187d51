/* serve_case.h - a server with the fake generator, running in a thread of the test. */
#ifndef PX_SERVE_CASE_H
#define PX_SERVE_CASE_H

#include "fake_generator.h"
#include "files.h"
#include "http_client.h"

#include <pthread.h>

typedef struct {
    fake f;
    px_server *server;
    pthread_t thread;
    px_err *err;
    px_str reply, body;
    int port;
} served;

static _Atomic bool serve_stop;
static inline bool serve_stops(void) { return serve_stop; }
static inline void *serve_thread(void *user) {
    served *s = user;
    s->err = px_server_run(s->server, serve_stops);
    return NULL;
}
static inline px_serve_setup serve_setup(void) {
    return (px_serve_setup){PX_SERVE_DEFAULTS, .model = "fake", .fingerprint = "f00",
                            .limits = px_chat_limits_default(5000)};
}
static inline served *serve_open(const px_serve_setup *setup, int room) {
    served *s = calloc(1, sizeof *s);
    assert_non_null(s);
    px_generator g = fake_generator(&s->f, room);
    serve_stop = false;
    px_assert_ok(px_server_open(setup, &g, &s->server));
    s->port = px_server_port(s->server);
    assert_int_equal(pthread_create(&s->thread, NULL, serve_thread, s), 0);
    return s;
}
/* Stops it, and says whether all the generator's samples had ended. */
static inline bool serve_close(served *s) {
    serve_stop = true;
    pthread_join(s->thread, NULL);
    px_server_close(s->server);
    bool clean = s->f.active == 0;
    if (s->err) fail_msg("%s", px_err_text(s->err));
    px_str_free(&s->reply);
    px_str_free(&s->body);
    free(s);
    return clean;
}
static inline int serve_ask(served *s, const char *method, const char *path, const char *more,
                            const char *body) {
    return http_ask(s->port, method, path, more, body, &s->reply, &s->body);
}
static inline int chat(served *s, const char *body) {
    return serve_ask(s, "POST", "/v1/chat/completions", "", body);
}

#endif
