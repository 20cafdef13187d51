/* sweep_run.c - running a sweep, and the table of what came out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep_internal.h"

/* --- running --- */

static void mark_unit(const px_sweep *s, int u, bool *marks, bool value) {
    marks[s->units[u].train] = marks[s->units[u].eval] = value;
}

static bool unit_failed(const px_sweep *s, int u, const bool *failed) {
    return failed[s->units[u].train] || failed[s->units[u].eval];
}

static px_err *name_failed(const px_sweep *s, const bool *failed) {
    px_str names = {0};
    int n = 0;
    for (int i = 0; i < s->n_points; i++) {
        const px_sweep_unit *unit = &s->units[s->points[i].unit];
        if (!unit_failed(s, s->points[i].unit, failed)) continue;
        int step = failed[unit->train] ? unit->train : unit->eval;
        px_str_format(&names, "%s%d (", n++ ? "; " : "", i + 1);
        for (int k = 0; k < s->n_keys; k++)
            px_str_format(&names, "%s%s %s", k ? ", " : "", s->keys[k], s->points[i].values[k]);
        px_str_format(&names, ", %s)", s->job.steps[step].log_path);
    }
    px_err *err = NULL;
    if (n)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%d of %d points failed: %s; --retry-failed runs them again", n,
                         s->n_points, names.data ? names.data : "");
    px_str_free(&names);
    return err;
}

static px_err *begun(const void *sweep) { return sweep_write(sweep); }

px_err *px_sweep_run(px_sweep *s, const px_sweep_options *o) {
    const int n = s->job.n_steps;
    bool *wanted = px_take(s->arena, bool, n), *may_fail = px_take(s->arena, bool, n);
    bool *failed = px_take(s->arena, bool, n);
    PX_PASS(px_arena_ok(s->arena));
    if (o->point < 0 || o->point > s->n_units)
        PX_FAIL(PX_BAD_INPUT,
                "--point %d: there are points 1 to %d (those with the same training "
                "are one)",
                o->point, s->n_units);
    if (o->point && o->shared) PX_FAIL(PX_BAD_INPUT, "--point and --shared: one of them");
    for (int i = 0; i < n; i++) wanted[i] = !o->point;
    for (int u = 0; u < s->n_units; u++) {
        mark_unit(s, u, wanted, o->point ? u == o->point - 1 : !o->shared);
        mark_unit(s, u, may_fail, true);
    }
    px_info("%s: %d points, %d trainings", s->job.name, s->n_points, s->n_units);
    px_job_run_options run = {.wanted = o->point || o->shared ? wanted : NULL,
                              .may_fail = may_fail,
                              .failed = failed,
                              .begun =
                                  o->point ? NULL : begun, /* tasks of an array leave it alone */
                              .context = s,
                              .leave_failed = !o->retry_failed,
                              .dry_run = o->dry_run,
                              .show = o->show};
    PX_PASS(px_job_run(&s->job, &run));
    return name_failed(s, failed);
}

/* --- the table --- */

typedef struct {
    double v[3]; /* value, low, high; NaN: not there */
} estimate;

static void estimate_read(const cJSON *row, const char *name, estimate *out) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(row, name);
    for (int i = 0; i < 3; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        out->v[i] = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    }
}

/* The row of all conversations of a split in a summary, or NULL: a small corpus may have nobody
 * there. */
static const cJSON *summary_row(const cJSON *json, const char *split) {
    const cJSON *row = NULL;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "rows")) {
        const char *type = px_json_find_text(row, "type"), *of = px_json_find_text(row, "split");
        if (type && of && !strcmp(type, "all") && !strcmp(of, split)) return row;
    }
    return NULL;
}

/* A summary that cannot be read is one that is not there. */
static cJSON *summary_read(const px_job_step *step) {
    cJSON *json = NULL;
    if (step->n_outputs < 2 || !px_path_exists(step->outputs[1].path)) return NULL;
    px_err_free(px_json_read(step->outputs[1].path, false, &json));
    return json;
}

static void add_estimate(px_str *out, const estimate *e) {
    for (int i = 0; i < 3; i++) {
        px_str_char(out, '\t');
        if (isfinite(e->v[i]))
            px_str_double(out, e->v[i]);
        else
            px_str_text(out, "NA");
    }
}

/* "done", else the first step that is not, and how it stands. */
static px_err *unit_state(const px_sweep *s, const px_sweep_unit *unit, bool done[2], px_str *out) {
    const int steps[] = {unit->train, unit->eval};
    static const char *const names[] = {"train", "eval"};
    int first = -1;
    for (int i = 1; i >= 0; i--) {
        px_step_state state;
        PX_PASS(px_job_state(&s->job, steps[i], s->arena, &state));
        done[i] = state.status == PX_STEP_DONE;
        if (done[i]) continue;
        first = i;
        px_str_clear(out);
        px_str_format(out, "%s %s", names[i], px_step_status_name(state.status));
    }
    if (first < 0) px_str_text(out, "done");
    return NULL;
}

static px_err *add_point(const px_sweep *s, const px_sweep_point *point, px_str *out) {
    enum { SEEN_OWN, SEEN_GENERIC, UNSEEN_GENERIC, DELTA_OWN, DELTA_SWAP, N_ESTIMATES };
    const px_sweep_unit *unit = &s->units[point->unit];
    const px_job_step *train = &s->job.steps[unit->train];
    estimate e[N_ESTIMATES];
    cJSON *manifest = NULL, *summary = NULL;
    px_str state = {0};
    bool done[2] = {false};
    px_err *err = unit_state(s, unit, done, &state);
    if (done[1]) summary = summary_read(&s->job.steps[unit->eval]);
    const cJSON *row = summary_row(summary, "seen");
    /* A pooled model has one embedding for all: nobody's. */
    bool personal = cJSON_HasObjectItem(row, "accuracy_generic");
    estimate_read(row, "accuracy_own", &e[SEEN_OWN]);
    estimate_read(row, personal ? "accuracy_generic" : "accuracy_own", &e[SEEN_GENERIC]);
    estimate_read(row, "delta_own", &e[DELTA_OWN]);
    estimate_read(row, "delta_swap", &e[DELTA_SWAP]);
    row = summary_row(summary, "unseen");
    personal = cJSON_HasObjectItem(row, "accuracy_generic");
    estimate_read(row, personal ? "accuracy_generic" : "accuracy_own", &e[UNSEEN_GENERIC]);
    px_err *none = done[0] ? px_manifest_read(train->outputs[0].path, &manifest) : NULL;
    px_err_free(none);
    const char *sha256 = px_json_find_text(manifest, "params_sha256");
    for (int k = 0; k < s->n_keys; k++) px_str_format(out, "%s\t", point->values[k]);
    px_str_text(out, sha256 ? sha256 : "NA");
    for (int i = 0; i < N_ESTIMATES; i++) add_estimate(out, &e[i]);
    px_str_format(out, "\t%s\t%s\n", state.data ? state.data : "", train->outputs[0].given);
    cJSON_Delete(manifest);
    cJSON_Delete(summary);
    px_str_free(&state);
    return err;
}

px_err *px_sweep_table(const px_sweep *s, px_str *out) {
    static const char *const names[] = {"acc_seen_own", "acc_seen_generic", "acc_unseen_generic",
                                        "delta_own", "delta_swap"};
    for (int k = 0; k < s->n_keys; k++) px_str_format(out, "%s\t", s->keys[k]);
    px_str_text(out, "params_sha256");
    for (size_t i = 0; i < PX_COUNT(names); i++)
        px_str_format(out, "\t%s\t%s_low\t%s_high", names[i], names[i], names[i]);
    px_str_text(out, "\tstate\trun\n");
    for (int i = 0; i < s->n_points; i++) PX_PASS(add_point(s, &s->points[i], out));
    return px_str_ok(out);
}
