/* matmul.c - matrix products of one thread by oneDNN, compiled once a shape; the backend's state.
 * Invariant: a kernel is made and run while OpenMP offers oneDNN one thread (cpu_begin), so its
 * result does not depend on how many threads the stream has. */
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

struct cpu_kernel {
    cpu_shape shape;
    cpu_kernel *next;
    dnnl_primitive_t primitive;
    struct operands {
        dnnl_memory_t x, w, y, scratch;
    } threads[]; /* one set a thread: a memory object's pointer is set before each run */
};

px_err *cpu_check(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return NULL;
    PX_FAIL(PX_RUN_FAILED, "oneDNN: %s: status %d", what, (int)status);
}

int cpu_begin(void) {
    const int kept = omp_get_max_threads();
    omp_set_num_threads(1);
    return kept;
}
void cpu_end(int kept) { omp_set_num_threads(kept); }

static dnnl_data_type_t type_of(int32_t type) { return type == PX_F32 ? dnnl_f32 : dnnl_bf16; }

/* --- kernels --- */

typedef struct {
    dnnl_memory_desc_t x, w, y;
} layouts;

/* B's layout must not depend on M: it is what oneDNN picks for CPU_ROWS rows of dense x and y. */
static dnnl_status_t packed_layout(dnnl_engine_t engine, cpu_shape shape, dnnl_memory_desc_t *out) {
    const dnnl_data_type_t in = type_of(shape.in);
    dnnl_dims_t x_dims = {CPU_ROWS, shape.K}, w_dims = {shape.K, shape.N};
    dnnl_dims_t y_dims = {CPU_ROWS, shape.N};
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t product;
    dnnl_primitive_desc_t desc;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, in, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&w, 2, w_dims, in, dnnl_format_tag_any);
    if (!status) status = dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab);
    if (!status) status = dnnl_matmul_desc_init(&product, &x, &w, NULL, &y);
    if (!status) status = dnnl_primitive_desc_create(&desc, &product, NULL, engine, NULL);
    if (status) return status;
    *out = *dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    return dnnl_primitive_desc_destroy(desc);
}

px_err *cpu_packed_layout(px_stream *s, int64_t K, int64_t N, px_type type,
                          dnnl_memory_desc_t *out) {
    const cpu_state *state = s->state;
    const cpu_shape shape = {.K = K, .N = N, .in = (int32_t)type};
    const int kept = cpu_begin();
    dnnl_status_t status = packed_layout(state->engine, shape, out);
    cpu_end(kept);
    return cpu_check(status, "layout of a packed weight");
}

static dnnl_status_t layouts_of(dnnl_engine_t engine, cpu_shape shape, layouts *out) {
    dnnl_dims_t x = {shape.M, shape.K}, w = {shape.K, shape.N}, y = {shape.M, shape.N};
    const dnnl_data_type_t in = type_of(shape.in);
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&out->x, 2, x, in, shape.turned ? dnnl_ba : dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&out->y, 2, y, dnnl_f32, dnnl_ab);
    if (status) return status;
    if (shape.plain) return dnnl_memory_desc_init_by_tag(&out->w, 2, w, in, dnnl_ab);
    return packed_layout(engine, shape, &out->w);
}

static dnnl_status_t describe(dnnl_engine_t engine, const layouts *l, dnnl_primitive_desc_t *out) {
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = dnnl_matmul_desc_init(&product, &l->x, &l->w, NULL, &l->y);
    if (!status) status = dnnl_primitive_attr_create(&attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!status) status = dnnl_primitive_desc_create(out, &product, attr, engine, NULL);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

static void kernel_free(cpu_kernel *kernel, int threads) {
    for (int i = 0; i < threads; i++) {
        struct operands *o = &kernel->threads[i];
        if (o->x) dnnl_memory_destroy(o->x);
        if (o->w) dnnl_memory_destroy(o->w);
        if (o->y) dnnl_memory_destroy(o->y);
        if (o->scratch) dnnl_memory_destroy(o->scratch);
    }
    if (kernel->primitive) dnnl_primitive_destroy(kernel->primitive);
    free(kernel);
}

static dnnl_status_t operands_make(dnnl_engine_t engine, struct operands *o, const layouts *l,
                                   const dnnl_memory_desc_t *scratch, bool plain) {
    dnnl_status_t status = dnnl_memory_create(&o->x, &l->x, engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&o->y, &l->y, engine, DNNL_MEMORY_NONE);
    if (!status && plain) status = dnnl_memory_create(&o->w, &l->w, engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&o->scratch, scratch, engine, DNNL_MEMORY_NONE);
    return status;
}

/* A thread runs one kernel at a time, so all share its scratch: the largest that any asked for. */
static px_err *scratch_grow(px_stream *s, size_t bytes) {
    cpu_state *state = s->state;
    bytes = (bytes + 64) / 64 * 64;
    if (bytes <= state->scratch_bytes) return NULL;
    for (int i = 0; i < s->threads; i++) {
        free(state->scratch[i]);
        state->scratch[i] = aligned_alloc(64, bytes);
    }
    state->scratch_bytes = bytes;
    for (int i = 0; i < s->threads; i++)
        if (!state->scratch[i]) {
            state->scratch_bytes = 0;
            PX_NO_MEMORY();
        }
    return NULL;
}

static px_err *kernel_make(px_stream *s, cpu_shape shape, cpu_kernel **out) {
    cpu_state *state = s->state;
    layouts l;
    dnnl_primitive_desc_t desc = NULL;
    cpu_kernel *kernel = calloc(1, sizeof *kernel + (size_t)s->threads * sizeof kernel->threads[0]);
    if (!kernel) PX_NO_MEMORY();
    kernel->shape = shape;
    dnnl_status_t status = layouts_of(state->engine, shape, &l);
    if (!status) status = describe(state->engine, &l, &desc);
    if (!status) status = dnnl_primitive_create(&kernel->primitive, desc);
    px_err *err = NULL;
    if (!status) {
        const dnnl_memory_desc_t *scratch =
            dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
        for (int i = 0; !status && i < s->threads; i++)
            status = operands_make(state->engine, &kernel->threads[i], &l, scratch, shape.plain);
        if (!status) err = scratch_grow(s, dnnl_memory_desc_get_size(scratch));
    }
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (!status && !err) {
        *out = kernel;
        return NULL;
    }
    kernel_free(kernel, s->threads);
    PX_PASS(err);
    PX_FAIL(PX_RUN_FAILED, "oneDNN has no %s product of %lld x %lld x %lld: status %d",
            shape.in == PX_F32 ? "f32" : "bf16", (long long)shape.M, (long long)shape.K,
            (long long)shape.N, (int)status);
}

static size_t hash_of(const cpu_shape *shape, size_t n) {
    const unsigned char *bytes = (const unsigned char *)shape;
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *shape; i++) hash = (hash ^ bytes[i]) * 0x100000001B3u;
    return (size_t)((hash >> 32 ^ hash) % n);
}

const cpu_kernel *cpu_kernel_get(px_stream *s, cpu_shape shape) {
    cpu_state *state = s->state;
    cpu_kernel **slot = &state->kernels[hash_of(&shape, PX_COUNT(state->kernels))];
    for (cpu_kernel *k = *slot; k; k = k->next)
        if (memcmp(&k->shape, &shape, sizeof shape) == 0) return k;
    cpu_kernel *made = NULL;
    px_err *err = kernel_make(s, shape, &made);
    if (err) {
        px_stream_fail(s, err);
        return NULL;
    }
    made->next = *slot;
    *slot = made;
    return made;
}

void cpu_kernel_run(px_stream *s, const cpu_kernel *kernel, int thread, cpu_operands operands) {
    if (!kernel) return;
    cpu_state *state = s->state;
    const struct operands *o = &kernel->threads[thread];
    /* oneDNN's interface has no const; x and B are read only. */
    dnnl_status_t status = dnnl_memory_set_data_handle(o->x, (void *)(uintptr_t)operands.x);
    if (!status) status = dnnl_memory_set_data_handle(o->y, operands.y);
    if (!status && o->w)
        status = dnnl_memory_set_data_handle(o->w, (void *)(uintptr_t)operands.plain);
    if (!status) status = dnnl_memory_set_data_handle(o->scratch, state->scratch[thread]);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, o->x},
                                    {DNNL_ARG_WEIGHTS, o->w ? o->w : operands.packed},
                                    {DNNL_ARG_DST, o->y},
                                    {DNNL_ARG_SCRATCHPAD, o->scratch}};
    if (!status)
        status = dnnl_primitive_execute(kernel->primitive, state->streams[thread],
                                        (int)PX_COUNT(args), args);
    if (!status) status = dnnl_stream_wait(state->streams[thread]);
    if (!status) return;
#pragma omp critical(px_kernel_failed)
    px_stream_fail(s, cpu_check(status, "a matrix product"));
}

/* --- state --- */

/* What the processor can do. oneDNN's block-wise products ("brg") treat each row alike; its older
 * ones choose an order of summing by the number of rows. */
static px_err *probe(cpu_state *state) {
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    layouts l;
    dnnl_primitive_desc_t desc = NULL;
    cpu_shape shape = {.M = 64, .N = 64, .K = 64, .in = PX_BF16};
    const char *name = "";
    dnnl_status_t status = layouts_of(state->engine, shape, &l);
    if (!status) status = describe(state->engine, &l, &desc);
    state->has_bf16 = status == dnnl_success;
    if (!state->has_bf16) {
        if (!atomic_flag_test_and_set(&warned))
            px_warn("this processor has no bf16 matrix products: they are computed in f32");
        shape.in = PX_F32;
        status = layouts_of(state->engine, shape, &l);
        if (!status) status = describe(state->engine, &l, &desc);
        PX_PASS(cpu_check(status, "a matrix product in f32"));
    }
    status = dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
    state->steady = !status && strncmp(name, "brg", 3) == 0;
    return cpu_check(dnnl_primitive_desc_destroy(desc), "description");
}

px_err *cpu_open(px_stream *s) {
    cpu_state *state = calloc(1, sizeof *state);
    if (!state) PX_NO_MEMORY();
    s->state = state;
    PX_PASS(cpu_check(dnnl_engine_create(&state->engine, dnnl_cpu, 0), "engine"));
    state->streams = calloc((size_t)s->threads, sizeof(dnnl_stream_t));
    state->scratch = calloc((size_t)s->threads, sizeof *state->scratch);
    if (!state->streams || !state->scratch) PX_NO_MEMORY();
    for (int i = 0; i < s->threads; i++)
        PX_PASS(cpu_check(
            dnnl_stream_create(&state->streams[i], state->engine, dnnl_stream_default_flags),
            "stream"));
    return probe(state);
}

void cpu_close(px_stream *s) {
    cpu_state *state = s->state;
    if (!state) return;
    for (size_t i = 0; i < PX_COUNT(state->kernels); i++)
        for (cpu_kernel *k = state->kernels[i], *next; k; k = next) {
            next = k->next;
            kernel_free(k, s->threads);
        }
    for (int i = 0; state->streams && i < s->threads; i++)
        if (state->streams[i]) dnnl_stream_destroy(state->streams[i]);
    free(state->streams);
    for (int i = 0; state->scratch && i < s->threads; i++) free(state->scratch[i]);
    free(state->scratch);
    if (state->engine) dnnl_engine_destroy(state->engine);
    free(state);
}
