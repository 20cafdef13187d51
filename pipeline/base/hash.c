/* hash.c - see hash.h. */
#include "hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct px_sha {
    EVP_MD_CTX *context;
    bool failed;
};

px_err *px_sha_new(px_sha **out) {
    px_sha *sha = calloc(1, sizeof *sha);
    if (!sha) PX_NO_MEMORY();
    sha->context = EVP_MD_CTX_new();
    sha->failed = !sha->context || EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) != 1;
    *out = sha;
    return NULL;
}

void px_sha_add(px_sha *sha, const void *data, size_t size) {
    if (!sha->failed) sha->failed = EVP_DigestUpdate(sha->context, data, size) != 1;
}

void px_sha_text(px_sha *sha, const char *text) { px_sha_add(sha, text, strlen(text) + 1); }

px_err *px_sha_end(px_sha *sha, px_digest *out) {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    bool failed = sha->failed || EVP_DigestFinal_ex(sha->context, raw, &size) != 1 || size != 32;
    EVP_MD_CTX_free(sha->context);
    free(sha);
    if (failed) PX_FAIL(PX_RUN_FAILED, "SHA-256: OpenSSL failed");
    for (unsigned int i = 0; i < size; i++) snprintf(out->hex + 2 * i, 3, "%02x", raw[i]);
    return NULL;
}

px_err *px_sha_bytes(const void *data, size_t size, px_digest *out) {
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    px_sha_add(sha, data, size);
    return px_sha_end(sha, out);
}

px_err *px_sha_file(const char *path, px_digest *out) {
    enum { CHUNK = 1 << 20 };
    FILE *file = fopen(path, "rb");
    if (!file) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    px_err *err = NULL;
    px_sha *sha = NULL;
    char *chunk = malloc(CHUNK);
    if (!chunk) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_sha_new(&sha));
    for (size_t n; (n = fread(chunk, 1, CHUNK, file)) > 0;) px_sha_add(sha, chunk, n);
    bool bad = ferror(file) != 0;
    err = px_sha_end(sha, out);
    if (!err && bad) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: read error", path);
done:
    free(chunk);
    fclose(file);
    return err;
}
