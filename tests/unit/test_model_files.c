/* test_model_files.c - models from files and into files: damaged configurations, a GGUF file
 * against the same weights in a folder, shards, the exports, random models. */
#include <unistd.h>

#include "model_internal.h"
#include "px_test.h"

enum { PATH = 512 };

static void golden_path(const char *name, char out[PATH]) {
    snprintf(out, PATH, "%s/tests/golden/%s", PX_SOURCE_DIR, name);
}

static int folder_new(void **state) {
    char *dir = strdup("/tmp/px_model_files_XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : 1;
}
static int folder_remove(void **state) {
    px_err *err = px_dir_remove(*state);
    free(*state);
    px_err_free(err);
    return err ? 1 : 0;
}

static void copy_file(const char *from_dir, const char *name, const char *to_dir) {
    px_bytes bytes = {0};
    char *from = px_path_join(from_dir, name), *to = px_path_join(to_dir, name);
    px_assert_ok(px_file_read(from, &bytes));
    px_assert_ok(px_file_write(to, bytes.data, bytes.size));
    px_bytes_free(&bytes);
    free(from);
    free(to);
}

/* --- config.json --- */

static const char good[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 32, \"intermediate_size\": 40, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"vocab_size\": 64, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, "
    "\"tie_word_embeddings\": true%s}";

/* The shape of `good` with `more` behind it; a later key of the same name is not read, so `less` is
 * cut out first. */
static px_err *shape_of(const char *less, const char *more, px_shape *shape) {
    char text[2048];
    cJSON *json = NULL;
    snprintf(text, sizeof text, good, more);
    px_assert_ok(px_json_parse(text, strlen(text), &json));
    if (less) {
        cJSON *first = cJSON_DetachItemFromObjectCaseSensitive(json, less);
        assert_non_null(first);
        cJSON_Delete(first);
    }
    px_err *err = px_config_json_shape(json, "config.json", shape);
    cJSON_Delete(json);
    return err;
}

static void config_styles_are_read(void **state) {
    (void)state;
    px_shape s;
    px_assert_ok(shape_of(NULL, "", &s));
    assert_int_equal(s.head_dim, 8);
    assert_true(s.rope_theta == 10000 && s.rope_factor == 0 && s.rope_linear == 0 && s.tied);
    px_assert_ok(shape_of("tie_word_embeddings", ", \"head_dim\": 6, \"rope_theta\": 5e5", &s));
    assert_int_equal(s.head_dim, 6);
    assert_true(s.rope_theta == 5e5 && !s.tied);
    px_assert_ok(shape_of(
        NULL, ", \"rope_theta\": 7, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}", &s));
    assert_true(s.rope_theta == 7 && s.rope_linear == 4);
    px_assert_ok(shape_of(NULL,
                          ", \"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 9, "
                          "\"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                          "\"original_max_position_embeddings\": 32}",
                          &s));
    assert_true(s.rope_theta == 9 && s.rope_factor == 8 && s.rope_low == 1 && s.rope_high == 4 &&
                s.rope_original == 32);
    px_assert_ok(shape_of(NULL, ", \"rope_scaling\": null, \"sliding_window\": null", &s));
    px_assert_ok(
        shape_of("model_type", ", \"model_type\": \"mistral\", \"sliding_window\": 64", &s));
    px_assert_ok(shape_of("num_key_value_heads", "", &s));
    assert_int_equal(s.n_kv_heads, 4);
}

static void config_surprises_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *less, *more, *text;
    } cases[] = {
        {"model_type", "", "model_type"},
        {"model_type", ", \"model_type\": \"gemma\"", "llama and mistral"},
        {"model_type", ", \"model_type\": 3", "model_type"},
        {"hidden_size", "", "hidden_size"},
        {"hidden_size", ", \"hidden_size\": 33", "no multiple"},
        {"hidden_size", ", \"hidden_size\": -1", "hidden_size"},
        {"hidden_size", ", \"hidden_size\": 1e300", "hidden_size"},
        {"hidden_size", ", \"hidden_size\": \"32\"", "hidden_size"},
        {"hidden_size", ", \"hidden_size\": 32.5", "hidden_size"},
        {"num_hidden_layers", ", \"num_hidden_layers\": 0", "num_hidden_layers"},
        {"num_hidden_layers", ", \"num_hidden_layers\": 99999", "num_hidden_layers"},
        {"num_key_value_heads", ", \"num_key_value_heads\": 3", "no multiple"},
        {"num_key_value_heads", ", \"num_key_value_heads\": 0", "num_key_value_heads"},
        {"vocab_size", ", \"vocab_size\": 9e18", "vocab_size"},
        {"rms_norm_eps", ", \"rms_norm_eps\": 0", "rms_norm_eps"},
        {"rms_norm_eps", ", \"rms_norm_eps\": \"x\"", "rms_norm_eps"},
        {NULL, ", \"head_dim\": 7", "even"},
        {NULL, ", \"hidden_act\": \"gelu\"", "silu"},
        {NULL, ", \"attention_bias\": true", "attention_bias"},
        {NULL, ", \"mlp_bias\": true", "mlp_bias"},
        {NULL, ", \"sliding_window\": 32", "sliding window"},
        {NULL, ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]",
         "sliding_attention"},
        {NULL, ", \"partial_rotary_factor\": 0.5", "partial_rotary_factor"},
        {NULL, ", \"quantization_config\": {}", "quantised"},
        {NULL, ", \"rope_scaling\": 3", "rope_scaling"},
        {NULL, ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2}", "yarn"},
        {NULL, ", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}", "dynamic"},
        {NULL, ", \"rope_scaling\": {\"rope_type\": \"linear\"}", "factor"},
        {NULL, ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": -2}", "factor"},
        {NULL, ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 2}", "low_freq_factor"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_shape s;
        px_assert_error(shape_of(cases[i].less, cases[i].more, &s), PX_BAD_INPUT, cases[i].text);
    }
}

/* --- sources --- */

/* model_a with `from` in its config.json replaced by `to`. */
static px_err *changed_open(const char *dir, const char *from, const char *to) {
    char golden[PATH];
    px_bytes text = {0};
    px_str out = {0};
    px_source *source = NULL;
    golden_path("model_a", golden);
    copy_file(golden, "model.safetensors", dir);
    char *path = px_path_join(golden, "config.json");
    px_assert_ok(px_file_read(path, &text));
    const char *at = strstr(text.data, from);
    assert_non_null(at);
    px_str_add(&out, text.data, (size_t)(at - text.data));
    px_str_text(&out, to);
    px_str_text(&out, at + strlen(from));
    px_assert_ok(px_text_write(dir, "config.json", &out));
    px_err *err = px_source_open(dir, &source);
    px_source_close(source);
    px_str_free(&out);
    px_bytes_free(&text);
    free(path);
    return err;
}

static void wrong_models_are_named(void **state) {
    const char *dir = *state;
    char golden[PATH];
    px_source *source = NULL;
    px_assert_error(px_source_open("", &source), PX_BAD_INPUT, "no model given");
    px_assert_error(px_source_open("/nowhere/at/all", &source), PX_BAD_INPUT, "no such file");
    px_assert_error(px_source_open(dir, &source), PX_BAD_INPUT, "config.json");
    px_assert_error(changed_open(dir, "\"vocab_size\": 64", "\"vocab_size\": 65"), PX_BAD_INPUT,
                    "model.embed_tokens.weight has the dimensions [64, 32]; expected [65, 32]");
    px_assert_error(changed_open(dir, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
                    PX_BAD_INPUT, "model.layers.2.input_layernorm.weight is missing");
    px_assert_error(changed_open(dir, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
                    PX_BAD_INPUT, "has no place in a Llama model of 1 layers");
    px_assert_error(
        changed_open(dir, "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"),
        PX_BAD_INPUT, "lm_head.weight is missing");
    px_assert_error(changed_open(dir, "{", "{{"), PX_BAD_INPUT, "config.json");
    px_assert_ok(changed_open(dir, "{", "{ "));
    golden_path("model_a/config.json", golden);
    px_assert_error(px_source_open(golden, &source), PX_BAD_INPUT, "config.json");
}

static void rows_are_bounded(void **state) {
    (void)state;
    char path[PATH];
    float all[64 * 32], part[2 * 32];
    px_source *source = NULL;
    golden_path("model_a", path);
    px_assert_ok(px_source_open(path, &source));
    px_assert_ok(px_source_rows(source, "lm_head.weight", 0, 64, PX_F32, all));
    px_assert_ok(px_source_rows(source, "model.embed_tokens.weight", 62, 2, PX_F32, part));
    assert_memory_equal(all + (size_t)62 * 32, part, sizeof part);
    px_assert_ok(px_source_rows(source, "model.embed_tokens.weight", 64, 0, PX_F32, part));
    px_assert_error(px_source_rows(source, "model.embed_tokens.weight", 63, 2, PX_F32, part),
                    PX_BAD_INPUT, "no rows 63 to 65");
    px_assert_error(px_source_rows(source, "model.embed_tokens.weight", -1, 1, PX_F32, part),
                    PX_BAD_INPUT, "no rows");
    px_assert_error(px_source_rows(source, "model.nothing", 0, 1, PX_F32, part), PX_BAD_INPUT,
                    "no tensor model.nothing");
    px_source_close(source);
}

/* The same weights through llama.cpp's layout: q and k rows put back, factors of the frequencies
 * read. */
static void gguf_equals_the_folder(void **state) {
    (void)state;
    char path[PATH];
    px_source *folder = NULL, *gguf = NULL;
    float a[64 * 40], b[64 * 40], fa[3], fb[3];
    golden_path("model_b", path);
    px_assert_ok(px_source_open(path, &folder));
    golden_path("model_b.gguf", path);
    px_assert_ok(px_source_open(path, &gguf));
    assert_true(px_source_is_gguf(gguf) && !px_source_is_gguf(folder));
    const px_shape *s = px_source_shape(folder), *g = px_source_shape(gguf);
    assert_true(s->vocab == g->vocab && s->d == g->d && s->ffn == g->ffn &&
                s->n_layers == g->n_layers);
    assert_true(s->n_heads == g->n_heads && s->n_kv_heads == g->n_kv_heads && s->tied == g->tied);
    assert_true(s->head_dim == g->head_dim && s->rope_theta == g->rope_theta);
    px_assert_near(s->rms_eps, g->rms_eps, 1e-9);
    for (int i = 0; i < folder->n_base; i++) {
        const px_base_tensor *t = &folder->base[i];
        const size_t n = (size_t)(t->dims[0] * t->dims[1]);
        px_assert_ok(px_source_rows(folder, t->name, 0, t->dims[0], PX_F32, a));
        px_assert_ok(px_source_rows(gguf, t->name, 0, t->dims[0], PX_F32, b));
        for (size_t k = 0; k < n; k++) assert_true(a[k] == b[k]);
        if (t->dims[0] < 2 || t->rank == 1) continue;
        px_assert_ok(px_source_rows(gguf, t->name, 1, 1, PX_F32, b)); /* from the middle too */
        for (int64_t k = 0; k < t->dims[1]; k++) assert_true(a[t->dims[1] + k] == b[k]);
    }
    assert_non_null(gguf->rope_factors);
    px_rope_frequencies(s, NULL, fa);
    px_rope_frequencies(g, gguf->rope_factors, fb);
    for (int i = 0; i < 3; i++) px_assert_near(fa[i], fb[i], 1e-6);
    px_source_close(gguf);
    px_source_close(folder);
}

/* --- writing --- */

static px_config config_of(int precision, bool full) {
    px_config c = {.precision = precision, .full_finetune = full, .seed = 3, .lora_alpha = 2.5};
    if (!full) c.lora_r = 2;
    c.lora_targets = 1u << PX_K | 1u << PX_UP;
    return c;
}

/* Parameters with B not zero, of model_b. */
static px_params *params_of(const px_config *config, px_source *source) {
    px_params *params = NULL;
    px_assert_ok(px_params_new(config, px_source_shape(source), 1, &params));
    px_assert_ok(px_params_init(params, config, source));
    for (size_t i = 0; i < params->n; i++)
        params->values[i] += 0.01f * (float)((i * 37) % 19) - 0.09f;
    return params;
}

static void adapter_folder_holds_the_parameters(void **state) {
    char path[PATH], own[64], name[128];
    px_source *source = NULL;
    px_safetensors *file = NULL;
    cJSON *json = NULL;
    const px_config config = config_of(PX_PRECISION_BF16, false);
    golden_path("model_b", path);
    px_assert_ok(px_source_open(path, &source));
    px_params *params = params_of(&config, source);
    px_assert_ok(px_export_peft(*state, params, &config, px_source_shape(source), "base/\"x\""));
    char *weights = px_path_join(*state, "adapter_model.safetensors");
    px_assert_ok(px_safetensors_open(weights, &file));
    assert_int_equal(px_safetensors_count(file), 8);
    for (int i = 0; i < 8; i++) {
        const int linear = i & 1 ? PX_UP : PX_K, layer = i >> 1 & 1;
        const char side = i & 4 ? 'B' : 'A';
        snprintf(own, sizeof own, "lora.%d.%s.%c", layer, px_linear_names[linear], side);
        snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.%s.lora_%c.weight", layer,
                 linear == PX_K ? "self_attn" : "mlp", px_linear_names[linear], side);
        const px_param *p = px_params_find(params, own);
        const px_tensor *t = px_safetensors_find(file, name);
        assert_non_null(p);
        assert_non_null(t);
        assert_true(t->type == PX_T_F32 && t->rank == 2 && t->dims[0] == p->dims[0] &&
                    t->dims[1] == p->dims[1]);
        assert_memory_equal(t->data, params->values + p->offset, p->n * sizeof(float));
    }
    char *config_path = px_path_join(*state, "adapter_config.json");
    px_assert_ok(px_json_read(config_path, false, &json));
    assert_string_equal(px_json_find_text(json, "peft_type"), "LORA");
    assert_string_equal(px_json_find_text(json, "base_model_name_or_path"), "base/\"x\"");
    assert_true(px_json_find_f64(json, "lora_alpha", 0) == 2.5 &&
                px_json_find_f64(json, "r", 0) == 2);
    const cJSON *targets = cJSON_GetObjectItem(json, "target_modules");
    assert_int_equal(cJSON_GetArraySize(targets), 2);
    assert_string_equal(cJSON_GetArrayItem(targets, 1)->valuestring, "up_proj");
    px_config none = config;
    none.lora_r = 0;
    px_assert_error(px_export_peft(*state, params, &none, px_source_shape(source), "b"),
                    PX_BAD_INPUT, "no adapters");
    cJSON_Delete(json);
    free(config_path);
    free(weights);
    px_safetensors_close(file);
    px_params_free(params);
    px_source_close(source);
}

/* Every weight of the merged folder is W, or W + scale · B A, in f32 or rounded to bf16. */
static void merged_folder_holds_the_sums(void **state) {
    for (int i = 0; i < 4; i++) {
        char path[PATH];
        float w[64 * 40], got[64 * 40];
        px_source *source = NULL, *merged = NULL;
        const bool f32 = i & 1, full = i & 2;
        const px_config config = config_of(f32 ? PX_PRECISION_F32 : PX_PRECISION_BF16, full);
        golden_path("model_b", path);
        px_assert_ok(px_source_open(path, &source));
        px_params *params = params_of(&config, source);
        px_assert_ok(px_export_merged(*state, params, &config, source));
        px_assert_ok(px_source_open(*state, &merged));
        for (int k = 0; k < source->n_base; k++) {
            const px_base_tensor *t = &source->base[k];
            const int64_t out = t->dims[0], in = t->dims[1];
            char a_name[64], b_name[64];
            px_assert_ok(px_source_rows(source, t->name, 0, out, PX_F32, w));
            px_assert_ok(px_source_rows(merged, t->name, 0, out, PX_F32, got));
            snprintf(a_name, sizeof a_name, "lora.%d.%s.A", (int)t->layer,
                     t->linear >= 0 ? px_linear_names[t->linear] : "");
            snprintf(b_name, sizeof b_name, "lora.%d.%s.B", (int)t->layer,
                     t->linear >= 0 ? px_linear_names[t->linear] : "");
            const px_param *a = px_params_find(params, a_name), *b = px_params_find(params, b_name);
            const px_param *own = px_params_find(params, t->name);
            for (int64_t e = 0; e < out * in; e++) {
                double want = own ? params->values[own->offset + (size_t)e] : w[e];
                for (int64_t r = 0; a && r < 2; r++)
                    want += 1.25 * params->values[b->offset + (size_t)(e / in * 2 + r)] *
                            params->values[a->offset + (size_t)(r * in + e % in)];
                px_assert_near(got[e], want, f32 ? 1e-6 : 0x1p-8);
                assert_true(f32 || px_bf16_to(px_bf16_from(got[e])) == got[e]);
            }
        }
        px_source_close(merged);
        px_params_free(params);
        px_source_close(source);
    }
}

/* config.json cannot say factors that are not Llama-3's. */
static void gguf_factors_have_no_config(void **state) {
    char path[PATH];
    px_source *source = NULL;
    const px_config config = config_of(PX_PRECISION_F32, false);
    golden_path("model_b.gguf", path);
    px_assert_ok(px_source_open(path, &source));
    px_params *params = params_of(&config, source);
    px_assert_error(px_export_merged(*state, params, &config, source), PX_BAD_INPUT, "rope_freqs");
    px_params_free(params);
    px_source_close(source);
}

static void shards_hold_every_tensor(void **state) {
    const px_shape shape = {.vocab = 10,
                            .d = 4,
                            .n_layers = 3,
                            .n_heads = 2,
                            .n_kv_heads = 1,
                            .head_dim = 2,
                            .ffn = 6,
                            .max_positions = 16,
                            .rms_eps = 1e-5,
                            .rope_theta = 1e4,
                            .rope_linear = 2,
                            .tied = false};
    px_shards *shards = NULL;
    px_source *source = NULL;
    int n_files = 0;
    px_assert_ok(px_shards_new(*state, &shape, PX_F32, 700, &shards));
    for (int i = 0; i < px_base_count(&shape); i++) {
        const px_base_tensor t = px_base_at(&shape, i);
        float *data = calloc((size_t)(t.dims[0] * t.dims[1]), sizeof *data);
        for (int64_t k = 0; k < t.dims[0] * t.dims[1]; k++) data[k] = (float)(1000 * i + k);
        px_assert_ok(px_shards_add(shards, data));
    }
    px_assert_ok(px_shards_finish(shards));
    px_shards_free(shards);
    px_assert_ok(px_config_json_write(*state, &shape, PX_F32, -1, 2));
    px_assert_ok(px_source_open(*state, &source));
    px_safetensors_files(source->folder, &n_files);
    assert_true(n_files > 3);
    assert_true(px_source_shape(source)->rope_linear == 2);
    for (int i = 0; i < source->n_base; i++) {
        const px_base_tensor *t = &source->base[i];
        float got[64];
        px_assert_ok(px_source_rows(source, t->name, 0, t->dims[0], PX_F32, got));
        for (int64_t k = 0; k < t->dims[0] * t->dims[1]; k++)
            assert_true(got[k] == (float)(1000 * i + k));
    }
    px_source_close(source);
}

static void random_model_is_a_function_of_the_seed(void **state) {
    char dirs[3][PATH];
    px_digest digest[3];
    const uint64_t seeds[3] = {5, 5, 6};
    for (int i = 0; i < 3; i++) {
        px_source *source = NULL;
        snprintf(dirs[i], PATH, "%s/%d", (const char *)*state, i);
        px_assert_ok(px_model_init_random(dirs[i], "tiny", seeds[i], 0));
        px_assert_ok(px_source_open(dirs[i], &source));
        assert_int_equal(px_source_shape(source)->head_dim, 24);
        px_assert_ok(px_source_sha256(source, &digest[i]));
        double sum = 0, square = 0;
        static float table[512 * 64];
        px_assert_ok(px_source_rows(source, "model.embed_tokens.weight", 0, 512, PX_F32, table));
        for (size_t k = 0; k < PX_COUNT(table); k++) {
            sum += table[k];
            square += (double)table[k] * table[k];
        }
        const double count = 512 * 64;
        px_assert_near(sum / count, 0, 2e-3);
        px_assert_near(sqrt(square / count), 0.1, 2e-3);
        px_source_close(source);
    }
    assert_string_equal(digest[0].hex, digest[1].hex);
    assert_string_not_equal(digest[0].hex, digest[2].hex);
    px_assert_error(px_model_init_random(dirs[0], "huge", 1, 0), PX_BAD_INPUT, "llama-3.1-8b");
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_new, folder_remove)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_styles_are_read), cmocka_unit_test(config_surprises_are_refused),
        IN_FOLDER(wrong_models_are_named),        cmocka_unit_test(rows_are_bounded),
        cmocka_unit_test(gguf_equals_the_folder), IN_FOLDER(adapter_folder_holds_the_parameters),
        IN_FOLDER(merged_folder_holds_the_sums),  IN_FOLDER(gguf_factors_have_no_config),
        IN_FOLDER(shards_hold_every_tensor),      IN_FOLDER(random_model_is_a_function_of_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
