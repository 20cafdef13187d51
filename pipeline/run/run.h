/* run.h - the run folder: checkpoints, the people's rows, and reading a run back. Knows no losses
 * and no steps. */
#ifndef PX_RUN_H
#define PX_RUN_H

#include "data.h"
#include "model.h"

/* --- where a run stands --- */
typedef struct {
    int64_t step;     /* finished steps */
    int64_t epoch;    /* from 0 */
    int64_t batch;    /* next batch of the epoch */
    int64_t n_tokens; /* rows computed so far, soft tokens included */
    int64_t total;    /* steps of the whole run */
} px_state;

/* --- checkpoints: DIR/checkpoints/step-NNNNNN.h5 --- */
typedef struct {
    const char *dir; /* the run folder */
    px_params *params;
    float *m, *v;           /* Adam's moments [params->n]; NULL when reading: not wanted */
    const char *const *ids; /* [params->n_users], row 0 is "" */
    const char *config_json;
    const char *corpus_sha256, *weights_sha256;
} px_checkpoint;
/* Collective. Writes the state atomically, each rank its share of every tensor, then removes all
 * but the newest `keep`. params_sha256 is attached, and given back. */
PX_CHECKED px_err *px_checkpoint_write_all(const px_ranks *ranks, const px_checkpoint *ckpt,
                                           const px_state *state, int64_t keep, px_digest *sha256);
/* Reads step `step` into ckpt's params and moments, and the state. PX_BAD_INPUT: a tensor missing
 * or of another shape, NaN, a hash that does not fit, other people, corpus or weights (where ckpt
 * names them). */
PX_CHECKED px_err *px_checkpoint_read(const px_checkpoint *ckpt, int64_t step, px_state *state);
/* Steps of the files that are there, newest first, in the arena. A folder that is not there has
 * none. */
PX_CHECKED px_err *px_checkpoint_list(const char *dir, px_arena *arena, int64_t **steps, int *n);
/* "DIR/checkpoints/step-000012.h5", heap; NULL without memory. */
char *px_checkpoint_path(const char *dir, int64_t step);
/* Bytes that one takes on disk, about. */
int64_t px_checkpoint_bytes(const px_params *params);

/* --- people --- */
typedef struct {
    int32_t *row_of_user; /* [corpus->n_users] row of params; 0: none of their own */
    const char **ids;     /* [n_rows], row 0 is "", the generic user */
    int32_t n_rows;
} px_rows;
/* Rows for the people with training pairs, in the corpus's order. */
PX_CHECKED px_err *px_rows_of(const px_corpus *corpus, px_arena *arena, px_rows *out);
/* users.h5 (ids, weights, bank, generic, embeddings) of a run folder. Rank 0 alone. */
PX_CHECKED px_err *px_users_write(const char *dir, const px_params *params, const char *const *ids);

/* --- reading a run back --- */
typedef struct {
    px_config config; /* the run's */
    px_params *params;
    const char **ids; /* [params->n_users], row 0 is "" */
    px_state state;
    const char *dir, *model_path, *corpus_path; /* paths as the run was given them */
    const char *corpus_sha256, *weights_sha256;
    px_shape shape;
    cJSON *manifest;
    px_arena *arena;
} px_run;
/* step -1: the newest checkpoint that is whole. model_path NULL: the manifest's; its shape must
 * fit. */
PX_CHECKED px_err *px_run_open(const char *dir, int64_t step, const char *model_path, px_run *out);
void px_run_close(px_run *run);
/* Row of a person, 0 (generic) where there is none. */
int32_t px_run_row(const px_run *run, const char *id);

/* Removes a person from every checkpoint and users.h5 of a run, Adam's moments included, and notes
 * in the manifest that somebody was (not who). Can be run again after an interruption. *n_files:
 * files changed; 0 when nobody of that id was there. What everybody's training shares (bank,
 * adapters) keeps the traces of their data: only a new run without them takes those away. */
PX_CHECKED px_err *px_run_forget(const char *dir, const char *id, const char *model_path,
                                 int *n_files);

#endif
