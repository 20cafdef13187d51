/* h5_read.c - datasets, strings and attributes out of a file that may be damaged or hostile. See
 * h5.h.
 *
 * Nothing in the file is believed before it is checked: only plain little- or big-endian numbers
 * and strings are read (HDF5's general conversions trust bit fields of the file), only data that
 * lie in this file (no external files, no virtual datasets), and no size beyond what the file's own
 * length allows. */
#include <stdlib.h>
#include <string.h>

#include "h5_internal.h"

/* Deflate packs at most 1032 to 1; other filters in use pack less. */
#define PACKED_MOST 1100

typedef struct {
    hid_t id, space, type;
    int rank;
    int64_t dims[H5_RANK_MAX];
    int64_t total;     /* elements */
    size_t type_bytes; /* of one element in the file */
} dataset;

static void dataset_close(dataset *d) {
    h5_drop(d->type);
    h5_drop(d->space);
    h5_drop(d->id);
}

/* The data are in this file, and not more of them than it can hold. */
static px_err *check_storage(px_h5 *h5, const char *name, const dataset *d) {
    px_err *err = NULL;
    hid_t create = H5Dget_create_plist(d->id);
    if (create < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "damaged");
    H5D_layout_t layout = H5Pget_layout(create);
    if (layout < 0 || layout == H5D_VIRTUAL || H5Pget_external_count(create) != 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: its data lie in other files, which is not accepted",
                   h5->path, name);
    if (d->total == 0) goto done;
    /* HDF5 would give fill values for what was never stored, however much of it. */
    uint64_t stored = PX_MIN(H5Dget_storage_size(d->id), (uint64_t)h5->file_bytes);
    uint64_t packed = H5Pget_nfilters(create) == 0 ? 1 : PACKED_MOST;
    if ((uint64_t)d->total > stored * packed / d->type_bytes)
        PX_FAIL_TO(done, PX_BAD_INPUT,
                   "%s: %s: states %lld elements of %zu bytes, %llu bytes of it are in the file",
                   h5->path, name, (long long)d->total, d->type_bytes, (unsigned long long)stored);
done:
    h5_drop(create);
    return err;
}

static px_err *dataset_open(px_h5 *h5, const char *name, dataset *d) {
    *d = (dataset){.id = H5I_INVALID_HID, .space = H5I_INVALID_HID, .type = H5I_INVALID_HID};
    px_err *err = NULL;
    hsize_t dims[H5S_MAX_RANK];
    if (!px_h5_has(h5, name)) PX_FAIL(PX_BAD_INPUT, "%s: %s is not in the file", h5->path, name);
    d->id = H5Dopen2(h5->file, name, H5P_DEFAULT);
    if (d->id < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "not a dataset, or a damaged one");
    d->space = H5Dget_space(d->id);
    d->type = d->space >= 0 ? H5Dget_type(d->id) : d->type;
    if (d->type < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "damaged");
    d->rank = H5Sget_simple_extent_ndims(d->space);
    d->type_bytes = H5Tget_size(d->type);
    if (d->rank < 0 || d->rank > H5_RANK_MAX || d->type_bytes == 0 ||
        H5Sget_simple_extent_type(d->space) == H5S_NULL)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: %d dimensions, 0 to %d are accepted", h5->path,
                   name, d->rank, H5_RANK_MAX);
    H5Sget_simple_extent_dims(d->space, dims, NULL);
    d->total = 1;
    for (int i = 0; i < d->rank; i++) {
        d->dims[i] = (int64_t)dims[i];
        if (dims[i] > INT64_MAX || __builtin_mul_overflow(d->total, d->dims[i], &d->total))
            PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: dimension %d of %llu is impossible", h5->path,
                       name, i, (unsigned long long)dims[i]);
    }
    PX_PASS_TO(done, check_storage(h5, name, d));
done:
    if (err) dataset_close(d);
    return err;
}

static bool is_plain_number(hid_t type) {
    const hid_t plain[] = {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_I32LE,  H5T_STD_I64LE,
                           H5T_STD_U8LE,   H5T_STD_U64LE,  H5T_STD_U32LE,  H5T_STD_I8LE,
                           H5T_STD_I16LE,  H5T_STD_U16LE,  H5T_IEEE_F32BE, H5T_IEEE_F64BE,
                           H5T_STD_I32BE,  H5T_STD_I64BE,  H5T_STD_U32BE,  H5T_STD_U64BE,
                           H5T_STD_I16BE,  H5T_STD_U16BE};
    for (size_t i = 0; i < PX_COUNT(plain); i++)
        if (H5Tequal(type, plain[i]) > 0) return true;
    return false;
}

static px_err *check_number(const px_h5 *h5, const char *name, const dataset *d) {
    if (is_plain_number(d->type)) return NULL;
    PX_FAIL(PX_BAD_INPUT, "%s: %s: holds %s, wanted f32, f64 or whole numbers of up to 64 bits",
            h5->path, name, H5Tget_class(d->type) == H5T_STRING ? "strings" : "other things");
}

bool px_h5_has(px_h5 *h5, const char *name) {
    if (strcmp(name, "/") == 0) return true;
    char *path = strdup(name);
    bool there = path != NULL;
    /* H5Lexists fails where a group on the way is missing, so each is asked for in turn. */
    for (char *at = path; there && at;) {
        at = strchr(at + 1, '/');
        if (at) *at = 0;
        there = H5Lexists(h5->file, path, H5P_DEFAULT) > 0 &&
                H5Oexists_by_name(h5->file, path, H5P_DEFAULT) > 0;
        if (at) *at = '/';
    }
    free(path);
    return there;
}

px_err *px_h5_dims(px_h5 *h5, const char *name, int *rank, int64_t dims[8]) {
    dataset d;
    PX_PASS(dataset_open(h5, name, &d));
    *rank = d.rank;
    memcpy(dims, d.dims, sizeof d.dims);
    dataset_close(&d);
    return NULL;
}

static px_err *read_all(px_h5 *h5, const char *name, const dataset *d, hid_t memory, void *data) {
    if (d->total == 0) return NULL;
    if (H5Dread(d->id, memory, H5S_ALL, H5S_ALL, h5->transfer, data) < 0)
        return h5_error(PX_BAD_INPUT, h5, name, "cannot be read", __FILE__, __LINE__);
    return NULL;
}

px_err *px_h5_read(px_h5 *h5, const char *name, px_h5_type type, int64_t n, void *data) {
    dataset d;
    px_err *err = NULL;
    PX_PASS(dataset_open(h5, name, &d));
    if (d.total != n)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: has %lld elements, wanted %lld", h5->path, name,
                   (long long)d.total, (long long)n);
    PX_PASS_TO(done, check_number(h5, name, &d));
    err = read_all(h5, name, &d, h5_type_memory(type), data);
done:
    dataset_close(&d);
    return err;
}

px_err *px_h5_read_rows(px_h5 *h5, const char *name, px_h5_type type, int64_t first, int64_t n,
                        void *data) {
    dataset d;
    px_err *err = NULL;
    hid_t memory = H5I_INVALID_HID;
    hsize_t start[H5_RANK_MAX] = {0}, count[H5_RANK_MAX];
    PX_PASS(dataset_open(h5, name, &d));
    if (d.rank == 0 || first < 0 || n < 0 || n > d.dims[0] || first > d.dims[0] - n)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: rows %lld + %lld wanted, it has %lld", h5->path,
                   name, (long long)first, (long long)n, (long long)(d.rank ? d.dims[0] : 0));
    PX_PASS_TO(done, check_number(h5, name, &d));
    if (n == 0 || d.total == 0) goto done;
    for (int i = 0; i < d.rank; i++) count[i] = (hsize_t)d.dims[i];
    start[0] = (hsize_t)first;
    count[0] = (hsize_t)n;
    memory = H5Screate_simple(d.rank, count, NULL);
    if (memory < 0 || H5Sselect_hyperslab(d.space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dread(d.id, h5_type_memory(type), memory, d.space, h5->transfer, data) < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "cannot be read");
done:
    h5_drop(memory);
    dataset_close(&d);
    return err;
}

px_err *px_h5_read_new(px_h5 *h5, const char *name, px_h5_type type, px_arena *arena, void **data,
                       int64_t *n) {
    dataset d;
    px_err *err = NULL;
    PX_PASS(dataset_open(h5, name, &d));
    PX_PASS_TO(done, check_number(h5, name, &d));
    void *room = px_arena_take_raw(arena, (size_t)PX_MAX(1, d.total), h5_type_size(type));
    if (!room)
        PX_FAIL_TO(done, PX_RUN_FAILED, "%s: %s: out of memory for %lld elements", h5->path, name,
                   (long long)d.total);
    PX_PASS_TO(done, read_all(h5, name, &d, h5_type_memory(type), room));
    *data = room;
    *n = d.total;
done:
    dataset_close(&d);
    return err;
}

/* A text of at most size bytes, ending at the first NUL, into the arena. */
static px_err *take_text(const px_h5 *h5, const char *name, px_arena *arena, const char *text,
                         size_t size, const char **out) {
    size = strnlen(text, size);
    if (px_utf8_check(text, size) >= 0)
        PX_FAIL(PX_BAD_INPUT, "%s: %s: a text is not UTF-8", h5->path, name);
    *out = px_arena_text(arena, text, size);
    if (!*out) PX_FAIL(PX_RUN_FAILED, "%s: %s: out of memory", h5->path, name);
    return NULL;
}

/* n texts that lie in packed, `size` bytes each, or, with size 0, pointers to texts. */
static px_err *take_texts(const px_h5 *h5, const char *name, px_arena *arena, const void *packed,
                          int64_t n, size_t size, const char **texts) {
    for (int64_t i = 0; i < n; i++) {
        const char *at =
            size ? (const char *)packed + (size_t)i * size : ((const char *const *)packed)[i];
        PX_PASS(take_text(h5, name, arena, at ? at : "", size ? size : SIZE_MAX, &texts[i]));
    }
    return NULL;
}

/* The type that strings of a file's type are read as, and bytes of one (0: variable length). */
static px_err *text_type(const px_h5 *h5, const char *name, hid_t type, hid_t *memory,
                         size_t *size) {
    if (H5Tget_class(type) != H5T_STRING)
        PX_FAIL(PX_BAD_INPUT, "%s: %s: holds no strings", h5->path, name);
    htri_t variable = H5Tis_variable_str(type);
    *size = variable > 0 ? 0 : H5Tget_size(type);
    if (variable < 0 || (variable == 0 && *size == 0))
        return h5_error(PX_BAD_INPUT, h5, name, "damaged string type", __FILE__, __LINE__);
    /* The file's own padding and character set: bytes are copied, not converted. */
    *memory = H5Tcopy(type);
    if (*memory < 0)
        return h5_error(PX_BAD_INPUT, h5, name, "damaged string type", __FILE__, __LINE__);
    return NULL;
}

px_err *px_h5_read_texts(px_h5 *h5, const char *name, px_arena *arena, const char ***texts,
                         int64_t *n) {
    dataset d;
    px_err *err = NULL;
    hid_t memory = H5I_INVALID_HID;
    size_t size = 0;
    void *packed = NULL;
    const char **list = NULL;
    bool read = false;
    PX_PASS(dataset_open(h5, name, &d));
    PX_PASS_TO(done, text_type(h5, name, d.type, &memory, &size));
    list = px_arena_take(arena, (size_t)PX_MAX(1, d.total), sizeof *list);
    packed = calloc((size_t)PX_MAX(1, d.total), size ? size : sizeof(char *));
    if (!packed || !list)
        PX_FAIL_TO(done, PX_RUN_FAILED, "%s: %s: out of memory for %lld texts", h5->path, name,
                   (long long)d.total);
    PX_PASS_TO(done, read_all(h5, name, &d, memory, packed));
    read = true;
    PX_PASS_TO(done, take_texts(h5, name, arena, packed, d.total, size, list));
    *texts = list;
    *n = d.total;
done:
    if (read && !size && d.total > 0) H5Dvlen_reclaim(memory, d.space, h5->transfer, packed);
    free(packed);
    h5_drop(memory);
    dataset_close(&d);
    return err;
}

/* An attribute of one value; *attr and *type are the caller's to close. */
static px_err *attr_open(px_h5 *h5, const char *object, const char *name, hid_t *attr,
                         hid_t *type) {
    px_err *err = NULL;
    hid_t space = H5I_INVALID_HID;
    if (!px_h5_has(h5, object))
        PX_FAIL(PX_BAD_INPUT, "%s: %s is not in the file", h5->path, object);
    htri_t there = H5Aexists_by_name(h5->file, object, name, H5P_DEFAULT);
    if (there < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, object, "attributes cannot be read");
    if (there == 0)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s has no attribute %s", h5->path, object, name);
    *attr = H5Aopen_by_name(h5->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    *type = *attr >= 0 ? H5Aget_type(*attr) : H5I_INVALID_HID;
    space = *type >= 0 ? H5Aget_space(*attr) : H5I_INVALID_HID;
    if (space < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "damaged attribute");
    if (H5Sget_simple_extent_npoints(space) != 1)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: attribute %s has %lld values, wanted one", h5->path,
                   object, name, (long long)H5Sget_simple_extent_npoints(space));
done:
    h5_drop(space);
    return err;
}

px_err *px_h5_read_attr_text(px_h5 *h5, const char *object, const char *name, px_arena *arena,
                             const char **text) {
    px_err *err = NULL;
    hid_t attr = H5I_INVALID_HID, type = H5I_INVALID_HID, memory = H5I_INVALID_HID;
    size_t size = 0;
    char *value = NULL;
    PX_PASS_TO(done, attr_open(h5, object, name, &attr, &type));
    PX_PASS_TO(done, text_type(h5, name, type, &memory, &size));
    if (size > (uint64_t)h5->file_bytes)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: attribute %s states %zu bytes, the file has %lld",
                   h5->path, name, size, (long long)h5->file_bytes);
    if (size) value = calloc(1, size + 1);
    if (size && !value) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (H5Aread(attr, memory, size ? (void *)value : (void *)&value) < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "damaged attribute");
    err = take_text(h5, name, arena, value ? value : "", size ? size : SIZE_MAX, text);
done:
    if (size)
        free(value);
    else if (value)
        H5free_memory(value);
    h5_drop(memory);
    h5_drop(type);
    h5_drop(attr);
    return err;
}

px_err *px_h5_read_attr_i64(px_h5 *h5, const char *object, const char *name, int64_t *value) {
    px_err *err = NULL;
    hid_t attr = H5I_INVALID_HID, type = H5I_INVALID_HID;
    int64_t got = 0;
    PX_PASS_TO(done, attr_open(h5, object, name, &attr, &type));
    if (!is_plain_number(type) || H5Tget_class(type) != H5T_INTEGER ||
        (H5Tget_size(type) == 8 && H5Tget_sign(type) == H5T_SGN_NONE))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s: attribute %s is not a whole number", h5->path,
                   object, name);
    if (H5Aread(attr, H5T_NATIVE_INT64, &got) < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, name, "damaged attribute");
    *value = got;
done:
    h5_drop(type);
    h5_drop(attr);
    return err;
}

typedef struct {
    px_arena *arena;
    const char **names; /* NULL: count */
    int n, room;
} listing;

static herr_t list_dataset(hid_t group, const char *name, const H5L_info_t *link, void *data) {
    listing *list = data;
    H5O_info_t info;
    if (link->type != H5L_TYPE_HARD) return 0;
#if H5_VERSION_GE(1, 12, 0) /* H5O_info_t is another type from there on */
    if (H5Oget_info_by_name3(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return -1;
#else
    if (H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return -1;
#endif
    if (info.type != H5O_TYPE_DATASET) return 0;
    if (list->names) {
        if (list->n >= list->room) return -1;
        list->names[list->n] = px_arena_text(list->arena, name, strlen(name));
        if (!list->names[list->n]) return -1;
    }
    list->n++;
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

px_err *px_h5_list(px_h5 *h5, const char *group, px_arena *arena, const char ***names, int *n) {
    px_err *err = NULL;
    listing list = {.arena = arena};
    if (!px_h5_has(h5, group)) PX_FAIL(PX_BAD_INPUT, "%s: %s is not in the file", h5->path, group);
    hid_t id = H5Gopen2(h5->file, group, H5P_DEFAULT);
    if (id < 0) H5_FAIL_TO(done, PX_BAD_INPUT, h5, group, "not a group, or a damaged one");
    if (H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, list_dataset, &list) < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, group, "cannot be listed");
    list.room = list.n;
    list.n = 0;
    list.names = px_arena_take(arena, (size_t)PX_MAX(1, list.room), sizeof *list.names);
    if (!list.names) PX_FAIL_TO(done, PX_RUN_FAILED, "%s: %s: out of memory", h5->path, group);
    if (H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, list_dataset, &list) < 0)
        H5_FAIL_TO(done, PX_BAD_INPUT, h5, group, "cannot be listed");
    qsort(list.names, (size_t)list.n, sizeof *list.names, by_text);
    *names = list.names;
    *n = list.n;
done:
    h5_drop(id);
    return err;
}
