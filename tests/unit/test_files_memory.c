/* test_files_memory.c - the k-th allocation fails, for every k, while a file is opened or written:
 * an error comes back, nothing is left behind (the leak check of the asan preset), and no part of a
 * file. The linker sends the allocations of our own code through the functions below. */
#include "files.h"

#include <sys/mman.h>

#include "files_internal.h"

static long allocations_left = -1; /* -1: all succeed */

static bool refused(void) { return allocations_left >= 0 && allocations_left-- == 0; }

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_mmap(void *at, size_t size, int protect, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_mmap(void *at, size_t size, int protect, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t size) { return refused() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) {
    return refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return refused() ? NULL : __real_realloc(old, size);
}

void *__wrap_mmap(void *at, size_t size, int protect, int flags, int fd, off_t offset) {
    return refused() ? MAP_FAILED : __real_mmap(at, size, protect, flags, fd, offset);
}

typedef px_err *attempt(const char *folder);

static px_err *gguf(const char *folder) {
    (void)folder;
    px_gguf *file = NULL;
    px_err *err = px_gguf_open(GOLDEN("weights.gguf"), &file);
    if (err) assert_null(file);
    px_gguf_close(file);
    return err;
}

static px_err *safetensors(const char *folder) {
    (void)folder;
    px_safetensors *file = NULL;
    px_err *err = px_safetensors_open(GOLDEN("weights.safetensors"), &file);
    if (err) assert_null(file);
    px_safetensors_close(file);
    return err;
}

static px_err *shards(const char *folder) {
    px_safetensors *file = NULL;
    px_err *err = px_safetensors_open(folder, &file);
    if (err) assert_null(file);
    px_safetensors_close(file);
    return err;
}

static px_err *writing(const char *folder) {
    static const float x[2] = {1, 2};
    const px_safetensors_item items[] = {{"a", PX_T_F32, 1, {2}, x}, {"b", PX_T_F32, 1, {1}, x}};
    const char *const metadata[] = {"format", "pt", NULL};
    char path[256];
    snprintf(path, sizeof path, "%s/written", folder);
    px_err *err = px_safetensors_write(path, items, 2, metadata);
    if (err) assert_false(px_path_exists(path));
    return err;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const struct {
        attempt *run;
        long least; /* allocations that a whole run makes at least: fewer and nothing is tested */
    } attempts[] = {{gguf, 5}, {safetensors, 5}, {shards, 10}, {writing, 3}};
    static const char index[] = "{\"weight_map\":{\"a\":\"one\"}}";
    static const float x = 1;
    const px_safetensors_item item = {"a", PX_T_F32, 0, {0}, &x};
    char *folder = temp_folder(), *shard = px_path_join(folder, "one");
    char *path = px_path_join(folder, "model.safetensors.index.json");
    px_assert_ok(px_safetensors_write(shard, &item, 1, NULL));
    px_assert_ok(px_file_write(path, index, sizeof index - 1));
    for (size_t i = 0; i < PX_COUNT(attempts); i++) {
        long k = 0;
        for (bool failed = true; failed; k++) {
            allocations_left = k;
            px_err *err = attempts[i].run(folder);
            allocations_left = -1;
            failed = err != NULL;
            if (failed) assert_true(*px_err_text(err));
            px_err_free(err);
        }
        if (k <= attempts[i].least) fail_msg("attempt %zu made %ld allocations", i, k - 1);
    }
    free(path);
    free(shard);
    temp_folder_end(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
