/* table.c - the Slurm jobs of a job folder as a table, or as JSON. */
#include "slurm_internal.h"

#include <string.h>

static void took_text(int64_t s, char out[32]) {
    snprintf(out, 32, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
             (long long)(s % 60));
}

static void add_line(px_str *out, const char *label, const char *id, const px_slurm_state *s,
                     int width) {
    char took[32];
    took_text(s->took_s, took);
    px_str_format(out, "%-*s  %-8s  %-10s  %6d  %8s  %-19s  %s", width, label, id,
                  s->state[0] ? s->state : "forgotten", s->restarts + 1, took, s->start, s->nodes);
    if (s->n_tasks > 1)
        px_str_format(out, "  %d tasks: %d wait, %d run, %d completed, %d ended otherwise",
                      s->n_tasks, s->n_waiting, s->n_running, s->n_done,
                      s->n_tasks - s->n_waiting - s->n_running - s->n_done);
    if (s->reason[0]) px_str_format(out, "  (%s)", s->reason);
    while (out->size && out->data[out->size - 1] == ' ') out->data[--out->size] = 0;
    px_str_char(out, '\n');
}

static px_err *json_line(cJSON *list, const char *label, const char *id, const px_slurm_state *s) {
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o)) PX_NO_MEMORY();
    if (!cJSON_AddStringToObject(o, "step", label) || !cJSON_AddStringToObject(o, "id", id) ||
        !cJSON_AddStringToObject(o, "state", s->state) ||
        !cJSON_AddStringToObject(o, "reason", s->reason) ||
        !cJSON_AddStringToObject(o, "nodes", s->nodes) ||
        !cJSON_AddStringToObject(o, "start", s->start) ||
        !cJSON_AddStringToObject(o, "end", s->end) ||
        !cJSON_AddNumberToObject(o, "took_s", (double)s->took_s) ||
        !cJSON_AddNumberToObject(o, "restarts", s->restarts) ||
        !cJSON_AddNumberToObject(o, "tasks", s->n_tasks) ||
        !cJSON_AddNumberToObject(o, "waiting", s->n_waiting) ||
        !cJSON_AddNumberToObject(o, "running", s->n_running) ||
        !cJSON_AddNumberToObject(o, "completed", s->n_done))
        PX_NO_MEMORY();
    return NULL;
}

/* Slurm that does not answer is a warning: what the folder says is still worth showing. */
static bool look(const char *label, const char *id, px_slurm_state *out) {
    px_err *err = px_slurm_look(id, out);
    if (err) px_warn("%s, job %s: %s", label, id, px_err_text(err));
    bool answered = err == NULL;
    px_err_free(err);
    return answered;
}

px_err *px_slurm_table(const char *dir, cJSON *json, px_str *out) {
    cJSON *ledger = NULL, *list = NULL;
    const cJSON *item = NULL;
    int width = 4, n = 0;
    px_err *err = px_ledger_read(dir, &ledger);
    PX_PASS_TO(done, err);
    cJSON_ArrayForEach(item, ledger) width = PX_MAX(width, (int)strlen(item->string));
    cJSON_ArrayForEach(item, ledger) {
        const char *id = px_json_find_text(item, "id");
        px_slurm_state state;
        if (!id) continue;
        if (!look(item->string, id, &state)) break;
        if (json) {
            if (!list && !(list = cJSON_AddArrayToObject(json, "slurm")))
                PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
            PX_PASS_TO(done, json_line(list, item->string, id, &state));
            continue;
        }
        if (n++ == 0)
            px_str_format(out, "\n%-*s  %-8s  %-10s  %6s  %8s  %-19s  %s\n", width, "job", "id",
                          "slurm", "starts", "took", "started", "nodes");
        add_line(out, item->string, id, &state, width);
    }
    err = px_str_ok(out);
done:
    cJSON_Delete(ledger);
    return err;
}
