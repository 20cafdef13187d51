/* testd.h - the tests' own HTTP server: an endpoint inside a test, that does what real ones do on
 * bad days: a thread a connection on a loopback port, TLS with a certificate of its own when asked.
 */
#ifndef PX_TESTD_H
#define PX_TESTD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct testd testd;
typedef struct testd_conn testd_conn;
/* Answers request `number` (from 0); `head` and `body` are its texts. Runs in a thread of its own;
 * returning closes the connection. */
typedef void testd_reply(testd *s, testd_conn *conn, int number, const char *head,
                         const char *body);

/* With `pem`: TLS, and the certificate (for 127.0.0.1, signed by itself) is written there. */
testd *testd_open(testd_reply *reply, void *user, const char *pem);
void testd_close(testd *s);
int testd_port(const testd *s);
void *testd_user(const testd *s);
/* Requests seen so far; the most at one time. */
int testd_requests(testd *s);
int testd_most(testd *s);
/* Seconds (monotonic) at which request `number` came. */
double testd_time(testd *s, int number);

void testd_send(testd_conn *conn, const void *data, size_t size);
void testd_printf(testd_conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A whole reply with its length. `more`: further header lines, each with its line end, or "". */
void testd_respond(testd_conn *conn, int status, const char *more, const char *body);
/* HTTP 200, one choice with this text (JSON-escaped by the caller), 10 and 3 tokens. */
void testd_answer(testd_conn *conn, const char *text);
/* Waits until the client is gone or the testd closes. */
void testd_wait_gone(testd *s, testd_conn *conn);
void testd_sleep(double seconds);

#endif
