/* fuzz_safetensors_index.c - the index of a sharded model beside two good shards "1" (a, b) and "2"
 * (c). */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz_tensors.h"

static char folder[] = "/tmp/px-fuzz-XXXXXX"; /* one a process; removed at its end */

static void folder_end(void) { px_fuzz_opened(px_dir_remove(folder)); }

static void shard_put(const char *name, const px_safetensors_item *items, int n) {
    char *path = px_path_join(folder, name);
    PX_FUZZ_HOLDS(path && px_fuzz_opened(px_safetensors_write(path, items, n, NULL)));
    free(path);
}

static void folder_make(void) {
    static const float x[2] = {1, 2};
    static const px_safetensors_item items[] = {
        {"a", PX_T_F32, 1, {2}, x}, {"b", PX_T_F32, 0, {0}, x}, {"c", PX_T_F32, 1, {1}, x}};
    PX_FUZZ_HOLDS(mkdtemp(folder));
    atexit(folder_end);
    shard_put("1", items, 2);
    shard_put("2", items + 2, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool made = false;
    if (!made) folder_make();
    made = true;
    char *path = px_path_join(folder, "model.safetensors.index.json");
    FILE *index = path ? fopen(path, "wb") : NULL; /* no fsync: thousands a second */
    PX_FUZZ_HOLDS(index && fwrite(data, 1, size, index) == size && !fclose(index));
    free(path);
    px_safetensors *file = NULL;
    if (!px_fuzz_opened(px_safetensors_open(folder, &file))) return 0;
    int n = 0;
    const char *const *files = px_safetensors_files(file, &n);
    for (int i = 0; i < n; i++) PX_FUZZ_HOLDS(px_path_exists(files[i]));
    for (int i = 0; i < px_safetensors_count(file); i++) px_fuzz_tensor(px_safetensors_at(file, i));
    px_safetensors_close(file);
    return 0;
}
