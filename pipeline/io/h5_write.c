/* h5_write.c - datasets, strings and attributes into a file that is being made. See h5.h.
 *
 * In a parallel file every function here is called by all ranks with the same name, type and dims,
 * and HDF5's own calls stand under no rank-dependent branch: a rank with nothing to write selects
 * nothing. Strings are stored with a fixed length: parallel HDF5 cannot write variable ones, and
 * their heap has no checksum. */
#include <stdlib.h>
#include <string.h>

#include "h5_internal.h"

#define CALL_BYTES ((int64_t)256 << 20) /* MPI counts are int: no call moves more than this */
#define TEXTS_BYTES_MAX ((int64_t)1 << 30)

typedef struct {
    const char *name;
    hid_t type_file, type_memory; /* borrowed */
    int64_t element_bytes;
    int rank;
    const int64_t *dims;
    int64_t first, n; /* this rank's rows; all of a scalar is one row */
    const void *data;
} slab;

/* Makes the groups that lead to name, without tracked times. */
static px_err *make_groups(px_h5 *h5, const char *name) {
    px_err *err = NULL;
    hid_t create = H5I_INVALID_HID, group = H5I_INVALID_HID;
    char *path = strdup(name);
    if (!path) PX_NO_MEMORY();
    create = H5Pcreate(H5P_GROUP_CREATE);
    if (create < 0 || H5Pset_obj_track_times(create, false) < 0)
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, name, "cannot be set up");
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        htri_t there = H5Lexists(h5->file, path, H5P_DEFAULT);
        if (there == 0) group = H5Gcreate2(h5->file, path, H5P_DEFAULT, create, H5P_DEFAULT);
        if (there < 0 || (there == 0 && group < 0))
            H5_FAIL_TO(done, PX_RUN_FAILED, h5, path, "group cannot be made");
        h5_drop(group);
        group = H5I_INVALID_HID;
        *slash = '/';
    }
done:
    h5_drop(create);
    free(path);
    return err;
}

static hid_t make_space(int rank, const int64_t *dims) {
    hsize_t size[H5_RANK_MAX];
    for (int i = 0; i < rank; i++) size[i] = (hsize_t)dims[i];
    return rank ? H5Screate_simple(rank, size, NULL) : H5Screate(H5S_SCALAR);
}

/* Rows [first, first + n) of both spaces, or nothing. *memory is the caller's to close. */
static herr_t select_rows(hid_t space, const slab *s, int64_t first, int64_t n, hid_t *memory) {
    hsize_t start[H5_RANK_MAX] = {0}, count[H5_RANK_MAX];
    for (int i = 0; i < s->rank; i++) count[i] = (hsize_t)s->dims[i];
    if (s->rank) {
        start[0] = (hsize_t)first;
        count[0] = (hsize_t)n;
    }
    bool nothing = n == 0;
    for (int i = 0; i < s->rank; i++) nothing |= count[i] == 0;
    if (nothing) {
        *memory = H5Scopy(space);
        return *memory < 0 || H5Sselect_none(space) < 0 ? -1 : H5Sselect_none(*memory);
    }
    if (s->rank == 0) {
        *memory = H5Scopy(space);
        return *memory < 0 ? -1 : 0;
    }
    *memory = H5Screate_simple(s->rank, count, NULL);
    if (*memory < 0) return -1;
    return H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
}

/* This rank's rows, in as many calls as the rank with the most rows needs. After a failure the
 * calls go on, because the other ranks wait in them. */
static px_err *write_data(px_h5 *h5, hid_t dataset, hid_t space, const slab *s, int64_t most) {
    int64_t row_bytes = s->element_bytes;
    for (int i = 1; i < s->rank; i++) row_bytes *= s->dims[i];
    int64_t step = PX_MAX(1, CALL_BYTES / PX_MAX(1, row_bytes));
    px_err *err = NULL;
    for (int64_t done = 0; done < most && (!err || h5->parallel); done += step) {
        int64_t n = PX_MIN(step, PX_MAX(0, s->n - done));
        hid_t memory = H5I_INVALID_HID;
        const char *data = n ? (const char *)s->data + done * row_bytes : NULL;
        herr_t bad = select_rows(space, s, s->first + PX_MIN(done, s->n), n, &memory);
        if (bad >= 0) bad = H5Dwrite(dataset, s->type_memory, memory, space, h5->transfer, data);
        if (bad < 0 && !err)
            err = h5_error(PX_RUN_FAILED, h5, s->name, "write", __FILE__, __LINE__);
        h5_drop(memory);
    }
    return err;
}

static px_err *write_slab(px_h5 *h5, const slab *s, int64_t most) {
    px_err *err = NULL;
    hid_t space = H5I_INVALID_HID, create = H5I_INVALID_HID, dataset = H5I_INVALID_HID;
    PX_TRY_TO(done, make_groups(h5, s->name), "%s", s->name);
    space = make_space(s->rank, s->dims);
    create = H5Pcreate(H5P_DATASET_CREATE);
    /* Every row is written, so HDF5 need not fill first. */
    if (space < 0 || create < 0 || H5Pset_obj_track_times(create, false) < 0 ||
        H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY) < 0 ||
        H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) < 0)
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, s->name, "cannot be set up");
    dataset = H5Dcreate2(h5->file, s->name, s->type_file, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (dataset < 0) H5_FAIL_TO(done, PX_RUN_FAILED, h5, s->name, "dataset cannot be made");
    err =
        h5_reserve_all(h5, (int64_t)H5Dget_offset(dataset), (int64_t)H5Dget_storage_size(dataset));
    if (err) {
        H5Ldelete(h5->file, s->name, H5P_DEFAULT); /* or closing would make the file as long */
        goto done;
    }
    PX_PASS_TO(done, write_data(h5, dataset, space, s, most));
    if (H5Dclose(dataset) < 0) {
        dataset = H5I_INVALID_HID;
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, s->name, "close");
    }
    dataset = H5I_INVALID_HID;
done:
    h5_drop(dataset);
    h5_drop(create);
    h5_drop(space);
    return err;
}

static px_err *check_shape(const px_h5 *h5, const slab *s) {
    if (!h5->path_temp) PX_FAIL(PX_RUN_FAILED, "%s: is open for reading only", h5->path);
    if (s->rank < 0 || s->rank > H5_RANK_MAX)
        PX_FAIL(PX_RUN_FAILED, "%s: %s: %d dimensions, at most %d are accepted", h5->path, s->name,
                s->rank, H5_RANK_MAX);
    int64_t bytes = s->element_bytes;
    for (int i = 0; i < s->rank; i++)
        if (s->dims[i] < 0 || __builtin_mul_overflow(bytes, PX_MAX(1, s->dims[i]), &bytes))
            PX_FAIL(PX_RUN_FAILED, "%s: %s: dimension %d is %lld", h5->path, s->name, i,
                    (long long)s->dims[i]);
    int64_t rows = s->rank ? s->dims[0] : 1;
    if (s->first < 0 || s->n < 0 || s->first > rows - s->n)
        PX_FAIL(PX_RUN_FAILED, "%s: %s: rows %lld + %lld of %lld", h5->path, s->name,
                (long long)s->first, (long long)s->n, (long long)rows);
    return NULL;
}

px_err *px_h5_write(px_h5 *h5, const char *name, px_h5_type type, int rank, const int64_t *dims,
                    const void *data) {
    int64_t rows = rank > 0 ? dims[0] : 1;
    slab s = {.name = name,
              .type_file = h5_type_file(type),
              .type_memory = h5_type_memory(type),
              .element_bytes = (int64_t)h5_type_size(type),
              .rank = rank,
              .dims = dims,
              .n = h5->ranks.rank == 0 ? rows : 0,
              .data = data};
    PX_PASS(check_shape(h5, &s));
    px_err *err = write_slab(h5, &s, rows);
    return px_agree_all(&h5->ranks, err);
}

px_err *px_h5_write_rows_all(px_h5 *h5, const char *name, px_h5_type type, int rank,
                             const int64_t *dims, int64_t first, int64_t n, const void *data) {
    slab s = {name,
              h5_type_file(type),
              h5_type_memory(type),
              (int64_t)h5_type_size(type),
              rank,
              dims,
              first,
              n,
              data};
    px_err *err = check_shape(h5, &s);
    if (!err && rank < 1)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s: %s: a scalar has no rows",
                         h5->path, name);
    err = px_agree_all(&h5->ranks, err);
    if (err) return err;
    double most = (double)n;
    int64_t rows = n;
    px_max_f64_all(&h5->ranks, &most, 1);
    px_sum_i64_all(&h5->ranks, &rows, 1);
    if (rows != dims[0]) /* the rest would be whatever the disk held */
        PX_FAIL(PX_RUN_FAILED, "%s: %s: the ranks bring %lld rows of %lld", h5->path, name,
                (long long)rows, (long long)dims[0]);
    err = write_slab(h5, &s, (int64_t)most);
    return px_agree_all(&h5->ranks, err);
}

static px_err *pack_texts(const px_h5 *h5, const char *name, const char *const *texts, int64_t n,
                          int64_t size, char **out) {
    if (n * size > TEXTS_BYTES_MAX)
        PX_FAIL(PX_RUN_FAILED, "%s: %s: %lld texts of up to %lld bytes are over 1 GiB", h5->path,
                name, (long long)n, (long long)size);
    *out = calloc((size_t)PX_MAX(1, n), (size_t)size);
    if (!*out) PX_NO_MEMORY();
    for (int64_t i = 0; i < n; i++) memcpy(*out + i * size, texts[i], strlen(texts[i]));
    return NULL;
}

px_err *px_h5_write_texts(px_h5 *h5, const char *name, const char *const *texts, int64_t n) {
    bool mine = h5->ranks.rank == 0;
    int64_t size[2] = {1, n}; /* of the longest text; texts */
    for (int64_t i = 0; mine && i < n; i++) size[0] = PX_MAX(size[0], (int64_t)strlen(texts[i]));
    px_bcast_all(&h5->ranks, size, sizeof size, 0);
    char *packed = NULL;
    px_err *err = mine ? pack_texts(h5, name, texts, size[1], size[0], &packed) : NULL;
    err = px_agree_all(&h5->ranks, err);
    if (err) return err;
    hid_t type = h5_type_text((size_t)size[0]);
    slab s = {.name = name,
              .type_file = type,
              .type_memory = type,
              .element_bytes = size[0],
              .rank = 1,
              .dims = &size[1],
              .n = mine ? size[1] : 0,
              .data = packed};
    if (type < 0) err = h5_error(PX_RUN_FAILED, h5, name, "string type", __FILE__, __LINE__);
    if (!err) err = check_shape(h5, &s);
    if (!err) err = write_slab(h5, &s, size[1]);
    err = px_agree_all(&h5->ranks, err);
    h5_drop(type);
    free(packed);
    return err;
}

/* One value of `type` as attribute; an earlier one of that name is replaced. */
static px_err *write_attr(px_h5 *h5, const char *object, const char *name, hid_t type_file,
                          hid_t type_memory, const void *value) {
    px_err *err = NULL;
    hid_t space = H5I_INVALID_HID, at = H5I_INVALID_HID, attr = H5I_INVALID_HID;
    if (!h5->path_temp) PX_FAIL(PX_RUN_FAILED, "%s: is open for reading only", h5->path);
    at = H5Oopen(h5->file, object, H5P_DEFAULT);
    if (at < 0) H5_FAIL_TO(done, PX_RUN_FAILED, h5, object, "cannot be opened");
    htri_t there = H5Aexists(at, name);
    if (there < 0 || (there > 0 && H5Adelete(at, name) < 0))
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, name, "attribute cannot be replaced");
    space = H5Screate(H5S_SCALAR);
    if (space >= 0) attr = H5Acreate2(at, name, type_file, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attr < 0 || H5Awrite(attr, type_memory, value) < 0)
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, name, "attribute cannot be written");
done:
    h5_drop(attr);
    h5_drop(space);
    h5_drop(at);
    return err;
}

px_err *px_h5_write_attr_text(px_h5 *h5, const char *object, const char *name, const char *text) {
    uint64_t size = strlen(text);
    px_bcast_all(&h5->ranks, &size, sizeof size, 0);
    char *copy = calloc(1, size + 1); /* an empty text is one NUL of padding */
    px_err *err = NULL;
    if (!copy) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    err = px_agree_all(&h5->ranks, err);
    if (err) {
        free(copy);
        return err;
    }
    memcpy(copy, text, PX_MIN(size, strlen(text)));
    px_bcast_all(&h5->ranks, copy, size, 0);
    hid_t type = h5_type_text(PX_MAX(1, size));
    if (type < 0) err = h5_error(PX_RUN_FAILED, h5, name, "string type", __FILE__, __LINE__);
    if (!err) err = write_attr(h5, object, name, type, type, copy);
    err = px_agree_all(&h5->ranks, err);
    h5_drop(type);
    free(copy);
    return err;
}

px_err *px_h5_write_attr_i64(px_h5 *h5, const char *object, const char *name, int64_t value) {
    px_bcast_all(&h5->ranks, &value, sizeof value, 0);
    px_err *err = write_attr(h5, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
    return px_agree_all(&h5->ranks, err);
}
