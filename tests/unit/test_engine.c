/* test_engine.c - answers of the engine against the model computed anew for every token; the same
 * tokens in any batch, with any threads, shared beginnings or not; choosing tokens against
 * transformers' processors. */
#include <stdlib.h>
#include <unistd.h>

#include "engine.h"
#include "files.h"
#include "px_test.h"

enum { N = 12, NEW = 24, ROOM = 512 };
static char *model_dir;

/* --- answers --- */

typedef struct {
    int32_t prompt[ROOM], n, ids[ROOM], n_new;
    px_finish finish;
    double logp[ROOM];
    int stop_after; /* the sink ends the request after so many tokens; 0: never */
} answer;

/* Prompts of many lengths; half of them begin alike, over more than a page. */
static void make_prompts(answer *answers) {
    uint32_t lcg = 7;
    for (int i = 0; i < N; i++) {
        static const int lengths[N] = {1, 90, 140, 63, 91, 200, 5, 130, 64, 77, 129, 65};
        answers[i] = (answer){.n = lengths[i]};
        for (int k = 0; k < lengths[i]; k++) {
            lcg = lcg * 1664525u + 1013904223u;
            const int common = i % 2 ? 70 : 0;
            answers[i].prompt[k] = k < common ? 20 + k % 50 : (int32_t)(3 + (lcg >> 10) % 250);
        }
    }
}

static bool take(void *context, const px_token *token) {
    answer *a = token->tag;
    (void)context;
    assert_int_equal(token->index, a->n_new);
    a->logp[a->n_new] = token->logp;
    a->ids[a->n_new++] = token->id;
    a->finish = token->finish;
    return a->stop_after == 0 || a->n_new < a->stop_after;
}

typedef struct {
    px_precision precision;
    int threads;
    int64_t batch, cache_tokens;
} setting;

static px_engine *engine_of(setting how) {
    px_config config;
    px_engine *engine = NULL;
    px_assert_ok(px_config_init(&config));
    config.precision = (int)how.precision;
    const px_engine_setup setup = {.model_path = model_dir,
                                   .step = -1,
                                   .config = &config,
                                   .threads = how.threads,
                                   .batch = how.batch,
                                   .cache_tokens = how.cache_tokens};
    px_assert_ok(px_engine_open(&setup, &engine));
    px_assert_ok(px_engine_ends(engine, NULL, 0));
    px_config_fini(&config);
    return engine;
}

static px_request request_of(answer *a, px_decoding how) {
    px_request request = {.ids = a->prompt, .n = a->n, .user = -1, .how = how, .tag = a};
    px_assert_ok(px_request_key("prompt", a->n, &request.key));
    return request;
}

static void run(px_engine *engine, answer *answers, int n, px_decoding how) {
    for (int i = 0; i < n; i++) {
        const px_request request = request_of(&answers[i], how);
        px_assert_ok(px_engine_add(engine, &request));
    }
    for (int i = 0; i < 5000 && !px_engine_idle(engine); i++)
        px_assert_ok(px_engine_step(engine, take, NULL));
    assert_true(px_engine_idle(engine));
}

static void assert_same(const answer *a, const answer *b) {
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i].n_new, b[i].n_new);
        assert_memory_equal(a[i].ids, b[i].ids, (size_t)a[i].n_new * sizeof a[i].ids[0]);
        assert_memory_equal(a[i].logp, b[i].logp, (size_t)a[i].n_new * sizeof a[i].logp[0]);
        assert_int_equal(a[i].finish, b[i].finish);
    }
}

static px_decoding greedy(void) {
    px_decoding how = px_decoding_default();
    how.max_new_tokens = NEW;
    how.logprobs = 2;
    return how;
}
static px_decoding sampled(void) {
    px_decoding how = greedy();
    how.temperature = 1.5;
    how.top_p = 0.9;
    how.top_k = 40;
    how.min_p = 0.01;
    how.repetition_penalty = 1.2;
    how.no_repeat_ngram = 3;
    how.seed = 5;
    return how;
}

/* Every way of computing gives the first way's tokens and log-probabilities, to the bit. */
static void same_text_always(void **state) {
    (void)state;
    static const setting ways[] = {{PX_PRECISION_BF16, 1, 1, 0},
                                   {PX_PRECISION_BF16, 2, 4, 0},
                                   {PX_PRECISION_BF16, 3, 32, 0},
                                   {PX_PRECISION_BF16, 1, 5, 600},
                                   {PX_PRECISION_BF16, 2, 12, 300}};
    for (int precision = PX_PRECISION_BF16; precision <= PX_PRECISION_F32; precision++)
        for (int random = 0; random < 2; random++) {
            static answer first[N], other[N];
            const px_decoding how = random ? sampled() : greedy();
            for (size_t w = 0; w < PX_COUNT(ways); w++) {
                setting way = ways[w];
                answer *answers = w ? other : first;
                way.precision = (px_precision)precision;
                px_engine *engine = engine_of(way);
                make_prompts(answers);
                run(engine, answers, N, how);
                if (w) assert_same(first, other);
                make_prompts(other); /* again, over what the cache kept */
                run(engine, other, N, how);
                assert_same(first, other);
                assert_true(px_engine_count(engine).shared_rows > 0);
                px_engine_close(engine);
            }
            for (int i = 0; i < N; i++) assert_int_equal(first[i].n_new, NEW);
        }
}

/* Greedy tokens from a fresh cache and the whole sequence for every single token. */
static void tokens_are_the_models(void **state) {
    (void)state;
    static answer answers[N];
    px_config config;
    px_source *source = NULL;
    px_stream *stream = NULL;
    px_model *model = NULL;
    px_pass *pass = NULL;
    px_engine *engine = engine_of((setting){PX_PRECISION_BF16, 2, 8, 0});
    make_prompts(answers);
    run(engine, answers, N, greedy());
    px_assert_ok(px_config_init(&config));
    px_assert_ok(px_source_open(model_dir, &source));
    px_assert_ok(px_stream_open("cpu", 2, &stream));
    px_assert_ok(px_model_new(stream, source, &config, PX_MODEL_GENERATE, &model));
    px_assert_ok(px_pass_new(model, ROOM, 1, 0, false, &pass));
    const int64_t vocab = px_model_shape(model)->vocab;
    float *logits = malloc((size_t)vocab * sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < N; i += 3) {
        static const int32_t pages[] = {5, 4, 3, 2, 1, 0, 6, 7};
        int32_t rows[ROOM], n = answers[i].n;
        memcpy(rows, answers[i].prompt, (size_t)n * sizeof *rows);
        for (int k = 0; k < NEW; k++) {
            px_cache *cache = NULL;
            px_assert_ok(px_model_cache(model, 8, &cache));
            const px_stretch whole = {0, n, 0, pages};
            const int32_t last = n - 1;
            const px_step step = {.cache = cache,
                                  .stretches = &whole,
                                  .n_stretches = 1,
                                  .n = n,
                                  .ids = rows,
                                  .rows = &last,
                                  .n_rows = 1};
            px_assert_ok(px_model_step(model, pass, &step, NULL, logits));
            int32_t best = 0;
            for (int32_t v = 1; v < vocab; v++)
                if (logits[v] > logits[best]) best = v;
            assert_int_equal(best, answers[i].ids[k]);
            rows[n++] = best;
            px_cache_free(cache);
        }
    }
    free(logits);
    px_pass_free(pass);
    px_model_free(model);
    px_stream_close(stream);
    px_source_close(source);
    px_config_fini(&config);
    px_engine_close(engine);
}

static void answers_end_where_they_should(void **state) {
    (void)state;
    static answer answers[N], again[N];
    px_engine *engine = engine_of((setting){PX_PRECISION_BF16, 1, 4, 0});
    make_prompts(answers);
    run(engine, answers, N, greedy());
    const int32_t end = answers[2].ids[5]; /* from now on this token ends a turn */
    int first = 0;
    while (answers[2].ids[first] != end) first++;
    px_assert_ok(px_engine_ends(engine, &end, 1));
    make_prompts(again);
    run(engine, again, N, greedy());
    assert_int_equal(again[2].n_new, first + 1);
    assert_int_equal(again[2].finish, PX_FINISH_STOP);
    px_decoding how = greedy();
    how.ignore_eos = true;
    make_prompts(again);
    run(engine, again, N, how);
    assert_same(answers, again);
    how = greedy();
    how.min_new_tokens = NEW;
    make_prompts(again);
    run(engine, again, N, how);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < NEW; k++) assert_int_not_equal(again[i].ids[k], end);
    make_prompts(again);
    again[3].stop_after = 4;
    px_assert_ok(px_engine_ends(engine, NULL, 0));
    run(engine, again, N, greedy());
    assert_int_equal(again[3].n_new, 4);
    assert_int_equal(again[5].n_new, NEW);
    px_engine_close(engine);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    static answer answers[N];
    px_engine *engine = engine_of((setting){PX_PRECISION_BF16, 1, 1, 64});
    make_prompts(answers);
    px_request request = request_of(&answers[5], greedy()); /* 200 tokens; the cache holds 192 */
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "leaves no room");
    request.n = 0;
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "empty prompt");
    request = request_of(&answers[4], greedy());
    request.how.top_p = 0;
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "top_p");
    const int32_t strange = 1 << 20;
    request = request_of(&answers[4], greedy());
    request.ids = &strange;
    request.n = 1;
    px_assert_error(px_engine_add(engine, &request), PX_BAD_INPUT, "vocabulary");
    request = request_of(&answers[7], greedy()); /* 130: the cache ends the answer */
    request.how.max_new_tokens = 400;
    px_assert_ok(px_engine_add(engine, &request));
    while (!px_engine_idle(engine)) px_assert_ok(px_engine_step(engine, take, NULL));
    assert_int_equal(answers[7].finish, PX_FINISH_LENGTH);
    assert_true(answers[7].n_new < 400 && answers[7].n_new + 130 <= 64 * 3 + 1);
    request = request_of(&answers[4], greedy());
    px_assert_ok(px_engine_add(engine, &request));
    px_engine_cancel(engine, &answers[4]);
    assert_true(px_engine_idle(engine));
    px_engine_close(engine);
}

/* --- choosing --- */

static bool next_number(FILE *file, double *out) {
    char text[64], *end = NULL;
    if (fscanf(file, "%63s", text) != 1) return false;
    *out = strtod(text, &end);
    assert_true(end != text && *end == 0);
    return true;
}
static double number(FILE *file) {
    double value = NAN;
    assert_true(next_number(file, &value));
    return value;
}
/* What follows the temperature; returns the number of ids. */
static int read_numbers(FILE *file, px_decoding *how, int *n_new) {
    how->top_k = (int64_t)number(file);
    how->top_p = number(file);
    how->min_p = number(file);
    how->repetition_penalty = number(file);
    how->no_repeat_ngram = (int64_t)number(file);
    how->min_new_tokens = (int64_t)number(file);
    const int n_ids = (int)number(file);
    *n_new = (int)number(file);
    return n_ids;
}

/* tests/golden/decoding.tsv: settings, ids, logits, and the probabilities that transformers'
 * processors and warpers leave. */
static void choices_follow_transformers(void **state) {
    (void)state;
    enum { DRAWS = 20000, VOCAB = 48 };
    FILE *file = fopen(PX_SOURCE_DIR "/tests/golden/decoding.tsv", "r");
    int n_cases = 0, n_new = 0;
    px_decoding how = px_decoding_default();
    assert_non_null(file);
    while (next_number(file, &how.temperature)) {
        const int n_ids = read_numbers(file, &how, &n_new);
        int32_t ids[64], distinct[64], n_distinct = 0;
        float logits[VOCAB], work[VOCAB];
        double p[VOCAB];
        int counts[VOCAB] = {0};
        px_candidate room[2 * VOCAB];
        assert_true(n_ids <= 64);
        for (int i = 0; i < n_ids; i++) {
            bool seen = false;
            ids[i] = (int32_t)number(file);
            for (int k = 0; k < i; k++) seen = seen || ids[k] == ids[i];
            if (!seen) distinct[n_distinct++] = ids[i];
        }
        for (int v = 0; v < VOCAB; v++) logits[v] = (float)number(file);
        for (int v = 0; v < VOCAB; v++) p[v] = number(file);
        const int32_t ends[] = {2, 7};
        px_choosing choice = {&how, ids, n_ids, n_new, distinct, n_distinct, ends, 2, 0, NULL};
        const int draws = how.temperature > 0 ? DRAWS : 1;
        for (int i = 0; i < draws; i++) {
            memcpy(work, logits, sizeof work);
            choice.key = (uint64_t)i;
            counts[px_choose(work, VOCAB, &choice, room)]++;
        }
        for (int v = 0; v < VOCAB; v++) {
            const double sd = sqrt(draws * p[v] * (1 - p[v]));
            if (!(fabs(counts[v] - draws * p[v]) <= 5 * sd + 0.001 * draws))
                fail_msg("case %d, token %d: drawn %d of %d times, p %g", n_cases, v, counts[v],
                         draws, p[v]);
            if (p[v] == 0) assert_int_equal(counts[v], 0);
        }
        n_cases++;
    }
    assert_true(feof(file));
    assert_int_equal(n_cases, 40);
    fclose(file);
}

static int by_x_then_id(const void *a, const void *b) {
    const px_candidate *x = a, *y = b;
    if (x->x != y->x) return x->x < y->x ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* A vocabulary too long for comparing in pairs, with ties: drawn from its tokens in order. */
static void many_are_drawn_in_order(void **state) {
    (void)state;
    enum { VOCAB = 5003, DRAWS = 300 };
    static float logits[VOCAB];
    static px_candidate sorted[VOCAB], room[2 * VOCAB];
    px_decoding how = px_decoding_default();
    uint32_t lcg = 3;
    double all = 0;
    how.temperature = 2;
    how.seed = 9;
    for (int i = 0; i < VOCAB; i++) {
        lcg = lcg * 1664525u + 1013904223u;
        logits[i] = (float)(lcg >> 24) / 16;
    }
    for (int i = 0; i < VOCAB; i++) sorted[i] = (px_candidate){i, (logits[i] - 15.9375F) / 2};
    qsort(sorted, VOCAB, sizeof *sorted, by_x_then_id);
    assert_true(sorted[0].x == 0);
    for (int i = 0; i < VOCAB; i++) all += (double)expf(sorted[i].x);
    for (uint64_t key = 0; key < DRAWS; key++) {
        const px_choosing choice = {.how = &how, .key = key};
        const double u = px_rng_uniform((px_rng){how.seed, PX_RNG_GENERATE}, key, 0);
        double sum = 0;
        int want = 0;
        while ((sum += (double)expf(sorted[want].x)) <= u * all) want++;
        assert_int_equal(px_choose(logits, VOCAB, &choice, room), sorted[want].id);
    }
}

static void best_are_the_best(void **state) {
    (void)state;
    const float logits[] = {1, 5, 3, 5, -2};
    px_alternative best[5];
    double lse = 0, sum = 0;
    px_best(logits, 5, best, 3, &lse);
    for (int i = 0; i < 5; i++) sum += exp((double)logits[i]);
    assert_true(fabs(lse - log(sum)) < 1e-6);
    assert_int_equal(best[0].id, 1);
    assert_int_equal(best[1].id, 3);
    assert_int_equal(best[2].id, 2);
    assert_true(fabs(best[2].logp - (3 - log(sum))) < 1e-6);
}

static int make_model(void **state) {
    (void)state;
    model_dir = temp_folder();
    return px_model_init_random(model_dir, "tiny", 3, 0) == NULL ? 0 : -1;
}
static int remove_model(void **state) {
    (void)state;
    px_err *err = px_dir_remove(model_dir);
    px_err_free(err);
    free(model_dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_text_always),
        cmocka_unit_test(tokens_are_the_models),
        cmocka_unit_test(answers_end_where_they_should),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(choices_follow_transformers),
        cmocka_unit_test(many_are_drawn_in_order),
        cmocka_unit_test(best_are_the_best),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
