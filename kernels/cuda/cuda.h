/* cuda.h - the CUDA backend inside, its host's side in C: what is where, and which kernels run.
 *
 * Memory. Every pointer of an operation may be device memory (px_memory_new) or the host's. What is
 * the host's is staged: copied to the device, and back at the end of the operation, which then
 * waits. So an operation is right wherever its operands lie, and fast where they lie on the card.
 *
 * Bits. Every kernel's sums run in an order fixed by the shapes alone; no float atomics. */
#ifndef PX_CUDA_H
#define PX_CUDA_H

#include "arena.h"
#include "backend.h"
#include "gemm.h"
#include "launch.h"

#ifdef PX_HAVE_CUDA
#define CUDA_NAME "cuda"
#else
#define CUDA_NAME "simt" /* the same sources on the CPU */
#endif

/* A copy of host memory on the device; written back with `back`. */
typedef struct {
    void *host, *device;
    size_t host_pitch, pitch, width, height;
    bool back;
} cuda_staged;
enum { CUDA_STAGED_MOST = 16 };
/* A piece of the card's memory that does not come out of the region. */
typedef struct {
    void *at;
    size_t bytes;
} cuda_beside;
typedef struct {
    cu_queue *queue;
    cu_gemms *gemms;
    int card;
    cuda_staged staged[CUDA_STAGED_MOST]; /* of the running operation */
    int n_staged;
    bool copies_back;
    /* Scratch on the device: one piece handed out bit by bit, and more pieces where it was short;
     * the next operation begins with one that is large enough. */
    char *room;
    size_t room_bytes, used;
    void **extra;
    int n_extra, extra_room;
    size_t extra_bytes, used_most; /* used_most: of an operation so far, extra pieces included */
    /* Memory that lasts: out of one region where it was reserved, else each piece by itself. */
    cu_arena arena;
    cuda_beside *beside; /* [n_beside] */
    int n_beside, beside_room;
    size_t beside_bytes;        /* of those, and of what others took for us */
    uint64_t n_given;           /* pieces that were given back: a graph from before may hold them */
    px_memory_facts facts;      /* peaks and counts so far */
    struct cuda_rounds *rounds; /* round.c; NULL: none yet */
} cuda_state;

/* --- memory.c --- */
/* The card's memory, until cuda_give. NULL: there is none. */
void *cuda_take(px_stream *s, size_t bytes);
void cuda_give(px_stream *s, void *at); /* NULL: nothing */

/* --- stage.c --- */
/* How an operand is used. OUT: all of it is written. */
typedef enum { CUDA_IN = 1, CUDA_OUT = 2, CUDA_BOTH = 3 } cuda_use;
/* Scratch until cuda_done. NULL: the error sticks. */
void *cuda_room(px_stream *s, size_t bytes);
/* Device memory with `bytes` of p. NULL where p is NULL or nothing can be had. */
void *cuda_array(px_stream *s, const void *p, size_t bytes, cuda_use use);
cu_mat cuda_mat(px_stream *s, px_mat m, cuda_use use);
cu_mat cuda_mat_as_is(px_mat m); /* where it is */
/* An array that is always the host's: what an operation made for its kernels. */
const void *cuda_upload(px_stream *s, const void *p, size_t bytes);
/* Whether all could be staged so far: else the operation leaves its work undone. */
bool cuda_ready(px_stream *s);
/* End of an operation: brings results back, looks for errors. Every operation ends so. */
void cuda_done(px_stream *s);
/* A text of launch.h or gemm.h becomes the stream's error. */
void cuda_note(px_stream *s, const char *text);
static inline cu_queue *cuda_queue(px_stream *s) { return ((cuda_state *)s->state)->queue; }
/* C = A · B, errors to the stream. */
void cuda_gemm(px_stream *s, cu_gemm product);

/* --- attention.c: stretches of sequences in a cache --- */
void cuda_cached_count(const px_cached *at, int64_t *n_tiles, int64_t *n_list);
/* Where each row's position lies, head 0 of layer 0; -1 for rows of no stretch. */
void cuda_cached_places(const px_cached *at, int64_t rows, int64_t *places);
void cuda_cached_tiles(const px_cached *at, cu_tile *tiles, int32_t *list);

/* --- round.c --- */
/* The same on the device. */
typedef struct {
    const int64_t *places;
    const cu_tile *tiles;
    const int32_t *list;
    int64_t n_tiles;
} cuda_cached;
/* What the round under way brought over: the array, the stretches. NULL: not that. */
const void *cuda_round_array(px_stream *s, const void *host, size_t bytes);
const cuda_cached *cuda_round_cached(px_stream *s, const px_cached *at, int64_t rows);
/* Whether launches are being kept for a graph: nothing of the host's may be read then. */
bool cuda_round_captures(px_stream *s);
void cuda_rounds_close(px_stream *s);

/* --- weights --- */
typedef struct {
    px_weight base;
    px_stream *stream;
    void *rows; /* device: [out, in] of the compute type; quantised ones rounded to bf16, or … */
    uint8_t *codes; /* … NULL, and their codes and scales here (launch.h, cu_coded) */
    float *scales;
} cuda_weight;
cu_mat cuda_weight_mat(const px_weight *w);

px_open_fn cuda_open;
px_close_fn cuda_close;
px_reserve_fn cuda_reserve;
px_facts_fn cuda_facts;
px_elsewhere_fn cuda_elsewhere;
px_memory_new_fn cuda_memory_new;
px_memory_free_fn cuda_memory_free;
px_memory_copy_fn cuda_memory_copy;
px_memory_zero_fn cuda_memory_zero;
px_round_begin_fn cuda_round_begin;
px_round_goes_on_fn cuda_round_goes_on;
px_round_rows_fn cuda_round_rows;
px_weight_new_fn cuda_weight_new;
px_weight_update_fn cuda_weight_update;
px_weight_free_fn cuda_weight_free;
px_linear_fn cuda_linear;
px_linear_backward_input_fn cuda_linear_backward_input;
px_linear_backward_weight_fn cuda_linear_backward_weight;
px_lora_down_fn cuda_lora_down;
px_lora_up_fn cuda_lora_up;
px_lora_up_backward_fn cuda_lora_up_backward;
px_lora_down_backward_fn cuda_lora_down_backward;
px_embed_fn cuda_embed;
px_embed_backward_fn cuda_embed_backward;
px_gather_fn cuda_gather;
px_scatter_fn cuda_scatter;
px_rms_norm_fn cuda_rms_norm;
px_rms_norm_backward_fn cuda_rms_norm_backward;
px_rope_fn cuda_rope;
px_swiglu_fn cuda_swiglu;
px_swiglu_backward_fn cuda_swiglu_backward;
px_attention_fn cuda_attention;
px_attention_backward_fn cuda_attention_backward;
px_cache_new_fn cuda_cache_new;
px_cache_free_fn cuda_cache_free;
px_cache_put_fn cuda_cache_put;
px_attention_cached_fn cuda_attention_cached;
px_cache_copy_fn cuda_cache_copy;
px_head_fn cuda_head;
px_head_backward_fn cuda_head_backward;
px_head_backward_weight_fn cuda_head_backward_weight;
px_pick_fn cuda_pick;
px_adamw_fn cuda_adamw;
px_sum_squares_fn cuda_sum_squares;
px_exact_add_fn cuda_exact_add;
px_exact_carry_fn cuda_exact_carry;
px_exact_get_fn cuda_exact_get;

#endif
