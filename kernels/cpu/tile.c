/* tile.c - the inner product kernels and the packing. A kernel keeps 6 rows by 4 vectors of sums in
 * registers, which on Zen 4 runs at 93 % of the peak for 32 steps and at 99 % for 256. */
#include "tile.h"

#include <assert.h>

typedef struct {
    cpu_tile_out c;
    cpu_tile_left a;
    cpu_tile_right b;
    int64_t steps;
    cpu_tile_ahead ahead;
    bool add;
} kernel_job;

#if TILE_AVX512

static inline __attribute__((always_inline)) void kernel(bool pairs, int rows, int vectors,
                                                         const kernel_job *job) {
    const uint32_t *a = job->a.data, *b = job->b.data;
    const int64_t a_row = job->a.row, a_step = job->a.step, b_step = job->b.step;
    const char *ahead = job->ahead.data;
    const int64_t ahead_step = 64 * job->ahead.lines;
    __m512 sum[6][4];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[i][j] = job->add ? _mm512_loadu_ps(job->c.data + i * job->c.row + 16 * j)
                                 : _mm512_setzero_ps();
    for (int64_t k = 0; k < job->steps; k++) {
        __m512i right[4];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) right[j] = _mm512_loadu_si512(b + 16 * j);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m512i left = _mm512_set1_epi32((int)a[i * a_row]);
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sum[i][j] = pairs ? _mm512_dpbf16_ps(sum[i][j], (__m512bh)left, (__m512bh)right[j])
                                  : _mm512_fmadd_ps(_mm512_castsi512_ps(left),
                                                    _mm512_castsi512_ps(right[j]), sum[i][j]);
        }
        for (int64_t line = 0; line < ahead_step; line += 64)
            _mm_prefetch(ahead + line, _MM_HINT_T1);
        ahead += ahead_step;
        a += a_step;
        b += b_step;
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            _mm512_storeu_ps(job->c.data + i * job->c.row + 16 * j, sum[i][j]);
}

#elif TILE_AVX2

/* bf16 pairs as two products in f32, the high half first. Steps are taken STEPS at a time, for
 * which the left operand's halves are laid out as f32 once; the sums wait in c meanwhile. Then 16
 * columns at a time: 6 rows by 2 registers of sums, which leaves 4 of the 16 for the operands. */
enum { STEPS = 128 };

typedef struct {
    const float *left; /* [steps, rows, 1 or 2]: high, low half */
    const uint32_t *right;
    float *out;
    const char *ahead; /* asked of memory, so many lines a step */
    int64_t steps, right_step, out_row, lines;
    bool add;
} columns_job;

static inline __m256 high_of(__m256i units) {
    return _mm256_castsi256_ps(_mm256_and_si256(units, _mm256_set1_epi32((int)0xFFFF0000u)));
}
static inline __m256 low_of(__m256i units) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(units, 16));
}

/* One half of every pair, or f32: sums += left[i] · right. The operand is loaded anew for each
 * half: kept, it would push a sum out of its register. */
static inline __attribute__((always_inline)) void half_step(__m256 sum[6][8], int rows, int halves,
                                                            int per, const float *left,
                                                            const uint32_t *right, int which) {
    __asm__ volatile("" : "+r"(right)); /* volatile: two of these are not one */
#pragma GCC unroll 8
    for (int j = 0; j < halves; j += 2) {
        const __m256i b0 = _mm256_loadu_si256((const __m256i *)(right + 8 * j));
        const __m256i b1 = _mm256_loadu_si256((const __m256i *)(right + 8 * j + 8));
        const __m256 right0 = per == 1 ? _mm256_castsi256_ps(b0) : which ? low_of(b0) : high_of(b0);
        const __m256 right1 = per == 1 ? _mm256_castsi256_ps(b1) : which ? low_of(b1) : high_of(b1);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 value = _mm256_broadcast_ss(left + i * per + which);
            sum[i][j] = _mm256_fmadd_ps(value, right0, sum[i][j]);
            sum[i][j + 1] = _mm256_fmadd_ps(value, right1, sum[i][j + 1]);
        }
    }
}

static inline __attribute__((always_inline)) void columns(bool pairs, int rows, int halves,
                                                          const columns_job *job) {
    const int per = pairs ? 2 : 1;
    const float *a = job->left;
    const uint32_t *b = job->right;
    const char *ahead = job->ahead;
    __m256 sum[6][8];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < halves; j++)
            sum[i][j] = job->add ? _mm256_loadu_ps(job->out + i * job->out_row + 8 * j)
                                 : _mm256_setzero_ps();
    for (int64_t k = 0; k < job->steps; k++) {
        half_step(sum, rows, halves, per, a, b, 0);
        if (pairs) half_step(sum, rows, halves, per, a, b, 1);
        for (int64_t line = 0; line < job->lines; line++, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T1);
        a += rows * per;
        b += job->right_step;
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < halves; j++)
            _mm256_storeu_ps(job->out + i * job->out_row + 8 * j, sum[i][j]);
}

/* Steps [first, first + n) of the left operand as f32, step by step. */
static inline void lay_out(bool pairs, int rows, const kernel_job *job, int64_t first, int64_t n,
                           float *left) {
    uint32_t *to = (uint32_t *)(void *)left;
    for (int64_t k = first; k < first + n; k++)
        for (int i = 0; i < rows; i++) {
            const uint32_t unit = job->a.data[i * job->a.row + k * job->a.step];
            *to++ = pairs ? unit & 0xFFFF0000u : unit;
            if (pairs) *to++ = unit << 16;
        }
}

static inline __attribute__((always_inline)) void kernel(bool pairs, int rows, int vectors,
                                                         const kernel_job *job) {
    float left[6 * STEPS * 2];
    const char *ahead = job->ahead.data;
    for (int64_t first = 0; first < job->steps || first == 0; first += STEPS) {
        const int64_t n = job->steps - first < STEPS ? job->steps - first : STEPS;
        columns_job part = {.left = left,
                            .right = job->b.data + first * job->b.step,
                            .out = job->c.data,
                            .steps = n,
                            .right_step = job->b.step,
                            .out_row = job->c.row,
                            .add = job->add || first > 0};
        lay_out(pairs, rows, job, first, n, left);
        if (rows == 1) { /* one pass over the right operand, as memory likes it */
            part.ahead = ahead;
            part.lines = job->ahead.lines;
            columns(pairs, 1, 2 * vectors, &part);
            ahead += 64 * n * part.lines;
            continue;
        }
        for (int j = 0; j < vectors; j++, part.right += 16, part.out += 16) {
            part.ahead = ahead; /* a line a step and pass, as long as there are any */
            part.lines = j < job->ahead.lines;
            columns(pairs, rows, 2, &part);
            ahead += 64 * n * part.lines;
        }
    }
}

#else

static inline float unit_f32(uint32_t unit) {
    float value;
    memcpy(&value, &unit, sizeof value);
    return value;
}
static inline void kernel(bool pairs, int rows, int vectors, const kernel_job *job) {
    for (int i = 0; i < rows; i++) {
        float *c = job->c.data + i * job->c.row;
        for (int j = 0; j < 16 * vectors && !job->add; j++) c[j] = 0;
        for (int64_t k = 0; k < job->steps; k++) {
            const uint32_t left = job->a.data[i * job->a.row + k * job->a.step];
            const uint32_t *right = job->b.data + k * job->b.step;
            for (int j = 0; j < 16 * vectors; j++)
                c[j] = pairs ? fmaf(unit_f32(left << 16), unit_f32(right[j] << 16),
                                    fmaf(unit_f32(left & 0xFFFF0000u),
                                         unit_f32(right[j] & 0xFFFF0000u), c[j]))
                             : fmaf(unit_f32(left), unit_f32(right[j]), c[j]);
        }
    }
}

#endif

typedef void kernel_fn(const kernel_job *job);
#define KERNEL(pairs, rows, vectors)                                                               \
    static void kernel_##pairs##_##rows##_##vectors(const kernel_job *job) {                       \
        kernel(pairs, rows, vectors, job);                                                         \
    }
#define KERNELS(pairs, vectors)                                                                    \
    KERNEL(pairs, 1, vectors)                                                                      \
    KERNEL(pairs, 2, vectors)                                                                      \
    KERNEL(pairs, 3, vectors)                                                                      \
    KERNEL(pairs, 4, vectors)                                                                      \
    KERNEL(pairs, 5, vectors)                                                                      \
    KERNEL(pairs, 6, vectors)
KERNELS(0, 1)
KERNELS(0, 2)
KERNELS(0, 3)
KERNELS(0, 4)
KERNELS(1, 1)
KERNELS(1, 2)
KERNELS(1, 3)
KERNELS(1, 4)
#define NAMES(pairs, vectors)                                                                      \
    {                                                                                              \
        kernel_##pairs##_1_##vectors, kernel_##pairs##_2_##vectors, kernel_##pairs##_3_##vectors,  \
            kernel_##pairs##_4_##vectors, kernel_##pairs##_5_##vectors,                            \
            kernel_##pairs##_6_##vectors                                                           \
    }
static kernel_fn *const kernels[2][4][6] = {
    {NAMES(0, 1), NAMES(0, 2), NAMES(0, 3), NAMES(0, 4)},
    {NAMES(1, 1), NAMES(1, 2), NAMES(1, 3), NAMES(1, 4)},
};

void cpu_tile_mul_ahead(cpu_tile_out c, cpu_tile_left a, cpu_tile_right b, cpu_tile_shape shape,
                        cpu_tile_ahead ahead) {
    assert(shape.cols % 16 == 0);
    for (int64_t n = 0; n < shape.cols; n += 64) {
        const int64_t vectors = PX_MIN(4, (shape.cols - n) / 16);
        for (int64_t m = 0; m < shape.rows; m += 6) {
            const int64_t rows = PX_MIN(6, shape.rows - m);
            const kernel_job job = {{c.data + m * c.row + n, c.row},
                                    {a.data + m * a.row, a.row, a.step},
                                    {b.data + n, b.step},
                                    shape.steps,
                                    ahead,
                                    shape.add};
            kernels[shape.type == PX_BF16][vectors - 1][rows - 1](&job);
        }
    }
}

void cpu_tile_mul(cpu_tile_out c, cpu_tile_left a, cpu_tile_right b, cpu_tile_shape shape) {
    cpu_tile_mul_ahead(c, a, b, shape, (cpu_tile_ahead){0});
}

static const char *row_at(cpu_tile_rows rows, int64_t i) {
    return (const char *)rows.data + (size_t)(i * rows.stride) * px_type_size(rows.type);
}

#if TILE_AVX512
/* dst[j * 64 + i] = unit j of row i, 16 by 16. */
static void transpose_16(uint32_t *dst, const char *rows, size_t row_bytes) {
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(rows + (size_t)i * row_bytes);
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            a[i + 2 * k] = _mm512_unpacklo_epi64(b[i + k], b[i + 2 + k]);
            a[i + 2 * k + 1] = _mm512_unpackhi_epi64(b[i + k], b[i + 2 + k]);
        }
    /* a[4 g + c] holds in its 128-bit lane l the unit 4 l + c of the rows 4 g … 4 g + 3. */
    for (int c = 0; c < 4; c++) {
        const __m512i low = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
        const __m512i high = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
        const __m512i low_odd = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xDD);
        const __m512i high_odd = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xDD);
        _mm512_storeu_si512(dst + (0 + c) * 64, _mm512_shuffle_i32x4(low, high, 0x88));
        _mm512_storeu_si512(dst + (4 + c) * 64, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
        _mm512_storeu_si512(dst + (8 + c) * 64, _mm512_shuffle_i32x4(low, high, 0xDD));
        _mm512_storeu_si512(dst + (12 + c) * 64, _mm512_shuffle_i32x4(low_odd, high_odd, 0xDD));
    }
}
#endif

void cpu_tile_pack_columns(uint32_t *dst, int64_t first, cpu_tile_rows rows, int64_t count) {
    const int64_t steps = tile_steps(rows.type, rows.n);
    const int64_t full = rows.type == PX_BF16 ? rows.n / 2 : rows.n;
    for (int64_t i = 0; i < count;) {
        const int64_t p = first + i;
        uint32_t *column = dst + p / TILE_PANEL * TILE_PANEL * steps + p % TILE_PANEL;
        int64_t j = 0, wide = 1;
#if TILE_AVX512
        if (p % 16 == 0 && count - i >= 16) {
            wide = 16;
            const size_t row_bytes = (size_t)rows.stride * px_type_size(rows.type);
            for (; j + 16 <= full; j += 16)
                transpose_16(column + j * TILE_PANEL, row_at(rows, i) + 4 * j, row_bytes);
        }
#endif
        for (; j < full; j++)
            for (int64_t k = 0; k < wide; k++)
                memcpy(column + j * TILE_PANEL + k, row_at(rows, i + k) + 4 * j, 4);
        for (int64_t k = 0; k < wide && full < steps; k++) {
            uint16_t value;
            memcpy(&value, row_at(rows, i + k) + 4 * full, sizeof value);
            column[full * TILE_PANEL + k] = value;
        }
        i += wide;
    }
}

/* Two bf16 rows into one row of pairs. */
static void interleave(uint32_t *dst, const char *low, const char *high, int64_t n) {
    int64_t c = 0;
#if TILE_AVX512
    for (; c + 16 <= n; c += 16) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(low + 2 * c));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(high + 2 * c));
        const __m512i pairs = _mm512_or_si512(_mm512_cvtepu16_epi32(a),
                                              _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
        _mm512_storeu_si512(dst + c, pairs);
    }
#endif
    for (; c < n; c++) {
        uint16_t pair[2];
        memcpy(&pair[0], low + 2 * c, 2);
        memcpy(&pair[1], high + 2 * c, 2);
        dst[c] = (uint32_t)pair[0] | (uint32_t)pair[1] << 16;
    }
}

void cpu_tile_pack_terms(uint32_t *dst, int64_t step, int64_t first, cpu_tile_rows rows,
                         int64_t count) {
    if (rows.type == PX_F32) {
        for (int64_t i = 0; i < count; i++)
            memcpy(dst + (first + i) * step, row_at(rows, i), (size_t)rows.n * 4);
        return;
    }
    for (int64_t i = 0; i < count;) {
        uint32_t *pairs = dst + (first + i) / 2 * step;
        const char *row = row_at(rows, i);
        if ((first + i) % 2) {
            for (int64_t c = 0; c < rows.n; c++) {
                uint16_t value;
                memcpy(&value, row + 2 * c, 2);
                pairs[c] = (pairs[c] & 0xFFFFu) | (uint32_t)value << 16;
            }
            i++;
        } else if (i + 1 < count) {
            interleave(pairs, row, row_at(rows, i + 1), rows.n);
            i += 2;
        } else {
            for (int64_t c = 0; c < rows.n; c++) {
                uint16_t value;
                memcpy(&value, row + 2 * c, 2);
                pairs[c] = value;
            }
            i++;
        }
    }
}

void cpu_tile_pack_rows(uint32_t *dst, int64_t step, cpu_tile_rows rows, int64_t count) {
    const size_t bytes = (size_t)rows.n * px_type_size(rows.type);
    for (int64_t i = 0; i < count; i++) {
        memcpy(dst + i * step, row_at(rows, i), bytes);
        memset((char *)(dst + i * step) + bytes, 0, (size_t)step * 4 - bytes);
    }
}
