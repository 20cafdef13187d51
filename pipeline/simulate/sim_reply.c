/* sim_reply.c - what a participant replied: an object within whatever else was written, checked
 * strictly; and the forms that local models are held to. See simulate_internal.h. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

/* --- reading --- */

typedef struct {
    const reply_ask *ask;
    int n; /* labels */
    char *wrong;
} reading;

__attribute__((format(printf, 2, 3))) static bool bad(const reading *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(r->wrong, SIM_WRONG, format, args);
    va_end(args);
    return false;
}

/* Index of a label, or -1. */
static int label_of(const reading *r, const cJSON *item) {
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (!*text || text[1]) return -1;
    const char *at = strchr(r->ask->labels, toupper((unsigned char)*text));
    return at ? (int)(at - r->ask->labels) : -1;
}

static bool message_take(const reading *r, const cJSON *json, sim_reply *out) {
    const char *text = px_json_find_text(json, "message");
    if (r->ask->kind == CALL_NEXT) {
        const cJSON *done = cJSON_GetObjectItemCaseSensitive(json, "done");
        if (done && !cJSON_IsBool(done)) return bad(r, "\"done\" is neither true nor false");
        out->done = cJSON_IsTrue(done);
        if (out->done) return true;
    }
    if (!text) return bad(r, "\"message\" is missing or no string");
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    while (size > 0 && isspace((unsigned char)*text)) text++, size--;
    if (size == 0) return bad(r, "\"message\" is empty");
    if (size > r->ask->message_most) return bad(r, "\"message\" is too long");
    out->message = strndup(text, size);
    return out->message != NULL || bad(r, "out of memory");
}

static bool choice_take(const reading *r, const cJSON *json, sim_reply *out) {
    static const char *const keys[PX_QUESTIONS] = {"best", "provenance"};
    for (int q = 0; q < PX_QUESTIONS; q++) {
        out->choice[q] = label_of(r, cJSON_GetObjectItemCaseSensitive(json, keys[q]));
        if (out->choice[q] < 0)
            return bad(r, "\"%s\" is none of the letters %s", keys[q], r->ask->labels);
    }
    return true;
}

/* {"GROUP": {"NAME": …}} as people are asked, or {"GROUP_NAME": …} as models with a form are. */
static const cJSON *item_of(const cJSON *json, const char *group, const char *name) {
    char flat[64];
    snprintf(flat, sizeof flat, "%s_%s", group, name);
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(json, group);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, flat);
    return item ? item : cJSON_GetObjectItemCaseSensitive(inner, name);
}

static bool rank_take(const reading *r, const cJSON *list, px_question q, sim_judgement *out) {
    const char *name = px_question_names[q];
    const cJSON *item = NULL;
    int place = 0;
    if (!cJSON_IsArray(list)) return bad(r, "rank, %s: no list of letters", name);
    memset(out->rank[q], 0, sizeof out->rank[q]);
    cJSON_ArrayForEach(item, list) {
        const int at = label_of(r, item);
        if (at < 0) return bad(r, "rank, %s: holds none of the letters %s", name, r->ask->labels);
        if (out->rank[q][at])
            return bad(r, "rank, %s: %c stands there twice", name, r->ask->labels[at]);
        out->rank[q][at] = ++place;
    }
    return place == r->n || bad(r, "rank, %s: %d letters of %d", name, place, r->n);
}

static bool values_take(const reading *r, const cJSON *json, const char *name, double most,
                        double out[SIM_SLOTS]) {
    if (!cJSON_IsObject(json)) return bad(r, "%s: no object", name);
    for (int i = 0; i < r->n; i++) {
        const char key[2] = {r->ask->labels[i], 0};
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= most))
            return bad(r, "%s, %s: no number from 0 to %g", name, key, most);
        out[i] = item->valuedouble;
    }
    return true;
}

static bool judgement_take(const reading *r, const cJSON *json, sim_judgement *out) {
    for (int q = 0; q < PX_QUESTIONS; q++)
        if (!rank_take(r, item_of(json, "rank", px_question_names[q]), (px_question)q, out))
            return false;
    for (int i = 0; i < PX_SLIDERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "vas, %s", px_slider_names[i]);
        if (!values_take(r, item_of(json, "vas", px_slider_names[i]), name, 100, out->vas[i]))
            return false;
    }
    if (!values_take(r, cJSON_GetObjectItemCaseSensitive(json, "wtp"), "wtp", 10, out->wtp))
        return false;
    out->good = true;
    return true;
}

bool reply_read(const char *text, const reply_ask *ask, sim_reply *out, char wrong[SIM_WRONG]) {
    const reading r = {ask, (int)strlen(ask->labels), wrong};
    cJSON *json = px_json_find_object(text);
    bool good = false;
    *out = (sim_reply){0};
    if (!json) return bad(&r, "it holds no whole JSON object");
    switch (ask->kind) {
    case CALL_OPEN:
    case CALL_NEXT:
        good = message_take(&r, json, out);
        break;
    case CALL_CHOOSE:
        good = choice_take(&r, json, out);
        break;
    default:
        good = judgement_take(&r, json, &out->judged);
        break;
    }
    cJSON_Delete(json);
    return good;
}

/* --- forms --- */

static void letters_show(const reply_ask *ask, const char *range, px_str *out) {
    px_str_char(out, '{');
    for (const char *at = ask->labels; *at; at++)
        px_str_format(out, "%s\"%c\": %s", at > ask->labels ? ", " : "", *at, range);
    px_str_char(out, '}');
}

static void judgement_show(const reply_ask *ask, bool flat, px_str *out) {
    static const char list[] = "[letters, best first]";
    px_str_text(out, flat ? "{" : "{\"rank\": {");
    for (int q = 0; q < PX_QUESTIONS; q++)
        px_str_format(out, "%s\"%s%s\": %s", q ? ", " : "", flat ? "rank_" : "",
                      px_question_names[q], list);
    px_str_text(out, flat ? ", " : "}, \"vas\": {");
    for (int i = 0; i < PX_SLIDERS; i++) {
        px_str_format(out, "%s\"%s%s\": ", i ? ", " : "", flat ? "vas_" : "", px_slider_names[i]);
        letters_show(ask, "0 to 100", out);
    }
    px_str_text(out, flat ? ", \"wtp\": " : "}, \"wtp\": ");
    letters_show(ask, "0 to 10", out);
    px_str_char(out, '}');
}

void form_show(const reply_ask *ask, bool flat, px_str *out) {
    switch (ask->kind) {
    case CALL_OPEN:
        px_str_text(out, "{\"message\": \"…\"}");
        break;
    case CALL_NEXT:
        px_str_text(out, "{\"message\": \"…\", \"done\": true or false}");
        break;
    case CALL_CHOOSE:
        px_str_text(out, "{\"best\": letter, \"provenance\": letter}");
        break;
    default:
        judgement_show(ask, flat, out);
        break;
    }
}

enum { FORM_FIELDS = PX_QUESTIONS + PX_SLIDERS + 1 };
typedef struct one_form {
    struct one_form *next;
    call_kind kind;
    char labels[SIM_SLOTS + 1], texts[SIM_SLOTS][2];
    const char *at[SIM_SLOTS];
    char keys[FORM_FIELDS][32];
    px_field fields[FORM_FIELDS];
    px_form form;
} one_form;
struct px_sim_forms {
    one_form *first;
};

px_err *sim_forms_new(sim_forms **out) {
    *out = calloc(1, sizeof **out);
    if (!*out) PX_NO_MEMORY();
    return NULL;
}

void sim_forms_free(sim_forms *forms) {
    if (!forms) return;
    for (one_form *f = forms->first, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free(forms);
}

static void form_make(const reply_ask *ask, one_form *f) {
    const int n = (int)strlen(ask->labels);
    px_field *field = f->fields;
    f->kind = ask->kind;
    for (int i = 0; i < n; i++) {
        f->labels[i] = f->texts[i][0] = ask->labels[i];
        f->at[i] = f->texts[i];
    }
    if (ask->kind == CALL_OPEN || ask->kind == CALL_NEXT) {
        *field++ = (px_field){.key = "message",
                              .kind = PX_VALUE_STRING,
                              .least = 1,
                              .most = (int64_t)PX_MIN(ask->message_most, 4000)};
        if (ask->kind == CALL_NEXT) *field++ = (px_field){.key = "done", .kind = PX_VALUE_BOOLEAN};
    } else if (ask->kind == CALL_CHOOSE) {
        static const char *const keys[] = {"best", "provenance"};
        for (int q = 0; q < PX_QUESTIONS; q++)
            *field++ =
                (px_field){.key = keys[q], .kind = PX_VALUE_CHOICE, .texts = f->at, .n_texts = n};
    } else {
        for (int i = 0; i < FORM_FIELDS; i++, field++) {
            const bool rank = i < PX_QUESTIONS, wtp = i == FORM_FIELDS - 1;
            snprintf(f->keys[i], sizeof f->keys[i], "%s%s",
                     rank  ? "rank_"
                     : wtp ? "wtp"
                           : "vas_",
                     rank  ? px_question_names[i]
                     : wtp ? ""
                           : px_slider_names[i - PX_QUESTIONS]);
            *field = (px_field){.key = f->keys[i],
                                .kind = rank ? PX_VALUE_RANKING : PX_VALUE_INTEGERS,
                                .most = rank  ? 0
                                        : wtp ? 10
                                              : 100,
                                .texts = f->at,
                                .n_texts = n};
        }
    }
    f->form = (px_form){f->fields, (int)(field - f->fields)};
}

px_err *sim_form_get(sim_forms *forms, const reply_ask *ask, const px_form **out) {
    const bool lettered = ask->kind == CALL_CHOOSE || ask->kind == CALL_ASSESS;
    for (one_form *f = forms->first; f; f = f->next)
        if (f->kind == ask->kind && (!lettered || !strcmp(f->labels, ask->labels))) {
            *out = &f->form;
            return NULL;
        }
    one_form *f = calloc(1, sizeof *f);
    if (!f) PX_NO_MEMORY();
    form_make(ask, f);
    f->next = forms->first;
    forms->first = f;
    *out = &f->form;
    return NULL;
}

int64_t reply_tokens(const reply_ask *ask, int64_t message_tokens) {
    const int64_t n = (int64_t)strlen(ask->labels);
    switch (ask->kind) {
    case CALL_OPEN:
    case CALL_NEXT:
        return message_tokens + 32;
    case CALL_CHOOSE:
        return 64;
    default: /* two lists of 4 tokens a letter, four objects of 8 tokens a letter, their keys */
        return 128 + n * (2 * 4 + 4 * 8);
    }
}
