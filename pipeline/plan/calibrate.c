/* calibrate.c - measures the rates of this machine by the operations themselves (kernels/ops.h), at
 * the widths of real models. One core and the processor's own time, so that other programs disturb
 * little; the least of several repeats. What several ranks share is measured under a launcher. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"

enum { RANK = 8, HEAD_ROWS = 96, VOCABULARY = 8192, VECTOR = 1 << 22 };
#define LEAST_S 0.05
#define REPEATS 3

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes resident now. */
static double resident(void) {
    char line[128] = "";
    char *end = NULL;
    px_line_read("", "/proc/self/statm", line, sizeof line);
    strtol(line, &end, 10);
    return (double)strtol(end, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

/* Seconds since the process began; 0: not to be found. proc(5): the 22nd field, in ticks. */
static double age_s(long pid) {
    char path[40], line[1024] = "";
    struct timespec now;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    px_line_read("", path, line, sizeof line);
    char *at = strrchr(line, ')'); /* a name may hold spaces */
    for (int i = 2; at && i < 22; i++)
        if ((at = strchr(at + 1, ' ')) == NULL) return 0;
    if (!at || clock_gettime(CLOCK_BOOTTIME, &now)) return 0;
    const double began = strtod(at, NULL) / (double)sysconf(_SC_CLK_TCK);
    return PX_MAX((double)now.tv_sec + 1e-9 * (double)now.tv_nsec - began, 0.0);
}

/* Since the launcher was called, where that is what began this process. */
static double launch_s(void) {
    const double own = age_s((long)getpid()), parent = age_s((long)getppid());
    return parent >= own && parent < own + 10 ? parent : own;
}

/* What every run brings into memory before its own data: products compiled, HDF5 and the hash in
 * use, text written. *bytes: resident afterwards. */
static px_err *measure_program(double *bytes) {
    px_config config;
    px_str text = {0};
    char path[64];
    px_h5 *h5 = NULL;
    const int64_t n = 1000;
    int64_t *values = calloc((size_t)n, sizeof *values);
    px_err *err = NULL;
    if (!values) PX_NO_MEMORY();
    snprintf(path, sizeof path, ".prismx-plan-%ld.h5", (long)getpid());
    PX_PASS_TO(done, px_config_init(&config));
    px_config_print(&config, &text);
    px_config_fini(&config);
    PX_PASS_TO(done, px_h5_create(path, &h5));
    PX_PASS_TO(done, px_h5_write(h5, "/values", PX_H5_I64, 1, &n, values));
    err = px_h5_publish(h5);
    h5 = NULL;
    if (!err) err = px_h5_open(path, &h5);
    if (!err) err = px_h5_read(h5, "/values", PX_H5_I64, n, values);
    if (!err) *bytes = resident();
done:
    px_h5_close(h5);
    unlink(path);
    px_str_free(&text);
    free(values);
    return err;
}

/* --- one layer's operands --- */

typedef struct {
    px_stream *s;
    px_shape shape;
    px_type type;
    int64_t rows, q, kv, qkv, wide; /* wide: of the widest matrix */
    px_weight *weights[4], *head;   /* qkv, o, gate_up, down */
    px_mat x, y, z;                 /* [rows, wide] */
    float *f32, *grad, *rms, *lse;  /* grad: [wide, wide of the input] */
    double *logp;
    int32_t *ids;
    uint64_t *keys;
    px_segment segments[4];
    float *rope;
    px_arena *arena;
    double pack; /* weights packed a second */
} bench;
typedef void operation(bench *b);

static double best_s(bench *b, operation *run) {
    double best = INFINITY, all = 0;
    run(b); /* kernels are compiled, pages touched */
    for (int i = 0; i < REPEATS || (all < LEAST_S && i < 200); i++) {
        const double start = cpu_s();
        run(b);
        const double took = cpu_s() - start;
        best = PX_MIN(best, took);
        all += took;
    }
    return PX_MAX(best, 1e-9);
}

static px_mat cols(px_mat m, int64_t n) { return px_mat_of(m.data, m.type, m.rows, n); }
static int64_t out_of(const bench *b, int i) {
    const int64_t n[4] = {b->qkv, b->shape.d, 2 * b->shape.ffn, b->shape.d};
    return n[i];
}
static int64_t in_of(const bench *b, int i) {
    const int64_t n[4] = {b->shape.d, b->q, b->shape.d, b->shape.ffn};
    return n[i];
}

static void linear_forward(bench *b) {
    for (int i = 0; i < 4; i++)
        px_op_linear(b->s, cols(b->y, out_of(b, i)), cols(b->x, in_of(b, i)), b->weights[i], false);
}
static void linear_backward(bench *b) {
    for (int i = 0; i < 4; i++)
        px_op_linear_backward_input(b->s, cols(b->x, in_of(b, i)), cols(b->y, out_of(b, i)),
                                    b->weights[i], false);
}
static void weight_grad(bench *b) {
    for (int i = 0; i < 4; i++)
        px_op_linear_backward_weight(b->s, b->grad, cols(b->y, out_of(b, i)),
                                     cols(b->x, in_of(b, i)));
}

/* Adapters on all seven layers: 3, 1, 2 and 1 of them share an input. */
static const int sharing[4] = {3, 1, 2, 1};
static px_dropout drop_of(const bench *b) {
    return (px_dropout){.p = 0.05, .seed = 1, .site = 2, .keys = b->keys};
}
static void lora_forward(bench *b) {
    for (int i = 0; i < 4; i++) {
        const int64_t R = RANK * sharing[i], out = out_of(b, i) / sharing[i];
        px_op_lora_down(b->s, b->f32, cols(b->x, in_of(b, i)), b->grad, R, drop_of(b));
        for (int k = 0; k < sharing[i]; k++)
            px_op_lora_up(b->s, cols(b->y, out), b->f32, b->grad,
                          (px_lora_part){R, RANK * k, RANK, 2});
    }
}
static void lora_backward(bench *b) {
    float *du = b->f32 + b->rows * RANK * 3;
    for (int i = 0; i < 4; i++) {
        const int64_t R = RANK * sharing[i], out = out_of(b, i) / sharing[i];
        for (int k = 0; k < sharing[i]; k++)
            px_op_lora_up_backward(b->s, du, b->grad, cols(b->y, out), b->f32, b->grad,
                                   (px_lora_part){R, RANK * k, RANK, 2});
        px_op_lora_down_backward(b->s, cols(b->z, in_of(b, i)), b->grad, du,
                                 cols(b->x, in_of(b, i)), b->grad, R, drop_of(b));
    }
}

static px_attn attn_of(bench *b) {
    return (px_attn){.segments = b->segments,
                     .n_segments = 4,
                     .n_heads = (int32_t)b->shape.n_heads,
                     .n_kv_heads = (int32_t)b->shape.n_kv_heads,
                     .head_dim = (int32_t)b->shape.head_dim,
                     .scale = 0.1f};
}
static void attention_forward(bench *b) {
    const px_attn attn = attn_of(b);
    px_op_attention(b->s, cols(b->y, b->q), b->lse, cols(b->x, b->q), cols(b->z, b->kv),
                    cols(b->z, b->kv), &attn);
}
static void attention_backward(bench *b) {
    const px_attn attn = attn_of(b);
    char *rest = (char *)b->y.data + (size_t)(b->rows * b->q) * px_type_size(b->type);
    const px_mat more = px_mat_of(rest, b->type, b->rows, b->kv);
    px_mat last = more;
    last.data = rest + (size_t)(b->rows * b->kv) * px_type_size(b->type);
    const px_attn_back io = {.dq = cols(b->y, b->q),
                             .dk = more,
                             .dv = last,
                             .dout = cols(b->x, b->q),
                             .out = cols(b->x, b->q),
                             .q = cols(b->x, b->q),
                             .k = cols(b->z, b->kv),
                             .v = cols(b->z, b->kv),
                             .lse = b->lse};
    px_op_attention_backward(b->s, &io, &attn);
}

static void rest_forward(bench *b) {
    const int64_t d = b->shape.d, ffn = b->shape.ffn;
    for (int i = 0; i < 2; i++)
        px_op_rms_norm(b->s, cols(b->y, d), cols(b->z, d), b->rms, cols(b->x, d), cols(b->z, d),
                       b->grad, 1e-5f);
    px_op_rope(b->s, cols(b->z, b->q), b->ids, b->rope, b->shape.head_dim, 1);
    px_op_swiglu(b->s, cols(b->y, ffn), cols(b->x, ffn), cols(b->z, ffn));
}
static void rest_backward(bench *b) {
    const int64_t d = b->shape.d, ffn = b->shape.ffn;
    for (int i = 0; i < 2; i++) {
        px_op_rms_norm(b->s, cols(b->y, d), (px_mat){0}, b->rms, cols(b->x, d), (px_mat){0},
                       b->grad, 1e-5f);
        px_op_rms_norm_backward(b->s, cols(b->y, d), cols(b->y, d), NULL, cols(b->z, d),
                                cols(b->x, d), b->rms, b->grad);
    }
    px_op_rope(b->s, cols(b->z, b->q), b->ids, b->rope, b->shape.head_dim, -1);
    px_op_swiglu(b->s, cols(b->y, ffn), cols(b->x, ffn), cols(b->z, ffn));
    px_op_swiglu_backward(b->s, cols(b->x, ffn), cols(b->z, ffn), cols(b->y, ffn), cols(b->x, ffn),
                          cols(b->z, ffn));
}

static px_targets targets_of(const bench *b) { return (px_targets){b->ids, b->ids, HEAD_ROWS}; }
static px_mat head_rows(const bench *b) {
    return px_mat_of(b->x.data, b->type, HEAD_ROWS, b->shape.d);
}
static void head_forward(bench *b) {
    px_op_head(b->s, b->logp, b->lse, (px_mat){0}, head_rows(b), b->head, targets_of(b));
}
static void head_train(bench *b) {
    const px_mat ew = px_mat_of(b->f32, PX_F32, HEAD_ROWS, b->shape.d);
    px_op_head(b->s, b->logp, b->lse, ew, head_rows(b), b->head, targets_of(b));
    px_op_head_backward(b->s, px_mat_of(b->y.data, b->type, HEAD_ROWS, b->shape.d), b->rms, ew,
                        b->head, targets_of(b));
}
static void head_grad(bench *b) {
    px_op_head_backward_weight(b->s, b->grad, b->rms, b->lse, head_rows(b), b->head, targets_of(b));
}

/* --- set-up --- */

static void fill(px_mat m) {
    for (int64_t i = 0; i < m.rows * m.cols; i++) {
        const float value = (float)(i % 251) / 500 - 0.25f;
        if (m.type == PX_F32)
            ((float *)m.data)[i] = value;
        else
            ((uint16_t *)m.data)[i] = px_bf16_from(value);
    }
}

static px_err *bench_weights(bench *b) {
    const px_shape *s = &b->shape;
    const int64_t most = PX_MAX(PX_MAX(2 * s->ffn * s->d, b->qkv * s->d), VOCABULARY * s->d);
    char *source = malloc((size_t)most * px_type_size(b->type));
    px_err *err = NULL;
    if (!source) PX_NO_MEMORY();
    fill(px_mat_of(source, b->type, 1, most));
    double weights = 0;
    const double start = cpu_s();
    for (int i = 0; i < 4; i++)
        PX_PASS_TO(done,
                   px_weight_new(b->s, px_mat_of(source, b->type, out_of(b, i), in_of(b, i)),
                                 b->type, PX_PACK_FORWARD | PX_PACK_BACKWARD, &b->weights[i]));
    for (int i = 0; i < 4; i++) weights += (double)(out_of(b, i) * in_of(b, i));
    b->pack = weights / PX_MAX(cpu_s() - start, 1e-9);
    err = px_weight_new(b->s, px_mat_of(source, b->type, VOCABULARY, s->d), b->type, PX_PACK_ROWS,
                        &b->head);
done:
    free(source);
    return err;
}

static px_err *bench_open(bench *b, const px_shape *shape, px_type type) {
    *b = (bench){.shape = *shape, .type = type, .rows = shape->d > 1024 ? 128 : 512};
    b->q = shape->n_heads * shape->head_dim;
    b->kv = shape->n_kv_heads * shape->head_dim;
    b->qkv = b->q + 2 * b->kv;
    b->wide = PX_MAX(PX_MAX(2 * shape->ffn, b->qkv), PX_MAX(shape->d, b->q)) + 64;
    PX_PASS(px_stream_open("cpu", 1, &b->s));
    PX_PASS(px_arena_new((size_t)1 << 20, &b->arena));
    px_mat *const mats[] = {&b->x, &b->y, &b->z};
    const size_t one = (size_t)(b->rows * b->wide);
    const size_t grad = (size_t)(PX_MAX(2 * shape->ffn, VOCABULARY) * b->wide);
    for (int i = 0; i < 3; i++)
        *mats[i] =
            px_mat_of(px_arena_take(b->arena, one, px_type_size(type)), type, b->rows, b->wide);
    b->f32 = px_take(b->arena, float, PX_MAX(one, 6 * RANK * (size_t)b->rows));
    b->grad = px_take_raw(b->arena, float, grad); /* zero pages until touched */
    b->rms = px_take(b->arena, float, b->rows);
    b->lse = px_take(b->arena, float, b->rows, shape->n_heads);
    b->logp = px_take(b->arena, double, b->rows);
    b->ids = px_take(b->arena, int32_t, b->rows);
    b->keys = px_take(b->arena, uint64_t, b->rows);
    b->rope = px_take(b->arena, float, b->rows, shape->head_dim);
    PX_PASS(px_arena_ok(b->arena));
    for (int i = 0; i < 3; i++) fill(*mats[i]);
    for (int64_t i = 0; i < b->rows; i++) {
        b->ids[i] = (int32_t)i;
        b->keys[i] = (uint64_t)i;
        b->rms[i] = 1;
    }
    /* A prompt and three answers. */
    for (int32_t i = 0, n = (int32_t)b->rows / 4; i < 4; i++)
        b->segments[i] = (px_segment){i * n, (i + 1) * n, i ? 0 : -1};
    return bench_weights(b);
}

static void bench_close(bench *b) {
    for (int i = 0; i < 4; i++)
        if (b->weights[i]) px_weight_free(b->weights[i]);
    if (b->head) px_weight_free(b->head);
    px_stream_close(b->s);
    px_arena_free(b->arena);
}

static px_err *measure_width(const char *like, px_type type, px_rates *rates) {
    px_shape shape;
    bench b;
    PX_PASS(px_shape_like(like, &shape));
    px_err *err = bench_open(&b, &shape, type);
    if (!err) {
        const double rows = (double)b.rows, quarter = rows / 4, d = (double)shape.d;
        double weights = 0, adapters = 0;
        for (int i = 0; i < 4; i++) {
            weights += (double)(out_of(&b, i) * in_of(&b, i));
            adapters += RANK * (double)(sharing[i] * in_of(&b, i) + out_of(&b, i));
        }
        const double linear = 2 * weights * rows, lora = 2 * adapters * rows;
        const double visible = 4 * quarter * (quarter + 1) / 2 + 3 * quarter * quarter;
        const double pairs = visible * (double)b.q, head = (double)VOCABULARY * d * HEAD_ROWS;
        const double rest = rows * (double)(shape.d + shape.ffn);
        px_rate rate = {.d = d, .f32 = type == PX_F32};
        snprintf(rate.like, sizeof rate.like, "%s", like);
        rate.pack = b.pack;
        rate.forward = linear / best_s(&b, linear_forward);
        rate.backward = linear / best_s(&b, linear_backward);
        rate.weight_grad = linear / best_s(&b, weight_grad);
        rate.lora_forward = lora / best_s(&b, lora_forward);
        rate.lora_backward = 2 * lora / best_s(&b, lora_backward);
        rate.attention_forward = 4 * pairs / best_s(&b, attention_forward);
        rate.attention_backward = 10 * pairs / best_s(&b, attention_backward);
        rate.head_forward = 2 * head / best_s(&b, head_forward);
        rate.head_train = 4 * head / best_s(&b, head_train);
        rate.head_grad = 4 * head / best_s(&b, head_grad);
        rate.rest_forward = rest / best_s(&b, rest_forward);
        rate.rest_backward = rest / best_s(&b, rest_backward);
        err = px_stream_ok(b.s);
        if (!err && rates->n_rates < PX_RATES_MAX) rates->rates[rates->n_rates++] = rate;
    }
    bench_close(&b);
    return err;
}

/* Products are compiled once for each number of rows that is left over, and kept: what that takes
 * in the course of a long run. */
static px_err *measure_compiled(px_rates *rates) {
    enum { LEFT_OVER = 64, LEFT_OVER_GRAD = 32 };
    px_shape shape;
    bench b;
    PX_PASS(px_shape_like("tiny", &shape));
    px_err *err = bench_open(&b, &shape, PX_BF16);
    if (!err) {
        const int64_t rows = b.rows;
        linear_forward(&b);
        linear_backward(&b);
        weight_grad(&b);
        const double before = resident();
        for (int64_t r = 1; r < LEFT_OVER; r++) {
            b.x.rows = b.y.rows = r;
            linear_forward(&b);
            linear_backward(&b);
        }
        const double both = resident();
        for (int64_t r = LEFT_OVER_GRAD; r < rows; r += LEFT_OVER_GRAD) {
            b.x.rows = b.y.rows = r;
            weight_grad(&b);
        }
        rates->compiled = PX_MAX(both - before, 1.0);
        rates->compiled_full = PX_MAX(resident() - both, 1.0);
        err = px_stream_ok(b.s);
    }
    bench_close(&b);
    return err;
}

/* --- what does not depend on a model --- */

typedef struct {
    px_stream *s;
    float *p, *m, *v, *g;
    px_exact exact;
} vectors;

static void time_vectors(vectors *v, px_rates *rates) {
    const px_adamw adamw = {
        .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1, .grad_scale = 1};
    double best[3] = {INFINITY, INFINITY, INFINITY};
    for (int i = 0; i < REPEATS + 1; i++) {
        size_t where = 0;
        double at[4] = {cpu_s()};
        px_op_adamw(v->s, v->p, v->m, v->v, v->g, VECTOR, &adamw);
        at[1] = cpu_s();
        for (size_t k = 0; k < VECTOR; k++) v->g[k] = 0;
        px_exact_add(&v->exact, v->g, &where);
        at[2] = cpu_s();
        px_exact_get(&v->exact, v->g);
        px_exact_clear(&v->exact);
        px_op_sum_squares(v->s, v->g, VECTOR);
        at[3] = cpu_s();
        for (int k = 0; k < 3; k++) best[k] = PX_MIN(best[k], at[k + 1] - at[k]);
    }
    rates->adamw = VECTOR / PX_MAX(best[0], 1e-9);
    rates->exact = VECTOR / PX_MAX(best[1], 1e-9);
    rates->optimizer_rest = VECTOR / PX_MAX(best[2], 1e-9);
}

static px_err *measure_vectors(px_rates *rates) {
    px_arena *arena = NULL;
    px_digest digest;
    vectors v = {0};
    px_err *err = NULL;
    PX_PASS_TO(done, px_arena_new(1 << 16, &arena));
    PX_PASS_TO(done, px_stream_open("cpu", 1, &v.s));
    PX_PASS_TO(done, px_exact_new(VECTOR, &v.exact));
    float **const all[] = {&v.p, &v.m, &v.v, &v.g};
    for (int i = 0; i < 4; i++) *all[i] = px_take(arena, float, VECTOR);
    PX_PASS_TO(done, px_arena_ok(arena));
    time_vectors(&v, rates);
    const double start = cpu_s();
    PX_PASS_TO(done, px_sha_bytes(v.p, VECTOR * sizeof *v.p, &digest));
    rates->hash = VECTOR * sizeof *v.p / PX_MAX(cpu_s() - start, 1e-9);
done:
    px_exact_free(&v.exact);
    px_stream_close(v.s);
    px_arena_free(arena);
    return err;
}

static px_err *measure_disk(const char *dir, px_rates *rates) {
    enum { BYTES = 16 << 20 };
    char *path = NULL, *data = calloc(1, BYTES);
    px_err *err = NULL;
    if (!data || asprintf(&path, "%s/.prismx-plan-%ld", dir, (long)getpid()) < 0) {
        free(data);
        PX_NO_MEMORY();
    }
    const double start = px_now_s();
    err = px_file_write(path, data, BYTES);
    rates->disk = BYTES / PX_MAX(px_now_s() - start, 1e-9);
    unlink(path);
    free(path);
    free(data);
    return err;
}

static double touch_s(volatile char *data, size_t begin, size_t end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const double start = cpu_s();
    for (size_t i = begin; i < end; i += page) data[i] = 1;
    return PX_MAX(cpu_s() - start, 1e-9);
}

/* A page's first touch is a fault and its zeros, once a run, in every array of a size to matter.
 * Little memory comes from what others just gave back; much of it a virtual machine may first have
 * to ask of its host, many times slower. */
static px_err *measure_touch(px_rates *rates) {
    px_machine machine;
    px_machine_read("", &machine);
    const double room = (double)px_machine_room(&machine) / 4;
    const size_t first = (size_t)PX_TOUCH_FIRST;
    const size_t bytes = first + (size_t)PX_MAX(PX_MIN(room, 0x1p31), 0x1p26);
    char *data = px_large_new(bytes, 1);
    if (!data) PX_NO_MEMORY();
    rates->touch = PX_TOUCH_FIRST / touch_s(data, 0, first);
    rates->touch_more = (double)(bytes - first) / touch_s(data, first, bytes);
    px_large_free(data);
    return NULL;
}

/* Speed-up of all cores in one product, by the wall's time: beside others' processes it would say
 * nothing, and a usual value stands in. */
static px_err *measure_cores(px_rates *rates) {
    enum { ROWS = 1024, SIDE = 768 };
    rates->efficiency = 0.95;
    if (rates->load > 0.5 * rates->cores) return NULL;
    double best[2] = {INFINITY, INFINITY};
    for (int way = 0; way < 2; way++) {
        px_stream *s = NULL;
        px_weight *w = NULL;
        px_err *err = NULL;
        float *x = calloc(2 * ROWS * SIDE, sizeof *x), *y = x ? x + ROWS * SIDE : NULL;
        if (!x) PX_NO_MEMORY();
        err = px_stream_open("cpu", way ? rates->cores : 1, &s);
        if (!err)
            err = px_weight_new(s, px_mat_of(x, PX_F32, SIDE, SIDE), PX_F32, PX_PACK_FORWARD, &w);
        for (int i = 0; !err && i < 8; i++) {
            const double start = px_now_s();
            px_op_linear(s, px_mat_of(y, PX_F32, ROWS, SIDE), px_mat_of(x, PX_F32, ROWS, SIDE), w,
                         false);
            best[way] = PX_MIN(best[way], px_now_s() - start);
        }
        if (w) px_weight_free(w);
        px_stream_close(s);
        free(x);
        PX_PASS(err);
    }
    rates->efficiency = PX_MAX(PX_MIN(best[0] / best[1] / rates->cores, 1.0), 0.2);
    return NULL;
}

static px_err *measure_alone(const char *const *like, int n_like, px_rates *rates) {
    const double started = cpu_s();
    double load[1] = {0};
    rates->n_rates = 0;
    rates->measured = true;
    if (getloadavg(load, 1) == 1) rates->load = load[0];
    PX_PASS(measure_width("tiny", PX_BF16, rates)); /* compiles and loads what every run does */
    PX_PASS(measure_program(&rates->program_bytes));
    PX_PASS(measure_compiled(rates));
    rates->n_rates = 0;
    rates->start_s = PX_MAX(started, 0.01);
    for (int i = 0; i < n_like; i++)
        for (int f32 = 0; f32 < 2; f32++) {
            px_info("calibrate: %s in %s", like[i], f32 ? "f32" : "bf16");
            PX_PASS(measure_width(like[i], f32 ? PX_F32 : PX_BF16, rates));
        }
    PX_PASS(measure_vectors(rates));
    PX_PASS(measure_touch(rates));
    PX_PASS(measure_cores(rates));
    return measure_disk(".", rates);
}

/* --- several ranks --- */

static double best_sum_all(const px_ranks *ranks, int64_t *values, size_t n, int rounds) {
    double best = INFINITY;
    for (int i = 0; i < rounds; i++) {
        px_barrier_all(ranks);
        double took[1] = {px_now_s()};
        px_sum_i64_all(ranks, values, n);
        took[0] = px_now_s() - took[0];
        px_max_f64_all(ranks, took, 1);
        best = PX_MIN(best, took[0]);
    }
    return best;
}

static px_err *measure_ranks_all(const px_ranks *ranks, px_rates *rates) {
    enum { LARGE = 1 << 20 };
    px_rates dropped = {0};
    double start[1] = {launch_s()}, bytes[1] = {0};
    px_err *err = measure_width("tiny", PX_BF16, &dropped);
    if (!err) err = measure_program(bytes);
    int64_t *values = calloc(LARGE, sizeof *values);
    if (!err && !values) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if ((err = px_agree_all(ranks, err))) {
        free(values);
        return err;
    }
    const double latency = best_sum_all(ranks, values, 1, 50);
    const double large = best_sum_all(ranks, values, LARGE, 8);
    bytes[0] = PX_MAX(resident() - LARGE * sizeof *values, bytes[0]);
    px_max_f64_all(ranks, bytes, 1);
    px_max_f64_all(ranks, start, 1);
    free(values);
    const px_reduce_rate got = {.ranks = ranks->size,
                                .latency_s = PX_MAX(latency, 1e-9),
                                .bytes_per_s = LARGE * sizeof *values / PX_MAX(large, 1e-9),
                                .program_bytes = bytes[0],
                                .start_s = PX_MAX(start[0], 1e-3)};
    int at = 0;
    while (at < rates->n_reduce && rates->reduce[at].ranks != ranks->size) at++;
    if (at == PX_RATES_MAX)
        PX_FAIL(PX_RUN_FAILED, "rates of %d numbers of ranks are kept already", at);
    rates->reduce[at] = got;
    rates->n_reduce = PX_MAX(rates->n_reduce, at + 1);
    return NULL;
}

px_err *px_calibrate_all(const px_ranks *ranks, const char *const *like, int n_like,
                         px_rates *rates) {
    if (ranks->size > 1) return measure_ranks_all(ranks, rates);
    return measure_alone(like, n_like, rates);
}
