/* corpus_internal.h - how the corpus file is laid out; for its writer and its reader alone.
 *
 *   /            attributes format, version, soft_after, tokenizer_sha256, template,
 * template_sha256, config, sha256 /users       ids (texts), unseen (u8) /convs       ids (texts)
 * and a dataset a column, /pairs a dataset a column /nodes       token, parent (i32): the
 * conversations' trees one after another, parents counted from the first node of their tree */
#ifndef PX_CORPUS_INTERNAL_H
#define PX_CORPUS_INTERNAL_H

#include "prepare.h"

#define PX_CORPUS_FORMAT "prismx-corpus"

/* A column is a field of px_conv or px_pair, 4 or 8 bytes wide. */
typedef struct {
    const char *name;
    size_t offset, size;
} px_column;

/* The columns of each table; *n their number. Their order is the order of hashing. */
const px_column *px_corpus_conv_columns(int *n);
const px_column *px_corpus_pair_columns(int *n);

#endif
