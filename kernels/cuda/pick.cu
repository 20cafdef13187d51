/* pick.cu - of rows of logits: the largest, the sum of exponentials, and a list of the largest in
 * order. A row is cut in segments, strips of CU_THREADS neighbours dealt out in turn, as frequent
 * tokens' ids lie close together. A block keeps the largest of its segment, found by halving the
 * order of the floats' bits, held in registers; one more block a row merges what was kept. */
#include "kernel.cuh"

#define LOWEST (-3.402823466e38f)
enum {
    EACH = CU_SEGMENT / CU_THREADS,
    EACH_MERGED = CU_MERGED / CU_THREADS,
    EACH_LISTED = CU_LISTED / CU_THREADS,
    NOBODY = 0x7FFFFFFF
};

/* Rises with x; 0 for -inf and NaN, which are never kept. */
__device__ static inline uint32_t key_of(float x) {
    union {
        float f;
        uint32_t u;
    } it;
    it.f = x;
    if (!(x >= LOWEST)) return 0;
    return it.u & 0x80000000u ? ~it.u : it.u | 0x80000000u;
}
__device__ static inline float value_of(uint32_t key) {
    union {
        float f;
        uint32_t u;
    } it;
    it.u = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
    return it.f;
}

/* --- over a block --- */

typedef struct {
    float x;
    int32_t id;
} top;
/* The first of the larger; no number is never. */
__device__ static inline top larger(top a, top b) {
    return b.x > a.x || (b.x == a.x && b.id < a.id) ? b : a;
}
__device__ static inline top block_top(top it, top *room) {
    for (int bits = 16; bits > 0; bits /= 2) {
        const top other = {__shfl_xor_sync(CU_ALL, it.x, bits),
                           __shfl_xor_sync(CU_ALL, it.id, bits)};
        it = larger(it, other);
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = it;
    __syncthreads();
    it = room[0];
    for (int i = 1; i < CU_WARPS; i++) it = larger(it, room[i]);
    return it;
}

/* How many the threads before have, and in *all how many all have. */
__device__ static inline int32_t block_before(int32_t mine, int32_t *room, int32_t *all) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int32_t upto = mine;
    for (int by = 1; by < 32; by *= 2) {
        const int32_t other = __shfl_up_sync(CU_ALL, upto, by);
        if (lane >= by) upto += other;
    }
    __syncthreads();
    if (lane == 31) room[warp] = upto;
    __syncthreads();
    int32_t before = upto - mine;
    *all = 0;
    for (int i = 0; i < CU_WARPS; i++) {
        if (i < warp) before += room[i];
        *all += room[i];
    }
    return before;
}

template <int N> __device__ static inline int32_t count(const uint32_t *key, uint32_t least) {
    int32_t n = 0;
    CU_UNROLL
    for (int j = 0; j < N; j++) n += key[j] >= least;
    return n;
}
/* The same in all threads: a bound that at most `most` keys of the block reach, and three quarters
 * of that at least where so many differ; 1: all do. */
template <int N>
__device__ static inline uint32_t cut_of(const uint32_t *key, int32_t most, int32_t *room) {
    if (cu_block_sum(count<N>(key, 1), room) <= most) return 1;
    uint32_t cut = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint32_t next = cut | 1u << bit;
        const int32_t n = cu_block_sum(count<N>(key, next), room);
        if (n > most)
            cut = next;
        else if (n >= most - most / 4)
            return next;
    }
    return cut + 1;
}

/* --- kernels --- */

/* A block takes a row. */
__global__ static void change(cu_picking p) {
    const int64_t row = blockIdx.x;
    const cu_pick pick = p.picks[row];
    const int32_t *ids = p.changes + pick.at;
    float *x = p.logits + row * p.stride;
    for (int32_t i = (int32_t)threadIdx.x; i < pick.n_penalised; i += CU_THREADS)
        x[ids[i]] = x[ids[i]] < 0 ? x[ids[i]] * pick.penalty : x[ids[i]] / pick.penalty;
    __syncthreads();
    for (int32_t i = (int32_t)threadIdx.x; i < pick.n_banned; i += CU_THREADS)
        x[ids[pick.n_penalised + i]] = -INFINITY;
}

/* Id of a thread's j-th logit. */
__device__ static inline int64_t id_of(const cu_picking &p, int j) {
    return ((int64_t)j * p.segments + blockIdx.x) * CU_THREADS + threadIdx.x;
}

/* A block takes a segment (x) of a row (y). */
__global__ static void segment(cu_picking p) {
    __shared__ top tops[CU_WARPS];
    __shared__ int32_t room[CU_WARPS];
    const int64_t row = blockIdx.y, at = row * p.segments + blockIdx.x;
    const float *x = p.logits + row * p.stride;
    uint32_t key[EACH];
    top it = {-INFINITY, NOBODY};
    CU_UNROLL
    for (int j = 0; j < EACH; j++) {
        const int64_t id = id_of(p, j);
        const float value = id < p.vocab ? x[id] : NAN;
        const top other = {value, (int32_t)id};
        key[j] = key_of(value);
        it = larger(it, other);
    }
    it = block_top(it, tops);
    if (threadIdx.x == 0) {
        p.most[at] = it.x;
        p.best[at] = it.id;
    }
    const int32_t list = p.picks[row].list;
    if (list < 0) return;
    const int64_t to = (int64_t)list * p.segments + blockIdx.x;
    const uint32_t cut = cut_of<EACH>(key, p.kept, room);
    int32_t n = 0, place = block_before(count<EACH>(key, cut), room, &n);
    CU_UNROLL
    for (int j = 0; j < EACH; j++)
        if (key[j] >= cut)
            p.keys[to * p.kept + place++] =
                (unsigned long long)key[j] << 32 | (uint32_t)~id_of(p, j);
    if (threadIdx.x > 0) return;
    p.cut[to] = cut;
    p.n[to] = n;
}

__global__ static void sums(cu_picking p) {
    __shared__ float room[CU_WARPS];
    __shared__ double room_wide[CU_WARPS];
    const int64_t row = blockIdx.y;
    const cu_pick pick = p.picks[row];
    if (!pick.sum) return;
    const float *x = p.logits + row * p.stride;
    float most = -INFINITY;
    for (int32_t i = (int32_t)threadIdx.x; i < p.segments; i += CU_THREADS)
        most = fmaxf(most, p.most[row * p.segments + i]);
    most = cu_block_max(most, room);
    double sum = 0;
    for (int j = 0; j < EACH; j++) {
        const int64_t id = id_of(p, j);
        const float by = id < p.vocab ? (x[id] - most) / pick.temperature : -INFINITY;
        if (by >= p.negligible) sum += exp((double)by);
    }
    sum = cu_block_sum(sum, room_wide);
    if (threadIdx.x == 0) p.sum[row * p.segments + blockIdx.x] = sum;
}

/* Of the row's segments: a thread's. */
__device__ static inline top top_of(const cu_picking &p, int64_t row) {
    top it = {-INFINITY, NOBODY};
    for (int32_t i = (int32_t)threadIdx.x; i < p.segments; i += CU_THREADS) {
        const top other = {p.most[row * p.segments + i], p.best[row * p.segments + i]};
        it = larger(it, other);
    }
    return it;
}
__device__ static inline double sum_of(const cu_picking &p, int64_t row) {
    double sum = 0;
    for (int32_t i = (int32_t)threadIdx.x; i < p.segments; i += CU_THREADS)
        sum += p.sum[row * p.segments + i];
    return sum;
}
/* The largest cut of all segments: below it something may be missing. */
__device__ static inline uint32_t bound_of(const cu_picking &p, int64_t list, uint32_t *room) {
    uint32_t cut = 0;
    for (int32_t i = (int32_t)threadIdx.x; i < p.segments; i += CU_THREADS) {
        const uint32_t other = p.cut[list * p.segments + i];
        cut = other > cut ? other : cut;
    }
    for (int bits = 16; bits > 0; bits /= 2) {
        const uint32_t other = __shfl_xor_sync(CU_ALL, cut, bits);
        cut = other > cut ? other : cut;
    }
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = cut;
    __syncthreads();
    for (int i = 0; i < CU_WARPS; i++) cut = room[i] > cut ? room[i] : cut;
    return cut;
}

/* Writes n keys in order: a key's place is the number of larger ones; no two are alike. */
__device__ static inline void put_in_order(const unsigned long long *chosen, int32_t n,
                                           cu_listed *to) {
    unsigned long long mine[EACH_LISTED];
    int32_t place[EACH_LISTED];
    CU_UNROLL
    for (int j = 0; j < EACH_LISTED; j++) {
        const int32_t i = j * CU_THREADS + (int32_t)threadIdx.x;
        mine[j] = i < n ? chosen[i] : 0;
        place[j] = 0;
    }
    for (int32_t i = 0; i < n; i++) {
        const unsigned long long other = chosen[i];
        CU_UNROLL
        for (int j = 0; j < EACH_LISTED; j++) place[j] += other > mine[j];
    }
    CU_UNROLL
    for (int j = 0; j < EACH_LISTED; j++)
        if (mine[j])
            to[place[j]] = {(int32_t) ~(uint32_t)mine[j], value_of((uint32_t)(mine[j] >> 32))};
}

/* A block takes a row. */
__global__ static void merge(cu_picking p) {
    __shared__ top tops[CU_WARPS];
    __shared__ double room_wide[CU_WARPS];
    __shared__ uint32_t bounds[CU_WARPS];
    __shared__ int32_t room[CU_WARPS];
    __shared__ unsigned long long chosen[CU_LISTED];
    const int64_t row = blockIdx.x;
    const cu_pick pick = p.picks[row];
    const top it = block_top(top_of(p, row), tops);
    cu_picked out = {0, it.x, INFINITY, it.id == NOBODY ? 0 : it.id, 0};
    if (pick.sum) out.sum = cu_block_sum(sum_of(p, row), room_wide);
    if (pick.list >= 0) {
        const int64_t from = (int64_t)pick.list * p.segments;
        const uint32_t bound = bound_of(p, pick.list, bounds);
        uint32_t key[EACH_MERGED];
        CU_UNROLL
        for (int j = 0; j < EACH_MERGED; j++) {
            const int32_t e = j * CU_THREADS + (int32_t)threadIdx.x, segment = e / p.kept;
            const bool is = segment < p.segments && e % p.kept < p.n[from + segment];
            key[j] = is ? (uint32_t)(p.keys[from * p.kept + e] >> 32) : 0;
            if (key[j] < bound) key[j] = 0;
        }
        uint32_t cut = cut_of<EACH_MERGED>(key, p.listed, room);
        if (cut < bound) cut = bound;
        int32_t place = block_before(count<EACH_MERGED>(key, cut), room, &out.n);
        CU_UNROLL
        for (int j = 0; j < EACH_MERGED; j++)
            if (key[j] >= cut)
                chosen[place++] = p.keys[from * p.kept + j * CU_THREADS + (int32_t)threadIdx.x];
        __syncthreads();
        put_in_order(chosen, out.n, p.lists + (int64_t)pick.list * p.listed);
        out.least = cut > 1 ? value_of(cut) : -INFINITY;
    }
    if (threadIdx.x == 0) p.out[row] = out;
}

void cu_pick_rows(cu_queue *q, const cu_picking *p) {
    const cu_picking args = *p;
    const dim3 grid((unsigned)p->segments, (unsigned)p->rows);
    if (p->rows == 0 || p->segments == 0) return;
    if (p->n_changes) CU_LAUNCH(change, (unsigned)p->rows, CU_THREADS, 0, q, args);
    CU_LAUNCH(segment, grid, CU_THREADS, 0, q, args);
    if (p->sums) CU_LAUNCH(sums, grid, CU_THREADS, 0, q, args);
    CU_LAUNCH(merge, (unsigned)p->rows, CU_THREADS, 0, q, args);
}
