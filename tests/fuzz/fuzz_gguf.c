/* fuzz_gguf.c - a GGUF file in memory: opened, then every key asked in every way, every tensor
 * read. */
#include "fuzz_tensors.h"
#include "gguf_internal.h"

static void ask_array(const px_gguf *file, const char *key, int64_t n) {
    const int64_t places[] = {0, 1, n / 2, n - 1, n, -1};
    for (size_t p = 0; p < PX_COUNT(places); p++) {
        const char *text = NULL;
        size_t size = 0;
        double real = 0;
        int64_t whole = 0;
        int64_t i = places[p];
        bool inside = i >= 0 && i < n, any = false;
        if (px_fuzz_opened(px_gguf_array_text(file, key, i, &text, &size))) {
            any = true;
            for (size_t c = 0; c < size; c++) PX_FUZZ_HOLDS((unsigned char)text[c] <= 255);
        }
        any |= px_fuzz_opened(px_gguf_array_f64(file, key, i, &real));
        any |= px_fuzz_opened(px_gguf_array_i64(file, key, i, &whole));
        PX_FUZZ_HOLDS(inside || !any);
    }
}

static void ask(const px_gguf *file, const char *key) {
    const char *text = NULL;
    size_t size = 0;
    double real = 0;
    int64_t whole = 0, n = 0;
    PX_FUZZ_HOLDS(px_gguf_has(file, key));
    if (px_fuzz_opened(px_gguf_text(file, key, &text, &size))) px_utf8_check(text, size);
    bool one = px_fuzz_opened(px_gguf_f64(file, key, &real));
    bool other = px_fuzz_opened(px_gguf_i64(file, key, &whole));
    PX_FUZZ_HOLDS(!one || !other);
    if (!px_fuzz_opened(px_gguf_array(file, key, &n))) return;
    PX_FUZZ_HOLDS(n >= 0);
    ask_array(file, key, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    px_gguf *file = NULL;
    if (!px_fuzz_opened(px_gguf_open_bytes("fuzz.gguf", data, size, &file))) return 0;
    for (int i = 0; i < file->n_values; i++) ask(file, file->values[i].key);
    for (int i = 0; i < px_gguf_count(file); i++) {
        const px_tensor *tensor = px_gguf_at(file, i);
        PX_FUZZ_HOLDS(px_gguf_find(file, tensor->name) == tensor);
        PX_FUZZ_HOLDS(tensor->data >= data &&
                      tensor->bytes <= size - (size_t)(tensor->data - data));
        px_fuzz_tensor(tensor);
        px_gguf_forget(file, tensor);
    }
    px_gguf_close(file);
    return 0;
}
