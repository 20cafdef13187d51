/* train.h - training: from a corpus and a base model to a run folder. */
#ifndef PX_TRAIN_H
#define PX_TRAIN_H

#include "run.h"
#include "score.h"

/* --- losses of h = beta · [(log π(y_c) - log ref(y_c)) - (log π(y_r) - log ref(y_r))] --- */
/* sigmoid: -(1-ε) log σ(h) - ε log σ(-h) (Rafailov et al. 2023; conservative DPO with ε);
 * ipo: (h/β - 1/(2β))² (Azar et al. 2024, (17)); hinge: max(0, 1 - h) (Zhao et al. 2023);
 * robust: [-(1-ε) log σ(h) + ε log σ(-h)] / (1 - 2ε) (Chowdhury et al. 2024).
 * Stable for any finite h. dh receives the derivative. */
double px_loss(px_loss_kind kind, double h, double beta, double smoothing, double *dh);

/* Learning rate of step `step` (from 1) of `total`, as transformers' schedulers give it to that
 * step: linear warm-up from 0 (the first step of a warm-up has rate 0), then cosine to 0, linear to
 * 0, or constant. */
double px_schedule(const px_config *config, double peak, int64_t step, int64_t total);

/* --- the order of things --- */
/* One epoch's batches: units (lists of pairs of one conversation), a batch is a range of units. */
typedef struct {
    int32_t n_units, n_batches;
    const int32_t *pairs;       /* pairs of unit i: pairs[first[i]] … pairs[first[i + 1] - 1] */
    const int32_t *first;       /* [n_units + 1] */
    const int32_t *batch_first; /* [n_batches + 1], in units */
} px_epoch;
/* Units of the training split in the order of (config->seed, epoch), cut into batches of at least
 * batch.pairs pairs (the last may have fewer). Lives in arena. */
PX_CHECKED px_err *px_epoch_plan(const px_corpus *corpus, const px_config *config, int64_t epoch,
                                 px_arena *arena, px_epoch *out);

/* --- what a training holds of a card, in bytes --- */
/* The largest that a corpus asks for, tokens of a tree without soft tokens: of a unit of the
 * training, and of a whole conversation, of which reference and evaluation take all. */
typedef struct {
    int64_t unit, conversation, soft; /* soft: tokens of a person, which come on top */
    int64_t n_users;                  /* rows of params */
} px_train_sizes;
/* Units of up to `least` tokens need not be looked at: those that fit in a slot anyway. */
PX_CHECKED px_err *px_train_sizes_of(px_corpus *corpus, const px_config *config, int64_t least,
                                     px_arena *arena, px_train_sizes *out);
/* Rows of the activations that a training keeps room for. */
int64_t px_train_rows(const px_config *config, const px_train_sizes *sizes);
typedef struct {
    int64_t weights, trainables, activations, scratch;
    int64_t region;  /* what a training reserves at its start (px_memory_reserve) */
    int64_t besides; /* an allowance for the rest: CUDA, cuBLASLt, NCCL; 0 on simt */
    int64_t sums;    /* with several ranks: beside the region, for NCCL; of the trainables */
    int64_t peak;    /* the three */
} px_train_card;
/* Pure; the same on every rank. */
px_train_card px_train_card_of(const px_config *config, const px_shape *shape,
                               const px_train_sizes *sizes, int n_ranks);
/* "; train.recompute=true would fit; …": the keys under which `bytes` would suffice, by themselves
 * or else some together. */
void px_train_card_advice(const px_config *config, const px_shape *shape,
                          const px_train_sizes *sizes, int n_ranks, double bytes, px_str *out);

/* --- a run --- */
typedef struct {
    const char *corpus_path, *model_path, *out_dir;
    bool resume, overwrite;
    bool profile; /* the stream's profile (px_profile_want) begins with the first step */
    int threads, argc;
    char **argv;        /* for the manifest */
    int64_t stop_after; /* stops after this step with a checkpoint, as a signal would; 0: none */
    const int64_t *checkpoint_at; /* also a checkpoint after each of these steps */
    int n_checkpoint_at;
} px_train;
/* Collective. Writes the run folder. With resume: goes on from the newest checkpoint that is whole,
 * or starts where there is none; a finished run is left as it is. PX_BAD_INPUT: the folder exists
 * (without resume or overwrite), another configuration, corpus or model than the run's. PX_STOPPED:
 * a signal, checkpoint written. params_sha256 of the end on every rank. */
PX_CHECKED px_err *px_train_all(const px_ranks *ranks, const px_config *config, const px_train *job,
                                px_digest *params_sha256);

#endif
