// SPDX-License-Identifier: Apache-2.0
// Connections: accepting them, the limit on their number, clients that are too slow, and closing gently.
//
// At the limit nothing is accepted: clients wait in the kernel's backlog until a connection closes.
//
// libmicrohttpd closes connections that are silent for the idle timeout. One byte now and then would keep a connection
// for ever, so the keeper thread looks once a second at how long each one has waited for its client: to send a
// request's headers, its body, or to take the answer. Two idle timeouts and a second for each MIN_RATE bytes are
// granted; then the socket is shut down, which libmicrohttpd sees as a client that went away.
//
// A refused upload is answered while its client is still sending. Closing the socket then would make the kernel send
// RST, and the client would lose the answer before reading it. So such sockets linger: a duplicate of the descriptor
// keeps them open while the keeper reads and drops what still comes, within LINGER_MS, LINGER_BYTES and LINGER_MAX.
//
// Locks: `lock` guards the list and the lingering sockets; a listed descriptor is open as long as the lock is held.
// What changes with every request (struct conn's atomics) needs no lock.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "http/http_int.h"

enum {
    RETRY_MS = 20, // when descriptors or memory are short
    TICK_MS = 1000,
    MIN_RATE = 1024, // bytes a second
    LINGER_MAX = 64,
    LINGER_MS = 5000,
    LINGER_BYTES = 64 * 1024 * 1024,
};

struct conn {
    struct conn *prev, *next;
    int fd;
    _Atomic int64_t since_us; // when the client's turn began; 0: it is ours
    _Atomic uint64_t bytes;   // that were received, or are to be sent, in this turn
    _Atomic bool linger;
};

struct lingering {
    int fd;
    int64_t until_us;
    size_t left;
};

struct http_conns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct conn list; // under lock from here
    unsigned open;
    bool drained;  // nothing is accepted any more
    bool stopping; // the keeper ends
    struct lingering lingering[LINGER_MAX];
    unsigned lingering_count;
    unsigned max; // constant from here
    int64_t patience_us;
    int listen_fd;
    int wake_fd;
    struct http_pollers *pollers;
    pthread_t acceptor;
    pthread_t keeper;
};

static void wake_keeper(struct http_conns *c)
{
    eventfd_write(c->wake_fd, 1);
}

// ---- what a connection is doing

static void opened(struct http_conns *c, struct MHD_Connection *conn, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct conn *self = calloc(1, sizeof *self);
    *context = self;
    if (!self) // it works without, only unguarded
        return;
    self->fd = info->connect_fd;
    self->since_us = clock_mono_us();
    pthread_mutex_lock(&c->lock);
    self->prev = &c->list;
    self->next = c->list.next;
    self->next->prev = self->prev->next = self;
    pthread_mutex_unlock(&c->lock);
}

static bool unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static void linger(struct http_conns *c, int fd) // with the lock held
{
    int copy = c->lingering_count < LINGER_MAX && !c->stopping ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy < 0)
        return;
    shutdown(copy, SHUT_WR);
    c->lingering[c->lingering_count++] =
        (struct lingering){.fd = copy, .until_us = clock_mono_us() + LINGER_MS * 1000, .left = LINGER_BYTES};
    wake_keeper(c);
}

static void closed(struct http_conns *c, struct conn *self)
{
    pthread_mutex_lock(&c->lock);
    if (self) {
        self->prev->next = self->next;
        self->next->prev = self->prev;
        if (self->linger || unread(self->fd))
            linger(c, self->fd);
    }
    c->open--;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    free(self);
}

void conns_notify(void *conns, struct MHD_Connection *conn, void **context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        opened(conns, conn, context);
    else
        closed(conns, take_ptr(*context));
}

static struct conn *conn_of(struct MHD_Connection *conn)
{
    return MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void conns_client_turn(struct MHD_Connection *conn, uint64_t bytes)
{
    struct conn *self = conn_of(conn);
    if (!self)
        return;
    self->bytes = bytes;
    self->since_us = clock_mono_us();
}

void conns_received(struct MHD_Connection *conn, size_t bytes)
{
    struct conn *self = conn_of(conn);
    if (self)
        self->bytes += bytes;
}

void conns_our_turn(struct MHD_Connection *conn)
{
    struct conn *self = conn_of(conn);
    if (self)
        self->since_us = 0;
}

void conns_linger(struct MHD_Connection *conn)
{
    struct conn *self = conn_of(conn);
    if (self)
        self->linger = true;
}

// ---- the keeper

static void end_slow(struct http_conns *c, int64_t now)
{
    pthread_mutex_lock(&c->lock);
    for (struct conn *conn = c->list.next; conn != &c->list; conn = conn->next) {
        int64_t since = conn->since_us;
        if (since && now - since > c->patience_us + (int64_t)(conn->bytes / MIN_RATE) * 1000000)
            shutdown(conn->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&c->lock);
}

// Reads what is there; false when this socket has lingered enough.
static bool drop_input(struct lingering *l, int64_t now)
{
    char scratch[16 * 1024];
    while (l->left >= sizeof scratch && now < l->until_us) {
        ssize_t n = recv(l->fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        l->left -= (size_t)n;
    }
    return false;
}

static void end_lingering(struct http_conns *c, int64_t now)
{
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->lingering_count;) {
        if (!c->stopping && drop_input(&c->lingering[i], now)) {
            i++;
        } else {
            close(c->lingering[i].fd);
            c->lingering[i] = c->lingering[--c->lingering_count];
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static bool keeper_wait(struct http_conns *c)
{
    struct pollfd fds[LINGER_MAX + 1];
    pthread_mutex_lock(&c->lock);
    nfds_t count = c->lingering_count;
    for (unsigned i = 0; i < count; i++) // only the keeper closes them
        fds[i] = (struct pollfd){.fd = c->lingering[i].fd, .events = POLLIN};
    bool go = !c->stopping;
    pthread_mutex_unlock(&c->lock);
    fds[count++] = (struct pollfd){.fd = c->wake_fd, .events = POLLIN};
    if (go && poll(fds, count, TICK_MS) > 0 && fds[count - 1].revents) {
        eventfd_t value;
        eventfd_read(c->wake_fd, &value);
    }
    return go;
}

static void *keeper(void *arg)
{
    struct http_conns *c = arg;
    int64_t looked = 0;
    while (keeper_wait(c)) {
        int64_t now = clock_mono_us();
        end_lingering(c, now);
        if (now - looked >= TICK_MS * 1000) {
            end_slow(c, now);
            looked = now;
        }
    }
    end_lingering(c, INT64_MAX);
    return NULL;
}

// ---- accepting

static bool wait_for_room(struct http_conns *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->open >= c->max && !c->drained)
        pthread_cond_wait(&c->changed, &c->lock);
    bool go = !c->drained;
    c->open += go; // the place of the connection to come
    pthread_mutex_unlock(&c->lock);
    return go;
}

void conns_give_room_back(struct http_conns *c)
{
    pthread_mutex_lock(&c->lock);
    c->open--;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void *acceptor(void *arg)
{
    struct http_conns *c = arg;
    while (wait_for_room(c)) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(c->listen_fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && pollers_hand_over(c->pollers, fd, &addr, len))
            continue;
        bool short_of_them = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        conns_give_room_back(c);
        if (short_of_them)
            clock_sleep_ms(RETRY_MS);
    }
    return NULL;
}

// ---- start and stop

int conns_new(unsigned max_connections, unsigned idle_timeout_s, struct http_conns **out, struct error *err)
{
    _cleanup_free_ struct http_conns *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_NO_MEMORY, "No memory for connections");
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0)
        return error_errno(err, ERR_INTERNAL, errno, "Cannot make an event descriptor");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->list.prev = c->list.next = &c->list;
    c->max = max_connections ? max_connections : 1;
    c->patience_us = idle_timeout_s ? 2 * (int64_t)idle_timeout_s * 1000000 : INT64_MAX / 2; // 0: no timeout at all
    c->listen_fd = -1;
    int rc = pthread_create(&c->keeper, NULL, keeper, c);
    if (rc != 0) {
        close(c->wake_fd);
        return error_errno(err, ERR_INTERNAL, rc, "Cannot start the thread that watches connections");
    }
    *out = take_ptr(c);
    return 0;
}

int conns_accept(struct http_conns *c, int fd, struct http_pollers *pollers, struct error *err)
{
    c->listen_fd = fd;
    c->pollers = pollers;
    int rc = pthread_create(&c->acceptor, NULL, acceptor, c);
    if (rc == 0)
        return 0;
    close(take_fd(c->listen_fd));
    return error_errno(err, ERR_INTERNAL, rc, "Cannot start the accepting thread");
}

void conns_stop_accepting(struct http_conns *c)
{
    if (c->listen_fd < 0)
        return;
    pthread_mutex_lock(&c->lock);
    c->drained = true;
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
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    wake_keeper(c);
    pthread_join(c->keeper, NULL);
    close(c->wake_fd);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}
