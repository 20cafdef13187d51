/* rows.cu - embeddings and rows, the optimiser, sums of squares. */
#include "wide.cuh"

__global__ static void embed(cu_mat y, const int32_t *ids, cu_mat table, const float *soft) {
    const int64_t i = blockIdx.x, first = piece_at(), id = ids[i];
    float v[8];
    if (first >= y.cols) return;
    if (id >= 0)
        load_8(v, table, id, first, y.cols);
    else
        floats_8(v, soft + (-1 - id) * y.cols + first, y.cols - first);
    store_8(y, i, first, y.cols, v);
}
void cu_embed(cu_queue *q, cu_mat y, const int32_t *ids, cu_mat table, const float *soft) {
    if (y.rows == 0 || y.cols == 0) return;
    CU_LAUNCH(embed, pieces_grid(y), CU_THREADS, 0, q, y, ids, table, soft);
}

/* A thread takes a column and goes through the rows in order. */
__global__ static void embed_back(float *dsoft, float *dtable, const int32_t *ids, cu_mat dy) {
    const int64_t j = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x, d = dy.cols;
    if (j >= d) return;
    for (int64_t i = 0; i < dy.rows; i++) {
        const int64_t id = ids[i];
        if (id < 0)
            dsoft[(-1 - id) * d + j] += cu_get(dy, i, j);
        else if (dtable)
            dtable[id * d + j] += cu_get(dy, i, j);
    }
}
void cu_embed_backward(cu_queue *q, float *dsoft, float *dtable, const int32_t *ids, cu_mat dy) {
    if (dy.rows == 0 || dy.cols == 0) return;
    CU_LAUNCH(embed_back, cu_blocks(dy.cols, CU_THREADS), CU_THREADS, 0, q, dsoft, dtable, ids, dy);
}

/* Row `from` of x becomes row `to` of y. */
__device__ static inline void copy_piece(const cu_mat &y, int64_t to, const cu_mat &x,
                                         int64_t from) {
    const int64_t first = piece_at();
    float v[8];
    if (first >= y.cols) return;
    load_8(v, x, from, first, y.cols);
    store_8(y, to, first, y.cols, v);
}
__global__ static void gather(cu_mat y, cu_mat x, const int32_t *rows) {
    copy_piece(y, blockIdx.x, x, rows[blockIdx.x]);
}
void cu_gather(cu_queue *q, cu_mat y, cu_mat x, const int32_t *rows) {
    if (y.rows == 0 || y.cols == 0) return;
    CU_LAUNCH(gather, pieces_grid(y), CU_THREADS, 0, q, y, x, rows);
}

__global__ static void clear(cu_mat m) {
    const float none[8] = {0};
    if (piece_at() < m.cols) store_8(m, blockIdx.x, piece_at(), m.cols, none);
}
__global__ static void scatter(cu_mat dx, cu_mat dy, const int32_t *rows) {
    copy_piece(dx, rows[blockIdx.x], dy, blockIdx.x);
}
void cu_scatter(cu_queue *q, cu_mat dx, cu_mat dy, const int32_t *rows) {
    if (dx.rows == 0 || dx.cols == 0) return;
    CU_LAUNCH(clear, pieces_grid(dx), CU_THREADS, 0, q, dx);
    if (dy.rows) CU_LAUNCH(scatter, pieces_grid(dy), CU_THREADS, 0, q, dx, dy, rows);
}

__global__ static void convert(cu_mat to, cu_mat from) {
    copy_piece(to, blockIdx.x, from, blockIdx.x);
}
void cu_convert(cu_queue *q, cu_mat to, cu_mat from) {
    if (to.rows == 0 || to.cols == 0) return;
    CU_LAUNCH(convert, pieces_grid(to), CU_THREADS, 0, q, to, from);
}

/* In float64 but for what is stored: the corrections of the first steps lose digits in f32. */
__global__ static void adamw(float *p, float *m, float *v, const float *g, int64_t n,
                             cu_adamw_rates r) {
    const int64_t i = (int64_t)blockIdx.x * CU_THREADS + threadIdx.x;
    if (i >= n) return;
    const double grad = g[i] * r.scale;
    const double mean = r.b1 * m[i] + (1 - r.b1) * grad;
    const double square = r.b2 * v[i] + (1 - r.b2) * grad * grad;
    m[i] = (float)mean;
    v[i] = (float)square;
    p[i] = (float)(p[i] * r.kept - r.rate * mean / (sqrt(square) * r.root + r.eps));
}
void cu_adamw(cu_queue *q, float *p, float *m, float *v, const float *g, int64_t n,
              cu_adamw_rates rates) {
    if (n == 0) return;
    CU_LAUNCH(adamw, cu_blocks(n, CU_THREADS), CU_THREADS, 0, q, p, m, v, g, n, rates);
}

__global__ static void piece_squares(double *sums, const float *g, int64_t n) {
    __shared__ double room[CU_WARPS];
    const int64_t first = (int64_t)blockIdx.x * CU_PIECE;
    const int64_t end = first + CU_PIECE < n ? first + CU_PIECE : n;
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += CU_THREADS) sum += (double)g[i] * g[i];
    sum = cu_block_sum(sum, room);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
__global__ static void add_pieces(double *sums, int64_t n) {
    __shared__ double room[CU_WARPS];
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += CU_THREADS) sum += sums[i];
    sum = cu_block_sum(sum, room);
    if (threadIdx.x == 0) sums[n] = sum;
}
void cu_sum_squares(cu_queue *q, double *sums, const float *g, int64_t n) {
    const int64_t pieces = (n + CU_PIECE - 1) / CU_PIECE;
    if (pieces) CU_LAUNCH(piece_squares, (unsigned)pieces, CU_THREADS, 0, q, sums, g, n);
    CU_LAUNCH(add_pieces, 1, CU_THREADS, 0, q, sums, pieces);
}
