/* joint.c - what only all ranks together can try: sums, and one file written by all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor_internal.h"
#include "io.h"

enum { ROWS = 64, COLUMNS = 257, SMALL_ROUNDS = 200, LARGE_ROUNDS = 8 };
#define LARGE ((size_t)1 << 20) /* values of 8 bytes */

/* Value i of a rank: whole numbers whose sum over ranks is known. */
static int64_t value_of(size_t i, int rank) { return (int64_t)(i % 1009) * (rank + 1) - 7 * rank; }
static int64_t sum_of(size_t i, int size) {
    const int64_t n = size;
    return (int64_t)(i % 1009) * (n * (n + 1) / 2) - 7 * (n * (n - 1) / 2);
}

/* Mean seconds of a sum of n values, over rounds; *right false where one is wrong. */
static double time_sums_all(const px_ranks *ranks, int64_t *values, size_t n, int rounds,
                            bool *right) {
    double spent = 0;
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++) values[i] = value_of(i, ranks->rank);
        px_barrier_all(ranks);
        const double start = px_now_s();
        px_sum_i64_all(ranks, values, n);
        spent += px_now_s() - start;
        for (size_t i = 0; i < n; i++) *right &= values[i] == sum_of(i, ranks->size);
    }
    return spent / rounds;
}

/* Exact sums of values that plain f32 addition would lose: 2^24 and 2^-20 on every rank. */
static bool exact_right_all(const px_ranks *ranks, px_exact *exact) {
    const float g[2] = {0x1p24f, 0x1p-20f};
    float back[2] = {0};
    size_t where = 0;
    px_exact_clear(exact);
    bool right = px_exact_add(exact, g, &where);
    px_exact_sum_all(ranks, exact);
    px_exact_get(exact, back);
    right &= back[0] == 0x1p24f * (float)ranks->size && back[1] == 0x1p-20f * (float)ranks->size;
    return right;
}

static px_err *check_sums_all(px_doctor *d, const px_ranks *ranks) {
    px_exact exact = {0};
    int64_t *values = malloc(LARGE * sizeof *values);
    px_err *err = values ? px_exact_new(2, &exact) : NULL;
    if (!values) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(ranks, err));
    bool right = true;
    time_sums_all(ranks, values, LARGE, 1, &right); /* connections are made by the first */
    double times[2] = {time_sums_all(ranks, values, 1, SMALL_ROUNDS, &right),
                       time_sums_all(ranks, values, LARGE, LARGE_ROUNDS, &right)};
    right &= exact_right_all(ranks, &exact);
    px_max_f64_all(ranks, times, 2);
    int64_t machines = ranks->node_rank == 0;
    px_sum_i64_all(ranks, &machines, 1);
    const bool wrong = px_any_all(ranks, !right);
    if (ranks->rank != 0) goto done;
    px_doctor_add(d, ranks->size == 1 ? PX_CHECK_WARNING : PX_CHECK_OK, "mpi.ranks",
                  ranks->size == 1 ? "mpirun -n N prismx doctor --mpi tries N of them" : "",
                  "%d on %lld machine%s", ranks->size, (long long)machines,
                  machines > 1 ? "s" : "");
    px_doctor_add(
        d, wrong ? PX_CHECK_PROBLEM : PX_CHECK_OK, "mpi.allreduce",
        wrong ? "this MPI adds wrongly: another version, or another transport (OMPI_MCA_btl)" : "",
        wrong ? "a sum over the ranks is wrong" : "every sum is right, exact ones too");
    px_doctor_add(d, PX_CHECK_OK, "mpi.latency", "", "%.3g us a sum of 8 bytes", 1e6 * times[0]);
    px_doctor_add(d, PX_CHECK_OK, "mpi.bandwidth", "", "%.3g GB/s of sums, 8 MiB each",
                  (double)(LARGE * sizeof *values) / times[1] / 1e9);
done:
    px_exact_free(&exact);
    free(values);
    return err;
}

/* --- one file --- */

static px_err *write_all(const px_ranks *ranks, const char *path, int64_t *row) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    const int64_t dims[2] = {ROWS, COLUMNS};
    const int64_t first = (int64_t)ROWS * ranks->rank / ranks->size;
    const int64_t n = (int64_t)ROWS * (ranks->rank + 1) / ranks->size - first;
    for (int64_t i = 0; i < n * COLUMNS; i++) row[i] = first * COLUMNS + i;
    PX_PASS_TO(done, px_h5_create_all(path, ranks, &h5));
    PX_PASS_TO(done, px_h5_write_rows_all(h5, "/rows", PX_H5_I64, 2, dims, first, n, row));
    err = px_h5_publish(h5);
    h5 = NULL;
done:
    px_h5_close(h5);
    return err;
}

static px_err *read_back(const char *path, int64_t *values) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    PX_PASS(px_h5_open(path, &h5));
    PX_PASS_TO(done, px_h5_read(h5, "/rows", PX_H5_I64, ROWS * COLUMNS, values));
    for (int64_t i = 0; i < ROWS * COLUMNS; i++)
        if (values[i] != i)
            PX_FAIL_TO(done, PX_RUN_FAILED, "%s: value %lld reads as %lld", path, (long long)i,
                       (long long)values[i]);
done:
    px_h5_close(h5);
    return err;
}

static px_err *check_file_all(px_doctor *d, const px_ranks *ranks, const char *dir) {
    char path[4096];
    int64_t pid = ranks->rank == 0 ? (int64_t)getpid() : 0;
    px_bcast_all(ranks, &pid, sizeof pid, 0);
    snprintf(path, sizeof path, "%s/.prismx-doctor-%lld.h5", dir, (long long)pid);
    int64_t *values = calloc(ROWS * COLUMNS, sizeof *values);
    px_err *err = values ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(ranks, err));
    const double start = px_now_s();
    err = px_agree_all(ranks, write_all(ranks, path, values));
    if (!err) err = px_agree_all(ranks, read_back(path, values));
    if (ranks->rank == 0) {
        if (err)
            px_doctor_add(d, PX_CHECK_PROBLEM, "hdf5.all_ranks",
                          "another folder (--dir); OMPI_MCA_io=romio321; "
                          "HDF5_USE_FILE_LOCKING=FALSE on a network file system",
                          "%s", px_err_text(err));
        else
            px_doctor_add(d, PX_CHECK_OK, "hdf5.all_ranks", "",
                          "written by all ranks and read back by each, %.3g ms",
                          1e3 * (px_now_s() - start));
        unlink(path);
    }
    px_err_free(err);
    err = NULL;
done:
    free(values);
    return err;
}

px_err *px_doctor_ranks_all(px_doctor *doctor, const px_ranks *ranks, const char *dir) {
    PX_PASS(check_sums_all(doctor, ranks));
    return check_file_all(doctor, ranks, dir);
}
