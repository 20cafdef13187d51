/* user.c - see model.h: a person's soft tokens from the shared bank or from an offset of their own.
 * bank: e_u[t] = sum_k a_uk V[k][t], a_u = softmax(w_u) or w_u; individual: e_u = e_0 + o_u, o_0 =
 * 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

typedef struct {
    const float *bank, *weights;    /* bank [K, T d], weights [users, K] */
    const float *generic, *offsets; /* [T d], [users, T d] */
    size_t at_bank, at_weights, at_generic, at_offsets;
    size_t size; /* T d */
} tensors;

static size_t offset_of(const px_params *params, const char *name) {
    const px_param *p = px_params_find(params, name);
    return p ? p->offset : 0;
}

static tensors tensors_of(const px_params *params) {
    tensors t = {.size = (size_t)(params->n_tokens * params->d)};
    if (params->user_kind == PX_USER_BANK) {
        t.at_bank = offset_of(params, "user.bank");
        t.at_weights = offset_of(params, "user.weights");
        t.bank = params->values + t.at_bank;
        t.weights = params->values + t.at_weights;
    } else if (params->user_kind == PX_USER_INDIVIDUAL) {
        t.at_generic = offset_of(params, "user.generic");
        t.at_offsets = offset_of(params, "user.offsets");
        t.generic = params->values + t.at_generic;
        t.offsets = params->values + t.at_offsets;
    }
    return t;
}

/* a_u for component k: exp(w - max) / sum, or w itself. top and sum from mix_of. */
typedef struct {
    const float *w;
    double top, sum;
    bool softmax;
} mix;
static mix mix_of(const px_params *params, const tensors *t, int32_t u) {
    mix m = {.w = t->weights + (size_t)u * (size_t)params->bank,
             .softmax = params->mixing == PX_MIX_SOFTMAX};
    m.top = m.w[0];
    for (int64_t k = 1; k < params->bank; k++) m.top = fmax(m.top, m.w[k]);
    for (int64_t k = 0; k < params->bank; k++) m.sum += exp(m.w[k] - m.top);
    return m;
}
static double share(const mix *m, int64_t k) {
    return m->softmax ? exp(m->w[k] - m->top) / m->sum : m->w[k];
}

void px_user_embed(const px_params *params, int32_t u, float *e) {
    const tensors t = tensors_of(params);
    if (params->user_kind == PX_USER_INDIVIDUAL) {
        const float *o = t.offsets + (size_t)u * t.size;
        for (size_t i = 0; i < t.size; i++) e[i] = u == 0 ? t.generic[i] : t.generic[i] + o[i];
    } else if (params->user_kind == PX_USER_BANK) {
        const mix m = mix_of(params, &t, u);
        memset(e, 0, t.size * sizeof *e);
        for (int64_t k = 0; k < params->bank; k++) {
            const float a = (float)share(&m, k), *v = t.bank + (size_t)k * t.size;
            for (size_t i = 0; i < t.size; i++) e[i] += a * v[i];
        }
    }
}

/* dL/da_k = de · V[k]; through the softmax dL/dw_k = a_k (dL/da_k - sum_j a_j dL/da_j). */
static void bank_backward(const px_params *params, const tensors *t, int32_t u, const float *de,
                          float *grads) {
    const mix m = mix_of(params, t, u);
    float *dw = grads + t->at_weights + (size_t)u * (size_t)params->bank;
    double mean = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k < params->bank; k++) {
            const float *v = t->bank + (size_t)k * t->size;
            float *dv = grads + t->at_bank + (size_t)k * t->size;
            const double a = share(&m, k);
            double da = 0;
            for (size_t i = 0; i < t->size; i++) da += (double)de[i] * v[i];
            if (pass == 0) {
                mean += a * da;
                for (size_t i = 0; i < t->size; i++) dv[i] += (float)a * de[i];
            } else {
                dw[k] += (float)(m.softmax ? a * (da - mean) : da);
            }
        }
}

void px_user_embed_backward(const px_params *params, int32_t u, const float *de, float *grads) {
    const tensors t = tensors_of(params);
    if (params->user_kind == PX_USER_INDIVIDUAL) {
        float *dg = grads + t.at_generic, *doff = grads + t.at_offsets + (size_t)u * t.size;
        for (size_t i = 0; i < t.size; i++) dg[i] += de[i];
        for (size_t i = 0; u > 0 && i < t.size; i++) doff[i] += de[i];
    } else if (params->user_kind == PX_USER_BANK) {
        bank_backward(params, &t, u, de, grads);
    }
}

/* Σ over i of x² for x = sum_k c_k V[k]. */
static double mixed_norm(const px_params *params, const tensors *t, const double *c) {
    double sum = 0;
    for (size_t i = 0; i < t->size; i++) {
        double x = 0;
        for (int64_t k = 0; k < params->bank; k++) x += c[k] * t->bank[(size_t)k * t->size + i];
        sum += x * x;
    }
    return sum;
}

/* Sum over users of |e_u - mean|² = sum_jk C_jk G_jk, with C the scatter of the a_u and G = V Vᵀ:
 * no user's embedding is ever built. Returns the spread. scratch [2 K² + 3 K]. */
static double bank_spread(const px_params *params, const tensors *t, double *scratch) {
    const int64_t K = params->bank;
    double *mean = scratch, *c = mean + K, *scatter = c + K, apart = 0;
    const double n = params->n_users - 1;
    memset(scratch, 0, (size_t)(K * K + 2 * K) * sizeof *scratch);
    for (int pass = 0; pass < 2; pass++)
        for (int32_t u = 1; u < params->n_users; u++) {
            const mix m = mix_of(params, t, u);
            for (int64_t k = 0; k < K; k++) c[k] = share(&m, k) - (pass ? mean[k] : 0);
            for (int64_t k = 0; k < K && pass == 0; k++) mean[k] += c[k] / n;
            for (int64_t j = 0; j < K && pass == 1; j++)
                for (int64_t k = 0; k < K; k++) scatter[j * K + k] += c[j] * c[k];
        }
    for (int64_t j = 0; j < K; j++)
        for (int64_t k = 0; k <= j; k++) {
            const float *vj = t->bank + (size_t)j * t->size, *vk = t->bank + (size_t)k * t->size;
            double dot = 0;
            for (size_t i = 0; i < t->size; i++) dot += (double)vj[i] * vk[i];
            apart += dot * scatter[j * K + k] * (j == k ? 1 : 2);
        }
    const double norm = mixed_norm(params, t, mean);
    return norm > 0 && apart > 0 ? sqrt(apart / n / norm) : 0;
}

/* A cache line's worth of columns at a time: every line of the offsets is read once. */
static double individual_spread(const px_params *params, const tensors *t) {
    enum { WIDE = 16 };
    const double n = params->n_users - 1;
    double apart = 0, norm = 0;
    for (size_t first = 0; first < t->size; first += WIDE) {
        const size_t wide = PX_MIN((size_t)WIDE, t->size - first);
        double sum[WIDE] = {0}, square[WIDE] = {0};
        for (int32_t u = 1; u < params->n_users; u++) {
            const float *o = t->offsets + (size_t)u * t->size + first;
            for (size_t i = 0; i < wide; i++) {
                sum[i] += o[i];
                square[i] += (double)o[i] * o[i];
            }
        }
        for (size_t i = 0; i < wide; i++) {
            const double mean = t->generic[first + i] + sum[i] / n;
            apart += fmax(square[i] - sum[i] * sum[i] / n, 0);
            norm += mean * mean;
        }
    }
    return norm > 0 ? sqrt(apart / n / norm) : 0;
}

double px_user_spread(const px_params *params) {
    const tensors t = tensors_of(params);
    const size_t K = (size_t)params->bank;
    if (params->n_users < 2 || params->user_kind == PX_USER_NONE) return 0;
    if (params->user_kind == PX_USER_INDIVIDUAL) return individual_spread(params, &t);
    double *scratch = malloc((K * K + 2 * K) * sizeof *scratch);
    if (!scratch) return NAN;
    const double spread = bank_spread(params, &t, scratch);
    free(scratch);
    return spread;
}
