// SPDX-License-Identifier: Apache-2.0
// The address to listen on: "127.0.0.1:8080", "[::1]:0", "localhost:8080", or a port alone (loopback only).
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_int.h"

enum { BACKLOG = 1024, HOST_MAX = 256, ADDRESS_TEXT = HOST_MAX + 16 };

static int bad(struct error *err, const char *text)
{
    return error_set(err, ERR_CONFIG,
                     "\"%.100s\" is not an address to listen on: it must read host:port, [IPv6]:port or a port", text);
}

static int split(const char *text, char host[HOST_MAX], char port[8], struct error *err)
{
    const char *start = text, *end, *digits;
    if (text[strspn(text, "0123456789")] == 0) {
        start = "127.0.0.1";
        end = start + strlen(start);
        digits = text;
    } else if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (!end || end[1] != ':')
            return bad(err, text);
        digits = end + 2;
    } else {
        end = strrchr(text, ':');
        if (!end || memchr(text, ':', (size_t)(end - text)))
            return bad(err, text);
        digits = end + 1;
    }
    size_t len = (size_t)(end - start);
    if (len == 0 || len >= HOST_MAX || !*digits || digits[strspn(digits, "0123456789")] || strlen(digits) > 5 ||
        strtol(digits, NULL, 10) > 65535)
        return bad(err, text);
    memcpy(host, start, len);
    host[len] = 0;
    snprintf(port, 8, "%s", digits);
    if (strcasecmp(host, "localhost") == 0)
        snprintf(host, HOST_MAX, "127.0.0.1");
    return 0;
}

static char *address_text(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    char host[NI_MAXHOST], port[NI_MAXSERV], *text = NULL;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
        getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return NULL;
    bool six = addr.ss_family == AF_INET6;
    return asprintf(&text, "%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", port) < 0 ? NULL : text;
}

static int open_socket(const struct addrinfo *ai)
{
    _cleanup_close_ int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    // TCP_NODELAY is inherited by accepted connections: an answer never waits for the ACK of the one before it.
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
        listen(fd, BACKLOG) != 0)
        return -1;
    return take_fd(fd);
}

int address_listen(const char *listen_text, int *fd, char **shown, struct error *err)
{
    char host[HOST_MAX], port[8];
    if (split(listen_text, host, port, err) != 0)
        return -1;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return error_set(err, ERR_CONFIG, "Cannot listen on %.100s: %s", listen_text, gai_strerror(rc));
    _cleanup_close_ int s = open_socket(list);
    int saved = errno;
    freeaddrinfo(list);
    if (s < 0 && saved == EADDRINUSE)
        return error_set(err, ERR_CONFIG, "Cannot listen on %.100s: another program already does", listen_text);
    if (s < 0)
        return error_errno(err, ERR_CONFIG, saved, "Cannot listen on %.100s", listen_text);
    char *text = address_text(s);
    if (!text)
        return error_set(err, ERR_INTERNAL, "Cannot read the address of the listening socket");
    *fd = take_fd(s);
    *shown = text;
    return 0;
}
