// SPDX-License-Identifier: Apache-2.0
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire.h"

enum { ANSWER_MAX = 8192, EVENTS = 64 };

struct client { // one connection
    int fd;
    bool sending;
    double began;
    char head[512], tail[TAIL_LEN + 1];
    struct iovec parts[3];
    int part;
    char answer[ANSWER_MAX + 1];
    size_t answer_len;
};

struct run {
    const struct load *load;
    struct load_result *result;
    struct client *clients;
    int epoll;
    size_t sent, answered;
};

static bool may_begin(const struct run *r)
{
    return r->sent < r->load->uploads;
}

static void watch(struct run *r, struct client *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(r->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
        bench_fail("epoll: %s", strerror(errno));
}

static void send_some(struct run *r, struct client *c)
{
    while (c->part < 3) {
        struct msghdr message = {.msg_iov = c->parts + c->part, .msg_iovlen = (size_t)(3 - c->part)};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            if (!c->sending)
                watch(r, c, EPOLLIN | EPOLLOUT);
            c->sending = true;
            return;
        }
        if (n < 0)
            bench_fail("the server closed the connection while it was sent to: %s", c->answer);
        for (; n > 0 && (size_t)n >= c->parts[c->part].iov_len; c->part++)
            n -= (ssize_t)c->parts[c->part].iov_len;
        if (n > 0) {
            c->parts[c->part].iov_base = (char *)c->parts[c->part].iov_base + n;
            c->parts[c->part].iov_len -= (size_t)n;
        }
    }
    if (c->sending)
        watch(r, c, EPOLLIN);
    c->sending = false;
}

static void begin(struct run *r, struct client *c)
{
    const struct photo *photo = &r->load->photos[r->sent++ % r->load->photo_count];
    photo_tail(c->tail);
    int len = snprintf(c->head, sizeof c->head,
                       "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\n\r\n",
                       r->load->target, photo->len + TAIL_LEN);
    c->parts[0] = (struct iovec){c->head, (size_t)len};
    c->parts[1] = (struct iovec){photo->data, photo->len};
    c->parts[2] = (struct iovec){c->tail, TAIL_LEN};
    c->part = 0;
    c->answer_len = 0;
    c->began = bench_now();
    send_some(r, c);
}

static void keep_id(struct load_result *result, const struct client *c)
{
    const char *at = strstr(c->answer, "\"imageId\":");
    if (at && result->first_id_count < 32 &&
        sscanf(at + 10, " \"%63[^\"]", result->first_ids[result->first_id_count]) == 1)
        result->first_id_count++;
}

static void count_answer(struct run *r, const struct client *c)
{
    r->answered++;
    keep_id(r->result, c);
    series_add(&r->result->latency, (bench_now() - c->began) * 1000);
}

static void receive_some(struct run *r, struct client *c)
{
    ssize_t n = recv(c->fd, c->answer + c->answer_len, ANSWER_MAX - c->answer_len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        bench_fail("the server closed the connection instead of answering");
    c->answer_len += (size_t)n;
    c->answer[c->answer_len] = 0;
    int status = 0;
    size_t head;
    long whole = wire_answer_len(c->answer, c->answer_len, &status, &head);
    if (whole == 0 && c->answer_len < ANSWER_MAX)
        return;
    if (whole <= 0 || status != 202)
        bench_fail("an upload was not accepted: %s", c->answer);
    count_answer(r, c);
    if (may_begin(r))
        begin(r, c);
}

static void connect_all(struct run *r)
{
    for (int i = 0; i < r->load->connections; i++) {
        struct client *c = &r->clients[i];
        c->fd = wire_connect(r->load->address, true);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (c->fd < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
            bench_fail("no connection to %s", r->load->address);
    }
}

static void drive(struct run *r)
{
    struct epoll_event events[EVENTS];
    for (int i = 0; i < r->load->connections && may_begin(r); i++)
        begin(r, &r->clients[i]);
    while (r->answered < r->sent) {
        int n = epoll_wait(r->epoll, events, EVENTS, 60000);
        if (n <= 0)
            bench_fail("no answer for a minute");
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_some(r, c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive_some(r, c);
        }
    }
}

void load_run(const struct load *load, struct load_result *out)
{
    *out = (struct load_result){0};
    struct run r = {.load = load, .result = out, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    r.clients = calloc((size_t)load->connections, sizeof *r.clients);
    if (r.epoll < 0 || !r.clients)
        bench_fail("the generator cannot start");
    connect_all(&r);
    double start = bench_now();
    drive(&r);
    out->seconds = bench_now() - start;
    out->per_second = (double)load->uploads / out->seconds;
    for (int i = 0; i < load->connections; i++)
        close(r.clients[i].fd);
    close(r.epoll);
    free(r.clients);
}

void load_result_free(struct load_result *r)
{
    series_free(&r->latency);
}
