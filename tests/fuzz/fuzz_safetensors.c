/* fuzz_safetensors.c - a safetensors file in memory: opened, then every tensor read. */
#include "fuzz_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    px_safetensors *file = NULL;
    if (!px_fuzz_opened(px_safetensors_open_bytes("fuzz.safetensors", data, size, &file))) return 0;
    size_t sum = 0;
    for (int i = 0; i < px_safetensors_count(file); i++) {
        const px_tensor *tensor = px_safetensors_at(file, i);
        PX_FUZZ_HOLDS(px_safetensors_find(file, tensor->name) == tensor);
        PX_FUZZ_HOLDS(tensor->data >= data &&
                      tensor->bytes <= size - (size_t)(tensor->data - data));
        sum += tensor->bytes;
        px_fuzz_tensor(tensor);
        px_safetensors_forget(file, tensor);
    }
    PX_FUZZ_HOLDS(sum < size); /* they tile the data */
    px_safetensors_close(file);
    return 0;
}
