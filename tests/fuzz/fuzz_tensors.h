/* fuzz_tensors.h - reads a tensor that a reader let through, wherever its elements lie. */
#ifndef PX_FUZZ_TENSORS_H
#define PX_FUZZ_TENSORS_H

#include <stdlib.h>

#include "files_internal.h"
#include "fuzz.h"

static inline void px_fuzz_tensor(const px_tensor *tensor) {
    enum { MOST = 1 << 12 };
    int64_t count = px_tensor_count(tensor);
    PX_FUZZ_HOLDS(count >= 0 && tensor->name && tensor->type_name && tensor->rank <= 4);
    px_block block = px_block_of(tensor->type);
    if (!block.elements) return;
    PX_FUZZ_HOLDS(count / block.elements * block.bytes == (int64_t)tensor->bytes);
    int64_t n = PX_MIN(count, MOST);
    float *wide = malloc((size_t)n * sizeof *wide + 1);
    uint16_t *narrow = malloc((size_t)n * sizeof *narrow + 1);
    PX_FUZZ_HOLDS(wide && narrow);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_tensor_f32(tensor, 0, n, wide)));
    PX_FUZZ_HOLDS(px_fuzz_opened(px_tensor_bf16(tensor, count - n, n, narrow))); /* the end */
    free(wide);
    free(narrow);
}

#endif
