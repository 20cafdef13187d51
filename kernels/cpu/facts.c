/* facts.c - which library and which instructions compute here. See px_kernel_facts. */
#include "cpu.h"

#include <stdio.h>

static const char *isa_name(dnnl_cpu_isa_t isa) {
    switch (isa) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx2_vnni:
        return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx:
        return "avx512_core_amx";
    default:
        return "other";
    }
}

void px_kernel_facts_get(px_kernel_facts *out) {
    const dnnl_version_t *version = dnnl_version();
    snprintf(out->onednn, sizeof out->onednn, "%d.%d.%d", version->major, version->minor,
             version->patch);
    snprintf(out->onednn_isa, sizeof out->onednn_isa, "%s", isa_name(dnnl_get_effective_cpu_isa()));
#if defined(__AVX512F__) && defined(__AVX512BF16__)
    const char *own = "avx512 with bf16";
#elif defined(__AVX512F__)
    const char *own = "avx512";
#elif defined(__AVX2__) && defined(__FMA__)
    const char *own = "avx2 with fma";
#else
    const char *own = "plain loops";
#endif
    snprintf(out->own, sizeof out->own, "%s", own);
}
