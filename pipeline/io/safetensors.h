/* safetensors.h - the safetensors format (8-byte length, JSON header, data), one file or the shards
 * named by model.safetensors.index.json, memory-mapped. */
#ifndef PX_SAFETENSORS_H
#define PX_SAFETENSORS_H

#include "tensor.h"

typedef struct px_safetensors px_safetensors;
/* A .safetensors file, or a folder with model.safetensors or its index. PX_BAD_INPUT with file and
 * offset or tensor: truncated, overlapping, holes, hostile lengths, a doubled name, a shard
 * missing, a tensor of the index missing, over 4 dimensions. A tensor's data may have any
 * alignment. */
PX_CHECKED px_err *px_safetensors_open(const char *path, px_safetensors **out);
void px_safetensors_close(px_safetensors *file);
int px_safetensors_count(const px_safetensors *file);
const px_tensor *px_safetensors_at(const px_safetensors *file, int i);
/* NULL when there is none of that name. */
const px_tensor *px_safetensors_find(const px_safetensors *file, const char *name);
/* Lets go of the tensor's resident pages. */
void px_safetensors_forget(const px_safetensors *file, const px_tensor *tensor);
/* Paths of the files behind it, for hashing; [*n], owned by file. */
const char *const *px_safetensors_files(const px_safetensors *file, int *n);

typedef struct {
    const char *name;
    px_tensor_type type; /* F32 or BF16 */
    int rank;
    int64_t dims[4];
    const void *data;
} px_safetensors_item;
/* Writes one file atomically; metadata as pairs of texts, NULL-terminated (may be NULL). */
PX_CHECKED px_err *px_safetensors_write(const char *path, const px_safetensors_item *items, int n,
                                        const char *const *metadata);

#endif
