/* plan.h - what a training will take before it runs: memory, tokens, FLOPs, steps, time, disk, from
 * a configuration, a model's shape, a corpus or PRISM's published numbers, and rates measured on
 * this kind of machine (px_rates). Computes no loss and reads no weights. docs/plan.md says how. */
#ifndef PX_PLAN_H
#define PX_PLAN_H

#include "engine.h"
#include "train.h"

/* --- rates of a machine --- */

/* One model width, one precision, one core: operations a second of a layer and of the head, and
 * bytes a second of what memory bounds. Seconds are the processor's, not the wall's. */
typedef struct {
    char like[32];                         /* whose shape */
    double d, f32;                         /* width; 1 for f32, 0 for bf16 */
    double forward, backward, weight_grad; /* linear layers, FLOP/s */
    double lora_forward, lora_backward;
    double attention_forward, attention_backward; /* 4 and 10 FLOPs a visible pair and element */
    double head_forward, head_train, head_grad; /* without, with the expected row; of the matrix */
    double rest_forward, rest_backward; /* norms, rope, gate: elements [rows, d + ffn] a second */
    double pack; /* weights a second, forward and backward together, converted first */
} px_rate;

/* A GPU: what its kernels reach, not what its data sheet says, but bf16_peak. */
typedef struct {
    char name[96];                    /* a data sheet's, "h100"; measured: the driver's */
    char device[8];                   /* what was measured: "cuda" or "simt"; empty: nothing was */
    bool measured;                    /* by px_calibrate_card */
    double bf16_peak;                 /* FLOP/s of tensor cores: what shares of the peak are of */
    double bf16, f32;                 /* large products, FLOP/s */
    double attention, attention_back; /* in bf16, FLOP/s */
    double memory, host, link;        /* bytes a second: its own memory, from the host, one way;
                                       * to a neighbouring card, one way */
    double launch_s, replay_s;        /* between kernels of a queue; between those of a graph */
    double bytes;                     /* of memory */
} px_card_rates;
/* By the data sheet. PX_BAD_INPUT: an unknown name, with those that are known. */
PX_CHECKED px_err *px_card_sheet(const char *name, px_card_rates *out);
/* The data sheet of a card by the name that its driver gives it; false: none. */
bool px_card_sheet_like(const char *driver_name, px_card_rates *out);
bool px_card_known(const px_card_rates *card);
/* Where the rates are from, for people; returns out. */
const char *px_card_source(const px_card_rates *card, char out[160]);

#define PX_RATES_MAX 16
#define PX_TOUCH_FIRST ((double)(128 << 20)) /* see touch below */
typedef struct {
    int ranks;                     /* of one machine */
    double latency_s, bytes_per_s; /* of a sum of int64 over them */
    double program_bytes;          /* resident in a rank before anything is read */
    double start_s;                /* of launcher and MPI together, by the wall */
} px_reduce_rate;

typedef struct {
    char machine[160]; /* processor, cores, kernels: what the file is named by */
    int cores;
    double efficiency;                   /* speed-up of all cores, over their number */
    double adamw, exact, optimizer_rest; /* parameters a second, one core */
    double hash, disk;                   /* bytes hashed, written a second */
    double compiled, compiled_full; /* bytes of a run's products for all numbers of rows; more of
                                     * them in full fine-tuning */
    double touch, touch_more; /* bytes of new memory touched for the first time a second: the first
                               * PX_TOUCH_FIRST, those beyond */
    double program_bytes, start_s; /* of a process without MPI */
    px_rate rates[PX_RATES_MAX];
    px_reduce_rate reduce[PX_RATES_MAX];
    int n_rates, n_reduce;
    px_card_rates card; /* memory 0: there was none */
    bool measured;      /* false: nothing was; the numbers are guesses */
    double load;        /* others' processes while it was measured */
} px_rates;

/* "amd-epyc-2-avx2": the kind of this machine as a file name's part. */
void px_rates_machine(char out[160]);
/* DIR/prismx/plan-MACHINE.json, DIR being XDG_CACHE_HOME or ~/.cache; heap. `path` not NULL: a copy
 * of it. */
PX_CHECKED px_err *px_rates_path(const char *path, char **out);
/* *out guesses where there is no file. PX_BAD_INPUT: damaged, or another machine's. */
PX_CHECKED px_err *px_rates_read(const char *path, px_rates *out);
PX_CHECKED px_err *px_rates_write(const char *path, const px_rates *rates);
/* Collective. Measures; on several ranks of one machine only sums over them and the program's
 * memory, which are added to what `rates` holds. n_like names of shapes (px_shape_like). */
PX_CHECKED px_err *px_calibrate_all(const px_ranks *ranks, const char *const *like, int n_like,
                                    px_rates *rates);
/* Measures the GPU's backend `device` ("cuda", "simt") by the operations themselves. side: rows and
 * columns of products, 8192 for a card, as small as 64 for a look. */
PX_CHECKED px_err *px_calibrate_card(const char *device, int64_t side, px_card_rates *out);
/* Rates of a width in between, by its logarithm. Pure. */
px_rate px_rate_at(const px_rates *rates, int64_t d, bool f32);

/* --- what is to be computed --- */

/* One unit: pairs of one conversation that share a tree. */
typedef struct {
    int32_t nodes;   /* rows without soft tokens */
    int32_t targets; /* response tokens, shared ones once */
    int32_t wanted;  /* rows whose logits are needed */
    int32_t pairs;
    int64_t visible; /* Σ over rows of the rows each sees */
} px_plan_unit;

typedef struct {
    int32_t n_units, n_pairs, n_users; /* of the training split; people with training pairs */
    px_plan_unit *units;
    int32_t n_batches,
        *batch_first;         /* [n_batches + 1] in units, which stand in the epoch's order */
    int32_t n_all, all_pairs; /* every conversation, for the reference */
    px_plan_unit *all;
    bool estimated;
    px_arena *arena;
} px_plan_corpus;
/* From a corpus: the first epoch's order and trees as they really are. Free with _free. */
PX_CHECKED px_err *px_plan_corpus_read(const char *path, const px_config *config,
                                       px_plan_corpus *out);
/* From PRISM's published numbers: 8,011 conversations of 1,396 people. */
PX_CHECKED px_err *px_plan_corpus_guess(const px_config *config, px_plan_corpus *out);
void px_plan_corpus_free(px_plan_corpus *corpus);

typedef struct {
    int64_t rows, soft, targets, wanted, visible;
} px_work_sum;
typedef struct {
    px_work_sum all, fullest; /* of the step; of its fullest rank */
    int n_slots, fullest_slots;
    int64_t largest; /* rows of the largest slot */
} px_plan_step;
/* The batch's slots on `ranks` ranks, cut and shared out as training does. */
PX_CHECKED px_err *px_plan_batch(const px_plan_corpus *corpus, const px_config *config,
                                 int32_t batch, int ranks, px_arena *arena, px_plan_step *out);
PX_CHECKED px_err *px_plan_reference(const px_plan_corpus *corpus, const px_config *config,
                                     int ranks, px_arena *arena, px_plan_step *out);

/* --- costs --- */

typedef struct {
    double forward, backward; /* FLOPs */
} px_flops;
px_flops px_plan_flops(const px_config *config, const px_shape *shape, const px_work_sum *work);
/* Seconds of one core for a rank's slots of a step. */
double px_plan_core_s(const px_rates *rates, const px_config *config, const px_shape *shape,
                      const px_work_sum *work, bool train);

/* One operation of a GPU's step, all its calls together. */
typedef struct {
    const char *name; /* as --profile names it, or in brackets what it does not time by itself */
    double calls, flops, bytes;
    double products_s, bytes_s, launches_s; /* what would take how long alone */
    double s;
} px_card_op;
enum { PX_CARD_OPS_MAX = 32 };
typedef struct {
    px_card_op ops[PX_CARD_OPS_MAX];
    int n;
    bool replayed; /* kernels out of a graph */
    double s;      /* of all */
} px_card_step;
/* The fullest rank's slots of a step with the optimiser, or, without `train`, of a forward pass of
 * the base. n: trained values. */
void px_card_train(const px_card_rates *card, const px_config *config, const px_shape *shape,
                   const px_plan_step *step, bool train, double n, px_card_step *out);
/* A token for each of `batch` answers that stand at `positions` tokens, prompts included. */
void px_card_decode(const px_card_rates *card, const px_config *config, const px_shape *shape,
                    double batch, double positions, px_card_step *out);
/* sum += share · more. */
void px_card_step_add(px_card_step *sum, const px_card_step *more, double share);
/* Seconds of a sum of `bytes` over cards, bytes_per_s being the slowest link's. */
double px_card_reduce_s(double bytes_per_s, int ranks, double bytes);
/* Lines for people, longest first. */
void px_card_step_print(const px_card_step *step, px_str *out);
/* Members "gpu", "gpu_measured" and, with a step, "operations" of an object; nothing where the
 * card's rates are not known. */
void px_card_json(const px_card_rates *card, const px_card_step *step, px_str *out);

typedef struct {
    double program, weights, trainables, activations, scratch, corpus, loading, peak; /* bytes */
    px_train_card card; /* of a rank's GPU; 0 with device cpu */
} px_plan_memory;

typedef struct {
    int ranks, threads, machines;
    double memory_bytes, disk_bytes; /* of a machine, of the run's folder; 0: not checked */
    bool has_card;                   /* device is not cpu … */
    double card_bytes;               /* … and what a rank's has; 0: not checked */
    px_card_rates card;              /* its rates; memory 0: not known, nothing is timed */
    double network;                  /* bytes a second between machines, of a rank */
    const char *model_name;
    double source_bytes; /* of the weights' files; 0: as bf16 */
} px_plan_place;

typedef struct {
    int64_t steps, pairs_epoch, tokens, soft_tokens, reference_tokens;
    double slots_per_step, slots_fullest, users;
    double trainables, parameters;
    double step_flops, flops;
    px_plan_memory memory;
    double checkpoint_bytes, disk_bytes;
    double start_s, reference_s, step_s, reduce_s, checkpoints_s, total_s;
    double core_s;            /* of all ranks, without waiting */
    double core_hours;        /* cores held: ranks x threads x time */
    double pairs_s, tokens_s; /* a second, all ranks; soft tokens included */
    double card_hours,
        peak_share;         /* of bf16's peak, by FLOPs of the step without train.recompute's */
    px_card_step card_step; /* of the fullest rank, the mean step */
    bool estimated, measured;
} px_plan;
/* Predicts a run. Not collective. */
PX_CHECKED px_err *px_plan_make(const px_config *config, const px_shape *shape,
                                const px_plan_corpus *corpus, const px_rates *rates,
                                const px_plan_place *place, px_plan *out);
PX_CHECKED px_err *px_plan_memory_of(const px_config *config, const px_shape *shape,
                                     const px_plan_corpus *corpus, const px_rates *rates,
                                     const px_plan_place *place, const px_plan_step *worst,
                                     int64_t reference_rows, px_plan_memory *out);
/* What a training reads of the corpus to reserve a GPU's memory. */
px_train_sizes px_plan_sizes(const px_config *config, const px_plan_corpus *corpus);
/* PX_BAD_INPUT: does not fit, with what would. */
PX_CHECKED px_err *px_plan_fits(const px_config *config, const px_shape *shape,
                                const px_plan_corpus *corpus, const px_rates *rates,
                                const px_plan_place *place, const px_plan *plan);
/* Seconds of a sum of `bytes` over ranks of one machine. */
double px_plan_reduce_s(const px_rates *rates, int ranks, double bytes);
/* Bytes of a trained value in a step's sum over ranks. */
double px_plan_value_bytes(const px_config *config);
/* Seconds until ranks have been launched and have found each other; 0 for one, or not measured. */
double px_plan_launch_s(const px_rates *rates, int ranks);

void px_plan_print(const px_plan *plan, const px_plan_place *place, px_str *out);
/* ops: with a list of the GPU's operations of a step. */
void px_plan_json(const px_plan *plan, const px_plan_place *place, bool ops, px_str *out);

/* --- generation and scoring on a GPU --- */
typedef enum { PX_PLAN_TRAIN, PX_PLAN_GENERATE, PX_PLAN_SERVE, PX_PLAN_EVAL } px_plan_use;
typedef struct {
    px_plan_use use;
    int64_t batch, cache_tokens, positions; /* positions: of each answer */
    int64_t conversation;                   /* eval: tokens of the largest */
    px_engine_card memory;                  /* eval: without a cache */
    int64_t batch_most;                     /* the largest that fits place->card_bytes */
    px_card_step step;
    double step_s, tokens_s;
} px_plan_answers;
/* Of a run with this configuration; positions 0: what the cache holds for each answer.
 * conversation: tokens of the largest, for eval. */
void px_plan_answers_make(px_plan_use use, const px_config *config, const px_shape *shape,
                          const px_plan_place *place, int64_t positions, int64_t conversation,
                          px_plan_answers *out);
/* PX_BAD_INPUT: does not fit, with what would. */
PX_CHECKED px_err *px_plan_answers_fit(const px_config *config, const px_shape *shape,
                                       const px_plan_place *place, const px_plan_answers *plan);
void px_plan_answers_print(const px_plan_answers *plan, const px_plan_place *place, px_str *out);
void px_plan_answers_json(const px_plan_answers *plan, const px_plan_place *place, bool ops,
                          px_str *out);

/* --- scaling: a model, not a measurement --- */
typedef struct {
    int first, last;               /* ranks, doubled in between */
    double bytes_per_s, latency_s; /* of the network, a rank */
} px_plan_network;
typedef struct {
    bool weak;
    int ranks;
    double slots, compute_s, reduce_s, step_s, pairs_per_s, efficiency;
} px_plan_point;
/* Strong (the same batch) and weak (a batch for each rank) scaling of a step. points in arena. */
PX_CHECKED px_err *px_plan_scale(const px_config *config, const px_shape *shape,
                                 const px_plan_corpus *corpus, const px_rates *rates,
                                 const px_plan_place *place, const px_plan_network *network,
                                 px_arena *arena, px_plan_point **points, int *n);
void px_plan_scale_tsv(const px_plan_point *points, int n, const px_plan_network *network,
                       px_str *out);
void px_plan_scale_svg(const px_plan_point *points, int n, const px_plan_network *network,
                       px_str *out);

#endif
