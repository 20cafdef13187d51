/* test_ops_lora.c - low-rank adapters and their dropout. */
#include "ops_case.h"

typedef struct {
    int64_t R;
    px_lora_part part;
    double p;
} lora_setting;

static px_dropout drop_of(const ops_case *c) {
    const lora_setting *setting = c->more;
    return (px_dropout){setting->p, 0x123456789ABCDEF0u, 3, c->keys};
}

/* 0 u, 1 x, 2 a */
static void run_down(px_stream *s, ops_case *c) {
    const lora_setting *setting = c->more;
    ops_slot *m = c->slots;
    px_op_lora_down(s, m[0].m.data, m[1].m, m[2].m.data, setting->R, drop_of(c));
}
/* 0 y, 1 u, 2 b */
static void run_up(px_stream *s, ops_case *c) {
    const lora_setting *setting = c->more;
    ops_slot *m = c->slots;
    px_op_lora_up(s, m[0].m, m[1].m.data, m[2].m.data, setting->part);
}
/* 0 du, 1 db, 2 dy, 3 u, 4 b */
static void run_up_back(px_stream *s, ops_case *c) {
    const lora_setting *setting = c->more;
    ops_slot *m = c->slots;
    px_op_lora_up_backward(s, m[0].m.data, m[1].m.data, m[2].m, m[3].m.data, m[4].m.data,
                           setting->part);
}
/* 0 dx, 1 da, 2 du, 3 x, 4 a */
static void run_down_back(px_stream *s, ops_case *c) {
    const lora_setting *setting = c->more;
    ops_slot *m = c->slots;
    px_op_lora_down_backward(s, m[0].m, m[1].m.data, m[2].m.data, m[3].m, m[4].m.data, setting->R,
                             drop_of(c));
}
static void run_down_back_weights(px_stream *s, ops_case *c) {
    const lora_setting *setting = c->more;
    ops_slot *m = c->slots;
    px_op_lora_down_backward(s, (px_mat){0}, m[1].m.data, m[2].m.data, m[3].m, m[4].m.data,
                             setting->R, drop_of(c));
}

static const uint64_t *keys_of(int64_t T) {
    static uint64_t keys[1040];
    for (int64_t t = 0; t < T; t++) keys[t] = 0x9E3779B97F4A7C15u * (uint64_t)(t + 1);
    return keys;
}

static const lora_setting settings[] = {
    {1, {1, 0, 1, 2}, 0},   {8, {8, 0, 8, 2}, 0.05},     {24, {24, 8, 8, 0.5f}, 0.05},
    {6, {6, 1, 5, 1}, 0.5}, {16, {16, 8, 8, -2}, 0.999}, {23, {23, 10, 13, 1}, 0.05},
};
static const int64_t lengths[] = {0, 1, 3, 133};
static const int64_t widths[] = {1, 17, 140};

#define EACH_CASE(T, n, type, setting)                                                             \
    for (size_t i_ = 0; i_ < PX_COUNT(settings); i_++)                                             \
        for (size_t j_ = 0; j_ < PX_COUNT(lengths); j_++)                                          \
            for (size_t k_ = 0; k_ < PX_COUNT(widths); k_++)                                       \
                for (int type = PX_F32; type <= PX_BF16; type++)                                   \
                    for (int64_t T = lengths[j_], n = widths[k_], once_ = 1; once_; once_ = 0)     \
                        for (const lora_setting *setting = &settings[i_]; once_; once_ = 0)

static void down_matches_reference(void **state) {
    (void)state;
    EACH_CASE(T, n, type, setting) {
        ops_case c = {.T = T, .row_alone = true, .more = setting, .keys = keys_of(T)};
        ops_add(&c, T, setting->R, 0, PX_F32, OPS_ROW, 1);
        ops_add(&c, T, n, 3, (px_type)type, OPS_IN | OPS_ROW, 1 - setting->p);
        ops_add(&c, setting->R, n, 0, PX_F32, OPS_IN, 1 / sqrt((double)n));
        ops_check("lora_down", &c, run_down, 4e-6);
    }
}
static void up_matches_reference(void **state) {
    (void)state;
    EACH_CASE(T, n, type, setting) {
        ops_case c = {.T = T, .row_alone = true, .more = setting};
        ops_add(&c, T, n, 1, (px_type)type, OPS_ROW, 1);
        ops_add(&c, T, setting->R, 0, PX_F32, OPS_IN | OPS_ROW, 1);
        ops_add(&c, n, setting->part.r, 0, PX_F32, OPS_IN, 0.3);
        ops_check("lora_up", &c, run_up, type == PX_F32 ? 4e-6 : 8e-3);
    }
}
static void up_backward_matches_reference(void **state) {
    (void)state;
    EACH_CASE(T, n, type, setting) {
        ops_case c = {.T = T, .row_alone = true, .more = setting};
        ops_add(&c, T, setting->R, 0, PX_F32, OPS_ROW, 1);
        ops_add(&c, n, setting->part.r, 0, PX_F32, 0, 1);
        ops_add(&c, T, n, 2, (px_type)type, OPS_IN | OPS_ROW, 0.5);
        ops_add(&c, T, setting->R, 0, PX_F32, OPS_IN | OPS_ROW, 1 / sqrt((double)T + 1));
        ops_add(&c, n, setting->part.r, 0, PX_F32, OPS_IN, 1 / sqrt((double)n));
        ops_check("lora_up_backward", &c, run_up_back, 4e-6);
    }
}
static void down_backward_matches_reference(void **state) {
    (void)state;
    EACH_CASE(T, n, type, setting) {
        for (int weights = 0; weights < 2; weights++) {
            ops_case c = {.T = T, .row_alone = true, .more = setting, .keys = keys_of(T)};
            const double spread = (1 - setting->p) / sqrt((double)T + 1);
            ops_add(&c, T, n, 1, (px_type)type, OPS_ROW, 1);
            ops_add(&c, setting->R, n, 0, PX_F32, 0, 1);
            ops_add(&c, T, setting->R, 0, PX_F32, OPS_IN | OPS_ROW, spread);
            ops_add(&c, T, n, 2, (px_type)type, OPS_IN | OPS_ROW, 1);
            ops_add(&c, setting->R, n, 0, PX_F32, OPS_IN, 0.3);
            ops_check("lora_down_backward", &c, weights ? run_down_back_weights : run_down_back,
                      type == PX_F32 ? 4e-6 : 8e-3);
        }
    }
}

/* Rows that are summed in several stretches, the last of them short. */
static void many_rows_match_reference(void **state) {
    (void)state;
    const int64_t T = px_test_is_checked() ? 517 : 1040, n = px_test_is_checked() ? 18 : 140;
    const lora_setting *setting = &settings[2];
    for (int type = PX_F32; type <= PX_BF16; type++) {
        ops_case up = {.T = T, .row_alone = true, .more = setting}, down = up;
        down.keys = keys_of(T);
        ops_add(&up, T, setting->R, 0, PX_F32, OPS_ROW, 1);
        ops_add(&up, n, setting->part.r, 0, PX_F32, 0, 1);
        ops_add(&up, T, n, 2, (px_type)type, OPS_IN | OPS_ROW, 0.5);
        ops_add(&up, T, setting->R, 0, PX_F32, OPS_IN | OPS_ROW, 1 / sqrt((double)T));
        ops_add(&up, n, setting->part.r, 0, PX_F32, OPS_IN, 1 / sqrt((double)n));
        ops_check("lora_up_backward", &up, run_up_back, 4e-6);
        ops_add(&down, T, n, 1, (px_type)type, OPS_IN | OPS_ROW, 1); /* dx: not asked for */
        ops_add(&down, setting->R, n, 0, PX_F32, 0, 1);
        ops_add(&down, T, setting->R, 0, PX_F32, OPS_IN | OPS_ROW, 1 / sqrt((double)T));
        ops_add(&down, T, n, 2, (px_type)type, OPS_IN | OPS_ROW, 1);
        ops_add(&down, setting->R, n, 0, PX_F32, OPS_IN, 0.3);
        ops_check("lora_down_backward", &down, run_down_back_weights, 4e-6);
    }
}

/* Inputs that are summed in more stretches than a block has warps, the last of them short. */
static void long_rows_match_reference(void **state) {
    (void)state;
    const int64_t T = 3, widths_here[] = {px_test_is_checked() ? 300 : 4396, 513};
    const lora_setting *setting = &settings[2];
    for (size_t i = 0; i < PX_COUNT(widths_here); i++) {
        const int64_t n = widths_here[i];
        ops_case c = {.T = T, .row_alone = true, .more = setting, .keys = keys_of(T)};
        ops_add(&c, T, setting->R, 0, PX_F32, OPS_ROW, 1);
        ops_add(&c, T, n, 4, PX_BF16, OPS_IN | OPS_ROW, 1 - setting->p);
        ops_add(&c, setting->R, n, 0, PX_F32, OPS_IN, 1 / sqrt((double)n));
        ops_check("lora_down", &c, run_down, 8e-6);
    }
}

static void backwards_are_gradients(void **state) {
    (void)state;
    static const lora_setting setting = {5, {5, 2, 3, 0.5f}, 0.3};
    px_stream *s = NULL;
    px_assert_ok(px_stream_open("ref", 1, &s));
    ops_case down = {.T = 3, .more = &setting, .keys = keys_of(3)}, back = down;
    ops_add(&down, 3, 5, 0, PX_F32, OPS_ROW, 1);
    const px_mat x = *ops_add(&down, 3, 6, 0, PX_F32, OPS_ROW, 1);
    const px_mat a = *ops_add(&down, 5, 6, 0, PX_F32, 0, 1);
    const px_mat dx = *ops_add(&back, 3, 6, 0, PX_F32, OPS_ROW, 0);
    const px_mat da = *ops_add(&back, 5, 6, 0, PX_F32, 0, 0);
    const px_mat du = *ops_add(&back, 3, 5, 0, PX_F32, OPS_ROW, 1);
    px_op_lora_down_backward(s, dx, da.data, du.data, x, a.data, 5, drop_of(&down));
    ops_check_gradient("lora_down, x", &down, run_down, 1, 0, du, dx, 1e-4);
    ops_check_gradient("lora_down, a", &down, run_down, 2, 0, du, da, 1e-4);
    ops_free(&back);
    ops_case up = {.T = 3, .more = &setting};
    ops_add(&up, 3, 4, 0, PX_F32, OPS_ROW, 1);
    const px_mat u = *ops_add(&up, 3, 5, 0, PX_F32, OPS_ROW, 1);
    const px_mat b = *ops_add(&up, 4, 3, 0, PX_F32, 0, 1);
    const px_mat du_up = *ops_add(&back, 3, 5, 0, PX_F32, OPS_ROW, 0);
    const px_mat db = *ops_add(&back, 4, 3, 0, PX_F32, 0, 0);
    const px_mat dy = *ops_add(&back, 3, 4, 0, PX_F32, OPS_ROW, 1);
    px_op_lora_up_backward(s, du_up.data, db.data, dy, u.data, b.data, setting.part);
    ops_check_gradient("lora_up, u", &up, run_up, 1, 0, dy, du_up, 1e-4);
    ops_check_gradient("lora_up, b", &up, run_up, 2, 0, dy, db, 1e-4);
    ops_free(&back);
    ops_free(&up);
    ops_free(&down);
    px_stream_close(s);
}

/* 1 + 2^-10 less 1: values of f32 keep their lower digits where the other operand or the result is
 * bf16. */
static void small_digits_count(void **state) {
    (void)state;
    enum { T = 2, N = 20, ONE = 0x3F80, DIGIT = 0x3A80 }; /* 1 and 2^-10 as bf16 */
    const float more = 1 + 1.0f / 1024, finest = more + 1.0f / (1 << 20);
    float sides[2][2 * N];
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    for (int which = 0; which < 2; which++) { /* in u, in the weight */
        uint16_t y[T * N] = {0}, dx[T * N] = {0}, x[T * N] = {0};
        float da[2 * N] = {0};
        for (int i = 0; i < 2 * N; i++) {
            sides[which][i] = i % 2 ? more : 1;
            sides[!which][i] = i % 2 ? 1 : -1;
        }
        const px_lora_part part = {2, 0, 2, 1};
        px_op_lora_up(s, px_mat_of(y, PX_BF16, T, N), sides[0], sides[1], part);
        for (int i = 0; i < 2 * N; i++) { /* A is [2, N] */
            sides[1][i] = which == 0 ? i < N ? -1 : 1 : i < N ? 1 : more;
            sides[0][i] = which == 0 ? i % 2 ? more : 1 : i % 2 ? 1 : -1;
        }
        px_op_lora_down_backward(s, px_mat_of(dx, PX_BF16, T, N), da, sides[0],
                                 px_mat_of(x, PX_BF16, T, N), sides[1], 2, (px_dropout){0});
        px_assert_ok(px_stream_ok(s));
        for (int i = 0; i < T * N; i++) {
            assert_int_equal(y[i], DIGIT);
            assert_int_equal(dx[i], DIGIT);
        }
    }
    uint16_t x[T * N];
    float u[T] = {0}, a[N], db[N] = {0}, by[T] = {finest, -more};
    for (int i = 0; i < T * N; i++) x[i] = i % N < 2 || i >= N ? ONE : 0;
    for (int i = 0; i < N; i++) a[i] = i == 0 ? finest : i == 1 ? -more : 0;
    px_op_lora_down(s, u, px_mat_of(x, PX_BF16, T, N), a, 1, (px_dropout){0});
    px_op_lora_up_backward(s, u + 1, db, px_mat_of(x, PX_BF16, 1, N), by, a,
                           (px_lora_part){1, 0, 1, 1});
    assert_true(u[0] == 1.0f / (1 << 20) && u[1] == u[0]);
    memset(db, 0, sizeof db);
    px_op_lora_down_backward(s, (px_mat){0}, db, by, px_mat_of(x, PX_BF16, T, N), a, 1,
                             (px_dropout){0});
    px_assert_ok(px_stream_ok(s));
    assert_true(db[0] == 1.0f / (1 << 20) && db[N - 1] == -more);
    px_stream_close(s);
}

/* The mask, seen through A = the unit matrix: a share p is dropped, the rest is scaled; it depends
 * on each of seed, site and key, and forward and backward draw the same. */
static void dropout_draws_its_share(void **state) {
    (void)state;
    enum { T = 64, N = 300 };
    static float x[T * N], a[N * N], u[T * N], again[T * N], da[N * N], dx[T * N], du[T * N];
    uint64_t keys[T];
    for (int i = 0; i < T * N; i++) x[i] = du[i] = 1;
    for (int i = 0; i < N; i++) a[i * N + i] = 1;
    for (int t = 0; t < T; t++) keys[t] = (uint64_t)t;
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 2, &s));
    const px_mat m = px_mat_of(x, PX_F32, T, N), back = px_mat_of(dx, PX_F32, T, N);
    px_dropout drop = {0.25, 7, 1, keys};
    px_op_lora_down(s, u, m, a, N, drop);
    px_op_lora_down_backward(s, back, da, du, m, a, N, drop);
    int kept = 0;
    for (int i = 0; i < T * N; i++) {
        assert_true(u[i] == 0 || fabsf(u[i] - 4.0f / 3) < 1e-6f);
        assert_true(u[i] == dx[i]);
        kept += u[i] != 0;
    }
    assert_true(fabs((double)kept / (T * N) - 0.75) < 0.015); /* 4 standard deviations: 0.0125 */
    for (int change = 0; change < 4; change++) {
        px_dropout other = drop;
        if (change == 0) other.seed++;
        if (change == 1) other.seed += 1ull << 40;
        if (change == 2) other.site++;
        if (change == 3)
            for (int t = 0; t < T; t++) keys[t] += 1ull << 33;
        int same = 0;
        px_op_lora_down(s, again, m, a, N, other);
        for (int i = 0; i < T * N; i++) same += u[i] == again[i];
        assert_true(fabs((double)same / (T * N) - 0.625) < 0.02);
    }
    px_assert_ok(px_stream_ok(s));
    px_stream_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(down_matches_reference),
        cmocka_unit_test(up_matches_reference),
        cmocka_unit_test(up_backward_matches_reference),
        cmocka_unit_test(down_backward_matches_reference),
        cmocka_unit_test(many_rows_match_reference),
        cmocka_unit_test(long_rows_match_reference),
        cmocka_unit_test(backwards_are_gradients),
        cmocka_unit_test(small_digits_count),
        cmocka_unit_test(dropout_draws_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
