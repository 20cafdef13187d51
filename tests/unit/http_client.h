/* http_client.h - HTTP by hand, for the tests of the server: what a proper client would never send,
 * and reading as slowly as one likes. */
#ifndef PX_HTTP_CLIENT_H
#define PX_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "json.h"

static inline int http_connect(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}
static inline int http_connect_socket(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, PX_MIN(strlen(path), sizeof to.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}
static inline bool http_send(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}
/* Reads until the server closes, for at most `seconds`; false: it did not close. */
static inline bool http_read(int fd, double seconds, px_str *out) {
    char chunk[65536];
    const double until = px_now_s() + seconds;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = until - px_now_s();
        if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) == 0) return false;
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n <= 0) return true;
        px_str_add(out, chunk, (size_t)n);
    }
}
/* A request with a body (NULL: none) on a connection of its own. `more`: header lines. */
static inline void http_write(px_str *out, const char *method, const char *path, const char *more,
                              const char *body) {
    px_str_format(out, "%s %s HTTP/1.1\r\n%sConnection: close\r\n%s", method, path,
                  strstr(more, "Host:") ? "" : "Host: localhost\r\n", more);
    if (body) px_str_format(out, "Content-Length: %zu\r\n", strlen(body));
    px_str_format(out, "\r\n%s", body ? body : "");
}
/* The bytes of a reply's body, chunks joined; false: it is cut off. */
static inline bool http_body(const px_str *reply, px_str *out) {
    const char *end = reply->data ? strstr(reply->data, "\r\n\r\n") : NULL;
    if (!end) return false;
    const char *length = strcasestr(reply->data, "\r\ncontent-length:");
    const char *at = end + 4, *last = reply->data + reply->size;
    if (length && length < end) {
        size_t n = strtoul(length + 17, NULL, 10);
        px_str_add(out, at, PX_MIN(n, (size_t)(last - at)));
        return (size_t)(last - at) >= n;
    }
    for (;;) {
        char *rest = NULL;
        size_t n = strtoul(at, &rest, 16);
        if (rest == at || last - rest < 2) return false;
        at = rest + 2;
        if (n == 0) return true;
        if ((size_t)(last - at) < n + 2) return false;
        px_str_add(out, at, n);
        at += n + 2;
    }
}
static inline int http_status(const px_str *reply) {
    return reply->size > 12 && !strncmp(reply->data, "HTTP/1.1 ", 9)
               ? (int)strtol(reply->data + 9, NULL, 10)
               : 0;
}
/* Asks and reads; the status, or 0; the body in *body, the whole reply in *reply. */
static inline int http_ask(int port, const char *method, const char *path, const char *more,
                           const char *body_out, px_str *reply, px_str *body) {
    px_str request = {0};
    px_str_clear(reply);
    px_str_clear(body);
    int fd = http_connect(port);
    if (fd < 0) return 0;
    http_write(&request, method, path, more, body_out);
    http_send(fd, request.data, request.size);
    px_str_free(&request);
    http_read(fd, 120, reply);
    close(fd);
    px_str_add(body, "", 0);
    return http_body(reply, body) ? http_status(reply) : 0;
}
/* Joins the texts of choice `index` of a stream's events; *finish is set, events counted. false: no
 * [DONE] at the end, or something that is no event. */
static inline bool stream_join(const px_str *body, int index, px_str *text, char finish[16],
                               int *events) {
    *events = 0;
    *finish = 0;
    for (const char *at = body->data; at && *at;) {
        const char *end = strstr(at, "\n\n");
        if (!end || strncmp(at, "data: ", 6) != 0) return false;
        if (!strncmp(at, "data: [DONE]\n\n", 14)) return at[14] == 0;
        cJSON *json = NULL;
        px_err *err = px_json_parse(at + 6, (size_t)(end - at - 6), &json);
        px_err_free(err);
        if (err) return false;
        const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "choices"), 0);
        if (choice && (int)px_json_find_f64(choice, "index", -1) == index) {
            const char *piece = px_json_find_text(cJSON_GetObjectItem(choice, "delta"), "content");
            const char *why = px_json_find_text(choice, "finish_reason");
            if (piece) px_str_text(text, piece);
            if (why) snprintf(finish, 16, "%s", why);
            ++*events;
        }
        cJSON_Delete(json);
        at = end + 2;
    }
    return false;
}

#endif
