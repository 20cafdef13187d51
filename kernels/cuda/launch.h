/* launch.h - the kernels as the host calls them: one function an operation, in plain C, implemented
 * in the .cu files. Every pointer is device memory but where said. Nothing is returned: a launch
 * that fails is found by cu_error. Kernels' sums run in an order fixed by the shapes alone. */
#ifndef PX_CUDA_LAUNCH_H
#define PX_CUDA_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- device.cu: memory, copies, errors --- */
/* One card and one queue on it. */
typedef struct cu_queue cu_queue;
typedef struct {
    char name[256];
    int64_t bytes, free_bytes;
    int major, minor, processors;
} cu_card;
/* Cards that the driver shows; 0 where there is no driver, with why in *text. */
int cu_count(const char **text);
/* NULL or a text that says what failed. order: where kernels run on the CPU, the order of blocks.
 */
const char *cu_open(int card, int order, cu_queue **out);
void cu_close(cu_queue *q);
const char *cu_about(int card, cu_card *out);
/* A named range for NVIDIA's tools (NVTX) begins; NULL: the last one ends. */
void cu_range(const char *name);
/* What the card can do a second by its own numbers: products, f32 sums of bf16 or of f32, dense;
 * bytes of its memory. 0: not known. */
void cu_peak(int card, int bf16, double *flops, double *bytes);
/* 13000 is CUDA 13.0; 0: unknown, no driver. */
void cu_versions(int *runtime, int *driver);
/* NULL: no memory. */
void *cu_new(size_t bytes);
void cu_free(void *at);
/* Host memory that is never paged out. NULL: no memory. */
void *cu_host_new(size_t bytes);
/* The same, for kernels to read too. */
void *cu_shared_new(size_t bytes);
void cu_host_free(void *at);
/* For those who watch addresses (kernels/simt): what cu_new gave is a region from now on, of which
 * nothing but its pieces may be touched. */
void cu_region(void *at);
void cu_piece_begin(void *at, size_t bytes);
void cu_piece_end(void *at);
int cu_is_device(const void *at);
/* Of cu_host_new or cu_shared_new. */
int cu_is_host(const void *at);
/* 0 where it worked. Rows of `width` bytes; host memory may be used anew when a copy returns
 * (cu_host_new's after cu_wait), but is filled only after cu_wait. */
typedef enum { CU_TO_DEVICE, CU_TO_HOST, CU_INSIDE } cu_way;
int cu_copy(cu_queue *q, void *to, const void *from, size_t bytes, cu_way way);
typedef struct {
    void *to;
    const void *from;
    size_t to_pitch, from_pitch, width, height;
} cu_rows;
int cu_copy_rows(cu_queue *q, cu_rows rows, cu_way way);
/* Bytes copied between host and device so far. */
void cu_copied(const cu_queue *q, uint64_t *to_device, uint64_t *to_host);
int cu_zero(cu_queue *q, void *at, size_t bytes);
int cu_wait(cu_queue *q);
/* The first failure of this queue since the last call, or NULL; borrowed until the next. */
const char *cu_error(cu_queue *q);
/* The runtime's own stream, for cuBLASLt. */
void *cu_stream_of(cu_queue *q);
/* From begin to end the queue does nothing: what it is asked for is kept, and done by each launch
 * of the graph, with the arguments that it had. Only kernels, copies inside the card and of
 * cu_host_new's memory may be asked for; anything else breaks the capture. NULL: it is broken, or
 * there are no graphs here; *why says what failed, borrowed, and the queue's errors are forgotten.
 */
typedef struct cu_graph cu_graph;
int cu_capture_begin(cu_queue *q);
cu_graph *cu_capture_end(cu_queue *q, const char **why);
int cu_graph_launch(cu_queue *q, cu_graph *g);
void cu_graph_free(cu_graph *g);

/* Element (i, j) at data[i * stride + j], bf16 or f32. */
typedef struct {
    void *data;
    int64_t rows, cols, stride;
    int32_t bf16, unused;
} cu_mat;

/* --- layers.cu --- */
typedef struct {
    cu_mat y, sum, x, delta; /* delta.data NULL: none */
    float *rms;
    const float *w;
    float eps;
} cu_norm;
void cu_rms_norm(cu_queue *q, cu_norm n);
typedef struct {
    cu_mat dx, dres, dy, x; /* dres.data NULL: none */
    const float *rms, *w;
    float *dw; /* or NULL */
} cu_norm_back;
void cu_rms_norm_backward(cu_queue *q, cu_norm_back n);
void cu_rope(cu_queue *q, cu_mat x, const int32_t *positions, const float *table, int64_t hd,
             float direction);
void cu_swiglu(cu_queue *q, cu_mat y, cu_mat gate, cu_mat up);
typedef struct {
    cu_mat dgate, dup, dy, gate, up;
} cu_gate_back;
void cu_swiglu_backward(cu_queue *q, cu_gate_back g);

/* --- rows.cu --- */
void cu_embed(cu_queue *q, cu_mat y, const int32_t *ids, cu_mat table, const float *soft);
void cu_embed_backward(cu_queue *q, float *dsoft, float *dtable, const int32_t *ids, cu_mat dy);
void cu_gather(cu_queue *q, cu_mat y, cu_mat x, const int32_t *rows);
void cu_scatter(cu_queue *q, cu_mat dx, cu_mat dy, const int32_t *rows);
void cu_convert(cu_queue *q, cu_mat to, cu_mat from);
typedef struct {
    double b1, b2, rate, root, kept, eps, scale;
} cu_adamw_rates;
void cu_adamw(cu_queue *q, float *p, float *m, float *v, const float *g, int64_t n,
              cu_adamw_rates rates);
/* Pieces of CU_PIECE values, sums [pieces + 1]: the total is the last. */
enum { CU_PIECE = 4096 };
void cu_sum_squares(cu_queue *q, double *sums, const float *g, int64_t n);

/* --- quant.cu --- */
typedef struct {
    const uint8_t *codes; /* 32 bytes a block in 8 bits, 16 in 4 */
    const float *scales;  /* a block's scale; in 4 bits scale, least */
    int64_t blocks;       /* of a row */
    int32_t bits, unused;
} cu_coded;
void cu_dequantise(cu_queue *q, cu_mat to, cu_coded from);
/* quant_mma.cu: y = x · Wᵀ (+ y with `add`), x bf16; products of values rounded to bf16, as above.
 */
void cu_coded_linear(cu_queue *q, cu_mat y, cu_mat x, cu_coded w, int add);

/* --- exact.cu --- */
/* *bad: the least index of a value that was left out, if that is less. */
void cu_exact_add(cu_queue *q, int64_t *high, int64_t *low, const float *g, int64_t n,
                  unsigned long long *bad);
void cu_exact_carry(cu_queue *q, int64_t *high, int64_t *low, int64_t n);
void cu_exact_get(cu_queue *q, float *g, const int64_t *high, const int64_t *low, int64_t n);

/* --- lora.cu --- */
typedef struct {
    uint32_t seed_low, seed_high, site, least; /* kept where draw >= least; least 0: no dropout */
    float scale;
    const uint64_t *keys;
} cu_drop;
typedef struct {
    int64_t R, first, r;
    float scale;
} cu_part;
void cu_lora_down(cu_queue *q, float *u, cu_mat x, const float *a, int64_t R, cu_drop drop);
void cu_lora_up(cu_queue *q, cu_mat y, const float *u, const float *b, cu_part part);
/* room: for bf16 dy and x, cu_lora_room values of their rows, columns and ranks. */
int64_t cu_lora_room(int64_t rows, int64_t cols, int64_t ranks);
void cu_lora_up_backward(cu_queue *q, float *du, float *db, cu_mat dy, const float *u,
                         const float *b, cu_part part, float *room);
void cu_lora_down_backward(cu_queue *q, cu_mat dx, float *da, const float *du, cu_mat x,
                           const float *a, int64_t R, cu_drop drop, float *room);

/* --- attend.cu: a tile is some neighbouring rows of one path: up to CU_TILE, or what
 * cu_attention_rows says; of keys up to CU_TILE, on tensor cores CU_KEY_ROWS --- */
enum { CU_TILE = 16, CU_KEYS = 32, CU_KEY_ROWS = 64 };
typedef struct {
    int32_t row, n;   /* its rows, maybe none */
    int32_t position; /* of the first on its path */
    int32_t unused;
    int64_t keys; /* where the path begins in the list of keys */
} cu_tile;
/* Keys and values of position p of a path. Over a tree: row list[keys + p] of k and v. Over a
 * cache: page list[keys + p / 64] of page_values each, its layer's heads from `layer` on. */
typedef struct {
    cu_mat k, v; /* cache: rows of hd values */
    const int32_t *list;
    int64_t page_values, layer; /* 0, 0: a tree */
} cu_keys;
typedef struct {
    cu_mat out, q;
    float *lse; /* [T, H] or NULL */
    cu_keys keys;
    const cu_tile *tiles;
    int64_t n_tiles;
    int32_t H, Hkv, hd;
    int32_t on_mma;      /* cu_attention_on_mma */
    int32_t wide;        /* rows lie on 16 bytes; found by cu_attention */
    float scale, factor; /* of q · k; the same in exponents of 2 */
} cu_attend;
/* Whether tensor cores compute: by type and head size alone; and then a tile's rows at most. */
int cu_attention_on_mma(int bf16, int64_t hd);
int cu_attention_rows(int64_t H, int64_t Hkv);
void cu_attention(cu_queue *q, const cu_attend *a);
void cu_attention_mma(cu_queue *q, const cu_attend *a);
typedef struct {
    cu_attend forward; /* tiles of queries; out is the forward's */
    cu_mat dq, dk, dv, dout;
    float *mean;              /* [T, H]: dout · out */
    const cu_tile *key_tiles; /* of rows of one segment; keys: end of the rows that see them */
    int64_t n_key_tiles;
} cu_attend_back;
void cu_attention_backward(cu_queue *q, const cu_attend_back *a);
void cu_attention_backward_mma(cu_queue *q, const cu_attend_back *a); /* all but the means */
typedef struct {
    void *k, *v;
    const int64_t *places; /* [rows]: of the row's position, head 0 of layer 0; -1: not kept */
    int64_t layer;         /* added */
    int32_t n_kv_heads, hd;
} cu_put_cache;
void cu_cache_put(cu_queue *q, cu_put_cache to, cu_mat k, cu_mat v);

/* --- head.cu: rows of logits chunk by chunk --- */
typedef struct {
    float *logits;  /* [N, n] f32 */
    cu_mat weights; /* [N, n] out; data NULL: not wanted */
    float *ew;      /* [N, d] to be rescaled with the maximum, with weights */
    int64_t N, d, v, n;
    const int32_t *first, *id; /* targets of row i: first[i] to first[i + 1] */
    double *logp, *sum;        /* [targets], [N] */
    float *most, *lse;         /* [N] */
} cu_head;
void cu_head_chunk(cu_queue *q, const cu_head *h);
/* lse, logp less lse, ew (into `out`) over the sum. */
void cu_head_finish(cu_queue *q, const cu_head *h, cu_mat out);
void cu_head_backward(cu_queue *q, cu_mat dh, const float *g, cu_mat ew, cu_mat w,
                      const int32_t *first, const int32_t *id);
/* weights: dlogits of the chunk. */
void cu_head_slopes(cu_queue *q, const cu_head *h, const float *g);

/* --- pick.cu: as px_pick, px_picked and px_listed of ops.h --- */
/* Logits that a block looks at; listed ones of all segments of a row, so many are kept of each. */
enum { CU_SEGMENT = 2048, CU_MERGED = 4096, CU_LISTED = 512 };
typedef struct {
    float temperature, penalty;
    int32_t list, sum, at, n_penalised, n_banned;
} cu_pick;
typedef struct {
    double sum;
    float most, least;
    int32_t best, n;
} cu_picked;
typedef struct {
    int32_t id;
    float logit;
} cu_listed;
typedef struct {
    float *logits;
    int64_t rows, vocab, stride;
    const cu_pick *picks; /* [rows] */
    const int32_t *changes;
    int32_t n_changes, listed, segments, kept; /* kept: of a segment, at most */
    int32_t n_lists, sums;                     /* sums: some row wants one */
    float negligible;
    float *most; /* [rows, segments], as best and sum */
    int32_t *best;
    double *sum;
    uint32_t
        *cut; /* [n_lists, segments]: no key that is not kept is as large; as n, how many are */
    int32_t *n;
    unsigned long long *keys; /* [n_lists, segments, kept]: key of the logit, ~id */
    cu_picked *out;
    cu_listed *lists;
} cu_picking;
void cu_pick_rows(cu_queue *q, const cu_picking *p);

#ifdef __cplusplus
}
#endif
#endif
