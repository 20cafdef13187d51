/* cublasLt.cc - cuBLASLt's calls on the CPU, in tests (cublasLt.h): products of column-major
 * matrices as loops, sums in float64. What is asked for is checked as cuBLASLt would, or stricter:
 * sizes of attributes, shapes, memory, alignments that were promised, and that an algorithm is one
 * that was proposed for such a product. Of the proposals the first split the sum and the next does
 * not take odd numbers of rows; a caller that wants neither has to look. */
#include "cublasLt.h"

#include <stdlib.h>
#include <string.h>

#include "../simt_internal.h"

struct simt_lt {
    int unused;
};
struct simt_lt_product {
    cublasOperation_t a, b;
};
struct simt_lt_layout {
    cudaDataType_t type;
    int64_t rows, cols, ld;
};
struct simt_lt_preference {
    uint32_t schemes, align[4];
    uint64_t workspace;
};

namespace {

/* An algorithm's words: MARK and its kind, the product it is for, what was promised of alignments,
 * the columns of C (rows of a row-major one) that it was proposed for. */
enum : uint64_t { MARK = 0x70726F6475637400 };
enum kind : uint64_t { SPLITS = 1, REDUCES, EVEN, GOOD, OTHER };
enum { KIND, PRODUCT, ALIGNED, COLUMNS };

size_t size_of(cudaDataType_t type) { return type == CUDA_R_16BF ? 2 : 4; }
/* Bytes from the first value to the end of the last. */
size_t reach(const simt_lt_layout *l) {
    return (size_t)((l->cols - 1) * l->ld + l->rows) * size_of(l->type);
}

struct shape {
    int64_t m, n, k;
};
/* False: no product. */
bool shape_of(const simt_lt_product *p, const simt_lt_layout *a, const simt_lt_layout *b,
              const simt_lt_layout *c, shape *out) {
    *out = {c->rows, c->cols, p->a == CUBLAS_OP_T ? a->rows : a->cols};
    const int64_t m = p->a == CUBLAS_OP_T ? a->cols : a->rows;
    const int64_t k = p->b == CUBLAS_OP_T ? b->cols : b->rows;
    const int64_t n = p->b == CUBLAS_OP_T ? b->rows : b->cols;
    return m == out->m && n == out->n && k == out->k && a->type == b->type &&
           (c->type == CUDA_R_32F || c->type == a->type);
}
/* What an algorithm is proposed for: all but the columns of C, which are its own affair where B
 * lies as it is multiplied. */
uint64_t product_of(const simt_lt_product *p, const simt_lt_layout *a, const simt_lt_layout *c,
                    const shape &s) {
    uint64_t h = 1469598103934665603u;
    const int64_t all[] = {s.m, s.k, p->a, p->b, a->type, c->type, p->b == CUBLAS_OP_T ? s.n : 0};
    for (int64_t it : all) h = (h ^ (uint64_t)it) * 1099511628211u;
    return h;
}

template <typename T> cublasStatus_t make(T **out, const T &value) {
    *out = (T *)malloc(sizeof **out);
    if (!*out) return CUBLAS_STATUS_ALLOC_FAILED;
    **out = value;
    return CUBLAS_STATUS_SUCCESS;
}
template <typename T> cublasStatus_t take(T *to, const void *value, size_t bytes) {
    if (bytes != sizeof *to) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

struct product {
    simt_lt_product turned;
    simt_lt_layout a, b, c;
    shape size;
    const void *a_at, *b_at;
    void *c_at;
    bool adds;
};
float get(const void *at, cudaDataType_t type, int64_t i) {
    if (type == CUDA_R_32F) return ((const float *)at)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
void put(void *at, cudaDataType_t type, int64_t i, float value) {
    uint32_t bits;
    if (type == CUDA_R_32F) {
        ((float *)at)[i] = value;
        return;
    }
    memcpy(&bits, &value, sizeof bits);
    const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    ((uint16_t *)at)[i] =
        (uint16_t)(is_nan ? bits >> 16 | 0x40u : (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
/* op(matrix) widened: value (i, j) at [j * rows + i], or the other way round. */
float *widen(const void *at, const simt_lt_layout &l, bool turned) {
    float *out = (float *)calloc((size_t)(l.rows * l.cols) + 1, sizeof *out);
    for (int64_t j = 0; out && j < l.cols; j++)
        for (int64_t i = 0; i < l.rows; i++)
            out[turned ? i * l.cols + j : j * l.rows + i] = get(at, l.type, j * l.ld + i);
    return out;
}
/* Without memory the product is left undone: this is for tests. */
void run(void *it) {
    const product &p = *(const product *)it;
    const shape s = p.size;
    float *a = widen(p.a_at, p.a, p.turned.a == CUBLAS_OP_T); /* [k][m] */
    float *b = widen(p.b_at, p.b, p.turned.b == CUBLAS_OP_T); /* [n][k] */
    double *sum = (double *)malloc((size_t)s.m * sizeof *sum + 1);
    for (int64_t j = 0; a && b && sum && j < s.n; j++) {
        for (int64_t i = 0; i < s.m; i++)
            sum[i] = p.adds ? (double)get(p.c_at, p.c.type, j * p.c.ld + i) : 0;
        for (int64_t k = 0; k < s.k; k++) {
            const double x = (double)b[j * s.k + k];
            const float *row = a + k * s.m;
            for (int64_t i = 0; i < s.m; i++) sum[i] += x * (double)row[i];
        }
        for (int64_t i = 0; i < s.m; i++) put(p.c_at, p.c.type, j * p.c.ld + i, (float)sum[i]);
    }
    free(a), free(b), free(sum);
}

bool is_aligned(const void *at, const simt_lt_layout &l, uint64_t promised) {
    return promised && (uintptr_t)at % promised == 0 &&
           (size_t)l.ld * size_of(l.type) % promised == 0;
}

} // namespace

const char *cublasLtGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "success";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "out of memory";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "invalid value";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "not supported";
    default:
        return "failed";
    }
}
size_t cublasLtGetVersion() { return 0; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t *out) { return make(out, simt_lt{0}); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
    return make(out, simt_lt_product{CUBLAS_OP_N, CUBLAS_OP_N});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t what,
                                              const void *value, size_t bytes) {
    return take(what == CUBLASLT_MATMUL_DESC_TRANSA ? &desc->a : &desc->b, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
    if (rows == 0 || cols == 0 || ld < (int64_t)rows) return CUBLAS_STATUS_INVALID_VALUE;
    return make(out, simt_lt_layout{type, (int64_t)rows, (int64_t)cols, ld});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    return make(out, simt_lt_preference{7, {256, 256, 256, 256}, 0});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *value, size_t bytes) {
    if (what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return take(&preference->workspace, value, bytes);
    if (what == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return take(&preference->schemes, value, bytes);
    return take(&preference->align[what - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
                bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t found[], int *n) {
    shape s;
    *n = 0;
    if (!shape_of(desc, a, b, c, &s) || memcmp(c, d, sizeof *c) != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (preference->align[2] != preference->align[3]) return CUBLAS_STATUS_INVALID_VALUE;
    /* Others would be proposed for less: a row's bits would depend on where it lies. */
    for (uint32_t bytes : preference->align)
        if (bytes != 16) return CUBLAS_STATUS_NOT_SUPPORTED;
    uint64_t aligned = 0;
    for (int i = 0; i < 3; i++) aligned |= (uint64_t)preference->align[i] << 16 * i;
    for (uint64_t kind = SPLITS; kind <= OTHER && *n < most; kind++) {
        if (kind == REDUCES && !(preference->schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE)) continue;
        cublasLtMatmulHeuristicResult_t it = {};
        it.algo.data[KIND] = MARK | kind;
        it.algo.data[PRODUCT] = product_of(desc, a, c, s);
        it.algo.data[ALIGNED] = aligned;
        it.algo.data[COLUMNS] = (uint64_t)s.n;
        it.state = *n == 1 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
        found[(*n)++] = it;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result) {
    shape s;
    const uint64_t kind = algorithm->data[KIND] - MARK;
    if (!shape_of(desc, a, b, c, &s) || kind < SPLITS || kind > OTHER ||
        algorithm->data[PRODUCT] != product_of(desc, a, c, s))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (kind == EVEN && s.n % 2) return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(result, 0, sizeof *result);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t what,
                                                    void *value, size_t bytes, size_t *written) {
    const uint64_t kind = algorithm->data[KIND] - MARK;
    const uint32_t is = what == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (kind == SPLITS ? 4 : 1)
                        : kind == REDUCES                       ? CUBLASLT_REDUCTION_SCHEME_INPLACE
                                                                : CUBLASLT_REDUCTION_SCHEME_NONE;
    if (bytes != sizeof is) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, &is, bytes);
    *written = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *, size_t,
                              cudaStream_t stream) {
    cublasLtMatmulHeuristicResult_t result;
    shape s;
    const float by = *(const float *)alpha, old = *(const float *)beta;
    cublasStatus_t status = cublasLtMatmulAlgoCheck(handle, desc, a_layout, b_layout, c_layout,
                                                    d_layout, algorithm, &result);
    if (status) return status;
    (void)shape_of(desc, a_layout, b_layout, c_layout, &s);
    const uint64_t kind = algorithm->data[KIND] - MARK, aligned = algorithm->data[ALIGNED];
    if (kind < EVEN || by != 1 || (old != 0 && old != 1) || c != d) /* never asked for by us */
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!is_aligned(a, *a_layout, aligned & 0xFFFF) ||
        !is_aligned(b, *b_layout, aligned >> 16 & 0xFFFF) ||
        !is_aligned(d, *d_layout, aligned >> 32))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!simt_is_device(a, reach(a_layout)) || !simt_is_device(b, reach(b_layout)) ||
        !simt_is_device(d, reach(d_layout)))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    const product it = {*desc, *a_layout, *b_layout, *d_layout, s, a, b, d, old == 1};
    if (simt_later(stream, run, &it, sizeof it)) return CUBLAS_STATUS_SUCCESS;
    run((void *)&it);
    return CUBLAS_STATUS_SUCCESS;
}
