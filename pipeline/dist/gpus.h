/* gpus.h - sums between GPUs, by NCCL: what lies on the cards is summed there and between them,
 * without the host. MPI says who is there; NCCL carries the values. In a build for GPUs, and in one
 * with kernels/simt, where a stand-in does it over MPI. Knows device memory and streams as
 * addresses only. */
#ifndef PX_GPUS_H
#define PX_GPUS_H

#include "dist.h"

typedef struct px_gpus px_gpus;
/* Whether this build has NCCL or its stand-in; and what it has: "2.32.3", "" for neither. */
bool px_gpus_exist(void);
void px_gpus_about(char out[32]);

/* Collective. Rank 0's id goes to all by MPI; the card of each rank must be chosen already, and is
 * its alone. stream: the CUDA stream that computes; borrowed. Sums have a stream of their own
 * beside it. *out NULL where there is one rank: nothing to sum. PX_RUN_FAILED with NCCL's text. */
PX_CHECKED px_err *px_gpus_open_all(const px_ranks *ranks, void *stream, px_gpus **out);
/* Not collective: nothing is under way. Memory of px_gpus_register_all is let go of. NULL: nothing.
 */
void px_gpus_close(px_gpus *gpus);

/* A card's memory that NCCL can register for every way in which it sums (NVLink SHARP takes no
 * other; NVIDIA, NCCL User Guide, "User Buffer Registration"). NULL: none, or no NCCL. */
void *px_gpus_memory_new(size_t bytes);
void px_gpus_memory_free(void *at); /* after px_gpus_close; NULL: nothing */
/* Collective, once. NCCL may work on this memory itself, without copies of its own, when all ranks'
 * could be registered: whether it is so. Sums have the same bits. */
bool px_gpus_register_all(px_gpus *gpus, void *at, size_t bytes);

/* Collective. In place over n values of device memory: after all that the computing stream was
 * asked for so far, and beside what it is asked for from now on, which may not touch the values.
 * Ranks ask for the same sums in the same order. Returns at once, but for the first sums, where
 * NCCL makes its connections. What fails ends the run, as with px_gpus_wait_all. gpus NULL:
 * nothing. */
void px_gpus_sum_i64_all(px_gpus *gpus, int64_t *values, size_t n);   /* exact */
void px_gpus_sum_f32_all(px_gpus *gpus, float *values, size_t n);     /* to rounding: `fast` */
void px_gpus_sum_bf16_all(px_gpus *gpus, uint16_t *values, size_t n); /* each addition rounded */
void px_gpus_max_f32_all(px_gpus *gpus, float *values, size_t n);     /* exact */
/* Collective. Until all sums are done; what the computing stream is asked for afterwards sees them.
 * Meanwhile NCCL is asked whether something has failed, here or at a peer: that cannot be agreed
 * on, so this rank says what, and ends the run. A peer that stands still is named by the watchdog
 * (px_watch) after comm.timeout_s. */
void px_gpus_wait_all(px_gpus *gpus);

#endif
