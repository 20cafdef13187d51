/* memory.c - what is resident in a rank at most. Every term is an allocation that can be found in
 * the sources: weights packed forward and backward (kernels/cpu/linear.c), trainables and their
 * sums (train/step.c, dist/exact.c), activations as px_pass_new takes them for the rows that a slot
 * really has (pages beyond are never touched), scratch of the widest operation. */
#include <stdlib.h>

#include "plan.h"

static double layer_floats(const px_shape *s) {
    const double q = (double)(s->n_heads * s->head_dim), kv = (double)(s->n_kv_heads * s->head_dim);
    return (double)s->d * (q + 2 * kv) + q * (double)s->d + 3.0 * (double)s->d * (double)s->ffn;
}

static void weights_of(const px_config *config, const px_shape *s, px_plan_memory *m) {
    px_kernels_info info;
    px_kernels_about(&info);
    const double size = config->precision == PX_PRECISION_F32 ? 4 : 2;
    const double packed = size == 2 && !info.bf16 ? 4 : size;
    const double table = (double)s->vocab * (double)s->d * size;
    const double layers = layer_floats(s) * (double)s->n_layers;
    m->weights = 2 * packed * layers + 2 * table + 4096.0 * (double)s->head_dim * 4;
    /* What stands beside them while they are read: the widest matrix, or a head of its own. */
    const double widest = 2.0 * (double)s->ffn * (double)s->d * size;
    m->loading = s->tied ? widest : PX_MAX(widest, table);
}

static double scratch_of(const px_config *config, const px_shape *s, int64_t rows, int64_t wanted,
                         int threads) {
    const double size = config->precision == PX_PRECISION_F32 ? 4 : 2, d = (double)s->d;
    const double width = (double)PX_MAX(2 * s->ffn, s->n_heads * s->head_dim);
    const double product = threads * (64.0 * 512 + 64 * width) * 4;
    /* Keys' and values' gradients in f32, of the rows and of the prefixes that parts share. */
    const double attention = 2.0 * (double)rows * (double)(s->n_kv_heads * s->head_dim) * 2 * 4;
    const double head = threads * 1.5e6;
    const double head_grad = config->full_finetune ? 2 * size * (double)wanted * d : 0;
    return PX_MAX(PX_MAX(product, attention), PX_MAX(head, head_grad));
}

px_train_sizes px_plan_sizes(const px_config *config, const px_plan_corpus *corpus) {
    px_train_sizes out = {.n_users = corpus->n_users};
    out.soft = config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
    for (int32_t i = 0; i < corpus->n_units; i++)
        out.unit = PX_MAX(out.unit, (int64_t)corpus->units[i].nodes);
    for (int32_t i = 0; i < corpus->n_all; i++)
        out.conversation = PX_MAX(out.conversation, (int64_t)corpus->all[i].nodes);
    return out;
}

/* With a GPU: what is left on the host. Weights go through it, a table or head on top of the widest
 * matrix (model/model.c); values and moments are there for checkpoints. */
static void host_of_card(const px_config *config, const px_shape *s, double n, px_plan_memory *m) {
    const bool coded =
        config->precision == PX_PRECISION_Q8_0 || config->precision == PX_PRECISION_Q4_1;
    const double size = config->precision == PX_PRECISION_F32 || coded ? 4 : 2;
    const double table = (double)s->vocab * (double)s->d;
    m->weights = px_table_is_here(config->full_finetune) ? table * (coded ? 2 : size) : 0;
    m->loading = (2.0 * (double)s->ffn * (double)s->d + table) * size;
    m->trainables = n * 12 + 4 * (n - (double)px_model_trained(config, s));
    /* The driver's and the libraries' own on the host: an allowance, not measured. */
    if (config->device == PX_DEVICE_CUDA) m->program += 4e8;
    if (config->device == PX_DEVICE_SIMT) m->program += (double)m->card.region;
    m->activations = m->scratch = 0;
    m->peak = m->program + m->corpus + m->weights + PX_MAX(m->trainables, m->loading + 4 * n);
}

px_err *px_plan_memory_of(const px_config *config, const px_shape *shape,
                          const px_plan_corpus *corpus, const px_rates *rates,
                          const px_plan_place *place, const px_plan_step *worst,
                          int64_t reference_rows, px_plan_memory *out) {
    int64_t forward = 0, backward = 0;
    const double n = (double)px_params_count(config, shape, corpus->n_users);
    const bool exact = config->comm_reduce == PX_REDUCE_EXACT;
    *out = (px_plan_memory){.program = rates->program_bytes};
    for (int i = 0; place->ranks > 1 && i < rates->n_reduce; i++)
        if (i == 0 || abs(rates->reduce[i].ranks - place->ranks) <= 1)
            out->program = PX_MAX(rates->reduce[i].program_bytes, rates->program_bytes);
    weights_of(config, shape, out);
    /* Values, two moments, a slot's gradient; sums in f32, or exact ones of two 64-bit limbs. */
    out->trainables = n * (4 + 8 + 4 + (exact ? 16 : 4));
    PX_PASS(px_pass_estimate(config, shape, worst->largest, true, &backward));
    PX_PASS(px_pass_estimate(config, shape, reference_rows, false, &forward));
    out->activations = (double)backward;
    out->scratch = scratch_of(config, shape, worst->largest, worst->largest, place->threads);
    /* Tables of pairs and conversations, the epoch's order, reference; trees of a batch's copies.
     */
    out->program += rates->compiled + (config->full_finetune ? rates->compiled_full : 0);
    out->corpus =
        120.0 * corpus->all_pairs + 100.0 * corpus->n_all + 90.0 * (double)worst->all.rows;
    const double training = out->trainables + out->activations + out->scratch;
    const double reading = PX_MAX(out->loading, (double)forward + out->scratch) + 4 * n;
    out->peak = out->program + out->weights + out->corpus + PX_MAX(training, reading);
    if (config->device == PX_DEVICE_CPU) return NULL;
    const px_train_sizes sizes = px_plan_sizes(config, corpus);
    out->card = px_train_card_of(config, shape, &sizes, place->ranks);
    out->program -= rates->compiled + (config->full_finetune ? rates->compiled_full : 0);
    host_of_card(config, shape, n, out);
    return NULL;
}
