/* simt_kernels.h - small kernels that show what kernels/simt does and finds; compiled for its
 * checks. */
#ifndef PX_SIMT_KERNELS_H
#define PX_SIMT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void *device_new(size_t bytes);
void device_free(void *at);
/* What simt found since the last call, or NULL. */
const char *test_error(void);
void test_order(int order);
void test_checks(int on);

/* out[block] = Σ of the block's 96 values, through shared memory; static or dynamic. */
void test_sum(int *out, const int *values, int blocks, int dynamic);
/* The same without the barrier between writing and reading. */
void test_sum_without_barrier(int *out, const int *values);
/* 40 shuffles of all kinds; out [64 · 6]. */
void test_shuffles(int *out);
/* Halves of a warp vote on their own: out [32]. */
void test_half_votes(unsigned *out);
/* Each warp hands values around through shared memory, with or without __syncwarp. */
void test_warp_memory(int *out, int with_barrier);
/* out[0] by every block. */
void test_blocks_write_one(int *out);
/* Thread 0 does not come to the barrier; lane 3 not to the shuffle. */
void test_lost_at_barrier(int *out);
void test_lost_at_shuffle(int *out);
/* One element behind the end. */
void test_past_the_end(int *out, int n);
void test_reads_host(int *out, const int *host);
/* Counts of values 0 to 7, by atomics. */
void test_histogram(int *out, const int *values, int n);
/* c [16, 8] = a [16, 16] · b [16, 8] through fragments; a, b bf16. */
void test_mma(float *c, const uint16_t *a, const uint16_t *b);
/* Four matrices of 8 by 8, in [32 rows, 8]: what each lane gets of them, out [32, 4] words; the row
 * that lane 5 asks for begins `off` values further. */
void test_matrices(uint32_t *out, const uint16_t *in, int turned, int off);
/* out [64] = in, by copies to shared memory of 16 bytes and of 4; of the last four nothing is
 * copied. how: what is left out, or done wrong. */
enum {
    COPY_WELL,
    COPY_NO_WAIT,
    COPY_NO_BARRIER,
    COPY_NEVER_WAIT,
    COPY_UNALIGNED,
    COPY_OVER_READERS
};
void test_copies(uint32_t *out, const uint32_t *in, int how);
void test_too_many_threads(int *out);
void test_grid(int *out, unsigned x, unsigned y);
/* Dynamic shared memory, of which `allowed` was asked for before (0: nothing); out [96]. 0: that
 * much cannot be allowed. */
int test_shared(int *out, int bytes, int allowed);
/* out [32]: the words at `in`, aligned or not. */
void test_words(uint32_t *out, const char *in);
/* Two rows; "" or the error. */
const char *test_pitch(void *to, const void *from, size_t pitch, size_t width);
/* Between begin and end a stream is captured: out[0] = value, by a kernel; what else may be asked
 * for of a stream, each "" or the error. */
const char *graph_begin(void);
void graph_store(int *out, int value);
const char *graph_copy(void *to, const void *from, size_t bytes, int to_device);
const char *graph_wait(void);
const char *graph_memory(void);
/* "" and a graph that can be launched, or the error. */
const char *graph_end(void);
const char *graph_launch(void);
void graph_free(void);
/* Two streams beside one another, main 0 and side 1, of which one holds back what it is asked for:
 * out[0] = value by a kernel; copies; zeros; `side` goes on after what the other was asked for so
 * far; the host waits. Each "" or the error. */
enum { STREAM_TO_DEVICE, STREAM_TO_HOST, STREAM_INSIDE };
const char *streams_open(int main_holds);
void streams_close(void);
void stream_store(int side, int *out, int value);
const char *stream_copy(int side, void *to, const void *from, size_t bytes, int kind);
const char *stream_zero(int side, void *at, size_t bytes);
const char *stream_follows(int side);
const char *stream_wait(int side);
void *pinned_new(size_t bytes);
void pinned_free(void *at);

#ifdef __cplusplus
}
#endif
#endif
