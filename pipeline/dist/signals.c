/* signals.c - SIGTERM and SIGUSR1 set a flag and nothing else: work in a handler hangs libraries.
 * The flag is read between steps. SIGINT from a terminal counts as SIGTERM the first time and ends
 * at once the second. */
#include "dist_internal.h"

#include <signal.h>

static volatile sig_atomic_t seen;

static void note(int number) {
    seen = number;
    if (number == SIGINT) signal(SIGINT, SIG_DFL);
}

void px_signals_catch(void) {
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int px_signal_seen(void) { return seen; }
