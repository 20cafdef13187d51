/* sweep.c - a sweep in Slurm: what all points share as jobs of their own, then one array with a
 * task a training, then, however those end, the table and its figure. */
#include "sweep.h"
#include "slurm_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    slurm_submitter *s;
    px_sweep *sweep;
    bool retry_failed;
    bool *of_unit; /* [n_steps] belongs to a training, not to what all share */
} sweeper;

/* Line K of DIR/slurm/points.tsv: run folder, state and log of training K. */
static px_err *points_write(const sweeper *w, const char *path) {
    px_str text = {0};
    for (int u = 0; u < w->sweep->n_units; u++) {
        const px_job_step *train = &w->sweep->job.steps[w->sweep->units[u].train];
        px_str_format(&text, "%s\t%s/.steps/%s.json\t%s\n", train->outputs[0].path,
                      w->sweep->job.dir, train->name, train->log_path);
    }
    px_err *err = px_str_ok(&text);
    if (!err) err = px_file_write(path, text.data, text.size);
    px_str_free(&text);
    return err;
}

static px_err *unit_has_to_run(const sweeper *w, int u, bool *out) {
    const px_sweep_unit *unit = &w->sweep->units[u];
    const int steps[] = {unit->train, unit->eval};
    *out = false;
    for (size_t i = 0; !*out && i < PX_COUNT(steps); i++) {
        px_str why = {0};
        px_err *err = px_job_why(&w->sweep->job, steps[i], &why);
        *out = why.size > 0;
        px_str_free(&why);
        PX_PASS(err);
    }
    return NULL;
}

/* "1-4,7%2": the trainings that have to run, and how many; all where something shared runs first.
 */
static px_err *tasks_of(const sweeper *w, bool all, px_str *out, int *n) {
    int from = 0;
    *n = 0;
    for (int u = 0; u <= w->sweep->n_units; u++) {
        bool runs = all && u < w->sweep->n_units;
        if (!all && u < w->sweep->n_units) PX_PASS(unit_has_to_run(w, u, &runs));
        *n += runs;
        if (runs && !from) from = u + 1;
        if (runs || !from) continue;
        px_str_format(out, out->size ? ",%d" : "%d", from);
        if (u > from) px_str_format(out, "-%d", u);
        from = 0;
    }
    if (*n && w->sweep->parallel) px_str_format(out, "%%%d", w->sweep->parallel);
    return px_str_ok(out);
}

static px_err *array_submit(const sweeper *w, const char *after, char id[SLURM_ID_SIZE]) {
    const px_job *job = &w->sweep->job;
    const px_job_step *train = &job->steps[w->sweep->units[0].train];
    px_str array = {0}, words = {0}, tasks = {0}, why = {0};
    int n = 0;
    px_err *err = tasks_of(w, after != NULL, &array, &n);
    PX_PASS_TO(done, err);
    if (n == 0) {
        if (!w->s->print) printf("%-16s unchanged, kept\n", "points");
        w->s->n_kept++;
        goto done;
    }
    int threads = train->threads ? train->threads : (int)w->s->cluster->threads;
    px_str_text(&words, "sweep ");
    px_shell_word(&words, job->dir);
    px_str_format(&words, " --point \"$task\" --ranks %d --threads %d%s", train->ranks, threads,
                  w->retry_failed ? " --retry-failed" : "");
    px_str_format(&tasks, "%s/slurm/points.tsv", job->dir);
    px_str_format(&why, "%d of %d trainings", n, w->sweep->n_units);
    PX_PASS_TO(done, px_str_ok(&words));
    PX_PASS_TO(done, px_str_ok(&tasks));
    PX_PASS_TO(done, px_str_ok(&why));
    if (!w->s->print) PX_PASS_TO(done, points_write(w, tasks.data));
    px_batch batch = {.title = job->name,
                      .label = "points",
                      .dir = job->dir,
                      .words = words.data,
                      .log = "",
                      .time = train->time,
                      .memory = train->memory,
                      .ranks = train->ranks,
                      .threads = train->threads,
                      .gpus = train->gpus,
                      .mpi = true,
                      .array = array.data,
                      .tasks = tasks.data};
    err = slurm_submit_batch(w->s, &batch, after, why.data, id);
done:
    px_str_free(&array);
    px_str_free(&words);
    px_str_free(&tasks);
    px_str_free(&why);
    return err;
}

/* sweep table or plot, whatever became of the points. */
static px_err *result_submit(const sweeper *w, const char *what, const char *ending,
                             const char *points) {
    const char *dir = w->sweep->job.dir;
    char id[SLURM_ID_SIZE] = "";
    px_str words = {0}, path = {0}, after = {0};
    bool queued = false;
    px_str_format(&path, "%s/%s%s", dir, what, ending);
    px_str_format(&after, "afterany:%s", points);
    px_str_format(&words, "sweep %s ", what);
    px_shell_word(&words, dir);
    px_str_text(&words, " --out ");
    px_err *err = px_str_ok(&path);
    if (!err) px_shell_word(&words, path.data);
    if (!err) err = px_str_ok(&words);
    if (!err) err = px_str_ok(&after);
    px_batch batch = {.title = w->sweep->job.name,
                      .label = what,
                      .dir = dir,
                      .words = words.data,
                      .ranks = 1,
                      .threads = 1};
    if (!err) err = slurm_submit_queued(w->s, what, id, &queued);
    if (!err && !queued) err = slurm_submit_batch(w->s, &batch, after.data, path.data, id);
    px_str_free(&words);
    px_str_free(&path);
    px_str_free(&after);
    return err;
}

static px_err *all_submit(const sweeper *w) {
    px_job *job = &w->sweep->job;
    char points[SLURM_ID_SIZE] = "";
    px_str after = {0};
    bool queued = false;
    px_err *err = NULL;
    for (int i = 0; i < job->n_steps; i++) {
        if (w->of_unit[i]) continue;
        PX_PASS_TO(done, slurm_submit_step(w->s, i));
        if (*w->s->ids[i])
            px_str_format(&after, "%s%s", after.size ? ":" : "afterok:", w->s->ids[i]);
    }
    PX_PASS_TO(done, px_str_ok(&after));
    PX_PASS_TO(done, slurm_submit_queued(w->s, "points", points, &queued));
    if (!queued) PX_PASS_TO(done, array_submit(w, after.data, points));
    if (!*points) goto done;
    PX_PASS_TO(done, result_submit(w, "table", ".tsv", points));
    err = result_submit(w, "plot", ".html", points);
done:
    px_str_free(&after);
    return err;
}

px_err *px_submit_sweep(px_sweep *sweep, const px_cluster *cluster,
                        const px_submit_options *options, bool retry_failed) {
    px_job *job = &sweep->job;
    slurm_submitter s = {.job = job, .cluster = cluster, .print = options->print};
    sweeper w = {.s = &s, .sweep = sweep, .retry_failed = retry_failed};
    px_err *err = slurm_submit_begin(&s);
    PX_PASS_TO(done, err);
    if (!s.print) PX_PASS_TO(done, px_sweep_make(sweep));
    w.of_unit = px_take(job->arena, bool, job->n_steps);
    PX_PASS_TO(done, px_arena_ok(job->arena));
    for (int u = 0; u < sweep->n_units; u++)
        w.of_unit[sweep->units[u].train] = w.of_unit[sweep->units[u].eval] = true;
    if ((err = all_submit(&w))) {
        err = slurm_submit_failed(&s, err);
        goto done;
    }
    px_info("%s: %d submitted, %d queued before, %d kept; prismx status %s", job->name,
            s.n_submitted, s.n_queued, s.n_kept, job->dir);
done:
    slurm_submit_end(&s);
    return err;
}
