// SPDX-License-Identifier: Apache-2.0
// Polling threads: each waits for its connections and drives a libmicrohttpd daemon of its own.
//
// libmicrohttpd's own threads (0.9.75, epoll) stall: when 128 connections become ready at once they ask for more before
// they serve those, and sleep until something else happens or a connection's idle timeout is near. So the waiting is
// ours: poll() on the daemon's epoll descriptor and on a bell, then MHD_run, which never waits. The bell rings for what
// libmicrohttpd cannot see from there: connections that are handed over, and those that other threads resume.
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "http/http_int.h"

struct handed {
    struct handed *next;
    int fd;
    socklen_t len;
    struct sockaddr_storage addr;
};

struct poller {
    struct http_pollers *pollers;
    struct MHD_Daemon *daemon;
    int epoll;
    int bell;
    _Atomic bool stop;
    pthread_mutex_t lock;
    struct handed *handed; // under lock
    pthread_t thread;
};

struct http_pollers {
    struct http_conns *conns;
    unsigned started;
    unsigned next; // of the accepting thread
    struct poller poller[];
};

static void ring(struct poller *p)
{
    eventfd_write(p->bell, 1);
}

static struct handed *take_handed(struct poller *p)
{
    pthread_mutex_lock(&p->lock);
    struct handed *list = take_ptr(p->handed);
    pthread_mutex_unlock(&p->lock);
    return list;
}

static void add_handed(struct poller *p)
{
    for (struct handed *h = take_handed(p), *next; h; h = next) {
        next = h->next;
        if (MHD_add_connection(p->daemon, h->fd, (struct sockaddr *)&h->addr, h->len) != MHD_YES) // it closes fd
            conns_give_room_back(p->pollers->conns);
        free(h);
    }
}

static void wait_for_work(struct poller *p)
{
    struct pollfd fds[] = {{.fd = p->epoll, .events = POLLIN}, {.fd = p->bell, .events = POLLIN}};
    MHD_UNSIGNED_LONG_LONG left;
    int timeout = MHD_get_timeout(p->daemon, &left) != MHD_YES ? -1 : left > INT_MAX ? INT_MAX : (int)left;
    if (poll(fds, ARRAY_LEN(fds), timeout) > 0 && fds[1].revents) {
        eventfd_t value;
        eventfd_read(p->bell, &value);
    }
}

static void *poll_thread(void *arg)
{
    struct poller *p = arg;
    while (!p->stop) {
        wait_for_work(p);
        add_handed(p);
        MHD_run(p->daemon);
    }
    return NULL;
}

// ---- start and stop

static int poller_start(struct poller *p, struct MHD_Daemon *(*make)(void *arg), void *arg, struct error *err)
{
    _cleanup_close_ int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct MHD_Daemon *daemon = bell >= 0 ? make(arg) : NULL;
    if (!daemon)
        return error_set(err, ERR_INTERNAL, "The HTTP server cannot start");
    p->daemon = daemon;
    p->epoll = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    p->bell = bell;
    pthread_mutex_init(&p->lock, NULL);
    int rc = pthread_create(&p->thread, NULL, poll_thread, p);
    if (rc != 0) {
        pthread_mutex_destroy(&p->lock);
        MHD_stop_daemon(daemon);
        return error_errno(err, ERR_INTERNAL, rc, "Cannot start a thread of the HTTP server");
    }
    take_fd(bell);
    return 0;
}

int pollers_start(unsigned count, struct http_conns *conns, struct MHD_Daemon *(*make)(void *arg), void *arg,
                  struct http_pollers **out, struct error *err)
{
    struct http_pollers *all = calloc(1, sizeof *all + count * sizeof all->poller[0]);
    if (!all)
        return error_set(err, ERR_NO_MEMORY, "No memory for the HTTP server");
    all->conns = conns;
    for (; all->started < count; all->started++) {
        struct poller *p = &all->poller[all->started];
        p->pollers = all;
        if (poller_start(p, make, arg, err) != 0) {
            pollers_stop(all);
            return -1;
        }
    }
    *out = all;
    return 0;
}

static void poller_stop(struct poller *p)
{
    p->stop = true;
    ring(p);
    pthread_join(p->thread, NULL);
    add_handed(p);
    MHD_run(p->daemon); // takes in what was resumed, without which it could not stop
    MHD_stop_daemon(p->daemon);
    pthread_mutex_destroy(&p->lock);
    close(p->bell);
}

void pollers_stop(struct http_pollers *all)
{
    if (!all)
        return;
    for (unsigned i = 0; i < all->started; i++)
        poller_stop(&all->poller[i]);
    free(all);
}

// ---- from other threads

bool pollers_hand_over(struct http_pollers *all, int fd, const struct sockaddr_storage *addr, socklen_t len)
{
    struct handed *h = malloc(sizeof *h);
    if (!h) {
        close(fd);
        errno = ENOMEM;
        return false;
    }
    *h = (struct handed){.fd = fd, .len = len, .addr = *addr};
    struct poller *p = &all->poller[all->next++ % all->started];
    pthread_mutex_lock(&p->lock);
    h->next = p->handed;
    p->handed = h;
    pthread_mutex_unlock(&p->lock);
    ring(p);
    return true;
}

static struct poller *poller_of(struct http_pollers *all, struct MHD_Connection *conn)
{
    const struct MHD_Daemon *daemon = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_DAEMON)->daemon;
    unsigned i = 0;
    while (all->poller[i].daemon != daemon)
        i++;
    return &all->poller[i];
}

void pollers_resume(struct http_pollers *all, struct MHD_Connection *conn)
{
    struct poller *p = poller_of(all, conn); // once resumed the connection may end at any moment
    MHD_resume_connection(conn);
    ring(p);
}

void pollers_close_upgraded(struct http_pollers *all, struct MHD_Connection *conn,
                            struct MHD_UpgradeResponseHandle *urh)
{
    struct poller *p = poller_of(all, conn);
    MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
    ring(p);
}
