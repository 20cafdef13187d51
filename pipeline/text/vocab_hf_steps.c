/* vocab_hf_steps.c - the normalizer, pre-tokenizer and decoder of a tokenizer.json, each a step or
 * a Sequence of steps. What is not known is refused by name: a step left out would change ids. */
#include <string.h>

#include "json.h"
#include "text_internal.h"

static px_err *type_of(const cJSON *step, const char *where, const char **out) {
    if (!cJSON_IsObject(step))
        PX_FAIL(PX_BAD_INPUT, "%s: %s stands there; an object is wanted", where,
                px_json_type(step));
    return px_json_text(step, "type", where, out);
}

static px_err *keep_text(px_tokenizer *tok, const char *text, const char **out, size_t *size) {
    *size = strlen(text);
    *out = px_arena_text(tok->arena, text, *size);
    return px_arena_ok(tok->arena);
}

/* {"String": "x"} or {"Regex": "x"}. */
static px_err *pattern_of(const cJSON *step, const char *where, const char **text, bool *literal) {
    const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(step, "pattern");
    *text = px_json_find_text(pattern, "String");
    *literal = *text != NULL;
    if (!*text) *text = px_json_find_text(pattern, "Regex");
    if (!*text)
        PX_FAIL(PX_BAD_INPUT,
                "%s.pattern: %s stands there; {\"String\": …} or {\"Regex\": …} is wanted", where,
                px_json_type(pattern));
    return NULL;
}

static px_err *flag(const cJSON *step, const char *key, const char *where, bool missing,
                    bool *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(step, key);
    *out = missing;
    if (!item || cJSON_IsNull(item)) return NULL;
    return px_json_bool(step, key, where, out);
}

/* --- normalizer --- */
static px_err *norm_read(px_tokenizer *tok, const cJSON *step, const char *where, int depth);

static px_err *norm_sequence(px_tokenizer *tok, const cJSON *step, const char *where, int depth) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(step, "normalizers"), *one = NULL;
    if (!cJSON_IsArray(list))
        PX_FAIL(PX_BAD_INPUT, "%s.normalizers: %s stands there; a list is wanted", where,
                px_json_type(list));
    cJSON_ArrayForEach(one, list) PX_PASS(norm_read(tok, one, where, depth + 1));
    return NULL;
}

static px_err *norm_replace(px_tokenizer *tok, const cJSON *step, const char *where, px_norm *out) {
    const char *from = NULL, *to = NULL;
    bool literal = false;
    out->kind = PX_NORM_REPLACE;
    PX_PASS(pattern_of(step, where, &from, &literal));
    PX_PASS(px_json_text(step, "content", where, &to));
    PX_PASS(keep_text(tok, to, &out->to, &out->to_size));
    if (literal) return keep_text(tok, from, &out->from, &out->from_size);
    PX_TRY(px_regex_new(from, strlen(from), false, &out->regex), "%s", where);
    return NULL;
}

static px_err *norm_read(px_tokenizer *tok, const cJSON *step, const char *where, int depth) {
    const char *type = NULL, *to = NULL;
    if (!step || cJSON_IsNull(step)) return NULL;
    PX_PASS(type_of(step, where, &type));
    if (depth > 8) PX_FAIL(PX_BAD_INPUT, "%s: Sequences nested deeper than 8", where);
    if (!strcmp(type, "Sequence")) return norm_sequence(tok, step, where, depth);
    if (tok->n_norms == PX_STEPS_MOST)
        PX_FAIL(PX_BAD_INPUT, "%s: more than %d steps", where, PX_STEPS_MOST);
    px_norm *out = &tok->norms[tok->n_norms++];
    if (!strcmp(type, "Replace")) return norm_replace(tok, step, where, out);
    if (!strcmp(type, "Prepend")) {
        out->kind = PX_NORM_PREPEND;
        PX_PASS(px_json_text(step, "prepend", where, &to));
        return keep_text(tok, to, &out->to, &out->to_size);
    }
    if (!strcmp(type, "NFC")) {
        out->kind = PX_NORM_NFC;
        return NULL;
    }
    if (!strcmp(type, "Strip")) {
        out->kind = PX_NORM_STRIP;
        PX_PASS(flag(step, "strip_left", where, true, &out->left));
        return flag(step, "strip_right", where, true, &out->right);
    }
    PX_FAIL(PX_BAD_INPUT, "%s: \"%.60s\" is not read; Sequence, Prepend, Replace, NFC, Strip are",
            where, type);
}

/* --- pre-tokenizer --- */
static px_err *split_new(px_tokenizer *tok, const char *where, px_split **out) {
    if (tok->bpe.byte_level)
        PX_FAIL(PX_BAD_INPUT, "%s: a step behind ByteLevel is not read", where);
    if (tok->n_splits == PX_STEPS_MOST)
        PX_FAIL(PX_BAD_INPUT, "%s: more than %d steps", where, PX_STEPS_MOST);
    *out = &tok->splits[tok->n_splits++];
    return NULL;
}

static px_err *split_pattern(px_tokenizer *tok, const char *pattern, px_keep keep,
                             const char *where) {
    px_split *out = NULL;
    PX_PASS(split_new(tok, where, &out));
    out->keep = keep;
    return px_regex_new(pattern, strlen(pattern), false, &out->regex);
}

static px_err *keep_of(const cJSON *step, const char *where, px_keep *out) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    PX_PASS(px_json_text(step, "behavior", where, &name));
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        *out = (px_keep)i;
        if (!strcmp(name, names[i])) return NULL;
    }
    PX_FAIL(PX_BAD_INPUT,
            "%s.behavior is \"%.60s\"; Isolated, Removed, MergedWithPrevious, MergedWithNext and "
            "Contiguous are known",
            where, name);
}

static px_err *split_read(px_tokenizer *tok, const cJSON *step, const char *where) {
    const char *pattern = NULL;
    bool literal = false;
    px_split *out = NULL;
    PX_PASS(split_new(tok, where, &out));
    PX_PASS(pattern_of(step, where, &pattern, &literal));
    PX_PASS(keep_of(step, where, &out->keep));
    PX_PASS(flag(step, "invert", where, false, &out->invert));
    PX_TRY(px_regex_new(pattern, strlen(pattern), literal, &out->regex), "%s", where);
    return NULL;
}

static px_err *byte_level_read(px_tokenizer *tok, const cJSON *step, const char *where) {
    bool prefix = false, regex = false;
    px_split *out = NULL;
    PX_PASS(flag(step, "add_prefix_space", where, true, &prefix));
    PX_PASS(flag(step, "use_regex", where, true, &regex));
    if (prefix) {
        PX_PASS(split_new(tok, where, &out));
        out->kind = PX_SPLIT_PREFIX_SPACE;
    }
    if (regex) PX_PASS(split_pattern(tok, PX_GPT2_PATTERN, PX_KEEP_ISOLATED, where));
    if (tok->bpe.byte_level) PX_FAIL(PX_BAD_INPUT, "%s: ByteLevel stands there twice", where);
    tok->bpe.byte_level = true;
    return NULL;
}

static px_err *metaspace_read(px_tokenizer *tok, const cJSON *step, const char *where) {
    px_split *out = NULL;
    bool cut = true, old_prefix = true;
    const char *mark = px_json_find_text(step, "replacement");
    const char *scheme = px_json_find_text(step, "prepend_scheme");
    PX_PASS(split_new(tok, where, &out));
    PX_PASS(flag(step, "split", where, true, &cut));
    PX_PASS(flag(step, "add_prefix_space", where, true, &old_prefix));
    out->kind = PX_SPLIT_METASPACE;
    out->keep = cut ? PX_KEEP_WITH_NEXT : PX_KEEP_ISOLATED;
    PX_PASS(keep_text(tok, mark && *mark ? mark : PX_SPACE_MARK, &out->mark, &out->mark_size));
    if (!scheme) scheme = old_prefix ? "always" : "never";
    if (!strcmp(scheme, "always"))
        out->prepend = PX_PREPEND_ALWAYS;
    else if (!strcmp(scheme, "first"))
        out->prepend = PX_PREPEND_FIRST;
    else if (!strcmp(scheme, "never"))
        out->prepend = PX_PREPEND_NEVER;
    else
        PX_FAIL(PX_BAD_INPUT, "%s.prepend_scheme is \"%.60s\"; always, first and never are known",
                where, scheme);
    return NULL;
}

static px_err *pre_read(px_tokenizer *tok, const cJSON *step, const char *where, int depth) {
    const char *type = NULL;
    bool each = false;
    if (!step || cJSON_IsNull(step)) return NULL;
    PX_PASS(type_of(step, where, &type));
    if (depth > 8) PX_FAIL(PX_BAD_INPUT, "%s: Sequences nested deeper than 8", where);
    if (!strcmp(type, "Sequence")) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(step, "pretokenizers"), *one = NULL;
        if (!cJSON_IsArray(list))
            PX_FAIL(PX_BAD_INPUT, "%s.pretokenizers: %s stands there; a list is wanted", where,
                    px_json_type(list));
        cJSON_ArrayForEach(one, list) PX_PASS(pre_read(tok, one, where, depth + 1));
        return NULL;
    }
    if (!strcmp(type, "ByteLevel")) return byte_level_read(tok, step, where);
    if (!strcmp(type, "Split")) return split_read(tok, step, where);
    if (!strcmp(type, "Metaspace")) return metaspace_read(tok, step, where);
    if (!strcmp(type, "Digits")) {
        PX_PASS(flag(step, "individual_digits", where, false, &each));
        return split_pattern(tok, each ? "\\p{N}" : "\\p{N}+", PX_KEEP_ISOLATED, where);
    }
    if (!strcmp(type, "WhitespaceSplit")) return split_pattern(tok, "\\s", PX_KEEP_REMOVED, where);
    if (!strcmp(type, "Whitespace")) {
        PX_PASS(split_pattern(tok,
                              "[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Pc}\\s]+",
                              PX_KEEP_REMOVED, where));
        tok->splits[tok->n_splits - 1].invert = true;
        return NULL;
    }
    if (!strcmp(type, "Punctuation")) {
        px_keep keep = PX_KEEP_ISOLATED;
        if (px_json_find_text(step, "behavior")) PX_PASS(keep_of(step, where, &keep));
        return split_pattern(tok, "[\\p{P}$+<=>^`|~]", keep, where);
    }
    PX_FAIL(
        PX_BAD_INPUT,
        "%s: \"%.60s\" is not read; Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, "
        "Whitespace and WhitespaceSplit are",
        where, type);
}

/* --- decoder --- */
/* Only what undoes a normalizer: U+2581 to a space, and spaces stripped in front. */
static void decoder_read(px_tokenizer *tok, const cJSON *step, int depth) {
    const char *type = px_json_find_text(step, "type");
    const cJSON *one = NULL;
    if (!type || depth > 8) return;
    if (!strcmp(type, "Sequence")) {
        cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(step, "decoders"))
            decoder_read(tok, one, depth + 1);
    } else if (!strcmp(type, "Strip")) {
        double start = px_json_find_f64(step, "start", 0);
        tok->strip_left = start > 0 && start < 16 ? (int)start : 0;
    } else if (!strcmp(type, "Replace")) {
        const char *from =
            px_json_find_text(cJSON_GetObjectItemCaseSensitive(step, "pattern"), "String");
        if (from && !strcmp(from, PX_SPACE_MARK)) tok->space_mark = true;
    } else if (!strcmp(type, "Metaspace")) {
        const char *scheme = px_json_find_text(step, "prepend_scheme");
        tok->space_mark = true;
        tok->strip_left = !scheme || strcmp(scheme, "never") != 0;
    }
}

px_err *px_hf_steps(px_tokenizer *tok, const px_json *root) {
    if (!cJSON_IsObject(root))
        PX_FAIL(PX_BAD_INPUT, "%s stands there; an object is wanted", px_json_type(root));
    PX_PASS(norm_read(tok, cJSON_GetObjectItemCaseSensitive(root, "normalizer"), "normalizer", 0));
    PX_PASS(
        pre_read(tok, cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"), "pre_tokenizer", 0));
    decoder_read(tok, cJSON_GetObjectItemCaseSensitive(root, "decoder"), 0);
    return NULL;
}
