/* fuzz_model.c - a model's shape from a GGUF file in memory (first bytes "GGUF"), whose tensors are
 * then read row by row, or from config.json. */
#include <stdlib.h>
#include <string.h>

#include "files_internal.h"
#include "fuzz.h"
#include "model_internal.h"

enum { FLOATS_MOST = 1 << 20 };

static void read_rows(px_source *source) {
    const px_shape *shape = px_source_shape(source);
    float *row = malloc(FLOATS_MOST * sizeof *row);
    if (!row) return;
    for (int i = 0; i < source->n_base; i++) {
        const px_base_tensor *t = &source->base[i];
        if (t->dims[1] > FLOATS_MOST) continue;
        const int64_t last = t->rank == 1 ? 0 : t->dims[0] - 1;
        px_fuzz_opened(px_source_rows(source, t->name, last, 1, PX_F32, row));
        px_fuzz_opened(px_source_rows(source, t->name, 0, 1, PX_BF16, row));
        px_source_forget(source, t->name);
    }
    px_rope_frequencies(shape, source->rope_factors, row);
    free(row);
}

static void from_gguf(const uint8_t *data, size_t size) {
    px_gguf *file = NULL;
    px_source *source = NULL;
    if (!px_fuzz_opened(px_gguf_open_bytes("fuzz.gguf", data, size, &file))) return;
    if (!px_fuzz_opened(px_source_of_gguf(file, &source))) return;
    read_rows(source);
    px_source_close(source);
}

static void from_config(const uint8_t *data, size_t size) {
    cJSON *json = NULL;
    px_shape shape;
    if (!px_fuzz_opened(px_json_parse((const char *)data, size, &json))) return;
    if (px_fuzz_opened(px_config_json_shape(json, "config.json", &shape))) {
        const int n = px_base_count(&shape);
        const px_base_tensor last = px_base_at(&shape, n - 1);
        const px_base_layout layout = px_base_layout_of(&shape);
        PX_FUZZ_HOLDS(n > 2 && last.dims[0] > 0 && layout.n > layout.norm);
        PX_FUZZ_HOLDS(shape.head_dim % 2 == 0 && shape.n_heads % shape.n_kv_heads == 0);
    }
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0)
        from_gguf(data, size);
    else
        from_config(data, size);
    return 0;
}
