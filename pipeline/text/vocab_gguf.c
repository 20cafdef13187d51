/* vocab_gguf.c - a vocabulary from a GGUF file's metadata. Token types there: 1 normal, 2 unknown,
 * 3 control, 4 user-defined, 5 unused, 6 byte. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"
#include "text_internal.h"

#define KEY "tokenizer.ggml."

static px_err *id_read(const px_tokenizer *tok, const px_gguf *file, const char *key,
                       int32_t missing, int32_t *out) {
    int64_t id = missing;
    if (px_gguf_has(file, key)) PX_PASS(px_gguf_i64(file, key, &id));
    if (id == UINT32_MAX) id = -1; /* some writers' "none" */
    if (id < -1 || id >= tok->n_pieces)
        PX_FAIL(PX_BAD_INPUT, "%s is %lld, outside the vocabulary of %d", key, (long long)id,
                tok->n_pieces);
    *out = (int32_t)id;
    return NULL;
}

static px_err *flag_read(const px_gguf *file, const char *key, bool missing, bool *out) {
    int64_t value = missing;
    if (px_gguf_has(file, key)) PX_PASS(px_gguf_i64(file, key, &value));
    *out = value != 0;
    return NULL;
}

static px_err *piece_read(px_tokenizer *tok, const px_gguf *file, int32_t id, bool typed) {
    static const px_piece_kind kinds[] = {PX_PIECE_NORMAL,  PX_PIECE_NORMAL, PX_PIECE_SPECIAL,
                                          PX_PIECE_SPECIAL, PX_PIECE_ADDED,  PX_PIECE_UNUSED,
                                          PX_PIECE_BYTE};
    const char *text = NULL;
    size_t size = 0;
    int64_t type = 1;
    PX_PASS(px_gguf_array_text(file, KEY "tokens", id, &text, &size));
    if (typed) PX_PASS(px_gguf_array_i64(file, KEY "token_type", id, &type));
    if (type < 0 || type >= (int64_t)PX_COUNT(kinds))
        PX_FAIL(PX_BAD_INPUT, KEY "token_type[%d] is %lld; 1 to 6 are known", id, (long long)type);
    px_piece_kind kind = kinds[type];
    if (kind == PX_PIECE_BYTE && px_byte_of_piece(text, size) < 0)
        PX_FAIL(PX_BAD_INPUT,
                KEY "tokens[%d] is \"%.*s\", typed a byte; <0x00> to <0xFF> are bytes", id,
                px_clip(text, size), text);
    PX_PASS(px_vocab_set(tok, id, text, size, kind));
    if (kind != PX_PIECE_SPECIAL && kind != PX_PIECE_ADDED) return NULL;
    if (size > UINT32_MAX) PX_FAIL(PX_BAD_INPUT, KEY "tokens[%d] is of %zu bytes", id, size);
    return px_vocab_add(tok, &(px_added){.text = text,
                                         .size = (uint32_t)size,
                                         .id = id,
                                         .special = kind == PX_PIECE_SPECIAL});
}

static px_err *pieces_read(px_tokenizer *tok, const px_gguf *file) {
    int64_t n = 0, n_types = 0;
    bool typed = px_gguf_has(file, KEY "token_type");
    PX_PASS(px_gguf_array(file, KEY "tokens", &n));
    if (typed) PX_PASS(px_gguf_array(file, KEY "token_type", &n_types));
    if (typed && n_types != n)
        PX_FAIL(PX_BAD_INPUT, KEY "token_type has %lld entries, " KEY "tokens %lld",
                (long long)n_types, (long long)n);
    PX_TRY(px_vocab_reserve(tok, n), KEY "tokens");
    PX_PASS(px_vocab_reserve_added(tok, n));
    for (int32_t id = 0; id < tok->n_pieces; id++) PX_PASS(piece_read(tok, file, id, typed));
    return NULL;
}

static px_err *merges_fill(px_tokenizer *tok, const px_gguf *file, int64_t n, const px_map *all) {
    for (int64_t i = 0; i < n; i++) {
        const char *text = NULL;
        size_t size = 0;
        PX_PASS(px_gguf_array_text(file, KEY "merges", i, &text, &size));
        const char *space = size > 1 ? memchr(text + 1, ' ', size - 1) : NULL;
        if (!space)
            PX_FAIL(PX_BAD_INPUT,
                    KEY "merges[%lld] is \"%.*s\"; two pieces and a space are a merge",
                    (long long)i, px_clip(text, size), text);
        size_t left = (size_t)(space - text);
        PX_TRY(px_vocab_merge(tok, all, i, text, left, space + 1, size - left - 1), KEY "merges");
    }
    return NULL;
}

static px_err *merges_read(px_tokenizer *tok, const px_gguf *file) {
    px_err *err = NULL;
    px_map all = {0};
    int64_t n = 0;
    const char *text = NULL;
    size_t size = 0;
    PX_PASS_TO(done, px_gguf_array(file, KEY "merges", &n));
    if (n > UINT32_MAX) PX_FAIL_TO(done, PX_BAD_INPUT, KEY "merges has %lld entries", (long long)n);
    PX_PASS_TO(done, px_bpe_reserve(&tok->bpe, n));
    for (int32_t id = tok->n_pieces - 1; id >= 0; id--) { /* the first of equal texts stays */
        PX_PASS_TO(done, px_gguf_array_text(file, KEY "tokens", id, &text, &size));
        PX_PASS_TO(done, px_map_set(&all, text, size, id));
    }
    PX_PASS_TO(done, merges_fill(tok, file, n, &all));
done:
    px_map_free(&all);
    return err;
}

/* Byte-level BPE: GPT-2 and all that came from it. */
static px_err *read_byte_level(px_tokenizer *tok, const px_gguf *file) {
    const char *pre = "default";
    size_t size = strlen(pre);
    tok->bpe.byte_level = true;
    if (px_gguf_has(file, KEY "pre")) PX_PASS(px_gguf_text(file, KEY "pre", &pre, &size));
    PX_PASS(px_pre_type_set(tok, pre, size));
    PX_PASS(pieces_read(tok, file));
    return merges_read(tok, file);
}

static px_err *scores_read(px_tokenizer *tok, const px_gguf *file) {
    int64_t n = 0;
    PX_PASS(px_gguf_array(file, KEY "scores", &n));
    if (n != tok->n_pieces)
        PX_FAIL(PX_BAD_INPUT, KEY "scores has %lld entries, " KEY "tokens %d", (long long)n,
                tok->n_pieces);
    tok->bpe.scores = calloc((size_t)n + 1, sizeof *tok->bpe.scores);
    if (!tok->bpe.scores) PX_NO_MEMORY();
    for (int64_t i = 0; i < n; i++) {
        double score = 0;
        PX_PASS(px_gguf_array_f64(file, KEY "scores", i, &score));
        if (isnan(score)) PX_FAIL(PX_BAD_INPUT, KEY "scores[%lld] is not a number", (long long)i);
        tok->bpe.scores[i] = (float)score;
    }
    px_sha_add(tok->sha, tok->bpe.scores, (size_t)n * sizeof *tok->bpe.scores);
    return NULL;
}

/* SentencePiece BPE: a space is U+2581, one stands before each stretch, unknown text is bytes. */
static px_err *read_sentencepiece(px_tokenizer *tok, const px_gguf *file) {
    bool prefix = true;
    PX_PASS(flag_read(file, KEY "add_space_prefix", true, &prefix));
    size_t mark = strlen(PX_SPACE_MARK);
    if (prefix)
        tok->norms[tok->n_norms++] =
            (px_norm){.kind = PX_NORM_PREPEND, .to = PX_SPACE_MARK, .to_size = mark};
    tok->norms[tok->n_norms++] = (px_norm){
        .kind = PX_NORM_REPLACE, .from = " ", .from_size = 1, .to = PX_SPACE_MARK, .to_size = mark};
    tok->space_mark = tok->bpe.byte_fallback = tok->bpe.fuse_unknown = true;
    tok->strip_left = prefix;
    PX_PASS(pieces_read(tok, file));
    PX_PASS(id_read(tok, file, KEY "unknown_token_id", 0, &tok->bpe.unknown));
    return scores_read(tok, file);
}

static const char *text_of(const px_tokenizer *tok, int32_t id) {
    return id < 0 ? NULL : tok->pieces[id].text;
}

static px_err *template_read(px_tokenizer *tok, const px_gguf *file) {
    const char *text = NULL;
    size_t size = 0;
    if (!px_gguf_has(file, "tokenizer.chat_template")) return NULL;
    PX_PASS(px_gguf_text(file, "tokenizer.chat_template", &text, &size));
    tok->chat_template = strndup(text, size);
    if (!tok->chat_template) PX_NO_MEMORY();
    return NULL;
}

static px_err *vocab_read(px_tokenizer *tok, const px_gguf *file) {
    const char *model = NULL;
    size_t size = 0;
    bool llama = false;
    PX_PASS(px_gguf_text(file, KEY "model", &model, &size));
    llama = size == 5 && !memcmp(model, "llama", 5);
    if (llama)
        PX_PASS(read_sentencepiece(tok, file));
    else if (size == 4 && !memcmp(model, "gpt2", 4))
        PX_PASS(read_byte_level(tok, file));
    else
        PX_FAIL(PX_BAD_INPUT,
                KEY
                "model is \"%.*s\"; gpt2 (byte-level BPE) and llama (SentencePiece BPE) are read",
                px_clip(model, size), model);
    int32_t unknown = -1, padding = -1;
    PX_PASS(id_read(tok, file, KEY "bos_token_id", llama ? 1 : -1, &tok->bos));
    PX_PASS(id_read(tok, file, KEY "eos_token_id", llama ? 2 : -1, &tok->eos));
    PX_PASS(id_read(tok, file, KEY "unknown_token_id", -1, &unknown));
    PX_PASS(id_read(tok, file, KEY "padding_token_id", -1, &padding));
    tok->bos_text = text_of(tok, tok->bos);
    tok->eos_text = text_of(tok, tok->eos);
    tok->unk_text = text_of(tok, unknown);
    tok->pad_text = text_of(tok, padding);
    return template_read(tok, file);
}

px_err *px_vocab_gguf(px_tokenizer *tok, const char *path) {
    px_gguf *file = NULL;
    PX_PASS(px_gguf_open(path, &file));
    px_err *err = vocab_read(tok, file);
    px_gguf_close(file);
    return err;
}
