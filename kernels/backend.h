/* backend.h - what a backend is, inside kernels/: one function per operation of ops.h, with the
 * same arguments and meaning. ops.c checks the shapes and calls through the table; a backend may
 * rely on it. */
#ifndef PX_BACKEND_H
#define PX_BACKEND_H

#include "ops.h"

typedef px_err *px_open_fn(px_stream *s);
typedef void px_close_fn(px_stream *s);
typedef px_err *px_reserve_fn(px_stream *s, size_t bytes, size_t scratch);
typedef void px_facts_fn(const px_stream *s, px_memory_facts *out);
typedef void *px_memory_new_fn(px_stream *s, size_t bytes);
typedef void px_memory_free_fn(px_stream *s, void *at);
typedef void px_memory_copy_fn(px_stream *s, void *to, const void *from, size_t bytes);
typedef void px_memory_zero_fn(px_stream *s, void *at, size_t bytes);
typedef void px_round_begin_fn(px_stream *s, const px_round *round);
typedef bool px_round_goes_on_fn(px_stream *s);
typedef int64_t px_round_rows_fn(int64_t n, int64_t most);
typedef px_err *px_weight_new_fn(px_stream *s, px_mat source, px_type type, int pack,
                                 px_weight **out);
typedef px_err *px_weight_update_fn(px_stream *s, px_weight *w, px_mat source);
typedef void px_weight_free_fn(px_weight *w);
typedef void px_linear_fn(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add);
typedef void px_linear_backward_input_fn(px_stream *s, px_mat dx, px_mat dy, const px_weight *w,
                                         bool add);
typedef void px_linear_backward_weight_fn(px_stream *s, float *dw, px_mat dy, px_mat x);
typedef void px_lora_down_fn(px_stream *s, float *u, px_mat x, const float *a, int64_t R,
                             px_dropout drop);
typedef void px_lora_up_fn(px_stream *s, px_mat y, const float *u, const float *b,
                           px_lora_part part);
typedef void px_lora_up_backward_fn(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                                    const float *b, px_lora_part part);
typedef void px_lora_down_backward_fn(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                                      const float *a, int64_t R, px_dropout drop);
typedef void px_embed_fn(px_stream *s, px_mat y, const int32_t *ids, px_mat table,
                         const float *soft);
typedef void px_embed_backward_fn(px_stream *s, float *dsoft, float *dtable, const int32_t *ids,
                                  px_mat dy);
typedef void px_gather_fn(px_stream *s, px_mat y, px_mat x, const int32_t *rows);
typedef void px_scatter_fn(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows);
typedef void px_rms_norm_fn(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                            const float *w, float eps);
typedef void px_rms_norm_backward_fn(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy,
                                     px_mat x, const float *rms, const float *w);
typedef void px_rope_fn(px_stream *s, px_mat x, const int32_t *positions, const float *table,
                        int64_t hd, int direction);
typedef void px_swiglu_fn(px_stream *s, px_mat y, px_mat gate, px_mat up);
typedef void px_swiglu_backward_fn(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                                   px_mat up);
typedef void px_attention_fn(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                             const px_attn *attn);
typedef void px_attention_backward_fn(px_stream *s, const px_attn_back *io, const px_attn *attn);
typedef px_err *px_cache_new_fn(px_stream *s, px_cache_shape shape, px_cache **out);
typedef void px_cache_free_fn(px_cache *cache);
typedef void px_cache_put_fn(px_stream *s, const px_cached *at, px_mat k, px_mat v);
typedef void px_attention_cached_fn(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                                    const px_attn *attn);
typedef void px_cache_copy_fn(px_stream *s, px_cache *cache, int32_t to, int32_t from);
typedef void px_head_fn(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h,
                        const px_weight *w, px_targets targets);
typedef void px_head_backward_fn(px_stream *s, px_mat dh, const float *g, px_mat ew,
                                 const px_weight *w, px_targets targets);
typedef void px_head_backward_weight_fn(px_stream *s, float *dw, const float *g, const float *lse,
                                        px_mat h, const px_weight *w, px_targets targets);
typedef void px_pick_fn(px_stream *s, px_mat logits, const px_picking *how, px_picked *out,
                        px_listed *lists);
typedef void px_adamw_fn(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
                         const px_adamw *adamw);
typedef double px_sum_squares_fn(px_stream *s, const float *g, int64_t n);
typedef void px_exact_add_fn(px_stream *s, int64_t *high, int64_t *low, const float *g, int64_t n,
                             uint64_t *bad);
typedef void px_exact_carry_fn(px_stream *s, int64_t *high, int64_t *low, int64_t n);
typedef void px_exact_get_fn(px_stream *s, float *g, const int64_t *high, const int64_t *low,
                             int64_t n);
typedef void px_elsewhere_fn(px_stream *s, int64_t bytes);
typedef void *px_handle_fn(px_stream *s);
typedef void px_wait_fn(px_stream *s);
typedef void px_copied_fn(const px_stream *s, uint64_t *to_device, uint64_t *to_host);
typedef void px_range_fn(px_stream *s, const char *name);
typedef void px_peak_fn(px_stream *s, px_type type, double *flops, double *bytes);

typedef struct {
    const char *name;
    px_open_fn *open;
    px_close_fn *close;
    /* A backend with memory of its own; NULL: it takes the host's. */
    px_reserve_fn *reserve;
    px_facts_fn *facts;
    px_elsewhere_fn *elsewhere;
    px_memory_new_fn *memory_new;
    px_memory_free_fn *memory_free;
    px_memory_new_fn *memory_host_new;
    px_memory_new_fn *memory_shared_new; /* freed as memory_host_new's */
    px_memory_free_fn *memory_host_free;
    px_memory_copy_fn *memory_copy;
    px_memory_zero_fn *memory_zero;
    px_handle_fn *handle;
    px_wait_fn *wait;     /* until all is done; NULL: it is when an operation returns */
    px_range_fn *range;   /* a named range for NVIDIA's tools begins; name NULL: it ends */
    px_copied_fn *copied; /* bytes between its memory and the host's so far; NULL: none */
    px_peak_fn *peak;     /* of the card, a second; NULL: not known */
    /* NULL: a round is its operations. */
    px_round_begin_fn *round_begin;
    px_round_goes_on_fn *round_goes_on;
    px_round_rows_fn *round_rows;
    px_weight_new_fn *weight_new;
    px_weight_update_fn *weight_update;
    px_weight_free_fn *weight_free;
    px_linear_fn *linear;
    px_linear_backward_input_fn *linear_backward_input;
    px_linear_backward_weight_fn *linear_backward_weight;
    px_lora_down_fn *lora_down;
    px_lora_up_fn *lora_up;
    px_lora_up_backward_fn *lora_up_backward;
    px_lora_down_backward_fn *lora_down_backward;
    px_embed_fn *embed;
    px_embed_backward_fn *embed_backward;
    px_gather_fn *gather;
    px_scatter_fn *scatter;
    px_rms_norm_fn *rms_norm;
    px_rms_norm_backward_fn *rms_norm_backward;
    px_rope_fn *rope;
    px_swiglu_fn *swiglu;
    px_swiglu_backward_fn *swiglu_backward;
    px_attention_fn *attention;
    px_attention_backward_fn *attention_backward;
    px_cache_new_fn *cache_new;
    px_cache_free_fn *cache_free;
    px_cache_put_fn *cache_put;
    px_attention_cached_fn *attention_cached;
    px_cache_copy_fn *cache_copy;
    px_head_fn *head;
    px_head_backward_fn *head_backward;
    px_head_backward_weight_fn *head_backward_weight;
    px_pick_fn *pick;
    px_adamw_fn *adamw;
    px_sum_squares_fn *sum_squares;
    px_exact_add_fn *exact_add;
    px_exact_carry_fn *exact_carry;
    px_exact_get_fn *exact_get;
} px_backend;

extern const px_backend px_backend_ref, px_backend_cpu;
/* ref/exact.c and ref/pick.c, for both of them. */
px_exact_add_fn px_ref_exact_add;
px_exact_carry_fn px_ref_exact_carry;
px_exact_get_fn px_ref_exact_get;
px_pick_fn px_ref_pick;
#if defined(PX_HAVE_CUDA) || defined(PX_HAVE_SIMT)
extern const px_backend px_backend_cuda;
#endif
/* What px_device_choose chose. */
int px_device_chosen(void);

struct px_stream {
    const px_backend *backend;
    int threads;
    void *state; /* the backend's own */
    px_err *err; /* the first failure inside an operation, until px_stream_ok takes it */
    void *scratch;
    size_t scratch_bytes;
    struct px_profile *profile; /* or NULL */
    bool no_graphs;
    bool round_runs; /* of a backend without rounds: its operations are still to be called */
    px_round_counts rounds;
};

/* At least `bytes`, aligned to 64, not zeroed; the same memory again at every call, so one call an
 * operation, for all its threads. NULL: no memory, the error sticks, the operation returns. */
void *px_scratch(px_stream *s, size_t bytes);
/* A product of this type, for the profile's peak. */
void px_profile_product(px_stream *s, px_type type, double flops);
/* Keeps the first error. */
void px_stream_fail(px_stream *s, px_err *err);

/* Every backend's weight starts with this. */
struct px_weight {
    const px_backend *backend;
    int64_t out, in;
    px_type type; /* compute type */
    int pack;
    int64_t bytes;
};

/* Bits of a quantised weight; 0: none. */
static inline int px_pack_bits(int pack) {
    return pack & PX_PACK_Q8 ? 8 : pack & PX_PACK_Q4 ? 4 : 0;
}

/* Every backend's cache starts with this. */
struct px_cache {
    const px_backend *backend;
    px_cache_shape shape;
};

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t px_bf16_of(float value) {
    union {
        float f;
        uint32_t u;
    } bits = {value};
    if ((bits.u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits.u >> 16 | 0x40u);
    return (uint16_t)((bits.u + 0x7FFFu + (bits.u >> 16 & 1u)) >> 16);
}
static inline float px_f32_of(uint16_t value) {
    union {
        uint32_t u;
        float f;
    } bits = {(uint32_t)value << 16};
    return bits.f;
}
static inline void *px_mat_row(px_mat m, int64_t i) {
    return (char *)m.data + (size_t)(i * m.stride) * px_type_size(m.type);
}

/* Dropout draws. Column j of a row with key k takes 16 bits of Philox 4x32-10 under the key (seed
 * low, seed high) at the counter (PX_RNG_DROPOUT << 16 ^ site, k low, k high, j / 128 * 16 + j %
 * 16): word j / 16 % 4, low half where j / 64 is even, else the high half. So 16 neighbouring
 * columns are one word of 16 counters, a vector without shuffles. Kept where draw >=
 * px_drop_threshold. */
static inline uint32_t px_drop_threshold(px_dropout drop) {
    return (uint32_t)(drop.p * 65536.0 + 0.5);
}

#endif
