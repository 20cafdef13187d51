/* test_place.c - threads, cores and GPUs of a rank, from what the environment says. */
#include "dist.h"
#include "px_test.h"

static const px_place_facts laptop = {.node_size = 1, .cores = 8, .cores_online = 8};

static void threads_follow_the_environment(void **state) {
    (void)state;
    px_place_facts f = laptop;
    assert_int_equal(px_place_threads(&f), 8);
    f.node_size = 3; /* three ranks share them out */
    assert_int_equal(px_place_threads(&f), 2);
    f.node_size = 9;
    assert_int_equal(px_place_threads(&f), 1);
    f.node_size = 2;
    f.cores = 4; /* bound by a launcher: its cores are its own */
    assert_int_equal(px_place_threads(&f), 4);
    f.slurm_cores = "3";
    assert_int_equal(px_place_threads(&f), 3);
    f.omp = "5";
    assert_int_equal(px_place_threads(&f), 5);
    f.omp = "many";
    assert_int_equal(px_place_threads(&f), 3);
    f.slurm_cores = "-1";
    assert_int_equal(px_place_threads(&f), 4);
    f.asked = 7;
    assert_int_equal(px_place_threads(&f), 7);
}

static void ranks_share_out_their_jobs_cores(void **state) {
    (void)state;
    int first = -1, n = -1;
    px_place_facts f = {.node_rank = 2, .node_size = 4, .cores = 8, .cores_online = 64};
    assert_false(px_place_own_cores(&f, 2, &first, &n)); /* no Slurm: the mask may be others' too */
    f.slurm_on_node = "8";
    assert_true(px_place_own_cores(&f, 2, &first, &n));
    assert_int_equal(first, 4);
    assert_int_equal(n, 2);
    assert_false(px_place_own_cores(&f, 3, &first, &n)); /* more threads than cores */
    f.slurm_on_node = "4";                               /* of a machine that is not held to it */
    assert_false(px_place_own_cores(&f, 2, &first, &n));
    f.slurm_on_node = "8";
    f.node_size = 1;
    f.node_rank = 0;
    assert_false(px_place_own_cores(&f, 2, &first, &n));
}

static void a_rank_takes_its_gpu(void **state) {
    (void)state;
    static const struct {
        const char *visible;
        int n;
    } cases[] = {{NULL, 0}, {"", 0},      {"NoDevFiles", 0}, {"-1", 0},
                 {"0", 1},  {"2,3,5", 3}, {"GPU-4f", 1},     {"0,1", 2}};
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        assert_int_equal(px_place_gpus(cases[i].visible), cases[i].n);
    assert_int_equal(px_place_gpu(0, 3), -1);
    assert_int_equal(px_place_gpu(1, 3), 0); /* the only one it sees */
    assert_int_equal(px_place_gpu(2, 1), 1);
    assert_int_equal(px_place_gpu(2, 2), -1); /* fewer than ranks */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_follow_the_environment),
                                       cmocka_unit_test(ranks_share_out_their_jobs_cores),
                                       cmocka_unit_test(a_rank_takes_its_gpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
