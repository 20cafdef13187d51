/* tensor.c - see tensor.h: elements of a mapped tensor as f32 or bf16. Data may have any alignment.
 */
#include "tensor.h"

#include <inttypes.h>
#include <stdlib.h>

#include "files_internal.h"

enum { CHUNK = 2048 }; /* elements between reading and rounding; 8 KiB stays in the first cache */

px_block px_block_of(px_tensor_type type) {
    static const px_block blocks[] = {
        [PX_T_F32] = {1, 4},      [PX_T_F16] = {1, 2},      [PX_T_BF16] = {1, 2},
        [PX_T_Q8_0] = {32, 34},   [PX_T_Q4_0] = {32, 18},   [PX_T_Q4_1] = {32, 20},
        [PX_T_Q5_0] = {32, 22},   [PX_T_Q5_1] = {32, 24},   [PX_T_Q4_K] = {256, 144},
        [PX_T_Q5_K] = {256, 176}, [PX_T_Q6_K] = {256, 210}, [PX_T_OTHER] = {0, 0},
    };
    return blocks[type];
}

bool px_dims_count(int rank, const int64_t *dims, int64_t *count) {
    bool zero = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0) return false;
        zero |= dims[i] == 0;
    }
    int64_t n = zero ? 0 : 1;
    for (int i = 0; i < rank && !zero; i++)
        if (__builtin_mul_overflow(n, dims[i], &n)) return false;
    *count = n;
    return true;
}

int64_t px_tensor_count(const px_tensor *tensor) {
    int64_t count = 0; /* the readers let no tensor through whose product overflows */
    return px_dims_count(tensor->rank, tensor->dims, &count) ? count : 0;
}

static int place_order(const void *a, const void *b) {
    const px_tensor *x = *(const px_tensor *const *)a, *y = *(const px_tensor *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

px_err *px_tensors_by_place(const px_tensor *tensors, int n, const px_tensor ***out) {
    const px_tensor **order = calloc((size_t)n + 1, sizeof(const px_tensor *));
    if (!order) PX_NO_MEMORY();
    for (int i = 0; i < n; i++) order[i] = &tensors[i];
    qsort(order, (size_t)n, sizeof(const px_tensor *), place_order);
    *out = order;
    return NULL;
}

uint16_t px_bf16_from(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40; /* rounding could carry a NaN's payload into infinity */
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

float px_bf16_to(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

float px_f16_to(uint16_t bits) { return px_f16_value(bits); }

static void f16_f32(const unsigned char *restrict src, int64_t n, float *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, src + 2 * i, sizeof half);
        out[i] = px_f16_value(half);
    }
}

static void bf16_f32(const unsigned char *restrict src, int64_t n, float *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, src + 2 * i, sizeof bits);
        out[i] = px_bf16_to(bits);
    }
}

static px_err *range_check(const px_tensor *tensor, int64_t first, int64_t n) {
    px_block block = px_block_of(tensor->type);
    if (!block.elements)
        PX_FAIL(PX_BAD_INPUT,
                "tensor %s: type %s cannot be read; F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K "
                "Q5_K Q6_K can",
                tensor->name, tensor->type_name);
    int64_t count = px_tensor_count(tensor);
    if (first < 0 || n < 0 || first > count || n > count - first)
        PX_FAIL(PX_BAD_INPUT,
                "tensor %s: %" PRId64 " elements from %" PRId64 " are wanted of %" PRId64,
                tensor->name, n, first, count);
    if (first % block.elements || n % block.elements)
        PX_FAIL(PX_BAD_INPUT,
                "tensor %s: %" PRId64 " elements from %" PRId64 " are wanted, %s has blocks of %d",
                tensor->name, n, first, tensor->type_name, block.elements);
    return NULL;
}

/* The range has been checked. */
static void range_f32(const px_tensor *tensor, int64_t first, int64_t n, float *out) {
    px_block block = px_block_of(tensor->type);
    if (n == 0) return;
    const unsigned char *src = tensor->data + first / block.elements * block.bytes;
    switch (tensor->type) {
    case PX_T_F32:
        memcpy(out, src, (size_t)n * sizeof *out);
        break;
    case PX_T_F16:
        f16_f32(src, n, out);
        break;
    case PX_T_BF16:
        bf16_f32(src, n, out);
        break;
    default:
        px_quant_f32(tensor->type, src, n / block.elements, out);
        break;
    }
}

px_err *px_tensor_f32(const px_tensor *tensor, int64_t first, int64_t n, float *out) {
    PX_PASS(range_check(tensor, first, n));
    range_f32(tensor, first, n, out);
    return NULL;
}

px_err *px_tensor_bf16(const px_tensor *tensor, int64_t first, int64_t n, uint16_t *out) {
    PX_PASS(range_check(tensor, first, n));
    if (tensor->type == PX_T_BF16) {
        if (n) memcpy(out, tensor->data + first * 2, (size_t)n * sizeof *out);
        return NULL;
    }
    float chunk[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t part = PX_MIN(n - at, CHUNK);
        range_f32(tensor, first + at, part, chunk);
        for (int64_t i = 0; i < part; i++) out[at + i] = px_bf16_from(chunk[i]);
    }
    return NULL;
}
