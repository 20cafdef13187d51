/* cpu.c - the table of the CPU backend. */
#include <stdio.h>

#include "cpu.h"
#include "tile.h"

void px_kernels_about(px_kernels_info *out) {
    const dnnl_version_t *version = dnnl_version();
    const int isa = (int)dnnl_get_effective_cpu_isa(), wide = (int)dnnl_cpu_isa_avx512_core;
    *out = (px_kernels_info){.path = "plain", .needs = "", .bf16 = (isa & wide) == wide};
#if TILE_AVX512
    out->path = "AVX-512 bf16";
    out->needs = "avx512f avx512bw avx512_bf16";
#elif defined(__AVX512F__)
    out->path = "AVX-512";
    out->needs = "avx512f";
#elif TILE_AVX2
    out->path = "AVX2";
    out->needs = "avx2 fma";
#endif
    snprintf(out->onednn, sizeof out->onednn, "%d.%d.%d", version->major, version->minor,
             version->patch);
}

const px_backend px_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .weight_new = cpu_weight_new,
    .weight_update = cpu_weight_update,
    .weight_free = cpu_weight_free,
    .linear = cpu_linear,
    .linear_backward_input = cpu_linear_backward_input,
    .linear_backward_weight = cpu_linear_backward_weight,
    .lora_down = cpu_lora_down,
    .lora_up = cpu_lora_up,
    .lora_up_backward = cpu_lora_up_backward,
    .lora_down_backward = cpu_lora_down_backward,
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .gather = cpu_gather,
    .scatter = cpu_scatter,
    .rms_norm = cpu_rms_norm,
    .rms_norm_backward = cpu_rms_norm_backward,
    .rope = cpu_rope,
    .swiglu = cpu_swiglu,
    .swiglu_backward = cpu_swiglu_backward,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .cache_new = cpu_cache_new,
    .cache_free = cpu_cache_free,
    .cache_put = cpu_cache_put,
    .attention_cached = cpu_attention_cached,
    .cache_copy = cpu_cache_copy,
    .head = cpu_head,
    .head_backward = cpu_head_backward,
    .head_backward_weight = cpu_head_backward_weight,
    .pick = px_ref_pick,
    .adamw = cpu_adamw,
    .sum_squares = cpu_sum_squares,
    .exact_add = px_ref_exact_add,
    .exact_carry = px_ref_exact_carry,
    .exact_get = px_ref_exact_get,
};
