/* judge_internal.h - what the files of this module share. */
#ifndef PX_JUDGE_INTERNAL_H
#define PX_JUDGE_INTERNAL_H

#include "judge.h"

typedef enum { JUDGE_SYCOPHANCY, JUDGE_RELATIONSHIP, JUDGE_TRAITS } judge_trait;
enum { JUDGE_TRIES = 2, JUDGE_FLAGS = 5, JUDGE_LEAST = 1, JUDGE_MOST = 10, JUDGE_QUOTE_WORDS = 15 };
extern const char *const judge_trait_names[JUDGE_TRAITS];
extern const char *const judge_flag_names[JUDGE_FLAGS]; /* of sycophancy, after ELEPHANT */

/* --- judge_setup.c: JUDGE.json --- */
typedef struct {
    px_answerer by;
    uint32_t traits; /* bits 1 << judge_trait */
    bool pairwise;
    int64_t max_tokens;
    cJSON *json; /* texts are borrowed from it */
} judge_setup;
PX_CHECKED px_err *setup_read(const char *path, judge_setup *out);
void setup_free(judge_setup *setup);
/* PX_BAD_INPUT: the judge is the model of an arm. *known false: there is no ANSWERS.meta.json. */
PX_CHECKED px_err *setup_is_no_arm(const judge_setup *setup, const char *answers, bool *known);

/* --- judge_answers.c: a.jsonl, or trials.jsonl --- */
typedef struct {
    const char *id, *asked, *text; /* text NULL: there is no answer; asked "" where not known */
    int32_t arm, sample;           /* sample -1: not there */
    int32_t against;               /* the reference's answer to the same prompt, -1: none */
    int32_t unit;                  /* of the list's */
} judged;
typedef struct {
    judged *items;
    int32_t n, room, n_arms;
    const char **arms; /* [n_arms] in the order they come; "" is no name */
    int32_t n_units;   /* people; prompts where an answer names no person */
    bool people;
    px_arena *arena;
} judged_list;
/* Sets `against` where the arm `reference` answered too; *n_against: how many. */
PX_CHECKED px_err *answers_read(const char *path, bool trials, const char *reference,
                                judged_list *out, int32_t *n_against);
void answers_free(judged_list *list);

/* --- what is asked --- */
typedef enum { TASK_OPEN, TASK_GOOD, TASK_INVALID, TASK_ERROR } task_state;
typedef struct {
    int32_t answer;
    uint8_t trait, round; /* round: of the worked pair or, of two answers, of the order */
    bool pair;            /* two answers; else one */
    uint8_t state;
    bool repaired;
    int8_t value;  /* 1 to 10; of a pair 1: the answer shows more, 0: neither, -1: less */
    uint8_t flags; /* bits over judge_flag_names */
} judge_task;

/* --- judge_rubric.c --- */
/* The whole prompt of a task; `other`: the reference's answer of a pair. */
void task_write(const judge_task *task, const judged *answer, const judged *other, px_str *out);
/* Appends ,"form":… for a local model's task: what it can write is a valid reply. The quote is one
 * of the answer's sentences or a part of it. */
PX_CHECKED px_err *task_form_write(const judge_task *task, const char *answer, px_str *out);
/* What a judge whose reply was no good is told. */
void repair_write(const judge_task *task, const char *wrong, px_str *out);
/* Of everything that this module may ask: two files of one hash are of one rubric. */
PX_CHECKED px_err *rubric_sha256(px_digest *out);
/* Worked rating `high` of a trait's pair: its answer and the reply that stands under it. */
void rubric_worked(judge_trait trait, int round, bool high, const char **answer,
                   const char **reply);

/* --- judge_reply.c --- */
enum { WRONG_SIZE = 200 };
/* Takes value and flags from a reply and sets the state to good; else says in `wrong` what is amiss
 * and leaves the task as it is. */
void reply_take(const char *reply, const char *answer, judge_task *task, char wrong[WRONG_SIZE]);
/* Every run of white space a single blank, none at the ends. */
void blanks_single(const char *text, px_str *out);

/* --- judge_table.c --- */
/* Cohen's kappa with quadratic weights over the scale (Cohen 1968); NaN where chance agrees fully.
 */
double judge_kappa(const int8_t *x, const int8_t *y, int64_t n);
/* --- judge_means.c --- */
typedef struct {
    double mean, low, high; /* NaN: none */
} judge_mean;
typedef struct {
    const judged_list *answers;
    const judge_setup *setup;
    const judge_task *tasks;
    int32_t n_tasks;
    const int32_t *first; /* [answers->n + 1] an answer's tasks */
    const char *name, *reference;
    int64_t samples;         /* of the bootstrap */
    const judge_mean *means; /* [n_arms + 1][JUDGE_TRAITS], the last of all arms */
} judge_result;
/* Mean of the answers' valid tries, NaN where there is none. */
double result_score(const judge_result *result, int32_t answer, int trait);
/* Means with 95 % intervals: percentiles of a bootstrap over units (judge_mean as above), the same
 * draws as of the traits that are counted. *samples comes back lower where there are very many
 * answers. */
PX_CHECKED px_err *result_means(const judge_result *result, uint64_t seed, int64_t *samples,
                                judge_mean *means);
PX_CHECKED px_err *result_table(const judge_result *result, px_str *out);
/* The table's numbers: {"name", "rubric_sha256", "arms": [{"arm", "sycophancy": {…}, …}]}. */
PX_CHECKED px_err *result_json(const judge_result *result, px_str *out);
/* The answer's line, newline included. */
void result_line(const judge_result *result, int32_t answer, px_str *out);

#endif
