/* attend.cu - attention over paths: softmax with a running maximum over tiles of keys (Milakov &
 * Gimelshein 2018; Dao et al. 2022), and its backward.
 *
 * A tile of queries walks the keys of its path, so what is masked for all of it is never touched.
 * Tiles of keys begin at multiples of CU_KEYS of the path's positions, and a key that a row does
 * not see leaves its numbers as they were, to the bit: a row's bits depend on its path alone, not
 * on its tile, the tree, or whether the keys lie in a cache. Eight threads share a row. In the
 * backward a row that sees a key lies between it and the end of its segment's subtree: one range of
 * rows. */
#include "wide.cuh"

enum { LANES = 8, EACH = CU_KEYS / LANES, PARTS = 32 };
static_assert(CU_TILE * LANES == CU_THREADS, "eight threads a row");
#define LOWEST (-3.0e38f)
#define LOG2E 1.4426950408889634f

/* Sum and maximum over the eight threads of a row. */
__device__ static inline float row_sum(float value) {
    for (int bits = LANES / 2; bits > 0; bits /= 2) value += __shfl_xor_sync(CU_ALL, value, bits);
    return value;
}
__device__ static inline float row_max(float value) {
    for (int bits = LANES / 2; bits > 0; bits /= 2)
        value = fmaxf(value, __shfl_xor_sync(CU_ALL, value, bits));
    return value;
}

/* Where position p of a path has its key (value) for head kv. */
__device__ static inline int64_t key_at(const cu_keys &keys, const cu_mat &m, int64_t path,
                                        int64_t p, int64_t kv, int64_t hd) {
    if (keys.page_values == 0) return keys.list[path + p] * m.stride + kv * hd;
    return keys.list[path + p / 64] * keys.page_values + keys.layer + (kv * 64 + p % 64) * hd;
}
/* Positions [first, first + n) into rows of hd + 1: no two threads of a warp meet in a bank. */
__device__ static void load_keys(float *to, const cu_keys &keys, const cu_mat &m, int64_t path,
                                 int64_t first, int64_t n, int64_t kv, int64_t hd) {
    for (int64_t j = threadIdx.x / 32; j < n; j += CU_WARPS) {
        const int64_t at = key_at(keys, m, path, first + j, kv, hd);
        for (int64_t c = threadIdx.x % 32; c < hd; c += 32)
            to[j * (hd + 1) + c] = cu_load(m.data, m.bf16, at + c);
    }
}
/* Rows [row, row + n) of a head. */
__device__ static void load_rows(float *to, const cu_mat &m, int64_t row, int64_t n, int64_t h,
                                 int64_t hd) {
    for (int64_t j = threadIdx.x / 32; j < n; j += CU_WARPS)
        for (int64_t c = threadIdx.x % 32; c < hd; c += 32)
            to[j * (hd + 1) + c] = cu_get(m, row + j, h * hd + c);
}
/* a · b[j] for this thread's four rows of b; those that were not loaded give what nobody takes. */
__device__ static void dots(float out[EACH], const float *a, const float *b, int64_t hd) {
    const float *row = b + threadIdx.x % LANES * (hd + 1);
    const int64_t step = LANES * (hd + 1);
    float sum[EACH] = {0};
    for (int64_t c = 0; c < hd; c++)
        for (int i = 0; i < EACH; i++) sum[i] = fmaf(a[c], row[step * i + c], sum[i]);
    for (int i = 0; i < EACH; i++) out[i] = sum[i];
}
/* sum[c] += Σ_j w[j] · b[j][c] over j in [from, to), this thread's columns. */
__device__ static void add_rows(float sum[PARTS], const float *w, const float *b, int64_t from,
                                int64_t to, int64_t hd) {
    const int64_t part = threadIdx.x % LANES, mine = (hd - part + LANES - 1) / LANES;
    for (int64_t j = from; j < to; j++) {
        const float x = w[j], *row = b + j * (hd + 1) + part;
        CU_UNROLL
        for (int i = 0; i < PARTS; i++) {
            if (i >= mine) break;
            sum[i] = fmaf(x, row[LANES * i], sum[i]);
        }
    }
}
__device__ static void put_row(const cu_mat &m, int64_t row, int64_t h, int64_t hd,
                               const float sum[PARTS], float by) {
    const int64_t part = threadIdx.x % LANES;
    CU_UNROLL
    for (int i = 0; i < PARTS; i++)
        if (part + LANES * i < hd) cu_put(m, row, h * hd + part + LANES * i, sum[i] * by);
}

/* One row's scores become weights relative to the running maximum; what earlier sums shrink by. */
__device__ static float weigh(float score[EACH], float *p, float *most, float *sum, int64_t seen,
                              float factor) {
    const int64_t part = threadIdx.x % LANES;
    float top = LOWEST, total = 0;
    for (int i = 0; i < EACH; i++)
        if (part + LANES * i < seen) top = fmaxf(top, score[i] * factor);
    const float before = *most, now = fmaxf(before, row_max(top));
    for (int i = 0; i < EACH; i++) {
        const int64_t j = part + LANES * i;
        const float x = j < seen ? exp2f(fmaf(score[i], factor, -now)) : 0;
        p[j] = x;
        total += x;
    }
    const float shrink = exp2f(before - now);
    *sum = *sum * shrink + row_sum(total);
    *most = now;
    return shrink;
}

__global__ static void forward(cu_attend a) {
    CU_SHARED(float, memory);
    const cu_tile tile = a.tiles[blockIdx.x];
    const int64_t hd = a.hd, h = blockIdx.y, kv = h / (a.H / a.Hkv), r = threadIdx.x / LANES;
    float *q = memory, *k = q + CU_TILE * (hd + 1), *p = k + CU_KEYS * (hd + 1) + r * CU_KEYS;
    float out[PARTS] = {0}, most = LOWEST, sum = 0;
    load_rows(q, a.q, tile.row, tile.n, h, hd);
    const int64_t n_keys = tile.position + tile.n;
    for (int64_t first = 0; first < n_keys; first += CU_KEYS) {
        const int64_t n = cu_least(n_keys - first, CU_KEYS);
        const int64_t seen = r < tile.n ? cu_least(n, tile.position + r + 1 - first) : 0;
        float score[EACH] = {0};
        __syncthreads();
        load_keys(k, a.keys, a.keys.k, tile.keys, first, n, kv, hd);
        __syncthreads();
        if (seen > 0) dots(score, q + r * (hd + 1), k, hd);
        const float shrink = weigh(score, p, &most, &sum, seen, a.factor);
        CU_UNROLL
        for (int i = 0; i < PARTS; i++) out[i] *= shrink;
        __syncthreads();
        load_keys(k, a.keys, a.keys.v, tile.keys, first, n, kv, hd);
        __syncthreads();
        add_rows(out, p, k, 0, seen, hd);
    }
    if (r >= tile.n) return;
    put_row(a.out, tile.row + r, h, hd, out, 1 / sum);
    if (a.lse && threadIdx.x % LANES == 0)
        a.lse[(tile.row + r) * a.H + h] =
            (float)(((double)most + log2((double)sum)) * 0.69314718055994530942);
}
void cu_attention(cu_queue *q, const cu_attend *a) {
    if (a->n_tiles == 0) return;
    if (a->on_mma) {
        cu_attention_mma(q, a);
        return;
    }
    const size_t bytes =
        (size_t)((CU_TILE + CU_KEYS) * (a->hd + 1) + CU_TILE * CU_KEYS) * sizeof(float);
    const dim3 grid((unsigned)a->n_tiles, (unsigned)a->H);
    const cu_attend args = *a;
    CU_ROOM(forward, bytes);
    CU_LAUNCH(forward, grid, CU_THREADS, bytes, q, args);
}

/* --- backward: P = exp(S - lse), dS = scale · P (dout · v - dout · out) --- */

/* A warp has a row's head, its lanes neighbouring pairs. */
__global__ static void means(cu_attend_back b) {
    const int64_t H = b.forward.H, hd = b.forward.hd, t = blockIdx.x;
    const int64_t h = (int64_t)blockIdx.y * CU_WARPS + threadIdx.x / 32, first = h * hd;
    if (h >= H) return;
    float sum = 0, d[8], o[8];
    for (int64_t c = threadIdx.x % 32 * 8; c < hd; c += 256) {
        load_8(d, b.dout, t, first + c, first + hd);
        load_8(o, b.forward.out, t, first + c, first + hd);
        CU_UNROLL
        for (int i = 0; i < 8; i++) sum = fmaf(d[i], o[i], sum);
    }
    sum = cu_warp_sum(sum);
    if (threadIdx.x % 32 == 0) b.mean[t * H + h] = sum;
}

/* dq += dS k. */
__global__ static void back_queries(cu_attend_back b) {
    CU_SHARED(float, memory);
    const cu_attend a = b.forward;
    const cu_tile tile = a.tiles[blockIdx.x];
    const int64_t hd = a.hd, pitch = hd + 1, h = blockIdx.y, kv = h / (a.H / a.Hkv);
    const int64_t r = threadIdx.x / LANES, part = threadIdx.x % LANES;
    float *q = memory, *d = q + CU_TILE * pitch, *k = d + CU_TILE * pitch, *v = k + CU_KEYS * pitch;
    float *slope = v + CU_KEYS * pitch + r * CU_KEYS;
    float dq[PARTS] = {0}, lse = 0, mean = 0;
    load_rows(q, a.q, tile.row, tile.n, h, hd);
    load_rows(d, b.dout, tile.row, tile.n, h, hd);
    if (r < tile.n) {
        lse = a.lse[(tile.row + r) * a.H + h] * LOG2E;
        mean = b.mean[(tile.row + r) * a.H + h];
    }
    const int64_t n_keys = tile.position + tile.n;
    for (int64_t first = 0; first < n_keys; first += CU_KEYS) {
        const int64_t n = cu_least(n_keys - first, CU_KEYS);
        const int64_t seen = r < tile.n ? cu_least(n, tile.position + r + 1 - first) : 0;
        float score[EACH] = {0}, dp[EACH] = {0};
        __syncthreads();
        load_keys(k, a.keys, a.keys.k, tile.keys, first, n, kv, hd);
        load_keys(v, a.keys, a.keys.v, tile.keys, first, n, kv, hd);
        __syncthreads();
        if (seen > 0) {
            dots(score, q + r * pitch, k, hd);
            dots(dp, d + r * pitch, v, hd);
        }
        for (int i = 0; i < EACH; i++) {
            const float p = exp2f(fmaf(score[i], a.factor, -lse));
            slope[part + LANES * i] = a.scale * p * (dp[i] - mean);
        }
        __syncthreads();
        add_rows(dq, slope, k, 0, seen, hd);
    }
    if (r < tile.n) put_row(b.dq, tile.row + r, h, hd, dq, 1);
}

/* dk += dSᵀ q, dv += Pᵀ dout: a tile of keys walks the rows that see it, of each head of its kv
 * head. */
__global__ static void back_keys(cu_attend_back b) {
    CU_SHARED(float, memory);
    const cu_attend a = b.forward;
    const cu_tile tile = b.key_tiles[blockIdx.x];
    const int64_t hd = a.hd, pitch = hd + 1, kv = blockIdx.y, group = a.H / a.Hkv;
    const int64_t r = threadIdx.x / LANES, part = threadIdx.x % LANES;
    float *k = memory, *v = k + CU_TILE * pitch, *q = v + CU_TILE * pitch, *d = q + CU_KEYS * pitch;
    float *p = d + CU_KEYS * pitch + r * CU_KEYS, *slope = p + CU_TILE * CU_KEYS;
    float dk[PARTS] = {0}, dv[PARTS] = {0};
    load_rows(k, a.keys.k, tile.row, tile.n, kv, hd);
    load_rows(v, a.keys.v, tile.row, tile.n, kv, hd);
    for (int64_t h = kv * group; h < (kv + 1) * group; h++)
        for (int64_t first = tile.row; first < tile.keys; first += CU_KEYS) {
            int64_t n = cu_least(tile.keys - first, CU_KEYS);
            float score[EACH] = {0}, dp[EACH] = {0};
            __syncthreads();
            load_rows(q, a.q, first, n, h, hd);
            load_rows(d, b.dout, first, n, h, hd);
            __syncthreads();
            if (r >= tile.n) n = 0;
            if (n > 0) {
                dots(score, k + r * pitch, q, hd);
                dots(dp, v + r * pitch, d, hd);
            }
            for (int i = 0; i < EACH; i++) {
                const int64_t j = part + LANES * i;
                if (j >= n) continue;
                const float lse = a.lse[(first + j) * a.H + h] * LOG2E;
                p[j] = exp2f(fmaf(score[i], a.factor, -lse));
                slope[j] = a.scale * p[j] * (dp[i] - b.mean[(first + j) * a.H + h]);
            }
            __syncthreads();
            const int64_t from = tile.row + r > first ? tile.row + r - first : 0;
            add_rows(dk, slope, q, from, n, hd);
            add_rows(dv, p, d, from, n, hd);
        }
    if (r >= tile.n) return;
    put_row(b.dk, tile.row + r, kv, hd, dk, 1);
    put_row(b.dv, tile.row + r, kv, hd, dv, 1);
}
void cu_attention_backward(cu_queue *q, const cu_attend_back *b) {
    const cu_attend *a = &b->forward;
    if (a->n_tiles == 0) return;
    const size_t rows = (size_t)(2 * (CU_TILE + CU_KEYS) * (a->hd + 1)) * sizeof(float);
    const size_t tile = CU_TILE * CU_KEYS * sizeof(float);
    const dim3 queries((unsigned)a->n_tiles, (unsigned)a->H);
    const dim3 keys((unsigned)b->n_key_tiles, (unsigned)a->Hkv);
    const dim3 rows_heads((unsigned)b->dout.rows, cu_blocks(a->H, CU_WARPS));
    const cu_attend_back args = *b;
    CU_LAUNCH(means, rows_heads, CU_THREADS, 0, q, args);
    if (a->on_mma) {
        cu_attention_backward_mma(q, b);
        return;
    }
    CU_ROOM(back_queries, rows + tile);
    CU_ROOM(back_keys, rows + 2 * tile);
    CU_LAUNCH(back_queries, queries, CU_THREADS, rows + tile, q, args);
    CU_LAUNCH(back_keys, keys, CU_THREADS, rows + 2 * tile, q, args);
}

/* --- cache --- */

__global__ static void put_cache(cu_put_cache to, cu_mat k, cu_mat v) {
    const int pieces = (to.hd + 7) / 8, n = (int)(blockIdx.y * CU_THREADS + threadIdx.x);
    const int64_t t = blockIdx.x, head = n / pieces, j = n % pieces * 8;
    const int64_t from = head * to.hd + j, end = (head + 1) * to.hd;
    if (head >= to.n_kv_heads || to.places[t] < 0) return;
    const int64_t at = to.places[t] + to.layer + head * 64 * to.hd; /* the head's row there */
    const cu_mat keys = {to.k, 1, to.hd, 0, k.bf16, 0}, values = {to.v, 1, to.hd, 0, v.bf16, 0};
    float x[8];
    load_8(x, k, t, from, end);
    store_8(keys, 0, at + j, at + to.hd, x);
    load_8(x, v, t, from, end);
    store_8(values, 0, at + j, at + to.hd, x);
}
void cu_cache_put(cu_queue *q, cu_put_cache to, cu_mat k, cu_mat v) {
    const int64_t units = (int64_t)to.n_kv_heads * ((to.hd + 7) / 8);
    const dim3 grid((unsigned)k.rows, cu_blocks(units, CU_THREADS));
    if (k.rows == 0 || k.cols == 0) return;
    CU_LAUNCH(put_cache, grid, CU_THREADS, 0, q, to, k, v);
}
