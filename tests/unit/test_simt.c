/* test_simt.c - kernels on the CPU: right results in any order of blocks, and each kind of mistake
 * found and named. */
#include "px_test.h"

#include "simt_kernels.h"

static void assert_found(const char *what, const char *kernel) {
    const char *text = test_error();
    if (!text) fail_msg("not found: %s", what);
    if (!strstr(text, what) || !strstr(text, kernel)) fail_msg("%s", text);
}
static void assert_nothing_found(void) {
    const char *text = test_error();
    if (text) fail_msg("%s", text);
}
static int set_up(void **state) {
    (void)state;
    test_checks(1);
    test_order(0);
    return test_error() != NULL;
}

static void blocks_sum_in_any_order(void **state) {
    (void)state;
    enum { BLOCKS = 5 };
    int *values = device_new(BLOCKS * 96 * sizeof *values), *out = device_new(BLOCKS * sizeof *out);
    for (int i = 0; i < BLOCKS * 96; i++) values[i] = i * i % 101;
    for (int order = 0; order < 5; order++)
        for (int dynamic = 0; dynamic < 2; dynamic++) {
            test_order(order);
            memset(out, 0, BLOCKS * sizeof *out);
            test_sum(out, values, BLOCKS, dynamic);
            assert_nothing_found();
            for (int b = 0; b < BLOCKS; b++) {
                int want = 0;
                for (int i = 0; i < 96; i++) want += values[b * 96 + i];
                assert_int_equal(out[b], want);
            }
        }
    device_free(values), device_free(out);
}

static void shuffles_and_votes(void **state) {
    (void)state;
    int *out = device_new(64 * 6 * sizeof *out);
    for (int order = 0; order < 2; order++) {
        test_order(order);
        test_shuffles(out);
        assert_nothing_found();
        for (int t = 0; t < 64; t++) {
            const int lane = t % 32, first = t - lane;
            assert_int_equal(out[t * 6], t ^ 5);
            assert_int_equal(out[t * 6 + 1], lane + 3 > 31 ? t : t + 3);
            assert_int_equal(out[t * 6 + 2], lane < 3 ? t : t - 3);
            assert_int_equal(out[t * 6 + 3], 2 * (first + 7));
            assert_int_equal(out[t * 6 + 4], first ? 1 : 2);
            assert_int_equal(out[t * 6 + 5], 32 * first + 31 * 16);
        }
    }
    unsigned *votes = device_new(32 * sizeof *votes);
    test_half_votes(votes);
    assert_nothing_found();
    for (int t = 0; t < 32; t++)
        assert_int_equal(votes[t], t < 16 ? 0xAAAAu : t < 20 ? 0u : 0x49200000u);
    device_free(out), device_free(votes);
}

static void missing_barriers_are_found(void **state) {
    (void)state;
    int *values = device_new(96 * sizeof *values), *out = device_new(96 * sizeof *out);
    memset(values, 0, 96 * sizeof *values);
    test_sum_without_barrier(out, values);
    assert_found("race", "no_barrier");
    test_warp_memory(out, 1);
    assert_nothing_found();
    test_warp_memory(out, 0);
    assert_found("race", "warp_memory");
    test_blocks_write_one(out);
    assert_found("race", "blocks_write_one");
    test_checks(0); /* nothing is looked for */
    test_sum_without_barrier(out, values);
    assert_nothing_found();
    device_free(values), device_free(out);
}

static void threads_that_wait_for_ever(void **state) {
    (void)state;
    int *out = device_new(64 * sizeof *out);
    test_lost_at_barrier(out);
    assert_found("waits at a barrier", "lost_at_barrier");
    test_lost_at_shuffle(out);
    assert_found("not all of its lanes", "lost_at_shuffle");
    test_too_many_threads(out);
    assert_found("2048", "blocks_write_one");
    device_free(out);
}

static void strange_memory_is_found(void **state) {
    (void)state;
    int *out = device_new(40 * sizeof *out);
    static const int host = 3;
    int *own = malloc(sizeof *own);
    assert_non_null(own);
    *own = host;
    test_past_the_end(out, 39);
    assert_nothing_found();
    test_past_the_end(out, 40);
    assert_found("no device memory", "past_the_end");
    out[0] = 0;
    test_reads_host(out, own);
    assert_found("no device memory", "reads_host");
    free(own);
    /* The checks aside, a piece's end is looked at when it is freed. */
    test_checks(0);
    test_past_the_end(out, 40);
    assert_nothing_found();
    device_free(out);
    assert_found("past its end", "");
}

static void atomics_count(void **state) {
    (void)state;
    enum { N = 1000 };
    int *values = device_new(N * sizeof *values), *out = device_new(8 * sizeof *out);
    memset(out, 0, 8 * sizeof *out);
    for (int i = 0; i < N; i++) values[i] = i % 8;
    test_histogram(out, values, N);
    assert_nothing_found();
    for (int i = 0; i < 8; i++) assert_int_equal(out[i], N / 8);
    device_free(values), device_free(out);
}

static void fragments_multiply(void **state) {
    (void)state;
    uint16_t *a = device_new(256 * sizeof *a), *b = device_new(128 * sizeof *b);
    float *c = device_new(128 * sizeof *c), wide_a[256], wide_b[128];
    for (int i = 0; i < 256; i++) {
        wide_a[i] = (float)(i * 7 % 31 - 15) / 4;
        uint32_t bits;
        memcpy(&bits, &wide_a[i], 4);
        a[i] = (uint16_t)(bits >> 16);
    }
    for (int i = 0; i < 128; i++) {
        wide_b[i] = (float)(i * 5 % 29 - 14) / 8;
        uint32_t bits;
        memcpy(&bits, &wide_b[i], 4);
        b[i] = (uint16_t)(bits >> 16);
    }
    test_mma(c, a, b);
    assert_nothing_found();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float want = 0;
            for (int k = 0; k < 16; k++) want += wide_a[i * 16 + k] * wide_b[k * 8 + j];
            assert_true(c[i * 8 + j] == want); /* exact: few bits each */
        }
    device_free(a), device_free(b), device_free(c);
}

static void matrices_are_dealt(void **state) {
    (void)state;
    uint16_t *in = device_new(256 * sizeof *in);
    uint32_t *out = device_new(128 * sizeof *out);
    for (int i = 0; i < 256; i++) in[i] = (uint16_t)(1000 + i);
    for (int turned = 0; turned < 2; turned++) {
        test_matrices(out, in, turned, 0);
        assert_nothing_found();
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++) {
                const uint16_t *of = in + i * 64;
                const int g = lane / 4, t = lane % 4 * 2;
                const uint32_t low = turned ? of[t * 8 + g] : of[g * 8 + t];
                const uint32_t high = turned ? of[(t + 1) * 8 + g] : of[g * 8 + t + 1];
                assert_int_equal(out[lane * 4 + i], low | high << 16);
            }
    }
    test_matrices(out, in, 0, 1);
    assert_found("no multiple of 16", "matrices");
    device_free(in), device_free(out);
}

static void copies_are_waited_for(void **state) {
    (void)state;
    uint32_t *in = device_new(65 * sizeof *in), *out = device_new(64 * sizeof *out);
    for (int i = 0; i < 65; i++) in[i] = 77 + (uint32_t)i;
    test_copies(out, in, COPY_WELL);
    assert_nothing_found();
    for (int i = 0; i < 64; i++) assert_int_equal(out[63 - i], i < 60 ? 77 + i : 0);
    test_copies(out, in, COPY_NO_BARRIER);
    assert_found("race", "copies");
    test_copies(out, in, COPY_OVER_READERS);
    assert_found("race", "copies");
    test_copies(out, in, COPY_NEVER_WAIT);
    assert_found("copies under way", "copies");
    test_copies(out, in, COPY_UNALIGNED);
    assert_found("no multiple of 16", "copies");
    /* Without the checks too, what was not waited for is not there. */
    test_checks(0);
    test_copies(out, in, COPY_NO_WAIT);
    assert_nothing_found();
    for (int i = 0; i < 64; i++) assert_int_equal(out[i], UINT32_MAX);
    device_free(in), device_free(out);
}

/* What a card refuses, or fails at. */
static void launches_are_refused(void **state) {
    (void)state;
    int *out = device_new(96 * sizeof *out);
    char *bytes = device_new(256);
    memset(out, 0, 96 * sizeof *out);
    memset(bytes, 0, 256);
    test_grid(out, 0, 1);
    assert_found("a grid of 0 x 1", "blocks_write_one");
    test_grid(out, 1, 65536);
    assert_found("a grid of 1 x 65536", "blocks_write_one");
    test_grid(out, 1, 1);
    assert_nothing_found();
    assert_true(test_shared(out, 49152, 0));
    assert_nothing_found();
    assert_true(test_shared(out, 49156, 0));
    assert_found("49156 bytes of shared memory", "sum_dynamic");
    assert_true(test_shared(out, 60000, 60000));
    assert_nothing_found();
    assert_true(test_shared(out, 60004, 0));
    assert_found("60000 are allowed", "sum_dynamic");
    assert_false(test_shared(out, 96, 228 << 10));
    assert_nothing_found();
    test_words((uint32_t *)out, bytes + 8);
    assert_nothing_found();
    test_words((uint32_t *)out, bytes + 2);
    assert_found("misaligned", "words");
    assert_string_equal(test_pitch(bytes, bytes + 128, 16, 12), "");
    assert_string_equal(test_pitch(bytes, bytes + 128, 8, 12), "invalid pitch");
    assert_string_equal(test_pitch(bytes, bytes + 128, (size_t)1 << 31, 12), "invalid pitch");
    device_free(out), device_free(bytes);
}

/* Nothing happens while a stream is captured; a launch of the graph does what was asked for with
 * the arguments of then and what memory holds now, old or not. */
static void graphs_keep_arguments(void **state) {
    (void)state;
    /* In the midst of a piece: what is written there when it has been given back hurts nobody. */
    int *piece = device_new(512 * sizeof *piece), *out = piece + 256;
    int *table = pinned_new(sizeof *table), value = 5;
    out[0] = out[1] = 1;
    *table = 7;
    assert_string_equal(graph_begin(), "");
    graph_store(out, value);
    value = 6;
    assert_string_equal(graph_copy(out + 1, table, sizeof *table, 1), "");
    assert_int_equal(out[0] + out[1], 2);
    assert_string_equal(graph_end(), "");
    assert_int_equal(out[0] + out[1], 2);
    assert_string_equal(graph_launch(), "");
    assert_int_equal(out[0] + value, 11);
    assert_int_equal(out[1], 7);
    out[0] = 0;
    *table = 8;
    assert_string_equal(graph_launch(), "");
    assert_int_equal(out[0], 5);
    assert_int_equal(out[1], 8);
    assert_nothing_found();
    graph_store(out, 9); /* no longer captured */
    assert_int_equal(out[0], 9);
    /* A graph does not notice that its memory was given back: whoever looks does. */
    device_free(piece);
    assert_string_equal(graph_launch(), "");
    assert_found("no device memory", "store");
    pinned_free(table);
    graph_free();
}

static void graphs_refuse(void **state) {
    (void)state;
    static int pageable;
    int *out = device_new(sizeof *out);
    for (int what = 0; what < 4; what++) {
        const char *text = graph_begin();
        assert_string_equal(text, "");
        if (what == 0) text = graph_copy(out, &pageable, sizeof pageable, 1);
        if (what == 1) text = graph_copy(&pageable, out, sizeof pageable, 0);
        if (what == 2) text = graph_wait();
        if (what == 3) text = graph_memory();
        assert_non_null(strstr(text, "not allowed"));
        assert_non_null(strstr(graph_end(), "broken"));
    }
    assert_string_equal(graph_wait(), "");
    device_free(out);
    graph_free();
}

/* What one stream makes and the other takes, with and without waiting for it. `held` is the one
 * that holds back: it takes as late, and makes as late, as may be. */
static void streams_must_wait(int held) {
    enum { N = 4 };
    const int maker = held, taker = !held;
    int *at = device_new(N * sizeof *at), *to = device_new(N * sizeof *to);
    assert_string_equal(streams_open(held == 0), "");
    for (int i = 0; i < N; i++) at[i] = to[i] = -1;
    /* Made late, taken at once: the old value, unless it waits. */
    stream_store(maker, at, 1);
    assert_string_equal(stream_copy(taker, to, at, sizeof *to, STREAM_INSIDE), "");
    assert_int_equal(to[0], -1);
    assert_string_equal(stream_follows(taker), "");
    assert_string_equal(stream_copy(taker, to, at, sizeof *to, STREAM_INSIDE), "");
    assert_int_equal(to[0], 1);
    /* Taken late: what was made meanwhile, unless the maker waits. */
    assert_string_equal(stream_copy(maker, to + 1, at, sizeof *to, STREAM_INSIDE), "");
    stream_store(taker, at, 2);
    assert_string_equal(stream_wait(maker), "");
    assert_int_equal(to[1], 2);
    assert_string_equal(stream_copy(maker, to + 1, at, sizeof *to, STREAM_INSIDE), "");
    assert_string_equal(stream_follows(taker), "");
    stream_store(taker, at, 3);
    assert_int_equal(to[1], 2);
    assert_string_equal(stream_wait(maker), "");
    assert_int_equal(to[1], 2);
    /* In a stream's own order, held back or not. */
    for (int side = 0; side < 2; side++) {
        stream_store(side, at, 4);
        assert_string_equal(stream_zero(side, at + 1, 2 * sizeof *at), "");
        assert_string_equal(stream_copy(side, at + 2, at, sizeof *at, STREAM_INSIDE), "");
        stream_store(side, at, 5);
        int host[3] = {0};
        assert_string_equal(stream_copy(side, host, at, sizeof host, STREAM_TO_HOST), "");
        assert_int_equal(host[0] * 100 + host[1] * 10 + host[2], 504);
    }
    assert_nothing_found();
    streams_close();
    device_free(at);
    device_free(to);
}
static void side_streams_must_be_waited_for(void **state) {
    (void)state;
    streams_must_wait(1);
}
static void side_streams_must_wait(void **state) {
    (void)state;
    streams_must_wait(0);
}

/* Held back, a copy has what the host's memory held then; of pinned memory what it holds later. */
static void memory_that_is_pinned_is_read_late(void **state) {
    (void)state;
    int *at = device_new(4 * sizeof *at), *pinned = pinned_new(2 * sizeof *pinned), pageable = 1;
    assert_string_equal(streams_open(1), "");
    pinned[0] = 1;
    assert_string_equal(stream_copy(0, at, &pageable, sizeof *at, STREAM_TO_DEVICE), "");
    assert_string_equal(stream_copy(0, at + 1, pinned, sizeof *at, STREAM_TO_DEVICE), "");
    assert_string_equal(stream_copy(0, pinned + 1, at, sizeof *at, STREAM_TO_HOST), "");
    pageable = pinned[0] = 2;
    pinned[1] = 0;
    assert_string_equal(stream_wait(0), "");
    assert_int_equal(at[0], 1);
    assert_int_equal(at[1], 2);
    assert_int_equal(pinned[1] + pageable, 3);
    streams_close();
    device_free(at);
    pinned_free(pinned);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(blocks_sum_in_any_order, set_up),
        cmocka_unit_test_setup(shuffles_and_votes, set_up),
        cmocka_unit_test_setup(missing_barriers_are_found, set_up),
        cmocka_unit_test_setup(threads_that_wait_for_ever, set_up),
        cmocka_unit_test_setup(strange_memory_is_found, set_up),
        cmocka_unit_test_setup(atomics_count, set_up),
        cmocka_unit_test_setup(fragments_multiply, set_up),
        cmocka_unit_test_setup(matrices_are_dealt, set_up),
        cmocka_unit_test_setup(copies_are_waited_for, set_up),
        cmocka_unit_test_setup(launches_are_refused, set_up),
        cmocka_unit_test_setup(graphs_keep_arguments, set_up),
        cmocka_unit_test_setup(graphs_refuse, set_up),
        cmocka_unit_test_setup(side_streams_must_be_waited_for, set_up),
        cmocka_unit_test_setup(side_streams_must_wait, set_up),
        cmocka_unit_test_setup(memory_that_is_pinned_is_read_late, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
