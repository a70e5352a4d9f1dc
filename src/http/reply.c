// SPDX-License-Identifier: Apache-2.0
// Answers: JSON, text, bytes, nothing, and the problem document that every error becomes (RFC 9457).
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/js.h"
#include "http/http_int.h"

void reply_give(struct http_request *req, int status, const char *content_type, struct MHD_Response *response,
                uint64_t len)
{
    if (!response)
        return; // no memory: request_run answers 500, or the connection is closed
    if (req->response) {
        MHD_destroy_response(response);
        return;
    }
    req->answer_len = len;
    MHD_add_response_header(response, "Server", "deeplens/" DEEPLENS_VERSION);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (content_type)
        MHD_add_response_header(response, "Content-Type", content_type);
    if (status == 503)
        MHD_add_response_header(response, "Retry-After", "1");
    for (const struct http_pair *pair = req->headers_out; pair; pair = pair->next)
        MHD_add_response_header(response, pair->name, pair->value);
    req->response = response;
    req->status = status;
}

static void give_text(struct http_request *req, int status, const char *content_type, char *text)
{
    http_reply_bytes(req, status, content_type, text, text ? strlen(text) : 0);
}

void http_reply_bytes(struct http_request *req, int status, const char *content_type, void *data, size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    reply_give(req, status, content_type, response, len);
}

void http_reply_text(struct http_request *req, int status, const char *content_type, const char *text)
{
    give_text(req, status, content_type, strdup(text));
}

void http_reply_empty(struct http_request *req, int status)
{
    reply_give(req, status, NULL, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT), 0);
}

static char *json_line(const json_t *body)
{
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX / 2);
    if (!body || js_write(body, &out) != 0 || buf_puts(&out, "\n") != 0)
        return NULL;
    return buf_steal(&out);
}

void http_reply_json(struct http_request *req, int status, json_t *body)
{
    char *text = json_line(body);
    json_decref(body);
    if (text) {
        give_text(req, status, "application/json", text);
        return;
    }
    struct error err;
    error_set(&err, ERR_INTERNAL, "The answer could not be written as JSON");
    http_reply_error(req, &err);
}

static char *problem_line(const struct http_request *req, const struct error *err, int status)
{
    const char *code = error_code_name(err->code);
    _cleanup_free_ char *path = js_utf8(req->path, strlen(req->path));
    _cleanup_free_ char *detail = js_utf8(err->message, strlen(err->message));
    _cleanup_free_ char *type = NULL;
    if (asprintf(&type, "/problems/%s", code) < 0)
        type = NULL;
    _cleanup_json_ json_t *doc =
        json_pack("{s:s*, s:s, s:i, s:s*, s:s*, s:s, s:b}", "type", type, "title", error_code_title(err->code),
                  "status", status, "detail", detail, "instance", path, "code", code, "retryable", err->retryable);
    return json_line(doc);
}

void http_reply_error(struct http_request *req, const struct error *err)
{
    struct error unknown;
    if (err->code == ERR_NONE) {
        error_set(&unknown, ERR_INTERNAL, "An error without a name");
        err = &unknown;
    }
    int status = error_http_status(err->code);
    give_text(req, status, "application/problem+json", problem_line(req, err, status));
}

static enum MHD_Result raw_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    return buf_printf(arg, "%s: %s\r\n", name, value) == 0 ? MHD_YES : MHD_NO;
}

void reply_raw(struct http_request *req)
{
    _cleanup_free_ char *text = problem_line(req, &req->refusal, req->status);
    if (!text)
        return;
    char date[40];
    struct tm tm;
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    _cleanup_buf_ struct buf out = BUF_INIT(64 * 1024);
    buf_printf(&out, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n", req->status,
               MHD_get_reason_phrase_for((unsigned)req->status), date);
    MHD_get_response_headers(req->response, raw_header, &out);
    buf_printf(&out, "Content-Length: %zu\r\n\r\n", strlen(text));
    if (!request_is(req, "HEAD"))
        buf_puts(&out, text);
    int fd = MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    // Nothing but "100 Continue" was sent for this request, so that there is room in the socket's buffer.
    if (!out.failed)
        (void)!send(fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
