/* sim_stub.c - the participants and arms of sim_stub.h as a program of its own, for
 * tests/system/simulate.sh: prints its port and replies until it is ended; then how many requests
 * came, how many were answered, and how many of those once more. */
#include <signal.h>

#include "sim_stub.h"

int main(void) {
    static sim_stub_state state = SIM_STUB_STATE;
    sigset_t ending;
    int which = 0;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL); /* for the stub's threads too */
    stub *s = stub_open(sim_stub_reply, &state, NULL);
    printf("%d\n", stub_port(s));
    fflush(stdout);
    sigwait(&ending, &which);
    printf("%d %d %d\n", stub_requests(s), state.answered, state.doubled);
    fflush(stdout);
    return 0; /* open connections go with the process */
}
