/* bench_head.c - speed of the loss head in SmolLM2-135M's shape, d 576, vocabulary 49152.
 * Operations counted: 2 a row, column and token for the logits, 2 more for the expected rows.
 * usage: bench_head [threads [rows]] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ops.h"

enum { D = 576, V = 49152, REPEATS = 3 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static px_mat random_mat(px_type type, int64_t rows, float scale) {
    px_mat m = px_mat_of(malloc((size_t)(rows * D) * px_type_size(type)), type, rows, D);
    uint32_t state = 1;
    for (int64_t i = 0; m.data && i < rows * D; i++) {
        state = state * 1664525u + 1013904223u;
        union {
            float f;
            uint32_t u;
        } bits = {scale * ((float)(state >> 8) / (1 << 23) - 1)};
        if (type == PX_F32)
            ((float *)m.data)[i] = bits.f;
        else
            ((uint16_t *)m.data)[i] = (uint16_t)(bits.u >> 16);
    }
    return m;
}

static px_err *run(px_stream *s, px_type type, const char *name, int64_t rows) {
    px_weight *w = NULL;
    px_mat source = random_mat(type, V, 0.1f), h = random_mat(type, rows, 2);
    px_mat ew = random_mat(PX_F32, rows, 0);
    int32_t *row = malloc(sizeof *row * (size_t)rows);
    double *logp = malloc(sizeof *logp * (size_t)rows);
    float *lse = malloc(sizeof *lse * (size_t)rows);
    for (int64_t n = 0; n < rows; n++) row[n] = (int32_t)n;
    px_err *err = px_weight_new(s, source, type, PX_PACK_ROWS, &w);
    for (int wanted = 0; wanted < 2 && !err; wanted++) {
        double best = 1e9;
        for (int i = 0; i < REPEATS; i++) {
            const double begin = seconds();
            px_op_head(s, logp, lse, wanted ? ew : (px_mat){0}, h, w, (px_targets){row, row, rows});
            best = PX_MIN(best, seconds() - begin);
        }
        const double work = 2e-9 * (1 + wanted) * D * V * (double)rows;
        printf("head %s%s, %d rows: %.1f ms, %.0f GFLOP/s\n", name, wanted ? " with ew" : "",
               (int)rows, best * 1e3, work / best);
    }
    px_weight_free(w);
    free(source.data), free(h.data), free(ew.data), free(row), free(logp), free(lse);
    return err;
}

int main(int argc, char **argv) {
    px_stream *s = NULL;
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    const int64_t rows = argc > 2 ? strtol(argv[2], NULL, 10) : 1400;
    px_err *err = px_stream_open("cpu", threads, &s);
    if (!err) err = run(s, PX_BF16, "bf16", rows);
    if (!err) err = run(s, PX_F32, "f32", rows);
    if (err) fprintf(stderr, "%s\n", px_err_text(err));
    px_stream_close(s);
    return err ? 1 : 0;
}
