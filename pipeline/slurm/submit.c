/* submit.c - the steps of a job that have to run, as Slurm jobs: each waits for those it needs
 * (afterok), and goes away when one of them cannot succeed. A step that is queued or running is not
 * queued twice. */
#include "slurm_internal.h"

#include <stdlib.h>
#include <string.h>

/* `sbatch --parsable` prints ID or ID;CLUSTER, perhaps behind warnings. */
static bool id_of(const char *text, char out[SLURM_ID_SIZE]) {
    *out = 0;
    for (const char *line = text; line && *line;) {
        size_t size = strcspn(line, "\n"), digits = strspn(line, "0123456789");
        if (digits && digits < SLURM_ID_SIZE && (digits == size || line[digits] == ';'))
            snprintf(out, SLURM_ID_SIZE, "%.*s", (int)digits, line);
        line += size + (line[size] == '\n');
    }
    return *out != 0;
}

static px_err *sbatch(const char *script, const char *dependency, char id[SLURM_ID_SIZE]) {
    px_str text = {0}, depends = {0};
    const char *argv[8] = {"sbatch", "--parsable", "--kill-on-invalid-dep=yes"};
    int n = 3, code = 0;
    if (dependency) {
        px_str_format(&depends, "--dependency=%s", dependency);
        argv[n++] = depends.data;
    }
    argv[n++] = script;
    px_err *err = px_str_ok(&depends);
    if (!err) err = px_launch_capture(argv, &text, &code);
    if (!err && code == 127)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "sbatch is not on PATH: submit where Slurm is, or --print");
    if (!err && (code != 0 || !id_of(text.data, id)))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "sbatch %s: exit %d: %.600s", script,
                         code, text.data ? text.data : "");
    px_str_free(&text);
    px_str_free(&depends);
    return err;
}

px_err *slurm_submit_batch(slurm_submitter *s, const px_batch *batch, const char *dependency,
                           const char *why, char id[SLURM_ID_SIZE]) {
    px_str script = {0}, path = {0};
    const char *comma = dependency ? ", " : "", *after = dependency ? dependency : "";
    px_str_format(&path, "%s/slurm/%s.sbatch", s->job->dir, batch->label);
    px_err *err = px_str_ok(&path);
    if (!err) err = px_batch_script(s->cluster, batch, &script);
    PX_PASS_TO(done, err);
    if (s->print) {
        snprintf(id, SLURM_ID_SIZE, "<%.*s>", SLURM_ID_SIZE - 3, batch->label);
        printf("# %s: %s\n# sbatch --parsable --kill-on-invalid-dep=yes%s%s %s\n%s\n", batch->label,
               why, dependency ? " --dependency=" : "", after, path.data, script.data);
    } else {
        PX_PASS_TO(done, px_file_write(path.data, script.data, script.size));
        PX_PASS_TO(done, sbatch(path.data, dependency, id));
        PX_PASS_TO(done, px_ledger_add(s->job->dir, s->ledger, batch->label, id));
        printf("%-16s job %s%s%s: %s\n", batch->label, id, comma, after, why);
    }
    s->n_submitted++;
done:
    px_str_free(&script);
    px_str_free(&path);
    return err;
}

static px_err *step_submit(slurm_submitter *s, int i, const char *why) {
    const px_job_step *step = &s->job->steps[i];
    px_str words = {0}, state = {0}, after = {0};
    for (int k = 0; k < step->n_needs; k++) {
        const char *id = s->ids[step->needs[k]];
        if (*id) px_str_format(&after, "%s%s", after.size ? ":" : "afterok:", id);
    }
    px_str_text(&words, "run ");
    px_shell_word(&words, s->job->dir);
    px_str_text(&words, " --only ");
    px_shell_word(&words, step->name);
    int threads = step->threads ? step->threads : (int)s->cluster->threads;
    px_str_format(&words, " --ranks %d --threads %d", step->ranks, threads);
    px_str_format(&state, "%s/.steps/%s.json", s->job->dir, step->name);
    px_err *err = px_str_ok(&words);
    if (!err) err = px_str_ok(&state);
    if (!err) err = px_str_ok(&after);
    px_batch batch = {.title = s->job->name,
                      .label = step->name,
                      .dir = s->job->dir,
                      .words = words.data,
                      .log = step->log_path,
                      .state = state.data,
                      .out = step->resumes && step->n_outputs ? step->outputs[0].path : NULL,
                      .time = step->time,
                      .memory = step->memory,
                      .ranks = step->ranks,
                      .threads = step->threads,
                      .gpus = step->gpus,
                      .mpi = step->mpi};
    if (!err) err = slurm_submit_batch(s, &batch, after.data, why, s->ids[i]);
    px_str_free(&words);
    px_str_free(&state);
    px_str_free(&after);
    return err;
}

px_err *slurm_submit_queued(slurm_submitter *s, const char *label, char id[SLURM_ID_SIZE],
                            bool *out) {
    const char *known = px_ledger_find(s->ledger, label);
    px_slurm_state state;
    *out = false;
    if (!known || s->print) return NULL;
    PX_TRY(px_slurm_look(known, &state), "%s, job %s", label, known);
    if (!state.active) return NULL;
    *out = true;
    s->n_queued++;
    snprintf(id, SLURM_ID_SIZE, "%s", known);
    printf("%-16s job %s: %s already, left as it is\n", label, known, state.state);
    return NULL;
}

px_err *slurm_submit_step(slurm_submitter *s, int i) {
    const px_job_step *step = &s->job->steps[i];
    px_str why = {0};
    bool queued = false;
    PX_PASS(slurm_submit_queued(s, step->name, s->ids[i], &queued));
    if (queued) return NULL;
    px_err *err = NULL;
    for (int k = 0; k < step->n_needs; k++)
        if (*s->ids[step->needs[k]])
            px_str_format(&why, "%sstep %s runs before it", why.size ? ", " : "",
                          s->job->steps[step->needs[k]].name);
    if (!why.size) PX_TRY_TO(done, px_job_why(s->job, i, &why), "step %s", step->name);
    PX_PASS_TO(done, px_str_ok(&why));
    if (why.size) {
        err = step_submit(s, i, why.data);
    } else {
        s->n_kept++;
        if (!s->print) printf("%-16s unchanged, kept\n", step->name);
    }
done:
    px_str_free(&why);
    return err;
}

px_err *slurm_submit_failed(const slurm_submitter *s, px_err *err) {
    px_str ids = {0};
    for (int i = 0; i < s->job->n_steps; i++)
        if (*s->ids[i]) px_str_format(&ids, " %s", s->ids[i]);
    if (!s->print && ids.data)
        err = px_err_add(err, __FILE__, __LINE__,
                         "queued so far:%s (scancel them, or submit again to go on)", ids.data);
    px_str_free(&ids);
    return err;
}

px_err *slurm_submit_begin(slurm_submitter *s) {
    static const char *const folders[] = {"", "slurm", "logs"};
    s->lock = PX_JOB_UNLOCKED;
    s->ids = px_arena_take(s->job->arena, (size_t)s->job->n_steps, SLURM_ID_SIZE);
    PX_PASS(px_arena_ok(s->job->arena));
    for (size_t i = 0; !s->print && i < PX_COUNT(folders); i++) {
        char *path = px_path_join(s->job->dir, folders[i]);
        if (!path) PX_NO_MEMORY();
        px_err *err = px_dir_make(path);
        free(path);
        PX_PASS(err);
    }
    if (!s->print) {
        /* The lock borrows its path. */
        size_t size = strlen(s->job->dir) + sizeof "/slurm/lock";
        char *path = px_arena_take(s->job->arena, size, 1);
        PX_PASS(px_arena_ok(s->job->arena));
        snprintf(path, size, "%s/slurm/lock", s->job->dir);
        PX_PASS(px_job_lock_take(path, "submitting this job", false, 0, &s->lock));
        PX_PASS(px_job_folder_make(s->job));
    }
    return px_ledger_read(s->job->dir, &s->ledger);
}

void slurm_submit_end(slurm_submitter *s) {
    px_job_lock_drop(&s->lock);
    cJSON_Delete(s->ledger);
}

px_err *px_submit(px_job *job, const px_cluster *cluster, const px_submit_options *options) {
    slurm_submitter s = {.job = job, .cluster = cluster, .print = options->print};
    px_err *err = slurm_submit_begin(&s);
    PX_PASS_TO(done, err);
    for (int i = 0; i < job->n_steps; i++)
        if ((err = slurm_submit_step(&s, i))) {
            err = slurm_submit_failed(&s, err);
            goto done;
        }
    px_info("%s: %d submitted, %d queued before, %d kept; prismx status %s", job->name,
            s.n_submitted, s.n_queued, s.n_kept, job->dir);
done:
    slurm_submit_end(&s);
    return err;
}
