// SPDX-License-Identifier: Apache-2.0
// WebSockets (RFC 6455): the handshake on libmicrohttpd, the frames by wslay, and one thread with epoll for all of
// them. A socket's lock guards its frames; what came is handed over without it. Whoever writes sends at once as much as
// the kernel takes; the thread sends the rest. Only the thread ends a socket.
//
// An idle socket costs a descriptor and a few hundred bytes. One that does not answer two pings in a row is dropped.
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <wslay/wslay.h>

#include "http/http_int.h"

enum { MESSAGE_MAX = 64 * 1024, EVENTS = 64, KEY_LEN = 24, DIGEST_LEN = 20, UNANSWERED_MAX = 2 };

struct message {
    struct message *next;
    size_t len;
    char text[];
};

struct http_socket {
    struct http_socket *prev, *next;
    struct http_sockets *sockets;
    struct http_socket_ops ops;
    void *arg;
    struct http_pollers *pollers;
    struct MHD_Connection *conn; // set with urh
    struct MHD_UpgradeResponseHandle *urh;
    int fd; // -1 until the answer was sent

    pthread_mutex_t lock; // guards what follows
    wslay_event_context_ptr frames;
    char *early; // what came with the request
    size_t early_at, early_len;
    size_t limit;
    int unanswered; // pings
    bool refused, writes, broken;
    struct message *in, **in_end;
};

struct http_sockets {
    pthread_t thread;
    int epoll, wake;
    _Atomic bool stop;
    pthread_mutex_t lock; // guards what follows
    struct http_socket list;
    bool ended;
};

// ---- What wslay asks for, with the socket's lock held

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
    struct http_socket *s = arg;
    size_t early = s->early_len - s->early_at;
    if (early) {
        size_t n = early < len ? early : len;
        memcpy(buf, s->early + s->early_at, n);
        s->early_at += n;
        return (ssize_t)n;
    }
    ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);
    if (n > 0)
        return n;
    bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
    wslay_event_set_error(ctx, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *arg)
{
    struct http_socket *s = arg;
    ssize_t n = send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL | (flags & WSLAY_MSG_MORE ? MSG_MORE : 0));
    if (n >= 0)
        return n;
    wslay_event_set_error(ctx, errno == EAGAIN || errno == EINTR ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *in, void *arg)
{
    struct http_socket *s = arg;
    s->unanswered = 0;
    if (in->opcode == WSLAY_BINARY_FRAME) {
        wslay_event_queue_close(ctx, WSLAY_CODE_UNSUPPORTED_DATA, (const uint8_t *)"Text is expected here", 21);
        return;
    }
    if (in->opcode != WSLAY_TEXT_FRAME)
        return;
    struct message *m = malloc(sizeof *m + in->msg_length + 1);
    if (!m)
        abort();
    m->next = NULL;
    m->len = in->msg_length;
    memcpy(m->text, in->msg, in->msg_length);
    m->text[m->len] = 0;
    *s->in_end = m;
    s->in_end = &m->next;
}

// ---- Sending; lock held

static void watch(struct http_socket *s, bool writes)
{
    if (s->writes == writes || s->fd < 0)
        return;
    s->writes = writes;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (writes ? EPOLLOUT : 0), .data.ptr = s};
    epoll_ctl(s->sockets->epoll, EPOLL_CTL_MOD, s->fd, &event);
}

static void flush(struct http_socket *s)
{
    if (s->fd < 0 || s->broken)
        return;
    if (wslay_event_send(s->frames) != 0)
        s->broken = true;
    bool over = s->broken || (!wslay_event_want_read(s->frames) && !wslay_event_want_write(s->frames));
    if (over)
        shutdown(s->fd, SHUT_RDWR); // the thread sees it, and ends the socket
    else                            // what is early is no news to epoll: only this wakes the thread for it
        watch(s, wslay_event_want_write(s->frames) || s->early_at < s->early_len);
}

static int queue(struct http_socket *s, uint8_t opcode, const void *data, size_t len)
{
    const struct wslay_event_msg msg = {.opcode = opcode, .msg = data, .msg_length = len};
    return wslay_event_queue_msg(s->frames, &msg);
}

int http_socket_write(struct http_socket *s, const char *text, size_t len)
{
    pthread_mutex_lock(&s->lock);
    size_t waiting = wslay_event_get_queued_msg_length(s->frames);
    bool taken = (!waiting || waiting + len <= s->limit) && queue(s, WSLAY_TEXT_FRAME, text, len) == 0;
    if (taken)
        flush(s);
    else
        s->refused = true;
    pthread_mutex_unlock(&s->lock);
    return taken ? 0 : -1;
}

void http_socket_end(struct http_socket *s, int code, const char *reason)
{
    pthread_mutex_lock(&s->lock);
    wslay_event_queue_close(s->frames, (uint16_t)code, (const uint8_t *)reason, strlen(reason));
    flush(s);
    pthread_mutex_unlock(&s->lock);
}

void http_socket_beat(struct http_socket *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->fd >= 0 && s->unanswered++ >= UNANSWERED_MAX) {
        s->broken = true;
        shutdown(s->fd, SHUT_RDWR);
    } else if (queue(s, WSLAY_PING, NULL, 0) == 0) {
        flush(s);
    }
    pthread_mutex_unlock(&s->lock);
}

// ---- The thread

static void free_socket(struct http_socket *s)
{
    for (struct message *m = s->in, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    wslay_event_context_free(s->frames);
    pthread_mutex_destroy(&s->lock);
    free(s->early);
    free(s);
}

static void leave(struct http_socket *s)
{
    s->ops.closed(s->arg); // nobody writes any more behind this
    pthread_mutex_lock(&s->sockets->lock);
    s->prev->next = s->next;
    s->next->prev = s->prev;
    pthread_mutex_unlock(&s->sockets->lock);
}

static void finish(struct http_socket *s)
{
    epoll_ctl(s->sockets->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    leave(s);
    pollers_close_upgraded(s->pollers, s->conn, s->urh);
    free_socket(s);
}

static void hand_over(struct http_socket *s, struct message *m)
{
    for (struct message *next; m; m = next) {
        next = m->next;
        if (s->ops.message)
            s->ops.message(s->arg, m->text, m->len);
        free(m);
    }
}

static void serve_one(struct http_socket *s, uint32_t events)
{
    pthread_mutex_lock(&s->lock);
    bool over = s->broken || events & (EPOLLERR | EPOLLHUP);
    if (!over &&
        (events & (EPOLLIN | EPOLLRDHUP) || s->early_at < s->early_len)) // epoll knows nothing of what is early
        over = wslay_event_recv(s->frames) != 0;
    if (!over)
        flush(s);
    over |= s->broken || (!wslay_event_want_read(s->frames) && !wslay_event_want_write(s->frames));
    struct message *in = take_ptr(s->in);
    s->in_end = &s->in;
    bool room = s->refused && wslay_event_get_queued_msg_length(s->frames) <= s->limit / 2;
    if (room)
        s->refused = false;
    pthread_mutex_unlock(&s->lock);
    hand_over(s, in);
    if (over)
        finish(s);
    else if (room && s->ops.room)
        s->ops.room(s->arg);
}

static void *serve(void *arg)
{
    struct http_sockets *all = arg;
    struct epoll_event events[EVENTS];
    pthread_setname_np(pthread_self(), "http-sockets");
    while (!all->stop) {
        int count = epoll_wait(all->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr)
                serve_one(events[i].data.ptr, events[i].events);
    }
    return NULL;
}

// ---- The handshake

static bool has_token(const char *list, const char *token)
{
    size_t len = strlen(token);
    while (list && *list) {
        list += strspn(list, " \t,");
        size_t n = strcspn(list, ",");
        size_t word = n;
        while (word && (list[word - 1] == ' ' || list[word - 1] == '\t'))
            word--;
        if (word == len && strncasecmp(list, token, len) == 0)
            return true;
        list += n;
    }
    return false;
}

bool http_wants_socket(const struct http_request *req)
{
    return has_token(http_header(req, "Upgrade"), "websocket") && has_token(http_header(req, "Connection"), "upgrade");
}

// A page of another site must not speak through its visitor's browser.
static int check_origin(const struct http_request *req, struct error *err)
{
    const char *origin = http_header(req, "Origin"), *host = http_header(req, "Host");
    const char *name = origin ? strstr(origin, "://") : NULL;
    if (!origin || (name && host && strcasecmp(name + 3, host) == 0))
        return 0;
    return error_set(err, ERR_FORBIDDEN, "Pages of %.100s may not connect here", origin);
}

static int check_handshake(const struct http_request *req, struct error *err)
{
    const char *version = http_header(req, "Sec-WebSocket-Version"), *key = http_header(req, "Sec-WebSocket-Key");
    if (!version || strcmp(version, "13") != 0)
        return error_set(err, ERR_INVALID, "Sec-WebSocket-Version must be 13");
    if (!key || strlen(key) != KEY_LEN)
        return error_set(err, ERR_INVALID, "Sec-WebSocket-Key must be 16 bytes in base64");
    return check_origin(req, err);
}

// RFC 6455, 4.2.2: base64(SHA-1(key + a constant)).
static void accept_key(const char *key, char out[sodium_base64_ENCODED_LEN(DIGEST_LEN, sodium_base64_VARIANT_ORIGINAL)])
{
    guint8 digest[DIGEST_LEN];
    gsize len = sizeof digest;
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA1);
    g_checksum_update(sum, (const guchar *)key, (gssize)strlen(key));
    g_checksum_update(sum, (const guchar *)"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", -1);
    g_checksum_get_digest(sum, digest, &len);
    g_checksum_free(sum);
    sodium_bin2base64(out, sodium_base64_ENCODED_LEN(DIGEST_LEN, sodium_base64_VARIANT_ORIGINAL), digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
}

// On the connection's polling thread: the answer is sent, and the socket is ours.
static void upgraded(void *arg, struct MHD_Connection *conn, void *context, const char *extra, size_t extra_len,
                     MHD_socket fd, struct MHD_UpgradeResponseHandle *urh)
{
    struct http_socket *s = arg;
    ((struct http_request *)context)->socket = NULL;
    conns_our_turn(conn);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    pthread_mutex_lock(&s->lock);
    s->conn = conn;
    s->urh = urh;
    s->fd = fd;
    if (extra_len && (s->early = malloc(extra_len))) {
        memcpy(s->early, extra, extra_len);
        s->early_len = extra_len;
    }
    // Level-triggered: what is early, and what waits to be sent, is seen at once.
    s->writes = true;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT, .data.ptr = s};
    epoll_ctl(s->sockets->epoll, EPOLL_CTL_ADD, fd, &event);
    pthread_mutex_unlock(&s->lock);
}

void socket_abandon(struct http_request *req)
{
    if (!req->socket)
        return;
    leave(req->socket);
    free_socket(take_ptr(req->socket));
}

static struct http_socket *socket_new(struct http_sockets *all, size_t limit, const struct http_socket_ops *ops,
                                      void *arg)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_message};
    struct http_socket *s = calloc(1, sizeof *s);
    if (!s || wslay_event_context_server_init(&s->frames, &callbacks, s) != 0)
        abort();
    wslay_event_config_set_max_recv_msg_length(s->frames, MESSAGE_MAX);
    *s = (struct http_socket){
        .sockets = all, .ops = *ops, .arg = arg, .fd = -1, .frames = s->frames, .limit = limit, .in_end = &s->in};
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&all->lock);
    s->prev = all->list.prev;
    s->next = &all->list;
    s->prev->next = s->next->prev = s;
    bool ended = all->ended;
    pthread_mutex_unlock(&all->lock);
    if (ended)
        http_socket_end(s, WSLAY_CODE_GOING_AWAY, "The server is shutting down");
    return s;
}

int http_reply_socket(struct http_request *req, size_t limit, const struct http_socket_ops *ops, void *arg,
                      struct http_socket **out, struct error *err)
{
    if (check_handshake(req, err) < 0)
        return -1;
    char accept[sodium_base64_ENCODED_LEN(DIGEST_LEN, sodium_base64_VARIANT_ORIGINAL)];
    accept_key(http_header(req, "Sec-WebSocket-Key"), accept);
    struct http_socket *s = socket_new(server_sockets(req->server), limit, ops, arg);
    s->pollers = server_pollers(req->server);
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, s);
    if (!response)
        abort();
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    req->socket = s;
    reply_give(req, MHD_HTTP_SWITCHING_PROTOCOLS, NULL, response, 0);
    *out = s;
    return 0;
}

// ---- Start and stop

int sockets_start(struct http_sockets **out, struct error *err)
{
    struct http_sockets *all = calloc(1, sizeof *all);
    if (!all)
        return error_set(err, ERR_NO_MEMORY, "No memory for sockets");
    pthread_mutex_init(&all->lock, NULL);
    all->list.prev = all->list.next = &all->list;
    all->epoll = epoll_create1(EPOLL_CLOEXEC);
    all->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (all->epoll < 0 || all->wake < 0 || epoll_ctl(all->epoll, EPOLL_CTL_ADD, all->wake, &event) < 0 ||
        pthread_create(&all->thread, NULL, serve, all) != 0) {
        error_errno(err, ERR_INTERNAL, errno, "Cannot start the thread of the sockets");
        close(all->epoll);
        close(all->wake);
        free(all);
        return -1;
    }
    *out = all;
    return 0;
}

void sockets_end(struct http_sockets *all)
{
    pthread_mutex_lock(&all->lock);
    all->ended = true;
    for (struct http_socket *s = all->list.next; s != &all->list; s = s->next)
        http_socket_end(s, WSLAY_CODE_GOING_AWAY, "The server is shutting down");
    pthread_mutex_unlock(&all->lock);
}

void sockets_free(struct http_sockets *all)
{
    if (!all)
        return;
    all->stop = true;
    eventfd_write(all->wake, 1);
    pthread_join(all->thread, NULL);
    for (struct http_socket *s = all->list.next, *next; s != &all->list; s = next) {
        next = s->next; // those who did not answer our goodbye
        finish(s);
    }
    close(all->epoll);
    close(all->wake);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
