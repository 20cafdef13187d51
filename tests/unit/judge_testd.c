/* judge_testd.c - the judge of judge_testd.h as a program of its own, for tests/system/judge.sh:
 * prints its port and answers until it is ended; then how many requests came. */
#include <signal.h>

#include "judge_testd.h"

int main(void) {
    sigset_t ending;
    int which = 0;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL); /* for the testd's threads too */
    testd *s = testd_open(judge_reply, NULL, NULL);
    printf("%d\n", testd_port(s));
    fflush(stdout);
    sigwait(&ending, &which);
    printf("%d\n", testd_requests(s));
    fflush(stdout);
    return 0; /* open connections go with the process */
}
