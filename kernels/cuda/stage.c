/* stage.c - operands that lie in the host's memory, and scratch on the device. */
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

enum { ALIGN = 256 };

void cuda_note(px_stream *s, const char *text) {
    if (text)
        px_stream_fail(s, px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, CUDA_NAME ": %s", text));
}

bool cuda_ready(px_stream *s) { return s->err == NULL; }

/* A piece of its own, until the operation ends. */
static void *extra_room(px_stream *s, size_t bytes) {
    cuda_state *c = s->state;
    if (c->n_extra == c->extra_room) {
        const int wider = c->extra_room ? 2 * c->extra_room : 16;
        void **more = realloc(c->extra, (size_t)wider * sizeof *more);
        if (!more) {
            cuda_note(s, "out of memory");
            return NULL;
        }
        c->extra = more;
        c->extra_room = wider;
    }
    void *at = cuda_take(s, bytes);
    if (!at) {
        px_stream_fail(s,
                       px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                                  CUDA_NAME ": no device memory for %zu bytes of scratch", bytes));
        return NULL;
    }
    c->extra[c->n_extra++] = at;
    c->extra_bytes += bytes;
    return at;
}

void *cuda_room(px_stream *s, size_t bytes) {
    cuda_state *c = s->state;
    const size_t whole = (bytes + ALIGN) / ALIGN * ALIGN;
    if (whole > c->room_bytes - c->used) return extra_room(s, whole);
    void *at = c->room + c->used;
    c->used += whole;
    return at;
}

/* A graph would read and write the host's memory of this moment again and again. */
static bool is_refused(px_stream *s) {
    if (!cuda_round_captures(s)) return false;
    cuda_note(s, "an operation on the host's memory");
    return true;
}

static void *stage(px_stream *s, cuda_staged item, cuda_use use) {
    cuda_state *c = s->state;
    if (is_refused(s)) return NULL;
    item.device = cuda_room(s, item.pitch * item.height);
    item.back = (use & CUDA_OUT) != 0;
    if (!item.device) return NULL;
    if (c->n_staged == CUDA_STAGED_MOST) {
        cuda_note(s, "an operation with too many operands");
        return NULL;
    }
    if (use & CUDA_IN)
        cu_copy_rows(
            c->queue,
            (cu_rows){item.device, item.host, item.pitch, item.host_pitch, item.width, item.height},
            CU_TO_DEVICE);
    if (item.back) c->staged[c->n_staged++] = item;
    return item.device;
}

void *cuda_array(px_stream *s, const void *p, size_t bytes, cuda_use use) {
    if (!p || bytes == 0) return (void *)(uintptr_t)p;
    const void *there = use == CUDA_IN ? cuda_round_array(s, p, bytes) : NULL;
    if (there || cu_is_device(p)) return (void *)(uintptr_t)(there ? there : p);
    return stage(s,
                 (cuda_staged){.host = (void *)(uintptr_t)p,
                               .host_pitch = bytes,
                               .pitch = bytes,
                               .width = bytes,
                               .height = 1},
                 use);
}

cu_mat cuda_mat_as_is(px_mat m) {
    return (cu_mat){m.data, m.rows, m.cols, m.stride, m.type == PX_BF16, 0};
}
cu_mat cuda_mat(px_stream *s, px_mat m, cuda_use use) {
    cu_mat out = cuda_mat_as_is(m);
    if (!m.data || m.rows == 0 || m.cols == 0 || cu_is_device(m.data)) return out;
    const size_t size = px_type_size(m.type), width = (size_t)m.cols * size;
    out.stride = m.cols;
    out.data = stage(s,
                     (cuda_staged){.host = m.data,
                                   .host_pitch = (size_t)m.stride * size,
                                   .pitch = width,
                                   .width = width,
                                   .height = (size_t)m.rows},
                     use);
    return out;
}

const void *cuda_upload(px_stream *s, const void *p, size_t bytes) {
    if (is_refused(s)) return NULL;
    void *at = cuda_room(s, bytes);
    if (at) cu_copy(cuda_queue(s), at, p, bytes, CU_TO_DEVICE);
    return at;
}

/* Scratch as large as this operation needed, for the next ones. */
static void grow_room(px_stream *s) {
    cuda_state *c = s->state;
    const size_t wanted = c->room_bytes + c->extra_bytes;
    cu_wait(c->queue);
    for (int i = 0; i < c->n_extra; i++) cuda_give(s, c->extra[i]);
    c->n_extra = 0;
    c->extra_bytes = 0;
    cuda_give(s, c->room);
    c->room = cuda_take(s, wanted);
    c->room_bytes = c->room ? wanted : 0;
}

void cuda_done(px_stream *s) {
    cuda_state *c = s->state;
    for (int i = 0; i < c->n_staged; i++) {
        const cuda_staged *item = &c->staged[i];
        cu_copy_rows(c->queue,
                     (cu_rows){item->host, item->device, item->host_pitch, item->pitch, item->width,
                               item->height},
                     CU_TO_HOST);
    }
    if (c->n_staged) cu_wait(c->queue);
    c->n_staged = 0;
    c->used_most = PX_MAX(c->used_most, c->used + c->extra_bytes);
    if (c->n_extra) grow_room(s);
    c->used = 0;
    cuda_note(s, cu_error(c->queue));
}

/* A copy's place for m, of this type, whose rows begin at multiples of 16 bytes. */
static cu_mat aligned_room(px_stream *s, cu_mat m, int32_t bf16) {
    const int64_t stride = (m.cols + 7) / 8 * 8;
    cu_mat out = {NULL, m.rows, m.cols, stride, bf16, 0};
    out.data = cuda_room(s, (size_t)(m.rows * stride) * (bf16 ? 2 : 4));
    return out;
}
static bool is_aligned(cu_mat m) {
    return ((uintptr_t)m.data | (uintptr_t)m.stride * (m.bf16 ? 2 : 4)) % 16 == 0;
}
static cu_mat aligned(px_stream *s, cu_mat m) {
    if (is_aligned(m)) return m;
    const cu_mat out = aligned_room(s, m, m.bf16);
    if (out.data) cu_convert(cuda_queue(s), out, m);
    return out;
}

/* cuBLASLt has other algorithms for rows that begin anywhere: they are copied first, so that a
 * row's bits do not depend on where it lies. It has none of f32 into bf16. */
void cuda_gemm(px_stream *s, cu_gemm product) {
    cuda_state *c = s->state;
    const cu_mat to = product.c;
    if (to.rows == 0 || to.cols == 0) return;
    const bool apart = !is_aligned(to) || (to.bf16 && !product.a.bf16);
    product.a = aligned(s, product.a);
    product.b = aligned(s, product.b);
    if (apart) product.c = aligned_room(s, to, to.bf16 && product.a.bf16);
    if (!cuda_ready(s)) return;
    if (apart && product.add) cu_convert(c->queue, product.c, to);
    cuda_note(s, cu_gemm_run(c->gemms, &product));
    if (apart) cu_convert(c->queue, to, product.c);
}
