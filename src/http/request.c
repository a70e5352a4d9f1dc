// SPDX-License-Identifier: Apache-2.0
// A request: what it says, and its birth and end.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/http_int.h"

struct http_request *request_new(struct http_server *server, struct MHD_Connection *conn, const char *path,
                                 const char *method)
{
    struct http_request *req = calloc(1, sizeof *req);
    if (!req)
        return NULL;
    req->server = server;
    req->conn = conn;
    req->path = path;
    req->method = method;
    req->started_us = clock_mono_us();
    return req;
}

void request_free(struct http_request *req)
{
    body_abort(req);
    socket_abandon(req);
    if (req->content_open && req->content.close)
        req->content.close(req->content.arg);
    if (req->response)
        MHD_destroy_response(req->response);
    arena_free(&req->arena);
    free(req);
}

void request_refuse(struct http_request *req, const struct error *err)
{
    body_abort(req);
    req->refusal = *err;
    http_reply_error(req, err);
}

void request_run(struct http_request *req)
{
    req->sink_open = false; // the handler's from here on
    req->match.route->handle(req, server_ctx(req->server), req->sink);
    if (!req->response) {
        struct error err;
        error_set(&err, ERR_INTERNAL, "The handler gave no answer");
        http_reply_error(req, &err);
    }
}

bool request_is(const struct http_request *req, const char *method)
{
    return strcmp(req->method, method) == 0;
}

// ---- framing: what libmicrohttpd takes but should not

struct framing {
    unsigned lengths;
    unsigned encodings;
    bool chunked;
    const char *length;
};

static enum MHD_Result framing_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *f = arg;
    if (strcasecmp(name, "Content-Length") == 0) {
        f->lengths++;
        f->length = value;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->encodings++;
        f->chunked = value && strcasecmp(value, "chunked") == 0;
    }
    return MHD_YES;
}

int request_read_framing(struct http_request *req, struct error *err)
{
    struct framing f = {0};
    MHD_get_connection_values(req->conn, MHD_HEADER_KIND, framing_header, &f);
    if (f.lengths + f.encodings > 1) // request smuggling starts here
        return error_set(err, ERR_INVALID, "The length of the body is given more than once");
    if (f.encodings && !f.chunked)
        return error_set(err, ERR_INVALID, "The only Transfer-Encoding that is understood is chunked");
    req->content_length = f.chunked ? UINT64_MAX : f.length ? strtoull(f.length, NULL, 10) : 0;
    return 0;
}

// ---- the query

struct query_read {
    struct http_request *req;
    struct http_pair **tail;
    bool bad;
};

static enum MHD_Result query_pair(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct query_read *q = arg;
    struct arena *arena = &q->req->arena;
    struct http_pair *pair = arena_alloc(arena, sizeof *pair);
    pair->name = http_percent_decode(arena, name, strlen(name), false);
    pair->value = value ? http_percent_decode(arena, value, strlen(value), false) : "";
    if (!pair->name || !pair->value) {
        q->bad = true;
        return MHD_NO;
    }
    *q->tail = pair;
    q->tail = &pair->next;
    return MHD_YES;
}

int request_read_query(struct http_request *req, struct error *err)
{
    struct query_read q = {.req = req, .tail = &req->query};
    MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, query_pair, &q);
    if (q.bad)
        return error_set(err, ERR_INVALID, "The query is not valid: it must be percent-encoded UTF-8 without NUL");
    return 0;
}

// ---- what handlers ask

const char *http_method(const struct http_request *req)
{
    return req->method;
}

const char *http_path(const struct http_request *req)
{
    return req->path;
}

const char *http_param(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->match.count; i++)
        if (strcmp(req->match.names[i], name) == 0)
            return req->match.values[i];
    return NULL;
}

const char *http_query(const struct http_request *req, const char *name)
{
    for (const struct http_pair *pair = req->query; pair; pair = pair->next)
        if (strcmp(pair->name, name) == 0)
            return pair->value;
    return NULL;
}

const char *http_header(const struct http_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

uint64_t http_content_length(const struct http_request *req)
{
    return req->content_length;
}

struct arena *http_arena(struct http_request *req)
{
    return &req->arena;
}

const char *http_body(const struct http_request *req, size_t *len)
{
    *len = req->buffer.len;
    return req->buffer.data ? req->buffer.data : "";
}

void http_set_header(struct http_request *req, const char *name, const char *value)
{
    struct http_pair *pair = arena_alloc(&req->arena, sizeof *pair);
    pair->name = arena_strdup(&req->arena, name);
    pair->value = arena_strdup(&req->arena, value);
    pair->next = req->headers_out;
    req->headers_out = pair;
}
