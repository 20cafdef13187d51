/* test_ops_rows.c - embeddings, gathering, scattering, optimiser, sum of squares. */
#include "ops_case.h"

static const int32_t ids[] = {4, -1, 0, -3, 4, 4, -1, 2, -2, -1, 3};
static const int32_t distinct[] = {10, 3, 0, 7, 4, 1, 9, 2, 12, 6, 5};
enum { T_MOST = (int)PX_COUNT(ids) };
static const int64_t widths[] = {1, 16, 33, 130, 576};
static const int64_t lengths[] = {0, 1, T_MOST};

#define EACH_SHAPE(T, d, from, to)                                                                 \
    for (size_t i_ = 0; i_ < PX_COUNT(lengths); i_++)                                              \
        for (size_t j_ = 0; j_ < PX_COUNT(widths); j_++)                                           \
            for (int from = PX_F32; from <= PX_BF16; from++)                                       \
                for (int to = PX_F32; to <= PX_BF16; to++)                                         \
                    for (int64_t T = lengths[i_], d = widths[j_], once_ = 1; once_; once_ = 0)

static void run_embed(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_embed(s, a[0].m, c->ids, a[1].m, a[2].m.data);
}
static void run_embed_back(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_embed_backward(s, a[0].m.data, a[1].m.data, c->ids, a[2].m);
}
static void run_embed_back_soft(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_embed_backward(s, a[0].m.data, NULL, c->ids, a[2].m);
}
static void embed_matches_reference(void **state) {
    (void)state;
    EACH_SHAPE(T, d, from, to) {
        ops_case c = {.T = T, .ids = ids, .row_alone = true};
        ops_add(&c, T, d, 3, (px_type)to, OPS_ROW, 1);
        ops_add(&c, 5, d, 1, (px_type)from, OPS_IN, 1);
        ops_add(&c, 3, d, 0, PX_F32, OPS_IN, 1);
        ops_check("embed", &c, run_embed, to == PX_F32 ? 0 : 4e-3);
        for (int soft = 0; soft < 2; soft++) {
            c = (ops_case){.T = T, .ids = ids};
            ops_add(&c, 3, d, 0, PX_F32, 0, 1);
            ops_add(&c, 5, d, 0, PX_F32, 0, 1);
            ops_add(&c, T, d, 5, (px_type)from, OPS_IN | OPS_ROW, 1);
            ops_check("embed_backward", &c, soft ? run_embed_back_soft : run_embed_back, 1e-6);
        }
    }
}
static void embed_takes_the_right_rows(void **state) {
    (void)state;
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    float table[5] = {10, 11, 12, 13, 14}, soft[3] = {-1, -2, -3}, y[T_MOST], dsoft[3] = {0};
    float dtable[5] = {0}, dy[T_MOST];
    px_op_embed(s, px_mat_of(y, PX_F32, T_MOST, 1), ids, px_mat_of(table, PX_F32, 5, 1), soft);
    for (int i = 0; i < T_MOST; i++) {
        assert_true(y[i] == (ids[i] >= 0 ? (float)(10 + ids[i]) : (float)ids[i]));
        dy[i] = (float)(1 << i);
    }
    px_op_embed_backward(s, dsoft, dtable, ids, px_mat_of(dy, PX_F32, T_MOST, 1));
    assert_true(dsoft[0] == 2 + 64 + 512 && dsoft[1] == 256 && dsoft[2] == 8);
    assert_true(dtable[4] == 1 + 16 + 32 && dtable[1] == 0 && dtable[3] == 1024);
    px_stream_close(s);
}

static void run_gather(px_stream *s, ops_case *c) {
    px_op_gather(s, c->slots[0].m, c->slots[1].m, c->ids);
}
static void run_scatter(px_stream *s, ops_case *c) {
    px_op_scatter(s, c->slots[0].m, c->slots[1].m, c->ids);
}
static void gather_and_scatter_match_reference(void **state) {
    (void)state;
    EACH_SHAPE(T, d, from, to) {
        ops_case c = {.T = T, .ids = distinct, .row_alone = true};
        ops_add(&c, T, d, 1, (px_type)to, OPS_ROW, 1);
        ops_add(&c, 13, d, 2, (px_type)from, OPS_IN, 1);
        ops_check("gather", &c, run_gather, to == PX_F32 ? 0 : 4e-3);
        c = (ops_case){.T = T, .ids = distinct};
        ops_add(&c, 13, d, 1, (px_type)to, 0, 1);
        ops_add(&c, T, d, 2, (px_type)from, OPS_IN | OPS_ROW, 1);
        ops_check("scatter", &c, run_scatter, to == PX_F32 ? 0 : 4e-3);
    }
}

static void run_adamw(px_stream *s, ops_case *c) {
    ops_slot *a = c->slots;
    px_op_adamw(s, a[0].m.data, a[1].m.data, a[2].m.data, a[3].m.data, a[0].m.cols, c->more);
}
static void adamw_matches_reference(void **state) {
    (void)state;
    static const px_adamw settings[] = {
        {1e-3, 0.9, 0.999, 1e-8, 0, 1, 1},
        {5e-5, 0.9, 0.999, 1e-8, 0.1, 1000, 0.37},
        {0.1, 0, 0, 1e-6, 0.01, 3, 2},
    };
    static const int64_t sizes[] = {0, 1, 17, 5000};
    for (size_t i = 0; i < PX_COUNT(settings); i++)
        for (size_t j = 0; j < PX_COUNT(sizes); j++) {
            ops_case c = {.more = &settings[i]};
            for (int k = 0; k < 4; k++) ops_add(&c, 1, sizes[j], 0, PX_F32, k == 3 ? OPS_IN : 0, 1);
            for (int64_t n = 0; n < sizes[j]; n++)
                ops_put(c.slots[2].m, 0, n, fabs(ops_get(c.slots[2].m, 0, n)));
            ops_check("adamw", &c, run_adamw, 1e-7);
        }
}
/* torch.optim.AdamW, lr 0.1, weight_decay 0.01, float64, parameter 1, gradients 0.5 and -0.25,
 * worked out by its documented formulas: step 1: p = 0.999 - 0.1 · 0.5 / (0.5 + 1e-8). */
static void adamw_steps_as_published(void **state) {
    (void)state;
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    float p = 1, m = 0, v = 0, g = 0.5f;
    px_adamw settings = {0.1, 0.9, 0.999, 1e-8, 0.01, 1, 1};
    px_op_adamw(s, &p, &m, &v, &g, 1, &settings);
    px_assert_near(p, 0.899000002, 1e-7);
    g = -0.25f;
    settings.step = 2;
    px_op_adamw(s, &p, &m, &v, &g, 1, &settings);
    /* m̂ = (0.9·0.05 - 0.025)/0.19, v̂ = (0.999·0.00025 + 0.0000625)/0.001999 */
    px_assert_near(p, 0.899000002 * 0.999 - 0.1 * (0.02 / 0.19) / sqrt(0.00031225 / 0.001999),
                   1e-6);
    px_stream_close(s);
}

static void sum_squares_is_the_same_for_all_threads(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 15, 4096, 4097, 50001};
    for (size_t i = 0; i < PX_COUNT(sizes); i++) {
        const int64_t n = sizes[i];
        float *g = malloc((size_t)n * sizeof *g + 1);
        double sums[4];
        assert_non_null(g);
        for (int64_t j = 0; j < n; j++)
            g[j] = (float)px_rng_normal((px_rng){1, PX_RNG_TEST}, i, (uint64_t)j);
        for (int threads = 0; threads < 4; threads++) {
            px_stream *s = NULL;
            px_assert_ok(
                px_stream_open(threads ? px_test_backend() : "ref", threads ? threads : 1, &s));
            sums[threads] = px_op_sum_squares(s, g, n);
            px_stream_close(s);
        }
        px_assert_near(sums[1], sums[0], 1e-12);
        assert_true(sums[1] == sums[2] && sums[1] == sums[3]);
        free(g);
    }
}

static void unknown_backends_are_named(void **state) {
    (void)state;
    px_stream *s = NULL;
    px_assert_error(px_stream_open("gpu", 1, &s), PX_BAD_INPUT, "\"gpu\"");
    px_assert_error(px_stream_open("cpu", 0, &s), PX_BAD_INPUT, "threads is 0");
    px_stream_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_matches_reference),
        cmocka_unit_test(embed_takes_the_right_rows),
        cmocka_unit_test(gather_and_scatter_match_reference),
        cmocka_unit_test(adamw_matches_reference),
        cmocka_unit_test(adamw_steps_as_published),
        cmocka_unit_test(sum_squares_is_the_same_for_all_threads),
        cmocka_unit_test(unknown_backends_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
