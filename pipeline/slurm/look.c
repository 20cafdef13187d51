/* look.c - what Slurm says of a job. scontrol first: it knows waiting, running and just ended jobs
 * and how often one was started again, on every site. What it has forgotten sacct may know. */
#include "slurm_internal.h"

#include <stdlib.h>
#include <string.h>

/* The value of NAME= in a line of "A=b C=d"; false: not there. */
static bool value_of(const char *line, size_t size, const char *name, char *out, size_t room) {
    size_t n = strlen(name);
    for (size_t at = 0; at + n < size; at++) {
        if ((at && line[at - 1] != ' ') || memcmp(line + at, name, n) != 0 || line[at + n] != '=')
            continue;
        const char *from = line + at + n + 1, *end = memchr(from, ' ', size - at - n - 1);
        size_t length = end ? (size_t)(end - from) : size - at - n - 1;
        snprintf(out, room, "%.*s", (int)length, from);
        if (!strcmp(out, "(null)") || !strcmp(out, "None") || !strcmp(out, "Unknown")) *out = 0;
        return true;
    }
    *out = 0;
    return false;
}

/* D-HH:MM:SS, HH:MM:SS or MM:SS. */
static int64_t seconds_of(const char *text) {
    int64_t days = 0, part = 0, all = 0;
    for (; *text; text++) {
        if (*text >= '0' && *text <= '9') {
            part = 10 * part + (*text - '0');
        } else if (*text == '-') {
            days = part;
            part = 0;
        } else if (*text == ':') {
            all = 60 * (all + part);
            part = 0;
        } else {
            break;
        }
    }
    return 86400 * days + all + part;
}

typedef enum { ENDED_WELL, ENDED, RUNS, WAITS } urgency;

static urgency urgency_of(const char *state) {
    static const char *const waiting[] = {"PENDING",      "REQUEUED",    "REQUEUE_HOLD",
                                          "CONFIGURING",  "REQUEUE_FED", "SPECIAL_EXIT",
                                          "RESV_DEL_HOLD"};
    static const char *const running[] = {"RUNNING",   "COMPLETING", "SUSPENDED", "STAGE_OUT",
                                          "SIGNALING", "STOPPED",    "RESIZING"};
    for (size_t i = 0; i < PX_COUNT(waiting); i++)
        if (!strcmp(state, waiting[i])) return WAITS;
    for (size_t i = 0; i < PX_COUNT(running); i++)
        if (!strcmp(state, running[i])) return RUNS;
    return strcmp(state, "COMPLETED") == 0 ? ENDED_WELL : ENDED;
}

/* How many tasks "3", "4-17%2" or "1,5-7" name. */
static int tasks_of(const char *text) {
    int n = 0;
    while (*text >= '0' && *text <= '9') {
        char *end = NULL;
        long from = strtol(text, &end, 10), to = from;
        if (*end == '-') to = strtol(end + 1, &end, 10);
        n += to >= from && to - from < 1000000 ? (int)(to - from) + 1 : 0;
        text = *end == ',' ? end + 1 : "";
    }
    return PX_MAX(n, 1);
}

/* Adds one job or task to what is known; the most urgent gives its name to all. */
static void add(px_slurm_state *all, const px_slurm_state *one, int n) {
    urgency mine = urgency_of(one->state), theirs = urgency_of(all->state);
    if (!all->state[0] || mine > theirs) {
        int counts[] = {all->n_tasks, all->n_waiting, all->n_running, all->n_done};
        int64_t took_s = all->took_s;
        int restarts = all->restarts;
        *all = *one;
        all->n_tasks = counts[0];
        all->n_waiting = counts[1];
        all->n_running = counts[2];
        all->n_done = counts[3];
        all->took_s = PX_MAX(took_s, one->took_s);
        all->restarts = restarts + one->restarts;
    } else {
        all->took_s = PX_MAX(all->took_s, one->took_s);
        all->restarts += one->restarts;
    }
    all->n_tasks += n;
    all->n_waiting += mine == WAITS ? n : 0;
    all->n_running += mine == RUNS ? n : 0;
    all->n_done += mine == ENDED_WELL ? n : 0;
    all->active = all->n_waiting + all->n_running > 0;
}

void px_slurm_read_scontrol(const char *text, px_slurm_state *out) {
    *out = (px_slurm_state){0};
    for (const char *line = text; line && *line;) {
        size_t size = strcspn(line, "\n");
        px_slurm_state one = {0};
        char value[256];
        if (value_of(line, size, "JobState", one.state, sizeof one.state)) {
            value_of(line, size, "Reason", one.reason, sizeof one.reason);
            value_of(line, size, "NodeList", one.nodes, sizeof one.nodes);
            value_of(line, size, "StartTime", one.start, sizeof one.start);
            value_of(line, size, "EndTime", one.end, sizeof one.end);
            value_of(line, size, "RunTime", value, sizeof value);
            one.took_s = seconds_of(value);
            value_of(line, size, "Restarts", value, sizeof value);
            one.restarts = (int)strtol(value, NULL, 10);
            bool waits = urgency_of(one.state) == WAITS;
            if (waits || urgency_of(one.state) == RUNS) one.end[0] = 0; /* only expected */
            if (!waits) one.reason[0] = 0;
            int n = value_of(line, size, "ArrayTaskId", value, sizeof value) ? tasks_of(value) : 1;
            add(out, &one, n);
        }
        line += size + (line[size] == '\n');
    }
}

/* The next field up to '|' or the line's end. */
static void field(const char **at, char *out, size_t room) {
    size_t n = strcspn(*at, "|\n");
    snprintf(out, room, "%.*s", (int)n, *at);
    *at += n + ((*at)[n] == '|');
    if (!strcmp(out, "Unknown") || !strcmp(out, "None assigned") || !strcmp(out, "None")) *out = 0;
}

void px_slurm_read_sacct(const char *text, px_slurm_state *out) {
    char id_before[64] = "";
    px_slurm_state held = {0};
    int n_held = 0;
    *out = (px_slurm_state){0};
    /* Each life of a job is a line, the last one counts; an array's tasks have ids of their own. */
    for (const char *at = text; at && *at;) {
        char id[64], took[32];
        px_slurm_state one = {0};
        field(&at, id, sizeof id);
        field(&at, one.state, sizeof one.state);
        field(&at, took, sizeof took);
        field(&at, one.start, sizeof one.start);
        field(&at, one.end, sizeof one.end);
        field(&at, one.nodes, sizeof one.nodes);
        at += strcspn(at, "\n");
        at += *at == '\n';
        if (!one.state[0] || !(*id >= '0' && *id <= '9')) continue;
        one.state[strcspn(one.state, " ")] = 0; /* "CANCELLED by 0" */
        one.took_s = strtoll(took, NULL, 10);
        bool same = !strcmp(id, id_before);
        one.restarts = same ? held.restarts + 1 : 0;
        if (!same && n_held) add(out, &held, n_held);
        const char *task = strchr(id, '_');
        n_held = task ? tasks_of(task[1] == '[' ? task + 2 : task + 1) : 1;
        held = one;
        memcpy(id_before, id, sizeof id);
    }
    if (n_held) add(out, &held, n_held);
}

px_err *px_slurm_look(const char *id, px_slurm_state *out) {
    const char *const scontrol[] = {"scontrol", "-o", "show", "job", id, NULL};
    const char *const sacct[] = {"sacct", "-n", "-P",
                                 "-X",    "-D", "-j",
                                 id,      "-o", "jobid,state,elapsedraw,start,end,nodelist",
                                 NULL};
    px_str text = {0};
    int code = 0;
    *out = (px_slurm_state){0};
    px_err *err = px_launch_capture(scontrol, &text, &code);
    if (!err && code == 0) px_slurm_read_scontrol(text.data, out);
    bool unknown = text.data && strstr(text.data, "Invalid job id");
    if (!err && !out->state[0]) {
        px_str_clear(&text);
        err = px_launch_capture(sacct, &text, &code);
        if (!err && code == 0) px_slurm_read_sacct(text.data, out);
        if (!err && code != 0 && !unknown)
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                             "neither scontrol nor sacct answers: %.300s",
                             text.data ? text.data : "");
    }
    px_str_free(&text);
    return err;
}
