/* judge.c - answers become tasks, tasks become prompts that are answered as any others (shared out
 * among ranks, resumed), replies become scores. Rank 0 alone holds answers and tasks. What cannot
 * be used is asked once more, with the reason; then it is invalid. */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"

enum {
    REPLY_SHOWN = 4096, /* bytes of a bad reply that the repair's prompt repeats */
    FORM_TOKENS = 256   /* enough for keys, flags, and a quote byte by byte */
};

typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_judge_job *job;
    judge_setup setup;
    judged_list answers;
    judge_task *tasks;
    int32_t n_tasks, *first; /* first [answers.n + 1] */
    char **replies;          /* [n_tasks] heap: those that could not be used, in the first round */
    char **wrongs;           /* [n_tasks] heap: why */
    px_str dir;              /* OUT.parts */
} judging;

/* --- tasks --- */

static void add_tasks(judging *j, int32_t answer, bool pair) {
    for (int trait = 0; trait < JUDGE_TRAITS; trait++)
        for (int round = 0; j->setup.traits & 1u << trait && round < JUDGE_TRIES; round++)
            j->tasks[j->n_tasks++] = (judge_task){
                .answer = answer, .trait = (uint8_t)trait, .round = (uint8_t)round, .pair = pair};
}

static px_err *list_tasks(judging *j) {
    const int32_t n = j->answers.n;
    const int64_t most = (int64_t)n * JUDGE_TRAITS * JUDGE_TRIES * 2;
    if (most >= INT32_MAX) PX_FAIL(PX_BAD_INPUT, "%d answers are too many for a judge", (int)n);
    j->tasks = calloc((size_t)most + 1, sizeof *j->tasks);
    j->replies = calloc((size_t)most + 1, sizeof *j->replies);
    j->wrongs = calloc((size_t)most + 1, sizeof *j->wrongs);
    j->first = calloc((size_t)n + 1, sizeof *j->first);
    if (!j->tasks || !j->replies || !j->wrongs || !j->first) PX_NO_MEMORY();
    for (int32_t i = 0; i < n; i++) {
        const judged *a = &j->answers.items[i];
        j->first[i] = j->n_tasks;
        if (!a->text) continue;
        add_tasks(j, i, false);
        if (j->setup.pairwise && a->against >= 0 && j->answers.items[a->against].text)
            add_tasks(j, i, true);
    }
    j->first[n] = j->n_tasks;
    return NULL;
}

/* Rank 0. */
static px_err *prepare(judging *j) {
    const px_judge_job *job = j->job;
    int32_t n_against = 0;
    bool known = false;
    px_file_out try = {0};
    PX_PASS(setup_is_no_arm(&j->setup, job->answers, &known));
    if (!known)
        px_warn("%s.meta.json is not there: nothing tells whether the judge is one of the arms",
                job->answers);
    PX_PASS(answers_read(job->answers, job->trials, job->reference, &j->answers, &n_against));
    if (j->setup.pairwise && n_against == 0 && j->answers.n > 0)
        PX_FAIL(PX_BAD_INPUT,
                "%s: \"pairwise\" wants answers of two arms, one of them %s, to the same prompts "
                "(--reference names another)",
                job->setup, job->reference);
    PX_PASS(list_tasks(j));
    PX_PASS(px_file_out_open(job->out, &try)); /* known before anything is paid for */
    px_file_out_drop(&try);
    return px_dir_make(j->dir.data);
}

static void add_message(px_str *line, const char *role, const char *text) {
    px_str_format(line, "{\"role\":\"%s\",\"content\":", role);
    px_str_json(line, text, strlen(text));
    px_str_char(line, '}');
}

/* Is the task asked in this round? */
static bool is_asked(const judging *j, int32_t i, bool repair) {
    return !repair || j->wrongs[i] != NULL;
}

static px_err *task_line(const judging *j, int32_t i, bool repair, px_str *scratch, px_str *line) {
    const judge_task *t = &j->tasks[i];
    const judged *a = &j->answers.items[t->answer];
    px_str_clear(line);
    px_str_clear(scratch);
    task_write(t, a, a->against >= 0 ? &j->answers.items[a->against] : NULL, scratch);
    PX_PASS(px_str_ok(scratch));
    px_str_format(line, "{\"id\":\"%d%s\",\"messages\":[", (int)i, repair ? "-repair" : "");
    add_message(line, "user", scratch->data);
    if (repair) {
        px_str_clear(scratch);
        repair_write(t, j->wrongs[i], scratch);
        PX_PASS(px_str_ok(scratch));
        px_str_char(line, ',');
        add_message(line, "assistant", j->replies[i]);
        px_str_char(line, ',');
        add_message(line, "user", scratch->data);
    }
    px_str_char(line, ']');
    if (j->setup.by.model_path) PX_PASS(task_form_write(t, a->text, line));
    px_str_text(line, "}\n");
    return px_str_ok(line);
}

static px_err *write_tasks(const judging *j, bool repair, const char *path) {
    px_file_out file = {0};
    px_str line = {0}, scratch = {0};
    px_err *err = NULL;
    PX_PASS(px_file_out_open(path, &file));
    for (int32_t i = 0; i < j->n_tasks; i++) {
        if (!is_asked(j, i, repair)) continue;
        PX_PASS_TO(done, task_line(j, i, repair, &scratch, &line));
        fwrite(line.data, 1, line.size, file.stream);
    }
    err = px_file_out_commit(&file);
done:
    px_file_out_drop(&file);
    px_str_free(&line);
    px_str_free(&scratch);
    return err;
}

/* --- replies --- */

static px_err *take_reply(judging *j, int32_t i, bool repair, const cJSON *json) {
    judge_task *t = &j->tasks[i];
    const char *text = px_json_find_text(json, "text"), *failed = px_json_find_text(json, "error");
    char wrong[WRONG_SIZE] = "";
    t->repaired = repair;
    if (failed || !text) {
        px_debug("task %d: %s", (int)i, failed ? failed : "no text");
        t->state = TASK_ERROR;
        return NULL;
    }
    reply_take(text, j->answers.items[t->answer].text, t, wrong);
    if (t->state == TASK_GOOD) return NULL;
    t->state = TASK_INVALID; /* unless the repair mends it */
    if (repair) return NULL;
    j->replies[i] = *text ? strndup(text, REPLY_SHOWN) : strdup("(nothing)");
    j->wrongs[i] = strdup(wrong);
    if (!j->replies[i] || !j->wrongs[i]) PX_NO_MEMORY();
    return NULL;
}

/* They stand in the order of the tasks. */
static px_err *read_replies(judging *j, bool repair, const char *path) {
    px_lines *lines = NULL;
    px_err *err = NULL;
    PX_PASS(px_lines_open(path, &lines));
    for (int32_t i = 0; i < j->n_tasks; i++) {
        const char *text = NULL;
        size_t size = 0;
        int64_t line = 0;
        cJSON *json = NULL;
        if (!is_asked(j, i, repair)) continue;
        PX_PASS_TO(done, px_lines_next(lines, &text, &size, &line));
        if (!text)
            PX_FAIL_TO(done, PX_RUN_FAILED, "%s: ends early; remove it, it is made again", path);
        PX_TRY_TO(done, px_json_parse_said(text, size, &json, NULL), "%s line %lld", path,
                  (long long)line);
        err = take_reply(j, i, repair, json);
        cJSON_Delete(json);
        if (err) goto done;
    }
done:
    px_lines_close(lines);
    return err;
}

/* DIR/NAME-KEY.jsonl, KEY of the tasks and of who answers them: replies of another judge, or to
 * other answers, are never taken for these. */
static px_err *replies_path(const judging *j, const char *tasks, const char *name, px_str *out) {
    px_digest digest;
    px_str who = {0};
    px_sha *sha = NULL;
    PX_PASS(px_sha_file(tasks, &digest));
    px_json_print(j->setup.json, &who);
    px_err *err = px_str_ok(&who);
    if (!err) err = px_sha_new(&sha);
    if (!err) {
        px_sha_text(sha, digest.hex);
        px_sha_text(sha, who.data);
        err = px_sha_end(sha, &digest);
    }
    if (!err) px_str_format(out, "%s/%s-%.16s.jsonl", j->dir.data, name, digest.hex);
    px_str_free(&who);
    return err ? err : px_str_ok(out);
}

/* Collective. One round: the first, or the repairs. */
static px_err *round_all(judging *j, bool repair) {
    const char *name = repair ? "repairs" : "replies";
    px_config config = *j->config;
    px_str tasks = {0}, replies = {0};
    int64_t n = 0, there = 0;
    px_err *err = NULL;
    config.generate_repetition_penalty = 1;
    config.generate_no_repeat_ngram = 0;
    config.generate_ignore_eos = false;
    config.generate_top_k = 0;
    config.generate_top_p = 1;
    config.generate_min_p = 0;
    px_str_format(&tasks, "%s/%s.tasks.jsonl", j->dir.data, name);
    err = px_str_ok(&tasks);
    for (int32_t i = 0; i < j->n_tasks; i++) n += is_asked(j, i, repair);
    if (!err && n > 0) err = write_tasks(j, repair, tasks.data);
    if (!err && n > 0) err = replies_path(j, tasks.data, name, &replies);
    if (!err && n > 0) there = px_path_exists(replies.data);
    PX_PASS_TO(done, px_agree_all(j->ranks, err));
    px_bcast_all(j->ranks, &n, sizeof n, 0);
    px_bcast_all(j->ranks, &there, sizeof there, 0);
    if (n == 0) goto done;
    int64_t size = (int64_t)replies.size; /* rank 0 alone made the key */
    px_bcast_all(j->ranks, &size, sizeof size, 0);
    if (j->ranks->rank > 0)
        for (int64_t i = 0; i < size; i++) px_str_char(&replies, ' ');
    PX_PASS_TO(done, px_agree_all(j->ranks, px_str_ok(&replies)));
    px_bcast_all(j->ranks, replies.data, (size_t)size, 0);
    /* a local model's reply ends with its form: room costs nothing, and it must be there */
    const int64_t most = j->setup.max_tokens + (j->setup.by.model_path ? FORM_TOKENS : 0);
    const px_answer_tasks ask = {.tasks_path = tasks.data,
                                 .out_path = replies.data,
                                 .tokens_most = most,
                                 .threads = j->job->threads};
    if (!there) PX_PASS_TO(done, px_answer_tasks_all(j->ranks, &config, &j->setup.by, &ask));
    if (j->ranks->rank == 0) err = read_replies(j, repair, replies.data);
    err = px_agree_all(j->ranks, err);
done:
    px_str_free(&tasks);
    px_str_free(&replies);
    return err;
}

/* --- the end --- */

static px_err *write_result(const judging *j, px_str *table, px_str *summary) {
    const char *name = j->setup.by.model_path;
    judge_result result = {.answers = &j->answers,
                           .setup = &j->setup,
                           .tasks = j->tasks,
                           .n_tasks = j->n_tasks,
                           .first = j->first,
                           .reference = j->job->reference,
                           .name = name ? name : px_json_find_text(j->setup.by.endpoint, "model")};
    px_file_out file = {0};
    px_str line = {0};
    judge_mean *means = NULL;
    px_err *err = NULL;
    PX_PASS(px_file_out_open(j->job->out, &file));
    means = calloc(((size_t)j->answers.n_arms + 1) * JUDGE_TRAITS, sizeof *means);
    if (!means) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    result.means = means;
    result.samples = j->job->bootstrap;
    PX_PASS_TO(done, result_means(&result, j->job->seed, &result.samples, means));
    for (int32_t i = 0; i < j->answers.n; i++) {
        px_str_clear(&line);
        result_line(&result, i, &line);
        PX_PASS_TO(done, px_str_ok(&line));
        fwrite(line.data, 1, line.size, file.stream);
    }
    PX_PASS_TO(done, result_table(&result, table));
    PX_PASS_TO(done, result_json(&result, summary));
    PX_PASS_TO(done, px_file_out_commit(&file));
    err = px_dir_remove(j->dir.data);
done:
    free(means);
    px_file_out_drop(&file);
    px_str_free(&line);
    return err;
}

px_err *px_judge_all(const px_ranks *ranks, const px_config *config, const px_judge_job *job,
                     px_str *table, px_str *summary) {
    judging j = {.ranks = ranks, .config = config, .job = job};
    px_str_format(&j.dir, "%s.parts", job->out);
    px_err *err = px_str_ok(&j.dir);
    if (!err) err = setup_read(job->setup, &j.setup);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    PX_PASS_TO(done, px_agree_all(ranks, ranks->rank == 0 ? prepare(&j) : NULL));
    PX_PASS_TO(done, px_agree_all(ranks, px_fault(ranks, "judge")));
    PX_PASS_TO(done, round_all(&j, false));
    PX_PASS_TO(done, round_all(&j, true));
    err = px_agree_all(ranks, ranks->rank == 0 ? write_result(&j, table, summary) : NULL);
done:
    for (int32_t i = 0; i < j.n_tasks; i++) {
        free(j.replies[i]);
        free(j.wrongs[i]);
    }
    free(j.replies);
    free(j.wrongs);
    free(j.tasks);
    free(j.first);
    answers_free(&j.answers);
    setup_free(&j.setup);
    px_str_free(&j.dir);
    return err;
}
