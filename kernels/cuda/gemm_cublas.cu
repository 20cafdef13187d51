/* gemm_cublas.cu - the product by cuBLASLt.
 *
 * An algorithm is chosen once for (N, K, types, how A and B lie) and taken for every number of
 * rows: a row's sum then runs the same way in any company. It is the first that cuBLASLt proposes
 * for ROWS rows, or for FEW of them where the weight is for generation (tiles for thousands of rows
 * would leave most of a card idle there), and that it takes for each number in `tried`. Nothing is
 * timed: two ranks must choose alike. Algorithms that split the sum over K are refused, as their
 * bits depend on the order of parts. What cuBLASLt proposes may differ between its versions and
 * cards, so a choice is kept with both in a file (choices.h) and taken from there by the next run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "choices.h"
#include "gemm.h"
#include "kernel.cuh"

enum { ROWS = 4096, FEW = 64, WORKSPACE = CU_WORKSPACE, PROPOSALS = 32 };
/* Rows that a chosen algorithm must be good for: one, less than a tile, odd, many. */
static const int64_t tried[] = {1, 2, 7, 16, 64, 100, 1024, 4096, 16384};

/* Row-major C = A · B is column-major Cᵀ = Bᵀ · Aᵀ. */
static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(uint64_t[8]), "what a file keeps of a choice");

struct cu_gemms {
    cublasLtHandle_t handle;
    void *workspace;
    cudaStream_t stream;
    cu_choices *choices;
    char text[256];
};

static const char *failed(cu_gemms *g, const char *what, cublasStatus_t status) {
    snprintf(g->text, sizeof g->text, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(status));
    return g->text;
}

static void open_choices(cu_gemms *g) {
    char machine[384], path[1024];
    cu_card card;
    int at = 0;
    if (cudaGetDevice(&at) != cudaSuccess || cu_about(at, &card)) snprintf(card.name, 8, "unknown");
    snprintf(machine, sizeof machine, "%s, cuBLASLt %d", card.name, (int)cublasLtGetVersion());
    cu_choices_path(machine, path);
    if (cublasLtGetVersion() == 0) path[0] = 0; /* kernels/simt's */
    g->choices = cu_choices_open(path, machine);
}

const char *cu_gemms_open(cu_queue *q, cu_gemms **out) {
    cu_gemms *g = (cu_gemms *)calloc(1, sizeof *g);
    if (!g) return "out of memory";
    g->stream = (cudaStream_t)cu_stream_of(q);
    g->workspace = cu_gemms_bytes() ? cu_new(WORKSPACE) : NULL;
    const cublasStatus_t status = cublasLtCreate(&g->handle);
    if (status == CUBLAS_STATUS_SUCCESS) open_choices(g);
    const bool has_room = g->workspace || !cu_gemms_bytes();
    if (status != CUBLAS_STATUS_SUCCESS || !has_room || !g->choices) {
        const char *why = status != CUBLAS_STATUS_SUCCESS ? "cuBLASLt does not start"
                          : g->choices ? "no device memory for cuBLASLt's workspace"
                                       : "out of memory";
        cu_gemms_close(g);
        return why;
    }
    *out = g;
    return NULL;
}

int64_t cu_gemms_version(void) { return (int64_t)cublasLtGetVersion(); }
int64_t cu_gemms_bytes(void) { return cublasLtGetVersion() ? WORKSPACE : 0; }

void cu_gemms_close(cu_gemms *g) {
    cu_choices_close(g->choices);
    if (g->handle) cublasLtDestroy(g->handle);
    if (g->workspace) cu_free(g->workspace);
    free(g);
}

/* Descriptions of one product; released all together. */
typedef struct {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c; /* in cuBLASLt's order: a is our B */
    cublasLtMatmulPreference_t preference;
} gemm_call;

static void call_free(gemm_call *c) {
    if (c->preference) cublasLtMatmulPreferenceDestroy(c->preference);
    if (c->c) cublasLtMatrixLayoutDestroy(c->c);
    if (c->b) cublasLtMatrixLayoutDestroy(c->b);
    if (c->a) cublasLtMatrixLayoutDestroy(c->a);
    if (c->desc) cublasLtMatmulDescDestroy(c->desc);
}

static cudaDataType_t type_of(int bf16) { return bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/* A row-major [rows, cols] matrix is a column-major [cols, rows] one. */
static cublasStatus_t layout(cublasLtMatrixLayout_t *out, const cu_mat *m, int64_t rows) {
    return cublasLtMatrixLayoutCreate(out, type_of(m->bf16), (uint64_t)m->cols, (uint64_t)rows,
                                      m->stride);
}

static cublasStatus_t call_new(gemm_call *c, const cu_gemm *p, int64_t rows) {
    const cublasOperation_t turn_a = p->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t turn_b = p->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t status = cublasLtMatmulDescCreate(&c->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!status)
        status = cublasLtMatmulDescSetAttribute(c->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turn_a,
                                                sizeof turn_a);
    if (!status)
        status = cublasLtMatmulDescSetAttribute(c->desc, CUBLASLT_MATMUL_DESC_TRANSB, &turn_b,
                                                sizeof turn_b);
    if (!status) status = layout(&c->a, &p->b, p->b.rows);
    if (!status) status = layout(&c->b, &p->a, p->a_turned ? p->a.rows : rows);
    if (!status) status = layout(&c->c, &p->c, rows);
    return status;
}

static uint32_t alignment(const cu_mat *m) {
    const size_t size = m->bf16 ? 2 : 4;
    uint32_t align = 16;
    while (align > size && ((uintptr_t)m->data % align || (size_t)m->stride * size % align))
        align /= 2;
    return align;
}

static cu_product key_of(const cu_gemm *p) {
    cu_product key;
    memset(&key, 0, sizeof key);
    key.N = p->c.cols;
    key.K = p->a_turned ? p->a.rows : p->a.cols;
    key.M = p->a_turned ? p->c.rows : 0;
    key.bf16 = p->a.bf16;
    key.c_bf16 = p->c.bf16;
    key.a_turned = p->a_turned;
    key.b_turned = p->b_turned;
    key.aligned = (int32_t)(alignment(&p->a) | alignment(&p->b) << 8 | alignment(&p->c) << 16);
    key.few = p->few;
    return key;
}

/* Whether cuBLASLt takes an algorithm for these rows. */
static bool fits(cu_gemms *g, const cu_gemm *p, const cublasLtMatmulAlgo_t *algorithm,
                 int64_t rows) {
    gemm_call c = {};
    cublasLtMatmulHeuristicResult_t result;
    cublasStatus_t status = call_new(&c, p, rows);
    if (!status)
        status = cublasLtMatmulAlgoCheck(g->handle, c.desc, c.a, c.b, c.c, c.c, algorithm, &result);
    call_free(&c);
    return !status && result.workspaceSize <= WORKSPACE;
}
static bool splits(const cublasLtMatmulAlgo_t *algorithm) {
    int32_t parts = 1;
    uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_NONE;
    size_t written = 0;
    (void)cublasLtMatmulAlgoConfigGetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                               sizeof parts, &written);
    (void)cublasLtMatmulAlgoConfigGetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                               &scheme, sizeof scheme, &written);
    return parts > 1 || scheme != CUBLASLT_REDUCTION_SCHEME_NONE;
}
/* For any number of rows that may come; matrices of 2^31 values and more are left to their call. */
static bool fits_all(cu_gemms *g, const cu_gemm *p, const cublasLtMatmulAlgo_t *algorithm) {
    const cu_product key = key_of(p);
    const int64_t widest = key.N > key.K ? key.N : key.K;
    if (p->a_turned) return fits(g, p, algorithm, p->c.rows);
    for (int64_t rows : tried)
        if (rows * widest <= INT32_MAX && !fits(g, p, algorithm, rows)) return false;
    return true;
}

static cublasStatus_t set(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t what,
                          const void *value, size_t bytes) {
    return cublasLtMatmulPreferenceSetAttribute(p, what, value, bytes);
}

/* The first proposal that is good for all rows (they come fastest first, by cuBLASLt's estimate),
 * or else for those at hand. */
static const char *choose(cu_gemms *g, const cu_gemm *p, cublasLtMatmulAlgo_t *out) {
    gemm_call c = {};
    cublasLtMatmulHeuristicResult_t found[PROPOSALS];
    int n = 0;
    const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;
    const size_t most = WORKSPACE;
    const uint32_t align[3] = {alignment(&p->b), alignment(&p->a), alignment(&p->c)};
    const int64_t rows = p->a_turned ? p->c.rows : (int64_t)(p->few ? FEW : ROWS);
    cublasStatus_t status = call_new(&c, p, rows);
    if (!status) status = cublasLtMatmulPreferenceCreate(&c.preference);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof none);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align[0], 4);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align[1], 4);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align[2], 4);
    if (!status)
        status = set(c.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align[2], 4);
    if (!status)
        status = cublasLtMatmulAlgoGetHeuristic(g->handle, c.desc, c.a, c.b, c.c, c.c, c.preference,
                                                PROPOSALS, found, &n);
    call_free(&c);
    if (status) return failed(g, "choosing an algorithm", status);
    for (int all = 1; all >= 0; all--)
        for (int i = 0; i < n; i++) {
            const cublasLtMatmulAlgo_t *it = &found[i].algo;
            if (found[i].state || splits(it)) continue;
            if (!(all ? fits_all(g, p, it) : fits(g, p, it, p->c.rows))) continue;
            *out = *it;
            return NULL;
        }
    snprintf(g->text, sizeof g->text,
             "cuBLASLt: of %d algorithms none computes [%lld, %lld] by [%lld, %lld], %s to %s, "
             "without splitting its sums",
             n, (long long)p->c.rows, (long long)key_of(p).K, (long long)key_of(p).K,
             (long long)p->c.cols, p->a.bf16 ? "bf16" : "f32", p->c.bf16 ? "bf16" : "f32");
    return g->text;
}

static const char *find(cu_gemms *g, const cu_gemm *p, cublasLtMatmulAlgo_t *out) {
    const cu_product key = key_of(p);
    cu_choice *choice = cu_choices_find(g->choices, &key);
    if (choice) {
        memcpy(out, choice->algorithm, sizeof *out);
        if (choice->tried || (!splits(out) && fits(g, p, out, p->c.rows))) {
            choice->tried = 1;
            return NULL;
        }
    }
    uint64_t words[8];
    const char *text = choose(g, p, out);
    if (text) return text;
    memcpy(words, out, sizeof words);
    choice = cu_choices_put(g->choices, &key, words);
    if (!choice) return "out of memory";
    choice->tried = 1;
    return NULL;
}

const char *cu_gemm_run(cu_gemms *g, const cu_gemm *p) {
    cublasLtMatmulAlgo_t algorithm;
    const char *text = find(g, p, &algorithm);
    if (text) return text;
    const float one = 1, old = p->add ? 1 : 0;
    gemm_call c = {};
    cublasStatus_t status = call_new(&c, p, p->c.rows);
    if (!status)
        status =
            cublasLtMatmul(g->handle, c.desc, &one, p->b.data, c.a, p->a.data, c.b, &old, p->c.data,
                           c.c, p->c.data, c.c, &algorithm, g->workspace, WORKSPACE, g->stream);
    call_free(&c);
    return status ? failed(g, "a product", status) : NULL;
}
