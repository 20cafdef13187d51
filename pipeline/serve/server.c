/* server.c - the thread of the generator: takes jobs from the queue while there is room, steps,
 * sees to time limits and to clients that have gone, and ends in order. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serve_internal.h"

#define LOOK_EVERY_S 0.2 /* after time limits, gone clients, the stop */

px_err *px_server_open(const px_serve_setup *setup, const px_generator *generator,
                       px_server **out) {
    px_server *server = calloc(1, sizeof *server);
    if (!server) PX_NO_MEMORY();
    server->setup = *setup;
    server->generator = *generator;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->news, &attr);
    pthread_condattr_destroy(&attr);
    signal(SIGPIPE, SIG_IGN);
    px_err *err = NULL;
    if (!setup->host && !setup->socket)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "neither a port nor a socket is named");
    /* The socket first: its file is made while no other thread runs. */
    if (!err && setup->socket) err = px_listen_socket(server);
    if (!err && setup->host) err = px_listen_tcp(server);
    if (err)
        px_server_close(server);
    else
        *out = server;
    return err;
}

int px_server_port(const px_server *server) { return server->port; }

/* --- jobs, with the lock held --- */
static bool has_begun(const px_job *job) { return job->parts[job->request.n - 1].begun; }

/* The engine's side is done with a job. */
static void job_leave(px_server *server, px_job *job) {
    px_job **at = &server->first;
    while (*at != job) at = &(*at)->next;
    *at = job->next;
    job->next = NULL;
    server->n_jobs--;
    if (!has_begun(job)) server->n_queued--;
    px_job_release(job);
}

static void job_cancel(px_server *server, px_job *job) {
    for (int i = 0; i < job->request.n; i++)
        if (job->parts[i].begun && !job->parts[i].finish)
            server->generator.cancel(server->generator.self, &job->parts[i]);
}

/* Begins what there is room for, in order of arrival. The lock is let go around each beginning: it
 * encodes the prompt. */
static px_err *begin_jobs(px_server *server) {
    px_generator *g = &server->generator;
    for (px_job *job = server->first; job; job = job->next) {
        for (int i = 0; i < job->request.n && !job->ended && !job->gone; i++) {
            px_answer_part *part = &job->parts[i];
            if (part->begun) continue;
            if (g->room(g->self) <= 0) return NULL;
            int32_t n_prompt = 0;
            px_person person = PX_PERSON_NONE;
            pthread_mutex_unlock(&server->lock);
            px_err *err = g->begin(g->self, &job->request, i, part, &n_prompt, &person);
            pthread_mutex_lock(&server->lock);
            if (err && px_err_kind(err) != PX_BAD_INPUT) return err;
            if (err) {
                px_job_fail(job, 400, px_err_text(err));
                px_err_free(err);
                break;
            }
            part->begun = true;
            job->prompt_tokens = n_prompt;
            job->person = person;
            if (i == job->request.n - 1) server->n_queued--;
        }
    }
    return NULL;
}

static bool client_left(const px_job *job) {
    char byte;
    if (!job->suspended || job->fd < 0) return false;
    ssize_t n = recv(job->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* Ends jobs that are late or unwanted, forgets those that have ended, closes connections that take
 * too long to ask or to read. */
static void look_around(px_server *server) {
    const double now = px_now_s();
    for (px_job *job = server->first, *next; job; job = next) {
        next = job->next;
        if (client_left(job)) {
            job->gone = true;
            px_job_wake(job);
        }
        if (!job->ended && !job->gone && now - job->since_s > server->setup.request_s)
            px_job_fail(job, 503, "the answer took too long");
        if (!job->ended && !job->gone) continue;
        job_cancel(server, job);
        job_leave(server, job);
    }
    for (px_watch *watch = server->watches; watch; watch = watch->next) {
        double most = watch->answering ? server->setup.request_s + server->setup.read_s
                                       : server->setup.read_s;
        if (now - watch->since_s > most && watch->fd >= 0) shutdown(watch->fd, SHUT_RDWR);
    }
}

/* The sink of the generator's steps. */
static bool on_token(void *ctx, const px_piece_event *event) {
    px_server *server = ctx;
    pthread_mutex_lock(&server->lock);
    bool on = px_job_token(event->tag, event);
    pthread_mutex_unlock(&server->lock);
    return on;
}

static void wait_for_news(px_server *server) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(LOOK_EVERY_S * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&server->news, &server->lock, &until);
}

static void fail_all(px_server *server, int status, const char *message) {
    for (px_job *job = server->first; job; job = job->next) px_job_fail(job, status, message);
    look_around(server);
}

/* From now on nobody new is let in; what is queued is still answered. */
static void stop_listening(px_server *server) {
    px_info("serve: stopping; %lld requests are under way", (long long)server->n_jobs);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < server->n_daemons; i++) {
        MHD_socket fd = MHD_quiesce_daemon(server->daemons[i]);
        if (fd != MHD_INVALID_SOCKET) close(fd);
    }
    pthread_mutex_lock(&server->lock);
}

px_err *px_server_run(px_server *server, bool (*stop)(void)) {
    px_generator *g = &server->generator;
    px_err *err = NULL;
    double looked_s = 0, stop_s = 0;
    pthread_mutex_lock(&server->lock);
    while (!err) {
        if (!server->stopping && stop()) {
            stop_listening(server);
            stop_s = px_now_s() + server->setup.grace_s;
        }
        if (px_now_s() - looked_s > LOOK_EVERY_S) {
            look_around(server);
            looked_s = px_now_s();
        }
        if (server->stopping && (!server->first || px_now_s() > stop_s)) break;
        err = begin_jobs(server);
        if (err) break;
        if (g->idle(g->self)) {
            /* Jobs that have ended leave at once, not when somebody asks next. */
            if (server->first) look_around(server);
            if (!server->first || !server->n_queued) wait_for_news(server);
            continue;
        }
        pthread_mutex_unlock(&server->lock);
        err = g->step(g->self, on_token, server);
        pthread_mutex_lock(&server->lock);
    }
    server->stopping = true;
    fail_all(server, err ? 500 : 503, err ? "the server failed" : "the server is being stopped");
    pthread_mutex_unlock(&server->lock);
    return err;
}

/* Replies that are made are sent, to clients that read them: a few seconds are given for it. */
static void drain(px_server *server) {
    const double until = px_now_s() + PX_MIN(server->setup.grace_s, 5);
    for (bool busy = true; busy && px_now_s() < until;) {
        busy = false;
        pthread_mutex_lock(&server->lock);
        for (const px_watch *watch = server->watches; watch; watch = watch->next)
            busy |= watch->answering;
        pthread_mutex_unlock(&server->lock);
        if (busy) usleep(10000);
    }
}

void px_server_close(px_server *server) {
    if (!server) return;
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    fail_all(server, 503, "the server is being stopped");
    pthread_mutex_unlock(&server->lock);
    drain(server);
    for (int i = 0; i < server->n_daemons; i++) MHD_stop_daemon(server->daemons[i]);
    if (server->setup.socket && server->n_daemons) unlink(server->setup.socket);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->news);
    free(server);
}
