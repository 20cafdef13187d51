/* source_config.c - a model's shape from config.json, in the styles of transformers 4 (rope_theta
 * and rope_scaling) and 5 (rope_parameters). What would change the computation and is not
 * implemented is an error, never ignored. */
#include <string.h>

#include "model_internal.h"

static const cJSON *present(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static px_err *i64_or(const cJSON *object, const char *key, const char *where, int64_t most,
                      int64_t missing, int64_t *out) {
    *out = missing;
    if (!present(object, key)) return NULL;
    return px_json_i64(object, key, where, 1, most, out);
}

static px_err *f64_or(const cJSON *object, const char *key, const char *where, double missing,
                      double *out) {
    *out = missing;
    if (!present(object, key)) return NULL;
    PX_PASS(px_json_f64(object, key, where, out));
    if (!(*out > 0 && *out <= 1e12))
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %g; a number above 0 is expected", where, key, *out);
    return NULL;
}

static px_err *must_be_false(const cJSON *object, const char *key, const char *where) {
    if (!present(object, key)) return NULL;
    bool value = false;
    PX_PASS(px_json_bool(object, key, where, &value));
    if (value)
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is true; only models without it are read", where, key);
    return NULL;
}

static px_err *text_or(const cJSON *object, const char *key, const char *where, const char *missing,
                       const char **out) {
    *out = missing;
    if (!present(object, key)) return NULL;
    return px_json_text(object, key, where, out);
}

/* Scaling of the rotary frequencies: rope_parameters, or rope_scaling and rope_theta. */
static px_err *rope_of(const cJSON *config, const char *where, px_shape *shape) {
    const cJSON *rope = present(config, "rope_parameters");
    if (!rope) rope = present(config, "rope_scaling");
    PX_PASS(f64_or(config, "rope_theta", where, 10000, &shape->rope_theta));
    double part = 1;
    PX_PASS(f64_or(config, "partial_rotary_factor", where, 1, &part));
    if (part != 1)
        PX_FAIL(PX_BAD_INPUT, "%s: \"partial_rotary_factor\" is %g; only 1 is read", where, part);
    if (!rope) return NULL;
    if (!cJSON_IsObject(rope))
        PX_FAIL(PX_BAD_INPUT, "%s: \"%s\" is %s; an object is expected", where, rope->string,
                px_json_type(rope));
    const char *type = NULL;
    PX_PASS(f64_or(rope, "rope_theta", where, shape->rope_theta, &shape->rope_theta));
    PX_PASS(text_or(rope, "type", where, "default", &type));
    PX_PASS(text_or(rope, "rope_type", where, type, &type));
    if (strcmp(type, "default") == 0) return NULL;
    if (strcmp(type, "linear") == 0) {
        PX_PASS(f64_or(rope, "factor", where, 0, &shape->rope_linear));
        if (shape->rope_linear == 0)
            PX_FAIL(PX_BAD_INPUT, "%s: linear rope scaling without \"factor\"", where);
        return NULL;
    }
    if (strcmp(type, "llama3") != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: rope type \"%s\" is not read; default, linear and llama3 are",
                where, type);
    const struct {
        const char *key;
        double *field;
    } fields[] = {{"factor", &shape->rope_factor},
                  {"low_freq_factor", &shape->rope_low},
                  {"high_freq_factor", &shape->rope_high},
                  {"original_max_position_embeddings", &shape->rope_original}};
    for (size_t i = 0; i < PX_COUNT(fields); i++) {
        PX_PASS(f64_or(rope, fields[i].key, where, 0, fields[i].field));
        if (*fields[i].field == 0)
            PX_FAIL(PX_BAD_INPUT, "%s: llama3 rope scaling without \"%s\"", where, fields[i].key);
    }
    if (!(shape->rope_high > shape->rope_low))
        PX_FAIL(PX_BAD_INPUT,
                "%s: llama3 rope scaling: high_freq_factor %g is not above low_freq_factor %g",
                where, shape->rope_high, shape->rope_low);
    return NULL;
}

/* Attention over a window counts only when the window is shorter than the positions. */
static px_err *window_check(const cJSON *config, const char *where, const px_shape *shape) {
    const cJSON *use = present(config, "use_sliding_window");
    const bool off = use && cJSON_IsFalse(use);
    int64_t window = 0;
    PX_PASS(i64_or(config, "sliding_window", where, INT64_MAX, INT64_MAX, &window));
    if (!off && window < shape->max_positions)
        PX_FAIL(PX_BAD_INPUT,
                "%s: \"sliding_window\" is %lld and positions go to %lld: attention over a sliding "
                "window "
                "is not computed here; null or at least max_position_embeddings is accepted",
                where, (long long)window, (long long)shape->max_positions);
    const cJSON *types = present(config, "layer_types"), *type = NULL;
    cJSON_ArrayForEach(type, types) {
        if (!cJSON_IsString(type) || strcmp(type->valuestring, "full_attention") != 0)
            PX_FAIL(PX_BAD_INPUT, "%s: \"layer_types\" holds %s; only \"full_attention\" is read",
                    where, cJSON_IsString(type) ? type->valuestring : px_json_type(type));
    }
    return NULL;
}

static px_err *architecture_check(const cJSON *config, const char *where, bool *mistral) {
    const char *type = NULL, *act = NULL;
    PX_PASS(px_json_text(config, "model_type", where, &type));
    *mistral = strcmp(type, "mistral") == 0;
    if (!*mistral && strcmp(type, "llama") != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: \"model_type\" is \"%s\"; llama and mistral are read", where,
                type);
    PX_PASS(text_or(config, "hidden_act", where, "silu", &act));
    if (strcmp(act, "silu") != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: \"hidden_act\" is \"%s\"; only silu is read", where, act);
    PX_PASS(must_be_false(config, "attention_bias", where));
    PX_PASS(must_be_false(config, "mlp_bias", where));
    if (present(config, "quantization_config"))
        PX_FAIL(
            PX_BAD_INPUT,
            "%s: \"quantization_config\": quantised Hugging Face weights are not read; take the "
            "unquantised model or a GGUF file",
            where);
    return NULL;
}

px_err *px_config_json_shape(const cJSON *config, const char *where, px_shape *shape) {
    bool mistral = false;
    *shape = (px_shape){0};
    if (!cJSON_IsObject(config))
        PX_FAIL(PX_BAD_INPUT, "%s: %s; an object is expected", where, px_json_type(config));
    PX_PASS(architecture_check(config, where, &mistral));
    PX_PASS(px_json_i64(config, "hidden_size", where, 1, 1 << 20, &shape->d));
    PX_PASS(px_json_i64(config, "intermediate_size", where, 1, 1 << 22, &shape->ffn));
    PX_PASS(px_json_i64(config, "num_hidden_layers", where, 1, 4096, &shape->n_layers));
    PX_PASS(px_json_i64(config, "num_attention_heads", where, 1, 4096, &shape->n_heads));
    PX_PASS(i64_or(config, "num_key_value_heads", where, 4096, mistral ? 8 : shape->n_heads,
                   &shape->n_kv_heads));
    PX_PASS(px_json_i64(config, "vocab_size", where, 1, 1 << 24, &shape->vocab));
    PX_PASS(i64_or(config, "max_position_embeddings", where, 1 << 30, mistral ? 131072 : 2048,
                   &shape->max_positions));
    if (!present(config, "head_dim") && shape->d % shape->n_heads != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: hidden_size %lld is no multiple of num_attention_heads %lld",
                where, (long long)shape->d, (long long)shape->n_heads);
    PX_PASS(i64_or(config, "head_dim", where, 4096, shape->d / shape->n_heads, &shape->head_dim));
    PX_PASS(f64_or(config, "rms_norm_eps", where, 1e-6, &shape->rms_eps));
    if (present(config, "tie_word_embeddings"))
        PX_PASS(px_json_bool(config, "tie_word_embeddings", where, &shape->tied));
    PX_PASS(rope_of(config, where, shape));
    PX_PASS(window_check(config, where, shape));
    return px_shape_check(shape, where);
}

px_err *px_shape_check(const px_shape *shape, const char *where) {
    if (shape->head_dim < 2 || shape->head_dim % 2 != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: heads of %lld: an even number is expected", where,
                (long long)shape->head_dim);
    if (shape->n_heads % shape->n_kv_heads != 0)
        PX_FAIL(PX_BAD_INPUT, "%s: %lld attention heads are no multiple of %lld key-value heads",
                where, (long long)shape->n_heads, (long long)shape->n_kv_heads);
    return NULL;
}
