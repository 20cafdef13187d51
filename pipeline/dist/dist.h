/* dist.h - ranks: who is here, one error for all, sums that do not depend on order, who takes what.
 * The only public face of MPI outside io/. Functions that every rank must call end in _all.
 * Started without a launcher, or by a command that needs no ranks, everything works with size 1. */
#ifndef PX_DIST_H
#define PX_DIST_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base.h"

typedef struct {
    int rank, size;           /* in the whole run */
    int node_rank, node_size; /* among the ranks of this machine */
    int n_nodes;              /* machines of the run */
    bool mpi;                 /* MPI is up; else size is 1 and no MPI call is made */
    MPI_Comm control;         /* MPI_COMM_NULL without MPI */
    double timeout_s;         /* 0: none; see px_watch */
} px_ranks;

/* Collective. With `mpi`, where a launcher (mpirun, srun) started this process: MPI_Init_thread
 * (funneled); MPI's own errors abort with the rank named. Else a single rank and no MPI call. */
PX_CHECKED px_err *px_ranks_open_all(bool mpi, int *argc, char ***argv, px_ranks *out);
/* Collective. Nothing to do after px_abort_all. */
void px_ranks_close_all(px_ranks *ranks);

/* The MPI library that was built against ("Open MPI 4.1.4") and the one that runs, as it calls
 * itself. Before or after px_ranks_open_all. */
void px_mpi_about(char built[64], char runs[256]);

/* Collective. Each rank brings its result; all return NULL, or the lowest failing rank's error with
 * "rank N: " before it (not for PX_STOPPED, nor where every rank failed). Takes ownership of
 * `mine`. */
PX_CHECKED px_err *px_agree_all(const px_ranks *ranks, px_err *mine);
/* Not collective: for what cannot agree (a dead peer, a hang). Says phase and rank, ends every
 * rank. */
void px_abort_all(const px_ranks *ranks, const char *phase) __attribute__((noreturn));
/* Fault injection for tests: PX_FAULT="phase:rank" makes this rank fail in that phase, once. */
PX_CHECKED px_err *px_fault(const px_ranks *ranks, const char *phase);

/* Collective. In place over `n` values; exact in any order where stated. */
void px_sum_i64_all(const px_ranks *ranks, int64_t *values, size_t n); /* exact */
void px_max_f64_all(const px_ranks *ranks, double *values, size_t n);  /* exact */
void px_sum_f32_all(const px_ranks *ranks, float *values, size_t n);   /* to rounding: `fast` */
/* Exact where every value is nonzero on at most one rank: how per-item results reach everybody. */
void px_spread_f64_all(const px_ranks *ranks, double *values, size_t n);
bool px_any_all(const px_ranks *ranks, bool mine);
void px_barrier_all(const px_ranks *ranks);
void px_bcast_all(const px_ranks *ranks, void *data, size_t size, int root);
/* Collective. Rank 0 gets every rank's bytes, in rank order, one after another (heap, free it);
 * sizes [size] on rank 0. Elsewhere *all is empty. */
PX_CHECKED px_err *px_gather_bytes_all(const px_ranks *ranks, const void *mine, size_t size,
                                       px_bytes *all, int64_t *sizes);

/* Items by longest-first: owner[i] for n items of the given costs over `size` ranks. Pure function.
 */
PX_CHECKED px_err *px_assign_longest_first(const int64_t *costs, int n, int size, int *owner);

/* --- a counter that ranks take from, each when it has time --- */
typedef struct px_counter px_counter;
/* Collective. Starts at 0. */
PX_CHECKED px_err *px_counter_open_all(const px_ranks *ranks, px_counter **out);
/* Collective. */
void px_counter_close_all(px_counter *counter);
/* Adds n and gives what was there before: the first of n items that are this rank's now. MPI
 * one-sided: nobody waits for rank 0, on one machine; over several it answers in px_counter_tend.
 */
int64_t px_counter_take(px_counter *counter, int64_t n);
/* Lets MPI serve others; rank 0 calls it now and then while it computes. */
void px_counter_tend(px_counter *counter);

/* --- exact sums of gradients (docs/ARCHITECTURE.md, "The same bits") ---
 * A value is added as a whole number of 2^-72: high limb in units of 2^-24, low limb in units of
 * 2^-72, both int64. Integer sums are associative: any order, any ranks, the same bits. Values
 * below 2^-48 are rounded to that grid (6 parts in 10^22 absolute); |g| ≥ 2^26, NaN and Inf are
 * refused. */
typedef struct {
    int64_t *high, *low; /* [n] each, owner: the caller of px_exact_new */
    size_t n;
    int n_added;
} px_exact;
PX_CHECKED px_err *px_exact_new(size_t n, px_exact *out);
void px_exact_free(px_exact *exact);
void px_exact_clear(px_exact *exact);
/* Adds g[n]. false: g holds NaN, Inf or a value of 2^26 or more (its index in *where). */
bool px_exact_add(px_exact *exact, const float *g, size_t *where);
/* Collective: sums over ranks in place. */
void px_exact_sum_all(const px_ranks *ranks, px_exact *exact);
/* The sums, rounded once to f32. */
void px_exact_get(const px_exact *exact, float *g);

/* --- where a rank computes --- */
/* Threads of this rank: `asked` where it is not 0, else OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, the
 * cores a launcher bound it to, or its share of the machine's. Ranks that see all cores of their
 * Slurm job take a share each. Rank 0 says so, once. Not collective; before any thread is there. */
int px_place(const px_ranks *ranks, int asked);
/* The pure parts, for tests. */
typedef struct {
    int asked, node_rank, node_size, cores, cores_online;
    const char *omp, *slurm_cores, *slurm_on_node; /* values of the environment; NULL: none */
} px_place_facts;
int px_place_threads(const px_place_facts *facts);
/* Cores *first … of the mask are this rank's; false: it stays free. */
bool px_place_own_cores(const px_place_facts *facts, int threads, int *first, int *n);
/* How many devices CUDA_VISIBLE_DEVICES names; and which is this rank's: the only one, or by its
 * place on the machine; -1: none. */
int px_place_gpus(const char *visible);
int px_place_gpu(int n_gpus, int node_rank);

/* --- watchdog: names the rank, step and phase that hang --- */
/* Marks where this rank is; text borrowed and static. */
void px_watch(const px_ranks *ranks, const char *phase, int64_t step);

/* --- signals: a flag set by SIGTERM or SIGUSR1, read at step boundaries --- */
void px_signals_catch(void);
/* The signal's number, or 0. */
int px_signal_seen(void);

#endif
