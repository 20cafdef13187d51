/* lora_mma.cuh - what adapters' products on tensor cores share: values of f32 as sums of bf16, and
 * which of a lane's inputs dropout keeps. */
#ifndef PX_CUDA_LORA_MMA_CUH
#define PX_CUDA_LORA_MMA_CUH

#include "lora.cuh"
#include "mma.cuh"

/* Columns whose draws come of the same counters (backend.h). */
enum { LORA_PIECE = 128 };

/* Which of the inputs that a lane has of a row in a piece are kept: bit 8 · i + s is input 16 · s +
 * 4 · (lane % 4) + i. */
__device__ static inline uint32_t kept_of(const cu_drop &drop, int64_t row, int64_t piece) {
    uint32_t kept = 0;
    if (drop.least == 0) return 0xFFFFFFFFu;
    CU_UNROLL
    for (int i = 0; i < 4; i++) {
        const draws d = draws_of(drop, row, piece * 16 + (int)threadIdx.x % 4 * 4 + i);
        CU_UNROLL
        for (int s = 0; s < 8; s++) {
            const uint32_t draw = s / 4 ? d.v[s % 4] >> 16 : d.v[s % 4] & 0xFFFF;
            if (draw >= drop.least) kept |= 1u << (8 * i + s);
        }
    }
    return kept;
}

/* Four values in PARTS of bf16: a part has what the ones before it leave. Three hold an f32 to its
 * last bit, two to 2^-17 of it. */
template <int PARTS>
__device__ static inline void split_of(uint32_t to[PARTS][2], const float v[4]) {
    float left[4] = {v[0], v[1], v[2], v[3]};
    CU_UNROLL
    for (int part = 0; part < PARTS; part++) {
        to[part][0] = pair_of(left[0], left[1]);
        to[part][1] = pair_of(left[2], left[3]);
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            left[i] -= cu_widen((uint16_t)(to[part][i / 2] >> 16 * (i % 2)));
    }
}

#endif
