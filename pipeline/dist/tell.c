/* tell.c - who is missing. A rank in a collective cannot ask its peers by MPI, so they tell one
 * another through files in a folder that all see: a thread of each rank, apart from the watchdog's,
 * since a file system may hang too.
 * - A rank that stands still for a quarter of timeout_s writes waits-RANK, again every period.
 * - Where anybody waits, every rank that lives writes: waits-RANK or works-RANK.
 * - From half of timeout_s on, a rank whose file is missing or old has not been heard of; one of
 * another machine that waits too is tried over the network, which may be what is cut. */
#include "dist_internal.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 64, TEXT_SIZE = 1024 };

static struct {
    char *dir;   /* NULL: off */
    char *hosts; /* [size][HOST_SIZE] */
    px_ranks ranks;
    pthread_t thread;
    bool running, stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    char text[TEXT_SIZE]; /* under the lock */
} tell = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static double period_s(void) { return PX_MIN(PX_MAX(tell.ranks.timeout_s / 20, 0.1), 15); }

static void path_of(char out[4096], const char *what, int rank) {
    snprintf(out, 4096, "%s/%s-%d", tell.dir, what, rank);
}

static bool anybody_waits(void) {
    DIR *dir = opendir(tell.dir);
    bool found = false;
    if (!dir) return false;
    for (struct dirent *e; !found && (e = readdir(dir));)
        found = strncmp(e->d_name, "waits-", 6) == 0;
    closedir(dir);
    return found;
}

/* Leaves this rank's word, or takes it away. */
static void say(const px_standing *s, bool waits, bool asked) {
    char path[4096], other[4096];
    path_of(path, waits ? "waits" : "works", tell.ranks.rank);
    path_of(other, waits ? "works" : "waits", tell.ranks.rank);
    unlink(other);
    if (!waits && !asked) {
        unlink(path);
        return;
    }
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "%s, step %lld\n", s->phase ? s->phase : "start", (long long)s->step);
    fclose(file);
}

/* Seconds between the last change of two files; -1: one is not there. */
static double age_between(const char *path, const char *mine) {
    struct stat a, b;
    if (stat(path, &a) || stat(mine, &b)) return -1;
    return difftime(b.st_mtime, a.st_mtime);
}

/* Whether a machine can be reached: a closed port refuses, a cut network says nothing. */
static bool answers(const char *host) {
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, "9", &hints, &found)) return true; /* not known: nothing to say */
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), why = 0;
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen)) why = errno;
    freeaddrinfo(found);
    if (fd >= 0 && why == EINPROGRESS) {
        struct pollfd one = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof why;
        why = ETIMEDOUT;
        if (poll(&one, 1, 1000) == 1) getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size);
    }
    if (fd >= 0) close(fd);
    return fd < 0 || why == 0 || why == ECONNREFUSED;
}

/* Another machine's rank waits too, and writes where we read. */
static void cut_off(int rank, const char *host, px_str *out) {
    const char *mine = tell.hosts + (size_t)tell.ranks.rank * HOST_SIZE;
    if (!strcmp(host, mine)) return;
    px_str_format(out, "; rank %d on %s waits too%s", rank, host,
                  answers(host) ? "" : ", and its machine cannot be reached: the network is cut");
}

static void about(int rank, const char *mine, px_str *out) {
    char path[4096], where[128] = "";
    const char *host = tell.hosts + (size_t)rank * HOST_SIZE;
    path_of(path, "waits", rank);
    double age = age_between(path, mine);
    bool waits = age >= 0;
    if (!waits) {
        path_of(path, "works", rank);
        age = age_between(path, mine);
    }
    if (age < 0 && !px_path_exists(mine)) return;
    /* Three periods, and a second that the file system's clock may round away. */
    if (age < 0 || age > 3 * period_s() + 1) {
        px_str_format(out, "; rank %d on %s has not been heard of: stopped, cut off or gone", rank,
                      host);
        return;
    }
    if (waits) { /* as we do: the fault is in between, or this is no longer the same run */
        cut_off(rank, host, out);
        return;
    }
    FILE *file = fopen(path, "r");
    if (file && fgets(where, sizeof where, file)) where[strcspn(where, "\n")] = 0;
    if (file) fclose(file);
    px_str_format(out, "; rank %d on %s is still in %s", rank, host, where);
}

static void look_around(void) {
    char mine[4096];
    px_str text = {0};
    path_of(mine, "waits", tell.ranks.rank);
    for (int r = 0; r < tell.ranks.size && text.size < TEXT_SIZE; r++)
        if (r != tell.ranks.rank) about(r, mine, &text);
    pthread_mutex_lock(&tell.lock);
    snprintf(tell.text, sizeof tell.text, "%s", text.data ? text.data : "");
    pthread_mutex_unlock(&tell.lock);
    px_str_free(&text);
}

static bool sleep_or_stop(void) {
    struct timespec until;
    double s = period_s();
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)s;
    until.tv_nsec += (long)((s - (double)(time_t)s) * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&tell.lock);
    if (!tell.stop) pthread_cond_clockwait(&tell.wake, &tell.lock, CLOCK_MONOTONIC, &until);
    bool stop = tell.stop;
    pthread_mutex_unlock(&tell.lock);
    return stop;
}

static void *tell_run(void *unused) {
    (void)unused;
    while (!sleep_or_stop()) {
        px_standing s = px_watch_standing();
        double limit = tell.ranks.timeout_s;
        bool waits = s.stood_s > limit / 4;
        say(&s, waits, anybody_waits());
        if (s.stood_s > limit / 2) look_around();
    }
    return NULL;
}

void px_tell_start(const px_ranks *ranks) {
    if (!tell.dir || tell.running || ranks->timeout_s <= 0 || ranks->size == 1) return;
    tell.ranks = *ranks;
    tell.stop = false;
    tell.running = pthread_create(&tell.thread, NULL, tell_run, NULL) == 0;
}

void px_tell_stop(void) {
    if (!tell.running) return;
    pthread_mutex_lock(&tell.lock);
    tell.stop = true;
    pthread_cond_signal(&tell.wake);
    pthread_mutex_unlock(&tell.lock);
    pthread_join(tell.thread, NULL);
    tell.running = false;
}

void px_tell_text(char *out, size_t size) {
    out[0] = 0;
    if (!tell.running || pthread_mutex_trylock(&tell.lock)) return;
    snprintf(out, size, "%s", tell.text);
    pthread_mutex_unlock(&tell.lock);
}

static px_err *begin(const px_ranks *ranks, const char *dir) {
    tell.dir = px_path_join(dir, ".watch");
    tell.hosts = calloc((size_t)ranks->size, HOST_SIZE);
    if (!tell.dir || !tell.hosts) PX_NO_MEMORY();
    tell.text[0] = 0;
    if (ranks->rank != 0) return NULL;
    PX_PASS(px_dir_remove(tell.dir)); /* of a run that was killed */
    return px_dir_make(tell.dir);
}

px_err *px_watch_folder_all(const px_ranks *ranks, const char *dir) {
    if (ranks->size == 1) return NULL;
    px_err *err = NULL;
    PX_PASS(px_agree_all(ranks, begin(ranks, dir)));
    char host[HOST_SIZE] = "";
    px_bytes all = {0};
    int64_t *sizes = calloc((size_t)ranks->size, sizeof *sizes);
    if (!sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(ranks, err));
    gethostname(host, sizeof host - 1);
    PX_PASS_TO(done, px_gather_bytes_all(ranks, host, sizeof host, &all, sizes));
    if (ranks->rank == 0) memcpy(tell.hosts, all.data, (size_t)ranks->size * HOST_SIZE);
    px_bcast_all(ranks, tell.hosts, (size_t)ranks->size * HOST_SIZE, 0);
    px_tell_start(ranks);
done:
    px_bytes_free(&all);
    free(sizes);
    return err;
}

void px_watch_folder_end(const px_ranks *ranks) {
    px_tell_stop();
    if (!tell.dir) return;
    /* A word that another rank leaves just now stays behind; the next start clears it. */
    if (ranks->rank == 0) px_err_free(px_dir_remove(tell.dir));
    free(tell.dir);
    free(tell.hosts);
    tell.dir = tell.hosts = NULL;
}
