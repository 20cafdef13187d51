/* tensor.h - a tensor as it lies in a weights file: a name, a type, dimensions, bytes. Row-major,
 * the last dimension is contiguous (GGUF's order is turned round when read). */
#ifndef PX_TENSOR_H
#define PX_TENSOR_H

#include <stdint.h>

#include "base.h"

typedef enum {
    PX_T_F32,
    PX_T_F16,
    PX_T_BF16,
    PX_T_Q8_0,
    PX_T_Q4_0,
    PX_T_Q4_1,
    PX_T_Q5_0,
    PX_T_Q5_1,
    PX_T_Q4_K,
    PX_T_Q5_K,
    PX_T_Q6_K,
    PX_T_OTHER
} px_tensor_type;

typedef struct {
    const char *name; /* owned by the file */
    px_tensor_type type;
    int rank;
    int64_t dims[4];           /* [rank]; [out, in] for a matrix */
    const unsigned char *data; /* borrowed from the mapping; checked to hold `bytes` */
    size_t bytes;
    int file;              /* which shard, for px_weights_forget */
    const char *type_name; /* as the file calls it */
} px_tensor;

/* Product of dims. */
int64_t px_tensor_count(const px_tensor *tensor);
/* Elements [first, first + n) as f32; first and n multiples of the block (1, 32 or 256), which a
 * whole row always is. PX_BAD_INPUT for a type that is not read. */
PX_CHECKED px_err *px_tensor_f32(const px_tensor *tensor, int64_t first, int64_t n, float *out);
/* The same rounded to bf16 (round to nearest even); exact copy for a bf16 tensor. */
PX_CHECKED px_err *px_tensor_bf16(const px_tensor *tensor, int64_t first, int64_t n, uint16_t *out);

uint16_t px_bf16_from(float value); /* nearest even, NaN stays NaN */
float px_bf16_to(uint16_t bits);
float px_f16_to(uint16_t bits);

#endif
