/* dist_internal.h - shared inside dist. */
#ifndef PX_DIST_INTERNAL_H
#define PX_DIST_INTERNAL_H

#include "dist.h"

/* Largest count of one MPI call: counts are int. */
#define PX_MPI_CHUNK ((size_t)1 << 28)

/* Ends the watchdog's thread, if one runs. */
void px_watch_stop(void);

#endif
