/* ops.h - the one list of operations. A backend implements all of them (kernels/ref: plain float64
 * loops for tests; kernels/cpu: oneDNN and C). Knows tensors and nothing of preferences.
 *
 * Conventions. Matrices are row-major; a row is a token unless said. A type is bf16 or f32; sums
 * are f32 or wider. "+=" outputs are added to, "=" outputs are overwritten. Nothing here fails on
 * valid shapes; a wrong shape is our bug (assert). Host arrays are plain pointers. The same bits: a
 * row of a result depends on that row's inputs only, and a sum over rows runs in an order fixed by
 * the shapes alone, whatever the number of threads. */
#ifndef PX_OPS_H
#define PX_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base.h"

typedef enum { PX_F32, PX_BF16 } px_type;

/* [rows, cols], element (i, j) at data[i * stride + j]. */
typedef struct {
    void *data;
    px_type type;
    int64_t rows, cols, stride;
} px_mat;

static inline px_mat px_mat_of(void *data, px_type type, int64_t rows, int64_t cols) {
    return (px_mat){data, type, rows, cols, cols};
}
static inline size_t px_type_size(px_type type) { return type == PX_F32 ? 4 : 2; }

/* A backend with its threads and scratch memory. One a thread of control. */
typedef struct px_stream px_stream;
/* name: "cpu" or "ref"; "cuda" in a build for GPUs, "simt" (the same kernels on the CPU, slowly) in
 * one with tests. threads >= 1. PX_BAD_INPUT: an unknown backend, no GPU. */
PX_CHECKED px_err *px_stream_open(const char *name, int threads, px_stream **out);
void px_stream_close(px_stream *s);
/* What computes here, for manifests: libraries and instruction sets decide a result's last bits. */
typedef struct {
    char onednn[48];     /* "2.6.3" */
    char onednn_isa[32]; /* the widest that oneDNN may use here: "avx512_core_bf16" */
    char own[48];        /* what the kernels in C were compiled for */
} px_kernel_facts;
void px_kernel_facts_get(px_kernel_facts *out);
/* Operations return nothing. What fails inside one (memory for scratch, a library) sticks to the
 * stream, and its outputs are then undefined: ask once a step or batch. Hands the error over. */
PX_CHECKED px_err *px_stream_ok(px_stream *s);

/* Which GPU of this machine streams opened from now on take, from 0: the rank's number on its node.
 */
void px_device_choose(int card);
/* Whether this build has the backend. */
bool px_backend_exists(const char *name);

/* Memory where the backend computes: the host's, 64-byte aligned, or a GPU's. Operations take the
 * host's memory too, which a GPU's backend then copies there and back each time. Not zeroed. */
PX_CHECKED px_err *px_memory_new(px_stream *s, size_t bytes, void **out);
void px_memory_free(px_stream *s, void *at); /* NULL: nothing */
/* Host memory that a GPU fills fastest, and reads in its own time: what it is to take from there
 * stays as it is until something waits. */
PX_CHECKED px_err *px_memory_host_new(px_stream *s, size_t bytes, void **out);
/* Host memory that a GPU reads where it lies, a row now and then: px_op_embed's table. */
PX_CHECKED px_err *px_memory_shared_new(px_stream *s, size_t bytes, void **out);
void px_memory_host_free(px_stream *s, void *at); /* of both kinds; NULL: nothing */
/* On a GPU: takes `bytes` of the card at once, out of which all that follows comes, of it `scratch`
 * for operations (the px_card_… below say how much). What finds no room there is asked of the card
 * piece by piece, as everything is without a reservation. Nothing on the CPU. Fails where the card
 * has less, PX_BAD_INPUT where it never has more. */
PX_CHECKED px_err *px_memory_reserve(px_stream *s, size_t bytes, size_t scratch);
typedef struct {
    int64_t reserved, reach; /* the region; how far into it pieces have reached */
    int64_t scratch;         /* the most that one operation has used */
    int64_t held, used;      /* of the card, at most so far: region, pieces beside it, cuBLASLt's
                              * workspace; of it in pieces */
    int64_t n_taken;         /* times that the card was asked for memory, the region included */
    int64_t card, card_used; /* the card's memory; in use now, by whomever */
} px_memory_facts;
/* On a GPU: so much of the card's memory was had from elsewhere (NCCL), and counts with the rest;
 * bytes < 0: it was given back. Nothing on the CPU. */
void px_memory_elsewhere(px_stream *s, int64_t bytes);
/* False on the CPU: *out is 0 then. */
bool px_memory_facts_get(const px_stream *s, px_memory_facts *out);
/* In the order of the operations; host memory may be used when it returns. Errors stick. */
void px_memory_copy(px_stream *s, void *to, const void *from, size_t bytes);
void px_memory_zero(px_stream *s, void *at, size_t bytes);
/* Whether that memory is not the host's; without a stream it is. */
bool px_memory_is_apart(const px_stream *s);
/* The CUDA stream of a GPU's backend, for other libraries; NULL on the CPU. */
void *px_stream_handle(px_stream *s);

/* What the backend's device can do at most by its own numbers: FLOP/s of products of that type,
 * bytes a second of its memory; 0: not known. */
void px_stream_peak(px_stream *s, px_type type, double *flops, double *bytes);

/* Which GPUs there are, for a build for them; for messages. */
typedef struct {
    bool built;      /* for GPUs; else all below is empty */
    char cuda[16];   /* version of the runtime: "13.0" */
    char driver[16]; /* the newest CUDA that the driver takes; "" without a driver */
    char cublaslt[16];
    char why[160];    /* why there are none */
    char cards[1024]; /* "NVIDIA H100 (sm_90, 85.0 GB); …" */
    int n;
    int64_t room; /* bytes that a program may take of the fullest of them; 0: not known */
} px_gpu_facts;
void px_gpu_facts_get(px_gpu_facts *out);

/* --- where time goes --- */
/* Streams opened from now on take the time of each operation, and wait for it. Before threads. */
void px_profile_want(bool on);
/* Forgets what the stream did so far. */
void px_profile_restart(px_stream *s);
/* Tables of the streams closed since the last call: each operation's calls, seconds, FLOP/s (or
 * GB/s, where it computes little) and their share of the peak. */
PX_CHECKED px_err *px_profile_take(px_str *out);

/* What the "cpu" backend of this build is made of. */
typedef struct {
    const char *path; /* "AVX-512 bf16", "AVX-512", "AVX2" or "plain": vectors and small products */
    const char *needs; /* a processor's flags without which it cannot run, "" for none */
    bool bf16;         /* large products take bf16 operands; else they are computed in f32 */
    char onednn[32];   /* its version */
} px_kernels_info;
void px_kernels_about(px_kernels_info *out);

/* --- linear layers --- */
/* A weight [out, in], packed once for the backend. */
typedef struct px_weight px_weight;
typedef enum {
    PX_PACK_FORWARD = 1,  /* px_op_linear */
    PX_PACK_BACKWARD = 2, /* px_op_linear_backward_input */
    PX_PACK_ROWS = 4,     /* keeps plain rows: all that px_op_head and its backwards need */
    PX_PACK_PANELS = 8,   /* px_op_linear in place of FORWARD: as fast as memory at one row too */
    PX_PACK_Q8 = 16,      /* with bf16: the weight in 8 bits, as GGUF's Q8_0 … */
    PX_PACK_Q4 = 32 /* … or in 4, as Q4_1; products see it rounded to bf16. With FORWARD or BACKWARD
                       a GPU keeps the codes and widens them for each product, a CPU the rounded
                       values; with PANELS both keep the codes */
} px_pack;
/* source [out, in] of any type; compute type `type`. The source may go afterwards (rows are
 * copied). */
PX_CHECKED px_err *px_weight_new(px_stream *s, px_mat source, px_type type, int pack,
                                 px_weight **out);
/* Packs changed values anew (full fine-tuning). */
PX_CHECKED px_err *px_weight_update(px_stream *s, px_weight *w, px_mat source);
void px_weight_free(px_weight *w);
/* Bytes it occupies. */
int64_t px_weight_bytes(const px_weight *w);

/* y [T, out] = x [T, in] · Wᵀ (+ y with `add`). x of the weight's compute type; y bf16 or f32. */
void px_op_linear(px_stream *s, px_mat y, px_mat x, const px_weight *w, bool add);
/* dx [T, in] = dy [T, out] · W (+ dx with `add`). */
void px_op_linear_backward_input(px_stream *s, px_mat dx, px_mat dy, const px_weight *w, bool add);
/* dw [out, in] f32 += dyᵀ · x. */
void px_op_linear_backward_weight(px_stream *s, float *dw, px_mat dy, px_mat x);

/* --- low-rank adapters (Hu et al. 2021) --- */
/* Dropout of the adapter's input: element (i, j) is kept, times 1/(1-p), or set to 0, as the 16-bit
 * number drawn for (seed, site, keys[i], j) is at least p·65536. The same draw in forward and
 * backward, whatever else is in the call. p = 0: no dropout. */
typedef struct {
    double p;
    uint64_t seed;        /* the run's seed mixed with the step */
    uint32_t site;        /* which adapter input of the model */
    const uint64_t *keys; /* [T] identity of each row */
} px_dropout;

/* u [T, R] f32 = drop(x) [T, in] · Aᵀ; a [R, in] f32: the A of every adapter that shares the input
 * x, one below the other (R = their ranks added). */
void px_op_lora_down(px_stream *s, float *u, px_mat x, const float *a, int64_t R, px_dropout drop);
/* y [T, out] += scale · u[:, first : first + r] · Bᵀ; u has row length R, b [out, r] f32. */
typedef struct {
    int64_t R, first, r;
    float scale;
} px_lora_part;
void px_op_lora_up(px_stream *s, px_mat y, const float *u, const float *b, px_lora_part part);
/* du[:, part] = scale · dy · B; db [out, r] += scale · dyᵀ · u[:, part]. */
void px_op_lora_up_backward(px_stream *s, float *du, float *db, px_mat dy, const float *u,
                            const float *b, px_lora_part part);
/* da [R, in] += duᵀ · drop(x); dx [T, in] += mask ∘ (du · A) / (1-p). dx.data NULL: not wanted. */
void px_op_lora_down_backward(px_stream *s, px_mat dx, float *da, const float *du, px_mat x,
                              const float *a, int64_t R, px_dropout drop);

/* --- embeddings and rows --- */
/* y[i] = ids[i] >= 0 ? table[ids[i]] : soft[-1 - ids[i]]; soft [n_soft, d] f32. */
void px_op_embed(px_stream *s, px_mat y, const int32_t *ids, px_mat table, const float *soft);
/* dsoft[-1 - ids[i]] += dy[i] where ids[i] < 0; dtable [V, d] f32 (or NULL) += where ids[i] >= 0;
 * in order of i. */
void px_op_embed_backward(px_stream *s, float *dsoft, float *dtable, const int32_t *ids, px_mat dy);
/* y[i] = x[rows[i]]. */
void px_op_gather(px_stream *s, px_mat y, px_mat x, const int32_t *rows);
/* dx = 0 but dx[rows[i]] = dy[i]; rows distinct. */
void px_op_scatter(px_stream *s, px_mat dx, px_mat dy, const int32_t *rows);

/* --- norm, position, gate --- */
/* sum = x + delta (rounded to sum's type); y = w ∘ sum / rms, rms[t] = sqrt(mean_i sum[t,i]² + eps)
 * f32 (Zhang & Sennrich 2019, (4)); y is rounded once, after w. delta.data NULL: sum is x and not
 * written. sum may alias x or delta. w [d] f32. rms [T] kept for backward. */
void px_op_rms_norm(px_stream *s, px_mat y, px_mat sum, float *rms, px_mat x, px_mat delta,
                    const float *w, float eps);
/* dx = dres + (norm's Jacobian)ᵀ · dy; dres.data NULL: none; dx may alias dres. dw [d] f32 += (or
 * NULL). */
void px_op_rms_norm_backward(px_stream *s, px_mat dx, px_mat dres, float *dw, px_mat dy, px_mat x,
                             const float *rms, const float *w);
/* Rotates in place each head's halves (x[i], x[i + hd/2]) by angle positions[t] · freq[i]; table
 * [n_positions, hd/2, 2] f32 (cos, sin); direction +1, or -1 for the backward. x [T, n_heads · hd].
 */
void px_op_rope(px_stream *s, px_mat x, const int32_t *positions, const float *table, int64_t hd,
                int direction);
/* y = silu(gate) ∘ up; all of one type. */
void px_op_swiglu(px_stream *s, px_mat y, px_mat gate, px_mat up);
/* dgate, dup (may alias gate, up); all of one type. */
void px_op_swiglu_backward(px_stream *s, px_mat dgate, px_mat dup, px_mat dy, px_mat gate,
                           px_mat up);

/* --- attention over trees --- */
/* Rows [begin, end) form a chain; they see themselves causally and all rows of parent, its parent,
 * … in full. parent: index of an earlier segment, -1 for a root. Segments in row order, without
 * gaps, depth first, covering all T rows. A batch of plain sequences is one root segment each. */
typedef struct {
    int32_t begin, end, parent;
} px_segment;
typedef struct {
    const px_segment *segments;
    int32_t n_segments;
    int32_t n_heads, n_kv_heads, head_dim;
    float scale; /* of q·k, 1/sqrt(head_dim) as a rule */
} px_attn;
/* out [T, H·hd] = softmax(scale · q kᵀ over visible rows) v; lse [T, H] f32 = log Σ exp. Head h
 * uses kv head h / (H / Hkv). q [T, H·hd], k, v [T, Hkv·hd] of one type (strides may be longer:
 * views of one matrix). A row has the same bits in a tree as in its path on its own. */
void px_op_attention(px_stream *s, px_mat out, float *lse, px_mat q, px_mat k, px_mat v,
                     const px_attn *attn);
typedef struct {
    px_mat dq, dk, dv; /* = */
    px_mat dout, out, q, k, v;
    const float *lse;
} px_attn_back;
void px_op_attention_backward(px_stream *s, const px_attn_back *io, const px_attn *attn);

/* --- attention over cached sequences --- */
/* Keys and values of sequences, in pages of PX_PAGE positions for all layers and kv heads. Which
 * page holds what is the caller's business; several sequences may share a page. */
enum { PX_PAGE = 64 };
typedef struct px_cache px_cache;
typedef struct {
    px_type type;
    int64_t n_layers, n_kv_heads, head_dim, n_pages;
} px_cache_shape;
/* Pages full of zeros. */
PX_CHECKED px_err *px_cache_new(px_stream *s, px_cache_shape shape, px_cache **out);
void px_cache_free(px_cache *cache);
/* Bytes of one page. */
int64_t px_cache_page_bytes(px_cache_shape shape);
/* Rows [begin, end) are the positions from `position` on of one sequence, whose position p lies in
 * page pages[p / PX_PAGE]. */
typedef struct {
    int32_t begin, end, position;
    const int32_t *pages;
} px_stretch;
/* Stretches in row order without gaps, of different sequences each. */
typedef struct {
    px_cache *cache;
    int64_t layer;
    const px_stretch *stretches;
    int32_t n;
} px_cached;
/* Keeps the rows of k, v [T, Hkv·hd]. No page that is written may be another stretch's. */
void px_op_cache_put(px_stream *s, const px_cached *at, px_mat k, px_mat v);
/* out, q [T, H·hd]: each row attends to all positions of its sequence up to its own, which is there
 * already. The same bits as px_op_attention over the whole sequence. Of attn only n_heads,
 * n_kv_heads, head_dim and scale are read. */
void px_op_attention_cached(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                            const px_attn *attn);
/* Page `to` becomes a copy of page `from`. */
void px_op_cache_copy(px_stream *s, px_cache *cache, int32_t to, int32_t from);

/* --- rounds: the same operations again and again, as generation's steps are --- */
/* What a round's operations read of the host's. A GPU brings it over in one copy; an operation that
 * is given one of these arrays, or these stretches, takes it from there. Rows behind the last
 * stretch are nobody's: they are computed with, and neither kept nor attended to. */
typedef struct {
    int64_t n, n_rows, n_soft;
    const int32_t *ids, *positions; /* [n]: of px_op_embed, px_op_rope */
    const int32_t *rows;            /* [n_rows]: of px_op_gather */
    const float *soft;              /* [n_soft] values: of px_op_embed */
    const px_cached *cached;        /* its stretches */
    /* With n and n_rows, all that decides which operations run on which memory, where each stretch
     * is one row and nothing is soft: such rounds may be replayed from a CUDA graph. */
    const void *same[4];
} px_round;
/* begin, then `while (px_round_goes_on(s)) operations;`: they are called once, never where a graph
 * did their work, twice where one could not be made. Between, nothing but operations on device
 * memory and these arrays. Errors stick. */
void px_round_begin(px_stream *s, const px_round *round);
bool px_round_goes_on(px_stream *s);
/* As many rows or a few more, up to `most`: so that few sizes come up. */
int64_t px_round_rows(const px_stream *s, int64_t n, int64_t most);
/* Graphs only where they are wanted, as they are at first. */
void px_round_graphs(px_stream *s, bool wanted);
typedef struct {
    int64_t graphs, replayed, plain, refused; /* made; rounds done by one, and without; not made */
} px_round_counts;
px_round_counts px_rounds(const px_stream *s);

/* --- loss head: log-probabilities without full logits --- */
/* Targets: m-th is token id[m] predicted by row[m]; row ascending. */
typedef struct {
    const int32_t *row, *id;
    int64_t n;
} px_targets;
/* logp[m] = logit(row, id) - lse(row), logits = h · Wᵀ in f32; lse [N] f32 by a running maximum
 * over vocabulary chunks, sums f32 or wider. ew [N, d] f32 (data NULL: not wanted): Σ_v softmax(v)
 * · W[v], the expected row of W, from the same pass (the running rescale of flash attention, Dao
 * 2022), so that the backward needs no logits again. w needs PX_PACK_ROWS only. */
void px_op_head(px_stream *s, double *logp, float *lse, px_mat ew, px_mat h, const px_weight *w,
                px_targets targets);
/* dh[n] = Σ_{m: row = n} g[m] · (W[id[m]] - ew[n]). */
void px_op_head_backward(px_stream *s, px_mat dh, const float *g, px_mat ew, const px_weight *w,
                         px_targets targets);
/* dw [V, d] f32 += Σ_n dlogits[n] ⊗ h[n], logits computed again in chunks; for full fine-tuning. */
void px_op_head_backward_weight(px_stream *s, float *dw, const float *g, const float *lse, px_mat h,
                                const px_weight *w, px_targets targets);

/* --- what choosing a token needs of a row of logits: a GPU's rows need not come to the host --- */
enum { PX_PICK_LISTED = 512, PX_PICK_CHANGES = 1024, PX_PICK_VOCAB = 1 << 23 };
/* Exponents below are left out of sums: e^-30 times any vocabulary is below f32's rounding. */
#define PX_PICK_NEGLIGIBLE (-30.0f)
typedef struct {
    float temperature; /* with a list or a sum: above 0 */
    float penalty;     /* multiplies a penalised id's logit where it is negative, else divides it */
    int32_t list;      /* which of the lists it fills; -1: none */
    int32_t sum;       /* 0: not wanted */
    /* Ids changes[at …]: the penalised, then the banned, whose logits become -inf; of each kind
     * none twice. */
    int32_t at, n_penalised, n_banned;
} px_pick;
typedef struct {
    const px_pick *rows; /* [N] */
    const int32_t *changes;
    int32_t n_changes;
    int32_t n_lists, listed; /* places of a list, up to PX_PICK_LISTED */
} px_picking;
typedef struct {
    double sum;        /* Σ e^x, x = (logit - most) / temperature in f32, without negligible ones;
                        * e^x and sum in float64 */
    float most, least; /* the largest; no logit that is not listed is above `least`, and with -inf
                        * none is left but those of -inf and NaN */
    int32_t best, n;   /* the first of the largest; entries of its list */
} px_picked;
typedef struct {
    int32_t id;
    float logit;
} px_listed;
/* logits [N, V] f32, V up to PX_PICK_VOCAB, are changed first as `how` says. out [N]; lists
 * [n_lists, how->listed]: the largest logits, descending, ties by id; some three quarters of the
 * places at least, where so many logits differ. On a GPU it does not wait unless it is given the
 * host's memory for out or lists; how's arrays may be px_memory_host_new's, and stay as they are
 * until something waits. */
void px_op_pick(px_stream *s, px_mat logits, const px_picking *how, px_picked *out,
                px_listed *lists);

/* --- optimiser --- */
typedef struct {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;      /* from 1: bias correction */
    double grad_scale; /* clipping: g is multiplied by it first */
} px_adamw;
/* Decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it. */
void px_op_adamw(px_stream *s, float *p, float *m, float *v, const float *g, int64_t n,
                 const px_adamw *adamw);
/* Σ g² in float64, in an order fixed by n. */
double px_op_sum_squares(px_stream *s, const float *g, int64_t n);

/* --- exact sums (pipeline/dist/dist.h says why): limbs high, low [n], in units of 2^-24 and 2^-72.
 * For memory where the backend computes; any order of additions gives the same limbs. --- */
/* Adds g [n], each value rounded to 2^-72. What is NaN, Inf or 2^26 or more in size is left out,
 * and *bad, PX_EXACT_FINE before the first addition, becomes the least index of such a value, if
 * that is less. Nothing is waited for. Carries at least every 4096 additions. */
#define PX_EXACT_FINE UINT64_MAX
void px_op_exact_add(px_stream *s, int64_t *high, int64_t *low, const float *g, int64_t n,
                     uint64_t *bad);
/* What has gathered in `low` moves up: low is then in [0, 2^48). */
void px_op_exact_carry(px_stream *s, int64_t *high, int64_t *low, int64_t n);
/* g = the sums, rounded once. */
void px_op_exact_get(px_stream *s, float *g, const int64_t *high, const int64_t *low, int64_t n);

/* --- what a card has to hold, in bytes, in any build: for px_memory_reserve, and for plans where
 * there is no card. One formula for both; tests compare it with what kernels/cuda takes. --- */
/* A piece of the region: px_memory_new and each of the below. */
int64_t px_card_piece(int64_t bytes);
/* Values of a weight that px_weight_new and _update take over at a time to round them. */
enum { PX_CARD_STAGED = 1 << 24 };
int64_t px_card_weight(int64_t out, int64_t in, px_type type, int pack);
int64_t px_card_cache(px_cache_shape shape);
/* The tables of rounds of up to `rows` rows with `soft` floats, over a cache of n_pages. */
int64_t px_card_round(int64_t rows, int64_t soft, int64_t n_pages);
typedef struct {
    px_type type;
    int64_t rows, wanted, soft; /* of the largest slot, or step */
    int64_t d, n_heads, vocab;
    int64_t widened;    /* values of the largest weight that is widened for a product; 0: none */
    int64_t adapters;   /* values of the largest weight of adapters, all of an input as one */
    int64_t host_grads; /* trained values whose gradients the host makes */
    int64_t largest;    /* trained values of the largest tensor; 0: none */
    int64_t staged;     /* f32 values that the host has and the card rounds, at a time; 0: none */
    bool backward;
    bool steps; /* over a cache, without the loss head, tokens chosen */
} px_card_slot;
/* Scratch of the operation that takes most. */
int64_t px_card_scratch(const px_card_slot *slot);
/* Beside the region, an allowance and no measurement: CUDA's context and code, cuBLASLt's
 * workspace, with several ranks NCCL's buffers. */
int64_t px_card_besides(bool several);

#endif
