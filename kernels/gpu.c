/* gpu.c - which GPUs a build for them finds, for messages. */
#include <stdio.h>
#include <string.h>

#include "ops.h"
#ifdef PX_HAVE_CUDA
#include "cuda/gemm.h"

static void version(char out[16], int v) {
    if (v) snprintf(out, 16, "%d.%d", v / 1000, v % 1000 / 10);
}

void px_gpu_facts_get(px_gpu_facts *out) {
    int runtime = 0, driver = 0;
    const char *why = "";
    *out = (px_gpu_facts){.built = true};
    cu_versions(&runtime, &driver);
    version(out->cuda, runtime);
    version(out->driver, driver);
    const int64_t v = cu_gemms_version();
    snprintf(out->cublaslt, sizeof out->cublaslt, "%d.%d.%d", (int)(v / 10000),
             (int)(v / 100 % 100), (int)(v % 100));
    out->n = cu_count(&why);
    snprintf(out->why, sizeof out->why, "%s", why);
    for (int i = 0; i < out->n; i++) {
        cu_card card;
        const size_t used = strlen(out->cards);
        const char *failed = cu_about(i, &card);
        if (!failed) {
            /* This program's own context, made by asking, goes before another begins. */
            const int64_t room = PX_MIN(card.bytes, card.free_bytes + px_card_besides(false));
            out->room = out->room ? PX_MIN(out->room, room) : room;
        }
        if (failed)
            snprintf(out->cards + used, sizeof out->cards - used, "%s%d: %s", i ? "; " : "", i,
                     failed);
        else
            snprintf(out->cards + used, sizeof out->cards - used,
                     "%s%s (sm_%d%d, %.1f GB, %.1f GB free)", i ? "; " : "", card.name, card.major,
                     card.minor, (double)card.bytes / 1e9, (double)card.free_bytes / 1e9);
    }
}
#else
void px_gpu_facts_get(px_gpu_facts *out) { *out = (px_gpu_facts){0}; }
#endif
