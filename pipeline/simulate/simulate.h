/* simulate.h - simulated participants: a model plays people of the survey, who talk to blinded arms
 * or read conversations with them, and judge them; the result is trials.jsonl (trials.h). Every
 * trial's calls go in rounds: all that can be asked now is asked at once, so that models are loaded
 * one after the other and answer many conversations in a batch. Each reply is kept at once, by the
 * hash of what was asked: nothing is asked twice, and an interrupted job goes on anywhere.
 *
 * The file depends on configuration, inputs and models alone; not on ranks, threads or batches.
 * What people said, and what is made up for them, goes into prompts and results and never to a log.
 */
#ifndef PX_SIMULATE_H
#define PX_SIMULATE_H

#include "answer.h"

typedef struct {
    const char *out;         /* trials.jsonl; OUT.summary.json stands for its ".jsonl" */
    const char *transcripts; /* trials to be judged; NULL: converse */
    bool resume, overwrite;
    int threads;
} px_simulate_job;
/* Collective. Settings are sim.*, generate.* (of the arms), model.path, seed. Prints a summary on
 * rank 0. PX_BAD_INPUT: what is wrong in settings or inputs. PX_STOPPED: by a signal or
 * sim.max_usd; OUT.parts keeps what there is for `resume`. PX_RUN_FAILED: an endpoint left some
 * trials unfinished: the others are in OUT, and `resume` asks for the rest. */
PX_CHECKED px_err *px_simulate_all(const px_ranks *ranks, const px_config *config,
                                   const px_simulate_job *job);

#endif
