/* dist_internal.h - shared inside dist. */
#ifndef PX_DIST_INTERNAL_H
#define PX_DIST_INTERNAL_H

#include "dist.h"

/* Largest count of one MPI call: counts are int. */
#define PX_MPI_CHUNK ((size_t)1 << 28)

/* Ends the watchdog's thread, if one runs. */
void px_watch_stop(void);
/* Where this rank stands: phase (NULL: nowhere yet), step, for how long. */
typedef struct {
    const char *phase;
    int64_t step;
    double stood_s;
} px_standing;
px_standing px_watch_standing(void);

/* --- tell.c: ranks that wait tell one another where they stand, through small files --- */
void px_tell_start(const px_ranks *ranks);
void px_tell_stop(void);
/* What is known of the others by now ("rank 2 on n3 has not been heard of"), or "". Never waits. */
void px_tell_text(char *out, size_t size);

#endif
