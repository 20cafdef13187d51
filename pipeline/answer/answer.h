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
    bool forms;                    /* a prompt may have a "form", see px_answer_tasks */
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
/* Adds "form": […] to a task's line: what a local model is held to in its answer. An endpoint is
 * not. */
void px_answer_form_write(const px_form *form, px_str *out);
/* Collective. One greedy answer to each task, with nothing on stdout; decoding otherwise by config.
 * Goes on with an interrupted run of the same tasks; out_path must not be there. */
PX_CHECKED px_err *px_answer_tasks_all(const px_ranks *ranks, const px_config *config,
                                       const px_answerer *by, const px_answer_tasks *tasks);

/* --- asks: single requests of many conversations that go on at the same time --- */
typedef struct px_arms px_arms;
typedef struct {
    const char *arms_path;                           /* arms.json, or NULL: `by` alone */
    px_answerer by;                                  /* name, and a model or an endpoint */
    const char *model_path, *data_dir, *corpus_path; /* as in px_answer_job */
    const char *const *people;                       /* [n_people] ids that arms may tell of */
    int32_t n_people;
    const char *cache_dir; /* of endpoints that name none, or NULL */
    bool priced;           /* an endpoint without prices is an error */
    int threads;
} px_arms_setup;
/* Collective. Reads the arms, what they tell of people (summaries are written where they are
 * missing), and hashes weights. PX_BAD_INPUT: file, place and key of what is wrong. */
PX_CHECKED px_err *px_arms_open_all(const px_ranks *ranks, const px_config *config,
                                    const px_arms_setup *setup, px_arms **out);
void px_arms_close(px_arms *arms);
typedef struct {
    const char *name, *slot, *variant; /* slot: arms of one slot stand in for one another; variant
                                        * NULL: an arm alone in its slot */
    const char *sha256;                /* of weights or trained parameters, on rank 0; NULL: none */
    bool remote;
} px_arm_about;
int32_t px_arms_n(const px_arms *arms);
/* What it took to write the profile of a person that the arm tells, once for all conversations;
 * NaN: not known. false: the arm tells none that a model wrote. */
typedef struct {
    double prompt_tokens, new_tokens, seconds, usd;
} px_profile_cost;
bool px_arms_profile(const px_arms *arms, int32_t arm, const char *user_id, px_profile_cost *out);
px_arm_about px_arms_about(const px_arms *arms, int32_t arm);
/* Appends what answers of all arms depend on, a JSON list; on rank 0. */
void px_arms_describe(const px_arms *arms, px_str *out);

typedef struct {
    const char *id;      /* of random numbers; no two alike in one px_ask_all */
    const char *user_id; /* or NULL: nobody */
    int32_t arm;
    const px_message *messages; /* the last one a user's */
    int n_messages;
    const px_form *form; /* or NULL; holds local models alone. The same pointer, the same form */
} px_ask;
/* REFUSED: never will be, such as a prompt without room for an answer; FAILED: by an endpoint. */
typedef enum { PX_ASK_ANSWERED, PX_ASK_REFUSED, PX_ASK_FAILED } px_ask_end;
/* On the rank that asked: a line as of px_answer_all without the prompt's keys, or the reason. Of
 * an answer that was not cached also "seconds": its part of the engine's time, or from an
 * endpoint's first try to its answer. */
typedef px_err *px_ask_sink(void *context, int64_t ask, px_ask_end end, const px_str *line);
typedef struct {
    px_ask_sink *sink;
    void *context;
    double usd_most;             /* for all endpoints of the arms together, from now; 0: no limit */
    const char *name;            /* of this work, for messages */
    const char *kept_in, *go_on; /* where finished answers are; how an interrupted job goes on */
    int threads;
} px_asking;
/* Collective, all ranks with the same asks. Each goes to one rank, once; decoding by config.
 * PX_STOPPED: by a signal or a budget. */
PX_CHECKED px_err *px_ask_all(const px_ranks *ranks, const px_config *config, px_arms *arms,
                              const px_ask *asks, int64_t n, const px_asking *how);

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
