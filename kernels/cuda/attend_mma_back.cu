/* attend_mma_back.cu - the backward of attention on tensor cores, where attend_mma.cu does the
 * forward: P = exp(S - lse), dS = scale · P (dout · v - dout · out); P and dS are rounded to bf16
 * for the products dq = dS k, dk = dSᵀ q, dv = Pᵀ dout, whose sums are f32. */
#include "attend_mma.cuh"

#define LOG2E 1.4426950408889634f

/* dq = dS k: a warp has 16 queries of a head, as in the forward. */
template <int STEPS>
__global__ static void __launch_bounds__(CU_THREADS, 2) back_queries(cu_attend_back b) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS, PITCH = HD + 8;
    CU_SHARED(uint16_t, memory); /* twice: CU_KEYS keys, CU_KEYS values */
    const cu_attend &a = b.forward;
    const cu_tile tile = a.tiles[blockIdx.x];
    const attend_unit u = unit_of(a, tile);
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t q[STEPS][4], d[STEPS][4];
    float dq[PARTS][4] = {{0}}, lse[2] = {0}, mean[2] = {0};
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) {
        left_of_head(q[s], a.q, u.row, u.n, u.h * HD + 16 * s);
        left_of_head(d[s], b.dout, u.row, u.n, u.h * HD + 16 * s);
    }
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        if (g + 8 * half >= u.n) continue;
        lse[half] = a.lse[(u.row + g + 8 * half) * a.H + u.h] * LOG2E;
        mean[half] = b.mean[(u.row + g + 8 * half) * a.H + u.h];
    }
    const int n_keys = tile.position + tile.n;
    come_keys<HD>(memory, a, tile.keys, 0, n_keys, u.kv);
    for (int first = 0; first < n_keys; first += CU_KEYS) {
        const uint16_t *k = keys_at<HD>(memory, a, tile.keys, first, n_keys, u.kv);
        const uint16_t *v = k + CU_KEYS * PITCH;
        float score[4][4] = {{0}}, dp[4][4] = {{0}};
        uint32_t f[4], slope[4];
        if (u.n <= 0 || first >= u.position + u.n) continue;
        CU_UNROLL
        for (int s = 0; s < STEPS; s++)
            for (int j = 0; j < 4; j += 2) {
                right_rows(f, k, PITCH, 8 * j, 16 * s);
                mma(score[j], q[s], f);
                mma(score[j + 1], q[s], f + 2);
                right_rows(f, v, PITCH, 8 * j, 16 * s);
                mma(dp[j], d[s], f);
                mma(dp[j + 1], d[s], f + 2);
            }
        CU_UNROLL
        for (int j = 0; j < 4; j++)
            for (int r = 0; r < 4; r++) {
                const int row = g + r / 2 * 8, half = r / 2;
                const int key = first + 8 * j + 2 * t + r % 2;
                const bool sees = row < u.n && key <= u.position + row;
                const float p = sees ? exp2f(fmaf(score[j][r], a.factor, -lse[half])) : 0;
                score[j][r] = sees ? a.scale * p * (dp[j][r] - mean[half]) : 0;
            }
        CU_UNROLL
        for (int s = 0; s < 2; s++) {
            left_of(slope, score[2 * s], score[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i += 2) {
                right_columns(f, k, PITCH, 8 * i, 16 * s);
                mma(dq[i], slope, f);
                mma(dq[i + 1], slope, f + 2);
            }
        }
    }
    const float by[2] = {1, 1};
    put_head<HD>(b.dq, u.row, u.n, u.h * HD, dq, by);
}

/* --- keys and values: a block has CU_KEY_ROWS keys of a segment, a warp 16 of them, and walks the
 * rows that see them, ROWS at a time, of each head of its kv head --- */

enum { ROWS = 32 };
static_assert((int)CU_KEY_ROWS == 16 * CU_WARPS, "a warp has 16 keys");

/* What a step needs of its rows, in shared memory: q, dout, then lse and mean. */
template <int HD> struct step_rows {
    uint16_t q[ROWS * (HD + 8)], d[ROWS * (HD + 8)];
    float lse[ROWS], mean[ROWS];
};
template <int HD> struct key_room {
    uint16_t k[CU_KEY_ROWS * (HD + 8)], v[CU_KEY_ROWS * (HD + 8)];
    step_rows<HD> steps[2];
};

template <int HD>
__device__ static inline void come_rows(step_rows<HD> *to, const cu_attend_back &b, int64_t first,
                                        int64_t end, int64_t h) {
    constexpr int PIECES = HD / 8;
    const cu_attend &a = b.forward;
    CU_UNROLL
    for (int i = 0; i < (ROWS * PIECES + CU_THREADS - 1) / CU_THREADS; i++) {
        const int c = i * CU_THREADS + (int)threadIdx.x, j = c / PIECES, at = c % PIECES * 8;
        if (ROWS * PIECES % CU_THREADS && c >= ROWS * PIECES) break;
        const bool is = first + j < end;
        const int64_t row = is ? first + j : first, column = h * HD + at;
        come(to->q + j * (HD + 8) + at, a.q, row * a.q.stride + column, is, a.wide);
        come(to->d + j * (HD + 8) + at, b.dout, row * b.dout.stride + column, is, a.wide);
    }
    if (threadIdx.x < 2 * ROWS) {
        const int j = (int)threadIdx.x % ROWS;
        const bool is = first + j < end;
        const float *from = threadIdx.x < ROWS ? a.lse : b.mean;
        float *here = threadIdx.x < ROWS ? to->lse : to->mean;
        copy_4(here + j, from + (is ? (first + j) * a.H + h : 0), is);
    }
}

/* The block's keys and values. */
template <int HD>
__device__ static inline void come_tile(key_room<HD> *room, const cu_attend &a, const cu_tile &tile,
                                        int64_t kv) {
    constexpr int PIECES = HD / 8, PITCH = HD + 8;
    for (int c = (int)threadIdx.x; c < CU_KEY_ROWS * PIECES; c += CU_THREADS) {
        const int j = c / PIECES, at = c % PIECES * 8;
        const bool is = j < tile.n;
        const int64_t row = is ? tile.row + j : tile.row, column = kv * HD + at;
        come(room->k + j * PITCH + at, a.keys.k, row * a.keys.k.stride + column, is, a.wide);
        come(room->v + j * PITCH + at, a.keys.v, row * a.keys.v.stride + column, is, a.wide);
    }
}
/* Of a warp's 16 keys with the rows of a step: k · q and v · dout. */
template <int STEPS>
__device__ static inline void products(float score[ROWS / 8][4], float dp[ROWS / 8][4],
                                       const uint16_t *k, const uint16_t *v,
                                       const step_rows<16 * STEPS> &now) {
    constexpr int PITCH = 16 * STEPS + 8;
    uint32_t l[4], f[4];
    CU_UNROLL
    for (int s = 0; s < STEPS; s++) {
        left_rows(l, k, PITCH, 16 * s);
        CU_UNROLL
        for (int j = 0; j < ROWS / 8; j += 2) {
            right_rows(f, now.q, PITCH, 8 * j, 16 * s);
            mma(score[j], l, f);
            mma(score[j + 1], l, f + 2);
        }
        left_rows(l, v, PITCH, 16 * s);
        CU_UNROLL
        for (int j = 0; j < ROWS / 8; j += 2) {
            right_rows(f, now.d, PITCH, 8 * j, 16 * s);
            mma(dp[j], l, f);
            mma(dp[j + 1], l, f + 2);
        }
    }
}

template <int STEPS>
__global__ static void __launch_bounds__(CU_THREADS, 2) back_keys(cu_attend_back b) {
    constexpr int HD = 16 * STEPS, PARTS = 2 * STEPS, PITCH = HD + 8;
    CU_SHARED(key_room<HD>, room);
    const cu_attend &a = b.forward;
    const cu_tile tile = b.key_tiles[blockIdx.x];
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int mine = (int)threadIdx.x / 32 * 16, n = tile.n - mine; /* this warp's keys */
    const int64_t group = (unsigned)a.H / (unsigned)a.Hkv, kv = blockIdx.y;
    float dk[PARTS][4] = {{0}}, dv[PARTS][4] = {{0}};
    come_tile<HD>(room, a, tile, kv);
    come_rows<HD>(&room->steps[0], b, tile.row, tile.keys, kv * group);
    int odd = 0;
    for (int64_t first = tile.row, h = kv * group; h < (kv + 1) * group; odd = 1 - odd) {
        const step_rows<HD> *now = &room->steps[odd];
        const int64_t rows = first;
        float score[ROWS / 8][4] = {{0}}, dp[ROWS / 8][4] = {{0}};
        uint32_t l[4], f[4];
        copies_done();
        __syncthreads();
        first += ROWS;
        if (first >= tile.keys) {
            first = tile.row;
            h++;
        }
        if (h < (kv + 1) * group) come_rows<HD>(&room->steps[1 - odd], b, first, tile.keys, h);
        if (n <= 0 || rows + ROWS <= tile.row + mine) continue; /* none of the rows sees a key */
        products<STEPS>(score, dp, room->k + mine * PITCH, room->v + mine * PITCH, *now);
        CU_UNROLL
        for (int j = 0; j < ROWS / 8; j++)
            for (int r = 0; r < 4; r++) {
                const int i = 8 * j + 2 * t + r % 2, key = g + r / 2 * 8;
                const int64_t row = rows + i;
                const bool sees = key < n && row < tile.keys && row >= tile.row + mine + key;
                const float p =
                    sees ? exp2f(fmaf(score[j][r], a.factor, -(now->lse[i] * LOG2E))) : 0;
                dp[j][r] = sees ? a.scale * p * (dp[j][r] - now->mean[i]) : 0;
                score[j][r] = p;
            }
        CU_UNROLL
        for (int s = 0; s < ROWS / 16; s++) {
            left_of(l, score[2 * s], score[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i += 2) {
                right_columns(f, now->d, PITCH, 8 * i, 16 * s);
                mma(dv[i], l, f);
                mma(dv[i + 1], l, f + 2);
            }
            left_of(l, dp[2 * s], dp[2 * s + 1]);
            CU_UNROLL
            for (int i = 0; i < PARTS; i += 2) {
                right_columns(f, now->q, PITCH, 8 * i, 16 * s);
                mma(dk[i], l, f);
                mma(dk[i + 1], l, f + 2);
            }
        }
    }
    const float by[2] = {1, 1};
    put_head<HD>(b.dk, tile.row + mine, n, kv * HD, dk, by);
    put_head<HD>(b.dv, tile.row + mine, n, kv * HD, dv, by);
}

template <int STEPS> static void launch(cu_queue *q, const cu_attend_back &args) {
    constexpr int HD = 16 * STEPS;
    const cu_attend *a = &args.forward;
    const size_t for_queries = 4 * CU_KEYS * (HD + 8) * sizeof(uint16_t);
    const size_t for_keys = sizeof(key_room<HD>);
    const dim3 keys((unsigned)args.n_key_tiles, (unsigned)a->Hkv);
    CU_ROOM(back_keys<STEPS>, for_keys);
    CU_LAUNCH(back_queries<STEPS>, units_grid(a), CU_THREADS, for_queries, q, args);
    CU_LAUNCH(back_keys<STEPS>, keys, CU_THREADS, for_keys, q, args);
}

void cu_attention_backward_mma(cu_queue *q, const cu_attend_back *b) {
    cu_attend_back args = *b;
    cu_attend *a = &args.forward;
    a->wide = lies_wide(a->q) && lies_wide(a->keys.k) && lies_wide(a->keys.v) && lies_wide(b->dout);
    CU_BY_HEAD_SIZE(a->hd, launch, q, args)
}
