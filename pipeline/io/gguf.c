/* gguf.c - see gguf.h. The layout, all little endian and unaligned: "GGUF", u32 version, u64 number
 * of tensors, u64 number of key-value pairs; the pairs (text key, u32 type, value; an array is u32
 * type, u64 length, elements; a text is u64 length, bytes); the tensors (text name, u32 rank, u64
 * dimensions with the contiguous one first, u32 type, u64 offset); then, at the next multiple of
 * general.alignment, the data, from which the offsets count.
 *
 * All that is read goes through take(), which checks it against the end of the file. */
#include "gguf.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "gguf_internal.h"

enum { PAIR_MIN = 8 + 4 + 1, TENSOR_MIN = 8 + 4 + 4 + 8, ALIGNMENT = 32 };

/* Where we are in the file. */
typedef struct {
    const unsigned char *data;
    size_t size, at;
    px_gguf *file;
} reader;

/* The format's tensor types: number, name, block. Removed numbers have no row. */
static const struct {
    uint32_t number;
    px_tensor_type type;
    const char *name;
    px_block block;
} tensor_types[] = {
    {0, PX_T_F32, "F32", {1, 4}},           {1, PX_T_F16, "F16", {1, 2}},
    {2, PX_T_Q4_0, "Q4_0", {32, 18}},       {3, PX_T_Q4_1, "Q4_1", {32, 20}},
    {6, PX_T_Q5_0, "Q5_0", {32, 22}},       {7, PX_T_Q5_1, "Q5_1", {32, 24}},
    {8, PX_T_Q8_0, "Q8_0", {32, 34}},       {9, PX_T_OTHER, "Q8_1", {32, 36}},
    {10, PX_T_OTHER, "Q2_K", {256, 84}},    {11, PX_T_OTHER, "Q3_K", {256, 110}},
    {12, PX_T_Q4_K, "Q4_K", {256, 144}},    {13, PX_T_Q5_K, "Q5_K", {256, 176}},
    {14, PX_T_Q6_K, "Q6_K", {256, 210}},    {15, PX_T_OTHER, "Q8_K", {256, 292}},
    {16, PX_T_OTHER, "IQ2_XXS", {256, 66}}, {17, PX_T_OTHER, "IQ2_XS", {256, 74}},
    {18, PX_T_OTHER, "IQ3_XXS", {256, 98}}, {19, PX_T_OTHER, "IQ1_S", {256, 50}},
    {20, PX_T_OTHER, "IQ4_NL", {32, 18}},   {21, PX_T_OTHER, "IQ3_S", {256, 110}},
    {22, PX_T_OTHER, "IQ2_S", {256, 82}},   {23, PX_T_OTHER, "IQ4_XS", {256, 136}},
    {24, PX_T_OTHER, "I8", {1, 1}},         {25, PX_T_OTHER, "I16", {1, 2}},
    {26, PX_T_OTHER, "I32", {1, 4}},        {27, PX_T_OTHER, "I64", {1, 8}},
    {28, PX_T_OTHER, "F64", {1, 8}},        {29, PX_T_OTHER, "IQ1_M", {256, 56}},
    {30, PX_T_BF16, "BF16", {1, 2}},        {34, PX_T_OTHER, "TQ1_0", {256, 54}},
    {35, PX_T_OTHER, "TQ2_0", {256, 66}},   {39, PX_T_OTHER, "MXFP4", {32, 17}},
};

/* The next n bytes. */
static px_err *take(reader *r, uint64_t n, const char *what, const unsigned char **out) {
    if (n > r->size - r->at)
        PX_FAIL(PX_BAD_INPUT,
                "offset %zu: %s of %" PRIu64 " bytes, the file has %zu left (cut off?)", r->at,
                what, n, r->size - r->at);
    *out = r->data + r->at;
    r->at += (size_t)n;
    return NULL;
}

static px_err *take_u32(reader *r, const char *what, uint32_t *out) {
    const unsigned char *bytes = NULL;
    PX_PASS(take(r, sizeof *out, what, &bytes));
    memcpy(out, bytes, sizeof *out);
    return NULL;
}

static px_err *take_u64(reader *r, const char *what, uint64_t *out) {
    const unsigned char *bytes = NULL;
    PX_PASS(take(r, sizeof *out, what, &bytes));
    memcpy(out, bytes, sizeof *out);
    return NULL;
}

/* A key or a tensor's name: UTF-8 without NUL, since it is shown and looked up as a C string. */
static px_err *take_name(reader *r, const char *what, const char **out) {
    size_t at = r->at;
    uint64_t length = 0;
    const unsigned char *bytes = NULL;
    PX_PASS(take_u64(r, what, &length));
    PX_PASS(take(r, length, what, &bytes));
    if (memchr(bytes, 0, (size_t)length) || px_utf8_check((const char *)bytes, (size_t)length) >= 0)
        PX_FAIL(PX_BAD_INPUT, "offset %zu: %s is not UTF-8 text", at, what);
    *out = px_arena_text(r->file->arena, (const char *)bytes, (size_t)length);
    return px_arena_ok(r->file->arena);
}

static px_err *take_text(reader *r) {
    uint64_t length = 0;
    const unsigned char *bytes = NULL;
    PX_PASS(take_u64(r, "a text's length", &length));
    return take(r, length, "a text", &bytes);
}

static px_err *bools_check(const reader *r, const unsigned char *bools, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (bools[i] > 1)
            PX_FAIL(PX_BAD_INPUT, "offset %zu: a bool is %d, 0 or 1 is wanted",
                    (size_t)(bools - r->data) + (size_t)i, bools[i]);
    return NULL;
}

/* The elements of value, whose type and n are set. */
static px_err *elements_read(reader *r, gguf_value *value) {
    uint64_t left = r->size - r->at;
    uint64_t least = px_gguf_type_bytes(value->type);
    if (value->n > left / least)
        PX_FAIL(PX_BAD_INPUT,
                "offset %zu: %" PRIu64 " elements of %s, the file has %" PRIu64
                " bytes left (cut off?)",
                r->at, value->n, px_gguf_type_name(value->type), left);
    value->data = r->data + r->at;
    if (value->type != GGUF_TEXT) {
        PX_PASS(take(r, value->n * least, "a value", &value->data));
        return value->type == GGUF_BOOL ? bools_check(r, value->data, value->n) : NULL;
    }
    uint64_t *texts = NULL;
    if (value->is_array) {
        texts = px_arena_take_raw(r->file->arena, (size_t)value->n, sizeof *texts);
        PX_PASS(px_arena_ok(r->file->arena));
        value->texts = texts;
    }
    for (uint64_t i = 0; i < value->n; i++) {
        if (texts) texts[i] = (uint64_t)(r->data + r->at - value->data);
        PX_PASS(take_text(r));
    }
    return NULL;
}

static px_err *type_read(reader *r, const char *what, gguf_type *out) {
    uint32_t type = 0;
    size_t at = r->at;
    PX_PASS(take_u32(r, what, &type));
    if (type >= GGUF_TYPES)
        PX_FAIL(PX_BAD_INPUT, "offset %zu: %s is %" PRIu32 ", 0 to %d are known", at, what, type,
                GGUF_TYPES - 1);
    *out = (gguf_type)type;
    return NULL;
}

static px_err *value_read(reader *r, gguf_value *value) {
    value->n = 1;
    PX_PASS(type_read(r, "a value's type", &value->type));
    if (value->type == GGUF_ARRAY) {
        value->is_array = true;
        size_t at = r->at;
        PX_PASS(type_read(r, "an array's type", &value->type));
        if (value->type == GGUF_ARRAY)
            PX_FAIL(PX_BAD_INPUT, "offset %zu: an array of arrays, which no model needs", at);
        PX_PASS(take_u64(r, "an array's length", &value->n));
    }
    return elements_read(r, value);
}

static px_err *values_read(reader *r, uint64_t n) {
    px_gguf *file = r->file;
    file->values = px_take(file->arena, gguf_value, n);
    PX_PASS(px_arena_ok(file->arena));
    for (uint64_t i = 0; i < n; i++) {
        gguf_value *value = &file->values[i];
        size_t at = r->at;
        PX_TRY(take_name(r, "a key", &value->key), "metadata %" PRIu64 " of %" PRIu64, i, n);
        PX_TRY(value_read(r, value), "metadata %s", value->key);
        if (px_map_find(&file->keys, value->key, strlen(value->key), -1) >= 0)
            PX_FAIL(PX_BAD_INPUT, "offset %zu: metadata %s is doubled", at, value->key);
        PX_PASS(px_map_set(&file->keys, value->key, strlen(value->key), (int32_t)i));
        file->n_values++;
    }
    return NULL;
}

static px_err *dims_read(reader *r, px_tensor *tensor) {
    uint32_t rank = 0;
    size_t at = r->at;
    PX_PASS(take_u32(r, "a rank", &rank));
    if (rank > PX_COUNT(tensor->dims))
        PX_FAIL(PX_BAD_INPUT, "offset %zu: rank %" PRIu32 ", at most %zu is accepted", at, rank,
                PX_COUNT(tensor->dims));
    tensor->rank = (int)rank;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        uint64_t length = 0;
        at = r->at;
        PX_PASS(take_u64(r, "a dimension", &length));
        if (length > INT64_MAX)
            PX_FAIL(PX_BAD_INPUT, "offset %zu: a dimension of %" PRIu64, at, length);
        tensor->dims[d] = (int64_t)length;
    }
    return NULL;
}

/* type, its name and the bytes that dims need. */
static px_err *type_and_bytes(reader *r, px_tensor *tensor) {
    uint32_t number = 0;
    size_t at = r->at, t = 0;
    PX_PASS(take_u32(r, "a tensor's type", &number));
    while (t < PX_COUNT(tensor_types) && tensor_types[t].number != number) t++;
    if (t == PX_COUNT(tensor_types))
        PX_FAIL(PX_BAD_INPUT, "offset %zu: type %" PRIu32 " is not known", at, number);
    tensor->type = tensor_types[t].type;
    tensor->type_name = tensor_types[t].name;
    px_block block = tensor_types[t].block;
    int64_t count = 0, row = tensor->rank ? tensor->dims[tensor->rank - 1] : 1;
    if (row % block.elements)
        PX_FAIL(PX_BAD_INPUT, "offset %zu: a row of %" PRId64 " elements, %s has blocks of %d", at,
                row, tensor->type_name, block.elements);
    if (!px_dims_count(tensor->rank, tensor->dims, &count) ||
        __builtin_mul_overflow(count / block.elements, block.bytes, &count))
        PX_FAIL(PX_BAD_INPUT, "offset %zu: the tensor's size overflows", at);
    tensor->bytes = (size_t)count;
    return NULL;
}

/* One tensor's entry; its offset from the data's begin goes to *offset. */
static px_err *tensor_read(reader *r, px_tensor *tensor, uint64_t *offset) {
    PX_TRY(dims_read(r, tensor), "tensor %s", tensor->name);
    PX_TRY(type_and_bytes(r, tensor), "tensor %s", tensor->name);
    PX_TRY(take_u64(r, "an offset", offset), "tensor %s", tensor->name);
    return NULL;
}

static px_err *tensors_read(reader *r, uint64_t n, uint64_t *offsets) {
    px_gguf *file = r->file;
    file->tensors = px_take(file->arena, px_tensor, n);
    PX_PASS(px_arena_ok(file->arena));
    for (uint64_t i = 0; i < n; i++) {
        px_tensor *tensor = &file->tensors[i];
        size_t at = r->at;
        PX_TRY(take_name(r, "a name", &tensor->name), "tensor %" PRIu64 " of %" PRIu64, i, n);
        if (px_gguf_find(file, tensor->name))
            PX_FAIL(PX_BAD_INPUT, "offset %zu: tensor %s is doubled", at, tensor->name);
        PX_PASS(tensor_read(r, tensor, &offsets[i]));
        PX_PASS(px_map_set(&file->names, tensor->name, strlen(tensor->name), (int32_t)i));
        file->n_tensors++;
    }
    return NULL;
}

static px_err *alignment_find(const px_gguf *file, uint64_t *out) {
    int64_t alignment = ALIGNMENT;
    if (px_gguf_has(file, "general.alignment"))
        PX_PASS(px_gguf_i64(file, "general.alignment", &alignment));
    if (alignment < 1 || alignment > (1 << 30) || (alignment & (alignment - 1)))
        PX_FAIL(PX_BAD_INPUT,
                "general.alignment is %" PRId64 ", a power of two up to 2^30 is wanted", alignment);
    *out = (uint64_t)alignment;
    return NULL;
}

static px_err *overlap_check(const px_gguf *file, const unsigned char *data) {
    px_err *err = NULL;
    const px_tensor **order = NULL, *before = NULL;
    PX_PASS(px_tensors_by_place(file->tensors, file->n_tensors, &order));
    for (int i = 0; i < file->n_tensors; i++) {
        if (!order[i]->bytes) continue;
        if (before && order[i]->data < before->data + before->bytes)
            PX_FAIL_TO(done, PX_BAD_INPUT, "offset %zu: tensors %s and %s overlap",
                       (size_t)(order[i]->data - data), before->name, order[i]->name);
        before = order[i];
    }
done:
    free(order);
    return err;
}

/* Sets each tensor's data from its offset, r standing behind the last entry. */
static px_err *tensors_place(reader *r, const uint64_t *offsets) {
    px_gguf *file = r->file;
    uint64_t alignment = 0;
    PX_PASS(alignment_find(file, &alignment));
    uint64_t begin = (r->at + alignment - 1) / alignment * alignment;
    for (int i = 0; i < file->n_tensors; i++) {
        px_tensor *tensor = &file->tensors[i];
        if (offsets[i] % alignment)
            PX_FAIL(PX_BAD_INPUT,
                    "tensor %s: offset %" PRIu64 " is not a multiple of the alignment %" PRIu64,
                    tensor->name, offsets[i], alignment);
        tensor->data = r->data;
        if (!tensor->bytes) continue;
        if (begin > r->size || offsets[i] > r->size - begin ||
            tensor->bytes > r->size - begin - offsets[i])
            PX_FAIL(PX_BAD_INPUT,
                    "tensor %s: %zu bytes at offset %" PRIu64
                    " of the data, which begins at %" PRIu64 ", the file ends at %zu (cut off?)",
                    tensor->name, tensor->bytes, offsets[i], begin, r->size);
        tensor->data = r->data + begin + offsets[i];
    }
    return overlap_check(file, r->data);
}

static px_err *version_check(reader *r) {
    const unsigned char *magic = NULL;
    uint32_t version = 0;
    PX_PASS(take(r, 4, "the magic", &magic));
    if (memcmp(magic, "GGUF", 4) != 0) PX_FAIL(PX_BAD_INPUT, "offset 0: not a GGUF file");
    PX_PASS(take_u32(r, "the version", &version));
    if (version == 0x02000000 || version == 0x03000000)
        PX_FAIL(PX_BAD_INPUT, "offset 4: a big-endian file, little-endian is read");
    if (version != 2 && version != 3)
        PX_FAIL(PX_BAD_INPUT, "offset 4: version %" PRIu32 ", 2 and 3 are read", version);
    return NULL;
}

static px_err *count_read(reader *r, const char *what, size_t least, uint64_t *out) {
    size_t at = r->at;
    PX_PASS(take_u64(r, what, out));
    if (*out > (r->size - r->at) / least || *out > INT_MAX)
        PX_FAIL(PX_BAD_INPUT, "offset %zu: %s is %" PRIu64 ", too many for the %zu bytes left", at,
                what, *out, r->size - r->at);
    return NULL;
}

static px_err *file_read(reader *r) {
    uint64_t n_tensors = 0, n_values = 0;
    PX_PASS(version_check(r));
    PX_PASS(count_read(r, "the number of tensors", TENSOR_MIN, &n_tensors));
    PX_PASS(count_read(r, "the number of metadata", PAIR_MIN, &n_values));
    PX_PASS(values_read(r, n_values));
    uint64_t *offsets = px_take(r->file->arena, uint64_t, n_tensors);
    PX_PASS(px_arena_ok(r->file->arena));
    PX_PASS(tensors_read(r, n_tensors, offsets));
    return tensors_place(r, offsets);
}

px_err *px_gguf_open_bytes(const char *path, const void *data, size_t size, px_gguf **out) {
    px_err *err = NULL;
    px_gguf *file = calloc(1, sizeof *file);
    if (!file) PX_NO_MEMORY();
    reader r = {.data = data, .size = size, .file = file};
    PX_PASS_TO(done, px_arena_new(1 << 16, &file->arena));
    file->path = px_arena_text(file->arena, path, strlen(path));
    PX_PASS_TO(done, px_arena_ok(file->arena));
    PX_TRY_TO(done, file_read(&r), "%s", path);
    *out = file;
    file = NULL;
done:
    px_gguf_close(file);
    return err;
}

px_err *px_gguf_open(const char *path, px_gguf **out) {
    px_map_file map = {0};
    PX_PASS(px_map_open(path, &map));
    px_err *err = px_gguf_open_bytes(path, map.data, map.size, out);
    if (err)
        px_map_close(&map);
    else
        (*out)->map = map;
    return err;
}

void px_gguf_close(px_gguf *file) {
    if (!file) return;
    px_map_close(&file->map);
    px_map_free(&file->keys);
    px_map_free(&file->names);
    px_arena_free(file->arena);
    free(file);
}
