/* pre_types.c - how the words of a GGUF vocabulary are cut: `tokenizer.ggml.pre` names a table row.
 * The patterns are those of the models' own tokenizer.json files. */
#include <string.h>

#include "text_internal.h"

#define GPT2 PX_GPT2_PATTERN
#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3                                                                                     \
    ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" TAIL
#define QWEN2 ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" TAIL
#define QWEN35                                                                                     \
    ENDINGS                                                                                        \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" TAIL
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end)                                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER     \
    "*" end
#define SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL
#define DEEPSEEK_LETTERS                                                                           \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"                 \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"         \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"                  \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                       \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"                 \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"                 \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}"        \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"         \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"                 \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"                  \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"                   \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"        \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"         \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"                  \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"                 \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"               \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"         \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
#define DEEPSEEK_HAN "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define KANJI_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

enum { PATTERNS_MOST = 6 };
typedef struct {
    const char *names; /* separated by spaces */
    bool ignore_merges, compose;
    const char *patterns[PATTERNS_MOST];
} pre_type;

static const pre_type pre_types[] = {
    {"gpt-2 phi-2 mpt olmo jais trillion granite-docling jina-es jina-de jina-v2-es jina-v2-de "
     "jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum modern-bert exaone4",
     false,
     false,
     {GPT2}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
     false,
     false,
     {"\\p{N}", GPT2}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     true,
     false,
     {LLAMA3}},
    {"dbrx smaug-bpe chatglm-bpe", false, false, {LLAMA3}},
    {"glm4 glm5", true, false, {LLAMA3}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2", false, true, {QWEN2}},
    {"stablelm2 hunyuan solar-open megrez grok-2", false, false, {QWEN2}},
    {"qwen35", false, false, {QWEN35}},
    {"tekken", true, false, {CASED("") "|\\p{N}" SYMBOLS}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2",
     false,
     false,
     {CASED(ENDINGS "?") "|\\p{N}{1,3}" SYMBOLS}},
    {"deepseek-llm",
     false,
     false,
     {"[\\r\\n]", "\\s?[" DEEPSEEK_LETTERS "]+",
      "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
      "\\s+$", DEEPSEEK_HAN, "\\p{N}+"}},
    {"deepseek-coder",
     false,
     false,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_HAN, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm",
     false,
     false,
     {"\\p{N}{1,3}", KANJI_KANA,
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}"
      "\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL}},
    {"falcon", false, false, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"bloom poro-chat gpt3-finnish", false, false, {BLOOM}},
    {"viking", false, false, {BLOOM, "\\p{N}"}},
    {"default", false, false, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

static bool names_hold(const char *names, const char *name, size_t size) {
    for (const char *at = names; *at;) {
        size_t length = strcspn(at, " ");
        if (length == size && !memcmp(at, name, size)) return true;
        at += length + strspn(at + length, " ");
    }
    return false;
}

px_err *px_pre_type_set(px_tokenizer *tok, const char *name, size_t size) {
    for (size_t i = 0; i < PX_COUNT(pre_types); i++) {
        const pre_type *type = &pre_types[i];
        if (!names_hold(type->names, name, size)) continue;
        tok->bpe.ignore_merges = type->ignore_merges;
        if (type->compose) tok->norms[tok->n_norms++] = (px_norm){.kind = PX_NORM_NFC};
        for (int k = 0; k < PATTERNS_MOST && type->patterns[k]; k++) {
            px_split *step = &tok->splits[tok->n_splits++];
            const char *pattern = type->patterns[k];
            PX_PASS(px_regex_new(pattern, strlen(pattern), false, &step->regex));
        }
        return NULL;
    }
    px_str known = {0};
    for (size_t i = 0; i < PX_COUNT(pre_types); i++)
        px_str_format(&known, " %s", pre_types[i].names);
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "tokenizer.ggml.pre: \"%.*s\" is not known; known are:%s",
                             px_clip(name, size), name, known.data ? known.data : "");
    px_str_free(&known);
    return err;
}
