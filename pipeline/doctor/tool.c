/* tool.c - a short look at what another program says, with a limit on time: a launcher that waits
 * for a daemon must not hang the doctor. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "doctor_internal.h"

#define MOST_S 10.0

extern char **environ;

bool px_tool_there(const char *name) {
    const char *path = getenv("PATH");
    char whole[4096];
    for (; path && *path; path += strcspn(path, ":"), path += *path == ':') {
        const int n = (int)strcspn(path, ":");
        if (n == 0) continue;
        const int m = snprintf(whole, sizeof whole, "%.*s/%s", n, path, name);
        if (m < (int)sizeof whole && access(whole, X_OK) == 0) return true;
    }
    return false;
}

/* Until the end of the output or of the time; what does not fit is read and dropped. */
static bool read_all(int fd, char *out, size_t size, double until) {
    char dropped[4096];
    size_t used = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const double left = until - px_now_s();
        if (left <= 0) return false;
        const int ready = poll(&wait, 1, (int)(left * 1000) + 1);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        const bool full = used + 1 >= size;
        const ssize_t n =
            full ? read(fd, dropped, sizeof dropped) : read(fd, out + used, size - 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0;
        if (full) continue;
        used += (size_t)n;
        out[used] = 0;
    }
}

static bool ended_well(pid_t pid, bool in_time) {
    int status = 0;
    if (!in_time) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return false;
    return in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool px_tool_run(const char *const *argv, char *out, size_t size) {
    int ends[2];
    pid_t pid = 0;
    posix_spawn_file_actions_t actions;
    out[0] = 0;
    if (!px_tool_there(argv[0]) || pipe2(ends, O_CLOEXEC) != 0) return false;
    bool started = posix_spawn_file_actions_init(&actions) == 0;
    if (started) {
        const int failed =
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) ||
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1) ||
            posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
        /* argv is read only, whatever the prototype says. */
        started = !failed && posix_spawnp(&pid, argv[0], &actions, NULL,
                                          (char *const *)(uintptr_t)argv, environ) == 0;
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    const bool ok = started && ended_well(pid, read_all(ends[0], out, size, px_now_s() + MOST_S));
    close(ends[0]);
    return ok;
}
