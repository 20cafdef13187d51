/* gemm.h - the one matrix product of the backend, over device memory: cuBLASLt (gemm_cublas.cu), or
 * what stands for it where the kernels run on the CPU (kernels/simt/cublas).
 *
 * C [M, N] = A [M, K] · B [K, N] (+ C with `add`), sums in f32, rounded once on the way out. A and
 * B of one type. A row of C has the same bits whatever the other rows and their number are, unless
 * A is turned: the algorithm is chosen by N, K, the types and `few` alone, without splitting the
 * sum over K. */
#ifndef PX_CUDA_GEMM_H
#define PX_CUDA_GEMM_H

#include "launch.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CU_WORKSPACE = 32 << 20 }; /* bytes of cuBLASLt's */
typedef struct cu_gemms cu_gemms; /* algorithms chosen so far, workspace */
/* NULL or what failed. */
const char *cu_gemms_open(cu_queue *q, cu_gemms **out);
void cu_gemms_close(cu_gemms *g);
/* cuBLASLt's: 130100 is 13.1.0; 0: the stand-in. */
int64_t cu_gemms_version(void);
/* Of the card's memory, from opening on. */
int64_t cu_gemms_bytes(void);
/* a_turned: a is stored as [K, M]; b_turned: b as [N, K]. cols of the stored matrices are whole
 * rows, which begin at multiples of 16 bytes; c in f32, or in a's type. few: B is a weight that
 * meets few rows at a time (generation), so that the algorithm is one for those; other bits than
 * without. NULL or what failed. */
typedef struct {
    cu_mat a, b, c;
    int a_turned, b_turned, add, few;
} cu_gemm;
const char *cu_gemm_run(cu_gemms *g, const cu_gemm *product);

#ifdef __cplusplus
}
#endif

#endif
