// SPDX-License-Identifier: Apache-2.0
// The server: libmicrohttpd's callbacks, and start and stop.
//
// We accept connections ourselves (conns.c) and wait for their data ourselves (pollers.c): the limit on connections
// then counts for the whole server (libmicrohttpd splits it over its threads), and a drain stops accepting by ending
// our thread, whereas MHD_quiesce_daemon (0.9.75) can abort the process when a polling thread looks at the listening
// socket at the same moment.
//
// Rules of libmicrohttpd that this file lives by:
//   - An answer queued at the first call of the access handler makes it close the connection. Refusals of requests
//     without a body therefore wait for the final call.
//   - It sends 100 Continue by itself after the first call unless an answer was queued there.
//   - During the body no answer can be queued.
//   - A suspended connection must be resumed before MHD_stop_daemon (pollers_stop); resuming is allowed once suspending
//   returned.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/http_int.h"

enum {
    DRAIN_TICK_MS = 5,
    HTTP_STATUS_GONE = 499, // told to on_done when the client went away before an answer was made
};

struct http_server {
    struct http_config config;
    char *address;
    struct http_router *router;
    struct http_pool *pool, *waiting; // of workers, of waiters
    struct http_conns *conns;
    struct http_streams *streams;
    struct http_sockets *sockets;
    struct http_pollers *pollers;
    _Atomic bool draining;
    _Atomic unsigned active; // requests between their first call and their end
};

void *server_ctx(const struct http_server *server)
{
    return server->config.ctx;
}

struct http_pollers *server_pollers(const struct http_server *server)
{
    return server->pollers;
}

struct http_streams *server_streams(const struct http_server *server)
{
    return server->streams;
}

struct http_sockets *server_sockets(const struct http_server *server)
{
    return server->sockets;
}

// ---- a request's way through libmicrohttpd

static int admit(struct http_request *req, struct error *err)
{
    struct http_server *server = req->server;
    if (request_read_query(req, err) != 0 ||
        router_match(server->router, req->method, req->path, &req->arena, &req->match, err) != 0)
        return -1;
    const struct http_route *route = req->match.route;
    if (!route && req->match.allow) {
        http_set_header(req, "Allow", req->match.allow);
        if (!request_is(req, "OPTIONS"))
            return error_set(err, ERR_METHOD_NOT_ALLOWED, "%.20s is not possible here; %s are", req->method,
                             req->match.allow);
        http_reply_empty(req, 204);
        return 0;
    }
    if (!route)
        return error_set(err, ERR_NOT_FOUND, "There is nothing at this path");
    if (server->draining && !route->always)
        return error_set(err, ERR_DRAINING, "The server is shutting down");
    return body_begin(req, err);
}

static enum MHD_Result send_answer(struct http_request *req)
{
    if (!req->response)
        return MHD_NO;
    if (req->server->draining)
        MHD_add_response_header(req->response, "Connection", "close");
    conns_client_turn(req->conn, req->answer_len);
    return MHD_queue_response(req->conn, (unsigned)req->status, req->response);
}

static bool expects_continue(const struct http_request *req)
{
    const char *expect = http_header(req, "Expect");
    return expect && strcasecmp(expect, "100-continue") == 0;
}

static enum MHD_Result first_call(struct http_request *req)
{
    struct error err;
    bool framed = request_read_framing(req, &err) == 0;
    if (req->content_length > 0)
        conns_client_turn(req->conn, 0);
    if (framed && admit(req, &err) == 0)
        return MHD_YES;
    request_refuse(req, &err);
    if (framed && req->content_length == 0)
        return MHD_YES;
    bool discard = framed && !expects_continue(req) &&
                   (req->content_length == UINT64_MAX || req->content_length <= HTTP_DISCARD_MAX);
    if (discard)
        return MHD_YES;
    conns_linger(req->conn);
    return send_answer(req); // libmicrohttpd closes the connection after it
}

static enum MHD_Result dispatch(struct http_request *req)
{
    struct error err;
    struct http_pool *pool = req->match.route->waits ? req->server->waiting : req->server->pool;
    req->dispatched = true;
    if (req->match.route->quick) {
        request_run(req);
        return send_answer(req);
    }
    if (pool_reserve(pool, &err) != 0) {
        request_refuse(req, &err);
        return send_answer(req);
    }
    conns_our_turn(req->conn);
    MHD_suspend_connection(req->conn);
    pool_push(pool, req);
    return MHD_YES;
}

static enum MHD_Result final_call(struct http_request *req)
{
    struct error err;
    if (req->response || req->dispatched)
        return send_answer(req);
    if (body_end(req, &err) == 0)
        return dispatch(req);
    request_refuse(req, &err);
    return send_answer(req);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    struct http_request *req = *context;
    if (!req) {
        req = request_new(arg, conn, url, method);
        if (!req)
            return MHD_NO;
        *context = req;
        req->server->active++;
        return first_call(req);
    }
    if (*size == 0)
        return final_call(req);
    size_t len = *size;
    *size = 0;
    conns_received(conn, len);
    if (body_take(req, data, len) == 0)
        return MHD_YES;
    conns_linger(conn);
    reply_raw(req);
    return MHD_NO;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **context, enum MHD_RequestTerminationCode code)
{
    struct http_server *server = arg;
    struct http_request *req = take_ptr(*context);
    if (!req)
        return;
    if (server->config.on_done)
        server->config.on_done(server->config.ctx, req->method, req->match.route ? req->match.route->pattern : "",
                               req->response ? req->status : HTTP_STATUS_GONE, clock_mono_us() - req->started_us);
    request_free(req);
    conns_client_turn(conn, 0); // to send the next request, if it likes
    server->active--;
}

// The path and the query are kept as sent: request.c and router.c decode them, and see bad ones.
static size_t keep_escapes(void *arg, struct MHD_Connection *conn, char *text)
{
    return strlen(text);
}

// ---- start and stop

static struct MHD_Daemon *make_daemon(void *arg)
{
    struct http_server *server = arg;
    // conns.c keeps the limit; here each daemon must be able to hold all of them.
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0,
                            NULL, NULL, on_request, server, MHD_OPTION_CONNECTION_LIMIT,
                            server->config.max_connections + 1, MHD_OPTION_CONNECTION_TIMEOUT,
                            server->config.idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HTTP_CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                            server, MHD_OPTION_NOTIFY_CONNECTION, conns_notify, server->conns, MHD_OPTION_END);
}

static void server_free(struct http_server *server)
{
    pool_close(server->pool);
    pool_close(server->waiting);
    sockets_free(server->sockets);
    if (server->streams)
        streams_end(server->streams);
    pollers_stop(server->pollers);
    streams_free(server->streams);
    conns_free(server->conns);
    pool_free(server->pool);
    pool_free(server->waiting);
    router_free(server->router);
    free(server->address);
    free(server);
}

DEFINE_CLEANUP(struct http_server *, server, server_free)

int http_start(const struct http_config *config, struct http_server **out, struct error *err)
{
    _cleanup_(cleanup_server) struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(err, ERR_NO_MEMORY, "No memory for the HTTP server");
    server->config = *config;
    server->config.listen = NULL; // need not live on
    server->streams = streams_new();
    _cleanup_close_ int fd = -1;
    if (sockets_start(&server->sockets, err) != 0 || router_new(config->routes, &server->router, err) != 0 ||
        address_listen(config->listen, &fd, &server->address, err) != 0 ||
        conns_new(config->max_connections, config->idle_timeout_s, &server->conns, err) != 0 ||
        pool_start(config->workers, config->max_queue, &server->pool, err) != 0 ||
        pool_start(config->waiters, config->max_queue, &server->waiting, err) != 0 ||
        pollers_start(config->poll_threads ? config->poll_threads : 1, server->conns, make_daemon, server,
                      &server->pollers, err) != 0 ||
        conns_accept(server->conns, take_fd(fd), server->pollers, err) != 0)
        return -1;
    *out = take_ptr(server);
    return 0;
}

const char *http_address(const struct http_server *server)
{
    return server->address;
}

unsigned http_stop(struct http_server *server)
{
    int64_t end = clock_mono_us() + (int64_t)server->config.drain_timeout_s * 1000000;
    server->draining = true;
    conns_stop_accepting(server->conns);
    streams_end(server->streams);
    sockets_end(server->sockets);
    while (server->active > 0 && clock_mono_us() < end)
        clock_sleep_ms(DRAIN_TICK_MS);
    unsigned cut = server->active;
    server_free(server);
    return cut;
}
