/* test_head.c - the loss head against the float64 reference, every element, both types; the same
 * bits for a row in any company and with any number of threads; the reference against finite
 * differences. */
#include "px_test.h"

#include "ops.h"

static const float GUARD = 12345.0f;

static uint64_t state_rng;
static uint32_t draw(uint32_t below) {
    state_rng = state_rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_rng >> 33) % below;
}
static float draw_float(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += (float)draw(1 << 20) / (1 << 20) - 0.5f;
    return sum;
}
static px_mat mat_new(px_type type, int64_t rows, int64_t cols, int64_t pad) {
    const int64_t n = (rows + 1) * (cols + pad);
    px_mat m = {malloc((size_t)n * 4), type, rows, cols, cols + pad};
    assert_non_null(m.data);
    for (int64_t i = 0; i < n; i++)
        if (type == PX_F32)
            ((float *)m.data)[i] = GUARD;
        else
            ((uint16_t *)m.data)[i] = 0x4641;
    return m;
}
static double value_at(px_mat m, int64_t i, int64_t j) {
    if (m.type == PX_F32) return ((const float *)m.data)[i * m.stride + j];
    const uint32_t u = (uint32_t)((const uint16_t *)m.data)[i * m.stride + j] << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static void value_put(px_mat m, int64_t i, int64_t j, float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if (m.type == PX_F32)
        ((float *)m.data)[i * m.stride + j] = x;
    else
        ((uint16_t *)m.data)[i * m.stride + j] = (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}
static void fill(px_mat m, float scale) {
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) value_put(m, i, j, scale * draw_float());
}
static void assert_guarded(px_mat m) {
    const double guard = value_at(m, m.rows, 0);
    assert_true(guard > 12000);
    for (int64_t i = 0; i <= m.rows; i++)
        for (int64_t j = i < m.rows ? m.cols : 0; j < m.stride; j++)
            assert_true(value_at(m, i, j) == guard);
}
static void assert_close(const char *name, px_mat got, px_mat want, double tol) {
    for (int64_t i = 0; i < got.rows; i++)
        for (int64_t j = 0; j < got.cols; j++) {
            const double g = value_at(got, i, j), w = value_at(want, i, j);
            if (!(fabs(g - w) <= tol * (1 + fabs(w))))
                fail_msg("%s (%ld, %ld): got %.9g, want %.9g, tolerance %g", name, (long)i, (long)j,
                         g, w, tol);
        }
}

/* --- a case: inputs, and outputs by one stream --- */

typedef struct {
    px_mat w, h;
    int32_t *row, *id;
    px_targets targets;
    float *g;
} inputs;
typedef struct {
    double *logp;
    px_mat lse, ew, dh, dw;
} outputs;

static inputs inputs_new(px_type type, int64_t N, int64_t d, int64_t V, int64_t n_targets,
                         float scale) {
    inputs in = {.w = mat_new(type, V, d, 0), .h = mat_new(type, N, d, 6)};
    fill(in.w, scale);
    fill(in.h, scale);
    in.row = malloc(sizeof(int32_t) * (size_t)(n_targets + 1));
    in.id = malloc(sizeof(int32_t) * (size_t)(n_targets + 1));
    in.g = malloc(sizeof(float) * (size_t)(n_targets + 1));
    assert_true(in.row && in.id && in.g);
    for (int64_t m = 0; m < n_targets; m++) {
        /* several targets on a row, rows without any, the same id twice */
        in.row[m] = (int32_t)(m * N / n_targets / 2 * 2);
        in.id[m] = (int32_t)(m == 0 ? V - 1 : m == 1 ? 0 : (int64_t)draw((uint32_t)V));
        in.g[m] = draw_float();
    }
    in.targets = (px_targets){in.row, in.id, n_targets};
    return in;
}
static void inputs_free(inputs *in) {
    free(in->w.data), free(in->h.data), free(in->row), free(in->id), free(in->g);
}
static outputs outputs_new(const inputs *in) {
    outputs out = {.logp = malloc(sizeof(double) * (size_t)(in->targets.n + 1)),
                   .lse = mat_new(PX_F32, in->h.rows, 1, 0),
                   .ew = mat_new(PX_F32, in->h.rows, in->h.cols, 3),
                   .dh = mat_new(in->h.type, in->h.rows, in->h.cols, 5),
                   .dw = mat_new(PX_F32, in->w.rows, in->w.cols, 0)};
    for (int64_t m = 0; m <= in->targets.n; m++) out.logp[m] = (double)GUARD;
    for (int64_t i = 0; i < out.dw.rows; i++) /* added to */
        for (int64_t j = 0; j < out.dw.cols; j++) value_put(out.dw, i, j, (float)(i + j) / 64);
    return out;
}
static void outputs_free(outputs *out) {
    free(out->logp), free(out->lse.data), free(out->ew.data), free(out->dh.data);
    free(out->dw.data);
}
static void run(const char *backend, int threads, const inputs *in, outputs *out) {
    px_stream *s = NULL;
    px_weight *w = NULL;
    px_assert_ok(px_stream_open(backend, threads, &s));
    px_assert_ok(px_weight_new(s, in->w, in->h.type, PX_PACK_ROWS, &w));
    px_op_head(s, out->logp, out->lse.data, out->ew, in->h, w, in->targets);
    px_op_head_backward(s, out->dh, in->g, out->ew, w, in->targets);
    px_op_head_backward_weight(s, out->dw.data, in->g, out->lse.data, in->h, w, in->targets);
    px_assert_ok(px_stream_ok(s));
    px_weight_free(w);
    px_stream_close(s);
}

/* --- tests --- */

static void matches_reference(void **state) {
    (void)state;
    static const struct {
        int64_t N, d, V, targets;
        float scale;
    } cases[] = {{1, 2, 1, 1, 1},          {1, 64, 2, 3, 1},        {7, 48, 129, 9, 1},
                 {50, 80, 1000, 70, 0.5f}, {5, 7, 333, 6, 1},       {3, 130, 515, 0, 1},
                 {211, 16, 64, 300, 2},    {2, 576, 1024, 4, 0.3f}, {130, 33, 127, 90, 3}};
    for (size_t i = 0; i < 2 * PX_COUNT(cases); i++) {
        const size_t n = i / 2;
        const px_type type = i % 2 ? PX_BF16 : PX_F32;
        state_rng = n + 1;
        inputs in =
            inputs_new(type, cases[n].N, cases[n].d, cases[n].V, cases[n].targets, cases[n].scale);
        outputs got = outputs_new(&in), want = outputs_new(&in);
        run(px_test_backend(), 2, &in, &got);
        run("ref", 1, &in, &want);
        /* f32 logits and rounded weights: errors of sums whose terms grow with h and W */
        const double grow = fmax(1, (double)cases[n].scale * (double)cases[n].scale);
        const double tol = (type == PX_F32 ? 1e-5 : 1e-2) * grow;
        for (int64_t m = 0; m < in.targets.n; m++)
            px_assert_near(got.logp[m], want.logp[m], 2e-6 * grow);
        assert_true(got.logp[in.targets.n] == (double)GUARD);
        assert_close("lse", got.lse, want.lse, 1e-6);
        assert_close("ew", got.ew, want.ew, type == PX_F32 ? tol : tol / 2);
        assert_close("dh", got.dh, want.dh, tol);
        assert_close("dw", got.dw, want.dw, tol);
        const px_mat guarded[] = {got.lse, got.ew, got.dh, got.dw};
        for (size_t k = 0; k < PX_COUNT(guarded); k++) assert_guarded(guarded[k]);
        outputs_free(&got), outputs_free(&want);
        inputs_free(&in);
    }
}

static void no_rows(void **state) {
    (void)state;
    inputs in = inputs_new(PX_BF16, 0, 32, 100, 0, 1);
    outputs out = outputs_new(&in), before = outputs_new(&in);
    run(px_test_backend(), 2, &in, &out);
    assert_close("dw", out.dw, before.dw, 0);
    outputs_free(&out), outputs_free(&before);
    inputs_free(&in);
}

/* The pass without ew gives the same log-probabilities, to the bit; so do 1, 2, 3 threads, and a
 * row on its own. */
static void threads_and_company_change_no_bit(void **state) {
    (void)state;
    for (int type = PX_F32; type <= PX_BF16; type++) {
        state_rng = 9;
        inputs in = inputs_new((px_type)type, 251, 72, 700, 300, 1);
        outputs one = outputs_new(&in);
        run(px_test_backend(), 1, &in, &one);
        for (int threads = 2; threads <= 3; threads++) {
            outputs more = outputs_new(&in);
            run(px_test_backend(), threads, &in, &more);
            assert_memory_equal(one.logp, more.logp, sizeof(double) * (size_t)in.targets.n);
            const px_mat a[] = {one.lse, one.ew, one.dh, one.dw};
            const px_mat b[] = {more.lse, more.ew, more.dh, more.dw};
            for (size_t k = 0; k < PX_COUNT(a); k++)
                assert_memory_equal(a[k].data, b[k].data,
                                    (size_t)(a[k].rows * a[k].stride) * px_type_size(a[k].type));
            outputs_free(&more);
        }
        px_stream *s = NULL;
        px_weight *w = NULL;
        px_assert_ok(px_stream_open(px_test_backend(), 2, &s));
        px_assert_ok(px_weight_new(s, in.w, in.h.type, PX_PACK_ROWS, &w));
        const px_mat none = {0};
        double *logp = malloc(sizeof(double) * (size_t)in.targets.n);
        float *lse = malloc(sizeof(float) * (size_t)in.h.rows);
        px_op_head(s, logp, lse, none, in.h, w, in.targets);
        assert_memory_equal(logp, one.logp, sizeof(double) * (size_t)in.targets.n);
        for (int64_t n = 0; n < in.h.rows; n += 50) {
            px_mat row = in.h, ew = mat_new(PX_F32, 1, in.h.cols, 0);
            row.rows = 1;
            row.data = (char *)in.h.data + (size_t)(n * row.stride) * px_type_size(row.type);
            px_op_head(s, logp, lse, ew, row, w, (px_targets){0});
            assert_memory_equal(lse, (float *)one.lse.data + n, sizeof *lse);
            assert_memory_equal(ew.data, (float *)one.ew.data + n * one.ew.stride,
                                sizeof(float) * (size_t)in.h.cols);
            free(ew.data);
        }
        px_assert_ok(px_stream_ok(s));
        free(logp), free(lse);
        px_weight_free(w);
        px_stream_close(s);
        outputs_free(&one);
        inputs_free(&in);
    }
}

/* Large logits in f32: nothing overflows, and a NaN row stays the only one. */
static void extreme_logits(void **state) {
    (void)state;
    state_rng = 21;
    inputs in = inputs_new(PX_F32, 9, 32, 600, 18, 20);
    outputs got = outputs_new(&in), want = outputs_new(&in);
    run(px_test_backend(), 2, &in, &got);
    run("ref", 1, &in, &want);
    for (int64_t m = 0; m < in.targets.n; m++) px_assert_near(got.logp[m], want.logp[m], 2e-6);
    assert_close("ew", got.ew, want.ew, 1e-3);
    value_put(in.h, 4, 3, NAN);
    run(px_test_backend(), 2, &in, &got);
    for (int64_t n = 0; n < in.h.rows; n++)
        assert_true(n == 4 ? isnan(value_at(got.lse, n, 0))
                           : value_at(got.lse, n, 0) - value_at(want.lse, n, 0) < 1e-2);
    for (int64_t m = 0; m < in.targets.n; m++) assert_true(isnan(got.logp[m]) == (in.row[m] == 4));
    outputs_free(&got), outputs_free(&want);
    inputs_free(&in);
}

/* d Σ g logp: by h against dh, by W against dw, in the reference. */
static void reference_gradient_is_the_difference(void **state) {
    (void)state;
    state_rng = 33;
    inputs in = inputs_new(PX_F32, 5, 6, 11, 7, 0.7f);
    outputs out = outputs_new(&in), moved = outputs_new(&in);
    memset(out.dw.data, 0, sizeof(float) * (size_t)(in.w.rows * in.w.cols));
    run("ref", 1, &in, &out);
    const px_mat points[] = {in.h, in.w}, gradients[] = {out.dh, out.dw};
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < points[k].rows; i++)
            for (int64_t j = 0; j < points[k].cols; j++) {
                const float at = (float)value_at(points[k], i, j), step = 1.0f / 128;
                double sum[2] = {0, 0};
                for (int side = 0; side < 2; side++) {
                    value_put(points[k], i, j, side ? at + step : at - step);
                    run("ref", 1, &in, &moved);
                    for (int64_t m = 0; m < in.targets.n; m++)
                        sum[side] += (double)in.g[m] * moved.logp[m];
                }
                value_put(points[k], i, j, at);
                px_assert_near(value_at(gradients[k], i, j), (sum[1] - sum[0]) * 64, 2e-4);
            }
    outputs_free(&out), outputs_free(&moved);
    inputs_free(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(threads_and_company_change_no_bit),
        cmocka_unit_test(extreme_logits),
        cmocka_unit_test(reference_gradient_is_the_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
