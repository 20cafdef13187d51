/* vocab.c - what both readers of vocabularies (Hugging Face, GGUF) build with. */
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

enum { ADDED_BYTES_MOST = 4096 };

/* GPT-2's stand-ins: printable Latin-1 characters stand for themselves, the other 68 bytes for
 * U+0100 onwards in order. -1: the character stands for no byte. */
static int byte_of_stand_in(int32_t c) {
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF)) return c;
    int32_t i = c - 0x100;
    if (i < 0 || i > 67) return -1;
    if (i < 33) return i;
    if (i < 67) return 0x7F + i - 33;
    return 0xAD;
}

bool px_bytes_from_stand_ins(char *text, size_t *size) {
    size_t made = 0;
    int length = 0;
    for (size_t i = 0; i < *size; i += (size_t)length)
        if (byte_of_stand_in(px_utf8_get(text + i, *size - i, &length)) < 0) return false;
    for (size_t i = 0; i < *size; i += (size_t)length) {
        int byte = byte_of_stand_in(px_utf8_get(text + i, *size - i, &length));
        text[made++] = (char)byte;
    }
    *size = made;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int px_byte_of_piece(const char *text, size_t size) {
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

int px_clip(const char *text, size_t size) {
    size_t end = PX_MIN(size, 60u);
    while (end > 0 && end < size && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
    return (int)end;
}

px_err *px_vocab_reserve(px_tokenizer *tok, int64_t n) {
    if (n < 1 || n > INT32_MAX / 2)
        PX_FAIL(PX_BAD_INPUT, "a vocabulary of %lld pieces", (long long)n);
    tok->pieces = px_take(tok->arena, px_piece, n);
    tok->n_pieces = (int32_t)n;
    return px_arena_ok(tok->arena);
}

px_err *px_vocab_set(px_tokenizer *tok, int32_t id, const char *text, size_t size,
                     px_piece_kind kind) {
    px_piece *p = &tok->pieces[id];
    if (size > UINT32_MAX / 2) PX_FAIL(PX_BAD_INPUT, "piece %d is of %zu bytes", id, size);
    char *copy = px_arena_text(tok->arena, text, size);
    PX_PASS(px_arena_ok(tok->arena));
    if (tok->bpe.byte_level && kind == PX_PIECE_NORMAL && !px_bytes_from_stand_ins(copy, &size))
        kind = PX_PIECE_UNUSED;
    *p = (px_piece){.text = copy, .size = (uint32_t)size, .kind = (uint8_t)kind};
    if (kind == PX_PIECE_BYTE) p->byte = (unsigned char)px_byte_of_piece(text, size);
    return NULL;
}

px_err *px_vocab_reserve_added(px_tokenizer *tok, int64_t n) {
    tok->raw.tokens = calloc((size_t)n + 1, sizeof *tok->raw.tokens);
    tok->normalized.tokens = calloc((size_t)n + 1, sizeof *tok->normalized.tokens);
    if (!tok->raw.tokens || !tok->normalized.tokens) PX_NO_MEMORY();
    return NULL;
}

/* What a token's text becomes where it is looked for in normalised text. */
static px_err *normalise(px_tokenizer *tok, px_added *token) {
    px_marked in = {0}, out = {0};
    px_err *err = NULL;
    px_marked_add(&in, token->text, NULL, 0, token->size);
    PX_PASS_TO(done, px_marked_ok(&in));
    for (int i = 0; i < tok->n_norms; i++) {
        PX_PASS_TO(done, px_norm_apply(&tok->norms[i], &in, &out));
        px_marked swap = in;
        in = out;
        out = swap;
    }
    token->size = (uint32_t)in.size;
    token->text = px_arena_text(tok->arena, in.data ? in.data : "", in.size);
    err = px_arena_ok(tok->arena);
done:
    px_marked_free(&in);
    px_marked_free(&out);
    return err;
}

px_err *px_vocab_add(px_tokenizer *tok, const px_added *token) {
    px_added made = *token;
    if (token->size == 0) return NULL; /* an empty text is found nowhere */
    if (token->size > ADDED_BYTES_MOST)
        PX_FAIL(PX_BAD_INPUT, "added token %d is of %u bytes: at most %d", token->id, token->size,
                ADDED_BYTES_MOST);
    made.text = px_arena_text(tok->arena, token->text, token->size);
    PX_PASS(px_arena_ok(tok->arena));
    PX_PASS(px_map_set(&tok->by_added, made.text, made.size, made.id));
    if (!made.normalized) {
        tok->raw.tokens[tok->raw.n++] = made;
        return NULL;
    }
    PX_PASS(normalise(tok, &made));
    if (made.size) tok->normalized.tokens[tok->normalized.n++] = made;
    return NULL;
}

px_err *px_vocab_merge(px_tokenizer *tok, const px_map *all, int64_t rank, const char *left,
                       size_t left_size, const char *right, size_t right_size) {
    int32_t a = px_map_find(all, left, left_size, -1), b = px_map_find(all, right, right_size, -1);
    char both[512], *long_both = NULL;
    if (a < 0 || b < 0)
        PX_FAIL(PX_BAD_INPUT, "merge %lld: \"%.*s\" is no piece of the vocabulary", (long long)rank,
                px_clip(a < 0 ? left : right, a < 0 ? left_size : right_size),
                a < 0 ? left : right);
    if (left_size + right_size > sizeof both) {
        long_both = malloc(left_size + right_size);
        if (!long_both) PX_NO_MEMORY();
    }
    char *text = long_both ? long_both : both;
    memcpy(text, left, left_size);
    memcpy(text + left_size, right, right_size);
    int32_t id = px_map_find(all, text, left_size + right_size, -1);
    free(long_both);
    if (id < 0)
        PX_FAIL(PX_BAD_INPUT, "merge %lld: \"%.*s\" and \"%.*s\" make no piece of the vocabulary",
                (long long)rank, px_clip(left, left_size), left, px_clip(right, right_size), right);
    int32_t ids[3] = {a, b, id};
    px_sha_add(tok->sha, ids, sizeof ids);
    if (tok->pieces[id].kind == PX_PIECE_SPECIAL)
        return NULL; /* text never becomes a special token */
    px_bpe_add_merge(&tok->bpe, a, b, (uint32_t)rank, id);
    return NULL;
}
