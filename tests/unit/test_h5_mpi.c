/* test_h5_mpi.c - HDF5 by all ranks: the content does not depend on their number, and what goes
 * wrong on one rank is an error on all. Run on 1, 2 and 3 ranks. */
#include "px_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "h5.h"

static px_ranks ranks;
static char path[64]; /* one name a rank count: ctest may run them side by side */

#define ROWS 101
#define WIDTH 7

static double value_at(int64_t row, int64_t column) { return (double)(row * 1000 + column) / 3; }

/* Rank r's rows: uneven shares, and with three ranks none for the second. */
static void my_rows(int64_t *first, int64_t *n) {
    int64_t cut[4] = {0, ROWS, ROWS, ROWS};
    if (ranks.size == 2) cut[1] = 13;
    if (ranks.size == 3) cut[1] = cut[2] = 64;
    *first = cut[ranks.rank];
    *n = cut[ranks.rank + 1] - cut[ranks.rank];
}

static void write_file(void) {
    px_h5 *h5 = NULL;
    int64_t first = 0, n = 0;
    double data[ROWS][WIDTH];
    my_rows(&first, &n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < WIDTH; j++) data[i][j] = value_at(first + i, j);
    float whole[3] = {1, 2, 3};
    for (int i = 0; ranks.rank && i < 3; i++) whole[i] = -9; /* rank 0's count */
    char text[32];
    snprintf(text, sizeof text, "rank %d%s", ranks.rank, ranks.rank ? " has more" : "");
    const char *texts[] = {text, "", "x"};
    px_assert_ok(px_h5_create_all(path, &ranks, &h5));
    px_assert_ok(px_h5_write_rows_all(h5, "/a/rows", PX_H5_F64, 2, (int64_t[]){ROWS, WIDTH}, first,
                                      n, data));
    px_assert_ok(px_h5_write_rows_all(h5, "/a/none", PX_H5_F64, 1, (int64_t[]){0}, 0, 0, NULL));
    px_assert_ok(px_h5_write(h5, "/a/whole", PX_H5_F32, 1, (int64_t[]){3}, whole));
    px_assert_ok(px_h5_write(h5, "/scalar", PX_H5_F32, 0, NULL, whole));
    px_assert_ok(px_h5_write_texts(h5, "/ids", texts, ranks.rank ? 1 : 3));
    px_assert_ok(px_h5_write_texts(h5, "/no_ids", NULL, 0));
    px_assert_ok(px_h5_write_attr_text(h5, "/a", "text", text));
    px_assert_ok(px_h5_write_attr_text(h5, "/a", "empty", ""));
    px_assert_ok(px_h5_write_attr_i64(h5, "/", "step", 5 + ranks.rank));
    px_assert_ok(px_h5_publish(h5));
}

static void content_does_not_depend_on_ranks(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    static double data[ROWS][WIDTH];
    float whole[3], scalar[1];
    const char **texts = NULL, *text = NULL;
    int64_t n = 0, step = 0;
    write_file();
    px_assert_ok(px_arena_new(4096, &arena));
    px_assert_ok(px_h5_open(path, &h5));
    px_assert_ok(px_h5_read(h5, "/a/rows", PX_H5_F64, ROWS * WIDTH, data));
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < WIDTH; j++) assert_true(data[i][j] == value_at(i, j));
    px_assert_ok(px_h5_read(h5, "/a/none", PX_H5_F64, 0, NULL));
    px_assert_ok(px_h5_read(h5, "/a/whole", PX_H5_F32, 3, whole));
    px_assert_ok(px_h5_read(h5, "/scalar", PX_H5_F32, 1, scalar));
    assert_true(whole[0] == 1 && whole[1] == 2 && whole[2] == 3 && scalar[0] == 1);
    px_assert_ok(px_h5_read_texts(h5, "/ids", arena, &texts, &n));
    assert_int_equal(n, 3);
    assert_string_equal(texts[0], "rank 0");
    assert_string_equal(texts[1], "");
    assert_string_equal(texts[2], "x");
    px_assert_ok(px_h5_read_texts(h5, "/no_ids", arena, &texts, &n));
    assert_int_equal(n, 0);
    px_assert_ok(px_h5_read_attr_text(h5, "/a", "text", arena, &text));
    assert_string_equal(text, "rank 0");
    px_assert_ok(px_h5_read_attr_text(h5, "/a", "empty", arena, &text));
    assert_string_equal(text, "");
    px_assert_ok(px_h5_read_attr_i64(h5, "/", "step", &step));
    assert_int_equal(step, 5);
    px_h5_close(h5);
    px_arena_free(arena);
    px_barrier_all(&ranks);
}

static void a_wrong_rank_is_an_error_on_all(void **state) {
    (void)state;
    px_h5 *h5 = NULL;
    double data[4] = {0};
    int64_t dims[] = {4};
    bool last = ranks.rank == ranks.size - 1;
    px_assert_ok(px_h5_create_all(path, &ranks, &h5));
    px_assert_error(px_h5_write_rows_all(h5, "/a", PX_H5_F64, 1, dims, last ? 3 : 0, 2, data),
                    PX_RUN_FAILED, "rows 3 + 2 of 4");
    px_assert_error(px_h5_write_rows_all(h5, "/a", PX_H5_F64, 1, dims, 0, last ? 3 : 0, data),
                    PX_RUN_FAILED, "the ranks bring 3 rows of 4");
    px_assert_ok(px_h5_write(h5, "/b", PX_H5_F64, 1, dims, data));
    px_assert_error(px_h5_write(h5, "/b", PX_H5_F64, 1, dims, data), PX_RUN_FAILED, "/b");
    px_h5_close(h5);
    px_barrier_all(&ranks);
    assert_true(px_path_exists(path)); /* the one published before */
    px_h5 *none = NULL;
    px_assert_error(px_h5_create_all("/no/such/folder/x.h5", &ranks, &none), PX_BAD_INPUT,
                    "No such file");
    px_assert_error(px_h5_create_all("/", &ranks, &none), PX_BAD_INPUT, "folder");
    px_barrier_all(&ranks);
    if (ranks.rank == 0) unlink(path);
}

/* A limit on the size of files stands for a full disk: found before HDF5 writes, nothing left
 * behind, and the program goes on. */
static void a_full_disk_is_an_error_on_all(void **state) {
    (void)state;
    static const double data[100000];
    px_h5 *h5 = NULL;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = (struct rlimit){.rlim_cur = 300000, .rlim_max = old.rlim_max};
    px_assert_ok(px_h5_create_all(path, &ranks, &h5));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    px_assert_ok(px_h5_write(h5, "/a/fits", PX_H5_F64, 1, (int64_t[]){1000}, data));
    px_assert_error(px_h5_write(h5, "/a/not", PX_H5_F64, 1, (int64_t[]){100000}, data),
                    PX_RUN_FAILED, "no room for 800000 bytes");
    px_h5_close(h5);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    px_barrier_all(&ranks);
    assert_false(px_path_exists(path));
    write_file();
    px_barrier_all(&ranks);
    if (ranks.rank == 0) unlink(path);
}

int main(int argc, char **argv) {
    px_err *err = px_ranks_open_all(true, &argc, &argv, &ranks);
    if (err) return 1;
    snprintf(path, sizeof path, "test_h5_mpi_%d.tmp.h5", ranks.size);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_does_not_depend_on_ranks),
        cmocka_unit_test(a_wrong_rank_is_an_error_on_all),
        cmocka_unit_test(a_full_disk_is_an_error_on_all),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    px_ranks_close_all(&ranks);
    return failed;
}
