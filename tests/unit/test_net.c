/* test_net.c - the endpoint client on a good day: what is sent, what comes back, many at once, the
 * cache, the budgets, what a configuration may say. */
#include "net_case.h"

#include <sys/wait.h>

/* The number behind "question " as the answer's text. */
static void answer_number(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)s;
    (void)number;
    char text[64] = "none";
    const char *at = strstr(body, "question ");
    if (at && strstr(head, "POST /v1/chat/completions HTTP/1.1\r\n"))
        snprintf(text, sizeof text, "answer \\\"%ld\\\"", strtol(at + 9, NULL, 10));
    testd_sleep(0.005);
    testd_answer(c, text);
}

static void many_are_answered_some_at_once(void **state) {
    (void)state;
    enum { N = 100 };
    kept k = {0};
    testd *s = testd_open(answer_number, NULL, NULL);
    px_endpoint *e = open_on(s, ",\"concurrency\":8,\"usd_per_million_prompt\":2,"
                                "\"usd_per_million_completion\":10");
    for (int i = 0; i < N; i++) ask(e, i);
    assert_int_equal(px_endpoint_left(e), N);
    px_assert_ok(px_endpoint_run(e, keep, &k));
    assert_int_equal(px_endpoint_left(e), 0);
    assert_int_equal(k.n, N);
    for (int i = 0; i < N; i++) {
        char want[32];
        snprintf(want, sizeof want, "answer \"%d\"", i);
        assert_string_equal(k.text[i], want);
        assert_string_equal(k.finish[i], "stop");
        assert_int_equal(k.tries[i], 1);
        px_assert_near(k.usd[i], 50e-6, 1e-12);
    }
    px_endpoint_totals sums = px_endpoint_sums(e);
    assert_int_equal(sums.answered, N);
    assert_int_equal(sums.calls, N);
    assert_int_equal(sums.retries, 0);
    assert_int_equal(sums.prompt_tokens, 10 * N);
    assert_int_equal(sums.new_tokens, 3 * N);
    px_assert_near(sums.usd, N * 50e-6, 1e-12);
    assert_in_range(testd_most(s), 2, 8);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

static void keep_request(testd *s, testd_conn *c, int number, const char *head, const char *body) {
    (void)number;
    px_str *seen = testd_user(s);
    px_str_clear(seen);
    px_str_text(seen, head);
    px_str_text(seen, body);
    testd_respond(c, 200, "",
                  "{\"choices\":[{\"index\":1,\"message\":{\"content\":\"b\"},\"finish_reason\":"
                  "\"length\"},{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":"
                  "\"stop\"}]}");
}

static px_err *two_choices(void *ctx, const px_reply *reply) {
    assert_null(reply->err);
    assert_int_equal(reply->n, 2);
    assert_string_equal(reply->choices[0].text, "a");
    assert_string_equal(reply->choices[1].text, "b");
    assert_string_equal(reply->choices[1].finish, "length");
    assert_int_equal(reply->prompt_tokens, -1);
    assert_int_equal(reply->new_tokens, -1);
    assert_true(isnan(reply->usd));
    (*(int *)ctx)++;
    return NULL;
}

static void all_settings_are_sent(void **state) {
    (void)state;
    px_str seen = {0};
    int n = 0;
    testd *s = testd_open(keep_request, &seen, NULL);
    px_chat_message messages[] = {{"system", "Be \"brief\".\n", 12}, {"user", "h\xC3\xA9\xFF", 4}};
    static const char *const stop[] = {"\n\n", "END"};
    cJSON *extra = cJSON_CreateObject();
    cJSON_AddNumberToObject(extra, "top_k", 40);
    px_chat chat = {.messages = messages,
                    .n_messages = 2,
                    .temperature = 0.6,
                    .top_p = 0.9,
                    .max_tokens = 500,
                    .seed = 7,
                    .stop = stop,
                    .n_stop = 2,
                    .n = 2,
                    .extra = extra};
    setenv("PX_TEST_KEY", "sk-0123456789abcdef", 1);
    px_endpoint *e = open_on(s, ",\"key_env\":\"PX_TEST_KEY\",\"max_tokens_key\":"
                                "\"max_completion_tokens\",\"extra\":{\"top_k\":5,\"z\":[1]}");
    px_assert_ok(px_endpoint_add(e, &chat));
    cJSON_Delete(extra);
    px_assert_ok(px_endpoint_run(e, two_choices, &n));
    assert_int_equal(n, 1);
    assert_non_null(strstr(seen.data, "\r\nAuthorization: Bearer sk-0123456789abcdef\r\n"));
    assert_non_null(strstr(seen.data, "\r\nContent-Type: application/json\r\n"));
    assert_string_equal(strstr(seen.data, "\r\n\r\n") + 4,
                        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":"
                        "\"Be \\\"brief\\\".\\n\"},{\"role\":\"user\",\"content\":"
                        "\"h\xC3\xA9\xEF\xBF\xBD\"}],\"temperature\":0.6,\"top_p\":0.9,"
                        "\"max_completion_tokens\":500,\"seed\":7,\"n\":2,\"stop\":[\"\\n\\n\","
                        "\"END\"],\"z\":[1],\"top_k\":40}");
    px_endpoint_close(e);
    testd_close(s);
    px_str_free(&seen);
}

/* Answer 0 asks question 1, and so on to 4. */
static px_err *ask_next(void *ctx, const px_reply *reply) {
    px_endpoint *e = ctx;
    int tag = (int)(uintptr_t)reply->tag;
    assert_null(reply->err);
    if (tag < 4) ask(e, tag + 1);
    return NULL;
}

static px_err *refuse(void *ctx, const px_reply *reply) {
    (void)ctx;
    (void)reply;
    PX_FAIL(PX_RUN_FAILED, "the sink's own");
}

static void a_sink_may_ask_and_may_fail(void **state) {
    (void)state;
    testd *s = testd_open(answer_number, NULL, NULL);
    px_endpoint *e = open_on(s, "");
    ask(e, 0);
    px_assert_ok(px_endpoint_run(e, ask_next, e));
    assert_int_equal(testd_requests(s), 5);
    ask(e, 0);
    ask(e, 1);
    px_assert_error(px_endpoint_run(e, refuse, NULL), PX_RUN_FAILED, "the sink's own");
    px_endpoint_close(e); /* with one under way, or not begun */
    testd_close(s);
}

/* --- cache --- */
static void answers_are_cached_by_request_and_sample(void **state) {
    (void)state;
    kept k = {0};
    char *dir = temp_folder(), more[256];
    testd *s = testd_open(answer_number, NULL, NULL);
    snprintf(more, sizeof more, ",\"cache\":\"%s/c/d\",\"usd_per_million_prompt\":2", dir);
    for (int run = 0; run < 3; run++) {
        px_endpoint *e = open_on(s, more);
        for (int i = 0; i < 20; i++) ask_as(e, "question", i, run == 2 ? 1 : 0);
        px_assert_ok(px_endpoint_run(e, keep, &k));
        px_endpoint_totals sums = px_endpoint_sums(e);
        assert_int_equal(sums.answered, 20);
        assert_int_equal(sums.cached, run == 1 ? 20 : 0);
        assert_int_equal(sums.calls, run == 1 ? 0 : 20);
        px_assert_near(sums.usd, run == 1 ? 0 : 20 * 20e-6, 1e-12);
        assert_string_equal(k.text[7], "answer \"7\"");
        assert_string_equal(k.finish[7], "stop");
        px_assert_near(k.usd[7], 20e-6, 1e-12);
        assert_int_equal(k.tries[7], run == 1 ? 0 : 1);
        assert_int_equal(testd_requests(s), run == 2 ? 40 : 20);
        px_endpoint_close(e);
        kept_free(&k);
    }
    testd_close(s);
    temp_folder_end(dir);
}

static void damaged_entries_are_bought_again(void **state) {
    (void)state;
    static const char *const damage[] = {"", "{\"key\":", "[]", "{\"key\":\"other\"}",
                                         "{\"choices\":[]}"};
    kept k = {0};
    char *dir = temp_folder(), more[256];
    testd *s = testd_open(answer_number, NULL, NULL);
    snprintf(more, sizeof more, ",\"cache\":\"%s\"", dir);
    px_log_setup(0, PX_LOG_ERROR);
    for (size_t i = 0; i <= PX_COUNT(damage); i++) {
        px_endpoint *e = open_on(s, more);
        ask(e, 1);
        px_assert_ok(px_endpoint_run(e, keep, &k));
        assert_string_equal(k.text[1], "answer \"1\"");
        assert_int_equal(px_endpoint_sums(e).calls, 1);
        px_endpoint_close(e);
        kept_free(&k);
        if (i == PX_COUNT(damage)) break;
        px_str path = {0};
        assert_int_equal(folder_files(dir, &path), 1);
        path.data[path.size - 1] = 0; /* its line end */
        px_assert_ok(px_file_write(path.data, damage[i], strlen(damage[i])));
        px_str_free(&path);
    }
    px_log_setup(0, PX_LOG_INFO);
    px_str text = {0};
    assert_int_equal(folder_text(dir, &text), 1); /* no temporary file left */
    assert_null(strstr(text.data, "question"));   /* nothing of the request */
    px_str_free(&text);
    testd_close(s);
    temp_folder_end(dir);
}

/* Each call gets another text: what processes agree on comes from the cache. */
static void answer_counter(testd *s, testd_conn *c, int number, const char *head,
                           const char *body) {
    (void)s;
    (void)head;
    (void)body;
    char text[32];
    snprintf(text, sizeof text, "call %d", number);
    testd_sleep(0.01);
    testd_answer(c, text);
}

/* One process of several that ask the same; its texts go to the file `path`, a line each. */
static int ask_all(int port, const char *more, int n, const char *path) {
    kept k = {0};
    px_endpoint *e = NULL;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", port);
    px_assert_ok(open_at(url, more, &e));
    for (int i = 0; i < n; i++) ask(e, i);
    px_err *err = px_endpoint_run(e, keep, &k);
    if (err) fprintf(stderr, "%s\n", px_err_text(err));
    px_str all = {0};
    for (int i = 0; i < n; i++) px_str_format(&all, "%s\n", k.text[i] ? k.text[i] : "none");
    px_assert_ok(px_file_write(path, all.data, all.size));
    return err || k.answered != n;
}

/* The processes start before the server has threads: a child forked from several threads may find
 * the allocator locked by one that it does not have. */
static void processes_share_a_cache_and_agree(void **state) {
    (void)state;
    enum { PROCESSES = 4, N = 40 };
    char *dir = temp_folder(), more[256], path[256];
    int ports[2];
    pid_t child[PROCESSES];
    assert_int_equal(pipe(ports), 0);
    snprintf(more, sizeof more, ",\"cache\":\"%s/c\"", dir);
    for (int p = 0; p < PROCESSES; p++) {
        child[p] = fork();
        assert_true(child[p] >= 0);
        if (child[p]) continue;
        int port = 0;
        close(ports[1]); /* or the parent's end would not be noticed */
        if (read(ports[0], &port, sizeof port) != sizeof port) _exit(2);
        snprintf(path, sizeof path, "%s/p%d", dir, p);
        _exit(ask_all(port, more, N, path));
    }
    testd *s = testd_open(answer_counter, NULL, NULL);
    for (int p = 0; p < PROCESSES; p++) {
        int port = testd_port(s);
        assert_int_equal(write(ports[1], &port, sizeof port), sizeof port);
    }
    close(ports[0]);
    close(ports[1]);
    for (int p = 0; p < PROCESSES; p++) {
        int status = 0;
        assert_int_equal(waitpid(child[p], &status, 0), child[p]);
        assert_int_equal(status, 0);
    }
    px_bytes first = {0};
    for (int p = 0; p < PROCESSES; p++) {
        px_bytes text = {0};
        snprintf(path, sizeof path, "%s/p%d", dir, p);
        px_assert_ok(px_file_read(path, &text));
        if (p > 0) assert_string_equal(text.data, first.data);
        if (p > 0)
            px_bytes_free(&text);
        else
            first = text;
    }
    px_bytes_free(&first);
    px_str text = {0};
    snprintf(path, sizeof path, "%s/c", dir);
    assert_int_equal(folder_text(path, &text), N);
    px_str_free(&text);
    testd_close(s);
    temp_folder_end(dir);
}

/* --- budgets --- */
static void a_budget_of_calls_stops_and_goes_on(void **state) {
    (void)state;
    kept k = {0};
    char *dir = temp_folder(), more[256];
    testd *s = testd_open(answer_number, NULL, NULL);
    snprintf(more, sizeof more, ",\"cache\":\"%s\",\"max_calls\":10", dir);
    for (int run = 0; run < 3; run++) {
        static const char *const says[] = {
            "the budget of 10 calls (\"max_calls\") is used up: 10 requests answered (0 of them "
            "from the cache), 0 failed, 15 left; 10 calls; the same command goes on",
            "20 requests answered (10 of them from the cache), 0 failed, 5 left"};
        px_endpoint *e = open_on(s, more);
        for (int i = 0; i < 25; i++) ask(e, i);
        px_err *err = px_endpoint_run(e, keep, &k);
        if (run < 2)
            px_assert_error(err, PX_STOPPED, says[run]);
        else
            px_assert_ok(err);
        assert_int_equal(k.answered, PX_MIN(10 * (run + 1), 25));
        assert_int_equal(testd_requests(s), PX_MIN(10 * (run + 1), 25));
        assert_int_equal(px_endpoint_left(e), 0);
        px_endpoint_close(e);
        kept_free(&k);
    }
    testd_close(s);
    temp_folder_end(dir);
}

static void a_budget_of_money_is_not_overdrawn(void **state) {
    (void)state;
    kept k = {0};
    testd *s = testd_open(answer_number, NULL, NULL);
    /* 3 tokens cost 3e-3, 8 are put by for each: 0.02 is six whole ones and what is left after */
    px_endpoint *e = open_on(s, ",\"max_usd\":0.02,\"usd_per_million_prompt\":0,"
                                "\"usd_per_million_completion\":1000,\"concurrency\":8");
    for (int i = 0; i < 25; i++) ask(e, i);
    px_assert_error(px_endpoint_run(e, keep, &k), PX_STOPPED,
                    "the budget of 0.02 USD (\"max_usd\") is used up: 5 requests answered (0 of "
                    "them from the cache), 0 failed, 20 left; 5 calls, 0.0150 USD; with \"cache\"");
    px_assert_near(px_endpoint_sums(e).usd, 0.015, 1e-12);
    assert_in_range(testd_most(s), 1, 2);
    px_endpoint_close(e);
    testd_close(s);
    kept_free(&k);
}

static void ranks_share_a_budget(void **state) {
    (void)state;
    int64_t all = 0;
    testd *s = testd_open(answer_number, NULL, NULL);
    for (int part = 0; part < 4; part++) {
        kept k = {0};
        px_endpoint *e = open_on(s, ",\"max_calls\":3");
        px_endpoint_share(e, part, 4);
        for (int i = 0; i < 5; i++) ask(e, i);
        px_assert_error(px_endpoint_run(e, keep, &k), PX_STOPPED, "is used up");
        assert_int_equal(k.answered, part < 3 ? 1 : 0);
        all += px_endpoint_sums(e).calls;
        px_endpoint_close(e);
        kept_free(&k);
    }
    assert_int_equal(all, 3);
    testd_close(s);
}

/* --- what a configuration may say --- */
static void bad_configurations_are_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"[]", "arm x: an endpoint is a list, wanted an object"},
        {"{\"model\":\"m\"}", "arm x: \"url\" is missing, wanted a string"},
        {"{\"url\":\"http://h/v1\"}", "\"model\" is missing"},
        {"{\"url\":\"\",\"model\":\"m\"}", "\"url\" is empty"},
        {"{\"url\":\"http://h/v1\",\"url\":\"http://g/v1\",\"model\":\"m\"}",
         "\"url\" stands there twice"},
        {"{\"url\":\"h/v1\",\"model\":\"m\"}", "wanted such as \"https://host/v1\""},
        {"{\"url\":\"ftp://h/v1\",\"model\":\"m\"}", "wanted such as \"https://host/v1\""},
        {"{\"url\":\"https://u:geheim@h/v1\",\"model\":\"m\"}", "\"url\" holds a user name"},
        {"{\"url\":\"https://h/v1?k=geheim\",\"model\":\"m\"}", "\"url\" holds '?'"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"api_key\":\"geheim\"}",
         "a key does not stand in a file"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"timeout\":1}", "did you mean \"timeout_s\"?"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"concurrency\":0}",
         "\"concurrency\" is 0, wanted a whole number from 1 to 1024"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"timeout_s\":\"1\"}", "wanted a number"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"timeout_s\":0}", "wanted 0.01 to 86400"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"max_usd\":1}", "\"max_usd\" wants the prices"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"max_tokens_key\":\"x\"}",
         "wanted \"max_tokens\" or \"max_completion_tokens\""},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"extra\":[]}", "wanted an object"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"extra\":{\"seed\":1}}",
         "\"extra\" may not hold \"seed\""},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"ca_file\":\"/nowhere.pem\"}",
         "/nowhere.pem: no such file"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"cache\":\"/dev/null/c\"}",
         "folder cannot be made"},
        {"{\"url\":\"https://h/v1\",\"model\":\"m\",\"key_env\":\"PX_TEST_NONE\"}",
         "environment variable PX_TEST_NONE, which is to hold the key, is not set"},
        {"{\"url\":\"https://h/v1\",\"model\":\"m\",\"key_env\":\"PX_TEST_LINE\"}",
         "PX_TEST_LINE holds a space, a line break"},
        {"{\"url\":\"http://h/v1\",\"model\":\"m\",\"key_env\":\"PX_TEST_KEY\"}",
         "the key would go unencrypted over the network"},
    };
    setenv("PX_TEST_KEY", "sk-geheim", 1);
    setenv("PX_TEST_LINE", "sk-geheim\r\nX: y", 1);
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        cJSON *json = NULL;
        px_endpoint *e = NULL;
        px_assert_ok(px_json_parse(bad[i].json, strlen(bad[i].json), &json));
        px_err *err = px_endpoint_open(json, "arm x", &e);
        assert_null(e);
        if (err && strstr(px_err_text(err), "geheim")) fail_msg("shown: %s", px_err_text(err));
        px_assert_error(err, PX_BAD_INPUT, bad[i].says);
        cJSON_Delete(json);
    }
    px_endpoint *e = NULL;
    px_assert_ok(
        open_at("http://h/v1/", ",\"key_env\":\"PX_TEST_KEY\",\"key_over_http\":true", &e));
    px_chat none = {PX_CHAT_DEFAULTS};
    px_assert_error(px_endpoint_add(e, &none), PX_BAD_INPUT, "without messages");
    assert_string_equal(px_endpoint_model(e), "m");
    assert_int_equal(strlen(px_endpoint_sha256(e)), 64);
    px_endpoint_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_are_answered_some_at_once),
        cmocka_unit_test(all_settings_are_sent),
        cmocka_unit_test(a_sink_may_ask_and_may_fail),
        cmocka_unit_test(answers_are_cached_by_request_and_sample),
        cmocka_unit_test(damaged_entries_are_bought_again),
        cmocka_unit_test(processes_share_a_cache_and_agree),
        cmocka_unit_test(a_budget_of_calls_stops_and_goes_on),
        cmocka_unit_test(a_budget_of_money_is_not_overdrawn),
        cmocka_unit_test(ranks_share_a_budget),
        cmocka_unit_test(bad_configurations_are_named),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
