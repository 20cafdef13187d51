/* hash.h - SHA-256 (FIPS 180-4) by OpenSSL. */
#ifndef PX_HASH_H
#define PX_HASH_H

#include <stddef.h>

#include "err.h"

typedef struct px_sha px_sha;
typedef struct {
    char hex[65]; /* 64 hexadecimal digits and NUL */
} px_digest;

PX_CHECKED px_err *px_sha_new(px_sha **out);
void px_sha_add(px_sha *sha, const void *data, size_t size);
/* Adds a text and the NUL behind it, so that neighbours cannot run into one another. */
void px_sha_text(px_sha *sha, const char *text);
/* The digest of all that was added; sha is freed. PX_RUN_FAILED when OpenSSL failed. */
PX_CHECKED px_err *px_sha_end(px_sha *sha, px_digest *out);
PX_CHECKED px_err *px_sha_bytes(const void *data, size_t size, px_digest *out);
/* Digest of a file's content. PX_BAD_INPUT: cannot be read. */
PX_CHECKED px_err *px_sha_file(const char *path, px_digest *out);

#endif
