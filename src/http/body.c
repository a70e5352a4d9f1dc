// SPDX-License-Identifier: Apache-2.0
// Bodies: ignored, buffered, given to a sink raw or as parts of a form, or, after a refusal, discarded.
#include <string.h>

#include "http/http_int.h"

static int too_large(const struct http_request *req, uint64_t max, struct error *err)
{
    return error_set(err, ERR_BODY_TOO_LARGE, "The body may have %llu bytes at most", (unsigned long long)max);
}

static uint64_t limit(const struct http_request *req)
{
    const struct http_route *route = req->match.route;
    return route->body == HTTP_BODY_NONE ? HTTP_NONE_MAX : route->max_body;
}

static int piece(void *arg, const char *field, const char *file_name, const char *content_type, const char *data,
                 uint64_t offset, size_t len, struct error *err)
{
    struct http_request *req = arg;
    return req->match.route->sink->data(req->sink, field, file_name, content_type, data, offset, len, err);
}

static int sink_begin(struct http_request *req, struct error *err)
{
    const char *type = http_header(req, "Content-Type");
    bool form = type && multipart_is_form(type);
    if (form && multipart_new(type, piece, req, &req->parts, err) != 0)
        return -1;
    req->mode = form ? BODY_PARTS : BODY_RAW;
    if (req->match.route->sink->begin(req, server_ctx(req->server), &req->sink, err) != 0)
        return -1;
    req->sink_open = true;
    return 0;
}

int body_begin(struct http_request *req, struct error *err)
{
    uint64_t max = limit(req);
    if (req->content_length != UINT64_MAX && req->content_length > max)
        return too_large(req, max, err);
    switch (req->match.route->body) {
    case HTTP_BODY_NONE:
        req->mode = BODY_IGNORE;
        return 0;
    case HTTP_BODY_BUFFER:
        req->mode = BODY_BUFFER;
        req->buffer = BUF_INIT((size_t)max);
        return 0;
    case HTTP_BODY_SINK:
        return sink_begin(req, err);
    }
    return error_set(err, ERR_INTERNAL, "The route has no kind of body");
}

static int accept_piece(struct http_request *req, const char *data, size_t len, struct error *err)
{
    if (req->received > limit(req))
        return too_large(req, limit(req), err);
    switch (req->mode) {
    case BODY_BUFFER:
        if (buf_append(&req->buffer, data, len) != 0)
            return error_set(err, ERR_NO_MEMORY, "No memory for the body");
        return 0;
    case BODY_RAW:
        return piece(req, NULL, NULL, http_header(req, "Content-Type"), data, req->received - len, len, err);
    case BODY_PARTS:
        return multipart_feed(req->parts, data, len, err);
    default:
        return 0;
    }
}

static int discard(struct http_request *req, size_t len)
{
    req->discarded += len;
    uint64_t left = req->content_length == UINT64_MAX ? 0 : req->content_length - req->received;
    return req->discarded > HTTP_DISCARD_MAX || left > HTTP_DISCARD_MAX ? -1 : 0;
}

int body_take(struct http_request *req, const char *data, size_t len)
{
    req->received += len;
    if (req->mode == BODY_DISCARD)
        return discard(req, len);
    struct error err;
    if (accept_piece(req, data, len, &err) == 0)
        return 0;
    request_refuse(req, &err);
    return discard(req, 0);
}

int body_end(struct http_request *req, struct error *err)
{
    if (req->mode == BODY_RAW && req->received == 0) // the first piece always comes, even when it is empty
        return piece(req, NULL, NULL, http_header(req, "Content-Type"), "", 0, 0, err);
    return req->mode == BODY_PARTS ? multipart_end(req->parts, err) : 0;
}

void body_abort(struct http_request *req)
{
    if (req->sink_open) {
        req->sink_open = false;
        req->match.route->sink->abort(req->sink);
    }
    multipart_free(take_ptr(req->parts));
    buf_free(&req->buffer);
    req->mode = BODY_DISCARD;
}
