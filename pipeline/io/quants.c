/* quants.c - the block formats of GGUF to f32: bit for bit what the format's reference reader
 * gives, so each product and sum is rounded by itself and in its order. Scales are halves; d is the
 * scale, m or dmin the offset, q the packed integers. The loops have constant lengths, so that they
 * become vector code. */
#include "files_internal.h"

typedef void block_f32(const unsigned char *restrict block, float *restrict y);

static inline float half_at(const unsigned char *p) {
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    return px_f16_value(bits);
}

/* d, q[32]: y = d q. */
static inline void q8_0(const unsigned char *restrict block, float *restrict y) {
    const float d = half_at(block);
    const signed char *q = (const signed char *)(block + 2);
    for (int i = 0; i < 32; i++) y[i] = d * (float)q[i];
}

/* d, 16 bytes of two 4-bit q, the low ones first: y = d (q - 8). */
static inline void q4_0(const unsigned char *restrict block, float *restrict y) {
    const float d = half_at(block);
    const unsigned char *q = block + 2;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((q[i] & 15) - 8);
        y[i + 16] = d * (float)((q[i] >> 4) - 8);
    }
}

/* d, m, 16 bytes of two 4-bit q: y = d q + m. */
static inline void q4_1(const unsigned char *restrict block, float *restrict y) {
    const float d = half_at(block), m = half_at(block + 2);
    const unsigned char *q = block + 4;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(q[i] & 15) + m;
        y[i + 16] = d * (float)(q[i] >> 4) + m;
    }
}

/* The fifth bits of 32 numbers lie in one little-endian word, the first number's lowest. */
static inline void five_bits(const unsigned char *restrict high, const unsigned char *restrict low,
                             int *restrict q) {
    uint32_t word;
    memcpy(&word, high, sizeof word);
    for (int i = 0; i < 16; i++) {
        q[i] = (low[i] & 15) | (int)(((word >> i) & 1) << 4);
        q[i + 16] = (low[i] >> 4) | (int)(((word >> (i + 16)) & 1) << 4);
    }
}

/* d, 32 fifth bits, 16 bytes of two 4-bit q: y = d (q - 16). */
static inline void q5_0(const unsigned char *restrict block, float *restrict y) {
    const float d = half_at(block);
    int q[32];
    five_bits(block + 2, block + 6, q);
    for (int i = 0; i < 32; i++) y[i] = d * (float)(q[i] - 16);
}

/* d, m, 32 fifth bits, 16 bytes of two 4-bit q: y = d q + m. */
static inline void q5_1(const unsigned char *restrict block, float *restrict y) {
    const float d = half_at(block), m = half_at(block + 2);
    int q[32];
    five_bits(block + 4, block + 8, q);
    for (int i = 0; i < 32; i++) y[i] = d * (float)q[i] + m;
}

/* Eight 6-bit scales and eight 6-bit offsets in 12 bytes: the first four of each are the low bits
 * of bytes 0-3 and 4-7; the last four have their low nibbles in bytes 8-11 (scale below, offset
 * above) and their top two bits on top of bytes 0-3 and 4-7. */
static inline void scales_k(const unsigned char *restrict s, float d, float dmin,
                            float scale[restrict 8], float offset[restrict 8]) {
    for (int i = 0; i < 4; i++) {
        scale[i] = d * (float)(s[i] & 63);
        offset[i] = dmin * (float)(s[i + 4] & 63);
        scale[i + 4] = d * (float)((s[i + 8] & 15) | (s[i] >> 6 << 4));
        offset[i + 4] = dmin * (float)((s[i + 8] >> 4) | (s[i + 4] >> 6 << 4));
    }
}

/* d, dmin, scales[12], q[128]: eight groups of 32, two groups a 32 bytes, low nibbles first. */
static inline void q4_k(const unsigned char *restrict block, float *restrict y) {
    float scale[8], offset[8];
    scales_k(block + 4, half_at(block), half_at(block + 2), scale, offset);
    const unsigned char *q = block + 16;
    for (int g = 0; g < 8; g += 2, q += 32, y += 64) {
        for (int i = 0; i < 32; i++) y[i] = scale[g] * (float)(q[i] & 15) - offset[g];
        for (int i = 0; i < 32; i++) y[i + 32] = scale[g + 1] * (float)(q[i] >> 4) - offset[g + 1];
    }
}

/* As q4_k with 32 bytes of fifth bits before q: bit g of byte i belongs to number i of group g. */
static inline void q5_k(const unsigned char *restrict block, float *restrict y) {
    float scale[8], offset[8];
    scales_k(block + 4, half_at(block), half_at(block + 2), scale, offset);
    const unsigned char *high = block + 16, *q = block + 48;
    for (int g = 0; g < 8; g += 2, q += 32, y += 64) {
        for (int i = 0; i < 32; i++)
            y[i] = scale[g] * (float)((q[i] & 15) | (((high[i] >> g) & 1) << 4)) - offset[g];
        for (int i = 0; i < 32; i++)
            y[i + 32] = scale[g + 1] * (float)((q[i] >> 4) | (((high[i] >> (g + 1)) & 1) << 4)) -
                        offset[g + 1];
    }
}

/* low[128], high[64], scales[16], d: two halves of 128, each of four rows of 32 (the two low-nibble
 * rows, then the two high-nibble rows of 64 bytes), two more bits a row from 32 bytes of `high`.
 * One signed scale for 16 numbers: y = (d scale) (q - 32). */
static inline void q6_k(const unsigned char *restrict block, float *restrict y) {
    const unsigned char *low = block, *high = block + 128;
    const signed char *scale = (const signed char *)(block + 192);
    const float d = half_at(block + 208);
    for (int h = 0; h < 2; h++, low += 64, high += 32) {
        for (int row = 0; row < 4; row++, y += 32, scale += 2) {
            const unsigned char *nibbles = low + ((row & 1) ? 32 : 0);
            const int shift = row >> 1 << 2;
            const float s[2] = {d * (float)scale[0], d * (float)scale[1]};
            for (int i = 0; i < 32; i++) {
                int q = ((nibbles[i] >> shift) & 15) | (((high[i] >> (2 * row)) & 3) << 4);
                y[i] = s[i >> 4] * (float)(q - 32);
            }
        }
    }
}

static inline void blocks_f32(block_f32 *one, px_block size, const unsigned char *src,
                              int64_t n_blocks, float *out) {
    for (int64_t i = 0; i < n_blocks; i++) one(src + i * size.bytes, out + i * size.elements);
}

void px_quant_f32(px_tensor_type type, const unsigned char *src, int64_t n_blocks, float *out) {
    px_block size = px_block_of(type);
    switch (type) {
    case PX_T_Q8_0:
        blocks_f32(q8_0, size, src, n_blocks, out);
        break;
    case PX_T_Q4_0:
        blocks_f32(q4_0, size, src, n_blocks, out);
        break;
    case PX_T_Q4_1:
        blocks_f32(q4_1, size, src, n_blocks, out);
        break;
    case PX_T_Q5_0:
        blocks_f32(q5_0, size, src, n_blocks, out);
        break;
    case PX_T_Q5_1:
        blocks_f32(q5_1, size, src, n_blocks, out);
        break;
    case PX_T_Q4_K:
        blocks_f32(q4_k, size, src, n_blocks, out);
        break;
    case PX_T_Q5_K:
        blocks_f32(q5_k, size, src, n_blocks, out);
        break;
    case PX_T_Q6_K:
        blocks_f32(q6_k, size, src, n_blocks, out);
        break;
    default:
        break;
    }
}
