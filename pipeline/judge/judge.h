/* judge.h - a model says how far answers show a trait: a score from 1 to 10 twice, under two worked
 * pairs, and on request which of two answers shows more of it, in both orders. The name of an arm
 * is never shown, and no model judges itself. What the judge says is a score, an invalid reply
 * after one repair, or an error; the last two are counted and never become a score. */
#ifndef PX_JUDGE_H
#define PX_JUDGE_H

#include "answer.h"

typedef struct {
    const char *answers;   /* a.jsonl; a.jsonl.meta.json beside it names the arms' models */
    bool trials;           /* answers is trials.jsonl: its turns' answers are judged */
    const char *setup;     /* JUDGE.json, see docs/traits.md */
    const char *out;       /* lines of id, arm, scores, in the order of the answers */
    const char *reference; /* arm that others are compared with in pairs */
    int64_t bootstrap;     /* samples of people for the intervals of means; 0: none */
    uint64_t seed;         /* of them */
    int threads;
} px_judge_job;
/* Collective. Writes job->out, the same bytes for any number of ranks, and appends a table per arm
 * to `table` and the same as a JSON object to `summary` on rank 0. What is finished of an
 * interrupted run lies in OUT.parts and is used again. PX_BAD_INPUT: what is wrong in JUDGE.json or
 * the answers, or a judge that is one of the arms. PX_RUN_FAILED: an endpoint left requests without
 * a reply. */
PX_CHECKED px_err *px_judge_all(const px_ranks *ranks, const px_config *config,
                                const px_judge_job *job, px_str *table, px_str *summary);

#endif
