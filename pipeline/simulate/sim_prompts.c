/* sim_prompts.c - what a participant or an arm is asked: messages, form and key of each call. */
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

int slot_of_label(const sim_trial *trial, int orders, int order, int label) {
    return (label + order * PX_MAX(trial->n_slots / orders, 1)) % trial->n_slots;
}

void trial_labels(const sim_trial *trial, char out[SIM_SLOTS + 1]) {
    for (int i = 0; i < trial->n_slots; i++) out[i] = trial->slots[i].pos;
    out[trial->n_slots] = 0;
}

static void letters_write(const char *labels, px_str *out) {
    const int n = (int)strlen(labels);
    for (int i = 0; i < n; i++)
        px_str_format(out, "%s%c", i == 0 ? "" : i == n - 1 ? " and " : ", ", labels[i]);
}

/* The first n_turns, as the order shows them. */
static void conversation_write(const simulation *s, const sim_trial *trial, int n_turns, int order,
                               const char *labels, px_str *out) {
    for (int n = 0; n < n_turns; n++) {
        const sim_turn *turn = &trial->turns[n];
        px_str_format(out, "%s<you>\n%s\n</you>", n ? "\n" : "", turn->user);
        for (int i = 0; i < trial->n_slots; i++) {
            const int slot = slot_of_label(trial, s->orders, order, i);
            const char *answer = turn->answers[slot];
            px_str_format(out, "\n<%c>\n%s\n</%c>", labels[i], answer ? answer : "(no answer)",
                          labels[i]);
        }
    }
}

static void system_write(const simulation *s, const sim_trial *trial, px_str *out) {
    static const char *const names[] = {"task"};
    const wording *w = &s->words;
    px_str_text(out, w->role);
    if (*trial->person->profile)
        px_str_format(out, "\n\n%s\n%s", w->profile, trial->person->profile);
    if (trial->domain_at < 0) return;
    px_str_text(out, "\n\n");
    wording_fill(w->domain, names, &w->tasks[trial->domain_at], 1, out);
}

static void call_write(const simulation *s, const sim_trial *trial, const sim_want *want,
                       const reply_ask *ask, px_str *out) {
    static const char *const names[] = {"letters", "form", "turns", "words", "conversation"};
    const bool flat = s->config->sim_player == PX_SIM_LOCAL;
    px_str letters = {0}, form = {0}, talk = {0};
    char turns[32], words[32];
    letters_write(ask->labels, &letters);
    form_show(ask, flat, &form);
    const int n_turns = want->kind == CALL_CHOOSE ? PX_MIN(1, trial->n_turns) : trial->n_turns;
    conversation_write(s, trial, n_turns, want->order, ask->labels, &talk);
    snprintf(turns, sizeof turns, "%lld", (long long)s->config->sim_turns);
    snprintf(words, sizeof words, "%lld", (long long)PX_MAX(s->config->sim_message_tokens / 2, 1));
    const char *const values[] = {letters.data, form.data, turns, words,
                                  talk.data ? talk.data : ""};
    if (letters.data && form.data)
        wording_fill(s->words.calls[want->kind], names, values, 5, out);
    else
        out->failed = true;
    px_str_free(&letters);
    px_str_free(&form);
    px_str_free(&talk);
}

static px_err *message_add(simulation *s, sim_want *want, const char *role, px_str *text) {
    PX_PASS(px_str_ok(text));
    const char *own = px_arena_text(s->scratch, text->data ? text->data : "", text->size);
    want->messages[want->n_messages++] = (px_message){role, own, text->size};
    px_str_clear(text);
    return px_arena_ok(s->scratch);
}

static px_err *call_messages(simulation *s, const sim_trial *trial, sim_want *want) {
    static const char *const names[] = {"reason"};
    char labels[SIM_SLOTS + 1];
    px_str text = {0};
    trial_labels(trial, labels);
    const reply_ask ask = {.kind = (call_kind)want->kind,
                           .labels = labels,
                           .message_most = (size_t)s->config->sim_message_tokens * 16};
    want->messages = px_take(s->scratch, px_message, 4);
    px_err *err = px_arena_ok(s->scratch);
    if (!err) err = sim_form_get(s->forms, &ask, &want->form);
    system_write(s, trial, &text);
    if (!err) err = message_add(s, want, "system", &text);
    call_write(s, trial, want, &ask, &text);
    if (!err) err = message_add(s, want, "user", &text);
    if (!err && want->repair) {
        px_str_text(&text, *want->bad ? want->bad : "(nothing)");
        err = message_add(s, want, "assistant", &text);
        wording_fill(s->words.repair, names, &want->wrong, 1, &text);
        if (!err) err = message_add(s, want, "user", &text);
    }
    px_str_free(&text);
    return err;
}

/* The slot's own conversation so far. */
static px_err *answer_messages_make(simulation *s, const sim_trial *trial, sim_want *want) {
    px_message *m = px_take(s->scratch, px_message, 2 * trial->n_turns);
    PX_PASS(px_arena_ok(s->scratch));
    want->messages = m;
    for (int n = 0; n < trial->n_turns; n++) {
        const sim_turn *turn = &trial->turns[n];
        m[want->n_messages++] = (px_message){"user", turn->user, strlen(turn->user)};
        if (n == trial->n_turns - 1) break;
        const char *answer = turn->answers[want->slot] ? turn->answers[want->slot] : "";
        m[want->n_messages++] = (px_message){"assistant", answer, strlen(answer)};
    }
    return NULL;
}

/* What random numbers hang on, and with the messages the key of the memo. */
static px_err *id_write(simulation *s, const sim_trial *trial, sim_want *want) {
    px_str text = {0};
    px_sha *sha = NULL;
    px_str_format(&text, "%s/%s/%s/%d/%d%s", trial->person_id, trial->id,
                  want->kind < 0 ? "answer" : call_names[want->kind], want->turn,
                  want->kind < 0 ? want->slot : want->order, want->repair ? "/repair" : "");
    px_err *err = px_str_ok(&text);
    if (!err) want->id = px_arena_text(s->scratch, text.data, text.size);
    if (!err) err = px_arena_ok(s->scratch);
    if (!err) err = px_sha_new(&sha);
    px_str_free(&text);
    if (err) return err;
    px_sha_text(sha, want->id);
    for (int i = 0; i < want->n_messages; i++) {
        px_sha_text(sha, want->messages[i].role);
        px_sha_text(sha, want->messages[i].text);
    }
    return px_sha_end(sha, &want->key);
}

px_err *want_write(simulation *s, sim_want *want) {
    const sim_trial *trial = &s->trials.items[want->trial];
    PX_PASS(want->kind < 0 ? answer_messages_make(s, trial, want) : call_messages(s, trial, want));
    return id_write(s, trial, want);
}
