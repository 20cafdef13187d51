/* bench_ops.c - speed of each operation at the shapes of one layer of SmolLM2-135M: d 576, q|k|v
 * 960, gate|up 3072, T rows, adapters of rank 8 on all seven, dropout 0.05. Prints milliseconds,
 * GFLOP/s or GB/s (each operand once), and the share of the time of the linear layers. usage:
 * bench_ops [threads [rows [f32]]] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ops.h"

enum { D = 576, QKV = 960, Q = 576, KV = 192, FFN = 1536, HD = 64, RANK = 8, REPEATS = 15 };

typedef struct {
    px_stream *s;
    px_type type;
    int64_t T;
    px_mat x, y, mid, att, qkv, dqkv, gate_up, dgate_up, act,
        dact; /* d, d, d, d, 960, 3072, 1536 */
    px_weight *w_qkv, *w_o, *w_gate_up, *w_down;
    float *a, *b, *u, *du, *da, *rms, *norm, *table, *p, *m, *v;
    int32_t *ids;
    uint64_t *keys;
} bench;

static uint32_t lcg;
static float uniform(void) {
    lcg = lcg * 1664525u + 1013904223u;
    return (float)(lcg >> 8) / (1 << 23) - 1;
}
static void *take(size_t bytes) {
    void *data = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!data) perror("bench_ops");
    return data;
}
static float *floats(int64_t n) {
    float *data = take((size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++) data[i] = uniform();
    return data;
}
static px_mat matrix(const bench *b, int64_t cols) {
    px_mat m = px_mat_of(take((size_t)(b->T * cols) * px_type_size(b->type)), b->type, b->T, cols);
    for (int64_t i = 0; m.data && i < b->T * cols; i++) {
        union {
            float f;
            uint32_t u;
        } bits = {uniform()};
        if (b->type == PX_F32)
            ((float *)m.data)[i] = bits.f;
        else
            ((uint16_t *)m.data)[i] = (uint16_t)(bits.u >> 16);
    }
    return m;
}
static px_mat view(px_mat m, int64_t first, int64_t cols) {
    m.data = (char *)m.data + (size_t)first * px_type_size(m.type);
    m.cols = cols;
    return m;
}
static px_weight *weight(const bench *b, int64_t out, int64_t in) {
    float *values = floats(out * in);
    px_weight *w = NULL;
    px_err *err = px_weight_new(b->s, px_mat_of(values, PX_F32, out, in), b->type,
                                PX_PACK_FORWARD | PX_PACK_BACKWARD, &w);
    if (err) fprintf(stderr, "bench_ops: %s\n", px_err_text(err));
    px_err_free(err);
    free(values);
    return w;
}

/* --- what is timed --- */

static void linear_qkv(bench *b) { px_op_linear(b->s, b->qkv, b->x, b->w_qkv, false); }
static void linear_o(bench *b) { px_op_linear(b->s, b->y, b->att, b->w_o, false); }
static void linear_gate_up(bench *b) { px_op_linear(b->s, b->gate_up, b->x, b->w_gate_up, false); }
static void linear_down(bench *b) { px_op_linear(b->s, b->y, b->act, b->w_down, false); }
static void back_qkv(bench *b) {
    px_op_linear_backward_input(b->s, b->y, b->dqkv, b->w_qkv, false);
}
static void back_o(bench *b) { px_op_linear_backward_input(b->s, b->att, b->y, b->w_o, false); }
static void back_gate_up(bench *b) {
    px_op_linear_backward_input(b->s, b->y, b->dgate_up, b->w_gate_up, false);
}
static void back_down(bench *b) {
    px_op_linear_backward_input(b->s, b->dact, b->y, b->w_down, false);
}
static px_dropout drop_of(const bench *b) { return (px_dropout){0.05, 7, 1, b->keys}; }
static px_lora_part part(int64_t R, int64_t n) { return (px_lora_part){R, n * RANK, RANK, 2}; }
static void down_24(bench *b) { px_op_lora_down(b->s, b->u, b->x, b->a, 3 * RANK, drop_of(b)); }
static void down_16(bench *b) { px_op_lora_down(b->s, b->u, b->x, b->a, 2 * RANK, drop_of(b)); }
static void down_8(bench *b) { px_op_lora_down(b->s, b->u, b->att, b->a, RANK, drop_of(b)); }
static void down_8_wide(bench *b) { px_op_lora_down(b->s, b->u, b->act, b->a, RANK, drop_of(b)); }
static void up_qkv(bench *b) {
    px_op_lora_up(b->s, view(b->qkv, 0, Q), b->u, b->b, part(24, 0));
    px_op_lora_up(b->s, view(b->qkv, Q, KV), b->u, b->b, part(24, 1));
    px_op_lora_up(b->s, view(b->qkv, Q + KV, KV), b->u, b->b, part(24, 2));
}
static void up_d(bench *b) { px_op_lora_up(b->s, b->y, b->u, b->b, part(8, 0)); }
static void up_gate_up(bench *b) {
    px_op_lora_up(b->s, view(b->gate_up, 0, FFN), b->u, b->b, part(16, 0));
    px_op_lora_up(b->s, view(b->gate_up, FFN, FFN), b->u, b->b, part(16, 1));
}
static void up_back(bench *b, px_mat dy, int64_t R, int64_t n) {
    px_op_lora_up_backward(b->s, b->du, b->da, dy, b->u, b->b, part(R, n));
}
static void up_back_qkv(bench *b) {
    up_back(b, view(b->dqkv, 0, Q), 24, 0);
    up_back(b, view(b->dqkv, Q, KV), 24, 1);
    up_back(b, view(b->dqkv, Q + KV, KV), 24, 2);
}
static void up_back_d(bench *b) { up_back(b, b->y, 8, 0); }
static void up_back_gate_up(bench *b) {
    up_back(b, view(b->dgate_up, 0, FFN), 16, 0);
    up_back(b, view(b->dgate_up, FFN, FFN), 16, 1);
}
static void down_back(bench *b, px_mat dx, px_mat x, int64_t R) {
    px_op_lora_down_backward(b->s, dx, b->da, b->du, x, b->a, R, drop_of(b));
}
static void down_back_24(bench *b) { down_back(b, b->y, b->x, 24); }
static void down_back_16(bench *b) { down_back(b, b->y, b->x, 16); }
static void down_back_8(bench *b) { down_back(b, b->y, b->att, 8); }
static void down_back_8_wide(bench *b) { down_back(b, b->dact, b->act, 8); }
static void norm(bench *b) {
    px_op_rms_norm(b->s, b->y, b->mid, b->rms, b->x, b->att, b->norm, 1e-5f);
}
static void norm_again(bench *b) {
    px_op_rms_norm(b->s, b->y, (px_mat){0}, b->rms, b->x, (px_mat){0}, b->norm, 1e-5f);
}
static void norm_back(bench *b) {
    px_op_rms_norm_backward(b->s, b->y, b->y, NULL, b->att, b->x, b->rms, b->norm);
}
static void rope(bench *b) { px_op_rope(b->s, view(b->qkv, 0, Q + KV), b->ids, b->table, HD, 1); }
static void gate(bench *b) {
    px_op_swiglu(b->s, b->act, view(b->gate_up, 0, FFN), view(b->gate_up, FFN, FFN));
}
static void gate_back(bench *b) {
    px_op_swiglu_backward(b->s, view(b->dgate_up, 0, FFN), view(b->dgate_up, FFN, FFN), b->dact,
                          view(b->gate_up, 0, FFN), view(b->gate_up, FFN, FFN));
}
static void adamw(bench *b) {
    const px_adamw settings = {1e-9, 0.9, 0.999, 1e-8, 0, 10, 1};
    px_op_adamw(b->s, b->p, b->m, b->v, b->da, 80000, &settings);
}

/* flops or bytes a row; count: how often a training step does it in a layer. */
static const struct {
    const char *name;
    void (*run)(bench *b);
    double flops, values;
    int count;
    bool linear;
} rows[] = {
    {"linear qkv", linear_qkv, 2.0 * D *QKV, 0, 1, true},
    {"linear o", linear_o, 2.0 * D *D, 0, 1, true},
    {"linear gate|up", linear_gate_up, 2.0 * D * 2 * FFN, 0, 1, true},
    {"linear down", linear_down, 2.0 * D *FFN, 0, 1, true},
    {"linear backward qkv", back_qkv, 2.0 * D *QKV, 0, 1, true},
    {"linear backward o", back_o, 2.0 * D *D, 0, 1, true},
    {"linear backward gate|up", back_gate_up, 2.0 * D * 2 * FFN, 0, 1, true},
    {"linear backward down", back_down, 2.0 * D *FFN, 0, 1, true},
    {"lora down qkv", down_24, 2.0 * D * 24, 0, 1, false},
    {"lora down o", down_8, 2.0 * D * 8, 0, 1, false},
    {"lora down gate|up", down_16, 2.0 * D * 16, 0, 1, false},
    {"lora down down", down_8_wide, 2.0 * FFN * 8, 0, 1, false},
    {"lora up qkv", up_qkv, 2.0 * QKV * 8, 0, 1, false},
    {"lora up o, down", up_d, 2.0 * D * 8, 0, 2, false},
    {"lora up gate|up", up_gate_up, 2.0 * 2 * FFN * 8, 0, 1, false},
    {"lora up backward qkv", up_back_qkv, 4.0 * QKV * 8, 0, 1, false},
    {"lora up backward o, down", up_back_d, 4.0 * D * 8, 0, 2, false},
    {"lora up backward gate|up", up_back_gate_up, 4.0 * 2 * FFN * 8, 0, 1, false},
    {"lora down backward qkv", down_back_24, 4.0 * D * 24, 0, 1, false},
    {"lora down backward o", down_back_8, 4.0 * D * 8, 0, 1, false},
    {"lora down backward gate|up", down_back_16, 4.0 * D * 16, 0, 1, false},
    {"lora down backward down", down_back_8_wide, 4.0 * FFN * 8, 0, 1, false},
    {"rms_norm + add", norm, 0, 4.0 * D, 2, false},
    {"rms_norm again", norm_again, 0, 2.0 * D, 2, false},
    {"rms_norm backward", norm_back, 0, 4.0 * D, 2, false},
    {"rope", rope, 0, 2.0 * (Q + KV), 2, false},
    {"swiglu", gate, 0, 3.0 * FFN, 2, false},
    {"swiglu backward", gate_back, 0, 5.0 * FFN, 1, false},
    {"adamw, 80,000", adamw, 0, 0, 0, false},
};

/* One thread: the processor's time, which other programs on the machine disturb less. */
static double seconds(bool alone) {
    struct timespec now;
    clock_gettime(alone ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double best_of(bench *b, bool alone, void (*run)(bench *b)) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double start = seconds(alone);
        run(b);
        const double took = seconds(alone) - start;
        if (took < best) best = took;
    }
    return best;
}

static void fill(bench *b) {
    b->x = matrix(b, D), b->y = matrix(b, D), b->mid = matrix(b, D), b->att = matrix(b, D);
    b->qkv = matrix(b, QKV), b->dqkv = matrix(b, QKV);
    b->gate_up = matrix(b, 2 * FFN), b->dgate_up = matrix(b, 2 * FFN);
    b->act = matrix(b, FFN), b->dact = matrix(b, FFN);
    b->w_qkv = weight(b, QKV, D), b->w_o = weight(b, D, D);
    b->w_gate_up = weight(b, 2 * FFN, D), b->w_down = weight(b, D, FFN);
    b->a = floats(24 * FFN), b->b = floats(24 * FFN), b->da = floats(80000);
    b->u = floats(b->T * 24), b->du = floats(b->T * 24), b->rms = floats(b->T);
    b->norm = floats(D), b->table = floats(b->T * HD), b->p = floats(80000), b->m = floats(80000);
    b->v = floats(80000);
    b->ids = take((size_t)b->T * sizeof *b->ids), b->keys = take((size_t)b->T * sizeof *b->keys);
    for (int64_t t = 0; t < b->T; t++) b->ids[t] = (int32_t)t, b->keys[t] = (uint64_t)t;
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    bench b = {.T = argc > 2 ? strtol(argv[2], NULL, 10) : 2048};
    b.type = argc > 3 ? PX_F32 : PX_BF16;
    px_err *err = px_stream_open("cpu", threads, &b.s);
    if (err) {
        fprintf(stderr, "bench_ops: %s\n", px_err_text(err));
        px_err_free(err);
        return 1;
    }
    fill(&b);
    double linear = 0, rest = 0;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        const double took = best_of(&b, threads == 1, rows[i].run), T = (double)b.T;
        const double bytes = rows[i].values * T * (double)px_type_size(b.type);
        printf("%-28s %8.3f ms  x%d", rows[i].name, took * 1e3, rows[i].count);
        if (rows[i].flops > 0) printf("  %6.0f GFLOP/s", rows[i].flops * T / took * 1e-9);
        if (bytes > 0) printf("  %6.1f GB/s", bytes / took * 1e-9);
        printf("\n");
        *(rows[i].linear ? &linear : &rest) += took * rows[i].count;
    }
    printf("a layer: linear %.2f ms, the rest of this list %.2f ms, %.0f%%\n", linear * 1e3,
           rest * 1e3, 100 * rest / linear);
    err = px_stream_ok(b.s);
    if (err) fprintf(stderr, "bench_ops: %s\n", px_err_text(err));
    px_err_free(err);
    return 0;
}
