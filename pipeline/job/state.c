/* state.c - where each step stands: DIR/.steps/STEP.json, one file a step, so that steps that run
 * at the same time do not write the same one. Whether a step that "is running" lives, its lock
 * tells. */
#include "job_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"never", "running", "done", "failed", "stopped"};

const char *job_step_path(const px_job *job, int step, const char *ending) {
    return job_text(job->arena, "%s/.steps/%s.%s", job->dir, job->steps[step].name, ending);
}

px_err *job_file_write(const char *path, const char *text, size_t size) {
    const char *slash = strrchr(path, '/');
    char *temp = NULL, host[256] = "";
    int dir = slash ? (int)(slash - path) + 1 : 0;
    /* Steps of one job run on several hosts, where process ids repeat. */
    gethostname(host, sizeof host - 1);
    if (asprintf(&temp, "%.*s.%s.%s.%ld.tmp", dir, path, path + dir, host, (long)getpid()) < 0)
        PX_NO_MEMORY();
    FILE *file = fopen(temp, "wb");
    int why = errno;
    px_err *err = NULL;
    if (!file)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: cannot be written: %s", path,
                         strerror(why));
    if (file) {
        bool bad = fwrite(text, 1, size, file) != size;
        bad |= fclose(file) != 0;
        if (bad)
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "%s: write: %s", path,
                             strerror(errno));
        if (!err) err = px_file_publish(temp, path);
        if (err) unlink(temp);
    }
    free(temp);
    return err;
}

cJSON *job_state_read(const px_job *job, int step) {
    cJSON *json = NULL;
    const char *path = job_step_path(job, step, "json");
    if (!path || !px_path_exists(path)) return NULL;
    px_err *err = px_json_read(path, false, &json);
    if (!err) return json;
    px_warn("state of step %s is not used: %s", job->steps[step].name, px_err_text(err));
    px_err_free(err);
    return NULL;
}

px_err *job_state_write(const px_job *job, int step, const cJSON *state) {
    px_str text = {0};
    const char *path = job_step_path(job, step, "json");
    px_json_print_pretty(state, &text);
    px_str_char(&text, '\n');
    px_err *err = px_str_ok(&text);
    if (!err) err = job_file_write(path, text.data, text.size);
    px_str_free(&text);
    return err;
}

const char *px_step_status_name(px_step_status status) { return names[status]; }

px_err *px_job_state(const px_job *job, int step, px_arena *arena, px_step_state *out) {
    cJSON *state = job_state_read(job, step);
    const char *word = px_json_find_text(state, "status"), *host = px_json_find_text(state, "host");
    *out = (px_step_state){0};
    for (int i = 0; word && i < (int)PX_COUNT(names); i++)
        if (!strcmp(word, names[i])) out->status = (px_step_status)i;
    out->code = (int)px_json_find_f64(state, "code", 0);
    out->ranks = (int)px_json_find_f64(state, "ranks", 0);
    out->threads = (int)px_json_find_f64(state, "threads", 0);
    out->starts = (int)px_json_find_f64(state, "starts", 0);
    out->started_s = (int64_t)px_json_find_f64(state, "started_s", 0);
    out->ended_s = (int64_t)px_json_find_f64(state, "ended_s", 0);
    out->took_s = px_json_find_f64(state, "took_s", 0);
    if (host) out->host = job_text(arena, "%s", host);
    cJSON_Delete(state);
    if (out->status == PX_STEP_RUNNING)
        out->alive = job_lock_held(job_step_path(job, step, "lock"));
    return px_arena_ok(arena);
}
