/* fuzz_h5.c - an HDF5 file that may be damaged: opened, and everything in it asked for in every
 * way. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "h5.h"

#define ROOM (1 << 16)

static void ask_dataset(px_h5 *h5, px_arena *arena, const char *name) {
    static double data[ROOM];
    int rank = 0;
    int64_t dims[8], n = 1;
    void *made = NULL;
    const char **texts = NULL;
    if (px_fuzz_opened(px_h5_dims(h5, name, &rank, dims))) {
        for (int i = 0; i < rank; i++) n = dims[i] > ROOM ? ROOM + 1 : n > ROOM ? n : n * dims[i];
        if (n <= ROOM) {
            px_fuzz_opened(px_h5_read(h5, name, PX_H5_F64, n, data));
            px_fuzz_opened(px_h5_read(h5, name, PX_H5_I32, n, data));
            px_fuzz_opened(px_h5_read_rows(h5, name, PX_H5_F32, 1, 1, data));
        }
    }
    if (px_fuzz_opened(px_h5_read_new(h5, name, PX_H5_F32, arena, &made, &n)))
        PX_FUZZ_HOLDS(n >= 0 && made);
    if (px_fuzz_opened(px_h5_read_texts(h5, name, arena, &texts, &n)))
        for (int64_t i = 0; i < n; i++)
            PX_FUZZ_HOLDS(px_utf8_check(texts[i], strlen(texts[i])) < 0);
}

static void ask(px_h5 *h5, px_arena *arena) {
    static const char *const groups[] = {"/", "/trainable", "/none"};
    static const char *const objects[] = {"/", "/trainable", "/u8", "/ids", "/packed", "/variable"};
    static const char *const attributes[] = {"sha256", "step", "note", "count", "list"};
    const char **names = NULL, *text = NULL;
    int64_t value = 0;
    int n = 0;
    for (size_t g = 0; g < PX_COUNT(groups); g++) {
        if (!px_fuzz_opened(px_h5_list(h5, groups[g], arena, &names, &n))) continue;
        for (int i = 0; i < n; i++) {
            char name[256];
            snprintf(name, sizeof name, "%s/%s", g ? groups[g] : "", names[i]);
            ask_dataset(h5, arena, name);
        }
    }
    for (size_t o = 0; o < PX_COUNT(objects); o++)
        for (size_t a = 0; a < PX_COUNT(attributes); a++) {
            px_fuzz_opened(px_h5_read_attr_text(h5, objects[o], attributes[a], arena, &text));
            px_fuzz_opened(px_h5_read_attr_i64(h5, objects[o], attributes[a], &value));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    PX_FUZZ_HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    px_h5 *h5 = NULL;
    px_arena *arena = NULL;
    PX_FUZZ_HOLDS(!px_arena_new(ROOM, &arena));
    if (px_fuzz_opened(px_h5_open(path, &h5))) ask(h5, arena);
    px_h5_close(h5);
    px_arena_free(arena);
    close(fd);
    return 0;
}
