// SPDX-License-Identifier: Apache-2.0
// The HTTP server: HTTP/1.1 on libmicrohttpd, routing, bodies, multipart, ranges, problem documents, drain.
// It knows nothing of media.
//
// Threads. A few polling threads (epoll) read and write sockets; `begin` and `data` of a body sink run on them and
// must not block for longer than a write to the page cache. When a request is complete its connection is
// suspended and `handle` runs on a bounded pool of workers, where it may block; then the connection is resumed with
// the answer. Routes that mostly wait (for a disk, not for a processor) have a pool of their own, with more threads:
// so they neither hold up the others, nor are held up, nor let more of the others compute at once. When a pool's queue
// is full the answer is 503 OVERLOADED with Retry-After.
//
// Every error is a problem document (RFC 9457: type, title, status, detail, instance, and `code`), made from a struct
// error. HEAD is answered by the GET route without the body. Unknown path: 404; known path, other method: 405 with
// Allow.
#ifndef DEEPLENS_HTTP_HTTP_H
#define DEEPLENS_HTTP_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct http_server;
struct http_request;

// What a request says. Strings live as long as the request. Names are case-insensitive for headers.
const char *http_method(const struct http_request *req);
const char *http_path(const struct http_request *req);
const char *http_param(const struct http_request *req,
                       const char *name); // {name} in the pattern, percent-decoded; never NULL for one in the pattern
const char *http_query(const struct http_request *req, const char *name);  // NULL when not given
const char *http_header(const struct http_request *req, const char *name); // NULL when not given
uint64_t http_content_length(const struct http_request *req);              // UINT64_MAX when not said (chunked)
struct arena *http_arena(struct http_request *req);                        // lives until the answer is sent

// The body, for routes with HTTP_BODY_BUFFER (at handle). NUL-terminated.
const char *http_body(const struct http_request *req, size_t *len);

// Answers. Exactly one of these is called by `handle`; none: 500. All copy what they are given unless said.
void http_reply_json(struct http_request *req, int status, json_t *body); // takes the reference
void http_reply_text(struct http_request *req, int status, const char *content_type, const char *text);
void http_reply_bytes(struct http_request *req, int status, const char *content_type, void *data,
                      size_t len); // takes `data` (free())
void http_reply_error(struct http_request *req, const struct error *err);
void http_reply_empty(struct http_request *req, int status);

// Serves a file's content with Range (one range; several are answered whole), If-Range, If-None-Match, ETag,
// Accept-Ranges, HEAD.
struct http_content {
    uint64_t size;
    int fd; // sent by sendfile from here when ≥ 0; else `read` is used
    int (*read)(void *arg, uint64_t offset, void *buf, size_t len); // 0 or -1 (the connection is then closed)
    void (*close)(void *arg);                                       // exactly once, when the answer is sent or given up
    void *arg;
    const char *content_type;
    const char *etag;          // without quotes; NULL: none
    const char *disposition;   // e.g. "attachment; filename=…"; NULL: none
    const char *cache_control; // NULL: none
};
void http_reply_content(struct http_request *req, const struct http_content *content);

// A stream: an answer without an end, for as long as both sides like. `arg` is the stream's until `closed` was called,
// exactly once, on any thread; the stream must not be touched from then on. Only within `room` and `closed` no lock of
// the server's is held.
struct http_stream;
struct http_stream_ops {
    void (*room)(void *arg); // half of what may wait was taken, after a write was refused; may be NULL
    void (*closed)(void *arg);
};
// At most `limit` bytes wait to be sent.
struct http_stream *http_reply_stream(struct http_request *req, const char *content_type, size_t limit,
                                      const struct http_stream_ops *ops, void *arg);
// Never waits. -1: nothing was taken, as too much waits already, or the stream was ended.
int http_stream_write(struct http_stream *stream, const void *data, size_t len);
void http_stream_end(struct http_stream *stream); // what was written is still sent

// A WebSocket: as a stream, in both directions. Messages are text.
struct http_socket;
struct http_socket_ops {
    void (*message)(void *arg, const char *text, size_t len); // NUL-terminated; on one thread for all sockets
    void (*room)(void *arg);
    void (*closed)(void *arg);
};
bool http_wants_socket(const struct http_request *req); // the client asks for one
// -1: the handshake is not valid, or a page of another site asks (`arg` stays the caller's).
int http_reply_socket(struct http_request *req, size_t limit, const struct http_socket_ops *ops, void *arg,
                      struct http_socket **out, struct error *err);
int http_socket_write(struct http_socket *socket, const char *text, size_t len);
void http_socket_end(struct http_socket *socket, int code, const char *reason); // RFC 6455, 7.4; at most 123 bytes
void http_socket_beat(struct http_socket *socket); // a ping; drops who did not answer the last ones

// Adds a header to the answer that will be given; call it before http_reply_….
void http_set_header(struct http_request *req, const char *name, const char *value);

// A sink takes a body that is too large to buffer, piece by piece. For multipart/form-data every part is handed over
// with its field name; any other body comes with field == NULL.
struct http_sink_ops {
    // After the headers, before the body. -1: the request is refused with `err` before the body is read (a client
    // that sent Expect: 100-continue never sends it).
    int (*begin)(struct http_request *req, void *ctx, void **sink, struct error *err);
    // `offset` is within this part; the first piece of each part has offset 0 (len may be 0). -1: the body is drained
    // or the connection closed, and the answer is `err`; `abort` follows.
    int (*data)(void *sink, const char *field, const char *file_name, const char *content_type, const char *data,
                uint64_t offset, size_t len, struct error *err);
    // The request ends without `handle`: refused, the client went away, the body was incomplete, the server stops.
    // After `handle` ran the sink is the handler's to end.
    void (*abort)(void *sink);
};

enum http_body { HTTP_BODY_NONE, HTTP_BODY_BUFFER, HTTP_BODY_SINK };

struct http_route {
    const char *method;  // "GET" "POST" "DELETE" …
    const char *pattern; // "/api/v1/images/{id}/status"; a literal segment wins over a parameter
    void (*handle)(struct http_request *req, void *ctx, void *sink);
    enum http_body body;
    uint64_t max_body; // bytes; above: 413 BODY_TOO_LARGE (at once when Content-Length says so)
    const struct http_sink_ops *sink;
    bool waits;  // `handle` mostly waits: run on the pool of `waiters`
    bool quick;  // `handle` never blocks: run on the polling thread (healthz)
    bool always; // also answered while draining (healthz, readyz, metrics)
};

struct http_config {
    const char *listen; // "127.0.0.1:8080", "[::1]:0", …; port 0: any free one
    unsigned poll_threads;
    unsigned workers;
    unsigned waiters;   // threads for the routes that mostly wait
    unsigned max_queue; // requests waiting for a worker, of either kind
    unsigned max_connections;
    unsigned idle_timeout_s; // also what a slow client may take between two bytes
    unsigned drain_timeout_s;
    const struct http_route *routes; // ends with {0}; lives as long as the server
    void *ctx;                       // given to every handler and sink
    // Called once for each finished request, on any thread; NULL: none.
    void (*on_done)(void *ctx, const char *method, const char *pattern, int status, int64_t duration_us);
};

int http_start(const struct http_config *config, struct http_server **out, struct error *err);
const char *http_address(const struct http_server *server); // "127.0.0.1:41234", the real port
// Stops listening, answers new requests on open connections with 503 DRAINING, ends streams, waits for running ones
// (drain_timeout_s at most), then closes. Returns how many were cut off.
unsigned http_stop(struct http_server *server);

#endif
