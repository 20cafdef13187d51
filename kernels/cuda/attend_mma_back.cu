/* attend_mma_back.cu - the backward of attention on tensor cores, where attend_mma.cu does the
 * forward: P = exp(S - lse), dS = scale · P (dout · v - dout · out); P and dS are rounded to bf16
 * for the products dq = dS k, dk = dSᵀ q, dv = Pᵀ dout, whose sums are f32. */
#include "attend_mma.cuh"

#define LOG2E 1.4426950408889634f
enum { HEADS = CU_WARPS, STEP = 16, TURNED_PITCH = STEP + 8, KEY_PITCH = CU_KEYS + 8 };

/* Fragment of 16 rows, from shared memory. */
__device__ static inline void rows_fragment(uint32_t a[4], const uint16_t *rows, int pitch, int k) {
    const int lane = (int)threadIdx.x % 32;
    const uint16_t *at = rows + lane / 4 * pitch + k + lane % 4 * 2;
    a[0] = *(const word *)at;
    a[1] = *(const word *)(at + 8 * pitch);
    a[2] = *(const word *)(at + 8);
    a[3] = *(const word *)(at + 8 * pitch + 8);
}
/* Rows of a head, from device memory; those from the n-th on are 0. */
__device__ static inline void rows_fragment_of(uint32_t a[4], const cu_mat &m, int64_t row,
                                               int64_t n, int64_t column) {
    const int lane = (int)threadIdx.x % 32;
    for (int r = 0; r < 4; r++) {
        const int i = lane / 4 + r % 2 * 8;
        const int64_t at = (row + i) * m.stride + column + lane % 4 * 2 + r / 2 * 8;
        a[r] = i < n ? pair_at(m.data, at) : 0;
    }
}

/* 32 keys and values from `first` on into rows, keys into columns too; zero from the n-th on. */
template <int HD>
__device__ static void load_keys(uint16_t *k, uint16_t *v, uint16_t *turned, const cu_keys &keys,
                                 int64_t path, int64_t first, int64_t n, int64_t kv) {
    for (int j = (int)threadIdx.x / 32; j < CU_KEYS; j += CU_WARPS)
        for (int c = (int)threadIdx.x % 32 * 2; c < HD; c += 64) {
            uint32_t key = 0, value = 0;
            if (j < n) {
                key = pair_at(keys.k.data, key_at(keys, keys.k, path, first + j, kv, HD) + c);
                value = pair_at(keys.v.data, key_at(keys, keys.v, path, first + j, kv, HD) + c);
            }
            *(word *)(k + j * (HD + 8) + c) = key;
            *(word *)(v + j * (HD + 8) + c) = value;
            turned[c * KEY_PITCH + j] = (uint16_t)key;
            turned[(c + 1) * KEY_PITCH + j] = (uint16_t)(key >> 16);
        }
}

/* dq += dS k: a warp has a head of the tile's kv head, as in the forward. */
template <int STEPS> __global__ static void back_queries(cu_attend_back b) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS, PITCH = HD + 8;
    CU_SHARED(uint16_t, memory);
    const cu_attend a = b.forward;
    const cu_tile tile = a.tiles[blockIdx.x];
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t group = a.H / a.Hkv, parts = (group + HEADS - 1) / HEADS, kv = blockIdx.y / parts;
    const int64_t mine = blockIdx.y % parts * HEADS + threadIdx.x / 32, h = kv * group + mine;
    const bool works = mine < group;
    uint16_t *k = memory, *v = k + CU_KEYS * PITCH, *turned = v + CU_KEYS * PITCH;
    uint32_t q[STEPS][4], d[STEPS][4];
    float dq[PARTS][4] = {{0}}, lse[2] = {0}, mean[2] = {0};
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) {
        const int64_t n = works ? tile.n : 0, column = h * HD + 16 * s;
        rows_fragment_of(q[s], a.q, tile.row, n, column);
        rows_fragment_of(d[s], b.dout, tile.row, n, column);
    }
    for (int half = 0; half < 2; half++) {
        if (!works || g + 8 * half >= tile.n) continue;
        lse[half] = a.lse[(tile.row + g + 8 * half) * a.H + h] * LOG2E;
        mean[half] = b.mean[(tile.row + g + 8 * half) * a.H + h];
    }
    const int64_t n_keys = tile.position + tile.n;
    for (int64_t first = 0; first < n_keys; first += CU_KEYS) {
        const int64_t n = cu_least(n_keys - first, CU_KEYS);
        float score[4][4] = {{0}}, dp[4][4] = {{0}};
        uint32_t f[2];
        __syncthreads();
        load_keys<HD>(k, v, turned, a.keys, tile.keys, first, n, kv);
        __syncthreads();
        if (!works) continue;
        CU_UNROLL
        for (int s = 0; s < STEPS; s++)
            for (int j = 0; j < 4; j++) {
                fragment(f, k, PITCH, 8 * j, 16 * s);
                mma(score[j], q[s], f);
                fragment(f, v, PITCH, 8 * j, 16 * s);
                mma(dp[j], d[s], f);
            }
        CU_UNROLL
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < 4; r++) {
                const int row = g + r / 2 * 8, half = r / 2;
                const int64_t key = first + 8 * j + 2 * t + r % 2;
                const bool sees = row < tile.n && key <= tile.position + row;
                const float p = sees ? exp2f(fmaf(score[j][r], a.factor, -lse[half])) : 0;
                score[j][r] = sees ? a.scale * p * (dp[j][r] - mean[half]) : 0;
            }
        CU_UNROLL
        for (int s = 0; s < 2; s++) {
            uint32_t slope[4];
            left_of(slope, score[2 * s], score[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i++) {
                fragment(f, turned, KEY_PITCH, 8 * i, 16 * s);
                mma(dq[i], slope, f);
            }
        }
    }
    CU_UNROLL
    for (int i = 0; i < PARTS; i++)
        for (int r = 0; r < 4; r++)
            if (works && g + r / 2 * 8 < tile.n)
                cu_put(b.dq, tile.row + g + r / 2 * 8, h * HD + 8 * i + 2 * t + r % 2, dq[i][r]);
}

/* 16 rows of a head into rows and columns; zero from the n-th on. A warp's own. */
template <int HD>
__device__ static void load_rows(uint16_t *rows, uint16_t *turned, const cu_mat &m, int64_t row,
                                 int64_t n, int64_t h) {
    for (int j = 0; j < STEP; j++)
        for (int c = (int)threadIdx.x % 32 * 2; c < HD; c += 64) {
            const uint32_t it =
                j < n ? pair_at(m.data, (row + j) * m.stride + h * HD + c) : 0;
            *(word *)(rows + j * (HD + 8) + c) = it;
            turned[c * TURNED_PITCH + j] = (uint16_t)it;
            turned[(c + 1) * TURNED_PITCH + j] = (uint16_t)(it >> 16);
        }
}
/* The warps' sums, in the order of the warps, into rows of the kv head. */
template <int HD>
__device__ static void put_sums(const cu_mat &to, const cu_tile &tile, int64_t kv,
                                const float sums[HD / 8][4], float *room) {
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float *mine = room + (int)threadIdx.x / 32 * 16 * HD;
    __syncthreads();
    CU_UNROLL
    for (int i = 0; i < HD / 8; i++)
        for (int r = 0; r < 4; r++)
            mine[(g + r / 2 * 8) * HD + 8 * i + 2 * t + r % 2] = sums[i][r];
    __syncthreads();
    for (int at = (int)threadIdx.x; at < tile.n * HD; at += CU_THREADS) {
        float sum = room[at];
        for (int w = 1; w < CU_WARPS; w++) sum += room[w * 16 * HD + at];
        cu_put(to, tile.row + at / HD, kv * HD + at % HD, sum);
    }
}

/* dk += dSᵀ q, dv += Pᵀ dout: a block has a tile of keys, a warp every fourth head of its kv head
 * and walks the rows that see the tile, 16 at a time. */
template <int STEPS> __global__ static void back_keys(cu_attend_back b) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS, PITCH = HD + 8;
    constexpr int OWN = 2 * STEP * PITCH + 2 * HD * TURNED_PITCH; /* values of a warp */
    CU_SHARED(uint16_t, memory);
    const cu_attend a = b.forward;
    const cu_tile tile = b.key_tiles[blockIdx.x];
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t group = a.H / a.Hkv, kv = blockIdx.y;
    uint16_t *k = memory, *v = k + 16 * PITCH;
    uint16_t *q = v + 16 * PITCH + (int)threadIdx.x / 32 * OWN, *d = q + STEP * PITCH;
    uint16_t *q_turned = d + STEP * PITCH, *d_turned = q_turned + HD * TURNED_PITCH;
    float dk[PARTS][4] = {{0}}, dv[PARTS][4] = {{0}};
    for (int j = (int)threadIdx.x / 32; j < 16; j += CU_WARPS)
        for (int c = lane * 2; c < HD; c += 64) {
            const cu_mat &from_k = a.keys.k, &from_v = a.keys.v;
            const int64_t at = kv * HD + c, row = tile.row + j;
            const bool is = j < tile.n;
            *(word *)(k + j * PITCH + c) = is ? pair_at(from_k.data, row * from_k.stride + at) : 0;
            *(word *)(v + j * PITCH + c) = is ? pair_at(from_v.data, row * from_v.stride + at) : 0;
        }
    __syncthreads();
    for (int64_t mine = threadIdx.x / 32; mine < group; mine += HEADS)
        for (int64_t first = tile.row; first < tile.keys; first += STEP) {
            const int64_t n = cu_least(tile.keys - first, STEP), h = kv * group + mine;
            float score[2][4] = {{0}}, dp[2][4] = {{0}};
            uint32_t l[4], f[2];
            __syncwarp();
            load_rows<HD>(q, q_turned, a.q, first, n, h);
            load_rows<HD>(d, d_turned, b.dout, first, n, h);
            __syncwarp();
            CU_UNROLL
            for (int s = 0; s < STEPS; s++)
                for (int j = 0; j < 2; j++) {
                    rows_fragment(l, k, PITCH, 16 * s);
                    fragment(f, q, PITCH, 8 * j, 16 * s);
                    mma(score[j], l, f);
                    rows_fragment(l, v, PITCH, 16 * s);
                    fragment(f, d, PITCH, 8 * j, 16 * s);
                    mma(dp[j], l, f);
                }
            CU_UNROLL
            for (int j = 0; j < 2; j++)
                for (int r = 0; r < 4; r++) {
                    const int64_t row = first + 8 * j + 2 * t + r % 2, key = g + r / 2 * 8;
                    const bool sees = key < tile.n && row < first + n && row >= tile.row + key;
                    float p = 0, slope = 0;
                    if (sees) {
                        p = exp2f(fmaf(score[j][r], a.factor, -(a.lse[row * a.H + h] * LOG2E)));
                        slope = a.scale * p * (dp[j][r] - b.mean[row * a.H + h]);
                    }
                    score[j][r] = p;
                    dp[j][r] = slope;
                }
            left_of(l, score[0], score[1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i++) {
                fragment(f, d_turned, TURNED_PITCH, 8 * i, 0);
                mma(dv[i], l, f);
            }
            left_of(l, dp[0], dp[1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i++) {
                fragment(f, q_turned, TURNED_PITCH, 8 * i, 0);
                mma(dk[i], l, f);
            }
        }
    put_sums<HD>(b.dk, tile, kv, dk, (float *)memory);
    put_sums<HD>(b.dv, tile, kv, dv, (float *)memory);
}

#ifdef __CUDACC__
#define ROOM(kernel, bytes)                                                                        \
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes))
#else
#define ROOM(kernel, bytes) ((void)(bytes))
#endif

template <int STEPS> static void launch(cu_queue *q, const cu_attend_back *b) {
    constexpr int HD = 16 * STEPS;
    const cu_attend *a = &b->forward;
    const int64_t group = a->H / a->Hkv, parts = (group + HEADS - 1) / HEADS;
    const dim3 queries((unsigned)a->n_tiles, (unsigned)(a->Hkv * parts));
    const dim3 keys((unsigned)b->n_key_tiles, (unsigned)a->Hkv);
    const size_t for_queries = (2 * CU_KEYS * (HD + 8) + HD * KEY_PITCH) * sizeof(uint16_t);
    const size_t own = 2 * STEP * (HD + 8) + 2 * HD * TURNED_PITCH;
    const size_t tiles = (2 * 16 * (HD + 8) + HEADS * own) * sizeof(uint16_t);
    const size_t sums = CU_WARPS * 16 * HD * sizeof(float);
    const size_t for_keys = tiles > sums ? tiles : sums;
    const cu_attend_back args = *b;
    ROOM(back_queries<STEPS>, for_queries);
    ROOM(back_keys<STEPS>, for_keys);
    CU_LAUNCH(back_queries<STEPS>, queries, CU_THREADS, for_queries, q, args);
    CU_LAUNCH(back_keys<STEPS>, keys, CU_THREADS, for_keys, q, args);
}

int cu_attention_backward_mma(cu_queue *q, const cu_attend_back *b) {
    const cu_attend *a = &b->forward;
    if (!a->q.bf16 || !a->keys.k.bf16 || !a->keys.v.bf16 || !b->dout.bf16) return 0;
    switch (a->hd) {
    case 16:
        launch<1>(q, b);
        return 1;
    case 32:
        launch<2>(q, b);
        return 1;
    case 64:
        launch<4>(q, b);
        return 1;
    case 128:
        launch<8>(q, b);
        return 1;
    default:
        return 0;
    }
}
