/* log.c - see log.h. One write a line, so that lines of several ranks do not mix. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

static struct {
    int rank;
    px_log_level lowest;
} setup = {0, PX_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void px_log_setup(int rank, px_log_level lowest) {
    setup.rank = rank;
    setup.lowest = lowest;
    const char *wish = getenv("PRISMX_LOG");
    for (int i = 0; wish && i < 4; i++)
        if (!strcmp(wish, level_names[i])) setup.lowest = (px_log_level)i;
}

bool px_log_shows(px_log_level level) {
    if (level < setup.lowest) return false;
    return setup.rank == 0 || level == PX_LOG_ERROR || setup.lowest == PX_LOG_DEBUG;
}

void px_log(px_log_level level, const char *format, ...) {
    if (!px_log_shows(level)) return;
    char line[8192];
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    size_t n = strftime(line, sizeof line, "%H:%M:%S ", &parts);
    int m =
        level == PX_LOG_INFO ? 0 : snprintf(line + n, sizeof line - n, "%s: ", level_names[level]);
    n += (size_t)m;
    if (setup.rank > 0) n += (size_t)snprintf(line + n, sizeof line - n, "rank %d: ", setup.rank);
    va_list args;
    va_start(args, format);
    m = vsnprintf(line + n, sizeof line - n - 1, format, args);
    va_end(args);
    if (m > 0) n += (size_t)m;
    if (n > sizeof line - 2) n = sizeof line - 2;
    line[n++] = '\n';
    px_progress_hide();
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* nowhere left to complain */
}

double px_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
