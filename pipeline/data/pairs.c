/* pairs.c - the pairs of one conversation: each turn's chosen response against each other one,
 * encoded by the model's template, as a tree. The history is the chosen path, whether or not its
 * own pairs are kept.
 *
 * A response's tokens are what the template adds behind the prompt with its generation prompt, up
 * to and including the end of turn. Where the prompt's ids are no prefix of the whole's (a
 * tokenizer that merges across the seam) the pair is left out and counted. */
#include "prepare.h"

#include <stdlib.h>
#include <string.h>

/* The pairs as they are found: sequences 2p and 2p+1 are the chosen and the rejected one of pair p.
 */
typedef struct {
    px_encoder *encoder;
    px_made made;
    px_message *path;
    int n_path;
    px_pair *pairs;
    const int32_t **seqs;
    int32_t *lens;
} builder;

static px_err *encode(const builder *b, bool prompt, const int32_t **out, int32_t *n) {
    px_ids ids = {0};
    px_err *err =
        px_template_encode(b->encoder->tmpl, b->encoder->tok, b->path, b->n_path, prompt, &ids);
    if (!err) {
        int32_t *copy = px_take_raw(b->encoder->arena, int32_t, ids.n + 1);
        err = px_arena_ok(b->encoder->arena);
        if (!err && ids.n > 0) memcpy(copy, ids.ids, (size_t)ids.n * sizeof *copy);
        *out = copy;
        *n = ids.n;
    }
    px_ids_free(&ids);
    return err;
}

/* The path and the answer behind it, which stays on the path only when the caller lets it. */
static px_err *encode_answer(builder *b, const char *text, const int32_t **out, int32_t *n) {
    b->path[b->n_path++] = (px_message){"assistant", text, strlen(text)};
    px_err *err = encode(b, false, out, n);
    b->n_path--;
    return err;
}

static bool extends(const int32_t *whole, int32_t n_whole, const int32_t *prompt, int32_t n) {
    return n >= 1 && n_whole > n && memcmp(whole, prompt, (size_t)n * sizeof *prompt) == 0;
}

/* Which limit leaves the pair out; -1: none. */
static int skip_of(const px_config *config, const px_pair *pair) {
    int32_t longer = PX_MAX(pair->chosen_tokens, pair->rejected_tokens);
    if (pair->prompt_tokens > config->data_max_prompt_tokens) return PX_SKIP_PROMPT;
    if ((int64_t)pair->prompt_tokens + longer > config->data_max_tokens) return PX_SKIP_TOKENS;
    if (config->data_min_margin > 0 && pair->chosen_score > 0 && pair->rejected_score > 0 &&
        abs(pair->chosen_score - pair->rejected_score) < config->data_min_margin)
        return PX_SKIP_MARGIN;
    return -1;
}

typedef struct {
    const int32_t *ids;
    int32_t n;
} sequence;

static void pair_take(builder *b, px_pair pair, const sequence *prompt, const sequence *chosen,
                      const sequence *rejected) {
    if (!extends(chosen->ids, chosen->n, prompt->ids, prompt->n) ||
        !extends(rejected->ids, rejected->n, prompt->ids, prompt->n)) {
        b->made.skipped[PX_SKIP_MERGED]++;
        return;
    }
    pair.prompt_tokens = prompt->n;
    pair.chosen_tokens = chosen->n - prompt->n;
    pair.rejected_tokens = rejected->n - prompt->n;
    int skip = skip_of(b->encoder->config, &pair);
    if (skip >= 0) {
        b->made.skipped[skip]++;
        return;
    }
    int32_t p = b->made.n_pairs++;
    b->pairs[p] = pair;
    b->seqs[2 * p] = chosen->ids;
    b->lens[2 * p] = chosen->n;
    b->seqs[2 * p + 1] = rejected->ids;
    b->lens[2 * p + 1] = rejected->n;
    b->made.n_ties += pair.chosen_score > 0 && pair.chosen_score == pair.rejected_score;
    b->made.pair_tokens += (int64_t)chosen->n + rejected->n;
}

/* The turn's pairs, in file order; the path stands at its user message. */
static px_err *turn_pairs(builder *b, const px_prism_turn *turn, int32_t t) {
    int32_t n_rejected = 0, first = b->made.n_pairs;
    for (int32_t i = 0; i < turn->n_answers; i++) n_rejected += !turn->answers[i].chosen;
    if (n_rejected == 0) return NULL;
    sequence prompt, chosen;
    PX_PASS(encode(b, true, &prompt.ids, &prompt.n));
    if (prompt.n > b->encoder->config->data_max_prompt_tokens) {
        b->made.skipped[PX_SKIP_PROMPT] += n_rejected;
        return NULL;
    }
    const px_prism_answer *best = &turn->answers[turn->chosen];
    PX_PASS(encode_answer(b, best->text, &chosen.ids, &chosen.n));
    for (int32_t i = 0; i < turn->n_answers; i++) {
        const px_prism_answer *other = &turn->answers[i];
        if (other->chosen) continue;
        sequence rejected;
        PX_PASS(encode_answer(b, other->text, &rejected.ids, &rejected.n));
        px_pair pair = {.turn = t,
                        .chosen_id = best->id,
                        .rejected_id = other->id,
                        .chosen_score = best->score,
                        .rejected_score = other->score};
        pair_take(b, pair, &prompt, &chosen, &rejected);
    }
    for (int32_t p = first; p < b->made.n_pairs; p++)
        b->pairs[p].pairs_of_turn = b->made.n_pairs - first;
    return NULL;
}

/* The tree of the kept pairs, and everything as bytes. */
static px_err *finish(builder *b, px_str *out) {
    px_tree tree = {0};
    int32_t n = b->made.n_pairs;
    b->made.soft_after = -1;
    if (n > 0) {
        int32_t *leaves = px_take_raw(b->encoder->arena, int32_t, 2 * (size_t)n);
        PX_PASS(px_arena_ok(b->encoder->arena));
        PX_PASS(px_tree_build(b->encoder->arena, b->seqs, b->lens, 2 * n, &tree, leaves));
        for (int32_t p = 0; p < n; p++) {
            b->pairs[p].chosen_leaf = leaves[2 * p];
            b->pairs[p].rejected_leaf = leaves[2 * p + 1];
        }
        int32_t bos = px_tokenizer_bos(b->encoder->tok);
        b->made.soft_after = bos >= 0 && tree.token[0] == bos;
    }
    b->made.n_nodes = tree.n;
    px_str_add(out, (const char *)&b->made, sizeof b->made);
    if (n > 0) {
        px_str_add(out, (const char *)b->pairs, (size_t)n * sizeof *b->pairs);
        px_str_add(out, (const char *)tree.token, (size_t)tree.n * sizeof *tree.token);
        px_str_add(out, (const char *)tree.parent, (size_t)tree.n * sizeof *tree.parent);
    }
    return px_str_ok(out);
}

px_err *px_pairs_make(px_encoder *encoder, const px_prism_conv *conv, int32_t index, px_str *out) {
    builder b = {.encoder = encoder, .made = {.index = index}};
    size_t room = 0;
    for (int32_t t = 0; t < conv->n_usable; t++) room += (size_t)conv->turns[t].n_answers;
    b.path = px_take(encoder->arena, px_message, 2 * (size_t)conv->n_usable + 1);
    b.pairs = px_take(encoder->arena, px_pair, room + 1);
    b.seqs = px_take(encoder->arena, const int32_t *, 2 * room + 1);
    b.lens = px_take(encoder->arena, int32_t, 2 * room + 1);
    PX_TRY(px_arena_ok(encoder->arena), "conversations.jsonl line %lld", (long long)conv->line);
    for (int32_t t = 0; t < conv->n_usable; t++) {
        const px_prism_turn *turn = &conv->turns[t];
        b.path[b.n_path++] = (px_message){"user", turn->prompt, strlen(turn->prompt)};
        PX_TRY(turn_pairs(&b, turn, t), "conversations.jsonl line %lld, turn %d",
               (long long)conv->line, (int)t);
        const char *text = turn->answers[turn->chosen].text;
        b.path[b.n_path++] = (px_message){"assistant", text, strlen(text)};
    }
    PX_TRY(finish(&b, out), "conversations.jsonl line %lld", (long long)conv->line);
    return NULL;
}
