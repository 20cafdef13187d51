/* answer.h - many prompts answered by one or several arms, shared out among ranks one by one. Each
 * finished answer goes to the rank's own file in OUT.parts at once, so that an interrupted run goes
 * on where it stood; at the end the answers stand in OUT in the order of the prompts. */
#ifndef PX_ANSWER_H
#define PX_ANSWER_H

#include "engine.h"
#include "json.h"

/* Whose soft tokens stand before the prompt. */
typedef enum { PX_ARM_OWN, PX_ARM_GENERIC, PX_ARM_NONE } px_arm_user;

typedef struct {
    const char *prompts_path, *out_path;
    const char *model_path, *run_dir; /* as in px_engine_setup */
    int64_t step;
    px_arm_user user;
    const char *const *stops; /* texts that end an answer; they are not part of it */
    int n_stops;
    const char *arms_path;         /* arms.json, or NULL: one arm without a name */
    const char *data_dir;          /* PRISM folder, for arms that tell a model about people */
    const char *corpus_path;       /* whose training conversations summaries may draw on, or NULL */
    bool resume, overwrite, quiet; /* quiet: no summary on stdout */
    int threads;
} px_answer_job;
/* Collective. Answers, writes out_path and out_path.meta.json, prints a summary on rank 0.
 * `config`: for a run its own with the given keys over it. PX_STOPPED: by a signal, with what is
 * finished kept for `resume`. */
PX_CHECKED px_err *px_answer_all(const px_ranks *ranks, const px_config *config,
                                 const px_answer_job *job);

/* A model or an endpoint (docs/endpoints.md), one of them, that answers tasks of our own making. */
typedef struct {
    const char *name, *model_path;
    const cJSON *endpoint;
} px_answerer;
typedef struct {
    const char *tasks_path, *out_path; /* prompts, and their answers in the same order */
    int64_t tokens_least, tokens_most;
    int threads;
} px_answer_tasks;
/* Collective. One greedy answer to each task, with nothing on stdout; decoding otherwise by config.
 * Goes on with an interrupted run of the same tasks; out_path must not be there. */
PX_CHECKED px_err *px_answer_tasks_all(const px_ranks *ranks, const px_config *config,
                                       const px_answerer *by, const px_answer_tasks *tasks);

/* Prompts from the data: how people opened the conversations of some splits. */
typedef struct {
    const char *data_dir, *corpus_path, *out_path;
    uint32_t splits; /* bits 1 << px_split */
    int64_t limit;   /* 0: all */
} px_heldout;
/* Writes p.jsonl (id: the conversation's, user_id, split, domain), atomically. Everybody's first
 * conversation comes before anybody's second. */
PX_CHECKED px_err *px_heldout_write(const px_heldout *job, int64_t *n_written);

#endif
