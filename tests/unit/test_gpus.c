/* test_gpus.c - run with 1, 2 and 3 ranks: sums over device memory, by NCCL's stand-in where the
 * kernels run on the CPU, by NCCL itself on as many GPUs as there are ranks. */
#include "gpus.h"
#include "ops.h"
#include "px_test.h"

#ifdef PX_HAVE_SIMT
#define BACKEND "simt"
#else
#define BACKEND "cuda"
#endif

static px_ranks ranks;
static px_stream *s;
static px_gpus *gpus;

static int set_up(void **state) {
    (void)state;
    px_device_choose(ranks.node_rank);
    px_err *err = px_stream_open(BACKEND, 1, &s);
    px_assert_ok(px_agree_all(&ranks, err));
    px_assert_ok(px_gpus_open_all(&ranks, px_stream_handle(s), &gpus));
    assert_true((gpus != NULL) == (ranks.size > 1));
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    px_gpus_close(gpus);
    px_stream_close(s);
    return 0;
}

static void whole_numbers_are_summed_exactly(void **state) {
    (void)state;
    enum { N = 1000 };
    int64_t host[N], *there = NULL;
    void *at = NULL;
    px_assert_ok(px_memory_new(s, sizeof host, &at));
    there = at;
    for (int i = 0; i < N; i++) host[i] = ((int64_t)1 << 60) / (i + 1) * (ranks.rank - 1) + i;
    px_memory_copy(s, there, host, sizeof host);
    px_gpus_sum_i64_all(gpus, there, N);
    px_gpus_sum_i64_all(gpus, there, 0);
    px_gpus_wait_all(gpus);
    px_memory_copy(s, host, there, sizeof host);
    for (int i = 0; i < N; i++) {
        int64_t want = 0;
        for (int r = 0; r < ranks.size; r++) want += ((int64_t)1 << 60) / (i + 1) * (r - 1) + i;
        assert_true(host[i] == want);
    }
    px_memory_free(s, there);
    px_assert_ok(px_stream_ok(s));
}

/* In the stream's order without a wait between: the maximum is of the sums. */
static void sums_and_maxima_follow_the_stream(void **state) {
    (void)state;
    float host[3] = {0.5f, (float)ranks.rank, -1}, *there = NULL;
    void *at = NULL;
    px_assert_ok(px_memory_new(s, sizeof host, &at));
    there = at;
    px_memory_copy(s, there, host, sizeof host);
    px_gpus_sum_f32_all(gpus, there, 3);
    px_gpus_max_f32_all(gpus, there, 3);
    px_memory_copy(s, host, there, sizeof host); /* waits by itself */
    assert_true(host[0] == 0.5f * (float)ranks.size);
    const int numbers = ranks.size * (ranks.size - 1) / 2;
    assert_true(host[1] == (float)numbers);
    assert_true(host[2] == -(float)ranks.size);
    px_gpus_wait_all(gpus);
    px_memory_free(s, there);
    px_assert_ok(px_stream_ok(s));
}

/* Small whole numbers have no rounding. */
static void rounded_values_are_summed(void **state) {
    (void)state;
    const uint16_t one = 0x3F80, minus_two = 0xC000;
    uint16_t host[3] = {one, minus_two, (uint16_t)(ranks.rank ? 0 : one)}, *there = NULL;
    void *at = NULL;
    px_assert_ok(px_memory_new(s, sizeof host, &at));
    there = at;
    px_memory_copy(s, there, host, sizeof host);
    px_gpus_sum_bf16_all(gpus, there, 3);
    px_gpus_wait_all(gpus);
    px_memory_copy(s, host, there, sizeof host);
    const float sum[2] = {(float)ranks.size, -2 * (float)ranks.size};
    for (int i = 0; i < 2; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &sum[i], sizeof bits);
        assert_int_equal(host[i], bits >> 16);
    }
    assert_int_equal(host[2], one);
    px_memory_free(s, there);
    px_assert_ok(px_stream_ok(s));
}

int main(int argc, char **argv) {
    px_err *err = px_ranks_open_all(true, &argc, &argv, &ranks);
    if (err) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_summed_exactly),
        cmocka_unit_test(sums_and_maxima_follow_the_stream),
        cmocka_unit_test(rounded_values_are_summed),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    px_ranks_close_all(&ranks);
    return failed;
}
