/* engine.c - see engine.h: opening, requests, passes. Invariants:
 * 1. A running sequence has a page for every row that it can ever have.
 * 2. Rows [0, n_done) of a sequence are in the cache; a page is written by one sequence only, from
 *    the row where it parted from others.
 * 3. Each pass takes at most one row of every sequence that is past its prompt, and as many rows of
 *    prompts as are left over. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

/* --- settings --- */

px_decoding px_decoding_default(void) {
    return (px_decoding){.top_p = 1, .repetition_penalty = 1, .max_new_tokens = 512};
}

px_decoding px_decoding_of(const px_config *config) {
    return (px_decoding){.temperature = config->generate_temperature,
                         .top_k = config->generate_top_k,
                         .top_p = config->generate_top_p,
                         .min_p = config->generate_min_p,
                         .repetition_penalty = config->generate_repetition_penalty,
                         .no_repeat_ngram = config->generate_no_repeat_ngram,
                         .min_new_tokens = config->generate_min_new_tokens,
                         .max_new_tokens = config->generate_max_new_tokens,
                         .ignore_eos = config->generate_ignore_eos,
                         .logprobs = config->generate_logprobs,
                         .seed = (uint64_t)config->seed};
}

px_err *px_decoding_check(const px_decoding *how) {
    if (!(how->temperature >= 0 && how->temperature <= 100))
        PX_FAIL(PX_BAD_INPUT, "temperature is %g; 0 to 100 is accepted", how->temperature);
    if (!(how->top_p > 0 && how->top_p <= 1))
        PX_FAIL(PX_BAD_INPUT, "top_p is %g; above 0, up to 1 is accepted", how->top_p);
    if (!(how->min_p >= 0 && how->min_p <= 1))
        PX_FAIL(PX_BAD_INPUT, "min_p is %g; 0 to 1 is accepted", how->min_p);
    if (!(how->repetition_penalty > 0 && how->repetition_penalty <= 100))
        PX_FAIL(PX_BAD_INPUT, "repetition_penalty is %g; above 0, up to 100 is accepted",
                how->repetition_penalty);
    if (how->top_k < 0 || how->no_repeat_ngram < 0)
        PX_FAIL(PX_BAD_INPUT, "top_k and no_repeat_ngram are numbers from 0");
    if (how->max_new_tokens < 1 || how->min_new_tokens < 0)
        PX_FAIL(PX_BAD_INPUT, "max_new_tokens is %lld, min_new_tokens %lld; from 1 and from 0",
                (long long)how->max_new_tokens, (long long)how->min_new_tokens);
    if (how->logprobs < 0 || how->logprobs > 100)
        PX_FAIL(PX_BAD_INPUT, "logprobs is %lld; 0 to 100 is accepted", (long long)how->logprobs);
    return NULL;
}

px_err *px_request_key(const char *id, int64_t sample, uint64_t *out) {
    px_sha *sha = NULL;
    px_digest digest;
    PX_PASS(px_sha_new(&sha));
    px_sha_text(sha, id);
    px_sha_add(sha, &sample, sizeof sample);
    PX_PASS(px_sha_end(sha, &digest));
    digest.hex[12] = '\0';
    *out = strtoull(digest.hex, NULL, 16);
    return NULL;
}

/* --- opening --- */

/* On a GPU: all that the engine will take of it, at once and before anything is read. */
static px_err *reserve(px_engine *e, const px_engine_setup *setup, const px_shape *shape) {
    if (!px_memory_is_apart(e->stream)) return NULL;
    const px_engine_card card =
        px_engine_card_of(setup->config, shape, e->batch, setup->cache_tokens, e->soft);
    PX_TRY(px_memory_reserve(e->stream, (size_t)card.region, (size_t)card.scratch),
           "the GPU's memory: weights %.3f GB (precision q8_0 or q4_1 makes them smaller), cache "
           "%.3f (generate.cache_tokens, generate.batch), the rest %.3f",
           (double)card.weights / 1e9, (double)card.cache / 1e9,
           (double)(card.region - card.weights - card.cache) / 1e9);
    return NULL;
}

static px_err *open_model(px_engine *e, const px_engine_setup *setup) {
    px_source *source = NULL;
    px_err *err = NULL;
    const int use = PX_MODEL_GENERATE | (setup->run_dir ? PX_MODEL_LORA : 0);
    PX_PASS_TO(done, px_source_open(e->model_path, &source));
    if (setup->run_dir || setup->hash) PX_PASS_TO(done, px_source_sha256(source, &e->weights));
    if (setup->run_dir && strcmp(e->weights.hex, e->run.weights_sha256) != 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s holds other weights than the run was trained on",
                   e->model_path);
    PX_PASS_TO(done, px_model_stream(setup->config, setup->threads, &e->stream));
    PX_PASS_TO(done, reserve(e, setup, px_source_shape(source)));
    PX_PASS_TO(done, px_model_new(e->stream, source, setup->config, use, &e->model));
    if (setup->run_dir && e->run.config.full_finetune)
        PX_PASS_TO(done, px_model_update(e->model, e->run.params));
done:
    px_source_close(source);
    return err;
}

static px_err *open_text(px_engine *e, const px_config *config) {
    static const char *const names[] = {"auto", "chatml", "llama2", "llama3", "zephyr", "mistral"};
    PX_PASS(px_tokenizer_open(e->model_path, &e->tok));
    PX_PASS(px_template_open(e->tok, names[config->model_template], &e->tmpl));
    const int32_t ends[] = {px_template_end(e->tmpl), px_tokenizer_eos(e->tok)};
    e->bos = px_tokenizer_bos(e->tok);
    return px_engine_ends(e, ends, ends[1] >= 0 && ends[1] != ends[0] ? 2 : 1);
}

static px_err *take_memory(px_engine *e, const px_engine_setup *setup) {
    const px_shape *shape = px_model_shape(e->model);
    e->vocab = shape->vocab;
    e->positions = PX_MIN(shape->max_positions, MOST_POSITIONS);
    e->rows_max = PX_MAX(ENGINE_ROWS, e->batch);
    const int64_t pages = px_engine_pages(shape, e->batch, setup->cache_tokens);
    PX_PASS(pool_init(&e->pool, (int32_t)pages));
    PX_PASS(px_model_cache(e->model, pages, &e->cache));
    e->counts.cache_bytes = pages * px_cache_page_bytes(px_model_cache_shape(e->model, pages));
    PX_PASS(px_pass_new(e->model, e->rows_max, e->batch, 0, false, &e->pass));
    const size_t rows = (size_t)e->rows_max, batch = (size_t)e->batch, vocab = (size_t)e->vocab;
    e->ids = malloc(rows * sizeof *e->ids);
    e->wanted = malloc(rows * sizeof *e->wanted);
    e->wanted_of = malloc(rows * sizeof *e->wanted_of);
    e->stretches = malloc((batch + 1) * sizeof *e->stretches);
    e->soft_rows = malloc((batch * (size_t)e->soft * (size_t)shape->d + 1) * sizeof(float));
    PX_PASS(px_memory_host_new(e->stream, batch * vocab * sizeof *e->logits, (void **)&e->logits));
    if (px_memory_is_apart(e->stream)) PX_PASS(picks_open(e->stream, e->batch, &e->picks));
    e->candidates = malloc(2 * (size_t)e->threads * vocab * sizeof *e->candidates);
    e->raw = malloc((size_t)e->threads * vocab * sizeof *e->raw);
    if (!e->ids || !e->wanted || !e->wanted_of || !e->stretches || !e->soft_rows ||
        !e->candidates || !e->raw)
        PX_NO_MEMORY();
    return NULL;
}

px_err *px_engine_open(const px_engine_setup *setup, px_engine **out) {
    if (setup->batch < 1 || setup->batch > 4096)
        PX_FAIL(PX_BAD_INPUT, "a batch of %lld requests; 1 to 4096 is accepted",
                (long long)setup->batch);
    px_err *err = NULL;
    px_engine *e = calloc(1, sizeof *e);
    if (!e) PX_NO_MEMORY();
    e->batch = (int32_t)setup->batch;
    e->threads = setup->threads;
    e->bos = -1;
    const char *path = setup->model_path;
    if (setup->run_dir) {
        PX_PASS_TO(failed, px_run_open(setup->run_dir, setup->step, path, &e->run));
        path = e->run.model_path;
        e->soft = (int32_t)e->run.params->n_tokens;
    }
    e->model_path = strdup(path);
    if (!e->model_path) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(failed, open_model(e, setup));
    PX_PASS_TO(failed, open_text(e, setup->config));
    PX_PASS_TO(failed, take_memory(e, setup));
    *out = e;
    return NULL;
failed:
    px_engine_close(e);
    return err;
}

static void list_free(sequence_list *list) {
    for (int32_t i = 0; i < list->n; i++) sequence_free(list->items[i]);
    free(list->items);
}

void px_engine_close(px_engine *e) {
    if (!e) return;
    if (e->picks)
        px_debug("tokens: %lld by what the GPU picked, %lld by logits, %lld by logits asked for "
                 "afterwards",
                 (long long)e->counts.picked, (long long)e->counts.by_logits,
                 (long long)e->counts.by_logits_after);
    list_free(&e->waiting), list_free(&e->running), list_free(&e->kept);
    px_template_close(e->tmpl);
    px_tokenizer_close(e->tok);
    px_pass_free(e->pass);
    px_cache_free(e->cache);
    px_model_free(e->model);
    if (e->logits) px_memory_host_free(e->stream, e->logits);
    picks_close(e->picks);
    px_stream_close(e->stream);
    if (e->run.arena) px_run_close(&e->run);
    pool_fini(&e->pool);
    spelling_free(e->spell);
    free(e->model_path);
    free(e->ids), free(e->wanted), free(e->wanted_of), free(e->stretches);
    free(e->soft_rows), free(e->candidates), free(e->raw);
    free(e);
}

const px_run *px_engine_run(const px_engine *e) { return e->run.arena ? &e->run : NULL; }
const char *px_engine_weights_sha256(const px_engine *e) { return e->weights.hex; }
const char *px_engine_model_path(const px_engine *e) { return e->model_path; }
int32_t px_engine_soft_tokens(const px_engine *e) { return e->soft; }
int64_t px_engine_positions(const px_engine *e) { return e->positions; }
bool px_engine_idle(const px_engine *e) { return e->waiting.n == 0 && e->running.n == 0; }
int32_t px_engine_waiting(const px_engine *e) { return e->waiting.n; }
px_engine_counts px_engine_count(const px_engine *e) {
    px_engine_counts counts = e->counts;
    counts.rounds = px_rounds(e->stream);
    return counts;
}

px_tokenizer *px_engine_tokenizer(px_engine *e) { return e->tok; }
px_template *px_engine_template(px_engine *e) { return e->tmpl; }

px_err *px_engine_decode(const px_engine *e, const int32_t *ids, int32_t n, px_str *out) {
    const int32_t size = px_tokenizer_size(e->tok);
    for (int32_t i = 0, first = 0; i <= n; i++) {
        if (i < n && ids[i] < size) continue;
        PX_PASS(px_decode(e->tok, ids + first, i - first, false, out));
        first = i + 1;
    }
    return px_str_ok(out);
}

px_err *px_engine_ends(px_engine *e, const int32_t *ends, int n) {
    if (n > PX_ENDS_MOST) PX_FAIL(PX_RUN_FAILED, "%d tokens that end a turn", n);
    e->n_ends = n;
    if (n > 0) memcpy(e->ends, ends, (size_t)n * sizeof *ends);
    return NULL;
}

px_err *engine_spelling(px_engine *e) {
    if (e->spell) return NULL;
    return spelling_new(e->tok, e->vocab, e->ends, e->n_ends, &e->spell);
}

/* --- requests --- */

/* Is there room for the shortest answer of the request's grammar? */
static px_err *grammar_check(const px_engine *e, const px_request *request, int64_t room) {
    const px_grammar *g = request->grammar;
    if (!g) return NULL;
    if (g->spell != e->spell) PX_FAIL(PX_RUN_FAILED, "the grammar is another engine's");
    if (e->n_ends == 0 || request->how.ignore_eos)
        PX_FAIL(PX_BAD_INPUT, "an answer of a given form ends with its turn: no ignore_eos, and a "
                              "model whose turns end");
    if (px_grammar_tokens(g) > room)
        PX_FAIL(PX_BAD_INPUT,
                "an answer of the form takes %d tokens at least; there is room for "
                "%lld",
                (int)px_grammar_tokens(g), (long long)room);
    return NULL;
}

px_err *px_engine_add(px_engine *e, const px_request *request) {
    PX_PASS(px_decoding_check(&request->how));
    if (request->n < 1) PX_FAIL(PX_BAD_INPUT, "an empty prompt");
    for (int32_t i = 0; i < request->n; i++)
        if (request->ids[i] < 0 || request->ids[i] >= e->vocab)
            PX_FAIL(PX_BAD_INPUT, "token %d of the prompt; the model's vocabulary has %lld",
                    (int)request->ids[i], (long long)e->vocab);
    if (request->user >= 0 && e->soft > 0 && request->user >= e->run.params->n_users)
        PX_FAIL(PX_RUN_FAILED, "row %d of %d people", (int)request->user,
                (int)e->run.params->n_users);
    const int32_t soft = request->user >= 0 ? e->soft : 0;
    const int64_t prompt = (int64_t)request->n + soft;
    const int64_t room = PX_MIN(e->positions, (int64_t)e->pool.n * PX_PAGE);
    if (prompt >= room)
        PX_FAIL(PX_BAD_INPUT, "a prompt of %lld tokens leaves no room for an answer: %s holds %lld",
                (long long)prompt, room == e->positions ? "the model" : "the cache",
                (long long)room);
    const int64_t most = PX_MIN(prompt + request->how.max_new_tokens, room);
    PX_PASS(grammar_check(e, request, most - prompt));
    sequence *s = NULL;
    PX_PASS(sequence_new(request, soft, request->ids[0] == e->bos ? 1 : 0, (int32_t)most, e->vocab,
                         &s));
    px_err *err = list_add(&e->waiting, s);
    if (err) sequence_free(s);
    return err;
}

void px_engine_cancel(px_engine *e, const void *tag) {
    for (int32_t i = 0; i < e->waiting.n; i++)
        if (e->waiting.items[i]->request.tag == tag) {
            sequence_free(e->waiting.items[i]);
            list_remove(&e->waiting, i--);
        }
    for (int32_t i = 0; i < e->running.n; i++)
        if (e->running.items[i]->request.tag == tag) {
            sequence *s = e->running.items[i];
            list_remove(&e->running, i--);
            engine_retire(e, s);
        }
}

/* --- a pass --- */

typedef struct {
    int32_t n, n_stretches, n_people, n_wanted; /* n_people: blocks of soft tokens */
} pass_rows;

/* The id of a row in this pass: soft tokens are numbered as their embeddings stand in soft_rows. */
static int32_t pass_id(const px_engine *e, const pass_rows *p, int32_t id) {
    return id >= 0 ? id : -1 - (p->n_people * e->soft + (-1 - id) % e->soft);
}

/* The next n rows of running sequence i. */
static void take_rows(px_engine *e, pass_rows *p, int32_t i, int32_t n) {
    sequence *s = e->running.items[i];
    const int64_t block = (int64_t)e->soft * px_model_shape(e->model)->d;
    bool soft = false;
    e->stretches[p->n_stretches++] = (px_stretch){p->n, p->n + n, s->n_done, s->pages};
    for (int32_t k = 0; k < n; k++) {
        const int32_t id = s->rows[s->n_done + k];
        soft = soft || id < 0;
        e->ids[p->n + k] = pass_id(e, p, id);
    }
    if (soft) px_user_embed(e->run.params, s->request.user, e->soft_rows + block * p->n_people++);
    p->n += n;
    s->n_done += n;
    if (s->n_done == s->n_rows) {
        e->wanted_of[p->n_wanted] = i;
        e->wanted[p->n_wanted++] = p->n - 1;
    }
}

static pass_rows choose_rows(px_engine *e) {
    pass_rows p = {0};
    int32_t answers = 0;
    for (int32_t i = 0; i < e->running.n; i++)
        answers += e->running.items[i]->n_done >= e->running.items[i]->n_prompt;
    int32_t room = e->rows_max - answers;
    for (int32_t i = 0; i < e->running.n; i++) {
        const sequence *s = e->running.items[i];
        if (s->n_done >= s->n_prompt) {
            take_rows(e, &p, i, 1);
            continue;
        }
        const int32_t n = PX_MIN(room, s->n_prompt - s->n_done);
        if (n == 0) continue;
        room -= n;
        e->counts.prompt_rows += n;
        take_rows(e, &p, i, n);
    }
    return p;
}

static px_choosing choosing_of(const px_engine *e, const sequence *s) {
    return (px_choosing){.how = &s->request.how,
                         .ids = s->plain,
                         .n = s->n_plain,
                         .n_new = s->n_new,
                         .distinct = s->distinct,
                         .n_distinct = s->n_distinct,
                         .ends = e->ends,
                         .n_ends = e->n_ends,
                         .key = s->request.key,
                         .mask = s->request.grammar ? &s->mask : NULL};
}

/* By its logits, which change; the token's alternatives [logprobs] into best. */
static void choose_by_logits(px_engine *e, float *logits, const px_choosing *choice,
                             px_token *token, px_alternative *best) {
    const int64_t mine = (int64_t)omp_get_thread_num() * e->vocab;
    float *raw = e->raw + mine;
    double lse = 0;
    if (choice->how->logprobs > 0) {
        token->n_best = (int32_t)PX_MIN(choice->how->logprobs, e->vocab);
        token->best = best;
        px_best(logits, e->vocab, best, token->n_best, &lse);
        memcpy(raw, logits, (size_t)e->vocab * sizeof *raw); /* choosing changes them */
    }
    token->id = px_choose(logits, e->vocab, choice, e->candidates + 2 * mine);
    if (token->best) token->logp = (double)raw[token->id] - lse;
}

/* A token for wanted row w, id -1 where what was picked does not decide it. */
static px_token choose_one(px_engine *e, int32_t w, px_alternative *best) {
    const sequence *s = e->running.items[e->wanted_of[w]];
    const px_choosing choice = choosing_of(e, s);
    px_candidate *room = e->candidates + 2 * (int64_t)omp_get_thread_num() * e->vocab;
    px_token token = {.tag = s->request.tag, .index = s->n_new};
    if (picks_has(e->picks, w))
        token.id = picks_choose(e->picks, w, &choice, room);
    else
        choose_by_logits(e, e->logits + (int64_t)w * e->vocab, &choice, &token, best);
    return token;
}

/* Tokens that what was picked did not decide, by logits that come over now; all are counted. */
static px_err *choose_rest(px_engine *e, const pass_rows *p, px_token *tokens) {
    int32_t n = 0;
    for (int32_t w = 0; w < p->n_wanted; w++) {
        const bool picked = picks_has(e->picks, w), after = tokens[w].id < 0;
        e->counts.picked += picked && !after;
        e->counts.by_logits += e->picks && !picked;
        e->counts.by_logits_after += after;
        if (!after) continue;
        n++;
        e->running.items[e->wanted_of[w]]->n_after++;
        PX_PASS(px_model_logits(e->model, e->pass, w, e->logits + (int64_t)w * e->vocab));
    }
    if (n == 0) return NULL;
#pragma omp parallel for num_threads(e->threads) schedule(dynamic, 1)
    for (int32_t w = 0; w < p->n_wanted; w++) {
        if (tokens[w].id >= 0) continue;
        const px_choosing choice = choosing_of(e, e->running.items[e->wanted_of[w]]);
        px_candidate *room = e->candidates + 2 * (int64_t)omp_get_thread_num() * e->vocab;
        const float *logits = e->logits + (int64_t)w * e->vocab;
        tokens[w].id = px_choose_changed(logits, e->vocab, &choice, room);
    }
    return NULL;
}

static px_finish finish_of(const px_engine *e, const sequence *s, int32_t id) {
    for (int i = 0; i < e->n_ends && !s->request.how.ignore_eos; i++)
        if (id == e->ends[i]) return PX_FINISH_STOP;
    return s->n_rows + 1 >= s->most_rows ? PX_FINISH_LENGTH : PX_FINISH_NONE;
}

/* What each wanted row's grammar allows. */
static px_err *masks_fill(const px_engine *e, const pass_rows *p) {
    for (int32_t w = 0; w < p->n_wanted; w++) {
        sequence *s = e->running.items[e->wanted_of[w]];
        if (!s->request.grammar) continue;
        PX_PASS(grammar_mask(s->request.grammar, &s->form, s->most_rows - s->n_rows, &s->mask));
    }
    return NULL;
}

static px_err *choose_all(px_engine *e, const pass_rows *p, px_token_sink *sink, void *context) {
    enum { MOST_BEST = 100 };
    px_token *tokens = calloc((size_t)p->n_wanted + 1, sizeof *tokens);
    px_alternative *best = malloc(((size_t)p->n_wanted * MOST_BEST + 1) * sizeof *best);
    bool *over = calloc((size_t)e->running.n + 1, sizeof *over);
    px_err *err = NULL;
    if (!tokens || !best || !over) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, masks_fill(e, p));
#pragma omp parallel for num_threads(e->threads) schedule(dynamic, 1)
    for (int32_t w = 0; w < p->n_wanted; w++)
        tokens[w] = choose_one(e, w, best + (size_t)w * MOST_BEST);
    PX_PASS_TO(done, choose_rest(e, p, tokens));
    for (int32_t w = 0; w < p->n_wanted; w++) {
        sequence *s = e->running.items[e->wanted_of[w]];
        tokens[w].finish = finish_of(e, s, tokens[w].id);
        PX_PASS_TO(done, sequence_add(s, tokens[w].id));
        e->counts.new_tokens++;
        const bool goes_on = sink(context, &tokens[w]);
        over[e->wanted_of[w]] = !goes_on || tokens[w].finish != PX_FINISH_NONE;
    }
    for (int32_t i = e->running.n - 1; i >= 0; i--) {
        sequence *s = e->running.items[i];
        if (!over[i]) continue;
        list_remove(&e->running, i);
        engine_retire(e, s);
    }
done:
    free(tokens);
    free(best);
    free(over);
    return err;
}

/* An answer whose tokens logits decide in the end, as one drawn from a flat distribution, has them
 * come over at once. */
static void ask_picks(px_engine *e, const pass_rows *p, px_step *step) {
    enum { SHARE = 4, FIRST = 8 };
    picks_begin(e->picks);
    for (int32_t w = 0; w < p->n_wanted; w++) {
        sequence *s = e->running.items[e->wanted_of[w]];
        const px_choosing choice = choosing_of(e, s);
        if ((int64_t)SHARE * s->n_after > (int64_t)s->n_new + FIRST) s->by_logits = true;
        picks_add(e->picks, s->by_logits ? NULL : &choice, e->vocab);
    }
    picks_ask(e->picks, step);
}

px_err *px_engine_step(px_engine *e, px_token_sink *sink, void *context) {
    PX_PASS(engine_admit(e));
    if (e->running.n == 0) return NULL;
    const pass_rows p = choose_rows(e);
    px_step step = {.cache = e->cache,
                    .stretches = e->stretches,
                    .n_stretches = p.n_stretches,
                    .n = p.n,
                    .ids = e->ids,
                    .soft = e->soft_rows,
                    .n_soft = p.n_people * e->soft,
                    .rows = e->wanted,
                    .n_rows = p.n_wanted};
    e->counts.steps++;
    if (e->picks) ask_picks(e, &p, &step);
    PX_PASS(
        px_model_step(e->model, e->pass, &step, e->run.arena ? e->run.params : NULL, e->logits));
    return choose_all(e, &p, sink, context);
}
