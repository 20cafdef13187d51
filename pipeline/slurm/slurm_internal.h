/* slurm_internal.h - shared by the files of this module. */
#ifndef PX_SLURM_INTERNAL_H
#define PX_SLURM_INTERNAL_H

#include "slurm.h"

enum { SLURM_ID_SIZE = 32 };

/* A submission under way. */
typedef struct {
    px_job *job;
    const px_cluster *cluster;
    bool print;
    cJSON *ledger;
    px_job_lock lock;
    char (*ids)[SLURM_ID_SIZE]; /* [n_steps] "" where there is nothing to wait for */
    int n_submitted, n_kept, n_queued;
} slurm_submitter;

/* A file beside the program: in its source tree, or where it is installed. Heap. PX_BAD_INPUT: not
 * there, with the places that were looked at. */
px_err *slurm_share_file(const char *name, char **out);

/* Folder, lock and ledger of the job; `s` has job, cluster, print. End it in any case. */
px_err *slurm_submit_begin(slurm_submitter *s);
void slurm_submit_end(slurm_submitter *s);
/* One step, where it has to run and is not queued; its id goes to s->ids. */
px_err *slurm_submit_step(slurm_submitter *s, int step);
/* Is what was submitted under the label queued or running? Then its id is in `id`, and it is said.
 */
px_err *slurm_submit_queued(slurm_submitter *s, const char *label, char id[SLURM_ID_SIZE],
                            bool *out);
/* Queues a batch (or prints it). dependency NULL: none. */
px_err *slurm_submit_batch(slurm_submitter *s, const px_batch *batch, const char *dependency,
                           const char *why, char id[SLURM_ID_SIZE]);
/* Adds to an error what is queued already. */
px_err *slurm_submit_failed(const slurm_submitter *s, px_err *err);

#endif
