/* file.c - see file.h. */
#include "file.h"
#include "guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

px_err *px_file_read(const char *path, px_bytes *out) {
    FILE *file = fopen(path, "rb");
    if (!file) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    px_err *err = NULL;
    px_str text = {0};
    char chunk[65536];
    struct stat st;
    if (fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: is a folder, a file is wanted", path);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;) px_str_add(&text, chunk, n);
    if (ferror(file)) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    px_str_add(&text, "", 0);
    PX_PASS_TO(done, px_str_ok(&text));
    *out = (px_bytes){text.data, text.size};
    text = (px_str){0};
done:
    px_str_free(&text);
    fclose(file);
    return err;
}

px_err *px_temp_name(const char *path, char **out) {
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;
    const char *token = px_guard_token(path);
    if (asprintf(out, "%.*s.%s%s%s.tmp", dir, path, path + dir, *token ? "." : "", token) < 0)
        PX_NO_MEMORY();
    return NULL;
}

static px_err *sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) PX_FAIL(PX_RUN_FAILED, "%s: %s", path, strerror(errno));
    int bad = fsync(fd);
    int why = errno;
    close(fd);
    /* Some file systems cannot sync a folder and say EINVAL: nothing more can be done there. */
    if (bad && why != EINVAL) PX_FAIL(PX_RUN_FAILED, "%s: fsync: %s", path, strerror(why));
    return NULL;
}

px_err *px_file_publish(const char *path_temp, const char *path) {
    PX_PASS(sync_path(path_temp, O_RDONLY));
    PX_PASS(px_guard_pass(path)); /* last, since the flush may have taken long */
    if (rename(path_temp, path)) PX_FAIL(PX_RUN_FAILED, "%s: rename: %s", path, strerror(errno));
    char *copy = strdup(path);
    if (!copy) PX_NO_MEMORY();
    px_err *err = sync_path(dirname(copy), O_RDONLY | O_DIRECTORY);
    free(copy);
    return err;
}

px_err *px_file_out_open(const char *path, px_file_out *out) {
    px_file_out file = {0};
    PX_PASS(px_temp_name(path, &file.path_temp));
    file.path = strdup(path);
    if (file.path) file.stream = fopen(file.path_temp, "wb");
    if (!file.stream) {
        int why = errno;
        free(file.path);
        free(file.path_temp);
        PX_FAIL(PX_BAD_INPUT, "%s: cannot be written: %s", path, strerror(why));
    }
    *out = file;
    return NULL;
}

static void file_out_end(px_file_out *out) {
    free(out->path);
    free(out->path_temp);
    *out = (px_file_out){0};
}

px_err *px_file_out_commit(px_file_out *out) {
    px_err *err = NULL;
    int bad = fflush(out->stream) || ferror(out->stream);
    int why = errno;
    long size = ftell(out->stream);
    bad |= fclose(out->stream);
    out->stream = NULL;
    if (bad)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%s: write: %s: %ld bytes are wanted, %lld are free", out->path,
                         strerror(why), size, (long long)px_disk_free(out->path));
    if (!err) err = px_file_publish(out->path_temp, out->path);
    if (err) unlink(out->path_temp);
    file_out_end(out);
    return err;
}

void px_file_out_drop(px_file_out *out) {
    if (!out->path) return;
    if (out->stream) fclose(out->stream);
    unlink(out->path_temp);
    file_out_end(out);
}

px_err *px_file_write(const char *path, const void *data, size_t size) {
    px_file_out out = {0};
    PX_PASS(px_file_out_open(path, &out));
    fwrite(data, 1, size, out.stream); /* a short write shows in ferror at commit */
    return px_file_out_commit(&out);
}

px_err *px_map_open(const char *path, px_map_file *out) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        PX_FAIL(PX_BAD_INPUT, "%s: not a regular file", path);
    }
    *out = (px_map_file){0};
    if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            int why = errno;
            close(fd);
            PX_FAIL(PX_RUN_FAILED, "%s: mmap: %s", path, strerror(why));
        }
        *out = (px_map_file){data, (size_t)st.st_size};
    }
    close(fd);
    return NULL;
}

void px_map_forget(const px_map_file *map, size_t offset, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = (offset + page - 1) / page * page, last = (offset + size) / page * page;
    if (last > first && last <= map->size)
        madvise((void *)(uintptr_t)(map->data + first), last - first, MADV_DONTNEED);
}

void px_map_close(px_map_file *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (px_map_file){0};
}

bool px_path_exists(const char *path) { return access(path, F_OK) == 0; }

bool px_path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *px_path_join(const char *dir, const char *name) {
    char *path = NULL;
    size_t n = strlen(dir);
    const char *slash = n && dir[n - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", dir, slash, name) < 0 ? NULL : path;
}

px_err *px_dir_make(const char *path) {
    char *copy = strdup(path);
    if (!copy) PX_NO_MEMORY();
    px_err *err = NULL;
    for (char *p = copy + 1;; p++) {
        char c = *p;
        if (c != '/' && c) continue;
        *p = 0;
        if (mkdir(copy, 0777) && !(errno == EEXIST && px_path_is_dir(copy))) {
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: folder cannot be made: %s",
                             copy, strerror(errno));
            break;
        }
        *p = c;
        if (!c) break;
    }
    free(copy);
    return err;
}

static px_err *remove_at(int parent, const char *name, const char *shown) {
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT) return NULL;
        PX_FAIL(PX_RUN_FAILED, "%s: %s", shown, strerror(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
            if (fd >= 0) close(fd);
            PX_FAIL(PX_RUN_FAILED, "%s: %s", shown, strerror(errno));
        }
        px_err *err = NULL;
        for (struct dirent *e; !err && (e = readdir(dir));)
            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                err = remove_at(dirfd(dir), e->d_name, shown);
        closedir(dir);
        if (err) return err;
    }
    if (unlinkat(parent, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) && errno != ENOENT)
        PX_FAIL(PX_RUN_FAILED, "%s: cannot be removed: %s", shown, strerror(errno));
    return NULL;
}

px_err *px_dir_remove(const char *path) { return remove_at(AT_FDCWD, path, path); }

int64_t px_disk_free(const char *path) {
    struct statvfs fs;
    char *at = strdup(path);
    int64_t bytes = -1;
    while (at) {
        if (statvfs(at, &fs) == 0) {
            bytes = (int64_t)(fs.f_bavail * fs.f_frsize);
            break;
        }
        if (errno != ENOENT || !strcmp(at, "/") || !strcmp(at, ".")) break;
        char *parent = strdup(dirname(at));
        free(at);
        at = parent;
    }
    free(at);
    return bytes;
}
