/* ops_case.c - see ops_case.h. */
#include "ops_case.h"

enum { GUARD = 64, FILL = 0xA5 };

static uint64_t draws; /* of this program so far: every matrix has its own numbers */

double ops_get(px_mat m, int64_t i, int64_t j) {
    const int64_t k = i * m.stride + j;
    if (m.type == PX_F32) return ((const float *)m.data)[k];
    const uint32_t bits = (uint32_t)((const uint16_t *)m.data)[k] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bf16 by cutting off: the value stored is what counts. */
void ops_put(px_mat m, int64_t i, int64_t j, double value) {
    const int64_t k = i * m.stride + j;
    const float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (m.type == PX_F32)
        ((float *)m.data)[k] = narrow;
    else
        ((uint16_t *)m.data)[k] = (uint16_t)(bits >> 16);
}

px_mat *ops_add(ops_case *c, int64_t rows, int64_t cols, int64_t gap, px_type type, int flags,
                double spread) {
    assert_true(c->n_slots < OPS_SLOTS);
    ops_slot *slot = &c->slots[c->n_slots++];
    const int64_t stride = cols + gap;
    slot->flags = flags;
    slot->bytes = 2 * GUARD + (size_t)(rows * stride) * px_type_size(type);
    slot->block = malloc(slot->bytes);
    assert_non_null(slot->block);
    memset(slot->block, FILL, slot->bytes);
    slot->m = (px_mat){slot->block + GUARD, type, rows, cols, stride};
    draws++;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            ops_put(slot->m, i, j,
                    spread * px_rng_normal((px_rng){draws, PX_RNG_TEST}, (uint64_t)i, (uint64_t)j));
    return &slot->m;
}

void ops_free(ops_case *c) {
    for (int i = 0; i < c->n_slots; i++) free(c->slots[i].block);
    c->n_slots = 0;
}

static ops_case copy_of(const ops_case *c) {
    ops_case copy = *c;
    for (int i = 0; i < c->n_slots; i++) {
        copy.slots[i].block = malloc(c->slots[i].bytes);
        assert_non_null(copy.slots[i].block);
        memcpy(copy.slots[i].block, c->slots[i].block, c->slots[i].bytes);
        copy.slots[i].m.data = copy.slots[i].block + GUARD;
    }
    return copy;
}

/* Bytes of the block that hold no element of the matrix. */
static void guards_stand(const char *name, const ops_slot *slot, int index) {
    const px_mat m = slot->m;
    const size_t size = px_type_size(m.type), row = (size_t)m.stride * size;
    for (size_t b = 0; b < slot->bytes; b++) {
        const size_t at = b - GUARD;
        const bool inside =
            b >= GUARD && b < slot->bytes - GUARD && (row == 0 || at % row < (size_t)m.cols * size);
        if (!inside && (unsigned char)slot->block[b] != FILL)
            fail_msg("%s: slot %d: byte %zu beside the matrix was written", name, index, b);
    }
}

static void run_on(const char *backend, int threads, ops_case *c, ops_run *run) {
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(backend, threads, &s));
    run(s, c);
    px_assert_ok(px_stream_ok(s));
    px_stream_close(s);
}

/* The same with all matrices in a GPU's memory, `off` values behind where a piece begins. */
static void run_there(ops_case *c, int off, ops_run *run) {
    px_stream *s = NULL;
    void *pieces[OPS_SLOTS] = {NULL};
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    for (int n = 0; n < c->n_slots; n++) {
        ops_slot *slot = &c->slots[n];
        const size_t shift = (size_t)off * px_type_size(slot->m.type);
        px_assert_ok(px_memory_new(s, slot->bytes + shift, &pieces[n]));
        px_memory_copy(s, (char *)pieces[n] + shift, slot->block, slot->bytes);
        slot->m.data = (char *)pieces[n] + shift + GUARD;
    }
    run(s, c);
    for (int n = 0; n < c->n_slots; n++) {
        ops_slot *slot = &c->slots[n];
        px_memory_copy(s, slot->block, (char *)slot->m.data - GUARD, slot->bytes);
        px_memory_free(s, pieces[n]);
        slot->m.data = slot->block + GUARD;
    }
    px_assert_ok(px_stream_ok(s));
    px_stream_close(s);
}
static bool is_apart(void) {
    px_stream *s = NULL;
    px_assert_ok(px_stream_open(px_test_backend(), 1, &s));
    const bool apart = px_memory_is_apart(s);
    px_stream_close(s);
    return apart;
}

static void near(const char *name, const ops_case *got, const ops_case *want, double tol) {
    for (int n = 0; n < got->n_slots; n++) {
        const px_mat g = got->slots[n].m, w = want->slots[n].m;
        for (int64_t i = 0; i < g.rows; i++)
            for (int64_t j = 0; j < g.cols; j++) {
                const double a = ops_get(g, i, j), b = ops_get(w, i, j);
                if (!(fabs(a - b) <= tol * (1 + fabs(b))))
                    fail_msg("%s: slot %d (%lld, %lld): got %.9g, want %.9g, tolerance %g", name, n,
                             (long long)i, (long long)j, a, b, tol);
            }
    }
}

static void same_bits(const char *name, const char *what, const ops_case *a, const ops_case *b) {
    for (int n = 0; n < a->n_slots; n++)
        if (memcmp(a->slots[n].block, b->slots[n].block, a->slots[n].bytes) != 0)
            fail_msg("%s: slot %d: other bits with %s", name, n, what);
}

static void row_alone(const char *name, const ops_case *before, const ops_case *after, int64_t t,
                      ops_run *run) {
    ops_case one = copy_of(before);
    one.T = 1;
    if (one.ids) one.ids += t;
    if (one.keys) one.keys += t;
    for (int n = 0; n < one.n_slots; n++) {
        px_mat *m = &one.slots[n].m;
        if (!(one.slots[n].flags & OPS_ROW)) continue;
        m->data = (char *)m->data + (size_t)(t * m->stride) * px_type_size(m->type);
        m->rows = 1;
    }
    run_on(px_test_backend(), 1, &one, run);
    for (int n = 0; n < one.n_slots; n++) {
        const px_mat m = one.slots[n].m, all = after->slots[n].m;
        const size_t size = px_type_size(m.type);
        if (!(one.slots[n].flags & OPS_ROW)) continue;
        if (memcmp(m.data, (char *)all.data + (size_t)(t * all.stride) * size,
                   (size_t)m.cols * size) != 0)
            fail_msg("%s: slot %d: row %lld has other bits alone", name, n, (long long)t);
    }
    ops_free(&one);
}

void ops_check(const char *name, ops_case *c, ops_run *run, double tol) {
    ops_case want = copy_of(c), got = copy_of(c);
    run_on("ref", 1, &want, run);
    run_on(px_test_backend(), 1, &got, run);
    near(name, &got, &want, tol);
    for (int n = 0; n < c->n_slots; n++) {
        guards_stand(name, &got.slots[n], n);
        guards_stand(name, &want.slots[n], n);
        if ((c->slots[n].flags & OPS_IN) &&
            memcmp(c->slots[n].block, got.slots[n].block, c->slots[n].bytes) != 0)
            fail_msg("%s: slot %d is an input and was written", name, n);
    }
    for (int off = 0; off < 2 && is_apart(); off++) {
        ops_case there = copy_of(c);
        run_there(&there, off, run);
        same_bits(name, off ? "rows that begin anywhere" : "rows on the card", &there, &got);
        ops_free(&there);
    }
    for (int threads = 2; threads <= 3 && !is_apart(); threads++) {
        ops_case again = copy_of(c);
        run_on(px_test_backend(), threads, &again, run);
        same_bits(name, threads == 2 ? "2 threads" : "3 threads", &again, &got);
        ops_free(&again);
    }
    for (int64_t t = 0; c->row_alone && t < c->T; t += PX_MAX(1, c->T / 3))
        row_alone(name, c, &got, t, run);
    if (c->row_alone && c->T > 1) row_alone(name, c, &got, c->T - 1, run);
    ops_free(&want);
    ops_free(&got);
    ops_free(c);
}

static double weighted(const ops_case *c, ops_run *forward, int out, px_mat cotangent) {
    ops_case copy = copy_of(c);
    run_on("ref", 1, &copy, forward);
    double sum = 0;
    for (int64_t i = 0; i < cotangent.rows; i++)
        for (int64_t j = 0; j < cotangent.cols; j++)
            sum += ops_get(copy.slots[out].m, i, j) * ops_get(cotangent, i, j);
    ops_free(&copy);
    return sum;
}

void ops_check_gradient(const char *name, ops_case *c, ops_run *forward, int in, int out,
                        px_mat cotangent, px_mat gradient, double tol) {
    const px_mat m = c->slots[in].m;
    const double step = 1.0 / 64;
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) {
            const double kept = ops_get(m, i, j), got = ops_get(gradient, i, j);
            ops_put(m, i, j, kept + step);
            const double above = weighted(c, forward, out, cotangent);
            ops_put(m, i, j, kept - step);
            const double below = weighted(c, forward, out, cotangent);
            ops_put(m, i, j, kept);
            const double want = (above - below) / (2 * step);
            if (!(fabs(got - want) <= tol * (1 + fabs(want))))
                fail_msg("%s: gradient (%lld, %lld): got %.9g, by differences %.9g", name,
                         (long long)i, (long long)j, got, want);
        }
}
