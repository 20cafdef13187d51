/* cuda.c - the table of the CUDA backend, and its state. */
#include "cuda.h"

#include <stdlib.h>

px_err *cuda_open(px_stream *s) {
    const char *why = "";
    const int n = cu_count(&why);
    if (n < 1) PX_FAIL(PX_BAD_INPUT, "no GPU that this program can use%s%s", *why ? ": " : "", why);
    cuda_state *c = calloc(1, sizeof *c);
    if (!c) PX_NO_MEMORY();
    s->state = c;
    c->card = n == 1 ? 0 : px_device_chosen(); /* a launcher may show each rank its own */
    if (c->card >= n)
        PX_FAIL(
            PX_BAD_INPUT,
            "rank %d of this node wants a GPU of its own, but there are %d; start at most %d ranks "
            "a node",
            c->card, n, n);
    const char *failed = cu_open(c->card, s->threads - 1, &c->queue);
    if (!failed) failed = cu_gemms_open(c->queue, &c->gemms);
    if (failed) PX_FAIL(PX_RUN_FAILED, "GPU %d of %d: %s", c->card, n, failed);
    return NULL;
}

void cuda_close(px_stream *s) {
    cuda_state *c = s->state;
    if (!c) return;
    cuda_rounds_close(s);
    if (c->gemms) cu_gemms_close(c->gemms);
    for (int i = 0; i < c->n_extra; i++) cuda_give(s, c->extra[i]);
    free(c->extra);
    cuda_give(s, c->room);
    if (c->arena.begin) cu_free(c->arena.begin);
    cu_arena_fini(&c->arena);
    free(c->beside);
    cu_close(c->queue);
    free(c);
    s->state = NULL;
}

static void *cuda_memory_host_new(px_stream *s, size_t bytes) {
    (void)s;
    return cu_host_new(bytes);
}
static void *cuda_memory_shared_new(px_stream *s, size_t bytes) {
    (void)s;
    return cu_shared_new(bytes);
}
static void cuda_memory_host_free(px_stream *s, void *at) {
    cu_wait(cuda_queue(s));
    cu_host_free(at);
}
static void *cuda_handle(px_stream *s) { return cu_stream_of(cuda_queue(s)); }

static void cuda_wait(px_stream *s) { cu_wait(cuda_queue(s)); }
static void cuda_copied(const px_stream *s, uint64_t *to_device, uint64_t *to_host) {
    cu_copied(((const cuda_state *)s->state)->queue, to_device, to_host);
}
static void cuda_range(px_stream *s, const char *name) {
    (void)s;
    cu_range(name);
}
static void cuda_peak(px_stream *s, px_type type, double *flops, double *bytes) {
    cu_peak(((cuda_state *)s->state)->card, type == PX_BF16, flops, bytes);
}

const px_backend px_backend_cuda = {
    .name = CUDA_NAME,
    .open = cuda_open,
    .close = cuda_close,
    .reserve = cuda_reserve,
    .facts = cuda_facts,
    .elsewhere = cuda_elsewhere,
    .memory_new = cuda_memory_new,
    .memory_free = cuda_memory_free,
    .memory_host_new = cuda_memory_host_new,
    .memory_shared_new = cuda_memory_shared_new,
    .memory_host_free = cuda_memory_host_free,
    .memory_copy = cuda_memory_copy,
    .memory_zero = cuda_memory_zero,
    .handle = cuda_handle,
    .wait = cuda_wait,
    .range = cuda_range,
    .copied = cuda_copied,
    .peak = cuda_peak,
    .round_begin = cuda_round_begin,
    .round_goes_on = cuda_round_goes_on,
    .round_rows = cuda_round_rows,
    .weight_new = cuda_weight_new,
    .weight_update = cuda_weight_update,
    .weight_free = cuda_weight_free,
    .linear = cuda_linear,
    .linear_backward_input = cuda_linear_backward_input,
    .linear_backward_weight = cuda_linear_backward_weight,
    .lora_down = cuda_lora_down,
    .lora_up = cuda_lora_up,
    .lora_up_backward = cuda_lora_up_backward,
    .lora_down_backward = cuda_lora_down_backward,
    .embed = cuda_embed,
    .embed_backward = cuda_embed_backward,
    .gather = cuda_gather,
    .scatter = cuda_scatter,
    .rms_norm = cuda_rms_norm,
    .rms_norm_backward = cuda_rms_norm_backward,
    .rope = cuda_rope,
    .swiglu = cuda_swiglu,
    .swiglu_backward = cuda_swiglu_backward,
    .attention = cuda_attention,
    .attention_backward = cuda_attention_backward,
    .cache_new = cuda_cache_new,
    .cache_free = cuda_cache_free,
    .cache_put = cuda_cache_put,
    .attention_cached = cuda_attention_cached,
    .cache_copy = cuda_cache_copy,
    .head = cuda_head,
    .head_backward = cuda_head_backward,
    .head_backward_weight = cuda_head_backward_weight,
    .pick = cuda_pick,
    .adamw = cuda_adamw,
    .sum_squares = cuda_sum_squares,
    .exact_add = cuda_exact_add,
    .exact_carry = cuda_exact_carry,
    .exact_get = cuda_exact_get,
};
