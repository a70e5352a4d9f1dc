// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int wire_connect(const char *address, bool nonblocking)
{
    char host[64];
    unsigned port;
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (sscanf(address, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return -1;
    to.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        (nonblocking && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

void wire_open(struct wire *w, const char *address)
{
    *w = (struct wire){.fd = wire_connect(address, false), .room = 65536};
    w->buf = malloc(w->room + 1);
    if (w->fd < 0 || !w->buf)
        bench_fail("no connection to %s", address);
    w->buf[0] = 0;
}

void wire_close(struct wire *w)
{
    close(w->fd);
    free(w->buf);
    *w = (struct wire){.fd = -1};
}

void wire_send(struct wire *w, const void *data, size_t len)
{
    for (const char *p = data; len;) {
        ssize_t n = send(w->fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            bench_fail("the server closed the connection while it was sent to");
        p += n;
        len -= (size_t)n;
    }
}

long wire_answer_len(const char *data, size_t len, int *status, size_t *head_len)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *head_len = (size_t)(end - data) + 4;
    const char *length = strcasestr(data, "\r\nContent-Length:");
    if (sscanf(data, "HTTP/1.1 %d", status) != 1 || !length || length > end)
        return -1;
    size_t whole = *head_len + strtoul(length + 17, NULL, 10);
    return len >= whole ? (long)whole : 0;
}

static void drop_last(struct wire *w)
{
    w->len -= w->used;
    memmove(w->buf, w->buf + w->used, w->len + 1);
    w->used = 0;
}

static void receive_more(struct wire *w)
{
    if (w->len == w->room) {
        w->room *= 2;
        w->buf = realloc(w->buf, w->room + 1);
        if (!w->buf)
            bench_fail("no memory for an answer");
    }
    ssize_t n = recv(w->fd, w->buf + w->len, w->room - w->len, 0);
    if (n <= 0)
        bench_fail("the server closed the connection instead of answering");
    w->len += (size_t)n;
    w->buf[w->len] = 0;
}

int wire_receive(struct wire *w)
{
    size_t head = 0;
    long whole;
    drop_last(w);
    while ((whole = wire_answer_len(w->buf, w->len, &w->status, &head)) == 0)
        receive_more(w);
    if (whole < 0)
        bench_fail("the server's answer cannot be read: %.200s", w->buf);
    w->used = (size_t)whole;
    w->body = w->buf + head;
    w->body_len = (size_t)whole - head;
    return w->status;
}

int wire_get(struct wire *w, const char *path)
{
    char head[1024];
    int len = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path);
    wire_send(w, head, (size_t)len);
    return wire_receive(w);
}

int wire_post(struct wire *w, const char *path, const char *type, const void *data, size_t len, const char *tail)
{
    char head[1024];
    int head_len = snprintf(head, sizeof head,
                            "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", path,
                            type, len + strlen(tail));
    wire_send(w, head, (size_t)head_len);
    wire_send(w, data, len);
    wire_send(w, tail, strlen(tail));
    return wire_receive(w);
}

void wire_expect(const struct wire *w, int status, const char *what)
{
    if (w->status != status)
        bench_fail("%s: the server answered %d: %.*s", what, w->status, (int)w->body_len, w->body);
}

void wire_member(const struct wire *w, const char *name, char *out, size_t room)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(w->body, wanted);
    at = at ? at + strlen(wanted) : "";
    at += strspn(at, " \"");
    size_t len = strcspn(at, "\",}]");
    if (len >= room || strncmp(at, "null", 4) == 0)
        len = 0;
    memcpy(out, at, len);
    out[len] = 0;
}
