/* bench_attention.c - speed of tree attention on a slot shaped like PRISM trees in SmolLM2-135M:
 * trees of 680 rows, 9 heads on 3 kv heads of 64. Operations counted: 4 (forward) and 10
 * (backward) a visible pair, head and column. usage: bench_attention [threads] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ops.h"

enum { TREES = 3, H = 9, HKV = 3, HD = 64, REPEATS = 30 };

/* Prompt, four answers; after one of them two turns of a message and two answers. */
static const px_segment tree[] = {{0, 80, -1},   {80, 180, 0},  {180, 280, 0}, {280, 370, 0},
                                  {370, 400, 3}, {400, 480, 4}, {480, 560, 4}, {560, 590, 6},
                                  {590, 635, 7}, {635, 680, 7}};
enum { SEGMENTS = sizeof tree / sizeof *tree, ROWS = 680, T = TREES * ROWS };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static px_mat random_mat(px_type type, int64_t cols) {
    px_mat m = px_mat_of(malloc((size_t)(T * cols) * px_type_size(type)), type, T, cols);
    uint32_t state = 1;
    for (int64_t i = 0; m.data && i < T * cols; i++) {
        state = state * 1664525u + 1013904223u;
        union {
            float f;
            uint32_t u;
        } bits = {(float)(state >> 8) / (1 << 23) - 1};
        if (type == PX_F32)
            ((float *)m.data)[i] = bits.f;
        else
            ((uint16_t *)m.data)[i] = (uint16_t)(bits.u >> 16);
    }
    return m;
}

/* The slot; returns its visible pairs. */
static double slot(px_segment *segments) {
    double pairs = 0;
    for (int n = 0; n < TREES * SEGMENTS; n++) {
        const int t = n / SEGMENTS;
        px_segment at = tree[n % SEGMENTS];
        at.begin += t * ROWS;
        at.end += t * ROWS;
        at.parent = at.parent < 0 ? -1 : at.parent + t * SEGMENTS;
        segments[n] = at;
        const int own = at.end - at.begin;
        pairs += own * (own + 1) / 2.0;
        for (int up = at.parent; up >= 0; up = segments[up].parent)
            pairs += (double)own * (segments[up].end - segments[up].begin);
    }
    return pairs;
}

static void run(px_stream *s, px_type type, const char *name) {
    px_segment segments[TREES * SEGMENTS];
    const double pairs = slot(segments);
    const px_attn attn = {segments, TREES * SEGMENTS, H, HKV, HD, 0.125f};
    px_mat wide[4], narrow[4];
    for (int i = 0; i < 4; i++) {
        wide[i] = random_mat(type, H * HD);
        narrow[i] = random_mat(type, HKV * HD);
    }
    float *lse = malloc(sizeof(float) * T * H);
    const px_attn_back io = {wide[0], narrow[0], narrow[1], wide[1], wide[2],
                             wide[3], narrow[2], narrow[3], lse};
    double best[2] = {1e9, 1e9};
    for (int i = 0; i < REPEATS; i++) {
        const double begin = seconds();
        px_op_attention(s, io.out, lse, io.q, io.k, io.v, &attn);
        const double middle = seconds();
        px_op_attention_backward(s, &io, &attn);
        best[0] = PX_MIN(best[0], middle - begin);
        best[1] = PX_MIN(best[1], seconds() - middle);
    }
    const double unit = 1e-9 * HD * H * pairs;
    printf("attention %s (%.1f GFLOP): forward %.2f ms, %.0f GFLOP/s; backward %.2f ms, "
           "%.0f GFLOP/s\n",
           name, 4 * unit, best[0] * 1e3, 4 * unit / best[0], best[1] * 1e3, 10 * unit / best[1]);
    for (int i = 0; i < 4; i++) free(wide[i].data), free(narrow[i].data);
    free(lse);
}

int main(int argc, char **argv) {
    px_stream *s = NULL;
    px_err *err = px_stream_open("cpu", argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2, &s);
    if (err) {
        fprintf(stderr, "%s\n", px_err_text(err));
        return 1;
    }
    run(s, PX_BF16, "bf16");
    run(s, PX_F32, "f32");
    px_stream_close(s);
    return 0;
}
