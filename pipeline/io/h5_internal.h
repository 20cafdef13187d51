/* h5_internal.h - shared by h5.c, h5_write.c and h5_read.c. */
#ifndef PX_H5_INTERNAL_H
#define PX_H5_INTERNAL_H

#include "h5.h"

#define H5_RANK_MAX 8

struct px_h5 {
    hid_t file;
    char *path, *path_temp; /* path_temp NULL: open for reading */
    px_ranks ranks;
    bool parallel;      /* all ranks hold the file through MPI-IO */
    hid_t transfer;     /* property list of every read or write */
    int64_t file_bytes; /* when reading: what any size in the file is checked against */
};

/* An error with HDF5's own innermost text: "PATH: OBJECT: what: HDF5: …". Call it before any other
 * HDF5 function, which would clear the text. object may be NULL. */
PX_CHECKED px_err *h5_error(px_kind kind, const px_h5 *h5, const char *object, const char *what,
                            const char *file, int line);
#define H5_FAIL_TO(label, kind, h5, object, what)                                                  \
    do {                                                                                           \
        err = h5_error(kind, h5, object, what, __FILE__, __LINE__);                                \
        goto label;                                                                                \
    } while (0)

/* Collective for a parallel file. Takes the disk blocks of [offset, offset + bytes) of the file
 * being made, so that a full disk is found here: HDF5 does not live through a write that fails, and
 * MPI-IO leaves the other ranks waiting. */
PX_CHECKED px_err *h5_reserve_all(px_h5 *h5, int64_t offset, int64_t bytes);

size_t h5_type_size(px_h5_type type);
hid_t h5_type_memory(px_h5_type type);
hid_t h5_type_file(px_h5_type type);
/* A string of `size` bytes, padded with NUL, UTF-8. Close it. Negative: HDF5 failed. */
hid_t h5_type_text(size_t size);
/* Closes any identifier but a file's; 0 and negative ones are nothing. */
void h5_drop(hid_t id);

#endif
