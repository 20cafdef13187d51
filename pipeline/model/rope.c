/* rope.c - rotary position embedding (Su et al. 2021): frequencies with Llama-3 or linear scaling,
 * and the table of cosines and sines. Frequencies and angles are rounded to f32 at the same places
 * as in transformers, since at position 1000 one rounding of the frequency is 6e-5 of an angle. */
#include <math.h>

#include "model_internal.h"

static float llama3_scaled(const px_shape *shape, float freq) {
    const float original = (float)shape->rope_original, factor = (float)shape->rope_factor;
    const float low = (float)shape->rope_low, high = (float)shape->rope_high;
    const float wavelength = (float)(2 * M_PI) / freq;
    if (wavelength > original / low) return freq / factor;
    if (wavelength < original / high) return freq;
    const float smooth = (original / wavelength - low) / (high - low);
    return (1 - smooth) * freq / factor + smooth * freq;
}

void px_rope_frequencies(const px_shape *shape, const float *factors, float *freq) {
    const int64_t half = shape->head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)shape->head_dim;
        float f = 1.0f / (float)pow(shape->rope_theta, exponent);
        if (shape->rope_factor > 0)
            f = llama3_scaled(shape, f);
        else if (shape->rope_linear > 0)
            f /= (float)shape->rope_linear;
        else if (factors)
            f /= factors[i];
        freq[i] = f;
    }
}

void px_rope_table(const float *freq, int64_t half, int64_t first, int64_t n, float *table) {
#pragma omp parallel for schedule(static)
    for (int64_t p = first; p < first + n; p++)
        for (int64_t i = 0; i < half; i++) {
            const float angle = (float)p * freq[i];
            table[2 * (p * half + i)] = (float)cos(angle);
            table[2 * (p * half + i) + 1] = (float)sin(angle);
        }
}
