/* table.c - the steps of a job as a table, or as JSON: where each stands, how long it took, and of
 * a training how far it is. */
#include "job_internal.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* The last whole line of metrics.jsonl and the run's number of steps, from its manifest. */
px_err *px_job_progress(const px_job *job, int step, px_step_progress *out) {
    const px_job_step *s = &job->steps[step];
    cJSON *manifest = NULL, *line = NULL;
    px_bytes text = {0};
    char path[8192];
    *out = (px_step_progress){.step = -1, .loss = NAN, .accuracy = NAN};
    if (strcmp(s->command, "train") != 0 || s->n_outputs == 0) return NULL;
    px_err *err = px_manifest_read(s->outputs[0].path, &manifest);
    if (!err) out->total = (int64_t)px_json_find_f64(manifest, "steps", 0);
    px_err_free(err);
    snprintf(path, sizeof path, "%s/metrics.jsonl", s->outputs[0].path);
    err = px_file_read(path, &text);
    size_t end = err ? 0 : text.size;
    while (end > 0 && text.data[end - 1] != '\n') end--;
    size_t from = end > 0 ? end - 1 : 0;
    while (from > 0 && text.data[from - 1] != '\n') from--;
    px_err_free(err);
    err = end > from ? px_json_parse(text.data + from, end - from, &line) : NULL;
    px_err_free(err); /* a line that is being written tells nothing */
    if (line) {
        out->step = (int64_t)px_json_find_f64(line, "step", -1);
        out->loss = px_json_find_f64(line, "loss", NAN);
        out->accuracy = px_json_find_f64(line, "rewards/accuracies", NAN);
    }
    cJSON_Delete(line);
    cJSON_Delete(manifest);
    px_bytes_free(&text);
    return NULL;
}

static void took_text(double seconds, char out[32]) {
    int64_t s = (int64_t)seconds;
    if (seconds < 60)
        snprintf(out, 32, "%.1f s", seconds);
    else
        snprintf(out, 32, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
                 (long long)(s % 60));
}

static void when_text(int64_t at_s, char out[32]) {
    time_t at = (time_t)at_s;
    struct tm parts;
    localtime_r(&at, &parts);
    strftime(out, 32, "%m-%d %H:%M:%S", &parts);
}

static const char *status_text(const px_step_state *state) {
    if (state->status == PX_STEP_RUNNING && !state->alive) return "interrupted";
    return px_step_status_name(state->status);
}

static double took_s(const px_step_state *state) {
    bool runs = state->status == PX_STEP_RUNNING && state->alive;
    return runs ? (double)(time(NULL) - state->started_s) : state->took_s;
}

static void add_line(px_str *out, const px_job_step *step, const px_step_state *state,
                     const px_step_progress *progress, int width) {
    char when[32] = "", took[32] = "", note[64] = "";
    if (state->started_s) when_text(state->started_s, when);
    if (state->started_s) took_text(took_s(state), took);
    if (state->status == PX_STEP_FAILED) snprintf(note, sizeof note, "exit %d  ", state->code);
    px_str_format(out, "%-*s  %-10s  %-11s  %-14s  %9s  %5d  %s", width, step->name, step->command,
                  status_text(state), when, took, state->ranks ? state->ranks : step->ranks, note);
    if (progress->step >= 0)
        px_str_format(out, "step %lld/%lld  loss %.4f  accuracy %.3f", (long long)progress->step,
                      (long long)progress->total, progress->loss, progress->accuracy);
    while (out->size && out->data[out->size - 1] == ' ') out->data[--out->size] = 0;
    px_str_char(out, '\n');
}

static px_err *json_line(cJSON *list, const px_job_step *step, const px_step_state *state,
                         const px_step_progress *progress) {
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o)) PX_NO_MEMORY();
    bool ok = cJSON_AddStringToObject(o, "step", step->name) &&
              cJSON_AddStringToObject(o, "command", step->command) &&
              cJSON_AddStringToObject(o, "status", status_text(state)) &&
              cJSON_AddNumberToObject(o, "code", state->code) &&
              cJSON_AddNumberToObject(o, "started_s", (double)state->started_s) &&
              cJSON_AddNumberToObject(o, "took_s", took_s(state)) &&
              cJSON_AddNumberToObject(o, "ranks", state->ranks ? state->ranks : step->ranks) &&
              cJSON_AddNumberToObject(o, "starts", state->starts) &&
              cJSON_AddStringToObject(o, "log", step->log_path);
    if (ok && progress->step >= 0)
        ok = cJSON_AddNumberToObject(o, "done", (double)progress->step) &&
             cJSON_AddNumberToObject(o, "total", (double)progress->total) &&
             cJSON_AddNumberToObject(o, "loss", progress->loss) &&
             cJSON_AddNumberToObject(o, "accuracy", progress->accuracy);
    if (!ok) PX_NO_MEMORY();
    return NULL;
}

px_err *px_job_table(const px_job *job, bool json, px_str *out) {
    cJSON *root = json ? cJSON_CreateObject() : NULL, *list = NULL;
    int width = 4;
    px_err *err = NULL;
    for (int i = 0; i < job->n_steps; i++) width = PX_MAX(width, (int)strlen(job->steps[i].name));
    if (json) {
        cJSON_AddStringToObject(root, "job", job->name);
        cJSON_AddStringToObject(root, "dir", job->dir);
        list = cJSON_AddArrayToObject(root, "steps");
        if (!list) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    } else {
        px_str_format(out, "%-*s  %-10s  %-11s  %-14s  %9s  %5s\n", width, "step", "command",
                      "state", "started", "took", "ranks");
    }
    for (int i = 0; i < job->n_steps; i++) {
        px_step_state state;
        px_step_progress progress;
        PX_PASS_TO(done, px_job_state(job, i, job->arena, &state));
        PX_PASS_TO(done, px_job_progress(job, i, &progress));
        if (json)
            PX_PASS_TO(done, json_line(list, &job->steps[i], &state, &progress));
        else
            add_line(out, &job->steps[i], &state, &progress, width);
    }
    if (json) px_json_print_pretty(root, out);
    if (json) px_str_char(out, '\n');
    err = px_str_ok(out);
done:
    cJSON_Delete(root);
    return err;
}
