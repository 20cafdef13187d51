/* calibrate_card.c - measures a GPU by its own operations (kernels/ops.h): products, attention,
 * what memory bounds, copies, launches. Wall time of several calls and the wait behind them; the
 * least of a few repeats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { REPEATS = 3, CALLS = 8, LAUNCHES = 400, SEGMENTS = 8, HEAD_DIM = 128 };

typedef struct {
    px_stream *s;
    int64_t side;
    px_mat x, y, z, g; /* [side, side] bf16 */
    px_mat wide[2];    /* f32 */
    px_weight *half, *whole;
    float *lse;
    void *host, *host_like;
    px_attn attn;
    px_segment segments[SEGMENTS];
} bench;
typedef void operation(bench *b);

static void wait_for(bench *b) {
    uint32_t word = 0;
    px_memory_copy(b->s, &word, b->y.data, sizeof word);
}

static double seconds(bench *b, operation *run, int calls) {
    double best = INFINITY;
    run(b); /* chosen, loaded, touched */
    wait_for(b);
    for (int i = 0; i < REPEATS; i++) {
        const double start = px_now_s();
        for (int k = 0; k < calls; k++) run(b);
        wait_for(b);
        best = PX_MIN(best, (px_now_s() - start) / calls);
    }
    return PX_MAX(best, 1e-9);
}

static void product_half(bench *b) { px_op_linear(b->s, b->y, b->x, b->half, false); }
static void product_whole(bench *b) { px_op_linear(b->s, b->wide[1], b->wide[0], b->whole, false); }
static void elements(bench *b) { px_op_swiglu(b->s, b->y, b->x, b->z); }
static px_mat corner(px_mat m) { return px_mat_of(m.data, m.type, 1, 8); }
static void little(bench *b) { px_op_swiglu(b->s, corner(b->y), corner(b->x), corner(b->z)); }
static void over(bench *b) {
    px_memory_copy(b->s, b->host_like, b->host, (size_t)(b->side * b->side) * 2);
}
static px_mat keys(const bench *b, px_mat m) {
    return px_mat_of(m.data, m.type, b->side, b->attn.n_kv_heads * (int64_t)b->attn.head_dim);
}
static void attention(bench *b) {
    px_op_attention(b->s, b->y, b->lse, b->x, keys(b, b->z), keys(b, b->g), &b->attn);
}
static void attention_back(bench *b) {
    const px_attn_back io = {.dq = b->y,
                             .dk = keys(b, b->wide[0]),
                             .dv = keys(b, b->wide[1]),
                             .dout = b->x,
                             .out = b->x,
                             .q = b->x,
                             .k = keys(b, b->z),
                             .v = keys(b, b->g),
                             .lse = b->lse};
    px_attn_back half = io;
    half.dk.type = half.dv.type = PX_BF16;
    px_op_attention_backward(b->s, &half, &b->attn);
}

/* A matrix on the card, of small numbers. */
static px_err *take(bench *b, px_type type, const void *from, px_mat *out) {
    const size_t bytes = (size_t)(b->side * b->side) * px_type_size(type);
    void *at = NULL;
    PX_PASS(px_memory_new(b->s, bytes, &at));
    *out = px_mat_of(at, type, b->side, b->side);
    px_memory_copy(b->s, at, from, bytes);
    return NULL;
}

static px_err *open_bench(bench *b, const char *device, float *numbers) {
    const size_t n = (size_t)(b->side * b->side);
    uint16_t *halves = NULL;
    void *at = NULL;
    PX_PASS(px_stream_open(device, 1, &b->s));
    PX_PASS(px_memory_shared_new(b->s, n * 2, &b->host));
    halves = b->host;
    for (size_t i = 0; i < n; i++) {
        numbers[i] = (float)(i % 251) / 500 - 0.25f;
        halves[i] = px_bf16_from(numbers[i]);
    }
    px_mat *const mats[] = {&b->x, &b->y, &b->z, &b->g};
    for (int i = 0; i < 4; i++) PX_PASS(take(b, PX_BF16, halves, mats[i]));
    for (int i = 0; i < 2; i++) PX_PASS(take(b, PX_F32, numbers, &b->wide[i]));
    b->attn.head_dim = (int32_t)PX_MIN(HEAD_DIM, b->side);
    b->attn.n_heads = (int32_t)(b->side / b->attn.head_dim);
    b->attn.n_kv_heads = PX_MAX(b->attn.n_heads / 4, 1);
    b->attn.scale = 0.1f;
    b->attn.segments = b->segments;
    b->attn.n_segments = SEGMENTS;
    for (int32_t i = 0, each = (int32_t)b->side / SEGMENTS; i < SEGMENTS; i++)
        b->segments[i] = (px_segment){i * each, (i + 1) * each, -1};
    PX_PASS(px_memory_new(b->s, (size_t)(b->side * b->attn.n_heads) * sizeof *b->lse, &at));
    b->lse = at;
    b->host_like = b->wide[0].data;
    PX_PASS(px_weight_new(b->s, px_mat_of(halves, PX_BF16, b->side, b->side), PX_BF16,
                          PX_PACK_FORWARD, &b->half));
    return px_weight_new(b->s, px_mat_of(numbers, PX_F32, b->side, b->side), PX_F32,
                         PX_PACK_FORWARD, &b->whole);
}

static void close_bench(bench *b) {
    if (!b->s) return;
    void *const all[] = {b->x.data,       b->y.data,       b->z.data, b->g.data,
                         b->wide[0].data, b->wide[1].data, b->lse};
    for (size_t i = 0; i < PX_COUNT(all); i++) px_memory_free(b->s, all[i]);
    if (b->half) px_weight_free(b->half);
    if (b->whole) px_weight_free(b->whole);
    if (b->host) px_memory_host_free(b->s, b->host);
    px_stream_close(b->s);
}

static void measure(bench *b, px_card_rates *out) {
    const double n = (double)b->side, each = n / SEGMENTS, cube = 2 * n * n * n;
    const double pairs = SEGMENTS * each * (each + 1) / 2 * n;
    out->bf16 = cube / seconds(b, product_half, CALLS);
    out->f32 = cube / seconds(b, product_whole, 1);
    out->memory = 6 * n * n / seconds(b, elements, CALLS);
    out->attention = 4 * pairs / seconds(b, attention, CALLS);
    out->attention_back = 10 * pairs / seconds(b, attention_back, CALLS);
    out->host = 2 * n * n / seconds(b, over, CALLS);
    out->launch_s = seconds(b, little, LAUNCHES);
    out->replay_s = out->launch_s / 2; /* assumed: none is captured here */
}

/* Name, peak, memory, and by name what leads to other cards, which one alone cannot measure. */
static void describe(bench *b, px_card_rates *out) {
    px_gpu_facts gpus;
    px_memory_facts memory;
    px_card_rates sheet;
    double peak = 0, bytes = 0;
    px_gpu_facts_get(&gpus);
    if (strcmp(out->device, "cuda") == 0 && gpus.n > 0)
        snprintf(out->name, sizeof out->name, "%.*s", (int)strcspn(gpus.cards, "("), gpus.cards);
    else
        snprintf(out->name, sizeof out->name, "%s", out->device);
    size_t end = strlen(out->name);
    while (end > 0 && out->name[end - 1] == ' ') out->name[--end] = 0;
    if (px_memory_facts_get(b->s, &memory)) out->bytes = (double)memory.card;
    const bool known = px_card_sheet_like(out->name, &sheet);
    px_stream_peak(b->s, PX_BF16, &peak, &bytes);
    out->bf16_peak = peak > 0 ? peak : known ? sheet.bf16_peak : out->bf16;
    out->link = known ? sheet.link : out->host;
    if (!(out->bytes > 0)) out->bytes = 1;
}

px_err *px_calibrate_card(const char *device, int64_t side, px_card_rates *out) {
    bench b = {.side = PX_MAX(side / 64 * 64, 64)};
    *out = (px_card_rates){.measured = true};
    snprintf(out->device, sizeof out->device, "%s", device);
    float *numbers = malloc((size_t)(b.side * b.side) * sizeof *numbers);
    if (!numbers) PX_NO_MEMORY();
    px_err *err = open_bench(&b, device, numbers);
    if (!err) {
        measure(&b, out);
        describe(&b, out);
        err = px_stream_ok(b.s);
    }
    close_bench(&b);
    free(numbers);
    if (err) return px_err_add(err, __FILE__, __LINE__, "measuring device \"%s\"", device);
    return NULL;
}
