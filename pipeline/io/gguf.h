/* gguf.h - GGUF version 2 and 3 (little endian), memory-mapped: metadata and tensors. */
#ifndef PX_GGUF_H
#define PX_GGUF_H

#include "tensor.h"

typedef struct px_gguf px_gguf;
/* PX_BAD_INPUT with file and offset: not GGUF, another version, truncated, counts or lengths that
 * the file cannot hold, nested arrays, a doubled key or tensor, overlapping tensors, alignment. A
 * file of metadata alone (a vocabulary) is fine. */
PX_CHECKED px_err *px_gguf_open(const char *path, px_gguf **out);
void px_gguf_close(px_gguf *file);
const char *px_gguf_path(const px_gguf *file);
int px_gguf_count(const px_gguf *file);
const px_tensor *px_gguf_at(const px_gguf *file, int i);
const px_tensor *px_gguf_find(const px_gguf *file, const char *name);
void px_gguf_forget(const px_gguf *file, const px_tensor *tensor);

/* Metadata. `has` is false, or the getter fails with PX_BAD_INPUT, where the key is absent or of
 * another type. Integers of any width and bools are read as i64, f32 and f64 as f64. Texts are
 * borrowed, not NUL-terminated. */
bool px_gguf_has(const px_gguf *file, const char *key);
PX_CHECKED px_err *px_gguf_i64(const px_gguf *file, const char *key, int64_t *out);
PX_CHECKED px_err *px_gguf_f64(const px_gguf *file, const char *key, double *out);
PX_CHECKED px_err *px_gguf_text(const px_gguf *file, const char *key, const char **text,
                                size_t *size);
/* Arrays: length, then elements. */
PX_CHECKED px_err *px_gguf_array(const px_gguf *file, const char *key, int64_t *n);
PX_CHECKED px_err *px_gguf_array_text(const px_gguf *file, const char *key, int64_t i,
                                      const char **text, size_t *size);
PX_CHECKED px_err *px_gguf_array_f64(const px_gguf *file, const char *key, int64_t i, double *out);
PX_CHECKED px_err *px_gguf_array_i64(const px_gguf *file, const char *key, int64_t i, int64_t *out);

#endif
