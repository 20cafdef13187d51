/* watch.c - a thread that looks whether this rank still moves. A rank that stands in one phase for
 * as long as timeout_s allows says which phase and step, and which peer is missing where that is
 * known (tell.c), and ends the run: a dead peer leaves the others waiting in a collective, which
 * cannot be told from slowness in any other way. All by the monotonic clock: a clock set back must
 * not put the watchdog to sleep. */
#include "watch.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dist_internal.h"

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
    void (*call)(void *context, const char *phase, int64_t step);
    void *context;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* The run is to be over within timeout_s, and ending it takes a moment. */
static double limit_s(double timeout_s) { return timeout_s - PX_MIN(timeout_s / 10, 5); }

static void *watch_run(void *unused) {
    (void)unused;
    pthread_mutex_lock(&watch.lock);
    while (!watch.stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 200000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&watch.wake, &watch.lock, CLOCK_MONOTONIC, &until);
        if (watch.stop || !watch.phase) continue;
        double stood = px_now_s() - watch.since_s;
        if (stood < limit_s(watch.ranks.timeout_s)) continue;
        char text[1536], others[1024];
        px_tell_text(others, sizeof others);
        snprintf(text, sizeof text, "no progress for %.0f s (comm.timeout_s %g) in %s, step %lld%s",
                 stood, watch.ranks.timeout_s, watch.phase, (long long)watch.step,
                 others[0] ? others : ": a peer may be dead");
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
    px_tell_stop();
    if (!watch.running) return;
    pthread_mutex_lock(&watch.lock);
    watch.stop = true;
    pthread_cond_signal(&watch.wake);
    pthread_mutex_unlock(&watch.lock);
    pthread_join(watch.thread, NULL);
    watch.running = false;
}

px_standing px_watch_standing(void) {
    pthread_mutex_lock(&watch.lock);
    px_standing s = {watch.phase, watch.step, watch.phase ? px_now_s() - watch.since_s : 0};
    pthread_mutex_unlock(&watch.lock);
    return s;
}

void px_watch_call(void (*call)(void *context, const char *phase, int64_t step), void *context) {
    watch.call = call;
    watch.context = context;
}

void px_watch(const px_ranks *ranks, const char *phase, int64_t step) {
    if (watch.call) watch.call(watch.context, phase, step);
    if (ranks->size == 1 || ranks->timeout_s <= 0) return;
    pthread_mutex_lock(&watch.lock);
    watch.phase = phase;
    watch.step = step;
    watch.since_s = px_now_s();
    pthread_mutex_unlock(&watch.lock);
    if (!watch.running) watch_start(ranks);
}
