/* prism.h - the reader of the PRISM files: one line in, one checked person or conversation out;
 * what is wrong is counted (harm.h). Texts are borrowed from the line's JSON. Inside the module. */
#ifndef PX_PRISM_H
#define PX_PRISM_H

#include <cjson/cJSON.h>

#include "data.h"
#include "harm.h"

typedef struct {
    const char *text;
    int32_t id;    /* within_turn_id, -1: not given */
    int32_t score; /* 1–100, -1: not given */
    bool chosen;
} px_prism_answer;

typedef struct {
    const char *prompt;
    const px_prism_answer *answers; /* in file order */
    int32_t n_answers;
    int32_t chosen; /* index of the first chosen answer, -1: none */
} px_prism_turn;

typedef struct {
    const char *id, *user_id;
    px_conv_type type;
    bool balanced;
    int64_t line;
    px_prism_turn *turns; /* contiguous from 0, each with a user message */
    int32_t n_turns;
    int32_t n_usable; /* the turns that pairs come from: all before these have a chosen answer */
} px_prism_conv;

/* What the readable conversations hold, to be set beside the published counts. */
typedef struct {
    int64_t n_convs, n_types[4], n_balanced, n_turns, n_answers, n_chosen;
    int64_t n_openings, n_near_ties,
        n_longest_chosen; /* of turns 0 with a chosen and another answer */
    int64_t n_openings_scored;
    double score_sum, score_squares, prompt_chars, opening_chars, answer_chars;
    int64_t n_scores;
} px_prism_facts;

/* One line. *ok is false where it is left out, which is counted. The conversation lives in `arena`
 * and in *json, which the caller deletes (NULL where not ok). */
PX_CHECKED px_err *px_prism_conv_parse(const char *text, size_t size, int64_t line, px_arena *arena,
                                       px_harms *harms, cJSON **json, px_prism_conv *out, bool *ok);
void px_prism_facts_add(px_prism_facts *facts, const px_prism_conv *conv);

/* Checks UTF-8, then parses; *json is NULL where the line is broken, which is counted under the
 * kinds. */
PX_CHECKED px_err *px_prism_line(const char *text, size_t size, int64_t line, px_harms *harms,
                                 px_harm utf8, px_harm broken, cJSON **json);
/* A whole number in [least, most] at key, or `missing`. */
int64_t px_prism_int(const cJSON *object, const char *key, int64_t least, int64_t most,
                     int64_t missing);

/* --- survey.jsonl --- */
typedef struct {
    int32_t n;
    const char **ids; /* [n], in file order, each once; in the arena */
    int64_t n_lines, n_survey_only;
    px_map by_id; /* id → index */
} px_survey;
PX_CHECKED px_err *px_survey_read(const char *dir, px_arena *arena, px_harms *harms,
                                  px_survey *out);
void px_survey_fini(px_survey *survey);

/* --- metadata.jsonl: which conversations are English --- */
typedef struct {
    px_map by_id; /* conversation → 1: all its texts so far are flagged English, 0: one is not */
    int64_t n_lines;
} px_english;
PX_CHECKED px_err *px_english_read(const char *dir, px_arena *arena, px_harms *harms,
                                   px_english *out);
void px_english_fini(px_english *english);

/* --- utterances.jsonl against conversations.jsonl --- */
typedef struct px_cross px_cross;
PX_CHECKED px_err *px_cross_new(px_cross **out);
void px_cross_free(px_cross *cross);
/* Remembers a hash of each answer of the conversation. */
PX_CHECKED px_err *px_cross_add(px_cross *cross, const px_prism_conv *conv);
/* Compares the whole file; *n_lines read, *n_same of them equal. */
PX_CHECKED px_err *px_cross_compare(px_cross *cross, const char *dir, px_harms *harms,
                                    int64_t *n_lines, int64_t *n_same);

#endif
