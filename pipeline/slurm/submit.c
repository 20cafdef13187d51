/* submit.c - the steps of a job that have to run, as Slurm jobs: each waits for those it needs
 * (afterok), and goes away when one of them cannot succeed. A step that is queued or running is not
 * queued twice. */
#include "slurm_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ID_SIZE = 32 };

typedef struct {
    px_job *job;
    const px_cluster *cluster;
    bool print;
    cJSON *ledger;
    char (*ids)[ID_SIZE]; /* [n_steps] "" where there is nothing to wait for */
    int n_submitted, n_kept, n_queued;
} submitter;

/* `sbatch --parsable` prints ID or ID;CLUSTER, perhaps behind warnings. */
static bool id_of(const char *text, char out[ID_SIZE]) {
    *out = 0;
    for (const char *line = text; line && *line;) {
        size_t size = strcspn(line, "\n"), digits = strspn(line, "0123456789");
        if (digits && digits < ID_SIZE && (digits == size || line[digits] == ';'))
            snprintf(out, ID_SIZE, "%.*s", (int)digits, line);
        line += size + (line[size] == '\n');
    }
    return *out != 0;
}

static const char *after(const submitter *s, const px_job_step *step, px_str *out) {
    for (int k = 0; k < step->n_needs; k++) {
        const char *id = s->ids[step->needs[k]];
        if (*id) px_str_format(out, "%s%s", out->size ? ":" : "afterok:", id);
    }
    return out->size ? out->data : NULL;
}

static px_err *script_of(const submitter *s, const px_job_step *step, px_str *out) {
    px_str words = {0}, state = {0};
    px_str_text(&words, "run ");
    px_shell_word(&words, s->job->dir);
    px_str_text(&words, " --only ");
    px_shell_word(&words, step->name);
    int threads = step->threads ? step->threads : (int)s->cluster->threads;
    px_str_format(&words, " --ranks %d --threads %d", step->ranks, threads);
    px_str_format(&state, "%s/.steps/%s.json", s->job->dir, step->name);
    px_err *err = px_str_ok(&words);
    if (!err) err = px_str_ok(&state);
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
    if (!err) err = px_batch_script(s->cluster, &batch, out);
    px_str_free(&words);
    px_str_free(&state);
    return err;
}

static px_err *sbatch(const char *script, const char *dependency, char id[ID_SIZE]) {
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

static px_err *step_submit(submitter *s, int i, const char *why) {
    const px_job_step *step = &s->job->steps[i];
    px_str script = {0}, path = {0}, depends = {0};
    px_str_format(&path, "%s/slurm/%s.sbatch", s->job->dir, step->name);
    const char *dependency = after(s, step, &depends);
    px_err *err = px_str_ok(&path);
    if (!err) err = px_str_ok(&depends);
    PX_PASS_TO(done, err);
    PX_PASS_TO(done, script_of(s, step, &script));
    if (s->print) {
        snprintf(s->ids[i], ID_SIZE, "<%.*s>", ID_SIZE - 3, step->name);
        printf("# %s: %s\n# sbatch --parsable --kill-on-invalid-dep=yes%s%s %s\n%s\n", step->name,
               why, dependency ? " --dependency=" : "", dependency ? dependency : "", path.data,
               script.data);
        goto done;
    }
    PX_PASS_TO(done, px_file_write(path.data, script.data, script.size));
    PX_PASS_TO(done, sbatch(path.data, dependency, s->ids[i]));
    PX_PASS_TO(done, px_ledger_add(s->job->dir, s->ledger, step->name, s->ids[i]));
    printf("%-16s job %s%s%s: %s\n", step->name, s->ids[i], dependency ? ", " : "",
           dependency ? dependency : "", why);
done:
    s->n_submitted += err == NULL;
    px_str_free(&script);
    px_str_free(&path);
    px_str_free(&depends);
    return err;
}

/* Waits or runs already? Then its id is what others wait for. */
static px_err *queued_already(submitter *s, int i, bool *out) {
    const char *name = s->job->steps[i].name, *id = px_ledger_find(s->ledger, name);
    px_slurm_state state;
    *out = false;
    if (!id || s->print) return NULL;
    PX_TRY(px_slurm_look(id, &state), "step %s, job %s", name, id);
    if (!state.active) return NULL;
    *out = true;
    s->n_queued++;
    snprintf(s->ids[i], ID_SIZE, "%s", id);
    printf("%-16s job %s: %s already, left as it is\n", name, id, state.state);
    return NULL;
}

static px_err *step_look_at(submitter *s, int i) {
    const px_job_step *step = &s->job->steps[i];
    px_str why = {0};
    bool queued = false;
    PX_PASS(queued_already(s, i, &queued));
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

static px_err *say_what_is_queued(const submitter *s, px_err *err) {
    px_str ids = {0};
    for (int i = 0; i < s->job->n_steps; i++)
        if (*s->ids[i]) px_str_format(&ids, " %s", s->ids[i]);
    if (!s->print && ids.data)
        err = px_err_add(err, __FILE__, __LINE__,
                         "queued so far:%s (scancel them, or submit again to go on)", ids.data);
    px_str_free(&ids);
    return err;
}

static px_err *folders_make(const px_job *job) {
    static const char *const names[] = {"slurm", "logs"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        char *path = px_path_join(job->dir, names[i]);
        if (!path) PX_NO_MEMORY();
        px_err *err = px_dir_make(path);
        free(path);
        PX_PASS(err);
    }
    return px_job_folder_make(job);
}

px_err *px_submit(px_job *job, const px_cluster *cluster, const px_submit_options *options) {
    submitter s = {.job = job, .cluster = cluster, .print = options->print};
    px_job_lock lock = PX_JOB_UNLOCKED;
    char *path = px_path_join(job->dir, "slurm/lock");
    s.ids = px_arena_take(job->arena, (size_t)job->n_steps, ID_SIZE);
    px_err *err = px_arena_ok(job->arena);
    if (!err && !path) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, err);
    if (!s.print) {
        PX_PASS_TO(done, folders_make(job));
        PX_PASS_TO(done, px_job_lock_take(path, "submitting this job", false, 0, &lock));
    }
    PX_PASS_TO(done, px_ledger_read(job->dir, &s.ledger));
    for (int i = 0; i < job->n_steps; i++)
        if ((err = step_look_at(&s, i))) {
            err = say_what_is_queued(&s, err);
            goto done;
        }
    px_info("%s: %d submitted, %d queued before, %d kept; prismx status %s", job->name,
            s.n_submitted, s.n_queued, s.n_kept, job->dir);
done:
    px_job_lock_drop(&lock);
    cJSON_Delete(s.ledger);
    free(path);
    return err;
}
