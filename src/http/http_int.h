// SPDX-License-Identifier: Apache-2.0
// What the files of the HTTP server share.
//
// A request's life (every arrow on the connection's polling thread unless said):
//   admit (server.c)     first call: framing, query, route, drain, limits, the sink's `begin`
//   body_take (body.c)   each piece of the body
//   body_end             the body is whole: the multipart form must be, too
//   dispatch             quick routes run at once; else suspend, and a worker (pool.c) runs the handler, then resumes
//   queue                the answer made by reply.c or content.c goes to libmicrohttpd
//   request_free         exactly once, in libmicrohttpd's "request completed" callback
// A refusal at any point before dispatch makes the answer early; what is left of the body is then discarded
// within HTTP_DISCARD_MAX, or the answer is sent at once and the connection closed (conns.c lingers, so that the
// client can read it).
#ifndef DEEPLENS_HTTP_INT_H
#define DEEPLENS_HTTP_INT_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "http/http.h"
#include "http/multipart.h"

enum {
    HTTP_MAX_SEGMENTS = 16,             // of a path
    HTTP_CONNECTION_MEMORY = 32 * 1024, // headers and read buffer of one connection
    HTTP_NONE_MAX = 64 * 1024,          // what a body may have where none is expected
    HTTP_DISCARD_MAX = 1024 * 1024,     // what is read and thrown away to keep a connection after a refusal
};

// ---- router.c
struct http_router;
struct http_match {
    const struct http_route *route; // NULL: the path is unknown, or known with other methods (`allow` is set)
    const char *allow;              // "GET, HEAD, OPTIONS" when the path is known; lives as long as the router
    const char *const *names;       // of the route's parameters
    const char **values;            // percent-decoded
    size_t count;
};
int router_new(const struct http_route *routes, struct http_router **out, struct error *err);
void router_free(struct http_router *router);
// `path` as sent. -1 only when a parameter is not valid (ERR_INVALID); an unknown path is no error.
int router_match(const struct http_router *router, const char *method, const char *path, struct arena *arena,
                 struct http_match *out, struct error *err);

// Percent-decodes `text` into the arena. NULL when it has a bad escape, NUL or invalid UTF-8, or (when `segment`)
// an encoded slash.
const char *http_percent_decode(struct arena *arena, const char *text, size_t len, bool segment);

// ---- address.c
int address_listen(const char *listen_text, int *fd, char **shown, struct error *err);

// ---- request.c
enum body_mode { BODY_IGNORE, BODY_BUFFER, BODY_RAW, BODY_PARTS, BODY_DISCARD };

struct http_pair {
    const char *name;
    const char *value;
    struct http_pair *next;
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *conn;
    const char *method;
    const char *path;
    struct http_match match;
    struct http_pair *query;
    uint64_t content_length; // UINT64_MAX: chunked
    int64_t started_us;
    struct arena arena;

    enum body_mode mode;
    uint64_t received;
    uint64_t discarded;
    struct buf buffer;
    struct multipart *parts;
    void *sink;
    bool sink_open; // `begin` succeeded, and neither `handle` nor `abort` has it yet

    bool dispatched;
    struct error refusal; // code 0: not refused
    uint64_t answer_len;
    struct http_pair *headers_out;
    struct MHD_Response *response;
    int status;
    struct http_content content;
    uint64_t content_offset;
    bool content_open;
    struct http_socket *socket; // that the answer promises

    struct http_request *next; // in the pool's queue
};

struct http_request *request_new(struct http_server *server, struct MHD_Connection *conn, const char *path,
                                 const char *method);
void request_free(struct http_request *req);
int request_read_framing(struct http_request *req, struct error *err); // sets content_length
int request_read_query(struct http_request *req, struct error *err);
void request_run(struct http_request *req); // calls the handler; there is an answer afterwards
// Ends the sink and makes the answer from `err`; the rest of the body will be discarded.
void request_refuse(struct http_request *req, const struct error *err);
bool request_is(const struct http_request *req, const char *method);

// ---- body.c
int body_begin(struct http_request *req, struct error *err);
// 0; or -1 when the connection cannot be kept (too much to discard): `req->response` holds the answer.
int body_take(struct http_request *req, const char *data, size_t len);
int body_end(struct http_request *req, struct error *err);
void body_abort(struct http_request *req); // idempotent

// ---- reply.c
// Gives `response` (owned) as the answer unless there is one already. `content_type` may be NULL.
void reply_give(struct http_request *req, int status, const char *content_type, struct MHD_Response *response,
                uint64_t len);
// Writes the refusal straight to the socket, where libmicrohttpd cannot answer: in the middle of a body. The
// connection must be closed then.
void reply_raw(struct http_request *req);

// ---- pool.c
struct http_pool;
// At least one worker.
int pool_start(unsigned workers, unsigned max_queue, struct http_pool **out, struct error *err);
// A place for one request; pool_push must follow. -1: full, or closing.
int pool_reserve(struct http_pool *pool, struct error *err);
void pool_push(struct http_pool *pool, struct http_request *req);
// Refuses new requests, answers the waiting ones with 503 DRAINING, waits for the running ones, ends the threads.
void pool_close(struct http_pool *pool); // takes NULL
void pool_free(struct http_pool *pool);  // takes NULL

// ---- pollers.c
struct http_conns;
struct http_pollers;
// `count` threads, at least one; `make` makes a daemon for each (epoll, polled from outside), or NULL.
int pollers_start(unsigned count, struct http_conns *conns, struct MHD_Daemon *(*make)(void *arg), void *arg,
                  struct http_pollers **out, struct error *err);
// Ends the threads and stops the daemons; no connection may be suspended then. Takes NULL.
void pollers_stop(struct http_pollers *pollers);
// From one thread only. Takes `fd`; false (and errno): closed.
bool pollers_hand_over(struct http_pollers *pollers, int fd, const struct sockaddr_storage *addr, socklen_t len);
// From any thread: MHD_resume_connection, MHD_UPGRADE_ACTION_CLOSE. The connection is not the caller's any more.
void pollers_resume(struct http_pollers *pollers, struct MHD_Connection *conn);
void pollers_close_upgraded(struct http_pollers *pollers, struct MHD_Connection *conn,
                            struct MHD_UpgradeResponseHandle *urh);

// ---- conns.c
int conns_new(unsigned max_connections, unsigned idle_timeout_s, struct http_conns **out, struct error *err);
void conns_notify(void *conns, struct MHD_Connection *conn, void **context, enum MHD_ConnectionNotificationCode code);
// The client's turn begins (to send a body, to take an answer of `bytes`), goes on, ends; and: close gently.
void conns_client_turn(struct MHD_Connection *conn, uint64_t bytes);
void conns_received(struct MHD_Connection *conn, size_t bytes);
void conns_our_turn(struct MHD_Connection *conn);
void conns_linger(struct MHD_Connection *conn);
// Accepts on `fd` (owned from here on, also on failure) and hands connections to `pollers`.
int conns_accept(struct http_conns *conns, int fd, struct http_pollers *pollers, struct error *err);
void conns_give_room_back(struct http_conns *conns); // of a connection that was accepted, and never began
void conns_stop_accepting(struct http_conns *conns); // new clients are refused by the kernel from here on
void conns_free(struct http_conns *conns);           // after pollers_stop; takes NULL

// ---- stream.c
struct http_streams;
struct http_streams *streams_new(void);
void streams_end(struct http_streams *streams);  // those that are open, and those to come
void streams_free(struct http_streams *streams); // after pollers_stop; takes NULL

// ---- websocket.c
struct http_sockets;
int sockets_start(struct http_sockets **out, struct error *err);
void sockets_end(struct http_sockets *sockets);  // says goodbye to those that are open, and those to come
void sockets_free(struct http_sockets *sockets); // before pollers_stop; takes NULL
void socket_abandon(struct http_request *req);   // of a request that ended before its answer was sent

// ---- server.c
struct http_pollers *server_pollers(const struct http_server *server);
struct http_streams *server_streams(const struct http_server *server);
struct http_sockets *server_sockets(const struct http_server *server);
void *server_ctx(const struct http_server *server);

#endif
