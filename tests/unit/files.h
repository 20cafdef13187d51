/* files.h - for the tests of readers: goldens, temporary folders, and building damaged files. */
#ifndef PX_TEST_FILES_H
#define PX_TEST_FILES_H

#include <unistd.h>

#include "px_test.h"

#define GOLDEN(name) PX_SOURCE_DIR "/tests/golden/" name

/* A heap copy of exactly the file's bytes, so that reading one too many is seen. */
static inline unsigned char *bytes_copy(const void *data, size_t size) {
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size) memcpy(copy, data, size);
    return copy;
}

static inline unsigned char *file_bytes(const char *path, size_t *size) {
    px_bytes bytes = {0};
    px_assert_ok(px_file_read(path, &bytes));
    unsigned char *copy = bytes_copy(bytes.data, bytes.size);
    *size = bytes.size;
    px_bytes_free(&bytes);
    return copy;
}

/* Little-endian numbers, appended. */
static inline void put_u32(px_str *out, uint32_t value) { px_str_add(out, (char *)&value, 4); }
static inline void put_u64(px_str *out, uint64_t value) { px_str_add(out, (char *)&value, 8); }
static inline void put_text(px_str *out, const char *text) {
    put_u64(out, strlen(text));
    px_str_text(out, text);
}

static inline char *temp_folder(void) {
    char *name = strdup("/tmp/px-files-XXXXXX");
    assert_non_null(name);
    assert_non_null(mkdtemp(name));
    return name;
}

static inline void temp_folder_end(char *name) {
    px_assert_ok(px_dir_remove(name));
    free(name);
}

#endif
