/* fuzz_files.h - for targets whose reader wants a file's name: one temporary folder a process, in
 * memory where the system has such; and numbers out of an input. */
#ifndef PX_FUZZ_FILES_H
#define PX_FUZZ_FILES_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"

enum { PX_FUZZ_HDF5 = 0x89 }; /* the first byte of every HDF5 file */

static char px_fuzz_folder_[64];

static void px_fuzz_folder_end_(void) { px_err_free(px_dir_remove(px_fuzz_folder_)); }

/* Name of a file, or of a folder, in the process's own folder; until the next call. */
static inline const char *px_fuzz_path(const char *name) {
    static char path[128];
    if (!*px_fuzz_folder_) {
        const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(px_fuzz_folder_, sizeof px_fuzz_folder_, "%s/px-fuzz-XXXXXX", parent);
        PX_FUZZ_HOLDS(mkdtemp(px_fuzz_folder_));
        atexit(px_fuzz_folder_end_);
    }
    snprintf(path, sizeof path, "%s/%s", px_fuzz_folder_, name);
    return path;
}

static inline void px_fuzz_write(const char *path, const uint8_t *data, size_t size) {
    FILE *f = fopen(path, "wb");
    PX_FUZZ_HOLDS(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

typedef struct {
    const uint8_t *data;
    size_t size, at;
} px_fuzz_bytes;

/* The next byte as a number, 0 behind the end; the two ends stand for those of 32 bits. */
static inline int32_t px_fuzz_next(px_fuzz_bytes *in) {
    int value = in->at < in->size ? (int8_t)in->data[in->at++] : 0;
    return value == INT8_MAX ? INT32_MAX : value == INT8_MIN ? INT32_MIN : value;
}

#endif
