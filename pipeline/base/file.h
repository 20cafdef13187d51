/* file.h - whole files in, whole files out. A file is written under a temporary name, flushed,
 * renamed, and its folder flushed: a reader sees the old content or the new, never a part. */
#ifndef PX_FILE_H
#define PX_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "str.h"

/* The whole file, NUL behind it. PX_BAD_INPUT: cannot be read. */
PX_CHECKED px_err *px_file_read(const char *path, px_bytes *out);
/* Writes data as the file's whole content, atomically. */
PX_CHECKED px_err *px_file_write(const char *path, const void *data, size_t size);

/* A file on its way: write to stream, then commit, or drop. {0} is closed. */
typedef struct {
    FILE *stream;
    char *path, *path_temp;
} px_file_out;
PX_CHECKED px_err *px_file_out_open(const char *path, px_file_out *out);
/* Flush, fsync, rename, fsync the folder. On failure the temporary file is gone. Closes either way.
 */
PX_CHECKED px_err *px_file_out_commit(px_file_out *out);
/* Removes the temporary file; no-op after commit. */
void px_file_out_drop(px_file_out *out);
/* The temporary name used for `path` ("DIR/.NAME.tmp"), heap; for libraries that open files. */
PX_CHECKED px_err *px_temp_name(const char *path, char **out);
/* The last half of an atomic write, for a file that a library wrote: fsync, rename, fsync folder.
 */
PX_CHECKED px_err *px_file_publish(const char *path_temp, const char *path);

/* Read-only mapping. {0} is closed; an empty file maps to size 0 and data NULL. */
typedef struct {
    const unsigned char *data;
    size_t size;
} px_map_file;
PX_CHECKED px_err *px_map_open(const char *path, px_map_file *out);
/* Lets go of the resident pages of [offset, offset + size): they are read again when touched. */
void px_map_forget(const px_map_file *map, size_t offset, size_t size);
void px_map_close(px_map_file *map);

bool px_path_exists(const char *path);
bool px_path_is_dir(const char *path);
/* "a/b", heap; NULL without memory. */
char *px_path_join(const char *dir, const char *name);
/* mkdir -p. */
PX_CHECKED px_err *px_dir_make(const char *path);
/* Removes a folder and all in it; nothing there is success. */
PX_CHECKED px_err *px_dir_remove(const char *path);
/* Bytes free to this user on the file system that holds path (or its nearest existing parent);
 * -1: not known. */
int64_t px_disk_free(const char *path);

#endif
