/* safetensors.c - see safetensors.h. The layout: u64 length of the header; the header, one JSON
 * object that maps a name to dtype, shape and data_offsets [begin, end) within the data, and
 * perhaps
 * "__metadata__" to an object of texts; the data. As the format's own reader demands, the tensors
 * must tile the data: no hole, no overlap, nothing behind. Data may have any alignment. */
#include "safetensors.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files_internal.h"
#include "json.h"

/* A tensor takes some 120 bytes of header: room for a quarter of a million. The format's own limit
 * of 100 MB would let a hostile header of empty arrays take 3 GB as a JSON tree. */
#define HEADER_MAX (32u << 20)
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

typedef struct {
    const char *path;
    px_map_file map; /* closed where the bytes are the caller's */
    const unsigned char *data;
    size_t size;
} shard_file;

struct px_safetensors {
    px_arena *arena; /* paths, names */
    shard_file *shards;
    int n_shards;
    const char **files; /* the shards, then the index if there is one */
    int n_files;
    px_tensor *tensors;
    int n, room;
    px_map names;
};

/* dtypes that are one or more whole bytes an element; another is kept, its size unproved. */
static const struct {
    const char *name;
    px_tensor_type type;
    int bytes;
} dtypes[] = {
    {"F32", PX_T_F32, 4},       {"F16", PX_T_F16, 2},       {"BF16", PX_T_BF16, 2},
    {"F64", PX_T_OTHER, 8},     {"I64", PX_T_OTHER, 8},     {"U64", PX_T_OTHER, 8},
    {"C64", PX_T_OTHER, 8},     {"I32", PX_T_OTHER, 4},     {"U32", PX_T_OTHER, 4},
    {"I16", PX_T_OTHER, 2},     {"U16", PX_T_OTHER, 2},     {"I8", PX_T_OTHER, 1},
    {"U8", PX_T_OTHER, 1},      {"BOOL", PX_T_OTHER, 1},    {"F8_E4M3", PX_T_OTHER, 1},
    {"F8_E5M2", PX_T_OTHER, 1}, {"F8_E8M0", PX_T_OTHER, 1},
};

/* A JSON number that is a whole number a double holds exactly. */
static bool whole(const cJSON *item, int64_t *out) {
    if (!cJSON_IsNumber(item)) return false;
    double value = item->valuedouble;
    if (!(value >= 0 && value <= 0x1p53) || value != floor(value)) return false;
    *out = (int64_t)value;
    return true;
}

static px_err *dims_read(const cJSON *shape, px_tensor *tensor) {
    if (!cJSON_IsArray(shape))
        PX_FAIL(PX_BAD_INPUT, "shape is %s, an array is wanted", px_json_type(shape));
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, shape) {
        if (tensor->rank == PX_COUNT(tensor->dims))
            PX_FAIL(PX_BAD_INPUT, "shape has over %zu dimensions", PX_COUNT(tensor->dims));
        if (!whole(item, &tensor->dims[tensor->rank++]))
            PX_FAIL(PX_BAD_INPUT, "shape: dimension %d is not a whole number from 0 to 2^53",
                    tensor->rank - 1);
    }
    int64_t count = 0;
    if (!px_dims_count(tensor->rank, tensor->dims, &count))
        PX_FAIL(PX_BAD_INPUT, "shape: the number of elements overflows");
    return NULL;
}

static px_err *place_read(const cJSON *offsets, const unsigned char *data, size_t size,
                          px_tensor *tensor) {
    int64_t begin = 0, end = 0;
    if (cJSON_GetArraySize(offsets) != 2 || !cJSON_IsArray(offsets) ||
        !whole(offsets->child, &begin) || !whole(offsets->child->next, &end))
        PX_FAIL(PX_BAD_INPUT, "data_offsets: two whole numbers are wanted");
    if (begin > end || (uint64_t)end > size)
        PX_FAIL(PX_BAD_INPUT,
                "data_offsets [%" PRId64 ", %" PRId64
                "): the file holds %zu bytes of data (cut off?)",
                begin, end, size);
    tensor->data = data + begin;
    tensor->bytes = (size_t)(end - begin);
    return NULL;
}

static px_err *dtype_read(px_arena *arena, const cJSON *dtype, px_tensor *tensor) {
    if (!cJSON_IsString(dtype))
        PX_FAIL(PX_BAD_INPUT, "dtype is %s, text is wanted", px_json_type(dtype));
    tensor->type = PX_T_OTHER;
    for (size_t i = 0; i < PX_COUNT(dtypes); i++) {
        if (strcmp(dtypes[i].name, dtype->valuestring) != 0) continue;
        tensor->type = dtypes[i].type;
        tensor->type_name = dtypes[i].name;
        int64_t bytes = 0;
        if (__builtin_mul_overflow(px_tensor_count(tensor), dtypes[i].bytes, &bytes) ||
            (uint64_t)bytes != tensor->bytes)
            PX_FAIL(PX_BAD_INPUT,
                    "data_offsets span %zu bytes, %" PRId64 " elements of %s need %d bytes each",
                    tensor->bytes, px_tensor_count(tensor), dtypes[i].name, dtypes[i].bytes);
        return NULL;
    }
    tensor->type_name = px_arena_text(arena, dtype->valuestring, strlen(dtype->valuestring));
    return px_arena_ok(arena);
}

static px_err *tensor_add(px_safetensors *file, const cJSON *entry, const unsigned char *data,
                          size_t size) {
    if (!cJSON_IsObject(entry))
        PX_FAIL(PX_BAD_INPUT, "is %s, an object is wanted", px_json_type(entry));
    if (file->n == INT_MAX) PX_FAIL(PX_BAD_INPUT, "too many tensors");
    if (px_safetensors_find(file, entry->string)) PX_FAIL(PX_BAD_INPUT, "the name is doubled");
    if (file->n == file->room) {
        int room = file->room < INT_MAX / 2 ? PX_MAX(64, 2 * file->room) : INT_MAX;
        px_tensor *more = realloc(file->tensors, (size_t)room * sizeof *more);
        if (!more) PX_NO_MEMORY();
        file->tensors = more;
        file->room = room;
    }
    px_tensor tensor = {.file = file->n_shards - 1};
    PX_PASS(dims_read(cJSON_GetObjectItemCaseSensitive(entry, "shape"), &tensor));
    PX_PASS(
        place_read(cJSON_GetObjectItemCaseSensitive(entry, "data_offsets"), data, size, &tensor));
    PX_PASS(dtype_read(file->arena, cJSON_GetObjectItemCaseSensitive(entry, "dtype"), &tensor));
    size_t length = strlen(entry->string);
    tensor.name = px_arena_text(file->arena, entry->string, length);
    PX_PASS(px_arena_ok(file->arena));
    PX_PASS(px_map_set(&file->names, tensor.name, length, file->n));
    file->tensors[file->n++] = tensor;
    return NULL;
}

static px_err *metadata_check(const cJSON *metadata) {
    if (!cJSON_IsObject(metadata))
        PX_FAIL(PX_BAD_INPUT, "__metadata__ is %s, an object is wanted", px_json_type(metadata));
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, metadata) {
        if (!cJSON_IsString(item))
            PX_FAIL(PX_BAD_INPUT, "__metadata__.%s is %s, text is wanted", item->string,
                    px_json_type(item));
    }
    return NULL;
}

/* Tensors [first, n) must tile the `size` bytes at data. */
static px_err *tiles_check(const px_safetensors *file, int first, const unsigned char *data,
                           size_t size) {
    px_err *err = NULL;
    const px_tensor **order = NULL;
    const px_tensor *tensors = file->tensors ? file->tensors + first : NULL;
    PX_PASS(px_tensors_by_place(tensors, file->n - first, &order));
    size_t at = 0;
    for (int i = 0; i < file->n - first; i++) {
        size_t begin = (size_t)(order[i]->data - data);
        if (begin != at)
            PX_FAIL_TO(done, PX_BAD_INPUT, "data at %zu: %s %s, tensor %s begins at %zu", at,
                       begin < at ? "overlap, tensor before it:" : "a hole behind",
                       i ? order[i - 1]->name : "the header", order[i]->name, begin);
        at = begin + order[i]->bytes;
    }
    if (at != size)
        PX_FAIL_TO(done, PX_BAD_INPUT, "data at %zu: %zu bytes belong to no tensor", at, size - at);
done:
    free(order);
    return err;
}

static px_err *header_read(px_safetensors *file, const cJSON *header, const unsigned char *data,
                           size_t size) {
    int first = file->n;
    bool metadata = false;
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, header) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            if (metadata) PX_FAIL(PX_BAD_INPUT, "__metadata__ is doubled");
            metadata = true;
            PX_PASS(metadata_check(entry));
        } else {
            PX_TRY(tensor_add(file, entry, data, size), "tensor %s", entry->string);
        }
    }
    return tiles_check(file, first, data, size);
}

static px_err *shard_read(px_safetensors *file, const unsigned char *data, size_t size) {
    px_err *err = NULL;
    cJSON *header = NULL;
    uint64_t length = 0;
    if (size < sizeof length)
        PX_FAIL(PX_BAD_INPUT, "offset 0: %zu bytes, the header's length alone is 8 (cut off?)",
                size);
    memcpy(&length, data, sizeof length);
    data += sizeof length;
    size -= sizeof length;
    if (length > size)
        PX_FAIL(PX_BAD_INPUT,
                "offset 0: a header of %" PRIu64
                " bytes, %zu are left: not safetensors, or cut off",
                length, size);
    if (length > HEADER_MAX)
        PX_FAIL(PX_BAD_INPUT, "offset 0: a header of %" PRIu64 " bytes, at most %u are accepted",
                length, HEADER_MAX);
    if (length == 0 || data[0] != '{')
        PX_FAIL(PX_BAD_INPUT, "offset 8: the header must be a JSON object, not safetensors");
    PX_TRY_TO(done, px_json_parse((const char *)data, (size_t)length, &header),
              "header at offset 8");
    err = header_read(file, header, data + length, size - (size_t)length);
    if (err) err = px_err_add(err, __FILE__, __LINE__, "header at offset 8");
done:
    cJSON_Delete(header);
    return err;
}

static px_err *shard_add(px_safetensors *file, const char *path, const void *data, size_t size) {
    shard_file *more = realloc(file->shards, ((size_t)file->n_shards + 1) * sizeof *more);
    if (!more) PX_NO_MEMORY();
    file->shards = more;
    shard_file *shard = &more[file->n_shards++];
    *shard = (shard_file){.path = px_arena_text(file->arena, path, strlen(path))};
    PX_PASS(px_arena_ok(file->arena));
    if (data) {
        shard->data = data;
        shard->size = size;
    } else {
        PX_PASS(px_map_open(path, &shard->map));
        shard->data = shard->map.data;
        shard->size = shard->map.size;
    }
    PX_TRY(shard_read(file, shard->data, shard->size), "%s", path);
    return NULL;
}

static px_err *shard_of_index(px_safetensors *file, const char *folder, const char *name) {
    if (!*name || strchr(name, '/'))
        PX_FAIL(PX_BAD_INPUT, "weight_map: \"%s\" is not the name of a file in the folder", name);
    char *path = px_path_join(folder, name);
    if (!path) PX_NO_MEMORY();
    px_err *err = shard_add(file, path, NULL, 0);
    free(path);
    return err;
}

/* Opens each shard of the map once, in the order of their first tensors, then proves that each
 * tensor lies where the map says. */
static px_err *index_follow(px_safetensors *file, const char *folder, const cJSON *map) {
    px_err *err = NULL;
    px_map shards = {0};
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, map) {
        if (!cJSON_IsString(item))
            PX_FAIL_TO(done, PX_BAD_INPUT, "weight_map.%s is %s, the name of a file is wanted",
                       item->string, px_json_type(item));
        size_t length = strlen(item->valuestring);
        if (px_map_find(&shards, item->valuestring, length, -1) >= 0) continue;
        PX_PASS_TO(done, px_map_set(&shards, item->valuestring, length, file->n_shards));
        PX_PASS_TO(done, shard_of_index(file, folder, item->valuestring));
    }
    cJSON_ArrayForEach(item, map) {
        const px_tensor *tensor = px_safetensors_find(file, item->string);
        if (!tensor ||
            tensor->file != px_map_find(&shards, item->valuestring, strlen(item->valuestring), -1))
            PX_FAIL_TO(done, PX_BAD_INPUT, "tensor %s is not in %s", item->string,
                       item->valuestring);
    }
done:
    px_map_free(&shards);
    return err;
}

static px_err *index_open(px_safetensors *file, const char *folder, const char *path) {
    cJSON *index = NULL;
    PX_PASS(px_json_read(path, false, &index));
    px_err *err = NULL;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map");
    if (!cJSON_IsObject(map))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: weight_map is %s, an object is wanted", path,
                   px_json_type(map));
    PX_TRY_TO(done, index_follow(file, folder, map), "%s", path);
done:
    cJSON_Delete(index);
    return err;
}

static px_err *files_list(px_safetensors *file, const char *index) {
    file->files = px_take(file->arena, const char *, file->n_shards + 1);
    PX_PASS(px_arena_ok(file->arena));
    for (int i = 0; i < file->n_shards; i++) file->files[file->n_files++] = file->shards[i].path;
    if (index) file->files[file->n_files++] = px_arena_text(file->arena, index, strlen(index));
    return px_arena_ok(file->arena);
}

static px_err *folder_open(px_safetensors *file, const char *folder) {
    px_err *err = NULL;
    char *single = px_path_join(folder, SINGLE), *index = px_path_join(folder, INDEX);
    if (!single || !index) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (px_path_exists(single)) {
        PX_PASS_TO(done, shard_add(file, single, NULL, 0));
        PX_PASS_TO(done, files_list(file, NULL));
    } else if (px_path_exists(index)) {
        PX_PASS_TO(done, index_open(file, folder, index));
        PX_PASS_TO(done, files_list(file, index));
    } else {
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: holds neither " SINGLE " nor " INDEX, folder);
    }
done:
    free(single);
    free(index);
    return err;
}

static px_err *open_any(const char *path, const void *data, size_t size, px_safetensors **out) {
    px_safetensors *file = calloc(1, sizeof *file);
    if (!file) PX_NO_MEMORY();
    px_err *err = px_arena_new(1 << 16, &file->arena);
    if (!err && !data && px_path_is_dir(path)) {
        err = folder_open(file, path);
    } else if (!err) {
        err = shard_add(file, path, data, size);
        if (!err) err = files_list(file, NULL);
    }
    if (err)
        px_safetensors_close(file);
    else
        *out = file;
    return err;
}

px_err *px_safetensors_open(const char *path, px_safetensors **out) {
    return open_any(path, NULL, 0, out);
}

px_err *px_safetensors_open_bytes(const char *path, const void *data, size_t size,
                                  px_safetensors **out) {
    return open_any(path, data, size, out);
}

void px_safetensors_close(px_safetensors *file) {
    if (!file) return;
    for (int i = 0; i < file->n_shards; i++) px_map_close(&file->shards[i].map);
    free(file->shards);
    free(file->tensors);
    px_map_free(&file->names);
    px_arena_free(file->arena);
    free(file);
}

int px_safetensors_count(const px_safetensors *file) { return file->n; }

const px_tensor *px_safetensors_at(const px_safetensors *file, int i) {
    return i >= 0 && i < file->n ? &file->tensors[i] : NULL;
}

const px_tensor *px_safetensors_find(const px_safetensors *file, const char *name) {
    int32_t i = px_map_find(&file->names, name, strlen(name), -1);
    return i < 0 ? NULL : &file->tensors[i];
}

void px_safetensors_forget(const px_safetensors *file, const px_tensor *tensor) {
    const px_map_file *map = &file->shards[tensor->file].map;
    if (map->data) px_map_forget(map, (size_t)(tensor->data - map->data), tensor->bytes);
}

const char *const *px_safetensors_files(const px_safetensors *file, int *n) {
    *n = file->n_files;
    return file->files;
}
