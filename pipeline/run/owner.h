/* owner.h - a run folder has one writer at a time. RUN/owner.json says who; it is looked at before
 * every rename in the folder and every line of metrics, so that a rank which outlived its job (a
 * network cut, a requeue elsewhere) ends instead of writing into the run of its successor. Also the
 * sign of life and the count of starts that came to nothing. */
#ifndef PX_OWNER_H
#define PX_OWNER_H

#include "dist.h"

typedef struct px_owner px_owner;

/* PX_BAD_INPUT with host and process: the folder is being written. NULL where nobody does, or the
 * owner is gone: a dead process of this machine, an older start of this Slurm job, or one of
 * another machine without a sign of life for PX_OWNER_QUIET_S, which is waited for. Changes
 * nothing. */
#define PX_OWNER_QUIET_S 60
PX_CHECKED px_err *px_owner_look(const char *dir);
/* Collective. Takes the folder (which exists) for this process's ranks, from whoever is gone, and
 * removes temporary files that such a one left. Errors as px_owner_look's. One a process. */
PX_CHECKED px_err *px_owner_take_all(const px_ranks *ranks, const char *dir, px_owner **out);
/* PX_RUN_FAILED: the folder belongs to another by now. Rank 0 alone. */
PX_CHECKED px_err *px_owner_check(px_owner *owner);
/* Gives the folder up, where it is still this process's, and removes the sign of life. NULL is
 * fine. Not collective. */
void px_owner_drop(px_owner *owner);

/* From now on a thread of rank 0 renews DIR/heartbeat.json every few seconds: time, phase and step
 * of the last px_watch, of `total`. Until px_owner_drop. */
void px_heartbeat_start(px_owner *owner, int64_t total);

/* Rank 0 alone, once a start: PX_RUN_FAILED when this is the (PX_STARTS_MOST + 1)th in a row that
 * begins after `step`, since then every one was ended before it had finished a step. The count
 * begins anew after that, so that the user's next try is a try. */
#define PX_STARTS_MOST 8
PX_CHECKED px_err *px_starts_count(const char *dir, int64_t step);

#endif
