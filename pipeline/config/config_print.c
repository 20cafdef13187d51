/* config_print.c - a configuration as JSON, its differences from another, what its keys say
 * together, and the documentation of all keys. See config.h. */
#include "config.h"

#include <string.h>

#include "config_internal.h"

static cJSON *words_item(const char *choices, uint32_t set) {
    cJSON *list = cJSON_CreateArray();
    char word[32];
    int n = config_word_count(choices);
    for (int i = 0; list && i < n; i++)
        if (set >> i & 1)
            cJSON_AddItemToArray(list, cJSON_CreateString(config_word_at(choices, i, word)));
    return list;
}

static cJSON *key_item(const px_config *config, int i) {
    const config_key *key = &config_keys[i];
    const void *field = config_field(config, i);
    char word[32];
    switch (key->type) {
    case KEY_i64:
        return cJSON_CreateNumber((double)*(const int64_t *)field);
    case KEY_f64:
        return cJSON_CreateNumber(*(const double *)field);
    case KEY_bool:
        return cJSON_CreateBool(*(const bool *)field);
    case KEY_text:
        return cJSON_CreateString(*(const char *const *)field);
    case KEY_object: {
        const char *text = *(const char *const *)field;
        return *text ? cJSON_Parse(text) : cJSON_CreateObject();
    }
    case KEY_choice:
        return cJSON_CreateString(config_word_at(key->choices, *(const int *)field, word));
    case KEY_words:
        return words_item(key->choices, *(const uint32_t *)field);
    case KEY_f64s: {
        const px_f64_list *list = field;
        return cJSON_CreateDoubleArray(list->v, list->n);
    }
    }
    return NULL;
}

/* The object that path's last word belongs into, made on the way; *last is that word. */
static cJSON *group_of(cJSON *top, const char *path, const char **last) {
    cJSON *group = top;
    char word[64];
    for (const char *dot; group && (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(word, sizeof word, "%.*s", (int)(dot - path), path);
        cJSON *next = cJSON_GetObjectItemCaseSensitive(group, word);
        group = next ? next : cJSON_AddObjectToObject(group, word);
    }
    *last = path;
    return group;
}

void px_config_print(const px_config *config, px_str *out) {
    cJSON *top = cJSON_CreateObject();
    bool good = top != NULL;
    for (int i = 0; good && i < N_KEYS; i++) {
        const char *last = NULL;
        cJSON *group = group_of(top, config_keys[i].path, &last);
        cJSON *item = group ? key_item(config, i) : NULL;
        good = item && cJSON_AddItemToObject(group, last, item);
    }
    if (good) {
        px_json_print_pretty(top, out);
        px_str_char(out, '\n');
    } else {
        out->failed = true; /* px_str_ok says: out of memory */
    }
    cJSON_Delete(top);
}

static bool same_list(const px_f64_list *a, const px_f64_list *b) {
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++)
        if (!(a->v[i] == b->v[i])) return false;
    return true;
}

static bool same_value(int i, const void *a, const void *b) {
    switch (config_keys[i].type) {
    case KEY_i64:
        return *(const int64_t *)a == *(const int64_t *)b;
    case KEY_f64:
        return *(const double *)a == *(const double *)b;
    case KEY_bool:
        return *(const bool *)a == *(const bool *)b;
    case KEY_text:
    case KEY_object:
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case KEY_choice:
        return *(const int *)a == *(const int *)b;
    case KEY_words:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case KEY_f64s:
        return same_list(a, b);
    }
    return false;
}

const char *px_config_differs(const px_config *a, const px_config *b) {
    bool longer = a->train_steps && (!b->train_steps || b->train_steps > a->train_steps);
    for (int i = 0; i < N_KEYS; i++) {
        if (!config_keys[i].affects || (i == KEY_AT_train_steps && longer)) continue;
        if (!same_value(i, config_field(a, i), config_field(b, i))) return config_keys[i].path;
    }
    return NULL;
}

bool px_config_key_affects(const char *path) {
    for (int i = 0; i < N_KEYS; i++)
        if (!strcmp(config_keys[i].path, path)) return config_keys[i].affects;
    return true;
}

/* Warns of keys that were given and mean nothing beside others: those that start with `prefix`. */
static void warn_unused(const px_config *config, const char *prefix, int but, const char *why) {
    for (int i = 0; i < N_KEYS; i++)
        if (config->given[i] && i != but &&
            strncmp(config_keys[i].path, prefix, strlen(prefix)) == 0)
            px_warn("%s is set and has no effect: %s", config_keys[i].path, why);
}

static void warn_of(const px_config *c) {
    if (c->user_model == PX_USER_NONE)
        warn_unused(c, "user.", KEY_AT_user_model, "user.model is none");
    if (c->user_model == PX_USER_INDIVIDUAL) {
        warn_unused(c, "user.bank", -1, "user.model is individual");
        warn_unused(c, "user.mixing", -1, "user.model is individual");
    }
    if (c->lora_r == 0) warn_unused(c, "lora.", KEY_AT_lora_r, "lora.r is 0");
    if (c->train_steps && c->optim_warmup_steps >= c->train_steps)
        px_warn("optim.warmup_steps %lld is not below train.steps %lld: the rate never reaches "
                "optim.lr",
                (long long)c->optim_warmup_steps, (long long)c->train_steps);
    if (c->data_max_prompt_tokens >= c->data_max_tokens)
        px_warn(
            "data.max_prompt_tokens %lld has no effect: data.max_tokens, which counts the prompt "
            "too, is %lld",
            (long long)c->data_max_prompt_tokens, (long long)c->data_max_tokens);
}

px_err *px_config_check(const px_config *c) {
    if (c->full_finetune && c->lora_r > 0)
        PX_FAIL(PX_BAD_INPUT, "full_finetune is true and lora.r is %lld: set lora.r to 0",
                (long long)c->lora_r);
    if (c->lora_r > 0 && !c->lora_targets)
        PX_FAIL(PX_BAD_INPUT,
                "lora.targets is empty and lora.r is %lld: name targets, or set "
                "lora.r to 0",
                (long long)c->lora_r);
    if (!c->full_finetune && c->lora_r == 0 && c->user_model == PX_USER_NONE)
        PX_FAIL(PX_BAD_INPUT,
                "nothing to train: full_finetune is false, lora.r is 0 and user.model "
                "is none");
    if (c->data_split_unseen_users >= 1 || c->data_split_seen_test >= 1)
        PX_FAIL(PX_BAD_INPUT, "%s is 1: nothing is left to train on",
                c->data_split_unseen_users >= 1 ? "data.split.unseen_users"
                                                : "data.split.seen_test");
    if (c->loss_label_smoothing > 0 && c->loss_type != PX_LOSS_SIGMOID &&
        c->loss_type != PX_LOSS_ROBUST)
        PX_FAIL(PX_BAD_INPUT,
                "loss.label_smoothing is above 0: loss.type must be sigmoid or robust");
    warn_of(c);
    return NULL;
}

static void document_default(const px_config *defaults, int i, px_str *out) {
    cJSON *item = key_item(defaults, i);
    if (item && config_keys[i].type == KEY_words &&
        cJSON_GetArraySize(item) == config_word_count(config_keys[i].choices))
        px_str_text(out, "all");
    else if (item && cJSON_IsString(item) && *item->valuestring)
        px_str_format(out, "`%s`", item->valuestring);
    else if (item) {
        px_str_char(out, '`');
        px_json_print(item, out);
        px_str_char(out, '`');
    } else
        out->failed = true;
    cJSON_Delete(item);
}

void px_config_document(px_str *out) {
    px_config defaults;
    px_err *err = px_config_init(&defaults);
    if (err) {
        out->failed = true;
        px_err_free(err);
        return;
    }
    px_str_text(
        out,
        "# Configuration keys\n\n"
        "Printed from the table in `pipeline/config/config_keys.h`; do not edit.\n\n"
        "A configuration is a JSON file (`--config FILE`) in which `//` starts a comment. Keys "
        "nest\n"
        "(`{\"lora\": {\"r\": 8}}`) or have dots (`{\"lora.r\": 8}`); `null` stands for the "
        "default.\n"
        "`--set lora.r=8` sets one key, also `--set lora.targets=q_proj,v_proj`; later wins over\n"
        "earlier and over the file. An unknown key, a wrong type or a value out of range is an "
        "error.\n\n"
        "\"Results\": a run that is resumed must have the same value (`train.steps` may grow).\n\n"
        "| key | default | accepted | results | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < N_KEYS; i++) {
        const config_key *key = &config_keys[i];
        px_str_format(out, "| `%s` | ", key->path);
        document_default(&defaults, i, out);
        px_str_text(out, " | ");
        config_accepted(key, out);
        px_str_format(out, " | %s | %s |\n", key->affects ? "yes" : "", key->help);
    }
    px_config_fini(&defaults);
}
