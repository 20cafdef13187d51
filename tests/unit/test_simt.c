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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
