/* owner.c - see owner.h. Taking: the file is linked into place under its name, which fails where
 * one is; one whose owner is gone is replaced by a rename. Of two that do so at once the later one
 * has it, and the other learns that at its next check, before it has renamed anything. */
#include "owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "io.h"
#include "watch.h"

#define BEAT_EVERY_S 5

typedef struct {
    char token[33], host[256], boot[64], space[64], job[64], at[32];
    int64_t pid, born, restart; /* born: the process's start, in ticks since boot */
} identity;

struct px_owner {
    identity me;
    bool first; /* rank 0: the only one with the file */
    char *dir, *path, *beat_path, *beat_temp;
    /* The thread that beats: a step may take minutes, and whoever waits for a sign must not. */
    pthread_t thread;
    bool beats, stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    const char *phase;
    int64_t step, total;
};

/* --- who is who --- */

static void first_line(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "r");
    out[0] = 0;
    if (!file) return;
    if (!fgets(out, (int)size, file)) out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(file);
}

/* Start time of a process and whether it still runs; false: there is none, or a zombie. */
static bool process_born(int64_t pid, int64_t *born) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    first_line(path, text, sizeof text);
    char *at = strrchr(text, ')'); /* the name before may hold anything */
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') return false;
    at += 2;
    for (int field = 3; field < 22 && at; field++) {
        at = strchr(at, ' ');
        if (at) at++;
    }
    if (!at || *at < '0' || *at > '9') return false;
    *born = strtoll(at, NULL, 10);
    return true;
}

static px_err *random_token(char out[33]) {
    unsigned char bytes[16];
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
    if (fd >= 0) close(fd);
    if (n != (ssize_t)sizeof bytes) PX_FAIL(PX_RUN_FAILED, "/dev/urandom: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return NULL;
}

static px_err *who_am_i(identity *me) {
    const char *job = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");
    *me = (identity){.pid = getpid()};
    PX_PASS(random_token(me->token));
    gethostname(me->host, sizeof me->host - 1);
    first_line("/proc/sys/kernel/random/boot_id", me->boot, sizeof me->boot);
    if (readlink("/proc/self/ns/pid", me->space, sizeof me->space - 1) < 0) me->space[0] = 0;
    snprintf(me->job, sizeof me->job, "%s", job ? job : "");
    if (!restart || !px_parse_i64(restart, &me->restart)) me->restart = 0;
    if (!process_born(me->pid, &me->born)) me->born = 0;
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(me->at, sizeof me->at, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return NULL;
}

static void take_text(const cJSON *json, const char *key, char *out, size_t size) {
    const char *text = px_json_find_text(json, key);
    snprintf(out, size, "%s", text ? text : "");
}

/* false: there is no such file, or none that can be read. */
static bool read_owner(const char *path, identity *out) {
    cJSON *json = NULL;
    px_err *err = px_json_read(path, false, &json);
    *out = (identity){.pid = -1};
    px_err_free(err);
    if (!json) return false;
    take_text(json, "token", out->token, sizeof out->token);
    take_text(json, "host", out->host, sizeof out->host);
    take_text(json, "boot", out->boot, sizeof out->boot);
    take_text(json, "process_space", out->space, sizeof out->space);
    take_text(json, "slurm_job", out->job, sizeof out->job);
    take_text(json, "at", out->at, sizeof out->at);
    out->pid = (int64_t)px_json_find_f64(json, "pid", -1);
    out->born = (int64_t)px_json_find_f64(json, "born", 0);
    out->restart = (int64_t)px_json_find_f64(json, "slurm_restart", 0);
    cJSON_Delete(json);
    return true;
}

static px_err *owner_text(const identity *me, px_str *out) {
    const char *const texts[][2] = {{"token", me->token},   {"host", me->host},
                                    {"boot", me->boot},     {"process_space", me->space},
                                    {"slurm_job", me->job}, {"at", me->at}};
    px_str_char(out, '{');
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        px_str_format(out, "\"%s\": ", texts[i][0]);
        px_str_json(out, texts[i][1], strlen(texts[i][1]));
        px_str_text(out, ", ");
    }
    px_str_format(out, "\"pid\": %lld, \"born\": %lld, \"slurm_restart\": %lld}\n",
                  (long long)me->pid, (long long)me->born, (long long)me->restart);
    return px_str_ok(out);
}

/* --- is it gone? --- */

/* Seconds since the sign of life, or since the folder was taken, by the file system's own clock;
 * *when: its time. -1: not known. */
static double quiet_s(const char *dir, time_t *when) {
    struct stat beat, now;
    char *path = px_path_join(dir, "heartbeat.json"), *owner = px_path_join(dir, "owner.json"),
         *probe = px_path_join(dir, ".clock.tmp");
    double s = -1;
    int fd = probe ? open(probe, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd >= 0 && path && owner && fstat(fd, &now) == 0 &&
        (stat(path, &beat) == 0 || stat(owner, &beat) == 0)) {
        s = difftime(now.st_mtime, beat.st_mtime);
        *when = beat.st_mtime;
    }
    if (fd >= 0) {
        close(fd);
        unlink(probe);
    }
    free(path);
    free(owner);
    free(probe);
    return s;
}

/* Another machine's process cannot be asked, so its next sign of life is waited for. */
static bool stays_quiet(const char *dir) {
    time_t first = 0, now = 0;
    double s = quiet_s(dir, &first);
    bool said = false;
    while (s >= 0 && s <= PX_OWNER_QUIET_S && !px_signal_seen()) {
        if (!said) px_info("%s: its writer is elsewhere: waiting for a sign of life", dir);
        said = true;
        sleep(1);
        s = quiet_s(dir, &now);
        if (now != first) return false;
    }
    return s > PX_OWNER_QUIET_S;
}

/* Why the owner cannot be writing any more, or NULL: it may. */
static const char *why_gone(const char *dir, const identity *o, const identity *me) {
    int64_t born = 0;
    bool same_host = !strcmp(o->host, me->host);
    if (!strcmp(o->token, me->token)) return "it is this process";
    if (same_host && o->boot[0] && strcmp(o->boot, me->boot) != 0)
        return "its machine was started anew";
    if (same_host && !strcmp(o->space, me->space))
        return process_born(o->pid, &born) && born == o->born ? NULL : "the process is gone";
    if (o->job[0] && !strcmp(o->job, me->job) && o->restart < me->restart)
        return "it was an earlier start of this Slurm job";
    return stays_quiet(dir) ? "it gives no sign of life" : NULL;
}

static px_err *refuse(const char *dir, const identity *o) {
    PX_FAIL(PX_BAD_INPUT,
            "%s: is being written by process %lld on %s since %s%s%s: wait for it or end it; if it "
            "is gone for certain, remove %s/owner.json",
            dir, (long long)o->pid, o->host, o->at, o->job[0] ? ", Slurm job " : "", o->job, dir);
}

px_err *px_owner_look(const char *dir) {
    identity me, owner;
    char *path = px_path_join(dir, "owner.json");
    if (!path) PX_NO_MEMORY();
    bool there = read_owner(path, &owner);
    free(path);
    if (!there) return NULL;
    PX_PASS(who_am_i(&me));
    return why_gone(dir, &owner, &me) ? NULL : refuse(dir, &owner);
}

/* --- taking and giving up --- */

static px_err *place(const px_owner *o, const char *temp) {
    if (link(temp, o->path) == 0) return NULL;
    /* A file system without links has no way to tell who was first. */
    if (errno != EEXIST && !px_path_exists(o->path)) {
        if (rename(temp, o->path) == 0) return NULL;
        PX_FAIL(PX_RUN_FAILED, "%s: %s", o->path, strerror(errno));
    }
    identity other;
    if (!read_owner(o->path, &other)) other.pid = -1;
    const char *why = other.pid < 0 ? "its file is damaged" : why_gone(o->dir, &other, &o->me);
    if (!why) return refuse(o->dir, &other);
    px_info("%s: taken over from process %lld on %s: %s", o->dir, (long long)other.pid, other.host,
            why);
    if (rename(temp, o->path)) PX_FAIL(PX_RUN_FAILED, "%s: %s", o->path, strerror(errno));
    return NULL;
}

static px_err *take(px_owner *o) {
    px_str text = {0};
    char *temp = NULL;
    px_err *err = owner_text(&o->me, &text);
    FILE *file = NULL;
    if (!err && asprintf(&temp, "%s/.owner.%s.tmp", o->dir, o->me.token) < 0) temp = NULL;
    if (!err && !temp) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, err);
    file = fopen(temp, "w");
    bool good = file && fwrite(text.data, 1, text.size, file) == text.size && fflush(file) == 0 &&
                fsync(fileno(file)) == 0;
    if (!good)
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: cannot be written: %s (%zu bytes)", o->path,
                   strerror(errno), text.size);
    PX_PASS_TO(done, place(o, temp));
    err = px_owner_check(o);
done:
    if (file) fclose(file);
    if (temp) unlink(temp);
    free(temp);
    px_str_free(&text);
    return err;
}

px_err *px_owner_check(px_owner *owner) {
    identity now;
    if (read_owner(owner->path, &now) && !strcmp(now.token, owner->me.token)) return NULL;
    if (now.pid < 0)
        PX_FAIL(PX_RUN_FAILED,
                "%s is gone or damaged: somebody else may write this run: this "
                "process ends and leaves everything as it is",
                owner->path);
    PX_FAIL(PX_RUN_FAILED,
            "%s belongs to process %lld on %s since %s%s%s: this process ends and leaves "
            "everything as it is",
            owner->dir, (long long)now.pid, now.host, now.at, now.job[0] ? ", Slurm job " : "",
            now.job);
}

static px_err *guard_check(void *context) { return px_owner_check(context); }

/* What a writer that is gone left half written. */
static void clear_temps(const char *dir) {
    DIR *open = opendir(dir);
    if (!open) return;
    for (struct dirent *e; (e = readdir(open));) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.' && n > 5 && !strcmp(e->d_name + n - 4, ".tmp"))
            unlinkat(dirfd(open), e->d_name, 0);
    }
    closedir(open);
}

static void clear_all_temps(const char *dir) {
    static const char *const folders[] = {"checkpoints", "adapter"};
    clear_temps(dir);
    for (size_t i = 0; i < PX_COUNT(folders); i++) {
        char *path = px_path_join(dir, folders[i]);
        if (path) clear_temps(path);
        free(path);
    }
}

static void owner_free(px_owner *o) {
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->wake);
    free(o->dir);
    free(o->path);
    free(o->beat_path);
    free(o->beat_temp);
    free(o);
}

static px_err *owner_new(const px_ranks *ranks, const char *dir, px_owner **out) {
    px_owner *o = calloc(1, sizeof *o);
    if (!o) PX_NO_MEMORY();
    *out = o;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->wake, NULL);
    o->first = ranks->rank == 0;
    o->dir = strdup(dir);
    o->path = px_path_join(dir, "owner.json");
    o->beat_path = px_path_join(dir, "heartbeat.json");
    if (!o->dir || !o->path || !o->beat_path) PX_NO_MEMORY();
    return o->first ? who_am_i(&o->me) : NULL;
}

px_err *px_owner_take_all(const px_ranks *ranks, const char *dir, px_owner **out) {
    px_owner *o = NULL;
    px_err *err = owner_new(ranks, dir, &o);
    if (!err && o->first) err = take(o);
    PX_PASS_TO(failed, px_agree_all(ranks, err));
    px_bcast_all(ranks, o->me.token, sizeof o->me.token, 0);
    if (o->first) clear_all_temps(dir);
    err = px_guard_set(dir, o->me.token, o->first ? guard_check : NULL, o);
    if (!err && o->first && asprintf(&o->beat_temp, "%s/.heartbeat.%s.tmp", dir, o->me.token) < 0)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(failed, px_agree_all(ranks, err));
    *out = o;
    return NULL;
failed:
    px_owner_drop(o);
    return err;
}

/* --- sign of life --- */

/* Not flushed to disk: it is for those who look now. What fails here is no reason to stop. */
static void beat(px_owner *o, const char *phase, int64_t step) {
    char at[32] = "unknown";
    time_t clock = time(NULL);
    struct tm utc;
    identity now;
    if (gmtime_r(&clock, &utc)) strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (!read_owner(o->path, &now) || strcmp(now.token, o->me.token) != 0) return;
    FILE *file = fopen(o->beat_temp, "w");
    if (!file) return;
    fprintf(file,
            "{\"time\": %lld, \"at\": \"%s\", \"phase\": \"%s\", \"step\": %lld, "
            "\"steps\": %lld, \"rank\": 0, \"host\": \"%s\", \"pid\": %lld}\n",
            (long long)clock, at, phase, (long long)step, (long long)o->total, o->me.host,
            (long long)o->me.pid);
    if (fclose(file) || rename(o->beat_temp, o->beat_path)) unlink(o->beat_temp);
}

static void *beat_run(void *context) {
    px_owner *o = context;
    pthread_mutex_lock(&o->lock);
    while (!o->stop) {
        const char *phase = o->phase;
        int64_t step = o->step;
        pthread_mutex_unlock(&o->lock); /* a file system that hangs must not hold up the marks */
        beat(o, phase, step);
        pthread_mutex_lock(&o->lock);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += BEAT_EVERY_S;
        if (!o->stop) pthread_cond_clockwait(&o->wake, &o->lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static void mark(void *context, const char *phase, int64_t step) {
    px_owner *o = context;
    pthread_mutex_lock(&o->lock);
    o->phase = phase;
    o->step = step;
    pthread_mutex_unlock(&o->lock);
}

void px_heartbeat_start(px_owner *owner, int64_t total) {
    if (!owner->first || owner->beats) return;
    owner->total = total;
    owner->phase = "start";
    px_watch_call(mark, owner);
    owner->beats = pthread_create(&owner->thread, NULL, beat_run, owner) == 0;
    if (!owner->beats) px_warn("%s: no thread for the sign of life", owner->dir);
}

static void heartbeat_stop(px_owner *owner) {
    if (!owner->beats) return;
    pthread_mutex_lock(&owner->lock);
    owner->stop = true;
    pthread_cond_signal(&owner->wake);
    pthread_mutex_unlock(&owner->lock);
    pthread_join(owner->thread, NULL);
    owner->beats = false;
}

void px_owner_drop(px_owner *owner) {
    if (!owner) return;
    px_watch_call(NULL, NULL);
    heartbeat_stop(owner);
    px_err_free(px_guard_set(NULL, "", NULL, NULL));
    identity now;
    bool mine = owner->first && owner->path && read_owner(owner->path, &now) &&
                !strcmp(now.token, owner->me.token);
    if (mine) {
        unlink(owner->beat_path);
        unlink(owner->path);
    }
    owner_free(owner);
}

/* --- starts that come to nothing --- */

px_err *px_starts_count(const char *dir, int64_t step) {
    cJSON *json = NULL;
    char text[96];
    char *path = px_path_join(dir, "starts.json");
    if (!path) PX_NO_MEMORY();
    px_err *none = px_json_read(path, false, &json);
    px_err_free(none);
    int64_t before = (int64_t)px_json_find_f64(json, "step", -1), n = 1;
    if (before == step) n = (int64_t)px_json_find_f64(json, "starts", 0) + 1;
    cJSON_Delete(json);
    px_err *err = NULL;
    if (n > PX_STARTS_MOST) {
        unlink(path);
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%s: started %lld times after step %lld and never finished a step and its "
                         "checkpoint: give the job a longer limit, more ranks or threads, lower "
                         "batch.pairs, or checkpoint.every 1; the next start tries again",
                         dir, (long long)n - 1, (long long)step);
    } else {
        int size = snprintf(text, sizeof text, "{\"step\": %lld, \"starts\": %lld}\n",
                            (long long)step, (long long)n);
        err = px_file_write(path, text, (size_t)size);
    }
    free(path);
    return err;
}
