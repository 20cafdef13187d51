/* test_card.c - a card's memory as the GPU's backend hands it out (on the CPU, kernels/simt): one
 * region taken once, pieces that are reused, what finds no room, what stands behind a piece,
 * weights and caches as large as the formulas say, and simt's own count of all that. */
#include "ops.h"
#include "px_test.h"
#include "simt_facts.h"

static px_stream *open_simt(void) {
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("simt", 1, &s));
    return s;
}
static void *take(px_stream *s, size_t bytes) {
    void *at = NULL;
    px_assert_ok(px_memory_new(s, bytes, &at));
    return at;
}
static simt_memory_facts simt_now(void) {
    simt_memory_facts facts;
    simt_memory(&facts);
    return facts;
}
static px_memory_facts facts_of(const px_stream *s) {
    px_memory_facts facts;
    assert_true(px_memory_facts_get(s, &facts));
    return facts;
}

static void pieces_come_out_of_one_region(void **state) {
    (void)state;
    enum { BYTES = 1 << 20 };
    const simt_memory_facts before = simt_now();
    px_stream *s = open_simt();
    px_assert_ok(px_memory_reserve(s, BYTES, 1000));
    assert_int_equal(simt_now().n_taken - before.n_taken, 1);
    assert_int_equal(simt_now().held - before.held, BYTES);
    char *a = take(s, 1000), *b = take(s, 70000), *c = take(s, 0);
    assert_true((uintptr_t)a % 256 == 0 && (uintptr_t)b % 256 == 0 && c != b);
    assert_true(b - a >= px_card_piece(1000) && px_card_piece(1000) >= 1000 + 256);
    px_memory_free(s, b);
    assert_ptr_equal(take(s, 60000), b); /* the first place that is large enough … */
    char *d = take(s, 70000);
    assert_true(d > c); /* … and not one that is too small */
    assert_int_equal(simt_now().n_taken - before.n_taken, 1);
    /* What finds no room comes besides, and is counted. */
    char *large = take(s, BYTES);
    assert_int_equal(simt_now().n_taken - before.n_taken, 2);
    assert_int_equal(facts_of(s).n_taken, 2);
    assert_int_equal(facts_of(s).held, 2 * BYTES);
    assert_int_equal(facts_of(s).reserved, BYTES);
    px_memory_free(s, large);
    assert_int_equal(simt_now().held - before.held, BYTES);
    px_assert_error(px_memory_reserve(s, BYTES, 0), PX_RUN_FAILED, "already");
    px_stream_close(s);
    assert_int_equal(simt_now().held, before.held);
}

/* A card of 1 MB. */
static void too_little_is_said(void **state) {
    (void)state;
    px_stream *s = open_simt();
    setenv("PX_SIMT_MEMORY", "1000000", 1);
    px_assert_error(px_memory_reserve(s, 1500000, 0), PX_BAD_INPUT, "it has 0.001 GB");
    void *half = take(s, 600000), *more = NULL;
    px_assert_error(px_memory_reserve(s, 500000, 0), PX_RUN_FAILED, "0.000 are free");
    px_assert_error(px_memory_new(s, 500000, &more), PX_RUN_FAILED, "500000 bytes");
    px_memory_free(s, half);
    px_assert_ok(px_memory_reserve(s, 500000, 0));
    unsetenv("PX_SIMT_MEMORY");
    px_stream_close(s);
}

/* Inside a region too: a copy that goes past its piece, and one to what was given back. */
static void the_region_is_watched(void **state) {
    (void)state;
    char host[512] = {0};
    px_stream *s = open_simt();
    px_assert_ok(px_memory_reserve(s, 1 << 16, 0));
    char *a = take(s, 300);
    px_memory_copy(s, a, host, 300);
    px_assert_ok(px_stream_ok(s));
    px_memory_copy(s, host, a, 301);
    px_assert_error(px_stream_ok(s), PX_RUN_FAILED, "simt: copy");
    px_memory_free(s, a);
    px_memory_zero(s, a, 300);
    px_assert_error(px_stream_ok(s), PX_RUN_FAILED, "simt: memset");
    px_stream_close(s);
}

static void formulas_are_what_is_taken(void **state) {
    (void)state;
    static const int packs[] = {PX_PACK_FORWARD, PX_PACK_FORWARD | PX_PACK_Q8,
                                PX_PACK_PANELS | PX_PACK_Q4, PX_PACK_ROWS | PX_PACK_Q8};
    enum { OUT = 70, IN = 45 };
    float rows[OUT * IN] = {0};
    for (size_t i = 0; i < PX_COUNT(packs); i++) {
        px_stream *s = open_simt();
        px_weight *w = NULL;
        px_assert_ok(px_memory_reserve(s, 1 << 20, 0));
        const int64_t before = facts_of(s).reach;
        px_assert_ok(px_weight_new(s, px_mat_of(rows, PX_F32, OUT, IN), PX_BF16, packs[i], &w));
        /* Rounded on the way, its source went through scratch: that is no part of the weight. */
        const int64_t staged = facts_of(s).scratch ? px_card_piece(facts_of(s).scratch) : 0;
        assert_in_range(facts_of(s).reach - before, px_card_weight(OUT, IN, PX_BF16, packs[i]),
                        px_card_weight(OUT, IN, PX_BF16, packs[i]) + staged);
        assert_int_equal(facts_of(s).n_taken, 1);
        px_weight_free(w);
        px_stream_close(s);
    }
    const px_cache_shape shape = {PX_BF16, 3, 2, 16, 5};
    px_stream *s = open_simt();
    px_cache *cache = NULL;
    px_assert_ok(px_memory_reserve(s, 1 << 20, 0));
    const int64_t before = facts_of(s).reach;
    px_assert_ok(px_cache_new(s, shape, &cache));
    assert_int_equal(facts_of(s).reach - before, px_card_cache(shape));
    px_cache_free(cache);
    px_stream_close(s);
}

/* The loss head's scratch, which is the largest of a slot's. */
static void scratch_is_what_is_used(void **state) {
    (void)state;
    enum { N = 30, D = 16, V = 300 };
    static float table[V * D], h[N * D], ew[N * D], lse[N];
    static double logp[N];
    int32_t row[N], id[N];
    for (int i = 0; i < N; i++) row[i] = i, id[i] = i;
    px_stream *s = open_simt();
    px_weight *w = NULL;
    const px_card_slot slot = {
        .type = PX_F32, .rows = N, .wanted = N, .d = D, .n_heads = 1, .vocab = V, .backward = true};
    const int64_t scratch = px_card_scratch(&slot);
    px_assert_ok(px_memory_reserve(s, 1 << 20, (size_t)scratch));
    px_assert_ok(px_weight_new(s, px_mat_of(table, PX_F32, V, D), PX_F32, PX_PACK_ROWS, &w));
    float *h_there = take(s, sizeof h), *ew_there = take(s, sizeof ew),
          *lse_there = take(s, sizeof lse);
    px_memory_copy(s, h_there, h, sizeof h);
    px_op_head(s, logp, lse_there, px_mat_of(ew_there, PX_F32, N, D),
               px_mat_of(h_there, PX_F32, N, D), w, (px_targets){row, id, N});
    px_assert_ok(px_stream_ok(s));
    assert_int_equal(facts_of(s).scratch, scratch);
    assert_int_equal(facts_of(s).n_taken, 1);
    px_weight_free(w);
    px_stream_close(s);
}

/* Where an adapter's gradient takes most. */
static void adapters_scratch_is_what_is_used(void **state) {
    (void)state;
    enum { N = 600, IN = 400, R = 24 };
    static float a[R * IN], du[N * R];
    static uint16_t x[N * IN];
    static uint64_t keys[N];
    px_stream *s = open_simt();
    const px_card_slot slot = {.type = PX_BF16,
                               .rows = N,
                               .wanted = 1,
                               .d = IN,
                               .n_heads = 1,
                               .vocab = 10,
                               .adapters = (int64_t)R * IN,
                               .backward = true};
    const int64_t scratch = px_card_scratch(&slot);
    px_assert_ok(px_memory_reserve(s, 1 << 23, (size_t)scratch));
    float *a_there = take(s, sizeof a), *da_there = take(s, sizeof a), *du_there;
    uint16_t *x_there = (uint16_t *)(void *)take(s, sizeof x);
    du_there = take(s, sizeof du);
    px_memory_copy(s, a_there, a, sizeof a), px_memory_copy(s, da_there, a, sizeof a);
    px_memory_copy(s, x_there, x, sizeof x), px_memory_copy(s, du_there, du, sizeof du);
    px_op_lora_down_backward(s, (px_mat){0}, da_there, du_there, px_mat_of(x_there, PX_BF16, N, IN),
                             a_there, R, (px_dropout){0.1, 1, 2, keys});
    px_assert_ok(px_stream_ok(s));
    assert_int_equal(facts_of(s).scratch, scratch);
    assert_int_equal(facts_of(s).n_taken, 1);
    px_stream_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_out_of_one_region),
        cmocka_unit_test(too_little_is_said),
        cmocka_unit_test(the_region_is_watched),
        cmocka_unit_test(formulas_are_what_is_taken),
        cmocka_unit_test(scratch_is_what_is_used),
        cmocka_unit_test(adapters_scratch_is_what_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
