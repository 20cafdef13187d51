/* guard.h - a folder that this process may write only while a check passes: every rename into it
 * (file.c) asks first. Temporary names inside carry the writer's token, so that two writers of one
 * folder never touch each other's files. One folder a process. */
#ifndef PX_GUARD_H
#define PX_GUARD_H

#include "err.h"

typedef px_err *px_guard_check(void *context);
/* dir and token are copied; dir NULL: no guard. check may be NULL: names alone. Not while other
 * threads write files. */
PX_CHECKED px_err *px_guard_set(const char *dir, const char *token, px_guard_check *check,
                                void *context);
/* The error of the check where path lies inside the folder, else NULL. */
PX_CHECKED px_err *px_guard_pass(const char *path);
/* The token where path lies inside, else "". */
const char *px_guard_token(const char *path);

#endif
