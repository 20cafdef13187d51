/* test_ops_linear.c - linear layers: products, their backward, packing. */
#include "ops_case.h"

typedef struct {
    px_type type;
    int pack;
    bool add;
} linear_setting;

/* 0 y, 1 x, 2 weight as given */
static void run_linear(px_stream *s, ops_case *c) {
    const linear_setting *setting = c->more;
    px_weight *w = NULL;
    px_assert_ok(px_weight_new(s, c->slots[2].m, setting->type, setting->pack, &w));
    /* A GPU keeps codes: 9 or 6 bits a value. */
    if (setting->pack & (PX_PACK_Q8 | PX_PACK_Q4) && px_memory_is_apart(s) &&
        c->slots[2].m.cols % 32 == 0)
        assert_true(px_weight_bytes(w) < 10 * c->slots[2].m.rows * c->slots[2].m.cols / 8);
    px_op_linear(s, c->slots[0].m, c->slots[1].m, w, setting->add);
    px_weight_free(w);
}
/* 0 dx, 1 dy, 2 weight */
static void run_linear_back(px_stream *s, ops_case *c) {
    const linear_setting *setting = c->more;
    px_weight *w = NULL;
    px_assert_ok(px_weight_new(s, c->slots[2].m, setting->type, setting->pack, &w));
    px_op_linear_backward_input(s, c->slots[0].m, c->slots[1].m, w, setting->add);
    px_weight_free(w);
}

static const struct {
    int64_t T, out, in;
} shapes[] = {{0, 5, 3},    {1, 1, 1},      {1, 7, 33},      {3, 64, 64},  {17, 576, 192},
              {64, 33, 65}, {65, 600, 100}, {203, 513, 130}, {130, 40, 7}, {5, 1100, 200}};

/* x and w of spread 1 and 1/sqrt(in): results of about 1. f32: the error of a sum of `in` terms;
 * bf16 inputs are exact in the reference, so only the output's rounding (and that of y + …)
 * remains. */
static void check_linear(int pack) {
    for (size_t i = 0; i < PX_COUNT(shapes); i++)
        for (int type = pack & (PX_PACK_Q8 | PX_PACK_Q4) ? PX_BF16 : PX_F32; type <= PX_BF16;
             type++)
            for (int out = PX_F32; out <= PX_BF16; out++)
                for (int add = 0; add < 2; add++) {
                    const linear_setting setting = {(px_type)type, pack, add};
                    const double tol = out == PX_F32 ? 4e-6 : 8e-3;
                    ops_case c = {.T = shapes[i].T, .row_alone = true, .more = &setting};
                    ops_add(&c, shapes[i].T, shapes[i].out, 3, (px_type)out, OPS_ROW, 1);
                    ops_add(&c, shapes[i].T, shapes[i].in, add ? 5 : 0, (px_type)type,
                            OPS_IN | OPS_ROW, 1);
                    ops_add(&c, shapes[i].out, shapes[i].in, add ? 2 : 0, (px_type)(add ? type : 0),
                            OPS_IN, 1 / sqrt((double)shapes[i].in));
                    ops_check("linear", &c, run_linear, tol);
                }
}
static void linear_matches_reference(void **state) {
    (void)state;
    check_linear(PX_PACK_FORWARD);
}
static void linear_over_panels_matches_reference(void **state) {
    (void)state;
    check_linear(PX_PACK_PANELS);
}
static void linear_over_quantised_panels_matches_reference(void **state) {
    (void)state;
    check_linear(PX_PACK_PANELS | PX_PACK_Q8);
    check_linear(PX_PACK_PANELS | PX_PACK_Q4);
}
static void check_backward_input(int bits) {
    for (size_t i = 0; i < PX_COUNT(shapes); i++)
        for (int type = bits ? PX_BF16 : PX_F32; type <= PX_BF16; type++)
            for (int out = PX_F32; out <= PX_BF16; out++)
                for (int add = 0; add < 2; add++) {
                    const linear_setting setting = {
                        (px_type)type, PX_PACK_BACKWARD | bits | (add ? PX_PACK_ROWS : 0), add};
                    const double tol = out == PX_F32 ? 4e-6 : 8e-3;
                    ops_case c = {.T = shapes[i].T, .row_alone = true, .more = &setting};
                    ops_add(&c, shapes[i].T, shapes[i].in, 3, (px_type)out, OPS_ROW, 1);
                    ops_add(&c, shapes[i].T, shapes[i].out, add, (px_type)type, OPS_IN | OPS_ROW,
                            1);
                    ops_add(&c, shapes[i].out, shapes[i].in, 1, PX_F32, OPS_IN,
                            1 / sqrt((double)shapes[i].out));
                    ops_check("linear_backward_input", &c, run_linear_back, tol);
                }
}
static void linear_backward_input_matches_reference(void **state) {
    (void)state;
    check_backward_input(0);
}
static void quantised_weights_match_reference(void **state) {
    (void)state;
    for (int bits = PX_PACK_Q8; bits <= PX_PACK_Q4; bits *= 2) {
        check_linear(PX_PACK_FORWARD | bits);
        check_backward_input(bits);
    }
}
/* More outputs than a chunk of a head's weight: the sum over chunks stays in f32. */
static void head_weights_go_backward_in_chunks(void **state) {
    (void)state;
    for (int type = PX_F32; type <= PX_BF16; type++)
        for (int add = 0; add < 2; add++) {
            const linear_setting setting = {(px_type)type, PX_PACK_BACKWARD | PX_PACK_ROWS, add};
            ops_case c = {.T = 3, .row_alone = true, .more = &setting};
            ops_add(&c, 3, 20, 0, (px_type)type, OPS_ROW, 1);
            ops_add(&c, 3, 9001, 0, (px_type)type, OPS_IN | OPS_ROW, 1);
            ops_add(&c, 9001, 20, 0, PX_F32, OPS_IN, 1.0 / 95);
            ops_check("linear_backward_input, chunks", &c, run_linear_back,
                      type == PX_F32 ? 4e-6 : 8e-3);
        }
}

/* 0 dw, 1 dy, 2 x */
static void run_linear_weight(px_stream *s, ops_case *c) {
    px_op_linear_backward_weight(s, c->slots[0].m.data, c->slots[1].m, c->slots[2].m);
}
static void linear_backward_weight_matches_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(shapes); i++)
        for (int type = PX_F32; type <= PX_BF16; type++)
            for (int T = 0; T < 2; T++) {
                ops_case c = {.T = T ? 530 : shapes[i].T};
                const double spread = 1 / sqrt((double)c.T + 1);
                ops_add(&c, shapes[i].out, shapes[i].in, 0, PX_F32, 0, 1);
                ops_add(&c, c.T, shapes[i].out, 3, (px_type)type, OPS_IN | OPS_ROW, spread);
                ops_add(&c, c.T, shapes[i].in, 1, (px_type)type, OPS_IN | OPS_ROW, 1);
                ops_check("linear_backward_weight", &c, run_linear_weight, 4e-6);
            }
}

static void run_linear_plain(px_stream *s, ops_case *c) {
    static const linear_setting setting = {PX_F32, PX_PACK_FORWARD, false};
    c->more = &setting;
    run_linear(s, c);
}
static void backwards_are_gradients(void **state) {
    (void)state;
    static const linear_setting setting = {PX_F32, PX_PACK_BACKWARD, false};
    ops_case c = {.T = 3, .more = &setting}, back = {.T = 3, .more = &setting};
    ops_add(&c, 3, 4, 0, PX_F32, OPS_ROW, 1);
    ops_add(&c, 3, 5, 0, PX_F32, OPS_ROW, 1);
    ops_add(&c, 4, 5, 0, PX_F32, 0, 1);
    const px_mat dx = *ops_add(&back, 3, 5, 0, PX_F32, OPS_ROW, 0);
    const px_mat dy = *ops_add(&back, 3, 4, 0, PX_F32, OPS_ROW, 1);
    const px_mat dw = *ops_add(&back, 4, 5, 0, PX_F32, 0, 0);
    px_stream *s = NULL;
    px_weight *w = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    px_assert_ok(px_weight_new(s, c.slots[2].m, PX_F32, PX_PACK_BACKWARD, &w));
    px_op_linear_backward_input(s, dx, dy, w, false);
    px_op_linear_backward_weight(s, dw.data, dy, c.slots[1].m);
    ops_check_gradient("linear, x", &c, run_linear_plain, 1, 0, dy, dx, 1e-4);
    ops_check_gradient("linear, w", &c, run_linear_plain, 2, 0, dy, dw, 1e-4);
    px_weight_free(w);
    px_stream_close(s);
    ops_free(&c);
    ops_free(&back);
}

/* A weight updated is a weight made anew, and its size is told. */
static void update_packs_anew(void **state) {
    (void)state;
    for (int type = PX_F32; type <= PX_BF16; type++) {
        ops_case c = {.T = 2};
        const px_mat y = *ops_add(&c, 2, 70, 0, PX_F32, 0, 1);
        const px_mat want = *ops_add(&c, 2, 70, 0, PX_F32, 0, 1);
        const px_mat x = *ops_add(&c, 2, 33, 0, (px_type)type, OPS_IN, 1);
        const px_mat first = *ops_add(&c, 70, 33, 0, PX_F32, OPS_IN, 1);
        const px_mat second = *ops_add(&c, 70, 33, 0, PX_F32, OPS_IN, 1);
        px_stream *s = NULL;
        px_weight *w = NULL, *anew = NULL;
        px_assert_ok(px_stream_open(px_test_backend(), 2, &s));
        px_assert_ok(px_weight_new(s, first, (px_type)type, 7, &w));
        px_assert_ok(px_weight_new(s, second, (px_type)type, 7, &anew));
        const int copies = strcmp(px_test_backend(), "cpu") == 0 ? 3 : 1; /* of one weight */
        assert_true(px_weight_bytes(w) >= copies * 70 * 33 * (int64_t)px_type_size((px_type)type));
        px_assert_ok(px_weight_update(s, w, second));
        px_op_linear(s, y, x, w, false);
        px_op_linear(s, want, x, anew, false);
        assert_memory_equal(y.data, want.data, 2 * 70 * sizeof(float));
        px_weight_free(w);
        px_weight_free(anew);
        px_weight_free(NULL);
        px_stream_close(s);
        ops_free(&c);
    }
}

/* Rows of a batch of any size have the bits they have alone, and a NaN stays in its row. */
static void rows_know_nothing_of_each_other(void **state) {
    (void)state;
    enum { MOST = 300, IN = 576, OUT = 600 };
    for (int type = PX_F32; type <= PX_BF16; type++) {
        ops_case c = {.T = MOST};
        const px_mat alone = *ops_add(&c, MOST, OUT, 0, PX_F32, 0, 1);
        const px_mat y = *ops_add(&c, MOST, OUT, 0, PX_F32, 0, 1);
        const px_mat x = *ops_add(&c, MOST, IN, 0, (px_type)type, OPS_IN, 1);
        const px_mat source = *ops_add(&c, OUT, IN, 0, PX_F32, OPS_IN, 1);
        px_stream *s = NULL;
        px_weight *w = NULL;
        px_assert_ok(px_stream_open(px_test_backend(), 2, &s));
        px_assert_ok(px_weight_new(s, source, (px_type)type, PX_PACK_FORWARD, &w));
        for (int64_t t = 0; t < MOST; t++) {
            px_mat row_y = {(float *)alone.data + t * OUT, PX_F32, 1, OUT, OUT}, row_x = x;
            row_x.data = (char *)x.data + (size_t)(t * IN) * px_type_size((px_type)type);
            row_x.rows = 1;
            px_op_linear(s, row_y, row_x, w, false);
        }
        for (int64_t T = 1; T <= MOST; T += T < 70 ? 1 : 23) {
            px_mat part_y = y, part_x = x;
            part_y.rows = part_x.rows = T;
            px_op_linear(s, part_y, part_x, w, false);
            assert_memory_equal(y.data, alone.data, (size_t)(T * OUT) * sizeof(float));
        }
        for (int64_t j = 0; j < IN; j++) ops_put(x, 5, j, NAN);
        px_op_linear(s, y, x, w, false);
        for (int64_t j = 0; j < OUT; j++) assert_true(isnan(ops_get(y, 5, j)));
        assert_memory_equal(y.data, alone.data, 5 * OUT * sizeof(float));
        assert_memory_equal((float *)y.data + 6 * OUT, (float *)alone.data + 6 * OUT,
                            (MOST - 6) * OUT * sizeof(float));
        px_weight_free(w);
        px_assert_ok(px_stream_ok(s));
        px_stream_close(s);
        ops_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_matches_reference),
        cmocka_unit_test(linear_over_panels_matches_reference),
        cmocka_unit_test(linear_over_quantised_panels_matches_reference),
        cmocka_unit_test(linear_backward_input_matches_reference),
        cmocka_unit_test(quantised_weights_match_reference),
        cmocka_unit_test(head_weights_go_backward_in_chunks),
        cmocka_unit_test(linear_backward_weight_matches_reference),
        cmocka_unit_test(backwards_are_gradients),
        cmocka_unit_test(update_packs_anew),
        cmocka_unit_test(rows_know_nothing_of_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
