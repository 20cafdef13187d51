/* trials_internal.h - shared inside pipeline/trials. */
#ifndef PX_TRIALS_INTERNAL_H
#define PX_TRIALS_INTERNAL_H

#include "json.h"
#include "trials.h"

/* One line being read. */
typedef struct {
    px_trials *trials;
    const char *path;
    int64_t line;
    px_trial_report *report;
    void *context;
    bool bad;                  /* an error was reported and the reading goes on */
    int slot_of[PX_SLOTS_MAX]; /* position -> slot index, -1: nobody stands there */
} px_trial_line;

/* An oddity, counted. */
PX_CHECKED px_err *px_trial_odd(px_trial_line *l, px_odd odd, const char *key, const char *format,
                                ...) __attribute__((format(printf, 4, 5)));
/* An error of this line: returned, or swallowed by the reporter (then l->bad). */
PX_CHECKED px_err *px_trial_error(px_trial_line *l, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The item at key with one of the types (bits: cJSON_String …), or NULL: absent, null, or a wrong
 * type, which is an error. */
PX_CHECKED px_err *px_trial_item(px_trial_line *l, const cJSON *object, const char *path,
                                 const char *key, int types, const cJSON **out);
/* Keys that the table does not know are odd. */
PX_CHECKED px_err *px_trial_known(px_trial_line *l, const cJSON *object, const char *path,
                                  const char *const *keys, int n);
/* "A" … "H" -> 0 … 7, else -1. */
int px_trial_pos(const char *text);
/* Of px_trials.seen; returns its size. */
int px_trial_key(char key[64], px_trial_source source, int32_t person, int32_t id);
/* The number of a name, added where it is new. */
PX_CHECKED px_err *px_name_number(px_trials *trials, px_names *names, const char *text,
                                  int32_t *out);
/* slots, and what hangs on positions (ranks, sliders, bids, choices, turns). */
PX_CHECKED px_err *px_trial_slots(px_trial_line *l, const cJSON *json, px_trial *trial);
PX_CHECKED px_err *px_trial_judgements(px_trial_line *l, const cJSON *json, px_trial *trial);
PX_CHECKED px_err *px_trial_turns(px_trial_line *l, const cJSON *json, px_trial *trial);

#endif
