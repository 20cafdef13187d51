/* export_tokenizer.c - tokenizer.json and tokenizer_config.json as transformers reads them, written
 * from a GGUF file's byte-level BPE vocabulary, or for the byte tokenizer of the tiny random model.
 */
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

#define BYTE_LEVEL(prefix, regex)                                                                  \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": " prefix                                      \
    ", \"trim_offsets\": true, \"use_regex\": " regex "}"
#define SPLIT(pattern)                                                                             \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": " \
    "\"" pattern                                                                                   \
    "\"}, \"behavior\": \"Isolated\", \"invert\": false}, " BYTE_LEVEL("false", "false") "]}"
#define WORDS(digits)                                                                              \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits                 \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

typedef struct {
    const char *pre; /* tokenizer.ggml.pre */
    const char *normalizer, *splitter;
    bool ignore_merges;
} pre_type;
static const pre_type pre_types[] = {
    {"gpt-2", "null", BYTE_LEVEL("false", "true"), false},
    {"smollm", "null",
     "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": "
     "true}, " BYTE_LEVEL("false", "true") "]}",
     false},
    {"llama-bpe", "null", SPLIT(WORDS("\\\\p{N}{1,3}")), true},
    {"qwen2", "{\"type\": \"NFC\"}", SPLIT(WORDS("\\\\p{N}")), false},
};

/* What stands before and behind the vocabulary. */
static void begin(px_str *out) {
    px_str_text(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                     "  \"added_tokens\": [");
}
static void add_special(px_str *out, int64_t n_before, int64_t id, const char *text, size_t size,
                        bool special) {
    px_str_format(out, "%s\n    {\"id\": %lld, \"content\": ", n_before ? "," : "", (long long)id);
    px_str_json(out, text, size);
    px_str_format(out,
                  ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                  "\"normalized\": false, \"special\": %s}",
                  special ? "true" : "false");
}
static void middle(px_str *out, const pre_type *pre, const char *post) {
    px_str_format(out,
                  "\n  ],\n  \"normalizer\": %s,\n  \"pre_tokenizer\": %s,\n"
                  "  \"post_processor\": %s,\n  \"decoder\": %s,\n  \"model\": {\n"
                  "    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,\n"
                  "    \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n"
                  "    \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": %s,\n"
                  "    \"vocab\": {",
                  pre->normalizer, pre->splitter, post, BYTE_LEVEL("true", "true"),
                  pre->ignore_merges ? "true" : "false");
}
static void add_piece(px_str *out, int64_t n_before, int64_t id, const char *text, size_t size) {
    px_str_text(out, n_before ? ",\n      " : "\n      ");
    px_str_json(out, text, size);
    px_str_format(out, ": %lld", (long long)id);
}

/* --- from a GGUF file --- */

static px_err *pre_find(const px_gguf *file, const pre_type **out) {
    const char *text = NULL;
    size_t size = 0;
    *out = NULL;
    if (!px_gguf_has(file, "tokenizer.ggml.model") || !px_gguf_has(file, "tokenizer.ggml.pre") ||
        !px_gguf_has(file, "tokenizer.ggml.tokens") || !px_gguf_has(file, "tokenizer.ggml.merges"))
        return NULL;
    PX_PASS(px_gguf_text(file, "tokenizer.ggml.model", &text, &size));
    if (size != 4 || memcmp(text, "gpt2", 4) != 0) return NULL;
    PX_PASS(px_gguf_text(file, "tokenizer.ggml.pre", &text, &size));
    for (size_t i = 0; i < PX_COUNT(pre_types); i++)
        if (strlen(pre_types[i].pre) == size && memcmp(pre_types[i].pre, text, size) == 0)
            *out = &pre_types[i];
    return NULL;
}

/* GGUF's token types: 3 control, 4 user-defined. */
static px_err *add_specials(const px_gguf *file, px_str *out, int64_t n) {
    int64_t n_special = 0, n_types = 0;
    if (!px_gguf_has(file, "tokenizer.ggml.token_type")) return NULL;
    PX_PASS(px_gguf_array(file, "tokenizer.ggml.token_type", &n_types));
    for (int64_t i = 0; i < PX_MIN(n, n_types); i++) {
        const char *text = NULL;
        size_t size = 0;
        int64_t type = 0;
        PX_PASS(px_gguf_array_i64(file, "tokenizer.ggml.token_type", i, &type));
        if (type != 3 && type != 4) continue;
        PX_PASS(px_gguf_array_text(file, "tokenizer.ggml.tokens", i, &text, &size));
        add_special(out, n_special++, i, text, size, type == 3);
    }
    return NULL;
}

static px_err *add_post(const px_gguf *file, px_str *out) {
    int64_t add_bos = 0, bos = -1;
    const char *text = NULL;
    size_t size = 0;
    if (px_gguf_has(file, "tokenizer.ggml.add_bos_token"))
        PX_PASS(px_gguf_i64(file, "tokenizer.ggml.add_bos_token", &add_bos));
    if (!add_bos) {
        px_str_text(out, "null");
        return NULL;
    }
    PX_PASS(px_gguf_i64(file, "tokenizer.ggml.bos_token_id", &bos));
    PX_PASS(px_gguf_array_text(file, "tokenizer.ggml.tokens", bos, &text, &size));
    px_str_text(out,
                "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": ");
    px_str_json(out, text, size);
    px_str_text(out,
                ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": "
                "[{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
                "\"B\", \"type_id\": 1}}], \"special_tokens\": {");
    px_str_json(out, text, size);
    px_str_text(out, ": {\"id\": ");
    px_str_json(out, text, size);
    px_str_format(out, ", \"ids\": [%lld], \"tokens\": [", (long long)bos);
    px_str_json(out, text, size);
    px_str_text(out, "]}}}");
    return NULL;
}

static px_err *tokenizer_text(const px_gguf *file, const pre_type *pre, px_str *out) {
    int64_t n = 0, n_merges = 0;
    const char *text = NULL;
    size_t size = 0;
    px_str post = {0};
    PX_PASS(px_gguf_array(file, "tokenizer.ggml.tokens", &n));
    PX_PASS(px_gguf_array(file, "tokenizer.ggml.merges", &n_merges));
    begin(out);
    PX_PASS(add_specials(file, out, n));
    px_err *err = add_post(file, &post);
    if (!err) err = px_str_ok(&post);
    if (!err) middle(out, pre, post.data);
    px_str_free(&post);
    PX_PASS(err);
    for (int64_t i = 0; i < n; i++) {
        PX_PASS(px_gguf_array_text(file, "tokenizer.ggml.tokens", i, &text, &size));
        add_piece(out, i, i, text, size);
    }
    px_str_text(out, "\n    },\n    \"merges\": [");
    for (int64_t i = 0; i < n_merges; i++) {
        PX_PASS(px_gguf_array_text(file, "tokenizer.ggml.merges", i, &text, &size));
        px_str_text(out, i ? ",\n      " : "\n      ");
        px_str_json(out, text, size);
    }
    px_str_text(out, "\n    ]\n  }\n}\n");
    return NULL;
}

static px_err *config_text(const px_gguf *file, px_str *out) {
    static const char *const ids[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                         {"eos_token", "tokenizer.ggml.eos_token_id"},
                                         {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                         {"pad_token", "tokenizer.ggml.padding_token_id"}};
    const char *text = NULL;
    size_t size = 0;
    px_str_text(out, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                     "  \"clean_up_tokenization_spaces\": false");
    for (size_t i = 0; i < PX_COUNT(ids); i++) {
        int64_t id = 0;
        if (!px_gguf_has(file, ids[i][1])) continue;
        PX_PASS(px_gguf_i64(file, ids[i][1], &id));
        PX_PASS(px_gguf_array_text(file, "tokenizer.ggml.tokens", id, &text, &size));
        px_str_format(out, ",\n  \"%s\": ", ids[i][0]);
        px_str_json(out, text, size);
    }
    if (px_gguf_has(file, "tokenizer.chat_template")) {
        PX_PASS(px_gguf_text(file, "tokenizer.chat_template", &text, &size));
        px_str_text(out, ",\n  \"chat_template\": ");
        px_str_json(out, text, size);
    }
    px_str_text(out, "\n}\n");
    return NULL;
}

px_err *px_gguf_tokenizer_write(const px_gguf *file, const char *dir, bool *done) {
    const pre_type *pre = NULL;
    px_str tokenizer = {0}, config = {0};
    px_err *err = NULL;
    *done = false;
    PX_PASS(pre_find(file, &pre));
    if (!pre) return NULL;
    PX_PASS_TO(done, tokenizer_text(file, pre, &tokenizer));
    PX_PASS_TO(done, config_text(file, &config));
    PX_PASS_TO(done, px_text_write(dir, "tokenizer.json", &tokenizer));
    err = px_text_write(dir, "tokenizer_config.json", &config);
    *done = !err;
done:
    px_str_free(&tokenizer);
    px_str_free(&config);
    return err;
}

/* --- bytes --- */

/* GPT-2's printable stand-in for a byte. */
static int32_t stand_in(int byte) {
    int32_t n = 0;
    for (int b = 0; b < 256; b++) {
        const bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte) return shown ? b : 256 + n;
        n += !shown;
    }
    return -1;
}

/* Common pairs of English, so that texts are not three times as long as with a real vocabulary. G
 * stands for the space before a word. */
static const char *const merges[] = {
    "G t",   "G a",   "h e",  "i n",    "r e", "o n",  "Gt he",  "e r",    "G s",  "a t",  "G w",
    "G o",   "e n",   "G c",  "i t",    "i s", "a n",  "o r",    "e s",    "G b",  "e d",  "G f",
    "in g",  "G p",   "o u",  "Ga n",   "a l", "a r",  "Gt o",   "G m",    "Go f", "G in", "G d",
    "G h",   "Gan d", "i c",  "l e",    "a s", "i on", "o m",    "l l",    "en t", "G n",  "G l",
    "s t",   "G re",  "v e",  "G e",    "r o", "l y",  "Gb e",   "G g",    "G T",  "c t",  "G S",
    "i d",   "o t",   "G I",  "u t",    "e t", "G A",  "G is",   "G on",   "i m",  "a m",  "o w",
    "a y",   "a d",   "s e",  "Gth at", "G C", "i g",  "Gf or",  "a c",    "G y",  "v er", "u r",
    "G u",   "l d",   "Gs t", "G M",    "' s", "Gh e", "G it",   "at ion", "it h", "i r",  "c e",
    "Gy ou", "i l",   "G B",  "Gw h",   "o l", "G P",  "Gw ith", "Gt h",
};

static void merged(px_str *out, const char *pair, bool join) {
    for (const char *c = pair; *c; c++) {
        if (*c == 'G' && c == pair)
            px_str_text(out, "\xC4\xA0"); /* U+0120, the space's stand-in */
        else if (*c != ' ' || !join)
            px_str_char(out, *c);
    }
}

static const char byte_config[] =
    "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
    "  \"clean_up_tokenization_spaces\": false,\n  \"bos_token\": \"<|im_start|>\",\n"
    "  \"eos_token\": \"<|im_end|>\",\n  \"unk_token\": \"<|endoftext|>\",\n"
    "  \"pad_token\": \"<|im_end|>\",\n"
    "  \"chat_template\": \"{% for message in messages %}{{'<|im_start|>' + message['role'] + "
    "'\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}\"\n}\n";

px_err *px_byte_tokenizer_write(const char *dir, int64_t vocab) {
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    const int n_special = (int)PX_COUNT(special);
    const int n_merges = (int)PX_MIN((int64_t)PX_COUNT(merges), vocab - n_special - 256);
    px_str out = {0}, config = {0}, piece = {0};
    begin(&out);
    for (int i = 0; i < n_special; i++)
        add_special(&out, i, i, special[i], strlen(special[i]), true);
    middle(&out, &pre_types[0], "null");
    for (int i = 0; i < n_special; i++) add_piece(&out, i, i, special[i], strlen(special[i]));
    for (int b = 0; b < 256; b++) {
        char text[4];
        const int size = px_utf8_put(stand_in(b), text);
        add_piece(&out, 1, n_special + b, text, (size_t)size);
    }
    for (int i = 0; i < n_merges; i++) {
        px_str_clear(&piece);
        merged(&piece, merges[i], true);
        add_piece(&out, 1, n_special + 256 + i, piece.data, piece.size);
    }
    px_str_text(&out, "\n    },\n    \"merges\": [");
    for (int i = 0; i < n_merges; i++) {
        px_str_clear(&piece);
        merged(&piece, merges[i], false);
        px_str_text(&out, i ? ", " : "");
        px_str_json(&out, piece.data, piece.size);
    }
    px_str_text(&out, "]\n  }\n}\n");
    px_str_text(&config, byte_config);
    px_err *err = px_text_write(dir, "tokenizer.json", &out);
    if (!err) err = px_text_write(dir, "tokenizer_config.json", &config);
    px_str_free(&piece);
    px_str_free(&out);
    px_str_free(&config);
    return err;
}
