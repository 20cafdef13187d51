/* init_random.c - random weights of a real shape as a Hugging Face folder, for tests, plans and
 * timings without a download. Normal with the spread that transformers starts from; norms 1. Only
 * `tiny` has a tokenizer (bytes and chatml); the others take the one of the model they are shaped
 * like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

typedef struct {
    const char *name;
    px_shape shape;
    double spread;
    int64_t bos, eos;
} random_shape;

/* tiny: heads of 24 with a width of 64, two key-value heads. Its wider spread gives answers that
 * differ. */
static const random_shape shapes[] = {
    {"tiny",
     {.vocab = 512,
      .d = 64,
      .n_layers = 2,
      .n_heads = 4,
      .n_kv_heads = 2,
      .head_dim = 24,
      .ffn = 128,
      .max_positions = 8192,
      .rms_eps = 1e-5,
      .rope_theta = 10000,
      .tied = true},
     0.1,
     1,
     2},
    {"smollm2-135m",
     {.vocab = 49152,
      .d = 576,
      .n_layers = 30,
      .n_heads = 9,
      .n_kv_heads = 3,
      .head_dim = 64,
      .ffn = 1536,
      .max_positions = 8192,
      .rms_eps = 1e-5,
      .rope_theta = 100000,
      .tied = true},
     0.02,
     1,
     2},
    {"llama-3.2-1b",
     {.vocab = 128256,
      .d = 2048,
      .n_layers = 16,
      .n_heads = 32,
      .n_kv_heads = 8,
      .head_dim = 64,
      .ffn = 8192,
      .max_positions = 131072,
      .rms_eps = 1e-5,
      .rope_theta = 500000,
      .rope_factor = 32,
      .rope_low = 1,
      .rope_high = 4,
      .rope_original = 8192,
      .tied = true},
     0.02,
     128000,
     128009},
    {"llama-3.1-8b",
     {.vocab = 128256,
      .d = 4096,
      .n_layers = 32,
      .n_heads = 32,
      .n_kv_heads = 8,
      .head_dim = 128,
      .ffn = 14336,
      .max_positions = 131072,
      .rms_eps = 1e-5,
      .rope_theta = 500000,
      .rope_factor = 8,
      .rope_low = 1,
      .rope_high = 4,
      .rope_original = 8192,
      .tied = false},
     0.02,
     128000,
     128009},
};

/* Element i of tensor a: four normals a draw (Box and Muller), so that no element depends on
 * another. */
static void fill(uint16_t *out, int64_t n, uint64_t seed, uint64_t a, double spread) {
    const px_rng rng = {seed, PX_RNG_MODEL};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (n + 3) / 4; i++) {
        const px_u32x4 u = px_rng_at(rng, a, (uint64_t)i);
        for (int k = 0; k < 4 && 4 * i + k < n; k++) {
            const int pair = k & ~1; /* two words make two values */
            const double radius = sqrt(-2 * log(((double)u.v[pair] + 1) * 0x1p-32));
            const double angle = 2 * M_PI * (double)u.v[pair + 1] * 0x1p-32;
            const double value = radius * (k % 2 ? sin(angle) : cos(angle));
            out[4 * i + k] = px_bf16_from((float)(spread * value));
        }
    }
}

static px_err *weights_write(const char *dir, const random_shape *random, uint64_t seed) {
    px_shards *shards = NULL;
    px_err *err = NULL;
    const px_shape *shape = &random->shape;
    PX_PASS(px_shards_new(dir, shape, PX_BF16, PX_ONE_FILE_MOST, &shards));
    for (int i = 0; i < px_base_count(shape); i++) {
        const px_base_tensor t = px_base_at(shape, i);
        const int64_t n = t.dims[0] * t.dims[1];
        uint16_t *data = malloc((size_t)n * sizeof *data);
        if (!data) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory: %s", t.name);
        if (t.rank == 2)
            fill(data, n, seed, (uint64_t)i, random->spread);
        else
            for (int64_t k = 0; k < n; k++) data[k] = px_bf16_from(1);
        PX_PASS_TO(done, px_shards_add(shards, data));
    }
    err = px_shards_finish(shards);
done:
    px_shards_free(shards);
    return err;
}

static px_err *random_find(const char *like, const random_shape **out) {
    const random_shape *random = NULL;
    px_str names = {0};
    for (size_t i = 0; i < PX_COUNT(shapes); i++) {
        if (strcmp(shapes[i].name, like) == 0) random = &shapes[i];
        px_str_format(&names, "%s%s", i ? ", " : "", shapes[i].name);
    }
    if (!random) {
        px_err *err =
            px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "shape \"%s\" is unknown; there are: %s",
                       like, names.data ? names.data : "");
        px_str_free(&names);
        return err;
    }
    px_str_free(&names);
    *out = random;
    return NULL;
}

px_err *px_shape_like(const char *like, px_shape *out) {
    const random_shape *random = NULL;
    PX_PASS(random_find(like, &random));
    *out = random->shape;
    return NULL;
}

px_err *px_model_init_random(const char *dir, const char *like, uint64_t seed, int64_t layers) {
    const random_shape *found = NULL;
    PX_PASS(random_find(like, &found));
    random_shape random = *found;
    if (layers > 0) random.shape.n_layers = layers;
    PX_PASS(px_dir_make(dir));
    PX_TRY(weights_write(dir, &random, seed), "random model %s", dir);
    PX_TRY(px_config_json_write(dir, &random.shape, PX_BF16, random.bos, random.eos),
           "random model %s", dir);
    if (found == &shapes[0])
        PX_TRY(px_byte_tokenizer_write(dir, random.shape.vocab), "random model %s", dir);
    return NULL;
}
