/* export_merged.c - the trained model as a Hugging Face folder of its own: W + (alpha / r) B A
 * summed in f32 and rounded once, configuration and tokenizer beside it. */
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

typedef struct {
    const px_params *params;
    const px_config *config;
    px_source *source;
    px_lora_layout lora;
    px_base_layout base;
    px_type type;
} merger;

/* Offset of the adapter's A or B in the vector; false where the linear layer has none. */
static bool adapter_find(const merger *m, const px_base_tensor *t, const float **a,
                         const float **b) {
    for (int g = 0; g < PX_N_GROUPS; g++)
        for (int i = 0; i < m->lora.groups[g].n; i++) {
            const px_lora_group *group = &m->lora.groups[g];
            if (group->linear[i] != t->linear) continue;
            const float *layer = m->params->values + (size_t)t->layer * m->lora.layer_floats;
            *a = layer + group->a + (size_t)(group->first[i] * group->in);
            *b = layer + group->b[i];
            return true;
        }
    return false;
}

static void merge(float *w, const px_base_tensor *t, const float *a, const float *b, int64_t r,
                  float scale) {
    const int64_t out = t->dims[0], in = t->dims[1];
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < out; o++)
        for (int64_t k = 0; k < r; k++) {
            const float factor = scale * b[o * r + k];
            for (int64_t i = 0; i < in; i++) w[o * in + i] += factor * a[k * in + i];
        }
}

/* f32 to the written type; frees or hands on `values`. */
static px_err *rounded(const merger *m, float *values, int64_t n, void **out) {
    if (m->type == PX_F32) {
        *out = values;
        return NULL;
    }
    uint16_t *bits = malloc((size_t)n * sizeof *bits);
    if (bits) {
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) bits[i] = px_bf16_from(values[i]);
    }
    free(values);
    if (!bits) PX_NO_MEMORY();
    *out = bits;
    return NULL;
}

static px_err *tensor_make(const merger *m, const px_base_tensor *t, size_t offset, void **out) {
    const int64_t n = t->dims[0] * t->dims[1];
    const float *a = NULL, *b = NULL;
    const bool adapted = t->linear >= 0 && adapter_find(m, t, &a, &b);
    const bool plain = !adapted && !m->config->full_finetune;
    const px_type type = plain ? m->type : PX_F32;
    void *data = malloc((size_t)n * px_type_size(type));
    px_err *err = NULL;
    if (!data) PX_NO_MEMORY();
    if (m->config->full_finetune)
        memcpy(data, m->params->values + offset, (size_t)n * sizeof(float));
    else
        err = px_source_rows(m->source, t->name, 0, t->dims[0], type, data);
    if (err) {
        free(data);
        return err;
    }
    px_source_forget(m->source, t->name);
    if (adapted) merge(data, t, a, b, m->lora.r, m->lora.scale);
    if (!plain) return rounded(m, data, n, out);
    *out = data;
    return NULL;
}

static px_err *weights_write(const merger *m, const char *dir) {
    px_shards *shards = NULL;
    px_err *err = NULL;
    size_t offset = 0;
    PX_PASS(px_shards_new(dir, &m->source->shape, m->type, PX_ONE_FILE_MOST, &shards));
    for (int i = 0; i < m->source->n_base; i++) {
        const px_base_tensor *t = &m->source->base[i];
        void *data = NULL;
        PX_PASS_TO(done, tensor_make(m, t, offset, &data));
        PX_PASS_TO(done, px_shards_add(shards, data));
        offset += (size_t)(t->dims[0] * t->dims[1]);
    }
    err = px_shards_finish(shards);
done:
    px_shards_free(shards);
    return err;
}

/* The source's config.json with the type of the written weights. */
static px_err *config_copy(const px_source *source, px_type type, const char *dir) {
    px_str text = {0};
    cJSON *config = cJSON_Duplicate(source->config, true);
    if (!config) PX_NO_MEMORY();
    cJSON_DeleteItemFromObjectCaseSensitive(config, "dtype");
    cJSON_DeleteItemFromObjectCaseSensitive(config, "torch_dtype");
    px_err *err = NULL;
    if (!cJSON_AddStringToObject(config, "torch_dtype", type == PX_F32 ? "float32" : "bfloat16"))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    px_json_print_pretty(config, &text);
    err = px_text_write(dir, "config.json", &text);
done:
    px_str_free(&text);
    cJSON_Delete(config);
    return err;
}

static px_err *file_copy(const char *from, const char *to, const char *name) {
    px_bytes bytes = {0};
    px_err *err = NULL;
    char *source = px_path_join(from, name), *target = px_path_join(to, name);
    if (!source || !target) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (!px_path_exists(source)) goto done;
    PX_PASS_TO(done, px_file_read(source, &bytes));
    err = px_file_write(target, bytes.data, bytes.size);
done:
    px_bytes_free(&bytes);
    free(source);
    free(target);
    return err;
}

static px_err *folder_side(const merger *m, const char *dir) {
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.model",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "generation_config.json"};
    PX_PASS(config_copy(m->source, m->type, dir));
    for (size_t i = 0; i < PX_COUNT(names); i++) PX_PASS(file_copy(m->source->path, dir, names[i]));
    return NULL;
}

static int64_t special_id(const px_gguf *file, const char *key) {
    int64_t id = -1;
    px_err *err = px_gguf_has(file, key) ? px_gguf_i64(file, key, &id) : NULL;
    px_err_free(err);
    return err ? -1 : id;
}

static px_err *gguf_side(const merger *m, const char *dir) {
    const px_gguf *file = m->source->gguf;
    bool done = false;
    PX_PASS(px_config_json_write(dir, &m->source->shape, m->type,
                                 special_id(file, "tokenizer.ggml.bos_token_id"),
                                 special_id(file, "tokenizer.ggml.eos_token_id")));
    PX_PASS(px_gguf_tokenizer_write(file, dir, &done));
    if (!done)
        px_warn("%s: its tokenizer is not byte-level BPE with a known pattern: put the model's "
                "tokenizer.json and tokenizer_config.json into %s by hand",
                m->source->path, dir);
    return NULL;
}

px_err *px_export_merged(const char *dir, const px_params *params, const px_config *config,
                         px_source *source) {
    merger m = {.params = params, .config = config, .source = source};
    const px_shape *shape = &source->shape;
    m.type = config->precision == PX_PRECISION_F32 ? PX_F32 : PX_BF16;
    m.base = px_base_layout_of(shape);
    m.lora = px_lora_layout_of(config, shape, config->full_finetune ? m.base.n : 0);
    if (source->rope_factors)
        PX_FAIL(
            PX_BAD_INPUT,
            "%s: its rope_freqs.weight is not Llama-3 scaling of 8192 positions, and config.json "
            "has no key for other factors: export --format peft instead",
            source->path);
    if (params->n < m.lora.first + m.lora.n)
        PX_FAIL(PX_RUN_FAILED, "%zu parameters, but the configuration has %zu", params->n,
                m.lora.first + m.lora.n);
    PX_PASS(px_dir_make(dir));
    PX_TRY(weights_write(&m, dir), "merged model %s", dir);
    PX_TRY(source->gguf ? gguf_side(&m, dir) : folder_side(&m, dir), "merged model %s", dir);
    return NULL;
}
