/* test_cached.c - attention over cached sequences: against the float64 reference, and the same bits
 * as attention over the whole sequence, however it is cut, shared or copied. */
#include "px_test.h"

#include "ops.h"

enum { LAYERS = 2, PAGES = 24 };

static uint32_t lcg;
static float draw(void) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        lcg = lcg * 1664525u + 1013904223u;
        sum += (float)(lcg >> 8) / (1 << 24) - 0.5f;
    }
    return 2 * sum;
}

static px_mat matrix(px_type type, int64_t rows, int64_t cols) {
    px_mat m = px_mat_of(calloc((size_t)(rows * cols + 1), px_type_size(type)), type, rows, cols);
    assert_non_null(m.data);
    for (int64_t i = 0; i < rows * cols; i++) {
        const float x = draw();
        uint32_t bits;
        memcpy(&bits, &x, 4);
        if (type == PX_F32)
            ((float *)m.data)[i] = x;
        else
            ((uint16_t *)m.data)[i] = (uint16_t)(bits >> 16);
    }
    return m;
}
static double value(px_mat m, int64_t i) {
    if (m.type == PX_F32) return ((const float *)m.data)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)m.data)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static px_mat rows_of(px_mat m, int64_t first, int64_t n) {
    m.data = (char *)m.data + (size_t)(first * m.stride) * px_type_size(m.type);
    m.rows = n;
    return m;
}

typedef struct {
    px_attn attn;
    px_type type;
    int64_t T;
    px_mat q, k, v;
} sequence;

static sequence sequence_of(px_type type, int H, int Hkv, int hd, int64_t T) {
    sequence s = {.attn = {.n_heads = H, .n_kv_heads = Hkv, .head_dim = hd}, .type = type, .T = T};
    s.attn.scale = 1 / sqrtf((float)hd);
    s.q = matrix(type, T, (int64_t)H * hd);
    s.k = matrix(type, T, (int64_t)Hkv * hd);
    s.v = matrix(type, T, (int64_t)Hkv * hd);
    return s;
}
static void sequence_free(sequence *s) { free(s->q.data), free(s->k.data), free(s->v.data); }

static px_stream *stream(const char *name, int threads) {
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(name, threads, &s));
    return s;
}
static px_cache *cache(px_stream *s, const sequence *q) {
    px_cache *c = NULL;
    const px_cache_shape shape = {q->type, LAYERS, q->attn.n_kv_heads, q->attn.head_dim, PAGES};
    px_assert_ok(px_cache_new(s, shape, &c));
    return c;
}

/* Rows [first, end) of the sequence at once: out's rows become theirs. */
static void advance(px_stream *s, px_cache *c, const sequence *q, const int32_t *pages,
                    int64_t first, int64_t end, px_mat out) {
    const px_stretch stretch = {0, (int32_t)(end - first), (int32_t)first, pages};
    const px_cached at = {c, 1, &stretch, 1};
    px_op_cache_put(s, &at, rows_of(q->k, first, end - first), rows_of(q->v, first, end - first));
    px_op_attention_cached(s, rows_of(out, first, end - first), rows_of(q->q, first, end - first),
                           &at, &q->attn);
    px_assert_ok(px_stream_ok(s));
}

static const struct {
    int H, Hkv, hd;
    int64_t T;
} cases[] = {{9, 3, 64, 300}, {1, 1, 2, 1},    {4, 4, 80, 130}, {8, 1, 16, 65},
             {2, 1, 24, 64},  {33, 1, 8, 129}, {6, 2, 30, 77}};
static const int32_t scattered[] = {7, 3, 20, 1, 11, 5};
static int64_t rows_of_case(size_t i) {
    return px_test_is_slow() ? PX_MIN((int64_t)41, cases[i].T) : cases[i].T;
}

static void matches_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * PX_COUNT(cases); i++) {
        const px_type type = i % 2 ? PX_BF16 : PX_F32;
        sequence q = sequence_of(type, cases[i / 2].H, cases[i / 2].Hkv, cases[i / 2].hd,
                                 rows_of_case(i / 2));
        px_stream *cpu = stream(px_test_backend(), 2), *ref = stream("ref", 1);
        px_cache *got_cache = cache(cpu, &q), *want_cache = cache(ref, &q);
        px_mat got = matrix(type, q.T, q.q.cols), want = matrix(type, q.T, q.q.cols);
        const int64_t half = q.T / 2;
        advance(cpu, got_cache, &q, scattered, 0, half, got);
        advance(cpu, got_cache, &q, scattered, half, q.T, got);
        advance(ref, want_cache, &q, scattered, 0, q.T, want);
        const double tol = type == PX_F32 ? 2e-6 : 6e-3;
        for (int64_t j = 0; j < q.T * q.q.cols; j++)
            if (!(fabs(value(got, j) - value(want, j)) <= tol * (1 + fabs(value(want, j)))))
                fail_msg("case %zu, element %ld: got %g, want %g", i, (long)j, value(got, j),
                         value(want, j));
        px_cache_free(got_cache), px_cache_free(want_cache);
        px_stream_close(cpu), px_stream_close(ref);
        free(got.data), free(want.data);
        sequence_free(&q);
    }
}

/* Against px_op_attention over the whole: cut into single rows, odd pieces, at once. */
static void cuts_do_not_matter(void **state) {
    (void)state;
    static const int64_t steps[] = {1, 3, 64, 1000};
    for (size_t i = 0; i < 2 * PX_COUNT(cases); i++) {
        const px_type type = i % 2 ? PX_BF16 : PX_F32;
        sequence q = sequence_of(type, cases[i / 2].H, cases[i / 2].Hkv, cases[i / 2].hd,
                                 rows_of_case(i / 2));
        px_stream *s = stream(px_test_backend(), 1 + (int)(i % 3));
        px_mat want = matrix(type, q.T, q.q.cols), lse = matrix(PX_F32, q.T, q.attn.n_heads);
        const px_segment segment = {0, (int32_t)q.T, -1};
        px_attn attn = q.attn;
        attn.segments = &segment;
        attn.n_segments = 1;
        px_op_attention(s, want, lse.data, q.q, q.k, q.v, &attn);
        for (size_t k = px_test_is_slow(); k < PX_COUNT(steps); k++) {
            px_cache *c = cache(s, &q);
            px_mat got = matrix(type, q.T, q.q.cols);
            for (int64_t first = 0; first < q.T; first += steps[k])
                advance(s, c, &q, scattered, first, PX_MIN(first + steps[k], q.T), got);
            assert_memory_equal(got.data, want.data, (size_t)(q.T * q.q.cols) * px_type_size(type));
            px_cache_free(c);
            free(got.data);
        }
        px_stream_close(s);
        free(want.data), free(lse.data);
        sequence_free(&q);
    }
}

/* Two sequences with a common beginning: the second shares its full page and copies the rest; both
 * go on in one call. */
static void pages_are_shared_and_copied(void **state) {
    (void)state;
    for (int type = PX_F32; type <= PX_BF16; type++) {
        enum { COMMON = 91, T = 140 };
        sequence a = sequence_of((px_type)type, 6, 2, 16, T),
                 b = sequence_of((px_type)type, 6, 2, 16, T);
        const px_mat pairs[3][2] = {{a.q, b.q}, {a.k, b.k}, {a.v, b.v}};
        for (int i = 0; i < 3; i++)
            memcpy(pairs[i][1].data, pairs[i][0].data,
                   (size_t)(COMMON * pairs[i][0].cols) * px_type_size((px_type)type));
        px_stream *s = stream(px_test_backend(), 2);
        px_cache *c = cache(s, &a), *alone = cache(s, &a);
        const int32_t pages_a[] = {4, 9, 2}, pages_b[] = {4, 13, 6};
        const size_t bytes = (size_t)(T * a.q.cols) * px_type_size((px_type)type);
        px_mat want_a = matrix((px_type)type, T, a.q.cols),
               want_b = matrix((px_type)type, T, a.q.cols);
        px_mat got_a = matrix((px_type)type, T, a.q.cols),
               got_b = matrix((px_type)type, T, a.q.cols);
        advance(s, alone, &a, scattered, 0, T, want_a);
        advance(s, alone, &b, scattered, 0, T, want_b);
        advance(s, c, &a, pages_a, 0, COMMON, got_a);
        memcpy(got_b.data, got_a.data, (size_t)(COMMON * a.q.cols) * px_type_size((px_type)type));
        px_op_cache_copy(s, c, 13, 9);
        for (int32_t t = COMMON; t < T; t++) {
            const px_stretch both[] = {{0, 1, t, pages_a}, {1, 2, t, pages_b}};
            const px_cached at = {c, 1, both, 2};
            px_mat io[4], one[4][2];
            const px_mat from[3][2] = {{a.q, b.q}, {a.k, b.k}, {a.v, b.v}};
            for (int i = 0; i < 4; i++) {
                const int64_t cols = i < 3 ? from[i][0].cols : a.q.cols;
                io[i] = matrix((px_type)type, 2, cols);
                one[i][0] = rows_of(io[i], 0, 1), one[i][1] = rows_of(io[i], 1, 1);
                for (int k = 0; i < 3 && k < 2; k++)
                    memcpy(one[i][k].data, rows_of(from[i][k], t, 1).data,
                           (size_t)cols * px_type_size((px_type)type));
            }
            px_op_cache_put(s, &at, io[1], io[2]);
            px_op_attention_cached(s, io[3], io[0], &at, &a.attn);
            const size_t row_bytes = (size_t)a.q.cols * px_type_size((px_type)type);
            memcpy(rows_of(got_a, t, 1).data, one[3][0].data, row_bytes);
            memcpy(rows_of(got_b, t, 1).data, one[3][1].data, row_bytes);
            for (int i = 0; i < 4; i++) free(io[i].data);
        }
        px_assert_ok(px_stream_ok(s));
        assert_memory_equal(got_a.data, want_a.data, bytes);
        assert_memory_equal(got_b.data, want_b.data, bytes);
        free(want_a.data), free(want_b.data), free(got_a.data), free(got_b.data);
        px_cache_free(c), px_cache_free(alone);
        px_stream_close(s);
        sequence_free(&a), sequence_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference),
        cmocka_unit_test(cuts_do_not_matter),
        cmocka_unit_test(pages_are_shared_and_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
