/* served.c - see serve_engine.h. An answer's ids are decoded as a whole for each new token, and
 * what is new at the end is the token's text: some tokenizers write a token by what stands before
 * it. */
#include <stdlib.h>
#include <string.h>

#include "serve_engine.h"

/* One sample under way. */
typedef struct {
    void *tag; /* the server's; NULL: free */
    px_ids ids;
    size_t n_text; /* bytes of the answer so far */
    px_grammar *grammar;
} sample;

struct px_served {
    px_engine *engine;
    px_tokenizer *tok;
    px_template *tmpl;
    sample *samples; /* [room] */
    int32_t room, n_open;
    char fingerprint[16];
    /* within a step */
    px_piece_sink *sink;
    void *ctx;
    px_err *err;
    px_str text, pieces; /* kept for their memory */
};

static void sample_end(px_served *s, sample *it) {
    px_ids_free(&it->ids);
    px_grammar_free(it->grammar);
    *it = (sample){0};
    s->n_open--;
}

/* --- beginning --- */
static px_decoding decoding_of(const px_sampling *how) {
    px_decoding out = px_decoding_default();
    out.temperature = how->temperature;
    out.top_k = how->top_k;
    out.top_p = how->top_p;
    out.min_p = how->min_p;
    out.repetition_penalty = how->repetition_penalty;
    out.no_repeat_ngram = how->no_repeat_ngram;
    out.min_new_tokens = how->min_new_tokens;
    out.max_new_tokens = how->max_new_tokens;
    out.ignore_eos = how->ignore_eos;
    out.logprobs = how->logprobs;
    out.seed = how->seed;
    return out;
}

px_sampling px_served_sampling(const px_config *config) {
    const px_decoding how = px_decoding_of(config);
    return (px_sampling){.temperature = how.temperature,
                         .top_k = how.top_k,
                         .top_p = how.top_p,
                         .min_p = how.min_p,
                         .repetition_penalty = how.repetition_penalty,
                         .no_repeat_ngram = how.no_repeat_ngram,
                         .min_new_tokens = how.min_new_tokens,
                         .max_new_tokens = how.max_new_tokens,
                         .ignore_eos = how.ignore_eos};
}

static px_err *grammar_make(px_served *s, const cJSON *schema, px_grammar **out) {
    px_arena *arena = NULL;
    px_form form;
    PX_PASS(px_arena_new(4096, &arena));
    px_err *err = px_schema_form(schema, arena, &form);
    if (!err) err = px_grammar_new(s->engine, &form, out);
    px_arena_free(arena);
    return err;
}

static px_err *add_sample(px_served *s, const px_chat_request *r, int number, const px_ids *ids,
                          sample *it, px_person *person) {
    px_request request = {
        .ids = ids->ids, .n = ids->n, .user = -1, .how = decoding_of(&r->how), .tag = it};
    *person = PX_PERSON_NONE;
    if (px_served_soft_tokens(s) > 0) {
        request.user = r->user ? px_run_row(px_engine_run(s->engine), r->user) : 0;
        *person = request.user > 0 ? PX_PERSON_OWN : PX_PERSON_GENERIC;
    }
    PX_PASS(px_request_key(r->prompt_id, number, &request.key));
    if (r->schema) PX_PASS(grammar_make(s, r->schema, &it->grammar));
    request.grammar = it->grammar;
    px_err *err = px_engine_add(s->engine, &request);
    if (err) {
        px_grammar_free(it->grammar);
        it->grammar = NULL;
    }
    return err;
}

static px_err *served_begin(void *self, const px_chat_request *r, int number, void *tag,
                            int32_t *prompt_tokens, px_person *person) {
    px_served *s = self;
    sample *it = s->samples;
    px_ids ids = {0};
    while (it->tag) it++; /* the server asks for room first */
    px_err *err = px_template_encode(s->tmpl, s->tok, r->messages, r->n_messages, true, &ids);
    if (!err) err = add_sample(s, r, number, &ids, it, person);
    if (!err) {
        it->tag = tag;
        s->n_open++;
        *prompt_tokens = ids.n + (*person == PX_PERSON_NONE ? 0 : px_served_soft_tokens(s));
    }
    px_ids_free(&ids);
    return err;
}

static void served_cancel(void *self, const void *tag) {
    px_served *s = self;
    for (int32_t i = 0; i < s->room; i++)
        if (s->samples[i].tag == tag) {
            px_engine_cancel(s->engine, &s->samples[i]);
            sample_end(s, &s->samples[i]);
        }
}

/* Appends a token's own bytes, with the space before a word. */
static px_err *piece_text(const px_tokenizer *tok, int32_t id, px_str *out) {
    px_str byte = {0};
    if (id >= px_tokenizer_size(tok)) return NULL;
    const size_t before = out->size;
    px_err *err = px_token_text(tok, id, out);
    if (!err) err = px_decode(tok, &id, 1, true, &byte);
    /* The token of a byte is named "<0x0A>". */
    if (!err && byte.size == 1 && out->size - before == 6 &&
        !memcmp(out->data + before, "<0x", 3)) {
        out->size = before;
        px_str_add(out, byte.data, 1);
    }
    px_str_free(&byte);
    return err ? err : px_str_ok(out);
}

/* The token's and its alternatives' texts, all in s->pieces; best [t->n_best + 1], the token last.
 */
static px_err *pieces_fill(px_served *s, const px_token *t, px_piece_text *best) {
    size_t *ends = calloc((size_t)t->n_best + 2, sizeof *ends);
    px_err *err = NULL;
    if (!ends) PX_NO_MEMORY();
    px_str_clear(&s->pieces);
    px_str_add(&s->pieces, "", 0);
    for (int32_t i = 0; !err && i <= t->n_best; i++) {
        err = piece_text(s->tok, i < t->n_best ? t->best[i].id : t->id, &s->pieces);
        ends[i + 1] = s->pieces.size;
    }
    for (int32_t i = 0; !err && i <= t->n_best; i++)
        best[i] = (px_piece_text){s->pieces.data + ends[i], ends[i + 1] - ends[i],
                                  i < t->n_best ? t->best[i].logp : t->logp};
    free(ends);
    return err;
}

static px_err *event_send(px_served *s, const px_token *t, sample *it, bool *goes_on) {
    px_piece_text best[PX_TOP_LOGPROBS + 1] = {{0}};
    if (t->n_best > PX_TOP_LOGPROBS) PX_FAIL(PX_RUN_FAILED, "%d alternatives", (int)t->n_best);
    if (t->finish != PX_FINISH_STOP) PX_PASS(px_ids_add(&it->ids, t->id)); /* else: ends the turn */
    px_str_clear(&s->text);
    PX_PASS(px_engine_decode(s->engine, it->ids.ids, it->ids.n, &s->text));
    if (t->n_best > 0) PX_PASS(pieces_fill(s, t, best));
    const size_t before = PX_MIN(it->n_text, s->text.size);
    it->n_text = s->text.size;
    const px_piece_event event = {.tag = it->tag,
                                  .token = best[t->n_best],
                                  .added = s->text.data ? s->text.data + before : "",
                                  .n_added = s->text.size - before,
                                  .best = best,
                                  .n_best = t->n_best,
                                  .finish = t->finish == PX_FINISH_STOP     ? "stop"
                                            : t->finish == PX_FINISH_LENGTH ? "length"
                                                                            : NULL};
    *goes_on = s->sink(s->ctx, &event);
    return NULL;
}

static bool on_token(void *context, const px_token *t) {
    px_served *s = context;
    sample *it = t->tag;
    bool goes_on = false;
    if (!s->err) s->err = event_send(s, t, it, &goes_on);
    if (t->finish != PX_FINISH_NONE || !goes_on) sample_end(s, it);
    return goes_on;
}

static px_err *served_step(void *self, px_piece_sink *sink, void *ctx) {
    px_served *s = self;
    s->sink = sink;
    s->ctx = ctx;
    px_err *err = px_engine_step(s->engine, on_token, s);
    if (!err) err = s->err;
    s->err = NULL;
    return err;
}

static bool served_idle(void *self) { return px_engine_idle(((px_served *)self)->engine); }

static int32_t served_room(void *self) {
    const px_served *s = self;
    return s->room - s->n_open;
}

px_generator px_served_generator(px_served *served) {
    return (px_generator){served,      served_begin, served_cancel,
                          served_step, served_idle,  served_room};
}

/* --- opening --- */
static px_err *fingerprint_make(px_served *s) {
    const px_run *run = px_engine_run(s->engine);
    px_digest digest = {{0}};
    px_sha *sha = NULL;
    if (run) PX_PASS(px_params_sha256(run->params, &digest));
    PX_PASS(px_sha_new(&sha));
    px_sha_text(sha, px_engine_weights_sha256(s->engine));
    px_sha_text(sha, digest.hex);
    PX_PASS(px_sha_end(sha, &digest));
    snprintf(s->fingerprint, sizeof s->fingerprint, "fp_%.12s", digest.hex);
    return NULL;
}

static px_err *served_fill(px_served *s, const px_engine_setup *setup) {
    px_engine_setup hashed = *setup;
    hashed.hash = true;
    PX_PASS(px_engine_open(&hashed, &s->engine));
    s->tok = px_engine_tokenizer(s->engine);
    s->tmpl = px_engine_template(s->engine);
    s->room = (int32_t)setup->batch;
    s->samples = calloc((size_t)s->room, sizeof *s->samples);
    if (!s->samples) PX_NO_MEMORY();
    return fingerprint_make(s);
}

px_err *px_served_open(const px_engine_setup *setup, px_served **out) {
    px_served *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    px_err *err = served_fill(s, setup);
    if (err)
        px_served_close(s);
    else
        *out = s;
    return err;
}

void px_served_close(px_served *s) {
    if (!s) return;
    for (int32_t i = 0; s->samples && i < s->room; i++) {
        px_ids_free(&s->samples[i].ids);
        px_grammar_free(s->samples[i].grammar);
    }
    free(s->samples);
    px_err_free(s->err);
    px_str_free(&s->text);
    px_str_free(&s->pieces);
    px_engine_close(s->engine);
    free(s);
}

const char *px_served_fingerprint(const px_served *s) { return s->fingerprint; }

int64_t px_served_positions(const px_served *s) { return px_engine_positions(s->engine); }

int32_t px_served_soft_tokens(const px_served *s) { return px_engine_soft_tokens(s->engine); }
