/* cpu.h - the CPU backend inside: matrix products by oneDNN, everything else in C over vec.h.
 *
 * Threads. An operation shares out independent pieces of its output; oneDNN always computes a piece
 * with one thread, so no sum is ever split by the number of threads. Rows are cut into blocks of
 * CPU_ROWS, so that few distinct shapes (compiled kernels) exist whatever the batch. */
#ifndef PX_CPU_H
#define PX_CPU_H

#include <oneapi/dnnl/dnnl.h>

#include "backend.h"

#define CPU_ROWS 64    /* rows a piece; 64 to 512 measured the same speed on Zen 4 */
#define CPU_PANEL 512  /* columns of the product a packed panel holds: 512 x 576 bf16 stay in L2 */
#define CPU_CHUNK 4096 /* out-features a chunk of a backward pack: the head's vocabulary chunk */

/* --- matrix products of one thread --- */

/* y [M, N] f32 = x [M, K] · B [K, N]; x and y dense: with gaps between rows oneDNN 2.6 falls back
 * to its plain loops. turned: x is stored as [K, M]. plain: B is row-major, else packed. in: type
 * of x and B. */
typedef struct {
    int64_t M, N, K;
    int32_t in, turned, plain, unused;
} cpu_shape;
typedef struct cpu_kernel cpu_kernel;
/* Compiled once a shape and kept in the stream. Not to be called by several threads. NULL: the
 * error sticks to the stream. With K, N, in the same, every M takes the same packed B. */
const cpu_kernel *cpu_kernel_get(px_stream *s, cpu_shape shape);
typedef struct {
    const void *x;
    dnnl_memory_t packed; /* B, or NULL and … */
    const void *plain;    /* … B row-major */
    float *y;
} cpu_operands;
/* By thread `thread` of the stream, between cpu_begin and cpu_end. kernel NULL: nothing. */
void cpu_kernel_run(px_stream *s, const cpu_kernel *kernel, int thread, cpu_operands operands);
/* The layout of a packed B [K, N]. */
px_err *cpu_packed_layout(px_stream *s, int64_t K, int64_t N, px_type type,
                          dnnl_memory_desc_t *out);
/* oneDNN takes one thread from begin to end; brackets every parallel region with cpu_kernel_run. */
int cpu_begin(void);
void cpu_end(int kept);

/* --- weights --- */

/* B [K, N] cut into a grid of blocks, each packed as oneDNN likes it. Block (k, n) covers rows from
 * k · k_step and columns from n · n_step. */
typedef struct {
    int64_t K, N, k_step, n_step, n_k, n_n;
    dnnl_memory_t *blocks; /* [n_k · n_n], read only once packed: shared by threads */
    void *data;
    int64_t bytes;
} cpu_pack;
typedef struct {
    px_weight base;
    px_type packed;             /* f32 where the processor has no bf16 products */
    cpu_pack forward, backward; /* B = Wᵀ [in, out]; B = W [out, in] in chunks of CPU_CHUNK rows */
    void *rows;                 /* [out, in] of the compute type, with PX_PACK_ROWS */
    uint32_t *panels;           /* with PX_PACK_PANELS: see panel.c */
} cpu_weight;
/* panel.c: memory for them, packing, y = x · Wᵀ (+ y). */
px_err *cpu_panels_new(cpu_weight *w);
void cpu_panels_fill(px_stream *s, cpu_weight *w, px_mat source);
void cpu_panels_linear(px_stream *s, px_mat y, px_mat x, const cpu_weight *w, bool add);
/* y [T, n] = x · W[first : first + n]ᵀ; first a multiple of CPU_CHUNK, as is n but at the end. */
void cpu_linear_range(px_stream *s, px_mat y, px_mat x, const px_weight *w, int64_t first,
                      int64_t n, bool add);
/* dx [T, in] = dy [T, n] · W[first : first + n], the same ranges, n <= CPU_CHUNK. */
void cpu_linear_backward_range(px_stream *s, px_mat dx, px_mat dy, const px_weight *w,
                               int64_t first, int64_t n, bool add);

/* --- state --- */

typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t *streams;    /* [threads] */
    void **scratch;            /* [threads], of any kernel that a thread runs */
    size_t scratch_bytes;      /* of each */
    bool has_bf16;             /* else bf16 products are computed in f32 */
    bool steady;               /* a row of a product has the same bits in any number of rows */
    cpu_kernel *kernels[1024]; /* by hash of the shape, chained */
} cpu_state;
/* NULL, or oneDNN's status as an error with what was tried. */
px_err *cpu_check(dnnl_status_t status, const char *what);

px_open_fn cpu_open;
px_close_fn cpu_close;
px_weight_new_fn cpu_weight_new;
px_weight_update_fn cpu_weight_update;
px_weight_free_fn cpu_weight_free;
px_linear_fn cpu_linear;
px_linear_backward_input_fn cpu_linear_backward_input;
px_linear_backward_weight_fn cpu_linear_backward_weight;
px_lora_down_fn cpu_lora_down;
px_lora_up_fn cpu_lora_up;
px_lora_up_backward_fn cpu_lora_up_backward;
px_lora_down_backward_fn cpu_lora_down_backward;
px_embed_fn cpu_embed;
px_embed_backward_fn cpu_embed_backward;
px_gather_fn cpu_gather;
px_scatter_fn cpu_scatter;
px_rms_norm_fn cpu_rms_norm;
px_rms_norm_backward_fn cpu_rms_norm_backward;
px_rope_fn cpu_rope;
px_swiglu_fn cpu_swiglu;
px_swiglu_backward_fn cpu_swiglu_backward;
px_attention_fn cpu_attention;
px_attention_backward_fn cpu_attention_backward;
px_cache_new_fn cpu_cache_new;
px_cache_free_fn cpu_cache_free;
px_cache_put_fn cpu_cache_put;
px_attention_cached_fn cpu_attention_cached;
px_cache_copy_fn cpu_cache_copy;
px_head_fn cpu_head;
px_head_backward_fn cpu_head_backward;
px_head_backward_weight_fn cpu_head_backward_weight;
px_adamw_fn cpu_adamw;
px_sum_squares_fn cpu_sum_squares;

#endif
