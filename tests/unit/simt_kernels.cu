/* simt_kernels.cu - see simt_kernels.h. */
#include "simt_kernels.h"

#include "simt.h"

#define LAUNCH(kernel, grid, block, shared, ...)                                                   \
    simt_launch_of(#kernel, (const void *)(kernel), grid, block, shared, nullptr,                  \
                   [=] { kernel(__VA_ARGS__); })

void *device_new(size_t bytes) {
    void *at = NULL;
    return cudaMalloc(&at, bytes) == cudaSuccess ? at : NULL;
}
void device_free(void *at) { cudaFree(at); }
const char *test_error(void) { return simt_error(); }
void test_order(int order) { simt_order(order); }
void test_checks(int on) { simt_check(on); }

__global__ static void sum_static(int *out, const int *values) {
    __shared__ int all[96];
    const unsigned t = threadIdx.x;
    all[t] = values[blockIdx.x * 96 + t];
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < 96; i++) sum += all[i];
    if (t == 95) out[blockIdx.x] = sum;
    __syncthreads();
}
__global__ static void sum_dynamic(int *out, const int *values) {
    int *all = (int *)simt_shared();
    const unsigned t = threadIdx.x;
    all[t] = values[blockIdx.x * 96 + t];
    for (unsigned half = 48; half >= 3; half /= 2) { /* 48, 24, 12, 6, 3 */
        __syncthreads();
        if (t < half) all[t] += all[t + half];
    }
    __syncthreads();
    if (t == 0) out[blockIdx.x] = all[0] + all[1] + all[2];
}
void test_sum(int *out, const int *values, int blocks, int dynamic) {
    if (dynamic)
        LAUNCH(sum_dynamic, (unsigned)blocks, 96, 96 * sizeof(int), out, values);
    else
        LAUNCH(sum_static, (unsigned)blocks, 96, 0, out, values);
}

__global__ static void no_barrier(int *out, const int *values) {
    __shared__ int all[96];
    const unsigned t = threadIdx.x;
    all[t] = values[t];
    out[t] = all[(t + 1) % 96];
}
void test_sum_without_barrier(int *out, const int *values) {
    LAUNCH(no_barrier, 1, 96, 0, out, values);
}

__global__ static void shuffles(int *out) {
    const int t = (int)threadIdx.x;
    out[t * 6] = __shfl_xor_sync(0xFFFFFFFFu, t, 5);
    out[t * 6 + 1] = __shfl_down_sync(0xFFFFFFFFu, t, 3);
    out[t * 6 + 2] = __shfl_up_sync(0xFFFFFFFFu, t, 3);
    out[t * 6 + 3] = (int)__shfl_sync(0xFFFFFFFFu, (double)t * 2, 7);
    out[t * 6 + 4] = __any_sync(0xFFFFFFFFu, t == 40) + 2 * __all_sync(0xFFFFFFFFu, t < 40);
    int sum = t;
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, bits);
    out[t * 6 + 5] = sum;
}
void test_shuffles(int *out) { LAUNCH(shuffles, 1, 64, 0, out); }

__global__ static void half_votes(unsigned *out) {
    const unsigned t = threadIdx.x;
    if (t < 16)
        out[t] = __ballot_sync(0x0000FFFFu, t % 2);
    else if (t >= 20)
        out[t] = __ballot_sync(0xFFF00000u, t % 3 == 0);
    else
        out[t] = 0;
}
void test_half_votes(unsigned *out) { LAUNCH(half_votes, 1, 32, 0, out); }

__global__ static void warp_memory(int *out, int with_barrier) {
    __shared__ int ring[64];
    const unsigned t = threadIdx.x;
    ring[t] = (int)t;
    if (with_barrier) __syncwarp();
    out[t] = ring[t / 32 * 32 + (t + 1) % 32];
}
void test_warp_memory(int *out, int with_barrier) {
    LAUNCH(warp_memory, 1, 64, 0, out, with_barrier);
}

__global__ static void blocks_write_one(int *out) {
    if (threadIdx.x == 0) out[0] = 7;
}
void test_blocks_write_one(int *out) { LAUNCH(blocks_write_one, 3, 32, 0, out); }

__global__ static void lost_at_barrier(int *out) {
    if (threadIdx.x == 0) out[0] = __shfl_sync(0xFFFFFFFFu, 1, 0);
    __syncthreads();
}
void test_lost_at_barrier(int *out) { LAUNCH(lost_at_barrier, 1, 64, 0, out); }
__global__ static void lost_at_shuffle(int *out) {
    if (threadIdx.x == 3) return;
    out[threadIdx.x] = __shfl_sync(0xFFFFFFFFu, 1, 0);
}
void test_lost_at_shuffle(int *out) { LAUNCH(lost_at_shuffle, 1, 32, 0, out); }

__global__ static void past_the_end(int *out, int n) {
    if ((int)threadIdx.x <= n) out[threadIdx.x] = 1;
}
void test_past_the_end(int *out, int n) { LAUNCH(past_the_end, 1, 64, 0, out, n); }
__global__ static void reads_host(int *out, const int *host) { out[threadIdx.x] = *host; }
void test_reads_host(int *out, const int *host) { LAUNCH(reads_host, 1, 32, 0, out, host); }

__global__ static void histogram(int *out, const int *values, int n) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) atomicAdd(&out[values[i]], 1);
}
void test_histogram(int *out, const int *values, int n) {
    LAUNCH(histogram, (unsigned)(n + 63) / 64, 64, 0, out, values, n);
}

__global__ static void mma(float *c, const uint16_t *a, const uint16_t *b) {
    const int l = (int)threadIdx.x, g = l / 4, pair = l % 4 * 2;
    uint32_t left[4], right[2];
    float sum[4] = {0};
    for (int r = 0; r < 4; r++) {
        const uint16_t *at = a + (g + r % 2 * 8) * 16 + pair + r / 2 * 8;
        left[r] = at[0] | (uint32_t)at[1] << 16;
    }
    for (int r = 0; r < 2; r++) {
        const uint16_t *at = b + (pair + r * 8) * 8 + g;
        right[r] = at[0] | (uint32_t)at[8] << 16;
    }
    simt_mma_bf16(sum, left, right);
    for (int r = 0; r < 4; r++) c[(g + r / 2 * 8) * 8 + pair + r % 2] = sum[r];
}
void test_mma(float *c, const uint16_t *a, const uint16_t *b) { LAUNCH(mma, 1, 32, 0, c, a, b); }

__global__ static void matrices(uint32_t *out, const uint16_t *in, int turned, int off) {
    uint16_t *all = (uint16_t *)simt_shared();
    const int l = (int)threadIdx.x;
    for (int i = 0; i < 8; i++) all[l * 8 + i] = in[l * 8 + i];
    __syncwarp();
    simt_matrices(out + l * 4, all + l * 8 + (l == 5 ? off : 0), turned);
}
void test_matrices(uint32_t *out, const uint16_t *in, int turned, int off) {
    LAUNCH(matrices, 1, 32, 512, out, in, turned, off);
}

__global__ static void copies(uint32_t *out, const uint32_t *in, int how) {
    uint32_t *all = (uint32_t *)simt_shared();
    const int t = (int)threadIdx.x;
    if (how == COPY_OVER_READERS) {
        all[t] = 1;
        __syncthreads();
        out[t] = all[63 - t];
    }
    if (t < 8) simt_copy(all + t * 4, in + t * 4 + (how == COPY_UNALIGNED), 4, true);
    if (t >= 32) simt_copy(all + t, in + t, 1, t < 60);
    if (how != COPY_NO_WAIT && how != COPY_NEVER_WAIT) simt_copies_done();
    if (how != COPY_NO_BARRIER) __syncthreads();
    out[t] = all[63 - t];
    __syncthreads();
    if (how == COPY_NO_WAIT) simt_copies_done();
}
void test_copies(uint32_t *out, const uint32_t *in, int how) {
    LAUNCH(copies, 1, 64, 256, out, in, how);
}

void test_too_many_threads(int *out) { LAUNCH(blocks_write_one, 1, 2048, 0, out); }
void test_grid(int *out, unsigned x, unsigned y) {
    LAUNCH(blocks_write_one, dim3(x, y), 32, 0, out);
}
int test_shared(int *out, int bytes, int allowed) {
    const cudaError_t code =
        allowed ? cudaFuncSetAttribute(sum_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       allowed)
                : cudaSuccess;
    LAUNCH(sum_dynamic, 1, 96, (size_t)bytes, out, out);
    return code == cudaSuccess;
}
__global__ static void words(uint32_t *out, const char *in) {
    out[threadIdx.x] = *(const uint32_t *)(in + 4 * threadIdx.x);
}
void test_words(uint32_t *out, const char *in) { LAUNCH(words, 1, 32, 0, out, in); }
const char *test_pitch(void *to, const void *from, size_t pitch, size_t width) {
    const cudaError_t code =
        cudaMemcpy2DAsync(to, pitch, from, pitch, width, 2, cudaMemcpyDeviceToDevice, nullptr);
    return code == cudaSuccess ? "" : cudaGetErrorString(code);
}

/* --- graphs --- */

static cudaStream_t stream;
static cudaGraphExec_t graph;

static const char *text_of(cudaError_t code) {
    return code == cudaSuccess ? "" : cudaGetErrorString(code);
}
const char *graph_begin(void) {
    if (!stream && cudaStreamCreate(&stream) != cudaSuccess) return "no stream";
    return text_of(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
}
__global__ static void store(int *out, int value) {
    if (threadIdx.x == 0) out[0] = value;
}
void graph_store(int *out, int value) {
    simt_launch_of("store", (const void *)store, 1, 32, 0, stream, [=] { store(out, value); });
}
const char *graph_copy(void *to, const void *from, size_t bytes, int to_device) {
    return text_of(cudaMemcpyAsync(
        to, from, bytes, to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost, stream));
}
const char *graph_wait(void) { return text_of(cudaStreamSynchronize(stream)); }
const char *graph_memory(void) {
    void *at = NULL;
    return text_of(cudaMalloc(&at, 4));
}
const char *graph_end(void) {
    cudaGraph_t it = NULL;
    const cudaError_t code = cudaStreamEndCapture(stream, &it);
    if (code != cudaSuccess) return text_of(code);
    const cudaError_t made = cudaGraphInstantiate(&graph, it, 0);
    cudaGraphDestroy(it);
    return text_of(made);
}
const char *graph_launch(void) { return text_of(cudaGraphLaunch(graph, stream)); }
void graph_free(void) {
    if (graph) cudaGraphExecDestroy(graph);
    if (stream) cudaStreamDestroy(stream);
    graph = NULL;
    stream = NULL;
}
void *pinned_new(size_t bytes) {
    void *at = NULL;
    return cudaMallocHost(&at, bytes) == cudaSuccess ? at : NULL;
}
void pinned_free(void *at) { cudaFreeHost(at); }

/* --- streams --- */

static cudaStream_t streams[2]; /* main, side */
static cudaEvent_t event;

const char *streams_open(int main_holds) {
    int least = 0, greatest = 0;
    simt_hold_main(main_holds);
    cudaError_t code = cudaStreamCreate(&streams[0]);
    if (code == cudaSuccess) code = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (code == cudaSuccess)
        code = cudaStreamCreateWithPriority(&streams[1], cudaStreamNonBlocking, greatest);
    if (code == cudaSuccess) code = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    return text_of(code);
}
void streams_close(void) {
    cudaEventDestroy(event);
    for (cudaStream_t s : streams) cudaStreamDestroy(s);
    simt_hold_main(0);
}
void stream_store(int side, int *out, int value) {
    simt_launch_of("store", (const void *)store, 1, 32, 0, streams[side],
                   [=] { store(out, value); });
}
const char *stream_copy(int side, void *to, const void *from, size_t bytes, int kind) {
    static const cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                           cudaMemcpyDeviceToDevice};
    return text_of(cudaMemcpyAsync(to, from, bytes, kinds[kind], streams[side]));
}
const char *stream_zero(int side, void *at, size_t bytes) {
    return text_of(cudaMemsetAsync(at, 0, bytes, streams[side]));
}
const char *stream_follows(int side) {
    const cudaError_t code = cudaEventRecord(event, streams[!side]);
    return text_of(code != cudaSuccess ? code : cudaStreamWaitEvent(streams[side], event, 0));
}
const char *stream_wait(int side) { return text_of(cudaStreamSynchronize(streams[side])); }
