/* test_net_faults.c - the endpoint client on bad days: slow, overrun, broken, lying endpoints. No
 * fault becomes an answer or an entry of the cache, and none shows the key or a person's words. */
#include "net_case.h"

#include <fcntl.h>

/* What the testd does with a request, by its number; the last step is for all that follow. */
typedef struct {
    const char *steps[8];
    int n;
} script;

static void play(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)head;
    (void)body;
    const script *plan = testd_user(s);
    const char *step = plan->steps[PX_MIN(number, plan->n - 1)];
    if (!strcmp(step, "ok")) {
        testd_answer(c, "fine");
    } else if (!strcmp(step, "close")) { /* not a byte */
    } else if (!strcmp(step, "half")) {
        testd_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\":");
    } else if (!strcmp(step, "half chunk")) {
        testd_printf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"cho");
    } else if (!strcmp(step, "hang")) {
        testd_wait_gone(s, c);
    } else if (!strcmp(step, "trickle")) {
        testd_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        for (int i = 0; i < 40; i++) {
            testd_send(c, " ", 1);
            testd_sleep(0.02);
        }
    } else if (!strcmp(step, "429 after 1 s")) {
        testd_respond(c, 429, "Retry-After: 1\r\n", "{\"error\":{\"message\":\"too many\"}}");
    } else if (!strcmp(step, "503 after an hour")) {
        testd_respond(c, 503, "Retry-After: 3600\r\n", "");
    } else if (!strcmp(step, "redirect")) {
        testd_respond(c, 302, "Location: http://127.0.0.1:1/v1\r\n", "");
    } else {
        char text[128];
        snprintf(text, sizeof text, "{\"error\":{\"message\":\"status %s\",\"type\":\"x\"}}", step);
        testd_respond(c, (int)strtol(step, NULL, 10), "", text);
    }
}

/* One request against a script; its error or text is compared. */
static void one(const script *plan, const char *more, const char *text, const char *error,
                int calls) {
    kept k = {0};
    testd *s = testd_open(play, (void *)(uintptr_t)plan, NULL);
    px_endpoint *e = open_on(s, more);
    ask(e, 0);
    px_err *err = px_endpoint_run(e, keep, &k);
    assert_int_equal(k.n, 1);
    if (text && k.error[0]) fail_msg("%s", k.error[0]);
    if (text) assert_string_equal(k.text[0], text);
    if (error && (!k.error[0] || !strstr(k.error[0], error)))
        fail_msg("got: %s, wanted: %s", k.error[0] ? k.error[0] : "an answer", error);
    if (testd_requests(s) != calls)
        fail_msg("%d calls, wanted %d: %s", testd_requests(s), calls, error ? error : "");
    assert_int_equal(px_endpoint_sums(e).calls, calls);
    assert_int_equal(px_endpoint_sums(e).retries, calls - 1);
    assert_int_equal(px_endpoint_sums(e).failed, error ? 1 : 0);
    px_err_free(err);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

static void passing_faults_are_tried_again(void **state) {
    (void)state;
    static const script plans[] = {
        {{"500", "502", "ok"}, 3},
        {{"429", "ok"}, 2},
        {{"close", "close", "close", "ok"}, 4},
        {{"half", "half chunk", "ok"}, 3},
        {{"hang", "ok"}, 2},
        {{"trickle", "ok"}, 2},
        {{"408", "503", "ok"}, 3},
    };
    for (size_t i = 0; i < PX_COUNT(plans); i++)
        one(&plans[i], ",\"timeout_s\":0.3", "fine", NULL, plans[i].n);
}

static void lasting_faults_are_errors(void **state) {
    (void)state;
    static const struct {
        script plan;
        const char *says;
        int calls;
    } cases[] = {
        {{{"500"}, 1}, "chat/completions, 3 tries: HTTP 500: status 500", 3},
        {{{"429"}, 1}, "3 tries: HTTP 429: status 429", 3},
        {{{"close"}, 1}, "3 tries: Empty reply from server", 3},
        {{{"half"}, 1}, "3 tries: ", 3},
        {{{"hang"}, 1}, "3 tries: no whole reply within 0.3 s (\"timeout_s\")", 3},
        {{{"400"}, 1}, "chat/completions: HTTP 400: status 400", 1},
        {{{"422"}, 1}, "HTTP 422: status 422", 1},
        {{{"401"}, 1}, "HTTP 401 (no key was sent: \"key_env\" names none): status 401", 1},
        {{{"403"}, 1}, "HTTP 403: status 403", 1},
        {{{"404"}, 1}, "HTTP 404: status 404", 1},
        {{{"redirect"}, 1}, "HTTP 302 (redirects are not followed", 1},
        {{{"503 after an hour"}, 1}, "asks for a pause of 3600 s, over 300 s: HTTP 503", 1},
        {{{"204"}, 1}, "HTTP 204", 1},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        one(&cases[i].plan, ",\"timeout_s\":0.3,\"max_retries\":2", NULL, cases[i].says,
            cases[i].calls);
}

static void pauses_grow_and_retry_after_is_kept(void **state) {
    (void)state;
    kept k = {0};
    static const script grows = {{"500", "500", "500", "ok"}, 4},
                        waits = {{"429 after 1 s", "ok"}, 2};
    testd *s = testd_open(play, (void *)(uintptr_t)&grows, NULL);
    px_endpoint *e = open_on(s, ",\"backoff_s\":0.1");
    ask(e, 0);
    px_assert_ok(px_endpoint_run(e, keep, &k));
    for (int i = 0; i < 3; i++) { /* 0.1, 0.2, 0.4 s, each within a quarter; a slow machine adds */
        double gap = testd_time(s, i + 1) - testd_time(s, i), want = 0.1 * (1 << i);
        if (gap < 0.74 * want || gap > 1.3 * want + 1) fail_msg("pause %d: %.3f s", i, gap);
    }
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);

    s = testd_open(play, (void *)(uintptr_t)&waits, NULL);
    e = open_on(s, ",\"concurrency\":1");
    for (int i = 0; i < 3; i++) ask(e, i);
    px_assert_ok(px_endpoint_run(e, keep, &k));
    assert_int_equal(k.answered, 3);
    for (int i = 1; i < 4; i++) /* the whole endpoint pauses */
        if (testd_time(s, i) - testd_time(s, 0) < 0.99) fail_msg("call %d came too early", i);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

/* --- replies that are no answers --- */
static void reply_body(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)number;
    (void)head;
    (void)body;
    testd_respond(c, 200, "", testd_user(s));
}

static void wrong_json_says_what_was_expected(void **state) {
    (void)state;
#define CHOICE(rest) "{\"choices\":[{\"index\":0," rest "}]}"
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"", "reply is no JSON, wanted the answer of /chat/completions: line 1, column 1"},
        {"<html>busy</html>", "reply is no JSON"},
        {"{\"choices\":[", "reply is no JSON"},
        {"[1]", "reply: a list, wanted an object with \"choices\""},
        {"{}", "\"choices\" is missing, wanted a list"},
        {"{\"choices\":null}", "\"choices\" is null, wanted a list"},
        {"{\"choices\":[]}", "\"choices\" has 0 entries, wanted 1"},
        {"{\"choices\":[1]}", "choices[0].message is missing, wanted an object"},
        {CHOICE("\"message\":\"hi\""), "choices[0].message is a string, wanted an object"},
        {CHOICE("\"message\":{}"), "choices[0].message: \"content\" is missing, wanted a string"},
        {CHOICE("\"message\":{\"content\":null}"), "\"content\" is null, wanted a string"},
        {CHOICE("\"message\":{\"content\":\"x\"}"),
         "\"finish_reason\" is missing, wanted a string"},
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"\""),
         "\"finish_reason\" is empty"},
        {CHOICE("\"message\":{\"content\":\"x\"},\"finish_reason\":\"content_filter\""),
         "content filter withheld"},
        {"{\"choices\":[{\"index\":1,\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}",
         "choices[0].index is none of 0 to 0"},
        {"{\"error\":{\"message\":\"model is loading\"}}", "reports an error: model is loading"},
        {CHOICE("\"message\":{\"content\":\"\xFF\"},\"finish_reason\":\"stop\""), "UTF-8"},
    };
#undef CHOICE
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        kept k = {0};
        testd *s = testd_open(reply_body, (void *)(uintptr_t)cases[i].body, NULL);
        px_endpoint *e = open_on(s, "");
        ask(e, 0);
        px_assert_ok(px_endpoint_run(e, keep, &k));
        if (k.answered || !strstr(k.error[0], cases[i].says))
            fail_msg("case %zu: %s, wanted %s", i, k.error[0] ? k.error[0] : "an answer",
                     cases[i].says);
        assert_int_equal(testd_requests(s), 1);
        px_endpoint_close(e);
        testd_close(s);
        kept_free(&k);
    }
}

/* What one person asks may meet a filter often: that is no reason to give up the endpoint. */
static void withheld_answers_do_not_end_the_run(void **state) {
    (void)state;
    static const char body[] = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"\"},"
                               "\"finish_reason\":\"content_filter\"}]}";
    kept k = {0};
    testd *s = testd_open(reply_body, (void *)(uintptr_t)body, NULL);
    px_endpoint *e = open_on(s, ",\"concurrency\":2");
    for (int i = 0; i < 40; i++) ask(e, i);
    px_assert_ok(px_endpoint_run(e, keep, &k));
    assert_int_equal(k.failed, 40);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

/* As much as the client takes; with a length when the user says so. */
static void reply_endless(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)number;
    (void)head;
    (void)body;
    char block[4096];
    memset(block, ' ', sizeof block);
    testd_printf(c, "HTTP/1.1 200 OK\r\n%s\r\n",
                 testd_user(s) ? "Content-Length: 50000000\r\n" : "");
    for (int i = 0; i < 12000; i++) testd_send(c, block, sizeof block);
}

static void oversized_replies_are_cut_off(void **state) {
    (void)state;
    for (int with_length = 0; with_length < 2; with_length++) {
        kept k = {0};
        testd *s = testd_open(reply_endless, with_length ? "" : NULL, NULL);
        px_endpoint *e = open_on(s, ",\"max_reply_bytes\":100000");
        ask(e, 0);
        px_assert_ok(px_endpoint_run(e, keep, &k));
        assert_non_null(strstr(k.error[0], "longer than 100000 bytes (\"max_reply_bytes\")"));
        assert_int_equal(testd_requests(s), 1);
        px_endpoint_close(e);
        testd_close(s);
        kept_free(&k);
    }
}

/* --- certificates --- */
static void wrong_certificates_are_refused(void **state) {
    (void)state;
    static const script plan = {{"ok"}, 1};
    kept k = {0};
    char *dir = temp_folder(), pem[256], url[64], more[512];
    snprintf(pem, sizeof pem, "%s/ca.pem", dir);
    testd *s = testd_open(play, (void *)(uintptr_t)&plan, pem);
    for (int i = 0; i < 3; i++) { /* nobody's; the name of another; good */
        px_endpoint *e = NULL;
        snprintf(url, sizeof url, "https://%s:%d/v1", i == 1 ? "localhost" : "127.0.0.1",
                 testd_port(s));
        snprintf(more, sizeof more, ",\"key_env\":\"PX_TEST_KEY\",\"concurrency\":1");
        if (i > 0) snprintf(more + strlen(more), 300, ",\"ca_file\":\"%s\"", pem);
        px_assert_ok(open_at(url, more, &e));
        ask(e, 0);
        ask(e, 1);
        px_err *err = px_endpoint_run(e, keep, &k);
        if (i < 2) {
            px_assert_error(err, PX_BAD_INPUT, "nothing was answered before");
            if (!strstr(k.error[0], i ? "matches target host" : "self-signed"))
                fail_msg("%s", k.error[0]);
            assert_int_equal(testd_requests(s), 0); /* the key was not sent */
        } else {
            px_assert_ok(err);
            assert_int_equal(k.answered, 2);
        }
        px_endpoint_close(e);
        kept_free(&k);
    }
    testd_close(s);
    temp_folder_end(dir);
}

/* --- errors are a third state --- */
static void failures_are_not_cached(void **state) {
    (void)state;
    static const script plan = {{"400", "500", "half", "ok"}, 4};
    kept k = {0};
    char *dir = temp_folder(), more[256];
    snprintf(more, sizeof more, ",\"cache\":\"%s\",\"max_retries\":0", dir);
    testd *s = testd_open(play, (void *)(uintptr_t)&plan, NULL);
    for (int i = 0; i < 5; i++) {
        px_endpoint *e = open_on(s, more);
        ask(e, 0);
        px_assert_ok(px_endpoint_run(e, keep, &k));
        assert_int_equal(k.answered, i < 3 ? 0 : 1);
        assert_int_equal(k.cached, i < 4 ? 0 : 1);
        px_endpoint_close(e);
        kept_free(&k);
    }
    assert_int_equal(testd_requests(s), 4);
    testd_close(s);
    temp_folder_end(dir);
}

static void a_dead_endpoint_ends_the_run(void **state) {
    (void)state;
    static const script refuses = {{"401"}, 1}, dead = {{"500"}, 1},
                        late = {{"ok", "401", "ok"}, 3};
    kept k = {0};
    testd *s = testd_open(play, (void *)(uintptr_t)&refuses, NULL);
    px_endpoint *e = open_on(s, ",\"concurrency\":2");
    for (int i = 0; i < 50; i++) ask(e, i);
    px_assert_error(px_endpoint_run(e, keep, &k), PX_BAD_INPUT, "HTTP 401");
    assert_true(testd_requests(s) <= 4);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);

    s = testd_open(play, (void *)(uintptr_t)&dead, NULL);
    e = open_on(s, ",\"concurrency\":2,\"max_retries\":0");
    for (int i = 0; i < 50; i++) ask(e, i);
    px_assert_error(px_endpoint_run(e, keep, &k), PX_RUN_FAILED, "16 requests in a row failed");
    assert_int_equal(k.failed, 16);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);

    s = testd_open(play, (void *)(uintptr_t)&late, NULL);
    e = open_on(s, ",\"concurrency\":1");
    for (int i = 0; i < 5; i++) ask(e, i);
    px_assert_ok(px_endpoint_run(e, keep, &k)); /* one refused request among good ones */
    assert_int_equal(k.answered, 4);
    assert_int_equal(k.failed, 1);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

static void budgets_count_retries(void **state) {
    (void)state;
    static const script plan = {{"500"}, 1};
    kept k = {0};
    testd *s = testd_open(play, (void *)(uintptr_t)&plan, NULL);
    px_endpoint *e = open_on(s, ",\"max_calls\":3,\"concurrency\":1,\"max_retries\":9");
    ask(e, 0);
    ask(e, 1);
    px_assert_error(px_endpoint_run(e, keep, &k), PX_STOPPED, "0 failed, 2 left; 3 calls");
    assert_int_equal(testd_requests(s), 3);
    assert_int_equal(k.n, 0);
    px_endpoint_close(e);
    testd_close(s);
}

/* --- secrets --- */
#define KEY "sk-geheim/0123456789\\abcdef"
#define PRIVATE "I am Erika Mustermann and live in Heidestrasse 17"

/* Says the key and the question again, in an error at first, then as an answer. */
static void reply_echo(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)s;
    (void)body;
    assert_non_null(strstr(head, "Authorization: Bearer " KEY "\r\n"));
    static const char said[] = "Incorrect key sk-geheim\\/0123456789\\\\abcdef for " PRIVATE;
    char text[512];
    if (number == 0) {
        snprintf(text, sizeof text, "{\"error\":{\"message\":\"%s\"}}", said);
        testd_respond(c, 500, "", text);
    } else if (number == 1) {
        snprintf(text, sizeof text, "{\"detail\":\"%s\"}", said);
        testd_respond(c, 400, "", text);
    } else {
        testd_answer(c, said);
    }
}

static void neither_key_nor_words_leak(void **state) {
    (void)state;
    kept k = {0};
    px_bytes log = {0};
    char *dir = temp_folder(), more[512], path[256];
    testd *s = testd_open(reply_echo, NULL, NULL);
    setenv("PX_TEST_KEY", KEY, 1);
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(more, sizeof more, ",\"cache\":\"%s/c\",\"key_env\":\"PX_TEST_KEY\"", dir);
    int out = open(path, O_WRONLY | O_CREAT, 0600), before = dup(STDERR_FILENO);
    dup2(out, STDERR_FILENO);
    px_log_setup(0, PX_LOG_DEBUG);
    px_endpoint *e = open_on(s, more);
    ask_as(e, PRIVATE, 0, 0);
    px_err *err = px_endpoint_run(e, keep, &k);
    ask_as(e, PRIVATE, 1, 0);
    if (!err) err = px_endpoint_run(e, keep, &k);
    px_log_setup(0, PX_LOG_INFO);
    dup2(before, STDERR_FILENO);
    close(out);
    close(before);
    px_assert_ok(err);
    assert_int_equal(k.tries[0], 2);
    assert_non_null(strstr(k.error[0], "HTTP 400: Incorrect key [key] for [text]"));
    assert_string_equal(k.text[1], "Incorrect key [key] for " PRIVATE);
    px_assert_ok(px_file_read(path, &log));
    assert_non_null(strstr(log.data, "try 1: HTTP 500: Incorrect key [key] for [text]"));
    assert_null(strstr(log.data, "Mustermann"));
    px_bytes_free(&log);
    px_str all = {0};
    assert_int_equal(folder_text(dir, &all), 2); /* the log, and the entry of the answer */
    assert_null(strstr(all.data, "geheim"));
    assert_null(strstr(all.data, "0123456789"));
    px_str_free(&all);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passing_faults_are_tried_again),
        cmocka_unit_test(lasting_faults_are_errors),
        cmocka_unit_test(pauses_grow_and_retry_after_is_kept),
        cmocka_unit_test(wrong_json_says_what_was_expected),
        cmocka_unit_test(withheld_answers_do_not_end_the_run),
        cmocka_unit_test(oversized_replies_are_cut_off),
        cmocka_unit_test(wrong_certificates_are_refused),
        cmocka_unit_test(failures_are_not_cached),
        cmocka_unit_test(a_dead_endpoint_ends_the_run),
        cmocka_unit_test(budgets_count_retries),
        cmocka_unit_test(neither_key_nor_words_leak),
    };
    setenv("no_proxy", "*", 1);
    setenv("PX_TEST_KEY", "sk-0123456789abcdef", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
