// SPDX-License-Identifier: Apache-2.0
// Connections: accepting them, and the limit on their number. At the limit nothing is accepted: clients wait in the
// kernel's backlog until a connection closes.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/http_int.h"

enum { RETRY_MS = 20 }; // when descriptors or memory are short

struct http_conns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned open; // under lock from here
    bool stopping;
    unsigned max;
    int listen_fd;
    pthread_t acceptor;
    struct MHD_Daemon *daemon;
};

int conns_new(unsigned max_connections, unsigned idle_timeout_s, struct http_conns **out, struct error *err)
{
    struct http_conns *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_NO_MEMORY, "No memory for connections");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->max = max_connections;
    c->listen_fd = -1;
    *out = c;
    return 0;
}

static void count(struct http_conns *c, int change)
{
    pthread_mutex_lock(&c->lock);
    c->open += (unsigned)change;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void conns_notify(void *conns, struct MHD_Connection *conn, void **context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_CLOSED)
        count(conns, -1);
}

static bool wait_for_room(struct http_conns *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->open >= c->max && !c->stopping)
        pthread_cond_wait(&c->changed, &c->lock);
    bool go = !c->stopping;
    pthread_mutex_unlock(&c->lock);
    return go;
}

static void *acceptor(void *arg)
{
    struct http_conns *c = arg;
    while (wait_for_room(c)) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(c->listen_fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                clock_sleep_ms(RETRY_MS);
            continue; // after a shutdown of the socket wait_for_room ends the loop
        }
        count(c, 1);
        if (MHD_add_connection(c->daemon, fd, (struct sockaddr *)&addr, len) != MHD_YES) // closes fd itself
            count(c, -1);
    }
    return NULL;
}

int conns_accept(struct http_conns *c, int fd, struct MHD_Daemon *daemon, struct error *err)
{
    c->listen_fd = fd;
    c->daemon = daemon;
    int rc = pthread_create(&c->acceptor, NULL, acceptor, c);
    if (rc == 0)
        return 0;
    close(fd);
    c->listen_fd = -1;
    return error_errno(err, ERR_INTERNAL, rc, "Cannot start the accepting thread");
}

void conns_stop_accepting(struct http_conns *c)
{
    if (c->listen_fd < 0)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    shutdown(c->listen_fd, SHUT_RDWR); // wakes accept4
    pthread_join(c->acceptor, NULL);
    close(take_fd(c->listen_fd));
}

void conns_free(struct http_conns *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}
