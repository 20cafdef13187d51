/* trials.h - trials.jsonl: people who met two to eight arms side by side, blinded, and judged them.
 * One object a line:
 *   {"trial", "person", "source": human|judge|converse, "domain", "split": seen|unseen, "seed",
 *    "sim": {"model", "prompt_sha", "orders": [[positions, best first]]},
 *    "slots": [{"pos": A..H, "arm", "variant", "user": own|generic, "run_sha", "error",
 *               "context_tokens", "prompt_tokens", "new_tokens"}],
 *    "turns": [{"n", "to": "ABCD", "user", "answers": {"A": text}}],
 *    "opening": {"best", "provenance"}, "rank": {"preference": [best first], "provenance"},
 *    "vas": {"preference": {"A": 0..100}, "engaging", "provenance"}, "wtp": {"A": 0..10},
 *    "bdm": {"price"}, "retries", "usd", "ms"}
 * Only trial, person and slots (pos, arm) must be there; null is the same as absent. Missing is
 * never 0. Knows no statistics and no models. */
#ifndef PX_TRIALS_H
#define PX_TRIALS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base.h"

enum {
    PX_SLOTS_MAX = 8,    /* arms in a trial, at least 2 */
    PX_NAME_MAX = 100,   /* bytes of the name of an arm, a variant, a domain */
    PX_TRIAL_ARMS = 1000 /* arms of a file */
};

typedef enum { PX_SOURCE_HUMAN, PX_SOURCE_JUDGE, PX_SOURCE_CONVERSE, PX_SOURCES } px_trial_source;
typedef enum { PX_PREFERENCE, PX_PROVENANCE, PX_QUESTIONS } px_question; /* rank, opening */
typedef enum { PX_VAS_PREFERENCE, PX_VAS_ENGAGING, PX_VAS_PROVENANCE, PX_SLIDERS } px_slider;
typedef enum {
    PX_PROFILE_PROMPT, /* tokens */
    PX_PROFILE_NEW,
    PX_PROFILE_SECONDS,
    PX_PROFILE_USD,
    PX_PROFILES
} px_profile;
extern const char *const px_source_names[PX_SOURCES];
extern const char *const px_question_names[PX_QUESTIONS];
extern const char *const px_slider_names[PX_SLIDERS];

/* Names in the order in which they were met; {0} is empty. Texts live in the trials' arena. */
typedef struct {
    const char **at;
    int32_t n, room;
    px_map numbers;
} px_names;

typedef struct {
    int32_t pos;     /* 0 = A … 7 = H */
    int32_t arm;     /* in trials.arms */
    int32_t variant; /* in trials.variants, or -1 */
    int32_t user;    /* 1: own embedding, 0: the generic one, -1: not said */
    bool error;      /* an error was noted */
    double length;   /* mean characters of its answers; NaN without any */
    int32_t run;     /* in trials.runs: what answered, by its hash; -1: not said */
    double context_tokens, prompt_tokens, new_tokens; /* NaN: not known */
    double seconds, usd; /* of px_trials_costs: of an answer, of all answers; NaN: not known */
    double profile[PX_PROFILES]; /* of px_trials_costs: of the person's profile, written once */
    double vas[PX_SLIDERS], wtp; /* NaN: not asked, or invalid */
    int32_t rank[PX_QUESTIONS];  /* 1 = best; 0: not ranked, or invalid */
} px_trial_slot;

typedef struct {
    const char *user; /* "" where nothing was said */
    size_t size;
    int32_t n;
    uint32_t to; /* bits 1 << slot index */
} px_turn;

typedef struct {
    int32_t id, person, domain; /* in trials.ids, .persons, .domains; domain -1: none */
    px_trial_source source;
    int32_t split; /* 0 seen, 1 unseen, -1 not said */
    int32_t n_slots, n_turns, file;
    int64_t line;
    px_trial_slot *slots; /* by position */
    px_turn *turns;
    int32_t opening[PX_QUESTIONS]; /* slot index chosen after the first answers, or -1 */
    /* Preference in several orders of the slots: valid ones, and of those behind the first: pairs
     * of slots, pairs turned round, ones with another best. */
    int32_t n_orders, order_pairs, order_flips, top_flips;
    double price, usd, ms; /* NaN: none */
} px_trial;

/* What was met and left out, or is odd; nothing is dropped uncounted. */
typedef enum {
    PX_ODD_KEY,    /* unknown key: warning */
    PX_ODD_RANK,   /* ranking with ties, gaps or unknown positions: taken as not asked */
    PX_ODD_VALUE,  /* slider outside 0..100, bid outside 0..10, unknown position: not asked */
    PX_ODD_NUL,    /* NUL escaped in a text: read as U+FFFD */
    PX_ODD_ANSWER, /* an answer or a choice at a position where nobody stands */
    PX_ODDS
} px_odd;

typedef struct {
    px_trial *at;
    int64_t n, room;
    px_names ids, persons, domains, arms, variants, runs;
    int64_t odd[PX_ODDS];
    int64_t errors; /* only with a reporter that goes on */
    px_map seen;    /* (source, person, trial) */
    px_arena *arena;
    int32_t n_files;
} px_trials;

/* Called for every oddity and, where it returns NULL for them, for every error; key "" concerns
 * the whole line. The texts go away when it returns. Returning the error ends the reading. */
typedef struct {
    const char *path, *key, *reason;
    int64_t line;
    bool error;
    px_odd odd; /* where it is none */
} px_trial_problem;
typedef px_err *px_trial_report(void *context, const px_trial_problem *problem);

PX_CHECKED px_err *px_trials_new(px_trials *out);
void px_trials_free(px_trials *trials);
/* Adds a file's trials. PX_BAD_INPUT "FILE line 7: key: reason": not JSON, a wrong type, a missing
 * key, a doubled position, the same trial of the same person and source once more. With `report`
 * errors go there first; a line with one is left out where the reading goes on. */
PX_CHECKED px_err *px_trials_read(px_trials *trials, const char *path, px_trial_report *report,
                                  void *context);

/* TRIALS.jsonl -> TRIALS.cost.jsonl, appended to out. */
PX_CHECKED px_err *px_trials_cost_path(const char *trials, px_str *out);
/* What answers cost, from the file that simulate writes beside trials (`path`, of trials that were
 * read): {"trial", "person", "source", "slots": [{"pos", "arm", "answers", "timed", "seconds",
 * "usd", "profile": {"prompt_tokens", "new_tokens", "seconds", "usd"}, …}]}, seconds of `timed`
 * answers. What is said of a trial or an arm that is not there is
 * left. *found false: there is no such file. PX_BAD_INPUT: file and line of what is no such line.
 */
PX_CHECKED px_err *px_trials_costs(px_trials *trials, const char *path, bool *found);

/* Prints every problem (at most `most` of each kind; 0: all) and a summary to out. PX_BAD_INPUT
 * where there was an error. */
PX_CHECKED px_err *px_trials_check(const char *path, int64_t most, FILE *out);
/* One row a slot, RFC 4180, header first; no texts. */
PX_CHECKED px_err *px_trials_csv(const px_trials *trials, FILE *out);

/* --- invented trials --- */
typedef struct {
    const char *out_dir; /* trials.jsonl, truth.json */
    int64_t n_people;
    uint64_t seed;
} px_synth_trials;
/* Human, judge and converse trials with planted worths, length, position, slider and bid effects,
 * person variance, simulator noise, a shift of topics; truth.json says which. */
PX_CHECKED px_err *px_synth_trials_write(const px_synth_trials *job);

#endif
