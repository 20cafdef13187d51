/* lock.c - one process works in a place. See job.h.
 *
 * The lock is a kernel lock (flock) on a file that also holds who has it. The kernel's half ends
 * with its holder, however that dies. It may not reach over machines (some network file systems
 * keep locks to themselves or have none), so the text is heeded too where it names another machine:
 * then the holder counts as alive unless its Slurm job is known to be over. The file stays, empty,
 * when the lock is given back: removing it would race with who opens it. */
#include "job_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    char host[256], slurm_job[64];
    int64_t pid, start, restart, since_s;
} holder;

/* When a process began, in the kernel's ticks: a pid alone may be another's by now. 0: none. */
static int64_t process_start(int64_t pid) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char *got = fgets(line, sizeof line, file);
    fclose(file);
    char *at = got ? strrchr(line, ')') : NULL; /* the name before it may hold spaces */
    for (int i = 0; at && i < 20; i++) at = strchr(at + 1, ' ');
    if (!at) return 0;
    at[1 + strcspn(at + 1, " \n")] = 0;
    int64_t start = 0;
    return px_parse_i64(at + 1, &start) ? start : 0;
}

static holder holder_self(void) {
    holder me = {.pid = getpid(), .since_s = time(NULL)};
    const char *job = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");
    gethostname(me.host, sizeof me.host - 1);
    me.start = process_start(me.pid);
    snprintf(me.slurm_job, sizeof me.slurm_job, "%s", job ? job : "");
    if (!restart || !px_parse_i64(restart, &me.restart)) me.restart = 0;
    return me;
}

static px_err *holder_write(int fd, const holder *h) {
    px_str text = {0};
    px_str_text(&text, "{\"host\": ");
    px_str_json(&text, h->host, strlen(h->host));
    px_str_format(&text, ", \"pid\": %lld, \"start\": %lld, \"since\": %lld", (long long)h->pid,
                  (long long)h->start, (long long)h->since_s);
    px_str_text(&text, ", \"slurm_job\": ");
    px_str_json(&text, h->slurm_job, strlen(h->slurm_job));
    px_str_format(&text, ", \"restart\": %lld}\n", (long long)h->restart);
    px_err *err = px_str_ok(&text);
    if (!err && (ftruncate(fd, 0) || pwrite(fd, text.data, text.size, 0) != (ssize_t)text.size))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "write: %s", strerror(errno));
    px_str_free(&text);
    return err;
}

/* false: nobody is named (or only half, while another writes). */
static bool holder_read(int fd, holder *out) {
    char text[2048];
    cJSON *json = NULL;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    *out = (holder){0};
    if (n <= 0) return false;
    px_err *err = px_json_parse(text, (size_t)n, &json);
    if (err) {
        px_err_free(err);
        return false;
    }
    const char *host = px_json_find_text(json, "host"), *job = px_json_find_text(json, "slurm_job");
    snprintf(out->host, sizeof out->host, "%s", host ? host : "");
    snprintf(out->slurm_job, sizeof out->slurm_job, "%s", job ? job : "");
    out->pid = (int64_t)px_json_find_f64(json, "pid", 0);
    out->start = (int64_t)px_json_find_f64(json, "start", 0);
    out->restart = (int64_t)px_json_find_f64(json, "restart", 0);
    out->since_s = (int64_t)px_json_find_f64(json, "since", 0);
    cJSON_Delete(json);
    return out->pid > 0;
}

/* Is a Slurm job over, as far as this machine can tell? */
static bool slurm_over(const char *id) {
    const char *argv[] = {"squeue", "-h", "-o", "%T", "-j", id, NULL};
    px_str text = {0};
    int code = 0;
    if (!*id || strspn(id, "0123456789") != strlen(id)) return false;
    px_err *err = px_launch_capture(argv, &text, &code);
    const char *said = text.data ? text.data : "";
    bool lives = strstr(said, "RUNNING") || strstr(said, "COMPLETING") || strstr(said, "SUSPENDED");
    bool over = !err && (code == 0 ? !lives : strstr(said, "Invalid job id") != NULL);
    px_err_free(err);
    px_str_free(&text);
    return over;
}

/* `locked`: the kernel's half is ours, so nobody on this machine holds the other. */
static bool holder_dead(const holder *h, bool locked) {
    const holder me = holder_self();
    if (!strcmp(h->host, me.host)) return locked || process_start(h->pid) != h->start;
    if (*h->slurm_job && !strcmp(h->slurm_job, me.slurm_job)) return me.restart > h->restart;
    return slurm_over(h->slurm_job);
}

static px_err *held(const char *path, const char *what, const holder *h, bool known) {
    char when[64] = "", slurm[128] = "";
    time_t since = (time_t)h->since_s;
    struct tm parts;
    if (!known) PX_FAIL(PX_BAD_INPUT, "another process works on %s (%s is locked)", what, path);
    if (*h->slurm_job)
        snprintf(slurm, sizeof slurm, ", Slurm job %s, restart %lld", h->slurm_job,
                 (long long)h->restart);
    localtime_r(&since, &parts);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    PX_FAIL(PX_BAD_INPUT,
            "another process works on %s: host %s, pid %lld%s, since %s; wait for it or end it (if "
            "that machine is gone for good, remove %s)",
            what, h->host, (long long)h->pid, slurm, when, path);
}

/* One try. *again: the holder may be about to end. */
static px_err *take_once(const char *path, const char *what, bool inherit, px_job_lock *out,
                         bool *again) {
    holder h = {0};
    int fd = open(path, O_RDWR | O_CREAT | (inherit ? 0 : O_CLOEXEC), 0666);
    *again = false;
    if (fd < 0) PX_FAIL(PX_BAD_INPUT, "%s: cannot be written: %s", path, strerror(errno));
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    bool busy = !locked && errno == EWOULDBLOCK;
    bool known = holder_read(fd, &h);
    if (busy || (known && !holder_dead(&h, locked))) {
        px_err *err = held(path, what, &h, known);
        *again = busy;
        close(fd);
        return err;
    }
    const holder me = holder_self();
    px_err *err = holder_write(fd, &me);
    if (err) {
        close(fd);
        return px_err_add(err, __FILE__, __LINE__, "%s", path);
    }
    *out = (px_job_lock){.fd = fd, .path = path};
    return NULL;
}

px_err *px_job_lock_take(const char *path, const char *what, bool inherit, double wait_s,
                         px_job_lock *out) {
    const double until = px_now_s() + wait_s;
    *out = PX_JOB_UNLOCKED;
    for (;;) {
        bool again = false;
        px_err *err = take_once(path, what, inherit, out, &again);
        if (!err || !again || px_now_s() > until) return err;
        px_err_free(err);
        struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
    }
}

void px_job_lock_drop(px_job_lock *lock) {
    if (lock->fd < 0) return;
    if (ftruncate(lock->fd, 0)) px_debug("%s: %s", lock->path, strerror(errno));
    close(lock->fd);
    *lock = PX_JOB_UNLOCKED;
}

bool job_lock_held(const char *path) {
    holder h = {0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) == 0;
    bool busy = !locked && errno == EWOULDBLOCK;
    bool held = busy || (holder_read(fd, &h) && !holder_dead(&h, locked));
    close(fd);
    return held;
}
