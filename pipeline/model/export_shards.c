/* export_shards.c - a Hugging Face folder on its way out: config.json, weights in one file or in
 * shards with an index. A shard is kept in memory until it is full, then written atomically. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

struct px_shards {
    const char *dir; /* borrowed */
    const px_shape *shape;
    px_type type;
    int n_base, next;   /* next: tensors taken so far */
    int *file_of;       /* [n_base] */
    int n_files, first; /* first: of the shard in memory */
    px_base_tensor *base;
    void **data; /* [n_base], those of the shard in memory */
    int64_t bytes_total;
};

static int64_t bytes_of(const px_shards *shards, int i) {
    const px_base_tensor *t = &shards->base[i];
    return t->dims[0] * t->dims[1] * (int64_t)px_type_size(shards->type);
}

px_err *px_text_write(const char *dir, const char *name, const px_str *text) {
    PX_PASS(px_str_ok(text));
    char *path = px_path_join(dir, name);
    if (!path) PX_NO_MEMORY();
    px_err *err = px_file_write(path, text->data, text->size);
    free(path);
    return err;
}

px_err *px_shards_new(const char *dir, const px_shape *shape, px_type type, int64_t one_file_most,
                      px_shards **out) {
    px_shards *s = calloc(1, sizeof *s);
    if (!s) PX_NO_MEMORY();
    *s = (px_shards){.dir = dir, .shape = shape, .type = type, .n_base = px_base_count(shape)};
    s->base = calloc((size_t)s->n_base, sizeof *s->base);
    s->file_of = calloc((size_t)s->n_base, sizeof *s->file_of);
    s->data = calloc((size_t)s->n_base, sizeof *s->data);
    if (!s->base || !s->file_of || !s->data) {
        px_shards_free(s);
        PX_NO_MEMORY();
    }
    for (int i = 0; i < s->n_base; i++) {
        s->base[i] = px_base_at(shape, i);
        s->bytes_total += bytes_of(s, i);
    }
    int64_t used = 0;
    for (int i = 0; i < s->n_base; i++) {
        if (s->bytes_total > one_file_most && used > 0 &&
            used + bytes_of(s, i) > one_file_most / 5 * 2) {
            s->n_files++;
            used = 0;
        }
        used += bytes_of(s, i);
        s->file_of[i] = s->n_files;
    }
    s->n_files++;
    *out = s;
    return NULL;
}

static void file_name(const px_shards *s, int file, char out[64]) {
    if (s->n_files == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05d-of-%05d.safetensors", file + 1, s->n_files);
}

/* Writes tensors first … next-1, which are one file. */
static px_err *shard_write(px_shards *s) {
    static const char *const metadata[] = {"format", "pt", NULL};
    px_err *err = NULL;
    char name[64];
    char *path = NULL;
    const int n = s->next - s->first;
    px_safetensors_item *items = calloc((size_t)n + 1, sizeof *items);
    if (!items) PX_NO_MEMORY();
    file_name(s, s->file_of[s->first], name);
    path = px_path_join(s->dir, name);
    if (!path) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int i = 0; i < n; i++) {
        const px_base_tensor *t = &s->base[s->first + i];
        items[i] = (px_safetensors_item){.name = t->name,
                                         .type = s->type == PX_F32 ? PX_T_F32 : PX_T_BF16,
                                         .rank = t->rank,
                                         .dims = {t->dims[0], t->dims[1]},
                                         .data = s->data[s->first + i]};
    }
    err = px_safetensors_write(path, items, n, metadata);
    for (int i = s->first; i < s->next; i++) {
        free(s->data[i]);
        s->data[i] = NULL;
    }
    s->first = s->next;
done:
    free(items);
    free(path);
    return err;
}

px_err *px_shards_add(px_shards *s, void *data) {
    s->data[s->next++] = data;
    if (s->next < s->n_base && s->file_of[s->next] == s->file_of[s->first]) return NULL;
    return shard_write(s);
}

px_err *px_shards_finish(px_shards *s) {
    px_str text = {0};
    char name[64];
    if (s->next != s->n_base)
        PX_FAIL(PX_RUN_FAILED, "%d of %d tensors were written", s->next, s->n_base);
    if (s->n_files == 1) return NULL;
    px_str_format(&text, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {\n",
                  (long long)s->bytes_total);
    for (int i = 0; i < s->n_base; i++) {
        file_name(s, s->file_of[i], name);
        px_str_format(&text, "    \"%s\": \"%s\"%s\n", s->base[i].name, name,
                      i + 1 < s->n_base ? "," : "");
    }
    px_str_text(&text, "  }\n}\n");
    px_err *err = px_text_write(s->dir, "model.safetensors.index.json", &text);
    px_str_free(&text);
    return err;
}

void px_shards_free(px_shards *s) {
    if (!s) return;
    for (int i = 0; s->data && i < s->n_base; i++) free(s->data[i]);
    free(s->base);
    free(s->file_of);
    free(s->data);
    free(s);
}

/* --- config.json --- */

static void add_i64(px_str *text, const char *key, int64_t value) {
    px_str_format(text, "  \"%s\": %lld,\n", key, (long long)value);
}

static void add_f64(px_str *text, const char *key, double value) {
    px_str_format(text, "  \"%s\": ", key);
    px_str_double(text, value);
    px_str_text(text, ",\n");
}

static void add_rope(px_str *text, const px_shape *shape) {
    char v[4][32];
    add_f64(text, "rope_theta", shape->rope_theta);
    if (shape->rope_factor > 0)
        px_str_format(text,
                      "  \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": %s, "
                      "\"low_freq_factor\": %s, \"high_freq_factor\": %s, "
                      "\"original_max_position_embeddings\": %s},\n",
                      px_double_text(shape->rope_factor, v[0]),
                      px_double_text(shape->rope_low, v[1]), px_double_text(shape->rope_high, v[2]),
                      px_double_text(shape->rope_original, v[3]));
    else if (shape->rope_linear > 0)
        px_str_format(text, "  \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": %s},\n",
                      px_double_text(shape->rope_linear, v[0]));
    else
        px_str_text(text, "  \"rope_scaling\": null,\n");
}

px_err *px_config_json_write(const char *dir, const px_shape *shape, px_type type, int64_t bos,
                             int64_t eos) {
    px_str text = {0};
    px_str_text(&text, "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n"
                       "  \"model_type\": \"llama\",\n  \"hidden_act\": \"silu\",\n"
                       "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n");
    add_i64(&text, "vocab_size", shape->vocab);
    add_i64(&text, "hidden_size", shape->d);
    add_i64(&text, "intermediate_size", shape->ffn);
    add_i64(&text, "num_hidden_layers", shape->n_layers);
    add_i64(&text, "num_attention_heads", shape->n_heads);
    add_i64(&text, "num_key_value_heads", shape->n_kv_heads);
    add_i64(&text, "head_dim", shape->head_dim);
    add_i64(&text, "max_position_embeddings", shape->max_positions);
    add_f64(&text, "rms_norm_eps", shape->rms_eps);
    add_rope(&text, shape);
    if (bos >= 0) add_i64(&text, "bos_token_id", bos);
    if (eos >= 0) add_i64(&text, "eos_token_id", eos);
    px_str_format(&text, "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\"\n}\n",
                  shape->tied ? "true" : "false", type == PX_F32 ? "float32" : "bfloat16");
    px_err *err = px_text_write(dir, "config.json", &text);
    px_str_free(&text);
    return err;
}
