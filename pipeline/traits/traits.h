/* traits.h - how an answer behaves: sycophancy, relationship seeking and verbosity by fixed lists
 * of phrases (configs/traits), the same bits on every machine; per arm means, intervals and
 * effects. A trait's score is the mean of its features' signed z, z by the reference arm of the
 * same file or, where there is none, by the constants in the lists. Knows nothing of models. */
#ifndef PX_TRAITS_H
#define PX_TRAITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base.h"
#include "dist.h"
#include "json.h"

/* --- the lists --- */
typedef enum { PX_SYCOPHANCY, PX_RELATIONSHIP, PX_VERBOSITY, PX_CONTROLS, PX_LISTS } px_list_id;
enum {
    PX_TRAITS = 3,
    PX_FEATURES_MAX = 24,
    PX_HITS_MAX = 40,
    PX_FIRST_WORDS = 60,
    PX_WORDS_LEAST = 5
};

typedef struct px_lists px_lists;
/* sycophancy.json, relationship.json, verbosity.json and controls.json of a folder. PX_BAD_INPUT:
 * names file, feature and phrase. */
PX_CHECKED px_err *px_lists_read(const char *dir, px_lists **out);
void px_lists_free(px_lists *lists);
/* The folder of the lists: `asked` or, where that is NULL, beside the program: configs/traits of
 * its source tree or share/prismx/configs/traits of where it is installed. Heap. PX_BAD_INPUT: the
 * places that were looked at. */
PX_CHECKED px_err *px_lists_find(const char *asked, char **out);
const char *px_list_name(px_list_id list);
int px_lists_version(const px_lists *lists, px_list_id list);
/* Of the file's bytes; for PX_LISTS of the four digests together. */
const char *px_lists_sha256(const px_lists *lists, px_list_id list);
int px_lists_n(const px_lists *lists, px_list_id list);
/* Where a list's features stand in px_reading.hits. */
int px_lists_at(const px_lists *lists, px_list_id list);
const char *px_lists_feature(const px_lists *lists, px_list_id list, int k);
int px_lists_sign(const px_lists *lists, px_list_id list, int k);

/* --- one answer --- */
typedef enum { PX_SCORED, PX_MISSING, PX_SHORT, PX_FOREIGN, PX_LEFT_OUTS } px_left_out;

typedef struct {
    px_left_out left_out;
    uint32_t words;                               /* outside code, addresses and quotations */
    uint32_t words_first;                         /* of these at most PX_FIRST_WORDS */
    int32_t net[PX_TRAITS], net_first[PX_TRAITS]; /* hits up less hits down, flags aside */
    uint32_t hits[PX_HITS_MAX];                   /* by px_lists_at */
} px_reading;

/* Room to work in over lists that must outlive it; one a thread. */
typedef struct px_scorer px_scorer;
PX_CHECKED px_err *px_scorer_new(const px_lists *lists, px_scorer **out);
void px_scorer_free(px_scorer *scorer);
/* Any bytes. asked [asked_size]: what the answer answers, NULL where not known: its quotations are
 * left out. n_tokens -1: not known. */
PX_CHECKED px_err *px_scorer_read(px_scorer *scorer, const char *text, size_t size,
                                  const char *asked, size_t asked_size, int64_t n_tokens,
                                  px_reading *out);
/* f of a feature: 100 hits / max(words, 20), or the hits themselves of flags and of verbosity. */
double px_reading_value(const px_lists *lists, const px_reading *reading, px_list_id list, int k);
/* 100 (hits up - hits down) / max(words, 20), of the first 60 words where `first`. */
double px_reading_rate(const px_reading *reading, px_list_id trait, bool first);

/* Mean and standard deviation of every feature's f. A feature without spread (sd < 1e-9) in the
 * reference arm takes the lists' sd, and is named: an arm that praises where the reference never
 * does must not go unseen. Without spread there too it is dropped, and named. */
typedef struct {
    double mean[PX_TRAITS][PX_FEATURES_MAX], sd[PX_TRAITS][PX_FEATURES_MAX];
    bool borrowed[PX_TRAITS][PX_FEATURES_MAX];
} px_norms;
void px_lists_norms(const px_lists *lists, px_norms *out);
/* Mean of sign × z over the features that are not dropped; NaN of an answer left out. */
double px_reading_score(const px_lists *lists, const px_norms *norms, const px_reading *reading,
                        px_list_id trait);

/* The arm that stands at a position of a trial's slots, borrowed; NULL: none. */
const char *px_trial_arm(const cJSON *slots, const char *pos);

/* --- a file of answers --- */
typedef struct {
    const char *answers, *trials; /* one of them: a.jsonl, or trials.jsonl */
    const char *out;              /* traits.jsonl; SUMMARY beside it, see px_traits_all */
    const char *reference;        /* arm; "none": the lists' constants */
    bool reference_asked;         /* then it must be there */
    int64_t bootstrap;            /* samples; 0: no intervals */
    uint64_t seed;
    const char *judge; /* a judge's lines, one an answer in the same order, or NULL: put into out */
    const char *judge_summary; /* JSON that becomes the summary's "judge", or NULL */
} px_traits_job;
/* Collective. Reads, scores and writes job->out (and, with .summary.json in place of .jsonl, the
 * table as JSON), the same bytes for any number of ranks; rank 0 prints the table to `table`.
 * PX_BAD_INPUT: a line that is no answer, with its number. */
PX_CHECKED px_err *px_traits_all(const px_ranks *ranks, const px_lists *lists,
                                 const px_traits_job *job, FILE *table);

/* --- is the scorer to be trusted? --- */
/* Rank 0 alone. Spearman and AUC of the scores (z by the lists' constants) against a judge's;
 * `trials`: answers is a file of trials. */
PX_CHECKED px_err *px_traits_agreement(const px_lists *lists, const char *answers, bool trials,
                                       const char *judge, FILE *table);
/* Writes pair `index`, alike but for the trait: one without it, one with it. */
typedef px_err *px_pair_source(void *context, px_list_id trait, uint64_t index, px_str *without,
                               px_str *with);
typedef struct {
    px_pair_source *pairs;
    void *context;
    int64_t n_pairs;
    const char *answers, *judge; /* both or neither: answers, and what a judge said of them */
} px_validate_job;
/* AUC over planted pairs, what neutral padding moves, agreement with a judge; printed to `table`.
 * PX_RUN_FAILED: pairs or padding miss their bar. Not collective. */
PX_CHECKED px_err *px_traits_validate(const px_lists *lists, const px_validate_job *job,
                                      FILE *table);

#endif
