/* fuzz_tokenizer.c - a vocabulary: a GGUF file where the input begins so, else a tokenizer.json.
 * What is read encodes a text and the input itself, and decodes every id that it made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "text.h"

static const char sample[] =
    "Hello  world, it's 12345\n\n<|im_end|> é\xCC\x81 \xF0\x9F\x98\x80 \xFF a";

static void use(px_tokenizer *tok, const char *text, size_t size, bool special) {
    px_ids ids = {0};
    px_str out = {0};
    if (px_fuzz_opened(px_encode(tok, text, size, special, &ids))) {
        for (int32_t i = 0; i < ids.n; i++)
            PX_FUZZ_HOLDS(ids.ids[i] >= 0 && ids.ids[i] < px_tokenizer_size(tok));
        PX_FUZZ_HOLDS(!px_decode(tok, ids.ids, ids.n, true, &out));
    }
    px_str_free(&out);
    px_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[] = "/tmp/px_fuzz_XXXXXX", path[64];
    px_tokenizer *tok = NULL;
    bool gguf = size >= 4 && !memcmp(data, "GGUF", 4);
    PX_FUZZ_HOLDS(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/%s", folder, gguf ? "vocab.gguf" : "tokenizer.json");
    FILE *f = fopen(path, "wb");
    PX_FUZZ_HOLDS(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
    if (px_fuzz_opened(px_tokenizer_open(gguf ? path : folder, &tok))) {
        use(tok, sample, sizeof sample - 1, false);
        use(tok, sample, sizeof sample - 1, true);
        use(tok, (const char *)data, size, false);
        px_tokenizer_close(tok);
    }
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}
