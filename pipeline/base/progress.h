/* progress.h - one line that says how far a long command is: redrawn in place on a terminal, a
 * plain line every PRISMX_PROGRESS_S seconds (default 15) in a log. Rank 0 alone shows it. */
#ifndef PX_PROGRESS_H
#define PX_PROGRESS_H

#include <stdint.h>

typedef struct {
    const char *label; /* "train", borrowed */
    int64_t total;     /* 0: not known */
    double start_s, shown_s;
    int64_t start_done; /* work that a resumed run finds done: left out of the rate */
} px_progress;

void px_progress_begin(px_progress *progress, const char *label, int64_t total, int64_t done);
/* done of total, with a free text behind ("loss 0.61 acc 0.64"); cheap to call often. */
void px_progress_at(px_progress *progress, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Shows the last state as a plain line. */
void px_progress_end(px_progress *progress, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Clears a drawn line before something else is printed. */
void px_progress_hide(void);
/* The process's peak resident memory in bytes. */
int64_t px_peak_memory(void);

#endif
