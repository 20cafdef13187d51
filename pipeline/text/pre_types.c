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
#define DEEPSEEK_LETTERS                                                                                                                                                                                         \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-"                                                                     \
    "ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"                                                                                                                                                                 \
    "ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-" \
    "ꞇ"                                                                                                                                                                                                        \
    "Ꞌ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-"                                                                                                      \
    "𞥃"

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
    {"qwen35", false, true, {QWEN35}},
    {"tekken", true, false, {CASED("") "|\\p{N}" SYMBOLS}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2",
     false,
     false,
     {CASED(ENDINGS "?") "|\\p{N}{1,3}" SYMBOLS}},
    {"deepseek-llm",
     false,
     false,
     {"[\\r\\n]", "\\s?[" DEEPSEEK_LETTERS "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
      "[一-龥ࠀ-一가-퟿]+", "\\p{N}+"}},
    {"deepseek-coder",
     false,
     false,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm",
     false,
     false,
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}"
      "\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL}},
    {"falcon", false, false, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"bloom poro-chat gpt3-finnish", false, false, {" ?[^(\\s|.,!?…。，、।۔،)]+"}},
    {"viking", false, false, {" ?[^(\\s|.,!?…。，、।۔،)]+", "\\p{N}"}},
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
                             (int)PX_MIN(size, 60u), name, known.data ? known.data : "");
    px_str_free(&known);
    return err;
}
