/* test_params.c - trainable parameters: order, initial values, hash; the user model and its
 * gradient. */
#include "model_internal.h"
#include "px_test.h"

static px_source *source_open(void) {
    px_source *source = NULL;
    px_assert_ok(px_source_open(PX_SOURCE_DIR "/tests/golden/model_a", &source));
    return source;
}

static px_config config_of(int user, int mixing, int init, uint32_t targets) {
    return (px_config){.lora_r = 4,
                       .lora_alpha = 8,
                       .lora_targets = targets,
                       .user_model = user,
                       .user_mixing = mixing,
                       .user_init = init,
                       .user_tokens = 3,
                       .user_bank = 5,
                       .seed = 11};
}

static px_params *params_of(const px_config *config, px_source *source, int32_t n_users) {
    px_params *params = NULL;
    px_assert_ok(px_params_new(config, px_source_shape(source), n_users, &params));
    px_assert_ok(px_params_init(params, config, source));
    return params;
}

static void order_is_fixed_and_without_gaps(void **state) {
    (void)state;
    px_source *source = source_open();
    const px_config config = config_of(PX_USER_BANK, 0, 0, 1u << PX_K | 1u << PX_V | 1u << PX_DOWN);
    px_params *p = params_of(&config, source, 4);
    static const char *const names[] = {"lora.0.k_proj.A", "lora.0.v_proj.A", "lora.0.down_proj.A",
                                        "lora.0.k_proj.B", "lora.0.v_proj.B", "lora.0.down_proj.B",
                                        "lora.1.k_proj.A", "lora.1.v_proj.A", "lora.1.down_proj.A",
                                        "lora.1.k_proj.B", "lora.1.v_proj.B", "lora.1.down_proj.B",
                                        "user.bank",       "user.weights"};
    size_t at = 0;
    assert_int_equal(p->n_params, PX_COUNT(names));
    for (int i = 0; i < p->n_params; i++) {
        assert_string_equal(p->params[i].name, names[i]);
        assert_int_equal(p->params[i].offset, at);
        assert_int_equal(p->params[i].user, i >= 12);
        assert_true(p->params[i].decay);
        at += p->params[i].n;
    }
    assert_int_equal(p->n, at);
    assert_int_equal((uintptr_t)p->values % 64, 0);
    assert_true(px_params_find(p, "lora.0.k_proj.A")->dims[0] == 4);
    assert_true(px_params_find(p, "lora.0.k_proj.A")->dims[1] == 32);
    assert_true(px_params_find(p, "lora.0.k_proj.B")->dims[0] == 16);
    assert_null(px_params_find(p, "lora.0.q_proj.A"));
    px_params_free(p);
    px_config full = config;
    full.full_finetune = true;
    px_assert_error(px_params_new(&full, px_source_shape(source), 1, &p), PX_BAD_INPUT, "lora.r");
    full.lora_r = 0;
    full.user_model = PX_USER_NONE;
    p = params_of(&full, source, 1);
    assert_int_equal(p->n_params, px_base_count(px_source_shape(source)));
    assert_int_equal(p->n, px_base_layout_of(px_source_shape(source)).n);
    assert_false(px_params_find(p, "model.norm.weight")->decay);
    px_params_free(p);
    px_source_close(source);
}

static void adapters_start_as_peft_starts_them(void **state) {
    (void)state;
    px_source *source = source_open();
    const px_config config = config_of(PX_USER_NONE, 0, 0, 0x7F);
    const px_config few = config_of(PX_USER_NONE, 0, 0, 1u << PX_UP);
    px_params *p = params_of(&config, source, 1), *q = params_of(&few, source, 1);
    for (int i = 0; i < p->n_params; i++) {
        const px_param *t = &p->params[i];
        const bool is_a = t->name[strlen(t->name) - 1] == 'A';
        const double bound = 1 / sqrt((double)t->dims[1]);
        double top = 0, square = 0;
        for (size_t k = 0; k < t->n; k++) {
            const double v = p->values[t->offset + k];
            assert_true(is_a ? fabs(v) <= bound : v == 0);
            top = fmax(top, fabs(v));
            square += v * v;
        }
        if (!is_a) continue;
        assert_true(top > 0.9 * bound);
        px_assert_near(sqrt(square / (double)t->n) / bound, sqrt(1.0 / 3), 0.1);
    }
    /* the same start whatever else is trained */
    const px_param *a = px_params_find(p, "lora.1.up_proj.A"),
                   *b = px_params_find(q, "lora.1.up_proj.A");
    assert_memory_equal(p->values + a->offset, q->values + b->offset, a->n * sizeof(float));
    px_params_free(p);
    px_params_free(q);
    px_source_close(source);
}

static bool is_table_row(px_source *source, const float *row) {
    static float table[64 * 32];
    px_assert_ok(px_source_rows(source, "model.embed_tokens.weight", 0, 64, PX_F32, table));
    for (int i = 0; i < 64; i++) {
        int same = 0;
        for (int k = 0; k < 32; k++) same += table[i * 32 + k] == row[k];
        if (same == 32) return true;
    }
    return false;
}

static void users_start_as_configured(void **state) {
    (void)state;
    px_source *source = source_open();
    for (int init = 0; init < 2; init++) {
        px_config config = config_of(PX_USER_BANK, 0, init, 0);
        px_params *p = params_of(&config, source, 6);
        const px_param *bank = px_params_find(p, "user.bank"),
                       *w = px_params_find(p, "user.weights");
        double square = 0;
        for (int64_t r = 0; r < 15; r++)
            assert_true(is_table_row(source, p->values + bank->offset + r * 32));
        for (size_t i = 0; i < w->n; i++) square += pow(p->values[w->offset + i], 2);
        assert_true(init ? fabs(square / 30 - 1) < 0.6 : square == 0);
        assert_true(init ? px_user_spread(p) > 0.01 : px_user_spread(p) == 0);
        px_params_free(p);
        config = config_of(PX_USER_INDIVIDUAL, 0, init, 0);
        p = params_of(&config, source, 3);
        const px_param *e0 = px_params_find(p, "user.generic"),
                       *o = px_params_find(p, "user.offsets");
        for (int64_t r = 0; r < 3; r++)
            assert_true(is_table_row(source, p->values + e0->offset + r * 32));
        for (size_t i = 0; i < o->n; i++)
            if (i < 96 || !init) assert_true(p->values[o->offset + i] == 0);
        for (int64_t r = 3; init && r < 9; r++)
            assert_true(is_table_row(source, p->values + o->offset + r * 32));
        px_params_free(p);
    }
    px_source_close(source);
}

static void hash_sees_every_value(void **state) {
    (void)state;
    px_source *source = source_open();
    const px_config config = config_of(PX_USER_BANK, 0, 0, 0x7F);
    px_params *p = params_of(&config, source, 2), *q = params_of(&config, source, 2);
    px_digest a, b;
    px_assert_ok(px_params_sha256(p, &a));
    px_assert_ok(px_params_sha256(q, &b));
    assert_string_equal(a.hex, b.hex);
    for (size_t i = 0; i < q->n; i += q->n - 1) {
        q->values[i] = -q->values[i] - 1;
        px_assert_ok(px_params_sha256(q, &b));
        assert_string_not_equal(a.hex, b.hex);
        q->values[i] = p->values[i];
    }
    px_params_free(p);
    px_params_free(q);
    px_source_close(source);
}

/* dL/dparam of L = de · e_u by central differences, for each user model. */
static void user_gradient_is_exact(void **state) {
    (void)state;
    enum { SIZE = 3 * 32 };
    px_source *source = source_open();
    for (int kind = 0; kind < 3; kind++)
        for (int32_t u = 0; u < 3; u++) {
            const px_config config =
                config_of(kind < 2 ? PX_USER_BANK : PX_USER_INDIVIDUAL,
                          kind == 1 ? PX_MIX_LINEAR : PX_MIX_SOFTMAX, PX_INIT_REFERENCE, 0);
            px_params *p = params_of(&config, source, 3);
            float e[SIZE], de[SIZE], *grads = calloc(p->n, sizeof *grads);
            for (int i = 0; i < SIZE; i++) de[i] = 0.1f * (float)((i * 7) % 13 - 6);
            px_user_embed_backward(p, u, de, grads);
            for (size_t i = 0; i < p->n; i++) {
                const float kept = p->values[i], step = 0.01f;
                double loss[2] = {0, 0};
                for (int side = 0; side < 2; side++) {
                    p->values[i] = side ? kept - step : kept + step;
                    px_user_embed(p, u, e);
                    for (int k = 0; k < SIZE; k++) loss[side] += (double)e[k] * de[k];
                }
                p->values[i] = kept;
                px_assert_near(grads[i], (loss[0] - loss[1]) / (2 * step), 1e-3);
            }
            px_user_embed_backward(p, u, de, grads); /* is added */
            px_user_embed(p, u, e);
            free(grads);
            px_params_free(p);
        }
    px_source_close(source);
}

/* The spread of both user models against its definition. */
static void spread_is_as_defined(void **state) {
    (void)state;
    enum { SIZE = 3 * 32, USERS = 7 };
    px_source *source = source_open();
    for (int kind = 0; kind < 3; kind++) {
        const px_config config =
            config_of(kind < 2 ? PX_USER_BANK : PX_USER_INDIVIDUAL,
                      kind == 1 ? PX_MIX_LINEAR : PX_MIX_SOFTMAX, PX_INIT_REFERENCE, 0);
        px_params *p = params_of(&config, source, USERS);
        static float e[USERS][SIZE];
        double mean[SIZE] = {0}, apart = 0, norm = 0;
        for (int32_t u = 1; u < USERS; u++) {
            px_user_embed(p, u, e[u]);
            for (int i = 0; i < SIZE; i++) mean[i] += e[u][i] / (USERS - 1.0);
        }
        for (int i = 0; i < SIZE; i++) {
            norm += mean[i] * mean[i];
            for (int32_t u = 1; u < USERS; u++) apart += pow(e[u][i] - mean[i], 2) / (USERS - 1.0);
        }
        px_assert_near(px_user_spread(p), sqrt(apart / norm), 1e-6);
        px_params_free(p);
    }
    const px_config config = config_of(PX_USER_BANK, 0, PX_INIT_REFERENCE, 0);
    px_params *alone = params_of(&config, source, 1);
    assert_true(px_user_spread(alone) == 0);
    px_params_free(alone);
    px_source_close(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_fixed_and_without_gaps),
        cmocka_unit_test(adapters_start_as_peft_starts_them),
        cmocka_unit_test(users_start_as_configured),
        cmocka_unit_test(hash_sees_every_value),
        cmocka_unit_test(user_gradient_is_exact),
        cmocka_unit_test(spread_is_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
