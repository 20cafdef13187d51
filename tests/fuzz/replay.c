/* replay.c - feeds the files of the folders it is given to a fuzz target, each as a heap copy of
 * exactly its size. So the inputs that once broke a reader are an ordinary test, with any compiler.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static bool replay_file(const char *path) {
    px_bytes bytes = {0};
    px_err *err = px_file_read(path, &bytes);
    uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
    bool ok = !err && copy;
    if (ok) {
        if (bytes.size) memcpy(copy, bytes.data, bytes.size);
        LLVMFuzzerTestOneInput(copy, bytes.size);
    } else {
        fprintf(stderr, "%s: %s\n", path, err ? px_err_text(err) : "out of memory");
    }
    px_err_free(err);
    px_bytes_free(&bytes);
    free(copy);
    return ok;
}

/* Number of files fed, or -1. */
static int replay_folder(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return -1;
    }
    for (struct dirent *entry; n >= 0 && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char *path = px_path_join(folder, entry->d_name);
        n = path && replay_file(path) ? n + 1 : -1;
        free(path);
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv) {
    int status = argc < 2;
    for (int i = 1; i < argc; i++) {
        int n = replay_folder(argv[i]);
        printf("%s: %d inputs\n", argv[i], n);
        if (n <= 0) status = 1;
    }
    return status;
}
