/* text.h - from texts to token ids and back, and conversations to the text a model was trained on.
 */
#ifndef PX_TEXT_H
#define PX_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base.h"

/* Appends text in Unicode's canonical composition (NFC); bytes that are no UTF-8 pass through. */
PX_CHECKED px_err *px_nfc_text(const char *text, size_t size, px_str *out);

typedef struct px_tokenizer px_tokenizer;

/* From a folder with tokenizer.json (tokenizer_config.json beside it for template and special
 * tokens) or a GGUF file (a vocabulary alone is enough). PX_BAD_INPUT: names the file and what is
 * not read. */
PX_CHECKED px_err *px_tokenizer_open(const char *model_path, px_tokenizer **out);
void px_tokenizer_close(px_tokenizer *tok);
int32_t px_tokenizer_size(const px_tokenizer *tok);
/* -1 where the tokenizer has none. */
int32_t px_tokenizer_bos(const px_tokenizer *tok);
int32_t px_tokenizer_eos(const px_tokenizer *tok);
/* SHA-256 over everything that decides ids: pieces, merges or scores, types, patterns, options. The
 * same vocabulary read from tokenizer.json and from GGUF may differ. */
const char *px_tokenizer_sha256(const px_tokenizer *tok);

/* A growing list of ids. {0} is empty. */
typedef struct {
    int32_t *ids;
    int32_t n, room;
} px_ids;
void px_ids_free(px_ids *ids);
PX_CHECKED px_err *px_ids_add(px_ids *ids, int32_t id);

/* Appends the ids of text (any bytes). With `special`, texts of special tokens become those tokens;
 * without, they are encoded as ordinary text. No BOS is added. Thread-safe on a const tokenizer is
 * NOT promised: one tokenizer a thread. */
PX_CHECKED px_err *px_encode(px_tokenizer *tok, const char *text, size_t size, bool special,
                             px_ids *out);
/* Appends the bytes of ids; special tokens are written as their text when `special`, else left out.
 * PX_BAD_INPUT: an id outside the vocabulary. */
PX_CHECKED px_err *px_decode(const px_tokenizer *tok, const int32_t *ids, int32_t n, bool special,
                             px_str *out);
/* Appends the bytes that an id adds to a text: none for a special token, a hole, or an id outside
 * the vocabulary. */
PX_CHECKED px_err *px_token_bytes(const px_tokenizer *tok, int32_t id, px_str *out);
/* The piece behind an id as text, for people; and whether it is a special token. */
PX_CHECKED px_err *px_token_text(const px_tokenizer *tok, int32_t id, px_str *out);
bool px_token_is_special(const px_tokenizer *tok, int32_t id);

/* --- chat templates --- */
typedef struct {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t size;
} px_message;

typedef struct px_template px_template;
/* name "auto": by the model's own template; else chatml, llama2, llama3, zephyr, mistral.
 * PX_BAD_INPUT: a template that is none of these, with the list. */
PX_CHECKED px_err *px_template_open(const px_tokenizer *tok, const char *name, px_template **out);
void px_template_close(px_template *tmpl);
const char *px_template_name(const px_template *tmpl);
/* The token that ends a turn. */
int32_t px_template_end(const px_template *tmpl);
/* Hash of name and options (default system text …). */
const char *px_template_sha256(const px_template *tmpl);

/* Ids of a conversation exactly as transformers' apply_chat_template(tokenize=True) gives them,
 * save that message texts never become special tokens. With `prompt`, the generation prompt is
 * added (what stands before the answer). A last message of role "assistant" is closed by the
 * end-of-turn token, nothing behind it is returned. */
PX_CHECKED px_err *px_template_encode(px_template *tmpl, px_tokenizer *tok,
                                      const px_message *messages, int n, bool prompt, px_ids *out);

#endif
