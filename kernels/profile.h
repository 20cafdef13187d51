/* profile.h - inside kernels/: the time of each operation of a stream, with what it computed and
 * moved. Only where it was wanted: then each operation is waited for. */
#ifndef PX_PROFILE_H
#define PX_PROFILE_H

#include "backend.h"

/* For px_stream_open and px_stream_close. */
void px_profile_open(px_stream *s);
void px_profile_close(px_stream *s);
double px_profile_begin(px_stream *s, const char *name);
/* What the operation took, computed and moved at least: each operand once. */
void px_profile_end(px_stream *s, const char *name, double begun_s, double flops, double bytes);

#endif
