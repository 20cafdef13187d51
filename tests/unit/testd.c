/* testd.c - see testd.h. */
#include "testd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "px_test.h"

enum { CONNS = 4096 };

struct testd_conn {
    testd *s;
    int fd;
    SSL *ssl;
    bool counted; /* in now */
    pthread_t thread;
};

struct testd {
    testd_reply *reply;
    void *user;
    int fd, port;
    SSL_CTX *tls;
    pthread_t thread;
    pthread_mutex_t lock;
    bool closing;
    int requests, now, most, n_conns;
    double times[CONNS];
    testd_conn conns[CONNS];
};

void testd_sleep(double seconds) { usleep((useconds_t)(seconds * 1e6)); }

static ssize_t conn_read(testd_conn *c, char *to, size_t room) {
    if (c->ssl) return SSL_read(c->ssl, to, (int)room);
    return read(c->fd, to, room);
}

/* A request counts as under way until its reply begins: the client may ask anew before the thread
 * ends. */
static void count(testd_conn *c, bool on) {
    testd *s = c->s;
    pthread_mutex_lock(&s->lock);
    s->now += on - c->counted;
    c->counted = on;
    if (s->now > s->most) s->most = s->now;
    pthread_mutex_unlock(&s->lock);
}

void testd_send(testd_conn *c, const void *data, size_t size) {
    const char *at = data;
    count(c, false);
    while (size > 0) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)size) : send(c->fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) return; /* the client has gone, as it may */
        at += n;
        size -= (size_t)n;
    }
}

void testd_printf(testd_conn *c, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n > 0) testd_send(c, text, (size_t)n);
    free(text);
}

void testd_respond(testd_conn *c, int status, const char *more, const char *body) {
    testd_printf(c,
                 "HTTP/1.1 %d Testd\r\nContent-Type: application/json\r\nConnection: close\r\n"
                 "%sContent-Length: %zu\r\n\r\n%s",
                 status, more, strlen(body), body);
}

void testd_answer(testd_conn *c, const char *text) {
    char *body = NULL;
    if (asprintf(&body,
                 "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
                 "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":"
                 "\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}",
                 text) < 0)
        return;
    testd_respond(c, 200, "", body);
    free(body);
}

static bool is_closing(testd *s) {
    pthread_mutex_lock(&s->lock);
    bool closing = s->closing;
    pthread_mutex_unlock(&s->lock);
    return closing;
}

void testd_wait_gone(testd *s, testd_conn *c) {
    char byte;
    while (!is_closing(s)) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (poll(&p, 1, 20) > 0 && recv(c->fd, &byte, 1, MSG_DONTWAIT) == 0) return;
    }
}

/* Head and body of one request; false: the client left before. */
static bool request_read(testd_conn *c, px_str *head, px_str *body) {
    char chunk[16384];
    px_str all = {0};
    size_t at = 0, wanted = 0;
    for (;;) {
        const char *end = all.data ? strstr(all.data, "\r\n\r\n") : NULL;
        if (end && !at) {
            const char *length = strcasestr(all.data, "content-length:");
            at = (size_t)(end - all.data) + 4;
            wanted = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
        }
        if (at && all.size >= at + wanted) break;
        ssize_t n = conn_read(c, chunk, sizeof chunk);
        if (n <= 0) {
            px_str_free(&all);
            return false;
        }
        px_str_add(&all, chunk, (size_t)n);
    }
    px_str_add(head, all.data, at);
    px_str_add(body, all.data + at, all.size - at);
    px_str_add(body, "", 0);
    px_str_free(&all);
    return true;
}

static void *serve_one(void *user) {
    testd_conn *c = user;
    testd *s = c->s;
    px_str head = {0}, body = {0};
    if (s->tls) {
        c->ssl = SSL_new(s->tls);
        SSL_set_fd(c->ssl, c->fd);
    }
    if ((!c->ssl || SSL_accept(c->ssl) == 1) && request_read(c, &head, &body)) {
        pthread_mutex_lock(&s->lock);
        int number = s->requests++;
        if (number < CONNS) s->times[number] = px_now_s();
        pthread_mutex_unlock(&s->lock);
        count(c, true);
        s->reply(s, c, number, head.data, body.data);
        count(c, false);
    }
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    shutdown(c->fd, SHUT_RDWR);
    px_str_free(&head);
    px_str_free(&body);
    return NULL;
}

static void *accept_all(void *user) {
    testd *s = user;
    while (!is_closing(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0) continue;
        if (s->n_conns == CONNS) {
            close(fd);
            continue;
        }
        testd_conn *c = &s->conns[s->n_conns];
        *c = (testd_conn){.s = s, .fd = fd};
        if (pthread_create(&c->thread, NULL, serve_one, c) == 0)
            s->n_conns++;
        else
            close(fd);
    }
    return NULL;
}

/* A certificate for 127.0.0.1 that nobody vouches for. */
static void tls_make(testd *s, const char *pem) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509V3_CTX with;
    assert_non_null(key);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"testd", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509V3_set_ctx(&with, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, &with, NID_subject_alt_name, "IP:127.0.0.1");
    X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, &with, NID_basic_constraints, "CA:TRUE");
    X509_add_ext(cert, san, -1);
    X509_add_ext(cert, ca, -1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    s->tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->tls, key), 1);
    FILE *file = fopen(pem, "w");
    assert_non_null(file);
    PEM_write_X509(file, cert);
    fclose(file);
    X509_EXTENSION_free(san);
    X509_EXTENSION_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
}

testd *testd_open(testd_reply *reply, void *user, const char *pem) {
    testd *s = calloc(1, sizeof *s);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_non_null(s);
    signal(SIGPIPE, SIG_IGN); /* SSL_write knows no MSG_NOSIGNAL */
    s->reply = reply;
    s->user = user;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(s->fd, 256), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    if (pem) tls_make(s, pem);
    assert_int_equal(pthread_create(&s->thread, NULL, accept_all, s), 0);
    return s;
}

void testd_close(testd *s) {
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    for (int i = 0; i < s->n_conns; i++) {
        shutdown(s->conns[i].fd, SHUT_RDWR);
        pthread_join(s->conns[i].thread, NULL);
        close(s->conns[i].fd);
    }
    close(s->fd);
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int testd_port(const testd *s) { return s->port; }

void *testd_user(const testd *s) { return s->user; }

int testd_requests(testd *s) {
    pthread_mutex_lock(&s->lock);
    int n = s->requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int testd_most(testd *s) {
    pthread_mutex_lock(&s->lock);
    int n = s->most;
    pthread_mutex_unlock(&s->lock);
    return n;
}

double testd_time(testd *s, int number) {
    pthread_mutex_lock(&s->lock);
    double t = s->times[number];
    pthread_mutex_unlock(&s->lock);
    return t;
}
