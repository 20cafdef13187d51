/* test_serve.c - what the server answers: whole and streamed answers, stop strings, characters cut
 * in two, every field of a request, every refusal. */
#include "serve_case.h"

#define ASK "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static cJSON *body_json(const served *s) {
    cJSON *json = NULL;
    px_assert_ok(px_json_parse(s->body.data, s->body.size, &json));
    return json;
}
static const cJSON *choice_of(const cJSON *json, int i) {
    return cJSON_GetArrayItem(cJSON_GetObjectItem(json, "choices"), i);
}
static const char *content_of(const cJSON *json, int i) {
    return px_json_find_text(cJSON_GetObjectItem(choice_of(json, i), "message"), "content");
}

static void whole_answers(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 4);
    assert_int_equal(chat(s, "{\"model\":\"fake\"," ASK ",\"seed\":7,\"user\":\"user12\",\"n\":2,"
                             "\"foo\":1,\"b\\\"r\":null,\"temperature\":null}"),
                     200);
    assert_non_null(strstr(s->reply.data, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(s->reply.data, "\r\nX-Prismx-User: own\r\n"));
    cJSON *json = body_json(s);
    assert_string_equal(px_json_find_text(json, "object"), "chat.completion");
    assert_string_equal(px_json_find_text(json, "model"), "fake");
    assert_string_equal(px_json_find_text(json, "system_fingerprint"), "f00");
    assert_string_equal(content_of(json, 0), "7.0 h\xC3\xA9llo user12 \xF0\x9F\x99\x82: hi");
    assert_string_equal(content_of(json, 1), "7.1 h\xC3\xA9llo user12 \xF0\x9F\x99\x82: hi");
    assert_string_equal(px_json_find_text(choice_of(json, 1), "finish_reason"), "stop");
    assert_null(cJSON_GetObjectItem(choice_of(json, 0), "logprobs"));
    const cJSON *usage = cJSON_GetObjectItem(json, "usage");
    assert_int_equal(px_json_find_f64(usage, "prompt_tokens", -1), 2);
    assert_int_equal(px_json_find_f64(usage, "completion_tokens", -1), 26);
    assert_int_equal(px_json_find_f64(usage, "total_tokens", -1), 28);
    px_str mine = {0};
    px_json_print(cJSON_GetObjectItem(json, "prismx"), &mine);
    assert_string_equal(mine.data,
                        "{\"user\":\"own\",\"seed\":7,\"ignored\":[\"foo\",\"b\\\"r\"]}");
    px_str_free(&mine);
    cJSON_Delete(json);

    /* limits, logarithms, an unknown person, parts of a message */
    assert_int_equal(chat(s, "{\"messages\":[{\"role\":\"developer\",\"content\":\"x\"},{\"role\":"
                             "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
                             "\"text\",\"text\":\"b\"}]}],\"seed\":0,\"user\":\"nobody\","
                             "\"max_completion_tokens\":3,\"logprobs\":true,\"top_logprobs\":2}"),
                     200);
    assert_non_null(strstr(s->reply.data, "\r\nX-Prismx-User: generic\r\n"));
    json = body_json(s);
    assert_string_equal(content_of(json, 0), "0.0 h\xEF\xBF\xBD"); /* half a character */
    assert_string_equal(px_json_find_text(choice_of(json, 0), "finish_reason"), "length");
    const cJSON *entries =
        cJSON_GetObjectItem(cJSON_GetObjectItem(choice_of(json, 0), "logprobs"), "content");
    assert_int_equal(cJSON_GetArraySize(entries), 3);
    px_str text = {0};
    px_json_print(cJSON_GetArrayItem(entries, 2), &text);
    assert_string_equal(text.data,
                        "{\"token\":\"h\xEF\xBF\xBD\",\"logprob\":-0.5,\"bytes\":[104,195],"
                        "\"top_logprobs\":[{\"token\":\"h\xEF\xBF\xBD\",\"logprob\":-0.5,\"bytes\":"
                        "[104,195]},{\"token\":\"x\",\"logprob\":-2,\"bytes\":[120]}]}");
    px_str_free(&text);
    cJSON_Delete(json);

    /* without a seed: another each time, and it is told */
    char first[64];
    assert_int_equal(chat(s, "{" ASK "}"), 200);
    assert_non_null(strstr(s->reply.data, "\r\nX-Prismx-User: none\r\n"));
    snprintf(first, sizeof first, "%s", strstr(s->body.data, "\"seed\":"));
    assert_int_equal(chat(s, "{" ASK "}"), 200);
    assert_string_not_equal(first, strstr(s->body.data, "\"seed\":"));
    assert_true(serve_close(s));
}

static void streams_join_to_the_whole(void **state) {
    (void)state;
    static const struct {
        const char *fields, *text, *finish;
    } cases[] = {
        {"", "7.0 h\xC3\xA9llo you \xF0\x9F\x99\x82: hi", "stop"},
        {",\"stop\":\"zz\"", "7.0 h\xC3\xA9llo you \xF0\x9F\x99\x82: hi", "stop"},
        {",\"stop\":[\"you \xF0\x9F\x99\x83\",\"o you\"]", "7.0 h\xC3\xA9ll", "stop"},
        {",\"stop\":\"7\"", "", "stop"},
        {",\"stop\":\"hi\"", "7.0 h\xC3\xA9llo you \xF0\x9F\x99\x82: ", "stop"},
        {",\"stop\":\"\xF0\x9F\x99\x82\"", "7.0 h\xC3\xA9llo you ", "stop"},
        {",\"max_tokens\":1", "7.", "length"},
        {",\"max_tokens\":3,\"stop\":\"h\xC3\xA9llo\"", "7.0 h\xEF\xBF\xBD", "length"},
        {",\"n\":1,\"logprobs\":true", "7.0 h\xC3\xA9llo you \xF0\x9F\x99\x82: hi", "stop"},
    };
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 4);
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        char body[512], finish[16];
        px_str text = {0};
        int events = 0;
        px_str_add(&text, "", 0);
        snprintf(body, sizeof body, "{" ASK ",\"seed\":7%s}", cases[i].fields);
        assert_int_equal(chat(s, body), 200);
        cJSON *json = body_json(s);
        assert_string_equal(content_of(json, 0), cases[i].text);
        assert_string_equal(px_json_find_text(choice_of(json, 0), "finish_reason"),
                            cases[i].finish);
        cJSON_Delete(json);
        snprintf(body, sizeof body, "{" ASK ",\"seed\":7,\"stream\":true%s}", cases[i].fields);
        assert_int_equal(chat(s, body), 200);
        assert_non_null(strstr(s->reply.data, "\r\nContent-Type: text/event-stream\r\n"));
        if (!stream_join(&s->body, 0, &text, finish, &events)) fail_msg("%s", s->body.data);
        assert_string_equal(text.data, cases[i].text);
        assert_string_equal(finish, cases[i].finish);
        assert_true(events >= 1);
        px_str_free(&text);
    }
    assert_true(serve_close(s));
}

static void streams_of_several_choices(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 4);
    assert_int_equal(chat(s, "{" ASK ",\"seed\":3,\"stream\":true,\"n\":6,\"logprobs\":true,"
                             "\"stream_options\":{\"include_usage\":true}}"),
                     200);
    for (int i = 0; i < 6; i++) {
        px_str text = {0};
        char finish[16], want[64];
        int events = 0;
        snprintf(want, sizeof want, "3.%d h\xC3\xA9llo you \xF0\x9F\x99\x82: hi", i);
        assert_true(stream_join(&s->body, i, &text, finish, &events));
        assert_string_equal(text.data, want);
        assert_in_range(events, 3, 20);
        px_str_free(&text);
    }
    assert_non_null(strstr(s->body.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":2,"
                                         "\"completion_tokens\":72,\"total_tokens\":74}}"));
    assert_non_null(strstr(s->body.data, "\"delta\":{\"role\":\"assistant\",\"content\":\"3.\"}"));
    assert_non_null(strstr(s->body.data, "\"prismx\":{\"user\":\"none\",\"seed\":3}"));
    int tokens = 0;
    for (const char *at = s->body.data; (at = strstr(at, "\"logprob\":-0.5,\"bytes\"")); at++)
        tokens++;
    assert_int_equal(tokens, 72); /* each once; no alternatives were asked for */
    assert_non_null(strstr(s->body.data, "\"top_logprobs\":[]"));
    assert_true(serve_close(s));
}

static const struct {
    const char *body;
    int status;
    const char *says;
} bad_requests[] = {
    {"", 400, "the request's body: line 1, column 1"},
    {"{\"messages\":", 400, "the request's body: line 1"},
    {"[]", 400, "the request's body is a list, wanted an object"},
    {"{}", 400, "\\\"messages\\\" is to be a list of at least one message"},
    {"{\"messages\":[]}", 400, "at least one message"},
    {"{\"messages\":\"hi\"}", 400, "at least one message"},
    {"{\"messages\":[1]}", 400, "messages[0]: \\\"role\\\" is to be system"},
    {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", 400, "messages[0]: \\\"role\\\""},
    {"{\"messages\":[{\"role\":\"user\"}]}", 400, "\\\"content\\\" is missing"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", 400, "\\\"content\\\" is null"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", 400,
     "messages[0]: only parts of"},
    {"{" ASK ",\"model\":\"gpt-4\"}", 404, "this server has \\\"fake\\\""},
    {"{" ASK ",\"model\":1}", 400, "\\\"model\\\" is a number, wanted a string"},
    {"{" ASK ",\"user\":1}", 400, "\\\"user\\\" is a number"},
    {"{" ASK ",\"n\":0}", 400, "\\\"n\\\" is to be a whole number from 1 to 16"},
    {"{" ASK ",\"n\":17}", 400, "\\\"n\\\" is to be"},
    {"{" ASK ",\"n\":1.5}", 400, "\\\"n\\\" is to be"},
    {"{" ASK ",\"n\":\"2\"}", 400, "\\\"n\\\" is to be"},
    {"{" ASK ",\"max_tokens\":5001}", 400, "from 1 to 5000"},
    {"{" ASK ",\"max_tokens\":0}", 400, "\\\"max_tokens\\\""},
    {"{" ASK ",\"seed\":-2}", 400, "\\\"seed\\\""},
    {"{" ASK ",\"temperature\":-1}", 400, "\\\"temperature\\\" is to be from 0 to 100"},
    {"{" ASK ",\"temperature\":\"hot\"}", 400, "\\\"temperature\\\" is a string, wanted a number"},
    {"{" ASK ",\"top_p\":0}", 400, "\\\"top_p\\\""},
    {"{" ASK ",\"top_k\":1.5}", 400, "\\\"top_k\\\" is to be a whole number"},
    {"{" ASK ",\"stream\":1}", 400, "\\\"stream\\\" is a number, wanted true or false"},
    {"{" ASK ",\"stop\":\"\"}", 400, "\\\"stop\\\": strings of 1 to 1024 bytes"},
    {"{" ASK ",\"stop\":{}}", 400, "\\\"stop\\\" is to be a string or a list"},
    {"{" ASK ",\"stop\":[1]}", 400, "\\\"stop\\\": strings"},
    {"{" ASK ",\"top_logprobs\":3}", 400, "wants \\\"logprobs\\\": true"},
    {"{" ASK ",\"min_tokens\":600}", 400, "over the 512 tokens"},
    {"{" ASK ",\"tools\":[{}]}", 400, "\\\"tools\\\" has no effect here"},
    {"{" ASK ",\"presence_penalty\":0.5}", 400, "\\\"presence_penalty\\\" has no effect"},
    {"{" ASK ",\"response_format\":{\"type\":\"json_object\"}}", 400,
     "is to be text or json_schema"},
    {"{" ASK ",\"response_format\":{\"type\":\"json_schema\"}}", 400, "wants an object"},
    {"{" ASK ",\"metadata\":{\"id\":1}}", 400, "\\\"metadata\\\": \\\"id\\\" is a number"},
    {"{" ASK ",\"tools\":[],\"presence_penalty\":0,\"response_format\":{\"type\":\"text\"},"
     "\"logit_bias\":{},\"stop\":[],\"seed\":-1,\"metadata\":null}",
     200, "\\u"},
};

static void bad_requests_are_named(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    served *s = serve_open(&setup, 4);
    for (size_t i = 0; i < PX_COUNT(bad_requests); i++) {
        int status = chat(s, bad_requests[i].body);
        if (status != bad_requests[i].status ||
            (status != 200 && !strstr(s->body.data, bad_requests[i].says)))
            fail_msg("%s: %d %s\nwanted %d %s", bad_requests[i].body, status, s->body.data,
                     bad_requests[i].status, bad_requests[i].says);
        cJSON *json = body_json(s);
        if (status != 200)
            assert_string_equal(px_json_find_text(cJSON_GetObjectItem(json, "error"), "type"),
                                "invalid_request_error");
        cJSON_Delete(json);
    }
    /* the generator's refusal is the client's too */
    px_str long_body = {0};
    px_str_text(&long_body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 20001; i++) px_str_char(&long_body, 'x');
    px_str_text(&long_body, "\"}],\"stream\":true}");
    assert_int_equal(chat(s, long_body.data), 400);
    assert_non_null(strstr(s->body.data, "the prompt is too long: 20001"));
    px_str_free(&long_body);
    assert_true(serve_close(s));
}

static void routes_and_limits(void **state) {
    (void)state;
    static const struct {
        const char *method, *path, *more, *body;
        int status;
        const char *says;
    } cases[] = {
        {"GET", "/health", "", NULL, 200, "{\"status\":\"ok\",\"running\":0,\"queued\":0}"},
        {"GET", "/v1/models", "", NULL, 200,
         "{\"object\":\"list\",\"data\":[{\"id\":\"fake\",\"object\":\"model\",\"created\":0,"
         "\"owned_by\":\"prismx\"}]}"},
        {"GET", "/", "", NULL, 404, "no such route"},
        {"POST", "/v1/completions", "", "{}", 404, "no such route"},
        {"GET", "/v1/chat/completions", "", NULL, 405, "wants POST"},
        {"DELETE", "/health", "", NULL, 405, "wants GET"},
        {"GET", "/health", "Host: 127.0.0.1:80\r\nOrigin: http://localhost:3000\r\n", NULL, 200,
         "ok"},
        {"GET", "/health", "Host: [::1]:80\r\n", NULL, 200, "ok"},
        {"GET", "/health", "Host: evil.example\r\n", NULL, 403, "other host names"},
        {"GET", "/health", "Host: 127.evil.example\r\n", NULL, 403, "other host names"},
        {"GET", "/health", "Origin: https://evil.example\r\n", NULL, 403, "web pages"},
        {"GET", "/health", "Origin: null\r\n", NULL, 403, "web pages"},
    };
    px_serve_setup setup = serve_setup();
    setup.max_body_bytes = 3000;
    setup.max_header_bytes = 4096;
    served *s = serve_open(&setup, 4);
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        int status = serve_ask(s, cases[i].method, cases[i].path, cases[i].more, cases[i].body);
        if (status != cases[i].status || !strstr(s->body.data, cases[i].says))
            fail_msg("%s %s %s: %d %s", cases[i].method, cases[i].path, cases[i].more, status,
                     s->body.data);
    }
    for (int size = 1000; size < 100000; size *= 2) { /* bodies, then headers */
        px_str text = {0};
        px_str_text(&text, "{" ASK ",\"user\":\"");
        for (int i = 0; i < size; i++) px_str_char(&text, 'x');
        px_str_text(&text, "\"}");
        int status = chat(s, text.data);
        if (text.size <= 3000 ? status != 200 : status != 413)
            fail_msg("%zu bytes: %d", text.size, status);
        px_str_clear(&text);
        px_str_text(&text, "X-Long: ");
        for (int i = 0; i < size; i++) px_str_char(&text, 'x');
        px_str_text(&text, "\r\n");
        status = serve_ask(s, "GET", "/health", text.data, NULL);
        if (size < 2000 && status != 200) fail_msg("header of %zu bytes: %d", text.size, status);
        if (size > 4096 && status == 200) fail_msg("header of %zu bytes: %d", text.size, status);
        px_str_free(&text);
    }
    assert_true(serve_close(s));
}

static void keys_are_wanted(void **state) {
    (void)state;
    px_serve_setup setup = serve_setup();
    px_generator g = fake_generator(&(fake){0}, 4);
    px_server *server = NULL;
    setup.host = "0.0.0.0";
    px_assert_error(px_server_open(&setup, &g, &server), PX_BAD_INPUT, "an access key is wanted");
    setup.host = NULL;
    px_assert_error(px_server_open(&setup, &g, &server), PX_BAD_INPUT, "neither a port nor");
    setup.host = "no.such.host.invalid";
    px_assert_error(px_server_open(&setup, &g, &server), PX_BAD_INPUT, "no.such.host.invalid");
    setup.host = "0.0.0.0";
    setup.key = "geheim";
    served *s = serve_open(&setup, 4);
    const char *auth[] = {"", "Authorization: Bearer geheimer\r\n", "Authorization: Bearer \r\n",
                          "Authorization: geheim\r\n", "Authorization: Bearer geheim\r\n"};
    for (size_t i = 0; i < PX_COUNT(auth); i++) {
        int status = serve_ask(s, "POST", "/v1/chat/completions", auth[i], "{" ASK "}");
        assert_int_equal(status, i == 4 ? 200 : 401);
        assert_null(strstr(s->reply.data, "geheim"));
    }
    assert_int_equal(serve_ask(s, "GET", "/v1/models", "", NULL), 401);
    assert_int_equal(serve_ask(s, "GET", "/health", "Host: any.example\r\n", NULL), 200);
    px_server *second = NULL;
    setup.port = s->port;
    px_assert_error(px_server_open(&setup, &g, &second), PX_BAD_INPUT, "Address already in use");
    assert_true(serve_close(s));
}

static void a_socket_serves_too(void **state) {
    (void)state;
    char *dir = temp_folder(), path[256];
    px_serve_setup setup = serve_setup();
    px_generator g = fake_generator(&(fake){0}, 4);
    px_server *second = NULL;
    snprintf(path, sizeof path, "%s/s", dir);
    setup.socket = path;
    setup.host = NULL;
    /* one that a killed server left */
    struct sockaddr_un old = {.sun_family = AF_UNIX};
    memcpy(old.sun_path, path, PX_MIN(strlen(path), sizeof old.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&old, sizeof old), 0);
    close(fd);
    served *s = serve_open(&setup, 4);
    assert_int_equal(s->port, 0);
    px_assert_error(px_server_open(&setup, &g, &second), PX_BAD_INPUT, "Address already in use");
    px_str request = {0};
    http_write(&request, "POST", "/v1/chat/completions", "Host: any.example\r\n",
               "{" ASK ",\"seed\":1}");
    fd = http_connect_socket(path);
    assert_true(fd >= 0);
    assert_true(http_send(fd, request.data, request.size));
    assert_true(http_read(fd, 10, &s->reply));
    close(fd);
    assert_int_equal(http_status(&s->reply), 200);
    assert_non_null(strstr(s->reply.data, "1.0 h"));
    px_str_free(&request);
    assert_true(serve_close(s));
    assert_false(px_path_exists(path));
    px_assert_ok(px_file_write(path, "mine", 4)); /* no socket: it is left alone */
    px_assert_error(px_server_open(&setup, &g, &second), PX_BAD_INPUT, "Address already in use");
    assert_true(px_path_exists(path));
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streams_join_to_the_whole),
        cmocka_unit_test(streams_of_several_choices),
        cmocka_unit_test(bad_requests_are_named),
        cmocka_unit_test(routes_and_limits),
        cmocka_unit_test(keys_are_wanted),
        cmocka_unit_test(a_socket_serves_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
