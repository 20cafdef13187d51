/* fuzz_json.c - a text as JSON, as a file with comments, and as JSON lines. What is read prints to
 * a text that reads to the same print. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "json.h"

typedef void printer(const cJSON *item, px_str *out);

static void prints_the_same(const cJSON *json, printer *print) {
    px_str first = {0}, second = {0};
    cJSON *again = NULL;
    print(json, &first);
    PX_FUZZ_HOLDS(!px_str_ok(&first));
    PX_FUZZ_HOLDS(px_fuzz_opened(px_json_parse(first.data, first.size, &again)));
    print(again, &second);
    PX_FUZZ_HOLDS(first.size == second.size && !memcmp(first.data, second.data, first.size));
    cJSON_Delete(again);
    px_str_free(&first);
    px_str_free(&second);
}

/* A file in memory with this content; its name goes to path. */
static int memory_file(const uint8_t *data, size_t size, char path[64]) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    PX_FUZZ_HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static void read_lines(const char *path, size_t size) {
    px_lines *lines = NULL;
    const char *text = "";
    size_t length = 0, total = 0;
    int64_t line = 0, last = 0;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_lines_open(path, &lines)));
    while (px_fuzz_opened(px_lines_next(lines, &text, &length, &line)) && text) {
        PX_FUZZ_HOLDS(line > last && text[length] == 0 && length > 0);
        PX_FUZZ_HOLDS(!memchr(text, '\n', length));
        last = line;
        total += length;
        cJSON *json = NULL;
        if (px_fuzz_opened(px_json_parse(text, length, &json))) cJSON_Delete(json);
    }
    PX_FUZZ_HOLDS(total <= size);
    px_lines_close(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *json = NULL;
    if (px_fuzz_opened(px_json_parse((const char *)data, size, &json))) {
        prints_the_same(json, px_json_print);
        prints_the_same(json, px_json_print_pretty);
        cJSON_Delete(json);
    }
    char path[64];
    int fd = memory_file(data, size, path);
    if (px_fuzz_opened(px_json_read(path, true, &json))) cJSON_Delete(json);
    read_lines(path, size);
    close(fd);
    return 0;
}
