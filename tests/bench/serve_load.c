/* serve_load.c - many clients at once against the server, good and bad ones, for as long as wanted:
 *
 *   serve_load [SECONDS [CLIENTS [PORT MODEL]]]     60, 64; without PORT the fake generator, here
 *
 * Good clients ask questions whose answers were got one at a time before, whole and streamed, and
 * compare. Others send what is malformed or too long, read slowly, or go away in the middle. Prints
 * counts; exit 1 when a good request got another answer, or a bad one an answer. In the sanitizer
 * build it is the search for leaks and races. */
#include <signal.h>

#include "fake_generator.h"
#include "http_client.h"

#include <pthread.h>

enum { QUESTIONS = 12, CLIENTS_MAX = 512 };

static struct {
    int port;
    char model[128];
    double until_s;
    char *answers[QUESTIONS];
    _Atomic long good, busy, wrong, malformed, oversized, slow, dropped, refused;
} load;

static _Atomic bool stop_server;
static bool stops(void) { return stop_server; }

static char *question(int i, bool stream) {
    char *text = NULL;
    if (asprintf(
            &text,
            "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Question %d: what "
            "is %d times %d?\"}],\"max_tokens\":%d,\"seed\":%d,\"temperature\":%s,\"stream\":%s%s}",
            load.model, i, i + 2, i + 3, 8 + 4 * i, i, i % 2 ? "0.8" : "0",
            stream ? "true" : "false", i % 3 ? "" : ",\"stop\":[\"\\n\\n\\n\",\"##\"]") < 0)
        abort();
    return text;
}

/* The answer's text as JSON spells it, the pieces of a stream joined; NULL: it is not whole. Not by
 * a parser: a random model says any bytes, and ours accepts no NUL. */
static char *answer_of(const px_str *body, bool stream) {
    static const char key[] = "\"content\":\"";
    px_str text = {0};
    const char *at = body->data;
    px_str_add(&text, "", 0);
    while ((at = strstr(at, key))) {
        const char *start = at + sizeof key - 1;
        for (at = start; *at && *at != '"';) at += *at == '\\' && at[1] ? 2 : 1;
        px_str_add(&text, start, (size_t)(at - start));
    }
    const char *end = stream ? "data: [DONE]\n\n" : "}}";
    const size_t n = strlen(end);
    if (body->size < n || strcmp(body->data + body->size - n, end) != 0) px_str_free(&text);
    return text.data;
}

static void ask_good(int i, bool stream) {
    px_str reply = {0}, body = {0};
    char *text = question(i, stream);
    int status = http_ask(load.port, "POST", "/v1/chat/completions", "", text, &reply, &body);
    char *answer = status == 200 ? answer_of(&body, stream) : NULL;
    if (status == 429) {
        load.busy++;
    } else if (!answer || strcmp(answer, load.answers[i]) != 0) {
        load.wrong++;
        fprintf(stderr, "question %d%s: %d %.200s\nwanted %s\n", i, stream ? ", streamed" : "",
                status, body.data ? body.data : "nothing", load.answers[i]);
    } else {
        load.good++;
    }
    free(answer);
    free(text);
    px_str_free(&reply);
    px_str_free(&body);
}

static void ask_bad(uint32_t r) {
    static const char *const bodies[] = {"{", "[]", "{\"messages\":3}", "\xff\xfe",
                                         "{\"messages\":[{\"role\":\"x\",\"content\":\"y\"}]}"};
    px_str reply = {0}, body = {0}, big = {0};
    int status = 0;
    if (r % 8 == 0) { /* too long */
        for (int i = 0; i < 2000000; i++) px_str_char(&big, 'x');
        status = http_ask(load.port, "POST", "/v1/chat/completions", "", big.data, &reply, &body);
        load.oversized++;
    } else if (r % 8 == 1) { /* no HTTP */
        int fd = http_connect(load.port);
        if (fd >= 0) {
            http_send(fd, "\x01\x02 nonsense\r\n\r\n\r\n", 17);
            http_read(fd, 1, &reply);
            close(fd);
        }
        load.malformed++;
    } else {
        status = http_ask(load.port, "POST", "/v1/chat/completions", "",
                          bodies[r / 8 % PX_COUNT(bodies)], &reply, &body);
        load.malformed++;
    }
    if (status >= 400 && status < 500) load.refused++;
    if (status == 200) load.wrong++;
    px_str_free(&reply);
    px_str_free(&body);
    px_str_free(&big);
}

/* Asks, reads some bytes slowly, and goes, or stays to the end. */
static void ask_and_go(uint32_t r) {
    px_str request = {0};
    char byte[64], *text = question((int)(r % QUESTIONS), r & 64);
    int fd = http_connect(load.port);
    http_write(&request, "POST", "/v1/chat/completions", "", text);
    free(text);
    if (fd >= 0 && http_send(fd, request.data, r & 128 ? request.size : request.size / 2)) {
        for (uint32_t i = 0; i < r / 256 % 20; i++) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, 50) > 0 && recv(fd, byte, sizeof byte, 0) <= 0) break;
        }
    }
    if (r & 32)
        load.slow++;
    else
        load.dropped++;
    if (r & 32) usleep(300000);
    if (fd >= 0) close(fd);
    px_str_free(&request);
}

static void *client(void *user) {
    const uint64_t me = (uint64_t)(uintptr_t)user;
    const px_rng rng = {1, PX_RNG_TEST};
    for (uint64_t k = 0; px_now_s() < load.until_s; k++) {
        const uint32_t r = px_rng_at(rng, me, k).v[0];
        if (me % 4 == 3 && r % 3 == 0)
            ask_bad(r / 3);
        else if (me % 4 == 3)
            ask_and_go(r / 3);
        else
            ask_good((int)(r / 2 % QUESTIONS), r & 1);
    }
    return NULL;
}

static void *serve(void *user) {
    px_err *err = px_server_run(user, stops);
    if (err) fprintf(stderr, "server: %s\n", px_err_text(err));
    load.wrong += err != NULL;
    px_err_free(err);
    return NULL;
}

static bool references(void) {
    for (int i = 0; i < QUESTIONS; i++) {
        px_str reply = {0}, body = {0};
        char *text = question(i, false);
        int status = http_ask(load.port, "POST", "/v1/chat/completions", "", text, &reply, &body);
        load.answers[i] = status == 200 ? answer_of(&body, false) : NULL;
        if (!load.answers[i])
            fprintf(stderr, "question %d: %d %s\n", i, status, body.data ? body.data : "nothing");
        free(text);
        px_str_free(&reply);
        px_str_free(&body);
        if (!load.answers[i]) return false;
    }
    return true;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 60;
    int64_t n = argc > 2 ? strtol(argv[2], NULL, 10) : 64;
    fake f;
    px_server *server = NULL;
    pthread_t server_thread, threads[CLIENTS_MAX];
    signal(SIGPIPE, SIG_IGN);
    n = PX_MIN(PX_MAX(n, 1), CLIENTS_MAX);
    snprintf(load.model, sizeof load.model, "%s", argc > 4 ? argv[4] : "fake");
    if (argc > 4) {
        load.port = (int)strtol(argv[3], NULL, 10);
    } else {
        px_generator g = fake_generator(&f, FAKE_ROOM);
        px_serve_setup setup = {PX_SERVE_DEFAULTS, .model = "fake", .fingerprint = "f",
                                .limits = px_chat_limits_default(4096)};
        px_err *err = px_server_open(&setup, &g, &server);
        if (err) return fprintf(stderr, "%s\n", px_err_text(err)), 1;
        load.port = px_server_port(server);
        f.step_us = 500;
        pthread_create(&server_thread, NULL, serve, server);
    }
    bool ok = references();
    load.until_s = px_now_s() + seconds;
    for (int64_t i = 0; ok && i < n; i++)
        pthread_create(&threads[i], NULL, client, (void *)(uintptr_t)i);
    for (int64_t i = 0; ok && i < n; i++) pthread_join(threads[i], NULL);
    if (server) {
        stop_server = true;
        pthread_join(server_thread, NULL);
        px_server_close(server);
        if (f.active) load.wrong++;
    }
    printf("%lld clients, %.0f s: %ld good, %ld told to wait, %ld wrong; %ld malformed and %ld too "
           "long (%ld refused in words), %ld slow, %ld dropped\n",
           (long long)n, seconds, load.good, load.busy, load.wrong, load.malformed, load.oversized,
           load.refused, load.slow, load.dropped);
    for (int i = 0; i < QUESTIONS; i++) free(load.answers[i]);
    return ok && load.wrong == 0 && load.good > 0 ? 0 : 1;
}
