/* tokenizer.c - opens, encodes, decodes; see text_internal.h for the way of a text through the
 * parts. Bytes that are no UTF-8 are words of their own, so that every input comes back by
 * decoding. */
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

#define TEXT_MOST ((size_t)1 << 30)

/* --- lists of ids --- */
void px_ids_free(px_ids *ids) {
    free(ids->ids);
    *ids = (px_ids){0};
}

px_err *px_ids_add(px_ids *ids, int32_t id) {
    if (ids->n == ids->room) {
        if (ids->room > INT32_MAX / 2) PX_FAIL(PX_RUN_FAILED, "more than %d ids", INT32_MAX / 2);
        int32_t room = ids->room ? ids->room * 2 : 64;
        int32_t *grown = realloc(ids->ids, (size_t)room * sizeof *grown);
        if (!grown) PX_NO_MEMORY();
        ids->ids = grown;
        ids->room = room;
    }
    ids->ids[ids->n++] = id;
    return NULL;
}

/* --- opening --- */
/* May words be cut before U+2581? Only where no piece holds it behind another character. */
static bool mark_opens_words(const px_tokenizer *tok) {
    size_t mark = strlen(PX_SPACE_MARK);
    for (int32_t id = 0; id < tok->n_pieces; id++) {
        const px_piece *p = &tok->pieces[id];
        bool other = false;
        if (p->kind != PX_PIECE_NORMAL && p->kind != PX_PIECE_ADDED) continue;
        for (size_t i = 0; i < p->size;) {
            bool is_mark = p->size - i >= mark && !memcmp(p->text + i, PX_SPACE_MARK, mark);
            if (is_mark && other) return false;
            if (!is_mark) other = true;
            i += is_mark ? mark : 1;
        }
    }
    return true;
}

static px_err *pieces_index(px_tokenizer *tok) {
    px_bpe *bpe = &tok->bpe;
    for (int b = 0; b < 256; b++) bpe->byte_ids[b] = -1;
    for (int32_t id = 0; id < tok->n_pieces; id++) {
        const px_piece *p = &tok->pieces[id];
        if (p->kind == PX_PIECE_BYTE && bpe->byte_ids[p->byte] < 0) bpe->byte_ids[p->byte] = id;
        if ((p->kind != PX_PIECE_NORMAL && p->kind != PX_PIECE_ADDED) || p->size == 0) continue;
        if (px_map_find(&tok->by_text, p->text, p->size, -1) >= 0) continue;
        PX_PASS(px_map_set(&tok->by_text, p->text, p->size, id));
        bpe->longest = PX_MAX(bpe->longest, p->size);
        if (bpe->byte_level && p->size == 1) bpe->byte_ids[(unsigned char)p->text[0]] = id;
    }
    bpe->by_text = &tok->by_text;
    bpe->pieces = tok->pieces;
    bpe->n_pieces = tok->n_pieces;
    return px_bpe_ready(bpe);
}

static void hash_added(px_sha *sha, const px_added_set *set) {
    for (int32_t i = 0; i < set->n; i++) {
        const px_added *t = &set->tokens[i];
        int32_t facts[6] = {t->id, t->special, t->single_word, t->lstrip, t->rstrip, t->normalized};
        px_sha_add(sha, t->text, t->size);
        px_sha_add(sha, facts, sizeof facts);
    }
}

/* Everything that decides ids; merges and scores were added by the reader. */
static px_err *hash_all(px_tokenizer *tok) {
    px_sha *sha = tok->sha;
    const px_bpe *b = &tok->bpe;
    int32_t facts[] = {1,
                       tok->n_pieces,
                       b->unknown,
                       b->byte_level,
                       b->byte_fallback,
                       b->fuse_unknown,
                       b->ignore_merges,
                       tok->n_norms,
                       tok->n_splits};
    px_sha_add(sha, facts, sizeof facts);
    for (int32_t id = 0; id < tok->n_pieces; id++) {
        const px_piece *p = &tok->pieces[id];
        uint32_t head[2] = {p->size, p->kind};
        px_sha_add(sha, head, sizeof head);
        if (p->size) px_sha_add(sha, p->text, p->size);
    }
    hash_added(sha, &tok->raw);
    hash_added(sha, &tok->normalized);
    for (int i = 0; i < tok->n_norms; i++) {
        const px_norm *s = &tok->norms[i];
        int32_t head[3] = {(int32_t)s->kind, s->left, s->right};
        px_sha_add(sha, head, sizeof head);
        px_sha_text(sha, s->from ? s->from : s->regex ? px_regex_text(s->regex) : "");
        px_sha_text(sha, s->to ? s->to : "");
    }
    for (int i = 0; i < tok->n_splits; i++) {
        const px_split *s = &tok->splits[i];
        int32_t head[4] = {(int32_t)s->kind, (int32_t)s->keep, s->invert, (int32_t)s->prepend};
        px_sha_add(sha, head, sizeof head);
        px_sha_text(sha, s->mark ? s->mark : s->regex ? px_regex_text(s->regex) : "");
    }
    tok->sha = NULL;
    return px_sha_end(sha, &tok->digest);
}

static px_err *read_model(px_tokenizer *tok, const char *path) {
    if (!px_path_exists(path)) PX_FAIL(PX_BAD_INPUT, "nothing is there");
    if (px_path_is_dir(path)) return px_vocab_hf(tok, path);
    return px_vocab_gguf(tok, path);
}

px_err *px_tokenizer_open(const char *model_path, px_tokenizer **out) {
    px_err *err = NULL;
    px_tokenizer *tok = calloc(1, sizeof *tok);
    if (!tok) PX_NO_MEMORY();
    tok->bos = tok->eos = tok->bpe.unknown = -1;
    tok->path = strdup(model_path);
    if (!tok->path) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_arena_new(1 << 20, &tok->arena));
    PX_PASS_TO(done, px_sha_new(&tok->sha));
    PX_TRY_TO(done, read_model(tok, model_path), "tokenizer of %s", model_path);
    px_added_sort(&tok->raw);
    px_added_sort(&tok->normalized);
    PX_PASS_TO(done, pieces_index(tok));
    tok->split_at_mark = !tok->bpe.byte_level && !tok->bpe.ignore_merges && mark_opens_words(tok);
    PX_PASS_TO(done, hash_all(tok));
    *out = tok;
    tok = NULL;
done:
    px_tokenizer_close(tok);
    return err;
}

void px_tokenizer_close(px_tokenizer *tok) {
    if (!tok) return;
    if (tok->sha) {
        px_digest unused;
        px_err_free(px_sha_end(tok->sha, &unused));
    }
    for (int i = 0; i < tok->n_norms; i++) px_regex_free(tok->norms[i].regex);
    for (int i = 0; i < tok->n_splits; i++) px_regex_free(tok->splits[i].regex);
    px_bpe_free(&tok->bpe);
    px_map_free(&tok->by_text);
    px_map_free(&tok->by_added);
    free(tok->raw.tokens);
    free(tok->normalized.tokens);
    free(tok->stretches.at);
    free(tok->inner.at);
    for (int i = 0; i < 2; i++) px_marked_free(&tok->buffer[i]);
    px_words_free(&tok->words);
    free(tok->chat_template);
    free(tok->path);
    px_arena_free(tok->arena);
    free(tok);
}

int32_t px_tokenizer_size(const px_tokenizer *tok) { return tok->n_pieces; }
int32_t px_tokenizer_bos(const px_tokenizer *tok) { return tok->bos; }
int32_t px_tokenizer_eos(const px_tokenizer *tok) { return tok->eos; }
const char *px_tokenizer_sha256(const px_tokenizer *tok) { return tok->digest.hex; }

/* --- encoding --- */
/* One word; a text in which only U+2581 separates words is cut there, for the cache's sake. */
static px_err *encode_word(px_tokenizer *tok, const char *word, size_t size, px_ids *out) {
    size_t done = 0, mark = strlen(PX_SPACE_MARK);
    if (tok->split_at_mark && size > mark) {
        const char *at = word + 1;
        while ((at = memmem(at, size - (size_t)(at - word), PX_SPACE_MARK, mark))) {
            size_t i = (size_t)(at - word);
            at += 1;
            if (i >= done + mark && !memcmp(word + i - mark, PX_SPACE_MARK, mark)) continue;
            PX_PASS(px_bpe_word(&tok->bpe, word + done, i - done, out));
            done = i;
        }
    }
    return px_bpe_word(&tok->bpe, word + done, size - done, out);
}

static size_t invalid_run(const char *text, size_t size) {
    size_t n = 0;
    int length = 0;
    while (n < size && px_utf8_get(text + n, size - n, &length) < 0) n++;
    return n;
}

static px_err *encode_plain(px_tokenizer *tok, const char *text, size_t size, bool first,
                            px_ids *out) {
    px_words *w = &tok->words;
    while (size) {
        int64_t bad = px_utf8_check(text, size);
        size_t valid = bad < 0 ? size : (size_t)bad;
        w->n = 0;
        px_str_clear(&w->text);
        px_str_add(&w->text, text, valid);
        PX_PASS(px_str_ok(&w->text));
        PX_PASS(px_words_add(w, 0, valid));
        PX_PASS(px_split_apply(tok->splits, tok->n_splits, first, w));
        for (size_t i = 0; i < w->n; i++)
            PX_PASS(encode_word(tok, w->text.data + w->words[i].start, w->words[i].size, out));
        text += valid;
        size -= valid;
        size_t invalid = invalid_run(text, size);
        PX_PASS(px_bpe_word(&tok->bpe, text, invalid, out));
        text += invalid;
        size -= invalid;
        first = false;
    }
    return NULL;
}

/* A stretch between added tokens: normalised, cut at the tokens that are looked for only then. */
static px_err *encode_stretch(px_tokenizer *tok, const char *text, const unsigned char *marks,
                              size_t size, bool first, bool special, px_ids *out) {
    if (!tok->n_norms && !tok->normalized.n) return encode_plain(tok, text, size, first, out);
    px_marked *in = &tok->buffer[0], *made = &tok->buffer[1];
    in->size = 0;
    px_marked_add(in, text, marks, 0, size);
    PX_PASS(px_marked_ok(in));
    for (int i = 0; i < tok->n_norms; i++) {
        PX_PASS(px_norm_apply(&tok->norms[i], in, made));
        px_marked *swap = in;
        in = made;
        made = swap;
    }
    PX_PASS(px_added_cut(&tok->normalized, in->data, in->marks, in->size, special, &tok->inner));
    for (size_t i = 0; i < tok->inner.n; i++) {
        px_stretch s = tok->inner.at[i];
        if (s.id >= 0)
            PX_PASS(px_ids_add(out, s.id));
        else
            PX_PASS(encode_plain(tok, in->data + s.start, s.size, first && s.start == 0, out));
    }
    return NULL;
}

px_err *px_encode_marked(px_tokenizer *tok, const char *text, const unsigned char *marks,
                         size_t size, bool special, px_ids *out) {
    if (size > TEXT_MOST)
        PX_FAIL(PX_BAD_INPUT, "a text of %zu bytes: at most %zu", size, TEXT_MOST);
    PX_PASS(px_added_cut(&tok->raw, text, marks, size, special, &tok->stretches));
    for (size_t i = 0; i < tok->stretches.n; i++) {
        px_stretch s = tok->stretches.at[i];
        if (s.id >= 0)
            PX_PASS(px_ids_add(out, s.id));
        else
            PX_PASS(encode_stretch(tok, text + s.start, marks ? marks + s.start : NULL, s.size,
                                   s.start == 0, special, out));
    }
    return NULL;
}

px_err *px_encode(px_tokenizer *tok, const char *text, size_t size, bool special, px_ids *out) {
    return px_encode_marked(tok, text, NULL, size, special, out);
}

/* --- decoding --- */
static px_err *piece_at(const px_tokenizer *tok, int32_t id, const px_piece **out) {
    if (id < 0 || id >= tok->n_pieces)
        PX_FAIL(PX_BAD_INPUT, "id %d is outside the vocabulary of %d", id, tok->n_pieces);
    *out = &tok->pieces[id];
    if ((*out)->kind == PX_PIECE_NONE) PX_FAIL(PX_BAD_INPUT, "id %d stands for no token", id);
    return NULL;
}

static void piece_add(const px_tokenizer *tok, const px_piece *p, px_str *out) {
    size_t mark = strlen(PX_SPACE_MARK);
    if (p->kind == PX_PIECE_BYTE) {
        px_str_char(out, (char)p->byte);
        return;
    }
    if (!tok->space_mark || p->kind == PX_PIECE_SPECIAL) {
        px_str_add(out, p->text, p->size);
        return;
    }
    for (size_t i = 0; i < p->size;) {
        bool is_mark = p->size - i >= mark && !memcmp(p->text + i, PX_SPACE_MARK, mark);
        px_str_char(out, is_mark ? ' ' : p->text[i]);
        i += is_mark ? mark : 1;
    }
}

px_err *px_decode(const px_tokenizer *tok, const int32_t *ids, int32_t n, bool special,
                  px_str *out) {
    px_err *err = NULL;
    px_str text = {0};
    for (int32_t i = 0; i < n; i++) {
        const px_piece *p = NULL;
        PX_PASS_TO(done, piece_at(tok, ids[i], &p));
        if (special || p->kind != PX_PIECE_SPECIAL) piece_add(tok, p, &text);
    }
    PX_PASS_TO(done, px_str_ok(&text));
    size_t start = 0;
    while (start < (size_t)tok->strip_left && start < text.size && text.data[start] == ' ') start++;
    if (text.size > start) px_str_add(out, text.data + start, text.size - start);
    PX_PASS_TO(done, px_str_ok(out));
done:
    px_str_free(&text);
    return err;
}

px_err *px_token_bytes(const px_tokenizer *tok, int32_t id, px_str *out) {
    if (id < 0 || id >= tok->n_pieces) return NULL;
    const px_piece *p = &tok->pieces[id];
    if (p->kind != PX_PIECE_SPECIAL && p->kind != PX_PIECE_NONE) piece_add(tok, p, out);
    return px_str_ok(out);
}

px_err *px_token_text(const px_tokenizer *tok, int32_t id, px_str *out) {
    const px_piece *p = NULL;
    PX_PASS(piece_at(tok, id, &p));
    if (p->kind == PX_PIECE_BYTE)
        px_str_format(out, "<0x%02X>", p->byte);
    else
        piece_add(tok, p, out);
    return px_str_ok(out);
}

bool px_token_is_special(const px_tokenizer *tok, int32_t id) {
    return id >= 0 && id < tok->n_pieces && tok->pieces[id].kind == PX_PIECE_SPECIAL;
}
