/* roofline.c - how long a GPU takes for a step: of each call of an operation the longer of its
 * products at the rate of its kernels and of its bytes at memory's, plus its launch. Calls and
 * bytes are those of pipeline/model's passes over kernels/cuda, names those of --profile. Nothing
 * overlaps. */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { HEAD_CHUNK = 4096, LISTED = 4 }; /* kernels/cuda/head.c; keys in attention's lists a row */

typedef struct {
    const px_card_rates *card;
    const px_config *config;
    const px_shape *shape;
    px_card_step *out;
    double size, products; /* of an activation; FLOP/s of products */
    double rows, slots;    /* of a slot; how many */
    double q, kv, d, ffn, layers;
    int64_t ranks_of[PX_N_LINEAR]; /* 0: no adapter there */
} roofline;

static px_card_op *op_named(px_card_step *step, const char *name) {
    int i = 0;
    while (i < step->n && strcmp(step->ops[i].name, name) != 0) i++;
    if (i == step->n) step->ops[step->n++].name = name;
    return &step->ops[i];
}

typedef struct {
    double flops, rate, bytes; /* of one call; rate of its products; 0: none */
    double bandwidth;          /* 0: the card's memory's */
    int launches;
} call;

static void add(const roofline *r, const char *name, double calls, call c) {
    px_card_op *op = op_named(r->out, name);
    const double bandwidth = c.bandwidth > 0 ? c.bandwidth : r->card->memory;
    const double products = c.flops > 0 ? c.flops / c.rate : 0, moved = c.bytes / bandwidth;
    const double launches = c.launches * (r->out->replayed ? r->card->replay_s : r->card->launch_s);
    op->calls += calls;
    op->flops += calls * c.flops;
    op->bytes += calls * c.bytes;
    op->products_s += calls * products;
    op->bytes_s += calls * moved;
    op->launches_s += calls * launches;
    op->s += calls * (PX_MAX(products, moved) + launches);
    r->out->s += calls * (PX_MAX(products, moved) + launches);
}

static roofline begin(const px_card_rates *card, const px_config *config, const px_shape *shape,
                      px_card_step *out) {
    const bool f32 = config->precision == PX_PRECISION_F32;
    roofline r = {.card = card,
                  .config = config,
                  .shape = shape,
                  .out = out,
                  .size = f32 ? 4 : 2,
                  .products = f32 ? card->f32 : card->bf16,
                  .q = (double)(shape->n_heads * shape->head_dim),
                  .kv = (double)(shape->n_kv_heads * shape->head_dim),
                  .d = (double)shape->d,
                  .ffn = (double)shape->ffn,
                  .layers = (double)shape->n_layers};
    for (int i = 0; i < PX_N_LINEAR; i++)
        r.ranks_of[i] = config->lora_targets >> i & 1u ? config->lora_r : 0;
    *out = (px_card_step){0};
    return r;
}

/* Attention has tensor cores' rate in bf16 alone. */
static double attention_rate(const roofline *r, bool back) {
    if (r->size > 2) return r->card->f32 / 2;
    return back ? r->card->attention_back : r->card->attention;
}

/* --- a layer --- */

typedef struct {
    double in, out;
} matrix;
enum { QKV, O, GATE_UP, DOWN, N_MATRICES };
static matrix matrix_of(const roofline *r, int i) {
    const matrix all[N_MATRICES] = {
        {r->d, r->q + 2 * r->kv}, {r->q, r->d}, {r->d, 2 * r->ffn}, {r->ffn, r->d}};
    return all[i];
}
static const int first_of[N_MATRICES + 1] = {PX_Q, PX_O, PX_GATE, PX_DOWN, PX_N_LINEAR};
static double out_of(const roofline *r, int linear) {
    const double all[PX_N_LINEAR] = {r->q, r->kv, r->kv, r->d, r->ffn, r->ffn, r->d};
    return all[linear];
}

/* Bytes of a weight as the card keeps it. */
static double stored(const roofline *r, double values) {
    if (r->config->precision == PX_PRECISION_Q8_0) return values * 9 / 8;
    if (r->config->precision == PX_PRECISION_Q4_1) return values * 6 / 8;
    return values * r->size;
}

/* With coded weights, a training's product reads a copy that is widened for it. */
static void widened(const roofline *r, double calls, matrix m) {
    if (stored(r, 1) == r->size) return;
    add(r, "(weights widened)", calls,
        (call){.bytes = stored(r, m.in * m.out) + r->size * m.in * m.out, .launches = 1});
}

static void product(const roofline *r, const char *name, double calls, matrix m) {
    const double n = r->rows;
    widened(r, calls, m);
    add(r, name, calls,
        (call){.flops = 2 * n * m.in * m.out,
               .rate = r->products,
               .bytes = r->size * (n * m.in + n * m.out + m.in * m.out),
               .launches = 1});
}

/* The adapters of one input: their ranks together. */
static double group_rank(const roofline *r, int group) {
    double sum = 0;
    for (int i = first_of[group]; i < first_of[group + 1]; i++) sum += (double)r->ranks_of[i];
    return sum;
}

/* Both sides are split into parts of bf16: three passes (docs/cuda.md). */
static double adapter_rate(const roofline *r) { return attention_rate(r, false) / 3; }

static void adapters_forward(const roofline *r, double calls, int group, bool up) {
    const double n = r->rows, R = group_rank(r, group), in = matrix_of(r, group).in;
    const double rate = adapter_rate(r);
    if (R == 0) return;
    add(r, "lora_down", calls,
        (call){.flops = 2 * n * in * R,
               .rate = rate,
               .bytes = r->size * n * in + 4 * n * R + 4 * in * R,
               .launches = 1});
    for (int i = first_of[group]; i < first_of[group + 1] && up; i++) {
        const double out = out_of(r, i), each = (double)r->ranks_of[i];
        if (each == 0) continue;
        add(r, "lora_up", calls,
            (call){.flops = 2 * n * out * each,
                   .rate = rate,
                   .bytes = 2 * r->size * n * out + 4 * n * each + 4 * out * each,
                   .launches = 1});
    }
}

static void adapters_backward(const roofline *r, double calls, int group, double inputs) {
    const double n = r->rows, R = group_rank(r, group), in = matrix_of(r, group).in;
    const double rate = adapter_rate(r);
    if (R == 0) return;
    for (int i = first_of[group]; i < first_of[group + 1]; i++) {
        const double out = out_of(r, i), each = (double)r->ranks_of[i];
        if (each == 0) continue;
        /* dy is read for du and again for db, whose stretches are summed afterwards. */
        add(r, "lora_up_backward", calls,
            (call){.flops = 4 * n * out * each,
                   .rate = rate,
                   .bytes = 2 * r->size * n * out + 8 * n * each + 12 * out * each,
                   .launches = 3});
    }
    add(r, "lora_down_backward", calls,
        (call){.flops = 2 * n * in * R,
               .rate = rate,
               .bytes = r->size * n * in + 4 * n * R + 8 * in * R,
               .launches = 2});
    add(r, "lora_down_backward", inputs,
        (call){.flops = 2 * n * in * R,
               .rate = rate,
               .bytes = 2 * r->size * n * in + 4 * n * R,
               .launches = 1});
}

/* What comes from the host: attention's lists for each layer, the rest once a slot. */
static void from_host(const roofline *r, const char *name, double calls, double bytes) {
    add(r, name, calls, (call){.bytes = bytes, .bandwidth = r->card->host, .launches = 1});
}

static void norm(const roofline *r, double calls, double rows, double passes) {
    add(r, "rms_norm", calls, (call){.bytes = passes * r->size * rows * r->d, .launches = 1});
}
static void rope(const roofline *r, double calls) {
    add(r, "rope", calls, (call){.bytes = 2 * r->size * r->rows * (r->q + r->kv), .launches = 1});
}
static void swiglu(const roofline *r, double calls) {
    add(r, "swiglu", calls, (call){.bytes = 3 * r->size * r->rows * r->ffn, .launches = 1});
}

/* Each of `layers` layers of each slot, forward; `again`: as train.recompute does. */
static void forward(const roofline *r, double layers, double visible, bool again) {
    const double calls = layers * r->slots, n = r->rows;
    norm(r, calls, n, again ? 2 : 4);
    norm(r, calls, n, 4);
    for (int i = 0; i < N_MATRICES; i++) {
        const bool whole = !again || i != DOWN;
        if (whole) product(r, "linear", calls, matrix_of(r, i));
        adapters_forward(r, calls, i, whole);
    }
    rope(r, calls);
    add(r, "attention", calls,
        (call){.flops = 4 * visible * r->q,
               .rate = attention_rate(r, false),
               .bytes = r->size * n * (2 * r->q + 2 * r->kv),
               .launches = 1});
    if (!again || group_rank(r, DOWN) > 0) swiglu(r, calls);
    from_host(r, "copies", calls, 4 * LISTED * n); /* lists and tiles */
}

/* inputs: layers whose input's gradient is wanted. */
static void backward(const roofline *r, double layers, double inputs, double visible) {
    const double calls = layers * r->slots, n = r->rows, wanted = inputs * r->slots;
    swiglu(r, calls);
    add(r, "swiglu_backward", calls, (call){.bytes = 5 * r->size * n * r->ffn, .launches = 1});
    norm(r, 2 * calls, n, 2);
    add(r, "rms_norm_backward", calls + wanted,
        (call){.bytes = 4 * r->size * n * r->d, .launches = 1});
    for (int i = 0; i < N_MATRICES; i++) {
        const double given = i == QKV ? wanted : calls;
        product(r, "linear_backward_input", given, matrix_of(r, i));
        adapters_backward(r, calls, i, given);
        if (!r->config->full_finetune) continue;
        const matrix m = matrix_of(r, i);
        add(r, "linear_backward_weight", calls,
            (call){.flops = 2 * n * m.in * m.out,
                   .rate = r->products,
                   .bytes = r->size * n * (m.in + m.out) + 8 * m.in * m.out,
                   .launches = 1});
    }
    rope(r, calls);
    add(r, "attention_backward", calls,
        (call){.flops = 10 * visible * r->q,
               .rate = attention_rate(r, true),
               .bytes = r->size * n * (4 * r->q + 4 * r->kv),
               .launches = 3});
    from_host(r, "copies", 2 * calls, 4 * LISTED * n);
}

/* --- the head, by chunks of the vocabulary: logits are written and read; where the backward wants
 * the expected row, weights are too, and it is added to --- */
static void head(const roofline *r, double rows, bool train) {
    const int64_t chunks = (r->shape->vocab + HEAD_CHUNK - 1) / HEAD_CHUNK;
    const double each = (double)r->shape->vocab / (double)chunks, d = r->d;
    const double n = rows / r->slots, last = r->slots, calls = r->slots * (double)chunks;
    const double products = 2 * n * each * d;
    norm(r, last, n, 4);
    add(r, "gather", 2 * last, (call){.bytes = 2 * r->size * n * d, .launches = 1});
    add(r, "head", calls,
        (call){.flops = products,
               .rate = r->products,
               .bytes = r->size * (n * d + each * d) + 4 * n * each,
               .launches = 1});
    add(r, "head", calls, (call){.bytes = (train ? 4 + r->size : 4) * n * each, .launches = 1});
    if (!train) return;
    add(r, "head", calls,
        (call){.flops = products,
               .rate = r->products,
               .bytes = r->size * (n * each + each * d) + 8 * n * d,
               .launches = 1});
    add(r, "head_backward", last, (call){.bytes = (4 + 2 * r->size) * n * d, .launches = 1});
    norm(r, last, n, 3);
    if (!r->config->full_finetune) return;
    add(r, "head_backward_weight", calls,
        (call){.flops = 2 * products,
               .rate = r->products,
               .bytes = 2 * r->size * n * (d + each) + 8 * n * each + 8 * each * d,
               .launches = 3});
}

/* A vector of trained values: bytes of each. */
static void vector(const roofline *r, const char *name, double calls, double n, double bytes) {
    add(r, name, calls, (call){.bytes = n * bytes, .launches = 1});
}

void px_card_train(const px_card_rates *card, const px_config *config, const px_shape *shape,
                   const px_plan_step *step, bool train, double n, px_card_step *out) {
    roofline r = begin(card, config, shape, out);
    const px_work_sum *work = &step->fullest;
    r.slots = PX_MAX(step->fullest_slots, 1);
    r.rows = (double)work->rows / r.slots;
    const double visible = (double)work->visible / r.slots, layers = r.layers;
    if (!train)
        for (int i = 0; i < PX_N_LINEAR; i++) r.ranks_of[i] = 0; /* the reference is the base's */
    /* The table lies on the host, where it is not trained. */
    const double row = r.size * r.rows * r.d;
    from_host(&r, "embed", r.slots, px_table_is_here(config->full_finetune) ? row : 4 * r.rows);
    /* Positions and dropout's keys, which all layers use. */
    from_host(&r, "copies", r.slots, 4 * r.rows);
    if (train && config->lora_dropout > 0) from_host(&r, "copies", r.slots, 8 * r.rows);
    forward(&r, layers, visible, false);
    head(&r, (double)work->wanted, train);
    if (!train) return;
    const bool soft = work->soft > 0;
    forward(&r, (double)PX_MAX(px_layers_again(config, shape) - 1, 0), visible, true);
    backward(&r, layers, soft || config->full_finetune ? layers : layers - 1, visible);
    const double there = (double)px_model_trained(config, shape);
    vector(&r, "(set to 0)", r.slots, there, 4);
    vector(&r, "exact_add", r.slots, n, 36);
    vector(&r, "(set to 0)", 1, n, 16);
    vector(&r, "exact_carry", 1, n, 32);
    vector(&r, "exact_get", 1, n, 20);
    vector(&r, "sum_squares", 1, n, 4);
    vector(&r, "adamw", 1, n, 28);
    if (n > there) /* user parameters: gradients come, values go */
        from_host(&r, "copies", r.slots + 1, 4 * (n - there));
    if (config->full_finetune) vector(&r, "(weights packed)", 1, there, 4 + r.size);
}

/* --- a step of generation: a row of each answer --- */

void px_card_decode(const px_card_rates *card, const px_config *config, const px_shape *shape,
                    double batch, double positions, px_card_step *out) {
    roofline r = begin(card, config, shape, out);
    const double V = (double)shape->vocab, layers = r.layers, n = r.rows = batch;
    r.slots = 1;
    /* Coded weights are multiplied by kernels like attention's (quant_mma.cu). */
    const double rate = stored(&r, 1) == r.size ? r.products : attention_rate(&r, false);
    out->replayed = config->generate_graphs;
    add(&r, "embed", 1, (call){.bytes = r.size * n * r.d, .bandwidth = card->host, .launches = 1});
    norm(&r, 2 * layers + 1, n, 4);
    for (int i = 0; i < N_MATRICES; i++) {
        const matrix m = matrix_of(&r, i);
        add(&r, "linear", layers,
            (call){.flops = 2 * n * m.in * m.out,
                   .rate = r.products,
                   .bytes = stored(&r, m.in * m.out) + r.size * n * (m.in + m.out),
                   .launches = 1});
        adapters_forward(&r, layers, i, true);
    }
    rope(&r, layers);
    add(&r, "cache_put", layers, (call){.bytes = 4 * r.size * n * r.kv, .launches = 1});
    add(&r, "attention_cached", layers,
        (call){.flops = 4 * n * positions * r.q,
               .rate = attention_rate(&r, false),
               .bytes = r.size * (2 * n * positions * r.kv + 2 * n * r.q),
               .launches = 1});
    swiglu(&r, layers);
    add(&r, "linear", 1,
        (call){.flops = 2 * n * V * r.d,
               .rate = rate,
               .bytes = stored(&r, V * r.d) + r.size * n * r.d + 4 * n * V,
               .launches = 1});
    out->replayed = false;
    /* The step's tables, in one copy, and a launch of the graph. */
    add(&r, "copies", 1,
        (call){
            .bytes = 24 * n + 4 * n * positions / PX_PAGE, .bandwidth = card->host, .launches = 2});
    out->replayed = config->generate_graphs;
}

void px_card_step_add(px_card_step *sum, const px_card_step *more, double share) {
    for (int i = 0; i < more->n; i++) {
        const px_card_op *from = &more->ops[i];
        px_card_op *to = op_named(sum, from->name);
        double *into = &to->calls;
        const double *values = &from->calls;
        const size_t n = (size_t)(&to->s - &to->calls) + 1;
        for (size_t k = 0; k < n; k++) into[k] += share * values[k];
    }
    sum->s += share * more->s;
}

/* A ring: each card sends and takes 2 (N - 1) / N of them. */
double px_card_reduce_s(double bytes_per_s, int ranks, double bytes) {
    return ranks > 1 ? 2 * (1 - 1.0 / ranks) * bytes / bytes_per_s : 0;
}

/* --- tables --- */

static int by_time(const void *a, const void *b) {
    const px_card_op *x = a, *y = b;
    if (x->s != y->s) return x->s < y->s ? 1 : -1;
    return strcmp(x->name, y->name);
}

static const char *bound_of(const px_card_op *op) {
    if (op->launches_s >= PX_MAX(op->products_s, op->bytes_s)) return "launches";
    return op->products_s >= op->bytes_s ? "products" : "bytes";
}

void px_card_step_print(const px_card_step *step, px_str *out) {
    px_card_step sorted = *step;
    qsort(sorted.ops, (size_t)sorted.n, sizeof *sorted.ops, by_time);
    px_str_format(out, "%-24s %9s %10s %10s %10s %7s  %s\n", "operation", "calls", "TFLOP", "GB",
                  "ms", "share", "bound by");
    for (int i = 0; i < sorted.n; i++) {
        const px_card_op *op = &sorted.ops[i];
        px_str_format(out, "%-24s %9.0f %10.4f %10.4f %10.4f %6.1f %%  %s\n", op->name, op->calls,
                      op->flops / 1e12, op->bytes / 1e9, op->s * 1e3, 100 * op->s / step->s,
                      bound_of(op));
    }
}

static void step_json(const px_card_step *step, px_str *out) {
    px_card_step sorted = *step;
    qsort(sorted.ops, (size_t)sorted.n, sizeof *sorted.ops, by_time);
    px_str_char(out, '[');
    for (int i = 0; i < sorted.n; i++) {
        const px_card_op *op = &sorted.ops[i];
        px_str_format(out, "%s{\"operation\": \"%s\", \"calls\": %.0f, \"flops\": ", i ? ", " : "",
                      op->name, op->calls);
        px_str_double(out, op->flops);
        px_str_text(out, ", \"bytes\": ");
        px_str_double(out, op->bytes);
        px_str_text(out, ", \"s\": ");
        px_str_double(out, op->s);
        px_str_format(out, ", \"bound\": \"%s\"}", bound_of(op));
    }
    px_str_char(out, ']');
}

void px_card_json(const px_card_rates *card, const px_card_step *step, px_str *out) {
    if (!px_card_known(card)) return;
    px_str_text(out, ", \"gpu\": ");
    px_str_json(out, card->name, strlen(card->name));
    px_str_format(out, ", \"gpu_measured\": %s", card->measured ? "true" : "false");
    if (!step) return;
    px_str_text(out, ", \"operations\": ");
    step_json(step, out);
}
