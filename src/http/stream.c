// SPDX-License-Identifier: Apache-2.0
// Streams: answers without an end. What is written waits in a bounded buffer; the connection is suspended while that is
// empty, so that an idle stream costs neither a thread nor a wake-up.
//
// The server keeps a list of its streams: a drain ends them. `lock` of a stream guards its buffer; the list has its
// own, which is taken first. `room` and `closed` are called without either.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_int.h"

struct http_stream {
    struct http_stream *prev, *next;
    struct http_streams *streams;
    struct http_pollers *pollers;
    struct MHD_Connection *conn;
    struct http_stream_ops ops;
    void *arg;
    pthread_mutex_t lock; // guards what follows
    char *data;
    size_t at, len, size; // the unsent bytes are data[at .. len)
    size_t limit;
    bool suspended, ended, refused;
};

struct http_streams {
    pthread_mutex_t lock; // guards what follows
    struct http_stream list;
    bool ended;
};

struct http_streams *streams_new(void)
{
    struct http_streams *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    pthread_mutex_init(&s->lock, NULL);
    s->list.prev = s->list.next = &s->list;
    return s;
}

void streams_free(struct http_streams *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void streams_end(struct http_streams *s)
{
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    for (struct http_stream *x = s->list.next; x != &s->list; x = x->next)
        http_stream_end(x);
    pthread_mutex_unlock(&s->lock);
}

static size_t pending(const struct http_stream *x)
{
    return x->len - x->at;
}

// Lock held.
static void wake(struct http_stream *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    conns_client_turn(x->conn, pending(x));
    pollers_resume(x->pollers, x->conn);
}

static bool make_room(struct http_stream *x, size_t more)
{
    if (x->at) {
        memmove(x->data, x->data + x->at, pending(x));
        x->len -= x->at;
        x->at = 0;
    }
    if (x->len + more <= x->size)
        return true;
    size_t size = x->size ? x->size * 2 : 1024;
    while (size < x->len + more)
        size *= 2;
    char *data = realloc(x->data, size);
    if (!data)
        return false;
    x->data = data;
    x->size = size;
    return true;
}

int http_stream_write(struct http_stream *x, const void *data, size_t len)
{
    pthread_mutex_lock(&x->lock);
    // One write is always taken when nothing waits, however long it is.
    bool taken = !x->ended && (!pending(x) || pending(x) + len <= x->limit) && make_room(x, len);
    if (taken) {
        memcpy(x->data + x->len, data, len);
        x->len += len;
        wake(x);
    } else {
        x->refused = true;
    }
    pthread_mutex_unlock(&x->lock);
    return taken ? 0 : -1;
}

void http_stream_end(struct http_stream *x)
{
    pthread_mutex_lock(&x->lock);
    x->ended = true;
    wake(x);
    pthread_mutex_unlock(&x->lock);
}

static void give_back(struct http_stream *x)
{
    if (pending(x))
        return;
    free(x->data); // an idle stream costs little
    x->data = NULL;
    x->at = x->len = x->size = 0;
}

static ssize_t read_stream(void *arg, uint64_t offset, char *out, size_t max)
{
    struct http_stream *x = arg;
    pthread_mutex_lock(&x->lock);
    ssize_t n = (ssize_t)(pending(x) < max ? pending(x) : max);
    if (n) {
        memcpy(out, x->data + x->at, (size_t)n);
        x->at += (size_t)n;
        give_back(x);
    } else if (x->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        conns_our_turn(x->conn);
        x->suspended = true;
        MHD_suspend_connection(x->conn);
    }
    bool room = x->refused && pending(x) <= x->limit / 2;
    if (room)
        x->refused = false;
    pthread_mutex_unlock(&x->lock);
    if (room && x->ops.room)
        x->ops.room(x->arg);
    return n;
}

// The answer is over, whoever ended it.
static void release(void *arg)
{
    struct http_stream *x = arg;
    x->ops.closed(x->arg); // nobody writes any more behind this
    pthread_mutex_lock(&x->streams->lock);
    x->prev->next = x->next;
    x->next->prev = x->prev;
    pthread_mutex_unlock(&x->streams->lock);
    pthread_mutex_destroy(&x->lock);
    free(x->data);
    free(x);
}

static void enter(struct http_streams *s, struct http_stream *x)
{
    pthread_mutex_lock(&s->lock);
    x->prev = s->list.prev;
    x->next = &s->list;
    x->prev->next = x->next->prev = x;
    x->ended = s->ended;
    pthread_mutex_unlock(&s->lock);
}

struct http_stream *http_reply_stream(struct http_request *req, const char *content_type, size_t limit,
                                      const struct http_stream_ops *ops, void *arg)
{
    struct http_stream *x = calloc(1, sizeof *x);
    if (!x)
        abort();
    x->streams = server_streams(req->server);
    x->pollers = server_pollers(req->server);
    x->conn = req->conn;
    x->ops = *ops;
    x->arg = arg;
    x->limit = limit;
    pthread_mutex_init(&x->lock, NULL);
    enter(x->streams, x);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 * 1024, read_stream, x, release);
    if (!response)
        abort();
    reply_give(req, 200, content_type, response, 0);
    return x;
}
