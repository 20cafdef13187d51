/* sim_stub.h - participants and arms without a model, for the tests of simulation: what is replied
 * is a function of the request. The model's name says how: "good" replies as it is asked; "bad" in
 * prose, that a repair mends for three of four; "faulty" fails first, then replies: 429, 500, no
 * JSON, a hang, a cut connection, or late. A request without a form is an arm's. What it counts
 * says whether anything was paid for twice. */
#ifndef PX_SIM_STUB_H
#define PX_SIM_STUB_H

#include <pthread.h>

#include "json.h"
#include "px_test.h"
#include "stub_server.h"

enum { SIM_STUB_SEEN = 1 << 14 };
typedef struct {
    uint64_t hash;
    int asked, answered;
} sim_stub_seen;
typedef struct {
    sim_stub_seen seen[SIM_STUB_SEEN];
    int n, answered, doubled; /* answered: with what is paid for; doubled: the same once more */
    pthread_mutex_t lock;
} sim_stub_state;
#define SIM_STUB_STATE                                                                             \
    { .lock = PTHREAD_MUTEX_INITIALIZER }

static inline uint64_t sim_stub_hash(const char *text) {
    uint64_t h = 14695981039346656037u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 29;
}

/* How often this request came before. */
static inline int sim_stub_note(sim_stub_state *state, uint64_t hash, bool answered) {
    int before = 0, i = 0;
    pthread_mutex_lock(&state->lock);
    while (i < state->n && state->seen[i].hash != hash) i++;
    if (i == state->n && i < SIM_STUB_SEEN) state->seen[state->n++] = (sim_stub_seen){.hash = hash};
    if (i < SIM_STUB_SEEN && answered) {
        state->doubled += state->seen[i].answered++ > 0;
        state->answered++;
    } else if (i < SIM_STUB_SEEN) {
        before = state->seen[i].asked++;
    }
    pthread_mutex_unlock(&state->lock);
    return before;
}

static inline void sim_stub_values(const char *letters, uint64_t hash, int most, px_str *out) {
    px_str_char(out, '{');
    for (int i = 0; letters[i]; i++)
        px_str_format(out, "%s\"%c\": %d", i ? ", " : "", letters[i],
                      (int)(hash >> (5 * i) & 127) % (most + 1));
    px_str_char(out, '}');
}

static inline void sim_stub_rank(const char *letters, uint64_t hash, px_str *out) {
    const int n = (int)strlen(letters);
    px_str_char(out, '[');
    for (int i = 0; i < n; i++)
        px_str_format(out, "%s\"%c\"", i ? ", " : "", letters[(i + (int)(hash % 8)) % n]);
    px_str_char(out, ']');
}

/* The letters of a form: {"A": 0 to 10, "B": … */
static inline void sim_stub_letters(const char *prompt, char out[9]) {
    const char *at = strstr(prompt, "\"wtp\": {");
    int n = 0;
    for (at = at ? strchr(at + 6, '{') : NULL; at && *at && *at != '}' && n < 8; at++)
        if (*at == '"' && at[2] == '"') out[n++] = at[1], at += 2;
    out[n] = 0;
}

static inline void sim_stub_text(const char *prompt, uint64_t hash, px_str *out) {
    char letters[9];
    if (strstr(prompt, "\"wtp\": {")) {
        sim_stub_letters(prompt, letters);
        px_str_text(out, "Here it is:\n```json\n{\"rank\": {\"preference\": ");
        sim_stub_rank(letters, hash, out);
        px_str_text(out, ", \"provenance\": ");
        sim_stub_rank(letters, hash >> 8, out);
        px_str_text(out, "}, \"vas\": {\"preference\": ");
        sim_stub_values(letters, hash, 100, out);
        px_str_text(out, ", \"engaging\": ");
        sim_stub_values(letters, hash >> 3, 100, out);
        px_str_text(out, ", \"provenance\": ");
        sim_stub_values(letters, hash >> 7, 100, out);
        px_str_text(out, "}, \"wtp\": ");
        sim_stub_values(letters, hash >> 9, 10, out);
        px_str_text(out, "}\n```");
    } else if (strstr(prompt, "{\"best\": letter")) {
        px_str_format(out, "{\"best\": \"A\", \"provenance\": \"b\"}");
    } else if (strstr(prompt, "\"done\": true or false")) {
        if (hash % 3)
            px_str_format(out, "{\"message\": \"And what of %d?\", \"done\": false}",
                          (int)(hash % 1000));
        else
            px_str_text(out, "{\"done\": true}");
    } else if (strstr(prompt, "{\"message\": \"")) {
        px_str_format(out, "{\"message\": \"Tell me about number %d, <b>please</b>.\"}",
                      (int)(hash % 1000));
    } else {
        px_str_format(out, "It is number %d of all. There is more to it.", (int)(hash % 1000));
    }
}

/* True: the request is dealt with, and badly. */
static inline bool sim_stub_fault(stub *s, stub_conn *conn, uint64_t hash) {
    switch (hash % 7) {
    case 0:
        stub_respond(conn, 429, "Retry-After: 0\r\n", "{\"error\":{\"message\":\"too many\"}}");
        return true;
    case 1:
        stub_respond(conn, 500, "", "{}");
        return true;
    case 2:
        stub_respond(conn, 200, "", "<html>garbage</html>");
        return true;
    case 3:
        stub_wait_gone(s, conn);
        return true;
    case 4:
        stub_printf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"choices\":[");
        return true;
    case 5:
        stub_sleep(0.2);
        return false;
    default:
        return false;
    }
}

static inline void sim_stub_reply(stub *s, stub_conn *conn, int number, const char *head,
                                  const char *body) {
    sim_stub_state *state = stub_user(s);
    px_str text = {0}, quoted = {0};
    cJSON *json = NULL;
    const uint64_t hash = sim_stub_hash(body);
    (void)number, (void)head;
    px_err *err = px_json_parse(body, strlen(body), &json);
    const cJSON *messages = cJSON_GetObjectItem(json, "messages");
    const int n = cJSON_GetArraySize(messages);
    const char *model = px_json_find_text(json, "model");
    const char *last = px_json_find_text(cJSON_GetArrayItem(messages, n - 1), "content");
    const char *prompt =
        n == 4 ? px_json_find_text(cJSON_GetArrayItem(messages, 1), "content") : last;
    const bool repair = n == 4 && last && strstr(last, "could not be used");
    const int before = sim_stub_note(state, hash, false);
    px_err_free(err);
    if (!repair) prompt = last;
    if (!prompt || !model) {
        stub_respond(conn, 400, "", "{\"error\":{\"message\":\"not as it is asked\"}}");
    } else if (strcmp(model, "faulty") != 0 || before > 0 || !sim_stub_fault(s, conn, hash)) {
        const bool form = strstr(prompt, "{\"") != NULL;
        if (form && !strcmp(model, "bad") && (!repair || hash % 4 == 0))
            px_str_text(&text, "I would rather not say.");
        else
            sim_stub_text(prompt, hash, &text);
        px_str_json(&quoted, text.data, text.size);
        quoted.data[quoted.size - 1] = 0; /* stub_answer puts the quotes */
        sim_stub_note(state, hash, true);
        stub_answer(conn, quoted.data + 1);
    }
    cJSON_Delete(json);
    px_str_free(&text);
    px_str_free(&quoted);
}

#endif
