/* progress.c - see progress.h. */
#include "progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

static bool line_drawn;

static double interval_s(bool terminal) {
    const char *wish = getenv("PRISMX_PROGRESS_S");
    double value = wish ? strtod(wish, NULL) : 0;
    if (terminal) return 0.2;
    return value > 0 ? value : 15;
}

void px_progress_begin(px_progress *progress, const char *label, int64_t total, int64_t done) {
    *progress = (px_progress){.label = label, .total = total, .start_done = done};
    progress->start_s = px_now_s();
    progress->shown_s = progress->start_s;
}

static void duration_text(double s, char *out, size_t size) {
    int64_t t = (int64_t)(s + 0.5);
    if (t >= 3600)
        snprintf(out, size, "%ldh%02ldm", (long)(t / 3600), (long)(t / 60 % 60));
    else if (t >= 60)
        snprintf(out, size, "%ldm%02lds", (long)(t / 60), (long)(t % 60));
    else
        snprintf(out, size, "%lds", (long)t);
}

static void line_text(const px_progress *p, int64_t done, const char *text, char *out,
                      size_t size) {
    char eta[32] = "", took[32];
    double elapsed = px_now_s() - p->start_s;
    int64_t worked = done - p->start_done;
    duration_text(elapsed, took, sizeof took);
    if (p->total > done && worked > 0)
        duration_text(elapsed / (double)worked * (double)(p->total - done), eta, sizeof eta);
    if (p->total > 0)
        snprintf(out, size, "%s %lld/%lld %s · %s%s%s", p->label, (long long)done,
                 (long long)p->total, text, took, eta[0] ? " · ETA " : "", eta);
    else
        snprintf(out, size, "%s %lld %s · %s", p->label, (long long)done, text, took);
}

void px_progress_at(px_progress *progress, int64_t done, const char *format, ...) {
    if (!px_log_shows(PX_LOG_INFO)) return;
    bool terminal = isatty(STDERR_FILENO);
    double now = px_now_s();
    if (now - progress->shown_s < interval_s(terminal)) return;
    progress->shown_s = now;
    char text[512], line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line_text(progress, done, text, line, sizeof line);
    if (!terminal) {
        px_info("%s", line);
        return;
    }
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    line_drawn = true;
}

void px_progress_end(px_progress *progress, int64_t done, const char *format, ...) {
    char text[512], line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line_text(progress, done, text, line, sizeof line);
    px_info("%s", line);
}

void px_progress_hide(void) {
    if (!line_drawn) return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    line_drawn = false;
}

int64_t px_peak_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}
