/* watch.c - a thread that looks whether this rank still moves. A rank that stands in one phase for
 * longer than timeout_s says which phase and step, and ends the run: a dead peer leaves the others
 * waiting in a collective, which cannot be told from slowness in any other way. */
#include "dist_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
    pthread_t thread;
    bool running;
    px_ranks ranks;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    const char *phase;
    int64_t step;
    double since_s;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void *watch_run(void *unused) {
    (void)unused;
    pthread_mutex_lock(&watch.lock);
    while (!watch.stop) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&watch.wake, &watch.lock, &until);
        if (watch.stop || !watch.phase) continue;
        double stood = px_now_s() - watch.since_s;
        if (stood < watch.ranks.timeout_s) continue;
        char text[256];
        snprintf(text, sizeof text,
                 "no progress for %.0f s (comm.timeout_s) in %s, step %lld: a peer may be dead",
                 stood, watch.phase, (long long)watch.step);
        px_abort_all(&watch.ranks, text);
    }
    pthread_mutex_unlock(&watch.lock);
    return NULL;
}

/* The first px_watch starts the thread; where that fails the run goes on unwatched, and says so. */
static void watch_start(const px_ranks *ranks) {
    watch.ranks = *ranks;
    watch.stop = false;
    watch.since_s = px_now_s();
    int why = pthread_create(&watch.thread, NULL, watch_run, NULL);
    if (why) px_warn("the watchdog's thread cannot start: %s", strerror(why));
    watch.running = why == 0;
}

void px_watch_stop(void) {
    if (!watch.running) return;
    pthread_mutex_lock(&watch.lock);
    watch.stop = true;
    pthread_cond_signal(&watch.wake);
    pthread_mutex_unlock(&watch.lock);
    pthread_join(watch.thread, NULL);
    watch.running = false;
}

void px_watch(const px_ranks *ranks, const char *phase, int64_t step) {
    if (ranks->size == 1 || ranks->timeout_s <= 0) return;
    pthread_mutex_lock(&watch.lock);
    watch.phase = phase;
    watch.step = step;
    watch.since_s = px_now_s();
    pthread_mutex_unlock(&watch.lock);
    if (!watch.running) watch_start(ranks);
}
