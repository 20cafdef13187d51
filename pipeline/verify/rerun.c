/* rerun.c - computes a run again, as a user would: `prismx train` in a folder beside the run's. A
 * run that went on with more train.steps than it began with is computed in the same parts, since
 * the rate of a step depends on how many there are to be. */
#include "job.h"
#include "verify_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define ARGS_MAX 64

typedef struct {
    char *argv[ARGS_MAX];
    int n;
    bool failed;
} args;

static void add(args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(args *a, const char *format, ...) {
    va_list list;
    char *text = NULL;
    va_start(list, format);
    int n = vasprintf(&text, format, list);
    va_end(list);
    if (n < 0 || a->n >= ARGS_MAX - 1) {
        if (n >= 0) free(text);
        a->failed = true;
        return;
    }
    a->argv[a->n++] = text;
}

static void args_free(args *a) {
    for (int i = 0; i < a->n; i++) free(a->argv[i]);
}

char *verify_rerun_path(const verifying *v, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%s/run%s%s", v->temp, *name ? "/" : "", name) < 0 ? NULL : path;
}

/* --- the child --- */

/* Waits for the child and passes a signal of ours on to it, once. */
static int wait_for(pid_t pid, bool *stopped) {
    int status = 0;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        poll(&one, fd >= 0, fd >= 0 ? 1000 : 50); /* a signal ends it early */
        if (px_signal_seen() && !*stopped) {
            kill(pid, SIGUSR1); /* what launchers pass on */
            *stopped = true;
        }
    }
    if (fd >= 0) close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static px_err *run_child(args *a, int *code) {
    posix_spawn_file_actions_t files;
    pid_t pid = 0;
    bool stopped = false;
    if (a->failed) PX_NO_MEMORY();
    a->argv[a->n] = NULL;
    if (geteuid() == 0) { /* mpirun asks root twice */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);
    setenv("OMPI_MCA_orte_execute_quiet", "1", 0); /* exit 3 of --stop-after is no mishap */
    int why = posix_spawn_file_actions_init(&files);
    if (why) PX_FAIL(PX_RUN_FAILED, "cannot start the rerun: %s", strerror(why));
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    why = posix_spawnp(&pid, a->argv[0], &files, NULL, a->argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (why)
        PX_FAIL(PX_RUN_FAILED, "%s cannot be started: %s%s", a->argv[0], strerror(why),
                !strcmp(a->argv[0], "mpirun") ? "; --ranks 1 needs no MPI" : "");
    *code = wait_for(pid, &stopped);
    if (stopped) PX_FAIL(PX_STOPPED, "by a signal; nothing was changed");
    return NULL;
}

/* --- one part of the run --- */
typedef struct {
    int64_t train_steps, stop_after; /* stop_after 0: to the end */
    bool resume;
} part;

/* Where the run found its reference log-probabilities, if that is still there. */
static const char *reference_folder(const verifying *v) {
    const char *path = px_json_find_text(v->manifest, "reference");
    if (v->job->recompute || !path || !px_path_exists(path)) return v->temp;
    const char *slash = strrchr(path, '/');
    return slash ? px_arena_text(v->arena, path, (size_t)(slash - path)) : ".";
}

static void add_checkpoints(const verifying *v, args *a) {
    px_str list = {0};
    for (int i = 0; i < v->n_checkpoints; i++)
        if (v->steps[i] >= v->first_step && v->steps[i] <= v->end_step)
            px_str_format(&list, "%s%lld", list.size ? "," : "", (long long)v->steps[i]);
    if (list.size) {
        add(a, "--checkpoint-at");
        add(a, "%s", list.data);
    }
    px_str_free(&list);
    if (v->first_step == 1 && v->n_checkpoints > 0 && v->steps[v->n_checkpoints - 1] == 0) {
        add(a, "--set");
        add(a, "checkpoint.initial=true");
    }
}

static px_err *run_part(const verifying *v, int ranks, part p) {
    args a = {.n = 0};
    int code = 0;
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[n] = 0;
    double threads = px_json_find_f64(v->config, "threads", 0);
    bool fits = threads * ranks <= (double)sysconf(_SC_NPROCESSORS_ONLN);
    const char *const *words = NULL;
    PX_PASS(px_launch_words(ranks, v->arena, &words));
    for (int i = 0; words[i]; i++) add(&a, "%s", words[i]);
    add(&a, "%s", program);
    add(&a, "train");
    add(&a, "--config");
    add(&a, "%s/config.json", v->temp);
    add(&a, "--corpus");
    add(&a, "%s", v->corpus);
    add(&a, "--model");
    add(&a, "%s", v->model);
    add(&a, "--out");
    add(&a, "%s/run", v->temp);
    add(&a, "--set=train.steps=%lld", (long long)p.train_steps);
    add(&a, "--set=checkpoint.every=0");
    add(&a, "--set=checkpoint.keep=%d", v->n_checkpoints + 3);
    if (!fits) add(&a, "--set=threads=0"); /* shared out among the ranks */
    add(&a, "--set=log.tensorboard=false");
    add(&a, "--set=reference.cache=%s", reference_folder(v));
    if (p.resume) add(&a, "--resume");
    if (p.stop_after) add(&a, "--stop-after=%lld", (long long)p.stop_after);
    add_checkpoints(v, &a);
    px_err *err = run_child(&a, &code);
    args_free(&a);
    PX_PASS(err);
    if (code == 0 || (code == PX_STOPPED && p.stop_after)) return NULL;
    PX_FAIL(code == PX_BAD_INPUT ? PX_BAD_INPUT : PX_RUN_FAILED,
            "the rerun itself failed (exit %d): its message stands above; nothing is said about "
            "the run",
            code);
}

/* --- the folder --- */

static px_err *make_temp(verifying *v) {
    const char *places[2] = {v->job->run, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"};
    for (int i = 0; i < 2; i++) {
        char *path = NULL, *at = strdup(places[i]);
        if (!at) PX_NO_MEMORY();
        for (size_t n = strlen(at); n > 1 && at[n - 1] == '/'; n--) at[n - 1] = 0;
        int n = asprintf(&path, "%s%s.XXXXXX", at, i ? "/prismx-verify" : ".verify");
        free(at);
        if (n < 0) PX_NO_MEMORY();
        if (mkdtemp(path)) {
            v->temp = path;
            return NULL;
        }
        free(path);
    }
    PX_FAIL(PX_BAD_INPUT, "neither the folder of %s nor %s can be written: %s", v->job->run,
            places[1], strerror(errno));
}

static px_err *write_config(const verifying *v, const char *dir) {
    px_str text = {0};
    char *path = px_path_join(dir, "config.json");
    px_json_print_pretty(v->config, &text);
    px_err *err = px_str_ok(&text);
    if (!err && !path) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_file_write(path, text.data, text.size);
    free(path);
    px_str_free(&text);
    return err;
}

/* A folder that stands at the checkpoint it is to go on from. */
static px_err *place_checkpoint(const verifying *v) {
    char *from = px_checkpoint_path(v->job->run, v->job->from_step), *whole = NULL;
    char *run = verify_rerun_path(v, ""), *dir = verify_rerun_path(v, "checkpoints"), *to = NULL;
    px_err *err = NULL;
    if (!from || !run || !dir) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_dir_make(dir));
    PX_PASS_TO(done, write_config(v, run));
    to = px_checkpoint_path(run, v->job->from_step);
    whole = realpath(from, NULL);
    if (!to || !whole || symlink(whole, to))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s", from, strerror(errno));
done:
    free(from);
    free(whole);
    free(run);
    free(dir);
    free(to);
    return err;
}

/* The run's ranks, no more than this machine has cores; results do not depend on them, unless it
 * was asked to. */
static int ranks_of(const verifying *v) {
    const cJSON *comm = cJSON_GetObjectItemCaseSensitive(v->config, "comm");
    const char *reduce = px_json_find_text(comm, "reduce");
    int theirs = (int)px_json_find_f64(v->manifest, "ranks", 1);
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (v->job->ranks) return v->job->ranks;
    if (reduce && strcmp(reduce, "exact") != 0) return PX_MAX(1, theirs);
    return PX_MAX(1, PX_MIN(theirs, cores));
}

/* Every start with another train.steps begins a part. */
static px_err *run_parts(verifying *v, int ranks) {
    const cJSON *starts = cJSON_GetObjectItemCaseSensitive(v->manifest, "starts");
    const cJSON *train = cJSON_GetObjectItemCaseSensitive(v->config, "train"), *start = NULL;
    part p = {.train_steps = (int64_t)px_json_find_f64(train, "steps", 0),
              .resume = v->job->from_step > 0};
    if (cJSON_GetArraySize(starts) > 0)
        p.train_steps = (int64_t)px_json_find_f64(starts->child, "train_steps", 0);
    cJSON_ArrayForEach(start, starts) {
        int64_t at = (int64_t)px_json_find_f64(start, "step", 0);
        int64_t steps = (int64_t)px_json_find_f64(start, "train_steps", 0);
        if (steps == p.train_steps) continue;
        if (at >= v->first_step && at < v->end_step) {
            p.stop_after = at;
            PX_PASS(run_part(v, ranks, p));
            p.resume = true;
        }
        if (at < v->end_step) p.train_steps = steps;
    }
    p.stop_after = v->whole ? 0 : v->end_step;
    return run_part(v, ranks, p);
}

px_err *verify_rerun(verifying *v) {
    int ranks = ranks_of(v);
    PX_PASS(make_temp(v));
    PX_PASS(write_config(v, v->temp));
    if (v->job->from_step > 0) PX_PASS(place_checkpoint(v));
    px_info("steps %lld to %lld again on %d rank%s, in %s", (long long)v->first_step,
            (long long)v->end_step, ranks, ranks == 1 ? "" : "s", v->temp);
    PX_PASS(run_parts(v, ranks));
    char *run = verify_rerun_path(v, "");
    if (!run) PX_NO_MEMORY();
    px_err *err = px_manifest_read(run, &v->manifest_now);
    free(run);
    verify_say(v, "rerun: steps %lld to %lld on %d rank%s", (long long)v->first_step,
               (long long)v->end_step, ranks, ranks == 1 ? "" : "s");
    return err;
}
