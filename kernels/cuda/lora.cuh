/* lora.cuh - dropout's draws of adapters (backend.h says which draw is whose). */
#ifndef PX_CUDA_LORA_CUH
#define PX_CUDA_LORA_CUH

#include "kernel.cuh"

struct draws {
    uint32_t v[4];
};
/* Philox 4x32-10 (Salmon et al. 2011). */
__device__ static inline draws philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                      uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t next0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        const uint32_t next2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = next0;
        c2 = next2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return draws{{c0, c1, c2, c3}};
}
/* All draws of a row's counter. */
__device__ static inline draws draws_of(const cu_drop &drop, int64_t t, int64_t counter) {
    const uint64_t item = drop.keys[t];
    return philox(drop.site, (uint32_t)item, (uint32_t)(item >> 32), (uint32_t)counter,
                  drop.seed_low, drop.seed_high);
}

/* An adapter's weight: rank k's value for input (or output) i is data[k * rank_step + i * step]. */
struct lora_weight {
    float *data;
    int64_t rank_step, step;
};
/* Columns [first, first + r) of a matrix [rows, R] of f32. */
struct lora_ranks {
    float *data;
    int64_t R, first, r;
};
/* The five products on tensor cores; 0: not for this type.
 * lora_mma.cu: u = scale · drop(x) · wᵀ. */
int cu_lora_down_mma(cu_queue *q, lora_ranks u, cu_mat x, lora_weight w, cu_drop drop);
/* lora_mma_up.cu: y += scale · mask ∘ (u · w). */
int cu_lora_up_mma(cu_queue *q, cu_mat y, lora_ranks u, lora_weight w, cu_drop drop);
/* lora_mma_back.cu: w += scale · uᵀ · drop(x); room [cu_lora_room]. */
int cu_lora_weight_mma(cu_queue *q, lora_weight w, lora_ranks u, cu_mat x, cu_drop drop,
                       float *room);

#endif
