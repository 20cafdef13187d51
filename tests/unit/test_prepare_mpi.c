/* test_prepare_mpi.c - under mpirun: the ranks' corpus is byte for byte the one a single rank
 * writes. */
#include "data.h"
#include "px_test.h"

#include "files.h"

static px_ranks ranks;

static px_err *prepare(const px_ranks *who, const px_config *config, const char *out) {
    px_prepare job = {GOLDEN("prism"), GOLDEN("prism/model"), out, true};
    return px_prepare_all(who, config, &job);
}

static void file_is_that_of_one_rank(void **state) {
    (void)state;
    px_config config;
    char dir[64] = "/tmp/px-ranks-XXXXXX", many[80], one[80];
    if (ranks.rank == 0) assert_non_null(mkdtemp(dir));
    px_bcast_all(&ranks, dir, sizeof dir, 0);
    snprintf(many, sizeof many, "%s/many.h5", dir);
    snprintf(one, sizeof one, "%s/one.h5", dir);
    px_assert_ok(px_config_init(&config));
    px_assert_ok(prepare(&ranks, &config, many));
    config.data_strict = true;
    px_assert_error(prepare(&ranks, &config, one), PX_BAD_INPUT, "line 3");
    config.data_strict = false;
    if (ranks.rank == 0) {
        px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
        px_digest a, b;
        px_assert_ok(prepare(&alone, &config, one));
        px_assert_ok(px_sha_file(many, &a));
        px_assert_ok(px_sha_file(one, &b));
        assert_string_equal(a.hex, b.hex);
        snprintf(many, sizeof many, "%s/many.report.json", dir);
        snprintf(one, sizeof one, "%s/one.report.json", dir);
        px_assert_ok(px_sha_file(many, &a));
        px_assert_ok(px_sha_file(one, &b));
        assert_string_equal(a.hex, b.hex);
        px_assert_ok(px_dir_remove(dir));
    }
    px_config_fini(&config);
}

int main(int argc, char **argv) {
    px_err *err = px_ranks_open_all(true, &argc, &argv, &ranks);
    if (err) return 1;
    px_log_setup(ranks.rank, PX_LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(file_is_that_of_one_rank)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    px_ranks_close_all(&ranks);
    return failed;
}
