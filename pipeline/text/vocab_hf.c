/* vocab_hf.c - a vocabulary from a Hugging Face folder: tokenizer.json, beside it
 * tokenizer_config.json, special_tokens_map.json and chat_template.jinja where they are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text_internal.h"

enum { CHAT_TEMPLATE_MOST = 1 << 20 };

/* A flag that may be missing or null. */
static px_err *flag(const cJSON *object, const char *key, const char *where, bool *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    *out = false;
    if (!item || cJSON_IsNull(item)) return NULL;
    return px_json_bool(object, key, where, out);
}

/* --- the model --- */
static px_err *vocab_size(const cJSON *vocab, const cJSON *added, int64_t *out) {
    const cJSON *item = NULL;
    int64_t count = 0, most = -1;
    cJSON_ArrayForEach(item, vocab) {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > INT32_MAX ||
            item->valuedouble != floor(item->valuedouble))
            PX_FAIL(PX_BAD_INPUT, "model.vocab[\"%.60s\"] is %s; an id from 0 on is wanted",
                    item->string, cJSON_IsNumber(item) ? "no such number" : px_json_type(item));
        most = PX_MAX(most, (int64_t)item->valuedouble);
        count++;
    }
    cJSON_ArrayForEach(item, added) {
        int64_t id = 0;
        PX_PASS(px_json_i64(item, "id", "added_tokens", 0, INT32_MAX, &id));
        most = PX_MAX(most, id);
        count++;
    }
    if (count == 0) PX_FAIL(PX_BAD_INPUT, "model.vocab is empty");
    if (most > 2 * count + 65536)
        PX_FAIL(PX_BAD_INPUT, "id %lld in a vocabulary of %lld pieces", (long long)most,
                (long long)count);
    *out = most + 1;
    return NULL;
}

static px_err *vocab_fill(px_tokenizer *tok, const cJSON *vocab, bool byte_fallback, px_map *all) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, vocab) {
        int32_t id = (int32_t)item->valuedouble;
        size_t size = strlen(item->string);
        if (px_map_find(all, item->string, size, -1) >= 0)
            PX_FAIL(PX_BAD_INPUT, "model.vocab has \"%.60s\" twice", item->string);
        if (tok->pieces[id].kind != PX_PIECE_NONE)
            PX_FAIL(PX_BAD_INPUT, "model.vocab gives id %d twice, again to \"%.60s\"", id,
                    item->string);
        bool byte = byte_fallback && px_byte_of_piece(item->string, size) >= 0;
        PX_PASS(px_vocab_set(tok, id, item->string, size, byte ? PX_PIECE_BYTE : PX_PIECE_NORMAL));
        PX_PASS(px_map_set(all, item->string, size, id));
    }
    return NULL;
}

static px_err *added_read(px_tokenizer *tok, const cJSON *added, px_map *all) {
    const cJSON *item = NULL;
    int i = 0;
    PX_PASS(px_vocab_reserve_added(tok, cJSON_GetArraySize(added)));
    cJSON_ArrayForEach(item, added) {
        char where[48];
        int64_t id = 0;
        px_added t = {0};
        (void)snprintf(where, sizeof where, "added_tokens[%d]", i++);
        PX_PASS(px_json_i64(item, "id", where, 0, INT32_MAX, &id));
        PX_PASS(px_json_text(item, "content", where, &t.text));
        PX_PASS(flag(item, "special", where, &t.special));
        PX_PASS(flag(item, "single_word", where, &t.single_word));
        PX_PASS(flag(item, "lstrip", where, &t.lstrip));
        PX_PASS(flag(item, "rstrip", where, &t.rstrip));
        PX_PASS(flag(item, "normalized", where, &t.normalized));
        t.size = (uint32_t)strlen(t.text);
        t.id = (int32_t)id;
        int32_t known = px_map_find(all, t.text, t.size, -1);
        if (known >= 0 ? known != t.id : tok->pieces[id].kind != PX_PIECE_NONE)
            PX_FAIL(PX_BAD_INPUT, "%s: \"%.60s\" has id %d, but model.vocab says otherwise", where,
                    t.text, t.id);
        PX_PASS(px_map_set(all, t.text, t.size, t.id));
        PX_PASS(
            px_vocab_set(tok, t.id, t.text, t.size, t.special ? PX_PIECE_SPECIAL : PX_PIECE_ADDED));
        PX_TRY(px_vocab_add(tok, &t), "%s", where);
    }
    return NULL;
}

static px_err *merges_read(px_tokenizer *tok, const cJSON *merges, const px_map *all) {
    const cJSON *item = NULL;
    int64_t i = 0;
    if (!cJSON_IsArray(merges))
        PX_FAIL(PX_BAD_INPUT, "model.merges: %s stands there; a list is wanted",
                px_json_type(merges));
    PX_PASS(px_bpe_reserve(&tok->bpe, cJSON_GetArraySize(merges)));
    cJSON_ArrayForEach(item, merges) {
        const char *left = NULL, *right = NULL;
        size_t left_size = 0;
        if (cJSON_IsString(item)) {
            left = item->valuestring;
            right = strchr(left, ' ');
            left_size = right ? (size_t)(right - left) : 0;
            if (right && strchr(++right, ' ')) right = NULL;
        } else if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 &&
                   cJSON_IsString(item->child) && cJSON_IsString(item->child->next)) {
            left = item->child->valuestring;
            left_size = strlen(left);
            right = item->child->next->valuestring;
        }
        if (!right || !left_size || !*right)
            PX_FAIL(PX_BAD_INPUT, "model.merges[%lld] is no merge; \"a b\" or [\"a\", \"b\"] is",
                    (long long)i);
        PX_TRY(px_vocab_merge(tok, all, i, left, left_size, right, strlen(right)), "model.merges");
        i++;
    }
    return NULL;
}

static px_err *affix_refuse(const cJSON *model, const char *key) {
    const char *text = px_json_find_text(model, key);
    if (!text || !*text) return NULL;
    PX_FAIL(PX_BAD_INPUT, "model.%s is \"%.60s\"; only vocabularies without one are read", key,
            text);
}

static px_err *model_options(px_tokenizer *tok, const cJSON *model) {
    const char *type = px_json_find_text(model, "type");
    if (type && strcmp(type, "BPE") != 0)
        PX_FAIL(PX_BAD_INPUT, "model.type is \"%.60s\"; BPE is read", type);
    PX_PASS(affix_refuse(model, "continuing_subword_prefix"));
    PX_PASS(affix_refuse(model, "end_of_word_suffix"));
    if (px_json_find_f64(model, "dropout", 0) != 0)
        PX_FAIL(PX_BAD_INPUT, "model.dropout: a tokenizer that drops merges at random is not read");
    PX_PASS(flag(model, "byte_fallback", "model", &tok->bpe.byte_fallback));
    PX_PASS(flag(model, "fuse_unk", "model", &tok->bpe.fuse_unknown));
    if (tok->llama_class) tok->bpe.byte_fallback = tok->bpe.fuse_unknown = true;
    return flag(model, "ignore_merges", "model", &tok->bpe.ignore_merges);
}

static px_err *model_read(px_tokenizer *tok, const cJSON *root) {
    px_err *err = NULL;
    px_map all = {0};
    int64_t n = 0;
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const cJSON *added = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
    if (!cJSON_IsObject(model))
        PX_FAIL(PX_BAD_INPUT, "model: %s stands there; an object is wanted", px_json_type(model));
    const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
    if (added && !cJSON_IsNull(added) && !cJSON_IsArray(added))
        PX_FAIL(PX_BAD_INPUT, "added_tokens: %s stands there; a list is wanted",
                px_json_type(added));
    PX_PASS(model_options(tok, model));
    if (!cJSON_IsObject(vocab))
        PX_FAIL(PX_BAD_INPUT, "model.vocab: %s stands there; an object is wanted",
                px_json_type(vocab));
    PX_PASS(vocab_size(vocab, added, &n));
    PX_PASS(px_vocab_reserve(tok, n));
    PX_PASS_TO(done, vocab_fill(tok, vocab, tok->bpe.byte_fallback, &all));
    PX_PASS_TO(done, added_read(tok, added, &all));
    const char *unknown = px_json_find_text(model, "unk_token");
    if (unknown) {
        tok->bpe.unknown = px_map_find(&all, unknown, strlen(unknown), -1);
        if (tok->bpe.unknown < 0)
            PX_FAIL_TO(done, PX_BAD_INPUT, "model.unk_token \"%.60s\" is no piece", unknown);
    }
    PX_PASS_TO(done, merges_read(tok, cJSON_GetObjectItemCaseSensitive(model, "merges"), &all));
done:
    px_map_free(&all);
    return err;
}

/* --- the files beside it --- */
/* The text of a token that stands as a string or as an object with "content"; NULL: none. */
static const char *token_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(item)) return item->valuestring;
    return cJSON_IsObject(item) ? px_json_find_text(item, "content") : NULL;
}

static px_err *special_text(px_tokenizer *tok, const cJSON *object, const char *key,
                            const char **out) {
    const char *text = token_of(object, key);
    if (!text || *out) return NULL;
    *out = px_arena_text(tok->arena, text, strlen(text));
    return px_arena_ok(tok->arena);
}

static px_err *specials_read(px_tokenizer *tok, const cJSON *object) {
    PX_PASS(special_text(tok, object, "bos_token", &tok->bos_text));
    PX_PASS(special_text(tok, object, "eos_token", &tok->eos_text));
    PX_PASS(special_text(tok, object, "unk_token", &tok->unk_text));
    return special_text(tok, object, "pad_token", &tok->pad_text);
}

static px_err *template_keep(px_tokenizer *tok, const char *text, size_t size) {
    if (size > CHAT_TEMPLATE_MOST)
        PX_FAIL(PX_BAD_INPUT, "a chat template of %zu bytes: at most %d", size, CHAT_TEMPLATE_MOST);
    tok->chat_template = strndup(text, size);
    if (!tok->chat_template) PX_NO_MEMORY();
    return NULL;
}

/* chat_template is a text, or a list of {"name", "template"} of which "default" is ours. */
static px_err *template_from_config(px_tokenizer *tok, const cJSON *config) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, "chat_template"), *one = NULL;
    const char *text = cJSON_IsString(item) ? item->valuestring : NULL;
    if (cJSON_IsArray(item)) {
        cJSON_ArrayForEach(one, item) {
            const char *name = px_json_find_text(one, "name");
            if (name && !strcmp(name, "default")) text = px_json_find_text(one, "template");
        }
    }
    if (!text || tok->chat_template) return NULL;
    return template_keep(tok, text, strlen(text));
}

/* transformers builds the steps of its class LlamaTokenizer itself, whatever tokenizer.json says: a
 * space before the text (`legacy`: before every stretch), spaces as U+2581. It does so for
 * model_type llama or none; other model types take the file's steps. */
static px_err *llama_steps(px_tokenizer *tok, const cJSON *config) {
    const char *class = px_json_find_text(config, "tokenizer_class");
    const cJSON *prefix = cJSON_GetObjectItemCaseSensitive(config, "add_prefix_space");
    bool llama =
        class && (!strcmp(class, "LlamaTokenizer") || !strcmp(class, "LlamaTokenizerFast"));
    bool legacy = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(config, "legacy"));
    if (!llama || tok->bpe.byte_level) return NULL;
    for (int i = 0; i < tok->n_norms; i++) px_regex_free(tok->norms[i].regex);
    for (int i = 0; i < tok->n_splits; i++) px_regex_free(tok->splits[i].regex);
    memset(tok->norms, 0, sizeof tok->norms);
    memset(tok->splits, 0, sizeof tok->splits);
    tok->n_norms = 0;
    tok->n_splits = 1;
    tok->splits[0] = (px_split){.kind = PX_SPLIT_METASPACE,
                                .keep = PX_KEEP_ISOLATED,
                                .prepend = cJSON_IsFalse(prefix) ? PX_PREPEND_NEVER
                                           : legacy              ? PX_PREPEND_ALWAYS
                                                                 : PX_PREPEND_FIRST,
                                .mark = PX_SPACE_MARK,
                                .mark_size = strlen(PX_SPACE_MARK)};
    tok->space_mark = true;
    tok->strip_left = !cJSON_IsFalse(prefix);
    tok->llama_class = true;
    return NULL;
}

/* config.json's model_type is llama, or not there. */
static px_err *model_type_is_llama(const char *folder, bool *out) {
    px_err *err = NULL;
    cJSON *json = NULL;
    char *path = px_path_join(folder, "config.json");
    *out = true;
    if (!path) PX_NO_MEMORY();
    if (px_path_exists(path)) {
        PX_PASS_TO(done, px_json_read(path, false, &json));
        const char *type = px_json_find_text(json, "model_type");
        *out = !type || !strcmp(type, "llama");
    }
done:
    cJSON_Delete(json);
    free(path);
    return err;
}

static px_err *config_read(px_tokenizer *tok, const char *folder, const char *name, bool main) {
    px_err *err = NULL;
    bool llama = false;
    cJSON *json = NULL;
    char *path = px_path_join(folder, name);
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path)) goto done;
    PX_PASS_TO(done, px_json_read(path, false, &json));
    if (!cJSON_IsObject(json))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s stands there; an object is wanted", name,
                   px_json_type(json));
    PX_TRY_TO(done, specials_read(tok, json), "%s", name);
    if (!main) goto done;
    PX_TRY_TO(done, template_from_config(tok, json), "%s", name);
    PX_PASS_TO(done, model_type_is_llama(folder, &llama));
    if (llama) PX_PASS_TO(done, llama_steps(tok, json));
done:
    cJSON_Delete(json);
    free(path);
    return err;
}

static px_err *template_file_read(px_tokenizer *tok, const char *folder) {
    px_err *err = NULL;
    px_bytes text = {0};
    char *path = px_path_join(folder, "chat_template.jinja");
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path)) goto done;
    PX_PASS_TO(done, px_file_read(path, &text));
    PX_TRY_TO(done, template_keep(tok, text.data, text.size), "chat_template.jinja");
done:
    px_bytes_free(&text);
    free(path);
    return err;
}

static int32_t id_of(const px_tokenizer *tok, const char *text) {
    if (!text) return -1;
    int32_t id = px_map_find(&tok->by_added, text, strlen(text), -1);
    for (int32_t i = 0; id < 0 && i < tok->n_pieces; i++)
        if (tok->pieces[i].size == strlen(text) && !memcmp(tok->pieces[i].text, text, strlen(text)))
            id = i;
    return id;
}

px_err *px_vocab_hf(px_tokenizer *tok, const char *folder) {
    px_err *err = NULL;
    cJSON *root = NULL;
    char *path = px_path_join(folder, "tokenizer.json");
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path)) PX_FAIL_TO(done, PX_BAD_INPUT, "the folder has no tokenizer.json");
    PX_PASS_TO(done, px_json_read(path, false, &root));
    PX_TRY_TO(done, px_hf_steps(tok, root), "tokenizer.json");
    PX_PASS_TO(done, template_file_read(tok, folder));
    PX_PASS_TO(done, config_read(tok, folder, "tokenizer_config.json", true));
    PX_PASS_TO(done, config_read(tok, folder, "special_tokens_map.json", false));
    PX_TRY_TO(done, model_read(tok, root), "tokenizer.json");
    tok->bos = id_of(tok, tok->bos_text);
    tok->eos = id_of(tok, tok->eos_text);
done:
    cJSON_Delete(root);
    free(path);
    return err;
}
