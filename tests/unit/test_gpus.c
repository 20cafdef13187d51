/* test_gpus.c - run with 1, 2 and 3 ranks: sums over device memory, by NCCL's stand-in where the
 * kernels run on the CPU, by NCCL itself on as many GPUs as there are ranks. */
#include "gpus.h"
#include "ops.h"
#include "px_test.h"

#ifdef PX_HAVE_SIMT
#define BACKEND "simt"
void simt_hold_main(int on); /* kernels/simt/simt.h */
#define HOLD(main) simt_hold_main(main)
#else
#define BACKEND "cuda"
#define HOLD(main) (void)(main)
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

/* In the order in which they were asked for: the maximum is of the sums. */
static void sums_and_maxima_are_in_order(void **state) {
    (void)state;
    float host[3] = {0.5f, (float)ranks.rank, -1}, *there = NULL;
    void *at = NULL;
    px_assert_ok(px_memory_new(s, sizeof host, &at));
    there = at;
    px_memory_copy(s, there, host, sizeof host);
    px_gpus_sum_f32_all(gpus, there, 3);
    px_gpus_max_f32_all(gpus, there, 3);
    px_gpus_wait_all(gpus);
    px_memory_copy(s, host, there, sizeof host);
    assert_true(host[0] == 0.5f * (float)ranks.size);
    const int numbers = ranks.size * (ranks.size - 1) / 2;
    assert_true(host[1] == (float)numbers);
    assert_true(host[2] == -(float)ranks.size);
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

/* Parts of one piece are made, summed and made anew while others are under way: a sum waits for
 * what its part was asked to hold, and what comes after the wait for it. With simt's main stream
 * held back, and its side stream. */
static void sums_run_beside(void **state) {
    (void)state;
    enum { PARTS = 8, N = 600 };
    static int64_t high[PARTS * N], low[PARTS * N];
    static float g[PARTS * N], got[PARTS * N];
    void *at = NULL;
    uint64_t *bad = NULL, none = PX_EXACT_FINE;
    int64_t *up = NULL, *down = NULL;
    for (int i = 0; i < PARTS * N; i++) g[i] = (float)(i * (ranks.rank + 1)) / 8;
    for (int held = 0; held < 2; held++) {
        HOLD(held);
        px_assert_ok(px_memory_new(s, sizeof high + sizeof low + sizeof *bad, &at));
        up = at, down = up + (ptrdiff_t)PARTS * N, bad = (uint64_t *)(down + (ptrdiff_t)PARTS * N);
        px_memory_zero(s, at, sizeof high + sizeof low);
        px_memory_copy(s, bad, &none, sizeof none);
        for (ptrdiff_t p = 0; p < PARTS; p++) {
            px_op_exact_add(s, up + p * N, down + p * N, g + p * N, N, bad);
            px_gpus_sum_i64_all(gpus, up + p * N, N);
            px_gpus_sum_i64_all(gpus, down + p * N, N);
        }
        px_gpus_wait_all(gpus);
        px_op_exact_get(s, got, up, down, (int64_t)PARTS * N);
        const int all = ranks.size * (ranks.size + 1) / 2;
        for (int i = 0; i < PARTS * N; i++) assert_true(got[i] == (float)(i * all) / 8);
        px_assert_ok(px_stream_ok(s));
        px_memory_free(s, at);
        HOLD(0);
    }
}

/* Registered where all ranks' memory could be; the sums are the same. */
static void memory_is_registered(void **state) {
    (void)state;
    enum { N = 100 };
    px_gpus *own = NULL;
    for (int how = 0; how < 2; how++) {
        int64_t host[N];
        px_gpus_close(gpus); /* simt has one communicator at a time */
        px_assert_ok(px_gpus_open_all(&ranks, px_stream_handle(s), &own));
        gpus = own;
        int64_t *at = px_gpus_memory_new(sizeof host);
        assert_non_null(at);
        if (how == 1) setenv("PX_SIMT_REGISTER", "1", 1); /* rank 1 cannot */
        const bool is = px_gpus_register_all(own, at, sizeof host);
#ifdef PX_HAVE_SIMT
        assert_int_equal(is, ranks.size > 1 && how == 0);
#else
        (void)is;
#endif
        unsetenv("PX_SIMT_REGISTER");
        for (int i = 0; i < N; i++) host[i] = i + ranks.rank;
        px_memory_copy(s, at, host, sizeof host);
        px_gpus_sum_i64_all(own, at + 10, N - 10);
        px_gpus_wait_all(own);
        px_memory_copy(s, host, at, sizeof host);
        for (int i = 10; i < N; i++)
            assert_int_equal(host[i], i * ranks.size + ranks.size * (ranks.size - 1) / 2);
        px_assert_ok(px_stream_ok(s));
        px_gpus_close(own);
        px_gpus_memory_free(at);
        px_assert_ok(px_stream_ok(s));
        px_assert_ok(px_gpus_open_all(&ranks, px_stream_handle(s), &gpus));
    }
}

#ifdef PX_HAVE_SIMT
static void assert_breach(const char *what) {
    px_err *err = px_stream_ok(s);
    assert_non_null(err);
    assert_non_null(strstr(px_err_text(err), what));
    px_err_free(err);
}

/* What NCCL works on may not be touched, and what it knows may not be given back. */
static void memory_that_is_lent_is_left_alone(void **state) {
    (void)state;
    int64_t host[64] = {0}, *at = NULL;
    if (ranks.size == 1) return;
    assert_non_null(at = px_gpus_memory_new(sizeof host));
    px_memory_zero(s, at, sizeof host);
    px_gpus_sum_i64_all(gpus, at, 32);
    px_memory_copy(s, host, at + 32, 32 * sizeof *at);
    px_assert_ok(px_stream_ok(s));
    px_memory_copy(s, host, at + 31, sizeof *at);
    assert_breach("which a collective works on");
    px_memory_zero(s, at, 1);
    px_op_exact_carry(s, at + 32, at + 48, 16);
    assert_breach("which a collective works on");
#ifdef __SANITIZE_ADDRESS__ /* kernels are looked at */
    px_op_exact_carry(s, at + 32, at + 16, 16);
    assert_breach("exact_carry: thread 0 of block 0");
#endif
    px_gpus_wait_all(gpus);
    px_memory_copy(s, host, at, sizeof host);
    px_assert_ok(px_stream_ok(s));
    assert_true(px_gpus_register_all(gpus, at, sizeof host));
    px_gpus_memory_free(at);
    px_memory_zero(s, at, 0);
    px_op_exact_carry(s, host, host, 1);
    assert_breach("registered with a communicator");
}
#endif

int main(int argc, char **argv) {
    px_err *err = px_ranks_open_all(true, &argc, &argv, &ranks);
    if (err) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_summed_exactly),
        cmocka_unit_test(sums_and_maxima_are_in_order),
        cmocka_unit_test(rounded_values_are_summed),
        cmocka_unit_test(sums_run_beside),
        cmocka_unit_test(memory_is_registered),
#ifdef PX_HAVE_SIMT
        cmocka_unit_test(memory_that_is_lent_is_left_alone), /* the last: it leaves a mess */
#endif
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    px_ranks_close_all(&ranks);
    return failed;
}
