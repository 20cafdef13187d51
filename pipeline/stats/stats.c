/* stats.c - the way of prismx stats: every rank reads the trials; the cheap analyses, which the
 * bootstrap needs, run everywhere; the costly ones are shared out, a task a rank, and their rows
 * go to rank 0 in the order of the tasks; rank 0 adjusts and writes. */
#include <gsl/gsl_errno.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

const char *px_study_arm(const px_study *study, int32_t order) {
    return study->trials->arms.at[study->arms[order]];
}

int32_t px_study_find(const px_study *study, const char *name) {
    for (int32_t i = 0; i < study->n_arms; i++)
        if (!strcmp(px_study_arm(study, i), name)) return i;
    return -1;
}

/* --- the study --- */

static int by_name(const void *a, const void *b, void *names) {
    const px_names *n = names;
    return strcmp(n->at[*(const int32_t *)a], n->at[*(const int32_t *)b]);
}

static px_err *ordered(const px_names *names, int32_t **list, int32_t **order) {
    *list = malloc(((size_t)names->n + 1) * sizeof **list);
    *order = malloc(((size_t)names->n + 1) * sizeof **order);
    if (!*list || !*order) PX_NO_MEMORY();
    for (int32_t i = 0; i < names->n; i++) (*list)[i] = i;
    qsort_r(*list, (size_t)names->n, sizeof **list, by_name, (void *)(uintptr_t)names);
    for (int32_t i = 0; i < names->n; i++) (*order)[(*list)[i]] = i;
    return NULL;
}

static void study_free(px_study *study) {
    free(study->arms);
    free(study->arm_order);
    free(study->domains);
    free(study->domain_order);
}

static px_err *reference_find(px_study *study) {
    const char *asked = study->job->reference, *name = asked ? asked : "base";
    int32_t at = px_study_find(study, name);
    if (at < 0 && asked) {
        px_str known = {0};
        for (int32_t i = 0; i < study->n_arms && i < 20; i++)
            px_str_format(&known, "%s%s", i ? ", " : "", px_study_arm(study, i));
        px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                                 "--reference %s: no trial has this arm; there are %s", asked,
                                 known.data ? known.data : "none");
        px_str_free(&known);
        return err;
    }
    if (at < 0 && study->n_arms) {
        at = 0;
        px_warn("no arm base: %s is the reference (--reference)", px_study_arm(study, 0));
    }
    if (at > 0) { /* to the front */
        int32_t arm = study->arms[at];
        memmove(study->arms + 1, study->arms, (size_t)at * sizeof *study->arms);
        study->arms[0] = arm;
    }
    for (int32_t i = 0; i < study->n_arms; i++) study->arm_order[study->arms[i]] = i;
    study->reference = study->n_arms ? study->arms[0] : -1;
    return NULL;
}

static px_err *study_new(const px_trials *trials, const px_stats_job *job, px_study *out) {
    *out = (px_study){.trials = trials,
                      .job = job,
                      .n_arms = trials->arms.n,
                      .n_domains = trials->domains.n,
                      .n_people = trials->persons.n};
    PX_PASS(ordered(&trials->arms, &out->arms, &out->arm_order));
    PX_PASS(ordered(&trials->domains, &out->domains, &out->domain_order));
    return reference_find(out);
}

/* --- tasks --- */

typedef enum {
    TASK_ORDINAL,
    TASK_RANK_LENGTH,
    TASK_PAIR_LENGTH,
    TASK_LMM,
    TASK_LMM_DOMAIN,
    TASK_LMM_VARIANT,
    TASK_TOBIT,
    TASK_FEEDBACK,
    TASK_TRAITS,
    TASK_DESCRIBE,
    TASKS
} task_kind;

static const int task_parts[TASKS] = {4, 2, 2, 4, 4, 4, 1, 1, 1, 3}; /* outcomes of each */

static px_err *task_do(const px_study *study, task_kind kind, px_trial_source source, int part,
                       px_table *table) {
    bool once = source == PX_SOURCE_HUMAN; /* over all sources together */
    switch (kind) {
    case TASK_ORDINAL:
        return px_ordinal_rows(study, source, part, table);
    case TASK_RANK_LENGTH:
        return px_rank_length_rows(study, source, (px_question)part, table);
    case TASK_PAIR_LENGTH:
        return px_pair_length_rows(study, source, (px_question)part, table);
    case TASK_LMM:
    case TASK_LMM_DOMAIN:
    case TASK_LMM_VARIANT:
        return px_lmm_rows(study, source, part, (int)kind - TASK_LMM, table);
    case TASK_TOBIT:
        return px_tobit_rows(study, source, table);
    case TASK_FEEDBACK:
        return once ? px_feedback_rows(study, table) : NULL;
    case TASK_DESCRIBE:
        return px_describe_rows(study, (int)source, part, table);
    default:
        return once && study->job->traits ? px_traits_rows(study, table) : NULL;
    }
}

/* Collective. The rows of all tasks on rank 0, in order. */
static px_err *tasks_all(const px_ranks *ranks, const px_study *study, px_table *out) {
    px_table mine = {0};
    px_bytes all = {0};
    px_err *err = NULL;
    int32_t task = 0;
    int64_t *sizes = calloc((size_t)ranks->size, sizeof *sizes);
    if (!sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    for (int k = 0; k < TASKS; k++)
        for (int s = 0; s < PX_SOURCES; s++)
            for (int part = 0; part < task_parts[k]; part++, task++) {
                int64_t from = mine.n;
                if (err || task % ranks->size != ranks->rank) continue;
                err = task_do(study, (task_kind)k, (px_trial_source)s, part, &mine);
                for (int64_t i = from; i < mine.n; i++) mine.at[i].pad = task;
            }
    if (!err && mine.failed) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(ranks, err));
    PX_PASS_TO(done,
               px_gather_bytes_all(ranks, mine.at, (size_t)mine.n * sizeof *mine.at, &all, sizes));
    const int64_t n = (int64_t)(all.size / sizeof(px_row));
    for (int32_t t = 0; ranks->rank == 0 && t < task; t++)
        for (int64_t i = 0; i < n; i++) {
            px_row row;
            memcpy(&row, all.data + (size_t)i * sizeof row, sizeof row);
            if (row.pad != t) continue;
            px_row *to = px_table_add(out, &(px_about){.outcome = "", .model = ""}, "");
            row.pad = 0;
            if (to) *to = row;
        }
done:
    free(sizes);
    px_bytes_free(&all);
    px_table_free(&mine);
    return err;
}

/* Collective. Shares, worths and agreement of each source, with their intervals. */
static px_err *sources_all(const px_ranks *ranks, const px_study *study, px_table *table) {
    for (int s = 0; s < PX_SOURCES; s++) {
        px_boot boot;
        px_err *err = px_boot_new(study, s, &boot);
        if (!err && boot.n_people) err = px_shares_rows(study, &boot, table);
        if (!err && boot.n_people) err = px_rank_rows(study, &boot, table);
        if (!err && boot.n_people) err = px_agree_rows(study, &boot, table);
        err = px_agree_all(ranks, err);
        if (!err && boot.n_people) err = px_boot_run_all(ranks, study->job, &boot, table);
        px_boot_free(&boot);
        if (err) return err;
    }
    return NULL;
}

/* --- files --- */

/* stats.tsv -> stats.json; heap. */
static char *json_path(const char *out) {
    const size_t n = strlen(out);
    const bool ends = n > 4 && !strcmp(out + n - 4, ".tsv");
    px_str path = {0};
    px_str_add(&path, out, ends ? n - 4 : n);
    px_str_text(&path, ".json");
    return path.data;
}

static px_err *input_add(px_str *out, const char *kind, const char *path) {
    px_digest digest;
    PX_PASS(px_sha_file(path, &digest));
    px_str_format(out, "%s{\"%s\":", out->data[out->size - 1] == '[' ? "" : ",", kind);
    px_str_json(out, path, strlen(path));
    px_str_format(out, ",\"sha256\":\"%s\"}", digest.hex);
    return NULL;
}

/* The costs beside trials, where they are. */
static px_err *costs_add(px_str *out, const char *trials) {
    px_str path = {0};
    px_err *err = px_trials_cost_path(trials, &path);
    if (!err && px_path_exists(path.data)) err = input_add(out, "costs", path.data);
    px_str_free(&path);
    return err;
}

/* What answered for an arm, by its hash: {"arm", "sha256"}, each pair once, arms in their order. */
static px_err *runs_put(const px_study *study, px_str *out) {
    const px_trials *trials = study->trials;
    const size_t n = (size_t)study->n_arms * (size_t)trials->runs.n;
    bool *met = calloc(n + 1, sizeof *met), comma = false;
    if (!met) PX_NO_MEMORY();
    for (int64_t t = 0; t < trials->n; t++)
        for (int s = 0; s < trials->at[t].n_slots; s++) {
            const px_trial_slot *slot = &trials->at[t].slots[s];
            if (slot->run < 0) continue;
            met[(size_t)study->arm_order[slot->arm] * (size_t)trials->runs.n + (size_t)slot->run] =
                true;
        }
    for (size_t i = 0; i < n; i++) {
        if (!met[i]) continue;
        const char *arm = px_study_arm(study, (int32_t)(i / (size_t)trials->runs.n));
        const char *sha = trials->runs.at[i % (size_t)trials->runs.n];
        px_str_text(out, comma ? ",{\"arm\":" : "{\"arm\":");
        px_str_json(out, arm, strlen(arm));
        px_str_text(out, ",\"sha256\":");
        px_str_json(out, sha, strlen(sha));
        px_str_char(out, '}');
        comma = true;
    }
    free(met);
    return NULL;
}

static px_err *json_head(const px_study *study, const px_offline_files *evals, px_str *out) {
    static const char *const odd[PX_ODDS] = {"unknown_keys", "invalid_rankings", "invalid_values",
                                             "nul_in_texts", "answers_of_nobody"};
    const px_stats_job *job = study->job;
    int64_t by_source[PX_SOURCES] = {0};
    px_str_text(out, "{\"format\":1,\"inputs\":[");
    for (int i = 0; i < job->n_trials; i++) PX_PASS(input_add(out, "trials", job->trials[i]));
    for (int i = 0; i < job->n_trials; i++) PX_PASS(costs_add(out, job->trials[i]));
    if (job->traits) PX_PASS(input_add(out, "traits", job->traits));
    for (int i = 0; i < evals->n; i++) PX_PASS(input_add(out, "eval", evals->paths[i]));
    px_str_format(out, "],\"seed\":%llu,\"bootstrap\":%lld,\"arms\":[",
                  (unsigned long long)job->seed, (long long)job->bootstrap);
    for (int32_t i = 0; i < study->n_arms; i++) {
        if (i) px_str_char(out, ',');
        px_str_json(out, px_study_arm(study, i), strlen(px_study_arm(study, i)));
    }
    for (int64_t t = 0; t < study->trials->n; t++) by_source[study->trials->at[t].source]++;
    px_str_text(out, "],\"runs\":[");
    PX_PASS(runs_put(study, out));
    px_str_format(out, "],\"people\":%d,\"trials\":{", study->n_people);
    for (int s = 0; s < PX_SOURCES; s++)
        px_str_format(out, "%s\"%s\":%lld", s ? "," : "", px_source_names[s],
                      (long long)by_source[s]);
    px_str_text(out, "},\"left_out\":{");
    for (int i = 0; i < PX_ODDS; i++)
        px_str_format(out, "%s\"%s\":%lld", i ? "," : "", odd[i], (long long)study->trials->odd[i]);
    px_str_text(out, "},\"topics\":{");
    return NULL;
}

static px_err *files_write(const px_study *study, const px_offline_files *evals,
                           const px_table *table, const px_str *topics) {
    px_file_out tsv = {0};
    px_str json = {0};
    char *path = json_path(study->job->out);
    px_err *err = NULL;
    if (!path) PX_NO_MEMORY();
    PX_PASS_TO(done, json_head(study, evals, &json));
    px_str_add(&json, topics->data ? topics->data : "", topics->size);
    px_str_text(&json, "},\"rows\":[\n");
    for (int64_t i = 0; i < table->n; i++) {
        px_row_json(&table->at[i], &json);
        px_str_text(&json, i + 1 < table->n ? ",\n" : "\n");
    }
    px_str_text(&json, "]}\n");
    PX_PASS_TO(done, px_str_ok(&json));
    PX_PASS_TO(done, px_file_out_open(study->job->out, &tsv));
    PX_PASS_TO(done, px_table_write(table, tsv.stream));
    PX_PASS_TO(done, px_file_write(path, json.data, json.size));
    err = px_file_out_commit(&tsv);
done:
    px_file_out_drop(&tsv);
    px_str_free(&json);
    free(path);
    return err;
}

static px_err *trials_read(const px_stats_job *job, px_trials *trials) {
    for (int i = 0; i < job->n_trials; i++)
        PX_PASS(px_trials_read(trials, job->trials[i], NULL, NULL));
    for (int i = 0; i < job->n_trials; i++) {
        bool found = false;
        PX_PASS(px_trials_costs(trials, job->trials[i], &found));
    }
    for (int i = 0; i < PX_ODDS; i++)
        if (trials->odd[i]) {
            px_warn("the trials have oddities: prismx trials check names them");
            break;
        }
    return NULL;
}

px_err *px_stats_all(const px_ranks *ranks, const px_stats_job *job) {
    px_trials trials;
    px_study study = {0};
    px_table table = {0};
    px_str topics = {0};
    px_offline_files evals = {0};
    gsl_set_error_handler_off(); /* it would end the process; results are looked at here */
    PX_PASS(px_trials_new(&trials));
    px_err *err = trials_read(job, &trials);
    if (!err) err = study_new(&trials, job, &study);
    if (!err && ranks->rank == 0) err = px_offline_find(job, &evals);
    PX_PASS_TO(done, px_agree_all(ranks, err));
    PX_PASS_TO(done, sources_all(ranks, &study, &table));
    PX_PASS_TO(done, tasks_all(ranks, &study, &table));
    PX_PASS_TO(done, px_topics_rows_all(ranks, &study, &table, &topics));
    if (ranks->rank == 0) {
        px_power_rows(&study, &table);
        err = px_offline_rows(&evals, &table);
        if (!err) err = px_table_adjust(&table);
        if (!err) err = files_write(&study, &evals, &table, &topics);
    }
    err = px_agree_all(ranks, err);
done:
    px_offline_free(&evals);
    px_str_free(&topics);
    px_table_free(&table);
    study_free(&study);
    px_trials_free(&trials);
    return err;
}
