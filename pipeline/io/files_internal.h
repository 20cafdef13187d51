/* files_internal.h - what the readers of weights share inside io: block sizes, the shape check, the
 * order of tensors in a file, and readers that work on bytes in memory (tests and fuzzing use them:
 * a heap copy of exactly the file's size lets the address sanitizer see one byte too far). */
#ifndef PX_FILES_INTERNAL_H
#define PX_FILES_INTERNAL_H

#include <string.h>

#include "gguf.h"
#include "safetensors.h"
#include "tensor.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights files are little endian and are read in place"
#endif

/* Elements and bytes of the smallest unit that can be read alone. */
typedef struct {
    int elements, bytes;
} px_block;
/* {0, 0} for PX_T_OTHER. */
px_block px_block_of(px_tensor_type type);

/* Product of dims; false when one is negative or the product does not fit in int64. Zeros count
 * first: {2^62, 2^62, 0} is 0. */
bool px_dims_count(int rank, const int64_t *dims, int64_t *count);

/* [n] pointers in the order of the tensors' places in memory, the shorter first where two begin at
 * one place; heap, the caller's. */
PX_CHECKED px_err *px_tensors_by_place(const px_tensor *tensors, int n, const px_tensor ***out);

/* n_blocks blocks at src (any alignment) to f32, for the quantised types. */
void px_quant_f32(px_tensor_type type, const unsigned char *src, int64_t n_blocks, float *out);

/* Half to single, exact, without a branch or a denormal number on the way: the value of a subnormal
 * half is the difference of two normal singles. NaN keeps its payload. */
static inline float px_f16_value(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t normal = magnitude + (112u << 23);
    normal |= magnitude >= (31u << 23) ? 0x7f800000u : 0;
    uint32_t offset = magnitude | (113u << 23);
    float small, least = 0x1p-14f;
    memcpy(&small, &offset, sizeof small);
    small -= least;
    uint32_t bits;
    memcpy(&bits, &small, sizeof bits);
    bits = (magnitude < (1u << 23) ? bits : normal) | sign;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One safetensors file, or one GGUF file, of `size` bytes at `data`, which must outlive *out.
 * `path` is only shown. */
PX_CHECKED px_err *px_safetensors_open_bytes(const char *path, const void *data, size_t size,
                                             px_safetensors **out);
PX_CHECKED px_err *px_gguf_open_bytes(const char *path, const void *data, size_t size,
                                      px_gguf **out);

#endif
