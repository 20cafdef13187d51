/* stub_server.h - an HTTP endpoint inside a test, that does what real ones do on bad days: a thread
 * a connection on a loopback port, TLS with a certificate of its own when asked. */
#ifndef PX_STUB_SERVER_H
#define PX_STUB_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct stub stub;
typedef struct stub_conn stub_conn;
/* Answers request `number` (from 0); `head` and `body` are its texts. Runs in a thread of its own;
 * returning closes the connection. */
typedef void stub_reply(stub *s, stub_conn *conn, int number, const char *head, const char *body);

/* With `pem`: TLS, and the certificate (for 127.0.0.1, signed by itself) is written there. */
stub *stub_open(stub_reply *reply, void *user, const char *pem);
void stub_close(stub *s);
int stub_port(const stub *s);
void *stub_user(const stub *s);
/* Requests seen so far; the most at one time. */
int stub_requests(stub *s);
int stub_most(stub *s);
/* Seconds (monotonic) at which request `number` came. */
double stub_time(stub *s, int number);

void stub_send(stub_conn *conn, const void *data, size_t size);
void stub_printf(stub_conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A whole reply with its length. `more`: further header lines, each with its line end, or "". */
void stub_respond(stub_conn *conn, int status, const char *more, const char *body);
/* HTTP 200, one choice with this text (JSON-escaped by the caller), 10 and 3 tokens. */
void stub_answer(stub_conn *conn, const char *text);
/* Waits until the client is gone or the stub closes. */
void stub_wait_gone(stub *s, stub_conn *conn);
void stub_sleep(double seconds);

#endif
