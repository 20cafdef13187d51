/* choices.h - which algorithm of cuBLASLt computes which kind of product: chosen once, kept in a
 * file, so that a run started again has the same bits. Knows neither CUDA nor cuBLASLt. */
#ifndef PX_CUDA_CHOICES_H
#define PX_CUDA_CHOICES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a choice depends on. Compared as bytes: zero it first. */
typedef struct {
    int64_t N, K, M; /* M: 0, or the rows of C where A is turned */
    int32_t bf16, c_bf16, a_turned, b_turned, aligned, few;
} cu_product;
typedef struct {
    cu_product product;
    uint64_t algorithm[8]; /* cublasLtMatmulAlgo_t, opaque */
    int tried;             /* in this process: a file's is checked first */
} cu_choice;

typedef struct cu_choices cu_choices;
/* What `path` holds for `machine` (card and version of the library, one line). A file that is
 * missing, broken or another machine's counts as empty. path "": nothing is kept. NULL: no memory.
 */
cu_choices *cu_choices_open(const char *path, const char *machine);
/* Writes the file, where anything was added. What cannot be written is a warning. */
void cu_choices_close(cu_choices *c);
cu_choice *cu_choices_find(cu_choices *c, const cu_product *product); /* NULL: none */
/* Replaces what is there for this product. NULL: no memory. */
cu_choice *cu_choices_put(cu_choices *c, const cu_product *product, const uint64_t algorithm[8]);
/* $XDG_CACHE_HOME/prismx/gemm-MACHINE.txt or ~/.cache/prismx/…; "" where neither is known. */
void cu_choices_path(const char *machine, char out[1024]);

#ifdef __cplusplus
}
#endif

#endif
