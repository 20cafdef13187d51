/* h5.h - HDF5 with errors that name file and object. Files are written under a temporary name and
 * published by px_h5_publish; serial by one rank or collectively by all. */
#ifndef PX_H5_H
#define PX_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "dist.h"

typedef enum { PX_H5_F32, PX_H5_F64, PX_H5_I32, PX_H5_I64, PX_H5_U8, PX_H5_U64 } px_h5_type;

typedef struct px_h5 px_h5;

/* Creates the temporary file for `path`. Not collective: one rank alone. */
PX_CHECKED px_err *px_h5_create(const char *path, px_h5 **out);
/* Collective over ranks: parallel HDF5 through MPI-IO when ranks->size > 1. */
PX_CHECKED px_err *px_h5_create_all(const char *path, const px_ranks *ranks, px_h5 **out);
/* Flush, close, fsync, rename. Frees h5. Collective for a file made by _create_all. */
PX_CHECKED px_err *px_h5_publish(px_h5 *h5);
/* Read only. PX_BAD_INPUT: not there, not HDF5, truncated. HDF5's own error text becomes a link;
 * its stack is never printed. */
PX_CHECKED px_err *px_h5_open(const char *path, px_h5 **out);
/* Closes; a file being made and not published is removed. NULL is fine. Collective for a file made
 * by _create_all. */
void px_h5_close(px_h5 *h5);
const char *px_h5_path(const px_h5 *h5);

/* Creates groups on the way ("/trainable/x"). dims [rank], rank 0 is a scalar. The whole dataset by
 * one rank (collective files: all ranks call with the same dims, rank 0's data count). */
PX_CHECKED px_err *px_h5_write(px_h5 *h5, const char *name, px_h5_type type, int rank,
                               const int64_t *dims, const void *data);
/* Collective: every rank writes rows [first, first + n) of the first dimension (n may be 0);
 * together they bring each row once. */
PX_CHECKED px_err *px_h5_write_rows_all(px_h5 *h5, const char *name, px_h5_type type, int rank,
                                        const int64_t *dims, int64_t first, int64_t n,
                                        const void *data);
/* UTF-8 strings of a fixed length, the longest's, padded with NUL: parallel HDF5 writes no variable
 * ones. At most 1 GiB together. Collective files: all ranks call, rank 0's count. */
PX_CHECKED px_err *px_h5_write_texts(px_h5 *h5, const char *name, const char *const *texts,
                                     int64_t n);
/* Attributes of a group or dataset that is there; a fixed-length UTF-8 string. An earlier value is
 * replaced. Collective files: all ranks call, rank 0's value counts. */
PX_CHECKED px_err *px_h5_write_attr_text(px_h5 *h5, const char *object, const char *name,
                                         const char *text);
PX_CHECKED px_err *px_h5_write_attr_i64(px_h5 *h5, const char *object, const char *name,
                                        int64_t value);

bool px_h5_has(px_h5 *h5, const char *name);
/* Dimensions of a dataset; dims [8]. */
PX_CHECKED px_err *px_h5_dims(px_h5 *h5, const char *name, int *rank, int64_t dims[8]);
/* Reads a whole dataset of exactly n elements into data (converted to `type`). PX_BAD_INPUT:
 * another size, a type that is not a number, or a value that a whole-number `type` cannot hold.
 * HDF5 keeps no checksum of a dataset's values, only of the file's structure. */
PX_CHECKED px_err *px_h5_read(px_h5 *h5, const char *name, px_h5_type type, int64_t n, void *data);
/* Elements [first, first + n) of the first dimension of a dataset of any rank. */
PX_CHECKED px_err *px_h5_read_rows(px_h5 *h5, const char *name, px_h5_type type, int64_t first,
                                   int64_t n, void *data);
/* Whole dataset of unknown length into the arena; *n elements. */
PX_CHECKED px_err *px_h5_read_new(px_h5 *h5, const char *name, px_h5_type type, px_arena *arena,
                                  void **data, int64_t *n);
/* Strings (variable or fixed length), copied into the arena. */
PX_CHECKED px_err *px_h5_read_texts(px_h5 *h5, const char *name, px_arena *arena,
                                    const char ***texts, int64_t *n);
PX_CHECKED px_err *px_h5_read_attr_text(px_h5 *h5, const char *object, const char *name,
                                        px_arena *arena, const char **text);
PX_CHECKED px_err *px_h5_read_attr_i64(px_h5 *h5, const char *object, const char *name,
                                       int64_t *value);
/* Names of the datasets in a group, sorted, in the arena. */
PX_CHECKED px_err *px_h5_list(px_h5 *h5, const char *group, px_arena *arena, const char ***names,
                              int *n);

#endif
