/* watch.h - what a long run adds to px_watch (dist.h): a folder through which ranks that wait find
 * out which peer is missing, and a call at every mark. */
#ifndef PX_WATCH_H
#define PX_WATCH_H

#include "dist.h"

/* Collective. From now on a rank that stands still for a quarter of timeout_s leaves a word in
 * DIR/.watch, the others answer there, and whoever ends the run names who did not. */
PX_CHECKED px_err *px_watch_folder_all(const px_ranks *ranks, const char *dir);
/* Not collective. No longer; rank 0 removes the folder. */
void px_watch_folder_end(const px_ranks *ranks);
/* Called by every px_watch of this process; NULL: nothing. */
void px_watch_call(void (*call)(void *context, const char *phase, int64_t step), void *context);

#endif
