/* quant.cu - weights in 8 or 4 bits become bf16 again, for a product. */
#include "kernel.cuh"

/* A thread a value; a block of 32 inputs has a scale, in 4 bits also a least value. 8 bits: a byte
 * a value, less 128. 4 bits: byte k of a block's 16 holds value k below, value k + 16 above. */
__global__ static void dequantise(cu_mat to, cu_coded from) {
    const int64_t n = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (n >= to.rows * to.cols) return;
    const int64_t i = n / to.cols, j = n % to.cols, each = j % 32;
    const int64_t block = i * from.blocks + j / 32;
    float value;
    if (from.bits == 8) {
        value = from.scales[block] * (float)((int)from.codes[block * 32 + each] - 128);
    } else {
        const int byte = from.codes[block * 16 + each % 16];
        const int code = each < 16 ? byte & 15 : byte >> 4;
        value = from.scales[2 * block] * (float)code + from.scales[2 * block + 1];
    }
    cu_put(to, i, j, value);
}
void cu_dequantise(cu_queue *q, cu_mat to, cu_coded from) {
    const int64_t n = to.rows * to.cols;
    if (n == 0) return;
    CU_LAUNCH(dequantise, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, to, from);
}
