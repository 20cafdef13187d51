/* quant.cu - weights in 8 or 4 bits become bf16 again, for a product. */
#include "mma.cuh"
#include "wide.cuh"

/* A thread has eight values of a block of 32 inputs, which has a scale, in 4 bits also a least
 * value. 8 bits: a byte a value, less 128. 4 bits: byte k of a block's 16 holds value k below,
 * value k + 16 above. */
__global__ static void dequantise(cu_mat to, cu_coded from) {
    const int64_t i = blockIdx.x, first = piece_at(), block = i * from.blocks + first / 32;
    const int each = (int)(first % 32);
    float v[8];
    if (first >= to.cols) return;
    const uint8_t *codes =
        from.bits == 8 ? from.codes + block * 32 + each : from.codes + block * 16 + each % 16;
    const uint64_t eight = *(const long_word *)codes;
    if (from.bits == 8) {
        const float scale = from.scales[block];
        CU_UNROLL
        for (int k = 0; k < 8; k++) v[k] = scale * (float)((int)(eight >> 8 * k & 255) - 128);
    } else {
        const float scale = from.scales[2 * block], least = from.scales[2 * block + 1];
        CU_UNROLL
        for (int k = 0; k < 8; k++)
            v[k] = scale * (float)(int)(eight >> (8 * k + (each < 16 ? 0 : 4)) & 15) + least;
    }
    store_8(to, i, first, to.cols, v);
}
void cu_dequantise(cu_queue *q, cu_mat to, cu_coded from) {
    if (to.rows == 0 || to.cols == 0) return;
    CU_LAUNCH(dequantise, pieces_grid(to), CU_THREADS, 0, q, to, from);
}
