/* source_gguf.c - a model's shape from a GGUF file's metadata (llama.*), and the factors of its
 * rotary frequencies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

static px_err *i64_of(const px_gguf *file, const char *key, int64_t least, int64_t most,
                      int64_t *out) {
    PX_PASS(px_gguf_i64(file, key, out));
    if (*out < least || *out > most)
        PX_FAIL(PX_BAD_INPUT, "%s: %s is %lld; %lld to %lld is expected", px_gguf_path(file), key,
                (long long)*out, (long long)least, (long long)most);
    return NULL;
}

static px_err *i64_or(const px_gguf *file, const char *key, int64_t most, int64_t missing,
                      int64_t *out) {
    *out = missing;
    return px_gguf_has(file, key) ? i64_of(file, key, 0, most, out) : NULL;
}

static px_err *f64_or(const px_gguf *file, const char *key, double missing, double *out) {
    *out = missing;
    if (px_gguf_has(file, key)) PX_PASS(px_gguf_f64(file, key, out));
    if (!(*out >= 0 && *out <= 1e12))
        PX_FAIL(PX_BAD_INPUT, "%s: %s is %g; a number from 0 is expected", px_gguf_path(file), key,
                *out);
    return NULL;
}

static px_err *text_is(const px_gguf *file, const char *key, const char *word, bool *same) {
    const char *text = NULL;
    size_t size = 0;
    PX_PASS(px_gguf_text(file, key, &text, &size));
    *same = size == strlen(word) && memcmp(text, word, size) == 0;
    return NULL;
}

static px_err *architecture_check(const px_gguf *file) {
    bool llama = false;
    int64_t n = 0;
    PX_PASS(text_is(file, "general.architecture", "llama", &llama));
    if (!llama) {
        const char *text = NULL;
        size_t size = 0;
        PX_PASS(px_gguf_text(file, "general.architecture", &text, &size));
        PX_FAIL(PX_BAD_INPUT, "%s: general.architecture is \"%.*s\"; llama is read",
                px_gguf_path(file), (int)PX_MIN(size, (size_t)64), text);
    }
    if (px_gguf_count(file) == 0)
        PX_FAIL(PX_BAD_INPUT, "%s: a vocabulary without weights; a model is needed",
                px_gguf_path(file));
    PX_PASS(i64_or(file, "llama.expert_count", INT64_MAX, 0, &n));
    if (n > 0)
        PX_FAIL(PX_BAD_INPUT, "%s: llama.expert_count is %lld; mixtures of experts are not read",
                px_gguf_path(file), (long long)n);
    return NULL;
}

/* The factors that Llama-3 scaling of known parameters gives; then the parameters say it all, and
 * an export can write them. */
static bool llama3_factors(px_shape *shape, const float *factors) {
    const int64_t half = shape->head_dim / 2;
    px_shape plain = *shape, scaled = *shape;
    float *freq = malloc((size_t)(2 * half) * sizeof *freq);
    if (!freq) return false;
    scaled.rope_factor = factors[half - 1];
    scaled.rope_low = 1;
    scaled.rope_high = 4;
    scaled.rope_original = 8192;
    px_rope_frequencies(&plain, NULL, freq);
    px_rope_frequencies(&scaled, NULL, freq + half);
    bool same = scaled.rope_factor > 1;
    for (int64_t i = 0; i < half && same; i++)
        same = fabsf(freq[i] / freq[half + i] - factors[i]) <= 1e-5f * factors[i];
    free(freq);
    if (same) *shape = scaled;
    return same;
}

static px_err *factors_of(const px_gguf *file, px_shape *shape, float **out) {
    const px_tensor *tensor = px_gguf_find(file, "rope_freqs.weight");
    const int64_t half = shape->head_dim / 2;
    px_err *err = NULL;
    float *factors = NULL;
    if (!tensor) return NULL;
    if (tensor->rank != 1 || tensor->dims[0] != half)
        PX_FAIL(PX_BAD_INPUT,
                "%s: rope_freqs.weight does not have the %lld elements of half a head",
                px_gguf_path(file), (long long)half);
    factors = malloc((size_t)half * sizeof *factors);
    if (!factors) PX_NO_MEMORY();
    PX_PASS_TO(done, px_tensor_f32(tensor, 0, half, factors));
    for (int64_t i = 0; i < half; i++)
        if (!(factors[i] > 0 && factors[i] < 1e6f))
            PX_FAIL_TO(done, PX_BAD_INPUT, "%s: rope_freqs.weight[%lld] is %g; above 0 is expected",
                       px_gguf_path(file), (long long)i, (double)factors[i]);
    if (!llama3_factors(shape, factors)) {
        *out = factors;
        factors = NULL;
    }
done:
    free(factors);
    return err;
}

static px_err *scaling_of(const px_gguf *file, px_shape *shape) {
    bool linear = false, none = false;
    const char *type = "llama.rope.scaling.type";
    PX_PASS(f64_or(file, "llama.rope.scale_linear", 0, &shape->rope_linear));
    if (px_gguf_has(file, type)) {
        PX_PASS(text_is(file, type, "linear", &linear));
        PX_PASS(text_is(file, type, "none", &none));
        if (!linear && !none)
            PX_FAIL(PX_BAD_INPUT, "%s: %s is neither none nor linear, which are read",
                    px_gguf_path(file), type);
        if (linear) PX_PASS(f64_or(file, "llama.rope.scaling.factor", 0, &shape->rope_linear));
    }
    if (shape->rope_linear == 1) shape->rope_linear = 0;
    return NULL;
}

px_err *px_gguf_shape(const px_gguf *file, px_shape *shape, float **factors) {
    int64_t value = 0;
    *shape = (px_shape){0};
    PX_PASS(architecture_check(file));
    PX_PASS(i64_of(file, "llama.embedding_length", 1, 1 << 20, &shape->d));
    PX_PASS(i64_of(file, "llama.feed_forward_length", 1, 1 << 22, &shape->ffn));
    PX_PASS(i64_of(file, "llama.block_count", 1, 4096, &shape->n_layers));
    PX_PASS(i64_of(file, "llama.attention.head_count", 1, 4096, &shape->n_heads));
    PX_PASS(
        i64_or(file, "llama.attention.head_count_kv", 4096, shape->n_heads, &shape->n_kv_heads));
    if (shape->n_kv_heads == 0)
        PX_FAIL(PX_BAD_INPUT, "%s: llama.attention.head_count_kv is 0", px_gguf_path(file));
    PX_PASS(i64_of(file, "llama.context_length", 1, 1 << 30, &shape->max_positions));
    PX_PASS(i64_or(file, "llama.attention.key_length", 4096, shape->d / shape->n_heads,
                   &shape->head_dim));
    PX_PASS(i64_or(file, "llama.attention.value_length", 4096, shape->head_dim, &value));
    if (value != shape->head_dim)
        PX_FAIL(PX_BAD_INPUT, "%s: keys of %lld and values of %lld a head; the same is expected",
                px_gguf_path(file), (long long)shape->head_dim, (long long)value);
    PX_PASS(i64_or(file, "llama.rope.dimension_count", 4096, shape->head_dim, &value));
    if (value != shape->head_dim)
        PX_FAIL(PX_BAD_INPUT,
                "%s: llama.rope.dimension_count is %lld of heads of %lld; all is expected",
                px_gguf_path(file), (long long)value, (long long)shape->head_dim);
    PX_PASS(i64_or(file, "llama.attention.sliding_window", INT64_MAX, 0, &value));
    if (value > 0 && value < shape->max_positions)
        PX_FAIL(PX_BAD_INPUT, "%s: a sliding window of %lld is not computed here",
                px_gguf_path(file), (long long)value);
    PX_PASS(f64_or(file, "llama.attention.layer_norm_rms_epsilon", 1e-5, &shape->rms_eps));
    PX_PASS(f64_or(file, "llama.rope.freq_base", 10000, &shape->rope_theta));
    if (shape->rope_theta == 0)
        PX_FAIL(PX_BAD_INPUT, "%s: llama.rope.freq_base is 0", px_gguf_path(file));
    const px_tensor *table = px_gguf_find(file, "token_embd.weight");
    if (!table || table->rank != 2 || table->dims[0] < 1 || table->dims[0] > 1 << 24)
        PX_FAIL(PX_BAD_INPUT, "%s: no token_embd.weight of [vocabulary, %lld]", px_gguf_path(file),
                (long long)shape->d);
    shape->vocab = table->dims[0];
    shape->tied = !px_gguf_find(file, "output.weight");
    PX_PASS(px_shape_check(shape, px_gguf_path(file)));
    PX_PASS(scaling_of(file, shape));
    return factors_of(file, shape, factors);
}
