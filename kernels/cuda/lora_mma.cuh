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

/* Four values `step` apart, of which the first n are there; 0 for the others. */
__device__ static inline void floats_of(float v[4], const float *at, int64_t step, int64_t n) {
    if (step == 1 && n >= 4 && ((uintptr_t)at & 15) == 0) {
        const float4 four = *(const float4 *)at;
        v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 4; i++) v[i] = i < n ? at[i * step] : 0;
}

/* Four values in PARTS of bf16: a part has the leading eight bits of what the ones before it leave.
 * Three hold an f32 to its last bit, two to 2^-16 of it. */
template <int PARTS>
__device__ static inline void split_of(uint32_t to[PARTS][2], const float v[4]) {
    union {
        float value;
        uint32_t bits;
    } left[4];
    CU_UNROLL
    for (int i = 0; i < 4; i++) left[i].value = v[i];
    CU_UNROLL
    for (int part = 0; part < PARTS; part++) {
        CU_UNROLL
        for (int i = 0; i < 2; i++)
            to[part][i] = left[2 * i].bits >> 16 | (left[2 * i + 1].bits & 0xFFFF0000u);
        if (part + 1 == PARTS) break;
        CU_UNROLL
        for (int i = 0; i < 4; i++) left[i].value -= cu_widen((uint16_t)(left[i].bits >> 16));
    }
}

#endif
