/* answer_internal.h - what the files of this module share. */
#ifndef PX_ANSWER_INTERNAL_H
#define PX_ANSWER_INTERNAL_H

#include "answer.h"

/* --- prompts.c --- */
typedef struct {
    const char *id, *user_id; /* user_id NULL: nobody */
    const char *head;         /* the prompt's line without its closing brace */
    px_message *messages;
    int n_messages;
    int64_t line;
} prompt;
typedef struct {
    prompt *items;
    int64_t n;
    px_arena *arena;
    px_digest sha256; /* of the file */
} prompt_list;
/* PX_BAD_INPUT: file, line and key of what is wrong; an id that stands there twice. */
PX_CHECKED px_err *prompts_read(const char *path, prompt_list *out);
void prompts_free(prompt_list *list);

/* --- parts.c: OUT.parts/rank-0000.jsonl …, one line {"item":N,"answer":{…}} for each answer --- */
typedef struct {
    char *dir;     /* OUT.parts */
    FILE *mine;    /* this rank's, NULL when closed */
    uint8_t *done; /* [n] items that are finished in some part */
    int64_t n, n_done;
} part_files;
/* Collective. `job`: what the answers depend on; parts of another job are refused, or removed with
 * `overwrite`. */
PX_CHECKED px_err *parts_open_all(const px_ranks *ranks, const char *out_path, const char *job,
                                  bool resume, bool overwrite, int64_t n, part_files *out);
PX_CHECKED px_err *parts_add(part_files *parts, int64_t item, const px_str *answer);
/* Rank 0 alone, all parts closed: writes out_path in the items' order, then removes the parts. */
PX_CHECKED px_err *parts_merge(const part_files *parts, const char *out_path);
PX_CHECKED px_err *parts_close(part_files *parts);
void parts_free(part_files *parts);

/* --- arms --- */
typedef struct {
    const char *name; /* NULL: the only one, without a name */
    const char *model_path, *run_dir;
    int64_t step;
    px_arm_user user;
} answer_arm;
/* An answer that is wanted. In the order of the result: prompt, arm, sample. */
typedef struct {
    int32_t prompt, arm, sample;
} answer_item;

/* --- local.c: one arm answered by the engine --- */
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_answer_job *job;
    const prompt_list *prompts;
    const answer_arm *arms;
    const answer_item *items;
    int64_t n_items;
    part_files *parts;
} answering;
/* What an arm's answers took: sums over this rank's. */
typedef struct {
    int64_t n_answers, n_failed, n_generic; /* n_generic: people without soft tokens of their own */
    int64_t context_tokens, prompt_tokens, new_tokens, shared_tokens, n_stop;
    double engine_s;
} arm_sums;
/* Collective. Answers the items [0, n_mine) of `mine` that are not done yet. */
PX_CHECKED px_err *arm_local_all(const answering *a, int32_t arm, const int64_t *mine,
                                 int64_t n_mine, arm_sums *sums);

#endif
