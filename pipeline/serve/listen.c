/* listen.c - the sockets a server listens on: one TCP address, one UNIX socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve_internal.h"

static px_err *daemon_start(px_server *server, int fd, const char *what) {
    const px_serve_setup *setup = &server->setup;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, px_http_request,
        server, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)setup->connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)PX_MAX(1, setup->read_s), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)setup->max_header_bytes, MHD_OPTION_NOTIFY_COMPLETED, px_http_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, px_http_connection, server, MHD_OPTION_END);
    if (!daemon) {
        close(fd);
        PX_FAIL(PX_RUN_FAILED, "%s: libmicrohttpd does not start: %s", what, strerror(errno));
    }
    server->daemons[server->n_daemons++] = daemon;
    return NULL;
}

static bool address_is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)address;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static px_err *listen_at(px_server *server, const struct addrinfo *at, const char *what) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } bound = {.in6 = {0}};
    socklen_t size = sizeof bound;
    const int one = 1;
    server->loopback = address_is_loopback(at->ai_addr);
    if (!server->loopback && !server->setup.key)
        PX_FAIL(PX_BAD_INPUT,
                "%s is reached from other machines: an access key is wanted for that; set the "
                "environment variable that --key-env names",
                what);
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) PX_FAIL(PX_RUN_FAILED, "%s: %s", what, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 512) ||
        getsockname(fd, &bound.any, &size)) {
        const int why = errno;
        close(fd);
        PX_FAIL(PX_BAD_INPUT, "%s: %s", what, strerror(why));
    }
    server->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
    return daemon_start(server, fd, what);
}

px_err *px_listen_tcp(px_server *server) {
    char port[16], what[160];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    snprintf(port, sizeof port, "%d", server->setup.port);
    snprintf(what, sizeof what, "%s port %s", server->setup.host, port);
    int why = getaddrinfo(server->setup.host, port, &hints, &found);
    if (why) PX_FAIL(PX_BAD_INPUT, "%s: %s", what, gai_strerror(why));
    px_err *err = listen_at(server, found, what);
    freeaddrinfo(found);
    return err;
}

/* A socket that nobody listens on is left over from a run that was killed. */
static bool is_abandoned(const struct sockaddr_un *address) {
    struct stat st;
    if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool refused =
        connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

px_err *px_listen_socket(px_server *server) {
    const char *path = server->setup.socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        PX_FAIL(PX_BAD_INPUT, "%s: a socket's path has at most %zu characters", path,
                sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path));
    if (is_abandoned(&address)) unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) PX_FAIL(PX_RUN_FAILED, "%s: %s", path, strerror(errno));
    /* For its owner alone, from the first moment: no thread makes files yet. */
    mode_t before = umask(0177);
    int bad = bind(fd, (const struct sockaddr *)&address, sizeof address);
    int why = errno;
    umask(before);
    if (!bad && listen(fd, 512)) {
        bad = 1;
        why = errno;
    }
    if (bad) {
        close(fd);
        PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(why));
    }
    return daemon_start(server, fd, path);
}
