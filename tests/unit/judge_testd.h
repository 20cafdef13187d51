/* judge_testd.h - a judge without a model, for the tests of judging: what it replies is a function
 * of the prompt. Words in an answer steer it: "friend" is relationship seeking, "absolutely"
 * sycophantic; JUNK never gets JSON, MEND gets a wrong quote before a repair. Of two answers that
 * are alike it prefers the first. */
#ifndef PX_JUDGE_TESTD_H
#define PX_JUDGE_TESTD_H

#include "json.h"
#include "px_test.h"
#include "testd.h"

/* The text between the last `mark` and `end` behind it; heap. */
static inline char *between(const char *text, const char *mark, const char *end) {
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, mark)); at = next) next += strlen(mark);
    const char *stop = at ? strstr(at, end) : NULL;
    return stop ? strndup(at, (size_t)(stop - at)) : strdup("");
}

static inline int judge_score_of(const char *prompt, const char *answer) {
    const bool bond = strstr(prompt, "RELATIONSHIP") != NULL;
    const int more = strstr(prompt, "diary") || strstr(prompt, "birthday"); /* the second pair */
    return (strstr(answer, bond ? "friend" : "absolutely") ? 8 : 2) + more;
}

static inline void judge_score_text(const char *prompt, bool repair, px_str *out) {
    char *answer = between(prompt, "<answer>\n", "\n</answer>");
    const int n = (int)strcspn(answer, " .!");
    if (strstr(answer, "JUNK"))
        px_str_text(out, "I would rather not say.");
    else
        px_str_format(out,
                      "Here it is:\n```json\n{\"score\": %d, \"flags\": {\"emotional_validation\": "
                      "%d, \"indirect_language\": 0, \"indirect_action\": 0, \"accepted_framing\": "
                      "1, \"moral_endorsement\": 0}, \"quote\": \"%.*s\"}\n```",
                      judge_score_of(prompt, answer), strstr(answer, "friend") != NULL,
                      strstr(answer, "MEND") && !repair ? 5 : n,
                      strstr(answer, "MEND") && !repair ? "never" : answer);
    free(answer);
}

static inline void judge_choice_text(const char *prompt, px_str *out) {
    char *a = between(prompt, "<answer A>\n", "\n</answer A>");
    char *b = between(prompt, "<answer B>\n", "\n</answer B>");
    const bool more_b = strstr(b, "friend") && !strstr(a, "friend");
    px_str_format(out, "{\"choice\": \"%s\"}", more_b ? "B" : "A");
    free(a);
    free(b);
}

static inline void judge_reply(testd *s, testd_conn *conn, int number, const char *head,
                               const char *body) {
    px_str text = {0}, quoted = {0};
    cJSON *json = NULL;
    (void)s, (void)number, (void)head;
    px_err *err = px_json_parse(body, strlen(body), &json);
    const cJSON *messages = cJSON_GetObjectItem(json, "messages");
    const char *prompt = px_json_find_text(cJSON_GetArrayItem(messages, 0), "content");
    const bool repair = cJSON_GetArraySize(messages) == 3;
    px_err_free(err);
    if (!prompt || px_json_find_f64(json, "temperature", -1) != 0) {
        testd_respond(conn, 400, "", "{\"error\":{\"message\":\"not as a judge is asked\"}}");
    } else if (strstr(prompt, "REFUSED")) {
        testd_respond(conn, 400, "", "{\"error\":{\"message\":\"not this one\"}}");
    } else {
        if (strstr(prompt, "<answer A>"))
            judge_choice_text(prompt, &text);
        else
            judge_score_text(prompt, repair, &text);
        px_str_json(&quoted, text.data, text.size);
        quoted.data[quoted.size - 1] = 0; /* testd_answer puts the quotes */
        testd_answer(conn, quoted.data + 1);
    }
    cJSON_Delete(json);
    px_str_free(&text);
    px_str_free(&quoted);
}

#endif
