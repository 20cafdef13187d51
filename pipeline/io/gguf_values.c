/* gguf_values.c - what an opened GGUF file answers: tensors by number and name, metadata by key.
 * All places were checked when the file was opened. */
#include <inttypes.h>

#include "gguf_internal.h"

static const struct {
    const char *name;
    size_t bytes;
} types[GGUF_TYPES] = {
    [GGUF_U8] = {"u8", 1},        [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},      [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},      [GGUF_BOOL] = {"bool", 1}, [GGUF_TEXT] = {"text", 8},
    [GGUF_ARRAY] = {"array", 12}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *px_gguf_type_name(gguf_type type) { return types[type].name; }

size_t px_gguf_type_bytes(gguf_type type) { return types[type].bytes; }

const char *px_gguf_path(const px_gguf *file) { return file->path; }

int px_gguf_count(const px_gguf *file) { return file->n_tensors; }

const px_tensor *px_gguf_at(const px_gguf *file, int i) {
    return i >= 0 && i < file->n_tensors ? &file->tensors[i] : NULL;
}

const px_tensor *px_gguf_find(const px_gguf *file, const char *name) {
    int32_t i = px_map_find(&file->names, name, strlen(name), -1);
    return i < 0 ? NULL : &file->tensors[i];
}

void px_gguf_forget(const px_gguf *file, const px_tensor *tensor) {
    if (file->map.data)
        px_map_forget(&file->map, (size_t)(tensor->data - file->map.data), tensor->bytes);
}

bool px_gguf_has(const px_gguf *file, const char *key) {
    return px_map_find(&file->keys, key, strlen(key), -1) >= 0;
}

/* The value at key; PX_BAD_INPUT when it is absent, or an array where none is wanted, or none where
 * one is, or when element i is not in it. */
static px_err *value_find(const px_gguf *file, const char *key, bool is_array, int64_t i,
                          const gguf_value **out) {
    int32_t at = px_map_find(&file->keys, key, strlen(key), -1);
    if (at < 0) PX_FAIL(PX_BAD_INPUT, "%s: metadata %s is missing", file->path, key);
    const gguf_value *value = &file->values[at];
    if (value->is_array != is_array)
        PX_FAIL(PX_BAD_INPUT, "%s: metadata %s is %s%s, %s is wanted", file->path, key,
                value->is_array ? "an array of " : "one ", px_gguf_type_name(value->type),
                is_array ? "an array" : "one value");
    if (i < 0 || (uint64_t)i >= value->n)
        PX_FAIL(PX_BAD_INPUT, "%s: metadata %s has %" PRIu64 " elements, not element %" PRId64,
                file->path, key, value->n, i);
    *out = value;
    return NULL;
}

static px_err *type_wrong(const px_gguf *file, const gguf_value *value, const char *wanted) {
    PX_FAIL(PX_BAD_INPUT, "%s: metadata %s is %s, %s is wanted", file->path, value->key,
            px_gguf_type_name(value->type), wanted);
}

/* The bits of element i, the high ones zero. */
static uint64_t element_bits(const gguf_value *value, int64_t i) {
    uint64_t bits = 0;
    size_t bytes = px_gguf_type_bytes(value->type);
    memcpy(&bits, value->data + (size_t)i * bytes, bytes);
    return bits;
}

static px_err *value_i64(const px_gguf *file, const gguf_value *value, int64_t i, int64_t *out) {
    static const bool is_signed[GGUF_TYPES] = {
        [GGUF_I8] = true, [GGUF_I16] = true, [GGUF_I32] = true, [GGUF_I64] = true};
    if (value->type == GGUF_TEXT || value->type == GGUF_F32 || value->type == GGUF_F64)
        return type_wrong(file, value, "a whole number");
    uint64_t bits = element_bits(value, i);
    if (is_signed[value->type]) {
        int shift = 64 - 8 * (int)px_gguf_type_bytes(value->type);
        *out = (int64_t)(bits << shift) >> shift; /* arithmetic: the sign fills up */
        return NULL;
    }
    if (bits > INT64_MAX)
        PX_FAIL(PX_BAD_INPUT, "%s: metadata %s: %" PRIu64 " is over 2^63 - 1", file->path,
                value->key, bits);
    *out = (int64_t)bits;
    return NULL;
}

static px_err *value_f64(const px_gguf *file, const gguf_value *value, int64_t i, double *out) {
    if (value->type != GGUF_F32 && value->type != GGUF_F64)
        return type_wrong(file, value, "a floating-point number");
    uint64_t bits = element_bits(value, i);
    float narrow;
    memcpy(&narrow, &bits, sizeof narrow);
    if (value->type == GGUF_F32)
        *out = narrow;
    else
        memcpy(out, &bits, sizeof *out);
    return NULL;
}

static px_err *value_text(const px_gguf *file, const gguf_value *value, int64_t i,
                          const char **text, size_t *size) {
    if (value->type != GGUF_TEXT) return type_wrong(file, value, "text");
    const unsigned char *at = value->data + (value->texts ? value->texts[i] : 0);
    uint64_t length;
    memcpy(&length, at, sizeof length);
    *text = (const char *)at + sizeof length;
    *size = (size_t)length;
    return NULL;
}

px_err *px_gguf_i64(const px_gguf *file, const char *key, int64_t *out) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, false, 0, &value));
    return value_i64(file, value, 0, out);
}

px_err *px_gguf_f64(const px_gguf *file, const char *key, double *out) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, false, 0, &value));
    return value_f64(file, value, 0, out);
}

px_err *px_gguf_text(const px_gguf *file, const char *key, const char **text, size_t *size) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, false, 0, &value));
    return value_text(file, value, 0, text, size);
}

px_err *px_gguf_array(const px_gguf *file, const char *key, int64_t *n) {
    int32_t at = px_map_find(&file->keys, key, strlen(key), -1);
    if (at >= 0 && file->values[at].is_array && !file->values[at].n) {
        *n = 0;
        return NULL;
    }
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, true, 0, &value));
    *n = (int64_t)value->n; /* every element takes a byte of the file: it fits */
    return NULL;
}

px_err *px_gguf_array_text(const px_gguf *file, const char *key, int64_t i, const char **text,
                           size_t *size) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, true, i, &value));
    return value_text(file, value, i, text, size);
}

px_err *px_gguf_array_f64(const px_gguf *file, const char *key, int64_t i, double *out) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, true, i, &value));
    return value_f64(file, value, i, out);
}

px_err *px_gguf_array_i64(const px_gguf *file, const char *key, int64_t i, int64_t *out) {
    const gguf_value *value = NULL;
    PX_PASS(value_find(file, key, true, i, &value));
    return value_i64(file, value, i, out);
}
