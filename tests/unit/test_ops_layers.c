/* test_ops_layers.c - norm, position, gate, embeddings, rows, optimiser: every backend against the
 * reference, and the reference's backward against differences of its forward. */
#include "ops_case.h"

#include "cpu/vec.h"

/* One bf16 rounding is 2^-9 of the value; two in a row where the result is added to a bf16. */
#define TOL(type) ((type) == PX_F32 ? 2e-6 : 8e-3)

static const int64_t widths[] = {1, 16, 33, 130, 576};
static const int64_t lengths[] = {0, 1, 7, 65};

/* Runs body for every length, width and type. */
#define EACH_SHAPE(T, d, type)                                                                     \
    for (size_t i_ = 0; i_ < PX_COUNT(lengths); i_++)                                              \
        for (size_t j_ = 0; j_ < PX_COUNT(widths); j_++)                                           \
            for (int type = PX_F32; type <= PX_BF16; type++)                                       \
                for (int64_t T = lengths[i_], d = widths[j_], once_ = 1; once_; once_ = 0)

/* --- norm --- */

static void run_norm(px_stream *s, ops_case *c) {
    const px_mat none = {0};
    ops_slot *a = c->slots;
    px_op_rms_norm(s, a[0].m, none, a[1].m.data, a[2].m, none, a[3].m.data, 1e-5f);
}
static void run_norm_add(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_rms_norm(s, a[0].m, a[4].m, a[1].m.data, a[2].m, a[5].m, a[3].m.data, 1e-5f);
}
/* sum aliases x. */
static void run_norm_alias(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_rms_norm(s, a[0].m, a[2].m, a[1].m.data, a[2].m, a[4].m, a[3].m.data, 1e-5f);
}
static void norm_case(ops_case *c, int64_t T, int64_t d, px_type type, int x_flags) {
    *c = (ops_case){.T = T, .row_alone = true};
    ops_add(c, T, d, 3, type, OPS_ROW, 1);
    ops_add(c, T, 1, 0, PX_F32, OPS_ROW, 1);
    ops_add(c, T, d, 0, type, x_flags, 2);
    ops_add(c, 1, d, 0, PX_F32, OPS_IN, 1);
}
static void rms_norm_matches_reference(void **state) {
    (void)state;
    EACH_SHAPE(T, d, type) {
        ops_case c;
        norm_case(&c, T, d, (px_type)type, OPS_IN | OPS_ROW);
        ops_check("rms_norm", &c, run_norm, TOL(type));
        norm_case(&c, T, d, (px_type)type, OPS_IN | OPS_ROW);
        ops_add(&c, T, d, 5, (px_type)type, OPS_ROW, 1);
        ops_add(&c, T, d, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
        ops_check("rms_norm, sum", &c, run_norm_add, TOL(type));
        norm_case(&c, T, d, (px_type)type, OPS_ROW);
        ops_add(&c, T, d, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
        ops_check("rms_norm, sum over x", &c, run_norm_alias, TOL(type));
    }
}

/* 0 dx, 1 dres, 2 dw, 3 dy, 4 x, 5 rms, 6 w */
static void run_norm_back(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_rms_norm_backward(s, a[0].m, a[1].m, a[2].m.data, a[3].m, a[4].m, a[5].m.data,
                            a[6].m.data);
}
static void run_norm_back_alias(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_rms_norm_backward(s, a[0].m, a[0].m, NULL, a[3].m, a[4].m, a[5].m.data, a[6].m.data);
}
static void run_norm_back_bare(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_rms_norm_backward(s, a[0].m, (px_mat){0}, NULL, a[3].m, a[4].m, a[5].m.data, a[6].m.data);
}
static void norm_back_case(ops_case *c, int64_t T, int64_t d, px_type type) {
    *c = (ops_case){.T = T, .row_alone = true};
    ops_add(c, T, d, 0, type, OPS_ROW, 1);
    ops_add(c, T, d, 2, type, OPS_IN | OPS_ROW, 1);
    ops_add(c, 1, d, 0, PX_F32, 0, 1);
    ops_add(c, T, d, 1, type, OPS_IN | OPS_ROW, 1);
    ops_add(c, T, d, 0, type, OPS_IN | OPS_ROW, 1);
    const px_mat rms = *ops_add(c, T, 1, 0, PX_F32, OPS_IN | OPS_ROW, 1);
    for (int64_t t = 0; t < T; t++) ops_put(rms, t, 0, 0.8 + 0.5 * fabs(ops_get(rms, t, 0)));
    ops_add(c, 1, d, 0, PX_F32, OPS_IN, 1);
}
static void rms_norm_backward_matches_reference(void **state) {
    (void)state;
    EACH_SHAPE(T, d, type) {
        ops_case c;
        norm_back_case(&c, T, d, (px_type)type);
        ops_check("rms_norm_backward", &c, run_norm_back, 2 * TOL(type));
        norm_back_case(&c, T, d, (px_type)type);
        ops_check("rms_norm_backward, dx over dres", &c, run_norm_back_alias, 2 * TOL(type));
        norm_back_case(&c, T, d, (px_type)type);
        ops_check("rms_norm_backward, alone", &c, run_norm_back_bare, 2 * TOL(type));
    }
}
static void rms_norm_backward_is_the_gradient(void **state) {
    (void)state;
    ops_case c, back;
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    norm_case(&c, 3, 9, PX_F32, OPS_IN | OPS_ROW);
    run_norm(s, &c);
    norm_back_case(&back, 3, 9, PX_F32);
    ops_slot *a = back.slots;
    for (int64_t j = 0; j < 9; j++) ops_put(a[2].m, 0, j, 0);
    px_op_rms_norm_backward(s, a[0].m, (px_mat){0}, a[2].m.data, a[3].m, c.slots[2].m,
                            c.slots[1].m.data, c.slots[3].m.data);
    ops_check_gradient("rms_norm, x", &c, run_norm, 2, 0, a[3].m, a[0].m, 2e-3);
    ops_check_gradient("rms_norm, w", &c, run_norm, 3, 0, a[3].m, a[2].m, 2e-3);
    ops_free(&c);
    ops_free(&back);
    px_stream_close(s);
}

/* --- position --- */

static void run_rope(px_stream *s, ops_case *c) {
    const int64_t hd = *(const int64_t *)c->more;
    px_op_rope(s, c->slots[0].m, c->ids, c->slots[1].m.data, hd, 1);
}
static void run_rope_back(px_stream *s, ops_case *c) {
    const int64_t hd = *(const int64_t *)c->more;
    px_op_rope(s, c->slots[0].m, c->ids, c->slots[1].m.data, hd, -1);
}
static void run_rope_there_and_back(px_stream *s, ops_case *c) {
    run_rope(s, c);
    run_rope_back(s, c);
}
static void rope_matches_reference(void **state) {
    (void)state;
    static const int32_t positions[] = {3, 0, 0, 5, 1, 2, 4};
    static const int64_t sizes[] = {2, 6, 16, 34, 64, 128, 256};
    for (size_t i = 0; i < PX_COUNT(sizes); i++)
        for (int64_t T = 0; T <= 7; T += 7)
            for (int type = PX_F32; type <= PX_BF16; type++)
                for (int way = 0; way < 2; way++) {
                    ops_case c = {.T = T, .row_alone = true, .ids = positions, .more = &sizes[i]};
                    ops_add(&c, T, 3 * sizes[i], 4, (px_type)type, OPS_ROW, 1);
                    ops_add(&c, 6, sizes[i], 0, PX_F32, OPS_IN, 0.7);
                    ops_check("rope", &c, way ? run_rope_back : run_rope, TOL(type));
                }
}
static void rope_backward_undoes_forward(void **state) {
    (void)state;
    static const int32_t positions[] = {3, 0, 2};
    const int64_t hd = 8;
    ops_case c = {.T = 3, .ids = positions, .more = &hd};
    const px_mat x = *ops_add(&c, 3, 16, 0, PX_F32, OPS_ROW, 1);
    const px_mat table = *ops_add(&c, 4, 8, 0, PX_F32, OPS_IN, 1);
    for (int64_t p = 0; p < 4; p++)
        for (int64_t i = 0; i < 4; i++) {
            ops_put(table, p, 2 * i, cos((double)p / (1 << i)));
            ops_put(table, p, 2 * i + 1, sin((double)p / (1 << i)));
        }
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    double before[3][16];
    for (int i = 0; i < 48; i++) before[i / 16][i % 16] = ops_get(x, i / 16, i % 16);
    run_rope(s, &c);
    px_assert_near(ops_get(x, 0, 0), before[0][0] * cos(3) - before[0][4] * sin(3), 1e-6);
    px_assert_near(ops_get(x, 0, 4), before[0][4] * cos(3) + before[0][0] * sin(3), 1e-6);
    run_rope_back(s, &c);
    for (int i = 0; i < 48; i++)
        px_assert_near(ops_get(x, i / 16, i % 16), before[i / 16][i % 16], 1e-6);
    px_stream_close(s);
    ops_check("rope there and back", &c, run_rope_there_and_back, 2e-6);
}

/* --- gate --- */

static void run_swiglu(px_stream *s, ops_case *c) {
    px_op_swiglu(s, c->slots[0].m, c->slots[1].m, c->slots[2].m);
}
/* 0 dgate, 1 dup, 2 dy, 3 gate, 4 up */
static void run_swiglu_back(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_swiglu_backward(s, a[0].m, a[1].m, a[2].m, a[3].m, a[4].m);
}
static void run_swiglu_back_alias(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_swiglu_backward(s, a[0].m, a[1].m, a[2].m, a[0].m, a[1].m);
}
static void swiglu_matches_reference(void **state) {
    (void)state;
    EACH_SHAPE(T, d, type) {
        ops_case c = {.T = T, .row_alone = true};
        ops_add(&c, T, d, 2, (px_type)type, OPS_ROW, 1);
        ops_add(&c, T, d, d, (px_type)type, OPS_IN | OPS_ROW, 5);
        ops_add(&c, T, d, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
        ops_check("swiglu", &c, run_swiglu, TOL(type));
        for (int alias = 0; alias < 2; alias++) {
            c = (ops_case){.T = T, .row_alone = true};
            ops_add(&c, T, d, 2, (px_type)type, OPS_ROW, 3);
            ops_add(&c, T, d, 0, (px_type)type, OPS_ROW, 1);
            ops_add(&c, T, d, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
            ops_add(&c, T, d, d, (px_type)type, OPS_IN | OPS_ROW, 3);
            ops_add(&c, T, d, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
            ops_check("swiglu_backward", &c, alias ? run_swiglu_back_alias : run_swiglu_back,
                      TOL(type));
        }
    }
}
static void swiglu_stands_large_gates(void **state) {
    (void)state;
    static const float gates[] = {-1000, -104, -90, -88, -60, 0, 60, 88, 90, 104, 1000};
    for (int type = PX_F32; type <= PX_BF16; type++) {
        const int64_t n = (int64_t)PX_COUNT(gates);
        ops_case c = {.T = n};
        ops_add(&c, n, 1, 0, (px_type)type, OPS_ROW, 1);
        const px_mat gate = *ops_add(&c, n, 1, 0, (px_type)type, OPS_IN | OPS_ROW, 1);
        ops_add(&c, n, 1, 0, (px_type)type, OPS_IN | OPS_ROW, 1);
        for (int64_t i = 0; i < n; i++) ops_put(gate, i, 0, gates[i]);
        ops_check("swiglu, large", &c, run_swiglu, TOL(type));
    }
}
static void swiglu_backward_is_the_gradient(void **state) {
    (void)state;
    ops_case c = {.T = 3};
    for (int i = 0; i < 3; i++) ops_add(&c, 3, 5, 0, PX_F32, OPS_ROW, 1);
    ops_case back = {.T = 3};
    for (int i = 0; i < 3; i++) ops_add(&back, 3, 5, 0, PX_F32, OPS_ROW, 1);
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    ops_slot *a = back.slots;
    px_op_swiglu_backward(s, a[0].m, a[1].m, a[2].m, c.slots[1].m, c.slots[2].m);
    ops_check_gradient("swiglu, gate", &c, run_swiglu, 1, 0, a[2].m, a[0].m, 1e-3);
    ops_check_gradient("swiglu, up", &c, run_swiglu, 2, 0, a[2].m, a[1].m, 1e-3);
    ops_free(&c);
    ops_free(&back);
    px_stream_close(s);
}

/* As vec.h promises: 2 ulp where the result is normal, the ends as they should be. */
static void exponential_is_within_two_ulp(void **state) {
    (void)state;
    enum { STEPS = 400000 };
    float x[16], y[16], inverse[16];
    for (int i = 0; i < STEPS; i += 16) {
        for (int j = 0; j < 16; j++) x[j] = -87.3f + (float)(i + j) * (176.0f / STEPS);
        v16_store(y, v16_exp(v16_load(x)));
        v16_store(inverse, v16_inverse(v16_add(v16_set(1), v16_load(y))));
        for (int j = 0; j < 16; j++) {
            const double want = exp((double)x[j]), ulp = ldexp(1, ilogb(want) - 23);
            if (!(fabs(y[j] - want) <= 2 * ulp))
                fail_msg("exp(%.9g): got %.9g, want %.9g", (double)x[j], (double)y[j], want);
            if (x[j] < 87) px_assert_near(inverse[j] * (1 + (double)y[j]), 1, 2e-7);
        }
    }
    const float ends[16] = {-INFINITY, -1000, -150, 0, 89, 1000, INFINITY, NAN};
    v16_store(y, v16_exp(v16_load(ends)));
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 0 && y[3] == 1);
    assert_true(isinf(y[4]) && isinf(y[5]) && isinf(y[6]) && isnan(y[7]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm_matches_reference),
        cmocka_unit_test(rms_norm_backward_matches_reference),
        cmocka_unit_test(rms_norm_backward_is_the_gradient),
        cmocka_unit_test(rope_matches_reference),
        cmocka_unit_test(rope_backward_undoes_forward),
        cmocka_unit_test(swiglu_matches_reference),
        cmocka_unit_test(swiglu_stands_large_gates),
        cmocka_unit_test(swiglu_backward_is_the_gradient),
        cmocka_unit_test(exponential_is_within_two_ulp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
