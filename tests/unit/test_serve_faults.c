/* test_serve_faults.c - the server among bad clients, and its end: nobody's fault is another's
 * delay, and every good request gets the answer that it gets alone. */
#include "serve_case.h"

#include "net.h"

#define ASK "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void nap(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&t, NULL);
}

/* Waits until the generator has n samples; false: not within 5 s. */
static bool active_is(const served *s, int n) {
    for (int i = 0; i < 500 && s->f.active != n; i++) nap(0.01);
    return s->f.active == n;
}

/* Sends a chat request and leaves the reply unread. */
static int send_chat(const served *s, const char *body) {
    px_str request = {0};
    int fd = http_connect(s->port);
    assert_true(fd >= 0);
    http_write(&request, "POST", "/v1/chat/completions", "", body);
    assert_true(http_send(fd, request.data, request.size));
    px_str_free(&request);
    return fd;
}

/* A body whose answer has about n tokens. */
static char *long_body(int n, const char *fields) {
    px_str text = {0};
    px_str_format(&text, "{\"max_tokens\":5000%s,\"messages\":[{\"role\":\"user\",\"content\":\"",
                  fields);
    for (int i = 0; i < n; i++) px_str_text(&text, "ab");
    px_str_text(&text, "\"}]}");
    return text.data;
}

static void dropped_clients_free_their_place(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    for (int stream = 0; stream < 2; stream++) {
        served *s = serve_open(&setup, 2);
        char *body = long_body(4000, stream ? ",\"stream\":true,\"n\":2" : ",\"n\":2");
        s->f.step_us = 2000; /* 8 s alone */
        int fd = send_chat(s, body), waits = send_chat(s, body);
        assert_true(active_is(s, 2));
        close(waits); /* one that is still queued */
        if (stream) { /* one that has read a little */
            char some[300];
            assert_true(recv(fd, some, sizeof some, 0) > 0);
        }
        nap(0.05);
        close(fd);
        double t0 = px_now_s();
        assert_int_equal(chat(s, "{" ASK ",\"seed\":5}"), 200);
        assert_true(px_now_s() - t0 < 3);
        assert_non_null(strstr(s->body.data, "5.0 h"));
        assert_true(active_is(s, 0));
        free(body);
        assert_true(serve_close(s));
    }
}

static void slow_readers_hold_up_nobody(void **state) {
    (void)state;
    enum { SLOW = 8 };
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 16);
    char *body = long_body(4900, ",\"stream\":true");
    int fds[SLOW];
    for (int i = 0; i < SLOW; i++) { /* all but the first take a few kilobytes and no more */
        const int small = 2048;
        px_str request = {0};
        fds[i] = http_connect(s->port);
        if (i) setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        http_write(&request, "POST", "/v1/chat/completions", "", body);
        assert_true(http_send(fds[i], request.data, request.size));
        px_str_free(&request);
    }
    double t0 = px_now_s();
    for (int i = 0; i < 20; i++) assert_int_equal(chat(s, "{" ASK "}"), 200);
    assert_true(px_now_s() - t0 < 5);
    assert_true(active_is(s, 0)); /* their answers are made, though not read */
    px_str reply = {0}, text = {0}, joined = {0};
    char finish[16];
    int events = 0;
    assert_true(http_read(fds[0], 20, &reply)); /* late, and whole */
    assert_true(http_body(&reply, &text));
    assert_true(stream_join(&text, 0, &joined, finish, &events));
    assert_in_range(joined.size, 9800, 9900);
    px_str_free(&reply);
    px_str_free(&text);
    px_str_free(&joined);
    for (int i = 0; i < SLOW; i++) close(fds[i]);
    free(body);
    assert_true(serve_close(s));
}

static void slow_senders_are_cut_off(void **state) {
    (void)state;
    static const char *const starts[] = {
        "", "GET /hea", "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: ",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"};
    px_serve_setup setup = serve_setup();
    setup.read_s = 1;
    served *s = serve_open(&setup, 4);
    for (size_t i = 0; i < PX_COUNT(starts); i++) {
        int fd = http_connect(s->port);
        double t0 = px_now_s();
        px_str reply = {0};
        bool closed = false;
        assert_true(http_send(fd, starts[i], strlen(starts[i])));
        /* a byte now and then starts libmicrohttpd's own clock anew */
        for (int k = 0; k < 40 && !closed; k++) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            closed = poll(&p, 1, 200) > 0 || !http_send(fd, "x", 1);
        }
        if (!closed || px_now_s() - t0 > 4) fail_msg("case %zu: %.1f s", i, px_now_s() - t0);
        px_str_free(&reply);
        close(fd);
    }
    assert_int_equal(chat(s, "{" ASK "}"), 200);
    assert_true(serve_close(s));
}

static void a_full_queue_refuses(void **state) {
    (void)state;
    enum { N = 5 };
    px_serve_setup setup = serve_setup();
    setup.queue = 2;
    served *s = serve_open(&setup, 1);
    s->f.step_us = 1000;
    char *body = long_body(500, "");
    int fds[N];
    px_str reply = {0};
    fds[0] = send_chat(s, body);
    assert_true(active_is(s, 1));
    for (int i = 1; i < N; i++) { /* two wait, two are refused */
        fds[i] = send_chat(s, "{" ASK "}");
        nap(0.05);
    }
    for (int i = N - 1; i >= 0; i--) {
        px_str_clear(&reply);
        assert_true(http_read(fds[i], 10, &reply));
        assert_int_equal(http_status(&reply), i >= 3 ? 429 : 200);
        if (i >= 3) assert_non_null(strstr(reply.data, "\r\nRetry-After: "));
        close(fds[i]);
    }
    px_str_free(&reply);
    free(body);
    assert_true(serve_close(s));
}

static void late_answers_are_given_up(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    setup.request_s = 0.5;
    served *s = serve_open(&setup, 4);
    s->f.step_us = 5000;
    for (int stream = 0; stream < 2; stream++) {
        char *body = long_body(4000, stream ? ",\"stream\":true" : "");
        int status = chat(s, body);
        assert_int_equal(status, stream ? 200 : 503); /* a stream's head is out */
        assert_non_null(strstr(s->body.data, "\"message\":\"the answer took too long\""));
        assert_null(strstr(s->body.data, "[DONE]"));
        assert_true(active_is(s, 0));
        free(body);
    }
    assert_true(serve_close(s));
}

/* --- bad requests that no library sends --- */
static void garbage_and_floods(void **state) {
    (void)state;
    static const char *const texts[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        "99999999999999999999\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"
        "zz\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n",
        "GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    px_serve_setup setup = serve_setup();
    setup.max_body_bytes = 3000;
    setup.read_s = 1;
    served *s = serve_open(&setup, 4);
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        px_str reply = {0};
        int fd = http_connect(s->port);
        assert_true(http_send(fd, texts[i], strlen(texts[i])));
        if (!http_read(fd, 4, &reply)) fail_msg("case %zu stays open", i);
        if (http_status(&reply) == 200) fail_msg("case %zu: %s", i, reply.data);
        close(fd);
        px_str_free(&reply);
    }
    /* a body without a length and without an end */
    px_str block = {0};
    px_str_text(&block, "1000\r\n");
    for (int i = 0; i < 4096; i++) px_str_char(&block, ' ');
    px_str_text(&block, "\r\n");
    static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    int fd = http_connect(s->port), sent = 0;
    assert_true(http_send(fd, head, sizeof head - 1));
    while (sent < 100000 && http_send(fd, block.data, block.size)) sent++;
    assert_true(sent < 100000);
    close(fd);
    /* one that ends, over the limit: it gets a reply */
    px_str reply = {0};
    fd = http_connect(s->port);
    assert_true(http_send(fd, head, sizeof head - 1));
    assert_true(http_send(fd, block.data, block.size));
    assert_true(http_send(fd, "0\r\n\r\n", 5));
    http_read(fd, 3, &reply);
    assert_int_equal(http_status(&reply), 413);
    close(fd);
    px_str_free(&reply);
    px_str_free(&block);
    assert_int_equal(chat(s, "{" ASK "}"), 200);
    assert_true(serve_close(s));
}

/* --- the end --- */
static void a_stop_finishes_what_is_under_way(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 1);
    char *body = long_body(200, ",\"seed\":4");
    px_str reply[2] = {{0}, {0}};
    s->f.step_us = 2000;
    int running = send_chat(s, body), queued = send_chat(s, "{" ASK ",\"seed\":6}");
    assert_true(active_is(s, 1));
    nap(0.05);
    serve_stop = true;
    nap(0.4);
    assert_true(http_connect(s->port) < 0); /* nobody new */
    assert_true(http_read(running, 5, &reply[0]));
    assert_true(http_read(queued, 5, &reply[1]));
    assert_non_null(strstr(reply[0].data, "4.0 h"));
    assert_non_null(strstr(reply[1].data, "6.0 h"));
    assert_int_equal(http_status(&reply[0]), 200);
    assert_int_equal(http_status(&reply[1]), 200);
    for (int i = 0; i < 2; i++) px_str_free(&reply[i]);
    close(running);
    close(queued);
    free(body);
    assert_true(serve_close(s));
}

static void a_stop_waits_no_longer_than_its_grace(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    setup.grace_s = 0.3;
    served *s = serve_open(&setup, 1);
    char *body = long_body(4000, ""), *stream = long_body(4000, ",\"stream\":true");
    px_str reply[2] = {{0}, {0}};
    s->f.step_us = 5000;
    int running = send_chat(s, stream), queued = send_chat(s, body);
    assert_true(active_is(s, 1));
    double t0 = px_now_s();
    assert_true(serve_close(s));
    assert_true(px_now_s() - t0 < 4);
    assert_true(http_read(running, 5, &reply[0]));
    assert_true(http_read(queued, 5, &reply[1]));
    assert_non_null(strstr(reply[0].data, "data: {\"error\":{\"message\":\"the server is being"));
    assert_int_equal(http_status(&reply[1]), 503);
    for (int i = 0; i < 2; i++) px_str_free(&reply[i]);
    close(running);
    close(queued);
    free(body);
    free(stream);
}

static void a_broken_generator_ends_the_server(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 4);
    s->f.breaks = true;
    assert_int_equal(chat(s, "{" ASK "}"), 500);
    assert_non_null(strstr(s->body.data, "\"message\":\"the server failed\""));
    pthread_join(s->thread, NULL);
    px_assert_error(s->err, PX_RUN_FAILED, "the fake breaks");
    px_server_close(s->server);
    assert_int_equal(s->f.active, 0);
    px_str_free(&s->reply);
    px_str_free(&s->body);
    free(s);
}

/* --- with the project's own client --- */
typedef struct {
    int n, wrong;
} tally;

static px_err *compare(void *ctx, const px_reply *reply) {
    tally *t = ctx;
    char want[64];
    int tag = (int)(uintptr_t)reply->tag;
    snprintf(want, sizeof want, "%d.0 h\xC3\xA9llo you \xF0\x9F\x99\x82: number %d", tag, tag);
    t->n++;
    if (reply->err || strcmp(reply->choices[0].text, want) != 0) {
        fprintf(stderr, "%d: %s\n", tag,
                reply->err ? px_err_text(reply->err) : reply->choices[0].text);
        t->wrong++;
    }
    return NULL;
}

static void many_clients_get_the_answers_they_get_alone(void **state) {
    (void)state;
    enum { N = 400 };
    char *dir = temp_folder(), path[256], json[512];
    px_serve_setup setup = serve_setup();
    snprintf(path, sizeof path, "%s/s", dir);
    setup.socket = path;
    served *s = serve_open(&setup, 8);
    for (int way = 0; way < 2; way++) { /* TCP, socket */
        px_endpoint *e = NULL;
        cJSON *config = NULL;
        tally t = {0};
        int n = snprintf(
            json, sizeof json,
            "{\"url\":\"http://127.0.0.1:%d/v1\",\"model\":\"fake\",\"concurrency\":32", s->port);
        if (way) n += snprintf(json + n, 300, ",\"socket\":\"%s\"", path);
        snprintf(json + n, 8, "}");
        px_assert_ok(px_json_parse(json, strlen(json), &config));
        px_assert_ok(px_endpoint_open(config, "test", &e));
        for (int i = 0; i < N; i++) {
            char text[32];
            snprintf(text, sizeof text, "number %d", i);
            px_chat_message m = {"user", text, strlen(text)};
            px_chat c = {.messages = &m, .n_messages = 1, PX_CHAT_DEFAULTS};
            c.seed = i;
            c.tag = (void *)(uintptr_t)i;
            px_assert_ok(px_endpoint_add(e, &c));
        }
        px_assert_ok(px_endpoint_run(e, compare, &t));
        assert_int_equal(t.n, N);
        assert_int_equal(t.wrong, 0);
        assert_int_equal(px_endpoint_sums(e).retries, 0);
        px_endpoint_close(e);
        cJSON_Delete(config);
    }
    assert_true(serve_close(s));
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_clients_free_their_place),
        cmocka_unit_test(slow_readers_hold_up_nobody),
        cmocka_unit_test(slow_senders_are_cut_off),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(late_answers_are_given_up),
        cmocka_unit_test(garbage_and_floods),
        cmocka_unit_test(a_stop_finishes_what_is_under_way),
        cmocka_unit_test(a_stop_waits_no_longer_than_its_grace),
        cmocka_unit_test(a_broken_generator_ends_the_server),
        cmocka_unit_test(many_clients_get_the_answers_they_get_alone),
    };
    setenv("no_proxy", "*", 1);
    px_log_setup(0, PX_LOG_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
