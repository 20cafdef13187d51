/* test_attention.c - attention over trees against the float64 reference, every element; the same
 * bits in any company and with any number of threads; the reference against finite differences. */
#include "px_test.h"

#include "ops.h"

enum { MAX_SEGMENTS = 64, PAD = 6 };
static const float GUARD = 12345.0f;

static uint64_t state_rng;
static uint32_t draw(uint32_t below) {
    state_rng = state_rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_rng >> 33) % below;
}
/* About normal, |x| < 3. */
static float draw_float(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += (float)draw(1 << 20) / (1 << 20) - 0.5f;
    return sum;
}

static uint16_t bf16_of(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}
static double value_at(px_mat m, int64_t i, int64_t j) {
    if (m.type == PX_F32) return ((const float *)m.data)[i * m.stride + j];
    const uint32_t u = (uint32_t)((const uint16_t *)m.data)[i * m.stride + j] << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static void value_put(px_mat m, int64_t i, int64_t j, float x) {
    if (m.type == PX_F32)
        ((float *)m.data)[i * m.stride + j] = x;
    else
        ((uint16_t *)m.data)[i * m.stride + j] = bf16_of(x);
}
/* A matrix inside a wider one full of guards. */
static px_mat mat_new(px_type type, int64_t rows, int64_t cols, bool random) {
    px_mat wide =
        px_mat_of(malloc((size_t)((rows + 1) * (cols + PAD)) * 4), type, rows + 1, cols + PAD);
    assert_non_null(wide.data);
    for (int64_t i = 0; i <= rows; i++)
        for (int64_t j = 0; j < cols + PAD; j++)
            value_put(wide, i, j, i < rows && j < cols && random ? draw_float() : GUARD);
    return (px_mat){wide.data, type, rows, cols, cols + PAD};
}
static void assert_guarded(px_mat m) {
    const px_mat wide = {m.data, m.type, m.rows + 1, m.stride, m.stride};
    const double guard = m.type == PX_F32 ? GUARD : 12352; /* its bf16 rounding */
    for (int64_t i = 0; i <= m.rows; i++)
        for (int64_t j = i < m.rows ? m.cols : 0; j < m.stride; j++)
            assert_true(value_at(wide, i, j) == guard);
}
static px_mat mat_rows(px_mat m, int64_t first, int64_t rows) {
    char *data = m.data;
    return (px_mat){data + (size_t)(first * m.stride) * px_type_size(m.type), m.type, rows, m.cols,
                    m.stride};
}
static px_mat mat_copy_rows(px_mat m, const int32_t *rows, int64_t n) {
    px_mat copy = mat_new(m.type, n, m.cols, false);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m.cols; j++) value_put(copy, i, j, (float)value_at(m, rows[i], j));
    return copy;
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
static void assert_same_bits(const char *name, px_mat a, px_mat b) {
    for (int64_t i = 0; i < a.rows; i++)
        if (memcmp(mat_rows(a, i, 1).data, mat_rows(b, i, 1).data,
                   (size_t)a.cols * px_type_size(a.type)) != 0)
            fail_msg("%s: row %ld differs", name, (long)i);
}

/* --- a call: inputs, outputs of forward and backward --- */

typedef struct {
    px_segment segments[MAX_SEGMENTS];
    px_attn attn;
    int64_t T;
    px_mat q, k, v, dout, out, lse, dq, dk, dv; /* lse as a matrix without gaps */
} call;

/* Appends a random tree, depth first: each parent is on the path of the segment before. */
static void add_tree(call *c, int n_segments, int length_max) {
    static const int lengths[] = {1, 1, 2, 3, 7, 16, 31, 33, 64, 100, 150, 300};
    for (int i = 0; i < n_segments; i++) {
        const int n = c->attn.n_segments++;
        int parent = i == 0 ? -1 : n - 1;
        for (uint32_t up = draw(3); i > 0 && up > 0 && c->segments[parent].parent >= 0; up--)
            parent = c->segments[parent].parent;
        int length = lengths[draw(PX_COUNT(lengths))];
        if (length > length_max) length = length_max;
        const int most = px_test_is_checked() ? (i ? 4 : 18) : px_test_is_slow() ? 24 : length;
        if (length > most) length = most; /* a tile of 16 and some */
        c->segments[n] = (px_segment){(int32_t)c->T, (int32_t)c->T + length, parent};
        c->T += length;
    }
}
static call call_of(int H, int Hkv, int hd) {
    return (call){
        .attn = {.n_heads = H, .n_kv_heads = Hkv, .head_dim = hd, .scale = 1 / sqrtf((float)hd)}};
}
static void call_outputs(call *c, px_type type) {
    const int64_t wide = (int64_t)c->attn.n_heads * c->attn.head_dim;
    const int64_t narrow = (int64_t)c->attn.n_kv_heads * c->attn.head_dim;
    c->out = mat_new(type, c->T, wide, false);
    c->dq = mat_new(type, c->T, wide, false);
    c->dk = mat_new(type, c->T, narrow, false);
    c->dv = mat_new(type, c->T, narrow, false);
    c->lse = mat_new(PX_F32, c->T, c->attn.n_heads, false);
    c->lse.stride = c->lse.cols;
}
static void call_inputs(call *c, px_type type) {
    const int64_t wide = (int64_t)c->attn.n_heads * c->attn.head_dim;
    const int64_t narrow = (int64_t)c->attn.n_kv_heads * c->attn.head_dim;
    c->q = mat_new(type, c->T, wide, true);
    c->k = mat_new(type, c->T, narrow, true);
    c->v = mat_new(type, c->T, narrow, true);
    c->dout = mat_new(type, c->T, wide, true);
    call_outputs(c, type);
}
static void call_free_outputs(call *c) {
    free(c->out.data), free(c->lse.data), free(c->dq.data), free(c->dk.data), free(c->dv.data);
}
static void call_free(call *c) {
    free(c->q.data), free(c->k.data), free(c->v.data), free(c->dout.data);
    call_free_outputs(c);
}
static void forward(px_stream *s, call *c) {
    c->attn.segments = c->segments;
    px_op_attention(s, c->out, c->lse.data, c->q, c->k, c->v, &c->attn);
    px_assert_ok(px_stream_ok(s));
}
static void backward(px_stream *s, call *c) {
    c->attn.segments = c->segments;
    const px_attn_back io = {c->dq, c->dk, c->dv, c->dout, c->out, c->q, c->k, c->v, c->lse.data};
    px_op_attention_backward(s, &io, &c->attn);
    px_assert_ok(px_stream_ok(s));
}
static void assert_call_same_bits(const call *a, const call *b) {
    assert_same_bits("out", a->out, b->out);
    assert_same_bits("lse", a->lse, b->lse);
    assert_same_bits("dq", a->dq, b->dq);
    assert_same_bits("dk", a->dk, b->dk);
    assert_same_bits("dv", a->dv, b->dv);
}
static px_stream *stream(const char *name, int threads) {
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(name, threads, &s));
    return s;
}

/* --- tests --- */

static void check_against_reference(call *got, px_type type) {
    px_stream *cpu = stream(px_test_backend(), 2), *ref = stream("ref", 1);
    call_inputs(got, type);
    call want = *got;
    call_outputs(&want, type);
    forward(cpu, got);
    forward(ref, &want);
    assert_close("out", got->out, want.out, type == PX_F32 ? 2e-6 : 6e-3);
    assert_close("lse", got->lse, want.lse, 2e-6);
    call_free_outputs(got);
    call_outputs(got, type);
    free(got->out.data), free(got->lse.data);
    got->out = want.out, got->lse = want.lse; /* both from the same inputs */
    backward(cpu, got);
    backward(ref, &want);
    const double tol = type == PX_F32 ? 1e-5 : 2e-2;
    assert_close("dq", got->dq, want.dq, tol);
    assert_close("dk", got->dk, want.dk, tol);
    assert_close("dv", got->dv, want.dv, tol);
    const px_mat guarded[] = {got->out, got->dq, got->dk, got->dv};
    for (size_t i = 0; i < PX_COUNT(guarded); i++) assert_guarded(guarded[i]);
    free(want.dq.data), free(want.dk.data), free(want.dv.data);
    call_free(got);
    px_stream_close(cpu), px_stream_close(ref);
}

static void matches_reference(void **state) {
    (void)state;
    static const struct {
        int trees, segments, length_max, H, Hkv, hd;
    } cases[] = {{1, 1, 1, 1, 1, 2},    {1, 1, 2, 1, 1, 64},   {1, 1, 300, 3, 1, 64},
                 {2, 5, 300, 9, 3, 64}, {1, 40, 1, 9, 3, 64},  {3, 12, 33, 4, 4, 80},
                 {2, 9, 64, 8, 1, 16},  {2, 6, 33, 4, 2, 128}, {3, 4, 31, 2, 1, 24},
                 {1, 40, 3, 2, 2, 6},   {1, 3, 7, 33, 1, 8},   {2, 3, 16, 6, 2, 30}};
    for (size_t i = 0; i < 2 * PX_COUNT(cases); i++) {
        const size_t n = i / 2;
        state_rng = n + 7;
        call c = call_of(cases[n].H, cases[n].Hkv, cases[n].hd);
        for (int t = 0; t < cases[n].trees; t++)
            add_tree(&c, cases[n].segments, cases[n].length_max);
        check_against_reference(&c, i % 2 ? PX_BF16 : PX_F32);
    }
}

/* Segments longer than the pieces in which kernels take rows and keys, by 1, 2 and more heads a key
 * and value head; and matrices in device memory, whose rows begin anywhere. */
static void in_pieces(void **state) {
    (void)state;
    static const struct {
        int H, Hkv, hd;
    } cases[] = {{1, 1, 16}, {4, 2, 16}, {5, 1, 32}, {2, 2, 96}};
    const int most = px_test_is_checked() ? 1 : (int)PX_COUNT(cases);
    for (int i = 0; i < most; i++) {
        state_rng = 50 + (uint64_t)i;
        call c = call_of(cases[i].H, cases[i].Hkv, cases[i].hd);
        const px_segment some[] = {{0, 70, -1}, {70, 151, 0}, {151, 160, 0}, {160, 161, -1}};
        memcpy(c.segments, some, sizeof some);
        c.attn.n_segments = (int32_t)PX_COUNT(some);
        c.T = 161;
        check_against_reference(&c, PX_BF16);
    }
}
/* A matrix of bf16 in the stream's memory, `off` values behind its beginning. */
static px_mat mat_there(px_stream *s, px_mat from, int64_t off, int64_t stride) {
    uint16_t *at = NULL, *rows = calloc((size_t)(from.rows * stride + off), sizeof *rows);
    const size_t bytes = (size_t)(from.rows * stride + off) * sizeof *rows;
    px_assert_ok(px_memory_new(s, bytes, (void **)&at));
    assert_non_null(rows);
    for (int64_t i = 0; i < from.rows; i++)
        for (int64_t j = 0; j < from.cols; j++)
            rows[off + i * stride + j] = bf16_of((float)value_at(from, i, j));
    px_memory_copy(s, at, rows, bytes);
    px_assert_ok(px_stream_ok(s));
    free(rows);
    return (px_mat){at + off, from.type, from.rows, from.cols, stride};
}
static void rows_may_begin_anywhere(void **state) {
    (void)state;
    px_stream *s = stream(px_test_backend(), 1);
    state_rng = 77;
    call c = call_of(2, 1, 32);
    add_tree(&c, 4, 24);
    call_inputs(&c, PX_BF16);
    forward(s, &c), backward(s, &c);
    for (int off = 0; off <= 8; off += 1 + off * 3) { /* 0, 1, 5 */
        call there = c;
        call_outputs(&there, PX_BF16);
        px_mat *mats[] = {&there.q, &there.k, &there.v, &there.dout};
        for (size_t m = 0; m < PX_COUNT(mats); m++)
            *mats[m] = mat_there(s, *mats[m], off, mats[m]->cols + (off ? 7 : 8));
        forward(s, &there), backward(s, &there);
        assert_call_same_bits(&c, &there);
        for (size_t m = 0; m < PX_COUNT(mats); m++)
            px_memory_free(s, (uint16_t *)mats[m]->data - off);
        call_free_outputs(&there);
    }
    call_free(&c);
    px_stream_close(s);
}

static void nothing_is_fine(void **state) {
    (void)state;
    call c = call_of(2, 1, 16);
    px_stream *cpu = stream(px_test_backend(), 2);
    call_inputs(&c, PX_BF16);
    forward(cpu, &c);
    backward(cpu, &c);
    assert_guarded(c.out);
    c.segments[0] = (px_segment){0, 0, -1}; /* empty segments among full ones */
    call_free(&c);
    c = call_of(2, 1, 16);
    const px_segment some[] = {{0, 0, -1}, {0, 2, 0}, {2, 2, 1}, {2, 5, 2}, {5, 5, -1}, {5, 6, 4}};
    memcpy(c.segments, some, sizeof some);
    c.attn.n_segments = (int32_t)PX_COUNT(some);
    c.T = 6;
    check_against_reference(&c, PX_F32);
    px_stream_close(cpu);
}

/* A chain of 1-row segments is a sequence. */
static void chain_is_a_sequence(void **state) {
    (void)state;
    px_stream *cpu = stream(px_test_backend(), 2);
    for (int type = PX_F32; type <= PX_BF16; type++) {
        call a = call_of(6, 2, 32);
        for (int i = 0; i < MAX_SEGMENTS; i++) a.segments[i] = (px_segment){i, i + 1, i - 1};
        a.attn.n_segments = MAX_SEGMENTS;
        a.T = MAX_SEGMENTS;
        call_inputs(&a, (px_type)type);
        call b = a;
        call_outputs(&b, (px_type)type);
        b.attn.n_segments = 1;
        b.segments[0] = (px_segment){0, MAX_SEGMENTS, -1};
        forward(cpu, &a), forward(cpu, &b);
        assert_same_bits("out", a.out, b.out);
        assert_same_bits("lse", a.lse, b.lse);
        backward(cpu, &a), backward(cpu, &b);
        assert_same_bits("dq", a.dq, b.dq);
        assert_close("dk", a.dk, b.dk, type == PX_F32 ? 1e-5 : 2e-2);
        assert_close("dv", a.dv, b.dv, type == PX_F32 ? 1e-5 : 2e-2);
        call_free_outputs(&b);
        call_free(&a);
    }
    px_stream_close(cpu);
}

/* One tree in the call, or three at other offsets; 1, 2, 3 threads. */
static void company_and_threads_change_no_bit(void **state) {
    (void)state;
    for (int i = px_test_is_checked() ? 2 : 0; i < 4; i++) {
        const px_type type = i % 2 ? PX_BF16 : PX_F32;
        state_rng = 100 + (uint64_t)i;
        call all = call_of(6, 2, 64);
        add_tree(&all, 3, 150);
        const int first = all.attn.n_segments;
        add_tree(&all, 14, 300);
        const int end = all.attn.n_segments;
        add_tree(&all, 5, 64);
        call_inputs(&all, type);
        const int32_t begin = all.segments[first].begin;
        call alone = all;
        alone.attn.n_segments = end - first;
        alone.T = all.segments[end - 1].end - begin;
        for (int n = 0; n < end - first; n++) {
            const px_segment from = all.segments[first + n];
            alone.segments[n] = (px_segment){from.begin - begin, from.end - begin,
                                             from.parent < 0 ? -1 : from.parent - first};
        }
        alone.q = mat_rows(all.q, begin, alone.T);
        alone.k = mat_rows(all.k, begin, alone.T);
        alone.v = mat_rows(all.v, begin, alone.T);
        alone.dout = mat_rows(all.dout, begin, alone.T);
        call_outputs(&alone, type);
        px_stream *one = stream(px_test_backend(), 1);
        forward(one, &alone), backward(one, &alone);
        px_stream_close(one);
        /* NaN in a neighbour stays there. */
        for (int64_t j = 0; j < all.v.cols; j++) value_put(all.v, begin - 1, j, NAN);
        for (int64_t j = 0; j < all.k.cols; j++) value_put(all.k, begin - 2, j, NAN);
        for (int threads = px_test_is_checked() ? 3 : 1; threads <= 3; threads++) {
            px_stream *cpu = stream(px_test_backend(), threads);
            forward(cpu, &all), backward(cpu, &all);
            call part = all;
            px_mat *mats[] = {&part.out, &part.lse, &part.dq, &part.dk, &part.dv};
            for (size_t m = 0; m < PX_COUNT(mats); m++)
                *mats[m] = mat_rows(*mats[m], begin, alone.T);
            assert_call_same_bits(&alone, &part);
            assert_true(isnan(value_at(all.out, begin - 1, 0)));
            px_stream_close(cpu);
        }
        call_free_outputs(&alone);
        call_free(&all);
    }
}

/* Every root-to-leaf path on its own gives its rows of the tree, to the bit. */
static void tree_equals_its_paths(void **state) {
    (void)state;
    px_stream *cpu = stream(px_test_backend(), 2);
    state_rng = 5;
    call tree = call_of(9, 3, 64);
    add_tree(&tree, 25, 100);
    call_inputs(&tree, PX_F32);
    forward(cpu, &tree);
    for (int leaf = 0; leaf < tree.attn.n_segments; leaf++) {
        int32_t rows[4096], n = 0, chain[MAX_SEGMENTS], depth = 0;
        for (int32_t i = leaf; i >= 0; i = tree.segments[i].parent) chain[depth++] = i;
        while (depth-- > 0)
            for (int32_t t = tree.segments[chain[depth]].begin;
                 t < tree.segments[chain[depth]].end;)
                rows[n++] = t++;
        call path = tree;
        path.T = n;
        path.attn.n_segments = 1;
        path.segments[0] = (px_segment){0, n, -1};
        path.q = mat_copy_rows(tree.q, rows, n);
        path.k = mat_copy_rows(tree.k, rows, n);
        path.v = mat_copy_rows(tree.v, rows, n);
        path.dout = mat_copy_rows(tree.dout, rows, n);
        call_outputs(&path, PX_F32);
        forward(cpu, &path);
        px_mat want = mat_copy_rows(tree.out, rows, n);
        assert_close("path", path.out, want, 1e-5);
        assert_same_bits("path", path.out, want);
        free(want.data);
        call_free(&path);
    }
    call_free(&tree);
    px_stream_close(cpu);
}

/* d Σ dout ∘ out by central differences, through the reference's forward. */
static void reference_gradient_is_the_difference(void **state) {
    (void)state;
    px_stream *ref = stream("ref", 1);
    state_rng = 11;
    call c = call_of(4, 2, 4);
    add_tree(&c, 5, 3);
    call_inputs(&c, PX_F32);
    forward(ref, &c);
    backward(ref, &c);
    call moved = c;
    call_outputs(&moved, PX_F32);
    const px_mat inputs[] = {c.q, c.k, c.v}, gradients[] = {c.dq, c.dk, c.dv};
    for (int m = 0; m < 3; m++)
        for (int64_t i = 0; i < inputs[m].rows; i++)
            for (int64_t j = 0; j < inputs[m].cols; j++) {
                const float at = (float)value_at(inputs[m], i, j), step = 1.0f / 64;
                double sum[2] = {0, 0};
                for (int side = 0; side < 2; side++) {
                    value_put(inputs[m], i, j, side ? at + step : at - step);
                    forward(ref, &moved);
                    for (int64_t t = 0; t < c.T; t++)
                        for (int64_t n = 0; n < c.out.cols; n++)
                            sum[side] += value_at(c.dout, t, n) * value_at(moved.out, t, n);
                }
                value_put(inputs[m], i, j, at);
                px_assert_near(value_at(gradients[m], i, j), (sum[1] - sum[0]) * 32, 5e-4);
            }
    call_free_outputs(&moved);
    call_free(&c);
    px_stream_close(ref);
}

/* Scores far apart: no overflow, the largest wins; a row whose weights all sit on itself. */
static void extreme_scores(void **state) {
    (void)state;
    px_stream *cpu = stream(px_test_backend(), 1), *ref = stream("ref", 1);
    for (int type = PX_F32; type <= PX_BF16; type++) {
        state_rng = 3;
        call got = call_of(2, 1, 16);
        add_tree(&got, 4, 100);
        call_inputs(&got, (px_type)type);
        for (int64_t i = 0; i < got.T; i++)
            for (int64_t j = 0; j < got.q.cols; j++)
                value_put(got.q, i, j, (float)value_at(got.q, i, j) * (i % 3 ? 4000.0f : 1e-30f));
        call want = got;
        call_outputs(&want, (px_type)type);
        forward(cpu, &got), forward(ref, &want);
        assert_close("out", got.out, want.out, type == PX_F32 ? 2e-2 : 3e-2);
        assert_close("lse", got.lse, want.lse, 2e-6);
        call_free_outputs(&want);
        call_free(&got);
    }
    px_stream_close(cpu), px_stream_close(ref);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_reference),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(rows_may_begin_anywhere),
        cmocka_unit_test(nothing_is_fine),
        cmocka_unit_test(chain_is_a_sequence),
        cmocka_unit_test(company_and_threads_change_no_bit),
        cmocka_unit_test(tree_equals_its_paths),
        cmocka_unit_test(reference_gradient_is_the_difference),
        cmocka_unit_test(extreme_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
