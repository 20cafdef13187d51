/* h5.c - HDF5 files as such: making, publishing, opening, closing, and errors. See h5.h.
 *
 * Format bounds are 1.8's: readable by everything in use, and its object headers carry checksums,
 * so a damaged one is an error. Times are not tracked: the same content is the same file. Locks are
 * off: a file is published by rename, readers never see one being written, and network file systems
 * without locks work. HDF5_USE_FILE_LOCKING in the environment overrides that. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "h5_internal.h"

static herr_t deepest(unsigned n, const H5E_error2_t *link, void *out) {
    if (n == 0) snprintf(out, 512, "%s", link->desc ? link->desc : "no description");
    return 0;
}

px_err *h5_error(px_kind kind, const px_h5 *h5, const char *object, const char *what,
                 const char *file, int line) {
    char why[512] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, deepest, why);
    H5Eclear2(H5E_DEFAULT);
    for (char *at = why; *at; at++)
        if (*at == '\n') *at = ' '; /* from ctime */
    const char *hint = strstr(why, "lock") ? " (HDF5_USE_FILE_LOCKING=FALSE turns locks off)" : "";
    return px_err_new(kind, file, line, "%s: %s%s%s: HDF5: %s%s", h5->path, object ? object : "",
                      object ? ": " : "", what, why, hint);
}

size_t h5_type_size(px_h5_type type) {
    static const size_t sizes[] = {4, 8, 4, 8, 1, 8};
    return sizes[type];
}

hid_t h5_type_memory(px_h5_type type) {
    switch (type) {
    case PX_H5_F32:
        return H5T_NATIVE_FLOAT;
    case PX_H5_F64:
        return H5T_NATIVE_DOUBLE;
    case PX_H5_I32:
        return H5T_NATIVE_INT32;
    case PX_H5_I64:
        return H5T_NATIVE_INT64;
    case PX_H5_U8:
        return H5T_NATIVE_UINT8;
    case PX_H5_U64:
        return H5T_NATIVE_UINT64;
    }
    return H5I_INVALID_HID;
}

hid_t h5_type_file(px_h5_type type) {
    switch (type) {
    case PX_H5_F32:
        return H5T_IEEE_F32LE;
    case PX_H5_F64:
        return H5T_IEEE_F64LE;
    case PX_H5_I32:
        return H5T_STD_I32LE;
    case PX_H5_I64:
        return H5T_STD_I64LE;
    case PX_H5_U8:
        return H5T_STD_U8LE;
    case PX_H5_U64:
        return H5T_STD_U64LE;
    }
    return H5I_INVALID_HID;
}

hid_t h5_type_text(size_t size) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, size) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 &&
        H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        return type;
    h5_drop(type);
    return H5I_INVALID_HID;
}

void h5_drop(hid_t id) {
    if (id > 0) H5Idec_ref(id);
}

/* A value that does not fit a whole number is an error, not clipped. */
static H5T_conv_ret_t refuse_clipping(H5T_conv_except_t what, hid_t from, hid_t to,
                                      void *from_value, void *to_value, void *data) {
    (void)what, (void)from, (void)from_value, (void)to_value, (void)data;
    return H5Tget_class(to) == H5T_INTEGER ? H5T_CONV_ABORT : H5T_CONV_UNHANDLED;
}

static px_err *h5_new(const char *path, px_h5 **out) {
    H5dont_atexit(); /* HDF5's own end crashes after a file could not be closed; we close all files
                      */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* HDF5 would print its stack to stderr */
    px_h5 *h5 = calloc(1, sizeof *h5);
    if (!h5) PX_NO_MEMORY();
    h5->file = h5->transfer = H5I_INVALID_HID;
    h5->ranks = (px_ranks){.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
    h5->path = strdup(path);
    if (!h5->path) {
        free(h5);
        PX_NO_MEMORY();
    }
    *out = h5;
    return NULL;
}

static hid_t access_list(const px_h5 *h5) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool ok = access >= 0 && H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
              H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
              H5Pset_file_locking(access, false, true) >= 0;
    if (ok && h5->parallel)
        ok = H5Pset_fapl_mpio(access, h5->ranks.control, MPI_INFO_NULL) >= 0 &&
             H5Pset_coll_metadata_write(access, true) >= 0;
    if (ok) return access;
    h5_drop(access);
    return H5I_INVALID_HID;
}

/* Creates the file under its temporary name; every rank of a parallel file. */
static px_err *h5_make(px_h5 *h5) {
    px_err *err = NULL;
    hid_t access = H5I_INVALID_HID, create = H5I_INVALID_HID;
    access = access_list(h5);
    create = access >= 0 ? H5Pcreate(H5P_FILE_CREATE) : create;
    if (create < 0 || H5Pset_obj_track_times(create, false) < 0)
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, NULL, "cannot be set up");
    h5->transfer = H5Pcreate(H5P_DATASET_XFER);
    if (h5->transfer < 0 ||
        (h5->parallel && H5Pset_dxpl_mpio(h5->transfer, H5FD_MPIO_COLLECTIVE) < 0))
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, NULL, "cannot be set up");
    h5->file = H5Fcreate(h5->path_temp, H5F_ACC_TRUNC, create, access);
    if (h5->file < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, NULL, "cannot be written");
done:
    h5_drop(create);
    h5_drop(access);
    return err;
}

/* What can go wrong by the user's hand, in plain words; removes what an earlier run left behind. */
static px_err *h5_make_room(const px_h5 *h5) {
    if (px_path_is_dir(h5->path))
        PX_FAIL(PX_BAD_INPUT, "%s: is a folder, a file is to be written", h5->path);
    if (unlink(h5->path_temp) && errno != ENOENT)
        PX_FAIL(PX_BAD_INPUT, "%s: cannot be written: %s", h5->path, strerror(errno));
    FILE *file = fopen(h5->path_temp, "wb");
    if (!file) PX_FAIL(PX_BAD_INPUT, "%s: cannot be written: %s", h5->path, strerror(errno));
    fclose(file);
    return NULL;
}

px_err *px_h5_create(const char *path, px_h5 **out) {
    px_h5 *h5 = NULL;
    PX_PASS(h5_new(path, &h5));
    px_err *err = px_temp_name(path, &h5->path_temp);
    if (!err) err = h5_make_room(h5);
    if (!err) err = h5_make(h5);
    if (err) {
        px_h5_close(h5);
        return err;
    }
    *out = h5;
    return NULL;
}

px_err *px_h5_create_all(const char *path, const px_ranks *ranks, px_h5 **out) {
    if (!ranks->mpi || ranks->size == 1) return px_h5_create(path, out);
    px_h5 *h5 = NULL;
    px_err *err = h5_new(path, &h5);
    if (!err) err = px_temp_name(path, &h5->path_temp);
    if (!err && ranks->rank == 0) err = h5_make_room(h5);
    err = px_agree_all(ranks, err);
    if (err) {
        px_h5_close(h5);
        return err;
    }
    h5->ranks = *ranks;
    h5->parallel = true;
    err = px_agree_all(ranks, h5_make(h5));
    if (err) {
        px_h5_close(h5);
        return err;
    }
    *out = h5;
    return NULL;
}

static void h5_free(px_h5 *h5) {
    h5_drop(h5->transfer);
    free(h5->path);
    free(h5->path_temp);
    free(h5);
}

px_err *h5_reserve_all(px_h5 *h5, int64_t offset, int64_t bytes) {
    if (h5->ranks.rank > 0 || bytes <= 0) return px_agree_all(&h5->ranks, NULL);
    px_err *err = NULL;
    int fd = open(h5->path_temp, O_WRONLY | O_CLOEXEC);
    int why = fd < 0 || fallocate(fd, 0, offset, bytes) ? errno : 0;
    if (fd >= 0) close(fd);
    int64_t there = px_disk_free(h5->path);
    if (why == EOPNOTSUPP || why == ENOSYS) /* such a file system can only be asked */
        why = there >= 0 && there < bytes ? ENOSPC : 0;
    if (why)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%s: no room for %lld bytes, %lld are free: %s", h5->path,
                         (long long)bytes, (long long)there, strerror(why));
    return px_agree_all(&h5->ranks, err);
}

/* Room for the whole file, its structure included, before HDF5 writes the structure. */
static px_err *reserve_whole(px_h5 *h5) {
    hsize_t bytes = 0;
    if (H5Fget_filesize(h5->file, &bytes) < 0) bytes = 0;
    return h5_reserve_all(h5, 0, (int64_t)bytes);
}

px_err *px_h5_publish(px_h5 *h5) {
    px_err *err = reserve_whole(h5);
    if (err) {
        px_h5_close(h5);
        return err;
    }
    bool flushed = H5Fflush(h5->file, H5F_SCOPE_GLOBAL) >= 0;
    if (!flushed) err = h5_error(PX_RUN_FAILED, h5, NULL, "flush", __FILE__, __LINE__);
    if (H5Fclose(h5->file) < 0 && !err)
        err = h5_error(PX_RUN_FAILED, h5, NULL, "close", __FILE__, __LINE__);
    h5->file = H5I_INVALID_HID;
    err = px_agree_all(&h5->ranks, err);
    bool mine = h5->ranks.rank == 0;
    if (!err && mine) err = px_file_publish(h5->path_temp, h5->path);
    if (err && mine) unlink(h5->path_temp);
    err = px_agree_all(&h5->ranks, err);
    h5_free(h5);
    return err;
}

void px_h5_close(px_h5 *h5) {
    if (!h5) return;
    /* Closing writes the structure: emptied, a file on a full disk leaves room for that. */
    bool drop = h5->path_temp && h5->file >= 0;
    bool emptied = drop && h5->ranks.rank == 0 && truncate(h5->path_temp, 0) == 0;
    if (drop) px_any_all(&h5->ranks, emptied); /* none closes before it is empty */
    if (h5->file >= 0) H5Fclose(h5->file);
    if (h5->path_temp && h5->ranks.rank == 0) unlink(h5->path_temp);
    h5_free(h5);
}

static px_err *h5_open_read(px_h5 *h5) {
    px_err *err = NULL;
    hid_t list = H5I_INVALID_HID;
    struct stat st;
    if (stat(h5->path, &st) || access(h5->path, R_OK))
        PX_FAIL(PX_BAD_INPUT, "%s: %s", h5->path, strerror(errno));
    if (!S_ISREG(st.st_mode)) PX_FAIL(PX_BAD_INPUT, "%s: not a regular file", h5->path);
    h5->file_bytes = st.st_size;
    list = access_list(h5);
    h5->transfer = H5Pcreate(H5P_DATASET_XFER);
    if (list < 0 || h5->transfer < 0 ||
        H5Pset_type_conv_cb(h5->transfer, refuse_clipping, NULL) < 0)
        H5_FAIL_TO(done, PX_RUN_FAILED, h5, NULL, "cannot be set up");
    h5->file = H5Fopen(h5->path, H5F_ACC_RDONLY, list);
    if (h5->file < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, NULL, "not an HDF5 file, or a damaged one");
done:
    h5_drop(list);
    return err;
}

px_err *px_h5_open(const char *path, px_h5 **out) {
    px_h5 *h5 = NULL;
    PX_PASS(h5_new(path, &h5));
    px_err *err = h5_open_read(h5);
    if (err) {
        px_h5_close(h5);
        return err;
    }
    *out = h5;
    return NULL;
}

const char *px_h5_path(const px_h5 *h5) { return h5->path; }
