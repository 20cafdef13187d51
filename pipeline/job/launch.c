/* launch.c - a step as a process of its own, or as ranks of a launcher. See px_launch in job.h.
 *
 * The child writes its log itself, so that this process's death loses nothing of it; what is shown
 * is read back from the log. It gets a process group of its own (a terminal's Ctrl-C reaches this
 * process alone, which passes it on as SIGUSR1: what both launchers forward to their ranks) and
 * SIGUSR1 when this process dies, however it does. */
#include "job_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dist.h"

static bool on_path(const char *program) {
    const char *at = getenv("PATH");
    char file[4096];
    while (at && *at) {
        size_t n = strcspn(at, ":");
        int size = snprintf(file, sizeof file, "%.*s/%s", (int)n, at, program);
        if (size > 0 && size < (int)sizeof file && access(file, X_OK) == 0) return true;
        at += n + (at[n] == ':');
    }
    return false;
}

enum { LAUNCH_WORDS_MAX = 64 };

static px_err *add_split(const char *text, const char *variable, px_arena *arena,
                         const char **words, int *n) {
    for (const char *at = text; at && *(at += strspn(at, " "));) {
        size_t size = strcspn(at, " ");
        if (*n == LAUNCH_WORDS_MAX)
            PX_FAIL(PX_BAD_INPUT, "%s: more than %d words", variable, LAUNCH_WORDS_MAX);
        words[(*n)++] = px_arena_text(arena, at, size);
        at += size;
    }
    return NULL;
}

px_err *px_launch_words(int ranks, px_arena *arena, const char *const **out) {
    const char **words = px_take(arena, const char *, LAUNCH_WORDS_MAX + 3);
    const char *wish = getenv("PRISMX_LAUNCHER"), *nodes = getenv("SLURM_JOB_NUM_NODES");
    int64_t n_nodes = 0;
    int n = 0;
    PX_PASS(px_arena_ok(arena));
    *out = words;
    if (ranks > 1) {
        bool several = nodes && px_parse_i64(nodes, &n_nodes) && n_nodes > 1;
        if (!wish || !*wish) wish = several && on_path("srun") ? "srun --mpi=pmix" : "mpirun";
        PX_PASS(add_split(wish, "PRISMX_LAUNCHER", arena, words, &n));
        if (!on_path(words[0]) && !strchr(words[0], '/'))
            PX_FAIL(PX_BAD_INPUT, "%d ranks are wanted, but %s is not on PATH", ranks, words[0]);
        words[n++] = "-n";
        words[n++] = job_text(arena, "%d", ranks);
    }
    PX_PASS(add_split(getenv("PRISMX_CONTAINER"), "PRISMX_CONTAINER", arena, words, &n));
    return px_arena_ok(arena);
}

/* What a launcher needs, where nothing else is set: root's leave, more ranks than cores, threads
 * free to use every core, no warnings about what a container forbids. */
static void launcher_environment(void) {
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
    if (getuid() == 0) {
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
}

/* A child is no rank of whatever started this process. */
static void forget_launcher(void) {
    static const char *const starts[] = {"PMIX_",          "PMI_",          "OMPI_COMM_WORLD_",
                                         "OMPI_UNIVERSE_", "OMPI_MCA_ess_", "OMPI_MCA_orte_"};
    for (size_t k = 0; k < PX_COUNT(starts); k++)
        for (char **at = environ; *at;) {
            char name[256];
            size_t n = strcspn(*at, "=");
            if (strncmp(*at, starts[k], strlen(starts[k])) != 0 || n >= sizeof name) {
                at++;
                continue;
            }
            snprintf(name, sizeof name, "%.*s", (int)n, *at);
            unsetenv(name);
            at = environ;
        }
}

static void child_environment(const px_launch_job *job, bool launched) {
    char threads[16];
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    forget_launcher();
    if (launched) launcher_environment();
    if (!launched) unsetenv("SLURM_STEP_ID"), unsetenv("SLURM_STEPID");
    int n = job->threads ? job->threads : PX_MAX(1, cores / PX_MAX(1, job->ranks));
    snprintf(threads, sizeof threads, "%d", n);
    if (job->threads || (launched && !getenv("OMP_NUM_THREADS")))
        setenv("OMP_NUM_THREADS", threads, 1);
    for (int i = 0; job->env && job->env[i]; i++) putenv((char *)(uintptr_t)job->env[i]);
}

typedef struct {
    const char *program;
    char *const *argv;
    pid_t parent;
    int log;   /* -1: none */
    int error; /* errno goes there where exec fails */
    bool launched;
} child_start;

static void child_run(const px_launch_job *job, const child_start *start) __attribute__((noreturn));
static void child_run(const px_launch_job *job, const child_start *start) {
    int why = 0;
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != start->parent) _exit(PX_STOPPED);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, STDIN_FILENO);
    if (start->log >= 0) {
        dup2(start->log, STDOUT_FILENO);
        dup2(start->log, STDERR_FILENO);
    }
    child_environment(job, start->launched);
    execvp(start->program, start->argv);
    why = errno;
    ssize_t written = write(start->error, &why, sizeof why);
    (void)written;
    _exit(127);
}

/* Shell-like, for the log's head. */
static void add_words(px_str *text, char *const *argv) {
    for (; *argv; argv++) {
        bool plain = **argv && !strpbrk(*argv, " \t\n'\"\\$`*?[]{}()<>|&;!#~");
        px_str_format(text, plain ? " %s" : " '%s'", *argv);
    }
}

static px_err *log_open(const char *path, char *const *argv, int *out) {
    px_str head = {0};
    char when[32];
    time_t now = time(NULL);
    struct tm parts;
    *out = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*out < 0) PX_FAIL(PX_BAD_INPUT, "%s: cannot be written: %s", path, strerror(errno));
    gmtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    px_str_format(&head, "== %s", when);
    add_words(&head, argv);
    px_str_char(&head, '\n');
    if (!head.failed && write(*out, head.data, head.size) != (ssize_t)head.size) {
        px_str_free(&head);
        PX_FAIL(PX_RUN_FAILED, "%s: write: %s", path, strerror(errno));
    }
    px_str_free(&head);
    return NULL;
}

/* Copies what the log has got since `*at` to stderr. */
static void show_more(int log, off_t *at) {
    char chunk[4096];
    ssize_t n;
    while ((n = pread(log, chunk, sizeof chunk, *at)) > 0) {
        *at += n;
        if (write(STDERR_FILENO, chunk, (size_t)n) < 0) return;
    }
}

/* Waits; between looks it sleeps a little longer each time, to 50 ms, and a signal wakes it. */
static void child_wait(pid_t pid, int log, bool show, px_launch_end *end) {
    off_t at = log >= 0 ? lseek(log, 0, SEEK_END) : 0;
    long pause_ms = 1;
    int status = 0;
    for (;;) {
        pid_t gone = waitpid(pid, &status, WNOHANG);
        if (show && log >= 0) show_more(log, &at);
        if (gone == pid || (gone < 0 && errno != EINTR)) break;
        if (px_signal_seen() && !end->stopped) {
            end->stopped = true;
            kill(pid, SIGUSR1);
        }
        struct timespec pause = {.tv_nsec = pause_ms * 1000000};
        nanosleep(&pause, NULL);
        pause_ms = PX_MIN(2 * pause_ms, 50);
    }
    end->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static px_err *child_fork(const px_launch_job *job, child_start *start, px_launch_end *end) {
    int error[2] = {-1, -1}, why = 0;
    if (pipe2(error, O_CLOEXEC)) PX_FAIL(PX_RUN_FAILED, "pipe: %s", strerror(errno));
    start->error = error[1];
    start->parent = getpid();
    pid_t pid = fork();
    if (pid == 0) child_run(job, start);
    why = pid < 0 ? errno : 0;
    close(error[1]);
    if (pid > 0 && read(error[0], &why, sizeof why) != sizeof why) why = 0; /* closed by exec */
    close(error[0]);
    if (pid > 0) child_wait(pid, start->log, job->show && !why, end);
    if (why) PX_FAIL(PX_RUN_FAILED, "%s cannot be started: %s", start->program, strerror(why));
    return NULL;
}

px_err *px_launch(const px_launch_job *job, px_launch_end *end) {
    px_err *err = NULL;
    px_arena *arena = NULL;
    const char *const *launcher = NULL;
    child_start start = {.log = -1};
    char self[4096];
    size_t n = 0, n_launcher = 0;
    *end = (px_launch_end){0};
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    self[size] = 0;
    PX_PASS(px_arena_new(4096, &arena));
    PX_PASS_TO(done, px_launch_words(job->ranks, arena, &launcher));
    while (launcher[n_launcher]) n_launcher++;
    while (job->words[n]) n++;
    const char **argv = px_take(arena, const char *, n_launcher + n + 2);
    PX_PASS_TO(done, px_arena_ok(arena));
    memcpy(argv, launcher, n_launcher * sizeof *argv);
    /* The tests put a script in the program's place. */
    argv[n_launcher] = getenv("PRISMX_PROGRAM") ? getenv("PRISMX_PROGRAM") : self;
    memcpy(argv + n_launcher + 1, job->words, n * sizeof *argv);
    start.argv = (char *const *)(uintptr_t)argv;
    start.program = argv[0];
    start.launched = n_launcher > 0;
    if (job->log_path) PX_PASS_TO(done, log_open(job->log_path, start.argv, &start.log));
    err = child_fork(job, &start, end);
done:
    if (start.log >= 0) close(start.log);
    px_arena_free(arena);
    return err;
}

px_err *px_launch_capture(const char *const *argv, px_str *out, int *code) {
    int ends[2] = {-1, -1}, status = 0;
    char chunk[4096];
    ssize_t n = 0;
    if (pipe2(ends, O_CLOEXEC)) PX_FAIL(PX_RUN_FAILED, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0) dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(ends[1]);
    while (pid > 0 && ((n = read(ends[0], chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0 && out->size < 1 << 20) px_str_add(out, chunk, (size_t)n);
    close(ends[0]);
    if (pid < 0) PX_FAIL(PX_RUN_FAILED, "%s cannot be started: %s", argv[0], strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return px_str_ok(out);
}
