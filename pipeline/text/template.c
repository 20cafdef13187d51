/* template.c - conversations to ids by a chat template. The five families are told apart by the
 * tokens in a template's text; what the template does in detail (default system text, trimming,
 * where BOS and end tokens stand) is found by running it. */
#include <stdlib.h>
#include <string.h>

#include "jinja.h"

enum { MARK_MESSAGE = 1, MARK_LAST = 2 };

typedef struct {
    const char *name;
    const char *end;      /* end-of-turn token; NULL: the tokenizer's EOS */
    const char *signs[3]; /* all stand in such a template's text */
    const char *foreign;  /* but not this, the sign of a kind that looks alike */
    const char *source;   /* used where the family is named and the model has no such template */
} family;

#define ALTERNATE                                                                                  \
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"                  \
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}" \
    "{% endif %}{% endfor %}"
#define SYSTEM_APART                                                                               \
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"            \
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}"        \
    "{% endif %}" ALTERNATE

/* Order matters: llama2 templates hold mistral's signs. */
static const family families[] = {
    {"chatml",
     "<|im_end|>",
     {"<|im_start|>", "<|im_end|>"},
     NULL,
     "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' "
     "}}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"llama3",
     "<|eot_id|>",
     {"<|start_header_id|>", "<|eot_id|>"},
     NULL,
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
     "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
     "{% endif %}"},
    {"llama2",
     NULL,
     {"[INST]", "<<SYS>>"},
     NULL,
     SYSTEM_APART
     "{% for m in rest %}{% if loop.first and system %}"
     "{% set text = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}{% else %}"
     "{% set text = m['content'] %}{% endif %}{% if m['role'] == 'user' %}"
     "{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% else %}"
     "{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    {"mistral",
     NULL,
     {"[INST]", "[/INST]"},
     NULL,
     SYSTEM_APART
     "{{ bos_token }}{% for m in rest %}{% if m['role'] == 'user' %}{% if loop.first and system %}"
     "{{ '[INST] ' + system + '\n\n' + m['content'] + ' [/INST]' }}{% else %}"
     "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% else %}"
     "{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"},
    {"zephyr",
     NULL,
     {"<|user|>", "<|assistant|>", "eos_token"},
     "<|end|>",
     "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"},
};

struct px_template {
    px_arena *arena; /* the parsed template */
    const family *family;
    const jinja_node *root;
    const px_tokenizer *tok;
    px_arena *scratch;
    px_digest digest;
};

/* --- opening --- */
static const char *names_text(px_str *out) {
    for (size_t i = 0; i < PX_COUNT(families); i++)
        px_str_format(out, "%s%s", i ? ", " : "", families[i].name);
    return out->data ? out->data : "";
}

static const family *family_of(const char *source) {
    for (size_t i = 0; i < PX_COUNT(families); i++) {
        bool all = !families[i].foreign || !strstr(source, families[i].foreign);
        for (size_t k = 0; k < PX_COUNT(families[i].signs) && families[i].signs[k]; k++)
            all = all && strstr(source, families[i].signs[k]);
        if (all) return &families[i];
    }
    return NULL;
}

static px_err *family_choose(const px_tokenizer *tok, const char *name, const family **out,
                             const char **source) {
    px_err *err = NULL;
    px_str names = {0};
    const char *own = tok->chat_template;
    const family *own_family = own ? family_of(own) : NULL;
    *source = own;
    *out = own_family;
    if (!strcmp(name, "auto")) {
        if (!own)
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "%s has no chat template; model.template names one of: %s", tok->path,
                             names_text(&names));
        else if (!own_family)
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "%s: its chat template is none of the known kinds: %s", tok->path,
                             names_text(&names));
    } else if (!own_family || strcmp(own_family->name, name) != 0) {
        *out = NULL;
        for (size_t i = 0; i < PX_COUNT(families); i++)
            if (!strcmp(families[i].name, name)) *out = &families[i];
        if (*out)
            *source = (*out)->source;
        else
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "model.template is \"%.60s\"; auto or one of these is known: %s", name,
                             names_text(&names));
    }
    px_str_free(&names);
    return err;
}

/* The family's end-of-turn token must be one, or answers would never end. */
static px_err *end_check(const px_template *t) {
    const char *end = t->family->end ? t->family->end : t->tok->eos_text;
    if (!end) PX_FAIL(PX_BAD_INPUT, "%s: no EOS token, which ends a turn there", t->family->name);
    int32_t id = px_map_find(&t->tok->by_added, end, strlen(end), -1);
    if (id < 0)
        PX_FAIL(PX_BAD_INPUT, "%s: the vocabulary has no token \"%.60s\", which ends a turn there",
                t->family->name, end);
    return NULL;
}

static px_err *hash_template(px_template *t, const char *source) {
    px_sha *sha = NULL;
    const char *tokens[] = {t->tok->bos_text, t->tok->eos_text, t->tok->unk_text, t->tok->pad_text};
    PX_PASS(px_sha_new(&sha));
    px_sha_text(sha, t->family->name);
    px_sha_text(sha, source);
    for (size_t i = 0; i < PX_COUNT(tokens); i++) px_sha_text(sha, tokens[i] ? tokens[i] : "");
    return px_sha_end(sha, &t->digest);
}

px_err *px_template_open(const px_tokenizer *tok, const char *name, px_template **out) {
    px_err *err = NULL;
    const char *source = NULL;
    px_template *t = calloc(1, sizeof *t);
    if (!t) PX_NO_MEMORY();
    t->tok = tok;
    PX_PASS_TO(done, px_arena_new(1 << 16, &t->arena));
    PX_PASS_TO(done, px_arena_new(1 << 16, &t->scratch));
    PX_PASS_TO(done, family_choose(tok, name, &t->family, &source));
    PX_TRY_TO(done, px_jinja_parse(t->arena, source, strlen(source), &t->root),
              "chat template of %s", tok->path);
    PX_TRY_TO(done, end_check(t), "chat template of %s", tok->path);
    PX_PASS_TO(done, hash_template(t, source));
    *out = t;
    t = NULL;
done:
    px_template_close(t);
    return err;
}

void px_template_close(px_template *t) {
    if (!t) return;
    px_arena_free(t->arena);
    px_arena_free(t->scratch);
    free(t);
}

int32_t px_template_end(const px_template *t) {
    const char *end = t->family->end ? t->family->end : t->tok->eos_text;
    return px_map_find(&t->tok->by_added, end, strlen(end), -1);
}
const char *px_template_name(const px_template *t) { return t->family->name; }
const char *px_template_sha256(const px_template *t) { return t->digest.hex; }

/* --- rendering --- */
static px_err *set(jinja_run *run, jinja_dict *dict, const char *key, jinja_value value) {
    return px_jinja_dict_set(run, dict, key, strlen(key), value);
}

static px_err *message_value(jinja_run *run, const px_message *m, unsigned char mark,
                             jinja_value *out) {
    unsigned char *marks = px_take_raw(run->arena, unsigned char, m->size + 1);
    PX_PASS(px_arena_ok(run->arena));
    memset(marks, mark, m->size + 1);
    PX_PASS(px_jinja_dict_new(run, out));
    PX_PASS(set(run, out->dict, "role", px_jinja_text(m->role)));
    return set(run, out->dict, "content", px_jinja_string(m->text ? m->text : "", marks, m->size));
}

static px_err *globals_make(jinja_run *run, const px_tokenizer *tok, const px_message *messages,
                            int n, bool prompt, jinja_value *out) {
    jinja_value list, message;
    const struct {
        const char *key, *text;
    } tokens[] = {{"bos_token", tok->bos_text},
                  {"eos_token", tok->eos_text},
                  {"unk_token", tok->unk_text},
                  {"pad_token", tok->pad_text}};
    PX_PASS(px_jinja_dict_new(run, out));
    PX_PASS(px_jinja_list_new(run, &list));
    for (int i = 0; i < n; i++) {
        unsigned char mark = i + 1 == n ? MARK_LAST : MARK_MESSAGE;
        PX_PASS(message_value(run, &messages[i], mark, &message));
        PX_PASS(px_jinja_list_add(run, list.list, message));
    }
    PX_PASS(set(run, out->dict, "messages", list));
    PX_PASS(set(run, out->dict, "tools", (jinja_value){.kind = V_NONE}));
    PX_PASS(set(run, out->dict, "documents", (jinja_value){.kind = V_NONE}));
    PX_PASS(set(run, out->dict, "add_generation_prompt", px_jinja_bool(prompt)));
    for (size_t i = 0; i < PX_COUNT(tokens); i++)
        if (tokens[i].text)
            PX_PASS(set(run, out->dict, tokens[i].key, px_jinja_text(tokens[i].text)));
    return NULL;
}

/* Offset of the last `end` in the template's own text, or the text's size. */
static size_t last_of(const px_marked *text, const char *end) {
    size_t size = strlen(end), last = text->size;
    for (size_t at = 0; at + size <= text->size; at++)
        if (!text->marks[at] && !memcmp(text->data + at, end, size)) last = at;
    return last;
}

/* Cuts behind the end-of-turn token that follows the last message's text. */
static px_err *close_turn(const px_template *t, px_marked *text) {
    const char *end = t->family->end ? t->family->end : t->tok->eos_text;
    size_t from = text->size;
    while (from > 0 && text->marks[from - 1] != MARK_LAST) from--;
    if (from == 0) from = last_of(text, end); /* nothing of the answer is left */
    const char *found = NULL;
    if (from < text->size) found = memmem(text->data + from, text->size - from, end, strlen(end));
    if (!found)
        PX_FAIL(PX_BAD_INPUT, "the %s template puts no \"%.60s\" behind the answer",
                t->family->name, end);
    text->size = (size_t)(found - text->data) + strlen(end);
    return NULL;
}

static px_err *messages_check(const px_message *messages, int n) {
    if (n < 1) PX_FAIL(PX_BAD_INPUT, "a conversation without messages");
    for (int i = 0; i < n; i++) {
        const char *role = messages[i].role;
        if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 &&
            strcmp(role, "assistant") != 0)
            PX_FAIL(PX_BAD_INPUT, "message %d: role \"%.60s\"; system, user, assistant are known",
                    i, role);
    }
    return NULL;
}

px_err *px_template_encode(px_template *t, px_tokenizer *tok, const px_message *messages, int n,
                           bool prompt, px_ids *out) {
    px_err *err = NULL;
    px_marked text = {0};
    jinja_run run = {.arena = t->scratch};
    jinja_value globals;
    size_t mark = px_arena_mark(t->scratch);
    PX_PASS(messages_check(messages, n));
    bool closing = !strcmp(messages[n - 1].role, "assistant");
    PX_PASS_TO(done, globals_make(&run, t->tok, messages, n, prompt && !closing, &globals));
    PX_TRY_TO(done, px_jinja_render(t->root, &run, globals.dict, &text), "%s template",
              t->family->name);
    if (closing) PX_PASS_TO(done, close_turn(t, &text));
    PX_PASS_TO(done, px_encode_marked(tok, text.data, text.marks, text.size, true, out));
done:
    px_marked_free(&text);
    px_arena_reset(t->scratch, mark);
    return err;
}
