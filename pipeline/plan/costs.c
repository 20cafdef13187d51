/* costs.c - from rows and trees to FLOPs and seconds. A layer's matrices take 2 FLOPs a weight and
 * row forward, the same again backward (a frozen matrix has no gradient of its own); attention 4
 * FLOPs a visible pair and element of a head forward (q·k, p·v), 10 backward; the head 2 FLOPs a
 * row and element of the matrix, 4 where the expected row is kept for the backward. */
#include <math.h>
#include <stdlib.h>

#include "plan.h"

typedef struct {
    double linear, weight_grad, lora, attention, head, head_grad, rest; /* forward, or each way */
} parts;

static double lora_weights(const px_config *config, const px_shape *s) {
    const double q = (double)(s->n_heads * s->head_dim), kv = (double)(s->n_kv_heads * s->head_dim);
    const double d = (double)s->d, ffn = (double)s->ffn;
    const double in_out[PX_N_LINEAR] = {d + q, d + kv, d + kv, q + d, d + ffn, d + ffn, ffn + d};
    double sum = 0;
    for (int i = 0; i < PX_N_LINEAR; i++)
        if (config->lora_targets >> i & 1u) sum += (double)config->lora_r * in_out[i];
    return sum;
}

static double layer_weights(const px_shape *s) {
    const double q = (double)(s->n_heads * s->head_dim), kv = (double)(s->n_kv_heads * s->head_dim);
    return (double)s->d * (q + 2 * kv) + q * (double)s->d + 3.0 * (double)s->d * (double)s->ffn;
}

static parts parts_of(const px_config *config, const px_shape *s, const px_work_sum *work) {
    const double rows = (double)work->rows, layers = (double)s->n_layers;
    const double head = (double)s->vocab * (double)s->d * (double)work->wanted;
    const double per_pair = (double)(s->n_heads * s->head_dim) * layers;
    parts p = {.linear = 2 * layer_weights(s) * rows * layers,
               .lora = 2 * lora_weights(config, s) * rows * layers,
               .attention = per_pair * (double)work->visible,
               .head = head,
               .rest = rows * (double)(s->d + s->ffn) * layers};
    if (config->full_finetune) {
        p.weight_grad = p.linear;
        p.head_grad = 4 * head;
    }
    return p;
}

/* Part of the layers' forward that train.recompute does again: all but the last of its layers, and
 * no down projection. */
static double again(const px_config *config, const px_shape *s) {
    const double down = (double)s->d * (double)s->ffn;
    const double n = (double)PX_MAX(px_layers_again(config, s) - 1, 0);
    return n / (double)s->n_layers * (1 - down / layer_weights(s));
}

px_flops px_plan_flops(const px_config *config, const px_shape *shape, const px_work_sum *work) {
    const parts p = parts_of(config, shape, work);
    const double layers = p.linear + p.lora + 4 * p.attention;
    return (px_flops){.forward = layers + 2 * p.head,
                      .backward = p.linear + 2 * p.lora + 10 * p.attention + 2 * p.head +
                                  p.weight_grad + p.head_grad + layers * again(config, shape)};
}

px_rate px_rate_at(const px_rates *rates, int64_t d, bool f32) {
    const px_rate *below = NULL, *above = NULL;
    for (int i = 0; i < rates->n_rates; i++) {
        const px_rate *r = &rates->rates[i];
        if ((r->f32 > 0) != f32) continue;
        if (r->d <= (double)d && (!below || r->d > below->d)) below = r;
        if (r->d >= (double)d && (!above || r->d < above->d)) above = r;
    }
    if (!below && !above) return f32 ? px_rate_at(rates, d, false) : (px_rate){0};
    if (!below || !above || below == above) return below ? *below : *above;
    const double t = (log((double)d) - log(below->d)) / (log(above->d) - log(below->d));
    px_rate out = *below;
    double *mixed = &out.forward;
    const double *low = &below->forward, *high = &above->forward;
    const size_t n = (size_t)(&below->pack - &below->forward) + 1;
    for (size_t i = 0; i < n; i++) mixed[i] = low[i] + t * (high[i] - low[i]);
    return out;
}

double px_plan_core_s(const px_rates *rates, const px_config *config, const px_shape *shape,
                      const px_work_sum *work, bool train) {
    const px_rate r = px_rate_at(rates, shape->d, config->precision == PX_PRECISION_F32);
    const parts p = parts_of(config, shape, work);
    if (!(r.forward > 0)) return 0;
    double s =
        p.linear / r.forward + 4 * p.attention / r.attention_forward + p.rest / r.rest_forward;
    if (!train) return s + 2 * p.head / r.head_forward;
    s += p.lora / r.lora_forward + 2 * p.lora / r.lora_backward + p.linear / r.backward +
         10 * p.attention / r.attention_backward + 4 * p.head / r.head_train +
         p.rest / r.rest_backward;
    s += again(config, shape) * (p.linear / r.forward + 4 * p.attention / r.attention_forward +
                                 p.lora / r.lora_forward + p.rest / r.rest_forward);
    if (p.weight_grad > 0) s += p.weight_grad / r.weight_grad + p.head_grad / r.head_grad;
    return s;
}

/* The number of ranks that is nearest among the measured; NULL: none is. */
static const px_reduce_rate *reduce_near(const px_rates *rates, int ranks) {
    const px_reduce_rate *near = NULL;
    for (int i = 0; i < rates->n_reduce; i++)
        if (!near || abs(rates->reduce[i].ranks - ranks) < abs(near->ranks - ranks))
            near = &rates->reduce[i];
    return near;
}

double px_plan_launch_s(const px_rates *rates, int ranks) {
    const px_reduce_rate *near = ranks > 1 ? reduce_near(rates, ranks) : NULL;
    return near ? near->start_s : 0;
}

/* Open MPI sums long messages round a ring: each rank sends and adds 2 (N - 1) / N of them. */
double px_plan_reduce_s(const px_rates *rates, int ranks, double bytes) {
    if (ranks <= 1) return 0;
    const px_reduce_rate *near = reduce_near(rates, ranks);
    const double latency = near ? near->latency_s : 2e-5, speed = near ? near->bytes_per_s : 1e9;
    const int at = near ? near->ranks : 2;
    const double share = (1 - 1.0 / ranks) / (1 - 1.0 / at);
    return latency * (1 + log2(ranks)) / (1 + log2(at)) + bytes / speed * share;
}
