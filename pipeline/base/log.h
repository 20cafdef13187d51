/* log.h - messages to stderr: level, time, rank. Only rank 0 speaks below PX_LOG_ERROR unless
 * asked. Texts and ids of participants never go here. */
#ifndef PX_LOG_H
#define PX_LOG_H

#include <stdbool.h>

typedef enum { PX_LOG_DEBUG, PX_LOG_INFO, PX_LOG_WARNING, PX_LOG_ERROR } px_log_level;

/* Which rank this is, and the lowest level shown (PRISMX_LOG=debug|info|warning|error overrides).
 */
void px_log_setup(int rank, px_log_level lowest);
bool px_log_shows(px_log_level level);
void px_log(px_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define px_debug(...) px_log(PX_LOG_DEBUG, __VA_ARGS__)
#define px_info(...) px_log(PX_LOG_INFO, __VA_ARGS__)
#define px_warn(...) px_log(PX_LOG_WARNING, __VA_ARGS__)

/* Seconds of a monotonic clock. */
double px_now_s(void);

#endif
