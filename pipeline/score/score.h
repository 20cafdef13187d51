/* score.h - from people and trees to log-probabilities and rewards: slots, the reference cache,
 * pair scores. What training and evaluation share. */
#ifndef PX_SCORE_H
#define PX_SCORE_H

#include "data.h"
#include "model.h"

/* One copy of a tree to be computed: some pairs of one conversation, for one user row. */
typedef struct {
    int32_t conv;
    const int32_t *pairs; /* [n_pairs] indices into corpus->pairs, all of conv */
    int32_t n_pairs;
    int32_t user; /* row of params (0: generic), or -1: no soft tokens (reference, DPFT) */
    px_tree tree; /* subset for these pairs */
    const int32_t *chosen_leaf, *rejected_leaf; /* [n_pairs] nodes of tree */
    int32_t n_tokens;                           /* rows: tree.n + soft tokens */
} px_unit;

/* Builds the unit's tree for pairs [n_pairs] of one conversation; arena owns all. n_soft: T_u, or 0
 * where user is -1. */
PX_CHECKED px_err *px_unit_build(px_corpus *corpus, const int32_t *pairs, int32_t n_pairs,
                                 int32_t user, int32_t n_soft, px_arena *arena, px_unit *out);
/* Cuts units of the given sizes into slots: whole units, at most slot_tokens a slot unless one unit
 * alone is larger: slot_of[n], *n_slots. First fit, largest first: a function of the sizes alone.
 */
PX_CHECKED px_err *px_slots_cut(const int64_t *sizes, int n, int64_t slot_tokens, int *slot_of,
                                int *n_slots);

/* A slot ready for px_model_forward, with the way back from targets to responses. */
typedef struct px_work px_work;
/* units: pointers to the units of this slot. params NULL: no soft tokens. Lives in arena. */
PX_CHECKED px_err *px_work_build(const px_corpus *corpus, const px_unit *const *units, int n_units,
                                 const px_params *params, px_arena *arena, px_work **out);
const px_slot *px_work_slot(const px_work *work);
/* logp per target -> sums per unit, pair and side in float64 (token order): logps[2 * p] chosen,
 * [2 * p + 1] rejected, p counting pairs over the units in order. */
void px_work_logps(const px_work *work, const double *logp_target, double *logps);
/* The same unsummed: the tokens' of responses first … first + n - 1 (numbered as logps is), one
 * response after another. */
void px_work_token_logps(const px_work *work, int32_t first, int32_t n, const double *logp_target,
                         double *values);
/* dL/dlogp per response [2 * pairs] -> g per target. */
void px_work_gradient(const px_work *work, const double *dlogps, float *g);
/* Adds dsoft [n_soft, d] of the slot to the users' parameters in grads. */
void px_work_users_backward(const px_work *work, const px_params *params, const float *dsoft,
                            float *grads);

/* --- everything a rank needs to score --- */
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    px_corpus *corpus;
    px_model *model;
    const px_params *params; /* NULL: the base model */
    bool stoppable;          /* a signal ends it between slots (PX_STOPPED) */
    /* Also every token's, or NULL: those of pair i of the list, side s, go to
     * token_logps[token_first[2 i + s]] … [token_first[2 i + s + 1] - 1]. */
    const int64_t *token_first; /* [2 n_pairs + 1] */
    double *token_logps;
} px_scorer;
/* Collective. logps [2 * n_pairs] (chosen, rejected) of pairs[i] under user row users[i] (-1: no
 * soft tokens); pairs of one conversation and user share a tree. Ranks share the slots; the result
 * is on every rank and does not depend on their number. Progress labelled `label`. */
PX_CHECKED px_err *px_score_all(const px_scorer *scorer, const int32_t *pairs, const int32_t *users,
                                int32_t n_pairs, const char *label, double *logps);

/* What px_score_reserve takes of a card, in bytes; for plans too. conversation: tokens of the
 * largest. */
typedef struct {
    int64_t weights, adapters, activations, scratch;
    int64_t region; /* all of these */
} px_score_card;
px_score_card px_score_card_of(const px_config *config, const px_shape *shape, int64_t conversation,
                               bool adapters);
/* On a GPU: takes at once all that a model and px_score_all over this corpus will hold, before
 * px_model_new; with `adapters` a run's. Nothing on the CPU. */
PX_CHECKED px_err *px_score_reserve(px_stream *s, const px_config *config, const px_shape *shape,
                                    const px_corpus *corpus, bool adapters);

/* --- rewards --- */
/* reward [2] (chosen, rejected) = beta · (logp - reference), each by its number of tokens with
 * train.length_normalised; returns their difference. */
double px_pair_margin(const px_config *config, const px_pair *pair, const double logp[2],
                      const double reference[2], double reward[2]);

/* --- reference cache --- */
/* Log-probabilities of the frozen base for every pair of the corpus. The key is the SHA-256 of the
 * weights, the corpus content, template and precision. `dir` "": beside the corpus; where that
 * cannot be written, fallback_dir (may be NULL). */
typedef struct {
    const char *weights_sha256, *dir, *fallback_dir;
    bool from_cache; /* out */
    char path[4096]; /* out: the cache file */
} px_reference;
/* Collective. logps [2 * n_pairs of the corpus], read from the cache file when its key fits, else
 * computed by base (params NULL) and written (HDF5, atomic). */
PX_CHECKED px_err *px_reference_all(const px_scorer *base, px_reference *io, double *logps);
typedef struct {
    const char *corpus_path, *model_path;
    int threads;
} px_reference_job;
/* Collective. The cache file alone, as a training would write it; one that is there is kept.
 * io->path and io->from_cache (rank 0) say where it is. PX_RUN_FAILED where it cannot be kept. */
PX_CHECKED px_err *px_reference_make_all(const px_ranks *ranks, const px_config *config,
                                         const px_reference_job *job, px_reference *io);

#endif
