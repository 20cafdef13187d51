/* base.h - what every module stands on: errors, arenas, logging and progress, strings, hash maps,
 * SHA-256, the counter-based random generator, files. Knows of nothing above it. */
#ifndef PX_BASE_H
#define PX_BASE_H

#include "arena.h"
#include "err.h"
#include "file.h"
#include "hash.h"
#include "large.h"
#include "log.h"
#include "machine.h"
#include "map.h"
#include "philox.h"
#include "progress.h"
#include "quantile.h"
#include "str.h"

#define PX_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PX_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PX_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
