/* slurm_internal.h - shared by the files of this module. */
#ifndef PX_SLURM_INTERNAL_H
#define PX_SLURM_INTERNAL_H

#include "slurm.h"

/* A file beside the program: in its source tree, or where it is installed. Heap. PX_BAD_INPUT: not
 * there, with the places that were looked at. */
px_err *slurm_share_file(const char *name, char **out);

#endif
