// SPDX-License-Identifier: Apache-2.0
// /hubs/processing-status: the specification's SignalR hub over WebSockets, Server-Sent Events and long polling
// (github.com/dotnet/aspnetcore: src/SignalR/docs/specs/TransportProtocols.md).
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"
#include "base/clock.h"

#define PING "{\"type\":6}" MARK

// ---- Sending; c->lock held

static void hub_flush_poll(struct hub_conn *c)
{
    if (c->transport != POLLING || !c->stream || !c->out.len)
        return;
    if (http_stream_write(c->stream, c->out.data, c->out.len) == 0)
        c->out.len = 0;
    http_stream_end(c->stream);
    c->stream = NULL;
}

int hub_send(struct hub_conn *c, const char *text, size_t len)
{
    if (c->over || (c->transport != POLLING && !c->socket && !c->stream))
        return 0;
    if (c->transport == SOCKET)
        return http_socket_write(c->socket, text, len);
    if (c->transport == EVENTS) {
        _cleanup_buf_ struct buf framed = BUF_INIT(MESSAGE_ROOM);
        buf_printf(&framed, "data: %s\r\n\r\n", text);
        return framed.failed ? 0 : http_stream_write(c->stream, framed.data, framed.len);
    }
    if (c->out.len && c->out.len + len > WAITING_MAX)
        return -1;
    buf_append(&c->out, text, len);
    hub_flush_poll(c);
    return 0;
}

void hub_beat(struct hub_conn *c)
{
    if (c->socket)
        http_socket_beat(c->socket);
    if (c->greeted && c->transport != POLLING)
        hub_send(c, PING, strlen(PING));
    if (c->transport == POLLING && c->stream && clock_mono_us() - c->stream_since_us > POLL_US)
        http_stream_end(take_ptr(c->stream)); // the client polls again
}

// ---- Transports

static void room(void *arg)
{
    live_more(((struct hub_conn *)arg)->hub->live);
}

static void closed(void *arg)
{
    struct hub_conn *c = arg;
    pthread_mutex_lock(&c->lock);
    c->socket = NULL;
    c->stream = NULL;
    pthread_mutex_unlock(&c->lock);
    hub_conn_end(c);
    hub_conn_drop(c);
}

struct poll { // one that is held
    struct hub_conn *conn;
    struct http_stream *stream;
};

static void poll_closed(void *arg)
{
    struct poll *poll = arg;
    struct hub_conn *c = poll->conn;
    pthread_mutex_lock(&c->lock);
    if (c->stream == poll->stream)
        c->stream = NULL;
    c->seen_us = clock_mono_us();
    pthread_mutex_unlock(&c->lock);
    free(poll);
    hub_conn_drop(c);
}

static void message(void *arg, const char *text, size_t len)
{
    hub_received(arg, text, len);
}

static int connect_socket(struct http_request *req, struct hub_conn *c, struct error *err)
{
    static const struct http_socket_ops ops = {.message = message, .room = room, .closed = closed};
    pthread_mutex_lock(&c->lock);
    int rc = c->transport != UNKNOWN ? error_set(err, ERR_CONFLICT, "The connection has a transport already")
                                     : http_reply_socket(req, WAITING_MAX, &ops, c, &c->socket, err);
    if (rc == 0)
        c->transport = SOCKET;
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static int connect_events(struct http_request *req, struct hub_conn *c, struct error *err)
{
    static const struct http_stream_ops ops = {.room = room, .closed = closed};
    pthread_mutex_lock(&c->lock);
    int rc = c->transport != UNKNOWN ? error_set(err, ERR_CONFLICT, "The connection has a transport already") : 0;
    if (rc == 0) {
        http_set_header(req, "Cache-Control", "no-store");
        http_set_header(req, "X-Accel-Buffering", "no");
        c->stream = http_reply_stream(req, "text/event-stream", WAITING_MAX, &ops, c);
        c->transport = EVENTS;
        http_stream_write(c->stream, "\r\n", 2); // the headers go out at once
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static void hold(struct http_request *req, struct hub_conn *c)
{
    static const struct http_stream_ops ops = {.closed = poll_closed};
    struct poll *poll = calloc(1, sizeof *poll);
    if (!poll)
        abort();
    poll->conn = c;
    c->stream = poll->stream = http_reply_stream(req, "text/plain", MESSAGE_ROOM, &ops, poll);
    c->stream_since_us = clock_mono_us();
    hub_flush_poll(c);
}

// The first poll only tells that the transport is chosen.
static int connect_poll(struct http_request *req, struct hub_conn *c, struct error *err)
{
    bool first = false, held = false;
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    c->seen_us = clock_mono_us();
    if (c->transport == UNKNOWN) {
        c->transport = POLLING;
        first = true;
    } else if (c->transport != POLLING || c->stream) {
        rc = error_set(err, ERR_CONFLICT, "The connection has a transport already");
    } else {
        hold(req, c);
        held = true;
    }
    pthread_mutex_unlock(&c->lock);
    if (first)
        http_reply_text(req, 200, "text/plain", "");
    if (held)
        live_more(c->hub->live);
    else
        hub_conn_drop(c);
    return rc;
}

void api_hub(struct http_request *req, void *ctx, void *sink)
{
    struct api *api = ctx;
    struct error err = {0};
    const char *id = api_given(req, "id"), *tenant, *accept = http_header(req, "Accept");
    struct hub_conn *c = NULL;
    int rc = api_live(api, &err);
    if (rc == 0 && id) {
        c = hub_conn_find(api->hub, id);
        if (!c)
            rc = error_set(&err, ERR_NOT_FOUND, "There is no such connection");
    } else if (rc == 0 && !http_wants_socket(req)) {
        rc = error_set(&err, ERR_INVALID, "`id` must be the token that /negotiate gave");
    } else if (rc == 0 && (rc = api_tenant(req, NULL, &tenant, &err)) == 0) { // without negotiation
        c = hub_conn_new(api->hub, tenant, &err);
        rc = c ? 0 : -1;
    }
    if (rc == 0 && http_wants_socket(req))
        rc = connect_socket(req, c, &err);
    else if (rc == 0 && accept && strstr(accept, "text/event-stream"))
        rc = connect_events(req, c, &err);
    else if (rc == 0) {
        rc = connect_poll(req, c, &err);
        c = NULL;
    }
    if (rc == 0)
        return; // the transport is its user now
    if (c)
        hub_conn_drop(c);
    http_reply_error(req, &err);
}

void api_hub_negotiate(struct http_request *req, void *ctx, void *sink)
{
    struct api *api = ctx;
    struct error err = {0};
    const char *tenant;
    struct hub_conn *c = NULL;
    int64_t version = 0;
    if (api_live(api, &err) == 0 && api_tenant(req, NULL, &tenant, &err) == 0 &&
        api_int(req, "negotiateVersion", 0, 1000, 0, &version, &err) == 0) {
        hub_sweep(api->hub);
        c = hub_conn_new(api->hub, tenant, &err);
    }
    if (!c) {
        http_reply_error(req, &err);
        return;
    }
    char id[ID_MAX]; // known to others; the token is the client's alone
    id_new("hub", id);
    json_t *answer = json_pack("{s:i, s:s, s:[{s:s, s:[s]}, {s:s, s:[s]}, {s:s, s:[s]}]}", "negotiateVersion",
                               version > 0, "connectionId", version > 0 ? id : c->token, "availableTransports",
                               "transport", "WebSockets", "transferFormats", "Text", "transport", "ServerSentEvents",
                               "transferFormats", "Text", "transport", "LongPolling", "transferFormats", "Text");
    if (answer && version > 0)
        json_object_set_new(answer, "connectionToken", json_string(c->token));
    hub_conn_drop(c);
    http_reply_json(req, 200, answer);
}

static struct hub_conn *find_for(struct http_request *req, struct api *api)
{
    struct error err = {0};
    struct hub_conn *c = NULL;
    if (api_live(api, &err) == 0 && !(c = hub_conn_find(api->hub, api_given(req, "id"))))
        error_set(&err, ERR_NOT_FOUND, "There is no such connection");
    if (!c)
        http_reply_error(req, &err);
    return c;
}

void api_hub_send(struct http_request *req, void *ctx, void *sink)
{
    struct hub_conn *c = find_for(req, ctx);
    if (!c)
        return;
    size_t len;
    const char *body = http_body(req, &len);
    pthread_mutex_lock(&c->lock);
    bool able = c->transport == EVENTS || c->transport == POLLING;
    c->seen_us = clock_mono_us();
    pthread_mutex_unlock(&c->lock);
    struct error err = {0};
    if (able) {
        hub_received(c, body, len);
        http_reply_empty(req, 202);
    } else {
        error_set(&err, ERR_CONFLICT, "Messages of this connection go by its transport");
        http_reply_error(req, &err);
    }
    hub_conn_drop(c);
}

void api_hub_close(struct http_request *req, void *ctx, void *sink)
{
    struct hub_conn *c = find_for(req, ctx);
    if (!c)
        return;
    hub_conn_end(c);
    hub_conn_drop(c);
    http_reply_empty(req, 202);
}
