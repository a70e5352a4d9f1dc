// SPDX-License-Identifier: Apache-2.0
// The scripted server: blocking sockets, one thread a connection.
#include "fake_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 256, HEAD_MAX = 65536, BODY_MAX = 64 << 20 };

struct connection {
    struct fake_server *server;
    int fd;
    pthread_t thread;
};

struct fake_server {
    int fd;
    char url[64];
    fake_handler *handler;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock; // over all below, and around the handler
    unsigned requests, count;
    struct connection connections[CONNECTIONS];
};

static bool send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

// Reads up to the empty line; returns the head's length, or 0. What came behind it is in `head`, too.
static size_t read_head(int fd, char *head, size_t *have)
{
    for (;;) {
        head[*have] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (end)
            return (size_t)(end - head) + 4;
        ssize_t got = *have < HEAD_MAX ? recv(fd, head + *have, HEAD_MAX - *have, 0) : 0;
        if (got <= 0)
            return 0;
        *have += (size_t)got;
    }
}

static bool read_request(int fd, struct fake_request *request)
{
    char *head = malloc(HEAD_MAX + 1);
    size_t have = 0;
    size_t len = read_head(fd, head, &have);
    bool ok = len && sscanf(head, "%15s %8191s", request->method, request->target) == 2;
    const char *line = ok ? strcasestr(head, "\r\nContent-Length:") : NULL;
    request->len = line ? strtoul(line + 17, NULL, 10) : 0;
    request->body = calloc(1, request->len + 1);
    if (ok && request->len <= BODY_MAX) {
        size_t got = have - len < request->len ? have - len : request->len;
        snprintf(request->headers, sizeof request->headers, "%.*s", (int)len, head);
        memcpy(request->body, head + len, got);
        if (strcasestr(request->headers, "Expect: 100-continue"))
            send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        for (ssize_t more; ok && got < request->len; got += (size_t)more) {
            more = recv(fd, request->body + got, request->len - got, 0);
            ok = more > 0;
            if (!ok)
                break;
        }
    }
    free(head);
    return ok;
}

static bool reply(int fd, const struct fake_answer *answer)
{
    char head[1024];
    size_t len = answer->body ? strlen(answer->body) : 0;
    int head_len = snprintf(
        head, sizeof head, "HTTP/1.1 %d Scripted\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", answer->status,
        answer->type ? answer->type : "application/json", len, answer->headers ? answer->headers : "");
    return send_all(fd, head, (size_t)head_len) && send_all(fd, answer->body ? answer->body : "", len);
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    bool open = true;
    while (open) {
        struct fake_request *request = calloc(1, sizeof *request);
        struct fake_answer answer = {.status = 200};
        open = read_request(c->fd, request);
        if (open) {
            pthread_mutex_lock(&c->server->lock);
            request->number = ++c->server->requests;
            c->server->handler(c->server->ctx, request, &answer);
            pthread_mutex_unlock(&c->server->lock);
            open = !answer.drop && reply(c->fd, &answer);
        }
        free(answer.body);
        free(request->body);
        free(request);
    }
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void *listen_on(void *arg)
{
    struct fake_server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        pthread_mutex_lock(&s->lock);
        assert(s->count < CONNECTIONS);
        struct connection *c = &s->connections[s->count++];
        *c = (struct connection){.server = s, .fd = fd};
        pthread_create(&c->thread, NULL, serve, c);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

struct fake_server *fake_start(fake_handler *handler, void *ctx)
{
    struct fake_server *s = calloc(1, sizeof *s);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    s->handler = handler;
    s->ctx = ctx;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(s->fd, (struct sockaddr *)&address, size) || listen(s->fd, 64) ||
                 getsockname(s->fd, (struct sockaddr *)&address, &size);
    assert(!failed);
    (void)failed;
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    pthread_create(&s->thread, NULL, listen_on, s);
    return s;
}

const char *fake_url(const struct fake_server *s)
{
    return s->url;
}

unsigned fake_connections(struct fake_server *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned count = s->count;
    pthread_mutex_unlock(&s->lock);
    return count;
}

void fake_sync(struct fake_server *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_mutex_unlock(&s->lock);
}

void fake_stop(struct fake_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (unsigned i = 0; i < s->count; i++) {
        shutdown(s->connections[i].fd, SHUT_RDWR);
        pthread_join(s->connections[i].thread, NULL);
        close(s->connections[i].fd);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}
