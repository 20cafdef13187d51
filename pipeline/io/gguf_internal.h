/* gguf_internal.h - what gguf.c (reads the file) and gguf_values.c (answers questions) share. */
#ifndef PX_GGUF_INTERNAL_H
#define PX_GGUF_INTERNAL_H

#include "files_internal.h"

/* The format's numbers of value types. */
typedef enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
} gguf_type;

typedef struct {
    const char *key;
    gguf_type type; /* of the elements; never GGUF_ARRAY */
    bool is_array;
    uint64_t n;                /* elements; 1 where it is no array */
    const unsigned char *data; /* the elements, unaligned; a text is a u64 length and its bytes */
    const uint64_t *texts;     /* [n] where each text of an array begins, from data; else NULL */
} gguf_value;

struct px_gguf {
    px_arena *arena; /* path, keys, names, values, tensors */
    const char *path;
    px_map_file map; /* closed where the bytes are the caller's */
    gguf_value *values;
    int n_values;
    px_map keys;
    px_tensor *tensors;
    int n_tensors;
    px_map names;
};

/* "u32", "text" … */
const char *px_gguf_type_name(gguf_type type);
/* Bytes of an element; of a text the least, its length. */
size_t px_gguf_type_bytes(gguf_type type);

#endif
