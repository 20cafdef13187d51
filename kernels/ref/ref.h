/* ref.h - the reference backend: each operation as plain loops in float64, one thread, rounded once
 * on the way out. Written to be read beside the formulas of ops.h, and to judge the others. */
#ifndef PX_REF_H
#define PX_REF_H

#include "backend.h"

typedef struct {
    px_weight base;
    double *values; /* [out, in], rounded to the compute type */
} px_ref_weight;

static inline double ref_at(px_mat m, int64_t i, int64_t j) {
    const int64_t k = i * m.stride + j;
    return m.type == PX_F32 ? ((const float *)m.data)[k] : px_f32_of(((const uint16_t *)m.data)[k]);
}
static inline void ref_put(px_mat m, int64_t i, int64_t j, double value) {
    const int64_t k = i * m.stride + j;
    if (m.type == PX_F32)
        ((float *)m.data)[k] = (float)value;
    else
        ((uint16_t *)m.data)[k] = px_bf16_of((float)value);
}
static inline void ref_add(px_mat m, int64_t i, int64_t j, double value) {
    ref_put(m, i, j, ref_at(m, i, j) + value);
}

px_weight_new_fn px_ref_weight_new;
px_weight_update_fn px_ref_weight_update;
px_weight_free_fn px_ref_weight_free;
px_linear_fn px_ref_linear;
px_linear_backward_input_fn px_ref_linear_backward_input;
px_linear_backward_weight_fn px_ref_linear_backward_weight;
px_lora_down_fn px_ref_lora_down;
px_lora_up_fn px_ref_lora_up;
px_lora_up_backward_fn px_ref_lora_up_backward;
px_lora_down_backward_fn px_ref_lora_down_backward;
px_embed_fn px_ref_embed;
px_embed_backward_fn px_ref_embed_backward;
px_gather_fn px_ref_gather;
px_scatter_fn px_ref_scatter;
px_rms_norm_fn px_ref_rms_norm;
px_rms_norm_backward_fn px_ref_rms_norm_backward;
px_rope_fn px_ref_rope;
px_swiglu_fn px_ref_swiglu;
px_swiglu_backward_fn px_ref_swiglu_backward;
px_attention_fn px_ref_attention;
px_attention_backward_fn px_ref_attention_backward;
px_cache_new_fn px_ref_cache_new;
px_cache_free_fn px_ref_cache_free;
px_cache_put_fn px_ref_cache_put;
px_attention_cached_fn px_ref_attention_cached;
px_cache_copy_fn px_ref_cache_copy;
px_head_fn px_ref_head;
px_head_backward_fn px_ref_head_backward;
px_head_backward_weight_fn px_ref_head_backward_weight;
px_adamw_fn px_ref_adamw;
px_sum_squares_fn px_ref_sum_squares;

#endif
