/* answer_internal.h - what the files of this module share. */
#ifndef PX_ANSWER_INTERNAL_H
#define PX_ANSWER_INTERNAL_H

#include "answer.h"
#include "net.h"

/* --- prompts.c --- */
typedef struct {
    const char *id, *user_id; /* user_id NULL: nobody */
    const char *head;         /* the prompt's line without its closing brace */
    const px_message *messages;
    int n_messages;
    int64_t line;
    const px_form *form; /* NULL: free */
} prompt;
typedef struct {
    prompt *items;
    int64_t n;
    px_arena *arena;
    px_digest sha256; /* of the file */
} prompt_list;
/* forms: a prompt's "form" becomes its form and is no part of its head. PX_BAD_INPUT: file, line
 * and key of what is wrong; an id that stands there twice. */
PX_CHECKED px_err *prompts_read(const char *path, bool forms, prompt_list *out);
void prompts_free(prompt_list *list);

/* --- form.c --- */
/* What px_answer_form_write wrote; *out lives in the arena. */
PX_CHECKED px_err *form_read(const cJSON *json, const char *where, px_arena *arena,
                             const px_form **out);

/* --- parts.c: OUT.parts/rank-0000.jsonl …, one line {"item":N,"answer":{…}} for each answer --- */
typedef struct {
    char *dir;     /* OUT.parts */
    FILE *mine;    /* this rank's, NULL when closed */
    uint8_t *done; /* [n] items that are finished in some part */
    int64_t n, n_done;
    bool finished; /* OUT holds these very answers: there is nothing to do */
} part_files;
/* Collective. `job`: what the answers depend on. Parts of another job are refused; removed with
 * `overwrite` or, in a job of our own making, `quiet`. */
PX_CHECKED px_err *parts_open_all(const px_ranks *ranks, const px_answer_job *how, const char *job,
                                  int64_t n, part_files *out);
PX_CHECKED px_err *parts_add(part_files *parts, int64_t item, const px_str *answer);
/* Rank 0 alone, all parts closed: writes out_path in the items' order, then removes the parts. */
PX_CHECKED px_err *parts_merge(const part_files *parts, const char *out_path);
PX_CHECKED px_err *parts_close(part_files *parts);
void parts_free(part_files *parts);

/* --- people.c: what prompted arms tell --- */
typedef enum { CONTEXT_NONE, CONTEXT_DEMOGRAPHICS, CONTEXT_SUMMARY } context_kind;
enum { PERSON_CHOICES = 10 };
typedef struct {
    const char *id;
    const char *demographics; /* lines; NULL: not in the survey */
    const char *words;        /* self-description, wishes, stated preferences: lines */
    const char *choices[PERSON_CHOICES];
    int n_choices;
    const char *summary;  /* written by a model; NULL: none */
    px_profile_cost cost; /* of the summary */
} person;
typedef struct {
    person *items;
    int32_t n;
    px_map by_id;
    px_digest sha256; /* of all that is told of them, summaries left out */
    px_arena *arena;
} person_list;
/* The people of the prompts. With `choices`, up to PERSON_CHOICES of what each chose in the
 * corpus's training conversations (corpus_path NULL: none), from utterances.jsonl. */
PX_CHECKED px_err *people_read(const char *data_dir, const char *corpus_path,
                               const prompt_list *prompts, bool choices, person_list *out);
void people_free(person_list *list);
/* NULL: nobody of that id. */
const person *people_find(const person_list *list, const char *id);

/* --- arms --- */
typedef struct {
    const char *name; /* NULL: the only one, without a name */
    const char *model_path, *run_dir;
    int64_t step;
    px_arm_user user;
    context_kind context;
    const cJSON *endpoint; /* or NULL */
    const char *slot;      /* in trials; NULL: its name */
} answer_arm;
/* An answer that is wanted. In the order of the result: prompt, arm, sample. */
typedef struct {
    int32_t prompt, arm, sample;
} answer_item;

/* --- context.c --- */
/* The system message about a person; *out NULL where there is nothing to say. */
PX_CHECKED px_err *context_text(const person *p, context_kind kind, px_arena *arena,
                                const char **out);
typedef struct {
    const char *cache_dir, *identity; /* identity: of the model that writes */
    const answer_arm *arm;
} summary_writer;
/* Collective. Gives every person of the survey a summary, from the cache or newly written. */
PX_CHECKED px_err *summaries_all(const px_ranks *ranks, const px_config *config,
                                 const summary_writer *writer, int threads, person_list *people);

/* --- arms.c --- */
typedef struct {
    answer_arm *arms;
    int32_t n;
    bool needs_people, needs_summaries, has_writer;
    summary_writer writer;
    answer_arm summary_arm;
    cJSON *json; /* texts of the arms are borrowed from it */
} arm_file;
/* PX_BAD_INPUT: file, place and key of what is wrong. */
PX_CHECKED px_err *arms_read(const char *path, const px_answer_job *job, arm_file *out);
void arms_free(arm_file *file);

/* --- identity.c --- */
/* Appends what arm `arm`'s weights are, "weights_sha256": "…", or of a run "params_sha256": "…",
 * each with a comma after it; nothing for an endpoint, and on other ranks than 0, whose job text is
 * not looked at. Reads the weights once. */
PX_CHECKED px_err *arm_identity(const px_ranks *ranks, const answer_arm *arms, int32_t arm,
                                px_str *out);
/* The digest itself; *is_new false: an earlier arm shares the weights, *out is untouched. */
PX_CHECKED px_err *arm_digest(const answer_arm *arms, int32_t arm, bool *is_new, px_digest *out);
/* The first arm with the same weights. */
int32_t arm_first_alike(const answer_arm *arms, int32_t arm);

/* --- local.c: one arm answered by the engine; remote.c: by an endpoint --- */
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_answer_job *job;
    const prompt_list *prompts;
    const person_list *people; /* NULL: no arm tells of people */
    const answer_arm *arms;
    const answer_item *items;
    int64_t n_items;
    part_files *parts;
    const px_asking *how; /* NULL: answers go to parts; else to its sink */
} answering;
/* What an arm's answers took: sums over this rank's. */
typedef struct {
    int64_t n_answers, n_failed, n_generic; /* n_generic: people without soft tokens of their own */
    int64_t n_untold;                       /* prompts whose person the survey does not know */
    int64_t context_tokens, prompt_tokens, new_tokens, shared_tokens, n_stop;
    int64_t n_cached; /* of an endpoint's: nothing was asked */
    int64_t n_calls;  /* HTTP requests */
    double usd;
} arm_sums;
/* Collective. Answers the items [0, n_mine) of `mine`, which are not done yet. */
PX_CHECKED px_err *arm_local_all(const answering *a, int32_t arm, const int64_t *mine,
                                 int64_t n_mine, arm_sums *sums);
PX_CHECKED px_err *arm_remote_all(const answering *a, int32_t arm, const int64_t *mine,
                                  int64_t n_mine, arm_sums *sums);
/* Taken from the counter so often that everybody's next look finds nothing left. */
#define COUNTER_STOP ((int64_t)1 << 48)
/* Where finished answers are kept, and how one goes on with what was interrupted: "--resume", or
 * "the same command" in a job of our own making. */
const char *answer_kept(const answering *a);
const char *answer_again(const answering *a);
/* An item's line, to where lines go. */
PX_CHECKED px_err *answer_add(const answering *a, int64_t item, px_ask_end end, const px_str *line);
/* The prompt's keys and the arm's, the beginning of an answer's line. */
void answer_head(const answering *a, const answer_item *item, px_str *out);
/* Appends ,"seconds":… where it is known. It is never the same twice: for sinks of asks alone, not
 * for files that are compared. */
void answer_seconds(double seconds, px_str *out);
/* A line without an answer, with the reason. */
PX_CHECKED px_err *answer_refuse(const answering *a, int64_t item, px_ask_end end, const char *why);
/* The prompt's messages with what the arm tells of its person in the system message; *context: that
 * text alone, or NULL. All in the arena. */
PX_CHECKED px_err *answer_messages(const answering *a, const answer_item *item, px_arena *arena,
                                   const px_message **messages, int *n, const char **context);
/* Appends a JSON list of what the arms' answers depend on. */
PX_CHECKED px_err *arms_describe(const px_ranks *ranks, const answer_arm *arms, int32_t n,
                                 px_str *out);

/* --- answer.c --- */
/* Collective. px_answer_all with arms and people given; people NULL: no arm tells of them. */
PX_CHECKED px_err *answer_with_arms_all(const px_ranks *ranks, const px_config *config,
                                        const px_answer_job *job, const answer_arm *arms,
                                        int32_t n_arms, const person_list *people);

#endif
