/* attend_mma.cuh - what attention's kernels on tensor cores share: which rows a warp has, how keys
 * are found and come into shared memory, and fragments (mma.cuh) read.
 *
 * Rows of hd values lie in shared memory hd + 8 apart: eight of them, 16 bytes of each, are in
 * different banks, so that matrices of either direction come without a conflict. */
#ifndef PX_CUDA_ATTEND_MMA_CUH
#define PX_CUDA_ATTEND_MMA_CUH

#include "mma.cuh"

static_assert(CU_TILE == 16 && CU_KEYS == 32, "fragments of 16 rows, two of 16 keys");

/* What a warp has of a tile: 16 of its rows, of one head. */
struct attend_unit {
    int32_t kv, h, n; /* n: its rows, maybe none */
    int32_t position; /* of the first on its path */
    int64_t row;
};
/* Heads of a block: those of its kv head, CU_WARPS at most. A tile has as many times 16 rows as
 * leave no warp without work. */
__host__ __device__ static inline int heads_of(int group) {
    return group < (int)CU_WARPS ? group : (int)CU_WARPS;
}
__device__ static inline attend_unit unit_of(const cu_attend &a, const cu_tile &tile) {
    const int group = a.H / a.Hkv, heads = heads_of(group), parts = (group + heads - 1) / heads;
    const int warp = (int)threadIdx.x / 32, kv = (int)blockIdx.y / parts;
    const int mine = (int)blockIdx.y % parts * heads + warp % heads;
    const int first = warp / heads * CU_TILE, rows = mine < group ? tile.n - first : 0;
    return attend_unit{kv, kv * group + mine, rows < CU_TILE ? rows : (int)CU_TILE,
                       tile.position + first, (int64_t)tile.row + first};
}
/* Blocks: tiles, and kv heads times the parts that their queries' heads are dealt to. */
static inline dim3 units_grid(const cu_attend *a) {
    const int group = a->H / a->Hkv, heads = heads_of(group);
    return dim3((unsigned)a->n_tiles, (unsigned)(a->Hkv * ((group + heads - 1) / heads)));
}

__device__ static inline int64_t key_at(const cu_keys &keys, const cu_mat &m, int64_t path,
                                        int64_t p, int64_t kv, int64_t hd) {
    if (keys.page_values == 0) return keys.list[path + p] * m.stride + kv * hd;
    return keys.list[path + p / 64] * keys.page_values + keys.layer + (kv * 64 + p % 64) * hd;
}

/* Eight values; zeros where `is` is false. Where rows lie on 16 bytes they come by themselves. */
__device__ static inline void come(uint16_t *to, const cu_mat &m, int64_t at, bool is, int wide) {
    if (wide) {
        copy_16(to, (const uint16_t *)m.data + (is ? at : 0), is);
        return;
    }
    CU_UNROLL
    for (int i = 0; i < 8; i += 2) *(word *)(to + i) = is ? pair_at(m.data, at + i) : 0;
}
/* CU_KEYS keys, then values, of a path from `first` on; zeros from position n_keys on. */
template <int HD>
__device__ static inline void come_keys(uint16_t *k, const cu_attend &a, int64_t path, int first,
                                        int n_keys, int64_t kv) {
    constexpr int PIECES = HD / 8;
    uint16_t *v = k + CU_KEYS * (HD + 8);
    CU_UNROLL
    for (int i = 0; i < (CU_KEYS * PIECES + CU_THREADS - 1) / CU_THREADS; i++) {
        const int c = i * CU_THREADS + (int)threadIdx.x, j = c / PIECES, at = c % PIECES * 8;
        if (CU_KEYS * PIECES % CU_THREADS && c >= CU_KEYS * PIECES) break;
        const bool is = first + j < n_keys;
        const int p = is ? first + j : 0;
        const int64_t from_k = key_at(a.keys, a.keys.k, path, p, kv, HD) + at;
        const int64_t from_v = key_at(a.keys, a.keys.v, path, p, kv, HD) + at;
        come(k + j * (HD + 8) + at, a.keys.k, from_k, is, a.wide);
        come(v + j * (HD + 8) + at, a.keys.v, from_v, is, a.wide);
    }
}

/* The keys from `first` on, the values behind them, are there for all threads; the next ones come
 * meanwhile, where those before them were. memory: twice CU_KEYS keys and values. */
template <int HD>
__device__ static inline const uint16_t *keys_at(uint16_t *memory, const cu_attend &a, int64_t path,
                                                 int first, int n_keys, int64_t kv) {
    constexpr int SIZE = 2 * CU_KEYS * (HD + 8);
    const int odd = first / CU_KEYS % 2;
    copies_done();
    __syncthreads();
    if (first + CU_KEYS < n_keys)
        come_keys<HD>(memory + (1 - odd) * SIZE, a, path, first + CU_KEYS, n_keys, kv);
    return memory + odd * SIZE;
}

/* Of rows in shared memory, a pitch apart. 16 rows as the left side of a product over their
 * columns k … k + 15. */
__device__ static inline void left_rows(uint32_t a[4], const uint16_t *rows, int pitch, int k) {
    const int lane = (int)threadIdx.x % 32;
    matrices(a, rows + lane % 16 * pitch + k + lane / 16 * 8);
}
/* Rows j … j + 15 as two right sides of a product over their columns k … k + 15. */
__device__ static inline void right_rows(uint32_t b[4], const uint16_t *rows, int pitch, int j,
                                         int k) {
    const int lane = (int)threadIdx.x % 32;
    matrices(b, rows + (j + lane / 16 * 8 + lane % 8) * pitch + k + lane / 8 % 2 * 8);
}
/* Columns j … j + 15 as two right sides of a product over rows k … k + 15. */
__device__ static inline void right_columns(uint32_t b[4], const uint16_t *rows, int pitch, int j,
                                            int k) {
    const int lane = (int)threadIdx.x % 32;
    matrices_turned(b, rows + (k + lane % 16) * pitch + j + lane / 16 * 8);
}
/* 16 rows of a head as a left side, from device memory; those from the n-th on are 0. */
__device__ static inline void left_of_head(uint32_t a[4], const cu_mat &m, int64_t row, int n,
                                           int64_t column) {
    const int lane = (int)threadIdx.x % 32;
    CU_UNROLL
    for (int r = 0; r < 4; r++) {
        const int i = lane / 4 + r % 2 * 8;
        const int64_t at = (row + i) * m.stride + column + lane % 4 * 2 + r / 2 * 8;
        a[r] = i < n ? pair_at(m.data, at) : 0;
    }
}
/* A product's rows as the left side of the next one: two sums of 8 columns, rounded to bf16. */
__device__ static inline void left_of(uint32_t a[4], const float low[4], const float high[4]) {
    a[0] = pair_of(low[0], low[1]);
    a[1] = pair_of(low[2], low[3]);
    a[2] = pair_of(high[0], high[1]);
    a[3] = pair_of(high[2], high[3]);
}

/* Two neighbours of a row, rounded. */
__device__ static inline void put_pair(const cu_mat &m, int64_t row, int64_t column, float low,
                                       float high) {
    uint16_t *to = (uint16_t *)m.data + row * m.stride + column;
    if (((uintptr_t)to & 3) == 0) {
        *(word *)to = pair_of(low, high);
        return;
    }
    to[0] = cu_narrow(low);
    to[1] = cu_narrow(high);
}
/* 16 rows of a head, in their fragments, times `by`; those from the n-th on stay. */
template <int HD>
__device__ static inline void put_head(const cu_mat &m, int64_t row, int n, int64_t column,
                                       const float sums[HD / 8][4], const float by[2]) {
    const int lane = (int)threadIdx.x % 32;
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const int i = lane / 4 + 8 * half;
        if (i >= n) continue;
        CU_UNROLL
        for (int part = 0; part < HD / 8; part++)
            put_pair(m, row + i, column + 8 * part + lane % 4 * 2, sums[part][2 * half] * by[half],
                     sums[part][2 * half + 1] * by[half]);
    }
}

/* Whether rows of a matrix begin on 16 bytes. */
static inline int lies_wide(const cu_mat &m) {
    return ((uintptr_t)m.data & 15) == 0 && m.stride % 8 == 0;
}

/* Calls launch<hd / 16>(…) for the sizes that there are kernels for. */
#define CU_BY_HEAD_SIZE(hd, launch, ...)                                                           \
    switch (hd) {                                                                                  \
    case 16:                                                                                       \
        launch<1>(__VA_ARGS__);                                                                    \
        break;                                                                                     \
    case 32:                                                                                       \
        launch<2>(__VA_ARGS__);                                                                    \
        break;                                                                                     \
    case 64:                                                                                       \
        launch<4>(__VA_ARGS__);                                                                    \
        break;                                                                                     \
    case 80:                                                                                       \
        launch<5>(__VA_ARGS__);                                                                    \
        break;                                                                                     \
    case 96:                                                                                       \
        launch<6>(__VA_ARGS__);                                                                    \
        break;                                                                                     \
    default:                                                                                       \
        launch<8>(__VA_ARGS__);                                                                    \
    }

#endif
