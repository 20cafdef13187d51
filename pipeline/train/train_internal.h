/* train_internal.h - shared inside train. */
#ifndef PX_TRAIN_INTERNAL_H
#define PX_TRAIN_INTERNAL_H

#include "energy.h"
#include "owner.h"
#include "train.h"

/* --- optimizer.c --- */
typedef struct {
    float *m, *v; /* [params->n]; for checkpoints */
    size_t n;
    /* On a GPU: where the moments are between px_optimizer_enter and _free; else NULL. */
    px_stream *stream;
    px_params *params;
    float *m_there, *v_there;
} px_optimizer;
PX_CHECKED px_err *px_optimizer_new(size_t n, px_optimizer *out);
/* On a GPU: the parameters' values and both moments go there and stay (params->there); steps change
 * them there. Nothing on the CPU. */
PX_CHECKED px_err *px_optimizer_enter(px_optimizer *optimizer, px_stream *s, px_params *params);
/* Brings them back to the host's memory as they are now: before a checkpoint. */
PX_CHECKED px_err *px_optimizer_fetch(px_optimizer *optimizer);
/* Before params and the stream go. */
void px_optimizer_free(px_optimizer *optimizer);
typedef struct {
    const px_config *config;
    int64_t step, total;             /* step from 1, of total */
    double grad_norm, learning_rate; /* out: the norm before clipping; the rate of the step */
} px_optim_step;
/* One AdamW step on params for summed gradients grads [params->n], which lie where the stream
 * computes. Same bits on every rank. Values of user parameters are the host's too afterwards. */
void px_optimizer_step(px_optimizer *optimizer, px_stream *s, px_params *params, const float *grads,
                       px_optim_step *io);

/* --- step.c: one optimiser step --- */
typedef struct px_trainer px_trainer;
typedef struct {
    int64_t n_pairs, n_tokens;
    /* Means over the batch; [0] user term, [1] generic term (DPFT has the second alone). */
    double loss, term_loss[2], chosen[2], rejected[2], accuracy[2], margin[2], logp_chosen[2],
        logp_rejected[2];
    bool has[2];
    double grad_norm, learning_rate, spread;
    double time_s, compute_s, reduce_s;
} px_step_result;
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    px_corpus *corpus;
    px_model *model;
    px_stream *stream;
    px_params *params;
    px_optimizer *optimizer;
    const double *reference;    /* [2 * corpus->n_pairs] */
    const int32_t *row_of_user; /* [corpus->n_users] row of params, 0: none of their own */
    int64_t rows_most;          /* on a GPU: of the run's largest slot; else 0 */
    void *sums; /* px_card_sums_bytes of px_gpus_memory_new's; NULL: the stream's memory is taken */
} px_trainer_parts;
PX_CHECKED px_err *px_trainer_new(const px_trainer_parts *parts, px_trainer **out);
/* Collective, once before the first step: between GPUs, NCCL starts. */
PX_CHECKED px_err *px_trainer_connect_all(px_trainer *trainer);
void px_trainer_free(px_trainer *trainer);
/* Collective. Gradients of the batch's units, reduced, applied. PX_RUN_FAILED with step and
 * conversation: NaN or Inf in loss or gradient; params are then those before the step. */
PX_CHECKED px_err *px_trainer_step_all(px_trainer *trainer, const px_epoch *epoch, int64_t batch,
                                       int64_t step, int64_t total, px_step_result *out);

/* --- sums.c: gradients of slots, added up and summed over ranks --- */
typedef struct px_sums px_sums;
PX_CHECKED px_err *px_sums_new(const px_trainer_parts *parts, px_sums **out);
PX_CHECKED px_err *px_sums_connect_all(px_sums *sums); /* collective */
void px_sums_free(px_sums *sums);
/* The first parameter whose gradient px_sums_add takes from the host. */
size_t px_sums_first(const px_sums *sums);
void px_sums_clear(px_sums *sums);
/* Before the backward of a slot. last: of this rank in the step; between GPUs its gradients are
 * summed from now on, as far as they are made. */
void px_sums_slot(px_sums *sums, bool last);
typedef struct {
    size_t index;
    float value;
} px_bad_value;
/* The gradient that the last backward made: grads [params->n], of which those from px_sums_first on
 * count. False: it holds NaN, Inf or a value of 2^26 or more. */
bool px_sums_add(px_sums *sums, const float *grads, px_bad_value *bad);
/* Collective, in every step, also on a rank that has failed: between GPUs the sums that were not
 * begun yet are, and go on beside what the host does. Nothing else, or with comm.overlap off. */
void px_sums_begin_all(px_sums *sums);
/* Collective. Until what was begun is done: where a step ends without px_sums_all. */
void px_sums_end_all(px_sums *sums);
/* Collective. *total [params->n] where the stream computes, borrowed, the same bits on every rank:
 * grads, the last slot's, which are overwritten, where that saves an array. */
PX_CHECKED px_err *px_sums_all(px_sums *sums, float *grads, const float **total);

/* --- sums_card.c: the same on a GPU; what is said above holds --- */
typedef struct px_card_sums px_card_sums;
PX_CHECKED px_err *px_card_sums_new(const px_trainer_parts *parts, px_card_sums **out);
PX_CHECKED px_err *px_card_sums_connect_all(px_card_sums *sums);
void px_card_sums_free(px_card_sums *sums);
size_t px_card_sums_first(const px_card_sums *sums);
void px_card_sums_clear(px_card_sums *sums);
void px_card_sums_slot(px_card_sums *sums, bool last);
bool px_card_sums_add(px_card_sums *sums, const float *grads, px_bad_value *bad);
void px_card_sums_begin_all(px_card_sums *sums);
void px_card_sums_end_all(px_card_sums *sums);
PX_CHECKED px_err *px_card_sums_all(px_card_sums *sums, const float **total);
/* Bytes of its two pieces of memory, the second of marks; n parameters, `trained` of them on the
 * card. */
typedef struct {
    int64_t sums, marks;
} px_card_sums_size;
px_card_sums_size px_card_sums_bytes(const px_config *config, int64_t n, int64_t trained,
                                     int n_ranks);

/* --- metrics.c --- */
typedef struct px_metrics px_metrics;
/* Opens DIR/metrics.jsonl for appending after keeping the lines of steps <= keep_steps. Rank 0
 * alone. */
PX_CHECKED px_err *px_metrics_open(const char *dir, int64_t keep_steps, bool tensorboard,
                                   px_metrics **out);
typedef struct {
    const px_state *state;
    const px_step_result *result;
    const px_config *config;
    double epoch;     /* passes over the data so far, with its fraction */
    const char *more; /* further members (", \"eval/…\": …"), or NULL */
} px_metrics_line;
/* Appends and flushes one line. */
PX_CHECKED px_err *px_metrics_write(px_metrics *metrics, const px_metrics_line *line);
/* The lines are on disk afterwards: before a checkpoint that counts on them. */
PX_CHECKED px_err *px_metrics_sync(px_metrics *metrics);
void px_metrics_close(px_metrics *metrics);

/* --- start.c: everything a run holds --- */
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_train *job;
    px_arena *arena;
    px_stream *stream;
    px_corpus *corpus;
    px_model *model;
    px_params *params;
    px_optimizer optimizer;
    px_trainer *trainer;
    px_metrics *metrics; /* rank 0 alone */
    px_rows rows;
    px_state state;
    px_shape shape;
    px_digest weights_sha256, params_sha256;
    double *reference;
    int64_t rows_most; /* see px_trainer_parts */
    void *sums;        /* the same */
    char *config_json, *reference_path;
    cJSON *manifest, *hosts; /* rank 0 alone */
    double start_s;
    px_energy energy; /* of rank 0's machine */
    px_owner *owner;
    bool finished; /* found complete: nothing to do */
} px_training;
/* Collective. From the arguments to a run that is ready for its next step. */
PX_CHECKED px_err *px_training_start_all(const px_ranks *ranks, const px_config *config,
                                         const px_train *job, px_training *out);
/* Collective. Writes a checkpoint of the present state. */
PX_CHECKED px_err *px_training_checkpoint_all(px_training *t);
void px_training_end(px_training *t);

/* --- record.c --- */
/* Collective. The manifest of a start: where every rank runs, and a line in "starts". */
PX_CHECKED px_err *px_training_record_all(px_training *t, bool resumes);
/* Rank 0 alone: manifest.json with this status ("running", "stopped", "complete"). */
PX_CHECKED px_err *px_training_manifest(px_training *t, const char *status);

#endif
