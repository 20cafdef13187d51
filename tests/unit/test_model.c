/* test_model.c - forward and backward against PyTorch (tests/golden/model.py), tree against single
 * sequences, full fine-tuning, dropout, and slots that must be refused. */
#include "model_case.h"

typedef struct {
    px_stream *stream;
    px_config config;
    px_source *source;
    px_model *model;
    px_params *params;
    px_case golden;
} setup;

static px_config config_of(char which, int precision, bool full) {
    px_config c = {.precision = precision, .full_finetune = full, .seed = 7};
    if (full) return c;
    c.lora_r = 4;
    c.lora_alpha = 6;
    c.user_tokens = 2;
    c.user_bank = 3;
    c.user_model = which == 'a' ? PX_USER_BANK : PX_USER_INDIVIDUAL;
    c.lora_targets = which == 'a' ? 1u << PX_Q | 1u << PX_V | 1u << PX_UP | 1u << PX_DOWN : 0x7F;
    return c;
}

static setup set_up_threads(const char *backend, char which, int precision, bool full,
                            int threads) {
    const char name[2] = {which, 0};
    char path[512];
    setup s = {.config = config_of(which, precision, full), .golden = px_case_open(name)};
    snprintf(path, sizeof path, "%s/tests/golden/model_%c", PX_SOURCE_DIR, which);
    px_assert_ok(px_stream_open(backend, threads, &s.stream));
    px_assert_ok(px_source_open(path, &s.source));
    px_assert_ok(
        px_model_new(s.stream, s.source, &s.config, PX_MODEL_TRAIN | PX_MODEL_LORA, &s.model));
    px_assert_ok(px_params_new(&s.config, px_source_shape(s.source), CASE_USERS, &s.params));
    px_assert_ok(px_params_init(s.params, &s.config, s.source));
    for (int i = 0; !full && i < s.params->n_params; i++) {
        const px_param *p = &s.params->params[i];
        char key[128];
        size_t n = 0;
        snprintf(key, sizeof key, "param.%s", p->name);
        const float *want = px_case_floats(&s.golden, key, &n);
        assert_int_equal(n, p->n);
        memcpy(s.params->values + p->offset, want, n * sizeof *want);
    }
    return s;
}

static setup set_up(const char *backend, char which, int precision, bool full) {
    return set_up_threads(backend, which, precision, full, 2);
}

static void tear_down(setup *s) {
    px_params_free(s->params);
    px_model_free(s->model);
    px_source_close(s->source);
    px_stream_close(s->stream);
    px_case_close(&s->golden);
}

/* f32: |got - want| <= tol (largest |want| of the tensor). bf16, where single elements of a small
 * network carry many roundings: the tensor's distance over its norm, tol at most. */
static void assert_all_near(const char *what, const float *got, const float *want, size_t n,
                            double tol, bool each) {
    double top = 0, apart = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)got[i] - want[i];
        top = fmax(top, fabs((double)want[i]));
        apart += difference * difference;
        norm += (double)want[i] * want[i];
    }
    for (size_t i = 0; each && i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tol * (top + 1e-4)))
            fail_msg("%s[%zu]: got %.9g, want %.9g (largest %.3g)", what, i, (double)got[i],
                     (double)want[i], top);
    if (!(sqrt(apart) <= tol * (sqrt(norm) + 1e-4)))
        fail_msg("%s: %.3g of its norm away", what, sqrt(apart / norm));
}

typedef struct {
    double logp[CASE_ROWS];
    float *grads;
} result;

/* Forward and backward of the case; logp in the golden order. */
static result compute(setup *s, bool with_params, bool tree, px_forward how) {
    const px_params *params = with_params && !s->config.full_finetune ? s->params : NULL;
    px_built *b = built_new(&s->golden, params, tree);
    const px_slot *slot = &b->slot;
    px_pass *pass = NULL;
    size_t n = 0;
    double logp[CASE_ROWS];
    float g[CASE_ROWS], *dsoft = calloc(CASE_ROWS * 64, sizeof *dsoft);
    const float *g_case = px_case_floats(&s->golden, "g", &n);
    result out = {.grads = px_take(s->golden.arena, float, s->params->n + 1)};
    assert_int_equal(n, slot->targets.n);
    /* roomier than needed: strides are of the pass, not of the slot */
    px_assert_ok(px_pass_new(s->model, slot->n + 3, slot->n_rows + 1, (int32_t)n + 2, true, &pass));
    px_assert_ok(px_model_forward(s->model, pass, slot, how, logp));
    for (size_t i = 0; i < n; i++) {
        out.logp[b->target_of[i]] = logp[i];
        g[i] = g_case[b->target_of[i]];
    }
    px_assert_ok(px_model_backward(s->model, pass, slot, how, g, out.grads, params ? dsoft : NULL));
    for (int u = 0; params && u < CASE_USERS; u++)
        px_user_embed_backward(params, u, dsoft + u * params->n_tokens * params->d, out.grads);
    px_pass_free(pass);
    free(dsoft);
    return out;
}

static void check_case(const char *backend, char which, int precision, bool full, double tol) {
    setup s = set_up(backend, which, precision, full);
    size_t n = 0;
    for (int tree = 0; tree < 2; tree++) {
        const result r = compute(&s, true, tree, (px_forward){.params = s.params});
        const float *want = px_case_floats(&s.golden, full ? "base.logp" : "logp", &n);
        for (size_t i = 0; i < n; i++) px_assert_near(r.logp[i], want[i], tol);
        for (int i = 0; i < s.params->n_params; i++) {
            const px_param *p = &s.params->params[i];
            char key[160];
            snprintf(key, sizeof key, "%s.%s", full ? "base.grad" : "grad", p->name);
            want = px_case_floats(&s.golden, key, &n);
            assert_all_near(key, r.grads + p->offset, want, n, tol, precision == PX_PRECISION_F32);
        }
    }
    tear_down(&s);
}

static void f32_matches_pytorch(void **state) {
    for (int which = 'a'; which <= 'b'; which++)
        check_case(*state, (char)which, PX_PRECISION_F32, false, 1e-5);
}
static void full_finetuning_matches_pytorch(void **state) {
    for (int which = 'a'; which <= 'b'; which++)
        check_case(*state, (char)which, PX_PRECISION_F32, true, 1e-5);
}
static void bf16_is_near_pytorch(void **state) {
    for (int which = 'a'; which <= 'b'; which++)
        check_case(*state, (char)which, PX_PRECISION_BF16, false, 0.15);
}

/* Without parameters the frozen base answers, adapters and soft tokens off. */
static void reference_is_the_base(void **state) {
    for (int which = 'a'; which <= 'b'; which++) {
        setup s = set_up(*state, (char)which, PX_PRECISION_F32, false);
        size_t n = 0;
        const result r = compute(&s, false, true, (px_forward){0});
        const float *want = px_case_floats(&s.golden, "base.logp", &n);
        for (size_t i = 0; i < n; i++) px_assert_near(r.logp[i], want[i], 1e-5);
        for (size_t i = 0; i < s.params->n; i++) assert_true(r.grads[i] == 0);
        tear_down(&s);
    }
}

/* A pass without backward shares one set of buffers among layers and gives the same bits. */
static void forward_alone_gives_the_same_bits(void **state) {
    setup s = set_up(*state, 'b', PX_PRECISION_BF16, false);
    px_built *b = built_new(&s.golden, s.params, true);
    const px_forward how = {.params = s.params};
    px_pass *pass = NULL;
    double logp[CASE_ROWS];
    const result with = compute(&s, true, true, how);
    px_assert_ok(px_pass_new(s.model, b->slot.n, b->slot.n_rows, b->n_targets, false, &pass));
    px_assert_ok(px_model_forward(s.model, pass, &b->slot, how, logp));
    for (int i = 0; i < b->n_targets; i++) assert_true(logp[i] == with.logp[b->target_of[i]]);
    px_pass_free(pass);
    tear_down(&s);
}

/* One, two or three threads: every log-probability and every gradient to the last bit. */
static void threads_give_the_same_bits(void **state) {
    for (int full = 0; full < 2; full++)
        for (int precision = 0; precision < 2; precision++) {
            setup one = set_up_threads(*state, 'b', precision, full, 1);
            const result a = compute(&one, true, true, (px_forward){.params = one.params});
            for (int threads = 2; threads <= 3; threads++) {
                setup more = set_up_threads(*state, 'b', precision, full, threads);
                const result b = compute(&more, true, true, (px_forward){.params = more.params});
                for (int i = 0; i < 48; i++) assert_true(a.logp[i] == b.logp[i]);
                for (size_t i = 0; i < one.params->n; i++) assert_true(a.grads[i] == b.grads[i]);
                tear_down(&more);
            }
            tear_down(&one);
        }
}

/* With dropout the gradient is that of the masked network: finite differences along the gradient.
 */
static void dropout_gradient_is_exact(void **state) {
    setup s = set_up(*state, 'b', PX_PRECISION_F32, false);
    px_model_free(s.model);
    s.config.lora_dropout = 0.3;
    px_assert_ok(px_model_new(s.stream, s.source, &s.config, PX_MODEL_TRAIN, &s.model));
    const px_forward how = {.params = s.params, .train = true, .drop_seed = 99};
    const result r = compute(&s, true, true, how);
    const result plain = compute(&s, true, true, (px_forward){.params = s.params});
    const result again = compute(&s, true, true, how);
    size_t n = 0;
    const float *g = px_case_floats(&s.golden, "g", &n);
    double square = 0, apart = 0, loss[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        apart += fabs(r.logp[i] - plain.logp[i]);
        assert_true(again.logp[i] == r.logp[i]);
    }
    assert_true(apart > 1e-3);
    for (size_t i = 0; i < s.params->n; i++) square += (double)r.grads[i] * r.grads[i];
    const double step = 1e-3 / sqrt(square);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < s.params->n; i++)
            s.params->values[i] += (float)((side ? -2 : 1) * step * r.grads[i]);
        const result moved = compute(&s, true, true, how);
        for (size_t i = 0; i < n; i++) loss[side] += moved.logp[i] * g[i];
    }
    px_assert_near((loss[0] - loss[1]) / (2 * step) / square, 1, 5e-3);
    tear_down(&s);
}

/* Layers that are computed again in the backward give the same bits, in less memory. */
static void recomputed_layers_give_the_same_bits(void **state) {
    for (int kind = 0; kind < 3;
         kind++) { /* bf16 and f32 adapters with dropout, full fine-tuning */
        setup s = set_up(*state, 'b', kind ? PX_PRECISION_F32 : PX_PRECISION_BF16, kind == 2);
        const px_forward how = {
            .params = s.params, .train = kind < 2, .drop_seed = kind < 2 ? 99 : 0};
        result r[2];
        int64_t bytes[2] = {0};
        for (int again = 0; again < 2; again++) {
            px_pass *pass = NULL;
            px_model_free(s.model);
            s.config.lora_dropout = kind < 2 ? 0.3 : 0;
            s.config.train_recompute = again;
            px_assert_ok(px_model_new(s.stream, s.source, &s.config, PX_MODEL_TRAIN, &s.model));
            r[again] = compute(&s, true, true, how);
            px_assert_ok(px_pass_new(s.model, 64, 64, 64, true, &pass));
            bytes[again] = px_pass_bytes(pass);
            px_pass_free(pass);
        }
        assert_true(bytes[1] < bytes[0]);
        for (size_t i = 0; i < s.params->n; i++)
            if (r[0].grads[i] != r[1].grads[i])
                fail_msg("kind %d, gradient %zu: %g, %g", kind, i, (double)r[0].grads[i],
                         (double)r[1].grads[i]);
        tear_down(&s);
    }
}

/* After an update the packed weights are the parameters'. */
static void update_packs_the_parameters(void **state) {
    for (int which = 'a'; which <= 'b'; which++) {
        setup s = set_up(*state, (char)which, PX_PRECISION_F32, true), fresh;
        const px_forward how = {.params = s.params};
        const result before = compute(&s, true, true, how);
        for (size_t i = 0; i < s.params->n; i++) s.params->values[i] *= 1.0625f;
        px_assert_ok(px_model_update(s.model, s.params));
        const result after = compute(&s, true, true, how);
        assert_true(fabs(after.logp[0] - before.logp[0]) > 1e-4);
        for (size_t i = 0; i < s.params->n; i++) s.params->values[i] /= 1.0625f;
        px_assert_ok(px_model_update(s.model, s.params));
        fresh = s;
        const result back = compute(&fresh, true, true, how);
        for (int i = 0; i < 40; i++) assert_true(back.logp[i] == before.logp[i]);
        tear_down(&s);
    }
}

/* The same bits from values that lie where the backend computes. */
static void update_takes_them_where_they_lie(void **state) {
    for (int precision = PX_PRECISION_F32; precision <= PX_PRECISION_BF16; precision++) {
        setup s = set_up(*state, 'a', precision, true);
        const px_forward how = {.params = s.params};
        const size_t bytes = s.params->n * sizeof *s.params->values;
        void *there = NULL;
        const result before = compute(&s, true, true, how);
        for (size_t i = 0; i < s.params->n; i++) s.params->values[i] *= 1.3f;
        px_assert_ok(px_memory_new(s.stream, bytes, &there));
        px_memory_copy(s.stream, there, s.params->values, bytes);
        px_assert_ok(px_model_update(s.model, s.params));
        const result want = compute(&s, true, true, how);
        assert_true(want.logp[0] != before.logp[0]);
        for (size_t i = 0; i < s.params->n; i++) s.params->values[i] /= 1.3f;
        px_assert_ok(px_model_update(s.model, s.params));
        s.params->there = there;
        px_assert_ok(px_model_update(s.model, s.params));
        const result got = compute(&s, true, true, how);
        for (int i = 0; i < 40; i++) assert_true(got.logp[i] == want.logp[i]);
        s.params->there = NULL;
        px_memory_free(s.stream, there);
        tear_down(&s);
    }
}

static void wrong_slots_are_refused(void **state) {
    setup s = set_up(*state, 'a', PX_PRECISION_F32, false);
    px_built *b = built_new(&s.golden, s.params, true);
    px_pass *pass = NULL, *small = NULL;
    double logp[CASE_ROWS];
    const px_forward how = {.params = s.params};
    const px_slot empty = {0};
    px_assert_ok(px_pass_new(s.model, b->slot.n, b->slot.n_rows, b->n_targets, false, &pass));
    px_assert_ok(px_pass_new(s.model, b->slot.n - 1, b->slot.n_rows, b->n_targets, false, &small));
    px_assert_error(px_model_forward(s.model, small, &b->slot, how, logp), PX_RUN_FAILED,
                    "room is for");
    px_assert_ok(px_model_forward(s.model, pass, &empty, how, logp));
    const int32_t id = b->ids[0];
    b->ids[0] = 64;
    px_assert_error(px_model_forward(s.model, pass, &b->slot, how, logp), PX_BAD_INPUT,
                    "vocabulary has 64");
    b->ids[0] = -100;
    px_assert_error(px_model_forward(s.model, pass, &b->slot, how, logp), PX_RUN_FAILED,
                    "soft token 99");
    b->ids[0] = id;
    b->target_id[3] = 64;
    px_assert_error(px_model_forward(s.model, pass, &b->slot, how, logp), PX_BAD_INPUT,
                    "vocabulary has 64");
    b->target_id[3] = 0;
    b->segments[1].begin++;
    px_assert_error(px_model_forward(s.model, pass, &b->slot, how, logp), PX_RUN_FAILED,
                    "segment 1");
    b->segments[1].begin--;
    px_assert_ok(px_model_forward(s.model, pass, &b->slot, how, logp));
    px_assert_error(px_model_backward(s.model, pass, &b->slot, how, NULL, NULL, NULL),
                    PX_RUN_FAILED, "forward pass alone");
    px_pass_free(small);
    px_pass_free(pass);
    tear_down(&s);
}

#define ON(backend, test)                                                                          \
    { #test " on " backend, test, NULL, NULL, (void *)(uintptr_t)backend }
int main(void) {
    const struct CMUnitTest tests[] = {
/* The sanitizer build looks at every load and store of the kernels: there the operations' tests do.
 */
#if defined(PX_HAVE_SIMT) && !defined(__SANITIZE_ADDRESS__)
#define EACH(test) ON("ref", test), ON("cpu", test), ON("simt", test)
#else
#define EACH(test) ON("ref", test), ON("cpu", test)
#endif
        EACH(f32_matches_pytorch),
        EACH(full_finetuning_matches_pytorch),
        EACH(bf16_is_near_pytorch),
        EACH(reference_is_the_base),
        EACH(forward_alone_gives_the_same_bits),
        EACH(threads_give_the_same_bits),
        EACH(dropout_gradient_is_exact),
        EACH(recomputed_layers_give_the_same_bits),
        EACH(update_packs_the_parameters),
        EACH(update_takes_them_where_they_lie),
        EACH(wrong_slots_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
