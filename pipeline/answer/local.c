/* local.c - one arm's prompts through the engine: each rank takes the next one when it has a place
 * free. */
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

/* A form's grammar, and how many answers under way are held to it. */
typedef struct {
    const px_form *form;
    px_grammar *grammar;
    int32_t n_open;
} used_grammar;
enum { GRAMMARS_KEPT = 64 }; /* beyond these one that nobody uses goes for the next */

/* One answer under way. */
typedef struct {
    int64_t item;
    int32_t prompt_tokens, context_tokens;
    bool generic, soft, stopped;
    double seconds; /* its part of the engine's time */
    px_ids ids;
    px_str logprobs, text; /* text: of the answer so far, where stop texts are looked for */
    px_finish finish;
    bool over;
    used_grammar *held; /* or NULL */
} under_way;

typedef struct {
    const answering *a;
    const answer_arm *arm;
    px_engine *engine;
    px_tokenizer *tok;
    px_template *tmpl;
    px_counter *counter;
    const int64_t *mine;
    int64_t n_mine, taken;
    under_way **open; /* [batch] */
    int32_t n_open, n_over;
    arm_sums *sums;
    used_grammar **grammars; /* [n_grammars] of this engine, one a form */
    int32_t n_grammars;
    px_err *err;     /* of the sink */
    px_arena *arena; /* of one request */
    px_progress progress;
} arm_run;

/* --- writing --- */

static void write_ids(px_str *out, const px_ids *ids) {
    px_str_text(out, ",\"tokens\":[");
    for (int32_t i = 0; i < ids->n; i++) px_str_format(out, "%s%d", i ? "," : "", (int)ids->ids[i]);
    px_str_char(out, ']');
}

static px_err *answer_text(const arm_run *r, const under_way *u, px_str *out) {
    int32_t n = u->ids.n;
    if (u->stopped) {
        px_str_add(out, u->text.data ? u->text.data : "", u->text.size);
        return px_str_ok(out);
    }
    if (u->finish == PX_FINISH_STOP) n--; /* the token that ends the turn */
    return px_engine_decode(r->engine, u->ids.ids, n, out);
}

static px_err *finish_answer(arm_run *r, under_way *u) {
    const answer_item *item = &r->a->items[u->item];
    px_str line = {0}, text = {0};
    px_err *err = answer_text(r, u, &text);
    if (!err) {
        answer_head(r->a, item, &line);
        px_str_text(&line, ",\"text\":");
        px_str_json(&line, text.data ? text.data : "", text.size);
        write_ids(&line, &u->ids);
        px_str_format(&line, ",\"context_tokens\":%d,\"prompt_tokens\":%d,\"new_tokens\":%d",
                      (int)u->context_tokens, (int)u->prompt_tokens, (int)u->ids.n);
        px_str_format(&line, ",\"finish\":\"%s\"", u->finish == PX_FINISH_STOP ? "stop" : "length");
        if (px_engine_soft_tokens(r->engine) > 0)
            px_str_format(&line, ",\"user\":\"%s\"",
                          u->context_tokens == 0 ? "none"
                          : u->generic           ? "generic"
                                                 : "own");
        if (u->logprobs.size) px_str_format(&line, ",\"logprobs\":[%s]", u->logprobs.data);
        if (r->a->how) answer_seconds(u->seconds, &line);
        px_str_char(&line, '}');
        err = answer_add(r->a, u->item, PX_ASK_ANSWERED, &line);
        r->sums->n_answers++;
        r->sums->n_stop += u->finish == PX_FINISH_STOP;
        r->sums->new_tokens += u->ids.n;
        r->sums->prompt_tokens += u->prompt_tokens;
        r->sums->context_tokens += u->context_tokens;
    }
    px_str_free(&line);
    px_str_free(&text);
    return err;
}

/* --- requests --- */

static void under_way_free(under_way *u) {
    if (!u) return;
    if (u->held) u->held->n_open--;
    px_ids_free(&u->ids);
    px_str_free(&u->logprobs);
    px_str_free(&u->text);
    free(u);
}

static int32_t user_row(const arm_run *r, const prompt *p, bool *generic) {
    *generic = false;
    if (px_engine_soft_tokens(r->engine) == 0 || r->arm->user == PX_ARM_NONE) return -1;
    int32_t row = 0;
    if (r->arm->user == PX_ARM_OWN && p->user_id)
        row = px_run_row(px_engine_run(r->engine), p->user_id);
    *generic = row == 0;
    if (row == 0 && r->arm->user == PX_ARM_OWN) r->sums->n_generic++;
    return row;
}

/* Tokens of what is told of the person: of that text by itself. */
static px_err *count_context(arm_run *r, const char *context, int32_t *n) {
    px_ids ids = {0};
    *n = 0;
    if (!context) return NULL;
    px_err *err = px_encode(r->tok, context, strlen(context), false, &ids);
    *n = ids.n;
    px_ids_free(&ids);
    return err;
}

/* A place for a grammar: a new one, or that of one which no answer under way needs. */
static px_err *grammar_place(arm_run *r, used_grammar **out) {
    for (int32_t i = 0; r->n_grammars >= GRAMMARS_KEPT && i < r->n_grammars; i++)
        if (r->grammars[i]->n_open == 0) {
            *out = r->grammars[i];
            px_grammar_free((*out)->grammar);
            **out = (used_grammar){0};
            return NULL;
        }
    void *grown = realloc(r->grammars, ((size_t)r->n_grammars + 1) * sizeof *r->grammars);
    if (!grown) PX_NO_MEMORY();
    r->grammars = grown;
    *out = r->grammars[r->n_grammars] = calloc(1, sizeof **out);
    if (!*out) PX_NO_MEMORY();
    r->n_grammars++;
    return NULL;
}

/* The grammar of a form; few are kept, so they are looked through. *out NULL: no form. */
static px_err *grammar_of(arm_run *r, const px_form *form, used_grammar **out) {
    used_grammar *place = NULL;
    *out = NULL;
    if (!form) return NULL;
    for (int32_t i = 0; i < r->n_grammars && !*out; i++)
        if (r->grammars[i]->form == form) *out = r->grammars[i];
    if (*out) return NULL;
    PX_PASS(grammar_place(r, &place));
    PX_PASS(px_grammar_new(r->engine, form, &place->grammar));
    place->form = form;
    *out = place;
    return NULL;
}

static px_err *add_request(arm_run *r, int64_t i, const px_ids *ids, const char *context) {
    const answer_item *item = &r->a->items[i];
    const prompt *p = &r->a->prompts->items[item->prompt];
    under_way *u = calloc(1, sizeof *u);
    if (!u) PX_NO_MEMORY();
    px_request request = {.ids = ids->ids,
                          .n = ids->n,
                          .user = user_row(r, p, &u->generic),
                          .how = px_decoding_of(r->a->config),
                          .tag = u};
    const int32_t soft = request.user >= 0 ? px_engine_soft_tokens(r->engine) : 0;
    u->item = i;
    u->soft = soft > 0;
    u->prompt_tokens = ids->n + soft;
    px_err *err = count_context(r, context, &u->context_tokens);
    u->context_tokens += soft;
    if (!err) err = grammar_of(r, p->form, &u->held);
    if (u->held) {
        u->held->n_open++;
        request.grammar = u->held->grammar;
    }
    if (!err) err = px_request_key(p->id, item->sample, &request.key);
    if (!err) err = px_engine_add(r->engine, &request);
    if (err) {
        under_way_free(u);
        return err;
    }
    r->open[r->n_open++] = u;
    return NULL;
}

static px_err *encode_item(arm_run *r, int64_t i) {
    px_ids ids = {0};
    const px_message *messages = NULL;
    const char *context = NULL;
    int n = 0;
    const size_t mark = px_arena_mark(r->arena);
    px_err *err = answer_messages(r->a, &r->a->items[i], r->arena, &messages, &n, &context);
    if (!err) err = px_template_encode(r->tmpl, r->tok, messages, n, true, &ids);
    if (!err) err = add_request(r, i, &ids, context);
    if (!err && r->arm->context != CONTEXT_NONE && !context) r->sums->n_untold++;
    px_arena_reset(r->arena, mark);
    px_ids_free(&ids);
    return err;
}

/* Item i; one that is bad input becomes a line that says so. */
static px_err *start_item(arm_run *r, int64_t i) {
    px_err *err = encode_item(r, i);
    if (!err || px_err_kind(err) != PX_BAD_INPUT) return err;
    px_err *failed = answer_refuse(r->a, i, PX_ASK_REFUSED, px_err_text(err));
    px_err_free(err);
    r->sums->n_failed++;
    return failed;
}

/* --- tokens --- */

static void note_logprobs(under_way *u, const px_token *t) {
    px_str *out = &u->logprobs;
    px_str_format(out, "%s{\"id\":%d,\"logprob\":", out->size ? "," : "", (int)t->id);
    px_str_double(out, t->logp);
    px_str_text(out, ",\"top\":[");
    for (int32_t i = 0; i < t->n_best; i++) {
        px_str_format(out, "%s[%d,", i ? "," : "", (int)t->best[i].id);
        px_str_double(out, t->best[i].logp);
        px_str_char(out, ']');
    }
    px_str_text(out, "]}");
}

/* Where the first of the stop texts begins, or -1. */
static int64_t find_stop(const px_answer_job *job, const px_str *text) {
    int64_t first = -1;
    for (int i = 0; i < job->n_stops; i++) {
        const char *found = text->data ? strstr(text->data, job->stops[i]) : NULL;
        if (found && (first < 0 || found - text->data < first)) first = found - text->data;
    }
    return first;
}

static bool take_token(void *context, const px_token *t) {
    arm_run *r = context;
    under_way *u = t->tag;
    u->finish = t->finish;
    if (!r->err) r->err = px_ids_add(&u->ids, t->id);
    if (t->n_best > 0) note_logprobs(u, t);
    if (!r->err && r->a->job->n_stops > 0 && t->finish != PX_FINISH_STOP) {
        px_str_clear(&u->text);
        r->err = px_engine_decode(r->engine, u->ids.ids, u->ids.n, &u->text);
        const int64_t stop = find_stop(r->a->job, &u->text);
        if (stop >= 0) {
            u->text.size = (size_t)stop;
            u->stopped = true;
            u->finish = PX_FINISH_STOP;
        }
    }
    u->over = u->finish != PX_FINISH_NONE || r->err;
    r->n_over += u->over;
    return !u->over;
}

static px_err *write_finished(arm_run *r) {
    px_err *err = r->err;
    r->err = NULL;
    for (int32_t i = 0; i < r->n_open && r->n_over > 0;) {
        under_way *u = r->open[i];
        if (!u->over) {
            i++;
            continue;
        }
        if (!err) err = finish_answer(r, u);
        under_way_free(u);
        r->open[i] = r->open[--r->n_open];
        r->n_over--;
    }
    return err;
}

/* --- the loop --- */

static px_err *fill_places(arm_run *r) {
    while (r->n_open < r->a->config->generate_batch && r->taken < r->n_mine) {
        r->taken = px_counter_take(r->counter, 1);
        if (r->taken >= COUNTER_STOP)
            PX_FAIL(PX_STOPPED, "another rank stopped; what is finished is kept");
        if (r->taken < r->n_mine) PX_PASS(start_item(r, r->mine[r->taken]));
    }
    return NULL;
}

/* One pass; its time is shared out evenly among the answers under way, so that all answers' seconds
 * together are the engine's. */
static px_err *step(arm_run *r) {
    const int32_t n = r->n_open;
    const double began = px_now_s();
    PX_PASS(px_engine_step(r->engine, take_token, r));
    const double part = (px_now_s() - began) / PX_MAX(n, 1);
    for (int32_t i = 0; i < n; i++) r->open[i]->seconds += part;
    return NULL;
}

static px_err *work(arm_run *r) {
    enum { WARM = 32 }; /* passes that do things for the first time; for the debug log's rate */
    const char *name = r->a->how ? r->a->how->name : r->arm->name ? r->arm->name : "generate";
    const double began = px_now_s();
    double warm_s = began;
    int64_t warm_tokens = 0;
    px_progress_begin(&r->progress, name, r->n_mine, 0);
    for (int64_t pass = 0;; pass++) {
        PX_PASS(fill_places(r));
        if (r->n_open == 0 && r->taken >= r->n_mine) break;
        if (px_signal_seen())
            PX_FAIL(PX_STOPPED, "by a signal; finished answers are kept in %s, %s goes on",
                    answer_kept(r->a), answer_again(r->a));
        px_watch(r->a->ranks, name, pass);
        PX_PASS(step(r));
        PX_PASS(write_finished(r));
        px_counter_tend(r->counter);
        const px_engine_counts n = px_engine_count(r->engine);
        px_progress_at(&r->progress, PX_MIN(r->taken + 1, r->n_mine) - r->n_open, "%.0f tokens/s",
                       (double)n.new_tokens / (px_now_s() - began));
        if (pass == WARM) warm_s = px_now_s(), warm_tokens = n.new_tokens;
    }
    const double warmed = px_now_s() - warm_s;
    px_debug("%s: %.1f new tokens a second after the first %d steps, which took %.3f s", name,
             (double)(px_engine_count(r->engine).new_tokens - warm_tokens) / PX_MAX(warmed, 1e-9),
             warm_s > began ? WARM + 1 : 0, warm_s - began);
    r->sums->shared_tokens = px_engine_count(r->engine).shared_rows;
    px_progress_end(&r->progress, r->n_mine, "%lld new tokens", (long long)r->sums->new_tokens);
    return NULL;
}

static px_err *open_arm(arm_run *r) {
    const answering *a = r->a;
    const px_engine_setup setup = {.model_path = r->arm->model_path,
                                   .run_dir = r->arm->run_dir,
                                   .step = r->arm->step,
                                   .config = a->config,
                                   .threads = a->job->threads,
                                   .batch = a->config->generate_batch,
                                   .cache_tokens = a->config->generate_cache_tokens};
    PX_PASS(px_arena_new(1 << 16, &r->arena));
    PX_PASS(px_engine_open(&setup, &r->engine));
    r->tok = px_engine_tokenizer(r->engine);
    r->tmpl = px_engine_template(r->engine);
    r->open = calloc((size_t)a->config->generate_batch + 1, sizeof(under_way *));
    if (!r->open) PX_NO_MEMORY();
    return NULL;
}

px_err *arm_local_all(const answering *a, int32_t arm_index, const int64_t *mine, int64_t n_mine,
                      arm_sums *sums) {
    arm_run r = {.a = a, .arm = &a->arms[arm_index], .mine = mine, .n_mine = n_mine, .sums = sums};
    px_err *err = NULL;
    PX_PASS_TO(done, px_agree_all(a->ranks, open_arm(&r)));
    PX_PASS_TO(done, px_counter_open_all(a->ranks, &r.counter));
    err = work(&r);
    if (err) px_counter_take(r.counter, COUNTER_STOP); /* the others take nothing more */
    err = px_agree_all(a->ranks, err);
    px_counter_close_all(r.counter);
done:
    for (int32_t i = 0; i < r.n_open; i++) under_way_free(r.open[i]);
    free(r.open);
    for (int32_t i = 0; i < r.n_grammars; i++) {
        px_grammar_free(r.grammars[i]->grammar);
        free(r.grammars[i]);
    }
    free(r.grammars);
    px_err_free(r.err);
    px_arena_free(r.arena);
    px_engine_close(r.engine);
    return err;
}
