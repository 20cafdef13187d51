/* test_graphs.c - rounds of operations (ops.h): on a GPU they are replayed from CUDA graphs, with
 * the same bits as without, while tables change, batches grow and shrink, and memory moves; what
 * cannot be captured is launched as before. On the CPU a round is its operations. */
#include <unistd.h>

#include "engine.h"
#include "files.h"
#include "px_test.h"

enum { N = 7, NEW_MOST = 14, ROWS = 8, COLS = 40, VOCAB = 50 };
static char *model_dir;

static bool has_graphs(void) { return strcmp(px_test_backend(), "cpu") != 0; }

/* --- operations --- */

typedef struct {
    px_stream *s;
    px_cache *cache;
    px_mat table; /* where the backend computes */
    float *y, *z; /* there; z of the host, or there */
    float table_host[VOCAB * COLS];
} bench;

static void bench_open(bench *b) {
    void *at = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 1, &b->s));
    px_assert_ok(px_cache_new(b->s, (px_cache_shape){PX_F32, 1, 1, 8, 2}, &b->cache));
    for (int i = 0; i < VOCAB * COLS; i++) b->table_host[i] = (float)(i % 977) / 16;
    px_assert_ok(px_memory_new(b->s, sizeof b->table_host, &at));
    b->table = px_mat_of(at, PX_F32, VOCAB, COLS);
    px_memory_copy(b->s, at, b->table_host, sizeof b->table_host);
    px_assert_ok(px_memory_new(b->s, ROWS * COLS * sizeof(float), (void **)&b->y));
    px_assert_ok(px_memory_new(b->s, ROWS * COLS * sizeof(float), (void **)&b->z));
}
static void bench_close(bench *b) {
    px_cache_free(b->cache);
    px_memory_free(b->s, b->table.data), px_memory_free(b->s, b->y), px_memory_free(b->s, b->z);
    px_stream_close(b->s);
}

/* y = rows of the table, z = rows of y, from tables that differ with `seed`; how often the
 * operations were called. */
static int round_run(bench *b, int32_t n, int seed, float *z) {
    static int32_t ids[ROWS], positions[ROWS], rows[ROWS];
    static px_stretch stretches[ROWS];
    static const int32_t pages[] = {0};
    const px_cached cached = {b->cache, 0, stretches, n};
    const px_round round = {.n = n,
                            .n_rows = n,
                            .ids = ids,
                            .positions = positions,
                            .rows = rows,
                            .cached = &cached,
                            .same = {b, z}};
    float got[ROWS * COLS];
    int calls = 0;
    for (int32_t i = 0; i < n; i++) {
        ids[i] = (7 * i + 3 * seed) % VOCAB;
        rows[i] = (i + seed) % n;
        stretches[i] = (px_stretch){i, i + 1, seed + i, pages};
    }
    px_round_begin(b->s, &round);
    while (px_round_goes_on(b->s)) {
        calls++;
        px_op_embed(b->s, px_mat_of(b->y, PX_F32, n, COLS), ids, b->table, NULL);
        px_op_gather(b->s, px_mat_of(z, PX_F32, n, COLS), px_mat_of(b->y, PX_F32, n, COLS), rows);
    }
    if (z == b->z)
        px_memory_copy(b->s, got, z, (size_t)n * COLS * sizeof *got);
    else
        memcpy(got, z, (size_t)n * COLS * sizeof *got);
    px_assert_ok(px_stream_ok(b->s));
    for (int i = 0; i < n; i++)
        assert_memory_equal(got + (ptrdiff_t)i * COLS,
                            b->table_host + (ptrdiff_t)ids[rows[i]] * COLS, COLS * sizeof *got);
    return calls;
}

static void assert_rounds(const bench *b, int64_t graphs, int64_t replayed, int64_t plain,
                          int64_t refused) {
    const px_round_counts c = px_rounds(b->s);
    assert_int_equal(c.graphs, graphs);
    assert_int_equal(c.replayed, replayed);
    assert_int_equal(c.plain, plain);
    assert_int_equal(c.refused, refused);
}

/* First launched, then captured, then replayed with other tables; a shape for itself. */
static void tables_change(void **state) {
    (void)state;
    bench b;
    bench_open(&b);
    for (int i = 0; i < 6; i++)
        assert_int_equal(round_run(&b, 5, i, b.z), has_graphs() ? i < 2 : 1);
    if (has_graphs()) assert_rounds(&b, 1, 5, 1, 0);
    for (int i = 0; i < 3; i++) {
        round_run(&b, 8, i, b.z);
        round_run(&b, 5, 9 + i, b.z);
    }
    if (has_graphs()) assert_rounds(&b, 2, 10, 2, 0);
    px_round_graphs(b.s, false);
    assert_int_equal(round_run(&b, 5, 1, b.z), 1);
    if (has_graphs()) assert_rounds(&b, 2, 10, 3, 0);
    bench_close(&b);
}

/* The memory that a graph writes is given back, and others' comes in its place. */
static void memory_moves(void **state) {
    (void)state;
    bench b;
    bench_open(&b);
    for (int i = 0; i < 3; i++) round_run(&b, 4, i, b.z);
    for (int i = 0; i < 3; i++) {
        void *other = NULL;
        px_assert_ok(px_memory_new(b.s, ROWS * COLS * sizeof(float), &other));
        px_memory_free(b.s, b.y);
        b.y = other;
        assert_int_equal(round_run(&b, 4, 3 + i, b.z), 1);
        assert_int_equal(round_run(&b, 4, 5 + i, b.z), has_graphs() ? 0 : 1);
    }
    if (has_graphs()) assert_rounds(&b, 4, 8, 1, 0);
    bench_close(&b);
}

/* An operation on the host's memory cannot be captured: its round is launched as before. */
static void what_cannot_be_captured(void **state) {
    (void)state;
    bench b;
    float *host = calloc((size_t)ROWS * COLS, sizeof *host);
    assert_non_null(host);
    bench_open(&b);
    for (int i = 0; i < 4; i++)
        assert_int_equal(round_run(&b, 6, i, host), has_graphs() && i == 1 ? 2 : 1);
    if (has_graphs()) assert_rounds(&b, 0, 0, 4, 1);
    for (int i = 0; i < 3; i++) round_run(&b, 6, i, b.z); /* others still are */
    if (has_graphs()) assert_rounds(&b, 1, 2, 5, 1);
    bench_close(&b);
    free(host);
}

static void sizes_of_rounds(void **state) {
    (void)state;
    bench b;
    bench_open(&b);
    int64_t before = 0, sizes = 0;
    for (int64_t n = 1; n <= 200; n++) {
        const int64_t got = px_round_rows(b.s, n, 150);
        if (n > 150 || !has_graphs()) assert_int_equal(got, n);
        assert_true(got >= n && got >= before && (n > 150 || got <= 150) && got <= n + 15);
        sizes += got != before;
        before = got;
    }
    if (has_graphs()) assert_true(sizes < 70);
    bench_close(&b);
}

/* --- answers --- */

typedef struct {
    int32_t ids[NEW_MOST], n;
    double logp[NEW_MOST];
} answer;

static bool take(void *context, const px_token *token) {
    answer *a = token->tag;
    (void)context;
    a->logp[a->n] = token->logp;
    a->ids[a->n++] = token->id;
    return true;
}

static px_round_counts generate(px_precision precision, bool graphs, answer *answers) {
    px_config config;
    px_engine *engine = NULL;
    px_assert_ok(px_config_init(&config));
    config.precision = (int)precision;
    config.generate_graphs = graphs;
    config.device = !has_graphs() ? 0 : strcmp(px_test_backend(), "cuda") ? 2 : 1;
    const px_engine_setup setup = {
        .model_path = model_dir, .step = -1, .config = &config, .threads = 1, .batch = 5};
    px_assert_ok(px_engine_open(&setup, &engine));
    px_assert_ok(px_engine_ends(engine, NULL, 0));
    memset(answers, 0, N * sizeof *answers);
    for (int i = 0; i < N; i++) { /* they end one by one, and others come */
        int32_t prompt[80];
        const int32_t n = i == 2 ? 70 : 2 + i;
        for (int32_t k = 0; k < n; k++) prompt[k] = 3 + (k * k + 11 * i) % 240;
        px_request request = {
            .ids = prompt, .n = n, .user = -1, .how = px_decoding_default(), .tag = &answers[i]};
        request.how.max_new_tokens = NEW_MOST - i;
        request.how.logprobs = 1;
        request.how.temperature = i % 2 ? 0 : 0.8;
        request.key = (uint64_t)i;
        px_assert_ok(px_engine_add(engine, &request));
    }
    for (int i = 0; i < 200 && !px_engine_idle(engine); i++)
        px_assert_ok(px_engine_step(engine, take, NULL));
    assert_true(px_engine_idle(engine));
    const px_engine_counts counts = px_engine_count(engine);
    assert_int_equal(counts.rounds.plain + counts.rounds.replayed, counts.steps);
    px_engine_close(engine);
    px_config_fini(&config);
    return counts.rounds;
}

/* The same tokens and log-probabilities, to the bit, while the batch grows and shrinks. */
static void same_answers(void **state) {
    (void)state;
    static const px_precision ways[] = {PX_PRECISION_BF16, PX_PRECISION_F32, PX_PRECISION_Q8_0};
    const int n_ways = px_test_is_checked() ? 1 : (int)PX_COUNT(ways);
    for (int w = 0; w < n_ways; w++) {
        static answer with[N], without[N];
        const px_round_counts all = generate(ways[w], false, without);
        const px_round_counts some = generate(ways[w], true, with);
        for (int i = 0; i < N; i++) assert_int_equal(with[i].n, NEW_MOST - i);
        assert_memory_equal(with, without, sizeof with);
        assert_int_equal(all.graphs + all.replayed + all.refused + some.refused, 0);
        assert_int_equal(all.plain, some.plain + some.replayed);
        if (has_graphs()) {
            assert_true(some.graphs >= 2 && some.replayed >= 2 * some.graphs);
            assert_true(some.plain <= 12);
        }
    }
}

static int make_model(void **state) {
    (void)state;
    model_dir = temp_folder();
    return px_model_init_random(model_dir, "tiny", 3, 0) == NULL ? 0 : -1;
}
static int remove_model(void **state) {
    (void)state;
    temp_folder_end(model_dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_change),
        cmocka_unit_test(memory_moves),
        cmocka_unit_test(what_cannot_be_captured),
        cmocka_unit_test(sizes_of_rounds),
        cmocka_unit_test(same_answers),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
