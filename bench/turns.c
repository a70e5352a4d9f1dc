// SPDX-License-Identifier: Apache-2.0
#include "turns.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "wire.h"

enum { PIECE = 1 << 16, PAIRS_MAX = 1024 };

struct turns {
    int listener, target_port;
    pthread_t thread;
    pthread_t pairs[PAIRS_MAX];
    size_t pair_count;
    atomic_llong syncs;
};

struct pair {
    struct turns *t;
    int client;
    bool started; // the first message has no type
    unsigned char head[5];
    size_t head_len, body_left;
};

static void count_syncs(struct pair *p, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (p->body_left) {
            size_t step = p->body_left < len - i ? p->body_left : len - i;
            p->body_left -= step;
            i += step;
            continue;
        }
        size_t head = p->started ? 5 : 4;
        uint32_t size;
        p->head[p->head_len++] = data[i++];
        if (p->head_len < head)
            continue;
        memcpy(&size, p->head + head - 4, sizeof size);
        p->body_left = ntohl(size) - 4;
        p->head_len = 0;
        p->t->syncs += p->started && p->head[0] == 'S';
        p->started = true;
    }
}

// The bytes that were moved; 0: the connection is over.
static size_t move(int from, int to, unsigned char data[PIECE])
{
    ssize_t n = recv(from, data, PIECE, 0);
    for (ssize_t sent = 0, more; sent < n; sent += more)
        if ((more = send(to, data + sent, (size_t)(n - sent), MSG_NOSIGNAL)) <= 0)
            return 0;
    return n > 0 ? (size_t)n : 0;
}

static void *serve(void *arg)
{
    struct pair *p = arg;
    unsigned char data[PIECE];
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", p->t->target_port);
    int server = wire_connect(address, false);
    for (bool open = server >= 0; open;) {
        struct pollfd fds[] = {{.fd = p->client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            break;
        if (fds[0].revents) {
            size_t n = move(p->client, server, data);
            count_syncs(p, data, n);
            open = n > 0;
        }
        if (open && fds[1].revents)
            open = move(server, p->client, data) > 0;
    }
    close(server);
    close(p->client);
    free(p);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct turns *t = arg;
    for (int client; (client = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        struct pair *p = calloc(1, sizeof *p);
        if (!p || t->pair_count == PAIRS_MAX)
            abort();
        *p = (struct pair){.t = t, .client = client};
        if (pthread_create(&t->pairs[t->pair_count++], NULL, serve, p) != 0)
            abort();
    }
    return NULL;
}

struct turns *turns_start(int target_port, int *port)
{
    struct turns *t = calloc(1, sizeof *t);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    if (!t)
        abort();
    t->target_port = target_port;
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(t->listener, (struct sockaddr *)&at, len) < 0 || listen(t->listener, 64) < 0 ||
        getsockname(t->listener, (struct sockaddr *)&at, &len) < 0 ||
        pthread_create(&t->thread, NULL, accept_all, t) != 0)
        bench_fail("no proxy can be started");
    *port = ntohs(at.sin_port);
    return t;
}

int64_t turns_count(struct turns *t)
{
    return t->syncs;
}

void turns_stop(struct turns *t)
{
    shutdown(t->listener, SHUT_RDWR);
    pthread_join(t->thread, NULL);
    for (size_t i = 0; i < t->pair_count; i++)
        pthread_join(t->pairs[i], NULL);
    close(t->listener);
    free(t);
}
