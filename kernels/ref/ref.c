/* ref.c - the table of the reference backend. */
#include "ref.h"

static px_err *open_nothing(px_stream *s) {
    (void)s;
    return NULL;
}
static void close_nothing(px_stream *s) { (void)s; }

const px_backend px_backend_ref = {
    .name = "ref",
    .open = open_nothing,
    .close = close_nothing,
    .weight_new = px_ref_weight_new,
    .weight_update = px_ref_weight_update,
    .weight_free = px_ref_weight_free,
    .linear = px_ref_linear,
    .linear_backward_input = px_ref_linear_backward_input,
    .linear_backward_weight = px_ref_linear_backward_weight,
    .lora_down = px_ref_lora_down,
    .lora_up = px_ref_lora_up,
    .lora_up_backward = px_ref_lora_up_backward,
    .lora_down_backward = px_ref_lora_down_backward,
    .embed = px_ref_embed,
    .embed_backward = px_ref_embed_backward,
    .gather = px_ref_gather,
    .scatter = px_ref_scatter,
    .rms_norm = px_ref_rms_norm,
    .rms_norm_backward = px_ref_rms_norm_backward,
    .rope = px_ref_rope,
    .swiglu = px_ref_swiglu,
    .swiglu_backward = px_ref_swiglu_backward,
    .attention = px_ref_attention,
    .attention_backward = px_ref_attention_backward,
    .cache_new = px_ref_cache_new,
    .cache_free = px_ref_cache_free,
    .cache_put = px_ref_cache_put,
    .attention_cached = px_ref_attention_cached,
    .cache_copy = px_ref_cache_copy,
    .head = px_ref_head,
    .head_backward = px_ref_head_backward,
    .head_backward_weight = px_ref_head_backward_weight,
    .pick = px_ref_pick,
    .adamw = px_ref_adamw,
    .sum_squares = px_ref_sum_squares,
    .exact_add = px_ref_exact_add,
    .exact_carry = px_ref_exact_carry,
    .exact_get = px_ref_exact_get,
};
