/* sim_rounds.c - trials in lock-step: all first messages, all first answers, all choices, and so
 * on. A round lists what is wanted, looks up what is known, asks for the rest, and hands replies to
 * their trials; every rank does the same with the same replies. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

typedef struct {
    sim_want *items;
    int64_t n, room;
} want_list;

static px_err *want_add(want_list *list, sim_want want) {
    if (list->n == list->room) {
        list->room = list->room ? 2 * list->room : 256;
        sim_want *grown = realloc(list->items, (size_t)list->room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        list->items = grown;
    }
    list->items[list->n++] = want;
    return NULL;
}

/* --- asking --- */

typedef struct {
    simulation *s;
    const sim_want *wants;
    const int64_t *which; /* asks -> wants */
} asking;

static px_err *reply_keep(void *context, int64_t ask, px_ask_end end, const px_str *line) {
    const asking *a = context;
    if (end == PX_ASK_FAILED) return NULL; /* the round's end decides */
    return memo_add(a->s->memo, a->wants[a->which[ask]].key.hex, end, line);
}

/* Of players' calls: written hot, judged cold, held to nothing but their form. */
static void player_config(const simulation *s, const sim_want *want, px_config *out) {
    char labels[SIM_SLOTS + 1];
    trial_labels(&s->trials.items[want->trial], labels);
    const reply_ask ask = {.kind = (call_kind)want->kind, .labels = labels};
    const bool writes = want->kind == CALL_OPEN || want->kind == CALL_NEXT;
    const int64_t room = s->config->sim_player == PX_SIM_HTTP ? 256 : 0; /* of other spelling */
    out->generate_temperature = writes ? s->config->sim_temperature : 0;
    out->generate_top_p = 1;
    out->generate_top_k = 0;
    out->generate_min_p = 0;
    out->generate_repetition_penalty = 1;
    out->generate_no_repeat_ngram = 0;
    out->generate_min_new_tokens = 0;
    out->generate_ignore_eos = false;
    out->generate_max_new_tokens = reply_tokens(&ask, s->config->sim_message_tokens) + room;
}

/* Collective. Asks for what the memo lacks. */
static px_err *asks_all(simulation *s, const want_list *list, const char *name) {
    const bool answers = list->n > 0 && list->items[0].kind < 0;
    const double most = s->config->sim_max_usd, left = most - memo_usd(s->memo);
    px_config config = *s->config;
    px_ask *asks = calloc((size_t)list->n + 1, sizeof *asks);
    int64_t *which = calloc((size_t)list->n + 1, sizeof *which), n = 0;
    px_err *err = NULL;
    if (!asks || !which) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    for (int64_t i = 0; !err && i < list->n; i++) {
        const sim_want *want = &list->items[i];
        const sim_trial *trial = &s->trials.items[want->trial];
        if (memo_find(s->memo, want->key.hex)) continue;
        which[n] = i;
        asks[n++] = (px_ask){.id = want->id,
                             .user_id = trial->person_id,
                             .arm = answers ? trial->slots[want->slot].arm : 0,
                             .messages = want->messages,
                             .n_messages = want->n_messages,
                             .form = want->form};
        if (!answers && n == 1) player_config(s, want, &config);
    }
    if (!err && n > 0 && most > 0 && left <= 0)
        err = px_err_new(PX_STOPPED, __FILE__, __LINE__,
                         "%.4f USD are spent, sim.max_usd is %g; --resume goes on with a higher "
                         "one",
                         memo_usd(s->memo), most);
    err = px_agree_all(s->ranks, err);
    asking a = {s, list->items, which};
    const px_asking how = {.sink = reply_keep,
                           .context = &a,
                           .usd_most = most > 0 ? left : 0,
                           .name = name,
                           .kept_in = memo_dir(s->memo),
                           .go_on = "--resume",
                           .threads = s->job->threads};
    if (!err && n > 0)
        err = px_ask_all(s->ranks, &config, answers ? s->arms : s->player, asks, n, &how);
    if (!err && n > 0) err = memo_share_all(s->memo);
    call_counts *counts = answers || list->n == 0 ? &s->answers : &s->counts[list->items[0].kind];
    counts->asked += n;
    counts->from_memo += list->n - n;
    free(asks);
    free(which);
    return err;
}

/* Collective. An answer that an endpoint did not give is given up for good: what follows is built
 * on its absence, and is not to be asked again should it come after all. */
static px_err *answers_give_up_all(simulation *s, const want_list *list) {
    px_str line = {0};
    bool any = false;
    px_err *err = NULL;
    px_str_text(&line, "{\"error\":\"http\"}");
    for (int64_t i = 0; i < list->n && !err; i++) {
        if (memo_find(s->memo, list->items[i].key.hex)) continue;
        any = true;
        if (s->ranks->rank == 0)
            err = memo_add(s->memo, list->items[i].key.hex, PX_ASK_FAILED, &line);
    }
    px_str_free(&line);
    err = px_agree_all(s->ranks, err);
    return err || !any ? err : memo_share_all(s->memo);
}

/* --- replies of participants --- */

static void usd_add(double *sum, const memo_reply *reply) {
    if (isfinite(reply->usd)) *sum = (isfinite(*sum) ? *sum : 0) + reply->usd;
}

static void cost_add(sim_cost *sum, const memo_reply *reply) {
    sum->n++;
    sum->n_cached += reply->cached;
    sum->n_timed += isfinite(reply->seconds);
    if (isfinite(reply->seconds)) sum->seconds += reply->seconds;
    sum->prompt_tokens += PX_MAX(reply->prompt_tokens, 0);
    sum->new_tokens += PX_MAX(reply->new_tokens, 0);
    usd_add(&sum->usd, reply);
}

/* From label to slot. */
static void judgement_place(const simulation *s, const sim_trial *trial, const sim_want *want,
                            const sim_judgement *shown, sim_judgement *out) {
    *out = (sim_judgement){.good = true};
    for (int i = 0; i < trial->n_slots; i++) {
        const int slot = slot_of_label(trial, s->orders, want->order, i);
        for (int q = 0; q < PX_QUESTIONS; q++) out->rank[q][slot] = shown->rank[q][i];
        for (int v = 0; v < PX_SLIDERS; v++) out->vas[v][slot] = shown->vas[v][i];
        out->wtp[slot] = shown->wtp[i];
    }
}

static px_err *turn_add(simulation *s, sim_trial *trial, const char *message) {
    sim_turn *turn = &trial->turns[trial->n_turns++];
    *turn = (sim_turn){.user = px_arena_text(s->trials.arena, message, strlen(message))};
    for (int i = 0; i < trial->n_slots; i++)
        if (!trial->slots[i].out) turn->to |= 1u << i;
    return px_arena_ok(s->trials.arena);
}

/* A good reply to its trial. */
static px_err *reply_take(simulation *s, sim_trial *trial, const sim_want *want,
                          const sim_reply *reply) {
    switch (want->kind) {
    case CALL_OPEN:
        return turn_add(s, trial, reply->message);
    case CALL_NEXT:
        if (!reply->done) return turn_add(s, trial, reply->message);
        trial->ended = true;
        return NULL;
    case CALL_CHOOSE:
        for (int q = 0; q < PX_QUESTIONS; q++)
            trial->opening[q] = slot_of_label(trial, s->orders, 0, reply->choice[q]);
        return NULL;
    default:
        judgement_place(s, trial, want, &reply->judged, &trial->orders[want->order]);
        return NULL;
    }
}

/* What a reply comes to; *repair: it is to be asked once more, and why stands in the want. */
static px_err *reply_look(simulation *s, sim_want *want, bool *repair) {
    sim_trial *trial = &s->trials.items[want->trial];
    const memo_reply *reply = memo_find(s->memo, want->key.hex);
    call_counts *counts = &s->counts[want->kind];
    char labels[SIM_SLOTS + 1], wrong[SIM_WRONG] = "";
    sim_reply said = {0};
    *repair = false;
    if (!reply) { /* an endpoint's failure: this trial goes on another time */
        counts->failed++;
        trial->lost = true;
        return NULL;
    }
    usd_add(&trial->usd, reply);
    counts->cached += reply->cached;
    if (reply->end != PX_ASK_REFUSED) cost_add(&trial->player, reply);
    trial_labels(trial, labels);
    const reply_ask ask = {.kind = (call_kind)want->kind,
                           .labels = labels,
                           .message_most = (size_t)s->config->sim_message_tokens * 16};
    px_err *err = NULL;
    if (reply->end == PX_ASK_REFUSED) {
        counts->refused++;
        trial->ended = true;
        if (!*s->first_refused && reply->error)
            snprintf(s->first_refused, sizeof s->first_refused, "%s", reply->error);
    } else if (reply_read(reply->text, &ask, &said, wrong)) {
        err = reply_take(s, trial, want, &said);
    } else if (!want->repair) {
        *repair = true;
        want->bad = reply->text;
        want->wrong = px_arena_text(s->scratch, wrong, strlen(wrong));
        trial->repairs++;
        counts->repairs++;
        err = px_arena_ok(s->scratch);
    } else {
        counts->invalid++;
        trial->ended = true;
    }
    free(said.message);
    return err;
}

/* Collective. A call of every trial that wants one, and the repairs behind it. */
static px_err *call_round_all(simulation *s, want_list *list, const char *name) {
    want_list repairs = {0};
    px_err *err = NULL;
    for (int64_t i = 0; i < list->n && !err; i++) err = want_write(s, &list->items[i]);
    PX_PASS(px_agree_all(s->ranks, err));
    PX_PASS(asks_all(s, list, name));
    for (int64_t i = 0; i < list->n && !err; i++) {
        sim_want *want = &list->items[i];
        bool repair = false;
        err = reply_look(s, want, &repair);
        if (err || !repair) continue;
        sim_want again = *want;
        again.repair = true;
        again.n_messages = 0;
        err = want_add(&repairs, again);
    }
    err = px_agree_all(s->ranks, err);
    if (!err && repairs.n > 0) err = call_round_all(s, &repairs, "repairs");
    free(repairs.items);
    return err;
}

/* --- answers of arms --- */

static bool is_blank(const char *text) {
    while (*text && isspace((unsigned char)*text)) text++;
    return !*text;
}

static px_err *answer_take(simulation *s, const sim_want *want) {
    sim_trial *trial = &s->trials.items[want->trial];
    sim_slot *slot = &trial->slots[want->slot];
    const memo_reply *reply = memo_find(s->memo, want->key.hex);
    slot_error error = SLOT_FINE;
    if (!reply) PX_FAIL(PX_RUN_FAILED, "%s: an answer is missing", memo_dir(s->memo));
    usd_add(&trial->usd, reply);
    s->answers.cached += reply->cached;
    if (reply->end == PX_ASK_FAILED) {
        error = SLOT_HTTP;
        slot->out = true;
        s->answers.failed++;
    } else if (reply->end == PX_ASK_REFUSED) { /* its context is full */
        error = SLOT_LENGTH;
        slot->out = trial->ended = true;
        s->answers.refused++;
    } else {
        trial->turns[want->turn].answers[want->slot] = reply->text;
        slot->counted = slot->counted && reply->context_tokens >= 0;
        slot->context_tokens += PX_MAX(reply->context_tokens, 0);
        slot->prompt_tokens += PX_MAX(reply->prompt_tokens, 0);
        slot->new_tokens += PX_MAX(reply->new_tokens, 0);
        cost_add(&slot->cost, reply);
        if (reply->user >= 0) slot->user = reply->user;
        if (is_blank(reply->text))
            error = SLOT_EMPTY;
        else if (is_repetition(reply->text))
            error = SLOT_REPEAT;
        else if (reply->finish && !strcmp(reply->finish, "length"))
            error = SLOT_LENGTH;
    }
    s->errors[error]++;
    slot->error = PX_MAX(slot->error, error);
    return NULL;
}

/* Collective. All slots answer the last message. */
static px_err *answer_round_all(simulation *s, int turn) {
    want_list list = {0};
    char name[64];
    px_err *err = NULL;
    for (int32_t t = 0; t < s->trials.n; t++) {
        const sim_trial *trial = &s->trials.items[t];
        if (trial->n_turns != turn + 1 || trial->ended || trial->lost) continue;
        for (int i = 0; i < trial->n_slots && !err; i++) {
            if (!(trial->turns[turn].to & 1u << i)) continue;
            err = want_add(&list, (sim_want){.trial = t, .slot = i, .kind = -1, .turn = turn});
            if (!err) err = want_write(s, &list.items[list.n - 1]);
        }
    }
    snprintf(name, sizeof name, "answers %d", turn + 1);
    err = px_agree_all(s->ranks, err);
    if (!err) err = asks_all(s, &list, name);
    if (!err) err = answers_give_up_all(s, &list);
    if (!err) {
        for (int64_t i = 0; i < list.n && !err; i++) err = answer_take(s, &list.items[i]);
        err = px_agree_all(s->ranks, err);
    }
    free(list.items);
    px_arena_reset(s->scratch, 0);
    return err;
}

/* --- the order of things --- */

static bool has_answers(const sim_trial *trial) {
    for (int n = 0; n < trial->n_turns; n++)
        for (int i = 0; i < trial->n_slots; i++)
            if (trial->turns[n].answers[i]) return true;
    return false;
}

static bool all_out(const sim_trial *trial) {
    for (int i = 0; i < trial->n_slots; i++)
        if (!trial->slots[i].out) return false;
    return true;
}

static bool is_due(const simulation *s, const sim_trial *trial, call_kind kind, int turn) {
    if (trial->lost) return false;
    switch (kind) {
    case CALL_OPEN:
        return true;
    case CALL_CHOOSE:
        return trial->n_turns == 1 && has_answers(trial);
    case CALL_NEXT:
        return trial->n_turns == turn && !trial->ended && !all_out(trial);
    default:
        (void)s;
        return has_answers(trial);
    }
}

/* Collective. */
static px_err *calls_all(simulation *s, call_kind kind, int turn, const char *name) {
    want_list list = {0};
    const int orders = kind == CALL_ASSESS ? s->orders : 1;
    px_err *err = NULL;
    for (int32_t t = 0; t < s->trials.n; t++)
        for (int k = 0; k < orders && !err; k++)
            if (is_due(s, &s->trials.items[t], kind, turn))
                err = want_add(&list, (sim_want){.trial = t,
                                                 .slot = -1,
                                                 .kind = (int8_t)kind,
                                                 .order = (int8_t)k,
                                                 .turn = turn});
    err = px_agree_all(s->ranks, err);
    if (!err && list.n > 0) err = call_round_all(s, &list, name);
    free(list.items);
    px_arena_reset(s->scratch, 0);
    return err;
}

/* A choice or a judgement that cannot be used does not end the conversation. */
static px_err *choose_all(simulation *s) {
    bool *ended = calloc((size_t)s->trials.n + 1, sizeof *ended);
    px_err *err = ended ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS(px_agree_all(s->ranks, err));
    for (int32_t t = 0; t < s->trials.n; t++) ended[t] = s->trials.items[t].ended;
    err = calls_all(s, CALL_CHOOSE, 0, "choices");
    for (int32_t t = 0; t < s->trials.n; t++) s->trials.items[t].ended = ended[t];
    free(ended);
    return err;
}

px_err *sim_rounds_all(simulation *s) {
    for (int turn = 0; !s->judge && turn < (int)s->config->sim_turns; turn++) {
        char name[64];
        snprintf(name, sizeof name, "messages %d", turn + 1);
        PX_PASS(calls_all(s, turn ? CALL_NEXT : CALL_OPEN, turn, name));
        PX_PASS(px_agree_all(s->ranks, px_fault(s->ranks, "simulate")));
        PX_PASS(answer_round_all(s, turn));
        if (turn == 0) PX_PASS(choose_all(s));
    }
    PX_PASS(calls_all(s, CALL_ASSESS, 0, "judgements"));
    for (int32_t t = 0; t < s->trials.n; t++) trial_mean(&s->trials.items[t], s->orders);
    return NULL;
}
