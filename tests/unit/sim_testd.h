/* sim_testd.h - participants and arms without a model, for the tests of simulation: what is replied
 * is a function of the request. The model's name says how: "good" replies as it is asked; "bad" in
 * prose, that a repair mends for three of four; "faulty" fails first, then replies: 429, 500, no
 * JSON, a hang, a cut connection, or late. A request without a form is an arm's. What it counts
 * says whether anything was paid for twice. */
#ifndef PX_SIM_TESTD_H
#define PX_SIM_TESTD_H

#include <pthread.h>

#include "json.h"
#include "px_test.h"
#include "testd.h"

enum { SIM_TESTD_SEEN = 1 << 14 };
typedef struct {
    uint64_t hash;
    int asked, answered;
} sim_testd_seen;
typedef struct {
    sim_testd_seen seen[SIM_TESTD_SEEN];
    int n, answered, doubled; /* answered: with what is paid for; doubled: the same once more */
    pthread_mutex_t lock;
} sim_testd_state;
#define SIM_TESTD_STATE                                                                            \
    { .lock = PTHREAD_MUTEX_INITIALIZER }

static inline uint64_t sim_testd_hash(const char *text) {
    uint64_t h = 14695981039346656037u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 29;
}

/* How often this request came before. */
static inline int sim_testd_note(sim_testd_state *state, uint64_t hash, bool answered) {
    int before = 0, i = 0;
    pthread_mutex_lock(&state->lock);
    while (i < state->n && state->seen[i].hash != hash) i++;
    if (i == state->n && i < SIM_TESTD_SEEN)
        state->seen[state->n++] = (sim_testd_seen){.hash = hash};
    if (i < SIM_TESTD_SEEN && answered) {
        state->doubled += state->seen[i].answered++ > 0;
        state->answered++;
    } else if (i < SIM_TESTD_SEEN) {
        before = state->seen[i].asked++;
    }
    pthread_mutex_unlock(&state->lock);
    return before;
}

static inline void sim_testd_values(const char *letters, uint64_t hash, int most, px_str *out) {
    px_str_char(out, '{');
    for (int i = 0; letters[i]; i++)
        px_str_format(out, "%s\"%c\": %d", i ? ", " : "", letters[i],
                      (int)(hash >> (5 * i) & 127) % (most + 1));
    px_str_char(out, '}');
}

static inline void sim_testd_rank(const char *letters, uint64_t hash, px_str *out) {
    const int n = (int)strlen(letters);
    px_str_char(out, '[');
    for (int i = 0; i < n; i++)
        px_str_format(out, "%s\"%c\"", i ? ", " : "", letters[(i + (int)(hash % 8)) % n]);
    px_str_char(out, ']');
}

/* The letters of a form: {"A": 0 to 10, "B": … */
static inline void sim_testd_letters(const char *prompt, char out[9]) {
    const char *at = strstr(prompt, "\"wtp\": {");
    int n = 0;
    for (at = at ? strchr(at + 6, '{') : NULL; at && *at && *at != '}' && n < 8; at++)
        if (*at == '"' && at[2] == '"') out[n++] = at[1], at += 2;
    out[n] = 0;
}

static inline void sim_testd_text(const char *prompt, uint64_t hash, px_str *out) {
    char letters[9];
    if (strstr(prompt, "\"wtp\": {")) {
        sim_testd_letters(prompt, letters);
        px_str_text(out, "Here it is:\n```json\n{\"rank\": {\"preference\": ");
        sim_testd_rank(letters, hash, out);
        px_str_text(out, ", \"provenance\": ");
        sim_testd_rank(letters, hash >> 8, out);
        px_str_text(out, "}, \"vas\": {\"preference\": ");
        sim_testd_values(letters, hash, 100, out);
        px_str_text(out, ", \"engaging\": ");
        sim_testd_values(letters, hash >> 3, 100, out);
        px_str_text(out, ", \"provenance\": ");
        sim_testd_values(letters, hash >> 7, 100, out);
        px_str_text(out, "}, \"wtp\": ");
        sim_testd_values(letters, hash >> 9, 10, out);
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
static inline bool sim_testd_fault(testd *s, testd_conn *conn, uint64_t hash) {
    switch (hash % 7) {
    case 0:
        testd_respond(conn, 429, "Retry-After: 0\r\n", "{\"error\":{\"message\":\"too many\"}}");
        return true;
    case 1:
        testd_respond(conn, 500, "", "{}");
        return true;
    case 2:
        testd_respond(conn, 200, "", "<html>garbage</html>");
        return true;
    case 3:
        testd_wait_gone(s, conn);
        return true;
    case 4:
        testd_printf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"choices\":[");
        return true;
    case 5:
        testd_sleep(0.2);
        return false;
    default:
        return false;
    }
}

static inline void sim_testd_reply(testd *s, testd_conn *conn, int number, const char *head,
                                   const char *body) {
    sim_testd_state *state = testd_user(s);
    px_str text = {0}, quoted = {0};
    cJSON *json = NULL;
    const uint64_t hash = sim_testd_hash(body);
    (void)number, (void)head;
    px_err *err = px_json_parse(body, strlen(body), &json);
    const cJSON *messages = cJSON_GetObjectItem(json, "messages");
    const int n = cJSON_GetArraySize(messages);
    const char *model = px_json_find_text(json, "model");
    const char *last = px_json_find_text(cJSON_GetArrayItem(messages, n - 1), "content");
    const char *prompt =
        n == 4 ? px_json_find_text(cJSON_GetArrayItem(messages, 1), "content") : last;
    const bool repair = n == 4 && last && strstr(last, "could not be used");
    const int before = sim_testd_note(state, hash, false);
    px_err_free(err);
    if (!repair) prompt = last;
    if (!prompt || !model) {
        testd_respond(conn, 400, "", "{\"error\":{\"message\":\"not as it is asked\"}}");
    } else if (strcmp(model, "faulty") != 0 || before > 0 || !sim_testd_fault(s, conn, hash)) {
        const bool form = strstr(prompt, "{\"") != NULL;
        if (form && !strcmp(model, "bad") && (!repair || hash % 4 == 0))
            px_str_text(&text, "I would rather not say.");
        else
            sim_testd_text(prompt, hash, &text);
        px_str_json(&quoted, text.data, text.size);
        quoted.data[quoted.size - 1] = 0; /* testd_answer puts the quotes */
        sim_testd_note(state, hash, true);
        testd_answer(conn, quoted.data + 1);
    }
    cJSON_Delete(json);
    px_str_free(&text);
    px_str_free(&quoted);
}

#endif
