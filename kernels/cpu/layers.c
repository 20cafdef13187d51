/* layers.c - norm, position, gate: a thread takes whole rows, but where a sum runs over rows it
 * takes columns and goes through the rows in order. */
#include "cpu.h"
#include "vec.h"

enum { COLUMNS = 64 }; /* a thread's piece where the sum runs over rows: two cache lines of bf16 */

/* Σ (x + delta)², the sum written rounded; four sums side by side hide the latency of the fma. */
static float add_and_square(void *sum, px_type sum_type, const void *x, px_type x_type,
                            const void *delta, px_type delta_type, int64_t d) {
    v16 squares[4] = {v16_set(0), v16_set(0), v16_set(0), v16_set(0)};
    for (int64_t i = 0; i < d; i += 64)
        for (int n = 0; n < 4; n++) {
            const int64_t j = i + 16 * n;
            if (j >= d) break;
            v16 a = v16_part(x, x_type, j, d);
            if (delta) {
                a = v16_add(a, v16_part(delta, delta_type, j, d));
                v16_put_part(sum, sum_type, j, d, a);
                a = v16_part(sum, sum_type, j, d);
            }
            squares[n] = v16_fma(a, a, squares[n]);
        }
    return v16_sum(v16_add(v16_add(squares[0], squares[1]), v16_add(squares[2], squares[3])));
}

void cpu_rms_norm(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                  const float *w, float eps) {
    const px_mat from = delta.data ? sum : x;
    const int64_t d = x.cols;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < x.rows; t++) {
        const void *row = px_mat_row(from, t);
        const float squares =
            add_and_square(delta.data ? px_mat_row(sum, t) : NULL, sum.type, px_mat_row(x, t),
                           x.type, delta.data ? px_mat_row(delta, t) : NULL, delta.type, d);
        rms[t] = sqrtf(squares / (float)d + eps);
        const v16 inverse = v16_set(1 / rms[t]);
        for (int64_t i = 0; i < d; i += 16)
            v16_put_part(px_mat_row(y, t), y.type, i, d,
                         v16_mul(v16_mul(v16_part(row, from.type, i, d), inverse),
                                 v16_part(w, PX_F32, i, d)));
    }
}

/* dw_i = Σ_t dy_i x_i / r. */
static void norm_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x, const float *rms) {
    const int64_t d = x.cols;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t first = 0; first < d; first += COLUMNS)
        for (int64_t i = first; i < PX_MIN(first + COLUMNS, d); i += 16) {
            v16 sum = v16_set(0);
            for (int64_t t = 0; t < x.rows; t++)
                sum = v16_fma(
                    v16_mul(v16_part(px_mat_row(dy, t), dy.type, i, d), v16_set(1 / rms[t])),
                    v16_part(px_mat_row(x, t), x.type, i, d), sum);
            v16_put_part(dw, PX_F32, i, d, v16_add(v16_part(dw, PX_F32, i, d), sum));
        }
}

/* y_i = w_i x_i / r: dx_i = w_i dy_i / r - x_i / (d r³) Σ_j w_j dy_j x_j. */
void cpu_rms_norm_backward(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy, px_mat x,
                           const float *rms, const float *w) {
    const int64_t d = x.cols;
    if (dw) norm_backward_weight(s, dw, dy, x, rms);
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < x.rows; t++) {
        const void *row_x = px_mat_row(x, t), *row_dy = px_mat_row(dy, t);
        v16 dots[4] = {v16_set(0), v16_set(0), v16_set(0), v16_set(0)};
        for (int64_t i = 0; i < d; i += 64)
            for (int n = 0; n < 4; n++) {
                const int64_t j = i + 16 * n;
                if (j >= d) break;
                dots[n] =
                    v16_fma(v16_mul(v16_part(w, PX_F32, j, d), v16_part(row_dy, dy.type, j, d)),
                            v16_part(row_x, x.type, j, d), dots[n]);
            }
        const float dot = v16_sum(v16_add(v16_add(dots[0], dots[1]), v16_add(dots[2], dots[3])));
        const float r = 1 / rms[t];
        const v16 inverse = v16_set(r), along = v16_set(-dot * r * r * r / (float)d);
        for (int64_t i = 0; i < d; i += 16) {
            v16 a = v16_mul(v16_mul(v16_part(w, PX_F32, i, d), v16_part(row_dy, dy.type, i, d)),
                            inverse);
            a = v16_fma(v16_part(row_x, x.type, i, d), along, a);
            if (dres.data) a = v16_add(a, v16_part(px_mat_row(dres, t), dres.type, i, d));
            v16_put_part(px_mat_row(dx, t), dx.type, i, d, a);
        }
    }
}

void cpu_rope(px_stream *s, px_mat x, const int32_t *positions, const float *table, int64_t hd,
              int direction) {
    const int64_t half = hd / 2;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t first = 0; first < half; first += COLUMNS) {
            float cosines[COLUMNS], sines[COLUMNS]; /* of one row, for all its heads */
            const int64_t n = PX_MIN((int64_t)COLUMNS, half - first);
            const float *turn = table + (positions[t] * half + first) * 2;
            for (int64_t i = 0; i < n; i++) {
                cosines[i] = turn[2 * i];
                sines[i] = (float)direction * turn[2 * i + 1];
            }
            for (int64_t head = 0; head < x.cols; head += hd)
                for (int64_t i = 0; i < n; i += 16) {
                    void *low =
                        (char *)px_mat_row(x, t) + (size_t)(head + first) * px_type_size(x.type);
                    void *high = (char *)low + (size_t)half * px_type_size(x.type);
                    const v16 a = v16_part(low, x.type, i, n), b = v16_part(high, x.type, i, n);
                    const v16 c = v16_part(cosines, PX_F32, i, n);
                    const v16 d = v16_part(sines, PX_F32, i, n);
                    v16_put_part(low, x.type, i, n, v16_sub(v16_mul(a, c), v16_mul(b, d)));
                    v16_put_part(high, x.type, i, n, v16_fma(b, c, v16_mul(a, d)));
                }
        }
}

/* 1 / (1 + e^-x). e^87 keeps its inverse above zero's neighbourhood; x times it is 0 for all
 * purposes. */
static inline v16 sigmoid(v16 x) {
    const v16 least = v16_min(v16_set(87.0f), v16_sub(v16_set(0), x));
    return v16_inverse(v16_add(v16_set(1), v16_exp(least)));
}

/* Inlined for each type. */
static inline __attribute__((always_inline)) void
swiglu_row(px_type type, void *y, const void *gate, const void *up, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        const v16 g = v16_part(gate, type, i, n), u = v16_part(up, type, i, n);
        v16_put_part(y, type, i, n, v16_mul(v16_mul(g, sigmoid(g)), u));
    }
}

void cpu_swiglu(px_stream *s, px_mat y, px_mat gate, px_mat up) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < y.rows; t++) {
        void *row = px_mat_row(y, t);
        const void *g = px_mat_row(gate, t), *u = px_mat_row(up, t);
        if (y.type == PX_BF16)
            swiglu_row(PX_BF16, row, g, u, y.cols);
        else
            swiglu_row(PX_F32, row, g, u, y.cols);
    }
}

typedef struct {
    void *dgate, *dup;
    const void *dy, *gate, *up;
} gate_rows;

/* silu'(g) = σ (1 + g (1 - σ)). */
static inline __attribute__((always_inline)) void swiglu_back_row(px_type type, gate_rows r,
                                                                  int64_t n) {
    const v16 one = v16_set(1);
    for (int64_t i = 0; i < n; i += 16) {
        const v16 g = v16_part(r.gate, type, i, n), u = v16_part(r.up, type, i, n);
        const v16 d = v16_part(r.dy, type, i, n), sigma = sigmoid(g);
        const v16 slope = v16_mul(sigma, v16_fma(g, v16_sub(one, sigma), one));
        v16_put_part(r.dgate, type, i, n, v16_mul(v16_mul(d, u), slope));
        v16_put_part(r.dup, type, i, n, v16_mul(v16_mul(d, g), sigma));
    }
}

void cpu_swiglu_backward(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                         px_mat up) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t t = 0; t < dy.rows; t++) {
        const gate_rows r = {px_mat_row(dgate, t), px_mat_row(dup, t), px_mat_row(dy, t),
                             px_mat_row(gate, t), px_mat_row(up, t)};
        if (dy.type == PX_BF16)
            swiglu_back_row(PX_BF16, r, dy.cols);
        else
            swiglu_back_row(PX_F32, r, dy.cols);
    }
}
