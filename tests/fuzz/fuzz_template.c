/* fuzz_template.c - a chat template, opened as chatml and rendered with a small vocabulary. A
 * message's text never becomes a special token, whatever the template does with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "text.h"

static const char vocabulary[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u010a\":3},"
    "\"merges\":[\"a b\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"added_tokens\":[{\"id\":4,\"content\":\"<|im_start|>\",\"special\":true},"
    "{\"id\":5,\"content\":\"<|im_end|>\",\"special\":true}]}";
static const char config[] = "{\"bos_token\":\"<|im_start|>\",\"eos_token\":\"<|im_end|>\"}";
/* What makes any template one of the family. */
static const char sign[] = "{# <|im_start|> <|im_end|> #}";

static void put(const char *folder, const char *name, const void *data, size_t size) {
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    PX_FUZZ_HOLDS(f && fwrite(data, 1, size, f) == size);
    if (!strcmp(name, "chat_template.jinja"))
        PX_FUZZ_HOLDS(fwrite(sign, 1, sizeof sign - 1, f) == sizeof sign - 1);
    PX_FUZZ_HOLDS(fclose(f) == 0);
}

static void use(px_template *tmpl, px_tokenizer *tok) {
    px_message talk[] = {{"system", " ab ", 4}, {"user", "a\n", 2}, {"assistant", "b", 1}};
    for (int first = 0; first < 2; first++) {
        for (int n = 1; first + n <= 3; n++) {
            px_ids ids = {0};
            if (px_fuzz_opened(px_template_encode(tmpl, tok, talk + first, n, true, &ids)))
                PX_FUZZ_HOLDS(first + n < 3 ||
                              (ids.n && ids.ids[ids.n - 1] == px_tokenizer_eos(tok)));
            px_ids_free(&ids);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[] = "/tmp/px_fuzz_XXXXXX";
    px_tokenizer *tok = NULL;
    px_template *tmpl = NULL;
    PX_FUZZ_HOLDS(mkdtemp(folder));
    put(folder, "tokenizer.json", vocabulary, sizeof vocabulary - 1);
    put(folder, "tokenizer_config.json", config, sizeof config - 1);
    put(folder, "chat_template.jinja", data, size);
    if (px_fuzz_opened(px_tokenizer_open(folder, &tok))) {
        if (px_fuzz_opened(px_template_open(tok, "auto", &tmpl))) use(tmpl, tok);
        px_template_close(tmpl);
        px_tokenizer_close(tok);
    }
    px_err *err = px_dir_remove(folder);
    PX_FUZZ_HOLDS(!err);
    return 0;
}
