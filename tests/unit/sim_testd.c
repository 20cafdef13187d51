/* sim_testd.c - the participants and arms of sim_testd.h as a program of its own, for
 * tests/system/simulate.sh: prints its port and replies until it is ended; then how many requests
 * came, how many were answered, and how many of those once more. */
#include <signal.h>

#include "sim_testd.h"

int main(void) {
    static sim_testd_state state = SIM_TESTD_STATE;
    sigset_t ending;
    int which = 0;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL); /* for the testd's threads too */
    testd *s = testd_open(sim_testd_reply, &state, NULL);
    printf("%d\n", testd_port(s));
    fflush(stdout);
    sigwait(&ending, &which);
    printf("%d %d %d\n", testd_requests(s), state.answered, state.doubled);
    fflush(stdout);
    return 0; /* open connections go with the process */
}
